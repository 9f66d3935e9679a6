/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TOOLS_JSON_H
#define TOOLS_JSON_H
/** A string in quotes, to stdout; bytes that are no UTF-8 go as they are. */
void json_string(const char *text);

/** A number with `digits` decimals, or null if it is not finite. */
void json_number(double value, int digits);
#endif
