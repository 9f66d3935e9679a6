/* SPDX-License-Identifier: BSD-2-Clause */
/* Packed tokens: vector and plain code must agree about any bytes, and bytes
 * that are taken are the only ones for their tokens. */
#include "tests/fuzz/fuzz.h"
#include "entropy/packing.h"

enum { N = 700 };

static void narrow_too(const tsri_packing *p, const uint8_t *data, size_t size,
                       const uint32_t *token, size_t n, tsr_error error)
{
    uint16_t narrow[N];

    if (p->alphabet > 65536)
        return;
    for (int plain = 0; plain < 2; plain++) {
        FUZZ_CHECK(tsri_unpack16(p, fuzz_context(plain), data, size, narrow, n)
                   == error);
        for (size_t i = 0; i < n && !error; i++)
            FUZZ_CHECK(narrow[i] == token[i]);
    }
}

static void any_bytes(const tsri_packing *p, const uint8_t *data, size_t size,
                      size_t n)
{
    uint32_t plain[N], vector[N];
    const tsr_error error = tsri_unpack32(p, fuzz_context(true), data, size,
                                          plain, n);

    FUZZ_CHECK(tsri_unpack32(p, fuzz_context(false), data, size, vector, n) ==
               error);
    for (size_t i = 0; i < n && !error; i++)
        FUZZ_CHECK(plain[i] == vector[i] && plain[i] < p->alphabet);
    narrow_too(p, data, size, plain, n, error);
    for (int slow = 0; slow < 2 && !error; slow++) {
        uint8_t *again = malloc(size + !size);
        FUZZ_CHECK(!tsri_pack32(p, fuzz_context(slow), plain, n, again));
        FUZZ_CHECK(!memcmp(again, data, size));
        free(again);
    }
}

void fuzz_target(const uint8_t *data, size_t size)
{
    fuzz_input in = { data, size };
    const uint32_t flags = fuzz_u8(&in);
    const uint32_t alphabet = 1 + fuzz_below(&in, flags & 2 ? 1 << 20 : 1024);
    size_t n = fuzz_u16(&in) % N, right = 0;
    tsri_packing p;

    FUZZ_CHECK(!(flags & 1 ? tsri_packing_radix(&p, alphabet)
                           : tsri_packing_fixed(&p, alphabet)));
    if (flags & 4) { /* a size that is right */
        while (tsri_packing_size(&p, n, &right) && right > in.size)
            n--;
        in.size = right;
    }
    uint8_t *copy = fuzz_copy(&in);
    any_bytes(&p, copy, in.size, n);
    free(copy);
}
