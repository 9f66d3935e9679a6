/* SPDX-License-Identifier: BSD-2-Clause */
/* Which server of a cluster has a key.  The first redirection makes us ask for
 * the table of all; a server that is not of a cluster never sends one. */
#include "net/store_redis.h"
#include <stdlib.h>
#include <string.h>

enum { HOPS = 5 };

/* CRC-16 with polynomial 0x1021 of the key, or of what stands in its first
 * {braces}. */
static int slot_of(const char *key)
{
    const char *open = strchr(key, '{');
    const char *close = open ? strchr(open, '}') : NULL;
    const int tagged = close && close > open + 1;
    const char *from = tagged ? open + 1 : key;
    const char *to = tagged ? close : key + strlen(key);
    unsigned crc = 0;
    for (; from < to; from++) {
        crc ^= (unsigned)(unsigned char)*from << 8;
        for (int i = 0; i < 8; i++)
            crc = crc & 0x8000 ? crc << 1 ^ 0x1021 : crc << 1;
    }
    return (int)(crc & 0x3fff);
}

/* ---- servers ---- */

tsr_error tsri_redis_node(tsr_store *store, const char *host, int port,
                          int *index)
{
    tsri_redis *r = store->state;
    for (*index = 0; *index < r->nodes; ++*index)
        if (r->node[*index]->port == port &&
            !strcmp(r->node[*index]->host, host))
            return TSR_OK;
    if (r->nodes == TSRI_REDIS_NODES)
        return tsri_store_fail(store, TSR_E_IO, "%s:%d: one server too many for"
                               " a cluster", host, port);
    tsri_redis_link **node =
        realloc(r->node, (size_t)(r->nodes + 1) * sizeof *node);
    if (!node)
        return TSR_E_NOMEM;
    r->node = node;
    tsri_redis_link *l = calloc(1, sizeof *l);
    if (!l)
        return TSR_E_NOMEM;
    l->store = store;
    l->login = &r->login;
    l->port = port;
    l->in = r->in;
    strcpy(l->host, host);
    node[r->nodes++] = l;
    return TSR_OK;
}

static tsr_error own(tsr_store *store, long first, long last, const char *host,
                     int port)
{
    tsri_redis *r = store->state;
    int node;
    const tsr_error error = tsri_redis_node(store, host, port, &node);
    if (!error && !r->owner)
        r->owner = calloc(TSRI_REDIS_SLOTS, sizeof *r->owner);
    if (error || !r->owner)
        return error ? error : TSR_E_NOMEM;
    for (long i = first; i <= last; i++)
        r->owner[i] = (uint16_t)node;
    return TSR_OK;
}

/* ---- the table ---- */

/* Of [first, last, [host, port, ...], [a replica ...] ...] of each range. */
typedef struct table {
    tsr_store *store;
    const tsri_redis_link *link;
    long first, last;
    char host[256];
    int named;              /* it has said at least one server */
} table;

static long small(const char *data, size_t size)
{
    char text[8] = "";
    if (size >= sizeof text)
        return -1;
    memcpy(text, data, size);
    return strtol(text, NULL, 10);
}

static tsr_error table_entry(void *cookie, const redisReadTask *task,
                             const char *data, size_t size)
{
    table *t = cookie;
    const int deep = task->parent && task->parent->parent &&
        task->parent->parent->parent;
    if (task->parent && task->parent->parent && !deep) {
        if (task->idx == 0)
            t->first = small(data, size);
        if (task->idx == 1)
            t->last = small(data, size);
        strcpy(t->host, t->link->host);
    }
    if (!deep || task->parent->parent->parent->parent || task->parent->idx != 2)
        return TSR_OK;
    if (task->idx == 0 && size && size < sizeof t->host) {
        memcpy(t->host, data, size);
        t->host[size] = '\0';
    }
    if (task->idx != 1)
        return TSR_OK;
    const long port = small(data, size);
    if (t->first < 0 || t->last >= TSRI_REDIS_SLOTS || t->first > t->last ||
        port < 1 || port > 65535)
        return TSR_E_CORRUPT;
    t->named = 1;
    return own(t->store, t->first, t->last, t->host, (int)port);
}

tsr_error tsri_redis_learn(tsr_store *store, tsri_redis_link *l, int *cluster)
{
    table t = { .store = store, .link = l, .first = -1 };
    tsri_redis_reply r = { .take = table_entry, .cookie = &t };
    *cluster = 0;
    tsr_error error = tsri_redis_ready(l);
    if (!error)
        error = tsri_redis_add(l, "CLUSTER SLOTS");
    if (!error)
        error = tsri_redis_flush(l);
    if (!error)
        error = tsri_redis_next(l, &r);
    /* Empty: a cluster without slots, or none. */
    if (!error && r.type == REDIS_REPLY_ARRAY && r.integer > 0 && !t.named)
        error = TSR_E_CORRUPT;
    if (error)
        tsri_redis_drop(l);
    /* Whoever may not ask would take a part of a cluster for all of it. */
    if (!error && r.type == REDIS_REPLY_ERROR && !strncmp(r.text, "NOPERM", 6))
        error = tsri_redis_refused(l, &r);
    if (error == TSR_E_CORRUPT)
        error = tsri_store_fail(store, TSR_E_IO, "%s:%d: nonsense instead of "
                                "the table of the cluster", l->host, l->port);
    *cluster = t.named;
    return error;
}

/* ---- redirections ---- */

/* "MOVED 3999 127.0.0.1:6381", the host may be left away. */
static tsr_error redirected(tsri_redis_call *call, int *node)
{
    const char *text = strchr(call->reply.text, ' ');
    const char *at = text ? strchr(text + 1, ' ') : NULL;
    char host[256];
    int port;
    if (!at || !strchr(at, ':') ||
        !tsri_redis_address(host, &port, at + 1, strlen(at + 1)) ||
        !strcmp(host, "?"))
        return tsri_store_fail(call->store, TSR_E_IO, "%s:%d: sends us nowhere:"
                               " %s", call->link->host, call->link->port,
                               tsri_redis_said(call->link, &call->reply));
    return tsri_redis_node(call->store, *host ? host : call->link->host, port,
                           node);
}

static int is(const tsri_redis_call *call, const char *word)
{
    return call->reply.type == REDIS_REPLY_ERROR &&
        !strncmp(call->reply.text, word, strlen(word));
}

static tsr_error run_on(tsri_redis_call *call, int node, int asking)
{
    const tsri_redis *r = call->store->state;
    call->link = r->node[node];
    tsr_error error = tsri_redis_ready(call->link);
    call->link->asking = asking;
    call->reply.type = 0;
    if (!error)
        error = call->run(call);
    call->link->asking = 0;
    if (error && error != TSR_E_MISSING)
        tsri_redis_drop(call->link);
    return error;
}

/* A server that is down may have been replaced: the next attempt asks another
 * one. */
static void forget(tsri_redis *r)
{
    free(r->owner);
    r->owner = NULL;
    r->first = (r->first + 1) % r->nodes;
}

tsr_error tsri_redis_run(tsri_redis_call *call)
{
    tsri_redis *r = call->store->state;
    const int slot = slot_of(call->key);
    int node = r->owner ? r->owner[slot] : r->first, cluster;
    tsr_error error = run_on(call, node, 0);
    for (int i = 0; !error && (is(call, "MOVED ") || is(call, "ASK ")); i++) {
        const int moved = is(call, "MOVED ");
        if (i == HOPS)
            return tsri_store_fail(call->store, TSR_E_IO, "%s:%d: sent from "
                                   "server to server", call->link->host,
                                   call->link->port);
        error = redirected(call, &node);
        if (!error && moved)
            error = tsri_redis_learn(call->store, r->node[node], &cluster);
        if (!error && moved)
            error = own(call->store, slot, slot, r->node[node]->host,
                        r->node[node]->port);
        if (!error)
            error = run_on(call, node, !moved);
    }
    if (error == TSR_E_IO)
        forget(r);
    return error;
}
