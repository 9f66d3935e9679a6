/* SPDX-License-Identifier: BSD-2-Clause */
/* Adaptive encoding. */
#include "entropy/adaptive_impl.h"
#include "entropy/rans_impl.h"
#include "lib/crc32c.h"

enum { BITS = TSRI_ADAPT_BITS };

typedef struct run {
    int set;
    bool has_context;
    size_t n;
} run;

struct tsri_adapt_enc {
    tsr_context *ctx;
    tsri_adapt_sets sets;
    run *runs;
    uint8_t *sym;
    uint16_t *context;      /* of the runs that have contexts */
    uint32_t *record;       /* last[s] | last[s + 1] << 16, in coding order */
    uint8_t *raw, *out;
    size_t nruns, nsym, ncontext, nrecord, nraw;
    size_t runs_room, sym_room, context_room, record_room, raw_room, out_room;
    uint64_t bits;          /* raw bits not yet in `raw` */
    int nbits;
    bool avx2;
};

tsr_error tsri_adapt_enc_open(tsri_adapt_enc **out, tsr_context *ctx,
                              const tsri_adapt_shape *shapes, int nsets)
{
    tsri_adapt_enc *enc = tsri_calloc(ctx, 1, sizeof *enc);
    tsr_error error;

    *out = NULL;
    if (!enc)
        return TSR_E_NOMEM;
    enc->ctx = ctx;
    enc->avx2 = ctx->cpu & TSR_CPU_AVX2;
    error = tsri_adapt_sets_open(&enc->sets, ctx, shapes, nsets);
    if (error)
        tsri_free(ctx, enc);
    else
        *out = enc;
    return error;
}

void tsri_adapt_enc_close(tsri_adapt_enc **out)
{
    tsri_adapt_enc *enc = *out;
    if (!enc)
        return;
    tsri_free(enc->ctx, enc->sets.set[0].model);
    tsri_free(enc->ctx, enc->runs);
    tsri_free(enc->ctx, enc->sym);
    tsri_free(enc->ctx, enc->context);
    tsri_free(enc->ctx, enc->record);
    tsri_free(enc->ctx, enc->raw);
    tsri_free(enc->ctx, enc->out);
    tsri_free(enc->ctx, enc);
    *out = NULL;
}

void tsri_adapt_enc_reset(tsri_adapt_enc *enc)
{
    enc->nruns = enc->nsym = enc->ncontext = enc->nrecord = enc->nraw = 0;
    enc->bits = 0;
    enc->nbits = 0;
}

static bool symbols_fit(const tsri_adapt_enc *enc, int set, const uint8_t *sym,
                        size_t n)
{
    return tsri_rans_largest8(enc->avx2, sym, n) < enc->sets.set[set].shape.symbols;
}

tsr_error tsri_adapt_put(tsri_adapt_enc *enc, int set, const uint16_t *context,
                         const uint8_t *sym, size_t n)
{
    if (!tsri_adapt_fit(&enc->sets, set, context, n, enc->avx2) ||
        !symbols_fit(enc, set, sym, n))
        return TSR_E_ARG;
    if (!n)
        return TSR_OK;
    TSR_TRY(tsri_grow(enc->ctx, &enc->runs, &enc->runs_room, enc->nruns, 1,
                      sizeof *enc->runs));
    TSR_TRY(tsri_grow(enc->ctx, &enc->sym, &enc->sym_room, enc->nsym, n, 1));
    if (context) {
        TSR_TRY(tsri_grow(enc->ctx, &enc->context, &enc->context_room,
                          enc->ncontext, n, sizeof *context));
        memcpy(enc->context + enc->ncontext, context, n * sizeof *context);
        enc->ncontext += n;
    }
    memcpy(enc->sym + enc->nsym, sym, n);
    enc->nsym += n;
    enc->nrecord += n << (enc->sets.set[set].models > 1);
    enc->runs[enc->nruns++] = (run){ set, context, n };
    return TSR_OK;
}

tsr_error tsri_adapt_put_bits(tsri_adapt_enc *enc, uint32_t value, int nbits)
{
    enc->bits |= (uint64_t)value << enc->nbits;
    enc->nbits += nbits;
    if (enc->nbits < 32)
        return TSR_OK;
    TSR_TRY(tsri_grow(enc->ctx, &enc->raw, &enc->raw_room, enc->nraw, 4, 1));
    tsri_put32(enc->raw + enc->nraw, (uint32_t)enc->bits);
    enc->nraw += 4;
    enc->bits >>= 32;
    enc->nbits -= 32;
    return TSR_OK;
}

static tsr_error flush_bits(tsri_adapt_enc *enc)
{
    TSR_TRY(tsri_grow(enc->ctx, &enc->raw, &enc->raw_room, enc->nraw, 4, 1));
    for (; enc->nbits > 0; enc->nbits -= 8, enc->bits >>= 8)
        enc->raw[enc->nraw++] = (uint8_t)enc->bits;
    return TSR_OK;
}

/* Records of a row of at most 16 symbols each; the models learn. */
static void model_row(tsri_adapt_model *const *models, const uint8_t *sym,
                      int n, uint32_t *record)
{
    for (int i = 0; i < n; i++)
        record[i] = (uint16_t)models[i]->last[sym[i]] |
                    (uint32_t)(uint16_t)models[i]->last[sym[i] + 1] << 16;
    tsri_adapt_learn(models, sym, n);
}

static void model_row_of(const tsri_adapt_set *set, const uint16_t *context,
                         const uint8_t *sym, int n, uint32_t *record)
{
    tsri_adapt_model *models[TSRI_RANS_MAX_LANES];
    uint8_t half[TSRI_RANS_MAX_LANES];

    tsri_adapt_find(set, context, n, models);
    if (set->models == 1) {
        model_row(models, sym, n, record);
        return;
    }
    for (int i = 0; i < n; i++)
        half[i] = sym[i] >> 4;
    model_row(models, half, n, record);
    for (int i = 0; i < n; i++) {
        models[i] += 1 + half[i];
        half[i] = sym[i] & 15;
    }
    model_row(models, half, n, record + n);
}

/* Runs the models over a run and adds its symbols to the lanes' sums. */
static void model_run(const tsri_adapt_enc *enc, const run *r,
                      const uint16_t *context, const uint8_t *sym, int lanes,
                      uint32_t *record, uint16_t *sum)
{
    const tsri_adapt_set *set = &enc->sets.set[r->set];
    const int halves = set->models == 1 ? 1 : 2;
    size_t i = 0;

    if (enc->avx2 && lanes >= 8) {
        i = r->n & ~((size_t)lanes - 1);
        tsri_adapt_model_avx2(&(tsri_adapt_rows){ set, context, sym, i, lanes },
                              record, sum);
    }
    for (; i < r->n; i += (size_t)lanes) {
        const int n = r->n - i < (size_t)lanes ? (int)(r->n - i) : lanes;
        model_row_of(set, context ? context + i : NULL, sym + i, n,
                     record + i * (size_t)halves);
        for (int k = 0; k < n; k++)
            sum[k] = tsri_rans_sum(sum[k], sym[i + (size_t)k]);
    }
}

static void model_runs(const tsri_adapt_enc *enc, int lanes, uint16_t *sum)
{
    const uint8_t *sym = enc->sym;
    const uint16_t *context = enc->context;
    uint32_t *record = enc->record;

    tsri_adapt_sets_forget(&enc->sets);
    for (size_t i = 0; i < enc->nruns; i++) {
        const run *r = &enc->runs[i];
        model_run(enc, r, r->has_context ? context : NULL, sym, lanes, record,
                  sum);
        sym += r->n;
        if (r->has_context)
            context += r->n;
        record += r->n << (enc->sets.set[r->set].models > 1);
    }
}

/* Codes n records, last first; record i is of lane i mod lanes.  The words go
 * down from `end`; returns the first. */
static uint8_t *code(const uint32_t *record, size_t n, int lanes,
                     uint32_t *state, uint8_t *end)
{
    while (n-- > 0) {
        const uint32_t start = (record[n] + 1) & 0xffff;
        const uint32_t freq = (record[n] >> 16) - start + 1;
        uint32_t *x = &state[n % (size_t)lanes];
        if (*x > (freq << (32 - BITS)) - 1) {
            end -= 2;
            tsri_put16(end, (uint16_t)*x);
            *x >>= 16;
        }
        *x = (*x / freq << BITS) + *x % freq + start;
    }
    return end;
}

/* All runs, last first. */
static uint8_t *code_runs(const tsri_adapt_enc *enc, int lanes,
                          uint32_t *state, uint8_t *end)
{
    const uint32_t *record = enc->record + enc->nrecord;

    for (size_t i = enc->nruns; i-- > 0;) {
        const run *r = &enc->runs[i];
        const int two = enc->sets.set[r->set].models > 1;
        const size_t rest = r->n % (size_t)lanes, rows = (r->n - rest) << two;
        record -= rest << two;
        if (rest)
            end = code(record, rest << two, (int)rest, state, end);
        record -= rows;
        end = enc->avx2 && lanes >= 8
            ? tsri_adapt_code_avx2(record, rows, lanes, state, end)
            : code(record, rows, lanes, state, end);
    }
    return end;
}

/* Puts the parts together: enc->out has room for the head and all words. */
static size_t assemble(tsri_adapt_enc *enc, uint32_t crc, int lane_code)
{
    const uint32_t seed = tsri_crc32c(crc, enc->raw, enc->nraw);
    const int lanes = tsri_rans_lanes(lane_code);
    uint8_t *p = enc->out, *end = p + TSRI_RANS_HEAD_MAX + 2 * enc->nrecord, *words;
    uint32_t state[TSRI_RANS_MAX_LANES];
    uint16_t sum[TSRI_RANS_MAX_LANES] = { 0 };

    model_runs(enc, lanes, sum);
    for (int i = 0; i < lanes; i++)
        state[i] = TSRI_RANS_LOW | ((seed ^ sum[i]) & 0xffff);
    words = code_runs(enc, lanes, state, end);
    *p++ = (uint8_t)(lane_code | (enc->nraw ? TSRI_RANS_HAS_RAW : 0));
    if (enc->nraw)
        p += tsri_put_varint(p, enc->nraw);
    for (int i = 0; i < lanes; i++, p += 4)
        tsri_put32(p, state[i]);
    memmove(p, words, (size_t)(end - words));
    p += end - words;
    if (enc->nraw)
        memcpy(p, enc->raw, enc->nraw);
    return (size_t)(p - enc->out) + enc->nraw;
}

/* With as many lanes as a segment of such a size is to have. */
static size_t assemble_best(tsri_adapt_enc *enc, uint32_t crc)
{
    const size_t size = assemble(enc, crc, 3) - enc->nraw;
    return size < 2048 ? assemble(enc, crc, 0)
         : size < 4096 ? assemble(enc, crc, 1)
         : size < 16384 ? assemble(enc, crc, 2) : size + enc->nraw;
}

/* Is there anything to tell? */
static bool says_something(const tsri_adapt_enc *enc)
{
    bool says = enc->nraw;

    for (size_t i = 0; i < enc->nruns; i++)
        says |= enc->sets.set[enc->runs[i].set].shape.symbols > 1;
    return says;
}

tsr_error tsri_adapt_finish(tsri_adapt_enc *enc, uint32_t crc, int lanes,
                            const uint8_t **data, size_t *size)
{
    const int lane_code = tsri_rans_lane_code(lanes);
    size_t room;

    if (lane_code == TSRI_RANS_LANE_CODES)
        return TSR_E_ARG;
    TSR_TRY(flush_bits(enc));
    TSR_TRY(tsri_grow(enc->ctx, &enc->record, &enc->record_room, 0,
                      enc->nrecord, sizeof *enc->record));
    if (!tsri_mul(enc->nrecord, 2, &room) ||
        !tsri_add(room, TSRI_RANS_HEAD_MAX + enc->nraw, &room))
        return TSR_E_NOMEM;
    TSR_TRY(tsri_grow(enc->ctx, &enc->out, &enc->out_room, 0, room, 1));
    *data = enc->out;
    *size = !says_something(enc) ? 0 : lanes ? assemble(enc, crc, lane_code)
                                             : assemble_best(enc, crc);
    tsri_adapt_enc_reset(enc);
    return TSR_OK;
}
