/* SPDX-License-Identifier: BSD-2-Clause */
/* Grids of token ids to bytes and back, by units.  docs/codecs/vqgan.md is the
 * format.  Integers only: the same bytes on every machine.
 *
 * Cost, one core of a Zen 3, 65536 codes: 0.02 us a token to write and 0.1 to
 * read; with a context of 256 classes 0.5 and 0.6. */
#ifndef TSR_CODECS_TOKEN_UNITS_H
#define TSR_CODECS_TOKEN_UNITS_H
#include "codecs/image/token_book.h"

enum { TSRI_TOKEN_REGION = 128 };   /* tokens of a side of a region */

/** The tokens of a picture, row by row; the arrays are the owner's. */
typedef struct tsri_token_grid {
    int32_t *id;            /**< of the way's level; anything where lost */
    uint8_t *lost;          /**< not 0: not known */
    int height, width;      /**< at least 1 */
} tsri_token_grid;

/** How a picture's tokens are written; one byte of a stream. */
typedef struct tsri_token_way {
    int level;
    int interleave;         /**< 1, 2, 4, 8 */
    bool context;           /**< only where the model has one */
} tsri_token_way;

/** The way that a stream's byte stands for.  TSR_OK; TSR_E_CORRUPT it stands for
 *  none that this model has. */
tsr_error tsri_token_way_get(tsr_context *ctx, const tsri_token_book *book,
                             uint8_t byte, tsri_token_way *way);
uint8_t tsri_token_way_put(const tsri_token_way *way);

/** Units of a picture, some of which may have no tokens; 0 if there were more
 *  than INT_MAX. */
int tsri_token_units(const tsri_token_grid *grid, const tsri_token_way *way);

/** Bytes that a unit may have at most: about 3 a token, 6 with a context.
 *  unit: 0..units - 1. */
size_t tsri_token_unit_bound(const tsri_token_grid *grid,
                             const tsri_token_way *way, int unit);

/**
 * Writes a unit.
 *
 * grid   none of the unit's tokens is lost
 * crc    of what stands before the units (0 in containers)
 * out    room bytes; bytes: out, how many were written, 0 for a unit without
 *        tokens
 *
 * Returns TSR_OK; TSR_E_ARG no such unit, room below the bound, a lost token or
 * an id outside 0..size - 1.
 */
tsr_error tsri_token_unit_put(tsr_context *ctx, const tsri_token_book *book,
                              const tsri_token_way *way,
                              const tsri_token_grid *grid, int unit,
                              uint32_t crc, uint8_t *out, size_t room,
                              size_t *bytes);

/**
 * Reads a unit: sets the ids of its tokens and that they are not lost.
 *
 * Returns TSR_OK; TSR_E_ARG no such unit; TSR_E_CORRUPT these bytes are not
 * exactly a unit: then all its tokens are lost, whatever they were.
 */
tsr_error tsri_token_unit_get(tsr_context *ctx, const tsri_token_book *book,
                              const tsri_token_way *way, tsri_token_grid *grid,
                              int unit, uint32_t crc, const uint8_t *data,
                              size_t bytes);

/** Makes all tokens of a unit (0..units - 1) lost. */
void tsri_token_unit_clear(tsri_token_grid *grid, const tsri_token_way *way,
                           int unit);
#endif
