/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TSR_STORE_H
#define TSR_STORE_H
#include <stddef.h>
#include <stdint.h>
#include <tessera/context.h>
#include <tessera/error.h>
#include <tessera/io.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Stores of named bytes, behind one interface (libtessera-net): a folder, Redis
 * or Valkey, S3 and what speaks like it, HTTP.  docs/kv-store.md has the URLs.
 *
 *     /path, dir:/path                a folder; written atomically
 *     redis://[[user:]password@]host[:port][/db]
 *     s3://bucket[/prefix]            with AWS_ACCESS_KEY_ID, ... of the
 *                                     environment and settings.endpoint, .region
 *     http://host[:port][/path], https://...      as `tessera kv serve` answers
 *
 * Keys are 1..200 of the characters A-Z a-z 0-9 . _ - and do not begin with a
 * dot; others are TSR_E_ARG before anything is sent.
 */

/** Set with tsr_store_settings_init(). */
typedef struct tsr_store_settings {
    size_t size;            /**< sizeof(tsr_store_settings); for growth */
    uint64_t max_object;    /**< larger objects are refused, both ways; default
                                 1 GiB */
    uint64_t capacity;      /**< folder: bytes to hold; what was not used for
                                 longest goes first.  0 (default): no limit */
    double timeout;         /**< seconds without any progress after which an
                                 attempt fails; 0.001..3600, default 10 */
    int retries;            /**< more attempts after a failure that may pass,
                                 going on where the last one ended; 0..100,
                                 default 3 */
    const char *token;      /**< HTTP: bearer token; redis: the password, where
                                 the URL has none; NULL: none.  Copied, as all
                                 texts are */
    const char *ca_file;    /**< https: certificates to trust; NULL: the
                                 system's */
    const char *endpoint;   /**< s3: "http://host:port" of another service than
                                 Amazon's (buckets in the path); NULL: Amazon's */
    const char *region;     /**< s3: default "us-east-1" */
    const char *key_prefix; /**< redis: before every key; default "tessera:kv:" */
    tsr_logger logger;      /**< why a call failed, on the thread that made it */
} tsr_store_settings;

TSR_API void tsr_store_settings_init(tsr_store_settings *settings);

/** A connection to a store; connected when first used.  One thread at a time,
 *  but for tsr_store_cancel(); open one for each thread. */
typedef struct tsr_store tsr_store;

/** Returns TSR_OK; TSR_E_ARG not such a URL or setting, or a folder with other
 *  files; TSR_E_UNSUPPORTED this build has no such store; TSR_E_IO, TSR_E_DENIED,
 *  TSR_E_LIMIT a folder that cannot be made; TSR_E_NOMEM. */
TSR_API TSR_CHECKED tsr_error
tsr_store_open(tsr_store **store, const char *url,
               const tsr_store_settings *settings);
TSR_API void tsr_store_close(tsr_store **store);

/** What a store says of an object. */
typedef struct tsr_store_entry {
    char key[201];
    uint64_t bytes;         /**< of the whole object */
    int64_t modified;       /**< seconds since 1970; 0: not known */
} tsr_store_entry;

/*
 * All calls: TSR_OK; TSR_E_ARG; TSR_E_MISSING no such object; TSR_E_DENIED the
 * store wants other credentials or forbids it; TSR_E_LIMIT too large, or a full
 * store; TSR_E_IO it could not be reached, broke off (after all retries) or gave
 * nonsense; TSR_E_CANCELED; TSR_E_NOMEM.
 */

/**
 * Reads bytes offset .. offset + bytes - 1 of an object, or to its end if that
 * comes first; bytes 0: to the end.  They go to the sink in order, as they
 * arrive, none twice; where the call fails the sink has seen a beginning.  An
 * error of the sink ends the call with it.
 *
 * entry  out, may be NULL: filled before the sink is called first
 */
TSR_API TSR_CHECKED tsr_error
tsr_store_get(tsr_store *store, const char *key, uint64_t offset,
              uint64_t bytes, const tsr_sink *sink, tsr_store_entry *entry);

/** Writes an object, or replaces it, at once: nobody ever reads a part of it,
 *  and of two writers one wins whole. */
TSR_API TSR_CHECKED tsr_error tsr_store_put(tsr_store *store, const char *key,
                                            const void *data, size_t size);

TSR_API TSR_CHECKED tsr_error tsr_store_stat(tsr_store *store, const char *key,
                                             tsr_store_entry *entry);

/** Removing what is not there is TSR_E_MISSING where the store can tell, else
 *  TSR_OK. */
TSR_API TSR_CHECKED tsr_error tsr_store_remove(tsr_store *store,
                                               const char *key);

/** Visits the objects whose keys begin with `prefix` ("": all), in any order; an
 *  error that visit returns ends the call with it.  What is put or removed
 *  meanwhile may be visited or not; Redis may name an object twice.  visit() may
 *  not use this store. */
TSR_API TSR_CHECKED tsr_error
tsr_store_list(tsr_store *store, const char *prefix,
               tsr_error (*visit)(void *cookie, const tsr_store_entry *entry),
               void *cookie);

/** Ends the call under way, and refuses later ones, with TSR_E_CANCELED; from
 *  any thread. */
TSR_API void tsr_store_cancel(tsr_store *store);

/** Folders only: an open file of the object, to be read (sendfile) and closed by
 *  the caller; what was opened stays whole whoever replaces it.  Others:
 *  TSR_E_UNSUPPORTED. */
TSR_API TSR_CHECKED tsr_error tsr_store_open_file(tsr_store *store,
                                                  const char *key, int *fd,
                                                  tsr_store_entry *entry);

/** Schemes of this build: "dir", "http", "redis", "s3"; NULL outside. */
TSR_API const char *tsr_store_scheme_at(int i);

#ifdef __cplusplus
}
#endif
#endif
