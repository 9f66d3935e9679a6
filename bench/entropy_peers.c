/* SPDX-License-Identifier: BSD-2-Clause */
/* Other entropy coders on the data of bench/entropy, those whose headers are
 * found.  Built and run by that script. */
#include "bench/entropy_data.h"
#include <zlib.h>
#if __has_include(<zstd.h>)
#include <zstd.h>
#endif
#if __has_include(<htscodecs/rANS_static4x16.h>)
#include <htscodecs/rANS_static4x16.h>
#endif

static size_t zlib_encode(void *coder, const uint8_t *sym, uint8_t *out)
{
    uLongf size = 2 * ENTROPY_BLOCK;
    (void)coder;
    return compress2(out, &size, sym, ENTROPY_BLOCK, 6) == Z_OK ? size : 0;
}

static int zlib_decode(void *coder, const uint8_t *in, size_t size, uint8_t *sym)
{
    uLongf n = ENTROPY_BLOCK;
    (void)coder;
    return uncompress(sym, &n, in, size) == Z_OK;
}

#ifdef ZSTD_VERSION_NUMBER
typedef struct zstd {
    ZSTD_CCtx *enc;
    ZSTD_DCtx *dec;
} zstd;

static size_t zstd_encode(void *coder, const uint8_t *sym, uint8_t *out)
{
    const size_t n = ZSTD_compressCCtx(((zstd *)coder)->enc, out,
                                       2 * ENTROPY_BLOCK, sym, ENTROPY_BLOCK, 1);
    return ZSTD_isError(n) ? 0 : n;
}

static int zstd_decode(void *coder, const uint8_t *in, size_t size, uint8_t *sym)
{
    return ZSTD_decompressDCtx(((zstd *)coder)->dec, sym, ENTROPY_BLOCK, in,
                               size) == ENTROPY_BLOCK;
}
#endif

#ifdef RANS_ORDER_X32
static size_t hts_encode(void *coder, const uint8_t *sym, uint8_t *out)
{
    unsigned size = 2 * ENTROPY_BLOCK;
    return rans_compress_to_4x16((uint8_t *)sym, ENTROPY_BLOCK, out, &size,
                                 *(int *)coder) ? size : 0;
}

static int hts_decode(void *coder, const uint8_t *in, size_t size, uint8_t *sym)
{
    unsigned n = ENTROPY_BLOCK;
    (void)coder;
    return rans_uncompress_to_4x16((uint8_t *)in, (unsigned)size, sym, &n) &&
           n == ENTROPY_BLOCK;
}
#endif

int main(void)
{
    for (int i = 0; i < ENTROPY_SETS; i++) {
        const entropy_set *set = &entropy_sets[i];
#ifdef RANS_ORDER_X32
        int plain = 0, wide = RANS_ORDER_X32 | RANS_ORDER_SIMD_AUTO;
        entropy_time(set, "htscodecs rANS 4x16 order 0", &plain, hts_encode,
                     hts_decode);
        entropy_time(set, "htscodecs rANS 32x16 order 0", &wide, hts_encode,
                     hts_decode);
#endif
#ifdef ZSTD_VERSION_NUMBER
        zstd z = { ZSTD_createCCtx(), ZSTD_createDCtx() };
        entropy_time(set, "zstd -1", &z, zstd_encode, zstd_decode);
        ZSTD_freeCCtx(z.enc);
        ZSTD_freeDCtx(z.dec);
#endif
        entropy_time(set, "zlib -6", NULL, zlib_encode, zlib_decode);
    }
    return 0;
}
