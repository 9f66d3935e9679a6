/* SPDX-License-Identifier: BSD-2-Clause */
/* The part of remux that is the files of codecs' own programs. */
#include <string.h>
#include <tessera/ecdc.h>
#include <tessera/mcq.h>
#include <tessera/stream.h>
#include "tools/commands.h"
#include "tools/engine.h"
#include "tools/input.h"
#include "tools/output.h"
#include "tools/say.h"

typedef tsr_error conversion(tsr_context *context, tsr_model *model,
                             const tsr_source *source, const tsr_sink *sink);

typedef struct kind {
    const char *ending;
    conversion *read, *write;   /* to .tess, from it */
} kind;

static const kind kinds[] = {
    { ".mcq", tsr_mcq_read, tsr_mcq_write },
    { ".ecdc", tsr_ecdc_read, tsr_ecdc_write },
};

/* NULL: none of them. */
static const kind *kind_of(const char *path)
{
    const size_t n = path ? strlen(path) : 0;

    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        const size_t m = strlen(kinds[i].ending);
        if (n > m && !strcmp(path + n - m, kinds[i].ending))
            return &kinds[i];
    }
    return NULL;
}

int foreign_is_meant(const args *a)
{
    return kind_of(a->in) || kind_of(a->out);
}

static int convert(tsr_context *ctx, tsr_model *model, const args *a, input *in)
{
    const kind *const from = kind_of(a->in);
    output out;
    int rc = output_open(&out, a, in, a->out);

    if (rc)
        return rc;
    const tsr_source source = input_source(in);
    const tsr_sink sink = output_sink(&out);
    const tsr_error error = (from ? from->read : kind_of(a->out)->write)(
        ctx, model, &source, &sink);
    rc = !error ? RC_OK
         : in->fault ? input_failed(in)
         : error == TSR_E_UNSUPPORTED ? say_failure_as(RC_INPUT, in->name, error)
                                      : say_failure(in->name, error);
    const int closed = output_close(&out, !rc);
    return rc ? rc : closed;
}

/* A picture is no sound whatever model was named. */
static int check_input(const args *a, const input *in)
{
    const int compact = in->head_size >= 2 && !memcmp(in->head, "\xc7T", 2);

    if (kind_of(a->in) || kind_of(a->out)->write != tsr_ecdc_write ||
        (!compact && !input_is_tess(in, TSR_KIND_IMAGE)))
        return RC_OK;
    return say_error(RC_INPUT, in->name, "is a picture, and .ecdc files hold"
                     " sound");
}

static int check(const args *a)
{
    if (kind_of(a->in) && kind_of(a->out))
        return say_error(RC_USAGE, a->out, "is written from .tess only");
    if (kind_of(a->in) && !a->model)
        return say_error(RC_USAGE, a->in, "does not say its model: -model NAME");
    return RC_OK;
}

int foreign_remux(const args *a)
{
    tsr_context *ctx = NULL;
    tsr_model *model = NULL;
    input in = { 0 };
    int rc = check(a);

    if (!rc)
        rc = input_open(&in, a->in);
    if (!rc)
        rc = check_input(a, &in);
    if (!rc)
        rc = engine_open(&ctx, a);
    if (!rc && a->model)
        rc = engine_open_model(&model, ctx, a->model);
    if (!rc)
        rc = convert(ctx, model, a, &in);
    tsr_model_unref(&model);
    tsr_context_close(&ctx);
    input_close(&in);
    return rc;
}
