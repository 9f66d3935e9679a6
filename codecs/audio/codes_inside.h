/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TSR_CODECS_AUDIO_CODES_INSIDE_H
#define TSR_CODECS_AUDIO_CODES_INSIDE_H
#include "codecs/audio/codes_lm.h"
#include "entropy/packing.h"

struct tsri_codes {
    tsr_context *ctx;
    int books, codewords, shorter[2];
    tsri_packing packing;   /* of books of one size */
    int bits[2];            /* of a code of book 0, of another one */
    tsri_codes_tables tables;
    tsri_codes_lm *lm;
};

/* Books of two sizes: tables have one row length for all. */
static inline bool tsri_codes_mixed(const tsri_codes *c)
{
    return c->shorter[0] || c->shorter[1];
}
#endif
