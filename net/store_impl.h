/* SPDX-License-Identifier: BSD-2-Clause */
/* What a kind of store has to do.  store.c checks keys and arguments, tries
 * again, and resumes; a driver makes one attempt. */
#ifndef TSR_NET_STORE_IMPL_H
#define TSR_NET_STORE_IMPL_H
#include <stdatomic.h>
#include <tessera/store.h>

/** Calls as in store.h; attempts that may be made again fail with TSR_E_IO.
 *  None of open's arguments is checked but for not being NULL. */
typedef struct tsri_store_driver {
    const char *scheme;
    tsr_error (*open)(tsr_store *store, const char *url);
    void (*close)(tsr_store *store);    /**< of what open made, as far as it came */
    tsr_error (*get)(tsr_store *store, const char *key, uint64_t offset,
                     uint64_t bytes, const tsr_sink *sink,
                     tsr_store_entry *entry);
    tsr_error (*put)(tsr_store *store, const char *key, const void *data,
                     size_t size);
    tsr_error (*stat)(tsr_store *store, const char *key, tsr_store_entry *entry);
    tsr_error (*remove)(tsr_store *store, const char *key);
    tsr_error (*list)(tsr_store *store, const char *prefix,
                      tsr_error (*visit)(void *cookie,
                                         const tsr_store_entry *entry),
                      void *cookie);
    tsr_error (*open_file)(tsr_store *store, const char *key, int *fd,
                           tsr_store_entry *entry);     /**< or NULL */
} tsri_store_driver;

struct tsr_store {
    const tsri_store_driver *driver;
    tsr_store_settings settings;    /**< texts are the store's own copies */
    void *state;                    /**< the driver's */
    atomic_int canceled;            /**< drivers look at it at least every 100 ms */
    int replaced;                   /**< set by a driver that saw an object change
                                         under a get: no other attempt */
    int retried;
    char version[120];  /**< of the object being read, as the driver names it; set
                             by its get, which later attempts of one read have to
                             find again.  "": none */
};

/** Logs one line (printf) and returns `error`. */
tsr_error tsri_store_fail(tsr_store *store, tsr_error error, const char *format,
                          ...) __attribute__((format(printf, 3, 4)));

/** The drivers; NULL where the build has not got it. */
const tsri_store_driver *tsri_store_dir(void);
const tsri_store_driver *tsri_store_http(void);
const tsri_store_driver *tsri_store_s3(void);
const tsri_store_driver *tsri_store_redis(void);

/** 1..200 of A-Z a-z 0-9 . _ -, no dot first. */
int tsri_store_key_good(const char *key);

/** Attempts that were made again since the store was opened. */
int tsri_store_retried(const tsr_store *store);
#endif
