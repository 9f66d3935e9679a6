/* SPDX-License-Identifier: BSD-2-Clause */
/* What tests of stores share: a folder of their own, a sink that keeps what it is
 * given, objects that tell whether they are whole. */
#ifndef TSR_TESTS_STORE_CASE_H
#define TSR_TESTS_STORE_CASE_H
#include "tests/check.h"
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <tessera/store.h>

static inline void store_rmdir_at(int at, const char *name)
{
    struct stat info;
    if (fstatat(at, name, &info, AT_SYMLINK_NOFOLLOW))
        return;
    if (!S_ISDIR(info.st_mode)) {
        unlinkat(at, name, 0);
        return;
    }
    const int fd = openat(at, name, O_RDONLY | O_DIRECTORY);
    DIR *list = fd < 0 ? NULL : fdopendir(fd);
    for (struct dirent *e; list && (e = readdir(list)) != NULL;)
        if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
            store_rmdir_at(fd, e->d_name);
    if (list)
        closedir(list);
    unlinkat(at, name, AT_REMOVEDIR);
}

static inline void store_rmdir(const char *path)
{
    store_rmdir_at(AT_FDCWD, path);
}

/** Folders that were made; those that a failed test leaves go at the end. */
static char store_made[64][32];
static pid_t store_maker;

static inline void store_tidy(void)
{
    for (int i = 0; i < 64 && getpid() == store_maker; i++)
        if (*store_made[i])
            store_rmdir(store_made[i]);
}

static inline void store_mkdir_as(char path[32], const char *template)
{
    static int n;
    strcpy(path, template);
    if (!mkdtemp(path)) {
        *path = '\0';
        return;
    }
    if (!n) {
        store_maker = getpid();
        atexit(store_tidy);
    }
    strcpy(store_made[n++ % 64], path);
}

/** A new folder below the one the test runs in: a disk, most often. */
static inline void store_mkdir_disk(char path[32])
{
    store_mkdir_as(path, "./store-XXXXXX");
    assert_true(*path);
}

/** A new folder in memory where there is such a place: a disk takes its time for
 *  each object, and most tests are not about disks. */
static inline void store_mkdir(char path[32])
{
    store_mkdir_as(path, "/dev/shm/store-XXXXXX");
    if (!*path)
        store_mkdir_disk(path);
}

static inline int store_files(const char *path)
{
    DIR *list = opendir(path);
    int n = 0;
    for (struct dirent *e; list && (e = readdir(list)) != NULL;)
        n += e->d_name[0] != '.';
    if (list)
        closedir(list);
    return n;
}

static inline void store_pause(double seconds)
{
    nanosleep(&(struct timespec){ .tv_sec = (time_t)seconds,
        .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9) }, NULL);
}

static inline double store_clock(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/** The last line that a store logged. */
typedef struct store_note { char line[512]; int lines; } store_note;

static inline void store_note_log(void *cookie, tsr_log_level level,
                                  const char *text)
{
    store_note *n = cookie;
    (void)level;
    snprintf(n->line, sizeof n->line, "%s", text);
    n->lines++;
}

/** Settings for tests: no waiting for long. */
static inline tsr_store_settings store_settings(store_note *note)
{
    tsr_store_settings s;
    tsr_store_settings_init(&s);
    s.timeout = 5;
    s.retries = 0;
    if (note)
        s.logger = (tsr_logger){ .log = store_note_log, .cookie = note };
    return s;
}

static inline tsr_store *store_open(const char *url,
                                    const tsr_store_settings *settings)
{
    tsr_store *s;
    assert_int_equal(tsr_store_open(&s, url, settings), TSR_OK);
    return s;
}

/* ---- objects ---- */

/** Bytes that follow from `which`: a mixture of two objects is no object. */
static inline uint8_t *store_object(uint32_t which, size_t size)
{
    uint8_t *data = malloc(size + 8);
    check_rng rng = { which * UINT64_C(0x9e3779b97f4a7c15) + 1 };
    assert_non_null(data);
    for (size_t i = 0; i < size; i += 4) {
        const uint32_t word = check_u32(&rng);
        memcpy(data + i, &word, 4);
    }
    return data;
}

static inline tsr_error store_put_object(tsr_store *s, const char *key,
                                         uint32_t which, size_t size)
{
    uint8_t *data = store_object(which, size);
    const tsr_error error = tsr_store_put(s, key, data, size);
    free(data);
    return error;
}

typedef struct store_bytes {
    uint8_t *data;
    size_t size, room;
    int calls;
    size_t fail_at;         /* fails with TSR_E_EOF beyond; 0: never */
    void (*each)(void *cookie);
    void *cookie;
} store_bytes;

static inline tsr_error store_take(void *cookie, const void *data, size_t size)
{
    store_bytes *b = cookie;
    b->calls++;
    if (b->fail_at && b->size + size > b->fail_at)
        return TSR_E_EOF;
    if (b->size + size >= b->room) {
        b->room = 2 * (b->size + size) + 1;
        b->data = realloc(b->data, b->room);
        assert_non_null(b->data);
    }
    memcpy(b->data + b->size, data, size);
    b->size += size;
    if (b->each)
        b->each(b->cookie);
    return TSR_OK;
}

/** Gets a range and compares it with what it has to be; returns get's error. */
static inline tsr_error store_get_range(tsr_store *s, const char *key,
                                        uint32_t which, size_t size,
                                        size_t offset, size_t bytes)
{
    store_bytes b = { 0 };
    const tsr_sink sink = { &b, store_take };
    tsr_store_entry entry;
    const tsr_error error = tsr_store_get(s, key, offset, bytes, &sink, &entry);
    if (!error) {
        uint8_t *data = store_object(which, size);
        const size_t at = offset < size ? offset : size;
        const size_t want = bytes && bytes < size - at ? bytes : size - at;
        assert_string_equal(entry.key, key);
        assert_int_equal(entry.bytes, size);
        assert_int_equal(b.size, want);
        if (want)
            assert_memory_equal(b.data, data + at, want);
        free(data);
    }
    free(b.data);
    return error;
}

static inline tsr_error store_get_object(tsr_store *s, const char *key,
                                         uint32_t which, size_t size)
{
    return store_get_range(s, key, which, size, 0, 0);
}

/** Which object of 1..n this is whole; 0: none, or it is damaged. */
static inline uint32_t store_which(const store_bytes *b, uint32_t n,
                                   const size_t *size)
{
    for (uint32_t i = 1; i <= n; i++) {
        uint8_t *data = b->size == size[i] ? store_object(i, size[i]) : NULL;
        const int same = data && !memcmp(data, b->data, b->size);
        free(data);
        if (same)
            return i;
    }
    return 0;
}

/* ---- lists ---- */

typedef struct store_count { int n; uint64_t bytes; char last[201]; } store_count;

static inline tsr_error store_count_one(void *cookie, const tsr_store_entry *e)
{
    store_count *c = cookie;
    c->n++;
    c->bytes += e->bytes;
    strcpy(c->last, e->key);
    return TSR_OK;
}

static inline store_count store_list(tsr_store *s, const char *prefix)
{
    store_count c = { 0 };
    assert_int_equal(tsr_store_list(s, prefix, store_count_one, &c), TSR_OK);
    return c;
}
#endif
