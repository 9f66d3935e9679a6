/* SPDX-License-Identifier: BSD-2-Clause */
#include <nmmintrin.h>
#include <string.h>
#include "lib/crc32c.h"

static uint32_t crc32c_sse42(uint32_t crc, const void *data, size_t size)
{
    const uint8_t *p = data;
    uint64_t wide = ~crc, word;

    for (; size >= 8; size -= 8, p += 8) {
        memcpy(&word, p, 8);
        wide = _mm_crc32_u64(wide, word);
    }
    crc = (uint32_t)wide;
    for (; size; size--)
        crc = _mm_crc32_u8(crc, *p++);
    return ~crc;
}

tsri_crc32c_fn tsri_crc32c_hardware(void)
{
    return crc32c_sse42;
}
