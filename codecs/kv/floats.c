/* SPDX-License-Identifier: BSD-2-Clause */
/* Numbers of 16 and 8 bits to and from floats. */
#include "codecs/kv/move_impl.h"

/* A binary float of few bits: bits of its mantissa, bias of its exponent, code
 * of its largest value and of what is larger. */
typedef struct small { int mantissa, bias; uint32_t most, over; } small;

static const small f16 = { 10, 15, 0x7bff, 0x7c00 };
static const small e4m3 = { 3, 7, 0x7e, 0x7e };
static const small e5m2 = { 2, 15, 0x7b, 0x7b };

/* |x| of bits a, no NaN, to the code of the nearest, ties to even. */
static uint32_t narrow(uint32_t a, const small *s)
{
    const int drop = 23 - s->mantissa;
    uint32_t code;

    if (a < (uint32_t)(128 - s->bias) << 23) {
        /* Below the normal numbers: the sum's last bit is the smallest one. */
        const uint32_t magic = (uint32_t)(128 - s->bias + drop) << 23;
        code = tsri_float_bits(tsri_bits_float(a) + tsri_bits_float(magic)) -
            magic;
    } else {
        code = (a + (1u << (drop - 1)) - 1 + (a >> drop & 1)) >> drop;
        code -= (uint32_t)(127 - s->bias) << s->mantissa;
    }
    return code > s->most ? s->over : code;
}

static float widen(uint32_t code, const small *s)
{
    const uint32_t least = 1u << s->mantissa;

    if (code < least)
        return (float)code * tsri_bits_float((uint32_t)(
            128 - s->bias - s->mantissa) << 23);
    return tsri_bits_float((code << (23 - s->mantissa)) +
                           ((uint32_t)(127 - s->bias) << 23));
}

static float with_sign(float x, uint32_t sign)
{
    return tsri_bits_float(tsri_float_bits(x) | sign);
}

static float from_f16(uint16_t h)
{
    const uint32_t a = h & 0x7fff, sign = (uint32_t)(h & 0x8000) << 16;

    if (a > 0x7c00)     /* NaN, a quiet one */
        return tsri_bits_float(sign | 0x7fc00000 | (a & 0x3ff) << 13);
    return a == 0x7c00 ? tsri_bits_float(sign | 0x7f800000)
                       : with_sign(widen(a, &f16), sign);
}

static uint16_t to_f16(float x)
{
    const uint32_t bits = tsri_float_bits(x), a = bits & 0x7fffffff;
    const uint32_t sign = bits >> 16 & 0x8000;

    if (a > 0x7f800000)
        return (uint16_t)(sign | 0x7e00 | (a >> 13 & 0x3ff));
    return (uint16_t)(sign | narrow(a, &f16));
}

static float from_bf16(uint16_t h)
{
    return tsri_bits_float((uint32_t)h << 16);
}

static uint16_t to_bf16(float x)
{
    const uint32_t bits = tsri_float_bits(x);

    if ((bits & 0x7fffffff) > 0x7f800000)
        return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static float from_e4m3(uint8_t b)
{
    const uint32_t a = b & 0x7f, sign = (uint32_t)(b & 0x80) << 24;
    return a == 0x7f ? tsri_bits_float(sign | 0x7fc00000)
                     : with_sign(widen(a, &e4m3), sign);
}

static float from_e5m2(uint8_t b)
{
    return from_f16((uint16_t)(b << 8));
}

static uint8_t to_f8(float x, const small *s)
{
    const uint32_t bits = tsri_float_bits(x), a = bits & 0x7fffffff;
    return a > 0x7f800000 ? 0x7f : (uint8_t)(bits >> 24 & 0x80) |
                                       (uint8_t)narrow(a, s);
}

static bool is_finite(float x)
{
    return (tsri_float_bits(x) & 0x7fffffff) < 0x7f800000;
}

size_t tsri_kv_dtype_bytes(tsr_kv_dtype dtype)
{
    switch (dtype) {
    case TSR_KV_F16:
    case TSR_KV_BF16:
        return 2;
    case TSR_KV_F32:
        return 4;
    case TSR_KV_E4M3:
    case TSR_KV_E5M2:
        return 1;
    }
    return 0;
}

static uint16_t half_at(const void *in, size_t i)
{
    uint16_t h;
    memcpy(&h, (const uint8_t *)in + 2 * i, sizeof h);
    return h;
}

static float from_one(tsr_kv_dtype dtype, const void *in, size_t i)
{
    float x;

    switch (dtype) {
    case TSR_KV_F16:
        return from_f16(half_at(in, i));
    case TSR_KV_BF16:
        return from_bf16(half_at(in, i));
    case TSR_KV_E4M3:
        return from_e4m3(((const uint8_t *)in)[i]);
    case TSR_KV_E5M2:
        return from_e5m2(((const uint8_t *)in)[i]);
    case TSR_KV_F32:
        break;
    }
    memcpy(&x, (const uint8_t *)in + 4 * i, sizeof x);
    return x;
}

bool tsri_kv_from_plain(tsr_kv_dtype dtype, const void *in, size_t n, float *x)
{
    bool good = true;

    for (size_t i = 0; i < n; i++) {
        x[i] = from_one(dtype, in, i);
        good &= is_finite(x[i]);
    }
    return good;
}

static void put_half(void *out, size_t i, uint16_t h)
{
    memcpy((uint8_t *)out + 2 * i, &h, sizeof h);
}

static void to_one(tsr_kv_dtype dtype, float x, void *out, size_t i)
{
    switch (dtype) {
    case TSR_KV_F16:
        put_half(out, i, to_f16(x));
        break;
    case TSR_KV_BF16:
        put_half(out, i, to_bf16(x));
        break;
    case TSR_KV_F32:
        memcpy((uint8_t *)out + 4 * i, &x, sizeof x);
        break;
    case TSR_KV_E4M3:
        ((uint8_t *)out)[i] = to_f8(x, &e4m3);
        break;
    case TSR_KV_E5M2:
        ((uint8_t *)out)[i] = to_f8(x, &e5m2);
        break;
    }
}

void tsri_kv_to_plain(tsr_kv_dtype dtype, const float *x, size_t n, void *out)
{
    for (size_t i = 0; i < n; i++)
        to_one(dtype, x[i], out, i);
}

bool tsri_kv_from_dtype(tsr_kv_dtype dtype, unsigned cpu, const void *in,
                        size_t n, float *x)
{
    const tsri_kv_moves *avx2 = cpu & TSR_CPU_AVX2 ? tsri_kv_moves_avx2() : NULL;
    return avx2 ? avx2->from(dtype, in, n, x)
                : tsri_kv_from_plain(dtype, in, n, x);
}

void tsri_kv_to_dtype(tsr_kv_dtype dtype, unsigned cpu, const float *x,
                      size_t n, void *out)
{
    const tsri_kv_moves *avx2 = cpu & TSR_CPU_AVX2 ? tsri_kv_moves_avx2() : NULL;
    if (avx2)
        avx2->to(dtype, x, n, out);
    else
        tsri_kv_to_plain(dtype, x, n, out);
}
