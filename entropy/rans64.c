/* SPDX-License-Identifier: BSD-2-Clause */
#include "entropy/rans64.h"
#include "lib/bytes.h"

enum { BITS = 16, WORD = 4 };
static const uint64_t LOW = (uint64_t)1 << 31;

tsr_error tsri_rans64_encode(tsr_context *ctx, const uint32_t *const *cdf,
                             const int *sizes, int groups, const uint32_t *sym,
                             size_t n, uint8_t **out, size_t *bytes)
{
    uint64_t x = LOW;
    size_t count, room;
    uint8_t *p, *end;

    *out = NULL;
    if (!tsri_mul((size_t)groups, n, &count) || !tsri_mul(count, WORD, &room) ||
        !tsri_add(room, 2 * WORD, &room))
        return TSR_E_NOMEM;
    *out = tsri_alloc(ctx, room, 1);
    if (!*out)
        return tsri_nomem(ctx);
    p = end = *out + room;
    while (count-- > 0) {
        const uint32_t *table = cdf[count / n], s = sym[count];
        if (s >= (uint32_t)sizes[count / n]) {
            tsri_free(ctx, *out);
            *out = NULL;
            return TSR_E_ARG;
        }
        const uint64_t freq = table[s + 1] - table[s];
        if (x >> (63 - BITS) >= freq) {
            tsri_put32(p -= WORD, (uint32_t)x);
            x >>= 32;
        }
        x = (x / freq << BITS) + x % freq + table[s];
    }
    tsri_put64(p -= 2 * WORD, x);
    *bytes = (size_t)(end - p);
    memmove(*out, p, *bytes);
    return TSR_OK;
}

/* The last symbol whose cdf is <= slot. */
static uint32_t search(const uint32_t *cdf, int size, uint32_t slot)
{
    uint32_t low = 0, high = (uint32_t)size;

    while (high - low > 1) {
        const uint32_t mid = (low + high) / 2;
        if (cdf[mid] <= slot)
            low = mid;
        else
            high = mid;
    }
    return low;
}

tsr_error tsri_rans64_decode(const uint32_t *const *cdf, const int *sizes,
                             int groups, const uint8_t *data, size_t bytes,
                             uint32_t *sym, size_t n)
{
    const uint8_t *end = data + bytes;
    uint64_t x;

    if (bytes < 2 * WORD || bytes % WORD)
        return TSR_E_CORRUPT;
    x = tsri_get64(data);
    data += 2 * WORD;
    for (int g = 0; g < groups; g++)
        for (size_t i = 0; i < n; i++) {
            const uint32_t slot = x & 0xffff;
            const uint32_t s = search(cdf[g], sizes[g], slot);
            x = (cdf[g][s + 1] - cdf[g][s]) * (x >> BITS) + slot - cdf[g][s];
            if (x < LOW) {
                if (data == end)
                    return TSR_E_CORRUPT;
                x = x << 32 | tsri_get32(data);
                data += WORD;
            }
            sym[(size_t)g * n + i] = s;
        }
    return data == end && x == LOW ? TSR_OK : TSR_E_CORRUPT;
}
