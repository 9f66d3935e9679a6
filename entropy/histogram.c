/* SPDX-License-Identifier: BSD-2-Clause */
#include "entropy/histogram.h"
#include <string.h>

/* Equal symbols in a row would wait for each other's sum: neighbours count in
 * tables of their own. */
enum { PARTS = 4 };

static inline void count4(uint32_t part[PARTS][256], uint32_t four)
{
    part[0][four & 0xff]++;
    part[1][four >> 8 & 0xff]++;
    part[2][four >> 16 & 0xff]++;
    part[3][four >> 24]++;
}

void tsri_rans_count8(const uint8_t *sym, size_t n, uint32_t count[256])
{
    uint32_t part[PARTS][256] = { 0 };
    size_t i = 0;

    for (; n - i >= 16; i += 16) {
        uint64_t a, b;
        memcpy(&a, sym + i, 8);
        memcpy(&b, sym + i + 8, 8);
        count4(part, (uint32_t)a);
        count4(part, (uint32_t)(a >> 32));
        count4(part, (uint32_t)b);
        count4(part, (uint32_t)(b >> 32));
    }
    for (; i < n; i++)
        part[0][sym[i]]++;
    for (int v = 0; v < 256; v++)
        count[v] = part[0][v] + part[1][v] + part[2][v] + part[3][v];
}

/* Columns that compilers make vectors of. */
enum { COLUMNS = 64 };

void tsri_rans_limits8(const uint8_t *sym, size_t n, uint8_t *least,
                       uint8_t *most)
{
    uint8_t low[COLUMNS], high[COLUMNS];
    size_t i = 0;

    memset(low, 255, sizeof low);
    memset(high, 0, sizeof high);
    for (; n - i >= COLUMNS; i += COLUMNS)
        for (int k = 0; k < COLUMNS; k++) {
            const uint8_t s = sym[i + (size_t)k];
            low[k] = s < low[k] ? s : low[k];
            high[k] = s > high[k] ? s : high[k];
        }
    for (; i < n; i++) {
        low[0] = sym[i] < low[0] ? sym[i] : low[0];
        high[0] = sym[i] > high[0] ? sym[i] : high[0];
    }
    *least = 255;
    *most = 0;
    for (int k = 0; k < COLUMNS; k++) {
        *least = low[k] < *least ? low[k] : *least;
        *most = high[k] > *most ? high[k] : *most;
    }
}
