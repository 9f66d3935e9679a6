/* SPDX-License-Identifier: BSD-2-Clause */
/* The inside of the coder of arrays, <tessera/entropy.h>: its head and the
 * loops over the caller's integers.  docs/entropy.md is the format. */
#ifndef TSR_ENTROPY_SYMBOLS_H
#define TSR_ENTROPY_SYMBOLS_H
#include <tessera/entropy.h>
#include "entropy/adaptive.h"
#include "entropy/bigtable.h"
#include "entropy/packing.h"

enum {
    TSRI_SYMBOLS_PACKED = 0,    /**< a fixed number of bits each */
    TSRI_SYMBOLS_TABLE = 1,     /**< up to 256 symbols, a frequency table */
    TSRI_SYMBOLS_PAIRS = 2,     /**< up to 16 symbols, a table of pairs */
    TSRI_SYMBOLS_BUCKETS = 3,   /**< up to 2^20, in order of frequency */
    TSRI_SYMBOLS_RANKED = 4,    /**< up to 2^20, in any order */
    TSRI_SYMBOLS_ROWS = 5,      /**< up to 256, models that learn, row by row */
    TSRI_SYMBOLS_RANGE = 6,     /**< the same, symbol by symbol */
    TSRI_SYMBOLS_DIGITS = 7,    /**< up to 2^20, several a number */
    TSRI_SYMBOLS_FORMS = 8,
    TSRI_SYMBOLS_RANGE_MAX = 1024,  /**< symbols, since it is slow */
    TSRI_SYMBOLS_BITS = 12,     /**< most precision of tables */
    TSRI_SYMBOLS_LOG_MIN = 12,  /**< chunks are of 2^12 symbols */
    TSRI_SYMBOLS_LOG_MAX = 20,  /**< to 2^20 */
    TSRI_SYMBOLS_PIECE = 1 << 14,  /**< symbols at a time where they are
                                        converted; stays in level 1 */
    TSRI_SYMBOLS_TABLE_MAX = 16 + 8 * 256,
    TSRI_SYMBOLS_HEAD_MAX = 64 + TSRI_SYMBOLS_TABLE_MAX
};

/** Frequencies of symbols 0..size - 1, some maybe 0; two are not. */
typedef struct tsri_symbols_table {
    uint16_t size, freq[256];
} tsri_symbols_table;

typedef struct tsri_symbols_head {
    int form;
    uint64_t n;
    uint32_t base, last;    /**< symbols are base..base + last */
    /* All but PACKED: */
    int bits;               /**< precision of the tables; ROWS: memory */
    int log_chunk;          /**< a chunk has 2^this symbols, the last the rest */
    bool own;               /**< every chunk brings its own table */
    tsri_symbols_table table;   /**< !own: the one of all; BUCKETS: of those */
    const uint8_t *classes;     /**< RANKED: a stream of last + 1 bytes */
    size_t classes_size;
    size_t chunks;
    uint32_t crc;           /**< of all before the index */
    /* Reader only: */
    const uint8_t *index, *data;    /**< sizes of chunks; the first chunk */
    size_t start;           /**< bytes before the first chunk */
    uint64_t bytes;         /**< of the stream */
} tsri_symbols_head;

/** What n symbols take at `log` a chunk. */
static inline uint64_t tsri_symbols_chunks(uint64_t n, int log)
{
    return (n >> log) + (n & (((uint64_t)1 << log) - 1) ? 1 : 0);
}

/** Forms without chunks, which have a CRC at their end. */
static inline bool tsri_symbols_plain(int form)
{
    return form == TSRI_SYMBOLS_PACKED || form == TSRI_SYMBOLS_RANGE ||
           form == TSRI_SYMBOLS_DIGITS;
}

static inline bool tsri_symbols_large(int form)
{
    return form == TSRI_SYMBOLS_BUCKETS || form == TSRI_SYMBOLS_RANKED;
}

/** Symbols that are a whole number of bytes and of numbers in DIGITS, to be
 *  coded alone; the last ones are fewer. */
static inline size_t tsri_symbols_digits_unit(const tsri_packing *packing)
{
    return (size_t)packing->digits << 16;
}

/** Bits of a symbol 0..last where all have equally many. */
static inline int tsri_symbols_width(uint32_t last)
{
    return last ? 32 - __builtin_clz(last) : 0;
}

/** Writes what stands before the index (plain forms: before the symbols;
 *  RANKED: but for the classes, which follow), at most TSRI_SYMBOLS_HEAD_MAX bytes, and
 *  sets `chunks` and `crc`; returns the bytes. */
size_t tsri_symbols_put_head(tsri_symbols_head *head, uint8_t *to);

/** Reads a head and an index; returns as tsr_symbols_probe(). */
tsr_error tsri_symbols_get_head(tsri_symbols_head *head, const uint8_t *data,
                                size_t size);

/** Tables in the stream, at most TSRI_SYMBOLS_TABLE_MAX bytes: the bytes, 0:
 *  not sound or cut. */
size_t tsri_symbols_put_table(const tsri_symbols_table *table, int bits,
                              uint8_t *to);
size_t tsri_symbols_get_table(tsri_symbols_table *table, int bits,
                              const uint8_t *data, size_t size);

/** Are all symbols of the table below last + 1, or pairs of such? */
bool tsri_symbols_fits(const tsri_symbols_head *head,
                       const tsri_symbols_table *table);

/** A bank of 1 or 2 sound tables. */
tsr_error tsri_symbols_bank(tsri_bank **bank, tsr_context *ctx, int bits,
                            const tsri_symbols_table *tables, int n);

/* ---- what a table is chosen by ---- */

/** Counts of byte symbols, all or a sample. */
typedef struct tsri_symbols_count {
    uint64_t of[256];   /**< of those looked at */
    uint64_t n;         /**< how many that were */
    uint8_t seen[256];  /**< 1: may occur */
} tsri_symbols_count;

/** Counts n byte symbols anew.  Of 2^16 or more it looks at one in 2^log, and
 *  whatever lies between the least and the largest may occur; log = 0: at all.
 *  (A sample of N of A symbols costs about (A - 1) / (1.4 N) bits a symbol.) */
void tsri_symbols_tally(const tsr_context *ctx, tsri_symbols_count *count,
                        const uint8_t *sym, size_t n, int log);

/** Limits of those bytes that it does, as many as it returns: 0 where there is
 *  no AVX2, else all but the last n % 64. */
size_t tsri_limits8_avx2(const uint8_t *sym, size_t n, uint8_t *least,
                         uint8_t *most);

/** Adds counts. */
void tsri_symbols_merge(tsri_symbols_count *to, const tsri_symbols_count *from);

/** 2^16 log2(v), v >= 1, below its true value by 5 at most. */
uint64_t tsri_log2(uint64_t v);

/** Bytes of n symbols with such counts, less the table. */
uint64_t tsri_symbols_cost(const tsri_symbols_count *count, uint64_t n);

/** The precision of a table for n symbols. */
int tsri_symbols_bits(const tsri_symbols_count *count, uint64_t n);

/** Makes a table; at least two symbols may occur. */
void tsri_symbols_choose(const tsri_symbols_count *count, int bits,
                         tsri_symbols_table *table);

/* ---- models that learn ---- */

/** n symbols below 16 or 256, none above `last`, by the range coder: TSR_OK;
 *  TSR_E_ARG no room.  The reverse: TSR_OK; TSR_E_CORRUPT, with good luck. */
tsr_error tsri_symbols_put_range(const uint8_t *sym, size_t n, uint32_t last,
                                 uint8_t *out, size_t room, size_t *size);
tsr_error tsri_symbols_get_range(const uint8_t *data, size_t size, size_t n,
                                 uint32_t last, uint8_t *sym);

/** Would models that learn save 1/16 or more of `cost` bytes?  n integers, less
 *  base below 256; looks at a few thousand. */
bool tsri_symbols_drift(const tsr_context *ctx, const void *data, int width,
                        size_t n, uint32_t base, uint64_t cost);

/* ---- alphabets of 257..2^20 symbols ---- */

/** The class of a symbol that occurs so often. */
uint8_t tsri_symbols_class(uint32_t count);

/** A table from the classes of n symbols, which may come from outside: TSR_OK;
 *  TSR_E_CORRUPT; TSR_E_NOMEM. */
tsr_error tsri_symbols_ranked(tsri_bigtable **table, tsr_context *ctx,
                              const uint8_t *classes, size_t n);

/** What the counts of buckets say: the bytes of those symbols, and whether a
 *  later one is more frequent than an earlier. */
uint64_t tsri_symbols_bucket_cost(const tsri_symbols_count *count,
                                  size_t alphabet);
bool tsri_symbols_unsorted(const tsri_symbols_count *count, size_t alphabet);

/** Bytes of n < 2^32 symbols of these counts. */
uint64_t tsri_symbols_token_cost(const uint32_t *count, size_t alphabet,
                                 uint64_t n);

/* ---- arrays of integers of `width` bytes ---- */

/** The least and the largest of n numbers; UINT32_MAX and 0 of none. */
void tsri_ints_range(const void *data, int width, size_t n, uint32_t *least,
                     uint32_t *most);

/** Numbers first..first + n - 1, less base, as bytes, and the reverse. */
void tsri_ints_narrow(const void *data, int width, size_t first, size_t n,
                      uint32_t base, uint8_t *to);
void tsri_ints_widen(const uint8_t *from, size_t n, uint32_t base, void *data,
                     int width, size_t first);

/** n symbols below 16 as (n + 1) / 2 bytes, the earlier one low; a missing
 *  last one is 0.  The reverse writes n symbols. */
void tsri_nibbles_join(const tsr_context *ctx, const uint8_t *sym, size_t n,
                       uint8_t *pairs);
void tsri_nibbles_split(const tsr_context *ctx, const uint8_t *pairs, size_t n,
                        uint8_t *sym);

/** A multiple of 64 of them, which is returned; 0 where there is no AVX2. */
size_t tsri_nibbles_join_avx2(const uint8_t *sym, size_t n, uint8_t *pairs);
size_t tsri_nibbles_split_avx2(const uint8_t *pairs, size_t n, uint8_t *sym);

/** n numbers, less base, of `bits` bits each, low first; returns the bytes. */
size_t tsri_ints_pack(const void *data, int width, size_t first, size_t n,
                      uint32_t base, int bits, uint8_t *to);

/** The reverse; are all at most `last`, and the unused bits 0? */
bool tsri_ints_unpack(const uint8_t *from, size_t n, uint32_t base,
                      uint32_t last, void *data, int width, size_t first);

#endif
