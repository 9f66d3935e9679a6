/* SPDX-License-Identifier: BSD-2-Clause */
#include "entropy/adaptive_impl.h"
#include "entropy/bank_impl.h"
#include "lib/bytes.h"
#include "lib/crc32c.h"

enum {
    BITS = TSRI_ADAPT_BITS,
    LOW = 1 << 16,          /* as in rans.c */
    HAS_RAW = 1 << 2,
    HEAD_MAX = 1 + TSRI_VARINT_MAX + 4 * TSRI_RANS_MAX_LANES
};

static const int lane_counts[4] = { 1, 4, 8, 32 };

/* ---- models ---- */

/* Of the symbols from i on: their counts, scaled so that all counts together
 * have 14 or 15 bits, and an eighth of one count for each of them. */
static uint32_t weight(const tsri_adapt_model *m, int i, int scale)
{
    const uint32_t symbols = (uint32_t)tsri_max(m->symbols - i, 0);
    return ((uint32_t)m->above[i] << scale) + (symbols << scale >> 3);
}

/* Adds up the counts, and halves them if they are many. */
static void settle(tsri_adapt_model *m)
{
    uint16_t sum = 0;

    for (int i = 15; i >= 0; i--) {
        sum = (uint16_t)(sum + m->fresh[i]);
        m->above[i] = (uint16_t)(m->above[i] + sum);
        m->fresh[i] = 0;
    }
    if (m->above[0] > m->limit)
        for (int i = 0; i < 16; i++)
            m->above[i] /= 2;
}

/* Frequencies from the counts. */
static void renew(tsri_adapt_model *m)
{
    settle(m);
    const int scale = BITS - 32 + __builtin_clz(m->above[0] | 1u);
    const uint32_t unit = (uint32_t)((1 << BITS) - m->symbols) << BITS;
    const uint32_t each = unit / weight(m, 0, scale);
    for (int i = 1; i < 16; i++) {
        const uint64_t slots = (uint64_t)weight(m, i, scale) * each >> BITS;
        m->last[i] = (int16_t)((1 << BITS) - 1 - tsri_max(m->symbols - i, 0) -
                               (int)slots);
    }
    m->left = (int16_t)tsri_clamp(m->above[0] / 16, 1, TSRI_ADAPT_MAX_WAIT);
}

/* What follows a row: its symbols are counted, then models whose time has
 * come are renewed. */
static void learn(tsri_adapt_model *const *models, const uint8_t *sym, int n)
{
    for (int i = 0; i < n; i++) {
        models[i]->fresh[sym[i]]++;
        models[i]->left--;
    }
    for (int i = 0; i < n; i++)
        if (models[i]->left <= 0)
            renew(models[i]);
}

/* A model that knows nothing. */
static void forget(tsri_adapt_model *m, int symbols, int memory)
{
    *m = (tsri_adapt_model){ .symbols = (uint16_t)symbols,
                             .limit = (uint16_t)(1 << memory) };
    m->last[0] = -1;
    m->last[16] = (1 << BITS) - 1;
    renew(m);
}

static void forget_set(const tsri_adapt_set *set)
{
    const int symbols = set->shape.symbols, memory = set->shape.memory;
    const size_t all = (size_t)set->shape.contexts * (size_t)set->models;

    if (set->models == 1)
        forget(set->model, symbols, memory);
    else
        forget(set->model, tsri_ceil_div(symbols, 16), memory);
    for (int i = 1; i < set->models; i++)
        forget(set->model + i, tsri_clamp(symbols - 16 * (i - 1), 1, 16), memory);
    for (size_t i = (size_t)set->models; i < all; i++)
        set->model[i] = set->model[i - (size_t)set->models];
}

/* ---- model sets ---- */

typedef struct sets {
    tsri_adapt_set set[TSRI_ADAPT_MAX_SETS];
    int n;
} sets;

static int models_of(const tsri_adapt_shape *shape)
{
    return shape->symbols <= 16 ? 1 : 17;
}

/* All their models, 0 where a number is outside its limits. */
static size_t check_shapes(const tsri_adapt_shape *shape, int n)
{
    size_t models = 0;

    if (n < 1 || n > TSRI_ADAPT_MAX_SETS)
        return 0;
    for (int i = 0; i < n; i++, shape++) {
        if (shape->symbols < 1 || shape->symbols > 256 ||
            shape->contexts < 1 || shape->contexts > TSRI_ADAPT_MAX_MODELS ||
            shape->memory < TSRI_ADAPT_MIN_MEMORY ||
            shape->memory > TSRI_ADAPT_MAX_MEMORY)
            return 0;
        models += (size_t)shape->contexts * (size_t)models_of(shape);
    }
    return models <= TSRI_ADAPT_MAX_MODELS ? models : 0;
}

static tsr_error open_sets(sets *s, tsr_context *ctx,
                           const tsri_adapt_shape *shape, int n)
{
    const size_t models = check_shapes(shape, n);
    tsri_adapt_model *model;

    if (!models)
        return TSR_E_ARG;
    model = tsri_alloc(ctx, models, sizeof *model);
    if (!model)
        return TSR_E_NOMEM;
    s->n = n;
    for (int i = 0; i < n; i++) {
        s->set[i] = (tsri_adapt_set){ shape[i], model, models_of(&shape[i]) };
        model += (size_t)shape[i].contexts * (size_t)s->set[i].models;
    }
    return TSR_OK;
}

static void forget_sets(const sets *s)
{
    for (int i = 0; i < s->n; i++)
        forget_set(&s->set[i]);
}

/* Are the run's set and contexts there? */
static bool contexts_fit(const sets *s, int set, const uint16_t *context,
                         size_t n, bool avx2)
{
    int most = 0;

    if (set < 0 || set >= s->n)
        return false;
    if (context && avx2)
        most = tsri_rans_most_avx2(context, n);
    else if (context)
        for (size_t i = 0; i < n; i++)
            most = tsri_max(most, context[i]);
    return most < s->set[set].shape.contexts;
}

/* The models of a row's symbols, or of their high four bits. */
static void find_models(const tsri_adapt_set *set, const uint16_t *context,
                        int n, tsri_adapt_model **models)
{
    for (int i = 0; i < n; i++)
        models[i] = set->model + (context ? context[i] : 0) * (size_t)set->models;
}

/* ---- encoder ---- */

typedef struct run {
    int set;
    bool has_context;
    size_t n;
} run;

struct tsri_adapt_enc {
    tsr_context *ctx;
    sets sets;
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
    error = open_sets(&enc->sets, ctx, shapes, nsets);
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
    int most = 0;

    if (enc->avx2)
        most = tsri_rans_most8_avx2(sym, n);
    else
        for (size_t i = 0; i < n; i++)
            most = tsri_max(most, sym[i]);
    return most < enc->sets.set[set].shape.symbols;
}

tsr_error tsri_adapt_put(tsri_adapt_enc *enc, int set, const uint16_t *context,
                         const uint8_t *sym, size_t n)
{
    if (!contexts_fit(&enc->sets, set, context, n, enc->avx2) ||
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
    learn(models, sym, n);
}

static void model_row_of(const tsri_adapt_set *set, const uint16_t *context,
                         const uint8_t *sym, int n, uint32_t *record)
{
    tsri_adapt_model *models[TSRI_RANS_MAX_LANES];
    uint8_t half[TSRI_RANS_MAX_LANES];

    find_models(set, context, n, models);
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

    forget_sets(&enc->sets);
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
    const int lanes = lane_counts[lane_code];
    uint8_t *p = enc->out, *end = p + HEAD_MAX + 2 * enc->nrecord, *words;
    uint32_t state[TSRI_RANS_MAX_LANES];
    uint16_t sum[TSRI_RANS_MAX_LANES] = { 0 };

    model_runs(enc, lanes, sum);
    for (int i = 0; i < lanes; i++)
        state[i] = LOW | ((seed ^ sum[i]) & 0xffff);
    words = code_runs(enc, lanes, state, end);
    *p++ = (uint8_t)(lane_code | (enc->nraw ? HAS_RAW : 0));
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
    int lane_code = 0;
    size_t room;

    while (lanes && lane_code < 4 && lane_counts[lane_code] != lanes)
        lane_code++;
    if (lane_code == 4)
        return TSR_E_ARG;
    TSR_TRY(flush_bits(enc));
    TSR_TRY(tsri_grow(enc->ctx, &enc->record, &enc->record_room, 0,
                      enc->nrecord, sizeof *enc->record));
    if (!tsri_mul(enc->nrecord, 2, &room) ||
        !tsri_add(room, HEAD_MAX + enc->nraw, &room))
        return TSR_E_NOMEM;
    TSR_TRY(tsri_grow(enc->ctx, &enc->out, &enc->out_room, 0, room, 1));
    *data = enc->out;
    *size = !says_something(enc) ? 0 : lanes ? assemble(enc, crc, lane_code)
                                             : assemble_best(enc, crc);
    tsri_adapt_enc_reset(enc);
    return TSR_OK;
}

/* ---- decoder ---- */

struct tsri_adapt_dec {
    tsr_context *ctx;
    sets sets;
    tsri_rans_dec rans;
};

tsr_error tsri_adapt_dec_open(tsri_adapt_dec **out, tsr_context *ctx,
                              const tsri_adapt_shape *shapes, int nsets)
{
    tsri_adapt_dec *dec = tsri_calloc(ctx, 1, sizeof *dec);
    tsr_error error;

    *out = NULL;
    if (!dec)
        return TSR_E_NOMEM;
    dec->ctx = ctx;
    error = open_sets(&dec->sets, ctx, shapes, nsets);
    if (error)
        tsri_free(ctx, dec);
    else
        *out = dec;
    return error;
}

void tsri_adapt_dec_close(tsri_adapt_dec **out)
{
    tsri_adapt_dec *dec = *out;
    if (!dec)
        return;
    tsri_free(dec->ctx, dec->sets.set[0].model);
    tsri_free(dec->ctx, dec);
    *out = NULL;
}

tsr_error tsri_adapt_start(tsri_adapt_dec *dec, const uint8_t *data,
                           size_t size, uint32_t crc)
{
    forget_sets(&dec->sets);
    return tsri_rans_dec_open(&dec->rans, dec->ctx, data, size, crc);
}

/* Decodes a row of at most 16 symbols each; the models learn. */
static tsr_error get_row(tsri_rans_dec *dec, tsri_adapt_model *const *models,
                         uint8_t *sym, int n)
{
    for (int i = 0; i < n; i++) {
        const int16_t *last = models[i]->last;
        uint32_t *x = &dec->state[i];
        const int slot = (int)(*x & ((1 << BITS) - 1));
        int s = 0;
        while (last[s + 1] < slot)
            s++;
        *x = (uint32_t)(last[s + 1] - last[s]) * (*x >> BITS) +
             (uint32_t)(slot - last[s] - 1);
        if (*x < LOW) {
            if (dec->word == dec->word_end)
                return TSR_E_CORRUPT;
            *x = *x << 16 | tsri_get16(dec->word);
            dec->word += 2;
        }
        sym[i] = (uint8_t)s;
    }
    learn(models, sym, n);
    return TSR_OK;
}

static tsr_error get_row_of(tsri_rans_dec *dec, const tsri_adapt_set *set,
                            const uint16_t *context, uint8_t *sym, int n)
{
    tsri_adapt_model *models[TSRI_RANS_MAX_LANES];
    uint8_t low[TSRI_RANS_MAX_LANES];

    find_models(set, context, n, models);
    TSR_TRY(get_row(dec, models, sym, n));
    if (set->models > 1) {
        for (int i = 0; i < n; i++)
            models[i] += 1 + sym[i];
        TSR_TRY(get_row(dec, models, low, n));
        for (int i = 0; i < n; i++)
            sym[i] = (uint8_t)(sym[i] << 4 | low[i]);
    }
    for (int i = 0; i < n; i++)
        dec->sum[i] = tsri_rans_sum(dec->sum[i], sym[i]);
    return TSR_OK;
}

tsr_error tsri_adapt_get(tsri_adapt_dec *dec, int set, const uint16_t *context,
                         uint8_t *sym, size_t n)
{
    tsri_rans_dec *rans = &dec->rans;
    const size_t lanes = (size_t)rans->lanes;
    size_t i = 0;

    if (!contexts_fit(&dec->sets, set, context, n, rans->avx2))
        return TSR_E_ARG;
    if (rans->avx2 && lanes >= 8)
        i = tsri_adapt_get_avx2(rans, &dec->sets.set[set], context, sym, n);
    for (; i < n; i += lanes)
        TSR_TRY(get_row_of(rans, &dec->sets.set[set],
                           context ? context + i : NULL, sym + i,
                           (int)(n - i < lanes ? n - i : lanes)));
    return TSR_OK;
}

uint32_t tsri_adapt_get_bits(tsri_adapt_dec *dec, int nbits)
{
    return tsri_rans_get_bits(&dec->rans, nbits);
}

bool tsri_adapt_cut(const tsri_adapt_dec *dec)
{
    return tsri_rans_cut(&dec->rans);
}

tsr_error tsri_adapt_end(const tsri_adapt_dec *dec)
{
    return tsri_rans_dec_end(&dec->rans);
}
