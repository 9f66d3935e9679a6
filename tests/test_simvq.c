/* SPDX-License-Identifier: BSD-2-Clause */
/* SimVQ's image tokenizer against the published implementation. */
#include "tests/token_vector.h"

/* The averaged weights take the place of the plain ones: model_ema.NAME, NAME
 * without its dots. */
static void choose_averaged(check_tensors *list)
{
    int replaced = 0;

    for (size_t i = 0; i < list->count; i++) {
        char flat[CHECK_NAME] = "model_ema.";
        size_t n = strlen(flat);
        for (const char *p = list->tensor[i].name; *p; p++)
            if (*p != '.')
                flat[n++] = *p;
        const check_tensor *averaged = check_tensors_find(list, flat);
        if (!averaged)
            continue;
        assert_int_equal(averaged->bytes, list->tensor[i].bytes);
        memcpy(list->tensor[i].data, averaged->data, averaged->bytes);
        replaced++;
    }
    assert_true(replaced > 100);
}

static void test_plain(void **state)
{
    (void)state;
    token_check_vector(&tsri_image_codec_simvq, "simvq_ch32_48x64", "c",
                       choose_averaged, 13);
}

static void test_onednn(void **state)
{
    (void)state;
    token_check_vector(&tsri_image_codec_simvq, "simvq_ch32_48x64", "onednn",
                       choose_averaged, 13);
}

/* The averaged encoder is chosen there, too. */
static void test_imported(void **state)
{
    (void)state;
    token_check_imported(&tsri_image_codec_simvq, "simvq_ch32_48x64");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_onednn),
        cmocka_unit_test(test_imported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
