/* SPDX-License-Identifier: BSD-2-Clause */
/* This library's entropy coders on the data of bench/entropy, which builds and
 * runs it: the public ones and those inside. */
#include "config.h"
#include <tessera/entropy.h>
#include "bench/entropy_data.h"

/* A context, and how it is to code. */
typedef struct own {
    tsr_context *ctx;
    tsr_symbols_settings settings;
    int width;
} own;

static size_t encode(void *cookie, const void *sym, size_t n, uint8_t *out,
                     size_t room)
{
    own *o = cookie;
    size_t size;

    return tsr_symbols_encode(o->ctx, &o->settings, sym, o->width, n, out, room,
                              &size) ? 0 : size;
}

static int decode(void *cookie, const uint8_t *in, size_t size, void *sym,
                  size_t n)
{
    own *o = cookie;
    return !tsr_symbols_decode(o->ctx, in, size, sym, o->width, n);
}

static void open_own(own *o, int threads)
{
    tsr_context_settings s;

    tsr_context_settings_init(&s);
    s.threads = threads;
    if (tsr_context_open(&o->ctx, &s))
        exit(1);
    tsr_symbols_settings_init(&o->settings);
    o->width = 1;
}

static void time_gauss(const char *name)
{
    const entropy_data data = entropy_gauss(name);
    own one, fast, two;

    open_own(&one, 1);
    open_own(&fast, 1);
    open_own(&two, 2);
    fast.settings.fast = 1;
    const entropy_coder coders[] = {
        { "tessera, 1 Mi symbols a stream", &one, encode, decode, 1 << 20 },
        { "tessera, 256 Ki symbols a stream", &one, encode, decode, 1 << 18 },
        { "tessera, fast, 1 Mi symbols a stream", &fast, encode, decode, 1 << 20 },
    };
    for (size_t i = 0; i < sizeof coders / sizeof *coders; i++)
        entropy_time(&data, &coders[i], CLOCK_THREAD_CPUTIME_ID);
    const entropy_coder wall[] = {
        { "tessera, one stream, wall time, 1 thread", &one, encode, decode, 0 },
        { "tessera, one stream, wall time, 2 threads", &two, encode, decode, 0 },
    };
    for (size_t i = 0; i < sizeof wall / sizeof *wall; i++)
        entropy_time(&data, &wall[i], CLOCK_MONOTONIC);
    tsr_context_close(&one.ctx);
    tsr_context_close(&fast.ctx);
    tsr_context_close(&two.ctx);
    free((void *)data.sym);
}

int main(void)
{
    time_gauss("a16");
    time_gauss("b256");
    return 0;
}
