/* SPDX-License-Identifier: BSD-2-Clause */
/* SI-SDR, SNR and log-spectral distance against their formulas, summed up the
 * slow way, and where they are not defined. */
#include "tests/check.h"
#include <math.h>
#include "tools/sound_metrics.h"

enum { MAX = 9000 };

static const double pi = 3.14159265358979323846;

static sound_metrics measure(const float *x, const float *y, size_t n, int rate,
                             int channels, size_t piece)
{
    sound_meter *m = sound_meter_open(rate, channels);
    sound_metrics result;
    assert_non_null(m);
    for (size_t at = 0; at < n; at += piece) {
        const size_t now = n - at < piece ? n - at : piece;
        sound_meter_add(m, x + at * (size_t)channels, y + at * (size_t)channels,
                        now);
    }
    sound_meter_result(m, &result);
    sound_meter_close(&m);
    assert_null(m);
    return result;
}

/* |DFT| of `size` samples from `at` on, as the header defines it. */
static double magnitude(const float *x, size_t n, size_t at, size_t size,
                        size_t k)
{
    double re = 0, im = 0;
    for (size_t i = 0; i < size; i++) {
        const double w = 0.5 - 0.5 * cos(2 * pi * (double)i / (double)size);
        const double angle = 2 * pi * (double)(i * k % size) / (double)size;
        const double v = at + i < n ? (double)x[at + i] : 0;
        re += w * v * cos(angle);
        im += w * v * sin(angle);
    }
    return sqrt(re * re + im * im) * 4 / (double)size;
}

static double slow_lsd(const float *x, const float *y, size_t n, size_t size)
{
    double sum = 0;
    int frames = 0;
    for (size_t at = 0; at == 0 || at + size * 3 / 4 < n; at += size / 4) {
        double mean = 0;
        for (size_t k = 0; k <= size / 2; k++) {
            const double d = 20 * log10((magnitude(x, n, at, size, k) + 1e-5) /
                                        (magnitude(y, n, at, size, k) + 1e-5));
            mean += d * d / (double)(size / 2 + 1);
        }
        sum += sqrt(mean);
        frames++;
    }
    return sum / frames;
}

static void fill(float *x, float *y, size_t n, float gain, float noise)
{
    check_rng r = { 5 };
    for (size_t i = 0; i < n; i++) {
        x[i] = 0.5f * sinf(0.05f * (float)i) + 0.1f * check_float(&r);
        y[i] = gain * x[i] + noise * check_float(&r);
    }
}

static void test_formulas(void **state)
{
    static float x[MAX], y[MAX];
    static const size_t lengths[] = { 1, 127, 128, 129, 700, 1500 };
    (void)state;
    fill(x, y, MAX, 0.8f, 0.05f);
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        const size_t n = lengths[i];
        const sound_metrics m = measure(x, y, n, 6000, 1, 1 + n / 3);
        double xx = 0, xy = 0, dd = 0, rest = 0, peak = 0;
        for (size_t k = 0; k < n; k++) {
            const double d = (double)y[k] - (double)x[k];
            xx += (double)x[k] * (double)x[k];
            xy += (double)x[k] * (double)y[k];
            dd += d * d;
            peak = fabs(d) > peak ? fabs(d) : peak;
        }
        for (size_t k = 0; k < n; k++)
            rest += pow((double)y[k] - xy / xx * (double)x[k], 2);
        assert_int_equal(m.samples, n);
        assert_true(m.peak == peak);
        assert_true(fabs(m.snr - 10 * log10(xx / dd)) < 1e-9);
        if (n > 1)
            assert_true(fabs(m.si_sdr - 10 * log10(xy * xy / xx / rest)) < 1e-6);
        /* 6 kHz: windows of 128 samples. */
        assert_true(fabs(m.lsd - slow_lsd(x, y, n, 128)) < 1e-6);
    }
}

/* How the samples come makes no difference. */
static void test_pieces(void **state)
{
    static float x[MAX], y[MAX];
    sound_metrics all;
    (void)state;
    fill(x, y, MAX, 1, 0.2f);
    all = measure(x, y, MAX / 2, 24000, 2, MAX);
    for (size_t piece = 1; piece < 3000; piece = 3 * piece + 1) {
        const sound_metrics m = measure(x, y, MAX / 2, 24000, 2, piece);
        assert_true(m.lsd == all.lsd && m.snr == all.snr &&
                    m.si_sdr == all.si_sdr);
    }
}

static void test_level(void **state)
{
    static float x[MAX], y[MAX];
    sound_metrics m, half;
    (void)state;
    fill(x, y, MAX, 1, 0.1f);
    m = measure(x, y, MAX, 24000, 1, MAX);
    for (size_t i = 0; i < MAX; i++)
        y[i] *= 0.5f;
    half = measure(x, y, MAX, 24000, 1, MAX);
    assert_true(fabs(m.si_sdr - half.si_sdr) < 1e-9);
    assert_true(half.snr < 7);
    /* 6.02 dB less everywhere, but for the floor. */
    for (size_t i = 0; i < MAX; i++)
        y[i] = 0.5f * x[i];
    half = measure(x, y, MAX, 24000, 1, MAX);
    assert_true(fabs(half.lsd - 6.0206) < 0.2);
    assert_true(half.si_sdr > 100);
}

/* Two channels: energies are added before the logarithm, distances averaged. */
static void test_channels(void **state)
{
    static float x[MAX], y[MAX], a[2 * MAX], b[2 * MAX];
    sound_metrics one, two;
    (void)state;
    fill(x, y, MAX, 1, 0.1f);
    one = measure(x, y, MAX, 24000, 1, MAX);
    for (size_t i = 0; i < MAX; i++) {
        a[2 * i] = b[2 * i + 1] = a[2 * i + 1] = x[i];
        b[2 * i] = y[i];
    }
    two = measure(a, b, MAX, 24000, 2, MAX);
    assert_true(fabs(two.snr - one.snr - 10 * log10(2)) < 1e-9);
    assert_true(fabs(two.lsd - one.lsd / 2) < 1e-9);
}

static void test_edges(void **state)
{
    static float x[MAX], y[MAX], silence[MAX];
    sound_metrics m;
    (void)state;
    fill(x, y, MAX, 1, 0.1f);
    m = measure(x, x, MAX, 24000, 1, MAX);
    assert_true(isinf(m.snr) && m.snr > 0 && isinf(m.si_sdr) && m.si_sdr > 0);
    assert_true(m.lsd == 0 && m.peak == 0);
    m = measure(x, silence, MAX, 24000, 1, MAX);
    assert_true(isinf(m.si_sdr) && m.si_sdr < 0);
    assert_true(fabs(m.snr) < 1e-9);
    assert_true(m.lsd > 40 && m.lsd < 100);
    m = measure(silence, x, MAX, 24000, 1, MAX);
    assert_true(isnan(m.si_sdr) && isnan(m.snr) && m.lsd > 40);
    m = measure(silence, silence, MAX, 24000, 1, MAX);
    assert_true(isnan(m.si_sdr) && m.lsd == 0);
    m = measure(x, y, 0, 24000, 1, 1);
    assert_true(m.samples == 0 && isnan(m.lsd) && isnan(m.snr));
}

/* The ends of what the program lets through. */
static void test_rates(void **state)
{
    static float x[MAX], y[MAX];
    (void)state;
    fill(x, y, MAX, 1, 0.1f);
    assert_true(measure(x, y, 100, 1, 64, 9).lsd > 0);
    assert_true(measure(x, y, MAX, 768000, 1, 99).lsd > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_formulas),
        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_level),
        cmocka_unit_test(test_channels),
        cmocka_unit_test(test_edges),
        cmocka_unit_test(test_rates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
