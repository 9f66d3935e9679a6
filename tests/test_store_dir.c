/* SPDX-License-Identifier: BSD-2-Clause */
/* The folder store under what happens to folders: several writers, links and
 * pipes, a full disk, no permission, killed writers, a cap, many objects. */
#include "tests/store_case.h"
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>

enum { SKIP = 77 };

/* Runs f in a process of its own; returns what f did, or 128 + signal. */
static int in_child(int (*f)(const char *path), const char *path)
{
    int status = 0;
    const pid_t child = fork();
    if (!child)
        _exit(f(path));
    assert_true(child > 0 && waitpid(child, &status, 0) == child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int left_in_tmp(const char *path)
{
    char name[64];
    snprintf(name, sizeof name, "%s/tmp", path);
    return store_files(name);
}

/* ---- links and readers ---- */

static void links(void **state)
{
    static const char *const key[] = { "ab-link", "ab-dir", "ab-pipe", "cd-x" };
    const tsr_store_settings s = store_settings(NULL);
    tsr_store_entry entry;
    char path[32], name[64];
    int fd;
    (void)state;
    store_mkdir(path);
    tsr_store *store = store_open(path, &s);
    assert_int_equal(store_put_object(store, "ab1", 1, 100), TSR_OK);
    snprintf(name, sizeof name, "%s/secret", path);
    assert_int_equal(close(open(name, O_WRONLY | O_CREAT, 0666)), 0);
    snprintf(name, sizeof name, "%s/ab/ab-link", path);
    assert_int_equal(symlink("../secret", name), 0);
    snprintf(name, sizeof name, "%s/ab/ab-dir", path);
    assert_int_equal(mkdir(name, 0777), 0);
    snprintf(name, sizeof name, "%s/ab/ab-pipe", path);
    assert_int_equal(mkfifo(name, 0666), 0);
    snprintf(name, sizeof name, "%s/cd", path);     /* a folder elsewhere */
    assert_int_equal(symlink("ab", name), 0);
    snprintf(name, sizeof name, "%s/ab/cd-x", path);
    assert_int_equal(close(open(name, O_WRONLY | O_CREAT, 0666)), 0);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(store_get_object(store, key[i], 1, 100), TSR_E_DENIED);
        assert_int_equal(tsr_store_stat(store, key[i], &entry), TSR_E_DENIED);
        assert_int_equal(tsr_store_open_file(store, key[i], &fd, &entry),
                         TSR_E_DENIED);
    }
    assert_int_equal(store_list(store, "").n, 1);
    assert_int_equal(store_put_object(store, "cd-x", 1, 100), TSR_E_DENIED);
    assert_int_equal(store_put_object(store, "ab-dir", 1, 100), TSR_E_DENIED);
    /* A link is replaced, never written through. */
    assert_int_equal(store_put_object(store, "ab-link", 2, 100), TSR_OK);
    assert_int_equal(store_get_object(store, "ab-link", 2, 100), TSR_OK);
    struct stat info;
    snprintf(name, sizeof name, "%s/secret", path);
    assert_int_equal(stat(name, &info), 0);
    assert_int_equal(info.st_size, 0);
    assert_int_equal(left_in_tmp(path), 0);
    tsr_store_close(&store);
    store_rmdir(path);
}

static void keeps_open(void **state)
{
    enum { SIZE = 300000 };
    const tsr_store_settings s = store_settings(NULL);
    tsr_store_entry entry;
    uint8_t *want = store_object(1, SIZE), *got = malloc(SIZE);
    char path[32];
    int fd;
    (void)state;
    store_mkdir(path);
    tsr_store *store = store_open(path, &s);
    assert_int_equal(store_put_object(store, "key", 1, SIZE), TSR_OK);
    assert_int_equal(tsr_store_open_file(store, "key", &fd, &entry), TSR_OK);
    assert_int_equal(entry.bytes, SIZE);
    assert_int_equal(store_put_object(store, "key", 2, 10), TSR_OK);
    assert_int_equal(tsr_store_remove(store, "key"), TSR_OK);
    assert_int_equal(read(fd, got, SIZE), SIZE);
    assert_memory_equal(got, want, SIZE);
    close(fd);
    tsr_store_close(&store);
    free(want);
    free(got);
    store_rmdir(path);
}

/* ---- several writers ---- */

static const size_t sizes[] = { 0, 700000, 500001, 700000, 900000 };
enum { WRITERS = 4, TURNS = 12 };

typedef struct writer {
    const char *path;
    uint32_t which;
    tsr_error error;
} writer;

static void *write_often(void *cookie)
{
    writer *w = cookie;
    const tsr_store_settings s = store_settings(NULL);
    tsr_store *store;
    w->error = tsr_store_open(&store, w->path, &s);
    for (int i = 0; i < TURNS && !w->error; i++)
        w->error = store_put_object(store, "key", w->which, sizes[w->which]);
    tsr_store_close(&store);
    return NULL;
}

static void writers(void **state)
{
    const tsr_store_settings s = store_settings(NULL);
    pthread_t thread[WRITERS];
    writer w[WRITERS];
    char path[32];
    (void)state;
    store_mkdir_disk(path);
    tsr_store *store = store_open(path, &s);
    assert_int_equal(store_put_object(store, "key", 1, sizes[1]), TSR_OK);
    for (int i = 0; i < WRITERS; i++) {
        w[i] = (writer){ path, (uint32_t)i + 1, TSR_OK };
        assert_int_equal(pthread_create(&thread[i], NULL, write_often, &w[i]), 0);
    }
    for (int i = 0; i < 20; i++) {
        store_bytes b = { 0 };
        const tsr_sink sink = { &b, store_take };
        assert_int_equal(tsr_store_get(store, "key", 0, 0, &sink, NULL), TSR_OK);
        assert_true(store_which(&b, WRITERS, sizes) > 0);
        free(b.data);
    }
    for (int i = 0; i < WRITERS; i++) {
        pthread_join(thread[i], NULL);
        assert_int_equal(w[i].error, TSR_OK);
    }
    assert_int_equal(store_list(store, "").n, 1);
    assert_int_equal(left_in_tmp(path), 0);
    tsr_store_close(&store);
    store_rmdir(path);
}

static int put_forever(const char *path)
{
    const tsr_store_settings s = store_settings(NULL);
    tsr_store *store;
    if (tsr_store_open(&store, path, &s))
        return 1;
    for (uint32_t i = 0;; i++)
        if (store_put_object(store, i % 2 ? "key" : "other", i % 4 + 1,
                             sizes[i % 4 + 1]))
            return 1;
}

/* What a killed writer had finished is whole; what it had not is not there. */
static void killed(void **state)
{
    const tsr_store_settings s = store_settings(NULL);
    char path[32], name[96], held[96];
    int status;
    (void)state;
    store_mkdir_disk(path);
    tsr_store *store = store_open(path, &s);
    for (int turn = 0; turn < 8; turn++) {
        const pid_t child = fork();
        if (!child)
            _exit(put_forever(path));
        store_pause(0.03 + 0.007 * turn);
        kill(child, SIGKILL);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
        for (int k = 0; k < 2; k++) {
            store_bytes b = { 0 };
            const tsr_sink sink = { &b, store_take };
            const tsr_error error =
                tsr_store_get(store, k ? "key" : "other", 0, 0, &sink, NULL);
            assert_true(error == TSR_E_MISSING ||
                        store_which(&b, WRITERS, sizes) > 0);
            free(b.data);
        }
        /* Nor does it hold up anybody. */
        assert_int_equal(store_put_object(store, "mine", 1, 10), TSR_OK);
    }
    tsr_store_close(&store);
    /* Old leftovers go with the next writer, young ones stay. */
    const struct timespec old[2] = { { .tv_sec = 1000 }, { .tv_sec = 1000 } };
    snprintf(name, sizeof name, "%s/tmp/%s", path, "old");
    assert_int_equal(close(open(name, O_WRONLY | O_CREAT, 0666)), 0);
    assert_int_equal(utimensat(AT_FDCWD, name, old, 0), 0);
    /* However old, one that somebody holds is being written. */
    snprintf(held, sizeof held, "%s/tmp/%s", path, "held");
    const int writer = open(held, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    assert_int_equal(flock(writer, LOCK_EX), 0);
    assert_int_equal(utimensat(AT_FDCWD, held, old, 0), 0);
    const int before = left_in_tmp(path);
    store = store_open(path, &s);
    assert_int_equal(store_put_object(store, "mine", 2, 10), TSR_OK);
    assert_int_equal(left_in_tmp(path), before - 1);
    assert_int_not_equal(access(name, F_OK), 0);
    assert_int_equal(access(held, F_OK), 0);
    assert_int_equal(close(writer), 0);
    tsr_store_close(&store);
    store_rmdir(path);
}

/* ---- full, forbidden ---- */

/* The old object stays, nothing of the new one does. */
static int put_too_much(const char *path)
{
    store_note note = { .lines = 0 };
    const tsr_store_settings s = store_settings(&note);
    tsr_store *store;
    if (tsr_store_open(&store, path, &s) ||
        store_put_object(store, "key", 1, 1000))
        return 1;
    if (store_put_object(store, "key", 2, 3 << 20) != TSR_E_LIMIT || !note.lines)
        return 2;
    if (store_put_object(store, "new", 2, 3 << 20) != TSR_E_LIMIT)
        return 3;
    if (store_get_object(store, "new", 2, 3 << 20) != TSR_E_MISSING)
        return 4;
    if (left_in_tmp(path))
        return 5;
    if (store_get_object(store, "key", 1, 1000))
        return 6;
    if (store_put_object(store, "new", 3, 2000))
        return 7;
    tsr_store_close(&store);
    return 0;
}

static int limited(const char *path)
{
    const struct rlimit limit = { 1 << 20, 1 << 20 };
    signal(SIGXFSZ, SIG_IGN);
    return setrlimit(RLIMIT_FSIZE, &limit) ? SKIP : put_too_much(path);
}

static int small_disk(const char *path)
{
    if (unshare(CLONE_NEWNS) ||
        mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) ||
        mount("tmpfs", path, "tmpfs", 0, "size=1m"))
        return SKIP;
    return put_too_much(path);
}

static void full(void **state)
{
    char path[32];
    (void)state;
    store_mkdir_disk(path);
    assert_int_equal(in_child(limited, path), 0);
    store_rmdir(path);
    store_mkdir(path);
    const int rc = in_child(small_disk, path);
    store_rmdir(path);
    if (rc == SKIP)
        skip();
    assert_int_equal(rc, 0);
}

static int forbidden_child(const char *path)
{
    const tsr_store_settings s = store_settings(NULL);
    tsr_store *store;
    char name[64];
    if (!geteuid() && setuid(65534))
        return SKIP;
    snprintf(name, sizeof name, "%s/below", path);
    if (tsr_store_open(&store, name, &s) != TSR_E_DENIED)
        return 1;
    if (tsr_store_open(&store, path, &s))
        return 2;
    if (store_get_object(store, "open", 1, 1000))
        return 3;
    if (store_get_object(store, "shut", 1, 1000) != TSR_E_DENIED)
        return 4;
    if (store_put_object(store, "open", 2, 1000) != TSR_E_DENIED)
        return 5;
    if (tsr_store_remove(store, "open") != TSR_E_DENIED)
        return 6;
    tsr_store_close(&store);
    return 0;
}

static void forbidden(void **state)
{
    static const char *const part[] = { "", "/op", "/sh", "/tmp" };
    const tsr_store_settings s = store_settings(NULL);
    char path[32], name[64];
    (void)state;
    store_mkdir(path);
    tsr_store *store = store_open(path, &s);
    assert_int_equal(store_put_object(store, "open", 1, 1000), TSR_OK);
    assert_int_equal(store_put_object(store, "shut", 1, 1000), TSR_OK);
    snprintf(name, sizeof name, "%s/sh/shut", path);
    assert_int_equal(chmod(name, 0), 0);
    for (int i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "%s%s", path, part[i]);
        assert_int_equal(chmod(name, 0555), 0);
    }
    const int rc = in_child(forbidden_child, path);
    for (int i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "%s%s", path, part[i]);
        assert_int_equal(chmod(name, 0777), 0);
    }
    tsr_store_close(&store);
    store_rmdir(path);
    if (rc == SKIP)
        skip();
    assert_int_equal(rc, 0);
}

/* ---- a cap ---- */

static void order(void **state)
{
    tsr_store_settings s = store_settings(NULL);
    tsr_store_entry entry;
    char path[32];
    int fd;
    (void)state;
    store_mkdir(path);
    s.capacity = 3000;
    tsr_store *store = store_open(path, &s);
    assert_int_equal(store_put_object(store, "a", 1, 1000), TSR_OK);
    assert_int_equal(store_put_object(store, "b", 1, 1000), TSR_OK);
    assert_int_equal(store_put_object(store, "c", 1, 1000), TSR_OK);
    assert_int_equal(store_list(store, "").n, 3);
    /* To get is to use, to look is not. */
    assert_int_equal(store_get_range(store, "a", 1, 1000, 0, 1), TSR_OK);
    assert_int_equal(tsr_store_stat(store, "b", &entry), TSR_OK);
    assert_int_equal(store_put_object(store, "d", 1, 1000), TSR_OK);
    assert_int_equal(tsr_store_stat(store, "b", &entry), TSR_E_MISSING);
    assert_int_equal(tsr_store_open_file(store, "c", &fd, &entry), TSR_OK);
    close(fd);
    assert_int_equal(store_put_object(store, "e", 1, 500), TSR_OK);
    assert_int_equal(tsr_store_stat(store, "a", &entry), TSR_E_MISSING);
    /* Replacing makes room by itself, and is use. */
    assert_int_equal(store_put_object(store, "d", 2, 1500), TSR_OK);
    assert_int_equal(store_list(store, "").bytes, 3000);
    assert_int_equal(store_put_object(store, "f", 1, 1), TSR_OK);
    assert_int_equal(tsr_store_stat(store, "c", &entry), TSR_E_MISSING);
    assert_int_equal(store_list(store, "").n, 3);
    /* All others go for one that just fits; a larger one moves nothing. */
    assert_int_equal(store_put_object(store, "g", 1, 3001), TSR_E_LIMIT);
    assert_int_equal(store_list(store, "").n, 3);
    assert_int_equal(store_put_object(store, "h", 1, 3000), TSR_OK);
    assert_int_equal(store_list(store, "").n, 1);
    assert_int_equal(tsr_store_remove(store, "h"), TSR_OK);
    assert_int_equal(store_put_object(store, "i", 1, 3000), TSR_OK);
    assert_int_equal(store_get_object(store, "i", 1, 3000), TSR_OK);
    tsr_store_close(&store);
    store_rmdir(path);
}

/* More objects than one search finds, whose order of use is not that of writing;
 * objects that came by other ways are found too. */
static void long_order(void **state)
{
    enum { N = 3000, MORE = 1500, STEP = 7 };
    tsr_store_settings s = store_settings(NULL);
    tsr_store_entry entry;
    char path[32], name[64], key[8];
    (void)state;
    store_mkdir(path);
    tsr_store *store = store_open(path, &s);
    for (int i = 0; i < 100; i++) {
        snprintf(name, sizeof name, "%s/%02d", path, i);
        assert_int_equal(mkdir(name, 0777), 0);
    }
    for (int i = 0; i < N; i++) {
        /* Used at second i * STEP mod N. */
        const struct timespec used[2] = {
            { .tv_sec = 1000 + i * STEP % N }, { .tv_sec = 5 }
        };
        snprintf(name, sizeof name, "%s/%02d/%02d%02d", path, i / 100, i / 100,
                 i % 100);
        const int fd = open(name, O_WRONLY | O_CREAT, 0666);
        assert_int_equal(write(fd, "0123456789", 10), 10);
        assert_int_equal(futimens(fd, used), 0);
        close(fd);
    }
    tsr_store_close(&store);
    s.capacity = N * 10;
    store = store_open(path, &s);
    for (int i = 0; i < MORE; i++) {
        snprintf(key, sizeof key, "new%d", i);
        assert_int_equal(tsr_store_put(store, key, "abcdefghij", 10), TSR_OK);
    }
    for (int i = 0; i < N; i++) {
        snprintf(key, sizeof key, "%02d%02d", i / 100, i % 100);
        assert_int_equal(tsr_store_stat(store, key, &entry),
                         i * STEP % N < MORE ? TSR_E_MISSING : TSR_OK);
    }
    assert_int_equal(store_list(store, "").bytes, N * 10);
    tsr_store_close(&store);
    store_rmdir(path);
}

static int fill(const char *path)
{
    tsr_store_settings s = store_settings(NULL);
    tsr_store *store;
    char key[32];
    check_rng rng = { (uint64_t)getpid() };
    s.capacity = 100000;
    if (tsr_store_open(&store, path, &s))
        return 1;
    for (int i = 0; i < 150; i++) {
        const uint32_t which = check_below(&rng, 60);
        snprintf(key, sizeof key, "%02u-%u", which % 8, which);
        const size_t size = 3000 + 10 * which;
        const tsr_error error = i % 10 == 9 ? tsr_store_remove(store, key) :
            i % 2 ? store_put_object(store, key, which, size) :
            store_get_object(store, key, which, size);
        if (error && error != TSR_E_MISSING)
            return 2;
    }
    tsr_store_close(&store);
    return 0;
}

/* Several processes at one folder: the cap holds, and their sum is right. */
static void shared(void **state)
{
    const tsr_store_settings s = store_settings(NULL);
    char path[32], name[64], text[64] = "";
    pid_t child[4];
    int status;
    (void)state;
    store_mkdir_disk(path);
    for (int i = 0; i < 4; i++) {
        child[i] = fork();
        if (!child[i])
            _exit(fill(path));
    }
    for (int i = 0; i < 4; i++) {
        assert_int_equal(waitpid(child[i], &status, 0), child[i]);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    tsr_store *store = store_open(path, &s);
    const store_count all = store_list(store, "");
    assert_true(all.bytes <= 100000 && all.n >= 25);
    snprintf(name, sizeof name, "%s/tessera-store", path);
    const int fd = open(name, O_RDONLY);
    assert_true(read(fd, text, sizeof text - 1) > 16);
    close(fd);
    assert_memory_equal(text, "tessera store 1\n", 16);
    assert_int_equal(strtoull(text + 16, NULL, 10), all.bytes);
    tsr_store_close(&store);
    store_rmdir(path);
}

/* More empty objects than a search finds at once, all older than the others. */
static void empty(void **state)
{
    static const struct timespec old[2] = { { .tv_sec = 1 }, { .tv_sec = 1 } };
    tsr_store_settings s = store_settings(NULL);
    char path[32], name[64];
    (void)state;
    store_mkdir(path);
    s.capacity = 2500;
    tsr_store *store = store_open(path, &s);
    snprintf(name, sizeof name, "%s/ze", path);
    assert_int_equal(mkdir(name, 0777), 0);
    for (int i = 0; i < 1100; i++) {
        snprintf(name, sizeof name, "%s/ze/ze%d", path, i);
        const int fd = open(name, O_WRONLY | O_CREAT, 0666);
        assert_int_equal(futimens(fd, old), 0);
        close(fd);
    }
    assert_int_equal(store_put_object(store, "a", 1, 1000), TSR_OK);
    assert_int_equal(store_put_object(store, "b", 1, 1000), TSR_OK);
    assert_int_equal(store_put_object(store, "c", 1, 1000), TSR_OK);
    assert_int_equal(store_get_object(store, "a", 1, 1000), TSR_E_MISSING);
    assert_int_equal(store_list(store, "").bytes, 2000);
    tsr_store_close(&store);
    store_rmdir(path);
}

/* A sum that was damaged is counted anew. */
static void bad_sum(void **state)
{
    static const char *const text[] = { "", "tessera store 1\n",
        "tessera store 1\n-0000000000000000001\n",
        "tessera store 1\n99999999999999999999\n",
        "tessera store 1\n00000000000000000000\n" };
    tsr_store_settings s = store_settings(NULL);
    char path[32], name[64];
    (void)state;
    store_mkdir(path);
    s.capacity = 2500;
    tsr_store *store = store_open(path, &s);
    snprintf(name, sizeof name, "%s/tessera-store", path);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(store_put_object(store, "a", 1, 1000), TSR_OK);
        assert_int_equal(store_put_object(store, "b", 1, 1000), TSR_OK);
        const int fd = open(name, O_WRONLY | O_TRUNC);
        assert_int_equal(write(fd, text[i], strlen(text[i])), strlen(text[i]));
        close(fd);
        assert_int_equal(store_put_object(store, "b", 2, 1000), TSR_OK);
        assert_int_equal(store_list(store, "").n, 2);
        assert_int_equal(store_put_object(store, "c", 1, 1000), TSR_OK);
        assert_int_equal(store_list(store, "").n, 2);
        assert_int_equal(store_get_object(store, "a", 1, 1000), TSR_E_MISSING);
        assert_int_equal(tsr_store_remove(store, "c"), TSR_OK);
    }
    tsr_store_close(&store);
    store_rmdir(path);
}

/* ---- many ---- */

/* Sanitizers keep what is freed. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { KEPT = 1 << 20 };
#else
enum { KEPT = 512 };
#endif

static long peak(void)
{
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    return use.ru_maxrss;
}

static void many(void **state)
{
    enum { N = 10000 };
    const tsr_store_settings s = store_settings(NULL);
    tsr_store_entry entry;
    char path[32], key[65];
    check_rng rng = { 42 };
    (void)state;
    store_mkdir(path);
    tsr_store *store = store_open(path, &s);
    assert_int_equal(store_put_object(store, "warm", 1, 100), TSR_OK);
    assert_int_equal(store_list(store, "").n, 1);
    const long before = peak();
    for (int i = 0; i < N; i++) {
        snprintf(key, sizeof key, "%08x%08x%047d", check_u32(&rng),
                 check_u32(&rng), i);
        assert_int_equal(tsr_store_put(store, key, key, 1 + (size_t)i % 50),
                         TSR_OK);
        if (i % 100 == 0)
            assert_int_equal(tsr_store_stat(store, key, &entry), TSR_OK);
    }
    assert_int_equal(store_list(store, "").n, N + 1);
    /* 224 bytes for each would be 2200 KiB. */
    assert_true(peak() - before < KEPT);
    tsr_store_close(&store);
    store_rmdir(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many),
        cmocka_unit_test(links),
        cmocka_unit_test(keeps_open),
        cmocka_unit_test(writers),
        cmocka_unit_test(killed),
        cmocka_unit_test(full),
        cmocka_unit_test(forbidden),
        cmocka_unit_test(order),
        cmocka_unit_test(long_order),
        cmocka_unit_test(shared),
        cmocka_unit_test(empty),
        cmocka_unit_test(bad_sum),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
