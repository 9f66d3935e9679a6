/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TSR_STREAM_H
#define TSR_STREAM_H
#include <stddef.h>
#include <stdint.h>
#include <tessera/context.h>
#include <tessera/error.h>
#include <tessera/io.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * The .tess container: a file header, chunks, an index, a footer.  Written
 * append-only and read forward, through pipes too.  docs/format.md is the
 * format; this is its transport layer, which knows no codec.
 */

/** A chunk type: four bytes as they stand in the file.  A lower-case first
 *  letter means ancillary: a reader that does not know it skips it. */
#define TSR_FOURCC(a, b, c, d)                                              \
    ((uint32_t)(a) | (uint32_t)(b) << 8 | (uint32_t)(c) << 16 |             \
     (uint32_t)(d) << 24)
enum tsr_kind { TSR_KIND_IMAGE = 1, TSR_KIND_AUDIO = 2, TSR_KIND_KV = 3,
                TSR_KIND_GENERIC = 4, TSR_KIND_MEDIA = 5 };

typedef struct tsr_chunk {
    uint32_t type;       /**< TSR_FOURCC('D','A','T','A') ... */
    uint16_t stream;     /**< which stream of the file, from 0 */
    uint16_t flags;
    uint32_t seq;        /**< number of the chunk in the file, from 0 */
    uint64_t offset;     /**< of the chunk's first byte in the file */
    const uint8_t *data; /**< payload; the reader's until the next call */
    size_t bytes;        /**< of the payload */
} tsr_chunk;

typedef struct tsr_stream_writer tsr_stream_writer;

/** Opens a writer and writes the file header.  `sink` is copied; its cookie
 *  must live until close.  kind: enum tsr_kind.  Returns TSR_OK; TSR_E_ARG
 *  another kind; what the sink returned, as all calls of a writer do from then
 *  on; TSR_E_NOMEM. */
TSR_API TSR_CHECKED tsr_error
tsr_stream_writer_open(tsr_stream_writer **writer, tsr_context *context,
                       const tsr_sink *sink, int kind);

/** Appends one chunk; `data` is borrowed.  pts is put into the index for DATA
 *  chunks, in units of the stream's time base (a unit's number for images).
 *  stream: 0..65535.  Returns TSR_OK; TSR_E_ARG another stream, type INDX, or
 *  after the end; TSR_E_LIMIT 2^32 - 1 chunks; TSR_E_NOMEM. */
TSR_API TSR_CHECKED tsr_error
tsr_stream_writer_chunk(tsr_stream_writer *writer, uint32_t type, int stream,
                        uint64_t pts, const void *data, size_t bytes);

/** Writes index and footer.  Close without finish leaves a truncated file.
 *  Returns TSR_OK; TSR_E_ARG the second time. */
TSR_API TSR_CHECKED tsr_error
tsr_stream_writer_finish(tsr_stream_writer *writer);

TSR_API void tsr_stream_writer_close(tsr_stream_writer **writer);

typedef struct tsr_stream_reader tsr_stream_reader;

/**
 * Opens a reader and reads the file header.
 *
 * Returns TSR_OK; TSR_E_FORMAT not a .tess file; TSR_E_VERSION newer major
 * version; TSR_E_TRUNCATED; TSR_E_IO; TSR_E_NOMEM.
 */
TSR_API TSR_CHECKED tsr_error
tsr_stream_reader_open(tsr_stream_reader **reader, tsr_context *context,
                       const tsr_source *source);

/** enum tsr_kind of the file. */
TSR_API int tsr_stream_reader_kind(const tsr_stream_reader *reader);

/**
 * The next sound chunk.  Damage is skipped: the reader scans for the next
 * chunk whose header checksum holds, counts what was lost (see
 * tsr_stream_reader_damage()) and goes on.
 *
 * Returns TSR_OK; TSR_E_EOF after the last chunk, whether the file ends well
 * or is cut; TSR_E_IO; TSR_E_NOMEM; TSR_E_LIMIT a chunk over `max_memory`.
 */
TSR_API TSR_CHECKED tsr_error tsr_stream_reader_next(tsr_stream_reader *reader,
                                                     tsr_chunk *chunk);

/** What was wrong with the part of the file read so far. */
typedef struct tsr_stream_damage {
    uint64_t lost_chunks;    /**< chunks with a wrong checksum, or missing
                                  numbers in the sequence */
    uint64_t skipped_bytes;  /**< bytes that belong to no sound chunk */
    int truncated;           /**< the file ends before its footer; known only
                                  after TSR_E_EOF */
} tsr_stream_damage;

TSR_API tsr_stream_damage
tsr_stream_reader_damage(const tsr_stream_reader *reader);

TSR_API void tsr_stream_reader_close(tsr_stream_reader **reader);

#ifdef __cplusplus
}
#endif
#endif
