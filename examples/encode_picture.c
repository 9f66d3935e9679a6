/* SPDX-License-Identifier: BSD-2-Clause */
/* A picture becomes a .tess stream.
 *
 *     encode_picture IN.ppm OUT.tess [QUALITY]
 *
 * IN.ppm is a binary PPM of 8 bits (P6). */
#include <stdio.h>
#include <stdlib.h>
#include <tessera/tessera.h>

static void check(tsr_error error, const char *what)
{
    if (!error)
        return;
    fprintf(stderr, "%s: %s\n", what, tsr_error_string(error));
    exit(1);
}

/* Why a call failed, in words. */
static void log_line(void *cookie, tsr_log_level level, const char *message)
{
    (void)cookie;
    if (level <= TSR_LOG_WARNING)
        fprintf(stderr, "%s\n", message);
}

static tsr_error write_file(void *file, const void *data, size_t size)
{
    return fwrite(data, 1, size, file) == size ? TSR_OK : TSR_E_IO;
}

static void read_ppm(tsr_context *context, const char *path, tsr_image *image)
{
    FILE *f = fopen(path, "rb");
    int top = 0;

    check(f ? TSR_OK : TSR_E_IO, path);
    *image = (tsr_image){ .channels = 3, .bits = 8 };
    if (fscanf(f, "P6 %d %d %d", &image->width, &image->height, &top) != 3 ||
        top != 255 || image->width < 1 || image->height < 1 || fgetc(f) == EOF)
        check(TSR_E_FORMAT, path);
    check(tsr_image_alloc(context, image), path);
    for (int y = 0; y < image->height; y++)
        if (fread((char *)image->data + (size_t)y * image->stride, 3,
                  (size_t)image->width, f) != (size_t)image->width)
            check(TSR_E_TRUNCATED, path);
    fclose(f);
}

int main(int argc, char **argv)
{
    tsr_context_settings settings;
    tsr_image_settings how;
    tsr_context *context;
    tsr_model *model;
    tsr_image image;

    check(argc == 3 || argc == 4 ? TSR_OK : TSR_E_ARG,
          "usage: encode_picture IN.ppm OUT.tess [QUALITY]");
    tsr_context_settings_init(&settings);
    settings.threads = 0;               /* all processors */
    settings.logger.log = log_line;
    check(tsr_context_open(&context, &settings), "context");
    check(tsr_model_open(&model, context, "photo"), "model");
    read_ppm(context, argv[1], &image);

    tsr_image_settings_init(&how);
    if (argc == 4)
        how.quality = atof(argv[3]);
    FILE *out = fopen(argv[2], "wb");
    check(out ? TSR_OK : TSR_E_IO, argv[2]);
    const tsr_sink sink = { out, write_file };
    check(tsr_image_encode(context, model, &how, &image, &sink), argv[2]);
    check(fclose(out) ? TSR_E_IO : TSR_OK, argv[2]);

    tsr_image_free(context, &image);
    tsr_model_unref(&model);
    tsr_context_close(&context);
    return 0;
}
