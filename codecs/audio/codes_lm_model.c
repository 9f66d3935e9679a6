/* SPDX-License-Identifier: BSD-2-Clause */
/* The tensors codes.lm.*, and the proof that no sum overflows. */
#include <stdarg.h>
#include <stdio.h>
#include "codecs/audio/codes_lm.h"
#include "lib/weights.h"

typedef struct loader {
    tsr_context *ctx;
    const tsr_model *model;
} loader;

static int padded(int n)
{
    return (n + 15) & ~15;
}

/* A tensor as int32: *n elements; the caller frees it. */
__attribute__((format(printf, 5, 6)))
static tsr_error get(const loader *l, int rank, const uint64_t *dims,
                     int32_t **out, const char *name, ...)
{
    const tsr_tensor *t;
    char text[96];
    va_list args;

    va_start(args, name);
    vsnprintf(text, sizeof text, name, args);
    va_end(args);
    TSR_TRY(tsri_want(l->ctx, l->model, &t, rank, dims, "%s", text));
    return tsri_tensor_ints(l->ctx, t, out);
}

static tsr_error get_number(const loader *l, const char *name, int least,
                            int most, int *out)
{
    int32_t *v;

    TSR_TRY(get(l, 1, (uint64_t[]){ 1 }, &v, "%s", name));
    *out = v[0];
    tsri_free(l->ctx, v);
    return *out >= least && *out <= most ? TSR_OK
        : tsri_fail(l->ctx, TSR_E_CORRUPT, "%s is %d", name, *out);
}

/* n values that fit int16, in rows of `each` that take `stride`. */
static tsr_error narrow(const loader *l, int32_t *from, size_t rows, int each,
                        int stride, const char *name, int16_t **out)
{
    bool fits = true;

    *out = tsri_calloc(l->ctx, rows, (size_t)stride * sizeof **out);
    for (size_t i = 0; *out && i < rows; i++)
        for (int j = 0; j < each; j++) {
            const int32_t v = from[i * (size_t)each + (size_t)j];
            fits &= v >= INT16_MIN && v <= INT16_MAX;
            (*out)[i * (size_t)stride + (size_t)j] = (int16_t)v;
        }
    tsri_free(l->ctx, from);
    if (!*out)
        return tsri_nomem(l->ctx);
    return fits ? TSR_OK : tsri_fail(l->ctx, TSR_E_CORRUPT,
                                     "%s has values above 16 bits", name);
}

static tsr_error get_narrow(const loader *l, int rank, const uint64_t *dims,
                            const char *name, int16_t **out)
{
    int32_t *wide;
    size_t rows = 1;

    for (int i = 0; i < rank - 1; i++)
        rows *= (size_t)dims[i];
    TSR_TRY(get(l, rank, dims, &wide, "%s", name));
    return narrow(l, wide, rows, (int)dims[rank - 1], (int)dims[rank - 1], name,
                  out);
}

static uint32_t magnitude(int32_t v)
{
    return v < 0 ? 0 - (uint32_t)v : (uint32_t)v;
}

/* Adds the rounding term to biases, if no sum with inputs up to `limit` can
 * overflow. */
static tsr_error prove(const loader *l, const int16_t *weight, int out, int each,
                       int limit, int shift, int32_t *bias, const char *name)
{
    const uint32_t half = 1u << (shift - 1);

    for (int i = 0; i < out; i++) {
        uint64_t most = (uint64_t)magnitude(bias[i]) + half;
        for (int j = 0; j < each; j++)
            most += (uint64_t)limit *
                    magnitude(weight[(size_t)i * (size_t)each + (size_t)j]);
        if (most > INT32_MAX)
            return tsri_fail(l->ctx, TSR_E_CORRUPT, "%s may overflow", name);
        bias[i] += (int32_t)half;
    }
    return TSR_OK;
}

__attribute__((format(printf, 6, 7)))
static tsr_error get_linear(const loader *l, tsri_lm_linear *to, int in, int out,
                            int limit, const char *format, ...)
{
    char name[64], part[96];
    int32_t *wide;
    va_list args;

    va_start(args, format);
    vsnprintf(name, sizeof name, format, args);
    va_end(args);
    *to = (tsri_lm_linear){ .in = in, .out = out, .stride = padded(in) };
    TSR_TRY(get(l, 2, (uint64_t[]){ (uint64_t)out, (uint64_t)in }, &wide,
                "%s.weight", name));
    TSR_TRY(narrow(l, wide, (size_t)out, in, to->stride, name, &to->weight));
    TSR_TRY(get(l, 1, (uint64_t[]){ (uint64_t)out }, &to->bias, "%s.bias", name));
    snprintf(part, sizeof part, "%s.shift", name);
    TSR_TRY(get_number(l, part, 1, 30, &to->shift));
    return prove(l, to->weight, out, to->stride, limit, to->shift, to->bias, name);
}

__attribute__((format(printf, 4, 5)))
static tsr_error get_norm(const loader *l, tsri_lm_norm *to, int dim,
                          const char *format, ...)
{
    const uint64_t dims = (uint64_t)dim;
    char name[64], part[96];
    int32_t *wide;
    va_list args;

    va_start(args, format);
    vsnprintf(name, sizeof name, format, args);
    va_end(args);
    TSR_TRY(get(l, 1, &dims, &wide, "%s.gain", name));
    TSR_TRY(narrow(l, wide, 1, dim, dim, name, &to->gain));
    TSR_TRY(get(l, 1, &dims, &to->bias, "%s.bias", name));
    snprintf(part, sizeof part, "%s.shift", name);
    TSR_TRY(get_number(l, part, 1, 30, &to->shift));
    return prove(l, to->gain, dim, 1, INT16_MAX, to->shift, to->bias, name);
}

static tsr_error get_layer(const loader *l, const tsri_codes_lm *m, int i)
{
    tsri_lm_layer *y = &m->layer[i];
    const int d = m->dim, limit = TSRI_LM_STATE;
    char name[64];

    TSR_TRY(get_linear(l, &y->query, d, d, limit, "codes.lm.%d.query", i));
    TSR_TRY(get_linear(l, &y->key, d, d, limit, "codes.lm.%d.key", i));
    TSR_TRY(get_linear(l, &y->value, d, d, limit, "codes.lm.%d.value", i));
    TSR_TRY(get_linear(l, &y->out, d, d, limit, "codes.lm.%d.out", i));
    TSR_TRY(get_linear(l, &y->up, d, 4 * d, limit, "codes.lm.%d.up", i));
    TSR_TRY(get_linear(l, &y->down, 4 * d, d, TSRI_LM_HIDDEN, "codes.lm.%d.down",
                       i));
    TSR_TRY(get_norm(l, &y->norm1, d, "codes.lm.%d.norm1", i));
    TSR_TRY(get_norm(l, &y->norm2, d, "codes.lm.%d.norm2", i));
    snprintf(name, sizeof name, "codes.lm.%d.score.shift", i);
    return get_number(l, name, 0, 30, &y->score_shift);
}

/* The curves, whose values may be anything but for exp2[0]. */
static tsr_error get_curves(const loader *l, tsri_codes_lm *m)
{
    static const struct { const char *name; uint64_t n; } want[3] = {
        { "codes.lm.sine", TSRI_LM_SINE },
        { "codes.lm.gelu", TSRI_LM_CURVE + 1 }, { "codes.lm.exp2", 256 } };
    bool fits = true;

    for (int i = 0; i < 3; i++) {
        const int least = i < 2 ? INT16_MIN : 0, most = i < 2 ? INT16_MAX : UINT16_MAX;
        int32_t *v;
        TSR_TRY(get(l, 1, &want[i].n, &v, "%s", want[i].name));
        for (uint64_t k = 0; k < want[i].n; k++) {
            fits &= v[k] >= least && v[k] <= most;
            if (i == 2)
                m->exp2[k] = (uint16_t)v[k];
            else
                (i ? m->curve : m->sine)[k] = (int16_t)v[k];
        }
        tsri_free(l->ctx, v);
    }
    return fits && m->exp2[0] >= 1 << 15 ? TSR_OK
        : tsri_fail(l->ctx, TSR_E_CORRUPT, "codes.lm: a curve that cannot be");
}

static tsr_error get_coarser(const loader *l, tsri_codes_lm *m)
{
    TSR_TRY(get_number(l, "codes.lm.coarser.shift", 0, 7, &m->coarser_shift));
    return get_narrow(l, 3, (uint64_t[]){ (uint64_t)m->books,
                      (uint64_t)m->codewords, (uint64_t)m->dim },
                      "codes.lm.coarser", &m->coarser);
}

/* dim, from the embeddings; heads, layers and window, from codes.lm.shape. */
static tsr_error get_shape(const loader *l, tsri_codes_lm *m)
{
    const tsr_tensor *emb;
    int32_t *v;

    TSR_TRY(tsri_want(l->ctx, l->model, &emb, 3, (uint64_t[]){ (uint64_t)m->books,
                      (uint64_t)m->codewords + 1, TSRI_ANY }, "codes.lm.emb"));
    TSR_TRY(get(l, 1, (uint64_t[]){ 3 }, &v, "codes.lm.shape"));
    m->heads = v[0];
    m->layers = v[1];
    m->window = v[2];
    tsri_free(l->ctx, v);
    m->dim = emb->dims[2] > TSRI_LM_MAX_DIM ? 0 : (int)emb->dims[2];
    if (m->dim < 4 || m->dim % 2 || m->heads < 1 || m->dim % m->heads ||
        m->dim / m->heads > TSRI_LM_MAX_HEAD || m->layers < 1 ||
        m->layers > TSRI_LM_MAX_LAYERS || m->window < 1 ||
        m->window > TSRI_LM_MAX_WINDOW)
        return tsri_fail(l->ctx, TSR_E_SHAPE, "codes.lm: %d dimensions, %d heads, "
            "%d layers, window %d", m->dim, m->heads, m->layers, m->window);
    m->head = m->dim / m->heads;
    return TSR_OK;
}

static tsr_error load(const loader *l, tsri_codes_lm *m)
{
    const uint64_t books = (uint64_t)m->books, n = (uint64_t)m->codewords;

    TSR_TRY(get_shape(l, m));
    const uint64_t dim = (uint64_t)m->dim;
    m->layer = tsri_calloc(l->ctx, (size_t)m->layers, sizeof *m->layer);
    m->logits = tsri_calloc(l->ctx, (size_t)books, sizeof *m->logits);
    if (!m->layer || !m->logits)
        return tsri_nomem(l->ctx);
    TSR_TRY(get_narrow(l, 3, (uint64_t[]){ books, n + 1, dim }, "codes.lm.emb",
                       &m->emb));
    if (tsr_model_tensor(l->model, "codes.lm.coarser"))
        TSR_TRY(get_coarser(l, m));
    TSR_TRY(get_norm(l, &m->norm_in, m->dim, "codes.lm.in"));
    for (int i = 0; i < m->layers; i++)
        TSR_TRY(get_layer(l, m, i));
    for (int k = 0; k < m->books; k++)
        TSR_TRY(get_linear(l, &m->logits[k], m->dim, m->codewords, TSRI_LM_STATE,
                           "codes.lm.logits.%d", k));
    TSR_TRY(get(l, 1, (uint64_t[]){ dim / 2 }, &m->phase, "codes.lm.phase"));
    return get_curves(l, m);
}

tsr_error tsri_codes_lm_open(tsri_codes_lm **out, tsr_context *ctx,
                             const tsr_model *model, int books, int codewords)
{
    const loader l = { ctx, model };
    tsri_codes_lm *m;
    tsr_error error;

    *out = NULL;
    if (!tsr_model_tensor(model, "codes.lm.emb"))
        return TSR_OK;
    *out = m = tsri_calloc(ctx, 1, sizeof *m);
    if (!m)
        return tsri_nomem(ctx);
    m->books = books;
    m->codewords = codewords;
    error = load(&l, m);
    if (error)
        tsri_codes_lm_close(out, ctx);
    return error;
}

static void close_linear(tsri_lm_linear *l, tsr_context *ctx)
{
    tsri_free(ctx, l->weight);
    tsri_free(ctx, l->bias);
}

static void close_norm(tsri_lm_norm *n, tsr_context *ctx)
{
    tsri_free(ctx, n->gain);
    tsri_free(ctx, n->bias);
}

void tsri_codes_lm_close(tsri_codes_lm **out, tsr_context *ctx)
{
    tsri_codes_lm *m = *out;

    if (!m)
        return;
    for (int i = 0; m->layer && i < m->layers; i++) {
        tsri_lm_layer *y = &m->layer[i];
        tsri_lm_linear *all[] = { &y->query, &y->key, &y->value, &y->out, &y->up,
                                  &y->down };
        for (int k = 0; k < 6; k++)
            close_linear(all[k], ctx);
        close_norm(&y->norm1, ctx);
        close_norm(&y->norm2, ctx);
    }
    for (int k = 0; m->logits && k < m->books; k++)
        close_linear(&m->logits[k], ctx);
    close_norm(&m->norm_in, ctx);
    tsri_free(ctx, m->layer);
    tsri_free(ctx, m->logits);
    tsri_free(ctx, m->emb);
    tsri_free(ctx, m->coarser);
    tsri_free(ctx, m->phase);
    tsri_free(ctx, m);
    *out = NULL;
}
