/* SPDX-License-Identifier: BSD-2-Clause */
/* token_tool DIR: writes models, the units of a grid each, and its ids as text,
 * for tests/token_reader.py. */
#include "tests/token_tensors.h"
#include "codecs/image/token_units.h"

static const uint32_t CRC = 0xfedcba98;

/* Makes all tokens known, some like the one above. */
static void fill(tsri_token_grid *g, int size, uint64_t seed)
{
    check_rng rng = { seed + 1 };

    for (int i = 0; i < g->height * g->width; i++) {
        const int32_t id = (int32_t)check_below(&rng, (uint32_t)size);
        g->id[i] = i >= g->width && check_below(&rng, 2) ? g->id[i - g->width] : id;
        g->lost[i] = 0;
    }
}

static void write_units(token_case *c, const tsri_token_way *way,
                        const tsri_token_grid *g, const char *path)
{
    FILE *f = fopen(path, "wb");
    uint8_t size[4];
    size_t bytes;

    assert_non_null(f);
    for (int i = 0; i < tsri_token_units(g, way); i++) {
        const size_t room = tsri_token_unit_bound(g, way, i);
        uint8_t *data = malloc(room + !room);
        assert_non_null(data);
        assert_int_equal(tsri_token_unit_put(c->ctx, c->book, way, g, i, CRC, data,
                                             room, &bytes), TSR_OK);
        tsri_put32(size, (uint32_t)bytes);
        fwrite(size, 1, 4, f);
        fwrite(data, 1, bytes, f);
        free(data);
    }
    assert_int_equal(fclose(f), 0);
}

static void write_text(const tsri_token_way *way, const tsri_token_grid *g,
                       const char *path)
{
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    fprintf(f, "%d %d %d %lu\n", g->height, g->width, tsri_token_way_put(way),
            (unsigned long)CRC);
    for (int i = 0; i < g->height * g->width; i++)
        fprintf(f, "%d\n", (int)g->id[i]);
    assert_int_equal(fclose(f), 0);
}

static void write_case(token_case *c, const char *folder, int model, int number,
                       const tsri_token_way *way, int height, int width)
{
    const size_t n = (size_t)height * (size_t)width;
    tsri_token_grid g = { malloc(n * 4), malloc(n), height, width };
    char path[4096];

    assert_true(g.id && g.lost);
    fill(&g, tsri_token_book_size(c->book, way->level), (uint64_t)number);
    snprintf(path, sizeof path, "%s/m%d.%d.units", folder, model, number);
    write_units(c, way, &g, path);
    snprintf(path, sizeof path, "%s/m%d.%d.txt", folder, model, number);
    write_text(way, &g, path);
    free(g.id);
    free(g.lost);
}

static const token_plan plans[] = {
    { 1, 1, 1, { 0 }, false, false, false, 0, 1 },
    { 500, 2, 4, { 0, 100, 40, 7 }, true, true, true, 0, 2 },
    { 700, 1, 2, { 0, 256 }, true, true, true, 777777, 3 },
    { 65536, 1, 3, { 0, 4096, 300 }, false, true, false, 70001, 4 },
};

int main(int argc, char **argv)
{
    tsr_context *ctx = check_context("c", 1);
    char path[4096];

    if (argc != 2)
        return 99;
    for (int m = 0; m < (int)(sizeof plans / sizeof *plans); m++) {
        const token_plan *p = &plans[m];
        token_case c;
        int number = 0;
        token_case_open(&c, ctx, p);
        snprintf(path, sizeof path, "%s/m%d.safetensors", argv[1], m);
        check_tensors_write(&c.list, SIZE_MAX, NULL, path);
        for (int level = 0; level < p->levels; level++)
            for (int context = 0; context <= p->context; context++, number++)
                write_case(&c, argv[1], m, number,
                           &(tsri_token_way){ level, 1 << number % 4, context },
                           11 + number * 20 % 37, number == 2 ? 130 : 14 - number);
        token_case_close(&c);
    }
    tsr_context_close(&ctx);
    return 0;
}
