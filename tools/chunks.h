/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TOOLS_CHUNKS_H
#define TOOLS_CHUNKS_H
#include <tessera/stream.h>
#include "tools/input.h"

/** What reading every chunk of a container showed. */
typedef struct chunks {
    uint64_t sound, lost;
    tsr_stream_damage damage;
    int bad;                /**< something is not as it was written */
} chunks;

/** Reads `in` to its end.  Returns an exit status; has said what was wrong. */
int chunks_check(tsr_context *ctx, input *in, chunks *c);
#endif
