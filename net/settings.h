/* SPDX-License-Identifier: BSD-2-Clause */
/* Settings of programs that were compiled with another version's headers. */
#ifndef TSR_NET_SETTINGS_H
#define TSR_NET_SETTINGS_H
#include <tessera/kv_stream.h>

/** Copies the caller's settings, which begin with their size, over defaults: what a
 *  shorter structure does not have keeps its default, what a longer one has behind
 *  ours is not looked at.  Returns 0 where it is shorter than `least`. */
int tsri_settings_take(void *own, size_t own_size, const void *theirs,
                       size_t least);

/** The same, defaults and all, for a store's settings. */
int tsri_settings_store(tsr_store_settings *own,
                        const tsr_store_settings *theirs);

/** And for a job's.  They have a store's in their midst, which may be shorter or
 *  longer than ours, too: what follows is looked for behind those. */
int tsri_settings_stream(tsr_kv_stream_settings *own,
                         const tsr_kv_stream_settings *theirs);
#endif
