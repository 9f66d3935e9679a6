/* SPDX-License-Identifier: BSD-2-Clause */
/* What stands behind packets_in and packets_out. */
#ifndef TOOLS_MEDIA_PACKETS_IMPL_H
#define TOOLS_MEDIA_PACKETS_IMPL_H
#include "tools/media/packets.h"

/** A reader begins with this, so that a pointer to it is one to the reader. */
struct packets_in {
    const struct packets_in_kind *kind;
    int absurd;     /**< packets were left out for their times */
};

typedef struct packets_in_kind {
    int (*streams)(const packets_in *p);
    const tsr_media_stream *(*stream)(const packets_in *p, int index);
    double (*seconds)(const packets_in *p);
    int (*next)(packets_in *p, tsr_media_packet *packet, int *end);
    int (*seek)(packets_in *p, double seconds);
    const char *(*damage)(packets_in *p);
    void (*close)(packets_in *p);
} packets_in_kind;

/** Likewise. */
struct packets_out {
    const struct packets_out_kind *kind;
};

typedef struct packets_out_kind {
    int (*stream)(packets_out *p, const tsr_media_stream *stream, int *index);
    int (*packet)(packets_out *p, const tsr_media_packet *packet);
    int (*finish)(packets_out *p);
    void (*close)(packets_out *p);
} packets_out_kind;

/** .tess of kind media or sound. */
int packets_tess_open(packets_in **p, tsr_context *ctx, input *in);
int packets_tess_create(packets_out **p, tsr_context *ctx, int kind,
                        output *out);

/** MOV and NUT, through libav; a build without it says so.  format: "mov" or
 *  "nut". */
int packets_av_open(packets_in **p, tsr_context *ctx, const char *format,
                    input *in);
int packets_av_ours(const char *format, input *in);
int packets_av_create(packets_out **p, tsr_context *ctx, const char *format,
                      output *out);
#endif
