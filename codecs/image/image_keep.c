/* SPDX-License-Identifier: BSD-2-Clause */
/* Open codecs between calls: on a device, and within a batch, opening one costs
 * more than a small picture does. */
#include <string.h>
#include "codecs/image/image.h"

enum { KEPT_MAX = 4 };          /* of a context */

typedef struct coder {
    tsri_keep kept;
    tsr_context *ctx;
    const tsri_image_codec *codec;
    tsr_model *model;
    void *self;
} coder;

static void close_coder(tsri_keep *kept)
{
    coder *c = (coder *)kept;

    if (c->self)
        c->codec->close(&c->self);
    tsr_model_unref(&c->model);
    tsri_free(c->ctx, c);
}

/* The place of the first codec that is kept for a model with this hash. */
static tsri_keep **find(tsr_context *ctx, const uint8_t *hash, size_t bytes)
{
    for (tsri_keep **at = &ctx->kept; *at; at = &(*at)->next)
        if ((*at)->close == close_coder &&
            !memcmp(tsr_model_hash(((coder *)*at)->model), hash, bytes))
            return at;
    return NULL;
}

tsr_error tsri_coder_open(void **self, tsr_context *ctx,
                          const tsri_image_codec *codec, tsr_model *model)
{
    tsri_keep **at = find(ctx, tsr_model_hash(model), TSR_MODEL_HASH_BYTES);

    *self = NULL;
    if (!at || ((coder *)*at)->codec != codec)
        return codec->open(self, ctx, model);
    coder *c = (coder *)*at;
    *at = c->kept.next;
    *self = c->self;
    c->self = NULL;
    close_coder(&c->kept);
    return TSR_OK;
}

tsr_model *tsri_coder_model(tsr_context *ctx, const uint8_t *hash, size_t bytes)
{
    tsri_keep **at = find(ctx, hash, bytes);
    return at ? tsr_model_ref(((coder *)*at)->model) : NULL;
}

/* Drops the eldest of too many. */
static void make_room(tsr_context *ctx)
{
    tsri_keep **last = NULL;
    int n = 0;

    for (tsri_keep **at = &ctx->kept; *at; at = &(*at)->next)
        if ((*at)->close == close_coder) {
            last = at;
            n++;
        }
    if (n < KEPT_MAX)
        return;
    tsri_keep *gone = *last;
    *last = gone->next;
    close_coder(gone);
}

void tsri_coder_close(void **self, tsr_context *ctx,
                      const tsri_image_codec *codec, tsr_model *model,
                      bool sound)
{
    coder *c = *self && ctx->keeps && sound ? tsri_alloc(ctx, 1, sizeof *c)
                                            : NULL;

    if (!c) {
        if (*self)
            codec->close(self);
        return;
    }
    make_room(ctx);
    *c = (coder){ { ctx->kept, close_coder }, ctx, codec, tsr_model_ref(model),
                  *self };
    ctx->kept = &c->kept;
    *self = NULL;
}
