/* SPDX-License-Identifier: BSD-2-Clause */
/* The part of remux that is McQuic's files. */
#include <string.h>
#include <tessera/mcq.h>
#include "tools/commands.h"
#include "tools/engine.h"
#include "tools/input.h"
#include "tools/output.h"
#include "tools/say.h"

static int ends_in_mcq(const char *path)
{
    const size_t n = path ? strlen(path) : 0;
    return n > 4 && !strcmp(path + n - 4, ".mcq");
}

int mcq_is_meant(const args *a)
{
    return ends_in_mcq(a->in) || ends_in_mcq(a->out);
}

static int convert(tsr_context *ctx, tsr_model *model, const args *a, input *in)
{
    output out;
    int rc = output_open(&out, a, in, a->out);

    if (rc)
        return rc;
    const tsr_source source = input_source(in);
    const tsr_sink sink = output_sink(&out);
    const tsr_error error = ends_in_mcq(a->in)
                                ? tsr_mcq_read(ctx, model, &source, &sink)
                                : tsr_mcq_write(ctx, model, &source, &sink);
    rc = !error ? RC_OK
         : in->fault ? input_failed(in) : say_failure(in->name, error);
    const int closed = output_close(&out, !rc);
    return rc ? rc : closed;
}

int mcq_remux(const args *a)
{
    tsr_context *ctx = NULL;
    tsr_model *model = NULL;
    input in = { 0 };
    int rc = ends_in_mcq(a->in) && ends_in_mcq(a->out)
                 ? say_error(RC_USAGE, a->in, "is .mcq already") : RC_OK;

    if (!rc && ends_in_mcq(a->in) && !a->model)
        rc = say_error(RC_USAGE, a->in, "does not say its model: -model NAME");
    if (!rc)
        rc = input_open(&in, a->in);
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
