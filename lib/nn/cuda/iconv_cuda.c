/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/nn/cuda/iconv.h"
#include <string.h>

enum { LANES = 32, ROWS = 16, LANE_BYTES = 16, PARTS = 2 };

static int steps_of(const tsri_iconv_bytes *b)
{
    return b->taps * b->taps * b->chunks;
}

tsri_iconv_bytes tsri_iconv_bytes_of(const tsri_iconv *l, int rows)
{
    return (tsri_iconv_bytes){ .tiles = tsri_ceil_div(rows, TSRI_ICONV_TILE),
        .taps = l->taps, .chunks = tsri_ceil_div(l->in, TSRI_ICONV_CHUNK),
        .shift = l->shift, .out = rows };
}

size_t tsri_iconv_weight_size(const tsri_iconv_bytes *b)
{
    return (size_t)b->tiles * 2 * (size_t)steps_of(b) * PARTS * LANES * LANE_BYTES;
}

size_t tsri_iconv_bias_size(const tsri_iconv_bytes *b)
{
    return (size_t)b->tiles * TSRI_ICONV_TILE * sizeof *b->bias;
}

/* Where the lower byte of row r's weight for channel c of a tap stands.  Of 16
 * rows and 32 channels a lane of the tensor cores' instruction holds rows g and
 * g + 8 (g = lane / 4) and, here, channels 8 t .. 8 t + 7 (t = lane % 4): words
 * of four channels in the order (g, low four), (g + 8, low), (g, high),
 * (g + 8, high). */
static size_t byte_at(const tsri_iconv_bytes *b, int r, int tap, int c)
{
    const int step = tap * b->chunks + c / TSRI_ICONV_CHUNK;
    const int i = c % TSRI_ICONV_CHUNK;
    const int lane = r % 8 * 4 + i / 8;
    const int word = i % 8 / 4 * 2 + r % ROWS / 8;
    const size_t block = (size_t)(r / ROWS) * (size_t)steps_of(b) + (size_t)step;

    return (block * PARTS * LANES + (size_t)lane) * LANE_BYTES +
           (size_t)(word * 4 + i % 4);
}

void tsri_iconv_bytes_fill(const tsri_iconv_bytes *b, const tsri_iconv *l,
                           const int *row_of)
{
    memset(b->weight, 0, tsri_iconv_weight_size(b));
    memset(b->bias, 0, tsri_iconv_bias_size(b));
    for (int r = 0; r < b->out; r++) {
        const int o = row_of[r];
        if (o < 0)
            continue;
        b->bias[r] = l->bias[o];
        for (int tap = 0; tap < l->taps * l->taps; tap++)
            for (int c = 0; c < l->in; c++) {
                const int w = tsri_iconv_weight(l, o, tap, c);
                uint8_t *to = b->weight + byte_at(b, r, tap, c);
                to[0] = (uint8_t)(w & 255);
                to[LANES * LANE_BYTES] = (uint8_t)(w >> 8);
            }
    }
}
