/* SPDX-License-Identifier: BSD-2-Clause */
/* From the tensors of checkpoints to those of a model: what the files of the
 * importer share.  An architecture looks at the inputs and says what becomes of
 * each; the outputs it asks for are made when they are written. */
#ifndef TSR_CODECS_IMPORT_IMPL_H
#define TSR_CODECS_IMPORT_IMPL_H
#include <tessera/import.h>
#include "lib/checkpoint.h"
#include "lib/core.h"

enum {
    TSRI_IMPORT_FILES = 64, TSRI_IMPORT_NAME = 256, TSRI_IMPORT_INTS = 64,
    TSRI_IMPORT_TEXT = 512
};

/** A tensor of a checkpoint. */
typedef struct tsri_import_input {
    int file;
    size_t number;              /* in that file */
    tsr_import_fate fate;       /* 0: not yet decided */
    size_t target;              /* output; SIZE_MAX: none */
    const char *note;           /* static */
} tsri_import_input;

/** How an output is made of inputs `from`. */
typedef enum tsri_import_way {
    TSRI_IMPORT_COPY, TSRI_IMPORT_WEIGHT_NORM,  /* v, g */
    TSRI_IMPORT_PROJECT,        /* rows, matrix, addend: rows matrix^T + addend */
    TSRI_IMPORT_TABLES,         /* probabilities to tables of integers */
    TSRI_IMPORT_NUMBERS         /* `ints` */
} tsri_import_way;

typedef struct tsri_import_output {
    char name[TSRI_IMPORT_NAME];
    tsr_tensor tensor;
    tsri_import_way way;
    size_t from[3];
    int32_t ints[TSRI_IMPORT_INTS];
    void *made;                 /* kept, where it was much work */
    size_t number;              /* before they were sorted */
} tsri_import_output;

typedef struct tsri_import_file {
    tsri_checkpoint *checkpoint;
    size_t first;               /* its inputs are first, first + 1, ... */
    const char *prefix;         /* of the names that count; NULL: it has none */
} tsri_import_file;

typedef struct tsri_import_meta {
    char key[64], value[TSRI_IMPORT_TEXT];
} tsri_import_meta;

typedef struct tsri_arch tsri_arch;

struct tsr_import {
    tsr_context *ctx;
    const tsri_arch *arch;
    int rate;
    bool half;
    tsri_import_file file[TSRI_IMPORT_FILES];
    int files;
    tsri_import_input *input;
    size_t inputs, input_room;
    tsri_import_output *output;
    size_t outputs, output_room;
    tsri_import_meta meta[32];
    int metas;
    tsr_error error;            /* of an architecture's decisions; sticks */
    void *scratch;              /* the output made last */
};

struct tsri_arch {
    const char *name, *codec;
    const char *const *prefixes;    /* before names, the likeliest first */
    const char *const *signature;   /* names that must be there (one of those
                                       joined by '|') */
    void (*decide)(tsr_import *import);
};

extern const tsri_arch *const tsri_archs[];     /* NULL ends them */

/** Finds im->arch, the one wanted (NULL, "auto": any), and the prefix of each
 *  file. */
tsr_error tsri_import_recognise(tsr_import *im, const char *wanted);

/** Input NAME (printf-style) without the prefix of its file; SIZE_MAX: none. */
__attribute__((format(printf, 2, 3)))
size_t tsri_import_find(const tsr_import *im, const char *name, ...);

/** The name of an input behind its file's prefix; NULL: it has another. */
const char *tsri_import_core(const tsr_import *im, size_t input);
const tsr_tensor *tsri_import_tensor(const tsr_import *im, size_t input);

/* Decisions; nothing happens after a fault. */

__attribute__((format(printf, 3, 4)))
void tsri_import_fail(tsr_import *im, tsr_error error, const char *format, ...);
/** An input must be there, of this rank, and of floats. */
bool tsri_import_want(tsr_import *im, size_t input, int rank, const char *name);
void tsri_import_drop(tsr_import *im, size_t input, const char *why);
/** Uses an input for output `target`. */
void tsri_import_use(tsr_import *im, size_t input, size_t target,
                     tsr_import_fate fate, const char *how);
/** A new output; SIZE_MAX after a fault.  Dims and type are to be set. */
size_t tsri_import_new(tsr_import *im, tsri_import_way way, const char *name);
/** Sets dims and type (F32 where `dtype` is). */
void tsri_import_shape(tsr_import *im, size_t output, tsr_dtype dtype, int rank,
                       const uint64_t *dims);
/** An output that is an input, under a name. */
void tsri_import_copy(tsr_import *im, size_t input, const char *name,
                      const char *note);
/** An output of numbers. */
void tsri_import_ints(tsr_import *im, const char *name, int rank,
                      const uint64_t *dims, const int32_t *values);
__attribute__((format(printf, 3, 4)))
void tsri_import_text(tsr_import *im, const char *key, const char *format, ...);

/** Inputs that are left, under the prefix or not, are left out, with reasons:
 *  first those whose core begins so; a warning for those nobody knows. */
void tsri_import_rest(tsr_import *im, const char *const *training);

bool tsri_import_starts(const char *name, const char *prefix);
bool tsri_import_ends(const char *name, const char *suffix);

/** The elements of an output; valid until the next call.  import_make.c */
tsr_error tsri_import_make(tsr_import *im, size_t output, const void **data);

void tsri_import_mcquic(tsr_import *im);
void tsri_import_vqgan(tsr_import *im);
void tsri_import_simvq(tsr_import *im);
void tsri_import_hificodec(tsr_import *im);
void tsri_import_xcodec(tsr_import *im);
void tsri_import_semanticodec(tsr_import *im);
void tsri_import_encodec(tsr_import *im);
void tsri_import_academicodec(tsr_import *im);
#endif
