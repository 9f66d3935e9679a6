/* SPDX-License-Identifier: BSD-2-Clause */
/* Picture files: one table of formats, each with a probe, a reader, a writer. */
#ifndef TOOLS_IO_PICTURE_H
#define TOOLS_IO_PICTURE_H
#include <tessera/image.h>
#include "tools/input.h"
#include "tools/output.h"

enum { PICTURE_WHY = 160 };

/** A reason in words, filled by readers and writers that fail. */
typedef struct picture_why { char text[PICTURE_WHY]; } picture_why;

typedef struct picture_format {
    const char *name;        /**< "png": the value of -f, and the extension */
    const char *description;

    /** Whether a file that begins with these bytes is of this format; NULL:
     *  the format is only written. */
    int (*probe)(const uint8_t *head, size_t size);

    /** Reads a picture; its pixels come from tsr_image_alloc(), which checks
     *  the dimensions against the context's limit first.  On failure `image`
     *  is empty, `why` is set unless the library has logged the reason. */
    tsr_error (*read)(tsr_context *ctx, input *in, tsr_image *image,
                      picture_why *why);

    /** Writes a picture.  TSR_E_ARG: the format cannot hold it, `why` is set;
     *  TSR_E_IO: output_close() says why. */
    tsr_error (*write)(output *out, const tsr_image *image, picture_why *why);
} picture_format;

extern const picture_format picture_png;
extern const picture_format picture_pnm;
extern const picture_format picture_ppm;
extern const picture_format picture_pgm;
extern const picture_format picture_pam;

/** Sets why->text as printf does and returns `error`. */
tsr_error picture_fail(picture_why *why, tsr_error error, const char *format,
                       ...) __attribute__((format(printf, 3, 4)));

/** Whether a file that begins so is a picture that can be read here, and what
 *  is to be said of one that is not. */
int picture_is(const input *in);
const char *picture_guess(const input *in);

/** Reads the picture in `in`, whatever its format.  Returns an exit status;
 *  has said what was wrong. */
int picture_read(tsr_context *ctx, input *in, tsr_image *image);

/** Whether the extension of `path` is that of a picture format. */
int picture_named(const char *path);

/** The format to write `path` in: -f `name` if not NULL, else by the path's
 *  extension, png for a pipe.  NULL: has said that there is none. */
const picture_format *picture_writer(const char *name, const char *path);

/** Writes; returns an exit status.  A failure of the device is said later, by
 *  output_close(). */
int picture_write(const picture_format *format, output *out,
                  const tsr_image *image);
#endif
