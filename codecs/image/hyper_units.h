/* SPDX-License-Identifier: BSD-2-Clause */
/* A unit of "hyper" on the CPU: what predicting it (hyper_predict.c) and coding it
 * (hyper_units.c) share. */
#ifndef TSR_CODECS_HYPER_UNITS_H
#define TSR_CODECS_HYPER_UNITS_H
#include "codecs/image/hyper.h"

/** A channel-last map with a border of one zero position. */
typedef struct tsri_hyper_grid {
    int16_t *data;
    int height, width;
    size_t stride;              /**< int16 from one position to the next */
} tsri_hyper_grid;

/** What one worker needs for a batch of positions. */
typedef struct tsri_hyper_scratch {
    int32_t *sums;              /**< [TSRI_ICONV_BATCH][widest layer] */
    int16_t *hidden[2];         /**< [TSRI_ICONV_BATCH][widest layer] */
} tsri_hyper_scratch;

/** Working memory. */
struct tsri_hyper_work {
    tsr_context *ctx;
    tsri_hyper_grid hs[3];  /**< inputs of the feature layers */
    tsri_hyper_grid map;    /**< plane "known", spare, features, y */
    tsri_hyper_scratch *workers;
    int16_t *mean;              /**< of a pass: [channel][position] */
    uint8_t *class;
    uint16_t *coded_class, *symbol; /**< of what is coded of it */
};

/** One of the passes of a unit: half the positions of a group of channels. */
typedef struct tsri_hyper_pass {
    tsri_hyper_work *work;
    const tsri_hyper_model *m;
    const tsri_hyper_group *group;
    int odd;                    /**< 0: anchors, y + x even; 1: the others */
    int positions;              /**< of the whole unit */
} tsri_hyper_pass;

/** The first column of row y in the pass. */
static inline int tsri_hyper_column(const tsri_hyper_pass *p, int y)
{
    return (y + p->odd) & 1;
}

/** All positions of channel c of a pass in coding order: `index` counts them in
 *  the pass's arrays, `place` is where they are in y. */
#define TSRI_HYPER_POSITIONS(p, c, index, place)                                 \
    for (int row_ = 0, index = (c) * (p)->positions; row_ < (p)->work->map.height; \
         row_++)                                                                 \
        for (size_t place = ((size_t)((p)->group->first + (c)) *                 \
                                 (size_t)(p)->work->map.height + (size_t)row_) * \
                                (size_t)(p)->work->map.width +                   \
                            (size_t)tsri_hyper_column(p, row_),                  \
                    end_ = place - (size_t)tsri_hyper_column(p, row_) +          \
                           (size_t)(p)->work->map.width;                         \
             place < end_; place += 2, index++)

/** Gets ready for a unit not larger than the work was made for. */
void tsri_hyper_resize(tsri_hyper_work *work, int height, int width);

/** What all predictions of a unit see of its z. */
tsr_error tsri_hyper_features(tsri_hyper_work *work, const tsri_hyper_model *m,
                              const int8_t *z);

/** Runs `code` for every pass of the unit: means and classes are in the work, and it
 *  leaves what the next ones are predicted from in `fixed`, all of the unit. */
tsr_error tsri_hyper_each_pass(tsri_hyper_work *work, const tsri_hyper_model *m,
                               tsr_error (*code)(const tsri_hyper_pass *pass,
                                                 void *cookie),
                               void *cookie, const int16_t *fixed);
#endif
