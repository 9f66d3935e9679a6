/* SPDX-License-Identifier: BSD-2-Clause */
/* This library's entropy coders on the data of bench/entropy, which builds and
 * runs it: the public one, and those inside.  With an argument: the public one
 * with one thread and with two, in wall time. */
#include "config.h"
#include <tessera/entropy.h>
#include "bench/entropy_data.h"
#include "bench/kv_data.h"
#include "bench/vq_data.h"
#include "entropy/adaptive.h"
#include "entropy/classes.h"
#include "entropy/plan.h"
#include "entropy/tables.h"
#include "lib/bytes.h"

static void check(tsr_error error, const char *what)
{
    if (!error)
        return;
    fprintf(stderr, "%s: %s\n", what, tsr_error_string(error));
    exit(1);
}

static tsr_context *open_context(int threads)
{
    tsr_context_settings s;
    tsr_context *ctx;

    tsr_context_settings_init(&s);
    s.threads = threads;
    check(tsr_context_open(&ctx, &s), "context");
    return ctx;
}

static void time_one(const entropy_data *data, const char *name, void *cookie,
                     entropy_encode encode, entropy_decode decode, double extra)
{
    const entropy_coder coder = { name, cookie, encode, decode, 1 << 20, extra };
    entropy_time(data, &coder, CLOCK_THREAD_CPUTIME_ID);
}

/* ---- <tessera/entropy.h> ---- */

typedef struct own {
    tsr_context *ctx;
    tsr_symbols_settings settings;
    int width;
} own;

static size_t own_encode(void *cookie, const void *sym, size_t n, uint8_t *out,
                         size_t room)
{
    own *o = cookie;
    size_t size;

    return tsr_symbols_encode(o->ctx, &o->settings, sym, o->width, n, out, room,
                              &size) ? 0 : size;
}

static int own_decode(void *cookie, const uint8_t *in, size_t size, void *sym,
                      size_t n)
{
    own *o = cookie;
    return !tsr_symbols_decode(o->ctx, in, size, sym, o->width, n);
}

static void open_own(own *o, int threads, int width, int fast)
{
    o->ctx = open_context(threads);
    tsr_symbols_settings_init(&o->settings);
    o->settings.fast = fast;
    o->width = width;
}

static void time_own(const entropy_data *data, const char *name, int fast)
{
    own o;

    open_own(&o, 1, data->width, fast);
    time_one(data, name, &o, own_encode, own_decode, 0);
    tsr_context_close(&o.ctx);
}

/* A stream of the whole file: chunks are shared out. */
static void time_wall(const entropy_data *data)
{
    for (int threads = 1; threads <= 2; threads++) {
        char name[80];
        own o;
        snprintf(name, sizeof name, "tessera, wall time, threads: %d", threads);
        open_own(&o, threads, data->width, 0);
        const entropy_coder coder = { name, &o, own_encode, own_decode, 0, 0 };
        entropy_time(data, &coder, CLOCK_MONOTONIC);
        tsr_context_close(&o.ctx);
    }
}

/* ---- models that learn, each call from nothing ---- */

typedef struct learner {
    tsri_adapt_enc *enc;
    tsri_adapt_dec *dec;
} learner;

static size_t adapt_encode(void *cookie, const void *sym, size_t n, uint8_t *out,
                           size_t room)
{
    learner *l = cookie;
    const uint8_t *data;
    size_t size;

    if (tsri_adapt_put(l->enc, 0, NULL, sym, n) ||
        tsri_adapt_finish(l->enc, 0, 32, &data, &size) || size > room)
        return 0;
    memcpy(out, data, size);
    return size;
}

static int adapt_decode(void *cookie, const uint8_t *in, size_t size, void *sym,
                        size_t n)
{
    learner *l = cookie;
    return !tsri_adapt_start(l->dec, in, size, 0) &&
           !tsri_adapt_get(l->dec, 0, NULL, sym, n) && !tsri_adapt_end(l->dec);
}

static void time_adaptive(const entropy_data *data, int symbols)
{
    const tsri_adapt_shape shape = { symbols, 1, TSRI_ADAPT_MAX_MEMORY };
    tsr_context *ctx = open_context(1);
    learner l;

    check(tsri_adapt_enc_open(&l.enc, ctx, &shape, 1), "adaptive encoder");
    check(tsri_adapt_dec_open(&l.dec, ctx, &shape, 1), "adaptive decoder");
    time_one(data, "tessera, adaptive rows", &l, adapt_encode, adapt_decode, 0);
    tsri_adapt_enc_close(&l.enc);
    tsri_adapt_dec_close(&l.dec);
    tsr_context_close(&ctx);
}

/* ---- plans: a class for each channel ---- */

enum { TILE = 512, CLASSES = 64, KV_N = KV_TOKENS * KV_CHANNELS };

typedef struct planned {
    tsr_context *ctx;
    tsri_plan *plan;
    ptrdiff_t token_step, channel_step;
} planned;

static tsri_bytes2d matrix(const planned *p, const void *sym, size_t n)
{
    return (tsri_bytes2d){ (uint8_t *)sym, n / KV_CHANNELS, p->token_step,
                           p->channel_step };
}

/* The sizes of the blocks, four bytes each, then the blocks. */
static size_t plan_encode(void *cookie, const void *sym, size_t n, uint8_t *out,
                          size_t room)
{
    const planned *p = cookie;
    const tsri_bytes2d in = matrix(p, sym, n);
    const size_t blocks = tsri_plan_blocks(p->plan, in.tokens);
    uint32_t sizes[KV_TOKENS];
    size_t size;

    if (tsri_plan_bound(p->plan, in.tokens) + 4 * blocks > room ||
        tsri_plan_encode(p->plan, p->ctx, &in, 0, out + 4 * blocks, sizes, &size))
        return 0;
    for (size_t i = 0; i < blocks; i++)
        tsri_put32(out + 4 * i, sizes[i]);
    return 4 * blocks + size;
}

static int plan_decode(void *cookie, const uint8_t *in, size_t size, void *sym,
                       size_t n)
{
    const planned *p = cookie;
    const tsri_bytes2d out = matrix(p, sym, n);
    const size_t blocks = tsri_plan_blocks(p->plan, out.tokens);
    uint32_t sizes[KV_TOKENS];

    for (size_t i = 0; i < blocks; i++)
        sizes[i] = tsri_get32(in + 4 * i);
    return !tsri_plan_decode(p->plan, p->ctx, in + 4 * blocks, size - 4 * blocks,
                             sizes, 0, &out);
}

/* The tables, classes and offsets are made before; their bytes are counted. */
static void time_kv(void)
{
    static uint8_t sym[KV_N], cls[KV_CHANNELS], offset[KV_CHANNELS];
    static uint32_t hist[KV_CHANNELS][256];
    static tsri_classes classes;
    const kv_bounds bounds = kv_make(sym);
    const entropy_data data = { "kv32", 1, KV_N, sym, bounds.each };
    const tsri_plan_shape shape = { KV_CHANNELS, KV_CHANNELS, TILE, cls, offset, 32 };
    planned p = { open_context(1), NULL, KV_CHANNELS, 1 };
    tsri_bank *bank;
    size_t tables, used;

    for (size_t i = 0; i < KV_N; i++)
        hist[i % KV_CHANNELS][sym[i]]++;
    check(tsri_classes_train(p.ctx, (const uint32_t (*)[256])hist, KV_CHANNELS,
                             CLASSES, 12, &classes, cls, offset), "classes");
    uint8_t *bytes = malloc(tsri_tables_bound(classes.sizes, classes.tables));
    check(tsri_tables_write(classes.bits, classes.freq, classes.sizes,
                            classes.tables, bytes, &tables), "tables");
    check(tsri_tables_read(&bank, p.ctx, bytes, tables, &used), "bank");
    check(tsri_plan_open(&p.plan, p.ctx, bank, &shape), "plan");
    time_one(&data, "tessera, interleaved, 64 tables for all channels", &p,
             plan_encode, plan_decode, (double)tables + 2 * KV_CHANNELS);
    time_own(&data, "tessera, one table", 0);
    tsri_plan_close(&p.plan, p.ctx);
    tsri_bank_close(&bank, p.ctx);
    tsr_context_close(&p.ctx);
    free(bytes);
}

/* ---- */

static void time_vq(const char *name, void (*make)(uint16_t *), bool wall)
{
    static uint16_t sym[VQ_N];

    make(sym);
    const entropy_data data = { name, 2, VQ_N, sym, vq_bound(sym, VQ_N) };
    if (wall)
        time_wall(&data);
    else
        time_own(&data, "tessera", 0);
}

static void time_gauss(const char *name, int symbols, bool wall)
{
    const entropy_data data = entropy_gauss(name);

    if (wall) {
        time_wall(&data);
    } else {
        time_own(&data, "tessera", 0);
        time_own(&data, "tessera, fast", 1);
        time_adaptive(&data, symbols);
    }
    free((void *)data.sym);
}

int main(int argc, char **argv)
{
    const bool wall = argc > 1;
    (void)argv;

    time_gauss("a16", 16, wall);
    time_gauss("b256", 256, wall);
    if (!wall)
        time_kv();
    time_vq("vq64k", vq_make_sorted, wall);
    if (!wall)
        time_vq("vq64k in no order", vq_make_permuted, false);
    return 0;
}
