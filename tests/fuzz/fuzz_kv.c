/* SPDX-License-Identifier: BSD-2-Clause */
/* KV objects: any bytes, their checksums made to fit so that the inside is
 * reached, and round trips. */
#include "tests/fuzz/fuzz.h"
#include <tessera/kv.h>
#include "lib/bytes.h"
#include "lib/crc32c.h"

enum { HEADER = 160, VALUES = 1 << 14, TOKENS = 600 };

/* ---- checksums ---- */

/* Where the directory begins and how many entries it has; false when it is not
 * all there. */
static bool directory(const uint8_t *p, size_t size, size_t *at, uint64_t *n)
{
    uint64_t tiles;

    if (size < HEADER || !tsri_get16(p + 28))
        return false;
    tiles = ((uint64_t)tsri_get32(p + 20) + tsri_get16(p + 28) - 1) /
        tsri_get16(p + 28);
    *at = (size_t)HEADER + tsri_get32(p + 152);
    *n = tsri_get32(p + 44);
    if (*at > size || *n > size || tiles > size)
        return false;
    *n += *n * tiles * p[11];
    return *n <= (size - *at) / 8 && 8 * *n + 4 <= size - *at;
}

static void fix(uint8_t *p, size_t size)
{
    size_t dir, at;
    uint64_t n, total;

    if (!directory(p, size, &dir, &n))
        return;
    at = dir + 8 * (size_t)n + 4;
    total = at;
    for (uint64_t i = 0; i < n; i++) {
        uint8_t *entry = p + dir + 8 * i;
        const size_t bytes = tsri_get32(entry);
        total += bytes;
        if (bytes > size - at)
            continue;
        tsri_put32(entry + 4, tsri_crc32c(0, p + at, bytes));
        at += bytes;
    }
    tsri_put64(p + 56, total);
    at = dir + 8 * (size_t)n;
    tsri_put32(p + at, tsri_crc32c(0, p, at));
}

/* ---- any bytes ---- */

static size_t channels(const tsr_kv_shape *shape)
{
    size_t n = 0;
    for (int p = 0; p < shape->planes; p++)
        n += (size_t)(shape->heads[p] * shape->dim[p]);
    return n;
}

/* The larger one of both planes; a plane that is not has 0. */
static int most(const int of_plane[2])
{
    return of_plane[0] > of_plane[1] ? of_plane[0] : of_plane[1];
}

static size_t room_of(const tsr_kv_shape *s, size_t tokens)
{
    return (size_t)(s->layers * s->planes) * tokens *
        (size_t)(most(s->heads) * most(s->dim)) + 1;
}

/* A view of planes one behind the other, 4 bytes an element at least; base has
 * room for their number. */
static tsr_kv_view view_of(const tsr_kv_shape *s, size_t tokens,
                           tsr_kv_dtype dtype, float *memory, void **base)
{
    const int width = most(s->heads) * most(s->dim);

    for (int i = 0; i < s->layers * s->planes; i++)
        base[i] = memory + (size_t)i * tokens * (size_t)width;
    return (tsr_kv_view){ .dtype = dtype, .base = base, .tokens = tokens,
                          .token_stride = 4 * width,
                          .head_stride = 4 * most(s->dim) };
}

static tsr_error decode(bool plain, const uint8_t *data, size_t size,
                        const tsr_kv_info *info, float *x, void **base)
{
    const tsr_kv_view view = view_of(&info->shape, (size_t)info->tokens,
                                     info->dtype, x, base);
    int32_t ids[TOKENS] = { 0 };
    tsr_kv_call call = { .token_ids = ids };
    tsr_kv *kv;
    tsr_error error = tsr_kv_open_for(&kv, fuzz_context(plain), info, NULL);

    if (error)
        return error;
    FUZZ_CHECK(!tsr_kv_scratch_size(kv, (size_t)info->tokens,
                                    &call.scratch_size));
    call.scratch = aligned_alloc(64, (call.scratch_size + 63) & ~(size_t)63);
    FUZZ_CHECK(call.scratch);
    error = tsr_kv_decode(kv, data, size, NULL, &view, &call);
    free(call.scratch);
    tsr_kv_close(&kv);
    return error;
}

static tsr_error count(void *cookie, uint64_t at, uint64_t bytes)
{
    uint64_t *end = cookie;
    FUZZ_CHECK(at >= *end && bytes > 0);
    *end = at + bytes;
    return TSR_OK;
}

static void look(const uint8_t *data, size_t size, const tsr_kv_info *info)
{
    uint8_t *small = malloc(size);
    uint64_t bytes, end = 0;
    size_t reduced;
    tsr_kv_info again;

    FUZZ_CHECK(small);
    (void)!tsr_kv_probe_layer(fuzz_context(false), data, size,
                              info->shape.layers - 1, -1, &bytes);
    FUZZ_CHECK(!tsr_kv_ranges(fuzz_context(false), data, size, NULL, count,
                              &end));
    FUZZ_CHECK(end <= info->bytes);
    if (!tsr_kv_reduce(fuzz_context(false), data, size, 1, small, size,
                       &reduced)) {
        FUZZ_CHECK(!tsr_kv_probe(fuzz_context(false), small, reduced, &again));
        FUZZ_CHECK(again.levels == 1 && again.bytes == reduced);
    }
    free(small);
}

static void any_bytes(uint8_t *data, size_t size)
{
    static const uint8_t none[8];
    tsr_kv_info info;

    fix(data, size);
    if (tsr_kv_probe(fuzz_context(false), data, size, &info))
        return;
    look(data, size, &info);
    if (info.tokens > TOKENS || memcmp(info.profile, none, sizeof none) ||
        (uint64_t)info.shape.layers * channels(&info.shape) * info.tokens >
        VALUES)
        return;
    const size_t room = room_of(&info.shape, (size_t)info.tokens);
    const size_t planes = (size_t)(info.shape.layers * info.shape.planes);
    float *a = calloc(room, sizeof *a), *b = calloc(room, sizeof *b);
    void **base = calloc(planes, sizeof *base);
    FUZZ_CHECK(a && b && base);
    const tsr_error error = decode(true, data, size, &info, a, base);
    FUZZ_CHECK(decode(false, data, size, &info, b, base) == error);
    FUZZ_CHECK(error || !memcmp(a, b, room * sizeof *a));
    free(a);
    free(b);
    free(base);
}

/* ---- round trips ---- */

static void make_settings(fuzz_input *in, tsr_kv_settings *s)
{
    tsr_kv_settings_init(s);
    s->shape = (tsr_kv_shape){ 1 + (int)fuzz_below(in, 2),
                               1 + (int)fuzz_below(in, 2),
                               { 1 + (int)fuzz_below(in, 3),
                                 1 + (int)fuzz_below(in, 2) },
                               { 1 + (int)fuzz_below(in, 40),
                                 1 + (int)fuzz_below(in, 40) } };
    s->levels = 1 + (int)fuzz_below(in, 3);
    s->tile = 32 * (1 + (int)fuzz_below(in, 4));
    s->sinks = (int)fuzz_below(in, 8);
    s->recent = (int)fuzz_below(in, 9);
    s->recent_boost = (int)fuzz_below(in, 3);
    s->step = fuzz_u8(in) % 4 ? 0.01 * (1 + fuzz_below(in, 200)) : 0;
    s->value_ratio = s->step != 0 ? 1 : 0;
    if (s->shape.dim[0] >= 2 && fuzz_u8(in) % 2)
        s->rope = (tsr_kv_rope){ .layout = 1 + (int)fuzz_below(in, 2),
                                 .dims = s->shape.dim[0] / 2 * 2, .theta = 100 };
}

typedef struct coder {
    tsr_kv *kv;
    tsr_kv_call call;
    uint8_t *object;
    size_t room, size;
} coder;

static void open_coder(coder *c, bool plain, const tsr_kv_settings *s, size_t n)
{
    *c = (coder){ .call.pos0 = 1 };
    FUZZ_CHECK(!tsr_kv_open(&c->kv, fuzz_context(plain), s));
    FUZZ_CHECK(!tsr_kv_encode_bound(c->kv, n, &c->room));
    FUZZ_CHECK(!tsr_kv_scratch_size(c->kv, n, &c->call.scratch_size));
    c->object = malloc(c->room);
    c->call.scratch = aligned_alloc(64, (c->call.scratch_size + 63) &
                                    ~(size_t)63);
    FUZZ_CHECK(c->object && c->call.scratch);
}

static void close_coder(coder *c)
{
    free(c->object);
    free(c->call.scratch);
    tsr_kv_close(&c->kv);
}

static tsr_error encode(coder *c, const tsr_kv_view *view)
{
    return tsr_kv_encode(c->kv, view, &c->call, c->object, c->room, &c->size);
}

static void round_trip(fuzz_input *in)
{
    tsr_kv_settings s;
    void *base[4];
    coder a, b;

    make_settings(in, &s);
    const size_t n = fuzz_below(in, 150);
    const size_t room = room_of(&s.shape, n);
    float *x = calloc(room, sizeof *x);
    FUZZ_CHECK(x);
    for (size_t i = 0; i < room; i++)
        x[i] = ((float)(fuzz_at(in, i) % 256) - 128) / 16;
    const tsr_kv_view view = view_of(&s.shape, n, TSR_KV_F32, x, base);
    open_coder(&a, true, &s, n);
    open_coder(&b, false, &s, n);
    FUZZ_CHECK(!encode(&a, &view) && !encode(&b, &view));
    FUZZ_CHECK(a.size == b.size && !memcmp(a.object, b.object, a.size));
    FUZZ_CHECK(!tsr_kv_decode(a.kv, a.object, a.size, NULL, &view, &a.call));
    FUZZ_CHECK(!encode(&b, &view));
    /* The same once more, unless all rows have boosts. */
    FUZZ_CHECK((s.recent_boost && (size_t)(s.recent + s.sinks) >= n) ||
               (a.size == b.size && !memcmp(a.object, b.object, a.size)));
    close_coder(&a);
    close_coder(&b);
    free(x);
}

void fuzz_target(const uint8_t *data, size_t size)
{
    fuzz_input in = { data, size };

    if (fuzz_u8(&in) % 4 == 3) {
        round_trip(&in);
        return;
    }
    uint8_t *copy = fuzz_copy(&in);
    any_bytes(copy, in.size);
    free(copy);
}
