/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdlib.h>
#include <string.h>
#include "tools/say.h"
#include "tools/sound/convert.h"

int convert_open(converter *c, const char *file, sound_form from,
                 sound_form to)
{
    *c = (converter){ .from = from.channels, .to = to.channels };
    if (from.rate == to.rate)
        return RC_OK;
    c->mixed = malloc(sizeof *c->mixed * CONVERT_BLOCK * (size_t)c->to);
    if (!c->mixed)
        return say_error(RC_MACHINE, file, "out of memory");
    return resampler_open(&c->resampler, file, from.rate, to.rate, c->to);
}

void convert_close(converter *c)
{
    resampler_close(&c->resampler);
    free(c->mixed);
    c->mixed = NULL;
}

static void mix(const converter *c, const float *x, size_t n, float *y)
{
    if (c->from == c->to) {
        memcpy(y, x, n * (size_t)c->to * sizeof *y);
        return;
    }
    for (size_t i = 0; i < n; i++, x += c->from) {
        double sum = 0;
        for (int k = 0; k < c->from; k++)
            sum += (double)x[k];
        for (int k = 0; k < c->to; k++)
            *y++ = (float)(sum / c->from);
    }
}

void convert_run(converter *c, const float *x, size_t n, size_t *used,
                 float *y, size_t room, size_t *made)
{
    n = n < CONVERT_BLOCK ? n : CONVERT_BLOCK;
    if (!c->resampler) {
        *used = *made = x ? (n < room ? n : room) : 0;
        if (x)
            mix(c, x, *made, y);
        return;
    }
    if (x && c->from != c->to) {
        mix(c, x, n, c->mixed);
        x = c->mixed;
    }
    resampler_run(c->resampler, x, n, used, y, room, made);
}
