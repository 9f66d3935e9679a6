/* SPDX-License-Identifier: BSD-2-Clause */
#include <math.h>
#include <string.h>
#include "codecs/audio/flow.h"
#include "codecs/audio/semanticodec_decode.h"
#include "lib/bytes.h"
#include "lib/weights.h"

enum { CODEC_NUMBER = 11, RATE = TSRI_SEMANTICODEC_RATE,
       WIDTH = TSRI_SEMANTICODEC_WIDTH, SHIFT = TSRI_SEMANTICODEC_SHIFT,
       BANDS = TSRI_SEMANTICODEC_BANDS, BOOKS = 2 };

/* ---- the model ---- */

static tsr_error read_sizes(tsri_semanticodec *c, const uint64_t **centroids,
                            const uint64_t **words)
{
    const uint64_t two[] = { TSRI_ANY, TSRI_ANY };
    const uint64_t three[] = { 1, TSRI_ANY, TSRI_ANY };
    const tsr_tensor *semantic, *acoustic;
    const uint64_t width = (uint64_t)c->vit.width;

    TSR_TRY(tsri_want(c->ctx, c->model, &semantic, 2, two,
                      "semantic.centroids"));
    TSR_TRY(tsri_want(c->ctx, c->model, &acoustic, 3, three,
                      "quantizer._codebook.embed"));
    *centroids = semantic->dims;
    *words = acoustic->dims;
    const uint64_t dim = semantic->dims[1], tall = (uint64_t)(BANDS / c->vit.side);
    if (dim % width || (dim / width != 1 && dim / width != 2 &&
        dim / width != 4) || dim > TSR_VQ_MAX_DIM ||
        acoustic->dims[2] != dim || semantic->dims[0] < 2 ||
        semantic->dims[0] > 1 << 16 || acoustic->dims[1] < 2 ||
        acoustic->dims[1] > 1 << 16)
        return tsri_fail(c->ctx, TSR_E_SHAPE, "%s: '%s' does not fit the "
                         "network", tsr_model_path(c->model), semantic->name);
    c->dim = (int)dim;
    c->stack = (int)(dim / width);
    c->positions = c->vit.patches / c->stack;
    if ((c->stack > 1 && tall % 2) ||
        (c->stack == 4 && (uint64_t)c->vit.patches / tall % 2))
        return tsri_fail(c->ctx, TSR_E_SHAPE, "%s: the patches cannot be "
                         "stacked", tsr_model_path(c->model));
    return TSR_OK;
}

static tsr_error open_centroids(tsri_semanticodec *c, const uint64_t *dims)
{
    tsri_loader load = { .ctx = c->ctx, .model = c->model };
    const size_t n = (size_t)(dims[0] * dims[1]);
    const float *x = tsri_loader_floats(&load, 2, dims, "semantic.centroids");

    c->centroids = (size_t)dims[0];
    c->centroid = load.error ? NULL : tsri_alloc(c->ctx, n, sizeof *c->centroid);
    if (c->centroid)
        memcpy(c->centroid, x, n * sizeof *x);
    else if (!load.error)
        load.error = tsri_nomem(c->ctx);
    tsri_loader_drop(&load);
    return load.error;
}

/* By how many bits codes of n codewords are shorter than those of `most`. */
static int shorter(uint64_t most, uint64_t n)
{
    int bits = 0;

    while (bits < TSRI_CODES_SHORTER && most >> (bits + 1) >= n)
        bits++;
    return bits;
}

static tsr_error fill_shape(tsri_semanticodec *c, const uint64_t *centroids,
                            const uint64_t *words)
{
    const size_t positions = (size_t)c->positions;
    tsri_bilstm branch;

    TSR_TRY(tsri_bilstm_measure(&branch, c->ctx, c->model, 2 * c->dim, c->dim));
    const uint64_t most = centroids[0] > words[1] ? centroids[0] : words[1];
    c->window = (size_t)c->vit.frames * SHIFT;
    c->beyond = WIDTH - SHIFT;
    const double seconds = (double)c->window / RATE, drawn = seconds -
        seconds * (double)(c->positions / TSRI_SEMANTICODEC_OVERLAP) / c->positions;
    if (c->window % positions || c->window / positions > 65535)
        return tsri_fail(c->ctx, TSR_E_SHAPE, "%s: 'audiomae.model.pos_embed' "
                         "does not fit the network", tsr_model_path(c->model));
    c->shape = (tsri_audio_shape){
        .rate = RATE, .channels = 1, .hop = (int)(c->window / positions),
        .books = BOOKS, .codewords = (int)most,
        .shorter = { shorter(most, centroids[0]), shorter(most, words[1]) },
        .default_books = BOOKS, .seeded = true, .decoder_delay = c->positions,
        .column = BANDS / c->vit.side / (c->stack > 1 ? 2 : 1),
        .macs_encode = (c->vit.macs + (double)positions *
                        (branch.macs + (double)c->dim *
                         (double)(centroids[0] + words[1]))) / seconds,
        .macs_decode = tsri_semanticodec_macs(c) / drawn };
    return TSR_OK;
}

static tsr_error open_all(tsri_semanticodec *c)
{
    const uint64_t *centroids, *words;

    TSR_TRY(tsri_vit_measure(&c->vit, c->ctx, c->model, BANDS));
    TSR_TRY(read_sizes(c, &centroids, &words));
    TSR_TRY(open_centroids(c, centroids));
    return fill_shape(c, centroids, words);
}

static void codec_close(void **self)
{
    tsri_semanticodec *c = *self;
    if (!c)
        return;
    tsri_semanticodec_front_free(c);
    tsri_free(c->ctx, c->centroid);
    tsr_model_unref(&c->model);
    tsri_free(c->ctx, c);
    *self = NULL;
}

static tsr_error codec_open(void **self, tsr_context *ctx, tsr_model *model)
{
    tsri_semanticodec *c = tsri_calloc(ctx, 1, sizeof *c);

    *self = c;
    if (!c)
        return tsri_nomem(ctx);
    c->ctx = ctx;
    c->model = tsr_model_ref(model);
    tsr_error error = tsri_semanticodec_front_new(c);
    if (!error)
        error = open_all(c);
    if (error)
        codec_close(self);
    return error;
}

static const tsri_audio_shape *codec_shape(const void *self)
{
    return &((const tsri_semanticodec *)self)->shape;
}

/* ---- samples to codes ---- */

typedef struct encoder {
    const tsri_semanticodec *codec;
    int books;
    tsri_semanticodec_work work;
    tsri_fifo wait;         /* samples from the next window on */
    uint64_t samples, made; /* all samples; tokens of all windows */
    uint16_t *codes;        /* [..][2] that wait */
    size_t first, end, room;
} encoder;

static void enc_close(void **enc)
{
    encoder *e = *enc;
    if (!e)
        return;
    tsri_semanticodec_work_close(&e->work, e->codec);
    tsri_free(e->codec->ctx, e->wait.data);
    tsri_free(e->codec->ctx, e->codes);
    tsri_free(e->codec->ctx, e);
    *enc = NULL;
}

static tsr_error enc_open(void **enc, const void *self,
                          const tsri_audio_options *options)
{
    const tsri_semanticodec *c = self;
    encoder *e;

    *enc = NULL;
    TSR_TRY(tsri_semanticodec_front_open(c));
    *enc = e = tsri_calloc(c->ctx, 1, sizeof *e);
    if (!e)
        return tsri_nomem(c->ctx);
    e->codec = c;
    e->books = options->books;
    const tsr_error error = tsri_semanticodec_work_open(&e->work, c);
    if (error)
        enc_close(enc);
    return error;
}

/* The next window, of which `keep` tokens count. */
static tsr_error run(encoder *e, bool last, size_t keep)
{
    const tsri_semanticodec *c = e->codec;

    if (e->first == e->end)
        e->first = e->end = 0;
    TSR_TRY(tsri_grow(c->ctx, &e->codes, &e->room, e->end, keep,
                      BOOKS * sizeof *e->codes));
    TSR_TRY(tsri_semanticodec_window(c, tsri_fifo_at(&e->wait), last,
                                     &e->work));
    for (size_t i = 0; i < keep; i++) {
        e->codes[(e->end + i) * BOOKS] = (uint16_t)e->work.semantic[i];
        e->codes[(e->end + i) * BOOKS + 1] = (uint16_t)e->work.acoustic[i];
    }
    e->end += keep;
    e->made += keep;
    tsri_fifo_drop(&e->wait, c->window);
    return TSR_OK;
}

/* Tokens of the whole sound, in the published program's floating point. */
static uint64_t all_tokens(const encoder *e)
{
    const double patch = 0.16;
    double seconds = (double)e->samples / RATE;

    seconds += patch - fmod(seconds, patch);
    return (uint64_t)ceil(8 * seconds / patch / e->codec->stack);
}

/* What is left, with zeros behind it: at least one window more. */
static tsr_error finish(encoder *e)
{
    const tsri_semanticodec *c = e->codec;
    const uint64_t all = all_tokens(e);
    const uint64_t windows = e->wait.used / c->window + 1;
    const size_t floats = (size_t)windows * c->window + c->beyond;

    if (!e->samples)
        return TSR_OK;
    float *zeros = tsri_calloc(c->ctx, floats, sizeof *zeros);
    tsr_error error = zeros ? tsri_fifo_put(&e->wait, c->ctx, zeros,
                                            floats - e->wait.used)
                            : tsri_nomem(c->ctx);
    tsri_free(c->ctx, zeros);
    for (uint64_t i = 0; i < windows && !error; i++) {
        const uint64_t left = all > e->made ? all - e->made : 0;
        error = run(e, i + 1 == windows, left < (uint64_t)c->positions
                                             ? (size_t)left
                                             : (size_t)c->positions);
    }
    return error;
}

static tsr_error enc_push(void *enc, const float *x, size_t n, bool end)
{
    encoder *e = enc;
    const tsri_semanticodec *c = e->codec;

    TSR_TRY(tsri_fifo_put(&e->wait, c->ctx, x, n));
    e->samples += n;
    while (e->wait.used >= c->window + c->beyond)
        TSR_TRY(run(e, false, (size_t)c->positions));
    return end ? finish(e) : TSR_OK;
}

static tsr_error enc_take(void *enc, uint16_t *codes, int room, int *frames,
                          uint8_t *side)
{
    encoder *e = enc;
    const size_t have = e->end - e->first;
    const size_t n = have < (size_t)room ? have : (size_t)room;

    (void)side;
    for (size_t i = 0; i < n; i++)
        for (int b = 0; b < e->books; b++)
            *codes++ = e->codes[(e->first + i) * BOOKS + (size_t)b];
    e->first += n;
    *frames = (int)n;
    return TSR_OK;
}

static void enc_latency(const void *enc, uint64_t *start, uint64_t *running)
{
    const tsri_semanticodec *c = ((const encoder *)enc)->codec;

    *start = c->window + c->beyond;
    *running = *start - (uint64_t)c->shape.hop;
}

/* A state: samples, tokens made, how many floats and tokens wait, and they. */
enum { HEAD = 32 };

static size_t enc_state_bytes(const void *enc)
{
    const encoder *e = enc;
    return HEAD + e->wait.used * sizeof(float) + (e->end - e->first) * BOOKS * 2;
}

static void enc_state_save(const void *enc, uint8_t *state)
{
    const encoder *e = enc;
    tsri_saver s = { state };

    tsri_save64(&s, e->samples);
    tsri_save64(&s, e->made);
    tsri_save64(&s, e->wait.used);
    tsri_save64(&s, e->end - e->first);
    tsri_save_floats(&s, e->wait.used ? tsri_fifo_at(&e->wait) : NULL,
                     e->wait.used);
    for (size_t i = e->first * BOOKS; i < e->end * BOOKS; i++, s.at += 2)
        tsri_put16(s.at, e->codes[i]);
}

static tsr_error load(encoder *e, tsri_restorer *r)
{
    const tsri_semanticodec *c = e->codec;
    const uint64_t samples = tsri_restore64(r, UINT64_MAX / 2);
    const uint64_t made = tsri_restore64(r, UINT64_MAX / 2);
    const uint64_t floats = tsri_restore64(r, c->window + c->beyond);
    const size_t left = (size_t)(r->end - r->at);
    const uint64_t tokens = tsri_restore64(r, left / (2 * BOOKS));

    if (!r->good || tsri_restore_left(r) < floats ||
        (size_t)(r->end - r->at) != floats * sizeof(float) + tokens * 2 * BOOKS)
        return TSR_E_CORRUPT;
    TSR_TRY(tsri_grow(c->ctx, &e->codes, &e->room, 0, (size_t)tokens,
                      BOOKS * sizeof *e->codes));
    TSR_TRY(tsri_grow(c->ctx, &e->wait.data, &e->wait.room, 0, (size_t)floats,
                      sizeof *e->wait.data));
    if (floats && !tsri_restore_floats(r, e->wait.data, (size_t)floats))
        return TSR_E_CORRUPT;
    for (size_t i = 0; i < tokens * BOOKS; i++, r->at += 2) {
        e->codes[i] = (uint16_t)tsri_get16(r->at);
        if (e->codes[i] >= c->shape.codewords)
            return TSR_E_CORRUPT;
    }
    e->samples = samples;
    e->made = made;
    e->wait.head = e->first = 0;
    e->wait.used = (size_t)floats;
    e->end = (size_t)tokens;
    return TSR_OK;
}

static tsr_error enc_state_load(void *enc, const uint8_t *state, size_t bytes)
{
    encoder *e = enc;
    tsri_restorer r = { state, state + bytes, true };
    const tsr_error error = load(e, &r);

    if (error == TSR_E_CORRUPT)
        return tsri_fail(e->codec->ctx, error, "the state is damaged");
    return error;
}

const tsri_audio_codec tsri_audio_codec_semanticodec = {
    .id = "semanticodec", .number = CODEC_NUMBER, .semantic_books = 1,
    .open = codec_open, .close = codec_close, .shape = codec_shape,
    .enc_open = enc_open, .enc_close = enc_close, .enc_push = enc_push,
    .enc_take = enc_take, .enc_latency = enc_latency,
    .enc_state_bytes = enc_state_bytes, .enc_state_save = enc_state_save,
    .enc_state_load = enc_state_load,
    .dec_open = tsri_semanticodec_dec_open,
    .dec_close = tsri_semanticodec_dec_close,
    .dec_push = tsri_semanticodec_dec_push,
    .dec_take = tsri_semanticodec_dec_take,
    .dec_state_bytes = tsri_semanticodec_dec_bytes,
    .dec_state_save = tsri_semanticodec_dec_save,
    .dec_state_load = tsri_semanticodec_dec_load
};
