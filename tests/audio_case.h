/* SPDX-License-Identifier: BSD-2-Clause */
/* Sound through encoders and decoders, in memory, for tests. */
#ifndef TSR_TESTS_AUDIO_CASE_H
#define TSR_TESTS_AUDIO_CASE_H
#include "tests/check.h"
#include <math.h>
#include <tessera/audio.h>
#include <tessera/model.h>

typedef struct sound_packet {
    uint8_t *data;
    tsr_audio_packet is;    /* data: NULL */
} sound_packet;

/** What an encoder gave. */
typedef struct sound_stream {
    uint8_t extradata[160];
    size_t extradata_bytes;
    sound_packet *packet;
    size_t packets;
} sound_stream;

typedef struct sound_samples {
    float *x;
    size_t n;               /* of each channel */
    int rate, channels;
    uint64_t concealed;     /* frames */
} sound_samples;

static inline tsr_context *sound_quiet(int threads)
{
    tsr_context_settings s;
    tsr_context *ctx;

    tsr_context_settings_init(&s);
    s.threads = threads;
    s.backend = "c";
    assert_int_equal(tsr_context_open(&ctx, &s), TSR_OK);
    return ctx;
}

/** Two tones and some noise, within -1..1. */
static inline float *sound_tones(size_t n, int channels, uint64_t seed)
{
    float *x = malloc((n + 1) * (size_t)channels * sizeof *x);
    check_rng rng = { seed };

    assert_non_null(x);
    for (size_t t = 0; t < n; t++)
        for (int c = 0; c < channels; c++)
            x[t * (size_t)channels + (size_t)c] =
                0.4f * sinf((float)t * 0.031f * (float)(c + 1)) +
                0.3f * sinf((float)t * 0.27f) + 0.2f * check_float(&rng);
    return x;
}

static inline void sound_free_stream(sound_stream *s)
{
    for (size_t i = 0; i < s->packets; i++)
        free(s->packet[i].data);
    free(s->packet);
    *s = (sound_stream){ 0 };
}

/** A copy that ends where its memory ends, so that sanitizers see all reads. */
static inline uint8_t *sound_copy(const uint8_t *data, size_t bytes)
{
    uint8_t *copy = malloc(bytes ? bytes : 1);
    assert_non_null(copy);
    return memcpy(copy, data, bytes);
}

/** Takes the packets that are there; returns the last answer. */
static inline tsr_error sound_take(tsr_audio_encoder *e, sound_stream *s)
{
    tsr_audio_packet p;
    tsr_error error;

    while (!(error = tsr_audio_encoder_pull(e, &p)) && p.data) {
        s->packet = realloc(s->packet, (s->packets + 1) * sizeof *s->packet);
        assert_non_null(s->packet);
        s->packet[s->packets].data = sound_copy(p.data, p.bytes);
        p.data = NULL;
        s->packet[s->packets++].is = p;
    }
    return error;
}

static inline void sound_begin(const tsr_audio_encoder *e, sound_stream *s)
{
    const uint8_t *data;

    *s = (sound_stream){ 0 };
    tsr_audio_encoder_extradata(e, &data, &s->extradata_bytes);
    assert_in_range(s->extradata_bytes, 60, 123);
    memcpy(s->extradata, data, s->extradata_bytes);
}

/** Pushes of 1..most samples, packets taken now and then; most = 0: all at
 *  once. */
static inline sound_stream sound_encode(tsr_context *ctx, tsr_model *model,
                                        const tsr_audio_settings *settings,
                                        const float *x, size_t n, int channels,
                                        size_t most, uint64_t seed)
{
    tsr_audio_encoder *e;
    sound_stream s;
    check_rng rng = { seed };

    assert_int_equal(tsr_audio_encoder_open(&e, ctx, model, settings), TSR_OK);
    sound_begin(e, &s);
    for (size_t at = 0, now; at < n; at += now) {
        now = most ? 1 + check_below(&rng, (uint32_t)most) : n;
        now = now < n - at ? now : n - at;
        assert_int_equal(tsr_audio_encoder_push(e, x + at * (size_t)channels, now),
                         TSR_OK);
        if (check_below(&rng, 2))
            assert_int_equal(sound_take(e, &s), TSR_OK);
    }
    assert_int_equal(tsr_audio_encoder_finish(e), TSR_OK);
    assert_int_equal(sound_take(e, &s), TSR_E_EOF);
    tsr_audio_encoder_close(&e);
    assert_null(e);
    return s;
}

static inline void sound_same_streams(const sound_stream *a, const sound_stream *b)
{
    assert_int_equal(a->packets, b->packets);
    assert_int_equal(a->extradata_bytes, b->extradata_bytes);
    assert_memory_equal(a->extradata, b->extradata, a->extradata_bytes);
    for (size_t i = 0; i < a->packets; i++) {
        assert_memory_equal(&a->packet[i].is, &b->packet[i].is, sizeof a->packet->is);
        assert_memory_equal(a->packet[i].data, b->packet[i].data,
                            a->packet[i].is.bytes);
    }
}

/** Pulls what is there, up to `most` samples at a time (0: 1000); returns the
 *  last answer. */
static inline tsr_error sound_pull(tsr_audio_decoder *d, sound_samples *out,
                                   size_t most)
{
    const size_t channels = (size_t)tsr_audio_decoder_channels(d);
    const size_t room = most ? most : 1000;
    tsr_error error;
    size_t n;

    do {
        out->x = realloc(out->x, (out->n + room) * channels * sizeof *out->x);
        assert_non_null(out->x);
        error = tsr_audio_decoder_pull(d, out->x + out->n * channels, room, &n);
        assert_true(!error || !n);
        assert_true(n <= room);
        out->n += n;
    } while (!error && n);
    return error;
}

static inline sound_samples sound_end(tsr_audio_decoder **d, sound_samples *out,
                                      size_t most)
{
    assert_int_equal(tsr_audio_decoder_finish(*d), TSR_OK);
    assert_int_equal(sound_pull(*d, out, most), TSR_E_EOF);
    out->concealed = tsr_audio_decoder_concealed(*d);
    tsr_audio_decoder_close(d);
    assert_null(*d);
    return *out;
}

static inline tsr_audio_decoder *sound_decoder(tsr_context *ctx, tsr_model *model,
                                               const sound_stream *s, int live,
                                               sound_samples *out)
{
    tsr_audio_decoder *d;

    assert_int_equal(tsr_audio_decoder_open(&d, ctx, model, s->extradata,
                                            s->extradata_bytes, live), TSR_OK);
    *out = (sound_samples){ .rate = tsr_audio_decoder_rate(d),
                            .channels = tsr_audio_decoder_channels(d) };
    return d;
}

/** Decodes the packets i whose lost[i] is 0 (NULL: all). */
static inline sound_samples sound_decode(tsr_context *ctx, tsr_model *model,
                                         const sound_stream *s, int live,
                                         size_t most, const char *lost)
{
    sound_samples out;
    tsr_audio_decoder *d = sound_decoder(ctx, model, s, live, &out);

    for (size_t i = 0; i < s->packets; i++) {
        if (lost && lost[i])
            continue;
        assert_int_equal(tsr_audio_decoder_push(d, s->packet[i].data,
                                                s->packet[i].is.bytes), TSR_OK);
        if (most || i % 3 == 0)
            assert_int_equal(sound_pull(d, &out, most), TSR_OK);
    }
    return sound_end(&d, &out, most);
}

static inline void sound_same_samples(const sound_samples *a,
                                      const sound_samples *b)
{
    assert_int_equal(a->n, b->n);
    assert_int_equal(a->channels, b->channels);
    if (a->n)
        assert_memory_equal(a->x, b->x, a->n * (size_t)a->channels * sizeof *a->x);
}
#endif
