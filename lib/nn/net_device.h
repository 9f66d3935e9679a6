/* SPDX-License-Identifier: BSD-2-Clause */
/* What net_device.c, which runs plans, shares with net_device_io.c, which runs whole
 * planes of inputs that are on the device or pictures. */
#ifndef TSR_LIB_NN_NET_DEVICE_H
#define TSR_LIB_NN_NET_DEVICE_H
#include "lib/nn/device.h"

struct tsri_nn_state {
    tsr_context *ctx;
    const tsri_dev_ops *ops;
    tsri_dev *dev;
    /* Memory that is kept from run to run and grows as needed. */
    struct tsri_room {
        void *mem;
        size_t bytes;
        bool host;
    } arena, in, out, block, result, planes, staging;
    float **coefficients;   /* [nodes]: gamma, beta; of each item mean, scale,
                             * shift */
    int nodes, room_items;  /* items that coefficients have room for */
    int items;              /* of the present run */
    bool staged;            /* what is queued may still read the staging */
    /* The steps of the last run, to be done again as they were queued. */
    struct tsri_kept {
        tsri_place *place;  /* [nodes] */
        int items;
        void *mem[5];
        tsri_dev_record *record;
        bool cannot;
    } kept;
};

/** Room for count * size bytes; what was in it is lost if it grows. */
tsr_error tsri_device_need(tsri_nn_state *s, struct tsri_room *room, size_t count,
                           size_t size);

/** Before the staging is written or read. */
tsr_error tsri_device_wait(tsri_nn_state *s);

/** Node x of the present run's items. */
tsri_dev_map tsri_device_map(const tsri_net *net, int x);

/** Numbers of an item of node x. */
size_t tsri_device_numbers(const tsri_net *net, int x);

/** Memory for the last plan and the present number of items. */
tsr_error tsri_device_memory(const tsri_net *net);

/** Queues what lies between the input and the output. */
tsr_error tsri_device_steps(const tsri_net *net);
#endif
