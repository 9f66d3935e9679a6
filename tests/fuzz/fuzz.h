/* SPDX-License-Identifier: BSD-2-Clause */
/* What fuzz targets share: one function each, which libFuzzer calls with bytes
 * of its making and `make check` with those of corpus/. */
#ifndef TSR_TESTS_FUZZ_H
#define TSR_TESTS_FUZZ_H
#include "config.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "lib/core.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/** What must never be. */
#define FUZZ_CHECK(condition) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
            abort(); \
        } \
    } while (0)

/** The part of an input that is not yet taken; beyond its end all is 0. */
typedef struct fuzz_input {
    const uint8_t *data;
    size_t size;
} fuzz_input;

static inline uint32_t fuzz_u8(fuzz_input *in)
{
    if (!in->size)
        return 0;
    in->size--;
    return *in->data++;
}

static inline uint32_t fuzz_u16(fuzz_input *in)
{
    const uint32_t low = fuzz_u8(in);
    return low | fuzz_u8(in) << 8;
}

static inline uint32_t fuzz_u32(fuzz_input *in)
{
    const uint32_t low = fuzz_u16(in);
    return low | fuzz_u16(in) << 16;
}

/** 0..n-1. */
static inline uint32_t fuzz_below(fuzz_input *in, uint32_t n)
{
    return n <= 256 ? fuzz_u8(in) % n : fuzz_u32(in) % n;
}

/** What a symbol is, for long arrays from short inputs: the input again and
 *  again, a little different each time. */
static inline uint32_t fuzz_at(const fuzz_input *in, size_t i)
{
    return in->size ? in->data[i % in->size] + (uint32_t)(i / in->size) * 7
                    : (uint32_t)i * 31;
}

/** A context that logs nothing; plain: without vector code.  Opened once. */
static inline tsr_context *fuzz_context(bool plain)
{
    static tsr_context *all[2];
    tsr_context_settings s;

    if (!all[plain]) {
        tsr_context_settings_init(&s);
        s.threads = 1;
        s.logger.log = NULL;
        FUZZ_CHECK(!tsr_context_open(&all[plain], &s));
        if (plain)
            all[plain]->cpu = 0;
    }
    return all[plain];
}

/** A copy that ends where its memory ends, so that sanitizers see all reads. */
static inline uint8_t *fuzz_copy(const fuzz_input *in)
{
    uint8_t *copy = malloc(in->size ? in->size : 1);

    FUZZ_CHECK(copy);
    if (in->size)
        memcpy(copy, in->data, in->size);
    return copy;
}

#endif
