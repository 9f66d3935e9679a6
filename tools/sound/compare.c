/* SPDX-License-Identifier: BSD-2-Clause */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include "tools/io/wav.h"
#include "tools/json.h"
#include "tools/say.h"
#include "tools/sound/sound.h"
#include "tools/sound_metrics.h"

enum { BLOCK = 1024 };

/* Two files side by side. */
typedef struct pair {
    wav_reader x, y;
    float *a, *b;
    uint64_t more_x, more_y;    /* samples that only one of them has */
    sound_metrics m;
} pair;

static uint64_t count_rest(wav_reader *w, float *block)
{
    uint64_t n = 0;
    size_t got;
    while ((got = wav_read(w, block, BLOCK)))
        n += got;
    return n;
}

static void read_both(pair *p, sound_meter *meter)
{
    size_t n, m;
    do {
        n = wav_read(&p->x, p->a, BLOCK);
        m = wav_read(&p->y, p->b, BLOCK);
        sound_meter_add(meter, p->a, p->b, n < m ? n : m);
    } while (n == m && n);
    p->more_x = n > m ? n - m + count_rest(&p->x, p->a) : 0;
    p->more_y = m > n ? m - n + count_rest(&p->y, p->b) : 0;
    sound_meter_result(meter, &p->m);
}

static int same_form(const pair *p)
{
    if (p->x.rate != p->y.rate)
        return say_error(RC_USAGE, p->y.in->name, "has %d Hz, the other sound %d"
                         " Hz", p->y.rate, p->x.rate);
    if (p->x.channels != p->y.channels)
        return say_error(RC_USAGE, p->y.in->name, "has %d channels, the other"
                         " sound %d", p->y.channels, p->x.channels);
    return RC_OK;
}

static void print_json(const pair *p)
{
    printf("{\"rate\": %d, \"channels\": %d, \"samples\": %llu, \"si_sdr\": ",
           p->x.rate, p->x.channels, (unsigned long long)p->m.samples);
    json_number(p->m.si_sdr, 4);
    printf(", \"snr\": ");
    json_number(p->m.snr, 4);
    printf(", \"lsd\": ");
    json_number(p->m.lsd, 4);
    printf(", \"peak_difference\": ");
    json_number(p->m.peak, 8);
    printf(", \"more_samples\": [%llu, %llu], \"identical\": %s}\n",
           (unsigned long long)p->more_x, (unsigned long long)p->more_y,
           p->m.peak > 0 || p->more_x || p->more_y ? "false" : "true");
}

static void print_db(const char *name, double db)
{
    if (isfinite(db))
        printf("%-9s %.2f dB\n", name, db);
    else if (isnan(db))
        printf("%-9s not defined: the first sound is silent\n", name);
    else
        printf("%-9s %sinfinite\n", name, db < 0 ? "minus " : "");
}

static void print_text(const pair *p)
{
    print_db("SI-SDR", p->m.si_sdr);
    print_db("SNR", p->m.snr);
    print_db("LSD", p->m.lsd);
    if (p->more_x || p->more_y)
        printf("length    %llu samples compared; the %s sound has %llu more\n",
               (unsigned long long)p->m.samples,
               p->more_x ? "first" : "second",
               (unsigned long long)(p->more_x ? p->more_x : p->more_y));
}

static int measure(pair *p)
{
    const size_t n = (size_t)BLOCK * (size_t)p->x.channels;
    sound_meter *meter = sound_meter_open(p->x.rate, p->x.channels);
    int rc = RC_OK;

    p->a = malloc(2 * n * sizeof *p->a);
    if (!meter || !p->a) {
        rc = say_error(RC_MACHINE, NULL, "out of memory");
    } else {
        p->b = p->a + n;
        read_both(p, meter);
    }
    sound_meter_close(&meter);
    free(p->a);
    return rc;
}

static int check(const wav_reader *w)
{
    if (w->in->fault)
        return input_failed(w->in);
    wav_warn(w);
    return RC_OK;
}

int sound_compare(const args *a, input *x, input *y)
{
    pair p = { 0 };
    int rc = wav_open(&p.x, x);
    if (!rc)
        rc = wav_open(&p.y, y);
    if (!rc)
        rc = same_form(&p);
    if (!rc)
        rc = measure(&p);
    if (!rc)
        rc = check(&p.x);
    if (!rc)
        rc = check(&p.y);
    if (rc)
        return rc;
    if (!p.m.samples)
        return say_error(RC_INPUT, p.more_x ? y->name : x->name,
                         "has no samples");
    if (a->json)
        print_json(&p);
    else
        print_text(&p);
    return RC_OK;
}
