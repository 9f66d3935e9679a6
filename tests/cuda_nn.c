/* SPDX-License-Identifier: BSD-2-Clause */
/* Nets on a CUDA device against double precision: layers, blocks of the published
 * codecs, nets with norms and attention, in every precision, whole and in tiles;
 * memory, threads, pixels.  Memory of the device is filled with NaN before use.
 * Skipped where there is no device.
 *
 * cuda_nn [TEST]        all, or those of that name (* stands for any part)
 * cuda_nn quick [TEST]  few sizes, for checkers that slow a program down
 * cuda_nn bench [NET [PRECISION]]   speeds instead */
#include "tests/cuda_nn.h"
#include <pthread.h>
#include <stdatomic.h>
#include "lib/cuda/device.h"
#include "lib/nn/cuda/nn_cuda.h"
#include "tests/nn_device_plain.h"
#include "tests/nn_pairs.h"
#include "tests/nn_graphs.h"

static const tsr_precision forms[] = { TSR_PRECISION_F32, TSR_PRECISION_F16,
                                       TSR_PRECISION_BF16 };
static const char *const form_names[] = { "f32", "f16", "bf16" };
enum { FORMS = 3 };

static bool quick;

tsr_context *cuda_nn_context(tsr_precision precision)
{
    tsr_context_settings s;
    tsr_context *ctx;

    tsr_context_settings_init(&s);
    s.device = "cuda";
    s.precision = (int)precision;
    s.max_memory = UINT64_MAX;
    s.logger.log = check_log;
    assert_int_equal(tsr_context_open(&ctx, &s), TSR_OK);
    return ctx;
}

/* ---- memory full of NaN: all numbers of bits that are set are ---- */

static _Thread_local tsri_cuda *poisoned;
static _Thread_local const tsri_dev_ops *healthy;

static tsr_error poison_alloc(tsri_dev *dev, void **mem, size_t bytes)
{
    TSR_TRY(healthy->alloc(dev, mem, bytes));
    return tsri_cuda_fill(poisoned, *mem, 0xff, bytes);
}

/* Before any node is added. */
static void poison(tsri_net *net)
{
    static _Thread_local tsri_nn_backend backend;
    static _Thread_local tsri_dev_ops ops;

    healthy = net->backend->device;
    poisoned = net->ctx->gpu;
    ops = *healthy;
    ops.alloc = poison_alloc;
    backend = *net->backend;
    backend.device = &ops;
    net->backend->close(&net->state);
    net->backend = &backend;
    assert_int_equal(backend.open(&net->state, net->ctx, &backend), TSR_OK);
}

/* ---- bounds ----
 *
 * A number of b bits of mantissa is off by 2^-b half an ulp of itself; what goes
 * through d roundings of independent sign, by some sqrt(d) times that.  d is some
 * 30 here, weights keep the variance, and the greatest of some 10^4 samples is
 * four deviations off, of a greatest magnitude that is as many: so sqrt(30) half
 * ulps of the greatest magnitude, which the deepest nets come near to, and twice
 * that to be sure.  Floats are compared with double precision by the bounds that
 * the CPU's backends are held to. */
static double bound_of(int form)
{
    static const double half_ulp[] = { 0, 1.0 / 2048, 1.0 / 256 };
    return form ? 2 * 5.5 * half_ulp[form] : 1e-5;
}

static double worst[FORMS];

static void note(int form, const char *what, int kind, double off)
{
    if (off > worst[form])
        worst[form] = off;
    if (off > bound_of(form))
        fail_msg("%s, %s %d: off by %.3g of the largest, bound %.3g",
                 form_names[form], what, kind, off, bound_of(form));
}

/* Of the largest magnitude; what is NaN was not computed. */
static double distance(const float *got, const double *want, size_t n)
{
    double size = 0, off = 0;

    for (size_t i = 0; i < n; i++)
        if (!isnan(want[i]))
            size = fmax(size, fabs(want[i]));
    for (size_t i = 0; i < n; i++) {
        if (isnan(want[i]))
            continue;
        if (isnan(got[i]))
            return HUGE_VAL;
        off = fmax(off, fabs(got[i] - want[i]));
    }
    return size > 0 ? off / size : off;
}

/* A side that no test had before. */
static int side(check_rng *rng, int most)
{
    return 1 + (int)check_below(rng, (uint32_t)most);
}

/* ---- layers and blocks ---- */

static void check_twin(twin *t, int form, const char *what, int kind, int h,
                       int w)
{
    picture in = random_picture(&t->rng, t->node[0].channels, h, w);
    plane want = eval(t, in.data, h, w);
    picture got = run_whole(t, &in);

    if (form == 0)
        compare(&got, &want);
    note(form, what, kind, distance(got.data, want.v,
                                    at(&want, want.channels, 0, 0)));
    free(want.v);
    free(want.e);
    free(got.data);
    free(in.data);
}

static void check_twin_sizes(twin *t, int form, const char *what, int kind,
                             int m)
{
    check_twin(t, form, what, kind, side(&t->rng, 40) * m, side(&t->rng, 40) * m);
    if (!quick && kind % 5 == 0) {
        check_twin(t, form, what, kind, m, m);
        check_twin(t, form, what, kind, 3 * m, 17 * m);
    }
}

static void check_convs(tsr_context *ctx, int form)
{
    static const int channels[][2] = {
        { 1, 1 }, { 3, 16 }, { 16, 12 }, { 8, 8 }, { 20, 33 }, { 40, 24 }
    };
    for (int i = quick ? 1 : 0; i < 6 * 8; i += quick ? 23 : 1) {
        twin t;
        twin_open(&t, ctx, channels[i % 6][0], 100 + (uint64_t)i);
        poison(t.net);
        conv(&t, 0, channels[i % 6][1], i / 6 & 1 ? 3 : 1, i / 12 & 1 ? 2 : 1,
             i / 24 ? TSRI_PAD_REFLECT : TSRI_PAD_ZERO);
        finish(&t);
        check_twin_sizes(&t, form, "convolution", i, 1);
        twin_close(&t);
    }
}

static void check_singles(tsr_context *ctx, int form)
{
    for (int kind = 0; kind < 24; kind += quick ? 5 : 1) {
        twin t;
        twin_open(&t, ctx, kind < 12 ? 12 : 32, (uint64_t)kind + 1);
        poison(t.net);
        single(&t, kind % 12);
        finish(&t);
        check_twin_sizes(&t, form, "layer", kind, 4);
        twin_close(&t);
    }
}

static void poisoned_graph(twin *t, tsr_context *ctx, int kind)
{
    twin_open(t, ctx, graph_channels[kind], 77 + (uint64_t)kind);
    poison(t->net);
    graph(t, kind);
    finish(t);
}

static void check_graphs(tsr_context *ctx, int form)
{
    for (int kind = quick ? 1 : 0; kind < GRAPHS; kind += quick ? 5 : 1) {
        twin t;
        poisoned_graph(&t, ctx, kind);
        check_twin_sizes(&t, form, "block", kind, kind == 4 ? 4 : 1);
        twin_close(&t);
    }
}

static void check_wide(tsr_context *ctx, int form)
{
    for (int channels = 48; channels <= (quick ? 48 : 224); channels += 88) {
        twin t;
        twin_open(&t, ctx, 16, 9);
        poison(t.net);
        wide(&t, 0, channels);
        finish(&t);
        check_twin(&t, form, "wide", channels, 9, 14);
        twin_close(&t);
    }
}

/* Contexts that the tests share, and so the time for finding kernels. */
static tsr_context *shared[FORMS];

static void each_form(void (*check)(tsr_context *, int))
{
    for (int form = 0; form < FORMS; form++) {
        worst[form] = 0;
        check(shared[form], form);
        printf("# %s: off by %.2g of the largest at most\n", form_names[form],
               worst[form]);
    }
}

static void test_convs(void **state)
{
    (void)state;
    each_form(check_convs);
}

static void test_singles(void **state)
{
    (void)state;
    each_form(check_singles);
}

static void test_graphs(void **state)
{
    (void)state;
    each_form(check_graphs);
}

static void test_wide(void **state)
{
    (void)state;
    each_form(check_wide);
}

/* ---- norms, attention ---- */

static void check_pair(pair *t, int form, const char *what, int kind, int out)
{
    pair_finish(t, out);
    const pair_map *want = &t->map[t->net->output];
    for (int run = 0; run < 2; run++) {
        pair_out o = pair_run(t, run ? 0 : UINT64_MAX, 16);
        note(form, what, kind, distance(o.v, want->v, pair_count(want)));
        free(o.v);
    }
    pair_close(t);
}

static void check_small(tsr_context *ctx, int form)
{
    check_rng rng = { 17 };
    for (int i = 0; i < 2 * 16; i += quick ? 5 : 1) {
        pair t;
        pair_open(&t, ctx, i / 16 ? 32 : 12, side(&rng, 40), side(&rng, 40),
                  (uint64_t)i + 1, 0.2f, 2);
        poison(t.net);
        check_pair(&t, form, "node", i, small(&t, i % 16));
    }
}

static void check_attend(tsr_context *ctx, int form, int h, int w, int c,
                         int kind, int exact)
{
    pair t;
    pair_open(&t, ctx, c, h, w, (uint64_t)(h * w + kind), 0.1f, 1);
    poison(t.net);
    t.exact = exact;
    t.every = h * w > 3000 ? 101 : 1;
    check_pair(&t, form, "attention", kind, attend(&t, 0, kind, c));
}

static void check_attention(tsr_context *ctx, int form)
{
    static const int planes[][4] = {    /* height, width, channels, exact */
        { 1, 1, 20, 16384 }, { 17, 31, 20, 16384 }, { 16, 16, 64, 16384 },
        { 33, 70, 8, 16384 }, { 19, 27, 10, 100 }, { 150, 20, 8, 1000 },
        { 5, 300, 8, 1000 }, { 24, 32, 256, 16384 }
    };
    for (int i = 0; i < 8; i += quick ? 4 : 1)
        check_attend(ctx, form, planes[i][0], planes[i][1], planes[i][2],
                     (i + 1) % 3, planes[i][3]);
    if (!quick)
        check_attend(ctx, form, 139, 161, 16, 0, 1000);
}

static void check_vqgan(tsr_context *ctx, int form)
{
    check_rng rng = { 23 };
    for (int kind = 0; kind < 4; kind++) {
        const int h = side(&rng, kind ? 20 : 60), w = side(&rng, kind ? 20 : 60);
        pair t;
        pair_open(&t, ctx, kind ? 4 : 3, h, w, (uint64_t)(100 * h + w), 0, 1);
        poison(t.net);
        t.exact = kind & 2 ? 64 : 16384;
        check_pair(&t, form, "VQGAN", kind, kind ? decoder(&t) : encoder(&t));
    }
}

static void test_small(void **state)
{
    (void)state;
    each_form(check_small);
}

static void test_attention(void **state)
{
    (void)state;
    each_form(check_attention);
}

static void test_vqgan(void **state)
{
    (void)state;
    each_form(check_vqgan);
}

/* ---- tiles, repeated runs ---- */

static size_t floats_of(const picture *p)
{
    return (size_t)p->channels * (size_t)p->h * (size_t)p->w;
}

static double apart(const picture *a, const picture *b)
{
    double size = 0, off = 0;
    for (size_t i = 0; i < floats_of(a); i++) {
        size = fmax(size, fabs(a->data[i]));
        off = fmax(off, fabs(a->data[i] - b->data[i]));
    }
    return off / size;
}

static void check_tiled(tsr_context *ctx, int form)
{
    for (int kind = 0; kind < GRAPHS; kind += quick ? 4 : 1) {
        twin t;
        poisoned_graph(&t, ctx, kind);
        picture in = random_picture(&t.rng, graph_channels[kind], 36, 72);
        picture whole = run_whole(&t, &in);
        picture got = picture_new(whole.channels, whole.h, whole.w);
        assert_int_equal(tsri_net_run_tiled(t.net, in.h, in.w, 300000, 16,
                                            source, &in, sink, &got), TSR_OK);
        note(form, "tiles of block", kind, apart(&whole, &got));
        free(got.data);
        free(whole.data);
        free(in.data);
        twin_close(&t);
    }
}

static void test_tiles(void **state)
{
    (void)state;
    each_form(check_tiled);
}

/* A run that is recorded or played back gives the bits of the first, whatever
 * was run in between. */
static void check_repeated(tsr_context *ctx, int form)
{
    for (int kind = 0; kind < GRAPHS; kind += quick ? 5 : 1) {
        twin t;
        poisoned_graph(&t, ctx, kind);
        picture in[2], first[2];
        for (int i = 0; i < 2; i++) {
            in[i] = random_picture(&t.rng, graph_channels[kind], 12 + 8 * form,
                                   20);
            first[i] = run_whole(&t, &in[i]);
        }
        for (int i = 0; i < 6; i++) {
            picture again = run_whole(&t, &in[i & 1]);
            assert_memory_equal(again.data, first[i & 1].data,
                                floats_of(&again) * sizeof(float));
            free(again.data);
            if (i == 3) {       /* another size in between */
                picture other = random_picture(&t.rng, graph_channels[kind], 16,
                                               28);
                picture out = run_whole(&t, &other);
                free(out.data);
                free(other.data);
            }
        }
        for (int i = 0; i < 2; i++) {
            free(in[i].data);
            free(first[i].data);
        }
        twin_close(&t);
    }
}

static void test_repeated(void **state)
{
    (void)state;
    each_form(check_repeated);
}

/* ---- memory ---- */

/* Takes what the device has left, but for some; returns how many pieces. */
static int fill_device(tsri_cuda *gpu, void **piece, int most)
{
    int n = 0;
    size_t bytes = (size_t)8 << 30;

    while (n < most && bytes >= (size_t)32 << 20) {
        if (tsri_cuda_alloc(gpu, &piece[n], bytes, 1))
            bytes /= 2;
        else
            n++;
    }
    return n;
}

static void test_no_memory(void **state)
{
    tsr_context *ctx = shared[1];
    const tsr_logger logger = ctx->logger;
    void *piece[64];
    twin t;
    (void)state;

    if (quick)
        skip();
    poisoned_graph(&t, ctx, 5);
    picture in = random_picture(&t.rng, graph_channels[5], 300, 400);
    picture out = picture_new(tsri_net_out_channels(t.net), 2400, 3200);
    tsri_fmap map = map_of(&out);

    ctx->logger = (tsr_logger){ NULL, NULL };
    const int n = fill_device(ctx->gpu, piece, 64);
    assert_true(n > 0);
    const tsr_error error = tsri_net_run(t.net, 300, 400,
        (tsri_rect){ 0, 0, 2400, 3200 }, source, &in, &map);
    for (int i = 0; i < n; i++)
        tsri_cuda_free(ctx->gpu, piece[i]);
    ctx->logger = logger;
    assert_int_equal(error, TSR_E_NOMEM);
    assert_int_equal(tsri_net_run(t.net, 300, 400, (tsri_rect){ 0, 0, 2400, 3200 },
                                  source, &in, &map), TSR_OK);
    check_twin(&t, 1, "after no memory", 5, 6, 7);
    free(in.data);
    free(out.data);
    twin_close(&t);
}

/* ---- threads ---- */

typedef struct worker { pthread_t thread; int kind, form; float first; } worker;

static void *work(void *cookie)
{
    worker *w = cookie;
    tsr_context *ctx = cuda_nn_context(forms[w->form]);

    for (int i = 0; i < 2; i++) {
        twin t;
        poisoned_graph(&t, ctx, w->kind);
        for (int k = 0; k < 3; k++)
            check_twin(&t, w->form, "thread's block", w->kind, 11 + i, 23);
        twin_close(&t);
    }
    tsr_context_close(&ctx);
    return NULL;
}

static void test_threads(void **state)
{
    worker w[3];
    (void)state;
    for (int i = 0; i < 3; i++) {
        w[i] = (worker){ .kind = 2 * i, .form = i };
        w[i].kind += w[i].kind == 4;
        assert_int_equal(pthread_create(&w[i].thread, NULL, work, &w[i]), 0);
    }
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_join(w[i].thread, NULL), 0);
}

/* ---- pixels ---- */

static tsri_net *copier(tsr_context *ctx, const char *backend)
{
    tsri_net *net;
    nn_use(ctx, backend);
    assert_int_equal(tsri_net_new(&net, ctx, 3), TSR_OK);
    tsri_net_precision(net, TSRI_NET_ENCODER);
    const int x = tsri_net_act(net, 0, TSRI_ACT_RELU);
    assert_int_equal(tsri_net_finish(net, x), TSR_OK);
    return net;
}

static void run_pixels(const tsri_net *net, const tsri_pixels *in,
                       const tsri_pixels *out)
{
    assert_int_equal(tsri_net_run_io(net, 1, 40, 56, &(tsri_net_io){ .pixels = in },
                                     &(tsri_net_io){ .pixels = out }), TSR_OK);
}

/* The same bytes as the plain device, which is that of image.c. */
static void test_pixels(void **state)
{
    tsr_context *gpu = cuda_nn_context(TSR_PRECISION_F32);
    tsr_context *host = nn_context("device", 1);
    tsri_net *a = copier(gpu, "cuda"), *b = copier(host, "device");
    check_rng rng = { 3 };
    (void)state;

    for (int kind = 0; kind < 16; kind++) {
        const int channels = 1 + kind % 4, bits = kind & 4 ? 16 : 8;
        static uint16_t from[60 * 60 * 4], to[2][60 * 60 * 4];
        tsri_pixels in = {
            .data = from, .width = 1 + kind * 3, .height = 39 - 2 * kind,
            .channels = channels, .bits = bits,
            .stride = 60 * (size_t)channels * (size_t)bits / 8,
            .top = kind % 3, .left = kind % 5, .reflect = kind & 8,
            .truncates = kind & 1, .scale = kind & 2 ? 2 : 1,
            .offset = kind & 2 ? -0.25f : 0
        };
        tsri_pixels out = in;
        for (size_t i = 0; i < 60 * 60 * 4; i++) {
            from[i] = (uint16_t)check_u32(&rng);
            to[0][i] = to[1][i] = (uint16_t)i;
        }
        out.width = 50;
        out.height = 37;
        out.data = to[0];
        run_pixels(a, &in, &out);
        out.data = to[1];
        run_pixels(b, &in, &out);
        assert_memory_equal(to[0], to[1], sizeof to[0]);
    }
    tsri_net_free(&a);
    tsri_net_free(&b);
    tsr_context_close(&gpu);
    tsr_context_close(&host);
}

static bool have_device(void)
{
    tsr_context_settings s;
    tsr_context *ctx;

    tsr_context_settings_init(&s);
    s.device = "cuda";
    s.logger.log = check_log;
    const tsr_error error = tsr_context_open(&ctx, &s);
    tsr_context_close(&ctx);
    if (error == TSR_OK || error != TSR_E_UNSUPPORTED)
        return true;
    printf("1..0 # SKIP no CUDA device\n");
    return false;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_graphs),
        cmocka_unit_test(test_attention),
        cmocka_unit_test(test_convs),
        cmocka_unit_test(test_singles),
        cmocka_unit_test(test_wide),
        cmocka_unit_test(test_small),
        cmocka_unit_test(test_vqgan),
        cmocka_unit_test(test_tiles),
        cmocka_unit_test(test_repeated),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_pixels),
        cmocka_unit_test(cuda_nn_test_same),
        cmocka_unit_test(cuda_nn_test_batch),
        cmocka_unit_test(cuda_nn_test_large_batch),
    };

    if (!have_device())
        return 0;
    if (argc > 1 && !strcmp(argv[1], "bench"))
        return cuda_nn_bench(argc > 2 ? argv[2] : "",
                             argc > 3 ? argv[3] : "auto");
    quick = argc > 1 && !strcmp(argv[1], "quick");
    if (argc > 1 + quick)
        cmocka_set_test_filter(argv[1 + quick]);
    for (int form = 0; form < FORMS; form++)
        shared[form] = cuda_nn_context(forms[form]);
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    for (int form = 0; form < FORMS; form++)
        tsr_context_close(&shared[form]);
    return failed;
}
