/* SPDX-License-Identifier: BSD-2-Clause */
#include <stddef.h>
#include <string.h>
#include <tessera/stream.h>
#include "tools/commands.h"
#include "tools/engine.h"
#include "tools/io/picture.h"
#include "tools/io/wav.h"
#include "tools/media/encode.h"
#include "tools/media/in.h"
#include "tools/media/packets.h"
#include "tools/media/sink.h"
#include "tools/pictures.h"
#include "tools/progress.h"
#include "tools/say.h"
#include "tools/sound/sound.h"

static const opt encode_options[] = {
    { "-i --input", "FILE", "any picture, sound or video; - is stdin", OPT_TEXT,
      offsetof(args, in), 0, 0 },
    { "-q -q:v --quality", "N", "pictures: 0 (smallest) to 100 (best); default 50", OPT_NUMBER,
      offsetof(args, quality), 0, 100 },
    { "-c --codec", "NAME", "codec of pictures (hyper, mcquic, vqgan, simvq) or of"
      " sound (encodec, hificodec, semantic, semanticodec); default: the model's", OPT_TEXT,
      offsetof(args, codec), 0, 0 },
    { "-c:v", "NAME", "codec of pictures", OPT_TEXT, offsetof(args, codec_v), 0,
      0 },
    { "-c:a", "NAME", "codec of sound", OPT_TEXT, offsetof(args, codec_a), 0,
      0 },
    { "-vn", NULL, "no video", OPT_FLAG, offsetof(args, no_video), 0, 0 },
    { "-an", NULL, "no sound", OPT_FLAG, offsetof(args, no_audio), 0, 0 },
    { "-noalpha", NULL, "pictures: drop alpha, which is kept exactly otherwise",
      OPT_FLAG, offsetof(args, noalpha), 0, 0 },
    { NULL, NULL, NULL, OPT_FLAG, 0, 0, 0 }
};

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
    int rc = pictures_settings(&s, ctx, a, model, 50);

    if (!rc)
        rc = progress_open(&p, a, a->out);
    if (rc)
        return rc;
    p.image = image;
    s.progress = progress_hook(&p);
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
                          media_in *m)
{
    const input *in = media_in_input(m);
    media_in_item item;
    output out;
    int end, rc, rc_close;

    rc = output_open(&out, a, in, a->out);
    if (rc)
        return rc;
    rc = media_in_next(m, &item, &end);
    if (!rc)
        rc = encode_into(ctx, model, a, in, &item.image, &out);
    rc_close = output_close(&out, !rc);
    if (rc || rc_close)
        return rc_close ? rc_close : rc;
    return media_in_finish(m);
}

/* Nobody wants a .tess stream in a file called .png. */
static int check_name(const args *a)
{
    const char *what = wav_named(a->out) ? "a sound"
        : picture_named(a->out) ? "a picture"
        : !a->format && !packets_format(a, a->out) && !args_is_pipe(a->out) &&
          sink_av_knows(a) ? "another format" : NULL;
    if (!what)
        return RC_OK;
    return say_error(RC_USAGE, a->out, "is the name of %s, and encode writes"
                     " .tess, .mov and .nut", what);
}

/* Options that would do nothing are a mistake. */
static int check_options(const args *a, const media_in_info *info)
{
    const char *alien = NULL;
    if (!info->video)
        alien = a->quality >= 0
            ? "-q is for pictures; -b:a chooses the rate of sound"
            : a->noalpha || a->container || a->interleave
                ? "-noalpha, -container and -interleave are for pictures"
                : a->size ? "is sound, and -s is for pictures" : NULL;
    else if (!info->audio)
        alien = a->bitrate > 0
            ? "-b:a is for sound; -q chooses a picture's quality"
            : a->books || a->channels || a->entropy || a->packet > 0 ||
              a->live || a->droppable || a->window >= 0 || a->search >= 0
                ? "is a picture, and an option for sound was given" : NULL;
    return alien ? say_error(RC_USAGE, a->in, "%s", alien) : RC_OK;
}

/* Of pictures and sound in one file -model and -c name those of one kind; the
 * other has its default. */
static int open_model(tsr_model **model, tsr_context *ctx, const args *a,
                      const media_in_info *info, int kind)
{
    args own = *a;
    const char *codec = kind == TSR_KIND_AUDIO ? a->codec_a : a->codec_v;

    *model = NULL;
    if (kind == TSR_KIND_AUDIO ? !info->audio : !info->video)
        return RC_OK;
    own.codec = codec ? codec : a->codec;
    if (a->model && info->video && info->audio &&
        engine_kind(ctx, a->model) != kind)
        own.model = NULL;
    return engine_model(model, ctx, &own, kind);
}

/* Files other than .tess, and video, go to media_encode(). */
static int is_plain(const args *a, const media_in_info *info)
{
    const char *format = packets_format(a, a->out);
    return (!info->video || info->still) &&
           (info->video != info->audio) &&
           (format ? !strcmp(format, "tess") : !a->format);
}

static int encode_media(tsr_context *ctx, const args *a, media_in *m)
{
    const media_in_info *info = media_in_about(m);
    tsr_model *picture = NULL, *sound = NULL;
    tsr_audio_model_info about;
    int rc = check_options(a, info);

    if (!rc && a->interleave && !is_plain(a, info))
        rc = say_error(RC_USAGE, a->in, "-interleave is for a .tess file of one"
                       " picture");
    if (!rc)
        rc = open_model(&picture, ctx, a, info, TSR_KIND_IMAGE);
    if (!rc)
        rc = open_model(&sound, ctx, a, info, TSR_KIND_AUDIO);
    if (!rc && is_plain(a, info)) {
        rc = sound ? sound_encode(ctx, sound, a, m)
                   : encode_picture(ctx, picture, a, m);
    } else if (!rc) {
        if (sound)
            rc = sound_describe(ctx, sound, &about);
        if (sound && !rc)
            rc = media_in_sound(m, &(media_in_want){ .video = 1, .audio = 1,
                                                     .rate = about.rate,
                                                     .group = about.channels });
        if (!rc)
            rc = media_encode(ctx, a, media_in_input(m), m, picture, sound);
    }
    tsr_model_unref(&picture);
    tsr_model_unref(&sound);
    return rc;
}

static int run(args *a)
{
    char made[NAME_SIZE];
    tsr_context *ctx = NULL;
    media_in *m = NULL;
    input in = { 0 };
    int rc = command_paths(a, NULL, ".tess", made);

    if (!rc)
        rc = check_name(a);
    if (!rc)
        rc = input_open(&in, a->in);
    if (!rc)
        rc = engine_open(&ctx, a);
    if (!rc)
        rc = media_in_open(&m, ctx, a, &in,
                           &(media_in_want){ .video = !a->no_video,
                                             .audio = !a->no_audio });
    if (!rc)
        rc = encode_media(ctx, a, m);
    media_in_close(&m);
    tsr_context_close(&ctx);
    input_close(&in);
    return rc;
}

const command command_encode = {
    .name = "encode",
    .summary = "a picture, a sound or a video becomes a .tess, .mov or .nut file",
    .synopsis = "[options] [-i] IN [[-o] OUT]",
    .usage =
        "  tessera encode photo.jpg                  writes photo.tess\n"
        "  tessera encode -q 70 -i photo.png small.tess\n"
        "  tessera encode -m mosaic photo.jpg        0.02 to 0.06 bits a pixel\n"
        "  tessera encode speech.opus                writes speech.tess\n"
        "  tessera encode -b:a 1.5k -ss 1:30 -t 20 -i song.mp3 part.tess\n"
        "  tessera encode -i film.mp4 film.mov       frames and sound\n"
        "  ffmpeg ... -f yuv4mpegpipe - | tessera encode - film.tess\n"
        "  arecord -f S16_LE -r 24000 | tessera encode -live - - | ...\n",
    .notes =
        "Reads PNG of any kind, PNM (P2, P3, P5, P6, PAM), WAV (8 to 32 bits, float,\n"
        "up to 64 channels) and y4m by itself, and where it was built with libav all\n"
        "that libav decodes. A file of one frame without sound is a picture. The\n"
        "models are \"photo\" and \"sound\" if none is named; \"mosaic\" is for pictures in\n"
        "very few bits, made for the eye, not for measures. An existing file is\n"
        "overwritten with -y, or after a question on a terminal.\n"
        "\n"
        "Streams: the best of each kind; covers of songs are none of them. -map 0:v\n"
        "takes pictures only, 0:a sound only, 0:a:1 the second sound, 0:2 stream 2,\n"
        "and -0:a all but sound.\n"
        "Time: -ss is exact, to the frame and the sample; times of frames are kept,\n"
        "gaps in sound are filled with silence.\n"
        "Colour: YUV becomes RGB by the matrix and range that the file names, else\n"
        "BT.601 below 720 lines, BT.709 from there on, limited range. More than 8 bits\n"
        "become 16; alpha is kept; pictures that say they are turned are turned.\n"
        "Channels: a mono model gets their mean, and says so; -ac N codes each of N\n"
        "channels alone, for N times the bits. A stereo model gets mono sound twice.\n"
        "Damage: what cannot be decoded is left out, and the exit status is 2.\n"
        "Recording from a pipe: the first Ctrl-C ends the sound and finishes the file.\n",
    .tables = { encode_options, pictures_options, media_in_options,
                sound_encode_options, args_output_options,
                args_engine_options, args_common_options },
    .sides = 1,
    .run = run
};
