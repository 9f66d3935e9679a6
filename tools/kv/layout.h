/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TOOLS_KV_LAYOUT_H
#define TOOLS_KV_LAYOUT_H
#include <stdint.h>
#include <tessera/kv.h>

enum { LAYOUT_MAX = 5 };

/** How an array holds a cache: its dimensions, outermost first, as letters: 2
 *  keys and values, L layer, T token, H head, D dim, C = head and dim. */
typedef struct layout {
    int rank;
    char letter[LAYOUT_MAX];
    uint64_t dims[LAYOUT_MAX];
} layout;

/** Parses letters; D or C must be the last, T be there, each once.  0 if it is
 *  no layout. */
int layout_parse(layout *y, const char *letters);

/** The shape and tokens that the dims mean; C is cut into `heads` heads.  0 if
 *  they are beyond what a cache can be. */
int layout_shape(const layout *y, int heads, tsr_kv_shape *shape,
                 uint64_t *tokens);

/** Sets the dims from a shape whose planes are alike; 0 where the layout cannot
 *  hold it. */
int layout_fit(layout *y, const tsr_kv_shape *shape, uint64_t tokens);

/** Elements from one to the next of a letter; 0 where it is not there. */
uint64_t layout_step(const layout *y, char letter);
#endif
