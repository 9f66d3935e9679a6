/* SPDX-License-Identifier: BSD-2-Clause */
/* Files in memory for targets: a sink and a source. */
#ifndef TSR_TESTS_FUZZ_BYTES_H
#define TSR_TESTS_FUZZ_BYTES_H
#include "tests/fuzz/fuzz.h"
#include <tessera/io.h>

typedef struct fuzz_bytes {
    uint8_t *data;
    size_t size, at;
} fuzz_bytes;

static inline tsr_error fuzz_put(void *cookie, const void *data, size_t size)
{
    fuzz_bytes *b = cookie;

    b->data = realloc(b->data, b->size + size + 1);
    FUZZ_CHECK(b->data);
    memcpy(b->data + b->size, data, size);
    b->size += size;
    return TSR_OK;
}

static inline tsr_error fuzz_get(void *cookie, void *data, size_t size, size_t *got)
{
    fuzz_bytes *b = cookie;

    *got = b->size - b->at < size ? b->size - b->at : size;
    if (*got)
        memcpy(data, b->data + b->at, *got);
    b->at += *got;
    return TSR_OK;
}
#endif
