/* SPDX-License-Identifier: BSD-2-Clause */
/* A .tess stream in memory becomes pixels in memory.
 *
 *     decode_picture IN.tess OUT.ppm
 *
 * The stream names its model by a hash, so none has to be given. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tessera/tessera.h>

static void check(tsr_error error, const char *what)
{
    if (!error)
        return;
    fprintf(stderr, "%s: %s\n", what, tsr_error_string(error));
    exit(1);
}

typedef struct bytes {
    char *data;
    size_t size, at;
} bytes;

/* A source of bytes that are in memory. */
static tsr_error read_bytes(void *cookie, void *data, size_t size, size_t *got)
{
    bytes *b = cookie;
    *got = size < b->size - b->at ? size : b->size - b->at;
    memcpy(data, b->data + b->at, *got);
    b->at += *got;
    return TSR_OK;
}

static bytes read_file(const char *path)
{
    bytes b = { NULL, 0, 0 };
    FILE *f = fopen(path, "rb");
    size_t n;

    check(f ? TSR_OK : TSR_E_IO, path);
    do {
        b.data = realloc(b.data, b.size + 65536);
        check(b.data ? TSR_OK : TSR_E_NOMEM, path);
        n = fread(b.data + b.size, 1, 65536, f);
        b.size += n;
    } while (n);
    check(ferror(f) ? TSR_E_IO : TSR_OK, path);
    fclose(f);
    return b;
}

/* Three of a pixel's samples: a grey one is all three, alpha is left out. */
static void write_ppm(const tsr_image *image, const char *path)
{
    const int colours = image->channels < 3 ? 1 : 3;
    FILE *f = fopen(path, "wb");

    check(f ? TSR_OK : TSR_E_IO, path);
    check(image->bits == 8 ? TSR_OK : TSR_E_UNSUPPORTED, "more than 8 bits");
    fprintf(f, "P6\n%d %d\n255\n", image->width, image->height);
    for (int y = 0; y < image->height; y++)
        for (int x = 0; x < image->width; x++)
            for (int c = 0; c < 3; c++)
                fputc(((unsigned char *)image->data)
                      [(size_t)y * image->stride +
                       (size_t)(x * image->channels + (colours == 3 ? c : 0))], f);
    check(fclose(f) ? TSR_E_IO : TSR_OK, path);
}

int main(int argc, char **argv)
{
    tsr_context *context;
    tsr_image image;

    check(argc == 3 ? TSR_OK : TSR_E_ARG, "usage: decode_picture IN.tess OUT.ppm");
    check(tsr_context_open(&context, NULL), "context");
    bytes stream = read_file(argv[1]);
    const tsr_source source = { &stream, read_bytes };
    check(tsr_image_decode(context, NULL, NULL, &source, &image), argv[1]);
    write_ppm(&image, argv[2]);
    tsr_image_free(context, &image);
    tsr_context_close(&context);
    free(stream.data);
    return 0;
}
