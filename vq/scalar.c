/* SPDX-License-Identifier: BSD-2-Clause */
#include <math.h>
#include <string.h>
#include "vq/scalar.h"

/* Over every |q|, and exact as a float. */
static const float large = 65536;

bool tsri_scalar_invert(const float *step, const float *offset, size_t n,
                        float *inverse)
{
    for (size_t i = 0; i < n; i++) {
        /* Written so that a NaN fails. */
        if (!(step[i] >= TSRI_SCALAR_MIN_STEP &&
              step[i] <= 1 / TSRI_SCALAR_MIN_STEP))
            return false;
        if (offset && !isfinite(offset[i]))
            return false;
        inverse[i] = 1 / step[i];
    }
    return true;
}

bool tsri_uniform_check(const tsri_uniform *u)
{
    return u->round >= 0 && u->round <= 0.5f && u->shift >= 0 &&
           u->shift <= 0.5f && u->low >= -32768 && u->low <= 0 &&
           u->high >= 0 && u->high <= 32767 && u->high - u->low <= 255;
}

static void uniform_encode(const tsri_uniform *u, const float *inverse,
                           const float *offset, bool one, const float *x,
                           size_t n, uint8_t *symbols)
{
    for (size_t i = 0; i < n; i++) {
        const size_t p = one ? 0 : i;
        const float v = x[i] - offset[p];
        const float a = fabsf(v) * inverse[p] + u->round;
        const int q = isnan(a) ? 0 : (int)(a < large ? a : large);
        symbols[i] = (uint8_t)(tsri_clamp(v < 0 ? -q : q, u->low, u->high) -
                               u->low);
    }
}

static void uniform_decode(const tsri_uniform *u, const float *step,
                           const float *offset, bool one,
                           const uint8_t *symbols, size_t n, float *x)
{
    for (size_t i = 0; i < n; i++) {
        const size_t p = one ? 0 : i;
        const int q = symbols[i] + u->low;
        const float a = ((float)(q < 0 ? -q : q) - u->shift) * step[p];
        x[i] = (q < 0 ? -a : q > 0 ? a : 0) + offset[p];
    }
}

bool tsri_levels_set(tsri_levels *levels, const float *level, int count)
{
    if (count < 1 || count > TSRI_LEVELS_MAX)
        return false;
    for (int i = 0; i < count; i++)
        if (!(fabsf(level[i]) <= 1e30f) || (i && !(level[i] > level[i - 1])))
            return false;
    levels->count = count;
    for (int i = 0; i < TSRI_LEVELS_MAX; i++) {
        levels->level[i] = level[i < count ? i : count - 1];
        levels->above[i] = INFINITY;
    }
    for (int i = 0; i + 1 < count; i++) {
        /* The largest float that is not over the midpoint.  Where the sum is
         * rounded, the levels are so far apart that the smaller one does not
         * count: only its sign does. */
        const double low = (double)level[i], high = (double)level[i + 1];
        const double sum = low + high;
        const double lost = fabs(low) > fabs(high) ? high - (sum - low)
                                                   : low - (sum - high);
        float mid = (float)(sum / 2);
        if ((double)mid > sum / 2 || ((double)mid == sum / 2 && lost < 0))
            mid = nextafterf(mid, -INFINITY);
        levels->above[i] = mid;
    }
    return true;
}

static void levels_encode(const tsri_levels *levels, const float *inverse,
                          const float *offset, bool one, const float *x,
                          size_t n, uint8_t *symbols)
{
    for (size_t i = 0; i < n; i++) {
        const size_t p = one ? 0 : i;
        const float v = (x[i] - offset[p]) * inverse[p];
        int at = 0;
        for (int half = 128; half; half /= 2)
            if (v > levels->above[at + half - 1])
                at += half;
        symbols[i] = (uint8_t)at;
    }
}

static void levels_decode(const tsri_levels *levels, const float *step,
                          const float *offset, bool one,
                          const uint8_t *symbols, size_t n, float *x)
{
    for (size_t i = 0; i < n; i++) {
        const size_t p = one ? 0 : i;
        x[i] = levels->level[symbols[i]] * step[p] + offset[p];
    }
}

const tsri_scalar_kernels tsri_scalar_plain = {
    uniform_encode, uniform_decode, levels_encode, levels_decode
};

static const tsri_scalar_kernels *kernels(unsigned cpu)
{
    const tsri_scalar_kernels *fast =
        cpu & TSR_CPU_AVX2 ? tsri_scalar_avx2() : NULL;
    return fast ? fast : &tsri_scalar_plain;
}

void tsri_uniform_encode(const tsri_uniform *u, const tsri_scalar_block *b,
                         unsigned cpu, const float *x, uint8_t *symbols)
{
    for (size_t r = 0; r < b->rows; r++) {
        const size_t p = b->by_row ? r : 0;
        kernels(cpu)->uniform_encode(u, b->inverse + p, b->offset + p,
                                     b->by_row, x + r * b->x_row, b->cols,
                                     symbols + r * b->symbol_row);
    }
}

void tsri_uniform_decode(const tsri_uniform *u, const tsri_scalar_block *b,
                         unsigned cpu, const uint8_t *symbols, float *x)
{
    for (size_t r = 0; r < b->rows; r++) {
        const size_t p = b->by_row ? r : 0;
        kernels(cpu)->uniform_decode(u, b->step + p, b->offset + p, b->by_row,
                                     symbols + r * b->symbol_row, b->cols,
                                     x + r * b->x_row);
    }
}

void tsri_levels_encode(const tsri_levels *levels, const tsri_scalar_block *b,
                        unsigned cpu, const float *x, uint8_t *symbols)
{
    for (size_t r = 0; r < b->rows; r++) {
        const size_t p = b->by_row ? r : 0;
        kernels(cpu)->levels_encode(levels, b->inverse + p, b->offset + p,
                                    b->by_row, x + r * b->x_row, b->cols,
                                    symbols + r * b->symbol_row);
    }
}

void tsri_levels_decode(const tsri_levels *levels, const tsri_scalar_block *b,
                        unsigned cpu, const uint8_t *symbols, float *x)
{
    for (size_t r = 0; r < b->rows; r++) {
        const size_t p = b->by_row ? r : 0;
        kernels(cpu)->levels_decode(levels, b->step + p, b->offset + p,
                                    b->by_row, symbols + r * b->symbol_row,
                                    b->cols, x + r * b->x_row);
    }
}
