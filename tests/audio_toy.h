/* SPDX-License-Identifier: BSD-2-Clause */
/* Audio codecs for tests, instead of the library's: a program that includes this
 * file links with this registry.  A frame is 4 samples of each channel, and book k
 * holds sample k, so that what a code should be can be told by hand.  There is one
 * sample of memory in both directions, some look-ahead and a start-up, because
 * published nets have these. */
#ifndef TSR_TESTS_AUDIO_TOY_H
#define TSR_TESTS_AUDIO_TOY_H
#include <string.h>
#include "codecs/audio/audio_codec.h"
#include "lib/bytes.h"

enum {
    TOY_HOP = 4, TOY_WORDS = 256,
    TOY_AHEAD = 3,      /* samples the encoder sees beyond a frame */
    TOY_START = 20,     /* samples it waits for at first, but for zero_start */
    TOY_OVERLAP = 6     /* of segments, at most */
};

typedef struct toy_self {
    tsr_context *ctx;
    const tsri_audio_shape *shape;
} toy_self;

/* Either direction: floats [n][channels] that wait. */
typedef struct toy_stream {
    toy_self self;
    bool zero_start, started, end;
    float *x;
    size_t n, room;
    float before[2];            /* the sample before x[0] */
    float tail[TOY_OVERLAP];    /* of the segment before */
    size_t tail_n;
    int books;
} toy_stream;

static inline uint16_t toy_code(float v)
{
    const float q = (v + 1) * 127.5f + 0.5f;
    return !(q > 0) ? 0 : q > 255 ? 255 : (uint16_t)q;    /* NaN: 0 */
}
static inline float toy_value(uint16_t code)
{
    return (float)code / 127.5f - 1;
}

/* ---- both directions ---- */

static tsr_error toy_append(toy_stream *s, size_t n, float **to)
{
    const size_t channels = (size_t)s->self.shape->channels;
    const size_t frame = channels * sizeof **to;

    /* One more, so that there is memory even for nothing. */
    if (tsri_grow(s->self.ctx, &s->x, &s->room, s->n, n + 1, frame))
        return TSR_E_NOMEM;
    *to = s->x + s->n * channels;
    s->n += n;
    return TSR_OK;
}

static void toy_remove(toy_stream *s, size_t n)
{
    const size_t channels = (size_t)s->self.shape->channels;

    if (!n)
        return;
    memcpy(s->before, s->x + (n - 1) * channels, channels * sizeof *s->x);
    s->n -= n;
    memmove(s->x, s->x + n * channels, s->n * channels * sizeof *s->x);
}

static tsr_error toy_stream_open(void **out, const void *self,
                                 const tsri_audio_options *options)
{
    const toy_self *t = self;
    toy_stream *s = tsri_calloc(t->ctx, 1, sizeof *s);

    *out = s;
    if (!s)
        return TSR_E_NOMEM;
    s->self = *t;
    s->books = options->books;
    s->zero_start = s->started = options->zero_start;
    return TSR_OK;
}

static void toy_stream_close(void **out)
{
    toy_stream *s = *out;
    tsri_free(s->self.ctx, s->x);
    tsri_free(s->self.ctx, s);
    *out = NULL;
}

/* What a state holds in front of the samples that wait. */
typedef struct toy_numbers {
    uint64_t n, tail_n;
    float before[2], tail[TOY_OVERLAP];
    uint8_t started, end;
} toy_numbers;

static size_t toy_state_bytes(const void *stream)
{
    const toy_stream *s = stream;
    return sizeof(toy_numbers) +
           s->n * (size_t)s->self.shape->channels * sizeof *s->x;
}

static void toy_state_save(const void *stream, uint8_t *state)
{
    const toy_stream *s = stream;
    toy_numbers numbers;

    memset(&numbers, 0, sizeof numbers);
    numbers.n = s->n;
    numbers.tail_n = s->tail_n;
    memcpy(numbers.before, s->before, sizeof s->before);
    memcpy(numbers.tail, s->tail, sizeof s->tail);
    numbers.started = s->started;
    numbers.end = s->end;
    memcpy(state, &numbers, sizeof numbers);
    if (s->n)
        memcpy(state + sizeof numbers, s->x,
               toy_state_bytes(s) - sizeof numbers);
}

static tsr_error toy_state_load(void *stream, const uint8_t *state, size_t bytes)
{
    toy_stream *s = stream;
    const size_t frame = (size_t)s->self.shape->channels * sizeof *s->x;
    toy_numbers numbers;
    float *to;

    if (bytes < sizeof numbers)
        return TSR_E_CORRUPT;
    memcpy(&numbers, state, sizeof numbers);
    if ((bytes - sizeof numbers) % frame || numbers.tail_n > TOY_OVERLAP ||
        numbers.n != (bytes - sizeof numbers) / frame)
        return TSR_E_CORRUPT;
    s->n = 0;
    if (toy_append(s, (size_t)numbers.n, &to))
        return TSR_E_NOMEM;
    if (numbers.n)
        memcpy(to, state + sizeof numbers, bytes - sizeof numbers);
    memcpy(s->before, numbers.before, sizeof s->before);
    memcpy(s->tail, numbers.tail, sizeof s->tail);
    s->tail_n = (size_t)numbers.tail_n;
    s->started = numbers.started;
    s->end = numbers.end;
    return TSR_OK;
}

/* ---- samples to codes ---- */

static tsr_error toy_enc_push(void *enc, const float *x, size_t n, bool end)
{
    toy_stream *s = enc;
    float *to;

    if (s->end)
        return TSR_E_ARG;
    if (toy_append(s, n, &to))
        return TSR_E_NOMEM;
    if (n)
        memcpy(to, x, n * (size_t)s->self.shape->channels * sizeof *x);
    s->end = end;
    return TSR_OK;
}

/* Sample t of a frame that begins at x, halfway between it and the one before:
 * what the codes stand for. */
static float toy_mean(const toy_stream *s, size_t t, size_t c)
{
    const size_t channels = (size_t)s->self.shape->channels;
    const float now = t < s->n ? s->x[t * channels + c] : 0;
    const float before = !t ? s->before[c]
                            : t - 1 < s->n ? s->x[(t - 1) * channels + c] : 0;
    return 0.5f * now + 0.5f * before;
}

static int toy_take_segment(toy_stream *s, uint16_t *codes, uint8_t *side)
{
    const tsri_audio_shape *shape = s->self.shape;
    size_t n = (size_t)shape->segment_samples;
    float peak = 0;

    if (s->n < n && !(s->end && s->n))
        return 0;
    n = s->n < n ? s->n : n;
    for (size_t t = 0; t < n; t++) {
        const float v = s->x[t] < 0 ? -s->x[t] : s->x[t];
        peak = v > peak ? v : peak;
    }
    const uint16_t scale = (uint16_t)(peak > 1 ? 65535 : peak * 65535);
    const int frames = tsri_ceil_div((int)n, TOY_HOP);
    tsri_put16(side, scale == 0xbad ? 0xbae : scale);
    for (int i = 0; i < frames * s->books; i++) {
        const size_t t = (size_t)(i / s->books * TOY_HOP + i % s->books);
        codes[i] = toy_code((t < n ? s->x[t] : 0) * 65536 / ((float)tsri_get16(side) + 1));
    }
    const size_t step = (size_t)shape->segment_step;
    toy_remove(s, s->n < step ? s->n : step);
    return frames;
}

static tsr_error toy_enc_take(void *enc, uint16_t *codes, int room, int *frames,
                              uint8_t *side)
{
    toy_stream *s = enc;
    const size_t channels = (size_t)s->self.shape->channels;
    size_t ready = s->n > TOY_AHEAD ? (s->n - TOY_AHEAD) / TOY_HOP : 0;

    *frames = 0;
    if (s->self.shape->segmented) {
        *frames = toy_take_segment(s, codes, side);
        return TSR_OK;
    }
    if (s->end)
        ready = (s->n + (s->self.shape->drops_tail ? 0 : TOY_HOP - 1)) / TOY_HOP;
    else if (!s->started && s->n < TOY_START)
        return TSR_OK;
    s->started = true;
    *frames = ready < (size_t)room ? (int)ready : room;
    for (int f = 0; f < *frames; f++)
        for (int k = 0; k < s->books; k++)
            *codes++ = toy_code(toy_mean(s, (size_t)f * TOY_HOP +
                                                (size_t)k / channels,
                                         (size_t)k % channels));
    const size_t used = (size_t)*frames * TOY_HOP;
    toy_remove(s, used < s->n ? used : s->n);
    return TSR_OK;
}

static void toy_enc_latency(const void *enc, uint64_t *start, uint64_t *running)
{
    const toy_stream *s = enc;
    *running = s->self.shape->segmented ? 0 : TOY_AHEAD;
    *start = s->zero_start ? TOY_HOP + TOY_AHEAD : TOY_START;
    if (s->self.shape->segmented)
        *start = (uint64_t)s->self.shape->segment_samples;
}

/* ---- codes to samples ---- */

/* A segment, faded over from the one before. */
static tsr_error toy_put_segment(toy_stream *s, const uint16_t *codes, int frames,
                                 int books, const uint8_t *side)
{
    const size_t step = (size_t)s->self.shape->segment_step;
    const float scale = ((float)tsri_get16(side) + 1) / 65536;
    const size_t n = (size_t)frames * TOY_HOP;
    const size_t overlap = (size_t)s->self.shape->segment_samples - step;
    float *to;

    if (toy_append(s, n < step ? n : step, &to))
        return TSR_E_NOMEM;
    for (size_t t = 0; t < n; t++) {
        const size_t k = t % TOY_HOP;
        const float v = k < (size_t)books
            ? scale * toy_value(codes[t / TOY_HOP * (size_t)books + k]) : 0;
        const float part = ((float)t + 0.5f) / (float)overlap;
        if (t >= step)
            s->tail[t - step] = v;
        else
            to[t] = t < s->tail_n ? part * v + (1 - part) * s->tail[t] : v;
    }
    s->tail_n = n > step ? n - step : 0;
    return TSR_OK;
}

static tsr_error toy_put_frames(toy_stream *s, const uint16_t *codes, int frames,
                                int books)
{
    const int channels = s->self.shape->channels;
    float *to;

    if (toy_append(s, (size_t)frames * TOY_HOP, &to))
        return TSR_E_NOMEM;
    for (int f = 0; f < frames; f++)
        for (int k = 0; k < TOY_HOP * channels; k++)
            *to++ = k < books ? toy_value(codes[f * books + k]) : 0;
    return TSR_OK;
}

static tsr_error toy_dec_push(void *dec, const uint16_t *codes, int frames,
                              int books, const uint8_t *side, bool end)
{
    toy_stream *s = dec;
    float *to;

    if (s->end)
        return TSR_E_ARG;
    s->end = end;
    if (!s->self.shape->segmented)
        return toy_put_frames(s, codes, frames, books);
    if (frames)
        return toy_put_segment(s, codes, frames, books, side);
    if (!end || !s->tail_n)
        return TSR_OK;
    if (toy_append(s, s->tail_n, &to))
        return TSR_E_NOMEM;
    memcpy(to, s->tail, s->tail_n * sizeof *to);
    s->tail_n = 0;
    return TSR_OK;
}

static tsr_error toy_dec_take(void *dec, float *x, size_t room, size_t *n)
{
    toy_stream *s = dec;
    const size_t channels = (size_t)s->self.shape->channels;
    const size_t held = s->end ? 0 : (size_t)s->self.shape->decoder_delay * TOY_HOP;

    *n = s->n > held ? s->n - held : 0;
    *n = *n < room ? *n : room;
    for (size_t i = 0; i < *n * channels; i++)
        x[i] = s->self.shape->segmented
                   ? s->x[i] : toy_mean(s, i / channels, i % channels);
    toy_remove(s, *n);
    return TSR_OK;
}

/* One number is none. */
static bool toy_side_good(const uint8_t *side)
{
    return tsri_get16(side) != 0xbad;
}

/* ---- the codecs ---- */

static tsr_error toy_open(void **out, tsr_context *ctx,
                          const tsri_audio_shape *shape)
{
    toy_self *t = tsri_calloc(ctx, 1, sizeof *t);
    *out = t;
    if (!t)
        return TSR_E_NOMEM;
    *t = (toy_self){ ctx, shape };
    return TSR_OK;
}

static void toy_close(void **self)
{
    toy_self *t = *self;
    tsri_free(t->ctx, t);
    *self = NULL;
}

static const tsri_audio_shape *toy_shape(const void *self)
{
    return ((const toy_self *)self)->shape;
}

/* mono: with delays.  tail: stereo, drops samples.  segments: with side bytes.
 * slow: for long sounds.  overlapped: segments whose overlap is longer than a
 * frame, so that the last but one may be short. */
static const tsri_audio_shape toy_shapes[] = {
    { .rate = 8000, .channels = 1, .hop = TOY_HOP, .books = 4,
      .codewords = TOY_WORDS, .default_books = 3, .decoder_delay = 2,
      .macs_encode = 5, .macs_decode = 7 },
    { .rate = 8000, .channels = 2, .hop = TOY_HOP, .books = 8,
      .codewords = TOY_WORDS, .default_books = 8, .drops_tail = true },
    { .rate = 8000, .channels = 1, .hop = TOY_HOP, .books = 4,
      .codewords = TOY_WORDS, .default_books = 4, .segmented = true,
      .segment_frames = 100, .segment_samples = 400,
      .segment_step = 396, .side = 2 },
    { .rate = 200, .channels = 1, .hop = TOY_HOP, .books = 4,
      .codewords = TOY_WORDS, .default_books = 4 },
    { .rate = 8000, .channels = 1, .hop = TOY_HOP, .books = 4,
      .codewords = TOY_WORDS, .default_books = 4, .segmented = true,
      .segment_frames = 100, .segment_samples = 400,
      .segment_step = 400 - TOY_OVERLAP, .side = 2 },
};

#define TOY_OPEN(i) \
    static tsr_error toy_open##i(void **self, tsr_context *ctx, tsr_model *model) \
    { \
        (void)model; \
        return toy_open(self, ctx, &toy_shapes[i]); \
    }
TOY_OPEN(0)
TOY_OPEN(1)
TOY_OPEN(2)
TOY_OPEN(3)
TOY_OPEN(4)

#define TOY_CODEC(name, code, i) \
    { .id = name, .number = code, .open = toy_open##i, .close = toy_close, \
      .shape = toy_shape, .enc_open = toy_stream_open, \
      .enc_close = toy_stream_close, .enc_push = toy_enc_push, \
      .enc_take = toy_enc_take, .enc_latency = toy_enc_latency, \
      .enc_state_bytes = toy_state_bytes, .enc_state_save = toy_state_save, \
      .enc_state_load = toy_state_load, .dec_open = toy_stream_open, \
      .dec_close = toy_stream_close, .side_good = toy_side_good, \
      .dec_push = toy_dec_push, \
      .dec_take = toy_dec_take, .dec_state_bytes = toy_state_bytes, \
      .dec_state_save = toy_state_save, .dec_state_load = toy_state_load }

enum { TOY_MONO, TOY_TAIL, TOY_SEGMENTS, TOY_SLOW, TOY_OVERLAPPED, TOYS };
static const tsri_audio_codec toys[TOYS] = {
    TOY_CODEC("mono", 51, 0), TOY_CODEC("tail", 52, 1),
    TOY_CODEC("segments", 53, 2), TOY_CODEC("slow", 54, 3),
    TOY_CODEC("overlapped", 55, 4)
};

const tsri_audio_codec *tsri_audio_codec_by_id(const char *id)
{
    for (int i = 0; i < TOYS; i++)
        if (!strcmp(toys[i].id, id))
            return &toys[i];
    return NULL;
}

const tsri_audio_codec *tsri_audio_codec_by_number(int number)
{
    for (int i = 0; i < TOYS; i++)
        if (toys[i].number == number)
            return &toys[i];
    return NULL;
}

const char *tsr_audio_codec_at(int i)
{
    return i >= 0 && i < TOYS ? toys[i].id : NULL;
}
#endif
