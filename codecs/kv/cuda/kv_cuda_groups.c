/* SPDX-License-Identifier: BSD-2-Clause */
/* The groups of a coder for its device: where each is among the values of a token,
 * and what a profile says of it. */
#include <string.h>
#include "codecs/kv/cuda/kv_device.h"

enum { ALIGN = 256, PITCH = 8 };    /* bytes; coefficients */

/* Arrays of a profile in one piece of device memory. */
typedef struct arena {
    tsr_kv_cuda *g;
    uint8_t *base;          /* NULL: only counts */
    size_t used;
} arena;

/* Brings n numbers of 4 bytes (or, without, bytes) there. */
static tsr_error bring(arena *a, const void *from, size_t n, size_t size, void *to)
{
    uint8_t *at = a->base + a->used;

    if (!from)
        return TSR_OK;
    a->used += (n * size + ALIGN - 1) / ALIGN * ALIGN;
    if (!a->base)
        return TSR_OK;
    memcpy(to, &at, sizeof at);
    return tsri_cuda_upload(a->g->gpu, at, from, n * size);
}

static tsr_error bring_group(arena *a, const tsri_kv_group *from,
                             tsri_kv_gpu_group *to)
{
    const tsri_kv_profile *profile = a->g->kv->profile;
    const size_t n = (size_t)from->n, r = (size_t)from->r;
    const size_t rows = (size_t)profile->matches;
    const size_t words = (size_t)(profile->predictors * profile->hidden) + 1;

    TSR_TRY(bring(a, from->mean, n, sizeof(float), &to->mean));
    TSR_TRY(bring(a, from->scale, n, sizeof(float), &to->scale));
    TSR_TRY(bring(a, from->unscale, n, sizeof(float), &to->unscale));
    TSR_TRY(bring(a, from->forward, n * r, sizeof(float), &to->forward));
    TSR_TRY(bring(a, from->inverse, n * r, sizeof(float), &to->inverse));
    TSR_TRY(bring(a, from->predict, n * words, sizeof(float), &to->words));
    TSR_TRY(bring(a, from->rho, rows * r, 1, &to->rho));
    return bring(a, from->cls, rows * r, 1, &to->cls);
}

/* What all groups of the profile have, twice: to know how much it is. */
static tsr_error bring_groups(tsr_kv_cuda *g, tsri_kv_gpu_group *group)
{
    const tsri_kv_profile *profile = g->kv->profile;
    arena a = { .g = g };

    for (int i = 0; i < profile->groups; i++)
        TSR_TRY(bring_group(&a, &profile->group[i], &group[i]));
    TSR_TRY(tsri_kv_gpu_room(g, a.used, 1, &a.base));
    a.used = 0;
    for (int i = 0; i < profile->groups; i++)
        TSR_TRY(bring_group(&a, &profile->group[i], &group[i]));
    return TSR_OK;
}

static int first_plane(const tsr_kv *kv, int group)
{
    const tsri_kv_plane p = tsri_kv_plane_at(kv, group, 0);

    return p.layer * kv->settings.shape.planes + p.plane;
}

/* Places of groups in a token's values, with this live shift; totals to *j. */
static void place_groups(const tsr_kv *kv, int live_shift, tsri_kv_gpu_group *group,
                         tsri_kv_gpu_job *j)
{
    j->all_segments = j->most_coefs = j->most_values = 0;
    j->all_pitch = j->all_values = 0;
    for (int i = 0; i < kv->profile->groups; i++) {
        const tsri_kv_group *from = &kv->profile->group[i];
        tsri_kv_gpu_group *to = &group[i];
        to->first_plane = first_plane(kv, i);
        to->planes = tsri_kv_planes(kv, i);
        to->values = from->n;
        to->columns = from->r;
        to->coefs = tsri_kv_group_live(kv->profile, from, live_shift);
        to->pitch = tsri_ceil_div(to->coefs, PITCH) * PITCH;
        to->segments = tsri_ceil_div(to->coefs, j->span);
        to->segment = j->all_segments;
        to->pitch_before = j->all_pitch;
        to->values_before = j->all_values;
        j->all_segments += to->segments;
        j->all_pitch += (size_t)to->pitch;
        j->all_values += (size_t)to->values;
        j->most_coefs = tsri_max(j->most_coefs, to->coefs);
        j->most_values = tsri_max(j->most_values, to->values);
        j->transforms |= from->forward != NULL;
    }
}

/* Brings groups placed for a job, and of what groups its segments are. */
static tsr_error put_placed(tsr_kv_cuda *g, const tsri_kv_gpu_group *group,
                            tsri_kv_gpu_job *j)
{
    uint16_t *of = tsri_alloc(g->kv->ctx, (size_t)j->all_segments + 1, sizeof *of);
    tsr_error error, waited;

    if (!of)
        return tsri_nomem(g->kv->ctx);
    for (int i = 0; i < j->groups; i++)
        for (int s = 0; s < group[i].segments; s++)
            of[group[i].segment + s] = (uint16_t)i;
    error = tsri_kv_gpu_put(g, of, (size_t)j->all_segments, sizeof *of,
                            &j->segment_group);
    if (!error)
        error = tsri_kv_gpu_put(g, group, (size_t)j->groups, sizeof *group,
                                &j->group);
    waited = tsri_cuda_sync(g->gpu);        /* both change, or go */
    tsri_free(g->kv->ctx, of);
    return error ? error : waited;
}

static tsr_error put_planes(tsr_kv_cuda *g)
{
    const tsr_kv *kv = g->kv;
    const int planes = kv->settings.shape.planes;
    const size_t n = (size_t)kv->settings.shape.layers * (size_t)planes;
    tsri_kv_gpu_plane *plane = tsri_alloc(kv->ctx, n, sizeof *plane);
    tsr_error error, waited;

    if (!plane)
        return tsri_nomem(kv->ctx);
    for (int i = 0; i < kv->profile->groups; i++)
        for (int k = 0; k < tsri_kv_planes(kv, i); k++) {
            const tsri_kv_plane p = tsri_kv_plane_at(kv, i, k);
            plane[p.layer * planes + p.plane] = (tsri_kv_gpu_plane){ i, p.offset };
        }
    error = tsri_kv_gpu_put(g, plane, n, sizeof *plane, &g->encoder.plane);
    waited = tsri_cuda_sync(g->gpu);
    tsri_free(kv->ctx, plane);
    return error ? error : waited;
}

/* Live and class shifts of the encoder, live shift of what is decoded. */
static void set_shifts(tsr_kv_cuda *g)
{
    const tsr_kv *kv = g->kv;
    tsri_kv_head head = { 0 };

    if (kv->profiled)
        tsri_kv_set_shifts(kv, &head, kv->settings.levels);
    g->encoder.class_shift = head.class_shift;
    g->live_shift[0] = g->live_shift[1] = head.live_shift;
    if (kv->profiled && kv->live_shift != INT8_MIN)
        g->live_shift[1] = (int8_t)kv->live_shift;
}

tsr_error tsri_kv_gpu_put_groups(tsr_kv_cuda *g)
{
    tsr_context *ctx = g->kv->ctx;
    tsri_kv_gpu_group *group = tsri_calloc(ctx, (size_t)g->kv->profile->groups,
                                           sizeof *group);
    tsr_error error = group ? put_planes(g) : tsri_nomem(ctx);

    set_shifts(g);
    if (!error)
        error = bring_groups(g, group);
    if (!error) {
        place_groups(g->kv, g->live_shift[0], group, &g->encoder);
        error = put_placed(g, group, &g->encoder);
    }
    g->decoder = g->encoder;
    if (!error) {
        place_groups(g->kv, g->live_shift[1], group, &g->decoder);
        error = put_placed(g, group, &g->decoder);
    }
    tsri_free(ctx, group);
    return error;
}
