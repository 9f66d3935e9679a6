/* SPDX-License-Identifier: BSD-2-Clause */
/* adaptive_tool DIR: writes segments and streams, and what is in them as text,
 * for tests/adaptive_reader.py. */
#include "config.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "entropy/adaptive.h"
#include "entropy/range.h"

static uint32_t state = 1;

static uint32_t below(uint32_t n)
{
    state = state * 1664525 + 1013904223;
    return (uint32_t)((uint64_t)state * n >> 32);
}

static void need(bool good, const char *what)
{
    if (good)
        return;
    fprintf(stderr, "%s\n", what);
    exit(99);
}

static FILE *open_file(const char *folder, const char *name, int i,
                       const char *end)
{
    char path[4096];

    snprintf(path, sizeof path, "%s/%s%d.%s", folder, name, i, end);
    FILE *file = fopen(path, "wb");
    need(file, path);
    return file;
}

static void write_file(const char *folder, const char *name, int i,
                       const uint8_t *data, size_t size)
{
    FILE *file = open_file(folder, name, i, "bin");
    need(fwrite(data, 1, size, file) == size && !fclose(file), name);
}

static void write_run(tsri_adapt_enc *enc, const tsri_adapt_shape *shape,
                      int set, size_t n, FILE *text)
{
    static uint16_t context[3000];
    static uint8_t sym[3000];

    fprintf(text, "run %d", set);
    for (size_t i = 0; i < n; i++) {
        context[i] = (uint16_t)below((uint32_t)shape->contexts);
        const uint32_t wide = 1 + below((uint32_t)shape->symbols);
        sym[i] = (uint8_t)((below(wide) + context[i]) % (uint32_t)shape->symbols);
        fprintf(text, " %d:%d", context[i], sym[i]);
    }
    fprintf(text, "\n");
    need(!tsri_adapt_put(enc, set, context, sym, n), "put");
}

static void write_segment(tsr_context *ctx, const char *folder, int number)
{
    static const int alphabets[] = { 1, 2, 16, 17, 40, 256 };
    static const int lanes[] = { 1, 4, 8, 32, 0 };
    tsri_adapt_shape shape[2];
    tsri_adapt_enc *enc;
    const uint8_t *data;
    size_t size;
    FILE *text = open_file(folder, "segment", number, "txt");

    for (int i = 0; i < 2; i++) {
        shape[i] = (tsri_adapt_shape){ alphabets[(number + 3 * i) % 6],
                                       1 + 4 * i, 7 + number % 5 };
        fprintf(text, "set %d %d\n", shape[i].symbols, shape[i].memory);
    }
    need(!tsri_adapt_enc_open(&enc, ctx, shape, 2), "encoder");
    for (int k = 0; k < 4; k++) {
        const uint32_t bits = below(1 << 13);
        write_run(enc, &shape[k % 2], k % 2, below(k == 1 ? 3000 : 700), text);
        need(!tsri_adapt_put_bits(enc, bits, 13), "bits");
        fprintf(text, "bits 13 %u\n", (unsigned)bits);
    }
    need(!tsri_adapt_finish(enc, 7, lanes[number % 5], &data, &size), "finish");
    write_file(folder, "segment", number, data, size);
    need(!fclose(text), "text");
    tsri_adapt_enc_close(&enc);
}

static void write_stream(const char *folder, int number)
{
    static tsri_range_bit bit[2], tree[2][32];
    static tsri_range_nibble nibble[2];
    static tsri_range_byte byte[2];
    static tsri_range_gamma gamma[2];
    static uint8_t out[10000];
    FILE *text = open_file(folder, "range", number, "txt");
    tsri_range_enc enc;
    size_t size;

    memset(bit, 0, sizeof bit);
    memset(tree, 0, sizeof tree);
    memset(nibble, 0, sizeof nibble);
    memset(byte, 0, sizeof byte);
    memset(gamma, 0, sizeof gamma);
    tsri_range_enc_open(&enc, out, sizeof out);
    for (int i = 0; i < number * number * 10; i++) {
        static const char *const kinds[] = { "bit", "tree", "nibble", "byte",
                                             "number", "direct" };
        const uint32_t kind = below(6), m = below(2), k = kind == 1 ? 5 : below(33);
        uint32_t value = 0;
        switch (kind) {
        case 0: tsri_range_put_bit(&enc, &bit[m], (int)(value = !below(2 + 9 * m))); break;
        case 1: tsri_range_put_tree(&enc, tree[m], 5, value = below(32)); break;
        case 2: tsri_range_put_nibble(&enc, &nibble[m], (int)(value = below(2 + 14 * m))); break;
        case 3: tsri_range_put_byte(&enc, &byte[m], (int)(value = below(200))); break;
        case 4: tsri_range_put_gamma(&enc, &gamma[m], value = below(UINT32_MAX >> below(32))); break;
        default: tsri_range_put_direct(&enc, value = k ? below(UINT32_MAX) >> (32 - k) : 0, (int)k);
        }
        fprintf(text, "%s %u %u %u\n", kinds[kind], (unsigned)m, (unsigned)k,
                (unsigned)value);
    }
    need(!tsri_range_finish(&enc, &size), "range");
    write_file(folder, "range", number, out, size);
    need(!fclose(text), "text");
}

int main(int argc, char **argv)
{
    tsr_context *ctx;

    need(argc == 2 && !tsr_context_open(&ctx, NULL), "a folder");
    for (int i = 0; i < 20; i++)
        write_segment(ctx, argv[1], i);
    for (int i = 0; i < 8; i++)
        write_stream(argv[1], i);
    tsr_context_close(&ctx);
    return 0;
}
