/* SPDX-License-Identifier: BSD-2-Clause */
/* What a folder holds, and what has to go when that is too much.  All changes
 * are made under one lock, that of the file tessera-store, which also has the sum
 * of the objects' bytes: several processes share a folder, and none walks it at
 * each put.  The lock goes with the process that has it. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>
#include "net/store_dir.h"

/* Objects that one walk of the folder finds to go next.  The walk keeps twice
 * that many at most, however many there are. */
enum { OLD = 1024 };

/* ---- the walk ---- */

typedef struct walk {
    tsr_store *store;
    const char *prefix;
    tsr_error (*visit)(void *cookie, const char *key, const struct stat *info);
    void *cookie;
} walk;

static tsr_error walk_shard(const walk *w, const char *shard)
{
    const int fd = openat(((tsri_dir *)w->store->state)->root, shard,
                          O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *list = fd < 0 ? NULL : fdopendir(fd);
    if (!list) {
        const tsr_error error = tsri_dir_fail(w->store, shard, "opening");
        if (fd >= 0)
            close(fd);
        return error == TSR_E_MISSING ? TSR_OK : error;
    }
    const size_t n = strlen(shard);
    tsr_error error = TSR_OK;
    struct stat info;
    for (struct dirent *e; !error && (e = readdir(list)) != NULL;) {
        const char *key = e->d_name;
        if (atomic_load(&w->store->canceled))
            error = TSR_E_CANCELED;
        else if (tsri_store_key_good(key) && !strncmp(key, shard, n) &&
                 (n == 2 || !key[1]) &&
                 !strncmp(key, w->prefix, strlen(w->prefix)) &&
                 !fstatat(fd, key, &info, AT_SYMLINK_NOFOLLOW) &&
                 S_ISREG(info.st_mode))
            error = w->visit(w->cookie, key, &info);
    }
    closedir(list);
    return error;
}

static int folder_fits(int root, const char *name, const char *prefix)
{
    const size_t n = strlen(prefix);
    struct stat info;
    return strlen(name) <= 2 && tsri_store_key_good(name) &&
        !strncmp(name, prefix, n < 2 ? n : 2) &&
        !fstatat(root, name, &info, AT_SYMLINK_NOFOLLOW) &&
        S_ISDIR(info.st_mode);
}

tsr_error tsri_dir_walk(tsr_store *store, const char *prefix,
                        tsr_error (*visit)(void *cookie, const char *key,
                                           const struct stat *info),
                        void *cookie)
{
    const int root = ((tsri_dir *)store->state)->root;
    const walk w = { store, prefix, visit, cookie };
    const int fd = openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = fd < 0 ? NULL : fdopendir(fd);
    if (!list) {
        const tsr_error error = tsri_dir_fail(store, "store", "listing");
        if (fd >= 0)
            close(fd);
        return error;
    }
    tsr_error error = TSR_OK;
    for (struct dirent *e; !error && (e = readdir(list)) != NULL;)
        if (folder_fits(root, e->d_name, prefix))
            error = walk_shard(&w, e->d_name);
    closedir(list);
    return error;
}

/* ---- the lock and the sum ---- */

static tsr_error lock(tsr_store *store)
{
    tsri_dir *d = store->state;
    if (d->mark < 0)
        d->mark = openat(d->root, TSRI_DIR_MARK,
                         O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (d->mark < 0)
        return tsri_dir_fail(store, TSRI_DIR_MARK, "opening");
    const int64_t end =
        tsri_dir_now() + (int64_t)(store->settings.timeout * 1e9);
    while (flock(d->mark, LOCK_EX | LOCK_NB)) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return tsri_dir_fail(store, TSRI_DIR_MARK, "locking");
        if (atomic_load(&store->canceled))
            return TSR_E_CANCELED;
        if (tsri_dir_now() > end)
            return tsri_store_fail(store, TSR_E_IO, "the store's folder is "
                                   "locked by another process");
        nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
    }
    return TSR_OK;
}

static void unlock(const tsri_dir *d)
{
    flock(d->mark, LOCK_UN);
}

#define SUM "tessera store 1\n%020" PRIu64 "\n"
enum { SUM_BYTES = 37 };

/* Returns 0 where the file has no sum: nobody wrote one yet, or a writer was
 * killed within it. */
static int read_sum(const tsri_dir *d, uint64_t *sum)
{
    char text[SUM_BYTES + 1] = "", again[SUM_BYTES + 1];
    if (pread(d->mark, text, SUM_BYTES, 0) != SUM_BYTES)
        return 0;
    *sum = strtoull(text + 16, NULL, 10);
    snprintf(again, sizeof again, SUM, *sum);
    return !strcmp(text, again);
}

static tsr_error write_sum(tsr_store *store, uint64_t sum)
{
    const tsri_dir *d = store->state;
    char text[SUM_BYTES + 1];
    snprintf(text, sizeof text, SUM, sum);
    return pwrite(d->mark, text, SUM_BYTES, 0) == SUM_BYTES ? TSR_OK :
        tsri_dir_fail(store, TSRI_DIR_MARK, "writing");
}

/* ---- what goes first ---- */

typedef struct search {
    tsri_dir *dir;
    const char *spared;     /* the key that is being written */
    uint64_t sum;
} search;

static int by_use(const void *a, const void *b)
{
    const tsri_dir_old *x = a, *y = b;
    if (x->used != y->used)
        return x->used < y->used ? -1 : 1;
    return strcmp(x->key, y->key);
}

static void keep_oldest(tsri_dir *d)
{
    qsort(d->old, (size_t)d->count, sizeof *d->old, by_use);
    if (d->count > OLD)
        d->count = OLD;
}

static tsr_error consider(void *cookie, const char *key, const struct stat *info)
{
    search *s = cookie;
    tsri_dir *d = s->dir;
    s->sum += (uint64_t)info->st_size;
    if (!strcmp(key, s->spared))
        return TSR_OK;
    if (d->count == 2 * OLD)
        keep_oldest(d);
    d->old[d->count].used = tsri_dir_used(info);
    strcpy(d->old[d->count++].key, key);
    return TSR_OK;
}

/* Counts all objects and finds the longest unused.  They are used up before the
 * next search: what is used or written later is younger than all of them. */
static tsr_error look(tsr_store *store, const char *spared, uint64_t *sum)
{
    tsri_dir *d = store->state;
    if (!d->old)
        d->old = malloc(2 * OLD * sizeof *d->old);
    if (!d->old)
        return TSR_E_NOMEM;
    d->next = d->count = 0;
    search s = { d, spared, 0 };
    const tsr_error error = tsri_dir_walk(store, "", consider, &s);
    if (error)
        d->count = 0;
    else
        keep_oldest(d);
    *sum = s.sum;
    return error;
}

/* Bytes of an object; 0 where there is none, or no regular file. */
static uint64_t bytes_of(int shard, const char *key, struct stat *info)
{
    return fstatat(shard, key, info, AT_SYMLINK_NOFOLLOW) ||
        !S_ISREG(info->st_mode) ? 0 : (uint64_t)info->st_size;
}

/* Removes what was found, if nobody has used, replaced or removed it since. */
static tsr_error drop(tsr_store *store, const tsri_dir_old *old, uint64_t *sum)
{
    struct stat info;
    const int shard = tsri_dir_open_shard(store->state, old->key);
    if (shard < 0)
        return TSR_OK;
    /* An empty one, too: a search that finds nothing else would not end. */
    const int there = !fstatat(shard, old->key, &info, AT_SYMLINK_NOFOLLOW) &&
        S_ISREG(info.st_mode);
    tsr_error error = TSR_OK;
    if (there && tsri_dir_used(&info) == old->used) {
        const uint64_t bytes = (uint64_t)info.st_size;
        if (!unlinkat(shard, old->key, 0))
            *sum -= bytes < *sum ? bytes : *sum;
        else
            error = tsri_dir_fail(store, old->key, "making room");
    }
    close(shard);
    return error == TSR_E_MISSING ? TSR_OK : error;
}

/* Removes objects until `size` bytes for `key` fit instead of the `own` that it
 * has. */
static tsr_error make_room(tsr_store *store, const char *key, uint64_t own,
                           uint64_t size, uint64_t *sum)
{
    tsri_dir *d = store->state;
    const uint64_t capacity = store->settings.capacity;
    tsr_error error = TSR_OK;
    while (!error && capacity && *sum > own &&
           *sum - own > capacity - size) {
        if (d->next < d->count) {
            const tsri_dir_old *old = &d->old[d->next++];
            if (strcmp(old->key, key))
                error = drop(store, old, sum);
        } else {
            error = look(store, key, sum);
            if (!error && !d->count)
                break;
        }
    }
    return error;
}

/* ---- changes ---- */

static tsr_error put_in(tsr_store *store, const char *key, int tmp,
                        const char *name, uint64_t size, int shard)
{
    struct stat info;
    uint64_t sum = 0;
    tsr_error error = TSR_OK;
    const uint64_t own = bytes_of(shard, key, &info);
    if (!read_sum(store->state, &sum) || sum < own)
        error = look(store, key, &sum);
    if (!error)
        error = make_room(store, key, own, size, &sum);
    /* First the sum: killed in between we count too much, and look again. */
    const uint64_t rest = sum < own ? 0 : sum - own;
    if (!error)
        error = write_sum(store, rest + size);
    if (!error && renameat(tmp, name, shard, key)) {
        error = tsri_dir_fail(store, key, "naming it");
        (void)write_sum(store, sum);
    }
    return error;
}

tsr_error tsri_dir_publish(tsr_store *store, const char *key, int tmp,
                           const char *name, uint64_t size)
{
    const tsri_dir *d = store->state;
    char letters[3];
    tsri_dir_shard(letters, key);
    if (mkdirat(d->root, letters, 0777) && errno != EEXIST)
        return tsri_dir_fail(store, key, "making its folder");
    const int shard = tsri_dir_open_shard(d, key);
    if (shard < 0)
        return tsri_dir_fail(store, key, "opening its folder");
    tsr_error error = lock(store);
    if (!error) {
        error = put_in(store, key, tmp, name, size, shard);
        unlock(d);
    }
    close(shard);
    return error;
}

static tsr_error take_out(tsr_store *store, const char *key, int shard)
{
    struct stat info;
    uint64_t sum;
    if (fstatat(shard, key, &info, AT_SYMLINK_NOFOLLOW))
        return tsri_dir_fail(store, key, "removing");
    if (unlinkat(shard, key, 0))
        return tsri_dir_fail(store, key, "removing");
    const uint64_t bytes = S_ISREG(info.st_mode) ? (uint64_t)info.st_size : 0;
    if (!read_sum(store->state, &sum))
        return TSR_OK;
    return write_sum(store, bytes < sum ? sum - bytes : 0);
}

tsr_error tsri_dir_unlink(tsr_store *store, const char *key)
{
    const int shard = tsri_dir_open_shard(store->state, key);
    if (shard < 0)
        return tsri_dir_fail(store, key, "opening its folder");
    tsr_error error = lock(store);
    if (!error) {
        error = take_out(store, key, shard);
        unlock(store->state);
    }
    close(shard);
    return error;
}
