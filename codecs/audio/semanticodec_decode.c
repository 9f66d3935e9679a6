/* SPDX-License-Identifier: BSD-2-Clause */
/* Tokens as they come to windows, and windows to a sound. */
#include <string.h>
#include "codecs/audio/semanticodec_decode.h"
#include "lib/bytes.h"

enum { BOOKS = 2, HEAD = 32 };

typedef struct decoder {
    const tsri_semanticodec *codec;
    uint32_t seed;
    bool opened;
    tsri_semanticodec_nets nets;
    float *window;          /* samples of one */
    uint16_t *codes;        /* [..][2] from the next window on */
    size_t waiting, room;   /* tokens */
    uint64_t number;        /* of the next window */
    float *tail;            /* what the last window adds to the next one's first
                               samples */
    tsri_fifo out;
} decoder;

/* Tokens and samples that two windows share. */
static size_t overlap_tokens(const tsri_semanticodec *c)
{
    return (size_t)c->positions / TSRI_SEMANTICODEC_OVERLAP;
}

static size_t overlap(const tsri_semanticodec *c)
{
    return overlap_tokens(c) * (size_t)c->shape.hop;
}

tsr_error tsri_semanticodec_dec_open(void **dec, const void *self,
                                     const tsri_audio_options *options)
{
    const tsri_semanticodec *c = self;
    decoder *d = tsri_calloc(c->ctx, 1, sizeof *d);

    *dec = d;
    if (!d)
        return tsri_nomem(c->ctx);
    d->codec = c;
    d->seed = options->seed;
    d->window = tsri_alloc(c->ctx, c->window, sizeof *d->window);
    d->tail = tsri_calloc(c->ctx, overlap(c) + 1, sizeof *d->tail);
    if (d->window && d->tail)
        return TSR_OK;
    tsri_semanticodec_dec_close(dec);
    return tsri_nomem(c->ctx);
}

void tsri_semanticodec_dec_close(void **dec)
{
    decoder *d = *dec;

    *dec = NULL;
    if (!d)
        return;
    tsri_semanticodec_nets_close(&d->nets);
    tsri_free(d->codec->ctx, d->window);
    tsri_free(d->codec->ctx, d->tail);
    tsri_free(d->codec->ctx, d->codes);
    tsri_free(d->codec->ctx, d->out.data);
    tsri_free(d->codec->ctx, d);
}

/* The nets are large, and who only looks at tokens needs none. */
static tsr_error open_nets(decoder *d)
{
    const tsri_semanticodec *c = d->codec;

    if (d->opened)
        return TSR_OK;
    if (!tsri_semanticodec_decodes(c))
        return tsri_fail(c->ctx, TSR_E_UNSUPPORTED, "%s has no decoder, only its "
                         "tokens can be read: import decoder.ckpt, too",
                         tsr_model_path(c->model));
    const tsr_error error = tsri_semanticodec_nets_open(&d->nets, c);
    d->opened = !error;
    if (error)
        tsri_semanticodec_nets_close(&d->nets);
    return error;
}

/* Fades the window's first samples in, and adds what the last one left. */
static void join(decoder *d)
{
    const size_t n = overlap(d->codec);

    for (size_t i = 0; i < n && d->number; i++)
        d->window[i] = d->window[i] * (float)((double)i / (double)(n - 1)) +
                       d->tail[i];
}

static void keep_tail(decoder *d)
{
    const size_t n = overlap(d->codec);
    const float *from = d->window + d->codec->window - n;

    for (size_t i = 0; i < n; i++)
        d->tail[i] = from[i] * (float)((double)(n - 1 - i) / (double)(n - 1));
}

/* The next window, of `n` tokens; the last one ends where its tokens do. */
static tsr_error run(decoder *d, size_t n, bool last)
{
    const tsri_semanticodec *c = d->codec;
    const size_t hop = (size_t)c->shape.hop;
    const size_t used = last ? n : n - overlap_tokens(c);

    TSR_TRY(tsri_semanticodec_draw(&d->nets, d->codes, (int)n, d->seed, d->number,
                                   d->window));
    join(d);
    if (!last)
        keep_tail(d);
    TSR_TRY(tsri_fifo_put(&d->out, c->ctx, d->window, used * hop));
    d->number++;
    d->waiting -= used;
    memmove(d->codes, d->codes + used * BOOKS,
            d->waiting * BOOKS * sizeof *d->codes);
    return TSR_OK;
}

tsr_error tsri_semanticodec_dec_push(void *dec, const uint16_t *codes, int frames,
                                     int books, const uint8_t *side, bool end)
{
    decoder *d = dec;
    const tsri_semanticodec *c = d->codec;
    const size_t positions = (size_t)c->positions;

    (void)side;
    TSR_TRY(open_nets(d));
    if (frames && books != BOOKS)
        return tsri_fail(c->ctx, TSR_E_UNSUPPORTED, "semantic tokens without "
                         "acoustic ones make no sound");
    TSR_TRY(tsri_grow(c->ctx, &d->codes, &d->room, d->waiting, (size_t)frames,
                      BOOKS * sizeof *d->codes));
    if (frames)
        memcpy(d->codes + d->waiting * BOOKS, codes,
               (size_t)frames * BOOKS * sizeof *codes);
    d->waiting += (size_t)frames;
    while (d->waiting > positions)
        TSR_TRY(run(d, positions, false));
    return end && d->waiting ? run(d, d->waiting, true) : TSR_OK;
}

tsr_error tsri_semanticodec_dec_take(void *dec, float *x, size_t room, size_t *n)
{
    decoder *d = dec;

    *n = d->out.used < room ? d->out.used : room;
    if (*n)
        memcpy(x, tsri_fifo_at(&d->out), *n * sizeof *x);
    tsri_fifo_drop(&d->out, *n);
    return TSR_OK;
}

/* ---- a state: windows made, tokens and samples that wait, the tail ---- */

static size_t tail_floats(const decoder *d)
{
    return d->number ? overlap(d->codec) : 0;
}

size_t tsri_semanticodec_dec_bytes(const void *dec)
{
    const decoder *d = dec;
    return HEAD + (d->out.used + tail_floats(d)) * sizeof(float) +
           d->waiting * BOOKS * 2;
}

void tsri_semanticodec_dec_save(const void *dec, uint8_t *state)
{
    const decoder *d = dec;
    tsri_saver s = { state };

    tsri_save64(&s, d->number);
    tsri_save64(&s, d->waiting);
    tsri_save64(&s, d->out.used);
    tsri_save64(&s, tail_floats(d));
    tsri_save_floats(&s, d->out.used ? tsri_fifo_at(&d->out) : NULL, d->out.used);
    tsri_save_floats(&s, d->tail, tail_floats(d));
    for (size_t i = 0; i < d->waiting * BOOKS; i++, s.at += 2)
        tsri_put16(s.at, d->codes[i]);
}

static tsr_error load(decoder *d, tsri_restorer *r)
{
    const tsri_semanticodec *c = d->codec;
    const uint64_t number = tsri_restore64(r, UINT64_MAX / 2);
    const uint64_t waiting = tsri_restore64(r, (uint64_t)c->positions);
    const uint64_t floats = tsri_restore64(r, (uint64_t)(r->end - r->at));
    const uint64_t tail = tsri_restore64(r, overlap(c));

    if (!r->good || tail != (number ? overlap(c) : 0) ||
        (uint64_t)(r->end - r->at) !=
            (floats + tail) * sizeof(float) + waiting * BOOKS * 2)
        return TSR_E_CORRUPT;
    TSR_TRY(tsri_grow(c->ctx, &d->codes, &d->room, 0, (size_t)waiting,
                      BOOKS * sizeof *d->codes));
    TSR_TRY(tsri_grow(c->ctx, &d->out.data, &d->out.room, 0, (size_t)floats,
                      sizeof *d->out.data));
    if ((floats && !tsri_restore_floats(r, d->out.data, (size_t)floats)) ||
        (tail && !tsri_restore_floats(r, d->tail, (size_t)tail)))
        return TSR_E_CORRUPT;
    for (size_t i = 0; i < waiting * BOOKS; i++, r->at += 2)
        d->codes[i] = (uint16_t)tsri_get16(r->at);
    if (!tsri_codes_fit(d->codes, (size_t)waiting, BOOKS, c->shape.codewords,
                        c->shape.shorter))
        return TSR_E_CORRUPT;
    d->number = number;
    d->waiting = (size_t)waiting;
    d->out.head = 0;
    d->out.used = (size_t)floats;
    return TSR_OK;
}

tsr_error tsri_semanticodec_dec_load(void *dec, const uint8_t *state, size_t bytes)
{
    decoder *d = dec;
    tsri_restorer r = { state, state + bytes, true };
    const tsr_error error = load(d, &r);

    if (error == TSR_E_CORRUPT)
        return tsri_fail(d->codec->ctx, error, "the state is damaged");
    return error;
}
