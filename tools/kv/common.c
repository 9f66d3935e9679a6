/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdlib.h>
#include <string.h>
#include "tools/engine.h"
#include "tools/kv/verbs.h"
#include "tools/say.h"

enum { ALIGN = 64 };

int kv_same_rope(const tsr_kv_rope *a, const tsr_kv_rope *b)
{
    return a->layout == b->layout && a->offset == b->offset &&
        a->dims == b->dims && a->theta == b->theta &&
        a->scaling == b->scaling && a->factor == b->factor &&
        a->low_factor == b->low_factor && a->high_factor == b->high_factor &&
        a->original == b->original;
}

int kv_call(const tsr_kv *kv, size_t tokens, tsr_kv_call *call)
{
    const tsr_error error = tsr_kv_scratch_size(kv, tokens, &call->scratch_size);
    if (error)
        return say_failure(NULL, error);
    if (call->scratch_size > SIZE_MAX - ALIGN)
        return say_error(RC_MACHINE, NULL, "out of memory");
    call->scratch = aligned_alloc(ALIGN, (call->scratch_size / ALIGN + 1) *
                                             ALIGN);
    return call->scratch ? RC_OK : say_error(RC_MACHINE, NULL, "out of memory");
}

int kv_settings(tsr_kv_settings *s, tsr_model **model, tsr_context *ctx,
                const args *a, const cache *c)
{
    *model = NULL;
    tsr_kv_settings_init(s);
    s->shape = c->shape;
    s->rope = c->rope;
    s->method = a->method ? a->method : s->method;
    s->step = a->step > 0 ? a->step : s->step;
    s->value_ratio = a->value_ratio > 0 ? a->value_ratio : s->value_ratio;
    s->levels = a->levels ? a->levels : s->levels;
    s->sinks = a->sinks >= 0 ? a->sinks : s->sinks;
    s->recent = a->recent;
    s->recent_boost = a->boost >= 0 ? a->boost : 2;
    s->tile = a->tile ? a->tile : s->tile;
    s->store_tokens = !a->no_ids;
    if (!a->profile)
        return RC_OK;
    const int rc = engine_open_model(model, ctx, a->profile);
    s->profile = *model;
    return rc;
}

tsr_kv_view kv_window(const cache *c, size_t first, size_t n, void **base)
{
    tsr_kv_view view = c->view;
    for (int i = 0; i < c->shape.layers * c->shape.planes; i++)
        base[i] = (uint8_t *)c->base[i] +
            (ptrdiff_t)first * c->view.token_stride;
    view.base = base;
    view.tokens = n;
    return view;
}

int kv_range(const char *text, uint64_t end, uint64_t *first, uint64_t *n)
{
    char *at;
    uint64_t last = end;

    *first = strtoull(text, &at, 10);
    if (at == text && *at != ':')
        return say_error(RC_USAGE, NULL, "%s: a range is FROM:TO", text);
    if (!*at) {
        last = *first + 1;
    } else if (*at == ':' && at[1]) {
        const char *from = at + 1;
        last = strtoull(from, &at, 10);
        if (at == from || *at)
            return say_error(RC_USAGE, NULL, "%s: a range is FROM:TO", text);
    } else if (*at != ':') {
        return say_error(RC_USAGE, NULL, "%s: a range is FROM:TO", text);
    }
    if (*first >= last || last > end)
        return say_error(RC_USAGE, NULL, "%s: there are only 0:%llu", text,
                         (unsigned long long)end);
    *n = last - *first;
    return RC_OK;
}

int kv_write(const args *a, const input *in,
             int (*make)(void *cookie, output *out, progress *p), void *cookie,
             uint64_t *bytes)
{
    progress p;
    output out;
    int rc = output_open(&out, a, in, a->out);

    if (rc)
        return rc;
    rc = progress_open(&p, a, a->out);
    if (!rc) {
        rc = make(cookie, &out, &p);
        progress_close(&p, out.bytes, !rc);
    }
    if (bytes)
        *bytes = out.bytes;
    const int rc_close = output_close(&out, !rc);
    return rc_close ? rc_close : rc;
}
