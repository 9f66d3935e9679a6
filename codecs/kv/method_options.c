/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdlib.h>
#include "codecs/kv/method_parts.h"

static bool allowed(const tsri_kv_option *o, int value)
{
    return value >= o->least && value <= o->most &&
           (value - o->least) % o->step == 0;
}

/* One "key=value" of `length` bytes. */
static bool read_one(const char *text, size_t length,
                     const tsri_kv_option *list, int n, uint8_t *params)
{
    const char *equals = memchr(text, '=', length);
    char value[16], *end;

    for (int i = 0; equals && i < n; i++) {
        const size_t key = (size_t)(equals - text), rest = length - key - 1;
        if (strlen(list[i].key) != key || memcmp(list[i].key, text, key) ||
            !rest || rest >= sizeof value)
            continue;
        memcpy(value, equals + 1, rest);
        value[rest] = 0;
        const double number = strtod(value, &end) * list[i].scale;
        if (*end || !(number >= list[i].least && number <= list[i].most) ||
            !allowed(&list[i], (int)(number + 0.5)))
            return false;
        tsri_put16(params + 2 * i, (uint16_t)(number + 0.5));
        return true;
    }
    return false;
}

tsr_error tsri_kv_options_read(tsr_context *ctx, const tsr_kv_settings *settings,
                               const tsri_kv_option *list, int n,
                               uint8_t params[40])
{
    const char *text = strchr(settings->method, ':');

    memset(params, 0, 40);
    for (int i = 0; i < n; i++)
        tsri_put16(params + 2 * i, (uint16_t)list[i].standard);
    while (text) {
        const size_t length = strcspn(++text, ",");
        if (!read_one(text, length, list, n, params))
            return tsri_fail(ctx, TSR_E_ARG, "\"%.*s\" is no option of the "
                             "method \"%.*s\"", (int)length, text,
                             (int)strcspn(settings->method, ":"),
                             settings->method);
        text = text[length] ? text + length : NULL;
    }
    return TSR_OK;
}

tsr_error tsri_kv_options_check(const tsri_kv_option *list, int n,
                                const uint8_t params[40])
{
    for (int i = 0; i < n; i++)
        if (!allowed(&list[i], tsri_kv_option_at(params, i)))
            return TSR_E_CORRUPT;
    for (int i = 2 * n; i < 40; i++)
        if (params[i])
            return TSR_E_CORRUPT;
    return TSR_OK;
}
