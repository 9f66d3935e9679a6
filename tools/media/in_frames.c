/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdlib.h>
#include "tools/media/in_frames.h"
#include "tools/media/map.h"
#include "tools/output.h"
#include "tools/say.h"

static int end_cut(frames_reader *f, int *end)
{
    *end = 1;
    if (f->in->fault)
        return input_failed(f->in);
    if (!output_stopped()) {
        f->cut = 1;
        f->base.faults++;
    }
    return RC_OK;
}

static int next(media_reader *r, media_in_item *item, int *end)
{
    frames_reader *f = (frames_reader *)r;
    const int there = f->head ? f->head(f->in) : 1;
    size_t got;

    *end = 0;
    if (there < 0)
        return end_cut(f, end);
    got = there ? input_read(f->in, f->frame, f->bytes) : 0;
    if (got < f->bytes) {
        if (got || (there && f->head) || f->in->fault)
            return end_cut(f, end);
        *end = 1;
        return RC_OK;
    }
    if (planes_unpack(&f->form, f->frame, &f->image))
        return say_error(RC_MACHINE, f->in->name, "out of memory");
    *item = (media_in_item){ .image = f->image, .pts = f->count++,
                             .duration = 1 };
    return RC_OK;
}

static void warn(media_reader *r)
{
    const frames_reader *f = (const frames_reader *)r;
    if (f->cut)
        say_warning(f->in->name, "is cut short, or damaged, after frame %lld",
                    (long long)f->count);
}

static void close_frames(media_reader *r)
{
    frames_reader *f = (frames_reader *)r;
    tsr_image_free(f->ctx, &f->image);
    free(f->frame);
    free(f);
}

static void describe(frames_reader *f, uint32_t num, uint32_t den)
{
    media_in_info *info = &f->base.info;
    info->video = 1;
    info->still = STILL_PERHAPS;
    info->picture.width = f->image.width;
    info->picture.height = f->image.height;
    info->picture.channels = f->image.channels;
    info->picture.bits = f->image.bits;
    info->picture.rate_num = num;
    info->picture.rate_den = den;
    info->picture.primaries = info->picture.transfer = 2;
    info->picture.matrix = f->form.packed ? 0 : (uint8_t)f->form.yuv.matrix;
    info->picture.full_range = (uint8_t)(f->form.packed || f->form.yuv.full);
    info->time_num = den;
    info->time_den = num;
}

int frames_open(media_reader **r, const media_setup *s, const planes *form,
                int (*head)(input *in), uint32_t num, uint32_t den)
{
    frames_reader *f;
    tsr_error error;

    *r = NULL;
    if (media_map_only(s->a, s->in->name, 'v'))
        return RC_USAGE;
    f = calloc(1, sizeof *f);
    if (!f)
        return say_error(RC_MACHINE, s->in->name, "out of memory");
    f->base = (media_reader){ .next = next, .warn = warn,
                              .close = close_frames };
    f->ctx = s->ctx;
    f->in = s->in;
    f->form = *form;
    f->head = head;
    f->bytes = planes_bytes(form);
    planes_shape(form, &f->image);
    error = tsr_image_alloc(s->ctx, &f->image);
    f->frame = error ? NULL : malloc(f->bytes);
    if (f->frame) {
        describe(f, num, den);
        *r = &f->base;
        return RC_OK;
    }
    close_frames(&f->base);
    return error ? say_failure(s->in->name, error)
                 : say_error(RC_MACHINE, s->in->name, "out of memory");
}
