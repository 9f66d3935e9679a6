/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdlib.h>
#include <string.h>
#include "tools/media/planes.h"

/* A picture's row as floats of 0..1 each: red, green, blue, alpha. */
typedef struct rows { float *r, *g, *b, *a; } rows;

static float sample(const tsr_image *image, const uint8_t *row, size_t i)
{
    uint16_t wide;
    if (image->bits == 8)
        return (float)row[i] * (1.0F / 255);
    memcpy(&wide, row + 2 * i, sizeof wide);
    return (float)wide * (1.0F / 65535);
}

static void read_row(const tsr_image *image, int y, const rows *to)
{
    const uint8_t *row = (const uint8_t *)image->data +
                         (size_t)y * image->stride;
    const size_t n = (size_t)image->channels;
    const size_t colour = n > 2 ? 1 : 0;

    for (size_t x = 0; x < (size_t)image->width; x++) {
        to->r[x] = sample(image, row, n * x);
        to->g[x] = sample(image, row, n * x + colour);
        to->b[x] = sample(image, row, n * x + 2 * colour);
        to->a[x] = n % 2 ? 1 : sample(image, row, n * x + n - 1);
    }
}

static uint8_t *put(uint8_t *to, int depth, float v, float low, float high)
{
    const int i = (int)((v < low ? low : v > high ? high : v) + 0.5F);
    *to++ = (uint8_t)i;
    if (depth > 8)
        *to++ = (uint8_t)(i >> 8);
    return to;
}

/* ---- interleaved ---- */

static uint8_t *pack_pixels(const planes *p, const rows *row, uint8_t *to)
{
    const float top = p->yuv.depth > 8 ? 65535 : 255;
    const float *of[4] = { p->swapped ? row->b : row->r, row->g,
                           p->swapped ? row->r : row->b, row->a };
    for (int x = 0; x < p->width; x++)
        for (int c = 0; c < p->packed; c++)
            to = put(to, p->yuv.depth, of[c][x] * top, 0, top);
    return to;
}

/* ---- planes ---- */

typedef struct target {
    float kr, kb;       /* weights of red and blue in luma */
    float black, luma;  /* level of black, steps to white */
    float grey, chroma; /* level of no colour, steps from one end to the other */
    float top;
} target;

static target make_target(const yuv_form *f)
{
    const float scale = (float)(1 << (f->depth - 8));
    const float top = (float)((1 << f->depth) - 1);
    target t = { .top = top, .grey = 128 * scale };
    double kr, kb;

    yuv_weights(f->matrix, &kr, &kb);
    t.kr = (float)kr;
    t.kb = (float)kb;
    t.black = f->full ? 0 : 16 * scale;
    t.luma = f->full ? top : 219 * scale;
    t.chroma = f->full ? top : 224 * scale;
    return t;
}

static float luma(const target *t, float r, float g, float b)
{
    return g + t->kr * (r - g) + t->kb * (b - g);
}

static uint8_t *pack_luma(const planes *p, const target *t, const rows *row,
                          uint8_t *to)
{
    for (int x = 0; x < p->width; x++)
        to = put(to, p->yuv.depth, t->black + t->luma *
                 luma(t, row->r[x], row->g[x], row->b[x]), 0, t->top);
    return to;
}

/* Adds a row to the sums of a row of chroma. */
static void add_row(const planes *p, const rows *row, const rows *sum)
{
    for (int x = 0; x < p->width; x++) {
        const int i = x >> p->yuv.sub_x;
        sum->r[i] += row->r[x];
        sum->g[i] += row->g[x];
        sum->b[i] += row->b[x];
        sum->a[i] += 1;
    }
}

/* One row of U and one of V from the sums, which are 0 then. */
static void pack_chroma(const planes *p, const target *t, const rows *sum,
                        uint8_t **u, uint8_t **v)
{
    const int n = (p->width + (1 << p->yuv.sub_x) - 1) >> p->yuv.sub_x;
    for (int i = 0; i < n; i++) {
        const float r = sum->r[i] / sum->a[i], g = sum->g[i] / sum->a[i];
        const float b = sum->b[i] / sum->a[i], y = luma(t, r, g, b);
        *u = put(*u, p->yuv.depth, t->grey + t->chroma * (b - y) /
                 (2 - 2 * t->kb), 0, t->top);
        *v = put(*v, p->yuv.depth, t->grey + t->chroma * (r - y) /
                 (2 - 2 * t->kr), 0, t->top);
        sum->r[i] = sum->g[i] = sum->b[i] = sum->a[i] = 0;
    }
}

static void pack_planes(const planes *p, const tsr_image *image,
                        const rows *row, const rows *sum, uint8_t *to)
{
    const target t = make_target(&p->yuv);
    const size_t bytes = p->yuv.depth > 8 ? 2 : 1;
    const size_t w = (size_t)p->width, h = (size_t)p->height;
    const size_t cw = (w + (1U << p->yuv.sub_x) - 1) >> p->yuv.sub_x;
    const size_t ch = (h + (1U << p->yuv.sub_y) - 1) >> p->yuv.sub_y;
    uint8_t *u = to + w * h * bytes, *v = u + cw * ch * bytes;
    uint8_t *a = v + cw * ch * bytes;
    const int group = (1 << p->yuv.sub_y) - 1;

    for (int y = 0; y < p->height; y++) {
        read_row(image, y, row);
        to = pack_luma(p, &t, row, to);
        if (p->count < 3)
            continue;
        add_row(p, row, sum);
        if ((y & group) == group || y == p->height - 1)
            pack_chroma(p, &t, sum, &u, &v);
        for (int x = 0; p->count > 3 && x < p->width; x++)
            a = put(a, p->yuv.depth, row->a[x] * t.top, 0, t.top);
    }
}

int planes_pack(const planes *p, const tsr_image *image, uint8_t *frame)
{
    const size_t w = (size_t)image->width;
    float *block = calloc(8 * w, sizeof *block);
    const rows row = { block, block + w, block + 2 * w, block + 3 * w };
    const rows sum = { block + 4 * w, block + 5 * w, block + 6 * w,
                       block + 7 * w };

    if (!block)
        return -1;
    if (!p->packed)
        pack_planes(p, image, &row, &sum, frame);
    for (int y = 0; p->packed && y < p->height; y++) {
        read_row(image, y, &row);
        frame = pack_pixels(p, &row, frame);
    }
    free(block);
    return 0;
}
