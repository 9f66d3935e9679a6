/* SPDX-License-Identifier: BSD-2-Clause */
#include <string.h>
#include "tools/media/planes.h"

typedef struct form { const char *name; int packed, swapped, count, depth, sub; }
    form;

/* sub: of x, and 4 times that of y. */
static const form forms[] = {
    { "rgb24", 3, 0, 1, 8, 0 }, { "bgr24", 3, 1, 1, 8, 0 },
    { "rgba", 4, 0, 1, 8, 0 }, { "bgra", 4, 1, 1, 8, 0 },
    { "rgb48le", 3, 0, 1, 16, 0 }, { "rgba64le", 4, 0, 1, 16, 0 },
    { "gray", 0, 0, 1, 8, 0 }, { "gray8", 0, 0, 1, 8, 0 },
    { "gray10le", 0, 0, 1, 10, 0 }, { "gray12le", 0, 0, 1, 12, 0 },
    { "gray16le", 0, 0, 1, 16, 0 },
    { "yuv420p", 0, 0, 3, 8, 5 }, { "yuv422p", 0, 0, 3, 8, 1 },
    { "yuv444p", 0, 0, 3, 8, 0 }, { "yuv411p", 0, 0, 3, 8, 2 },
    { "yuva444p", 0, 0, 4, 8, 0 }, { "yuva420p", 0, 0, 4, 8, 5 },
    { "yuv420p10le", 0, 0, 3, 10, 5 }, { "yuv422p10le", 0, 0, 3, 10, 1 },
    { "yuv444p10le", 0, 0, 3, 10, 0 }, { "yuv420p12le", 0, 0, 3, 12, 5 },
    { "yuv422p12le", 0, 0, 3, 12, 1 }, { "yuv444p12le", 0, 0, 3, 12, 0 },
    { "yuv420p16le", 0, 0, 3, 16, 5 }, { "yuv422p16le", 0, 0, 3, 16, 1 },
    { "yuv444p16le", 0, 0, 3, 16, 0 }
};

int planes_named(planes *p, const char *name)
{
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        const form *f = &forms[i];
        if (strcmp(f->name, name))
            continue;
        p->packed = f->packed;
        p->swapped = f->swapped;
        p->count = f->count;
        p->yuv.depth = f->depth;
        p->yuv.sub_x = f->sub & 3;
        p->yuv.sub_y = f->sub >> 2;
        return 1;
    }
    return 0;
}

static size_t sample_bytes(const planes *p)
{
    return p->yuv.depth > 8 ? 2 : 1;
}

/* Of plane i: samples in a row, and rows. */
static void plane_size(const planes *p, int i, size_t *width, size_t *height)
{
    const int x = i == 1 || i == 2 ? p->yuv.sub_x : 0;
    const int y = i == 1 || i == 2 ? p->yuv.sub_y : 0;
    *width = ((size_t)p->width + (1U << x) - 1) >> x;
    *height = ((size_t)p->height + (1U << y) - 1) >> y;
}

size_t planes_bytes(const planes *p)
{
    size_t sum = 0;
    if (p->width < 1 || p->height < 1 ||
        (int64_t)p->width * p->height > INT32_MAX)
        return 0;
    if (p->packed)
        return (size_t)p->width * (size_t)p->height * (size_t)p->packed *
               sample_bytes(p);
    for (int i = 0; i < p->count; i++) {
        size_t w, h;
        plane_size(p, i, &w, &h);
        sum += w * h * sample_bytes(p);
    }
    return sum;
}

void planes_shape(const planes *p, tsr_image *image)
{
    image->width = p->width;
    image->height = p->height;
    image->channels = p->packed ? p->packed : p->count;
    image->bits = p->yuv.depth > 8 ? 16 : 8;
}

static void unpack_pixels(const planes *p, const uint8_t *frame,
                          tsr_image *image)
{
    const size_t bytes = sample_bytes(p), n = (size_t)p->packed;
    for (int y = 0; y < p->height; y++) {
        uint8_t *row = (uint8_t *)image->data + (size_t)y * image->stride;
        for (size_t i = 0; i < (size_t)p->width * n; i++) {
            const size_t c = i % n;
            const size_t from = p->swapped && c < 3 ? i - c + (2 - c) : i;
            if (bytes == 1) {
                row[i] = frame[from];
            } else {
                const uint16_t v = (uint16_t)(frame[2 * from] |
                                              frame[2 * from + 1] << 8);
                memcpy(row + 2 * i, &v, sizeof v);
            }
        }
        frame += (size_t)p->width * n * bytes;
    }
}

int planes_unpack(const planes *p, const uint8_t *frame, tsr_image *image)
{
    yuv_plane plane[4] = { { NULL, 0 } };

    if (p->packed) {
        unpack_pixels(p, frame, image);
        return 0;
    }
    for (int i = 0; i < p->count; i++) {
        size_t w, h;
        plane_size(p, i, &w, &h);
        plane[i] = (yuv_plane){ frame, w * sample_bytes(p) };
        frame += w * h * sample_bytes(p);
    }
    if (p->count == 1) {
        yuv_to_grey(&p->yuv, plane, image);
        return 0;
    }
    if (p->count == 4)
        yuv_to_channel(&p->yuv, &plane[3], image, 3);
    return yuv_to_rgb(&p->yuv, plane, image);
}
