/* SPDX-License-Identifier: BSD-2-Clause */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "tools/commands.h"
#include "tools/engine.h"
#include "tools/pictures.h"
#include "tools/say.h"

enum { MAX_NAMES = 256, MAX_NAME = 64 };

/* What a walk through the model files carries along. */
typedef struct tour {
    tsr_context *ctx;
    int found, rc;
    char name[MAX_NAMES][MAX_NAME]; /* those that are listed already */
    int names;
} tour;

static void print_hash(const uint8_t *hash, int bytes)
{
    for (int i = 0; i < bytes; i++)
        printf("%02x", hash[i]);
}

static const char *meta(const tsr_model *model, const char *key)
{
    const char *text = tsr_model_meta(model, key);
    return text ? text : "-";
}

/* The name that -model wants: that of the file, without its extension. */
static void name_of(const char *path, char name[MAX_NAME])
{
    const char *slash = strrchr(path, '/');
    const char *base = slash ? slash + 1 : path;
    const char *dot = strrchr(base, '.');
    snprintf(name, MAX_NAME, "%.*s", (int)(dot ? dot - base : MAX_NAME), base);
}

/* Whether an earlier folder has a model of that name, which hides this one;
 * takes the name down if not. */
static int is_hidden(tour *t, const char *name)
{
    for (int i = 0; i < t->names; i++)
        if (!strcmp(t->name[i], name))
            return 1;
    if (t->names < MAX_NAMES)
        snprintf(t->name[t->names++], MAX_NAME, "%s", name);
    return 0;
}

static int list_one(void *cookie, const char *path)
{
    tour *t = cookie;
    char name[MAX_NAME];
    tsr_model *model;
    tsr_error error;

    name_of(path, name);
    if (is_hidden(t, name))
        return 0;
    error = tsr_model_open(&model, t->ctx, path);
    if (error) {
        t->rc = say_failure_as(RC_MODEL, path, error);
        return 0;
    }
    t->found++;
    printf("%-16s %-8s %9.2f  ", name, tsr_model_codec(model),
           (double)tsr_model_file_bytes(model) / 1e6);
    print_hash(tsr_model_hash(model), 8);
    printf("  %s\n", meta(model, "license"));
    tsr_model_unref(&model);
    return 0;
}

static int list(tsr_context *ctx)
{
    tour t = { .ctx = ctx };
    printf("%-16s %-8s %9s  %-16s  %s\n", "name", "codec", "MB", "hash",
           "licence");
    tsr_model_files(list_one, &t);
    if (!t.found && !t.rc)
        return say_error(RC_MODEL, NULL, "no model was found; 'tessera models"
                         " path' shows where");
    return t.rc;
}

static uint64_t count_values(const tsr_model *model)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < tsr_model_tensor_count(model); i++) {
        const tsr_tensor *t = tsr_model_tensor_at(model, i);
        sum += t->bytes / tsr_dtype_bytes(t->dtype);
    }
    return sum;
}

/* Of models of pictures that are codes in a grid. */
static void print_tokens(tsr_context *ctx, tsr_model *model)
{
    tsr_tokens_model t;
    if (!pictures_tokens(ctx, model, &t))
        return;
    printf("factor   %d: a code for each %d x %d pixels\ncodes    ", t.factor,
           t.factor, t.factor);
    for (int i = 0; i < t.levels; i++)
        printf("%s%d", i ? ", " : "", t.codes[i]);
    printf("%s\ncontext  %s\nfilling  %s\n", t.levels > 1
           ? ": levels 0, the finest, and coarser ones" : "", t.context
           ? "neighbouring codes tell a code's class" : "none", t.filling
           ? "a net puts codes in place of lost ones"
           : "neighbours stand in for lost codes");
}

static int info(tsr_context *ctx, const char *name)
{
    tsr_model *model;
    const int rc = engine_open_model(&model, ctx, name);
    if (rc)
        return rc;
    printf("name     %s\npath     %s\ncodec    %s\nlicence  %s\n",
           tsr_model_name(model), tsr_model_path(model),
           tsr_model_codec(model), meta(model, "license"));
    printf("bytes    %" PRIu64 "\ntensors  %zu, %" PRIu64 " values\nhash     ",
           tsr_model_file_bytes(model), tsr_model_tensor_count(model),
           count_values(model));
    print_hash(tsr_model_hash(model), TSR_MODEL_HASH_BYTES);
    printf("\n");
    print_tokens(ctx, model);
    tsr_model_unref(&model);
    return RC_OK;
}

static int print_folder(void *cookie, const char *folder)
{
    ++*(int *)cookie;
    printf("%s\n", folder);
    return 0;
}

static int folders(void)
{
    int count = 0;
    tsr_model_folders(print_folder, &count);
    return count ? RC_OK
                 : say_error(RC_MODEL, NULL, "no model folder exists;"
                             " $TESSERA_MODELS can name some");
}

static int path(tsr_context *ctx, const char *name)
{
    tsr_model *model;
    const int rc = engine_open_model(&model, ctx, name);
    if (!rc)
        printf("%s\n", tsr_model_path(model));
    tsr_model_unref(&model);
    return rc;
}

/* Opening a model compares its hash, so that is the whole check. */
static int verify_one(void *cookie, const char *name)
{
    tour *t = cookie;
    tsr_model *model;
    const tsr_error error = tsr_model_open(&model, t->ctx, name);
    t->found++;
    if (error) {
        t->rc = say_failure_as(RC_MODEL, name, error);
        return 0;
    }
    printf("%s: sound\n", tsr_model_path(model));
    tsr_model_unref(&model);
    return 0;
}

static int verify(tsr_context *ctx, const args *a)
{
    tour t = { .ctx = ctx };
    for (int i = 1; i < a->files; i++)
        verify_one(&t, a->file[i]);
    if (a->files < 2)
        tsr_model_files(verify_one, &t);
    return t.found ? t.rc : say_error(RC_MODEL, NULL, "no model was found");
}

static int act(tsr_context *ctx, const args *a)
{
    const char *verb = a->files ? a->file[0] : "list";
    if (!strcmp(verb, "list") && a->files < 2)
        return list(ctx);
    if (!strcmp(verb, "info") && a->files == 2)
        return info(ctx, a->file[1]);
    if (!strcmp(verb, "path") && a->files < 2)
        return folders();
    if (!strcmp(verb, "path") && a->files == 2)
        return path(ctx, a->file[1]);
    if (!strcmp(verb, "verify"))
        return verify(ctx, a);
    return say_error(RC_USAGE, NULL, "models %s: use list, info NAME,"
                     " path [NAME] or verify [NAME...]", verb);
}

static int run(args *a)
{
    tsr_context *ctx;
    int rc = engine_open(&ctx, a);
    if (!rc)
        rc = act(ctx, a);
    tsr_context_close(&ctx);
    return rc;
}

const command command_models = {
    .name = "models",
    .summary = "the models on this machine",
    .synopsis = "[list | info NAME | path [NAME] | verify [NAME ...]]",
    .verbs = "list info path verify",
    .takes = "safetensors",
    .usage =
        "  tessera models                 all of them; also: models list\n"
        "  tessera models info photo      one of them\n"
        "  tessera models path            the folders they are looked for in\n"
        "  tessera models path photo      the file of one\n"
        "  tessera models verify          compares the hashes of all\n"
        "  tessera models verify photo    that of one\n",
    .notes =
        "The folders: those of $TESSERA_MODELS, separated by colons, the\n"
        "user's, the installed one; of two models of a name the first counts.\n",
    .tables = { args_common_options },
    .run = run
};
