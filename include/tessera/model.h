/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TSR_MODEL_H
#define TSR_MODEL_H
#include <stddef.h>
#include <stdint.h>
#include <tessera/context.h>
#include <tessera/error.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * A model file: named tensors and text metadata in the safetensors format,
 * mapped into memory.  Immutable after it is opened, reference-counted, shared
 * by any number of contexts and threads.
 */
typedef struct tsr_model tsr_model;

typedef enum tsr_dtype {
    TSR_F32 = 1, TSR_F16 = 2, TSR_BF16 = 3, TSR_F64 = 4,
    TSR_U8 = 10, TSR_I8 = 11, TSR_U16 = 12, TSR_I16 = 13,
    TSR_U32 = 14, TSR_I32 = 15, TSR_U64 = 16, TSR_I64 = 17, TSR_BOOL = 18
} tsr_dtype;

enum { TSR_MODEL_HASH_BYTES = 32, TSR_TENSOR_MAX_DIMS = 8 };

/** A view of one tensor; valid as long as its model. */
typedef struct tsr_tensor {
    const char *name;
    tsr_dtype dtype;
    int rank;                          /**< 0..TSR_TENSOR_MAX_DIMS */
    uint64_t dims[TSR_TENSOR_MAX_DIMS];/**< outermost first, C order */
    const void *data;                  /**< little-endian, not always aligned */
    size_t bytes;
} tsr_tensor;

/** Bytes of one element; 0 for an unknown value. */
TSR_API size_t tsr_dtype_bytes(tsr_dtype dtype);

/** "F32", "I16" ... as safetensors spells it; "?" for an unknown value. */
TSR_API const char *tsr_dtype_name(tsr_dtype dtype);

/**
 * Opens a model by name or path.
 *
 * model    out, one reference; NULL on failure
 * context  for memory and messages; need not outlive the model
 * name     a path when it holds a '/' or ends in ".safetensors"; otherwise the
 *          name of a model, looked for as NAME.safetensors in the folders of
 *          tsr_model_folders()
 *
 * The header is checked before anything is believed: lengths, products,
 * offsets, overlaps, duplicate names.  The hash stored in the file is compared
 * with the tensors.  Cost: one pass of SHA-256 over the file.
 *
 * Returns TSR_OK; TSR_E_MODEL no such model; TSR_E_FORMAT, TSR_E_CORRUPT,
 * TSR_E_TRUNCATED, TSR_E_CHECKSUM the file is not a sound model; TSR_E_IO;
 * TSR_E_NOMEM.
 */
TSR_API TSR_CHECKED tsr_error tsr_model_open(tsr_model **model,
                                             tsr_context *context,
                                             const char *name);

/**
 * Finds the model that a stream was made with.
 *
 * hash   the first `bytes` bytes of the model's hash, 1..32 bytes
 *
 * Opens every model file of the folders until one matches.  Returns as
 * tsr_model_open(); TSR_E_MODEL when none matches.
 */
TSR_API TSR_CHECKED tsr_error tsr_model_open_hash(tsr_model **model,
                                                  tsr_context *context,
                                                  const uint8_t *hash,
                                                  size_t bytes);

/** One more reference; returns `model`. */
TSR_API tsr_model *tsr_model_ref(tsr_model *model);

/** Drops a reference and sets *model to NULL; NULL is allowed. */
TSR_API void tsr_model_unref(tsr_model **model);

/** Metadata text of `key`, or NULL; valid as long as the model.
 *  Keys: tessera.codec, tessera.name, license, ... (docs/models.md). */
TSR_API const char *tsr_model_meta(const tsr_model *model, const char *key);

/** The model's name: metadata tessera.name, else the file's name. */
TSR_API const char *tsr_model_name(const tsr_model *model);

/** The path it was opened from. */
TSR_API const char *tsr_model_path(const tsr_model *model);

/** The id of the codec it belongs to, or "" if it says none. */
TSR_API const char *tsr_model_codec(const tsr_model *model);

/**
 * The 32 bytes that name the model in streams: SHA-256 over the tensors in
 * order of their names (bytewise): for each its name, a 0 byte, its type as in
 * safetensors, a 0 byte, its dims in decimal joined by 'x', a 0 byte, its data.
 * Metadata and file layout do not count.
 */
TSR_API const uint8_t *tsr_model_hash(const tsr_model *model);

TSR_API size_t tsr_model_tensor_count(const tsr_model *model);

/** Tensor i in order of names, i < count; NULL outside. */
TSR_API const tsr_tensor *tsr_model_tensor_at(const tsr_model *model, size_t i);

/** The tensor of that name, or NULL. */
TSR_API const tsr_tensor *tsr_model_tensor(const tsr_model *model,
                                           const char *name);

/** Bytes of the file. */
TSR_API uint64_t tsr_model_file_bytes(const tsr_model *model);

/**
 * The folders models are looked for in, first match wins: each part of
 * $TESSERA_MODELS (separated by ':'), $XDG_DATA_HOME/tessera/models (else
 * ~/.local/share/...), the installed data folder, and, for a program that runs
 * from its build tree, the models/ folder of the source tree.
 *
 * Calls `visit` for each folder that exists, until it returns non-zero.
 */
TSR_API void tsr_model_folders(int (*visit)(void *cookie, const char *folder),
                               void *cookie);

/** Calls `visit` with the path of every *.safetensors file of these folders,
 *  sorted by name inside a folder, until it returns non-zero. */
TSR_API void tsr_model_files(int (*visit)(void *cookie, const char *path),
                             void *cookie);

#ifdef __cplusplus
}
#endif
#endif
