/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include "tools/io/picture.h"
#include "tools/say.h"

static const picture_format *const formats[] = {
    &picture_png, &picture_pnm, &picture_ppm, &picture_pgm, &picture_pam, NULL
};

tsr_error picture_fail(picture_why *why, tsr_error error, const char *format,
                       ...)
{
    va_list list;
    va_start(list, format);
    vsnprintf(why->text, sizeof why->text, format, list);
    va_end(list);
    return error;
}

/* What a file is that is no picture of ours: the common mistakes by name. */
const char *picture_guess(const input *in)
{
    static const struct { const char *magic; size_t n; const char *text; }
    kinds[] = {
        { "\xff\xd8\xff", 3, "a JPEG file; djpeg makes a PNM of it" },
        { "\x89TSR", 4, "a .tess file, not a picture; tessera"
          " decode makes one of it" },
        { "\xc7\x54", 2, "a .tess file, not a picture; tessera"
          " decode makes one of it" },
        { "RIFF", 4, "a RIFF file (WebP?); dwebp makes a PNG of it" },
        { "GIF8", 4, "a GIF file" },
    };
    if (!in->head_size)
        return "the file is empty";
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (in->head_size >= kinds[i].n &&
            !memcmp(in->head, kinds[i].magic, kinds[i].n))
            return kinds[i].text;
    return "neither PNG nor PNM";
}

static const picture_format *probe(const input *in)
{
    for (int i = 0; formats[i]; i++)
        if (formats[i]->probe && formats[i]->probe(in->head, in->head_size))
            return formats[i];
    return NULL;
}

int picture_is(const input *in)
{
    return probe(in) != NULL;
}

int picture_read(tsr_context *ctx, input *in, tsr_image *image)
{
    const picture_format *format = probe(in);
    picture_why why = { "" };
    tsr_error error;

    *image = (tsr_image){ 0 };
    if (!format)
        return say_error(RC_INPUT, in->name, "%s", picture_guess(in));
    error = format->read(ctx, in, image, &why);
    if (!error)
        return RC_OK;
    tsr_image_free(ctx, image);
    if (in->fault)
        return input_failed(in);
    if (why.text[0])
        return say_error(say_rc(error), in->name, "%s", why.text);
    return say_failure(in->name, error);
}

static const picture_format *by_name(const char *name)
{
    for (int i = 0; formats[i]; i++)
        if (!strcasecmp(formats[i]->name, name))
            return formats[i];
    return NULL;
}

static const char *last_dot(const char *path)
{
    const char *slash = strrchr(path, '/');
    return strrchr(slash ? slash : path, '.');
}

int picture_named(const char *path)
{
    const char *dot = last_dot(path);
    return dot && by_name(dot + 1);
}

const picture_format *picture_writer(const char *name, const char *path)
{
    const picture_format *format;
    const char *dot = last_dot(path);

    if (!name && args_is_pipe(path))
        return &picture_png;
    if (!name && !dot) {
        say_error(RC_USAGE, path, "has no extension; -f names the format"
                  " (png, pnm, ppm, pgm, pam)");
        return NULL;
    }
    format = by_name(name ? name : dot + 1);
    if (!format)
        say_error(RC_USAGE, name ? NULL : path,
                  "unknown picture format '%s' (png, pnm, ppm, pgm, pam)",
                  name ? name : dot + 1);
    return format;
}

int picture_write(const picture_format *format, output *out,
                  const tsr_image *image)
{
    picture_why why = { "" };
    const tsr_error error = format->write(out, image, &why);
    if (error && !out->fault)
        return say_error(say_rc(error), out->name, "%s",
                         why.text[0] ? why.text : tsr_error_string(error));
    return error ? RC_USAGE : RC_OK;
}
