/* SPDX-License-Identifier: BSD-2-Clause */
/* rANS segments and the tables of their banks: vector and plain code must agree
 * about any bytes, and what was encoded must come back. */
#include "tests/fuzz/fuzz.h"
#include "entropy/freq.h"
#include "entropy/rans.h"

enum { TABLES = 6, SYMBOLS = 300, RUN = 500, RUNS = 6 };

/* A run and how it is coded. */
typedef struct run {
    size_t n;
    int table, kind;    /* table -1: a class for each symbol */
} run;
enum { WIDE, BYTES, PAIR, BITS, KINDS };

typedef struct setup {
    tsri_bank *bank;
    uint16_t sizes[TABLES];
    int bits, tables, nruns, lanes;
    run runs[RUNS];
    uint16_t cls[RUN];
    uint32_t crc;
} setup;

/* Frequencies of the input's own, which are mostly refused, or from counts. */
static bool make_bank(setup *s, fuzz_input *in)
{
    uint16_t freq[TABLES * SYMBOLS];
    uint64_t count[SYMBOLS];
    size_t at = 0;
    const bool raw = fuzz_u8(in) % 8 == 0;

    s->bits = 1 + (int)fuzz_below(in, 15);
    s->tables = 1 + (int)fuzz_below(in, TABLES);
    for (int t = 0; t < s->tables; t++) {
        const uint32_t most = 1u << s->bits;
        s->sizes[t] = (uint16_t)(1 + fuzz_below(in, most < SYMBOLS ? most : SYMBOLS));
        for (int i = 0; i < s->sizes[t]; i++)
            count[i] = fuzz_u8(in);
        FUZZ_CHECK(!tsri_freq_normalise(count, s->sizes[t], s->bits, freq + at));
        for (int i = 0; raw && i < s->sizes[t]; i++)
            freq[at + (size_t)i] = (uint16_t)count[i];
        at += s->sizes[t];
    }
    return !tsri_bank_open(&s->bank, fuzz_context(false), s->bits, freq, s->sizes,
                           s->tables);
}

static bool make(setup *s, fuzz_input *in)
{
    static const int lanes[] = { 0, 1, 4, 8, 32 };
    const bool ok = make_bank(s, in);

    s->lanes = lanes[fuzz_below(in, 5)];
    s->crc = fuzz_u8(in);
    s->nruns = 1 + (int)fuzz_below(in, RUNS);
    for (int i = 0; i < s->nruns; i++) {
        s->runs[i].kind = (int)fuzz_below(in, KINDS);
        s->runs[i].n = fuzz_u16(in) % RUN;
        s->runs[i].table = (int)fuzz_below(in, (uint32_t)s->tables + 1) - 1;
        const bool one = s->runs[i].kind == BYTES || s->runs[i].kind == PAIR;
        if (one && s->runs[i].table < 0)
            s->runs[i].table = 0;
        if (one && s->sizes[s->runs[i].table] > 256)
            s->runs[i].kind = WIDE;
    }
    for (int i = 0; i < RUN; i++)
        s->cls[i] = (uint16_t)(fuzz_at(in, (size_t)i) % (uint32_t)s->tables);
    return ok;
}

static const uint16_t *classes(const setup *s, const run *r)
{
    return r->table < 0 ? s->cls : NULL;
}

/* A symbol of a run, from the input. */
static uint16_t symbol(const setup *s, const run *r, const fuzz_input *in, size_t i)
{
    const int table = r->table < 0 ? s->cls[i] : r->table;
    return (uint16_t)(fuzz_at(in, i + (size_t)(r - s->runs)) % s->sizes[table]);
}

static int bits_of(size_t i)
{
    return (int)(i * 5 % 33);
}

/* The same symbols in a byte and in two. */
typedef struct symbols {
    uint16_t wide[RUNS][RUN];
    uint8_t bytes[RUNS][RUN];
} symbols;

static void put_run(const setup *s, const run *r, const fuzz_input *in,
                    symbols *sym, tsri_rans_enc *enc)
{
    const int k = (int)(r - s->runs);

    for (size_t i = 0; i < r->n; i++) {
        sym->wide[k][i] = r->kind == BITS ? (uint16_t)fuzz_at(in, i)
                                          : symbol(s, r, in, i);
        sym->bytes[k][i] = (uint8_t)sym->wide[k][i];
    }
    if (r->kind == WIDE)
        FUZZ_CHECK(!tsri_rans_put(enc, s->bank, classes(s, r), r->table,
                                  sym->wide[k], r->n));
    else if (r->kind != BITS)
        FUZZ_CHECK(!tsri_rans_put8(enc, s->bank, r->table, sym->bytes[k], r->n));
    else
        for (size_t i = 0; i < r->n; i++)
            FUZZ_CHECK(!tsri_rans_put_bits(enc, (uint32_t)(sym->wide[k][i] &
                ((1ull << bits_of(i)) - 1)), bits_of(i)));
}

/* All runs from one segment.  The pair's other half is the same segment. */
static tsr_error get_all(const setup *s, const tsr_context *ctx,
                         const uint8_t *data, size_t size, symbols *sym)
{
    tsri_rans_dec dec, other;
    uint8_t twin[RUN];
    tsr_error error = tsri_rans_dec_open(&dec, ctx, data, size, s->crc);

    for (int k = 0; k < s->nruns && !error; k++) {
        const run *r = &s->runs[k];
        other = dec;
        if (r->kind == WIDE)
            error = tsri_rans_get(&dec, s->bank, classes(s, r), r->table,
                                  sym->wide[k], r->n);
        else if (r->kind == BYTES)
            error = tsri_rans_get8(&dec, s->bank, r->table, sym->bytes[k], r->n);
        else if (r->kind == PAIR) {
            const tsri_rans_run8 two[2] = { { r->table, sym->bytes[k], r->n },
                                            { r->table, twin, r->n / 2 } };
            tsri_rans_dec *both[2] = { &dec, &other };
            error = tsri_rans_get8_pair(both, s->bank, two);
            FUZZ_CHECK(error || !memcmp(twin, sym->bytes[k], r->n / 2));
        } else
            for (size_t i = 0; i < r->n; i++)
                sym->wide[k][i] = (uint16_t)tsri_rans_get_bits(&dec, bits_of(i));
    }
    return error ? error : tsri_rans_dec_end(&dec);
}

static void check_same(const setup *s, const symbols *a, const symbols *b)
{
    for (int k = 0; k < s->nruns; k++)
        for (size_t i = 0; i < s->runs[k].n; i++)
            FUZZ_CHECK(s->runs[k].kind == WIDE || s->runs[k].kind == BITS
                           ? a->wide[k][i] == b->wide[k][i]
                           : a->bytes[k][i] == b->bytes[k][i]);
}

static void any_bytes(const setup *s, const fuzz_input *in)
{
    static symbols plain, vector;
    uint8_t *copy = fuzz_copy(in);
    const tsr_error error = get_all(s, fuzz_context(true), copy, in->size, &plain);

    FUZZ_CHECK(get_all(s, fuzz_context(false), copy, in->size, &vector) == error);
    if (!error)
        check_same(s, &plain, &vector);
    for (int k = 0; k < s->nruns && !error; k++)
        for (size_t i = 0; i < s->runs[k].n && s->runs[k].kind != BITS; i++)
            FUZZ_CHECK((s->runs[k].kind == WIDE ? plain.wide[k][i]
                        : plain.bytes[k][i]) <
                       s->sizes[s->runs[k].table < 0 ? s->cls[i]
                                                     : s->runs[k].table]);
    free(copy);
}

static void round_trip(const setup *s, const fuzz_input *in)
{
    static symbols put[2], got;
    const uint8_t *data[2];
    size_t size[2];
    tsri_rans_enc *enc[2];

    for (int plain = 0; plain < 2; plain++) {
        FUZZ_CHECK(!tsri_rans_enc_open(&enc[plain], fuzz_context(plain)));
        for (int k = 0; k < s->nruns; k++)
            put_run(s, &s->runs[k], in, &put[plain], enc[plain]);
        FUZZ_CHECK(!tsri_rans_finish(enc[plain], s->crc, s->lanes, &data[plain],
                                     &size[plain]));
    }
    FUZZ_CHECK(size[0] == size[1] && !memcmp(data[0], data[1], size[0]));
    FUZZ_CHECK(!get_all(s, fuzz_context(false), data[0], size[0], &got));
    for (int k = 0; k < s->nruns; k++)
        for (size_t i = 0; s->runs[k].kind == BITS && i < s->runs[k].n; i++)
            put[0].wide[k][i] &= (uint16_t)((1ull << bits_of(i)) - 1);
    check_same(s, &put[0], &got);
    for (int plain = 0; plain < 2; plain++)
        tsri_rans_enc_close(&enc[plain]);
}

void fuzz_target(const uint8_t *data, size_t size)
{
    fuzz_input in = { data, size };
    setup s = { 0 };
    const bool both_ways = fuzz_u8(&in) % 2;

    if (make(&s, &in)) {
        if (both_ways)
            round_trip(&s, &in);
        else
            any_bytes(&s, &in);
    }
    tsri_bank_close(&s.bank, fuzz_context(false));
}
