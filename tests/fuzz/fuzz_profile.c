/* SPDX-License-Identifier: BSD-2-Clause */
/* Profiles of KV caches, sound and not: what opens codes a small cache, the same
 * with vectors and without, and reads any bytes in the place of its objects. */
#include "tests/fuzz/fuzz_model.h"
#include <tessera/kv.h>
#include "codecs/kv/profile.h"
#include "lib/crc32c.h"

enum { DIM = 8, TOKENS = 70, HIDDEN = 2, WORDS = 6, HEADER = 160 };

static const tsr_kv_shape shape = { .layers = 1, .planes = 2, .heads = { 1, 1 },
                                    .dim = { DIM, DIM } };

static void put_ints(fuzz_maker *m, const char *name, const char *dims,
                     const int32_t *value, size_t n)
{
    uint8_t *p = fuzz_tensor(m, name, "I32", 4, dims, n);

    for (size_t i = 0; i < n; i++)
        tsri_put32(p + 4 * i, (uint32_t)value[i]);
}

static void put_float(uint8_t *p, float value)
{
    uint32_t bits;

    memcpy(&bits, &value, sizeof bits);
    tsri_put32(p, bits);
}

/* n x n, the identity turned a little. */
static void put_matrix(fuzz_maker *m, const char *name, int r, int n, fuzz_input *in)
{
    char dims[32];

    snprintf(dims, sizeof dims, "%d,%d", r, n);
    uint8_t *p = fuzz_tensor(m, name, "F32", 4, dims, (size_t)(r * n));
    for (int i = 0; i < r * n; i++)
        put_float(p + 4 * i, i / n == i % n ? 1 : (float)(int8_t)fuzz_u8(in) / 1024);
}

static void group(fuzz_maker *m, int g, int n, int r, int matches, int predictors,
                  fuzz_input *in)
{
    char name[32], dims[32];

    snprintf(name, sizeof name, "g.%d.mean", g);
    snprintf(dims, sizeof dims, "%d", n);
    fuzz_tensor(m, name, "F32", 4, dims, (size_t)n);
    snprintf(name, sizeof name, "g.%d.forward", g);
    put_matrix(m, name, r, n, in);
    snprintf(name, sizeof name, "g.%d.inverse", g);
    put_matrix(m, name, r, n, in);
    snprintf(dims, sizeof dims, "%d,%d", matches, r);
    snprintf(name, sizeof name, "g.%d.class", g);
    uint8_t *p = fuzz_tensor(m, name, "U8", 1, dims, (size_t)(matches * r));
    for (int i = 0; i < matches * r; i++)
        p[i] = (uint8_t)(fuzz_u8(in) % 64);
    snprintf(name, sizeof name, "g.%d.rho", g);
    p = fuzz_tensor(m, name, "I8", 1, dims, (size_t)(matches * r));
    for (int i = 0; i < matches * r; i++)
        p[i] = (uint8_t)fuzz_u8(in);
    if (!predictors)
        return;
    snprintf(name, sizeof name, "g.%d.words", g);
    put_matrix(m, name, predictors * HIDDEN + 1, n, in);
}

static void common(fuzz_maker *m, fuzz_input *in, bool joined, int predictors)
{
    static const int32_t sizes[6] = { 1, 2, 1, DIM, 1, DIM };
    static const int32_t planes[6] = { 0, 1, 0, 0, 1, 1 }, all[3] = { 0, 1, -1 };
    const int32_t reference[2] = { (int32_t)fuzz_below(in, 4), 0 };
    const int32_t anchored[2] = { 2, 1 + (int32_t)fuzz_below(in, 40) };

    put_ints(m, "kv.shape", "6", sizes, 6);
    fuzz_tensor(m, "kv.rope", "F64", 8, "9", 9);
    put_ints(m, "kv.groups", joined ? "1,3" : "2,3", joined ? all : planes,
             joined ? 3 : 6);
    put_float(fuzz_tensor(m, "kv.step", "F32", 4, "1", 1), 0.125f);
    put_ints(m, "kv.bias", "1", &(int32_t){ (int32_t)fuzz_below(in, 64) }, 1);
    put_ints(m, "kv.dead", "1", &(int32_t){ (int32_t)fuzz_below(in, 65) }, 1);
    put_ints(m, "kv.hadamard", "1", &(int32_t){ (int32_t)fuzz_below(in, 2) }, 1);
    put_ints(m, "kv.reference", "2", reference[0] == 2 ? anchored : reference, 2);
    put_ints(m, "kv.predictors", "1", &(int32_t){ predictors }, 1);
    if (predictors) {
        char dims[32];
        snprintf(dims, sizeof dims, "%d,%d", WORDS, HIDDEN);
        uint8_t *p = fuzz_tensor(m, "embedding", "F16", 2, dims, WORDS * HIDDEN);
        for (int i = 0; i < WORDS * HIDDEN; i++)
            tsri_put16(p + 2 * i, (uint16_t)(0x3400 + fuzz_u8(in)));
    }
}

/* A profile of the input's making, its bytes changed if the input says so; NULL:
 * no model file any more. */
static tsr_model *make_profile(fuzz_input *in, bool *sound)
{
    fuzz_maker *m = calloc(1, sizeof *m);
    const uint32_t how = fuzz_u8(in);
    const bool joined = how & 1;
    const int predictors = how & 2 ? 1 + (int)fuzz_below(in, 4) : 0;
    const int n = joined ? 2 * DIM : DIM, matches = how & 4 ? 8 : 1;
    tsr_model *model = NULL;

    FUZZ_CHECK(m);
    fuzz_meta(m, "tessera.codec", "kv-profile");
    common(m, in, joined, predictors);
    for (int g = 0; g < (joined ? 1 : 2); g++)
        group(m, g, n, how & 8 ? n : 1 + (int)fuzz_below(in, (uint32_t)n), matches,
              predictors, in);
    *sound = !(how & 16);
    for (int i = 0; !*sound && i < 6 && in->size; i++) {
        const uint32_t at = fuzz_u16(in);
        if (at & 1)
            m->data[at / 2 % m->used] = (uint8_t)fuzz_u8(in);
        else    /* a digit of a shape, say */
            m->head[at / 2 % m->head_used] = (char)('0' + fuzz_below(in, 12));
    }
    (void)!fuzz_open_model(&model, m);
    free(m);
    return model;
}

typedef struct coder {
    tsr_kv *kv;
    tsr_kv_call call;
    int32_t ids[TOKENS];
} coder;

static bool open_coder(coder *c, bool plain, tsr_model *profile, const fuzz_input *in)
{
    tsr_kv_settings s;

    *c = (coder){ .kv = NULL };
    tsr_kv_settings_init(&s);
    s.shape = shape;
    s.profile = profile;
    s.levels = 2;
    s.step = 1;
    const tsr_error error = tsr_kv_open(&c->kv, fuzz_context(plain), &s);
    FUZZ_CHECK(error != TSR_E_INTERNAL && error != TSR_E_ARG);
    if (error)
        return false;
    FUZZ_CHECK(!tsr_kv_scratch_size(c->kv, TOKENS, &c->call.scratch_size));
    c->call.scratch = aligned_alloc(64, (c->call.scratch_size + 63) & ~(size_t)63);
    FUZZ_CHECK(c->call.scratch);
    for (size_t i = 0; i < TOKENS; i++)
        c->ids[i] = (int32_t)(fuzz_at(in, i) % (WORDS + 1));
    c->call.token_ids = c->ids;
    return true;
}

static void close_coder(coder *c)
{
    free(c->call.scratch);
    tsr_kv_close(&c->kv);
}

/* The object with its bytes changed here and there. */
static void read_changed(coder *c, uint8_t *object, size_t size, fuzz_input *in,
                         const tsr_kv_view *view)
{
    for (int i = 0; i < 8 && in->size; i++)
        object[HEADER + fuzz_u16(in) % (size - HEADER)] = (uint8_t)fuzz_u8(in);
    const tsr_error error = tsr_kv_decode(c->kv, object, size, NULL, view, &c->call);
    FUZZ_CHECK(error != TSR_E_INTERNAL);
}

static void code(coder *c, coder *plain, fuzz_input *in)
{
    static float x[2][TOKENS * DIM], y[2][TOKENS * DIM];
    void *from[2] = { x[0], x[1] }, *to[2] = { y[0], y[1] };
    tsr_kv_view view = { .dtype = TSR_KV_F32, .base = from, .tokens = TOKENS,
                         .token_stride = 4 * DIM, .head_stride = 4 * DIM };
    size_t room, size[2];

    for (size_t i = 0; i < 2 * TOKENS * DIM; i++)
        x[i / (TOKENS * DIM)][i % (TOKENS * DIM)] = (float)(int8_t)fuzz_at(in, i) / 16;
    FUZZ_CHECK(!tsr_kv_encode_bound(c->kv, TOKENS, &room));
    uint8_t *a = malloc(room), *b = malloc(room);
    FUZZ_CHECK(a && b);
    const tsr_error error = tsr_kv_encode(c->kv, &view, &c->call, a, room, &size[0]);
    FUZZ_CHECK(tsr_kv_encode(plain->kv, &view, &plain->call, b, room, &size[1]) ==
               error);
    FUZZ_CHECK(error || (size[0] == size[1] && !memcmp(a, b, size[0])));
    view.base = to;
    if (!error) {
        FUZZ_CHECK(!tsr_kv_decode(c->kv, a, size[0], NULL, &view, &c->call));
        read_changed(c, a, size[0], in, &view);
    }
    free(a);
    free(b);
}

void fuzz_target(const uint8_t *data, size_t size)
{
    fuzz_input in = { data, size };
    bool sound;
    tsr_model *profile = make_profile(&in, &sound);
    coder c, plain;

    if (!profile)
        return;
    const bool opened = open_coder(&c, false, profile, &in);
    if (opened && open_coder(&plain, true, profile, &in)) {
        code(&c, &plain, &in);
        close_coder(&plain);
    }
    if (opened)
        close_coder(&c);
    tsr_model_unref(&profile);
    FUZZ_CHECK(opened || !sound);
}
