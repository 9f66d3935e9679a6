/* SPDX-License-Identifier: BSD-2-Clause */
/* The library still writes and reads exactly the files of tests/golden. */
#include <dirent.h>
#include "tests/check.h"
#include "tests/golden.h"

enum { MOST = 200 };

/* Names in a folder that end so, sorted; counts them. */
static int list(const char *folder, const char *end, char names[MOST][80])
{
    DIR *dir = opendir(check_path(folder));
    const struct dirent *entry;
    int n = 0;
    assert_non_null(dir);
    while ((entry = readdir(dir))) {
        const size_t size = strlen(entry->d_name);
        if (size < strlen(end) || strcmp(entry->d_name + size - strlen(end), end))
            continue;
        assert_in_range(n, 0, MOST - 1);
        snprintf(names[n++], sizeof names[0], "%s", entry->d_name);
    }
    closedir(dir);
    return n;
}

/* tests/golden/[bad/]name without its last `cut` characters, with `end`. */
static const char *path(const char *folder, const char *name, size_t cut,
                        const char *end)
{
    char text[300];
    snprintf(text, sizeof text, "%s/%.*s%s", folder, (int)(strlen(name) - cut),
             name, end);
    return check_path(text);
}

/* A buffer of exactly that size, for ASan. */
static uint8_t *load(const char *file, size_t *size)
{
    char *text = golden_file(file, size);
    uint8_t *data = malloc(*size ? *size : 1);
    memcpy(data, text, *size);
    free(text);
    return data;
}

static char names[MOST][80];

static void test_segments(void **state)
{
    tsr_context *ctx = check_context("c", 1);
    const unsigned cpu = ctx->cpu;
    const int n = list("tests/golden", ".seg", names);
    (void)state;
    assert_in_range(n, 13, MOST);
    for (int i = 0; i < n; i++) {
        golden g;
        size_t size;
        uint8_t *want = load(path("tests/golden", names[i], 0, ""), &size);
        int same;
        golden_open(&g, ctx, path("tests/golden", names[i], 4, ".txt"));
        golden_encode(&g);
        assert_int_equal(g.out_bytes, size);
        assert_memory_equal(g.out, want, size);
        for (int fast = 0; fast < 2; fast++) {
            ctx->cpu = fast ? cpu : 0;
            assert_int_equal(golden_decode(&g, want, size, &same), TSR_OK);
            assert_true(same);
        }
        golden_close(&g);
        free(want);
    }
    tsr_context_close(&ctx);
}

static void test_bad_segments(void **state)
{
    tsr_context *ctx = check_context("c", 1);
    const int n = list("tests/golden/bad", ".seg", names);
    (void)state;
    assert_in_range(n, 17, MOST);
    for (int i = 0; i < n; i++) {
        golden g;
        size_t size;
        uint8_t *data = load(path("tests/golden/bad", names[i], 0, ""), &size);
        const char *dashes = strstr(names[i], "--");
        int same;
        assert_non_null(dashes);
        golden_open(&g, ctx, path("tests/golden", names[i], strlen(dashes),
                                  ".txt"));
        if (golden_decode(&g, data, size, &same) != TSR_E_CORRUPT)
            fail_msg("%s was taken", names[i]);
        golden_close(&g);
        free(data);
    }
    tsr_context_close(&ctx);
}

typedef struct memory {
    const uint8_t *data;
    size_t size;
} memory;

static tsr_error mem_read(void *cookie, void *data, size_t size, size_t *got)
{
    memory *m = cookie;
    *got = size < m->size ? size : m->size;
    memcpy(data, m->data, *got);
    m->data += *got;
    m->size -= *got;
    return TSR_OK;
}

static const char *error_name(tsr_error error)
{
    return error == TSR_E_FORMAT ? "FORMAT" : error == TSR_E_VERSION ? "VERSION"
         : error == TSR_E_TRUNCATED ? "TRUNCATED" : "?";
}

/* What the reader says of a container, as in the .expect files. */
static void report(tsr_context *ctx, const uint8_t *data, size_t size,
                   char *text, size_t room)
{
    memory m = { data, size };
    const tsr_source source = { &m, mem_read };
    tsr_stream_reader *r;
    tsr_chunk c;
    tsr_error error = tsr_stream_reader_open(&r, ctx, &source);
    size_t n = 0;

    if (error) {
        snprintf(text, room, "error %s\n", error_name(error));
        return;
    }
    while ((error = tsr_stream_reader_next(r, &c)) != TSR_E_EOF) {
        if (error == TSR_E_LIMIT)
            continue;
        assert_int_equal(error, TSR_OK);
        for (int i = 0; i < 4; i++)
            text[n++] = (char)(c.type >> 8 * i);
        n += (size_t)snprintf(text + n, room - n, " %d %u %zu\n", c.stream, c.seq,
                              c.bytes);
    }
    const tsr_stream_damage d = tsr_stream_reader_damage(r);
    snprintf(text + n, room - n, "kind %d lost %llu skipped %llu truncated %d\n",
             tsr_stream_reader_kind(r), (unsigned long long)d.lost_chunks,
             (unsigned long long)d.skipped_bytes, d.truncated);
    tsr_stream_reader_close(&r);
}

static void test_files(void **state)
{
    tsr_context *ctx = check_context("c", 1);
    const int n = list("tests/golden", ".tess", names);
    static char text[4096];
    (void)state;
    assert_in_range(n, 2, MOST);
    for (int i = 0; i < n; i++) {
        golden g;
        size_t size;
        uint8_t *want = load(path("tests/golden", names[i], 0, ""), &size);
        golden_open(&g, ctx, path("tests/golden", names[i], 5, ".txt"));
        assert_int_equal(g.out_bytes, size);
        assert_memory_equal(g.out, want, size);
        report(ctx, want, size, text, sizeof text);
        assert_non_null(strstr(text, " lost 0 skipped 0 truncated 0"));
        golden_close(&g);
        free(want);
    }
    tsr_context_close(&ctx);
}

static void test_bad_files(void **state)
{
    tsr_context *ctx = check_context("c", 1);
    const int n = list("tests/golden/bad", ".tess", names);
    static char text[4096];
    (void)state;
    assert_in_range(n, 21, MOST);
    ctx->logger.log = NULL;
    for (int i = 0; i < n; i++) {
        size_t size, expect_size;
        uint8_t *data = load(path("tests/golden/bad", names[i], 0, ""), &size);
        char *expect = golden_file(path("tests/golden/bad", names[i], 0,
                                        ".expect"), &expect_size);
        report(ctx, data, size, text, sizeof text);
        assert_string_equal(text, expect);
        free(expect);
        free(data);
    }
    tsr_context_close(&ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_segments),
        cmocka_unit_test(test_bad_segments),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_bad_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
