/* SPDX-License-Identifier: BSD-2-Clause */
/* Imports for tests: from a test vector or a path to a model that is open, and
 * what must be refused, before the elements are read or then. */
#ifndef TSR_TESTS_IMPORT_CASE_H
#define TSR_TESTS_IMPORT_CASE_H
#include <tessera/import.h>
#include <tessera/model.h>
#include "tests/check.h"
#include "tests/memory.h"

#define FOLDER "tests/vectors/checkpoint/"

static const char model_path[] = "./test_import.safetensors";
static const char plain_path[] = "./test_import_plain.safetensors";
static const char other_path[] = "./test_import_other.safetensors";
static char message[1024], warning[1024];
static tsr_context *ctx;

static void keep(void *cookie, tsr_log_level level, const char *text)
{
    (void)cookie;
    snprintf(level == TSR_LOG_WARNING ? warning : message, sizeof message, "%s",
             text);
}

static const char *vector(const char *name)
{
    static char path[256];
    if (strchr(name, '/'))
        return name;
    snprintf(path, sizeof path, FOLDER "%s", name);
    return check_path(path);
}

static tsr_error open_import(tsr_import **import, const char *name,
                             const tsr_import_settings *settings)
{
    const char *const files[] = { vector(name) };
    *message = *warning = 0;
    return tsr_import_open(import, ctx, files, 1, settings);
}

static void write_import(tsr_import *import, const char *path)
{
    mem_file out = { 0 };
    const tsr_sink sink = { &out, mem_write };
    if (tsr_import_write(import, NULL, &sink))
        fail_msg("%s", message);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(out.data, 1, out.size, f), out.size);
    assert_int_equal(fclose(f), 0);
    free(out.data);
}

/* Imports into model_path, and opens it. */
static tsr_model *import_file(const char *name,
                              const tsr_import_settings *settings)
{
    tsr_import *import;
    tsr_model *model;

    if (open_import(&import, name, settings))
        fail_msg("%s", message);
    write_import(import, model_path);
    tsr_import_close(&import);
    assert_int_equal(tsr_model_open(&model, ctx, model_path), TSR_OK);
    return model;
}

static void refused(const char *name, const tsr_import_settings *settings,
                    tsr_error error, const char *words)
{
    tsr_import *import;
    assert_int_equal(open_import(&import, name, settings), error);
    assert_null(import);
    if (!strstr(message, words))
        fail_msg("'%s' does not say '%s'", message, words);
}

/* Opens, but the contents are not sound. */
static void refused_late(const char *name, const tsr_import_settings *settings,
                         tsr_error error, const char *words)
{
    mem_file out = { 0 };
    const tsr_sink sink = { &out, mem_write };
    tsr_import *import;

    assert_int_equal(open_import(&import, name, settings), TSR_OK);
    assert_int_equal(tsr_import_write(import, NULL, &sink), error);
    assert_int_equal(out.size, 0);
    if (!strstr(message, words))
        fail_msg("'%s' does not say '%s'", message, words);
    tsr_import_close(&import);
}
#endif
