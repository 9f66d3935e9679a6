/* SPDX-License-Identifier: BSD-2-Clause */
/* Launchers of the entropy model's kernels; hyper_cuda.c has the order.
 *
 * Elements of a pass are counted in coding order: channel of the group, then
 * position.  Maps as in lib/nn/cuda/iconv.h, with a border of one position. */
#ifndef TSR_CODECS_HYPER_KERNELS_H
#define TSR_CODECS_HYPER_KERNELS_H
#include <cuda_runtime_api.h>
#include <stddef.h>
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif

enum { HYK_PASSES_MAX = 16, HYK_CLASSES = 64, HYK_PORTION = 4096 };

/** tsri_iconv_bytes in device memory. */
typedef struct hyk_layer {
    const uint8_t *weight;
    const int32_t *bias;
    int tiles, taps, chunks, shift, out;
} hyk_layer;

typedef struct hyk_map {
    uint8_t *data;              /* the border's first position */
    uint32_t row, stride;       /* bytes */
} hyk_map;

/** A feature layer: from `in` to `out`, clamped at 0 and the limit. */
typedef struct hyk_features {
    hyk_layer layer;
    hyk_map in, out;
    int height, width;          /* computed positions */
    int shuffle;                /* 1, or 2: four channels become four positions */
    int channel;                /* the first one in `out` */
} hyk_features;

/** What a pass works on. */
typedef struct hyk_pass {
    int height, width, odd, positions;
    int first, channels;        /* of y */
    int skip;
    hyk_map map;
    int map_channel;            /* of y's first in the map */
    int16_t *fixed;             /* [latents][height][width] */
    uint8_t *class_of;          /* of this pass's elements */
    int16_t *mean;              /* decoder */
    const float *y;             /* encoder: element (c, y, x) at */
    size_t y_channel, y_place;  /* c * y_channel + (y * width + x) * y_place */
    int16_t *symbol;            /* encoder: what is left of y, rounded */
} hyk_pass;

/** The list of what is coded. */
typedef struct hyk_list {
    int n;                      /* elements, of one pass or of all */
    int passes, start[HYK_PASSES_MAX];  /* where passes begin among them */
    int skip;
    const uint8_t *class_of;
    const int16_t *symbol;      /* encoder */
    const uint8_t *radius;      /* [HYK_CLASSES], encoder */
    const uint16_t *first;      /* [HYK_CLASSES] places of their tables, encoder */
    int32_t *rank;              /* decoder: element to place in the list, or -1 */
    uint16_t *coded;            /* out, host memory, as the rest: classes;
                                   encoder: places of the symbols or escapes */
    int16_t *escape;            /* encoder: the symbol, where it is one */
    int32_t *portion;           /* encoder: of each HYK_PORTION elements twice where
                                   they begin in the list, and 1 more if there are
                                   escapes */
    int32_t *coded_start;       /* [passes + 1] where they begin in the list;
                                   untouched for passes at the end without
                                   elements; then the list's length */
} hyk_list;

/** z times 128 into the map.  symbol: z + HYK_Z, [channels][height][width], in host
 *  memory; where `from` is not NULL it is made of that, [height][width][channels],
 *  rounded and clamped. */
enum { HYK_Z = 15 };
cudaError_t hyk_enter(const hyk_map *map, uint16_t *symbol, const float *from,
                      int channels, int height, int width, cudaStream_t stream);
cudaError_t hyk_features_run(const hyk_features *f, cudaStream_t stream);

/** The first hidden layer of a pass, then 1x1 layers, into [positions] dense. */
cudaError_t hyk_hidden(const hyk_layer *layer, const hyk_pass *p, uint8_t *out,
                       uint32_t out_stride, cudaStream_t stream);
cudaError_t hyk_hidden_next(const hyk_layer *layer, const uint8_t *in,
                            uint32_t in_stride, int positions, uint8_t *out,
                            uint32_t out_stride, cudaStream_t stream);
/** The last layer, whose rows 2 c and 2 c + 1 are mean and class of channel c. */
cudaError_t hyk_predict(const hyk_layer *layer, const uint8_t *in,
                        uint32_t in_stride, const hyk_pass *p,
                        cudaStream_t stream);     /* class_of, mean */
cudaError_t hyk_quantise(const hyk_layer *layer, const uint8_t *in,
                         uint32_t in_stride, const hyk_pass *p,
                         cudaStream_t stream);    /* the rest too */
cudaError_t hyk_compact(const hyk_list *list, cudaStream_t stream);
/** Symbols of the list, with the radius added (host memory), to fixed and map;
 *  rank NULL: there are none. */
cudaError_t hyk_publish(const hyk_pass *p, const int32_t *rank,
                        const int16_t *symbol, const uint8_t *radius,
                        cudaStream_t stream);
#ifdef __cplusplus
}
#endif
#endif
