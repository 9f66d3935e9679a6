/* SPDX-License-Identifier: BSD-2-Clause */
/* The coding thread of a pull: what can be decoded is, what makes layers usable
 * first; and the caller is told. */
#include "net/pull.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH_BYTES = 4 << 20 };     /* of values, a thread and call: some 10 ms */

/* A decoder, kept as long as objects are of one kind; and room for layers that
 * become finer: they are decoded there and then copied, so that a damaged unit
 * cannot spoil what is in use. */
typedef struct coder {
    tsri_lane *lane;
    tsr_kv_job *job;
    tsri_pull *pull;
    tsr_kv *kv;
    tsr_kv_info info;       /* that kv was opened for */
    size_t tokens;          /* that scratch is enough for */
    tsr_kv_call call;
    void **window, **room_base;
    uint8_t *room;
    size_t room_size;
} coder;

/* Some layers of a chunk that are decoded in one call. */
typedef struct run {
    int chunk, first, layers;
    int levels;             /* to */
    int finer;              /* they are in use already */
    tsri_body *body;
} run;

/* ---- the decoder ---- */

/* Field by field, for bytes between them may hold anything. */
static int same_rope(const tsr_kv_rope *a, const tsr_kv_rope *b)
{
    return a->layout == b->layout && a->offset == b->offset &&
        a->dims == b->dims && a->theta == b->theta &&
        a->scaling == b->scaling && a->factor == b->factor &&
        a->low_factor == b->low_factor && a->high_factor == b->high_factor &&
        a->original == b->original;
}

static int same_kind(const tsr_kv_info *a, const tsr_kv_info *b)
{
    return !strcmp(a->method, b->method) && a->levels == b->levels &&
        a->tile == b->tile && a->span == b->span &&
        a->live_shift == b->live_shift && a->sinks == b->sinks &&
        a->dtype == b->dtype && a->step[0] == b->step[0] &&
        a->step[1] == b->step[1] &&
        !memcmp(a->params, b->params, sizeof a->params) &&
        same_rope(&a->rope, &b->rope);
}

static tsr_error open_decoder(coder *c, const tsr_kv_info *info)
{
    if (c->kv && same_kind(&c->info, info) && info->tokens <= c->tokens)
        return TSR_OK;
    tsr_kv_close(&c->kv);
    c->info = *info;
    c->tokens = (size_t)info->tokens;
    tsr_error error = tsr_kv_open_for(&c->kv, c->lane->context, info,
                                      c->job->set.profile);
    if (!error)
        error = tsri_call(c->kv, c->tokens, &c->call);
    if (error)
        tsr_kv_close(&c->kv);
    return error;
}

/* ---- by way of a room of our own ---- */

typedef struct strides {
    size_t element, head, token;
} strides;

static strides room_strides(const coder *c)
{
    const tsr_kv_shape *s = &c->job->shape;
    strides r = { .element = tsri_element(c->job->view.dtype) };

    for (int p = 0; p < s->planes; p++) {
        const size_t head = (size_t)s->dim[p] * r.element;
        r.head = head > r.head ? head : r.head;
    }
    for (int p = 0; p < s->planes; p++) {
        const size_t token = (size_t)s->heads[p] * r.head;
        r.token = token > r.token ? token : r.token;
    }
    return r;
}

static tsr_error make_room(coder *c, const run *r, size_t tokens,
                           tsr_kv_view *room)
{
    const tsr_kv_shape *s = &c->job->shape;
    const strides st = room_strides(c);
    const size_t plane = st.token * tokens;
    const size_t need = plane * (size_t)(r->layers * s->planes);

    if (need > c->room_size) {
        free(c->room);
        c->room_size = 0;
        c->room = malloc(need);
        if (!c->room)
            return TSR_E_NOMEM;
        c->room_size = need;
    }
    *room = (tsr_kv_view){ .dtype = c->job->view.dtype, .base = c->room_base,
                           .token_stride = (ptrdiff_t)st.token,
                           .head_stride = (ptrdiff_t)st.head,
                           .tokens = tokens };
    memset(c->room_base, 0, (size_t)tsri_planes(s) * sizeof *c->room_base);
    for (int i = 0; i < r->layers * s->planes; i++)
        if (c->window[r->first * s->planes + i])
            c->room_base[r->first * s->planes + i] = c->room + (size_t)i * plane;
    return TSR_OK;
}

static void copy_plane(const coder *c, const tsr_kv_view *from,
                       const tsr_kv_view *to, int plane)
{
    const tsr_kv_shape *s = &c->job->shape;
    const size_t row = (size_t)s->dim[plane % s->planes] *
        tsri_element(from->dtype);

    for (size_t t = 0; t < from->tokens; t++) {
        const uint8_t *p = (const uint8_t *)from->base[plane] +
            (ptrdiff_t)t * from->token_stride;
        uint8_t *q = tsri_token_at(to, plane, t);
        for (int h = 0; h < s->heads[plane % s->planes]; h++)
            memcpy(q + h * to->head_stride, p + h * from->head_stride, row);
    }
}

static void copy_run(const coder *c, const run *r, const tsr_kv_view *from,
                     const tsr_kv_view *to)
{
    const int planes = c->job->shape.planes;

    for (int i = r->first * planes; i < (r->first + r->layers) * planes; i++)
        if (from->base[i])
            copy_plane(c, from, to, i);
}

/* Lock not held. */
static tsr_error decode(coder *c, const run *r)
{
    const tsr_kv_part part = { .first_layer = r->first, .layers = r->layers,
                               .level = r->levels };
    const tsri_body *b = r->body;
    tsr_kv_view view, room;
    tsr_error error = open_decoder(c, &b->info);

    if (error)
        return error;
    view = tsri_chunk_view(c->job, r->chunk, c->window);
    if (r->finer) {
        error = make_room(c, r, view.tokens, &room);
        if (error)
            return error;
    }
    c->call.token_ids = c->job->ids + tsri_chunk_first(c->job, r->chunk);
    error = tsr_kv_decode(c->kv, b->object, (size_t)b->head.object_bytes, &part,
                          r->finer ? &room : &view, &c->call);
    if (!error && r->finer)
        copy_run(c, r, &room, &view);
    return error;
}

/* ---- what to decode; lock held from here on ---- */

/* Levels that are used of those that came, which may be more than were asked for:
 * while more is on its way only what makes it usable, after the deadline only what
 * must be. */
static int use_levels(const coder *c, const tsri_piece *p, int layer)
{
    const tsr_kv_job *job = c->job;
    const int have = tsri_body_levels(p->body, layer);
    const int late = job->set.deadline > 0 &&
        tsri_job_now(job) >= job->set.deadline;
    const int most = p->busy ? 1 : late ? job->set.floor : c->pull->ceiling;
    return have < most ? have : most;
}

static int done_levels(const tsri_piece *p, int layer)
{
    return p->levels ? p->levels[layer] : 0;
}

static int next_run(const coder *c, run *r)
{
    const tsr_kv_job *job = c->job;
    const tsri_piece *p = &c->pull->piece[r->chunk];
    const size_t bytes = tsri_layer_bytes(&job->shape,
                                          tsri_chunk_tokens(job, r->chunk));
    const size_t threads = (size_t)tsr_context_threads(c->lane->context);
    const size_t most = BATCH_BYTES * threads / bytes + 1;
    int l = 0;

    while (l < job->shape.layers && use_levels(c, p, l) <= done_levels(p, l))
        l++;
    if (l == job->shape.layers)
        return 0;
    r->first = l;
    r->levels = use_levels(c, p, l);
    r->finer = done_levels(p, l) > 0;
    while (l < job->shape.layers && (size_t)(l - r->first) < most &&
           use_levels(c, p, l) == r->levels &&
           done_levels(p, l) < r->levels &&
           (done_levels(p, l) > 0) == r->finer)
        l++;
    r->layers = l - r->first;
    r->body = p->body;
    return 1;
}

static void report_decoded(coder *c, tsri_piece *p)
{
    for (const int n = p->waiting; p->waiting; p->waiting--)
        tsr_kv_control_decoded(c->pull->control, p->id, p->spent / n);
    p->spent = 0;
}

/* It passed all checks and is none all the same: nothing that can be had again
 * would be better. */
static void give_up(coder *c, int chunk, const char *reason)
{
    tsri_piece *p = &c->pull->piece[chunk];

    tsri_job_note(c->job, "chunk %d: %s", chunk, reason);
    p->bad = 2;
    p->waiting = 0;
    p->spent = 0;
    tsri_pull_drop(p);
    tsr_kv_control_failed(c->pull->control, p->id, tsri_job_now(c->job), 1);
}

static void fail_run(coder *c, const run *r, tsr_error error)
{
    const char *reason = *c->lane->reason ? c->lane->reason
                                          : tsr_error_string(error);
    if (error == TSR_E_NOMEM)
        tsri_job_fail(c->job, error, "out of memory");
    else if (c->pull->piece[r->chunk].body == r->body)
        give_up(c, r->chunk, reason);
}

/* A body whose chunk can become no finer is of no use any more. */
static void release_when_whole(coder *c, tsri_piece *p)
{
    const tsri_body *b = p->body;
    const int most = c->pull->ceiling < b->head.levels ? c->pull->ceiling
                                                       : b->head.levels;
    for (int l = 0; l < b->head.layers; l++)
        if (done_levels(p, l) < most)
            return;
    p->whole = 1;
    tsri_pull_drop(p);
}

static void code_run(coder *c, run *r)
{
    tsr_kv_job *job = c->job;
    tsri_piece *p = &c->pull->piece[r->chunk];

    r->body->users++;
    pthread_mutex_unlock(&job->lock);
    const double begin = tsri_job_now(job);
    *c->lane->reason = 0;
    const tsr_error error = decode(c, r);
    const double spent = tsri_job_now(job) - begin;
    pthread_mutex_lock(&job->lock);
    job->result.coding += spent;
    p->spent += spent;
    if (error)
        fail_run(c, r, error);
    for (int i = 0; !error && p->fate == TSRI_PULL_OPEN && i < r->layers; i++)
        tsri_pull_raise(job, r->chunk, r->first + i, r->levels,
                        r->levels >= r->body->head.levels);
    tsri_body_release(r->body);
}

/* One run of a chunk; it comes to the end of its queue if there is more. */
static void code_chunk(coder *c, int chunk, int queue)
{
    tsri_piece *p = &c->pull->piece[chunk];
    run r = { .chunk = chunk };

    if (p->body && p->fate == TSRI_PULL_OPEN && next_run(c, &r)) {
        code_run(c, &r);
        tsri_pull_enqueue(c->pull, chunk, queue);
        return;
    }
    if (p->busy)
        return;
    report_decoded(c, p);
    if (p->body)
        release_when_whole(c, p);
    tsri_pull_pump(c->job);
}

/* ---- arrivals instead ---- */

static int least_levels(const coder *c, const tsri_body *b)
{
    const int most = c->pull->ceiling;
    int least = b->head.levels < most ? b->head.levels : most;
    for (int l = 0; l < b->head.layers; l++) {
        const int n = tsri_body_levels(b, l);
        least = n < least ? n : least;
    }
    return least;
}

static tsr_error call_arrival(coder *c, int chunk, tsri_body *b, int levels)
{
    tsr_kv_job *job = c->job;
    const tsr_kv_arrival a = {
        .chunk = chunk, .first_token = tsri_chunk_first(job, chunk),
        .tokens = tsri_chunk_tokens(job, chunk), .object = b->object,
        .size = (size_t)b->head.object_bytes, .levels = levels
    };

    pthread_mutex_lock(&job->emit);
    const tsr_error error = job->set.arrival(job->set.arrival_cookie, &a);
    pthread_mutex_unlock(&job->emit);
    return error;
}

/* Gives a chunk to the caller if it has all levels it will get. */
static void arrive(coder *c, int chunk, int last)
{
    tsr_kv_job *job = c->job;
    tsri_piece *p = &c->pull->piece[chunk];
    tsri_body *b = p->body;

    if (p->busy || !b || p->arrived || p->fate != TSRI_PULL_OPEN)
        return;
    const int levels = least_levels(c, b);
    const int most = c->pull->ceiling < b->head.levels ? c->pull->ceiling
                                                       : b->head.levels;
    if (levels < (last ? 1 : most)) {
        report_decoded(c, p);
        return;
    }
    p->arrived = 1;
    b->users++;
    pthread_mutex_unlock(&job->lock);
    const double begin = tsri_job_now(job);
    const tsr_error error = call_arrival(c, chunk, b, levels);
    const double spent = tsri_job_now(job) - begin;
    pthread_mutex_lock(&job->lock);
    p->spent += spent;
    job->result.coding += spent;
    if (error)
        give_up(c, chunk, tsr_error_string(error));
    for (int l = 0; !error && l < b->head.layers; l++)
        tsri_pull_raise(job, chunk, l, levels, levels >= b->head.levels);
    tsri_body_release(b);
    report_decoded(c, p);
    p->whole = !error;
    tsri_pull_drop(p);
    tsri_pull_pump(job);
}

/* ---- the caller is told ---- */

/* Layers that all chunks have with that many levels and were not told yet. */
static int news(const tsr_kv_job *job, const tsri_pull *u, int level)
{
    int end = u->told[level];
    while (end < job->shape.layers && u->ready[level][end] == job->chunks)
        end++;
    return end;
}

/* Tells one piece of news; 0: there is none. */
static int tell_layers(tsr_kv_job *job, tsri_pull *u)
{
    for (int k = u->most_levels > 1 ? u->most_levels - 1 : 0; k >= 0; k--) {
        const int first = u->told[k], end = news(job, u, k);
        if (end == first)
            continue;
        for (int j = 0; j <= k; j++)
            if (u->told[j] < end)
                u->told[j] = end;
        if (u->told[0] == job->shape.layers && !(job->result.usable > 0))
            job->result.usable = tsri_job_now(job);
        if (!job->set.events.layers)
            return 1;
        pthread_mutex_unlock(&job->lock);
        pthread_mutex_lock(&job->emit);
        job->set.events.layers(job->set.events.cookie, first, end - first, k + 1);
        pthread_mutex_unlock(&job->emit);
        pthread_mutex_lock(&job->lock);
        return 1;
    }
    return 0;
}

/* Something before the chunk is still to be decoded. */
static int owes_before(const tsri_pull *u, int chunk)
{
    const tsri_queue *q = &u->queue[0];
    for (int i = 0; i < q->count; i++)
        if (q->chunk[(q->first + i) % u->chunks] < chunk)
            return 1;
    return 0;
}

/* The caller is to make a chunk, when all before it are usable. */
static int tell_remake(tsr_kv_job *job, tsri_pull *u)
{
    if (u->remake < 0 || u->told_remake || owes_before(u, u->remake))
        return 0;
    const int chunk = u->remake;
    u->told_remake = 1;
    pthread_mutex_unlock(&job->lock);
    pthread_mutex_lock(&job->emit);
    job->set.events.recompute(job->set.events.cookie, chunk,
                              tsri_chunk_first(job, chunk),
                              tsri_chunk_tokens(job, chunk));
    pthread_mutex_unlock(&job->emit);
    pthread_mutex_lock(&job->lock);
    return 1;
}

/* ---- the thread ---- */

static int take_queued(tsri_pull *u, int *queue, int chunks)
{
    for (*queue = 0; *queue < 2; ++*queue) {
        tsri_queue *q = &u->queue[*queue];
        if (!q->count)
            continue;
        const int chunk = q->chunk[q->first];
        q->first = (q->first + 1) % chunks;
        q->count--;
        u->piece[chunk].queued &= (uint8_t)~(1 << *queue);
        return chunk;
    }
    return -1;
}

static int quiet(const coder *c)
{
    const tsri_pull *u = c->pull;
    return u->done && !u->steps && u->idle == c->job->set.connections &&
        u->remake < 0;
}

/* Nothing more comes: chunks with fewer levels than asked for arrive.  If the
 * caller refuses one there may be something to do again. */
static void finish(coder *c)
{
    for (int i = 0; c->job->set.arrival && !tsri_job_stopped(c->job) &&
         i < c->job->chunks; i++)
        arrive(c, i, 1);
    while (!tsri_job_stopped(c->job) && tell_layers(c->job, c->pull))
        ;
    c->pull->finished = quiet(c);
    pthread_cond_broadcast(&c->job->change);
}

static void work(coder *c)
{
    tsr_kv_job *job = c->job;
    tsri_pull *u = c->pull;
    int queue;

    while (!tsri_job_stopped(job) && !u->finished) {
        if (tsri_job_now(job) >= u->until)
            tsri_pull_pump(job);
        if (tell_layers(job, u) || tell_remake(job, u))
            continue;
        const int chunk = take_queued(u, &queue, job->chunks);
        if (chunk >= 0 && job->set.arrival)
            arrive(c, chunk, 0);
        else if (chunk >= 0)
            code_chunk(c, chunk, queue);
        else if (quiet(c))
            finish(c);
        else
            tsri_job_sleep(job, u->until);
    }
}

void tsri_pull_code(tsri_lane *lane)
{
    tsr_kv_job *job = lane->job;
    const size_t planes = (size_t)tsri_planes(&job->shape);
    coder c = { .lane = lane, .job = job, .pull = job->state };

    c.window = calloc(planes, sizeof *c.window);
    c.room_base = calloc(planes, sizeof *c.room_base);
    pthread_mutex_lock(&job->lock);
    if (!c.window || !c.room_base)
        tsri_job_fail(job, TSR_E_NOMEM, "out of memory");
    work(&c);
    pthread_mutex_unlock(&job->lock);
    tsr_kv_close(&c.kv);
    free(c.call.scratch);
    free(c.window);
    free(c.room_base);
    free(c.room);
}
