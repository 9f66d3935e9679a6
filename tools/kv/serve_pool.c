/* SPDX-License-Identifier: BSD-2-Clause */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include "tools/kv/serve.h"

struct pool {
    const char *url;
    tsr_store_settings settings;
    pthread_mutex_t lock;
    handle *idle, *all;
    int canceled;
};

static void keep_why(void *cookie, tsr_log_level level, const char *message)
{
    handle *h = cookie;
    if (level == TSR_LOG_ERROR)
        snprintf(h->why, sizeof h->why, "%s", message);
}

static void handle_close(handle *h)
{
    tsr_store_close(&h->store);
    tsr_context_close(&h->ctx);
    free(h);
}

static handle *handle_open(const pool *p, tsr_error *error)
{
    tsr_store_settings settings = p->settings;
    tsr_context_settings plain;
    handle *h = calloc(1, sizeof *h);

    *error = TSR_E_NOMEM;
    if (!h)
        return NULL;
    settings.logger = (tsr_logger){ h, keep_why };
    tsr_context_settings_init(&plain);
    plain.backend = "c";
    plain.logger = settings.logger;
    *error = tsr_context_open(&h->ctx, &plain);
    if (!*error)
        *error = tsr_store_open(&h->store, p->url, &settings);
    if (!*error)
        return h;
    if (*h->why && p->settings.logger.log)
        p->settings.logger.log(p->settings.logger.cookie, TSR_LOG_ERROR,
                               h->why);
    handle_close(h);
    return NULL;
}

tsr_error pool_open(pool **out, const char *url,
                    const tsr_store_settings *settings)
{
    tsr_error error;
    pool *p = *out = calloc(1, sizeof *p);
    if (!p || pthread_mutex_init(&p->lock, NULL)) {
        free(p);
        *out = NULL;
        return TSR_E_NOMEM;
    }
    p->url = url;
    p->settings = *settings;
    handle *first = pool_take(p, &error);
    if (first)
        pool_give(p, first);
    else
        pool_close(out);
    return error;
}

handle *pool_take(pool *p, tsr_error *error)
{
    *error = TSR_E_CANCELED;
    pthread_mutex_lock(&p->lock);
    const int canceled = p->canceled;
    handle *h = canceled ? NULL : p->idle;
    if (h)
        p->idle = h->next;
    pthread_mutex_unlock(&p->lock);
    if (h || canceled) {
        *error = h ? TSR_OK : TSR_E_CANCELED;
        if (h)
            h->why[0] = 0;
        return h;
    }
    h = handle_open(p, error);
    if (!h)
        return NULL;
    pthread_mutex_lock(&p->lock);
    h->next_of_all = p->all;
    p->all = h;
    if (p->canceled)
        tsr_store_cancel(h->store);
    pthread_mutex_unlock(&p->lock);
    return h;
}

void pool_give(pool *p, handle *h)
{
    pthread_mutex_lock(&p->lock);
    h->next = p->idle;
    p->idle = h;
    pthread_mutex_unlock(&p->lock);
}

void pool_drop(pool *p, handle *h)
{
    pthread_mutex_lock(&p->lock);
    for (handle **at = &p->all; *at; at = &(*at)->next_of_all)
        if (*at == h) {
            *at = h->next_of_all;
            break;
        }
    pthread_mutex_unlock(&p->lock);
    handle_close(h);
}

void pool_cancel(pool *p)
{
    pthread_mutex_lock(&p->lock);
    p->canceled = 1;
    for (handle *h = p->all; h; h = h->next_of_all)
        tsr_store_cancel(h->store);
    pthread_mutex_unlock(&p->lock);
}

void pool_close(pool **pp)
{
    pool *p = *pp;
    if (!p)
        return;
    while (p->all) {
        handle *h = p->all;
        p->all = h->next_of_all;
        handle_close(h);
    }
    pthread_mutex_destroy(&p->lock);
    free(p);
    *pp = NULL;
}
