/* SPDX-License-Identifier: BSD-2-Clause */
#include <math.h>
#include <string.h>
#include <strings.h>
#include "tools/io/wav.h"
#include "tools/say.h"

enum { TAG_PCM = 1, TAG_FLOAT = 3, TAG_EXTENSIBLE = 0xFFFE,
       FMT_MAX = 64, BLOCK = 4096 };

/* Recorders that write to a pipe announce about as much as fits. */
static const uint64_t absurd = 0x7FFF0000;

static const int type_bytes[] = { 0, 1, 2, 3, 4, 4, 8 };

/* What the chunks in front of the samples said. */
typedef struct layout {
    int rf64;
    uint64_t riff;          /* bytes of the RIFF chunk; 0: not known */
    uint64_t position;      /* in the file */
    uint64_t data64;        /* bytes of samples, of ds64 */
} layout;

static uint32_t le16(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8;
}

static uint32_t le32(const uint8_t *p)
{
    return le16(p) | le16(p + 2) << 16;
}

static uint64_t le64(const uint8_t *p)
{
    return le32(p) | (uint64_t)le32(p + 4) << 32;
}

int wav_is(const input *in)
{
    const uint8_t *p = in->head;
    return in->head_size >= 12 && !memcmp(p + 8, "WAVE", 4) &&
           (!memcmp(p, "RIFF", 4) || !memcmp(p, "RF64", 4) ||
            !memcmp(p, "BW64", 4));
}

int wav_named(const char *path)
{
    const size_t n = strlen(path);
    return n > 4 && !strcasecmp(path + n - 4, ".wav");
}

static int damaged(const wav_reader *w, const char *what)
{
    return w->in->fault ? input_failed(w->in)
                        : say_error(RC_INPUT, w->in->name, "WAV: %s", what);
}

static int take(wav_reader *w, layout *y, void *data, size_t n)
{
    y->position += n;
    return input_read(w->in, data, n) == n
        ? RC_OK : damaged(w, "ends before its samples");
}

static int skip(wav_reader *w, layout *y, uint64_t n)
{
    uint8_t block[BLOCK];
    while (n) {
        const size_t part = n < sizeof block ? (size_t)n : sizeof block;
        if (take(w, y, block, part))
            return RC_INPUT;
        n -= part;
    }
    return RC_OK;
}

static int set_type(wav_reader *w, unsigned tag, unsigned bytes, unsigned bits)
{
    if (tag == TAG_FLOAT)
        w->type = bytes == 4 && bits == 32 ? WAV_FLT
            : bytes == 8 && bits == 64 ? WAV_DBL : WAV_NONE;
    else if (bits >= 1 && bits <= 8 * bytes && bytes <= 4)
        w->type = bytes == 1 ? WAV_U8 : bytes == 2 ? WAV_S16
            : bytes == 3 ? WAV_S24 : WAV_S32;
    return w->type ? RC_OK : say_error(RC_INPUT, w->in->name, "WAV: samples of"
                                       " %u bits in %u bytes are not read",
                                       bits, bytes);
}

static int read_fmt(wav_reader *w, layout *y, uint32_t size)
{
    uint8_t p[FMT_MAX] = { 0 };
    unsigned tag, align;

    if (size < 16 || size > FMT_MAX)
        return damaged(w, "the fmt chunk has an unlikely size");
    if (take(w, y, p, size))
        return RC_INPUT;
    tag = le16(p);
    if (tag == TAG_EXTENSIBLE) {
        if (size < 40)
            return damaged(w, "the fmt chunk is too short");
        tag = le16(p + 24);
    }
    if (tag != TAG_PCM && tag != TAG_FLOAT)
        return say_error(RC_INPUT, w->in->name, "WAV: samples of format %04X"
                         " hex are not PCM; ffmpeg makes PCM of them", tag);
    w->channels = (int)le16(p + 2);
    align = le16(p + 12);
    if (w->channels < 1 || w->channels > WAV_MAX_CHANNELS)
        return say_error(RC_INPUT, w->in->name, "WAV: %d channels; 1 to %d are"
                         " read", w->channels, WAV_MAX_CHANNELS);
    if (!le32(p + 4) || le32(p + 4) > WAV_MAX_RATE)
        return say_error(RC_INPUT, w->in->name, "WAV: a sampling rate of %u Hz;"
                         " 1 to %d are read", (unsigned)le32(p + 4),
                         WAV_MAX_RATE);
    w->rate = (int)le32(p + 4);
    if (!align || align % (unsigned)w->channels)
        return damaged(w, "the block size does not fit the channels");
    w->frame_bytes = (int)align;
    return set_type(w, tag, align / (unsigned)w->channels, le16(p + 14));
}

static int read_ds64(wav_reader *w, layout *y, uint32_t size)
{
    uint8_t p[24];
    if (size < sizeof p)
        return damaged(w, "the ds64 chunk is too short");
    if (take(w, y, p, sizeof p))
        return RC_INPUT;
    y->riff = le64(p);
    y->data64 = le64(p + 8);
    return skip(w, y, size - sizeof p);
}

/* The data chunk announces `size` bytes; what is believed of that. */
static void set_length(wav_reader *w, const layout *y, uint32_t size)
{
    const uint64_t there = input_left(w->in);
    uint64_t bytes = size;

    if (y->rf64 && size == UINT32_MAX)
        bytes = y->data64;
    /* No samples, and other chunks to come: that is what it means.  Otherwise
     * it was not known when the head was written. */
    if ((!bytes && (!y->riff || y->riff + 8 <= y->position)) ||
        bytes == UINT32_MAX || (there == UINT64_MAX && bytes >= absurd))
        bytes = there;
    w->length = bytes == UINT64_MAX ? bytes : bytes / (unsigned)w->frame_bytes;
    if (there < bytes) {
        w->length = there / (unsigned)w->frame_bytes;
        w->missing = bytes / (unsigned)w->frame_bytes - w->length;
    }
    w->left = w->length;
}

/* Chunk after chunk, until the one with the samples. */
static int read_chunks(wav_reader *w, layout *y)
{
    for (;;) {
        uint8_t p[8];
        uint32_t size;
        int rc;
        if (input_read(w->in, p, sizeof p) != sizeof p)
            return damaged(w, w->type ? "has no data chunk"
                                      : "ends before its samples");
        y->position += sizeof p;
        size = le32(p + 4);
        if (!memcmp(p, "data", 4)) {
            if (!w->type)
                return damaged(w, "no fmt chunk in front of the samples");
            set_length(w, y, size);
            return RC_OK;
        }
        if (!memcmp(p, "fmt ", 4) && !w->type)
            rc = read_fmt(w, y, size);
        else if (!memcmp(p, "ds64", 4) && y->rf64)
            rc = read_ds64(w, y, size);
        else
            rc = skip(w, y, size);
        if (!rc && size % 2)
            rc = skip(w, y, 1);
        if (rc)
            return rc;
    }
}

int wav_open(wav_reader *w, input *in)
{
    uint8_t p[12];
    layout y = { 0 };
    uint32_t size;

    *w = (wav_reader){ .in = in };
    if (!wav_is(in))
        return say_error(RC_INPUT, in->name, "%s", !in->head_size
            ? "the file is empty"
            : !memcmp(in->head, "RIFX", 4) ? "WAV: big-endian RIFX is not read"
            : "is no WAV file");
    if (take(w, &y, p, sizeof p))
        return RC_INPUT;
    y.rf64 = p[1] != 'I';
    size = le32(p + 4);
    y.riff = size == UINT32_MAX ? 0 : size;
    return read_chunks(w, &y);
}

static int32_t signed_at(const uint8_t *p, int bytes)
{
    uint32_t bits = 0;
    for (int i = 0; i < bytes; i++)
        bits |= (uint32_t)p[i] << (32 - 8 * bytes + 8 * i);
    return bits > INT32_MAX ? (int32_t)(bits - INT32_MAX - 1) + INT32_MIN
                            : (int32_t)bits;
}

static float one(wav_reader *w, const uint8_t *p)
{
    float narrow;
    double wide;
    uint64_t bits;

    switch (w->type) {
    case WAV_U8:
        return (float)(p[0] - 128) / 128;
    case WAV_S16:
    case WAV_S24:
    case WAV_S32:
        return (float)signed_at(p, type_bytes[w->type]) / 2147483648.0f;
    case WAV_FLT:
        bits = le32(p);
        memcpy(&narrow, &(uint32_t){ (uint32_t)bits }, sizeof narrow);
        break;
    default:
        bits = le64(p);
        memcpy(&wide, &bits, sizeof wide);
        narrow = fabs(wide) < 3e38 ? (float)wide : NAN;
    }
    if (isfinite(narrow))
        return narrow;
    w->bad++;
    return 0;
}

size_t wav_read(wav_reader *w, float *x, size_t n)
{
    const int bytes = type_bytes[w->type];
    const size_t frame = (size_t)w->frame_bytes;
    uint8_t block[BLOCK];
    size_t done = 0;

    while (done < n && w->left) {
        size_t want = n - done < BLOCK / frame ? n - done : BLOCK / frame, got;
        if (want > w->left)
            want = (size_t)w->left;
        got = input_read(w->in, block, want * frame) / frame;
        for (size_t i = 0; i < got * (size_t)w->channels; i++)
            *x++ = one(w, block + i * (size_t)bytes);
        done += got;
        if (w->left != UINT64_MAX)
            w->left -= got;
        if (got < want) {
            w->missing += w->left == UINT64_MAX ? 0 : w->left;
            w->left = 0;
        }
    }
    return done;
}

void wav_warn(const wav_reader *w)
{
    if (w->missing && !output_stopped())
        say_warning(w->in->name, "is cut short: %llu of its samples are"
                    " missing", (unsigned long long)w->missing);
    if (w->bad)
        say_warning(w->in->name, "%llu samples are NaN or infinite and count"
                    " as 0", (unsigned long long)w->bad);
}
