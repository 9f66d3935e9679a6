/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdlib.h>
#include <string.h>
#include "tools/media/yuv.h"

int yuv_matrix_of(int height)
{
    return height < 720 ? YUV_BT601 : YUV_BT709;
}

/* R = y Y + rv V + offset[0] and so on, for samples as they are stored. */
typedef struct matrix {
    float y, rv, gu, gv, bu;
    float offset[3];
    float top;          /* the largest result */
} matrix;

void yuv_weights(int number, double *kr, double *kb)
{
    static const struct { int number; double kr, kb; } table[] = {
        { YUV_BT709, 0.2126, 0.0722 }, { YUV_FCC, 0.30, 0.11 },
        { YUV_SMPTE240, 0.212, 0.087 }, { YUV_BT2020, 0.2627, 0.0593 }
    };
    *kr = 0.299;
    *kb = 0.114;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (table[i].number == number) {
            *kr = table[i].kr;
            *kb = table[i].kb;
        }
    }
}

/* Black, and the steps from it to white, of luma. */
static void luma_range(const yuv_form *f, double *black, double *steps)
{
    *black = f->full ? 0 : 16 << (f->depth - 8);
    *steps = f->full ? (1 << f->depth) - 1 : 219 << (f->depth - 8);
}

static matrix make_matrix(const yuv_form *f, int bits)
{
    const double top = bits == 16 ? 65535 : 255;
    const double chroma = f->full ? (1 << f->depth) - 1
                                  : 224 << (f->depth - 8);
    const double grey = 1 << (f->depth - 1);
    double kr, kb, kg, black, steps;
    matrix m;

    yuv_weights(f->matrix, &kr, &kb);
    kg = 1 - kr - kb;
    luma_range(f, &black, &steps);
    m.y = (float)(top / steps);
    m.rv = (float)(2 * (1 - kr) * top / chroma);
    m.bu = (float)(2 * (1 - kb) * top / chroma);
    m.gu = (float)(-2 * (1 - kb) * kb / kg * top / chroma);
    m.gv = (float)(-2 * (1 - kr) * kr / kg * top / chroma);
    m.top = (float)top;
    m.offset[0] = (float)(-black * top / steps -
                          grey * 2 * (1 - kr) * top / chroma);
    m.offset[1] = (float)(-black * top / steps + grey * 2 * top / chroma *
                          ((1 - kb) * kb + (1 - kr) * kr) / kg);
    m.offset[2] = (float)(-black * top / steps -
                          grey * 2 * (1 - kb) * top / chroma);
    return m;
}

static void read_row(const yuv_plane *p, int depth, int y, int n, float *to)
{
    const uint8_t *row = p->data + (size_t)y * p->stride;
    if (depth == 8)
        for (int i = 0; i < n; i++)
            to[i] = row[i];
    else
        for (int i = 0; i < n; i++)
            to[i] = (float)(row[2 * i] | row[2 * i + 1] << 8);
}

/* Where luma sample x lies among n chroma samples: between *i and *j, *part of
 * the way. */
static void locate(int x, int sub, int between, int n, int *i, int *j,
                   float *part)
{
    const int wide = 1 << sub;
    /* Twice the distance, in luma samples, so that halves are whole. */
    const int twice = 2 * x - (between ? wide - 1 : 0);
    int low = twice < 0 ? -1 : twice / (2 * wide);

    *part = (float)(twice - 2 * wide * low) / (float)(2 * wide);
    *i = low < 0 ? 0 : low < n ? low : n - 1;
    *j = low + 1 < n ? low + 1 : n - 1;
}

/* Row y of a chroma plane, as long as a row of luma. */
static void chroma_row(const yuv_form *f, const yuv_plane *p, int y, int width,
                       int height, float *scratch, float *to)
{
    const int n = (width + (1 << f->sub_x) - 1) >> f->sub_x;
    const int rows = (height + (1 << f->sub_y) - 1) >> f->sub_y;
    float *above = f->sub_x ? scratch : to, *below = scratch + n, part;
    int i, j;

    locate(y, f->sub_y, f->between_y, rows, &i, &j, &part);
    read_row(p, f->depth, i, n, above);
    if (part > 0) {
        read_row(p, f->depth, j, n, below);
        for (int k = 0; k < n; k++)
            above[k] += part * (below[k] - above[k]);
    }
    if (!f->sub_x)
        return;
    for (int x = 0; x < width; x++) {
        locate(x, f->sub_x, f->between_x, n, &i, &j, &part);
        to[x] = above[i] + part * (above[j] - above[i]);
    }
}

static int rounded(float v, float top)
{
    return (int)((v < 0 ? 0 : v > top ? top : v) + 0.5f);
}

static void put(const tsr_image *image, void *row, size_t i, int value)
{
    if (image->bits == 16)
        ((uint16_t *)row)[i] = (uint16_t)value;
    else
        ((uint8_t *)row)[i] = (uint8_t)value;
}

static void convert_row(const matrix *m, const float *y, const float *u,
                        const float *v, const tsr_image *image, void *row)
{
    for (int x = 0; x < image->width; x++) {
        const size_t i = (size_t)x * (size_t)image->channels;
        const float luma = m->y * y[x];
        put(image, row, i, rounded(luma + m->rv * v[x] + m->offset[0], m->top));
        put(image, row, i + 1, rounded(luma + m->gu * u[x] + m->gv * v[x] +
                                       m->offset[1], m->top));
        put(image, row, i + 2, rounded(luma + m->bu * u[x] + m->offset[2],
                                       m->top));
    }
}

int yuv_to_rgb(const yuv_form *form, const yuv_plane plane[3],
               tsr_image *image)
{
    const matrix m = make_matrix(form, image->bits);
    const size_t width = (size_t)image->width;
    float *rows = malloc(5 * (width + 1) * sizeof *rows);

    if (!rows)
        return -1;
    for (int y = 0; y < image->height; y++) {
        float *scratch = rows + 3 * width;
        read_row(&plane[0], form->depth, y, image->width, rows);
        for (int c = 1; c < 3; c++)
            chroma_row(form, &plane[c], y, image->width, image->height, scratch,
                       rows + (size_t)c * width);
        convert_row(&m, rows, rows + width, rows + 2 * width, image,
                    (uint8_t *)image->data + (size_t)y * image->stride);
    }
    free(rows);
    return 0;
}

/* One plane into one channel: (sample - black) * top / steps. */
static void scale_plane(const yuv_form *f, double black, double steps,
                        const yuv_plane *p, tsr_image *image, int channel)
{
    const float top = image->bits == 16 ? 65535 : 255;
    const float scale = (float)((double)top / steps);
    const float offset = (float)(-black * (double)top / steps);

    for (int y = 0; y < image->height; y++) {
        const uint8_t *from = p->data + (size_t)y * p->stride;
        void *row = (uint8_t *)image->data + (size_t)y * image->stride;
        for (int x = 0; x < image->width; x++) {
            const int v = f->depth == 8 ? from[x]
                                        : from[2 * x] | from[2 * x + 1] << 8;
            put(image, row, (size_t)x * (size_t)image->channels +
                (size_t)channel, rounded((float)v * scale + offset, top));
        }
    }
}

void yuv_to_grey(const yuv_form *form, const yuv_plane *plane,
                 tsr_image *image)
{
    double black, steps;
    luma_range(form, &black, &steps);
    scale_plane(form, black, steps, plane, image, 0);
}

void yuv_to_channel(const yuv_form *form, const yuv_plane *plane,
                    tsr_image *image, int channel)
{
    scale_plane(form, 0, (1 << form->depth) - 1, plane, image, channel);
}
