/* SPDX-License-Identifier: BSD-2-Clause */
/* Matrices of small symbols, [token][channel], each channel with a table of a
 * shared bank: what quantised features and KV caches are.  docs/entropy.md is
 * the format.
 *
 * A plan says how the channels are coded.  Channel c has a class, which is a
 * table of the bank, and an offset: its symbol is value - offset[c] mod 256.
 * Channels are put in order of their classes, equal ones by number, and that
 * order is cut into groups of `group` channels.  A block is `tile` consecutive
 * tokens (the last may have fewer) of one group, and is one segment of rans.h.
 * In a block all channels of one
 * class are one run: the tokens of its first channel, those of its second, and
 * so on.  So a row of 32 lanes is 32 tokens of a channel, a table stays for
 * long, and a GPU has a warp for each block.
 *
 * Blocks are numbered tile by tile, in a tile group by group. */
#ifndef TSR_ENTROPY_PLAN_H
#define TSR_ENTROPY_PLAN_H
#include "entropy/rans.h"

enum { TSRI_PLAN_MAX_CHANNELS = 1 << 20, TSRI_PLAN_MAX_TILE = 1 << 16 };

/** Immutable after open: may be shared by threads. */
typedef struct tsri_plan tsri_plan;

/** What a plan is made of; the arrays are copied. */
typedef struct tsri_plan_shape {
    int channels;           /**< 1..TSRI_PLAN_MAX_CHANNELS */
    int group;              /**< channels of a block, 1..channels */
    int tile;               /**< tokens of a block,
                                 1..TSRI_PLAN_MAX_TILE */
    const uint8_t *cls;     /**< of each channel; a table of the bank */
    const uint8_t *offset;  /**< of each channel; NULL = all 0 */
    int lanes;              /**< 0: by the size of each block, 1, 4, 8, 32: of
                                 every block.  A GPU wants 32 */
} tsri_plan_shape;

/**
 * Makes a plan.
 *
 * bank  tables of at most 256 symbols; must outlive the plan
 *
 * Returns TSR_OK; TSR_E_ARG a number outside its limits, a class the bank does
 * not have or a table that is too large; TSR_E_NOMEM.
 */
tsr_error tsri_plan_open(tsri_plan **plan, tsr_context *ctx,
                         const tsri_bank *bank, const tsri_plan_shape *shape);
void tsri_plan_close(tsri_plan **plan, tsr_context *ctx);

/** Blocks of `tokens` tokens; 0 for 0. */
size_t tsri_plan_blocks(const tsri_plan *plan, size_t tokens);

/** Most bytes that the blocks of `tokens` tokens can take; 0: does not fit. */
size_t tsri_plan_bound(const tsri_plan *plan, size_t tokens);

/** A matrix in the caller's memory: value of token t and channel c at
 *  data[t * token_step + c * channel_step]. */
typedef struct tsri_bytes2d {
    uint8_t *data;
    size_t tokens;
    ptrdiff_t token_step, channel_step;
} tsri_bytes2d;

/**
 * Codes a matrix, blocks one after another, on the context's threads.
 *
 * in     read only
 * crc    of what the caller wrote before and wants covered, see
 *        tsri_rans_finish(); the number of the block is added to it
 * out    room for tsri_plan_bound() bytes
 * sizes  out: bytes of each block
 * size   out: their sum
 *
 * Bytes do not depend on threads or processor.
 * Returns TSR_OK; TSR_E_ARG a value that its table does not have, or more than
 * 2^31 - 1 blocks; TSR_E_NOMEM.  Does not log.
 * Memory: for each thread 4 bytes a symbol of a tile.
 */
tsr_error tsri_plan_encode(const tsri_plan *plan, tsr_context *ctx,
                           const tsri_bytes2d *in, uint32_t crc,
                           uint8_t *out, uint32_t *sizes, size_t *size);

/**
 * The reverse; data and sizes come from outside.
 *
 * data, size  the blocks one after another
 * sizes       bytes of each; their sum must be `size`
 * out         every value is written on success; on failure undefined
 *
 * Returns TSR_OK; TSR_E_CORRUPT; TSR_E_ARG more than 2^31 - 1 blocks;
 * TSR_E_NOMEM.  Does not log.
 * Memory: for each thread 2 bytes a symbol of a tile, no tile being larger than
 * the matrix; 8 bytes a block.
 *
 * Two tiles are decoded at once where the threads have enough to do without:
 * fastest are matrices of many tiles whose channels (or tokens) are neighbours
 * in memory, with all channels in one group.
 */
tsr_error tsri_plan_decode(const tsri_plan *plan, tsr_context *ctx,
                           const uint8_t *data, size_t size,
                           const uint32_t *sizes, uint32_t crc,
                           const tsri_bytes2d *out);

#endif
