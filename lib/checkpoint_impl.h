/* SPDX-License-Identifier: BSD-2-Clause */
/* What the readers of the single formats share. */
#ifndef TSR_LIB_CHECKPOINT_IMPL_H
#define TSR_LIB_CHECKPOINT_IMPL_H
#include "lib/checkpoint.h"
#include "lib/pickle.h"
#include "lib/zip.h"

enum { TSRI_CHECKPOINT_NAME = 1001 };   /* with its 0 */

/** Where the elements of a tensor lie. */
typedef struct tsri_storage {
    const tsri_zip_member *member;  /* in the archive; NULL: in memory */
    const uint8_t *memory;
    uint64_t at;                    /* bytes before its first element */
    uint64_t count;                 /* elements */
} tsri_storage;

typedef struct tsri_checkpoint_tensor {
    tsr_tensor tensor;
    size_t name;                    /* in `names`, until all are known */
    tsri_storage storage;
    uint64_t offset;                /* elements */
    uint64_t strides[TSR_TENSOR_MAX_DIMS];
    bool plain;                     /* C order, nothing between */
} tsri_checkpoint_tensor;

typedef struct tsri_checkpoint_value {
    const char *path;
    size_t name;
    tsri_pickle_ref ref;
} tsri_checkpoint_value;

struct tsri_checkpoint {
    tsr_context *ctx;
    const char *kind;
    char *path;
    void *mapped;                   /* the file, if it is ours */
    const uint8_t *file;
    size_t size;
    tsri_zip *zip;
    tsri_pickle *pickle;
    tsr_model **model;              /* safetensors */
    size_t models, model_room;
    char *names;
    size_t name_bytes, name_room;
    tsri_checkpoint_tensor *tensor; /* sorted by name in the end */
    size_t tensors, tensor_room;
    tsri_checkpoint_value *value;
    size_t values, value_room;
    uint64_t contents, claimed;     /* bytes: of all storages, of all tensors */
    uint8_t *scratch;               /* a tensor with strides, put in order */
};

/** What a tensor to be added is like. */
typedef struct tsri_tensor_spec {
    const char *name;
    tsr_dtype dtype;
    int rank;
    uint64_t dims[TSR_TENSOR_MAX_DIMS];
    uint64_t strides[TSR_TENSOR_MAX_DIMS];  /* elements */
    uint64_t offset;
    tsri_storage storage;
} tsri_tensor_spec;

/** Strides of C order, or of Fortran's. */
void tsri_spec_order(tsri_tensor_spec *spec, bool fortran);

/** Adds one after all checks; cp->contents must be known. */
tsr_error tsri_checkpoint_add(tsri_checkpoint *cp, const tsri_tensor_spec *spec);

/** Adds a value of the pickle. */
tsr_error tsri_checkpoint_note(tsri_checkpoint *cp, const char *path,
                               tsri_pickle_ref ref);

/* The formats; cp->file is there. */
tsr_error tsri_checkpoint_torch_zip(tsri_checkpoint *cp, const char *prefix);
tsr_error tsri_checkpoint_torch_legacy(tsri_checkpoint *cp);
tsr_error tsri_checkpoint_pickle(tsri_checkpoint *cp);
tsr_error tsri_checkpoint_npy(tsri_checkpoint *cp);
tsr_error tsri_checkpoint_gguf(tsri_checkpoint *cp);
tsr_error tsri_checkpoint_npz(tsri_checkpoint *cp);
tsr_error tsri_checkpoint_safetensors(tsri_checkpoint *cp);
tsr_error tsri_checkpoint_index(tsri_checkpoint *cp);
#endif
