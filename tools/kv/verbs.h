/* SPDX-License-Identifier: BSD-2-Clause */
/* The verbs of `tessera kv`. */
#ifndef TOOLS_KV_VERBS_H
#define TOOLS_KV_VERBS_H
#include "tools/args.h"
#include "tools/kv/cache.h"
#include "tools/progress.h"

int kv_pack(args *a);
int kv_unpack(args *a);
int kv_info(args *a);
int kv_compare(args *a);
int kv_bench(args *a);
int kv_reduce(args *a);
int kv_profile(args *a);
int kv_serve(args *a);
int kv_ls(args *a);
int kv_stat(args *a);
int kv_rm(args *a);
int kv_push(args *a);
int kv_pull(args *a);

/** A file of objects, one after another. */
typedef struct objects {
    const char *name;
    uint8_t *data;
    size_t size;
    int count;
    size_t *at;             /**< count + 1 offsets */
    tsr_kv_info *info;      /**< of each */
} objects;

/** Reads all objects of a file and checks that they are of one cache, in order
 *  of position.  Returns an exit status; has said what was wrong. */
int objects_open(objects *o, tsr_context *ctx, const char *path);

/** The same in two steps: reads the file, whatever it is; looks at what was
 *  read.  objects_close() in any case. */
int objects_read(objects *o, const char *path);
int objects_index(objects *o, tsr_context *ctx);
void objects_close(objects *o);

/** Whether an output's name asks for a stream of CacheGen's. */
int cachegen_is_meant(const char *path);

/** Such a stream from a cache, and to one. */
int cachegen_pack(const args *a, tsr_context *ctx, cache *c);
int cachegen_unpack(const args *a, tsr_context *ctx, const objects *in);

/** Do two caches turn their keys alike? Field by field: what lies between fields
 *  may be anything. */
int kv_same_rope(const tsr_kv_rope *a, const tsr_kv_rope *b);

/** Memory for a call on objects of up to `tokens` tokens; free() scratch. */
int kv_call(const tsr_kv *kv, size_t tokens, tsr_kv_call *call);

/** The coder's settings as the options say, for a cache of this kind; *model is
 *  the profile, to be closed, or NULL. */
int kv_settings(tsr_kv_settings *s, tsr_model **model, tsr_context *ctx,
                const args *a, const cache *c);

/** A view of tokens first .. first + n - 1 of a cache that is not paged; base
 *  has room for the cache's planes. */
tsr_kv_view kv_window(const cache *c, size_t first, size_t n, void **base);

/**
 * Writes a->out with `make`, which says what went wrong and returns an exit
 * status; nothing is left where it fails.  in: the file being read, or NULL.
 * bytes: out, what was written; may be NULL.
 */
int kv_write(const args *a, const input *in,
             int (*make)(void *cookie, output *out, progress *p), void *cookie,
             uint64_t *bytes);

/** Reads "A" or "A:B" (from A to before B; B may be missing); 0..end. */
int kv_range(const char *text, uint64_t end, uint64_t *first, uint64_t *n);
#endif
