/* SPDX-License-Identifier: BSD-2-Clause */
/* Speed and size of plans: make tests/plan_speed && tests/plan_speed [CLASSES].
 * 10^6 symbols a second of one thread's processor time, the sum of the least
 * that each piece of 2048 tokens took. */
#include "config.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "bench/kv_data.h"
#include "entropy/classes.h"
#include "entropy/plan.h"
#include "entropy/tables.h"

enum { PIECE = 2048, PIECES = KV_TOKENS / PIECE, PASSES = 25, N = KV_TOKENS * KV_CHANNELS };

static uint8_t data[N], got[N], planar[N];
static uint32_t hist[KV_CHANNELS][256];
static tsri_classes classes;
static uint8_t cls[KV_CHANNELS], offset[KV_CHANNELS];

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

typedef struct piece {
    uint8_t *bytes;
    uint32_t sizes[PIECE];
    size_t size;
    double enc, dec;
} piece;

static tsri_bytes2d view(uint8_t *from, int p, bool interleaved)
{
    const ptrdiff_t first = (ptrdiff_t)p * PIECE;
    return interleaved
        ? (tsri_bytes2d){ from + first * KV_CHANNELS, PIECE, KV_CHANNELS, 1 }
        : (tsri_bytes2d){ from + first, PIECE, 1, KV_TOKENS };
}

static void time_plan(tsr_context *ctx, const tsri_bank *bank, int group,
                      int tile, bool interleaved, size_t head, double bound)
{
    static piece pieces[PIECES];
    const tsri_plan_shape shape = { KV_CHANNELS, group, tile, cls, offset, 32 };
    uint8_t *from = interleaved ? data : planar;
    tsri_plan *plan;
    double bytes = (double)head, enc = 0, dec = 0;

    check(tsri_plan_open(&plan, ctx, bank, &shape), "plan");
    for (int p = 0; p < PIECES; p++) {
        pieces[p].bytes = malloc(tsri_plan_bound(plan, PIECE));
        pieces[p].enc = pieces[p].dec = 1e9;
    }
    for (int pass = 0; pass < PASSES; pass++)
        for (int p = 0; p < PIECES; p++) {
            const tsri_bytes2d in = view(from, p, interleaved);
            const tsri_bytes2d out = view(got, p, interleaved);
            const double t0 = now();
            check(tsri_plan_encode(plan, ctx, &in, 0, pieces[p].bytes,
                                   pieces[p].sizes, &pieces[p].size), "encode");
            const double t1 = now();
            check(tsri_plan_decode(plan, ctx, pieces[p].bytes, pieces[p].size,
                                   pieces[p].sizes, 0, &out), "decode");
            pieces[p].enc = fmin(pieces[p].enc, t1 - t0);
            pieces[p].dec = fmin(pieces[p].dec, now() - t1);
        }
    check(memcmp(from, got, N) ? TSR_E_INTERNAL : TSR_OK, "symbols");
    for (int p = 0; p < PIECES; p++) {
        bytes += (double)pieces[p].size +
                 4.0 * (double)tsri_plan_blocks(plan, PIECE);
        enc += pieces[p].enc;
        dec += pieces[p].dec;
        free(pieces[p].bytes);
    }
    printf("%4d channels x %4d tokens, %s: %+.3f %%, encode %5.0f, "
           "decode %5.0f\n", group, tile,
           interleaved ? "interleaved" : "planar     ",
           100 * (bytes / bound - 1), N / enc * 1e-6, N / dec * 1e-6);
    tsri_plan_close(&plan, ctx);
}

int main(int argc, char **argv)
{
    const int most = argc > 1 ? atoi(argv[1]) : 64;
    const kv_bounds bounds = kv_make(data);
    uint64_t cost;
    size_t head, used;
    tsr_context *ctx;
    tsri_bank *bank;

    tsr_context_settings s;
    tsr_context_settings_init(&s);
    s.threads = 1;
    check(tsr_context_open(&ctx, &s), "context");
    for (size_t t = 0; t < KV_TOKENS; t++)
        for (size_t c = 0; c < KV_CHANNELS; c++) {
            hist[c][data[t * KV_CHANNELS + c]]++;
            planar[c * KV_TOKENS + t] = data[t * KV_CHANNELS + c];
        }
    const double t0 = now();
    check(tsri_classes_train(ctx, (const uint32_t (*)[256])hist, KV_CHANNELS,
                             most, 12, &classes, cls, offset), "classes");
    const double t1 = now();
    uint8_t *bytes = malloc(tsri_tables_bound(classes.sizes, classes.tables));
    check(tsri_tables_write(12, classes.freq, classes.sizes, classes.tables,
                            bytes, &head), "tables");
    const double t2 = now();
    check(tsri_tables_read(&bank, ctx, bytes, head, &used), "bank");
    check(tsri_classes_choose(ctx, bank, (const uint32_t (*)[256])hist,
                              KV_CHANNELS, cls, offset, &cost), "choice");
    printf("kv32: bounds %.0f and %.0f bytes; %d classes in %.0f ms, %zu bytes "
           "in %.1f ms; symbols %+.3f %%, with tables, classes and offsets "
           "%+.3f %%\n", bounds.one, bounds.each, classes.tables,
           1e3 * (t1 - t0), head, 1e3 * (t2 - t1),
           100 * ((double)cost / 2048 / 8 / bounds.each - 1),
           100 * (((double)cost / 2048 / 8 + (double)head + 2 * KV_CHANNELS) /
                  bounds.each - 1));
    head += 2 * KV_CHANNELS;
    time_plan(ctx, bank, KV_CHANNELS, 256, true, head, bounds.each);
    time_plan(ctx, bank, KV_CHANNELS, 256, false, head, bounds.each);
    time_plan(ctx, bank, KV_CHANNELS, 512, true, head, bounds.each);
    time_plan(ctx, bank, KV_CHANNELS, 1024, true, head, bounds.each);
    time_plan(ctx, bank, 64, 256, true, head, bounds.each);
    tsri_bank_close(&bank, ctx);
    tsr_context_close(&ctx);
    free(bytes);
    return 0;
}
