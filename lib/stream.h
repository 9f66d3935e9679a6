/* SPDX-License-Identifier: BSD-2-Clause */
/* Stream readers that jump: for files that can be read in any order. */
#ifndef TSR_LIB_STREAM_H
#define TSR_LIB_STREAM_H
#include <tessera/stream.h>

/** Opens a reader in the middle of a file: the source stands at its byte
 *  `offset`, where a chunk should begin.  The kind is not known (0).
 *  TSR_E_NOMEM. */
tsr_error tsri_stream_reader_open_at(tsr_stream_reader **reader,
                                     tsr_context *context,
                                     const tsr_source *source, uint64_t offset);

/** Where the source stands, in bytes from the file's start. */
uint64_t tsri_stream_reader_position(const tsr_stream_reader *reader);

/** Goes on at `offset`, where the source now stands: the next chunk is no loss,
 *  whatever its number. */
void tsri_stream_reader_jump(tsr_stream_reader *reader, uint64_t offset);
#endif
