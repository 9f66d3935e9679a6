/* SPDX-License-Identifier: BSD-2-Clause */
/* Stores behind http:// and https://, as docs/kv-store.md describes. */
#include "net/curl.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The first line of a complaint, unless the token is in it. */
static tsr_error judge_http(const tsri_web *w, const tsri_answer *a,
                            const char *text, char reason[160])
{
    size_t n = 0;
    while (n < 159 && text[n] >= ' ' && text[n] <= '~')
        n++;
    const int line = text[n] == '\n' || text[n] == '\r' || !text[n];
    if (line && !(w->hush && strstr(text, w->hush)))
        snprintf(reason, 160, "%.*s", (int)n, text);
    return tsri_web_meaning(a->status);
}

static int token_good(const char *token)
{
    for (const char *c = token; *c; c++)
        if (*c <= ' ' || *c > '~')
            return 0;
    return *token && strlen(token) <= 4096;
}

static tsr_error set_token(tsr_store *s)
{
    const char *token = s->settings.token;
    if (!token)
        return TSR_OK;
    if (!token_good(token))
        return tsri_store_fail(s, TSR_E_ARG, "the token is not one word of ASCII"
                               " characters");
    char *line = malloc(strlen(token) + 32);
    if (!line)
        return TSR_E_NOMEM;
    tsri_web *w = s->state;
    sprintf(line, "Authorization: Bearer %s", token);
    const tsr_error error = tsri_web_header(w, TSRI_PUT | TSRI_OTHERS, line);
    free(line);
    w->hush = strdup(token);
    return error || w->hush ? error : TSR_E_NOMEM;
}

static tsr_error open_http(tsr_store *s, const char *url)
{
    static const char path[] = "/v1/chunks/";
    if (!tsri_web_url_good(url))
        return tsri_store_fail(s, TSR_E_ARG, "not http[s]://host[:port][/path]"
                               " (a password has no place in it, there are"
                               " tokens)");
    size_t n = strlen(url);
    while (url[n - 1] == '/')
        n--;
    char *base = malloc(n + sizeof path);
    if (base) {
        memcpy(base, url, n);
        memcpy(base + n, path, sizeof path);
    }
    tsr_error error = tsri_web_open(s, base, tsri_web_place(url), judge_http);
    if (!error)
        error = tsri_web_header(s->state, TSRI_PUT, "Content-Type:"
                                " application/octet-stream");
    return error ? error : set_token(s);
}

/* ---- the list ---- */

/* Up to 18 digits and the character after them. */
static int number(const char **text, char after, uint64_t *value)
{
    const size_t n = strspn(*text, "0123456789");
    if (!n || n > 18 || (*text)[n] != after)
        return 0;
    *value = strtoull(*text, NULL, 10);
    *text += n + 1;
    return 1;
}

/* "KEY BYTES MTIME" with a zero at `end`. */
static int read_entry(const char *line, const char *end, const char *prefix,
                      tsr_store_entry *e)
{
    uint64_t modified;
    const size_t n = strcspn(line, " ");
    memset(e, 0, sizeof *e);
    if (n >= sizeof e->key || !line[n])
        return 0;
    memcpy(e->key, line, n);
    line += n + 1;
    if (!number(&line, ' ', &e->bytes) || !number(&line, 0, &modified))
        return 0;
    e->modified = (int64_t)modified;
    return line == end + 1 && tsri_store_key_good(e->key) &&
        !strncmp(e->key, prefix, strlen(prefix));
}

static tsr_error visit_lines(tsr_store *s, char *text, size_t size,
                             const char *prefix,
                             tsr_error (*visit)(void *, const tsr_store_entry *),
                             void *cookie)
{
    const tsri_web *w = s->state;
    tsr_store_entry entry;
    tsr_error error = TSR_OK;
    for (char *end, *line = text; !error && line < text + size; line = end + 1) {
        end = memchr(line, '\n', (size_t)(text + size - line));
        if (end)
            *end = 0;
        if (!end || !read_entry(line, end, prefix, &entry))
            return tsri_store_fail(s, TSR_E_IO, "the list of %s breaks off or is"
                                   " none", w->place);
        error = atomic_load(&s->canceled) ? TSR_E_CANCELED
                                          : visit(cookie, &entry);
    }
    return error;
}

/* The whole list is read before it is shown, so that nobody sees half of one,
 * and the visitor may use the store. */
static tsr_error list_http(tsr_store *s, const char *prefix,
                           tsr_error (*visit)(void *, const tsr_store_entry *),
                           void *cookie)
{
    tsri_web *w = s->state;
    const size_t n = strlen(w->base) - 1, room = n + strlen(prefix) + 16;
    char *url = malloc(room), *text = NULL;
    size_t size;
    if (!url)
        return TSR_E_NOMEM;
    snprintf(url, room, "%.*s?prefix=%s", (int)n, w->base, prefix);
    tsr_error error = tsri_web_document(w, url, "the list", (size_t)256 << 20,
                                        &text, &size);
    free(url);
    if (error)
        return error;
    error = visit_lines(s, text, size, prefix, visit, cookie);
    free(text);
    return error;
}

const tsri_store_driver *tsri_store_http(void)
{
    static const tsri_store_driver driver = {
        "http", open_http, tsri_web_close, tsri_web_get, tsri_web_put,
        tsri_web_stat, tsri_web_remove, list_http, NULL
    };
    return &driver;
}
