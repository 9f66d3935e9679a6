/* SPDX-License-Identifier: BSD-2-Clause */
/* Which streams of a file of packets are taken: -map, -vn and -an. */
#ifndef TOOLS_MEDIA_CHOOSE_H
#define TOOLS_MEDIA_CHOOSE_H
#include "tools/media/packets.h"

/** as[i]: 0 stream i is taken, -1 it is not; without -map all are.  Returns an exit
 *  status; has said what was wrong. */
int choose_streams(const args *a, const input *in, const packets_in *p,
                   int as[TSR_MEDIA_MAX_STREAMS]);

/** One of each kind, -1: none; without -map the first ones. */
int choose_pair(const args *a, const input *in, const packets_in *p, int *video,
                int *audio);
#endif
