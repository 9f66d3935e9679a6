/* SPDX-License-Identifier: BSD-2-Clause */
/* A connection to one Redis or Valkey server.  hiredis connects, writes commands
 * and takes replies apart; sending and receiving are done here, so that a call
 * can be canceled, has a time-out that a dripping server cannot stretch, raises
 * no SIGPIPE, and passes data on from the buffer that they came into. */
#ifndef TSR_NET_REDIS_LINK_H
#define TSR_NET_REDIS_LINK_H
#include <hiredis/hiredis.h>
#include "net/store_impl.h"

enum {
    TSRI_REDIS_PIECE = 256 << 10,       /**< the longest string that may come */
    TSRI_REDIS_IN = 128 << 10
};

/** Who we are to every server. */
typedef struct tsri_redis_login {
    char *user, *password;              /**< NULL: none */
    int db;
} tsri_redis_login;

/** What came of a reply, and what becomes of the strings and numbers in it. */
typedef struct tsri_redis_reply {
    int type;                           /**< REDIS_REPLY_...; 0: not there yet */
    long long integer;                  /**< or how much an array holds */
    size_t bytes;                       /**< of a string */
    char text[256];                     /**< status, error, a string's beginning */
    /** Where not NULL: given strings, and what an array holds, numbers as text;
     *  an error ends it. */
    tsr_error (*take)(void *cookie, const redisReadTask *task, const char *data,
                      size_t size);
    void *cookie;
    tsr_error error;                    /**< of take() */
} tsri_redis_reply;

typedef struct tsri_redis_link {
    tsr_store *store;
    const tsri_redis_login *login;
    char host[256];
    int port;
    redisContext *context;              /**< NULL: not connected */
    redisReader *reader;
    char *out;                          /**< commands to be sent */
    size_t used, room;
    int asking;                         /**< every command after ASKING */
    double since;                       /**< when it last went on */
    size_t moved;                       /**< bytes since then */
    char *in;                           /**< TSRI_REDIS_IN bytes to receive in */
} tsri_redis_link;

/** Connected, logged in, nothing outstanding. */
tsr_error tsri_redis_ready(tsri_redis_link *link);
/** Closes it: after an error nobody knows which reply is next. */
void tsri_redis_drop(tsri_redis_link *link);
void tsri_redis_free(tsri_redis_link *link);

/** A command in hiredis's notation, sent with the next flush. */
tsr_error tsri_redis_add(tsri_redis_link *link, const char *format, ...);
tsr_error tsri_redis_flush(tsri_redis_link *link);
/** SET, sent from the caller's bytes. */
tsr_error tsri_redis_set(tsri_redis_link *link, const char *key,
                         const void *data, size_t size);

/** The next reply.  TSR_OK also for a reply that is an error. */
tsr_error tsri_redis_next(tsri_redis_link *link, tsri_redis_reply *reply);
/** The next reply, which has to be of a type; an error of the server's is
 *  returned as what it means. */
tsr_error tsri_redis_expect(tsri_redis_link *link, tsri_redis_reply *reply,
                            int type);
/** An error reply for messages: servers that do not know AUTH say it back with
 *  the password, which nobody is to see. */
const char *tsri_redis_said(const tsri_redis_link *link,
                            const tsri_redis_reply *reply);
/** The meaning of an error reply, logged. */
tsr_error tsri_redis_refused(tsri_redis_link *link,
                             const tsri_redis_reply *reply);
#endif
