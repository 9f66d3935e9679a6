/* SPDX-License-Identifier: BSD-2-Clause */
#include "net/settings.h"
#include <string.h>

int tsri_settings_take(void *own, size_t own_size, const void *theirs,
                       size_t least)
{
    size_t size;

    memcpy(&size, theirs, sizeof size);
    if (size < least)
        return 0;
    memcpy(own, theirs, size < own_size ? size : own_size);
    memcpy(own, &own_size, sizeof own_size);
    return 1;
}

int tsri_settings_store(tsr_store_settings *own,
                        const tsr_store_settings *theirs)
{
    tsr_store_settings_init(own);
    return tsri_settings_take(own, sizeof *own, theirs,
                              offsetof(tsr_store_settings, logger));
}

int tsri_settings_stream(tsr_kv_stream_settings *own,
                         const tsr_kv_stream_settings *theirs)
{
    enum {
        INNER = offsetof(tsr_kv_stream_settings, store),
        REST = offsetof(tsr_kv_stream_settings, model),
        LEAST = offsetof(tsr_kv_stream_settings, arrival) - REST
    };

    tsr_kv_stream_settings_init(own);
    if (theirs->size < INNER + sizeof(size_t) + LEAST)
        return 0;
    const size_t inner = theirs->store.size;
    if (inner % sizeof(void *) || inner > theirs->size - INNER - LEAST ||
        !tsri_settings_store(&own->store, &theirs->store))
        return 0;
    const size_t rest = theirs->size - INNER - inner;
    const size_t known = sizeof *own - REST;
    own->url = theirs->url;
    memcpy((char *)own + REST, (const char *)theirs + INNER + inner,
           rest < known ? rest : known);
    return 1;
}
