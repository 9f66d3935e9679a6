/* SPDX-License-Identifier: BSD-2-Clause */
/* What the parts of tests/cuda_nn.c share. */
#ifndef TSR_TESTS_CUDA_NN_H
#define TSR_TESTS_CUDA_NN_H
#include "lib/nn/net_internal.h"
#include "tests/check.h"

/** A context on the first device, with messages on stderr. */
tsr_context *cuda_nn_context(tsr_precision precision);

/** Milliseconds of nets shaped like the image codecs', and of their steps. */
int cuda_nn_bench(const char *only);
#endif
