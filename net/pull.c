/* SPDX-License-Identifier: BSD-2-Clause */
/* Caches from stores: the controller says what is fetched next, transfer threads
 * do it, the coding thread decodes. */
#include "net/pull.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- chunks; lock held by all here ---- */

int tsri_body_levels(const tsri_body *b, int layer)
{
    int levels = 0;
    while (levels < b->head.levels &&
           b->have[levels * b->head.layers + layer])
        levels++;
    return levels;
}

void tsri_body_release(tsri_body *b)
{
    if (--b->users)
        return;
    free(b->begin);
    free(b->data);
    free(b->object);
    free(b->have);
    free(b);
}

void tsri_pull_drop(tsri_piece *p)
{
    if (p->body)
        tsri_body_release(p->body);
    p->body = NULL;
}

void tsri_pull_enqueue(tsri_pull *u, int chunk, int queue)
{
    tsri_queue *q = &u->queue[queue];
    if (u->piece[chunk].queued >> queue & 1)
        return;
    u->piece[chunk].queued |= (uint8_t)(1 << queue);
    q->chunk[(q->first + q->count++) % u->chunks] = chunk;
}

/* The number of levels that a layer counts for: one that gets no more counts as
 * if it had them all. */
static uint8_t *counted(const tsr_kv_job *job, tsri_piece *p, int layer)
{
    return &p->levels[job->shape.layers + layer];
}

static int usable(const tsr_kv_job *job, tsri_piece *p, int levels)
{
    if (p->fate == TSRI_PULL_REMADE)
        return 1;
    for (int l = 0; p->levels && l < job->shape.layers; l++)
        if (*counted(job, p, l) < levels)
            return 0;
    return p->levels != NULL;
}

static void count(tsr_kv_job *job, tsri_piece *p, int layer, int levels)
{
    tsri_pull *u = job->state;
    uint8_t *now = counted(job, p, layer);

    while (*now < levels)
        u->ready[(*now)++][layer]++;
}

static int make_levels(tsr_kv_job *job, tsri_piece *p)
{
    if (!p->levels)
        p->levels = calloc(2, (size_t)job->shape.layers);
    if (!p->levels)
        tsri_job_fail(job, TSR_E_NOMEM, "out of memory");
    return p->levels != NULL;
}

void tsri_pull_raise(tsr_kv_job *job, int chunk, int layer, int levels, int all)
{
    tsri_pull *u = job->state;
    tsri_piece *p = &u->piece[chunk];

    if (!make_levels(job, p))
        return;
    p->levels[layer] = (uint8_t)levels;
    count(job, p, layer, all ? TSRI_PULL_LEVELS : levels);
}

/* ---- what next ---- */

static void abort_lane(tsri_lane *lane)
{
    atomic_store(&lane->aborted, 1);
    tsr_store_cancel(lane->store);
    if (lane->near)
        tsr_store_cancel(lane->near);
}

static void begin_remake(tsr_kv_job *job, tsri_pull *u, const tsr_kv_step *step)
{
    u->remake = step->chunk;
    u->remake_id = step->id;
    u->told_remake = 0;
    u->piece[step->chunk].fate = TSRI_PULL_REMAKE;
    tsri_pull_drop(&u->piece[step->chunk]);
    for (int i = 0; i < job->set.connections; i++)
        if (job->lane[i].fetching == step->chunk)
            abort_lane(&job->lane[i]);
}

/* There is no time for them. */
static void abort_finer(tsr_kv_job *job)
{
    for (int i = 0; i < job->set.connections; i++)
        if (job->lane[i].fetching >= 0 && job->lane[i].finer)
            abort_lane(&job->lane[i]);
}

static int may_be_near(const tsr_kv_job *job, int chunk)
{
    const tsri_pull *u = job->state;
    return job->set.cache && !u->near_dead && !u->piece[chunk].asked_near;
}

void tsri_pull_pump(tsr_kv_job *job)
{
    tsri_pull *u = job->state;

    for (;;) {
        const double now = tsri_job_now(job);
        const tsr_kv_step step =
            tsr_kv_control_next(u->control, now, u->idle > u->steps);
        u->done = step.action == TSR_KV_DONE;
        u->until = HUGE_VAL;
        if (step.action == TSR_KV_FETCH && u->dead &&
            !may_be_near(job, step.chunk)) {
            tsr_kv_control_failed(u->control, step.id, now, 1);
        } else if (step.action == TSR_KV_FETCH) {
            u->step[u->steps++] = step;
        } else if (step.action == TSR_KV_RECOMPUTE) {
            begin_remake(job, u, &step);
        } else {
            if (step.action == TSR_KV_WAIT)
                u->until = step.until;
            else
                abort_finer(job);
            break;
        }
    }
    pthread_cond_broadcast(&job->change);
}

void tsr_kv_job_recomputed(tsr_kv_job *job, int chunk)
{
    if (!job || job->kind != &tsri_pull_kind)
        return;
    tsri_pull *u = job->state;
    pthread_mutex_lock(&job->lock);
    if (!job->ended && chunk >= 0 && chunk == u->remake && u->told_remake) {
        tsri_piece *p = &u->piece[chunk];
        p->fate = TSRI_PULL_REMADE;
        u->remake = -1;
        for (int l = 0; make_levels(job, p) && l < job->shape.layers; l++)
            count(job, p, l, TSRI_PULL_LEVELS);
        job->result.recomputed++;
        tsr_kv_control_recomputed(u->control, u->remake_id, tsri_job_now(job));
        tsri_pull_pump(job);
    }
    pthread_mutex_unlock(&job->lock);
}

/* ---- transfer threads ---- */

static void transfer(tsri_lane *lane)
{
    tsr_kv_job *job = lane->job;
    tsri_pull *u = job->state;

    pthread_mutex_lock(&job->lock);
    while (!tsri_job_stopped(job) && !u->finished) {
        if (!u->steps) {
            tsri_job_sleep(job, HUGE_VAL);
            continue;
        }
        const tsr_kv_step step = u->step[0];
        memmove(u->step, u->step + 1, (size_t)--u->steps * sizeof *u->step);
        u->idle--;
        tsri_pull_fetch(lane, &step);
        u->idle++;
        tsri_pull_pump(job);
    }
    pthread_mutex_unlock(&job->lock);
}

/* ---- the end ---- */

static void sum_levels(tsr_kv_job *job, tsri_pull *u)
{
    double sum = 0;
    int n = 0;

    for (int i = 0; i < job->chunks; i++) {
        const tsri_piece *p = &u->piece[i];
        if (p->fate != TSRI_PULL_OPEN || !p->levels)
            continue;
        n++;
        for (int l = 0; l < job->shape.layers; l++)
            sum += (double)p->levels[l] / job->shape.layers;
    }
    job->result.mean_levels = n ? sum / n : 0;
}

static void state(tsr_kv_job *job, tsr_kv_job_result *r)
{
    tsri_pull *u = job->state;
    r->bytes = atomic_load(&u->bytes);
    r->missing = 0;
    for (int i = 0; i < job->chunks; i++)
        r->missing += !usable(job, &u->piece[i], job->set.floor);
}

static void end(tsr_kv_job *job)
{
    tsri_pull *u = job->state;
    tsr_kv_job_result *r = &job->result;
    int gap = 0;

    for (int i = 0; i < job->chunks; i++) {
        const int good = usable(job, &u->piece[i], job->set.floor);
        r->missing += !good;
        gap |= !good;
        r->tokens += gap ? 0 : tsri_chunk_tokens(job, i);
    }
    sum_levels(job, u);
    r->bytes = atomic_load(&u->bytes);
    r->retried += tsri_job_retried(job);
    r->late = job->set.deadline > 0 &&
        (r->missing || !(r->usable > 0) || r->usable > job->set.deadline);
    r->error = job->error;
    if (!r->error && u->dead)
        r->error = u->dead;
    if (!r->error && r->missing)
        r->error = TSR_E_MISSING;
}

static void close_pull(tsr_kv_job *job)
{
    tsri_pull *u = job->state;

    if (!u)
        return;
    for (int i = 0; u->piece && i < job->chunks; i++) {
        tsri_pull_drop(&u->piece[i]);
        free(u->piece[i].levels);
    }
    tsr_kv_control_close(&u->control);
    free(u->piece);
    free(u->step);
    free(u->ready[0]);
    free(u->queue[0].chunk);
    free(u);
}

const tsri_job_kind tsri_pull_kind = {
    transfer, tsri_pull_code, state, end, close_pull
};

/* ---- begin ---- */

static tsr_error open_control(tsr_kv_job *job, tsri_pull *u)
{
    const tsr_kv_stream_settings *set = &job->set;
    tsr_kv_control_settings s;

    tsr_kv_control_settings_init(&s);
    if (set->policy)
        s.policy = set->policy;
    s.chunks = job->chunks;
    s.layers = job->shape.layers;
    s.levels = TSRI_PULL_LEVELS;
    s.deadline = set->deadline;
    s.floor = set->floor;
    s.ceiling = set->ceiling;
    s.recompute = set->events.recompute ? set->recompute : NULL;
    return tsr_kv_control_open(&u->control, &s);
}

static int make_tables(tsr_kv_job *job, tsri_pull *u)
{
    const size_t layers = (size_t)job->shape.layers;
    const size_t chunks = (size_t)job->chunks;

    u->piece = calloc(chunks, sizeof *u->piece);
    u->step = calloc((size_t)job->set.connections, sizeof *u->step);
    u->ready[0] = calloc(TSRI_PULL_LEVELS * layers, sizeof *u->ready[0]);
    u->queue[0].chunk = calloc(2 * chunks, sizeof *u->queue[0].chunk);
    if (!u->piece || !u->step || !u->ready[0] || !u->queue[0].chunk)
        return 0;
    u->queue[1].chunk = u->queue[0].chunk + chunks;
    for (int k = 1; k < TSRI_PULL_LEVELS; k++)
        u->ready[k] = u->ready[k - 1] + layers;
    return 1;
}

static tsr_error open_pull(tsr_kv_job *job)
{
    tsri_pull *u = calloc(1, sizeof *u);

    job->state = u;
    job->kind = &tsri_pull_kind;
    if (!u || !make_tables(job, u))
        return TSR_E_NOMEM;
    u->chunks = job->chunks;
    u->idle = job->set.connections;
    u->remake = -1;
    u->ceiling = job->set.ceiling ? job->set.ceiling : TSRI_PULL_LEVELS;
    return open_control(job, u);
}

tsr_error tsr_kv_pull_begin(tsr_kv_job **job, const tsr_kv_stream_settings *set,
                            const tsr_kv_shape *shape, const tsr_kv_view *view,
                            const int32_t *ids, size_t n)
{
    if (!job)
        return TSR_E_ARG;
    *job = NULL;
    tsr_kv_stream_settings own;
    if (!shape || !tsri_settings_good(&own, set) || (!view && !own.arrival))
        return TSR_E_ARG;
    tsr_error error = tsri_job_open(job, &own, shape, own.arrival ? NULL : view,
                                    ids, n);
    if (!error)
        error = open_pull(*job);
    if (!error)
        error = tsri_job_start(*job);
    if (error)
        tsr_kv_job_close(job);
    return error;
}
