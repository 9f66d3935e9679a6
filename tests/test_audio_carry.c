/* SPDX-License-Identifier: BSD-2-Clause */
/* Sound for those who carry packets: what extradata and packets say without a
 * model, and decoders that start in the middle. */
#include "tests/audio_toy_case.h"

enum { PACKETS = 9, SAMPLES = (PACKETS - 1) * SPAN + 37 };

static sound_stream stream_of(int toy, const form *f, const float *x)
{
    const tsr_audio_settings s = settings_of(f);
    return sound_encode(quiet, model[toy], &s, x, SAMPLES, f->channels, 0, 1);
}

static void test_describe(void **state)
{
    static const form forms[] = {
        { TOY_MONO, 3, 2, 30, TSR_AUDIO_ENTROPY_ADAPTIVE, 1, 1 },
        { TOY_TAIL, 4, 8, 7, TSR_AUDIO_ENTROPY_FIXED, 0, 0 },
        { TOY_SEGMENTS, 1, 4, 200, TSR_AUDIO_ENTROPY_FIXED, 0, 0 } };
    (void)state;
    for (int i = 0; i < 3; i++) {
        const form *f = &forms[i];
        float *x = sound_tones(SAMPLES, f->channels, 3);
        sound_stream s = stream_of(f->toy, f, x);
        const int group = f->toy == TOY_TAIL ? 2 : 1;
        tsr_audio_info info;
        memset(&info, 0x55, sizeof info);
        assert_int_equal(tsr_audio_describe(quiet, s.extradata, s.extradata_bytes,
                                            &info), TSR_OK);
        assert_string_equal(info.codec, toys[f->toy].id);
        assert_memory_equal(info.model_hash, tsr_model_hash(model[f->toy]), 32);
        assert_string_equal(info.model_name, tsr_model_name(model[f->toy]));
        assert_int_equal(info.rate, 8000);
        assert_int_equal(info.channels, f->channels);
        assert_int_equal(info.groups, f->channels / group);
        assert_int_equal(info.hop, TOY_HOP);
        assert_int_equal(info.books, f->books);
        assert_int_equal(info.codewords, TOY_WORDS);
        assert_int_equal(info.entropy, f->entropy);
        assert_int_equal(info.live, f->live);
        assert_int_equal(info.droppable, f->layers);
        assert_int_equal(info.samples + info.packets + info.frames +
                         info.file_bytes + info.token_bytes, 0);
        for (size_t size = 0; size < 60; size++) {
            uint8_t *cut = sound_copy(s.extradata, size);
            assert_int_equal(tsr_audio_describe(quiet, cut, size, &info),
                             TSR_E_CORRUPT);
            free(cut);
        }
        s.extradata[0] = 99; /* a codec that is not here can be described */
        assert_int_equal(tsr_audio_describe(quiet, s.extradata, s.extradata_bytes,
                                            &info), TSR_OK);
        assert_string_equal(info.codec, "");
        s.extradata[27] = 0x11; /* books shorter than the largest, all of them */
        assert_int_equal(tsr_audio_describe(quiet, s.extradata, s.extradata_bytes,
                                            &info), TSR_E_CORRUPT);
        assert_int_equal(info.rate, 0);
        sound_free_stream(&s);
        free(x);
    }
}

/* What a packet says is what the encoder said of it. */
static void test_packets(void **state)
{
    static const form forms[] = {
        { TOY_MONO, 2, 3, FRAMES, TSR_AUDIO_ENTROPY_ADAPTIVE, 1, 0 },
        { TOY_MONO, 1, 3, 1, TSR_AUDIO_ENTROPY_FIXED, 0, 1 },
        { TOY_TAIL, 2, 8, FRAMES, TSR_AUDIO_ENTROPY_FIXED, 0, 0 },
        { TOY_SEGMENTS, 1, 4, 200, TSR_AUDIO_ENTROPY_FIXED, 0, 0 } };
    (void)state;
    for (int i = 0; i < 4; i++) {
        const form *f = &forms[i];
        float *x = sound_tones(SAMPLES, f->channels, 4);
        sound_stream s = stream_of(f->toy, f, x);
        for (size_t n = 0; n < s.packets; n++) {
            const sound_packet *p = &s.packet[n];
            tsr_audio_packet said;
            assert_int_equal(tsr_audio_describe_packet(
                quiet, s.extradata, s.extradata_bytes, p->data, p->is.bytes, &said),
                TSR_OK);
            assert_ptr_equal(said.data, p->data);
            assert_int_equal(said.bytes, p->is.bytes);
            assert_int_equal(said.number, p->is.number);
            assert_int_equal(said.pts, p->is.pts);
            assert_int_equal(said.samples, p->is.samples);
            assert_int_equal(said.frames, p->is.frames);
        }
        for (size_t size = 0; size < 4; size++) {
            uint8_t *cut = sound_copy(s.packet[0].data, size);
            tsr_audio_packet said;
            assert_int_equal(tsr_audio_describe_packet(
                quiet, s.extradata, s.extradata_bytes, cut, size, &said),
                TSR_E_CORRUPT);
            assert_null(said.data);
            free(cut);
        }
        tsr_audio_packet said;
        assert_int_equal(tsr_audio_describe_packet(
            quiet, s.extradata, 59, s.packet[0].data, s.packet[0].is.bytes, &said),
            TSR_E_CORRUPT);
        sound_free_stream(&s);
        free(x);
    }
}

/* From packet k on: as long as what is left, nothing concealed, and after what
 * the nets remember the same as the whole sound. */
static void test_start(void **state)
{
    const form f = { TOY_MONO, 1, 4, FRAMES, TSR_AUDIO_ENTROPY_FIXED, 0, 0 };
    float *x = sound_tones(SAMPLES, 1, 5);
    sound_stream s = stream_of(f.toy, &f, x);
    sound_samples whole = sound_decode(quiet, model[f.toy], &s, 0, 0, NULL);
    (void)state;
    assert_int_equal(s.packets, PACKETS);
    assert_int_equal(whole.n, SAMPLES);
    for (size_t k = 0; k < PACKETS; k++) {
        sound_samples out;
        tsr_audio_decoder *d = sound_decoder(quiet, model[f.toy], &s, 0, &out);
        assert_int_equal(tsr_audio_decoder_start(d, 7), TSR_OK);
        assert_int_equal(tsr_audio_decoder_start(d, k), TSR_OK);
        for (size_t i = k; i < PACKETS; i++)
            assert_int_equal(tsr_audio_decoder_push(d, s.packet[i].data,
                                                    s.packet[i].is.bytes), TSR_OK);
        sound_end(&d, &out, 0);
        assert_int_equal(out.n, SAMPLES - k * SPAN);
        assert_int_equal(out.concealed, 0);
        for (size_t t = 1; t < out.n; t++)
            assert_float_equal(out.x[t], whole.x[k * SPAN + t], 0);
        free(out.x);
    }
    free(whole.x);
    sound_free_stream(&s);
    free(x);
}

/* Packets before the first are too late, packets missing after it are concealed. */
static void test_start_losses(void **state)
{
    const form f = { TOY_MONO, 1, 4, FRAMES, TSR_AUDIO_ENTROPY_FIXED, 0, 0 };
    float *x = sound_tones(SAMPLES, 1, 6);
    sound_stream s = stream_of(f.toy, &f, x);
    sound_samples out;
    tsr_audio_decoder *d = sound_decoder(quiet, model[f.toy], &s, 0, &out);
    (void)state;
    assert_int_equal(tsr_audio_decoder_start(d, 3), TSR_OK);
    for (size_t i = 2; i < PACKETS; i++)
        if (i != 3 && i != 6)
            assert_int_equal(tsr_audio_decoder_push(d, s.packet[i].data,
                                                    s.packet[i].is.bytes), TSR_OK);
    sound_end(&d, &out, 0);
    assert_int_equal(out.n, SAMPLES - 3 * SPAN);
    assert_int_equal(out.concealed, 2 * FRAMES);
    free(out.x);
    sound_free_stream(&s);
    free(x);
}

static void refuses(tsr_audio_decoder **d, sound_samples *out)
{
    assert_int_equal(tsr_audio_decoder_start(*d, 2), TSR_E_ARG);
    assert_int_equal(sound_pull(*d, out, 0), TSR_OK);
    assert_int_equal(tsr_audio_decoder_start(*d, 2), TSR_E_ARG);
    sound_end(d, out, 0);
    free(out->x);
}

static void test_start_refused(void **state)
{
    const form f = { TOY_MONO, 1, 4, FRAMES, TSR_AUDIO_ENTROPY_FIXED, 0, 0 };
    float *x = sound_tones(SAMPLES, 1, 7);
    sound_stream s = stream_of(f.toy, &f, x);
    const uint16_t codes[4 * 10] = { 0 };
    sound_samples out;
    tsr_audio_decoder *d = sound_decoder(quiet, model[f.toy], &s, 0, &out);
    (void)state;
    assert_int_equal(tsr_audio_decoder_start(d, UINT32_MAX), TSR_OK);
    assert_int_equal(tsr_audio_decoder_start(d, (uint64_t)UINT32_MAX + 1), TSR_E_ARG);
    assert_int_equal(tsr_audio_decoder_start(d, 0), TSR_OK);
    assert_int_equal(tsr_audio_decoder_push(d, s.packet[0].data,
                                            s.packet[0].is.bytes), TSR_OK);
    refuses(&d, &out);

    d = sound_decoder(quiet, model[f.toy], &s, 0, &out);
    assert_int_equal(tsr_audio_decoder_lost(d), TSR_OK);
    refuses(&d, &out);

    d = sound_decoder(quiet, model[f.toy], &s, 0, &out);
    assert_int_equal(tsr_audio_decoder_push_codes(d, codes, 10), TSR_OK);
    refuses(&d, &out);

    d = sound_decoder(quiet, model[f.toy], &s, 0, &out);
    assert_int_equal(tsr_audio_decoder_finish(d), TSR_OK);
    assert_int_equal(tsr_audio_decoder_start(d, 2), TSR_E_ARG);
    tsr_audio_decoder_close(&d);
    sound_free_stream(&s);
    free(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_describe), cmocka_unit_test(test_packets),
        cmocka_unit_test(test_start), cmocka_unit_test(test_start_losses),
        cmocka_unit_test(test_start_refused),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
