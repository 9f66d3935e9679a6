/* SPDX-License-Identifier: BSD-2-Clause */
/* A folder that holds objects:
 *
 *     tessera-store       says that this is such a folder; lock and count
 *     tmp/                files that are being written
 *     ab/abcdef...        objects, by the first two characters of their keys
 *
 * An object's time of change is when it was put, its time of access when it was
 * last used (set by us: file systems do not keep it well). */
#ifndef TSR_NET_STORE_DIR_H
#define TSR_NET_STORE_DIR_H
#include <sys/stat.h>
#include "net/store_impl.h"

/** An object that may have to go: what was found when the folder was walked. */
typedef struct tsri_dir_old {
    int64_t used;                   /**< nanoseconds since 1970 */
    char key[201];
} tsri_dir_old;

typedef struct tsri_dir {
    int root;                       /**< the folder */
    int mark;                       /**< "tessera-store"; -1: not yet opened */
    int swept;                      /**< "tmp" was looked through */
    char touched[201];              /**< the object last used, and when */
    int64_t touched_at;
    unsigned char *piece;           /**< what get() reads through */
    tsri_dir_old *old;              /**< the longest unused first, from `next` */
    int next, count;
} tsri_dir;

#define TSRI_DIR_MARK "tessera-store"

/** The folder of an object, "ab" of abcdef. */
void tsri_dir_shard(char shard[3], const char *key);
/** Opens that folder, never through a symbolic link; -1 and errno. */
int tsri_dir_open_shard(const tsri_dir *dir, const char *key);
int64_t tsri_dir_now(void);
int64_t tsri_dir_used(const struct stat *info);

/** What errno says, logged as "KEY: DOING: why"; ENOENT is TSR_E_MISSING and not
 *  logged. */
tsr_error tsri_dir_fail(tsr_store *store, const char *key, const char *doing);

/** Visits every object; an error of visit() ends it. */
tsr_error tsri_dir_walk(tsr_store *store, const char *prefix,
                        tsr_error (*visit)(void *cookie, const char *key,
                                           const struct stat *info),
                        void *cookie);

/** Gives the finished file `name` of the folder `tmp` its key, after making room.
 *  The caller unlinks the file where that fails. */
tsr_error tsri_dir_publish(tsr_store *store, const char *key, int tmp,
                           const char *name, uint64_t size);
tsr_error tsri_dir_unlink(tsr_store *store, const char *key);
#endif
