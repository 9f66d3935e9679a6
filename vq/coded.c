/* SPDX-License-Identifier: BSD-2-Clause */
#include <math.h>
#include <string.h>
#include "lib/pool.h"
#include "vq/rows.h"
#include "vq/rvq.h"

enum {
    LANES = 16,                 /* vectors whose codes lie side by side */
    CHUNK = 4096                /* vectors that one worker takes at a time */
};

static const float max_value = 1e15f;

struct tsr_coded {
    const tsr_rvq *q;
    size_t n;
    int stages, parts;          /* groups * stages */
    int width;                  /* of a code: 0, 1, 2 for 1, 2, 4 bytes */
    uint8_t *code;              /* [blocks of 16][parts][16] */
    float *norm;                /* [blocks of 16][16]; NULL for one stage: then
                                   the table has the norms */
};

/* Scores of 16 vectors: score[v] = the sum of table[part][code of v], part 0
 * first, then norm[v] if there are norms.  Codes lie as [parts][16]. */
typedef struct table {
    int parts, k;
    const float *entries;       /* [parts][k] */
} table;

typedef void (*scan_fn)(const table *table, const void *code,
                        const float *norm, float *score);

/* Four sums at a time hide the additions' latency.  Vector gathers have been
 * tried: on Zen 3 they are no faster than these loads. */
#define SCAN(name, type)                                                    \
    static void name(const table *t, const void *code, const float *norm,   \
                     float *score)                                          \
    {                                                                       \
        for (int v = 0; v < LANES; v += 4) {                                \
            const type *c = (const type *)code + v;                         \
            const float *entry = t->entries;                                \
            float a = 0, b = 0, d = 0, e = 0;                               \
            for (int j = 0; j < t->parts; j++, c += LANES, entry += t->k) { \
                a += entry[c[0]];                                           \
                b += entry[c[1]];                                           \
                d += entry[c[2]];                                           \
                e += entry[c[3]];                                           \
            }                                                               \
            score[v] = norm ? a + norm[v] : a;                              \
            score[v + 1] = norm ? b + norm[v + 1] : b;                      \
            score[v + 2] = norm ? d + norm[v + 2] : d;                      \
            score[v + 3] = norm ? e + norm[v + 3] : e;                      \
        }                                                                   \
    }

SCAN(scan8, uint8_t)
SCAN(scan16, uint16_t)
SCAN(scan32, int32_t)

static size_t block_bytes(const tsr_coded *c)
{
    return (size_t)c->parts * LANES << c->width;
}

static int get_code(const tsr_coded *c, size_t item, int part)
{
    const uint8_t *block = c->code + item / LANES * block_bytes(c);
    const size_t at = (size_t)part * LANES + item % LANES;
    uint16_t two;
    int32_t four;

    if (c->width == 0)
        return block[at];
    if (c->width == 1) {
        memcpy(&two, block + 2 * at, sizeof two);
        return two;
    }
    memcpy(&four, block + 4 * at, sizeof four);
    return four;
}

static void put_code(tsr_coded *c, size_t item, int part, int32_t code)
{
    uint8_t *block = c->code + item / LANES * block_bytes(c);
    const size_t at = (size_t)part * LANES + item % LANES;
    const uint16_t two = (uint16_t)code;

    if (c->width == 0)
        block[at] = (uint8_t)code;
    else if (c->width == 1)
        memcpy(block + 2 * at, &two, sizeof two);
    else
        memcpy(block + 4 * at, &code, sizeof code);
}

static bool finite_words(const tsr_rvq *q)
{
    const size_t floats = (size_t)q->s.stages * (size_t)q->s.groups *
                          (size_t)q->s.k * (size_t)q->s.dim;
    for (size_t i = 0; i < floats; i++)
        if (!(fabsf(q->words[i]) <= max_value))
            return false;
    return true;
}

/* Packs the codes, and sums up the norms of what they stand for. */
static tsr_error take_codes(tsr_coded *c, const int32_t *codes, float *x)
{
    const tsr_rvq *q = c->q;

    for (size_t i = 0; i < c->n; i++, codes += c->parts) {
        double norm = 0;
        for (int g = 0; g < q->s.groups; g++) {
            if (!tsri_rvq_decode_group(q, codes + g * c->stages, g, c->stages,
                                       x))
                return tsri_fail(q->ctx, TSR_E_ARG, "coded vectors: a code "
                                 "outside its codebook of %d", q->s.k);
            for (int j = 0; j < q->s.dim; j++)
                norm += (double)x[j] * (double)x[j];
        }
        for (int p = 0; p < c->parts; p++)
            put_code(c, i, p, codes[p]);
        if (c->norm)
            c->norm[i] = (float)norm;
    }
    return TSR_OK;
}

tsr_error tsr_coded_open(tsr_coded **out, const tsr_rvq *q,
                         const int32_t *codes, size_t n, int stages)
{
    tsr_context *const ctx = q->ctx;
    const size_t blocks = n / LANES + (n % LANES != 0);
    size_t codes_size;

    *out = NULL;
    TSR_TRY(tsri_rows_check(ctx, n, q->s.dim, q->s.k));
    if (n < 1 || stages < 1 || stages > q->s.stages)
        return tsri_fail(ctx, TSR_E_ARG, "coded vectors: %zu of %d stages of "
                         "%d", n, stages, q->s.stages);
    if (!finite_words(q))
        return tsri_fail(ctx, TSR_E_ARG, "coded vectors: a codeword that is "
                         "not finite or over 1e15");
    tsr_coded *c = tsri_calloc(ctx, 1, sizeof *c);
    if (!c)
        return tsri_nomem(ctx);
    *c = (tsr_coded){ .q = q, .n = n, .stages = stages,
                      .parts = q->s.groups * stages,
                      .width = q->s.k > 65536 ? 2 : q->s.k > 256 };
    const bool fits = tsri_mul(blocks, block_bytes(c), &codes_size);
    c->code = fits ? tsri_calloc(ctx, codes_size, 1) : NULL;
    c->norm = stages > 1 ? tsri_calloc(ctx, blocks * LANES, sizeof *c->norm)
                         : NULL;
    float *x = tsri_alloc(ctx, (size_t)q->s.dim, sizeof *x);
    tsr_error error = c->code && (c->norm || stages == 1) && x
        ? take_codes(c, codes, x) : tsri_nomem(ctx);
    tsri_free(ctx, x);
    if (error)
        tsr_coded_close(&c);
    *out = c;
    return error;
}

void tsr_coded_close(tsr_coded **coded)
{
    tsr_coded *c = coded ? *coded : NULL;
    if (!c)
        return;
    tsr_context *const ctx = c->q->ctx;
    tsri_free(ctx, c->code);
    tsri_free(ctx, c->norm);
    tsri_free(ctx, c);
    *coded = NULL;
}

/* One query against all. */
typedef struct near { float score; int32_t item; } near;

typedef struct scan {
    const tsr_coded *c;
    const float *query;
    scan_fn fn;
    table table;
    float *entries;             /* of the table */
    float norm;                 /* |query|^2 */
    float *distance;            /* of all vectors; or NULL: then the nearest */
    near *list;                 /* [chunks][nearest], the best of each chunk */
    int *found;                 /* [chunks] */
    int nearest;
} scan;

/* -2 q.c for all codewords of one part, with |c|^2 if there is one stage. */
static tsr_error make_part(void *cookie, int part, int worker)
{
    const scan *s = cookie;
    const tsr_rvq *q = s->c->q;
    const int group = part / s->c->stages, stage = part % s->c->stages;
    const float *query = s->query + group * q->s.dim;
    const float *word = tsri_rvq_word(q, stage, group, 0);
    float *entry = s->entries + (size_t)part * (size_t)q->s.k;

    (void)worker;
    for (int k = 0; k < q->s.k; k++, word += q->s.dim) {
        float dot = 0, norm = 0;
        for (int j = 0; j < q->s.dim; j++) {
            dot += query[j] * word[j];
            norm += word[j] * word[j];
        }
        entry[k] = s->c->norm ? -2 * dot : norm - 2 * dot;
    }
    return TSR_OK;
}

static tsr_error make_table(scan *s)
{
    const tsr_rvq *q = s->c->q;
    double norm = 0;

    for (int j = 0; j < q->s.groups * q->s.dim; j++) {
        if (!(fabsf(s->query[j]) <= max_value))
            return tsri_fail(q->ctx, TSR_E_ARG, "coded vectors: a query that "
                             "is not finite or over 1e15");
        norm += (double)s->query[j] * (double)s->query[j];
    }
    s->norm = (float)norm;
    return tsri_pool_for(q->ctx->pool, s->c->parts, make_part, s);
}

static float distance_of(const scan *s, float score)
{
    const float distance = score + s->norm;
    return distance > 0 ? distance : 0;
}

/* Inserts behind those that are as good. */
static int keep(near *list, int found, int most, float score, int32_t item)
{
    int at = found < most ? found : most - 1;
    for (; at > 0 && score < list[at - 1].score; at--)
        list[at] = list[at - 1];
    list[at] = (near){ score, item };
    return found < most ? found + 1 : most;
}

static tsr_error scan_chunk(void *cookie, int chunk, int worker)
{
    const scan *s = cookie;
    const tsr_coded *c = s->c;
    const size_t from = (size_t)chunk * CHUNK;
    const size_t to = from + CHUNK < c->n ? from + CHUNK : c->n;
    near *list = s->list + (size_t)chunk * (size_t)s->nearest;
    float score[LANES];
    int found = 0;

    (void)worker;
    for (size_t i = from; i < to; i += LANES) {
        const int count = to - i < LANES ? (int)(to - i) : LANES;
        s->fn(&s->table, c->code + i / LANES * block_bytes(c),
              c->norm ? c->norm + i : NULL, score);
        for (int v = 0; v < count; v++)
            if (s->distance)
                s->distance[i + (size_t)v] = distance_of(s, score[v]);
            else if (found < s->nearest || score[v] < list[found - 1].score)
                found = keep(list, found, s->nearest, score[v],
                             (int32_t)(i + (size_t)v));
    }
    if (!s->distance)
        s->found[chunk] = found;
    return TSR_OK;
}

static int chunks(const tsr_coded *c)
{
    return tsri_ceil_div((int)c->n, CHUNK);
}

static tsr_error start(scan *s, const tsr_coded *c)
{
    tsr_context *const ctx = c->q->ctx;
    const scan_fn scans[] = { scan8, scan16, scan32 };

    s->c = c;
    s->fn = scans[c->width];
    s->entries = tsri_alloc(ctx, (size_t)c->parts * (size_t)c->q->s.k,
                            sizeof *s->entries);
    s->table = (table){ c->parts, c->q->s.k, s->entries };
    return s->entries ? TSR_OK : tsri_nomem(ctx);
}

tsr_error tsr_coded_distances(const tsr_coded *c, const float *query,
                              float *distance)
{
    scan s = { .query = query, .distance = distance };
    tsr_error error = start(&s, c);

    if (!error)
        error = make_table(&s);
    if (!error)
        error = tsri_pool_for(c->q->ctx->pool, chunks(c), scan_chunk, &s);
    tsri_free(c->q->ctx, s.entries);
    return error;
}

/* The best of the chunks' lists, chunk after chunk: equals stay in order. */
static int merge(const scan *s, near *best)
{
    int found = 0;
    for (int chunk = 0; chunk < chunks(s->c); chunk++) {
        const near *list = s->list + (size_t)chunk * (size_t)s->nearest;
        for (int i = 0; i < s->found[chunk]; i++)
            if (found < s->nearest || list[i].score < best[found - 1].score)
                found = keep(best, found, s->nearest, list[i].score,
                             list[i].item);
    }
    return found;
}

static tsr_error search(scan *s, const float *queries, size_t count,
                        near *best, int32_t *items, float *distance)
{
    const tsr_rvq *q = s->c->q;

    for (size_t i = 0; i < count; i++) {
        s->query = queries + i * (size_t)(q->s.groups * q->s.dim);
        TSR_TRY(make_table(s));
        TSR_TRY(tsri_pool_for(q->ctx->pool, chunks(s->c), scan_chunk, s));
        const int found = merge(s, best);
        for (int k = 0; k < found; k++) {
            const size_t at = i * (size_t)s->nearest + (size_t)k;
            items[at] = best[k].item;
            if (distance)
                distance[at] = distance_of(s, best[k].score);
        }
    }
    return TSR_OK;
}

tsr_error tsr_coded_nearest(const tsr_coded *c, const float *queries,
                            size_t count, int nearest, int32_t *items,
                            float *distance)
{
    tsr_context *const ctx = c->q->ctx;
    scan s = { .nearest = nearest };

    if (nearest < 1 || nearest > TSR_CODED_MAX_NEAREST ||
        (size_t)nearest > c->n || count > TSR_VQ_MAX_VECTORS)
        return tsri_fail(ctx, TSR_E_ARG, "coded vectors: the %d nearest of "
                         "%zu, %zu times", nearest, c->n, count);
    tsr_error error = start(&s, c);
    s.list = tsri_alloc(ctx, (size_t)chunks(c) * (size_t)nearest,
                        sizeof *s.list);
    s.found = tsri_alloc(ctx, (size_t)chunks(c), sizeof *s.found);
    near *best = tsri_alloc(ctx, (size_t)nearest, sizeof *best);
    if (!error)
        error = s.list && s.found && best
            ? search(&s, queries, count, best, items, distance)
            : tsri_nomem(ctx);
    tsri_free(ctx, best);
    tsri_free(ctx, s.list);
    tsri_free(ctx, s.found);
    tsri_free(ctx, s.entries);
    return error;
}

/* Adds count times codeword for all that occur in one part. */
static void add_words(const tsr_coded *c, int part, const uint64_t *uses,
                      double *sum)
{
    const tsr_rvq *q = c->q;
    const int group = part / c->stages;
    const float *word = tsri_rvq_word(q, part % c->stages, group, 0);

    for (int k = 0; k < q->s.k; k++, word += q->s.dim)
        for (int j = 0; uses[k] && j < q->s.dim; j++)
            sum[group * q->s.dim + j] += (double)uses[k] * (double)word[j];
}

tsr_error tsr_coded_sum(const tsr_coded *c, const int32_t *items, size_t count,
                        double *sum)
{
    tsr_context *const ctx = c->q->ctx;
    const size_t n = items ? count : c->n, k = (size_t)c->q->s.k;

    for (size_t i = 0; items && i < count; i++)
        if (items[i] < 0 || (size_t)items[i] >= c->n)
            return tsri_fail(ctx, TSR_E_ARG, "coded vectors: number %d of %zu",
                             (int)items[i], c->n);
    uint64_t *uses = tsri_alloc(ctx, k, sizeof *uses);
    if (!uses)
        return tsri_nomem(ctx);
    memset(sum, 0, (size_t)(c->q->s.groups * c->q->s.dim) * sizeof *sum);
    for (int part = 0; part < c->parts; part++) {
        memset(uses, 0, k * sizeof *uses);
        for (size_t i = 0; i < n; i++)
            uses[get_code(c, items ? (size_t)items[i] : i, part)]++;
        add_words(c, part, uses, sum);
    }
    tsri_free(ctx, uses);
    return TSR_OK;
}
