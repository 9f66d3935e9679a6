/* SPDX-License-Identifier: BSD-2-Clause */
/* Little-endian numbers in byte arrays, on any machine, at any alignment. */
#ifndef TSR_LIB_BYTES_H
#define TSR_LIB_BYTES_H
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint16_t tsri_get16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}
static inline uint32_t tsri_get32(const uint8_t *p)
{
    return tsri_get16(p) | (uint32_t)tsri_get16(p + 2) << 16;
}
static inline uint64_t tsri_get64(const uint8_t *p)
{
    return tsri_get32(p) | (uint64_t)tsri_get32(p + 4) << 32;
}
static inline float tsri_getf32(const uint8_t *p)
{
    const uint32_t u = tsri_get32(p);
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}
static inline void tsri_put16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}
static inline void tsri_put32(uint8_t *p, uint32_t v)
{
    tsri_put16(p, (uint16_t)v);
    tsri_put16(p + 2, (uint16_t)(v >> 16));
}
static inline void tsri_put64(uint8_t *p, uint64_t v)
{
    tsri_put32(p, (uint32_t)v);
    tsri_put32(p + 4, (uint32_t)(v >> 32));
}

enum { TSRI_VARINT_MAX = 10 };

/** LEB128: 7 bits a byte, low first.  Returns the bytes written (1..10). */
static inline size_t tsri_put_varint(uint8_t *p, uint64_t v)
{
    size_t n = 0;
    for (; v >= 0x80; v >>= 7)
        p[n++] = (uint8_t)(v | 0x80);
    p[n++] = (uint8_t)v;
    return n;
}

/** Reads one from p[0..size); returns the bytes read, 0 when it is cut, does
 *  not fit 64 bits or has a needless last zero byte (so each number has one
 *  spelling). */
static inline size_t tsri_get_varint(const uint8_t *p, size_t size, uint64_t *v)
{
    uint64_t value = 0;
    for (size_t n = 0; n < size && n < TSRI_VARINT_MAX; n++) {
        if (n == 9 && p[n] > 1)
            return 0;
        value |= (uint64_t)(p[n] & 0x7f) << (7 * n);
        if (!(p[n] & 0x80)) {
            if (n && !p[n])
                return 0;
            *v = value;
            return n + 1;
        }
    }
    return 0;
}
#endif
