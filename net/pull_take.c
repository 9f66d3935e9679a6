/* SPDX-License-Identifier: BSD-2-Clause */
/* Bytes of a fetch as they come go to their places in the object, each unit after
 * its checksum was looked at. */
#include "net/pull_fetch.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef tsri_fetch fetch;

tsr_error tsri_fetch_bad(fetch *f, const char *fault)
{
    snprintf(f->fault, sizeof f->fault, "%s", fault);
    return TSR_E_CORRUPT;
}

/* ---- the head ---- */

static tsr_error make_body(fetch *f, const tsr_kv_chunk *head)
{
    tsri_body *b = calloc(1, sizeof *b);

    if (!b)
        return TSR_E_NOMEM;
    f->body = b;
    b->users = 1;
    b->head = *head;
    b->near = f->near;
    const size_t units = (size_t)tsri_body_units(b);
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
        return tsri_fetch_bad(f, f->lane->reason);
    if (memcmp(head.name, job->name[f->chunk], sizeof head.name))
        return tsri_fetch_bad(f, "it has another name");
    if (head.layers != job->shape.layers ||
        head.tokens != tsri_chunk_tokens(job, f->chunk))
        return tsri_fetch_bad(f, "it is of another shape");
    if (head.bytes != f->entry.bytes ||
        head.bytes > job->set.store.max_object || head.bytes > SIZE_MAX)
        return tsri_fetch_bad(f, "its size is not what its head says");
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
        return tsri_fetch_bad(f, "it is of another shape");
    if (memcmp(info->profile, profile ? tsr_model_hash(profile) : none,
               sizeof none))
        return tsri_fetch_bad(f, "it was made with another profile");
    return TSR_OK;
}

static tsr_error find_units(fetch *f)
{
    tsri_body *b = f->body;
    tsr_error error = TSR_OK;

    for (int u = 0; !error && u < tsri_body_units(b); u++)
        error = tsr_kv_chunk_range(f->lane->context, b->data, (size_t)f->at,
                                   u / b->head.layers, u % b->head.layers, 1,
                                   &b->begin[u], &b->end[u]);
    return error ? tsri_fetch_bad(f, f->lane->reason) : TSR_OK;
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
        return tsri_fetch_bad(f, f->lane->reason);
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
    return good ? TSR_OK : tsri_fetch_bad(f, "its positions are not those of the others");
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
    const int first = f->unit, all = tsri_body_units(b);
    int next = first;

    while (next < all && b->end[next] <= f->at)
        next++;
    if (next == first && f->placed >= b->head.front_bytes)
        return TSR_OK;
    const uint64_t to = next > first ? b->end[next - 1] : b->head.front_bytes;
    if (place(f, f->placed, to)) {
        mark(f, first, place_singly(f, first, next));
        return tsri_fetch_bad(f, f->lane->reason);
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

tsr_error tsri_fetch_take(void *cookie, const void *data, size_t size)
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
            return tsri_fetch_bad(f, "there are bytes behind its end");
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
