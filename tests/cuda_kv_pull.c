/* SPDX-License-Identifier: BSD-2-Clause */
/* Pulls into device memory against pulls into host memory: the same bits, the
 * same tokens missing, nothing else written.  Skipped where there is no device. */
#include <tessera/kv_cuda.h>
#include "lib/cuda/device.h"
#include "tests/stream_case.h"

static tsri_cuda *gpu;

/* A cache like `to` on the device. */
typedef struct there {
    uint8_t *memory;
    int32_t *blocks;
    void **base;
    tsr_kv_view view;
} there;

static void there_open(there *d, const kv_cache *to)
{
    const size_t planes = kv_planes(&to->shape);
    const size_t blocks = to->view.tokens / 16 + 1;

    *d = (there){ .view = to->view };
    d->base = malloc(planes * sizeof *d->base);
    assert_int_equal(tsri_cuda_alloc(gpu, &d->memory, to->bytes, 1), TSR_OK);
    assert_int_equal(tsri_cuda_alloc(gpu, &d->blocks, blocks, 4), TSR_OK);
    assert_int_equal(tsri_cuda_upload(gpu, d->memory, to->memory, to->bytes),
                     TSR_OK);
    assert_int_equal(tsri_cuda_upload(gpu, d->blocks, to->blocks, 4 * blocks),
                     TSR_OK);
    assert_int_equal(tsri_cuda_sync(gpu), TSR_OK);
    for (size_t i = 0; i < planes; i++)
        d->base[i] = d->memory + ((uint8_t *)to->base[i] - to->memory);
    d->view.base = d->base;
    d->view.blocks = to->view.blocks ? d->blocks : NULL;
}

static void there_close(there *d, const kv_cache *to)
{
    assert_int_equal(tsri_cuda_download(gpu, to->memory, d->memory, to->bytes),
                     TSR_OK);
    assert_int_equal(tsri_cuda_sync(gpu), TSR_OK);
    tsri_cuda_free(gpu, d->memory);
    tsri_cuda_free(gpu, d->blocks);
    free(d->base);
}

/** A pull by way of the device, whose memory comes to `to`. */
static tsr_kv_job_result pull_there(const stream_case *c,
                                    const tsr_kv_stream_settings *settings,
                                    const kv_cache *to)
{
    tsr_kv_stream_settings s = *settings;
    tsr_kv_cuda_destination *destination;
    tsr_kv_job_result r;
    tsr_kv_job *job;
    there d;

    there_open(&d, to);
    assert_int_equal(tsr_kv_cuda_destination_open(
        &destination, c->ctx, &c->shape, &d.view, c->profile, c->ids, 0,
        tsri_cuda_stream(gpu)), TSR_OK);
    s.arrival = tsr_kv_cuda_destination_take;
    s.arrival_cookie = destination;
    assert_int_equal(tsr_kv_pull_begin(&job, &s, &c->shape, NULL, c->ids, c->n),
                     TSR_OK);
    r = stream_end(job);
    tsr_kv_cuda_destination_close(&destination);
    assert_null(destination);
    there_close(&d, to);
    return r;
}

/* Both pulls; returns what both say. */
static tsr_kv_job_result pull_both(const stream_case *c,
                                   const tsr_kv_stream_settings *s)
{
    kv_cache here, far;

    stream_room(c, &here);
    stream_room(c, &far);
    const tsr_kv_job_result a = stream_pull(c, s, &here);
    const tsr_kv_job_result b = pull_there(c, s, &far);
    if (b.error != a.error)
        print_message("# %s\n", b.message);
    assert_int_equal(a.error, b.error);
    assert_int_equal(a.tokens, b.tokens);
    assert_int_equal(a.missing, b.missing);
    assert_true(a.mean_levels == b.mean_levels);
    assert_true(stream_same(&here, &far, 0, a.tokens));
    kv_check_guards(&far);
    kv_cache_close(&here);
    kv_cache_close(&far);
    return a;
}

/** Any layout and length, one to three levels, all of them or the first only. */
static void same_pulls(void **state)
{
    static const struct { size_t n, each; } size[] = {
        { 1, 64 }, { 64, 64 }, { 200, 64 }, { 100, 32 }, { 300, 256 }
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
            tsr_kv_stream_settings s = stream_settings(&c, path);
            (void)stream_push(&c, &s);
            tsr_kv_job_result r = pull_both(&c, &s);
            assert_int_equal(r.error, TSR_OK);
            assert_int_equal(r.tokens, c.n);
            s.ceiling = 1;
            r = pull_both(&c, &s);
            assert_true(r.mean_levels == 1);
            store_rmdir(path);
            stream_case_close(&c);
        }
}

/** Chunks of different steps, tiles and numbers of levels, and a damaged one. */
static void other_objects(void **state)
{
    stream_case c;
    (void)state;
    for (int profiled = 0; profiled < 2; profiled++) {
        mem_reset(0);
        stream_case_open(&c, 320, 64, 2, KV_NHD, profiled);
        tsr_kv_stream_settings s = stream_settings(&c, "redis://0");
        for (size_t n = 1; n <= 5; n++) {
            const size_t all = c.n;
            c.n = 64 * n;
            c.cache.view.tokens = c.n;
            c.codec.step = .25 * (double)n;
            c.codec.tile = n == 3 ? 32 : 64;
            c.codec.levels = n == 4 ? 3 : 2;
            (void)stream_push(&c, &s);
            c.n = c.cache.view.tokens = all;
        }
        tsr_kv_job_result r = pull_both(&c, &s);
        assert_int_equal(r.tokens, 320);
        mem[0].object[3].data[128 + 30] ^= 4;
        r = pull_both(&c, &s);
        assert_int_equal(r.error, TSR_E_MISSING);
        assert_int_equal(r.tokens, 192);
        stream_case_close(&c);
    }
    mem_reset(0);
}

/** What is no destination, and objects that do not belong there. */
static void refusals(void **state)
{
    stream_case c;
    tsr_kv_cuda_destination *d;
    kv_cache to;
    there far;
    (void)state;
    stream_case_open(&c, 64, 64, 1, KV_THD, 0);
    stream_room(&c, &to);
    there_open(&far, &to);
    const tsr_kv_shape none = { .layers = 0 };
    assert_int_equal(tsr_kv_cuda_destination_open(&d, c.ctx, &none, &far.view,
                                                  NULL, NULL, 0, NULL), TSR_E_ARG);
    assert_null(d);
    assert_int_equal(tsr_kv_cuda_destination_open(&d, c.ctx, &c.shape, &far.view,
                                                  NULL, NULL, 99, NULL),
                     TSR_E_UNSUPPORTED);
    assert_null(d);
    assert_int_equal(tsr_kv_cuda_destination_open(&d, c.ctx, &c.shape, &far.view,
                                                  NULL, NULL, 0, NULL), TSR_OK);
    kv_coder k;
    kv_coder_open(&k, c.ctx, &c.codec, c.n);
    assert_int_equal(kv_encode(&k, &c.cache), TSR_OK);
    tsr_kv_arrival a = { .tokens = c.n, .object = k.object, .size = k.size,
                         .levels = 1 };
    assert_int_equal(tsr_kv_cuda_destination_take(d, &a), TSR_OK);
    a.first_token = 1;
    assert_int_equal(tsr_kv_cuda_destination_take(d, &a), TSR_E_ARG);
    a.first_token = 0;
    a.tokens = c.n - 1;
    assert_int_equal(tsr_kv_cuda_destination_take(d, &a), TSR_E_MODEL);
    a.tokens = c.n;
    k.object[k.size - 1] ^= 1;
    assert_int_equal(tsr_kv_cuda_destination_take(d, &a), TSR_E_CHECKSUM);
    a.size = 100;
    assert_int_equal(tsr_kv_cuda_destination_take(d, &a), TSR_E_TRUNCATED);
    kv_coder_close(&k);
    tsr_kv_cuda_destination_close(&d);
    there_close(&far, &to);
    kv_check_guards(&to);
    kv_cache_close(&to);
    stream_case_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_pulls), cmocka_unit_test(other_objects),
        cmocka_unit_test(refusals)
    };
    tsr_context *ctx = kv_quiet_context(1);
    const tsr_error error = tsri_cuda_open(&gpu, ctx, 0);

    if (error) {
        printf("1..0 # SKIP no CUDA device: %s\n", tsr_error_string(error));
        tsr_context_close(&ctx);
        return 0;
    }
    const int failed = cmocka_run_group_tests_name("cuda_kv_pull", tests, NULL,
                                                   NULL);
    tsri_cuda_close(&gpu);
    tsr_context_close(&ctx);
    return failed;
}
