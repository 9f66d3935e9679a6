/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TSR_MEDIA_H
#define TSR_MEDIA_H
#include <stddef.h>
#include <stdint.h>
#include <tessera/context.h>
#include <tessera/error.h>
#include <tessera/io.h>
#include <tessera/stream.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Several streams of packets in time in one .tess file: pictures that move, and
 * sound.  This is what a demuxer and a muxer are elsewhere; codecs are
 * <tessera/video.h> and <tessera/audio.h>.  docs/format.md section 7 is the
 * format of files of kind 5; a file of one sound (kind 2) is read and written
 * here too.
 */
enum tsr_media_type { TSR_MEDIA_VIDEO = 1, TSR_MEDIA_AUDIO = 2 };

enum { TSR_MEDIA_MAX_STREAMS = 64 };

/** MOV and NUT carry our packets under these tags, with the stream's extradata
 *  as it is; one packet is one sample. */
#define TSR_TAG_VIDEO TSR_FOURCC('T', 'S', 'R', 'v')
#define TSR_TAG_AUDIO TSR_FOURCC('T', 'S', 'R', 'a')

typedef struct tsr_media_stream {
    int type;                       /**< enum tsr_media_type */
    uint32_t time_num, time_den;    /**< seconds of one unit of time; sound:
                                         1 / sampling rate */
    const uint8_t *extradata;       /**< of the encoder; reader: its until close */
    size_t extradata_bytes;
} tsr_media_stream;

typedef struct tsr_media_packet {
    int stream;         /**< 0.. */
    int64_t pts;        /**< when it is shown or heard, in the stream's units */
    uint64_t duration;  /**< 0: not known */
    const uint8_t *data; /**< reader: its until the next call */
    size_t bytes;
} tsr_media_packet;

/* ---- writing ---- */

typedef struct tsr_media_writer tsr_media_writer;

/**
 * Opens a writer; `sink` is copied, its cookie must live until close.
 *
 * kind  TSR_KIND_MEDIA; or TSR_KIND_AUDIO for a single sound whose packet n
 *       begins n full packets after time 0, as an encoder gives them
 *
 * Returns TSR_OK; TSR_E_ARG another kind; what the sink returned; TSR_E_NOMEM.
 */
TSR_API TSR_CHECKED tsr_error
tsr_media_writer_open(tsr_media_writer **writer, tsr_context *context,
                      const tsr_sink *sink, int kind);

/** Adds a stream, before the first packet; copied.  *index: its number.
 *  Returns TSR_OK; TSR_E_ARG a time base of 0, a type or extradata that is none,
 *  or a stream that this kind of file cannot hold; TSR_E_LIMIT too many. */
TSR_API TSR_CHECKED tsr_error
tsr_media_writer_stream(tsr_media_writer *writer, const tsr_media_stream *stream,
                        int *index);

/** Writes one packet; borrowed.  The caller interleaves: packets of all streams
 *  in the order of time.  Returns TSR_OK; TSR_E_ARG no such stream, or kind
 *  TSR_KIND_AUDIO and another time than the packet's number says; TSR_E_CORRUPT
 *  the same kind and not a packet of that sound; what the sink returned;
 *  TSR_E_NOMEM. */
TSR_API TSR_CHECKED tsr_error
tsr_media_writer_packet(tsr_media_writer *writer, const tsr_media_packet *packet);

/** Writes index and footer.  Returns TSR_OK; TSR_E_ARG no stream was added; what
 *  the sink returned; TSR_E_NOMEM. */
TSR_API TSR_CHECKED tsr_error tsr_media_writer_finish(tsr_media_writer *writer);
TSR_API void tsr_media_writer_close(tsr_media_writer **writer);

/* ---- reading ---- */

/** Another position of a source: sets it to `offset` bytes from its start. */
typedef struct tsr_seeker {
    void *cookie;
    tsr_error (*seek)(void *cookie, uint64_t offset);
    uint64_t bytes;     /**< of the whole file */
} tsr_seeker;

typedef struct tsr_media_reader tsr_media_reader;

/**
 * Opens a file of kind TSR_KIND_MEDIA or TSR_KIND_AUDIO and reads up to its
 * first packet.
 *
 * source, seeker  copied; cookies must live until close.  The source stands at
 *                 the file's first byte.  seeker NULL: a pipe
 *
 * Returns TSR_OK; TSR_E_FORMAT, TSR_E_VERSION; TSR_E_UNSUPPORTED another kind of
 * file; TSR_E_CORRUPT no stream is left whole; TSR_E_TRUNCATED; TSR_E_LIMIT;
 * what the source returned; TSR_E_NOMEM.
 */
TSR_API TSR_CHECKED tsr_error
tsr_media_reader_open(tsr_media_reader **reader, tsr_context *context,
                      const tsr_source *source, const tsr_seeker *seeker);

TSR_API int tsr_media_reader_kind(const tsr_media_reader *reader);
TSR_API int tsr_media_reader_streams(const tsr_media_reader *reader);
TSR_API const tsr_media_stream *
tsr_media_reader_stream(const tsr_media_reader *reader, int index);

/** Where the last packet of any stream ends, in seconds; 0: not known (a pipe,
 *  or no index). */
TSR_API double tsr_media_reader_duration(const tsr_media_reader *reader);

/** The next sound packet, in file order.  Damage is skipped and counted.
 *  Returns TSR_OK; TSR_E_EOF after the last; TSR_E_UNSUPPORTED a stream has
 *  parts that this library does not know; TSR_E_IO; TSR_E_LIMIT; TSR_E_NOMEM. */
TSR_API TSR_CHECKED tsr_error
tsr_media_reader_next(tsr_media_reader *reader, tsr_media_packet *packet);

/** Goes to where, for every stream, the packet at `seconds` or before it is
 *  still to come.  Returns TSR_OK; TSR_E_UNSUPPORTED without a seeker or a sound
 *  index: the caller reads on and drops; TSR_E_IO. */
TSR_API TSR_CHECKED tsr_error
tsr_media_reader_seek(tsr_media_reader *reader, double seconds);

TSR_API tsr_stream_damage
tsr_media_reader_damage(const tsr_media_reader *reader);
TSR_API void tsr_media_reader_close(tsr_media_reader **reader);

#ifdef __cplusplus
}
#endif
#endif
