/* SPDX-License-Identifier: BSD-2-Clause */
/* A tiny random model of the codec "hyper". */
#ifndef TSR_TESTS_HYPER_GEN_H
#define TSR_TESTS_HYPER_GEN_H
#include <math.h>
#include "tests/model_gen.h"

enum { GEN_Y = 12, GEN_Z = 4, GEN_FEATURES = 6, GEN_SUM = 1 << 14 };

static inline void gen_conv(model_gen *g, const char *name, int in, int out, int k)
{
    char text[64];
    snprintf(text, sizeof text, "%s.weight", name);
    model_floats(g, text, 4, (int[]){ out, in, k, k }, 0,
                 1.5f / sqrtf((float)(in * k * k)));
    snprintf(text, sizeof text, "%s.bias", name);
    model_floats(g, text, 1, (int[]){ out }, 0, 0.1f);
}

static inline void gen_block(model_gen *g, const char *name, int c)
{
    char text[64];
    snprintf(text, sizeof text, "%s.0", name);
    gen_conv(g, text, c, c, 3);
    snprintf(text, sizeof text, "%s.2", name);
    gen_conv(g, text, c, c, 3);
}

static inline void gen_iconv(model_gen *g, const char *name, int in, int out, int k,
                             int limit)
{
    char text[64];
    snprintf(text, sizeof text, "%s.weight", name);
    model_ints(g, text, 2, 4, (int[]){ out, in, k, k }, limit);
    snprintf(text, sizeof text, "%s.bias", name);
    model_ints(g, text, 4, 1, (int[]){ out }, 20000);
    snprintf(text, sizeof text, "%s.shift", name);
    tsri_put32(model_tensor(g, text, "I32", 4, 1, (int[]){ 1 }), 8);
}

/** Bell-shaped frequencies that sum to GEN_SUM over n symbols. */
static inline void gen_table(uint8_t *p, int n, int width)
{
    int left = GEN_SUM - n;
    for (int i = 0; i < n; i++) {
        const int d = abs(2 * i - n) + 1;
        const int f = i == n - 1 ? 0 : left * width / (width + d * d);
        tsri_put16(p + 2 * i, (uint16_t)(1 + f / 2));
        left -= f / 2;
    }
    tsri_put16(p + 2 * (n / 2), (uint16_t)(tsri_get16(p + 2 * (n / 2)) + left));
}

static inline void gen_tables(model_gen *g)
{
    uint8_t *p = model_tensor(g, "ctx.z.freq", "U16", 2, 2, (int[]){ GEN_Z, 31 });
    int total = 0;
    for (int i = 0; i < GEN_Z; i++)
        gen_table(p + 62 * i, 31, 40);
    p = model_tensor(g, "ctx.class.radius", "I32", 4, 1, (int[]){ 64 });
    for (int i = 0; i < 64; i++) {
        tsri_put32(p + 4 * i, (uint32_t)(i / 3));
        total += 2 * (i / 3) + 2;
    }
    p = model_tensor(g, "ctx.class.freq", "U16", 2, 1, (int[]){ total });
    for (int i = 0; i < 64; p += 2 * (2 * (i / 3) + 2), i++)
        gen_table(p, 2 * (i / 3) + 2, 4 + i);
    tsri_put32(model_tensor(g, "ctx.class.skip", "I32", 4, 1, (int[]){ 1 }), 4);
}

static inline void gen_float_nets(model_gen *g)
{
    gen_conv(g, "enc.1", 48, 8, 3);
    gen_block(g, "enc.2", 8);
    gen_conv(g, "enc.3", 8, 10, 3);
    gen_block(g, "enc.4", 10);
    gen_block(g, "enc.5", 10);
    gen_conv(g, "enc.6", 10, 14, 3);
    gen_block(g, "enc.7", 14);
    gen_conv(g, "enc.8", 14, GEN_Y, 3);
    gen_conv(g, "dec.0", GEN_Y, 14, 3);
    gen_block(g, "dec.1", 14);
    gen_conv(g, "dec.2", 14, 40, 1);
    gen_block(g, "dec.3", 10);
    gen_block(g, "dec.4", 10);
    gen_block(g, "dec.5", 10);
    gen_conv(g, "dec.6", 10, 32, 1);
    gen_block(g, "dec.7", 8);
    gen_block(g, "dec.8", 8);
    gen_conv(g, "dec.9", 8, 48, 3);
    gen_conv(g, "hyper_enc.0", GEN_Y, 6, 3);
    gen_conv(g, "hyper_enc.1", 6, 6, 3);
    gen_conv(g, "hyper_enc.2", 6, GEN_Z, 3);
    model_floats(g, "gain_enc", 2, (int[]){ 8, GEN_Y }, 6.0f, 5.0f);
    model_floats(g, "gain_dec", 2, (int[]){ 8, GEN_Y }, 0.3f, 0.2f);
}

static inline void gen_integer_nets(model_gen *g)
{
    static const int size[3] = { 2, 4, 6 };
    char text[64];
    int first = 0;

    gen_iconv(g, "ctx.hs.0", GEN_Z, 16, 3, 60);
    gen_iconv(g, "ctx.hs.1", 4, 16, 3, 60);
    gen_iconv(g, "ctx.hs.2", 4, GEN_FEATURES, 3, 60);
    for (int i = 0; i < 3; first += size[i++]) {
        snprintf(text, sizeof text, "ctx.g%d.0", i);
        gen_iconv(g, text, GEN_FEATURES + first + size[i] + 1, 10, 3, 40);
        snprintf(text, sizeof text, "ctx.g%d.1", i);
        gen_iconv(g, text, 10, 18, 1, 60);
        snprintf(text, sizeof text, "ctx.g%d.2", i);
        gen_iconv(g, text, 18, 2 * size[i], 1, 60);
    }
}

/** Writes the model; another seed gives another model. */
static inline void hyper_gen(const char *path, uint64_t seed)
{
    static model_gen g;
    g = (model_gen){ .rng = { seed }, .metadata = "\"tessera.codec\":\"hyper\","
                                                  "\"tessera.name\":\"tiny\"" };
    gen_float_nets(&g);
    gen_integer_nets(&g);
    gen_tables(&g);
    model_write(&g, path);
}
#endif
