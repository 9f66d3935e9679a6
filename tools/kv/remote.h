/* SPDX-License-Identifier: BSD-2-Clause */
/* What the verbs of `tessera kv` that talk to stores have in common. */
#ifndef TOOLS_KV_REMOTE_H
#define TOOLS_KV_REMOTE_H
#include <tessera/kv_chunk.h>
#include <tessera/store.h>
#include "tools/args.h"

/** -token_file -ca_file -endpoint -region -timeout -retries -capacity
 *  -max_object -connections. */
extern const opt kv_remote_options[];

/** Those of serve, ls and rm. */
extern const opt kv_serve_options[];

/**
 * The settings of stores as the options say.  The token is the first of
 * -token_file, else $TESSERA_TOKEN, else none; texts stay until the program
 * ends.  The logger may be called from any thread: it keeps the last reason for
 * kv_remote_failed().  Returns an exit status; has said what was wrong.
 */
int kv_remote_settings(tsr_store_settings *settings, const args *a);

/** Opens a store with these settings.  Returns an exit status; has said what
 *  was wrong.  tsr_store_close(). */
int kv_remote_open(tsr_store **store, const args *a, const char *url);

/** As say_failure() for a call on a store, or on what was read from one: the
 *  reason if the logger had one.  `what`: the URL or the key. */
int kv_remote_failed(const char *what, tsr_error error);

/** `text` without the place of the store, which messages name before it; one
 *  buffer. */
const char *kv_remote_short(const char *text, const char *url);

/** That logger. */
tsr_logger kv_remote_logger(void);

/** The URL without the password in it, for messages; one buffer. */
const char *kv_remote_shown(const char *url);

/** Reads a file of tokens, one a line; "ro " or "rw " (the default) may stand
 *  before it, empty lines and those that begin with # say nothing.  Calls `add`
 *  for each, which returns 0, or -1 for no memory.  Returns an exit status; has
 *  said what was wrong. */
int kv_remote_tokens(const char *path,
                     int (*add)(void *cookie, const char *token, int write),
                     void *cookie);
enum { KV_TOKEN_SIZE = 1024 };  /**< of a token and the 0 behind it */

/** A stored chunk's head as it comes; kv_head_take() is a sink's write that keeps
 *  no more than that. */
typedef struct kv_head {
    uint8_t data[TSR_KV_CHUNK_HEAD];
    size_t size;
} kv_head;
tsr_error kv_head_take(void *cookie, const void *data, size_t size);

/** Reads the head of a stored chunk, and checks that it belongs to that key and
 *  size.  entry: out.  Errors of tsr_store_get() and tsr_kv_chunk_probe(),
 *  TSR_E_MODEL another name, TSR_E_TRUNCATED another size. */
tsr_error kv_remote_head(tsr_store *store, tsr_context *ctx, const char *key,
                         tsr_store_entry *entry, tsr_kv_chunk *chunk);

/** The store of `a`: its first plain argument; the others are keys.  Returns an
 *  exit status; has said what was wrong. */
int kv_remote_store(tsr_store **store, const args *a, const char *verb);
#endif
