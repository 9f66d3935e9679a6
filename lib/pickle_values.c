/* SPDX-License-Identifier: BSD-2-Clause */
/* Values of the pickle machine: where they live, and names it knows. */
#include <stdarg.h>
#include <stdio.h>
#include "lib/pickle_impl.h"

enum {
    CELLS_MAX = 1 << 22, BLOCK_BYTES = 1 << 16, BLOCKS_MAX = 64 << 20,
    NAME_BYTES_MAX = 1000
};

struct tsri_pickle_block {
    tsri_pickle_block *next;
    size_t used, size;
    char data[];
};

/* ---- the machine ---- */

tsr_error tsri_pickle_open(tsri_pickle **pickle, tsr_context *ctx,
                           const char *what)
{
    tsri_pickle *p = tsri_calloc(ctx, 1, sizeof *p);

    *pickle = p;
    if (!p)
        return tsri_nomem(ctx);
    p->ctx = ctx;
    p->what = what;
    p->error = tsri_grow(ctx, &p->value, &p->value_room, 0, 1,
                         sizeof *p->value);
    if (!p->error)
        p->error = tsri_grow(ctx, &p->cell, &p->cell_room, 0, 1,
                             sizeof *p->cell);
    const tsr_error error = p->error;
    if (error) {
        tsri_pickle_close(pickle);
        return error;
    }
    p->value[0] = (tsri_pickle_value){ 0 };
    p->cell[0] = (tsri_pickle_cell){ 0 };
    p->values = p->cells = 1;
    return TSR_OK;
}

void tsri_pickle_close(tsri_pickle **pickle)
{
    tsri_pickle *p = pickle ? *pickle : NULL;
    if (!p)
        return;
    while (p->blocks) {
        tsri_pickle_block *next = p->blocks->next;
        tsri_free(p->ctx, p->blocks);
        p->blocks = next;
    }
    tsri_free(p->ctx, p->value);
    tsri_free(p->ctx, p->cell);
    tsri_free(p->ctx, p->stack);
    tsri_free(p->ctx, p->mark);
    tsri_free(p->ctx, p->memo);
    tsri_free(p->ctx, p);
    *pickle = NULL;
}

void tsri_pickle_fail(tsri_pickle *p, tsr_error error, const char *format, ...)
{
    char why[512];
    va_list args;

    if (p->error)
        return;
    va_start(args, format);
    vsnprintf(why, sizeof why, format, args);
    va_end(args);
    p->error = tsri_fail(p->ctx, error, "%s: pickle, byte %zu: %s", p->what,
                         (size_t)(p->at - p->start), why);
}

/* ---- values ---- */

/* One more element of an array that must not exceed a limit. */
static bool more(tsri_pickle *p, void *array, size_t *room, size_t used,
                 size_t size, size_t limit)
{
    if (p->error)
        return false;
    if (used >= limit) {
        tsri_pickle_fail(p, TSR_E_LIMIT, "more than %zu objects", limit);
        return false;
    }
    p->error = tsri_grow(p->ctx, array, room, used, 1, size);
    return !p->error;
}

tsri_pickle_ref tsri_pickle_new(tsri_pickle *p, tsri_pickle_kind kind)
{
    if (!more(p, &p->value, &p->value_room, p->values, sizeof *p->value,
              TSRI_PICKLE_VALUES_MAX))
        return 0;
    p->value[p->values] = (tsri_pickle_value){ .kind = (uint8_t)kind };
    return (tsri_pickle_ref)p->values++;
}

tsri_pickle_ref tsri_pickle_whole(tsri_pickle *p, int64_t value)
{
    const tsri_pickle_ref ref = tsri_pickle_new(p, TSRI_PICKLE_INT);
    if (ref)
        p->value[ref].whole = value;
    return ref;
}

tsri_pickle_ref tsri_pickle_text(tsri_pickle *p, tsri_pickle_kind kind,
                                 const void *text, size_t size)
{
    if (size > UINT32_MAX) {
        tsri_pickle_fail(p, TSR_E_LIMIT, "a text over 4 GiB");
        return 0;
    }
    const tsri_pickle_ref ref = tsri_pickle_new(p, kind);
    if (ref) {
        p->value[ref].text = text;
        p->value[ref].size = (uint32_t)size;
    }
    return ref;
}

char *tsri_pickle_room(tsri_pickle *p, size_t size)
{
    tsri_pickle_block *b = p->blocks;

    if (p->error)
        return NULL;
    if (!b || b->size - b->used < size) {
        const size_t room = size > BLOCK_BYTES ? size : BLOCK_BYTES;
        if (room > BLOCKS_MAX - p->block_bytes) {
            tsri_pickle_fail(p, TSR_E_LIMIT, "more than %d bytes of text to "
                             "convert", BLOCKS_MAX);
            return NULL;
        }
        b = tsri_alloc(p->ctx, sizeof *b + room, 1);
        if (!b) {
            p->error = tsri_nomem(p->ctx);
            return NULL;
        }
        *b = (tsri_pickle_block){ .next = p->blocks, .size = room };
        p->blocks = b;
        p->block_bytes += room;
    }
    b->used += size;
    return b->data + b->used - size;
}

void tsri_pickle_add(tsri_pickle *p, tsri_pickle_ref container,
                     tsri_pickle_ref item)
{
    if (!container || !item ||
        !more(p, &p->cell, &p->cell_room, p->cells, sizeof *p->cell, CELLS_MAX))
        return;
    const uint32_t at = (uint32_t)p->cells++;
    tsri_pickle_value *v = &p->value[container];
    p->cell[at] = (tsri_pickle_cell){ item, 0 };
    if (v->items.last)
        p->cell[v->items.last].next = at;
    else
        v->items.first = at;
    v->items.last = at;
    v->size++;
}

const tsri_pickle_value *tsri_pickle_at(const tsri_pickle *pickle,
                                        tsri_pickle_ref ref)
{
    return &pickle->value[ref];
}

tsri_pickle_ref tsri_pickle_count(const tsri_pickle *pickle)
{
    return (tsri_pickle_ref)(pickle->values - 1);
}

tsri_pickle_ref tsri_pickle_next(const tsri_pickle *pickle,
                                 tsri_pickle_ref container, uint32_t *at)
{
    *at = *at ? pickle->cell[*at].next : pickle->value[container].items.first;
    return *at ? pickle->cell[*at].value : 0;
}

tsri_pickle_ref tsri_pickle_item(const tsri_pickle *p,
                                 tsri_pickle_ref container, uint32_t i)
{
    tsri_pickle_ref item = 0;
    uint32_t at = 0;

    if (!container || (p->value[container].kind != TSRI_PICKLE_TUPLE &&
                       p->value[container].kind != TSRI_PICKLE_LIST))
        return 0;
    do
        item = tsri_pickle_next(p, container, &at);
    while (item && i--);
    return item;
}

bool tsri_pickle_is(const tsri_pickle_value *value, const char *text)
{
    return value->size == strlen(text) && !memcmp(value->text, text,
                                                  value->size);
}

/* ---- names ---- */

static const struct {
    const char *name;
    tsri_pickle_global which;
    tsr_dtype dtype;
} known[] = {
    { "collections.OrderedDict", TSRI_GLOBAL_DICT, 0 },
    { "collections.defaultdict", TSRI_GLOBAL_DICT, 0 },
    { "collections.Counter", TSRI_GLOBAL_DICT, 0 },
    { "builtins.dict", TSRI_GLOBAL_DICT, 0 },
    { "__builtin__.dict", TSRI_GLOBAL_DICT, 0 },
    { "builtins.list", TSRI_GLOBAL_LIST, 0 },
    { "__builtin__.list", TSRI_GLOBAL_LIST, 0 },
    { "builtins.set", TSRI_GLOBAL_LIST, 0 },
    { "__builtin__.set", TSRI_GLOBAL_LIST, 0 },
    { "builtins.tuple", TSRI_GLOBAL_TUPLE, 0 },
    { "__builtin__.tuple", TSRI_GLOBAL_TUPLE, 0 },
    { "torch.Size", TSRI_GLOBAL_TUPLE, 0 },
    { "torch._utils._rebuild_tensor", TSRI_GLOBAL_TENSOR, 0 },
    { "torch._utils._rebuild_tensor_v2", TSRI_GLOBAL_TENSOR, 0 },
    { "torch._utils._rebuild_tensor_v3", TSRI_GLOBAL_TENSOR3, 0 },
    { "torch._utils._rebuild_parameter", TSRI_GLOBAL_PARAMETER, 0 },
    { "torch._utils._rebuild_parameter_with_state", TSRI_GLOBAL_PARAMETER, 0 },
    { "torch._tensor._rebuild_from_type_v2", TSRI_GLOBAL_SUBCLASS, 0 },
    { "torch.FloatStorage", TSRI_GLOBAL_STORAGE, TSR_F32 },
    { "torch.DoubleStorage", TSRI_GLOBAL_STORAGE, TSR_F64 },
    { "torch.HalfStorage", TSRI_GLOBAL_STORAGE, TSR_F16 },
    { "torch.BFloat16Storage", TSRI_GLOBAL_STORAGE, TSR_BF16 },
    { "torch.LongStorage", TSRI_GLOBAL_STORAGE, TSR_I64 },
    { "torch.IntStorage", TSRI_GLOBAL_STORAGE, TSR_I32 },
    { "torch.ShortStorage", TSRI_GLOBAL_STORAGE, TSR_I16 },
    { "torch.CharStorage", TSRI_GLOBAL_STORAGE, TSR_I8 },
    { "torch.ByteStorage", TSRI_GLOBAL_STORAGE, TSR_U8 },
    { "torch.BoolStorage", TSRI_GLOBAL_STORAGE, TSR_BOOL },
    { "torch.UntypedStorage", TSRI_GLOBAL_STORAGE, TSR_U8 },
    { "torch.storage.UntypedStorage", TSRI_GLOBAL_STORAGE, TSR_U8 },
    { "torch.ComplexFloatStorage", TSRI_GLOBAL_STORAGE, 0 },
    { "torch.ComplexDoubleStorage", TSRI_GLOBAL_STORAGE, 0 },
    { "torch.float32", TSRI_GLOBAL_DTYPE, TSR_F32 },
    { "torch.float64", TSRI_GLOBAL_DTYPE, TSR_F64 },
    { "torch.float16", TSRI_GLOBAL_DTYPE, TSR_F16 },
    { "torch.bfloat16", TSRI_GLOBAL_DTYPE, TSR_BF16 },
    { "torch.int64", TSRI_GLOBAL_DTYPE, TSR_I64 },
    { "torch.int32", TSRI_GLOBAL_DTYPE, TSR_I32 },
    { "torch.int16", TSRI_GLOBAL_DTYPE, TSR_I16 },
    { "torch.int8", TSRI_GLOBAL_DTYPE, TSR_I8 },
    { "torch.uint64", TSRI_GLOBAL_DTYPE, TSR_U64 },
    { "torch.uint32", TSRI_GLOBAL_DTYPE, TSR_U32 },
    { "torch.uint16", TSRI_GLOBAL_DTYPE, TSR_U16 },
    { "torch.uint8", TSRI_GLOBAL_DTYPE, TSR_U8 },
    { "torch.bool", TSRI_GLOBAL_DTYPE, TSR_BOOL },
    { "torch.storage._load_from_bytes", TSRI_GLOBAL_LOAD, 0 },
    { "_codecs.encode", TSRI_GLOBAL_ENCODE, 0 },
    { "numpy.dtype", TSRI_GLOBAL_NP_DTYPE, 0 },
    { "numpy.core.multiarray.scalar", TSRI_GLOBAL_NP_SCALAR, 0 },
    { "numpy._core.multiarray.scalar", TSRI_GLOBAL_NP_SCALAR, 0 },
    { "numpy.core.multiarray._reconstruct", TSRI_GLOBAL_NP_ARRAY, 0 },
    { "numpy._core.multiarray._reconstruct", TSRI_GLOBAL_NP_ARRAY, 0 },
    { "numpy.core.numeric._frombuffer", TSRI_GLOBAL_NP_BUFFER, 0 },
    { "numpy._core.numeric._frombuffer", TSRI_GLOBAL_NP_BUFFER, 0 },
};

/* Of the builtins, those that only make data; the rest runs code. */
static const char *const harmless[] = {
    "dict", "list", "set", "frozenset", "tuple", "int", "long", "float", "bool",
    "complex", "str", "unicode", "bytes", "bytearray", "object", "range",
    "xrange", "slice",
};

/* Modules that no checkpoint has a reason to name.  Nothing of them would be
 * called here; but who opens such a file elsewhere should know. */
static const char *const hostile[] = {
    "os", "posix", "nt", "sys", "subprocess", "commands", "popen2", "pty",
    "shutil", "socket", "ctypes", "importlib", "runpy", "imp", "code", "codeop",
    "marshal", "pickle", "_pickle", "cPickle", "webbrowser", "pip", "bdb",
    "pdb", "timeit", "operator", "_operator", "inspect",
};

static bool in_list(const char *const *list, size_t n, const char *text,
                    size_t size)
{
    for (size_t i = 0; i < n; i++)
        if (strlen(list[i]) == size && !memcmp(list[i], text, size))
            return true;
    return false;
}
#define IN(list, text, size) \
    in_list(list, sizeof list / sizeof *list, text, size)

static bool is_hostile(const char *module, size_t module_size,
                       const char *name, size_t name_size)
{
    const char *dot = memchr(module, '.', module_size);
    const size_t top = dot ? (size_t)(dot - module) : module_size;

    if ((top == 8 && !memcmp(module, "builtins", 8)) ||
        (top == 11 && !memcmp(module, "__builtin__", 11)))
        return !IN(harmless, name, name_size);
    return IN(hostile, module, top);
}

tsri_pickle_ref tsri_pickle_name(tsri_pickle *p, const char *module,
                                 size_t module_size, const char *name,
                                 size_t name_size)
{
    const size_t size = module_size + 1 + name_size;

    if (module_size > NAME_BYTES_MAX || name_size > NAME_BYTES_MAX ||
        !module_size || !name_size) {
        tsri_pickle_fail(p, TSR_E_CORRUPT, "a name of %zu bytes",
                         module_size + name_size);
        return 0;
    }
    if (is_hostile(module, module_size, name, name_size)) {
        tsri_pickle_fail(p, TSR_E_CORRUPT, "it would run '%.*s.%.*s': an "
                         "attack, not a checkpoint", (int)module_size, module,
                         (int)name_size, name);
        return 0;
    }
    char *text = tsri_pickle_room(p, size);
    if (!text)
        return 0;
    memcpy(text, module, module_size);
    text[module_size] = '.';
    memcpy(text + module_size + 1, name, name_size);
    const tsri_pickle_ref ref = tsri_pickle_text(p, TSRI_PICKLE_GLOBAL, text,
                                                 size);
    for (size_t i = 0; ref && i < sizeof known / sizeof *known; i++)
        if (tsri_pickle_is(&p->value[ref], known[i].name)) {
            p->value[ref].flag = (uint8_t)known[i].which;
            p->value[ref].dtype = (uint8_t)known[i].dtype;
        }
    return ref;
}
