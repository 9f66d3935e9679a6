/* SPDX-License-Identifier: BSD-2-Clause */
#include <stddef.h>
#include <stdio.h>
#include <strings.h>
#include <tessera/stream.h>
#include "tools/commands.h"
#include "tools/engine.h"
#include "tools/io/picture.h"
#include "tools/io/wav.h"
#include "tools/media/decode.h"
#include "tools/media/packets.h"
#include "tools/media/sink.h"
#include "tools/progress.h"
#include "tools/say.h"
#include "tools/sound/sound.h"

static const opt decode_options[] = {
    { "-i --input", "FILE", "a .tess, .mov or .nut file; - is stdin", OPT_TEXT,
      offsetof(args, in), 0, 0 },
    { "-f --format", "FMT", "png, pnm, ppm, pgm, pam, wav, y4m, rawvideo, or any"
      " of libav's; default: the extension's", OPT_TEXT, offsetof(args, format),
      0, 0 },
    { NULL, NULL, NULL, OPT_FLAG, 0, 0, 0 }
};

/* What a damaged file still gave is kept; the exit status says what it is. */
static int say_damage(const input *in, const output *out, tsr_error error)
{
    const char *text = say_take_detail();
    return say_error(RC_INPUT, in->name, "%s; what could be decoded is in %s",
                     *text ? text : tsr_error_string(error), out->name);
}

/* As a video of one frame. */
static int write_by_libav(const args *a, output *out, const tsr_image *image)
{
    tsr_video_settings s;
    sink_source from = { .video = &s.info, .time_num = 1, .time_den = 25,
                         .rate_num = 25, .rate_den = 1 };
    media_sink *sink;
    int rc;

    tsr_video_settings_init(&s);
    s.info.width = image->width;
    s.info.height = image->height;
    s.info.channels = image->channels;
    s.info.bits = image->bits;
    rc = sink_av_open(&sink, a, &from, out);
    if (rc)
        return rc;
    rc = sink->frame(sink, image, 0, 1);
    if (!rc)
        rc = sink->finish(sink);
    sink->close(sink);
    return rc;
}

/* Decodes and writes, by libav if `format` is NULL; a damaged picture is written
 * too, with rc RC_INPUT. */
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
        rc = format ? picture_write(format, out, &image)
                    : write_by_libav(a, out, &image);
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

/* A format that this program writes itself. */
static int is_ours(const args *a)
{
    char name[32];
    if (!a->format)
        return args_is_pipe(a->out) || picture_named(a->out);
    snprintf(name, sizeof name, ".%s", a->format);
    return picture_named(name);
}

static int decode_picture(tsr_context *ctx, tsr_model *model, const args *a,
                          input *in)
{
    const picture_format *format = NULL;
    if (!in->head_size)
        return say_error(RC_INPUT, in->name, "is empty");
    if (wav_is(in))
        return say_error(RC_INPUT, in->name, "is a WAV file; decode reads"
                         " .tess");
    if (wav_named(a->out))
        return say_error(RC_USAGE, a->out, "is the name of a sound, and %s"
                         " holds none", in->name);
    if (is_ours(a) || !sink_av_knows(a)) {
        format = picture_writer(a->format, a->out);
        if (!format)
            return RC_USAGE;
    }
    return decode_file(ctx, model, a, in, format);
}

/* Options that would do nothing are a mistake. */
static int check_options(const args *a)
{
    if (!(a->start > 0 || a->length > 0 || a->until > 0 || a->rate ||
          a->channels || a->sample_format || a->codec_a || a->codec_v ||
          a->frames || a->frame_rate || a->pixel_format))
        return RC_OK;
    return say_error(RC_USAGE, a->in, "is a picture, no sound and no video, and"
                     " an option for these was given");
}

static int is_picture(const input *in)
{
    return input_is_tess(in, TSR_KIND_IMAGE) || !packets_in_is(in);
}

/* Sound alone that becomes a WAV file has its own way, which conceals by the
 * hour. */
static int is_sound(const args *a, const input *in)
{
    if (!input_is_tess(in, TSR_KIND_AUDIO))
        return 0;
    if (a->format)
        return !strcasecmp(a->format, "wav");
    return !a->out || args_is_pipe(a->out) || wav_named(a->out) ||
           picture_named(a->out);
}

static int decode_media(tsr_context *ctx, tsr_model *model, args *a, input *in)
{
    char made[NAME_SIZE];
    packets_in *p;
    int rc = packets_in_open(&p, ctx, in);

    if (!rc)
        rc = command_output(a, NULL, media_decode_extension(p), made);
    if (!rc)
        rc = media_decode(ctx, model, a, in, p);
    packets_in_close(&p);
    return rc;
}

static int decode_sound(tsr_context *ctx, tsr_model *model, args *a, input *in)
{
    char made[NAME_SIZE];
    const int rc = command_output(a, ".tess", ".wav", made);
    return rc ? rc : sound_decode(ctx, model, a, in);
}

static int decode_one(tsr_context *ctx, tsr_model *model, args *a, input *in)
{
    char made[NAME_SIZE];
    int rc = check_options(a);
    if (!rc)
        rc = command_output(a, ".tess", ".png", made);
    return rc ? rc : decode_picture(ctx, model, a, in);
}

static int run(args *a)
{
    tsr_context *ctx = NULL;
    tsr_model *model = NULL;
    input in = { 0 };
    int rc = command_files(a);

    if (!rc)
        rc = input_open(&in, a->in);
    if (!rc)
        rc = engine_open(&ctx, a);
    if (!rc && a->model)
        rc = engine_open_model(&model, ctx, a->model);
    if (!rc)
        rc = is_sound(a, &in) ? decode_sound(ctx, model, a, &in)
            : is_picture(&in) ? decode_one(ctx, model, a, &in)
                              : decode_media(ctx, model, a, &in);
    tsr_model_unref(&model);
    tsr_context_close(&ctx);
    input_close(&in);
    return rc;
}

static const opt decode_media_options[] = {
    { "-c:v", "NAME", "video: libav's encoder; default: the container's",
      OPT_TEXT, offsetof(args, codec_v), 0, 0 },
    { "-c:a", "NAME", "sound: likewise; WAV: as -sample_fmt", OPT_TEXT,
      offsetof(args, codec_a), 0, 0 },
    { "-pix_fmt", "FMT", "video: yuv420p (default), yuv444p, rgb24, ...",
      OPT_TEXT, offsetof(args, pixel_format), 0, 0 },
    { "-r", "FPS", "video: frames a second, for y4m and the like; default: the"
      " stream's", OPT_TEXT, offsetof(args, frame_rate), 0, 0 },
    { "-frames:v -vframes", "N", "video: stop after N frames", OPT_INT,
      offsetof(args, frames), 1, 2147483647.0 },
    { "-vn", NULL, "no video", OPT_FLAG, offsetof(args, no_video), 0, 0 },
    { "-an", NULL, "no sound", OPT_FLAG, offsetof(args, no_audio), 0, 0 },
    { "-map", "STREAM", "take these: 0:v, 0:a:1, 0:2; -0:a leaves out", OPT_LIST, offsetof(args, map), 0,
      0 },
    { "-ac", "N", "sound: 1: mixed to one; mono: N times the same", OPT_INT,
      offsetof(args, channels), 1, TSR_AUDIO_MAX_CHANNELS },
    { "-ss", "TIME", "begin there: seconds, or h:m:s", OPT_TIME,
      offsetof(args, start), 0, 1e7 },
    { "-t", "TIME", "so long", OPT_TIME, offsetof(args, length), 1e-6, 1e7 },
    { "-to", "TIME", "up to there", OPT_TIME, offsetof(args, until), 1e-6,
      1e7 },
    { NULL, NULL, NULL, OPT_FLAG, 0, 0, 0 }
};

const command command_decode = {
    .name = "decode",
    .summary = "a .tess, .mov or .nut file becomes a picture, a sound or a video",
    .synopsis = "[options] [-i] IN [[-o] OUT]",
    .takes = "tess mov nut",
    .usage =
        "  tessera decode photo.tess                 writes photo.png\n"
        "  tessera decode -i photo.tess copy.ppm\n"
        "  tessera decode -i photo.tess -f ppm - | cjpeg > photo.jpg\n"
        "  tessera decode speech.tess                writes speech.wav\n"
        "  tessera decode -ss 60 -t 5 -ar 48000 -i speech.tess part.wav\n"
        "  ... | tessera decode - - | aplay\n"
        "  tessera decode clip.tess clip.mp4         frames and sound\n"
        "  tessera decode clip.tess -f yuv4mpegpipe - | ffplay -\n"
        "  tessera decode -ss 12.5 clip.tess frame.png\n"
        "  tessera decode clip.mov frame%04d.png\n"
        "  tessera decode -c:v ffv1 -c:a flac clip.nut clip.mkv\n",
    .notes =
        "The model is found by the hash in the file. Of a damaged file the\n"
        "whole parts are written, and the exit status is 2; lost sound is concealed\n"
        "by the frames before it, faded out. WAV is 16 bits unless -sample_fmt says\n"
        "s24, s32 or flt; rounded, without dither; -v info counts clipped samples.\n"
        "\n"
        "Video and sound are read from .tess, and from MOV and NUT, whose other streams\n"
        "are left out. By its name or -f the output is y4m or raw video (frames at a\n"
        "constant rate: repeated or dropped where they come at other times), WAV\n"
        "(the sound), a picture (the frame at -ss), many (name%04d.png, one for each\n"
        "frame), or with libav any container it writes, with the encoders it takes for\n"
        "it, times kept. YUV is made with the matrix and range of the source, which\n"
        "the stream remembers. A lost frame is the one before it, shown longer.\n"
        "Ctrl-C finishes the file.\n",
    .tables = { decode_options, decode_media_options, sound_write_options,
                args_output_options, args_engine_options, args_common_options },
    .run = run
};
