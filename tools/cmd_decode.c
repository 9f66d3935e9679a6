/* SPDX-License-Identifier: BSD-2-Clause */
#include <stddef.h>
#include <stdio.h>
#include <tessera/stream.h>
#include "tools/commands.h"
#include "tools/engine.h"
#include "tools/io/picture.h"
#include "tools/io/wav.h"
#include "tools/progress.h"
#include "tools/say.h"
#include "tools/sound/sound.h"

static const opt decode_options[] = {
    { "-i --input", "FILE", "the .tess file; - is stdin", OPT_TEXT,
      offsetof(args, in), 0, 0 },
    { "-f --format", "FMT", "png, pnm, ppm, pgm, pam, wav; default: the"
      " extension's", OPT_TEXT, offsetof(args, format), 0, 0 },
    { NULL, NULL, NULL, OPT_FLAG, 0, 0, 0 }
};

/* What a damaged file still gave is kept; the exit status says what it is. */
static int say_damage(const input *in, const output *out, tsr_error error)
{
    const char *text = say_take_detail();
    return say_error(RC_INPUT, in->name, "%s; what could be decoded is in %s",
                     *text ? text : tsr_error_string(error), out->name);
}

/* Decodes and writes; a damaged picture is written too, with rc RC_INPUT. */
static int decode_into(tsr_context *ctx, tsr_model *model, const args *a,
                       input *in, const picture_format *format, output *out)
{
    const tsr_source source = input_source(in);
    tsr_image image = { 0 };
    tsr_progress hook;
    tsr_error error;
    progress p;
    int rc = progress_open(&p, a, a->out);

    if (rc)
        return rc;
    p.image = &image;
    hook = progress_hook(&p);
    error = tsr_image_decode(ctx, model, &hook, &source, &image);
    if (image.data)
        rc = picture_write(format, out, &image);
    else if (in->fault)
        rc = input_failed(in);
    else
        rc = say_failure(error == TSR_E_SHAPE && model ? tsr_model_path(model)
                                                       : in->name, error);
    tsr_image_free(ctx, &image);
    progress_close(&p, out->bytes, !rc);
    if (!rc && !error)
        say_info("%s: %d x %d, %.2f s", out->name, image.width, image.height,
                 progress_seconds(&p));
    return rc ? rc : error ? say_damage(in, out, error) : RC_OK;
}

static int decode_file(tsr_context *ctx, tsr_model *model, const args *a,
                       input *in, const picture_format *format)
{
    output out;
    int rc = output_open(&out, a, in, a->out), rc_close, keep;

    if (rc)
        return rc;
    rc = decode_into(ctx, model, a, in, format, &out);
    keep = !rc || (rc == RC_INPUT && out.bytes);
    rc_close = output_close(&out, keep);
    return rc_close ? rc_close : rc;
}

static int decode_picture(tsr_context *ctx, tsr_model *model, const args *a,
                          input *in)
{
    const picture_format *format;
    if (wav_is(in))
        return say_error(RC_INPUT, in->name, "is a WAV file; decode reads"
                         " .tess");
    if (wav_named(a->out))
        return say_error(RC_USAGE, a->out, "is the name of a sound, and %s"
                         " holds none", in->name);
    format = picture_writer(a->format, a->out);
    return format ? decode_file(ctx, model, a, in, format) : RC_USAGE;
}

/* Options that would do nothing are a mistake. */
static int check_options(const args *a, int sound)
{
    if (sound || !(a->start > 0 || a->length > 0 || a->until > 0 || a->rate ||
                   a->channels || a->sample_format))
        return RC_OK;
    return say_error(RC_USAGE, a->in, "is no sound, and an option for sound was"
                     " given");
}

static int run(args *a)
{
    char made[NAME_SIZE];
    tsr_context *ctx = NULL;
    tsr_model *model = NULL;
    input in = { 0 };
    int sound = 0, rc = command_files(a);

    if (!rc)
        rc = input_open(&in, a->in);
    if (!rc) {
        sound = input_is_tess(&in, TSR_KIND_AUDIO);
        rc = command_output(a, ".tess", sound ? ".wav" : ".png", made);
    }
    if (!rc)
        rc = check_options(a, sound);
    if (!rc)
        rc = engine_open(&ctx, a);
    if (!rc && a->model)
        rc = engine_open_model(&model, ctx, a->model);
    if (!rc)
        rc = sound ? sound_decode(ctx, model, a, &in)
                   : decode_picture(ctx, model, a, &in);
    tsr_model_unref(&model);
    tsr_context_close(&ctx);
    input_close(&in);
    return rc;
}

static const opt decode_sound_options[] = {
    { "-ac", "N", "sound: 1: mixed to one; mono: N times the same", OPT_INT,
      offsetof(args, channels), 1, TSR_AUDIO_MAX_CHANNELS },
    { NULL, NULL, NULL, OPT_FLAG, 0, 0, 0 }
};

const command command_decode = {
    .name = "decode",
    .summary = "a .tess file becomes a picture or a sound",
    .synopsis = "[options] [-i] IN [[-o] OUT]",
    .takes = "tess mov nut",
    .usage =
        "  tessera decode photo.tess                 writes photo.png\n"
        "  tessera decode -i photo.tess copy.ppm\n"
        "  tessera decode -i photo.tess -f ppm - | cjpeg > photo.jpg\n"
        "  tessera decode speech.tess                writes speech.wav\n"
        "  tessera decode -ss 60 -t 5 -ar 48000 -i speech.tess part.wav\n"
        "  ... | tessera decode - - | aplay\n",
    .notes =
        "The model is found by the hash in the file. Of a damaged file the\n"
        "whole parts are written, and the exit status is 2; lost sound is concealed\n"
        "by the frames before it, faded out. WAV is 16 bits unless -sample_fmt says\n"
        "s24, s32 or flt; rounded, without dither; -v info counts clipped samples.\n",
    .tables = { decode_options, decode_sound_options, sound_write_options,
                sound_cut_options, args_output_options, args_engine_options,
                args_common_options },
    .run = run
};
