/* SPDX-License-Identifier: BSD-2-Clause */
#include "net/store_dir.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

enum { PIECE = 256 << 10 };         /* of reading: fits the second cache */
#define WRITTEN (UINT64_C(4) << 20) /* of writing, between looks at cancel */
#define SECOND INT64_C(1000000000)
#define LEFTOVER 10                 /* seconds after which a file in tmp may be one */

/* ---- names and errors ---- */

void tsri_dir_shard(char shard[3], const char *key)
{
    shard[0] = key[0];
    shard[1] = key[1];
    shard[2] = '\0';
}

int64_t tsri_dir_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return t.tv_sec * SECOND + t.tv_nsec;
}

int64_t tsri_dir_used(const struct stat *info)
{
    return info->st_atim.tv_sec * SECOND + info->st_atim.tv_nsec;
}

static tsr_error error_of(int code)
{
    switch (code) {
    case ENOENT:
        return TSR_E_MISSING;
    case EACCES: case EPERM: case EROFS: case ELOOP: case ENOTDIR: case EISDIR:
        return TSR_E_DENIED;
    case ENOSPC: case EDQUOT: case EFBIG:
        return TSR_E_LIMIT;
    case ENOMEM:
        return TSR_E_NOMEM;
    default:
        return TSR_E_IO;
    }
}

tsr_error tsri_dir_fail(tsr_store *store, const char *key, const char *doing)
{
    const int code = errno;
    const tsr_error error = error_of(code);
    if (error == TSR_E_MISSING)
        return error;
    return tsri_store_fail(store, error, "%s: %s: %s", key, doing,
                           strerror(code));
}

int tsri_dir_open_shard(const tsri_dir *dir, const char *key)
{
    char shard[3];
    tsri_dir_shard(shard, key);
    return openat(dir->root, shard,
                  O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* ---- opening ---- */

/* Returns 1 where somebody else's files are here. */
static int in_use(int root)
{
    const int fd = openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = fd < 0 ? NULL : fdopendir(fd);
    int found = 0;
    for (struct dirent *e; list && !found && (e = readdir(list)) != NULL;)
        found = strcmp(e->d_name, ".") && strcmp(e->d_name, "..") &&
            strcmp(e->d_name, "lost+found");
    if (list)
        closedir(list);
    return found;
}

/* Objects are removed from such a folder without asking, so that one with other
 * files is never made one. */
static tsr_error claim(tsr_store *store, const char *path)
{
    const tsri_dir *d = store->state;
    struct stat info;
    if (!fstatat(d->root, TSRI_DIR_MARK, &info, AT_SYMLINK_NOFOLLOW))
        return TSR_OK;
    const int used = in_use(d->root);
    /* Another process may have claimed it since we looked. */
    if (!fstatat(d->root, TSRI_DIR_MARK, &info, AT_SYMLINK_NOFOLLOW))
        return TSR_OK;
    if (used)
        return tsri_store_fail(store, TSR_E_ARG, "%s: neither empty nor a folder"
                               " of a store (no file " TSRI_DIR_MARK ")", path);
    const int fd = openat(d->root, TSRI_DIR_MARK,
                          O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (fd < 0)
        return tsri_dir_fail(store, path, "making a store");
    close(fd);
    return TSR_OK;
}

static tsr_error open_root(tsr_store *store, const char *path)
{
    tsri_dir *d = store->state;
    if (mkdir(path, 0777) && errno != EEXIST && errno != EROFS) {
        const tsr_error error = tsri_dir_fail(store, path, "making the folder");
        return error == TSR_E_MISSING ?
            tsri_store_fail(store, TSR_E_IO, "%s: no such folder above it", path)
            : error;
    }
    d->root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (d->root < 0)
        return tsri_dir_fail(store, path, "opening the folder");
    return claim(store, path);
}

static tsr_error dir_open(tsr_store *store, const char *url)
{
    const char *path = strncmp(url, "dir:", 4) ? url : url + 4;
    if (!*path)
        return tsri_store_fail(store, TSR_E_ARG, "dir: a folder's path is to "
                               "follow");
    tsri_dir *d = store->state = calloc(1, sizeof *d);
    if (!d)
        return TSR_E_NOMEM;
    d->root = d->mark = -1;
    d->piece = malloc(PIECE);
    return d->piece ? open_root(store, path) : TSR_E_NOMEM;
}

static void dir_close(tsr_store *store)
{
    tsri_dir *d = store->state;
    if (!d)
        return;
    if (d->root >= 0)
        close(d->root);
    if (d->mark >= 0)
        close(d->mark);
    free(d->piece);
    free(d->old);
    free(d);
}

/* ---- reading ---- */

/* Now is the last use.  The kernel's own "now" is coarser than two uses are
 * apart.  Somebody else's file, or a disk that only reads: the order suffers. */
static void stamp(int fd, int64_t now)
{
    const struct timespec times[2] = {
        { .tv_sec = now / SECOND, .tv_nsec = now % SECOND },
        { .tv_nsec = UTIME_OMIT }
    };
    (void)futimens(fd, times);
}

/* Not on each of the many ranges that are read of one object. */
static void touch(tsri_dir *d, const char *key, int fd)
{
    const int64_t now = tsri_dir_now();
    if (!strcmp(key, d->touched) && now >= d->touched_at &&
        now - d->touched_at < SECOND)
        return;
    stamp(fd, now);
    strcpy(d->touched, key);
    d->touched_at = now;
}

static tsr_error fill(tsr_store *store, const char *key, const struct stat *info,
                      tsr_store_entry *entry)
{
    if (!S_ISREG(info->st_mode))
        return tsri_store_fail(store, TSR_E_DENIED, "%s: not a regular file",
                               key);
    if ((uint64_t)info->st_size > store->settings.max_object)
        return tsri_store_fail(store, TSR_E_LIMIT, "%s: %lld bytes, the limit is"
                               " %llu", key, (long long)info->st_size,
                               (unsigned long long)store->settings.max_object);
    strcpy(entry->key, key);
    entry->bytes = (uint64_t)info->st_size;
    entry->modified = info->st_mtim.tv_sec;
    return TSR_OK;
}

static tsr_error dir_open_file(tsr_store *store, const char *key, int *out,
                               tsr_store_entry *entry)
{
    tsri_dir *d = store->state;
    struct stat info;
    const int shard = tsri_dir_open_shard(d, key);
    if (shard < 0)
        return tsri_dir_fail(store, key, "opening its folder");
    /* Not waiting: it might be a pipe. */
    const int fd = openat(shard, key,
                          O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    tsr_error error = TSR_OK;
    if (fd < 0 || fstat(fd, &info))
        error = tsri_dir_fail(store, key, "opening");
    close(shard);
    if (!error)
        error = fill(store, key, &info, entry);
    if (error) {
        if (fd >= 0)
            close(fd);
        return error;
    }
    touch(d, key, fd);
    *out = fd;
    return TSR_OK;
}

static tsr_error send_range(tsr_store *store, const char *key, int fd,
                            uint64_t at, uint64_t end, const tsr_sink *sink)
{
    unsigned char *piece = ((tsri_dir *)store->state)->piece;
    while (at < end) {
        if (atomic_load(&store->canceled))
            return TSR_E_CANCELED;
        const size_t want = end - at < PIECE ? (size_t)(end - at) : PIECE;
        const ssize_t n = pread(fd, piece, want, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return tsri_dir_fail(store, key, "reading");
        if (!n)
            return tsri_store_fail(store, TSR_E_IO, "%s: cut while it was read",
                                   key);
        const tsr_error error = sink->write(sink->cookie, piece, (size_t)n);
        if (error)
            return error;
        at += (uint64_t)n;
    }
    return TSR_OK;
}

static tsr_error dir_get(tsr_store *store, const char *key, uint64_t offset,
                         uint64_t bytes, const tsr_sink *sink,
                         tsr_store_entry *entry)
{
    int fd;
    tsr_error error = dir_open_file(store, key, &fd, entry);
    if (error)
        return error;
    if (offset > entry->bytes)
        offset = entry->bytes;
    const uint64_t rest = entry->bytes - offset;
    error = send_range(store, key, fd, offset,
                       offset + (bytes && bytes < rest ? bytes : rest), sink);
    close(fd);
    return error;
}

static tsr_error dir_stat(tsr_store *store, const char *key,
                          tsr_store_entry *entry)
{
    struct stat info;
    const int shard = tsri_dir_open_shard(store->state, key);
    if (shard < 0)
        return tsri_dir_fail(store, key, "opening its folder");
    const int bad = fstatat(shard, key, &info, AT_SYMLINK_NOFOLLOW);
    const tsr_error error = bad ? tsri_dir_fail(store, key, "looking at it") :
        TSR_OK;
    close(shard);
    return error ? error : fill(store, key, &info, entry);
}

/* ---- writing ---- */

/* A living writer holds the lock of its file. */
static int is_left(int tmp, const char *name, time_t now)
{
    struct stat info;
    const int fd = openat(tmp, name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    /* A young one may be about to be locked. */
    const int left = fd >= 0 && !fstat(fd, &info) && S_ISREG(info.st_mode) &&
        info.st_mtim.tv_sec < now - LEFTOVER && !flock(fd, LOCK_EX | LOCK_NB);
    if (fd >= 0)
        close(fd);
    return left;
}

/* Writers that were killed leave their files behind. */
static void sweep(int tmp)
{
    const int fd = openat(tmp, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = fd < 0 ? NULL : fdopendir(fd);
    if (!list && fd >= 0)
        close(fd);
    const time_t now = time(NULL);
    for (struct dirent *e; list && (e = readdir(list)) != NULL;)
        if (is_left(tmp, e->d_name, now))
            unlinkat(tmp, e->d_name, 0);
    if (list)
        closedir(list);
}

static int open_tmp(tsri_dir *d)
{
    const int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    int tmp = openat(d->root, "tmp", flags);
    if (tmp < 0 && errno == ENOENT &&
        (!mkdirat(d->root, "tmp", 0777) || errno == EEXIST))
        tmp = openat(d->root, "tmp", flags);
    if (tmp >= 0 && !d->swept) {
        sweep(tmp);
        d->swept = 1;
    }
    return tmp;
}

/* No two writers share a file, whatever the name: O_EXCL sees to it. */
static int create(int tmp, char name[64])
{
    static atomic_uint serial;
    int fd = -1;
    for (int i = 0; i < 100 && fd < 0; i++) {
        snprintf(name, 64, "%ld-%u-%llx", (long)getpid(),
                 atomic_fetch_add(&serial, 1),
                 (unsigned long long)tsri_dir_now());
        fd = openat(tmp, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd < 0 && errno != EEXIST)
            break;
    }
    if (fd >= 0)
        (void)flock(fd, LOCK_EX | LOCK_NB);     /* nobody else has it: is_left() */
    return fd;
}

/* The data are on the disk before the key names them: a power cut must not leave
 * a whole-looking file with holes.  The folder is not synced; what a power cut
 * can undo is the naming, and then the object is missing. */
static tsr_error write_all(tsr_store *store, const char *key, int fd,
                           const unsigned char *data, uint64_t size)
{
    for (uint64_t at = 0; at < size;) {
        if (atomic_load(&store->canceled))
            return TSR_E_CANCELED;
        const uint64_t rest = size - at;
        const ssize_t n = write(fd, data + at,
                                (size_t)(rest < WRITTEN ? rest : WRITTEN));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return tsri_dir_fail(store, key, "writing");
        at += (uint64_t)n;
    }
    stamp(fd, tsri_dir_now());
    return fdatasync(fd) ? tsri_dir_fail(store, key, "writing") : TSR_OK;
}

static tsr_error put_file(tsr_store *store, const char *key, int tmp,
                          const void *data, size_t size)
{
    char name[64];
    const int fd = create(tmp, name);
    if (fd < 0)
        return tsri_dir_fail(store, key, "making a file");
    tsr_error error = write_all(store, key, fd, data, size);
    if (!error)
        error = tsri_dir_publish(store, key, tmp, name, size);
    if (error)
        unlinkat(tmp, name, 0);
    close(fd);      /* all is on the disk: nothing is left to fail */
    return error;
}

static tsr_error dir_put(tsr_store *store, const char *key, const void *data,
                         size_t size)
{
    const uint64_t capacity = store->settings.capacity;
    if (capacity && size > capacity)
        return tsri_store_fail(store, TSR_E_LIMIT, "%s: %zu bytes, the store "
                               "holds %llu", key, size,
                               (unsigned long long)capacity);
    const int tmp = open_tmp(store->state);
    tsr_error error = tmp < 0 ? tsri_dir_fail(store, key, "opening tmp") :
        put_file(store, key, tmp, data, size);
    if (tmp >= 0)
        close(tmp);
    /* Only a folder that was taken away gives this. */
    return error != TSR_E_MISSING ? error :
        tsri_store_fail(store, TSR_E_IO, "%s: the store's folder is gone", key);
}

/* ---- listing ---- */

typedef struct listing {
    tsr_error (*visit)(void *cookie, const tsr_store_entry *entry);
    void *cookie;
} listing;

static tsr_error list_one(void *cookie, const char *key, const struct stat *info)
{
    const listing *l = cookie;
    tsr_store_entry entry = { .bytes = (uint64_t)info->st_size,
                              .modified = info->st_mtim.tv_sec };
    strcpy(entry.key, key);
    return l->visit(l->cookie, &entry);
}

static tsr_error dir_list(tsr_store *store, const char *prefix,
                          tsr_error (*visit)(void *cookie,
                                             const tsr_store_entry *entry),
                          void *cookie)
{
    listing l = { visit, cookie };
    return tsri_dir_walk(store, prefix, list_one, &l);
}

const tsri_store_driver *tsri_store_dir(void)
{
    static const tsri_store_driver driver = {
        "dir", dir_open, dir_close, dir_get, dir_put, dir_stat, tsri_dir_unlink,
        dir_list, dir_open_file
    };
    return &driver;
}
