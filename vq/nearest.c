/* SPDX-License-Identifier: BSD-2-Clause */
#include <math.h>
#include "vq/nearest.h"

enum { LANES = TSRI_NEAREST_LANES, BLOCK = TSRI_NEAREST_BLOCK };

/* dot[l] = sum over channels of vector v times codeword l of the panel. */
static void dot_panel(const float *panel, const float *x, int d, float *dot)
{
    float sum[LANES] = { 0 };
    for (int j = 0; j < d; j++)
        for (int l = 0; l < LANES; l++)
            sum[l] += panel[j * LANES + l] * x[j * BLOCK];
    for (int l = 0; l < LANES; l++)
        dot[l] = sum[l];
}

void tsri_nearest_plain(const tsri_nearest_book *book, const float *x,
                        int32_t *code)
{
    float best[BLOCK], dot[LANES];

    for (int v = 0; v < BLOCK; v++) {
        best[v] = INFINITY;
        code[v] = 0;
    }
    for (int p = 0; p < book->panels; p++) {
        const float *panel = book->code + (int64_t)p * book->d * LANES;
        const float *norm = book->norm + (int64_t)p * LANES;
        for (int v = 0; v < BLOCK; v++) {
            dot_panel(panel, x + v, book->d, dot);
            for (int l = 0; l < LANES; l++) {
                const float score = norm[l] - 2 * dot[l];
                if (score < best[v]) {
                    best[v] = score;
                    code[v] = p * LANES + l;
                }
            }
        }
    }
}
