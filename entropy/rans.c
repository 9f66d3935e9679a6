/* SPDX-License-Identifier: BSD-2-Clause */
#include "entropy/bank_impl.h"
#include "entropy/rans_bits.h"
#include "lib/crc32c.h"

enum {
    LOW = 1 << 16,       /* states are in [2^16, 2^32) */
    HAS_RAW = 1 << 2,    /* first byte: lane code, this, zeros */
    HEAD_MAX = 1 + TSRI_VARINT_MAX + 4 * TSRI_RANS_MAX_LANES,
    MADE = 1024,         /* places made at a time; a multiple of all lanes */
    COST_PART = 256      /* symbols whose costs are added without a look */
};

static const int lane_counts[4] = { 1, 4, 8, 32 };

/* What n symbols 0 do to the sums of their lanes. */
static void skip_symbol(uint16_t *sum, int lanes, size_t n)
{
    const size_t rows = n / (size_t)lanes, rest = n % (size_t)lanes;
    uint32_t power = 1, square = TSRI_RANS_FACTOR;

    for (size_t left = rows; left; left >>= 1, square *= square)
        power *= left & 1 ? square : 1;
    for (int i = 0; i < lanes; i++) {
        sum[i] = (uint16_t)(sum[i] * power);
        if ((size_t)i < rest)
            sum[i] = tsri_rans_sum(sum[i], 0);
    }
}

/* ---- encoder ---- */

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

static int largest16(bool avx2, const uint16_t *v, size_t n)
{
    int most = 0;

    if (avx2)
        return tsri_rans_most_avx2(v, n);
    for (size_t i = 0; i < n; i++)
        most = tsri_max(most, v[i]);
    return most;
}

tsr_error tsri_rans_put_places(tsri_rans_enc *enc, const tsri_bank *bank,
                               const uint16_t *place, size_t n)
{
    if (!n)
        return TSR_OK;
    if (largest16(enc->avx2, place, n) >= (int)bank->first[bank->tables])
        return TSR_E_ARG;
    return add_run(enc, (run){ bank, -1, NULL, place, n });
}

static int largest(const tsri_rans_enc *enc, const uint8_t *sym, size_t n)
{
    int most = 0;

    if (enc->avx2)
        return tsri_rans_most8_avx2(sym, n);
    for (size_t i = 0; i < n; i++)
        most = tsri_max(most, sym[i]);
    return most;
}

tsr_error tsri_rans_put8(tsri_rans_enc *enc, const tsri_bank *bank, int table,
                         const uint8_t *sym, size_t n)
{
    const int size = tsri_bank_size(bank, table);

    if (size > 256 || largest(enc, sym, n) >= size)
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

/* Which of lane_counts: by the bytes that the symbols cost. */
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
        skip_symbol(sum, lanes, r->n);
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
        state[i] = LOW | ((seed ^ sum[i]) & 0xffff);
}

/* Puts the parts together: enc->out has room for the head, all words, and
 * the raw section.  The head goes where the words begin, so that they need not
 * be moved.  Returns the first byte. */
static const uint8_t *assemble(tsri_rans_enc *enc, uint32_t crc, int code,
                               size_t *size)
{
    const int lanes = lane_counts[code];
    uint8_t *end = enc->out + HEAD_MAX + 2 * enc->nsym, *words, *first;
    uint8_t head[1 + TSRI_VARINT_MAX];
    uint32_t state[TSRI_RANS_MAX_LANES];
    size_t n = 0;

    start_states(enc, crc, lanes, state);
    words = encode(enc, state, lanes, end) - 4 * lanes;
    for (int i = 0; i < lanes; i++)
        tsri_put32(words + 4 * i, state[i]);
    head[n++] = (uint8_t)(code | (enc->nraw ? HAS_RAW : 0));
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
    int code = 0;
    size_t room;

    while (lanes && code < 4 && lane_counts[code] != lanes)
        code++;
    if (code == 4)
        return TSR_E_ARG;
    if (!lanes)
        code = choose_lanes(enc);
    TSR_TRY(flush_bits(enc));
    if (!tsri_mul(enc->nsym, 2, &room) ||
        !tsri_add(room, HEAD_MAX + enc->nraw, &room))
        return TSR_E_NOMEM;
    TSR_TRY(tsri_grow(enc->ctx, &enc->out, &enc->out_room, 0, room, 1));
    *data = enc->out;
    *size = 0;
    if (total_cost(enc, 1) || enc->nraw)
        *data = assemble(enc, crc, code, size);
    tsri_rans_enc_reset(enc);
    return TSR_OK;
}

/* ---- decoder ---- */

/* Splits what follows the first byte into states, words and raw section. */
static tsr_error split(tsri_rans_dec *dec, const uint8_t *p, const uint8_t *end,
                       bool has_raw)
{
    uint64_t raw = 0;

    if (has_raw) {
        const size_t n = tsri_get_varint(p, (size_t)(end - p), &raw);
        p += n;
        if (!n || !raw || raw > (size_t)(end - p))
            return TSR_E_CORRUPT;
    }
    dec->raw = end - raw;
    dec->raw_end = end;
    if (dec->raw - p < 4 * dec->lanes)
        return TSR_E_CORRUPT;
    for (int i = 0; i < dec->lanes; i++, p += 4) {
        dec->state[i] = tsri_get32(p);
        if (dec->state[i] < LOW)
            return TSR_E_CORRUPT;
    }
    dec->word = p;
    dec->word_end = dec->raw;
    return (dec->word_end - p) % 2 ? TSR_E_CORRUPT : TSR_OK;
}

tsr_error tsri_rans_dec_start(tsri_rans_dec *dec, unsigned cpu,
                              const uint8_t *data, size_t size, uint32_t crc)
{
    static const uint8_t none[1];

    *dec = (tsri_rans_dec){ .word = none, .word_end = none, .raw = none,
                            .raw_end = none, .lanes = 1,
                            .avx2 = cpu & TSR_CPU_AVX2 };
    if (size) {
        if (data[0] & ~(3 | HAS_RAW))
            return TSR_E_CORRUPT;
        dec->lanes = lane_counts[data[0] & 3];
        TSR_TRY(split(dec, data + 1, data + size, data[0] & HAS_RAW));
    }
    dec->seed = LOW | (tsri_crc32c(crc, dec->raw,
                                   (size_t)(dec->raw_end - dec->raw)) & 0xffff);
    if (!size)
        dec->state[0] = dec->seed;
    return TSR_OK;
}

tsr_error tsri_rans_dec_open(tsri_rans_dec *dec, const tsr_context *ctx,
                             const uint8_t *data, size_t size, uint32_t crc)
{
    return tsri_rans_dec_start(dec, ctx->cpu, data, size, crc);
}

static bool tables_in_range(const tsri_rans_dec *dec, const tsri_bank *bank,
                            const uint16_t *cls, int table, size_t n)
{
    const int most = cls ? largest16(dec->avx2, cls, n) : table;
    return most >= 0 && most < bank->tables;
}

/* One symbol: takes it off the state and tells which it is. */
static inline uint32_t take(const tsri_bank *bank, uint32_t table, uint32_t *x)
{
    const uint32_t slot = *x & ((1u << bank->bits) - 1);
    const uint64_t *range = bank->range +
        bank->lut[((size_t)table << bank->lut_bits) +
                  (slot >> (bank->bits - bank->lut_bits))];
    uint32_t r = (uint32_t)*range;

    while (slot - (r & 0xffff) >= r >> 16)
        r = (uint32_t)*++range;
    *x = (r >> 16) * (*x >> bank->bits) + slot - (r & 0xffff);
    return (uint32_t)(*range >> 32);
}

/* Symbols begin..n of a run, `width` bytes each.  Whether a state takes a word
 * is a coin toss, so that is done without a branch. */
static inline __attribute__((always_inline)) tsr_error
get_plain(tsri_rans_dec *dec, const tsri_bank *bank, const uint16_t *cls,
          int table, void *sym, size_t begin, size_t n, const int width)
{
    static const uint8_t none[2];
    const size_t mask = (size_t)dec->lanes - 1;
    const uint8_t *word = dec->word, *const end = dec->word_end;

    for (size_t i = begin; i < n; i++) {
        uint32_t x = dec->state[i & mask];
        const uint32_t s = take(bank, cls ? cls[i] : (uint32_t)table, &x);
        const uint32_t more = x << 16 | tsri_get16(word < end ? word : none);
        const int takes = x < LOW;
        if (takes && word == end)
            return TSR_E_CORRUPT;
        dec->state[i & mask] = takes ? more : x;
        word += 2 * takes;
        dec->sum[i & mask] = tsri_rans_sum(dec->sum[i & mask], s);
        if (width == 1)
            ((uint8_t *)sym)[i] = (uint8_t)s;
        else
            ((uint16_t *)sym)[i] = (uint16_t)s;
    }
    dec->word = word;
    return TSR_OK;
}

tsr_error tsri_rans_get(tsri_rans_dec *dec, const tsri_bank *bank,
                        const uint16_t *cls, int table, uint16_t *sym,
                        size_t n)
{
    size_t done = 0;

    if (!tables_in_range(dec, bank, cls, table, n))
        return TSR_E_ARG;
    if (dec->avx2 && dec->lanes >= 8)
        done = tsri_rans_rows_avx2(dec, bank, cls, table, sym, n);
    return get_plain(dec, bank, cls, table, sym, done, n, 2);
}

/* By way of 16 bits: tables that are rare. */
static tsr_error get8_wide(tsri_rans_dec *dec, const tsri_bank *bank, int table,
                           uint8_t *sym, size_t n)
{
    uint16_t wide[1024]; /* a multiple of every number of lanes */
    const size_t most = sizeof wide / sizeof *wide;

    for (size_t i = 0; i < n; i += most) {
        const size_t part = n - i < most ? n - i : most;
        TSR_TRY(tsri_rans_get(dec, bank, NULL, table, wide, part));
        for (size_t k = 0; k < part; k++)
            sym[i + k] = (uint8_t)wide[k];
    }
    return TSR_OK;
}

/* Are symbols of tables of up to `size` searched for rather than looked up?  Of
 * up to 16 always, of up to 32 where the bank's slots are too many for a level-2
 * cache.  On a Zen 3, in 10^6 symbols a second, singly and by two, with p = 12:
 *                                    slots    16 searched    32 searched
 *   one table                 1650   2160     1770   2480    1430   2000
 *   64 in turn, 4096 of each  1490   2010     1770   2430    1440   1980
 *   64 in turn, 256 of each    800   1170     1650   2020    1330   1670 */
static bool searched(const tsri_bank *bank, int size)
{
    const size_t hot = 1 << 16; /* slots: 256 KiB */

    return size <= 16 || (size <= TSRI_SEARCH_MAX && (!bank->slot ||
           (size_t)bank->tables << bank->bits > hot));
}

/* What follows the first `done` symbols of a run, which are whole rows. */
static tsr_error get8(tsri_rans_dec *dec, const tsri_bank *bank, int table,
                      uint8_t *sym, size_t done, size_t n)
{
    const int size = tsri_bank_size(bank, table);

    if (size > 256)
        return TSR_E_ARG;
    if (size == 1) {
        memset(sym + done, 0, n - done);
        skip_symbol(dec->sum, dec->lanes, n - done);
        return TSR_OK;
    }
    if (dec->avx2 && dec->lanes == 32 && searched(bank, size)) {
        done += tsri_rans_search8_avx2(dec, bank, table, sym + done, n - done);
    } else if (dec->avx2 && dec->lanes >= 8) {
        if (!tsri_bank_has_slots(bank, table))
            return get8_wide(dec, bank, table, sym + done, n - done);
        done += tsri_rans_slots8_avx2(dec, bank, table, sym + done, n - done);
    }
    return get_plain(dec, bank, NULL, table, sym, done, n, 1);
}

tsr_error tsri_rans_get8(tsri_rans_dec *dec, const tsri_bank *bank, int table,
                         uint8_t *sym, size_t n)
{
    return get8(dec, bank, table, sym, 0, n);
}

tsr_error tsri_rans_get8_pair(tsri_rans_dec *dec[2], const tsri_bank *bank,
                              const tsri_rans_run8 runs[2])
{
    const int size[2] = { tsri_bank_size(bank, runs[0].table),
                          tsri_bank_size(bank, runs[1].table) };
    size_t done = 0;
    tsr_error error[2];

    if (dec[0]->avx2 && dec[0]->lanes == 32 && dec[1]->lanes == 32) {
        if (searched(bank, tsri_max(size[0], size[1])))
            done = tsri_rans_search8_pair_avx2(dec, bank, runs);
        else if (tsri_bank_has_slots(bank, runs[0].table) &&
                 tsri_bank_has_slots(bank, runs[1].table))
            done = tsri_rans_slots8_pair_avx2(dec, bank, runs);
    }
    for (int i = 0; i < 2; i++)
        error[i] = get8(dec[i], bank, runs[i].table, runs[i].sym, done,
                        runs[i].n);
    return error[0] ? error[0] : error[1];
}

uint32_t tsri_rans_get_bits(tsri_rans_dec *dec, int nbits)
{
    uint32_t value;

    while (dec->nbits < nbits && dec->raw < dec->raw_end) {
        dec->bits |= (uint64_t)*dec->raw++ << dec->nbits;
        dec->nbits += 8;
    }
    value = (uint32_t)(dec->bits & (((uint64_t)1 << nbits) - 1));
    dec->cut |= dec->nbits < nbits;
    dec->nbits = tsri_max(dec->nbits - nbits, 0);
    dec->bits >>= nbits;
    return value;
}

tsr_error tsri_rans_dec_end(const tsri_rans_dec *dec)
{
    bool sound = dec->word == dec->word_end && dec->raw == dec->raw_end &&
                 dec->nbits < 8 && !dec->bits && !dec->cut;

    for (int i = 0; i < dec->lanes; i++)
        sound &= dec->state[i] == (dec->seed ^ dec->sum[i]);
    return sound ? TSR_OK : TSR_E_CORRUPT;
}
