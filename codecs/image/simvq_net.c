/* SPDX-License-Identifier: BSD-2-Clause */
/* The network of SimVQ's image tokenizers: that of Open-MAGVIT2.
 *
 * Source: Zhu et al., "Addressing Representation Collapse in Vector Quantized
 * Models with One Linear Layer", arXiv 2411.02038; Luo et al., "Open-MAGVIT2",
 * arXiv 2409.04410. */
#include "codecs/image/token_net.h"

typedef tsri_token_build build;
typedef tsri_token_flow flow;

/* Blocks `module`.0, .1, ...; their convolutions have no bias. */
static flow blocks(build *b, flow x, const char *module)
{
    char name[TSRI_TOKEN_NAME];
    const int n = tsri_token_count(b, TSRI_TOKEN_BLOCKS, module, "");
    for (int i = 0; i < n; i++) {
        tsri_token_name(name, "%s.%d", module, i);
        x = tsri_token_residual(b, x, TSRI_TOKEN_PLAIN, name);
    }
    return x;
}

static flow encoder(build *b, flow x)
{
    char name[TSRI_TOKEN_NAME];

    b->resolutions = tsri_token_count(b, TSRI_TOKEN_RESOLUTIONS,
                                      "encoder.down", ".block.0");
    x = tsri_token_first(b, x, TSRI_TOKEN_PLAIN, "encoder.conv_in");
    for (int i = 0; i < b->resolutions; i++) {
        x = blocks(b, x, tsri_token_name(name, "encoder.down.%d.block", i));
        if (i == b->resolutions - 1)
            break;
        tsri_token_name(name, "encoder.down.%d.downsample", i);
        x = tsri_token_conv(b, x, 3, 2, TSRI_BOTH, TSRI_TOKEN_BIASED, name);
    }
    x = blocks(b, x, "encoder.mid_block");
    x = tsri_token_norm_act(b, x, "encoder.norm_out");
    return tsri_token_conv(b, x, 1, 1, TSRI_BOTH, TSRI_TOKEN_BIASED,
                           "encoder.conv_out");
}

static flow decoder(build *b, flow x)
{
    char name[TSRI_TOKEN_NAME];

    b->resolutions = tsri_token_count(b, TSRI_TOKEN_RESOLUTIONS, "decoder.up",
                                      ".block.0");
    x = tsri_token_conv(b, x, 3, 1, TSRI_BOTH, TSRI_TOKEN_BIASED,
                        "decoder.conv_in");
    x = blocks(b, x, "decoder.mid_block");
    for (int i = b->resolutions - 1; i >= 0; i--) {
        x = blocks(b, x, tsri_token_name(name, "decoder.up.%d.block", i));
        if (i == 0)
            break;
        tsri_token_name(name, "decoder.up.%d.upsample.conv1", i);
        x = tsri_token_up_dcr(b, x, name);
        tsri_token_name(name, "decoder.up.%d.upsample", i);
        tsri_token_done(b, x, name);
    }
    x = tsri_token_norm_act(b, x, "decoder.norm_out");
    return tsri_token_last(b, x, "decoder.conv_out");
}

const tsri_token_family tsri_token_simvq = { { encoder, decoder } };
