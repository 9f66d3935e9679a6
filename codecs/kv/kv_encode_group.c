/* SPDX-License-Identifier: BSD-2-Clause */
/* A group of planes coded by a profile.  Runs on workers: nothing logs. */
#include <string.h>
#include "codecs/kv/kv_internal.h"

/* What a loop over the rows of a group carries along. */
typedef struct coding {
    const tsri_kv_work *work;
    tsri_kv_worker *worker;
    const tsri_kv_group *group;
    int g, coefs;
} coding;

/* Tokens first .. first + n - 1 as coefficients, worker->z. */
static tsr_error transform(const coding *c, size_t first, int n)
{
    const tsri_kv_work *work = c->work;
    const tsr_kv *kv = work->kv;
    const size_t pitch = (size_t)c->group->n, r = (size_t)c->coefs;
    tsri_kv_worker *worker = c->worker;

    for (int i = 0; i < tsri_kv_planes(kv, c->g); i++) {
        const tsri_kv_plane p = tsri_kv_plane_at(kv, c->g, i);
        float *x = worker->x + p.offset;
        if (!tsri_kv_gather(work->view, &kv->settings.shape, kv->ctx->cpu,
                            p.layer, p.plane, first, (size_t)n, x, pitch))
            return TSR_E_ARG;
        tsri_kv_turn(work, worker, &p, first, (size_t)n, x, pitch, false);
    }
    if (!r)
        return TSR_OK;
    if (work->ids && c->group->predict)
        tsri_kv_predict(kv->profile, c->group, kv->ctx->cpu, work->ids, first, n,
                        true, worker->x, pitch);
    tsri_kv_forward(kv->profile, c->group, kv->ctx->cpu, worker->x, pitch, n,
                    c->coefs, worker->z, r);
    return TSR_OK;
}

static bool quantise_row(const coding *c, size_t token, size_t at,
                         const float *z)
{
    const tsri_kv_work *work = c->work;
    const float inverse =
        work->inverse[0] * (float)(1 << tsri_kv_boost(work, token));
    const size_t row = at * work->pitch;
    const float *m = NULL;
    bool good;

    if (work->ref) {
        tsri_kv_carry_in(work, c->worker, c->group, c->coefs, token,
                         c->worker->m);
        m = c->worker->m;
    }
    good = tsri_kv_quantise(work->kv->ctx->cpu, z, m, inverse,
                            (size_t)c->coefs, c->worker->q + row, NULL);
    tsri_kv_coarsen_all(work, c->worker, row, (size_t)c->coefs);
    if (work->ref)
        tsri_kv_carry_on(work, c->worker, c->group, c->coefs, token, at);
    return good;
}

static tsr_error quantise_tile(const coding *c, tsri_kv_rows rows)
{
    const size_t r = (size_t)c->coefs;

    for (int at = 0; at < rows.n; at += TSRI_KV_TURNED) {
        const int n = tsri_min(rows.n - at, TSRI_KV_TURNED);
        const size_t first = rows.first + (size_t)at;
        TSR_TRY(transform(c, first, n));
        for (int i = 0; i < n; i++)
            if (!quantise_row(c, first + (size_t)i, (size_t)(at + i),
                              c->worker->z + (size_t)i * r))
                return TSR_E_ARG;
    }
    return TSR_OK;
}

tsr_error tsri_kv_encode_group(const tsri_kv_work *work, tsri_kv_worker *worker,
                               int g, uint8_t *out, uint8_t *entries,
                               size_t *size)
{
    const tsri_kv_head *head = work->head;
    const coding c = { work, worker, &work->kv->profile->group[g], g,
                       tsri_kv_live(work->kv, head, g) };

    *size = 0;
    TSR_TRY(tsri_kv_put_sinks(work, worker, g, out));
    tsri_kv_strips_reset(worker);
    for (size_t tile = 0; tile < (size_t)head->tiles; tile++) {
        const tsri_kv_rows rows = tsri_kv_tile_rows(head, tile);
        TSR_TRY(quantise_tile(&c, rows));
        tsri_kv_put_unit(work, worker, g, tile, c.coefs, 0, rows,
                         entries + tile * 8 * head->levels, size);
    }
    return TSR_OK;
}
