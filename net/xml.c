/* SPDX-License-Identifier: BSD-2-Clause */
#include "net/xml.h"
#include <stdlib.h>
#include <string.h>

static size_t utf8(unsigned long c, char out[4])
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xC0 | c >> 6);
        out[1] = (char)(0x80 | (c & 63));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xE0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 63));
        out[2] = (char)(0x80 | (c & 63));
        return 3;
    }
    out[0] = (char)(0xF0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 63));
    out[2] = (char)(0x80 | (c >> 6 & 63));
    out[3] = (char)(0x80 | (c & 63));
    return 4;
}

/* The value of &#N; or &#xN; whose digits are at c, 1 .. 10FFFF; 0: none. */
static unsigned long reference(const char *c, const char **end)
{
    const int base = *c == 'x' ? 16 : 10;
    c += *c == 'x';
    const size_t n = strspn(c, base == 16 ? "0123456789abcdefABCDEF"
                                          : "0123456789");
    *end = c + n;
    if (!n || n > 7 || c[n] != ';')
        return 0;
    *end = c + n + 1;
    const unsigned long value = strtoul(c, NULL, base);
    return value <= 0x10FFFF ? value : 0;
}

/* Decodes the entity at c, behind its '&'.  Returns the bytes written, 0: there
 * is no such. */
static size_t entity(const char *c, char out[4], const char **end)
{
    static const struct { const char *name; char value; } known[] = {
        { "amp;", '&' }, { "lt;", '<' }, { "gt;", '>' }, { "quot;", '"' },
        { "apos;", '\'' }
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strncmp(c, known[i].name, strlen(known[i].name))) {
            *out = known[i].value;
            *end = c + strlen(known[i].name);
            return 1;
        }
    const unsigned long value = *c == '#' ? reference(c + 1, end) : 0;
    return value ? utf8(value, out) : 0;
}

/* The text at *at, to the next tag. */
static int read_text(const char **at, tsri_xml *tag)
{
    const char *c = *at;
    size_t size = 0;
    tag->cut = 0;
    while (*c && *c != '<') {
        char piece[4] = { *c };
        const size_t n = *c == '&' ? entity(c + 1, piece, &c) : (c++, (size_t)1);
        if (!n)
            return -1;
        if (size + n < sizeof tag->text && !tag->cut) {
            memcpy(tag->text + size, piece, n);
            size += n;
        } else
            tag->cut = 1;
    }
    tag->text[size] = 0;
    *at = c;
    return 1;
}

int tsri_xml_next(const char **at, tsri_xml *tag)
{
    const char *c = strchr(*at, '<');
    if (c && c[1] == '?') {
        c = strstr(c, "?>");
        if (!c)
            return -1;
        c = strchr(c, '<');
    }
    if (!c)
        return 0;
    c++;
    tag->end = *c == '/';
    c += tag->end;
    size_t n = strcspn(c, " \t\r\n/>:<!?");
    if (c[n] == ':') {
        c += n + 1;
        n = strcspn(c, " \t\r\n/>:<!?");
    }
    const char *close = strpbrk(c + n, "<>");
    if (!n || !close || *close == '<')
        return -1;
    const size_t kept = n < sizeof tag->name ? n : sizeof tag->name - 1;
    memcpy(tag->name, c, kept);
    tag->name[kept] = 0;
    *at = close + 1;
    return read_text(at, tag);
}
