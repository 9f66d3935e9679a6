/* SPDX-License-Identifier: BSD-2-Clause */
/* What reader, index and writer of media files share.  docs/format.md section
 * 7 is the format. */
#ifndef TSR_CODECS_MEDIA_H
#define TSR_CODECS_MEDIA_H
#include <tessera/audio.h>
#include <tessera/media.h>
#include "lib/core.h"

enum {
    TSRI_MEDIA_STRM_BYTES = 12,
    TSRI_MEDIA_HEAD_BYTES = 28,     /**< HEAD, of video and of sound */
    TSRI_MEDIA_EXTRADATA_MAX = 160
};

#define TSRI_STRM TSR_FOURCC('S', 'T', 'R', 'M')
#define TSRI_HEAD TSR_FOURCC('H', 'E', 'A', 'D')
#define TSRI_MODL TSR_FOURCC('M', 'O', 'D', 'L')
#define TSRI_DATA TSR_FOURCC('D', 'A', 'T', 'A')
#define TSRI_INDX TSR_FOURCC('I', 'N', 'D', 'X')

/** Whether type, extradata and time base make a stream.  TSR_OK;
 *  TSR_E_CORRUPT. */
tsr_error tsri_media_stream_check(tsr_context *ctx,
                                  const tsr_media_stream *stream);

/** What a packet of a sound says of itself, with a pts that an int64_t holds.
 *  TSR_OK; TSR_E_CORRUPT. */
tsr_error tsri_media_sound(tsr_context *ctx, const tsr_media_stream *stream,
                           const void *data, size_t bytes,
                           tsr_audio_packet *packet);

/** A packet that the index names; it has been checked as far as an index can
 *  be without the chunks. */
typedef struct tsri_media_entry {
    uint64_t pts;
    uint64_t offset;        /* of its chunk, rising from entry to entry */
    int stream;             /* as the reader numbers them */
} tsri_media_entry;

struct tsr_media_reader {
    tsr_context *ctx;
    tsr_source source;
    tsr_seeker seeker;
    bool seeks;                 /* there is a seeker */
    tsr_stream_reader *chunks;
    int kind;
    int streams;
    tsr_media_stream stream[TSR_MEDIA_MAX_STREAMS];
    uint8_t extradata[TSR_MEDIA_MAX_STREAMS][TSRI_MEDIA_EXTRADATA_MAX];
    int8_t number[TSR_MEDIA_MAX_STREAMS]; /* of the file's streams; -1: left out */
    tsr_chunk first;            /* the first DATA, if `held` */
    bool held;
    uint64_t bad;               /* chunks that are sound and impossible, streams
                                   that are not whole */
    tsri_media_entry *entry;    /* the index, or NULL */
    size_t entries;
    double duration;
};

/** The reader's number of a chunk's stream; -1: it has none. */
int tsri_media_number(const tsr_media_reader *reader, const tsr_chunk *chunk);

/** The packet in a DATA chunk of a stream that is read.  TSR_OK;
 *  TSR_E_CORRUPT. */
tsr_error tsri_media_packet_get(const tsr_media_reader *reader,
                                const tsr_chunk *chunk, tsr_media_packet *packet);

/** Reads the index, if there is a sound one, and what it tells of the duration.
 *  Leaves the source where it was.  TSR_OK, also without an index; what seeker
 *  or source returned; TSR_E_NOMEM. */
tsr_error tsri_media_index_read(tsr_media_reader *reader);
#endif
