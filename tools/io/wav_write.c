/* SPDX-License-Identifier: BSD-2-Clause */
#include <math.h>
#include <string.h>
#include "tools/io/wav.h"

enum { HEAD_MAX = 160, DS64_AT = 12, BLOCK = 4096 };

static const struct { const char *name, *codec; wav_type type; int bytes; }
types[] = {
    { "s16", "pcm_s16le", WAV_S16, 2 },
    { "s24", "pcm_s24le", WAV_S24, 3 },
    { "s32", "pcm_s32le", WAV_S32, 4 },
    { "flt", "pcm_f32le", WAV_FLT, 4 },
};

static int bytes_of(wav_type type)
{
    size_t i = 0;
    while (types[i].type != type)
        i++;
    return types[i].bytes;
}

wav_type wav_type_named(const char *name)
{
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (!strcmp(name, types[i].name) || !strcmp(name, types[i].codec))
            return types[i].type;
    return WAV_NONE;
}

/* A head being put together. */
typedef struct head { uint8_t p[HEAD_MAX]; size_t n; } head;

static void put(head *h, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        h->p[h->n++] = (uint8_t)(value >> 8 * i);
}

static void name(head *h, const char *four, uint64_t size)
{
    memcpy(h->p + h->n, four, 4);
    h->n += 4;
    put(h, size, 4);
}

static void put_fmt(head *h, const wav_writer *w)
{
    static const uint8_t guid[14] = { 0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xAA, 0,
                                      0x38, 0x9B, 0x71 };
    const int bytes = bytes_of(w->type), align = bytes * w->channels;
    const int tag = w->type == WAV_FLT ? 3 : 1;
    /* What everybody reads stays as simple as it was in 1991. */
    const int simple = w->type == WAV_S16 && w->channels <= 2;

    name(h, "fmt ", simple ? 16 : 40);
    put(h, simple ? (uint64_t)tag : 0xFFFE, 2);
    put(h, (uint64_t)w->channels, 2);
    put(h, (uint64_t)w->rate, 4);
    put(h, (uint64_t)w->rate * (uint64_t)align, 4);
    put(h, (uint64_t)align, 2);
    put(h, (uint64_t)(8 * bytes), 2);
    if (simple)
        return;
    put(h, 22, 2);
    put(h, (uint64_t)(8 * bytes), 2);
    /* Front centre; left and right; more channels stand for no place. */
    put(h, w->channels == 1 ? 4 : w->channels == 2 ? 3 : 0, 4);
    put(h, (uint64_t)tag, 2);
    memcpy(h->p + h->n, guid, sizeof guid);
    h->n += sizeof guid;
}

int wav_begin(wav_writer *w, output *out, wav_type type, int rate,
              int channels)
{
    head h = { .n = 0 };
    *w = (wav_writer){ .out = out, .rate = rate, .channels = channels,
                       .type = type, .base = out->bytes };
    name(&h, "RIFF", UINT32_MAX);
    memcpy(h.p + h.n, "WAVE", 4);
    h.n += 4;
    /* Room for the sizes of RF64, should it become as long as that. */
    if (output_patches(out)) {
        name(&h, "JUNK", 28);
        h.n += 28;
    }
    put_fmt(&h, w);
    name(&h, "data", UINT32_MAX);
    w->data = w->base + h.n;
    return output_write(out, h.p, h.n);
}

static uint32_t rounded(wav_writer *w, float x, double scale)
{
    const double y = nearbyint((double)x * scale);
    if (y >= -scale && y <= scale - 1)
        return (uint32_t)(int32_t)y;
    w->clipped += x > 1 || x < -1;
    return x > 0 ? (uint32_t)(scale - 1) : x < 0 ? (uint32_t)(int32_t)-scale
                                                 : 0;
}

static void put_one(wav_writer *w, uint8_t *p, int bytes, float x)
{
    uint32_t bits;
    if (w->type == WAV_FLT)
        memcpy(&bits, &x, sizeof bits);
    else
        bits = rounded(w, x, (double)(1u << (8 * bytes - 1)));
    for (int i = 0; i < bytes; i++)
        p[i] = (uint8_t)(bits >> 8 * i);
}

int wav_write(wav_writer *w, const float *x, size_t n)
{
    const int bytes = bytes_of(w->type);
    const size_t count = n * (size_t)w->channels;
    uint8_t block[BLOCK];
    size_t at = 0;

    for (size_t i = 0; i < count; i++) {
        put_one(w, block + at, bytes, x[i]);
        at += (size_t)bytes;
        if (at + (size_t)bytes <= BLOCK && i + 1 < count)
            continue;
        if (output_write(w->out, block, at))
            return -1;
        at = 0;
    }
    w->samples += n;
    return 0;
}

int wav_end(wav_writer *w)
{
    uint64_t end = w->out->bytes;
    const uint64_t data = end - w->data;
    head h = { .n = 0 }, d = { .n = 0 };

    if (data % 2 && output_write(w->out, "", 1))
        return -1;
    if (!output_patches(w->out))
        return 0;
    end = w->out->bytes - w->base - 8;
    put(&d, data, 4);
    if (end < UINT32_MAX) {
        put(&h, end, 4);
        return output_patch(w->out, w->base + 4, h.p, 4) ||
               output_patch(w->out, w->data - 4, d.p, 4) ? -1 : 0;
    }
    name(&h, "ds64", 28);
    put(&h, end, 8);
    put(&h, data, 8);
    put(&h, w->samples, 8);
    put(&h, 0, 4);
    return output_patch(w->out, w->base, "RF64", 4) ||
           output_patch(w->out, w->base + DS64_AT, h.p, h.n) ? -1 : 0;
}
