/* SPDX-License-Identifier: BSD-2-Clause */
/* Batches on a device: pictures of one size go through the networks together, and
 * their tokens are coded by themselves, in other lanes meanwhile. */
#include <pthread.h>
#include <string.h>
#include "codecs/groups.h"
#include "codecs/image/image.h"
#include "lib/cuda/device.h"

_Static_assert((int)TSRI_GROUP <= TSRI_IMAGE_GROUP, "a group is too large");

bool tsri_image_groups(const tsr_context *ctx, const tsri_image_codec *codec)
{
    return ctx->gpu && !tsri_cuda_has_pixels(ctx->gpu) && (!codec || codec->group);
}

/* ---- encoding ---- */

typedef struct encoding {
    const tsri_image_codec *codec;
    tsr_model *model;
    const tsr_image_settings *settings;
    const tsr_image *images;
    const tsr_sink *sinks;
    tsri_image_tokens **tokens; /* [count], once they are there */
} encoding;

static tsr_error ask_wide(tsr_context *ctx, const encoding *e, bool *wide)
{
    void *self;

    *wide = false;
    const tsr_error error = tsri_coder_open(&self, ctx, e->codec, e->model);
    if (!error)
        *wide = e->codec->group->wide(self);
    tsri_coder_close(&self, ctx, e->codec, e->model, !error);
    return error;
}

static tsr_error encode_alone(tsr_context *ctx, const encoding *e, size_t i,
                              const tsr_progress *progress)
{
    tsr_image_settings own = *e->settings;

    own.progress = *progress;
    return tsr_image_encode(ctx, e->model, &own, &e->images[i], &e->sinks[i]);
}

/* The first picture of its size is the key. */
static tsr_error compare_size(void *cookie, tsr_context *ctx, size_t i,
                              const tsr_progress *progress, int *key)
{
    const encoding *e = cookie;
    size_t same = 0;
    bool wide;

    TSR_TRY(tsri_image_check(ctx, &e->images[i]));
    TSR_TRY(ask_wide(ctx, e, &wide));
    if (!wide)
        return encode_alone(ctx, e, i, progress);
    while (e->images[same].width != e->images[i].width ||
           e->images[same].height != e->images[i].height)
        same++;
    *key = (int)same;
    return TSR_OK;
}

/* Pictures that do not fit together are looked at by halves. */
static tsr_error look(const encoding *e, void *self, const size_t *pieces, int n)
{
    const tsr_image *images[TSRI_GROUP];
    tsri_image_tokens *tokens[TSRI_GROUP];
    bool done = false;

    for (int k = 0; k < n; k++)
        images[k] = &e->images[pieces[k]];
    const tsr_error error = e->codec->group->look(self, n, images, tokens, &done);
    if (n > 1 && ((!error && !done) || error == TSR_E_NOMEM)) {
        TSR_TRY(look(e, self, pieces, n / 2));
        return look(e, self, pieces + n / 2, n - n / 2);
    }
    for (int k = 0; !error && done && k < n; k++)
        e->tokens[pieces[k]] = tokens[k];
    return error;
}

static void look_at_group(void *cookie, tsr_context *ctx, const size_t *pieces,
                          int n, tsr_error *errors)
{
    const encoding *e = cookie;
    void *self;

    tsr_error error = tsri_coder_open(&self, ctx, e->codec, e->model);
    if (!error)
        error = look(e, self, pieces, n);
    tsri_coder_close(&self, ctx, e->codec, e->model, !error);
    for (int k = 0; k < n; k++)
        errors[k] = error;
}

/* One that did not fit even by itself is encoded as it would be by itself. */
static tsr_error write_tokens(void *cookie, tsr_context *ctx, size_t i,
                              const tsr_progress *progress)
{
    const encoding *e = cookie;
    tsr_image_settings own = *e->settings;
    void *self;

    own.progress = *progress;
    if (!e->tokens[i])
        return encode_alone(ctx, e, i, progress);
    tsr_error error = tsri_coder_open(&self, ctx, e->codec, e->model);
    if (!error)
        error = e->codec->group->give(self, &e->tokens[i]);
    if (!error)
        error = tsri_image_write(ctx, e->codec, self, e->model, &own, &e->images[i],
                                 &e->sinks[i]);
    tsri_coder_close(&self, ctx, e->codec, e->model, !error);
    return error;
}

tsr_error tsri_image_encode_groups(tsr_context *ctx, const tsri_image_codec *codec,
                                   tsr_model *model,
                                   const tsr_image_settings *settings, size_t count,
                                   const tsr_image *images, const tsr_sink *sinks,
                                   tsr_error *errors)
{
    static const tsri_groups_work work = { compare_size, look_at_group,
                                           write_tokens };
    encoding e = { codec, model, settings, images, sinks,
                   tsri_calloc(ctx, count, sizeof *e.tokens) };

    if (!e.tokens)
        return tsri_nomem(ctx);
    const tsr_error error = tsri_groups_run(ctx, tsri_lanes(ctx, count), count,
                                            &work, &e, &settings->progress, errors);
    for (size_t i = 0; i < count; i++)
        codec->group->drop(ctx, &e.tokens[i]);
    tsri_free(ctx, e.tokens);
    return error;
}

/* ---- decoding ---- */

/* A stream that was read. */
typedef struct reading {
    tsri_image_head head;
    tsri_image_parts parts;     /* without the codec, which others go on with */
    int kind;                   /* of the tokens */
    tsri_image_tokens *tokens;
} reading;

typedef struct decoding {
    tsr_model *given;
    const tsr_source *sources;
    tsr_image *images;
    reading *readings;          /* [count] */
    pthread_mutex_t lock;
    size_t *keys;               /* pieces, one of each key */
    size_t count;
} decoding;

static bool alike(const reading *a, const reading *b)
{
    return a->head.width == b->head.width && a->head.height == b->head.height &&
           a->kind == b->kind &&
           !memcmp(tsr_model_hash(a->parts.model), tsr_model_hash(b->parts.model),
                   TSR_MODEL_HASH_BYTES);
}

static int find_key(decoding *d, size_t i)
{
    size_t key = 0;

    pthread_mutex_lock(&d->lock);
    while (key < d->count && !alike(&d->readings[d->keys[key]], &d->readings[i]))
        key++;
    if (key == d->count)
        d->keys[d->count++] = i;
    pthread_mutex_unlock(&d->lock);
    return (int)key;
}

/* All of a picture that goes with no other. */
static tsr_error show_alone(tsri_image_read *read, tsr_image *image,
                            const tsr_progress *progress)
{
    tsri_image_parts *p = &read->parts;
    tsr_error error = TSR_OK;

    *image = read->image;
    read->image = (tsr_image){ 0 };
    if (!image->data)
        error = tsri_image_make(p->ctx, &read->head, image);
    if (!error)
        error = tsri_parts_pixels(p, image, progress);
    if (error)
        tsr_image_free(p->ctx, image);
    return error ? error : p->damage;
}

/* Tokens to be shown with others'; *done false: that cannot be. */
static tsr_error take_tokens(tsri_image_read *read, reading *r, bool *done)
{
    tsri_image_parts *p = &read->parts;
    const tsri_image_group *group = p->codec->group;

    *done = false;
    if (!group || read->image.data || !group->wide(p->self))
        return TSR_OK;
    TSR_TRY(group->take(p->self, &r->tokens));
    if (r->tokens->kind < 0)
        return group->give(p->self, &r->tokens);
    *done = true;
    r->head = read->head;
    r->kind = r->tokens->kind;
    r->parts = *p;
    r->parts.self = NULL;
    r->parts.seen = NULL;
    r->parts.model = tsr_model_ref(p->model);
    return TSR_OK;
}

static tsr_error read_tokens(void *cookie, tsr_context *ctx, size_t i,
                             const tsr_progress *progress, int *key)
{
    decoding *d = cookie;
    tsri_image_read read;
    bool taken = false;

    tsr_error error = tsri_image_read_open(&read, ctx, d->given, &d->sources[i]);
    if (!error)
        error = take_tokens(&read, &d->readings[i], &taken);
    if (!error && !taken)
        error = show_alone(&read, &d->images[i], progress);
    tsr_image_free(ctx, &read.image);
    tsri_parts_close(&read.parts, taken || d->images[i].data);
    if (taken)
        *key = find_key(d, i);
    return error;
}

static tsr_error show_one(const decoding *d, void *self, size_t i)
{
    const tsri_image_parts *p = &d->readings[i].parts;

    TSR_TRY(p->codec->group->give(self, &d->readings[i].tokens));
    return tsri_image_show(p->ctx, p->codec, self, &d->images[i], NULL);
}

static tsr_error show(const decoding *d, void *self, const size_t *pieces, int n)
{
    const tsri_image_group *group = d->readings[pieces[0]].parts.codec->group;
    const tsr_image *images[TSRI_GROUP];
    tsri_image_tokens *tokens[TSRI_GROUP];
    bool done = false;

    for (int k = 0; k < n; k++) {
        images[k] = &d->images[pieces[k]];
        tokens[k] = d->readings[pieces[k]].tokens;
    }
    const tsr_error error = group->show(self, n, tokens, images, &done);
    if (n > 1 && ((!error && !done) || error == TSR_E_NOMEM)) {
        TSR_TRY(show(d, self, pieces, n / 2));
        return show(d, self, pieces + n / 2, n - n / 2);
    }
    return error || done ? error : show_one(d, self, pieces[0]);
}

static void show_group(void *cookie, tsr_context *ctx, const size_t *pieces, int n,
                       tsr_error *errors)
{
    decoding *d = cookie;
    const reading *first = &d->readings[pieces[0]];
    void *self = NULL;
    tsr_error error = TSR_OK;

    for (int k = 0; k < n; k++) {
        reading *r = &d->readings[pieces[k]];
        r->parts.ctx = ctx;
        if (!error)
            error = tsri_image_make(ctx, &r->head, &d->images[pieces[k]]);
    }
    if (!error)
        error = tsri_coder_open(&self, ctx, first->parts.codec, first->parts.model);
    if (!error)
        error = show(d, self, pieces, n);
    tsri_coder_close(&self, ctx, first->parts.codec, first->parts.model, !error);
    for (int k = 0; k < n; k++) {
        const reading *r = &d->readings[pieces[k]];
        if (error)
            tsr_image_free(ctx, &d->images[pieces[k]]);
        else
            tsri_parts_tell(&r->parts);
        errors[k] = error ? error : r->parts.damage;
    }
}

static void drop_readings(decoding *d, tsr_context *ctx, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        reading *r = &d->readings[i];
        if (r->tokens)
            r->parts.codec->group->drop(ctx, &r->tokens);
        tsr_model_unref(&r->parts.model);
    }
}

tsr_error tsri_image_decode_groups(tsr_context *ctx, tsr_model *model,
                                   const tsr_progress *progress, size_t count,
                                   const tsr_source *sources, tsr_image *images,
                                   tsr_error *errors)
{
    static const tsri_groups_work work = { read_tokens, show_group, NULL };
    decoding d = { .given = model, .sources = sources, .images = images,
                   .readings = tsri_calloc(ctx, count, sizeof *d.readings),
                   .keys = tsri_alloc(ctx, count, sizeof *d.keys) };
    tsr_error error = d.readings && d.keys ? TSR_OK : tsri_nomem(ctx);

    if (!error) {
        pthread_mutex_init(&d.lock, NULL);
        error = tsri_groups_run(ctx, tsri_lanes(ctx, count), count, &work, &d,
                                progress, errors);
        pthread_mutex_destroy(&d.lock);
        drop_readings(&d, ctx, count);
    }
    tsri_free(ctx, d.keys);
    tsri_free(ctx, d.readings);
    return error;
}
