/* SPDX-License-Identifier: BSD-2-Clause */
/* The parts of audio.c: what a stream of sound says of itself, its packets, and
 * the two ends of it.  docs/audio-format.md is the format. */
#ifndef TSR_CODECS_AUDIO_H
#define TSR_CODECS_AUDIO_H
#include "codecs/audio/audio_codec.h"
#include "codecs/audio/codes.h"
#include "lib/modl.h"

enum {
    TSRI_AUDIO_HEAD_BYTES = 28,
    TSRI_AUDIO_EXTRADATA_MAX = TSRI_AUDIO_HEAD_BYTES + TSR_MODEL_HASH_BYTES + 63,
    TSRI_AUDIO_BATCH = 32       /* frames that nets are given at once */
};

/* ---- HEAD, MODL, packets: audio_head.c, audio_describe.c ---- */

/** HEAD and MODL. */
typedef struct tsri_audio_head {
    int codec_number;
    int channels, group_channels;   /* of the sound; of a group, 1 or 2 */
    int books;
    tsr_audio_entropy entropy;      /* not AUTO */
    bool live, layers;
    int hop, rate, codewords;
    int shorter[2];                 /* see tsri_codes_words() */
    int packet_frames;              /* segments: a multiple of segment_frames */
    int segment_frames, segment_step, side; /* 0 without segments */
    uint32_t seed;                  /* below 2^31; 0 with segments */
    uint8_t hash[TSR_MODEL_HASH_BYTES];
    char model_name[TSRI_MODEL_NAME_SIZE];
} tsri_audio_head;

static inline int tsri_audio_groups(const tsri_audio_head *head)
{
    return head->channels / head->group_channels;
}
/** Samples that `frames` frames, or so many segments, stand for. */
static inline uint64_t tsri_audio_span(const tsri_audio_head *head, uint64_t units)
{
    return units * (uint64_t)(head->segment_frames ? head->segment_step
                                                   : head->hop);
}
/** Fewest frames of a segment that another one follows. */
static inline uint64_t tsri_audio_step_frames(const tsri_audio_head *head)
{
    const uint64_t hop = (uint64_t)head->hop;
    return ((uint64_t)head->segment_step + hop - 1) / hop;
}
/** Frames of segment i of `units` that have `frames` together, the last one
 *  `last`: all are full but for the last two. */
static inline uint64_t
tsri_audio_segment_frames(const tsri_audio_head *head, uint64_t units,
                          uint64_t frames, int last, uint64_t i)
{
    const uint64_t full = (uint64_t)head->segment_frames;

    if (i + 1 == units)
        return (uint64_t)last;
    return i + 2 == units ? frames - (uint64_t)last - i * full : full;
}
/** Bits of a frame of the first `books` books, at log2(codewords) bits a code. */
double tsri_audio_frame_bits(int codewords, const int shorter[2], int books);
/** Units (frames, or segments where there are some) of a full packet. */
static inline int tsri_audio_packet_units(const tsri_audio_head *head)
{
    return head->segment_frames ? head->packet_frames / head->segment_frames
                                : head->packet_frames;
}
static inline uint64_t tsri_audio_packet_span(const tsri_audio_head *head)
{
    return tsri_audio_span(head, (uint64_t)tsri_audio_packet_units(head));
}

/** Writes HEAD to out[TSRI_AUDIO_HEAD_BYTES]. */
void tsri_audio_head_put(const tsri_audio_head *head, uint8_t *out);
/** Reads and checks it; hostile.  TSR_E_CORRUPT. */
tsr_error tsri_audio_head_get(tsr_context *ctx, tsri_audio_head *head,
                              const uint8_t *data, size_t size);

/** Reads HEAD and MODL as extradata; hostile.  TSR_E_CORRUPT. */
tsr_error tsri_audio_extradata_get(tsr_context *ctx, tsri_audio_head *head,
                                   const uint8_t *data, size_t size);
/** Fills in the fields of *info that a head tells. */
void tsri_audio_head_info(const tsri_audio_head *head, tsr_audio_info *info);

/** What stands in front of a packet's entropy segments. */
typedef struct tsri_audio_packet {
    uint64_t number, samples;
    int books;
    int units;              /* frames or segments, >= 1 */
    int frames;             /* of all segments together */
    int last_frames;        /* of the last segment; the others are full, but
                               for the one before it, which has the rest */
    const uint8_t *side;    /* [groups][units][side] */
    const uint8_t *lengths; /* varints of all segments but the last */
    size_t left;            /* bytes from `lengths` on */
    uint32_t crc;           /* for the entropy segments */
    bool last;              /* shorter than a full packet: ends the sound */
} tsri_audio_packet;

/** Most bytes that tsri_audio_packet_put() writes, without the entropy
 *  segments; false when that is absurd. */
bool tsri_audio_packet_room(const tsri_audio_head *head, size_t *bytes);
/** Writes up to `lengths`, from everything in *packet above it (`side` may be
 *  NULL where the head has none); returns the bytes and sets packet->crc. */
size_t tsri_audio_packet_put(const tsri_audio_head *head,
                             tsri_audio_packet *packet, uint8_t *out);
/** Reads as far as `lengths`, of a packet for this head; hostile.  Does not
 *  log.  TSR_OK; TSR_E_CORRUPT, and packet->number is UINT64_MAX if even that
 *  was not readable. */
tsr_error tsri_audio_packet_get(const tsri_audio_head *head,
                                tsri_audio_packet *packet, const uint8_t *data,
                                size_t size);
/** Entropy segments of a packet: one a group, with layers `books` a group. */
static inline int tsri_audio_segments(const tsri_audio_head *head, int books)
{
    return tsri_audio_groups(head) * (head->layers ? books : 1);
}
/** Reads `lengths`: bytes[segments], *data: where they begin.
 *  TSR_E_CORRUPT. */
tsr_error tsri_audio_lengths_get(const tsri_audio_packet *packet, size_t *bytes,
                                 int segments, const uint8_t **data);

/* ---- settings, and an opened model: audio.c ---- */

/** theirs: NULL: the defaults; the caller's struct may be older and shorter than
 *  ours. */
void tsri_audio_settings_take(tsr_audio_settings *own,
                              const tsr_audio_settings *theirs);

typedef struct tsri_audio_model {
    tsr_context *ctx;
    tsr_model *model;       /* one reference */
    const tsri_audio_codec *codec;
    void *self;
    tsri_audio_shape shape;
    tsri_codes *codes;
    tsri_codes_coder *coder;
} tsri_audio_model;

/** TSR_E_MODEL, TSR_E_SHAPE, TSR_E_CORRUPT, TSR_E_NOMEM; close it in any
 *  case. */
tsr_error tsri_audio_model_open(tsri_audio_model *m, tsr_context *ctx,
                                tsr_model *model);
void tsri_audio_model_close(tsri_audio_model *m);
/** A reference to a model with this hash that the context keeps open between
 *  calls; NULL: none. */
tsr_model *tsri_audio_model_kept(const tsr_context *ctx, const uint8_t *hash);

/* ---- encoder: audio_encode.c ---- */

typedef struct tsri_audio_segment {
    int frames;
    uint8_t side[TSRI_AUDIO_SIDE_MAX];
} tsri_audio_segment;

/** A group: its nets, and its codes that are not yet in a packet. */
typedef struct tsri_audio_pending {
    void *enc;
    uint16_t *codes;        /* frames first..end - 1, [books] each */
    size_t room, first, end;    /* in frames */
    tsri_audio_segment *segment; /* segmented codecs: first_segment.. */
    size_t segment_room, first_segment, end_segment;
} tsri_audio_pending;

struct tsr_audio_encoder {
    tsri_audio_model m;
    tsri_audio_head head;
    tsri_audio_options options;
    uint8_t extradata[TSRI_AUDIO_EXTRADATA_MAX];
    size_t extradata_bytes;
    tsri_audio_pending *group;  /* [groups] */
    float *piece;           /* [piece_samples][group_channels] */
    size_t piece_samples;
    uint8_t *packet;        /* the one last made */
    size_t packet_room;
    uint8_t *body;          /* its entropy segments */
    size_t body_room;
    size_t *lengths;        /* of each of them */
    uint8_t *side;          /* of a packet: [groups][units][side] */
    uint64_t pushed, pulled;/* samples */
    uint64_t number;        /* of the next packet */
    enum { TSRI_AUDIO_UNUSED, TSRI_AUDIO_PACKETS, TSRI_AUDIO_CODES } use;
    bool coded;             /* codes were pushed, not samples */
    bool finished;
    tsr_error failed;
};

/** Codes of one segment, or of the whole sound where there are no segments,
 *  that were coded elsewhere: codes[frames][books], below codewords, of the one
 *  group.  samples: they stand for.  side: bytes of the segment; read only with
 *  segments.  TSR_E_NOMEM. */
tsr_error tsri_audio_encoder_give(tsr_audio_encoder *e, const uint16_t *codes,
                                  int frames, uint64_t samples,
                                  const uint8_t *side);
/** The sound has ended: writes all of it as a .tess stream (audio_file.c). */
tsr_error tsri_audio_write(tsr_context *ctx, tsr_audio_encoder *e,
                           const tsr_sink *sink);

/* ---- decoder: audio_decode.c, audio_play.c ---- */

/** A packet that waits to become sound. */
typedef struct tsri_audio_item {
    struct tsri_audio_item *next;
    bool lost;              /* no codes: those of the last frame go on */
    int books, last_frames;
    uint64_t units, at;     /* frames or segments; of them used */
    size_t frames;          /* of all units; 0: lost */
    uint8_t *side;          /* [groups][units][side], behind the codes */
    uint16_t codes[];       /* [groups][frames][books] */
} tsri_audio_item;

/** So many samples of output are sound, or stand for what was lost. */
typedef struct tsri_audio_run {
    uint64_t samples;
    bool lost;
} tsri_audio_run;

struct tsr_audio_decoder {
    tsri_audio_model m;
    tsri_audio_head head;
    tsri_audio_options options;
    uint8_t extradata[TSRI_AUDIO_EXTRADATA_MAX];
    size_t extradata_bytes;
    void **dec;                     /* [groups] */
    tsri_audio_item *first, *last;  /* what waits */
    tsri_audio_run *runs;           /* of output, from `run` on */
    size_t run, runs_end, runs_room;
    /* The last frame or segment: [groups][keep_frames][keep_books]. */
    uint16_t *keep;
    uint8_t *keep_side;     /* [groups][side] */
    int keep_books, keep_frames; /* 0: nothing yet */
    uint16_t *batch;        /* [TSRI_AUDIO_BATCH][books] */
    size_t *lengths;        /* of the entropy segments of a packet */
    float *piece;           /* [TSRI_AUDIO_BATCH * hop][group_channels] */
    int patience;           /* seconds: most that one gap is filled */
    uint64_t silence;       /* samples of it before the nets' first */
    uint64_t next;          /* number of the next packet */
    uint64_t concealed;     /* frames */
    uint64_t level;         /* of the sound, see fade() */
    bool fed;               /* the nets have got something */
    bool ended;             /* the last packet of the sound was there */
    bool finished, drained; /* no more packets; the nets know it */
    tsr_error failed;
};

/** Goes on with packet `number` as the next, leaving out those before it;
 *  allowed before the first packet.  seconds: most that one gap is filled. */
void tsri_audio_decoder_begin(tsr_audio_decoder *d, uint64_t number,
                              int seconds);
/** Conceals so many frames or segments.  TSR_E_NOMEM, and nothing changed. */
tsr_error tsri_audio_conceal(tsr_audio_decoder *d, uint64_t units);
/** Room for codes and side bytes, not cleared; NULL: no memory. */
tsri_audio_item *tsri_audio_item_new(const tsr_audio_decoder *d, uint64_t units,
                                     size_t frames, int books);
/** Appends an item that stands for so many samples; takes it, also on failure
 *  (TSR_E_NOMEM). */
tsr_error tsri_audio_queue(tsr_audio_decoder *d, tsri_audio_item *item,
                           uint64_t samples);
/** Forgets what waits. */
void tsri_audio_drop_items(tsr_audio_decoder *d);
/** Level of the sound where nothing was lost. */
uint64_t tsri_audio_full_level(const tsri_audio_head *head);
#endif
