/* SPDX-License-Identifier: BSD-2-Clause */
/* VQGAN-LC against the published implementation. */
#include "tests/token_vector.h"

static void test_f16_plain(void **state)
{
    (void)state;
    token_check_vector(&tsri_image_codec_vqgan, "vqganlc_f16_ch32_64x96", "c",
                       NULL, 23);
}

static void test_f8_plain(void **state)
{
    (void)state;
    token_check_vector(&tsri_image_codec_vqgan, "vqganlc_f8_ch32_40x56", "c",
                       NULL, 19);
}

static void test_f16_onednn(void **state)
{
    (void)state;
    token_check_vector(&tsri_image_codec_vqgan, "vqganlc_f16_ch32_64x96",
                       "onednn", NULL, 23);
}

static void test_f8_onednn(void **state)
{
    (void)state;
    token_check_vector(&tsri_image_codec_vqgan, "vqganlc_f8_ch32_40x56",
                       "onednn", NULL, 19);
}

static void test_imported(void **state)
{
    (void)state;
    token_check_imported(&tsri_image_codec_vqgan, "vqganlc_f16_ch32_64x96");
    token_check_imported(&tsri_image_codec_vqgan, "vqganlc_f8_ch32_40x56");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_f16_plain),
        cmocka_unit_test(test_f8_plain),
        cmocka_unit_test(test_f16_onednn),
        cmocka_unit_test(test_f8_onednn),
        cmocka_unit_test(test_imported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
