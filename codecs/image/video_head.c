/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdio.h>
#include "codecs/image/video.h"
#include "lib/bytes.h"

enum { UNKNOWN_COLOUR = 2 }; /* ITU-T H.273 */

void tsr_video_settings_init(tsr_video_settings *settings)
{
    *settings = (tsr_video_settings){
        .size = sizeof *settings, .quality = 50, .lossless_alpha = 1,
        .info = { .primaries = UNKNOWN_COLOUR, .transfer = UNKNOWN_COLOUR,
                  .matrix = UNKNOWN_COLOUR } };
}

bool tsri_video_info_possible(const tsr_video_info *info)
{
    return !info->rate_num == !info->rate_den &&
           !info->sar_num == !info->sar_den && info->full_range <= 1;
}

size_t tsri_video_extradata_put(const tsri_video_head *head, uint8_t *out)
{
    const tsr_video_info *info = &head->info;

    tsri_geometry_put(&head->image, out);
    tsri_put32(out + 12, info->rate_num);
    tsri_put32(out + 16, info->rate_den);
    tsri_put16(out + 20, info->sar_num);
    tsri_put16(out + 22, info->sar_den);
    out[24] = info->primaries;
    out[25] = info->transfer;
    out[26] = info->matrix;
    out[27] = info->full_range;
    return TSRI_VIDEO_HEAD_BYTES +
           tsri_modl_put(head->image.hash, head->image.model_name,
                         out + TSRI_VIDEO_HEAD_BYTES);
}

/* What the two heads have in common. */
static void fill_info(tsri_video_head *head)
{
    const tsri_image_head *h = &head->image;
    tsr_video_info *info = &head->info;

    if (h->codec)
        snprintf(info->codec, sizeof info->codec, "%s", h->codec->id);
    memcpy(info->model_hash, h->hash, sizeof info->model_hash);
    memcpy(info->model_name, h->model_name, sizeof info->model_name);
    info->width = h->width;
    info->height = h->height;
    info->channels = h->channels;
    info->bits = h->bits;
}

tsr_error tsri_video_extradata_get(tsr_context *ctx, tsri_video_head *head,
                                   const uint8_t *data, size_t size)
{
    *head = (tsri_video_head){ .image = { .hash_bytes = TSR_MODEL_HASH_BYTES } };
    if (size < TSRI_VIDEO_HEAD_BYTES)
        return tsri_fail(ctx, TSR_E_CORRUPT, "extradata has a wrong length");
    TSR_TRY(tsri_geometry_get(ctx, &head->image, data));
    TSR_TRY(tsri_modl_get(ctx, data + TSRI_VIDEO_HEAD_BYTES,
                          size - TSRI_VIDEO_HEAD_BYTES, head->image.hash,
                          head->image.model_name));
    head->info = (tsr_video_info){
        .rate_num = tsri_get32(data + 12), .rate_den = tsri_get32(data + 16),
        .sar_num = tsri_get16(data + 20), .sar_den = tsri_get16(data + 22),
        .primaries = data[24], .transfer = data[25], .matrix = data[26],
        .full_range = data[27] };
    if (!tsri_video_info_possible(&head->info))
        return tsri_fail(ctx, TSR_E_CORRUPT, "HEAD has an impossible value");
    fill_info(head);
    return TSR_OK;
}

tsr_error tsr_video_describe(tsr_context *context, const void *extradata,
                             size_t bytes, tsr_video_info *info)
{
    tsri_video_head head;
    const tsr_error error =
        tsri_video_extradata_get(context, &head, extradata, bytes);

    *info = error ? (tsr_video_info){ 0 } : head.info;
    return error;
}
