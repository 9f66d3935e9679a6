/* SPDX-License-Identifier: BSD-2-Clause */
/* The parts of the reader over libav: in_av.c opens and reads, in_av_frame.c
 * makes pictures of frames, in_av_sound.c floats of sound. */
#ifndef TOOLS_MEDIA_IN_AV_IMPL_H
#define TOOLS_MEDIA_IN_AV_IMPL_H
#include <libswresample/swresample.h>
#include <libswscale/swscale.h>
#include "tools/media/av.h"
#include "tools/media/av_io.h"
#include "tools/media/reader.h"

/** A stream that is taken. */
typedef struct av_track {
    AVStream *stream;       /**< NULL: none is */
    AVCodecContext *codec;
    int over;
} av_track;

/** Where colours are. */
typedef struct av_colour { int matrix, full, place_x, place_y; } av_colour;

/** Frames to pictures. */
typedef struct av_pixels {
    const char *file;       /**< for messages */
    enum AVCodecID codec;
    double max_pixels;
    tsr_image image;        /**< the form is fixed when bits are set */
    int turn;               /**< what makes it upright; below 0: not known */
    /* The rest is its own. */
    struct SwsContext *sws;
    enum AVPixelFormat from, to;
    int width, height;      /* sws is open for such frames */
    av_colour colour;
    uint8_t *flat[4], *turned[4]; /* image before and after turning */
    int flat_stride[4], turned_stride[4];
    int warned_size, warned_colour, looked;
} av_pixels;

/** Fixes the form of pictures from a pixel format, of frames that are stored so
 *  wide and high.  Returns an exit status; has said what was wrong. */
int av_pixels_form(av_pixels *p, enum AVPixelFormat format, int width,
                   int height, int opaque);

/** The picture of a frame into p->image, which stays until the next call; fixes
 *  the form by the first frame if that was not done. */
int av_pixels_take(av_pixels *p, const AVFrame *frame);
void av_pixels_close(av_pixels *p);

/** The matrix (H.273) of pictures of a codec that say `space`: that, if it is known
 *  here, else what the codec or the height means. */
int av_matrix_of(enum AVCodecID codec, enum AVColorSpace space, int height);

/** Sound to interleaved floats of one rate and number of channels. */
typedef struct av_sound {
    const char *file;
    int rate;
    AVChannelLayout layout;
    /* The rest is its own. */
    SwrContext *swr;
    int from_rate;
    enum AVSampleFormat from;
    AVChannelLayout from_layout;
    float *samples;
    int room;
} av_sound;

/** Samples of a frame: their number in *n.  Returns an exit status. */
int av_sound_take(av_sound *s, const AVFrame *frame, size_t *n);
void av_sound_close(av_sound *s);
#endif
