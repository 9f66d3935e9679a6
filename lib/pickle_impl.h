/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of the pickle machine share. */
#ifndef TSR_LIB_PICKLE_IMPL_H
#define TSR_LIB_PICKLE_IMPL_H
#include <string.h>
#include "lib/pickle.h"

/** What GLOBALs mean here (`flag` of their values). */
typedef enum tsri_pickle_global {
    TSRI_GLOBAL_OTHER = 0, TSRI_GLOBAL_DICT, TSRI_GLOBAL_LIST,
    TSRI_GLOBAL_TUPLE, TSRI_GLOBAL_TENSOR, TSRI_GLOBAL_TENSOR3,
    TSRI_GLOBAL_PARAMETER, TSRI_GLOBAL_SUBCLASS, TSRI_GLOBAL_STORAGE,
    TSRI_GLOBAL_DTYPE, TSRI_GLOBAL_ENCODE, TSRI_GLOBAL_NP_DTYPE,
    TSRI_GLOBAL_NP_SCALAR, TSRI_GLOBAL_NP_ARRAY, TSRI_GLOBAL_NP_BUFFER,
    TSRI_GLOBAL_LOAD
} tsri_pickle_global;

typedef struct tsri_pickle_cell {
    tsri_pickle_ref value;
    uint32_t next;
} tsri_pickle_cell;

typedef struct tsri_pickle_block tsri_pickle_block;

struct tsri_pickle {
    tsr_context *ctx;
    const char *what;
    tsr_error error;            /* the first fault; sticks */
    const uint8_t *start, *at, *end;
    tsri_pickle_value *value;   /* [0] is none */
    size_t values, value_room;
    tsri_pickle_cell *cell;     /* [0] is none */
    size_t cells, cell_room;
    tsri_pickle_ref *stack;
    size_t depth, stack_room;
    uint32_t *mark;             /* depths of the stack */
    size_t marks, mark_room;
    tsri_pickle_ref *memo;
    size_t memo_count, memo_room;
    bool inner;                 /* it reads a file in a pickle */
    size_t loaded;              /* bytes of such files, of this run */
    tsri_pickle_block *blocks;  /* text that had to be converted */
    size_t block_bytes;
};

/* Values; each returns 0 after a fault. */

/** Notes a fault, with the place. */
__attribute__((format(printf, 3, 4)))
void tsri_pickle_fail(tsri_pickle *p, tsr_error error, const char *format, ...);

tsri_pickle_ref tsri_pickle_new(tsri_pickle *p, tsri_pickle_kind kind);
tsri_pickle_ref tsri_pickle_whole(tsri_pickle *p, int64_t value);
tsri_pickle_ref tsri_pickle_text(tsri_pickle *p, tsri_pickle_kind kind,
                                 const void *text, size_t size);
/** Room that lives as long as the machine; NULL after a fault. */
char *tsri_pickle_room(tsri_pickle *p, size_t size);

/** MODULE.NAME, checked against what is refused and what is known. */
tsri_pickle_ref tsri_pickle_name(tsri_pickle *p, const char *module,
                                 size_t module_size, const char *name,
                                 size_t name_size);

/** Adds an item to a container. */
void tsri_pickle_add(tsri_pickle *p, tsri_pickle_ref container,
                     tsri_pickle_ref item);

/** Item number i of a TUPLE or LIST; 0, and no fault, where there is none. */
tsri_pickle_ref tsri_pickle_item(const tsri_pickle *p,
                                 tsri_pickle_ref container, uint32_t i);

/* Constructors: what opcodes would call. */

/** callable(*arguments) */
tsri_pickle_ref tsri_pickle_reduce(tsri_pickle *p, tsri_pickle_ref callable,
                                   tsri_pickle_ref arguments);
/** torch.storage._load_from_bytes(file): the storage in a file of torch.save()'s
 *  older form, which is how a pickle without such a file around it holds one. */
tsri_pickle_ref tsri_pickle_load(tsri_pickle *p, tsri_pickle_ref arguments);
/** object.__setstate__(state) */
void tsri_pickle_build(tsri_pickle *p, tsri_pickle_ref object,
                       tsri_pickle_ref state);
/** The object that an id of torch.save() stands for. */
tsri_pickle_ref tsri_pickle_persistent(tsri_pickle *p, tsri_pickle_ref id);

static inline tsri_pickle_value *tsri_pickle_get(tsri_pickle *p,
                                                 tsri_pickle_ref ref)
{
    return p->value + ref;
}
#endif
