/* SPDX-License-Identifier: BSD-2-Clause */
#include "entropy/freq.h"
#include "entropy/shapes.h"
#include "entropy/shapes_table.h"

enum {
    ONE_BITS = 30,              /* masses are in 2^-30 */
    LEAST = -128, LIMIT = 128,  /* symbols are in [LEAST, LIMIT) */
    EDGES = 4 * LIMIT + 8,      /* of symbols, in quarters from the mean */
    STEP_BITS = 11              /* of 2^16 * z in a step of gauss_tail */
};

/* tail[i]: mass above i quarters of a symbol from the mean, i >= 0. */
static void gauss_tails(int scale, uint32_t *tail)
{
    const uint32_t last = sizeof gauss_tail / sizeof *gauss_tail - 1;

    for (uint32_t i = 0; i <= EDGES; i++) {
        const uint64_t z = (uint64_t)i * inverse[scale % 8] >> (11 + scale / 8);
        const uint64_t at = z >> STEP_BITS;
        const uint32_t rest = z & ((1 << STEP_BITS) - 1);
        if (at >= last)
            tail[i] = 0;
        else
            tail[i] = gauss_tail[at] -
                (uint32_t)((uint64_t)(gauss_tail[at] - gauss_tail[at + 1]) *
                           rest >> STEP_BITS);
    }
}

static void laplace_tails(int scale, uint32_t *tail)
{
    tail[0] = 1u << (ONE_BITS - 1);
    for (int i = 1; i <= EDGES; i++)
        tail[i] = (uint32_t)((uint64_t)tail[i - 1] * laplace_decay[scale] >> 32);
}

/* The mass above `edge` quarters from the mean. */
static uint32_t above(const uint32_t *tail, int edge)
{
    return edge >= 0 ? tail[edge] : (1u << ONE_BITS) - tail[-edge];
}

int tsri_shape_table(int shape, int bits, int reach, uint16_t *freq,
                     int *centre)
{
    const int scale = shape % TSRI_SHAPE_SCALES;
    const int phase = shape / TSRI_SHAPE_SCALES % TSRI_SHAPE_PHASES;
    const int family = shape / TSRI_SHAPE_SCALES / TSRI_SHAPE_PHASES;
    uint32_t tail[EDGES + 1];
    uint64_t mass[LIMIT - LEAST];
    int first = 0, last = 0;

    if (shape < 0 || shape >= TSRI_SHAPES || bits < 1 || bits > 15 ||
        reach < 0 || reach > TSRI_SHAPE_MAX_REACH || reach > (1 << bits) / 2 - 1)
        return 0;
    if (family == TSRI_SHAPE_GAUSS)
        gauss_tails(scale, tail);
    else
        laplace_tails(scale, tail);
    for (int s = LEAST; s < LIMIT; s++) {
        mass[s - LEAST] = above(tail, 4 * s - 2 - phase) -
                          above(tail, 4 * s + 2 - phase);
        if (mass[s - LEAST] >> (ONE_BITS - bits)) {
            first = tsri_min(first, s);
            last = tsri_max(last, s);
        }
    }
    first = tsri_min(first, -reach);
    last = tsri_max(last, reach);
    *centre = -first;
    return tsri_freq_normalise(mass + (first - LEAST), last - first + 1, bits,
                               freq) ? 0 : last - first + 1;
}

/* Variances are 2^(scale / 4 - 6): scale and the next one meet at
 * 2^((2 scale + 1) / 8 - 6). */
int tsri_shape_scale(uint64_t variance)
{
    int scale = 0;

    for (; scale < TSRI_SHAPE_SCALES - 1; scale++) {
        const int border = 2 * scale + 1;
        if ((variance * inverse[border % 8] >> 28) >> (16 - 6 + border / 8) == 0)
            break;
    }
    return scale;
}
