/* SPDX-License-Identifier: BSD-2-Clause */
/* CacheGen's streams: any bytes, streams of ours there and back, and those with
 * some bytes changed. */
#include "tests/fuzz/fuzz.h"
#include <tessera/kv_cachegen.h>

enum { VALUES = 1 << 15, STREAM = 1 << 18, MOST = 64 };

typedef struct bytes {
    uint8_t *data;
    size_t size;
} bytes;

static tsr_error put(void *cookie, const void *data, size_t size)
{
    bytes *b = cookie;

    if (size > STREAM - b->size)
        return TSR_E_LIMIT;
    memcpy(b->data + b->size, data, size);
    b->size += size;
    return TSR_OK;
}

/* [2 L][T][H][D] */
static tsr_kv_view view_of(const tsr_cachegen_info *info, uint8_t *x,
                           void **base)
{
    const size_t element = info->dtype == TSR_KV_F32 ? 4 : 2;
    const size_t row = (size_t)(info->shape.heads[0] * info->shape.dim[0]) *
                       element;

    for (int i = 0; i < 2 * info->shape.layers; i++)
        base[i] = x + (size_t)i * info->tokens * row;
    return (tsr_kv_view){
        .dtype = info->dtype, .base = base, .tokens = info->tokens,
        .token_stride = (ptrdiff_t)row,
        .head_stride = (ptrdiff_t)((size_t)info->shape.dim[0] * element)
    };
}

/* TSR_E_LIMIT: larger than what is tried here. */
static tsr_error decode(const uint8_t *data, size_t size, int level, uint8_t *x)
{
    tsr_cachegen_info info;
    void *base[2 * MOST];

    const tsr_error error = tsr_cachegen_probe(fuzz_context(false), data, size,
                                               &info);
    if (error)
        return error;
    if (info.shape.layers > MOST ||
        (uint64_t)(info.shape.layers * info.shape.heads[0]) *
        (uint64_t)info.shape.dim[0] * info.tokens > VALUES)
        return TSR_E_LIMIT;
    const tsr_kv_view view = view_of(&info, x, base);
    return tsr_cachegen_decode(fuzz_context(false), data, size, level, &view);
}

static void change(fuzz_input *in, bytes *b)
{
    while (in->size) {
        /* From both ends: in the middle there are mostly data. */
        const size_t at = fuzz_u16(in) % b->size;
        b->data[fuzz_u8(in) % 2 ? at : b->size - 1 - at] = (uint8_t)fuzz_u8(in);
    }
}

static void round_trip(fuzz_input *in, uint8_t *x, uint8_t *y)
{
    const int heads = 1 + (int)fuzz_below(in, 2);
    const int dim = 1 + (int)fuzz_below(in, 3);
    const int level = (int)fuzz_below(in, TSR_CACHEGEN_LEVELS);
    const tsr_cachegen_info info = {
        { 1 + (int)fuzz_below(in, 12), 2, { heads, heads }, { dim, dim } },
        TSR_KV_BF16, 1 + fuzz_below(in, 100) * fuzz_below(in, 4)
    };
    const size_t n = (size_t)(2 * info.shape.layers * heads * dim) * info.tokens;
    bytes b = { malloc(STREAM), 0 };
    const tsr_sink sink = { &b, put };
    void *base[2 * MOST];

    FUZZ_CHECK(b.data);
    for (size_t i = 0; i < n; i++) { /* none is infinite */
        x[2 * i] = (uint8_t)fuzz_at(in, 2 * i);
        x[2 * i + 1] = fuzz_at(in, 2 * i + 1) & 0xbf;
    }
    const tsr_kv_view view = view_of(&info, x, base);
    FUZZ_CHECK(!tsr_cachegen_encode(fuzz_context(false), &info.shape, &view,
                                    level, &sink));
    FUZZ_CHECK(!decode(b.data, b.size, level, y));
    change(in, &b);
    (void)!decode(b.data, b.size, level, y);
    free(b.data);
}

void fuzz_target(const uint8_t *data, size_t size)
{
    fuzz_input in = { data, size };
    uint8_t *x = calloc(8, VALUES), *y = calloc(8, VALUES);

    FUZZ_CHECK(x && y);
    if (fuzz_u8(&in) & 1) {
        round_trip(&in, x, y);
    } else {
        uint8_t *copy = fuzz_copy(&in);
        (void)!decode(copy, in.size, 0, x);
        free(copy);
    }
    free(x);
    free(y);
}
