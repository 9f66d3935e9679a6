/* SPDX-License-Identifier: BSD-2-Clause */
/* What a Python pickle says, as data.  A machine for the opcodes of protocols 2
 * to 5 that builds values and nothing else: it calls nothing, imports nothing,
 * and knows by name a fixed set of constructors (those of PyTorch's tensors and
 * storages, OrderedDict, numpy's arrays and scalars).  Anything else that a
 * pickle would call becomes an opaque value with the name of what it is.  A
 * pickle that names what only an attack needs (os.system, builtins.eval ...) is
 * refused whole. */
#ifndef TSR_LIB_PICKLE_H
#define TSR_LIB_PICKLE_H
#include <tessera/model.h>
#include "lib/core.h"

typedef struct tsri_pickle tsri_pickle;

/** A value by number; 0 is none. */
typedef uint32_t tsri_pickle_ref;

typedef enum tsri_pickle_kind {
    TSRI_PICKLE_NONE = 1, TSRI_PICKLE_BOOL, TSRI_PICKLE_INT, TSRI_PICKLE_FLOAT,
    TSRI_PICKLE_TEXT, TSRI_PICKLE_BYTES,
    TSRI_PICKLE_LONG,    /* an integer beyond 64 bits: its bytes, low first */
    TSRI_PICKLE_LIST, TSRI_PICKLE_TUPLE,
    TSRI_PICKLE_DICT,    /* items: key, value, key, value ... */
    TSRI_PICKLE_GLOBAL,  /* a name, not yet called */
    TSRI_PICKLE_OPAQUE,  /* an object of the class or function named */
    TSRI_PICKLE_STORAGE, TSRI_PICKLE_TENSOR,
    TSRI_PICKLE_DTYPE, TSRI_PICKLE_ARRAY  /* numpy's, in the making */
} tsri_pickle_kind;

typedef struct tsri_pickle_value {
    uint8_t kind;               /* tsri_pickle_kind */
    uint8_t dtype;              /* of storages, tensors, dtypes: a tsr_dtype, or
                                   0 for one that is not known here */
    uint8_t flag;               /* of storages: the key is the data themselves,
                                   BYTES; of tensors: no strides, the
                                   order is C (1) or Fortran (2); of dtypes: big
                                   end first; of globals: which one */
    uint32_t size;              /* bytes of text, items of containers */
    union {
        int64_t whole;          /* BOOL, INT */
        double real;
        const char *text;       /* TEXT, BYTES, LONG, GLOBAL, OPAQUE: not
                                   0-terminated, valid as long as the machine
                                   and what it read */
        struct { const char *text; uint32_t state; } object; /* OPAQUE: what it
                                   was told about itself, in most cases a DICT
                                   of attributes; 0: nothing */
        struct { uint32_t first, last; } items;
        struct { uint32_t key; int64_t count; } storage;   /* key: a TEXT or
                                   BYTES; count: elements */
        struct {
            uint32_t storage, dims, strides;        /* dims, strides: TUPLEs */
            int64_t offset;                         /* elements */
        } tensor;
    };
} tsri_pickle_value;

enum {
    TSRI_PICKLE_VALUES_MAX = 1 << 21, TSRI_PICKLE_STACK_MAX = 1 << 20,
    TSRI_PICKLE_MEMO_MAX = 1 << 21,
    TSRI_PICKLE_BYTES_MAX = 32 << 20    /* of the pickles in PyTorch's files */
};

/** what: the file's name for messages, borrowed.  TSR_E_NOMEM. */
tsr_error tsri_pickle_open(tsri_pickle **pickle, tsr_context *ctx,
                           const char *what);
void tsri_pickle_close(tsri_pickle **pickle);

/**
 * Reads one pickle.  Can be called again for the next; earlier values stay.
 *
 * data, size  borrowed as long as the machine, since values point into them
 * root        out: what it says
 * used        out: its bytes, including STOP; may be NULL
 *
 * Memory: at most some 160 MiB, by the limits above, and text only where it
 * must be converted.  Time: linear.
 *
 * Returns TSR_OK; TSR_E_TRUNCATED no STOP; TSR_E_CORRUPT, TSR_E_UNSUPPORTED,
 * TSR_E_LIMIT, with the place in the message; TSR_E_NOMEM.
 */
tsr_error tsri_pickle_run(tsri_pickle *pickle, const uint8_t *data, size_t size,
                          tsri_pickle_ref *root, size_t *used);

/**
 * Reads what stands before the object in a file of torch.save()'s older form: a
 * magic number, a version, facts of the machine that wrote it.
 *
 * at    out: where the object's pickle begins
 *
 * Returns as tsri_pickle_run(); TSR_E_FORMAT it is no such file;
 * TSR_E_UNSUPPORTED another version, or from a big-endian machine.
 */
tsr_error tsri_pickle_torch_head(tsri_pickle *pickle, const uint8_t *data,
                                 size_t size, size_t *at);

/** The value of a number that the machine gave out; valid until it runs again. */
const tsri_pickle_value *tsri_pickle_at(const tsri_pickle *pickle,
                                        tsri_pickle_ref ref);

/** Walks the items of a LIST, TUPLE or DICT: uint32_t at = 0; while ((item =
 *  tsri_pickle_next(pickle, container, &at))).  Containers can hold themselves:
 *  who follows them must count. */
tsri_pickle_ref tsri_pickle_next(const tsri_pickle *pickle,
                                 tsri_pickle_ref container, uint32_t *at);

/** Whether a TEXT, GLOBAL or OPAQUE is this. */
bool tsri_pickle_is(const tsri_pickle_value *value, const char *text);

/** Values made so far are 1..count. */
tsri_pickle_ref tsri_pickle_count(const tsri_pickle *pickle);
#endif
