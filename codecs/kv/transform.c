/* SPDX-License-Identifier: BSD-2-Clause */
#include <string.h>
#include "codecs/kv/chain.h"
#include "codecs/kv/profile.h"

/* Turns every head of a token of the group. */
static void turn_heads(const tsri_kv_profile *profile,
                       const tsri_kv_group *group, unsigned cpu, float *x)
{
    const tsr_kv_shape *s = &profile->shape;
    const int first = group->plane < 0 ? 0 : group->plane;
    const int end = group->plane < 0 ? s->planes : group->plane + 1;

    for (int l = 0; l < group->layers; l++)
        for (int p = first; p < end; p++)
            for (int h = 0; h < s->heads[p]; h++, x += s->dim[p])
                tsri_kv_hadamard(cpu, x, s->dim[p]);
}

void tsri_kv_forward(const tsri_kv_profile *profile, const tsri_kv_group *group,
                     unsigned cpu, float *x, size_t x_pitch, int tokens,
                     int live, float *z, size_t z_pitch)
{
    for (int t = 0; t < tokens; t++) {
        float *row = x + (size_t)t * x_pitch;
        tsri_kv_centre(cpu, group->mean, profile->hadamard ? NULL : group->scale,
                       group->n, row);
        if (profile->hadamard) {
            turn_heads(profile, group, cpu, row);
            tsri_kv_centre(cpu, NULL, group->scale, group->n, row);
        }
        float *to = z + (size_t)t * z_pitch;
        if (group->forward)
            memset(to, 0, (size_t)live * sizeof *to);
        else
            memcpy(to, row, (size_t)live * sizeof *to);
    }
    if (group->forward)
        tsri_kv_chain(cpu, x, x_pitch, tokens, group->n, group->forward,
                      (size_t)group->r, live, z, z_pitch);
}

void tsri_kv_inverse(const tsri_kv_profile *profile, const tsri_kv_group *group,
                     unsigned cpu, const float *z, size_t z_pitch, int tokens,
                     int live, float *x, size_t x_pitch)
{
    const size_t kept = group->forward ? 0 : (size_t)live;

    for (int t = 0; t < tokens; t++) {
        float *row = x + (size_t)t * x_pitch;
        memcpy(row, z + (size_t)t * z_pitch, kept * sizeof *row);
        memset(row + kept, 0, ((size_t)group->n - kept) * sizeof *row);
    }
    if (group->forward)
        tsri_kv_chain(cpu, z, z_pitch, tokens, live, group->inverse,
                      (size_t)group->n, group->n, x, x_pitch);
    for (int t = 0; t < tokens; t++) {
        float *row = x + (size_t)t * x_pitch;
        if (profile->hadamard) {
            tsri_kv_uncentre(cpu, NULL, group->unscale, group->n, row);
            turn_heads(profile, group, cpu, row);
        }
        tsri_kv_uncentre(cpu, group->mean,
                         profile->hadamard ? NULL : group->unscale, group->n,
                         row);
    }
}
