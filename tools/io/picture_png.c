/* SPDX-License-Identifier: BSD-2-Clause */
/* PNG through libpng.  libpng reports errors by longjmp: everything that must
 * survive it lives in `job`, which is set before setjmp. */
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <png.h>
#include "tools/io/picture.h"

typedef struct job {
    png_structp png;
    png_infop info;
    input *in;
    output *out;
    tsr_image *image;
    picture_why *why;
    png_bytep *rows;
    tsr_error error;
} job;

static void on_error(png_structp png, png_const_charp message)
{
    job *j = png_get_error_ptr(png);
    if (!j->why->text[0])
        picture_fail(j->why, TSR_OK, "PNG: %s", message);
    if (!j->error)
        j->error = TSR_E_CORRUPT;
    longjmp(png_jmpbuf(png), 1);
}

/* libpng warns of odd ancillary chunks; they change no pixel. */
static void on_warning(png_structp png, png_const_charp message)
{
    (void)png;
    (void)message;
}

static void read_bytes(png_structp png, png_bytep data, size_t size)
{
    job *j = png_get_io_ptr(png);
    if (input_read(j->in, data, size) == size)
        return;
    j->error = j->in->fault ? TSR_E_IO : TSR_E_TRUNCATED;
    picture_fail(j->why, TSR_OK, "the PNG file ends too early");
    png_error(png, "short");
}

static void write_bytes(png_structp png, png_bytep data, size_t size)
{
    job *j = png_get_io_ptr(png);
    if (!output_write(j->out, data, size))
        return;
    j->error = TSR_E_IO;
    png_error(png, "write");
}

static void flush_bytes(png_structp png)
{
    (void)png;
}

static int little_endian(void)
{
    const union { uint16_t word; uint8_t byte; } u = { 1 };
    return u.byte;
}

/* Palettes, few bits and colour keys become 1..4 channels of 8 or 16 bits: says
 * of which, before libpng takes memory for rows of any length. */
static void describe(job *j)
{
    const int colour = png_get_color_type(j->png, j->info);
    const int alpha = (colour & PNG_COLOR_MASK_ALPHA) ||
                      png_get_valid(j->png, j->info, PNG_INFO_tRNS);

    j->image->width = (int)png_get_image_width(j->png, j->info);
    j->image->height = (int)png_get_image_height(j->png, j->info);
    j->image->channels = (colour & PNG_COLOR_MASK_COLOR ? 3 : 1) + alpha;
    j->image->bits = png_get_bit_depth(j->png, j->info) == 16 ? 16 : 8;
}

static void normalise(job *j)
{
    const tsr_image *image = j->image;
    png_set_expand(j->png);
    if (little_endian())
        png_set_swap(j->png);
    png_set_interlace_handling(j->png);
    png_read_update_info(j->png, j->info);
    if (png_get_rowbytes(j->png, j->info) != (size_t)image->width *
        (size_t)(image->channels * image->bits / 8))
        png_error(j->png, "rows of another length");
}

static void read_rows(job *j)
{
    const tsr_image *image = j->image;
    j->rows = calloc((size_t)image->height, sizeof *j->rows);
    if (!j->rows) {
        j->error = TSR_E_NOMEM;
        png_error(j->png, "out of memory");
    }
    for (int y = 0; y < image->height; y++)
        j->rows[y] = (png_bytep)image->data + (size_t)y * image->stride;
    png_read_image(j->png, j->rows);
    png_read_end(j->png, NULL);
}

static tsr_error read_job(job *j, tsr_context *ctx)
{
    if (setjmp(png_jmpbuf(j->png)))
        return j->error;
    png_set_read_fn(j->png, j, read_bytes);
    png_set_user_limits(j->png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
    png_read_info(j->png, j->info);
    describe(j);
    j->error = tsr_image_alloc(ctx, j->image);
    if (j->error)
        return j->error;
    normalise(j);
    read_rows(j);
    return TSR_OK;
}

static tsr_error read_png(tsr_context *ctx, input *in, tsr_image *image,
                          picture_why *why)
{
    job j = { .in = in, .image = image, .why = why };
    tsr_error error = TSR_E_NOMEM;

    j.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &j, on_error,
                                   on_warning);
    j.info = j.png ? png_create_info_struct(j.png) : NULL;
    if (j.info)
        error = read_job(&j, ctx);
    free(j.rows);
    png_destroy_read_struct(&j.png, &j.info, NULL);
    return error;
}

static tsr_error write_job(job *j, const tsr_image *image)
{
    static const int types[] = { 0, PNG_COLOR_TYPE_GRAY,
                                 PNG_COLOR_TYPE_GRAY_ALPHA, PNG_COLOR_TYPE_RGB,
                                 PNG_COLOR_TYPE_RGB_ALPHA };
    if (setjmp(png_jmpbuf(j->png)))
        return j->error;
    png_set_write_fn(j->png, j, write_bytes, flush_bytes);
    png_set_user_limits(j->png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
    png_set_IHDR(j->png, j->info, (png_uint_32)image->width,
                 (png_uint_32)image->height, image->bits,
                 types[image->channels], PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_set_sRGB(j->png, j->info, PNG_sRGB_INTENT_PERCEPTUAL);
    png_write_info(j->png, j->info);
    if (image->bits == 16 && little_endian())
        png_set_swap(j->png);
    for (int y = 0; y < image->height; y++)
        png_write_row(j->png, (png_const_bytep)image->data +
                                  (size_t)y * image->stride);
    png_write_end(j->png, NULL);
    return TSR_OK;
}

static tsr_error write_png(output *out, const tsr_image *image,
                           picture_why *why)
{
    job j = { .out = out, .why = why };
    tsr_error error = TSR_E_NOMEM;

    j.png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &j, on_error,
                                    on_warning);
    j.info = j.png ? png_create_info_struct(j.png) : NULL;
    if (j.info)
        error = write_job(&j, image);
    png_destroy_write_struct(&j.png, &j.info);
    return error;
}

static int probe(const uint8_t *head, size_t size)
{
    return size >= 8 && !png_sig_cmp(head, 0, 8);
}

const picture_format picture_png = {
    "png", "Portable Network Graphics", probe, read_png, write_png
};
