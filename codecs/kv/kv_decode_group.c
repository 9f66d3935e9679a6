/* SPDX-License-Identifier: BSD-2-Clause */
/* Units of one group decoded and written.  Runs on workers: nothing logs, and
 * every byte read comes from outside. */
#include <string.h>
#include "codecs/kv/kv_decode.h"
#include "lib/bytes.h"
#include "lib/crc32c.h"

/* What a walk over the tiles of a group carries along. */
typedef struct walk {
    const tsri_kv_decoding *d;
    const tsri_kv_work *work;
    tsri_kv_worker *worker;
    const tsri_kv_group *group;
    const uint8_t *head;    /* of the group */
    int g, coefs;
} walk;

bool tsri_kv_plane_wanted(const tsri_kv_decoding *d, int g, int i)
{
    const tsri_kv_plane p = tsri_kv_plane_at(d->work.kv, g, i);
    return p.layer >= d->first_layer && p.layer < d->first_layer + d->layers &&
        d->work.view->base[p.layer * d->work.head->shape.planes + p.plane];
}

/* The part of tokens first .. first + n - 1 that is wanted. */
static tsri_kv_rows wanted_of(const tsri_kv_decoding *d, size_t first, size_t n)
{
    const size_t end = d->first_token + d->tokens;
    const size_t a = first > d->first_token ? first : d->first_token;
    const size_t b = first + n < end ? first + n : end;
    return (tsri_kv_rows){ a, a < b ? (int)(b - a) : 0 };
}

/* ---- bytes ---- */

/* Bytes of the object at `at` whose size and CRC the directory has. */
static tsr_error find(const tsri_kv_decoding *d, uint64_t at,
                      const uint8_t *entry, const uint8_t **data, size_t *size)
{
    *size = tsri_get32(entry);
    if (at > d->size || *size > d->size - at)
        return TSR_E_TRUNCATED;
    *data = d->in + at;
    return tsri_crc32c(0, *data, *size) == tsri_get32(entry + 4)
        ? TSR_OK : TSR_E_CHECKSUM;
}

static tsr_error find_head(walk *w)
{
    const tsri_kv_decoding *d = w->d;
    const uint8_t *entry =
        d->in + tsri_kv_head_entry(w->work->head, (size_t)w->g);
    size_t size;

    TSR_TRY(find(d, w->work->head_at[w->g], entry, &w->head, &size));
    return size == tsri_kv_head_bytes(w->work->kv, w->work->head, w->g)
        ? TSR_OK : TSR_E_CORRUPT;
}

static tsr_error find_level(const walk *w, size_t tile, int level,
                            const uint8_t **data, size_t *size)
{
    const tsri_kv_head *head = w->work->head;
    const uint8_t *entry =
        w->d->in + tsri_kv_unit_entry(head, (size_t)w->g, tile, 0);
    uint64_t at = w->work->unit_at[(size_t)w->g * (size_t)head->tiles + tile];

    for (; level > 0; level--, entry += 8)
        at += tsri_get32(entry);
    return find(w->d, at, entry, data, size);
}

/* ---- values ---- */

static tsr_error get_segments(const walk *w, const tsri_rows_segment *s, int n,
                              int level)
{
    const tsri_rows *rows = w->work->kv->profile->rows;
    const unsigned cpu = w->work->kv->ctx->cpu;

    if (n == 2)
        return tsri_rows_decode_pair(rows, cpu, s, level > 0, w->worker->rows);
    return (level ? tsri_rows_refine_decode : tsri_rows_decode)
        (rows, cpu, s->data, s->size, s->crc, &s->m, w->worker->rows);
}

/* One level of a tile's rows into worker->q. */
static tsr_error get_level(const walk *w, size_t tile, int level, int rows)
{
    const int segments =
        rows ? tsri_ceil_div(w->coefs, w->work->head->span) : 0;
    const uint8_t *data, *next;
    tsri_kv_segment s[2];
    tsri_rows_segment part[2];
    size_t size, left;

    TSR_TRY(find_level(w, tile, level, &data, &size));
    if (size < sizeof(uint32_t) * (size_t)segments)
        return TSR_E_CORRUPT;
    next = data + sizeof(uint32_t) * (size_t)segments;
    left = size - sizeof(uint32_t) * (size_t)segments;
    for (int i = 0; i < segments; i++) {
        const size_t bytes = tsri_get32(data + sizeof(uint32_t) * (size_t)i);
        const int k = i % 2;
        if (bytes > left)
            return TSR_E_CORRUPT;
        tsri_kv_segment_at(w->work, w->worker, w->g, tile, i, w->coefs, 0, rows,
                           &s[k]);
        part[k] = (tsri_rows_segment){
            next, bytes, s[k].seed + 64 * (uint32_t)level, s[k].m };
        next += bytes;
        left -= bytes;
        if (k == 1 || i == segments - 1)
            TSR_TRY(get_segments(w, part, k + 1, level));
    }
    return left ? TSR_E_CORRUPT : TSR_OK;
}

/* Class bytes and centres of a plane, behind its sinks. */
static tsr_error get_tables(walk *w)
{
    const tsri_kv_head *head = w->work->head;
    const size_t n = (size_t)w->group->n;
    const tsri_kv_plane p = tsri_kv_plane_at(w->work->kv, w->g, 0);
    const uint8_t *cls =
        w->head + (size_t)head->sinks * (size_t)(p.heads * (1 + p.dim));
    const float quarter = w->work->step[p.plane][0] / 4;

    if (w->work->kv->profiled || head->tokens == head->sinks)
        return TSR_OK;
    for (size_t c = 0; c < n; c++) {
        if (cls[c] >= TSRI_ROWS_CLASSES)
            return TSR_E_CORRUPT;
        w->worker->cls[c] = cls[c];
        w->worker->m[c] =
            (float)(int16_t)tsri_get16(cls + n + 2 * c) * quarter;
    }
    return TSR_OK;
}

/* ---- writing ---- */

/* Plane i of the group, x[n][pitch] its first value of tokens first .. */
static void put_plane(const walk *w, int i, size_t first, int n, float *x,
                      size_t pitch)
{
    const tsri_kv_plane p = tsri_kv_plane_at(w->work->kv, w->g, i);

    if (!tsri_kv_plane_wanted(w->d, w->g, i))
        return;
    tsri_kv_turn(w->work, w->worker, &p, first, (size_t)n, x, pitch, true);
    tsri_kv_scatter(w->work->view, &w->work->head->shape,
                    w->work->kv->ctx->cpu, p.layer, p.plane, first, (size_t)n, x,
                    pitch);
}

static void put_sinks(const walk *w, size_t tile)
{
    const size_t first = tile * (size_t)w->work->head->tile;
    const size_t sinks = w->work->head->sinks;
    const uint8_t *in = w->head;

    for (int i = 0; first < sinks && i < tsri_kv_planes(w->work->kv, w->g); i++) {
        const tsri_kv_plane p = tsri_kv_plane_at(w->work->kv, w->g, i);
        const size_t bytes = (size_t)p.heads * (size_t)(1 + p.dim);
        for (size_t t = 0; t < sinks; t++, in += bytes) {
            if (t / (size_t)w->work->head->tile != tile ||
                !wanted_of(w->d, t, 1).n)
                continue;
            for (int h = 0; h < p.heads; h++)
                tsri_kv_sink_get(in + (size_t)h * (size_t)(1 + p.dim), p.dim,
                                 w->worker->x + (size_t)h * (size_t)p.dim);
            put_plane(w, i, t, 1, w->worker->x, 0);
        }
    }
}

/* Tokens first .. first + n - 1 of a plane, rows from `at` on. */
static void put_channels(const walk *w, size_t first, int n, size_t at)
{
    const tsri_kv_work *work = w->work;
    const tsri_kv_plane p = tsri_kv_plane_at(work->kv, w->g, 0);
    const tsri_kv_patch patch = {
        .view = work->view, .shape = &work->head->shape, .rope = work->kv->rope,
        .pos = work->head->pos0, .layer = p.layer, .plane = p.plane,
        .first = first, .n = (size_t)n,
        .boost = work->boost ? work->boost + first : NULL
    };

    tsri_kv_store_tile(&patch, work->kv->ctx->cpu,
                       w->worker->q + at * work->pitch, work->pitch,
                       w->worker->m, work->step[p.plane][w->d->levels - 1]);
}

/* The same of a group coded by a profile. */
static void put_coefficients(const walk *w, size_t first, int n, size_t at)
{
    const tsri_kv_work *work = w->work;
    const tsri_kv_worker *worker = w->worker;
    const size_t r = (size_t)w->coefs, pitch = (size_t)w->group->n;
    const float step = work->step[0][w->d->levels - 1];
    const unsigned cpu = work->kv->ctx->cpu;

    for (int i = 0; i < n; i++) {
        const size_t token = first + (size_t)i;
        if (work->ref)
            tsri_kv_carry_in(work, worker, w->group, w->coefs, token, worker->m);
        tsri_kv_dequantise(cpu, worker->q + (at + (size_t)i) * work->pitch,
                           work->ref ? worker->m : NULL,
                           step / (float)(1 << tsri_kv_boost(work, token)), r,
                           worker->z + (size_t)i * r);
    }
    tsri_kv_inverse(work->kv->profile, w->group, cpu, worker->z, r, n, w->coefs,
                    worker->x, pitch);
    if (work->ids && w->group->predict)
        tsri_kv_predict(work->kv->profile, w->group, cpu, work->ids, first, n,
                        false, worker->x, pitch);
    for (int i = 0; i < tsri_kv_planes(work->kv, w->g); i++)
        put_plane(w, i, first, n,
                  worker->x + tsri_kv_plane_at(work->kv, w->g, i).offset, pitch);
}

static void put_rows(const walk *w, tsri_kv_rows rows)
{
    const tsri_kv_rows part = wanted_of(w->d, rows.first, (size_t)rows.n);
    const size_t at = part.first - rows.first;

    if (!w->work->kv->profiled && part.n)
        put_channels(w, part.first, part.n, at);
    for (int i = 0; w->work->kv->profiled && i < part.n; i += TSRI_KV_TURNED)
        put_coefficients(w, part.first + (size_t)i,
                         tsri_min(part.n - i, TSRI_KV_TURNED), at + (size_t)i);
}

/* ---- tiles ---- */

static tsr_error decode_tile(const walk *w, size_t tile)
{
    const tsri_kv_rows rows = tsri_kv_tile_rows(w->work->head, tile);
    const bool show = tile >= (size_t)w->d->first_tile;
    const int levels = show ? w->d->levels : 1;

    for (int level = 0; level < levels; level++) {
        tsri_kv_strips(w->work, w->worker, w->g, w->coefs, w->worker->cls, level,
                       rows);
        TSR_TRY(get_level(w, tile, level, rows.n));
        for (int i = 0; !level && w->work->ref && i < rows.n; i++)
            tsri_kv_carry_on(w->work, w->worker, w->group, w->coefs,
                             rows.first + (size_t)i, (size_t)i);
    }
    if (show) {
        put_sinks(w, tile);
        put_rows(w, rows);
    }
    return TSR_OK;
}

tsr_error tsri_kv_decode_group(const tsri_kv_decoding *d, tsri_kv_worker *worker,
                               int g, size_t first, size_t last)
{
    walk w = { .d = d, .work = &d->work, .worker = worker, .g = g,
               .group = &d->work.kv->profile->group[g],
               .coefs = tsri_kv_live(d->work.kv, d->work.head, g) };

    TSR_TRY(find_head(&w));
    TSR_TRY(get_tables(&w));
    tsri_kv_strips_reset(worker);
    for (size_t tile = first; tile <= last; tile++)
        TSR_TRY(decode_tile(&w, tile));
    return TSR_OK;
}

/* ---- published methods ---- */

static void put_tile(const walk *w, const tsri_kv_plane *p, tsri_kv_rows part,
                     float *x)
{
    const tsri_kv_work *work = w->work;
    const tsr_kv *kv = work->kv;
    const size_t pitch = (size_t)(p->heads * p->dim);

    if (!part.n)
        return;
    if (kv->method->pre_rope)
        tsri_kv_turn(work, w->worker, p, part.first, (size_t)part.n, x, pitch,
                     true);
    tsri_kv_scatter(work->view, &work->head->shape, kv->ctx->cpu, p->layer,
                    p->plane, part.first, (size_t)part.n, x, pitch);
}

tsr_error tsri_kv_decode_method(const tsri_kv_decoding *d,
                                tsri_kv_worker *worker, int g, size_t tile)
{
    const tsri_kv_work *work = &d->work;
    const walk w = { .d = d, .work = work, .worker = worker, .g = g };
    const tsri_kv_plane p = tsri_kv_plane_at(work->kv, g, 0);
    tsri_kv_tile t = tsri_kv_method_tile(work->kv, work->head, g, tile);
    const tsri_kv_rows part = wanted_of(d, (size_t)t.first, (size_t)t.tokens);
    const size_t skip = (part.first - (size_t)t.first) *
        (size_t)(p.heads * p.dim);
    const uint8_t *data;
    size_t size;

    t.boost = work->boost ? work->boost + t.first : NULL;
    TSR_TRY(find_level(&w, tile, 0, &data, &size));
    TSR_TRY(work->kv->method->decode(&t, work->kv->ctx->cpu, data, size,
                                     worker->x, worker->method));
    if (work->kv->method->raw)
        tsri_kv_copy_in(work->view, &work->head->shape, p.layer, p.plane,
                        part.first, (size_t)part.n, (const uint8_t *)worker->x +
                        skip * tsri_kv_dtype_bytes((tsr_kv_dtype)
                                                   work->head->dtype));
    else
        put_tile(&w, &p, part, worker->x + skip);
    return TSR_OK;
}
