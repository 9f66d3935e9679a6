/* SPDX-License-Identifier: BSD-2-Clause */
/* The codec "hyper" with the shipped model against the NumPy reference of
 * training/reference.py: tokens exactly, networks closely, on both backends. */
#include "config.h"
#include <math.h>
#include "tests/npy.h"
#include "codecs/image/hyper.h"
#include "lib/nn/backend.h"

#define VECTORS "tests/vectors/hyper/"
enum { QUALITY = 52 }; /* q = 3.25 in steps of 1/16 */
static const double ideal_bits = 1707.099 + 134.421; /* from its README */

static check_npy y, z, s, mu, recon;
static int rows, columns;

static tsr_error from_array(void *cookie, tsri_rect r, tsri_fmap *dst)
{
    const tsri_fmap *src = cookie;
    for (int c = 0; c < dst->channels; c++)
        for (int i = 0; i < dst->height; i++)
            memcpy(dst->data + (size_t)c * dst->plane + (size_t)i * dst->row,
                   src->data + (size_t)c * src->plane +
                       (size_t)(r.y0 + i) * src->row + r.x0,
                   (size_t)dst->width * sizeof(float));
    return TSR_OK;
}

static tsri_fmap map(float *data, int channels, int height, int width)
{
    return (tsri_fmap){ data, channels, height, width,
                        (size_t)height * (size_t)width, (size_t)width };
}

/* The largest difference of a net's output from `want`. */
static double run(const tsri_net *net, tsri_fmap *in, int channels, int height,
                  int width, const float *want, float scale, float offset)
{
    const size_t n = (size_t)channels * (size_t)height * (size_t)width;
    float *data = malloc(n * sizeof *data);
    tsri_fmap out = map(data, channels, height, width);
    double worst = 0;

    for (size_t i = 0; i < n; i++)
        data[i] = NAN;
    assert_int_equal(tsri_net_run(net, in->height, in->width,
                                  (tsri_rect){ 0, 0, height, width }, from_array, in,
                                  &out), TSR_OK);
    for (size_t i = 0; i < n; i++) {
        const double d = fabs((double)data[i] * scale + offset - (double)want[i]);
        assert_true(d == d);
        worst = d > worst ? d : worst;
    }
    free(data);
    return worst;
}

static tsr_model *open_model(tsr_context *ctx)
{
    tsr_model *model;
    assert_int_equal(tsr_model_open(&model, ctx, check_path("models/photo.safetensors")),
                     TSR_OK);
    return model;
}

/* The picture in -1..1, its sides made multiples of 16 by repeating edges. */
static float *picture(void)
{
    size_t size;
    uint8_t *file = check_file(VECTORS "image.ppm", &size);
    int width, height, top, used;
    float *x = malloc((size_t)(3 * 256 * rows * columns) * sizeof *x);

    assert_int_equal(sscanf((char *)file, "P6 %d %d %d%n", &width, &height, &top, &used),
                     3);
    const uint8_t *p = file + used + 1;
    for (int c = 0; c < 3; c++)
        for (int i = 0; i < 16 * rows; i++)
            for (int j = 0; j < 16 * columns; j++) {
                const int py = i < height ? i : height - 1, px = j < width ? j : width - 1;
                x[(c * 16 * rows + i) * 16 * columns + j] =
                    (float)p[(py * width + px) * 3 + c] / 127.5f - 1;
            }
    free(file);
    return x;
}

static void nets_of(const char *backend)
{
    tsr_context *ctx = check_context(backend, 2);
    tsr_model *model = open_model(ctx);
    const size_t plane = (size_t)rows * (size_t)columns;
    tsri_hyper_nets nets;
    float *x = picture(), gain[TSRI_HYPER_LATENTS_MAX];
    float *yhat = malloc(y.count * sizeof *yhat);

    assert_int_equal(tsri_hyper_nets_open(&nets, ctx, model), TSR_OK);
    assert_int_equal(nets.latents, y.shape[0]);
    tsri_fmap in = map(x, 3, 16 * rows, 16 * columns);
    assert_true(run(nets.enc, &in, nets.latents, rows, columns, y.data, 1, 0) < 1e-3);

    tsri_hyper_gain(&nets, nets.gain_dec, QUALITY, gain);
    for (size_t i = 0; i < y.count; i++)
        yhat[i] = (float)(128 * ((int16_t *)s.data)[i] + ((int16_t *)mu.data)[i]) / 128 *
                  gain[i / plane];
    in = map(yhat, nets.latents, rows, columns);
    assert_true(run(nets.dec, &in, 3, 16 * rows, 16 * columns, recon.data, 2, -1) < 1e-3);

    /* z: the hyper encoder's output rounds to the stored integers. */
    tsri_hyper_gain(&nets, nets.gain_enc, QUALITY, gain);
    for (size_t i = 0; i < y.count; i++)
        yhat[i] = ((float *)y.data)[i] * gain[i / plane];
    float *want = malloc(z.count * sizeof *want);
    for (size_t i = 0; i < z.count; i++)
        want[i] = ((int8_t *)z.data)[i];
    assert_true(run(nets.hyper_enc, &in, nets.hyper_latents, tsri_hyper_z_side(rows),
                    tsri_hyper_z_side(columns), want, 1, 0) < 0.5 + 1e-4);
    free(want);
    free(yhat);
    free(x);
    tsri_hyper_nets_close(&nets, ctx);
    tsr_model_unref(&model);
    tsr_context_close(&ctx);
}

static void test_nets_plain(void **state)
{
    (void)state;
    nets_of("c");
}

static void test_nets_onednn(void **state)
{
    (void)state;
    if (!tsri_nn_onednn())
        skip();
    nets_of("onednn");
}

/* With the reference's latents the means, hence all predictions, are the
 * reference's; the bytes are its ideal length and little more. */
static void test_tokens(void **state)
{
    tsr_context *ctx = check_context("c", 2);
    tsr_model *model = open_model(ctx);
    tsri_hyper_model m;
    tsri_hyper_work *work;
    tsri_rans_enc *enc;
    const uint8_t *data;
    size_t size;
    float *value = malloc(y.count * sizeof *value);
    int16_t *fixed = calloc(y.count, sizeof *fixed), *want = malloc(y.count * 2);
    int8_t *got_z = malloc(z.count);
    (void)state;

    for (size_t i = 0; i < y.count; i++) {
        want[i] = (int16_t)(128 * ((int16_t *)s.data)[i] + ((int16_t *)mu.data)[i]);
        value[i] = (float)want[i] / 128;
    }
    assert_int_equal(tsri_hyper_model_open(&m, ctx, model), TSR_OK);
    assert_int_equal(tsri_hyper_work_open(&work, ctx, &m, rows, columns), TSR_OK);
    assert_int_equal(tsri_rans_enc_open(&enc, ctx), TSR_OK);
    assert_int_equal(tsri_hyper_put(work, &m, enc, rows, columns, z.data, value, fixed, 0,
                                    &data, &size), TSR_OK);
    assert_memory_equal(fixed, want, y.count * sizeof *fixed);
    assert_true((double)size * 8 < ideal_bits + 8 * 8);
    memset(fixed, 0x55, y.count * sizeof *fixed);
    assert_int_equal(tsri_hyper_get(work, &m, rows, columns, data, size, 0, got_z, fixed),
                     TSR_OK);
    assert_memory_equal(fixed, want, y.count * sizeof *fixed);
    assert_memory_equal(got_z, z.data, z.count);
    tsri_rans_enc_close(&enc);
    tsri_hyper_work_close(&work);
    tsri_hyper_model_close(&m, ctx);
    tsr_model_unref(&model);
    tsr_context_close(&ctx);
    free(value);
    free(fixed);
    free(want);
    free(got_z);
}

static int load(void **state)
{
    (void)state;
    y = check_npy_read(VECTORS "y.npy");
    z = check_npy_read(VECTORS "z.npy");
    s = check_npy_read(VECTORS "s.npy");
    mu = check_npy_read(VECTORS "mu.npy");
    recon = check_npy_read(VECTORS "recon.npy");
    rows = (int)y.shape[1];
    columns = (int)y.shape[2];
    return 0;
}

static int unload(void **state)
{
    (void)state;
    free(y.data);
    free(z.data);
    free(s.data);
    free(mu.data);
    free(recon.data);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nets_plain),
        cmocka_unit_test(test_nets_onednn),
        cmocka_unit_test(test_tokens),
    };
    return cmocka_run_group_tests(tests, load, unload);
}
