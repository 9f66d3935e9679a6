/* SPDX-License-Identifier: BSD-2-Clause */
/* Arrays of symbols: any bytes, also with the checksum put right; and what was
 * encoded comes back, the same with vectors and without. */
#include "tests/fuzz/fuzz.h"
#include <tessera/entropy.h>
#include "entropy/symbols.h"
#include "lib/bytes.h"
#include "lib/crc32c.h"

enum { MOST = 40000 };
static uint32_t sym[MOST], got[2][MOST];

static uint32_t at(const void *array, int width, size_t i)
{
    return width == 1 ? ((const uint8_t *)array)[i] :
           width == 2 ? ((const uint16_t *)array)[i] : ((const uint32_t *)array)[i];
}

static void round_trip(fuzz_input *in)
{
    static uint8_t out[2][4 * MOST + 64];
    const int shift = (int)fuzz_below(in, 32), step = (int)fuzz_below(in, 4);
    const size_t n = fuzz_u16(in) % MOST;
    const uint32_t base = fuzz_u32(in);
    tsr_symbols_settings s;
    size_t size[2];

    tsr_symbols_settings_init(&s);
    s.fast = (int)fuzz_below(in, 2);
    for (size_t i = 0; i < n; i++)
        sym[i] = (fuzz_at(in, i) * (i & 1 ? 1 : 1 + (uint32_t)step * 77) &
                  ((2u << shift) - 1)) + (base >> 31 ? base : 0);
    for (int plain = 0; plain < 2; plain++) {
        FUZZ_CHECK(!tsr_symbols_encode(fuzz_context(plain), &s, sym, 4, n,
                                       out[plain], sizeof out[plain],
                                       &size[plain]));
        FUZZ_CHECK(!tsr_symbols_decode(fuzz_context(plain), out[0], size[0],
                                       got[plain], 4, n));
        FUZZ_CHECK(!memcmp(got[plain], sym, n * sizeof *sym));
    }
    FUZZ_CHECK(size[0] == size[1] && !memcmp(out[0], out[1], size[0]));
}

/* Packed and range-coded streams get the checksum they should have. */
static void mend(uint8_t *data, size_t size)
{
    tsri_symbols_head head;

    if (!tsri_symbols_get_head(&head, data, size) && head.bytes <= size &&
        tsri_symbols_plain(head.form))
        tsri_put32(data + head.bytes - 4,
                   tsri_crc32c(0, data, (size_t)head.bytes - 4));
}

static void any_bytes(fuzz_input *in)
{
    const bool right = fuzz_u8(in) % 2;
    tsr_symbols_info info;
    uint8_t *copy = fuzz_copy(in);
    tsr_error error[2];

    if (right)
        mend(copy, in->size);
    if (!tsr_symbols_probe(copy, in->size, &info) && info.count <= MOST) {
        for (int plain = 0; plain < 2; plain++)
            error[plain] = tsr_symbols_decode(fuzz_context(plain), copy, in->size,
                                              got[plain], info.width,
                                              (size_t)info.count);
        FUZZ_CHECK(!error[0] == !error[1]);
        for (size_t i = 0; !error[0] && i < info.count; i++)
            FUZZ_CHECK(at(got[0], info.width, i) < info.alphabet &&
                       at(got[0], info.width, i) == at(got[1], info.width, i));
    }
    free(copy);
}

void fuzz_target(const uint8_t *data, size_t size)
{
    fuzz_input in = { data, size };

    if (fuzz_u8(&in) % 2)
        round_trip(&in);
    else
        any_bytes(&in);
}
