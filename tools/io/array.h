/* SPDX-License-Identifier: BSD-2-Clause */
/* Arrays of numbers: .npy files, and tensors of .safetensors files. */
#ifndef TOOLS_IO_ARRAY_H
#define TOOLS_IO_ARRAY_H
#include <tessera/model.h>
#include "tools/input.h"
#include "tools/output.h"

typedef struct array {
    input in;
    tsr_model *model;       /**< of a .safetensors file, else NULL */
    uint8_t *bytes;         /**< of a .npy file, else NULL */
    const uint8_t *data;    /**< count elements, little-endian */
    tsr_dtype dtype;
    int rank;
    uint64_t dims[TSR_TENSOR_MAX_DIMS];
    uint64_t count;
} array;

/** Opens `path`; `tensor` names one of a .safetensors file, NULL for .npy.
 *  Returns an exit status; has said what was wrong.  array_close() in any case. */
int array_open(array *a, tsr_context *ctx, const char *path,
               const char *tensor);
/** The .npy array in `in`, which is open already and goes over to `a`. */
int array_take(array *a, input *in);
void array_close(array *a);

/** Copies to rows of floats: the last dimension is a vector, the others count
 *  them.  *out: free() it.  Returns an exit status. */
int array_floats(const array *a, float **out, size_t *rows, int *dim);

/** Copies whole numbers of least..2^31 - 1, whatever the dimensions. */
int array_codes(const array *a, int32_t least, int32_t **out, size_t *n);

/** Writes a .npy file of rows x cols (cols 0: of one dimension) numbers of 4
 *  bytes; descr is "<f4" or "<i4".  output_close() says what went wrong. */
void array_write(output *out, const char *descr, size_t rows, int cols,
                 const void *data);

/** The same in parts: the head of an array of 1 to 3 dimensions, then its
 *  whole numbers, of 2 or 4 bytes each. */
void array_write_head(output *out, const char *descr, const uint64_t *dims,
                      int rank);
void array_write_codes(output *out, int bytes, const int32_t *codes, size_t n);
#endif
