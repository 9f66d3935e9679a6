/* SPDX-License-Identifier: BSD-2-Clause */
/* Any media, through libav: what is in it, and its decoders. */
#include <libavutil/avutil.h>
#include <libavutil/cpu.h>
#include <libavutil/pixdesc.h>
#include <stdlib.h>
#include <string.h>
#include "tools/media/in_av_impl.h"
#include "tools/media/map.h"
#include "tools/media/turn.h"
#include "tools/output.h"
#include "tools/say.h"

enum { MAX_THREADS = 16, MAX_ERRORS = 1000 };

/* A file of which this much is not there, in seconds, was cut. */
static const double missing_end = 1;

/* Decoding begins so long before -ss: sound codecs have a memory. */
static const double preroll = 1;

typedef struct av_in {
    media_reader base;
    const args *a;
    input *in;
    av_reader io;
    AVFormatContext *format;
    av_track video, audio;
    AVPacket *packet;
    AVFrame *frame;
    av_pixels pixels;
    av_sound sound;
    int64_t sound_next, frame_next; /* where those without a time go */
    double seen;                    /* seconds of the file */
    int ended, others, sought;
    int read_error, cut;
} av_in;

int media_has_av(void)
{
    return 1;
}

/* ---- frames and samples ---- */

static int64_t from_start(const av_in *r, const AVStream *s, int64_t time)
{
    const int64_t start = r->format->start_time;
    return start == AV_NOPTS_VALUE ? time
        : time - av_rescale_q(start, AV_TIME_BASE_Q, s->time_base);
}

/* Times that no file has are taken for none. */
static int has_time(int64_t time)
{
    return time != AV_NOPTS_VALUE && time > -(INT64_C(1) << 56) &&
           time < INT64_C(1) << 56;
}

static int give_frame(av_in *r, media_in_item *item, int *got)
{
    AVFrame *f = r->frame;
    const int64_t time = f->best_effort_timestamp;
    const int64_t length = av_duration_of(f);
    int rc = av_pixels_take(&r->pixels, f);

    if (rc)
        return rc;
    *item = (media_in_item){ .image = r->pixels.image };
    item->duration = length > 0 ? (uint64_t)length : 0;
    item->pts = has_time(time) ? from_start(r, r->video.stream, time)
                               : r->frame_next;
    r->frame_next = item->pts + (length > 0 ? length : 1);
    *got = 1;
    return RC_OK;
}

static int give_sound(av_in *r, media_in_item *item, int *got)
{
    const AVStream *s = r->audio.stream;
    const AVRational unit = { 1, r->sound.rate };
    const int64_t time = r->frame->best_effort_timestamp;
    size_t n;
    int rc = av_sound_take(&r->sound, r->frame, &n);

    if (rc || !n)
        return rc;
    *item = (media_in_item){ .audio = 1, .samples = r->sound.samples, .n = n };
    item->pts = has_time(time)
        ? av_rescale_q(from_start(r, s, time), s->time_base, unit)
        : r->sound_next;
    r->sound_next = item->pts + (int64_t)n;
    *got = 1;
    return RC_OK;
}

static int is_damaged(const AVFrame *f)
{
    return f->decode_error_flags || (f->flags & AV_FRAME_FLAG_CORRUPT);
}

/* What a decoder has ready.  Its failures are counted, and it goes on. */
static int pull(av_in *r, av_track *t, media_in_item *item, int *got)
{
    for (int errors = 0; t->stream && !t->over && errors < MAX_ERRORS;) {
        const int error = avcodec_receive_frame(t->codec, r->frame);
        int rc = RC_OK;
        if (error == AVERROR(EAGAIN))
            return RC_OK;
        t->over = error == AVERROR_EOF;
        if (t->over)
            return RC_OK;
        if (error < 0 || is_damaged(r->frame)) {
            r->base.faults++;
            errors++;
        } else {
            rc = t == &r->video ? give_frame(r, item, got)
                                : give_sound(r, item, got);
        }
        if (rc || *got)
            return rc;
    }
    return RC_OK;
}

/* ---- packets ---- */

static av_track *track_of(av_in *r, int index)
{
    if (r->video.stream && r->video.stream->index == index)
        return &r->video;
    return r->audio.stream && r->audio.stream->index == index ? &r->audio : NULL;
}

static void send(av_in *r, av_track *t, const AVPacket *packet)
{
    const int error = avcodec_send_packet(t->codec, packet);
    if (packet && error < 0 && error != AVERROR_EOF)
        r->base.faults++;
}

static int all_seen(const av_in *r)
{
    const int64_t d = r->format->duration;
    return d > 0 && r->seen + missing_end >= (double)d / AV_TIME_BASE;
}

/* Tags behind the last packet are damage to some demuxers of pipes. */
static void end_packets(av_in *r, int error)
{
    const int tail = error == AVERROR_INVALIDDATA && all_seen(r);
    r->ended = 1;
    if (error != AVERROR_EOF && !tail && !output_stopped()) {
        r->read_error = error;
        r->base.faults++;
    }
    if (r->video.stream)
        send(r, &r->video, NULL);
    if (r->audio.stream)
        send(r, &r->audio, NULL);
}

/* The next packet to its decoder.  Returns an exit status. */
static int feed(av_in *r)
{
    AVPacket *p = r->packet;
    const int error = av_read_frame(r->format, p);
    av_track *t;
    int rc = RC_OK;

    if (error < 0) {
        end_packets(r, error);
        return r->in->fault ? input_failed(r->in) : RC_OK;
    }
    t = track_of(r, p->stream_index);
    if (t && av_packet_get_side_data(p, AV_PKT_DATA_ENCRYPTION_INFO, NULL))
        rc = say_error(RC_INPUT, r->in->name, "is encrypted (DRM), which is not"
                       " read");
    else if (t && (p->flags & AV_PKT_FLAG_CORRUPT))
        r->base.faults++;
    else if (t)
        send(r, t, p);
    if (t && p->pts != AV_NOPTS_VALUE) {
        const double end = (double)(from_start(r, t->stream, p->pts) +
                                    p->duration) * av_q2d(t->stream->time_base);
        r->seen = end > r->seen ? end : r->seen;
    }
    av_packet_unref(p);
    return rc;
}

/* Whether the file ends before it should; demuxers do not say it. */
static void check_end(av_in *r)
{
    const AVFormatContext *f = r->format;
    if (r->read_error || r->cut || output_stopped())
        return;
    if (r->io.watch.nut == 1 || strstr(f->iformat->name, "mp4"))
        r->cut = r->io.seekable ? whole_file_cut(r->io.watch.nut, r->in)
                                : whole_cut(&r->io.watch);
    else if (f->duration > 0 && !r->others &&
             f->duration_estimation_method != AVFMT_DURATION_FROM_BITRATE)
        r->cut = !all_seen(r);
    r->base.faults += (uint64_t)r->cut;
}

static int next(media_reader *base, media_in_item *item, int *end)
{
    av_in *r = (av_in *)base;
    int got = 0, rc = RC_OK;

    *end = 0;
    while (!rc && !got) {
        rc = pull(r, &r->video, item, &got);
        if (!rc && !got)
            rc = pull(r, &r->audio, item, &got);
        if (rc || got)
            break;
        if (r->ended) {
            check_end(r);
            *end = 1;
            break;
        }
        rc = feed(r);
    }
    return rc;
}

static void seek(media_reader *base, double seconds)
{
    av_in *r = (av_in *)base;
    const int64_t start = r->format->start_time == AV_NOPTS_VALUE
        ? 0 : r->format->start_time;
    const int64_t to = start + (int64_t)((seconds - preroll) * AV_TIME_BASE);
    if (r->io.seekable && to > start &&
        avformat_seek_file(r->format, -1, INT64_MIN, to, to, 0) >= 0)
        r->sought = 1;
}

static void warn(media_reader *base)
{
    const av_in *r = (const av_in *)base;
    if (r->read_error)
        say_warning(r->in->name, "reading it stopped: %s",
                    av_words(r->read_error));
    if (r->cut)
        say_warning(r->in->name, "is cut short");
}

static void close_av(media_reader *base)
{
    av_in *r = (av_in *)base;
    avcodec_free_context(&r->video.codec);
    avcodec_free_context(&r->audio.codec);
    avformat_close_input(&r->format);
    av_reader_close(&r->io);
    av_packet_free(&r->packet);
    av_frame_free(&r->frame);
    av_pixels_close(&r->pixels);
    av_sound_close(&r->sound);
    free(r);
}

/* ---- opening ---- */

/* Playlists and the like name other files: what comes from outside does not
 * make us open them. */
static int refuse_open(AVFormatContext *format, AVIOContext **io,
                       const char *url, int flags, AVDictionary **options)
{
    (void)format;
    (void)url;
    (void)flags;
    (void)options;
    *io = NULL;
    return AVERROR(EACCES);
}

static uint32_t word(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 |
           p[3];
}

/* MP4 whose samples come before the index that says where they are. */
static int index_is_last(const input *in)
{
    size_t at = 0;
    while (at + 8 <= in->head_size) {
        const uint8_t *p = in->head + at;
        if (!memcmp(p + 4, "mdat", 4))
            return 1;
        if (memcmp(p + 4, "ftyp", 4) && memcmp(p + 4, "free", 4) &&
            memcmp(p + 4, "skip", 4) && memcmp(p + 4, "wide", 4))
            return 0;
        if (word(p) < 8)
            return 0;
        at += word(p);
    }
    return 0;
}

static int not_from_pipe(const input *in)
{
    return say_error(RC_USAGE, in->name, "is an MP4 with its index at the end,"
                     " which a pipe cannot give first: name the file itself, or"
                     " use ffmpeg -i IN -c copy -movflags +faststart OUT.mp4");
}

static int open_failed(const av_in *r, int error)
{
    if (r->in->fault)
        return input_failed(r->in);
    if (error == AVERROR(ENOMEM))
        return say_error(RC_MACHINE, r->in->name, "out of memory");
    if (error == AVERROR(EACCES))
        return say_error(RC_INPUT, r->in->name, "is a list that names other"
                         " files or addresses, which are not opened");
    if (error == AVERROR_INVALIDDATA)
        return say_error(RC_INPUT, r->in->name, "neither PNG nor PNM, WAV, y4m"
                         " or anything that libav knows, or it is damaged");
    return say_error(RC_INPUT, r->in->name, "%s", av_words(error));
}

static int open_format(av_in *r)
{
    const char *name = r->a->of_input.format;
    const AVInputFormat *format = name ? av_find_input_format(name) : NULL;
    AVDictionary *options = NULL;
    int error;

    if (name && (!format || (format->flags & AVFMT_NOFILE)))
        return say_error(RC_USAGE, NULL, "unknown input format '%s'", name);
    if (av_reader_open(&r->io, r->in, !memcmp(r->in->head, "nut/multimedia", 14)
                       ? 1 : WHOLE_ANY_MOV))
        return RC_MACHINE;
    if (!r->io.seekable && index_is_last(r->in))
        return not_from_pipe(r->in);
    if (!memcmp(r->in->head, "#EXTM3U", 7) || !memcmp(r->in->head, "ffconcat", 8))
        return open_failed(r, AVERROR(EACCES));
    r->format = avformat_alloc_context();
    if (!r->format)
        return open_failed(r, AVERROR(ENOMEM));
    r->format->pb = r->io.io;
    r->format->flags |= AVFMT_FLAG_CUSTOM_IO;
    r->format->io_open = refuse_open;
    if (r->a->live)
        r->format->max_analyze_duration = AV_TIME_BASE / 2;
    av_dict_set(&options, "protocol_whitelist", "none", 0);
    error = avformat_open_input(&r->format, "", format, &options);
    av_dict_free(&options);
    if (error >= 0)
        error = avformat_find_stream_info(r->format, NULL);
    return error < 0 ? open_failed(r, error) : RC_OK;
}

static char kind_of(const AVStream *s)
{
    switch (s->codecpar->codec_type) {
    case AVMEDIA_TYPE_VIDEO:
        return 'v';
    case AVMEDIA_TYPE_AUDIO:
        return 'a';
    case AVMEDIA_TYPE_SUBTITLE:
        return 's';
    case AVMEDIA_TYPE_ATTACHMENT:
        return 't';
    default:
        return 'd';
    }
}

/* libav's choice; where it can decode none, the first, whose codec is then what
 * is said. */
static int best(const av_in *r, enum AVMediaType type, char kind)
{
    const AVCodec *decoder;
    int i = av_find_best_stream(r->format, type, -1, -1, &decoder, 0);
    if (i == AVERROR_DECODER_NOT_FOUND)
        for (i = 0; kind_of(r->format->streams[i]) != kind; i++)
            ;
    return i >= 0 && !(r->format->streams[i]->disposition &
                       AV_DISPOSITION_ATTACHED_PIC) ? i : -1;
}

static int choose(const av_in *r, const media_in_want *want, media_choice *c)
{
    const int n = (int)r->format->nb_streams;
    media_stream *streams = calloc((size_t)n + 1, sizeof *streams);
    int rc;

    if (!streams)
        return open_failed(r, AVERROR(ENOMEM));
    for (int i = 0; i < n; i++) {
        const AVStream *s = r->format->streams[i];
        streams[i].kind = kind_of(s);
        streams[i].attached =
            (s->disposition & AV_DISPOSITION_ATTACHED_PIC) != 0;
    }
    c->video = best(r, AVMEDIA_TYPE_VIDEO, 'v');
    c->audio = best(r, AVMEDIA_TYPE_AUDIO, 'a');
    rc = media_map(r->a, r->in->name, streams, n, c);
    free(streams);
    c->video = want->video ? c->video : -1;
    c->audio = want->audio ? c->audio : -1;
    return rc;
}

static int no_decoder(const av_in *r, const AVStream *s, const char *what)
{
    const AVCodecParameters *p = s->codecpar;
    const uint32_t tag = p->codec_tag;
    char name[AV_FOURCC_MAX_STRING_SIZE];

    if (tag == MKTAG('T', 'S', 'R', 'a') || tag == MKTAG('T', 'S', 'R', 'v'))
        return say_error(RC_INPUT, r->in->name, "its %s is coded by Tessera"
                         " already; tessera decode reads it", what);
    if (p->codec_id == AV_CODEC_ID_NONE)
        return say_error(RC_INPUT, r->in->name, "its %s (stream 0:%d) is of an"
                         " unknown codec, '%s'; -map -0:%d leaves it out", what,
                         s->index, av_fourcc_make_string(name, tag), s->index);
    return say_error(RC_INPUT, r->in->name, "its %s (stream 0:%d, %s) has no"
                     " decoder in this libav; -map -0:%d leaves it out", what,
                     s->index, avcodec_get_name(p->codec_id), s->index);
}

static int threads(const args *a)
{
    const int n = a->threads ? a->threads : av_cpu_count();
    return n < MAX_THREADS ? n : MAX_THREADS;
}

static int open_track(av_in *r, av_track *t, int index, const char *what)
{
    AVStream *s = index >= 0 ? r->format->streams[index] : NULL;
    const AVCodec *codec;
    AVCodecContext *c;
    int error;

    if (!s)
        return RC_OK;
    if ((double)s->codecpar->width * s->codecpar->height > r->a->max_pixels)
        return say_error(RC_MACHINE, r->in->name, "%d x %d pixels are more than"
                         " -max_pixels allows", s->codecpar->width,
                         s->codecpar->height);
    codec = avcodec_find_decoder(s->codecpar->codec_id);
    if (!codec)
        return no_decoder(r, s, what);
    t->codec = c = avcodec_alloc_context3(codec);
    if (!c)
        return open_failed(r, AVERROR(ENOMEM));
    error = avcodec_parameters_to_context(c, s->codecpar);
    c->pkt_timebase = s->time_base;
    c->thread_count = threads(r->a);
    c->max_pixels = (int64_t)r->a->max_pixels;
    c->err_recognition |= AV_EF_CRCCHECK;
    /* Else half a JPEG counts as a whole one. */
    if (c->codec_id == AV_CODEC_ID_MJPEG)
        c->err_recognition |= AV_EF_EXPLODE;
    if (error >= 0)
        error = avcodec_open2(c, codec, NULL);
    if (error < 0)
        return say_error(RC_INPUT, r->in->name, "its %s (%s) cannot be decoded:"
                         " %s", what, codec->name, av_words(error));
    t->stream = s;
    s->discard = AVDISCARD_DEFAULT;
    return RC_OK;
}

/* ---- what is in it ---- */

/* The rate of frames, where they come evenly. */
static void set_rate(const av_in *r, tsr_video_info *p)
{
    const AVStream *s = r->video.stream;
    const AVRational even = s->r_frame_rate, mean = s->avg_frame_rate;
    if (even.num <= 0 || even.den <= 0 || mean.num <= 0 || mean.den <= 0 ||
        !(av_q2d(mean) > 0.999 * av_q2d(even) &&
          av_q2d(mean) < 1.001 * av_q2d(even)))
        return;
    p->rate_num = (uint32_t)even.num;
    p->rate_den = (uint32_t)even.den;
}

static void set_aspect(const av_in *r, tsr_video_info *p)
{
    AVRational sar = av_guess_sample_aspect_ratio(r->format, r->video.stream,
                                                  NULL);
    if (sar.num <= 0 || sar.den <= 0)
        return;
    if (r->pixels.turn > 0 && r->pixels.turn & TURN_SWAP)
        sar = av_inv_q(sar);
    av_reduce(&sar.num, &sar.den, sar.num, sar.den, UINT16_MAX);
    p->sar_num = (uint16_t)sar.num;
    p->sar_den = (uint16_t)sar.den;
}

static int is_rgb(enum AVPixelFormat format)
{
    const AVPixFmtDescriptor *d = av_pix_fmt_desc_get(format);
    return d && d->flags & (AV_PIX_FMT_FLAG_RGB | AV_PIX_FMT_FLAG_PAL);
}

static int describe_video(av_in *r)
{
    const AVStream *s = r->video.stream;
    const AVCodecContext *c = r->video.codec;
    media_in_info *info = &r->base.info;
    tsr_video_info *p = &info->picture;
    const uint8_t *matrix = av_stream_data(s, AV_PKT_DATA_DISPLAYMATRIX);
    int32_t numbers[9];

    r->pixels = (av_pixels){ .file = r->in->name, .codec = c->codec_id,
                             .max_pixels = r->a->max_pixels, .turn = -1 };
    if (matrix) {
        memcpy(numbers, matrix, sizeof numbers);
        r->pixels.turn = media_turn_matrix(numbers);
        if (r->pixels.turn < 0)
            say_warning(r->in->name, "is turned by something else than"
                        " quarters, which is not done");
    }
    if (matrix || r->audio.stream)
        r->pixels.turn = r->pixels.turn < 0 ? 0 : r->pixels.turn;
    info->video = 1;
    info->still = r->audio.stream ? STILL_NO : STILL_PERHAPS;
    info->time_num = (uint32_t)s->time_base.num;
    info->time_den = (uint32_t)s->time_base.den;
    info->frames = s->nb_frames > 0 ? (uint64_t)s->nb_frames : 0;
    p->primaries = (uint8_t)c->color_primaries;
    p->transfer = (uint8_t)c->color_trc;
    p->matrix = is_rgb(c->pix_fmt) ? 0
        : (uint8_t)av_matrix_of(c->codec_id, c->colorspace, c->height);
    p->full_range = is_rgb(c->pix_fmt) || c->color_range == AVCOL_RANGE_JPEG;
    set_rate(r, p);
    set_aspect(r, p);
    /* Beside sound the first frame is not waited for. */
    if (r->audio.stream) {
        const int rc = av_pixels_form(&r->pixels, c->pix_fmt, c->width,
                                      c->height, 0);
        if (rc)
            return rc;
        p->width = r->pixels.image.width;
        p->height = r->pixels.image.height;
        p->channels = r->pixels.image.channels;
        p->bits = r->pixels.image.bits;
    }
    return RC_OK;
}

static int describe_audio(av_in *r)
{
    const AVCodecContext *c = r->audio.codec;
    media_in_info *info = &r->base.info;

    if (c->sample_rate < 1 || c->sample_rate > 768000 ||
        c->ch_layout.nb_channels < 1 || c->ch_layout.nb_channels > 64)
        return say_error(RC_INPUT, r->in->name, "its sound has %d Hz and %d"
                         " channels, which is not read", c->sample_rate,
                         c->ch_layout.nb_channels);
    r->sound.file = r->in->name;
    r->sound.rate = c->sample_rate;
    if (av_channel_layout_copy(&r->sound.layout, &c->ch_layout) < 0)
        return open_failed(r, AVERROR(ENOMEM));
    info->audio = 1;
    info->rate = c->sample_rate;
    info->channels = c->ch_layout.nb_channels;
    return RC_OK;
}

static int open_tracks(av_in *r, const media_in_want *want)
{
    media_choice c;
    int rc = choose(r, want, &c);

    if (rc)
        return rc;
    for (unsigned i = 0; i < r->format->nb_streams; i++) {
        AVStream *s = r->format->streams[i];
        const int used = (int)i == c.video || (int)i == c.audio;
        s->discard = AVDISCARD_ALL;
        r->others |= !used && (kind_of(s) == 'v' || kind_of(s) == 'a');
    }
    rc = open_track(r, &r->video, c.video, "picture");
    if (!rc)
        rc = open_track(r, &r->audio, c.audio, "sound");
    if (!rc && r->video.stream)
        rc = describe_video(r);
    if (!rc && r->audio.stream)
        rc = describe_audio(r);
    if (!rc && r->format->duration > 0)
        r->base.info.seconds = (double)r->format->duration / AV_TIME_BASE;
    return rc;
}

int media_open_av(media_reader **out, const media_setup *s)
{
    av_in *r = calloc(1, sizeof *r);
    int rc;

    *out = NULL;
    if (!r)
        return say_error(RC_MACHINE, s->in->name, "out of memory");
    av_log_to_say();
    r->base = (media_reader){ .next = next, .seek = seek, .warn = warn,
                              .close = close_av };
    r->a = s->a;
    r->in = s->in;
    r->packet = av_packet_alloc();
    r->frame = av_frame_alloc();
    rc = r->packet && r->frame ? open_format(r)
                               : open_failed(r, AVERROR(ENOMEM));
    if (!rc)
        rc = open_tracks(r, &s->want);
    if (rc)
        close_av(&r->base);
    else
        *out = &r->base;
    return rc;
}
