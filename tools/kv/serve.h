/* SPDX-License-Identifier: BSD-2-Clause */
/* The parts of `tessera kv serve`.  Every connection has a thread of its own
 * (libmicrohttpd's), so whatever blocks, a slow store or a check of 100 MB,
 * holds up nobody else; the main thread waits for signals and ends connections
 * that have stalled. */
#ifndef TOOLS_KV_SERVE_H
#define TOOLS_KV_SERVE_H
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <tessera/kv_chunk.h>
#include <tessera/store.h>
#include "tools/args.h"

/** Seconds of the monotonic clock. */
double serve_now(void);

/* ---- serve_tokens.c: who may do what ---- */

typedef struct tokens tokens;
enum { TOKEN_NONE, TOKEN_READ, TOKEN_WRITE };

/** Reads a file of tokens; NULL: everybody may do everything.  Returns an exit
 *  status; has said what was wrong. */
int tokens_open(tokens **t, const char *path);
/** Reads it again; what was valid stays where that fails. */
int tokens_reload(tokens *t);
/** What whoever sent this Authorization header (may be NULL) may do; takes as
 *  long whichever token it is like. */
int tokens_right(tokens *t, const char *authorization);
int tokens_any(const tokens *t);
void tokens_close(tokens **t);

/* ---- serve_listen.c ---- */

/** A listening socket at HOST:PORT ("[::1]:80", ":8920", port 0: any), or below
 *  0; has said what was wrong.  shown: out, the address in numbers.  local: out,
 *  whether only this machine can reach it. */
enum { SHOWN_SIZE = 96 };
int listen_open(const char *address, char shown[SHOWN_SIZE], int *local);

/* ---- serve_pool.c: handles, which are for one thread at a time ---- */

typedef struct handle {
    tsr_store *store;
    tsr_context *ctx;           /**< for checks */
    char why[512];              /**< the last error of either */
    struct handle *next, *next_of_all;
} handle;

typedef struct pool pool;

/** settings: its texts must outlive the pool.  Opens one handle, so that a URL
 *  that is wrong shows now. */
tsr_error pool_open(pool **p, const char *url,
                    const tsr_store_settings *settings);
/** A handle that nobody has, or a new one; NULL: no memory, or canceled. */
handle *pool_take(pool *p, tsr_error *error);
void pool_give(pool *p, handle *h);
/** Closes a handle instead, one whose call was canceled. */
void pool_drop(pool *p, handle *h);
/** Ends all calls, on any thread. */
void pool_cancel(pool *p);
/** When all handles are back. */
void pool_close(pool **p);

/* ---- serve_feed.c: what a store pushes, for somebody who pulls ---- */

/** A call on a store in a thread of its own, through a pipe: what is under way
 *  is never more than the pipe holds. */
typedef struct feed feed;

/** Starts reading bytes of this very object, or (entry NULL) writing a list of
 *  those whose keys begin with prefix.  The handle goes over to the feed. */
tsr_error feed_open(feed **f, pool *p, handle *h, const tsr_store_entry *entry,
                    uint64_t offset, uint64_t bytes, const char *prefix);
/** Waits for the first byte, or the end.  Returns what came of the call so far;
 *  why: out, 512 bytes, where it failed. */
tsr_error feed_wait(feed *f, char *why);
/** Adds what is read to *count from now on. */
void feed_count(feed *f, uint64_t *count);
/** Up to `size` bytes; 0: the end; below 0: the call failed. */
ptrdiff_t feed_read(feed *f, void *data, size_t size);
void feed_close(feed **f);

/* ---- serve_body.c: uploads in memory ---- */

/** What all uploads together may take. */
typedef struct body_budget {
    uint64_t most;
    atomic_ullong used;
} body_budget;

typedef struct body {
    body_budget *budget;
    uint8_t *data;
    size_t size, room;          /**< what there is, what there is room for */
    size_t booked;              /**< of the budget: what has come, roughly, so
                                     that saying a size alone takes nothing */
} body;

/** Whether the budget has so much left now. */
int body_fits(const body_budget *budget, size_t bytes);
/** Room for `room` bytes in all.  0: there is no memory. */
int body_reserve(body *b, size_t room);
/** Appends; there must be room.  0: the budget is used up. */
int body_add(body *b, const void *data, size_t size);
void body_free(body *b);

/* ---- serve_range.c: header fields ---- */

enum { RANGE_NONE, RANGE_PART, RANGE_BAD };
/** Reads "bytes=a-b", "bytes=a-" or "bytes=-n" for an object of `size` bytes.
 *  RANGE_NONE: it is something else, and RFC 9110 says to ignore it;
 *  RANGE_BAD: no byte of it is there. */
int range_parse(const char *text, uint64_t size, uint64_t *first,
                uint64_t *bytes);

/** Whether a list of entity tags ("\"a\", W/\"b\"" or "*") names this one;
 *  etag NULL: there is no object.  weak: W/ does not matter. */
int etag_matches(const char *list, const char *etag, int weak);

/* ---- serve_metrics.c ---- */

enum { METHOD_GET, METHOD_HEAD, METHOD_PUT, METHOD_DELETE, METHOD_OTHER,
       METHODS };
extern const char *const method_names[METHODS];

typedef struct metrics metrics;
metrics *metrics_open(void);
void metrics_begin(metrics *m);
void metrics_end(metrics *m, int method, unsigned status, uint64_t sent,
                 double seconds);
void metrics_received(metrics *m, size_t bytes);
void metrics_store_error(metrics *m);
void metrics_stalled(metrics *m);
unsigned metrics_in_flight(const metrics *m);
/** Text in Prometheus's format 0.0.4; free() it, NULL: no memory. */
char *metrics_text(const metrics *m, unsigned connections,
                   const body_budget *budget);
void metrics_close(metrics **m);

/* ---- serve_conn.c: connections, and which of them have stalled ---- */

enum { CONN_HEAD, CONN_BODY, CONN_ANSWER };
enum { CONN_LEAST_RATE = 1024 };    /**< bytes a second of an upload */

typedef struct conn {
    int fd;
    char address[SHOWN_SIZE];
    atomic_int state;
    atomic_llong since;             /**< of this state or its last progress, in
                                         milliseconds */
    atomic_ullong received;         /**< of a body, since then */
    atomic_int ended;
    int beyond;                     /**< one more than there may be */
    struct conn *next, **at;
} conn;

typedef struct conns conns;
conns *conns_open(unsigned most);
conn *conns_add(conns *cs, int fd, const void *address, size_t size);
void conns_remove(conns *cs, conn *c);
void conn_enter(conn *c, int state);
/** Shuts down those that have been at a request's head for a second longer than
 *  `timeout`, or whose body comes slower than CONN_LEAST_RATE over that time.
 *  Returns how many. */
int conns_reap(conns *cs, double timeout);
unsigned conns_count(conns *cs);
void conns_close(conns **cs);

/* ---- serve_http.c: requests; serve_chunk.c: those on chunks ---- */

typedef struct server {
    tokens *tokens;
    pool *pool;
    metrics *metrics;
    conns *conns;
    body_budget budget;
    uint64_t max_object;
    atomic_int stopping;
} server;

typedef struct server_settings {
    int socket;                 /**< listening; goes over */
    int connections, per_ip;    /**< at once; 0: any number from one address */
    double timeout;             /**< seconds without progress */
    const char *cert, *key;     /**< PEM texts, or NULL for plain HTTP */
} server_settings;

/** Serves until MHD_stop_daemon().  NULL: libmicrohttpd does not want to. */
struct MHD_Daemon *server_start(server *s, const server_settings *settings);
#endif
