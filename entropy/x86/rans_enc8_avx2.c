/* SPDX-License-Identifier: BSD-2-Clause */
/* The encoder's rows of 8 or 32 lanes of bytes of one table of up to 12 bits.
 * The records of even and of odd symbols come apart, which is how the two
 * multiplications of 32 bits to 64 want them. */
#include "entropy/x86/lanes_avx2.h"

typedef struct constants {
    const uint64_t *brief;  /* of the table's symbols */
    __m256i bias, shift, most;
    __m128i top;            /* 32 - p */
} constants;

/* The records of sym[0] and sym[2]. */
static inline __m128i two_apart(const uint64_t *brief, const uint8_t *sym)
{
    return _mm_insert_epi64(_mm_cvtsi64_si128((long long)brief[sym[0]]),
                            (long long)brief[sym[2]], 1);
}

/* The records of every other one of eight symbols. */
static inline __m256i four_apart(const uint64_t *brief, const uint8_t *sym)
{
    return _mm256_set_m128i(two_apart(brief, sym + 4), two_apart(brief, sym));
}

/* Puts a symbol on each of eight states. */
static inline __attribute__((always_inline)) __m256i
push(const constants *k, const uint8_t *sym, __m256i x, uint8_t **end)
{
    const __m256i even = four_apart(k->brief, sym);
    const __m256i odd = four_apart(k->brief, sym + 1);
    const __m256i rest = _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd,
                                            0xaa);
    const __m256i cmpl = _mm256_srl_epi32(rest, k->top);
    const __m256i bias = _mm256_and_si256(rest, k->bias);
    const __m256i shift = _mm256_and_si256(
        _mm256_srli_epi32(rest, TSRI_BRIEF_SHIFT), k->shift);
    const __m256i inc = _mm256_and_si256(
        _mm256_srli_epi32(rest, TSRI_BRIEF_INC), _mm256_set1_epi32(1));

    /* x >= f << (32 - p)  <=>  (x >> (32 - p)) + 2^p - f > 2^p - 1 */
    x = tsri_rans_give(x, _mm256_cmpgt_epi32(_mm256_add_epi32(
        _mm256_srl_epi32(x, k->top), cmpl), k->most), false, end);
    const __m256i y = _mm256_add_epi32(x, inc);
    const __m256i q = _mm256_srlv_epi32(_mm256_blend_epi32(
        _mm256_srli_epi64(_mm256_mul_epu32(y, even), 32),
        _mm256_mul_epu32(_mm256_srli_epi64(y, 32), odd), 0xaa), shift);
    return _mm256_add_epi32(_mm256_add_epi32(x, bias),
                            _mm256_mullo_epi32(q, cmpl));
}

static inline __attribute__((always_inline)) uint8_t *
rows(const constants *k, const uint8_t *sym, size_t n, uint32_t *state,
     uint8_t *end, const int vectors)
{
    __m256i x[4];

#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++)
        x[v] = _mm256_loadu_si256((const __m256i *)(state + 8 * v));
    while (n) {
        n -= 8 * (size_t)vectors;
#pragma GCC unroll 4
        for (int v = vectors - 1; v >= 0; v--)
            x[v] = push(k, sym + n + 8 * v, x[v], &end);
    }
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++)
        _mm256_storeu_si256((__m256i *)(state + 8 * v), x[v]);
    return end;
}

uint8_t *tsri_rans_encode8_avx2(const tsri_bank *bank, int table,
                                const uint8_t *sym, size_t n, int lanes,
                                uint32_t *state, uint8_t *end)
{
    const constants k = {
        .brief = bank->brief + bank->first[table],
        .bias = _mm256_set1_epi32((1 << TSRI_BRIEF_SHIFT) - 1),
        .shift = _mm256_set1_epi32(15),
        .most = _mm256_set1_epi32((1 << bank->bits) - 1),
        .top = _mm_cvtsi32_si128(32 - bank->bits),
    };

    return lanes == 32 ? rows(&k, sym, n, state, end, 4)
                       : rows(&k, sym, n, state, end, 1);
}

static inline __attribute__((always_inline)) void
sums(const uint8_t *sym, size_t n, uint16_t *sum, const int vectors)
{
    const __m128i factor = _mm_set1_epi16((short)TSRI_RANS_FACTOR);
    __m128i s[4];

#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++)
        s[v] = _mm_loadu_si128((const __m128i *)(sum + 8 * v));
    for (; n; n -= 8 * (size_t)vectors)
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++, sym += 8)
            s[v] = _mm_mullo_epi16(factor, _mm_add_epi16(s[v],
                _mm_cvtepu8_epi16(_mm_loadl_epi64((const __m128i *)sym))));
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++)
        _mm_storeu_si128((__m128i *)(sum + 8 * v), s[v]);
}

void tsri_rans_sums8_avx2(const uint8_t *sym, size_t n, int lanes,
                          uint16_t *sum)
{
    lanes == 32 ? sums(sym, n, sum, 4) : sums(sym, n, sum, 1);
}

int tsri_rans_most8_avx2(const uint8_t *sym, size_t n)
{
    __m256i most[2] = { _mm256_setzero_si256(), _mm256_setzero_si256() };
    uint8_t part[32];
    int all = 0;
    size_t i = 0;

    for (; n - i >= 64; i += 64)
        for (int k = 0; k < 2; k++)
            most[k] = _mm256_max_epu8(most[k], _mm256_loadu_si256(
                (const __m256i *)(sym + i) + k));
    _mm256_storeu_si256((__m256i *)part, _mm256_max_epu8(most[0], most[1]));
    for (int k = 0; k < 32; k++)
        all = part[k] > all ? part[k] : all;
    for (; i < n; i++)
        all = sym[i] > all ? sym[i] : all;
    return all;
}
