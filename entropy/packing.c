/* SPDX-License-Identifier: BSD-2-Clause */
#include "entropy/packing.h"
#include "entropy/rans_bits.h"

static int bit_length(uint64_t v)
{
    return v ? 64 - __builtin_clzll(v) : 0;
}

/* Bits of a number of `digits` tokens; above TSRI_PACKING_WORD: more than a
 * number may have. */
static int number_bits(uint32_t alphabet, int digits)
{
    uint64_t most = 0; /* the largest number */

    for (int i = 0; i < digits; i++)
        if (__builtin_mul_overflow(most, alphabet, &most) ||
            __builtin_add_overflow(most, alphabet - 1, &most))
            return 64;
    return bit_length(most);
}

/* 2^(64 + shift) / A, rounded up, with 2^shift < A < 2^(shift + 1): what
 * rounding adds, less than A / 2^(64 + shift) < 2^-63, times x < 2^56 is less
 * than 1 / A, so that the quotient is exact. */
static void set_divisor(tsri_packing *p)
{
    uint64_t rest;

    p->shift = bit_length(p->alphabet) - 1;
    p->mul = 0;
    rest = (uint64_t)1 << p->shift;
    for (int i = 0; i < 64; i++) {
        const bool one = 2 * rest >= p->alphabet;
        p->mul = p->mul << 1 | one;
        rest = 2 * rest - (one ? p->alphabet : 0);
    }
    p->mul++;
}

static tsr_error set(tsri_packing *p, size_t alphabet, int digits)
{
    if (alphabet < 1 || alphabet > TSRI_PACKING_MAX)
        return TSR_E_ARG;
    *p = (tsri_packing){ .alphabet = (uint32_t)alphabet, .digits = digits,
                         .bits = number_bits((uint32_t)alphabet, digits) };
    if (digits > 1)
        set_divisor(p);
    return TSR_OK;
}

tsr_error tsri_packing_fixed(tsri_packing *packing, size_t alphabet)
{
    return set(packing, alphabet, 1);
}

tsr_error tsri_packing_radix(tsri_packing *packing, size_t alphabet)
{
    int best = 1;

    if (alphabet < 2 || alphabet > TSRI_PACKING_MAX)
        return set(packing, alphabet, 1);
    for (int d = 2; number_bits((uint32_t)alphabet, d) <= TSRI_PACKING_WORD; d++)
        if (number_bits((uint32_t)alphabet, d) * best <
            number_bits((uint32_t)alphabet, best) * d)
            best = d;
    return set(packing, alphabet, best);
}

bool tsri_packing_size(const tsri_packing *packing, size_t n, size_t *size)
{
    const size_t whole = n / (size_t)packing->digits;
    const int rest = (int)(n % (size_t)packing->digits);
    size_t bits;

    if (!tsri_mul(whole, (size_t)packing->bits, &bits) ||
        !tsri_add(bits, (size_t)number_bits(packing->alphabet, rest), &bits))
        return false;
    *size = bits / 8 + (bits % 8 != 0);
    return true;
}

/* How many numbers, of `whole`, begin where 8 bytes can be read or written. */
static size_t roomy(const tsri_packing *p, size_t size, size_t whole)
{
    const size_t most = size < 8 ? 0 : 8 * (size - 8) / (size_t)p->bits + 1;
    return most < whole ? most : whole;
}

/* ---- packing ---- */

/* Appends n numbers of `digits` tokens, `bits` long. */
static inline __attribute__((always_inline)) void
put_numbers(const tsri_packing *p, tsri_bits_out *to, tsri_ranks token,
            size_t n, int digits, int bits, const bool wide)
{
    tsri_bits_out out = *to;

    token.wide = wide;
    for (size_t i = 0; i < n; i++) {
        const size_t first = i * (size_t)digits;
        uint64_t x = 0;
#pragma GCC unroll 3
        for (int k = digits; k-- > 0;)
            x = x * p->alphabet + tsri_rank(token, first + (size_t)k);
        tsri_bits_put(&out, x, bits);
    }
    *to = out;
}

static void put_all(const tsri_packing *p, tsri_bits_out *out, tsri_ranks token,
                    size_t n, int digits, int bits)
{
    if (token.wide && digits == 3)
        put_numbers(p, out, token, n, 3, bits, true);
    else if (token.wide)
        put_numbers(p, out, token, n, digits, bits, true);
    else
        put_numbers(p, out, token, n, digits, bits, false);
}

/* The last numbers are made in a buffer, since writing them reaches farther
 * than they do. */
static void put_last(const tsri_packing *p, const tsri_bits_out *done,
                     tsri_ranks token, size_t n)
{
    const size_t whole = n / (size_t)p->digits;
    const int rest = (int)(n % (size_t)p->digits);
    uint8_t buffer[64];
    tsri_bits_out out = { buffer, done->bits, done->nbits, false };

    put_all(p, &out, token, whole, p->digits, p->bits);
    put_all(p, &out, tsri_ranks_from(token, n - (size_t)rest), rest > 0, rest,
            number_bits(p->alphabet, rest));
    memcpy(done->at, buffer, (size_t)(tsri_bits_finish(&out) - buffer));
}

static tsr_error pack(const tsri_packing *p, const tsr_context *ctx,
                      tsri_ranks token, size_t n, uint8_t *data)
{
    tsri_bits_out out = { data, 0, 0, ctx->cpu & TSR_CPU_AVX2 };
    size_t size, whole, done = 0;

    if (!tsri_packing_size(p, n, &size) ||
        tsri_ranks_most(token, n, out.avx2) >= p->alphabet)
        return TSR_E_ARG;
    if (!size)
        return TSR_OK;
    whole = roomy(p, size, n / (size_t)p->digits);
    if (p->digits == 1 && out.avx2)
        done = tsri_pack_fixed_avx2(&out, token, whole, p->bits);
    put_all(p, &out, tsri_ranks_from(token, done), whole - done, p->digits,
            p->bits);
    done = whole * (size_t)p->digits;
    put_last(p, &out, tsri_ranks_from(token, done), n - done);
    return TSR_OK;
}

tsr_error tsri_pack16(const tsri_packing *packing, const tsr_context *ctx,
                      const uint16_t *token, size_t n, uint8_t *data)
{
    return pack(packing, ctx, (tsri_ranks){ (void *)token, false }, n, data);
}

tsr_error tsri_pack32(const tsri_packing *packing, const tsr_context *ctx,
                      const uint32_t *token, size_t n, uint8_t *data)
{
    return pack(packing, ctx, (tsri_ranks){ (void *)token, true }, n, data);
}

/* ---- unpacking ---- */

/* Reads a number of `digits` >= 1 tokens; returns the last, which alone may be
 * too large. */
static uint32_t get_number(const tsri_packing *p, tsri_bits_in *in, int digits,
                           int bits, tsri_ranks token)
{
    uint64_t x = tsri_bits_get(in, bits);

    for (int k = 0; k < digits - 1; k++) {
        tsri_set_rank(token, (size_t)k, (uint32_t)(x % p->alphabet));
        x /= p->alphabet;
    }
    tsri_set_rank(token, (size_t)digits - 1, (uint32_t)x);
    return (uint32_t)x;
}

/* Reads n tokens, or some of the first of them, fast; returns how many. */
static size_t get_fast(const tsri_packing *p, tsri_bits_in *in,
                       tsri_ranks token, size_t n, uint32_t *most)
{
    size_t whole;

    if (!p->bits)
        return 0;
    whole = roomy(p, in->size, n / (size_t)p->digits);
    if (p->digits == 1)
        return tsri_unpack_fixed_avx2(in, token, whole, p->bits, most);
    return (size_t)p->digits *
           tsri_unpack_radix_avx2(p, in, token, whole, most);
}

static tsr_error unpack(const tsri_packing *p, const tsr_context *ctx,
                        const uint8_t *data, size_t size, tsri_ranks token,
                        size_t n)
{
    tsri_bits_in in = { data, size, 0 };
    uint32_t most = 0;
    size_t right, i = 0;

    if (!tsri_packing_size(p, n, &right) || size != right)
        return TSR_E_CORRUPT;
    if (ctx->cpu & TSR_CPU_AVX2)
        i = get_fast(p, &in, token, n, &most);
    for (int d = p->digits; i < n; i += (size_t)d) {
        d = n - i < (size_t)d ? (int)(n - i) : d;
        const uint32_t last =
            get_number(p, &in, d, d < p->digits ? number_bits(p->alphabet, d)
                                                : p->bits,
                       tsri_ranks_from(token, i));
        most = last > most ? last : most;
    }
    return most >= p->alphabet || tsri_bits_get(&in, (int)(-in.at & 7))
           ? TSR_E_CORRUPT : TSR_OK;
}

tsr_error tsri_unpack16(const tsri_packing *packing, const tsr_context *ctx,
                        const uint8_t *data, size_t size, uint16_t *token,
                        size_t n)
{
    if (packing->alphabet > 1 << 16)
        return TSR_E_ARG;
    return unpack(packing, ctx, data, size, (tsri_ranks){ token, false }, n);
}

tsr_error tsri_unpack32(const tsri_packing *packing, const tsr_context *ctx,
                        const uint8_t *data, size_t size, uint32_t *token,
                        size_t n)
{
    return unpack(packing, ctx, data, size, (tsri_ranks){ token, true }, n);
}
