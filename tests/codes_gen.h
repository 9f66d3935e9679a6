/* SPDX-License-Identifier: BSD-2-Clause */
/* Models with tables for the codes of sound, and codes that look like some. */
#ifndef TSR_TESTS_CODES_GEN_H
#define TSR_TESTS_CODES_GEN_H
#include "tests/model_gen.h"
#include "codecs/audio/codes.h"

enum { CODES_TABLES = 7, CODES_PREVIOUS = 3, CODES_COARSER = 2 };

/** U8 tensor of values below `limit`. */
static inline uint8_t *codes_bytes(model_gen *g, const char *name, int rank,
                                   const int *dims, uint32_t limit)
{
    size_t n = 1;
    for (int i = 0; i < rank; i++)
        n *= (size_t)dims[i];
    uint8_t *p = model_tensor(g, name, "U8", 1, rank, dims);
    for (size_t i = 0; i < n; i++)
        p[i] = (uint8_t)check_below(&g->rng, limit);
    return p;
}

static inline void codes_static(model_gen *g, int books, int codewords)
{
    codes_bytes(g, "codes.static", 2, (int[]){ books, codewords }, 256);
}

static inline void codes_context(model_gen *g, int books, int codewords)
{
    const int map[3] = { books, CODES_PREVIOUS, CODES_COARSER };

    codes_bytes(g, "codes.context.tables", 2,
                (int[]){ CODES_TABLES, codewords }, 256);
    codes_bytes(g, "codes.context.previous", 2, (int[]){ books, codewords + 1 },
                CODES_PREVIOUS);
    codes_bytes(g, "codes.context.coarser", 2, (int[]){ books, codewords },
                CODES_COARSER);
    uint8_t *from = codes_bytes(g, "codes.context.from", 1, &books, 1);
    for (int k = 1; k < books; k++)
        from[k] = (uint8_t)check_below(&g->rng, (uint32_t)k);
    uint8_t *to = model_tensor(g, "codes.context.map", "U16", 2, 3, map);
    for (int i = 0; i < books * map[1] * map[2]; i++)
        tsri_put16(to + 2 * i, (uint16_t)check_below(&g->rng, CODES_TABLES));
}

/** Skewed codes that often stay as they were. */
static inline uint16_t *codes_draw(check_rng *r, int frames, int books,
                                   int codewords)
{
    uint16_t *codes = malloc((size_t)frames * (size_t)books * sizeof *codes);

    assert_non_null(codes);
    for (int i = 0; i < frames * books; i++) {
        const uint32_t most = check_below(r, (uint32_t)codewords) + 1;
        codes[i] = i >= books && check_below(r, 3) == 0
            ? codes[i - books] : (uint16_t)check_below(r, most);
    }
    return codes;
}
#endif
