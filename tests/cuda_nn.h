/* SPDX-License-Identifier: BSD-2-Clause */
/* What the parts of tests/cuda_nn.c share. */
#ifndef TSR_TESTS_CUDA_NN_H
#define TSR_TESTS_CUDA_NN_H
#include "lib/nn/net_internal.h"
#include "tests/check.h"

/** A context on the first device, with messages on stderr. */
tsr_context *cuda_nn_context(tsr_precision precision);

/** Contexts of several threads make the same bits, run after run. */
void cuda_nn_test_same(void **state);

/** Inputs of a batch make the bits that they make alone. */
void cuda_nn_test_batch(void **state);
void cuda_nn_test_large_batch(void **state);

/** Milliseconds of nets shaped like the image codecs', whose names have `only` in
 *  them, and of their steps; precision as tessera's -precision.  Returns main()'s
 *  status. */
int cuda_nn_bench(const char *only, const char *precision);
#endif
