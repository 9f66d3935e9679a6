/* SPDX-License-Identifier: BSD-2-Clause */
/* How much of a context is stored: some threads ask for one chunk after the
 * other until one is missing. */
#include "net/stream.h"
#include <stdlib.h>

typedef struct search {
    const tsr_kv_stream_settings *set;
    uint8_t (*name)[TSR_KV_NAME_BYTES];
    size_t tokens;
    int chunks;
    atomic_int next;            /* nobody has asked for it */
    atomic_int end;             /* the first that is known to be missing */
    atomic_int error;           /* TSR_OK, or why it is not known */
} search;

static size_t tokens_of(const search *s, int chunk)
{
    const size_t each = (size_t)s->set->chunk_tokens;
    const size_t left = s->tokens - (size_t)chunk * each;
    return left < each ? left : each;
}

/* Its whole side of a race of lowering: the least stays. */
static void lower(atomic_int *least, int value)
{
    int now = atomic_load(least);
    while (value < now && !atomic_compare_exchange_weak(least, &now, value))
        ;
}

static void ask_all(search *s, tsr_store *store, tsr_context *context)
{
    for (;;) {
        const int i = atomic_fetch_add(&s->next, 1);
        if (i >= atomic_load(&s->end) || atomic_load(&s->error))
            return;
        const tsr_error error = tsri_chunk_stored(store, context, s->name[i],
                                                  tokens_of(s, i));
        if (error == TSR_E_MISSING)
            lower(&s->end, i);
        else if (error)
            atomic_store(&s->error, error);
    }
}

static void *ask_thread(void *cookie)
{
    search *s = cookie;
    tsr_context *context = NULL;
    tsr_store *store = NULL;
    tsr_store_settings set = s->set->store;

    set.logger.log = NULL;      /* it is another thread than the caller's */
    tsr_error error = tsr_context_open(&context, NULL);
    if (!error)
        error = tsr_store_open(&store, s->set->url, &set);
    if (!error)
        ask_all(s, store, context);
    else
        atomic_store(&s->error, error);
    tsr_store_close(&store);
    tsr_context_close(&context);
    return NULL;
}

/* On this thread and as many others as there are connections beside it. */
static void ask(search *s)
{
    enum { MOST = 64 };
    pthread_t thread[MOST];
    int others = s->set->connections < s->chunks ? s->set->connections
                                                 : s->chunks;
    int n = 0;

    while (n < others - 1 && !pthread_create(&thread[n], NULL, ask_thread, s))
        n++;
    ask_thread(s);
    for (int i = 0; i < n; i++)
        pthread_join(thread[i], NULL);
}

tsr_error tsr_kv_stored(const tsr_kv_stream_settings *set, const int32_t *ids,
                        size_t n, size_t *tokens)
{
    if (!tokens)
        return TSR_E_ARG;
    *tokens = 0;
    tsr_kv_stream_settings own;
    if (!tsri_settings_good(&own, set) || (!ids && n) || n > (size_t)1 << 20)
        return TSR_E_ARG;
    search s = { .set = &own, .tokens = n };
    s.chunks = tsri_chunk_count(n, own.chunk_tokens);
    if (!s.chunks)
        return TSR_OK;
    tsr_error error = tsri_names(&own, ids, n, &s.name);
    if (!error) {
        atomic_init(&s.end, s.chunks);
        ask(&s);
        error = (tsr_error)atomic_load(&s.error);
        const size_t end = (size_t)atomic_load(&s.end) *
            (size_t)own.chunk_tokens;
        *tokens = error ? 0 : end < n ? end : n;
    }
    free(s.name);
    return error;
}
