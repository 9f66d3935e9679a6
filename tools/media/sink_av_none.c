/* SPDX-License-Identifier: BSD-2-Clause */
#include "tools/media/sink.h"
#include "tools/say.h"

int sink_av_knows(const args *a)
{
    (void)a;
    return 0;
}

int sink_av_open(media_sink **s, const args *a, const sink_source *from,
                 output *out)
{
    (void)s;
    (void)from;
    (void)out;
    return say_error(RC_USAGE, a->out, "needs libav, and this program was built"
                     " without it");
}
