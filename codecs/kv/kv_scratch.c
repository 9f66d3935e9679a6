/* SPDX-License-Identifier: BSD-2-Clause */
/* The caller's scratch memory, laid out for one call; and the planes of groups,
 * which everything is sized by. */
#include <math.h>
#include <string.h>
#include "codecs/kv/kv_internal.h"

/* ---- planes of a group ---- */

int tsri_kv_planes(const tsr_kv *kv, int group)
{
    const tsri_kv_group *g = &kv->profile->group[group];
    return g->plane >= 0 ? 1 : g->layers * kv->settings.shape.planes;
}

/* Channels of all planes of a layer. */
static int layer_channels(const tsr_kv_shape *shape)
{
    int n = 0;
    for (int p = 0; p < shape->planes; p++)
        n += tsri_kv_channels(shape, p);
    return n;
}

tsri_kv_plane tsri_kv_plane_at(const tsr_kv *kv, int group, int i)
{
    const tsri_kv_group *g = &kv->profile->group[group];
    const tsr_kv_shape *shape = &kv->settings.shape;
    tsri_kv_plane p = { .layer = g->first_layer, .plane = g->plane };

    if (g->plane < 0) {
        const int layer = i / shape->planes;
        p.layer += layer;
        p.plane = i % shape->planes;
        p.offset = layer * layer_channels(shape) +
            (p.plane ? tsri_kv_channels(shape, 0) : 0);
    }
    p.heads = shape->heads[p.plane];
    p.dim = shape->dim[p.plane];
    return p;
}

size_t tsri_kv_head_bytes(const tsr_kv *kv, const tsri_kv_head *head, int group)
{
    size_t bytes = 0;

    if (head->method)
        return 0;
    for (int i = 0; i < tsri_kv_planes(kv, group); i++) {
        const tsri_kv_plane p = tsri_kv_plane_at(kv, group, i);
        bytes += (size_t)p.heads * (size_t)(1 + p.dim);
    }
    bytes *= head->sinks;
    if (!kv->profiled && head->tokens > head->sinks)
        bytes += 3 * (size_t)kv->profile->group[group].n;
    return bytes;
}

int tsri_kv_live(const tsr_kv *kv, const tsri_kv_head *head, int group)
{
    const tsri_kv_group *g = &kv->profile->group[group];
    return kv->profiled ? tsri_kv_group_live(kv->profile, g, head->live_shift)
                        : g->n;
}

/* ---- bounds ---- */

tsri_kv_tile tsri_kv_method_tile(const tsr_kv *kv, const tsri_kv_head *head,
                                 int group, size_t tile)
{
    const tsri_kv_plane p = tsri_kv_plane_at(kv, group, 0);
    const size_t first = tile * (size_t)head->tile;

    return (tsri_kv_tile){
        .layer = p.layer, .plane = p.plane, .layers = head->shape.layers,
        .heads = p.heads, .dim = p.dim,
        .tokens = tsri_min(head->tile, (int)(head->tokens - first)),
        .first = first, .total = head->tokens,
        .dtype = (tsr_kv_dtype)head->dtype, .params = head->params,
        .profile = kv->model };
}

/* A unit of n tokens, all levels. */
static size_t unit_bound(const tsri_kv_head *head, int n, int coefs)
{
    size_t bytes = 0;

    for (int c = 0; n && c < coefs; c += head->span)
        bytes += sizeof(uint32_t) +
            tsri_rows_bound(n, tsri_min(coefs - c, head->span));
    return bytes * head->levels;
}

static size_t method_bound(const tsr_kv *kv, const tsri_kv_head *head,
                           int group, size_t tile)
{
    const tsri_kv_tile t = tsri_kv_method_tile(kv, head, group, tile);
    return kv->method->bound(&t);
}

size_t tsri_kv_units_bound(const tsr_kv *kv, const tsri_kv_head *head, int group)
{
    const size_t full = (size_t)head->tokens / (size_t)head->tile;
    const int rest = (int)(head->tokens % (uint32_t)head->tile);
    const int coefs = tsri_kv_live(kv, head, group);
    size_t bytes;

    if (!kv->method && unit_bound(head, head->tile, coefs) > UINT32_MAX)
        return SIZE_MAX;    /* the directory has 32 bits */
    if (!tsri_mul(full, kv->method ? method_bound(kv, head, group, 0)
                  : unit_bound(head, head->tile, coefs), &bytes) ||
        !tsri_add(bytes, !rest ? 0 : kv->method
                  ? method_bound(kv, head, group, full)
                  : unit_bound(head, rest, coefs), &bytes))
        return SIZE_MAX;
    return bytes;
}

/* ---- layout ---- */

/* Memory handed out piece by piece; without a base it only counts. */
typedef struct arena {
    uint8_t *base;
    size_t used;
    bool over;
} arena;

static void *take(arena *a, size_t count, size_t size)
{
    void *at = a->base ? a->base + a->used : NULL;
    size_t bytes;

    if (!tsri_mul(count, size, &bytes) || !tsri_add(bytes, 63, &bytes) ||
        !tsri_add(a->used, bytes & ~(size_t)63, &a->used))
        a->over = true;
    return at;
}

/* What sizes a worker's memory. */
typedef struct sizes {
    size_t n, r;            /* values and coefficients of the largest group */
    size_t block;           /* tokens that are floats at a time */
    size_t pitch, stage, rows, fixed, method_x, method_scratch;
} sizes;

static void measure_method(const tsr_kv *kv, const tsri_kv_head *head,
                           sizes *s)
{
    for (int g = 0; head->tokens && g < kv->profile->groups; g++) {
        const tsri_kv_tile t = tsri_kv_method_tile(kv, head, g, 0);
        const size_t scratch = kv->method->scratch(&t);
        const size_t x = (size_t)t.tokens * (size_t)(t.heads * t.dim);
        s->method_scratch = scratch > s->method_scratch ? scratch
                                                        : s->method_scratch;
        s->method_x = x > s->method_x ? x : s->method_x;
    }
}

static bool chained(const tsr_kv *kv, const tsri_kv_head *head)
{
    return kv->profiled && (head->flags & TSRI_KV_CHAINED) &&
        kv->profile->reference != TSRI_KV_REF_NONE;
}

static sizes measure(const tsr_kv *kv, const tsri_kv_head *head, bool encoding)
{
    sizes s = { 0 };

    for (int g = 0; g < kv->profile->groups; g++) {
        const size_t n = (size_t)kv->profile->group[g].n;
        const size_t r = (size_t)tsri_kv_live(kv, head, g);
        const size_t stage = encoding ? tsri_kv_units_bound(kv, head, g) : 0;
        s.n = n > s.n ? n : s.n;
        s.r = r > s.r ? r : s.r;
        s.stage = stage > s.stage ? stage : s.stage;
    }
    s.rows = encoding && !kv->profiled ? head->tokens
        : (size_t)tsri_min(head->tile, (int)head->tokens);
    s.block = kv->profiled && s.rows > TSRI_KV_BLOCK
        ? (size_t)tsri_min((int)s.rows, TSRI_KV_TURNED) : TSRI_KV_BLOCK;
    s.fixed = chained(kv, head) ? head->tokens : 0;
    if (kv->method) {
        measure_method(kv, head, &s);
        s.rows = s.r = 0;
    }
    s.pitch = (s.r + TSRI_ROWS_LANES - 1) / TSRI_ROWS_LANES * TSRI_ROWS_LANES;
    return s;
}

static size_t sets_of(const tsr_kv *kv, const tsri_kv_head *head)
{
    return (kv->profiled ? (size_t)kv->profile->matches : 1) *
        (head->flags & TSRI_KV_BOOSTS ? TSRI_KV_MAX_BOOST + 1 : 1);
}

static void lay_out_worker(arena *a, const tsr_kv *kv,
                           const tsri_kv_head *head, const sizes *s,
                           bool encoding, tsri_kv_worker *w)
{
    const size_t pairs = (size_t)kv->rope_what.dims / 2;
    size_t values;

    if (!tsri_mul(s->pitch, s->rows, &values))
        a->over = true;

    w->q = take(a, values, sizeof *w->q);
    for (int i = 0; i < 2; i++)
        w->r[i] = take(a, encoding && i + 1 < head->levels ? values : 0, 1);
    w->strips = take(a, sets_of(kv, head) * (s->pitch / TSRI_ROWS_LANES),
                     sizeof *w->strips);
    w->rows = take(a, kv->method ? 0 : tsri_rows_scratch(head->tile,
                                                         head->span), 1);
    w->x = take(a, kv->method ? s->method_x : s->block * s->n, sizeof *w->x);
    w->z = take(a, kv->profiled ? s->block * s->r : 0, sizeof *w->z);
    w->m = take(a, s->r, sizeof *w->m);
    w->fixed = take(a, s->fixed * s->r, sizeof *w->fixed);
    w->angles = take(a, 2 * pairs, sizeof *w->angles);
    w->high = take(a, 2 * pairs, sizeof *w->high);
    w->sum = take(a, s->r, sizeof *w->sum);
    w->part = take(a, s->r, sizeof *w->part);
    w->centre = take(a, s->r, sizeof *w->centre);
    w->cls = take(a, s->r, 1);
    w->set = take(a, s->r, 1);
    w->which = take(a, (size_t)head->tile, 1);
    w->stage = take(a, s->stage, 1);
    w->method = take(a, s->method_scratch, 1);
}

static void lay_out_shared(arena *a, tsri_kv_work *work, const sizes *s,
                           bool encoding)
{
    const tsri_kv_head *head = work->head;
    const tsr_kv *kv = work->kv;
    const bool ids = !encoding && (head->flags & TSRI_KV_TOKENS) &&
        (head->flags & TSRI_KV_NEEDS_TOKENS);
    const size_t planes =
        (size_t)(head->shape.layers * head->shape.planes);

    work->ids_room = take(a, ids ? head->tokens : 0, sizeof(int32_t));
    work->boost_room = take(a, head->flags & TSRI_KV_BOOSTS ? head->tokens : 0,
                            1);
    work->ref = take(a, s->fixed, sizeof *work->ref);
    work->match = take(a, s->fixed, 1);
    work->match_scratch = take(a, s->fixed ? tsri_kv_match_scratch(head->tokens)
                               : 0, 1);
    work->head_at = take(a, head->groups, sizeof(uint64_t));
    work->unit_at = take(a, encoding ? 0
                         : (size_t)head->groups * (size_t)head->tiles,
                         sizeof(uint64_t));
    work->energy = take(a, encoding ? planes : 0, sizeof(double));
    if (!chained(kv, head))
        work->ref = NULL;
}

bool tsri_kv_lay_out(tsri_kv_work *work, const tsr_kv *kv,
                     const tsri_kv_head *head, bool encoding, void *scratch,
                     size_t *bytes)
{
    const size_t threads = (size_t)kv->ctx->threads;
    const sizes s = measure(kv, head, encoding);
    arena a = { .base = scratch, .over = s.stage == SIZE_MAX };

    *work = (tsri_kv_work){ .kv = kv, .head = head, .pitch = s.pitch };
    work->worker = take(&a, threads, sizeof *work->worker);
    lay_out_shared(&a, work, &s, encoding);
    for (size_t i = 0; i < threads; i++) {
        tsri_kv_worker one = { 0 };
        lay_out_worker(&a, kv, head, &s, encoding, &one);
        if (scratch)
            work->worker[i] = one;
    }
    *bytes = a.used;
    return !a.over;
}

tsr_error tsri_kv_prepare(tsri_kv_work *work, const tsr_kv *kv,
                          const tsri_kv_head *head, bool encoding,
                          const tsr_kv_call *call)
{
    size_t bytes;

    if (!tsri_kv_lay_out(work, kv, head, encoding, NULL, &bytes) ||
        !call->scratch || call->scratch_size < bytes)
        return tsri_fail(kv->ctx, TSR_E_ARG, "scratch of %zu bytes where %zu "
                         "are needed", call->scratch ? call->scratch_size : 0,
                         bytes);
    if ((uintptr_t)call->scratch % 64)
        return tsri_fail(kv->ctx, TSR_E_ARG, "scratch is not 64-byte aligned");
    (void)tsri_kv_lay_out(work, kv, head, encoding, call->scratch, &bytes);
    return TSR_OK;
}
