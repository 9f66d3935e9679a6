/* SPDX-License-Identifier: BSD-2-Clause */
/* A cast to 8-bit floats, what serving engines call an fp8 cache. */
#include "codecs/kv/method_list.h"

enum { EXPONENT, PLAIN, OPTIONS };

static const tsri_kv_option options[OPTIONS] = {
    { "exponent", 4, 5, 1, 4, 1 },      /* E4M3 or E5M2 */
    { "plain", 0, 1, 1, 0, 1 }
};

static tsr_error settings(tsr_context *ctx, const tsr_kv_settings *s,
                          uint8_t params[40])
{
    return tsri_kv_options_read(ctx, s, options, OPTIONS, params);
}

static tsr_error check(const uint8_t params[40], const tsr_kv_shape *shape)
{
    (void)shape;
    return tsri_kv_options_check(options, OPTIONS, params);
}

static tsr_kv_dtype type_of(const tsri_kv_tile *tile)
{
    return tsri_kv_option_at(tile->params, EXPONENT) == 4 ? TSR_KV_E4M3
                                                          : TSR_KV_E5M2;
}

static size_t bound(const tsri_kv_tile *tile)
{
    return tsri_kv_floats_bound(tile, type_of(tile));
}

static size_t scratch(const tsri_kv_tile *tile)
{
    return tsri_kv_arena_room(tsri_kv_values(tile)) +
           tsri_kv_floats_scratch(tile);
}

static size_t encode(const tsri_kv_tile *tile, unsigned cpu, void *x,
                     uint8_t *out, void *memory)
{
    tsri_kv_arena arena = tsri_kv_arena_of(memory, scratch(tile));
    uint8_t *f8 = tsri_kv_arena_take(&arena, tsri_kv_values(tile));

    tsri_kv_to_dtype(type_of(tile), cpu, x, tsri_kv_values(tile), f8);
    return tsri_kv_floats_put(tile, type_of(tile),
                              tsri_kv_option_at(tile->params, PLAIN), cpu, f8,
                              arena, out);
}

static tsr_error decode(const tsri_kv_tile *tile, unsigned cpu,
                        const uint8_t *data, size_t size, void *x, void *memory)
{
    tsri_kv_arena arena = tsri_kv_arena_of(memory, scratch(tile));
    tsri_kv_reader in = { data, data + size };
    uint8_t *f8 = tsri_kv_arena_take(&arena, tsri_kv_values(tile));

    TSR_TRY(tsri_kv_floats_get(tile, type_of(tile), cpu, arena, &in, f8));
    return tsri_kv_from_dtype(type_of(tile), cpu, f8, tsri_kv_values(tile), x)
           && in.at == in.end ? TSR_OK : TSR_E_CORRUPT;
}

const tsri_kv_method tsri_kv_fp8 = {
    "fp8", 8, false, false, 256, settings, check, bound, scratch, encode, decode
};
