/* SPDX-License-Identifier: BSD-2-Clause */
/* EnCodec's files become .tess sound of the same codes, and come back byte for
 * byte; broken ones are refused. */
#include "tests/audio_model.h"
#include "tests/memory.h"
#include "tests/vector.h"
#include <tessera/ecdc.h>
#include <tessera/stream.h>

#define MONO "encodec_24k_f4_d32"
#define STEREO "encodec_48k_f4_d16"

static tsr_context *ctx;
static tsr_model *mono, *stereo, *other;
static char message[256];

static tsr_model *vector_model(const char *name, const int form[8])
{
    static const char path[] = "./test_ecdc_file.safetensors";
    check_tensors list = vector_weights(ctx, name, NULL);

    audio_form(&list, form);
    qsort(list.tensor, list.count, sizeof *list.tensor, check_by_name);
    tsr_model *model = audio_model(ctx, &list, SIZE_MAX, "encodec", path);
    check_tensors_free(&list);
    return model;
}

static int setup(void **state)
{
    (void)state;
    ctx = audio_context(message, 0, 1);
    mono = vector_model(MONO, (int[]){ 24000, 1, 320, 1, 0, 0, 0, 0 });
    stereo = vector_model(STEREO, (int[]){ 48000, 2, 320, 0, 1, 0, 4800, 4752 });
    other = vector_model(MONO, (int[]){ 16000, 1, 320, 1, 0, 0, 0, 0 });
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tsr_model_unref(&mono);
    tsr_model_unref(&stereo);
    tsr_model_unref(&other);
    tsr_context_close(&ctx);
    return 0;
}

static tsr_error from_ecdc(tsr_model *model, const uint8_t *data, size_t size,
                           mem_file *out)
{
    mem_file in = { .data = (uint8_t *)(uintptr_t)data, .size = size };
    const tsr_source source = { &in, mem_read };
    const tsr_sink sink = { out, mem_write };

    *message = 0;
    return tsr_ecdc_read(ctx, model, &source, &sink);
}

static tsr_error to_ecdc(tsr_model *model, mem_file *in, mem_file *out)
{
    const tsr_source source = { in, mem_read };
    const tsr_sink sink = { out, mem_write };

    in->at = 0;
    *message = 0;
    return tsr_ecdc_write(ctx, model, &source, &sink);
}

static uint8_t *stream(const char *vector, const char *name, size_t *size)
{
    return check_file(vector_file(vector, name), size);
}

/* ---- what is in them ---- */

typedef struct want {
    const float *x;         /* rows of time */
    size_t n, at;
    int channels;
    double worst;
} want;

static tsr_error begin(void *cookie, int rate, int channels)
{
    want *w = cookie;
    assert_int_equal(rate, channels == 1 ? 24000 : 48000);
    w->channels = channels;
    return TSR_OK;
}

static tsr_error compare(void *cookie, const float *x, size_t n)
{
    want *w = cookie;
    assert_true(w->at + n <= w->n);
    for (size_t i = 0; i < n * (size_t)w->channels; i++)
        w->worst = fmax(w->worst, fabs(x[i] - w->x[w->at * (size_t)w->channels +
                                                   i]));
    w->at += n;
    return TSR_OK;
}

/* The sound is that of the stored codes and scales, as long as it was. */
static void check_sound(const char *vector, mem_file *tess, tsr_model *model,
                        int length)
{
    const tsr_source source = { tess, mem_read };
    char name[32], *meta = vector_text(vector, "meta.json");
    check_npy recon = vector_array(vector, "L%d_recon", length);
    float *x = vector_rows(&recon);
    want w = { .x = x, .n = recon.shape[recon.rank - 1] };
    const tsr_audio_sink sink = { &w, begin, compare };

    tess->at = 0;
    assert_int_equal(tsr_audio_decode(ctx, model, NULL, &source, 0, UINT64_MAX,
                                      &sink), TSR_OK);
    assert_int_equal(w.at, length);
    snprintf(name, sizeof name, "L%d_recon", length);
    if (!(w.worst <= vector_tolerance(meta, name, &recon)))
        fail_msg("%s: off by %g", name, w.worst);
    free(x);
    free(recon.data);
    free(meta);
}

static void check_file_both_ways(const char *vector, tsr_model *model, int length)
{
    mem_file tess = { 0 }, back = { 0 };
    char name[32];
    size_t size;

    snprintf(name, sizeof name, "L%d_raw.ecdc", length);
    uint8_t *data = stream(vector, name, &size);
    if (from_ecdc(model, data, size, &tess))
        fail_msg("%s", message);
    check_sound(vector, &tess, model, length);
    if (to_ecdc(model, &tess, &back))
        fail_msg("%s", message);
    assert_int_equal(back.size, size);
    assert_memory_equal(back.data, data, size);
    free(data);
    free(tess.data);
    free(back.data);
}

static void test_vectors(void **state)
{
    static const int lengths[] = { 6417, 320, 7, 3 };
    (void)state;
    for (int i = 0; i < 4; i++)
        check_file_both_ways(MONO, mono, lengths[i]);
    check_file_both_ways(STEREO, stereo, 10000);
    check_file_both_ways(STEREO, stereo, 4752);
}

/* ---- sound of ours ---- */

enum { LENGTH = 2000 };

/* Numbers of all channels that there may be. */
static tsr_error noise(void *cookie, float *x, size_t n, size_t *got)
{
    size_t *left = cookie;
    check_rng rng = { *left };

    assert_true(n >= LENGTH);
    *got = *left / 2;
    for (size_t i = 0; i < *left; i++)
        x[i] = check_float(&rng);
    *left = 0;
    return TSR_OK;
}

/* By mono, in short packets. */
static void encode(tsr_audio_settings *s, mem_file *out)
{
    size_t left = 2 * LENGTH;
    const tsr_audio_source source = { &left, noise, 0 };
    const tsr_sink sink = { out, mem_write };

    s->books = 3;
    s->packet_frames = 2;
    assert_int_equal(tsr_audio_encode(ctx, mono, s, &source, &sink), TSR_OK);
}

static void test_packets(void **state)
{
    tsr_audio_settings s;
    mem_file tess = { 0 }, ecdc = { 0 }, long_packets = { 0 }, again = { 0 };
    (void)state;

    tsr_audio_settings_init(&s);
    s.droppable = 1;
    encode(&s, &tess);
    assert_int_equal(to_ecdc(mono, &tess, &ecdc), TSR_OK);
    assert_int_equal(from_ecdc(mono, ecdc.data, ecdc.size, &long_packets), TSR_OK);
    assert_int_equal(to_ecdc(mono, &long_packets, &again), TSR_OK);
    assert_int_equal(again.size, ecdc.size);
    assert_memory_equal(again.data, ecdc.data, ecdc.size);
    again.size = 0;
    for (size_t size = 0; size < tess.size; size++) {
        mem_file cut = { .data = tess.data, .size = size };
        assert_int_not_equal(to_ecdc(mono, &cut, &again), TSR_OK);
    }
    assert_int_equal(to_ecdc(other, &tess, &again), TSR_E_MODEL);
    assert_int_equal(again.size, 0);
    tess.size = 0;
    s.droppable = 0;
    s.channels = 2;
    encode(&s, &tess);
    assert_int_equal(to_ecdc(mono, &tess, &again), TSR_E_UNSUPPORTED);
    assert_non_null(strstr(message, "2 channels"));
    assert_int_equal(again.size, 0);
    free(tess.data);
    free(ecdc.data);
    free(long_packets.data);
    free(again.data);
}

/* ---- what is refused ---- */

static void test_refused(void **state)
{
    mem_file out = { 0 };
    size_t size, lm_size;
    uint8_t *data = stream(STEREO, "L10000_raw.ecdc", &size);
    uint8_t *lm = stream(MONO, "L6417_lm.ecdc", &lm_size);
    (void)state;

    assert_int_equal(from_ecdc(mono, lm, lm_size, &out), TSR_E_UNSUPPORTED);
    assert_non_null(strstr(message, "language model in floating point"));
    assert_int_equal(from_ecdc(mono, data, size, &out), TSR_E_MODEL);
    assert_int_equal(from_ecdc(other, lm, 4, &out), TSR_E_TRUNCATED);
    assert_int_equal(from_ecdc(mono, (const uint8_t *)"RIFF", 4, &out),
                     TSR_E_FORMAT);
    for (size_t n = 0; n < size; n++)
        assert_int_equal(from_ecdc(stereo, data, n, &out), TSR_E_TRUNCATED);
    data = realloc(data, size + 1);
    data[size] = 0;
    assert_int_equal(from_ecdc(stereo, data, size + 1, &out), TSR_E_CORRUPT);
    assert_non_null(strstr(message, "1 bytes behind"));
    free(data);
    data = stream(MONO, "L320_raw.ecdc", &size);
    assert_int_equal(from_ecdc(other, data, size, &out), TSR_E_MODEL);
    assert_non_null(strstr(message, "encodec_24khz"));
    assert_int_equal(out.size, 0);
    free(data);
    free(lm);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_packets),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
