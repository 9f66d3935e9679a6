/* SPDX-License-Identifier: BSD-2-Clause */
#include "net/settings.h"
#include "net/store_impl.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef const tsri_store_driver *(*driver_fn)(void);

static const driver_fn drivers[] = {
    tsri_store_dir, tsri_store_http, tsri_store_redis, tsri_store_s3
};
enum { DRIVERS = sizeof drivers / sizeof *drivers };

const char *tsr_store_scheme_at(int i)
{
    for (int d = 0; d < DRIVERS; d++)
        if (drivers[d]() && i-- == 0)
            return drivers[d]()->scheme;
    return NULL;
}

void tsr_store_settings_init(tsr_store_settings *s)
{
    *s = (tsr_store_settings){
        .size = sizeof *s, .max_object = UINT64_C(1) << 30, .timeout = 10,
        .retries = 3, .region = "us-east-1", .key_prefix = "tessera:kv:"
    };
}

tsr_error tsri_store_fail(tsr_store *store, tsr_error error, const char *format,
                          ...)
{
    char line[512];
    va_list list;
    va_start(list, format);
    vsnprintf(line, sizeof line, format, list);
    va_end(list);
    if (store->settings.logger.log)
        store->settings.logger.log(store->settings.logger.cookie,
                                   TSR_LOG_ERROR, line);
    return error;
}

int tsri_store_retried(const tsr_store *store)
{
    return store->retried;
}

int tsri_store_key_good(const char *key)
{
    static const char good[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
        "abcdefghijklmnopqrstuvwxyz0123456789._-";
    const size_t n = key ? strlen(key) : 0;
    return n >= 1 && n <= 200 && *key != '.' && strspn(key, good) == n;
}

/* ---- opening ---- */

static int starts(const char *text, const char *with)
{
    return !strncmp(text, with, strlen(with));
}

static driver_fn driver_of(const char *url)
{
    if (*url == '/' || *url == '.' || starts(url, "dir:"))
        return tsri_store_dir;
    if (starts(url, "http://") || starts(url, "https://"))
        return tsri_store_http;
    if (starts(url, "redis://"))
        return tsri_store_redis;
    if (starts(url, "s3://"))
        return tsri_store_s3;
    return NULL;
}

static int settings_good(const tsr_store_settings *s)
{
    return s->max_object >= 1 &&
        s->timeout >= 0.001 && s->timeout <= 3600 && s->retries >= 0 &&
        s->retries <= 100 && s->region && s->key_prefix;
}

static void free_texts(tsr_store_settings *s)
{
    free((void *)s->token);
    free((void *)s->ca_file);
    free((void *)s->endpoint);
    free((void *)s->region);
    free((void *)s->key_prefix);
}

static int copy_texts(tsr_store_settings *s)
{
    const char **text[] = { &s->token, &s->ca_file, &s->endpoint, &s->region,
                            &s->key_prefix };
    int good = 1;
    for (size_t i = 0; i < sizeof text / sizeof *text; i++)
        if (*text[i]) {
            *text[i] = strdup(*text[i]);
            good = good && *text[i];
        }
    return good;
}

tsr_error tsr_store_open(tsr_store **out, const char *url,
                         const tsr_store_settings *settings)
{
    if (!out)
        return TSR_E_ARG;
    *out = NULL;
    tsr_store_settings own;
    if (!url || !settings || !tsri_settings_store(&own, settings) ||
        !settings_good(&own))
        return TSR_E_ARG;
    tsr_store *s = calloc(1, sizeof *s);
    if (!s)
        return TSR_E_NOMEM;
    s->settings = own;
    tsr_error error = copy_texts(&s->settings) ? TSR_OK : TSR_E_NOMEM;
    const driver_fn driver = driver_of(url);
    if (!error && !driver)
        error = tsri_store_fail(s, TSR_E_ARG, "neither a folder's path nor a "
                                "URL of dir, http, https, redis or s3");
    if (!error && !driver())
        error = tsri_store_fail(s, TSR_E_UNSUPPORTED, "this build has no stores "
                                "of %.*s", (int)strcspn(url, ":"), url);
    if (!error) {
        s->driver = driver();
        error = s->driver->open(s, url);
    }
    if (error)
        tsr_store_close(&s);
    *out = s;
    return error;
}

void tsr_store_close(tsr_store **store)
{
    if (!store || !*store)
        return;
    if ((*store)->driver)
        (*store)->driver->close(*store);
    free_texts(&(*store)->settings);
    free(*store);
    *store = NULL;
}

void tsr_store_cancel(tsr_store *store)
{
    atomic_store(&store->canceled, 1);
}

/* ---- attempts ---- */

static tsr_error ready(tsr_store *s, const char *key)
{
    if (!s || !tsri_store_key_good(key))
        return TSR_E_ARG;
    return atomic_load(&s->canceled) ? TSR_E_CANCELED : TSR_OK;
}

/* Waits 50 ms, 100, 200 .. 3200.  Returns 0 where no more attempt is to be
 * made. */
static int again(tsr_store *s, tsr_error *error, int attempt)
{
    if (*error != TSR_E_IO || attempt >= s->settings.retries)
        return 0;
    const int shift = attempt < 6 ? attempt : 6;
    for (int slice = 0; slice < 1 << shift; slice++) {
        if (atomic_load(&s->canceled)) {
            *error = TSR_E_CANCELED;
            return 0;
        }
        nanosleep(&(struct timespec){ .tv_nsec = 50000000 }, NULL);
    }
    s->retried++;
    return 1;
}

/* The caller's sink behind a count of what it has had, so that another attempt
 * goes on from there. */
typedef struct passage {
    const tsr_sink *sink;
    uint64_t passed;
    tsr_error error;        /* the sink's own */
} passage;

static tsr_error pass(void *cookie, const void *data, size_t size)
{
    passage *p = cookie;
    p->error = p->sink->write(p->sink->cookie, data, size);
    if (!p->error)
        p->passed += size;
    return p->error;
}

static tsr_error changed(tsr_store *s, const char *key)
{
    return tsri_store_fail(s, TSR_E_IO, "%s: replaced while it was read", key);
}

tsr_error tsr_store_get(tsr_store *s, const char *key, uint64_t offset,
                        uint64_t bytes, const tsr_sink *sink,
                        tsr_store_entry *entry)
{
    tsr_error error = ready(s, key);
    if (error || !sink || offset + bytes < offset)
        return error ? error : TSR_E_ARG;
    tsr_store_entry first, now;
    if (!entry)
        entry = &first;
    passage p = { .sink = sink };
    const tsr_sink counted = { &p, pass };
    *s->version = 0;
    s->replaced = 0;
    error = s->driver->get(s, key, offset, bytes, &counted, entry);
    for (int i = 0; !p.error && !s->replaced; i++) {
        if (bytes && p.passed == bytes)
            return TSR_OK;
        if (!again(s, &error, i))
            break;
        /* Until something was passed on nothing binds us to the first object. */
        const int begun = p.passed > 0;
        if (!begun)
            *s->version = 0;
        error = s->driver->get(s, key, offset + p.passed,
                               bytes ? bytes - p.passed : 0, &counted,
                               begun ? &now : entry);
        if (!error && begun && (now.bytes != entry->bytes ||
                                now.modified != entry->modified))
            return changed(s, key);
    }
    return p.error ? p.error : error;
}

tsr_error tsr_store_put(tsr_store *s, const char *key, const void *data,
                        size_t size)
{
    tsr_error error = ready(s, key);
    if (error || (!data && size))
        return error ? error : TSR_E_ARG;
    if (size > s->settings.max_object)
        return tsri_store_fail(s, TSR_E_LIMIT, "%s: %zu bytes, the limit is"
                               " %llu", key, size,
                               (unsigned long long)s->settings.max_object);
    error = s->driver->put(s, key, data, size);
    for (int i = 0; again(s, &error, i); i++)
        error = s->driver->put(s, key, data, size);
    return error;
}

tsr_error tsr_store_stat(tsr_store *s, const char *key, tsr_store_entry *entry)
{
    tsr_error error = ready(s, key);
    if (error || !entry)
        return error ? error : TSR_E_ARG;
    error = s->driver->stat(s, key, entry);
    for (int i = 0; again(s, &error, i); i++)
        error = s->driver->stat(s, key, entry);
    return error;
}

tsr_error tsr_store_remove(tsr_store *s, const char *key)
{
    tsr_error error = ready(s, key);
    if (error)
        return error;
    error = s->driver->remove(s, key);
    for (int i = 0; again(s, &error, i); i++)
        error = s->driver->remove(s, key);
    return error;
}

/* Not tried again: the visitor has seen a part. */
tsr_error tsr_store_list(tsr_store *s, const char *prefix,
                         tsr_error (*visit)(void *cookie,
                                            const tsr_store_entry *entry),
                         void *cookie)
{
    if (!s || !prefix || !visit || (*prefix && !tsri_store_key_good(prefix)))
        return TSR_E_ARG;
    if (atomic_load(&s->canceled))
        return TSR_E_CANCELED;
    return s->driver->list(s, prefix, visit, cookie);
}

tsr_error tsr_store_open_file(tsr_store *s, const char *key, int *fd,
                              tsr_store_entry *entry)
{
    const tsr_error error = ready(s, key);
    if (error || !fd || !entry)
        return error ? error : TSR_E_ARG;
    if (!s->driver->open_file)
        return TSR_E_UNSUPPORTED;
    return s->driver->open_file(s, key, fd, entry);
}
