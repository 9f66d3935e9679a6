/* SPDX-License-Identifier: BSD-2-Clause */
/* Coded packets from and to files: .tess, and MOV and NUT where the build has
 * libav.  What is copied stays as it is, byte for byte. */
#ifndef TOOLS_MEDIA_PACKETS_H
#define TOOLS_MEDIA_PACKETS_H
#include <tessera/media.h>
#include "tools/args.h"
#include "tools/input.h"
#include "tools/output.h"

typedef struct packets_in packets_in;

/** Whether the head of `in` is that of a file that may hold packets of ours: .tess
 *  of kind media or sound, MOV, NUT. */
int packets_in_is(const input *in);

/** Whether an ordinary file does: MOV and NUT are looked into.  Nothing can be
 *  read from `in` any more. */
int packets_in_ours(input *in);

/** Opens; streams in MOV and NUT that are not ours are left out.  Returns an exit
 *  status; has said what was wrong.  `in` must outlive it. */
int packets_in_open(packets_in **p, tsr_context *ctx, input *in);
int packets_in_streams(const packets_in *p);
const tsr_media_stream *packets_in_stream(const packets_in *p, int index);
double packets_in_seconds(const packets_in *p);     /**< 0: not known */

/** Next packet; *end: 1 after the last.  Returns an exit status. */
int packets_in_next(packets_in *p, tsr_media_packet *packet, int *end);

/** To before `seconds` in every stream, where the input can; else does nothing,
 *  and the caller drops. */
int packets_in_seek(packets_in *p, double seconds);

/** Text of what was damaged so far, or NULL.  A file that is cut says so after
 *  the last packet. */
const char *packets_in_damage(packets_in *p);
void packets_in_close(packets_in **p);

/** What a file of packets called `path` is: "tess", "mov" or "nut", by -f or its
 *  extension (a pipe: tess); NULL: none of them. */
const char *packets_format(const args *a, const char *path);

typedef struct packets_out packets_out;

/** Opens a file of packets_format(); streams are added before the first packet.
 *  kind: of a .tess file, TSR_KIND_MEDIA or TSR_KIND_AUDIO.  Returns an exit
 *  status; has said what was wrong; so do the others. */
int packets_out_open(packets_out **p, tsr_context *ctx, const args *a, int kind,
                     output *out);
int packets_out_stream(packets_out *p, const tsr_media_stream *stream, int *index);
int packets_out_packet(packets_out *p, const tsr_media_packet *packet);

/** Writes index and trailer. */
int packets_out_finish(packets_out *p);
void packets_out_close(packets_out **p);
#endif
