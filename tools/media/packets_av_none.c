/* SPDX-License-Identifier: BSD-2-Clause */
/* A build without libav reads and writes .tess only. */
#include "tools/media/packets_impl.h"
#include "tools/say.h"

int packets_av_open(packets_in **p, tsr_context *ctx, const char *format,
                    input *in)
{
    (void)p;
    (void)ctx;
    return say_error(RC_USAGE, in->name, "is a %s file, and this program was"
                     " built without libav", format);
}

int packets_av_create(packets_out **p, tsr_context *ctx, const char *format,
                      output *out)
{
    (void)p;
    (void)ctx;
    return say_error(RC_USAGE, out->name, "%s needs libav, and this program was"
                     " built without it; .tess does not", format);
}

int packets_av_ours(const char *format, input *in)
{
    (void)format;
    (void)in;
    return 0;
}
