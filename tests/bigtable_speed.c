/* SPDX-License-Identifier: BSD-2-Clause */
/* Speed of large alphabets: make tests/bigtable_speed && tests/bigtable_speed.
 * 10^6 indices a second, thread CPU time, each block at the best of its passes. */
#include "config.h"
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "bench/vq_data.h"
#include "entropy/bigtable.h"
#include "entropy/packing.h"

enum { BLOCK = 1 << 19, BLOCKS = VQ_N / BLOCK, PASSES = 15 };

static uint16_t token[VQ_N], got[2][BLOCK];
static uint32_t wide[BLOCK], got_wide[BLOCK];
static uint8_t data[2][4 * BLOCK];

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void check(tsr_error error, const char *what)
{
    if (!error)
        return;
    fprintf(stderr, "%s: %s\n", what, tsr_error_string(error));
    exit(1);
}

static double best_of(double a, double b)
{
    return a < b ? a : b;
}

static size_t encode(const tsri_bigtable *t, tsri_rans_enc *enc, int block,
                     uint8_t *out)
{
    const uint8_t *segment;
    size_t size;

    check(tsri_bigtable_put16(t, enc, token + (size_t)block * BLOCK, BLOCK), "put");
    check(tsri_rans_finish(enc, 0, 32, &segment, &size), "finish");
    memcpy(out, segment, size);
    return size;
}

static void decode(const tsr_context *ctx, const tsri_bigtable *t, size_t size)
{
    tsri_rans_dec dec;

    check(tsri_rans_dec_open(&dec, ctx, data[0], size, 0), "open");
    check(tsri_bigtable_get16(t, &dec, got[0], BLOCK), "get");
    check(tsri_rans_dec_end(&dec), "end");
}

static void decode_pair(const tsr_context *ctx, const tsri_bigtable *t,
                        const size_t size[2])
{
    tsri_rans_dec dec[2];
    uint16_t *to[2] = { got[0], got[1] };

    for (int s = 0; s < 2; s++)
        check(tsri_rans_dec_open(&dec[s], ctx, data[s], size[s], 0), "open");
    check(tsri_bigtable_get16_pair(t, (tsri_rans_dec *[]){ &dec[0], &dec[1] },
                                   to, (size_t[]){ BLOCK, BLOCK }), "get");
    for (int s = 0; s < 2; s++)
        check(tsri_rans_dec_end(&dec[s]), "end");
}

/* Encoder, decoder, and decoder of two segments, of all blocks. */
static void time_table(const tsr_context *ctx, const tsri_bigtable *t,
                       tsri_rans_enc *enc, const char *name, size_t table)
{
    double seconds[3] = { 0 }, bytes = (double)table;
    const double bound = vq_bound(token, VQ_N);

    for (int b = 0; b < BLOCKS; b += 2) {
        double best[3] = { 1e9, 1e9, 1e9 };
        size_t size[2] = { 0 };
        for (int pass = 0; pass < PASSES; pass++) {
            const double t0 = now();
            for (int s = 0; s < 2; s++)
                size[s] = encode(t, enc, b + s, data[s]);
            const double t1 = now();
            decode(ctx, t, size[0]);
            const double t2 = now();
            decode_pair(ctx, t, size);
            const double t3 = now();
            best[0] = best_of(best[0], t1 - t0);
            best[1] = best_of(best[1], 2 * (t2 - t1));
            best[2] = best_of(best[2], t3 - t2);
            check(memcmp(got, token + (size_t)b * BLOCK, sizeof got) ?
                  TSR_E_INTERNAL : TSR_OK, "indices");
        }
        for (int i = 0; i < 3; i++)
            seconds[i] += best[i];
        bytes += (double)(size[0] + size[1]);
    }
    printf("%-22s %9.0f bytes, %+.3f %%  encode %5.0f  decode %5.0f  two "
           "segments %5.0f\n", name, bytes, 100 * (bytes / bound - 1),
           VQ_N / seconds[0] * 1e-6, VQ_N / seconds[1] * 1e-6,
           VQ_N / seconds[2] * 1e-6);
}

static void permuted(tsr_context *ctx, tsri_rans_enc *enc)
{
    static uint32_t freq[VQ_ALPHABET];
    tsri_bigtable *t;

    vq_make_permuted(token);
    vq_count(token, VQ_N, freq);
    check(tsri_bigtable_open(&t, ctx, freq, VQ_ALPHABET), "table");
    time_table(ctx, t, enc, "vq64k permuted", 0);
    tsri_bigtable_close(&t, ctx);
}

static void sorted(tsr_context *ctx, tsri_rans_enc *enc)
{
    uint64_t count[TSRI_BIGTABLE_BUCKETS] = { 0 };
    uint16_t freq[TSRI_BIGTABLE_BUCKETS];
    const int buckets = tsri_bigtable_buckets(VQ_ALPHABET);
    double counting = 1e9;
    tsri_bigtable *t;

    vq_make_sorted(token);
    for (int pass = 0; pass < PASSES; pass++) {
        const double t0 = now();
        memset(count, 0, sizeof count);
        check(tsri_bigtable_count16(ctx, VQ_ALPHABET, token, BLOCK, count),
              "count");
        counting = best_of(counting, now() - t0);
    }
    check(tsri_bigtable_count16(ctx, VQ_ALPHABET, token + BLOCK, VQ_N - BLOCK,
                                count), "count");
    check(tsri_bigtable_normalise(VQ_ALPHABET, count, freq), "frequencies");
    check(tsri_bigtable_open_sorted(&t, ctx, freq, VQ_ALPHABET), "table");
    time_table(ctx, t, enc, "vq64k sorted", 2 * (size_t)buckets);
    printf("%-22s %5.0f\n", "counting its buckets", BLOCK / counting * 1e-6);
    tsri_bigtable_close(&t, ctx);
}

static void packing(const tsr_context *ctx, const char *name,
                    const tsri_packing *p)
{
    double best[2][2] = { { 1e9, 1e9 }, { 1e9, 1e9 } };
    const bool narrow = p->alphabet <= 65536;
    size_t size;

    tsri_packing_size(p, BLOCK, &size);
    for (int i = 0; i < BLOCK; i++)
        token[i] = (uint16_t)(wide[i] = (uint32_t)i * 2654435761u % p->alphabet);
    for (int pass = 0; pass < 4 * PASSES; pass++) {
        const double t0 = now();
        check(tsri_pack32(p, ctx, wide, BLOCK, data[0]), "pack");
        const double t1 = now();
        check(tsri_unpack32(p, ctx, data[0], size, got_wide, BLOCK), "unpack");
        const double t2 = now();
        if (narrow)
            check(tsri_pack16(p, ctx, token, BLOCK, data[0]), "pack");
        const double t3 = now();
        if (narrow)
            check(tsri_unpack16(p, ctx, data[0], size, got[0], BLOCK), "unpack");
        const double t4 = now();
        best[0][0] = best_of(best[0][0], t1 - t0);
        best[0][1] = best_of(best[0][1], t2 - t1);
        best[1][0] = best_of(best[1][0], t3 - t2);
        best[1][1] = best_of(best[1][1], t4 - t3);
    }
    printf("%-22s %.3f bits  u32 pack %5.0f unpack %5.0f", name,
           8.0 * (double)size / BLOCK, BLOCK / best[0][0] * 1e-6,
           BLOCK / best[0][1] * 1e-6);
    if (narrow)
        printf("  u16 pack %5.0f unpack %5.0f", BLOCK / best[1][0] * 1e-6,
               BLOCK / best[1][1] * 1e-6);
    printf("\n");
}

static void packings(const tsr_context *ctx)
{
    static const uint32_t alphabets[] = { 1000, 8192, 65536, 100000, 300, 3 };
    char name[64];
    tsri_packing p;

    for (size_t i = 0; i < sizeof alphabets / sizeof *alphabets; i++) {
        check(tsri_packing_fixed(&p, alphabets[i]), "packing");
        snprintf(name, sizeof name, "fixed width, %u", alphabets[i]);
        packing(ctx, name, &p);
        check(tsri_packing_radix(&p, alphabets[i]), "packing");
        snprintf(name, sizeof name, "radix %u, %d digits", alphabets[i], p.digits);
        if (p.digits > 1)
            packing(ctx, name, &p);
    }
}

int main(void)
{
    tsri_rans_enc *enc;
    tsr_context *ctx;

    check(tsr_context_open(&ctx, NULL), "context");
    check(tsri_rans_enc_open(&enc, ctx), "encoder");
    permuted(ctx, enc);
    sorted(ctx, enc);
    packings(ctx);
    tsri_rans_enc_close(&enc);
    tsr_context_close(&ctx);
    return 0;
}
