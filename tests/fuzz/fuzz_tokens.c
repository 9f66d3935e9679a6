/* SPDX-License-Identifier: BSD-2-Clause */
/* Tokens of pictures: models that lie about their codes, units of any bytes, and
 * round trips. */
#include "tests/fuzz/fuzz_model.h"
#include "codecs/image/token_units.h"
#include "lib/crc32c.h"

enum { CODES = 48, SIDE = 20, DIM = 1 };

static uint8_t *ints(fuzz_maker *m, const char *name, int n)
{
    char shape[16];

    snprintf(shape, sizeof shape, "%d", n);
    return fuzz_tensor(m, name, "I32", 4, shape, (size_t)n);
}

static void order(fuzz_maker *m, fuzz_input *in, int codes)
{
    uint8_t *p = ints(m, "tessera.order", codes);
    const int shift = (int)fuzz_below(in, (uint32_t)codes);

    for (int i = 0; i < codes; i++)
        tsri_put32(p + 4 * i, (uint32_t)((i + shift) % codes));
    p = ints(m, "tessera.frequency", codes);
    for (int i = 0; i < codes; i++)
        tsri_put32(p + 4 * i, 1 + fuzz_u8(in));
}

/* Every other cluster of the level before goes, more or less. */
static int level(fuzz_maker *m, fuzz_input *in, int j, int32_t *start, int n)
{
    char name[64], shape[32];
    int kept = 1;

    for (int i = 1; i < n; i++)
        if (fuzz_u8(in) % 2)
            start[kept++] = start[i];
    snprintf(name, sizeof name, "tessera.level.%d.start", j);
    uint8_t *p = ints(m, name, kept);
    for (int i = 0; i < kept; i++)
        tsri_put32(p + 4 * i, (uint32_t)start[i]);
    snprintf(name, sizeof name, "tessera.level.%d.codewords", j);
    snprintf(shape, sizeof shape, "%d,%d", kept, DIM);
    p = fuzz_tensor(m, name, "F32", 4, shape, (size_t)kept);
    memset(p, 0, 4 * (size_t)kept);
    return kept;
}

static void context(fuzz_maker *m, fuzz_input *in, int classes)
{
    char shape[64];
    const size_t n = 4 * ((size_t)classes + 1) * (size_t)classes;

    snprintf(shape, sizeof shape, "%d", classes);
    uint8_t *p = fuzz_tensor(m, "tessera.context.bias", "I16", 2, shape,
                        (size_t)classes);
    for (int i = 0; i < classes; i++)
        tsri_put16(p + 2 * i, (uint16_t)fuzz_u16(in));
    snprintf(shape, sizeof shape, "4,%d,%d", classes + 1, classes);
    p = fuzz_tensor(m, "tessera.context.weight", "I8", 1, shape, n);
    for (size_t i = 0; i < n; i++)
        p[i] = (uint8_t)fuzz_at(in, i);
}

/* A book of the input's making; NULL where one of its bytes was changed so that
 * it is none. */
static tsri_token_book *make_book(fuzz_input *in)
{
    static const float words[CODES * DIM];
    const int codes = 1 + (int)fuzz_below(in, CODES);
    const int levels = 1 + (int)fuzz_below(in, 4), parts = (int)fuzz_u8(in);
    int32_t start[CODES];
    int n = codes;
    tsri_token_book *book;
    tsr_model *model;
    fuzz_maker *m = calloc(1, sizeof *m);

    FUZZ_CHECK(m);
    for (int i = 0; i < codes; i++)
        start[i] = i;
    fuzz_tensor(m, "x", "U8", 1, "1", 1);
    if (parts & 1)
        order(m, in, codes);
    for (int j = 1; j < levels; j++)
        n = level(m, in, j, start, n);
    if (parts & 2 && levels > 1 && n <= 20)
        context(m, in, n);
    if (parts & 4)
        for (int i = (int)fuzz_below(in, 4); i >= 0; i--)
            m->data[fuzz_u16(in) % m->used] = (uint8_t)fuzz_u8(in);
    FUZZ_CHECK(!fuzz_open_model(&model, m));
    const tsr_error error = tsri_token_book_open(&book, fuzz_context(true), model,
                                                 codes, DIM, words);
    tsr_model_unref(&model);
    FUZZ_CHECK(!error || (error == TSR_E_SHAPE && parts & 4));
    free(m);
    return book;
}

static void check_ids(const tsri_token_book *book, const tsri_token_grid *g,
                      const tsri_token_way *way)
{
    const int size = tsri_token_book_size(book, way->level);

    for (int i = 0; i < g->height * g->width; i++) {
        if (g->lost[i])
            continue;
        FUZZ_CHECK(g->id[i] >= 0 && g->id[i] < size);
        const int32_t top = tsri_token_book_coarser(
            book, way->level, g->id[i], tsri_token_book_levels(book) - 1);
        FUZZ_CHECK(top >= 0 && top < tsri_token_book_size(
            book, tsri_token_book_levels(book) - 1));
    }
}

/* What is read can be written, and is then the same. */
static void again(const tsri_token_book *book, const tsri_token_way *way,
                  const tsri_token_grid *g, int unit, const uint8_t *data,
                  size_t size)
{
    const size_t room = tsri_token_unit_bound(g, way, unit);
    uint8_t *out = malloc(room + !room);
    size_t bytes;

    FUZZ_CHECK(out);
    FUZZ_CHECK(!tsri_token_unit_put(fuzz_context(true), book, way, g, unit, 1, out,
                                    room, &bytes));
    FUZZ_CHECK(bytes == size && !memcmp(out, data, size));
    free(out);
}

static void read_unit(const tsri_token_book *book, const tsri_token_way *way,
                      tsri_token_grid *g, int unit, fuzz_input *in)
{
    uint8_t *copy = fuzz_copy(in);

    if (in->size >= 2)      /* a check that holds */
        tsri_put16(copy, (uint16_t)tsri_crc32c(1, copy + 2, in->size - 2));
    const tsr_error error = tsri_token_unit_get(fuzz_context(true), book, way, g,
                                                unit, 1, copy, in->size);
    FUZZ_CHECK(!error || error == TSR_E_CORRUPT);
    check_ids(book, g, way);
    if (!error)
        again(book, way, g, unit, copy, in->size);
    free(copy);
}

static void round_trip(const tsri_token_book *book, const tsri_token_way *way,
                       tsri_token_grid *g, int unit, const fuzz_input *in)
{
    const uint32_t size = (uint32_t)tsri_token_book_size(book, way->level);
    const int n = g->height * g->width;
    const size_t room = tsri_token_unit_bound(g, way, unit);
    uint8_t *out = malloc(room + !room);
    int32_t *got = malloc((size_t)n * sizeof *got);
    uint8_t lost[SIDE * SIDE];
    size_t bytes;

    FUZZ_CHECK(out && got);
    for (int i = 0; i < n; i++) {
        got[i] = g->id[i] = (int32_t)(fuzz_at(in, (size_t)i) % size);
        g->lost[i] = 0;
    }
    FUZZ_CHECK(!tsri_token_unit_put(fuzz_context(true), book, way, g, unit, 7, out,
                                    room, &bytes));
    memset(lost, 1, sizeof lost);
    tsri_token_grid back = { got, lost, g->height, g->width };
    FUZZ_CHECK(!tsri_token_unit_get(fuzz_context(true), book, way, &back, unit, 7,
                                    out, bytes));
    FUZZ_CHECK(!memcmp(got, g->id, (size_t)n * sizeof *got));
    free(out);
    free(got);
}

void fuzz_target(const uint8_t *data, size_t size)
{
    fuzz_input in = { data, size };
    int32_t id[SIDE * SIDE];
    uint8_t lost[SIDE * SIDE];
    tsri_token_way way;
    const uint8_t byte = (uint8_t)fuzz_u8(&in), both = (uint8_t)fuzz_u8(&in);
    tsri_token_grid g = { id, lost, 1 + (int)fuzz_below(&in, SIDE),
                          1 + (int)fuzz_below(&in, SIDE) };
    const uint32_t which = fuzz_u8(&in);
    tsri_token_book *book = make_book(&in);

    if (!book)
        return;
    memset(lost, 1, sizeof lost);
    if (!tsri_token_way_get(fuzz_context(true), book, byte, &way)) {
        const int unit = (int)(which % (uint32_t)tsri_token_units(&g, &way));
        FUZZ_CHECK(tsri_token_way_put(&way) == byte);
        if (both % 2)
            round_trip(book, &way, &g, unit, &in);
        else
            read_unit(book, &way, &g, unit, &in);
    }
    tsri_token_book_close(&book, fuzz_context(true));
}
