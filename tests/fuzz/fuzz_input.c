/* SPDX-License-Identifier: BSD-2-Clause */
/* Files that the program reads: WAV, PNM, PNG, y4m, raw video and .npy, of any
 * bytes, whatever -s, -f and the rest say. */
#include "tests/fuzz/fuzz.h"
#include <zlib.h>
#include "tools/io/array.h"
#include "tools/media/in.h"
#include "tools/say.h"

enum { ITEMS = 50 };

/* The samples, so that sanitizers see all of them. */
static uint32_t touch(const media_in_item *item, const media_in_info *info)
{
    const tsr_image *im = &item->image;
    uint32_t sum = 0;

    if (item->audio) {
        FUZZ_CHECK(item->n >= 1);
        for (size_t i = 0; i < item->n * (size_t)info->channels; i++)
            sum += item->samples[i] > 0;
        return sum;
    }
    FUZZ_CHECK((uint64_t)im->width * (uint64_t)im->height <= FUZZ_PIXELS);
    for (int y = 0; y < im->height; y++)
        for (int x = 0; x < im->width * im->channels * im->bits / 8; x++)
            sum += ((const uint8_t *)im->data)[(size_t)y * im->stride + (size_t)x];
    return sum;
}

/* Makes the checksums of PNG's chunks right. */
static void seal(uint8_t *p, size_t size)
{
    if (size < 8 || memcmp(p, "\x89PNG\r\n\x1a\n", 8))
        return;
    for (size_t at = 8; size - at >= 12;) {
        const size_t n = (size_t)p[at] << 24 | (size_t)p[at + 1] << 16 |
            (size_t)p[at + 2] << 8 | p[at + 3];
        if (n > size - at - 12)
            return;
        const uint32_t crc = (uint32_t)crc32(0, p + at + 4, (unsigned)n + 4);
        for (int i = 0; i < 4; i++)
            p[at + 8 + n + (size_t)i] = (uint8_t)(crc >> (24 - 8 * i));
        at += 12 + n;
    }
}

static void read_media(const char *path, fuzz_input *in)
{
    static const char *const formats[] = { NULL, NULL, "rawvideo", "yuv4mpegpipe",
                                           "wav", "png", "pnm", "image2" };
    static const char *const pixels[] = { NULL, "rgb24", "yuv420p", "gray16le" };
    args a = { .max_pixels = FUZZ_PIXELS, .start = fuzz_u8(in) % 8 / 20.0,
               .of_input.format = formats[fuzz_below(in, 8)],
               .of_input.pixel_format = pixels[fuzz_below(in, 4)],
               .of_input.size = fuzz_below(in, 2) ? "5x3" : NULL };
    const media_in_want sound = { .audio = 1, .rate = 24000, .group = 1 };
    media_in_item item;
    media_in *m;
    input file;
    int end = 0;

    if (input_open(&file, path))
        return;
    int rc = media_in_open(&m, fuzz_context(false), &a, &file, NULL);
    if (!rc && fuzz_u8(in) % 4 == 1 && media_in_about(m)->audio)
        rc = media_in_sound(m, &sound);
    for (int i = 0; !rc && i < ITEMS; i++) {
        rc = media_in_next(m, &item, &end);
        if (rc || end)
            break;
        FUZZ_CHECK(touch(&item, media_in_about(m)) + 1);
    }
    media_in_close(&m);
    input_close(&file);
}

static void read_array(const char *path)
{
    float *floats = NULL;
    int32_t *codes = NULL;
    size_t n = 0;
    int dim = 0;
    array a;

    if (!array_open(&a, fuzz_context(false), path, NULL)) {
        const int no_floats = array_floats(&a, &floats, &n, &dim);
        FUZZ_CHECK(no_floats || n * (size_t)dim == a.count);
        const int no_codes = array_codes(&a, -1, &codes, &n);
        FUZZ_CHECK(no_codes || n == a.count);
    }
    (free)(floats);
    (free)(codes);
    array_close(&a);
}

void fuzz_target(const uint8_t *data, size_t size)
{
    fuzz_input in = { data, size }, rest;

    say_set_level("quiet");
    rest.size = size < 6 ? 0 : size - 6;    /* what is said comes first */
    rest.data = data + (size - rest.size);
    uint8_t *copy = fuzz_copy(&rest);
    seal(copy, rest.size);
    const char *path = fuzz_file(".npy", copy, rest.size);
    free(copy);
    if (fuzz_u8(&in) % 4 == 3)
        read_array(path);
    else
        read_media(path, &in);
    remove(path);
}
