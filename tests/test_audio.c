/* SPDX-License-Identifier: BSD-2-Clause */
/* Streams of sound around their codecs: toys, whose codes can be told by hand. */
#include "tests/audio_toy_case.h"

/* ---- describing, settings ---- */

static void test_describe(void **state)
{
    tsr_audio_model_info info;
    (void)state;

    assert_int_equal(tsr_audio_model_describe(quiet, model[TOY_SEGMENTS], &info),
                     TSR_OK);
    assert_string_equal(info.codec, "segments");
    assert_int_equal(info.rate, 8000);
    assert_int_equal(info.channels, 1);
    assert_int_equal(info.hop, TOY_HOP);
    assert_int_equal(info.books, 4);
    assert_int_equal(info.codewords, TOY_WORDS);
    assert_int_equal(info.side_bits, 16);
    assert_int_equal(info.segment, 400);
    assert_int_equal(info.whole, 0);
    assert_int_equal(tsr_audio_model_describe(quiet, model[TOY_MONO], &info), TSR_OK);
    assert_int_equal(info.segment, 0);
    assert_true(info.macs_encode == 5 && info.macs_decode == 7);
    tsr_model *other = toy_model(quiet, "no codec", false);
    assert_int_equal(tsr_audio_model_describe(quiet, other, &info), TSR_E_MODEL);
    tsr_model_unref(&other);
}

static tsr_error try_settings(tsr_model *m, const tsr_audio_settings *s)
{
    tsr_audio_encoder *e;
    const tsr_error error = tsr_audio_encoder_open(&e, quiet, m, s);
    assert_true(!error == (e != NULL));
    tsr_audio_encoder_close(&e);
    return error;
}

#define BAD(field, value) \
    do { \
        tsr_audio_settings bad_ = defaults(); \
        bad_.field = value; \
        assert_int_equal(try_settings(model[TOY_TAIL], &bad_), TSR_E_ARG); \
    } while (0)

static void test_bad_settings(void **state)
{
    tsr_audio_settings s = defaults();
    (void)state;

    assert_int_equal(try_settings(model[TOY_TAIL], &s), TSR_OK);
    assert_int_equal(try_settings(model[TOY_TAIL], NULL), TSR_OK);
    BAD(channels, -2);
    BAD(channels, 3);
    BAD(channels, 66);
    BAD(bitrate, -1);
    BAD(bitrate, NAN);
    BAD(bitrate, INFINITY);
    BAD(window, NAN);
    BAD(search, 17);
    BAD(books, -1);
    BAD(books, 9);
    BAD(entropy, -1);
    BAD(entropy, 6);
    BAD(entropy, TSR_AUDIO_ENTROPY_STATIC); /* no tables */
    BAD(entropy, TSR_AUDIO_ENTROPY_LM);
    BAD(packet_frames, -1);
    BAD(packet_frames, 65537);
    /* An older caller's struct. */
    s.size = offsetof(tsr_audio_settings, books);
    s.books = 1000;
    assert_int_equal(try_settings(model[TOY_TAIL], &s), TSR_OK);
}

/* The byte of HEAD that holds the books. */
static int chosen_books(tsr_model *m, double bitrate)
{
    tsr_audio_settings s = defaults();
    tsr_audio_encoder *e;
    const uint8_t *data;
    size_t bytes;

    s.bitrate = bitrate;
    assert_int_equal(tsr_audio_encoder_open(&e, quiet, m, &s), TSR_OK);
    tsr_audio_encoder_extradata(e, &data, &bytes);
    const int books = data[2];
    tsr_audio_encoder_close(&e);
    return books;
}

static void test_bitrate(void **state)
{
    const double one = 8 * 2000.0; /* bits of a book in a second */
    (void)state;

    assert_int_equal(chosen_books(model[TOY_MONO], 0), 3); /* the model's choice */
    assert_int_equal(chosen_books(model[TOY_MONO], 1), 1);
    assert_int_equal(chosen_books(model[TOY_MONO], one), 1);
    assert_int_equal(chosen_books(model[TOY_MONO], 2 * one - 1), 1);
    assert_int_equal(chosen_books(model[TOY_MONO], 2 * one), 2);
    assert_int_equal(chosen_books(model[TOY_MONO], 1e300), 4);
}

/* Default lengths: 5 s, or live the shortest. */
static void test_packet_lengths(void **state)
{
    static const struct { int toy, live, ask, get; } cases[] = {
        { TOY_MONO, 0, 0, 10000 }, { TOY_MONO, 1, 0, 1 }, { TOY_MONO, 1, 7, 7 },
        { TOY_SEGMENTS, 0, 0, 10100 }, { TOY_SEGMENTS, 1, 0, 100 },
        { TOY_SEGMENTS, 0, 101, 200 }, { TOY_SEGMENTS, 0, 65536, 65500 },
    };
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tsr_audio_settings s = defaults();
        tsr_audio_encoder *e;
        const uint8_t *data;
        size_t bytes;
        s.live = cases[i].live;
        s.packet_frames = cases[i].ask;
        assert_int_equal(tsr_audio_encoder_open(&e, quiet, model[cases[i].toy], &s),
                         TSR_OK);
        tsr_audio_encoder_extradata(e, &data, &bytes);
        assert_int_equal(tsri_get32(data + 12), cases[i].get);
        tsr_audio_encoder_close(&e);
    }
}

/* ---- pieces make no difference, packets neither ---- */

static const form forms[] = {
    { TOY_MONO, 1, 4, 7, 1, 0, 0 },      { TOY_MONO, 1, 4, 1, 0, 0, 1 },
    { TOY_MONO, 8, 4, 33, 1, 1, 0 },     { TOY_MONO, 1, 2, 50, 4, 1, 0 },
    { TOY_MONO, 3, 1, 1000, 4, 0, 0 },   { TOY_TAIL, 2, 8, 9, 1, 0, 0 },
    { TOY_TAIL, 64, 8, 20, 1, 1, 1 },    { TOY_TAIL, 2, 5, 65536, 0, 0, 0 },
    { TOY_SEGMENTS, 1, 4, 1, 1, 0, 0 },  { TOY_SEGMENTS, 3, 3, 300, 4, 1, 1 },
    { TOY_OVERLAPPED, 1, 4, 1, 1, 0, 0 }, { TOY_OVERLAPPED, 2, 3, 200, 4, 0, 0 },
};
enum { FORMS = sizeof forms / sizeof *forms };

static void check_numbers(const sound_stream *s, size_t n)
{
    uint64_t all = 0;

    for (size_t i = 0; i < s->packets; i++) {
        assert_int_equal(s->packet[i].is.number, i);
        assert_int_equal(s->packet[i].is.pts, all);
        assert_true(s->packet[i].is.samples > 0 && s->packet[i].is.frames > 0);
        all += s->packet[i].is.samples;
    }
    assert_int_equal(all, n);
}

static void check_pieces(const form *f, size_t n)
{
    const tsr_audio_settings settings = settings_of(f);
    tsr_model *m = model[f->toy];
    float *x = sound_tones(n, f->channels, n);
    sound_stream whole = sound_encode(quiet, m, &settings, x, n, f->channels, 0, 1);
    sound_samples first = sound_decode(quiet, m, &whole, 0, 0, NULL);

    check_numbers(&whole, n);
    assert_int_equal(first.n, n);
    assert_int_equal(first.concealed, 0);
    for (uint64_t i = 0; i < 3; i++) {
        sound_stream s = sound_encode(quiet, m, &settings, x, n, f->channels,
                                      (size_t)1 << 4 * i, 7 + i);
        sound_samples got = sound_decode(quiet, m, &s, (int)i % 2, 1 + 50 * i, NULL);
        sound_same_streams(&s, &whole);
        sound_same_samples(&got, &first);
        sound_free_stream(&s);
        free(got.x);
    }
    if (!toy_shapes[f->toy].segmented && f->books == TOY_HOP *
                                                  (f->toy == TOY_TAIL ? 2 : 1))
        as_expected(&first, x, n);
    sound_free_stream(&whole);
    free(first.x);
    free(x);
}

static void test_pieces(void **state)
{
    static const size_t lengths[] = { 0, 1, 2, 3, 4, 5, 19, 20, 21, 131, 394, 395,
                                      396, 397, 400, 401, 789, 790, 791, 1009,
                                      1183 };
    (void)state;
    for (int i = 0; i < FORMS; i++)
        for (size_t j = 0; j < sizeof lengths / sizeof *lengths; j++)
            check_pieces(&forms[i], lengths[j]);
}

/* Lengths of packets, kinds of entropy coding and layers change no sample. */
static void test_packets_change_nothing(void **state)
{
    static const int frames[] = { 1, 2, 100, 300, 65536 };
    const size_t n = 4001;
    (void)state;

    for (int k = 0; k < TOYS; k++) {
        const int channels = toy_shapes[k].channels;
        float *x = sound_tones(n, channels, 5);
        sound_samples first = { 0 };
        for (int i = 0; i < 10; i++) {
            const form s = { k, channels, 4, frames[i % 5], i % 2 ? 1 : 4, i % 3 > 1,
                              0 };
            const tsr_audio_settings settings = settings_of(&s);
            sound_stream stream = sound_encode(quiet, model[k], &settings, x, n,
                                               channels, 0, 1);
            sound_samples got = sound_decode(quiet, model[k], &stream, 0, 0, NULL);
            if (first.x)
                sound_same_samples(&got, &first);
            free(first.x);
            first = got;
            sound_free_stream(&stream);
        }
        free(first.x);
        free(x);
    }
}

/* What is no number counts as 0. */
static void test_not_finite(void **state)
{
    static const float odd[] = { NAN, INFINITY, -INFINITY };
    tsr_audio_settings s = defaults();
    float *x = sound_tones(500, 1, 3), *y = sound_tones(500, 1, 3);
    (void)state;

    for (int i = 0; i < 500; i += 7) {
        x[i] = odd[i % 3];
        y[i] = 0;
    }
    sound_stream a = sound_encode(quiet, model[TOY_MONO], &s, x, 500, 1, 0, 1);
    sound_stream b = sound_encode(quiet, model[TOY_MONO], &s, y, 500, 1, 0, 1);
    sound_same_streams(&a, &b);
    sound_free_stream(&a);
    sound_free_stream(&b);
    free(x);
    free(y);
}

/* Static tables of a model are used by AUTO, and shorten packets. */
static void test_auto_entropy(void **state)
{
    tsr_audio_settings s = defaults();
    float *x = sound_tones(5000, 1, 3);
    size_t bytes[2];
    (void)state;

    for (int i = 0; i < 2; i++) {
        s.entropy = i ? TSR_AUDIO_ENTROPY_AUTO : TSR_AUDIO_ENTROPY_FIXED;
        sound_stream a = sound_encode(quiet, tables, &s, x, 5000, 1, 0, 1);
        sound_samples got = sound_decode(quiet, tables, &a, 0, 0, NULL);
        assert_int_equal(got.n, 5000);
        assert_int_equal(a.extradata[3], i ? TSR_AUDIO_ENTROPY_STATIC
                                           : TSR_AUDIO_ENTROPY_FIXED);
        bytes[i] = a.packet[0].is.bytes;
        sound_free_stream(&a);
        free(got.x);
    }
    assert_true(bytes[1] < bytes[0]);
    free(x);
}

static void test_threads(void **state)
{
    const form s = { TOY_MONO, 8, 4, 33, 4, 1, 0 };
    const tsr_audio_settings settings = settings_of(&s);
    float *x = sound_tones(3000, 8, 1);
    sound_stream one = sound_encode(quiet, model[TOY_MONO], &settings, x, 3000, 8, 0,
                                    1);
    sound_samples first = sound_decode(quiet, model[TOY_MONO], &one, 0, 0, NULL);
    (void)state;

    for (int threads = 2; threads <= 3; threads++) {
        tsr_context *ctx = sound_quiet(threads);
        sound_stream a = sound_encode(ctx, model[TOY_MONO], &settings, x, 3000, 8, 99,
                                      1);
        sound_samples got = sound_decode(ctx, model[TOY_MONO], &a, 0, 0, NULL);
        sound_same_streams(&a, &one);
        sound_same_samples(&got, &first);
        sound_free_stream(&a);
        free(got.x);
        tsr_context_close(&ctx);
    }
    sound_free_stream(&one);
    free(first.x);
    free(x);
}

/* ---- live ---- */

/* Pushed sample by sample, what is heard of sample t comes out no later than
 * the encoder says, and somewhere as late. */
static void check_latency(int which, int live, int frames)
{
    tsr_audio_settings s = defaults();
    const size_t n = 3000;
    float *x = sound_tones(n, 1, 1);
    uint64_t running, start, latest = 0, first = 0;
    tsr_audio_encoder *e;
    sound_stream stream;
    sound_samples out;

    s.live = live;
    s.packet_frames = frames;
    assert_int_equal(tsr_audio_encoder_open(&e, quiet, model[which], &s), TSR_OK);
    tsr_audio_encoder_latency(e, &running, &start);
    sound_begin(e, &stream);
    tsr_audio_decoder *d = sound_decoder(quiet, model[which], &stream, 1, &out);
    for (size_t t = 0, fed = 0; t < n; t++) {
        assert_int_equal(tsr_audio_encoder_push(e, x + t, 1), TSR_OK);
        assert_int_equal(sound_take(e, &stream), TSR_OK);
        for (; fed < stream.packets; fed++)
            assert_int_equal(tsr_audio_decoder_push(d, stream.packet[fed].data,
                                                    stream.packet[fed].is.bytes),
                             TSR_OK);
        if (t >= n - 1000) /* sample out.n still waits, t + 1 are pushed */
            latest = t + 1 - out.n > latest ? t + 1 - out.n : latest;
        assert_int_equal(sound_pull(d, &out, 0), TSR_OK);
        if (out.n && !first)
            first = t + 1;
    }
    assert_int_equal(latest, running);
    assert_true(first <= start && start >= running);
    if (start > running)
        assert_int_equal(first, start);
    tsr_audio_encoder_close(&e);
    sound_free_stream(&stream);
    free(sound_end(&d, &out, 0).x);
    free(x);
}

static void test_latency(void **state)
{
    (void)state;
    check_latency(TOY_MONO, 1, 0);
    check_latency(TOY_MONO, 0, 1);
    check_latency(TOY_MONO, 1, 2);
    check_latency(TOY_MONO, 1, 25);
    check_latency(TOY_SLOW, 1, 0);
    check_latency(TOY_SEGMENTS, 1, 0);
    check_latency(TOY_SEGMENTS, 1, 300);
}

/* ---- codes ---- */

static void test_codes(void **state)
{
    const form f = { TOY_MONO, 3, 4, FRAMES, 1, 0, 0 };
    const tsr_audio_settings settings = settings_of(&f);
    const size_t n = 5 * SPAN - 5, frames = 5 * FRAMES - 1;
    float *x = sound_tones(n, 3, 9);
    uint16_t *codes = calloc(frames + 9, 12 * sizeof *codes), packet[FRAMES * 12];
    sound_stream s = sound_encode(quiet, model[TOY_MONO], &settings, x, n, 3, 0, 1);
    tsr_audio_encoder *e;
    tsr_audio_packet none;
    sound_samples got;
    size_t have = 0, now;
    (void)state;

    assert_int_equal(tsr_audio_encoder_open(&e, quiet, model[TOY_MONO], &settings),
                     TSR_OK);
    assert_int_equal(tsr_audio_encoder_push(e, x, n), TSR_OK);
    assert_int_equal(tsr_audio_encoder_finish(e), TSR_OK);
    while (!tsr_audio_encoder_pull_codes(e, codes + 12 * have, 9, &now))
        have += now;
    assert_int_equal(have, frames);
    assert_int_equal(tsr_audio_encoder_pull(e, &none), TSR_E_ARG);
    tsr_audio_encoder_close(&e);

    tsr_audio_decoder *d = sound_decoder(quiet, model[TOY_MONO], &s, 0, &got);
    for (size_t i = 0; i < s.packets; i++) {
        const size_t bytes = s.packet[i].is.bytes;
        const size_t count = i < 4 ? FRAMES : FRAMES - 1;
        assert_int_equal(tsr_audio_decoder_codes(d, s.packet[i].data, bytes, packet,
                                                 count * 12 - 1, &now), TSR_E_LIMIT);
        assert_int_equal(now, count);
        assert_int_equal(tsr_audio_decoder_codes(d, s.packet[i].data, bytes, packet,
                                                 count * 12, &now), TSR_OK);
        assert_memory_equal(packet, codes + i * FRAMES * 12,
                            count * 12 * sizeof *codes);
        assert_int_equal(tsr_audio_decoder_codes(d, s.packet[i].data, bytes - 1,
                                                 packet, count * 12, &now),
                         TSR_E_CORRUPT);
    }
    for (size_t i = 0; i < frames; i += now) {
        now = frames - i < 100 ? frames - i : 100;
        assert_int_equal(tsr_audio_decoder_push_codes(d, codes + 12 * i, now), TSR_OK);
    }
    codes[5] = TOY_WORDS;
    assert_int_equal(tsr_audio_decoder_push_codes(d, codes, 1), TSR_E_ARG);
    sound_end(&d, &got, 0);
    assert_int_equal(got.n, frames * TOY_HOP); /* the end is not known */
    got.n = n;
    as_expected(&got, x, n);
    sound_free_stream(&s);
    free(got.x);
    free(codes);
    free(x);
}

/* Segments mean nothing without their packets. */
static void test_codes_of_segments(void **state)
{
    const tsr_audio_settings s = defaults();
    uint16_t codes[4] = { 0 };
    sound_stream stream;
    sound_samples out;
    tsr_audio_encoder *e;
    size_t n;
    (void)state;

    assert_int_equal(tsr_audio_encoder_open(&e, quiet, model[TOY_SEGMENTS], &s),
                     TSR_OK);
    sound_begin(e, &stream);
    tsr_audio_decoder *d = sound_decoder(quiet, model[TOY_SEGMENTS], &stream, 0, &out);
    assert_int_equal(tsr_audio_encoder_pull_codes(e, codes, 1, &n), TSR_E_UNSUPPORTED);
    assert_int_equal(tsr_audio_decoder_push_codes(d, codes, 1), TSR_E_UNSUPPORTED);
    tsr_audio_encoder_close(&e);
    tsr_audio_decoder_close(&d);
}

/* Books are cut off layered packets as the page tells: what is left decodes to
 * what fewer books give. */
static size_t cut_books(const sound_packet *p, int books, int groups, uint8_t *out)
{
    uint64_t v = 0, lengths[TSR_AUDIO_MAX_BOOKS * 4];
    size_t at = 0, n = 0, total = 0;

    at += tsri_get_varint(p->data, p->is.bytes, &v);
    at += tsri_get_varint(p->data + at, 10, &v);
    const int had = p->data[at++];
    at += tsri_get_varint(p->data + at, 10, &v);
    memcpy(out, p->data, at);
    n = at;
    out[n - tsri_put_varint((uint8_t[10]){ 0 }, v) - 1] = (uint8_t)books;
    for (int i = 0; i < groups * had - 1; i++) {
        at += tsri_get_varint(p->data + at, 10, &lengths[i]);
        total += lengths[i];
    }
    lengths[groups * had - 1] = p->is.bytes - at - total;
    for (int i = 0, left = groups * books - 1; i < groups * had && left; i++)
        if (i % had < books) {
            n += tsri_put_varint(out + n, lengths[i]);
            left--;
        }
    for (int i = 0; i < groups * had; at += lengths[i++])
        if (i % had < books) {
            memcpy(out + n, p->data + at, lengths[i]);
            n += lengths[i];
        }
    return n;
}

static void test_cut_books(void **state)
{
    const form all = { TOY_MONO, 2, 4, 30, 1, 1, 0 }, two = { TOY_MONO, 2, 2, 30, 1, 1, 0 };
    const tsr_audio_settings a = settings_of(&all), b = settings_of(&two);
    float *x = sound_tones(997, 2, 9);
    sound_stream whole = sound_encode(quiet, model[TOY_MONO], &a, x, 997, 2, 0, 1);
    sound_stream few = sound_encode(quiet, model[TOY_MONO], &b, x, 997, 2, 0, 1);
    sound_samples want = sound_decode(quiet, model[TOY_MONO], &few, 0, 0, NULL), got;
    tsr_audio_decoder *d = sound_decoder(quiet, model[TOY_MONO], &whole, 0, &got);
    uint8_t cut[2000];
    uint16_t codes[30 * 8];
    size_t frames;
    (void)state;

    for (size_t i = 0; i < whole.packets; i++) {
        const size_t n = cut_books(&whole.packet[i], 2, 2, cut);
        assert_int_equal(tsr_audio_decoder_codes(d, cut, n, codes, 30 * 8, &frames),
                         TSR_OK);
        assert_true(codes[1] < TOY_WORDS && codes[2] == 65535 && codes[7] == 65535);
        assert_int_equal(tsr_audio_decoder_push(d, cut, n), TSR_OK);
    }
    sound_end(&d, &got, 0);
    sound_same_samples(&got, &want);
    sound_free_stream(&whole);
    sound_free_stream(&few);
    free(want.x);
    free(got.x);
    free(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_describe),
        cmocka_unit_test(test_bad_settings),
        cmocka_unit_test(test_bitrate),
        cmocka_unit_test(test_packet_lengths),
        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_packets_change_nothing),
        cmocka_unit_test(test_not_finite),
        cmocka_unit_test(test_auto_entropy),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_latency),
        cmocka_unit_test(test_codes),
        cmocka_unit_test(test_codes_of_segments),
        cmocka_unit_test(test_cut_books),
    };
    return cmocka_run_group_tests_name("audio", tests, setup, teardown);
}
