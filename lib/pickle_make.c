/* SPDX-License-Identifier: BSD-2-Clause */
/* The constructors that the pickle machine knows, and what stands for all the
 * others. */
#include <stdio.h>
#include "lib/bytes.h"
#include "lib/pickle_impl.h"

static int kind_of(const tsri_pickle *p, tsri_pickle_ref ref)
{
    return ref ? p->value[ref].kind : 0;
}

static bool is_sequence(const tsri_pickle *p, tsri_pickle_ref ref)
{
    return kind_of(p, ref) == TSRI_PICKLE_TUPLE ||
           kind_of(p, ref) == TSRI_PICKLE_LIST;
}

static tsri_pickle_ref bad(tsri_pickle *p, const char *what)
{
    tsri_pickle_fail(p, TSR_E_CORRUPT, "%s", what);
    return 0;
}

static tsri_pickle_ref opaque(tsri_pickle *p, tsri_pickle_ref callable)
{
    const tsri_pickle_value v = p->value[callable];
    if (v.kind == TSRI_PICKLE_GLOBAL || v.kind == TSRI_PICKLE_OPAQUE)
        return tsri_pickle_text(p, TSRI_PICKLE_OPAQUE, v.text, v.size);
    return bad(p, "a call of what has no name");
}

/* ---- containers ---- */

/* OrderedDict([[key, value], ...]), as Python 2 wrote it, or dict(other). */
static tsri_pickle_ref make_dict(tsri_pickle *p, tsri_pickle_ref arguments)
{
    const tsri_pickle_ref from = tsri_pickle_item(p, arguments, 0);
    const tsri_pickle_ref dict = tsri_pickle_new(p, TSRI_PICKLE_DICT);
    const int kind = kind_of(p, from);
    tsri_pickle_ref item;
    uint32_t at = 0;

    if (kind != TSRI_PICKLE_DICT && kind != TSRI_PICKLE_LIST)
        return dict; /* no arguments, or a default factory */
    while (!p->error && (item = tsri_pickle_next(p, from, &at))) {
        if (kind == TSRI_PICKLE_DICT) {
            tsri_pickle_add(p, dict, item);
            continue;
        }
        if (!is_sequence(p, item) || p->value[item].size != 2)
            return bad(p, "a dictionary of what are no pairs");
        tsri_pickle_add(p, dict, tsri_pickle_item(p, item, 0));
        tsri_pickle_add(p, dict, tsri_pickle_item(p, item, 1));
    }
    return dict;
}

static tsri_pickle_ref make_sequence(tsri_pickle *p, tsri_pickle_kind kind,
                                     tsri_pickle_ref arguments)
{
    const tsri_pickle_ref from = tsri_pickle_item(p, arguments, 0);
    const tsri_pickle_ref sequence = tsri_pickle_new(p, kind);
    tsri_pickle_ref item;
    uint32_t at = 0;

    if (from && !is_sequence(p, from))
        return bad(p, "a sequence of what is none");
    while (from && !p->error && (item = tsri_pickle_next(p, from, &at)))
        tsri_pickle_add(p, sequence, item);
    return sequence;
}

/* ---- PyTorch ---- */

/* (storage, offset, dims, strides, ...); version 3 has the type as item 6. */
static tsri_pickle_ref make_tensor(tsri_pickle *p, tsri_pickle_ref arguments,
                                   bool typed)
{
    const tsri_pickle_ref storage = tsri_pickle_item(p, arguments, 0);
    const tsri_pickle_ref offset = tsri_pickle_item(p, arguments, 1);
    const tsri_pickle_ref dims = tsri_pickle_item(p, arguments, 2);
    const tsri_pickle_ref strides = tsri_pickle_item(p, arguments, 3);
    const tsri_pickle_ref type = tsri_pickle_item(p, arguments, 6);

    if (kind_of(p, storage) != TSRI_PICKLE_STORAGE ||
        kind_of(p, offset) != TSRI_PICKLE_INT || !is_sequence(p, dims) ||
        !is_sequence(p, strides) || (typed && !type))
        return bad(p, "a tensor with bad arguments");
    const tsri_pickle_ref ref = tsri_pickle_new(p, TSRI_PICKLE_TENSOR);
    if (!ref)
        return 0;
    tsri_pickle_value *v = &p->value[ref];
    v->dtype = p->value[typed ? type : storage].dtype;
    v->tensor.storage = storage;
    v->tensor.offset = p->value[offset].whole;
    v->tensor.dims = dims;
    v->tensor.strides = strides;
    return ref;
}

/* A parameter is the tensor in it. */
static tsri_pickle_ref make_parameter(tsri_pickle *p, tsri_pickle_ref callable,
                                      tsri_pickle_ref arguments)
{
    const tsri_pickle_ref data = tsri_pickle_item(p, arguments, 0);
    return kind_of(p, data) == TSRI_PICKLE_TENSOR ? data : opaque(p, callable);
}

/* A tensor of a class of somebody's own: (function, class, arguments, state). */
static tsri_pickle_ref make_subclass(tsri_pickle *p, tsri_pickle_ref callable,
                                     tsri_pickle_ref arguments)
{
    const tsri_pickle_ref function = tsri_pickle_item(p, arguments, 0);
    const tsri_pickle_ref inner = tsri_pickle_item(p, arguments, 2);

    if (kind_of(p, function) != TSRI_PICKLE_GLOBAL || !is_sequence(p, inner))
        return bad(p, "a tensor with bad arguments");
    return p->value[function].flag == TSRI_GLOBAL_TENSOR
               ? make_tensor(p, inner, false) : opaque(p, callable);
}

tsri_pickle_ref tsri_pickle_persistent(tsri_pickle *p, tsri_pickle_ref id)
{
    const tsri_pickle_ref word = tsri_pickle_item(p, id, 0);
    const tsri_pickle_ref type = tsri_pickle_item(p, id, 1);
    const tsri_pickle_ref key = tsri_pickle_item(p, id, 2);
    const tsri_pickle_ref count = tsri_pickle_item(p, id, 4);
    const tsri_pickle_ref view = tsri_pickle_item(p, id, 5);

    if (kind_of(p, word) == TSRI_PICKLE_TEXT && type &&
        tsri_pickle_is(&p->value[word], "module"))
        return type; /* old files say the class's source, too */
    if (kind_of(p, word) != TSRI_PICKLE_TEXT ||
        !tsri_pickle_is(&p->value[word], "storage") ||
        kind_of(p, type) != TSRI_PICKLE_GLOBAL ||
        kind_of(p, key) != TSRI_PICKLE_TEXT ||
        kind_of(p, count) != TSRI_PICKLE_INT || p->value[count].whole < 0)
        return bad(p, "a storage with bad arguments");
    if (view && kind_of(p, view) != TSRI_PICKLE_NONE)
        return bad(p, "a storage that is a view of another");
    const tsri_pickle_ref ref = tsri_pickle_new(p, TSRI_PICKLE_STORAGE);
    if (!ref)
        return 0;
    tsri_pickle_value *v = &p->value[ref];
    v->dtype = p->value[type].flag == TSRI_GLOBAL_STORAGE
                   ? p->value[type].dtype : 0;
    v->storage.key = key;
    v->storage.count = p->value[count].whole;
    return ref;
}

/* ---- numpy ---- */

/* "f4", "i8", "b1" ... */
static tsr_dtype numpy_type(const tsri_pickle_value *text)
{
    static const struct { char name[4]; tsr_dtype dtype; } types[] = {
        { "f4", TSR_F32 }, { "f2", TSR_F16 }, { "f8", TSR_F64 },
        { "i1", TSR_I8 }, { "i2", TSR_I16 }, { "i4", TSR_I32 },
        { "i8", TSR_I64 }, { "u1", TSR_U8 }, { "u2", TSR_U16 },
        { "u4", TSR_U32 }, { "u8", TSR_U64 }, { "b1", TSR_BOOL },
    };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (tsri_pickle_is(text, types[i].name))
            return types[i].dtype;
    return 0;
}

static tsri_pickle_ref make_dtype(tsri_pickle *p, tsri_pickle_ref arguments)
{
    const tsri_pickle_ref name = tsri_pickle_item(p, arguments, 0);

    if (kind_of(p, name) != TSRI_PICKLE_TEXT)
        return bad(p, "a number type without a name");
    const tsri_pickle_ref ref = tsri_pickle_new(p, TSRI_PICKLE_DTYPE);
    if (ref)
        p->value[ref].dtype = (uint8_t)numpy_type(&p->value[name]);
    return ref;
}

static double float_value(tsr_dtype dtype, const uint8_t *p)
{
    const uint64_t bits = dtype == TSR_F64 ? tsri_get64(p) : 0;
    double wide;

    memcpy(&wide, &bits, sizeof wide);
    return dtype == TSR_F64 ? wide : (double)tsri_getf32(p);
}

static int64_t whole_value(tsr_dtype dtype, const uint8_t *p)
{
    switch (dtype) {
    case TSR_I8: return (int8_t)*p;
    case TSR_I16: return (int16_t)tsri_get16(p);
    case TSR_U16: return tsri_get16(p);
    case TSR_I32: return (int32_t)tsri_get32(p);
    case TSR_U32: return tsri_get32(p);
    case TSR_I64: case TSR_U64: return (int64_t)tsri_get64(p);
    default: return *p;
    }
}

/* scalar(dtype, bytes) */
static tsri_pickle_ref make_scalar(tsri_pickle *p, tsri_pickle_ref callable,
                                   tsri_pickle_ref arguments)
{
    const tsri_pickle_ref type = tsri_pickle_item(p, arguments, 0);
    const tsri_pickle_ref data = tsri_pickle_item(p, arguments, 1);

    if (kind_of(p, type) != TSRI_PICKLE_DTYPE ||
        kind_of(p, data) != TSRI_PICKLE_BYTES)
        return opaque(p, callable);
    const tsr_dtype dtype = p->value[type].dtype;
    if (!dtype || dtype == TSR_F16 || p->value[type].flag)
        return opaque(p, callable);
    if (p->value[data].size != tsr_dtype_bytes(dtype))
        return bad(p, "a number of another size than its type");
    const uint8_t *bytes = (const uint8_t *)p->value[data].text;
    if (dtype != TSR_F32 && dtype != TSR_F64)
        return tsri_pickle_whole(p, whole_value(dtype, bytes));
    const tsri_pickle_ref ref = tsri_pickle_new(p, TSRI_PICKLE_FLOAT);
    if (ref)
        p->value[ref].real = float_value(dtype, bytes);
    return ref;
}

/* The tensor that an array is, `fortran`: in that order.  Only bytes are kept
 * of it here; whoever reads it checks the size. */
static void set_array(tsri_pickle *p, tsri_pickle_ref array,
                      tsri_pickle_ref dims, tsri_pickle_ref type,
                      tsri_pickle_ref data, bool fortran)
{
    if (!is_sequence(p, dims) || kind_of(p, type) != TSRI_PICKLE_DTYPE) {
        bad(p, "an array with bad arguments");
        return;
    }
    const tsr_dtype dtype = p->value[type].flag ? 0 : p->value[type].dtype;
    if (!dtype || kind_of(p, data) != TSRI_PICKLE_BYTES) {
        static const char name[] = "numpy.ndarray"; /* of objects, say */
        p->value[array] = (tsri_pickle_value){
            .kind = TSRI_PICKLE_OPAQUE, .size = sizeof name - 1, .text = name
        };
        return;
    }
    const tsri_pickle_ref storage = tsri_pickle_new(p, TSRI_PICKLE_STORAGE);
    if (!storage)
        return;
    p->value[storage].dtype = (uint8_t)dtype;
    p->value[storage].flag = 1;
    p->value[storage].storage.key = data;
    p->value[storage].storage.count =
        (int64_t)(p->value[data].size / tsr_dtype_bytes(dtype));
    p->value[array] = (tsri_pickle_value){
        .kind = TSRI_PICKLE_TENSOR, .dtype = (uint8_t)dtype,
        .flag = fortran ? 2 : 1,
        .tensor = { .storage = storage, .dims = dims }
    };
}

/* _frombuffer(bytes, dtype, dims, order): protocol 5's way. */
static tsri_pickle_ref make_from_buffer(tsri_pickle *p,
                                        tsri_pickle_ref arguments)
{
    const tsri_pickle_ref order = tsri_pickle_item(p, arguments, 3);
    const tsri_pickle_ref ref = tsri_pickle_new(p, TSRI_PICKLE_ARRAY);

    if (kind_of(p, order) != TSRI_PICKLE_TEXT)
        return bad(p, "an array with bad arguments");
    set_array(p, ref, tsri_pickle_item(p, arguments, 2),
              tsri_pickle_item(p, arguments, 1),
              tsri_pickle_item(p, arguments, 0),
              tsri_pickle_is(&p->value[order], "F"));
    return ref;
}

/* encode(text, "latin1"): how protocol 2 spells bytes. */
static tsri_pickle_ref make_bytes(tsri_pickle *p, tsri_pickle_ref arguments)
{
    const tsri_pickle_ref text = tsri_pickle_item(p, arguments, 0);
    const tsri_pickle_ref code = tsri_pickle_item(p, arguments, 1);

    if (kind_of(p, text) != TSRI_PICKLE_TEXT ||
        kind_of(p, code) != TSRI_PICKLE_TEXT ||
        !tsri_pickle_is(&p->value[code], "latin1"))
        return bad(p, "bytes in an unknown encoding");
    const uint8_t *from = (const uint8_t *)p->value[text].text;
    const size_t size = p->value[text].size;
    char *to = tsri_pickle_room(p, size);
    size_t n = 0;
    for (size_t i = 0; to && i < size; n++) {
        const bool two = (from[i] & 0xfe) == 0xc2 && i + 1 < size &&
                         (from[i + 1] & 0xc0) == 0x80;
        if (from[i] >= 0x80 && !two)
            return bad(p, "a character beyond Latin-1 in bytes");
        to[n] = (char)(two ? (from[i] & 3) << 6 | (from[i + 1] & 0x3f) : from[i]);
        i += two ? 2 : 1;
    }
    return to ? tsri_pickle_text(p, TSRI_PICKLE_BYTES, to, n) : 0;
}

/* ---- calls ---- */

tsri_pickle_ref tsri_pickle_reduce(tsri_pickle *p, tsri_pickle_ref callable,
                                   tsri_pickle_ref arguments)
{
    const int which = kind_of(p, callable) == TSRI_PICKLE_GLOBAL
                          ? p->value[callable].flag : TSRI_GLOBAL_OTHER;

    if (kind_of(p, arguments) != TSRI_PICKLE_TUPLE)
        return bad(p, "arguments that are no tuple");
    switch ((tsri_pickle_global)which) {
    case TSRI_GLOBAL_DICT: return make_dict(p, arguments);
    case TSRI_GLOBAL_LIST:
        return make_sequence(p, TSRI_PICKLE_LIST, arguments);
    case TSRI_GLOBAL_TUPLE:
        return make_sequence(p, TSRI_PICKLE_TUPLE, arguments);
    case TSRI_GLOBAL_TENSOR: return make_tensor(p, arguments, false);
    case TSRI_GLOBAL_TENSOR3: return make_tensor(p, arguments, true);
    case TSRI_GLOBAL_PARAMETER: return make_parameter(p, callable, arguments);
    case TSRI_GLOBAL_SUBCLASS: return make_subclass(p, callable, arguments);
    case TSRI_GLOBAL_ENCODE: return make_bytes(p, arguments);
    case TSRI_GLOBAL_NP_DTYPE: return make_dtype(p, arguments);
    case TSRI_GLOBAL_NP_SCALAR: return make_scalar(p, callable, arguments);
    case TSRI_GLOBAL_NP_ARRAY: return tsri_pickle_new(p, TSRI_PICKLE_ARRAY);
    case TSRI_GLOBAL_NP_BUFFER: return make_from_buffer(p, arguments);
    case TSRI_GLOBAL_LOAD: return tsri_pickle_load(p, arguments);
    default: return opaque(p, callable);
    }
}

void tsri_pickle_build(tsri_pickle *p, tsri_pickle_ref object,
                       tsri_pickle_ref state)
{
    const tsri_pickle_ref order = tsri_pickle_item(p, state, 1);
    const tsri_pickle_ref fortran = tsri_pickle_item(p, state, 3);

    switch (kind_of(p, object)) {
    case TSRI_PICKLE_DTYPE: /* (3, '<', ...) */
        if (kind_of(p, order) == TSRI_PICKLE_TEXT)
            p->value[object].flag = tsri_pickle_is(&p->value[order], ">");
        break;
    case TSRI_PICKLE_ARRAY: /* (1, dims, dtype, fortran, data) */
        set_array(p, object, order, tsri_pickle_item(p, state, 2),
                  tsri_pickle_item(p, state, 4),
                  fortran && p->value[fortran].whole);
        break;
    case TSRI_PICKLE_GLOBAL:
        bad(p, "state for a name");
        break;
    case TSRI_PICKLE_OPAQUE:
        p->value[object].object.state = state;
        break;
    default: /* attributes of what is no object here: not wanted */
        break;
    }
}
