/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdlib.h>
#include <string.h>
#include "tools/media/turn.h"

void media_turn(const tsr_image *from, int how, tsr_image *to)
{
    const size_t bytes = (size_t)(from->channels * from->bits / 8);
    for (int y = 0; y < to->height; y++) {
        uint8_t *row = (uint8_t *)to->data + (size_t)y * to->stride;
        const int v = how & TURN_Y ? to->height - 1 - y : y;
        for (int x = 0; x < to->width; x++, row += bytes) {
            const int u = how & TURN_X ? to->width - 1 - x : x;
            const size_t column = (size_t)(how & TURN_SWAP ? v : u);
            const size_t line = (size_t)(how & TURN_SWAP ? u : v);
            memcpy(row, (const uint8_t *)from->data + line * from->stride +
                            column * bytes, bytes);
        }
    }
}

int media_turn_exif(int orientation)
{
    static const int how[] = {
        0, TURN_X, TURN_X | TURN_Y, TURN_Y, TURN_SWAP, TURN_SWAP | TURN_X,
        TURN_SWAP | TURN_X | TURN_Y, TURN_SWAP | TURN_Y
    };
    return orientation >= 1 && orientation <= 8 ? how[orientation - 1] : 0;
}

/* A point (p, q) of the picture is shown at (a p + c q, b p + d q). */
int media_turn_matrix(const int32_t matrix[9])
{
    const int32_t a = matrix[0], b = matrix[1], c = matrix[3], d = matrix[4];
    if (!b && !c && a && d)
        return (a < 0 ? TURN_X : 0) | (d < 0 ? TURN_Y : 0);
    if (!a && !d && b && c)
        return TURN_SWAP | (c < 0 ? TURN_X : 0) | (b < 0 ? TURN_Y : 0);
    return a || b || c || d ? -1 : 0;
}
