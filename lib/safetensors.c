/* SPDX-License-Identifier: BSD-2-Clause */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "lib/bytes.h"
#include "lib/safetensors.h"

static void put(tsri_safetensors *head, const char *text, size_t size)
{
    if (head->error)
        return;
    head->error = tsri_grow(head->ctx, &head->text, &head->room, head->used,
                            size, 1);
    if (head->error)
        return;
    memcpy(head->text + head->used, text, size);
    head->used += size;
}

static void put_text(tsri_safetensors *head, const char *text)
{
    put(head, text, strlen(text));
}

/* Bytes of the UTF-8 character at p; 0: none. */
static int character(const unsigned char *p)
{
    const int n = *p < 0x80 ? 1 : (*p & 0xe0) == 0xc0 ? 2
                : (*p & 0xf0) == 0xe0 ? 3 : (*p & 0xf8) == 0xf0 ? 4 : 0;
    for (int i = 1; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    return n;
}

static void put_string(tsri_safetensors *head, const char *text)
{
    const unsigned char *p = (const unsigned char *)text;
    char code[8];
    int n;

    put_text(head, "\"");
    for (; *p && !head->error; p += n) {
        n = character(p);
        if (!n) {
            head->error = tsri_fail(head->ctx, TSR_E_ARG, "a text that is not "
                                    "UTF-8");
        } else if (*p < 0x20 || *p == '"' || *p == '\\') {
            snprintf(code, sizeof code, "\\u%04x", *p);
            put_text(head, code);
        } else {
            put(head, (const char *)p, (size_t)n);
        }
    }
    put_text(head, "\"");
}

/* Room for the length, and the beginning of the texts; else `next`. */
static void start(tsri_safetensors *head, const char *next)
{
    static const char begin[] = "\0\0\0\0\0\0\0\0{\"__metadata__\":{";

    if (head->used)
        put_text(head, next);
    else
        put(head, begin, sizeof begin - 1);
}

void tsri_safetensors_text(tsri_safetensors *head, const char *key,
                           const char *value)
{
    start(head, ",");
    put_string(head, key);
    put_text(head, ":");
    put_string(head, value);
}

void tsri_safetensors_tensor(tsri_safetensors *head, const tsr_tensor *t)
{
    char number[64];

    start(head, "");
    put_text(head, head->tensors ? "," : "},");
    head->tensors = true;
    put_string(head, t->name);
    put_text(head, ":{\"dtype\":\"");
    put_text(head, tsr_dtype_name(t->dtype));
    put_text(head, "\",\"shape\":[");
    for (int i = 0; i < t->rank; i++) {
        snprintf(number, sizeof number, "%s%" PRIu64, i ? "," : "", t->dims[i]);
        put_text(head, number);
    }
    snprintf(number, sizeof number, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64
             "]}", head->offset, head->offset + t->bytes);
    put_text(head, number);
    head->offset += t->bytes;
}

tsr_error tsri_safetensors_end(tsri_safetensors *head, const void **data,
                               size_t *size)
{
    start(head, "");
    put_text(head, head->tensors ? "}" : "}}");
    while (!head->error && head->used % 8)
        put_text(head, " ");
    if (head->error)
        return head->error;
    tsri_put64((uint8_t *)head->text, head->used - 8);
    *data = head->text;
    *size = head->used;
    return TSR_OK;
}

void tsri_safetensors_free(tsri_safetensors *head)
{
    tsri_free(head->ctx, head->text);
    head->text = NULL;
}
