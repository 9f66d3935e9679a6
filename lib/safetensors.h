/* SPDX-License-Identifier: BSD-2-Clause */
/* The head of a safetensors file in the making: texts first, then tensors in
 * the order of their data. */
#ifndef TSR_LIB_SAFETENSORS_H
#define TSR_LIB_SAFETENSORS_H
#include <tessera/model.h>
#include "lib/core.h"

/** Zeros, but for ctx, to start with.  The first fault sticks. */
typedef struct tsri_safetensors {
    tsr_context *ctx;
    tsr_error error;
    char *text;
    size_t used, room;
    uint64_t offset;        /* of the next tensor's data */
    bool tensors;           /* texts are behind us */
} tsri_safetensors;

/** Adds a text, which must be UTF-8: TSR_E_ARG.  Keys are not compared. */
void tsri_safetensors_text(tsri_safetensors *head, const char *key,
                           const char *value);

/** Adds a tensor of `bytes` bytes. */
void tsri_safetensors_tensor(tsri_safetensors *head, const tsr_tensor *tensor);

/**
 * Ends it.
 *
 * data  out: the file up to the first tensor's data, a multiple of 8 bytes; the
 *       head's, until it is freed
 */
tsr_error tsri_safetensors_end(tsri_safetensors *head, const void **data,
                               size_t *size);
void tsri_safetensors_free(tsri_safetensors *head);
#endif
