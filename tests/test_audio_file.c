/* SPDX-License-Identifier: BSD-2-Clause */
/* Sound as .tess streams, whole, in part, damaged and very long. */
#include "tests/audio_toy_case.h"
#include "tests/memory.h"
#include "tests/poor.h"
#include <tessera/stream.h>
#include "lib/crc32c.h"

/* ---- ends of streams ---- */

typedef struct tape {
    const float *x;
    size_t n, at, fail_at;
    int channels;
} tape;

static tsr_error tape_read(void *cookie, float *samples, size_t n, size_t *got)
{
    tape *t = cookie;

    if (t->fail_at && t->at >= t->fail_at)
        return TSR_E_BACKEND;
    *got = t->n - t->at < n ? t->n - t->at : n;
    *got = *got > 777 ? 777 : *got;
    memcpy(samples, t->x + t->at * (size_t)t->channels,
           *got * (size_t)t->channels * sizeof *samples);
    t->at += *got;
    return TSR_OK;
}

static mem_file encode(const form *f, const float *x, size_t n)
{
    tsr_audio_settings settings = settings_of(f);
    tape t = { x, n, 0, 0, f->channels };
    const tsr_audio_source source = { &t, tape_read, n };
    mem_file m = { 0 };
    const tsr_sink sink = { &m, mem_write };

    assert_int_equal(tsr_audio_encode(quiet, model[f->toy], &settings, &source, &sink),
                     TSR_OK);
    return m;
}

typedef struct speaker {
    sound_samples got;
    int begun;
    tsr_error answer;
} speaker;

static tsr_error speaker_begin(void *cookie, int rate, int channels)
{
    speaker *s = cookie;

    assert_int_equal(s->begun++, 0);
    s->got.rate = rate;
    s->got.channels = channels;
    return TSR_OK;
}

static tsr_error speaker_write(void *cookie, const float *samples, size_t n)
{
    speaker *s = cookie;
    const size_t channels = (size_t)s->got.channels;

    assert_int_equal(s->begun, 1);
    assert_true(n > 0);
    s->got.x = realloc(s->got.x, (s->got.n + n) * channels * sizeof *samples);
    assert_non_null(s->got.x);
    memcpy(s->got.x + s->got.n * channels, samples, n * channels * sizeof *samples);
    s->got.n += n;
    return s->answer;
}

static tsr_error decode(tsr_model *m, const mem_file *file, uint64_t start,
                        uint64_t length, speaker *s)
{
    mem_file from = { .data = file->data, .size = file->size, .step = 1000 };
    const tsr_source source = { &from, mem_read };
    const tsr_audio_sink sink = { s, speaker_begin, speaker_write };

    *s = (speaker){ 0 };
    return tsr_audio_decode(quiet, m, NULL, &source, start, length, &sink);
}

static tsr_error probe(const mem_file *file, tsr_audio_info *info)
{
    mem_file from = { .data = file->data, .size = file->size };
    const tsr_source source = { &from, mem_read };
    return tsr_audio_probe(quiet, &source, info);
}

/* ---- whole files ---- */

static const form forms[] = {
    { TOY_MONO, 1, 4, 100, 1, 0, 0 }, { TOY_TAIL, 4, 8, 333, 4, 1, 0 },
    { TOY_SEGMENTS, 2, 4, 200, 1, 1, 1 },
};

/* A file has the packets that an encoder gives, and sounds the same. */
static void test_files(void **state)
{
    static const size_t lengths[] = { 0, 1, 5, 4000, 4096, 10001 };
    (void)state;

    for (int i = 0; i < 18; i++) {
        const form *f = &forms[i / 6];
        const size_t n = lengths[i % 6];
        const tsr_audio_settings settings = settings_of(f);
        float *x = sound_tones(n, f->channels, 3);
        mem_file file = encode(f, x, n);
        sound_stream s = sound_encode(quiet, model[f->toy], &settings, x, n,
                                      f->channels, 0, 1);
        sound_samples want = sound_decode(quiet, model[f->toy], &s, 0, 0, NULL);
        speaker out;
        assert_int_equal(decode(model[f->toy], &file, 0, UINT64_MAX, &out), TSR_OK);
        assert_int_equal(out.begun, 1);
        assert_int_equal(out.got.rate, 8000);
        sound_same_samples(&out.got, &want);
        free(out.got.x);
        free(want.x);
        free(file.data);
        free(x);
        sound_free_stream(&s);
    }
}

/* Any part of a file is that part of the whole: toys remember one sample only,
 * and lost ones must not be invented in front of it. */
static void test_parts(void **state)
{
    const size_t n = 40000;
    (void)state;

    for (int i = 0; i < 3; i++) {
        const form *f = &forms[i];
        const size_t channels = (size_t)f->channels;
        float *x = sound_tones(n, f->channels, 3);
        mem_file file = encode(f, x, n);
        speaker all, part;
        check_rng rng = { 7 };
        const size_t step = i < 2 ? (size_t)f->frames * TOY_HOP : 2 * 396;
        assert_int_equal(decode(model[f->toy], &file, 0, UINT64_MAX, &all), TSR_OK);
        for (int j = 0; j < 15; j++) {
            /* Now and then where a packet begins. */
            const size_t any = check_below(&rng, n + 1000);
            const size_t start = j % 4 ? any : any / step * step;
            const size_t length = j % 3 ? check_below(&rng, 5000) : SIZE_MAX;
            const size_t left = start < n ? n - start : 0;
            const size_t want = left < length ? left : length;
            assert_int_equal(decode(model[f->toy], &file, start, length, &part),
                             TSR_OK);
            assert_int_equal(part.begun, 1);
            assert_int_equal(part.got.n, want);
            if (want)
                assert_memory_equal(part.got.x, all.got.x + start * channels,
                                    want * channels * sizeof *x);
            free(part.got.x);
        }
        free(all.got.x);
        free(file.data);
        free(x);
    }
}

static void test_probe(void **state)
{
    (void)state;

    for (int i = 0; i < 3; i++) {
        const form *f = &forms[i];
        const size_t n = 10001;
        float *x = sound_tones(n, f->channels, 3);
        mem_file file = encode(f, x, n);
        tsr_audio_info info;
        uint64_t books = 0;
        assert_int_equal(probe(&file, &info), TSR_OK);
        assert_string_equal(info.codec, toys[f->toy].id);
        assert_memory_equal(info.model_hash, tsr_model_hash(model[f->toy]), 32);
        assert_string_equal(info.model_name, tsr_model_name(model[f->toy]));
        assert_int_equal(info.rate, 8000);
        assert_int_equal(info.channels, f->channels);
        assert_int_equal(info.groups, f->channels / toy_shapes[f->toy].channels);
        assert_int_equal(info.hop, TOY_HOP);
        assert_int_equal(info.books, f->books);
        assert_int_equal(info.codewords, TOY_WORDS);
        assert_int_equal(info.entropy, f->entropy);
        assert_int_equal(info.live, f->live);
        assert_int_equal(info.droppable, f->layers);
        assert_int_equal(info.samples, n);
        assert_int_equal(info.damaged, 0);
        assert_int_equal(info.file_bytes, file.size);
        assert_int_equal(info.header_bytes + info.token_bytes, file.size);
        assert_int_equal(info.fixed_bits, info.frames * 8 * (uint64_t)f->books *
                                              (uint64_t)info.groups);
        for (int k = 0; k < TSR_AUDIO_MAX_BOOKS; k++) {
            assert_true(!info.book_bytes[k] == !(f->layers && k < f->books));
            books += info.book_bytes[k];
        }
        assert_int_equal(books, f->layers ? info.token_bytes : 0);
        file.size -= 3; /* of the footer */
        assert_int_equal(probe(&file, &info), TSR_OK);
        assert_int_equal(info.damaged, 1);
        assert_int_equal(info.samples, n);
        free(file.data);
        free(x);
    }
}

/* ---- damage ---- */

/* Where the n-th DATA chunk begins, from 0; *bytes: its length, all in all. */
static size_t chunk_at(const mem_file *file, int n, size_t *bytes)
{
    size_t at = 16;

    for (;; at += *bytes) {
        const size_t payload = tsri_get32(file->data + at + 8);
        *bytes = (28 + payload + 7) / 8 * 8;
        if (!memcmp(file->data + at + 4, "DATA", 4) && !n--)
            return at;
    }
}

/* What is left of a file of which a part was damaged or removed is in its
 * place, and what is missing is as if its packet had been lost. */
static void test_damaged(void **state)
{
    const form f = { TOY_MONO, 1, 4, FRAMES, 1, 0, 0 };
    const tsr_audio_settings settings = settings_of(&f);
    float *x = sound_tones(10 * SPAN, 1, 3);
    mem_file file = encode(&f, x, 10 * SPAN);
    sound_stream s = sound_encode(quiet, model[TOY_MONO], &settings, x, 10 * SPAN, 1,
                                  0, 1);
    (void)state;

    for (int n = 0; n < 10; n++)
        for (int how = 0; how < 3; how++) {
            mem_file bad = { .data = sound_copy(file.data, file.size),
                           .size = file.size };
            char lost[10] = { 0 };
            size_t bytes;
            const size_t at_chunk = chunk_at(&file, n, &bytes);
            speaker out;
            lost[n] = 1;
            sound_samples want = sound_decode(quiet, model[TOY_MONO], &s, 0, 0, lost);
            if (how == 0)
                bad.data[at_chunk + 30] ^= 4; /* its payload */
            else if (how == 1)
                bad.data[at_chunk + 17] ^= 4; /* its header */
            else {
                memmove(bad.data + at_chunk, bad.data + at_chunk + bytes,
                        bad.size - at_chunk - bytes);
                bad.size -= bytes;
            }
            assert_int_equal(decode(model[TOY_MONO], &bad, 0, UINT64_MAX, &out),
                             TSR_E_CHECKSUM);
            sound_same_samples(&out.got, &want);
            free(out.got.x);
            free(want.x);
            free(bad.data);
        }
    sound_free_stream(&s);
    free(file.data);
    free(x);
}

/* A file that is cut anywhere. */
static void test_cut(void **state)
{
    const form f = { TOY_TAIL, 2, 8, FRAMES, 1, 0, 0 };
    float *x = sound_tones(5 * SPAN, 2, 3);
    mem_file file = encode(&f, x, 5 * SPAN), cut = file;
    speaker all, out;
    tsr_audio_info info;
    size_t least = 0;
    /* Both heads, less the padding of the second. */
    const size_t first = 16 + 56 + 28 + tsri_get32(file.data + 16 + 56 + 8);
    (void)state;

    assert_int_equal(decode(model[TOY_TAIL], &file, 0, UINT64_MAX, &all), TSR_OK);
    for (cut.size = 0; cut.size < file.size; cut.size++) {
        const tsr_error error = decode(model[TOY_TAIL], &cut, 0, UINT64_MAX, &out);
        if (cut.size < first) {
            assert_int_not_equal(error, TSR_OK);
            assert_int_equal(out.begun, 0);
            assert_int_not_equal(probe(&cut, &info), TSR_OK);
        } else {
            assert_int_equal(error, TSR_E_TRUNCATED);
            assert_true(out.got.n >= least && out.got.n % SPAN == 0);
            if (out.got.n)
                assert_memory_equal(out.got.x, all.got.x,
                                    out.got.n * 2 * sizeof *x);
            least = out.got.n;
            assert_int_equal(probe(&cut, &info), TSR_OK);
            assert_true(info.damaged && info.samples == out.got.n);
        }
        free(out.got.x);
    }
    assert_int_equal(least, 5 * SPAN);
    free(all.got.x);
    free(file.data);
    free(x);
}

/* A file made of given packets, with sound chunks. */
static mem_file make_file(const sound_stream *s, const size_t *order, size_t n)
{
    mem_file m = { 0 };
    const tsr_sink sink = { &m, mem_write };
    tsr_stream_writer *w;

    assert_int_equal(tsr_stream_writer_open(&w, quiet, &sink, TSR_KIND_AUDIO), TSR_OK);
    assert_int_equal(tsr_stream_writer_chunk(w, TSR_FOURCC('H', 'E', 'A', 'D'), 0, 0,
                                             s->extradata, 28), TSR_OK);
    assert_int_equal(tsr_stream_writer_chunk(w, TSR_FOURCC('M', 'O', 'D', 'L'), 0, 0,
                                             s->extradata + 28,
                                             s->extradata_bytes - 28), TSR_OK);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(tsr_stream_writer_chunk(
            w, TSR_FOURCC('D', 'A', 'T', 'A'), 0, s->packet[order[i]].is.pts,
            s->packet[order[i]].data, s->packet[order[i]].is.bytes), TSR_OK);
    assert_int_equal(tsr_stream_writer_finish(w), TSR_OK);
    tsr_stream_writer_close(&w);
    return m;
}

/* Gaps in the numbers are filled in full, even where live decoders give up; from
 * a start in the middle too. */
static void test_gaps_keep_time(void **state)
{
    const form f = { TOY_MONO, 1, 4, FRAMES, 1, 0, 0 };
    const tsr_audio_settings settings = settings_of(&f);
    const size_t n = 1200 * SPAN; /* 30 s */
    static const size_t order[] = { 1, 1199 };
    float *x = sound_tones(n, 1, 3);
    sound_stream s = sound_encode(quiet, model[TOY_MONO], &settings, x, n, 1, 0, 1);
    sound_samples good = sound_decode(quiet, model[TOY_MONO], &s, 0, 0, NULL);
    mem_file file = make_file(&s, order, 2);
    tsr_audio_info info;
    (void)state;

    assert_int_equal(probe(&file, &info), TSR_OK);
    assert_true(info.damaged && info.packets == 2 && info.samples == n);
    for (int i = 0; i < 2; i++) {
        const size_t start = i ? 700 * SPAN : 0;
        speaker out;
        assert_int_equal(decode(model[TOY_MONO], &file, start, UINT64_MAX, &out),
                         TSR_E_CORRUPT);
        assert_int_equal(out.got.n, n - start);
        assert_true(out.got.x[n - start - SPAN - 1] == 0);
        for (size_t t = n - SPAN + 81; t < n; t++)
            assert_float_equal(out.got.x[t - start], good.x[t], 1e-6f);
        free(out.got.x);
    }
    sound_free_stream(&s);
    free(good.x);
    free(file.data);
    free(x);
}

/* Chunks that are sound and packets that are not. */
static void test_bad_packets(void **state)
{
    const form f = { TOY_MONO, 1, 4, FRAMES, 1, 0, 0 };
    const tsr_audio_settings settings = settings_of(&f);
    static const size_t order[] = { 0, 1, 2, 3, 4 };
    float *x = sound_tones(5 * SPAN, 1, 3);
    (void)state;

    for (size_t n = 0; n < 5; n++) {
        sound_stream s = sound_encode(quiet, model[TOY_MONO], &settings, x, 5 * SPAN,
                                      1, 0, 1);
        char lost[5] = { 0 };
        speaker out;
        tsr_audio_info info;
        lost[n] = 1;
        sound_samples want = sound_decode(quiet, model[TOY_MONO], &s, 0, 0, lost);
        s.packet[n].is.bytes -= n % 2 ? 1 : s.packet[n].is.bytes - 3;
        mem_file file = make_file(&s, order, 5);
        assert_int_equal(decode(model[TOY_MONO], &file, 0, UINT64_MAX, &out),
                         TSR_E_CORRUPT);
        if (n < 4) {
            sound_same_samples(&out.got, &want);
        } else { /* where a packet is there, though damaged, is its place */
            assert_int_equal(out.got.n, 5 * SPAN);
            assert_memory_equal(out.got.x, want.x, want.n * sizeof *x);
        }
        assert_int_equal(probe(&file, &info), TSR_OK);
        sound_free_stream(&s);
        free(out.got.x);
        free(want.x);
        free(file.data);
    }
    free(x);
}

/* ---- errors ---- */

static int stop(void *cookie, double done)
{
    int *calls = cookie;
    assert_true(done >= 0 && done <= 1);
    return ++*calls == 2;
}

static void test_errors(void **state)
{
    const form f = { TOY_MONO, 1, 4, FRAMES, 1, 0, 0 };
    float *x = sound_tones(5 * SPAN, 1, 3);
    mem_file file = encode(&f, x, 5 * SPAN), failing = { 0 };
    tsr_audio_settings settings = settings_of(&f);
    tape t = { x, 5 * SPAN, 0, 700, 1 };
    const tsr_audio_source source = { &t, tape_read, 5 * SPAN };
    const tsr_sink sink = { &failing, mem_write };
    int calls = 0;
    speaker out;
    (void)state;

    assert_int_equal(tsr_audio_encode(quiet, model[TOY_MONO], &settings, &source,
                                      &sink), TSR_E_BACKEND);
    t.fail_at = t.at = failing.size = 0;
    failing.fail_at = 200;
    assert_int_equal(tsr_audio_encode(quiet, model[TOY_MONO], &settings, &source,
                                      &sink), TSR_E_IO);
    t.at = failing.size = failing.fail_at = 0;
    settings.progress = (tsr_progress){ &calls, stop };
    assert_int_equal(tsr_audio_encode(quiet, model[TOY_MONO], &settings, &source,
                                      &sink), TSR_E_CANCELED);
    free(failing.data);

    assert_int_equal(decode(model[TOY_SLOW], &file, 0, UINT64_MAX, &out), TSR_E_MODEL);
    assert_int_equal(decode(NULL, &file, 0, UINT64_MAX, &out), TSR_E_MODEL);
    assert_int_equal(out.begun, 0);
    mem_file from = file;
    from.fail_at = 300;
    const tsr_source bytes = { &from, mem_read };
    const tsr_audio_sink speaker_sink = { &out, speaker_begin, speaker_write };
    out = (speaker){ 0 };
    from.at = 0;
    from.step = 100;
    assert_int_equal(tsr_audio_decode(quiet, model[TOY_MONO], NULL, &bytes, 0,
                                      UINT64_MAX, &speaker_sink), TSR_E_IO);
    free(out.got.x);
    from = file;
    out = (speaker){ .answer = TSR_E_BACKEND };
    assert_int_equal(tsr_audio_decode(quiet, model[TOY_MONO], NULL, &bytes, 0,
                                      UINT64_MAX, &speaker_sink), TSR_E_BACKEND);
    free(out.got.x);
    from = file;
    out = (speaker){ 0 };
    calls = 0;
    const tsr_progress progress = { &calls, stop };
    assert_int_equal(tsr_audio_decode(quiet, model[TOY_MONO], &progress, &bytes, 0,
                                      700, &speaker_sink), TSR_E_CANCELED);
    free(out.got.x);
    file.data[10] = TSR_KIND_IMAGE;
    assert_int_equal(decode(model[TOY_MONO], &file, 0, UINT64_MAX, &out),
                     TSR_E_UNSUPPORTED);
    file.data[8] = 2;
    assert_int_equal(decode(model[TOY_MONO], &file, 0, UINT64_MAX, &out),
                     TSR_E_VERSION);
    file.data[0] = 'x';
    assert_int_equal(decode(model[TOY_MONO], &file, 0, UINT64_MAX, &out),
                     TSR_E_FORMAT);
    free(file.data);
    free(x);
}

/* Encodes, probes and decodes in memory that may run out. */
static tsr_error all_of_it(tsr_context *ctx, const form *f, const float *x, size_t n)
{
    const tsr_audio_settings settings = settings_of(f);
    tape t = { x, n, 0, 0, f->channels };
    const tsr_audio_source samples = { &t, tape_read, n };
    mem_file file = { 0 }, from;
    const tsr_sink sink = { &file, mem_write };
    const tsr_source source = { &from, mem_read };
    speaker out = { 0 };
    const tsr_audio_sink speakers = { &out, speaker_begin, speaker_write };
    tsr_audio_info info;
    tsr_error error = tsr_audio_encode(ctx, model[f->toy], &settings, &samples, &sink);

    from = file;
    if (!error)
        error = tsr_audio_probe(ctx, &source, &info);
    from.at = 0;
    if (!error)
        error = tsr_audio_decode(ctx, model[f->toy], NULL, &source, 0, UINT64_MAX,
                                 &speakers);
    free(file.data);
    free(out.got.x);
    return error;
}

static void test_no_memory(void **state)
{
    float *x = sound_tones(4000, 4, 2);
    (void)state;

    for (int i = 0; i < 3; i++) {
        tsr_context *ctx = poor_context("c", 1);
        const int held = poor_held;
        int n = 0;
        for (tsr_error error = TSR_E_NOMEM; error; n++) {
            poor_left = n;
            error = all_of_it(ctx, &forms[i], x, 4000);
            assert_true(!error || error == TSR_E_NOMEM);
            assert_int_equal(poor_held, held);
        }
        assert_true(n > 20);
        tsr_context_close(&ctx);
    }
    free(x);
}

/* ---- ten hours ---- */

static atomic_size_t bytes_held, bytes_most;

static void *count_alloc(void *cookie, size_t size, size_t align)
{
    (void)cookie;
    size_t *made = aligned_alloc(align, (size + 64 + align - 1) / align * align);
    if (!made)
        return NULL;
    *made = size;
    const size_t held = atomic_fetch_add(&bytes_held, size) + size;
    if (held > atomic_load(&bytes_most))
        atomic_store(&bytes_most, held);
    return made + 64 / sizeof *made;
}

static void count_free(void *cookie, void *given)
{
    size_t *start = (size_t *)given - 64 / sizeof *start;
    (void)cookie;
    bytes_held -= *start;
    free(start);
}

/* A tone that costs nothing to keep. */
static tsr_error drone_read(void *cookie, float *samples, size_t n, size_t *got)
{
    uint64_t *left = cookie;

    *got = *left < n ? (size_t)*left : n;
    for (size_t t = 0; t < *got; t++)
        samples[t] = (float)((*left - t) % 50) / 50;
    *left -= *got;
    return TSR_OK;
}

static tsr_error count_begin(void *cookie, int rate, int channels)
{
    (void)cookie;
    assert_true(rate == 200 && channels == 1);
    return TSR_OK;
}

static tsr_error count_write(void *cookie, const float *samples, size_t n)
{
    uint64_t *all = cookie;
    (void)samples;
    *all += n;
    return TSR_OK;
}

/* Encodes and decodes so many seconds; most: the memory it took but for the
 * index, 24 bytes a packet of 5 s. */
static void long_sound(tsr_context *ctx, uint64_t seconds, size_t most[2])
{
    uint64_t left = seconds * 200, all = 0;
    const tsr_audio_source source = { &left, drone_read, 0 };
    mem_file file = { 0 };
    const tsr_sink sink = { &file, mem_write };
    const tsr_source bytes = { &file, mem_read };
    const tsr_audio_sink counter = { &all, count_begin, count_write };
    const size_t before = bytes_held;

    bytes_most = bytes_held;
    assert_int_equal(tsr_audio_encode(ctx, model[TOY_SLOW], NULL, &source, &sink),
                     TSR_OK);
    most[0] = bytes_most - before - (size_t)seconds / 5 * 24;
    bytes_most = bytes_held;
    assert_int_equal(tsr_audio_decode(ctx, model[TOY_SLOW], NULL, &bytes, 0,
                                      UINT64_MAX, &counter), TSR_OK);
    most[1] = bytes_most - before;
    assert_int_equal(all, seconds * 200);
    assert_int_equal(bytes_held, before);
    free(file.data);
}

static void test_ten_hours(void **state)
{
    tsr_context_settings s;
    tsr_context *ctx;
    size_t minute[2], hours[2];
    (void)state;

    tsr_context_settings_init(&s);
    s.allocator = (tsr_allocator){ NULL, count_alloc, count_free };
    assert_int_equal(tsr_context_open(&ctx, &s), TSR_OK);
    long_sound(ctx, 60, minute);
    long_sound(ctx, 36000, hours);
    /* The index, 173 kB in all, is doubled while it grows; so is what is read of it. */
    assert_true(hours[0] <= minute[0] + 3 * 172800);
    assert_true(hours[1] <= minute[1] + 3 * 172800);
    tsr_context_close(&ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_probe),
        cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_cut),
        cmocka_unit_test(test_gaps_keep_time),
        cmocka_unit_test(test_bad_packets),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_ten_hours),
    };
    return cmocka_run_group_tests_name("audio files", tests, setup, teardown);
}
