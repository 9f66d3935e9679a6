/* SPDX-License-Identifier: BSD-2-Clause */
/* Speed of the models that learn, with and without contexts, and of the range
 * coder: make tests/adaptive_speed && tests/adaptive_speed.  Lines as of
 * tests/entropy_speed. */
#include "config.h"
#include "bench/entropy_data.h"
#include "entropy/adaptive.h"
#include "entropy/range.h"

enum { BLOCK = 1 << 18, SMALL = 1 << 10, CONTEXTS = 16 };

typedef struct learner {
    tsri_adapt_enc *enc;
    tsri_adapt_dec *dec;
    const uint16_t *context;
} learner;

static size_t encode(void *cookie, const void *sym, size_t n, uint8_t *out,
                     size_t room)
{
    learner *l = cookie;
    const uint8_t *data;
    size_t size;

    if (tsri_adapt_put(l->enc, 0, l->context, sym, n) ||
        tsri_adapt_finish(l->enc, 0, 0, &data, &size) || size > room)
        return 0;
    memcpy(out, data, size);
    return size;
}

static int decode(void *cookie, const uint8_t *in, size_t size, void *sym,
                  size_t n)
{
    learner *l = cookie;
    return !tsri_adapt_start(l->dec, in, size, 0) &&
           !tsri_adapt_get(l->dec, 0, l->context, sym, n) &&
           !tsri_adapt_end(l->dec);
}

static void time_models(tsr_context *ctx, const entropy_data *data, int symbols,
                        const char *name, const uint16_t *context)
{
    const tsri_adapt_shape shape = { symbols, context ? CONTEXTS : 1, 13 };
    learner l = { .context = context };

    if (tsri_adapt_enc_open(&l.enc, ctx, &shape, 1) ||
        tsri_adapt_dec_open(&l.dec, ctx, &shape, 1))
        exit(1);
    const entropy_coder coder = { name, &l, encode, decode, BLOCK, 0 };
    entropy_time(data, &coder, CLOCK_THREAD_CPUTIME_ID);
    tsri_adapt_enc_close(&l.enc);
    tsri_adapt_dec_close(&l.dec);
}

static size_t range_encode(void *cookie, const void *sym, size_t n, uint8_t *out,
                           size_t room)
{
    const uint8_t *s = sym;
    tsri_range_byte model = { 0 };
    tsri_range_enc enc;
    size_t size;

    (void)cookie;
    tsri_range_enc_open(&enc, out, room);
    for (size_t i = 0; i < n; i++)
        tsri_range_put_byte(&enc, &model, s[i]);
    return tsri_range_finish(&enc, &size) ? 0 : size;
}

static int range_decode(void *cookie, const uint8_t *in, size_t size, void *sym,
                        size_t n)
{
    uint8_t *s = sym;
    tsri_range_byte model = { 0 };
    tsri_range_dec dec;

    (void)cookie;
    tsri_range_dec_open(&dec, in, size);
    for (size_t i = 0; i < n; i++)
        s[i] = (uint8_t)tsri_range_get_byte(&dec, &model);
    return !tsri_range_dec_end(&dec);
}

int main(void)
{
    static const char *const names[] = { "a16", "b256" };
    static uint16_t mixed[BLOCK], rows[BLOCK];
    tsr_context *ctx;

    if (tsr_context_open(&ctx, NULL))
        return 1;
    for (uint32_t i = 0; i < BLOCK; i++) {
        mixed[i] = (uint16_t)((i * 2654435761u) >> 28);
        rows[i] = (uint16_t)(i / 64 % CONTEXTS);
    }
    for (int i = 0; i < 2; i++) {
        const int symbols = i ? 256 : 16;
        entropy_data data = entropy_gauss(names[i]);
        time_models(ctx, &data, symbols, "one context", NULL);
        time_models(ctx, &data, symbols, "16 contexts, mixed", mixed);
        time_models(ctx, &data, symbols, "16 contexts, 64 symbols each", rows);
        const entropy_coder range = { "range coder, 1024 symbols", NULL,
                                      range_encode, range_decode, SMALL, 0 };
        data.n = 64 * SMALL;
        data.bound *= (double)data.n / ENTROPY_N;
        entropy_time(&data, &range, CLOCK_THREAD_CPUTIME_ID);
        free((void *)(uintptr_t)data.sym);
    }
    tsr_context_close(&ctx);
    return 0;
}
