/* SPDX-License-Identifier: BSD-2-Clause */
#include <libavutil/imgutils.h>
#include <libavutil/opt.h>
#include <libavutil/pixdesc.h>
#include <stdlib.h>
#include <string.h>
#include "tools/media/in_av_impl.h"
#include "tools/media/turn.h"
#include "tools/media/yuv.h"
#include "tools/say.h"

static enum AVPixelFormat target(const tsr_image *image)
{
    static const enum AVPixelFormat formats[2][4] = {
        { AV_PIX_FMT_GRAY8, AV_PIX_FMT_YA8, AV_PIX_FMT_RGB24,
          AV_PIX_FMT_RGBA },
        { AV_PIX_FMT_GRAY16, AV_PIX_FMT_YA16, AV_PIX_FMT_RGB48,
          AV_PIX_FMT_RGBA64 }
    };
    return formats[image->bits == 16][image->channels - 1];
}

static int allocate(av_pixels *p)
{
    const tsr_image *i = &p->image;
    const int swap = p->turn & TURN_SWAP;
    int bad = av_image_alloc(p->flat, p->flat_stride, swap ? i->height
                             : i->width, swap ? i->width : i->height, p->to,
                             64) < 0;
    if (!bad && p->turn)
        bad = av_image_alloc(p->turned, p->turned_stride, i->width, i->height,
                             p->to, 64) < 0;
    if (bad)
        return say_error(RC_MACHINE, p->file, "out of memory");
    p->image.data = p->turn ? p->turned[0] : p->flat[0];
    p->image.stride = (size_t)(p->turn ? p->turned_stride[0]
                                       : p->flat_stride[0]);
    return RC_OK;
}

int av_pixels_form(av_pixels *p, enum AVPixelFormat format, int width,
                   int height, int opaque)
{
    const AVPixFmtDescriptor *d = av_pix_fmt_desc_get(format);
    int alpha, grey;

    if (!d || !sws_isSupportedInput(format))
        return say_error(RC_INPUT, p->file, "its pixels of form %s are not"
                         " read", d ? d->name : "unknown");
    if ((double)width * height > p->max_pixels)
        return say_error(RC_MACHINE, p->file, "%d x %d pixels are more than"
                         " -max_pixels allows", width, height);
    alpha = (d->flags & AV_PIX_FMT_FLAG_ALPHA) && !opaque;
    grey = d->nb_components <= 2 && !(d->flags & AV_PIX_FMT_FLAG_PAL);
    p->image.width = p->turn & TURN_SWAP ? height : width;
    p->image.height = p->turn & TURN_SWAP ? width : height;
    p->image.channels = (grey ? 1 : 3) + (alpha ? 1 : 0);
    p->image.bits = d->comp[0].depth > 8 ? 16 : 8;
    p->to = target(&p->image);
    if (!sws_isSupportedOutput(p->to)) {
        p->image.channels = 4;
        p->to = target(&p->image);
    }
    return allocate(p);
}

int av_matrix_of(enum AVCodecID codec, enum AVColorSpace space, int height)
{
    switch (space) {
    case AVCOL_SPC_RGB:
    case AVCOL_SPC_BT709:
    case AVCOL_SPC_FCC:
    case AVCOL_SPC_BT470BG:
    case AVCOL_SPC_SMPTE170M:
    case AVCOL_SPC_SMPTE240M:
    case AVCOL_SPC_BT2020_NCL:
        return (int)space;
    default:
        break;
    }
    if (codec == AV_CODEC_ID_MJPEG || codec == AV_CODEC_ID_WEBP)
        return YUV_BT601;
    return yuv_matrix_of(height);
}

/* Chroma's place where the frame does not say it: as MPEG-2 and all later video
 * has it, or as JPEG, in 1/256 of a luma sample. */
static void place_chroma(const AVFrame *f, int full, av_colour *c)
{
    enum AVChromaLocation l = f->chroma_location;
    if (l == AVCHROMA_LOC_UNSPECIFIED)
        l = full ? AVCHROMA_LOC_CENTER : AVCHROMA_LOC_LEFT;
    c->place_x = l == AVCHROMA_LOC_CENTER || l == AVCHROMA_LOC_TOP ||
                 l == AVCHROMA_LOC_BOTTOM ? 128 : 0;
    c->place_y = l == AVCHROMA_LOC_LEFT || l == AVCHROMA_LOC_CENTER ? 128
        : l == AVCHROMA_LOC_TOPLEFT || l == AVCHROMA_LOC_TOP ? 0 : 256;
}

static av_colour colour_of(av_pixels *p, const AVFrame *f)
{
    const AVPixFmtDescriptor *d = av_pix_fmt_desc_get(f->format);
    const int rgb = (d->flags & (AV_PIX_FMT_FLAG_RGB | AV_PIX_FMT_FLAG_PAL)) ||
                    d->nb_components <= 2;
    av_colour c = { .full = f->color_range == AVCOL_RANGE_JPEG };

    if (f->color_range == AVCOL_RANGE_UNSPECIFIED)
        c.full = rgb || !strncmp(d->name, "yuvj", 4);
    c.matrix = av_matrix_of(p->codec, f->colorspace, f->height);
    place_chroma(f, c.full, &c);
    if (!rgb && f->colorspace != AVCOL_SPC_UNSPECIFIED &&
        c.matrix != (int)f->colorspace && !p->warned_colour) {
        p->warned_colour = 1;
        say_warning(p->file, "its colour matrix (%s) is not known here; taken"
                    " for %s", av_color_space_name(f->colorspace),
                    av_color_space_name((enum AVColorSpace)c.matrix));
    }
    return c;
}

static int same_source(const av_pixels *p, const AVFrame *f,
                       const av_colour *c)
{
    return p->sws && p->from == f->format && p->width == f->width &&
           p->height == f->height && !memcmp(c, &p->colour, sizeof *c);
}

static int init_sws(const av_pixels *p, const AVFrame *f)
{
    const AVPixFmtDescriptor *d = av_pix_fmt_desc_get(f->format);
    const int swap = p->turn & TURN_SWAP;
    const int sub_x = d->log2_chroma_w, sub_y = d->log2_chroma_h;
    const struct { const char *name; int64_t value; } options[] = {
        { "srcw", f->width }, { "srch", f->height },
        { "src_format", f->format }, { "dst_format", p->to },
        { "dstw", swap ? p->image.height : p->image.width },
        { "dsth", swap ? p->image.width : p->image.height },
        { "sws_flags", SWS_LANCZOS | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INT |
                       SWS_FULL_CHR_H_INP },
        { "src_h_chr_pos", sub_x == 1 ? p->colour.place_x : -513 },
        { "src_v_chr_pos", sub_y == 1 ? p->colour.place_y : -513 }
    };
    for (size_t i = 0; i < sizeof options / sizeof *options; i++)
        if (av_opt_set_int(p->sws, options[i].name, options[i].value, 0) < 0)
            return -1;
    return sws_init_context(p->sws, NULL, NULL);
}

static int open_sws(av_pixels *p, const AVFrame *f, const av_colour *c)
{
    sws_freeContext(p->sws);
    p->from = f->format;
    p->width = f->width;
    p->height = f->height;
    p->colour = *c;
    p->sws = sws_alloc_context();
    if (!p->sws || init_sws(p, f) < 0)
        return say_error(RC_MACHINE, p->file, "its pixels of form %s cannot be"
                         " converted", av_get_pix_fmt_name(f->format));
    /* Only YUV has a matrix; not all pairs of formats take one. */
    sws_setColorspaceDetails(p->sws, sws_getCoefficients(c->matrix), c->full,
                             sws_getCoefficients(SWS_CS_ITU601), 1, 0, 1 << 16,
                             1 << 16);
    return RC_OK;
}

/* Whether a palette has no colour that is seen through, among those used. */
static int palette_opaque(const AVFrame *f)
{
    for (int y = 0; y < f->height; y++) {
        const uint8_t *row = f->data[0] + (ptrdiff_t)y * f->linesize[0];
        for (int x = 0; x < f->width; x++)
            if (f->data[1][4 * row[x] + (AV_HAVE_BIGENDIAN ? 0 : 3)] != 255)
                return 0;
    }
    return 1;
}

/* What is told of pictures by themselves: how they are turned. */
static int frame_turn(const AVFrame *f)
{
    const AVFrameSideData *d =
        av_frame_get_side_data(f, AV_FRAME_DATA_DISPLAYMATRIX);
    const AVDictionaryEntry *exif =
        av_dict_get(f->metadata, "Orientation", NULL, 0);
    int32_t matrix[9];

    if (d && d->size >= sizeof matrix) {
        memcpy(matrix, d->data, sizeof matrix);
        return media_turn_matrix(matrix);
    }
    return exif ? media_turn_exif(atoi(exif->value)) : 0;
}

/* A profile that says it is sRGB is nothing special. */
static int names_srgb(const uint8_t *p, size_t n)
{
    static const char wide[] = "s\0R\0G\0B";
    for (size_t i = 0; i + sizeof wide <= n; i++)
        if (!memcmp(p + i, "sRGB", 4) || !memcmp(p + i, wide, sizeof wide - 1))
            return 1;
    return 0;
}

static void look_at_colours(av_pixels *p, const AVFrame *f)
{
    const AVFrameSideData *icc =
        av_frame_get_side_data(f, AV_FRAME_DATA_ICC_PROFILE);
    p->looked = 1;
    if (icc && !names_srgb(icc->data, icc->size))
        say_warning(p->file, "its ICC colour profile is not applied: colours"
                    " count as sRGB");
    if (f->color_trc == AVCOL_TRC_SMPTE2084 ||
        f->color_trc == AVCOL_TRC_ARIB_STD_B67 ||
        f->color_trc == AVCOL_TRC_LINEAR)
        say_warning(p->file, "its transfer characteristic (%s) is kept as it"
                    " is, not made sRGB", av_color_transfer_name(f->color_trc));
}

static int fix_form(av_pixels *p, const AVFrame *f)
{
    if (p->turn < 0)
        p->turn = frame_turn(f);
    if (p->turn < 0) {
        say_warning(p->file, "is turned by something else than quarters, which"
                    " is not done");
        p->turn = 0;
    }
    return av_pixels_form(p, f->format, f->width, f->height,
                          f->format == AV_PIX_FMT_PAL8 && palette_opaque(f));
}

static void check_size(av_pixels *p, const AVFrame *f)
{
    const int swap = p->turn & TURN_SWAP;
    const int width = swap ? p->image.height : p->image.width;
    const int height = swap ? p->image.width : p->image.height;
    if (p->warned_size || (f->width == width && f->height == height))
        return;
    p->warned_size = 1;
    say_warning(p->file, "frames change to %d x %d; they are scaled to %d x %d",
                f->width, f->height, width, height);
}

/* swscale makes 16 bits of YUV as 256 times what it makes of 8, so that white is
 * 65280: 257 times is meant.  Alpha of fewer bits it only shifts up. */
static void stretch(const av_pixels *p, int alpha_depth)
{
    const int swap = p->turn & TURN_SWAP, channels = p->image.channels;
    const int width = swap ? p->image.height : p->image.width;
    const int height = swap ? p->image.width : p->image.height;

    for (int y = 0; y < height; y++) {
        uint16_t *row = (uint16_t *)(void *)(p->flat[0] +
                                             (ptrdiff_t)y * p->flat_stride[0]);
        for (int i = 0; i < width * channels; i++) {
            const int depth = i % channels < 3 ? 8 : alpha_depth;
            const unsigned v = row[i] + ((unsigned)row[i] >> depth);
            row[i] = (uint16_t)(v > UINT16_MAX ? UINT16_MAX : v);
        }
    }
}

static int is_yuv(const AVFrame *f)
{
    const AVPixFmtDescriptor *d = av_pix_fmt_desc_get(f->format);
    return d->nb_components > 2 &&
           !(d->flags & (AV_PIX_FMT_FLAG_RGB | AV_PIX_FMT_FLAG_PAL));
}

int av_pixels_take(av_pixels *p, const AVFrame *frame)
{
    av_colour c;
    int rc = p->image.bits ? RC_OK : fix_form(p, frame);

    if (rc)
        return rc;
    if (!p->looked)
        look_at_colours(p, frame);
    check_size(p, frame);
    c = colour_of(p, frame);
    if (!same_source(p, frame, &c)) {
        rc = open_sws(p, frame, &c);
        if (rc)
            return rc;
    }
    if (sws_scale(p->sws, (const uint8_t *const *)frame->data, frame->linesize,
                  0, frame->height, p->flat, p->flat_stride) < 0)
        return say_error(RC_MACHINE, p->file, "its pixels cannot be converted");
    if (p->image.bits == 16 && is_yuv(frame))
        stretch(p, av_pix_fmt_desc_get(frame->format)->comp[3].depth);
    if (p->turn) {
        tsr_image flat = p->image;
        flat.data = p->flat[0];
        flat.stride = (size_t)p->flat_stride[0];
        media_turn(&flat, p->turn, &p->image);
    }
    return RC_OK;
}

void av_pixels_close(av_pixels *p)
{
    sws_freeContext(p->sws);
    p->sws = NULL;
    av_freep(&p->flat[0]);
    av_freep(&p->turned[0]);
}
