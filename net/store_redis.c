/* SPDX-License-Identifier: BSD-2-Clause */
#include "net/store_redis.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    PIECE = TSRI_REDIS_PIECE,
    DEEP = 8,               /* pieces asked for before the first has come */
    BATCH = 500,            /* keys asked for at once by list */
    MOST = 1 << 14          /* keys that a server may send at once */
};

/* ---- opening ---- */

static tsr_error redis_open(tsr_store *store, const char *url)
{
    char host[256];
    int port, node;
    tsri_redis *r = store->state = calloc(1, sizeof *r);
    if (!r)
        return TSR_E_NOMEM;
    if (strlen(store->settings.key_prefix) > 200)
        return tsri_store_fail(store, TSR_E_ARG, "key prefixes have at most 200 "
                               "characters");
    if (!tsri_redis_parse(r, url, host, &port))
        return tsri_store_fail(store, TSR_E_ARG, "not redis://[[user:]password@]"
                               "host[:port][/db]");
    if (!r->login.password && store->settings.token) {
        r->login.password = strdup(store->settings.token);
        if (!r->login.password)
            return TSR_E_NOMEM;
    }
    return tsri_redis_node(store, host, port, &node);
}

static void redis_close(tsr_store *store)
{
    tsri_redis *r = store->state;
    if (!r)
        return;
    for (int i = 0; i < r->nodes; i++)
        tsri_redis_free(r->node[i]);
    free(r->node);
    free(r->owner);
    free(r->login.user);
    free(r->login.password);
    free(r);
}

static tsri_redis_call call_of(tsr_store *store, const char *key,
                               tsr_error (*run)(tsri_redis_call *call),
                               void *cookie)
{
    tsri_redis_call call = { .store = store, .run = run, .cookie = cookie };
    snprintf(call.key, sizeof call.key, "%s%s", store->settings.key_prefix, key);
    return call;
}

/* The reply to the last command of a call: of that type, or one that sends us to
 * another server. */
static tsr_error answer(tsri_redis_call *call, int type)
{
    tsri_redis_reply *r = &call->reply;
    const tsr_error error = tsri_redis_next(call->link, r);
    if (error || r->type == type)
        return error;
    if (r->type == REDIS_REPLY_ERROR && (!strncmp(r->text, "MOVED ", 6) ||
                                         !strncmp(r->text, "ASK ", 4)))
        return TSR_OK;
    if (r->type == REDIS_REPLY_ERROR)
        return tsri_redis_refused(call->link, r);
    return tsri_store_fail(call->store, TSR_E_IO, "%s:%d: answers with something"
                           " else than was asked for", call->link->host,
                           call->link->port);
}

/* ---- size ---- */

/* An empty string and none are of the same length. */
static tsr_error exists(tsri_redis_call *call)
{
    tsri_redis_reply r = { 0 };
    tsr_error error = tsri_redis_add(call->link, "EXISTS %s", call->key);
    if (!error)
        error = tsri_redis_flush(call->link);
    if (!error)
        error = tsri_redis_expect(call->link, &r, REDIS_REPLY_INTEGER);
    return error ? error : r.integer ? TSR_OK : TSR_E_MISSING;
}

static tsr_error set_entry(tsri_redis_call *call, tsr_store_entry *entry)
{
    const tsr_store_settings *s = &call->store->settings;
    const long long bytes = call->reply.integer;
    if (bytes < 0)
        return tsri_store_fail(call->store, TSR_E_IO, "%s: %lld bytes?",
                               call->key, bytes);
    if ((unsigned long long)bytes > s->max_object)
        return tsri_store_fail(call->store, TSR_E_LIMIT, "%s: %lld bytes, the "
                               "limit is %llu", call->key, bytes,
                               (unsigned long long)s->max_object);
    snprintf(entry->key, sizeof entry->key, "%s",
             call->key + strlen(s->key_prefix));
    entry->bytes = (uint64_t)bytes;
    entry->modified = 0;
    return TSR_OK;
}

static tsr_error stat_run(tsri_redis_call *call)
{
    tsr_error error = tsri_redis_add(call->link, "STRLEN %s", call->key);
    if (!error)
        error = tsri_redis_flush(call->link);
    if (!error)
        error = answer(call, REDIS_REPLY_INTEGER);
    if (error || call->reply.type != REDIS_REPLY_INTEGER)
        return error;
    error = set_entry(call, call->cookie);
    return error || call->reply.integer ? error : exists(call);
}

static tsr_error redis_stat(tsr_store *store, const char *key,
                            tsr_store_entry *entry)
{
    tsri_redis_call call = call_of(store, key, stat_run, entry);
    return tsri_redis_run(&call);
}

/* ---- reading ---- */

typedef struct reading {
    uint64_t offset, bytes;         /* as asked for; bytes 0: to the end */
    uint64_t asked, end;            /* pieces are asked for up to `asked` */
    const tsr_sink *sink;
    tsr_store_entry *entry;
    uint64_t at, want;              /* of the piece that comes next */
    tsr_error error;                /* the sink's */
} reading;

static tsr_error take_piece(void *cookie, const redisReadTask *task,
                            const char *data, size_t size)
{
    reading *r = cookie;
    if (task->parent || size > r->want)
        return TSR_E_CORRUPT;
    r->at += size;
    r->want -= size;
    r->error = size ? r->sink->write(r->sink->cookie, data, size) : TSR_OK;
    return r->error;
}

static uint64_t piece_at(uint64_t at, uint64_t end)
{
    return end - at < PIECE ? end - at : PIECE;
}

static tsr_error ask(tsri_redis_call *call, uint64_t at, uint64_t size)
{
    return tsri_redis_add(call->link, "GETRANGE %s %llu %llu", call->key,
                          (unsigned long long)at,
                          (unsigned long long)(at + size - 1));
}

/* One way there and back: watch it, how long is it, its first piece. */
static tsr_error begin(tsri_redis_call *call)
{
    reading *r = call->cookie;
    tsri_redis_link *l = call->link;
    r->asked = r->offset + (r->bytes && r->bytes < PIECE ? r->bytes : PIECE);
    tsr_error error = tsri_redis_add(l, "WATCH %s", call->key);
    if (!error)
        error = tsri_redis_add(l, "STRLEN %s", call->key);
    if (!error)
        error = ask(call, r->offset, r->asked - r->offset);
    if (!error)
        error = tsri_redis_flush(l);
    if (!error)
        error = answer(call, REDIS_REPLY_STATUS);
    if (error || call->reply.type == REDIS_REPLY_STATUS)
        return error;
    /* Sent elsewhere, and the other two are as well. */
    tsri_redis_reply rest = { 0 };
    error = tsri_redis_next(l, &rest);
    return error ? error : tsri_redis_next(l, &rest);
}

static tsr_error replaced(tsri_redis_call *call)
{
    call->store->replaced = 1;
    return tsri_store_fail(call->store, TSR_E_IO, "%s: replaced while it was "
                           "read", call->key);
}

static tsr_error next_piece(tsri_redis_call *call)
{
    reading *r = call->cookie;
    tsri_redis_reply reply = { .take = take_piece, .cookie = r };
    r->want = piece_at(r->at, r->end);
    const tsr_error error =
        tsri_redis_expect(call->link, &reply, REDIS_REPLY_STRING);
    if (error == TSR_E_CORRUPT && !r->error)
        return tsri_store_fail(call->store, TSR_E_IO, "%s: more bytes than were "
                               "asked for", call->key);
    return !error && r->want ? replaced(call) : error;
}

/* Asks for more while pieces come; behind the last, whether the object is still
 * the one that it was. */
static tsr_error pieces(tsri_redis_call *call)
{
    reading *r = call->cookie;
    tsr_error error = TSR_OK;
    int last = 0;
    do {
        while (!error && r->asked < r->end && r->asked - r->at < DEEP * PIECE) {
            const uint64_t size = piece_at(r->asked, r->end);
            error = ask(call, r->asked, size);
            r->asked += size;
        }
        if (!error && r->asked >= r->end && !last) {
            last = 1;
            error = tsri_redis_add(call->link, "MULTI");
            if (!error)
                error = tsri_redis_add(call->link, "EXEC");
        }
        if (!error && call->link->used)
            error = tsri_redis_flush(call->link);
        if (!error)
            error = next_piece(call);
    } while (!error && r->at < r->end);
    return error;
}

static tsr_error get_run(tsri_redis_call *call)
{
    reading *r = call->cookie;
    tsri_redis_link *l = call->link;
    tsr_error error = begin(call);
    if (error || call->reply.type != REDIS_REPLY_STATUS)
        return error;
    error = tsri_redis_expect(l, &call->reply, REDIS_REPLY_INTEGER);
    if (!error)
        error = set_entry(call, r->entry);
    if (error)
        return error;
    const uint64_t size = r->entry->bytes;
    r->at = r->offset < size ? r->offset : size;
    r->end = r->bytes && r->bytes < size - r->at ? r->at + r->bytes : size;
    error = pieces(call);
    if (!error)
        error = tsri_redis_expect(l, &call->reply, REDIS_REPLY_STATUS);
    if (!error)
        error = tsri_redis_next(l, &call->reply);
    if (!error && call->reply.type == REDIS_REPLY_NIL)
        return replaced(call);
    if (!error && call->reply.type != REDIS_REPLY_ARRAY)
        return tsri_store_fail(call->store, TSR_E_IO, "%s:%d: refuses EXEC",
                               l->host, l->port);
    return error || size ? error : exists(call);
}

static tsr_error redis_get(tsr_store *store, const char *key, uint64_t offset,
                           uint64_t bytes, const tsr_sink *sink,
                           tsr_store_entry *entry)
{
    /* A far end is as good as any other, and Redis counts in 63 bits. */
    if (offset > INT64_MAX / 2)
        offset = INT64_MAX / 2;
    reading r = { .offset = offset, .bytes = bytes, .sink = sink,
                  .entry = entry };
    tsri_redis_call call = call_of(store, key, get_run, &r);
    const tsr_error error = tsri_redis_run(&call);
    if (r.error)                    /* pieces are still under way */
        tsri_redis_drop(call.link);
    return r.error ? r.error : error;
}

/* ---- writing and removing ---- */

typedef struct writing {
    const void *data;
    size_t size;
} writing;

static tsr_error put_run(tsri_redis_call *call)
{
    const writing *w = call->cookie;
    const tsr_error error =
        tsri_redis_set(call->link, call->key, w->data, w->size);
    return error ? error : answer(call, REDIS_REPLY_STATUS);
}

static tsr_error redis_put(tsr_store *store, const char *key, const void *data,
                           size_t size)
{
    writing w = { size ? data : "", size };
    tsri_redis_call call = call_of(store, key, put_run, &w);
    return tsri_redis_run(&call);
}

static tsr_error remove_run(tsri_redis_call *call)
{
    tsr_error error = tsri_redis_add(call->link, "UNLINK %s", call->key);
    if (!error)
        error = tsri_redis_flush(call->link);
    if (!error)
        error = answer(call, REDIS_REPLY_INTEGER);
    return !error && call->reply.type == REDIS_REPLY_INTEGER &&
        !call->reply.integer ? TSR_E_MISSING : error;
}

static tsr_error redis_remove(tsr_store *store, const char *key)
{
    tsri_redis_call call = call_of(store, key, remove_run, NULL);
    return tsri_redis_run(&call);
}

/* ---- listing ---- */

typedef struct scan {
    tsr_store *store;
    const char *prefix;
    tsr_error (*visit)(void *cookie, const tsr_store_entry *entry);
    void *cookie;
    char cursor[24], pattern[1024];
    tsr_store_entry *entry;         /* of this batch */
    int count, room;
} scan;

/* Nothing in a prefix is a wildcard. */
static void make_pattern(scan *s)
{
    char *out = s->pattern;
    const char *part[] = { s->store->settings.key_prefix, s->prefix };
    for (int i = 0; i < 2; i++)
        for (const char *c = part[i]; *c; c++) {
            if (strchr("*?[]^-\\", *c))
                *out++ = '\\';
            *out++ = *c;
        }
    strcpy(out, "*");
}

static tsr_error keep_key(scan *s, const char *data, size_t size)
{
    const char *prefix = s->store->settings.key_prefix;
    const size_t skip = strlen(prefix);
    char key[201];
    if (size <= skip || size - skip > 200 || memcmp(data, prefix, skip))
        return TSR_OK;
    memcpy(key, data + skip, size - skip);
    key[size - skip] = '\0';
    if (strlen(key) != size - skip || !tsri_store_key_good(key) ||
        strncmp(key, s->prefix, strlen(s->prefix)))
        return TSR_OK;
    if (s->count == MOST)
        return TSR_E_CORRUPT;
    if (s->count == s->room) {
        const int room = s->room ? 2 * s->room : BATCH;
        tsr_store_entry *entry = realloc(s->entry, (size_t)room * sizeof *entry);
        if (!entry)
            return TSR_E_NOMEM;
        s->entry = entry;
        s->room = room;
    }
    s->entry[s->count] = (tsr_store_entry){ .bytes = 0 };
    strcpy(s->entry[s->count++].key, key);
    return TSR_OK;
}

/* [cursor, [key, key, ...]] */
static tsr_error take_key(void *cookie, const redisReadTask *task,
                          const char *data, size_t size)
{
    scan *s = cookie;
    if (!task->parent)
        return TSR_E_CORRUPT;
    if (task->parent->parent)
        return keep_key(s, data, size);
    if (task->idx != 0 || !size || size >= sizeof s->cursor)
        return TSR_E_CORRUPT;
    memcpy(s->cursor, data, size);
    s->cursor[size] = '\0';
    return strspn(s->cursor, "0123456789") == size ? TSR_OK : TSR_E_CORRUPT;
}

static tsr_error scan_keys(scan *s, tsri_redis_link *l)
{
    tsri_redis_reply r = { .take = take_key, .cookie = s };
    s->count = 0;
    tsr_error error = tsri_redis_add(l, "SCAN %s MATCH %s COUNT %d", s->cursor,
                                     s->pattern, BATCH);
    if (!error)
        error = tsri_redis_flush(l);
    *s->cursor = '\0';
    if (!error)
        error = tsri_redis_expect(l, &r, REDIS_REPLY_ARRAY);
    if (error == TSR_E_CORRUPT || (!error && !*s->cursor))
        return tsri_store_fail(s->store, TSR_E_IO, "%s:%d: nonsense instead of "
                               "keys", l->host, l->port);
    return error;
}

/* Keys of other types, and those that are gone by now, get -1. */
static tsr_error scan_sizes(scan *s, tsri_redis_link *l)
{
    const char *prefix = s->store->settings.key_prefix;
    tsr_error error = TSR_OK;
    for (int i = 0; !error && i < s->count; i++) {
        error = tsri_redis_add(l, "STRLEN %s%s", prefix, s->entry[i].key);
        if (!error)
            error = tsri_redis_add(l, "EXISTS %s%s", prefix, s->entry[i].key);
    }
    if (!error)
        error = tsri_redis_flush(l);
    for (int i = 0; !error && i < s->count; i++) {
        tsri_redis_reply size = { 0 }, there = { 0 };
        error = tsri_redis_next(l, &size);
        if (!error)
            error = tsri_redis_expect(l, &there, REDIS_REPLY_INTEGER);
        const int good = size.type == REDIS_REPLY_INTEGER &&
            size.integer >= 0 && there.integer == 1;
        s->entry[i].bytes = good ? (uint64_t)size.integer : UINT64_MAX;
    }
    return error;
}

static tsr_error scan_node(scan *s, tsri_redis_link *l)
{
    strcpy(s->cursor, "0");
    do {
        tsr_error error = tsri_redis_ready(l);
        if (!error)
            error = scan_keys(s, l);
        if (!error && s->count)
            error = scan_sizes(s, l);
        if (error) {
            tsri_redis_drop(l);
            return error;
        }
        for (int i = 0; !error && i < s->count; i++) {
            if (atomic_load(&s->store->canceled))
                return TSR_E_CANCELED;
            if (s->entry[i].bytes != UINT64_MAX)
                error = s->visit(s->cookie, &s->entry[i]);
        }
        if (error)
            return error;
    } while (strcmp(s->cursor, "0"));
    return TSR_OK;
}

static int owns(const tsri_redis *r, int node)
{
    int found = 0;
    for (int i = 0; !found && i < TSRI_REDIS_SLOTS; i++)
        found = r->owner[i] == node;
    return found;
}

static tsr_error redis_list(tsr_store *store, const char *prefix,
                            tsr_error (*visit)(void *cookie,
                                               const tsr_store_entry *entry),
                            void *cookie)
{
    const tsri_redis *r = store->state;
    scan s = { .store = store, .prefix = prefix, .visit = visit,
               .cookie = cookie };
    int cluster;
    make_pattern(&s);
    tsr_error error = tsri_redis_learn(store, r->node[r->first], &cluster);
    if (!error && !cluster)
        error = scan_node(&s, r->node[r->first]);
    for (int i = 0; !error && cluster && i < r->nodes; i++)
        if (owns(r, i))
            error = scan_node(&s, r->node[i]);
    free(s.entry);
    return error;
}

const tsri_store_driver *tsri_store_redis(void)
{
    static const tsri_store_driver driver = {
        "redis", redis_open, redis_close, redis_get, redis_put, redis_stat,
        redis_remove, redis_list, NULL
    };
    return &driver;
}
