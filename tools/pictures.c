/* SPDX-License-Identifier: BSD-2-Clause */
#include <stddef.h>
#include <string.h>
#include "tools/engine.h"
#include "tools/pictures.h"
#include "tools/say.h"

const opt pictures_options[] = {
    { "-interleave", "1|2|4|8", "pictures of codes: neighbours go into different"
      " chunks, so that a lost one leaves single holes; 1: they do not", OPT_INT,
      offsetof(args, interleave), 1, 8 },
    { "-container", NULL, "pictures: the chunked form for small ones, too",
      OPT_FLAG, offsetof(args, container), 0, 0 },
    { NULL, NULL, NULL, OPT_FLAG, 0, 0, 0 }
};

int pictures_tokens(tsr_context *ctx, tsr_model *model, tsr_tokens_model *info)
{
    const tsr_error error = tsr_tokens_describe(ctx, model, info);
    if (error)
        say_take_detail();
    return !error;
}

static int check_interleave(tsr_context *ctx, const args *a, tsr_model *model)
{
    const int n = a->interleave;
    tsr_tokens_model info;

    if (n & (n - 1))
        return say_error(RC_USAGE, NULL, "-interleave %d: 1, 2, 4 or 8", n);
    if (n && !pictures_tokens(ctx, model, &info))
        return say_error(RC_USAGE, NULL, "-interleave is for codecs of codes"
                         " (vqgan, simvq), and the model %s is of codec %s",
                         tsr_model_name(model), tsr_model_codec(model));
    return RC_OK;
}

int pictures_settings(tsr_image_settings *s, tsr_context *ctx, const args *a,
                      tsr_model *model, double quality)
{
    tsr_image_settings_init(s);
    s->quality = a->quality < 0 ? quality : a->quality;
    s->container = a->container;
    s->lossless_alpha = !a->noalpha;
    if (a->interleave)
        s->interleave = a->interleave;
    return check_interleave(ctx, a, model);
}

static int is_model(const tsr_model *model, const tsr_image_info *info)
{
    return model && !memcmp(tsr_model_hash(model), info->model_hash,
                            (size_t)info->model_hash_bytes);
}

int pictures_probe(tsr_context *ctx, const args *a, input *in,
                   tsr_image_info *info, tsr_model **model)
{
    tsr_source source;
    tsr_error error;
    int rc = input_rewindable(in);

    if (rc)
        return rc;
    source = input_source(in);
    error = tsr_image_probe(ctx, &source, info);
    if (error)
        return in->fault ? input_failed(in) : say_failure(in->name, error);
    rc = input_rewind(in);
    if (rc || (a->model && *model) || is_model(*model, info))
        return rc;
    tsr_model_unref(model);
    if (a->model)
        return engine_open_model(model, ctx, a->model);
    error = tsr_model_open_hash(model, ctx, info->model_hash,
                                (size_t)info->model_hash_bytes);
    return error ? say_failure_as(RC_MODEL, in->name, error) : RC_OK;
}
