/* SPDX-License-Identifier: BSD-2-Clause */
/* Packets of several streams, each in its order, into one file in the order of
 * time.  What has to wait for another stream waits here, bounded: beyond
 * MIX_BYTES packets go on out of order, which readers take. */
#ifndef TOOLS_MEDIA_MIX_H
#define TOOLS_MEDIA_MIX_H
#include "tools/media/packets.h"

enum { MIX_BYTES = 1 << 26 };

typedef struct mix_entry mix_entry;

typedef struct mix {
    packets_out *out;
    int streams;
    struct mix_stream {
        double unit;            /* seconds */
        double next;            /* no packet to come is earlier, seconds */
        int ended;
        mix_entry *first, *last;
    } stream[TSR_MEDIA_MAX_STREAMS];
    size_t bytes;               /* that wait */
} mix;

/** For `out`, which must outlive it; all else 0.  The streams are those of `out`,
 *  in its order. */
void mix_stream(mix *m, const tsr_media_stream *stream);

/** One packet, copied; next: no packet of its stream to come has an earlier pts.
 *  Returns an exit status; has said what was wrong. */
int mix_put(mix *m, const tsr_media_packet *packet, int64_t next);

/** No more packets come for `stream`. */
int mix_end(mix *m, int stream);
void mix_close(mix *m);
#endif
