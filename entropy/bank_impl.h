/* SPDX-License-Identifier: BSD-2-Clause */
/* The inside of a bank, for the coders. */
#ifndef TSR_ENTROPY_BANK_IMPL_H
#define TSR_ENTROPY_BANK_IMPL_H
#include "entropy/rans.h"

/** What the encoder needs of one symbol of frequency f.  A state x in
 *  [1, last] becomes x + bias + cmpl * ((x + inc) * mul >> (32 + shift)).  The
 *  quotient is x / f, but for f = 1, where it is x - 1 and bias makes up for
 *  it.  x + inc does not overflow. */
typedef struct tsri_rans_sym {
    uint32_t last;  /**< a larger state must give away 16 bits first */
    uint32_t mul;
    uint16_t bias;  /**< sum of the frequencies before it; f = 1: + 2^p - 1 */
    uint16_t cmpl;  /**< 2^p - f */
    uint16_t sym;   /**< its index in its table */
    uint8_t shift, inc;
} tsri_rans_sym;

/** Where a brief record of 64 bits has its parts: mul in the low half; above it
 *  bias, shift and inc from these bits of the high half, and cmpl in its
 *  highest p bits. */
enum { TSRI_BRIEF_SHIFT = 13, TSRI_BRIEF_INC = 17 };

/** The brief record of a symbol of frequency f >= 1; bits <= 12. */
uint64_t tsri_rans_brief(uint32_t start, uint32_t f, int bits);

/** tsri_rans_dec_open() for those who have but the CPU's abilities. */
tsr_error tsri_rans_dec_start(tsri_rans_dec *dec, unsigned cpu,
                              const uint8_t *data, size_t size, uint32_t crc);

/** What a table of at most 32 symbols is searched with by vectors: the starts,
 *  less 1 so that 2^15 fits, of the symbols that divide 32 places into 2, 4, 8
 *  and 16 parts, and of the even ones, the odd ones and the even ones behind
 *  those.  Behind the last symbol comes 2^p. */
typedef struct tsri_rans_search {
    _Alignas(16) uint16_t eighths[8];   /**< 4 of use */
    uint16_t sixteenths[8], even[16], odd[16], next[16];
    uint16_t half, quarter[2];
} tsri_rans_search;

/** A slot's symbol is found by looking up its highest lut_bits bits, which
 *  gives the symbol at the first slot of that stretch, and stepping on from
 *  there.  With lut_bits = bits no step is needed. */
struct tsri_bank {
    int bits, tables, lut_bits;
    uint32_t *first;    /**< tables + 1: where a table's symbols begin */
    uint64_t *range;    /**< per symbol: start | frequency << 16 | symbol << 32;
                             and one of padding */
    uint32_t *lut;      /**< tables << lut_bits places in `range` */
    uint16_t *cost;     /**< per symbol, in 1/2048 bit */
    uint16_t *least;    /**< behind cost, per table: of the cheapest symbol */
    tsri_rans_sym *sym;
    uint64_t *brief;    /**< per symbol: what `sym` has, briefly, 0 for one of
                             frequency 0.  NULL: bits > 12 */
    tsri_rans_search *search;   /**< per table; of those of at most 32 symbols */
    uint32_t *slot;     /**< tables << bits: symbol << 24 | frequency << 12 |
                             slot - start; nothing of use in tables of other
                             than 2..256 symbols.  NULL: bits > 12, too big */
};

enum { TSRI_SLOT_BITS = 12, TSRI_SEARCH_MAX = 32 };

/** Symbols of a table; more than any table has if there is no such table. */
static inline int tsri_bank_size(const tsri_bank *bank, int table)
{
    if (table < 0 || table >= bank->tables)
        return 1 << 16;
    return (int)(bank->first[table + 1] - bank->first[table]);
}

/** Is there a slot for each state of this table? */
static inline bool tsri_bank_has_slots(const tsri_bank *bank, int table)
{
    const int size = tsri_bank_size(bank, table);
    return bank->slot && size >= 2 && size <= 256;
}

/** Each lane adds up its symbols, (sum + symbol) * factor modulo 2^16, so that a
 *  changed symbol shows at the end even where it leaves the state unchanged
 *  (tables of equal frequencies).  The factor is near 2^16 times the golden
 *  ratio, so that small differences become large, and has the greatest order,
 *  2^14. */
enum { TSRI_RANS_FACTOR = 0x9E35 };
static inline uint16_t tsri_rans_sum(uint16_t sum, uint32_t symbol)
{
    return (uint16_t)((sum + symbol) * (uint32_t)TSRI_RANS_FACTOR);
}

/** Decodes whole rows while enough words are left for certain; returns the
 *  number of symbols done, a multiple of the lanes.  Needs 8 or 32 lanes and
 *  tables checked by the caller.  0 where there is no such code. */
size_t tsri_rans_rows_avx2(tsri_rans_dec *dec, const tsri_bank *bank,
                           const uint16_t *cls, int table, uint16_t *sym,
                           size_t n);

/** The same for one table that has slots. */
size_t tsri_rans_slots_avx2(tsri_rans_dec *dec, const tsri_bank *bank,
                            int table, uint16_t *sym, size_t n);
size_t tsri_rans_slots8_avx2(tsri_rans_dec *dec, const tsri_bank *bank,
                             int table, uint8_t *sym, size_t n);

/** The same for two segments of 32 lanes at once: returns the number of symbols
 *  done of each. */
size_t tsri_rans_slots8_pair_avx2(tsri_rans_dec *dec[2], const tsri_bank *bank,
                                  const tsri_rans_run8 runs[2]);

/** The same for bytes of 32 lanes and tables of at most 32 symbols, of any
 *  precision. */
size_t tsri_rans_search8_avx2(tsri_rans_dec *dec, const tsri_bank *bank,
                              int table, uint8_t *sym, size_t n);
size_t tsri_rans_search8_pair_avx2(tsri_rans_dec *dec[2], const tsri_bank *bank,
                                   const tsri_rans_run8 runs[2]);

/** The largest of n numbers (0 of none). */
int tsri_rans_most_avx2(const uint16_t *cls, size_t n);
int tsri_rans_most8_avx2(const uint8_t *sym, size_t n);

/** place[i] = first + sym[i]; is every sym[i] < size? */
bool tsri_rans_places_avx2(const uint16_t *sym, size_t n, uint32_t first,
                           uint32_t size, uint32_t *place);

/** What gives words away: byte shuffles that move those of eight words whose
 *  bits are set in the table's index to the end of a vector, in order.  What
 *  comes before them does not matter. */
extern const uint16_t tsri_rans_packs[256][8];

/** Adds n symbols, a multiple of 8 or 32 lanes, to the sums of their lanes.
 *  first: the place of their table's symbol 0, -1 where there are several. */
void tsri_rans_sums_avx2(const tsri_rans_sym *records, int64_t first,
                         const uint32_t *place, size_t n, int lanes,
                         uint16_t *sum);

/** Codes n symbols, a multiple of 8 or 32 lanes, last first, with the words
 *  going down from `end`, which is returned as it is then.  There must be room
 *  for a word a symbol. */
uint8_t *tsri_rans_encode_avx2(const tsri_rans_sym *records,
                               const uint32_t *place, size_t n, int lanes,
                               uint32_t *state, uint8_t *end);

/** The same of bytes of one table with brief records. */
void tsri_rans_sums8_avx2(const uint8_t *sym, size_t n, int lanes,
                          uint16_t *sum);
uint8_t *tsri_rans_encode8_avx2(const tsri_bank *bank, int table,
                                const uint8_t *sym, size_t n, int lanes,
                                uint32_t *state, uint8_t *end);

#endif
