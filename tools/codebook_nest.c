/* SPDX-License-Identifier: BSD-2-Clause */
/* tessera codebook nest: coarser codebooks for a model of pictures of codes. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tools/codebook_nest.h"
#include "tools/commands.h"
#include "tools/engine.h"
#include "tools/json.h"
#include "tools/media/in.h"
#include "tools/output.h"
#include "tools/pictures.h"
#include "tools/progress.h"
#include "tools/say.h"

typedef struct nest_job {
    tsr_context *ctx;
    const args *a;
    tsr_model *model;
    tsr_tokens_nest_settings set;
    tsr_tokens *tokens;
    size_t n, room;
    progress progress;
    double first, share;    /* what the present part is of the whole */
} nest_job;

static int part(void *cookie, double done)
{
    nest_job *j = cookie;
    const tsr_progress p = progress_hook(&j->progress);

    return p.report(p.cookie, j->first + j->share * done);
}

/* -levels N,N,... */
static int read_levels(nest_job *j)
{
    const char *at = j->a->sizes;
    int last = 1 << 18;
    char *end;

    if (!at)
        return RC_OK;
    for (j->set.levels = 0; j->set.levels < TSR_TOKENS_LEVELS - 1; at = end + 1) {
        const long size = strtol(at, &end, 10);
        if (end == at || size < 1 || size >= last || (*end && *end != ','))
            break;
        last = (int)size;
        j->set.codes[j->set.levels++] = (int)size;
        if (!*end)
            return RC_OK;
    }
    return say_error(RC_USAGE, NULL, "-levels %s: up to %d numbers of codes,"
                     " falling, as in 4096,1024,256", j->a->sizes,
                     TSR_TOKENS_LEVELS - 1);
}

static tsr_tokens *next_tokens(nest_job *j)
{
    const size_t room = j->room ? 2 * j->room : 64;
    tsr_tokens *more;

    if (j->n < j->room)
        return &j->tokens[j->n];
    more = realloc(j->tokens, room * sizeof *more);
    if (!more)
        return NULL;
    j->tokens = more;
    j->room = room;
    return &j->tokens[j->n];
}

static int take_picture(nest_job *j, const char *name, const tsr_image *image)
{
    tsr_tokens *tokens = next_tokens(j);
    tsr_image_settings s;
    tsr_error error;

    if (!tokens)
        return say_error(RC_MACHINE, name, "out of memory");
    tsr_image_settings_init(&s);
    s.quality = 100;
    s.progress = (tsr_progress){ j, part };
    error = tsr_tokens_from_image(j->ctx, j->model, &s, image, tokens);
    if (error)
        return say_failure(say_rc(error) == RC_MODEL
                           ? tsr_model_path(j->model) : name, error);
    j->n++;
    return RC_OK;
}

/* All frames of a file. */
static int take_file(nest_job *j, const char *path)
{
    const media_in_want want = { .video = 1 };
    media_in *media = NULL;
    media_in_item item;
    int end = 0, rc;
    input in;

    rc = input_open(&in, path);
    if (rc)
        return rc;
    rc = media_in_open(&media, j->ctx, j->a, &in, &want);
    while (!rc) {
        rc = media_in_next(media, &item, &end);
        if (rc || end)
            break;
        rc = take_picture(j, path, &item.image);
    }
    if (!rc)
        rc = media_in_finish(media);
    media_in_close(&media);
    input_close(&in);
    return rc;
}

static int take_files(nest_job *j)
{
    const int n = j->a->files;
    int rc = RC_OK;

    j->share = 0.5 / n;
    for (int i = 0; !rc && i < n; i++) {
        j->first = j->share * i;
        rc = take_file(j, j->a->file[i]);
    }
    j->first = j->share = 0.5;
    return rc;
}

static void print_json(const tsr_tokens_nest_result *r)
{
    printf("{\"fitted\": %llu, \"held\": %llu, \"context\": %s, \"levels\": [",
           (unsigned long long)r->fitted, (unsigned long long)r->held,
           r->context ? "true" : "false");
    for (int i = 0; i < r->levels; i++) {
        printf("%s{\"codes\": %d, \"fixed\": ", i ? ", " : "", r->codes[i]);
        json_number(r->fixed_bits[i], 4);
        printf(", \"frequency\": ");
        json_number(r->frequency_bits[i], 4);
        printf(", \"neighbours\": ");
        json_number(r->context ? r->context_bits[i] : NAN, 4);
        putchar('}');
    }
    puts("]}");
}

static void print_table(const tsr_tokens_nest_result *r)
{
    printf("%llu codes of pictures counted, %llu held back; bits a code of"
           " %s:\n%-10s%10s%12s%12s\n", (unsigned long long)r->fitted,
           (unsigned long long)r->held, r->held ? "these" : "those counted",
           "codes", "fixed", "frequency", "neighbours");
    for (int i = 0; i < r->levels; i++) {
        printf("%-10d%10.3f%12.3f", r->codes[i], r->fixed_bits[i],
               r->frequency_bits[i]);
        if (r->context)
            printf("%12.3f", r->context_bits[i]);
        putchar('\n');
    }
}

static int write_model(nest_job *j, output *out, tsr_tokens_nest_result *r)
{
    const tsr_sink sink = output_sink(out);
    tsr_error error;

    j->set.progress = (tsr_progress){ j, part };
    error = tsr_tokens_nest(j->ctx, j->model, &j->set, j->tokens, j->n, &sink, r);
    if (!error || out->fault)
        return RC_OK;       /* output_close() says what */
    return say_failure(say_rc(error) == RC_USAGE ? NULL
                       : tsr_model_path(j->model), error);
}

/* The report goes where the model does not. */
static int work(nest_job *j, const input *from)
{
    tsr_tokens_nest_result r = { 0 };
    output out;
    int kept, rc = output_open(&out, j->a, from, j->a->out);

    if (rc)
        return rc;
    rc = progress_open(&j->progress, j->a, j->a->out);
    if (!rc) {
        rc = take_files(j);
        if (!rc)
            rc = write_model(j, &out, &r);
        progress_close(&j->progress, out.bytes, !rc);
    }
    kept = output_close(&out, !rc);
    if (!rc && !kept && !args_is_pipe(j->a->out))
        (j->a->json ? print_json : print_table)(&r);
    return rc ? rc : kept;
}

static int open_model(nest_job *j)
{
    tsr_tokens_model info;
    int rc = engine_open_model(&j->model, j->ctx, j->a->in);

    if (!rc && !pictures_tokens(j->ctx, j->model, &info))
        rc = say_error(RC_MODEL, tsr_model_path(j->model), "is no model of"
                       " pictures of codes (vqgan, simvq)");
    if (!rc && j->set.levels &&
        j->set.codes[j->set.levels - 1] >= info.codes[0])
        rc = say_error(RC_USAGE, NULL, "the model has %d codes: -levels must"
                       " ask for fewer", info.codes[0]);
    return rc;
}

int codebook_nest(args *a)
{
    char made[NAME_SIZE];
    nest_job j = { .a = a };
    input from = { .name = NULL };
    int rc;

    if (!a->in && a->files) {
        a->in = *a->file++;
        a->files--;
    }
    if (!a->in || !a->files)
        return say_error(RC_USAGE, NULL, "nest wants a model and pictures");
    rc = command_output(a, ".safetensors", ".nested.safetensors", made);
    tsr_tokens_nest_settings_init(&j.set);
    j.set.seed = (uint64_t)a->seed;
    if (!rc)
        rc = read_levels(&j);
    if (!rc)
        rc = engine_open(&j.ctx, a);
    if (!rc)
        rc = open_model(&j);
    if (!rc)
        rc = input_open(&from, tsr_model_path(j.model));
    if (!rc)
        rc = work(&j, &from);
    if (from.name)
        input_close(&from);
    for (size_t i = 0; i < j.n; i++)
        tsr_tokens_free(j.ctx, &j.tokens[i]);
    free(j.tokens);
    tsr_model_unref(&j.model);
    tsr_context_close(&j.ctx);
    return rc;
}
