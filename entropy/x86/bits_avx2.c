/* SPDX-License-Identifier: BSD-2-Clause */
/* Numbers of few bits, eight to a vector.  Four of them, of up to 25 bits each,
 * lie in 16 bytes wherever they begin, so two loads and a byte shuffle bring
 * eight to their lanes; only the place of the next eight is a serial chain. */
#include <immintrin.h>
#include "entropy/rans_bits.h"

enum { AHEAD = 32 }; /* more than eight numbers and a load reach */

static inline __m256i load8(tsri_ranks r, size_t i)
{
    return r.wide
        ? _mm256_loadu_si256((const __m256i *)((const uint32_t *)r.at + i))
        : _mm256_cvtepu16_epi32(
              _mm_loadu_si128((const __m128i *)((const uint16_t *)r.at + i)));
}

static inline void store8(tsri_ranks r, size_t i, __m256i v)
{
    if (r.wide)
        _mm256_storeu_si256((__m256i *)((uint32_t *)r.at + i), v);
    else
        _mm_storeu_si128(
            (__m128i *)((uint16_t *)r.at + i),
            _mm256_castsi256_si128(_mm256_permute4x64_epi64(
                _mm256_packus_epi32(v, v), 0x08)));
}

static inline uint32_t most_of(__m256i v)
{
    uint32_t all[8], most = 0;

    _mm256_storeu_si256((__m256i *)all, v);
    for (int i = 0; i < 8; i++)
        most = all[i] > most ? all[i] : most;
    return most;
}

/* ---- ranks to buckets: the exponent and 2 bits of a float ---- */

static inline __m256i bucket8(__m256i rank)
{
    const __m256i b = _mm256_sub_epi32(
        _mm256_srli_epi32(_mm256_castps_si256(_mm256_cvtepi32_ps(rank)), 21),
        _mm256_set1_epi32(4 * (127 + 1)));
    return _mm256_blendv_epi8(
        b, rank, _mm256_cmpgt_epi32(_mm256_set1_epi32(4), rank));
}

static inline __m256i tail8(__m256i bucket)
{
    return _mm256_max_epi32(
        _mm256_add_epi32(_mm256_srli_epi32(bucket, 2), _mm256_set1_epi32(-1)),
        _mm256_setzero_si256());
}

static inline void store_bytes(uint8_t *to, __m256i v)
{
    const __m128i w = _mm_packus_epi32(_mm256_castsi256_si128(v),
                                       _mm256_extracti128_si256(v, 1));
    _mm_storel_epi64((__m128i *)to, _mm_packus_epi16(w, w));
}

size_t tsri_buckets_avx2(tsri_ranks rank, size_t n, uint8_t *bucket)
{
    size_t i = 0;

    for (; n - i >= 8; i += 8)
        store_bytes(bucket + i, bucket8(load8(rank, i)));
    return i;
}

size_t tsri_ranks_most_avx2(tsri_ranks rank, size_t n, uint32_t *most)
{
    __m256i all = _mm256_setzero_si256();
    size_t i = 0;

    for (; n - i >= 8; i += 8)
        all = _mm256_max_epu32(all, load8(rank, i));
    *most = most_of(all);
    return i;
}

/* ---- tails ---- */

/* Appends four pairs of tails, of `width` bits, in 64 bits each. */
static inline void put_pairs(tsri_bits_out *out, __m256i pair, __m256i width)
{
    uint64_t v[4], w[4];

    _mm256_storeu_si256((__m256i *)v, pair);
    _mm256_storeu_si256((__m256i *)w, width);
    for (int i = 0; i < 4; i++)
        tsri_bits_put(out, v[i], (int)w[i]);
}

/* The same where four tails have at most 56 bits. */
static inline void put_fours(tsri_bits_out *out, __m256i pair, __m256i width)
{
    const __m256i four = _mm256_or_si256(
        pair, _mm256_sllv_epi64(_mm256_unpackhi_epi64(pair, pair), width));
    const __m256i w = _mm256_add_epi64(width,
                                       _mm256_unpackhi_epi64(width, width));

    tsri_bits_put(out, (uint64_t)_mm256_extract_epi64(four, 0),
                  _mm256_extract_epi32(w, 0));
    tsri_bits_put(out, (uint64_t)_mm256_extract_epi64(four, 2),
                  _mm256_extract_epi32(w, 4));
}

static inline __attribute__((always_inline)) size_t
put_tails(tsri_bits_out *to, tsri_ranks rank, size_t n, uint8_t *bucket,
          const bool fours)
{
    const __m256i ones = _mm256_set1_epi32(-1);
    const __m256i low = _mm256_set1_epi64x(UINT32_MAX);
    tsri_bits_out out = *to;
    size_t i = 0;

    for (; n - i >= 8; i += 8) {
        const __m256i r = load8(rank, i), b = bucket8(r), k = tail8(b);
        const __m256i tail = _mm256_andnot_si256(_mm256_sllv_epi32(ones, k), r);
        const __m256i first = _mm256_and_si256(k, low);
        const __m256i pair = _mm256_or_si256(
            _mm256_and_si256(tail, low),
            _mm256_sllv_epi64(_mm256_srli_epi64(tail, 32), first));
        const __m256i width = _mm256_add_epi64(first, _mm256_srli_epi64(k, 32));
        store_bytes(bucket + i, b);
        if (fours)
            put_fours(&out, pair, width);
        else
            put_pairs(&out, pair, width);
    }
    *to = out;
    return i;
}

size_t tsri_tails_put_avx2(tsri_bits_out *out, tsri_ranks rank, size_t n,
                           uint32_t most, uint8_t *bucket)
{
    const bool fours = 4 * tsri_bucket_tail(tsri_bucket_of(most)) <= 56;
    const tsri_ranks narrow = { rank.at, false }, wide = { rank.at, true };

    if (fours)
        return rank.wide ? put_tails(out, wide, n, bucket, true)
                         : put_tails(out, narrow, n, bucket, true);
    return rank.wide ? put_tails(out, wide, n, bucket, false)
                     : put_tails(out, narrow, n, bucket, false);
}

/* Eight fields: `width` bits each from bit at[i] of the string `data`, where
 * begin[0] and begin[4], with bits 0..2 clear or not, are the fields' first. */
static inline __m256i fields8(const uint8_t *data, __m256i begin, __m256i at,
                              __m256i width)
{
    const __m256i spread = _mm256_set_epi8(
        12, 12, 12, 12, 8, 8, 8, 8, 4, 4, 4, 4, 0, 0, 0, 0,
        12, 12, 12, 12, 8, 8, 8, 8, 4, 4, 4, 4, 0, 0, 0, 0);
    const __m256i byte = _mm256_srli_epi32(begin, 3);
    const __m256i window = _mm256_inserti128_si256(
        _mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)(
            data + (uint32_t)_mm256_extract_epi32(byte, 0)))),
        _mm_loadu_si128((const __m128i *)(
            data + (uint32_t)_mm256_extract_epi32(byte, 4))), 1);
    const __m256i from = _mm256_add_epi32(
        _mm256_shuffle_epi8(_mm256_sub_epi32(_mm256_srli_epi32(at, 3), byte),
                            spread),
        _mm256_set1_epi32(0x03020100));
    const __m256i v = _mm256_srlv_epi32(_mm256_shuffle_epi8(window, from),
                                        _mm256_and_si256(at, _mm256_set1_epi32(7)));

    return _mm256_andnot_si256(
        _mm256_sllv_epi32(_mm256_set1_epi32(-1), width), v);
}

/* Where a string of bits goes on, in whole bytes, and how many there are. */
static inline const uint8_t *bytes_left(const tsri_bits_in *in, size_t *left)
{
    const uint64_t byte = in->at >> 3;

    *left = byte < in->size ? in->size - (size_t)byte : 0;
    return in->data + (in->size - *left);
}

static inline __attribute__((always_inline)) size_t
get_tails(tsri_bits_in *in, const uint8_t *bucket, size_t n, tsri_ranks rank,
          uint32_t *most)
{
    __m256i pos = _mm256_set1_epi32((int)(in->at & 7));
    __m256i all = _mm256_setzero_si256();
    size_t i = 0, left;
    const uint8_t *data = bytes_left(in, &left);

    for (; n - i >= 8; i += 8) {
        const __m256i b = _mm256_cvtepu8_epi32(
            _mm_loadl_epi64((const __m128i *)(bucket + i)));
        const __m256i k = tail8(b);
        const __m256i two = _mm256_add_epi32(k, _mm256_slli_si256(k, 4));
        const __m256i sum = _mm256_add_epi32(two, _mm256_slli_si256(two, 8));
        const __m256i half = _mm256_shuffle_epi32(sum, 0xff);
        const __m256i begin = _mm256_add_epi32(
            pos, _mm256_permute2x128_si256(half, half, 0x08));
        if (((uint32_t)_mm256_extract_epi32(pos, 0) >> 3) + AHEAD > left)
            break;
        const __m256i at = _mm256_add_epi32(begin, _mm256_sub_epi32(sum, k));
        const __m256i first = _mm256_sllv_epi32(
            _mm256_sub_epi32(b, _mm256_slli_epi32(k, 2)), k);
        const __m256i r = _mm256_add_epi32(first, fields8(data, begin, at, k));
        all = _mm256_max_epu32(all, r);
        store8(rank, i, r);
        pos = _mm256_add_epi32(pos, _mm256_add_epi32(
            half, _mm256_permute2x128_si256(half, half, 0x01)));
    }
    in->at += (uint32_t)_mm256_extract_epi32(pos, 0) - (in->at & 7);
    *most = most_of(all);
    return i;
}

size_t tsri_tails_get_avx2(tsri_bits_in *in, const uint8_t *bucket, size_t n,
                           tsri_ranks rank, uint32_t *most)
{
    n = n < 1 << 24 ? n : 1 << 24; /* positions have 32 bits */
    return rank.wide
        ? get_tails(in, bucket, n, (tsri_ranks){ rank.at, true }, most)
        : get_tails(in, bucket, n, (tsri_ranks){ rank.at, false }, most);
}
