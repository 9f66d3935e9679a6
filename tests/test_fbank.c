/* SPDX-License-Identifier: BSD-2-Clause */
/* The front end of recognisers, against torchaudio.compliance.kaldi. */
#include <math.h>
#include "tests/audio_model.h"
#include "tests/vector.h"
#include "codecs/audio/fbank.h"

static char message[256];

/* Sound with stretches of silence and of noise far below the rest. */
static void test_vector(void **state)
{
    tsr_context *ctx = audio_context(message, 0, 1);
    check_npy x = vector_array("fbank", "input");
    check_npy want = vector_array("fbank", "features");
    const int n = (int)want.shape[0], bands = (int)want.shape[1];
    tsri_fbank *fbank;
    double worst = 0;

    (void)state;
    assert_int_equal(tsri_fbank_open(&fbank, ctx, 16000, 400, 160, bands),
                     TSR_OK);
    assert_int_equal(tsri_fbank_frames(fbank, x.count), n);
    float *y = calloc(want.count, sizeof *y);
    assert_non_null(y);
    tsri_fbank_run(fbank, x.data, n, y);
    for (size_t i = 0; i < want.count; i++) {
        const double v = (double)((float *)want.data)[i];
        worst = fmax(worst, fabs((double)y[i] - v) / fmax(1, fabs(v)));
    }
    if (!(worst <= 1e-4))
        fail_msg("features are off by %g of their size", worst);
    /* Frames are independent of each other. */
    float one[TSRI_FBANK_BANDS];
    tsri_fbank_run(fbank, (float *)x.data + 7 * 160, 1, one);
    assert_memory_equal(one, y + 7 * bands, (size_t)bands * sizeof *one);
    free(y);
    free(x.data);
    free(want.data);
    tsri_fbank_close(&fbank);
    tsr_context_close(&ctx);
}

static void test_limits(void **state)
{
    static const int bad[][4] = {
        { 999, 400, 160, 80 }, { 384001, 400, 160, 80 }, { 16000, 1, 160, 80 },
        { 16000, 2049, 160, 80 }, { 16000, 400, 0, 80 },
        { 16000, 400, 160, 0 }, { 16000, 400, 160, 1025 },
    };
    tsr_context *ctx = audio_context(message, 0, 1);
    tsri_fbank *fbank;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(tsri_fbank_open(&fbank, ctx, bad[i][0], bad[i][1],
                                         bad[i][2], bad[i][3]), TSR_E_ARG);
        assert_null(fbank);
    }
    /* The largest; and silence, which is the floor. */
    static float x[TSRI_FBANK_WIDTH], y[TSRI_FBANK_BANDS];
    assert_int_equal(tsri_fbank_open(&fbank, ctx, 384000, TSRI_FBANK_WIDTH, 1,
                                     TSRI_FBANK_BANDS), TSR_OK);
    assert_int_equal(tsri_fbank_frames(fbank, TSRI_FBANK_WIDTH - 1), 0);
    assert_int_equal(tsri_fbank_frames(fbank, TSRI_FBANK_WIDTH + 4), 5);
    tsri_fbank_run(fbank, x, 1, y);
    for (int b = 0; b < TSRI_FBANK_BANDS; b++)
        assert_float_equal(y[b], -15.942385f, 1e-5);
    tsri_fbank_close(&fbank);
    tsri_fbank_close(&fbank);
    tsr_context_close(&ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vector), cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
