/* SPDX-License-Identifier: BSD-2-Clause */
/* `cuda_nn bench`: device time of nets shaped like the image codecs', from a map
 * on the device to one, and of their steps, each kind by itself. */
#include "config.h"
#include "tests/cuda_nn.h"
#include <pthread.h>
#include <time.h>
#include "lib/cuda/device.h"
#include "lib/nn/device.h"
#include "tests/nn_nets.h"

enum { RUNS = 20, ROWS = 512, MOST_LANES = 16 };

/* ---- times of steps: the device's operations between two marks ---- */

typedef struct row { char name[96]; double ms; int calls; } row;

static struct {
    const tsri_dev_ops *ops;
    tsri_cuda *gpu;
    tsri_cuda_mark *from, *to;
    row row[ROWS];
    int rows;
} clocked;

static void begin(void)
{
    assert_int_equal(tsri_cuda_mark_set(clocked.gpu, clocked.from), TSR_OK);
}

static void end(const char *name)
{
    float ms;
    int i = 0;

    assert_int_equal(tsri_cuda_mark_set(clocked.gpu, clocked.to), TSR_OK);
    assert_int_equal(tsri_cuda_mark_between(clocked.gpu, clocked.from, clocked.to,
                                            &ms), TSR_OK);
    while (i < clocked.rows && strcmp(clocked.row[i].name, name))
        i++;
    if (i == ROWS)
        return;
    if (i == clocked.rows) {
        clocked.row[clocked.rows++] = (row){ .calls = 0 };
        snprintf(clocked.row[i].name, sizeof clocked.row[i].name, "%s", name);
    }
    clocked.row[i].ms += (double)ms;
    clocked.row[i].calls++;
}

static tsr_error clock_gather(tsri_dev *dev, const tsri_dev_gather *g)
{
    char name[96];
    snprintf(name, sizeof name, "gather %dx%d %d%s%s%s", tsri_rows(g->to),
             tsri_cols(g->to), g->lanes, g->norm ? " norm" : "",
             g->upsample > 1 ? " upsample" : "", g->wide ? " wide" : "");
    begin();
    const tsr_error error = clocked.ops->gather(dev, g);
    end(name);
    return error;
}

static tsr_error clock_conv(tsri_dev *dev, const tsri_dev_conv *c)
{
    char name[96];
    snprintf(name, sizeof name, "conv %dx%d %d-%d k%d s%d%s", c->rows, c->cols,
             c->conv->in, c->conv->out, c->conv->kernel, c->conv->stride,
             c->conv->wide ? " wide" : "");
    begin();
    const tsr_error error = clocked.ops->conv(dev, c);
    end(name);
    return error;
}

static tsr_error clock_post(tsri_dev *dev, const tsri_dev_post *p)
{
    char name[96];
    snprintf(name, sizeof name, "post %d %dx%d %d shuffle %d", (int)p->post,
             tsri_rows(p->dst.rect), tsri_cols(p->dst.rect), p->dst.lanes,
             p->shuffle);
    begin();
    const tsr_error error = clocked.ops->post(dev, p);
    end(name);
    return error;
}

static tsr_error clock_norm(tsri_dev *dev, const tsri_dev_norm *n)
{
    char name[96];
    snprintf(name, sizeof name, "norm %dx%d %d", tsri_rows(n->src.rect),
             tsri_cols(n->src.rect), n->channels);
    begin();
    const tsr_error error = clocked.ops->norm(dev, n);
    end(name);
    return error;
}

static tsr_error clock_attention(tsri_dev *dev, const tsri_dev_attention *a)
{
    char name[96];
    snprintf(name, sizeof name, "attention %dx%d %d%s", tsri_rows(a->q.rect),
             tsri_cols(a->q.rect), a->channels, a->windowed ? " windowed" : "");
    begin();
    const tsr_error error = clocked.ops->attention(dev, a);
    end(name);
    return error;
}

/* Before any node is added. */
static void put_clocks(tsri_net *net, tsri_nn_backend *backend, tsri_dev_ops *ops)
{
    clocked.ops = net->backend->device;
    clocked.gpu = net->ctx->gpu;
    clocked.rows = 0;
    *ops = *clocked.ops;
    ops->gather = clock_gather;
    ops->conv = clock_conv;
    ops->post = clock_post;
    ops->norm = clock_norm;
    ops->attention = clock_attention;
    ops->record = NULL;
    *backend = *net->backend;
    backend->device = ops;
    net->backend->close(&net->state);
    net->backend = backend;
    assert_int_equal(backend->open(&net->state, net->ctx, backend), TSR_OK);
}

static int by_time(const void *a, const void *b)
{
    const row *x = a, *y = b;
    return (x->ms < y->ms) - (x->ms > y->ms);
}

static void print_steps(void)
{
    qsort(clocked.row, (size_t)clocked.rows, sizeof *clocked.row, by_time);
    for (int i = 0; i < clocked.rows && i < 20; i++)
        printf("    %8.4f ms  %3d x  %s\n", clocked.row[i].ms,
               clocked.row[i].calls, clocked.row[i].name);
}

/* What was chosen, too. */
static void say(void *cookie, tsr_log_level level, const char *text)
{
    (void)cookie;
    (void)level;
    printf("    %s\n", text);
}

/* ---- nets ---- */

typedef struct shape {
    const char *name;
    int channels;
    int (*build)(tsri_net *);
    int height, width;
    bool encoder, small;
} shape;

static const shape shapes[] = {
    { "hyper enc 768x512", 3, hyper_enc, 512, 768, true, true },
    { "hyper dec 768x512", 192, hyper_dec, 32, 48, false, true },
    { "hyper dec 4096x3072", 192, hyper_dec, 192, 256, false, false },
    { "mcquic up 768x512", 128, mcquic_up, 128, 192, false, false },
    { "4 RB 96, 1/4 of 2048x2048", 96, body, 512, 512, false, false },
    { "vqgan dec 768x512", 8, vqgan_dec, 32, 48, false, false },
    { "vqgan full 128", 128, blocks, 512, 768, false, false },
    { "attend 1536 of 512", 512, attention, 32, 48, false, false },
    { "attend 16384 of 512", 512, attention, 128, 128, false, false },
    { "attend windowed 256x192 of 512", 512, attention, 192, 256, false, false },
};

static int compare_floats(const void *a, const void *b)
{
    const float *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static void run(const tsri_net *net, const shape *s, const tsri_dmap *in,
                const tsri_dmap *out)
{
    assert_int_equal(tsri_net_run_io(net, 1, s->height, s->width,
                                     &(tsri_net_io){ .map = in },
                                     &(tsri_net_io){ .map = out }), TSR_OK);
}

static void open_maps(const tsri_net *net, const shape *s, tsri_dmap *in,
                      tsri_dmap *out)
{
    int h, w;
    tsri_net_out_size(net, s->height, s->width, &h, &w);
    assert_int_equal(tsri_dmap_new(net, 1, s->channels, s->height, s->width, in),
                     TSR_OK);
    assert_int_equal(tsri_dmap_new(net, 1, tsri_net_out_channels(net), h, w, out),
                     TSR_OK);
    assert_int_equal(tsri_cuda_fill(net->ctx->gpu, in->data, 0,
        (size_t)s->channels * (size_t)s->height * (size_t)s->width *
        sizeof(float)), TSR_OK);
}

static float median_of_runs(const tsri_net *net, const shape *s,
                            const tsri_dmap *in, const tsri_dmap *out)
{
    float ms[RUNS];
    for (int i = 0; i < RUNS; i++) {
        begin();
        run(net, s, in, out);
        assert_int_equal(tsri_cuda_mark_set(clocked.gpu, clocked.to), TSR_OK);
        assert_int_equal(tsri_cuda_mark_between(clocked.gpu, clocked.from,
                                                clocked.to, &ms[i]), TSR_OK);
    }
    qsort(ms, RUNS, sizeof *ms, compare_floats);
    return ms[RUNS / 2];
}

static double now(void)
{
    struct timespec t;
    timespec_get(&t, TIME_UTC);
    return 1e3 * (double)t.tv_sec + 1e-6 * (double)t.tv_nsec;
}

/* Milliseconds of the first run, in which kernels are looked for. */
static double first_run(const tsri_net *net, const shape *s, const tsri_dmap *in,
                        const tsri_dmap *out)
{
    const double from = now();

    run(net, s, in, out);
    assert_int_equal(tsri_cuda_sync(clocked.gpu), TSR_OK);
    return now() - from;
}

/* A net with input and output. */
typedef struct ready {
    tsr_context *ctx;
    tsri_net *net;
    tsri_dmap in, out;
} ready;

static ready get_ready(tsr_precision precision, const shape *s)
{
    ready r = { .ctx = cuda_nn_context(precision) };

    assert_int_equal(tsri_net_new(&r.net, r.ctx, s->channels), TSR_OK);
    tsri_net_precision(r.net, s->encoder ? TSRI_NET_ENCODER : TSRI_NET_DECODER);
    assert_int_equal(tsri_net_finish(r.net, s->build(r.net)), TSR_OK);
    open_maps(r.net, s, &r.in, &r.out);
    return r;
}

static void put_away(ready *r)
{
    tsri_dmap_free(r->net, &r->in);
    tsri_dmap_free(r->net, &r->out);
    tsri_net_free(&r->net);
    tsr_context_close(&r->ctx);
}

/* A context that finds its kernels chosen. */
static void measure_again(tsr_precision precision, const shape *s)
{
    ready r = get_ready(precision, s);

    clocked.gpu = r.ctx->gpu;
    printf("    first run in another context: %.0f ms\n",
           first_run(r.net, s, &r.in, &r.out));
    put_away(&r);
}

/* ---- several at a time, as in a batch of pictures ---- */

typedef struct worker {
    pthread_t thread;
    const shape *s;
    tsr_precision precision;
    pthread_barrier_t *start;
} worker;

static void *work(void *cookie)
{
    const worker *w = cookie;
    ready r = get_ready(w->precision, w->s);

    for (int i = 0; i < 3; i++)
        run(r.net, w->s, &r.in, &r.out);
    assert_int_equal(tsri_cuda_sync(r.ctx->gpu), TSR_OK);
    pthread_barrier_wait(w->start);
    for (int i = 0; i < RUNS; i++) {
        run(r.net, w->s, &r.in, &r.out);
        assert_int_equal(tsri_cuda_sync(r.ctx->gpu), TSR_OK);
    }
    pthread_barrier_wait(w->start);
    put_away(&r);
    return NULL;
}

static void measure_lanes(tsr_precision precision, const shape *s, int lanes)
{
    worker w[MOST_LANES];
    pthread_barrier_t start;

    pthread_barrier_init(&start, NULL, (unsigned)lanes + 1);
    for (int i = 0; i < lanes; i++) {
        w[i] = (worker){ .s = s, .precision = precision, .start = &start };
        assert_int_equal(pthread_create(&w[i].thread, NULL, work, &w[i]), 0);
    }
    pthread_barrier_wait(&start);
    const double from = now();
    pthread_barrier_wait(&start);
    printf("    %2d contexts at a time: %.3f ms a run\n", lanes,
           (now() - from) / (lanes * RUNS));
    for (int i = 0; i < lanes; i++)
        assert_int_equal(pthread_join(w[i].thread, NULL), 0);
    pthread_barrier_destroy(&start);
}

/* ---- all of it ---- */

static void measure(tsr_context *ctx, const shape *s, bool steps)
{
    tsri_nn_backend backend;
    tsri_dev_ops ops;
    tsri_dmap in, out;
    tsri_net *net;
    int h, w;

    assert_int_equal(tsri_net_new(&net, ctx, s->channels), TSR_OK);
    tsri_net_precision(net, s->encoder ? TSRI_NET_ENCODER : TSRI_NET_DECODER);
    clocked.gpu = ctx->gpu;
    if (steps)
        put_clocks(net, &backend, &ops);
    assert_int_equal(tsri_net_finish(net, s->build(net)), TSR_OK);
    open_maps(net, s, &in, &out);
    const double first = first_run(net, s, &in, &out);
    for (int i = 0; i < 3; i++)
        run(net, s, &in, &out);
    if (steps) {
        clocked.rows = 0;
        run(net, s, &in, &out);
        print_steps();
    } else {
        const float ms = median_of_runs(net, s, &in, &out);
        tsri_net_out_size(net, s->height, s->width, &h, &w);
        const double macs = tsri_net_macs(net, s->height, s->width,
                                          (tsri_rect){ 0, 0, h, w });
        printf("%-32s %-9s %8.3f ms  %6.1f TFLOP/s, first %.0f ms\n", s->name,
               net->backend->name, (double)ms, 2e-9 * macs / (double)ms, first);
    }
    tsri_dmap_free(net, &in);
    tsri_dmap_free(net, &out);
    tsri_net_free(&net);
}

static void measure_both(const shape *s, tsr_precision precision)
{
    tsr_context *ctx = cuda_nn_context(precision);

    ctx->logger.log = say;
    clocked.gpu = ctx->gpu;
    assert_int_equal(tsri_cuda_mark_open(ctx->gpu, &clocked.from), TSR_OK);
    assert_int_equal(tsri_cuda_mark_open(ctx->gpu, &clocked.to), TSR_OK);
    measure(ctx, s, false);
    measure(ctx, s, true);
    tsri_cuda_mark_close(ctx->gpu, &clocked.from);
    tsri_cuda_mark_close(ctx->gpu, &clocked.to);
    tsr_context_close(&ctx);
    measure_again(precision, s);
    if (s->small)
        for (int lanes = 1; lanes <= MOST_LANES; lanes *= 4)
            measure_lanes(precision, s, lanes);
    fflush(stdout);
}

int cuda_nn_bench(const char *only, const char *precision)
{
    static const char *const names[] = { "auto", "fp32", "fp16", "bf16" };
    static const tsr_precision all[] = { TSR_PRECISION_AUTO, TSR_PRECISION_F32,
                                         TSR_PRECISION_F16, TSR_PRECISION_BF16 };
    int which = 0;

    while (which < 4 && strcmp(names[which], precision))
        which++;
    if (which == 4) {
        fprintf(stderr, "precisions are auto, fp32, fp16, bf16\n");
        return 1;
    }
    nets_weights();
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        if (strstr(shapes[i].name, only))
            measure_both(&shapes[i], all[which]);
    return 0;
}
