/* SPDX-License-Identifier: BSD-2-Clause */
/* What libmicrohttpd calls: connections, requests, and the answers that need no
 * chunk. */
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "tools/kv/serve_http.h"
#include "tools/say.h"

enum {
    FIRST_ROOM = 1 << 20,       /* of an upload whose size nobody said */
    MOST_DROPPED = 1 << 26,     /* bytes of a refused upload that are read, so
                                   that the client gets to see why; beyond them
                                   the connection is closed */
    MORE_CONNECTIONS = 64,      /* that hear 503; libmicrohttpd resets others */
    MEMORY_OF_CONNECTION = 1 << 17, /* bytes that one read brings, at most */
    STACK_OF_CONNECTION = 1 << 18
};

const char *request_field(const request *r, const char *name)
{
    return MHD_lookup_connection_value(r->mhd, MHD_HEADER_KIND, name);
}

/* ---- answers ---- */

static void add_by_status(const request *r, unsigned status,
                          struct MHD_Response *p)
{
    if (status == 401)
        MHD_add_response_header(p, "WWW-Authenticate",
                                "Bearer realm=\"tessera kv\"");
    if (status == 405)
        MHD_add_response_header(p, "Allow", r->route == ROUTE_CHUNK
                                ? "GET, HEAD, PUT, DELETE" : "GET, HEAD");
    if (status == 503)
        MHD_add_response_header(p, "Retry-After", "1");
    if (atomic_load(&r->server->stopping) || (r->conn && r->conn->beyond))
        MHD_add_response_header(p, "Connection", "close");
}

enum MHD_Result answer_with(request *r, unsigned status, struct MHD_Response *p)
{
    if (!p)
        return MHD_NO;
    add_by_status(r, status, p);
    r->status = status;
    const enum MHD_Result result = MHD_queue_response(r->mhd, status, p);
    MHD_destroy_response(p);
    return result;
}

enum MHD_Result answer_text(request *r, unsigned status, const char *format, ...)
{
    char text[sizeof r->why + 64];
    va_list list;
    va_start(list, format);
    int n = vsnprintf(text, sizeof text - 1, format, list);
    va_end(list);
    if (n < 0 || (size_t)n > sizeof text - 2)
        n = (int)sizeof text - 2;
    text[n++] = '\n';
    struct MHD_Response *p = MHD_create_response_from_buffer(
        (size_t)n, text, MHD_RESPMEM_MUST_COPY);
    if (p)
        MHD_add_response_header(p, "Content-Type", "text/plain; charset=utf-8");
    r->sent = r->method == METHOD_HEAD ? 0 : (uint64_t)n;
    return answer_with(r, status, p);
}

static unsigned status_of(tsr_error error)
{
    switch (error) {
    case TSR_E_MISSING:
        return 404;
    case TSR_E_LIMIT:
        return 507;
    case TSR_E_NOMEM:
    case TSR_E_CANCELED:
        return 503;
    case TSR_E_ARG:
    case TSR_E_INTERNAL:
        return 500;
    default:
        return 502;
    }
}

enum MHD_Result answer_error(request *r, tsr_error error, const char *why)
{
    const unsigned status = status_of(error);
    if (status < 500)
        return answer_text(r, status, "%s", *why ? why
                                                 : tsr_error_string(error));
    metrics_store_error(r->server->metrics);
    flockfile(stderr);
    say_warning(r->uri, "%s", *why ? why : tsr_error_string(error));
    funlockfile(stderr);
    return answer_text(r, status, status == 507 ? "the store is full"
                       : status == 503 ? "not now" : "the store failed");
}

static enum MHD_Result answer_metrics(request *r)
{
    char *text = metrics_text(r->server->metrics, conns_count(r->server->conns),
                              &r->server->budget);
    if (!text)
        return MHD_NO;
    struct MHD_Response *p = MHD_create_response_from_buffer(
        strlen(text), text, MHD_RESPMEM_MUST_FREE);
    if (!p) {
        free(text);
        return MHD_NO;
    }
    MHD_add_response_header(p, "Content-Type",
                            "text/plain; version=0.0.4; charset=utf-8");
    r->sent = r->method == METHOD_HEAD ? 0 : strlen(text);
    return answer_with(r, 200, p);
}

static enum MHD_Result answer(request *r)
{
    if (r->refused)
        return answer_text(r, r->refused, "%s", r->why);
    if (r->route == ROUTE_HEALTH)
        return atomic_load(&r->server->stopping)
            ? answer_text(r, 503, "stopping") : answer_text(r, 200, "ok");
    if (r->route == ROUTE_METRICS)
        return answer_metrics(r);
    if (r->route == ROUTE_LIST)
        return chunk_list(r);
    if (r->method == METHOD_PUT)
        return chunk_put(r);
    return r->method == METHOD_DELETE ? chunk_delete(r) : chunk_get(r);
}

/* ---- a request's head ---- */

static void refuse(request *r, unsigned status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The first reason counts. */
static void refuse(request *r, unsigned status, const char *format, ...)
{
    va_list list;
    if (r->refused)
        return;
    r->refused = status;
    va_start(list, format);
    vsnprintf(r->why, sizeof r->why, format, list);
    va_end(list);
}

static int method_of(const char *name)
{
    int m = 0;
    while (m < METHOD_OTHER && strcmp(name, method_names[m]))
        m++;
    return m;
}

/* Nothing is decoded before: a key has no need of %XX. */
static int route_of(request *r, const char *path)
{
    static const char chunks[] = "/v1/chunks";
    const size_t n = sizeof chunks - 1;
    if (!strcmp(path, "/healthz"))
        return ROUTE_HEALTH;
    if (!strcmp(path, "/metrics"))
        return ROUTE_METRICS;
    if (!strcmp(path, chunks))
        return ROUTE_LIST;
    if (strncmp(path, chunks, n) || path[n] != '/')
        return ROUTE_NONE;
    r->bad_key = tsr_kv_name_parse(path + n + 1, r->name) != TSR_OK;
    tsr_kv_name_text(r->name, r->key);
    return ROUTE_CHUNK;
}

static void check_right(request *r)
{
    if (r->route == ROUTE_HEALTH)
        return;
    if (!r->conn || r->conn->beyond)
        refuse(r, 503, "too many connections");
    const int right = tokens_right(r->server->tokens,
                                   request_field(r, "Authorization"));
    if (right == TOKEN_NONE)
        refuse(r, 401, "a token is wanted that is valid");
    else if (right == TOKEN_READ && (r->method == METHOD_PUT ||
                                     r->method == METHOD_DELETE))
        refuse(r, 403, "this token may only read");
}

static void check_method(request *r)
{
    const int writes = r->method == METHOD_PUT || r->method == METHOD_DELETE;
    if (r->route == ROUTE_NONE)
        refuse(r, 404, "no such path");
    else if (r->method == METHOD_OTHER || (writes && r->route != ROUTE_CHUNK))
        refuse(r, 405, "not a method for this path");
    else if (r->bad_key)
        refuse(r, 400, "a key is 64 digits 0-9 a-f");
}

/* What servers in a row could take in different ways: fields with blanks before
 * the colon, several lengths, a length and chunks. */
static enum MHD_Result look_at_field(void *cookie, enum MHD_ValueKind kind,
                                     const char *name, const char *value)
{
    int *lengths = cookie;
    (void)kind, (void)value;
    if (strpbrk(name, " \t"))
        *lengths += 2;
    *lengths += !strcasecmp(name, "Content-Length") ||
        !strcasecmp(name, "Transfer-Encoding");
    return MHD_YES;
}

static int ambiguous(const request *r)
{
    int lengths = 0;
    MHD_get_connection_values(r->mhd, MHD_HEADER_KIND, look_at_field, &lengths);
    return lengths > 1;
}

/* Whether a body comes; its length, or UINT64_MAX where that is not said. */
static int body_comes(const request *r, uint64_t *length)
{
    const char *size = request_field(r, "Content-Length");
    *length = size ? strtoull(size, NULL, 10) : UINT64_MAX;
    if (request_field(r, "Transfer-Encoding")) {
        *length = UINT64_MAX;
        return 1;
    }
    return size && *length;
}

static void check_body(request *r, int comes, uint64_t length)
{
    server *s = r->server;
    if (r->method != METHOD_PUT)
        return;
    if (!comes && length == UINT64_MAX)
        refuse(r, 411, "a PUT wants a length");
    if (request_field(r, "Content-Range"))
        refuse(r, 400, "chunks are put whole");
    if (length != UINT64_MAX && length > s->max_object)
        refuse(r, 413, "%llu bytes, the limit is %llu",
               (unsigned long long)length, (unsigned long long)s->max_object);
    if (!comes || r->refused)
        return;
    const size_t room = length == UINT64_MAX ? FIRST_ROOM : (size_t)length;
    if (!body_fits(&s->budget, length == UINT64_MAX ? 0 : room) ||
        !body_reserve(&r->body, room))
        refuse(r, 503, "too many uploads at once");
}

static enum MHD_Result begin(request *r, const char *url, const char *method)
{
    uint64_t length;
    r->begun = 1;
    r->method = method_of(method);
    r->route = route_of(r, url);
    if (ambiguous(r)) {
        /* An answer before the body's end closes the connection. */
        refuse(r, 400, "a length that can be read in two ways");
        return answer(r);
    }
    check_right(r);
    check_method(r);
    const int comes = body_comes(r, &length);
    check_body(r, comes, length);
    if (r->conn)
        conn_enter(r->conn, comes ? CONN_BODY : CONN_ANSWER);
    /* Who waits for "100 Continue", or would send for long, hears it now. */
    if (r->refused && comes &&
        (request_field(r, "Expect") ||
         (length != UINT64_MAX && length > MOST_DROPPED)))
        return answer(r);
    return MHD_YES;
}

/* ---- its body ---- */

static void grow(request *r, size_t more)
{
    const uint64_t most = r->server->max_object;
    const size_t size = r->body.size + more;
    size_t room = r->body.room;
    if (size > most)
        refuse(r, 413, "the limit is %llu bytes", (unsigned long long)most);
    else if (size > room) {
        room = room < most / 2 ? 2 * room : (size_t)most;
        if (!body_reserve(&r->body, room > size ? room : size))
            refuse(r, 503, "too many uploads at once");
    }
}

static enum MHD_Result take_body(request *r, const char *data, size_t *size)
{
    if (r->conn)
        atomic_fetch_add(&r->conn->received, *size);
    metrics_received(r->server->metrics, *size);
    if (!r->refused && r->method == METHOD_PUT) {
        grow(r, *size);
        if (!r->refused && !body_add(&r->body, data, *size))
            refuse(r, 503, "too many uploads at once");
        if (r->refused)
            body_free(&r->body);
    }
    if (r->refused || r->method != METHOD_PUT) {
        r->dropped += *size;
        if (r->dropped > MOST_DROPPED)
            return MHD_NO;
    }
    *size = 0;
    return MHD_YES;
}

/* ---- what libmicrohttpd calls ---- */

static void *request_open(void *cookie, const char *uri,
                          struct MHD_Connection *mhd)
{
    server *s = cookie;
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(
        mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    request *r = calloc(1, sizeof *r);
    if (!r)
        return NULL;
    r->server = s;
    r->mhd = mhd;
    r->conn = info ? info->socket_context : NULL;
    r->body.budget = &s->budget;
    r->start = serve_now();
    r->method = METHOD_OTHER;
    for (size_t i = 0; i + 1 < sizeof r->uri && uri[i]; i++)
        r->uri[i] = (char)(uri[i] > ' ' && uri[i] < 127 ? uri[i] : '?');
    if (r->conn)
        conn_enter(r->conn, CONN_HEAD);
    metrics_begin(s->metrics);
    return r;
}

static enum MHD_Result handle_request(void *cookie, struct MHD_Connection *mhd,
                                      const char *url, const char *method,
                                      const char *version, const char *data,
                                      size_t *size, void **context)
{
    request *r = *context;
    (void)cookie, (void)mhd, (void)version;
    if (!r)
        return MHD_NO;
    if (!r->begun)
        return begin(r, url, method);
    if (*size)
        return take_body(r, data, size);
    if (r->conn)
        conn_enter(r->conn, CONN_ANSWER);
    return answer(r);
}

static void log_line(const request *r, unsigned status, double seconds)
{
    /* One line at a time, whichever thread. */
    flockfile(stderr);
    say_info("%s %s %s %u %llu %.6f", r->conn ? r->conn->address : "?",
             method_names[r->method], r->uri, status,
             (unsigned long long)r->sent, seconds);
    funlockfile(stderr);
}

static void request_close(void *cookie, struct MHD_Connection *mhd,
                          void **context, enum MHD_RequestTerminationCode end)
{
    request *r = *context;
    (void)cookie, (void)mhd;
    if (!r)
        return;
    const double seconds = serve_now() - r->start;
    const int whole = end == MHD_REQUEST_TERMINATED_COMPLETED_OK && r->status;
    const unsigned status = whole ? r->status : 499;
    r->sent = whole ? r->sent : 0;
    body_free(&r->body);
    log_line(r, status, seconds);
    metrics_end(r->server->metrics, r->method, status, r->sent, seconds);
    if (r->conn)
        conn_enter(r->conn, CONN_HEAD);
    free(r);
    *context = NULL;
}

static void connection_changed(void *cookie, struct MHD_Connection *mhd,
                               void **context,
                               enum MHD_ConnectionNotificationCode what)
{
    server *s = cookie;
    if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
        conns_remove(s->conns, *context);
        *context = NULL;
        return;
    }
    const union MHD_ConnectionInfo *fd = MHD_get_connection_info(
        mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
    const union MHD_ConnectionInfo *address = MHD_get_connection_info(
        mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    *context = conns_add(s->conns, fd->connect_fd, address->client_addr,
                         sizeof(struct sockaddr_storage));
}

static size_t decode_nothing(void *cookie, struct MHD_Connection *mhd, char *text)
{
    (void)cookie, (void)mhd;
    return strlen(text);
}

static void keep_quiet(void *cookie, const char *format, va_list list)
{
    char line[256];
    (void)cookie;
    vsnprintf(line, sizeof line, format, list);
    line[strcspn(line, "\n")] = 0;
    if (say_is_verbose())
        say_info("%s", line);
}

struct MHD_Daemon *server_start(server *s, const server_settings *k)
{
    const struct MHD_OptionItem tls[] = {
        { MHD_OPTION_HTTPS_MEM_CERT, 0, (void *)k->cert },
        { MHD_OPTION_HTTPS_MEM_KEY, 0, (void *)k->key },
        { MHD_OPTION_HTTPS_PRIORITIES, 0,
          (void *)"NORMAL:-VERS-ALL:+VERS-TLS1.2:+VERS-TLS1.3" },
        { MHD_OPTION_END, 0, NULL }
    };
    const struct MHD_OptionItem none[] = { { MHD_OPTION_END, 0, NULL } };
    unsigned flags = MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL |
        MHD_USE_THREAD_PER_CONNECTION | MHD_USE_ITC | MHD_USE_ERROR_LOG;

    flags |= k->cert ? MHD_USE_TLS : 0;
    return MHD_start_daemon(
        flags, 0, NULL, NULL, handle_request, s,
        MHD_OPTION_EXTERNAL_LOGGER, keep_quiet, NULL,
        MHD_OPTION_LISTEN_SOCKET, k->socket,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)k->connections + MORE_CONNECTIONS,
        MHD_OPTION_PER_IP_CONNECTION_LIMIT, (unsigned)k->per_ip,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)ceil(k->timeout),
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)MEMORY_OF_CONNECTION,
        MHD_OPTION_THREAD_STACK_SIZE, (size_t)STACK_OF_CONNECTION,
        MHD_OPTION_STRICT_FOR_CLIENT, 1,
        MHD_OPTION_UNESCAPE_CALLBACK, decode_nothing, NULL,
        MHD_OPTION_URI_LOG_CALLBACK, request_open, s,
        MHD_OPTION_NOTIFY_COMPLETED, request_close, s,
        MHD_OPTION_NOTIFY_CONNECTION, connection_changed, s,
        MHD_OPTION_ARRAY, k->cert ? tls : none, MHD_OPTION_END);
}
