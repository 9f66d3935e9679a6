/* SPDX-License-Identifier: BSD-2-Clause */
/* Numbers of few bits, eight to a vector.  Four of them, of up to 25 bits each,
 * lie in 16 bytes wherever they begin, so two loads and a byte shuffle bring
 * eight to their lanes; only the place of the next eight is a serial chain. */
#include <immintrin.h>
#include "entropy/rans_bits.h"

enum {
    AHEAD = 40,     /* bytes: 16 tails and a load reach less far */
    AT_ONCE = 512   /* numbers, in several passes */
};

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
    /* Below 4 the bucket is the rank, above it is 4 or more. */
    return _mm256_max_epi32(b, _mm256_min_epi32(rank, _mm256_set1_epi32(4)));
}

/* The same of 16 ranks of 16 bits. */
static inline __m256i bucket16(const uint16_t *rank)
{
    const tsri_ranks ranks = { (void *)rank, false };
    const __m256i r = _mm256_loadu_si256((const __m256i *)rank);
    const __m256i f0 = _mm256_castps_si256(_mm256_cvtepi32_ps(load8(ranks, 0)));
    const __m256i f1 = _mm256_castps_si256(_mm256_cvtepi32_ps(load8(ranks, 8)));
    const __m256i b = _mm256_subs_epu16(
        _mm256_permute4x64_epi64(_mm256_packus_epi32(
            _mm256_srli_epi32(f0, 21), _mm256_srli_epi32(f1, 21)), 0xd8),
        _mm256_set1_epi16(4 * (127 + 1)));

    return _mm256_max_epu16(b, _mm256_min_epu16(r, _mm256_set1_epi16(4)));
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

static inline void store16(uint8_t *to, __m256i v)
{
    _mm_storeu_si128((__m128i *)to,
                     _mm_packus_epi16(_mm256_castsi256_si128(v),
                                      _mm256_extracti128_si256(v, 1)));
}

size_t tsri_buckets_avx2(tsri_ranks rank, size_t n, uint8_t *bucket)
{
    size_t i = 0;

    if (!rank.wide)
        for (; n - i >= 16; i += 16)
            store16(bucket + i, bucket16((const uint16_t *)rank.at + i));
    else
        for (; n - i >= 8; i += 8)
            store_bytes(bucket + i, bucket8(load8(rank, i)));
    return i;
}

static size_t most16(const uint16_t *v, size_t n, uint32_t *most)
{
    __m256i all = _mm256_setzero_si256();
    size_t i = 0;

    for (; n - i >= 16; i += 16)
        all = _mm256_max_epu16(
            all, _mm256_loadu_si256((const __m256i *)(v + i)));
    *most = most_of(_mm256_max_epu32(
        _mm256_and_si256(all, _mm256_set1_epi32(0xffff)),
        _mm256_srli_epi32(all, 16)));
    return i;
}

size_t tsri_ranks_most_avx2(tsri_ranks rank, size_t n, uint32_t *most)
{
    __m256i all = _mm256_setzero_si256();
    size_t i = 0;

    if (!rank.wide)
        return most16(rank.at, n, most);
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

/* The bits that are a tail, in 16 bits each, of the buckets of 16-bit ranks:
 * 2^k - 1 by two look-ups, of its low and high byte. */
static inline __m256i masks16(__m256i bucket, __m256i *k)
{
    const __m256i low = _mm256_broadcastsi128_si256(_mm_setr_epi8(
        0, 1, 3, 7, 15, 31, 63, 127, -1, -1, -1, -1, -1, -1, -1, -1));
    const __m256i high = _mm256_broadcastsi128_si256(_mm_setr_epi8(
        0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 3, 7, 15, 31, 63, 127));

    *k = _mm256_subs_epu16(_mm256_srli_epi16(bucket, 2), _mm256_set1_epi16(1));
    return _mm256_or_si256(
        _mm256_shuffle_epi8(low, *k),
        _mm256_slli_epi16(_mm256_shuffle_epi8(high, *k), 8));
}

static inline uint64_t load64(const void *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* Where these instructions are loops of microcode, plain C is faster. */
static bool has_fast_pdep(void)
{
    return !__builtin_cpu_is("znver1") && !__builtin_cpu_is("znver2") &&
           !__builtin_cpu_is("bdver4");
}

/* Four 16-bit ranks are one 64-bit number, whose tails one instruction brings
 * together.  The masks are made ahead, so that they are not read from where
 * they have just been written in other sizes. */
static size_t put_tails16(tsri_bits_out *to, const uint16_t *rank, size_t n,
                          uint8_t *bucket)
{
    uint16_t mask[AT_ONCE];
    tsri_bits_out out = *to;
    size_t i = 0;

    for (size_t part; n - i >= 16; i += part) {
        part = n - i < AT_ONCE ? (n - i) & ~(size_t)15 : AT_ONCE;
        for (size_t j = 0; j < part; j += 16) {
            __m256i k;
            const __m256i b = bucket16(rank + i + j);
            store16(bucket + i + j, b);
            _mm256_storeu_si256((__m256i *)(mask + j), masks16(b, &k));
        }
#pragma GCC unroll 4
        for (size_t j = 0; j < part; j += 4) {
            const uint64_t m = load64(mask + j);
            tsri_bits_put(&out, _pext_u64(load64(rank + i + j), m),
                          (int)_mm_popcnt_u64(m));
        }
    }
    *to = out;
    return i;
}

size_t tsri_tails_put_avx2(tsri_bits_out *out, tsri_ranks rank, size_t n,
                           uint32_t most, uint8_t *bucket)
{
    const bool fours = 4 * tsri_bucket_tail(tsri_bucket_of(most)) <= 56;
    const tsri_ranks wide = { rank.at, true };

    if (!rank.wide)
        return has_fast_pdep() ? put_tails16(out, rank.at, n, bucket) : 0;
    return fours ? put_tails(out, wide, n, bucket, true)
                 : put_tails(out, wide, n, bucket, false);
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

/* Four 16-bit ranks at once, as in put_tails16().  A group of four has at most
 * 52 bits, so 8 bytes hold it wherever it begins. */
static size_t get_tails16(tsri_bits_in *in, const uint8_t *bucket, size_t n,
                          uint16_t *rank, uint32_t *most)
{
    uint16_t mask[AT_ONCE], first[AT_ONCE];
    uint64_t pos = in->at & 7;
    size_t i = 0, j = 0, part = 0, left;
    const uint8_t *data = bytes_left(in, &left);

    for (; j == part && n - i >= 16; i += j) {
        part = n - i < AT_ONCE ? (n - i) & ~(size_t)15 : AT_ONCE;
        for (j = 0; j < part; j += 16) {
            const __m256i b = _mm256_cvtepu8_epi16(
                _mm_loadu_si128((const __m128i *)(bucket + i + j)));
            __m256i k;
            const __m256i m = masks16(b, &k);
            _mm256_storeu_si256((__m256i *)(mask + j), m);
            _mm256_storeu_si256((__m256i *)(first + j), _mm256_mullo_epi16(
                _mm256_sub_epi16(b, _mm256_slli_epi16(k, 2)),
                _mm256_sub_epi16(m, _mm256_set1_epi16(-1))));
        }
        for (j = 0; j < part && (pos >> 3) + AHEAD <= left; j += 16)
#pragma GCC unroll 4
            for (size_t g = j; g < j + 16; g += 4) {
                const uint64_t m = load64(mask + g);
                const uint64_t r = load64(first + g) +
                    _pdep_u64(load64(data + (pos >> 3)) >> (pos & 7), m);
                memcpy(rank + i + g, &r, sizeof r);
                pos += (uint64_t)_mm_popcnt_u64(m);
            }
    }
    in->at += pos - (in->at & 7);
    for (size_t done = most16(rank, i, most); done < i; done++)
        *most = rank[done] > *most ? rank[done] : *most;
    return i;
}

size_t tsri_tails_get_avx2(tsri_bits_in *in, const uint8_t *bucket, size_t n,
                           tsri_ranks rank, uint32_t *most)
{
    if (!rank.wide)
        return has_fast_pdep() ? get_tails16(in, bucket, n, rank.at, most) : 0;
    n = n < 1 << 24 ? n : 1 << 24; /* positions have 32 bits */
    return get_tails(in, bucket, n, (tsri_ranks){ rank.at, true }, most);
}

/* ---- packed numbers ---- */

static inline __attribute__((always_inline)) size_t
pack_fixed(tsri_bits_out *to, tsri_ranks token, size_t n, int bits,
           const bool fours)
{
    const __m256i low = _mm256_set1_epi64x(UINT32_MAX);
    const __m128i down = _mm_cvtsi32_si128(32 - bits);
    const __m128i up = _mm_cvtsi32_si128(2 * bits);
    tsri_bits_out out = *to;
    size_t i = 0;

    for (; n - i >= 8; i += 8) {
        const __m256i v = load8(token, i);
        const __m256i pair = _mm256_or_si256(
            _mm256_and_si256(v, low),
            _mm256_srl_epi64(_mm256_andnot_si256(low, v), down));
        if (fours) {
            const __m256i four = _mm256_or_si256(pair, _mm256_sll_epi64(
                _mm256_unpackhi_epi64(pair, pair), up));
            tsri_bits_put(&out, (uint64_t)_mm256_extract_epi64(four, 0), 4 * bits);
            tsri_bits_put(&out, (uint64_t)_mm256_extract_epi64(four, 2), 4 * bits);
        } else {
            tsri_bits_put(&out, (uint64_t)_mm256_extract_epi64(pair, 0), 2 * bits);
            tsri_bits_put(&out, (uint64_t)_mm256_extract_epi64(pair, 1), 2 * bits);
            tsri_bits_put(&out, (uint64_t)_mm256_extract_epi64(pair, 2), 2 * bits);
            tsri_bits_put(&out, (uint64_t)_mm256_extract_epi64(pair, 3), 2 * bits);
        }
    }
    *to = out;
    return i;
}

size_t tsri_pack_fixed_avx2(tsri_bits_out *out, tsri_ranks token, size_t n,
                            int bits)
{
    const tsri_ranks narrow = { token.at, false }, wide = { token.at, true };

    if (4 * bits <= TSRI_PACKING_WORD)
        return token.wide ? pack_fixed(out, wide, n, bits, true)
                          : pack_fixed(out, narrow, n, bits, true);
    return token.wide ? pack_fixed(out, wide, n, bits, false)
                      : pack_fixed(out, narrow, n, bits, false);
}

/* Eight numbers are `bits` bytes, so each eight lie like the ones before. */
static inline __attribute__((always_inline)) size_t
unpack_fixed(tsri_bits_in *in, tsri_ranks token, size_t n, int bits,
             uint32_t *most)
{
    const __m256i four = _mm256_setr_epi32(0, 1, 2, 3, 0, 1, 2, 3);
    const __m256i begin = _mm256_setr_epi32(0, 0, 0, 0, 4, 4, 4, 4);
    const __m256i at = _mm256_add_epi32(
        _mm256_mullo_epi32(four, _mm256_set1_epi32(bits)),
        bits & 1 ? begin : _mm256_setzero_si256());
    const __m256i from = _mm256_add_epi32(
        _mm256_mullo_epi32(_mm256_srli_epi32(at, 3),
                           _mm256_set1_epi32(0x01010101)),
        _mm256_set1_epi32(0x03020100));
    const __m256i by = _mm256_and_si256(at, _mm256_set1_epi32(7));
    const __m256i mask = _mm256_set1_epi32((1 << bits) - 1);
    const size_t half = (size_t)bits / 2;
    const uint8_t *data = in->data, *const end = data + in->size;
    __m256i all = _mm256_setzero_si256();
    size_t i = 0;

    for (; n - i >= 8 && (size_t)(end - data) >= half + 16; i += 8) {
        const __m256i window = _mm256_inserti128_si256(
            _mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)data)),
            _mm_loadu_si128((const __m128i *)(data + half)), 1);
        const __m256i v = _mm256_and_si256(mask, _mm256_srlv_epi32(
            _mm256_shuffle_epi8(window, from), by));
        all = _mm256_max_epu32(all, v);
        store8(token, i, v);
        data += bits;
    }
    in->at = 8 * (uint64_t)(data - in->data);
    *most = most_of(all);
    return i;
}

size_t tsri_unpack_fixed_avx2(tsri_bits_in *in, tsri_ranks token, size_t n,
                              int bits, uint32_t *most)
{
    return token.wide
        ? unpack_fixed(in, (tsri_ranks){ token.at, true }, n, bits, most)
        : unpack_fixed(in, (tsri_ranks){ token.at, false }, n, bits, most);
}

static inline __attribute__((always_inline)) size_t
unpack_radix(const tsri_packing *p, tsri_bits_in *in, tsri_ranks token,
             size_t n, uint32_t *most, const int digits)
{
    const uint64_t mask = ((uint64_t)1 << p->bits) - 1, alphabet = p->alphabet;
    uint64_t at = 0, largest = 0;

    for (size_t i = 0; i < n; i++, at += (uint64_t)p->bits) {
        uint64_t x = tsri_get64(in->data + (at >> 3)) >> (at & 7) & mask;
#pragma GCC unroll 2
        for (int k = 0; k < digits - 1; k++) {
            unsigned long long high;
            _mulx_u64(x, p->mul, &high);
            high >>= p->shift;
            tsri_set_rank(token, (size_t)k, (uint32_t)(x - high * alphabet));
            x = high;
        }
        tsri_set_rank(token, (size_t)digits - 1, (uint32_t)x);
        largest = x > largest ? x : largest;
        token = tsri_ranks_from(token, (size_t)digits);
    }
    in->at = at;
    *most = (uint32_t)largest;
    return n;
}

size_t tsri_unpack_radix_avx2(const tsri_packing *packing, tsri_bits_in *in,
                              tsri_ranks token, size_t n, uint32_t *most)
{
    const tsri_ranks narrow = { token.at, false }, wide = { token.at, true };

    if (token.wide && packing->digits == 2)
        return unpack_radix(packing, in, wide, n, most, 2);
    if (token.wide && packing->digits == 3)
        return unpack_radix(packing, in, wide, n, most, 3);
    return token.wide
        ? unpack_radix(packing, in, wide, n, most, packing->digits)
        : unpack_radix(packing, in, narrow, n, most, packing->digits);
}
