/* SPDX-License-Identifier: BSD-2-Clause */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "tools/io/picture.h"
#include "tools/io/wav.h"
#include "tools/media/reader.h"
#include "tools/media/scale.h"
#include "tools/media/track.h"
#include "tools/say.h"

const opt media_in_options[] = {
    { "-f --format", "FMT", "before -i: y4m, wav, rawvideo, or a name of"
      " libav's; after it: tess, mov or nut", OPT_TEXT, offsetof(args, format),
      0, 0 },
    { "-ss", "TIME", "begin there: seconds, or h:m:s", OPT_TIME,
      offsetof(args, start), 0, 1e7 },
    { "-t", "TIME", "so long", OPT_TIME, offsetof(args, length), 1e-6, 1e7 },
    { "-to", "TIME", "up to there", OPT_TIME, offsetof(args, until), 1e-6,
      1e7 },
    { "-map", "STREAM", "take these: 0:v, 0:a:1, 0:2; -0:a leaves out", OPT_LIST,
      offsetof(args, map), 0, 0 },
    { "-s -video_size", "WxH", "scale to this size; before -i, of rawvideo: its size", OPT_TEXT,
      offsetof(args, size), 0, 0 },
    { "-r -framerate", "FPS", "of rawvideo: frames a second; default 25", OPT_TEXT,
      offsetof(args, frame_rate), 0, 0 },
    { "-pix_fmt -pixel_format", "FMT", "of rawvideo: rgb24, yuv420p, ...", OPT_TEXT,
      offsetof(args, pixel_format), 0, 0 },
    { NULL, NULL, NULL, OPT_FLAG, 0, 0, 0 }
};

struct media_in {
    tsr_context *ctx;
    const args *a;
    input *in;
    media_reader *reader;
    media_in_info info;
    int64_t begin, end;     /* of the frames, in units of their time */
    media_track track;
    int track_open;
    media_scale *scale;
    tsr_image scaled;
    tsr_image first;        /* a copy: to see whether there is a second */
    media_in_item kept[2];  /* frames read ahead */
    int nkept, taken;
    int frames_over, reader_over;
};

/* ---- which reader ---- */

static int is_y4m(const input *in)
{
    return in->head_size > 10 && !memcmp(in->head, "YUV4MPEG2 ", 10);
}

/* WAV whose samples our own reader understands; all WAV where nobody else
 * could. */
static int is_wav(const input *in)
{
    const uint8_t *p = in->head;
    const int tag = p[20] | p[21] << 8;
    if (!wav_is(in) || !media_has_av())
        return wav_is(in);
    return in->head_size < 22 || memcmp(p + 12, "fmt ", 4) || tag == 1 ||
           tag == 3 || tag == 0xFFFE;
}

/* Of any kind: the reader of pictures says what is to be done with it. */
static int is_tess(const input *in)
{
    return in->head_size >= 4 && (!memcmp(in->head, "\x89TSR", 4) ||
                                  !memcmp(in->head, "\xc7\x54", 2));
}

typedef int (*opener)(media_reader **r, const media_setup *s);

static opener by_head(const input *in)
{
    if (is_wav(in))
        return media_open_wav;
    if (is_y4m(in))
        return media_open_y4m;
    if (picture_is(in) || is_tess(in) || !in->head_size)
        return media_open_picture;
    return media_open_av;
}

static opener by_name(const char *name)
{
    static const struct { const char *name; opener open; } names[] = {
        { "wav", media_open_wav }, { "y4m", media_open_y4m },
        { "yuv4mpegpipe", media_open_y4m }, { "rawvideo", media_open_raw },
        { "png", media_open_picture }, { "pnm", media_open_picture },
        { "ppm", media_open_picture }, { "pgm", media_open_picture },
        { "pam", media_open_picture }
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(names[i].name, name))
            return names[i].open;
    return media_open_av;
}

/* ---- frames ---- */

static int64_t units(const media_in *m, double seconds)
{
    return llrint(seconds * m->info.time_den / m->info.time_num);
}

static void set_cut(media_in *m)
{
    const args *a = m->a;
    m->end = INT64_MAX;
    if (!m->info.video)
        return;
    m->begin = units(m, a->start);
    if (a->length > 0)
        m->end = m->begin + units(m, a->length);
    else if (a->until > 0)
        m->end = units(m, a->until);
}

/* Pixels keep their shape on the screen when the picture does not. */
static void scale_aspect(tsr_video_info *p, int width, int height)
{
    uint64_t x = (uint64_t)(p->sar_num ? p->sar_num : 1) * (uint64_t)p->width *
                 (uint64_t)height;
    uint64_t y = (uint64_t)(p->sar_den ? p->sar_den : 1) * (uint64_t)p->height *
                 (uint64_t)width;
    uint64_t a = x, b = y;
    while (b) {
        const uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    x /= a;
    y /= a;
    p->sar_num = x > UINT16_MAX || y > UINT16_MAX ? 0 : (uint16_t)x;
    p->sar_den = p->sar_num ? (uint16_t)y : 0;
}

static int is_raw(const args *a)
{
    return a->of_input.format && !strcmp(a->of_input.format, "rawvideo");
}

static int open_scale(media_in *m)
{
    tsr_video_info *p = &m->info.picture;
    const char *size = m->a->size;
    int width, height;
    tsr_error error;

    /* In front of the input, -s is the size that raw video has. */
    if (!size && !is_raw(m->a))
        size = m->a->of_input.size;
    if (!size || !m->info.video)
        return RC_OK;
    if (media_size(size, &width, &height))
        return RC_USAGE;
    if (width == p->width && height == p->height)
        return RC_OK;
    m->scaled = (tsr_image){ .width = width, .height = height,
                             .channels = p->channels, .bits = p->bits };
    error = tsr_image_alloc(m->ctx, &m->scaled);
    if (error)
        return say_failure(m->in->name, error);
    m->scale = media_scale_open(p->width, p->height, width, height);
    if (!m->scale)
        return say_error(RC_MACHINE, m->in->name, "out of memory");
    scale_aspect(p, width, height);
    p->width = width;
    p->height = height;
    return RC_OK;
}

/* Whether a frame is within the cut; makes its time that of the cut. */
static int cut_frame(media_in *m, media_in_item *item)
{
    if (item->pts >= m->end)
        m->frames_over = 1;
    if (item->pts < m->begin || item->pts >= m->end)
        return 0;
    item->pts -= m->begin;
    return 1;
}

static void scale_frame(media_in *m, media_in_item *item)
{
    if (!m->scale)
        return;
    media_scale_run(m->scale, &item->image, &m->scaled);
    item->image = m->scaled;
}

/* ---- both ---- */

static int all_over(const media_in *m)
{
    return m->reader_over ||
           ((!m->info.video || m->frames_over) &&
            (!m->info.audio || (m->track_open && m->track.over)));
}

/* The next frame, unscaled, or samples, as they are wanted. */
static int next_item(media_in *m, media_in_item *item, int *end)
{
    int rc;
    *end = 0;
    for (;;) {
        const int last = all_over(m);
        if (m->track_open && media_track_make(&m->track, item, last))
            return RC_OK;
        if (last) {
            *end = 1;
            return RC_OK;
        }
        rc = m->reader->next(m->reader, item, &m->reader_over);
        if (rc)
            return rc;
        if (m->reader_over)
            continue;
        if (item->audio)
            media_track_take(&m->track, item);
        else if (!m->frames_over && cut_frame(m, item))
            return RC_OK;
    }
}

int media_in_next(media_in *m, media_in_item *item, int *end)
{
    int rc;
    *end = 0;
    if (m->info.audio && !m->track_open) {
        rc = media_in_sound(m, &(media_in_want){ .audio = 1 });
        if (rc)
            return rc;
    }
    if (m->taken < m->nkept) {
        *item = m->kept[m->taken++];
        rc = RC_OK;
    } else {
        rc = next_item(m, item, end);
    }
    if (!rc && !*end && !item->audio)
        scale_frame(m, item);
    return rc;
}

/* ---- opening ---- */

static int copy_first(media_in *m, media_in_item *item)
{
    const tsr_image *from = &item->image;
    tsr_error error;

    m->first = *from;
    error = tsr_image_alloc(m->ctx, &m->first);
    if (error)
        return say_failure(m->in->name, error);
    for (int y = 0; y < from->height; y++)
        memcpy((uint8_t *)m->first.data + (size_t)y * m->first.stride,
               (const uint8_t *)from->data + (size_t)y * from->stride,
               (size_t)from->width * (size_t)(from->channels * from->bits / 8));
    item->image = m->first;
    return RC_OK;
}

static int no_frame(const media_in *m)
{
    return say_error(RC_INPUT, m->in->name, "%s", m->a->start > 0
                     ? "has no picture after -ss"
                     : m->reader->faults ? "no picture in it could be decoded"
                     : "has no picture");
}

/* A picture is what has one frame: without sound that is found out by asking for
 * the second. */
static int look_ahead(media_in *m)
{
    int rc, end;

    if (m->info.audio || !m->info.video)
        return RC_OK;
    rc = next_item(m, &m->kept[0], &end);
    if (!rc && end)
        rc = no_frame(m);
    if (!rc) {
        const tsr_image *image = &m->kept[0].image;
        m->info.picture.width = image->width;
        m->info.picture.height = image->height;
        m->info.picture.channels = image->channels;
        m->info.picture.bits = image->bits;
        m->nkept = 1;
        m->info.still = m->info.still == STILL_YES;
        if (m->info.still)
            return RC_OK;
        rc = copy_first(m, &m->kept[0]);
    }
    if (!rc)
        rc = next_item(m, &m->kept[1], &end);
    if (rc)
        return rc;
    m->info.still = end;
    m->nkept = end ? 1 : 2;
    if (end) {
        m->info.frames = 1;
        m->info.seconds = 0;
    }
    return RC_OK;
}

/* What -ss, -t and -to leave of lengths. */
static void cut_info(media_in *m)
{
    const args *a = m->a;
    const tsr_video_info *p = &m->info.picture;
    double seconds = m->info.seconds;

    if (a->start <= 0 && a->length <= 0 && a->until <= 0)
        return;
    if (seconds > 0)
        seconds = fmax(seconds - a->start, 0);
    if (a->length > 0)
        seconds = seconds > 0 ? fmin(seconds, a->length) : a->length;
    else if (a->until > 0)
        seconds = seconds > 0 ? fmin(seconds, a->until - a->start)
                              : a->until - a->start;
    m->info.seconds = seconds;
    m->info.frames = m->info.video && p->rate_den
        ? (uint64_t)(seconds * p->rate_num / p->rate_den + 0.5) : 0;
}

static int check_cut(const media_in *m)
{
    const args *a = m->a;
    if (a->until > 0 && a->length <= 0 && a->until <= a->start)
        return say_error(RC_USAGE, NULL, "-to lies before -ss");
    if (m->info.still == STILL_YES && (a->start > 0 || a->length > 0 ||
                                       a->until > 0))
        return say_error(RC_USAGE, m->in->name, "is a picture, and -ss, -t or"
                         " -to was given");
    return RC_OK;
}

static int open_reader(media_in *m, const media_in_want *want)
{
    const media_setup setup = { m->ctx, m->a, m->in, *want };
    const char *format = m->a->of_input.format;
    const opener open = format ? by_name(format) : by_head(m->in);
    int rc = open(&m->reader, &setup);

    if (rc)
        return rc;
    m->info = m->reader->info;
    m->info.video &= want->video;
    m->info.audio &= want->audio;
    if (!m->info.video && !m->info.audio)
        return say_error(RC_INPUT, m->in->name, "%s", want->video
                         ? want->audio ? "holds neither pictures nor sound"
                                       : "holds no pictures"
                         : "holds no sound");
    return RC_OK;
}

int media_in_open(media_in **out, tsr_context *ctx, const args *a, input *in,
                  const media_in_want *want)
{
    static const media_in_want all = { .video = 1, .audio = 1 };
    media_in *m = calloc(1, sizeof *m);
    int rc;

    *out = NULL;
    if (!m)
        return say_error(RC_MACHINE, in->name, "out of memory");
    m->ctx = ctx;
    m->a = a;
    m->in = in;
    rc = open_reader(m, want ? want : &all);
    if (!rc)
        rc = check_cut(m);
    if (!rc) {
        set_cut(m);
        cut_info(m);
        if (a->start > 0 && m->reader->seek)
            m->reader->seek(m->reader, a->start);
        rc = look_ahead(m);
    }
    if (!rc)
        rc = open_scale(m);
    if (!rc && m->info.audio && want && want->rate)
        rc = media_in_sound(m, want);
    if (rc)
        media_in_close(&m);
    *out = m;
    return rc;
}

int media_in_sound(media_in *m, const media_in_want *want)
{
    const sound_form form = { m->reader->info.rate, m->reader->info.channels };
    int rc;

    if (!m->info.audio)
        return RC_OK;
    media_track_close(&m->track);
    m->track_open = 1;
    rc = media_track_open(&m->track, m->a, m->in->name, form, want);
    m->info.rate = m->track.to.rate;
    m->info.channels = m->track.to.channels;
    return rc;
}

const media_in_info *media_in_about(const media_in *m)
{
    return &m->info;
}

int media_in_is_cut(const media_in *m)
{
    return m->a->start > 0;
}

const input *media_in_input(const media_in *m)
{
    return m->in;
}

uint64_t media_in_faults(const media_in *m)
{
    return m->reader->faults;
}

int media_in_finish(media_in *m)
{
    if (m->reader->warn)
        m->reader->warn(m->reader);
    if (m->track.filled)
        say_warning(m->in->name, "%.3f s of silence fill gaps in its sound",
                    (double)m->track.filled / m->track.from.rate);
    if (!m->reader->faults)
        return RC_OK;
    return say_error(RC_INPUT, m->in->name, "%llu damaged part%s of it %s left"
                     " out", (unsigned long long)m->reader->faults,
                     m->reader->faults == 1 ? "" : "s",
                     m->reader->faults == 1 ? "was" : "were");
}

void media_in_close(media_in **p)
{
    media_in *m = *p;
    if (!m)
        return;
    if (m->reader)
        m->reader->close(m->reader);
    media_track_close(&m->track);
    media_scale_close(&m->scale);
    tsr_image_free(m->ctx, &m->scaled);
    tsr_image_free(m->ctx, &m->first);
    free(m);
    *p = NULL;
}
