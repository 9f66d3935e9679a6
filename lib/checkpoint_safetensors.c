/* SPDX-License-Identifier: BSD-2-Clause */
/* .safetensors through the reader of models, and an index of several: a JSON
 * object whose member weight_map says for each tensor which file it is in. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "lib/checkpoint_impl.h"
#include "lib/json.h"

enum { SHARDS_MAX = 1024, FILE_NAME_MAX = 256 };

/* Opens a file; cp holds the model. */
static tsr_error open_model(tsri_checkpoint *cp, const char *path)
{
    /* What has no slash would be looked for among the installed models. */
    const size_t n = strlen(path) + 3;
    tsr_model *model = NULL;
    char *full = tsri_alloc(cp->ctx, n, 1);

    if (!full)
        return tsri_nomem(cp->ctx);
    snprintf(full, n, "%s%s", strchr(path, '/') ? "" : "./", path);
    tsr_error error = tsri_grow(cp->ctx, &cp->model, &cp->model_room,
                                cp->models, 1, sizeof *cp->model);
    if (!error)
        error = tsr_model_open(&model, cp->ctx, full);
    if (!error)
        cp->model[cp->models++] = model;
    tsri_free(cp->ctx, full);
    return error;
}

static tsr_error add_tensor(tsri_checkpoint *cp, const tsr_tensor *t)
{
    tsri_tensor_spec spec = {
        .name = t->name, .dtype = t->dtype, .rank = t->rank,
        .storage = { .memory = t->data,
                     .count = t->bytes / tsr_dtype_bytes(t->dtype) }
    };
    memcpy(spec.dims, t->dims, sizeof spec.dims);
    tsri_spec_order(&spec, false);
    return tsri_checkpoint_add(cp, &spec);
}

tsr_error tsri_checkpoint_safetensors(tsri_checkpoint *cp)
{
    cp->kind = "safetensors";
    cp->contents = cp->size;
    TSR_TRY(open_model(cp, cp->path));
    for (size_t i = 0; i < tsr_model_tensor_count(cp->model[0]); i++)
        TSR_TRY(add_tensor(cp, tsr_model_tensor_at(cp->model[0], i)));
    return TSR_OK;
}

/* ---- shards ---- */

/* The shard of this name, which must be a plain file beside the index. */
static tsr_error open_shard(tsri_checkpoint *cp, const char *name,
                            size_t *found)
{
    const char *slash = strrchr(cp->path, '/');
    const int folder = slash ? (int)(slash - cp->path + 1) : 0;
    char path[4096];

    if (!*name || strchr(name, '/') || !strcmp(name, "..") ||
        snprintf(path, sizeof path, "%.*s%s", folder, cp->path, name) >=
            (int)sizeof path)
        return tsri_fail(cp->ctx, TSR_E_CORRUPT, "%s: bad file name '%s'",
                         cp->path, name);
    for (*found = 0; *found < cp->models; ++*found) {
        const char *other = strrchr(tsr_model_path(cp->model[*found]), '/');
        if (!strcmp(other + 1, name))
            return TSR_OK;
    }
    if (cp->models == SHARDS_MAX)
        return tsri_fail(cp->ctx, TSR_E_LIMIT, "%s: more than %d files",
                         cp->path, SHARDS_MAX);
    TSR_TRY(open_model(cp, path));
    cp->contents += tsr_model_file_bytes(cp->model[*found]);
    return TSR_OK;
}

static tsr_error read_map(tsri_checkpoint *cp, tsri_json *j)
{
    char name[TSRI_CHECKPOINT_NAME], file[FILE_NAME_MAX];
    bool first = true;
    size_t shard = 0;

    while (tsri_json_member(j, &first, name, sizeof name) &&
           tsri_json_string(j, file, sizeof file)) {
        TSR_TRY(open_shard(cp, file, &shard));
        const tsr_tensor *t = tsr_model_tensor(cp->model[shard], name);
        if (!t)
            return tsri_fail(cp->ctx, TSR_E_CORRUPT, "%s: '%s' is not in %s",
                             cp->path, name, file);
        TSR_TRY(add_tensor(cp, t));
    }
    return TSR_OK;
}

tsr_error tsri_checkpoint_index(tsri_checkpoint *cp)
{
    tsri_json j = { (const char *)cp->file, (const char *)cp->file + cp->size,
                    false };
    char key[64];
    bool first = true;

    cp->kind = "safetensors index";
    while (tsri_json_member(&j, &first, key, sizeof key)) {
        if (!strcmp(key, "weight_map"))
            TSR_TRY(read_map(cp, &j));
        else if (!tsri_json_skip(&j))
            break;
    }
    if (j.bad)
        return tsri_fail(cp->ctx, TSR_E_CORRUPT, "%s: not an index of "
                         "safetensors files", cp->path);
    return TSR_OK;
}
