/* SPDX-License-Identifier: BSD-2-Clause */
#include <math.h>
#include "vq/nearest.h"

enum {
    LANES = TSRI_NEAREST_LANES, BLOCK = TSRI_NEAREST_BLOCK,
    FEW = TSRI_SCORES_BLOCK
};

/* dot[l] = sum over channels of a vector, which are `step` apart, times codeword l
 * of the panel. */
static void dot_panel(const float *panel, const float *x, int d, int step,
                      float *dot)
{
    float sum[LANES] = { 0 };
    for (int j = 0; j < d; j++)
        for (int l = 0; l < LANES; l++)
            sum[l] += panel[j * LANES + l] * x[j * step];
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
            dot_panel(panel, x + v, book->d, BLOCK, dot);
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

void tsri_scores_plain(const tsri_nearest_book *book, const float *x, int blocks,
                       float *score)
{
    float dot[LANES];

    for (int v = 0; v < blocks * FEW; v++)
        for (int p = 0; p < book->panels; p++, score += LANES) {
            dot_panel(book->code + (int64_t)p * book->d * LANES,
                      x + (int64_t)(v / FEW) * book->d * FEW + v % FEW, book->d,
                      FEW, dot);
            for (int l = 0; l < LANES; l++)
                score[l] = book->norm[(int64_t)p * LANES + l] - 2 * dot[l];
        }
}
