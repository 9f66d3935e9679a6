/* SPDX-License-Identifier: BSD-2-Clause */
/* Caches to stores and back: the same as coding and decoding here, each chunk
 * once, in the order and quality asked for. */
#include "tests/stream_case.h"

static void check_there(const tsr_kv_job_result *r, const stream_case *c)
{
    if (r->error)
        print_message("# %s\n", r->message);
    assert_int_equal(r->error, TSR_OK);
    assert_string_equal(r->message, "");
    assert_int_equal(r->tokens, c->n);
    assert_int_equal(r->chunks, stream_chunks(c));
    assert_int_equal(r->missing, 0);
}

static void round_trip(const stream_case *c, const char *url, int connections,
                       int threads)
{
    tsr_kv_stream_settings s = stream_settings(c, url);
    tsr_kv_job_result r;
    kv_cache to;

    s.connections = connections;
    s.threads = threads;
    r = stream_push(c, &s);
    check_there(&r, c);
    assert_int_equal(r.present, 0);
    assert_true(r.bytes > 0);
    assert_int_equal(r.raw_bytes, c->n * 4 * (2 * 16 + 2 * 8) * 2);
    stream_room(c, &to);
    r = stream_pull(c, &s, &to);
    check_there(&r, c);
    assert_true(r.usable > 0 && r.seconds >= r.usable);
    assert_true(kv_same(&to, &c->local));
    assert_true(r.mean_levels == c->codec.levels);
    kv_check_guards(&to);
    /* Once more: nothing is sent. */
    r = stream_push(c, &s);
    check_there(&r, c);
    assert_int_equal(r.present, r.chunks);
    assert_int_equal(r.bytes, 0);
    s.replace = 1;
    r = stream_push(c, &s);
    check_there(&r, c);
    assert_int_equal(r.present, 0);
    assert_true(r.bytes > 0);
    kv_cache_close(&to);
}

/** In a folder, and in memory with threads that are late now and then. */
static void round_trips(void **state)
{
    static const struct { size_t n, each; } size[] = {
        { 1, 64 }, { 64, 64 }, { 65, 64 }, { 200, 64 }, { 100, 32 },
        { 400, 128 }, { 300, 256 }, { 50, 1024 }
    };
    int k = 0;
    (void)state;
    for (size_t i = 0; i < sizeof size / sizeof *size; i++)
        for (int levels = 1; levels <= 3; levels++, k++) {
            stream_case c;
            char path[32];
            stream_case_open(&c, size[i].n, size[i].each, levels,
                             (kv_layout)(k % 4), k % 3 == 0);
            store_mkdir(path);
            round_trip(&c, path, 1 + k % 5, 1 + k % 2);
            store_rmdir(path);
            mem_reset(0);
            mem[0].jitter = 300;
            mem[0].seed = (unsigned)k;
            round_trip(&c, "redis://0", 1 + k % 7, 1);
            stream_case_close(&c);
        }
    mem_reset(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trips),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
