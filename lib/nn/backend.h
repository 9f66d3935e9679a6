/* SPDX-License-Identifier: BSD-2-Clause */
/* The compute backends behind the graph runner.  Which file defines
 * tsri_nn_onednn() is the Makefile's choice, so no caller has an #ifdef. */
#ifndef TSR_LIB_NN_BACKEND_H
#define TSR_LIB_NN_BACKEND_H

typedef struct tsri_nn_backend tsri_nn_backend;

struct tsri_nn_backend {
    const char *name;
};

const tsri_nn_backend *tsri_nn_plain(void);
const tsri_nn_backend *tsri_nn_onednn(void); /* NULL: not in this build */
#endif
