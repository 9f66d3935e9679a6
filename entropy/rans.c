/* SPDX-License-Identifier: BSD-2-Clause */
/* Encoding rANS segments; rans_dec.c decodes them. */
#include "entropy/rans_bits.h"
#include "entropy/rans_impl.h"
#include "lib/crc32c.h"

enum {
    MADE = 1024,         /* places made at a time; a multiple of all lanes */
    COST_PART = 256      /* symbols whose costs are added without a look */
};

/* Symbols are the caller's bytes or places, or places that were made of them. */
typedef struct run {
    const tsri_bank *bank;
    int table;              /* -1: several */
    const uint8_t *bytes;
    const uint16_t *halves; /* places; both NULL: n of the encoder's places */
    size_t n;
} run;

static bool has_own(const run *r)
{
    return !r->bytes && !r->halves;
}

struct tsri_rans_enc {
    tsr_context *ctx;
    uint32_t *place;        /* of symbols in the run's bank's `sym` */
    run *runs;
    uint8_t *raw, *out;
    size_t nsym, nplaces, nruns, nraw; /* nsym: with bytes */
    size_t place_room, runs_room, raw_room, out_room;
    uint64_t bits;          /* raw bits not yet in `raw` */
    int nbits;
    tsri_kept *kept;        /* symbols that have no other owner */
    bool avx2;
};

tsr_error tsri_rans_enc_open(tsri_rans_enc **out, tsr_context *ctx)
{
    tsri_rans_enc *enc = tsri_calloc(ctx, 1, sizeof *enc);
    *out = enc;
    if (!enc)
        return TSR_E_NOMEM;
    enc->ctx = ctx;
    enc->avx2 = ctx->cpu & TSR_CPU_AVX2;
    return TSR_OK;
}

void tsri_rans_enc_close(tsri_rans_enc **out)
{
    tsri_rans_enc *enc = *out;
    if (!enc)
        return;
    tsri_kept_close(&enc->kept, enc->ctx);
    tsri_free(enc->ctx, enc->place);
    tsri_free(enc->ctx, enc->runs);
    tsri_free(enc->ctx, enc->raw);
    tsri_free(enc->ctx, enc->out);
    tsri_free(enc->ctx, enc);
    *out = NULL;
}

void tsri_rans_enc_reset(tsri_rans_enc *enc)
{
    enc->nsym = enc->nplaces = enc->nruns = enc->nraw = 0;
    enc->bits = 0;
    enc->nbits = 0;
    tsri_kept_release(&enc->kept, enc->ctx);
}

static bool find_places(const tsri_rans_enc *enc, const tsri_bank *bank,
                        const uint16_t *cls, int table, const uint16_t *sym,
                        size_t n, uint32_t *to)
{
    const uint32_t *first = bank->first;

    if (!cls && enc->avx2 && table >= 0 && table < bank->tables)
        return tsri_rans_places_avx2(sym, n, first[table],
                                     first[table + 1] - first[table], to);
    for (size_t i = 0; i < n; i++) {
        const uint32_t t = cls ? cls[i] : (uint32_t)table;
        if (t >= (uint32_t)bank->tables || sym[i] >= first[t + 1] - first[t])
            return false;
        to[i] = first[t] + sym[i];
    }
    return true;
}

static tsr_error add_run(tsri_rans_enc *enc, run r)
{
    size_t all;

    if (!tsri_add(enc->nsym, r.n, &all))
        return TSR_E_NOMEM;
    TSR_TRY(tsri_grow(enc->ctx, &enc->runs, &enc->runs_room, enc->nruns, 1,
                      sizeof *enc->runs));
    enc->nsym = all;
    enc->runs[enc->nruns++] = r;
    return TSR_OK;
}

/* Room for n more places. */
static tsr_error want_places(tsri_rans_enc *enc, size_t n)
{
    size_t all;

    if (!tsri_add(enc->nplaces, n, &all))
        return TSR_E_NOMEM;
    return tsri_grow(enc->ctx, &enc->place, &enc->place_room, enc->nplaces, n,
                     sizeof *enc->place);
}

tsr_error tsri_rans_put(tsri_rans_enc *enc, const tsri_bank *bank,
                        const uint16_t *cls, int table, const uint16_t *sym,
                        size_t n)
{
    if (!n)
        return TSR_OK;
    TSR_TRY(want_places(enc, n));
    if (!find_places(enc, bank, cls, table, sym, n, enc->place + enc->nplaces))
        return TSR_E_ARG;
    TSR_TRY(add_run(enc, (run){ bank, cls ? -1 : table, NULL, NULL, n }));
    enc->nplaces += n;
    return TSR_OK;
}

tsr_error tsri_rans_put_places(tsri_rans_enc *enc, const tsri_bank *bank,
                               const uint16_t *place, size_t n)
{
    if (!n)
        return TSR_OK;
    if (tsri_rans_largest(enc->avx2, place, n) >= (int)bank->first[bank->tables])
        return TSR_E_ARG;
    return add_run(enc, (run){ bank, -1, NULL, place, n });
}

tsr_error tsri_rans_put8(tsri_rans_enc *enc, const tsri_bank *bank, int table,
                         const uint8_t *sym, size_t n)
{
    const int size = tsri_bank_size(bank, table);

    if (size > 256 || tsri_rans_largest8(enc->avx2, sym, n) >= size)
        return TSR_E_ARG;
    return n ? add_run(enc, (run){ bank, table, sym, NULL, n }) : TSR_OK;
}

tsr_error tsri_rans_put_bits(tsri_rans_enc *enc, uint32_t value, int nbits)
{
    enc->bits |= (uint64_t)value << enc->nbits;
    enc->nbits += nbits;
    if (enc->nbits < 32)
        return TSR_OK;
    TSR_TRY(tsri_grow(enc->ctx, &enc->raw, &enc->raw_room, enc->nraw, 4,
                      1));
    tsri_put32(enc->raw + enc->nraw, (uint32_t)enc->bits);
    enc->nraw += 4;
    enc->bits >>= 32;
    enc->nbits -= 32;
    return TSR_OK;
}

tsr_error tsri_rans_raw_begin(tsri_rans_enc *enc, size_t bytes,
                              tsri_bits_out *out)
{
    size_t more;

    if (!tsri_add(16, bytes, &more))
        return TSR_E_NOMEM;
    TSR_TRY(tsri_grow(enc->ctx, &enc->raw, &enc->raw_room, enc->nraw, more, 1));
    *out = (tsri_bits_out){ enc->raw + enc->nraw, enc->bits, enc->nbits,
                            enc->avx2 };
    tsri_bits_put(out, 0, 0); /* leaves less than a byte */
    return TSR_OK;
}

void tsri_rans_raw_end(tsri_rans_enc *enc, const tsri_bits_out *out)
{
    enc->nraw = (size_t)(out->at - enc->raw);
    enc->bits = out->bits;
    enc->nbits = out->nbits;
}

uint8_t *tsri_rans_keep(tsri_rans_enc *enc, size_t n)
{
    return tsri_kept_take(&enc->kept, enc->ctx, n);
}

static tsr_error flush_bits(tsri_rans_enc *enc)
{
    TSR_TRY(tsri_grow(enc->ctx, &enc->raw, &enc->raw_room, enc->nraw, 4,
                      1));
    for (; enc->nbits > 0; enc->nbits -= 8, enc->bits >>= 8)
        enc->raw[enc->nraw++] = (uint8_t)enc->bits;
    return TSR_OK;
}

static uint64_t add_costs(const run *r, const uint32_t *place, uint64_t enough)
{
    const uint16_t *cost = r->bank->cost;
    uint64_t sum = 0;

    if (r->table >= 0 && r->n * (uint64_t)r->bank->least[r->table] >= enough)
        return enough;
    if (r->bytes)
        cost += r->bank->first[r->table];
    for (size_t i = 0; i < r->n && sum < enough; i += COST_PART) {
        const size_t end = r->n - i < COST_PART ? r->n : i + COST_PART;
        uint32_t part = 0;
        if (r->bytes)
            for (size_t k = i; k < end; k++)
                part += cost[r->bytes[k]];
        else if (r->halves)
            for (size_t k = i; k < end; k++)
                part += cost[r->halves[k]];
        else
            for (size_t k = i; k < end; k++)
                part += cost[place[k]];
        sum += part;
    }
    return sum;
}

/* What all symbols cost; stops where that is no longer less than `enough`. */
static uint64_t total_cost(const tsri_rans_enc *enc, uint64_t enough)
{
    const uint32_t *place = enc->place;
    uint64_t cost = 0;

    for (size_t i = 0; i < enc->nruns && cost < enough; i++) {
        const run *r = &enc->runs[i];
        cost += add_costs(r, place, enough - cost);
        if (has_own(r))
            place += r->n;
    }
    return cost;
}

/* The lane code: by the bytes that the symbols cost. */
static int choose_lanes(const tsri_rans_enc *enc)
{
    const uint64_t byte = 8 * 2048, cost = total_cost(enc, 16384 * byte);

    return cost < 2048 * byte ? 0 : cost < 4096 * byte ? 1 :
           cost < 16384 * byte ? 2 : 3;
}

/* How many of a run's symbols stand in whole rows that vectors take. */
static size_t whole_rows(const tsri_rans_enc *enc, size_t n, int lanes)
{
    return enc->avx2 && lanes >= 8 ? n & ~((size_t)lanes - 1) : 0;
}

/* Places of a run that has none of its own. */
static void make_places(const run *r, size_t begin, size_t n, uint32_t *place)
{
    if (r->halves)
        tsri_rans_places_avx2(r->halves + begin, n, 0, 0, place);
    else
        for (size_t i = 0; i < n; i++)
            place[i] = r->bank->first[r->table] + r->bytes[begin + i];
}

/* Rows of the caller's bytes or places, by way of the encoder's places where their
 * bank is not for bytes. */
static uint8_t *encode_given(const run *r, size_t n, int lanes, uint32_t *state,
                             uint8_t *end)
{
    uint32_t place[MADE];

    if (r->bytes && r->bank->brief)
        return tsri_rans_encode8_avx2(r->bank, r->table, r->bytes, n, lanes,
                                      state, end);
    while (n) {
        const size_t part = (n - 1) % MADE + 1;
        n -= part;
        make_places(r, n, part, place);
        end = tsri_rans_encode_avx2(r->bank->sym, place, part, lanes, state, end);
    }
    return end;
}

/* Codes all symbols, last first, with the words going down from `end`;
 * returns the first word.  There is room for one more before it. */
static uint8_t *encode(const tsri_rans_enc *enc, uint32_t *state, int lanes,
                       uint8_t *end)
{
    const uint32_t *place = enc->nplaces ? enc->place + enc->nplaces : NULL;
    const size_t mask = (size_t)lanes - 1;

    for (size_t k = enc->nruns; k-- > 0;) {
        const run *r = &enc->runs[k];
        const tsri_rans_sym *records = r->bank->sym;
        const tsri_rans_sym *own = r->bytes ? records + r->bank->first[r->table]
                                            : NULL;
        const size_t rows = whole_rows(enc, r->n, lanes);
        if (r->table >= 0 && tsri_bank_size(r->bank, r->table) == 1) {
            if (has_own(r)) /* costs nothing */
                place -= r->n;
            continue;
        }
        for (size_t i = r->n; i-- > rows;) {
            const tsri_rans_sym *s = own ? &own[r->bytes[i]] :
                                     &records[r->halves ? r->halves[i] : *--place];
            uint32_t x = state[i & mask];
            const int gives = x > s->last; /* no branch: it is a coin toss */
            tsri_put16(end - 2, (uint16_t)x);
            end -= 2 * gives;
            x >>= 16 * gives;
            const uint64_t q = (uint64_t)(x + s->inc) * s->mul >> 32 >> s->shift;
            state[i & mask] = x + s->bias + (uint32_t)q * s->cmpl;
        }
        if (rows && !has_own(r)) {
            end = encode_given(r, rows, lanes, state, end);
        } else if (rows) {
            place -= rows;
            end = tsri_rans_encode_avx2(records, place, rows, lanes, state, end);
        }
    }
    return end;
}

static void sum_halves(const run *r, size_t n, int lanes, uint16_t *sum)
{
    uint32_t place[MADE];

    for (size_t i = 0; i < n; i += MADE) {
        const size_t part = n - i < MADE ? n - i : MADE;
        make_places(r, i, part, place);
        tsri_rans_sums_avx2(r->bank->sym, -1, place, part, lanes, sum);
    }
}

/* Adds a run to the sums of its lanes. */
static void add_sums(const tsri_rans_enc *enc, const run *r,
                     const uint32_t *place, int lanes, uint16_t *sum)
{
    const tsri_rans_sym *records = r->bank->sym;
    const size_t mask = (size_t)lanes - 1;
    const size_t rows = whole_rows(enc, r->n, lanes);

    if (r->table >= 0 && tsri_bank_size(r->bank, r->table) == 1) {
        tsri_rans_skip(sum, lanes, r->n);
        return;
    }
    if (rows && r->bytes)
        tsri_rans_sums8_avx2(r->bytes, rows, lanes, sum);
    else if (rows && r->halves)
        sum_halves(r, rows, lanes, sum);
    else if (rows)
        tsri_rans_sums_avx2(records, r->table < 0 ? -1 :
                            (int64_t)r->bank->first[r->table], place, rows,
                            lanes, sum);
    for (size_t i = rows; i < r->n; i++)
        sum[i & mask] = tsri_rans_sum(sum[i & mask],
            r->bytes ? r->bytes[i] :
            records[r->halves ? r->halves[i] : place[i]].sym);
}

/* What the lanes start from: the seed and the sums of their symbols. */
static void start_states(const tsri_rans_enc *enc, uint32_t crc, int lanes,
                         uint32_t *state)
{
    const uint32_t seed = tsri_crc32c(crc, enc->raw, enc->nraw);
    const uint32_t *place = enc->place;
    uint16_t sum[TSRI_RANS_MAX_LANES] = { 0 };

    for (size_t k = 0; k < enc->nruns; k++) {
        const run *r = &enc->runs[k];
        add_sums(enc, r, place, lanes, sum);
        if (has_own(r))
            place += r->n;
    }
    for (int i = 0; i < lanes; i++)
        state[i] = TSRI_RANS_LOW | ((seed ^ sum[i]) & 0xffff);
}

/* Puts the parts together: enc->out has room for the head, all words, and
 * the raw section.  The head goes where the words begin, so that they need not
 * be moved.  Returns the first byte. */
static const uint8_t *assemble(tsri_rans_enc *enc, uint32_t crc, int code,
                               size_t *size)
{
    const int lanes = tsri_rans_lanes(code);
    uint8_t *end = enc->out + TSRI_RANS_HEAD_MAX + 2 * enc->nsym, *words, *first;
    uint8_t head[1 + TSRI_VARINT_MAX];
    uint32_t state[TSRI_RANS_MAX_LANES];
    size_t n = 0;

    start_states(enc, crc, lanes, state);
    words = encode(enc, state, lanes, end) - 4 * lanes;
    for (int i = 0; i < lanes; i++)
        tsri_put32(words + 4 * i, state[i]);
    head[n++] = (uint8_t)(code | (enc->nraw ? TSRI_RANS_HAS_RAW : 0));
    if (enc->nraw) {
        n += tsri_put_varint(head + n, enc->nraw);
        memcpy(end, enc->raw, enc->nraw);
    }
    first = words - n;
    memcpy(first, head, n);
    *size = (size_t)(end - first) + enc->nraw;
    return first;
}

tsr_error tsri_rans_finish(tsri_rans_enc *enc, uint32_t crc, int lanes,
                           const uint8_t **data, size_t *size)
{
    int code = tsri_rans_lane_code(lanes);
    size_t room;

    if (code == TSRI_RANS_LANE_CODES)
        return TSR_E_ARG;
    if (!lanes)
        code = choose_lanes(enc);
    TSR_TRY(flush_bits(enc));
    if (!tsri_mul(enc->nsym, 2, &room) ||
        !tsri_add(room, TSRI_RANS_HEAD_MAX + enc->nraw, &room))
        return TSR_E_NOMEM;
    TSR_TRY(tsri_grow(enc->ctx, &enc->out, &enc->out_room, 0, room, 1));
    *data = enc->out;
    *size = 0;
    if (total_cost(enc, 1) || enc->nraw)
        *data = assemble(enc, crc, code, size);
    tsri_rans_enc_reset(enc);
    return TSR_OK;
}
