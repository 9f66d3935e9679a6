/* SPDX-License-Identifier: BSD-2-Clause */
/* Caches to stores: transfer threads ask which chunks are there and send what
 * the coding thread has made of the others. */
#include "net/settings.h"
#include "net/stream.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef enum fate {
    UNKNOWN, ABSENT, PRESENT, MADE, STORED
} fate;

typedef struct piece {
    uint8_t fate;
    uint8_t *data;          /* MADE: the stored chunk */
    size_t bytes;
} piece;

typedef struct push {
    tsr_kv *kv;
    tsr_kv_call call;
    void **window;
    uint8_t *object;
    size_t room;
    int settle;             /* the first chunk must be encoded, since the step
                               of all comes from it */
    piece *piece;
    int asked;              /* chunks that were asked for, or are just now */
    int coded;              /* chunks that the coder is done with */
    int send;               /* the next to be sent is not before it */
    int made;               /* chunks that wait to be sent or are being sent */
    int stored;             /* present or stored */
    int levels;
} push;

/* ---- transfers; lock held but for the transfer itself ---- */

static void free_piece(piece *p)
{
    free(p->data);
    p->data = NULL;
}

static void ask(tsri_lane *lane, push *u)
{
    tsr_kv_job *job = lane->job;
    const int i = u->asked++;

    pthread_mutex_unlock(&job->lock);
    const tsr_error error = tsri_chunk_stored(lane->store, lane->context,
                                              job->name[i],
                                              tsri_chunk_tokens(job, i));
    pthread_mutex_lock(&job->lock);
    if (error && error != TSR_E_MISSING) {
        tsri_job_fail(job, error, "%s", lane->reason);
        return;
    }
    u->piece[i].fate = error ? ABSENT : PRESENT;
    u->stored += !error;
    job->result.present += !error;
    pthread_cond_broadcast(&job->change);
}

/* What is still to come, if it is like what was sent. */
static uint64_t expected(const tsr_kv_job *job, const push *u)
{
    const int sent = u->stored - job->result.present;
    const int left = job->chunks - u->stored;
    const uint64_t bytes = job->result.bytes;
    return sent ? bytes + bytes / (uint64_t)sent * (uint64_t)left : 0;
}

static void send_one(tsri_lane *lane, push *u, int i)
{
    tsr_kv_job *job = lane->job;
    piece *p = &u->piece[i];
    char key[TSR_KV_NAME_TEXT];

    pthread_mutex_unlock(&job->lock);
    tsr_kv_name_text(job->name[i], key);
    const tsr_error error = tsr_store_put(lane->store, key, p->data, p->bytes);
    pthread_mutex_lock(&job->lock);
    free_piece(p);
    u->made--;
    if (error) {
        tsri_job_fail(job, error, "chunk %d: %s", i, lane->reason);
        return;
    }
    p->fate = STORED;
    u->stored++;
    job->result.bytes += p->bytes;
    job->result.raw_bytes += (uint64_t)job->shape.layers *
        tsri_layer_bytes(&job->shape, tsri_chunk_tokens(job, i));
    pthread_cond_broadcast(&job->change);
    const uint64_t bytes = job->result.bytes, all = expected(job, u);
    pthread_mutex_unlock(&job->lock);
    tsri_job_progress(job, bytes, all, 0);
    pthread_mutex_lock(&job->lock);
}

/* The first chunk that waits to be sent, or -1; chunks are made in order. */
static int next_made(push *u)
{
    while (u->send < u->coded && u->piece[u->send].fate != MADE)
        u->send++;
    return u->send < u->coded ? u->send++ : -1;
}

static void transfer(tsri_lane *lane)
{
    tsr_kv_job *job = lane->job;
    push *u = job->state;

    pthread_mutex_lock(&job->lock);
    while (!tsri_job_stopped(job) && u->stored < job->chunks) {
        const int i = next_made(u);
        if (i >= 0)
            send_one(lane, u, i);
        else if (u->asked < job->chunks)
            ask(lane, u);
        else
            tsri_job_sleep(job, HUGE_VAL);
    }
    pthread_mutex_unlock(&job->lock);
}

/* ---- coding ---- */

static tsr_error encode(tsri_lane *lane, push *u, int i, size_t *size)
{
    tsr_kv_job *job = lane->job;
    const tsr_kv_view view = tsri_chunk_view(job, i, u->window);
    const size_t first = tsri_chunk_first(job, i);
    tsr_kv_call call = u->call;

    call.pos0 += first;
    call.token_ids = job->ids + first;
    return tsr_kv_encode(u->kv, &view, &call, u->object, u->room, size);
}

static tsr_error make(tsri_lane *lane, push *u, int i, piece *made)
{
    tsr_kv_job *job = lane->job;
    const double begin = tsri_job_now(job);
    size_t size = 0;
    tsr_kv_chunk chunk;
    tsr_error error = TSR_OK;

    if (u->settle && i > 0)
        error = encode(lane, u, 0, &size);
    u->settle = 0;
    if (!error)
        error = encode(lane, u, i, &size);
    if (error)
        return error;
    made->data = malloc(size + TSR_KV_CHUNK_HEAD);
    if (!made->data)
        return TSR_E_NOMEM;
    error = tsr_kv_chunk_wrap(lane->context, job->name[i], u->object, size,
                              made->data, size + TSR_KV_CHUNK_HEAD,
                              &made->bytes);
    if (!error)
        error = tsr_kv_chunk_probe(lane->context, made->data, made->bytes,
                                   &chunk);
    if (!error)
        u->levels = chunk.levels;
    pthread_mutex_lock(&job->lock);
    job->result.coding += tsri_job_now(job) - begin;
    pthread_mutex_unlock(&job->lock);
    return error;
}

/* One chunk, of which it is known whether it is wanted.  Lock held. */
static void code_one(tsri_lane *lane, push *u)
{
    tsr_kv_job *job = lane->job;
    piece *p = &u->piece[u->coded];
    piece made = { .fate = MADE };

    if (p->fate == PRESENT) {
        u->coded++;
        return;
    }
    pthread_mutex_unlock(&job->lock);
    const tsr_error error = make(lane, u, u->coded, &made);
    pthread_mutex_lock(&job->lock);
    if (error) {
        free_piece(&made);
        tsri_job_fail(job, error, "chunk %d: %s", u->coded, *lane->reason ?
                      lane->reason : tsr_error_string(error));
        return;
    }
    *p = made;
    u->coded++;
    u->made++;
    pthread_cond_broadcast(&job->change);
}

static void code(tsri_lane *lane)
{
    tsr_kv_job *job = lane->job;
    push *u = job->state;
    const int ahead = job->set.connections + 2;

    pthread_mutex_lock(&job->lock);
    while (!tsri_job_stopped(job) && u->coded < job->chunks)
        if (u->piece[u->coded].fate != UNKNOWN && u->made < ahead)
            code_one(lane, u);
        else
            tsri_job_sleep(job, HUGE_VAL);
    pthread_mutex_unlock(&job->lock);
}

/* ---- begin and end ---- */

static void state(tsr_kv_job *job, tsr_kv_job_result *r)
{
    const push *u = job->state;
    r->missing = job->chunks - u->stored;
}

static void end(tsr_kv_job *job)
{
    const push *u = job->state;
    tsr_kv_job_result *r = &job->result;

    r->error = job->error;
    while (r->tokens < job->tokens) {
        const int i = (int)(r->tokens / job->each);
        const uint8_t f = u->piece[i].fate;
        if (f != PRESENT && f != STORED)
            break;
        r->tokens += tsri_chunk_tokens(job, i);
    }
    r->missing = job->chunks - u->stored;
    r->retried = tsri_job_retried(job);
    r->mean_levels = u->levels;
}

static void close_push(tsr_kv_job *job)
{
    push *u = job->state;

    if (!u)
        return;
    tsr_kv_close(&u->kv);
    for (int i = 0; u->piece && i < job->chunks; i++)
        free_piece(&u->piece[i]);
    free(u->piece);
    free(u->window);
    free(u->object);
    free(u->call.scratch);
    free(u);
}

static const tsri_job_kind push_kind = { transfer, code, state, end, close_push };

static tsr_error open_coder(tsr_kv_job *job, push *u,
                            const tsr_kv_settings *codec)
{
    tsr_kv_settings s;

    tsr_kv_settings_init(&s);
    if (!tsri_settings_take(&s, sizeof s, codec,
                            offsetof(tsr_kv_settings, profile)))
        return TSR_E_ARG;
    s.profile = job->set.profile;
    s.store_tokens = 0;
    u->settle = !s.profile && (!(s.step > 0) || !(s.value_ratio > 0));
    tsr_error error = tsr_kv_open(&u->kv, tsri_job_coder(job)->context, &s);
    if (!error)
        error = tsr_kv_encode_bound(u->kv, job->each < job->tokens
                                    ? job->each : job->tokens, &u->room);
    return error ? error : tsri_call(u->kv, job->each < job->tokens
                                     ? job->each : job->tokens, &u->call);
}

static tsr_error open_push(tsr_kv_job *job, const tsr_kv_settings *codec,
                           uint64_t pos0)
{
    push *u = calloc(1, sizeof *u);

    job->state = u;
    job->kind = &push_kind;
    if (!u)
        return TSR_E_NOMEM;
    const tsr_error error = open_coder(job, u, codec);
    if (error)
        return error;
    u->call.pos0 = pos0;
    u->piece = calloc((size_t)job->chunks, sizeof *u->piece);
    u->window = malloc((size_t)tsri_planes(&job->shape) * sizeof *u->window);
    u->object = malloc(u->room);
    if (!u->piece || !u->window || !u->object)
        return TSR_E_NOMEM;
    for (int i = 0; job->set.replace && i < job->chunks; i++)
        u->piece[i].fate = ABSENT;
    u->asked = job->set.replace ? job->chunks : 0;
    return TSR_OK;
}

tsr_error tsr_kv_push_begin(tsr_kv_job **job, const tsr_kv_stream_settings *set,
                            const tsr_kv_settings *codec,
                            const tsr_kv_view *view, const int32_t *ids,
                            uint64_t pos0)
{
    if (!job)
        return TSR_E_ARG;
    *job = NULL;
    tsr_kv_stream_settings own;
    if (!codec || !view || pos0 > (uint64_t)1 << 31 ||
        !tsri_settings_good(&own, set))
        return TSR_E_ARG;
    tsr_error error = tsri_job_open(job, &own, &codec->shape, view, ids,
                                    view->tokens);
    if (!error)
        error = open_push(*job, codec, pos0);
    if (!error)
        error = tsri_job_start(*job);
    if (error)
        tsr_kv_job_close(job);
    return error;
}
