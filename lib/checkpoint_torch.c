/* SPDX-License-Identifier: BSD-2-Clause */
/* What torch.save() writes.  New: a zip with PREFIX/data.pkl and a member
 * PREFIX/data/KEY for each storage.  Old: five pickles (a magic number, the
 * version, facts of the machine, the object, the storages' keys), then each
 * storage as its number of elements, 64 bits, and the elements. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "lib/bytes.h"
#include "lib/checkpoint_impl.h"

enum { DEPTH_MAX = 64, VISITS_MAX = 1 << 20 };

/* A walk through the values; `path` grows and shrinks. */
typedef struct walk {
    tsri_checkpoint *cp;
    tsri_storage *storage;      /* by number of the STORAGE value; old files */
    const char *prefix;         /* of members; new files */
    char path[TSRI_CHECKPOINT_NAME];
    size_t length;
    int visits;
    bool objects;               /* look at attributes, too */
} walk;

static const tsri_pickle_value *value_at(const walk *w, tsri_pickle_ref ref)
{
    return tsri_pickle_at(w->cp->pickle, ref);
}

static tsr_error bad_tensor(const walk *w, const char *why)
{
    return tsri_fail(w->cp->ctx, TSR_E_CORRUPT, "%s: '%s' %s", w->cp->path,
                     w->path, why);
}

/* ---- tensors ---- */

/* The member that a storage is. */
static tsr_error find_member(const walk *w, const tsri_pickle_value *storage,
                             tsri_storage *out)
{
    const tsri_pickle_value *key = value_at(w, storage->storage.key);
    char name[TSRI_CHECKPOINT_NAME + 8];
    const int n = snprintf(name, sizeof name, "%s/data/%.*s", w->prefix,
                           (int)key->size, key->text);

    if (key->size > TSRI_CHECKPOINT_NAME || n < 0 || (size_t)n >= sizeof name)
        return bad_tensor(w, "has a storage with too long a name");
    out->member = tsri_zip_find(w->cp->zip, name);
    if (!out->member)
        return tsri_fail(w->cp->ctx, TSR_E_CORRUPT, "%s: the storage '%s' of "
                         "'%s' is missing", w->cp->path, name, w->path);
    return TSR_OK;
}

static tsr_error find_storage(const walk *w, const tsri_pickle_value *tensor,
                              tsri_storage *out)
{
    const tsri_pickle_value *s = value_at(w, tensor->tensor.storage);
    const uint64_t old_size = tsr_dtype_bytes(s->dtype);
    const uint64_t size = tsr_dtype_bytes(tensor->dtype);
    uint64_t held;

    *out = (tsri_storage){ .count = (uint64_t)s->storage.count };
    if (s->flag) { /* in the pickle itself */
        const tsri_pickle_value *data = value_at(w, s->storage.key);
        out->memory = (const uint8_t *)data->text;
        held = data->size;
    } else if (w->storage) {
        *out = w->storage[tensor->tensor.storage];
        if (!out->memory)
            return bad_tensor(w, "has a storage that the file does not list");
        held = UINT64_MAX; /* checked when it was found */
    } else if (!w->cp->zip) {
        return bad_tensor(w, "has a storage that is not in the file");
    } else {
        TSR_TRY(find_member(w, s, out));
        held = out->member->bytes;
    }
    if (out->count > held / old_size)
        return bad_tensor(w, "has a storage with fewer bytes than it says");
    if (size != old_size) /* an untyped one */
        out->count = out->count * old_size / size;
    return TSR_OK;
}

/* A tuple of numbers >= 0. */
static tsr_error read_sizes(const walk *w, tsri_pickle_ref tuple, int *rank,
                            uint64_t *out)
{
    uint32_t at = 0;
    tsri_pickle_ref item;

    *rank = 0;
    while ((item = tsri_pickle_next(w->cp->pickle, tuple, &at))) {
        const tsri_pickle_value *v = value_at(w, item);
        if (*rank == TSR_TENSOR_MAX_DIMS)
            return bad_tensor(w, "has too many dimensions");
        if (v->kind != TSRI_PICKLE_INT || v->whole < 0)
            return bad_tensor(w, "has a size or stride that is no number >= 0");
        out[(*rank)++] = (uint64_t)v->whole;
    }
    return TSR_OK;
}

static tsr_error add_tensor(walk *w, tsri_pickle_ref ref)
{
    const tsri_pickle_value *t = value_at(w, ref);
    tsri_tensor_spec spec = { .name = w->length ? w->path : "(root)",
                              .dtype = t->dtype };
    int strides;

    if (!t->dtype || !value_at(w, t->tensor.storage)->dtype)
        return tsri_checkpoint_note(w->cp, w->path, ref); /* complex, say */
    TSR_TRY(read_sizes(w, t->tensor.dims, &spec.rank, spec.dims));
    if (t->flag) {
        tsri_spec_order(&spec, t->flag == 2);
    } else {
        TSR_TRY(read_sizes(w, t->tensor.strides, &strides, spec.strides));
        if (strides != spec.rank)
            return bad_tensor(w, "has more strides than sizes, or fewer");
    }
    if (t->tensor.offset < 0)
        return bad_tensor(w, "has a negative offset");
    spec.offset = (uint64_t)t->tensor.offset;
    TSR_TRY(find_storage(w, t, &spec.storage));
    return tsri_checkpoint_add(w->cp, &spec);
}

/* ---- the tree ---- */

/* Puts a key at the end of the path. */
static tsr_error append_key(walk *w, tsri_pickle_ref ref)
{
    const tsri_pickle_value *key = value_at(w, ref);
    const size_t room = sizeof w->path - w->length;
    char *to = w->path + w->length;
    const char *slash = w->length ? "/" : "";
    int n;

    switch (key->kind) {
    case TSRI_PICKLE_TEXT:
        if (key->size >= room || memchr(key->text, 0, key->size))
            return bad_tensor(w, "holds a key that is too long, or no text");
        n = snprintf(to, room, "%s%.*s", slash, (int)key->size, key->text);
        break;
    case TSRI_PICKLE_INT:
        n = snprintf(to, room, "%s%" PRId64, slash, key->whole);
        break;
    default: /* a tuple, say: one that no tensor of ours has */
        n = snprintf(to, room, "%s(key)", slash);
        break;
    }
    if (n < 0 || (size_t)n >= room)
        return bad_tensor(w, "holds keys that are too long");
    w->length += (size_t)n;
    return TSR_OK;
}

static tsr_error visit(walk *w, tsri_pickle_ref ref, int depth);

static tsr_error visit_items(walk *w, tsri_pickle_ref ref, bool dict, int depth)
{
    const size_t length = w->length;
    tsri_pickle_ref item;
    uint32_t at = 0;

    for (int i = 0; (item = tsri_pickle_next(w->cp->pickle, ref, &at)); i++) {
        if (dict) {
            TSR_TRY(append_key(w, item));
            item = tsri_pickle_next(w->cp->pickle, ref, &at);
        } else {
            const size_t room = sizeof w->path - length;
            const int n = snprintf(w->path + length, room, "%s%d",
                                   length ? "/" : "", i);
            if (n < 0 || (size_t)n >= room)
                return bad_tensor(w, "holds keys that are too long");
            w->length = length + (size_t)n;
        }
        TSR_TRY(visit(w, item, depth + 1));
        w->length = length;
        w->path[length] = 0;
    }
    return TSR_OK;
}

/* A value may be in many places, and in itself. */
static tsr_error visit(walk *w, tsri_pickle_ref ref, int depth)
{
    const tsri_pickle_value *v = value_at(w, ref);

    if (depth > DEPTH_MAX || ++w->visits > VISITS_MAX)
        return tsri_fail(w->cp->ctx, TSR_E_LIMIT, "%s: it is nested more than "
                         "%d deep, or without an end", w->cp->path, DEPTH_MAX);
    switch (v->kind) {
    case TSRI_PICKLE_TENSOR: return add_tensor(w, ref);
    case TSRI_PICKLE_DICT: return visit_items(w, ref, true, depth);
    case TSRI_PICKLE_LIST:
    case TSRI_PICKLE_TUPLE: return visit_items(w, ref, false, depth);
    case TSRI_PICKLE_OPAQUE:
        if (w->objects && value_at(w, v->object.state)->kind ==
                              TSRI_PICKLE_DICT)
            return visit_items(w, v->object.state, true, depth);
        return tsri_checkpoint_note(w->cp, w->path, ref);
    default: return tsri_checkpoint_note(w->cp, w->path, ref);
    }
}

static tsr_error visit_root(walk *w, tsri_pickle_ref root)
{
    const tsri_pickle_value *v = value_at(w, root);

    if (v->kind == TSRI_PICKLE_OPAQUE)
        return tsri_fail(w->cp->ctx, TSR_E_UNSUPPORTED, "%s: it is a whole "
                         "object of %.*s, not the tensors of one: save its "
                         "state_dict()", w->cp->path,
                         (int)(v->size < 200 ? v->size : 200), v->text);
    return visit(w, root, 0);
}

/* ---- new files ---- */

static tsr_error check_byte_order(tsri_checkpoint *cp, const char *prefix)
{
    char name[TSRI_CHECKPOINT_NAME + 16];
    const uint8_t *text;

    snprintf(name, sizeof name, "%s/byteorder", prefix);
    const tsri_zip_member *member = tsri_zip_find(cp->zip, name);
    if (!member)
        return TSR_OK;
    TSR_TRY(tsri_zip_read(cp->zip, member, &text));
    if (member->bytes >= 6 && !memcmp(text, "little", 6))
        return TSR_OK;
    return tsri_fail(cp->ctx, TSR_E_UNSUPPORTED, "%s: written by a big-endian "
                     "machine", cp->path);
}

tsr_error tsri_checkpoint_torch_zip(tsri_checkpoint *cp, const char *prefix)
{
    walk w = { .cp = cp, .prefix = prefix };
    char name[TSRI_CHECKPOINT_NAME + 16];
    const uint8_t *pickle;
    tsri_pickle_ref root;

    cp->kind = "PyTorch (zip)";
    TSR_TRY(check_byte_order(cp, prefix));
    snprintf(name, sizeof name, "%s/data.pkl", prefix);
    const tsri_zip_member *member = tsri_zip_find(cp->zip, name);
    if (!member || member->bytes > TSRI_PICKLE_BYTES_MAX)
        return tsri_fail(cp->ctx, TSR_E_LIMIT, "%s: its pickle has over %d "
                         "bytes", cp->path, TSRI_PICKLE_BYTES_MAX);
    TSR_TRY(tsri_zip_read(cp->zip, member, &pickle));
    TSR_TRY(tsri_pickle_open(&cp->pickle, cp->ctx, cp->path));
    TSR_TRY(tsri_pickle_run(cp->pickle, pickle, member->bytes, &root, NULL));
    return visit_root(&w, root);
}

/* ---- old files ---- */

/* The next of the pickles at *at. */
static tsr_error next_pickle(tsri_checkpoint *cp, size_t *at,
                             tsri_pickle_ref *root)
{
    const size_t left = cp->size - *at;
    size_t used;

    TSR_TRY(tsri_pickle_run(cp->pickle, cp->file + *at,
                            left < TSRI_PICKLE_BYTES_MAX ? left
                                                         : TSRI_PICKLE_BYTES_MAX,
                            root, &used));
    *at += used;
    return TSR_OK;
}

/* A STORAGE value and its key.  Many values can mean one storage. */
typedef struct index_entry {
    const tsri_pickle_value *key;
    tsri_pickle_ref storage;
} index_entry;

static int by_key(const void *a, const void *b)
{
    const tsri_pickle_value *x = ((const index_entry *)a)->key;
    const tsri_pickle_value *y = ((const index_entry *)b)->key;
    if (x->size != y->size)
        return x->size < y->size ? -1 : 1;
    return memcmp(x->text, y->text, x->size);
}

/* All storages sorted by their keys. */
static tsr_error index_storages(tsri_checkpoint *cp, index_entry **out,
                                size_t *count)
{
    const tsri_pickle_ref values = tsri_pickle_count(cp->pickle);
    size_t n = 0;

    *out = tsri_alloc(cp->ctx, values, sizeof **out);
    if (!*out)
        return tsri_nomem(cp->ctx);
    for (tsri_pickle_ref i = 1; i <= values; i++) {
        const tsri_pickle_value *v = tsri_pickle_at(cp->pickle, i);
        if (v->kind == TSRI_PICKLE_STORAGE && !v->flag)
            (*out)[n++] = (index_entry){
                tsri_pickle_at(cp->pickle, v->storage.key), i
            };
    }
    qsort(*out, n, sizeof **out, by_key);
    *count = n;
    return TSR_OK;
}

/* The storage with this key at *at of the file: all values that mean it. */
static tsr_error place_storage(walk *w, const tsri_pickle_value *key,
                               const index_entry *index, size_t count,
                               size_t *at)
{
    tsri_checkpoint *cp = w->cp;
    const index_entry wanted = { .key = key };
    size_t low = 0, high = count;

    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (by_key(&index[middle], &wanted) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == count || by_key(&index[low], &wanted))
        return tsri_fail(cp->ctx, TSR_E_CORRUPT, "%s: a storage that nothing "
                         "uses", cp->path);
    if (w->storage[index[low].storage].memory)
        return tsri_fail(cp->ctx, TSR_E_CORRUPT, "%s: a storage is listed "
                         "twice", cp->path);
    const tsri_pickle_value *s = value_at(w, index[low].storage);
    const uint64_t size = tsr_dtype_bytes(s->dtype);
    if (!size)
        return tsri_fail(cp->ctx, TSR_E_UNSUPPORTED, "%s: a storage of an "
                         "unknown type", cp->path);
    if (cp->size - *at < 8)
        return tsri_fail(cp->ctx, TSR_E_TRUNCATED, "%s: cut before a storage",
                         cp->path);
    const uint64_t n = tsri_get64(cp->file + *at);
    *at += 8;
    if (n != (uint64_t)s->storage.count || n > (cp->size - *at) / size)
        return tsri_fail(cp->ctx, n == (uint64_t)s->storage.count
                         ? TSR_E_TRUNCATED : TSR_E_CORRUPT, "%s: a storage is "
                         "cut, or not of the size that was said", cp->path);
    const tsri_storage found = { .memory = cp->file + *at, .count = n };
    *at += (size_t)(n * size);
    for (; low < count && !by_key(&index[low], &wanted); low++) {
        const tsri_pickle_value *other = value_at(w, index[low].storage);
        if (other->storage.count == s->storage.count &&
            other->dtype == s->dtype)
            w->storage[index[low].storage] = found;
    }
    return TSR_OK;
}

static tsr_error place_all(walk *w, tsri_pickle_ref keys, size_t at)
{
    index_entry *index;
    size_t count = 0;
    uint32_t item = 0;
    tsri_pickle_ref ref;
    tsr_error error = TSR_OK;

    if (value_at(w, keys)->kind != TSRI_PICKLE_LIST)
        return tsri_fail(w->cp->ctx, TSR_E_CORRUPT, "%s: no list of storages",
                         w->cp->path);
    TSR_TRY(index_storages(w->cp, &index, &count));
    while (!error && (ref = tsri_pickle_next(w->cp->pickle, keys, &item))) {
        if (value_at(w, ref)->kind != TSRI_PICKLE_TEXT)
            error = tsri_fail(w->cp->ctx, TSR_E_CORRUPT, "%s: a storage's key "
                              "is no text", w->cp->path);
        else
            error = place_storage(w, value_at(w, ref), index, count, &at);
    }
    tsri_free(w->cp->ctx, index);
    return error;
}

tsr_error tsri_checkpoint_torch_legacy(tsri_checkpoint *cp)
{
    walk w = { .cp = cp };
    tsri_pickle_ref root, keys;
    size_t at = 0;

    cp->kind = "PyTorch (legacy)";
    TSR_TRY(tsri_pickle_open(&cp->pickle, cp->ctx, cp->path));
    TSR_TRY(tsri_pickle_torch_head(cp->pickle, cp->file, cp->size, &at));
    TSR_TRY(next_pickle(cp, &at, &root));
    TSR_TRY(next_pickle(cp, &at, &keys));
    w.storage = tsri_calloc(cp->ctx, (size_t)tsri_pickle_count(cp->pickle) + 1,
                            sizeof *w.storage);
    if (!w.storage)
        return tsri_nomem(cp->ctx);
    tsr_error error = place_all(&w, keys, at);
    if (!error)
        error = visit_root(&w, root);
    tsri_free(cp->ctx, w.storage);
    return error;
}

tsr_error tsri_checkpoint_pickle(tsri_checkpoint *cp)
{
    walk w = { .cp = cp, .objects = true };
    tsri_pickle_ref root;

    cp->kind = "pickle";
    TSR_TRY(tsri_pickle_open(&cp->pickle, cp->ctx, cp->path));
    TSR_TRY(tsri_pickle_run(cp->pickle, cp->file, cp->size, &root, NULL));
    return visit(&w, root, 0);
}
