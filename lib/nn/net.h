/* SPDX-License-Identifier: BSD-2-Clause */
/* A graph runner for two-dimensional convolutional nets with one input and one
 * output.  A net is declared node by node, finished once (weights are folded
 * and packed for the backend), then run any number of times on rectangles of
 * a plane of any size.
 *
 * Rectangles are the point: every node knows which part of its input a part of
 * its output needs, so a picture can be computed in tiles whose result is the
 * same, bit for bit, as that of the whole: padding is applied only at the true
 * borders of each node's plane, inside tiles real neighbours are computed.
 *
 * Two nodes see more than a neighbourhood: a norm needs the statistics of a
 * whole plane, attention the keys and values of a whole plane.  Those are
 * *barriers*, see tsri_net_run_tiled(). */
#ifndef TSR_LIB_NN_NET_H
#define TSR_LIB_NN_NET_H
#include <tessera/model.h>
#include "lib/core.h"

typedef struct tsri_net tsri_net;

/** Half-open: rows y0..y1-1, columns x0..x1-1. */
typedef struct tsri_rect { int y0, x0, y1, x1; } tsri_rect;

/** A float feature map, planar: element (c, y, x) is
 *  data[c * plane + y * row + x]. */
typedef struct tsri_fmap {
    float *data;
    int channels, height, width;
    size_t plane, row;          /* in floats */
} tsri_fmap;

typedef enum tsri_pad { TSRI_PAD_ZERO, TSRI_PAD_REFLECT } tsri_pad;
/** Where a convolution pads: kernel / 2 on every side, or kernel - 1 on the right
 *  and at the bottom only (zeros only). */
typedef enum tsri_side { TSRI_BOTH, TSRI_END } tsri_side;
typedef enum tsri_act { TSRI_ACT_NONE, TSRI_ACT_SILU, TSRI_ACT_RELU } tsri_act;

/** A square convolution: kernel 1 or 3, stride 1 or 2, padding as `side` says;
 *  out = ceil(in / stride).  Reflect padding does not repeat the
 *  border sample and, where the plane is too small for it (1 sample), repeats
 *  it. */
typedef struct tsri_conv {
    int in, out;            /* channels, >= 1 */
    int kernel, stride;
    tsri_pad pad;
    const float *weight;    /* [out][in][kernel][kernel]; copied by finish */
    const float *bias;      /* [out] or NULL */
    tsri_side side;
} tsri_conv;

/** GroupNorm over the whole plane: y = (x - mean_g) / sqrt(var_g + eps) *
 *  gamma[c] + beta[c], mean and (biased) variance over the group's channels and
 *  all samples of the plane.  channels % groups == 0.  Both are found in double
 *  precision, in an order that depends on nothing but the plane's size.
 *  Source: Wu and He, "Group normalization", ECCV 2018. */
typedef struct tsri_norm {
    int groups;
    float eps;                  /* >= 0 */
    const float *gamma, *beta;  /* [channels]; copied by finish */
} tsri_norm;

/** Attention is exact up to this many positions of a plane. */
enum { TSRI_ATTENTION_EXACT = 16384 };

/** Starts a net whose node 0 is an input of `channels` planes. */
tsr_error tsri_net_new(tsri_net **net, tsr_context *ctx, int channels);

/** What a net is for: an encoder's outputs are looked at more closely. */
typedef enum tsri_net_part { TSRI_NET_DECODER, TSRI_NET_ENCODER } tsri_net_part;

/** Chooses the numbers that the net computes with on a device, by the context's
 *  precision; DECODER before the call.  At once after tsri_net_new(). */
void tsri_net_precision(tsri_net *net, tsri_net_part part);

/* Each of these appends a node (or two) that reads node `x` and returns the
 * result's number.  A
 * fault (bad node, bad sizes, no memory) is remembered and returned by
 * tsri_net_finish(), so calls may be chained without looking.  Weights must
 * stay valid until tsri_net_finish(). */
int tsri_net_conv(tsri_net *net, int x, const tsri_conv *conv);
int tsri_net_act(tsri_net *net, int x, tsri_act act);
/** GDN: y = x / sqrt(beta + gamma x^2), inverse: x * sqrt(...).  beta [C],
 *  gamma [C][C] (row = output channel) as used in the formula, already folded.
 *  Source: Balle et al., "Density modeling of images using a generalized
 *  normalization transformation", ICLR 2016. */
int tsri_net_gdn(tsri_net *net, int x, const float *beta, const float *gamma,
                 bool inverse);
/** Pixel shuffle: out[c][r y + i][r x + j] = in[c r r + i r + j][y][x]. */
int tsri_net_shuffle(tsri_net *net, int x, int r);
/** Its inverse; the plane's sides must be multiples of r when it is run. */
int tsri_net_unshuffle(tsri_net *net, int x, int r);
/** Nearest upsampling by 2: out[c][y][x] = in[c][y / 2][x / 2]. */
int tsri_net_upsample(tsri_net *net, int x);
/** GroupNorm. */
int tsri_net_norm(tsri_net *net, int x, const tsri_norm *norm);
/** softmax over positions of (q . k) / sqrt(C), times v: one head; q, k and v
 *  have the same channels C and scale.  The softmax is summed block by block of
 *  256 keys in a fixed order (Milakov and Gimelshein, "Online normalizer
 *  calculation for softmax", 2018), so that no matrix of scores is ever held.
 *
 *  A plane of more than TSRI_ATTENTION_EXACT positions is seen through windows:
 *  it is cut into cells of 16 x 16 positions (smaller at the right and bottom),
 *  and the positions of each 2 x 2 cells (32 x 32 positions, counted from the
 *  top left) see the 8 x 8 cells (128 x 128 positions) around them; at the
 *  plane's borders the window is moved inside.  Time: positions x (positions
 *  seen) x 2 C multiply-adds. */
int tsri_net_attention(tsri_net *net, int q, int k, int v);
/** a + b, same channels and scale. */
int tsri_net_add(tsri_net *net, int a, int b);
/** skip + value * sigmoid(gate). */
int tsri_net_gate(tsri_net *net, int skip, int value, int gate);

/** Declares node `output` the result; fuses, folds and packs.  After an error
 *  only tsri_net_free() may be called. */
tsr_error tsri_net_finish(tsri_net *net, int output);
void tsri_net_free(tsri_net **net);

int tsri_net_in_channels(const tsri_net *net);
int tsri_net_out_channels(const tsri_net *net);

/** Size of the output plane for an input plane of height x width. */
void tsri_net_out_size(const tsri_net *net, int height, int width, int *out_height,
                       int *out_width);

/** The part of the input that `out` needs, inside the input plane. */
tsri_rect tsri_net_in_rect(const tsri_net *net, int height, int width, tsri_rect out);

/** Bytes of activations that tsri_net_run() of `out` takes at most (packed
 *  weights and the caller's buffers not counted).  A part of the output of a net
 *  with norms needs whole planes, too. */
uint64_t tsri_net_memory(const tsri_net *net, int height, int width, tsri_rect out);

/** Multiply-adds for `out`, halo included, without recomputing. */
double tsri_net_macs(const tsri_net *net, int height, int width, tsri_rect out);

/** Writes the input samples of `r` (inside the plane) to dst, whose height and
 *  width are those of `r`.  Called on the running thread. */
typedef tsr_error (*tsri_net_source)(void *cookie, tsri_rect r, tsri_fmap *dst);

/** Takes the output samples of `r`; src is valid during the call. */
typedef tsr_error (*tsri_net_sink)(void *cookie, tsri_rect r,
                                   const tsri_fmap *src);

/**
 * Computes rectangle `out` of the output for an input plane of height x width.
 * Uses the context's threads.
 *
 * A net with norms computes whole planes for it, see tsri_net_run_tiled().
 *
 * source  asked once for tsri_net_in_rect(...)
 * dst     out: height and width of `out`, written whole
 *
 * Returns TSR_OK; TSR_E_ARG an empty rectangle or one outside the plane;
 * TSR_E_NOMEM; TSR_E_BACKEND; what the source returned.
 */
tsr_error tsri_net_run(const tsri_net *net, int height, int width, tsri_rect out,
                       tsri_net_source source, void *cookie, tsri_fmap *dst);

/**
 * Computes the whole output plane in at most `budget` bytes of activations, in
 * tiles, row by row of tiles, whose sides are multiples of `align` output
 * samples (>= 1) except at the right and bottom.  The result does not depend on
 * `budget`, nor on threads, bit for bit.
 *
 * A net without barriers is run once per tile; the least that a tile takes is
 * one alignment step.  So is one with barriers (norms, attention) whose whole
 * plane fits the budget, as a single tile.  Otherwise there are passes:
 * - As long as the plane of a later node fits whole, with all that lies between,
 *   the net is computed up to the last such node, which is kept: a checkpoint.
 *   Checkpoints are nodes that all later ones are computed from and that need no
 *   earlier one (the results of residual blocks).  Only the last is kept, in at
 *   most three quarters of the budget.
 * - Where none fits, the next barrier's statistics are computed in tiles from
 *   the last checkpoint; if what they are made of could be a checkpoint and
 *   fits, it is kept and the former one is dropped.
 * - The planes of keys, values and results of an attention are always held
 *   (keys and values of a windowed one only if they fit), the results up to
 *   the next checkpoint.
 * - After the last barrier the output is computed in tiles.
 * If between the last checkpoint and the output there are n barriers, which cut
 * the net in parts that cost c_0 .. c_n, then time is the sum over k = 0..n of
 * (c_0 + .. + c_k), some (n + 1) / 2 times as much as whole planes take, plus
 * the tiles' halos.  Tiles are then at least 8 x 8 samples, or what gives 8192
 * tiles in a plane (32 x 32 for attention).
 *
 * source  asked for parts of the input, for the same ones several times if
 *         there are several passes
 *
 * Returns what tsri_net_run() does and what the sink returned.
 */
tsr_error tsri_net_run_tiled(const tsri_net *net, int height, int width,
                             uint64_t budget, int align,
                             tsri_net_source source, void *source_cookie,
                             tsri_net_sink sink, void *sink_cookie);

/* ---- whole planes on a device ----
 *
 * What goes in and comes out is in the device's memory, or a picture in bytes on
 * either side.  On the host there is none of this: see tsri_net_fits(). */

/** A picture as the input or the output of a net of three channels.  Sample c of
 *  the plane's position (y, x) is scale * v + offset, v in 0..1 the picture's at
 *  (y - top, x - left); outside of it an input is continued by reflection
 *  (without repeating the border sample), or by its border, and an output is
 *  dropped.  Grey is repeated, and made by Rec. 601 luma; alpha is not touched.
 *  Values are those that codecs/image/image.c makes, bit for bit in float32. */
typedef struct tsri_pixels {
    void *data;
    bool on_device;         /**< data is memory of the context's device */
    int width, height, channels, bits;
    size_t stride;          /**< bytes from row to row, as of tsr_image */
    int top, left;
    bool reflect;
    bool truncates;         /**< output of 8 bits: floor(v * 255.999) */
    float scale, offset;
} tsri_pixels;

/** Floats of the context's device, without gaps: (i, y, x, c) is
 *  data[(((size_t)i * height + y) * width + x) * channels + c]. */
typedef struct tsri_dmap {
    float *data;
    int items, channels, height, width;
} tsri_dmap;

/** One of them is set. */
typedef struct tsri_net_io {
    const tsri_pixels *pixels;  /**< [items] */
    const tsri_dmap *map;
} tsri_net_io;

/** Memory for a map: taken and given back in the order of the device's work,
 *  without waiting for it.  `net` is any net of the context. */
tsr_error tsri_dmap_new(const tsri_net *net, int items, int channels, int height,
                        int width, tsri_dmap *map);
/** map->data becomes NULL; NULL is allowed. */
void tsri_dmap_free(const tsri_net *net, tsri_dmap *map);

/** Whether the net is on a device, and whole planes for `items` inputs of height x
 *  width fit max_memory together. */
bool tsri_net_fits(const tsri_net *net, int items, int height, int width);

/**
 * Computes the whole output planes for `items` inputs of height x width, where
 * tsri_net_fits(): each as by itself, in one go.  Queued on the device's stream: it
 * waits only for pixels that are to be in host memory.
 *
 * Returns TSR_OK; TSR_E_ARG a map of another size; TSR_E_NOMEM; TSR_E_BACKEND.
 */
tsr_error tsri_net_run_io(const tsri_net *net, int items, int height, int width,
                          const tsri_net_io *in, const tsri_net_io *out);
#endif
