/* SPDX-License-Identifier: BSD-2-Clause */
/* What tools/media/in.h gives for a file: a line for each item on stdout, the
 * pixels to OUT.rgb and the samples to OUT.f32, as they lie in memory. */
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include "tools/args.h"
#include "tools/media/in.h"
#include "tools/output.h"
#include "tools/say.h"

static const opt options[] = {
    { "-i", "FILE", "", OPT_TEXT, offsetof(args, in), 0, 0 },
    { "-o", "OUT", "", OPT_TEXT, offsetof(args, out), 0, 0 },
    { "-ar", "RATE", "", OPT_INT, offsetof(args, rate), 0, 768000 },
    { "-ac", "N", "", OPT_INT, offsetof(args, channels), 0, 64 },
    { "-live", NULL, "", OPT_FLAG, offsetof(args, live), 0, 0 },
    { "-max_pixels", "N", "", OPT_NUMBER, offsetof(args, max_pixels), 1,
      2147483647.0 },
    { "-v", "LEVEL", "", OPT_TEXT, offsetof(args, loglevel), 0, 0 },
    { NULL, NULL, NULL, OPT_FLAG, 0, 0, 0 }
};

static void print_info(const media_in_info *i)
{
    const tsr_video_info *p = &i->picture;
    if (i->video)
        printf("info video %d %dx%dx%dx%d rate %" PRIu32 "/%" PRIu32 " time %"
               PRIu32 "/%" PRIu32 " sar %d:%d frames %" PRIu64 " colour %d %d %d"
               " %d\n", i->still, p->width, p->height, p->channels, p->bits,
               p->rate_num, p->rate_den, i->time_num, i->time_den, p->sar_num,
               p->sar_den, i->frames, p->primaries, p->transfer, p->matrix,
               p->full_range);
    if (i->audio)
        printf("info audio %d Hz %d\n", i->rate, i->channels);
    printf("info seconds %.3f\n", i->seconds);
}

static void write_pixels(FILE *f, const tsr_image *image)
{
    for (int y = 0; y < image->height; y++)
        fwrite((const char *)image->data + (size_t)y * image->stride,
               (size_t)(image->channels * image->bits / 8),
               (size_t)image->width, f);
}

static void print_item(const media_in_item *item)
{
    const tsr_image *i = &item->image;
    if (item->audio)
        printf("a %" PRId64 " %zu\n", item->pts, item->n);
    else
        printf("v %" PRId64 " %" PRIu64 " %dx%dx%dx%d\n", item->pts,
               item->duration, i->width, i->height, i->channels, i->bits);
}

static int dump(media_in *m, const char *out)
{
    char name[4096];
    media_in_item item;
    FILE *pixels, *samples;
    int end = 0, rc = RC_OK;

    snprintf(name, sizeof name, "%s.rgb", out);
    pixels = fopen(name, "wb");
    snprintf(name, sizeof name, "%s.f32", out);
    samples = fopen(name, "wb");
    if (!pixels || !samples)
        return 99;
    while (!rc) {
        rc = media_in_next(m, &item, &end);
        if (rc || end)
            break;
        print_item(&item);
        if (item.audio)
            fwrite(item.samples, sizeof(float) *
                   (size_t)media_in_about(m)->channels, item.n, samples);
        else
            write_pixels(pixels, &item.image);
    }
    fclose(pixels);
    fclose(samples);
    return rc ? rc : media_in_finish(m);
}

int main(int argc, char **argv)
{
    const command cmd = { .name = "dump", .sides = 1,
                          .tables = { options, media_in_options, NULL } };
    tsr_context_settings s;
    tsr_context *ctx;
    media_in *m;
    input in;
    args a;
    int rc = args_parse(&a, &cmd, argc - 1, argv + 1);

    tsr_context_settings_init(&s);
    s.logger = say_logger();
    if (rc || input_open(&in, a.in))
        return 1;
    s.max_pixels = (uint64_t)a.max_pixels;
    if (tsr_context_open(&ctx, &s))
        return 99;
    rc = media_in_open(&m, ctx, &a, &in, NULL);
    if (!rc && (a.rate || a.channels))
        rc = media_in_sound(m, &(media_in_want){ .audio = 1, .rate = a.rate,
                                                 .group = 1 });
    if (!rc) {
        print_info(media_in_about(m));
        rc = dump(m, a.out ? a.out : "dump");
    }
    media_in_close(&m);
    tsr_context_close(&ctx);
    input_close(&in);
    say_rest();
    return rc;
}
