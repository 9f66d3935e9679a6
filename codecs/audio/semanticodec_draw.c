/* SPDX-License-Identifier: BSD-2-Clause */
/* A window of tokens to sound. */
#include <math.h>
#include <string.h>
#include "codecs/audio/semanticodec_decode.h"
#include "lib/weights.h"

enum { PLACES = 192, GUIDANCE_ONE = 256, GUIDANCE_MAX = 64 * GUIDANCE_ONE };
static const char sampler[] = TSRI_SEMANTICODEC_SAMPLER;

bool tsri_semanticodec_decodes(const tsri_semanticodec *c)
{
    return tsr_model_tensor(c->model, sampler) != NULL;
}

/* What tells positions apart. */
static void put_places(const tsri_semanticodec_nets *n, float *condition)
{
    for (int p = 0; p < n->codec->positions; p++) {
        float *to = condition + (size_t)(p + 1) * (size_t)n->context - PLACES;
        for (int i = 0; i < PLACES; i += 2) {
            const double angle = p * exp(-log(10000) * i / PLACES);
            to[i] = (float)sin(angle);
            to[i + 1] = (float)cos(angle);
        }
    }
}

static tsr_error read_sampler(const tsri_semanticodec *c, int *steps,
                              float *guidance)
{
    const uint64_t dims[] = { 2 };
    const tsr_tensor *t;
    int32_t *v;

    TSR_TRY(tsri_want(c->ctx, c->model, &t, 1, dims, "%s", sampler));
    TSR_TRY(tsri_tensor_ints(c->ctx, t, &v));
    *steps = v[0];
    *guidance = (float)v[1] / GUIDANCE_ONE;
    const bool good = v[0] >= 1 && v[0] <= TSRI_DIFFUSION_TIMES &&
                      TSRI_DIFFUSION_TIMES % v[0] == 0 && v[1] >= 0 &&
                      v[1] <= GUIDANCE_MAX;
    tsri_free(c->ctx, v);
    return good ? TSR_OK
                : tsri_fail(c->ctx, TSR_E_SHAPE, "%s: '%s' is not possible",
                            tsr_model_path(c->model), sampler);
}

/* The acoustic words, and what latents were divided by when the UNet was trained. */
static tsr_error read_numbers(tsri_semanticodec_nets *n)
{
    const tsri_semanticodec *c = n->codec;
    const uint64_t one[] = { 1 };
    tsri_loader load = { .ctx = c->ctx, .model = c->model };
    const tsr_tensor *book = tsr_model_tensor(c->model, "quantizer._codebook.embed");
    const float *words = tsri_loader_floats(&load, 3, book->dims, "%s", book->name);
    const float *scale = tsri_loader_floats(&load, 1, one, "scale_factor");

    if (!load.error && !(fabsf(*scale) > 1e-6f))
        tsri_loader_bad(&load, "scale_factor");
    if (!load.error) {
        const size_t count = tsri_tensor_count(book);
        n->scale = *scale;
        n->words = tsri_alloc(c->ctx, count, sizeof *words);
        if (n->words)
            memcpy(n->words, words, count * sizeof *words);
        else
            load.error = tsri_nomem(c->ctx);
    }
    tsri_loader_drop(&load);
    return load.error;
}

tsr_error tsri_semanticodec_nets_open(tsri_semanticodec_nets *n,
                                      const tsri_semanticodec *c)
{
    const size_t positions = (size_t)c->positions;
    int steps;
    float guidance;

    *n = (tsri_semanticodec_nets){ .codec = c, .context = 2 * c->dim + PLACES };
    TSR_TRY(read_sampler(c, &steps, &guidance));
    TSR_TRY(read_numbers(n));
    TSR_TRY(tsri_latent_open(&n->latent, c->ctx, c->model));
    const tsri_latent *l = &n->latent;
    const int rows = c->vit.frames / l->times;
    n->condition = tsri_calloc(c->ctx, positions,
                               (size_t)n->context * sizeof *n->condition);
    n->bands = tsri_alloc(c->ctx, (size_t)c->vit.frames,
                          (size_t)l->mel * sizeof *n->bands);
    n->z = tsri_alloc(c->ctx, (size_t)(rows * l->wide),
                      (size_t)l->channels * sizeof *n->z);
    if (!n->condition || !n->bands || !n->z)
        return tsri_nomem(c->ctx);
    put_places(n, n->condition);
    TSR_TRY(tsri_diffusion_open(&n->diffusion, c->ctx, c->model, rows, l->wide,
                                c->positions, n->context, n->condition, steps,
                                guidance));
    if (tsri_unet_channels(n->diffusion.unet) != l->channels ||
        c->vit.frames % l->times)
        return tsri_fail(c->ctx, TSR_E_SHAPE, "%s: 'first_stage_model' does not "
                         "fit the UNet", tsr_model_path(c->model));
    return TSR_OK;
}

void tsri_semanticodec_nets_close(tsri_semanticodec_nets *n)
{
    if (!n->codec)
        return;
    tsr_context *ctx = n->codec->ctx;
    tsri_diffusion_close(&n->diffusion);
    tsri_latent_close(&n->latent);
    tsri_free(ctx, n->words);
    tsri_free(ctx, n->condition);
    tsri_free(ctx, n->z);
    tsri_free(ctx, n->bands);
    *n = (tsri_semanticodec_nets){ 0 };
}

/* Acoustic and semantic words beside each other; -1 where there are no tokens. */
static void put_tokens(tsri_semanticodec_nets *n, const uint16_t *tokens,
                       int count)
{
    const size_t dim = (size_t)n->codec->dim;

    for (int p = 0; p < n->codec->positions; p++) {
        float *to = n->condition + (size_t)p * (size_t)n->context;
        if (p < count) {
            memcpy(to, n->words + tokens[2 * p + 1] * dim, dim * sizeof *to);
            memcpy(to + dim, n->codec->centroid + tokens[2 * p] * dim,
                   dim * sizeof *to);
        }
        for (size_t i = 0; p >= count && i < 2 * dim; i++)
            to[i] = -1;
    }
}

tsr_error tsri_semanticodec_draw(tsri_semanticodec_nets *n,
                                 const uint16_t *tokens, int count, uint32_t seed,
                                 uint64_t window, float *x)
{
    const tsri_semanticodec *c = n->codec;
    const int rows = n->diffusion.rows;
    const size_t floats = (size_t)rows * (size_t)n->latent.wide *
                          (size_t)n->latent.channels;

    put_tokens(n, tokens, count);
    TSR_TRY(tsri_diffusion_run(&n->diffusion, n->condition, seed, window, n->z));
    for (size_t i = 0; i < floats; i++)
        n->z[i] /= n->scale;
    TSR_TRY(tsri_latent_bands(&n->latent, n->z, rows, n->bands));
    return tsri_latent_sound(&n->latent, n->bands, c->vit.frames, x, c->window);
}
