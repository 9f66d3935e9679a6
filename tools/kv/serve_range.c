/* SPDX-License-Identifier: BSD-2-Clause */
#include <string.h>
#include <strings.h>
#include "tools/kv/serve.h"

/* A number at *at; numbers that are too large are as large as can be.  0: there
 * is none. */
static int number(const char **at, uint64_t *value)
{
    const char *s = *at;
    *value = 0;
    for (; *s >= '0' && *s <= '9'; s++) {
        const uint64_t digit = (uint64_t)(*s - '0');
        *value = *value > (UINT64_MAX - digit) / 10 ? UINT64_MAX
                                                    : *value * 10 + digit;
    }
    const int any = s != *at;
    *at = s;
    return any;
}

static int suffix(uint64_t n, uint64_t size, uint64_t *first, uint64_t *bytes)
{
    *bytes = n < size ? n : size;
    *first = size - *bytes;
    return *bytes ? RANGE_PART : RANGE_BAD;
}

int range_parse(const char *text, uint64_t size, uint64_t *first,
                uint64_t *bytes)
{
    uint64_t last = UINT64_MAX;
    if (!text || strncasecmp(text, "bytes=", 6))
        return RANGE_NONE;
    text += 6 + strspn(text + 6, " \t");
    const int from = number(&text, first);
    if (*text++ != '-')
        return RANGE_NONE;
    const int to = number(&text, &last);
    text += strspn(text, " \t");
    if (*text || (!from && !to))
        return RANGE_NONE;
    if (!from)
        return suffix(last, size, first, bytes);
    if (!to)
        last = UINT64_MAX;
    if (last < *first)
        return RANGE_NONE;
    if (*first >= size)
        return RANGE_BAD;
    *bytes = (last < size ? last : size - 1) - *first + 1;
    return RANGE_PART;
}

int etag_matches(const char *list, const char *etag, int weak)
{
    if (!strcmp(list, "*"))
        return etag != NULL;
    while (*list) {
        list += strspn(list, ", \t");
        const int is_weak = !strncmp(list, "W/", 2);
        const char *tag = list + 2 * is_weak;
        if (*tag != '"')
            return 0;
        const size_t n = strcspn(tag + 1, "\"");
        if (etag && (weak || !is_weak) && strlen(etag) == n &&
            !memcmp(etag, tag + 1, n))
            return 1;
        list = tag + 1 + n;
        list += *list == '"';
    }
    return 0;
}
