/* SPDX-License-Identifier: BSD-2-Clause */
#include "config.h"
#include <pthread.h>
#include "lib/pool.h"

struct tsri_pool {
    pthread_mutex_t lock;
    pthread_cond_t wake, idle;
    int threads;        /* workers + the caller */
    int started;        /* workers that exist */
    int busy;           /* workers inside the present loop */
    unsigned round;     /* counts loops; a worker joins each once */
    bool stop;
    /* The present loop, under the lock. */
    int next, n;
    tsr_error error;
    tsr_error (*body)(void *cookie, int i, int worker);
    void *cookie;
    struct worker { tsri_pool *pool; pthread_t thread; int index; } worker[];
};

/* Takes indices until there are none; called and left with the lock held. */
static void work(tsri_pool *pool, int worker)
{
    while (!pool->error && pool->next < pool->n) {
        const int i = pool->next++;
        pthread_mutex_unlock(&pool->lock);
        const tsr_error error = pool->body(pool->cookie, i, worker);
        pthread_mutex_lock(&pool->lock);
        if (error && !pool->error)
            pool->error = error;
    }
}

static void *run_worker(void *cookie)
{
    struct worker *self = cookie;
    tsri_pool *pool = self->pool;
    unsigned seen = 0;

    pthread_mutex_lock(&pool->lock);
    for (;;) {
        while (!pool->stop && pool->round == seen)
            pthread_cond_wait(&pool->wake, &pool->lock);
        if (pool->stop)
            break;
        seen = pool->round;
        pool->busy++;
        work(pool, self->index);
        if (--pool->busy == 0)
            pthread_cond_signal(&pool->idle);
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

tsr_error tsri_pool_open(tsri_pool **out, tsr_context *ctx, int threads)
{
    tsri_pool *pool = tsri_calloc(ctx, 1, sizeof *pool +
                                  (size_t)threads * sizeof *pool->worker);
    *out = pool;
    if (!pool)
        return tsri_nomem(ctx);
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->wake, NULL);
    pthread_cond_init(&pool->idle, NULL);
    pool->threads = threads;
    for (int i = 0; i < threads - 1; i++) {
        struct worker *w = &pool->worker[i];
        *w = (struct worker){ .pool = pool, .index = i + 1 };
        if (pthread_create(&w->thread, NULL, run_worker, w))
            return tsri_fail(ctx, TSR_E_NOMEM, "cannot start a thread");
        pool->started++;
    }
    return TSR_OK;
}

void tsri_pool_close(tsri_pool **out, tsr_context *ctx)
{
    tsri_pool *pool = *out;
    if (!pool)
        return;
    pthread_mutex_lock(&pool->lock);
    pool->stop = true;
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
    for (int i = 0; i < pool->started; i++)
        pthread_join(pool->worker[i].thread, NULL);
    pthread_cond_destroy(&pool->wake);
    pthread_cond_destroy(&pool->idle);
    pthread_mutex_destroy(&pool->lock);
    tsri_free(ctx, pool);
    *out = NULL;
}

int tsri_pool_threads(const tsri_pool *pool)
{
    return pool->threads;
}

tsr_error tsri_pool_for(tsri_pool *pool, int n,
                        tsr_error (*body)(void *cookie, int i, int worker),
                        void *cookie)
{
    tsr_error error;

    pthread_mutex_lock(&pool->lock);
    pool->body = body;
    pool->cookie = cookie;
    pool->next = 0;
    pool->n = n;
    pool->error = TSR_OK;
    pool->round++;
    if (n > 1 && pool->started)
        pthread_cond_broadcast(&pool->wake);
    work(pool, 0);
    while (pool->busy)
        pthread_cond_wait(&pool->idle, &pool->lock);
    pool->n = 0;
    error = pool->error;
    pthread_mutex_unlock(&pool->lock);
    return error;
}
