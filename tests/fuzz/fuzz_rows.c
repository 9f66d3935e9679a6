/* SPDX-License-Identifier: BSD-2-Clause */
/* Rows: any bytes as a segment, singly and by two, and any values there and
 * back; vector and plain code must agree. */
#include "tests/fuzz/fuzz.h"
#include "entropy/rows.h"

enum { TOKENS = 24, COEFS = 100, STRIPS = (COEFS + 31) / 32, N = TOKENS * COEFS };

typedef struct content {
    tsri_rows *rows;
    uint8_t cls[2][COEFS], which[TOKENS];
    _Alignas(64) tsri_rows_strip strips[2][STRIPS];
    const tsri_rows_strip *sets[2];
    int16_t q[N];
    int8_t r[N];
    tsri_rows_matrix m;
    void *scratch;
} content;

static tsr_error decode(const content *c, bool plain, bool refine,
                        const uint8_t *data, size_t size, int16_t *q)
{
    const unsigned cpu = fuzz_context(plain)->cpu;
    tsri_rows_matrix to = c->m;

    to.q = q;
    memcpy(q, c->q, sizeof c->q);
    return (refine ? tsri_rows_refine_decode : tsri_rows_decode)
        (c->rows, cpu, data, size, 7, &to, c->scratch);
}

static void any_bytes(const content *c, const fuzz_input *in, bool refine)
{
    static int16_t q[3][N];
    uint8_t *copy = fuzz_copy(in);
    const tsr_error error = decode(c, false, refine, copy, in->size, q[0]);

    FUZZ_CHECK(decode(c, true, refine, copy, in->size, q[1]) == error);
    FUZZ_CHECK(error || !memcmp(q[0], q[1], sizeof q[0]));
    tsri_rows_segment two[2] = { { copy, in->size, 7, c->m },
                                 { copy, in->size, 7, c->m } };
    for (int i = 0; i < 2; i++) {
        two[i].m.q = q[1 + i];
        memcpy(q[1 + i], c->q, sizeof c->q);
    }
    FUZZ_CHECK(tsri_rows_decode_pair(c->rows, fuzz_context(false)->cpu, two,
                                     refine, c->scratch) == error);
    for (int i = 1; i < 3 && !error; i++)
        FUZZ_CHECK(!memcmp(q[0], q[i], sizeof q[0]));
    free(copy);
}

static size_t encode(const content *c, bool plain, bool refine, uint8_t *out)
{
    const unsigned cpu = fuzz_context(plain)->cpu;

    return refine ? tsri_rows_refine_encode(c->rows, cpu, &c->m, c->r, COEFS, 7,
                                            out, c->scratch)
                  : tsri_rows_encode(c->rows, cpu, &c->m, 7, out, c->scratch);
}

static void round_trip(const content *c, bool refine)
{
    static int16_t got[N];
    const size_t bound = tsri_rows_bound(c->m.tokens, c->m.coefs);
    uint8_t *out[2] = { malloc(bound), malloc(bound) };

    FUZZ_CHECK(out[0] && out[1]);
    const size_t size = encode(c, false, refine, out[0]);
    FUZZ_CHECK(size <= bound && encode(c, true, refine, out[1]) == size);
    FUZZ_CHECK(!memcmp(out[0], out[1], size));
    FUZZ_CHECK(!decode(c, false, refine, out[0], size, got));
    for (int i = 0; i < N; i++) {
        const bool inside = i / COEFS < c->m.tokens && i % COEFS < c->m.coefs;
        FUZZ_CHECK(got[i] == (refine && inside ? 3 * c->q[i] + c->r[i] : c->q[i]));
    }
    free(out[0]);
    free(out[1]);
}

static void fill(content *c, fuzz_input *in, bool refine)
{
    const uint32_t spread = fuzz_u8(in), seed = fuzz_u8(in);

    c->m = (tsri_rows_matrix){ c->q, COEFS, 1 + (int)fuzz_below(in, TOKENS),
                               1 + (int)fuzz_below(in, COEFS), c->sets,
                               seed & 2 ? c->which : NULL };
    for (int set = 0; set < 2; set++) {
        for (int i = 0; i < COEFS; i++)
            c->cls[set][i] = (uint8_t)((seed / 4 * (uint32_t)(i + set) +
                                        (uint32_t)set * 9) % (1 + spread % 64));
        tsri_rows_prepare(c->rows, c->cls[set], c->m.coefs, c->strips[set]);
        c->sets[set] = c->strips[set];
    }
    for (int t = 0; t < TOKENS; t++)
        c->which[t] = fuzz_at(in, (size_t)t) & 1;
    for (int i = 0; i < N; i++) {
        const uint32_t v = fuzz_at(in, (size_t)i);
        const int wide = (int)(v * v * v % 65535) - 32767;
        const int q = spread & 64 && v % 8 == 0 ? wide : (int)(v % 31) - 15;
        c->q[i] = (int16_t)(refine ? q % 10923 : q);
        c->r[i] = (int8_t)((int)(v / 3 % 3) - 1);
    }
}

void fuzz_target(const uint8_t *data, size_t size)
{
    static content c;
    tsr_context *ctx = fuzz_context(false);
    fuzz_input in = { data, size };
    const uint32_t way = fuzz_u8(&in);

    if (!c.rows) {
        FUZZ_CHECK(!tsri_rows_open(&c.rows, ctx));
        c.scratch = tsri_alloc(ctx, 1, tsri_rows_scratch(TOKENS, COEFS));
        FUZZ_CHECK(c.scratch);
    }
    fill(&c, &in, way & 2);
    if (way & 1)
        round_trip(&c, way & 2);
    else
        any_bytes(&c, &in, way & 2);
}
