/* SPDX-License-Identifier: BSD-2-Clause */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <tessera/audio.h>
#include "tools/commands.h"
#include "tools/engine.h"
#include "tools/media/choose.h"
#include "tools/media/packets.h"
#include "tools/progress.h"
#include "tools/say.h"

typedef struct remux {
    tsr_context *ctx;
    const args *a;
    input *in;
    output *out;
    packets_in *from;
    packets_out *to;
    int as[TSR_MEDIA_MAX_STREAMS];  /* number of a stream in the output; -1:
                                       left out */
    uint64_t packets;
    double seconds;                 /* the end of what was written */
    progress progress;
} remux;

static double unit_of(const remux *r, int stream)
{
    const tsr_media_stream *s = packets_in_stream(r->from, stream);
    return (double)s->time_num / s->time_den;
}

/* Where what is copied ends, seconds. */
static double end_of(const args *a)
{
    return a->length > 0 ? a->start + a->length
        : a->until > 0 ? a->until : 1e300;
}

/* Whether a packet lies, at least in part, between -ss and -to or -t. */
static int wanted(const remux *r, const tsr_media_packet *p)
{
    const double unit = unit_of(r, p->stream);
    const double begin = (double)p->pts * unit;
    const double end = begin + (p->duration ? (double)p->duration : 1) * unit;
    return r->as[p->stream] >= 0 && begin < end_of(r->a) - 1e-9 &&
           (end > r->a->start + 1e-9 || !(r->a->start > 0));
}

/* Next packet that is wanted. */
static int next(remux *r, tsr_media_packet *p, int *end)
{
    int rc;
    do
        rc = packets_in_next(r->from, p, end);
    while (!rc && !*end && !output_stopped() && !wanted(r, p));
    if (output_stopped())
        *end = 1;
    return output_stopped() ? RC_OK : rc;
}

/* A single sound from its beginning on is a file of kind sound, all else one of
 * kind media. */
static int kind_of(const remux *r, const tsr_media_packet *first)
{
    const tsr_media_stream *s = packets_in_stream(r->from, first->stream);
    tsr_audio_packet head;
    int n = 0;

    for (int i = 0; i < packets_in_streams(r->from); i++)
        n += r->as[i] >= 0;
    if (n != 1 || s->type != TSR_MEDIA_AUDIO || first->pts ||
        tsr_audio_describe_packet(r->ctx, s->extradata, s->extradata_bytes,
                                  first->data, first->bytes, &head)) {
        say_take_detail();
        return TSR_KIND_MEDIA;
    }
    return head.number ? TSR_KIND_MEDIA : TSR_KIND_AUDIO;
}

static int begin(remux *r, const tsr_media_packet *first)
{
    int rc = packets_out_open(&r->to, r->ctx, r->a, kind_of(r, first), r->out);
    for (int i = 0; i < packets_in_streams(r->from) && !rc; i++)
        if (r->as[i] >= 0)
            rc = packets_out_stream(r->to, packets_in_stream(r->from, i),
                                    &r->as[i]);
    return rc;
}

/* Times of what is cut out count from -ss on. */
static int64_t shift_of(const remux *r, int stream)
{
    return (int64_t)(r->a->start / unit_of(r, stream) + 0.5);
}

static int copy(remux *r, const tsr_media_packet *p)
{
    tsr_media_packet own = *p;
    const double unit = unit_of(r, p->stream);
    int rc;

    own.stream = r->as[p->stream];
    own.pts -= shift_of(r, p->stream);
    rc = packets_out_packet(r->to, &own);
    r->packets++;
    r->seconds = (double)(own.pts + (int64_t)own.duration) * unit;
    progress_sound(&r->progress, r->seconds > 0 ? r->seconds : 0);
    return rc;
}

static int copy_all(remux *r)
{
    tsr_media_packet p;
    int end = 0, rc = RC_OK;

    if (r->a->start > 0)
        rc = packets_in_seek(r->from, r->a->start);
    if (!rc)
        rc = next(r, &p, &end);
    if (rc)
        return rc;
    if (end)
        return say_error(RC_INPUT, r->in->name, r->a->start > 0
                         ? "has no packets after -ss" : "holds no packets");
    rc = begin(r, &p);
    while (!rc && !end) {
        rc = copy(r, &p);
        if (!rc)
            rc = next(r, &p, &end);
    }
    return rc ? rc : packets_out_finish(r->to);
}

static int say_end(const remux *r)
{
    const char *damage = packets_in_damage(r->from);
    if (damage)
        return say_error(RC_INPUT, r->in->name, "%s; the rest is in %s", damage,
                         r->out->name);
    say_info("%s: %llu packets, %llu bytes", r->out->name,
             (unsigned long long)r->packets,
             (unsigned long long)r->out->bytes);
    return RC_OK;
}

static int run_into(remux *r)
{
    int rc = progress_open(&r->progress, r->a, r->a->out);
    if (rc)
        return rc;
    r->progress.bytes = &r->out->bytes;
    r->progress.sound_length = packets_in_seconds(r->from);
    if (end_of(r->a) < r->progress.sound_length)
        r->progress.sound_length = end_of(r->a);
    r->progress.sound_length -= r->a->start;
    output_record();
    rc = copy_all(r);
    progress_close(&r->progress, r->out->bytes, !rc);
    packets_out_close(&r->to);
    return rc ? rc : say_end(r);
}

static int with_output(remux *r)
{
    output out;
    const char *name;
    int rc = output_open(&out, r->a, r->in, r->a->out), rc_close;

    if (rc)
        return rc;
    name = out.name;
    out.flow = !output_patches(&out);
    r->out = &out;
    rc = run_into(r);
    rc_close = output_close(&out, !rc || (rc == RC_INPUT && r->packets));
    if (!rc && !rc_close && output_stopped())
        return say_error(RC_SIGNAL, name, "ends where the signal came");
    return rc_close ? rc_close : rc;
}

static int check(const args *a)
{
    if (a->until > 0 && a->until <= a->start)
        return say_error(RC_USAGE, NULL, "-to lies before -ss");
    if (!packets_format(a, a->out))
        return say_error(RC_USAGE, a->format ? NULL : a->out, "remux writes"
                         " tess, mov and nut%s%s", a->format ? ", not " : "",
                         a->format ? a->format : "");
    return RC_OK;
}

/* A name of -f is an extension too. */
static int name_output(args *a, char made[NAME_SIZE])
{
    char ending[16];
    if (!a->out && !a->format)
        return say_error(RC_USAGE, NULL, "no output; its name, or -f, says"
                         " whether it is tess, mov or nut");
    snprintf(ending, sizeof ending, ".%s", a->format ? a->format : "");
    return command_output(a, NULL, ending, made);
}

static int run(args *a)
{
    char made[NAME_SIZE];
    input in = { 0 };
    remux r = { .a = a, .in = &in };
    int rc = command_files(a);

    if (!rc)
        rc = name_output(a, made);
    if (!rc && foreign_is_meant(a))
        return foreign_remux(a);
    if (!rc)
        rc = check(a);
    if (!rc)
        rc = input_open(&in, a->in);
    if (!rc)
        rc = engine_open(&r.ctx, a);
    if (!rc)
        rc = packets_in_open(&r.from, r.ctx, &in);
    if (!rc)
        rc = choose_streams(a, &in, r.from, r.as);
    if (!rc)
        rc = with_output(&r);
    packets_in_close(&r.from);
    tsr_context_close(&r.ctx);
    input_close(&in);
    return rc;
}

static const opt remux_options[] = {
    { "-i --input", "FILE", "a .tess, .mov or .nut file; - is stdin", OPT_TEXT,
      offsetof(args, in), 0, 0 },
    { "-f --format", "tess|mov|nut", "of the output; default: its extension's,"
      " tess for a pipe", OPT_TEXT, offsetof(args, format), 0, 0 },
    { "-map", "STREAM", "take these: 0:v, 0:a:1, 0:2; -0:a leaves out",
      OPT_LIST, offsetof(args, map), 0, 0 },
    { "-vn", NULL, "no video", OPT_FLAG, offsetof(args, no_video), 0, 0 },
    { "-an", NULL, "no sound", OPT_FLAG, offsetof(args, no_audio), 0, 0 },
    { "-ss", "TIME", "begin with the packet that is seen or heard then",
      OPT_TIME, offsetof(args, start), 0, 1e7 },
    { "-t", "TIME", "so long", OPT_TIME, offsetof(args, length), 1e-6, 1e7 },
    { "-to", "TIME", "up to there", OPT_TIME, offsetof(args, until), 1e-6,
      1e7 },
    { "-model", "NAME", "of a .mcq or .ecdc file: it was made with this one",
      OPT_TEXT, offsetof(args, model), 0, 0 },
    { NULL, NULL, NULL, OPT_FLAG, 0, 0, 0 }
};

const command command_remux = {
    .name = "remux",
    .summary = "coded video and sound into another container, as they are",
    .synopsis = "[options] [-i] IN [[-o] OUT]",
    .takes = "tess mov nut mcq ecdc",
    .usage =
        "  tessera remux clip.tess clip.mov\n"
        "  tessera remux clip.nut -f tess                writes clip.tess\n"
        "  tessera remux -ss 1:30 -t 20 clip.tess part.tess\n"
        "  tessera remux -map 0:a clip.mov sound.tess\n"
        "  tessera remux -model mcquic-qp2 photo.mcq photo.tess\n"
        "  tessera remux clip.tess -f nut - | ffmpeg -i - -map 0 -c copy x.mov\n",
    .notes =
        "Nothing is decoded: packets stay as they are, byte for byte, and .tess to\n"
        ".mov or .nut and back gives the same file. Other streams in MOV and NUT are\n"
        "left out.\n"
        "\n"
        "Cuts are made at packets: a frame each, and of sound as long as encode's\n"
        "-packet, so that sound may begin a little before -ss: at a time below 0, which\n"
        "players do not show (NUT has no such times: all begin later there).\n"
        "The sound of a cut file begins without what was before it: its first half\n"
        "second may differ a little.\n"
        "\n"
        "A file that ends too early or is damaged is copied as far as it can be read,\n"
        "and the exit status is 2. Ctrl-C finishes the file.\n"
        "\n"
        "Pictures of codec mcquic become .mcq files, those of McQuic's own program, and\n"
        "come back. Such a file holds no checksum, and of its model only the sizes.\n"
        "Sound of codec encodec becomes .ecdc files, those of EnCodec's own program, and\n"
        "comes back; .ecdc files of its language model (--lm) are refused.\n",
    .tables = { remux_options, args_output_options, args_common_options },
    .run = run
};
