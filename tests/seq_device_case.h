/* SPDX-License-Identifier: BSD-2-Clause */
/* Nets on a device against the same nets on the host. */
#ifndef TSR_TESTS_SEQ_DEVICE_CASE_H
#define TSR_TESTS_SEQ_DEVICE_CASE_H
#include "tests/seq_net.h"

/** How far a number may be from `y`, of a net of numbers up to `most`. */
typedef struct seq_bound { double relative, floor; } seq_bound;

/** The largest difference, as part of what is allowed. */
static inline double seq_off(const output *a, const output *b, seq_bound bound)
{
    double most = 0, worst = 0;

    assert_int_equal(a->n, b->n);
    assert_int_equal(a->channels, b->channels);
    for (size_t i = 0; i < a->n * a->channels; i++)
        most = fmax(most, fabs((double)b->y[i]));
    for (size_t i = 0; i < a->n * a->channels; i++) {
        const double off = fabs((double)a->y[i] - b->y[i]);
        const double part = off / (bound.relative * fmax(most, bound.floor));
        worst = part <= worst ? worst : part;   /* NaN is worst */
    }
    return worst;
}

/** Random pieces, lazy or not; now and then saved and restored into a new
 *  stream, or reset and begun anew. */
static inline output seq_pieces(tsr_context *ctx, const tsri_seq *q,
                                const float *x, size_t n, bool zero_start,
                                check_rng *r)
{
    const size_t channels = (size_t)tsri_seq_in_channels(q);
    tsri_seq_stream *s;
    output o = output_new(q);
    size_t done = 0;

    assert_int_equal(tsri_seq_open(&s, q, ctx, zero_start), TSR_OK);
    while (true) {
        const size_t most = check_below(r, 3) ? 40 : n + 1;
        size_t k = check_below(r, (uint32_t)most);
        k = k < n - done ? k : n - done;
        const bool end = done + k == n && check_below(r, 2);
        assert_int_equal(tsri_seq_push(s, x + done * channels, k,
                                       check_below(r, 2), end), TSR_OK);
        done += k;
        drain(s, &o, check_below(r, 2) ? check_below(r, 30) : SIZE_MAX);
        if (end)
            break;
        if (!check_below(r, 4)) {
            const size_t bytes = tsri_seq_state_bytes(s);
            uint8_t *state = malloc(bytes);
            tsri_seq_state_save(s, state);
            if (check_below(r, 2)) {
                tsri_seq_close(&s);
                assert_int_equal(tsri_seq_open(&s, q, ctx, zero_start), TSR_OK);
            }
            assert_int_equal(tsri_seq_state_load(s, state, bytes), TSR_OK);
            free(state);
        }
        if (!check_below(r, 20)) {
            tsri_seq_reset(s);
            o.n = done = 0;
        }
    }
    drain(s, &o, SIZE_MAX);
    tsri_seq_close(&s);
    return o;
}

/** A net on a device, whole and in pieces, against the host; the worst part of
 *  the bound. */
static inline double seq_against(tsr_context *device, tsr_context *host,
                                 const gen_net *g, int out, const float *x,
                                 size_t n, seq_bound bound, check_rng *r)
{
    tsri_seq *q = gen_declare(device, g, out), *p = gen_declare(host, g, out);
    double worst = 0;

    for (int zero = 0; zero < 2; zero++) {
        output want = run_whole(host, p, x, n, zero);
        output whole = run_whole(device, q, x, n, zero);
        output cut = seq_pieces(device, q, x, n, zero, r);
        worst = fmax(worst, seq_off(&whole, &want, bound));
        worst = fmax(worst, seq_off(&cut, &want, bound));
        free(want.y);
        free(whole.y);
        free(cut.y);
    }
    tsri_seq_free(&q);
    tsri_seq_free(&p);
    return worst;
}
#endif
