/* SPDX-License-Identifier: BSD-2-Clause */
/* The graph runner: every layer and blocks of the published codecs against the
 * interpreter, tiles against the whole, memory, faults. */
#include "tests/nn_device_plain.h"
#include "tests/nn_batch.h"
#include "tests/nn_graphs.h"
#include "lib/nn/backend.h"

static const char *const backends[] = { "c", "device", "onednn" };
static int backend_count(void)
{
    return tsri_nn_onednn() ? 3 : 2;
}

/* Whether the context's memory is all there is. */
static bool on_host(const char *backend)
{
    return strcmp(backend, "device");
}

static const int sizes[][2] = {
    { 1, 1 }, { 1, 7 }, { 9, 1 }, { 2, 3 }, { 3, 2 }, { 5, 6 }, { 17, 31 },
    { 4, 130 }
};

/* The first n sizes, in units of m samples. */
static void check_sizes(twin *t, int n, int m)
{
    for (int i = 0; i < n; i++)
        check_size(t, sizes[i][0] * m, sizes[i][1] * m);
}

static void each_conv(tsr_context *ctx)
{
    static const int channels[][2] = {
        { 1, 1 }, { 3, 16 }, { 16, 12 }, { 8, 8 }, { 20, 33 }, { 40, 24 }
    };
    for (int i = 0; i < 6 * 8; i++) {
        twin t;
        twin_open(&t, ctx, channels[i % 6][0], 100 + (uint64_t)i);
        conv(&t, 0, channels[i % 6][1], i / 6 & 1 ? 3 : 1, i / 12 & 1 ? 2 : 1,
             i / 24 ? TSRI_PAD_REFLECT : TSRI_PAD_ZERO);
        finish(&t);
        check_sizes(&t, 8, 1);
        twin_close(&t);
    }
}

static void test_conv(void **state)
{
    (void)state;
    for (int b = 0; b < backend_count(); b++) {
        tsr_context *ctx = nn_context(backends[b], 1 + b);
        each_conv(ctx);
        tsr_context_close(&ctx);
    }
}

static void test_single(void **state)
{
    (void)state;
    for (int b = 0; b < backend_count(); b++) {
        tsr_context *ctx = nn_context(backends[b], 2);
        for (int kind = 0; kind < 24; kind++) {
            twin t;
            twin_open(&t, ctx, kind < 12 ? 12 : 32, (uint64_t)kind + 1);
            single(&t, kind % 12);
            finish(&t);
            check_sizes(&t, 8, 4);
            twin_close(&t);
        }
        tsr_context_close(&ctx);
    }
}

static void test_graphs(void **state)
{
    (void)state;
    for (int b = 0; b < backend_count(); b++) {
        tsr_context *ctx = nn_context(backends[b], 2);
        for (int kind = 0; kind < GRAPHS; kind++) {
            twin t;
            graph_open(&t, ctx, kind);
            /* Unshuffling wants multiples, the others take any plane. */
            check_sizes(&t, kind < 4 ? 8 : 7, kind == 4 ? 4 : 1);
            twin_close(&t);
        }
        tsr_context_close(&ctx);
    }
}

static void check_rects(twin *t, picture *in, const picture *whole)
{
    for (int i = 0; i < 6; i++) {
        const int h = 1 + (int)check_below(&t->rng, (uint32_t)whole->h);
        const int w = 1 + (int)check_below(&t->rng, (uint32_t)whole->w);
        const int y = (int)check_below(&t->rng, (uint32_t)(whole->h - h + 1));
        const int x = (int)check_below(&t->rng, (uint32_t)(whole->w - w + 1));
        const tsri_rect r = { y, x, y + h, x + w };
        picture part = picture_new(whole->channels, h, w);
        tsri_fmap map = map_of(&part);
        assert_int_equal(tsri_net_run(t->net, in->h, in->w, r, source, in,
                                      &map), TSR_OK);
        for (int c = 0; c < whole->channels; c++)
            for (int k = 0; k < h; k++)
                assert_memory_equal(
                    part.data + (c * h + k) * w,
                    whole->data + (c * whole->h + y + k) * whole->w + x,
                    (size_t)w * sizeof(float));
        free(part.data);
    }
}

static void check_tiled(twin *t, picture *in, const picture *whole)
{
    static const uint64_t budgets[] = { 0, 20000, 300000, UINT64_MAX };
    const size_t n = (size_t)whole->channels * (size_t)whole->h *
                     (size_t)whole->w;
    for (int i = 0; i < 4 * 3; i++) {
        const int align = (const int[]){ 1, 4, 16 }[i / 4];
        const uint64_t budget = budgets[i % 4];
        if (budget < 300000 && whole->h * whole->w > 100 * align * align)
            continue;       /* tile by tile only small planes */
        picture got = picture_new(whole->channels, whole->h, whole->w);
        assert_int_equal(tsri_net_run_tiled(t->net, in->h, in->w, budget, align,
                                            source, in, sink, &got), TSR_OK);
        assert_memory_equal(got.data, whole->data, n * sizeof(float));
        if (budget == 0 && whole->h > align)
            assert_true(got.calls > 1);
        if (budget == UINT64_MAX)
            assert_int_equal(got.calls, 1);
        free(got.data);
    }
}

/* The whole plane on one thread, then parts and tiles on one and on three. */
static void check_parts(const char *backend, int kind, int h, int w)
{
    tsr_context *one = nn_context(backend, 1), *many;
    picture whole = { 0, 0, 0, NULL, 0 };

    many = nn_context(backend, 3);
    for (int i = 0; i < 2; i++) {
        twin t;
        graph_open(&t, i ? many : one, kind);
        picture in = random_picture(&(check_rng){ 5 }, graph_channels[kind], h,
                                    w);
        picture again = run_whole(&t, &in);
        if (!i)
            whole = again;
        else
            assert_memory_equal(again.data, whole.data,
                                (size_t)(whole.channels * whole.h * whole.w) *
                                sizeof(float));
        check_rects(&t, &in, &whole);
        check_tiled(&t, &in, &whole);
        if (i)
            free(again.data);
        free(in.data);
        twin_close(&t);
    }
    free(whole.data);
    tsr_context_close(&one);
    tsr_context_close(&many);
}

static void test_tiles(void **state)
{
    (void)state;
    for (int b = 0; b < backend_count(); b++)
        for (int kind = 0; kind < GRAPHS; kind++) {
            check_parts(backends[b], kind, 4, 12);
            check_parts(backends[b], kind, kind == 4 ? 36 : 35,
                        kind == 4 ? 72 : 49);
        }
}

static void test_wide(void **state)
{
    static const int channels[] = { 48, 96, 160, 224 };
    (void)state;
    for (int b = 0; b < backend_count(); b++)
        for (int i = 0; i < 4; i++) {
            tsr_context *ctx = nn_context(backends[b], 1 + i % 2);
            twin t;
            twin_open(&t, ctx, 16, 9);
            wide(&t, 0, channels[i]);
            finish(&t);
            picture in = random_picture(&t.rng, 16, 25, 75);
            picture whole = run_whole(&t, &in);
            check_rects(&t, &in, &whole);
            check_size(&t, 5, 6);
            free(whole.data);
            free(in.data);
            twin_close(&t);
            tsr_context_close(&ctx);
        }
}

/* The strict bounds above grow with depth; this one does not.  Rounding
 * errors of independent sign add up to about unit * sqrt(terms) of a sum's
 * size, here at most sqrt(9 * 40) = 19 half ulps for each of some 10 layers:
 * 1e-5 relative to the largest sample is four times that. */
static void test_backends_agree(void **state)
{
    (void)state;
    if (backend_count() < 2)
        skip();
    for (int kind = 0; kind < GRAPHS; kind++) {
        tsr_context *ctx[2];
        picture out[2];
        double off = 0, size = 0;
        for (int b = 0; b < 2; b++) {
            twin t;
            ctx[b] = nn_context(backends[b], 2);
            graph_open(&t, ctx[b], kind);
            picture in = random_picture(&(check_rng){ 3 }, graph_channels[kind],
                                        44, 60);
            out[b] = run_whole(&t, &in);
            free(in.data);
            twin_close(&t);
            tsr_context_close(&ctx[b]);
        }
        for (int i = 0; i < out[0].channels * out[0].h * out[0].w; i++) {
            off = fmax(off, fabs(out[0].data[i] - (double)out[1].data[i]));
            size = fmax(size, fabs(out[0].data[i]));
        }
        assert_true(size > 0.1);
        assert_true(off < 1e-5 * size);
        free(out[0].data);
        free(out[1].data);
    }
}

/* Memory. */

typedef struct meter { size_t now, peak, fail_after; } meter;

static void *meter_alloc(void *cookie, size_t size, size_t align)
{
    meter *m = cookie;
    size_t *p;
    if (m->fail_after && !--m->fail_after)
        return NULL;
    p = aligned_alloc(align, (size + 2 * align - 1) / align * align);
    if (!p)
        return NULL;
    *p = size;
    m->now += size;
    m->peak = m->now > m->peak ? m->now : m->peak;
    return (char *)p + align;
}

static void meter_free(void *cookie, void *memory)
{
    meter *m = cookie;
    size_t *p = (size_t *)(void *)((char *)memory - 64);
    m->now -= *p;
    free(p);
}

static tsr_context *meter_context(meter *m, const char *backend)
{
    tsr_context_settings s;
    tsr_context *ctx;
    tsr_context_settings_init(&s);
    s.backend = backend;
    s.threads = 2;
    s.allocator = (tsr_allocator){ m, meter_alloc, meter_free };
    assert_int_equal(tsr_context_open(&ctx, &s), TSR_OK);
    return ctx;
}

/* What the hungriest tile of side x side samples takes with its output. */
static uint64_t most_of_tiles(const tsri_net *net, int h, int w, int side)
{
    uint64_t most = 0;
    for (int y = 0; y < h; y += side)
        for (int x = 0; x < w; x += side) {
            const tsri_rect r = { y, x, y + side < h ? y + side : h,
                                  x + side < w ? x + side : w };
            const uint64_t m = tsri_net_memory(net, 96, 96, r) +
                               (uint64_t)tsri_net_out_channels(net) * 4 *
                               (uint64_t)((r.y1 - r.y0) * (r.x1 - r.x0));
            most = m > most ? m : most;
        }
    return most;
}

static void test_memory(void **state)
{
    (void)state;
    for (int i = 0; i < GRAPHS * backend_count(); i++) {
        if (!on_host(backends[i / GRAPHS]))
            continue;
        meter m = { 0, 0, 0 };
        tsr_context *ctx = meter_context(&m, backends[i / GRAPHS]);
        twin t;
        int h, w;
        graph_open(&t, ctx, i % GRAPHS);
        picture in = random_picture(&t.rng, graph_channels[i % GRAPHS], 96, 96);
        const size_t before = m.now;
        m.peak = 0;
        picture out = run_whole(&t, &in);
        tsri_net_out_size(t.net, 96, 96, &h, &w);
        const uint64_t said = tsri_net_memory(t.net, 96, 96,
                                              (tsri_rect){ 0, 0, h, w });
        assert_int_equal(m.now, before);
        assert_int_equal(m.peak - before, said);
        const uint64_t budget = most_of_tiles(t.net, h, w, 16);
        m.peak = 0;
        assert_int_equal(tsri_net_run_tiled(t.net, 96, 96, budget, 16, source,
                                            &in, sink, &out), TSR_OK);
        assert_true(m.peak - before <= budget);
        assert_true(budget >= said || out.calls > 1);
        assert_int_equal(m.now, before);
        free(out.data);
        free(in.data);
        twin_close(&t);
        tsr_context_close(&ctx);
        assert_int_equal(m.now, 0);
    }
}

/* Every allocation in turn fails; nothing is lost and nothing crashes. */
static void test_no_memory(void **state)
{
    (void)state;
    for (int b = 0; b < backend_count(); b++) {
        tsr_error error = TSR_E_NOMEM;
        for (size_t n = 1; error; n++) {
            meter m = { 0, 0, 0 };
            tsr_context *ctx = meter_context(&m, nn_host(backends[b]));
            nn_use(ctx, backends[b]);
            picture in = picture_new(1, 8, 8), out = picture_new(1, 8, 8);
            tsri_fmap map = map_of(&out);
            const float one[9] = { 1 };
            tsri_net *net;
            m.fail_after = n;
            error = tsri_net_new(&net, ctx, 1);
            if (!error) {
                const int x = tsri_net_conv(net, 0, &(tsri_conv){
                    1, 1, 3, 1, TSRI_PAD_ZERO, one, NULL, TSRI_BOTH });
                error = tsri_net_finish(net, tsri_net_add(net, x, 0));
            }
            if (!error)
                error = tsri_net_run(net, 8, 8, (tsri_rect){ 0, 0, 8, 8 },
                                     source, &in, &map);
            assert_true(error == TSR_OK || error == TSR_E_NOMEM);
            m.fail_after = 0;
            tsri_net_free(&net);
            tsr_context_close(&ctx);
            assert_int_equal(m.now, 0);
            free(in.data);
            free(out.data);
        }
    }
}

/* Errors. */

static tsr_context *quiet_context(const char *backend)
{
    tsr_context_settings s;
    tsr_context *ctx;
    tsr_context_settings_init(&s);
    s.backend = backend;
    assert_int_equal(tsr_context_open(&ctx, &s), TSR_OK);
    return ctx;
}

static int broken(tsri_net *net, int fault)
{
    static const float w[16 * 16];
    tsri_conv c = { 3, 4, 1, 1, TSRI_PAD_ZERO, w, w, TSRI_BOTH };
    const int x = tsri_net_conv(net, 0, &c);

    c.in = fault == 0 ? 3 : 4;
    c.out = fault == 1 ? 0 : fault == 13 ? INT32_MAX : 4;
    c.kernel = fault == 2 ? 2 : 1;
    c.stride = fault == 3 ? 3 : fault == 4 ? 0 : 1;
    c.weight = fault == 5 ? NULL : w;
    switch (fault) {
    case 6: return tsri_net_conv(net, 7, &c);
    case 7: return tsri_net_conv(net, -1, &c);
    case 8: return tsri_net_add(net, x, 0);
    case 9: c.stride = 2; return tsri_net_add(net, x, tsri_net_conv(net, x, &c));
    case 10: return tsri_net_shuffle(net, x, 3);
    case 11: return tsri_net_gate(net, x, x, 0);
    case 12: return tsri_net_gdn(net, x, w, NULL, false);
    case 14: return tsri_net_unshuffle(net, x, 0);
    case 15: return tsri_net_unshuffle(net, x, 1000000);
    case 16: return tsri_net_shuffle(net, x, INT32_MAX);
    case 17: return 99;
    default: return tsri_net_conv(net, x, &c);
    }
}

static void test_builder(void **state)
{
    tsr_context *ctx = quiet_context("auto");
    tsri_net *net;
    (void)state;
    for (int fault = 0; fault < 18; fault++) {
        assert_int_equal(tsri_net_new(&net, ctx, 3), TSR_OK);
        const int x = broken(net, fault);
        if (fault < 17)
            assert_int_equal(x, -1);
        /* Later nodes do not hide it. */
        assert_int_equal(tsri_net_act(net, fault < 17 ? 0 : 98, TSRI_ACT_RELU),
                         -1);
        assert_int_equal(tsri_net_finish(net, 0), TSR_E_ARG);
        tsri_net_free(&net);
    }
    assert_int_equal(tsri_net_new(&net, ctx, 0), TSR_E_ARG);
    assert_null(net);
    tsri_net_free(&net);
    tsri_net_free(NULL);
    tsr_context_close(&ctx);
}

static tsr_error refuse(void *cookie, tsri_rect r, tsri_fmap *dst)
{
    (void)cookie;
    (void)r;
    (void)dst;
    return TSR_E_CANCELED;
}

static tsr_error refuse_sink(void *cookie, tsri_rect r, const tsri_fmap *src)
{
    (void)cookie;
    (void)r;
    (void)src;
    return TSR_E_CANCELED;
}

static void test_run_errors(void **state)
{
    static const tsri_rect bad[] = {
        { 0, 0, 0, 4 }, { 0, 0, 4, 0 }, { -1, 0, 4, 4 }, { 0, 0, 9, 4 },
        { 0, 0, 4, 9 }, { 3, 0, 2, 4 }
    };
    tsr_context *ctx = quiet_context("auto");
    picture in = picture_new(2, 16, 16), out = picture_new(8, 8, 8);
    tsri_fmap map = map_of(&out);
    int h, w;
    twin t;
    (void)state;
    twin_open(&t, ctx, 2, 1);
    unshuffle(&t, 0, 2);
    finish(&t);
    for (int i = 0; i < 6; i++)
        assert_int_equal(tsri_net_run(t.net, 16, 16, bad[i], source, &in, &map),
                         TSR_E_ARG);
    const tsri_rect all = { 0, 0, 8, 8 };
    assert_int_equal(tsri_net_run(t.net, 16, 16, all, refuse, NULL, &map),
                     TSR_E_CANCELED);
    assert_int_equal(tsri_net_run_tiled(t.net, 16, 16, 0, 4, source, &in,
                                        refuse_sink, NULL), TSR_E_CANCELED);
    assert_int_equal(tsri_net_run(t.net, 17, 16, all, source, &in, &map),
                     TSR_E_ARG);
    assert_int_equal(tsri_net_run_tiled(t.net, 16, 15, 0, 4, source, &in, sink,
                                        &out), TSR_E_ARG);
    assert_int_equal(tsri_net_run_tiled(t.net, 16, 16, 0, 0, source, &in, sink,
                                        &out), TSR_E_ARG);
    map.width = 7;
    assert_int_equal(tsri_net_run(t.net, 16, 16, all, source, &in, &map),
                     TSR_E_ARG);
    tsri_net_out_size(t.net, 17, 16, &h, &w);
    assert_int_equal(h, 0);
    assert_int_equal(tsri_net_run(t.net, 0, 16, all, source, &in, &map),
                     TSR_E_ARG);
    assert_true(tsri_net_memory(t.net, 1 << 28, 1 << 28, (tsri_rect)
                { 0, 0, 1 << 27, 1 << 27 }) > (uint64_t)1 << 58);
    twin_close(&t);
    free(in.data);
    free(out.data);
    tsr_context_close(&ctx);
}

/* What a hostile model may hold: the result is anything, the same in tiles. */
static void test_not_numbers(void **state)
{
    static const float odd[] = { NAN, INFINITY, -INFINITY, 3e38f, 1e-42f };
    (void)state;
    for (int i = 0; i < GRAPHS * backend_count(); i++) {
        tsr_context *ctx = nn_context(backends[i / GRAPHS], 2);
        twin t;
        twin_open(&t, ctx, graph_channels[i % GRAPHS], 7);
        graph(&t, i % GRAPHS);
        for (int k = 0; k < t.owned; k++)
            t.weights[k][k % 3] = odd[k % 5];
        finish(&t);
        picture in = random_picture(&t.rng, graph_channels[i % GRAPHS], 24, 24);
        picture whole = run_whole(&t, &in);
        picture tiled = picture_new(whole.channels, whole.h, whole.w);
        assert_int_equal(tsri_net_run_tiled(t.net, 24, 24, 0, 8, source, &in,
                                            sink, &tiled), TSR_OK);
        for (int k = 0; k < whole.channels * whole.h * whole.w; k++)
            assert_true(whole.data[k] == tiled.data[k] ||
                        (isnan(whole.data[k]) && isnan(tiled.data[k])));
        free(tiled.data);
        free(whole.data);
        free(in.data);
        twin_close(&t);
        tsr_context_close(&ctx);
    }
}

/* ---- whole planes on a device ---- */

enum { IO_H = 21, IO_W = 34 };

/* 3 channels, to 8 and back to 3. */
static tsri_net *io_net(tsr_context *ctx, check_rng *rng)
{
    float w[2][8 * 3 * 9];
    tsri_net *net;

    for (int i = 0; i < 2 * 8 * 3 * 9; i++)
        w[i / (8 * 3 * 9)][i % (8 * 3 * 9)] = check_float(rng) / 8;
    assert_int_equal(tsri_net_new(&net, ctx, 3), TSR_OK);
    tsri_net_precision(net, TSRI_NET_ENCODER);
    const int x = tsri_net_conv(net, 0, &(tsri_conv){
        3, 8, 3, 1, TSRI_PAD_ZERO, w[0], NULL, TSRI_BOTH });
    const int y = tsri_net_conv(net, tsri_net_act(net, x, TSRI_ACT_SILU),
        &(tsri_conv){ 8, 3, 3, 1, TSRI_PAD_REFLECT, w[1], NULL, TSRI_BOTH });
    assert_int_equal(tsri_net_finish(net, tsri_net_add(net, y, 0)), TSR_OK);
    return net;
}

/* A picture of the kind's channels and bits, with a gap behind each row. */
static tsr_image io_image(check_rng *rng, int kind, int height, int width)
{
    tsr_image m = { .width = width, .height = height, .channels = 1 + kind % 4,
                    .bits = kind < 4 ? 8 : 16 };
    m.stride = (size_t)(m.width * m.channels * m.bits / 8 + 6);
    m.data = malloc(m.stride * (size_t)m.height);
    assert_non_null(m.data);
    for (size_t i = 0; i < m.stride * (size_t)m.height; i++)
        ((uint8_t *)m.data)[i] = (uint8_t)(check_float(rng) * 127 + 128);
    return m;
}

static tsri_pixels io_pixels(const tsr_image *m, int kind)
{
    return (tsri_pixels){ .data = m->data, .width = m->width,
        .height = m->height, .channels = m->channels, .bits = m->bits,
        .stride = m->stride, .top = kind % 3, .left = kind % 5,
        .reflect = kind % 2, .truncates = kind % 2, .scale = kind % 2 ? 2 : 1,
        .offset = kind % 2 ? -1 : 0 };
}

/* Pixels in and out are what the host makes of them, around tsri_net_run(). */
static void check_io(tsr_context *ctx, int kind)
{
    check_rng rng = { (uint64_t)kind + 5 };
    tsri_net *net = io_net(ctx, &rng);
    tsr_image image = io_image(&rng, kind, IO_H - 4, IO_W - 7);
    tsr_image got = io_image(&rng, kind, IO_H - 3, IO_W - 5), want = got;
    const tsri_pixels in = io_pixels(&image, kind), out = io_pixels(&got, kind);
    picture x = picture_new(3, IO_H, IO_W), y = picture_new(3, IO_H, IO_W);
    tsri_fmap map = map_of(&y);
    tsri_dmap between = { NULL, 1, 3, IO_H, IO_W };
    float *p = x.data;

    want.data = malloc(got.stride * (size_t)got.height);
    memcpy(want.data, got.data, got.stride * (size_t)got.height);
    for (int c = 0; c < 3; c++)
        for (int i = 0; i < IO_H * IO_W; i++) {
            const int at_y = i / IO_W - in.top, at_x = i % IO_W - in.left;
            const int ys = dev_inside(at_y, image.height, in.reflect);
            const int xs = dev_inside(at_x, image.width, in.reflect);
            float rgb[3];
            tsri_fmap one = { rgb, 3, 1, 1, 1, 1 };
            tsri_image_gather(&image, &ys, &xs, &one);
            *p++ = rgb[c] * in.scale + in.offset;
        }
    assert_int_equal(tsri_net_run(net, IO_H, IO_W, (tsri_rect){ 0, 0, IO_H, IO_W },
                                  source, &x, &map), TSR_OK);
    for (int i = 0; i < got.height * got.width; i++) {
        const int at_y = i / got.width, at_x = i % got.width;
        tsri_canvas canvas = { &want, out.truncates };
        float rgb[3];
        tsri_fmap one = { rgb, 3, 1, 1, 1, 1 };
        for (int c = 0; c < 3; c++)
            rgb[c] = (y.data[(c * IO_H + at_y + out.top) * IO_W + at_x +
                             out.left] - out.offset) / out.scale;
        tsri_canvas_put(&canvas, (tsri_rect){ at_y, at_x, at_y + 1, at_x + 1 },
                        &one);
    }

    assert_true(tsri_net_fits(net, 1, IO_H, IO_W));
    assert_int_equal(tsri_net_run_io(net, 1, IO_H, IO_W,
        &(tsri_net_io){ .pixels = &in }, &(tsri_net_io){ .pixels = &out }), TSR_OK);
    assert_memory_equal(got.data, want.data, got.stride * (size_t)got.height);

    /* The same by way of a map, through a net twice. */
    assert_int_equal(tsri_dmap_new(net, 1, 3, IO_H, IO_W, &between), TSR_OK);
    assert_int_equal(tsri_net_run_io(net, 1, IO_H, IO_W,
        &(tsri_net_io){ .pixels = &in }, &(tsri_net_io){ .map = &between }), TSR_OK);
    assert_int_equal(tsri_net_run_io(net, 1, IO_H, IO_W,
        &(tsri_net_io){ .map = &between }, &(tsri_net_io){ .pixels = &out }), TSR_OK);
    memcpy(x.data, y.data, 3 * IO_H * IO_W * sizeof *x.data);
    assert_int_equal(tsri_net_run(net, IO_H, IO_W, (tsri_rect){ 0, 0, IO_H, IO_W },
                                  source, &x, &map), TSR_OK);
    for (int i = 0; i < got.height * got.width && got.channels > 2; i++) {
        const int at_y = i / got.width, at_x = i % got.width;
        const float v = y.data[(at_y + out.top) * IO_W + at_x + out.left];
        const float scaled = (v - out.offset) / out.scale;
        const size_t spot = (size_t)at_y * got.stride + (size_t)(at_x *
                            got.channels * got.bits / 8);
        uint16_t wide;
        memcpy(&wide, (uint8_t *)got.data + spot, sizeof wide);
        const float have = got.bits == 16 ? (float)wide / 65535 :
                           (float)((uint8_t *)got.data)[spot] / 255;
        assert_true(fabsf(have - fminf(fmaxf(scaled, 0), 1)) < 0.0041f);
    }
    assert_int_equal(tsri_net_run_io(net, 1, IO_H, IO_W + 1,
        &(tsri_net_io){ .map = &between }, &(tsri_net_io){ .pixels = &out }),
        TSR_E_ARG);
    tsri_dmap_free(net, &between);
    assert_null(between.data);
    tsri_net_free(&net);
    free(image.data);
    free(got.data);
    free(want.data);
    free(x.data);
    free(y.data);
}

static void test_io(void **state)
{
    tsr_context *ctx = nn_context("device", 1);
    (void)state;
    for (int kind = 0; kind < 8; kind++)
        check_io(ctx, kind);
    tsr_context_close(&ctx);
    ctx = nn_context("c", 1);
    tsri_net *net = io_net(ctx, &(check_rng){ 1 });
    assert_false(tsri_net_fits(net, 1, IO_H, IO_W));
    tsri_net_free(&net);
    tsr_context_close(&ctx);
}

/* Several inputs at once on a device. */
static void test_batch(void **state)
{
    tsr_context *ctx = nn_context("device", 1);
    (void)state;
    for (int kind = 0; kind < GRAPHS; kind++) {
        twin t;
        twin_open(&t, ctx, graph_channels[kind], (uint64_t)kind + 3);
        graph(&t, kind);
        finish(&t);
        assert_int_equal(batch_differs(t.net, 8, 12, (uint64_t)kind), 0);
        twin_close(&t);
    }
    tsr_context_close(&ctx);
}

/* Pixels of several pictures of different kinds at once. */
static void test_batch_io(void **state)
{
    enum { N = 4 };
    tsr_context *ctx = nn_context("device", 1);
    check_rng rng = { 12 };
    tsri_net *net = io_net(ctx, &rng);
    tsr_image image[N], all[N], one[N];
    tsri_pixels in[N], out[N];
    (void)state;

    for (int i = 0; i < N; i++) {
        const int kind = i * 3 % 8;
        image[i] = io_image(&rng, kind, IO_H - 4, IO_W - 7);
        all[i] = one[i] = io_image(&rng, kind, IO_H - 3, IO_W - 5);
        one[i].data = malloc(one[i].stride * (size_t)one[i].height);
        assert_non_null(one[i].data);
        memcpy(one[i].data, all[i].data, all[i].stride * (size_t)all[i].height);
        in[i] = io_pixels(&image[i], kind);
        out[i] = io_pixels(&one[i], kind);
        assert_int_equal(tsri_net_run_io(net, 1, IO_H, IO_W,
            &(tsri_net_io){ .pixels = &in[i] },
            &(tsri_net_io){ .pixels = &out[i] }), TSR_OK);
        out[i] = io_pixels(&all[i], kind);
    }
    assert_int_equal(tsri_net_run_io(net, N, IO_H, IO_W,
        &(tsri_net_io){ .pixels = in }, &(tsri_net_io){ .pixels = out }), TSR_OK);
    assert_int_equal(tsri_net_run_io(net, 0, IO_H, IO_W,
        &(tsri_net_io){ .pixels = in }, &(tsri_net_io){ .pixels = out }),
        TSR_E_ARG);
    for (int i = 0; i < N; i++) {
        assert_memory_equal(all[i].data, one[i].data,
                            one[i].stride * (size_t)one[i].height);
        free(image[i].data);
        free(all[i].data);
        free(one[i].data);
    }
    tsri_net_free(&net);
    tsr_context_close(&ctx);
}

/* Counts by hand: 3 x 3 from 3 to 8 channels on 5 x 6, then 1 x 1 to 4. */
static void test_numbers(void **state)
{
    tsr_context *ctx = nn_context("auto", 1);
    twin t;
    (void)state;
    twin_open(&t, ctx, 3, 1);
    conv(&t, conv(&t, 0, 8, 3, 2, TSRI_PAD_ZERO), 4, 1, 1, TSRI_PAD_ZERO);
    finish(&t);
    assert_true(tsri_net_macs(t.net, 9, 12, (tsri_rect){ 0, 0, 5, 6 }) ==
                30.0 * (3 * 8 * 9 + 8 * 4));
    const tsri_rect r = tsri_net_in_rect(t.net, 9, 12,
                                         (tsri_rect){ 1, 2, 5, 4 });
    assert_int_equal(r.y0, 1);
    assert_int_equal(r.x0, 3);
    assert_int_equal(r.y1, 9);
    assert_int_equal(r.x1, 8);
    twin_close(&t);
    tsr_context_close(&ctx);
}

/* An input whose last row and column no output is made of. */
static void test_unread_border(void **state)
{
    enum { H = 6, W = 8 };
    tsr_context *ctx = nn_context("device", 1);
    tsri_dmap in, out;
    tsri_net *net;
    (void)state;

    assert_int_equal(tsri_net_new(&net, ctx, 1), TSR_OK);
    assert_int_equal(tsri_net_finish(net, tsri_net_conv(net, 0, &(tsri_conv){
        .in = 1, .out = 1, .kernel = 1, .stride = 2,
        .weight = (float[]){ 1 } })), TSR_OK);
    assert_int_equal(tsri_dmap_new(net, 1, 1, H, W, &in), TSR_OK);
    assert_int_equal(tsri_dmap_new(net, 1, 1, H / 2, W / 2, &out), TSR_OK);
    for (int i = 0; i < H * W; i++)
        in.data[i] = (float)i;
    assert_int_equal(tsri_net_run_io(net, 1, H, W, &(tsri_net_io){ .map = &in },
                                     &(tsri_net_io){ .map = &out }), TSR_OK);
    for (int y = 0; y < H / 2; y++)
        for (int x = 0; x < W / 2; x++)
            assert_float_equal(out.data[y * (W / 2) + x], (float)(2 * y * W + 2 * x), 0);
    tsri_dmap_free(net, &in);
    tsri_dmap_free(net, &out);
    tsri_net_free(&net);
    tsr_context_close(&ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conv),
        cmocka_unit_test(test_single),
        cmocka_unit_test(test_graphs),
        cmocka_unit_test(test_tiles),
        cmocka_unit_test(test_wide),
        cmocka_unit_test(test_backends_agree),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_builder),
        cmocka_unit_test(test_run_errors),
        cmocka_unit_test(test_not_numbers),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_io),
        cmocka_unit_test(test_unread_border),
        cmocka_unit_test(test_batch),
        cmocka_unit_test(test_batch_io),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
