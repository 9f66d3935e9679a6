/* SPDX-License-Identifier: BSD-2-Clause */
#include "net/stream.h"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void tsr_kv_stream_settings_init(tsr_kv_stream_settings *s)
{
    *s = (tsr_kv_stream_settings){
        .size = sizeof *s, .chunk_tokens = 256, .connections = 4, .threads = 1,
        .policy = "deadline", .floor = 1
    };
    tsr_store_settings_init(&s->store);
}

/* ---- time ---- */

static double clock_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double tsri_job_now(const tsr_kv_job *job)
{
    return clock_now() - job->start;
}

static void sleep_until(tsr_kv_job *job, double when)
{
    const double whole = floor(when);
    const struct timespec t = { (time_t)whole, (long)(1e9 * (when - whole)) };
    pthread_cond_timedwait(&job->change, &job->lock, &t);
}

void tsri_job_sleep(tsr_kv_job *job, double until)
{
    if (until < 1e9)
        sleep_until(job, job->start + until);
    else
        pthread_cond_wait(&job->change, &job->lock);
}

/* ---- how it went ---- */

void tsri_job_note(tsr_kv_job *job, const char *format, ...)
{
    va_list list;
    if (*job->result.message)
        return;
    va_start(list, format);
    vsnprintf(job->result.message, sizeof job->result.message, format, list);
    va_end(list);
}

static void stop(tsr_kv_job *job)
{
    atomic_store(&job->stop, 1);
    for (int i = 0; i < job->set.connections; i++) {
        if (job->lane[i].store)
            tsr_store_cancel(job->lane[i].store);
        if (job->lane[i].near)
            tsr_store_cancel(job->lane[i].near);
    }
    pthread_cond_broadcast(&job->change);
}

void tsri_job_fail(tsr_kv_job *job, tsr_error error, const char *format, ...)
{
    va_list list;
    if (job->error)
        return;
    job->error = error;
    va_start(list, format);
    vsnprintf(job->result.message, sizeof job->result.message, format, list);
    va_end(list);
    stop(job);
}

enum { TOLD_EVERY_MS = 50 };

void tsri_job_progress(tsr_kv_job *job, uint64_t bytes, uint64_t expected,
                       int last)
{
    if (!job->set.events.progress)
        return;
    /* Others are in a callback: the next report will do. */
    if (last)
        pthread_mutex_lock(&job->emit);
    else if (pthread_mutex_trylock(&job->emit))
        return;
    const double now = tsri_job_now(job);
    if (last || now - job->told > 1e-3 * TOLD_EVERY_MS) {
        job->told = now;
        job->set.events.progress(job->set.events.cookie, bytes, expected);
    }
    pthread_mutex_unlock(&job->emit);
}

/* ---- opening ---- */

static void keep_reason(void *cookie, tsr_log_level level, const char *message)
{
    tsri_lane *lane = cookie;
    if (level <= TSR_LOG_WARNING)
        snprintf(lane->reason, sizeof lane->reason, "%s", message);
}

static tsr_error open_context(tsri_lane *lane, int threads)
{
    tsr_context_settings s;
    tsr_context_settings_init(&s);
    s.threads = threads;
    s.logger = (tsr_logger){ lane, keep_reason };
    return tsr_context_open(&lane->context, &s);
}

/* Texts that stores may have to be opened with anew. */
enum { TEXTS = 7 };

static void texts(tsr_kv_stream_settings *s, const char **text[TEXTS])
{
    text[0] = &s->url;
    text[1] = &s->cache;
    text[2] = &s->store.token;
    text[3] = &s->store.ca_file;
    text[4] = &s->store.endpoint;
    text[5] = &s->store.region;
    text[6] = &s->store.key_prefix;
}

static int copy_texts(tsr_kv_stream_settings *s)
{
    const char **text[TEXTS];
    int good = 1;

    texts(s, text);
    for (int i = 0; i < TEXTS; i++)
        if (*text[i]) {
            *text[i] = strdup(*text[i]);
            good = good && *text[i];
        }
    return good;
}

static void free_texts(tsr_kv_stream_settings *s)
{
    const char **text[TEXTS];

    texts(s, text);
    for (int i = 0; i < TEXTS; i++)
        free((void *)*text[i]);
}

static tsr_error connect(tsr_kv_job *job, tsri_lane *lane)
{
    tsr_store_settings s = job->set.store;
    s.logger = (tsr_logger){ lane, keep_reason };
    tsr_error error = tsr_store_open(&lane->store, job->set.url, &s);
    /* The token is the store's and goes nowhere else; and what is near answers at
     * once or is not worth waiting for. */
    s.token = NULL;
    s.retries = 0;
    if (!error && job->set.cache)
        error = tsr_store_open(&lane->near, job->set.cache, &s);
    return error;
}

static tsr_error open_store(tsr_kv_job *job, tsri_lane *lane)
{
    const tsr_logger theirs = job->set.store.logger;
    const tsr_error error = connect(job, lane);
    /* On the caller's thread, so it can be told. */
    if (error && theirs.log)
        theirs.log(theirs.cookie, TSR_LOG_ERROR, lane->reason);
    return error;
}

tsr_error tsri_lane_reopen(tsri_lane *lane)
{
    lane->retried += tsri_store_retried(lane->store);
    tsr_store_close(&lane->store);
    tsr_store_close(&lane->near);
    return connect(lane->job, lane);
}

static tsr_error open_lanes(tsr_kv_job *job)
{
    const int n = job->set.connections;
    tsr_error error = TSR_OK;

    job->lane = calloc((size_t)n + 1, sizeof *job->lane);
    job->thread = calloc((size_t)n + 1, sizeof *job->thread);
    if (!job->lane || !job->thread)
        return TSR_E_NOMEM;
    for (int i = 0; i <= n; i++) {
        job->lane[i].job = job;
        job->lane[i].fetching = -1;
    }
    for (int i = 0; !error && i < n; i++) {
        error = open_context(&job->lane[i], 1);
        error = error ? error : open_store(job, &job->lane[i]);
    }
    return error ? error : open_context(&job->lane[n], job->set.threads);
}

static int copy_view(tsr_kv_job *job, const tsr_kv_view *view)
{
    const size_t planes = (size_t)tsri_planes(&job->shape);

    if (!view)
        return 1;
    job->view = *view;
    job->base = malloc(planes * sizeof *job->base);
    if (!job->base)
        return 0;
    memcpy(job->base, view->base, planes * sizeof *job->base);
    job->view.base = job->base;
    return 1;
}

static tsr_error copy_ids(tsr_kv_job *job, const int32_t *ids, size_t n)
{
    job->ids = malloc(n * sizeof *job->ids);
    if (!job->ids)
        return TSR_E_NOMEM;
    memcpy(job->ids, ids, n * sizeof *job->ids);
    return tsri_names(&job->set, ids, n, &job->name);
}

static void init_locks(tsr_kv_job *job)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&job->change, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&job->lock, NULL);
    pthread_mutex_init(&job->emit, NULL);
}

/* Whether there can be a view like this of such a cache. */
static int view_good(const tsr_kv_view *view, size_t n, int each)
{
    return view->base && view->tokens >= n &&
        (!view->blocks || (view->block_tokens >= 1 &&
                           each % view->block_tokens == 0));
}

tsr_error tsri_job_open(tsr_kv_job **out, const tsr_kv_stream_settings *s,
                        const tsr_kv_shape *shape, const tsr_kv_view *view,
                        const int32_t *ids, size_t n)
{
    enum { MOST = 1 << 20 };
    if (!tsri_shape_good(shape) || !ids || n < 1 || n > MOST ||
        (view && !view_good(view, n, s->chunk_tokens)))
        return TSR_E_ARG;
    tsr_kv_job *job = calloc(1, sizeof *job);
    if (!job)
        return TSR_E_NOMEM;
    *out = job;
    init_locks(job);
    job->start = clock_now();
    job->set = *s;
    const int copied = copy_texts(&job->set);
    if (s->profile)
        job->set.profile = tsr_model_ref(s->profile);
    job->shape = *shape;
    job->tokens = n;
    job->each = (size_t)s->chunk_tokens;
    job->chunks = tsri_chunk_count(n, s->chunk_tokens);
    if (!copied || !copy_view(job, view))
        return TSR_E_NOMEM;
    const tsr_error error = copy_ids(job, ids, n);
    return error ? error : open_lanes(job);
}

/* ---- threads ---- */

/* The one that ends last sums up. */
static void leave(tsr_kv_job *job)
{
    pthread_mutex_lock(&job->lock);
    if (--job->running == 0) {
        job->result.seconds = tsri_job_now(job);
        job->result.chunks = job->chunks;
        job->kind->end(job);
        const uint64_t bytes = job->result.bytes;
        pthread_mutex_unlock(&job->lock);
        tsri_job_progress(job, bytes, bytes, 1);
        pthread_mutex_lock(&job->lock);
        job->ended = 1;
    }
    pthread_cond_broadcast(&job->change);
    pthread_mutex_unlock(&job->lock);
}

static void *transfer_thread(void *cookie)
{
    tsri_lane *lane = cookie;
    lane->job->kind->transfer(lane);
    leave(lane->job);
    return NULL;
}

static void *code_thread(void *cookie)
{
    tsri_lane *lane = cookie;
    lane->job->kind->code(lane);
    leave(lane->job);
    return NULL;
}

tsr_error tsri_job_start(tsr_kv_job *job)
{
    const int n = job->set.connections;

    job->running = n + 1;
    for (int i = 0; i <= n; i++) {
        if (pthread_create(&job->thread[i], NULL,
                           i < n ? transfer_thread : code_thread,
                           &job->lane[i]))
            break;
        job->threads++;
    }
    if (job->threads == n + 1)
        return TSR_OK;
    pthread_mutex_lock(&job->lock);
    job->running -= n + 1 - job->threads;
    tsri_job_fail(job, TSR_E_NOMEM, "no threads to be had");
    pthread_mutex_unlock(&job->lock);
    return TSR_E_NOMEM;
}

/* ---- the caller's side ---- */

void tsr_kv_job_cancel(tsr_kv_job *job)
{
    if (!job)
        return;
    pthread_mutex_lock(&job->lock);
    if (!job->ended)
        tsri_job_fail(job, TSR_E_CANCELED, "canceled");
    pthread_mutex_unlock(&job->lock);
}

tsr_error tsr_kv_job_wait(tsr_kv_job *job, double seconds,
                          tsr_kv_job_result *result)
{
    if (!job)
        return TSR_E_ARG;
    const double until = seconds < 0 ? HUGE_VAL : tsri_job_now(job) + seconds;
    pthread_mutex_lock(&job->lock);
    while (!job->ended && tsri_job_now(job) < until)
        tsri_job_sleep(job, until);
    const int ended = job->ended;
    if (result) {
        *result = job->result;
        result->chunks = job->chunks;
        if (!ended)
            job->kind->state(job, result);
    }
    pthread_mutex_unlock(&job->lock);
    return ended ? TSR_OK : TSR_E_LIMIT;
}

static void close_lanes(tsr_kv_job *job)
{
    for (int i = 0; job->lane && i <= job->set.connections; i++) {
        tsr_store_close(&job->lane[i].store);
        tsr_store_close(&job->lane[i].near);
        tsr_context_close(&job->lane[i].context);
    }
    free(job->lane);
    free(job->thread);
}

int tsri_job_retried(const tsr_kv_job *job)
{
    int n = 0;
    for (int i = 0; i < job->set.connections; i++) {
        const tsri_lane *lane = &job->lane[i];
        n += lane->retried + (lane->store ? tsri_store_retried(lane->store) : 0);
    }
    return n;
}

void tsr_kv_job_close(tsr_kv_job **out)
{
    tsr_kv_job *job = out ? *out : NULL;
    if (!job)
        return;
    if (job->threads)
        tsr_kv_job_cancel(job);
    for (int i = 0; i < job->threads; i++)
        pthread_join(job->thread[i], NULL);
    if (job->kind)
        job->kind->close(job);
    close_lanes(job);
    tsr_model_unref(&job->set.profile);
    free_texts(&job->set);
    pthread_cond_destroy(&job->change);
    pthread_mutex_destroy(&job->lock);
    pthread_mutex_destroy(&job->emit);
    free(job->base);
    free(job->ids);
    free(job->name);
    free(job);
    *out = NULL;
}
