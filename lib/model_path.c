/* SPDX-License-Identifier: BSD-2-Clause */
/* Where model files are looked for. */
#include "config.h"
#include <dirent.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "lib/model_path.h"

enum { PATH_BYTES = 4096, LEVELS_UP = 3 };
static const char ending[] = ".safetensors";

static bool ends_well(const char *name)
{
    const size_t n = strlen(name), e = sizeof ending - 1;
    return n > e && !strcmp(name + n - e, ending);
}

bool tsri_model_is_path(const char *name)
{
    return strchr(name, '/') || ends_well(name);
}

static bool is_folder(const char *path)
{
    struct stat st;
    return !stat(path, &st) && S_ISDIR(st.st_mode);
}

typedef int (*visitor)(void *cookie, const char *folder);

static int offer(const char *folder, visitor visit, void *cookie)
{
    return *folder && is_folder(folder) ? visit(cookie, folder) : 0;
}

static int each_of_list(const char *list, visitor visit, void *cookie)
{
    char folder[PATH_BYTES];
    while (list && *list) {
        const size_t n = strcspn(list, ":");
        if (n < sizeof folder) {
            memcpy(folder, list, n);
            folder[n] = 0;
            if (offer(folder, visit, cookie))
                return 1;
        }
        list += n + (list[n] == ':');
    }
    return 0;
}

static int user_folder(visitor visit, void *cookie)
{
    const char *data = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
    char folder[PATH_BYTES];

    if (data && *data)
        snprintf(folder, sizeof folder, "%s/tessera/models", data);
    else if (home && *home)
        snprintf(folder, sizeof folder, "%s/.local/share/tessera/models", home);
    else
        return 0;
    return offer(folder, visit, cookie);
}

/* The models/ folder of the source tree, a few levels above the file `at`. */
static int folder_above(char at[PATH_BYTES], visitor visit, void *cookie,
                        bool *found)
{
    char probe[PATH_BYTES + 32];

    for (int i = 0; i <= LEVELS_UP; i++) {
        char *slash = strrchr(at, '/');
        if (!slash)
            return 0;
        *slash = 0;
        snprintf(probe, sizeof probe, "%s/tessera.pc.in", at);
        if (access(probe, R_OK))
            continue;
        *found = true;
        snprintf(probe, sizeof probe, "%s/models", at);
        return offer(probe, visit, cookie);
    }
    return 0;
}

/* A program that runs from its build tree finds the source tree's models, and so
 * does one from elsewhere (a host of our plugins) that loaded the library from
 * there. */
static int source_folder(visitor visit, void *cookie)
{
    char at[PATH_BYTES];
    const ssize_t n = readlink("/proc/self/exe", at, sizeof at - 1);
    bool found = false;
    Dl_info library;
    int stop = 0;

    if (n > 0) {
        at[n] = 0;
        stop = folder_above(at, visit, cookie, &found);
    }
    if (found || !dladdr(ending, &library) || !library.dli_fname)
        return stop;
    snprintf(at, sizeof at, "%s", library.dli_fname);
    return folder_above(at, visit, cookie, &found);
}

void tsr_model_folders(visitor visit, void *cookie)
{
    if (each_of_list(getenv("TESSERA_MODELS"), visit, cookie) ||
        user_folder(visit, cookie) ||
        offer(TSR_DATADIR "/models", visit, cookie))
        return;
    source_folder(visit, cookie);
}

struct file_visit {
    int (*visit)(void *cookie, const char *path);
    void *cookie;
};

static int wanted(const struct dirent *entry)
{
    return ends_well(entry->d_name);
}

static int files_of(void *cookie, const char *folder)
{
    struct file_visit *v = cookie;
    struct dirent **entries;
    char path[PATH_BYTES];
    const int n = scandir(folder, &entries, wanted, alphasort);
    int stop = 0;

    for (int i = 0; i < n; i++) {
        const int length =
            snprintf(path, sizeof path, "%s/%s", folder, entries[i]->d_name);
        if (!stop && length < (int)sizeof path)
            stop = v->visit(v->cookie, path);
        free(entries[i]);
    }
    if (n >= 0)
        free(entries);
    return stop;
}

void tsr_model_files(int (*visit)(void *cookie, const char *path), void *cookie)
{
    struct file_visit v = { visit, cookie };
    tsr_model_folders(files_of, &v);
}

struct find {
    const char *name;
    char path[PATH_BYTES];
    bool found;
};

static int find_in(void *cookie, const char *folder)
{
    struct find *f = cookie;
    const int n =
        snprintf(f->path, sizeof f->path, "%s/%s%s", folder, f->name, ending);
    f->found = n < (int)sizeof f->path && !access(f->path, F_OK);
    return f->found;
}

tsr_error tsri_model_find(tsr_context *ctx, const char *name, char **path)
{
    struct find f = { .name = name };

    *path = NULL;
    tsr_model_folders(find_in, &f);
    if (!f.found)
        return tsri_fail(ctx, TSR_E_MODEL,
                         "no model '%s' (see: tessera models path)", name);
    *path = tsri_alloc(ctx, strlen(f.path) + 1, 1);
    if (!*path)
        return tsri_nomem(ctx);
    memcpy(*path, f.path, strlen(f.path) + 1);
    return TSR_OK;
}
