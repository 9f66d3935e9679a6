/* SPDX-License-Identifier: BSD-2-Clause */
/* Launchers of the kernels behind lib/nn/device.h.  Numbers are those of its
 * structures; memory is the device's; all are queued on `stream`. */
#ifndef TSR_LIB_NN_CUDA_STEPS_KERNELS_H
#define TSR_LIB_NN_CUDA_STEPS_KERNELS_H
#include <cuda_runtime_api.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum { NNK_F32, NNK_F16, NNK_BF16 } nnk_type;

/** NHWC samples of rows y0.. and columns x0.. of the planes of some items. */
typedef struct nnk_map {
    void *data;
    int y0, x0, rows, cols, lanes, items;
} nnk_map;

/** A picture, see tsri_pixels. */
typedef struct nnk_pixels {
    void *data;
    int width, height, channels, wide;  /* wide: 16 bits */
    size_t stride;
    int top, left, reflect, truncates;
    float scale, offset;
} nnk_pixels;

typedef struct nnk_gather {
    nnk_map src;
    void *dst;                  /* as many items */
    int wide;                   /* dst is float */
    int channels;
    int y0, x0, rows, cols, lanes;
    int height, width, unshuffle, upsample;
    int reflect;
    int pre;                    /* 0 copy, 1 silu, 2 relu, 3 square */
    const float *norm;
} nnk_gather;

typedef struct nnk_post {
    int post;                   /* 0 store, 1 add, 2 gate, 3 gdn, 4 igdn,
                                   5 shuffle */
    nnk_map row;
    int wide;                   /* row is float */
    nnk_map arg[2], dst;
    int channels, shuffle, permuted;
} nnk_post;

typedef struct nnk_norm {
    nnk_map src;
    int channels, groups;
    float eps;
    const float *weights;
    float *out;
    float *sums;                /* scratch: nnk_norm_floats() of each item */
} nnk_norm;

/** Maps of one item. */
typedef struct nnk_attention {
    nnk_map q, k, v, dst;
    int channels, windowed;
} nnk_attention;

/** A convolution, NHWC; pointers of 16 bytes.  PIECE: numbers of 16 bytes. */
typedef struct nnk_conv {
    const void *x, *weight;     /* weight [out][kernel][kernel][in] */
    const float *bias;
    const void *add;            /* like y; NULL: none */
    void *y;                    /* items x rows x cols x out, dense */
    int64_t row;                /* numbers from one row of x to the next */
    int64_t plane;              /* and from one item to the next */
    int items;
    int height, width;          /* of x */
    int in, out;                /* in, row, plane: multiples of PIECE; out: of 4 */
    int kernel, stride;
    int top, left;              /* zeros before x; those behind it are as many as
                                   rows and cols want */
    int rows, cols;             /* rows * cols + 128 is an int */
    int act;                    /* 0 none, 1 silu, 2 relu; before adding */
    int wide;                   /* y and add are floats */
} nnk_conv;

/** Those of planes and pixels take maps of one item. */
cudaError_t nnk_enter(nnk_type type, const nnk_map *map, const float *planes,
                      int channels, cudaStream_t stream);
cudaError_t nnk_leave(nnk_type type, const nnk_map *map, float *planes,
                      int channels, cudaStream_t stream);
/** The same of [items][rows][cols][channels]. */
cudaError_t nnk_enter_map(nnk_type type, const nnk_map *map, const float *samples,
                          int channels, cudaStream_t stream);
cudaError_t nnk_leave_map(nnk_type type, const nnk_map *map, float *samples,
                          int channels, cudaStream_t stream);
cudaError_t nnk_enter_pixels(nnk_type type, const nnk_map *map,
                             const nnk_pixels *pixels, cudaStream_t stream);
cudaError_t nnk_leave_pixels(nnk_type type, const nnk_map *map,
                             const nnk_pixels *pixels, cudaStream_t stream);
cudaError_t nnk_gather_run(nnk_type type, const nnk_gather *g,
                           cudaStream_t stream);
cudaError_t nnk_post_run(nnk_type type, const nnk_post *p, cudaStream_t stream);
size_t nnk_norm_floats(int rows, int cols, int lanes);
cudaError_t nnk_norm_run(nnk_type type, const nnk_norm *n, cudaStream_t stream);
/** weights[i][j] = softmax over j < keys of scale * scores[i][j], 0 from keys to
 *  padded, which rows are of; padded % 8 == 0. */
cudaError_t nnk_softmax_run(nnk_type type, const float *scores, void *weights,
                            int queries, int keys, int padded, float scale,
                            cudaStream_t stream);
/** to[c][j] = channel c of sample j of a part of the map, 0 from rows * cols to
 *  padded. */
cudaError_t nnk_turn_run(nnk_type type, const nnk_map *map, int y0, int x0,
                         int rows, int cols, void *to, int padded,
                         cudaStream_t stream);
/** Attention by itself, for shapes that cuDNN has no products for; up to 1024
 *  channels. */
cudaError_t nnk_attention_run(nnk_type type, const nnk_attention *a,
                              cudaStream_t stream);
/** y = act(y + bias) + add, dense [samples][lanes]; act: 0 none, 1 silu, 2 relu;
 *  add: NULL for none. */
cudaError_t nnk_bias_run(nnk_type type, void *y, const float *bias,
                         const void *add, size_t samples, int lanes, int act,
                         cudaStream_t stream);
cudaError_t nnk_conv_run(nnk_type type, const nnk_conv *c, cudaStream_t stream);
/** *differ = 1 if a and b, which have n halves of words, are not the same bits. */
cudaError_t nnk_differ_run(const void *a, const void *b, size_t n, int *differ,
                           cudaStream_t stream);
/** to[i] = from[i] in the type's numbers. */
cudaError_t nnk_convert_run(nnk_type type, void *to, const float *from,
                            size_t n, cudaStream_t stream);

#ifdef __cplusplus
}
#endif
#endif
