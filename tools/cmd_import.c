/* SPDX-License-Identifier: BSD-2-Clause */
/* Published checkpoints become model files. */
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <tessera/import.h>
#include "tools/commands.h"
#include "tools/engine.h"
#include "tools/input.h"
#include "tools/output.h"
#include "tools/progress.h"
#include "tools/say.h"

enum { ENDING = sizeof ".safetensors" - 1 };

static const opt import_options[] = {
    { "-i --input", "FILE", "a checkpoint; others may follow, as plain"
      " arguments", OPT_TEXT, offsetof(args, in), 0, 0 },
    { "-arch", "NAME", "mcquic, vqgan, simvq, hificodec, encodec, academicodec,"
      " xcodec, semanticodec; default auto", OPT_TEXT, offsetof(args, arch), 0, 0 },
    { "-name", "NAME", "of the model; default: the output's", OPT_TEXT,
      offsetof(args, name), 0, 0 },
    { "-licence -license", "SPDX", "licence of the weights, e.g. Apache-2.0",
      OPT_TEXT, offsetof(args, licence), 0, 0 },
    { "-ar -rate", "HZ", "sampling rate, where the checkpoint does not tell",
      OPT_INT, offsetof(args, rate), 1, 384000 },
    { "-half", NULL, "store in 16-bit floats what has two or more dimensions",
      OPT_FLAG, offsetof(args, half), 0, 0 },
    { "-dry-run", NULL, "only show what would become of each tensor", OPT_FLAG,
      offsetof(args, dry_run), 0, 0 },
    { NULL, NULL, NULL, OPT_FLAG, 0, 0, 0 }
};

/* ---- the table ---- */

static void spell_shape(const tsr_tensor *t, char *out, size_t size)
{
    size_t used = 0;

    snprintf(out, size, "-");
    for (int i = 0; i < t->rank && used < size; i++)
        used += (size_t)snprintf(out + used, size - used, "%s%" PRIu64,
                                 i ? "x" : "", t->dims[i]);
}

/* Names are of somebody's making: no control characters on a terminal. */
static void print_name(const char *name, int width)
{
    int n = 0;
    for (; *name; name++, n++)
        putchar((unsigned char)*name < 0x20 || *name == 0x7f ? '?' : *name);
    printf("%*s", n < width ? width - n : 0, "");
}

static void print_row(const tsr_import_tensor *t)
{
    char shape[128];

    spell_shape(t->tensor, shape, sizeof shape);
    print_name(t->tensor->name, 58);
    printf(" %-4s %-16s ", tsr_dtype_name(t->tensor->dtype), shape);
    if (t->fate == TSR_IMPORT_LEFT_OUT)
        printf("left out");
    else
        printf("%s %s", t->fate == TSR_IMPORT_KEPT ? "->" : "=>", t->target);
    printf("%s%s%s\n", *t->note ? " (" : "", t->note, *t->note ? ")" : "");
}

static void print_table(const tsr_import *import)
{
    tsr_import_tensor t;
    uint64_t bytes = 0;

    printf("%-58s %-4s %-16s %s\n", "tensor", "type", "shape", "becomes");
    for (size_t i = 0; i < tsr_import_count(import); i++) {
        tsr_import_at(import, i, &t);
        print_row(&t);
    }
    for (size_t i = 0; i < tsr_import_results(import); i++)
        bytes += tsr_import_result(import, i)->bytes;
    printf("%s: %zu tensors become %zu of %" PRIu64 " bytes\n",
           tsr_import_arch(import), tsr_import_count(import),
           tsr_import_results(import), bytes);
}

/* ---- the file ---- */

/* The name of the model: the output's without folder and ending. */
static const char *name_of(const args *a, char made[NAME_SIZE])
{
    const char *slash = a->out ? strrchr(a->out, '/') : NULL;
    const char *base = slash ? slash + 1 : a->out;

    if (a->name || !a->out || args_is_pipe(a->out))
        return a->name;
    const size_t n = strlen(base);
    const size_t cut = n > ENDING && !strcmp(base + n - ENDING, ".safetensors")
                           ? ENDING : 0;
    snprintf(made, NAME_SIZE, "%.*s", (int)(n - cut), base);
    return made;
}

/* What a checkpoint lacks is a fault of the input: there is no model yet. */
static int failed(const args *a, tsr_error error)
{
    const int rc = say_rc(error);
    return say_failure_as(rc == RC_MODEL || error == TSR_E_UNSUPPORTED
                              ? RC_INPUT : rc, a->file[0], error);
}

/* An output must not be one of the inputs. */
static int write_model(tsr_import *import, const args *a)
{
    progress p;
    output out;
    input in;

    int rc = input_open(&in, a->file[0]);
    if (rc)
        return rc;
    rc = progress_open(&p, a, a->out);
    if (rc) {
        input_close(&in);
        return rc;
    }
    rc = output_open(&out, a, &in, a->out);
    input_close(&in);
    if (!rc) {
        const tsr_sink sink = output_sink(&out);
        const tsr_progress hook = progress_hook(&p);
        const tsr_error error = tsr_import_write(import, &hook, &sink);
        rc = error ? failed(a, error) : RC_OK;
        const int closed = output_close(&out, !rc);
        rc = rc ? rc : closed;
        progress_close(&p, out.bytes, !rc);
    }
    return rc;
}

static int convert(tsr_context *ctx, const args *a)
{
    tsr_import_settings s;
    tsr_import *import;
    char made[NAME_SIZE];
    int rc = RC_OK;

    tsr_import_settings_init(&s);
    s.arch = a->arch ? a->arch : "auto";
    s.name = name_of(a, made);
    s.licence = a->licence;
    s.rate = a->rate;
    s.half = a->half;
    const tsr_error error = tsr_import_open(&import, ctx, a->file, a->files,
                                            &s);
    if (error)
        return failed(a, error);
    say_rest();
    if (a->dry_run)
        print_table(import);
    else
        rc = write_model(import, a);
    tsr_import_close(&import);
    return rc;
}

static int run(args *a)
{
    static const char *files[ARGS_MAX_FILES + 1];
    tsr_context *ctx;
    int count = 0;

    if (a->in)
        files[count++] = a->in;
    for (int i = 0; i < a->files; i++)
        files[count++] = a->file[i];
    if (!count)
        return say_error(RC_USAGE, NULL, "import wants a checkpoint");
    if (!a->out && !a->dry_run)
        return say_error(RC_USAGE, NULL, "import wants -o MODEL.safetensors, or"
                         " -dry-run");
    a->file = files;
    a->files = count;
    int rc = engine_open(&ctx, a);
    if (!rc)
        rc = convert(ctx, a);
    tsr_context_close(&ctx);
    return rc;
}

const command command_import = {
    .name = "import",
    .summary = "published checkpoints become model files",
    .synopsis = "[options] [-i] FILE [FILE ...] -o MODEL.safetensors",
    .takes = "pth pt ckpt th mcquic npy npz safetensors json",
    .usage =
        "  tessera import -licence Apache-2.0 qp_2.mcquic -o qp2.safetensors\n"
        "  tessera import vqgan-lc.pth codebook.pth -o lc.safetensors\n"
        "  tessera import -half encodec_24khz.th -o encodec.safetensors\n"
        "  tessera import -ar 16000 HiFi-Codec -o hifi.safetensors\n"
        "  tessera import -dry-run model.ckpt\n",
    .notes =
        "PyTorch files (zip or older), .npy, .npz, .safetensors and its index of\n"
        "several files are read; nothing in them is executed. What only training\n"
        "needs is left out: -dry-run shows every tensor. docs/models.md has a\n"
        "line for each published model.\n",
    .tables = { import_options, args_output_options, args_common_options },
    .run = run
};
