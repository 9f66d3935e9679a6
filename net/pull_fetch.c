/* SPDX-License-Identifier: BSD-2-Clause */
/* One fetch on a transfer thread: bytes as they come go to their places in the
 * object, each unit after its checksum was looked at. */
#include "net/pull.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A fetch under way; the body belongs to it until the piece has it, too. */
typedef struct fetch {
    tsri_lane *lane;
    tsr_kv_job *job;
    tsri_pull *pull;
    tsri_piece *piece;
    int chunk, near, id;
    tsr_error dead;         /* the store is not to be asked, and why */
    double told;            /* when the controller last heard of it */
    uint8_t small[TSR_KV_CHUNK_HEAD];
    tsr_store_entry entry;
    tsri_body *body;
    int fronted;            /* the piece has the body */
    uint64_t at;            /* the next byte that comes */
    uint64_t placed;        /* bytes before it are */
    int unit;               /* and units before it */
    int end_unit;           /* that is wanted */
    uint64_t bytes;         /* that came of the store */
    char fault[200];        /* of what came; "" for none */
} fetch;

static tsr_error bad(fetch *f, const char *fault)
{
    snprintf(f->fault, sizeof f->fault, "%s", fault);
    return TSR_E_CORRUPT;
}

/* ---- the head ---- */

static int units_of(const tsri_body *b)
{
    return b->head.levels * b->head.layers;
}

static tsr_error make_body(fetch *f, const tsr_kv_chunk *head)
{
    tsri_body *b = calloc(1, sizeof *b);

    if (!b)
        return TSR_E_NOMEM;
    f->body = b;
    b->users = 1;
    b->head = *head;
    b->near = f->near;
    const size_t units = (size_t)units_of(b);
    b->begin = calloc(2 * units, sizeof *b->begin);
    b->end = b->begin ? b->begin + units : NULL;
    b->have = calloc(units, 1);
    b->data = malloc((size_t)head->bytes);
    b->object = calloc((size_t)head->object_bytes, 1);
    if (!b->begin || !b->have || !b->data || !b->object)
        return TSR_E_NOMEM;
    memcpy(b->data, f->small, sizeof f->small);
    return TSR_OK;
}

static tsr_error take_head(fetch *f)
{
    const tsr_kv_job *job = f->job;
    tsr_kv_chunk head;

    if (tsr_kv_chunk_probe(f->lane->context, f->small, sizeof f->small, &head))
        return bad(f, f->lane->reason);
    if (memcmp(head.name, job->name[f->chunk], sizeof head.name))
        return bad(f, "it has another name");
    if (head.layers != job->shape.layers ||
        head.tokens != tsri_chunk_tokens(job, f->chunk))
        return bad(f, "it is of another shape");
    if (head.bytes != f->entry.bytes ||
        head.bytes > job->set.store.max_object || head.bytes > SIZE_MAX)
        return bad(f, "its size is not what its head says");
    return make_body(f, &head);
}

/* ---- the front ---- */

static int same_shape(const tsr_kv_shape *a, const tsr_kv_shape *b)
{
    int same = a->layers == b->layers && a->planes == b->planes;
    for (int p = 0; same && p < a->planes; p++)
        same = a->heads[p] == b->heads[p] && a->dim[p] == b->dim[p];
    return same;
}

static tsr_error check_info(fetch *f, const tsr_kv_info *info)
{
    static const uint8_t none[sizeof info->profile];
    const tsr_model *profile = f->job->set.profile;

    if (!same_shape(&info->shape, &f->job->shape))
        return bad(f, "it is of another shape");
    if (memcmp(info->profile, profile ? tsr_model_hash(profile) : none,
               sizeof none))
        return bad(f, "it was made with another profile");
    return TSR_OK;
}

static tsr_error find_units(fetch *f)
{
    tsri_body *b = f->body;
    tsr_error error = TSR_OK;

    for (int u = 0; !error && u < units_of(b); u++)
        error = tsr_kv_chunk_range(f->lane->context, b->data, (size_t)f->at,
                                   u / b->head.layers, u % b->head.layers, 1,
                                   &b->begin[u], &b->end[u]);
    return error ? bad(f, f->lane->reason) : TSR_OK;
}

/* Positions must go on from chunk to chunk: keys are turned by them. */
static int position_good(fetch *f)
{
    tsri_pull *p = f->pull;
    const int64_t origin = (int64_t)f->body->info.pos0 -
        (int64_t)tsri_chunk_first(f->job, f->chunk);

    if (!p->known)
        p->origin = origin;
    return origin == p->origin;
}

static void tell_sizes(fetch *f)
{
    const tsr_kv_chunk *head = &f->body->head;
    tsri_pull *p = f->pull;
    uint64_t level[TSRI_PULL_LEVELS], before = 0;

    if (f->piece->sized)
        return;
    f->piece->sized = 1;
    for (int k = 0; k < TSRI_PULL_LEVELS; k++) {
        level[k] = head->level_end[k] - before;
        before = head->level_end[k];
    }
    tsr_kv_control_sizes(p->control, f->chunk, level);
    p->known++;
    p->known_bytes += head->level_end[p->ceiling - 1];
    if (head->levels > p->most_levels)
        p->most_levels = head->levels;
    atomic_store(&p->expected, p->known_bytes / (uint64_t)p->known *
                 (uint64_t)f->job->chunks);
}

static tsr_error take_front(fetch *f)
{
    tsri_body *b = f->body;
    tsr_error error = tsr_kv_probe(f->lane->context,
                                   b->data + TSR_KV_CHUNK_HEAD,
                                   (size_t)(f->at - TSR_KV_CHUNK_HEAD),
                                   &b->info);
    if (error)
        return bad(f, f->lane->reason);
    error = check_info(f, &b->info);
    if (!error)
        error = find_units(f);
    if (error)
        return error;
    pthread_mutex_lock(&f->job->lock);
    const int good = position_good(f);
    if (good && f->piece->fate == TSRI_PULL_OPEN) {
        f->piece->body = b;
        b->users++;
        tell_sizes(f);
    }
    pthread_mutex_unlock(&f->job->lock);
    f->fronted = 1;
    return good ? TSR_OK : bad(f, "its positions are not those of the others");
}

/* ---- units ---- */

static tsr_error place(fetch *f, uint64_t begin, uint64_t end)
{
    const tsri_body *b = f->body;
    return tsr_kv_chunk_place(f->lane->context, b->data, (size_t)f->at, begin,
                              end, b->object, (size_t)b->head.object_bytes);
}

/* The first unit from `first` on that is damaged; those before go to their
 * places. */
static int place_singly(fetch *f, int first, int next)
{
    const tsri_body *b = f->body;
    if (f->placed < b->head.front_bytes && place(f, 0, b->head.front_bytes))
        return first;
    while (first < next && !place(f, b->begin[first], b->end[first]))
        first++;
    return first;
}

static void mark(fetch *f, int first, int next)
{
    tsri_body *b = f->body;

    f->unit = next;
    pthread_mutex_lock(&f->job->lock);
    memset(b->have + first, 1, (size_t)(next - first));
    if (f->piece->body == b && next > first && first < b->head.layers) {
        tsri_pull_enqueue(f->pull, f->chunk, 0);
        pthread_cond_broadcast(&f->job->change);
    }
    pthread_mutex_unlock(&f->job->lock);
}

/* What is whole now goes to its place. */
static tsr_error take_units(fetch *f)
{
    const tsri_body *b = f->body;
    const int first = f->unit, all = units_of(b);
    int next = first;

    while (next < all && b->end[next] <= f->at)
        next++;
    if (next == first && f->placed >= b->head.front_bytes)
        return TSR_OK;
    const uint64_t to = next > first ? b->end[next - 1] : b->head.front_bytes;
    if (place(f, f->placed, to)) {
        mark(f, first, place_singly(f, first, next));
        return bad(f, f->lane->reason);
    }
    f->placed = to;
    mark(f, first, next);
    return TSR_OK;
}

/* To where bytes are taken next: of the head, else of all. */
static size_t take_bytes(fetch *f, const uint8_t *data, size_t size)
{
    const uint64_t end = f->body ? f->body->head.bytes : sizeof f->small;
    uint8_t *to = f->body ? f->body->data : f->small;
    const size_t n = size < end - f->at ? size : (size_t)(end - f->at);

    memcpy(to + f->at, data, n);
    f->at += n;
    return n;
}

/* A line that sags is seen before the request has ended. */
static void tell_control(fetch *f)
{
    enum { EVERY_MS = 40 };
    const double now = tsri_job_now(f->job);

    if (now - f->told < 1e-3 * EVERY_MS)
        return;
    f->told = now;
    pthread_mutex_lock(&f->job->lock);
    tsr_kv_control_progress(f->pull->control, f->id, now, f->bytes);
    tsri_pull_pump(f->job);
    pthread_mutex_unlock(&f->job->lock);
}

static tsr_error take(void *cookie, const void *data, size_t size)
{
    fetch *f = cookie;
    const uint8_t *p = data;
    tsr_error error = TSR_OK;

    if (tsri_job_stopped(f->job) || atomic_load(&f->lane->aborted))
        return TSR_E_CANCELED;
    f->bytes += size;
    if (!f->near)
        tell_control(f);
    if (!f->near)
        tsri_job_progress(f->job, atomic_fetch_add(&f->pull->bytes, size) + size,
                          atomic_load(&f->pull->expected), 0);
    while (!error && size) {
        const size_t n = take_bytes(f, p, size);
        if (!n)
            return bad(f, "there are bytes behind its end");
        p += n;
        size -= n;
        if (!f->body && f->at == sizeof f->small)
            error = take_head(f);
        if (!error && f->body && !f->fronted &&
            f->at >= f->body->head.front_bytes)
            error = take_front(f);
    }
    return !error && f->fronted ? take_units(f) : error;
}

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
    const tsr_sink sink = { f, take };
    const uint64_t before = f->at;
    char key[TSR_KV_NAME_TEXT];

    tsr_kv_name_text(f->job->name[f->chunk], key);
    const tsr_error error = tsr_store_get(store, key, f->at, bytes, &sink,
                                          &f->entry);
    if (*f->fault || error)
        return *f->fault ? TSR_E_CORRUPT : error;
    if (f->body && f->entry.bytes != f->body->head.bytes)
        return bad(f, "it was replaced meanwhile");
    return f->at > before && (f->fronted || f->at < f->entry.bytes)
        ? TSR_OK : bad(f, "it is cut short");
}

/* All of a chunk from the cache. */
static tsr_error get_near(fetch *f)
{
    f->near = 1;
    tsr_error error = get(f, f->lane->near, 0);
    tsr_kv_chunk chunk;

    if (!error && (!f->fronted || f->at != f->body->head.bytes))
        error = bad(f, "it is cut short");
    if (!error && tsr_kv_chunk_check(f->lane->context, f->body->data,
                                     (size_t)f->at, f->job->name[f->chunk],
                                     &chunk))
        error = bad(f, f->lane->reason);
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
        (void)bad(f, f->lane->reason);
    free(whole);
}

static int whole(const tsri_body *b)
{
    return !memchr(b->have, 0, (size_t)units_of(b));
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
