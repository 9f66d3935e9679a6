/* SPDX-License-Identifier: BSD-2-Clause */
/* The network of VQGAN as VQGAN-LC, plain VQGAN and our own models have it.
 *
 * Source: Esser, Rombach & Ommer, "Taming Transformers for High-Resolution
 * Image Synthesis", CVPR 2021; Zhu et al., "Scaling the Codebook Size of VQGAN
 * to 100,000 with a Utilization Rate of 99%", NeurIPS 2024. */
#include "codecs/image/token_net.h"

typedef tsri_token_build build;
typedef tsri_token_flow flow;

static flow conv(build *b, flow x, int kernel, const char *module,
                 const char *tail)
{
    char name[TSRI_TOKEN_NAME];
    return tsri_token_conv(b, x, kernel, 1, TSRI_BOTH, TSRI_TOKEN_BIASED,
                           tsri_token_name(name, "%s%s", module, tail));
}

/* x + proj_out(attention(q(n), k(n), v(n))), n = norm(x). */
static flow attention(build *b, flow x, const char *module)
{
    char name[TSRI_TOKEN_NAME];
    const flow n = tsri_token_norm(b, x,
                                   tsri_token_name(name, "%s.norm", module));
    const flow q = conv(b, n, 1, module, ".q");
    const flow k = conv(b, n, 1, module, ".k");
    flow v = conv(b, n, 1, module, ".v");

    if (b->net && !b->error && !b->stopped)
        v.node = tsri_net_attention(b->net, q.node, k.node, v.node);
    v = conv(b, v, 1, module, ".proj_out");
    return tsri_token_done(b, tsri_token_add(b, x, v), module);
}

static bool has_attention(const build *b, const char *module)
{
    return tsri_token_has(b, module, ".norm.weight") ||
           tsri_token_has(b, module, ".q.weight");
}

/* The blocks of one resolution, each with attention where there is one. */
static flow blocks(build *b, flow x, const char *module)
{
    char name[TSRI_TOKEN_NAME];

    tsri_token_name(name, "%s.block", module);
    const int n = tsri_token_count(b, TSRI_TOKEN_BLOCKS, name, "");
    for (int i = 0; i < n; i++) {
        tsri_token_name(name, "%s.block.%d", module, i);
        x = tsri_token_residual(b, x, TSRI_TOKEN_BIASED, name);
        tsri_token_name(name, "%s.attn.%d", module, i);
        if (has_attention(b, name))
            x = attention(b, x, name);
    }
    return x;
}

static flow middle(build *b, flow x, const char *module)
{
    char name[TSRI_TOKEN_NAME];

    x = tsri_token_residual(b, x, TSRI_TOKEN_BIASED,
                            tsri_token_name(name, "%s.block_1", module));
    tsri_token_name(name, "%s.attn_1", module);
    if (has_attention(b, name))
        x = attention(b, x, name);
    return tsri_token_residual(b, x, TSRI_TOKEN_BIASED,
                               tsri_token_name(name, "%s.block_2", module));
}

static flow encoder(build *b, flow x)
{
    char name[TSRI_TOKEN_NAME], sub[TSRI_TOKEN_NAME];

    b->resolutions = tsri_token_count(b, TSRI_TOKEN_RESOLUTIONS,
                                      "encoder.down", ".block.0");
    x = tsri_token_first(b, x, TSRI_TOKEN_BIASED, "encoder.conv_in");
    for (int i = 0; i < b->resolutions; i++) {
        x = blocks(b, x, tsri_token_name(name, "encoder.down.%d", i));
        if (i == b->resolutions - 1)
            break;
        tsri_token_name(sub, "%s.downsample.conv", name);
        x = tsri_token_conv(b, x, 3, 2, TSRI_END, TSRI_TOKEN_BIASED, sub);
        tsri_token_done(b, x, tsri_token_name(sub, "%s.downsample", name));
    }
    x = middle(b, x, "encoder.mid");
    x = tsri_token_norm_act(b, x, "encoder.norm_out");
    x = conv(b, x, 3, "encoder", ".conv_out");
    return conv(b, x, 1, "quant_conv", "");
}

static flow decoder(build *b, flow x)
{
    char name[TSRI_TOKEN_NAME], sub[TSRI_TOKEN_NAME];

    b->resolutions = tsri_token_count(b, TSRI_TOKEN_RESOLUTIONS, "decoder.up",
                                      ".block.0");
    x = conv(b, x, 1, "post_quant_conv", "");
    x = conv(b, x, 3, "decoder", ".conv_in");
    x = middle(b, x, "decoder.mid");
    for (int i = b->resolutions - 1; i >= 0; i--) {
        x = blocks(b, x, tsri_token_name(name, "decoder.up.%d", i));
        if (i == 0)
            break;
        if (b->net && !b->error && !b->stopped)
            x.node = tsri_net_upsample(b->net, x.node);
        x = conv(b, x, 3, name, ".upsample.conv");
        tsri_token_done(b, x, tsri_token_name(sub, "%s.upsample", name));
    }
    x = tsri_token_norm_act(b, x, "decoder.norm_out");
    return tsri_token_last(b, x, "decoder.conv_out");
}

const tsri_token_family tsri_token_vqgan = { { encoder, decoder } };
