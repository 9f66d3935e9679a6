/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TSR_AUDIO_H
#define TSR_AUDIO_H
#include <stddef.h>
#include <stdint.h>
#include <tessera/context.h>
#include <tessera/error.h>
#include <tessera/io.h>
#include <tessera/model.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Sound to packets and back, live or from file to file.
 *
 * Samples are floats, full scale -1..1, interleaved: sample t of channel c is
 * x[t * channels + c]; "n samples" means n of each channel.  NaN and infinities
 * count as 0, larger values as they are.  The sampling rate is the model's:
 * resampling is the caller's (the program does it).
 *
 * A model codes 1 or 2 channels.  Sound of more channels, a multiple of that
 * number, is coded as so many independent groups in the same packets, each at
 * the full rate.
 *
 * A *frame* is the samples that one column of codes stands for (the hop); a
 * *packet* holds a whole number of frames, is entropy-coded alone, and is the
 * payload of one DATA chunk of a file, one MOV or NUT sample, or one datagram.
 * Cutting the samples into pushes makes no difference to the packets, nor
 * cutting the packets into frames to the samples: the states of the nets are
 * carried.  docs/audio-format.md is the format.
 */

enum {
    TSR_AUDIO_MAX_RATE = 384000,
    TSR_AUDIO_MAX_CHANNELS = 64,
    TSR_AUDIO_MAX_BOOKS = 64,
    TSR_AUDIO_MAX_FRAMES = 1 << 16  /**< of one packet */
};

/** What a model does; see tsr_audio_model_describe(). */
typedef struct tsr_audio_model_info {
    char codec[16];         /**< id, as of tsr_audio_codec_at() */
    int rate;               /**< samples a second */
    int channels;           /**< of one group, 1 or 2 */
    int hop;                /**< samples of a frame */
    int books;              /**< codes of a frame, at most */
    int codewords;          /**< of each book, at most */
    int side_bits;          /**< beside the codes, of each segment */
    int segment;            /**< samples that are coded alone from each other
                                 (EnCodec 48 kHz); 0: no such segments */
    int whole;              /**< 1: the published encoder looks at the whole
                                 sound (HiFi-Codec): see `window` */
    double macs_encode, macs_decode; /**< multiply-adds per second of sound, of
                                 one group, quantiser included */
    int semantic_books;     /**< so many of the first books tell what is said,
                                 the others how it sounds; 0: no such books */
    int first_codewords, other_codewords; /**< of book 0, of each other book */
} tsr_audio_model_info;

/** Returns TSR_OK; TSR_E_MODEL not an audio model; TSR_E_SHAPE a tensor of it;
 *  TSR_E_NOMEM. */
TSR_API TSR_CHECKED tsr_error
tsr_audio_model_describe(tsr_context *context, tsr_model *model,
                         tsr_audio_model_info *info);

/** How the codes are written. */
typedef enum tsr_audio_entropy {
    TSR_AUDIO_ENTROPY_AUTO = 0,     /**< the best the model has tables for */
    TSR_AUDIO_ENTROPY_FIXED = 1,    /**< log2(codewords) bits each */
    TSR_AUDIO_ENTROPY_STATIC = 2,   /**< a table for each book, in the model */
    TSR_AUDIO_ENTROPY_CONTEXT = 3,  /**< tables by the frame before and the
                                         coarser book, in the model */
    TSR_AUDIO_ENTROPY_ADAPTIVE = 4, /**< learnt within each packet: for long
                                         packets of models without tables */
    TSR_AUDIO_ENTROPY_LM = 5        /**< an integer language model in the model
                                         file: smallest and slowest */
} tsr_audio_entropy;

/** Set with tsr_audio_settings_init(). */
typedef struct tsr_audio_settings {
    size_t size;
    int channels;       /**< of the samples, 1..64, a multiple of the model's;
                             0 (default): the model's */
    double bitrate;     /**< bits a second of one group before entropy coding: as
                             many books are used as fit, at least 1; 0 (default):
                             the model's own choice */
    int books;          /**< > 0: this many books, and bitrate is ignored */
    int entropy;        /**< enum tsr_audio_entropy; default AUTO */
    int packet_frames;  /**< frames of a packet, 1..65536; 0 (default): 5 s,
                             live: one frame.  Short packets cost about 7 bytes
                             each more.  Models with segments: rounded up to
                             whole segments */
    int droppable;      /**< 1: books are separate layers, so that the finer ones
                             can be cut from packets later (not with LM; about 3
                             bytes a book and packet); default 0 */
    int live;           /**< 1: every push brings out all it can, at once, and
                             the signal starts with silence in front of it (no
                             start-up delay); 0 (default): as the published
                             system starts, and work is done in batches */
    double window;      /**< seconds; only for models whose info says `whole`.
                             > 0: normalisation looks at windows of so many
                             seconds, so that memory and delay are bounded;
                             0: at the whole sound, as published; below 0
                             (default): 10, live: 1 */
    tsr_progress progress; /**< of tsr_audio_encode(); 0 all the time if the
                                source's length is not known */
    int search;         /**< 0: each code is the codeword nearest to what the
                             coarser ones leave, as published; 1..16: so many
                             beginnings of a frame are kept from book to book, and
                             the best whole one is taken, by its error and, if
                             the model has context tables, its bits; below 0
                             (default): 8 if it has and not droppable, else 0.
                             Decoders need not know */
    uint32_t seed;      /**< of the random numbers of a decoder that draws some
                             (SemantiCodec): decoding the stream gives the same
                             sound each time; below 2^31, default 0 */
} tsr_audio_settings;

TSR_API void tsr_audio_settings_init(tsr_audio_settings *settings);

/** One packet; `data` is the coder's until its next call. */
typedef struct tsr_audio_packet {
    const uint8_t *data;    /**< NULL: none is ready */
    size_t bytes;
    uint64_t number;        /**< from 0, one more each */
    uint64_t pts;           /**< samples before it */
    uint32_t samples;       /**< it stands for; less than its frames hold only
                                 in the last one */
    int frames;
} tsr_audio_packet;

/* ---- encoder ---- */

typedef struct tsr_audio_encoder tsr_audio_encoder;

/**
 * Opens an encoder.
 *
 * model     of an audio codec; referenced until close
 * settings  copied; NULL = the defaults
 *
 * Returns TSR_OK; TSR_E_ARG a setting outside its limits, or an entropy coding
 * the model has no tables for; TSR_E_MODEL; TSR_E_SHAPE; TSR_E_NOMEM.
 * Memory: the nets in floats (shared by nothing), some seconds of activations.
 */
TSR_API TSR_CHECKED tsr_error
tsr_audio_encoder_open(tsr_audio_encoder **encoder, tsr_context *context,
                       tsr_model *model, const tsr_audio_settings *settings);
TSR_API void tsr_audio_encoder_close(tsr_audio_encoder **encoder);

/** What a decoder has to know before the first packet (HEAD and MODL of
 *  docs/audio-format.md): 60 to 123 bytes, the encoder's until close. */
TSR_API void tsr_audio_encoder_extradata(const tsr_audio_encoder *encoder,
                                         const uint8_t **data, size_t *bytes);

/** Takes n samples of each channel; borrowed.  Returns TSR_OK; TSR_E_ARG after
 *  the end; TSR_E_LIMIT a whole-sound model over max_memory; TSR_E_NOMEM. */
TSR_API TSR_CHECKED tsr_error
tsr_audio_encoder_push(tsr_audio_encoder *encoder, const float *samples,
                       size_t n);
/** The sound ends: the last frame is completed as its codec does it, and all
 *  that is left can be pulled. */
TSR_API TSR_CHECKED tsr_error
tsr_audio_encoder_finish(tsr_audio_encoder *encoder);
/** The next packet.  Returns TSR_OK, with packet->data NULL while more samples
 *  are needed; TSR_E_EOF after the last packet; TSR_E_LIMIT over 2^32 packets;
 *  TSR_E_NOMEM. */
TSR_API TSR_CHECKED tsr_error
tsr_audio_encoder_pull(tsr_audio_encoder *encoder, tsr_audio_packet *packet);
/** Instead of packets: codes, [frames][groups][books] as they are, for models
 *  that work on them (not for models with segments: TSR_E_UNSUPPORTED).
 *  *frames: out, how many of at most `room`.  TSR_E_EOF after the last.  An
 *  encoder gives packets or codes, not both: TSR_E_ARG. */
TSR_API TSR_CHECKED tsr_error
tsr_audio_encoder_pull_codes(tsr_audio_encoder *encoder, uint16_t *codes,
                             size_t room, size_t *frames);

/** Codes instead of samples, [frames][groups][books], to be made into packets:
 *  what tsr_audio_encoder_pull_codes() gave, perhaps changed.  An encoder takes
 *  samples or codes, not both.  Returns TSR_OK; TSR_E_ARG a code that no book
 *  has, after samples, or after the end; TSR_E_UNSUPPORTED models with segments;
 *  TSR_E_NOMEM. */
TSR_API TSR_CHECKED tsr_error
tsr_audio_encoder_push_codes(tsr_audio_encoder *encoder, const uint16_t *codes,
                             size_t frames);

/** Samples of delay that a listener of this stream has besides transport: from
 *  a sample's push to its being heard, encoder and decoder together, in the
 *  middle of the sound and at its start. */
TSR_API void tsr_audio_encoder_latency(const tsr_audio_encoder *encoder,
                                       uint64_t *running, uint64_t *start);

/** The state as bytes, to go on later with an encoder of the same model and
 *  settings on the same kind of machine: size, writing, reading.  Load returns
 *  TSR_OK; TSR_E_CORRUPT not such a state; TSR_E_NOMEM; after an error only
 *  close is allowed.  The decoder's are the same. */
TSR_API size_t
tsr_audio_encoder_state_bytes(const tsr_audio_encoder *encoder);
TSR_API void tsr_audio_encoder_state_save(const tsr_audio_encoder *encoder,
                                          uint8_t *state);
TSR_API TSR_CHECKED tsr_error
tsr_audio_encoder_state_load(tsr_audio_encoder *encoder, const uint8_t *state,
                             size_t bytes);

/* ---- decoder ---- */

typedef struct tsr_audio_decoder tsr_audio_decoder;

/**
 * Opens a decoder.
 *
 * model      to decode with, or NULL: found by the hash in the extradata
 * extradata  from the encoder or a file; copied
 * live       1: every packet brings out all it can at once (a decoder of sound
 *            that was not encoded live still waits for its start-up frames)
 *
 * Returns TSR_OK; TSR_E_CORRUPT bad extradata; TSR_E_MODEL not the model, or none
 * found; TSR_E_SHAPE; TSR_E_UNSUPPORTED a codec this build does not have;
 * TSR_E_LIMIT packets whose codes are over max_memory; TSR_E_NOMEM.
 */
TSR_API TSR_CHECKED tsr_error
tsr_audio_decoder_open(tsr_audio_decoder **decoder, tsr_context *context,
                       tsr_model *model, const void *extradata, size_t bytes,
                       int live);
TSR_API void tsr_audio_decoder_close(tsr_audio_decoder **decoder);

/** Before the first packet: the sound begins with packet `number`, the first one
 *  that will come; what lies before it is neither waited for nor concealed.  For
 *  streams that were cut.  Returns TSR_OK; TSR_E_ARG after the first packet, or
 *  no such number. */
TSR_API TSR_CHECKED tsr_error
tsr_audio_decoder_start(tsr_audio_decoder *decoder, uint64_t number);

/** The sampling rate and the channels of what is pulled. */
TSR_API int tsr_audio_decoder_rate(const tsr_audio_decoder *decoder);
TSR_API int tsr_audio_decoder_channels(const tsr_audio_decoder *decoder);

/**
 * Takes one packet; borrowed.
 *
 * A packet whose number is beyond the next one means that some were lost: they
 * are concealed, at most 10 s.  One whose number has passed is ignored: it came
 * too late.  A damaged packet counts as lost: as the next one, whatever number it
 * seems to have.  Concealment repeats the codes of the last frame (the last
 * segment) and fades the sound to silence within 100 ms; the states of the nets
 * go on, and the next sound packet fades in within 10 ms.  Before the first sound
 * packet there is silence.
 *
 * Returns TSR_OK; TSR_E_CORRUPT it is damaged and was concealed, or comes after
 * the last packet of the sound and was ignored (decoding may go on); TSR_E_ARG
 * after tsr_audio_decoder_finish(); TSR_E_NOMEM.
 */
TSR_API TSR_CHECKED tsr_error
tsr_audio_decoder_push(tsr_audio_decoder *decoder, const void *packet,
                       size_t bytes);
/** The next packet is known to be lost: conceals it now, at most 10 s.  After
 *  the last packet of the sound it does nothing. */
TSR_API TSR_CHECKED tsr_error
tsr_audio_decoder_lost(tsr_audio_decoder *decoder);
/** Codes instead of a packet, as tsr_audio_encoder_pull_codes() gives them.
 *  Returns TSR_OK; TSR_E_ARG a code that no book has, or after the end;
 *  TSR_E_UNSUPPORTED models with segments; TSR_E_NOMEM. */
TSR_API TSR_CHECKED tsr_error
tsr_audio_decoder_push_codes(tsr_audio_decoder *decoder, const uint16_t *codes,
                             size_t frames);
/** No more packets: all that is left can be pulled. */
TSR_API TSR_CHECKED tsr_error
tsr_audio_decoder_finish(tsr_audio_decoder *decoder);
/** At most `room` samples of each channel; *n: out, how many.  Returns TSR_OK,
 *  with *n = 0 while more packets are needed; TSR_E_EOF after the end. */
TSR_API TSR_CHECKED tsr_error
tsr_audio_decoder_pull(tsr_audio_decoder *decoder, float *samples, size_t room,
                       size_t *n);
/** A packet's codes, without sound, and without any effect on the decoder:
 *  [frames][groups][books], with 65535 in books that were cut off; room: in
 *  numbers.  Returns TSR_OK; TSR_E_CORRUPT; TSR_E_LIMIT too little room, and
 *  *frames is what is needed; TSR_E_NOMEM. */
TSR_API TSR_CHECKED tsr_error
tsr_audio_decoder_codes(tsr_audio_decoder *decoder, const void *packet,
                        size_t bytes, uint16_t *codes, size_t room,
                        size_t *frames);
/** Frames that were concealed so far. */
TSR_API uint64_t tsr_audio_decoder_concealed(const tsr_audio_decoder *decoder);

TSR_API size_t
tsr_audio_decoder_state_bytes(const tsr_audio_decoder *decoder);
TSR_API void tsr_audio_decoder_state_save(const tsr_audio_decoder *decoder,
                                          uint8_t *state);
TSR_API TSR_CHECKED tsr_error
tsr_audio_decoder_state_load(tsr_audio_decoder *decoder, const uint8_t *state,
                             size_t bytes);

/* ---- whole files ---- */

/** Where samples come from: stores up to `n` >= 1 samples of each channel and
 *  their number in *got; 0 only at the end. */
typedef struct tsr_audio_source {
    void *cookie;
    tsr_error (*read)(void *cookie, float *samples, size_t n, size_t *got);
    uint64_t length;    /**< samples to come, for progress; 0: not known */
} tsr_audio_source;

/** Where samples go, in order.  `begin` is called once before them. */
typedef struct tsr_audio_sink {
    void *cookie;
    tsr_error (*begin)(void *cookie, int rate, int channels);
    tsr_error (*write)(void *cookie, const float *samples, size_t n);
} tsr_audio_sink;

/**
 * Encodes sound into a .tess stream, in bounded memory (but for whole-sound
 * models with window 0).
 *
 * samples  settings->channels channels at the model's rate
 *
 * Returns as the encoder's functions, what the source or the sink returned,
 * TSR_E_CANCELED.
 */
TSR_API TSR_CHECKED tsr_error
tsr_audio_encode(tsr_context *context, tsr_model *model,
                 const tsr_audio_settings *settings,
                 const tsr_audio_source *samples, const tsr_sink *sink);

/**
 * Decodes a .tess stream of sound, in bounded memory.
 *
 * model     to use, or NULL to find it by the hash in the stream
 * progress  may be NULL; 0 all the time where no length is given
 * start     samples of sound to leave out before the first one written (whole
 *           packets are decoded for their states only where needed: at most
 *           2 s before it, so what follows differs inaudibly from a decoding
 *           from the start)
 * length    samples to write at most; UINT64_MAX: all
 *
 * Lost packets are concealed as by tsr_audio_decoder_push(), but up to an hour at
 * one place, so that what follows stays in its time.
 *
 * Returns TSR_OK; TSR_E_CORRUPT, TSR_E_CHECKSUM or TSR_E_TRUNCATED when parts
 * were damaged or missing and have been concealed: all that can be decoded was
 * written; TSR_E_FORMAT, TSR_E_VERSION, TSR_E_MODEL, TSR_E_UNSUPPORTED,
 * TSR_E_CANCELED; what source or sink returned; TSR_E_NOMEM.
 */
TSR_API TSR_CHECKED tsr_error
tsr_audio_decode(tsr_context *context, tsr_model *model,
                 const tsr_progress *progress, const tsr_source *source,
                 uint64_t start, uint64_t length, const tsr_audio_sink *sink);

/**
 * Encodes sounds: each as tsr_audio_encode() does, up to as many at a time as the
 * context has threads, at most 8.  Streams are the same as one after the other,
 * on a GPU but for tokens at near ties.  Keep batches going through one context:
 * on a GPU it keeps what it has made ready.
 *
 * settings   NULL = the defaults; progress is called on the calling thread, with
 *            the part of all sounds that is done
 * count      sounds; 0 does nothing
 * sounds     [count] sources, one for each; called from other threads, too, those
 *            of different sounds at the same time
 * sinks      [count] one for each; called like the sources
 * errors     [count] out, what tsr_audio_encode() returns for each, and
 *            TSR_E_CANCELED for those that were not begun; or NULL
 *
 * A sound that fails does not stop the others.  Returns the error of the first
 * one, in their order, that failed; TSR_E_NOMEM.
 * Memory: for each that is in work what an encoder takes, nets included, each
 * within max_memory.
 */
TSR_API TSR_CHECKED tsr_error
tsr_audio_encode_batch(tsr_context *context, tsr_model *model,
                       const tsr_audio_settings *settings, size_t count,
                       const tsr_audio_source *sounds, const tsr_sink *sinks,
                       tsr_error *errors);

/**
 * Decodes streams, each whole, as tsr_audio_decode() does; otherwise as
 * tsr_audio_encode_batch() has it.
 *
 * model    of all of them, or NULL to find each one's
 * sources  [count] one for each, called like those of encoders
 * sinks    [count] one for each, called like those; what can be had of damaged
 *          streams is written
 */
TSR_API TSR_CHECKED tsr_error
tsr_audio_decode_batch(tsr_context *context, tsr_model *model,
                       const tsr_progress *progress, size_t count,
                       const tsr_source *sources, const tsr_audio_sink *sinks,
                       tsr_error *errors);

/** What a stream says of its sound, and where its bytes are. */
typedef struct tsr_audio_info {
    char codec[16];              /**< id; "" unknown */
    uint8_t model_hash[32];
    char model_name[64];
    int rate, channels;          /**< of the sound */
    int groups;                  /**< independent groups of channels */
    int hop, books, codewords;
    int entropy;                 /**< enum tsr_audio_entropy as coded */
    int live, droppable;
    uint64_t samples;            /**< of each channel, as far as it was read */
    uint64_t packets, frames;
    uint64_t file_bytes;
    uint64_t header_bytes;       /**< container, headers, checksums, index */
    uint64_t token_bytes;        /**< entropy-coded codes */
    uint64_t fixed_bits;         /**< what the codes would be with log2
                                      (codewords of its book) bits each */
    uint64_t book_bytes[TSR_AUDIO_MAX_BOOKS]; /**< token_bytes by book, droppable
                                      streams only */
    int damaged;
    int semantic_books;          /**< of the books, as in tsr_audio_model_info */
    int first_codewords, other_codewords; /**< the same */
} tsr_audio_info;

/** Reads extradata (the fields codec .. droppable and semantic_books ..
 *  other_codewords of *info, the others are 0) or the head of one packet of such
 *  a stream (packet->data and bytes are what was given); need no model.  Return
 *  TSR_OK; TSR_E_CORRUPT. */
TSR_API TSR_CHECKED tsr_error
tsr_audio_describe(tsr_context *context, const void *extradata, size_t bytes,
                   tsr_audio_info *info);
TSR_API TSR_CHECKED tsr_error
tsr_audio_describe_packet(tsr_context *context, const void *extradata,
                          size_t extradata_bytes, const void *data, size_t bytes,
                          tsr_audio_packet *packet);

/** Reads the stream without decoding codes; needs no model.  Returns TSR_OK for
 *  damaged streams whose header is sound. */
TSR_API TSR_CHECKED tsr_error tsr_audio_probe(tsr_context *context,
                                              const tsr_source *source,
                                              tsr_audio_info *info);

/** Number and ids of the audio codecs in this build; NULL outside. */
TSR_API const char *tsr_audio_codec_at(int i);

#ifdef __cplusplus
}
#endif
#endif
