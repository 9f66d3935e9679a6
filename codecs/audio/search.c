/* SPDX-License-Identifier: BSD-2-Clause */
#include <math.h>
#include <string.h>
#include "codecs/audio/codes_impl.h"
#include "codecs/audio/search.h"
#include "lib/bytes.h"
#include "vq/rvq.h"

enum {
    FEW = TSRI_SCORES_BLOCK, BLOCK = 32,
    BACK = TSRI_CODES_BACK,
    BIT = 256,              /* units of bits */
    LOG = BIT / 16          /* of them, of a table's logarithms */
};

/* Of the gain of a book. */
static const float price = 1.0f / 50;

/* The codes of the first books of a frame. */
typedef struct beginning {
    float error;            /* squared */
    int32_t bits;           /* 1/BIT each */
    uint16_t codes[TSR_AUDIO_MAX_BOOKS];
} beginning;

/* A codeword that follows on a beginning. */
typedef struct follower {
    float cost;             /* J */
    int parent, code;
    int log;                /* v of docs/audio-format.md 3.3 */
} follower;

/* The best of those of a book. */
typedef struct ranking {
    follower best[TSRI_SEARCH_BEAM_MAX];
    int beam, count;
    int own;                /* the greedy choice so far */
    follower greedy;        /* what follows best on it */
} ranking;

struct tsri_search {
    const tsri_quantiser *q;
    const tsri_codes_tables *tables; /* NULL: none */
    tsri_scores_fn scores;
    int books, beam;
    int width, padded;      /* channels; codewords in whole panels */
    float lambda;           /* of a unit of bits */
    beginning now[TSRI_SEARCH_BEAM_MAX];
    float *left, *other;    /* [beam][width] residuals of now; room for more */
    float *x;               /* [blocks][dim][FEW] */
    float *score;           /* [blocks][FEW][padded] */
    float *first;           /* [FEW][padded] of the first book, of FEW frames */
    int16_t *logs;          /* [k]; all 0 without tables */
    uint16_t *view;         /* [BACK + 1][books]: frames before, this one */
    int seen;               /* frames before, 0..BACK */
    int own;                /* which of now is the greedy choice */
};

/* ---- opening ---- */

static float mean_energy(const tsri_quantiser *q, int level)
{
    const int k = q->shape.k, groups = q->shape.groups;
    double sum = 0;

    for (int g = 0; g < groups; g++)
        for (int c = 0; c < k; c++) {
            const float *word = tsri_rvq_word(q->rvq, level, g, c);
            for (int d = 0; d < q->shape.dim; d++)
                sum += (double)word[d] * (double)word[d];
        }
    return (float)(sum / ((double)k * groups));
}

static tsr_error make_memory(tsri_search *s)
{
    tsr_context *const ctx = s->q->ctx;
    const size_t beam = (size_t)s->beam, width = (size_t)s->width;
    const size_t rows = (size_t)(tsri_ceil_div(s->beam, FEW) * FEW);
    const size_t padded = (size_t)s->padded;

    s->left = tsri_calloc(ctx, beam * width, sizeof *s->left);
    s->other = tsri_calloc(ctx, beam * width, sizeof *s->other);
    s->x = tsri_calloc(ctx, (size_t)s->q->shape.dim, rows * sizeof *s->x);
    s->score = tsri_alloc(ctx, rows * padded, sizeof *s->score);
    s->first = tsri_alloc(ctx, FEW * padded, sizeof *s->first);
    s->logs = tsri_calloc(ctx, (size_t)s->q->shape.k, sizeof *s->logs);
    s->view = tsri_calloc(ctx, (BACK + 1) * (size_t)s->books, sizeof *s->view);
    return s->left && s->other && s->x && s->score && s->first && s->logs &&
           s->view ? TSR_OK : tsri_nomem(ctx);
}

static void set_up(tsri_search *s, const tsri_codes *codes)
{
    const tsr_rvq_shape *shape = &s->q->shape;
    const tsri_nearest_book book = tsri_codebook_packed(s->q->rvq->book[0], 0);

    s->tables = codes ? tsri_codes_contexts(codes) : NULL;
    s->scores = s->q->ctx->cpu & TSR_CPU_AVX2 ? tsri_scores_avx2() : NULL;
    if (!s->scores)
        s->scores = tsri_scores_plain;
    s->width = shape->groups * shape->dim;
    s->padded = book.panels * TSRI_NEAREST_LANES;
    if (s->tables)
        s->lambda = price / BIT * mean_energy(s->q, (s->books - 1) /
                                                    shape->groups);
}

tsr_error tsri_search_open(tsri_search **out, const tsri_quantiser *q,
                           const tsri_codes *codes, int books, int beam)
{
    tsri_search *s = tsri_calloc(q->ctx, 1, sizeof *s);

    *out = s;
    if (!s)
        return tsri_nomem(q->ctx);
    s->q = q;
    s->books = books;
    s->beam = beam;
    if (!beam)
        return TSR_OK;
    set_up(s, codes);
    const tsr_error error = make_memory(s);
    if (error)
        tsri_search_close(out);
    return error;
}

void tsri_search_close(tsri_search **search)
{
    tsri_search *s = *search;
    if (!s)
        return;
    tsr_context *const ctx = s->q->ctx;
    tsri_free(ctx, s->left);
    tsri_free(ctx, s->other);
    tsri_free(ctx, s->x);
    tsri_free(ctx, s->score);
    tsri_free(ctx, s->first);
    tsri_free(ctx, s->logs);
    tsri_free(ctx, s->view);
    tsri_free(ctx, s);
    *search = NULL;
}

/* ---- one book ---- */

/* Scores of the codewords of book b for `count` vectors [width]. */
static void make_scores(tsri_search *s, int b, const float *vectors, int count,
                        float *score)
{
    const int groups = s->q->shape.groups, dim = s->q->shape.dim;
    const tsri_nearest_book book =
        tsri_codebook_packed(s->q->rvq->book[b / groups], b % groups);

    for (int v = 0; v < count; v++) {
        const float *from = vectors + v * s->width + b % groups * dim;
        float *to = s->x + v / FEW * dim * FEW + v % FEW;
        for (int d = 0; d < dim; d++)
            to[d * FEW] = from[d];
    }
    s->scores(&book, s->x, tsri_ceil_div(count, FEW), score);
}

/* BIT * log2(sum), within 2. */
static int32_t logarithm(uint64_t sum)
{
    const int octave = 63 - __builtin_clzll(sum);
    const uint32_t m = (uint32_t)(sum << (63 - octave) >> 47) & 0xffff;
    const uint32_t bend = (m * (0x10000 - m) >> 16) * 22711 >> 16;

    return octave * BIT + (int32_t)((m + bend) >> 8);
}

/* Fills s->logs with those of book b after a beginning; returns the bits of a
 * codeword whose logarithm is 0. */
static int32_t make_logs(tsri_search *s, const beginning *p, int b)
{
    const tsri_codes_view view = { s->view, s->books };

    if (!s->tables)
        return 0;
    memcpy(s->view + s->seen * s->books, p->codes, (size_t)b * sizeof *p->codes);
    tsri_codes_logs(s->tables, &view, s->seen, b, s->logs);
    return logarithm(s->tables->kernels->sum(s->tables->weight, s->logs,
                                             s->q->shape.k, NULL)) - 8 * BIT;
}

/* What a codeword must cost less than, to rank. */
static float limit(const ranking *r)
{
    return r->count < r->beam ? INFINITY : r->best[r->beam - 1].cost;
}

static void insert(ranking *r, const follower *f)
{
    int at = r->count < r->beam ? r->count++ : r->beam - 1;

    for (; at > 0 && f->cost < r->best[at - 1].cost; at--)
        r->best[at] = r->best[at - 1];
    r->best[at] = *f;
}

/* Of n <= BLOCK codewords, those that rank. */
static void rank_block(ranking *r, int parent, int from, int n, const float *cost,
                       const int16_t *logs)
{
    for (int i = 0; i < n; i++) {
        const follower f = { cost[i], parent, from + i, logs[from + i] };
        if (cost[i] < limit(r))
            insert(r, &f);
        if (parent == r->own && cost[i] < r->greedy.cost)
            r->greedy = f;
    }
}

/* All codewords after a beginning.  Loops of a fixed number become vectors; most
 * blocks hold nothing that ranks. */
static void rank(ranking *r, int parent, const float *score, const int16_t *logs,
                 int k, float offset, float step)
{
    float cost[BLOCK];
    int from = 0;

    for (; from + BLOCK <= k; from += BLOCK) {
        const float most = parent == r->own ? fmaxf(limit(r), r->greedy.cost)
                                            : limit(r);
        int found = 0;
        for (int i = 0; i < BLOCK; i++)
            cost[i] = (offset + score[from + i]) - step * (float)logs[from + i];
        for (int i = 0; i < BLOCK; i++)
            found |= cost[i] < most;
        if (found)
            rank_block(r, parent, from, BLOCK, cost, logs);
    }
    for (int i = 0; i < k - from; i++)
        cost[i] = (offset + score[from + i]) - step * (float)logs[from + i];
    rank_block(r, parent, from, k - from, cost, logs);
}

/* The greedy choice, if it is not among the best, becomes the last of them;
 * returns which of them it is. */
static int keep_greedy(ranking *r)
{
    for (int i = 0; i < r->count; i++)
        if (r->best[i].parent == r->own && r->best[i].code == r->greedy.code)
            return i;
    if (!r->count)
        r->count = 1;
    r->best[r->count - 1] = r->greedy;
    return r->count - 1;
}

/* What was chosen becomes what the next book follows on.  zero: bits of a
 * logarithm of 0 after each parent. */
static void go_on(tsri_search *s, const ranking *r, int b, const float *score,
                  const int32_t *zero)
{
    const int groups = s->q->shape.groups, dim = s->q->shape.dim;
    beginning before[TSRI_SEARCH_BEAM_MAX];
    float *const used = s->left;

    memcpy(before, s->now, sizeof before);
    for (int i = 0; i < r->count; i++) {
        const follower *f = &r->best[i];
        const float *word = tsri_rvq_word(s->q->rvq, b / groups, b % groups,
                                          f->code);
        float *left = s->other + i * s->width;
        s->now[i] = before[f->parent];
        s->now[i].codes[b] = (uint16_t)f->code;
        s->now[i].error += score[f->parent * s->padded + f->code];
        s->now[i].bits += zero[f->parent] - LOG * f->log;
        memcpy(left, used + f->parent * s->width,
               (size_t)s->width * sizeof *left);
        for (int d = 0; d < dim; d++)
            left[b % groups * dim + d] -= word[d];
    }
    s->left = s->other;
    s->other = used;
}

/* Lets book b follow on `count` beginnings; returns how many there are then, the
 * best first. */
static int search_book(tsri_search *s, int b, int count, const float *score)
{
    ranking r = { .beam = s->beam, .own = s->own,
                  .greedy = { .cost = INFINITY, .parent = s->own } };
    int32_t zero[TSRI_SEARCH_BEAM_MAX] = { 0 };

    for (int p = 0; p < count; p++) {
        zero[p] = make_logs(s, &s->now[p], b);
        rank(&r, p, score + p * s->padded, s->logs, s->q->shape.k,
             s->now[p].error + s->lambda * (float)(s->now[p].bits + zero[p]),
             s->lambda * LOG);
    }
    s->own = keep_greedy(&r);
    go_on(s, &r, b, score, zero);
    return r.count;
}

/* ---- frames ---- */

static void remember(tsri_search *s, const uint16_t *codes)
{
    const size_t row = (size_t)s->books;

    if (s->seen == BACK)
        memmove(s->view, s->view + row, (BACK - 1) * row * sizeof *codes);
    else
        s->seen++;
    memcpy(s->view + (size_t)(s->seen - 1) * row, codes, row * sizeof *codes);
}

/* first: scores of the first book. */
static void search_frame(tsri_search *s, const float *z, const float *first,
                         uint16_t *codes)
{
    int count;

    s->now[0] = (beginning){ 0 };
    s->own = 0;
    for (int d = 0; d < s->width; d++)
        s->now[0].error += z[d] * z[d];
    memcpy(s->left, z, (size_t)s->width * sizeof *z);
    count = search_book(s, 0, 1, first);
    for (int b = 1; b < s->books; b++) {
        make_scores(s, b, s->left, count, s->score);
        count = search_book(s, b, count, s->score);
    }
    memcpy(codes, s->now[0].codes, (size_t)s->books * sizeof *codes);
    remember(s, codes);
}

tsr_error tsri_search_frames(tsri_search *s, const float *z, int n,
                             uint16_t *codes)
{
    if (!s->beam)
        return tsri_quantiser_search(s->q, z, n, s->books, codes);
    for (int i = 0; i < n; i++, z += s->width, codes += s->books) {
        if (i % FEW == 0)
            make_scores(s, 0, z, tsri_min(FEW, n - i), s->first);
        search_frame(s, z, s->first + i % FEW * s->padded, codes);
    }
    return TSR_OK;
}

/* ---- state ---- */

size_t tsri_search_state_bytes(const tsri_search *s)
{
    return s->beam ? 1 + 2 * BACK * (size_t)s->books : 0;
}

void tsri_search_state_save(const tsri_search *s, uint8_t *state)
{
    if (!s->beam)
        return;
    *state++ = (uint8_t)s->seen;
    for (int i = 0; i < BACK * s->books; i++)
        tsri_put16(state + 2 * i, i < s->seen * s->books ? s->view[i] : 0);
}

bool tsri_search_state_load(tsri_search *s, const uint8_t *state)
{
    if (!s->beam)
        return true;
    s->seen = tsri_min(*state, BACK);
    bool good = *state++ <= BACK;
    for (int i = 0; i < BACK * s->books; i++) {
        s->view[i] = tsri_get16(state + 2 * i);
        good = good && s->view[i] < s->q->shape.k;
    }
    return good;
}
