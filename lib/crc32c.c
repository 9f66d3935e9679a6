/* SPDX-License-Identifier: BSD-2-Clause */
#include <tessera/context.h>
#include "lib/crc32c.h"

/* Sixteen entries: four bits at a time keep the table in one cache line. */
static const uint32_t nibble[16] = {
    0x00000000, 0x105EC76F, 0x20BD8EDE, 0x30E349B1,
    0x417B1DBC, 0x5125DAD3, 0x61C69362, 0x7198540D,
    0x82F63B78, 0x92A8FC17, 0xA24BB5A6, 0xB21572C9,
    0xC38D26C4, 0xD3D3E1AB, 0xE330A81A, 0xF36E6F75,
};

uint32_t tsri_crc32c_plain(uint32_t crc, const void *data, size_t size)
{
    const uint8_t *p = data;
    crc = ~crc;
    for (size_t i = 0; i < size; i++) {
        crc ^= p[i];
        crc = crc >> 4 ^ nibble[crc & 15];
        crc = crc >> 4 ^ nibble[crc & 15];
    }
    return ~crc;
}

uint32_t tsri_crc32c(uint32_t crc, const void *data, size_t size)
{
    const tsri_crc32c_fn hardware =
        tsr_cpu_flags() & TSR_CPU_AVX2 ? tsri_crc32c_hardware() : NULL;
    return (hardware ? hardware : tsri_crc32c_plain)(crc, data, size);
}
