/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tessera/audio.h>
#include "tools/ffmpeg/plug.h"
#include "tools/ffmpeg/pool.h"
#include "tools/ffmpeg/roundtrip.h"

enum {
    CHUNK = 1024,       /* samples that go through the codec at once */
    MOST_SECONDS = 10   /* of latency; a model that needs more is no filter */
};

struct roundtrip {
    tsr_context *ctx;           /* its own: contexts have one thread each */
    pool memory;                /* its, so that streams stop taking more */
    tsr_model *model;
    tsr_audio_encoder *enc;
    tsr_audio_decoder *dec;
    plug_side *side;
    double kbits;               /* that the coders are opened for */
    int channels;
    float *port[ROUNDTRIP_PORTS];
    enum { FRESH, WAITING, RUNNING, BROKEN } state;
    size_t latency;
    size_t silence;             /* samples of it still to come */
    float *late;                /* the last `latency` samples of the input */
    size_t oldest;              /* of them */
    float x[CHUNK * ROUNDTRIP_CHANNELS];    /* interleaved: in, then out */
    float dry[CHUNK * ROUNDTRIP_CHANNELS];  /* the input, as late as x */
    char why[200];              /* the library's last complaint */
};

/* ---- the codec ---- */

static void keep_message(void *cookie, tsr_log_level level, const char *message)
{
    roundtrip *r = cookie;
    if (level == TSR_LOG_ERROR)
        snprintf(r->why, sizeof r->why, "%s", message);
}

static const char *reason(const roundtrip *r, tsr_error error)
{
    return *r->why ? r->why : tsr_error_string(error);
}

static void close_coders(roundtrip *r)
{
    tsr_audio_encoder_close(&r->enc);
    tsr_audio_decoder_close(&r->dec);
}

static tsr_error open_coders(roundtrip *r, double kbits)
{
    tsr_audio_settings settings;
    const uint8_t *head;
    size_t bytes;
    tsr_error error;

    close_coders(r);
    tsr_audio_settings_init(&settings);
    settings.channels = r->channels;
    settings.bitrate = kbits > 0 ? kbits * 1000 : 0;
    settings.live = 1;
    r->kbits = kbits;
    error = tsr_audio_encoder_open(&r->enc, r->ctx, r->model, &settings);
    if (error)
        return error;
    tsr_audio_encoder_extradata(r->enc, &head, &bytes);
    return tsr_audio_decoder_open(&r->dec, r->ctx, r->model, head, bytes, 1);
}

/* All packets that are ready; play: to the decoder, too. */
static tsr_error move_packets(roundtrip *r, int play)
{
    tsr_audio_packet packet;
    tsr_error error;

    for (;;) {
        error = tsr_audio_encoder_pull(r->enc, &packet);
        if (error || !packet.data)
            return error == TSR_E_EOF ? TSR_OK : error;
        if (r->side)
            plug_side_packet(r->side, (int64_t)packet.pts, packet.samples,
                             packet.data, packet.bytes);
        if (play)
            error = tsr_audio_decoder_push(r->dec, packet.data, packet.bytes);
        if (error)
            return error;
    }
}

/* The next n samples to be heard, into r->x. */
static tsr_error hear(roundtrip *r, size_t n)
{
    const size_t channels = (size_t)r->channels;
    size_t have = n < r->silence ? n : r->silence, got;
    tsr_error error;

    memset(r->x, 0, have * channels * sizeof *r->x);
    r->silence -= have;
    for (; have < n; have += got) {
        error = tsr_audio_decoder_pull(r->dec, r->x + have * channels, n - have,
                                       &got);
        if (error)
            return error;
        if (!got)
            return TSR_E_INTERNAL; /* later than it said it would be */
    }
    return TSR_OK;
}

static tsr_error code(roundtrip *r, size_t n)
{
    tsr_error error = tsr_audio_encoder_push(r->enc, r->x, n);

    if (!error)
        error = move_packets(r, 1);
    return error ? error : hear(r, n);
}

/* ---- a stream ---- */

static void fail(roundtrip *r, tsr_error error)
{
    static int place;

    plug_say_once(&place, "%s; the sound goes through as it is",
                  reason(r, error));
    r->state = BROKEN;
}

static void open_side(roundtrip *r)
{
    const char *path = getenv("TESSERA_SIDE");
    tsr_media_stream stream = {
        .type = TSR_MEDIA_AUDIO, .time_num = 1,
        .time_den = (uint32_t)tsr_audio_decoder_rate(r->dec) };

    if (!path || !*path)
        return;
    tsr_audio_encoder_extradata(r->enc, &stream.extradata,
                                &stream.extradata_bytes);
    r->side = plug_side_open(path, TSR_KIND_AUDIO, &stream);
}

static void begin(roundtrip *r, double kbits)
{
    const int usable = r->state == FRESH && (kbits > 0 ? kbits : 0) == r->kbits;
    const tsr_error error = usable ? TSR_OK
                                   : open_coders(r, kbits > 0 ? kbits : 0);

    if (!error)
        *r->why = 0;
    r->silence = r->latency;
    r->oldest = 0;
    if (r->latency)
        memset(r->late, 0,
               r->latency * (size_t)r->channels * sizeof *r->late);
    r->state = RUNNING;
    if (error)
        fail(r, error);
    else
        open_side(r);
}

void roundtrip_restart(roundtrip *r)
{
    if (r->side && r->state == RUNNING && !tsr_audio_encoder_finish(r->enc))
        (void)!move_packets(r, 0); /* what is whole is in the file */
    plug_side_close(&r->side);
    if (r->state != FRESH)
        r->state = WAITING;
}

/* ---- samples ---- */

static void take_in(roundtrip *r, size_t at, size_t n)
{
    const size_t channels = (size_t)r->channels;

    for (size_t c = 0; c < channels; c++)
        for (size_t t = 0; t < n; t++)
            r->x[t * channels + c] = r->port[c][at + t];
}

static void give_out(const roundtrip *r, const float *x, size_t at, size_t n)
{
    const size_t channels = (size_t)r->channels;

    for (size_t c = 0; c < channels; c++)
        for (size_t t = 0; t < n; t++)
            r->port[channels + c][at + t] = x[t * channels + c];
}

/* r->dry: the input of `latency` samples ago; r->x stays. */
static void delay(roundtrip *r, size_t n)
{
    const size_t channels = (size_t)r->channels;
    const size_t frame = channels * sizeof *r->x;

    for (size_t t = 0; t < n && r->latency; t++) {
        float *kept = r->late + r->oldest * channels;
        memcpy(r->dry + t * channels, kept, frame);
        memcpy(kept, r->x + t * channels, frame);
        r->oldest = r->oldest + 1 < r->latency ? r->oldest + 1 : 0;
    }
    if (!r->latency)
        memcpy(r->dry, r->x, n * frame);
}

void roundtrip_run(roundtrip *r, unsigned long n)
{
    const float *bitrate = r->port[2 * r->channels];
    float *latency = r->port[2 * r->channels + 1];

    if (r->state < RUNNING)
        begin(r, bitrate ? (double)*bitrate : 0);
    for (size_t at = 0, now; at < n; at += now) {
        now = n - at < CHUNK ? n - at : CHUNK;
        take_in(r, at, now);
        delay(r, now);
        const tsr_error error = r->state == RUNNING ? code(r, now) : TSR_OK;
        if (error)
            fail(r, error);
        give_out(r, r->state == RUNNING ? r->x : r->dry, at, now);
    }
    if (latency)
        *latency = (float)r->latency;
}

void roundtrip_connect(roundtrip *r, unsigned long port, float *data)
{
    if (port < 2 * (unsigned long)r->channels + 2)
        r->port[port] = data;
}

/* ---- open and close ---- */

static int right_rate(const catalog_model *model, int own, double rate)
{
    static int place;

    if (rate == own)
        return 1;
    plug_say_once(&place, "the model '%s' is for %d Hz, not %g Hz; in ffmpeg put "
                  "aresample=%d in front", model->name, own, rate, own);
    return 0;
}

/* Delay that can be waited for, and memory for it. */
static int make_late(roundtrip *r, const catalog_model *model)
{
    static int too_late, memory;
    uint64_t running, start;

    tsr_audio_encoder_latency(r->enc, &running, &start);
    if (start > (uint64_t)tsr_audio_decoder_rate(r->dec) * MOST_SECONDS) {
        plug_say_once(&too_late, "the model '%s' needs more than %d s of sound "
                      "at once", model->name, MOST_SECONDS);
        return 0;
    }
    r->latency = (size_t)start;
    r->late = calloc(r->latency + 1, (size_t)r->channels * sizeof *r->late);
    if (!r->late)
        plug_say_once(&memory, "no memory");
    return r->late != NULL;
}

static int open_all(roundtrip *r, const catalog_model *model, double rate)
{
    static int place;
    tsr_context_settings settings;
    tsr_error error;

    if (model->rate && !right_rate(model, model->rate, rate))
        return 0;
    r->model = plug_model(model->name);
    if (!r->model)
        return 0;
    tsr_context_settings_init(&settings);
    settings.logger = (tsr_logger){ r, keep_message };
    settings.allocator = pool_allocator(&r->memory);
    error = tsr_context_open(&r->ctx, &settings);
    if (!error)
        error = open_coders(r, 0);
    if (error) {
        plug_say_once(&place, "%s: %s", model->name, reason(r, error));
        return 0;
    }
    return right_rate(model, tsr_audio_decoder_rate(r->dec), rate) &&
           make_late(r, model);
}

roundtrip *roundtrip_open(const catalog_model *model, int channels, double rate)
{
    roundtrip *r = calloc(1, sizeof *r);

    if (!r)
        return NULL;
    r->channels = channels;
    if (!open_all(r, model, rate))
        roundtrip_close(&r);
    return r;
}

void roundtrip_close(roundtrip **self)
{
    roundtrip *r = *self;
    if (!r)
        return;
    roundtrip_restart(r);
    close_coders(r);
    tsr_context_close(&r->ctx);
    pool_empty(&r->memory);
    plug_model_unref(&r->model);
    free(r->late);
    free(r);
    *self = NULL;
}
