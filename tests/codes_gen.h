/* SPDX-License-Identifier: BSD-2-Clause */
/* Models with tables for the codes of sound, and codes that look like some. */
#ifndef TSR_TESTS_CODES_GEN_H
#define TSR_TESTS_CODES_GEN_H
#include "tests/model_gen.h"
#include "codecs/audio/codes.h"

enum { CODES_CLASSES = 3, CODES_RELATIONS = 3 };

/** U8 tensor of values below `limit`. */
static inline uint8_t *codes_bytes(model_gen *g, const char *name, int rank,
                                   const int *dims, uint32_t limit)
{
    size_t n = 1;
    for (int i = 0; i < rank; i++)
        n *= (size_t)dims[i];
    uint8_t *p = model_tensor(g, name, "U8", 1, rank, dims);
    for (size_t i = 0; i < n; i++)
        p[i] = (uint8_t)check_below(&g->rng, limit);
    return p;
}

static inline void codes_static(model_gen *g, int books, int codewords)
{
    codes_bytes(g, "codes.static", 2, (int[]){ books, codewords }, 256);
}

/** Relations of all kinds, also some that are none. */
static inline void codes_context(model_gen *g, int books, int codewords)
{
    const int n = books * CODES_RELATIONS;

    codes_bytes(g, "codes.context.rows", 2,
                (int[]){ n * CODES_CLASSES, codewords }, 256);
    codes_bytes(g, "codes.context.class", 3,
                (int[]){ books, CODES_RELATIONS, codewords + 1 }, CODES_CLASSES);
    uint8_t *r = codes_bytes(g, "codes.context.relation", 3,
                             (int[]){ books, CODES_RELATIONS, 2 }, 1);
    for (int i = 0; i < n; i++) {
        const uint32_t k = (uint32_t)(i / CODES_RELATIONS),
                       back = check_below(&g->rng, 9);
        r[2 * i] = (uint8_t)(back > 7 || (!back && !k) ? 255 : back);
        r[2 * i + 1] = (uint8_t)check_below(&g->rng, back ? k + 1 : k ? k : 1);
    }
    uint8_t *base = model_tensor(g, "codes.context.base", "I32", 4, 2,
                                 (int[]){ books, CODES_RELATIONS });
    for (int i = 0; i < n; i++)
        tsri_put32(base + 4 * i, (uint32_t)(i * CODES_CLASSES));
}

/** An integer language model. */
typedef struct codes_lm {
    int books, codewords, dim, heads, layers, window;
    bool coarser;
} codes_lm;

static inline void codes_number(model_gen *g, const char *name, int v)
{
    tsri_put32(model_tensor(g, name, "I32", 4, 1, (int[]){ 1 }), (uint32_t)v);
}

/** Weights as large as they may be, so that states reach their limits. */
static inline void codes_linear(model_gen *g, const char *name, int in, int out,
                                int limit, int shift)
{
    char part[96];
    const int most = (int)(0x7c000000u / (unsigned)limit / (unsigned)in);

    snprintf(part, sizeof part, "codes.lm.%s.weight", name);
    model_ints(g, part, 2, 2, (int[]){ out, in }, most < 32767 ? most : 32767);
    snprintf(part, sizeof part, "codes.lm.%s.bias", name);
    model_ints(g, part, 4, 1, &out, 1 << 23);
    snprintf(part, sizeof part, "codes.lm.%s.shift", name);
    codes_number(g, part, shift);
}

static inline void codes_norm(model_gen *g, const char *name, int dim)
{
    char part[96];

    snprintf(part, sizeof part, "codes.lm.%s.gain", name);
    model_ints(g, part, 2, 1, &dim, 32767);
    snprintf(part, sizeof part, "codes.lm.%s.bias", name);
    model_ints(g, part, 4, 1, &dim, 1 << 25);
    snprintf(part, sizeof part, "codes.lm.%s.shift", name);
    codes_number(g, part, 14);
}

static inline void codes_lm_layer(model_gen *g, int dim, int i)
{
    static const struct { const char *name; int in, out, limit; } linears[] = {
        { "query", 1, 1, 16383 }, { "key", 1, 1, 16383 },
        { "value", 1, 1, 16383 }, { "out", 1, 1, 16383 },
        { "up", 1, 4, 16383 }, { "down", 4, 1, 8191 } };
    char name[64];

    for (int k = 0; k < 6; k++) {
        snprintf(name, sizeof name, "%d.%s", i, linears[k].name);
        codes_linear(g, name, dim * linears[k].in, dim * linears[k].out,
                     linears[k].limit, 12 + k % 5);
    }
    snprintf(name, sizeof name, "%d.norm1", i);
    codes_norm(g, name, dim);
    snprintf(name, sizeof name, "%d.norm2", i);
    codes_norm(g, name, dim);
    snprintf(name, sizeof name, "codes.lm.%d.score.shift", i);
    codes_number(g, name, 14);
}

static inline void codes_lm_tensors(model_gen *g, const codes_lm *m)
{
    char name[64];

    model_ints(g, "codes.lm.emb", 2, 3, (int[]){ m->books, m->codewords + 1,
                                                 m->dim }, 32767);
    uint8_t *shape = model_tensor(g, "codes.lm.shape", "I32", 4, 1, (int[]){ 3 });
    tsri_put32(shape, (uint32_t)m->heads);
    tsri_put32(shape + 4, (uint32_t)m->layers);
    tsri_put32(shape + 8, (uint32_t)m->window);
    codes_norm(g, "in", m->dim);
    for (int i = 0; i < m->layers; i++)
        codes_lm_layer(g, m->dim, i);
    for (int k = 0; k < m->books; k++) {
        snprintf(name, sizeof name, "logits.%d", k);
        codes_linear(g, name, m->dim, m->codewords, 16383, 16);
    }
    if (m->coarser) {
        model_ints(g, "codes.lm.coarser", 2, 3,
                   (int[]){ m->books, m->codewords, m->dim }, 3000);
        codes_number(g, "codes.lm.coarser.shift", 2);
    }
    model_ints(g, "codes.lm.phase", 4, 1, (int[]){ m->dim / 2 }, 1 << 30);
    model_ints(g, "codes.lm.sine", 2, 1, (int[]){ 4096 }, 32767);
    model_ints(g, "codes.lm.gelu", 2, 1, (int[]){ 1025 }, 32767);
    uint8_t *power = model_tensor(g, "codes.lm.exp2", "U16", 2, 1, (int[]){ 256 });
    for (int i = 0; i < 256; i++)
        tsri_put16(power + 2 * i, (uint16_t)(65535 - i * 127));
}

/** Skewed codes that often stay as they were. */
static inline uint16_t *codes_draw(check_rng *r, int frames, int books,
                                   int codewords)
{
    uint16_t *codes = malloc((size_t)frames * (size_t)books * sizeof *codes);

    assert_non_null(codes);
    for (int i = 0; i < frames * books; i++) {
        const uint32_t most = check_below(r, (uint32_t)codewords) + 1;
        codes[i] = i >= books && check_below(r, 3) == 0
            ? codes[i - books] : (uint16_t)check_below(r, most);
    }
    return codes;
}
#endif
