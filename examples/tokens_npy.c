/* SPDX-License-Identifier: BSD-2-Clause */
/* The tokens of a picture as an array that numpy.load() reads.
 *
 *     tokens_npy IN.tess OUT.npy
 *
 * IN.tess was written with a model of token pictures ("mosaic"); what comes out
 * are the ids that were coded, int32 [height][width]. */
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

static tsr_error read_file(void *file, void *data, size_t size, size_t *got)
{
    *got = fread(data, 1, size, file);
    return ferror((FILE *)file) ? TSR_E_IO : TSR_OK;
}

/* The format of .npy: magic, version, length, a Python literal filled up with
 * spaces to a multiple of 64, the array.  Little-endian machines. */
static void write_npy(const char *path, const tsr_tokens *tokens)
{
    char head[118] = "";
    const unsigned char front[10] = { 0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, 118, 0 };
    const size_t n = (size_t)tokens->height * (size_t)tokens->width;
    FILE *f = fopen(path, "wb");

    check(f ? TSR_OK : TSR_E_IO, path);
    const int used = snprintf(head, sizeof head, "{'descr': '<i4', "
                              "'fortran_order': False, 'shape': (%d, %d), }",
                              tokens->height, tokens->width);
    memset(head + used, ' ', sizeof head - (size_t)used - 1);
    head[sizeof head - 1] = '\n';
    fwrite(front, 1, sizeof front, f);
    fwrite(head, 1, sizeof head, f);
    fwrite(tokens->id, sizeof *tokens->id, n, f);
    check(fclose(f) ? TSR_E_IO : TSR_OK, path);
}

int main(int argc, char **argv)
{
    tsr_context *context;
    tsr_model *model;
    tsr_tokens tokens;
    int width, height;

    check(argc == 3 ? TSR_OK : TSR_E_ARG, "usage: tokens_npy IN.tess OUT.npy");
    check(tsr_context_open(&context, NULL), "context");
    check(tsr_model_open(&model, context, "mosaic"), "model");
    FILE *in = fopen(argv[1], "rb");
    check(in ? TSR_OK : TSR_E_IO, argv[1]);
    const tsr_source source = { in, read_file };
    check(tsr_tokens_read(context, model, &source, &tokens, &width, &height),
          argv[1]);
    fclose(in);
    printf("%d x %d tokens of %d for %d x %d pixels\n", tokens.width,
           tokens.height, tokens.codes, width, height);
    write_npy(argv[2], &tokens);
    tsr_tokens_free(context, &tokens);
    tsr_model_unref(&model);
    tsr_context_close(&context);
    return 0;
}
