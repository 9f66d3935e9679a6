/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TSR_IMPORT_H
#define TSR_IMPORT_H
#include <stddef.h>
#include <tessera/context.h>
#include <tessera/error.h>
#include <tessera/io.h>
#include <tessera/model.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Published checkpoints of neural codecs become model files (docs/models.md,
 * "Importing"): PyTorch files (.pth .ckpt .th .mcquic ...), .npy, .npz,
 * .safetensors, *.safetensors.index.json, .gguf without quantised tensors.
 * Nothing that a file says is executed; broken and hostile files are refused with
 * the reason.
 */
typedef struct tsr_import tsr_import;

/** Set with tsr_import_settings_init(), then change what you need.  Texts are
 *  copied. */
typedef struct tsr_import_settings {
    size_t size;         /**< sizeof(tsr_import_settings); for growth */
    const char *arch;    /**< "auto" (default): told by the tensors' names; or
                              "mcquic", "vqgan", "simvq", "hificodec",
                              "encodec", "academicodec", "xcodec",
                              "semanticodec" */
    const char *name;    /**< of the model (tessera.name); NULL, the default:
                              its file's name counts */
    const char *licence; /**< SPDX identifier of the weights; NULL: not said */
    int rate;            /**< samples a second, where neither the file nor the
                              architecture tells; 0, the default */
    int half;            /**< 1: tensors of two or more dimensions become F16;
                              default 0 */
} tsr_import_settings;

TSR_API void tsr_import_settings_init(tsr_import_settings *settings);

/**
 * Opens checkpoints, recognises the architecture and decides what becomes of
 * every tensor.  Reads the tables of tensors only, not their elements, and for a
 * checkpoint that it does not know the whole file, which may be damaged.
 *
 * import    out; NULL on failure.  Uses `context` until it is closed
 * files     paths, 1..64: most models are one file; a codebook may be a second
 * settings  NULL: the defaults
 *
 * Returns TSR_OK; TSR_E_ARG an unknown `arch`, a text that is no UTF-8 text, or
 * the sampling rate must be given;
 * TSR_E_FORMAT no checkpoint; TSR_E_TRUNCATED, TSR_E_CORRUPT, TSR_E_CHECKSUM,
 * TSR_E_LIMIT a broken or hostile one; TSR_E_UNSUPPORTED no architecture that is
 * known, or a model file already; TSR_E_SHAPE a tensor is missing or does not
 * fit, the message names it; TSR_E_IO; TSR_E_NOMEM.
 */
TSR_API TSR_CHECKED tsr_error
tsr_import_open(tsr_import **import, tsr_context *context,
                const char *const *files, int count,
                const tsr_import_settings *settings);

/** NULL and *NULL are allowed. */
TSR_API void tsr_import_close(tsr_import **import);

/** The architecture, spelled as in the settings. */
TSR_API const char *tsr_import_arch(const tsr_import *import);

/** What becomes of a tensor of the checkpoints. */
typedef enum tsr_import_fate {
    TSR_IMPORT_KEPT = 1, /**< copied, perhaps as another floating-point type */
    TSR_IMPORT_USED,     /**< a tensor of the model is computed from it */
    TSR_IMPORT_LEFT_OUT
} tsr_import_fate;

typedef struct tsr_import_tensor {
    const char *file;          /**< the path it came from */
    const tsr_tensor *tensor;  /**< as there; its data are NULL */
    tsr_import_fate fate;
    const char *target;        /**< name in the model; NULL: left out */
    const char *note;          /**< how, or why; "" if there is nothing to say */
} tsr_import_tensor;

/** All tensors of all files; each is there exactly once. */
TSR_API size_t tsr_import_count(const tsr_import *import);

/** Tensor i < count.  What it points to lives as long as the import. */
TSR_API void tsr_import_at(const tsr_import *import, size_t i,
                           tsr_import_tensor *out);

/** The tensors of the model that will be written, in order of names; their
 *  data are NULL. */
TSR_API size_t tsr_import_results(const tsr_import *import);
TSR_API const tsr_tensor *tsr_import_result(const tsr_import *import, size_t i);

/**
 * Writes the model file.
 *
 * Reads every wanted tensor twice (its hash stands at the file's beginning).
 * Memory: the checkpoint's pages, which are mapped, one tensor, and what is
 * computed of codebooks.
 *
 * Returns TSR_OK; TSR_E_CHECKSUM, TSR_E_CORRUPT damaged contents; TSR_E_SHAPE a
 * number that is not finite, or too large for F16, or codebooks that should be
 * equal and are not: the message names the tensor; TSR_E_NOMEM; TSR_E_CANCELED;
 * what the sink returned.
 */
TSR_API TSR_CHECKED tsr_error tsr_import_write(tsr_import *import,
                                               const tsr_progress *progress,
                                               const tsr_sink *sink);

#ifdef __cplusplus
}
#endif
#endif
