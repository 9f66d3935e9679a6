/* SPDX-License-Identifier: BSD-2-Clause */
/* How well files came back, and what became of the first one. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <tessera/tokens.h>
#include "bench/gpu_speed.h"

double fidelity(const bench *b)
{
    double sum = 0;
    for (int i = 0; i < b->count; i++) {
        const item *it = &b->items[i];
        const float *heard = (const float *)(void *)it->want_back.data;
        double error = 0, power = 0;
        size_t n = it->want_back.size;
        if (b->audio) {
            n = it->samples;
            if (it->want_back.size != n * sizeof(float))
                fail("another length came back", 0);
        }
        for (size_t t = 0; t < n; t++) {
            const double x = b->audio ? it->sound[t]
                                      : ((uint8_t *)it->image.data)[t];
            const double y = b->audio ? heard[t] : it->want_back.data[t];
            error += (x - y) * (x - y);
            power += b->audio ? x * x : 255.0 * 255.0;
        }
        sum += 10 * log10(power / error);
    }
    return sum / b->count;
}

static void write_file(const char *prefix, const char *end, const void *data,
                       size_t size)
{
    char path[4096];
    snprintf(path, sizeof path, "%s.%s", prefix, end);
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(data, 1, size, f) != size || fclose(f))
        fail(path, TSR_E_IO);
}

/* Codes of the first sound, [frames][books] as uint16_t. */
static void save_sound_codes(lane *l)
{
    const item *it = &l->b->items[0];
    const int books = l->b->o.books ? l->b->o.books : l->b->sound.books;
    const size_t room = it->samples / (size_t)l->b->sound.hop + 2;
    uint16_t *codes = malloc(room * (size_t)books * sizeof *codes);
    size_t frames = 0, got = 0;
    tsr_audio_encoder *encoder;
    tsr_audio_settings s;
    tsr_error error = TSR_OK;

    audio_settings(l->b, &s);
    s.books = books;
    need("codes", tsr_audio_encoder_open(&encoder, l->context, l->model, &s));
    need("codes", tsr_audio_encoder_push(encoder, it->sound, it->samples));
    need("codes", tsr_audio_encoder_finish(encoder));
    while (codes && frames < room && !error) {
        error = tsr_audio_encoder_pull_codes(
            encoder, codes + frames * (size_t)books, room - frames, &got);
        frames += error ? 0 : got;
    }
    if (error && error != TSR_E_EOF)
        fail("codes", error);
    tsr_audio_encoder_close(&encoder);
    write_file(l->b->o.save, "codes", codes,
               frames * (size_t)books * sizeof *codes);
    free(codes);
}

void save(lane *l)
{
    item *it = &l->b->items[0];
    const tsr_source source = { &it->want, read_bytes };
    tsr_tokens_model about;
    tsr_tokens t;

    quiet = true;       /* the next question may be answered by an error */
    const bool tokens = !tsr_tokens_describe(l->context, l->model, &about);
    quiet = false;
    write_file(l->b->o.save, "stream", it->want.data, it->want.size);
    write_file(l->b->o.save, "out", it->want_back.data, it->want_back.size);
    if (l->b->audio) {
        save_sound_codes(l);
    } else if (tokens) {
        it->want.at = 0;
        need("tokens", tsr_tokens_read(l->context, l->model, &source, &t, NULL,
                                       NULL));
        write_file(l->b->o.save, "codes", t.id, (size_t)t.height *
                   (size_t)t.width * sizeof *t.id);
        tsr_tokens_free(l->context, &t);
    }
}
