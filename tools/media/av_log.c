/* SPDX-License-Identifier: BSD-2-Clause */
#include <libavutil/log.h>
#include <string.h>
#include "tools/media/av.h"
#include "tools/say.h"

enum { LINE = 512 };

static void take_message(void *object, int level, const char *format,
                         va_list list)
{
    char text[LINE];
    int prefix = 1;
    if (level > av_log_get_level() || !say_is_verbose())
        return;
    av_log_format_line2(object, level, format, list, text, sizeof text,
                        &prefix);
    text[strcspn(text, "\n")] = 0;
    if (*text)
        say_info("libav: %s", text);
}

void av_log_to_say(void)
{
    av_log_set_level(AV_LOG_WARNING);
    av_log_set_callback(take_message);
}
