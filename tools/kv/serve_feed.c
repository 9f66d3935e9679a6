/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "tools/kv/serve.h"

struct feed {
    pool *pool;
    handle *handle;
    int in, out;                /* ends of the pipe: the thread's, the reader's */
    int listing;
    char key[201];              /* or the prefix */
    uint64_t offset, bytes;
    pthread_t thread;
    atomic_int done;
    tsr_error error;            /* when done */
    tsr_store_entry wanted, entry;      /* of the object: to be, and as it is */
    int begun;
    uint64_t *count;
};

/* Fails when the reader has gone. */
static tsr_error pass_on(const feed *f, const void *data, size_t size)
{
    const char *at = data;
    while (size) {
        const ssize_t n = write(f->in, at, size);
        if (n < 0 && errno != EINTR)
            return TSR_E_CANCELED;
        at += n > 0 ? n : 0;
        size -= n > 0 ? (size_t)n : 0;
    }
    return TSR_OK;
}

/* Head and body are two calls: an object that was replaced in between must not
 * go out under the head of the first. */
static tsr_error pass(void *cookie, const void *data, size_t size)
{
    feed *f = cookie;
    if (!f->begun && (f->entry.bytes != f->wanted.bytes ||
                      f->entry.modified != f->wanted.modified)) {
        snprintf(f->handle->why, sizeof f->handle->why, "%s: replaced while it"
                 " was read", f->key);
        return TSR_E_IO;
    }
    f->begun = 1;
    return pass_on(f, data, size);
}

/* Other programs' objects may lie in the same store. */
static tsr_error pass_entry(void *cookie, const tsr_store_entry *e)
{
    uint8_t name[TSR_KV_NAME_BYTES];
    char line[320];
    if (tsr_kv_name_parse(e->key, name))
        return TSR_OK;
    const int n = snprintf(line, sizeof line, "%s %llu %lld\n", e->key,
                           (unsigned long long)e->bytes, (long long)e->modified);
    return pass_on(cookie, line, (size_t)n);
}

static void *work(void *cookie)
{
    feed *f = cookie;
    const tsr_sink sink = { f, pass };
    tsr_store *store = f->handle->store;
    f->error = f->listing
        ? tsr_store_list(store, f->key, pass_entry, f)
        : tsr_store_get(store, f->key, f->offset, f->bytes, &sink,
                        &f->entry);
    atomic_store(&f->done, 1);
    close(f->in);
    return NULL;
}

static int make_pipe(feed *f)
{
    int ends[2];
    if (pipe(ends))
        return -1;
    f->out = ends[0];
    f->in = ends[1];
    (void)fcntl(f->out, F_SETFD, FD_CLOEXEC);
    (void)fcntl(f->in, F_SETFD, FD_CLOEXEC);
    return 0;
}

tsr_error feed_open(feed **out, pool *p, handle *h,
                    const tsr_store_entry *entry, uint64_t offset,
                    uint64_t bytes, const char *prefix)
{
    feed *f = *out = calloc(1, sizeof *f);
    if (!f || make_pipe(f)) {
        free(f);
        *out = NULL;
        pool_give(p, h);
        return TSR_E_NOMEM;
    }
    f->pool = p;
    f->handle = h;
    f->listing = !entry;
    if (entry)
        f->wanted = *entry;
    f->offset = offset;
    f->bytes = bytes;
    snprintf(f->key, sizeof f->key, "%s", entry ? entry->key : prefix);
    if (!pthread_create(&f->thread, NULL, work, f))
        return TSR_OK;
    close(f->in);
    close(f->out);
    pool_give(p, h);
    free(f);
    *out = NULL;
    return TSR_E_NOMEM;
}

tsr_error feed_wait(feed *f, char *why)
{
    struct pollfd p = { .fd = f->out, .events = POLLIN };
    while (poll(&p, 1, -1) < 0 && errno == EINTR)
        continue;
    if (p.revents & POLLIN || !atomic_load(&f->done) || !f->error)
        return TSR_OK;
    memcpy(why, f->handle->why, sizeof f->handle->why);
    return f->error;
}

void feed_count(feed *f, uint64_t *count)
{
    f->count = count;
}

ptrdiff_t feed_read(feed *f, void *data, size_t size)
{
    ssize_t n;
    do
        n = read(f->out, data, size);
    while (n < 0 && errno == EINTR);
    if (n > 0 && f->count)
        *f->count += (uint64_t)n;
    return n == 0 && atomic_load(&f->done) && f->error ? -1 : n;
}

void feed_close(feed **ff)
{
    feed *f = *ff;
    if (!f)
        return;
    close(f->out);
    const int early = !atomic_load(&f->done);
    if (early)
        tsr_store_cancel(f->handle->store);
    pthread_join(f->thread, NULL);
    if (early)
        pool_drop(f->pool, f->handle);
    else
        pool_give(f->pool, f->handle);
    free(f);
    *ff = NULL;
}
