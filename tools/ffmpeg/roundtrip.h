/* SPDX-License-Identifier: BSD-2-Clause */
/* Sound through a codec and back, as plugins of sound need it: as many samples
 * out as in, at once, whatever the size of the block; later by a constant
 * number of samples.  An instance: one thread at a time; different instances:
 * any threads, they share nothing but the model. */
#ifndef TOOLS_FFMPEG_ROUNDTRIP_H
#define TOOLS_FFMPEG_ROUNDTRIP_H
#include <stddef.h>
#include "tools/ffmpeg/catalog.h"

enum { ROUNDTRIP_CHANNELS = 2, ROUNDTRIP_PORTS = 2 * ROUNDTRIP_CHANNELS + 2 };

typedef struct roundtrip roundtrip;

/** Opens a model for 1 or 2 channels at `rate`; a wrong one is refused at once.
 *  NULL: said once why.  Cost: the nets of both directions, twice, in floats. */
roundtrip *roundtrip_open(const catalog_model *model, int channels, double rate);

/**
 * Where samples and controls are; numbers beyond the last port are ignored.
 * Ports, in this order, each a float or as many as a run has samples:
 *
 * in[channels], out[channels]  may be the same memory
 * bitrate  thousands of bits a second of one channel (of both, where the model
 *          is stereo) before entropy coding; 0 or less: the model's own choice.
 *          Read in the first run of a stream.  May be left out
 * latency  out: samples that the output is later, what
 *          tsr_audio_encoder_latency() says; constant.  May be left out
 */
void roundtrip_connect(roundtrip *r, unsigned long port, float *data);

/** The next run begins a new stream, as after opening; the present one ends, and
 *  its side file is finished. */
void roundtrip_restart(roundtrip *r);

/**
 * Codes n samples of each channel, n may be 0: out is the decoded sound, behind
 * `latency` zeros.  If the codec fails, which is said once, it is the input from
 * then on, as late.
 * $TESSERA_SIDE: a file that the packets are written to, one for each stream.
 */
void roundtrip_run(roundtrip *r, unsigned long n);

/** Finishes the side file; sets *self to NULL, which is allowed. */
void roundtrip_close(roundtrip **self);
#endif
