/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tessera/kv_control.h>
#include "tools/io/array.h"
#include "tools/kv/remote.h"
#include "tools/kv/transfer.h"
#include "tools/say.h"

#define FIELD(name) offsetof(args, name)

const opt kv_transfer_options[] = {
    { "-model", "NAME", "push, pull: what must be equal for caches to be"
      " interchangeable: model, revision, shard", OPT_TEXT, FIELD(model), 0, 0 },
    { "-ids", "FILE", "push, pull, unpack: the text's token ids, .npy or"
      " .safetensors",
      OPT_TEXT, FIELD(ids), 0, 0 },
    { "-replace", NULL, "push: chunks that are there already, too", OPT_FLAG,
      FIELD(replace), 0, 0 },
    { "-deadline", "TIME", "pull: to be usable by then, in less quality if need"
      " be", OPT_TIME, FIELD(deadline), 0, 86400 },
    { "-floor", "N", "pull: levels that everything gets in any case; default 1",
      OPT_INT, FIELD(floor), 1, 3 },
    { "-ceiling", "N", "pull: levels at most", OPT_INT, FIELD(ceiling), 1, 3 },
    { "-policy", "NAME", "pull: deadline (the default), uniform, cachegen or"
      " remaining", OPT_TEXT, FIELD(policy), 0, 0 },
    { "-cache", "URL", "pull: a store near by, asked first, where what came is"
      " kept", OPT_TEXT, FIELD(cache), 0, 0 },
    { NULL, NULL, NULL, OPT_FLAG, 0, 0, 0 }
};

static int check_policy(const args *a)
{
    char known[80] = "";

    for (int i = 0; tsr_kv_policy_at(i); i++) {
        if (!a->policy || !strcmp(a->policy, tsr_kv_policy_at(i)))
            return RC_OK;
        snprintf(known + strlen(known), sizeof known - strlen(known), "%s%s",
                 i ? ", " : "", tsr_kv_policy_at(i));
    }
    return say_error(RC_USAGE, NULL, "-policy %s: one of %s", a->policy, known);
}

int kv_transfer_settings(tsr_kv_stream_settings *s, const args *a,
                         const char *url, tsr_model *profile)
{
    enum { MOST_CONNECTIONS = 64, LEAST_CHUNK = 32 };
    tsr_kv_stream_settings_init(s);
    if (!a->model || !*a->model)
        return say_error(RC_USAGE, NULL, "-model NAME says whose caches these"
                         " are");
    if (a->ceiling && a->floor > a->ceiling)
        return say_error(RC_USAGE, NULL, "-floor %d is above -ceiling %d",
                         a->floor, a->ceiling);
    if (a->connections > MOST_CONNECTIONS)
        return say_error(RC_USAGE, NULL, "-connections: 1 to %d",
                         MOST_CONNECTIONS);
    if (a->chunk && a->chunk < LEAST_CHUNK)
        return say_error(RC_USAGE, NULL, "-chunk: at least %d tokens",
                         LEAST_CHUNK);
    int rc = check_policy(a);
    if (!rc)
        rc = kv_remote_settings(&s->store, a);
    s->url = url;
    s->model = a->model;
    s->profile = profile;
    s->chunk_tokens = a->chunk ? a->chunk : s->chunk_tokens;
    s->connections = a->connections ? a->connections : s->connections;
    s->threads = a->threads;
    s->replace = a->replace;
    s->policy = a->policy ? a->policy : s->policy;
    s->deadline = a->deadline;
    s->floor = a->floor ? a->floor : s->floor;
    s->ceiling = a->ceiling;
    s->cache = a->cache;
    return rc;
}

int kv_transfer_ids(tsr_context *ctx, const args *a, int32_t **ids, size_t *n)
{
    const char *end = a->ids ? strrchr(a->ids, '.') : NULL;
    const int tensors = end && !strcmp(end, ".safetensors");
    array in = { 0 };

    *ids = NULL;
    if (!a->ids)
        return say_error(RC_USAGE, NULL, "-ids FILE says which text it is");
    int rc = array_open(&in, ctx, a->ids, tensors ? "token_ids" : NULL);
    if (!rc)
        rc = array_codes(&in, 0, ids, n);
    array_close(&in);
    if (!rc && !*n)
        rc = say_error(RC_INPUT, a->ids, "there are no token ids in it");
    return rc;
}

void kv_transfer_wait(tsr_kv_job *job, progress *p, tsr_kv_job_result *r)
{
    const tsr_progress hook = progress_hook(p);
    char detail[80];

    while (tsr_kv_job_wait(job, 0.1, r)) {
        const int there = r->chunks - r->missing;
        const double seconds = progress_seconds(p);
        snprintf(detail, sizeof detail, "%.1f MB/s  chunk %d of %d",
                 seconds > 0 ? 1e-6 * (double)r->bytes / seconds : 0.0, there,
                 r->chunks);
        p->detail = detail;
        hook.report(hook.cookie, r->chunks ? (double)there / r->chunks : 0);
    }
    p->detail = NULL;
}

int kv_transfer_failed(const tsr_kv_job_result *r, const char *url)
{
    const char *shown = kv_remote_shown(url);
    const int rc = r->error == TSR_E_MISSING ? RC_INPUT : say_rc(r->error);

    if (!r->error)
        return RC_OK;
    if (r->error == TSR_E_MISSING)
        return say_error(rc, shown, "%s; %d of %d chunks are missing, whole are"
                         " the first %zu tokens (-tokens 0:%zu)",
                         kv_remote_short(r->message, url), r->missing,
                         r->chunks, r->tokens, r->tokens);
    return say_error(rc, shown, "%s", *r->message
                     ? kv_remote_short(r->message, url)
                     : tsr_error_string(r->error));
}

void kv_transfer_summary(const args *a, const char *verb,
                         const tsr_kv_job_result *r)
{
    const double bytes = (double)r->bytes;
    char usable[48] = "", present[48] = "", ratio[48] = "";

    if (a->nostats)
        return;
    if (r->usable > 0)
        snprintf(usable, sizeof usable, ", usable after %.3f s", r->usable);
    if (r->present)
        snprintf(present, sizeof present, " (%d were %s)", r->present,
                 strcmp(verb, "push") ? "near" : "there");
    if (r->bytes && r->raw_bytes)
        snprintf(ratio, sizeof ratio, ", %.2f times less than 16 bits",
                 (double)r->raw_bytes / bytes);
    printf("%s: %zu tokens, %d chunks%s, %llu bytes%s, %.2f levels, %.3f s"
           " (%.1f MB/s)%s%s\n", verb, r->tokens, r->chunks, present,
           (unsigned long long)r->bytes, ratio, r->mean_levels, r->seconds,
           r->seconds > 0 ? 1e-6 * bytes / r->seconds : 0.0, usable,
           r->late ? ", late" : "");
}
