/* SPDX-License-Identifier: BSD-2-Clause */
/* Model files for targets: tensors by name, written as safetensors. */
#ifndef TSR_TESTS_FUZZ_MODEL_H
#define TSR_TESTS_FUZZ_MODEL_H
#include "tests/fuzz/fuzz.h"
#include <tessera/model.h>
#include "lib/bytes.h"

enum { FUZZ_HEAD_ROOM = 8192, FUZZ_DATA_ROOM = 1 << 16 };

/** A model file in the making; zeros to start with. */
typedef struct fuzz_maker {
    char head[FUZZ_HEAD_ROOM];
    size_t head_used, used;
    uint8_t data[FUZZ_DATA_ROOM];
} fuzz_maker;

/** Adds a text to the metadata; the one text, before all tensors. */
static inline void fuzz_meta(fuzz_maker *m, const char *key, const char *value)
{
    m->head_used = (size_t)snprintf(m->head, sizeof m->head,
                                    "{\"__metadata__\":{\"%s\":\"%s\"}", key, value);
}

/** Adds a tensor of n elements of `size` bytes; shape: "4,2".  Returns where its
 *  data go; they are zeros. */
static inline uint8_t *fuzz_tensor(fuzz_maker *m, const char *name, const char *type,
                                   size_t size, const char *shape, size_t n)
{
    uint8_t *at = m->data + m->used;

    m->head_used += (size_t)snprintf(
        m->head + m->head_used, sizeof m->head - m->head_used,
        "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[%s],\"data_offsets\":[%zu,%zu]}",
        m->head_used ? "," : "{", name, type, shape, m->used, m->used + size * n);
    m->used += size * n;
    FUZZ_CHECK(m->used <= sizeof m->data && m->head_used < sizeof m->head);
    return at;
}

/** Opens a file of these bytes as a model, which is NULL where it fails. */
static inline tsr_error fuzz_open_bytes(tsr_model **model, const void *data,
                                        size_t size)
{
    const char *path = fuzz_file(".safetensors", data, size);
    const tsr_error error = tsr_model_open(model, fuzz_context(true), path);

    remove(path);
    FUZZ_CHECK(!error == !!*model);
    return error;
}

/** Opens what was made. */
static inline tsr_error fuzz_open_model(tsr_model **model, fuzz_maker *m)
{
    const size_t head = m->head_used + 1, size = 8 + head + m->used;
    uint8_t *file = malloc(size);

    FUZZ_CHECK(file);
    m->head[m->head_used] = '}';
    tsri_put64(file, head);
    memcpy(file + 8, m->head, head);
    if (m->used)
        memcpy(file + 8 + head, m->data, m->used);
    const tsr_error error = fuzz_open_bytes(model, file, size);
    free(file);
    return error;
}

/** A model that has nothing but the name of its codec. */
static inline tsr_model *fuzz_toy_model(const char *codec)
{
    fuzz_maker *m = calloc(1, sizeof *m);
    tsr_model *model;

    FUZZ_CHECK(m);
    fuzz_meta(m, "tessera.codec", codec);
    fuzz_tensor(m, "x", "U8", 1, "1", 1);
    FUZZ_CHECK(!fuzz_open_model(&model, m));
    free(m);
    return model;
}
#endif
