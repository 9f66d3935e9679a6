/* SPDX-License-Identifier: BSD-2-Clause */
#include "entropy/rans_bits.h"

size_t tsri_buckets_avx2(tsri_ranks rank, size_t n, uint8_t *bucket)
{
    (void)rank, (void)n, (void)bucket;
    return 0;
}

size_t tsri_ranks_most_avx2(tsri_ranks rank, size_t n, uint32_t *most)
{
    (void)rank, (void)n, (void)most;
    return 0;
}

size_t tsri_tails_put_avx2(tsri_bits_out *out, tsri_ranks rank, size_t n,
                           uint32_t most, uint8_t *bucket)
{
    (void)out, (void)rank, (void)n, (void)most, (void)bucket;
    return 0;
}

size_t tsri_tails_get_avx2(tsri_bits_in *in, const uint8_t *bucket, size_t n,
                           tsri_ranks rank, uint32_t *most)
{
    (void)in, (void)bucket, (void)n, (void)rank, (void)most;
    return 0;
}

size_t tsri_pack_fixed_avx2(tsri_bits_out *out, tsri_ranks token, size_t n,
                            int bits)
{
    (void)out, (void)token, (void)n, (void)bits;
    return 0;
}

size_t tsri_unpack_fixed_avx2(tsri_bits_in *in, tsri_ranks token, size_t n,
                              int bits, uint32_t *most)
{
    (void)in, (void)token, (void)n, (void)bits, (void)most;
    return 0;
}

size_t tsri_unpack_radix_avx2(const tsri_packing *packing, tsri_bits_in *in,
                              tsri_ranks token, size_t n, uint32_t *most)
{
    (void)packing, (void)in, (void)token, (void)n, (void)most;
    return 0;
}
