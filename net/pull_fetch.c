/* SPDX-License-Identifier: BSD-2-Clause */
/* One fetch on a transfer thread: what is asked for and of whom, and what the
 * controller hears of it. */
#include "net/pull_fetch.h"
#include <stdlib.h>
#include <string.h>

typedef tsri_fetch fetch;

/* ---- requests ---- */

/* Bytes to ask for when nothing is known of a chunk but how many values it has:
 * rather few, since what is missing costs a way there and back, once, and what is
 * too much delays all others. */
static uint64_t guess(const fetch *f, const tsr_kv_step *step)
{
    enum { SPARE = 4096, BASE = 48, ALL = 12 };
    if (step->bytes)
        return step->bytes + step->bytes / 16 + SPARE;
    const uint64_t raw = (uint64_t)f->job->shape.layers *
        tsri_layer_bytes(&f->job->shape, tsri_chunk_tokens(f->job, f->chunk));
    return raw / (step->last_level ? ALL : BASE) + SPARE;
}

/* Which units the step means, and from which byte on they are missing. */
static void aim(fetch *f, const tsr_kv_step *step, int fresh)
{
    const tsri_body *b = f->body;
    const int layers = b->head.layers, levels = b->head.levels;
    const int last = step->last_level < levels ? step->last_level : levels - 1;
    /* What is new starts with the levels that the step takes for granted. */
    int first = fresh ? 0 : step->first_level * layers + step->first_layer;

    f->end_unit = step->first_level < levels
        ? last * layers + step->first_layer + step->layers : 0;
    pthread_mutex_lock(&f->job->lock);
    while (first < f->end_unit && b->have[first])
        first++;
    pthread_mutex_unlock(&f->job->lock);
    if (f->unit < first) {
        f->unit = first;
        f->at = f->placed = first < f->end_unit ? b->begin[first]
                                                : b->head.front_bytes;
    }
}

static int complete(const fetch *f)
{
    return f->fronted && f->unit >= f->end_unit;
}

static tsr_error get(fetch *f, tsr_store *store, uint64_t bytes)
{
    const tsr_sink sink = { f, tsri_fetch_take };
    const uint64_t before = f->at;
    char key[TSR_KV_NAME_TEXT];

    tsr_kv_name_text(f->job->name[f->chunk], key);
    const tsr_error error = tsr_store_get(store, key, f->at, bytes, &sink,
                                          &f->entry);
    if (*f->fault || error)
        return *f->fault ? TSR_E_CORRUPT : error;
    if (f->body && f->entry.bytes != f->body->head.bytes)
        return tsri_fetch_bad(f, "it was replaced meanwhile");
    return f->at > before && (f->fronted || f->at < f->entry.bytes)
        ? TSR_OK : tsri_fetch_bad(f, "it is cut short");
}

/* All of a chunk from the cache. */
static tsr_error get_near(fetch *f)
{
    f->near = 1;
    tsr_error error = get(f, f->lane->near, 0);
    tsr_kv_chunk chunk;

    if (!error && (!f->fronted || f->at != f->body->head.bytes))
        error = tsri_fetch_bad(f, "it is cut short");
    if (!error && tsr_kv_chunk_check(f->lane->context, f->body->data,
                                     (size_t)f->at, f->job->name[f->chunk],
                                     &chunk))
        error = tsri_fetch_bad(f, f->lane->reason);
    return error;
}

static tsr_error get_far(fetch *f, const tsr_kv_step *step)
{
    const int fresh = !f->body;
    tsr_error error = TSR_OK;

    if (fresh)
        error = get(f, f->lane->store, guess(f, step));
    while (!error && !f->fronted)
        error = get(f, f->lane->store, f->body ? f->body->head.front_bytes - f->at
                                               : sizeof f->small - f->at);
    if (!error)
        aim(f, step, fresh);
    while (!error && !complete(f))
        error = get(f, f->lane->store, f->body->end[f->end_unit - 1] - f->at);
    return error;
}

/* ---- a body from one fetch to the next ---- */

/* Room for all of the stored chunk behind the front that is there. */
static tsr_error widen(fetch *f)
{
    uint8_t *data = realloc(f->body->data, (size_t)f->body->head.bytes);

    if (!data)
        return TSR_E_NOMEM;
    f->body->data = data;
    f->fronted = 1;
    f->placed = f->at = f->body->head.front_bytes;
    return TSR_OK;
}

static void narrow(tsri_body *b)
{
    uint8_t *data = realloc(b->data, (size_t)b->head.front_bytes);
    if (data)
        b->data = data;
}

/* What the cache gave was of no use. */
static void forget(fetch *f, tsr_error error)
{
    pthread_mutex_lock(&f->job->lock);
    f->pull->near_dead |= error == TSR_E_IO || error == TSR_E_DENIED;
    if (f->body && f->piece->body == f->body)
        tsri_pull_drop(f->piece);
    if (f->body)
        tsri_body_release(f->body);
    pthread_mutex_unlock(&f->job->lock);
    f->body = NULL;
    f->fronted = f->near = f->unit = 0;
    f->at = f->placed = 0;
    *f->fault = 0;
}

/* Lock not held.  The cache first, once. */
static tsr_error run(fetch *f, const tsr_kv_step *step, int ask_near)
{
    if (f->body && !f->dead) {
        const tsr_error error = widen(f);
        return error ? error : get_far(f, step);
    }
    if (ask_near && !f->body) {
        const tsr_error error = get_near(f);
        if (!error) {
            aim(f, step, 1);
            return TSR_OK;
        }
        if (error == TSR_E_CANCELED || error == TSR_E_NOMEM)
            return error;
        forget(f, error);
        f->bytes = 0;
    }
    return f->dead ? f->dead : get_far(f, step);
}

/* ---- the cache ---- */

/* Stores a chunk that has come whole where it will be looked for first. */
static void keep_near(fetch *f)
{
    const tsri_body *b = f->body;
    size_t size = (size_t)b->head.bytes;
    uint8_t *whole = malloc(size);
    char key[TSR_KV_NAME_TEXT];
    tsr_kv_chunk made;

    tsr_kv_name_text(b->head.name, key);
    /* Made anew from the object, which was checked unit by unit; the digest says
     * that nothing has changed on the way. */
    if (whole && !tsr_kv_chunk_wrap(f->lane->context, b->head.name, b->object,
                                    (size_t)b->head.object_bytes, whole, size,
                                    &size) &&
        !tsr_kv_chunk_probe(f->lane->context, whole, size, &made) &&
        !memcmp(made.digest, b->head.digest, sizeof made.digest) &&
        tsr_store_put(f->lane->near, key, whole, size))
        (void)tsri_fetch_bad(f, f->lane->reason);
    free(whole);
}

static int whole(const tsri_body *b)
{
    return !memchr(b->have, 0, (size_t)tsri_body_units(b));
}

/* ---- reports; lock held ---- */

/* All of it again: what came before and is not in use yet is gone, too. */
static void drop(fetch *f)
{
    tsri_piece *piece = f->piece;

    tsri_pull_drop(piece);
    if (piece->waiting)
        tsr_kv_control_failed(f->pull->control, piece->id,
                              tsri_job_now(f->job), 0);
    piece->waiting = 0;
    piece->spent = 0;
}

static void report_failure(fetch *f, const tsr_kv_step *step, tsr_error error)
{
    tsr_kv_job *job = f->job;
    tsri_pull *p = f->pull;
    int missing = 0;

    if (atomic_load(&f->lane->aborted)) {
        /* Nobody wants it. */
    } else if (error == TSR_E_MISSING) {
        tsri_job_note(job, "chunk %d is not in the store", f->chunk);
        missing = 1;
    } else if (error == TSR_E_CORRUPT || error == TSR_E_LIMIT) {
        tsri_job_note(job, "chunk %d: %s", f->chunk,
                      *f->fault ? f->fault : f->lane->reason);
        missing = f->piece->bad++ > 0 || error == TSR_E_LIMIT;
        job->result.retried += !missing;
        /* Once; then what is good of it is used. */
        if (!missing)
            drop(f);
    } else if (error == TSR_E_IO || error == TSR_E_DENIED) {
        if (error == TSR_E_DENIED || ++p->failures > 1)
            p->dead = error;
        tsri_job_note(job, "chunk %d: %s", f->chunk, f->lane->reason);
        missing = p->dead != TSR_OK;
        job->result.retried += !missing;
    } else {
        tsri_job_fail(job, error, "chunk %d: %s", f->chunk, f->lane->reason);
    }
    tsr_kv_control_failed(p->control, step->id, tsri_job_now(job), missing);
    /* What came before waited for this to end. */
    tsri_pull_enqueue(p, f->chunk, 0);
}

static void report_success(fetch *f, const tsr_kv_step *step, double begin)
{
    tsri_pull *p = f->pull;

    p->failures = f->near ? p->failures : 0;
    if (f->near)
        f->job->result.present++;
    else if (!f->piece->counted)
        f->job->result.raw_bytes += (uint64_t)f->job->shape.layers *
            tsri_layer_bytes(&f->job->shape,
                             tsri_chunk_tokens(f->job, f->chunk));
    f->piece->counted = 1;
    tsr_kv_control_fetched(p->control, step->id, begin, tsri_job_now(f->job),
                           f->near ? 0 : f->bytes);
    f->piece->waiting++;
    f->piece->id = step->id;
    tsri_pull_enqueue(p, f->chunk, f->end_unit > f->job->shape.layers);
}

/* A store that was canceled to end a fetch is opened anew. */
static void reopen(tsri_lane *lane)
{
    tsr_kv_job *job = lane->job;

    if (!atomic_load(&lane->aborted) || tsri_job_stopped(job))
        return;
    atomic_store(&lane->aborted, 0);
    const tsr_error error = tsri_lane_reopen(lane);
    if (error)
        tsri_job_fail(job, error, "%s", lane->reason);
}

/* Levels that came already, or that it was stored without. */
static int is_whole(tsr_kv_job *job, const tsr_kv_step *step)
{
    tsri_pull *p = job->state;
    const double now = tsri_job_now(job);

    if (!p->piece[step->chunk].whole)
        return 0;
    tsr_kv_control_fetched(p->control, step->id, now, now, 0);
    tsr_kv_control_decoded(p->control, step->id, 0);
    return 1;
}

void tsri_pull_fetch(tsri_lane *lane, const tsr_kv_step *step)
{
    tsr_kv_job *job = lane->job;
    tsri_pull *p = job->state;
    if (is_whole(job, step))
        return;
    fetch f = { .lane = lane, .job = job, .pull = p, .chunk = step->chunk,
                .id = step->id, .dead = p->dead, .told = tsri_job_now(job),
                .piece = &p->piece[step->chunk], .end_unit = 1 };
    const int ask_near = lane->near && !f.piece->asked_near && !p->near_dead;
    const double begin = tsri_job_now(job);

    f.piece->asked_near = 1;
    f.piece->busy = 1;
    f.body = f.piece->body;
    if (f.body)
        f.body->users++;
    lane->fetching = step->chunk;
    lane->finer = step->first_level >= job->set.floor;
    pthread_mutex_unlock(&job->lock);
    *lane->reason = 0;
    const tsr_error error = run(&f, step, ask_near);
    pthread_mutex_lock(&job->lock);
    lane->fetching = -1;
    f.piece->busy = 0;
    /* Now: the next fetch of this chunk may begin as soon as the lock is free. */
    if (f.body && f.piece->body == f.body)
        narrow(f.body);
    const int keep = !error && lane->near && !f.near && !p->near_dead &&
        whole(f.body);
    if (error)
        report_failure(&f, step, error);
    else
        report_success(&f, step, begin);
    reopen(lane);
    tsri_pull_pump(job);
    if (keep) {
        pthread_mutex_unlock(&job->lock);
        keep_near(&f);
        pthread_mutex_lock(&job->lock);
        p->near_dead |= *f.fault != 0;
    }
    if (f.body)
        tsri_body_release(f.body);
}
