/* SPDX-License-Identifier: BSD-2-Clause */
/* The models of adaptive coding, and how they learn. */
#include "entropy/adaptive_impl.h"
#include "entropy/rans_impl.h"

enum { BITS = TSRI_ADAPT_BITS };

/* ---- models ---- */

/* Of the symbols from i on: their counts, scaled so that all counts together
 * have 14 or 15 bits, and an eighth of one count for each of them. */
static uint32_t weight(const tsri_adapt_model *m, int i, int scale)
{
    const uint32_t symbols = (uint32_t)tsri_max(m->symbols - i, 0);
    return ((uint32_t)m->above[i] << scale) + (symbols << scale >> 3);
}

/* Adds up the counts, and halves them if they are many. */
static void settle(tsri_adapt_model *m)
{
    uint16_t sum = 0;

    for (int i = 15; i >= 0; i--) {
        sum = (uint16_t)(sum + m->fresh[i]);
        m->above[i] = (uint16_t)(m->above[i] + sum);
        m->fresh[i] = 0;
    }
    if (m->above[0] > m->limit)
        for (int i = 0; i < 16; i++)
            m->above[i] /= 2;
}

/* Frequencies from the counts. */
static void renew(tsri_adapt_model *m)
{
    settle(m);
    const int scale = BITS - 32 + __builtin_clz(m->above[0] | 1u);
    const uint32_t unit = (uint32_t)((1 << BITS) - m->symbols) << BITS;
    const uint32_t each = unit / weight(m, 0, scale);
    for (int i = 1; i < 16; i++) {
        const uint64_t slots = (uint64_t)weight(m, i, scale) * each >> BITS;
        m->last[i] = (int16_t)((1 << BITS) - 1 - tsri_max(m->symbols - i, 0) -
                               (int)slots);
    }
    m->left = (int16_t)tsri_clamp(m->above[0] / 16, 1, TSRI_ADAPT_MAX_WAIT);
}

void tsri_adapt_learn(tsri_adapt_model *const *models, const uint8_t *sym, int n)
{
    for (int i = 0; i < n; i++) {
        models[i]->fresh[sym[i]]++;
        models[i]->left--;
    }
    for (int i = 0; i < n; i++)
        if (models[i]->left <= 0)
            renew(models[i]);
}

/* A model that knows nothing. */
static void forget(tsri_adapt_model *m, int symbols, int memory)
{
    *m = (tsri_adapt_model){ .symbols = (uint16_t)symbols,
                             .limit = (uint16_t)(1 << memory) };
    m->last[0] = -1;
    m->last[16] = (1 << BITS) - 1;
    renew(m);
}

static void forget_set(const tsri_adapt_set *set)
{
    const int symbols = set->shape.symbols, memory = set->shape.memory;
    const size_t all = (size_t)set->shape.contexts * (size_t)set->models;

    if (set->models == 1)
        forget(set->model, symbols, memory);
    else
        forget(set->model, tsri_ceil_div(symbols, 16), memory);
    for (int i = 1; i < set->models; i++)
        forget(set->model + i, tsri_clamp(symbols - 16 * (i - 1), 1, 16), memory);
    for (size_t i = (size_t)set->models; i < all; i++)
        set->model[i] = set->model[i - (size_t)set->models];
}

/* ---- model sets ---- */

static int models_of(const tsri_adapt_shape *shape)
{
    return shape->symbols <= 16 ? 1 : 17;
}

/* All their models, 0 where a number is outside its limits. */
static size_t check_shapes(const tsri_adapt_shape *shape, int n)
{
    size_t models = 0;

    if (n < 1 || n > TSRI_ADAPT_MAX_SETS)
        return 0;
    for (int i = 0; i < n; i++, shape++) {
        if (shape->symbols < 1 || shape->symbols > 256 ||
            shape->contexts < 1 || shape->contexts > TSRI_ADAPT_MAX_MODELS ||
            shape->memory < TSRI_ADAPT_MIN_MEMORY ||
            shape->memory > TSRI_ADAPT_MAX_MEMORY)
            return 0;
        models += (size_t)shape->contexts * (size_t)models_of(shape);
    }
    return models <= TSRI_ADAPT_MAX_MODELS ? models : 0;
}

tsr_error tsri_adapt_sets_open(tsri_adapt_sets *s, tsr_context *ctx,
                           const tsri_adapt_shape *shape, int n)
{
    const size_t models = check_shapes(shape, n);
    tsri_adapt_model *model;

    if (!models)
        return TSR_E_ARG;
    model = tsri_alloc(ctx, models, sizeof *model);
    if (!model)
        return TSR_E_NOMEM;
    s->n = n;
    for (int i = 0; i < n; i++) {
        s->set[i] = (tsri_adapt_set){ shape[i], model, models_of(&shape[i]) };
        model += (size_t)shape[i].contexts * (size_t)s->set[i].models;
    }
    return TSR_OK;
}

void tsri_adapt_sets_forget(const tsri_adapt_sets *s)
{
    for (int i = 0; i < s->n; i++)
        forget_set(&s->set[i]);
}

bool tsri_adapt_fit(const tsri_adapt_sets *s, int set, const uint16_t *context,
                         size_t n, bool avx2)
{
    int most = 0;

    if (set < 0 || set >= s->n)
        return false;
    if (context)
        most = tsri_rans_largest(avx2, context, n);
    return most < s->set[set].shape.contexts;
}

void tsri_adapt_find(const tsri_adapt_set *set, const uint16_t *context,
                        int n, tsri_adapt_model **models)
{
    for (int i = 0; i < n; i++)
        models[i] = set->model + (context ? context[i] : 0) * (size_t)set->models;
}
