/* SPDX-License-Identifier: BSD-2-Clause */
#include <stddef.h>
#include "tools/commands.h"
#include "tools/engine.h"
#include "tools/io/picture.h"
#include "tools/progress.h"
#include "tools/say.h"

static const opt encode_options[] = {
    { "-i --input", "FILE", "the picture: PNG or PNM; - is stdin", OPT_TEXT,
      offsetof(args, in), 0, 0 },
    { "-q --quality", "N", "0 (smallest) to 100 (best); default 50", OPT_NUMBER,
      offsetof(args, quality), 0, 100 },
    { "-c:v --codec", "NAME", "take a model of this codec: hyper or mcquic", OPT_TEXT,
      offsetof(args, codec), 0, 0 },
    { "-noalpha", NULL, "drop the alpha plane, which is kept exactly otherwise",
      OPT_FLAG, offsetof(args, noalpha), 0, 0 },
    { "-container", NULL, "the chunked form for small pictures too", OPT_FLAG,
      offsetof(args, container), 0, 0 },
    { NULL, NULL, NULL, OPT_FLAG, 0, 0, 0 }
};

static tsr_image_settings settings_of(const args *a, progress *p)
{
    tsr_image_settings s;
    tsr_image_settings_init(&s);
    s.quality = a->quality;
    s.container = a->container;
    s.lossless_alpha = !a->noalpha;
    s.progress = progress_hook(p);
    return s;
}

static void tell(const progress *p, const output *out, const tsr_image *image)
{
    say_info("%s: %llu bytes, %.3f bits per pixel, %.2f s", out->name,
             (unsigned long long)out->bytes, 8.0 * (double)out->bytes /
             ((double)image->width * image->height), progress_seconds(p));
}

static int encode_into(tsr_context *ctx, tsr_model *model, const args *a,
                       const input *in, const tsr_image *image, output *out)
{
    progress p;
    tsr_image_settings s;
    tsr_sink sink = output_sink(out);
    tsr_error error;
    int rc = progress_open(&p, a, a->out);

    if (rc)
        return rc;
    p.image = image;
    s = settings_of(a, &p);
    error = tsr_image_encode(ctx, model, &s, image, &sink);
    progress_close(&p, out->bytes, !error);
    if (error && out->fault)
        return RC_USAGE;
    if (error)
        return say_failure(say_rc(error) == RC_MODEL ? tsr_model_path(model)
                                                     : in->name, error);
    tell(&p, out, image);
    return RC_OK;
}

static int encode_picture(tsr_context *ctx, tsr_model *model, const args *a,
                          input *in)
{
    tsr_image image;
    output out;
    int rc, rc_close;

    rc = output_open(&out, a, in, a->out);
    if (rc)
        return rc;
    rc = picture_read(ctx, in, &image);
    if (!rc)
        rc = encode_into(ctx, model, a, in, &image, &out);
    tsr_image_free(ctx, &image);
    rc_close = output_close(&out, !rc);
    return rc_close ? rc_close : rc;
}

/* Nobody wants a .tess stream in a file called .png. */
static int check_name(const char *out)
{
    if (!picture_named(out))
        return RC_OK;
    return say_error(RC_USAGE, out, "is the name of a picture, and encode"
                     " writes .tess");
}

static int run(args *a)
{
    char made[NAME_SIZE];
    tsr_context *ctx = NULL;
    tsr_model *model = NULL;
    input in = { 0 };
    int rc = command_paths(a, NULL, ".tess", made);

    if (!rc)
        rc = check_name(a->out);
    if (!rc)
        rc = input_open(&in, a->in);
    if (!rc)
        rc = engine_open(&ctx, a);
    if (!rc)
        rc = engine_model(&model, ctx, a);
    if (!rc)
        rc = encode_picture(ctx, model, a, &in);
    tsr_model_unref(&model);
    tsr_context_close(&ctx);
    input_close(&in);
    return rc;
}

const command command_encode = {
    .name = "encode",
    .summary = "a picture becomes a .tess file",
    .usage =
        "  tessera encode photo.png                  writes photo.tess\n"
        "  tessera encode -q 70 -i photo.png small.tess\n"
        "  djpeg photo.jpg | tessera encode -i - -o photo.tess\n",
    .notes =
        "Reads PNG of any kind and PNM (P2, P3, P5, P6, PAM). The model is \"photo\"\n"
        "if none is named. An existing file is overwritten with -y, or after a\n"
        "question on a terminal.\n",
    .tables = { encode_options, args_output_options, args_engine_options,
                args_common_options },
    .run = run
};
