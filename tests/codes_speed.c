/* SPDX-License-Identifier: BSD-2-Clause */
/* How fast the codes of sound are coded, and in how many bits:
 *   codes_speed MODEL CODES BOOKS CODEWORDS [FRAMES]
 * CODES: u16 [frames][BOOKS], as they are.  Thread CPU time; the sum over
 * groups of packets of each one's minimum over the passes. */
#include "config.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "codecs/audio/codes.h"

enum { PASSES = 3, TOGETHER = 100 };

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return 1e9 * (double)t.tv_sec + (double)t.tv_nsec;
}

static void must(tsr_error error)
{
    if (error) {
        fprintf(stderr, "codes_speed: %s\n", tsr_error_string(error));
        exit(1);
    }
}

/* All packets once, TOGETHER at a time, for the clock is slow. */
typedef struct run {
    tsri_codes_coder *coder;
    tsri_codes_form form;
    const uint16_t *codes;
    uint16_t *back;
    uint8_t *data;
    int all, frames;
    double put, get, bytes;
} run;

static tsri_codes_form form_at(const run *r, int f)
{
    tsri_codes_form form = r->form;

    form.frames = r->all - f < r->frames ? r->all - f : r->frames;
    return form;
}

static void batch(run *r, int first, int last)
{
    double put = 1e18, get = 1e18;
    const int segments = r->form.layers ? r->form.books : 1;
    size_t sizes[TOGETHER][TSR_AUDIO_MAX_BOOKS], used = 0;
    const uint8_t *data;

    for (int i = 0; i < PASSES; i++) {
        const double a = now();
        used = 0;
        for (int f = first, n = 0; f < last; f += r->frames, n++) {
            const tsri_codes_form form = form_at(r, f);
            size_t bytes = 0;
            must(tsri_codes_put(r->coder, &form, r->codes + (size_t)f *
                                (size_t)form.books, &data, sizes[n]));
            for (int k = 0; k < segments; k++)
                bytes += sizes[n][k];
            memcpy(r->data + used, data, bytes);
            used += bytes;
        }
        const double b = now();
        size_t at = 0;
        for (int f = first, n = 0; f < last; f += r->frames, n++) {
            const tsri_codes_form form = form_at(r, f);
            must(tsri_codes_get(r->coder, &form, r->data + at, sizes[n], r->back));
            for (int k = 0; k < segments; k++)
                at += sizes[n][k];
        }
        const double e = now();
        put = b - a < put ? b - a : put;
        get = e - b < get ? e - b : get;
    }
    r->put += put;
    r->get += get;
    r->bytes += (double)used;
}

static void measure(tsri_codes_coder *c, tsr_audio_entropy entropy, bool layers,
                    int frames, const uint16_t *codes, int all, int books)
{
    static const char *const names[] = { "", "fixed", "static", "context",
                                         "adaptive", "lm" };
    const int step = frames > 100 ? frames : TOGETHER * frames;
    const double n = (double)all * books;
    run r = { c, { entropy, layers, books, 0, 0 }, codes, NULL, NULL, all, frames,
              0, 0, 0 };

    r.back = malloc((size_t)frames * (size_t)books * sizeof *r.back);
    r.data = malloc((size_t)step * (size_t)books * 8);
    for (int f = 0; f < all; f += step)
        batch(&r, f, all - f < step ? all : f + step);
    printf("%-9s %-7s %6d %9.3f %9.1f %9.1f\n", names[entropy],
           layers ? "layers" : "", frames, 8 * r.bytes / n, r.put / n, r.get / n);
    free(r.back);
    free(r.data);
}

static uint16_t *read_codes(const char *path, size_t *n)
{
    FILE *file = fopen(path, "rb");
    const size_t room = (size_t)1 << 26;
    uint16_t *codes = malloc(room * sizeof *codes);

    if (!file || !codes) {
        perror(path);
        exit(1);
    }
    *n = fread(codes, sizeof *codes, room, file);
    fclose(file);
    return codes;
}

int main(int argc, char **argv)
{
    static const int frames[] = { 750, 375, 8, 1 };
    tsr_context *ctx;
    tsr_model *model;
    tsri_codes *codes;
    tsri_codes_coder *coder;
    size_t n;

    if (argc < 5) {
        fputs("codes_speed MODEL CODES BOOKS CODEWORDS [FRAMES]\n", stderr);
        return 2;
    }
    const int books = atoi(argv[3]);
    uint16_t *all = read_codes(argv[2], &n);
    int count = (int)(n / (size_t)books);
    if (argc > 5 && atoi(argv[5]) < count)
        count = atoi(argv[5]);
    must(tsr_context_open(&ctx, NULL));
    must(tsr_model_open(&model, ctx, argv[1]));
    must(tsri_codes_open(&codes, ctx, model, books, atoi(argv[4])));
    must(tsri_codes_coder_open(&coder, codes, ctx));
    printf("%-9s %-7s %6s %9s %9s %9s\n", "coding", "", "frames", "bits", "put ns",
           "get ns");
    for (int e = TSR_AUDIO_ENTROPY_FIXED; e <= TSR_AUDIO_ENTROPY_LM; e++)
        for (int i = 0; i < 8 && tsri_codes_has(codes, (tsr_audio_entropy)e); i++)
            if (i < 4 || e != TSR_AUDIO_ENTROPY_LM)
                measure(coder, (tsr_audio_entropy)e, i > 3, frames[i % 4], all,
                        count, books);
    tsri_codes_coder_close(&coder);
    tsri_codes_close(&codes);
    tsr_model_unref(&model);
    tsr_context_close(&ctx);
    free(all);
    return 0;
}
