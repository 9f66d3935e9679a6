/* SPDX-License-Identifier: BSD-2-Clause */
/* Which tables a matrix of many channels is coded with (entropy/plan.h): banks
 * made by k-means over the histograms of the channels, and the choice of the
 * cheapest table of a bank for each.  For encoders: tables, classes and offsets
 * are sent.  Integers only, so they are the same on every machine.
 *
 * Histograms are circular: value 255 stands beside 0. */
#ifndef TSR_ENTROPY_CLASSES_H
#define TSR_ENTROPY_CLASSES_H
#include "entropy/bank.h"

enum { TSRI_CLASSES_MAX = 256 };

/** Tables as tsri_bank_open() and tsri_tables_write() take them. */
typedef struct tsri_classes {
    int bits, tables;
    uint16_t sizes[TSRI_CLASSES_MAX];
    uint16_t freq[TSRI_CLASSES_MAX * 256];  /**< one after another */
} tsri_classes;

/**
 * Makes at most `most` tables and gives each channel one of them and an offset,
 * such that all values counted can be coded and the bits are few.
 *
 * hist      channels x 256 counts of the values, below 2^28 in a channel.  A
 *           value that is to be codable though it was not seen needs a count
 * channels  1..2^20
 * most      1..TSRI_CLASSES_MAX; each table is some 15 bytes in a stream and
 *           some 16 KiB of cache in a decoder
 * bits      precision of the tables, 8..TSRI_BANK_MAX_BITS
 * out       out
 * cls       out, channels
 * offset    out, channels: the symbol of a value is value - offset mod 256
 *
 * Tables and choices are improved in turn, with Kullback and Leibler's distance
 * (Banerjee, Merugu, Dhillon, Ghosh, "Clustering with Bregman divergences", JMLR
 * 6, 2005), from seeds drawn by what channels pay for the tables so far (Arthur
 * and Vassilvitskii, "k-means++", SODA 2007).
 *
 * Returns TSR_OK; TSR_E_ARG a number outside its limits; TSR_E_NOMEM.
 * Time: some 20 * channels * most * symbols of a channel.  Memory: 1 KiB a
 * channel, 7 KiB a table.
 */
tsr_error tsri_classes_train(tsr_context *ctx, const uint32_t (*hist)[256],
                             int channels, int most, int bits,
                             tsri_classes *out, uint8_t *cls, uint8_t *offset);

/**
 * The cheapest table of a bank for each channel, and its offset: of the offsets
 * that can code all values counted, those that bring the means of channel and
 * table together to within two.  Ties: the lower class, then the lower symbols.
 *
 * bank  tables of which the first TSRI_CLASSES_MAX of at most 256 symbols count
 * cost  out: of all that is counted, in 1/2048 bit
 *
 * Returns TSR_OK; TSR_E_ARG a channel has values that no table takes, or no
 * table counts; TSR_E_NOMEM.
 */
tsr_error tsri_classes_choose(tsr_context *ctx, const tsri_bank *bank,
                              const uint32_t (*hist)[256], int channels,
                              uint8_t *cls, uint8_t *offset, uint64_t *cost);

#endif
