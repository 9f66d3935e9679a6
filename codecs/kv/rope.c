/* SPDX-License-Identifier: BSD-2-Clause */
/* Tables of angles, and heads turned by them. */
#include <math.h>
#include "codecs/kv/rope.h"
#include "codecs/kv/move_impl.h"

struct tsri_rope {
    tsr_kv_rope what;
    int pairs;
    size_t blocks;          /* of the high table */
    double *frequency;      /* pairs */
    float *low, *high;      /* [256][pairs][2], [blocks][pairs][2] */
};

static bool between(double x, double low, double high)
{
    return x >= low && x <= high;
}

/* The fields that the kind of scaling reads. */
static bool scaling_fits(const tsr_kv_rope *what)
{
    if (what->scaling == 0)
        return true;
    if (what->scaling < 0 || what->scaling > 2 ||
        !between(what->factor, 1, 1e9))
        return false;
    return what->scaling == 1 ||
        (between(what->low_factor, 1e-9, 1e9) &&
         between(what->high_factor, 1e-9, 1e9) &&
         what->low_factor < what->high_factor &&
         between(what->original, 1, 1 << 30));
}

bool tsri_rope_fits(const tsr_kv_rope *what, int dim)
{
    if (what->layout == 0)
        return true;
    return (what->layout == 1 || what->layout == 2) && what->offset >= 0 &&
        what->dims >= 2 && what->dims % 2 == 0 && what->dims <= dim &&
        what->dims <= TSRI_ROPE_ANGLES && what->offset <= dim - what->dims &&
        between(what->theta, 1, 1e12) && scaling_fits(what);
}

/* Llama 3: waves longer than the training are stretched, short ones kept, and
 * those between are mixed by how often they fit into it. */
static double stretched(const tsr_kv_rope *what, double f)
{
    const double turns = what->original * f / (2 * 3.14159265358979323846);
    double keep;

    if (turns < what->low_factor)
        return f / what->factor;
    if (turns > what->high_factor)
        return f;
    keep = (turns - what->low_factor) / (what->high_factor - what->low_factor);
    return (1 - keep) * f / what->factor + keep * f;
}

static double frequency(const tsr_kv_rope *what, int pair)
{
    const double f = pow(what->theta, -2.0 * pair / what->dims);
    return what->scaling == 1 ? f / what->factor
         : what->scaling == 2 ? stretched(what, f) : f;
}

static void fill_row(const tsri_rope *rope, double pos, float *cs)
{
    for (int i = 0; i < rope->pairs; i++) {
        const double angle = pos * rope->frequency[i];
        cs[2 * i] = (float)cos(angle);
        cs[2 * i + 1] = (float)sin(angle);
    }
}

static tsr_error fill(tsri_rope *rope, tsr_context *ctx)
{
    const size_t row = (size_t)rope->pairs * 2;

    rope->frequency = tsri_alloc(ctx, (size_t)rope->pairs, sizeof(double));
    rope->low = tsri_alloc(ctx, TSRI_ROPE_LOW * row, sizeof(float));
    rope->high = tsri_alloc(ctx, rope->blocks * row, sizeof(float));
    if (!rope->frequency || !rope->low || !rope->high)
        return tsri_nomem(ctx);
    for (int i = 0; i < rope->pairs; i++)
        rope->frequency[i] = frequency(&rope->what, i);
    for (size_t l = 0; l < TSRI_ROPE_LOW; l++)
        fill_row(rope, (double)l, rope->low + l * row);
    for (size_t h = 0; h < rope->blocks; h++)
        fill_row(rope, (double)h * TSRI_ROPE_LOW, rope->high + h * row);
    return TSR_OK;
}

tsr_error tsri_rope_open(tsri_rope **rope, tsr_context *ctx,
                         const tsr_kv_rope *what, int dim, uint64_t positions)
{
    tsri_rope *r;
    tsr_error error;

    *rope = NULL;
    if (!tsri_rope_fits(what, dim) || positions > (uint64_t)1 << 32)
        return tsri_fail(ctx, TSR_E_ARG, "not a rotary embedding of heads of "
                         "%d: layout %d, offset %d, dims %d, theta %g, "
                         "scaling %d", dim, what->layout, what->offset,
                         what->dims, what->theta, what->scaling);
    r = tsri_calloc(ctx, 1, sizeof *r);
    if (!r)
        return tsri_nomem(ctx);
    r->what = *what;
    r->pairs = what->layout ? what->dims / 2 : 0;
    r->blocks = (size_t)((positions + TSRI_ROPE_LOW - 1) / TSRI_ROPE_LOW);
    error = fill(r, ctx);
    if (error)
        tsri_rope_close(&r, ctx);
    *rope = r;
    return error;
}

void tsri_rope_close(tsri_rope **rope, tsr_context *ctx)
{
    if (*rope) {
        tsri_free(ctx, (*rope)->frequency);
        tsri_free(ctx, (*rope)->low);
        tsri_free(ctx, (*rope)->high);
        tsri_free(ctx, *rope);
    }
    *rope = NULL;
}

const tsr_kv_rope *tsri_rope_what(const tsri_rope *rope)
{
    return &rope->what;
}

const float *tsri_rope_low(const tsri_rope *rope)
{
    return rope->low;
}

const float *tsri_rope_high(const tsri_rope *rope, size_t *blocks)
{
    *blocks = rope->blocks;
    return rope->high;
}

const float *tsri_rope_high_row(const tsri_rope *rope, uint64_t block,
                                float *spare)
{
    if (block < rope->blocks)
        return rope->high + (size_t)block * (size_t)rope->pairs * 2;
    fill_row(rope, (double)block * TSRI_ROPE_LOW, spare);
    return spare;
}

void tsri_rope_angles_at(const tsri_rope *rope, unsigned cpu, uint64_t pos,
                         const float *high, float *cs)
{
    const tsri_kv_moves *avx2 = cpu & TSR_CPU_AVX2 ? tsri_kv_moves_avx2() : NULL;
    const float *low =
        rope->low + pos % TSRI_ROPE_LOW * (size_t)rope->pairs * 2;

    if (avx2)
        avx2->angles(high, low, rope->pairs, cs);
    else
        tsri_rope_angles_plain(high, low, rope->pairs, cs);
}

void tsri_rope_angles_plain(const float *high, const float *low, int pairs,
                            float *cs)
{
    for (int i = 0; i < 2 * pairs; i += 2) {
        cs[i] = high[i] * low[i] - high[i + 1] * low[i + 1];
        cs[i + 1] = high[i + 1] * low[i] + high[i] * low[i + 1];
    }
}

void tsri_rope_angles(const tsri_rope *rope, uint64_t pos, float *cs)
{
    float spare[TSRI_ROPE_ANGLES];
    const float *high = tsri_rope_high_row(rope, pos / TSRI_ROPE_LOW, spare);
    tsri_rope_angles_at(rope, 0, pos, high, cs);
}

/* Going back is turning by the opposite angle: the sine's sign alone, which
 * rounding does not see. */
void tsri_rope_turn_plain(const tsr_kv_rope *what, const float *cs, int first,
                          bool back, float *x, int heads, int dim)
{
    const int pairs = what->dims / 2;
    const int apart = what->layout == 1 ? pairs : 1;
    const int step = what->layout == 1 ? 1 : 2;

    for (int h = 0; h < heads; h++) {
        float *at = x + (size_t)h * (size_t)dim + what->offset + first * step;
        for (int i = first; i < pairs; i++, at += step) {
            const float c = cs[2 * i], s = back ? -cs[2 * i + 1] : cs[2 * i + 1];
            const float x1 = at[0], x2 = at[apart];
            at[0] = x1 * c + x2 * s;
            at[apart] = x2 * c - x1 * s;
        }
    }
}

static void turn(const tsr_kv_rope *what, unsigned cpu, const float *cs,
                 bool back, float *x, int heads, int dim)
{
    const tsri_kv_moves *avx2 = cpu & TSR_CPU_AVX2 ? tsri_kv_moves_avx2() : NULL;

    if (!what->layout)
        return;
    if (avx2)
        avx2->turn(what, cs, back, x, heads, dim);
    else
        tsri_rope_turn_plain(what, cs, 0, back, x, heads, dim);
}

void tsri_rope_take_off(const tsr_kv_rope *what, unsigned cpu, const float *cs,
                        float *x, int heads, int dim)
{
    turn(what, cpu, cs, false, x, heads, dim);
}

void tsri_rope_put_back(const tsr_kv_rope *what, unsigned cpu, const float *cs,
                        float *x, int heads, int dim)
{
    turn(what, cpu, cs, true, x, heads, dim);
}
