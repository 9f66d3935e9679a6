/* SPDX-License-Identifier: BSD-2-Clause */
/* Files of McQuic's and EnCodec's own programs of anybody's making: what is read
 * can be written, and is then read as the same. */
#include "tests/fuzz/fuzz_bytes.h"
#include "tests/fuzz/fuzz_model.h"
#include <tessera/ecdc.h>
#include <tessera/import.h>
#include <tessera/mcq.h>

/* The checkpoint of a small model, imported; opened once. */
static tsr_model *model_of(bool sound)
{
    static tsr_model *models[2];
    const char *root = getenv("TSR_SRCDIR");
    char from[4096];
    const char *const files[] = { from };
    tsr_import *import;
    fuzz_bytes out = { NULL, 0, 0 };
    const tsr_sink sink = { &out, fuzz_put };

    if (models[sound])
        return models[sound];
    snprintf(from, sizeof from, "%s/tests/vectors/checkpoint/%s",
             root ? root : ".", sound ? "encodec_tiny.th" : "tiny.mcquic");
    FUZZ_CHECK(!tsr_import_open(&import, fuzz_context(false), files, 1, NULL));
    FUZZ_CHECK(!tsr_import_write(import, NULL, &sink));
    tsr_import_close(&import);
    FUZZ_CHECK(!fuzz_open_bytes(&models[sound], out.data, out.size));
    free(out.data);
    return models[sound];
}

static tsr_error read_foreign(bool sound, fuzz_bytes *in, fuzz_bytes *out)
{
    const tsr_source source = { in, fuzz_get };
    const tsr_sink sink = { out, fuzz_put };

    return (sound ? tsr_ecdc_read : tsr_mcq_read)(
        fuzz_context(false), model_of(sound), &source, &sink);
}

static void there_and_back(bool sound, fuzz_bytes *tess)
{
    fuzz_bytes own = { NULL, 0, 0 }, again = { NULL, 0, 0 };
    const tsr_source source = { tess, fuzz_get };
    const tsr_sink sink = { &own, fuzz_put };

    FUZZ_CHECK(!(sound ? tsr_ecdc_write : tsr_mcq_write)(
        fuzz_context(false), model_of(sound), &source, &sink));
    FUZZ_CHECK(!read_foreign(sound, &own, &again));
    FUZZ_CHECK(again.size == tess->size &&
               !memcmp(again.data, tess->data, again.size));
    free(own.data);
    free(again.data);
}

void fuzz_target(const uint8_t *data, size_t size)
{
    fuzz_input in = { data, size };
    const bool sound = fuzz_u8(&in) & 1;
    fuzz_bytes file = { fuzz_copy(&in), in.size, 0 }, tess = { NULL, 0, 0 };
    const tsr_error error = read_foreign(sound, &file, &tess);

    FUZZ_CHECK(error != TSR_E_INTERNAL && error != TSR_E_NOMEM);
    FUZZ_CHECK(!error || !tess.size);
    if (!error)
        there_and_back(sound, &tess);
    free(file.data);
    free(tess.data);
}
