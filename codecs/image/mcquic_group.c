/* SPDX-License-Identifier: BSD-2-Clause */
/* McQuic on several pictures at once. */
#include <string.h>
#include "codecs/image/mcquic.h"

typedef struct group_tokens {
    tsri_image_tokens head;
    tsri_mcquic_codes codes;
} group_tokens;

static void mcquic_drop(tsr_context *ctx, tsri_image_tokens **tokens)
{
    group_tokens *k = (group_tokens *)*tokens;

    for (int level = 0; k && level < TSRI_MCQUIC_LEVELS; level++)
        tsri_free(ctx, k->codes.level[level]);
    tsri_free(ctx, k);
    *tokens = NULL;
}

static bool mcquic_wide(const void *self)
{
    return ((const tsri_mcquic *)self)->shape.channels >= TSRI_IMAGE_WIDE;
}

static tsr_error begin(tsri_mcquic *self, int width, int height)
{
    int units;

    self->given = false;
    return tsri_image_codec_mcquic.begin(self, width, height, NULL, 0, &units);
}

/* The present picture's. */
static tsr_error mcquic_take(void *cookie, tsri_image_tokens **tokens)
{
    tsri_mcquic *self = cookie;
    group_tokens *k = tsri_alloc(self->ctx, 1, sizeof *k);

    *tokens = NULL;
    if (!k)
        return tsri_nomem(self->ctx);
    *k = (group_tokens){ { self->width, self->height, 0 },
                         tsri_mcquic_own_codes(self) };
    for (int level = 0; level < TSRI_MCQUIC_LEVELS; level++)
        self->level[level].codes.data = NULL;
    self->given = false;
    *tokens = &k->head;
    return TSR_OK;
}

static tsr_error mcquic_give(void *cookie, tsri_image_tokens **tokens)
{
    tsri_mcquic *self = cookie;
    group_tokens *k = (group_tokens *)*tokens;

    const tsr_error error = begin(self, k->head.width, k->head.height);
    for (int level = 0; !error && level < self->shape.levels; level++) {
        tsri_free(self->ctx, self->level[level].codes.data);
        self->level[level].codes.data = k->codes.level[level];
        k->codes.level[level] = NULL;
    }
    self->given = !error;
    mcquic_drop(self->ctx, tokens);
    return error;
}

static tsr_error mcquic_group_look(void *cookie, int n,
                                   const tsr_image *const *images,
                                   tsri_image_tokens **tokens, bool *done)
{
    tsri_mcquic *self = cookie;
    tsri_mcquic_codes codes[TSRI_IMAGE_GROUP] = { { { NULL } } };
    tsr_error error = TSR_OK;

    *done = false;
    memset(tokens, 0, (size_t)n * sizeof *tokens);
    for (int i = 0; !error && i < n; i++) {
        error = begin(self, images[0]->width, images[0]->height);
        codes[i] = tsri_mcquic_own_codes(self);
        if (!error)
            error = mcquic_take(self, &tokens[i]);
    }
    if (!error)
        error = tsri_mcquic_look(self, n, images, codes, done);
    for (int i = 0; i < n && (error || !*done); i++)
        mcquic_drop(self->ctx, &tokens[i]);
    return error;
}

static tsr_error mcquic_group_show(void *cookie, int n,
                                   tsri_image_tokens *const *tokens,
                                   const tsr_image *const *images, bool *done)
{
    tsri_mcquic *self = cookie;
    tsri_mcquic_codes codes[TSRI_IMAGE_GROUP];

    for (int i = 0; i < n; i++)
        codes[i] = ((group_tokens *)tokens[i])->codes;
    TSR_TRY(begin(self, tokens[0]->width, tokens[0]->height));
    return tsri_mcquic_show(self, n, codes, images, done);
}

const tsri_image_group tsri_mcquic_group = {
    .wide = mcquic_wide, .look = mcquic_group_look, .show = mcquic_group_show,
    .take = mcquic_take, .give = mcquic_give, .drop = mcquic_drop,
};
