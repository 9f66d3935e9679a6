/* SPDX-License-Identifier: BSD-2-Clause */
/* ls, stat: what a store holds. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "tools/engine.h"
#include "tools/json.h"
#include "tools/kv/remote.h"
#include "tools/kv/verbs.h"
#include "tools/say.h"

enum { DATE_SIZE = 24 };

typedef struct job {
    const args *a;
    tsr_store *store;
    tsr_store *heads;       /* for heads, while the other one lists */
    tsr_context *ctx;
    uint64_t n, bytes, tokens, damaged, others;
    int64_t oldest, newest;
} job;

static const char *date(int64_t seconds, char text[DATE_SIZE])
{
    const time_t then = (time_t)seconds;
    struct tm tm;
    if (seconds <= 0 || !gmtime_r(&then, &tm) ||
        !strftime(text, DATE_SIZE, "%Y-%m-%dT%H:%M:%SZ", &tm))
        snprintf(text, DATE_SIZE, "-");
    return text;
}

static int is_name(const char *key)
{
    uint8_t name[TSR_KV_NAME_BYTES];
    return !tsr_kv_name_parse(key, name);
}

/* ---- ls ---- */

/* Whether the head is good; if not, what the line says instead.  A store that
 * fails ends it all, *error. */
static const char *read_head(job *j, const char *key, tsr_kv_chunk *chunk,
                             tsr_error *error)
{
    tsr_store_entry entry;
    *error = TSR_OK;
    if (!is_name(key))
        return "no chunk";
    const tsr_error bad = kv_remote_head(j->heads, j->ctx, key, &entry, chunk);
    if (bad == TSR_E_MISSING)
        return "gone";
    if (bad == TSR_E_IO || bad == TSR_E_DENIED || bad == TSR_E_CANCELED)
        *error = bad;
    return bad ? "damaged" : NULL;
}

static void print_json(const job *j, const tsr_store_entry *e, const char *bad,
                       const tsr_kv_chunk *c)
{
    printf("%s\n  {\"key\": ", j->n ? "," : "[");
    json_string(e->key);
    printf(", \"bytes\": %llu, \"modified\": %lld", (unsigned long long)e->bytes,
           (long long)e->modified);
    if (bad)
        printf(", \"fault\": \"%s\"", bad);
    else if (c)
        printf(", \"tokens\": %llu, \"pos0\": %llu, \"layers\": %d, \"levels\":"
               " %d", (unsigned long long)c->tokens, (unsigned long long)c->pos0,
               c->layers, c->levels);
    printf("}");
}

static void print_line(const tsr_store_entry *e, const char *bad,
                       const tsr_kv_chunk *c)
{
    char text[DATE_SIZE];
    printf("%-20s %12llu  %s", date(e->modified, text),
           (unsigned long long)e->bytes, e->key);
    if (bad)
        printf("  %s", bad);
    else if (c)
        printf("  %6llu tokens at %-8llu %3d layers %d levels",
               (unsigned long long)c->tokens, (unsigned long long)c->pos0,
               c->layers, c->levels);
    putchar('\n');
}

static tsr_error list_one(void *cookie, const tsr_store_entry *e)
{
    job *j = cookie;
    tsr_kv_chunk chunk;
    tsr_error error = TSR_OK;
    const int heads = j->a->long_list;
    const char *bad = heads ? read_head(j, e->key, &chunk, &error) : NULL;
    if (error)
        return error;
    if (j->a->json)
        print_json(j, e, bad, heads && !bad ? &chunk : NULL);
    else
        print_line(e, bad, heads && !bad ? &chunk : NULL);
    j->n++;
    return TSR_OK;
}

static int job_open(job *j, const args *a, const char *verb)
{
    j->a = a;
    int rc = kv_remote_store(&j->store, a, verb);
    if (!rc)
        rc = engine_open(&j->ctx, a);
    if (!rc && a->long_list)
        rc = kv_remote_store(&j->heads, a, verb);
    return rc;
}

static void job_close(job *j)
{
    tsr_store_close(&j->store);
    tsr_store_close(&j->heads);
    tsr_context_close(&j->ctx);
}

static int list(job *j, const char *prefix,
                tsr_error (*visit)(void *cookie, const tsr_store_entry *entry))
{
    const tsr_error error = tsr_store_list(j->store, prefix, visit, j);
    return error ? kv_remote_failed(kv_remote_shown(j->a->file[0]), error)
                 : RC_OK;
}

int kv_ls(args *a)
{
    job j = { .n = 0 };
    int rc = job_open(&j, a, "ls");
    for (int i = 1; !rc && i < (a->files > 1 ? a->files : 2); i++)
        rc = list(&j, a->files > 1 ? a->file[i] : "", list_one);
    if (!rc && a->json)
        printf("%s\n]\n", j.n ? "" : "[");
    job_close(&j);
    return rc;
}

/* ---- stat ---- */

static tsr_error add_one(void *cookie, const tsr_store_entry *e)
{
    job *j = cookie;
    tsr_kv_chunk chunk;
    tsr_error error = TSR_OK;
    if (!is_name(e->key)) {
        j->others++;
        return TSR_OK;
    }
    if (j->a->long_list) {
        const int bad = read_head(j, e->key, &chunk, &error) != NULL;
        j->damaged += (uint64_t)bad;
        j->tokens += bad ? 0 : chunk.tokens;
    }
    j->n++;
    j->bytes += e->bytes;
    if (e->modified > 0) {
        j->oldest = j->oldest && j->oldest < e->modified ? j->oldest
                                                         : e->modified;
        j->newest = j->newest > e->modified ? j->newest : e->modified;
    }
    return error;
}

static int stat_store(job *j)
{
    char oldest[DATE_SIZE], newest[DATE_SIZE];
    const int rc = list(j, "", add_one);
    if (rc)
        return rc;
    if (j->a->json)
        printf("{\"chunks\": %llu, \"bytes\": %llu, \"others\": %llu, \"oldest\":"
               " %lld, \"newest\": %lld", (unsigned long long)j->n,
               (unsigned long long)j->bytes, (unsigned long long)j->others,
               (long long)j->oldest, (long long)j->newest);
    else
        printf("chunks   %llu\nbytes    %llu\nothers   %llu\noldest   %s\n"
               "newest   %s\n", (unsigned long long)j->n,
               (unsigned long long)j->bytes, (unsigned long long)j->others,
               date(j->oldest, oldest), date(j->newest, newest));
    if (j->a->long_list)
        printf(j->a->json ? ", \"tokens\": %llu, \"damaged\": %llu"
                          : "tokens   %llu\ndamaged  %llu\n",
               (unsigned long long)j->tokens, (unsigned long long)j->damaged);
    if (j->a->json)
        printf("}\n");
    return RC_OK;
}

static void chunk_json(const tsr_store_entry *e, const tsr_kv_chunk *c,
                       const char *digest)
{
    printf("{\"key\": \"%s\", \"bytes\": %llu, \"modified\": %lld, \"tokens\":"
           " %llu, \"pos0\": %llu, \"layers\": %d, \"levels\": %d, \"front\":"
           " %llu, \"level_ends\": [", e->key, (unsigned long long)e->bytes,
           (long long)e->modified, (unsigned long long)c->tokens,
           (unsigned long long)c->pos0, c->layers, c->levels,
           (unsigned long long)c->front_bytes);
    for (int l = 0; l < c->levels; l++)
        printf("%s%llu", l ? ", " : "", (unsigned long long)c->level_end[l]);
    printf("], \"digest\": \"%s\"}\n", digest);
}

static void chunk_text(const tsr_store_entry *e, const tsr_kv_chunk *c,
                       const char *digest)
{
    char text[DATE_SIZE];
    printf("%s\n  bytes     %llu\n  modified  %s\n  tokens    %llu at %llu\n"
           "  layers    %d\n  front     %llu bytes\n", e->key,
           (unsigned long long)e->bytes, date(e->modified, text),
           (unsigned long long)c->tokens, (unsigned long long)c->pos0, c->layers,
           (unsigned long long)c->front_bytes);
    for (int l = 0; l < c->levels; l++)
        printf("  level %d   ends at %llu\n", l + 1,
               (unsigned long long)c->level_end[l]);
    printf("  digest    %s\n", digest);
}

static int stat_chunk(job *j, const char *key)
{
    tsr_store_entry entry;
    tsr_kv_chunk chunk;
    char digest[TSR_KV_NAME_TEXT];
    const tsr_error error = kv_remote_head(j->store, j->ctx, key, &entry,
                                           &chunk);
    if (error == TSR_E_MODEL)
        return say_error(RC_INPUT, key, "what is stored there has another name");
    if (error == TSR_E_TRUNCATED)
        return say_error(RC_INPUT, key, "what is stored there is cut");
    if (error)
        return kv_remote_failed(key, error);
    tsr_kv_name_text(chunk.digest, digest);
    if (j->a->json)
        chunk_json(&entry, &chunk, digest);
    else
        chunk_text(&entry, &chunk, digest);
    return RC_OK;
}

int kv_stat(args *a)
{
    job j = { .n = 0 };
    int rc = job_open(&j, a, "stat");
    if (!rc && a->files == 1)
        rc = stat_store(&j);
    for (int i = 1, worst; i < a->files && j.ctx; i++) {
        worst = stat_chunk(&j, a->file[i]);
        rc = rc ? rc : worst;
    }
    job_close(&j);
    return rc;
}
