/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TSR_IO_H
#define TSR_IO_H
#include <stddef.h>
#include <stdint.h>
#include <tessera/error.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Where bytes come from.  `read` stores up to `size` bytes and their number
 *  in *got; TSR_OK with *got < size means the end.  Never asks to seek. */
typedef struct tsr_source {
    void *cookie;
    tsr_error (*read)(void *cookie, void *data, size_t size, size_t *got);
} tsr_source;

/** Where bytes go, in order.  `write` takes all `size` bytes or fails. */
typedef struct tsr_sink {
    void *cookie;
    tsr_error (*write)(void *cookie, const void *data, size_t size);
} tsr_sink;

#ifdef __cplusplus
}
#endif
#endif
