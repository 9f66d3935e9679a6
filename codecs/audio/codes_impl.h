/* SPDX-License-Identifier: BSD-2-Clause */
/* The inside of the coding of codes: the models, each of which tells the slots
 * of one code after another.  The same function codes and decodes, so that the
 * two sides cannot come apart. */
#ifndef TSR_CODECS_AUDIO_CODES_IMPL_H
#define TSR_CODECS_AUDIO_CODES_IMPL_H
#include "codecs/audio/codes.h"
#include "entropy/range.h"

/** All models divide 2^18 slots: enough that the least slot of each of 1024
 *  codewords costs the others next to nothing, and that 65536 have one. */
enum { TSRI_CODES_BITS = 18 };

/** A range coder of either direction. */
typedef struct tsri_codes_pen {
    bool reads;
    tsri_range_enc enc;
    tsri_range_dec dec;
} tsri_codes_pen;

/** Codes: which, and what is known when code (f, k) is coded: all of frames
 *  below f, and of frame f those of books below k. */
typedef struct tsri_codes_view {
    uint16_t *codes;    /* [frames][books] */
    int books;
} tsri_codes_view;

static inline uint16_t *tsri_codes_at(const tsri_codes_view *v, int f, int k)
{
    return &v->codes[(size_t)f * (size_t)v->books + (size_t)k];
}

/** Weights w[0..n-1] with the sum C[n] become slots: symbol s begins at
 *  s + (C[s] * scale >> 32), C[s] being the sum of the weights before it.
 *  2 <= n <= 65536; sum below 2^42. */
static inline uint64_t tsri_codes_scale(uint32_t n, uint64_t sum)
{
    return ((uint64_t)((1u << TSRI_CODES_BITS) - n) << 32) / sum;
}
static inline uint32_t tsri_codes_start(uint32_t s, uint64_t before,
                                        uint64_t scale)
{
    return s + (uint32_t)(before * scale >> 32);
}

/** Where the slots of the symbols of a code begin.  Of contexts only what is asked
 *  for is made: a code needs two of a thousand, or a search for one. */
typedef struct tsri_codes_table {
    const uint32_t *start;  /* [n + 1]; NULL: by what follows */
    const int16_t *logs;    /* [n] */
    const uint32_t *weight; /* of logarithms */
    const uint64_t *before; /* [blocks]: sum of the weights before each block */
    uint64_t scale;
    int n;
} tsri_codes_table;

enum { TSRI_CODES_BLOCK = 32 };     /* symbols */

/** 0 <= s <= n. */
static inline uint32_t tsri_codes_begin(const tsri_codes_table *t, int s)
{
    uint32_t sum = 0;

    if (t->start)
        return t->start[s];
    if (s == t->n)
        return 1 << TSRI_CODES_BITS;
    for (int i = s - s % TSRI_CODES_BLOCK; i < s; i++)
        sum += t->weight[t->logs[i]];
    return tsri_codes_start((uint32_t)s, t->before[s / TSRI_CODES_BLOCK] + sum,
                            t->scale);
}

/** Codes *symbol, or decodes it. */
void tsri_codes_symbol(tsri_codes_pen *pen, const tsri_codes_table *table,
                       uint16_t *symbol);

/* ---- tables of the model ---- */

enum { TSRI_CODES_RELATIONS = 8, TSRI_CODES_BACK = 7 };

/** The inner loops. */
typedef struct tsri_logs_kernels {
    /** logs[s] = the sum of row[s] of `count` >= 1 rows, less what makes the
     *  largest 255; at least 0.  count <= TSRI_CODES_RELATIONS. */
    void (*add)(const uint8_t *const *rows, int count, int n, int16_t *logs);
    /** The sum of weight[logs[s]], s < n; before: NULL, or [tsri_codes_blocks(n)]
     *  out: of those before each block.  weight[v] is weight[v % 16] << v / 16,
     *  and 256..511 for v < 16. */
    uint64_t (*sum)(const uint32_t *weight, const int16_t *logs, int n,
                    uint64_t *before);
} tsri_logs_kernels;

const tsri_logs_kernels *tsri_logs_kernels_plain(void);
/** NULL: not in this build. */
const tsri_logs_kernels *tsri_logs_kernels_avx2(void);

typedef struct tsri_codes_tables {
    const tsri_logs_kernels *kernels;
    uint32_t *statics;      /* [books][codewords + 1] starts; NULL: none */
    uint8_t *rows;          /* [rows][codewords] logarithms; NULL: no contexts */
    uint8_t *relation;      /* [books][relations][2] how many frames before, or
                               255: no relation; the book */
    uint8_t *cls;           /* [books][relations][codewords + 1] classes of that
                               code; the last: there is no such frame */
    int32_t *base;          /* [books][relations] the row of class 0 */
    int codewords, relations;
    uint32_t weight[256];   /* of logarithms */
} tsri_codes_tables;

tsr_error tsri_codes_tables_open(tsri_codes_tables *tables, tsr_context *ctx,
                                 const tsr_model *model, int books,
                                 int codewords);
void tsri_codes_tables_close(tsri_codes_tables *tables, tsr_context *ctx);

/** The table of a book: starts. */
const uint32_t *tsri_codes_static(const tsri_codes_tables *tables, int k);
/** The tables of a model that has contexts; else NULL. */
const tsri_codes_tables *tsri_codes_contexts(const tsri_codes *codes);
/** Logarithms v of the weights of code (f, k): logs, [codewords], out. */
void tsri_codes_logs(const tsri_codes_tables *tables, const tsri_codes_view *view,
                     int f, int k, int16_t *logs);
/** Makes the table of code (f, k), which is valid as long as its memory.
 *  logs: [codewords]; before: [tsri_codes_blocks()].  Cost: codewords times
 *  2 + relations operations. */
void tsri_codes_context(const tsri_codes_tables *tables,
                        const tsri_codes_view *view, int f, int k,
                        int16_t *logs, uint64_t *before,
                        tsri_codes_table *table);
static inline size_t tsri_codes_blocks(int codewords)
{
    return ((size_t)codewords + TSRI_CODES_BLOCK - 1) / TSRI_CODES_BLOCK;
}

/* ---- what is learnt on top of a table ---- */

typedef struct tsri_codes_adapt tsri_codes_adapt;

/** words: of book 0 and of each other book.
 *  Memory: 16 bytes for each codeword of each book. */
tsr_error tsri_codes_adapt_open(tsri_codes_adapt **adapt, tsr_context *ctx,
                                int books, const int words[2]);
void tsri_codes_adapt_close(tsri_codes_adapt **adapt, tsr_context *ctx);
/** Forgets what is known of books first..first + n - 1. */
void tsri_codes_adapt_reset(tsri_codes_adapt *adapt, int first, int n);
/** Codes code (f, k), or decodes it.  table: NULL: equal slots. */
void tsri_codes_adaptive(tsri_codes_adapt *adapt, tsri_codes_pen *pen,
                         const tsri_codes_view *view, int f, int k,
                         const tsri_codes_table *table);
#endif
