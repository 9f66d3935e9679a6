/* SPDX-License-Identifier: BSD-2-Clause */
/* The token codecs on several pictures at once. */
#include <string.h>
#include "codecs/image/token.h"

typedef struct group_tokens {
    tsri_image_tokens head;     /* its kind is the level */
    tsri_token_grid grid;
    int level;
} group_tokens;

static bool token_wide(const void *self)
{
    return ((const tsri_token_codec *)self)->shape.channels >= TSRI_IMAGE_WIDE;
}

static void token_drop(tsr_context *ctx, tsri_image_tokens **tokens)
{
    group_tokens *k = (group_tokens *)*tokens;

    if (k) {
        tsri_free(ctx, k->grid.id);
        tsri_free(ctx, k->grid.lost);
        tsri_free(ctx, k);
    }
    *tokens = NULL;
}

/* The present picture's. */
static tsr_error token_take(void *self, tsri_image_tokens **tokens)
{
    tsri_token_codec *t = self;
    group_tokens *k = tsri_alloc(t->ctx, 1, sizeof *k);

    *tokens = NULL;
    if (!k)
        return tsri_nomem(t->ctx);
    const int kind = tsri_token_any_lost(&t->grid) ? -1 : t->level;
    *k = (group_tokens){ { t->width, t->height, kind }, t->grid, t->level };
    t->grid = (tsri_token_grid){ .id = NULL };
    t->ready = false;
    *tokens = &k->head;
    return TSR_OK;
}

static tsr_error token_give(void *self, tsri_image_tokens **tokens)
{
    tsri_token_codec *t = self;
    group_tokens *k = (group_tokens *)*tokens;

    tsri_token_forget(t);
    t->width = k->head.width;
    t->height = k->head.height;
    t->grid = k->grid;
    t->level = k->level;
    t->ready = true;
    k->grid = (tsri_token_grid){ .id = NULL };
    token_drop(t->ctx, tokens);
    return TSR_OK;
}

/* Grids without lost tokens for n pictures of one size. */
static tsr_error new_grids(tsri_token_codec *t, int n, const tsr_image *image,
                           tsri_image_tokens **tokens)
{
    for (int i = 0; i < n; i++) {
        TSR_TRY(tsri_token_size(t, image->width, image->height, 0));
        memset(t->grid.lost, 0, (size_t)t->grid.height * (size_t)t->grid.width);
        TSR_TRY(token_take(t, &tokens[i]));
    }
    return tsri_token_size(t, image->width, image->height, 0);
}

static tsr_error token_group_look(void *self, int n, const tsr_image *const *images,
                                  tsri_image_tokens **tokens, bool *done)
{
    tsri_token_codec *t = self;
    int32_t *ids[TSRI_IMAGE_GROUP];

    *done = false;
    memset(tokens, 0, (size_t)n * sizeof *tokens);
    tsr_error error = tsri_token_part_net(t, TSRI_TOKEN_ENCODER);
    if (!error)
        error = new_grids(t, n, images[0], tokens);
    for (int i = 0; !error && i < n; i++)
        ids[i] = ((group_tokens *)tokens[i])->grid.id;
    if (!error)
        error = tsri_token_look(t, n, images, ids, done);
    for (int i = 0; i < n && (error || !*done); i++)
        token_drop(t->ctx, &tokens[i]);
    return error;
}

static tsr_error token_group_show(void *self, int n,
                                  tsri_image_tokens *const *tokens,
                                  const tsr_image *const *images, bool *done)
{
    tsri_token_codec *t = self;
    int32_t *ids[TSRI_IMAGE_GROUP];
    const int level = tokens[0]->kind;

    for (int i = 0; i < n; i++)
        ids[i] = ((group_tokens *)tokens[i])->grid.id;
    TSR_TRY(tsri_token_part_net(t, TSRI_TOKEN_DECODER));
    TSR_TRY(tsri_token_size(t, tokens[0]->width, tokens[0]->height, level));
    return tsri_token_show(t, n, level, ids, images, done);
}

const tsri_image_group tsri_token_group = {
    .wide = token_wide, .look = token_group_look, .show = token_group_show,
    .take = token_take, .give = token_give, .drop = token_drop,
};
