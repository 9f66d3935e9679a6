/* SPDX-License-Identifier: BSD-2-Clause */
#include "config.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "lib/bytes.h"
#include "lib/checkpoint_impl.h"
#include "lib/sha256.h"

enum {
    TENSORS_MAX = 1 << 20, NAMES_MAX = 64 << 20, REPEATS_MAX = 16 << 20,
    CLAIMS = 16
};

/* ---- tensors and values ---- */

/* Keeps a name; its place in cp->names. */
static tsr_error keep_name(tsri_checkpoint *cp, const char *name, size_t *at)
{
    const size_t n = strlen(name) + 1;

    if (n > NAMES_MAX - cp->name_bytes || cp->tensors >= TENSORS_MAX ||
        cp->values >= TENSORS_MAX)
        return tsri_fail(cp->ctx, TSR_E_LIMIT, "%s: more than %d values",
                         cp->path, TENSORS_MAX);
    TSR_TRY(tsri_grow(cp->ctx, &cp->names, &cp->name_room, cp->name_bytes, n,
                      1));
    memcpy(cp->names + cp->name_bytes, name, n);
    *at = cp->name_bytes;
    cp->name_bytes += n;
    return TSR_OK;
}

void tsri_spec_order(tsri_tensor_spec *spec, bool fortran)
{
    uint64_t stride = 1;

    for (int i = 0; i < spec->rank; i++) {
        const int axis = fortran ? i : spec->rank - 1 - i;
        spec->strides[axis] = stride;
        if (__builtin_mul_overflow(stride, spec->dims[axis], &stride))
            stride = UINT64_MAX; /* found when the tensor is checked */
    }
}

/* Its elements and bytes; false when they overflow. */
static bool spec_size(const tsri_tensor_spec *s, uint64_t *count,
                      uint64_t *bytes)
{
    *count = 1;
    for (int i = 0; i < s->rank; i++)
        if (s->dims[i] == 0) {
            *count = *bytes = 0;
            return true;
        }
    for (int i = 0; i < s->rank; i++)
        if (__builtin_mul_overflow(*count, s->dims[i], count))
            return false;
    return !__builtin_mul_overflow(*count, tsr_dtype_bytes(s->dtype), bytes) &&
           *bytes <= SIZE_MAX;
}

/* The last element it has, from the storage's start. */
static bool last_element(const tsri_tensor_spec *s, uint64_t *last)
{
    uint64_t part;

    *last = s->offset;
    for (int i = 0; i < s->rank; i++)
        if (__builtin_mul_overflow(s->dims[i] - 1, s->strides[i], &part) ||
            __builtin_add_overflow(*last, part, last))
            return false;
    return true;
}

static bool is_plain(const tsri_tensor_spec *s)
{
    uint64_t stride = 1;

    for (int i = s->rank - 1; i >= 0; i--) {
        if (s->dims[i] != 1 && s->strides[i] != stride)
            return false;
        stride *= s->dims[i];
    }
    return true;
}

static tsr_error check_spec(tsri_checkpoint *cp, const tsri_tensor_spec *s,
                            uint64_t *bytes)
{
    const uint64_t held = s->storage.count * tsr_dtype_bytes(s->dtype);
    uint64_t count, last;

    if (!spec_size(s, &count, bytes))
        return tsri_fail(cp->ctx, TSR_E_CORRUPT, "%s: the shape of '%s' "
                         "overflows", cp->path, s->name);
    if (count && (!last_element(s, &last) || last >= s->storage.count))
        return tsri_fail(cp->ctx, TSR_E_CORRUPT, "%s: '%s' reaches beyond its "
                         "storage", cp->path, s->name);
    cp->claimed += *bytes;
    if ((*bytes > held && *bytes - held > REPEATS_MAX) ||
        cp->claimed < *bytes ||
        cp->claimed / CLAIMS > cp->contents + REPEATS_MAX)
        return tsri_fail(cp->ctx, TSR_E_LIMIT, "%s: '%s' repeats its storage "
                         "too often", cp->path, s->name);
    return TSR_OK;
}

tsr_error tsri_checkpoint_add(tsri_checkpoint *cp, const tsri_tensor_spec *s)
{
    tsri_checkpoint_tensor t = { .storage = s->storage, .offset = s->offset,
                                 .plain = is_plain(s) };
    uint64_t bytes;

    TSR_TRY(check_spec(cp, s, &bytes));
    TSR_TRY(keep_name(cp, s->name, &t.name));
    t.tensor = (tsr_tensor){ .dtype = s->dtype, .rank = s->rank,
                             .bytes = (size_t)bytes };
    memcpy(t.tensor.dims, s->dims, sizeof t.tensor.dims);
    memcpy(t.strides, s->strides, sizeof t.strides);
    TSR_TRY(tsri_grow(cp->ctx, &cp->tensor, &cp->tensor_room, cp->tensors, 1,
                      sizeof t));
    cp->tensor[cp->tensors++] = t;
    return TSR_OK;
}

tsr_error tsri_checkpoint_note(tsri_checkpoint *cp, const char *path,
                               tsri_pickle_ref ref)
{
    tsri_checkpoint_value v = { .ref = ref };

    TSR_TRY(keep_name(cp, path, &v.name));
    TSR_TRY(tsri_grow(cp->ctx, &cp->value, &cp->value_room, cp->values, 1,
                      sizeof v));
    cp->value[cp->values++] = v;
    return TSR_OK;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const tsri_checkpoint_tensor *)a)->tensor.name,
                  ((const tsri_checkpoint_tensor *)b)->tensor.name);
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const tsri_checkpoint_value *)a)->path,
                  ((const tsri_checkpoint_value *)b)->path);
}

/* Names no longer move: sorts, and refuses what is there twice. */
static tsr_error settle(tsri_checkpoint *cp)
{
    tsri_checkpoint_tensor *t = cp->tensor;

    if (!cp->tensors)
        return tsri_fail(cp->ctx, TSR_E_FORMAT, "%s: it holds no tensors",
                         cp->path);
    for (size_t i = 0; i < cp->tensors; i++)
        t[i].tensor.name = cp->names + t[i].name;
    for (size_t i = 0; i < cp->values; i++)
        cp->value[i].path = cp->names + cp->value[i].name;
    qsort(t, cp->tensors, sizeof *t, by_name);
    if (cp->values)
        qsort(cp->value, cp->values, sizeof *cp->value, by_path);
    for (size_t i = 1; i < cp->tensors; i++)
        if (!strcmp(t[i - 1].tensor.name, t[i].tensor.name))
            return tsri_fail(cp->ctx, TSR_E_CORRUPT, "%s: two tensors '%s'",
                             cp->path, t[i].tensor.name);
    return TSR_OK;
}

/* ---- open and close ---- */

/* The file's first bytes say what it is. */
static tsr_error read_zip(tsri_checkpoint *cp)
{
    static const char pickle[] = "/data.pkl";
    char prefix[TSRI_CHECKPOINT_NAME] = "";
    int pickles = 0, arrays = 0;

    TSR_TRY(tsri_zip_open(&cp->zip, cp->ctx, cp->file, cp->size, cp->path));
    for (size_t i = 0; i < tsri_zip_count(cp->zip); i++) {
        const char *name = tsri_zip_at(cp->zip, i)->name;
        const char *slash = strchr(name, '/');
        const size_t n = strlen(name);
        cp->contents += tsri_zip_at(cp->zip, i)->bytes;
        if (slash && !strcmp(slash, pickle)) {
            pickles++;
            snprintf(prefix, sizeof prefix, "%.*s", (int)(slash - name), name);
        }
        arrays += n > 4 && !strcmp(name + n - 4, ".npy");
    }
    if (pickles == 1)
        return tsri_checkpoint_torch_zip(cp, prefix);
    if (!pickles && arrays)
        return tsri_checkpoint_npz(cp);
    return tsri_fail(cp->ctx, TSR_E_FORMAT, "%s: a zip file, but not of a "
                     "checkpoint or of arrays", cp->path);
}

static bool starts(const tsri_checkpoint *cp, const char *magic, size_t size)
{
    return cp->size >= size && !memcmp(cp->file, magic, size);
}

static tsr_error read_memory(tsri_checkpoint *cp)
{
    cp->contents = 0;
    if (starts(cp, "PK", 2))
        return read_zip(cp);
    cp->contents = cp->size;
    if (starts(cp, "\x93NUMPY", 6))
        return tsri_checkpoint_npy(cp);
    if (starts(cp, "GGUF", 4))
        return tsri_checkpoint_gguf(cp);
    if (starts(cp, "\x80\x02", 2) || starts(cp, "\x80\x03", 2) ||
        starts(cp, "\x80\x04", 2) || starts(cp, "\x80\x05", 2))
        return tsri_checkpoint_torch_legacy(cp);
    return tsri_fail(cp->ctx, TSR_E_FORMAT, cp->size
                     ? "%s: neither a PyTorch checkpoint nor .npy, .npz, "
                       ".safetensors or .gguf" : "%s: the file is empty",
                     cp->path);
}

static tsr_error read_any(tsri_checkpoint *cp)
{
    if (starts(cp, "{", 1))
        return tsri_checkpoint_index(cp);
    if (cp->size > 8 && cp->file[8] == '{' && !starts(cp, "PK", 2) &&
        !starts(cp, "GGUF", 4))
        return tsri_checkpoint_safetensors(cp);
    return read_memory(cp);
}

static tsr_error map_file(tsri_checkpoint *cp)
{
    struct stat st;
    const int fd = open(cp->path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return tsri_fail(cp->ctx, TSR_E_IO, "%s: %s", cp->path,
                         strerror(errno));
    if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
        close(fd);
        return tsri_fail(cp->ctx, TSR_E_FORMAT, "%s: not a file", cp->path);
    }
    cp->size = (size_t)st.st_size;
    if (cp->size) {
        void *at = mmap(NULL, cp->size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (at != MAP_FAILED)
            cp->file = cp->mapped = at;
    }
    close(fd);
    return cp->mapped || !cp->size
               ? TSR_OK : tsri_fail(cp->ctx, TSR_E_IO, "%s: cannot be mapped",
                                    cp->path);
}

static tsr_error new_checkpoint(tsri_checkpoint **out, tsr_context *ctx,
                                const char *path)
{
    const size_t n = strlen(path) + 1;
    tsri_checkpoint *cp = tsri_calloc(ctx, 1, sizeof *cp);

    *out = cp;
    if (!cp)
        return tsri_nomem(ctx);
    cp->ctx = ctx;
    cp->path = tsri_alloc(ctx, n, 1);
    if (!cp->path) {
        tsri_checkpoint_close(out);
        return tsri_nomem(ctx);
    }
    memcpy(cp->path, path, n);
    return TSR_OK;
}

tsr_error tsri_checkpoint_open(tsri_checkpoint **out, tsr_context *ctx,
                               const char *path)
{
    TSR_TRY(new_checkpoint(out, ctx, path));
    tsr_error error = map_file(*out);
    if (!error)
        error = read_any(*out);
    if (!error)
        error = settle(*out);
    if (error)
        tsri_checkpoint_close(out);
    return error;
}

static tsr_error open_memory(tsri_checkpoint **out, tsr_context *ctx,
                             const uint8_t *file, size_t size, const char *path,
                             tsr_error (*read)(tsri_checkpoint *cp))
{
    TSR_TRY(new_checkpoint(out, ctx, path));
    (*out)->file = file;
    (*out)->size = size;
    tsr_error error = read(*out);
    if (!error)
        error = settle(*out);
    if (error)
        tsri_checkpoint_close(out);
    return error;
}

tsr_error tsri_checkpoint_open_memory(tsri_checkpoint **out, tsr_context *ctx,
                                      const uint8_t *file, size_t size,
                                      const char *path)
{
    return open_memory(out, ctx, file, size, path, read_memory);
}

static tsr_error read_pickle(tsri_checkpoint *cp)
{
    cp->contents = cp->size;
    return tsri_checkpoint_pickle(cp);
}

tsr_error tsri_checkpoint_open_pickle(tsri_checkpoint **out, tsr_context *ctx,
                                      const uint8_t *file, size_t size,
                                      const char *path)
{
    return open_memory(out, ctx, file, size, path, read_pickle);
}

void tsri_checkpoint_close(tsri_checkpoint **out)
{
    tsri_checkpoint *cp = out ? *out : NULL;
    if (!cp)
        return;
    tsri_zip_close(&cp->zip);
    tsri_pickle_close(&cp->pickle);
    for (size_t i = 0; i < cp->models; i++)
        tsr_model_unref(&cp->model[i]);
    if (cp->mapped)
        munmap(cp->mapped, cp->size);
    void *const parts[] = { cp->model, cp->names, cp->tensor, cp->value,
                            cp->scratch, cp->path };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        tsri_free(cp->ctx, parts[i]);
    tsri_free(cp->ctx, cp);
    *out = NULL;
}

/* ---- questions ---- */

const char *tsri_checkpoint_kind(const tsri_checkpoint *cp)
{
    return cp->kind;
}

const char *tsri_checkpoint_path(const tsri_checkpoint *cp)
{
    return cp->path;
}

size_t tsri_checkpoint_count(const tsri_checkpoint *cp)
{
    return cp->tensors;
}

const tsr_tensor *tsri_checkpoint_at(const tsri_checkpoint *cp, size_t i)
{
    return &cp->tensor[i].tensor;
}

size_t tsri_checkpoint_find(const tsri_checkpoint *cp, const char *name)
{
    const tsri_checkpoint_tensor key = { .tensor.name = name };
    const tsri_checkpoint_tensor *t = bsearch(&key, cp->tensor, cp->tensors,
                                              sizeof key, by_name);
    return t ? (size_t)(t - cp->tensor) : SIZE_MAX;
}

bool tsri_checkpoint_same(const tsri_checkpoint *cp, size_t a, size_t b)
{
    const tsri_checkpoint_tensor *x = &cp->tensor[a], *y = &cp->tensor[b];
    return x->storage.member == y->storage.member &&
           x->storage.memory == y->storage.memory &&
           x->storage.at == y->storage.at && x->offset == y->offset &&
           x->tensor.dtype == y->tensor.dtype &&
           x->tensor.rank == y->tensor.rank &&
           !memcmp(x->tensor.dims, y->tensor.dims, sizeof x->tensor.dims) &&
           !memcmp(x->strides, y->strides, sizeof x->strides);
}

void tsri_checkpoint_digest(const tsri_checkpoint *cp, uint8_t digest[32])
{
    tsri_sha256 s;

    tsri_sha256_start(&s);
    tsri_sha256_add(&s, cp->file, cp->size);
    tsri_sha256_end(&s, digest);
}

tsr_error tsri_checkpoint_verify(tsri_checkpoint *cp)
{
    const size_t members = cp->zip ? tsri_zip_count(cp->zip) : 0;
    const uint8_t *data;

    for (size_t i = 0; i < members; i++)
        TSR_TRY(tsri_zip_read(cp->zip, tsri_zip_at(cp->zip, i), &data));
    return TSR_OK;
}

const char *tsri_checkpoint_codec(const tsri_checkpoint *cp)
{
    return cp->models ? tsr_model_codec(cp->model[0]) : "";
}

/* ---- elements ---- */

/* Copies elements into C order. */
static void gather(const tsri_checkpoint_tensor *t, const uint8_t *from,
                   uint8_t *to)
{
    const size_t size = tsr_dtype_bytes(t->tensor.dtype);
    const int last = t->tensor.rank - 1; /* what is not plain has dims */
    uint64_t index[TSR_TENSOR_MAX_DIMS] = { 0 };
    const uint64_t step = t->strides[last] * size;

    for (;;) {
        uint64_t at = 0;
        for (int i = 0; i < last; i++)
            at += index[i] * t->strides[i];
        at *= size;
        for (uint64_t i = 0; i < t->tensor.dims[last]; i++, to += size)
            memcpy(to, from + at + i * step, size);
        int axis = last - 1;
        while (axis >= 0 && ++index[axis] == t->tensor.dims[axis])
            index[axis--] = 0;
        if (axis < 0)
            return;
    }
}

tsr_error tsri_checkpoint_data(tsri_checkpoint *cp, size_t i,
                               const void **data)
{
    const tsri_checkpoint_tensor *t = &cp->tensor[i];
    const uint8_t *from = t->storage.memory;

    *data = cp->names; /* of no bytes */
    if (!t->tensor.bytes)
        return TSR_OK;
    if (t->storage.member)
        TSR_TRY(tsri_zip_read(cp->zip, t->storage.member, &from));
    from += t->storage.at + t->offset * tsr_dtype_bytes(t->tensor.dtype);
    *data = from;
    if (t->plain)
        return TSR_OK;
    tsri_free(cp->ctx, cp->scratch);
    cp->scratch = tsri_alloc(cp->ctx, t->tensor.bytes, 1);
    if (!cp->scratch)
        return tsri_nomem(cp->ctx);
    gather(t, from, cp->scratch);
    *data = cp->scratch;
    return TSR_OK;
}

/* ---- values ---- */

size_t tsri_checkpoint_values(const tsri_checkpoint *cp)
{
    return cp->values;
}

const char *tsri_checkpoint_value_at(const tsri_checkpoint *cp, size_t i)
{
    return cp->value[i].path;
}

static int spell(const tsri_pickle_value *v, char *text, size_t size)
{
    switch (v->kind) {
    case TSRI_PICKLE_NONE: return snprintf(text, size, "none");
    case TSRI_PICKLE_BOOL:
        return snprintf(text, size, v->whole ? "true" : "false");
    case TSRI_PICKLE_INT: return snprintf(text, size, "%" PRId64, v->whole);
    case TSRI_PICKLE_FLOAT: return snprintf(text, size, "%.17g", v->real);
    case TSRI_PICKLE_TEXT:
        if (v->size >= size || memchr(v->text, 0, v->size))
            return -1;
        memcpy(text, v->text, v->size);
        text[v->size] = 0;
        return (int)v->size;
    case TSRI_PICKLE_GLOBAL:
    case TSRI_PICKLE_OPAQUE:
        return snprintf(text, size, "object of %.*s", (int)v->size, v->text);
    default: return snprintf(text, size, "bytes");
    }
}

bool tsri_checkpoint_text(const tsri_checkpoint *cp, const char *path,
                          char *text, size_t size)
{
    const tsri_checkpoint_value key = { .path = path };
    const tsri_checkpoint_value *found =
        cp->values ? bsearch(&key, cp->value, cp->values, sizeof key, by_path)
                   : NULL;

    if (!found)
        return false;
    const int n = spell(tsri_pickle_at(cp->pickle, found->ref), text, size);
    return n >= 0 && (size_t)n < size;
}
