/* SPDX-License-Identifier: BSD-2-Clause */
#include "tools/media/in_av_impl.h"
#include "tools/say.h"

/* libswresample only changes the kind of numbers here; rates and channels of the
 * file stay, but where they change in the middle of it. */
static int open_swr(av_sound *s, const AVFrame *f)
{
    int error;
    swr_free(&s->swr);
    av_channel_layout_uninit(&s->from_layout);
    s->from = f->format;
    s->from_rate = f->sample_rate;
    error = av_channel_layout_copy(&s->from_layout, &f->ch_layout);
    if (error >= 0)
        error = swr_alloc_set_opts2(&s->swr, &s->layout, AV_SAMPLE_FMT_FLT,
                                    s->rate, &s->from_layout, f->format,
                                    f->sample_rate, 0, NULL);
    if (error >= 0)
        error = swr_init(s->swr);
    return error < 0 ? say_error(RC_MACHINE, s->file, "its sound cannot be"
                                 " converted: %s", av_words(error)) : RC_OK;
}

static int same_form(const av_sound *s, const AVFrame *f)
{
    return s->swr && s->from == f->format && s->from_rate == f->sample_rate &&
           !av_channel_layout_compare(&s->from_layout, &f->ch_layout);
}

int av_sound_take(av_sound *s, const AVFrame *frame, size_t *n)
{
    int rc, made;

    *n = 0;
    if (!same_form(s, frame)) {
        rc = open_swr(s, frame);
        if (rc)
            return rc;
    }
    made = swr_get_out_samples(s->swr, frame->nb_samples);
    if (made > s->room) {
        av_freep(&s->samples);
        s->room = made;
        s->samples = av_malloc_array((size_t)made, sizeof *s->samples *
                                     (size_t)s->layout.nb_channels);
        if (!s->samples)
            return say_error(RC_MACHINE, s->file, "out of memory");
    }
    made = swr_convert(s->swr, (uint8_t *[]){ (uint8_t *)s->samples }, s->room,
                       (const uint8_t **)frame->extended_data,
                       frame->nb_samples);
    if (made < 0)
        return say_error(RC_MACHINE, s->file, "its sound cannot be converted:"
                         " %s", av_words(made));
    *n = (size_t)made;
    return RC_OK;
}

void av_sound_close(av_sound *s)
{
    swr_free(&s->swr);
    av_channel_layout_uninit(&s->layout);
    av_channel_layout_uninit(&s->from_layout);
    av_freep(&s->samples);
}
