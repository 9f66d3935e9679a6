/* SPDX-License-Identifier: BSD-2-Clause */
#include <immintrin.h>
#include "codecs/audio/codes_impl.h"

enum { BLOCK = TSRI_CODES_BLOCK, HALF = BLOCK / 2 };

static inline __m256i load(const int16_t *p)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)p);
}

static inline void store(int16_t *p, __m256i v)
{
    _mm256_storeu_si256((__m256i *)(void *)p, v);
}

static inline __m256i wide(const uint8_t *p)
{
    return _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(const void *)p));
}

static int largest(__m256i v)
{
    int16_t each[HALF];
    int most = 0;

    store(each, v);
    for (int i = 0; i < HALF; i++)
        most = tsri_max(most, each[i]);
    return most;
}

static void add_avx2(const uint8_t *const *rows, int count, int n, int16_t *logs)
{
    const int whole = n - n % BLOCK;
    __m256i most = _mm256_setzero_si256();

    for (int s = 0; s < whole; s += BLOCK) {
        __m256i a = wide(rows[0] + s), b = wide(rows[0] + s + HALF);
        for (int r = 1; r < count; r++) {
            a = _mm256_add_epi16(a, wide(rows[r] + s));
            b = _mm256_add_epi16(b, wide(rows[r] + s + HALF));
        }
        store(logs + s, a);
        store(logs + s + HALF, b);
        most = _mm256_max_epi16(most, _mm256_max_epi16(a, b));
    }
    int all = largest(most);
    for (int s = whole; s < n; s++) {
        int log = 0;
        for (int r = 0; r < count; r++)
            log += rows[r][s];
        logs[s] = (int16_t)log;
        all = tsri_max(all, log);
    }
    const __m256i less = _mm256_set1_epi16((short)(all - UINT8_MAX));
    const __m256i zero = _mm256_setzero_si256();
    for (int s = 0; s < whole; s += HALF)
        store(logs + s, _mm256_max_epi16(_mm256_sub_epi16(load(logs + s), less),
                                         zero));
    for (int s = whole; s < n; s++)
        logs[s] = (int16_t)tsri_max(logs[s] - (all - UINT8_MAX), 0);
}

/* The weights below 16, less 256, in both halves. */
static __m256i octave_of(const uint32_t *weight)
{
    uint8_t low[16];

    for (int i = 0; i < 16; i++)
        low[i] = (uint8_t)(weight[i] - 256);
    return _mm256_broadcastsi128_si256(
        _mm_loadu_si128((const __m128i *)(const void *)low));
}

/* Sums of pairs of numbers of 16 bits << bits of those beside them. */
static inline __m256i shifted(__m256i number, __m256i bits)
{
    const __m256i zero = _mm256_setzero_si256();

    return _mm256_add_epi32(
        _mm256_sllv_epi32(_mm256_unpacklo_epi16(number, zero),
                          _mm256_unpacklo_epi16(bits, zero)),
        _mm256_sllv_epi32(_mm256_unpackhi_epi16(number, zero),
                          _mm256_unpackhi_epi16(bits, zero)));
}

/* Of a block, in some order. */
static inline __m256i weights(__m256i octave, const int16_t *logs)
{
    const __m256i low = _mm256_set1_epi8(15), zero = _mm256_setzero_si256();
    const __m256i v = _mm256_packus_epi16(load(logs), load(logs + HALF));
    const __m256i bits = _mm256_and_si256(_mm256_srli_epi16(v, 4), low);
    const __m256i number = _mm256_shuffle_epi8(octave, _mm256_and_si256(v, low));
    const __m256i one = _mm256_set1_epi8(1);    /* as the high byte: 256 */

    return _mm256_add_epi32(shifted(_mm256_unpacklo_epi8(number, one),
                                    _mm256_unpacklo_epi8(bits, zero)),
                            shifted(_mm256_unpackhi_epi8(number, one),
                                    _mm256_unpackhi_epi8(bits, zero)));
}

static inline uint32_t across(__m256i v)
{
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(v),
                              _mm256_extracti128_si256(v, 1));

    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1));
    return (uint32_t)_mm_cvtsi128_si32(s);
}

static uint64_t sum_avx2(const uint32_t *weight, const int16_t *logs, int n,
                         uint64_t *before)
{
    const __m256i octave = octave_of(weight);
    const int whole = n - n % BLOCK;
    uint64_t sum = 0;

    for (int s = 0; s < whole; s += BLOCK) {
        if (before)
            before[s / BLOCK] = sum;
        sum += across(weights(octave, logs + s));
    }
    if (before && whole < n)
        before[whole / BLOCK] = sum;
    for (int s = whole; s < n; s++)
        sum += weight[logs[s]];
    return sum;
}

const tsri_logs_kernels *tsri_logs_kernels_avx2(void)
{
    static const tsri_logs_kernels kernels = { add_avx2, sum_avx2 };

    return &kernels;
}
