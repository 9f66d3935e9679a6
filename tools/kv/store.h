/* SPDX-License-Identifier: BSD-2-Clause */
/* Writes .safetensors files. */
#ifndef TOOLS_KV_STORE_H
#define TOOLS_KV_STORE_H
#include <stddef.h>
#include <stdint.h>
#include "tools/output.h"

/** Tensors and texts to be written; zeros are none. */
typedef struct store {
    char *texts, *tensors;      /* parts of the header */
    uint8_t *data;
    size_t text_size, tensor_size, size;
    int failed;                 /* memory was out */
} store;

/** Adds a text; both must be free of quotes and backslashes. */
void store_text(store *s, const char *key, const char *value);

/** Adds a tensor, copied; dtype as the format spells it, of `element` bytes;
 *  rank 1 or 2, cols 0: of rank 1. */
void store_tensor(store *s, const char *name, const char *dtype, size_t element,
                  size_t rows, size_t cols, const void *data);

/** Adds one of any rank, 1..4. */
void store_array(store *s, const char *name, const char *dtype, size_t element,
                 int rank, const size_t *dims, const void *data);

/** A matrix from floats, written as halves (nearest even). */
void store_halves(store *s, const char *name, size_t rows, size_t cols,
                  const float *data);

/** Writes all; returns an exit status. */
int store_write(const store *s, output *out);
void store_close(store *s);
#endif
