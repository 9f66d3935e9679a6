/* SPDX-License-Identifier: BSD-2-Clause */
/* A cursor over JSON text, for headers of known shape (RFC 8259). */
#ifndef TSR_LIB_JSON_H
#define TSR_LIB_JSON_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** After a fault `bad` is set, and every call fails. */
typedef struct tsri_json {
    const char *at, *end;
    bool bad;
} tsri_json;

/** Takes character c (after white space) if it is next. */
bool tsri_json_take(tsri_json *j, char c);

/** Takes a string and unescapes it to UTF-8 in out[size], with a final 0.
 *  A string with a 0 character, or too long for `out`, is a fault. */
bool tsri_json_string(tsri_json *j, char *out, size_t size);

/** Takes a whole number 0..2^64-1 without sign, fraction or exponent. */
bool tsri_json_u64(tsri_json *j, uint64_t *out);

/** Takes any value, at most 32 levels deep. */
bool tsri_json_skip(tsri_json *j);

/** Walks an object: bool first = true; while (tsri_json_member(j, &first, key,
 *  sizeof key)) { take the value }.  Ends with false at '}' or a fault. */
bool tsri_json_member(tsri_json *j, bool *first, char *key, size_t size);

/** The same for an array. */
bool tsri_json_element(tsri_json *j, bool *first);
#endif
