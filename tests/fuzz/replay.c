/* SPDX-License-Identifier: BSD-2-Clause */
/* Calls a fuzz target with each file named, or with the inputs of its corpus and
 * those that once found a fault: what was found stays found, without a fuzzing
 * engine. */
#include "tests/fuzz/fuzz.h"
#include <unistd.h>

enum { TWINS = 4 /* of every input, with memory that runs out */ };

static uint8_t *read_file(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    const size_t room = 1 << 22;
    uint8_t *data = malloc(room);

    if (!file || !data) {
        perror(path);
        exit(1);
    }
    *size = fread(data, 1, room, file);
    fclose(file);
    return data;
}

static void replay(const uint8_t *data, size_t size)
{
    const fuzz_input in = { data, size };
    uint8_t *copy = fuzz_copy(&in);

    fuzz_run(copy, size, TWINS);
    free(copy);
}

/* A corpus: of each input its length, 16 bits, and its bytes.  Returns how
 * many, -1 where the file is cut. */
static int replay_corpus(const uint8_t *data, size_t size)
{
    int n = 0;

    for (; size >= 2; n++) {
        const size_t length = data[0] | (size_t)data[1] << 8;
        if (length > size - 2)
            return -1;
        replay(data + 2, length);
        data += 2 + length;
        size -= 2 + length;
    }
    return size ? -1 : n;
}

/* The target's name: the program's, without fuzz_ and what libtool adds. */
static const char *target(const char *program)
{
    const char *name = strstr(program, "fuzz_"), *later;

    while (name && (later = strstr(name + 1, "fuzz_")))
        name = later;
    return name ? name + strlen("fuzz_") : program;
}

/* Replays a file of inputs, if it is there; counts them in *n.  False: it is cut. */
static bool replay_folder(const char *folder, const char *name, int *n)
{
    const char *root = getenv("TSR_SRCDIR");
    char path[4096];
    size_t size;

    snprintf(path, sizeof path, "%s/tests/fuzz/%s/%s", root ? root : ".", folder, name);
    if (access(path, R_OK))
        return true;
    uint8_t *data = read_file(path, &size);
    const int more = replay_corpus(data, size);
    free(data);
    *n += more > 0 ? more : 0;
    return more > 0;
}

int main(int argc, char **argv)
{
    const char *name = target(argv[0]);
    uint8_t *data;
    size_t size;
    int n = 0;

    for (int i = 1; i < argc; i++) {
        data = read_file(argv[i], &size);
        replay(data, size);
        free(data);
    }
    if (argc > 1)
        return 0;
    const bool good = replay_folder("corpus", name, &n) &&
        replay_folder("found", name, &n) && n > 0;
    printf("1..1\n%s 1 - %d inputs\n", good ? "ok" : "not ok", n);
    return !good;
}
