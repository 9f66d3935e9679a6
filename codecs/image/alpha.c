/* SPDX-License-Identifier: BSD-2-Clause */
/* The ALPH chunk: varint first row, varint rows, zlib stream of the rows'
 * samples (16-bit: high byte first, as in PNG), each row passed through PNG's
 * Paeth filter against the row above in the same band. */
#include <string.h>
#include <zlib.h>
#include "codecs/image/image.h"
#include "lib/bytes.h"

enum { BAND_BYTES = 1 << 22, LEVEL = 6 };

/* Bytes of one row of alpha, and how many rows a band has. */
static size_t row_bytes(const tsr_image *image)
{
    return (size_t)image->width * (size_t)image->bits / 8;
}

static int band_rows(const tsr_image *image)
{
    const size_t rows = BAND_BYTES / row_bytes(image);
    return rows < 1 ? 1 : rows > (size_t)image->height ? image->height : (int)rows;
}

/* Sample x of row y: where it is. */
static uint8_t *sample(const tsr_image *image, int y, int x)
{
    const size_t step = (size_t)image->bits / 8;
    const size_t index = ((size_t)x + 1) * (size_t)image->channels - 1;
    return (uint8_t *)image->data + (size_t)y * image->stride + index * step;
}

static void load_row(const tsr_image *image, int y, uint8_t *row)
{
    uint16_t v;
    for (int x = 0; x < image->width; x++) {
        if (image->bits == 8) {
            row[x] = *sample(image, y, x);
            continue;
        }
        memcpy(&v, sample(image, y, x), sizeof v);
        row[2 * x] = (uint8_t)(v >> 8);
        row[2 * x + 1] = (uint8_t)v;
    }
}

static void store_row(const tsr_image *image, int y, const uint8_t *row)
{
    for (int x = 0; x < image->width; x++) {
        if (image->bits == 8) {
            *sample(image, y, x) = row[x];
            continue;
        }
        const uint16_t v = (uint16_t)(row[2 * x] << 8 | row[2 * x + 1]);
        memcpy(sample(image, y, x), &v, sizeof v);
    }
}

static uint8_t paeth(int a, int b, int c)
{
    const int p = a + b - c;
    const int pa = p > a ? p - a : a - p, pb = p > b ? p - b : b - p,
              pc = p > c ? p - c : c - p;
    return (uint8_t)(pa <= pb && pa <= pc ? a : pb <= pc ? b : c);
}

/* What the filter predicts for byte i from the unfiltered bytes around it. */
static uint8_t predict(const uint8_t *row, const uint8_t *up, size_t i, size_t step)
{
    const int left = i < step ? 0 : row[i - step];
    return paeth(left, up ? up[i] : 0, up && i >= step ? up[i - step] : 0);
}

static void filter_band(const tsr_image *image, int y0, int rows, uint8_t *raw,
                        uint8_t *out)
{
    const size_t n = row_bytes(image), step = (size_t)image->bits / 8;
    for (int y = 0; y < rows; y++) {
        uint8_t *row = raw + (size_t)y * n;
        load_row(image, y0 + y, row);
        for (size_t i = 0; i < n; i++)
            out[(size_t)y * n + i] =
                (uint8_t)(row[i] - predict(row, y ? row - n : NULL, i, step));
    }
}

static tsr_error encode_band(tsr_context *ctx, const tsr_image *image, int y0,
                             int rows, uint8_t *raw, uint8_t *filtered,
                             uint8_t *packed, size_t room, size_t *size)
{
    uLongf bytes = (uLongf)(room - 2 * TSRI_VARINT_MAX);
    size_t head = tsri_put_varint(packed, (uint64_t)y0);

    head += tsri_put_varint(packed + head, (uint64_t)rows);
    filter_band(image, y0, rows, raw, filtered);
    if (compress2(packed + head, &bytes, filtered,
                  (uLong)((size_t)rows * row_bytes(image)), LEVEL) != Z_OK)
        return tsri_fail(ctx, TSR_E_NOMEM, "zlib failed on the alpha plane");
    *size = head + bytes;
    return TSR_OK;
}

tsr_error tsri_alpha_encode(tsr_context *ctx, const tsr_image *image,
                            tsri_alpha_emit emit, void *cookie)
{
    const int rows = band_rows(image);
    const size_t bytes = (size_t)rows * row_bytes(image);
    const size_t room = compressBound((uLong)bytes) + 2 * TSRI_VARINT_MAX;
    uint8_t *raw = tsri_alloc(ctx, 2, bytes);
    uint8_t *packed = tsri_alloc(ctx, room, 1);
    tsr_error error = raw && packed ? TSR_OK : tsri_nomem(ctx);

    for (int y = 0; !error && y < image->height; y += rows) {
        size_t size = 0;
        error = encode_band(ctx, image, y, tsri_min(rows, image->height - y), raw,
                            raw + bytes, packed, room, &size);
        if (!error)
            error = emit(cookie, y, packed, size);
    }
    tsri_free(ctx, raw);
    tsri_free(ctx, packed);
    return error;
}

tsr_error tsri_alpha_decode(tsr_context *ctx, const tsr_image *image,
                            const uint8_t *data, size_t size)
{
    const size_t n = row_bytes(image), step = (size_t)image->bits / 8;
    uint64_t y0, rows;
    const size_t a = tsri_get_varint(data, size, &y0);
    const size_t b = a ? tsri_get_varint(data + a, size - a, &rows) : 0;
    uint8_t *raw;
    uLongf bytes;
    uLong used = (uLong)(size - a - b);
    tsr_error error = TSR_OK;

    if (!b || y0 >= (uint64_t)image->height || rows < 1 ||
        rows > (uint64_t)image->height - y0 || rows > (uint64_t)band_rows(image))
        return TSR_E_CORRUPT;
    bytes = (uLongf)(rows * n);
    raw = tsri_alloc(ctx, bytes, 1);
    if (!raw)
        return tsri_nomem(ctx);
    if (uncompress2(raw, &bytes, data + a + b, &used) != Z_OK ||
        bytes != rows * n || used != size - a - b)
        error = TSR_E_CORRUPT;
    for (uint64_t y = 0; !error && y < rows; y++) {
        uint8_t *row = raw + y * n;
        for (size_t i = 0; i < n; i++)
            row[i] = (uint8_t)(row[i] + predict(row, y ? row - n : NULL, i, step));
        store_row(image, (int)(y0 + y), row);
    }
    tsri_free(ctx, raw);
    return error;
}

void tsri_alpha_opaque(const tsr_image *image)
{
    for (int y = 0; y < image->height; y++)
        for (int x = 0; x < image->width; x++)
            memset(sample(image, y, x), 0xff, (size_t)image->bits / 8);
}
