/* SPDX-License-Identifier: BSD-2-Clause */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include "tools/json.h"
#include "tools/say.h"
#include "tools/sound/sound.h"
#include "tools/sound/source.h"
#include "tools/sound_metrics.h"

enum { BLOCK = 1024 };

/* Two sounds side by side. */
typedef struct pair {
    sound_source x, y;
    float *a, *b;
    uint64_t more_x, more_y;    /* samples that only one of them has */
    sound_metrics m;
} pair;

/* n samples of each channel; fewer only at the end. */
static size_t read_block(sound_source *s, float *block, size_t n)
{
    size_t done = 0, got;
    while (done < n &&
           (got = sound_source_read(s, block + done * (size_t)s->form.channels,
                                    n - done)))
        done += got;
    return done;
}

static uint64_t count_rest(sound_source *s, float *block)
{
    uint64_t n = 0;
    size_t got;
    while ((got = sound_source_read(s, block, BLOCK)))
        n += got;
    return n;
}

static void read_both(pair *p, sound_meter *meter)
{
    size_t n, m;
    do {
        n = read_block(&p->x, p->a, BLOCK);
        m = read_block(&p->y, p->b, BLOCK);
        sound_meter_add(meter, p->a, p->b, n < m ? n : m);
    } while (n == m && n);
    p->more_x = n > m ? n - m + count_rest(&p->x, p->a) : 0;
    p->more_y = m > n ? m - n + count_rest(&p->y, p->b) : 0;
    sound_meter_result(meter, &p->m);
}

static int same_form(const pair *p)
{
    if (p->x.form.rate != p->y.form.rate)
        return say_error(RC_USAGE, p->y.name, "has %d Hz, the other sound %d"
                         " Hz", p->y.form.rate, p->x.form.rate);
    if (p->x.form.channels != p->y.form.channels)
        return say_error(RC_USAGE, p->y.name, "has %d channels, the other"
                         " sound %d", p->y.form.channels, p->x.form.channels);
    return RC_OK;
}

static void print_json(const pair *p)
{
    printf("{\"rate\": %d, \"channels\": %d, \"samples\": %llu, \"si_sdr\": ",
           p->x.form.rate, p->x.form.channels, (unsigned long long)p->m.samples);
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
    const size_t n = (size_t)BLOCK * (size_t)p->x.form.channels;
    sound_meter *meter = sound_meter_open(p->x.form.rate, p->x.form.channels);
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

/* Why reading ended, and what was odd about it. */
static int finish(sound_source *s)
{
    return s->rc ? s->rc : media_in_finish(s->media);
}

int sound_compare(const args *a, media_in *x, media_in *y)
{
    pair p = { .more_x = 0 };
    int rc = sound_source_open(&p.x, x, 0, 0), rc_y;

    if (!rc)
        rc = sound_source_open(&p.y, y, 0, 0);
    if (!rc)
        rc = same_form(&p);
    if (!rc)
        rc = measure(&p);
    if (rc)
        return rc;
    rc = finish(&p.x);
    rc_y = finish(&p.y);
    if (a->json)
        print_json(&p);
    else
        print_text(&p);
    return rc ? rc : rc_y;
}
