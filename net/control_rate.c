/* SPDX-License-Identifier: BSD-2-Clause */
/* How fast the link is, from the requests that ended.
 *
 * Requests under way at a time share the link: while one that took d seconds for
 * b bytes was there, n of them were on the average, so the link brought n b bytes
 * in d (Little's law, whatever the shares).  Latency is what is left at b = 0 of
 * a line through (n b, d); as long as requests are of one size it cannot be told
 * from bandwidth and need not be. */
#include "net/control_impl.h"
#include <math.h>
#include <string.h>

/* A sample counts this much of the next. */
static const double FADE = 0.8;

void tsri_link_busy(tsri_link *link, double now, int change)
{
    if (now > link->time) {
        link->area += link->busy * (now - link->time);
        link->time = now;
    }
    link->busy += change;
}

void tsri_link_sample(tsri_link *link, double given, double area, double begin,
                      double end, uint64_t bytes)
{
    const double seconds = end - begin;
    if (!(seconds > 0) || bytes == 0)
        return;
    /* Reports may be late: take back what was added after the end. */
    const double late = link->time > end ? link->time - end : 0;
    double shared = end > given
        ? (link->area - late * link->busy - area) / (end - given) : 1;
    if (!(shared > 1))
        shared = 1;
    const size_t keep = (TSRI_SAMPLES - 1) * sizeof(double);
    memmove(link->seconds + 1, link->seconds, keep);
    memmove(link->bytes + 1, link->bytes, keep);
    memmove(link->shared + 1, link->shared, keep);
    link->seconds[0] = seconds;
    link->bytes[0] = (double)bytes;
    link->shared[0] = shared;
    if (link->samples < TSRI_SAMPLES)
        link->samples++;
}

/* Weighted least squares of relative errors, the latency drawn to zero. */
static double intercept(const tsri_link *link)
{
    double s = 0, sx = 0, sxx = 0, sd = 0, sxd = 0, weight = 1;
    double least = HUGE_VAL;
    for (int i = 0; i < link->samples; i++, weight *= FADE) {
        const double d = link->seconds[i], x = link->bytes[i] * link->shared[i];
        const double u = weight / (d * d);
        s += u;
        sx += u * x;
        sxx += u * x * x;
        sd += u * d;
        sxd += u * x * d;
        least = fmin(least, d);
    }
    const double det = s * 1.1 * sxx - sx * sx;
    const double at_zero = (sd * sxx - sx * sxd) / det;
    return fmin(fmax(at_zero, 0), 0.9 * least);
}

double tsri_link_pace(const tsri_link *link, double *latency)
{
    *latency = 0;
    if (!link->samples)
        return link->prior > 0 ? 1 / link->prior : 0;
    const double wait = intercept(link);
    double time = 0, bytes = 0, weight = 1;
    for (int i = 0; i < link->samples; i++, weight *= FADE) {
        const double d = link->seconds[i], t = d - wait;
        /* While this one was past its latency, others were in theirs. */
        const double x = link->bytes[i] *
            (1 + (link->shared[i] - 1) * t / d);
        time += weight * t;
        bytes += weight * x;
    }
    *latency = wait;
    /* The harmonic mean of the bandwidths, weighted by bytes. */
    return time / bytes;
}
