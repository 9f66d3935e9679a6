/* SPDX-License-Identifier: BSD-2-Clause */
#include "net/redis_link.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>

enum {
    SLICE = 50,             /* ms between looks at cancel */
    ENOUGH = 1024,          /* bytes that count as going on */
    ELEMENTS = 100000       /* that an array may have, all levels together */
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static tsr_error broken(tsri_redis_link *l, const char *why)
{
    return tsri_store_fail(l->store, TSR_E_IO, "%s:%d: %s", l->host, l->port,
                           why);
}

/* ---- replies as they are taken apart ---- */

/* hiredis would build trees of objects, of sizes that the server names.  Nothing
 * is built: values are passed on where they lie, arrays only counted. */

static int depth_of(const redisReadTask *task)
{
    int depth = 0;
    while ((task = task->parent) != NULL)
        depth++;
    return depth;
}

/* What hiredis sees as the object: any pointer but NULL, which is an error. */
static void *pass_on(const redisReadTask *task, const char *data, size_t size)
{
    static char object;
    tsri_redis_reply *r = task->privdata;
    if (!depth_of(task)) {
        const size_t n = size < sizeof r->text ? size : sizeof r->text - 1;
        memcpy(r->text, data, n);
        r->text[n] = '\0';
        r->bytes = size;
        r->type = task->type;
    } else if (r->integer++ >= ELEMENTS) {
        return NULL;
    }
    const int value = task->type == REDIS_REPLY_STRING || depth_of(task);
    if (r->take && value)
        r->error = r->take(r->cookie, task, data, size);
    return r->error ? NULL : &object;
}

static void *on_string(const redisReadTask *task, char *data, size_t size)
{
    return pass_on(task, data, size);
}

static void *on_integer(const redisReadTask *task, long long value)
{
    tsri_redis_reply *r = task->privdata;
    char text[24];
    const int n = snprintf(text, sizeof text, "%lld", value);
    void *object = pass_on(task, text, (size_t)n);
    if (!depth_of(task))
        r->integer = value;
    return object;
}

static void *on_nil(const redisReadTask *task)
{
    static char object;
    tsri_redis_reply *r = task->privdata;
    if (!depth_of(task))
        r->type = REDIS_REPLY_NIL;
    else if (r->integer++ >= ELEMENTS)
        return NULL;
    return &object;
}

static redisReplyObjectFunctions functions = {
    .createString = on_string, .createInteger = on_integer, .createNil = on_nil
};

/* ---- waiting ---- */

static void goes_on(tsri_redis_link *l, size_t bytes)
{
    l->moved += bytes;
    if (l->moved >= ENOUGH) {
        l->moved = 0;
        l->since = now();
    }
}

static tsr_error wait_for(tsri_redis_link *l, int events)
{
    for (;;) {
        struct pollfd p = { .fd = l->context->fd, .events = (short)events };
        if (atomic_load(&l->store->canceled))
            return TSR_E_CANCELED;
        const double left = l->since + l->store->settings.timeout - now();
        if (left <= 0)
            return broken(l, "no progress within the time-out");
        const int n = poll(&p, 1, left * 1e3 < SLICE ? (int)(left * 1e3) + 1 :
                           SLICE);
        if (n > 0)
            return TSR_OK;
        if (n < 0 && errno != EINTR)
            return broken(l, strerror(errno));
    }
}

/* ---- receiving ---- */

/* What there is, at least a byte.  A string is taken when all of it is there, so
 * that this bounds what a server can make us keep. */
static tsr_error receive(tsri_redis_link *l)
{
    if (l->reader->len - l->reader->pos > TSRI_REDIS_PIECE + TSRI_REDIS_IN)
        return broken(l, "sends more than it was asked for");
    for (;;) {
        const ssize_t n = recv(l->context->fd, l->in, TSRI_REDIS_IN,
                               MSG_DONTWAIT);
        if (n > 0) {
            goes_on(l, (size_t)n);
            return redisReaderFeed(l->reader, l->in, (size_t)n) == REDIS_OK ?
                TSR_OK : TSR_E_NOMEM;
        }
        if (!n)
            return broken(l, "closed the connection");
        if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)
            return broken(l, strerror(errno));
        const tsr_error error = wait_for(l, POLLIN);
        if (error)
            return error;
    }
}

static tsr_error one_reply(tsri_redis_link *l, tsri_redis_reply *r)
{
    void *object = NULL;
    r->type = 0;
    r->integer = 0;
    r->error = TSR_OK;
    l->reader->privdata = r;
    for (;;) {
        const int rc = redisReaderGetReply(l->reader, &object);
        if (r->error)
            return r->error;
        if (rc != REDIS_OK)
            return broken(l, "does not speak as Redis does");
        if (object) {
            if (!r->type)
                r->type = REDIS_REPLY_ARRAY;
            l->since = now();
            l->moved = 0;
            return TSR_OK;
        }
        const tsr_error error = receive(l);
        if (error)
            return error;
    }
}

tsr_error tsri_redis_next(tsri_redis_link *l, tsri_redis_reply *r)
{
    tsri_redis_reply ok = { 0 };
    tsr_error error = TSR_OK;
    if (l->asking)
        error = one_reply(l, &ok);
    if (!error && l->asking && ok.type != REDIS_REPLY_STATUS)
        error = broken(l, "refuses ASKING");
    return error ? error : one_reply(l, r);
}

static int begins(const char *text, const char *with)
{
    return !strncmp(text, with, strlen(with));
}

/* Replies are cut, so that the beginning of a password counts as all of it. */
const char *tsri_redis_said(const tsri_redis_link *l, const tsri_redis_reply *r)
{
    char start[9];
    if (!l->login->password)
        return r->text;
    snprintf(start, sizeof start, "%s", l->login->password);
    return strstr(r->text, start) ? "it says the password back" : r->text;
}

tsr_error tsri_redis_refused(tsri_redis_link *l, const tsri_redis_reply *r)
{
    static const struct { const char *text; tsr_error error; } table[] = {
        { "NOAUTH", TSR_E_DENIED }, { "WRONGPASS", TSR_E_DENIED },
        { "NOPERM", TSR_E_DENIED }, { "ERR invalid password", TSR_E_DENIED },
        { "ERR AUTH", TSR_E_DENIED }, { "ERR Client sent AUTH", TSR_E_DENIED },
        { "DENIED", TSR_E_DENIED }, { "READONLY", TSR_E_DENIED },
        { "WRONGTYPE", TSR_E_DENIED }, { "ERR DB index", TSR_E_ARG },
        { "ERR SELECT is not", TSR_E_ARG }, { "OOM", TSR_E_LIMIT },
        { "MISCONF", TSR_E_LIMIT },
        { "ERR string exceeds", TSR_E_LIMIT },
        { "ERR Protocol error: invalid bulk length", TSR_E_LIMIT },
    };
    tsr_error error = TSR_E_IO;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (begins(r->text, table[i].text))
            error = table[i].error;
    return tsri_store_fail(l->store, error, "%s:%d: %s", l->host, l->port,
                           tsri_redis_said(l, r));
}

tsr_error tsri_redis_expect(tsri_redis_link *l, tsri_redis_reply *r, int type)
{
    const tsr_error error = tsri_redis_next(l, r);
    if (error || r->type == type)
        return error;
    if (r->type == REDIS_REPLY_ERROR)
        return tsri_redis_refused(l, r);
    return broken(l, "answers with something else than was asked for");
}

/* ---- sending ---- */

static tsr_error append(tsri_redis_link *l, const char *text, size_t size)
{
    if (l->used + size > l->room) {
        const size_t room = 2 * (l->used + size);
        char *out = realloc(l->out, room);
        if (!out)
            return TSR_E_NOMEM;
        l->out = out;
        l->room = room;
    }
    memcpy(l->out + l->used, text, size);
    l->used += size;
    return TSR_OK;
}

static tsr_error append_asking(tsri_redis_link *l)
{
    static const char text[] = "*1\r\n$6\r\nASKING\r\n";
    return l->asking ? append(l, text, sizeof text - 1) : TSR_OK;
}

tsr_error tsri_redis_add(tsri_redis_link *l, const char *format, ...)
{
    char *text = NULL;
    va_list list;
    va_start(list, format);
    const int n = redisvFormatCommand(&text, format, list);
    va_end(list);
    if (n < 0)
        return TSR_E_NOMEM;
    tsr_error error = append_asking(l);
    if (!error)
        error = append(l, text, (size_t)n);
    redisFreeCommand(text);
    return error;
}

static size_t advance(struct iovec *part, int parts, size_t n)
{
    size_t left = 0;
    for (int i = 0; i < parts; i++) {
        const size_t k = n < part[i].iov_len ? n : part[i].iov_len;
        if (k)          /* NULL + 0 is not defined */
            part[i].iov_base = (char *)part[i].iov_base + k;
        part[i].iov_len -= k;
        n -= k;
        left += part[i].iov_len;
    }
    return left;
}

/* A server that speaks before it has heard everything refuses; what it says is
 * read as the reply. */
static tsr_error send_parts(tsri_redis_link *l, struct iovec *part, int parts)
{
    const struct msghdr message = { .msg_iov = part, .msg_iovlen = (size_t)parts };
    size_t left = advance(part, parts, 0);
    while (left) {
        const ssize_t n = sendmsg(l->context->fd, &message,
                                  MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0) {
            goes_on(l, (size_t)n);
            left = advance(part, parts, (size_t)n);
            continue;
        }
        if (n < 0 && (errno == EPIPE || errno == ECONNRESET))
            return TSR_OK;
        if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)
            return broken(l, strerror(errno));
        tsr_error error = wait_for(l, POLLIN | POLLOUT);
        struct pollfd p = { .fd = l->context->fd, .events = POLLIN };
        if (!error && poll(&p, 1, 0) > 0)
            error = receive(l);
        if (error == TSR_E_IO && l->reader->len > l->reader->pos)
            return TSR_OK;
        if (error)
            return error;
    }
    return TSR_OK;
}

tsr_error tsri_redis_flush(tsri_redis_link *l)
{
    struct iovec part = { l->out, l->used };
    l->since = now();
    l->moved = 0;
    const tsr_error error = send_parts(l, &part, 1);
    l->used = 0;
    return error;
}

tsr_error tsri_redis_set(tsri_redis_link *l, const char *key, const void *data,
                         size_t size)
{
    char head[64];
    tsr_error error = append_asking(l);
    int n = snprintf(head, sizeof head, "*3\r\n$3\r\nSET\r\n$%zu\r\n",
                     strlen(key));
    if (!error)
        error = append(l, head, (size_t)n);
    if (!error)
        error = append(l, key, strlen(key));
    n = snprintf(head, sizeof head, "\r\n$%zu\r\n", size);
    if (!error)
        error = append(l, head, (size_t)n);
    if (error)
        return error;
    struct iovec part[] = {
        { l->out, l->used }, { (void *)data, size }, { "\r\n", 2 }
    };
    l->since = now();
    l->moved = 0;
    error = send_parts(l, part, 3);
    l->used = 0;
    return error;
}

/* ---- connecting ---- */

void tsri_redis_drop(tsri_redis_link *l)
{
    if (l->reader)
        redisReaderFree(l->reader);
    if (l->context)
        redisFree(l->context);
    l->reader = NULL;
    l->context = NULL;
    l->used = 0;
}

void tsri_redis_free(tsri_redis_link *l)
{
    if (!l)
        return;
    tsri_redis_drop(l);
    free(l->out);
    free(l);
}

static tsr_error connect_to(tsri_redis_link *l)
{
    int code = 0;
    socklen_t size = sizeof code;
    l->since = now();
    l->moved = 0;
    l->context = redisConnectNonBlock(l->host, l->port);
    l->reader = redisReaderCreateWithFunctions(&functions);
    if (!l->context || !l->reader)
        return TSR_E_NOMEM;
    l->reader->maxbuf = 0;      /* keeps its buffer from piece to piece */
    if (l->context->err)
        return broken(l, l->context->errstr);
    fcntl(l->context->fd, F_SETFD, FD_CLOEXEC);
    const tsr_error error = wait_for(l, POLLOUT);
    if (!error && !getsockopt(l->context->fd, SOL_SOCKET, SO_ERROR, &code,
                              &size) && code)
        return broken(l, strerror(code));
    return error;
}

static tsr_error log_in(tsri_redis_link *l)
{
    const tsri_redis_login *in = l->login;
    tsri_redis_reply r = { 0 };
    tsr_error error = TSR_OK;
    if (in->password && in->user)
        error = tsri_redis_add(l, "AUTH %s %s", in->user, in->password);
    else if (in->password)
        error = tsri_redis_add(l, "AUTH %s", in->password);
    if (!error && in->db)
        error = tsri_redis_add(l, "SELECT %d", in->db);
    if (!error)
        error = tsri_redis_flush(l);
    if (!error && in->password)
        error = tsri_redis_expect(l, &r, REDIS_REPLY_STATUS);
    if (!error && in->db)
        error = tsri_redis_expect(l, &r, REDIS_REPLY_STATUS);
    return error;
}

tsr_error tsri_redis_ready(tsri_redis_link *l)
{
    struct pollfd p = { .fd = l->context ? l->context->fd : -1,
                        .events = POLLIN };
    /* Nothing is outstanding: whatever there is to read, it is the end. */
    if (l->context && poll(&p, 1, 0) != 0)
        tsri_redis_drop(l);
    if (l->context)
        return TSR_OK;
    const int asking = l->asking;
    l->asking = 0;
    tsr_error error = connect_to(l);
    if (!error)
        error = log_in(l);
    l->asking = asking;
    if (error)
        tsri_redis_drop(l);
    return error;
}
