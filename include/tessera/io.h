/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TSR_IO_H
#define TSR_IO_H
#include <stddef.h>
#include <stdint.h>
#include <tessera/error.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Where bytes come from.  `read` stores up to `size` >= 1 bytes and their
 *  number in *got; it may give fewer than asked for, and 0 only at the end. */
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
