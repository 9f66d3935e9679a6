/* SPDX-License-Identifier: BSD-2-Clause */
#include <libavformat/avformat.h>
#include <libavutil/mathematics.h>
#include <string.h>
#include <tessera/audio.h>
#include <tessera/video.h>
#include "tools/media/av.h"
#include "tools/media/av_io.h"
#include "tools/media/packets_av.h"
#include "tools/media/packets_impl.h"
#include "tools/say.h"

enum { QUEUE = 256 };
/* Times beyond it, and those that are not known, are damage. */
static const int64_t MOST = (int64_t)1 << 60;

/* One of our streams. */
typedef struct track {
    tsr_media_stream media;
    AVStream *av;
    AVRational unit;        /* of media */
    uint32_t rate_num, rate_den; /* video: frames a second; 0/0: it varies */
    int started;            /* a packet of it is or was in the queue */
} track;

/* Packets wait in a queue: NUT and fragments of MOV say no durations, so that a
 * frame's is known when the next one comes; and whether the unit of time is exact is known when
 * the first one comes. */
typedef struct av_in {
    packets_in base;
    tsr_context *ctx;
    av_reader file;
    AVFormatContext *f;
    track *tracks;
    int n;
    AVPacket *queue[QUEUE]; /* from `first` on, around the end */
    unsigned first, count;
    AVPacket *given;        /* the caller's until the next call */
    int nut, over;
    uint64_t bad;           /* packets that are not whole */
    int cut, checked;
    char damage[96];
} av_in;

static AVPacket *queued(const av_in *v, unsigned i)
{
    return v->queue[(v->first + i) % QUEUE];
}

/* The number of the stream that a packet of libav's belongs to, or -1. */
static int track_of(const av_in *v, const AVPacket *p)
{
    for (int i = 0; i < v->n; i++)
        if (v->tracks[i].av->index == p->stream_index)
            return i;
    return -1;
}

static int64_t pts_of(const AVPacket *p)
{
    return p->pts != AV_NOPTS_VALUE ? p->pts : p->dts;
}

/* ---- streams ---- */

static int is_ours(const AVStream *s)
{
    const AVCodecParameters *c = s->codecpar;
    return c->extradata_size > 0 &&
           ((c->codec_tag == TSR_TAG_VIDEO &&
             c->codec_type == AVMEDIA_TYPE_VIDEO) ||
            (c->codec_tag == TSR_TAG_AUDIO &&
             c->codec_type == AVMEDIA_TYPE_AUDIO));
}

static int count_ours(const AVFormatContext *f)
{
    int n = 0;
    for (unsigned i = 0; i < f->nb_streams; i++)
        n += is_ours(f->streams[i]);
    return n < TSR_MEDIA_MAX_STREAMS ? n : TSR_MEDIA_MAX_STREAMS;
}

/* The unit that the writer had, where it is one of the container's times. */
static AVRational written_unit(const AVStream *s)
{
    const AVDictionaryEntry *e = av_dict_get(s->metadata, PACKETS_AV_KEY, NULL,
                                             0);
    AVRational r = { 0, 1 }, times;
    if (!e || sscanf(e->value, PACKETS_AV_TEXT, &r.num, &r.den) != 2 ||
        r.num < 1 || r.den < 1)
        return s->time_base;
    times = av_div_q(r, s->time_base);
    return times.den == 1 && times.num > 0 ? r : s->time_base;
}

static int set_video(av_in *v, track *t)
{
    tsr_video_info info;
    const tsr_error error = tsr_video_describe(v->ctx, t->media.extradata,
                                               t->media.extradata_bytes, &info);
    if (error)
        return say_failure(v->file.in->name, error);
    t->unit = written_unit(t->av);
    t->rate_num = info.rate_num;
    t->rate_den = info.rate_den;
    return RC_OK;
}

static int set_audio(av_in *v, track *t)
{
    tsr_audio_info info;
    const tsr_error error = tsr_audio_describe(v->ctx, t->media.extradata,
                                               t->media.extradata_bytes, &info);
    if (error)
        return say_failure(v->file.in->name, error);
    t->unit = (AVRational){ 1, info.rate };
    return RC_OK;
}

static void publish(track *t)
{
    t->media.time_num = (uint32_t)t->unit.num;
    t->media.time_den = (uint32_t)t->unit.den;
}

static int set_track(av_in *v, track *t, AVStream *s)
{
    int rc;
    t->av = s;
    t->media.extradata = s->codecpar->extradata;
    t->media.extradata_bytes = (size_t)s->codecpar->extradata_size;
    t->media.type = s->codecpar->codec_type == AVMEDIA_TYPE_VIDEO
        ? TSR_MEDIA_VIDEO : TSR_MEDIA_AUDIO;
    rc = t->media.type == TSR_MEDIA_VIDEO ? set_video(v, t) : set_audio(v, t);
    publish(t);
    return rc;
}

static int set_tracks(av_in *v)
{
    const int n = count_ours(v->f);
    int rc = RC_OK;

    if (!n)
        return say_error(RC_INPUT, v->file.in->name,
                         "holds no stream of Tessera's (TSRv, TSRa)");
    v->tracks = av_calloc((size_t)n, sizeof *v->tracks);
    if (!v->tracks)
        return say_error(RC_MACHINE, v->file.in->name, "out of memory");
    for (unsigned i = 0; i < v->f->nb_streams && !rc; i++) {
        AVStream *s = v->f->streams[i];
        if (is_ours(s) && v->n < n)
            rc = set_track(v, &v->tracks[v->n++], s);
        else
            s->discard = AVDISCARD_ALL;
    }
    return rc;
}

/* ---- packets ---- */

/* Reads one packet into the queue. */
static int fetch(av_in *v)
{
    AVPacket *p = av_packet_alloc();
    int error, i;

    if (!p)
        return say_error(RC_MACHINE, v->file.in->name, "out of memory");
    error = av_read_frame(v->f, p);
    i = error ? -1 : track_of(v, p);
    if (error) {
        v->over = 1;
        v->cut |= error != AVERROR_EOF && !v->file.in->fault;
    } else if (i >= 0 && (p->flags & AV_PKT_FLAG_CORRUPT ||
                          pts_of(p) > MOST || pts_of(p) < -MOST)) {
        v->bad++;
    } else if (i >= 0) {
        v->queue[(v->first + v->count++) % QUEUE] = p;
        v->tracks[i].started = 1;
        return RC_OK;
    }
    av_packet_free(&p);
    return error == AVERROR(ENOMEM)
        ? say_error(RC_MACHINE, v->file.in->name, "out of memory")
        : v->file.in->fault ? input_failed(v->file.in) : RC_OK;
}

/* A copy that begins elsewhere has all its times moved; then the unit that was
 * written no longer fits them, and the container's own is taken. */
static void check_units(av_in *v)
{
    for (unsigned i = 0; i < v->count; i++) {
        const AVPacket *p = queued(v, i);
        track *t = &v->tracks[track_of(v, p)];
        const int64_t times = av_div_q(t->unit, t->av->time_base).num;
        if (t->media.type == TSR_MEDIA_VIDEO && times > 1 &&
            pts_of(p) % times) {
            t->unit = t->av->time_base;
            publish(t);
        }
    }
}

/* Reads until each stream of video has begun. */
static int begin(av_in *v)
{
    int missing, rc = RC_OK;
    do {
        missing = 0;
        for (int i = 0; i < v->n; i++)
            missing += v->tracks[i].media.type == TSR_MEDIA_VIDEO &&
                       !v->tracks[i].started;
        if (missing && !v->over && v->count < QUEUE)
            rc = fetch(v);
    } while (!rc && missing && !v->over && v->count < QUEUE);
    check_units(v);
    return rc;
}

/* The packet after the first one that is of its stream, or NULL. */
static const AVPacket *successor(const av_in *v)
{
    for (unsigned i = 1; i < v->count; i++)
        if (queued(v, i)->stream_index == queued(v, 0)->stream_index)
            return queued(v, i);
    return NULL;
}

static int waits(const av_in *v)
{
    if (!v->count)
        return 1;
    return queued(v, 0)->duration <= 0 && v->count < QUEUE && !successor(v) &&
           v->tracks[track_of(v, queued(v, 0))].media.type == TSR_MEDIA_VIDEO;
}

static int64_t to_unit(const track *t, int64_t time)
{
    return av_rescale_q(time, t->av->time_base, t->unit);
}

static uint64_t sound_samples(const av_in *v, const track *t, const AVPacket *p)
{
    tsr_audio_packet head;
    if (tsr_audio_describe_packet(v->ctx, t->media.extradata,
                                  t->media.extradata_bytes, p->data,
                                  (size_t)p->size, &head)) {
        say_take_detail();
        return p->duration > 0 ? (uint64_t)to_unit(t, p->duration) : 0;
    }
    return head.samples;
}

/* Units of a frame; 0: the rate varies. */
static int64_t frame_units(const track *t)
{
    return !t->rate_num ? 0
        : av_rescale(t->rate_den, t->unit.den,
                     (int64_t)t->rate_num * t->unit.num);
}

/* Of the last frame of a MOV: libav takes the length of the track for its end,
 * which it is only if the track begins at 0.  Below 0: p is not the last. */
static int64_t last_duration(const track *t, const AVPacket *p)
{
    const int n = avformat_index_get_entries_count(t->av);
    const AVIndexEntry *first = avformat_index_get_entry(t->av, 0);
    const AVIndexEntry *last = avformat_index_get_entry(t->av, n - 1);
    if (!first || !last || t->av->duration <= 0 || last->timestamp != p->dts)
        return -1;
    return first->timestamp + t->av->duration - p->dts;
}

static uint64_t duration(const av_in *v, const track *t, const AVPacket *p)
{
    const AVPacket *after = successor(v);
    const int64_t last = v->nut ? -1 : last_duration(t, p);
    int64_t d;

    if (t->media.type == TSR_MEDIA_AUDIO)
        return sound_samples(v, t, p);
    d = last > 0 ? to_unit(t, last)
        : p->duration > 0 ? to_unit(t, p->duration)
        : after ? to_unit(t, pts_of(after)) - to_unit(t, pts_of(p)) : frame_units(t);
    return d > 0 ? (uint64_t)d : 0;
}

static int next(packets_in *p, tsr_media_packet *packet, int *end)
{
    av_in *v = (av_in *)p;
    int rc = RC_OK;
    const track *t;

    av_packet_free(&v->given);
    while (!rc && !v->over && waits(v))
        rc = fetch(v);
    *end = !rc && !v->count;
    if (rc || *end)
        return rc;
    v->given = queued(v, 0);
    t = &v->tracks[track_of(v, v->given)];
    *packet = (tsr_media_packet){
        .stream = (int)(t - v->tracks), .pts = to_unit(t, pts_of(v->given)),
        .duration = duration(v, t, v->given), .data = v->given->data,
        .bytes = (size_t)v->given->size,
    };
    v->first = (v->first + 1) % QUEUE;
    v->count--;
    return RC_OK;
}

static void empty(av_in *v)
{
    while (v->count) {
        av_packet_free(&v->queue[v->first]);
        v->first = (v->first + 1) % QUEUE;
        v->count--;
    }
}

static int seek(packets_in *p, double seconds)
{
    av_in *v = (av_in *)p;
    if (!v->file.seekable ||
        av_seek_frame(v->f, -1, (int64_t)(seconds * AV_TIME_BASE),
                      AVSEEK_FLAG_BACKWARD) < 0)
        return RC_OK;
    empty(v);
    v->over = 0;
    return RC_OK;
}

/* ---- the rest ---- */

static int streams(const packets_in *p)
{
    return ((const av_in *)p)->n;
}

static const tsr_media_stream *stream(const packets_in *p, int index)
{
    return &((const av_in *)p)->tracks[index].media;
}

static double seconds_of(const packets_in *p)
{
    const av_in *v = (const av_in *)p;
    return v->f->duration > 0 ? (double)v->f->duration / AV_TIME_BASE : 0;
}

/* Asked for at the end, or where nothing more is read. */
static int ends_early(const av_in *v)
{
    return v->file.seekable ? whole_file_cut(v->nut, v->file.in)
                            : whole_cut(&v->file.watch);
}

static const char *damage(packets_in *p)
{
    av_in *v = (av_in *)p;
    if (v->over && !v->count && !v->checked && !output_stopped()) {
        v->checked = 1;
        v->cut |= ends_early(v);
    }
    if (!v->cut && !v->bad)
        return NULL;
    snprintf(v->damage, sizeof v->damage, "%s%s",
             v->bad ? "packets that are not whole were left out" : "",
             !v->cut ? "" : v->bad ? "; the file ends too early"
                                   : "the file ends too early");
    return v->damage;
}

static void close_in(packets_in *p)
{
    av_in *v = (av_in *)p;
    empty(v);
    av_packet_free(&v->given);
    avformat_close_input(&v->f);
    av_reader_close(&v->file);
    av_free(v->tracks);
    av_free(v);
}

/* Opens the container.  *error: libav's. */
static int open_file(AVFormatContext **f, av_reader *file, input *in, int nut,
                     int *error)
{
    AVDictionary *options = NULL;
    const int rc = av_reader_open(file, in, nut);

    *error = 0;
    if (rc)
        return rc;
    av_log_to_say();
    *f = avformat_alloc_context();
    if (!*f)
        return say_error(RC_MACHINE, in->name, "out of memory");
    (*f)->pb = file->io;
    (*f)->flags |= AVFMT_FLAG_CUSTOM_IO | AVFMT_FLAG_NOFILLIN |
                   AVFMT_FLAG_NOPARSE;
    /* Edit lists move times; they shall not take packets away at their ends. */
    av_dict_set(&options, "advanced_editlist", "0", 0);
    *error = avformat_open_input(f, NULL, av_find_input_format(nut ? "nut"
                                                                   : "mov"),
                                 &options);
    av_dict_free(&options);
    return RC_OK;
}

/* A MOV whose index is behind its media needs a file: a pipe becomes one. */
static int prepare(const char *format, input *in)
{
    const uint8_t *h = in->head;
    const size_t second = in->head_size < 8 ? 0 : (size_t)h[2] << 8 | h[3];
    if (!strcmp(format, "nut") || input_seekable(in) ||
        (second + 8 <= in->head_size && !memcmp(h + 4, "ftyp", 4) &&
         !memcmp(h + second + 4, "moov", 4)))
        return RC_OK;
    return input_rewindable(in);
}

static int open_in(av_in *v, const char *format, input *in)
{
    int error, rc = prepare(format, in);
    if (!rc)
        rc = open_file(&v->f, &v->file, in, v->nut, &error);
    if (rc)
        return rc;
    if (in->fault)
        return input_failed(in);
    if (error == AVERROR_EOF ||
        (!error && !count_ours(v->f) && ends_early(v)))
        error = AVERROR_INVALIDDATA;
    if (error)
        return say_error(error == AVERROR(ENOMEM) ? RC_MACHINE : RC_INPUT,
                         in->name, "%s", error != AVERROR_INVALIDDATA
                         ? av_words(error) : v->nut
                         ? "the head of the file is damaged"
                         : "the index of the file (moov) is not whole: the file"
                           " was cut, or never finished");
    rc = set_tracks(v);
    return rc ? rc : begin(v);
}

int packets_av_open(packets_in **p, tsr_context *ctx, const char *format,
                    input *in)
{
    static const packets_in_kind kind = { streams, stream, seconds_of, next,
                                          seek, damage, close_in };
    av_in *v = av_mallocz(sizeof *v);
    int rc;

    if (!v)
        return say_error(RC_MACHINE, in->name, "out of memory");
    v->base.kind = &kind;
    v->ctx = ctx;
    v->nut = !strcmp(format, "nut");
    rc = open_in(v, format, in);
    if (rc)
        close_in(&v->base);
    else
        *p = &v->base;
    return rc;
}

int packets_av_ours(const char *format, input *in)
{
    AVFormatContext *f = NULL;
    av_reader file;
    int error, found = 0;

    if (!open_file(&f, &file, in, !strcmp(format, "nut"), &error) && !error)
        found = count_ours(f) > 0;
    avformat_close_input(&f);
    av_reader_close(&file);
    return found;
}
