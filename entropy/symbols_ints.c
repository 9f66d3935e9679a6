/* SPDX-License-Identifier: BSD-2-Clause */
/* Loops over integers of 1, 2 and 4 bytes.  The inner loops have a fixed
 * length, so that compilers make vectors of them. */
#include "entropy/symbols.h"
#include "lib/bytes.h"

enum { BLOCK = 64 };

#define RANGE(type)                                                     \
    do {                                                                \
        const type *p = data;                                           \
        type low[BLOCK], high[BLOCK];                                   \
        size_t i = 0;                                                   \
        memset(low, 0xff, sizeof low);                                  \
        memset(high, 0, sizeof high);                                   \
        for (; n - i >= BLOCK; i += BLOCK)                              \
            for (int k = 0; k < BLOCK; k++) {                           \
                low[k] = p[i + (size_t)k] < low[k] ? p[i + (size_t)k] : low[k]; \
                high[k] = p[i + (size_t)k] > high[k] ? p[i + (size_t)k] : high[k]; \
            }                                                           \
        for (; i < n; i++) {                                            \
            low[0] = p[i] < low[0] ? p[i] : low[0];                     \
            high[0] = p[i] > high[0] ? p[i] : high[0];                  \
        }                                                               \
        *least = low[0];                                                \
        *most = high[0];                                                \
        for (int k = 1; k < BLOCK; k++) {                               \
            *least = low[k] < *least ? low[k] : *least;                 \
            *most = high[k] > *most ? high[k] : *most;                  \
        }                                                               \
    } while (0)

void tsri_ints_range(const void *data, int width, size_t n, uint32_t *least,
                     uint32_t *most)
{
    if (!n) {
        *least = UINT32_MAX;
        *most = 0;
    } else if (width == 1)
        RANGE(uint8_t);
    else if (width == 2)
        RANGE(uint16_t);
    else
        RANGE(uint32_t);
}

#define COPY(to_type, from_type, to, from, add)                         \
    do {                                                                \
        to_type *restrict t = (to_type *)(to);                          \
        const from_type *restrict f = (const from_type *)(from);        \
        size_t i = 0;                                                   \
        for (; n - i >= BLOCK; i += BLOCK, t += BLOCK, f += BLOCK)      \
            for (int k = 0; k < BLOCK; k++)                             \
                t[k] = (to_type)(f[k] + (add));                         \
        for (; i < n; i++)                                              \
            *t++ = (to_type)(*f++ + (add));                             \
    } while (0)

void tsri_ints_narrow(const void *data, int width, size_t first, size_t n,
                      uint32_t base, uint8_t *to)
{
    if (width == 1)
        COPY(uint8_t, uint8_t, to, (const uint8_t *)data + first, 0 - base);
    else if (width == 2)
        COPY(uint8_t, uint16_t, to, (const uint16_t *)data + first, 0 - base);
    else
        COPY(uint8_t, uint32_t, to, (const uint32_t *)data + first, 0 - base);
}

void tsri_ints_widen(const uint8_t *from, size_t n, uint32_t base, void *data,
                     int width, size_t first)
{
    if (width == 1)
        COPY(uint8_t, uint8_t, (uint8_t *)data + first, from, base);
    else if (width == 2)
        COPY(uint16_t, uint8_t, (uint16_t *)data + first, from, base);
    else
        COPY(uint32_t, uint8_t, (uint32_t *)data + first, from, base);
}

void tsri_nibbles_join(const tsr_context *ctx, const uint8_t *sym, size_t n,
                       uint8_t *pairs)
{
    size_t i = ctx->cpu & TSR_CPU_AVX2 ? tsri_nibbles_join_avx2(sym, n, pairs) : 0;

    for (; n - i >= 2; i += 2)
        pairs[i / 2] = (uint8_t)(sym[i] | sym[i + 1] << 4);
    if (i < n)
        pairs[i / 2] = sym[i];
}

void tsri_nibbles_split(const tsr_context *ctx, const uint8_t *pairs, size_t n,
                        uint8_t *sym)
{
    size_t i = ctx->cpu & TSR_CPU_AVX2 ? tsri_nibbles_split_avx2(pairs, n, sym) : 0;

    for (; n - i >= 2; i += 2) {
        sym[i] = pairs[i / 2] & 15;
        sym[i + 1] = pairs[i / 2] >> 4;
    }
    if (i < n)
        sym[i] = pairs[i / 2] & 15;
}

static inline uint32_t get(const void *data, int width, size_t i)
{
    return width == 1 ? ((const uint8_t *)data)[i] :
           width == 2 ? ((const uint16_t *)data)[i] : ((const uint32_t *)data)[i];
}

static inline void set(void *data, int width, size_t i, uint32_t value)
{
    if (width == 1)
        ((uint8_t *)data)[i] = (uint8_t)value;
    else if (width == 2)
        ((uint16_t *)data)[i] = (uint16_t)value;
    else
        ((uint32_t *)data)[i] = value;
}

size_t tsri_ints_pack(const void *data, int width, size_t first, size_t n,
                      uint32_t base, int bits, uint8_t *to)
{
    uint8_t *const begin = to;
    uint64_t have = 0;
    int count = 0;

    for (size_t i = first; i < first + n; i++) {
        have |= (uint64_t)(get(data, width, i) - base) << count;
        count += bits;
        if (count < 32)
            continue;
        tsri_put32(to, (uint32_t)have);
        to += 4;
        have >>= 32;
        count -= 32;
    }
    for (; count > 0; count -= 8, have >>= 8)
        *to++ = (uint8_t)have;
    return (size_t)(to - begin);
}

bool tsri_ints_unpack(const uint8_t *from, size_t n, uint32_t base,
                      uint32_t last, void *data, int width, size_t first)
{
    const int bits = tsri_symbols_width(last);
    const uint64_t mask = ((uint64_t)1 << bits) - 1;
    uint64_t have = 0;
    int count = 0;
    bool sound = true;

    for (size_t i = first; i < first + n; i++) {
        for (; count < bits; count += 8)
            have |= (uint64_t)*from++ << count;
        const uint32_t value = (uint32_t)(have & mask);
        sound &= value <= last;
        set(data, width, i, value + base);
        have >>= bits;
        count -= bits;
    }
    return sound && !have;
}
