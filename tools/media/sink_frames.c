/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tools/media/planes.h"
#include "tools/media/sink.h"
#include "tools/say.h"

/* Each frame waits until it is known how often it is written. */
typedef struct frames {
    media_sink base;
    output *out;
    planes form;
    int y4m, begun;
    sink_source from;
    const char *tag;        /* y4m: of the colour space */
    uint8_t *frame;
    size_t bytes;
    int64_t pts;            /* of `frame` */
    uint64_t duration;
    uint64_t written;
} frames;

/* What y4m calls pixel formats, and the same with alpha dropped. */
static const struct { const char *name, *tag; } tags[] = {
    { "yuv420p", "420jpeg" }, { "yuv422p", "422" }, { "yuv444p", "444" },
    { "gray", "mono" }, { "yuva444p", "444alpha" },
    { "yuv420p10le", "420p10" }, { "yuv422p10le", "422p10" },
    { "yuv444p10le", "444p10" }, { "yuv420p12le", "420p12" },
    { "yuv422p12le", "422p12" }, { "yuv444p12le", "444p12" },
};

static const char *tag_of(const char *name)
{
    for (size_t i = 0; i < sizeof tags / sizeof *tags; i++)
        if (!strcmp(tags[i].name, name))
            return tags[i].tag;
    return NULL;
}

/* What the samples of the stream call for. */
static const char *natural(const tsr_video_info *v, int y4m)
{
    static const char *const raw[2][4] = {
        { "gray", "rgba", "rgb24", "rgba" },
        { "gray16le", "rgba64le", "rgb48le", "rgba64le" }
    };
    const int deep = v->bits == 16;
    if (!y4m)
        return raw[deep][v->channels - 1];
    return v->channels < 3 && !deep ? "gray"
                                    : deep ? "yuv420p10le" : "yuv420p";
}

static int choose_form(frames *f, const args *a)
{
    const tsr_video_info *v = f->from.video;
    const char *name = a->pixel_format ? a->pixel_format
                                       : natural(v, f->y4m);
    f->tag = tag_of(name);
    if (!planes_named(&f->form, name) || (f->y4m && !f->tag))
        return say_error(RC_USAGE, NULL, "-pix_fmt %s: %s has no such pixels;"
                         " %s is one it has", name, f->y4m ? "y4m" : "raw"
                         " video", f->y4m ? "yuv444p" : "rgb24");
    f->form.width = v->width;
    f->form.height = v->height;
    f->form.yuv.full = v->full_range;
    f->form.yuv.between_x = f->form.yuv.between_y = 1;
    f->form.yuv.matrix = v->matrix == 2 || !v->matrix
        ? yuv_matrix_of(v->height) : v->matrix;
    f->bytes = planes_bytes(&f->form);
    f->frame = malloc(f->bytes);
    return f->frame ? RC_OK : say_error(RC_MACHINE, NULL, "out of memory");
}

/* Where the rate varies, that of the first frame is taken. */
static void choose_rate(frames *f, uint64_t duration)
{
    const uint64_t den = f->from.time_num * (duration ? duration : 1);
    if (f->from.rate_num)
        return;
    f->from.rate_num = f->from.time_den;
    f->from.rate_den = den > UINT32_MAX ? UINT32_MAX : (uint32_t)den;
    if (!duration || f->from.rate_num / f->from.rate_den > 1000) {
        f->from.rate_num = 25;
        f->from.rate_den = 1;
    }
}

static int begin(frames *f, uint64_t duration)
{
    char head[160];
    int n;

    f->begun = 1;
    choose_rate(f, duration);
    if (!f->y4m)
        return RC_OK;
    n = snprintf(head, sizeof head, "YUV4MPEG2 W%d H%d F%u:%u Ip A%u:%u C%s"
                 "%s\n", f->form.width, f->form.height,
                 (unsigned)f->from.rate_num, (unsigned)f->from.rate_den,
                 f->from.video->sar_num, f->from.video->sar_den, f->tag,
                 f->form.yuv.full ? " XCOLORRANGE=FULL"
                                  : " XCOLORRANGE=LIMITED");
    return output_write(f->out, head, (size_t)n) ? RC_USAGE : RC_OK;
}

static int write_frame(frames *f)
{
    f->written++;
    if ((f->y4m && output_write(f->out, "FRAME\n", 6)) ||
        output_write(f->out, f->frame, f->bytes))
        return RC_USAGE;
    return RC_OK;
}

/* Number of frames of the constant rate before a time. */
static uint64_t frames_until(const frames *f, int64_t pts)
{
    const double seconds = (double)pts * f->from.time_num / f->from.time_den;
    const double n = seconds * f->from.rate_num / f->from.rate_den + 0.5;
    return n < 0 ? 0 : n > 1e15 ? (uint64_t)1e15 : (uint64_t)n;
}

/* Writes the frame that waits until `target` frames are written; for an hour at
 * most, whatever the times of a file say. */
static int let_go(frames *f, uint64_t target)
{
    const uint64_t hour = 3600 * (uint64_t)f->from.rate_num / f->from.rate_den;
    int rc = RC_OK;
    uint64_t times = 0;

    while (!rc && f->written < target && times <= hour && !output_stopped()) {
        rc = write_frame(f);
        times++;
    }
    if (f->written < target)
        f->written = target;
    f->base.dropped += !times;
    f->base.doubled += times > 1 ? times - 1 : 0;
    return rc;
}

static int take(media_sink *s, const tsr_image *image, int64_t pts,
                uint64_t duration)
{
    frames *f = (frames *)s;
    const int rc = f->begun ? let_go(f, frames_until(f, pts))
                            : begin(f, duration);
    if (rc)
        return rc;
    f->pts = pts;
    f->duration = duration;
    return planes_pack(&f->form, image, f->frame)
        ? say_error(RC_MACHINE, NULL, "out of memory") : RC_OK;
}

static int finish(media_sink *s)
{
    frames *f = (frames *)s;
    const int64_t until = f->pts + (int64_t)f->duration;
    /* One whose time is not known is seen once. */
    const uint64_t target = frames_until(f, until) + !f->duration;

    return f->begun ? let_go(f, target ? target : 1) : RC_OK;
}

static void close_frames(media_sink *s)
{
    frames *f = (frames *)s;
    free(f->frame);
    free(f);
}

int sink_frames_open(media_sink **s, const args *a, const sink_source *from,
                     int y4m, output *out)
{
    frames *f = calloc(1, sizeof *f);
    int rc;

    if (!f)
        return say_error(RC_MACHINE, NULL, "out of memory");
    f->base = (media_sink){ .frame = take, .finish = finish,
                            .close = close_frames };
    f->out = out;
    f->y4m = y4m;
    f->from = *from;
    rc = choose_form(f, a);
    if (rc)
        close_frames(&f->base);
    else
        *s = &f->base;
    return rc;
}
