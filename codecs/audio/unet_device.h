/* SPDX-License-Identifier: BSD-2-Clause */
/* A UNet on a device, with and without a condition at once, and the steps of a
 * sampler there: only noise goes to the device while it works. */
#ifndef TSR_CODECS_AUDIO_UNET_DEVICE_H
#define TSR_CODECS_AUDIO_UNET_DEVICE_H
#include "codecs/audio/unet.h"

typedef struct tsri_unet_device tsri_unet_device;

/** Factors of a step: x = by_x x + by_v (v0 + guidance (v1 - v0)) + by_noise noise,
 *  v0 without the condition, v1 with it. */
typedef struct tsri_unet_step {
    float by_x, by_v, by_noise, guidance;
} tsri_unet_step;

/**
 * Moves the net's weights to the context's device.
 *
 * device      out; NULL where there is no device for it, or on failure
 * unet        must outlive it
 * none        [positions][context]: no condition
 * time, times the times of steps
 *
 * Returns TSR_OK; TSR_E_NOMEM; TSR_E_BACKEND.
 */
tsr_error tsri_unet_device_open(tsri_unet_device **device, tsri_unet *unet,
                                const float *none, const int *time, int times);
/** NULL is allowed. */
void tsri_unet_device_close(tsri_unet_device **device);

/** Starts a window from x, [height][width][channels].  context: as none. */
tsr_error tsri_unet_device_begin(tsri_unet_device *device, const float *context,
                                 const float *x);
/** Where to write the noise of the next step; in the order of x. */
tsr_error tsri_unet_device_noise(tsri_unet_device *device, float **noise);
/** Queues a step with that noise at time[which]. */
tsr_error tsri_unet_device_step(tsri_unet_device *device, int which,
                                const tsri_unet_step *step);
/** Waits; x: out. */
tsr_error tsri_unet_device_end(tsri_unet_device *device, float *x);
#endif
