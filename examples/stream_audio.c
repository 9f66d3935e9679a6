/* SPDX-License-Identifier: BSD-2-Clause */
/* Sound through live packets, of which some are lost.
 *
 *     stream_audio MODEL < FLOATS > FLOATS
 *
 * reads and writes native floats at the model's rate and channels.  Uses the
 * public headers only. */
#include <stdio.h>
#include <stdlib.h>
#include <tessera/tessera.h>

enum { PIECE = 480, MAX_CHANNELS = 2, LOSE_EVERY = 50 };

static void check(tsr_error error, const char *what)
{
    if (!error)
        return;
    fprintf(stderr, "%s: %s\n", what, tsr_error_string(error));
    exit(1);
}

/* Everything the decoder has ready, to standard output. */
static void play(tsr_audio_decoder *decoder)
{
    const size_t channels = (size_t)tsr_audio_decoder_channels(decoder);
    float samples[PIECE * MAX_CHANNELS];
    tsr_error error;
    size_t n;

    while (!(error = tsr_audio_decoder_pull(decoder, samples, PIECE, &n)) && n)
        fwrite(samples, sizeof *samples * channels, n, stdout);
    if (error != TSR_E_EOF)
        check(error, "pull");
}

/* Every packet the encoder has ready, through a bad network. */
static void transmit(tsr_audio_encoder *encoder, tsr_audio_decoder *decoder)
{
    tsr_audio_packet packet;
    tsr_error error;

    while (!(error = tsr_audio_encoder_pull(encoder, &packet)) && packet.data) {
        if (packet.number % LOSE_EVERY == LOSE_EVERY - 1)
            check(tsr_audio_decoder_lost(decoder), "lost");
        else
            check(tsr_audio_decoder_push(decoder, packet.data, packet.bytes), "push");
        play(decoder);
    }
    if (error != TSR_E_EOF)
        check(error, "packet");
}

int main(int argc, char **argv)
{
    tsr_context *context;
    tsr_model *model;
    tsr_audio_settings settings;
    tsr_audio_encoder *encoder;
    tsr_audio_decoder *decoder;
    const uint8_t *extradata;
    float samples[PIECE * MAX_CHANNELS];
    uint64_t running, start;
    size_t bytes, n;

    check(argc == 2 ? TSR_OK : TSR_E_ARG, "usage: stream_audio MODEL");
    check(tsr_context_open(&context, NULL), "context");
    check(tsr_model_open(&model, context, argv[1]), argv[1]);
    tsr_audio_settings_init(&settings);
    settings.live = 1;
    check(tsr_audio_encoder_open(&encoder, context, model, &settings), "encoder");
    tsr_audio_encoder_extradata(encoder, &extradata, &bytes);
    check(tsr_audio_decoder_open(&decoder, context, model, extradata, bytes, 1),
          "decoder");
    tsr_audio_encoder_latency(encoder, &running, &start);
    fprintf(stderr, "latency %.1f ms\n",
            1e3 * (double)running / tsr_audio_decoder_rate(decoder));

    const size_t frame = sizeof *samples *
                         (size_t)tsr_audio_decoder_channels(decoder);
    while ((n = fread(samples, frame, PIECE, stdin)) > 0) {
        check(tsr_audio_encoder_push(encoder, samples, n), "samples");
        transmit(encoder, decoder);
    }
    check(tsr_audio_encoder_finish(encoder), "end");
    transmit(encoder, decoder);
    check(tsr_audio_decoder_finish(decoder), "end");
    play(decoder);
    fprintf(stderr, "%llu frames were concealed\n",
            (unsigned long long)tsr_audio_decoder_concealed(decoder));
    tsr_audio_decoder_close(&decoder);
    tsr_audio_encoder_close(&encoder);
    tsr_model_unref(&model);
    tsr_context_close(&context);
    return 0;
}
