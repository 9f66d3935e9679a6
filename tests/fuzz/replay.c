/* SPDX-License-Identifier: BSD-2-Clause */
/* Calls a fuzz target with each file named, or with those of its corpus: what
 * was once found stays found, without a fuzzing engine. */
#include <dirent.h>
#include "tests/fuzz/fuzz.h"

static int replay(const char *path)
{
    static uint8_t data[1 << 20];
    FILE *file = fopen(path, "rb");
    fuzz_input in = { data, 0 };

    if (!file) {
        perror(path);
        return 1;
    }
    in.size = fread(data, 1, sizeof data, file);
    fclose(file);
    uint8_t *copy = fuzz_copy(&in);
    LLVMFuzzerTestOneInput(copy, in.size);
    free(copy);
    return 0;
}

/* The target's name: the program's, without fuzz_ and what libtool adds. */
static const char *target(const char *program)
{
    const char *name = strstr(program, "fuzz_"), *later;

    while (name && (later = strstr(name + 1, "fuzz_")))
        name = later;
    return name ? name + strlen("fuzz_") : program;
}

int main(int argc, char **argv)
{
    const char *root = getenv("TSR_SRCDIR");
    char folder[2048], path[4096];
    struct dirent *entry;
    int failed = 0, n = 0;

    for (int i = 1; i < argc; i++)
        failed |= replay(argv[i]);
    if (argc > 1)
        return failed;
    snprintf(folder, sizeof folder, "%s/tests/fuzz/corpus/%s", root ? root : ".",
             target(argv[0]));
    DIR *dir = opendir(folder);
    if (!dir) {
        perror(folder);
        return 1;
    }
    while ((entry = readdir(dir)))
        if (entry->d_name[0] != '.') {
            snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
            failed |= replay(path);
            n++;
        }
    closedir(dir);
    printf("1..1\n%s 1 - %d inputs\n", failed || !n ? "not ok" : "ok", n);
    return failed || !n;
}
