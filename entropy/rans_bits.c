/* SPDX-License-Identifier: BSD-2-Clause */
#include "entropy/rans_bits.h"

uint8_t *tsri_kept_take(tsri_kept **kept, tsr_context *ctx, size_t n)
{
    tsri_kept *k = *kept;
    size_t size;

    if (!k || n > k->size - k->used) {
        if (!tsri_add(k ? 2 * k->size : 4096, n, &size) ||
            !tsri_add(size, sizeof *k, &size))
            return NULL;
        k = tsri_alloc(ctx, size, 1);
        if (!k)
            return NULL;
        *k = (tsri_kept){ *kept, size - sizeof *k, 0 };
        *kept = k;
    }
    k->used += n;
    return (uint8_t *)(k + 1) + k->used - n;
}

/* Frees all blocks after the first one. */
static void free_older(tsri_kept *first, tsr_context *ctx)
{
    while (first->next) {
        tsri_kept *old = first->next;
        first->next = old->next;
        tsri_free(ctx, old);
    }
}

void tsri_kept_release(tsri_kept **kept, tsr_context *ctx)
{
    if (!*kept)
        return;
    free_older(*kept, ctx);
    (*kept)->used = 0;
}

void tsri_kept_close(tsri_kept **kept, tsr_context *ctx)
{
    tsri_kept_release(kept, ctx);
    tsri_free(ctx, *kept);
    *kept = NULL;
}

void tsri_buckets(tsri_ranks rank, size_t n, uint8_t *bucket, bool avx2)
{
    for (size_t i = avx2 ? tsri_buckets_avx2(rank, n, bucket) : 0; i < n; i++)
        bucket[i] = (uint8_t)tsri_bucket_of(tsri_rank(rank, i));
}

uint32_t tsri_ranks_most(tsri_ranks rank, size_t n, bool avx2)
{
    uint32_t most = 0;

    for (size_t i = avx2 ? tsri_ranks_most_avx2(rank, n, &most) : 0; i < n; i++)
        most = tsri_rank(rank, i) > most ? tsri_rank(rank, i) : most;
    return most;
}

void tsri_put_tails(tsri_bits_out *out, tsri_ranks rank, size_t n,
                    uint32_t most, uint8_t *bucket)
{
    size_t i = 0;

    if (out->avx2)
        i = tsri_tails_put_avx2(out, rank, n, most, bucket);
    for (; i < n; i++) {
        const uint32_t r = tsri_rank(rank, i), b = tsri_bucket_of(r);
        const int k = tsri_bucket_tail(b);
        bucket[i] = (uint8_t)b;
        tsri_bits_put(out, r & ((1u << k) - 1), k);
    }
}

/* The raw bits not yet taken, those in dec->bits included. */
static tsri_bits_in unread(const tsri_rans_dec *dec)
{
    const uint8_t *from = dec->raw - (dec->nbits + 7) / 8;
    return (tsri_bits_in){ from, (size_t)(dec->raw_end - from),
                           (uint64_t)(-dec->nbits & 7) };
}

/* Leaves the decoder where `in` has come to. */
static void leave(tsri_rans_dec *dec, const tsri_bits_in *in)
{
    const uint64_t byte = (in->at + 7) >> 3;

    dec->cut |= byte > in->size;
    dec->nbits = dec->cut ? 0 : (int)(-in->at & 7);
    dec->raw = dec->cut ? dec->raw_end : in->data + byte;
    dec->bits = dec->nbits ? (uint64_t)dec->raw[-1] >> (8 - dec->nbits) : 0;
}

uint32_t tsri_rans_get_tails(tsri_rans_dec *dec, const uint8_t *bucket,
                             size_t n, tsri_ranks rank)
{
    tsri_bits_in in = unread(dec);
    uint32_t most = 0;
    size_t i = 0;

    if (dec->avx2)
        i = tsri_tails_get_avx2(&in, bucket, n, rank, &most);
    for (; i < n; i++) {
        const uint32_t r = tsri_bucket_first(bucket[i]) +
            (uint32_t)tsri_bits_get(&in, tsri_bucket_tail(bucket[i]));
        most = r > most ? r : most;
        tsri_set_rank(rank, i, r);
    }
    leave(dec, &in);
    return most;
}
