/* SPDX-License-Identifier: BSD-2-Clause */
/* A folder of its own in which models are looked for by their hash: in that of all
 * tests others are just writing theirs. */
#ifndef TSR_TESTS_MODEL_FOLDER_H
#define TSR_TESTS_MODEL_FOLDER_H
#include "tests/check.h"
#include <sys/stat.h>
#include <unistd.h>

static inline const char *model_folder_file(const char *folder)
{
    static char path[200];
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    return path;
}

/** Makes the folder, with a link to the model in it, and looks for models there. */
static inline void model_folder_open(const char *folder, const char *model)
{
    assert_int_equal(mkdir(folder, 0700), 0);
    assert_int_equal(link(model, model_folder_file(folder)), 0);
    assert_int_equal(setenv("TESSERA_MODELS", folder, 1), 0);
}

static inline void model_folder_close(const char *folder)
{
    assert_int_equal(unsetenv("TESSERA_MODELS"), 0);
    assert_int_equal(remove(model_folder_file(folder)), 0);
    assert_int_equal(rmdir(folder), 0);
}
#endif
