/* SPDX-License-Identifier: BSD-2-Clause */
/* Raw video: -f rawvideo -pix_fmt FORM -s WxH -r FPS. */
#include <math.h>
#include <stdio.h>
#include "tools/media/in_frames.h"
#include "tools/say.h"

int media_size(const char *text, int *width, int *height)
{
    int n = 0;
    if (sscanf(text, "%9dx%9d%n", width, height, &n) == 2 && !text[n] &&
        *width > 0 && *height > 0)
        return RC_OK;
    return say_error(RC_USAGE, NULL, "-s %s: a size is wanted, like 1280x720",
                     text);
}

int media_rate(const char *text, uint32_t *num, uint32_t *den)
{
    double decimal;
    int end = 0, rest = 0;

    *num = 25;
    *den = 1;
    if (!text || (sscanf(text, "%9u/%9u%n", num, den, &end) == 2 &&
                  !text[end] && *num && *den))
        return RC_OK;
    if (sscanf(text, "%12lf%n", &decimal, &rest) != 1 || text[rest] ||
        !(decimal >= 0.001 && decimal < 1e5))
        return say_error(RC_USAGE, NULL, "-r %s: frames a second are wanted,"
                         " like 25 or 30000/1001", text);
    *den = decimal == floor(decimal) ? 1 : 1000;
    *num = (uint32_t)(decimal * *den + 0.5);
    return RC_OK;
}

int media_open_raw(media_reader **r, const media_setup *s)
{
    const char *form_name = s->a->of_input.pixel_format;
    const char *size = s->a->of_input.size;
    planes form = { .packed = 0 };
    uint32_t num, den;

    *r = NULL;
    if (!form_name || !size)
        return say_error(RC_USAGE, s->in->name, "raw video needs -pix_fmt and"
                         " -s before -i, and -r if it is not 25");
    if (!planes_named(&form, form_name))
        return say_error(RC_USAGE, NULL, "unknown -pix_fmt '%s'; raw video is"
                         " read of rgb24, bgr24, rgba, bgra, gray, yuv420p,"
                         " yuv422p, yuv444p, rgb48le and forms of theirs of 10,"
                         " 12 and 16 bits", form_name);
    if (media_size(size, &form.width, &form.height) ||
        media_rate(s->a->of_input.frame_rate, &num, &den))
        return RC_USAGE;
    if (!planes_bytes(&form))
        return say_error(RC_MACHINE, NULL, "-s %s: frames of more than 2^31"
                         " pixels are not read", size);
    form.yuv.matrix = yuv_matrix_of(form.height);
    form.yuv.full = form.count == 1;
    form.yuv.between_y = 1;
    return frames_open(r, s, &form, NULL, num, den);
}
