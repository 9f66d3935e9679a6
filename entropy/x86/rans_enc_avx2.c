/* SPDX-License-Identifier: BSD-2-Clause */
/* The encoder's rows of 8 or 32 lanes, eight to a vector. */
#include "entropy/x86/lanes_avx2.h"

/* NTH is the place of the n-th bit set in m. */
#define UP_TO(m, n, i) (__builtin_popcount((m) & ((2 << (i)) - 1)) <= (n))
#define NTH(m, n) (UP_TO(m, n, 0) + UP_TO(m, n, 1) + UP_TO(m, n, 2) + \
                   UP_TO(m, n, 3) + UP_TO(m, n, 4) + UP_TO(m, n, 5) + \
                   UP_TO(m, n, 6))
#define FROM(m, i) \
    (0x0100 + 0x0202 * NTH(m, (i) - 8 + __builtin_popcount(m)))
#define ROW1(m) { FROM(m, 0), FROM(m, 1), FROM(m, 2), FROM(m, 3), \
                  FROM(m, 4), FROM(m, 5), FROM(m, 6), FROM(m, 7) }
#define ROW4(m) ROW1(m), ROW1((m) + 1), ROW1((m) + 2), ROW1((m) + 3)
#define ROW16(m) ROW4(m), ROW4((m) + 4), ROW4((m) + 8), ROW4((m) + 12)
#define ROW64(m) ROW16(m), ROW16((m) + 16), ROW16((m) + 32), ROW16((m) + 48)
const _Alignas(16) uint16_t tsri_rans_packs[256][8] = {
    ROW64(0), ROW64(64), ROW64(128), ROW64(192)
};

bool tsri_rans_places_avx2(const uint16_t *sym, size_t n, uint32_t first,
                           uint32_t size, uint32_t *place)
{
    const __m256i add = _mm256_set1_epi32((int)first);
    __m256i most = _mm256_setzero_si256();
    uint16_t part[16];
    uint32_t all = 0;
    size_t i = 0;

    for (; n - i >= 16; i += 16) {
        const __m256i s = _mm256_loadu_si256((const __m256i *)(sym + i));
        most = _mm256_max_epu16(most, s);
        _mm256_storeu_si256((__m256i *)(place + i), _mm256_add_epi32(add,
            _mm256_cvtepu16_epi32(_mm256_castsi256_si128(s))));
        _mm256_storeu_si256((__m256i *)(place + i + 8), _mm256_add_epi32(add,
            _mm256_cvtepu16_epi32(_mm256_extracti128_si256(s, 1))));
    }
    _mm256_storeu_si256((__m256i *)part, most);
    for (int v = 0; v < 16; v++)
        all = part[v] > all ? part[v] : all;
    for (; i < n; i++) {
        all = sym[i] > all ? sym[i] : all;
        place[i] = first + sym[i];
    }
    return all < size;
}

/* The symbols of eight records, 16 bits each. */
static inline __m128i symbols_of(const tsri_rans_sym *records,
                                 const uint32_t *place)
{
    uint32_t s[4];

#pragma GCC unroll 4
    for (int i = 0; i < 4; i++)
        s[i] = records[place[2 * i]].sym |
               (uint32_t)records[place[2 * i + 1]].sym << 16;
    return _mm_setr_epi32((int)s[0], (int)s[1], (int)s[2], (int)s[3]);
}

/* Eight places less that of symbol 0 of their only table. */
static inline __m128i symbols_from(const uint32_t *place, __m256i first)
{
    const __m256i s = _mm256_sub_epi32(
        _mm256_loadu_si256((const __m256i *)place), first);
    return _mm_packus_epi32(_mm256_castsi256_si128(s),
                            _mm256_extracti128_si256(s, 1));
}

static inline __attribute__((always_inline)) void
sums(const tsri_rans_sym *records, int64_t first, const uint32_t *place,
     size_t n, uint16_t *sum, const int vectors)
{
    const __m128i factor = _mm_set1_epi16((short)TSRI_RANS_FACTOR);
    const __m256i zero = _mm256_set1_epi32((int)first);
    __m128i s[4];

#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++)
        s[v] = _mm_loadu_si128((const __m128i *)(sum + 8 * v));
    for (; n; n -= 8 * (size_t)vectors)
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++, place += 8)
            s[v] = _mm_mullo_epi16(factor, _mm_add_epi16(s[v],
                first < 0 ? symbols_of(records, place)
                          : symbols_from(place, zero)));
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++)
        _mm_storeu_si128((__m128i *)(sum + 8 * v), s[v]);
}

void tsri_rans_sums_avx2(const tsri_rans_sym *records, int64_t first,
                         const uint32_t *place, size_t n, int lanes,
                         uint16_t *sum)
{
    if (first < 0)
        lanes == 32 ? sums(records, -1, place, n, sum, 4)
                    : sums(records, -1, place, n, sum, 1);
    else
        lanes == 32 ? sums(records, (uint32_t)first, place, n, sum, 4)
                    : sums(records, (uint32_t)first, place, n, sum, 1);
}

/* The records of place[0] and place[4]. */
static inline __m256i load_pair(const tsri_rans_sym *records,
                                const uint32_t *place)
{
    return _mm256_inserti128_si256(_mm256_castsi128_si256(
        _mm_loadu_si128((const __m128i *)(records + place[0]))),
        _mm_loadu_si128((const __m128i *)(records + place[4])), 1);
}

/* Puts a symbol on each of eight states. */
static inline __attribute__((always_inline)) __m256i
push(const tsri_rans_sym *records, const uint32_t *place, __m256i x,
     uint8_t **end)
{
    const __m256i r0 = load_pair(records, place);
    const __m256i r1 = load_pair(records, place + 1);
    const __m256i r2 = load_pair(records, place + 2);
    const __m256i r3 = load_pair(records, place + 3);
    const __m256i a01 = _mm256_unpacklo_epi32(r0, r1);
    const __m256i a23 = _mm256_unpacklo_epi32(r2, r3);
    const __m256i b01 = _mm256_unpackhi_epi32(r0, r1);
    const __m256i b23 = _mm256_unpackhi_epi32(r2, r3);
    const __m256i last = _mm256_unpacklo_epi64(a01, a23);
    const __m256i mul = _mm256_unpackhi_epi64(a01, a23);
    const __m256i bias_cmpl = _mm256_unpacklo_epi64(b01, b23);
    const __m256i sym_shift_inc = _mm256_unpackhi_epi64(b01, b23);
    const __m256i inc = _mm256_srli_epi32(sym_shift_inc, 24);
    const __m256i shift = _mm256_and_si256(_mm256_srli_epi32(sym_shift_inc, 16),
                                           _mm256_set1_epi32(0xff));
    const __m256i bias = _mm256_blend_epi16(bias_cmpl, _mm256_setzero_si256(),
                                            0xaa);
    const __m256i cmpl = _mm256_srli_epi32(bias_cmpl, 16);

    x = tsri_rans_give(x, _mm256_cmpeq_epi32(_mm256_min_epu32(x, last), x), true, end);
    const __m256i y = _mm256_add_epi32(x, inc);
    const __m256i even = _mm256_mul_epu32(y, mul);
    const __m256i odd = _mm256_mul_epu32(_mm256_srli_epi64(y, 32),
                                         _mm256_srli_epi64(mul, 32));
    const __m256i q = _mm256_srlv_epi32(
        _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xaa), shift);
    return _mm256_add_epi32(_mm256_add_epi32(x, bias),
                            _mm256_mullo_epi32(q, cmpl));
}

static inline __attribute__((always_inline)) uint8_t *
rows(const tsri_rans_sym *records, const uint32_t *place, size_t n,
     uint32_t *state, uint8_t *end, const int vectors)
{
    __m256i x[4];

#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++)
        x[v] = _mm256_loadu_si256((const __m256i *)(state + 8 * v));
    while (n) {
        n -= 8 * (size_t)vectors;
#pragma GCC unroll 4
        for (int v = 1; v <= vectors; v++)
            x[vectors - v] = push(records, place + n + 8 * (vectors - v),
                                  x[vectors - v], &end);
    }
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++)
        _mm256_storeu_si256((__m256i *)(state + 8 * v), x[v]);
    return end;
}

uint8_t *tsri_rans_encode_avx2(const tsri_rans_sym *records,
                               const uint32_t *place, size_t n, int lanes,
                               uint32_t *state, uint8_t *end)
{
    return lanes == 32 ? rows(records, place, n, state, end, 4)
                       : rows(records, place, n, state, end, 1);
}
