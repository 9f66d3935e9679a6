/* SPDX-License-Identifier: BSD-2-Clause */
/* From tensors to nets.  Each part of the network is a word of letters, one a
 * block; each block knows the tensors it wants. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "codecs/image/mcquic.h"
#include "lib/weights.h"

enum { NAME_MAX_BYTES = 192, OWNED_MAX = 128, CHANNELS_MAX = 1 << 14 };

/* C conv 3x3 | R residual | S residual, half the size | A attention |
 * U residual, twice the size | I input conv, half | O output conv, twice. */
static const struct part {
    const char *prefix, *suffix;    /* the level's number stands between */
    const char *blocks;
} parts[TSRI_MCQUIC_PARTS] = {
    [TSRI_MCQUIC_ENCODER] = { "_encoder", NULL, "IRSARSR" },
    [TSRI_MCQUIC_STAGE] =
        { "_quantizer._encoders", "._latentStageEncoder", "SRA" },
    [TSRI_MCQUIC_QUANT_HEAD] =
        { "_quantizer._encoders", "._quantizationHead", "RAC" },
    [TSRI_MCQUIC_LATENT_HEAD] =
        { "_quantizer._encoders", "._latentHead", "RAC" },
    [TSRI_MCQUIC_DEQUANT_HEAD] =
        { "_quantizer._decoders", "._dequantizationHead", "ACR" },
    [TSRI_MCQUIC_SIDE_HEAD] =
        { "_quantizer._decoders", "._sideHead", "ACR" },
    [TSRI_MCQUIC_RESTORE_HEAD] =
        { "_quantizer._decoders", "._restoreHead", "ARU" },
    [TSRI_MCQUIC_DECODER] = { "_decoder", NULL, "RUARURO" },
};

/* Without a net it only looks at the tensors.  The first fault sticks. */
typedef struct builder {
    tsr_context *ctx;
    const tsr_model *model;
    tsri_net *net;
    int channels;
    tsr_error error;
    float *owned[OWNED_MAX];    /* weights, until the net is finished */
    int count;
} builder;

static float *want(builder *b, int rank, const uint64_t *dims, const char *name,
                   const char *tail)
{
    const tsr_tensor *tensor;
    float *values;

    if (b->error)
        return NULL;
    b->error = tsri_want(b->ctx, b->model, &tensor, rank, dims, "%s%s", name,
                         tail);
    if (!b->error && tensor->dtype != TSR_F32 && tensor->dtype != TSR_F16)
        b->error = tsri_fail(b->ctx, TSR_E_SHAPE,
                             "%s: tensor '%s' is %s, not F32 or F16",
                             tsr_model_path(b->model), tensor->name,
                             tsr_dtype_name(tensor->dtype));
    if (b->error || !b->net)
        return NULL;
    if (b->count == OWNED_MAX)
        b->error = tsri_fail(b->ctx, TSR_E_INTERNAL, "too many tensors");
    else
        b->error = tsri_tensor_floats(b->ctx, tensor, &values);
    if (b->error)
        return NULL;
    return b->owned[b->count++] = values;
}

static int conv(builder *b, int x, int in, int out, int kernel, int stride,
                const char *name)
{
    const uint64_t side = (uint64_t)kernel;
    const uint64_t dims[] = { (uint64_t)out, (uint64_t)in, side, side };
    const tsri_conv spec = {
        .in = in, .out = out, .kernel = kernel, .stride = stride,
        .pad = TSRI_PAD_REFLECT,
        .weight = want(b, 4, dims, name, ".weight"),
        .bias = want(b, 1, dims, name, ".bias"),
    };
    return b->net && !b->error ? tsri_net_conv(b->net, x, &spec) : 0;
}

static int act(builder *b, int x)
{
    return b->net ? tsri_net_act(b->net, x, TSRI_ACT_SILU) : 0;
}

static int add(builder *b, int x, int y)
{
    return b->net ? tsri_net_add(b->net, x, y) : 0;
}

static int shuffle(builder *b, int x)
{
    return b->net ? tsri_net_shuffle(b->net, x, 2) : 0;
}

/* p' = max(p, bound)^2 - eps, with the checkpoint's own bound and eps. */
static float *reparam(builder *b, int rank, const char *name, const char *which)
{
    const uint64_t c = (uint64_t)b->channels, dims[] = { c, c }, one[] = { 1 };
    char tail[64];

    float *p = want(b, rank, dims, name, which);
    snprintf(tail, sizeof tail, "%s_reparam.eps", which);
    const float *eps = want(b, 1, one, name, tail);
    snprintf(tail, sizeof tail, "%s_reparam.lowerBound.bound", which);
    const float *bound = want(b, 1, one, name, tail);
    if (!p || !eps || !bound)
        return NULL;
    for (uint64_t i = 0; i < (rank == 2 ? c * c : c); i++) {
        const float v = p[i] > *bound ? p[i] : *bound;
        p[i] = v * v - *eps;
    }
    return p;
}

static int gdn(builder *b, int x, bool inverse, const char *name)
{
    const float *beta = reparam(b, 1, name, ".beta");
    const float *gamma = reparam(b, 2, name, ".gamma");
    return beta && gamma ? tsri_net_gdn(b->net, x, beta, gamma, inverse) : 0;
}

static const char *join(char *to, const char *name, const char *tail)
{
    snprintf(to, NAME_MAX_BYTES, "%s%s", name, tail);
    return to;
}

static int residual(builder *b, int x, const char *name)
{
    const int c = b->channels;
    char sub[NAME_MAX_BYTES];

    int y = conv(b, act(b, x), c, c, 3, 1, join(sub, name, "._branch.1"));
    y = conv(b, act(b, y), c, c, 3, 1, join(sub, name, "._branch.3"));
    return add(b, y, x);
}

static int residual_down(builder *b, int x, const char *name)
{
    const int c = b->channels;
    char sub[NAME_MAX_BYTES];

    int y = conv(b, act(b, x), c, c, 3, 2, join(sub, name, "._branch.1"));
    y = gdn(b, y, false, join(sub, name, "._branch.2"));
    y = conv(b, y, c, c, 3, 1, join(sub, name, "._branch.3"));
    return add(b, y, conv(b, x, c, c, 3, 2, join(sub, name, "._skip")));
}

static int residual_up(builder *b, int x, const char *name)
{
    const int c = b->channels;
    char sub[NAME_MAX_BYTES];

    int y = conv(b, act(b, x), c, 4 * c, 3, 1, join(sub, name, "._branch.1.0"));
    y = gdn(b, shuffle(b, y), true, join(sub, name, "._branch.2"));
    y = conv(b, y, c, c, 3, 1, join(sub, name, "._branch.3"));
    const int skip = conv(b, x, c, 4 * c, 3, 1, join(sub, name, "._skip.0"));
    return add(b, y, shuffle(b, skip));
}

/* A convolutional gate: x + main * sigmoid(side). */
static int attention(builder *b, int x, const char *name)
{
    char sub[NAME_MAX_BYTES];
    int value = x, side = x;

    for (int i = 0; i < 3; i++) {
        snprintf(sub, sizeof sub, "%s._mainBranch.%d", name, i);
        value = residual(b, value, sub);
    }
    for (int i = 0; i < 3; i++) {
        snprintf(sub, sizeof sub, "%s._sideBranch.%d", name, i);
        side = residual(b, side, sub);
    }
    side = conv(b, side, b->channels, b->channels, 1, 1,
                join(sub, name, "._sideBranch.3"));
    return b->net ? tsri_net_gate(b->net, x, value, side) : 0;
}

static int block(builder *b, int x, char letter, const char *name)
{
    const int c = b->channels;
    char sub[NAME_MAX_BYTES];

    switch (letter) {
    case 'C': return conv(b, x, c, c, 3, 1, name);
    case 'R': return residual(b, x, name);
    case 'S': return residual_down(b, x, name);
    case 'A': return attention(b, x, name);
    case 'U': return residual_up(b, x, name);
    case 'I': return conv(b, x, 3, c, 3, 2, name);
    default:  return shuffle(b, conv(b, x, c, 12, 3, 1, join(sub, name, ".0")));
    }
}

static int blocks_of(builder *b, const struct part *part, int level, int limit)
{
    char name[64];
    int x = 0;

    for (int i = 0; part->blocks[i] && i < limit && !b->error; i++) {
        if (part->suffix)
            snprintf(name, sizeof name, "%s.%d%s.%d", part->prefix, level,
                     part->suffix, i);
        else
            snprintf(name, sizeof name, "%s.%d", part->prefix, i);
        x = block(b, x, part->blocks[i], name);
    }
    return x;
}

bool tsri_mcquic_has(const tsri_mcquic_shape *shape, tsri_mcquic_part part,
                     int level)
{
    if (part == TSRI_MCQUIC_ENCODER || part == TSRI_MCQUIC_DECODER)
        return level == 0;
    if (part == TSRI_MCQUIC_LATENT_HEAD || part == TSRI_MCQUIC_SIDE_HEAD)
        return level < shape->levels - 1;
    return level < shape->levels;
}

tsr_error tsri_mcquic_net_check(tsr_context *ctx, const tsr_model *model,
                                const tsri_mcquic_shape *shape,
                                tsri_mcquic_part part, int level)
{
    builder b = { .ctx = ctx, .model = model, .channels = shape->channels };
    blocks_of(&b, &parts[part], level, INT_MAX);
    return b.error;
}

tsr_error tsri_mcquic_net(tsri_net **net, tsr_context *ctx,
                          const tsr_model *model,
                          const tsri_mcquic_shape *shape,
                          tsri_mcquic_part part, int level, int blocks)
{
    builder b = { .ctx = ctx, .model = model, .channels = shape->channels };
    const int in = part == TSRI_MCQUIC_ENCODER ? 3 : shape->channels;

    *net = NULL;
    TSR_TRY(tsri_net_new(&b.net, ctx, in));
    tsri_net_precision(b.net, part < TSRI_MCQUIC_DEQUANT_HEAD ? TSRI_NET_ENCODER
                                                              : TSRI_NET_DECODER);
    const int output = blocks_of(&b, &parts[part], level, blocks);
    if (!b.error)
        b.error = tsri_net_finish(b.net, output);
    for (int i = 0; i < b.count; i++)
        tsri_free(ctx, b.owned[i]);
    if (b.error)
        tsri_net_free(&b.net);
    *net = b.net;
    return b.error;
}

/* ---- sizes ---- */

static tsr_error book_shape(tsr_context *ctx, const tsr_model *model, int level,
                            const tsr_tensor **book)
{
    const uint64_t any[] = { TSRI_ANY, TSRI_ANY, TSRI_ANY };
    return tsri_want(ctx, model, book, 3, any,
                     "_quantizer._encoders.%d._quantizer._codebook", level);
}

/* One more than the highest level that any tensor belongs to. */
static int count_levels(const tsr_model *model)
{
    static const char prefix[] = "_quantizer._encoders.";
    long levels = 1;

    for (size_t i = 0; i < tsr_model_tensor_count(model); i++) {
        const char *name = tsr_model_tensor_at(model, i)->name;
        if (!strncmp(name, prefix, sizeof prefix - 1)) {
            const long level = strtol(name + sizeof prefix - 1, NULL, 10);
            if (level >= levels && level <= TSRI_MCQUIC_LEVELS)
                levels = level + 1;
        }
    }
    return (int)levels;
}

static tsr_error bad_shape(tsr_context *ctx, const tsr_model *model,
                           const char *name)
{
    return tsri_fail(ctx, TSR_E_SHAPE, "%s: '%s' does not fit the network",
                     tsr_model_path(model), name);
}

/* A file may hold the codebook under the names of its other users, too. */
static tsr_error check_aliases(tsr_context *ctx, const tsr_model *model,
                               const tsr_tensor *book, int level)
{
    static const char *const forms[] = {
        "_quantizer._encoders.%d._dequantizer._codebook",
        "_quantizer._decoders.%d._dequantizer._codebook",
    };
    char name[NAME_MAX_BYTES];

    for (int i = 0; i < 2; i++) {
        snprintf(name, sizeof name, forms[i], level);
        const tsr_tensor *other = tsr_model_tensor(model, name);
        if (other && (other->bytes != book->bytes ||
                      memcmp(other->data, book->data, book->bytes)))
            return tsri_fail(ctx, TSR_E_SHAPE, "%s: '%s' is not the codebook "
                             "that level %d is coded with",
                             tsr_model_path(model), name, level);
    }
    return TSR_OK;
}

static tsr_error check_meta(tsr_context *ctx, const tsr_model *model,
                            const tsri_mcquic_shape *s)
{
    const struct { const char *key; const int *values; int n; } known[] = {
        { "mcquic.channel", &s->channels, 1 },
        { "mcquic.m", &s->m, 1 },
        { "mcquic.k", s->k, s->levels },
    };

    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        const char *text = tsr_model_meta(model, known[i].key);
        for (int j = 0; text && j < known[i].n; j++) {
            char *end;
            if (strtol(text, &end, 10) != known[i].values[j] ||
                *end != (j + 1 < known[i].n ? ',' : '\0'))
                return bad_shape(ctx, model, known[i].key);
            text = end + 1;
        }
    }
    return TSR_OK;
}

tsr_error tsri_mcquic_shape_read(tsr_context *ctx, const tsr_model *model,
                                 tsri_mcquic_shape *shape)
{
    const tsr_tensor *book;
    uint64_t m = 0, d = 0;

    *shape = (tsri_mcquic_shape){ .levels = count_levels(model) };
    for (int level = 0; level < shape->levels; level++) {
        TSR_TRY(book_shape(ctx, model, level, &book));
        if (level == 0) {
            m = book->dims[0];
            d = book->dims[2];
        }
        if (level == TSRI_MCQUIC_LEVELS || book->dims[0] != m ||
            book->dims[2] != d || m > CHANNELS_MAX || d > CHANNELS_MAX / m ||
            book->dims[1] > 1 << 16)
            return bad_shape(ctx, model, book->name);
        TSR_TRY(check_aliases(ctx, model, book, level));
        shape->k[level] = (int)book->dims[1];
    }
    shape->m = (int)m;
    shape->channels = (int)(m * d);
    return check_meta(ctx, model, shape);
}
