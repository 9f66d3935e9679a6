/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdlib.h>
#include "tools/media/sink_av.h"
#include "tools/say.h"

/* Samples that encoders of any frame size are given at once. */
enum { ANY_FRAME = 1024 };

static int no_memory(void)
{
    return say_error(RC_MACHINE, NULL, "out of memory");
}

/* The rate that is wanted, else the next higher one that the encoder has, else
 * its highest. */
static int choose_rate(const AVCodec *codec, int wanted)
{
    int above = 0, highest = 0;
    for (const int *r = codec->supported_samplerates; r && *r; r++) {
        if (*r == wanted)
            return wanted;
        if (*r > wanted && (!above || *r < above))
            above = *r;
        if (*r > highest)
            highest = *r;
    }
    return above ? above : highest ? highest : wanted;
}

static int set_layout(AVCodecContext *c, const AVCodec *codec, int channels)
{
    const AVChannelLayout *l = codec->ch_layouts;
    av_channel_layout_default(&c->ch_layout, channels);
    for (; l && l->nb_channels; l++)
        if (!av_channel_layout_compare(l, &c->ch_layout))
            return RC_OK;
    return codec->ch_layouts
        ? say_error(RC_USAGE, NULL, "the encoder %s does not take %d channels;"
                    " -ac 2 mixes them", codec->name, channels) : RC_OK;
}

static int set_converter(av_encoder *e, const sink_source *from)
{
    AVChannelLayout in;
    AVCodecContext *c = e->codec;
    int error;

    av_channel_layout_default(&in, from->channels);
    error = swr_alloc_set_opts2(&e->swr, &c->ch_layout, c->sample_fmt,
                                c->sample_rate, &in, AV_SAMPLE_FMT_FLT,
                                from->rate, 0, NULL);
    av_channel_layout_uninit(&in);
    return error < 0 || swr_init(e->swr) < 0
        ? say_error(RC_USAGE, NULL, "libav does not convert this sound")
        : RC_OK;
}

int av_audio_open(av_encoder *e, const args *a, const AVOutputFormat *format,
                  const sink_source *from)
{
    const enum AVCodecID id = av_guess_codec(format, NULL, a->out, NULL,
                                             AVMEDIA_TYPE_AUDIO);
    const AVCodec *codec;
    AVCodecContext *c;
    int rc;

    if (id == AV_CODEC_ID_NONE && !a->codec_a)
        return RC_OK;
    codec = av_encoder_named(a->codec_a, AVMEDIA_TYPE_AUDIO, id);
    if (!codec)
        return RC_USAGE;
    c = e->codec = avcodec_alloc_context3(codec);
    e->packet = av_packet_alloc();
    e->frame = av_frame_alloc();
    if (!c || !e->packet || !e->frame)
        return no_memory();
    c->sample_rate = choose_rate(codec, a->rate ? a->rate : from->rate);
    c->sample_fmt = codec->sample_fmts ? codec->sample_fmts[0]
                                       : AV_SAMPLE_FMT_S16;
    c->time_base = (AVRational){ 1, c->sample_rate };
    if (codec->capabilities & AV_CODEC_CAP_EXPERIMENTAL)
        c->strict_std_compliance = FF_COMPLIANCE_EXPERIMENTAL;
    e->unit = (AVRational){ 1, from->rate };
    rc = set_layout(c, codec, a->channels ? a->channels : from->channels);
    return rc ? rc : set_converter(e, from);
}

int av_audio_prepare(av_encoder *e)
{
    if (!e->codec)
        return RC_OK;
    e->fifo = av_audio_fifo_alloc(e->codec->sample_fmt,
                                  e->codec->ch_layout.nb_channels, ANY_FRAME);
    return e->fifo ? RC_OK : no_memory();
}

/* What the converter makes of n samples goes into the queue. */
static int convert(av_encoder *e, const uint8_t **from, int n)
{
    AVFrame *f = e->frame;
    int made;

    av_frame_unref(f);
    f->format = e->codec->sample_fmt;
    f->sample_rate = e->codec->sample_rate;
    f->nb_samples = swr_get_out_samples(e->swr, n);
    if (f->nb_samples <= 0)
        return RC_OK;
    if (av_channel_layout_copy(&f->ch_layout, &e->codec->ch_layout) < 0 ||
        av_frame_get_buffer(f, 0) < 0)
        return no_memory();
    made = swr_convert(e->swr, f->extended_data, f->nb_samples, from, n);
    if (made < 0 || av_audio_fifo_write(e->fifo, (void **)f->extended_data,
                                        made) < made)
        return no_memory();
    return RC_OK;
}

int av_audio_take(av_encoder *e, const float *x, size_t n, int64_t pts)
{
    const uint8_t *from[1] = { (const uint8_t *)x };
    if (x && !e->began)
        e->next = av_rescale_q(pts, e->unit, e->codec->time_base);
    e->began |= x != NULL;
    return convert(e, x ? from : NULL, (int)n);
}

int av_audio_frame(av_encoder *e, int last, int *rc)
{
    AVFrame *f = e->frame;
    const int have = av_audio_fifo_size(e->fifo);
    const int size = e->codec->frame_size ? e->codec->frame_size : ANY_FRAME;
    const int n = have < size ? have : size;

    *rc = RC_OK;
    if (!n || (n < size && !last))
        return 0;
    av_frame_unref(f);
    f->format = e->codec->sample_fmt;
    f->sample_rate = e->codec->sample_rate;
    f->nb_samples = n;
    if (av_channel_layout_copy(&f->ch_layout, &e->codec->ch_layout) < 0 ||
        av_frame_get_buffer(f, 0) < 0 ||
        av_audio_fifo_read(e->fifo, (void **)f->extended_data, n) < n) {
        *rc = no_memory();
        return 0;
    }
    f->pts = e->next;
    e->next += n;
    return 1;
}
