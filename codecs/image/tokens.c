/* SPDX-License-Identifier: BSD-2-Clause */
/* The public functions of tokens. */
#include <string.h>
#include <tessera/tokens.h>
#include "codecs/image/image.h"
#include "codecs/image/token.h"

static tsr_error unsupported(tsr_context *ctx, const char *codec)
{
    return tsri_fail(ctx, TSR_E_UNSUPPORTED, "pictures of codec '%s' are not one "
                     "grid of tokens", codec);
}

/* ---- what a model is ---- */

static bool has_filling(const tsr_model *model)
{
    for (size_t i = 0; i < tsr_model_tensor_count(model); i++)
        if (!strncmp(tsr_model_tensor_at(model, i)->name, "tessera.fill.", 13))
            return true;
    return false;
}

tsr_error tsr_tokens_describe(tsr_context *ctx, tsr_model *model,
                              tsr_tokens_model *info)
{
    const tsri_token_family *family =
        tsri_token_family_of(tsr_model_codec(model));
    tsri_token_shape shape;
    tsri_token_book *book;
    int codes;

    *info = (tsr_tokens_model){ 0 };
    if (!family)
        return unsupported(ctx, tsr_model_codec(model));
    TSR_TRY(tsri_token_shape_read(ctx, model, family, &shape));
    TSR_TRY(tsri_token_codes(ctx, model, shape.dim, &codes));
    /* The book only lends the codewords out again. */
    TSR_TRY(tsri_token_book_open(&book, ctx, model, codes, shape.dim, NULL));
    info->factor = shape.factor;
    info->levels = tsri_token_book_levels(book);
    for (int i = 0; i < info->levels; i++)
        info->codes[i] = tsri_token_book_size(book, i);
    info->context = tsri_token_book_context(book);
    info->filling = has_filling(model);
    tsri_token_book_close(&book, ctx);
    return TSR_OK;
}

int tsr_tokens_level(const tsr_tokens_model *info, double quality)
{
    return tsri_token_level(info->levels, quality);
}

/* ---- codecs that hold tokens ---- */

typedef struct opened {
    tsr_context *ctx;
    tsr_model *model;
    const tsri_image_codec *codec;
    void *self;
    tsri_token_codec *t;
} opened;

static tsr_error open_codec(opened *o, tsr_context *ctx, tsr_model *model)
{
    *o = (opened){ .ctx = ctx, .model = model };
    if (!tsri_token_family_of(tsr_model_codec(model)))
        return unsupported(ctx, tsr_model_codec(model));
    o->codec = tsri_image_codec_by_id(tsr_model_codec(model));
    TSR_TRY(tsri_coder_open(&o->self, ctx, o->codec, model));
    o->t = tsri_token_of(o->codec, o->self);
    return TSR_OK;
}

static void close_codec(opened *o, tsr_error error)
{
    tsri_coder_close(&o->self, o->ctx, o->codec, o->model, !error);
}

/* Takes the grid out of the codec; lost tokens become -1. */
static void take(tsri_token_codec *t, tsr_tokens *tokens)
{
    const tsri_token_grid *g = &t->grid;

    *tokens = (tsr_tokens){ .height = g->height, .width = g->width,
                            .level = t->level, .factor = t->shape.factor,
                            .codes = tsri_token_book_size(t->book, t->level),
                            .id = g->id };
    for (size_t i = 0; i < (size_t)g->height * (size_t)g->width; i++)
        if (g->lost[i])
            tokens->id[i] = -1;
    t->grid.id = NULL;
    t->ready = false;
}

static tsr_error check_ids(tsr_context *ctx, const tsr_tokens *tokens, int least)
{
    for (int y = 0; y < tokens->height; y++)
        for (int x = 0; x < tokens->width; x++) {
            const int32_t id = tokens->id[(size_t)y * (size_t)tokens->width +
                                          (size_t)x];
            if (id < least || id >= tokens->codes)
                return tsri_fail(ctx, TSR_E_ARG, "token %ld at row %d, column "
                                 "%d is not one of %d", (long)id, y, x,
                                 tokens->codes);
        }
    return TSR_OK;
}

/* Are these tokens of this model?  least: the least id. */
static tsr_error check(const tsri_token_codec *t, const tsr_tokens *tokens,
                       int least)
{
    if (!tokens->id || tokens->height < 1 || tokens->width < 1)
        return tsri_fail(t->ctx, TSR_E_ARG, "a grid without tokens");
    if (tokens->level < 0 || tokens->level >= tsri_token_book_levels(t->book))
        return tsri_fail(t->ctx, TSR_E_ARG, "the model has no level %d",
                         tokens->level);
    if (tokens->codes != tsri_token_book_size(t->book, tokens->level) ||
        tokens->factor != t->shape.factor)
        return tsri_fail(t->ctx, TSR_E_ARG, "tokens of another model: %d codes "
                         "and factor %d", tokens->codes, tokens->factor);
    return check_ids(t->ctx, tokens, least);
}

/* Copies checked tokens into a grid of the same size. */
static void fill_grid(tsri_token_codec *t, const tsr_tokens *tokens)
{
    for (size_t i = 0; i < (size_t)t->grid.height * (size_t)t->grid.width; i++) {
        t->grid.lost[i] = tokens->id[i] < 0;
        t->grid.id[i] = tsri_max(tokens->id[i], 0);
    }
}

/* ---- pictures and tokens ---- */

static tsr_error from_image(opened *o, const tsr_image_settings *s,
                            const tsr_image *image)
{
    uint8_t params[TSRI_IMAGE_PARAMS_MAX];

    TSR_TRY(o->codec->analyse(o->self, image, &s->progress));
    return o->codec->choose(o->self, image->width, image->height, s->quality, 1,
                            params);
}

tsr_error tsr_tokens_from_image(tsr_context *ctx, tsr_model *model,
                                const tsr_image_settings *settings,
                                const tsr_image *image, tsr_tokens *tokens)
{
    tsr_image_settings own;
    opened o;

    *tokens = (tsr_tokens){ .id = NULL };
    TSR_TRY(tsri_image_settings_take(ctx, &own, settings));
    TSR_TRY(tsri_image_check(ctx, image));
    tsr_error error = open_codec(&o, ctx, model);
    if (!error)
        error = from_image(&o, &own, image);
    if (!error)
        take(o.t, tokens);
    close_codec(&o, error);
    return error;
}

/* Allocates the picture that was asked for. */
static tsr_error make_image(const tsri_token_codec *t, tsr_image *image)
{
    if (image->width < 0 || image->height < 0 || image->width > t->width ||
        image->height > t->height)
        return tsri_fail(t->ctx, TSR_E_ARG, "%d x %d pixels are more than the "
                         "grid has", image->width, image->height);
    image->width = image->width ? image->width : t->width;
    image->height = image->height ? image->height : t->height;
    image->channels = image->channels ? image->channels : 3;
    image->bits = image->bits ? image->bits : 8;
    TSR_TRY(tsr_image_alloc(t->ctx, image));
    if (tsri_has_alpha(image->channels))
        tsri_alpha_opaque(image);
    return TSR_OK;
}

static tsr_error to_image(const opened *o, const tsr_tokens *tokens,
                          const tsr_progress *progress, tsr_image *image)
{
    tsri_token_codec *t = o->t;

    TSR_TRY(check(t, tokens, -1));
    TSR_TRY(tsri_token_grid_size(t, tokens->height, tokens->width,
                                 tokens->level));
    fill_grid(t, tokens);
    TSR_TRY(make_image(t, image));
    t->width = image->width;
    t->height = image->height;
    return tsri_image_show(t->ctx, o->codec, t, image, progress);
}

tsr_error tsr_tokens_to_image(tsr_context *ctx, tsr_model *model,
                              const tsr_progress *progress,
                              const tsr_tokens *tokens, tsr_image *image)
{
    opened o;

    image->data = NULL;
    tsr_error error = open_codec(&o, ctx, model);
    if (!error)
        error = to_image(&o, tokens, progress, image);
    close_codec(&o, error);
    if (error)
        tsr_image_free(ctx, image);
    return error;
}

/* ---- streams and tokens ---- */

static tsr_error read_grid(tsr_context *ctx, const tsri_image_read *r,
                           tsr_tokens *tokens)
{
    tsri_token_codec *t = tsri_token_of(r->head.codec, r->parts.self);

    if (!t)
        return unsupported(ctx, r->head.codec->id);
    take(t, tokens);
    return r->parts.damage;
}

tsr_error tsr_tokens_read(tsr_context *ctx, tsr_model *model,
                          const tsr_source *source, tsr_tokens *tokens,
                          int *width, int *height)
{
    tsri_image_read r;

    *tokens = (tsr_tokens){ .id = NULL };
    tsr_error error = tsri_image_read_open(&r, ctx, model, source);
    if (!error)
        error = read_grid(ctx, &r, tokens);
    if (width)
        *width = r.head.width;
    if (height)
        *height = r.head.height;
    tsri_image_read_close(&r);
    return error;
}

/* Tokens of a picture of this size, ready to be written. */
static tsr_error prepare(tsri_token_codec *t, const tsr_tokens *tokens,
                         int width, int height)
{
    TSR_TRY(check(t, tokens, 0));
    if (!width && !height)
        TSR_TRY(tsri_token_grid_size(t, tokens->height, tokens->width,
                                     tokens->level));
    else
        TSR_TRY(tsri_token_size(t, width, height, tokens->level));
    if (t->grid.height != tokens->height || t->grid.width != tokens->width)
        return tsri_fail(t->ctx, TSR_E_ARG, "%d x %d pixels are %d x %d tokens, "
                         "not %d x %d", width, height, t->grid.width,
                         t->grid.height, tokens->width, tokens->height);
    fill_grid(t, tokens);
    t->ready = true;
    return TSR_OK;
}

static tsr_error write_tokens(const opened *o, const tsr_model *model,
                              tsr_image_settings *s, const tsr_tokens *tokens,
                              int width, int height, const tsr_sink *sink)
{
    tsri_token_codec *t = o->t;

    TSR_TRY(prepare(t, tokens, width, height));
    const tsr_image image = { .width = t->width, .height = t->height,
                              .channels = 3, .bits = 8 };
    TSR_TRY(tsri_geometry_check(t->ctx, t->width, t->height, 3, 8));
    s->quality = tsri_token_quality(tsri_token_book_levels(t->book),
                                    tokens->level);
    return tsri_image_write(t->ctx, o->codec, t, model, s, &image, sink);
}

tsr_error tsr_tokens_write(tsr_context *ctx, tsr_model *model,
                           const tsr_image_settings *settings,
                           const tsr_tokens *tokens, int width, int height,
                           const tsr_sink *sink)
{
    tsr_image_settings own;
    opened o;

    TSR_TRY(tsri_image_settings_take(ctx, &own, settings));
    tsr_error error = open_codec(&o, ctx, model);
    if (!error)
        error = write_tokens(&o, model, &own, tokens, width, height, sink);
    close_codec(&o, error);
    return error;
}

void tsr_tokens_free(tsr_context *ctx, tsr_tokens *tokens)
{
    tsri_free(ctx, tokens->id);
    tokens->id = NULL;
}

/* ---- streams and streams ---- */

/* The settings: a negative quality is the stream's own. */
static tsr_error transcode_settings(tsri_token_codec *t,
                                    const tsr_image_settings *theirs,
                                    tsr_image_settings *own)
{
    tsr_image_settings given;
    const double same = tsri_token_quality(tsri_token_book_levels(t->book),
                                           t->level);

    tsr_image_settings_init(&given);
    given.quality = same;
    if (theirs)
        memcpy(&given, theirs, theirs->size < sizeof given ? theirs->size
                                                           : sizeof given);
    if (given.quality < 0)
        given.quality = same;
    given.size = sizeof given;
    return tsri_image_settings_take(t->ctx, own, &given);
}

static tsr_error write_again(tsr_context *ctx, tsri_image_read *r,
                             const tsr_image_settings *settings,
                             const tsr_sink *sink)
{
    const tsri_image_head *h = &r->head;
    tsri_token_codec *t = tsri_token_of(h->codec, r->parts.self);
    tsr_image_settings own;
    tsr_image image = r->image;

    if (!t)
        return unsupported(ctx, h->codec->id);
    if (r->parts.damage)
        return tsri_fail(ctx, r->parts.damage, "the stream is damaged: %s",
                         tsr_error_string(r->parts.damage));
    TSR_TRY(transcode_settings(t, settings, &own));
    image.width = h->width;
    image.height = h->height;
    image.channels = h->channels;
    image.bits = h->bits;
    t->ready = true;
    return tsri_image_write(ctx, h->codec, t, r->parts.model, &own, &image,
                            sink);
}

tsr_error tsr_image_transcode(tsr_context *ctx, tsr_model *model,
                              const tsr_image_settings *settings,
                              const tsr_source *source, const tsr_sink *sink)
{
    tsri_image_read r;

    tsr_error error = tsri_image_read_open(&r, ctx, model, source);
    if (!error)
        error = write_again(ctx, &r, settings, sink);
    tsri_image_read_close(&r);
    return error;
}
