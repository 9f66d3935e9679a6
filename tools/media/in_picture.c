/* SPDX-License-Identifier: BSD-2-Clause */
/* One picture, by our own readers. */
#include <stdlib.h>
#include "tools/io/picture.h"
#include "tools/media/map.h"
#include "tools/media/reader.h"
#include "tools/say.h"

typedef struct picture_reader {
    media_reader base;
    tsr_context *ctx;
    tsr_image image;
    int given;
} picture_reader;

static int next(media_reader *r, media_in_item *item, int *end)
{
    picture_reader *p = (picture_reader *)r;
    *end = p->given;
    *item = (media_in_item){ .image = p->image };
    p->given = 1;
    return RC_OK;
}

static void close_picture(media_reader *r)
{
    picture_reader *p = (picture_reader *)r;
    tsr_image_free(p->ctx, &p->image);
    free(p);
}

int media_open_picture(media_reader **r, const media_setup *s)
{
    picture_reader *p;
    media_in_info *info;
    int rc;

    *r = NULL;
    if (media_map_only(s->a, s->in->name, 'v'))
        return RC_USAGE;
    p = calloc(1, sizeof *p);
    if (!p)
        return say_error(RC_MACHINE, s->in->name, "out of memory");
    p->base = (media_reader){ .next = next, .close = close_picture };
    p->ctx = s->ctx;
    rc = picture_read(s->ctx, s->in, &p->image);
    if (rc) {
        close_picture(&p->base);
        return rc;
    }
    info = &p->base.info;
    info->video = 1;
    info->still = STILL_YES;
    info->frames = 1;
    info->time_num = 1;
    info->time_den = 25;
    info->picture = (tsr_video_info){
        .width = p->image.width, .height = p->image.height,
        .channels = p->image.channels, .bits = p->image.bits,
        .primaries = 2, .transfer = 2, .matrix = 0, .full_range = 1
    };
    *r = &p->base;
    return RC_OK;
}
