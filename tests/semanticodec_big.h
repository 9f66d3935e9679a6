/* SPDX-License-Identifier: BSD-2-Clause */
/* A decoder of SemantiCodec of the published sizes with random weights: good for
 * timing, and for comparing machines. */
#ifndef TSR_TESTS_SEMANTICODEC_BIG_H
#define TSR_TESTS_SEMANTICODEC_BIG_H
#include <math.h>
#include "tests/check.h"
#include "tests/tensors.h"

enum { BIG_WIDTH = 64, BIG_POSITIONS = 512, BIG_CONTEXT = 1728, BIG_ROWS = 256,
       BIG_COLUMNS = 16, BIG_FRAMES = 1024, BIG_SAMPLES = 163840 };

typedef struct big {
    check_tensors list;
    check_rng rng;
    int kept[16], keeps;
} big;

static inline void big_add(big *b, int rank, const uint64_t *dims, float scale,
                           float add, const char *name)
{
    float *to = check_tensors_add(&b->list, name, "F32", 4, rank, dims);

    for (size_t i = 0; i < check_dims(rank, dims); i++)
        to[i] = scale * check_float(&b->rng) + add;
}

/* A layer NAME.TAIL with so many dimensions; its bias. */
static inline void big_layer(big *b, int out, int in, int k, int rank, bool bias,
                             const char *name, const char *tail)
{
    const uint64_t dims[] = { (uint64_t)out, (uint64_t)in, (uint64_t)k,
                              (uint64_t)k };
    const float scale = 1.7f / sqrtf((float)(in * (rank > 2 ? k : 1) *
                                             (rank > 3 ? k : 1)));
    char full[CHECK_NAME];

    snprintf(full, sizeof full, "%s%s.weight", name, tail);
    big_add(b, rank, dims, scale, 0, full);
    snprintf(full, sizeof full, "%s%s.bias", name, tail);
    if (bias)
        big_add(b, 1, dims, 0.1f, 0, full);
}

static inline void big_norm(big *b, int channels, const char *name,
                            const char *tail)
{
    const uint64_t dims[] = { (uint64_t)channels };
    char full[CHECK_NAME];

    snprintf(full, sizeof full, "%s%s.weight", name, tail);
    big_add(b, 1, dims, 0.1f, 1, full);
    snprintf(full, sizeof full, "%s%s.bias", name, tail);
    big_add(b, 1, dims, 0.1f, 0, full);
}

/* ---- the UNet ---- */

static inline void big_residual(big *b, int in, int out, const char *name)
{
    big_norm(b, in, name, ".in_layers.0");
    big_layer(b, out, in, 3, 4, true, name, ".in_layers.2");
    big_layer(b, out, 4 * BIG_WIDTH, 1, 2, true, name, ".emb_layers.1");
    big_norm(b, out, name, ".out_layers.0");
    big_layer(b, out, out, 3, 4, true, name, ".out_layers.3");
    if (in != out)
        big_layer(b, out, in, 1, 4, true, name, ".skip_connection");
}

static inline void big_former(big *b, int c, int context, const char *name)
{
    char block[CHECK_NAME - 32];

    snprintf(block, sizeof block, "%s.transformer_blocks.0", name);
    big_norm(b, c, name, ".norm");
    big_layer(b, c, c, 1, 4, true, name, ".proj_in");
    big_layer(b, c, c, 1, 4, true, name, ".proj_out");
    for (int i = 1; i <= 3; i++) {
        char tail[16];
        snprintf(tail, sizeof tail, ".norm%d", i);
        big_norm(b, c, block, tail);
    }
    for (int i = 1; i <= 2; i++) {
        const int from = i == 1 ? c : context;
        char at[CHECK_NAME - 16];
        snprintf(at, sizeof at, "%s.attn%d", block, i);
        big_layer(b, c, c, 1, 2, false, at, ".to_q");
        big_layer(b, c, from, 1, 2, false, at, ".to_k");
        big_layer(b, c, from, 1, 2, false, at, ".to_v");
        big_layer(b, c, c, 1, 2, true, at, ".to_out.0");
    }
    big_layer(b, 8 * c, c, 1, 2, true, block, ".ff.net.0.proj");
    big_layer(b, c, 4 * c, 1, 2, true, block, ".ff.net.2");
}

/* A residual block and, below the first level, two transformers. */
static inline void big_block(big *b, int in, int out, bool formers,
                             const char *name)
{
    char sub[80];

    snprintf(sub, sizeof sub, "%.70s.0", name);
    big_residual(b, in, out, sub);
    for (int i = 1; i <= 2 && formers; i++) {
        snprintf(sub, sizeof sub, "%.64s.%d", name, i);
        big_former(b, out, i == 1 ? out : BIG_CONTEXT, sub);
    }
}

#define BIG_UNET "model.diffusion_model."

static inline void big_unet(big *b)
{
    static const int times[] = { 1, 2, 3, 5 };
    int c = BIG_WIDTH, number = 1, keeps = 0, kept[16];
    char name[64];

    big_layer(b, 4 * c, c, 1, 2, true, BIG_UNET, "time_embed.0");
    big_layer(b, 4 * c, 4 * c, 1, 2, true, BIG_UNET, "time_embed.2");
    big_layer(b, c, 8, 3, 4, true, BIG_UNET, "input_blocks.0.0");
    kept[keeps++] = c;
    for (int level = 0; level < 4; level++) {
        for (int i = 0; i < 2; i++, kept[keeps++] = c) {
            const int out = times[level] * BIG_WIDTH;
            snprintf(name, sizeof name, BIG_UNET "input_blocks.%d", number++);
            big_block(b, c, out, level > 0, name);
            c = out;
        }
        if (level == 3)
            break;
        snprintf(name, sizeof name, BIG_UNET "input_blocks.%d.0.op", number++);
        big_layer(b, c, c, 3, 4, true, name, "");
        kept[keeps++] = c;
    }
    big_block(b, c, c, true, BIG_UNET "middle_block");
    big_residual(b, c, c, BIG_UNET "middle_block.3");
    number = 0;
    for (int level = 3; level >= 0; level--)
        for (int i = 0; i < 3; i++, number++) {
            const int out = times[level] * BIG_WIDTH;
            snprintf(name, sizeof name, BIG_UNET "output_blocks.%d", number);
            big_block(b, c + kept[--keeps], out, level > 0, name);
            c = out;
            if (level && i == 2)
                big_layer(b, c, c, 3, 4, true, name, ".3.conv");
        }
    big_norm(b, c, BIG_UNET, "out.0");
    big_layer(b, 8, c, 3, 4, true, BIG_UNET, "out.2");
}

/* ---- the autoencoder's decoder, the vocoder ---- */

#define BIG_STAGE "first_stage_model."

static inline void big_resnet(big *b, int in, int out, const char *name)
{
    big_norm(b, in, name, ".norm1");
    big_layer(b, out, in, 3, 4, true, name, ".conv1");
    big_norm(b, out, name, ".norm2");
    big_layer(b, out, out, 3, 4, true, name, ".conv2");
    if (in != out)
        big_layer(b, out, in, 1, 4, true, name, ".nin_shortcut");
}

static inline void big_bands(big *b)
{
    static const char *const tails[] = { ".q", ".k", ".v", ".proj_out" };
    static const char attention[] = BIG_STAGE "decoder.mid.attn_1";
    int c = 512;
    char name[64];

    big_layer(b, 8, 8, 1, 4, true, BIG_STAGE, "post_quant_conv");
    big_layer(b, c, 8, 3, 4, true, BIG_STAGE, "decoder.conv_in");
    big_resnet(b, c, c, BIG_STAGE "decoder.mid.block_1");
    big_resnet(b, c, c, BIG_STAGE "decoder.mid.block_2");
    big_norm(b, c, attention, ".norm");
    for (int i = 0; i < 4; i++)
        big_layer(b, c, c, 1, 4, true, attention, tails[i]);
    for (int level = 2; level >= 0; level--) {
        for (int i = 0; i < 3; i++, c = 128 << level) {
            snprintf(name, sizeof name, BIG_STAGE "decoder.up.%d.block.%d", level,
                     i);
            big_resnet(b, c, 128 << level, name);
        }
        snprintf(name, sizeof name, BIG_STAGE "decoder.up.%d", level);
        if (level)
            big_layer(b, c, c, 3, 4, true, name, ".upsample.conv");
    }
    big_norm(b, c, BIG_STAGE, "decoder.norm_out");
    big_layer(b, 1, c, 3, 4, true, BIG_STAGE, "decoder.conv_out");
}

static inline void big_vocoder(big *b)
{
    static const int taps[] = { 16, 16, 8, 4, 4 }, sizes[] = { 3, 7, 11 };
    int c = 1024;
    char name[64], tail[32];

    big_layer(b, c, 64, 7, 3, true, BIG_STAGE, "vocoder.conv_pre");
    for (int i = 0; i < 5; i++) {
        c /= 2;
        snprintf(name, sizeof name, BIG_STAGE "vocoder.ups.%d", i);
        const uint64_t dims[] = { (uint64_t)(2 * c), (uint64_t)c,
                                  (uint64_t)taps[i] };
        char full[CHECK_NAME];
        snprintf(full, sizeof full, "%s.weight", name);
        big_add(b, 3, dims, 1 / sqrtf((float)(2 * c * taps[i])), 0, full);
        snprintf(full, sizeof full, "%s.bias", name);
        big_add(b, 1, dims + 1, 0.1f, 0, full);
        for (int j = 0; j < 3; j++)
            for (int k = 0; k < 6; k++) {
                snprintf(name, sizeof name, BIG_STAGE "vocoder.resblocks.%d",
                         3 * i + j);
                snprintf(tail, sizeof tail, ".convs%d.%d", 1 + k / 3, k % 3);
                big_layer(b, c, c, sizes[j], 3, true, name, tail);
            }
    }
    big_layer(b, 1, c, 7, 3, true, BIG_STAGE, "vocoder.conv_post");
}

/** Writes the file. */
static inline void big_write(const char *file)
{
    big b = { .rng = { 9 } };

    big_unet(&b);
    big_bands(&b);
    big_vocoder(&b);
    qsort(b.list.tensor, b.list.count, sizeof *b.list.tensor, check_by_name);
    check_tensors_write(&b.list, SIZE_MAX,
                        "\"tessera.codec\":\"semanticodec\"", file);
    check_tensors_free(&b.list);
}
#endif
