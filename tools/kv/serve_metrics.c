/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "tools/kv/serve.h"

const char *const method_names[METHODS] = { "GET", "HEAD", "PUT", "DELETE",
                                            "other" };

/* 499: the client went before it had an answer. */
static const unsigned statuses[] = {
    200, 201, 204, 206, 304, 400, 401, 403, 404, 405, 411, 412, 413, 416, 422,
    499, 500, 502, 503, 507
};
static const double bounds[] = { 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025,
                                 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30 };
enum {
    STATUSES = sizeof statuses / sizeof *statuses,
    BOUNDS = sizeof bounds / sizeof *bounds,
    TEXT_SIZE = 16384
};

struct metrics {
    atomic_ullong requests[METHODS][STATUSES];
    atomic_ullong took[BOUNDS + 1], microseconds;
    atomic_ullong sent, received, store_errors, stalled;
    atomic_uint in_flight;
    time_t start;
};

metrics *metrics_open(void)
{
    metrics *m = calloc(1, sizeof *m);
    if (m)
        m->start = time(NULL);
    return m;
}

void metrics_close(metrics **m)
{
    free(*m);
    *m = NULL;
}

void metrics_begin(metrics *m)
{
    atomic_fetch_add(&m->in_flight, 1);
}

void metrics_end(metrics *m, int method, unsigned status, uint64_t sent,
                 double seconds)
{
    int s = 0, b = 0;
    while (s < STATUSES - 1 && statuses[s] != status)
        s++;
    while (b < BOUNDS && seconds > bounds[b])
        b++;
    atomic_fetch_add(&m->requests[method][s], 1);
    atomic_fetch_add(&m->took[b], 1);
    atomic_fetch_add(&m->microseconds, (unsigned long long)(1e6 * seconds));
    atomic_fetch_add(&m->sent, sent);
    atomic_fetch_sub(&m->in_flight, 1);
}

void metrics_received(metrics *m, size_t bytes)
{
    atomic_fetch_add(&m->received, bytes);
}

void metrics_store_error(metrics *m)
{
    atomic_fetch_add(&m->store_errors, 1);
}

void metrics_stalled(metrics *m)
{
    atomic_fetch_add(&m->stalled, 1);
}

unsigned metrics_in_flight(const metrics *m)
{
    return atomic_load(&m->in_flight);
}

/* ---- the text ---- */

typedef struct text {
    char *data;
    size_t size;
} text;

static void put(text *t, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void put(text *t, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    const int n = vsnprintf(t->data + t->size, TEXT_SIZE - t->size, format,
                            list);
    va_end(list);
    if (n > 0 && (size_t)n < TEXT_SIZE - t->size)
        t->size += (size_t)n;
}

static void head(text *t, const char *name, const char *type, const char *help)
{
    put(t, "# HELP tessera_kv_%s %s\n# TYPE tessera_kv_%s %s\n", name, help,
        name, type);
}

static void one(text *t, const char *name, const char *type, const char *help,
                unsigned long long value)
{
    head(t, name, type, help);
    put(t, "tessera_kv_%s %llu\n", name, value);
}

static void put_requests(text *t, const metrics *m)
{
    head(t, "requests_total", "counter", "Requests answered, by method and "
         "status; 499: the client went first.");
    for (int k = 0; k < METHODS; k++)
        for (int s = 0; s < STATUSES; s++) {
            const unsigned long long n = atomic_load(&m->requests[k][s]);
            if (n)
                put(t, "tessera_kv_requests_total{method=\"%s\",status=\"%u\"}"
                    " %llu\n", method_names[k], statuses[s], n);
        }
}

static void put_times(text *t, const metrics *m)
{
    unsigned long long sum = 0;
    head(t, "request_seconds", "histogram",
         "From a request's head to the end of its answer.");
    for (int b = 0; b < BOUNDS; b++) {
        sum += atomic_load(&m->took[b]);
        put(t, "tessera_kv_request_seconds_bucket{le=\"%g\"} %llu\n", bounds[b],
            sum);
    }
    sum += atomic_load(&m->took[BOUNDS]);
    put(t, "tessera_kv_request_seconds_bucket{le=\"+Inf\"} %llu\n", sum);
    put(t, "tessera_kv_request_seconds_sum %.6f\n",
        1e-6 * (double)atomic_load(&m->microseconds));
    put(t, "tessera_kv_request_seconds_count %llu\n", sum);
}

char *metrics_text(const metrics *m, unsigned connections,
                   const body_budget *budget)
{
    text t = { malloc(TEXT_SIZE), 0 };
    if (!t.data)
        return NULL;
    put_requests(&t, m);
    put_times(&t, m);
    one(&t, "sent_bytes_total", "counter", "Bytes of bodies sent.",
        atomic_load(&m->sent));
    one(&t, "received_bytes_total", "counter", "Bytes of bodies received.",
        atomic_load(&m->received));
    one(&t, "store_errors_total", "counter",
        "Calls that the store behind could not answer.",
        atomic_load(&m->store_errors));
    one(&t, "stalled_connections_total", "counter",
        "Connections ended in a request that came too slowly.",
        atomic_load(&m->stalled));
    one(&t, "requests_in_flight", "gauge", "Requests being answered.",
        atomic_load(&m->in_flight));
    one(&t, "connections", "gauge", "Open connections.", connections);
    one(&t, "upload_memory_bytes", "gauge", "Memory that uploads take now.",
        atomic_load(&budget->used));
    one(&t, "start_time_seconds", "gauge", "When the server began, since 1970.",
        (unsigned long long)m->start);
    return t.data;
}
