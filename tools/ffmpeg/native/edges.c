/* SPDX-License-Identifier: BSD-2-Clause */
/* What the command line of ffmpeg does not do to the codec, but a program on
 * libavcodec may: test.sh calls it with the name of one test. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <libavcodec/avcodec.h>
#include <libavutil/channel_layout.h>
#include <libavutil/mem.h>

#define REQUIRE(condition) do { \
        if (!(condition)) { \
            fprintf(stderr, "edges.c:%d: %s\n", __LINE__, #condition); \
            exit(1); \
        } \
    } while (0)

static AVFrame *picture(int width, int height, enum AVPixelFormat format,
                        int seed)
{
    AVFrame *f = av_frame_alloc();
    REQUIRE(f);
    f->width = width;
    f->height = height;
    f->format = format;
    f->pts = seed;
    REQUIRE(av_frame_get_buffer(f, 0) >= 0);
    for (int y = 0; y < height; y++)
        for (int x = 0; x < f->linesize[0]; x++)
            f->data[0][y * f->linesize[0] + x] = (uint8_t)(x + 3 * y + seed);
    return f;
}

static AVFrame *sound(int rate, int channels, enum AVSampleFormat format, int n)
{
    AVFrame *f = av_frame_alloc();
    REQUIRE(f);
    f->sample_rate = rate;
    f->format = format;
    f->nb_samples = n;
    f->pts = 0;
    av_channel_layout_default(&f->ch_layout, channels);
    REQUIRE(av_frame_get_buffer(f, 0) >= 0);
    for (int t = 0; t < n * channels; t++)
        ((float *)f->data[0])[t] = (float)(t * 37 % 101) / 101 - 0.5f;
    return f;
}

static AVCodecContext *context(const char *name, int encoder)
{
    const AVCodec *codec = encoder ? avcodec_find_encoder_by_name(name)
                                   : avcodec_find_decoder_by_name(name);
    AVCodecContext *c = avcodec_alloc_context3(codec);
    REQUIRE(codec && c);
    return c;
}

static AVCodecContext *video_encoder(int width, int height)
{
    AVCodecContext *c = context("libtessera_video", 1);
    c->width = width;
    c->height = height;
    c->pix_fmt = AV_PIX_FMT_RGB24;
    c->time_base = (AVRational){ 1, 25 };
    REQUIRE(avcodec_open2(c, NULL, NULL) >= 0);
    return c;
}

static AVCodecContext *sound_encoder(void)
{
    AVCodecContext *c = context("libtessera_audio", 1);
    c->sample_rate = 24000;
    c->sample_fmt = AV_SAMPLE_FMT_FLT;
    c->time_base = (AVRational){ 1, 24000 };
    av_channel_layout_default(&c->ch_layout, 1);
    REQUIRE(avcodec_open2(c, NULL, NULL) >= 0);
    return c;
}

static AVCodecContext *decoder_of(const AVCodecContext *encoder)
{
    AVCodecContext *c = context(encoder->codec->name, 0);
    c->pkt_timebase = encoder->time_base;
    c->extradata = av_mallocz((size_t)encoder->extradata_size +
                              AV_INPUT_BUFFER_PADDING_SIZE);
    REQUIRE(c->extradata);
    memcpy(c->extradata, encoder->extradata, (size_t)encoder->extradata_size);
    c->extradata_size = encoder->extradata_size;
    REQUIRE(av_channel_layout_copy(&c->ch_layout, &encoder->ch_layout) >= 0);
    REQUIRE(avcodec_open2(c, NULL, NULL) >= 0);
    return c;
}

static AVPacket *encode(AVCodecContext *c, AVFrame *f)
{
    AVPacket *p = av_packet_alloc();
    REQUIRE(p && avcodec_send_frame(c, f) >= 0);
    if (c->codec_type == AVMEDIA_TYPE_AUDIO)
        REQUIRE(avcodec_send_frame(c, NULL) >= 0);
    REQUIRE(avcodec_receive_packet(c, p) >= 0);
    av_frame_free(&f);
    return p;
}

static AVFrame *decode(AVCodecContext *c, const AVPacket *p)
{
    AVFrame *f = av_frame_alloc();
    REQUIRE(f && avcodec_send_packet(c, p) >= 0);
    REQUIRE(avcodec_receive_frame(c, f) >= 0);
    return f;
}

/* A frame of another size or format is refused; the stream goes on. */
static void geometry(void)
{
    AVCodecContext *c = video_encoder(20, 10);
    AVFrame *wide = picture(22, 10, AV_PIX_FMT_RGB24, 1);
    AVFrame *grey = picture(20, 10, AV_PIX_FMT_GRAY8, 1);
    AVPacket *p = encode(c, picture(20, 10, AV_PIX_FMT_RGB24, 0));
    REQUIRE(p->pts == 0 && p->flags & AV_PKT_FLAG_KEY);
    REQUIRE(avcodec_send_frame(c, wide) == AVERROR(EINVAL));
    av_packet_free(&p);
    avcodec_free_context(&c);

    c = video_encoder(20, 10);
    REQUIRE(avcodec_send_frame(c, grey) == AVERROR(EINVAL));
    av_frame_free(&wide);
    av_frame_free(&grey);
    avcodec_free_context(&c);
}

static void sound_format(void)
{
    AVFrame *frames[] = {
        sound(48000, 1, AV_SAMPLE_FMT_FLT, 100),
        sound(24000, 2, AV_SAMPLE_FMT_FLT, 100),
        sound(24000, 1, AV_SAMPLE_FMT_S32, 100),
    };
    for (int i = 0; i < 3; i++) {
        AVCodecContext *c = sound_encoder();
        REQUIRE(avcodec_send_frame(c, frames[i]) == AVERROR(EINVAL));
        av_frame_free(&frames[i]);
        avcodec_free_context(&c);
    }
}

/* Extradata that change in the stream: other sizes, and back. */
static void extradata(void)
{
    AVCodecContext *a = video_encoder(20, 10), *b = video_encoder(33, 17);
    AVCodecContext *c = decoder_of(a);
    AVPacket *p = encode(a, picture(20, 10, AV_PIX_FMT_RGB24, 0));
    AVPacket *q = encode(b, picture(33, 17, AV_PIX_FMT_RGB24, 0));
    uint8_t *side = av_packet_new_side_data(q, AV_PKT_DATA_NEW_EXTRADATA,
                                            (size_t)b->extradata_size);
    AVFrame *f = decode(c, p);
    REQUIRE(f->width == 20 && f->height == 10);
    av_frame_free(&f);
    REQUIRE(side);
    memcpy(side, b->extradata, (size_t)b->extradata_size);
    f = decode(c, q);
    REQUIRE(f->width == 33 && f->height == 17);
    av_frame_free(&f);
    /* Without new extradata it is a packet of something else. */
    f = av_frame_alloc();
    REQUIRE(avcodec_send_packet(c, p) < 0 || avcodec_receive_frame(c, f) < 0);
    av_frame_free(&f);
    av_packet_free(&p);
    av_packet_free(&q);
    avcodec_free_context(&a);
    avcodec_free_context(&b);
    avcodec_free_context(&c);
}

/* After a flush the same packet gives the same sound, also without times. */
static void flush(void)
{
    AVCodecContext *e = sound_encoder(), *c = decoder_of(e);
    AVPacket *p = encode(e, sound(24000, 1, AV_SAMPLE_FMT_FLT, 5000));
    AVFrame *f = decode(c, p), *g;
    REQUIRE(f->nb_samples == 5000 && f->pts == 0);
    avcodec_flush_buffers(c);
    p->pts = p->dts = AV_NOPTS_VALUE;
    g = decode(c, p);
    REQUIRE(g->nb_samples == 5000 && g->pts == AV_NOPTS_VALUE);
    REQUIRE(!memcmp(f->data[0], g->data[0], 5000 * sizeof(float)));
    av_frame_free(&f);
    av_frame_free(&g);
    av_packet_free(&p);
    avcodec_free_context(&e);
    avcodec_free_context(&c);
}

/* Without extradata, and with those of nothing. */
static void bare(void)
{
    static const char *const names[] = { "libtessera_audio",
                                         "libtessera_video" };
    for (int i = 0; i < 2; i++) {
        for (int bytes = 0; bytes < 100; bytes += 60) {
            AVCodecContext *c = context(names[i], 0);
            c->extradata = av_mallocz(60 + AV_INPUT_BUFFER_PADDING_SIZE);
            c->extradata_size = bytes;
            av_channel_layout_default(&c->ch_layout, 1);
            REQUIRE(avcodec_open2(c, NULL, NULL) == AVERROR_INVALIDDATA);
            avcodec_free_context(&c);
        }
    }
}

/* Packets with changed bytes: anything but a crash. */
static void garbage(void)
{
    AVCodecContext *e[2] = { video_encoder(20, 10), sound_encoder() };
    AVPacket *p[2] = { encode(e[0], picture(20, 10, AV_PIX_FMT_RGB24, 0)),
                       encode(e[1], sound(24000, 1, AV_SAMPLE_FMT_FLT, 999)) };
    unsigned random = 1;

    for (int i = 0; i < 2; i++) {
        AVCodecContext *c = decoder_of(e[i]);
        AVFrame *f = av_frame_alloc();
        for (int n = 0; n < 60; n++) {
            AVPacket *q = av_packet_clone(p[i]);
            REQUIRE(q && av_packet_make_writable(q) >= 0);
            random = random * 1664525 + 1013904223;
            q->data[(random >> 8) % (unsigned)q->size] ^= 1 << (random >> 29);
            if (n % 3 == 0)
                av_shrink_packet(q, 1 + (int)(random >> 12) % q->size);
            if (avcodec_send_packet(c, q) >= 0)
                while (avcodec_receive_frame(c, f) >= 0)
                    av_frame_unref(f);
            av_packet_free(&q);
        }
        av_frame_free(&f);
        av_packet_free(&p[i]);
        avcodec_free_context(&c);
        avcodec_free_context(&e[i]);
    }
}

int main(int argc, char **argv)
{
    static const struct { const char *name; void (*test)(void); } tests[] = {
        { "geometry", geometry }, { "sound_format", sound_format },
        { "extradata", extradata }, { "flush", flush }, { "bare", bare },
        { "garbage", garbage },
    };
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
        if (argc == 2 && !strcmp(argv[1], tests[i].name)) {
            tests[i].test();
            return 0;
        }
    fprintf(stderr, "edges: no such test\n");
    return 2;
}
