/* SPDX-License-Identifier: BSD-2-Clause */
/* What an audio codec is to the rest of the library: one table of functions.
 * It turns samples of one group of channels into codes and codes into samples,
 * both as streams; packets, entropy coding, groups, concealment, containers and
 * the search for the model are audio.c's work. */
#ifndef TSR_CODECS_AUDIO_CODEC_H
#define TSR_CODECS_AUDIO_CODEC_H
#include <tessera/audio.h>
#include "codecs/audio/codes.h"
#include "lib/core.h"

enum { TSRI_AUDIO_SIDE_MAX = 4 };

/** What an opened model is. */
typedef struct tsri_audio_shape {
    int rate, channels;     /* of one group: 1 or 2 */
    int hop;                /* samples of a frame */
    int books, codewords;   /* codewords: of the largest book, 2..65536 */
    int shorter[2];         /* tsri_codes_words(): those of each book */
    int default_books;      /* where the settings choose nothing */
    int column;             /* frames that stand side by side: packets hold whole
                               columns; 0: as 1 */
    bool segmented;         /* sound is cut into segments coded alone */
    int segment_frames;     /* of a full segment; 0 if not segmented */
    int segment_samples;    /* of a full segment */
    int segment_step;       /* samples from one segment to the next */
    int side;               /* bytes beside the codes of each segment, 0..4 */
    bool seeded;            /* the decoder draws random numbers */
    bool whole;             /* the encoder normalises over the whole sound */
    bool drops_tail;        /* samples after the last whole frame make no frame:
                               audio.c completes it with zeros */
    int decoder_delay;      /* frames a decoder waits for beyond the one it
                               gives out, in the long run */
    double macs_encode, macs_decode; /* per second of sound */
} tsri_audio_shape;

/** May segments that decode to `span` samples follow each other by `step`?  At
 *  least by half of it: so the end of the sound cuts no more than two short. */
static inline bool tsri_audio_step_fits(uint64_t step, uint64_t span)
{
    return step >= 1 && step <= span && step >= span - step;
}

typedef struct tsri_audio_options {
    int books;              /* to search, 1..shape.books (encoder) */
    bool zero_start;        /* see tsri_seq_open() */
    bool lazy;              /* see tsri_seq_push() */
    double window;          /* seconds; whole-sound encoders, 0 = whole */
    int beam;               /* see tsri_search_open() */
    const tsri_codes *codes; /* the model's; encoder */
    uint32_t seed;          /* of random numbers; decoder */
} tsri_audio_options;

typedef struct tsri_audio_codec {
    const char *id;         /* also metadata tessera.codec of its models */
    uint8_t number;         /* 1..62, in streams; fixed for ever; 1, 2 are
                               pictures' */
    int semantic_books;     /* so many of the first books, of all its models,
                               tell what is said; the others how it sounds */

    /** Loads the nets and codebooks of `model` (referenced while open).  What it
     *  makes is constant: several streams may use it. */
    tsr_error (*open)(void **self, tsr_context *ctx, tsr_model *model);
    void (*close)(void **self);
    const tsri_audio_shape *(*shape)(const void *self);
    /** Numbers of a codeword of book 0, and all of them, [codewords][dim] (z may
     *  be NULL); their distances say how much alike codes are.  NULL where a
     *  codec cannot tell. */
    tsr_error (*words)(const void *self, float *z, int *dim);

    /* ---- samples to codes ---- */
    tsr_error (*enc_open)(void **enc, const void *self,
                          const tsri_audio_options *options);
    void (*enc_close)(void **enc);
    /** x: [n][channels], finite.  end: the sound ends; then nothing but take and
     *  close. */
    tsr_error (*enc_push)(void *enc, const float *x, size_t n, bool end);
    /**
     * Takes codes that are ready: at most `room` frames, codes[frames][books];
     * a segmented codec gives one whole segment or nothing (room is then at
     * least segment_frames) and its side bytes.
     * *frames: out; 0: none ready.
     */
    tsr_error (*enc_take)(void *enc, uint16_t *codes, int room, int *frames,
                          uint8_t *side);
    /** Samples that must be pushed before the first frame comes out, and later
     *  beyond the end of a frame (segmented: of a segment). */
    void (*enc_latency)(const void *enc, uint64_t *start, uint64_t *running);
    size_t (*enc_state_bytes)(const void *enc);
    void (*enc_state_save)(const void *enc, uint8_t *state);
    tsr_error (*enc_state_load)(void *enc, const uint8_t *state, size_t bytes);

    /* ---- codes to samples ---- */
    tsr_error (*dec_open)(void **dec, const void *self,
                          const tsri_audio_options *options);
    void (*dec_close)(void **dec);
    /** Are these side bytes of a segment?  Those of dec_push() are.  NULL where
     *  a codec has none, or any will do. */
    bool (*side_good)(const uint8_t *side);
    /** codes: [frames][books], each below its book's codewords; books may change from
     *  call to call, 1..shape.books.  Segmented codecs: exactly one segment a
     *  call, at most segment_frames, and its side bytes.  frames 0 with end: no
     *  more. */
    tsr_error (*dec_push)(void *dec, const uint16_t *codes, int frames, int books,
                          const uint8_t *side, bool end);
    /** At most `room` samples, [n][channels]; *n: out.  In all, hop times the
     *  frames (segmented: until the end of the last segment). */
    tsr_error (*dec_take)(void *dec, float *x, size_t room, size_t *n);
    size_t (*dec_state_bytes)(const void *dec);
    void (*dec_state_save)(const void *dec, uint8_t *state);
    tsr_error (*dec_state_load)(void *dec, const uint8_t *state, size_t bytes);
} tsri_audio_codec;

/** The registry; NULL where there is none. */
const tsri_audio_codec *tsri_audio_codec_by_id(const char *id);
const tsri_audio_codec *tsri_audio_codec_by_number(int number);
#endif
