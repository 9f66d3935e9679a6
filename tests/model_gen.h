/* SPDX-License-Identifier: BSD-2-Clause */
/* Writes small models for tests: tensors with seeded random values. */
#ifndef TSR_TESTS_MODEL_GEN_H
#define TSR_TESTS_MODEL_GEN_H
#include "tests/check.h"
#include "lib/bytes.h"

typedef struct model_gen {
    check_rng rng;
    const char *metadata;   /* inside of the JSON object: "\"k\":\"v\"" */
    char header[1 << 17];
    size_t header_used;
    uint8_t *data;
    size_t data_used, data_room;
} model_gen;

/** Appends room for a tensor and its header entry; returns its bytes. */
static inline uint8_t *model_tensor(model_gen *g, const char *name, const char *dtype,
                                    size_t element, int rank, const int *dims)
{
    size_t bytes = element, start = g->data_used;
    char shape[128];
    int used = 0;

    shape[0] = 0;
    for (int i = 0; i < rank; i++) {
        bytes *= (size_t)dims[i];
        used += snprintf(shape + used, sizeof shape - (size_t)used, "%s%d",
                         i ? "," : "", dims[i]);
    }
    if (g->data_used + bytes > g->data_room) {
        g->data_room = 2 * (g->data_used + bytes);
        g->data = realloc(g->data, g->data_room);
        assert_non_null(g->data);
    }
    g->data_used += bytes;
    g->header_used += (size_t)snprintf(
        g->header + g->header_used, sizeof g->header - g->header_used,
        ",\"%s\":{\"dtype\":\"%s\",\"shape\":[%s],\"data_offsets\":[%zu,%zu]}", name,
        dtype, shape, start, g->data_used);
    assert_true(g->header_used < sizeof g->header);
    return g->data + start;
}

/** F32 tensor, uniform in [center - scale, center + scale). */
static inline void model_floats(model_gen *g, const char *name, int rank,
                                const int *dims, float center, float scale)
{
    size_t n = 1;
    for (int i = 0; i < rank; i++)
        n *= (size_t)dims[i];
    uint8_t *p = model_tensor(g, name, "F32", 4, rank, dims);
    for (size_t i = 0; i < n; i++) {
        const float v = center + scale * check_float(&g->rng);
        uint32_t u;
        memcpy(&u, &v, 4);
        tsri_put32(p + 4 * i, u);
    }
}

/** I16 (element 2) or I32 (element 4) tensor, uniform in -limit..limit. */
static inline void model_ints(model_gen *g, const char *name, size_t element, int rank,
                              const int *dims, int limit)
{
    size_t n = 1;
    for (int i = 0; i < rank; i++)
        n *= (size_t)dims[i];
    uint8_t *p = model_tensor(g, name, element == 2 ? "I16" : "I32", element, rank,
                              dims);
    for (size_t i = 0; i < n; i++) {
        const int v = (int)check_below(&g->rng, 2 * (uint32_t)limit + 1) - limit;
        if (element == 2)
            tsri_put16(p + 2 * i, (uint16_t)v);
        else
            tsri_put32(p + 4 * i, (uint32_t)v);
    }
}

static inline void model_write(model_gen *g, const char *path)
{
    uint8_t length[8];
    char start[512];
    const int n = snprintf(start, sizeof start, "{\"__metadata__\":{%s}", g->metadata);
    FILE *f = fopen(path, "wb");

    assert_non_null(f);
    tsri_put64(length, (uint64_t)n + g->header_used + 1);
    assert_int_equal(fwrite(length, 1, 8, f), 8);
    fputs(start, f);
    fputs(g->header, f);
    fputc('}', f);
    assert_int_equal(fwrite(g->data, 1, g->data_used, f), g->data_used);
    assert_int_equal(fclose(f), 0);
    free(g->data);
}
#endif
