/* SPDX-License-Identifier: BSD-2-Clause */
#include <string.h>
#include "codecs/audio/codes_lm.h"

enum {
    SUM_MAX = 65535,    /* what a norm takes */
    EPSILON = 10,       /* 1e-5 with 20 bits of fraction */
    LOGIT_BITS = 6      /* more bits of weights of codewords, so that 2^18 slots
                           are made use of */
};

struct tsri_lm_state {
    const tsri_codes_lm *lm;
    const tsri_lm_kernels *kernels;
    int at;             /* the cache entry to be written next */
    int used;           /* entries in use, window + 1 at most */
    int pad;            /* stride of a head's numbers */
    int16_t *keys, *values; /* [layers][heads][window + 2][pad] */
    int16_t *x;         /* [dim], all padded with zeros */
    int16_t *y;         /* [dim] attention's result, the state of the books */
    int16_t *hidden;    /* [4 dim] */
    int16_t *part;      /* [heads][pad] a query */
    int16_t *share;     /* [window + 2] what an entry counts */
    int32_t *sum;       /* [4 dim], [codewords], [window + 2] */
    uint32_t *start;    /* [codewords + 1] */
};

/* ---- plain C ---- */

static void rows_plain(const int16_t *w, const int32_t *bias, int n, int stride,
                       const int16_t *x, int32_t *y)
{
    for (int i = 0; i < n; i++, w += stride) {
        int32_t sum = bias ? bias[i] : 0;
        for (int j = 0; j < stride; j++)
            sum += w[j] * x[j];
        y[i] = sum;
    }
}

static void blend_plain(const int16_t *p, const int16_t *v, int n, int stride,
                        int32_t *y)
{
    memset(y, 0, (size_t)stride * sizeof *y);
    for (int i = 0; i < n; i++, v += stride)
        for (int j = 0; j < stride; j++)
            y[j] += p[i] * v[j];
}

const tsri_lm_kernels *tsri_lm_kernels_plain(void)
{
    static const tsri_lm_kernels kernels = { rows_plain, blend_plain };

    return &kernels;
}

static const tsri_lm_kernels *pick(const tsr_context *ctx)
{
    const tsri_lm_kernels *avx2 = tsri_lm_kernels_avx2();

    return avx2 && ctx->cpu & TSR_CPU_AVX2 ? avx2 : tsri_lm_kernels_plain();
}

/* ---- state ---- */

static size_t cache_size(const tsri_lm_state *s)
{
    const tsri_codes_lm *m = s->lm;

    return (size_t)(m->layers * m->heads) * (size_t)(m->window + 2) *
           (size_t)s->pad;
}

static int16_t *head_of(const tsri_lm_state *s, int16_t *cache, int layer, int head)
{
    return cache + (size_t)(layer * s->lm->heads + head) *
                   (size_t)(s->lm->window + 2) * (size_t)s->pad;
}

static bool get_memory(tsri_lm_state *s, tsr_context *ctx)
{
    const tsri_codes_lm *m = s->lm;
    const size_t n = (size_t)m->dim, entries = (size_t)m->window + 2;
    size_t sums = 4 * n > (size_t)m->codewords ? 4 * n : (size_t)m->codewords;

    sums = sums > entries ? sums : entries;
    s->keys = tsri_calloc(ctx, cache_size(s), sizeof *s->keys);
    s->values = tsri_calloc(ctx, cache_size(s), sizeof *s->values);
    s->x = tsri_calloc(ctx, n + 15, sizeof *s->x);
    s->y = tsri_calloc(ctx, n + 15, sizeof *s->y);
    s->hidden = tsri_calloc(ctx, 4 * n + 15, sizeof *s->hidden);
    s->part = tsri_calloc(ctx, (size_t)(m->heads * s->pad), sizeof *s->part);
    s->share = tsri_calloc(ctx, entries, sizeof *s->share);
    s->sum = tsri_calloc(ctx, sums + 15, sizeof *s->sum);
    s->start = tsri_calloc(ctx, (size_t)m->codewords + 1, sizeof *s->start);
    return s->keys && s->values && s->x && s->y && s->hidden && s->part &&
           s->share && s->sum && s->start;
}

tsr_error tsri_lm_state_open(tsri_lm_state **out, tsr_context *ctx,
                             const tsri_codes_lm *lm)
{
    tsri_lm_state *s = tsri_calloc(ctx, 1, sizeof *s);

    *out = s;
    if (!s)
        return TSR_E_NOMEM;
    s->lm = lm;
    s->kernels = pick(ctx);
    s->pad = (lm->head + 15) & ~15;
    if (get_memory(s, ctx))
        return TSR_OK;
    tsri_lm_state_close(out, ctx);
    return TSR_E_NOMEM;
}

void tsri_lm_state_close(tsri_lm_state **out, tsr_context *ctx)
{
    tsri_lm_state *s = *out;

    if (!s)
        return;
    tsri_free(ctx, s->keys);
    tsri_free(ctx, s->values);
    tsri_free(ctx, s->x);
    tsri_free(ctx, s->y);
    tsri_free(ctx, s->hidden);
    tsri_free(ctx, s->part);
    tsri_free(ctx, s->share);
    tsri_free(ctx, s->sum);
    tsri_free(ctx, s->start);
    tsri_free(ctx, s);
    *out = NULL;
}

/* ---- layers ---- */

static inline int32_t clamp(int32_t v, int32_t limit)
{
    return v < -limit ? -limit : v > limit ? limit : v;
}

/* s->sum = the layer's outputs, not limited. */
static void run(const tsri_lm_state *s, const tsri_lm_linear *l, const int16_t *x)
{
    s->kernels->rows(l->weight, l->bias, l->out, l->stride, x, s->sum);
    for (int i = 0; i < l->out; i++)
        s->sum[i] >>= l->shift;
}

uint32_t tsri_lm_sqrt(uint64_t v)
{
    uint64_t root = 0;

    for (uint64_t bit = (uint64_t)1 << 62; bit; bit >>= 2) {
        const bool fits = v >= root + bit;
        v -= fits ? root + bit : 0;
        root = (root >> 1) + (fits ? bit : 0);
    }
    return (uint32_t)root;
}

/* x = norm of s->sum.  With n numbers of at most 2^16 in it, n * number is below
 * 2^25, its distance from their sum below 2^26, and the sum of the squares of
 * those below 2^61.  No distance is more than sqrt(n) times the root of their
 * mean square. */
static void normalise(const tsri_lm_state *s, const tsri_lm_norm *norm, int16_t *x)
{
    const int n = s->lm->dim;
    uint64_t squares = 0;
    int32_t all = 0;

    for (int i = 0; i < n; i++) {
        s->sum[i] = clamp(s->sum[i], SUM_MAX);
        all += s->sum[i];
    }
    for (int i = 0; i < n; i++) {
        const int64_t d = n * s->sum[i] - all;
        squares += (uint64_t)(d * d);
    }
    const int64_t scale = ((int64_t)1 << 44) /
        tsri_lm_sqrt(squares / (uint64_t)n + (uint64_t)(EPSILON * n * n));
    for (int i = 0; i < n; i++) {
        const int64_t d = n * s->sum[i] - all;
        const int64_t v = (d * scale + ((int64_t)1 << 32)) >> 33;
        const int32_t in = v < -INT16_MAX ? -INT16_MAX : v > INT16_MAX ? INT16_MAX
                                                                      : (int32_t)v;
        x[i] = (int16_t)clamp((in * norm->gain[i] + norm->bias[i]) >> norm->shift,
                              TSRI_LM_STATE);
    }
}

/* Adds x to s->sum. */
static void add(const tsri_lm_state *s, const int16_t *x)
{
    for (int i = 0; i < s->lm->dim; i++)
        s->sum[i] = clamp(s->sum[i], SUM_MAX) + x[i];
}

/* 2^(16 + more - z / 256), rounded down. */
static inline uint32_t power(const tsri_codes_lm *m, uint32_t z, int more)
{
    return z < 24 << 8 ? (uint32_t)m->exp2[z & 255] << more >> (z >> 8) : 0;
}

/* s->share of n scores in s->sum: of 2^15 in all, to within their rounding. */
static void softmax(const tsri_lm_state *s, int n, int shift)
{
    int32_t most = s->sum[0];
    uint64_t all = 0, scale;

    for (int i = 1; i < n; i++)
        most = s->sum[i] > most ? s->sum[i] : most;
    for (int i = 0; i < n; i++) {
        const uint32_t z = ((uint32_t)most - (uint32_t)s->sum[i]) >> shift;
        s->sum[i] = (int32_t)power(s->lm, z, 0);
        all += (uint64_t)s->sum[i];
    }
    scale = ((uint64_t)1 << 46) / all;
    for (int i = 0; i < n; i++) {
        const uint64_t v = ((uint64_t)s->sum[i] * scale + (1u << 30)) >> 31;
        s->share[i] = (int16_t)(v < INT16_MAX ? v : INT16_MAX);
    }
    s->share[n] = 0;
}

/* Writes a vector's heads to entry s->at of a cache. */
static void keep(const tsri_lm_state *s, int16_t *cache, int layer, int limit)
{
    const int d = s->lm->head;

    for (int h = 0; h < s->lm->heads; h++) {
        int16_t *to = head_of(s, cache, layer, h) +
                      (size_t)s->at * (size_t)s->pad;
        for (int i = 0; i < d; i++)
            to[i] = (int16_t)clamp(s->sum[h * d + i], limit);
    }
}

static void remember(const tsri_lm_state *s, int i, const int16_t *x)
{
    const tsri_lm_layer *l = &s->lm->layer[i];

    run(s, &l->key, x);
    keep(s, s->keys, i, TSRI_LM_HIDDEN);
    run(s, &l->value, x);
    keep(s, s->values, i, TSRI_LM_STATE);
}

static void attend(const tsri_lm_state *s, int i)
{
    const tsri_lm_layer *l = &s->lm->layer[i];
    const int d = s->lm->head, pad = s->pad, n = s->used;

    run(s, &l->query, s->x);
    for (int h = 0; h < s->lm->heads; h++)
        for (int j = 0; j < d; j++)
            s->part[h * pad + j] = (int16_t)clamp(s->sum[h * d + j],
                                                  TSRI_LM_HIDDEN);
    for (int h = 0; h < s->lm->heads; h++) {
        int32_t out[TSRI_LM_MAX_HEAD];
        s->kernels->rows(head_of(s, s->keys, i, h), NULL, n, pad,
                         s->part + h * pad, s->sum);
        softmax(s, n, l->score_shift);
        s->kernels->blend(s->share, head_of(s, s->values, i, h), n, pad, out);
        for (int j = 0; j < d; j++)
            s->y[h * d + j] = (int16_t)clamp((out[j] + (1 << 14)) >> 15,
                                             TSRI_LM_STATE);
    }
    run(s, &l->out, s->y);
    add(s, s->x);
    normalise(s, &l->norm1, s->x);
}

/* A curve of 1024 pieces over -16384..16383. */
static int32_t bend(const int16_t *curve, int32_t v)
{
    const int32_t at = (v + 16384) >> 5, part = v & 31;
    const int32_t from = curve[at], to = curve[at + 1];

    return (32 * from + (to - from) * part + 16) >> 5;
}

static void feed_forward(const tsri_lm_state *s, int i)
{
    const tsri_lm_layer *l = &s->lm->layer[i];

    run(s, &l->up, s->x);
    for (int j = 0; j < 4 * s->lm->dim; j++)
        s->hidden[j] = (int16_t)clamp(bend(s->lm->curve,
            clamp(s->sum[j], TSRI_LM_STATE)), TSRI_LM_HIDDEN);
    run(s, &l->down, s->hidden);
    add(s, s->x);
    normalise(s, &l->norm2, s->x);
}

/* The embeddings of frame f - 1, with its place. */
static void embed(const tsri_lm_state *s, const tsri_codes_view *view, int f)
{
    const tsri_codes_lm *m = s->lm;
    const int half = m->dim / 2;

    memset(s->sum, 0, (size_t)m->dim * sizeof *s->sum);
    for (int k = 0; k < view->books; k++) {
        const size_t code = f ? *tsri_codes_at(view, f - 1, k) + (size_t)1 : 0;
        const int16_t *e = m->emb + ((size_t)k * ((size_t)m->codewords + 1) + code) *
                                    (size_t)m->dim;
        for (int i = 0; i < m->dim; i++)
            s->sum[i] += e[i];
    }
    normalise(s, &m->norm_in, s->x);
    for (int i = 0; i < half; i++) {
        const uint32_t turn = ((uint32_t)m->phase[i] * (uint32_t)f + (1u << 19)) >> 20;
        const int quarter = TSRI_LM_SINE / 4, last = TSRI_LM_SINE - 1;
        s->x[i] = (int16_t)clamp(s->x[i] + m->sine[((int)turn + quarter) & last],
                                 TSRI_LM_STATE);
        s->x[half + i] = (int16_t)clamp(s->x[half + i] + m->sine[turn],
                                        TSRI_LM_STATE);
    }
}

static void advance(tsri_lm_state *s)
{
    s->at = s->at < s->lm->window ? s->at + 1 : 0;
}

void tsri_lm_reset(tsri_lm_state *s)
{
    memset(s->x, 0, (size_t)s->lm->dim * sizeof *s->x);
    s->at = 0;
    s->used = 1;
    for (int i = 0; i < s->lm->layers; i++)
        remember(s, i, s->x);
    advance(s);
}

void tsri_lm_frame(tsri_lm_state *s, const tsri_codes_view *view, int f)
{
    s->used = tsri_min(s->used + 1, s->lm->window + 1);
    embed(s, view, f);
    for (int i = 0; i < s->lm->layers; i++) {
        remember(s, i, s->x);
        attend(s, i);
        feed_forward(s, i);
    }
    advance(s);
}

/* ---- codes ---- */

/* What is known of the codes of this frame joins the state. */
static void look(const tsri_lm_state *s, const tsri_codes_view *view, int f, int k)
{
    const tsri_codes_lm *m = s->lm;
    const int16_t *row;

    if (!k || !m->coarser)
        return;
    row = m->coarser + ((size_t)(k - 1) * (size_t)m->codewords +
                        *tsri_codes_at(view, f, k - 1)) * (size_t)m->dim;
    for (int i = 0; i < m->dim; i++)
        s->x[i] = (int16_t)clamp(s->x[i] + row[i] * (1 << m->coarser_shift),
                                 TSRI_LM_STATE);
}

const uint32_t *tsri_lm_starts(tsri_lm_state *s, const tsri_codes_view *view,
                               int f, int k)
{
    const tsri_codes_lm *m = s->lm;
    const int n = m->codewords;
    int32_t most = INT32_MIN;
    uint64_t all = 0, scale;

    look(s, view, f, k);
    run(s, &m->logits[k], s->x);
    for (int i = 0; i < n; i++)
        most = s->sum[i] > most ? s->sum[i] : most;
    for (int i = 0; i < n; i++) {
        s->sum[i] = (int32_t)power(m, (uint32_t)most - (uint32_t)s->sum[i],
                                   LOGIT_BITS);
        all += (uint64_t)s->sum[i];
    }
    scale = tsri_codes_scale((uint32_t)n, all);
    all = 0;
    for (int i = 0; i < n; i++) {
        s->start[i] = tsri_codes_start((uint32_t)i, all, scale);
        all += (uint64_t)s->sum[i];
    }
    s->start[n] = 1 << TSRI_CODES_BITS;
    return s->start;
}
