/* SPDX-License-Identifier: BSD-2-Clause */
#include <stddef.h>
#include <string.h>
#include <strings.h>
#include "tools/io/picture.h"
#include "tools/say.h"
#include "tools/sound/sink.h"
#include "tools/sound/sound.h"

const opt sound_write_options[] = {
    { "-ar", "HZ", "sound: sampling rate; default: the model's", OPT_INT,
      offsetof(args, rate), 1, WAV_MAX_RATE },
    { "-sample_fmt", "s16|s24|s32|flt", "sound: samples of WAV; default s16",
      OPT_TEXT, offsetof(args, sample_format), 0, 0 },
    { NULL, NULL, NULL, OPT_FLAG, 0, 0, 0 }
};

/* Samples to leave out and to write.  The sampling rate is in HEAD, which is
 * the first chunk, 8 bytes into its payload. */
static int find_cut(const args *a, const input *in, uint64_t *start,
                    uint64_t *length)
{
    const uint8_t *p = in->head + 48;
    double rate;

    *start = 0;
    *length = UINT64_MAX;
    if (!(a->start > 0) && !(a->length > 0) && !(a->until > 0))
        return RC_OK;
    if (a->until > 0 && a->until <= a->start)
        return say_error(RC_USAGE, NULL, "-to lies before -ss");
    if (in->head_size < 52 || memcmp(in->head + 16, "TSRK" "HEAD", 8))
        return say_error(RC_INPUT, in->name, "does not begin with HEAD: -ss, -t"
                         " and -to are not possible");
    rate = p[0] + 256.0 * p[1] + 65536.0 * p[2] + 16777216.0 * p[3];
    *start = (uint64_t)(a->start * rate + 0.5);
    if (a->length > 0)
        *length = (uint64_t)(a->length * rate + 0.5);
    else if (a->until > 0)
        *length = (uint64_t)(a->until * rate + 0.5) - *start;
    return RC_OK;
}

static void tell(const output *out, const sound_sink *s, const progress *p)
{
    const double seconds = (double)s->got / s->form.rate;
    char clipped[64] = "";

    if (s->wav.clipped)
        snprintf(clipped, sizeof clipped, ", %llu samples clipped",
                 (unsigned long long)s->wav.clipped);
    say_info("%s: %.3f s, %d Hz, %d channel%s, %.2f s (%.1fx)%s", out->name,
             seconds, s->want.rate, s->want.channels,
             s->want.channels == 1 ? "" : "s", progress_seconds(p),
             seconds / progress_seconds(p), clipped);
}

/* What a failed decoding was: damage leaves what could be had. */
static int say_decoding(tsr_model *model, const input *in, const sound_sink *s,
                        tsr_error error)
{
    const char *text;
    if (s->failed)
        return s->failed;
    if (in->fault)
        return input_failed(in);
    if (s->wav.out->fault)
        return RC_USAGE;
    if (say_rc(error) != RC_INPUT || !s->got)
        return say_failure(error == TSR_E_SHAPE && model ? tsr_model_path(model)
                                                         : in->name, error);
    text = say_take_detail();
    return say_error(RC_INPUT, in->name, "%s; what could be decoded is in %s",
                     *text ? text : tsr_error_string(error), s->wav.out->name);
}

/* *any: whether there is sound, which is kept also of a damaged stream. */
static int decode_into(tsr_context *ctx, tsr_model *model, const args *a,
                       input *in, output *out, int *any)
{
    tsr_source source;
    tsr_audio_sink hook;
    tsr_progress watch;
    uint64_t start, length;
    tsr_error error;
    progress p;
    sound_sink s;
    int rc = sound_sink_open(&s, a, out, in->name);

    *any = 0;
    if (!rc)
        rc = find_cut(a, in, &start, &length);
    if (!rc)
        rc = progress_open(&p, a, a->out);
    if (rc) {
        sound_sink_close(&s);
        return rc;
    }
    source = input_source(in);
    hook = sound_sink_hook(&s);
    watch = progress_hook(&p);
    p.bytes = &out->bytes;
    s.progress = &p;
    error = tsr_audio_decode(ctx, model, &watch, &source, start, length, &hook);
    s.progress = NULL;
    rc = sound_sink_finish(&s);
    progress_close(&p, out->bytes, !error && !rc);
    if (error)
        rc = say_decoding(model, in, &s, error);
    else if (!rc && !s.got && a->start > 0)
        rc = say_error(RC_INPUT, in->name, "has no sound after -ss");
    else if (!rc)
        tell(out, &s, &p);
    *any = s.got > 0;
    sound_sink_close(&s);
    return rc;
}

static int check_name(const args *a)
{
    const int pipe = args_is_pipe(a->out);
    if (a->format && strcasecmp(a->format, "wav"))
        return say_error(RC_USAGE, NULL, "sound is written as wav, not '%s'",
                         a->format);
    if (picture_named(a->out))
        return say_error(RC_USAGE, a->out, "is the name of a picture, and %s"
                         " is sound", a->in);
    if (a->format || pipe || wav_named(a->out))
        return RC_OK;
    return say_error(RC_USAGE, a->out, "does not end in .wav, which is what is"
                     " written; -f wav writes it all the same");
}

int sound_decode(tsr_context *ctx, tsr_model *model, const args *a, input *in)
{
    output out;
    int rc = check_name(a), rc_close, any;

    if (!rc && !sound_sample_type(a))
        rc = RC_USAGE;
    if (!rc)
        rc = output_open(&out, a, in, a->out);
    if (rc)
        return rc;
    out.flow = !output_patches(&out);
    rc = decode_into(ctx, model, a, in, &out, &any);
    rc_close = output_close(&out, !rc || (rc == RC_INPUT && any));
    return rc_close ? rc_close : rc;
}
