/* SPDX-License-Identifier: BSD-2-Clause */
/* Streams of sound that a GPU made (cuda_audio golden) on machines without one:
 * they decode without damage, to the samples that the GPU decoded them to in half
 * precision, within a bound. */
#include "tests/audio_case.h"
#include "tests/audio_model.h"
#include "tests/memory.h"
#include "tests/vector.h"

static const struct {
    const char *name, *codec;   /* codec NULL: models/NAME.safetensors */
    int form[8], rates[4];
} nets[] = {
    { "sound", NULL, { 24000, 1 }, { 0 } },
    { "encodec_24k_f4_d32", "encodec", { 24000, 1, 320, 1, 0, 0, 0, 0 }, { 0 } },
    { "encodec_48k_f4_d16", "encodec", { 48000, 2, 320, 0, 1, 0, 4800, 4752 },
      { 0 } },
    { "hificodec_b8_r1_16k320", "hificodec", { 16000, 1, 320, 0, 0, 1, 0, 0 },
      { 8, 5, 4, 2 } },
};

static tsr_model *open_net(tsr_context *ctx, size_t i)
{
    static const uint64_t stages[] = { 4 };
    tsr_model *made;
    char path[64];

    if (!nets[i].codec) {
        snprintf(path, sizeof path, "models/%s.safetensors", nets[i].name);
        assert_int_equal(tsr_model_open(&made, ctx, check_path(path)), TSR_OK);
        return made;
    }
    check_tensors list = vector_weights(ctx, nets[i].name, NULL);
    audio_form(&list, nets[i].form);
    if (nets[i].rates[0])
        audio_ints(&list, "tessera.hificodec.rates", 1, stages, nets[i].rates);
    qsort(list.tensor, list.count, sizeof *list.tensor, check_by_name);
    made = audio_model(ctx, &list, SIZE_MAX, nets[i].codec,
                       "./test_audio_gpu.safetensors");
    check_tensors_free(&list);
    return made;
}

typedef struct compared {
    const int16_t *want;
    size_t values, at;      /* of want; of what came */
    size_t channels;
    double worst;
} compared;

static tsr_error begin(void *cookie, int rate, int channels)
{
    assert_true(rate >= 16000);
    ((compared *)cookie)->channels = (size_t)channels;
    return TSR_OK;
}

static tsr_error compare(void *cookie, const float *x, size_t n)
{
    compared *c = cookie;

    for (size_t i = 0; i < n * c->channels && c->at < c->values; i++, c->at++) {
        const double v = fmin(fmax(x[i], -1), 1);
        c->worst = fmax(c->worst, fabs(v - c->want[c->at] / 32767.0));
    }
    return TSR_OK;
}

static void test_streams(void **state)
{
    tsr_context *ctx = check_context("c", 1);

    (void)state;
    for (size_t i = 0; i < sizeof nets / sizeof *nets; i++) {
        tsr_model *model = open_net(ctx, i);
        char path[128];
        size_t bytes;
        mem_file file = { 0 };
        compared c = { 0 };
        snprintf(path, sizeof path, "tests/golden/gpu/%s.s16", nets[i].name);
        int16_t *want = (int16_t *)(void *)check_file(path, &bytes);
        c.want = want;
        c.values = bytes / sizeof *want;
        snprintf(path, sizeof path, "tests/golden/gpu/%s.tess", nets[i].name);
        file.data = check_file(path, &file.size);
        const tsr_source source = { &file, mem_read };
        const tsr_audio_sink sink = { &c, begin, compare };
        assert_int_equal(tsr_audio_decode(ctx, model, NULL, &source, 0, UINT64_MAX,
                                          &sink), TSR_OK);
        assert_int_equal(c.at, c.values);
        printf("# %s: %zu values, at most %.5f off\n", nets[i].name, c.values,
               c.worst);
        assert_true(c.worst <= 0.01);
        free(want);
        free(file.data);
        tsr_model_unref(&model);
    }
    tsr_context_close(&ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_streams) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
