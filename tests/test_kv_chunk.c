/* SPDX-License-Identifier: BSD-2-Clause */
/* Names of chunks, and chunks as stores keep them: parts from ranges, and no
 * damage that is not noticed. */
#include "tests/kv_profile_gen.h"
#include <tessera/kv_chunk.h>
#include "lib/bytes.h"
#include "lib/crc32c.h"

enum { HEAD = TSR_KV_CHUNK_HEAD, MOST = 1000, POISON = 0xa5 };
static const char path[] = "./test_kv_chunk.safetensors";
static const uint8_t name[TSR_KV_NAME_BYTES] =
    "a name of thirty-two bytes, more";

/* ---- names ---- */

static void check_name_is(const tsr_kv_prefix *prefix, const char *want)
{
    char text[TSR_KV_NAME_TEXT];
    uint8_t back[TSR_KV_NAME_BYTES];

    tsr_kv_name_text(prefix->name, text);
    assert_string_equal(text, want);
    assert_int_equal(tsr_kv_name_parse(text, back), TSR_OK);
    assert_memory_equal(back, prefix->name, sizeof back);
}

/* The values are those of Python's hashlib, from the definition on the page. */
static void test_names(void **state)
{
    static const uint8_t profile[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };
    int32_t ids[300] = { -1 };
    tsr_kv_prefix p;

    (void)state;
    for (int i = 0; i < 299; i++)
        ids[i + 1] = (int32_t)((int64_t)i * i * 7919 % 128256);
    assert_int_equal(tsr_kv_prefix_begin(&p, "llama-3-8b@1a2b tp0/2", NULL),
                     TSR_OK);
    check_name_is(&p, "33c09122408db139890f778c0e9a01cf"
                      "b30e051b6e6413b37af4acfe63db0175");
    assert_int_equal(tsr_kv_prefix_add(&p, (int32_t[]){ 1, 2, 3 }, 3), TSR_OK);
    check_name_is(&p, "d12dd33034e8aa99cc443fd80fe4f04b"
                      "77f1cf1594b5f0798bbbd81617a2b1f6");
    assert_int_equal(tsr_kv_prefix_add(&p, ids, 300), TSR_OK);
    check_name_is(&p, "13ecd44c6dd15b3f2239af8a792d598d"
                      "8233418c380ec7840935356cf5b5d4fe");
    assert_int_equal(p.tokens, 303);
    assert_int_equal(tsr_kv_prefix_begin(&p, "m", profile), TSR_OK);
    check_name_is(&p, "4b0693f9cd039c438e42b8b580beae46"
                      "a18d2734646cd33554d78d57559208a4");
    assert_int_equal(tsr_kv_prefix_add(&p, (int32_t[]){ 0 }, 1), TSR_OK);
    check_name_is(&p, "099a9dbceb95ee32846867191e6fe64f"
                      "25d0a6d9a0a6914e10c168774bc76412");
}

static void test_bad_names(void **state)
{
    char text[TSR_KV_NAME_TEXT + 1], model[1025];
    uint8_t back[TSR_KV_NAME_BYTES];
    tsr_kv_prefix p;

    (void)state;
    memset(model, 'm', sizeof model);
    model[1024] = 0;
    assert_int_equal(tsr_kv_prefix_begin(&p, model, NULL), TSR_E_ARG);
    model[1023] = 0;
    assert_int_equal(tsr_kv_prefix_begin(&p, "", NULL), TSR_E_ARG);
    assert_int_equal(tsr_kv_prefix_begin(&p, NULL, NULL), TSR_E_ARG);
    assert_int_equal(tsr_kv_prefix_begin(&p, model, NULL), TSR_OK);
    assert_int_equal(tsr_kv_prefix_add(&p, NULL, 1), TSR_E_ARG);
    assert_int_equal(tsr_kv_prefix_add(&p, (int32_t[]){ 1 }, 0), TSR_E_ARG);
    assert_int_equal(tsr_kv_prefix_add(&p, (int32_t[]){ 1 }, (1 << 20) + 1),
                     TSR_E_ARG);
    tsr_kv_name_text(p.name, text);
    for (int i = 0; i < TSR_KV_NAME_TEXT - 1; i++)
        for (int c = 0; c < 256; c++) {
            const char was = text[i];
            const bool digit = c && strchr("0123456789abcdef", c);
            text[i] = (char)c;
            assert_int_equal(tsr_kv_name_parse(text, back),
                             digit ? TSR_OK : TSR_E_ARG);
            text[i] = was;
        }
    memcpy(text + 64, "0", 2);
    assert_int_equal(tsr_kv_name_parse(text, back), TSR_E_ARG);
    assert_int_equal(tsr_kv_name_parse(NULL, back), TSR_E_ARG);
}

/* ---- objects ---- */

/* What an object is made with. */
typedef struct make {
    tsr_kv_shape shape;
    const kv_plan *plan;        /* of the profile; NULL: none */
    const char *method;         /* NULL: rows */
    int levels, tile;
    size_t tokens;
} make;

typedef struct fixture {
    tsr_context *ctx;
    tsr_model *model;
    int32_t *ids;
    kv_cache in, want, got;
    kv_coder k;                 /* k.object: the object */
    uint8_t *stored, *come, *object;    /* come: as far as it has come */
    size_t bytes;
    tsr_kv_info info;
    tsr_kv_chunk chunk;
} fixture;

static void setup_cache(fixture *f, const make *m, tsr_kv_settings *s)
{
    const tsr_kv_dtype dtype = m->plan ? TSR_KV_F32 : TSR_KV_F16;

    kv_cache_open(&f->in, &m->shape, dtype, KV_THD, m->tokens);
    kv_cache_open(&f->want, &m->shape, dtype, KV_NHD, m->tokens);
    kv_cache_open(&f->got, &m->shape, dtype, KV_NHD, m->tokens);
    tsr_kv_settings_init(s);
    s->shape = m->shape;
    if (m->plan) {
        f->ids = malloc((m->tokens + 1) * sizeof *f->ids);
        f->model = kv_plan_model(m->plan, f->ctx, path);
        kv_plan_ids(f->ids, m->tokens);
        kv_plan_fill(m->plan, &f->in, f->ctx, f->model, f->ids);
        s->profile = f->model;
    } else {
        kv_fill(&f->in, m->tokens + 1);
    }
}

static void setup(fixture *f, const make *m)
{
    tsr_kv_settings s;

    *f = (fixture){ .ctx = kv_quiet_context(2) };
    setup_cache(f, m, &s);
    s.method = m->method;
    s.levels = m->levels;
    s.tile = m->tile;
    kv_coder_open(&f->k, f->ctx, &s, m->tokens);
    f->k.call.pos0 = 77;
    f->k.call.token_ids = f->ids;
    assert_int_equal(kv_encode(&f->k, &f->in), TSR_OK);
    f->stored = malloc(f->k.size + HEAD);
    f->come = malloc(f->k.size + HEAD);
    f->object = malloc(f->k.size);
    assert_int_equal(tsr_kv_chunk_wrap(f->ctx, name, f->k.object, f->k.size,
                                       f->stored, f->k.size + HEAD, &f->bytes),
                     TSR_OK);
    assert_int_equal(f->bytes, f->k.size + HEAD);
    assert_int_equal(tsr_kv_probe(f->ctx, f->k.object, f->k.size, &f->info),
                     TSR_OK);
}

static void teardown(fixture *f)
{
    kv_coder_close(&f->k);
    kv_cache_close(&f->in);
    kv_cache_close(&f->want);
    kv_cache_close(&f->got);
    free(f->ids);
    free(f->stored);
    free(f->come);
    free(f->object);
    tsr_model_unref(&f->model);
    tsr_context_close(&f->ctx);
}

/* ---- round trips ---- */

/* Layers that are coded together have the same range; others follow each
 * other. */
static void check_layers(fixture *f, int level, uint64_t at)
{
    uint64_t begin, end, from = at;

    for (int layer = 0; layer < f->chunk.layers; layer++) {
        assert_int_equal(tsr_kv_chunk_range(f->ctx, f->stored, f->bytes, level,
                                            layer, 1, &begin, &end), TSR_OK);
        assert_true(begin == at || (begin == from && end == at));
        from = begin;
        at = end;
    }
    assert_int_equal(at, f->chunk.level_end[level]);
}

static void check_head(fixture *f)
{
    const tsr_kv_chunk *c = &f->chunk;
    tsr_kv_chunk again;
    uint64_t begin, end, at;

    assert_int_equal(tsr_kv_chunk_check(f->ctx, f->stored, f->bytes, name,
                                        &f->chunk), TSR_OK);
    assert_int_equal(tsr_kv_chunk_check(f->ctx, f->stored, f->bytes, NULL,
                                        &again), TSR_OK);
    assert_memory_equal(c, &again, sizeof again);
    assert_int_equal(tsr_kv_chunk_probe(f->ctx, f->stored, HEAD, &again),
                     TSR_OK);
    assert_memory_equal(c, &again, sizeof again);
    assert_memory_equal(c->name, name, sizeof name);
    assert_int_equal(c->tokens, f->info.tokens);
    assert_int_equal(c->pos0, 77);
    assert_int_equal(c->layers, f->info.shape.layers);
    assert_int_equal(c->levels, f->info.levels);
    assert_int_equal(c->object_bytes, f->info.bytes);
    assert_int_equal(c->bytes, f->bytes);
    at = c->front_bytes;
    assert_int_equal(at, HEAD + f->info.head_bytes + f->info.side_bytes);
    for (int k = 0; k < c->levels; k++) {
        assert_int_equal(tsr_kv_chunk_range(f->ctx, f->stored, c->front_bytes,
                                            k, 0, 0, &begin, &end), TSR_OK);
        assert_int_equal(begin, at);
        check_layers(f, k, at);
        at += f->info.level_bytes[k];
        assert_int_equal(end, at);
        assert_int_equal(end, c->level_end[k]);
    }
    for (int k = c->levels - 1; k < 3; k++)
        assert_int_equal(c->level_end[k], f->bytes);
}

/* Bytes come, and are placed in pieces of `piece` bytes. */
static void arrive(fixture *f, uint64_t begin, uint64_t end, uint64_t piece)
{
    for (uint64_t at = begin, next; at < end; at = next) {
        next = end - at < piece ? end : at + piece;
        memcpy(f->come + at, f->stored + at, next - at);
        assert_int_equal(tsr_kv_chunk_place(f->ctx, f->come, f->bytes, at, next,
                                            f->object, f->k.size), TSR_OK);
    }
}

static void check_part(fixture *f, const tsr_kv_part *part, uint64_t piece)
{
    const uint64_t front = f->chunk.front_bytes;
    const int levels = part->level ? part->level : f->chunk.levels;
    uint64_t begin, end;

    memset(f->come, POISON, f->bytes);
    memset(f->object, POISON, f->k.size);
    memcpy(f->come, f->stored, front);
    arrive(f, 0, front, front);
    for (int k = 0; k < levels; k++) {
        assert_int_equal(tsr_kv_chunk_range(f->ctx, f->come, front, k,
                                            part->first_layer, part->layers,
                                            &begin, &end), TSR_OK);
        assert_true(front <= begin && begin <= end && end <= f->bytes);
        arrive(f, begin, end, piece);
    }
    memset(f->want.memory, KV_GUARD_BYTE, f->want.bytes);
    memset(f->got.memory, KV_GUARD_BYTE, f->got.bytes);
    assert_int_equal(kv_decode(&f->k, part, &f->want), TSR_OK);
    assert_int_equal(tsr_kv_decode(f->k.kv, f->object, f->k.size, part,
                                   &f->got.view, &f->k.call), TSR_OK);
    /* Laid out alike, filled alike: what is not of the part, too. */
    assert_memory_equal(f->want.memory, f->got.memory, f->got.bytes);
}

static void check_parts(const make *m)
{
    fixture f;

    setup(&f, m);
    check_head(&f);
    memset(f.object, POISON, f.k.size);
    arrive(&f, 0, f.bytes, f.bytes);
    assert_memory_equal(f.object, f.k.object, f.k.size);
    memset(f.object, POISON, f.k.size);
    memcpy(f.come, f.stored, f.chunk.front_bytes);
    arrive(&f, 0, f.bytes, 97);
    assert_memory_equal(f.object, f.k.object, f.k.size);
    for (int first = 0; first < m->shape.layers; first++)
        for (int n = 0; n <= m->shape.layers - first; n++)
            for (int level = 0; level <= f.chunk.levels; level++)
                check_part(&f, &(tsr_kv_part){ .first_layer = first, .layers = n,
                                               .level = level }, 1000);
    check_part(&f, &(tsr_kv_part){ .first_token = m->tokens / 2,
                                   .tokens = m->tokens / 3 }, f.bytes);
    teardown(&f);
}

static const tsr_kv_shape shape = { 4, 2, { 2, 1 }, { 8, 16 } };
static const tsr_kv_shape shape_latent = { 2, 1, { 1 }, { 24 } };
static const tsr_kv_shape shape_small = { 3, 2, { 2, 3 }, { 32, 16 } };

static void test_plain(void **state)
{
    static const size_t tokens[] = { 0, 1, 4, 256, 257 };

    (void)state;
    for (int levels = 1; levels <= 3; levels++)
        check_parts(&(make){ shape_small, NULL, "rows", levels, 256, MOST });
    for (size_t i = 0; i < sizeof tokens / sizeof *tokens; i++)
        check_parts(&(make){ shape_small, NULL, "rows", 2, 32, tokens[i] });
}

static void test_methods(void **state)
{
    (void)state;
    check_parts(&(make){ shape_small, NULL, "cachegen", 1, 0, 600 });
    check_parts(&(make){ shape_small, NULL, "lossless", 1, 0, 600 });
    check_parts(&(make){ shape_small, NULL, "kivi", 1, 0, 0 });
}

static void test_profiles(void **state)
{
    static const kv_plan plans[] = {
        { &shape, 0, TSRI_KV_REF_NONE, 0, 1, 0, false },
        { &shape, 1, TSRI_KV_REF_MATCH, 2, 8, 0, false },
        { &shape, 2, TSRI_KV_REF_PREVIOUS, 0, 8, 0, true },
        { &shape, 4, TSRI_KV_REF_ANCHOR, 1, 1, 0, false },
        { &shape_latent, 2, TSRI_KV_REF_MATCH, 1, 1, 0, false },
    };

    (void)state;
    for (size_t i = 0; i < sizeof plans / sizeof *plans; i++)
        for (int levels = 1; levels <= 3; levels++)
            check_parts(&(make){ *plans[i].shape, &plans[i], "rows", levels, 32,
                                 levels == 2 ? 0 : 200 });
}

/* ---- damage ---- */

static const make small = { { 2, 2, { 1, 1 }, { 8, 8 } }, NULL, "rows", 2, 32,
                            40 };

static void test_damaged(void **state)
{
    fixture f;
    tsr_kv_chunk c;

    (void)state;
    setup(&f, &small);
    for (size_t i = 0; i < f.bytes; i++)
        for (int bit = 0; bit < 9; bit++) {
            const uint8_t flip = (uint8_t)(bit < 8 ? 1 << bit : 0xff);
            f.stored[i] ^= flip;
            assert_int_not_equal(tsr_kv_chunk_check(f.ctx, f.stored, f.bytes,
                                                    NULL, &c), TSR_OK);
            if (i < HEAD)
                assert_int_not_equal(tsr_kv_chunk_probe(f.ctx, f.stored,
                                                        f.bytes, &c), TSR_OK);
            f.stored[i] ^= flip;
        }
    for (size_t size = 0; size < f.bytes; size++) {
        uint8_t *cut = malloc(size + 1);
        memcpy(cut, f.stored, size);
        assert_int_equal(tsr_kv_chunk_check(f.ctx, cut, size, name, &c),
                         size < 4 ? TSR_E_FORMAT : TSR_E_TRUNCATED);
        free(cut);
    }
    assert_int_equal(tsr_kv_chunk_check(f.ctx, f.stored, f.bytes, name, &c),
                     TSR_OK);
    f.stored = realloc(f.stored, f.bytes + 1);
    f.stored[f.bytes] = 0;
    assert_int_equal(tsr_kv_chunk_check(f.ctx, f.stored, f.bytes + 1, name, &c),
                     TSR_E_CORRUPT);
    teardown(&f);
}

/* A head that lies, with a checksum that fits. */
static void test_lies(void **state)
{
    static const uint8_t flips[] = { 1, 2, 0x40, 0x80, 0xff };
    uint8_t other[TSR_KV_NAME_BYTES];
    uint64_t begin, end;
    fixture f;
    tsr_kv_chunk c;

    (void)state;
    setup(&f, &small);
    for (size_t i = 0; i < HEAD - 4; i++)
        for (size_t k = 0; k < sizeof flips; k++) {
            f.stored[i] ^= flips[k];
            tsri_put32(f.stored + 124, tsri_crc32c(0, f.stored, 124));
            assert_int_not_equal(tsr_kv_chunk_check(f.ctx, f.stored, f.bytes,
                                                    name, &c), TSR_OK);
            const tsr_error range = tsr_kv_chunk_range(
                f.ctx, f.stored, f.bytes, 0, 0, 0, &begin, &end);
            /* Name and digest are no matter of these. */
            assert_true((range == TSR_OK) == (i >= 16 && i < 80));
            assert_true(tsr_kv_chunk_place(f.ctx, f.stored, f.bytes, 0, f.bytes,
                                           f.object, f.k.size) == range);
            f.stored[i] ^= flips[k];
        }
    tsri_put32(f.stored + 124, tsri_crc32c(0, f.stored, 124));
    memcpy(other, name, sizeof other);
    other[31] ^= 1;
    assert_int_equal(tsr_kv_chunk_check(f.ctx, f.stored, f.bytes, other, &c),
                     TSR_E_MODEL);
    f.stored[4] = 2;
    assert_int_equal(tsr_kv_chunk_probe(f.ctx, f.stored, f.bytes, &c),
                     TSR_E_VERSION);
    teardown(&f);
}

/* What a head says alone, within the limits and out of them. */
static void test_limits(void **state)
{
    static const struct { int at, bytes; uint64_t value; bool good; } cases[] = {
        { 5, 1, 0, false }, { 5, 1, 4, false }, { 5, 1, 3, true },
        { 6, 2, 0, false }, { 6, 2, 1025, false }, { 6, 2, 1024, true },
        { 8, 4, (1 << 20) + 1, false }, { 8, 4, 1 << 20, true },
        { 12, 4, 0x80000001, false }, { 12, 4, 0x80000000, true },
        { 80, 8, 999, false }, { 80, 8, 1001, false },
        { 80, 8, UINT64_MAX, false },
        { 88, 8, 291, false }, { 88, 8, 292, true }, { 88, 8, 501, false },
        { 88, 8, UINT64_MAX, false },
        { 96, 8, 299, false }, { 96, 8, 601, false }, { 104, 8, 499, false },
        { 104, 8, 1129, false }, { 112, 8, 1127, false },
        { 112, 8, 1129, false }, { 120, 4, 1, false },
    };
    tsr_context *ctx = kv_quiet_context(1);
    tsr_kv_chunk c;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t head[HEAD] = { 0x89, 'T', 'K', 'S', 1, 3, 2 };
        tsri_put64(head + 80, 1000);
        tsri_put64(head + 88, 300);
        tsri_put64(head + 96, 500);
        tsri_put64(head + 104, 600);
        tsri_put64(head + 112, 1128);
        for (int k = 0; k < cases[i].bytes; k++)
            head[cases[i].at + k] = (uint8_t)(cases[i].value >> 8 * k);
        tsri_put32(head + 124, tsri_crc32c(0, head, 124));
        assert_int_equal(tsr_kv_chunk_probe(ctx, head, HEAD, &c),
                         cases[i].good ? TSR_OK : TSR_E_CORRUPT);
    }
    /* The largest object there may be, and one byte more. */
    for (uint64_t more = 0; more < 2; more++) {
        uint8_t head[HEAD] = { 0x89, 'T', 'K', 'S', 1, 1, 2 };
        tsri_put64(head + 80, ((uint64_t)1 << 48) + more);
        tsri_put64(head + 88, 300);
        for (int k = 0; k < 3; k++)
            tsri_put64(head + 96 + 8 * k, ((uint64_t)1 << 48) + 128 + more);
        tsri_put32(head + 124, tsri_crc32c(0, head, 124));
        assert_int_equal(tsr_kv_chunk_probe(ctx, head, HEAD, &c),
                         more ? TSR_E_CORRUPT : TSR_OK);
    }
    tsr_context_close(&ctx);
}

static void test_bad_objects(void **state)
{
    const size_t ample = 1 << 16;
    uint8_t *out = malloc(ample);
    size_t bytes;
    fixture f;

    (void)state;
    setup(&f, &small);
    for (size_t i = 0; i < f.k.size; i++) {
        f.k.object[i] ^= 0x10;
        assert_int_not_equal(tsr_kv_chunk_wrap(f.ctx, name, f.k.object,
                                               f.k.size, out, ample, &bytes),
                             TSR_OK);
        assert_int_equal(bytes, 0);
        f.k.object[i] ^= 0x10;
        assert_int_equal(tsr_kv_chunk_wrap(f.ctx, name, f.k.object, i, out,
                                           ample, &bytes),
                         i < 4 ? TSR_E_FORMAT : TSR_E_TRUNCATED);
    }
    for (size_t room = 0; room < f.bytes; room++)
        assert_int_equal(tsr_kv_chunk_wrap(f.ctx, name, f.k.object, f.k.size,
                                           out, room, &bytes), TSR_E_LIMIT);
    /* Bytes behind an object are not of it. */
    assert_int_equal(tsr_kv_chunk_wrap(f.ctx, name, f.k.object, f.k.size + 1,
                                       out, f.bytes, &bytes), TSR_OK);
    assert_int_equal(bytes, f.bytes);
    assert_memory_equal(out, f.stored, f.bytes);
    free(out);
    teardown(&f);
}

/* Where units lie wholly in the range, damage is noticed. */
static void test_damaged_on_the_way(void **state)
{
    fixture f;

    (void)state;
    setup(&f, &small);
    check_head(&f);
    for (size_t i = HEAD; i < f.bytes; i++) {
        const uint64_t begin = i < f.chunk.front_bytes ? 0 : f.chunk.front_bytes;
        const uint64_t end = begin ? f.bytes : f.chunk.front_bytes;
        f.stored[i] ^= 4;
        assert_int_not_equal(tsr_kv_chunk_place(f.ctx, f.stored, f.bytes, begin,
                                                end, f.object, f.k.size),
                             TSR_OK);
        f.stored[i] ^= 4;
    }
    /* What is cut off is the decoder's to find. */
    f.stored[f.bytes - 1] ^= 4;
    assert_int_equal(tsr_kv_chunk_place(f.ctx, f.stored, f.bytes,
                                        f.chunk.front_bytes, f.bytes - 1,
                                        f.object, f.k.size), TSR_OK);
    teardown(&f);
}

static tsr_error range_of(fixture *f, size_t size, int level, int first, int n)
{
    uint64_t begin, end;
    return tsr_kv_chunk_range(f->ctx, f->stored, size, level, first, n, &begin,
                              &end);
}

static tsr_error place_of(fixture *f, size_t size, uint64_t begin, uint64_t end,
                          size_t room)
{
    return tsr_kv_chunk_place(f->ctx, f->stored, size, begin, end, f->object,
                              room);
}

static void test_arguments(void **state)
{
    fixture f;

    (void)state;
    setup(&f, &small);
    check_head(&f);
    const size_t front = (size_t)f.chunk.front_bytes, room = f.k.size;
    assert_int_equal(range_of(&f, front - 1, 0, 0, 0), TSR_E_TRUNCATED);
    assert_int_equal(range_of(&f, front, -1, 0, 0), TSR_E_ARG);
    assert_int_equal(range_of(&f, front, 2, 0, 0), TSR_E_ARG);
    assert_int_equal(range_of(&f, front, 0, -1, 1), TSR_E_ARG);
    assert_int_equal(range_of(&f, front, 0, 1, 2), TSR_E_ARG);
    assert_int_equal(range_of(&f, front, 0, 3, 0), TSR_E_ARG);
    assert_int_equal(range_of(&f, front, 0, 0, INT32_MAX), TSR_E_ARG);
    assert_int_equal(range_of(&f, front, 0, 1, -1), TSR_E_ARG);
    assert_int_equal(range_of(&f, front, 1, 2, 0), TSR_OK);
    assert_int_equal(place_of(&f, front - 1, 0, 0, room), TSR_E_TRUNCATED);
    assert_int_equal(place_of(&f, front, 0, front + 1, room), TSR_E_ARG);
    assert_int_equal(place_of(&f, front, 5, 4, room), TSR_E_ARG);
    assert_int_equal(place_of(&f, f.bytes, 0, UINT64_MAX, room), TSR_E_ARG);
    assert_int_equal(place_of(&f, f.bytes, 0, f.bytes, room - 1), TSR_E_LIMIT);
    assert_int_equal(place_of(&f, f.bytes, f.bytes, f.bytes, room), TSR_OK);
    teardown(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_bad_names),
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_methods),
        cmocka_unit_test(test_profiles),
        cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_lies),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_bad_objects),
        cmocka_unit_test(test_damaged_on_the_way),
        cmocka_unit_test(test_arguments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
