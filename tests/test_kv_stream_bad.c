/* SPDX-License-Identifier: BSD-2-Clause */
/* Stores that fail, objects that are damaged, callers that give up: nothing wrong
 * is delivered as good, and what is there stays there. */
#include "tests/stream_case.h"

enum { CHUNKS = 5, TOKENS = 290, EACH = 64 };

static uint8_t *saved[MEM_OBJECTS];
static size_t saved_size[MEM_OBJECTS];

static void save(void)
{
    for (int i = 0; i < mem[0].objects; i++) {
        saved_size[i] = mem[0].object[i].size;
        saved[i] = malloc(saved_size[i] + 64);
        memcpy(saved[i], mem[0].object[i].data, saved_size[i]);
    }
}

static void restore(void)
{
    for (int i = 0; i < mem[0].objects; i++) {
        mem_object *o = &mem[0].object[i];
        free(o->data);
        o->size = saved_size[i];
        o->data = malloc(o->size + 64);
        memcpy(o->data, saved[i], o->size);
    }
    mem[0].read = 0;
}

static void forget(void)
{
    for (int i = 0; i < mem[0].objects; i++)
        free(saved[i]);
    mem_reset(0);
    mem_reset(1);
}

/** The object of chunk i. */
static mem_object *object_of(const stream_case *c, int i)
{
    tsr_kv_prefix p;
    char key[TSR_KV_NAME_TEXT];

    assert_int_equal(tsr_kv_prefix_begin(&p, "model of the tests", c->profile
        ? tsr_model_hash(c->profile) : NULL), TSR_OK);
    for (int k = 0; k <= i; k++) {
        const size_t first = (size_t)k * c->each;
        const size_t left = c->n - first;
        assert_int_equal(tsr_kv_prefix_add(&p, c->ids + first,
                                           left < c->each ? left : c->each),
                         TSR_OK);
    }
    tsr_kv_name_text(p.name, key);
    return mem_find(&mem[0], key);
}

static void push_all(const stream_case *c)
{
    const tsr_kv_stream_settings s = stream_settings(c, "redis://0");
    const tsr_kv_job_result r = stream_push(c, &s);

    assert_int_equal(r.error, TSR_OK);
    save();
}

/** Pulls with chunk `i` spoilt: it is missing and the others are right, or (fine:
 *  damage of finer levels only) it is all there in less quality. */
static void pull_spoilt(const stream_case *c, int i, int fine)
{
    tsr_kv_stream_settings s = stream_settings(c, "redis://0");
    kv_cache to, low;
    tsr_kv_job_result r;

    s.connections = 1 + (int)(mem[0].seed % 4);
    stream_room(c, &to);
    r = stream_pull(c, &s, &to);
    assert_true(*r.message);
    assert_int_equal(r.error, fine ? TSR_OK : TSR_E_MISSING);
    assert_int_equal(r.missing, !fine);
    assert_int_equal(r.tokens, fine ? c->n : (size_t)i * c->each);
    for (int k = 0; k < stream_chunks(c); k++) {
        const size_t first = (size_t)k * c->each;
        const size_t left = c->n - first;
        if (k != i)
            assert_true(stream_same(&to, &c->local, first,
                                    left < c->each ? left : c->each));
    }
    if (fine) {
        assert_true(r.mean_levels > 2 && r.mean_levels < 3);
        stream_room(c, &low);
        bool good = false;
        for (int level = 1; level < 3 && !good; level++) {
            stream_local_all(c, level, &low);
            good = stream_same(&to, &low, (size_t)i * c->each, c->each);
        }
        /* Layers before the damaged one may be finer. */
        assert_true(good || r.mean_levels > 2);
        kv_cache_close(&low);
    }
    kv_check_guards(&to);
    kv_cache_close(&to);
    restore();
}

/** A bit in head, front and each level; cuts; bytes behind the end. */
static void damage(void **state)
{
    check_rng rng = { 5 };
    (void)state;
    for (int k = 0; k < 2; k++) {
        stream_case c;
        tsr_kv_chunk chunk;
        mem_reset(0);
        stream_case_open(&c, TOKENS, EACH, 3, KV_NHD, k);
        push_all(&c);
        for (int round = 0; round < 40; round++) {
            const int i = (int)check_below(&rng, CHUNKS - 1);
            mem_object *o = object_of(&c, i);
            assert_non_null(o);
            assert_int_equal(tsr_kv_chunk_probe(c.ctx, o->data, o->size, &chunk),
                             TSR_OK);
            const uint64_t ends[6] = { 0, 128, chunk.front_bytes,
                                       chunk.level_end[0], chunk.level_end[1],
                                       chunk.level_end[2] };
            const int part = round % 5;
            const uint64_t at = ends[part] +
                check_below(&rng, (uint32_t)(ends[part + 1] - ends[part]));
            o->data[at] ^= (uint8_t)(1 << check_below(&rng, 8));
            /* The digest says nothing of a chunk that need not be whole. */
            if (at >= 48 && at < 80)
                o->data[0] ^= 1;
            pull_spoilt(&c, i, part > 2);
            o = object_of(&c, i);
            o->size = round % 4 ? check_below(&rng, (uint32_t)o->size)
                                : (size_t)(round / 4 % 2 ? 127 : 0);
            pull_spoilt(&c, i, 0);
            o = object_of(&c, i);
            o->size += 1 + check_below(&rng, 60);
            o->data = realloc(o->data, o->size);
            memset(o->data + saved_size[o - mem[0].object], 0,
                   o->size - saved_size[o - mem[0].object]);
            pull_spoilt(&c, i, 0);
        }
        forget();
        stream_case_close(&c);
    }
}

/** Good objects in the place of others. */
static void others(void **state)
{
    static const tsr_kv_shape wide = { .layers = 4, .planes = 2,
                                       .heads = { 2, 2 }, .dim = { 16, 16 } };
    stream_case c;
    tsr_context *ctx;
    size_t size;
    (void)state;
    mem_reset(0);
    stream_case_open(&c, TOKENS, EACH, 3, KV_THD, 0);
    push_all(&c);
    mem_object *a = object_of(&c, 1), *b = object_of(&c, 2);
    /* Another name. */
    memcpy(a->data, b->data, a->size < b->size ? a->size : b->size);
    pull_spoilt(&c, 1, 0);
    free(object_of(&c, 1)->data);
    a = object_of(&c, 1);
    a->size = object_of(&c, 2)->size;
    a->data = malloc(a->size);
    memcpy(a->data, object_of(&c, 2)->data, a->size);
    pull_spoilt(&c, 1, 0);
    /* Objects of another shape, profile, number of tokens or position that say
     * they have this name. */
    for (int k = 0; k < 4; k++) {
        stream_case x;
        kv_coder coder;
        uint8_t name[TSR_KV_NAME_BYTES];
        ctx = kv_quiet_context(1);
        stream_case_open(&x, k == 2 ? EACH - 1 : EACH, EACH, 3, KV_THD, k == 1);
        a = object_of(&c, 3);
        memcpy(name, a->data + 16, sizeof name);
        if (k == 0) {
            kv_cache_close(&x.cache);
            kv_cache_open(&x.cache, &wide, TSR_KV_F16, KV_THD, EACH);
            kv_fill(&x.cache, 3);
            x.codec.shape = wide;
        }
        tsr_kv_settings codec = x.codec;
        codec.profile = x.profile;
        codec.store_tokens = 0;
        kv_coder_open(&coder, ctx, &codec, EACH);
        coder.call.pos0 = k == 3 ? 3 * EACH + 1 : 3 * EACH;
        coder.call.token_ids = x.ids;
        assert_int_equal(kv_encode(&coder, &x.cache), TSR_OK);
        a->data = realloc(a->data, coder.size + 128);
        assert_int_equal(tsr_kv_chunk_wrap(ctx, name, coder.object, coder.size,
                                           a->data, coder.size + 128, &size),
                         TSR_OK);
        a->size = size;
        pull_spoilt(&c, 3, 0);
        kv_coder_close(&coder);
        tsr_context_close(&ctx);
        stream_case_close(&x);
    }
    forget();
    stream_case_close(&c);
}

/** Chunks that were stored with fewer levels. */
static void fewer_levels(void **state)
{
    stream_case c;
    tsr_kv_stream_settings s;
    tsr_kv_job_result r;
    kv_cache to;
    size_t size, small;
    (void)state;
    mem_reset(0);
    stream_case_open(&c, TOKENS, EACH, 3, KV_THD, 0);
    push_all(&c);
    s = stream_settings(&c, "redis://0");
    stream_room(&c, &to);
    for (int k = 0; k < 4; k++) {
        kv_coder coder;
        mem_object *o = object_of(&c, k);
        tsr_kv_settings codec = c.codec;
        codec.store_tokens = 0;
        kv_coder_open(&coder, c.ctx, &codec, EACH);
        stream_local(&c, &coder, 0, 0, &to);    /* the step */
        stream_local(&c, &coder, k, 0, &to);
        assert_int_equal(tsr_kv_reduce(c.ctx, coder.object, coder.size, 1 + k % 2,
                                       coder.object, coder.room, &small), TSR_OK);
        uint8_t name[TSR_KV_NAME_BYTES];
        memcpy(name, o->data + 16, sizeof name);
        assert_int_equal(tsr_kv_chunk_wrap(c.ctx, name, coder.object, small,
                                           o->data, o->size, &size), TSR_OK);
        o->size = size;
        kv_coder_close(&coder);
    }
    for (int k = 0; k < 3; k++) {
        s.deadline = k ? 60 : 0;
        s.floor = 1 + k;
        r = stream_pull(&c, &s, &to);
        for (int i = 0; i < CHUNKS; i++)    /* nothing came twice */
            r.bytes -= mem[0].object[i].size;
        assert_int_equal(r.bytes, 0);
        assert_int_equal(r.error, TSR_OK);
        assert_int_equal(r.tokens, TOKENS);
        assert_true(fabs(r.mean_levels - (1 + 2 + 1 + 2 + 3) / 5.) < 1e-9);
        assert_true(stream_same(&to, &c.local, 256, TOKENS - 256));
    }
    kv_cache_close(&to);
    forget();
    stream_case_close(&c);
}

/* ---- stores that fail ---- */

/** Failures that pass are only retries. */
static void weak_lines(void **state)
{
    (void)state;
    for (int k = 0; k < 8; k++) {
        stream_case c;
        tsr_kv_stream_settings s;
        tsr_kv_job_result r;
        kv_cache to;
        mem_reset(0);
        stream_case_open(&c, TOKENS, EACH, 2, KV_HTD, 0);
        s = stream_settings(&c, "redis://0");
        mem[0].seed = (unsigned)k;
        mem[0].fail_every = k % 2 ? 4 : 0;
        r = stream_push(&c, &s);
        assert_int_equal(r.error, TSR_OK);
        assert_true(!r.retried == !(k % 2));
        mem[0].break_every = 3;
        mem[0].fail_every = 0;
        stream_room(&c, &to);
        r = stream_pull(&c, &s, &to);
        assert_int_equal(r.error, TSR_OK);
        assert_true(r.retried > 0);
        assert_true(kv_same(&to, &c.local));
        kv_cache_close(&to);
        stream_case_close(&c);
    }
    mem_reset(0);
}

/** A push that was cut off goes on where it was: in all, every chunk is sent
 *  once. */
static void cut_push(void **state)
{
    stream_case c;
    tsr_kv_stream_settings s;
    tsr_kv_job_result r;
    kv_cache to;
    uint64_t all;
    (void)state;
    mem_reset(0);
    stream_case_open(&c, TOKENS, EACH, 3, KV_THD, 0);
    s = stream_settings(&c, "redis://0");
    s.store.retries = 0;
    r = stream_push(&c, &s);
    all = r.bytes;
    stream_room(&c, &to);
    for (int k = 1; k < 12; k++) {
        uint64_t sent;
        mem_reset(0);
        mem[0].die_after = k;
        r = stream_push(&c, &s);
        if (k < 10) {
            assert_int_equal(r.error, TSR_E_IO);
            assert_true(strstr(r.message, "the line is cut"));
        }
        sent = r.bytes;
        assert_int_equal(mem[0].written, sent);
        assert_true(r.tokens <= TOKENS);
        mem[0].die_after = 0;
        r = stream_push(&c, &s);
        assert_int_equal(r.error, TSR_OK);
        assert_int_equal(sent + r.bytes, all);
        r = stream_pull(&c, &s, &to);
        assert_true(kv_same(&to, &c.local));
    }
    kv_cache_close(&to);
    stream_case_close(&c);
    mem_reset(0);
}

static void check_interrupted(const stream_case *c, const tsr_kv_stream_settings *s,
                              const kv_cache *to, uint64_t all)
{
    tsr_kv_job_result r;
    for (int k = 1; k < 10; k++) {
        mem_reset(1);
        mem[0].calls = 0;
        mem[0].die_after = k;
        r = stream_pull(c, s, to);
        const int kept = mem[1].objects;
        const uint64_t came = mem[1].written;
        if (kept < CHUNKS)
            assert_int_equal(r.error, TSR_E_IO);
        assert_true(r.tokens >= (size_t)kept * EACH || r.tokens == TOKENS);
        assert_true(stream_same(to, &c->local, 0, r.tokens));
        mem[0].die_after = 0;
        r = stream_pull(c, s, to);
        assert_int_equal(r.error, TSR_OK);
        assert_int_equal(r.present, kept);
        /* The first guess may bring some bytes twice. */
        assert_true(r.bytes >= all - came && r.bytes <= all - came + 1000);
        assert_true(kv_same(to, &c->local));
    }
}

/* The cache holds all. */
static void check_cache(const stream_case *c, tsr_kv_stream_settings *s,
                        const kv_cache *to)
{
    tsr_kv_job_result r;
    mem[0].deny = 1;
    r = stream_pull(c, s, to);
    assert_int_equal(r.error, TSR_OK);
    assert_int_equal(r.present, CHUNKS);
    assert_int_equal(r.bytes, 0);
    /* What is damaged in the cache comes from the store, and is put right. */
    mem[0].deny = 0;
    mem[1].object[1].data[mem[1].object[1].size - 3] ^= 4;
    mem[1].object[2].size = 200;
    r = stream_pull(c, s, to);
    assert_int_equal(r.error, TSR_OK);
    assert_int_equal(r.present, CHUNKS - 2);
    assert_true(kv_same(to, &c->local));
    r = stream_pull(c, s, to);
    assert_int_equal(r.present, CHUNKS);
    /* A store that says no to one chunk is not asked again, the cache is. */
    for (int i = 1; i < 4; i += 2) {
        mem_object *o = mem_find(&mem[1], object_of(c, i)->key);
        o->key[0] = 'x';
    }
    mem[0].deny = 1;
    s->connections = 3;
    r = stream_pull(c, s, to);
    assert_int_equal(r.error, TSR_E_DENIED);
    assert_int_equal(r.present, CHUNKS - 2);
    assert_int_equal(r.missing, 2);
    assert_int_equal(r.tokens, EACH);
}

/** With a cache, a pull that was cut off fetches only what it has not; and needs
 *  no store when it has all. */
static void cut_pull(void **state)
{
    stream_case c;
    tsr_kv_stream_settings s;
    tsr_kv_job_result r;
    kv_cache to;
    uint64_t all;
    (void)state;
    mem_reset(0);
    stream_case_open(&c, TOKENS, EACH, 3, KV_NHD, 1);
    push_all(&c);
    s = stream_settings(&c, "redis://0");
    s.store.retries = 0;
    s.connections = 1;
    s.cache = "redis://1";
    stream_room(&c, &to);
    mem_reset(1);
    r = stream_pull(&c, &s, &to);
    all = r.bytes;
    assert_int_equal(mem[1].objects, CHUNKS);
    for (int i = 0; i < CHUNKS; i++) {
        mem_object *o = mem_find(&mem[1], mem[0].object[i].key);
        assert_non_null(o);
        assert_int_equal(o->size, mem[0].object[i].size);
        assert_memory_equal(o->data, mem[0].object[i].data, o->size);
    }
    check_interrupted(&c, &s, &to, all);
    check_cache(&c, &s, &to);
    kv_cache_close(&to);
    forget();
    stream_case_close(&c);
}

/* The store's token is not for the cache. */
static void token(void **state)
{
    stream_case c;
    tsr_kv_stream_settings s;
    kv_cache to;
    (void)state;
    mem_reset(0);
    mem_reset(1);
    stream_case_open(&c, TOKENS, EACH, 1, KV_THD, 0);
    push_all(&c);
    s = stream_settings(&c, "redis://0");
    s.cache = "redis://1";
    s.store.token = "secret";
    stream_room(&c, &to);
    assert_int_equal(stream_pull(&c, &s, &to).error, TSR_OK);
    assert_int_equal(mem[1].objects, CHUNKS);
    assert_true(mem[0].told_token);
    assert_false(mem[1].told_token);
    kv_cache_close(&to);
    forget();
    stream_case_close(&c);
}

/* The floor's two levels are there, the third is on its way when the store stops
 * answering: what is there is used at the deadline. */
static void stalled(void **state)
{
    enum { LONG = 512 };
    stream_case c;
    tsr_kv_chunk chunk;
    tsr_kv_stream_settings s;
    tsr_kv_job_result r;
    kv_cache to, low;
    (void)state;
    mem_reset(0);
    stream_case_open(&c, LONG, LONG, 3, KV_THD, 0);
    push_all(&c);
    assert_int_equal(tsr_kv_chunk_probe(c.ctx, mem[0].object[0].data,
                                        mem[0].object[0].size, &chunk), TSR_OK);
    mem[0].stall_after = chunk.level_end[1];
    s = stream_settings(&c, "redis://0");
    s.deadline = 0.6;
    s.floor = 2;
    stream_room(&c, &to);
    stream_room(&c, &low);
    r = stream_pull(&c, &s, &to);
    assert_int_equal(r.error, TSR_OK);
    assert_true(r.mean_levels == 2);
    stream_local_all(&c, 2, &low);
    assert_true(kv_same(&to, &low));
    kv_cache_close(&to);
    kv_cache_close(&low);
    forget();
    stream_case_close(&c);
}

static void refused(void **state)
{
    stream_case c;
    tsr_kv_stream_settings s;
    tsr_kv_job_result r;
    kv_cache to;
    (void)state;
    mem_reset(0);
    stream_case_open(&c, TOKENS, EACH, 1, KV_THD, 0);
    s = stream_settings(&c, "redis://0");
    stream_room(&c, &to);
    mem[0].deny = 1;
    r = stream_push(&c, &s);
    assert_int_equal(r.error, TSR_E_DENIED);
    assert_string_equal(r.message, "the token has expired");
    assert_int_equal(r.tokens, 0);
    r = stream_pull(&c, &s, &to);
    assert_int_equal(r.error, TSR_E_DENIED);
    assert_true(strstr(r.message, "the token has expired"));
    assert_int_equal(r.missing, CHUNKS);
    mem[0].deny = 0;
    r = stream_pull(&c, &s, &to);
    assert_int_equal(r.error, TSR_E_MISSING);
    assert_int_equal(r.missing, CHUNKS);
    kv_cache_close(&to);
    stream_case_close(&c);
    mem_reset(0);
}

/* ---- callers that give up ---- */

static void give_up(const stream_case *c, int k, check_rng *rng)
{
    tsr_kv_stream_settings s = stream_settings(c, "redis://0");
    tsr_kv_job_result r;
    tsr_kv_job *job;
    kv_cache to;

    s.connections = 1 + k % 6;
    s.cache = k % 3 ? NULL : "redis://1";
    s.deadline = k % 2 ? 0.02 : 0;
    stream_room(c, &to);
    if (k % 4 == 3)
        assert_int_equal(tsr_kv_push_begin(&job, &s, &c->codec, &c->cache.view,
                                           c->ids, c->pos0), TSR_OK);
    else
        assert_int_equal(tsr_kv_pull_begin(&job, &s, &c->shape, &to.view, c->ids,
                                           c->n), TSR_OK);
    store_pause(1e-6 * check_below(rng, 20000));
    if (k % 5)
        tsr_kv_job_cancel(job);
    if (k % 5 == 1) {
        assert_int_equal(tsr_kv_job_wait(job, -1, &r), TSR_OK);
        assert_true(r.error == TSR_E_CANCELED || r.error == TSR_OK);
        assert_true(k % 4 == 3 || stream_same(&to, &c->local, 0, 0));
    }
    tsr_kv_job_close(&job);
    kv_check_guards(&to);
    kv_cache_close(&to);
}

static void cancel(void **state)
{
    check_rng rng = { 11 };
    stream_case c;
    (void)state;
    mem_reset(0);
    stream_case_open(&c, TOKENS, EACH, 3, KV_HND, 0);
    push_all(&c);
    for (int k = 0; k < 120; k++) {
        if (k % 4 == 3)
            mem_reset(0);
        if (k % 4 == 0)
            mem_reset(1);
        if (k % 4 == 0 && mem[0].objects < CHUNKS) {
            tsr_kv_stream_settings s = stream_settings(&c, "redis://0");
            mem_reset(0);
            assert_int_equal(stream_push(&c, &s).error, TSR_OK);
        }
        mem[0].jitter = 3000;
        mem[0].rate = k % 2 ? 4e6 : 0;
        mem[0].stall = k % 7 == 0;
        give_up(&c, k, &rng);
        mem[0].stall = 0;
    }
    mem_reset(0);
    mem_reset(1);
    stream_case_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(damage), cmocka_unit_test(others),
        cmocka_unit_test(fewer_levels), cmocka_unit_test(weak_lines),
        cmocka_unit_test(cut_push), cmocka_unit_test(cut_pull),
        cmocka_unit_test(token), cmocka_unit_test(stalled),
        cmocka_unit_test(refused), cmocka_unit_test(cancel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
