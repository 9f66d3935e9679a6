/* SPDX-License-Identifier: BSD-2-Clause */
/* Files of torch.save()'s older form: what they begin with, and those that lie
 * in a pickle with one storage each. */
#include "lib/bytes.h"
#include "lib/pickle_impl.h"

enum { VERSION = 1001 };

static bool is_magic(const tsri_pickle_value *v)
{
    static const uint8_t magic[10] = { 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a,
                                       0xa8, 0x50, 0x19 };
    return v->kind == TSRI_PICKLE_LONG && v->size == sizeof magic &&
           !memcmp(v->text, magic, sizeof magic);
}

static bool is_big_endian(const tsri_pickle *p, tsri_pickle_ref facts)
{
    tsri_pickle_ref key;
    uint32_t at = 0;

    if (p->value[facts].kind != TSRI_PICKLE_DICT)
        return false;
    while ((key = tsri_pickle_next(p, facts, &at))) {
        const tsri_pickle_value *k = &p->value[key];
        const tsri_pickle_value *v = &p->value[tsri_pickle_next(p, facts, &at)];
        if (k->kind == TSRI_PICKLE_TEXT && v->kind == TSRI_PICKLE_BOOL &&
            tsri_pickle_is(k, "little_endian") && !v->whole)
            return true;
    }
    return false;
}

/* The next of the pickles at *at. */
static tsr_error next(tsri_pickle *p, const uint8_t *data, size_t size,
                      size_t *at, tsri_pickle_ref *root)
{
    const size_t left = size - *at;
    size_t used;

    TSR_TRY(tsri_pickle_run(p, data + *at,
                            left < TSRI_PICKLE_BYTES_MAX ? left
                                                         : TSRI_PICKLE_BYTES_MAX,
                            root, &used));
    *at += used;
    return TSR_OK;
}

tsr_error tsri_pickle_torch_head(tsri_pickle *p, const uint8_t *data,
                                 size_t size, size_t *at)
{
    tsri_pickle_ref magic, version, facts;

    *at = 0;
    TSR_TRY(next(p, data, size, at, &magic));
    if (!is_magic(&p->value[magic]))
        return tsri_fail(p->ctx, TSR_E_FORMAT, "%s: a pickle, but not of a "
                         "PyTorch checkpoint", p->what);
    TSR_TRY(next(p, data, size, at, &version));
    const tsri_pickle_value *v = &p->value[version];
    if (v->kind != TSRI_PICKLE_INT || v->whole != VERSION)
        return tsri_fail(p->ctx, TSR_E_UNSUPPORTED, "%s: not of protocol "
                         "version %d", p->what, VERSION);
    TSR_TRY(next(p, data, size, at, &facts));
    if (is_big_endian(p, facts))
        return tsri_fail(p->ctx, TSR_E_UNSUPPORTED, "%s: written by a "
                         "big-endian machine", p->what);
    return TSR_OK;
}

/* ---- storages in pickles ---- */

/* What a storage in such a file is. */
typedef struct found {
    tsr_dtype dtype;
    uint64_t count;
    size_t at;          /* of its elements, in the file */
} found;

/* Behind the head: the storage, a list of its key, its size and elements. */
static tsr_error find(tsri_pickle *p, const uint8_t *file, size_t size,
                      found *out)
{
    tsri_pickle_ref storage, keys;

    TSR_TRY(tsri_pickle_torch_head(p, file, size, &out->at));
    TSR_TRY(next(p, file, size, &out->at, &storage));
    TSR_TRY(next(p, file, size, &out->at, &keys));
    const tsri_pickle_value *v = &p->value[storage];
    if (v->kind != TSRI_PICKLE_STORAGE || v->flag || !v->dtype)
        return tsri_fail(p->ctx, TSR_E_UNSUPPORTED, "%s: a file in the pickle "
                         "is not of one storage of a known type", p->what);
    out->dtype = v->dtype;
    out->count = (uint64_t)v->storage.count;
    if (size - out->at < 8)
        return tsri_fail(p->ctx, TSR_E_TRUNCATED, "%s: a storage in the pickle "
                         "is cut", p->what);
    const uint64_t n = tsri_get64(file + out->at);
    out->at += 8;
    if (n != out->count || n > (size - out->at) / tsr_dtype_bytes(out->dtype))
        return tsri_fail(p->ctx, TSR_E_CORRUPT, "%s: a storage in the pickle is "
                         "cut, or not of the size that was said", p->what);
    return TSR_OK;
}

tsri_pickle_ref tsri_pickle_load(tsri_pickle *p, tsri_pickle_ref arguments)
{
    const tsri_pickle_ref file = tsri_pickle_item(p, arguments, 0);
    tsri_pickle *inner;
    found f = { 0 };

    if (!file || p->value[file].kind != TSRI_PICKLE_BYTES || p->inner) {
        tsri_pickle_fail(p, TSR_E_CORRUPT, "a storage with bad arguments");
        return 0;
    }
    /* One file could be loaded again and again. */
    const size_t size = p->value[file].size;
    if (size > (size_t)(p->end - p->start) - p->loaded) {
        tsri_pickle_fail(p, TSR_E_LIMIT, "storages that are larger than it");
        return 0;
    }
    p->loaded += size;
    const uint8_t *data = (const uint8_t *)p->value[file].text;
    p->error = tsri_pickle_open(&inner, p->ctx, p->what);
    if (!p->error) {
        inner->inner = true;
        p->error = find(inner, data, size, &f);
        tsri_pickle_close(&inner);
    }
    const tsri_pickle_ref elements = p->error ? 0 : tsri_pickle_text(
        p, TSRI_PICKLE_BYTES, data + f.at, f.count * tsr_dtype_bytes(f.dtype));
    const tsri_pickle_ref ref = tsri_pickle_new(p, TSRI_PICKLE_STORAGE);
    if (!ref)
        return 0;
    tsri_pickle_value *v = &p->value[ref];
    v->dtype = (uint8_t)f.dtype;
    v->flag = 1;
    v->storage.key = elements;
    v->storage.count = (int64_t)f.count;
    return ref;
}
