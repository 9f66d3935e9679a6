/* SPDX-License-Identifier: BSD-2-Clause */
#include <math.h>
#include "tests/check.h"
#include "entropy/rows_impl.h"
#include "lib/core.h"

enum {
    SETS = 3, MAX_TOKENS = 40, MAX_COEFS = 160, PAD = 5,
    PITCH = MAX_COEFS + PAD,
    STRIPS = (MAX_COEFS + 31) / 32,
    GUARD = 0x5a5a
};

typedef struct fixture {
    tsr_context *ctx;
    tsri_rows *rows;
    uint8_t cls[SETS][MAX_COEFS], which[MAX_TOKENS];
    tsri_rows_strip strips[SETS][STRIPS];
    const tsri_rows_strip *sets[SETS];
    int16_t q[MAX_TOKENS * PITCH];
    int8_t r[MAX_TOKENS * PITCH];
    void *scratch;
} fixture;

static fixture *open_fixture(void)
{
    tsr_context *ctx = check_context("c", 1);
    fixture *f = tsri_calloc(ctx, 1, sizeof *f);

    f->ctx = ctx;
    assert_int_equal(tsri_rows_open(&f->rows, f->ctx), TSR_OK);
    f->scratch = tsri_alloc(f->ctx, 1, tsri_rows_scratch(MAX_TOKENS, MAX_COEFS));
    for (int i = 0; i < SETS; i++)
        f->sets[i] = f->strips[i];
    return f;
}

static void close_fixture(fixture *f)
{
    tsri_free(f->ctx, f->scratch);
    tsri_rows_close(&f->rows, f->ctx);
    assert_null(f->rows);
    tsr_context *ctx = f->ctx;
    tsri_free(ctx, f);
    tsr_context_close(&ctx);
}

/* A Laplacian of the class's mean magnitude. */
static int16_t draw(check_rng *r, int cls)
{
    const double mean = exp2((cls - 14) / 4.0);
    const double b = 1 / (2 * asinh(1 / (2 * mean)));
    const double u = (check_u32(r) + 1.0) / 4294967297.0;
    const long v = lrint(fmin(-b * log(u), 32767));
    return (int16_t)(check_u32(r) & 1 ? -v : v);
}

/* Kinds of values: as the class says, wilder ones among them, extremes only,
 * zeros only.  Classes: one, all, few low ones. */
static tsri_rows_matrix fill(fixture *f, check_rng *r, int tokens, int coefs,
                             int kind, int classes)
{
    const tsri_rows_matrix m = { f->q, PITCH, tokens, coefs, f->sets,
                                 kind % 2 ? f->which : NULL };

    for (int set = 0; set < SETS; set++) {
        const int one = (int)check_below(r, TSRI_ROWS_CLASSES);
        for (int c = 0; c < coefs; c++)
            f->cls[set][c] = (uint8_t)(classes == 0 ? one : (int)check_below(r,
                             classes == 1 ? TSRI_ROWS_CLASSES : 26));
        tsri_rows_prepare(f->rows, f->cls[set], coefs, f->strips[set]);
    }
    for (int t = 0; t < tokens; t++) {
        f->which[t] = (uint8_t)check_below(r, SETS);
        for (int c = 0; c < PITCH; c++) {
            int16_t *q = &f->q[t * PITCH + c];
            f->r[t * PITCH + c] = (int8_t)((int)check_below(r, 3) - 1);
            if (c >= coefs)
                *q = GUARD;
            else if (kind == 3)
                *q = 0;
            else if (kind == 2 || (kind == 1 && !check_below(r, 16)))
                *q = (int16_t)(check_below(r, 3) ? (int)check_below(r, 65535) - 32767
                               : check_u32(r) & 1 ? 32767 : -32767);
            else
                *q = draw(r, f->cls[m.which ? f->which[t] : 0][c]);
        }
    }
    return m;
}

/* ---- against the general coder ---- */

typedef struct general {
    tsri_bank *bank;        /* values, then refinements: 64 + 3 * 64; uniform */
    tsri_rans_enc *enc;
} general;

enum { REFINE = TSRI_ROWS_CLASSES, UNIFORM = 4 * TSRI_ROWS_CLASSES };

static void open_general(general *g, const fixture *f)
{
    uint16_t *freq = calloc(256 * 32 + 4096, sizeof *freq), *to = freq;
    uint16_t sizes[UNIFORM + 12];

    for (int c = 0; c < TSRI_ROWS_CLASSES; c++, to += 31) {
        memcpy(to, f->rows->freq[c], 31 * sizeof *to);
        sizes[c] = 31;
    }
    for (int i = 0; i < 3 * TSRI_ROWS_CLASSES; i++, to += 3) {
        memcpy(to, f->rows->refine[i / 3][i % 3], 3 * sizeof *to);
        sizes[REFINE + i] = 3;
    }
    for (int k = 0; k <= 11; k++) {
        sizes[UNIFORM + k] = (uint16_t)(1 << k);
        for (int i = 0; i < 1 << k; i++)
            *to++ = (uint16_t)(4096 >> k);
    }
    assert_int_equal(tsri_bank_open_sparse(&g->bank, f->ctx, 12, freq, sizes,
                                           UNIFORM + 12), TSR_OK);
    assert_int_equal(tsri_rans_enc_open(&g->enc, f->ctx), TSR_OK);
    free(freq);
}

static void close_general(general *g, const fixture *f)
{
    tsri_rans_enc_close(&g->enc);
    tsri_bank_close(&g->bank, f->ctx);
}

static void put(general *g, const uint16_t *table, const uint16_t *sym, int n)
{
    assert_int_equal(tsri_rans_put(g->enc, g->bank, table, 0, sym, (size_t)n),
                     TSR_OK);
}

/* A strip by docs/entropy.md, with numbers as they come. */
static void put_strip(general *g, const tsri_rows *rows, const uint8_t *cls,
                      const int16_t *q, int n)
{
    uint16_t table[32], sym[32];
    int hi[32], low[32], k[32], left[32], any = 0, open = 0;

    for (int i = 0; i < n; i++) {
        k[i] = cls[i] < 22 ? 0 : (cls[i] - 18) / 4;
        any |= k[i];
        hi[i] = (int)floor((q[i] + (k[i] ? 1 << (k[i] - 1) : 0)) / exp2(k[i]));
        low[i] = q[i] + (k[i] ? 1 << (k[i] - 1) : 0) - hi[i] * (1 << k[i]);
        left[i] = abs(hi[i]) - 1;
        for (int a = 1; a < 15 && rows->freq[cls[i]][2 * a]; a++)
            left[i] = abs(hi[i]) - a - 1;
        table[i] = cls[i];
        sym[i] = (uint16_t)(2 * (left[i] < 0 ? abs(hi[i]) : 15) - (hi[i] < 0));
        open += left[i] >= 0;
    }
    put(g, table, sym, n);
    for (int i = 0; i < n; i++) {
        table[i] = (uint16_t)(UNIFORM + k[i]);
        sym[i] = (uint16_t)low[i];
    }
    if (any)
        put(g, table, sym, n);
    while (open) {
        for (int i = 0; i < n; i++) {
            table[i] = (uint16_t)(UNIFORM + (left[i] < 0 ? 0 : 4));
            sym[i] = (uint16_t)(left[i] < 0 ? 0 : left[i] < 8 ? left[i] : 8 + left[i] % 8);
            open -= left[i] >= 0 && left[i] < 8;
            left[i] = left[i] < 8 ? -1 : left[i] / 8;
        }
        put(g, table, sym, n);
    }
}

static void put_refinement(general *g, const uint8_t *cls, const int16_t *q,
                           const int8_t *r, int n)
{
    uint16_t table[32], sym[32];

    for (int i = 0; i < n; i++) {
        table[i] = (uint16_t)(REFINE + 3 * cls[i] + (abs(q[i]) > 2 ? 2 : abs(q[i])));
        sym[i] = (uint16_t)((q[i] < 0 ? -r[i] : r[i]) + 1);
    }
    put(g, table, sym, n);
}

/* The same segment by the general coder. */
static void check_general(general *g, const fixture *f,
                          const tsri_rows_matrix *m, bool refine, uint32_t crc,
                          const uint8_t *data, size_t size)
{
    const uint8_t *got;
    size_t got_size;

    for (int t = 0; t < m->tokens; t++)
        for (int c = 0; c < m->coefs; c += 32) {
            const uint8_t *cls = f->cls[m->which ? m->which[t] : 0] + c;
            const size_t at = (size_t)t * m->pitch + (size_t)c;
            const int n = m->coefs - c < 32 ? m->coefs - c : 32;
            if (refine)
                put_refinement(g, cls, m->q + at, f->r + at, n);
            else
                put_strip(g, f->rows, cls, m->q + at, n);
        }
    assert_int_equal(tsri_rans_finish(g->enc, crc, 32, &got, &got_size), TSR_OK);
    assert_int_equal(got_size, size);
    assert_memory_equal(got, data, size);
}

/* ---- round trips ---- */

static uint8_t *exact(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);
    memcpy(copy, data, size);
    return copy;
}

static size_t encode(fixture *f, unsigned cpu, const tsri_rows_matrix *m,
                     bool refine, uint32_t crc, uint8_t **out)
{
    const size_t bound = tsri_rows_bound(m->tokens, m->coefs);
    uint8_t *room = malloc(bound);
    const size_t size = refine
        ? tsri_rows_refine_encode(f->rows, cpu, m, f->r, PITCH, crc, room, f->scratch)
        : tsri_rows_encode(f->rows, cpu, m, crc, room, f->scratch);
    assert_true(size <= bound);
    *out = exact(room, size);   /* ends where its memory ends */
    free(room);
    return size;
}

static tsr_error decode(fixture *f, unsigned cpu, const uint8_t *data,
                        size_t size, uint32_t crc, const tsri_rows_matrix *m,
                        bool refine)
{
    return refine
        ? tsri_rows_refine_decode(f->rows, cpu, data, size, crc, m, f->scratch)
        : tsri_rows_decode(f->rows, cpu, data, size, crc, m, f->scratch);
}

/* q = 3 * q + r must stay what 16 bits hold. */
static void shrink(fixture *f, int coefs)
{
    for (int i = 0; i < MAX_TOKENS * PITCH; i++)
        if (i % PITCH < coefs)
            f->q[i] = (int16_t)(f->q[i] % 10923);
}

static void round_trip(fixture *f, general *g, const tsri_rows_matrix *m,
                       bool refine)
{
    static int16_t got[2][MAX_TOKENS * PITCH], want[MAX_TOKENS * PITCH];
    const uint32_t crc = 0x12345678u * (uint32_t)m->tokens;
    uint8_t *data[2];
    size_t size[2];

    for (int i = 0; i < MAX_TOKENS * PITCH; i++)
        want[i] = (int16_t)(refine && i % PITCH < m->coefs ? 3 * f->q[i] + f->r[i]
                                                       : f->q[i]);
    for (int plain = 0; plain < 2; plain++)
        size[plain] = encode(f, plain ? 0 : f->ctx->cpu, m, refine, crc,
                             &data[plain]);
    assert_int_equal(size[0], size[1]);
    assert_memory_equal(data[0], data[1], size[0]);
    check_general(g, f, m, refine, crc, data[1], size[1]);
    for (int plain = 0; plain < 2; plain++) {
        tsri_rows_matrix to = *m;
        to.q = got[plain];
        memcpy(got[plain], f->q, sizeof f->q);
        for (int t = 0; t < m->tokens && !refine; t++)
            memset(got[plain] + t * PITCH, 0x77, 2 * (size_t)m->coefs);
        assert_int_equal(decode(f, plain ? 0 : f->ctx->cpu, data[plain],
                                size[plain], crc, &to, refine), TSR_OK);
        for (int t = 0; t < m->tokens; t++)
            assert_memory_equal(got[plain] + t * PITCH, want + t * PITCH,
                                2 * PITCH); /* and nothing behind it */
        assert_int_equal(decode(f, plain ? 0 : f->ctx->cpu, data[plain],
                                size[plain], crc + 1, &to, refine),
                         TSR_E_CORRUPT);
        free(data[plain]);
    }
}

/* Two segments of unlike widths in one call are what they are singly, and one
 * that is damaged is found, be it the first or the second. */
static void check_pair(fixture *f, check_rng *r, int tokens, bool refine)
{
    static int16_t values[2][MAX_TOKENS * PITCH], want[2][MAX_TOKENS * PITCH];
    const int split = 32 * (int)check_below(r, STRIPS);
    const int coefs = split + 1 + (int)check_below(r, (uint32_t)(MAX_COEFS - split));
    tsri_rows_matrix m = fill(f, r, tokens, coefs, 1 - refine, 1);
    const tsri_rows_strip *sets[SETS];
    tsri_rows_segment s[2] = { { .crc = 1, .m = m }, { .crc = 2, .m = m } };
    uint8_t *data[2];

    if (refine)
        shrink(f, coefs);
    for (int i = 0; i < SETS; i++)
        sets[i] = f->sets[i] + split / 32;
    s[0].m.coefs = split ? split : coefs;
    s[1].m.coefs = coefs - split;
    s[1].m.strips = sets;
    for (int i = 0; i < 2; i++) {
        const size_t at = i ? (size_t)split : 0;
        s[i].m.q = f->q + at;
        memmove(f->r, f->r + at, sizeof f->r - at);
        s[i].size = encode(f, f->ctx->cpu, &s[i].m, refine, s[i].crc, &data[i]);
        s[i].data = data[i];
        memcpy(want[i], f->q, sizeof f->q);
        memcpy(values[i], f->q, sizeof f->q);
        s[i].m.q = want[i] + at;
        assert_int_equal(decode(f, f->ctx->cpu, data[i], s[i].size, s[i].crc,
                                &s[i].m, refine), TSR_OK);
    }
    for (int plain = 0; plain < 2; plain++)
        for (int broken = -1; broken < 2; broken++) {
            for (int i = 0; i < 2; i++) {
                memcpy(values[i], f->q, sizeof f->q);
                s[i].m.q = values[i] + (i ? split : 0);
                s[i].crc ^= i == broken;
            }
            assert_int_equal(tsri_rows_decode_pair(f->rows, plain ? 0 : f->ctx->cpu,
                             s, refine, f->scratch), broken < 0 ? TSR_OK
                                                                : TSR_E_CORRUPT);
            for (int i = 0; i < 2 && broken < 0; i++)
                assert_memory_equal(values[i], want[i], sizeof *want);
            if (broken >= 0)
                s[broken].crc ^= 1;
        }
    free(data[0]);
    free(data[1]);
}

static void test_pairs(void **state)
{
    fixture *f = open_fixture();
    check_rng r = { 6 };
    (void)state;

    for (int i = 0; i < 200; i++)
        check_pair(f, &r, 1 + (int)check_below(&r, MAX_TOKENS), i % 3 == 2);
    close_fixture(f);
}

static void test_round_trip(void **state)
{
    static const int coefs[] = { 1, 2, 31, 32, 33, 63, 64, 65, 96, 100, 128, 160 };
    fixture *f = open_fixture();
    check_rng r = { 1 };
    general g;
    (void)state;

    open_general(&g, f);
    for (int i = 0; i < 12; i++)
        for (int kind = 0; kind < 4; kind++)
            for (int classes = 0; classes < 3; classes++)
                for (int tokens = 1; tokens <= MAX_TOKENS;
                     tokens = 2 * tokens + (int)check_below(&r, 3)) {
                    const tsri_rows_matrix m = fill(f, &r, tokens, coefs[i], kind,
                                                    classes);
                    round_trip(f, &g, &m, false);
                    shrink(f, m.coefs);
                    round_trip(f, &g, &m, true);
                }
    close_general(&g, f);
    close_fixture(f);
}

/* Values whose escapes take 1 to 5 groups, at both ends of each, in classes
 * with and without raw bits. */
static void test_escapes(void **state)
{
    fixture *f = open_fixture();
    check_rng r = { 2 };
    general g;
    (void)state;

    open_general(&g, f);
    for (int cls = 0; cls < TSRI_ROWS_CLASSES; cls++) {
        const tsri_rows_matrix m = fill(f, &r, MAX_TOKENS, 64, 3, 0);
        const int k = f->rows->low[cls];
        memset(f->cls[0], cls, sizeof f->cls[0]);
        tsri_rows_prepare(f->rows, f->cls[0], 64, f->strips[0]);
        for (int t = 0; t < MAX_TOKENS; t++) {
            static const int edge[] = { 14, 15, 16, 22, 23, 78, 79, 526, 527, 4110, 4111, 32767 };
            f->which[t] = 0;
            for (int n = (int)check_below(&r, 4); n--;) {
                const long v = ((long)edge[check_below(&r, 12)] << k) +
                               (long)check_below(&r, 3) - 1;
                f->q[t * PITCH + (int)check_below(&r, 64)] =
                    (int16_t)((v > 32767 ? 32767 : v) * (check_u32(&r) & 1 ? -1 : 1));
            }
        }
        round_trip(f, &g, &m, false);
    }
    close_general(&g, f);
    close_fixture(f);
}

/* Cut and changed: an error, or by a rare chance not, but never a read behind
 * the end (with sanitizers), and both decoders agree. */
static void check_damaged(fixture *f, const tsri_rows_matrix *m, bool refine,
                          const uint8_t *data, size_t size, int *passed)
{
    static int16_t got[2][MAX_TOKENS * PITCH];
    uint8_t *copy = exact(data, size);
    tsr_error error[2];

    for (int plain = 0; plain < 2; plain++) {
        tsri_rows_matrix to = *m;
        to.q = got[plain];
        memcpy(got[plain], f->q, sizeof f->q);
        error[plain] = decode(f, plain ? 0 : f->ctx->cpu, copy, size, 7, &to,
                              refine);
    }
    assert_int_equal(error[0], error[1]);
    if (!error[0])
        assert_memory_equal(got[0], got[1], sizeof got[0]);
    *passed += !error[0];
    free(copy);
}

static void test_damage(void **state)
{
    fixture *f = open_fixture();
    check_rng r = { 3 };
    int passed = 0;
    (void)state;

    for (int i = 0; i < 120; i++) {
        const bool refine = i % 4 == 3;
        const tsri_rows_matrix m = fill(f, &r, 1 + (int)check_below(&r, 12),
                                        1 + (int)check_below(&r, 100), i % 3, i % 5 % 3);
        uint8_t *data;
        if (refine)
            shrink(f, m.coefs);
        const size_t size = encode(f, f->ctx->cpu, &m, refine, 7, &data);
        for (size_t cut = 0; cut < size; cut += 1 + check_below(&r, 40))
            check_damaged(f, &m, refine, data, cut, &passed);
        check_damaged(f, &m, refine, data, size, &passed);
        for (int k = 0; k < 60; k++) {
            const size_t at = check_below(&r, k % 2 ? (uint32_t)size : 140) % size;
            const uint8_t was = data[at];
            data[at] ^= (uint8_t)(1 << check_below(&r, 8));
            check_damaged(f, &m, refine, data, size, &passed);
            data[at] = was;
        }
        free(data);
    }
    assert_in_range(passed, 120, 122); /* the whole ones, and chance */
    close_fixture(f);
}

/* A refinement of values that 3 times as large do not fit. */
static void test_too_large(void **state)
{
    fixture *f = open_fixture();
    check_rng r = { 4 };
    (void)state;

    for (int at = 0; at < 64; at += 7)
        for (int sign = -1; sign < 2; sign += 2) {
            const tsri_rows_matrix m = fill(f, &r, 1, 64, 0, 2);
            uint8_t *data;
            memset(f->q, 0, 128);
            f->q[at] = (int16_t)(sign * 10923);
            const size_t size = encode(f, 0, &m, true, 0, &data);
            for (int plain = 0; plain < 2; plain++)
                assert_int_equal(decode(f, plain ? 0 : f->ctx->cpu, data, size, 0,
                                        &m, true), TSR_E_CORRUPT);
            free(data);
        }
    close_fixture(f);
}

/* ---- tables and classes ---- */

static void test_tables(void **state)
{
    fixture *f = open_fixture();
    (void)state;

    for (int c = 0; c < TSRI_ROWS_CLASSES; c++) {
        const uint16_t *t = f->rows->freq[c];
        int sum = t[0];
        for (int a = 1; a <= 15; a++) {
            assert_int_equal(t[2 * a], t[2 * a - 1]);
            assert_int_equal(t[2 * a] > 0, a <= f->rows->reach[c] || a == 15);
            assert_true(a == 1 || a == 15 || t[2 * a] <= t[2 * a - 2]);
            sum += 2 * t[2 * a];
        }
        assert_true(t[0] >= 1 && t[0] < 4096);
        assert_int_equal(sum, 4096);
        assert_int_equal(t[31], 0);
        for (int kind = 0; kind < 3; kind++) {
            const uint16_t *u = f->rows->refine[c][kind];
            assert_true(u[0] >= 1 && u[1] >= 1 && u[2] >= 1);
            assert_int_equal(u[0] + u[1] + u[2], 4096);
            assert_true(kind || abs(u[0] - u[2]) <= 1);
        }
    }
    close_fixture(f);
}

/* Magnitudes of a generalised Gaussian of exponent 1.5, that is what the
 * classes mean: p[0..most]. */
static void magnitudes(double mean, double *p, int most)
{
    const double a = mean * tgamma(2 / 3.0) / tgamma(4 / 3.0);
    const int steps = most < 1000 ? 256 : 16;
    double all = 0;

    for (int v = 0; v <= most; v++) {
        p[v] = 0;
        for (int i = 0; i < steps; i++) {
            const double x = v ? v - 0.5 + (i + 0.5) / steps : (i + 0.5) / steps / 2;
            p[v] += exp(-pow(x / a, 1.5)) * (v ? 1 : 0.5);
        }
        all += p[v];
    }
    for (int v = 0; v <= most; v++)
        p[v] /= all;
}

static void test_classes(void **state)
{
    static double p[32768];
    (void)state;

    assert_int_equal(tsri_rows_class(0, 1), 0);
    assert_int_equal(tsri_rows_class(0, UINT32_MAX), 0);
    assert_int_equal(tsri_rows_class(32767ull * 4096, 4096), 63);
    assert_int_equal(tsri_rows_class(UINT64_MAX, 1), 63);
    assert_int_equal(tsri_rows_class(UINT64_MAX, UINT32_MAX), 63);
    for (int c = 2; c < TSRI_ROWS_CLASSES; c++) {
        const double mean = exp2((c - 14) / 4.0);
        double rounded = 0;
        magnitudes(mean, p, tsri_min((int)(10 * mean) + 20, 32767));
        for (int v = 1; v < (int)(10 * mean) + 20 && v < 32768; v++)
            rounded += v * p[v];
        for (uint32_t n = 4096; n <= 1u << 20; n <<= 8)
            assert_int_equal(tsri_rows_class((uint64_t)(rounded * n + 0.5), n), c);
    }
    for (uint32_t n = 1; n < 5000; n = n * 3 / 2 + 1) {
        int last = 0;
        for (uint64_t sum = 0; sum < 32767ull * n; sum = sum * 17 / 16 + 1) {
            const int c = tsri_rows_class(sum, n);
            assert_true(c >= last && c < TSRI_ROWS_CLASSES);
            last = c;
        }
    }
}

/* What a value costs in its class is near the entropy of its distribution. */
static void test_cost(void **state)
{
    static double p[32768];
    fixture *f = open_fixture();
    (void)state;

    for (int c = 0; c < TSRI_ROWS_CLASSES - 8; c++) {
        const double mean = exp2((c - 14) / 4.0);
        const int most = tsri_min((int)(10 * mean) + 20, 32767);
        const int k = f->rows->low[c], reach = f->rows->reach[c];
        double entropy = 0, cost = 0;
        magnitudes(mean, p, most);
        for (int v = 0; v <= most && p[v] > 1e-15; v++) {
            double bits = 0;
            for (int sign = -1; sign < 2; sign += 2) {
                const int hi = abs((sign * v + (1 << k >> 1)) >> k);
                bits += 12 + k - log2(f->rows->freq[c][hi <= reach ? 2 * hi : 30]);
                for (int e = hi - reach - 1; e >= 0; e = e > 7 ? e / 8 : -1)
                    bits += 4;
            }
            entropy -= p[v] * log2(v ? p[v] / 2 : p[v]);
            cost += p[v] * bits / 2;
        }
        assert_true(cost < entropy * 1.015 + 0.004);
    }
    close_fixture(f);
}

/* The same of refinements: r costs what is known better with it. */
static void test_refinement_cost(void **state)
{
    static double p[4096];
    fixture *f = open_fixture();
    (void)state;

    for (int c = 0; c < 46; c++) {
        double entropy = 0, cost = 0;
        magnitudes(exp2((c - 14) / 4.0), p, 3 * 1300 + 1);
        for (int q0 = -1300; q0 <= 1300; q0++) {
            double part[3], all = 0;
            for (int s = 0; s < 3; s++) {
                const int q = 3 * q0 + s - 1;
                all += part[s] = p[abs(q)] / (q ? 2 : 1);
            }
            for (int s = 0; s < 3 && all > 1e-15; s++) {
                const uint16_t *t = f->rows->refine[c][tsri_min(abs(q0), 2)];
                entropy -= part[s] > 0 ? part[s] * log2(part[s] / all) : 0;
                cost += part[s] * (12 - log2(t[q0 < 0 ? 2 - s : s]));
            }
        }
        assert_true(cost < entropy * 1.01 + 0.004);
    }
    close_fixture(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_pairs),
        cmocka_unit_test(test_escapes),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_too_large),
        cmocka_unit_test(test_tables),
        cmocka_unit_test(test_classes),
        cmocka_unit_test(test_cost),
        cmocka_unit_test(test_refinement_cost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
