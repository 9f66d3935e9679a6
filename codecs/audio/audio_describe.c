/* SPDX-License-Identifier: BSD-2-Clause */
/* What extradata and packets say, for those who only carry them. */
#include <stdio.h>
#include <string.h>
#include "codecs/audio/audio.h"

tsr_error tsri_audio_extradata_get(tsr_context *ctx, tsri_audio_head *head,
                                   const uint8_t *data, size_t size)
{
    if (size < TSRI_AUDIO_HEAD_BYTES || size > TSRI_AUDIO_EXTRADATA_MAX)
        return tsri_fail(ctx, TSR_E_CORRUPT, "extradata has a wrong length");
    TSR_TRY(tsri_audio_head_get(ctx, head, data, TSRI_AUDIO_HEAD_BYTES));
    return tsri_modl_get(ctx, data + TSRI_AUDIO_HEAD_BYTES,
                         size - TSRI_AUDIO_HEAD_BYTES, head->hash,
                         head->model_name);
}

void tsri_audio_head_info(const tsri_audio_head *h, tsr_audio_info *info)
{
    const tsri_audio_codec *codec = tsri_audio_codec_by_number(h->codec_number);

    if (codec) {
        snprintf(info->codec, sizeof info->codec, "%s", codec->id);
        info->semantic_books = tsri_min(codec->semantic_books, h->books);
    }
    memcpy(info->model_hash, h->hash, sizeof info->model_hash);
    memcpy(info->model_name, h->model_name, sizeof info->model_name);
    info->rate = h->rate;
    info->channels = h->channels;
    info->groups = tsri_audio_groups(h);
    info->hop = h->hop;
    info->books = h->books;
    info->codewords = h->codewords;
    info->first_codewords = tsri_codes_words(h->codewords, h->shorter, 0);
    info->other_codewords = tsri_codes_words(h->codewords, h->shorter, 1);
    info->entropy = (int)h->entropy;
    info->live = h->live;
    info->droppable = h->layers;
}

tsr_error tsr_audio_describe(tsr_context *context, const void *extradata,
                             size_t bytes, tsr_audio_info *info)
{
    tsri_audio_head head;
    const tsr_error error =
        tsri_audio_extradata_get(context, &head, extradata, bytes);

    *info = (tsr_audio_info){ 0 };
    if (!error)
        tsri_audio_head_info(&head, info);
    return error;
}

tsr_error tsr_audio_describe_packet(tsr_context *context, const void *extradata,
                                    size_t extradata_bytes, const void *data,
                                    size_t bytes, tsr_audio_packet *packet)
{
    tsri_audio_head head;
    tsri_audio_packet p;

    *packet = (tsr_audio_packet){ .data = NULL };
    TSR_TRY(tsri_audio_extradata_get(context, &head, extradata,
                                     extradata_bytes));
    if (tsri_audio_packet_get(&head, &p, data, bytes))
        return tsri_fail(context, TSR_E_CORRUPT, "not a packet of this sound");
    *packet = (tsr_audio_packet){
        .data = data, .bytes = bytes, .number = p.number,
        .pts = p.number * tsri_audio_packet_span(&head),
        .samples = (uint32_t)p.samples, .frames = p.frames };
    return TSR_OK;
}
