/* SPDX-License-Identifier: BSD-2-Clause */
#include <stddef.h>
#include <tessera/stream.h>
#include "tools/batch.h"
#include "tools/engine.h"
#include "tools/pictures.h"
#include "tools/say.h"

static const opt transcode_options[] = {
    { "-q -q:v --quality", "N", "0 (smallest) to 100 (best); default: as it is",
      OPT_NUMBER, offsetof(args, quality), 0, 100 },
    { "-noalpha", NULL, "drop alpha, which is kept exactly otherwise", OPT_FLAG,
      offsetof(args, noalpha), 0, 0 },
    { NULL, NULL, NULL, OPT_FLAG, 0, 0, 0 }
};

/* What all files have in common. */
typedef struct work {
    tsr_context *ctx;
    tsr_model *model;       /* of the last file */
    batch batch;
} work;

static int check_input(const input *in)
{
    const char *what = !in->head_size ? "is empty"
        : input_is_tess(in, TSR_KIND_AUDIO) ? "is sound; 'tessera -i IN -b:a"
          " RATE OUT' codes it anew"
        : input_is_tess(in, TSR_KIND_MEDIA) ? "is video; 'tessera -i IN -q N"
          " OUT' codes it anew" : NULL;
    return what ? say_error(RC_INPUT, in->name, "%s", what) : RC_OK;
}

/* What no option says stays as it is. */
static int settings_of(work *w, const args *a, const input *in,
                       const tsr_image_info *info, tsr_image_settings *s)
{
    int rc;
    if (info->token_level < 0)
        return say_error(RC_INPUT, in->name, "is of codec %s, which has no"
                         " smaller picture inside: decode it, then encode",
                         info->codec);
    rc = pictures_settings(s, w->ctx, a, w->model, -1);
    if (!a->interleave)
        s->interleave = info->token_interleave;
    s->container |= !info->compact;
    return rc;
}

static int transcode(work *w, input *in, output *out, tsr_image_settings *s)
{
    const tsr_source source = input_source(in);
    const tsr_sink sink = output_sink(out);
    tsr_error error;

    s->progress = progress_hook(&w->batch.progress);
    error = tsr_image_transcode(w->ctx, w->model, s, &source, &sink);
    if (error && (out->fault || in->fault))
        return in->fault ? input_failed(in) : RC_USAGE;
    return error ? say_failure(in->name, error) : RC_OK;
}

static int one_file(void *cookie, args *a)
{
    work *w = cookie;
    input in;
    output out;
    tsr_image_info info;
    tsr_image_settings settings;
    int rc = input_open(&in, a->in);

    if (!rc)
        rc = check_input(&in);
    if (!rc)
        rc = pictures_probe(w->ctx, a, &in, &info, &w->model);
    if (!rc)
        rc = settings_of(w, a, &in, &info, &settings);
    if (!rc)
        rc = batch_output(&w->batch, ".tess", &in, &out);
    if (!rc) {
        rc = transcode(w, &in, &out, &settings);
        rc = batch_finish(&w->batch, &out, rc, !rc);
        if (!rc)
            say_info("%s: %llu bytes, of %llu", a->out,
                     (unsigned long long)out.bytes,
                     (unsigned long long)info.file_bytes);
    }
    input_close(&in);
    return rc;
}

static int check(const batch *b)
{
    const args *a = b->a;
    if (a->quality < 0 && !a->interleave && !a->container && !a->noalpha)
        return say_error(RC_USAGE, NULL, "nothing to change: -q N lowers the"
                         " rate; see 'tessera help transcode'");
    if (!b->folder && !a->out && !args_is_pipe(b->in[0]))
        return say_error(RC_USAGE, NULL, "no output; 'tessera transcode -q N"
                         " IN OUT'");
    return RC_OK;
}

static int run(args *a)
{
    work w = { .ctx = NULL };
    int rc = batch_open(&w.batch, a);

    if (!rc)
        rc = check(&w.batch);
    if (!rc)
        rc = engine_open(&w.ctx, a);
    if (!rc)
        rc = batch_run(&w.batch, one_file, &w);
    batch_close(&w.batch);
    tsr_model_unref(&w.model);
    tsr_context_close(&w.ctx);
    return rc;
}

const command command_transcode = {
    .name = "transcode",
    .summary = "a lower rate of a coded picture, without decoding it",
    .synopsis = "[options] [-i] IN ... [-o] OUT",
    .takes = "tess",
    .usage =
        "  tessera transcode -q 20 photo.tess small.tess\n"
        "  tessera transcode -q 20 -o small/ *.tess\n"
        "  tessera transcode -interleave 4 photo.tess robust.tess\n"
        "  tessera transcode -q 0 - - < photo.tess | ...\n",
    .notes =
        "For pictures of codes (codecs vqgan, simvq; model \"mosaic\"): their codes\n"
        "become those of a smaller codebook that is nested in the model, and the file\n"
        "is the one that encode -q would have made of the picture, byte for byte. It\n"
        "takes milliseconds. What no option names stays as it is, alpha too. A higher\n"
        "quality than the file's is refused: nothing could be gained. \"tessera info\"\n"
        "shows the level of a file, \"tessera models info\" the codes of each.\n"
        "\n"
        "Many inputs go into a folder. One that fails does not stop the others, and the\n"
        "exit status is the highest of all; -n leaves out those that are there.\n",
    .tables = { batch_options, transcode_options, pictures_options,
                args_output_options, args_engine_options, args_common_options },
    .run = run
};
