/* SPDX-License-Identifier: BSD-2-Clause */
/* The raw section of a segment in bulk, for the other files of entropy/: tails
 * of ranks, whose widths follow from their buckets (docs/format.md 3.4), and
 * numbers of a fixed width. */
#ifndef TSR_ENTROPY_RANS_BITS_H
#define TSR_ENTROPY_RANS_BITS_H
#include "entropy/packing.h"
#include "entropy/rans.h"
#include "lib/bytes.h"

/* ---- writing ---- */

/** A string of bits that grows; whoever makes one sees to the room, and to 7
 *  bytes more. */
typedef struct tsri_bits_out {
    uint8_t *at;
    uint64_t bits;  /* not yet at `at`, low first */
    int nbits;      /* how many, 0..7 */
    bool avx2;
} tsri_bits_out;

/** Appends the low `n` bits, 0..56, of a number that has no others. */
static inline void tsri_bits_put(tsri_bits_out *out, uint64_t value, int n)
{
    out->bits |= value << out->nbits;
    out->nbits += n;
    tsri_put64(out->at, out->bits);
    out->at += out->nbits >> 3;
    out->bits >>= out->nbits & ~7;
    out->nbits &= 7;
}

/** Writes the last byte, if it is begun, and returns the end. */
static inline uint8_t *tsri_bits_finish(tsri_bits_out *out)
{
    if (out->nbits)
        *out->at++ = (uint8_t)out->bits;
    return out->at;
}

/** Opens the encoder's raw section for `bytes` more bytes. */
tsr_error tsri_rans_raw_begin(tsri_rans_enc *enc, size_t bytes,
                              tsri_bits_out *out);
void tsri_rans_raw_end(tsri_rans_enc *enc, const tsri_bits_out *out);

/** n bytes that are the encoder's and stay until finish or reset, for
 *  tsri_rans_put8(); NULL: no memory. */
uint8_t *tsri_rans_keep(tsri_rans_enc *enc, size_t n);

/** Memory that is kept for a while: blocks, the newest first, of which only
 *  that one, the largest, outlives a release. */
typedef struct tsri_kept {
    struct tsri_kept *next;
    size_t size, used;
} tsri_kept;
uint8_t *tsri_kept_take(tsri_kept **kept, tsr_context *ctx, size_t n);
void tsri_kept_release(tsri_kept **kept, tsr_context *ctx);
void tsri_kept_close(tsri_kept **kept, tsr_context *ctx);

/* ---- reading ---- */

/** A string of bits of known length. */
typedef struct tsri_bits_in {
    const uint8_t *data;
    size_t size;
    uint64_t at;    /* bit; may be beyond the end, where all are 0 */
} tsri_bits_in;

/** The next `n` bits, 0..56. */
static inline uint64_t tsri_bits_get(tsri_bits_in *in, int n)
{
    const uint64_t byte = in->at >> 3;
    uint64_t value = 0;

    if (in->size >= 8 && byte <= in->size - 8)
        value = tsri_get64(in->data + byte);
    else
        for (uint64_t i = byte; i < in->size && i < byte + 8; i++)
            value |= (uint64_t)in->data[i] << (8 * (i - byte));
    value = value >> (in->at & 7) & (((uint64_t)1 << n) - 1);
    in->at += (uint64_t)n;
    return value;
}

/* ---- buckets and tails ---- */

enum { TSRI_BUCKETS_MAX = 76 }; /**< of ranks below 2^20 */

/** Numbers of 16 or 32 bits each, of tokens or ranks. */
typedef struct tsri_ranks {
    void *at;
    bool wide;      /**< 32 bits */
} tsri_ranks;

static inline uint32_t tsri_rank(tsri_ranks r, size_t i)
{
    return r.wide ? ((const uint32_t *)r.at)[i] : ((const uint16_t *)r.at)[i];
}
static inline void tsri_set_rank(tsri_ranks r, size_t i, uint32_t rank)
{
    if (r.wide)
        ((uint32_t *)r.at)[i] = rank;
    else
        ((uint16_t *)r.at)[i] = (uint16_t)rank;
}
/** Those from number i on. */
static inline tsri_ranks tsri_ranks_from(tsri_ranks r, size_t i)
{
    return (tsri_ranks){ (uint8_t *)r.at + i * (r.wide ? 4 : 2), r.wide };
}

/** Raw bits of a rank in a bucket, and the first rank there. */
static inline int tsri_bucket_tail(uint32_t bucket)
{
    return bucket < 4 ? 0 : (int)(bucket >> 2) - 1;
}
static inline uint32_t tsri_bucket_first(uint32_t bucket)
{
    const int k = tsri_bucket_tail(bucket);
    return (bucket - 4 * (uint32_t)k) << k;
}
static inline uint32_t tsri_bucket_of(uint32_t rank)
{
    const int e = rank ? 31 - __builtin_clz(rank) : 0, k = e < 2 ? 0 : e - 2;
    return 4 * (uint32_t)k + (rank >> k);
}

/** bucket[i] of n ranks below 2^20. */
void tsri_buckets(tsri_ranks rank, size_t n, uint8_t *bucket, bool avx2);

/** The largest of n numbers, 0 of none. */
uint32_t tsri_ranks_most(tsri_ranks rank, size_t n, bool avx2);

/** Splits n ranks, none above `most` < 2^20, into buckets and tails, which are
 *  appended; there must be room. */
void tsri_put_tails(tsri_bits_out *out, tsri_ranks rank, size_t n,
                    uint32_t most, uint8_t *bucket);

/** Reads the tails of n buckets, as tsri_rans_get_bits() would; returns the
 *  largest rank, 0 of none.  Buckets are those of ranks below 2^20, and of
 *  16-bit ranks where `rank` is narrow. */
uint32_t tsri_rans_get_tails(tsri_rans_dec *dec, const uint8_t *bucket,
                             size_t n, tsri_ranks rank);

/* ---- the parts that have a fast form; return how many, from the first on,
 * they have done; 0 where there is no such code ---- */

size_t tsri_buckets_avx2(tsri_ranks rank, size_t n, uint8_t *bucket);
size_t tsri_ranks_most_avx2(tsri_ranks rank, size_t n, uint32_t *most);
size_t tsri_tails_put_avx2(tsri_bits_out *out, tsri_ranks rank, size_t n,
                           uint32_t most, uint8_t *bucket);
size_t tsri_tails_get_avx2(tsri_bits_in *in, const uint8_t *bucket, size_t n,
                           tsri_ranks rank, uint32_t *most);

/* Of n numbers that all begin 8 bytes or more before the end of the string,
 * which `in` is at the begin of.  `most`: the largest last digit. */
size_t tsri_pack_fixed_avx2(tsri_bits_out *out, tsri_ranks token, size_t n,
                            int bits);
size_t tsri_unpack_fixed_avx2(tsri_bits_in *in, tsri_ranks token, size_t n,
                              int bits, uint32_t *most);
size_t tsri_unpack_radix_avx2(const tsri_packing *packing, tsri_bits_in *in,
                              tsri_ranks token, size_t n, uint32_t *most);

#endif
