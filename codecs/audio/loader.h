/* SPDX-License-Identifier: BSD-2-Clause */
/* From the tensors of a published audio net to the nodes of a runner: looking
 * for tensors, checking them, folding weight norm. */
#ifndef TSR_CODECS_AUDIO_LOADER_H
#define TSR_CODECS_AUDIO_LOADER_H
#include <tessera/model.h>
#include "lib/core.h"
#include "lib/nn/seq.h"

/** What the shapes of tensors cannot tell: the tensor `tessera.audio`. */
typedef struct tsri_audio_form {
    int rate, channels, hop;
    bool causal;
    bool group_norm;        /* after every convolution; else none */
    tsri_seq_pad pad;
    int segment, step;      /* samples; 0: no segments */
} tsri_audio_form;

/**
 * Reads `tessera.audio` and checks each value by itself: rate 1..384000,
 * channels 1..2, hop 1..4096, flags 0..1, segment 0..2^22, step 1..segment (0
 * without segments).
 * Returns TSR_OK; TSR_E_SHAPE, the message names the tensor; TSR_E_NOMEM.
 */
tsr_error tsri_audio_form_read(tsr_context *ctx, const tsr_model *model,
                               tsri_audio_form *form);

enum { TSRI_LOADER_NAME = 192 };

/** A net in the making.  The first fault sticks in `error`, and all that is
 *  called afterwards does nothing. */
typedef struct tsri_loader {
    tsr_context *ctx;
    const tsr_model *model;
    tsri_seq *seq;
    int channels;           /* of the node that was made last */
    tsr_error error;
    float **owned;          /* weights, until the net is finished */
    size_t count, room;
} tsri_loader;

/** Starts a net whose input has `channels` channels. */
void tsri_loader_start(tsri_loader *loader, tsr_context *ctx,
                       const tsr_model *model, int channels);
/** Frees the weights. */
void tsri_loader_drop(tsri_loader *loader);
/** Finishes it and drops them: *seq is the net, or NULL with an error. */
tsr_error tsri_loader_finish(tsri_loader *loader, int output, tsri_seq **seq);

/** Is there a tensor whose name begins so (printf-style)? */
__attribute__((format(printf, 2, 3)))
bool tsri_loader_has(const tsri_loader *loader, const char *prefix, ...);

/** The highest number N of tensors PREFIX.N.xxx; -1: none. */
int tsri_loader_last(const tsri_loader *loader, const char *prefix);

/** Floats of a tensor of exactly these dims, the loader's; NULL after a fault.
 *  It must be finite. */
__attribute__((format(printf, 4, 5)))
const float *tsri_loader_floats(tsri_loader *loader, int rank,
                                const uint64_t *dims, const char *name, ...);

/** The sides of the weight of convolution `name`: of NAME.weight or, with weight
 *  norm, NAME.weight_v.  Each 1..16384, or it is a fault. */
bool tsri_loader_sides(tsri_loader *loader, const char *name, int sides[3]);

/** That weight as floats, weight norm folded. */
const float *tsri_loader_weight(tsri_loader *loader, const char *name,
                                const int sides[3]);

/** A fault of tensor `name`. */
void tsri_loader_bad(tsri_loader *loader, const char *name);

/** A convolution node with the weight and bias of `name`: its input must have
 *  loader->channels channels, its sizes come from the shapes.  spec: stride,
 *  dilation, left, right, complete and pad are used. */
int tsri_loader_conv(tsri_loader *loader, int x, const char *name,
                     const tsri_seq_conv *spec);
/** The same for transposed ones; spec: stride and trim. */
int tsri_loader_convtr(tsri_loader *loader, int x, const char *name,
                       const tsri_seq_convtr *spec);
/** Group normalisation with NAME.weight and NAME.bias. */
int tsri_loader_group_norm(tsri_loader *loader, int x, const char *name,
                           int groups, float eps);
#endif
