/* SPDX-License-Identifier: BSD-2-Clause */
/* The netpbm family: P2, P3 (text), P5, P6 (bytes), P7 (PAM, with alpha).
 * Samples of more than 8 bits are two bytes, high byte first.  The formats
 * are described in netpbm's pgm(5), ppm(5) and pam(5). */
#include <stdlib.h>
#include <string.h>
#include "tools/io/picture.h"

typedef struct header {
    int64_t width, height, depth, maxval;
    int text;  /**< samples are decimal numbers */
} header;

/* The next byte, or -1 at the end. */
static int next(input *in)
{
    uint8_t byte;
    return input_read(in, &byte, 1) ? byte : -1;
}

static int is_space(int c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static void skip_comment(input *in)
{
    int c = next(in);
    while (c >= 0 && c != '\n')
        c = next(in);
}

/* The first character after white space and comments, or -1. */
static int skip_space(input *in)
{
    int c = next(in);
    while (is_space(c) || c == '#') {
        if (c == '#')
            skip_comment(in);
        c = next(in);
    }
    return c;
}

/* A decimal number and the one character after it; -1 if there is none. */
static int64_t number(input *in)
{
    int64_t value = 0;
    int c = skip_space(in);
    if (c < '0' || c > '9')
        return -1;
    while (c >= '0' && c <= '9') {
        if (value > INT32_MAX)
            return -1;
        value = 10 * value + (c - '0');
        c = next(in);
    }
    if (c == '#')
        skip_comment(in);
    return c < 0 || is_space(c) || c == '#' ? value : -1;
}

/* One line without its end, cut to size-1 characters; 0 at the end. */
static int line(input *in, char *text, size_t size)
{
    size_t n = 0;
    int c = next(in);
    if (c < 0)
        return 0;
    for (; c >= 0 && c != '\n'; c = next(in))
        if (n + 1 < size)
            text[n++] = (char)c;
    text[n] = 0;
    return 1;
}

static void read_pam_header(input *in, header *h)
{
    char text[256];
    while (line(in, text, sizeof text) && strncmp(text, "ENDHDR", 6)) {
        static const char *const keys[] = { "WIDTH ", "HEIGHT ", "DEPTH ",
                                            "MAXVAL " };
        int64_t *const values[] = { &h->width, &h->height, &h->depth,
                                    &h->maxval };
        for (int i = 0; i < 4; i++)
            if (!strncmp(text, keys[i], strlen(keys[i])))
                *values[i] = strtoll(text + strlen(keys[i]), NULL, 10);
    }
}

static void read_header(input *in, header *h)
{
    next(in);
    const int kind = next(in);
    *h = (header){ .text = kind == '2' || kind == '3',
                   .depth = kind == '3' || kind == '6' ? 3 : 1 };
    if (kind == '7') {
        next(in);
        h->depth = 0;
        read_pam_header(in, h);
        return;
    }
    h->width = number(in);
    h->height = number(in);
    h->maxval = number(in);
}

static tsr_error check_header(const header *h, picture_why *why)
{
    if (h->width < 1 || h->width > INT32_MAX || h->height < 1 ||
        h->height > INT32_MAX)
        return picture_fail(why, TSR_E_CORRUPT, "PNM: no valid size in the"
                            " header");
    if (h->depth < 1 || h->depth > 4)
        return picture_fail(why, TSR_E_CORRUPT, "PAM: DEPTH must be 1 to 4");
    if (h->maxval < 1 || h->maxval > 65535)
        return picture_fail(why, TSR_E_CORRUPT,
                            "PNM: the largest sample must be 1 to 65535");
    return TSR_OK;
}

static int put_sample(tsr_image *image, void *row, size_t i, int64_t value,
                      int64_t maxval)
{
    const int64_t full = image->bits == 16 ? 65535 : 255;
    if (value < 0 || value > maxval)
        return -1;
    value = (value * full + maxval / 2) / maxval;
    if (image->bits == 16)
        ((uint16_t *)row)[i] = (uint16_t)value;
    else
        ((uint8_t *)row)[i] = (uint8_t)value;
    return 0;
}

static int read_text_row(input *in, tsr_image *image, void *row, int64_t maxval)
{
    const size_t n = (size_t)image->width * (size_t)image->channels;
    for (size_t i = 0; i < n; i++)
        if (put_sample(image, row, i, number(in), maxval))
            return -1;
    return 0;
}

static int read_byte_row(input *in, tsr_image *image, void *row, int64_t maxval)
{
    const size_t n = (size_t)image->width * (size_t)image->channels;
    const uint8_t *bytes = row;
    if (input_read(in, row, n * (size_t)image->bits / 8) !=
        n * (size_t)image->bits / 8)
        return -1;
    if (maxval == 255)
        return 0;
    for (size_t i = 0; i < n; i++) {
        const int64_t value = image->bits == 8
            ? bytes[i] : (int64_t)bytes[2 * i] << 8 | bytes[2 * i + 1];
        if (put_sample(image, row, i, value, maxval))
            return -1;
    }
    return 0;
}

static tsr_error read_pnm(tsr_context *ctx, input *in, tsr_image *image,
                          picture_why *why)
{
    header h;
    tsr_error error;

    read_header(in, &h);
    error = check_header(&h, why);
    if (error)
        return error;
    image->width = (int)h.width;
    image->height = (int)h.height;
    image->channels = (int)h.depth;
    image->bits = h.maxval > 255 ? 16 : 8;
    error = tsr_image_alloc(ctx, image);
    for (int y = 0; !error && y < image->height; y++) {
        void *row = (uint8_t *)image->data + (size_t)y * image->stride;
        if (h.text ? read_text_row(in, image, row, h.maxval)
                   : read_byte_row(in, image, row, h.maxval))
            error = picture_fail(why, TSR_E_TRUNCATED, "PNM: row %d of %d ends"
                                 " too early or is damaged", y + 1,
                                 image->height);
    }
    return error;
}

/* Grey written as colour: three equal samples. */
static void pack_row(const tsr_image *image, int y, int channels, uint8_t *to)
{
    const uint8_t *row = (const uint8_t *)image->data +
                         (size_t)y * image->stride;
    for (int x = 0; x < image->width; x++) {
        for (int c = 0; c < channels; c++) {
            const size_t i = (size_t)x * (size_t)image->channels +
                             (size_t)(c < image->channels ? c : 0);
            if (image->bits == 16) {
                const uint16_t v = ((const uint16_t *)(const void *)row)[i];
                *to++ = (uint8_t)(v >> 8);
                *to++ = (uint8_t)v;
            } else {
                *to++ = row[i];
            }
        }
    }
}

static tsr_error write_rows(output *out, const tsr_image *image, int channels,
                            const char *head)
{
    const size_t n = (size_t)image->width * (size_t)channels *
                     (size_t)image->bits / 8;
    uint8_t *row = malloc(n);
    int bad;

    if (!row)
        return TSR_E_NOMEM;
    bad = output_write(out, head, strlen(head));
    for (int y = 0; !bad && y < image->height; y++) {
        pack_row(image, y, channels, row);
        bad = output_write(out, row, n);
    }
    free(row);
    return bad ? TSR_E_IO : TSR_OK;
}

static tsr_error write_plain(output *out, const tsr_image *image, int channels)
{
    char head[80];
    snprintf(head, sizeof head, "P%d\n%d %d\n%d\n", channels == 1 ? 5 : 6,
             image->width, image->height, image->bits == 16 ? 65535 : 255);
    return write_rows(out, image, channels, head);
}

static tsr_error write_pam(output *out, const tsr_image *image,
                           picture_why *why)
{
    static const char *const types[] = { "", "GRAYSCALE", "GRAYSCALE_ALPHA",
                                         "RGB", "RGB_ALPHA" };
    char head[160];
    (void)why;
    snprintf(head, sizeof head, "P7\nWIDTH %d\nHEIGHT %d\nDEPTH %d\nMAXVAL %d\n"
             "TUPLTYPE %s\nENDHDR\n", image->width, image->height,
             image->channels, image->bits == 16 ? 65535 : 255,
             types[image->channels]);
    return write_rows(out, image, image->channels, head);
}

static tsr_error write_ppm(output *out, const tsr_image *image,
                           picture_why *why)
{
    if (image->channels == 2 || image->channels == 4)
        return picture_fail(why, TSR_E_ARG,
                            "PPM holds no alpha; use png or pam");
    return write_plain(out, image, 3);
}

static tsr_error write_pgm(output *out, const tsr_image *image,
                           picture_why *why)
{
    if (image->channels != 1)
        return picture_fail(why, TSR_E_ARG,
                            "PGM holds grey only; use png, ppm or pam");
    return write_plain(out, image, 1);
}

static tsr_error write_pnm(output *out, const tsr_image *image,
                           picture_why *why)
{
    if (image->channels == 2 || image->channels == 4)
        return write_pam(out, image, why);
    return write_plain(out, image, image->channels);
}

static int probe(const uint8_t *head, size_t size)
{
    return size >= 3 && head[0] == 'P' && strchr("23567", head[1]) &&
           head[1] && (is_space(head[2]) || head[2] == '#');
}

const picture_format picture_pnm = {
    "pnm", "netpbm, the fitting one of PGM, PPM, PAM", probe, read_pnm,
    write_pnm
};
const picture_format picture_ppm = {
    "ppm", "netpbm colour", NULL, NULL, write_ppm
};
const picture_format picture_pgm = {
    "pgm", "netpbm grey", NULL, NULL, write_pgm
};
const picture_format picture_pam = {
    "pam", "netpbm with alpha", NULL, NULL, write_pam
};
