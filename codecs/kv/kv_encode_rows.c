/* SPDX-License-Identifier: BSD-2-Clause */
/* A group's rows as segments: planes without a profile, and published methods.
 * Runs on workers: nothing logs. */
#include <string.h>
#include "codecs/kv/kv_internal.h"
#include "lib/bytes.h"
#include "lib/crc32c.h"

enum { SUMMED = 256 };      /* rows at a time; their magnitudes fit 32 bits */

/* ---- units ---- */

/* 3 * q + r in place: values of the next level. */
static void refine(int16_t *q, const int8_t *r, size_t pitch, int rows, int n)
{
    for (int t = 0; t < rows; t++, q += pitch, r += pitch)
        for (int c = 0; c < n; c++)
            q[c] = (int16_t)(3 * q[c] + r[c]);
}

static size_t put_segment(const tsri_kv_work *work, tsri_kv_worker *worker,
                          tsri_kv_segment *s, int level, uint8_t *out)
{
    const tsri_rows *rows = work->kv->profile->rows;
    const unsigned cpu = work->kv->ctx->cpu;
    const uint32_t seed = s->seed + 64 * (uint32_t)level;
    const int8_t *r = level ? s->r[level - 1] : NULL;
    size_t size;

    if (!level)
        return tsri_rows_encode(rows, cpu, &s->m, seed, out, worker->rows);
    size = tsri_rows_refine_encode(rows, cpu, &s->m, r, s->m.pitch, seed, out,
                                   worker->rows);
    if (level + 1 < work->head->levels)
        refine(s->m.q, r, s->m.pitch, s->m.tokens, s->m.coefs);
    return size;
}

void tsri_kv_put_unit(const tsri_kv_work *work, tsri_kv_worker *worker, int g,
                      size_t tile, int coefs, size_t at, tsri_kv_rows rows,
                      uint8_t *entries, size_t *size)
{
    const int levels = work->head->levels, span = work->head->span;
    const int segments = rows.n ? tsri_ceil_div(coefs, span) : 0;

    for (int level = 0; level < levels; level++) {
        uint8_t *unit = worker->stage + *size;
        size_t used = sizeof(uint32_t) * (size_t)segments;
        tsri_kv_strips(work, worker, g, coefs, worker->cls, level, rows);
        for (int i = 0; i < segments; i++) {
            tsri_kv_segment s;
            size_t bytes;
            tsri_kv_segment_at(work, worker, g, tile, i, coefs, at, rows.n,
                               &s);
            bytes = put_segment(work, worker, &s, level, unit + used);
            tsri_put32(unit + sizeof(uint32_t) * (size_t)i, (uint32_t)bytes);
            used += bytes;
        }
        tsri_put32(entries, (uint32_t)used);
        tsri_put32(entries + 4, tsri_crc32c(0, unit, used));
        entries += 8;
        *size += used;
    }
}

/* ---- sinks ---- */

tsr_error tsri_kv_put_sinks(const tsri_kv_work *work, tsri_kv_worker *worker,
                            int g, uint8_t *head)
{
    const tsr_kv *kv = work->kv;

    for (int i = 0; i < tsri_kv_planes(kv, g); i++) {
        const tsri_kv_plane p = tsri_kv_plane_at(kv, g, i);
        for (size_t t = 0; t < work->head->sinks; t++) {
            if (!tsri_kv_gather(work->view, &kv->settings.shape, kv->ctx->cpu,
                                p.layer, p.plane, t, 1, worker->x, 0))
                return TSR_E_ARG;
            tsri_kv_turn(work, worker, &p, t, 1, worker->x, 0, false);
            for (int h = 0; h < p.heads; h++, head += 1 + p.dim)
                tsri_kv_sink_put(worker->x + (size_t)h * (size_t)p.dim, p.dim,
                                 head);
        }
    }
    return TSR_OK;
}

/* ---- planes ---- */

/* Rows first .. of the plane as floats without rotation, x[n][channels]. */
static tsr_error load(const tsri_kv_work *work, tsri_kv_worker *worker,
                      const tsri_kv_plane *p, size_t first, size_t n, float *x)
{
    const tsr_kv *kv = work->kv;
    const size_t pitch = (size_t)(p->heads * p->dim);

    if (!tsri_kv_gather(work->view, &kv->settings.shape, kv->ctx->cpu, p->layer,
                        p->plane, first, n, x, pitch))
        return TSR_E_ARG;
    tsri_kv_turn(work, worker, p, first, n, x, pitch, false);
    return TSR_OK;
}

/* Centres of the plane's channels, into worker->centre and worker->m. */
static tsr_error find_centres(const tsri_kv_work *work, tsri_kv_worker *worker,
                              const tsri_kv_plane *p)
{
    const size_t n = (size_t)(p->heads * p->dim);
    const float step = work->step[p->plane][0], quarter = step / 4;

    for (size_t i = 0; i < TSRI_KV_BLOCK; i++)
        TSR_TRY(load(work, worker, p, work->sample[i], 1, worker->x + i * n));
    tsri_kv_centres(work->kv->ctx->cpu, worker->x, n, TSRI_KV_BLOCK, n, step,
                    worker->centre);
    for (size_t c = 0; c < n; c++)
        worker->m[c] = (float)worker->centre[c] * quarter;
    return TSR_OK;
}

void tsri_kv_coarsen_all(const tsri_kv_work *work, tsri_kv_worker *worker,
                         size_t at, size_t n)
{
    for (int level = work->head->levels - 1; level > 0; level--)
        tsri_kv_coarsen(work->kv->ctx->cpu, worker->q + at, n,
                        worker->r[level - 1] + at);
}

/* Rows `row` .. row + n - 1 of the plane to q, r and part. */
static bool quantise_some(const tsri_kv_work *work, tsri_kv_worker *worker,
                          const tsri_kv_plane *p, size_t row, size_t n)
{
    const tsr_kv *kv = work->kv;
    const size_t token = work->head->sinks + row, at = row * work->pitch;
    const bool direct = work->head->levels == 1;
    const tsri_kv_patch patch = {
        .view = work->view, .shape = &kv->settings.shape, .rope = kv->rope,
        .pos = work->head->pos0, .layer = p->layer, .plane = p->plane,
        .first = token, .n = n, .boost = work->boost ? work->boost + token : NULL
    };

    if (!tsri_kv_load_tile(&patch, kv->ctx->cpu, worker->m,
                           work->inverse[p->plane], worker->q + at, work->pitch,
                           direct ? worker->part : NULL))
        return false;
    if (direct)
        return true;
    tsri_kv_coarsen_all(work, worker, at, n * work->pitch);
    for (size_t t = 0; t < n; t++)
        tsri_kv_add_magnitudes(kv->ctx->cpu, worker->q + at + t * work->pitch,
                               (size_t)(p->heads * p->dim),
                               tsri_kv_boost(work, token + t), worker->part);
    return true;
}

static tsr_error quantise_plane(const tsri_kv_work *work,
                                tsri_kv_worker *worker, const tsri_kv_plane *p,
                                size_t rows)
{
    const size_t channels = (size_t)(p->heads * p->dim);

    memset(worker->sum, 0, channels * sizeof *worker->sum);
    for (size_t row = 0; row < rows; row += SUMMED) {
        const size_t n = rows - row < SUMMED ? rows - row : SUMMED;
        memset(worker->part, 0, channels * sizeof *worker->part);
        if (!quantise_some(work, worker, p, row, n))
            return TSR_E_ARG;
        for (size_t c = 0; c < channels; c++)
            worker->sum[c] += worker->part[c];
    }
    return TSR_OK;
}

/* Class bytes and centres, behind the sinks of the head. */
static void put_tables(const tsri_kv_worker *worker, size_t channels,
                       size_t rows, uint8_t *out)
{
    for (size_t c = 0; c < channels; c++) {
        worker->cls[c] = (uint8_t)tsri_rows_class(worker->sum[c],
                                                  (uint32_t)rows);
        out[c] = worker->cls[c];
        tsri_put16(out + channels + 2 * c, (uint16_t)worker->centre[c]);
    }
}

tsr_error tsri_kv_encode_plane(const tsri_kv_work *work, tsri_kv_worker *worker,
                               int g, uint8_t *out, uint8_t *entries,
                               size_t *size)
{
    const tsri_kv_head *head = work->head;
    const tsri_kv_plane p = tsri_kv_plane_at(work->kv, g, 0);
    const size_t rows = head->tokens - head->sinks;
    const size_t channels = (size_t)(p.heads * p.dim);

    *size = 0;
    TSR_TRY(tsri_kv_put_sinks(work, worker, g, out));
    if (rows) {
        TSR_TRY(find_centres(work, worker, &p));
        TSR_TRY(quantise_plane(work, worker, &p, rows));
        put_tables(worker, channels, rows,
                   out + (size_t)head->sinks * (size_t)(p.heads * (1 + p.dim)));
    }
    tsri_kv_strips_reset(worker);
    for (size_t tile = 0; tile < (size_t)head->tiles; tile++) {
        const tsri_kv_rows r = tsri_kv_tile_rows(head, tile);
        tsri_kv_put_unit(work, worker, g, tile, (int)channels,
                         r.n ? r.first - head->sinks : 0, r,
                         entries + tile * 8 * head->levels, size);
    }
    return TSR_OK;
}

/* ---- published methods ---- */

static tsr_error load_tile(const tsri_kv_work *work, tsri_kv_worker *worker,
                           const tsri_kv_plane *p, const tsri_kv_tile *tile)
{
    const size_t first = (size_t)tile->first, n = (size_t)tile->tokens;
    const tsr_kv *kv = work->kv;

    if (kv->method->raw) {
        tsri_kv_copy_out(work->view, &kv->settings.shape, p->layer, p->plane,
                         first, n, worker->x);
        return TSR_OK;
    }
    if (kv->method->pre_rope)
        return load(work, worker, p, first, n, worker->x);
    return tsri_kv_gather(work->view, &kv->settings.shape, kv->ctx->cpu,
                          p->layer, p->plane, first, n, worker->x,
                          (size_t)(p->heads * p->dim)) ? TSR_OK : TSR_E_ARG;
}

tsr_error tsri_kv_encode_method(const tsri_kv_work *work,
                                tsri_kv_worker *worker, int g, uint8_t *out,
                                uint8_t *entries, size_t *size)
{
    const tsri_kv_plane p = tsri_kv_plane_at(work->kv, g, 0);

    (void)out; /* heads are empty */
    *size = 0;
    for (size_t i = 0; i < (size_t)work->head->tiles; i++, entries += 8) {
        tsri_kv_tile t = tsri_kv_method_tile(work->kv, work->head, g, i);
        uint8_t *unit = worker->stage + *size;
        size_t used;
        t.boost = work->boost ? work->boost + t.first : NULL;
        TSR_TRY(load_tile(work, worker, &p, &t));
        used = work->kv->method->encode(&t, work->kv->ctx->cpu, worker->x, unit,
                                        worker->method);
        if (!used)
            return TSR_E_ARG;
        tsri_put32(entries, (uint32_t)used);
        tsri_put32(entries + 4, tsri_crc32c(0, unit, used));
        *size += used;
    }
    return TSR_OK;
}
