/* SPDX-License-Identifier: BSD-2-Clause */
/* What fuzz targets share.  A target is one function and knows no engine:
 * tests/fuzz/frame.c calls it with what libFuzzer or AFL++ make, and `make check`
 * with corpus/. */
#ifndef TSR_TESTS_FUZZ_H
#define TSR_TESTS_FUZZ_H
#include "config.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "lib/core.h"

/** The target: takes any bytes. */
void fuzz_target(const uint8_t *data, size_t size);

/** Runs the target, and then `twins` times with allocations that fail. */
void fuzz_run(const uint8_t *data, size_t size, int twins);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/** What must never be, unless memory has run out. */
#define FUZZ_CHECK(condition) \
    do { \
        if (!(condition)) \
            fuzz_failed(__FILE__, __LINE__, #condition); \
    } while (0)
_Noreturn void fuzz_failed(const char *file, int line, const char *condition);

enum { FUZZ_PIXELS = 1 << 20, FUZZ_MEMORY = 64 << 20 /* limits of contexts */ };

/** A context that logs nothing; plain: without vector code.  Not to be closed. */
tsr_context *fuzz_context(bool plain);

/** Writes a file whose name has this ending; returns its path, for remove(). */
const char *fuzz_file(const char *ending, const void *data, size_t size);

/* What a target takes is freed also where it is left in the middle. */
void *fuzz_malloc(size_t size);
void *fuzz_calloc(size_t n, size_t size);
void *fuzz_realloc(void *memory, size_t size);
void *fuzz_aligned_alloc(size_t align, size_t size);
void fuzz_free(void *memory);
#define malloc(size) fuzz_malloc(size)
#define calloc(n, size) fuzz_calloc(n, size)
#define realloc(memory, size) fuzz_realloc(memory, size)
#define aligned_alloc(align, size) fuzz_aligned_alloc(align, size)
#define free(memory) fuzz_free(memory)

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
