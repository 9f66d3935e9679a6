/* SPDX-License-Identifier: BSD-2-Clause */
/* A build without libav: our own readers only. */
#include "tools/io/picture.h"
#include "tools/media/reader.h"
#include "tools/say.h"

int media_has_av(void)
{
    return 0;
}

int media_open_av(media_reader **r, const media_setup *s)
{
    *r = NULL;
    if (s->a->of_input.format)
        return say_error(RC_USAGE, NULL, "-f %s: this program was built without"
                         " libav and reads png, pnm, wav, y4m and rawvideo",
                         s->a->of_input.format);
    return say_error(RC_INPUT, s->in->name, "%s; this program was built without"
                     " libav: 'ffmpeg -i IN -f yuv4mpegpipe -' or '-f wav -'"
                     " pipes the rest into it", picture_guess(s->in));
}
