/* SPDX-License-Identifier: BSD-2-Clause */
#include <math.h>
#include <stddef.h>
#include <string.h>
#include "tools/output.h"
#include "tools/say.h"
#include "tools/sound/sound.h"
#include "tools/sound/source.h"

/* A packet of live sound, where -packet says nothing: the delay it makes
 * against the 60 bytes or so that each one costs in a file. */
static const double live_packet = 0.2;

const opt sound_encode_options[] = {
    { "-b:a", "RATE", "sound: bits a second, like 3k, before entropy coding",
      OPT_SCALED, offsetof(args, bitrate), 1, 1e9 },
    { "-books", "N", "sound: codebooks of each frame, instead of -b:a", OPT_INT,
      offsetof(args, books), 1, TSR_AUDIO_MAX_BOOKS },
    { "-ac", "N", "sound: channels to code; default: those of the model",
      OPT_INT, offsetof(args, channels), 1, TSR_AUDIO_MAX_CHANNELS },
    { "-entropy", "auto|fixed|static|context|adaptive|lm", "sound: how codes are"
      " coded; default auto", OPT_TEXT, offsetof(args, entropy), 0, 0 },
    { "-packet", "SECONDS", "sound: length of a packet; default 10, live 0.2",
      OPT_TIME, offsetof(args, packet), 1e-4, 1e5 },
    { "-live", NULL, "sound: with the least delay, as it comes", OPT_FLAG,
      offsetof(args, live), 0, 0 },
    { "-droppable", NULL, "sound: the finer books can be cut off later",
      OPT_FLAG, offsetof(args, droppable), 0, 0 },
    { "-window", "SECONDS", "sound: of HiFi-Codec's normalisation; 0: the whole",
      OPT_TIME, offsetof(args, window), 0, 1e5 },
    { "-compression_level", "N", "sound: 0: codes as published; 1..16: so many"
      " are kept in a search for better ones; default: 8 with models like sound",
      OPT_INT, offsetof(args, search), 0, 16 },
    { "-seed", "N", "sound: of what a decoder like SemantiCodec's draws;"
      " default 1", OPT_INT, offsetof(args, seed), 0, 2147483647.0 },
    { NULL, NULL, NULL, OPT_FLAG, 0, 0, 0 }
};

const opt sound_cut_options[] = {
    { "-ss", "TIME", "sound: begin there: seconds, or h:m:s", OPT_TIME,
      offsetof(args, start), 0, 1e7 },
    { "-t", "TIME", "sound: so long", OPT_TIME, offsetof(args, length), 1e-6,
      1e7 },
    { "-to", "TIME", "sound: up to there", OPT_TIME, offsetof(args, until),
      1e-6, 1e7 },
    { NULL, NULL, NULL, OPT_FLAG, 0, 0, 0 }
};

static const struct { const char *name; int entropy; } entropies[] = {
    { "auto", TSR_AUDIO_ENTROPY_AUTO }, { "fixed", TSR_AUDIO_ENTROPY_FIXED },
    { "static", TSR_AUDIO_ENTROPY_STATIC },
    { "context", TSR_AUDIO_ENTROPY_CONTEXT },
    { "adaptive", TSR_AUDIO_ENTROPY_ADAPTIVE }, { "lm", TSR_AUDIO_ENTROPY_LM },
};
enum { ENTROPIES = sizeof entropies / sizeof *entropies };

const char *sound_entropy_name(int entropy)
{
    for (int i = 0; i < ENTROPIES; i++)
        if (entropies[i].entropy == entropy)
            return entropies[i].name;
    return "unknown";
}

int sound_describe(tsr_context *ctx, tsr_model *model,
                   tsr_audio_model_info *info)
{
    const tsr_error error = tsr_audio_model_describe(ctx, model, info);
    return error ? say_failure(tsr_model_path(model), error) : RC_OK;
}

/* Bits a second of the first `books` books. */
static double books_rate(const tsr_audio_model_info *model, int books)
{
    return (log2(model->first_codewords) +
            (books - 1) * log2(model->other_codewords)) *
           model->rate / model->hop;
}

/* What is asked for and what there is differ: that is told, not refused. */
static void check_rate(const args *a, const tsr_audio_model_info *model,
                       int groups)
{
    const double one = books_rate(model, 1) * groups;
    const double all = books_rate(model, model->books) * groups;
    if (a->bitrate > 0 && !a->books && a->bitrate < one)
        say_warning(NULL, "-b:a %.0f is below the %.0f bits a second of one"
                    " codebook, which are used", a->bitrate, one);
    if (a->bitrate > all && !a->books)
        say_warning(NULL, "-b:a %.0f is above the %.0f bits a second of all"
                    " codebooks, which are used", a->bitrate, all);
}

int sound_settings(tsr_audio_settings *s, const args *a,
                   const tsr_audio_model_info *model, int channels)
{
    const int groups = channels / model->channels;
    double packet = a->packet;
    int i = 0;

    tsr_audio_settings_init(s);
    s->channels = channels;
    s->bitrate = a->bitrate / groups;
    s->books = a->books;
    s->droppable = a->droppable;
    s->live = a->live;
    s->search = a->search;
    s->seed = (uint32_t)a->seed;
    if (a->books > model->books)
        return say_error(RC_USAGE, NULL, "-books %d: the model has %d",
                         a->books, model->books);
    check_rate(a, model, groups);
    if (a->window >= 0 && !model->whole)
        return say_error(RC_USAGE, NULL, "-window: only models that normalise"
                         " over the whole sound (HiFi-Codec) have one");
    if (a->window >= 0)
        s->window = a->window;
    if (a->live && !(packet > 0))
        packet = live_packet;
    if (packet > 0) {
        const double frames = ceil(packet * model->rate / model->hop - 1e-6);
        if (frames > TSR_AUDIO_MAX_FRAMES)
            return say_error(RC_USAGE, NULL, "-packet %g: %.0f frames are the"
                             " most, %.1f s", a->packet,
                             (double)TSR_AUDIO_MAX_FRAMES,
                             (double)TSR_AUDIO_MAX_FRAMES * model->hop /
                             model->rate);
        s->packet_frames = frames < 1 ? 1 : (int)frames;
    }
    while (a->entropy && i < ENTROPIES && strcmp(a->entropy, entropies[i].name))
        i++;
    if (i == ENTROPIES)
        return say_error(RC_USAGE, NULL, "unknown -entropy '%s' (auto, fixed,"
                         " static, context, adaptive, lm)", a->entropy);
    s->entropy = entropies[i].entropy;
    return RC_OK;
}

static void tell(const output *out, const sound_source *s, const progress *p)
{
    const double seconds = (double)s->given / s->form.rate;
    say_info("%s: %llu bytes, %.3f s, %.3f kbit/s, %.2f s (%.1fx)", out->name,
             (unsigned long long)out->bytes, seconds,
             seconds > 0 ? 8e-3 * (double)out->bytes / seconds : 0,
             progress_seconds(p), seconds / progress_seconds(p));
}

static int encode_into(tsr_context *ctx, tsr_model *model, const args *a,
                       const tsr_audio_settings *settings, sound_source *s,
                       output *out)
{
    const tsr_audio_source samples = sound_source_hook(s);
    const tsr_sink sink = output_sink(out);
    progress p;
    tsr_error error;
    int rc = progress_open(&p, a, a->out);

    if (rc)
        return rc;
    p.sound_length = (double)s->length / s->form.rate;
    p.bytes = &out->bytes;
    s->progress = &p;
    error = tsr_audio_encode(ctx, model, settings, &samples, &sink);
    s->progress = NULL;
    progress_close(&p, out->bytes, !error);
    if (error && out->fault)
        return RC_USAGE;
    if (s->rc)
        return s->rc;
    if (error)
        return say_failure(say_rc(error) == RC_MODEL ? tsr_model_path(model)
                                                     : s->name, error);
    tell(out, s, &p);
    return RC_OK;
}

/* Sound from a pipe cannot be had again: the first Ctrl-C ends the recording,
 * as it does in ffmpeg, and the file is finished. */
static int encode_to(tsr_context *ctx, tsr_model *model, const args *a,
                     const tsr_audio_settings *settings, sound_source *s)
{
    output out;
    const char *name;
    int rc = output_open(&out, a, media_in_input(s->media), a->out), rc_close;

    if (rc)
        return rc;
    name = out.name;
    out.flow = a->live || !output_patches(&out);
    if (args_is_pipe(a->in))
        output_record();
    rc = encode_into(ctx, model, a, settings, s, &out);
    rc_close = output_close(&out, !rc);
    if (rc || rc_close)
        return rc_close ? rc_close : rc;
    if (output_stopped())
        return say_error(RC_SIGNAL, name, "ends where the signal came");
    return media_in_finish(s->media);
}

int sound_encode(tsr_context *ctx, tsr_model *model, const args *a,
                 media_in *m)
{
    tsr_audio_model_info info;
    tsr_audio_settings settings;
    sound_source s;
    int rc = sound_describe(ctx, model, &info);

    if (rc)
        return rc;
    rc = sound_source_open(&s, m, info.rate, info.channels);
    if (!rc)
        rc = sound_settings(&settings, a, &info, s.form.channels);
    if (!rc)
        rc = encode_to(ctx, model, a, &settings, &s);
    return rc;
}
