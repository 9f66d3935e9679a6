/* SPDX-License-Identifier: BSD-2-Clause */
/* What encoding and decoding a unit share: its rows, their steps, strips and
 * references, and sinks. */
#include <math.h>
#include <string.h>
#include "codecs/kv/kv_internal.h"

/* Classes that a factor of two in spread is, and 1, 3, 9. */
enum { BOOST_CLASSES = 4 };
static const uint8_t level_classes[TSRI_KV_LEVELS] = { 0, 6, 13 };

/* ---- steps, references ---- */

static void set_steps(tsri_kv_work *work, int plane)
{
    static const float third[TSRI_KV_LEVELS] = { 1, 3, 9 };
    const tsri_kv_head *head = work->head;
    const float base = work->kv->profiled
        ? head->step[plane] * work->kv->profile->step : head->step[plane];

    for (int k = 0; k < TSRI_KV_LEVELS; k++)
        work->step[plane][k] = base / third[k];
    work->inverse[plane] = 1 / work->step[plane][head->levels - 1];
}

void tsri_kv_work_start(tsri_kv_work *work)
{
    const tsri_kv_head *head = work->head;

    set_steps(work, 0);
    set_steps(work, 1);
    work->unit = work->step[0][0] / 64;
    if (work->ref)
        tsri_kv_match(work->kv->profile, work->ids, head->tokens, head->sinks,
                      work->ref, work->match, work->match_scratch);
}

/* What a token takes over from its reference; NULL: nothing. */
static const int8_t *rho_of(const tsri_kv_work *work, const tsri_kv_group *group,
                            size_t token)
{
    const int row = tsri_min(work->match[token], work->kv->profile->matches - 1);
    return group->rho && work->ref[token] >= 0
        ? group->rho + (size_t)row * (size_t)group->r : NULL;
}

void tsri_kv_carry_in(const tsri_kv_work *work, const tsri_kv_worker *worker,
                      const tsri_kv_group *group, int coefs, size_t token,
                      float *m)
{
    const int8_t *rho = rho_of(work, group, token);
    const float unit = work->unit;
    const int32_t *ref;

    if (!rho) {
        memset(m, 0, (size_t)coefs * sizeof *m);
        return;
    }
    ref = worker->fixed + (size_t)work->ref[token] * (size_t)coefs;
    for (int c = 0; c < coefs; c++)
        m[c] = (float)tsri_kv_carry(rho[c], ref[c]) * unit;
}

void tsri_kv_carry_on(const tsri_kv_work *work, const tsri_kv_worker *worker,
                      const tsri_kv_group *group, int coefs, size_t token,
                      size_t at)
{
    const int8_t *rho = rho_of(work, group, token);
    const int16_t *q = worker->q + at * work->pitch;
    const int boost = tsri_kv_boost(work, token);
    int32_t *fixed = worker->fixed + token * (size_t)coefs;

    if (!rho) {
        memset(fixed, 0, (size_t)coefs * sizeof *fixed);
    } else {
        const int32_t *ref =
            worker->fixed + (size_t)work->ref[token] * (size_t)coefs;
        for (int c = 0; c < coefs; c++)
            fixed[c] = tsri_kv_carry(rho[c], ref[c]);
    }
    for (int c = 0; c < coefs; c++) {
        const int32_t v = fixed[c] + (q[c] * 64 >> boost);
        fixed[c] = tsri_clamp(v, -TSRI_KV_BOUNDED, TSRI_KV_BOUNDED);
    }
}

/* ---- rows ---- */

tsri_kv_rows tsri_kv_tile_rows(const tsri_kv_head *head, size_t tile)
{
    size_t first = tile * (size_t)head->tile, end = first + (size_t)head->tile;

    end = end < head->tokens ? end : head->tokens;
    first = first > head->sinks ? first : head->sinks;
    return (tsri_kv_rows){ first, first < end ? (int)(end - first) : 0 };
}

void tsri_kv_turn(const tsri_kv_work *work, tsri_kv_worker *worker,
                  const tsri_kv_plane *plane, size_t first, size_t n, float *x,
                  size_t pitch, bool back)
{
    const tsr_kv *kv = work->kv;
    const unsigned cpu = kv->ctx->cpu;
    const float *high = NULL;
    uint64_t block = 0;

    if (!kv->rope_what.layout || plane->plane)
        return;
    for (size_t t = 0; t < n; t++, x += pitch) {
        const uint64_t pos = work->head->pos0 + first + t;
        if (!high || pos / 256 != block) {
            block = pos / 256;
            high = tsri_rope_high_row(kv->rope, block, worker->high);
        }
        tsri_rope_angles_at(kv->rope, cpu, pos, high, worker->angles);
        (back ? tsri_rope_put_back : tsri_rope_take_off)
            (&kv->rope_what, cpu, worker->angles, x, plane->heads, plane->dim);
    }
}

/* ---- strips ---- */

void tsri_kv_strips_reset(tsri_kv_worker *worker)
{
    memset(worker->slot, -1, sizeof worker->slot);
    worker->slots = 0;
    worker->level = 0;
}

/* Class bytes of a set: match class `row`, boost `boost`. */
static void set_classes(const tsri_kv_work *work, tsri_kv_worker *worker,
                        int group, int coefs, const uint8_t *cls, int row,
                        int boost)
{
    const tsri_kv_group *g = &work->kv->profile->group[group];
    const uint8_t *from = work->kv->profiled
        ? g->cls + (size_t)row * (size_t)g->r : cls;
    const int shift = work->head->class_shift + BOOST_CLASSES * boost +
        level_classes[worker->level];

    for (int c = 0; c < coefs; c++)
        worker->set[c] = (uint8_t)tsri_clamp(from[c] + shift, 0,
                                             TSRI_ROWS_CLASSES - 1);
}

/* The slot of a set's strips, which are prepared when they are first asked
 * for. */
static uint8_t slot_of(const tsri_kv_work *work, tsri_kv_worker *worker,
                       int group, int coefs, const uint8_t *cls, int row,
                       int boost)
{
    int8_t *slot = &worker->slot[row * (TSRI_KV_MAX_BOOST + 1) + boost];

    if (*slot < 0) {
        *slot = (int8_t)worker->slots++;
        set_classes(work, worker, group, coefs, cls, row, boost);
        tsri_rows_prepare(work->kv->profile->rows, worker->set, coefs,
                          worker->strips +
                          (size_t)*slot * (work->pitch / TSRI_ROWS_LANES));
    }
    return (uint8_t)*slot;
}

void tsri_kv_strips(const tsri_kv_work *work, tsri_kv_worker *worker, int group,
                    int coefs, const uint8_t *cls, int level, tsri_kv_rows rows)
{
    const int last = work->kv->profiled ? work->kv->profile->matches - 1 : 0;

    if (level != worker->level)
        tsri_kv_strips_reset(worker);
    worker->level = level;
    for (int i = 0; i < rows.n; i++) {
        const size_t token = rows.first + (size_t)i;
        const int row = work->ref ? tsri_min(work->match[token], last) : 0;
        worker->which[i] = slot_of(work, worker, group, coefs, cls, row,
                                   tsri_kv_boost(work, token));
    }
}

void tsri_kv_segment_at(const tsri_kv_work *work, tsri_kv_worker *worker,
                        int group, size_t tile, int segment, int coefs,
                        size_t at, int rows, tsri_kv_segment *s)
{
    const tsri_kv_head *head = work->head;
    const int first = segment * head->span;
    const size_t offset = at * work->pitch + (size_t)first;

    for (int i = 0; i < worker->slots; i++)
        s->sets[i] = worker->strips +
            ((size_t)i * work->pitch + (size_t)first) / TSRI_ROWS_LANES;
    for (int i = 0; i < 2; i++)
        s->r[i] = worker->r[i] + offset;
    s->m = (tsri_rows_matrix){
        .q = worker->q + offset, .pitch = work->pitch, .tokens = rows,
        .coefs = tsri_min(head->span, coefs - first), .strips = s->sets,
        .which = worker->slots > 1 ? worker->which : NULL };
    s->seed = (uint32_t)segment +
        256 * ((uint32_t)group * (uint32_t)head->tiles + (uint32_t)tile);
}

/* ---- sinks ---- */

/* The least e with most < 127.5 * 2^e. */
static int sink_exponent(float most)
{
    int e;

    frexpf(most, &e);
    e = tsri_max(e - 7, -126);
    return most < ldexpf(127.5f, e) ? e : e + 1;
}

void tsri_kv_sink_put(const float *x, int dim, uint8_t *out)
{
    float most = 0, scale;
    int e;

    for (int d = 0; d < dim; d++)
        most = fabsf(x[d]) > most ? fabsf(x[d]) : most;
    e = most > 0 ? sink_exponent(most) : -126;
    scale = ldexpf(1, -e);
    *out++ = (uint8_t)e;
    for (int d = 0; d < dim; d++)
        out[d] = (uint8_t)tsri_clamp((int)lrintf(x[d] * scale), -127, 127);
}

void tsri_kv_sink_get(const uint8_t *in, int dim, float *x)
{
    const float scale = ldexpf(1, (int8_t)in[0]);

    for (int d = 0; d < dim; d++)
        x[d] = (float)(int8_t)in[d + 1] * scale;
}
