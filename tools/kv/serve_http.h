/* SPDX-License-Identifier: BSD-2-Clause */
/* A request, between serve_http.c (what libmicrohttpd calls) and
 * serve_chunk.c (what is answered on chunks). */
#ifndef TOOLS_KV_SERVE_HTTP_H
#define TOOLS_KV_SERVE_HTTP_H
#include <microhttpd.h>
#include "tools/kv/serve.h"

enum { ROUTE_NONE, ROUTE_CHUNK, ROUTE_LIST, ROUTE_HEALTH, ROUTE_METRICS };

typedef struct request {
    server *server;
    struct MHD_Connection *mhd;
    conn *conn;                 /**< NULL: no memory for one */
    char uri[160];              /**< its beginning, for the log */
    double start;
    int begun;                  /**< its head has been looked at */
    int route, method, bad_key;
    char key[TSR_KV_NAME_TEXT];
    uint8_t name[TSR_KV_NAME_BYTES];
    unsigned refused;           /**< status, decided before the body came */
    char why[512];              /**< and the reason */
    uint64_t dropped;           /**< bytes of a body that nobody wants */
    body body;
    unsigned status;            /**< of the answer; 0: none yet */
    uint64_t sent;              /**< bytes of its body */
} request;

/** A field of the head, or NULL. */
const char *request_field(const request *r, const char *name);

/** Sends a line of text as the body of an answer. */
enum MHD_Result answer_text(request *r, unsigned status, const char *format,
                            ...) __attribute__((format(printf, 3, 4)));

/** Sends an answer, which goes over; NULL is "out of memory". */
enum MHD_Result answer_with(request *r, unsigned status,
                            struct MHD_Response *response);

/** Answers for a failed call on the store; `why`: its reason or "", which is for
 *  the log where it may name what is behind. */
enum MHD_Result answer_error(request *r, tsr_error error, const char *why);

/** Whole requests on chunks, by method. */
enum MHD_Result chunk_get(request *r);
enum MHD_Result chunk_put(request *r);
enum MHD_Result chunk_delete(request *r);
enum MHD_Result chunk_list(request *r);
#endif
