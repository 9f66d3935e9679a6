/* SPDX-License-Identifier: BSD-2-Clause */
/* One token between a cache and quantised rows.  A head is up to three runs: in
 * front of the pairs that turn, those, and behind them; all of whole vectors. */
#include "codecs/kv/x86/floats_avx2.h"
#include "codecs/kv/x86/tile_avx2.h"

/* Cosines and sines of the token, pair by pair or, for halves, apart. */
typedef struct turns {
    int layout, offset, pairs;
    const float *cs;
    _Alignas(32) float c[TSRI_ROPE_ANGLES / 2];
    _Alignas(32) float s[TSRI_ROPE_ANGLES / 2];
} turns;

static void prepare(turns *t, const tsri_kv_line *line, bool back)
{
    const __m256 sign = _mm256_set1_ps(back ? -0.0f : 0);

    t->layout = line->rope->layout;
    t->offset = t->layout ? line->rope->offset : line->dim;
    t->pairs = t->layout ? line->rope->dims / 2 : 0;
    t->cs = line->cs;
    for (int i = 0; t->layout == 1 && i < t->pairs; i += 8) {
        __m256 c, s;
        tsri_part8(t->cs + 2 * i, &c, &s);
        _mm256_store_ps(t->c + i, c);
        _mm256_store_ps(t->s + i, _mm256_xor_ps(s, sign));
    }
}

/* ---- to rows ---- */

typedef struct rows {
    const float *m;
    int16_t *q;
    uint32_t *sum;
    __m256 inverse;
    __m128i boost;
    __m256i most;
} rows;

/* What does not fit has the magnitude 2^31 after the conversion, NaN as well:
 * it shows in `most`, and its q does not matter any more. */
TSRI_INLINE void put8(rows *r, size_t at, __m256 y)
{
    const __m256i q = _mm256_cvtps_epi32(_mm256_mul_ps(
        _mm256_sub_ps(y, _mm256_loadu_ps(r->m + at)), r->inverse));
    const __m256i a = _mm256_abs_epi32(q);

    tsri_store_q8(q, r->q + at);
    r->most = _mm256_max_epu32(r->most, a);
    if (r->sum) {
        __m256i *sum = (__m256i *)(r->sum + at);
        _mm256_storeu_si256(sum, _mm256_add_epi32(
            _mm256_loadu_si256(sum), _mm256_srl_epi32(a, r->boost)));
    }
}

/* Numbers first .. end - 1 of a head, whose first has the index `at`. */
TSRI_INLINE void load_run(tsr_kv_dtype dtype, const uint8_t *from, int first,
                          int end, size_t at, rows *r)
{
    const size_t bytes = tsri_bytes8(dtype) / 8;

    for (size_t i = (size_t)first; i < (size_t)end; i += 8)
        put8(r, at + i, tsri_load8(dtype, from + i * bytes));
}

TSRI_INLINE void load_halves(tsr_kv_dtype dtype, const uint8_t *from, size_t at,
                             const turns *t, rows *r)
{
    const size_t bytes = tsri_bytes8(dtype) / 8, half = (size_t)t->pairs;

    for (size_t i = 0; i < half; i += 8) {
        const uint8_t *in = from + ((size_t)t->offset + i) * bytes;
        __m256 x1 = tsri_load8(dtype, in);
        __m256 x2 = tsri_load8(dtype, in + half * bytes);
        tsri_turn8(&x1, &x2, _mm256_load_ps(t->c + i), _mm256_load_ps(t->s + i));
        put8(r, at + (size_t)t->offset + i, x1);
        put8(r, at + (size_t)t->offset + i + half, x2);
    }
}

TSRI_INLINE void load_neighbours(tsr_kv_dtype dtype, const uint8_t *from,
                                 size_t at, const turns *t, rows *r)
{
    const size_t bytes = tsri_bytes8(dtype) / 8;
    const __m256 minus = _mm256_set1_ps(-0.0f);

    for (size_t i = 0; i < 2 * (size_t)t->pairs; i += 8) {
        const size_t d = (size_t)t->offset + i;
        put8(r, at + d, tsri_turn4(tsri_load8(dtype, from + d * bytes),
                                   _mm256_loadu_ps(t->cs + i), minus));
    }
}

TSRI_INLINE void load_all(tsr_kv_dtype dtype, const tsri_kv_line *line,
                          const uint8_t *from, const turns *t, rows *r)
{
    rows own = *r;

    for (int h = 0; h < line->heads; h++, from += line->stride) {
        const size_t at = (size_t)h * (size_t)line->dim;
        load_run(dtype, from, 0, t->offset, at, &own);
        if (t->layout == 1)
            load_halves(dtype, from, at, t, &own);
        else
            load_neighbours(dtype, from, at, t, &own);
        load_run(dtype, from, t->offset + 2 * t->pairs, line->dim, at, &own);
    }
    r->most = own.most;
}

bool tsri_kv_load_avx2(const tsri_kv_line *line, const uint8_t *from,
                       float inverse, int boost, int16_t *q, uint32_t *sum)
{
    rows r = { line->m, q, sum, _mm256_set1_ps(inverse),
               _mm_cvtsi32_si128(boost), _mm256_setzero_si256() };
    turns t;

    prepare(&t, line, false);
    switch (line->dtype) {
    case TSR_KV_F16:
        load_all(TSR_KV_F16, line, from, &t, &r);
        break;
    case TSR_KV_BF16:
        load_all(TSR_KV_BF16, line, from, &t, &r);
        break;
    case TSR_KV_F32:
        load_all(TSR_KV_F32, line, from, &t, &r);
        break;
    case TSR_KV_E4M3:
        load_all(TSR_KV_E4M3, line, from, &t, &r);
        break;
    case TSR_KV_E5M2:
        load_all(TSR_KV_E5M2, line, from, &t, &r);
        break;
    }
    return tsri_most8(r.most) <= 32767;
}

/* ---- and back ---- */

typedef struct values {
    const float *m;
    const int16_t *q;
    __m256 step;
} values;

TSRI_INLINE __m256 get8(const values *v, size_t at)
{
    return tsri_dequantise8(v->q + at, _mm256_loadu_ps(v->m + at), v->step);
}

TSRI_INLINE void store_run(tsr_kv_dtype dtype, const values *v, size_t at,
                           int first, int end, uint8_t *to)
{
    const size_t bytes = tsri_bytes8(dtype) / 8;

    for (size_t i = (size_t)first; i < (size_t)end; i += 8)
        tsri_store8(dtype, get8(v, at + i), false, to + i * bytes);
}

TSRI_INLINE void store_halves(tsr_kv_dtype dtype, const values *v, size_t at,
                              const turns *t, uint8_t *to)
{
    const size_t bytes = tsri_bytes8(dtype) / 8, half = (size_t)t->pairs;

    at += (size_t)t->offset;
    to += (size_t)t->offset * bytes;
    for (size_t i = 0; i < half; i += 8) {
        __m256 x1 = get8(v, at + i), x2 = get8(v, at + i + half);
        tsri_turn8(&x1, &x2, _mm256_load_ps(t->c + i), _mm256_load_ps(t->s + i));
        tsri_store8(dtype, x1, false, to + i * bytes);
        tsri_store8(dtype, x2, false, to + (i + half) * bytes);
    }
}

TSRI_INLINE void store_neighbours(tsr_kv_dtype dtype, const values *v, size_t at,
                                  const turns *t, uint8_t *to)
{
    const size_t bytes = tsri_bytes8(dtype) / 8;

    for (size_t i = 0; i < 2 * (size_t)t->pairs; i += 8) {
        const size_t d = (size_t)t->offset + i;
        const __m256 x = tsri_turn4(get8(v, at + d), _mm256_loadu_ps(t->cs + i),
                                    _mm256_setzero_ps());
        tsri_store8(dtype, x, false, to + d * bytes);
    }
}

TSRI_INLINE void store_all(tsr_kv_dtype dtype, const tsri_kv_line *line,
                           const values *from, const turns *t, uint8_t *to)
{
    const values v = *from;

    for (int h = 0; h < line->heads; h++, to += line->stride) {
        const size_t at = (size_t)h * (size_t)line->dim;
        store_run(dtype, &v, at, 0, t->offset, to);
        if (t->layout == 1)
            store_halves(dtype, &v, at, t, to);
        else
            store_neighbours(dtype, &v, at, t, to);
        store_run(dtype, &v, at, t->offset + 2 * t->pairs, line->dim, to);
    }
}

void tsri_kv_store_avx2(const tsri_kv_line *line, const int16_t *q, float step,
                        uint8_t *to)
{
    const values v = { line->m, q, _mm256_set1_ps(step) };
    turns t;

    prepare(&t, line, true);
    switch (line->dtype) {
    case TSR_KV_F16:
        store_all(TSR_KV_F16, line, &v, &t, to);
        break;
    case TSR_KV_BF16:
        store_all(TSR_KV_BF16, line, &v, &t, to);
        break;
    case TSR_KV_F32:
        store_all(TSR_KV_F32, line, &v, &t, to);
        break;
    case TSR_KV_E4M3:
        store_all(TSR_KV_E4M3, line, &v, &t, to);
        break;
    case TSR_KV_E5M2:
        store_all(TSR_KV_E5M2, line, &v, &t, to);
        break;
    }
}
