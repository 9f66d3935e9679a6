/* SPDX-License-Identifier: BSD-2-Clause */
/* SHA-256 (FIPS 180-4), to name models. */
#ifndef TSR_LIB_SHA256_H
#define TSR_LIB_SHA256_H
#include <stddef.h>
#include <stdint.h>

/** Runs the compression function over `blocks` blocks of 64 bytes. */
typedef void (*tsri_sha256_fn)(uint32_t state[8], const uint8_t *data,
                               size_t blocks);

typedef struct tsri_sha256 {
    uint32_t state[8];
    uint64_t bytes;
    uint8_t block[64];
    tsri_sha256_fn run;
} tsri_sha256;

void tsri_sha256_start(tsri_sha256 *s);
void tsri_sha256_add(tsri_sha256 *s, const void *data, size_t size);
void tsri_sha256_end(tsri_sha256 *s, uint8_t digest[32]);

/** The variants: plain C, and the CPU's instructions (NULL: not there). */
void tsri_sha256_plain(uint32_t state[8], const uint8_t *data, size_t blocks);
tsri_sha256_fn tsri_sha256_hardware(void);
extern const uint32_t tsri_sha256_k[64];
#endif
