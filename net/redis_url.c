/* SPDX-License-Identifier: BSD-2-Clause */
#include "net/store_redis.h"
#include <stdlib.h>
#include <string.h>

/* The n characters of text with %41 resolved; NULL: not well written, or no
 * memory. */
static char *decoded(const char *text, size_t n)
{
    static const char digits[] = "0123456789abcdef0123456789ABCDEF";
    char *out = calloc(n + 1, 1);
    size_t used = 0;
    for (size_t i = 0; out && i < n; i++) {
        const char *high = NULL, *low = NULL;
        if (text[i] != '%') {
            out[used++] = text[i];
            continue;
        }
        if (i + 2 < n) {
            high = memchr(digits, text[i + 1], sizeof digits - 1);
            low = memchr(digits, text[i + 2], sizeof digits - 1);
        }
        const int code = !high || !low ? 0 :
            (int)((high - digits) % 16 * 16 + (low - digits) % 16);
        if (!code) {
            free(out);
            return NULL;
        }
        out[used++] = (char)code;
        i += 2;
    }
    return out;
}

static int parse_login(tsri_redis *r, const char *text, size_t n)
{
    const char *colon = memchr(text, ':', n);
    const size_t user = colon ? (size_t)(colon - text) : 0;
    const size_t skip = colon ? user + 1 : 0;
    if (user && !(r->login.user = decoded(text, user)))
        return 0;
    r->login.password = decoded(text + skip, n - skip);
    return r->login.password && *r->login.password;
}

/* A number of at most 9 digits and nothing else; -1. */
static long number(const char *text, size_t n)
{
    long value = 0;
    for (size_t i = 0; i < n; i++)
        value = value < 0 || i > 8 || text[i] < '0' || text[i] > '9' ? -1 :
            10 * value + (text[i] - '0');
    return n ? value : -1;
}

int tsri_redis_address(char host[256], int *port, const char *text, size_t n)
{
    size_t name = n, skip = 0;
    long value = 6379;
    for (size_t i = 0; i < n; i++)
        if (text[i] == ':')
            name = i;
    if (n && *text == '[') {                    /* [::1]:6379, [::1] */
        const char *end = memchr(text, ']', n);
        if (!end)
            return 0;
        skip = 1;
        name = (size_t)(end - text) + 1;
        if (name < n && text[name] != ':')
            return 0;
    }
    if (name < n)
        value = number(text + name + 1, n - name - 1);
    const size_t length = name - 2 * skip;
    if (value < 1 || value > 65535 || length >= 256)
        return 0;
    memcpy(host, text + skip, length);
    host[length] = '\0';
    *port = (int)value;
    return 1;
}

int tsri_redis_parse(tsri_redis *r, const char *url, char host[256], int *port)
{
    const char *text = url + strlen("redis://");
    const char *slash = strchr(text, '/');
    size_t n = slash ? (size_t)(slash - text) : strlen(text);
    size_t login = 0;
    for (size_t i = 0; i < n; i++)              /* a password may have an @ */
        if (text[i] == '@')
            login = i + 1;
    if (login && !parse_login(r, text, login - 1))
        return 0;
    const long db = slash && slash[1] ? number(slash + 1, strlen(slash + 1)) : 0;
    r->login.db = (int)db;
    return db >= 0 && !strpbrk(url, " \t\r\n?#") &&
        tsri_redis_address(host, port, text + login, n - login) && *host;
}
