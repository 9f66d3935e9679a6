/* SPDX-License-Identifier: BSD-2-Clause */
#include <stddef.h>
#include <tessera/stream.h>
#include "tools/commands.h"
#include "tools/engine.h"
#include "tools/io/picture.h"
#include "tools/io/wav.h"
#include "tools/progress.h"
#include "tools/say.h"
#include "tools/sound/sound.h"

static const opt encode_options[] = {
    { "-i --input", "FILE", "PNG, PNM or WAV; - is stdin", OPT_TEXT,
      offsetof(args, in), 0, 0 },
    { "-q --quality", "N", "picture: 0 (smallest) to 100 (best); default 50", OPT_NUMBER,
      offsetof(args, quality), 0, 100 },
    { "-c:v -c:a --codec", "NAME", "the codec: hyper, mcquic; encodec,"
      " encodec, hificodec", OPT_TEXT, offsetof(args, codec), 0, 0 },
    { "-noalpha", NULL, "picture: drop alpha, which is kept exactly otherwise",
      OPT_FLAG, offsetof(args, noalpha), 0, 0 },
    { "-container", NULL, "picture: the chunked form for small ones too",
      OPT_FLAG, offsetof(args, container), 0, 0 },
    { NULL, NULL, NULL, OPT_FLAG, 0, 0, 0 }
};

static tsr_image_settings settings_of(const args *a, progress *p)
{
    tsr_image_settings s;
    tsr_image_settings_init(&s);
    s.quality = a->quality < 0 ? 50 : a->quality;
    s.container = a->container;
    s.lossless_alpha = !a->noalpha;
    s.progress = progress_hook(p);
    return s;
}

static void tell(const progress *p, const output *out, const tsr_image *image)
{
    say_info("%s: %llu bytes, %.3f bits per pixel, %.2f s", out->name,
             (unsigned long long)out->bytes, 8.0 * (double)out->bytes /
             ((double)image->width * image->height), progress_seconds(p));
}

static int encode_into(tsr_context *ctx, tsr_model *model, const args *a,
                       const input *in, const tsr_image *image, output *out)
{
    progress p;
    tsr_image_settings s;
    tsr_sink sink = output_sink(out);
    tsr_error error;
    int rc = progress_open(&p, a, a->out);

    if (rc)
        return rc;
    p.image = image;
    s = settings_of(a, &p);
    error = tsr_image_encode(ctx, model, &s, image, &sink);
    progress_close(&p, out->bytes, !error);
    if (error && out->fault)
        return RC_USAGE;
    if (error)
        return say_failure(say_rc(error) == RC_MODEL ? tsr_model_path(model)
                                                     : in->name, error);
    tell(&p, out, image);
    return RC_OK;
}

static int encode_picture(tsr_context *ctx, tsr_model *model, const args *a,
                          input *in)
{
    tsr_image image;
    output out;
    int rc, rc_close;

    rc = output_open(&out, a, in, a->out);
    if (rc)
        return rc;
    rc = picture_read(ctx, in, &image);
    if (!rc)
        rc = encode_into(ctx, model, a, in, &image, &out);
    tsr_image_free(ctx, &image);
    rc_close = output_close(&out, !rc);
    return rc_close ? rc_close : rc;
}

/* Nobody wants a .tess stream in a file called .png. */
static int check_name(const char *out)
{
    if (!picture_named(out) && !wav_named(out))
        return RC_OK;
    return say_error(RC_USAGE, out, "is the name of a %s, and encode"
                     " writes .tess", wav_named(out) ? "sound" : "picture");
}

/* Options that would do nothing are a mistake. */
static int check_options(const args *a, int sound)
{
    const char *alien = sound
        ? a->quality >= 0 ? "-q is for pictures; -b:a chooses the rate of sound"
            : a->noalpha || a->container
                ? "-noalpha and -container are for pictures" : NULL
        : a->bitrate > 0 ? "-b:a is for sound; -q chooses a picture's quality"
            : a->books || a->channels || a->entropy || a->packet > 0 ||
              a->live || a->droppable || a->window >= 0 || a->start > 0 ||
              a->length > 0 || a->until > 0
                ? "is a picture, and an option for sound was given" : NULL;
    return alien ? say_error(RC_USAGE, a->in, "%s", alien) : RC_OK;
}

static int run(args *a)
{
    char made[NAME_SIZE];
    tsr_context *ctx = NULL;
    tsr_model *model = NULL;
    input in = { 0 };
    int sound = 0, rc = command_paths(a, NULL, ".tess", made);

    if (!rc)
        rc = check_name(a->out);
    if (!rc)
        rc = input_open(&in, a->in);
    if (!rc) {
        sound = wav_is(&in);
        rc = check_options(a, sound);
    }
    if (!rc)
        rc = engine_open(&ctx, a);
    if (!rc)
        rc = engine_model(&model, ctx, a, sound ? TSR_KIND_AUDIO
                                                : TSR_KIND_IMAGE);
    if (!rc)
        rc = sound ? sound_encode(ctx, model, a, &in)
                   : encode_picture(ctx, model, a, &in);
    tsr_model_unref(&model);
    tsr_context_close(&ctx);
    input_close(&in);
    return rc;
}

const command command_encode = {
    .name = "encode",
    .summary = "a picture or a sound becomes a .tess file",
    .synopsis = "[options] [-i] IN [[-o] OUT]",
    .usage =
        "  tessera encode photo.png                  writes photo.tess\n"
        "  tessera encode -q 70 -i photo.png small.tess\n"
        "  djpeg photo.jpg | tessera encode -i - -o photo.tess\n"
        "  tessera encode speech.wav                 writes speech.tess\n"
        "  tessera encode -b:a 1.5k -ss 1:30 -t 20 -i song.wav part.tess\n"
        "  arecord -f S16_LE -r 24000 | tessera encode -live - - | ...\n",
    .notes =
        "Reads PNG of any kind and PNM (P2, P3, P5, P6, PAM), and WAV: 8 to 32 bits,\n"
        "float, any rate (resampled to the model's) and up to 64 channels. The model is\n"
        "\"photo\" or \"sound\" if none is named. An existing file is overwritten with -y,\n"
        "or after a question on a terminal.\n"
        "\n"
        "Channels: a mono model gets their mean, and says so; -ac N codes each of N\n"
        "channels alone, for N times the bits. A stereo model gets mono sound twice.\n"
        "Recording from a pipe: the first Ctrl-C ends the sound and finishes the file.\n",
    .tables = { encode_options, sound_encode_options, sound_cut_options, args_output_options, args_engine_options,
                args_common_options },
    .run = run
};
