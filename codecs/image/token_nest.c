/* SPDX-License-Identifier: BSD-2-Clause */
/* A model and the tokens of pictures to a model with frequencies, nested
 * codebooks and a context. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <tessera/tokens.h>
#include "codecs/image/token.h"
#include "codecs/image/token_nest.h"
#include "lib/bytes.h"
#include "lib/model_write.h"

enum { FOLDS = 5, TREE = 0, CONTEXT = 1, STEPS = 2, NAME_BYTES = 48 };

/* One for order, frequency, bias and weight, two for a level. */
enum { MADE = 4 + 2 * TSRI_TOKEN_LEVELS };

static const char *const ours[] = {
    "tessera.order", "tessera.frequency", "tessera.level.", "tessera.context.",
    "tessera.fill."
};

typedef struct work {
    tsr_context *ctx;
    tsr_model *model;
    tsr_tokens_nest_settings set;
    tsri_nest nest;
    tsri_nest_grid *fitted, *held;  /* one array; the second part is held back */
    size_t nfitted, nheld;
    int step;                       /* of the progress */
    tsr_tensor *tensors;            /* of the file */
    size_t ntensors;
    char name[MADE][NAME_BYTES];
    void *data[MADE];               /* of the tensors made here */
    int made;
} work;

void tsr_tokens_nest_settings_init(tsr_tokens_nest_settings *settings)
{
    *settings = (tsr_tokens_nest_settings){
        .size = sizeof *settings, .levels = 4,
        .codes = { 16384, 4096, 1024, 256 }, .seed = 1
    };
}

/* ---- what is given ---- */

static tsr_error check_settings(tsr_context *ctx,
                                const tsr_tokens_nest_settings *s)
{
    if (s->levels < 0 || s->levels >= TSR_TOKENS_LEVELS)
        return tsri_fail(ctx, TSR_E_ARG, "%d coarser levels; %d at most",
                         s->levels, TSR_TOKENS_LEVELS - 1);
    for (int j = 0; j < s->levels; j++)
        if (s->codes[j] < 1 || (j && s->codes[j] >= s->codes[j - 1]))
            return tsri_fail(ctx, TSR_E_ARG, "levels of %d clusters: each must "
                             "have fewer than the one before", s->codes[j]);
    return TSR_OK;
}

static tsr_error check_tokens(tsr_context *ctx, const tsr_tokens *t, int codes,
                              size_t number)
{
    if (t->level || t->codes != codes || t->height < 1 || t->width < 1)
        return tsri_fail(ctx, TSR_E_ARG, "tokens of picture %zu are not of the "
                         "model's finest level", number);
    for (int y = 0; y < t->height; y++)
        for (int x = 0; x < t->width; x++) {
            const int32_t id = t->id[(size_t)y * (size_t)t->width + (size_t)x];
            if (id < 0 || id >= codes)
                return tsri_fail(ctx, TSR_E_ARG, "picture %zu, row %d, column "
                                 "%d: no id below %d", number, y, x, codes);
        }
    return TSR_OK;
}

/* Every fifth picture is held back; of fewer than five none. */
static tsr_error take_grids(work *w, const tsr_tokens *tokens, size_t n)
{
    w->fitted = tsri_alloc(w->ctx, n, sizeof *w->fitted);
    if (!w->fitted)
        return tsri_nomem(w->ctx);
    for (size_t i = 0; i < n; i++)
        TSR_TRY(check_tokens(w->ctx, &tokens[i], w->nest.codes, i));
    for (int held = 0; held < 2; held++)
        for (size_t i = 0; i < n; i++) {
            if (held != (i % FOLDS == FOLDS - 1))
                continue;
            w->fitted[w->nfitted + w->nheld] = (tsri_nest_grid){
                tokens[i].id, tokens[i].height, tokens[i].width };
            *(held ? &w->nheld : &w->nfitted) += 1;
        }
    w->held = w->fitted + w->nfitted;
    return TSR_OK;
}

/* ---- the work ---- */

static int hook(void *cookie, double done)
{
    const work *w = cookie;
    const tsr_progress *p = &w->set.progress;

    return p->report(p->cookie, (w->step + done) / STEPS);
}

static tsr_error weigh(work *w)
{
    uint64_t *counts = tsri_calloc(w->ctx, (size_t)w->nest.codes,
                                   sizeof *counts);
    tsr_error error;

    if (!counts)
        return tsri_nomem(w->ctx);
    for (size_t i = 0; i < w->nfitted; i++) {
        const tsri_nest_grid *g = &w->fitted[i];
        for (size_t k = 0; k < tsri_nest_tokens(g, 1); k++)
            counts[g->id[k]]++;
    }
    error = tsri_nest_weigh(&w->nest, counts);
    tsri_free(w->ctx, counts);
    return error;
}

/* Levels that would not be smaller than the codebook are left out. */
static tsr_error make(work *w)
{
    const tsr_progress progress = { w, w->set.progress.report ? hook : NULL };
    const int *sizes = w->set.codes;
    int n = w->set.levels;

    while (n && *sizes >= w->nest.codes) {
        sizes++;
        n--;
    }
    TSR_TRY(weigh(w));
    w->step = TREE;
    TSR_TRY(tsri_nest_tree(&w->nest, sizes, n, w->set.seed, &progress));
    w->step = CONTEXT;
    return tsri_nest_context(&w->nest, w->fitted, w->nfitted, &progress);
}

static tsr_error report(const work *w, tsr_tokens_nest_result *r)
{
    const tsri_nest *n = &w->nest;
    const bool held = w->nheld > 0;

    *r = (tsr_tokens_nest_result){ .levels = n->levels,
                                   .context = n->context != NULL };
    r->fitted = tsri_nest_tokens(w->fitted, w->nfitted);
    r->held = tsri_nest_tokens(w->held, w->nheld);
    for (int j = 0; j < n->levels; j++) {
        r->codes[j] = n->size[j];
        r->fixed_bits[j] = log2(n->size[j]);
    }
    return tsri_nest_price(n, held ? w->held : w->fitted,
                           held ? w->nheld : w->nfitted, r->frequency_bits,
                           r->context_bits);
}

/* ---- the file ---- */

static bool is_ours(const char *name)
{
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++) {
        const size_t n = strlen(ours[i]);
        if (!strncmp(name, ours[i], ours[i][n - 1] == '.' ? n : n + 1))
            return true;
    }
    return false;
}

/* Adds a tensor; the caller sets its name and data. */
static tsr_tensor *add(work *w, tsr_dtype dtype, int rank, size_t d0, size_t d1,
                       size_t d2)
{
    const size_t dims[] = { d0, d1, d2 };
    tsr_tensor *t = &w->tensors[w->ntensors];

    *t = (tsr_tensor){ .dtype = dtype, .rank = rank,
                       .bytes = tsr_dtype_bytes(dtype) };
    for (int i = 0; i < rank; i++) {
        t->dims[i] = dims[i];
        t->bytes *= dims[i];
    }
    w->data[w->made] = tsri_alloc(w->ctx, t->bytes, 1);
    if (!w->data[w->made])
        return NULL;
    t->name = w->name[w->made];
    t->data = w->data[w->made++];
    w->ntensors++;
    return t;
}

static char *name_of(const work *w)
{
    return (char *)w->name[w->made - 1];
}

static tsr_error add_words(work *w, const char *name, const int32_t *x, int n)
{
    if (!add(w, TSR_I32, 1, (size_t)n, 0, 0))
        return tsri_nomem(w->ctx);
    snprintf(name_of(w), NAME_BYTES, "%s", name);
    for (int i = 0; i < n; i++)
        tsri_put32((uint8_t *)w->data[w->made - 1] + 4 * (size_t)i,
                   (uint32_t)x[i]);
    return TSR_OK;
}

static void put_float(uint8_t *to, float x)
{
    uint32_t bits;

    memcpy(&bits, &x, sizeof bits);
    tsri_put32(to, bits);
}

static tsr_error add_level(work *w, int j)
{
    const size_t n = (size_t)w->nest.size[j], dim = (size_t)w->nest.dim;
    char name[NAME_BYTES];

    snprintf(name, sizeof name, "tessera.level.%d.start", j);
    TSR_TRY(add_words(w, name, w->nest.start[j], w->nest.size[j]));
    if (!add(w, TSR_F32, 2, n, dim, 0))
        return tsri_nomem(w->ctx);
    snprintf(name_of(w), NAME_BYTES, "tessera.level.%d.codewords", j);
    for (size_t i = 0; i < n * dim; i++)
        put_float((uint8_t *)w->data[w->made - 1] + 4 * i,
                  w->nest.centre[j][i]);
    return TSR_OK;
}

static tsr_error add_context(work *w)
{
    const size_t n = (size_t)w->nest.size[w->nest.levels - 1];

    if (!add(w, TSR_I16, 1, n, 0, 0))
        return tsri_nomem(w->ctx);
    snprintf(name_of(w), NAME_BYTES, "tessera.context.bias");
    for (size_t i = 0; i < n; i++)
        tsri_put16((uint8_t *)w->data[w->made - 1] + 2 * i,
                   (uint16_t)w->nest.bias[i]);
    if (!add(w, TSR_I8, 3, TSRI_TOKEN_NEIGHBOURS, n + 1, n))
        return tsri_nomem(w->ctx);
    snprintf(name_of(w), NAME_BYTES, "tessera.context.weight");
    memcpy(w->data[w->made - 1], w->nest.context,
           TSRI_TOKEN_NEIGHBOURS * (n + 1) * n);
    return TSR_OK;
}

static tsr_error gather(work *w)
{
    const size_t n = tsr_model_tensor_count(w->model);

    w->tensors = tsri_alloc(w->ctx, n + MADE, sizeof *w->tensors);
    if (!w->tensors)
        return tsri_nomem(w->ctx);
    for (size_t i = 0; i < n; i++) {
        const tsr_tensor *t = tsr_model_tensor_at(w->model, i);
        if (!is_ours(t->name))
            w->tensors[w->ntensors++] = *t;
    }
    TSR_TRY(add_words(w, "tessera.order", w->nest.place, w->nest.codes));
    TSR_TRY(add_words(w, "tessera.frequency", w->nest.weight, w->nest.codes));
    for (int j = 1; j < w->nest.levels; j++)
        TSR_TRY(add_level(w, j));
    return w->nest.context ? add_context(w) : TSR_OK;
}

static void drop(work *w)
{
    tsri_nest_close(&w->nest);
    tsri_free(w->ctx, w->fitted);
    tsri_free(w->ctx, w->tensors);
    for (int i = 0; i < w->made; i++)
        tsri_free(w->ctx, w->data[i]);
}

static tsr_error run(work *w, const tsri_token_codec *codec,
                     const tsr_tokens *tokens, size_t n, const tsr_sink *sink,
                     tsr_tokens_nest_result *result)
{
    tsr_tokens_nest_result r;

    w->nest = (tsri_nest){ .ctx = w->ctx, .codes = codec->codes,
                           .dim = codec->shape.dim, .words = codec->words,
                           .levels = 1 };
    TSR_TRY(take_grids(w, tokens, n));
    TSR_TRY(make(w));
    TSR_TRY(report(w, &r));
    TSR_TRY(gather(w));
    TSR_TRY(tsri_model_write(w->ctx, w->model, w->tensors, w->ntensors, sink));
    if (result)
        *result = r;
    return TSR_OK;
}

tsr_error tsr_tokens_nest(tsr_context *ctx, tsr_model *model,
                          const tsr_tokens_nest_settings *settings,
                          const tsr_tokens *tokens, size_t n,
                          const tsr_sink *sink, tsr_tokens_nest_result *result)
{
    const tsri_image_codec *codec =
        tsri_image_codec_by_id(tsr_model_codec(model));
    work w = { .ctx = ctx, .model = model };
    void *self;
    tsr_error error;

    tsr_tokens_nest_settings_init(&w.set);
    if (settings)
        memcpy(&w.set, settings, settings->size < sizeof w.set ? settings->size
                                                               : sizeof w.set);
    TSR_TRY(check_settings(ctx, &w.set));
    if (!n)
        return tsri_fail(ctx, TSR_E_ARG, "no pictures");
    if (!codec || !tsri_token_family_of(codec->id))
        return tsri_fail(ctx, TSR_E_UNSUPPORTED, "%s: not a model of pictures of "
                         "tokens", tsr_model_path(model));
    TSR_TRY(codec->open(&self, ctx, model));
    error = run(&w, tsri_token_of(codec, self), tokens, n, sink, result);
    drop(&w);
    codec->close(&self);
    return error;
}
