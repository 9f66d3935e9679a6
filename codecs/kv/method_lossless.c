/* SPDX-License-Identifier: BSD-2-Clause */
/* All bits of the source.  Sign, exponent and, where there is room, the first
 * bits of the fraction are a symbol, in order of value, coded channel by
 * channel; the rest of the fraction is noise and is sent as it is.
 *
 * Source: the split of DietGPU and of nvCOMP's float codecs; theirs has one
 * table for an array. */
#include "codecs/kv/method_list.h"
#include "entropy/rans_bits.h"

enum {
    AS_IT_IS = 255,     /* first byte: exponents of too many octaves */
    HEAD = 2, SLACK = 8,
    MOST = 7,           /* bits of exponents in a symbol, at most */
    SYMBOL = 5          /* filled up to so many by the fraction: more gain 0.3 %
                           and take twice the time */
};

/* Bits of exponent and fraction. */
typedef struct layout {
    int bytes, exponent, fraction;
} layout;

static layout layout_of(tsr_kv_dtype dtype)
{
    static const layout of[] = {
        [TSR_KV_F16] = { 2, 5, 10 }, [TSR_KV_BF16] = { 2, 8, 7 },
        [TSR_KV_F32] = { 4, 8, 23 }, [TSR_KV_E4M3] = { 1, 4, 3 },
        [TSR_KV_E5M2] = { 1, 5, 2 }
    };
    return of[dtype];
}

/* Which exponents there are: 0 is 0, `least` is 1 and so on, below 2^octaves. */
typedef struct split {
    layout l;
    int least, octaves, top;    /* top: bits of the fraction in the symbol */
} split;

static split split_of(layout l, int least, int octaves)
{
    return (split){ l, least, octaves,
                    tsri_clamp(SYMBOL - octaves, 0, l.fraction) };
}

static uint32_t element(const void *x, size_t i, int bytes)
{
    return bytes == 1 ? ((const uint8_t *)x)[i]
         : bytes == 2 ? ((const uint16_t *)x)[i] : ((const uint32_t *)x)[i];
}

static void set_element(void *x, size_t i, int bytes, uint32_t v)
{
    if (bytes == 1)
        ((uint8_t *)x)[i] = (uint8_t)v;
    else if (bytes == 2)
        ((uint16_t *)x)[i] = (uint16_t)v;
    else
        ((uint32_t *)x)[i] = v;
}

static uint32_t low_bits(uint32_t v, int n)
{
    return v & (((uint32_t)1 << n) - 1);
}

/* False: the exponents do not fit a symbol. */
static bool find_split(layout l, const void *x, size_t n, split *s)
{
    int least = 1 << l.exponent, most = 0, octaves = 0;

    for (size_t i = 0; i < n; i++) {
        const int e = (int)low_bits(element(x, i, l.bytes) >> l.fraction,
                                    l.exponent);
        least = e && e < least ? e : least;
        most = tsri_max(most, e);
    }
    least = most ? least : 1;
    while (most - least + 1 >= 1 << octaves)
        octaves++;
    if (octaves > MOST)
        return false;
    *s = split_of(l, least, octaves);
    return true;
}

static size_t put(const split *s, const void *x, size_t n, uint8_t *code,
                  uint8_t *out)
{
    const int rest = s->l.fraction - s->top;
    tsri_bits_out bits = { .at = out };

    for (size_t i = 0; i < n; i++) {
        const uint32_t v = element(x, i, s->l.bytes);
        const int e = (int)low_bits(v >> s->l.fraction, s->l.exponent);
        const int place = e ? e - s->least + 1 : 0;
        const int size = place << s->top |
                         (int)low_bits(v >> rest, s->top);
        const bool negative = v >> (s->l.fraction + s->l.exponent);
        code[i] = (uint8_t)(negative ? 127 - size : 128 + size);
        tsri_bits_put(&bits, low_bits(v, rest), rest);
    }
    return (size_t)(tsri_bits_finish(&bits) - out);
}

size_t tsri_kv_floats_bound(const tsri_kv_tile *tile, tsr_kv_dtype dtype)
{
    return HEAD + SLACK + tsri_kv_values(tile) * tsri_kv_dtype_bytes(dtype) +
           tsri_kv_codes_bound(tile->tokens, (int)tsri_kv_channels(tile), 256);
}

size_t tsri_kv_floats_scratch(const tsri_kv_tile *tile)
{
    return tsri_kv_arena_room(tsri_kv_values(tile)) +
           tsri_kv_codes_scratch(tile->tokens, (int)tsri_kv_channels(tile));
}

static tsri_kv_codes codes_of(const tsri_kv_tile *tile, tsri_kv_arena *arena)
{
    return (tsri_kv_codes){ tsri_kv_arena_take(arena, tsri_kv_values(tile)),
                            tile->tokens, (int)tsri_kv_channels(tile), 256 };
}

size_t tsri_kv_floats_put(const tsri_kv_tile *tile, tsr_kv_dtype dtype,
                          bool plain, unsigned cpu, const void *x,
                          tsri_kv_arena arena, uint8_t *out)
{
    const tsri_kv_codes codes = codes_of(tile, &arena);
    const layout l = layout_of(dtype);
    const size_t n = tsri_kv_values(tile), as_it_is = 1 + n * (size_t)l.bytes;
    size_t size = HEAD;
    split s;

    if (!plain && find_split(l, x, n, &s)) {
        out[0] = (uint8_t)s.octaves;
        out[1] = (uint8_t)s.least;
        size += put(&s, x, n, codes.code, out + size);
        size += tsri_kv_codes_put(&codes, false, cpu, arena, out + size);
        if (size < as_it_is)
            return size;
    }
    out[0] = AS_IT_IS;
    memcpy(out + 1, x, as_it_is - 1);
    return as_it_is;
}

static tsr_error get(const split *s, tsri_bits_in *bits, const uint8_t *code,
                     size_t n, void *x)
{
    const int rest = s->l.fraction - s->top;

    for (size_t i = 0; i < n; i++) {
        const bool negative = code[i] < 128;
        const int size = negative ? 127 - code[i] : code[i] - 128;
        const int place = size >> s->top, e = place ? place + s->least - 1 : 0;
        if (place >> s->octaves || e >> s->l.exponent)
            return TSR_E_CORRUPT;
        set_element(x, i, s->l.bytes,
                    (uint32_t)negative << (s->l.fraction + s->l.exponent) |
                    (uint32_t)e << s->l.fraction |
                    low_bits((uint32_t)size, s->top) << rest |
                    (uint32_t)tsri_bits_get(bits, rest));
    }
    return TSR_OK;
}

static tsr_error get_split(const tsri_kv_tile *tile, layout l, unsigned cpu,
                           tsri_kv_arena arena, tsri_kv_reader *in, void *x)
{
    const tsri_kv_codes codes = codes_of(tile, &arena);
    const size_t n = tsri_kv_values(tile);
    const uint8_t *head = tsri_kv_take(in, HEAD);

    if (!head || head[0] > MOST)
        return TSR_E_CORRUPT;
    const split s = split_of(l, head[1], head[0]);
    tsri_bits_in bits = {
        .size = (n * (size_t)(l.fraction - s.top) + 7) / 8
    };
    bits.data = tsri_kv_take(in, bits.size);
    if (!bits.data)
        return TSR_E_CORRUPT;
    TSR_TRY(tsri_kv_codes_get(&codes, cpu, arena, in));
    return get(&s, &bits, codes.code, n, x);
}

tsr_error tsri_kv_floats_get(const tsri_kv_tile *tile, tsr_kv_dtype dtype,
                             unsigned cpu, tsri_kv_arena arena,
                             tsri_kv_reader *in, void *x)
{
    const layout l = layout_of(dtype);
    const size_t bytes = tsri_kv_values(tile) * (size_t)l.bytes;
    const uint8_t *data;

    if (in->at == in->end || *in->at != AS_IT_IS)
        return get_split(tile, l, cpu, arena, in, x);
    data = tsri_kv_take(in, 1 + bytes);
    if (!data)
        return TSR_E_CORRUPT;
    memcpy(x, data + 1, bytes);
    return TSR_OK;
}

/* ---- the method ---- */

static tsr_error settings(tsr_context *ctx, const tsr_kv_settings *s,
                          uint8_t params[40])
{
    return tsri_kv_options_read(ctx, s, NULL, 0, params);
}

static tsr_error check(const uint8_t params[40], const tsr_kv_shape *shape)
{
    (void)shape;
    return tsri_kv_options_check(NULL, 0, params);
}

static size_t bound(const tsri_kv_tile *tile)
{
    return tsri_kv_floats_bound(tile, tile->dtype);
}

static size_t encode(const tsri_kv_tile *tile, unsigned cpu, void *x,
                     uint8_t *out, void *memory)
{
    return tsri_kv_floats_put(tile, tile->dtype, false, cpu, x,
                              tsri_kv_arena_of(memory,
                                               tsri_kv_floats_scratch(tile)),
                              out);
}

static tsr_error decode(const tsri_kv_tile *tile, unsigned cpu,
                        const uint8_t *data, size_t size, void *x, void *memory)
{
    tsri_kv_reader in = { data, data + size };

    TSR_TRY(tsri_kv_floats_get(tile, tile->dtype, cpu,
                               tsri_kv_arena_of(memory,
                                                tsri_kv_floats_scratch(tile)),
                               &in, x));
    return in.at == in.end ? TSR_OK : TSR_E_CORRUPT;
}

const tsri_kv_method tsri_kv_lossless = {
    "lossless", 9, false, true, 1024, settings, check, bound,
    tsri_kv_floats_scratch, encode, decode
};
