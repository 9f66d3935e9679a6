/* SPDX-License-Identifier: BSD-2-Clause */
/* Names of chunks: docs/kv-store.md section 1. */
#include <string.h>
#include <tessera/kv_chunk.h>
#include "codecs/kv/kv.h"
#include "lib/bytes.h"
#include "lib/sha256.h"

enum { MODEL_MAX = 1023 };

static const char label[] = "tessera kv 1\n";

static void add32(tsri_sha256 *s, uint32_t v)
{
    uint8_t bytes[4];

    tsri_put32(bytes, v);
    tsri_sha256_add(s, bytes, sizeof bytes);
}

tsr_error tsr_kv_prefix_begin(tsr_kv_prefix *prefix, const char *model,
                              const uint8_t *profile)
{
    static const uint8_t none[8];
    const size_t length = model ? strlen(model) : 0;
    tsri_sha256 s;

    *prefix = (tsr_kv_prefix){ .tokens = 0 };
    if (!length || length > MODEL_MAX)
        return TSR_E_ARG;
    tsri_sha256_start(&s);
    tsri_sha256_add(&s, label, strlen(label));
    add32(&s, (uint32_t)length);
    tsri_sha256_add(&s, model, length);
    tsri_sha256_add(&s, profile ? profile : none, sizeof none);
    tsri_sha256_end(&s, prefix->name);
    return TSR_OK;
}

tsr_error tsr_kv_prefix_add(tsr_kv_prefix *prefix, const int32_t *ids, size_t n)
{
    uint8_t bytes[256];
    tsri_sha256 s;

    if (!ids || !n || n > TSRI_KV_MAX_TOKENS)
        return TSR_E_ARG;
    tsri_sha256_start(&s);
    tsri_sha256_add(&s, prefix->name, sizeof prefix->name);
    add32(&s, (uint32_t)n);
    for (size_t i = 0, k; i < n; i += k) {
        for (k = 0; k < sizeof bytes / 4 && i + k < n; k++)
            tsri_put32(bytes + 4 * k, (uint32_t)ids[i + k]);
        tsri_sha256_add(&s, bytes, 4 * k);
    }
    tsri_sha256_end(&s, prefix->name);
    prefix->tokens += n;
    return TSR_OK;
}

/* ---- as text ---- */

static const char digits[] = "0123456789abcdef";

void tsr_kv_name_text(const uint8_t name[TSR_KV_NAME_BYTES],
                      char text[TSR_KV_NAME_TEXT])
{
    for (int i = 0; i < TSR_KV_NAME_BYTES; i++) {
        text[2 * i] = digits[name[i] >> 4];
        text[2 * i + 1] = digits[name[i] & 15];
    }
    text[2 * TSR_KV_NAME_BYTES] = 0;
}

/* 0..15, or -1: strchr() alone would find the end of the digits, too. */
static int value(char digit)
{
    const char *at = digit ? strchr(digits, digit) : NULL;
    return at ? (int)(at - digits) : -1;
}

tsr_error tsr_kv_name_parse(const char *text, uint8_t name[TSR_KV_NAME_BYTES])
{
    memset(name, 0, TSR_KV_NAME_BYTES);
    if (!text || strlen(text) != TSR_KV_NAME_TEXT - 1)
        return TSR_E_ARG;
    for (int i = 0; i < TSR_KV_NAME_TEXT - 1; i++) {
        const int v = value(text[i]);
        if (v < 0)
            return TSR_E_ARG;
        name[i / 2] = (uint8_t)(name[i / 2] << 4 | v);
    }
    return TSR_OK;
}
