/* SPDX-License-Identifier: BSD-2-Clause */
/* The inside of a UNet on a device: unet_steps.c makes a list of steps of the net's
 * blocks, unet_device.c runs it.  Steps work on two planes at once: item 0 does not
 * see the condition, item 1 does. */
#ifndef TSR_CODECS_AUDIO_UNET_DEVICE_IMPL_H
#define TSR_CODECS_AUDIO_UNET_DEVICE_IMPL_H
#include "codecs/audio/unet_device.h"
#include "codecs/audio/unet_impl.h"
#include "lib/nn/plane_device.h"

enum { TSRI_UNET_ITEMS = 2,
       TSRI_UNET_AHEAD = 16 /* noises on their way to the device */ };

/** A step: work that a device does. */
typedef enum tsri_unet_work_kind {
    TSRI_UNET_WORK_CONV, TSRI_UNET_WORK_GATHER, TSRI_UNET_WORK_NORM,
    TSRI_UNET_WORK_ROWS, TSRI_UNET_WORK_ATTEND, TSRI_UNET_WORK_GATE,
    TSRI_UNET_WORK_JOIN, TSRI_UNET_WORK_COPY
} tsri_unet_work_kind;

typedef struct tsri_unet_work {
    tsri_unet_work_kind kind;
    union {
        tsri_seq_dev_conv conv;
        tsri_plane_gather gather;
        tsri_plane_norm_step norm;
        tsri_plane_layer_norm rows;
        tsri_plane_attention attend;
        tsri_plane_gate gate;
        tsri_plane_join join;
        struct { void *to; const void *from; size_t bytes; } copy;
    };
} tsri_unet_work;

/** Keys and values of both items, and the layers that make them. */
typedef struct tsri_unet_pair {
    const tsri_unet_attention *layer;
    void *key_weights, *value_weights;
    void *key, *value;          /* [items][positions][channels] */
} tsri_unet_pair;

struct tsri_unet_device {
    tsri_unet *u;
    tsr_context *ctx;
    const tsri_seq_ops *ops;
    const tsri_plane_ops *plane;
    tsri_seq_dev *dev;
    size_t element;
    void **memory, **packed;    /* all that is to be given back */
    size_t memories, memory_room, packs, pack_room;
    tsri_unet_work *step;
    size_t steps, step_room;
    tsri_plane_record *record;
    bool ran, cannot_record;
    tsri_unet_pair *condition;       /* [u->conditions] */
    size_t n;                   /* numbers of an item */
    void *numbers;              /* [items][n] */
    float *x, *v, *noise;       /* [n], [items][n], [n] */
    float *shift, *table;       /* what residual blocks add: of a time, [shifts]; of
                                   all times */
    size_t shifts;
    float *context_floats;      /* [positions][context] */
    void *context;
    float *ahead;               /* on the host, [TSRI_UNET_AHEAD][n] */
    unsigned next;
    /* Working memory of both items. */
    void *skip[TSRI_UNET_BLOCKS], *plane_x[2], *work[4], *gathered;
};

/** Behind so many numbers. */
static inline void *tsri_unet_device_at(const tsri_unet_device *device, void *mem,
                                        size_t numbers)
{
    return (char *)mem + numbers * device->element;
}

/** Memory of the device, given back when it is closed. */
tsr_error tsri_unet_device_take(tsri_unet_device *device, void **mem, size_t bytes);
/** The same, and floats in it. */
tsr_error tsri_unet_device_put(tsri_unet_device *device, float **to,
                               const float *from, size_t n);
/** n numbers of each item. */
tsr_error tsri_unet_device_take_items(tsri_unet_device *device, void **mem,
                                      size_t n);
/** Makes steps of the net, and the layers of its conditions. */
tsr_error tsri_unet_device_plan(tsri_unet_device *device);
#endif
