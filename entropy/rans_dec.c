/* SPDX-License-Identifier: BSD-2-Clause */
/* Decoding rANS segments. */
#include <string.h>
#include "entropy/rans_impl.h"
#include "lib/crc32c.h"

void tsri_rans_skip(uint16_t *sum, int lanes, size_t n)
{
    const size_t rows = n / (size_t)lanes, rest = n % (size_t)lanes;
    uint32_t power = 1, square = TSRI_RANS_FACTOR;

    for (size_t left = rows; left; left >>= 1, square *= square)
        power *= left & 1 ? square : 1;
    for (int i = 0; i < lanes; i++) {
        sum[i] = (uint16_t)(sum[i] * power);
        if ((size_t)i < rest)
            sum[i] = tsri_rans_sum(sum[i], 0);
    }
}

/* Splits what follows the first byte into states, words and raw section. */
static tsr_error split(tsri_rans_dec *dec, const uint8_t *p, const uint8_t *end,
                       bool has_raw)
{
    uint64_t raw = 0;

    if (has_raw) {
        const size_t n = tsri_get_varint(p, (size_t)(end - p), &raw);
        p += n;
        if (!n || !raw || raw > (size_t)(end - p))
            return TSR_E_CORRUPT;
    }
    dec->raw = end - raw;
    dec->raw_end = end;
    if (dec->raw - p < 4 * dec->lanes)
        return TSR_E_CORRUPT;
    for (int i = 0; i < dec->lanes; i++, p += 4) {
        dec->state[i] = tsri_get32(p);
        if (dec->state[i] < TSRI_RANS_LOW)
            return TSR_E_CORRUPT;
    }
    dec->word = p;
    dec->word_end = dec->raw;
    return (dec->word_end - p) % 2 ? TSR_E_CORRUPT : TSR_OK;
}

tsr_error tsri_rans_dec_start(tsri_rans_dec *dec, unsigned cpu,
                              const uint8_t *data, size_t size, uint32_t crc)
{
    static const uint8_t none[1];

    *dec = (tsri_rans_dec){ .word = none, .word_end = none, .raw = none,
                            .raw_end = none, .lanes = 1,
                            .avx2 = cpu & TSR_CPU_AVX2 };
    if (size) {
        if (data[0] & ~(3 | TSRI_RANS_HAS_RAW))
            return TSR_E_CORRUPT;
        dec->lanes = tsri_rans_lanes(data[0] & 3);
        TSR_TRY(split(dec, data + 1, data + size, data[0] & TSRI_RANS_HAS_RAW));
    }
    dec->seed = TSRI_RANS_LOW | (tsri_crc32c(crc, dec->raw,
                                   (size_t)(dec->raw_end - dec->raw)) & 0xffff);
    if (!size)
        dec->state[0] = dec->seed;
    return TSR_OK;
}

tsr_error tsri_rans_dec_open(tsri_rans_dec *dec, const tsr_context *ctx,
                             const uint8_t *data, size_t size, uint32_t crc)
{
    return tsri_rans_dec_start(dec, ctx->cpu, data, size, crc);
}

static bool tables_in_range(const tsri_rans_dec *dec, const tsri_bank *bank,
                            const uint16_t *cls, int table, size_t n)
{
    const int most = cls ? tsri_rans_largest(dec->avx2, cls, n) : table;
    return most >= 0 && most < bank->tables;
}

/* One symbol: takes it off the state and tells which it is. */
static inline uint32_t take(const tsri_bank *bank, uint32_t table, uint32_t *x)
{
    const uint32_t slot = *x & ((1u << bank->bits) - 1);
    const uint64_t *range = bank->range +
        bank->lut[((size_t)table << bank->lut_bits) +
                  (slot >> (bank->bits - bank->lut_bits))];
    uint32_t r = (uint32_t)*range;

    while (slot - (r & 0xffff) >= r >> 16)
        r = (uint32_t)*++range;
    *x = (r >> 16) * (*x >> bank->bits) + slot - (r & 0xffff);
    return (uint32_t)(*range >> 32);
}

/* Symbols begin..n of a run, `width` bytes each.  Whether a state takes a word
 * is a coin toss, so that is done without a branch. */
static inline __attribute__((always_inline)) tsr_error
get_plain(tsri_rans_dec *dec, const tsri_bank *bank, const uint16_t *cls,
          int table, void *sym, size_t begin, size_t n, const int width)
{
    static const uint8_t none[2];
    const size_t mask = (size_t)dec->lanes - 1;
    const uint8_t *word = dec->word, *const end = dec->word_end;

    for (size_t i = begin; i < n; i++) {
        uint32_t x = dec->state[i & mask];
        const uint32_t s = take(bank, cls ? cls[i] : (uint32_t)table, &x);
        const uint32_t more = x << 16 | tsri_get16(word < end ? word : none);
        const int takes = x < TSRI_RANS_LOW;
        if (takes && word == end)
            return TSR_E_CORRUPT;
        dec->state[i & mask] = takes ? more : x;
        word += 2 * takes;
        dec->sum[i & mask] = tsri_rans_sum(dec->sum[i & mask], s);
        if (width == 1)
            ((uint8_t *)sym)[i] = (uint8_t)s;
        else
            ((uint16_t *)sym)[i] = (uint16_t)s;
    }
    dec->word = word;
    return TSR_OK;
}

tsr_error tsri_rans_get(tsri_rans_dec *dec, const tsri_bank *bank,
                        const uint16_t *cls, int table, uint16_t *sym,
                        size_t n)
{
    size_t done = 0;

    if (!tables_in_range(dec, bank, cls, table, n))
        return TSR_E_ARG;
    if (dec->avx2 && dec->lanes >= 8)
        done = tsri_rans_rows_avx2(dec, bank, cls, table, sym, n);
    return get_plain(dec, bank, cls, table, sym, done, n, 2);
}

/* By way of 16 bits: tables that are rare. */
static tsr_error get8_wide(tsri_rans_dec *dec, const tsri_bank *bank, int table,
                           uint8_t *sym, size_t n)
{
    uint16_t wide[1024]; /* a multiple of every number of lanes */
    const size_t most = sizeof wide / sizeof *wide;

    for (size_t i = 0; i < n; i += most) {
        const size_t part = n - i < most ? n - i : most;
        TSR_TRY(tsri_rans_get(dec, bank, NULL, table, wide, part));
        for (size_t k = 0; k < part; k++)
            sym[i + k] = (uint8_t)wide[k];
    }
    return TSR_OK;
}

/* Are symbols of tables of up to `size` searched for rather than looked up?  Of
 * up to 16 always, of up to 32 where the bank's slots are too many for a level-2
 * cache.  On a Zen 3, in 10^6 symbols a second, singly and by two, with p = 12:
 *                                    slots    16 searched    32 searched
 *   one table                 1650   2160     1770   2480    1430   2000
 *   64 in turn, 4096 of each  1490   2010     1770   2430    1440   1980
 *   64 in turn, 256 of each    800   1170     1650   2020    1330   1670 */
static bool searched(const tsri_bank *bank, int size)
{
    const size_t hot = 1 << 16; /* slots: 256 KiB */

    return size <= 16 || (size <= TSRI_SEARCH_MAX && (!bank->slot ||
           (size_t)bank->tables << bank->bits > hot));
}

/* What follows the first `done` symbols of a run, which are whole rows. */
static tsr_error get8(tsri_rans_dec *dec, const tsri_bank *bank, int table,
                      uint8_t *sym, size_t done, size_t n)
{
    const int size = tsri_bank_size(bank, table);

    if (size > 256)
        return TSR_E_ARG;
    if (size == 1) {
        memset(sym + done, 0, n - done);
        tsri_rans_skip(dec->sum, dec->lanes, n - done);
        return TSR_OK;
    }
    if (dec->avx2 && dec->lanes == 32 && searched(bank, size)) {
        done += tsri_rans_search8_avx2(dec, bank, table, sym + done, n - done);
    } else if (dec->avx2 && dec->lanes >= 8) {
        if (!tsri_bank_has_slots(bank, table))
            return get8_wide(dec, bank, table, sym + done, n - done);
        done += tsri_rans_slots8_avx2(dec, bank, table, sym + done, n - done);
    }
    return get_plain(dec, bank, NULL, table, sym, done, n, 1);
}

tsr_error tsri_rans_get8(tsri_rans_dec *dec, const tsri_bank *bank, int table,
                         uint8_t *sym, size_t n)
{
    return get8(dec, bank, table, sym, 0, n);
}

tsr_error tsri_rans_get8_pair(tsri_rans_dec *dec[2], const tsri_bank *bank,
                              const tsri_rans_run8 runs[2])
{
    const int size[2] = { tsri_bank_size(bank, runs[0].table),
                          tsri_bank_size(bank, runs[1].table) };
    size_t done = 0;
    tsr_error error[2];

    if (dec[0]->avx2 && dec[0]->lanes == 32 && dec[1]->lanes == 32) {
        if (searched(bank, tsri_max(size[0], size[1])))
            done = tsri_rans_search8_pair_avx2(dec, bank, runs);
        else if (tsri_bank_has_slots(bank, runs[0].table) &&
                 tsri_bank_has_slots(bank, runs[1].table))
            done = tsri_rans_slots8_pair_avx2(dec, bank, runs);
    }
    for (int i = 0; i < 2; i++)
        error[i] = get8(dec[i], bank, runs[i].table, runs[i].sym, done,
                        runs[i].n);
    return error[0] ? error[0] : error[1];
}

uint32_t tsri_rans_get_bits(tsri_rans_dec *dec, int nbits)
{
    uint32_t value;

    while (dec->nbits < nbits && dec->raw < dec->raw_end) {
        dec->bits |= (uint64_t)*dec->raw++ << dec->nbits;
        dec->nbits += 8;
    }
    value = (uint32_t)(dec->bits & (((uint64_t)1 << nbits) - 1));
    dec->cut |= dec->nbits < nbits;
    dec->nbits = tsri_max(dec->nbits - nbits, 0);
    dec->bits >>= nbits;
    return value;
}

tsr_error tsri_rans_dec_end(const tsri_rans_dec *dec)
{
    bool sound = dec->word == dec->word_end && dec->raw == dec->raw_end &&
                 dec->nbits < 8 && !dec->bits && !dec->cut;

    for (int i = 0; i < dec->lanes; i++)
        sound &= dec->state[i] == (dec->seed ^ dec->sum[i]);
    return sound ? TSR_OK : TSR_E_CORRUPT;
}
