/* SPDX-License-Identifier: BSD-2-Clause */
/* An array that is being encoded: what choosing its form (symbols_look.c) and
 * coding it (symbols_enc.c) share. */
#ifndef TSR_ENTROPY_SYMBOLS_JOB_H
#define TSR_ENTROPY_SYMBOLS_JOB_H
#include "entropy/symbols.h"

enum {
    TSRI_SYMBOLS_LOG_UNIT = 18, /**< symbols looked at by one call */
    TSRI_SYMBOLS_CRC = 4        /**< bytes of a check value */
};

/** What a thread has for itself. */
typedef struct tsri_symbols_worker {
    uint8_t *bytes;             /**< a chunk's symbols as the coder takes them */
    uint32_t *tokens;           /**< counts of large alphabets */
    tsri_symbols_count one, sum;
    uint64_t own;               /**< what its units cost with their own tables */
    uint32_t least, most;
} tsri_symbols_worker;

/** What one of the chunks that are coded at the same time becomes. */
typedef struct tsri_symbols_slot {
    tsri_rans_enc *enc;
    tsri_adapt_enc *adapt;
    const uint8_t *data;
    size_t size, table_size, at;
    uint8_t table[TSRI_SYMBOLS_TABLE_MAX];
} tsri_symbols_slot;

/** An array on its way. */
typedef struct tsri_symbols_job {
    tsr_context *ctx, quiet;    /**< the same without a log, for workers */
    const void *sym;
    int width, threads, nslots;
    size_t n, first;            /**< first: the wave's first chunk */
    uint32_t least, most;       /**< of the symbols */
    uint8_t *out;
    tsri_symbols_head head;
    tsri_bank *bank;
    tsri_bigtable *large;
    uint8_t *classes;           /**< of its symbols, as a stream */
    uint64_t cost;              /**< estimated bytes of a chunk */
    tsri_symbols_worker *workers;
    tsri_symbols_slot *slots;
} tsri_symbols_job;

/** Symbols of part i of n, each part but the last 2^log. */
static inline size_t tsri_symbols_part(size_t n, size_t i, int log)
{
    const size_t left = n - (i << log);
    return left < (size_t)1 << log ? left : (size_t)1 << log;
}

/** Symbols of unit i, as they are looked at and packed. */
static inline size_t tsri_symbols_unit(const tsri_symbols_job *job, int i)
{
    return tsri_symbols_part(job->n, (size_t)i, TSRI_SYMBOLS_LOG_UNIT);
}

/** Bytes of the symbols where all take equally many bits. */
uint64_t tsri_symbols_fixed_bytes(const tsri_symbols_job *job);

/** The same, or as digits of numbers where that saves 1/256. */
uint64_t tsri_symbols_packed_bytes(const tsri_symbols_job *job);

/** What tables begin with: bytes are coded as they are, and so are symbols that
 *  may be in order of their frequency. */
void tsri_symbols_set_range(tsri_symbols_job *job, uint32_t least, uint32_t most);

/** The symbols of a stretch as bytes; pairs of them where the form says so.
 *  *n becomes the number of bytes. */
const uint8_t *tsri_symbols_as_bytes(const tsri_symbols_job *job,
                                     tsri_symbols_worker *worker, size_t first,
                                     size_t *n);

/** Calls body for the numbers of a stretch, less base, as 16 or 32 bits each. */
tsr_error tsri_symbols_each_piece(const tsri_symbols_job *job, size_t first,
                                  size_t n,
                                  tsr_error (*body)(const tsri_symbols_job *,
                                                    void *, const void *, size_t),
                                  void *cookie);

/** Looks at all symbols and chooses their form; PACKED where tables save less than
 *  1/256.  fast: only forms that are coded fast. */
tsr_error tsri_symbols_look(tsri_symbols_job *job, bool fast);
#endif
