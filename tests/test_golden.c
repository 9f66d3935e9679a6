/* SPDX-License-Identifier: BSD-2-Clause */
/* The library still writes and reads exactly the files of tests/golden. */
#include <dirent.h>
#include "tests/check.h"
#include "tests/golden.h"
#include "tests/memory.h"
#include "lib/crc32c.h"

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

static const char *error_name(tsr_error error)
{
    return error == TSR_E_FORMAT ? "FORMAT" : error == TSR_E_VERSION ? "VERSION"
         : error == TSR_E_TRUNCATED ? "TRUNCATED" : "?";
}

/* What the reader says of a container, as in the .expect files. */
static void report(tsr_context *ctx, const uint8_t *data, size_t size,
                   char *text, size_t room)
{
    mem_file m = { .data = (uint8_t *)data, .size = size };
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

/* ---- streams and packets, as in the .list files ---- */

static size_t list_streams(const tsr_media_reader *r, char *text, size_t room)
{
    size_t n = 0;
    for (int i = 0; i < tsr_media_reader_streams(r); i++) {
        const tsr_media_stream *s = tsr_media_reader_stream(r, i);
        n += (size_t)snprintf(text + n, room - n, "stream %d %s %u/%u ", i,
                              s->type == TSR_MEDIA_VIDEO ? "video" : "sound",
                              s->time_num, s->time_den);
        for (size_t b = 0; b < s->extradata_bytes; b++)
            n += (size_t)snprintf(text + n, room - n, "%02x", s->extradata[b]);
        n += (size_t)snprintf(text + n, room - n, "\n");
    }
    return n;
}

static void list_media(tsr_context *ctx, mem_file *m, bool seeks, char *text,
                       size_t room)
{
    const tsr_source source = { m, mem_read };
    const tsr_seeker seeker = { m, mem_seek, m->size };
    tsr_media_reader *r;
    tsr_media_packet p;
    tsr_error error = tsr_media_reader_open(&r, ctx, &source,
                                            seeks ? &seeker : NULL);
    size_t n = error ? 0 : list_streams(r, text, room);

    while (!error && !(error = tsr_media_reader_next(r, &p)))
        n += (size_t)snprintf(text + n, room - n, "packet %d %lld %llu %zu %08x\n",
                              p.stream, (long long)p.pts,
                              (unsigned long long)p.duration, p.bytes,
                              tsri_crc32c(0, p.data, p.bytes));
    if (error != TSR_E_EOF) {
        snprintf(text, room, "error\n");
    } else {
        const tsr_stream_damage d = tsr_media_reader_damage(r);
        snprintf(text + n, room - n, "damaged %d\n",
                 d.lost_chunks || d.skipped_bytes || d.truncated);
    }
    tsr_media_reader_close(&r);
}

static void check_lists(const char *folder, int least)
{
    tsr_context_settings quiet;
    tsr_context *ctx;
    const int n = list(folder, ".list", names);
    static char text[8192];

    tsr_context_settings_init(&quiet);
    assert_int_equal(tsr_context_open(&ctx, &quiet), TSR_OK);
    assert_in_range(n, least, MOST);
    for (int i = 0; i < n; i++) {
        size_t size, expected;
        uint8_t *data = load(path(folder, names[i], 5, ""), &size);
        char *expect = golden_file(path(folder, names[i], 0, ""), &expected);
        for (int seeks = 0; seeks < 2; seeks++) {
            mem_file m = { .data = data, .size = size, .seeks = 1000 };
            list_media(ctx, &m, seeks, text, sizeof text);
            if (strcmp(text, expect))
                fail_msg("%s, %d: %s", names[i], seeks, text);
        }
        free(expect);
        free(data);
    }
    tsr_context_close(&ctx);
}

static void test_lists(void **state)
{
    (void)state;
    check_lists("tests/golden", 3);
    check_lists("tests/golden/bad", 15);
}

/* The packets of a file, written again, are that file. */
static void test_media_writer(void **state)
{
    static const char *const name[] = { "media", "sound" };
    tsr_context *ctx = check_context("c", 1);
    (void)state;
    for (int i = 0; i < 2; i++) {
        mem_file m = { 0 }, out = { 0 };
        const tsr_source source = { &m, mem_read };
        const tsr_sink sink = { &out, mem_write };
        tsr_media_reader *r;
        tsr_media_writer *w;
        tsr_media_packet p;
        int index;
        m.data = load(path("tests/golden", name[i], 0, ".tess"), &m.size);
        assert_int_equal(tsr_media_reader_open(&r, ctx, &source, NULL), TSR_OK);
        assert_int_equal(tsr_media_writer_open(&w, ctx, &sink,
                                               tsr_media_reader_kind(r)), TSR_OK);
        for (int k = 0; k < tsr_media_reader_streams(r); k++)
            assert_int_equal(tsr_media_writer_stream(
                w, tsr_media_reader_stream(r, k), &index), TSR_OK);
        while (!tsr_media_reader_next(r, &p))
            assert_int_equal(tsr_media_writer_packet(w, &p), TSR_OK);
        assert_int_equal(tsr_media_writer_finish(w), TSR_OK);
        assert_int_equal(out.size, m.size);
        assert_memory_equal(out.data, m.data, m.size);
        tsr_media_writer_close(&w);
        tsr_media_reader_close(&r);
        free(out.data);
        free(m.data);
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
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_media_writer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
