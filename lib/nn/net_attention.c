/* SPDX-License-Identifier: BSD-2-Clause */
/* Attention over the positions of a plane.
 *
 * Keys are taken in blocks of 256, one after the other; the queries of a job
 * are multiplied by a block's keys, then the weights that result by its values,
 * both by the backend's 1 x 1 convolution (queries are the samples; keys and
 * values are the weights of the convolution).  What a query has summed up lies
 * in the destination, scaled by exp(-max) of the keys so far; its maximum and
 * the sum of its weights lie in an array.  The order of keys does not depend
 * on anything else than the plane's size, so neither does a result. */
#include <math.h>
#include <string.h>
#include "lib/nn/exp.h"
#include "lib/nn/ivdep.h"
#include "lib/nn/net_internal.h"
#include "lib/pool.h"

enum {
    LANE = TSRI_NN_LANE,
    KEYS = 256,
    QUERIES = 128,              /* of one job at most */
    CELL = 16,                  /* windowed: keys come in cells of this side, */
    GROUP = 32,                 /* queries in squares of this side, */
    WINDOW = 8                  /* and see so many cells in either direction */
};

bool tsri_attention_windowed(const tsri_net *net, int node)
{
    const tsri_place *p = &net->place[node];
    return (int64_t)p->height * p->width > net->exact;
}

/* The first cell that the square of queries that `at` lies in sees, in a
 * direction that has n positions. */
static int first_cell(int at, int n)
{
    const int middle = at / GROUP * (GROUP / CELL) + GROUP / CELL / 2;
    const int cells = tsri_ceil_div(n, CELL);
    return tsri_max(tsri_min(middle - WINDOW / 2, cells - WINDOW), 0);
}

/* The cells that the queries `from` to `to` - 1 see, as positions. */
static void see(int from, int to, int n, int *first, int *end)
{
    *first = first_cell(from, n) * CELL;
    *end = tsri_min((first_cell(to - 1, n) + WINDOW) * CELL, n);
}

tsri_rect tsri_attention_window(int y, int x, int height, int width)
{
    tsri_rect r;
    see(y, y + 1, height, &r.y0, &r.y1);
    see(x, x + 1, width, &r.x0, &r.x1);
    return r;
}

tsri_rect tsri_attention_keys(const tsri_net *net, const tsri_step *s,
                              tsri_rect r)
{
    const tsri_place *p = &net->place[s->dst];
    tsri_rect keys = { 0, 0, p->height, p->width };

    if (tsri_attention_windowed(net, s->dst)) {
        see(r.y0, r.y1, p->height, &keys.y0, &keys.y1);
        see(r.x0, r.x1, p->width, &keys.x0, &keys.x1);
    }
    return keys;
}

/* How queries and keys are cut. */
typedef struct tsri_cut {
    bool windowed;
    tsri_rect rect, keys;
    int ny, nx;                 /* squares of queries; whole: 1 x 1 */
    int runs, n;                /* of each, jobs of n queries */
    int ky, kx;                 /* blocks of keys; whole: 1 x kx */
} tsri_cut;

static tsri_cut cut_of(const tsri_net *net, const tsri_step *s)
{
    const tsri_rect r = net->place[s->dst].rect;
    tsri_cut c = { .windowed = tsri_attention_windowed(net, s->dst), .rect = r,
                   .keys = tsri_attention_keys(net, s, r), .ny = 1, .nx = 1,
                   .ky = 1 };
    int most = c.windowed ? GROUP * GROUP : tsri_rows(r) * tsri_cols(r);

    c.kx = tsri_ceil_div(tsri_rows(c.keys) * tsri_cols(c.keys), KEYS);
    if (c.windowed) {
        c.ny = (r.y1 - 1) / GROUP - r.y0 / GROUP + 1;
        c.nx = (r.x1 - 1) / GROUP - r.x0 / GROUP + 1;
        c.ky = tsri_ceil_div(tsri_rows(c.keys), CELL);
        c.kx = tsri_ceil_div(tsri_cols(c.keys), CELL);
    }
    c.runs = tsri_ceil_div(most, QUERIES);
    /* Something for every thread. */
    while (c.runs < 2 * net->ctx->threads && most / c.runs >= 32 && !c.windowed)
        c.runs++;
    c.n = tsri_ceil_div(most, c.runs);
    return c;
}

/* Part of a square, clamped to the rectangle of queries. */
static tsri_rect square_of(const tsri_cut *c, int i)
{
    const int y = (c->rect.y0 / GROUP + i / c->nx) * GROUP;
    const int x = (c->rect.x0 / GROUP + i % c->nx) * GROUP;

    if (!c->windowed)
        return c->rect;
    return (tsri_rect){ tsri_max(y, c->rect.y0), tsri_max(x, c->rect.x0),
                        tsri_min(y + GROUP, c->rect.y1),
                        tsri_min(x + GROUP, c->rect.x1) };
}

/* ---- sizes ---- */

/* Floats of a job's parts for channels C: queries and products of C, scores
 * of KEYS, maxima and sums of 8, one row of 8, factors of 1. */
static size_t job_floats(size_t n, size_t channels)
{
    return (n * (2 * channels + KEYS + 4 * LANE) + 63) / 16 * 16;
}

static size_t jobs_of(const tsri_cut *c)
{
    return (size_t)c->ny * (size_t)c->nx * (size_t)c->runs;
}

/* Two packed convolutions, their biases, and what a backend keeps with them. */
static size_t packed_floats(size_t channels)
{
    return 2 * KEYS * channels + 4096;
}

bool tsri_attention_floats(const tsri_net *net, const tsri_step *s,
                           size_t *scratch, size_t *extra, size_t *packed)
{
    const size_t channels = (size_t)s->conv.in;
    const tsri_rect r = net->place[s->dst].rect;

    if ((int64_t)tsri_rows(r) * tsri_cols(r) > 1 << 29)
        return false;
    const tsri_cut c = cut_of(net, s);
    *scratch = job_floats((size_t)c.n, channels);
    *extra = (2 * jobs_of(&c) * (size_t)c.n + (KEYS + 1) * channels + KEYS +
              63) / 16 * 16;
    *packed = packed_floats(channels);
    return true;
}

double tsri_attention_macs(const tsri_net *net, const tsri_step *s)
{
    const tsri_cut c = cut_of(net, s);
    double pairs = 0;

    for (int i = 0; i < c.ny * c.nx; i++) {
        const tsri_rect q = square_of(&c, i);
        const tsri_rect k = tsri_attention_keys(net, s, q);
        pairs += (double)tsri_rows(q) * tsri_cols(q) * tsri_rows(k) *
                 tsri_cols(k);
    }
    return 2 * pairs * net->node[s->dst].channels;
}

/* ---- one block of keys ---- */

typedef struct tsri_look {
    const tsri_net *net;
    const tsri_step *step;
    tsri_view q, k, v, dst;
    tsri_cut cut;
    tsri_nn_conv score, mix;
    const tsri_nn_kernel *scoring, *mixing;
    int block, keys;            /* at work: its number, its keys */
    int first_square;           /* of the jobs that are run */
    float *weight;              /* [KEYS][channels] */
    float *state;               /* per job: maxima [n], sums [n] */
    float *scratch;
    float scale;
} tsri_look;

/* Key i of block `block`: false where there is none. */
static bool key_at(const tsri_cut *c, int block, int i, int *y, int *x)
{
    const int cols = tsri_cols(c->keys);

    if (c->windowed) {
        const int y0 = c->keys.y0 + block / c->kx * CELL;
        const int x0 = c->keys.x0 + block % c->kx * CELL;
        const int w = tsri_min(CELL, c->keys.x1 - x0);
        *y = y0 + i / w;
        *x = x0 + i % w;
        return *y < tsri_min(y0 + CELL, c->keys.y1);
    }
    *y = c->keys.y0 + (block * KEYS + i) / cols;
    *x = c->keys.x0 + (block * KEYS + i) % cols;
    return *y < c->keys.y1;
}

static int count_keys(const tsri_cut *c, int block)
{
    const int rows = tsri_rows(c->keys), cols = tsri_cols(c->keys);

    if (c->windowed)
        return tsri_min(CELL, rows - block / c->kx * CELL) *
               tsri_min(CELL, cols - block % c->kx * CELL);
    return tsri_min(KEYS, rows * cols - block * KEYS);
}

/* Writes the block's keys (or values) as the weights [out][in] of a
 * convolution; strides in floats of a key and of a channel. */
static void gather_keys(const tsri_look *t, const tsri_view *from, size_t key,
                        size_t channel)
{
    int y, x;
    for (int i = 0; i < t->keys; i++) {
        key_at(&t->cut, t->block, i, &y, &x);
        for (int b = 0; b < t->step->conv.in / LANE; b++) {
            const float *p = tsri_row_get(from, b, y, x, 1, NULL);
            float *to = t->weight + (size_t)i * key +
                        (size_t)b * LANE * channel;
            for (int l = 0; l < LANE; l++)
                to[(size_t)l * channel] = p[l];
        }
    }
}

/* Keys that only fill up the last lanes have no weight. */
static tsr_error pack_block(tsri_look *t)
{
    const tsri_nn_backend *backend = t->net->backend;
    tsri_nn_state *state = t->net->state;
    const size_t channels = (size_t)t->step->conv.in;
    const int lanes = tsri_lanes(t->keys);

    t->score.out = t->mix.in = lanes;
    for (int i = 0; i < lanes; i++)
        t->score.bias[i] = i < t->keys ? 0 : -1e30f;
    memset(t->weight, 0, (size_t)lanes * channels * sizeof *t->weight);
    gather_keys(t, &t->k, channels, 1);
    TSR_TRY(backend->pack(state, &t->score, t->weight));
    memset(t->weight, 0, (size_t)lanes * channels * sizeof *t->weight);
    gather_keys(t, &t->v, 1, (size_t)lanes);
    TSR_TRY(backend->pack(state, &t->mix, t->weight));
    TSR_TRY(backend->prepare(state, &t->score, 1, t->cut.n, &t->scoring));
    return backend->prepare(state, &t->mix, 1, t->cut.n, &t->mixing);
}

static void unpack_block(tsri_look *t)
{
    t->net->backend->unpack(t->net->state, &t->score);
    t->net->backend->unpack(t->net->state, &t->mix);
}

/* ---- one job ---- */

typedef struct tsri_queries {
    tsri_rect rect;             /* the square */
    int start, count;           /* positions of it, row by row */
    bool first, last;           /* block of keys that they see */
    float *in, *scores, *out, *most, *sum, *temp, *factor;
    float *max, *total;         /* [count]: between blocks */
} tsri_queries;

/* Calls for each piece of the job that lies in one row of the plane. */
#define EACH_PIECE(k, at, y, x, n)                                       \
    for (int at = 0, y, x, n; at < (k)->count &&                         \
         (y = (k)->rect.y0 + ((k)->start + at) / tsri_cols((k)->rect),   \
          x = (k)->rect.x0 + ((k)->start + at) % tsri_cols((k)->rect),   \
          n = tsri_min((k)->rect.x1 - x, (k)->count - at), true); at += n)

static void gather_queries(const tsri_look *t, const tsri_queries *k)
{
    const size_t n = (size_t)t->cut.n * LANE;

    for (int b = 0; b < t->step->conv.in / LANE; b++) {
        float *to = k->in + (size_t)b * n;
        EACH_PIECE(k, at, y, x, m)
            memcpy(to + at * LANE, tsri_row_get(&t->q, b, y, x, m, k->temp),
                   (size_t)m * LANE * sizeof *to);
        memset(to + k->count * LANE, 0,
               (size_t)(t->cut.n - k->count) * LANE * sizeof *to);
    }
}

static float greatest(const float *p)
{
    float m = p[0];
    for (int l = 1; l < LANE; l++)
        m = p[l] > m ? p[l] : m;
    return m;
}

static float added(const float *p)
{
    return ((p[0] + p[4]) + (p[1] + p[5])) + ((p[2] + p[6]) + (p[3] + p[7]));
}

/* The maxima with this block; factor: of what was summed before it. */
static void lift(const tsri_look *t, const tsri_queries *k)
{
    const int n = t->cut.n * LANE;

    memcpy(k->most, k->scores, (size_t)n * sizeof *k->most);
    for (int b = 1; b < t->score.out / LANE; b++) {
        const float *s = k->scores + (size_t)b * (size_t)n;
        for (int i = 0; i < n; i++)
            k->most[i] = s[i] > k->most[i] ? s[i] : k->most[i];
    }
    for (int i = 0; i < k->count; i++) {
        float m = greatest(k->most + i * LANE);
        if (!k->first && k->max[i] > m)
            m = k->max[i];
        k->factor[i] = k->first ? 0 : tsri_exp((k->max[i] - m) * t->scale);
        k->max[i] = m;
        for (int l = 0; l < LANE; l++)
            k->most[i * LANE + l] = m;
    }
}

/* Scores become weights, relative to the maximum. */
static void weigh(const tsri_look *t, const tsri_queries *k)
{
    const int n = k->count * LANE;

    memset(k->sum, 0, (size_t)n * sizeof *k->sum);
    for (int b = 0; b < t->score.out / LANE; b++) {
        float *s = k->scores + (size_t)b * (size_t)(t->cut.n * LANE);
        for (int j = 0; j < n; j += LANE)
            TSRI_IVDEP
            for (int i = j; i < j + LANE; i++) {
                s[i] = tsri_exp((s[i] - k->most[i]) * t->scale);
                k->sum[i] += s[i];
            }
    }
    for (int i = 0; i < k->count; i++) {
        const float sum = added(k->sum + i * LANE);
        k->total[i] = k->first ? sum : k->total[i] * k->factor[i] + sum;
    }
}

/* dst = (dst * factor + out) * last, the last being 1 but at the end. */
static void update_row(const tsri_queries *k, int at, int n, float *dst,
                       const float *old, const float *out)
{
    for (int i = 0; i < n; i++) {
        const float f = k->factor[at + i];
        const float g = k->last ? 1 / k->total[at + i] : 1;
        for (int l = i * LANE; l < i * LANE + LANE; l++)
            dst[l] = ((k->first ? 0 : old[l] * f) + out[l]) * g;
    }
}

static void update(const tsri_look *t, const tsri_queries *k)
{
    for (int b = 0; b < t->step->conv.out / LANE; b++) {
        const float *out = k->out + (size_t)b * (size_t)(t->cut.n * LANE);
        EACH_PIECE(k, at, y, x, n) {
            float *to = tsri_row_out(&t->dst, b, y, x, k->temp);
            const float *old = k->first ? to :
                               tsri_row_get(&t->dst, b, y, x, n, k->temp);
            update_row(k, at, n, to, old, out + at * LANE);
            tsri_row_put(&t->dst, b, y, x, n, to);
        }
    }
}

/* Whether the square sees the block that is at work, and whether that is the
 * first or the last that it sees. */
static bool sees(const tsri_look *t, tsri_queries *k)
{
    const tsri_cut *c = &t->cut;
    const tsri_rect w = tsri_attention_keys(t->net, t->step, k->rect);

    k->first = t->block == 0;
    k->last = t->block == c->ky * c->kx - 1;
    if (!c->windowed)
        return true;
    const int y = c->keys.y0 + t->block / c->kx * CELL;
    const int x = c->keys.x0 + t->block % c->kx * CELL;
    k->first = y == w.y0 && x == w.x0;
    k->last = y + CELL >= w.y1 && x + CELL >= w.x1;
    return y >= w.y0 && y < w.y1 && x >= w.x0 && x < w.x1;
}

static void set_memory(const tsri_look *t, tsri_queries *k, int job, int worker)
{
    const size_t n = (size_t)t->cut.n, channels = (size_t)t->step->conv.in;

    k->max = t->state + 2 * n * (size_t)job;
    k->total = k->max + n;
    k->in = t->scratch + (size_t)worker * t->net->scratch;
    k->out = k->in + n * channels;
    k->scores = k->out + n * channels;
    k->most = k->scores + n * KEYS;
    k->sum = k->most + n * LANE;
    k->temp = k->sum + n * LANE;
    k->factor = k->temp + n * LANE;
}

static tsr_error run_job(void *cookie, int i, int worker)
{
    const tsri_look *t = cookie;
    const tsri_nn_backend *backend = t->net->backend;
    const int job = t->first_square * t->cut.runs + i;
    tsri_queries k = { .rect = square_of(&t->cut, job / t->cut.runs),
                       .start = job % t->cut.runs * t->cut.n };
    const int all = tsri_rows(k.rect) * tsri_cols(k.rect);

    k.count = tsri_min(t->cut.n, all - k.start);
    if (k.count < 1 || !sees(t, &k))
        return TSR_OK;
    set_memory(t, &k, job, worker);
    gather_queries(t, &k);
    TSR_TRY(backend->run(t->scoring, &t->score, k.in, k.scores));
    lift(t, &k);
    weigh(t, &k);
    TSR_TRY(backend->run(t->mixing, &t->mix, k.scores, k.out));
    update(t, &k);
    return TSR_OK;
}

/* The rows of squares that see row `block` of cells, and only these. */
static void pick_squares(const tsri_look *t, int *first, int *count)
{
    const tsri_cut *c = &t->cut;
    const int height = t->net->place[t->step->dst].height;
    const int y = c->keys.y0 + t->block / c->kx * CELL;
    int from, to, end = 0;

    *first = c->windowed ? c->ny : 0;
    for (int i = 0; i < c->ny && c->windowed; i++) {
        const tsri_rect r = square_of(c, i * c->nx);
        see(r.y0, r.y1, height, &from, &to);
        if (y < from || y >= to)
            continue;
        *first = tsri_min(*first, i);
        end = i + 1;
    }
    *count = c->windowed ? (end - *first) * c->nx : 1;
    *first *= c->nx;
}

static tsr_error run_block(tsri_look *t, int block)
{
    tsr_error error;
    int squares;

    t->block = block;
    t->keys = count_keys(&t->cut, block);
    pick_squares(t, &t->first_square, &squares);
    if (squares < 1)
        return TSR_OK;
    error = pack_block(t);
    if (!error)
        error = tsri_pool_for(t->net->ctx->pool, squares * t->cut.runs, run_job,
                              t);
    unpack_block(t);
    return error;
}

tsr_error tsri_attention_run(const tsri_net *net, const tsri_step *s,
                             const tsri_buffers *m)
{
    const size_t channels = (size_t)s->conv.in;
    tsri_look t = { .net = net, .step = s, .cut = cut_of(net, s),
                    .q = tsri_view_of(net, m, s->src),
                    .k = tsri_view_of(net, m, s->arg[0]),
                    .v = tsri_view_of(net, m, s->arg[1]),
                    .dst = tsri_view_of(net, m, s->dst), .weight = m->extra,
                    .scratch = m->scratch,
                    .score = { .in = s->conv.in, .kernel = 1, .stride = 1 },
                    .mix = { .out = s->conv.in, .kernel = 1, .stride = 1 } };

    t.scale = (float)(1 / sqrt((double)net->node[s->dst].channels));
    t.score.bias = t.weight + KEYS * channels;
    t.mix.bias = t.score.bias + KEYS;
    t.state = t.mix.bias + channels;
    memset(t.mix.bias, 0, channels * sizeof *t.mix.bias);
    for (int i = 0; i < t.cut.ky * t.cut.kx; i++)
        TSR_TRY(run_block(&t, i));
    return TSR_OK;
}
