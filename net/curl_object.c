/* SPDX-License-Identifier: BSD-2-Clause */
/* Objects by GET, HEAD, PUT and DELETE. */
#include "net/curl.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { URL_ROOM = 2048 };

static tsr_error address(tsri_web *w, const char *key, char url[URL_ROOM])
{
    const int n = snprintf(url, URL_ROOM, "%s%s", w->base, key);
    if (n < 0 || n >= URL_ROOM)
        return tsri_store_fail(w->store, TSR_E_ARG, "%s: too long a URL", key);
    return TSR_OK;
}

/* Only the object of which a beginning was passed on may go on. */
static tsr_error send_bound(tsri_web *w, const char *key)
{
    char line[sizeof "If-Match: " + sizeof w->store->version];
    if (!*w->store->version)
        return tsri_web_send(w, key, w->headers);
    snprintf(line, sizeof line, "If-Match: %s", w->store->version);
    struct curl_slist *first = curl_slist_append(NULL, line);
    if (!first)
        return TSR_E_NOMEM;
    first->next = w->headers;
    const tsr_error error = tsri_web_send(w, key, first);
    if (w->answer.status == 412)
        w->store->replaced = 1;
    first->next = NULL;
    curl_slist_free_all(first);
    return error;
}

static void fill(tsr_store_entry *entry, const char *key, uint64_t bytes,
                 int64_t modified)
{
    memset(entry, 0, sizeof *entry);
    memcpy(entry->key, key, strlen(key));
    entry->bytes = bytes;
    entry->modified = modified;
}

/* ---- reading ---- */

typedef struct reading {
    tsri_web *web;
    const char *key;
    uint64_t offset, bytes;
    const tsr_sink *sink;
    tsr_store_entry *entry;
    int started, done;
    uint64_t skip, left;    /* of the body: to be dropped, then to be passed on */
} reading;

static tsr_error nonsense(const reading *r, const char *what)
{
    return tsri_store_fail(r->web->store, TSR_E_IO, "%s: %s answers with %s",
                           r->key, r->web->place, what);
}

/* What of the object [0, total) is wanted. */
static uint64_t wanted(const reading *r, uint64_t total)
{
    const uint64_t rest = r->offset < total ? total - r->offset : 0;
    return r->bytes && r->bytes < rest ? r->bytes : rest;
}

/* 206 has to be just what was asked for; of 200 the beginning is dropped. */
static tsr_error check_range(reading *r, const tsri_answer *a, uint64_t *total)
{
    if (a->status == 200) {
        if (!a->sized || a->ranged)
            return nonsense(r, a->ranged ? "a range that it calls the whole"
                                         : "no Content-Length");
        *total = a->length;
        r->left = wanted(r, *total);
        r->skip = r->left ? r->offset : 0;
        return TSR_OK;
    }
    if (a->status != 206 || !a->ranged || a->last < a->first)
        return nonsense(r, "neither the object nor a range of it");
    *total = a->total;
    r->left = wanted(r, *total);
    if (a->first != r->offset || a->last - a->first + 1 != r->left ||
        (a->sized && a->length != r->left))
        return nonsense(r, "another range than the one asked for");
    return TSR_OK;
}

/* The version of the first answer binds the attempts that go on from it. */
static tsr_error check_version(reading *r, const tsri_answer *a)
{
    tsr_store *s = r->web->store;
    if (!*s->version)
        memcpy(s->version, a->version, sizeof a->version);
    else if (strcmp(s->version, a->version) != 0)
        s->replaced = 1;
    return s->replaced ? tsri_store_fail(s, TSR_E_IO, "%s: replaced while it was"
                                         " read", r->key) : TSR_OK;
}

static tsr_error start(reading *r, const tsri_answer *a)
{
    tsr_store *s = r->web->store;
    uint64_t total = 0;
    r->started = 1;
    if (a->encoded)
        return nonsense(r, "an encoded body, which was not asked for");
    tsr_error error = check_range(r, a, &total);
    if (!error && total > s->settings.max_object)
        error = tsri_store_fail(s, TSR_E_LIMIT, "%s: %llu bytes, the limit is"
                                " %llu", r->key, (unsigned long long)total,
                                (unsigned long long)s->settings.max_object);
    if (!error)
        error = check_version(r, a);
    if (!error)
        fill(r->entry, r->key, total, a->modified);
    return error;
}

static tsr_error take_object(void *cookie, const tsri_answer *a,
                             const void *data, size_t size)
{
    reading *r = cookie;
    tsr_error error = r->started ? TSR_OK : start(r, a);
    if (error)
        return error;
    const size_t skip = r->skip < size ? (size_t)r->skip : size;
    size_t n = size - skip;
    r->skip -= skip;
    n = r->left < n ? (size_t)r->left : n;
    if (n)
        error = r->sink->write(r->sink->cookie, (const char *)data + skip, n);
    if (error)
        return error;
    r->left -= n;
    if (skip + n < size && a->status != 200)
        return nonsense(r, "more than it said");
    /* The rest of an object of which a part was wanted: ends the transfer. */
    r->done = !r->left && !r->skip;
    return r->done && skip + n < size ? TSR_E_EOF : TSR_OK;
}

/* 416: nothing there; right if the object ends before. */
static tsr_error past_end(reading *r)
{
    const tsr_error error = tsri_web_stat(r->web->store, r->key, r->entry);
    if (error)
        return error;
    return r->entry->bytes <= r->offset ? TSR_OK
                                        : nonsense(r, "a range refused");
}

tsr_error tsri_web_get(tsr_store *s, const char *key, uint64_t offset,
                       uint64_t bytes, const tsr_sink *sink,
                       tsr_store_entry *entry)
{
    tsri_web *w = s->state;
    reading r = { .web = w, .key = key, .offset = offset, .bytes = bytes,
                  .sink = sink, .entry = entry };
    char url[URL_ROOM], range[64];
    tsr_error error = address(w, key, url);
    if (!error)
        error = tsri_web_begin(w, url, take_object, &r);
    if (error)
        return error;
    snprintf(range, sizeof range, bytes ? "%llu-%llu" : "%llu-",
             (unsigned long long)offset, (unsigned long long)(offset + bytes - 1));
    if (offset || bytes)
        curl_easy_setopt(w->easy, CURLOPT_RANGE, range);
    error = send_bound(w, key);
    if (error == TSR_E_EOF && r.done)
        return TSR_OK;
    if (!error && w->answer.status == 416)
        return past_end(&r);
    if (!error && !r.started)
        error = start(&r, &w->answer);
    return !error && r.left ? nonsense(&r, "less than it said") : error;
}

/* ---- the others ---- */

static tsr_error begin_one(tsri_web *w, const char *key)
{
    char url[URL_ROOM];
    const tsr_error error = address(w, key, url);
    return error ? error : tsri_web_begin(w, url, NULL, NULL);
}

/* Sends what changes an object; any good answer will do. */
static tsr_error change(tsri_web *w, const char *key,
                        const struct curl_slist *headers)
{
    const tsr_error error = tsri_web_send(w, key, headers);
    if (!error && w->answer.status / 100 != 2)
        return tsri_store_fail(w->store, TSR_E_IO, "%s: %s answers %ld", key,
                               w->place, w->answer.status);
    return error;
}

tsr_error tsri_web_stat(tsr_store *s, const char *key, tsr_store_entry *entry)
{
    tsri_web *w = s->state;
    tsr_error error = begin_one(w, key);
    if (error)
        return error;
    curl_easy_setopt(w->easy, CURLOPT_NOBODY, 1L);
    error = tsri_web_send(w, key, w->headers);
    if (error)
        return error;
    if (w->answer.status != 200 || !w->answer.sized || w->answer.encoded)
        return tsri_store_fail(s, TSR_E_IO, "%s: %s does not say how long it is",
                               key, w->place);
    fill(entry, key, w->answer.length, w->answer.modified);
    return TSR_OK;
}

tsr_error tsri_web_put(tsr_store *s, const char *key, const void *data,
                       size_t size)
{
    tsri_web *w = s->state;
    const tsr_error error = begin_one(w, key);
    if (error)
        return error;
    /* As the body of a POST by another name it is sent from where it lies, can
     * be sent again, and libcurl can sign it. */
    curl_easy_setopt(w->easy, CURLOPT_POST, 1L);
    curl_easy_setopt(w->easy, CURLOPT_CUSTOMREQUEST, "PUT");
    curl_easy_setopt(w->easy, CURLOPT_POSTFIELDS, size ? data : "");
    curl_easy_setopt(w->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)size);
    return change(w, key, w->put_headers);
}

tsr_error tsri_web_remove(tsr_store *s, const char *key)
{
    tsri_web *w = s->state;
    const tsr_error error = begin_one(w, key);
    if (error)
        return error;
    curl_easy_setopt(w->easy, CURLOPT_CUSTOMREQUEST, "DELETE");
    return change(w, key, w->headers);
}

/* ---- documents ---- */

typedef struct document {
    tsri_web *web;
    const char *what;
    char *text;
    size_t size, room, most;
} document;

static tsr_error take_document(void *cookie, const tsri_answer *a,
                               const void *data, size_t size)
{
    document *d = cookie;
    if (a->status != 200 || a->encoded)
        return tsri_store_fail(d->web->store, TSR_E_IO, "%s: %s answers with"
                               " something else", d->what, d->web->place);
    if (size > d->most - d->size)
        return tsri_store_fail(d->web->store, TSR_E_LIMIT, "%s: %s answers with"
                               " more than %zu bytes", d->what, d->web->place,
                               d->most);
    if (d->room - d->size <= size) {
        const size_t room = 2 * d->room + size + 1;
        char *text = realloc(d->text, room);
        if (!text)
            return TSR_E_NOMEM;
        d->text = text;
        d->room = room;
    }
    memcpy(d->text + d->size, data, size);
    d->size += size;
    d->text[d->size] = 0;
    return TSR_OK;
}

tsr_error tsri_web_document(tsri_web *w, const char *url, const char *what,
                            size_t most, char **text, size_t *size)
{
    document d = { .web = w, .what = what, .most = most, .room = 4096 };
    d.text = calloc(1, d.room);
    if (!d.text)
        return TSR_E_NOMEM;
    tsr_error error = tsri_web_begin(w, url, take_document, &d);
    if (!error)
        error = tsri_web_send(w, what, w->headers);
    if (!error && w->answer.status != 200)
        error = tsri_store_fail(w->store, TSR_E_IO, "%s: %s answers %ld", what,
                                w->place, w->answer.status);
    if (error) {
        free(d.text);
        return error;
    }
    *text = d.text;
    *size = d.size;
    return TSR_OK;
}
