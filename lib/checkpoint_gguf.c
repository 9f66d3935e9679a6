/* SPDX-License-Identifier: BSD-2-Clause */
/* GGUF, versions 2 and 3, little-endian: "GGUF", u32 version, u64 number of
 * tensors, u64 number of facts; each fact a name, its type and value; each
 * tensor's name, dims (the fastest first), type and offset; padding; elements. */
#include <string.h>
#include "lib/bytes.h"
#include "lib/checkpoint_impl.h"

enum { STRING = 8, ARRAY = 9, ALIGNMENT = 32, ALIGNMENT_MAX = 1 << 16 };

typedef struct cursor {
    tsri_checkpoint *cp;
    uint64_t at;
} cursor;

static tsr_error cut(const cursor *c)
{
    return tsri_fail(c->cp->ctx, TSR_E_TRUNCATED, "%s: cut, or not a GGUF file, "
                     "at byte %llu", c->cp->path, (unsigned long long)c->at);
}

static tsr_error skip(cursor *c, uint64_t n)
{
    if (n > c->cp->size - c->at)
        return cut(c);
    c->at += n;
    return TSR_OK;
}

static tsr_error take32(cursor *c, uint32_t *out)
{
    TSR_TRY(skip(c, 4));
    *out = tsri_get32(c->cp->file + c->at - 4);
    return TSR_OK;
}

static tsr_error take64(cursor *c, uint64_t *out)
{
    TSR_TRY(skip(c, 8));
    *out = tsri_get64(c->cp->file + c->at - 8);
    return TSR_OK;
}

/* Where the text lies; it has no 0 at its end. */
static tsr_error take_text(cursor *c, const char **text, uint64_t *size)
{
    TSR_TRY(take64(c, size));
    *text = (const char *)c->cp->file + c->at;
    return skip(c, *size);
}

/* ---- facts ---- */

/* Bytes of a value of a type; 0: it has no fixed number, or is unknown. */
static uint64_t bytes_of(uint32_t type)
{
    static const uint8_t bytes[] = { 1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8 };
    return type < sizeof bytes ? bytes[type] : 0;
}

static tsr_error skip_items(cursor *c, uint32_t type, uint64_t n)
{
    const uint64_t bytes = bytes_of(type);
    const char *text;
    uint64_t size;

    if (bytes)
        return n > c->cp->size / bytes ? cut(c) : skip(c, n * bytes);
    if (type != STRING)
        return tsri_fail(c->cp->ctx, TSR_E_UNSUPPORTED, "%s: a fact of type %u",
                         c->cp->path, type);
    for (; n; n--)
        TSR_TRY(take_text(c, &text, &size));
    return TSR_OK;
}

/* One of them says what the elements are aligned to. */
static tsr_error skip_fact(cursor *c, uint32_t *alignment)
{
    static const char key[] = "general.alignment";
    const char *name;
    uint64_t size, n = 1;
    uint32_t type;

    TSR_TRY(take_text(c, &name, &size));
    TSR_TRY(take32(c, &type));
    if (size == sizeof key - 1 && !memcmp(name, key, size) && type == 4) {
        TSR_TRY(take32(c, alignment));
        return *alignment && *alignment <= ALIGNMENT_MAX
            ? TSR_OK : tsri_fail(c->cp->ctx, TSR_E_CORRUPT, "%s: an alignment of "
                                 "%u", c->cp->path, *alignment);
    }
    if (type == ARRAY) {
        TSR_TRY(take32(c, &type));
        TSR_TRY(take64(c, &n));
    }
    return skip_items(c, type, n);
}

/* ---- tensors ---- */

/* 0: quantised. */
static tsr_dtype type_of(uint32_t type)
{
    switch (type) {
    case 0: return TSR_F32;
    case 1: return TSR_F16;
    case 24: return TSR_I8;
    case 25: return TSR_I16;
    case 26: return TSR_I32;
    case 27: return TSR_I64;
    case 28: return TSR_F64;
    case 30: return TSR_BF16;
    default: return 0;
    }
}

/* What stands of a tensor before the elements; storage.at: its offset. */
static tsr_error take_tensor(cursor *c, char name[TSRI_CHECKPOINT_NAME],
                             tsri_tensor_spec *spec)
{
    const char *text;
    uint64_t size;
    uint32_t rank, type;

    *spec = (tsri_tensor_spec){ .name = name };
    TSR_TRY(take_text(c, &text, &size));
    TSR_TRY(take32(c, &rank));
    if (!size || size >= TSRI_CHECKPOINT_NAME || memchr(text, 0, size) ||
        rank > TSR_TENSOR_MAX_DIMS)
        return tsri_fail(c->cp->ctx, TSR_E_CORRUPT, "%s: a tensor with a name of "
                         "%llu bytes and %u dimensions", c->cp->path,
                         (unsigned long long)size, rank);
    memcpy(name, text, size);
    name[size] = 0;
    spec->rank = (int)rank;
    for (uint32_t i = rank; i-- > 0;)
        TSR_TRY(take64(c, &spec->dims[i]));
    TSR_TRY(take32(c, &type));
    spec->dtype = type_of(type);
    if (!spec->dtype)
        return tsri_fail(c->cp->ctx, TSR_E_UNSUPPORTED, "%s: '%s' is quantised "
                         "(type %u): only plain numbers can be read",
                         c->cp->path, name, type);
    tsri_spec_order(spec, false);
    return take64(c, &spec->storage.at);
}

/* Its elements begin at `base`. */
static tsr_error add(tsri_checkpoint *cp, tsri_tensor_spec *spec, uint64_t base)
{
    if (base > cp->size || spec->storage.at > cp->size - base)
        return tsri_fail(cp->ctx, TSR_E_TRUNCATED, "%s: cut before '%s'",
                         cp->path, spec->name);
    spec->storage.memory = cp->file;
    spec->storage.at += base;
    spec->storage.count = (cp->size - spec->storage.at) /
                          tsr_dtype_bytes(spec->dtype);
    return tsri_checkpoint_add(cp, spec);
}

tsr_error tsri_checkpoint_gguf(tsri_checkpoint *cp)
{
    cursor c = { cp, 4 };
    char name[TSRI_CHECKPOINT_NAME];
    tsri_tensor_spec spec;
    uint32_t version, alignment = ALIGNMENT;
    uint64_t tensors, facts;

    cp->kind = "GGUF";
    TSR_TRY(take32(&c, &version));
    if (version != 2 && version != 3)
        return tsri_fail(cp->ctx, TSR_E_UNSUPPORTED, "%s: GGUF of version %u, or "
                         "big-endian", cp->path, version);
    TSR_TRY(take64(&c, &tensors));
    TSR_TRY(take64(&c, &facts));
    for (; facts; facts--)
        TSR_TRY(skip_fact(&c, &alignment));
    /* Twice: where the elements begin is known when all have been passed. */
    const uint64_t first = c.at;
    for (uint64_t i = 0; i < tensors; i++)
        TSR_TRY(take_tensor(&c, name, &spec));
    const uint64_t base = (c.at + alignment - 1) / alignment * alignment;
    c.at = first;
    for (uint64_t i = 0; i < tensors; i++) {
        TSR_TRY(take_tensor(&c, name, &spec));
        TSR_TRY(add(cp, &spec, base));
    }
    return TSR_OK;
}
