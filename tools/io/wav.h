/* SPDX-License-Identifier: BSD-2-Clause */
/* WAV files in pieces: hours of sound in constant memory, through pipes too.
 * Source: Microsoft, "Multimedia Programming Interface and Data Specifications
 * 1.0" (1991) and "Multiple Channel Audio Data and WAVE Files" (2001);
 * EBU Tech 3306 (RF64), ITU-R BS.2088 (BW64). */
#ifndef TOOLS_IO_WAV_H
#define TOOLS_IO_WAV_H
#include "tools/input.h"
#include "tools/output.h"

enum { WAV_MAX_CHANNELS = 64, WAV_MAX_RATE = 768000 };

/** How samples are stored, little-endian.  As floats full scale is -1..1. */
typedef enum wav_type {
    WAV_NONE, WAV_U8, WAV_S16, WAV_S24, WAV_S32, WAV_FLT, WAV_DBL
} wav_type;

/** A file being read. */
typedef struct wav_reader {
    input *in;
    int rate, channels;
    wav_type type;
    int frame_bytes;
    uint64_t length;    /**< samples of each channel that the head announces
                             and the file can hold; UINT64_MAX: not known */
    uint64_t left;      /**< of them */
    uint64_t missing;   /**< announced, but not there */
    uint64_t bad;       /**< numbers that were NaN or infinite so far */
} wav_reader;

/** Whether a file that begins so is RIFF, RF64 or BW64 with WAVE in it. */
int wav_is(const input *in);

/** Whether the path ends in .wav. */
int wav_named(const char *path);

/**
 * Reads all up to the first sample.
 *
 * PCM of 8 (unsigned), 16, 24 and 32 bits, float of 32 and 64, also as
 * WAVE_FORMAT_EXTENSIBLE; samples of fewer bits than their bytes hold are at
 * the top.  Sizes of 0 and FFFFFFFF mean to the end.  Other chunks are skipped.
 *
 * Returns an exit status; has said what was wrong.
 */
int wav_open(wav_reader *w, input *in);

/** Up to n samples of each channel, interleaved; fewer only at the end.  NaN
 *  and infinities become 0 and are counted.  A sample that is not whole is
 *  left out.  After a failed read in->fault is set. */
size_t wav_read(wav_reader *w, float *x, size_t n);

/** Says what was odd: too few samples, not numbers. */
void wav_warn(const wav_reader *w);

/** A file being written. */
typedef struct wav_writer {
    output *out;
    int rate, channels;
    wav_type type;
    uint64_t samples;   /**< of each channel so far */
    uint64_t clipped;   /**< numbers beyond full scale so far */
    uint64_t base;      /**< where it begins in `out` */
    uint64_t data;      /**< where its samples begin */
} wav_writer;

/** The type that -sample_fmt or -c:a names ("s16" or "pcm_s16le", ...), or
 *  WAV_NONE. */
wav_type wav_type_named(const char *name);

/** Starts a file: rates and channels as above, a type from wav_type_named().
 *  Writing returns 0, or -1 after out->fault. */
int wav_begin(wav_writer *w, output *out, wav_type type, int rate,
              int channels);
/** Adds n samples of each channel, rounded to nearest and clipped. */
int wav_write(wav_writer *w, const float *x, size_t n);
/** Completes the sizes where `out` can be patched (RF64 from 4 GiB on);
 *  elsewhere they stay FFFFFFFF, "to the end". */
int wav_end(wav_writer *w);
#endif
