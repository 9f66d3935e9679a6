/* SPDX-License-Identifier: BSD-2-Clause */
/* Streams of sound with the published nets: what the published systems give comes
 * out of packets too, and nothing depends on how the sound was cut. */
#include "tests/audio_model.h"
#include "tests/audio_case.h"
#include "tests/vector.h"

typedef struct published {
    const char *vector, *codec;
    int form[8], rates[4];
    size_t n;               /* samples of a vector of whole frames or any */
    const char *recon;
    int frames;             /* of packets */
    double window;
} published;

static const published nets[] = {
    { "encodec_24k_f4_d32", "encodec", { 24000, 1, 320, 1, 0, 0, 0, 0 }, { 0 }, 6417,
      "L6417", 4, -1 },
    { "encodec_48k_f4_d16", "encodec", { 48000, 2, 320, 0, 1, 0, 4800, 4752 }, { 0 },
      10000, "L10000", 15, -1 },
    { "hificodec_b8_r1_16k320", "hificodec", { 16000, 1, 320, 0, 0, 1, 0, 0 },
      { 8, 5, 4, 2 }, 8000, "L8000", 4, 0 },
};
enum { NETS = sizeof nets / sizeof *nets };
static tsr_context *quiet;
static tsr_model *model[NETS];

static tsr_model *open_net(const published *net)
{
    static const uint64_t stages[] = { 4 };
    check_tensors list = vector_weights(quiet, net->vector, NULL);
    tsr_model *made;

    audio_form(&list, net->form);
    if (net->rates[0])
        audio_ints(&list, "tessera.hificodec.rates", 1, stages, net->rates);
    qsort(list.tensor, list.count, sizeof *list.tensor, check_by_name);
    made = audio_model(quiet, &list, SIZE_MAX, net->codec,
                       "./test_audio_nets.safetensors");
    check_tensors_free(&list);
    return made;
}

static int setup(void **state)
{
    (void)state;
    quiet = sound_quiet(1);
    for (int i = 0; i < NETS; i++)
        model[i] = open_net(&nets[i]);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (int i = 0; i < NETS; i++)
        tsr_model_unref(&model[i]);
    tsr_context_close(&quiet);
    return 0;
}

static tsr_audio_settings settings_of(const published *net)
{
    tsr_audio_settings s;
    tsr_audio_settings_init(&s);
    s.books = 64;
    s.packet_frames = net->frames;
    s.window = net->window;
    return s;
}

/* All books of the model. */
static tsr_audio_settings all_books(int i)
{
    tsr_audio_settings s = settings_of(&nets[i]);
    tsr_audio_model_info info;

    assert_int_equal(tsr_audio_model_describe(quiet, model[i], &info), TSR_OK);
    s.books = info.books;
    return s;
}

/* A stored array [1][channels][n] as interleaved samples. */
static float *stored(const published *net, const char *what, size_t *n)
{
    check_npy a = vector_array(net->vector, "%s_%s", net->recon, what);
    const size_t channels = (size_t)net->form[1];
    float *x = malloc(a.count * sizeof *x);

    assert_non_null(x);
    *n = a.count / channels;
    for (size_t t = 0; t < *n; t++)
        for (size_t c = 0; c < channels; c++)
            x[t * channels + c] = ((float *)a.data)[c * *n + t];
    free(a.data);
    return x;
}

/* ---- what the published systems give ---- */

static void test_vectors(void **state)
{
    (void)state;

    for (int i = 0; i < NETS; i++) {
        const tsr_audio_settings s = all_books(i);
        const int channels = nets[i].form[1];
        size_t n, decoded;
        float *x = stored(&nets[i], "input", &n);
        float *want = stored(&nets[i], "recon", &decoded);
        sound_stream stream = sound_encode(quiet, model[i], &s, x, n, channels, 500, 1);
        sound_samples got = sound_decode(quiet, model[i], &stream, 0, 99, NULL);
        assert_int_equal(n, nets[i].n);
        assert_int_equal(got.n, n);
        assert_true(decoded >= n);
        for (size_t k = 0; k < n * (size_t)channels; k++)
            assert_float_equal(got.x[k], want[k], 1e-4f);
        sound_free_stream(&stream);
        free(got.x);
        free(want);
        free(x);
    }
}

/* Codes of EnCodec 24 kHz, which are stored as [books][frames]. */
static void test_vector_codes(void **state)
{
    const tsr_audio_settings s = all_books(0);
    check_npy want = vector_array(nets[0].vector, "L6417_codes");
    const size_t frames = want.shape[want.rank - 1], books = want.count / frames;
    uint16_t *codes = malloc((want.count + books) * sizeof *codes);
    tsr_audio_encoder *e;
    size_t n, got, have = 0;
    float *x = stored(&nets[0], "input", &n);
    (void)state;

    assert_int_equal(books, s.books);
    assert_int_equal(tsr_audio_encoder_open(&e, quiet, model[0], &s), TSR_OK);
    assert_int_equal(tsr_audio_encoder_push(e, x, n), TSR_OK);
    assert_int_equal(tsr_audio_encoder_finish(e), TSR_OK);
    while (!tsr_audio_encoder_pull_codes(e, codes + have * books, 1, &got))
        have += got;
    assert_int_equal(have, frames);
    for (size_t t = 0; t < frames; t++)
        for (size_t k = 0; k < books; k++)
            assert_int_equal(codes[t * books + k],
                             ((int32_t *)want.data)[k * frames + t]);
    tsr_audio_encoder_close(&e);
    free(want.data);
    free(codes);
    free(x);
}

/* ---- cutting makes no difference ---- */

static void check_cuts(int i, int live, int groups, double window)
{
    tsr_audio_settings s = all_books(i);
    const int channels = groups * nets[i].form[1];
    const size_t n = nets[i].n - 5;
    float *x = sound_tones(n, channels, 11);

    s.channels = channels;
    s.live = live;
    s.window = window;
    sound_stream whole = sound_encode(quiet, model[i], &s, x, n, channels, 0, 1);
    sound_samples first = sound_decode(quiet, model[i], &whole, 0, 0, NULL);
    assert_int_equal(first.n, n);
    for (int threads = 1; threads <= 3; threads++) {
        tsr_context *ctx = sound_quiet(threads);
        sound_stream cut = sound_encode(ctx, model[i], &s, x, n, channels, 1000,
                                        (uint64_t)threads);
        sound_samples got = sound_decode(ctx, model[i], &cut, threads % 2, 333, NULL);
        sound_same_streams(&cut, &whole);
        sound_same_samples(&got, &first);
        sound_free_stream(&cut);
        free(got.x);
        s.packet_frames = threads * 15; /* other packets, the same sound */
        cut = sound_encode(ctx, model[i], &s, x, n, channels, 5000, 7);
        got = sound_decode(ctx, model[i], &cut, 1, 0, NULL);
        sound_same_samples(&got, &first);
        s.packet_frames = nets[i].frames;
        sound_free_stream(&cut);
        free(got.x);
        tsr_context_close(&ctx);
    }
    sound_free_stream(&whole);
    free(first.x);
    free(x);
}

static void test_cuts(void **state)
{
    (void)state;
    check_cuts(0, 0, 1, -1);
    check_cuts(0, 1, 2, -1);
    check_cuts(1, 0, 1, -1);
    check_cuts(2, 0, 1, 0);
    check_cuts(2, 1, 1, 0.1);
}

/* ---- losses ---- */

/* A causal net: up to the loss all is as without it, after 100 ms there is
 * silence, and then sound again; the parts in which samples are pulled make no
 * difference. */
static void test_losses(void **state)
{
    tsr_audio_settings s = all_books(0);
    const size_t n = 24000, from = 4 * 320, to = 20 * 320;
    float *x = sound_tones(n, 1, 11);
    char lost[75] = { 0 };
    (void)state;

    s.packet_frames = 1;
    s.live = 1;
    for (int i = 4; i < 20; i++)
        lost[i] = 1;
    sound_stream stream = sound_encode(quiet, model[0], &s, x, n, 1, 0, 1);
    assert_int_equal(stream.packets, 75);
    sound_samples good = sound_decode(quiet, model[0], &stream, 0, 0, NULL);
    sound_samples got = sound_decode(quiet, model[0], &stream, 0, 0, lost);
    sound_samples live = sound_decode(quiet, model[0], &stream, 1, 77, lost);
    double energy = 0;
    assert_int_equal(got.n, n);
    assert_int_equal(got.concealed, 16);
    sound_same_samples(&got, &live);
    assert_memory_equal(got.x, good.x, from * sizeof *x);
    for (size_t t = from + 2400; t < to; t++)
        assert_true(got.x[t] == 0);
    for (size_t t = to + 240; t < n; t++) {
        assert_true(isfinite(got.x[t]));
        energy += (double)(got.x[t] * got.x[t]);
    }
    assert_true(energy > 0);
    sound_free_stream(&stream);
    free(good.x);
    free(got.x);
    free(live.x);
    free(x);
}

/* Every first packet that is there begins a sound of its own. */
static void test_late_start(void **state)
{
    (void)state;

    for (int i = 0; i < NETS; i++) {
        const tsr_audio_settings s = all_books(i);
        const size_t n = nets[i].n;
        const int channels = nets[i].form[1];
        float *x = sound_tones(n, channels, 11);
        sound_stream stream = sound_encode(quiet, model[i], &s, x, n, channels, 0, 1);
        const char lost[64] = { 1 };
        sound_samples got = sound_decode(quiet, model[i], &stream, 1, 0, lost);
        const size_t gap = stream.packet[1].is.pts * (size_t)channels;
        assert_int_equal(got.n, n);
        for (size_t t = 0; t < gap; t++)
            assert_true(got.x[t] == 0);
        for (size_t t = gap; t < n * (size_t)channels; t++)
            assert_true(isfinite(got.x[t]));
        sound_free_stream(&stream);
        free(got.x);
        free(x);
    }
}

/* ---- states ---- */

static void move_encoder(tsr_audio_encoder **e, int i, const tsr_audio_settings *s)
{
    const size_t bytes = tsr_audio_encoder_state_bytes(*e);
    uint8_t *state = malloc(bytes);
    tsr_audio_encoder *to;

    assert_non_null(state);
    tsr_audio_encoder_state_save(*e, state);
    assert_int_equal(tsr_audio_encoder_open(&to, quiet, model[i], s), TSR_OK);
    assert_int_equal(tsr_audio_encoder_state_load(to, state, bytes), TSR_OK);
    tsr_audio_encoder_close(e);
    free(state);
    *e = to;
}

static void move_decoder(tsr_audio_decoder **d, int i, const sound_stream *s)
{
    const size_t bytes = tsr_audio_decoder_state_bytes(*d);
    uint8_t *state = malloc(bytes);
    sound_samples none;
    tsr_audio_decoder *to = sound_decoder(quiet, model[i], s, 0, &none);

    assert_non_null(state);
    tsr_audio_decoder_state_save(*d, state);
    assert_int_equal(tsr_audio_decoder_state_load(to, state, bytes), TSR_OK);
    tsr_audio_decoder_close(d);
    free(state);
    *d = to;
}

static void check_states(int i, double window)
{
    tsr_audio_settings s = all_books(i);
    const int channels = nets[i].form[1];
    const size_t n = nets[i].n;
    float *x = sound_tones(n, channels, 11);
    tsr_audio_encoder *e;
    sound_stream got;
    sound_samples heard;

    s.window = window;
    sound_stream want = sound_encode(quiet, model[i], &s, x, n, channels, 0, 1);
    sound_samples whole = sound_decode(quiet, model[i], &want, 0, 0, NULL);
    assert_int_equal(tsr_audio_encoder_open(&e, quiet, model[i], &s), TSR_OK);
    sound_begin(e, &got);
    for (size_t at = 0, now = 1777; at < n; at += now) {
        now = now < n - at ? now : n - at;
        assert_int_equal(tsr_audio_encoder_push(e, x + at * (size_t)channels, now),
                         TSR_OK);
        move_encoder(&e, i, &s);
        assert_int_equal(sound_take(e, &got), TSR_OK);
        move_encoder(&e, i, &s);
    }
    assert_int_equal(tsr_audio_encoder_finish(e), TSR_OK);
    assert_int_equal(sound_take(e, &got), TSR_E_EOF);
    sound_same_streams(&got, &want);
    tsr_audio_encoder_close(&e);

    tsr_audio_decoder *d = sound_decoder(quiet, model[i], &got, 0, &heard);
    for (size_t k = 0; k < got.packets; k++) {
        assert_int_equal(tsr_audio_decoder_push(d, got.packet[k].data,
                                                got.packet[k].is.bytes), TSR_OK);
        move_decoder(&d, i, &got);
        assert_int_equal(sound_pull(d, &heard, 0), TSR_OK);
        move_decoder(&d, i, &got);
    }
    sound_end(&d, &heard, 0);
    sound_same_samples(&heard, &whole);
    sound_free_stream(&got);
    sound_free_stream(&want);
    free(heard.x);
    free(whole.x);
    free(x);
}

static void test_states(void **state)
{
    (void)state;
    check_states(0, -1);
    check_states(1, -1);
    check_states(2, 0.1);
}

/* ---- what is promised ---- */

/* EnCodec live: a frame of 320 samples in, the same frame out. */
static void test_live_latency(void **state)
{
    tsr_audio_settings s = all_books(0);
    uint64_t running, start;
    tsr_audio_encoder *e;
    (void)state;

    s.live = 1;
    s.packet_frames = 0;
    assert_int_equal(tsr_audio_encoder_open(&e, quiet, model[0], &s), TSR_OK);
    tsr_audio_encoder_latency(e, &running, &start);
    assert_int_equal(running, 320);
    assert_int_equal(start, 320);
    tsr_audio_encoder_close(&e);
    s.live = 0;
    s.packet_frames = 1;
    assert_int_equal(tsr_audio_encoder_open(&e, quiet, model[0], &s), TSR_OK);
    tsr_audio_encoder_latency(e, &running, &start);
    assert_int_equal(running, 320);
    assert_in_range(start, 7 * 320, 7 * 320 + 20); /* the reflected frames */
    tsr_audio_encoder_close(&e);
}

/* A little at a time in and out: no sample is later than promised. */
static void check_promise(int i, size_t n, double window)
{
    tsr_audio_settings s = all_books(i);
    const int channels = nets[i].form[1];
    float *x = sound_tones(n, channels, 11);
    uint64_t running, start;
    tsr_audio_encoder *e;
    sound_stream stream;
    sound_samples out;

    s.live = 1;
    s.window = window;
    assert_int_equal(tsr_audio_encoder_open(&e, quiet, model[i], &s), TSR_OK);
    tsr_audio_encoder_latency(e, &running, &start);
    sound_begin(e, &stream);
    tsr_audio_decoder *d = sound_decoder(quiet, model[i], &stream, 1, &out);
    for (size_t t = 0, fed = 0; t < n; t += 40) {
        assert_int_equal(tsr_audio_encoder_push(e, x + t * (size_t)channels, 40),
                         TSR_OK);
        assert_int_equal(sound_take(e, &stream), TSR_OK);
        for (; fed < stream.packets; fed++)
            assert_int_equal(tsr_audio_decoder_push(d, stream.packet[fed].data,
                                                    stream.packet[fed].is.bytes),
                             TSR_OK);
        assert_int_equal(sound_pull(d, &out, 0), TSR_OK);
        if (t + 40 >= start)
            assert_true(out.n > 0 && t + 40 - out.n < running);
    }
    assert_true(out.n > 0);
    tsr_audio_encoder_close(&e);
    sound_free_stream(&stream);
    free(sound_end(&d, &out, 0).x);
    free(x);
}

static void test_promises(void **state)
{
    (void)state;
    check_promise(0, 6400, -1);
    check_promise(1, 10000, -1);
    check_promise(2, 64000, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_vector_codes),
        cmocka_unit_test(test_cuts),
        cmocka_unit_test(test_losses),
        cmocka_unit_test(test_late_start),
        cmocka_unit_test(test_states),
        cmocka_unit_test(test_live_latency),
        cmocka_unit_test(test_promises),
    };
    return cmocka_run_group_tests_name("audio nets", tests, setup, teardown);
}
