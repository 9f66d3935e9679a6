/* SPDX-License-Identifier: BSD-2-Clause */
/* A small McQuic model with random weights, for tests. */
#ifndef TSR_TESTS_MCQUIC_MODEL_H
#define TSR_TESTS_MCQUIC_MODEL_H
#include <math.h>
#include "tests/tensors.h"

typedef struct mcquic_sizes { int channels, m, levels, k[7]; } mcquic_sizes;

static inline void mcquic_tensor(check_tensors *list, check_rng *rng,
                                 const char *name, const char *tail, int rank,
                                 const uint64_t *dims, float scale, float add)
{
    char full[CHECK_NAME];
    check_name(full, "%s%s", name, tail);
    float *to = check_tensors_add(list, full, "F32", 4, rank, dims);
    for (size_t i = 0; i < check_dims(rank, dims); i++)
        to[i] = check_float(rng) * scale + add;
}

/* Decoders' maps lie near 1, as those of a trained model do: a greater scale grows
 * by the squares of the inverse GDN to samples thousands of times out of range,
 * where the rounding of a map decides between black and white. */
static inline void mcquic_conv(check_tensors *list, check_rng *rng, int in,
                               int out, int kernel, const char *format, ...)
{
    const uint64_t k = (uint64_t)kernel;
    const uint64_t dims[] = { (uint64_t)out, (uint64_t)in, k, k };
    char name[CHECK_NAME];
    va_list args;
    va_start(args, format);
    vsnprintf(name, sizeof name, format, args);
    va_end(args);
    const float gain = strstr(name, "_decoder") ? 1.1f : 1.5f;
    mcquic_tensor(list, rng, name, ".weight", 4, dims,
                  gain / sqrtf((float)(in * kernel * kernel)), 0);
    mcquic_tensor(list, rng, name, ".bias", 1, dims, 0.1f, 0);
}

static inline void mcquic_gdn(check_tensors *list, check_rng *rng, int channels,
                              const char *block)
{
    const uint64_t c = (uint64_t)channels, dims[] = { c, c }, one[] = { 1 };
    char name[CHECK_NAME];
    check_name(name, "%s._branch.2", block);
    mcquic_tensor(list, rng, name, ".beta", 1, dims, 0.2f, 1);
    mcquic_tensor(list, rng, name, ".gamma", 2, dims, 0.2f, 0.1f);
    mcquic_tensor(list, rng, name, ".beta_reparam.eps", 1, one, 0, 1e-12f);
    mcquic_tensor(list, rng, name, ".beta_reparam.lowerBound.bound", 1, one, 0,
                  1e-3f);
    mcquic_tensor(list, rng, name, ".gamma_reparam.eps", 1, one, 0, 1e-12f);
    mcquic_tensor(list, rng, name, ".gamma_reparam.lowerBound.bound", 1, one, 0,
                  1e-6f);
}

static inline void mcquic_residual(check_tensors *list, check_rng *rng, int c,
                                   const char *name)
{
    mcquic_conv(list, rng, c, c, 3, "%s._branch.1", name);
    mcquic_conv(list, rng, c, c, 3, "%s._branch.3", name);
}

static inline void mcquic_attention(check_tensors *list, check_rng *rng, int c,
                                    const char *name)
{
    char sub[CHECK_NAME];
    for (int i = 0; i < 6; i++) {
        check_name(sub, "%s._%sBranch.%d", name,
                 i < 3 ? "main" : "side", i % 3);
        mcquic_residual(list, rng, c, sub);
    }
    mcquic_conv(list, rng, c, c, 1, "%s._sideBranch.3", name);
}

/* Letters as in the codec: C R S A U I O. */
static inline void mcquic_blocks(check_tensors *list, check_rng *rng, int c,
                                 const char *part, const char *blocks)
{
    char name[CHECK_NAME];
    for (int i = 0; blocks[i]; i++) {
        check_name(name, "%s.%d", part, i);
        switch (blocks[i]) {
        case 'C': mcquic_conv(list, rng, c, c, 3, "%s", name); break;
        case 'I': mcquic_conv(list, rng, 3, c, 3, "%s", name); break;
        case 'O': mcquic_conv(list, rng, c, 12, 3, "%s.0", name); break;
        case 'R': mcquic_residual(list, rng, c, name); break;
        case 'A': mcquic_attention(list, rng, c, name); break;
        case 'S':
            mcquic_residual(list, rng, c, name);
            mcquic_gdn(list, rng, c, name);
            mcquic_conv(list, rng, c, c, 3, "%s._skip", name);
            break;
        default:
            mcquic_conv(list, rng, c, 4 * c, 3, "%s._branch.1.0", name);
            mcquic_gdn(list, rng, c, name);
            mcquic_conv(list, rng, c, c, 3, "%s._branch.3", name);
            mcquic_conv(list, rng, c, 4 * c, 3, "%s._skip.0", name);
        }
    }
}

static inline void mcquic_level(check_tensors *list, check_rng *rng,
                                const mcquic_sizes *s, int level)
{
    static const struct { const char *format, *blocks; bool last; } parts[] = {
        { "_quantizer._encoders.%d._latentStageEncoder", "SRA", true },
        { "_quantizer._encoders.%d._quantizationHead", "RAC", true },
        { "_quantizer._encoders.%d._latentHead", "RAC", false },
        { "_quantizer._decoders.%d._dequantizationHead", "ACR", true },
        { "_quantizer._decoders.%d._sideHead", "ACR", false },
        { "_quantizer._decoders.%d._restoreHead", "ARU", true },
    };
    const uint64_t m = (uint64_t)s->m, k = (uint64_t)s->k[level];
    const uint64_t book[] = { m, k, (uint64_t)s->channels / m };
    char name[CHECK_NAME];

    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        check_name(name, parts[i].format, level);
        if (parts[i].last || level < s->levels - 1)
            mcquic_blocks(list, rng, s->channels, name, parts[i].blocks);
    }
    check_name(name, "_quantizer._encoders.%d._quantizer._codebook",
             level);
    mcquic_tensor(list, rng, name, "", 3, book, 0.7f, 0);
    check_name(name, "_quantizer._entropyCoder._freqEMA.%d", level);
    mcquic_tensor(list, rng, name, "", 2, book, 0.5f, 0.51f);
}

/** All tensors that the codec wants, sorted by name. */
static inline check_tensors mcquic_model(const mcquic_sizes *s, uint64_t seed)
{
    check_tensors list = { NULL, 0 };
    check_rng rng = { seed };
    mcquic_blocks(&list, &rng, s->channels, "_encoder", "IRSARSR");
    mcquic_blocks(&list, &rng, s->channels, "_decoder", "RUARURO");
    for (int level = 0; level < s->levels; level++)
        mcquic_level(&list, &rng, s, level);
    qsort(list.tensor, list.count, sizeof *list.tensor, check_by_name);
    return list;
}
#endif
