/* SPDX-License-Identifier: BSD-2-Clause */
#include "entropy/bank_impl.h"

enum {
    LUT_ENTRIES = 16384,    /* 64 KiB, but hot are few of many tables */
    SLOT_ENTRIES = 1 << 20  /* 4 MiB: from a level-3 cache, where tables are
                               used in turn, still thrice as fast as without */
};

static int ceil_log2(uint32_t v)
{
    return v <= 1 ? 0 : 32 - __builtin_clz(v - 1);
}

/* 2048 * (bits - log2(f)), rounded up, by squaring. */
static uint16_t cost(uint32_t f, int bits)
{
    const int e = 31 - __builtin_clz(f);
    uint64_t m = (uint64_t)f << (31 - e); /* 1.0 = 2^31 */
    uint32_t log = (uint32_t)e;

    for (int i = 0; i < 11; i++) {
        m = m * m >> 31;
        log = log << 1 | (uint32_t)(m >> 32);
        m >>= m >> 32;
    }
    log = ((uint32_t)bits << 11) - log;
    return (uint16_t)(f >> bits ? 0 : log ? log : 1);
}

/* Division by f > 1 of any 32-bit number: 2^shift / f rounded up is exact when
 * the rounding adds at most 2^(shift - 32) / f; else rounding down, with one
 * more in the dividend, is (Robison, "N-bit unsigned division via N-bit
 * multiply-add", ARITH 2005).  One more never overflows: states are below
 * f * 2^(32 - p), and f = 2^p needs none. */
static void set_divisor(tsri_rans_sym *s, uint32_t f)
{
    const int shift = 31 + ceil_log2(f);
    const uint64_t one = (uint64_t)1 << shift, down = one / f, rest = one % f;
    const bool up = !rest || f - rest <= one >> 32;

    s->shift = (uint8_t)(shift - 32);
    s->mul = (uint32_t)(down + (up && rest));
    s->inc = !up;
}

static uint64_t brief_record(const tsri_rans_sym *s, int bits)
{
    const uint32_t high = (uint32_t)s->cmpl << (32 - bits) |
                          (uint32_t)s->inc << TSRI_BRIEF_INC |
                          (uint32_t)s->shift << TSRI_BRIEF_SHIFT | s->bias;
    return (uint64_t)high << 32 | s->mul;
}

/* All but the number of a symbol of frequency f >= 1. */
static void set_record(tsri_rans_sym *s, uint32_t start, uint32_t f, int bits)
{
    s->last = (uint32_t)(((uint64_t)f << (32 - bits)) - 1);
    s->bias = (uint16_t)start;
    s->cmpl = (uint16_t)((1u << bits) - f);
    if (f > 1) {
        set_divisor(s, f);
    } else {
        s->mul = UINT32_MAX; /* times this, shifted by 32: less 1 */
        s->shift = s->inc = 0;
        s->bias = (uint16_t)(start + s->cmpl);
    }
}

uint64_t tsri_rans_brief(uint32_t start, uint32_t f, int bits)
{
    tsri_rans_sym s;

    set_record(&s, start, f, bits);
    return brief_record(&s, bits);
}

static void set_symbol(tsri_bank *bank, uint32_t at, int symbol, uint32_t start,
                       uint32_t f)
{
    tsri_rans_sym *s = &bank->sym[at];

    bank->range[at] = (uint64_t)symbol << 32 | f << 16 | start;
    if (!f) {
        bank->cost[at] = UINT16_MAX;
        *s = (tsri_rans_sym){ .last = UINT32_MAX, .sym = (uint16_t)symbol };
        return;
    }
    bank->cost[at] = cost(f, bank->bits);
    set_record(s, start, f, bank->bits);
    s->sym = (uint16_t)symbol;
    if (bank->brief)
        bank->brief[at] = brief_record(s, bank->bits);
}

static void set_slots(tsri_bank *bank, int table)
{
    uint32_t *slot = bank->slot + ((size_t)table << bank->bits);

    for (uint32_t i = bank->first[table]; i < bank->first[table + 1]; i++) {
        const uint32_t f = (uint32_t)bank->range[i] >> 16 & 0xffff;
        const uint32_t entry = (uint32_t)bank->sym[i].sym << 24 |
                               f << TSRI_SLOT_BITS;
        for (uint32_t k = 0; k < f; k++)
            *slot++ = entry | k;
    }
}

static void set_search(tsri_bank *bank, int table)
{
    tsri_rans_search *s = &bank->search[table];
    const uint64_t *range = bank->range + bank->first[table];
    const int size = tsri_bank_size(bank, table);
    uint16_t start[33];

    for (int i = 0; i <= 32; i++)
        start[i] = (uint16_t)((i < size ? (uint32_t)range[i] & 0xffff
                                        : 1u << bank->bits) - 1);
    s->half = start[16];
    for (int i = 0; i < 2; i++)
        s->quarter[i] = start[16 * i + 8];
    for (int i = 0; i < 8; i++) {
        s->eighths[i] = start[8 * (i % 4) + 4];
        s->sixteenths[i] = start[4 * i + 2];
    }
    for (int i = 0; i < 16; i++) {
        s->even[i] = start[2 * i];
        s->odd[i] = start[2 * i + 1];
        s->next[i] = start[2 * i + 2];
    }
}

static void set_table(tsri_bank *bank, int table, const uint16_t *freq, int size)
{
    uint32_t *lut = bank->lut + ((size_t)table << bank->lut_bits);
    const int step = bank->bits - bank->lut_bits;
    uint32_t start = 0, entry = 0;
    uint16_t most = 0;

    for (int i = 0; i < size; i++) {
        set_symbol(bank, bank->first[table] + (uint32_t)i, i, start,
                   freq[i]);
        most = freq[i] > most ? freq[i] : most;
        start += freq[i];
        for (; entry << step < start; entry++)
            lut[entry] = bank->first[table] + (uint32_t)i;
    }
    bank->least[table] = cost(most, bank->bits);
    if (size <= TSRI_SEARCH_MAX)
        set_search(bank, table);
    if (tsri_bank_has_slots(bank, table))
        set_slots(bank, table);
}

static tsr_error check(tsr_context *ctx, int bits, const uint16_t *freq,
                       const uint16_t *sizes, int tables, bool sparse,
                       size_t *symbols)
{
    *symbols = 0;
    if (bits < 1 || bits > TSRI_BANK_MAX_BITS || tables < 1 ||
        tables > TSRI_BANK_MAX_TABLES)
        return tsri_fail(ctx, TSR_E_ARG, "%d tables of %d bits", tables, bits);
    for (int t = 0; t < tables; t++) {
        uint32_t sum = 0;
        for (int i = 0; i < sizes[t]; i++) {
            const uint32_t f = freq[(*symbols)++];
            const bool sound = sparse ? f >> bits == 0 || sizes[t] == 1 : f;
            sum = sound && sum <= 1u << bits ? sum + f : UINT32_MAX;
        }
        if (sum != 1u << bits)
            return tsri_fail(ctx, TSR_E_CORRUPT, "frequency table %d is not "
                             "positive with a sum of %u", t, 1u << bits);
    }
    return TSR_OK;
}

/* Room for a look-up of every slot where that is little, and always about two
 * entries a symbol, so that few steps follow it. */
static int choose_lut_bits(int bits, int tables, size_t symbols)
{
    const size_t most = symbols > LUT_ENTRIES / 2 ? 2 * symbols : LUT_ENTRIES;
    int lut_bits = bits;

    while (lut_bits && (size_t)tables << lut_bits > most)
        lut_bits--;
    return lut_bits;
}

static tsr_error allocate(tsri_bank *bank, tsr_context *ctx, size_t symbols)
{
    const size_t tables = (size_t)bank->tables;

    bank->first = tsri_alloc(ctx, tables + 1, sizeof *bank->first);
    bank->range = tsri_calloc(ctx, symbols + 1, sizeof *bank->range);
    bank->cost = tsri_alloc(ctx, symbols + tables, sizeof *bank->cost);
    bank->least = bank->cost ? bank->cost + symbols : NULL;
    bank->sym = tsri_alloc(ctx, symbols, sizeof *bank->sym);
    bank->lut = tsri_alloc(ctx, tables << bank->lut_bits, sizeof *bank->lut);
    bank->search = tsri_alloc(ctx, tables, sizeof *bank->search);
    if (bank->bits <= TSRI_SLOT_BITS && tables << bank->bits <= SLOT_ENTRIES) {
        bank->slot = tsri_calloc(ctx, tables << bank->bits, sizeof *bank->slot);
        if (!bank->slot)
            return tsri_nomem(ctx);
    }
    if (bank->bits <= TSRI_SLOT_BITS) {
        bank->brief = tsri_calloc(ctx, symbols, sizeof *bank->brief);
        if (!bank->brief)
            return tsri_nomem(ctx);
    }
    return bank->first && bank->range && bank->cost && bank->sym && bank->lut &&
                   bank->search
               ? TSR_OK : tsri_nomem(ctx);
}

static tsr_error open_bank(tsri_bank **out, tsr_context *ctx, int bits,
                           const uint16_t *freq, const uint16_t *sizes,
                           int tables, bool sparse)
{
    tsri_bank *bank;
    size_t symbols;

    *out = NULL;
    TSR_TRY(check(ctx, bits, freq, sizes, tables, sparse, &symbols));
    bank = tsri_calloc(ctx, 1, sizeof *bank);
    if (!bank)
        return tsri_nomem(ctx);
    bank->bits = bits;
    bank->tables = tables;
    bank->lut_bits = choose_lut_bits(bits, tables, symbols);
    const tsr_error error = allocate(bank, ctx, symbols);
    if (error) {
        tsri_bank_close(&bank, ctx);
        return error;
    }
    bank->first[0] = 0;
    for (int t = 0; t < tables; t++) {
        bank->first[t + 1] = bank->first[t] + sizes[t];
        set_table(bank, t, freq + bank->first[t], sizes[t]);
    }
    *out = bank;
    return TSR_OK;
}

tsr_error tsri_bank_open(tsri_bank **out, tsr_context *ctx, int bits,
                         const uint16_t *freq, const uint16_t *sizes,
                         int tables)
{
    return open_bank(out, ctx, bits, freq, sizes, tables, false);
}

tsr_error tsri_bank_open_sparse(tsri_bank **out, tsr_context *ctx, int bits,
                                const uint16_t *freq, const uint16_t *sizes,
                                int tables)
{
    return open_bank(out, ctx, bits, freq, sizes, tables, true);
}

void tsri_bank_close(tsri_bank **out, tsr_context *ctx)
{
    tsri_bank *bank = *out;
    if (!bank)
        return;
    tsri_free(ctx, bank->first);
    tsri_free(ctx, bank->range);
    tsri_free(ctx, bank->cost);
    tsri_free(ctx, bank->brief);
    tsri_free(ctx, bank->sym);
    tsri_free(ctx, bank->slot);
    tsri_free(ctx, bank->lut);
    tsri_free(ctx, bank->search);
    tsri_free(ctx, bank);
    *out = NULL;
}

uint32_t tsri_bank_first(const tsri_bank *bank, int table)
{
    return bank->first[table];
}

int tsri_bank_cost(const tsri_bank *bank, int table, int symbol)
{
    return bank->cost[bank->first[table] + (uint32_t)symbol];
}
