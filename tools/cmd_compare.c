/* SPDX-License-Identifier: BSD-2-Clause */
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include "tools/commands.h"
#include "tools/engine.h"
#include "tools/json.h"
#include "tools/media/in.h"
#include "tools/metrics.h"
#include "tools/say.h"
#include "tools/sound/sound.h"

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

static int pictures(const args *a, media_in *p, media_in *q)
{
    media_in_item x, y;
    int end, rc = media_in_next(p, &x, &end);

    if (!rc)
        rc = media_in_next(q, &y, &end);
    return rc ? rc : compare(a, &x.image, &y.image);
}

/* v picture, a sound, m both or more. */
static char kind_of(const media_in *m)
{
    const media_in_info *info = media_in_about(m);
    return info->video && !info->still ? 'm' : info->video ? 'v' : 'a';
}

static int compare_media(const args *a, media_in *p, media_in *q)
{
    const char *x = media_in_input(p)->name, *y = media_in_input(q)->name;
    const char kind = kind_of(p);
    if (kind == 'm' || kind_of(q) == 'm')
        return say_error(RC_USAGE, kind == 'm' ? x : y, "holds video; compare"
                         " takes pictures and sound");
    if (kind != kind_of(q))
        return say_error(RC_USAGE, NULL, "%s and %s are not of one kind", x, y);
    return kind == 'a' ? sound_compare(a, p, q) : pictures(a, p, q);
}

static int run(args *a)
{
    input in[2] = { { 0 } };
    media_in *m[2] = { NULL, NULL };
    tsr_context *ctx;
    int rc;

    if (a->files != 2)
        return say_error(RC_USAGE, NULL, "compare wants two pictures or two"
                         " sounds");
    rc = engine_open(&ctx, a);
    for (int i = 0; i < 2 && !rc; i++)
        rc = input_open(&in[i], a->file[i]);
    for (int i = 0; i < 2 && !rc; i++)
        rc = media_in_open(&m[i], ctx, a, &in[i], NULL);
    if (!rc)
        rc = compare_media(a, m[0], m[1]);
    for (int i = 0; i < 2; i++) {
        media_in_close(&m[i]);
        input_close(&in[i]);
    }
    tsr_context_close(&ctx);
    return rc;
}

const command command_compare = {
    .name = "compare",
    .summary = "how far two pictures, or two sounds, are apart",
    .synopsis = "[options] REFERENCE FILE",
    .usage =
        "  tessera compare photo.png decoded.png\n"
        "  tessera compare --json photo.png decoded.ppm\n"
        "  tessera compare speech.flac decoded.wav\n",
    .notes =
        "PSNR is over R, G and B. MS-SSIM (Wang 2003) is the mean of the\n"
        "three channels; its decibels are -10 log10(1 - MS-SSIM).\n"
        "Sound: SI-SDR (Le Roux 2019), SNR, and LSD, the log-spectral distance of\n"
        "windows of 21 ms with a floor at -100 dB. The second sound is measured\n"
        "against the first; both have the same rate and channels.\n",
    .tables = { compare_options, args_common_options },
    .run = run
};
