/* SPDX-License-Identifier: BSD-2-Clause */
/* entropy_tool DIR: writes tables, arrays of symbols and matrices as
 * docs/entropy.md has them, and what is in them, for tests/entropy_check.py.
 * DIR/list has a line of words for each:
 *
 *     table PRECISION BYTES FREQUENCY...      bytes in hexadecimal
 *     shape NUMBER PRECISION REACH CENTRE FREQUENCY...
 *     symbols NAME                            NAME.bin, NAME.sym (u32 each)
 *     flip NAME BIT GOOD                      does the library still take it?
 *     edge BYTES GOOD WHAT...                 a stream by hand
 *     matrix NAME TOKENS CHANNELS GROUP TILE CHECK SIZE...
 *         NAME.bin: bank, blocks; NAME.sym: classes, offsets, values */
#include "config.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tessera/entropy.h>
#include "entropy/plan.h"
#include "entropy/rows.h"
#include "entropy/shapes.h"
#include "entropy/tables.h"

enum { MOST = 300000 };

static uint32_t state = 1;
static FILE *list;
static const char *folder;

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

static FILE *open_file(const char *name, const char *end)
{
    char path[4096];

    snprintf(path, sizeof path, "%s/%s%s", folder, name, end);
    FILE *file = fopen(path, "wb");
    need(file, path);
    return file;
}

static void write_file(const char *name, const char *end, const void *data,
                       size_t size)
{
    FILE *file = open_file(name, end);
    need(fwrite(data, 1, size, file) == size && !fclose(file), name);
}

/* ---- tables ---- */

/** The number of zeros that a coin shows before the first one. */
static uint32_t geometric(uint32_t num, uint32_t den)
{
    uint32_t k = 0;

    while (below(den) < num)
        k++;
    return k;
}

static uint32_t bell(uint32_t width)
{
    return (below(width) + below(width) + below(width) + below(width)) / 4;
}

static int fill_table(int kind, int bits, uint16_t *freq)
{
    const int total = 1 << bits;
    int n = 1 + (int)below(total < 256 ? (uint32_t)total : 256), sum = 0;

    for (int i = 0; i < n; i++)
        sum += freq[i] = kind == 1 ? 0 : 1;
    for (; sum < total; sum++) {
        const uint32_t s = kind < 2 ? geometric(7, 8) : kind == 2 ?
            bell((uint32_t)n) : kind == 3 ? below((uint32_t)n) :
            (uint32_t)(n - 1) - (uint32_t)(sum % n) * (uint32_t)(sum % 7) / 7;
        freq[s % (uint32_t)n]++;
    }
    return n;
}

static void list_table(int bits, const uint16_t *freq, int n, bool small)
{
    static uint8_t out[8 * 256 + 16];
    size_t size;

    need(!(small ? tsri_table_write_small : tsri_table_write)
         (freq, n, bits, out, &size), "table");
    fprintf(list, "table %d ", bits);
    for (size_t i = 0; i < size; i++)
        fprintf(list, "%02x", out[i]);
    for (int i = 0; i < n; i++)
        fprintf(list, " %d", freq[i]);
    fprintf(list, "\n");
}

static void write_tables(void)
{
    uint16_t freq[256];

    for (int i = 0; i < 150; i++) {
        const int bits = 1 + i % 15, n = fill_table(i / 15 % 5, bits, freq);
        list_table(bits, freq, n, i & 1);
    }
    for (int i = 0; i < 60; i++) {
        const int bits = 8 + i % 8;
        int centre, n = tsri_shape_table((int)below(TSRI_SHAPES), bits,
                                         i % 3 * 12, freq, &centre);
        const int s = centre ? centre - 1 : 0;
        if (i & 1 && n > 2 && freq[s] > 4) {
            freq[s] = (uint16_t)(freq[s] - 3);
            freq[n - 1] = (uint16_t)(freq[n - 1] + 3);
        }
        list_table(bits, freq, n, true);
    }
}

static void write_shapes(void)
{
    uint16_t freq[256];

    for (int shape = 0; shape < TSRI_SHAPES; shape += 1 + (int)below(4)) {
        const int bits = 1 + (int)below(15);
        const int most = 1 << bits > 255 ? TSRI_SHAPE_MAX_REACH :
            ((1 << bits) - 1) / 2;
        const int reach = shape % 4 ? (int)below((uint32_t)most + 1) : 0;
        int centre, n = tsri_shape_table(shape, bits, reach, freq, &centre);
        need(n, "shape");
        fprintf(list, "shape %d %d %d %d", shape, bits, reach, centre);
        for (int i = 0; i < n; i++)
            fprintf(list, " %d", freq[i]);
        fprintf(list, "\n");
    }
}

/* ---- arrays ---- */

/** A kind of data: each symbol from its place. */
typedef struct kind {
    const char *name;
    int width, fast;
    uint32_t base, alphabet;
    size_t n;
    uint32_t (*symbol)(size_t i, uint32_t alphabet);
} kind;

static uint32_t even(size_t i, uint32_t alphabet)
{
    (void)i;
    return below(alphabet);
}

static uint32_t skewed(size_t i, uint32_t alphabet)
{
    (void)i;
    return geometric(3, 4) % alphabet;
}

/** About 5 bits, elsewhere in each 2^18 symbols. */
static uint32_t moves(size_t i, uint32_t alphabet)
{
    return (bell(48) + (uint32_t)(i >> 18) * 150) % alphabet;
}

static uint32_t drifts(size_t i, uint32_t alphabet)
{
    return (bell(6) + (uint32_t)(i / 64)) % alphabet;
}

/** Small ones often, at every scale. */
static uint32_t falls(size_t i, uint32_t alphabet)
{
    uint32_t bits = 1;

    (void)i;
    while (alphabet >> bits)
        bits++;
    return below(1 + ((alphabet - 1) >> below(bits)));
}

static uint32_t shuffled(size_t i, uint32_t alphabet)
{
    return (uint32_t)((uint64_t)falls(i, alphabet) * 7919 % alphabet);
}

static uint32_t same(size_t i, uint32_t alphabet)
{
    (void)i;
    return alphabet - 1;
}

static const kind kinds[] = {
    { "none", 1, 0, 0, 1, 0, same },
    { "one", 2, 0, 700, 1, 1, same },
    { "same", 4, 0, 70000, 1, 3000, same },
    { "bytes", 1, 0, 0, 256, 1500, even },
    { "words", 4, 0, 0, 4294967295u, 600, even },
    { "odd", 1, 0, 0, 5, 1001, even },
    { "skewed", 1, 0, 0, 200, 3000, skewed },
    { "based", 2, 0, 1000, 200, 2500, skewed },
    { "far", 4, 0, 4000000000u, 30, 20000, skewed },
    { "moves", 1, 0, 0, 256, MOST, moves },
    { "moves2", 2, 1, 500, 256, MOST, moves },
    { "pairs", 1, 1, 0, 16, 40001, skewed },
    { "pairs2", 2, 1, 0, 9, 50000, skewed },
    { "pairs3", 4, 1, 7000, 3, 33333, skewed },
    { "falls", 2, 0, 0, 1000, 3000, falls },
    { "falls2", 4, 0, 0, 1 << 20, 20000, falls },
    { "falls3", 4, 1, 90000, 30000, 2000, falls },
    { "manyfalls", 2, 0, 0, 4000, 290000, falls },
    { "shuffled", 2, 0, 0, 1000, 9000, shuffled },
    { "shuffled2", 4, 0, 0, 5000, 60000, shuffled },
    { "shuffled3", 2, 0, 300, 300, 4000, shuffled },
    { "drifts", 1, 0, 0, 256, 6000, drifts },
    { "drifts2", 2, 0, 900, 16, 4000, drifts },
    { "few", 1, 0, 0, 10, 150, skewed },
    { "few2", 2, 0, 400, 100, 200, skewed },
    { "few3", 1, 0, 0, 2, 1000, skewed },
    { "digits", 4, 0, 0, 100000, 2000, even },
    { "digits2", 2, 0, 0, 300, 1777, even },
    { "digits3", 4, 1, 0, 140000, 301, even },
};

static uint32_t value[MOST];
static uint8_t narrow[4 * MOST], out[8 * MOST], damaged[8 * MOST];

static bool takes(tsr_context *ctx, const uint8_t *data, size_t size)
{
    static uint32_t got[MOST];
    tsr_symbols_info info;

    return !tsr_symbols_probe(data, size, &info) && info.count <= MOST &&
        !tsr_symbols_decode(ctx, data, size, got, 4, (size_t)info.count);
}

/** Half of the bits are of the first bytes, the head. */
static void flip(tsr_context *ctx, const char *name, size_t size)
{
    for (int i = 0; i < 16; i++) {
        const uint32_t bit = below(8 * (uint32_t)(
            i & 1 && size > 12 ? 12 : size));
        memcpy(damaged, out, size);
        damaged[bit / 8] ^= (uint8_t)(1 << bit % 8);
        fprintf(list, "flip %s %u %d\n", name, (unsigned)bit,
                takes(ctx, damaged, size));
    }
}

static void write_array(tsr_context *ctx, const kind *k)
{
    tsr_symbols_settings settings;
    size_t size;

    tsr_symbols_settings_init(&settings);
    settings.fast = k->fast;
    for (size_t i = 0; i < k->n; i++) {
        value[i] = k->base + k->symbol(i, k->alphabet);
        if (k->width == 1)
            narrow[i] = (uint8_t)value[i];
        else if (k->width == 2)
            ((uint16_t *)narrow)[i] = (uint16_t)value[i];
        else
            ((uint32_t *)narrow)[i] = value[i];
    }
    need(!tsr_symbols_encode(ctx, &settings, narrow, k->width, k->n, out,
                             sizeof out, &size), k->name);
    write_file(k->name, ".bin", out, size);
    write_file(k->name, ".sym", value, 4 * k->n);
    fprintf(list, "symbols %s\n", k->name);
    if (k->n <= 3001 && size < 3000)
        flip(ctx, k->name, size);
}

/** Streams made by hand for what the page says of limits. */
typedef struct edge {
    int good;
    const char *what, *hex;
} edge;

static const edge edges[] = {
    { 1, "form 1",
      "110a00030c30030000000007004e901300784e" },
    { 0, "form 1, more symbols than last + 1, though of frequency 0",
      "110a00030c6007200000c8f3170007004e911c00fc4f" },
    { 1, "form 1, fewer symbols than last + 1",
      "110a00090c30030000000007004e931c00ec4c" },
    { 0, "form 1, one frequency that is not 0",
      "110a00030c1000000500371b0100" },
    { 0, "form 1, a raw section",
      "110a00030c3003000000000904014e901f00af4c00" },
    { 1, "form 2",
      "120900010c283c800170ff010080e3fb1705000593c707" },
    { 0, "form 2, more than 256 pairs",
      "120900010c7813ffe007c0fd0700008eef5f00dc7f0000e0ef0d0500ba92b706" },
    { 0, "form 2, the last half of a pair is not 0",
      "120900010c283c800170ff010080e3fb170500b5935f07" },
    { 0, "form 2, a pair above the limit",
      "120900010c780fffe017c0ed27000000dcbebf0170ff010080bf35050060116905" },
    { 1, "form 5, an alphabet of 1",
      "150900000800" },
    { 1, "form 3, one bucket",
      "131000ab020c880100f2dff7f7ff0000007806050020a80100" },
    { 0, "form 3, one bucket that is coded all the same",
      "131000ab020c880100f2dff7f7ff00000078060500b0370100" },
    { 1, "form 3, one bucket with tails",
      "131000ab020c880100f67fdfdfff030000e0050804022e5d01000000" },
    { 0, "form 3, too many buckets",
      "130400ab020ca8fd000f00f73f0000c04b05004a561300" },
    { 0, "form 3, too few buckets",
      "130400ab020c40074000b8ff01000500c1571600" },
    { 1, "form 4",
      "140400ab020c10ac0240004e0ccb7209000ad002001a201750" },
    { 1, "form 0, nothing",
      "10000000fafa03a1" },
    { 0, "form 0, nothing with a base",
      "1000050051032bfc" },
    { 0, "version 2",
      "200000004c5f429f" },
    { 0, "version 0",
      "00000000c74b6748" },
    { 0, "form 8",
      "180000001c994757" },
    { 1, "form 0, the largest number",
      "1001ffffffff0f007e1ef12f" },
    { 0, "form 0, base + last too large",
      "1001ffffffff0f010012d1109c" },
    { 0, "form 6, a first code of 2^32 - 1",
      "1601000f04ffffffff33701e05" },
    { 1, "form 6, a stream of 0 bytes",
      "1601000f004bd60b60" },
    { 0, "form 6, a zero at the end",
      "1601000f010077764d99" },
};

static void list_edge(tsr_context *ctx, const edge *e)
{
    uint8_t data[64];
    unsigned byte;
    size_t size = 0;

    while (sscanf(e->hex + 2 * size, "%2x", &byte) == 1)
        data[size++] = (uint8_t)byte;
    need(takes(ctx, data, size) == e->good, e->what);
    fprintf(list, "edge %s %d %s\n", e->hex, e->good, e->what);
}

/* ---- matrices ---- */

enum { CHANNELS = 37, TOKENS = 150, TABLES = 7, BANK = 8 * 256 * TABLES + 200 };

typedef struct bank {
    int bits;
    uint16_t sizes[TABLES], freq[TABLES * 256];
    const uint16_t *of[TABLES];
} bank;

static void fill_bank(bank *b, int bits)
{
    uint16_t *at = b->freq;

    b->bits = bits;
    for (int i = 0; i < TABLES; i++) {
        b->of[i] = at;
        b->sizes[i] = (uint16_t)fill_table(i % 5 == 1 ? 0 : i % 5, bits, at);
        at += b->sizes[i];
    }
}

static uint8_t draw(const bank *b, int table)
{
    uint32_t slot = below(1u << b->bits);
    uint8_t s = 0;

    while (slot >= b->of[table][s])
        slot -= b->of[table][s++];
    return s;
}

/** Bank and blocks as write_matrix() wrote them, or nearly so. */
static bool takes_matrix(tsr_context *ctx, const uint8_t *data, size_t size,
                         const tsri_plan_shape *shape, const uint32_t *sizes,
                         int tokens, uint32_t crc)
{
    static uint8_t matrix[TOKENS * CHANNELS];
    const tsri_bytes2d to = { matrix, (size_t)tokens, shape->channels, 1 };
    tsri_bank *read = NULL;
    tsri_plan *plan = NULL;
    size_t head;

    const bool good = !tsri_tables_read(&read, ctx, data, size, &head) &&
        !tsri_plan_open(&plan, ctx, read, shape) &&
        !tsri_plan_decode(plan, ctx, data + head, size - head, sizes, crc,
                          &to);
    tsri_plan_close(&plan, ctx);
    tsri_bank_close(&read, ctx);
    return good;
}

static void write_matrix(tsr_context *ctx, const bank *b,
                         const tsri_plan_shape *shape, int tokens, int number)
{
    static uint8_t matrix[TOKENS * CHANNELS];
    static uint32_t sizes[TOKENS * CHANNELS];
    const tsri_bytes2d in = { matrix, (size_t)tokens, shape->channels, 1 };
    tsri_bank *opened;
    tsri_plan *plan;
    size_t head, size = 0;
    char name[16];

    for (int i = 0; i < tokens * shape->channels; i++) {
        const int c = i % shape->channels;
        matrix[i] = (uint8_t)(draw(b, shape->cls[c]) + shape->offset[c]);
    }
    need(!tsri_bank_open(&opened, ctx, b->bits, b->freq, b->sizes, TABLES) &&
         !tsri_plan_open(&plan, ctx, opened, shape), "plan");
    need(!tsri_tables_write(b->bits, b->freq, b->sizes, TABLES, out, &head) &&
         !tsri_plan_encode(plan, ctx, &in, (uint32_t)-number, out + head,
                           sizes, &size), "matrix");
    need(takes_matrix(ctx, out, head + size, shape, sizes, tokens,
                      (uint32_t)-number), "matrix as it was");
    snprintf(name, sizeof name, "matrix%d", number);
    fprintf(list, "matrix %s %d %d %d %d %u", name, tokens, shape->channels,
            shape->group, shape->tile, (unsigned)(uint32_t)-number);
    for (size_t i = 0; i < tsri_plan_blocks(plan, (size_t)tokens); i++)
        fprintf(list, " %u", (unsigned)sizes[i]);
    fprintf(list, "\n");
    write_file(name, ".bin", out, head + size);
    for (int i = 0; i < 12; i++) {
        const uint32_t bit = below(8 * (uint32_t)(i & 1 ? head : head + size));
        memcpy(damaged, out, head + size);
        damaged[bit / 8] ^= (uint8_t)(1 << bit % 8);
        fprintf(list, "flip %s %u %d\n", name, (unsigned)bit,
                takes_matrix(ctx, damaged, head + size, shape, sizes, tokens,
                             (uint32_t)-number));
    }
    memcpy(out, shape->cls, (size_t)shape->channels);
    memcpy(out + shape->channels, shape->offset, (size_t)shape->channels);
    memcpy(out + 2 * shape->channels, matrix,
           (size_t)(tokens * shape->channels));
    write_file(name, ".sym", out, (size_t)((tokens + 2) * shape->channels));
    tsri_plan_close(&plan, ctx);
    tsri_bank_close(&opened, ctx);
}

static void write_matrices(tsr_context *ctx)
{
    static const int lanes[] = { 0, 1, 4, 8, 32 };
    static bank b;

    for (int i = 0; i < 12; i++) {
        uint8_t cls[CHANNELS], offset[CHANNELS];
        const int channels = 1 + (int)below(CHANNELS);
        const tsri_plan_shape shape = {
            channels, 1 + (int)below((uint32_t)channels),
            1 + (int)below(i & 1 ? TOKENS : 20), cls, offset, lanes[i % 5]
        };
        for (int c = 0; c < channels; c++) {
            cls[c] = (uint8_t)below(TABLES);
            offset[c] = (uint8_t)below(256);
        }
        fill_bank(&b, 4 + i);
        write_matrix(ctx, &b, &shape, (int)below(TOKENS + 1), i);
    }
}

/* ---- rows ---- */

/* Mostly about as large as the class has it, some anything. */
static int16_t row_value(int cls)
{
    const int most = cls < 14 ? 2 : 3 << (cls - 14) / 4;
    const int v = (int)below(below(9) ? (uint32_t)tsri_min(most, 10923) : 10923);

    return (int16_t)(below(2) ? v : -v);
}

static void write_rows(tsr_context *ctx, const tsri_rows *rows, int number)
{
    static int16_t q[2 * TOKENS * CHANNELS];
    static int8_t r[TOKENS * CHANNELS];
    static uint8_t data[129 + 64 + 5 * TOKENS * CHANNELS];
    const int tokens = 1 + (int)below(20), coefs = 1 + (int)below(CHANNELS);
    const uint32_t crc = below(1u << 31);
    uint8_t cls[CHANNELS];
    char name[32];
    tsri_rows_strip *strips = tsri_alloc(ctx, 2, sizeof *strips);
    const tsri_rows_strip *sets[1] = { strips };
    const tsri_rows_matrix m = { q, (size_t)coefs, tokens, coefs, sets, NULL };
    void *scratch = tsri_alloc(ctx, 1, tsri_rows_scratch(tokens, coefs));

    need(strips && scratch, "memory");
    snprintf(name, sizeof name, "rows%d", number);
    fprintf(list, "rows %s %d %u", name, tokens, (unsigned)crc);
    for (int c = 0; c < coefs; c++) {
        cls[c] = (uint8_t)below(number % 2 ? TSRI_ROWS_CLASSES : 20);
        fprintf(list, " %d", cls[c]);
    }
    fprintf(list, "\n");
    for (int i = 0; i < tokens * coefs; i++) {
        q[i] = row_value(cls[i % coefs]);
        r[i] = (int8_t)((int)below(3) - 1);
        q[tokens * coefs + i] = (int16_t)(3 * q[i] + r[i]);
    }
    write_file(name, ".sym", q, 4 * (size_t)tokens * (size_t)coefs);
    tsri_rows_prepare(rows, cls, coefs, strips);
    write_file(name, ".bin", data, tsri_rows_encode(rows, ctx->cpu, &m, crc, data,
                                                    scratch));
    write_file(name, ".fine", data, tsri_rows_refine_encode(rows, ctx->cpu, &m, r,
               (size_t)coefs, crc + 1, data, scratch));
    tsri_free(ctx, scratch);
    tsri_free(ctx, strips);
}

static void write_all_rows(tsr_context *ctx)
{
    tsri_rows *rows;

    need(!tsri_rows_open(&rows, ctx), "rows");
    for (int i = 0; i < 24; i++)
        write_rows(ctx, rows, i);
    tsri_rows_close(&rows, ctx);
}

int main(int argc, char **argv)
{
    tsr_context *ctx;

    need(argc == 2 && !tsr_context_open(&ctx, NULL), "a folder");
    folder = argv[1];
    list = open_file("list", "");
    write_tables();
    write_shapes();
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        write_array(ctx, &kinds[i]);
    for (size_t i = 0; i < sizeof edges / sizeof *edges; i++)
        list_edge(ctx, &edges[i]);
    write_matrices(ctx);
    write_all_rows(ctx);
    need(!fclose(list), "list");
    tsr_context_close(&ctx);
    return 0;
}
