/* SPDX-License-Identifier: BSD-2-Clause */
/* Every allocation of reading and importing a checkpoint fails once: an error
 * each time, and nothing stays behind. */
#include <tessera/import.h>
#include "tests/check.h"
#include "tests/poor.h"
#include "tests/zip_gen.h"
#include "lib/checkpoint.h"

static tsr_context *ctx;
static const char *path;

static tsr_error drop(void *cookie, const void *data, size_t size)
{
    (void)data;
    *(size_t *)cookie += size;
    return TSR_OK;
}

static tsr_error import_all(void)
{
    tsr_import_settings s;
    tsr_import *import;
    size_t bytes = 0;
    const tsr_sink sink = { &bytes, drop };

    tsr_import_settings_init(&s);
    s.half = 1;
    tsr_error error = tsr_import_open(&import, ctx, &path, 1, &s);
    assert_true(!import == !!error);
    if (!error)
        error = tsr_import_write(import, NULL, &sink);
    tsr_import_close(&import);
    assert_true(error || bytes > 10000);
    return error;
}

static tsr_error read_all(void)
{
    tsri_checkpoint *cp;
    const void *data;
    tsr_error error = tsri_checkpoint_open(&cp, ctx, path);

    assert_true(!cp == !!error);
    for (size_t i = 0; !error && i < tsri_checkpoint_count(cp); i++)
        error = tsri_checkpoint_data(cp, i, &data);
    tsri_checkpoint_close(&cp);
    return error;
}

static void starve(const char *name, tsr_error (*work)(void))
{
    const int before = poor_held;
    char full[4096];
    tsr_error error;
    int n = 0;

    snprintf(full, sizeof full, "%s", strchr(name, '/') == name + 1
             ? name : check_path(name));
    path = full;
    do {
        poor_left = n++;
        error = work();
        poor_left = POOR_MANY;
        assert_int_equal(poor_held, before);
        assert_true(!error || error == TSR_E_NOMEM);
    } while (error);
    assert_true(n > 5);
}

#define FOLDER "tests/vectors/checkpoint/"

static void test_import(void **state)
{
    (void)state;
    starve(FOLDER "encodec_tiny.th", import_all);
    starve(FOLDER "tiny.mcquic", import_all);
    starve(FOLDER "vqgan-lc-tiny-last.pth", import_all);
}

static void test_read(void **state)
{
    static const char own[] = "./test_import_nomem.npz";
    static const char npy[] = "\x93NUMPY\1\0\x36\0{'descr':'<f4','shape':(2,),"
        "'fortran_order':False}         \n\0\0\0\0\0\0\0\0";
    zip_gen zip = { 0 };
    (void)state;
    starve(FOLDER "views.pt", read_all);
    starve(FOLDER "views_legacy.pt", read_all);
    starve(FOLDER "nested.pt", read_all);
    starve(FOLDER "views.pt.expected.safetensors", read_all);
    zip_gen_add(&zip, "a.npy", npy, sizeof npy - 1, ZIP_DEFLATE);
    zip_gen_add(&zip, "b.npy", npy, sizeof npy - 1, ZIP_DEFLATE);
    zip_gen_end(&zip, 0);
    FILE *f = fopen(own, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(zip.data, 1, zip.size, f), zip.size);
    assert_int_equal(fclose(f), 0);
    zip_gen_free(&zip);
    starve(own, read_all);
    remove(own);
}

static int setup(void **state)
{
    (void)state;
    ctx = poor_context("c", 1);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tsr_context_close(&ctx);
    return poor_held != 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_import), cmocka_unit_test(test_read),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
