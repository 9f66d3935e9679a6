/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/json.h"

enum { MAX_DEPTH = 32 };

static bool fault(tsri_json *j)
{
    j->bad = true;
    return false;
}

static void skip_space(tsri_json *j)
{
    while (j->at < j->end && (*j->at == ' ' || *j->at == '\t' ||
                              *j->at == '\n' || *j->at == '\r'))
        j->at++;
}

bool tsri_json_take(tsri_json *j, char c)
{
    skip_space(j);
    if (j->bad || j->at == j->end || *j->at != c)
        return false;
    j->at++;
    return true;
}

static bool hex4(tsri_json *j, unsigned *out)
{
    *out = 0;
    if (j->end - j->at < 4)
        return fault(j);
    for (int i = 0; i < 4; i++) {
        const char c = *j->at++;
        const int digit = c >= '0' && c <= '9'   ? c - '0'
                          : c >= 'a' && c <= 'f' ? c - 'a' + 10
                          : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                                 : -1;
        if (digit < 0)
            return fault(j);
        *out = *out << 4 | (unsigned)digit;
    }
    return true;
}

/* After "\u": one code point, from two halves where there is a pair. */
static bool code_point(tsri_json *j, unsigned *out)
{
    unsigned low;
    if (!hex4(j, out))
        return false;
    if (*out < 0xD800 || *out > 0xDFFF)
        return *out ? true : fault(j);
    if (*out > 0xDBFF || j->end - j->at < 2 || j->at[0] != '\\' ||
        j->at[1] != 'u')
        return fault(j);
    j->at += 2;
    if (!hex4(j, &low) || low < 0xDC00 || low > 0xDFFF)
        return fault(j);
    *out = 0x10000 + ((*out - 0xD800) << 10) + (low - 0xDC00);
    return true;
}

static size_t utf8(unsigned c, char *out)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    const size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i; i--, c >>= 6)
        out[i] = (char)(0x80 | (c & 0x3f));
    out[0] = (char)((0xF00u >> n & 0xF0u) | c);
    return n;
}

static bool escape(tsri_json *j, char *out, size_t *n)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    unsigned c;

    if (j->at == j->end)
        return fault(j);
    if (*j->at == 'u') {
        j->at++;
        if (!code_point(j, &c))
            return false;
        *n = utf8(c, out);
        return true;
    }
    for (int i = 0; from[i]; i++)
        if (*j->at == from[i]) {
            j->at++;
            out[0] = to[i];
            *n = 1;
            return true;
        }
    return fault(j);
}

bool tsri_json_string(tsri_json *j, char *out, size_t size)
{
    size_t used = 0;

    if (!tsri_json_take(j, '"'))
        return fault(j);
    while (j->at < j->end && *j->at != '"') {
        char part[4] = { *j->at };
        size_t n = 1;
        if ((unsigned char)*j->at < 0x20)
            return fault(j);
        if (*j->at++ == '\\' && !escape(j, part, &n))
            return false;
        if (used + n >= size)
            return fault(j);
        for (size_t i = 0; i < n; i++)
            out[used++] = part[i];
    }
    if (j->at == j->end)
        return fault(j);
    j->at++;
    out[used] = 0;
    return true;
}

bool tsri_json_u64(tsri_json *j, uint64_t *out)
{
    skip_space(j);
    const char *start = j->at;
    *out = 0;
    while (!j->bad && j->at < j->end && *j->at >= '0' && *j->at <= '9') {
        if (__builtin_mul_overflow(*out, (uint64_t)10, out) ||
            __builtin_add_overflow(*out, (uint64_t)(*j->at - '0'), out))
            return fault(j);
        j->at++;
    }
    if (j->at == start || (*start == '0' && j->at - start > 1) ||
        (j->at < j->end && (*j->at == '.' || *j->at == 'e' || *j->at == 'E')))
        return fault(j);
    return true;
}

static bool skip_string(tsri_json *j)
{
    j->at++;
    while (j->at < j->end && *j->at != '"')
        j->at += *j->at == '\\' && j->end - j->at > 1 ? 2 : 1;
    if (j->at >= j->end)
        return fault(j);
    j->at++;
    return true;
}

/* Numbers and words: their spelling is nobody's concern here. */
static bool skip_scalar(tsri_json *j)
{
    const char *start = j->at;
    while (j->at < j->end &&
           ((*j->at >= '0' && *j->at <= '9') || (*j->at >= 'a' && *j->at <= 'z') ||
            *j->at == 'E' || *j->at == '+' || *j->at == '-' || *j->at == '.'))
        j->at++;
    return j->at > start ? true : fault(j);
}

static bool skip_value(tsri_json *j, int depth)
{
    char open;

    skip_space(j);
    if (j->bad || j->at == j->end || depth == MAX_DEPTH)
        return fault(j);
    open = *j->at;
    if (open == '"')
        return skip_string(j);
    if (open != '{' && open != '[')
        return skip_scalar(j);
    j->at++;
    if (tsri_json_take(j, open == '{' ? '}' : ']'))
        return true;
    do {
        skip_space(j);
        if (open == '{' &&
            (j->at == j->end || *j->at != '"' || !skip_string(j) ||
             !tsri_json_take(j, ':')))
            return fault(j);
        if (!skip_value(j, depth + 1))
            return false;
    } while (tsri_json_take(j, ','));
    return tsri_json_take(j, open == '{' ? '}' : ']') ? true : fault(j);
}

bool tsri_json_skip(tsri_json *j)
{
    return skip_value(j, 0);
}

/* Common to objects and arrays: the bracket or comma before the next item. */
static bool next(tsri_json *j, bool *first, char open, char close)
{
    if (*first) {
        *first = false;
        if (!tsri_json_take(j, open))
            return fault(j);
        return !tsri_json_take(j, close);
    }
    if (tsri_json_take(j, close))
        return false;
    return tsri_json_take(j, ',') ? true : fault(j);
}

bool tsri_json_member(tsri_json *j, bool *first, char *key, size_t size)
{
    if (j->bad || !next(j, first, '{', '}'))
        return false;
    if (!tsri_json_string(j, key, size))
        return false;
    return tsri_json_take(j, ':') ? true : fault(j);
}

bool tsri_json_element(tsri_json *j, bool *first)
{
    return !j->bad && next(j, first, '[', ']');
}
