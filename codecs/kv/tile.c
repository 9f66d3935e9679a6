/* SPDX-License-Identifier: BSD-2-Clause */
/* Tiles between a cache and quantised rows, token by token: in one pass of a
 * vector variant, or some heads at a time through a buffer. */
#include <math.h>
#include "codecs/kv/move_impl.h"

enum { BUFFER = 2048 };     /* floats; a head has no more */

static const float zeros[TSRI_KV_MAX_CHANNELS];

typedef struct job {
    const tsri_kv_patch *patch;
    tsri_kv_line line;
    unsigned cpu;
    const tsri_kv_moves *fast;      /* NULL: through the buffer */
    uint64_t block;                 /* of the angles' high row, below */
    const float *high;
    float cs[TSRI_ROPE_ANGLES], spare[TSRI_ROPE_ANGLES];
} job;

/* Do all runs of a head consist of whole vectors? */
static bool whole(const tsri_kv_line *line)
{
    const tsr_kv_rope *rope = line->rope;
    return line->dim % 8 == 0 &&
        (!rope->layout || (rope->offset % 8 == 0 && rope->dims % 16 == 0));
}

static void begin(job *j, const tsri_kv_patch *patch, unsigned cpu,
                  const float *m)
{
    static const tsr_kv_rope none = { .layout = 0 };
    const int plane = patch->plane;

    j->patch = patch;
    j->line = (tsri_kv_line){
        .dtype = patch->view->dtype,
        .heads = patch->shape->heads[plane], .dim = patch->shape->dim[plane],
        .stride = patch->view->head_stride, .cs = j->cs, .m = m ? m : zeros,
        .rope = plane == 0 && patch->rope ? tsri_rope_what(patch->rope) : &none
    };
    j->cpu = cpu;
    j->fast = cpu & TSR_CPU_AVX2 && whole(&j->line) ? tsri_kv_moves_avx2() : NULL;
    j->high = NULL;
    j->block = 0;
}

/* Where token i of the patch lies; its angles are brought to j->cs. */
static uint8_t *enter(job *j, size_t i)
{
    const tsri_kv_patch *p = j->patch;
    const uint64_t pos = p->pos + p->first + i;

    if (j->line.rope->layout) {
        if (!j->high || pos / TSRI_ROPE_LOW != j->block)
            j->high = tsri_rope_high_row(p->rope, pos / TSRI_ROPE_LOW, j->spare);
        j->block = pos / TSRI_ROPE_LOW;
        tsri_rope_angles_at(p->rope, j->cpu, pos, j->high, j->cs);
    }
    return tsri_kv_token_at(p->view, p->shape, p->layer, p->plane, p->first + i);
}

static int boost_of(const job *j, size_t i)
{
    return j->patch->boost ? j->patch->boost[i] : 0;
}

/* Heads that the buffer holds, from `head` on. */
static int some(const job *j, int head)
{
    return tsri_min(tsri_max(BUFFER / j->line.dim, 1), j->line.heads - head);
}

static bool load(const job *j, const uint8_t *from, float inverse, int boost,
                 int16_t *q, uint32_t *sum)
{
    const tsri_kv_line *line = &j->line;
    const size_t dim = (size_t)line->dim;
    float x[BUFFER];
    bool good = true;

    for (int h = 0, n; h < line->heads; h += n) {
        const size_t at = (size_t)h * dim;
        n = some(j, h);
        for (int k = 0; k < n; k++)
            good &= tsri_kv_from_dtype(line->dtype, j->cpu,
                                       from + (h + k) * line->stride, dim,
                                       x + (size_t)k * dim);
        tsri_rope_take_off(line->rope, j->cpu, j->cs, x, n, line->dim);
        good &= tsri_kv_quantise(j->cpu, x, line->m + at, inverse,
                                 (size_t)n * dim, q + at, NULL);
        if (sum)
            tsri_kv_add_magnitudes(j->cpu, q + at, (size_t)n * dim, boost,
                                   sum + at);
    }
    return good;
}

static void store(const job *j, const int16_t *q, float step, uint8_t *to)
{
    const tsri_kv_line *line = &j->line;
    const size_t dim = (size_t)line->dim;
    float x[BUFFER];

    for (int h = 0, n; h < line->heads; h += n) {
        const size_t at = (size_t)h * dim;
        n = some(j, h);
        tsri_kv_dequantise(j->cpu, q + at, line->m + at, step, (size_t)n * dim, x);
        tsri_rope_put_back(line->rope, j->cpu, j->cs, x, n, line->dim);
        for (int k = 0; k < n; k++)
            tsri_kv_to_dtype(line->dtype, j->cpu, x + (size_t)k * dim, dim,
                             to + (h + k) * line->stride);
    }
}

bool tsri_kv_load_tile(const tsri_kv_patch *from, unsigned cpu, const float *m,
                       float inverse, int16_t *q, size_t pitch, uint32_t *sum)
{
    bool good = true;
    job j;

    begin(&j, from, cpu, m);
    for (size_t i = 0; i < from->n; i++, q += pitch) {
        const uint8_t *at = enter(&j, i);
        const int boost = boost_of(&j, i);
        const float by = ldexpf(inverse, boost);
        good &= j.fast ? j.fast->load(&j.line, at, by, boost, q, sum)
                       : load(&j, at, by, boost, q, sum);
    }
    return good;
}

void tsri_kv_store_tile(const tsri_kv_patch *to, unsigned cpu, const int16_t *q,
                        size_t pitch, const float *m, float step)
{
    job j;

    begin(&j, to, cpu, m);
    for (size_t i = 0; i < to->n; i++, q += pitch) {
        uint8_t *at = enter(&j, i);
        const float by = ldexpf(step, -boost_of(&j, i));
        if (j.fast)
            j.fast->store(&j.line, q, by, at);
        else
            store(&j, q, by, at);
    }
}
