/* SPDX-License-Identifier: BSD-2-Clause */
/* What programs that make profiles need of the codec's own view of a cache. */
#include "codecs/kv/match.h"
#include "codecs/kv/move.h"
#include "codecs/kv/rope.h"

static void take_off(const tsri_rope *rope, unsigned cpu,
                     const tsr_kv_shape *shape, uint64_t pos, float *cs,
                     float *x)
{
    tsri_rope_angles(rope, pos, cs);
    tsri_rope_take_off(tsri_rope_what(rope), cpu, cs, x, shape->heads[0],
                       shape->dim[0]);
}

tsr_error tsr_kv_values(tsr_context *ctx, const tsr_kv_shape *shape,
                        const tsr_kv_rope *rope, const tsr_kv_view *view,
                        int layer, int plane, uint64_t pos0, float *x)
{
    const size_t width = (size_t)shape->heads[plane] * (size_t)shape->dim[plane];
    tsri_rope *turn = NULL;
    float *cs = NULL;
    tsr_error error = tsri_kv_view_check(ctx, view, shape, false);

    if (error)
        return error;
    if (!tsri_kv_gather(view, shape, ctx->cpu, layer, plane, 0, view->tokens, x,
                        width))
        return tsri_fail(ctx, TSR_E_ARG, "layer %d holds a value that is not"
                         " finite", layer);
    if (plane || !rope->layout)
        return TSR_OK;
    error = tsri_rope_open(&turn, ctx, rope, shape->dim[0],
                           pos0 + view->tokens);
    if (!error) {
        cs = tsri_alloc(ctx, (size_t)rope->dims, sizeof *cs);
        error = cs ? TSR_OK : tsri_nomem(ctx);
    }
    for (size_t t = 0; !error && t < view->tokens; t++)
        take_off(turn, ctx->cpu, shape, pos0 + t, cs, x + t * width);
    tsri_free(ctx, cs);
    tsri_rope_close(&turn, ctx);
    return error;
}

tsr_error tsr_kv_matches(tsr_context *ctx, const int32_t *ids, size_t n,
                         size_t sinks, int32_t *ref, uint8_t *match)
{
    const tsri_kv_profile profile = { .reference = TSRI_KV_REF_MATCH };
    void *scratch;

    if (n > TSRI_KV_MAX_TOKENS)
        return tsri_fail(ctx, TSR_E_ARG, "%zu tokens; %d at most", n,
                         TSRI_KV_MAX_TOKENS);
    scratch = tsri_alloc(ctx, tsri_kv_match_scratch(n), 1);
    if (!scratch)
        return tsri_nomem(ctx);
    tsri_kv_match(&profile, ids, n, sinks, ref, match, scratch);
    tsri_free(ctx, scratch);
    return TSR_OK;
}
