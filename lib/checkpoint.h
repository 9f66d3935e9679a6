/* SPDX-License-Identifier: BSD-2-Clause */
/* Files of tensors as training programs write them, all behind one door:
 * PyTorch checkpoints (.pth .pt .ckpt .th .mcquic ...: zip archives with a
 * pickle, and the older form without a zip), .npy, .npz, .safetensors,
 * *.safetensors.index.json with its shards, and GGUF as far as its tensors are
 * not quantised.  Which it is, is told by the first
 * bytes, not by the name.  Nothing that a file says is executed (lib/pickle.h). */
#ifndef TSR_LIB_CHECKPOINT_H
#define TSR_LIB_CHECKPOINT_H
#include <tessera/model.h>
#include "lib/core.h"

typedef struct tsri_checkpoint tsri_checkpoint;

/**
 * Opens a file and finds its tensors.
 *
 * A tensor is called by the keys that lead to it, joined by '/': state_dict/x,
 * optimizer/state/0/step; one that is the whole file is "(root)".  Lists count
 * from 0.  Objects of unknown classes are opaque values, and what is in them is
 * not seen.
 *
 * Checked before anything is believed: of zips what lib/zip.h says; of pickles
 * what lib/pickle.h says; that each tensor lies in its storage and the storage
 * in the file, by type, dims, strides and offset; that no two tensors share a
 * name.  Views and shared storages are allowed; a view that repeats elements
 * may be 16 MiB larger than its storage, all tensors together 16 times as large
 * as the file.  Nesting up to 64, 2^20 tensors, names up to 1000 bytes.
 *
 * Memory: the file is mapped, and pages that are read can be dropped by the
 * system; a table of tensors; one deflated member and one tensor with strides
 * at a time.
 *
 * Returns TSR_OK; TSR_E_FORMAT none of these, or without tensors;
 * TSR_E_TRUNCATED, TSR_E_CORRUPT, TSR_E_CHECKSUM, TSR_E_UNSUPPORTED (big-endian,
 * encrypted, a pickled module ...), TSR_E_LIMIT; TSR_E_IO; TSR_E_NOMEM.
 */
tsr_error tsri_checkpoint_open(tsri_checkpoint **checkpoint, tsr_context *ctx,
                               const char *path);

/** The same of a file in memory, borrowed; no safetensors.  path: for messages,
 *  borrowed. */
tsr_error tsri_checkpoint_open_memory(tsri_checkpoint **checkpoint,
                                      tsr_context *ctx, const uint8_t *file,
                                      size_t size, const char *path);

/** The same of a pickle that Python's pickle.dump() wrote, of an object of any
 *  class: its attributes are looked at as if they were items of a dictionary,
 *  and so on inwards. */
tsr_error tsri_checkpoint_open_pickle(tsri_checkpoint **checkpoint,
                                      tsr_context *ctx, const uint8_t *file,
                                      size_t size, const char *path);

/** NULL and *NULL are allowed. */
void tsri_checkpoint_close(tsri_checkpoint **checkpoint);

/** "PyTorch (zip)", "PyTorch (legacy)", "npy", "npz", "safetensors",
 *  "safetensors index", "GGUF", "pickle". */
const char *tsri_checkpoint_kind(const tsri_checkpoint *checkpoint);

/** The path it was opened by. */
const char *tsri_checkpoint_path(const tsri_checkpoint *checkpoint);

size_t tsri_checkpoint_count(const tsri_checkpoint *checkpoint);

/** Tensor i in order of names, i < count.  Its `data` is NULL. */
const tsr_tensor *tsri_checkpoint_at(const tsri_checkpoint *checkpoint,
                                     size_t i);

/** The number of the tensor of that name; SIZE_MAX: none. */
size_t tsri_checkpoint_find(const tsri_checkpoint *checkpoint,
                            const char *name);

/**
 * Its elements in C order, little-endian, perhaps not aligned.
 *
 * data  out: valid until the next call, `bytes` of the tensor
 *
 * Returns TSR_OK; TSR_E_CHECKSUM, TSR_E_CORRUPT the storage is damaged;
 * TSR_E_NOMEM.
 */
tsr_error tsri_checkpoint_data(tsri_checkpoint *checkpoint, size_t i,
                               const void **data);

/** Whether tensors a and b are of the same storage, type, dims and place. */
bool tsri_checkpoint_same(const tsri_checkpoint *checkpoint, size_t a,
                          size_t b);

/** What else a checkpoint holds: numbers, texts, opaque objects. */
size_t tsri_checkpoint_values(const tsri_checkpoint *checkpoint);

/** The path of value i in order of paths, i < values. */
const char *tsri_checkpoint_value_at(const tsri_checkpoint *checkpoint,
                                     size_t i);

/** Spells the value of a path: true, false, none, integers, floats with 17
 *  digits, texts, "bytes", and "object of CLASS".  false: no such value, or it
 *  is too long. */
bool tsri_checkpoint_text(const tsri_checkpoint *checkpoint, const char *path,
                          char *text, size_t size);

/**
 * Compares the checksums of all that a zip archive holds; other files have none.
 * Cost: reads the file.
 *
 * Returns TSR_OK; TSR_E_CHECKSUM, TSR_E_CORRUPT; TSR_E_NOMEM.
 */
tsr_error tsri_checkpoint_verify(tsri_checkpoint *checkpoint);

/** The codec that a .safetensors file says it is a model for
 *  (docs/models.md); "": it does not. */
const char *tsri_checkpoint_codec(const tsri_checkpoint *checkpoint);

/** SHA-256 of the file (of an index: of it, not of its shards). */
void tsri_checkpoint_digest(const tsri_checkpoint *checkpoint,
                            uint8_t digest[32]);
#endif
