/* SPDX-License-Identifier: BSD-2-Clause */
/* Layers over small planes on a CUDA device, by kernels of our own. */
#ifndef TSR_LIB_NN_CUDA_PLANE_CUDA_H
#define TSR_LIB_NN_CUDA_PLANE_CUDA_H
#include "lib/nn/plane_device.h"

extern const tsri_plane_ops tsri_plane_cuda;
#endif
