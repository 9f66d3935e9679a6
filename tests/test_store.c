/* SPDX-License-Identifier: BSD-2-Clause */
/* What all stores have in common (keys, settings, attempts, resuming, cancel), and
 * the folder store as one caller sees it. */
#include "tests/store_case.h"
#include <errno.h>
#include <pthread.h>
#include "net/store_impl.h"

static void opening(void **state)
{
    tsr_store_settings s = store_settings(NULL);
    tsr_store_entry entry;
    tsr_store *store;
    char path[32], file[64];
    (void)state;
    store_mkdir(path);
    assert_int_equal(tsr_store_open(&store, "ftp://x", &s), TSR_E_ARG);
    assert_null(store);
    assert_int_equal(tsr_store_open(&store, "dir:", &s), TSR_E_ARG);
    assert_int_equal(tsr_store_open(&store, "./none/none", &s), TSR_E_IO);
    s.timeout = 0;
    assert_int_equal(tsr_store_open(&store, path, &s), TSR_E_ARG);
    s = store_settings(NULL);
    s.retries = 101;
    assert_int_equal(tsr_store_open(&store, path, &s), TSR_E_ARG);
    s = store_settings(NULL);
    s.max_object = 0;
    assert_int_equal(tsr_store_open(&store, path, &s), TSR_E_ARG);
    s = store_settings(NULL);
    s.size = 0;
    assert_int_equal(tsr_store_open(&store, path, &s), TSR_E_ARG);
    s.size = offsetof(tsr_store_settings, logger); /* an older program's */
    s.key_prefix = "";
    memset(&s.logger, 0xa5, sizeof s.logger);
    store = store_open(path, &s);
    assert_int_equal(tsr_store_stat(store, "none", &entry), TSR_E_MISSING);
    assert_null(store->settings.logger.log);
    assert_string_equal(store->settings.key_prefix, "");
    tsr_store_close(&store);
    s = store_settings(NULL);
    store = store_open(path, &s);
    tsr_store_close(&store);
    assert_null(store);
    /* A folder with other files is left alone, also by way of dir:. */
    snprintf(file, sizeof file, "%s/other", path);
    assert_int_equal(mkdir(file, 0777), 0);
    snprintf(file, sizeof file, "%s/other/a", path);
    assert_int_equal(close(open(file, O_WRONLY | O_CREAT, 0666)), 0);
    snprintf(file, sizeof file, "dir:%s/other", path);
    assert_int_equal(tsr_store_open(&store, file, &s), TSR_E_ARG);
    store_rmdir(path);
}

static void keys(void **state)
{
    static const char *const bad[] = {
        "", ".", "..", ".a", "a/b", "../a", "a\\b", "a b", "a\n", "a%2fb", "\xc3\xa4",
        "a*", "a?", "a:b", "{a}"
    };
    char path[32], longest[202];
    const tsr_store_settings s = store_settings(NULL);
    tsr_store_entry entry;
    store_bytes b = { 0 };
    const tsr_sink sink = { &b, store_take };
    int fd;
    (void)state;
    store_mkdir(path);
    tsr_store *store = store_open(path, &s);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(tsr_store_put(store, bad[i], "x", 1), TSR_E_ARG);
        assert_int_equal(tsr_store_get(store, bad[i], 0, 0, &sink, NULL),
                         TSR_E_ARG);
        assert_int_equal(tsr_store_stat(store, bad[i], &entry), TSR_E_ARG);
        assert_int_equal(tsr_store_remove(store, bad[i]), TSR_E_ARG);
        assert_int_equal(tsr_store_open_file(store, bad[i], &fd, &entry),
                         TSR_E_ARG);
        if (*bad[i])
            assert_int_equal(tsr_store_list(store, bad[i], store_count_one, NULL),
                             TSR_E_ARG);
    }
    memset(longest, 'k', 201);
    longest[201] = '\0';
    assert_int_equal(tsr_store_put(store, longest, "x", 1), TSR_E_ARG);
    longest[200] = '\0';
    assert_int_equal(store_put_object(store, longest, 1, 10), TSR_OK);
    assert_int_equal(store_get_object(store, longest, 1, 10), TSR_OK);
    assert_int_equal(store_put_object(store, "a", 2, 10), TSR_OK);
    assert_int_equal(store_put_object(store, "a.", 3, 10), TSR_OK);
    assert_int_equal(store_put_object(store, "tmp", 4, 10), TSR_OK);
    assert_int_equal(store_put_object(store, "tessera-store", 5, 10), TSR_OK);
    assert_int_equal(store_get_object(store, "a", 2, 10), TSR_OK);
    assert_int_equal(store_get_object(store, "a.", 3, 10), TSR_OK);
    assert_int_equal(store_get_object(store, "tmp", 4, 10), TSR_OK);
    assert_int_equal(store_get_object(store, "tessera-store", 5, 10), TSR_OK);
    assert_int_equal(store_list(store, "").n, 5);
    tsr_store_close(&store);
    store_rmdir(path);
}

static void ranges(void **state)
{
    enum { SIZE = 600001 };     /* more than two pieces */
    static const size_t range[][2] = {
        { 0, 0 }, { 0, 1 }, { 0, SIZE }, { 1, SIZE }, { SIZE - 1, 0 },
        { SIZE, 0 }, { SIZE, 5 }, { SIZE + 9, 5 }, { 262143, 2 }, { 100, 300000 }
    };
    const tsr_store_settings s = store_settings(NULL);
    store_bytes b = { 0 };
    const tsr_sink sink = { &b, store_take };
    tsr_store_entry entry;
    char path[32];
    (void)state;
    store_mkdir(path);
    tsr_store *store = store_open(path, &s);
    assert_int_equal(tsr_store_stat(store, "abc", &entry), TSR_E_MISSING);
    assert_int_equal(tsr_store_remove(store, "abc"), TSR_E_MISSING);
    assert_int_equal(store_get_object(store, "abc", 1, 1), TSR_E_MISSING);
    assert_int_equal(store_put_object(store, "abc", 1, SIZE), TSR_OK);
    for (size_t i = 0; i < sizeof range / sizeof *range; i++)
        assert_int_equal(store_get_range(store, "abc", 1, SIZE, range[i][0],
                                         range[i][1]), TSR_OK);
    assert_int_equal(tsr_store_get(store, "abc", UINT64_MAX, 2, &sink, NULL),
                     TSR_E_ARG);
    assert_int_equal(tsr_store_stat(store, "abc", &entry), TSR_OK);
    assert_int_equal(entry.bytes, SIZE);
    assert_true(entry.modified > 1700000000);
    assert_int_equal(store_put_object(store, "abc", 2, 0), TSR_OK);
    assert_int_equal(store_get_object(store, "abc", 2, 0), TSR_OK);
    b.fail_at = 1;
    assert_int_equal(store_put_object(store, "abc", 2, 7), TSR_OK);
    assert_int_equal(tsr_store_get(store, "abc", 0, 0, &sink, NULL), TSR_E_EOF);
    assert_int_equal(b.calls, 1);
    assert_int_equal(tsr_store_remove(store, "abc"), TSR_OK);
    assert_int_equal(tsr_store_stat(store, "abc", &entry), TSR_E_MISSING);
    tsr_store_close(&store);
    store_rmdir(path);
}

static void limits(void **state)
{
    tsr_store_settings s = store_settings(NULL);
    tsr_store_entry entry;
    char path[32];
    int fd;
    (void)state;
    store_mkdir(path);
    tsr_store *big = store_open(path, &s);
    s.max_object = 100;
    tsr_store *store = store_open(path, &s);
    assert_int_equal(store_put_object(store, "a", 1, 100), TSR_OK);
    assert_int_equal(store_put_object(store, "a", 1, 101), TSR_E_LIMIT);
    assert_int_equal(store_put_object(big, "b", 1, 101), TSR_OK);
    assert_int_equal(store_get_range(store, "b", 1, 101, 0, 5), TSR_E_LIMIT);
    assert_int_equal(tsr_store_stat(store, "b", &entry), TSR_E_LIMIT);
    assert_int_equal(tsr_store_open_file(store, "b", &fd, &entry), TSR_E_LIMIT);
    assert_int_equal(store_get_object(store, "a", 1, 100), TSR_OK);
    tsr_store_close(&store);
    tsr_store_close(&big);
    store_rmdir(path);
}

static tsr_error stop_third(void *cookie, const tsr_store_entry *entry)
{
    int *n = cookie;
    assert_true(entry->bytes == 10 && !strncmp(entry->key, "ab", 2));
    return ++*n == 3 ? TSR_E_EOF : TSR_OK;
}

static void lists(void **state)
{
    const tsr_store_settings s = store_settings(NULL);
    char path[32], key[16];
    int seen = 0;
    (void)state;
    store_mkdir(path);
    tsr_store *store = store_open(path, &s);
    assert_int_equal(store_list(store, "").n, 0);
    for (int i = 0; i < 30; i++) {
        snprintf(key, sizeof key, "%s%02d", i % 3 == 0 ? "ab" : i % 3 == 1 ?
                 "ac" : "b", i);
        assert_int_equal(store_put_object(store, key, 1, 10), TSR_OK);
    }
    assert_int_equal(store_list(store, "").n, 30);
    assert_int_equal(store_list(store, "a").n, 20);
    assert_int_equal(store_list(store, "ab").bytes, 100);
    assert_int_equal(store_list(store, "ab1").n, 3);    /* 12, 15, 18 */
    assert_string_equal(store_list(store, "ac16").last, "ac16");
    assert_int_equal(store_list(store, "ac17").n, 0);
    assert_int_equal(store_list(store, "zz").n, 0);
    assert_int_equal(tsr_store_list(store, "ab", stop_third, &seen), TSR_E_EOF);
    assert_int_equal(seen, 3);
    tsr_store_close(&store);
    store_rmdir(path);
}

/* ---- a driver that breaks off ---- */

static struct fake {
    size_t size, step;          /* of the object; bytes until it breaks off */
    int calls, fail, grow, age; /* attempts that fail; then another object */
    int replaced, puts;
    tsr_error error;
} fake;

static tsr_error fake_get(tsr_store *store, const char *key, uint64_t offset,
                          uint64_t bytes, const tsr_sink *sink,
                          tsr_store_entry *entry)
{
    const int broken = fake.calls++ < fake.fail;
    uint8_t *data = store_object(1, fake.size);
    uint64_t n = fake.size - offset;
    strcpy(entry->key, key);
    entry->bytes = fake.size + (size_t)(broken ? 0 : fake.grow);
    entry->modified = broken ? 0 : fake.age;
    if (bytes && bytes < n)
        n = bytes;
    if (broken && n > fake.step)
        n = fake.step;
    const tsr_error error = sink->write(sink->cookie, data + offset, n);
    free(data);
    store->replaced = broken && fake.replaced;
    return error ? error : broken ? fake.error : TSR_OK;
}

static tsr_error fake_put(tsr_store *store, const char *key, const void *data,
                          size_t size)
{
    (void)store, (void)key, (void)data, (void)size;
    return fake.puts++ < fake.fail ? fake.error : TSR_OK;
}

static void fake_close(tsr_store *store)
{
    (void)store;
}

static tsr_store *open_fake(const char *path, int retries)
{
    static tsri_store_driver driver = { .scheme = "fake" };
    tsr_store_settings s = store_settings(NULL);
    s.retries = retries;
    tsr_store *store = store_open(path, &s);
    store->driver->close(store);
    driver.get = fake_get;
    driver.put = fake_put;
    driver.close = fake_close;
    store->driver = &driver;
    fake = (struct fake){ .size = 1000, .step = 300, .fail = 2,
                          .error = TSR_E_IO };
    return store;
}

static void resuming(void **state)
{
    char path[32];
    store_bytes b = { 0 };
    const tsr_sink sink = { &b, store_take };
    (void)state;
    store_mkdir(path);
    tsr_store *store = open_fake(path, 2);
    assert_int_equal(store_get_object(store, "a", 1, 1000), TSR_OK);
    assert_int_equal(fake.calls, 3);
    assert_int_equal(tsri_store_retried(store), 2);
    /* All of it came before it broke off. */
    fake.calls = 0;
    assert_int_equal(store_get_range(store, "a", 1, 1000, 10, 300), TSR_OK);
    assert_int_equal(fake.calls, 1);
    /* Nothing of the first object was given, so that the second may be another. */
    fake.calls = 0;
    fake.step = 0;
    fake.age = 9;
    assert_int_equal(store_get_object(store, "a", 1, 1000), TSR_OK);
    fake.step = 300;
    fake.age = 0;
    /* One attempt too few: a beginning, and the error. */
    fake.calls = 0;
    fake.fail = 3;
    assert_int_equal(tsr_store_get(store, "a", 0, 0, &sink, NULL), TSR_E_IO);
    assert_int_equal(b.size, 900);
    /* Other errors are not tried again. */
    fake.calls = 0;
    fake.error = TSR_E_DENIED;
    assert_int_equal(store_get_object(store, "a", 1, 1000), TSR_E_DENIED);
    assert_int_equal(fake.calls, 1);
    /* Nor is the sink's own. */
    b.fail_at = 1200;
    fake.calls = 0;
    fake.error = TSR_E_IO;
    assert_int_equal(tsr_store_get(store, "a", 0, 0, &sink, NULL), TSR_E_EOF);
    assert_int_equal(fake.calls, 2);
    free(b.data);
    tsr_store_close(&store);
    store_rmdir(path);
}

/* Nothing of one object and something of another. */
static void replaced(void **state)
{
    char path[32];
    (void)state;
    store_mkdir(path);
    tsr_store *store = open_fake(path, 5);
    fake.grow = 1;
    assert_int_equal(store_get_object(store, "a", 1, 1000), TSR_E_IO);
    fake.calls = fake.grow = 0;
    fake.age = 7;
    assert_int_equal(store_get_object(store, "a", 1, 1000), TSR_E_IO);
    fake.calls = fake.age = 0;
    fake.replaced = 1;
    assert_int_equal(store_get_object(store, "a", 1, 1000), TSR_E_IO);
    assert_int_equal(fake.calls, 1);
    fake.calls = 0;
    fake.replaced = 0;
    assert_int_equal(store_get_object(store, "a", 1, 1000), TSR_OK);
    fake.fail = 1;
    assert_int_equal(tsr_store_put(store, "a", "x", 1), TSR_OK);
    assert_int_equal(fake.puts, 2);
    tsr_store_close(&store);
    store_rmdir(path);
}

static void *cancel_soon(void *cookie)
{
    store_pause(0.1);
    tsr_store_cancel(cookie);
    return NULL;
}

static void cancel(void **state)
{
    char path[32];
    pthread_t thread;
    tsr_store_entry entry;
    (void)state;
    store_mkdir(path);
    tsr_store *store = open_fake(path, 100);
    fake.fail = 1000;
    fake.step = 0;
    assert_int_equal(pthread_create(&thread, NULL, cancel_soon, store), 0);
    /* Minutes of attempts. */
    assert_int_equal(store_get_object(store, "a", 1, 1000), TSR_E_CANCELED);
    pthread_join(thread, NULL);
    assert_int_equal(tsr_store_stat(store, "a", &entry), TSR_E_CANCELED);
    assert_int_equal(tsr_store_put(store, "a", "x", 1), TSR_E_CANCELED);
    assert_int_equal(tsr_store_remove(store, "a"), TSR_E_CANCELED);
    assert_int_equal(tsr_store_list(store, "", store_count_one, NULL),
                     TSR_E_CANCELED);
    tsr_store_close(&store);
    store_rmdir(path);
}

static void cancel_now(void *cookie)
{
    tsr_store_cancel(cookie);
}

static void cancel_get(void **state)
{
    const tsr_store_settings s = store_settings(NULL);
    char path[32];
    (void)state;
    store_mkdir(path);
    tsr_store *store = store_open(path, &s);
    assert_int_equal(store_put_object(store, "a", 1, 1 << 20), TSR_OK);
    store_bytes b = { .each = cancel_now, .cookie = store };
    const tsr_sink sink = { &b, store_take };
    assert_int_equal(tsr_store_get(store, "a", 0, 0, &sink, NULL),
                     TSR_E_CANCELED);
    assert_int_equal(b.calls, 1);
    free(b.data);
    tsr_store_close(&store);
    store_rmdir(path);
}

static void schemes(void **state)
{
    int dir = 0, n = 0;
    (void)state;
    for (const char *name; (name = tsr_store_scheme_at(n)) != NULL; n++)
        dir += !strcmp(name, "dir");
    assert_true(dir == 1 && n >= 1 && n <= 4);
    assert_null(tsr_store_scheme_at(-1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opening),
        cmocka_unit_test(keys),
        cmocka_unit_test(ranges),
        cmocka_unit_test(limits),
        cmocka_unit_test(lists),
        cmocka_unit_test(resuming),
        cmocka_unit_test(replaced),
        cmocka_unit_test(cancel),
        cmocka_unit_test(cancel_get),
        cmocka_unit_test(schemes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
