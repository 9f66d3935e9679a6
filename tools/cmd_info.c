/* SPDX-License-Identifier: BSD-2-Clause */
#include <inttypes.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <tessera/image.h>
#include <tessera/stream.h>
#include "tools/chunks.h"
#include "tools/commands.h"
#include "tools/engine.h"
#include "tools/input.h"
#include "tools/json.h"
#include "tools/media/info.h"
#include "tools/pictures.h"
#include "tools/say.h"
#include "tools/sound/sound.h"

enum { MAX_LAYERS = 8, BAR = 30 };

static const opt info_options[] = {
    { "-i --input", "FILE", "the .tess file; also plain arguments; - is stdin",
      OPT_TEXT, offsetof(args, in), 0, 0 },
    { "--json", NULL, "a JSON object for each file, one a line", OPT_FLAG,
      offsetof(args, json), 0, 0 },
    { "--check", NULL, "read everything, compare every checksum", OPT_FLAG,
      offsetof(args, check), 0, 0 },
    { NULL, NULL, NULL, OPT_FLAG, 0, 0, 0 }
};

/* All that is told of one file. */
typedef struct report {
    const char *name;
    tsr_image_info i;
    const char *model;         /* its name, or NULL: not on this machine */
    tsr_tokens_model codes;    /* of the model; factor 0: none, or no model */
    int checked;               /* --check was possible */
    chunks found;              /* of --check */
} report;

static double bits_per_pixel(const report *r, uint64_t bytes)
{
    return 8.0 * (double)bytes / ((double)r->i.width * r->i.height);
}

static void row(const report *r, const char *name, uint64_t bytes)
{
    const double part = r->i.file_bytes
        ? (double)bytes / (double)r->i.file_bytes : 0;
    int bar = (int)(part * BAR + 0.5);
    bar = bar < 0 ? 0 : bar > BAR ? BAR : bar;
    printf("  %-14s %10" PRIu64 "  %5.1f %%  %7.4f%s%.*s\n", name, bytes,
           100 * part, bits_per_pixel(r, bytes), bar ? "  " : "", bar,
           "##############################");
}

static int layers(const tsr_image_info *i)
{
    int n = 0;
    while (n < MAX_LAYERS && i->layer_name[n])
        n++;
    return n;
}

static void print_bytes(const report *r)
{
    printf("  %-14s %10s  %7s  %7s\n", "part", "bytes", "share", "bpp");
    row(r, "header", r->i.header_bytes);
    if (r->i.alpha_bytes)
        row(r, "alpha", r->i.alpha_bytes);
    if (!layers(&r->i))
        row(r, "tokens", r->i.token_bytes);
    for (int l = 0; l < layers(&r->i); l++)
        row(r, r->i.layer_name[l], r->i.layer_bytes[l]);
    printf("  %-14s %10" PRIu64 "           %7.4f\n", "file",
           r->i.file_bytes, bits_per_pixel(r, r->i.file_bytes));
}

static void print_check(const report *r)
{
    if (!r->checked)
        printf("check      not possible without the model\n");
    else if (r->i.compact)
        printf("check      %s\n", r->i.damaged ? "damaged" : "sound");
    else
        printf("check      %" PRIu64 " of %" PRIu64 " chunks are sound%s\n",
               r->found.sound, r->found.sound + r->found.lost,
               r->found.damage.truncated ? "; the end is missing" : "");
}

static void print_hash(const tsr_image_info *i)
{
    for (int b = 0; b < i->model_hash_bytes; b++)
        printf("%02x", i->model_hash[b]);
}

static int is_of_codes(const report *r)
{
    return r->i.token_level >= 0;
}

/* Codes of a side of so many pixels. */
static int codes_of(const report *r, int pixels)
{
    return (pixels + r->codes.factor - 1) / r->codes.factor;
}

static void print_codes(const report *r)
{
    printf("codes      ");
    if (r->codes.factor)
        printf("%d x %d, each one of %d, ", codes_of(r, r->i.width),
               codes_of(r, r->i.height), r->codes.codes[r->i.token_level]);
    printf("level %d\ncoding     %s context, interleave %d\n", r->i.token_level,
           r->i.token_context ? "with" : "without", r->i.token_interleave);
}

static void print_text(const report *r, int check)
{
    static const char *const channels[] = { "", "grey", "grey and alpha",
                                            "RGB", "RGB and alpha" };
    printf("%s\n", r->name);
    printf("picture    %d x %d, %s, %d bits\n", r->i.width, r->i.height,
           channels[r->i.channels >= 1 && r->i.channels <= 4
                    ? r->i.channels : 0], r->i.bits);
    printf("codec      %s", r->i.codec[0] ? r->i.codec : "unknown");
    if (r->i.quality >= 0)
        printf(", quality %.0f", r->i.quality);
    printf("\n");
    if (is_of_codes(r))
        print_codes(r);
    printf("form       %s\n", r->i.compact ? "compact" : "chunks");
    printf("units      %d of %d\n", r->i.units_found, r->i.units);
    printf("model      %s\nhash       ", r->model ? r->model
                                                  : "not on this machine");
    print_hash(&r->i);
    printf("\n");
    if (check)
        print_check(r);
    print_bytes(r);
}

static void print_json_bytes(const report *r)
{
    printf(", \"file_bytes\": %" PRIu64 ", \"bpp\": ", r->i.file_bytes);
    json_number(bits_per_pixel(r, r->i.file_bytes), 6);
    printf(", \"header_bytes\": %" PRIu64 ", \"alpha_bytes\": %" PRIu64
           ", \"token_bytes\": %" PRIu64 ", \"layers\": [", r->i.header_bytes,
           r->i.alpha_bytes, r->i.token_bytes);
    for (int l = 0; l < layers(&r->i); l++) {
        printf("%s{\"name\": ", l ? ", " : "");
        json_string(r->i.layer_name[l]);
        printf(", \"bytes\": %" PRIu64 "}", r->i.layer_bytes[l]);
    }
    printf("]");
}

static void print_json_codes(const report *r)
{
    printf(", \"level\": %d, \"interleave\": %d, \"context\": %s",
           r->i.token_level, r->i.token_interleave,
           r->i.token_context ? "true" : "false");
    if (r->codes.factor)
        printf(", \"grid\": [%d, %d], \"codes\": %d",
               codes_of(r, r->i.height), codes_of(r, r->i.width),
               r->codes.codes[r->i.token_level]);
}

static void print_json(const report *r, int check)
{
    printf("{\"file\": ");
    json_string(r->name);
    printf(", \"width\": %d, \"height\": %d, \"channels\": %d, \"bits\": %d"
           ", \"codec\": ", r->i.width, r->i.height, r->i.channels, r->i.bits);
    json_string(r->i.codec);
    printf(", \"quality\": ");
    json_number(r->i.quality < 0 ? NAN : r->i.quality, 2);
    printf(", \"model_hash\": \"");
    print_hash(&r->i);
    printf("\", \"model\": ");
    if (r->model)
        json_string(r->model);
    else
        printf("null");
    printf(", \"compact\": %s, \"units\": %d, \"units_found\": %d",
           r->i.compact ? "true" : "false", r->i.units, r->i.units_found);
    if (is_of_codes(r))
        print_json_codes(r);
    print_json_bytes(r);
    if (check)
        printf(", \"checked\": %s", r->checked ? "true" : "false");
    if (check && !r->i.compact)
        printf(", \"chunks_sound\": %" PRIu64 ", \"chunks_lost\": %" PRIu64
               ", \"truncated\": %s", r->found.sound, r->found.lost,
               r->found.damage.truncated ? "true" : "false");
    printf(", \"damaged\": %s}\n", r->i.damaged ? "true" : "false");
}

static int probe(tsr_context *ctx, input *in, const args *a, report *r)
{
    tsr_error error;
    tsr_source source;
    int rc = a->check ? input_rewindable(in) : RC_OK;
    if (rc)
        return rc;
    source = input_source(in);
    error = tsr_image_probe(ctx, &source, &r->i);
    if (error)
        return in->fault ? input_failed(in) : say_failure(in->name, error);
    if (!a->check)
        return RC_OK;
    rc = input_rewind(in);
    if (rc || r->i.compact)
        return rc;
    rc = chunks_check(ctx, in, &r->found);
    r->checked = 1;
    r->i.damaged |= r->found.bad;
    return rc;
}

/* What decoding all of a file without checksums says of it. */
static int check_ended(const input *in, tsr_error error, report *r)
{
    r->checked = 1;
    if (!error || error == TSR_E_CANCELED)
        return RC_OK;
    r->i.damaged = say_rc(error) == RC_INPUT;
    if (!r->i.damaged)
        return in->fault ? input_failed(in) : say_failure(in->name, error);
    say_take_detail();
    return RC_OK;
}

static int stop_at_once(void *cookie, double done)
{
    (void)cookie;
    (void)done;
    return 1;
}

/* The compact form has no checksum: that its tokens decode is the check.  They
 * all do before the first pixel, where this stops; the small memory makes that
 * soon. */
static int check_compact(const args *a, tsr_model *model, input *in, report *r)
{
    static const tsr_progress stop = { NULL, stop_at_once };
    const tsr_source source = input_source(in);
    tsr_context *ctx;
    tsr_image image;
    tsr_error error;
    args small = *a;
    int rc;

    small.max_memory = 1 << 24;
    rc = engine_open(&ctx, &small);
    if (rc)
        return rc;
    error = tsr_image_decode(ctx, model, &stop, &source, &image);
    tsr_image_free(ctx, &image);
    tsr_context_close(&ctx);
    return check_ended(in, error, r);
}

/* The same of codes, which need no nets. */
static int check_codes(tsr_context *ctx, tsr_model *model, input *in, report *r)
{
    const tsr_source source = input_source(in);
    tsr_tokens codes;
    int width, height;
    const tsr_error error = tsr_tokens_read(ctx, model, &source, &codes, &width,
                                            &height);
    if (!error || codes.id)
        tsr_tokens_free(ctx, &codes);
    return check_ended(in, error, r);
}

/* Whether the model is here: silently, for it may well not be. */
static tsr_model *find_model(tsr_context *ctx, const tsr_image_info *i)
{
    tsr_model *model = NULL;
    if (i->model_hash_bytes > 0 &&
        tsr_model_open_hash(&model, ctx, i->model_hash,
                            (size_t)i->model_hash_bytes))
        say_take_detail();
    return model;
}

static int tell(const report *r, const args *a)
{
    if (a->json)
        print_json(r, a->check);
    else
        print_text(r, a->check);
    if (r->i.damaged)
        return say_error(RC_INPUT, r->name, "is damaged");
    if (a->check && !r->checked)
        return say_error(RC_MODEL, r->name, "cannot be checked without its"
                         " model");
    return RC_OK;
}

static int one_file(tsr_context *ctx, const args *a, const char *path)
{
    input in;
    report r = { 0 };
    tsr_model *model = NULL;
    int rc = input_open(&in, path);

    if (rc)
        return rc;
    if (input_is_tess(&in, TSR_KIND_AUDIO) ||
        input_is_tess(&in, TSR_KIND_MEDIA)) {
        rc = input_is_tess(&in, TSR_KIND_AUDIO) ? sound_info(ctx, a, &in)
                                                : media_info(ctx, a, &in);
        input_close(&in);
        return rc;
    }
    r.name = in.name;
    rc = probe(ctx, &in, a, &r);
    if (!rc)
        model = find_model(ctx, &r.i);
    r.model = model ? tsr_model_name(model) : NULL;
    if (model && (!is_of_codes(&r) || !pictures_tokens(ctx, model, &r.codes) ||
                  !r.codes.codes[r.i.token_level]))
        r.codes.factor = 0;
    if (!rc && a->check && r.i.compact && model)
        rc = is_of_codes(&r) ? check_codes(ctx, model, &in, &r)
                             : check_compact(a, model, &in, &r);
    input_close(&in);
    if (!rc)
        rc = tell(&r, a);
    tsr_model_unref(&model);
    return rc;
}

static int run(args *a)
{
    tsr_context *ctx;
    int rc, worst = RC_OK;

    if (!a->in && !a->files)
        return say_error(RC_USAGE, NULL, "no file; 'tessera info FILE'");
    rc = engine_open(&ctx, a);
    if (rc)
        return rc;
    if (a->in)
        worst = one_file(ctx, a, a->in);
    for (int i = 0; i < a->files; i++) {
        rc = one_file(ctx, a, a->file[i]);
        worst = rc > worst ? rc : worst;
    }
    tsr_context_close(&ctx);
    return worst;
}

const command command_info = {
    .name = "info",
    .summary = "what a .tess file holds, and where its bytes go",
    .synopsis = "[options] FILE ...",
    .takes = "tess mov nut",
    .usage =
        "  tessera info photo.tess speech.tess\n"
        "  tessera info --check *.tess\n"
        "  tessera info --json photo.tess | python3 -m json.tool\n",
    .notes =
        "Needs no model, but for --check of the compact form, which has no checksums.\n"
        "The exit status is 2 if a file is damaged.\n",
    .tables = { info_options, args_common_options },
    .run = run
};
