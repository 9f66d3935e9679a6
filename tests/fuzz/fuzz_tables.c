/* SPDX-License-Identifier: BSD-2-Clause */
/* Tables and banks as bytes, and tables made of counts. */
#include "tests/fuzz/fuzz.h"
#include "entropy/freq.h"
#include "entropy/tables.h"

enum { SYMBOLS = 400 };

static void read_table(fuzz_input *in, int bits)
{
    uint16_t freq[SYMBOLS];
    const int room = 1 + (int)fuzz_below(in, SYMBOLS);
    uint8_t *copy = fuzz_copy(in), out[8 * SYMBOLS + 16];
    uint32_t sum = 0;
    size_t used, size;
    int n;

    if (!tsri_table_read(copy, in->size, bits, room, freq, &n, &used)) {
        FUZZ_CHECK(n >= 1 && n <= room && used <= in->size);
        for (int i = 0; i < n; i++)
            sum += freq[i];
        FUZZ_CHECK(sum == 1u << bits);
        FUZZ_CHECK(!tsri_table_write(freq, n, bits, out, &size));
        FUZZ_CHECK(size <= tsri_table_bound(n));
    }
    free(copy);
}

static void read_bank(const fuzz_input *in)
{
    uint8_t *copy = fuzz_copy(in);
    tsri_bank *bank = NULL;
    size_t used;

    if (!tsri_tables_read(&bank, fuzz_context(false), copy, in->size, &used))
        FUZZ_CHECK(bank && used <= in->size);
    tsri_bank_close(&bank, fuzz_context(false));
    free(copy);
}

static void round_trip(fuzz_input *in, int bits)
{
    uint64_t count[SYMBOLS];
    uint16_t freq[SYMBOLS], got[SYMBOLS];
    uint8_t out[8 * SYMBOLS + 16];
    const uint32_t most = 1u << bits, small = fuzz_u8(in);
    const int n = 1 + (int)fuzz_below(in, most < SYMBOLS ? most : SYMBOLS);
    size_t size, used;
    int back;

    for (int i = 0; i < n; i++)
        count[i] = (uint64_t)fuzz_at(in, (size_t)i) << fuzz_at(in, 3) % 40;
    FUZZ_CHECK(!tsri_freq_normalise(count, n, bits, freq));
    for (int i = 0; i + 1 < n && small % 4 == 0; i += 3) {     /* zeros too */
        freq[i + 1] = (uint16_t)(freq[i + 1] + freq[i]);
        freq[i] = 0;
    }
    FUZZ_CHECK(!(small % 2 ? tsri_table_write_small : tsri_table_write)(
        freq, n, bits, out, &size));
    FUZZ_CHECK(size <= tsri_table_bound(n));
    FUZZ_CHECK(!tsri_table_read(out, size, bits, n, got, &back, &used));
    FUZZ_CHECK(back == n && used == size);
    FUZZ_CHECK(!memcmp(freq, got, (size_t)n * sizeof *freq));
}

void fuzz_target(const uint8_t *data, size_t size)
{
    fuzz_input in = { data, size };
    const uint32_t what = fuzz_u8(&in) % 3;
    const int bits = 1 + (int)fuzz_below(&in, TSRI_BANK_MAX_BITS);

    if (what == 0)
        read_table(&in, bits);
    else if (what == 1)
        read_bank(&in);
    else
        round_trip(&in, bits);
}
