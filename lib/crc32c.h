/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TSR_LIB_CRC32C_H
#define TSR_LIB_CRC32C_H
#include <stddef.h>
#include <stdint.h>

/**
 * CRC-32C (Castagnoli, RFC 3720 appendix B.4): polynomial 0x1EDC6F41,
 * reflected, all ones in and out.  Start with crc = 0; feed the result back to
 * go on.  "123456789" gives 0xE3069283.
 */
uint32_t tsri_crc32c(uint32_t crc, const void *data, size_t size);

/** Plain C, and the same with the CPU's instruction; NULL where there is none.
 *  For tests. */
uint32_t tsri_crc32c_plain(uint32_t crc, const void *data, size_t size);
typedef uint32_t (*tsri_crc32c_fn)(uint32_t crc, const void *data, size_t size);
tsri_crc32c_fn tsri_crc32c_hardware(void);
#endif
