/* SPDX-License-Identifier: BSD-2-Clause */
#include <string.h>
#include <strings.h>
#include "tools/media/packets_impl.h"
#include "tools/say.h"

static const char *const formats[] = { "tess", "mov", "nut", NULL };

const char *packets_format(const args *a, const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *dot = strrchr(slash ? slash : path, '.');
    const char *name = a->format ? a->format
        : args_is_pipe(path) ? "tess" : dot ? dot + 1 : "";
    for (int i = 0; formats[i]; i++)
        if (!strcasecmp(formats[i], name))
            return formats[i];
    return NULL;
}

/* What the first bytes announce, NULL: none of ours.  QuickTime files begin
 * with one of several boxes, whose type is behind its length. */
static const char *format_of(const input *in)
{
    static const char boxes[][5] = { "ftyp", "moov", "mdat", "wide", "free",
                                     "skip", "pnot" };
    if (input_is_tess(in, TSR_KIND_MEDIA) || input_is_tess(in, TSR_KIND_AUDIO))
        return "tess";
    if (in->head_size >= 24 &&
        !memcmp(in->head, "nut/multimedia container", 24))
        return "nut";
    for (size_t i = 0; i < sizeof boxes / sizeof *boxes; i++)
        if (in->head_size >= 8 && !memcmp(in->head + 4, boxes[i], 4))
            return "mov";
    return NULL;
}

int packets_in_is(const input *in)
{
    return format_of(in) != NULL;
}

int packets_in_ours(input *in)
{
    const char *format = format_of(in);
    return format && (!strcmp(format, "tess") || packets_av_ours(format, in));
}

/* What it is instead, as far as one can tell. */
static int refuse(const input *in)
{
    if (input_is_tess(in, TSR_KIND_IMAGE) ||
        (in->head_size > 1 && !memcmp(in->head, "\xc7\x54", 2)))
        return say_error(RC_INPUT, in->name, "holds one picture, which is no"
                         " stream of packets; 'tessera decode' it, and"
                         " 'tessera encode' makes a .mov of it");
    if (input_is_tess(in, TSR_KIND_KV) || input_is_tess(in, TSR_KIND_GENERIC))
        return say_error(RC_INPUT, in->name, "holds neither video nor sound");
    return say_error(RC_INPUT, in->name, in->head_size
                     ? "is neither .tess nor MOV nor NUT"
                     : "the file is empty");
}

int packets_in_open(packets_in **p, tsr_context *ctx, input *in)
{
    const char *format = format_of(in);
    *p = NULL;
    if (!format)
        return refuse(in);
    return strcmp(format, "tess") ? packets_av_open(p, ctx, format, in)
                                  : packets_tess_open(p, ctx, in);
}

int packets_in_streams(const packets_in *p)
{
    return p->kind->streams(p);
}

const tsr_media_stream *packets_in_stream(const packets_in *p, int index)
{
    return p->kind->stream(p, index);
}

double packets_in_seconds(const packets_in *p)
{
    return p->kind->seconds(p);
}

/* Times that sums of times could not hold; no file needs a 2^60th. */
static int is_absurd(const tsr_media_packet *packet)
{
    const int64_t most = (int64_t)1 << 60;
    return packet->pts > most || packet->pts < -most ||
           packet->duration > (uint64_t)most;
}

int packets_in_next(packets_in *p, tsr_media_packet *packet, int *end)
{
    int rc;
    while (!(rc = p->kind->next(p, packet, end)) && !*end &&
           is_absurd(packet))
        p->absurd = 1;
    return rc;
}

int packets_in_seek(packets_in *p, double seconds)
{
    return p->kind->seek(p, seconds);
}

const char *packets_in_damage(packets_in *p)
{
    const char *damage = p->kind->damage(p);
    return damage || !p->absurd ? damage
        : "packets at impossible times were left out";
}

void packets_in_close(packets_in **p)
{
    if (*p)
        (*p)->kind->close(*p);
    *p = NULL;
}

int packets_out_open(packets_out **p, tsr_context *ctx, const args *a, int kind,
                     output *out)
{
    const char *format = packets_format(a, out->path ? out->path : "-");
    *p = NULL;
    if (!format)
        return say_error(RC_USAGE, a->format ? NULL : out->name, "coded video"
                         " and sound go into tess, mov or nut%s%s",
                         a->format ? ", not " : "",
                         a->format ? a->format : "");
    return strcmp(format, "tess") ? packets_av_create(p, ctx, format, out)
                                  : packets_tess_create(p, ctx, kind, out);
}

int packets_out_stream(packets_out *p, const tsr_media_stream *stream,
                       int *index)
{
    return p->kind->stream(p, stream, index);
}

int packets_out_packet(packets_out *p, const tsr_media_packet *packet)
{
    return p->kind->packet(p, packet);
}

int packets_out_finish(packets_out *p)
{
    return p->kind->finish(p);
}

void packets_out_close(packets_out **p)
{
    if (*p)
        (*p)->kind->close(*p);
    *p = NULL;
}
