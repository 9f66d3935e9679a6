/* SPDX-License-Identifier: BSD-2-Clause */
/* Whether a MOV or NUT file was written to its end.  Demuxers do not say it: to
 * them a file that was cut between two packets is one that ends there. */
#ifndef TOOLS_MEDIA_WHOLE_H
#define TOOLS_MEDIA_WHOLE_H
#include <stddef.h>
#include <stdint.h>
#include "tools/input.h"

enum { WHOLE_ANY_MOV = 2 };

/** What was seen of a stream of bytes; all 0 but
 *  `nut` at first. */
typedef struct whole {
    int nut;            /**< 1 NUT; MOV: 0 as we write it, WHOLE_ANY_MOV: its
                             fragments may do without an index at the end */
    uint64_t seen;      /**< bytes so far */
    uint8_t tail[12];   /**< the last of them */
    uint8_t head[16];   /**< MOV: of the box that began last */
    size_t have;        /**< of head */
    uint64_t box;       /**< MOV: where the next box begins */
    uint32_t type;      /**< MOV: of the last box */
    int fragments;      /**< MOV: there are fragments */
    uint64_t code;      /**< NUT: the last 8 bytes */
    uint64_t index;     /**< NUT: where the last index begins, from 1 */
} whole;

/** The next bytes, from the start of the file on. */
void whole_feed(whole *w, const uint8_t *data, size_t n);

/** After the last byte: whether some are missing. */
int whole_cut(const whole *w);

/** The same for an ordinary file; its position is lost. */
int whole_file_cut(int nut, input *in);
#endif
