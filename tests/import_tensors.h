/* SPDX-License-Identifier: BSD-2-Clause */
/* Tensors of the published names, imported into a model that is open: for tests
 * of codecs against vectors. */
#ifndef TSR_TESTS_IMPORT_TENSORS_H
#define TSR_TESTS_IMPORT_TENSORS_H
#include <tessera/import.h>
#include <tessera/model.h>
#include "tests/memory.h"
#include "tests/tensors.h"

/** from: the checkpoint.  path: for a file that is gone again afterwards; may be
 *  `from`. */
static inline tsr_model *import_with(tsr_context *ctx, const char *from,
                                     const tsr_import_settings *settings,
                                     const char *path)
{
    const char *const files[] = { from };
    mem_file out = { 0 };
    const tsr_sink sink = { &out, mem_write };
    tsr_import *import;
    tsr_model *model;

    assert_int_equal(tsr_import_open(&import, ctx, files, 1, settings), TSR_OK);
    assert_int_equal(tsr_import_write(import, NULL, &sink), TSR_OK);
    tsr_import_close(&import);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(out.data, 1, out.size, f), out.size);
    assert_int_equal(fclose(f), 0);
    free(out.data);
    assert_int_equal(tsr_model_open(&model, ctx, path), TSR_OK);
    assert_int_equal(remove(path), 0); /* it stays mapped */
    return model;
}

/** arch: NULL: told by the tensors.  rate: 0: that of the architecture. */
static inline tsr_model *import_path(tsr_context *ctx, const char *from,
                                     const char *arch, int rate, const char *path)
{
    tsr_import_settings settings;

    tsr_import_settings_init(&settings);
    settings.rate = rate;
    if (arch)
        settings.arch = arch;
    return import_with(ctx, from, &settings, path);
}

static inline tsr_model *import_tensors(tsr_context *ctx, check_tensors *list,
                                        const char *arch, int rate,
                                        const char *path)
{
    check_tensors_write(list, SIZE_MAX, NULL, path);
    return import_path(ctx, path, arch, rate, path);
}
#endif
