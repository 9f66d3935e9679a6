/* SPDX-License-Identifier: BSD-2-Clause */
/* Pictures in device memory. */
#include <tessera/cuda.h>
#include "codecs/image/image.h"
#include "lib/cuda/device.h"
#include "lib/nn/cuda/nn_cuda.h"

static tsr_error need_device(tsr_context *ctx)
{
    return ctx->gpu ? TSR_OK
                    : tsri_fail(ctx, TSR_E_UNSUPPORTED, "the context was opened"
                                " without a device");
}

tsr_error tsr_cuda_use_stream(tsr_context *ctx, void *stream)
{
    TSR_TRY(need_device(ctx));
    return tsri_nn_cuda_stream(ctx, stream);
}

tsr_error tsr_cuda_image_encode(tsr_context *ctx, tsr_model *model,
                                const tsr_image_settings *settings,
                                const tsr_image *image, const tsr_sink *sink)
{
    tsr_image_settings own;

    TSR_TRY(need_device(ctx));
    TSR_TRY(tsri_image_settings_take(ctx, &own, settings));
    if (own.lossless_alpha && tsri_has_alpha(image->channels))
        return tsri_fail(ctx, TSR_E_UNSUPPORTED, "alpha in device memory is not"
                         " coded");
    tsri_cuda_set_pixels(ctx->gpu, true);
    const tsr_error error = tsr_image_encode(ctx, model, &own, image, sink);
    tsri_cuda_set_pixels(ctx->gpu, false);
    return error;
}

tsr_error tsr_cuda_image_decode(tsr_context *ctx, tsr_model *model,
                                const tsr_source *source, const tsr_image *image)
{
    tsr_image own = *image;

    TSR_TRY(need_device(ctx));
    TSR_TRY(tsri_image_check(ctx, image));
    tsri_cuda_set_pixels(ctx->gpu, true);
    const tsr_error error = tsri_image_decode_into(ctx, model, source, &own);
    tsri_cuda_set_pixels(ctx->gpu, false);
    return error;
}
