/* SPDX-License-Identifier: BSD-2-Clause */
/* Model files: safetensors, mapped.  The layout is 8 bytes of header length, a
 * JSON object {name: {dtype, shape, data_offsets}, "__metadata__": {text: text}}
 * and the data. */
#include "config.h"
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <tessera/model.h>
#include "lib/bytes.h"
#include "lib/core.h"
#include "lib/json.h"
#include "lib/model_path.h"
#include "lib/model_write.h"
#include "lib/sha256.h"
#include "lib/weights.h"

enum {
    HEADER_MAX = 64 << 20, TENSORS_MAX = 1 << 20, NAME_BYTES = 256,
    TEXT_BYTES = 1 << 16
};

typedef struct meta { char *key, *value; } meta;

struct tsr_model {
    atomic_int refs;
    tsr_allocator allocator;
    uint8_t *file;              /* mapped, read-only */
    size_t file_bytes;
    char *path;
    const char *name;
    char *strings;              /* names and metadata, 0-terminated */
    size_t strings_used, strings_size;
    tsr_tensor *tensors;        /* sorted by name */
    size_t tensor_count, tensor_room;
    meta *metas;
    size_t meta_count, meta_room;
    uint8_t hash[TSR_MODEL_HASH_BYTES];
};

static const struct { const char *name; tsr_dtype dtype; size_t bytes; } dtypes[] = {
    { "F32", TSR_F32, 4 }, { "F16", TSR_F16, 2 }, { "BF16", TSR_BF16, 2 },
    { "F64", TSR_F64, 8 }, { "U8", TSR_U8, 1 },   { "I8", TSR_I8, 1 },
    { "U16", TSR_U16, 2 }, { "I16", TSR_I16, 2 }, { "U32", TSR_U32, 4 },
    { "I32", TSR_I32, 4 }, { "U64", TSR_U64, 8 }, { "I64", TSR_I64, 8 },
    { "BOOL", TSR_BOOL, 1 },
};
enum { DTYPES = sizeof dtypes / sizeof *dtypes };

size_t tsr_dtype_bytes(tsr_dtype dtype)
{
    for (int i = 0; i < DTYPES; i++)
        if (dtypes[i].dtype == dtype)
            return dtypes[i].bytes;
    return 0;
}

const char *tsr_dtype_name(tsr_dtype dtype)
{
    for (int i = 0; i < DTYPES; i++)
        if (dtypes[i].dtype == dtype)
            return dtypes[i].name;
    return "?";
}

/* Copies text into the model's one block of strings, which is as large as the
 * header, so that it never moves. */
static char *keep(tsr_model *m, const char *text)
{
    const size_t n = strlen(text) + 1;
    char *at = m->strings + m->strings_used;
    if (n > m->strings_size - m->strings_used)
        return NULL;
    memcpy(at, text, n);
    m->strings_used += n;
    return at;
}

/* Doubles an array of `used` elements when it is full. */
static tsr_error grow(tsr_context *ctx, void *array, size_t element,
                      size_t used, size_t *room)
{
    void *old, *bigger;
    if (used < *room)
        return TSR_OK;
    memcpy(&old, array, sizeof old);
    bigger = tsri_alloc(ctx, *room ? 2 * *room : 64, element);
    if (!bigger)
        return tsri_nomem(ctx);
    if (used)
        memcpy(bigger, old, used * element);
    tsri_free(ctx, old);
    memcpy(array, &bigger, sizeof bigger);
    *room = *room ? 2 * *room : 64;
    return TSR_OK;
}

static tsr_error read_metadata(tsr_context *ctx, tsr_model *m, tsri_json *j,
                               char *text)
{
    char key[NAME_BYTES];
    bool first = true;

    while (tsri_json_member(j, &first, key, sizeof key) &&
           tsri_json_string(j, text, TEXT_BYTES)) {
        TSR_TRY(grow(ctx, &m->metas, sizeof *m->metas, m->meta_count,
                     &m->meta_room));
        meta *one = &m->metas[m->meta_count++];
        one->key = keep(m, key);
        one->value = keep(m, text);
        if (!one->key || !one->value)
            return TSR_E_CORRUPT;
    }
    return j->bad ? TSR_E_CORRUPT : TSR_OK;
}

static bool read_dtype(tsri_json *j, tsr_tensor *t)
{
    char text[16];
    if (!tsri_json_string(j, text, sizeof text))
        return false;
    for (int i = 0; i < DTYPES; i++)
        if (!strcmp(text, dtypes[i].name)) {
            t->dtype = dtypes[i].dtype;
            return true;
        }
    return false;
}

static bool read_shape(tsri_json *j, tsr_tensor *t)
{
    bool first = true;
    t->rank = 0;
    while (tsri_json_element(j, &first)) {
        if (t->rank == TSR_TENSOR_MAX_DIMS ||
            !tsri_json_u64(j, &t->dims[t->rank++]))
            return false;
    }
    return !j->bad;
}

static bool read_offsets(tsri_json *j, uint64_t offset[2])
{
    bool first = true;
    int n = 0;
    while (tsri_json_element(j, &first))
        if (n == 2 || !tsri_json_u64(j, &offset[n++]))
            return false;
    return !j->bad && n == 2;
}

/* The bytes that type and dims ask for; false when they overflow. */
static bool tensor_bytes(const tsr_tensor *t, uint64_t *bytes)
{
    *bytes = tsr_dtype_bytes(t->dtype);
    for (int i = 0; i < t->rank; i++)
        if (__builtin_mul_overflow(*bytes, t->dims[i], bytes))
            return false;
    return true;
}

static tsr_error read_tensor(tsr_context *ctx, tsr_model *m, tsri_json *j,
                             const char *name, const uint8_t *data,
                             uint64_t data_bytes)
{
    tsr_tensor t = { 0 };
    uint64_t offset[2], wanted;
    char key[NAME_BYTES];
    bool first = true;
    int seen = 0;

    while (tsri_json_member(j, &first, key, sizeof key)) {
        const int bit = !strcmp(key, "dtype")          ? 1
                        : !strcmp(key, "shape")        ? 2
                        : !strcmp(key, "data_offsets") ? 4
                                                       : 0;
        if (!(bit == 1   ? read_dtype(j, &t)
              : bit == 2 ? read_shape(j, &t)
              : bit == 4 ? read_offsets(j, offset)
                         : tsri_json_skip(j)) ||
            (bit && seen & bit))
            return tsri_fail(ctx, TSR_E_CORRUPT, "%s: bad entry of tensor '%s'",
                             m->path, name);
        seen |= bit;
    }
    if (j->bad || seen != 7 || !tensor_bytes(&t, &wanted) ||
        offset[0] > offset[1] || offset[1] > data_bytes ||
        offset[1] - offset[0] != wanted || m->tensor_count == TENSORS_MAX)
        return tsri_fail(ctx, TSR_E_CORRUPT,
                         "%s: tensor '%s' does not fit the file", m->path, name);
    TSR_TRY(grow(ctx, &m->tensors, sizeof t, m->tensor_count, &m->tensor_room));
    t.name = keep(m, name);
    t.data = data + offset[0];
    t.bytes = (size_t)wanted;
    m->tensors[m->tensor_count++] = t;
    return t.name ? TSR_OK : TSR_E_CORRUPT;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const tsr_tensor *)a)->name, ((const tsr_tensor *)b)->name);
}

static int by_data(const void *a, const void *b)
{
    const tsr_tensor *x = a, *y = b;
    const uint8_t *p = x->data, *q = y->data;
    return p != q ? (p > q) - (p < q) : (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

/* No two tensors may share a byte or a name. */
static tsr_error check_tensors(tsr_context *ctx, tsr_model *m)
{
    tsr_tensor *t = m->tensors;

    if (!m->tensor_count)
        return tsri_fail(ctx, TSR_E_CORRUPT, "%s: no tensors", m->path);
    qsort(t, m->tensor_count, sizeof *t, by_data);
    for (size_t i = 1; i < m->tensor_count; i++)
        if ((const uint8_t *)t[i - 1].data + t[i - 1].bytes >
            (const uint8_t *)t[i].data)
            return tsri_fail(ctx, TSR_E_CORRUPT, "%s: tensors '%s' and '%s' overlap",
                             m->path, t[i - 1].name, t[i].name);
    qsort(t, m->tensor_count, sizeof *t, by_name);
    for (size_t i = 1; i < m->tensor_count; i++)
        if (!strcmp(t[i - 1].name, t[i].name))
            return tsri_fail(ctx, TSR_E_CORRUPT, "%s: two tensors '%s'", m->path,
                             t[i].name);
    return TSR_OK;
}

static tsr_error parse(tsr_context *ctx, tsr_model *m, char *text)
{
    const uint64_t header = m->file_bytes < 8 ? 0 : tsri_get64(m->file);
    char name[NAME_BYTES];
    bool first = true;

    if (m->file_bytes < 8 || header < 2 || header > HEADER_MAX ||
        m->file[8] != '{')
        return tsri_fail(ctx, TSR_E_FORMAT, "%s: not a safetensors file", m->path);
    if (header > m->file_bytes - 8)
        return tsri_fail(ctx, TSR_E_TRUNCATED, "%s: cut inside its header", m->path);
    m->strings = tsri_alloc(ctx, header, 1);
    if (!m->strings)
        return tsri_nomem(ctx);
    m->strings_size = header;

    tsri_json j = { (const char *)m->file + 8, (const char *)m->file + 8 + header,
                    false };
    while (tsri_json_member(&j, &first, name, sizeof name))
        TSR_TRY(!strcmp(name, "__metadata__")
                    ? read_metadata(ctx, m, &j, text)
                    : read_tensor(ctx, m, &j, name, m->file + 8 + header,
                                  m->file_bytes - 8 - header));
    if (j.bad)
        return tsri_fail(ctx, TSR_E_CORRUPT, "%s: broken header", m->path);
    return check_tensors(ctx, m);
}

void tsri_tensor_hash(tsri_sha256 *s, const tsr_tensor *t)
{
    char dims[24 * TSR_TENSOR_MAX_DIMS];
    size_t used = 0;

    dims[0] = 0;
    for (int i = 0; i < t->rank; i++)
        used += (size_t)snprintf(dims + used, sizeof dims - used, "%s%llu",
                                 i ? "x" : "", (unsigned long long)t->dims[i]);
    tsri_sha256_add(s, t->name, strlen(t->name) + 1);
    tsri_sha256_add(s, tsr_dtype_name(t->dtype),
                    strlen(tsr_dtype_name(t->dtype)) + 1);
    tsri_sha256_add(s, dims, used + 1);
    tsri_sha256_add(s, t->data, t->bytes);
}

static tsr_error check_hash(tsr_context *ctx, tsr_model *m)
{
    const char *stored = tsr_model_meta(m, "tessera.sha256");
    char text[2 * TSR_MODEL_HASH_BYTES + 1];
    tsri_sha256 s;

    tsri_sha256_start(&s);
    for (size_t i = 0; i < m->tensor_count; i++)
        tsri_tensor_hash(&s, &m->tensors[i]);
    tsri_sha256_end(&s, m->hash);
    for (int i = 0; i < TSR_MODEL_HASH_BYTES; i++)
        snprintf(text + 2 * i, 3, "%02x", m->hash[i]);
    if (stored && strcmp(stored, text))
        return tsri_fail(ctx, TSR_E_CHECKSUM,
                         "%s: damaged, its tensors do not match its hash", m->path);
    return TSR_OK;
}

static tsr_error map_file(tsr_context *ctx, tsr_model *m)
{
    struct stat st;
    const int fd = open(m->path, O_RDONLY | O_CLOEXEC);
    void *at = MAP_FAILED;

    if (fd < 0)
        return tsri_fail(ctx, errno == ENOENT ? TSR_E_MODEL : TSR_E_IO,
                         "%s: %s", m->path, strerror(errno));
    if (fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_size < 1) {
        close(fd);
        return tsri_fail(ctx, TSR_E_FORMAT, "%s: not a model file", m->path);
    }
    m->file_bytes = (size_t)st.st_size;
    at = mmap(NULL, m->file_bytes, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (at == MAP_FAILED)
        return tsri_fail(ctx, errno == ENOMEM ? TSR_E_NOMEM : TSR_E_IO, "%s: %s",
                         m->path, strerror(errno));
    m->file = at;
    return TSR_OK;
}

static tsr_error load(tsr_context *ctx, tsr_model *m, const char *path)
{
    const size_t n = strlen(path) + 1;
    char *text;
    tsr_error error;

    m->path = tsri_alloc(ctx, n, 1);
    if (!m->path)
        return tsri_nomem(ctx);
    memcpy(m->path, path, n);
    TSR_TRY(map_file(ctx, m));
    text = tsri_alloc(ctx, TEXT_BYTES, 1);
    if (!text)
        return tsri_nomem(ctx);
    error = parse(ctx, m, text);
    tsri_free(ctx, text);
    if (error)
        return error;
    m->name = tsr_model_meta(m, "tessera.name");
    if (!m->name)
        m->name = strrchr(m->path, '/') ? strrchr(m->path, '/') + 1 : m->path;
    return check_hash(ctx, m);
}

static tsr_error open_path(tsr_model **out, tsr_context *ctx, const char *path)
{
    tsr_model *m = tsri_calloc(ctx, 1, sizeof *m);
    tsr_error error;

    *out = NULL;
    if (!m)
        return tsri_nomem(ctx);
    atomic_init(&m->refs, 1);
    m->allocator = ctx->allocator;
    error = load(ctx, m, path);
    if (error)
        tsr_model_unref(&m);
    *out = m;
    return error;
}

tsr_error tsr_model_open(tsr_model **model, tsr_context *ctx, const char *name)
{
    char *path;
    tsr_error error;

    *model = NULL;
    if (!*name)
        return tsri_fail(ctx, TSR_E_ARG, "the name of a model is empty");
    if (tsri_model_is_path(name))
        return open_path(model, ctx, name);
    TSR_TRY(tsri_model_find(ctx, name, &path));
    error = open_path(model, ctx, path);
    tsri_free(ctx, path);
    return error;
}

struct by_hash {
    tsr_context *ctx;
    const uint8_t *hash;
    size_t bytes;
    tsr_model *found;
    bool no_memory;
};

static int try_hash(void *cookie, const char *path)
{
    struct by_hash *want = cookie;
    tsr_model *m;
    const tsr_error error = open_path(&m, want->ctx, path);

    want->no_memory = error == TSR_E_NOMEM;
    if (error)
        return want->no_memory;
    if (!memcmp(m->hash, want->hash, want->bytes)) {
        want->found = m;
        return 1;
    }
    tsr_model_unref(&m);
    return 0;
}

tsr_error tsr_model_open_hash(tsr_model **model, tsr_context *ctx,
                              const uint8_t *hash, size_t bytes)
{
    struct by_hash want = { .ctx = ctx, .hash = hash, .bytes = bytes };
    const tsr_logger logger = ctx->logger;

    *model = NULL;
    if (bytes < 1 || bytes > TSR_MODEL_HASH_BYTES)
        return tsri_fail(ctx, TSR_E_ARG, "a hash of %zu bytes", bytes);
    ctx->logger.log = NULL; /* other models' faults are not this call's */
    tsr_model_files(try_hash, &want);
    ctx->logger = logger;
    *model = want.found;
    if (want.found)
        return TSR_OK;
    if (want.no_memory)
        return tsri_nomem(ctx);
    return tsri_fail(ctx, TSR_E_MODEL,
                     "no model with hash %02x%02x%02x%02x... was found", hash[0],
                     bytes > 1 ? hash[1] : 0, bytes > 2 ? hash[2] : 0,
                     bytes > 3 ? hash[3] : 0);
}

tsr_model *tsr_model_ref(tsr_model *model)
{
    atomic_fetch_add(&model->refs, 1);
    return model;
}

void tsr_model_unref(tsr_model **model)
{
    tsr_model *m = model ? *model : NULL;
    if (!m)
        return;
    *model = NULL;
    if (atomic_fetch_sub(&m->refs, 1) > 1)
        return;
    const tsr_allocator a = m->allocator;
    void *parts[] = { m->path, m->strings, m->tensors, m->metas };
    if (m->file)
        munmap(m->file, m->file_bytes);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (parts[i])
            a.free(a.cookie, parts[i]);
    a.free(a.cookie, m);
}

const char *tsr_model_meta(const tsr_model *model, const char *key)
{
    for (size_t i = 0; i < model->meta_count; i++)
        if (!strcmp(model->metas[i].key, key))
            return model->metas[i].value;
    return NULL;
}

const char *tsri_model_meta_at(const tsr_model *model, size_t i,
                               const char **value)
{
    if (i >= model->meta_count)
        return NULL;
    *value = model->metas[i].value;
    return model->metas[i].key;
}

const char *tsr_model_name(const tsr_model *model)
{
    return model->name;
}

const char *tsr_model_path(const tsr_model *model)
{
    return model->path;
}

const char *tsr_model_codec(const tsr_model *model)
{
    const char *codec = tsr_model_meta(model, "tessera.codec");
    return codec ? codec : "";
}

const uint8_t *tsr_model_hash(const tsr_model *model)
{
    return model->hash;
}

size_t tsr_model_tensor_count(const tsr_model *model)
{
    return model->tensor_count;
}

const tsr_tensor *tsr_model_tensor_at(const tsr_model *model, size_t i)
{
    return i < model->tensor_count ? &model->tensors[i] : NULL;
}

const tsr_tensor *tsr_model_tensor(const tsr_model *model, const char *name)
{
    const tsr_tensor key = { .name = name };
    return bsearch(&key, model->tensors, model->tensor_count,
                   sizeof *model->tensors, by_name);
}

uint64_t tsr_model_file_bytes(const tsr_model *model)
{
    return model->file_bytes;
}
