/* SPDX-License-Identifier: BSD-2-Clause */
/* What stores over HTTP have in common: one request at a time over a connection
 * that is kept, answers that are believed only as far as they can be checked. */
#ifndef TSR_NET_CURL_H
#define TSR_NET_CURL_H
#include <curl/curl.h>
#include "net/store_impl.h"

/** The head of an answer, as far as anybody asks. */
typedef struct tsri_answer {
    long status;
    int sized, ranged;      /**< length is known; first .. total are */
    uint64_t length;
    uint64_t first, last, total;    /**< last < first: total only (416) */
    int64_t modified;       /**< seconds since 1970; 0: not known */
    char version[120];      /**< strong ETag with its quotes; "": none */
    int encoded;            /**< the body is not the object itself */
} tsri_answer;

typedef struct tsri_web tsri_web;

/** Takes a piece of the body of a good answer (2xx), or fails. */
typedef tsr_error (*tsri_take)(void *cookie, const tsri_answer *answer,
                               const void *data, size_t size);

/** Says what an answer that is not good means, and writes the server's reason
 *  ("": none).  `text` is the beginning of the body, ended by a zero. */
typedef tsr_error (*tsri_judge)(const tsri_web *web, const tsri_answer *answer,
                                const char *text, char reason[160]);

struct tsri_web {
    tsr_store *store;
    CURL *easy;
    CURLM *multi;
    char *base;                     /**< URL of an object, up to its key */
    char *place;                    /**< scheme and host, for messages */
    struct curl_slist *headers, *put_headers;   /**< of PUT, of all others */
    tsri_judge judge;
    char *hush;                     /**< no reason may say this; or NULL */
    char *sign, *user, *secret;     /**< of CURLOPT_AWS_SIGV4; or NULL */
    size_t root;                    /**< of base: bytes before the prefix of all
                                         keys (S3) */
    int64_t not_before;             /**< ms; the server wants to be left alone */
    curl_socket_t socket;           /**< of the last request, if it is still open */

    /* Of the request under way. */
    tsri_answer answer;
    tsri_take take;
    void *cookie;
    tsr_error error;                /**< of a callback */
    const char *nonsense;           /**< what is wrong with the answer's head */
    size_t head_bytes, text_bytes;  /**< text_bytes: also of what is dropped */
    char text[4096];
    char problem[CURL_ERROR_SIZE];
    int64_t moved, since;           /**< bytes, and when they were fewer */
};

/** Checks http://host[:port][/path] or https://, as a store's URL or endpoint:
 *  no user, no query, nothing unprintable.  Returns 0 if it is not that. */
int tsri_web_url_good(const char *url);

/** The scheme and host of such a URL, to be freed; NULL: no memory. */
char *tsri_web_place(const char *url);

/** Makes store->state.  base and place are heap texts that become its own, also
 *  where it fails; NULL is TSR_E_NOMEM.  TSR_E_UNSUPPORTED: libcurl without TLS.
 *  tsri_web_close() frees what there is. */
tsr_error tsri_web_open(tsr_store *store, char *base, char *place,
                        tsri_judge judge);
void tsri_web_close(tsr_store *store);

/** One header more, for PUT, for all others, or (the sum) both.  Returns TSR_OK or
 *  TSR_E_NOMEM. */
enum { TSRI_PUT = 1, TSRI_OTHERS = 2 };
tsr_error tsri_web_header(tsri_web *web, int where, const char *line);

/** Gets a whole document into memory, its end marked by a zero behind it; `what`
 *  is for messages.  TSR_E_LIMIT: more than `most` bytes.  Free *text. */
tsr_error tsri_web_document(tsri_web *web, const char *url, const char *what,
                            size_t most, char **text, size_t *size);

/** The driver's calls, on objects at base + key. */
tsr_error tsri_web_get(tsr_store *store, const char *key, uint64_t offset,
                       uint64_t bytes, const tsr_sink *sink,
                       tsr_store_entry *entry);
tsr_error tsri_web_put(tsr_store *store, const char *key, const void *data,
                       size_t size);
tsr_error tsri_web_stat(tsr_store *store, const char *key,
                        tsr_store_entry *entry);
tsr_error tsri_web_remove(tsr_store *store, const char *key);

/* ---- curl.c, for curl_object.c ---- */

/** Sets the options of a new request, its body going to `take` (NULL: nowhere).
 *  Then set more, and tsri_web_send(). */
tsr_error tsri_web_begin(tsri_web *web, const char *url, tsri_take take,
                         void *cookie);

/** Sends it and waits.  TSR_OK for good answers (2xx) and 416; what the judge
 *  says of others; transport errors.  web->answer is the answer's head. */
tsr_error tsri_web_send(tsri_web *web, const char *what,
                        const struct curl_slist *headers);

/** The default meaning of a status that is not good. */
tsr_error tsri_web_meaning(long status);
#endif
