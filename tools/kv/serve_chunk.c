/* SPDX-License-Identifier: BSD-2-Clause */
/* Requests on chunks. */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "tools/kv/remote.h"
#include "tools/kv/serve_http.h"

enum { BLOCK = 65536 };

/* What is known of a stored chunk after its head was read. */
typedef struct found {
    handle *handle;
    int fd;                     /* of a folder's file; below 0: none */
    tsr_store_entry entry;
    char etag[TSR_KV_NAME_TEXT];
} found;

static tsr_error read_head(found *f, const char *key, kv_head *h)
{
    const tsr_sink sink = { h, kv_head_take };
    tsr_error error = tsr_store_open_file(f->handle->store, key, &f->fd,
                                          &f->entry);
    if (error == TSR_E_UNSUPPORTED) {
        f->fd = -1;
        return tsr_store_get(f->handle->store, key, 0, sizeof h->data, &sink,
                             &f->entry);
    }
    if (error) {
        f->fd = -1;
        return error;
    }
    const ssize_t n = pread(f->fd, h->data, sizeof h->data, 0);
    h->size = n > 0 ? (size_t)n : 0;
    return n < 0 ? TSR_E_IO : TSR_OK;
}

/* A stored chunk that is damaged where it shows counts as missing, so that the
 * next that has it puts it there again. */
static tsr_error check_head(request *r, found *f, const kv_head *h)
{
    tsr_kv_chunk chunk;
    tsr_error error = tsr_kv_chunk_probe(f->handle->ctx, h->data, h->size,
                                         &chunk);
    if (!error && memcmp(chunk.name, r->name, sizeof chunk.name))
        error = TSR_E_MODEL;
    if (!error && chunk.bytes != f->entry.bytes)
        error = TSR_E_TRUNCATED;
    if (!error) {
        tsr_kv_name_text(chunk.digest, f->etag);
        return TSR_OK;
    }
    metrics_store_error(r->server->metrics);
    snprintf(f->handle->why, sizeof f->handle->why,
             "what is stored is damaged: %s", tsr_error_string(error));
    return TSR_E_MISSING;
}

static void found_close(request *r, found *f)
{
    if (f->fd >= 0)
        close(f->fd);
    f->fd = -1;
    if (f->handle)
        pool_give(r->server->pool, f->handle);
    f->handle = NULL;
}

/* Takes a handle and finds the request's chunk; found_close() in any case. */
static tsr_error find(request *r, found *f)
{
    kv_head h = { .size = 0 };
    tsr_error error;
    *f = (found){ .fd = -1 };
    f->handle = pool_take(r->server->pool, &error);
    if (!f->handle)
        return error;
    error = read_head(f, r->key, &h);
    return error ? error : check_head(r, f, &h);
}

/* RFC 9110, 13.2.2.  Returns 0 or the status to answer. */
static unsigned condition(const request *r, const char *etag)
{
    const int reads = r->method == METHOD_GET || r->method == METHOD_HEAD;
    const char *text = request_field(r, "If-Match");
    if (text && !etag_matches(text, etag, 0))
        return 412;
    text = request_field(r, "If-None-Match");
    if (text && etag_matches(text, etag, 1))
        return reads ? 304 : 412;
    return 0;
}

/* ---- GET and HEAD ---- */

static void add_fields(struct MHD_Response *p, const found *f)
{
    char text[TSR_KV_NAME_TEXT + 2];
    struct tm tm;
    const time_t then = (time_t)f->entry.modified;

    snprintf(text, sizeof text, "\"%s\"", f->etag);
    MHD_add_response_header(p, "ETag", text);
    MHD_add_response_header(p, "Accept-Ranges", "bytes");
    MHD_add_response_header(p, "Content-Type", "application/octet-stream");
    if (f->entry.modified > 0 && gmtime_r(&then, &tm) &&
        strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &tm))
        MHD_add_response_header(p, "Last-Modified", text);
}

/* How much of it is wanted; a status. */
static unsigned wanted(const request *r, const found *f, uint64_t *first,
                       uint64_t *bytes)
{
    const char *unless = request_field(r, "If-Range");
    int kind = RANGE_NONE;
    *first = 0;
    if (r->method == METHOD_GET && (!unless || etag_matches(unless, f->etag, 0)))
        kind = range_parse(request_field(r, "Range"), f->entry.bytes, first,
                           bytes);
    if (kind == RANGE_NONE) {
        *first = 0;
        *bytes = f->entry.bytes;
    }
    return kind == RANGE_PART ? 206 : kind == RANGE_BAD ? 416 : 200;
}

static ssize_t pull(void *cookie, uint64_t at, char *data, size_t size)
{
    (void)at;
    const ptrdiff_t n = feed_read(cookie, data, size);
    return n > 0 ? n : n ? MHD_CONTENT_READER_END_WITH_ERROR
                         : MHD_CONTENT_READER_END_OF_STREAM;
}

static void pulled(void *cookie)
{
    feed *f = cookie;
    feed_close(&f);
}

static ssize_t pull_nothing(void *cookie, uint64_t at, char *data, size_t size)
{
    (void)cookie, (void)at, (void)data, (void)size;
    return MHD_CONTENT_READER_END_WITH_ERROR;
}

/* An answer whose body a store pushes, or NULL after *error. */
static struct MHD_Response *feed_response(request *r, handle *h,
                                          const tsr_store_entry *entry,
                                          uint64_t first, uint64_t bytes,
                                          const char *prefix, tsr_error *error)
{
    feed *f;
    *error = feed_open(&f, r->server->pool, h, entry, first, bytes, prefix);
    if (!*error)
        *error = feed_wait(f, r->why);
    if (*error) {
        feed_close(&f);
        return NULL;
    }
    feed_count(f, entry ? NULL : &r->sent);
    struct MHD_Response *p = MHD_create_response_from_callback(
        entry ? bytes : MHD_SIZE_UNKNOWN, BLOCK, pull, f, pulled);
    if (!p)
        feed_close(&f);
    return p;
}

/* Takes over f's file or handle. */
static struct MHD_Response *body_of(request *r, found *f, uint64_t first,
                                    uint64_t bytes, tsr_error *error)
{
    *error = TSR_OK;
    if (r->method == METHOD_HEAD)
        return MHD_create_response_from_callback(bytes, BLOCK, pull_nothing,
                                                 NULL, NULL);
    if (f->fd >= 0) {
        struct MHD_Response *p =
            MHD_create_response_from_fd_at_offset64(bytes, f->fd, first);
        f->fd = p ? -1 : f->fd;
        return p;
    }
    handle *h = f->handle;
    f->handle = NULL;
    return feed_response(r, h, &f->entry, first, bytes, NULL, error);
}

static enum MHD_Result refuse_range(request *r, const found *f)
{
    char text[64];
    struct MHD_Response *p = MHD_create_response_from_buffer(
        0, NULL, MHD_RESPMEM_PERSISTENT);
    snprintf(text, sizeof text, "bytes */%llu",
             (unsigned long long)f->entry.bytes);
    if (p) {
        add_fields(p, f);
        MHD_add_response_header(p, "Content-Range", text);
    }
    return answer_with(r, 416, p);
}

static enum MHD_Result send_found(request *r, found *f)
{
    uint64_t first, bytes;
    char text[96];
    tsr_error error;
    const unsigned status = wanted(r, f, &first, &bytes);

    if (status == 416)
        return refuse_range(r, f);
    struct MHD_Response *p = body_of(r, f, first, bytes, &error);
    if (error)
        return answer_error(r, error, r->why);
    if (p)
        add_fields(p, f);
    if (p && status == 206) {
        snprintf(text, sizeof text, "bytes %llu-%llu/%llu",
                 (unsigned long long)first,
                 (unsigned long long)(first + bytes - 1),
                 (unsigned long long)f->entry.bytes);
        MHD_add_response_header(p, "Content-Range", text);
    }
    r->sent = r->method == METHOD_HEAD ? 0 : bytes;
    return answer_with(r, status, p);
}

static enum MHD_Result not_modified(request *r, const found *f)
{
    struct MHD_Response *p = MHD_create_response_from_buffer(
        0, NULL, MHD_RESPMEM_PERSISTENT);
    if (p)
        add_fields(p, f);
    return answer_with(r, 304, p);
}

enum MHD_Result chunk_get(request *r)
{
    found f;
    enum MHD_Result result;
    const tsr_error error = find(r, &f);
    const unsigned status = error ? 0 : condition(r, f.etag);

    if (error)
        result = answer_error(r, error, f.handle ? f.handle->why : "");
    else if (status == 304)
        result = not_modified(r, &f);
    else if (status)
        result = answer_text(r, status, "what is stored is another");
    else
        result = send_found(r, &f);
    found_close(r, &f);
    return result;
}

/* ---- PUT and DELETE ---- */

/* Whether there is a whole chunk, and the conditions of the request on it. */
static tsr_error look(request *r, int *there, unsigned *status)
{
    found f;
    tsr_error error = find(r, &f);
    *there = !error;
    *status = 0;
    if (!error || error == TSR_E_MISSING) {
        *status = condition(r, error ? NULL : f.etag);
        error = TSR_OK;
    } else if (f.handle) {
        memcpy(r->why, f.handle->why, sizeof r->why);
    }
    found_close(r, &f);
    return error;
}

static enum MHD_Result stored(request *r, int there, const uint8_t digest[32])
{
    char hex[TSR_KV_NAME_TEXT], text[TSR_KV_NAME_TEXT + 2];
    struct MHD_Response *p = MHD_create_response_from_buffer(
        0, NULL, MHD_RESPMEM_PERSISTENT);
    tsr_kv_name_text(digest, hex);
    snprintf(text, sizeof text, "\"%s\"", hex);
    if (p)
        MHD_add_response_header(p, "ETag", text);
    return answer_with(r, there ? 204 : 201, p);
}

static enum MHD_Result put_with(request *r, handle *h, int there)
{
    tsr_kv_chunk chunk;
    tsr_error error = tsr_kv_chunk_check(h->ctx, r->body.data, r->body.size,
                                         r->name, &chunk);
    if (error == TSR_E_NOMEM)
        return answer_error(r, error, "");
    if (error)
        return answer_text(r, 422, "not a good chunk of that name: %s",
                           *h->why ? h->why : tsr_error_string(error));
    error = tsr_store_put(h->store, r->key, r->body.data, r->body.size);
    if (error)
        return answer_error(r, error, h->why);
    return stored(r, there, chunk.digest);
}

enum MHD_Result chunk_put(request *r)
{
    int there;
    unsigned status;
    tsr_error error = look(r, &there, &status);
    if (error)
        return answer_error(r, error, r->why);
    if (status)
        return answer_text(r, status, there ? "there is one" : "there is none");
    handle *h = pool_take(r->server->pool, &error);
    if (!h)
        return answer_error(r, error, "");
    const enum MHD_Result result = put_with(r, h, there);
    pool_give(r->server->pool, h);
    return result;
}

enum MHD_Result chunk_delete(request *r)
{
    int there = 1;
    unsigned status = 0;
    tsr_error error = TSR_OK;
    if (request_field(r, "If-Match") || request_field(r, "If-None-Match"))
        error = look(r, &there, &status);
    if (error)
        return answer_error(r, error, r->why);
    if (status)
        return answer_text(r, status, there ? "there is one" : "there is none");
    handle *h = pool_take(r->server->pool, &error);
    if (!h)
        return answer_error(r, error, "");
    error = tsr_store_remove(h->store, r->key);
    const enum MHD_Result result = error
        ? answer_error(r, error, h->why)
        : answer_with(r, 204, MHD_create_response_from_buffer(
              0, NULL, MHD_RESPMEM_PERSISTENT));
    pool_give(r->server->pool, h);
    return result;
}

/* ---- the list ---- */

enum MHD_Result chunk_list(request *r)
{
    const char *prefix = MHD_lookup_connection_value(
        r->mhd, MHD_GET_ARGUMENT_KIND, "prefix");
    tsr_error error;

    prefix = prefix ? prefix : "";
    if (strlen(prefix) > 64 ||
        strspn(prefix, "0123456789abcdef") != strlen(prefix))
        return answer_text(r, 400, "a prefix is up to 64 digits 0-9 a-f");
    handle *h = pool_take(r->server->pool, &error);
    if (!h)
        return answer_error(r, error, "");
    struct MHD_Response *p = feed_response(r, h, NULL, 0, 0, prefix, &error);
    if (error)
        return answer_error(r, error, r->why);
    if (p)
        MHD_add_response_header(p, "Content-Type", "text/plain");
    return answer_with(r, 200, p);
}
