/* SPDX-License-Identifier: BSD-2-Clause */
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include "tools/commands.h"
#include "tools/engine.h"
#include "tools/io/picture.h"
#include "tools/json.h"
#include "tools/metrics.h"
#include "tools/say.h"

static const opt compare_options[] = {
    { "--json", NULL, "a JSON object instead of text", OPT_FLAG,
      offsetof(args, json), 0, 0 },
    { "-max_pixels", "N", "refuse larger pictures", OPT_NUMBER,
      offsetof(args, max_pixels), 1, 2147483647.0 },
    { NULL, NULL, NULL, OPT_FLAG, 0, 0, 0 }
};

static void print_json(const tsr_image *image, const metrics *m)
{
    printf("{\"width\": %d, \"height\": %d, \"mse\": ", image->width,
           image->height);
    json_number(m->mse, 6);
    printf(", \"psnr\": ");
    json_number(m->psnr, 4);
    printf(", \"ms_ssim\": ");
    json_number(m->scales ? m->ms_ssim : NAN, 8);
    printf(", \"ms_ssim_db\": ");
    json_number(m->scales ? m->ms_ssim_db : NAN, 4);
    printf(", \"ms_ssim_scales\": %d, \"alpha_equal\": %s, \"identical\": %s}\n",
           m->scales, m->alpha_equal ? "true" : "false",
           m->mse == 0 && m->alpha_equal ? "true" : "false");
}

static void print_db(const char *name, double db)
{
    if (isfinite(db))
        printf("%-9s %.2f dB", name, db);
    else
        printf("%-9s infinite", name);
}

static void print_text(const metrics *m)
{
    print_db("PSNR", m->psnr);
    if (m->scales) {
        printf("\n");
        print_db("MS-SSIM", m->ms_ssim_db);
        printf("  %.6f", m->ms_ssim);
        if (m->scales < METRICS_SCALES)
            printf("  (%d scales of %d: the picture is small)", m->scales,
                   METRICS_SCALES);
    } else {
        printf("\nMS-SSIM   not defined: the picture is under 11 pixels");
    }
    printf("\n");
    if (!m->alpha)
        printf("alpha     only one has it; it is not compared\n");
    else if (!m->alpha_equal)
        printf("alpha     differs\n");
}

static int read_one(tsr_context *ctx, const char *path, tsr_image *image)
{
    input in;
    int rc = input_open(&in, path);
    if (!rc)
        rc = picture_read(ctx, &in, image);
    input_close(&in);
    return rc;
}

static int compare(const args *a, const tsr_image *x, const tsr_image *y)
{
    metrics m;
    if (x->width != y->width || x->height != y->height)
        return say_error(RC_USAGE, a->file[1], "is %d x %d, the other picture"
                         " %d x %d", y->width, y->height, x->width, x->height);
    if (metrics_compare(x, y, &m))
        return say_error(RC_MACHINE, NULL, "out of memory");
    if (a->json)
        print_json(x, &m);
    else
        print_text(&m);
    return RC_OK;
}

static int run(args *a)
{
    tsr_context *ctx;
    tsr_image x = { 0 }, y = { 0 };
    int rc;

    if (a->files != 2)
        return say_error(RC_USAGE, NULL, "compare wants two pictures");
    rc = engine_open(&ctx, a);
    if (!rc)
        rc = read_one(ctx, a->file[0], &x);
    if (!rc)
        rc = read_one(ctx, a->file[1], &y);
    if (!rc)
        rc = compare(a, &x, &y);
    if (ctx) {
        tsr_image_free(ctx, &x);
        tsr_image_free(ctx, &y);
    }
    tsr_context_close(&ctx);
    return rc;
}

const command command_compare = {
    .name = "compare",
    .summary = "how far two pictures are apart",
    .usage =
        "  tessera compare photo.png decoded.png\n"
        "  tessera compare --json photo.png decoded.ppm\n",
    .notes =
        "PSNR is over R, G and B. MS-SSIM (Wang 2003) is the mean of the\n"
        "three channels; its decibels are -10 log10(1 - MS-SSIM).\n",
    .tables = { compare_options, args_common_options },
    .run = run
};
