/* SPDX-License-Identifier: BSD-2-Clause */
/* Redis or Valkey: one server, or a cluster.  An object is a string. */
#ifndef TSR_NET_STORE_REDIS_H
#define TSR_NET_STORE_REDIS_H
#include "net/redis_link.h"

enum { TSRI_REDIS_SLOTS = 16384, TSRI_REDIS_NODES = 1024 };

typedef struct tsri_redis {
    tsri_redis_login login;
    tsri_redis_link **node;     /**< [0] is the URL's; others from a cluster */
    int nodes, first;           /**< first: asked when nothing is known */
    uint16_t *owner;            /**< node of each slot; NULL: never sent elsewhere */
    char in[TSRI_REDIS_IN];     /**< of whichever server is read */
} tsri_redis;

/** Sets the login, and the first server's address.  Returns 0 for what is no
 *  such URL, or where there is no memory. */
int tsri_redis_parse(tsri_redis *redis, const char *url, char host[256],
                     int *port);
/** n characters "host:port", "[host]:port", "host"; also ":port", host "". */
int tsri_redis_address(char host[256], int *port, const char *text, size_t n);

/** One call on one server.  TSR_OK also with a reply that sends us elsewhere;
 *  then no other reply is outstanding. */
typedef struct tsri_redis_call {
    tsr_store *store;
    tsri_redis_link *link;
    char key[512];              /**< with the prefix */
    tsri_redis_reply reply;
    tsr_error (*run)(struct tsri_redis_call *call);
    void *cookie;
} tsri_redis_call;

/** Runs it on the server that has the key, following redirections. */
tsr_error tsri_redis_run(tsri_redis_call *call);
/** Asks for the servers of the cluster.  *cluster: there is one. */
tsr_error tsri_redis_learn(tsr_store *store, tsri_redis_link *link,
                           int *cluster);
/** The server with this address, an old one or a new one. */
tsr_error tsri_redis_node(tsr_store *store, const char *host, int port,
                          int *index);
#endif
