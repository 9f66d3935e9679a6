/* SPDX-License-Identifier: BSD-2-Clause */
#include <netdb.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include "tools/kv/serve.h"

struct conns {
    pthread_mutex_t lock;
    conn *first;
    unsigned n, most;
};

double serve_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static long long milliseconds(double seconds)
{
    return (long long)(1e3 * seconds);
}

conns *conns_open(unsigned most)
{
    conns *cs = calloc(1, sizeof *cs);
    if (cs && pthread_mutex_init(&cs->lock, NULL)) {
        free(cs);
        return NULL;
    }
    if (cs)
        cs->most = most;
    return cs;
}

conn *conns_add(conns *cs, int fd, const void *address, size_t size)
{
    conn *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->fd = fd;
    if (getnameinfo(address, (socklen_t)size, c->address, sizeof c->address,
                    NULL, 0, NI_NUMERICHOST))
        snprintf(c->address, sizeof c->address, "?");
    conn_enter(c, CONN_HEAD);
    pthread_mutex_lock(&cs->lock);
    c->next = cs->first;
    c->at = &cs->first;
    if (c->next)
        c->next->at = &c->next;
    cs->first = c;
    c->beyond = ++cs->n > cs->most;
    pthread_mutex_unlock(&cs->lock);
    return c;
}

void conns_remove(conns *cs, conn *c)
{
    if (!c)
        return;
    pthread_mutex_lock(&cs->lock);
    *c->at = c->next;
    if (c->next)
        c->next->at = c->at;
    cs->n--;
    pthread_mutex_unlock(&cs->lock);
    free(c);
}

void conn_enter(conn *c, int state)
{
    atomic_store(&c->since, milliseconds(serve_now()));
    atomic_store(&c->received, 0);
    atomic_store(&c->state, state);
}

/* Whether nothing, or hardly anything, has come for so long.  libmicrohttpd ends
 * silent connections itself; a second later those are left that drip. */
static int stalled(conn *c, double now, double timeout)
{
    const int state = atomic_load(&c->state);
    const double most = state == CONN_HEAD ? timeout + 1 : timeout;
    if (state == CONN_ANSWER ||
        milliseconds(now - most) < atomic_load(&c->since))
        return 0;
    const double came = (double)atomic_load(&c->received);
    if (state == CONN_HEAD || came < CONN_LEAST_RATE * timeout)
        return 1;
    atomic_store(&c->since, milliseconds(now));
    atomic_store(&c->received, 0);
    return 0;
}

int conns_reap(conns *cs, double timeout)
{
    const double now = serve_now();
    int ended = 0;
    pthread_mutex_lock(&cs->lock);
    for (conn *c = cs->first; c; c = c->next)
        if (stalled(c, now, timeout) && !atomic_exchange(&c->ended, 1)) {
            shutdown(c->fd, SHUT_RDWR);
            ended++;
        }
    pthread_mutex_unlock(&cs->lock);
    return ended;
}

unsigned conns_count(conns *cs)
{
    pthread_mutex_lock(&cs->lock);
    const unsigned n = cs->n;
    pthread_mutex_unlock(&cs->lock);
    return n;
}

void conns_close(conns **cs)
{
    if (!*cs)
        return;
    pthread_mutex_destroy(&(*cs)->lock);
    free(*cs);
    *cs = NULL;
}
