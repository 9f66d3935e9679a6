/* SPDX-License-Identifier: BSD-2-Clause */
/* Parametric tables: Gaussians and Laplacians of 72 scales with their means on
 * quarters of a symbol.  Made by integers from constants alone, so every machine
 * has the same; docs/entropy.md has the construction. */
#ifndef TSR_ENTROPY_SHAPES_H
#define TSR_ENTROPY_SHAPES_H
#include "lib/core.h"

enum {
    TSRI_SHAPE_SCALES = 72, /* standard deviations 2^(scale / 8 - 3) */
    TSRI_SHAPE_PHASES = 4,  /* the mean is phase / 4 above symbol 0 */
    TSRI_SHAPE_FAMILIES = 2,
    TSRI_SHAPES = TSRI_SHAPE_SCALES * TSRI_SHAPE_PHASES * TSRI_SHAPE_FAMILIES,
    TSRI_SHAPE_MAX_REACH = 127
};

enum { TSRI_SHAPE_GAUSS, TSRI_SHAPE_LAPLACE };

/** Number of a shape, 0..TSRI_SHAPES - 1. */
static inline int tsri_shape(int family, int phase, int scale)
{
    return (family * TSRI_SHAPE_PHASES + phase) * TSRI_SHAPE_SCALES + scale;
}

/**
 * The table of a shape: all symbols whose frequency would not be below 1, and
 * those from -reach to reach.  They all have frequencies >= 1; what is outside
 * cannot be coded with it.
 *
 * shape   0..TSRI_SHAPES - 1
 * bits    p, 1..15
 * reach   0..TSRI_SHAPE_MAX_REACH, 2 reach + 1 <= 2^bits
 * freq    out: at most 256 frequencies with the sum 2^bits
 * centre  out: the index of symbol 0
 *
 * Returns the number of frequencies, 0 for arguments outside their limits.
 * Time: some 10 us.
 */
int tsri_shape_table(int shape, int bits, int reach, uint16_t *freq,
                     int *centre);

/** The scale whose standard deviation is next to that of `variance`, which is in
 *  units of 2^-16 and at most 2^32 - 1. */
int tsri_shape_scale(uint64_t variance);

#endif
