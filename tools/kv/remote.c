/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "tools/kv/remote.h"
#include "tools/say.h"

#define FIELD(name) offsetof(args, name)

const opt kv_remote_options[] = {
    { "-token_file", "FILE", "the token to show to the store; serve: those to"
      " accept, one a line, before it ro or rw. Else $TESSERA_TOKEN", OPT_TEXT,
      FIELD(token_file), 0, 0 },
    { "-ca_file", "FILE", "certificates to trust; default the system's",
      OPT_TEXT, FIELD(ca_file), 0, 0 },
    { "-endpoint", "URL", "s3: another service than Amazon's", OPT_TEXT,
      FIELD(endpoint), 0, 0 },
    { "-region", "NAME", "s3: default us-east-1", OPT_TEXT, FIELD(region), 0,
      0 },
    { "-timeout", "TIME", "without any progress after which to give up; default"
      " 10 seconds", OPT_TIME, FIELD(timeout), 0.001, 3600 },
    { "-retries", "N", "more attempts after a failure that may pass; default 3",
      OPT_INT, FIELD(retries), 0, 100 },
    { "-capacity", "BYTES", "a folder: what it may hold (k, M, G, T); the least"
      " recently used goes first", OPT_SCALED, FIELD(capacity), 1, 1e18 },
    { "-max_object", "BYTES", "refuse larger objects; default 1 GiB", OPT_SCALED,
      FIELD(max_object), 1, 1e15 },
    { "-connections", "N", "at the same time", OPT_INT, FIELD(connections), 1,
      65536 },
    { NULL, NULL, NULL, OPT_FLAG, 0, 0, 0 }
};

const opt kv_serve_options[] = {
    { "-listen", "HOST:PORT", "serve: where to; default 127.0.0.1:8920; port 0:"
      " a free one", OPT_TEXT, FIELD(listen), 0, 0 },
    { "-store", "URL", "serve: what to serve; also the first plain argument;"
      " default a folder of your own cache", OPT_TEXT, FIELD(store), 0, 0 },
    { "-cert", "FILE", "serve: certificates in PEM, for TLS; with -key",
      OPT_TEXT, FIELD(cert), 0, 0 },
    { "-key", "FILE", "serve: the key of -cert", OPT_TEXT, FIELD(key), 0, 0 },
    { "-open", NULL, "serve: others than this machine without a token",
      OPT_FLAG, FIELD(open), 0, 0 },
    { "-per_ip", "N", "serve: connections from one address; default any",
      OPT_INT, FIELD(per_ip), 1, 65536 },
    { "-upload_memory", "BYTES", "serve: for all uploads under way; default"
      " 1 GiB or -max_object", OPT_SCALED, FIELD(upload_memory), 1, 1e15 },
    { "-grace", "TIME", "serve: for transfers to end when told to stop; default"
      " 30 seconds", OPT_TIME, FIELD(grace), 0, 86400 },
    { "-all", NULL, "rm: everything in the store", OPT_FLAG, FIELD(all), 0, 0 },
    { "-long", NULL, "ls: what the chunks' heads say, too", OPT_FLAG,
      FIELD(long_list), 0, 0 },
    { NULL, NULL, NULL, OPT_FLAG, 0, 0, 0 }
};

/* ---- reasons ---- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void take(void *cookie, tsr_log_level level, const char *message)
{
    const tsr_logger say = say_logger();
    (void)cookie;
    pthread_mutex_lock(&lock);
    say.log(say.cookie, level, message);
    pthread_mutex_unlock(&lock);
}

tsr_logger kv_remote_logger(void)
{
    return (tsr_logger){ .log = take };
}

/* Takes the first "PLACE" or "SCHEME://PLACE" out of `text`, where ": " or
 * " answers" follows it. */
static void take_out(char *text, const char *place, size_t n)
{
    for (char *c = text; n && *c; c++) {
        if (strncmp(c, place, n) ||
            (strncmp(c + n, ": ", 2) && strncmp(c + n, " answers", 8)))
            continue;
        const char *rest = c + n + (c[n] == ':' ? 2 : 1);
        if (c - text >= 3 && !strncmp(c - 3, "://", 3))
            for (c -= 3; c > text && c[-1] != ' ';)
                c--;
        if (c == text || c[-1] == ' ')
            memmove(c, rest, strlen(rest) + 1);
        return;
    }
}

const char *kv_remote_short(const char *text, const char *url)
{
    static char cut[1024];
    const char *host = strstr(url, "://");
    const char *at = host ? strrchr(host, '@') : NULL;
    const char *place = at ? at + 1 : host ? host + 3
                      : strncmp(url, "dir:", 4) ? url : url + 4;

    snprintf(cut, sizeof cut, "%s", text);
    take_out(cut, place, host ? strcspn(place, "/") : strlen(place));
    return cut;
}

int kv_remote_failed(const char *what, tsr_error error)
{
    pthread_mutex_lock(&lock);
    const char *text = say_take_detail();
    const int rc = say_error(say_rc(error), what, "%s", *text
                             ? kv_remote_short(text, what)
                             : tsr_error_string(error));
    pthread_mutex_unlock(&lock);
    return rc;
}

const char *kv_remote_shown(const char *url)
{
    static char shown[512];
    const char *host = strstr(url, "://");
    /* The last one: a password may have anything in it. */
    const char *at = host ? strrchr(host, '@') : NULL;
    if (at)
        snprintf(shown, sizeof shown, "%.*s://...%s", (int)(host - url), url, at);
    else
        snprintf(shown, sizeof shown, "%s", url);
    return shown;
}

/* ---- tokens ---- */

/* What a header may carry: 1..1023 visible characters. */
static int is_token(const char *text)
{
    size_t n = 0;
    while (text[n] > ' ' && text[n] < 127)
        n++;
    return n >= 1 && n < KV_TOKEN_SIZE && !text[n];
}

/* A line without blanks around it; takes away what it says of writing. */
static char *token_of(char *line, int *write)
{
    size_t n = strlen(line);
    while (n && strchr(" \t\r\n", line[n - 1]))
        line[--n] = 0;
    line += strspn(line, " \t");
    *write = strncmp(line, "ro ", 3) != 0;
    if (!*write || !strncmp(line, "rw ", 3))
        line += 3;
    return line + strspn(line, " \t");
}

int kv_remote_tokens(const char *path,
                     int (*add)(void *cookie, const char *token, int write),
                     void *cookie)
{
    char line[KV_TOKEN_SIZE + 16];
    FILE *file = fopen(path, "r");
    int rc = RC_OK, number = 0, write;

    if (!file)
        return say_error(RC_USAGE, path, "%s", strerror(errno));
    while (!rc && fgets(line, sizeof line, file)) {
        const int cut = !strchr(line, '\n') && strlen(line) == sizeof line - 1;
        const char *token = token_of(line, &write);
        number++;
        if (cut) {
            rc = say_error(RC_USAGE, path, "line %d is too long", number);
            break;
        }
        if (!*token || *token == '#')
            continue;
        if (!is_token(token))
            rc = say_error(RC_USAGE, path, "line %d is no token of 1 to %d"
                           " visible characters", number, KV_TOKEN_SIZE - 1);
        else if (add(cookie, token, write))
            rc = say_error(RC_MACHINE, path, "out of memory");
    }
    if (!rc && ferror(file))
        rc = say_error(RC_USAGE, path, "%s", strerror(errno));
    fclose(file);
    return rc;
}

static int first_token(void *cookie, const char *token, int write)
{
    char *kept = cookie;
    (void)write;
    if (!*kept)
        memcpy(kept, token, strlen(token) + 1);
    return 0;
}

/* The texts of a program's only -token_file. */
static int find_token(const char **token, const args *a)
{
    static char kept[KV_TOKEN_SIZE];
    const char *given = getenv("TESSERA_TOKEN");
    if (a->token_file) {
        const int rc = kv_remote_tokens(a->token_file, first_token, kept);
        if (!rc && !*kept)
            return say_error(RC_USAGE, a->token_file, "no token in it");
        *token = kept;
        return rc;
    }
    if (given && *given) {
        if (!is_token(given))
            return say_error(RC_USAGE, "TESSERA_TOKEN", "is no token of 1 to %d"
                             " visible characters", KV_TOKEN_SIZE - 1);
        *token = given;
    }
    return RC_OK;
}

/* ---- stores ---- */

static void set_plain(tsr_store_settings *s, const args *a)
{
    tsr_store_settings_init(s);
    s->logger = kv_remote_logger();
    s->ca_file = a->ca_file;
    s->endpoint = a->endpoint;
    s->region = a->region ? a->region : s->region;
    s->timeout = a->timeout > 0 ? a->timeout : s->timeout;
    s->retries = a->retries >= 0 ? a->retries : s->retries;
    s->capacity = (uint64_t)a->capacity;
    if (a->max_object > 0)
        s->max_object = (uint64_t)a->max_object;
}

int kv_remote_settings(tsr_store_settings *s, const args *a)
{
    set_plain(s, a);
    return find_token(&s->token, a);
}

int kv_remote_open(tsr_store **store, const args *a, const char *url)
{
    tsr_store_settings settings;
    *store = NULL;
    const int rc = kv_remote_settings(&settings, a);
    if (rc)
        return rc;
    const tsr_error error = tsr_store_open(store, url, &settings);
    return error ? kv_remote_failed(kv_remote_shown(url), error) : RC_OK;
}

int kv_remote_store(tsr_store **store, const args *a, const char *verb)
{
    *store = NULL;
    if (!a->files)
        return say_error(RC_USAGE, NULL, "kv %s wants a store: a folder or a"
                         " URL", verb);
    /* Opening would make the folder, which who only looks does not want. */
    const char *path = a->file[0] + 4 * !strncmp(a->file[0], "dir:", 4);
    if ((*path == '/' || *path == '.' || path != a->file[0]) &&
        access(path, F_OK))
        return say_error(RC_USAGE, path, "%s", strerror(errno));
    return kv_remote_open(store, a, a->file[0]);
}

tsr_error kv_head_take(void *cookie, const void *data, size_t size)
{
    kv_head *h = cookie;
    const size_t left = sizeof h->data - h->size;
    const size_t n = size < left ? size : left;
    memcpy(h->data + h->size, data, n);
    h->size += n;
    return TSR_OK;
}

tsr_error kv_remote_head(tsr_store *store, tsr_context *ctx, const char *key,
                         tsr_store_entry *entry, tsr_kv_chunk *chunk)
{
    kv_head h = { .size = 0 };
    const tsr_sink sink = { &h, kv_head_take };
    char name[TSR_KV_NAME_TEXT];
    tsr_error error = tsr_store_get(store, key, 0, sizeof h.data, &sink, entry);
    if (!error)
        error = tsr_kv_chunk_probe(ctx, h.data, h.size, chunk);
    if (error)
        return error;
    tsr_kv_name_text(chunk->name, name);
    if (strcmp(name, key))
        return TSR_E_MODEL;
    return chunk->bytes == entry->bytes ? TSR_OK : TSR_E_TRUNCATED;
}
