/* SPDX-License-Identifier: BSD-2-Clause */
/* Small models of the token codecs with random weights, for tests. */
#ifndef TSR_TESTS_TOKEN_MODEL_H
#define TSR_TESTS_TOKEN_MODEL_H
#include <math.h>
#include "tests/tensors.h"

/** What a model has.  channels of every resolution, the finest first. */
typedef struct token_sizes {
    int resolutions, channels[4], patch;
    int dim, codes;
    int attention;              /**< of the coarsest resolution and the middle */
    int levels, clusters[8];    /**< of codebooks; clusters[0] is not used */
    int context;
} token_sizes;

/** 300 codes in 5 levels, the coarsest of 12 classes with a context; tokens of
 *  8 x 8 pixels. */
#define TOKEN_SIZES                                                         \
    ((token_sizes){ .resolutions = 3, .channels = { 4, 4, 8 }, .patch = 2,  \
                    .dim = 4, .codes = 300, .attention = 1, .levels = 5,    \
                    .clusters = { 300, 120, 60, 30, 12 }, .context = 1 })
#define TOKEN_META "\"tessera.codec\":\"vqgan\""
#define TOKEN_META_SIMVQ "\"tessera.codec\":\"simvq\""

typedef struct token_maker {
    check_tensors list;
    check_rng rng;
} token_maker;

static inline void token_floats(token_maker *m, const char *name,
                                const char *tail, int rank,
                                const uint64_t *dims, float scale, float add)
{
    char full[CHECK_NAME];
    check_name(full, "%s%s", name, tail);
    float *to = check_tensors_add(&m->list, full, "F32", 4, rank, dims);
    for (size_t i = 0; i < check_dims(rank, dims); i++)
        to[i] = check_float(&m->rng) * scale + add;
}

static inline void token_conv(token_maker *m, int in, int out, int kernel,
                              int bias, const char *name, const char *tail)
{
    const uint64_t k = (uint64_t)kernel;
    const uint64_t dims[] = { (uint64_t)out, (uint64_t)in, k, k };
    char full[CHECK_NAME];
    check_name(full, "%s%s", name, tail);
    token_floats(m, full, ".weight", 4, dims,
                 1.7f / sqrtf((float)(in * kernel * kernel)), 0);
    if (bias)
        token_floats(m, full, ".bias", 1, dims, 0.1f, 0);
}

static inline void token_norm(token_maker *m, int channels, const char *name,
                              const char *tail)
{
    const uint64_t dims[] = { (uint64_t)channels };
    char full[CHECK_NAME];
    check_name(full, "%s%s", name, tail);
    token_floats(m, full, ".weight", 1, dims, 0.3f, 1);
    token_floats(m, full, ".bias", 1, dims, 0.2f, 0);
}

static inline void token_residual(token_maker *m, int in, int out, int bias,
                                  const char *name)
{
    token_norm(m, in, name, ".norm1");
    token_conv(m, in, out, 3, bias, name, ".conv1");
    token_norm(m, out, name, ".norm2");
    token_conv(m, out, out, 3, bias, name, ".conv2");
    if (in != out)
        token_conv(m, in, out, 1, bias, name, ".nin_shortcut");
}

static inline void token_attention(token_maker *m, int c, const char *name)
{
    static const char *const tails[] = { ".q", ".k", ".v", ".proj_out" };
    token_norm(m, c, name, ".norm");
    for (int i = 0; i < 4; i++)
        token_conv(m, c, c, 1, 1, name, tails[i]);
}

static inline void token_middle(token_maker *m, int c, int attention,
                                const char *part)
{
    char name[CHECK_NAME];
    token_residual(m, c, c, 1, check_name(name, "%s.mid.block_1", part));
    if (attention)
        token_attention(m, c, check_name(name, "%s.mid.attn_1", part));
    token_residual(m, c, c, 1, check_name(name, "%s.mid.block_2", part));
}

/* One block a resolution in the encoder, two in the decoder. */
static inline void token_vqgan(token_maker *m, const token_sizes *s)
{
    const int top = s->resolutions - 1, last = s->channels[top];
    const int pixels = 3 * s->patch * s->patch;
    char name[CHECK_NAME];
    int c = s->channels[0];

    token_conv(m, pixels, c, 3, 1, "encoder.conv_in", "");
    for (int i = 0; i <= top; c = s->channels[i++]) {
        token_residual(m, c, s->channels[i], 1,
                       check_name(name, "encoder.down.%d.block.0", i));
        if (i == top && s->attention)
            token_attention(m, last,
                            check_name(name, "encoder.down.%d.attn.0", i));
        if (i < top)
            token_conv(m, s->channels[i], s->channels[i], 3, 1,
                       check_name(name, "encoder.down.%d", i),
                       ".downsample.conv");
    }
    token_middle(m, last, s->attention, "encoder");
    token_norm(m, last, "encoder.norm_out", "");
    token_conv(m, last, 2 * s->dim, 3, 1, "encoder.conv_out", "");
    token_conv(m, 2 * s->dim, s->dim, 1, 1, "quant_conv", "");
    token_conv(m, s->dim, 2 * s->dim, 1, 1, "post_quant_conv", "");
    token_conv(m, 2 * s->dim, last, 3, 1, "decoder.conv_in", "");
    token_middle(m, last, s->attention, "decoder");
    for (int i = top; i >= 0; c = s->channels[i--]) {
        if (i == top)
            c = last;
        token_residual(m, c, s->channels[i], 1,
                       check_name(name, "decoder.up.%d.block.0", i));
        token_residual(m, s->channels[i], s->channels[i], 1,
                       check_name(name, "decoder.up.%d.block.1", i));
        if (i == top && s->attention)
            token_attention(m, last,
                            check_name(name, "decoder.up.%d.attn.1", i));
        if (i > 0)
            token_conv(m, s->channels[i], s->channels[i], 3, 1,
                       check_name(name, "decoder.up.%d", i), ".upsample.conv");
    }
    token_norm(m, s->channels[0], "decoder.norm_out", "");
    token_conv(m, s->channels[0], pixels, 3, 1, "decoder.conv_out", "");
}

static inline void token_simvq(token_maker *m, const token_sizes *s)
{
    const int top = s->resolutions - 1, last = s->channels[top];
    const int pixels = 3 * s->patch * s->patch;
    char name[CHECK_NAME];
    int c = s->channels[0];

    token_conv(m, pixels, c, 3, 0, "encoder.conv_in", "");
    for (int i = 0; i <= top; c = s->channels[i++]) {
        token_residual(m, c, s->channels[i], 0,
                       check_name(name, "encoder.down.%d.block.0", i));
        if (i < top)
            token_conv(m, s->channels[i], s->channels[i], 3, 1,
                       check_name(name, "encoder.down.%d", i), ".downsample");
    }
    token_residual(m, last, last, 0, "encoder.mid_block.0");
    token_norm(m, last, "encoder.norm_out", "");
    token_conv(m, last, s->dim, 1, 1, "encoder.conv_out", "");
    token_conv(m, s->dim, last, 3, 1, "decoder.conv_in", "");
    token_residual(m, last, last, 0, "decoder.mid_block.0");
    for (int i = top; i >= 0; c = s->channels[i--]) {
        token_residual(m, i == top ? last : c, s->channels[i], 0,
                       check_name(name, "decoder.up.%d.block.0", i));
        if (i > 0)
            token_conv(m, s->channels[i], 4 * s->channels[i], 3, 1,
                       check_name(name, "decoder.up.%d", i),
                       ".upsample.conv1");
    }
    token_norm(m, s->channels[0], "decoder.norm_out", "");
    token_conv(m, s->channels[0], pixels, 3, 1, "decoder.conv_out", "");
}

static inline int32_t *token_ints(token_maker *m, const char *name, size_t n)
{
    const uint64_t dims[] = { n };
    return check_tensors_add(&m->list, name, "I32", 4, 1, dims);
}

/* The first positions of n clusters that are unions of the finer ones. */
static inline void token_starts(int32_t *to, int n, const int32_t *finer,
                                int n_finer)
{
    for (int i = 0; i < n; i++) {
        const int at = i * n_finer / n;
        to[i] = finer ? finer[at] : at;
    }
}

static inline void token_levels(token_maker *m, const token_sizes *s)
{
    char name[CHECK_NAME];
    const int32_t *finer = NULL;
    int32_t *held[8];

    int32_t *order = token_ints(m, "tessera.order", (size_t)s->codes);
    for (int i = 0; i < s->codes; i++)
        order[i] = i;
    for (int i = s->codes - 1; i > 0; i--) {
        const uint32_t at = check_below(&m->rng, (uint32_t)i + 1);
        const int32_t keep = order[i];
        order[i] = order[at];
        order[at] = keep;
    }
    int32_t *frequency = token_ints(m, "tessera.frequency", (size_t)s->codes);
    for (int i = 0; i < s->codes; i++)
        frequency[i] = 1 + (int32_t)check_below(&m->rng, 200);
    for (int j = 1, before = s->codes; j < s->levels; j++) {
        const uint64_t dims[] = { (uint64_t)s->clusters[j], (uint64_t)s->dim };
        held[j] = token_ints(m, check_name(name, "tessera.level.%d.start", j),
                             (size_t)s->clusters[j]);
        token_starts(held[j], s->clusters[j], finer, before);
        finer = held[j];
        before = s->clusters[j];
        token_floats(m, check_name(name, "tessera.level.%d.codewords", j), "",
                     2, dims, 1, 0);
    }
}

static inline void token_context(token_maker *m, const token_sizes *s)
{
    const uint64_t c = (uint64_t)s->clusters[s->levels - 1];
    const uint64_t bias[] = { c }, weight[] = { 4, c + 1, c };

    int16_t *b = check_tensors_add(&m->list, "tessera.context.bias", "I16", 2,
                                   1, bias);
    for (size_t i = 0; i < c; i++)
        b[i] = (int16_t)(check_below(&m->rng, 200) - 100);
    int8_t *w = check_tensors_add(&m->list, "tessera.context.weight", "I8", 1,
                                  3, weight);
    for (size_t i = 0; i < check_dims(3, weight); i++)
        w[i] = (int8_t)(check_below(&m->rng, 100) - 50);
}

/** All tensors, sorted by name.  With metadata TOKEN_META or
 *  TOKEN_META_SIMVQ. */
static inline check_tensors token_model(const token_sizes *s, int simvq,
                                        uint64_t seed)
{
    const uint64_t book[] = { (uint64_t)s->codes, (uint64_t)s->dim };
    token_maker m = { .rng = { seed } };

    (simvq ? token_simvq : token_vqgan)(&m, s);
    token_floats(&m, "tessera.codebook", "", 2, book, 1, 0);
    *token_ints(&m, "tessera.groups", 1) = 2;
    if (s->levels > 1)
        token_levels(&m, s);
    if (s->context)
        token_context(&m, s);
    qsort(m.list.tensor, m.list.count, sizeof *m.list.tensor, check_by_name);
    return m.list;
}
#endif
