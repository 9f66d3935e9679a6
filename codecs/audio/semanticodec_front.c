/* SPDX-License-Identifier: BSD-2-Clause */
/* What an encoder works with. */
#include "codecs/audio/loader.h"
#include "codecs/audio/semanticodec.h"
#include "lib/weights.h"

tsr_error tsri_semanticodec_front_new(tsri_semanticodec *c)
{
    c->front = tsri_calloc(c->ctx, 1, sizeof *c->front);
    if (!c->front)
        return tsri_nomem(c->ctx);
    pthread_mutex_init(&c->front->lock, NULL);
    return TSR_OK;
}

static tsr_error open_books(const tsri_semanticodec *c)
{
    tsri_semanticodec_front *f = c->front;
    tsri_loader load = { .ctx = c->ctx, .model = c->model };
    const tsr_tensor *book = tsr_model_tensor(c->model,
                                              "quantizer._codebook.embed");
    const float *acoustic = tsri_loader_floats(&load, 3, book->dims, "%s",
                                               book->name);

    if (!load.error)
        load.error = tsr_codebook_open(&f->semantic, c->ctx, c->centroid,
                                       (int)c->centroids, c->dim);
    if (!load.error)
        load.error = tsr_codebook_open(&f->acoustic, c->ctx, acoustic,
                                       (int)book->dims[1], c->dim);
    tsri_loader_drop(&load);
    return load.error;
}

static tsr_error open_front(const tsri_semanticodec *c)
{
    tsri_semanticodec_front *f = c->front;

    TSR_TRY(tsri_fbank_open(&f->fbank, c->ctx, TSRI_SEMANTICODEC_RATE,
                            TSRI_SEMANTICODEC_WIDTH, TSRI_SEMANTICODEC_SHIFT,
                            TSRI_SEMANTICODEC_BANDS));
    TSR_TRY(tsri_vit_open(&f->vit, c->ctx, c->model, TSRI_SEMANTICODEC_BANDS));
    TSR_TRY(tsri_bilstm_open(&f->branch, c->ctx, c->model, 2 * c->dim, c->dim));
    return open_books(c);
}

static void close_front(const tsri_semanticodec *c)
{
    tsri_semanticodec_front *f = c->front;

    tsri_fbank_close(&f->fbank);
    tsri_vit_close(&f->vit);
    tsri_bilstm_close(&f->branch);
    tsr_codebook_close(&f->semantic);
    tsr_codebook_close(&f->acoustic);
}

tsr_error tsri_semanticodec_front_open(const tsri_semanticodec *c)
{
    tsri_semanticodec_front *f = c->front;
    tsr_error error = TSR_OK;

    pthread_mutex_lock(&f->lock);
    if (!f->opened) {
        error = open_front(c);
        f->opened = !error;
        if (error)
            close_front(c);
    }
    pthread_mutex_unlock(&f->lock);
    return error;
}

void tsri_semanticodec_front_free(tsri_semanticodec *c)
{
    if (!c->front)
        return;
    close_front(c);
    pthread_mutex_destroy(&c->front->lock);
    tsri_free(c->ctx, c->front);
    c->front = NULL;
}
