/* SPDX-License-Identifier: BSD-2-Clause */
/* Files of pictures and sounds, and what codes them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "bench/gpu_speed.h"

void fail(const char *what, tsr_error error)
{
    fprintf(stderr, "gpu_speed: %s: %s\n", what,
            error ? tsr_error_string(error) : "failed");
    exit(1);
}

void need(const char *what, tsr_error error)
{
    if (error)
        fail(what, error);
}

tsr_error append(void *cookie, const void *data, size_t size)
{
    bytes *b = cookie;
    if (b->size + size > b->room) {
        b->room = 2 * (b->size + size);
        b->data = realloc(b->data, b->room);
        if (!b->data)
            return TSR_E_NOMEM;
    }
    memcpy(b->data + b->size, data, size);
    b->size += size;
    return TSR_OK;
}

tsr_error read_bytes(void *cookie, void *data, size_t size, size_t *got)
{
    bytes *b = cookie;
    *got = size < b->size - b->at ? size : b->size - b->at;
    memcpy(data, b->data + b->at, *got);
    b->at += *got;
    return TSR_OK;
}

/* ---- files ---- */

static bytes whole_file(const char *path)
{
    bytes b = { 0 };
    uint8_t part[65536];
    size_t n;
    FILE *f = fopen(path, "rb");
    if (!f)
        fail(path, TSR_E_IO);
    while ((n = fread(part, 1, sizeof part, f)))
        need(path, append(&b, part, n));
    fclose(f);
    return b;
}

void read_picture(item *it, const char *path)
{
    bytes b = whole_file(path);
    int used = 0;
    tsr_image *im = &it->image;
    need(path, append(&b, "", 1));
    if (sscanf((char *)b.data, "P6 %d %d 255%n", &im->width, &im->height,
               &used) != 2 || !used || im->width < 1 || im->height < 1)
        fail(path, TSR_E_FORMAT);
    im->channels = 3;
    im->bits = 8;
    im->stride = 3 * (size_t)im->width;
    im->data = b.data + used + 1;
    if (b.size - 2 - (size_t)used < im->stride * (size_t)im->height)
        fail(path, TSR_E_TRUNCATED);
}

void read_sound(item *it, const char *path)
{
    bytes b = whole_file(path);
    it->sound = (float *)(void *)b.data;
    it->samples = b.size / sizeof(float);
    if (!it->samples)
        fail(path, TSR_E_TRUNCATED);
}

/* ---- one file ---- */

static tsr_error read_floats(void *cookie, float *samples, size_t n, size_t *got)
{
    bytes *b = cookie;      /* in floats: data of an item, size its samples */
    *got = n < b->size - b->at ? n : b->size - b->at;
    memcpy(samples, (float *)(void *)b->data + b->at, *got * sizeof *samples);
    b->at += *got;
    return TSR_OK;
}

static tsr_error begin(void *cookie, int rate, int channels)
{
    (void)cookie, (void)rate;
    return channels == 1 ? TSR_OK : TSR_E_UNSUPPORTED;
}

static tsr_error write_floats(void *cookie, const float *samples, size_t n)
{
    return append(cookie, samples, n * sizeof *samples);
}

static void image_settings(const bench *b, tsr_image_settings *s)
{
    tsr_image_settings_init(s);
    s->quality = b->o.quality;
}

void audio_settings(const bench *b, tsr_audio_settings *s)
{
    tsr_audio_settings_init(s);
    s->books = b->o.books;
    s->search = b->o.search;
    s->entropy = b->o.entropy;
    s->window = b->o.window;
}

static void encode_one(lane *l, item *it)
{
    const tsr_sink sink = { &it->stream, append };
    if (l->b->audio) {
        bytes in = { (uint8_t *)it->sound, it->samples, 0, 0 };
        const tsr_audio_source source = { &in, read_floats, it->samples };
        tsr_audio_settings s;
        audio_settings(l->b, &s);
        need("encode", tsr_audio_encode(l->context, l->model, &s, &source,
                                        &sink));
    } else {
        tsr_image_settings s;
        image_settings(l->b, &s);
        need("encode", tsr_image_encode(l->context, l->model, &s, &it->image,
                                        &sink));
    }
}

static void decode_one(lane *l, item *it)
{
    const tsr_source source = { &it->want, read_bytes };
    if (l->b->audio) {
        const tsr_audio_sink sink = { &it->heard, begin, write_floats };
        need("decode", tsr_audio_decode(l->context, l->model, NULL, &source, 0,
                                        UINT64_MAX, &sink));
    } else {
        need("decode", tsr_image_decode(l->context, l->model, NULL, &source,
                                        &it->back));
    }
}

/* ---- all files ---- */

static void encode_sounds(lane *l, item *it, int n)
{
    tsr_audio_source sounds[MAX_FILES];
    tsr_sink sinks[MAX_FILES] = { 0 };
    bytes in[MAX_FILES];
    tsr_audio_settings s;

    audio_settings(l->b, &s);
    for (int i = 0; i < n; i++) {
        in[i] = (bytes){ (uint8_t *)it[i].sound, it[i].samples, 0, 0 };
        sounds[i] = (tsr_audio_source){ &in[i], read_floats, it[i].samples };
        sinks[i] = (tsr_sink){ &it[i].stream, append };
    }
    need("encode", tsr_audio_encode_batch(l->context, l->model, &s, (size_t)n,
                                          sounds, sinks, NULL));
}

static void decode_sounds(lane *l, item *it, int n)
{
    tsr_source sources[MAX_FILES] = { 0 };
    tsr_audio_sink sinks[MAX_FILES];

    for (int i = 0; i < n; i++) {
        sources[i] = (tsr_source){ &it[i].want, read_bytes };
        sinks[i] = (tsr_audio_sink){ &it[i].heard, begin, write_floats };
    }
    need("decode", tsr_audio_decode_batch(l->context, l->model, NULL, (size_t)n,
                                          sources, sinks, NULL));
}

static void encode_pictures(lane *l, item *it, int n)
{
    tsr_image images[MAX_FILES];
    tsr_sink sinks[MAX_FILES] = { 0 };
    tsr_image_settings s;

    image_settings(l->b, &s);
    for (int i = 0; i < n; i++) {
        images[i] = it[i].image;
        sinks[i] = (tsr_sink){ &it[i].stream, append };
    }
    need("encode", tsr_image_encode_batch(l->context, l->model, &s, (size_t)n,
                                          images, sinks, NULL));
}

static void decode_pictures(lane *l, item *it, int n)
{
    tsr_image images[MAX_FILES];
    tsr_source sources[MAX_FILES] = { 0 };

    for (int i = 0; i < n; i++)
        sources[i] = (tsr_source){ &it[i].want, read_bytes };
    need("decode", tsr_image_decode_batch(l->context, l->model, NULL, (size_t)n,
                                          sources, images, NULL));
    for (int i = 0; i < n; i++)
        it[i].back = images[i];
}

static void code_several(lane *l, item *it, int n)
{
    if (l->b->audio)
        (l->decode ? decode_sounds : encode_sounds)(l, it, n);
    else
        (l->decode ? decode_pictures : encode_pictures)(l, it, n);
}

void *code_files(void *cookie)
{
    lane *l = cookie;
    const int batch = l->b->batch;

    for (int i = 0; batch > 1 && i < l->b->count; i += batch) {
        const int n = batch < l->b->count - i ? batch : l->b->count - i;
        code_several(l, &l->b->items[i], n);
    }
    if (batch > 1)
        return NULL;
    for (int i = l->first; i < l->b->count; i += l->step)
        (l->decode ? decode_one : encode_one)(l, &l->b->items[i]);
    return NULL;
}
