/* SPDX-License-Identifier: BSD-2-Clause */
/* The networks of the token codecs: what VQGAN (vqgan_net.c) and SimVQ
 * (simvq_net.c) are built from.  All sizes are those of the tensors; a tensor
 * that is missing or does not fit is named.  docs/codecs/vqgan.md, "Model". */
#ifndef TSR_CODECS_TOKEN_NET_H
#define TSR_CODECS_TOKEN_NET_H
#include <tessera/model.h>
#include "lib/core.h"
#include "lib/nn/net.h"

enum {
    TSRI_TOKEN_RESOLUTIONS = 8, /* of a net, at most */
    TSRI_TOKEN_BLOCKS = 32,     /* of a resolution, at most */
    TSRI_TOKEN_CHANNELS = 4096, /* at most */
    TSRI_TOKEN_PATCH = 8        /* side of a patch in pixels, at most */
};

typedef enum tsri_token_part {
    TSRI_TOKEN_ENCODER,         /* picture in [-1, 1] -> what is quantised */
    TSRI_TOKEN_DECODER          /* codewords -> picture in [0, 1] */
} tsri_token_part;

typedef struct tsri_token_shape {
    int dim;                    /* numbers of a codeword */
    int factor;                 /* side of a token in pixels */
    int channels;               /* of the encoder's first layer */
} tsri_token_shape;

/** A node of a net being built. */
typedef struct tsri_token_flow {
    int node, channels;
} tsri_token_flow;

/** A net being built; without `net` its tensors are only looked at.  The first
 *  fault sticks, and everything after it does nothing. */
typedef struct tsri_token_build {
    tsr_context *ctx;
    const tsr_model *model;
    tsri_net *net;
    const char *until;          /* stop when this module is done, or NULL */
    bool stopped;
    tsr_error error;
    int groups;                 /* of every norm */
    int patch, resolutions;     /* of the net built */
    int first;                  /* channels of an encoder's first layer */
    float **owned;              /* weights, until the net is finished */
    size_t count, room;
} tsri_token_build;

/** One kind of network: appends all of a part to x. */
typedef tsri_token_flow (*tsri_token_maker)(tsri_token_build *b,
                                            tsri_token_flow x);
typedef struct tsri_token_family {
    tsri_token_maker part[2];   /* by tsri_token_part */
} tsri_token_family;

extern const tsri_token_family tsri_token_vqgan, tsri_token_simvq;

/** Reads the sizes of both nets and checks names, types and dims of all their
 *  tensors.  TSR_OK; TSR_E_SHAPE, the message names the tensor. */
tsr_error tsri_token_shape_read(tsr_context *ctx, const tsr_model *model,
                                const tsri_token_family *family,
                                tsri_token_shape *shape);

/**
 * Builds a net of a model whose shape was read.  The caller frees it.
 *
 * until  NULL, or the name of the module whose output is to be the net's
 *        ("encoder.down.0.downsample"): tests compare what lies between
 *
 * TSR_OK; TSR_E_SHAPE; TSR_E_NOMEM; TSR_E_BACKEND; TSR_E_ARG no such module.
 */
tsr_error tsri_token_net(tsri_net **net, tsr_context *ctx,
                         const tsr_model *model,
                         const tsri_token_family *family,
                         const tsri_token_shape *shape, tsri_token_part part,
                         const char *until);

/**
 * The codewords [*codes][dim] that indices stand for, whichever way the model
 * has them; projections are folded (in double, rounded once).  *words is the
 * caller's to free.
 *
 * TSR_OK; TSR_E_SHAPE a tensor is missing, has another shape, or holds a
 * number that is not finite: the message names it; TSR_E_NOMEM.
 */
tsr_error tsri_token_codewords(tsr_context *ctx, const tsr_model *model,
                               int dim, int *codes, float **words);

/** Their number alone. */
tsr_error tsri_token_codes(tsr_context *ctx, const tsr_model *model, int dim,
                           int *codes);

/* ---- for the families ---- */

typedef enum tsri_token_bias { TSRI_TOKEN_BIASED, TSRI_TOKEN_PLAIN }
    tsri_token_bias;

/** A convolution with the sizes of tensor `name`.weight.  Kernel `kernel`,
 *  zero padding; stride 2 halves, padded as `side` says. */
tsri_token_flow tsri_token_conv(tsri_token_build *b, tsri_token_flow x,
                                int kernel, int stride, tsri_side side,
                                tsri_token_bias bias, const char *name);

/** GroupNorm, then x * sigmoid(x). */
tsri_token_flow tsri_token_norm_act(tsri_token_build *b, tsri_token_flow x,
                                    const char *name);
/** GroupNorm alone. */
tsri_token_flow tsri_token_norm(tsri_token_build *b, tsri_token_flow x,
                                const char *name);

/** x + conv2(act(norm2(conv1(act(norm1(x)))))); `bias` of the convolutions;
 *  x goes through nin_shortcut where the channels change. */
tsri_token_flow tsri_token_residual(tsri_token_build *b, tsri_token_flow x,
                                    tsri_token_bias bias, const char *name);

tsri_token_flow tsri_token_add(tsri_token_build *b, tsri_token_flow x,
                               tsri_token_flow y);

/** A convolution (kernel 3) to four times the channels that it leaves, and
 *  these to twice the sides: out[c][2 y + i][2 x + j] = in[(2 i + j) C + c].
 */
tsri_token_flow tsri_token_up_dcr(tsri_token_build *b, tsri_token_flow x,
                                  const char *name);

/** conv_in of an encoder, with the patches that its tensor asks for. */
tsri_token_flow tsri_token_first(tsri_token_build *b, tsri_token_flow x,
                                 tsri_token_bias bias, const char *name);

/** conv_out of a decoder: to pixels in [0, 1]. */
tsri_token_flow tsri_token_last(tsri_token_build *b, tsri_token_flow x,
                                const char *name);

/** Module `name` is done; returns x. */
tsri_token_flow tsri_token_done(tsri_token_build *b, tsri_token_flow x,
                                const char *name);

/** How many residual blocks `name`.0`tail`, `name`.1`tail`, ... there are; a
 *  fault where there are none, or more than `limit`. */
int tsri_token_count(tsri_token_build *b, int limit, const char *name,
                     const char *tail);

/** Is there a tensor `name``tail`? */
bool tsri_token_has(const tsri_token_build *b, const char *name,
                    const char *tail);

enum { TSRI_TOKEN_NAME = 160 };
/** Joins to[TSRI_TOKEN_NAME]; returns it. */
__attribute__((format(printf, 2, 3)))
const char *tsri_token_name(char *to, const char *format, ...);
#endif
