/* SPDX-License-Identifier: BSD-2-Clause */
/* Other entropy coders on the data of bench/entropy, those whose headers are
 * found.  Built and run by that script.  With -DENTROPY_ZSTD_PARTS: also the
 * coders inside the zstd library, which its static form exports. */
#include "bench/entropy_data.h"
#include "bench/kv_data.h"
#include "bench/vq_data.h"
#include <zlib.h>
#if __has_include(<zstd.h>)
#include <zstd.h>
#endif
#if __has_include(<htscodecs/rANS_static4x16.h>)
#include <htscodecs/arith_dynamic.h>
#include <htscodecs/rANS_static4x16.h>
#endif

static int width; /* bytes of a symbol of the data at work */

/* ---- zlib, zstd ---- */

static size_t zlib_encode(void *cookie, const void *sym, size_t n, uint8_t *out,
                          size_t room)
{
    uLongf size = room;
    (void)cookie;
    return compress2(out, &size, sym, n * (size_t)width, 6) == Z_OK ? size : 0;
}

static int zlib_decode(void *cookie, const uint8_t *in, size_t size, void *sym,
                       size_t n)
{
    uLongf bytes = n * (size_t)width;
    (void)cookie;
    return uncompress(sym, &bytes, in, size) == Z_OK;
}

#ifdef ZSTD_VERSION_NUMBER
typedef struct zstd {
    ZSTD_CCtx *enc;
    ZSTD_DCtx *dec;
} zstd;

static size_t zstd_encode(void *cookie, const void *sym, size_t n, uint8_t *out,
                          size_t room)
{
    const size_t size = ZSTD_compressCCtx(((zstd *)cookie)->enc, out, room, sym,
                                          n * (size_t)width, 1);
    return ZSTD_isError(size) ? 0 : size;
}

static int zstd_decode(void *cookie, const uint8_t *in, size_t size, void *sym,
                       size_t n)
{
    return ZSTD_decompressDCtx(((zstd *)cookie)->dec, sym, n * (size_t)width, in,
                               size) == n * (size_t)width;
}
#endif

/* ---- inside zstd: no header has these ---- */

#ifdef ENTROPY_ZSTD_PARTS
size_t HIST_count_wksp(unsigned *count, unsigned *most, const void *src,
                       size_t size, void *work, size_t work_size);
unsigned FSE_optimalTableLog(unsigned most_log, size_t size, unsigned most);
size_t FSE_normalizeCount(short *norm, unsigned log, const unsigned *count,
                          size_t size, unsigned most, unsigned low_prob);
size_t FSE_writeNCount(void *dst, size_t room, const short *norm, unsigned most,
                       unsigned log);
size_t FSE_buildCTable_wksp(unsigned *table, const short *norm, unsigned most,
                            unsigned log, void *work, size_t work_size);
size_t FSE_compress_usingCTable(void *dst, size_t room, const void *src,
                                size_t size, const unsigned *table);
size_t FSE_decompress_wksp_bmi2(void *dst, size_t room, const void *src,
                                size_t size, unsigned most_log, void *work,
                                size_t work_size, int bmi2);
size_t HUF_compress4X_repeat(void *dst, size_t room, const void *src,
                             size_t size, unsigned most, unsigned log,
                             void *work, size_t work_size, size_t *table,
                             int *repeat, int flags);
size_t HUF_decompress4X_hufOnly_wksp(unsigned *table, void *dst, size_t n,
                                     const void *src, size_t size, void *work,
                                     size_t work_size, int flags);
unsigned HUF_isError(size_t code);

enum { BMI2 = 1, WORK = 1 << 16 };
static _Alignas(64) uint8_t work[WORK];

/* The log of the table is in the cookie.  A failed part gives 0 bytes. */
static size_t fse_encode(void *cookie, const void *sym, size_t n, uint8_t *out,
                         size_t room)
{
    static unsigned table[1 << 13];
    unsigned count[256], most = 255, log = *(const unsigned *)cookie;
    const size_t bytes = n * (size_t)width;
    short norm[256];

    HIST_count_wksp(count, &most, sym, bytes, work, WORK);
    log = FSE_optimalTableLog(log, bytes, most);
    if (HUF_isError(FSE_normalizeCount(norm, log, count, bytes, most,
                                       bytes >= 2048)))
        return 0;
    const size_t head = FSE_writeNCount(out, room, norm, most, log);
    if (HUF_isError(head) ||
        HUF_isError(FSE_buildCTable_wksp(table, norm, most, log, work, WORK)))
        return 0;
    const size_t size = FSE_compress_usingCTable(out + head, room - head, sym,
                                                 bytes, table);
    return size && !HUF_isError(size) ? head + size : 0;
}

static int fse_decode(void *cookie, const uint8_t *in, size_t size, void *sym,
                      size_t n)
{
    return FSE_decompress_wksp_bmi2(sym, n * (size_t)width, in, size,
                                    *(const unsigned *)cookie, work, WORK,
                                    1) == n * (size_t)width;
}

static size_t huf_encode(void *cookie, const void *sym, size_t n, uint8_t *out,
                         size_t room)
{
    static size_t table[512];
    int repeat = 0;
    (void)cookie;
    const size_t size = HUF_compress4X_repeat(out, room, sym, n * (size_t)width,
                                              255, 11, work, WORK, table,
                                              &repeat, BMI2);
    return HUF_isError(size) ? 0 : size;
}

static int huf_decode(void *cookie, const uint8_t *in, size_t size, void *sym,
                      size_t n)
{
    static unsigned table[1 + (1 << 12)];
    (void)cookie;
    table[0] = 12 * 0x01000001u;
    return HUF_decompress4X_hufOnly_wksp(table, sym, n * (size_t)width, in, size,
                                         work, WORK, BMI2) == n * (size_t)width;
}
#endif

/* ---- htscodecs ---- */

#ifdef RANS_ORDER_X32
static size_t hts_encode(void *cookie, const void *sym, size_t n, uint8_t *out,
                         size_t room)
{
    unsigned size = (unsigned)room;
    return rans_compress_to_4x16((uint8_t *)sym, (unsigned)n * (unsigned)width,
                                 out, &size, *(int *)cookie) ? size : 0;
}

static int hts_decode(void *cookie, const uint8_t *in, size_t size, void *sym,
                      size_t n)
{
    const unsigned bytes = (unsigned)n * (unsigned)width;
    unsigned got = bytes;
    (void)cookie;
    return rans_uncompress_to_4x16((uint8_t *)in, (unsigned)size, sym, &got) &&
           got == bytes;
}

static size_t arith_encode(void *cookie, const void *sym, size_t n, uint8_t *out,
                           size_t room)
{
    unsigned size = (unsigned)room;
    (void)cookie;
    return arith_compress_to((uint8_t *)sym, (unsigned)n * (unsigned)width, out,
                             &size, 0) ? size : 0;
}

static int arith_decode(void *cookie, const uint8_t *in, size_t size, void *sym,
                        size_t n)
{
    const unsigned bytes = (unsigned)n * (unsigned)width;
    unsigned got = bytes;
    (void)cookie;
    return arith_uncompress_to((uint8_t *)in, (unsigned)size, sym, &got) &&
           got == bytes;
}
#endif

/* ---- the data ---- */

enum { BLOCK = 1 << 18, HUF_BLOCK = 1 << 17 }; /* bytes; HUF takes no more */

/* All coders, in blocks of so many bytes or less. */
static void time_all(const entropy_data *data, const char *layout, size_t most)
{
    entropy_coder coders[16] = { { 0 } };
    char names[16][80];
    size_t n = 0;

#define ADD(title, cookie_, part, bytes)                                     \
    do {                                                                     \
        const size_t block_ = most < (bytes) ? most : (bytes);               \
        snprintf(names[n], sizeof *names, "%s%s", title, layout);            \
        coders[n] = (entropy_coder){ names[n], cookie_, part##_encode,       \
                                     part##_decode,                          \
                                     block_ / (size_t)data->width };         \
        n++;                                                                 \
    } while (0)
#ifdef ENTROPY_ZSTD_PARTS
    static unsigned log11 = 11, log12 = 12;
    ADD("HUF, 4 streams", NULL, huf, HUF_BLOCK);
    ADD("FSE, log 11", &log11, fse, BLOCK);
    ADD("FSE, log 12", &log12, fse, BLOCK);
#endif
#ifdef RANS_ORDER_X32
    static int plain = 0, wide = RANS_ORDER_X32 | RANS_ORDER_SIMD_AUTO;
    ADD("htscodecs rANS 4x16 order 0", &plain, hts, BLOCK);
    ADD("htscodecs rANS 32x16 order 0", &wide, hts, BLOCK);
    ADD("htscodecs rANS 32x16 order 0, 1 MiB blocks", &wide, hts, 4 * BLOCK);
    ADD("htscodecs arith_dynamic order 0", NULL, arith, 4 * BLOCK);
#endif
#ifdef ZSTD_VERSION_NUMBER
    static zstd z;
    z.enc = z.enc ? z.enc : ZSTD_createCCtx();
    z.dec = z.dec ? z.dec : ZSTD_createDCtx();
    ADD("zstd -1", &z, zstd, BLOCK);
#endif
    ADD("zlib -6", NULL, zlib, BLOCK);
#undef ADD
    width = data->width;
    for (size_t i = 0; i < n; i++)
        if (most > BLOCK || !strstr(names[i], "1 MiB"))
            entropy_time(data, &coders[i], CLOCK_THREAD_CPUTIME_ID);
}

static void time_kv(void)
{
    enum { N = KV_TOKENS * KV_CHANNELS };
    static uint8_t sym[N], planar[N];
    const kv_bounds bounds = kv_make(sym);

    for (size_t t = 0; t < KV_TOKENS; t++)
        for (size_t c = 0; c < KV_CHANNELS; c++)
            planar[c * KV_TOKENS + t] = sym[t * KV_CHANNELS + c];
    const entropy_data a = { "kv32", 1, N, planar, bounds.each };
    const entropy_data b = { "kv32", 1, N, sym, bounds.each };
    time_all(&a, ", planar, a table for each channel", KV_TOKENS);
    time_all(&b, ", interleaved", SIZE_MAX);
}

static void time_vq(const char *name, void (*make)(uint16_t *))
{
    static uint16_t sym[VQ_N];

    make(sym);
    const entropy_data data = { name, 2, VQ_N, sym, vq_bound(sym, VQ_N) };
    time_all(&data, ", bytes", SIZE_MAX);
}

int main(void)
{
    static const char *const names[] = { "a16", "b256" };

    for (int i = 0; i < 2; i++) {
        const entropy_data data = entropy_gauss(names[i]);
        time_all(&data, "", SIZE_MAX);
        free((void *)data.sym);
    }
    time_kv();
    time_vq("vq64k", vq_make_sorted);
    time_vq("vq64k in no order", vq_make_permuted);
    return 0;
}
