/* SPDX-License-Identifier: BSD-2-Clause */
/* Segments of models that learn: any bytes, and round trips. */
#include "tests/fuzz/fuzz.h"
#include "entropy/adaptive.h"

enum { SETS = 3, CONTEXTS = 9, RUNS = 4, RUN = 300 };

typedef struct setup {
    tsri_adapt_shape sets[SETS];
    int nsets, nruns, set[RUNS], lanes;
    bool one_context[RUNS];
    size_t n[RUNS];
    uint16_t context[RUN];
} setup;

static void make(setup *s, fuzz_input *in)
{
    static const int lanes[] = { 0, 1, 4, 8, 32 };

    s->nsets = 1 + (int)fuzz_below(in, SETS);
    for (int i = 0; i < s->nsets; i++)
        s->sets[i] = (tsri_adapt_shape){ 1 + (int)fuzz_below(in, 256),
                                         1 + (int)fuzz_below(in, CONTEXTS),
                                         6 + (int)fuzz_below(in, 9) };
    s->lanes = lanes[fuzz_below(in, 5)];
    s->nruns = 1 + (int)fuzz_below(in, RUNS);
    for (int i = 0; i < s->nruns; i++) {
        s->set[i] = (int)fuzz_below(in, (uint32_t)s->nsets);
        s->one_context[i] = fuzz_u8(in) % 2;
        s->n[i] = fuzz_u16(in) % RUN;
    }
}

/* The contexts of run r. */
static const uint16_t *contexts(setup *s, int r)
{
    if (s->one_context[r])
        return NULL;
    for (size_t i = 0; i < s->n[r]; i++)
        s->context[i] = (uint16_t)(i * i / 3 %
                                   (size_t)s->sets[s->set[r]].contexts);
    return s->context;
}

static tsr_error get(setup *s, bool plain, const uint8_t *data, size_t size,
                     uint8_t sym[RUNS][RUN])
{
    tsri_adapt_dec *dec;
    FUZZ_CHECK(!tsri_adapt_dec_open(&dec, fuzz_context(plain), s->sets, s->nsets));
    tsr_error error = tsri_adapt_start(dec, data, size, 3);

    for (int r = 0; r < s->nruns && !error; r++)
        error = tsri_adapt_get(dec, s->set[r], contexts(s, r), sym[r], s->n[r]);
    if (!error)
        error = tsri_adapt_end(dec);
    tsri_adapt_dec_close(&dec);
    return error;
}

static void check(const setup *s, uint8_t a[RUNS][RUN], uint8_t b[RUNS][RUN])
{
    for (int r = 0; r < s->nruns; r++)
        for (size_t i = 0; i < s->n[r]; i++)
            FUZZ_CHECK(a[r][i] == b[r][i] &&
                       a[r][i] < s->sets[s->set[r]].symbols);
}

static void round_trip(setup *s, const fuzz_input *in)
{
    uint8_t sym[RUNS][RUN], got[RUNS][RUN];
    tsri_adapt_enc *enc[2];
    const uint8_t *data[2];
    size_t size[2];

    for (int r = 0; r < s->nruns; r++)
        for (size_t i = 0; i < s->n[r]; i++)
            sym[r][i] = (uint8_t)(fuzz_at(in, i + (size_t)r) %
                                  (uint32_t)s->sets[s->set[r]].symbols);
    for (int plain = 0; plain < 2; plain++) {
        FUZZ_CHECK(!tsri_adapt_enc_open(&enc[plain], fuzz_context(plain), s->sets,
                                        s->nsets));
        for (int r = 0; r < s->nruns; r++)
            FUZZ_CHECK(!tsri_adapt_put(enc[plain], s->set[r], contexts(s, r), sym[r],
                                       s->n[r]));
        FUZZ_CHECK(!tsri_adapt_finish(enc[plain], 3, s->lanes, &data[plain],
                                      &size[plain]));
    }
    FUZZ_CHECK(size[0] == size[1] && !memcmp(data[0], data[1], size[0]));
    FUZZ_CHECK(!get(s, false, data[0], size[0], got));
    check(s, sym, got);
    for (int plain = 0; plain < 2; plain++)
        tsri_adapt_enc_close(&enc[plain]);
}

void fuzz_target(const uint8_t *data, size_t size)
{
    fuzz_input in = { data, size };
    uint8_t plain[RUNS][RUN], vector[RUNS][RUN];
    const bool both_ways = fuzz_u8(&in) % 2;
    setup s = { 0 };

    make(&s, &in);
    if (both_ways) {
        round_trip(&s, &in);
        return;
    }
    uint8_t *copy = fuzz_copy(&in);
    const tsr_error error = get(&s, true, copy, in.size, plain);
    FUZZ_CHECK(get(&s, false, copy, in.size, vector) == error);
    if (!error)
        check(&s, plain, vector);
    free(copy);
}
