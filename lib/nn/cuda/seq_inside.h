/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of one-dimensional nets on a CUDA device share. */
#ifndef TSR_LIB_NN_CUDA_SEQ_INSIDE_H
#define TSR_LIB_NN_CUDA_SEQ_INSIDE_H
#include "lib/cuda/device_cuda.h"
#include "lib/nn/cuda/seq_kernels.h"
#include "lib/nn/seq_device.h"

enum { TSRI_SEQ_SPARE = 8, TSRI_SEQ_SIDES = 2 };

/* Host memory that copies are fast from, given back and kept: to get it takes
 * longer than to code a second of sound. */
typedef struct tsri_seq_spare {
    void *mem;
    size_t bytes;
    bool used;
} tsri_seq_spare;

struct tsri_seq_dev {
    tsr_context *ctx;
    tsri_cuda *gpu;
    sqk_type type;
    bool clusters;
    tsri_seq_spare host[TSRI_SEQ_SPARE];
    double *sums;               /* of group norms; grows */
    size_t sums_room;
    cudaStream_t side[TSRI_SEQ_SIDES];  /* for what is done aside */
    cudaEvent_t event;          /* what one stream waits for of another */
    int sides;                  /* aside of how many */
};

typedef struct tsri_seq_conv_weights {
    void *weight;
    float *bias;
} tsri_seq_conv_weights;

typedef struct tsri_seq_lstm_weights {
    void *weight;
    int blocks, units, parts, steps;    /* struct sqk_lstm */
} tsri_seq_lstm_weights;

/* Weights of either kind begin so. */
typedef struct tsri_seq_weights {
    bool recurrent;
    union {
        tsri_seq_conv_weights conv;
        tsri_seq_lstm_weights lstm;
    };
} tsri_seq_weights;

/* Bytes. */
static inline size_t tsri_seq_element(sqk_type type)
{
    return type == SQK_F32 ? 4 : 2;
}

/* Operations of struct tsri_seq_ops: seq_pack_cuda.c. */
tsr_error tsri_seq_cuda_pack(tsri_seq_dev *dev, const tsri_conv1d *c, void **out);
tsr_error tsri_seq_cuda_pack_lstm(tsri_seq_dev *dev, const tsri_lstm *l,
                                  void **out);
void tsri_seq_cuda_unpack(tsri_seq_dev *dev, void *packed);
#endif
