/* SPDX-License-Identifier: BSD-2-Clause */
/* The inside of the UNet: blocks of layers; unet_load.c fills them, unet.c runs
 * them. */
#ifndef TSR_CODECS_AUDIO_UNET_IMPL_H
#define TSR_CODECS_AUDIO_UNET_IMPL_H
#include "codecs/audio/unet.h"

enum { TSRI_UNET_BLOCKS = 64, TSRI_UNET_PARTS = 4, TSRI_UNET_GROUPS = 32 };
/* What norms of residual blocks and of transformers add. */
#define TSRI_UNET_RESIDUAL_EPS 1e-5f
#define TSRI_UNET_FORMER_EPS 1e-6f

/** Weight and bias of a norm, one behind the other. */
typedef struct tsri_unet_norm {
    int channels;
    float *weight;              /* [2][channels] */
} tsri_unet_norm;

typedef struct tsri_unet_attention {
    tsri_conv1d q, k, v, out;   /* q divided by sqrt(head) */
} tsri_unet_attention;

/** x + conv2(silu(norm2(conv1(silu(norm1(x))) + emb))), x through `skip` where
 *  channels change. */
typedef struct tsri_unet_residual {
    tsri_unet_norm norm1, norm2;
    tsri_plane_conv conv1, conv2, skip;
    tsri_conv1d time;
    bool changes;
} tsri_unet_residual;

/** A block of a transformer, with attention to itself, to itself or a condition,
 *  and a gated layer, between two layers of one tap. */
typedef struct tsri_unet_former {
    tsri_unet_norm norm, norms[3];
    tsri_conv1d in, out, up, down;
    tsri_unet_attention attention[2];
    int condition;              /* which of the conditions; -1: itself */
} tsri_unet_former;

typedef enum tsri_unet_kind {
    TSRI_UNET_CONV, TSRI_UNET_RESIDUAL, TSRI_UNET_FORMER
} tsri_unet_kind;

typedef struct tsri_unet_part {
    tsri_unet_kind kind;
    tsri_plane_conv conv;
    tsri_unet_residual *residual;
    tsri_unet_former *former;
} tsri_unet_part;

typedef struct tsri_unet_block {
    tsri_unet_part part[TSRI_UNET_PARTS];
    int parts;
} tsri_unet_block;

struct tsri_unet {
    tsr_context *ctx;
    tsri_plane_runner run;
    int height, width, positions, context;
    int channels, first;        /* in and out; behind the first layer */
    tsri_unet_block in[TSRI_UNET_BLOCKS], out[TSRI_UNET_BLOCKS], middle;
    int ins, outs;
    int conditions;
    tsri_conv1d time[2];
    tsri_unet_norm last;
    tsri_plane_conv end;
    double macs, condition_macs;
    /* A run: what is kept for the second half, and working memory. */
    float *skip[TSRI_UNET_BLOCKS], *x[2], *work[4];
    float *time_floats;         /* [3][widest] */
};

struct tsri_unet_condition {
    float **key, **value;       /* [conditions][positions][channels] */
};

/** A plane on its way through the net. */
typedef struct tsri_unet_flow {
    int height, width, channels;
} tsri_unet_flow;

static inline size_t tsri_unet_floats(const tsri_unet_flow *f)
{
    return (size_t)f->height * (size_t)f->width * (size_t)f->channels;
}

typedef struct tsri_unet_sizes {
    size_t plane, work[4];      /* floats, at most */
    size_t gathered;            /* that a convolution reads */
    int read;                   /* channels of a convolution, at most */
    int keys, wide;             /* positions of an attention; channels of a plane */
    double macs, condition_macs;
} tsri_unet_sizes;

/** kept: out, [ins] planes that the first half keeps.  false: halves do not meet at
 *  planes of the same size, and the net is none. */
bool tsri_unet_size(const tsri_unet *unet, tsri_unet_sizes *sizes,
                    tsri_unet_flow *kept);
/** time_floats: what layers `time` of residual blocks read at time t. */
tsr_error tsri_unet_embed(tsri_unet *unet, int t);

/** Fills in blocks, `first`, `conditions` and what is at the ends.  Close the net
 *  in any case. */
tsr_error tsri_unet_load(tsri_unet *unet, const tsr_model *model);
void tsri_unet_unload(tsri_unet *unet);
#endif
