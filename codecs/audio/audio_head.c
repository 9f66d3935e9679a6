/* SPDX-License-Identifier: BSD-2-Clause */
#include <math.h>
#include <string.h>
#include "codecs/audio/audio.h"
#include "lib/bytes.h"
#include "lib/crc32c.h"

enum { LIVE = 1, LAYERS = 2 };

void tsri_audio_head_put(const tsri_audio_head *head, uint8_t *out)
{
    memset(out, 0, TSRI_AUDIO_HEAD_BYTES);
    out[0] = (uint8_t)head->codec_number;
    out[1] = (uint8_t)head->channels;
    out[2] = (uint8_t)head->books;
    out[3] = (uint8_t)head->entropy;
    out[4] = (uint8_t)((head->live ? LIVE : 0) | (head->layers ? LAYERS : 0));
    out[5] = (uint8_t)head->group_channels;
    tsri_put16(out + 6, (uint16_t)head->hop);
    tsri_put32(out + 8, (uint32_t)head->rate);
    tsri_put32(out + 12, (uint32_t)head->packet_frames);
    tsri_put32(out + 16, (uint32_t)head->codewords);
    tsri_put32(out + 20, head->segment_frames ? (uint32_t)head->segment_step
                                              : head->seed);
    tsri_put16(out + 24, (uint16_t)head->segment_frames);
    out[26] = (uint8_t)head->side;
    out[27] = (uint8_t)(head->shorter[0] | head->shorter[1] << 4);
}

/* Tables are for books of one size. */
static bool books_fit(const tsri_audio_head *head)
{
    return tsri_codes_shorter_fit(head->codewords, head->shorter) &&
           ((!head->shorter[0] && !head->shorter[1]) ||
            head->entropy == TSR_AUDIO_ENTROPY_FIXED ||
            head->entropy == TSR_AUDIO_ENTROPY_ADAPTIVE);
}

double tsri_audio_frame_bits(int codewords, const int shorter[2], int books)
{
    return log2(tsri_codes_words(codewords, shorter, 0)) +
           (books - 1) * log2(tsri_codes_words(codewords, shorter, 1));
}

/* Segments: all of their three numbers or none, and no gaps between them; a step
 * of at least half of one, so that none but the last two can be cut short by
 * the end of the sound. */
static bool segments_fit(const tsri_audio_head *head)
{
    if (!head->segment_frames)
        return !head->segment_step && !head->side;
    return head->packet_frames % head->segment_frames == 0 &&
           head->side <= TSRI_AUDIO_SIDE_MAX &&
           tsri_audio_step_fits((uint64_t)head->segment_step,
                                (uint64_t)head->segment_frames *
                                    (uint64_t)head->hop);
}

static bool possible(const tsri_audio_head *head)
{
    return head->channels >= 1 && head->channels <= TSR_AUDIO_MAX_CHANNELS &&
           (head->group_channels == 1 || head->group_channels == 2) &&
           head->channels % head->group_channels == 0 && head->books >= 1 &&
           head->books <= TSR_AUDIO_MAX_BOOKS &&
           head->entropy >= TSR_AUDIO_ENTROPY_FIXED &&
           head->entropy <= TSR_AUDIO_ENTROPY_LM &&
           !(head->layers && head->entropy == TSR_AUDIO_ENTROPY_LM) &&
           head->hop >= 1;
}

tsr_error tsri_audio_head_get(tsr_context *ctx, tsri_audio_head *head,
                              const uint8_t *data, size_t size)
{
    if (size != TSRI_AUDIO_HEAD_BYTES)
        return tsri_fail(ctx, TSR_E_CORRUPT, "HEAD has a wrong length");
    const uint32_t rate = tsri_get32(data + 8), frames = tsri_get32(data + 12),
                   words = tsri_get32(data + 16), step = tsri_get32(data + 20);
    if (data[4] & ~(LIVE | LAYERS) || rate < 1 ||
        rate > TSR_AUDIO_MAX_RATE || frames < 1 ||
        frames > TSR_AUDIO_MAX_FRAMES || words < 2 || words > 1 << 16 ||
        step > INT32_MAX)
        return tsri_fail(ctx, TSR_E_CORRUPT, "HEAD has an impossible value");
    const int segment = tsri_get16(data + 24);
    *head = (tsri_audio_head){
        .codec_number = data[0], .channels = data[1], .books = data[2],
        .entropy = (tsr_audio_entropy)data[3], .live = data[4] & LIVE,
        .layers = data[4] & LAYERS, .group_channels = data[5],
        .hop = tsri_get16(data + 6), .rate = (int)rate, .packet_frames = (int)frames,
        .codewords = (int)words, .segment_step = segment ? (int)step : 0,
        .seed = segment ? 0 : step, .segment_frames = segment, .side = data[26],
        .shorter = { data[27] & 15, data[27] >> 4 } };
    if (!possible(head) || !segments_fit(head) || !books_fit(head))
        return tsri_fail(ctx, TSR_E_CORRUPT, "HEAD has an impossible value");
    return TSR_OK;
}

/* ---- packets ---- */

bool tsri_audio_packet_room(const tsri_audio_head *head, size_t *bytes)
{
    const size_t groups = (size_t)tsri_audio_groups(head);
    const size_t units = (size_t)tsri_audio_packet_units(head);
    size_t lengths = groups * (head->layers ? (size_t)head->books : 1);
    size_t side;

    lengths = (lengths + units + 4) * TSRI_VARINT_MAX;
    return tsri_mul(groups * (size_t)head->side, units, &side) &&
           tsri_add(lengths, side, bytes);
}

/* The byte `books` is not protected in layered packets: who cuts layers off
 * changes it. */
static uint32_t check_value(const tsri_audio_head *head, const uint8_t *data,
                            size_t books_at, size_t size)
{
    if (!head->layers)
        return tsri_crc32c(0, data, size);
    return tsri_crc32c(tsri_crc32c(0, data, books_at), data + books_at + 1,
                       size - books_at - 1);
}

size_t tsri_audio_packet_put(const tsri_audio_head *head,
                             tsri_audio_packet *packet, uint8_t *out)
{
    size_t n = tsri_put_varint(out, packet->number);
    const size_t side = (size_t)tsri_audio_groups(head) *
                        (size_t)packet->units * (size_t)head->side;

    n += tsri_put_varint(out + n, packet->samples);
    const size_t books_at = n;
    out[n++] = (uint8_t)packet->books;
    n += tsri_put_varint(out + n, (uint64_t)packet->units);
    for (int i = 0; head->segment_frames && i < packet->units; i++)
        n += tsri_put_varint(out + n, tsri_audio_segment_frames(
            head, (uint64_t)packet->units, (uint64_t)packet->frames,
            packet->last_frames, (uint64_t)i));
    if (side)
        memcpy(out + n, packet->side, side);
    n += side;
    packet->crc = check_value(head, out, books_at, n);
    return n;
}

/* A cursor over hostile bytes; `ok` turns false once and for all. */
typedef struct cursor {
    const uint8_t *data;
    size_t size, at;
    bool ok;
} cursor;

/* A number from low to high. */
static uint64_t take_number(cursor *c, uint64_t low, uint64_t high)
{
    uint64_t v = 0;
    const size_t n = c->ok ? tsri_get_varint(c->data + c->at, c->size - c->at, &v)
                           : 0;
    c->ok = n && v >= low && v <= high;
    c->at += n;
    return v;
}

/* The frames of each segment: full ones, but for the last two of the sound, of
 * which the first reaches at least to the second. */
static void take_segments(cursor *c, const tsri_audio_head *head,
                          tsri_audio_packet *p)
{
    const uint64_t full = (uint64_t)head->segment_frames;
    uint64_t most = full;

    p->frames = 0;
    for (int i = 0; i < p->units; i++) {
        const int after = p->units - 1 - i;
        most = take_number(c, after > 1 ? full
                              : after ? tsri_audio_step_frames(head) : 1, most);
        if (!c->ok)
            return;
        p->last_frames = (int)most;
        p->frames += p->last_frames;
    }
}

/* Samples that the frames of a packet can give. */
static uint64_t most_samples(const tsri_audio_head *head,
                             const tsri_audio_packet *p)
{
    if (!head->segment_frames)
        return tsri_audio_span(head, (uint64_t)p->units);
    const uint64_t last = (uint64_t)p->last_frames * (uint64_t)head->hop;
    const uint64_t step = (uint64_t)head->segment_step;
    return tsri_audio_span(head, (uint64_t)p->units - 1) +
           (last < step ? last : step);
}

tsr_error tsri_audio_packet_get(const tsri_audio_head *head,
                                tsri_audio_packet *p, const uint8_t *data,
                                size_t size)
{
    cursor c = { data, size, 0, true };

    *p = (tsri_audio_packet){ .number = UINT64_MAX };
    const uint64_t number = take_number(&c, 0, UINT32_MAX);
    if (!c.ok)
        return TSR_E_CORRUPT;
    p->number = number;
    p->samples = take_number(&c, 1, UINT64_MAX);
    const size_t books_at = c.at;
    if (!c.ok || c.at == size)
        return TSR_E_CORRUPT;
    p->books = data[c.at++];
    if (p->books < (head->layers ? 1 : head->books) || p->books > head->books)
        return TSR_E_CORRUPT;
    p->units = p->frames =
        (int)take_number(&c, 1, (uint64_t)tsri_audio_packet_units(head));
    if (c.ok && head->segment_frames)
        take_segments(&c, head, p);
    if (!c.ok || p->samples > most_samples(head, p))
        return TSR_E_CORRUPT;
    p->last = p->samples < tsri_audio_packet_span(head);
    const uint64_t side = (uint64_t)tsri_audio_groups(head) *
                          (uint64_t)p->units * (uint64_t)head->side;
    if (side > size - c.at)
        return TSR_E_CORRUPT;
    p->side = data + c.at;
    c.at += (size_t)side;
    p->lengths = data + c.at;
    p->left = size - c.at;
    p->crc = check_value(head, data, books_at, c.at);
    return TSR_OK;
}

tsr_error tsri_audio_lengths_get(const tsri_audio_packet *packet, size_t *bytes,
                                 int segments, const uint8_t **data)
{
    cursor c = { packet->lengths, packet->left, 0, true };
    size_t all = 0;

    for (int i = 0; i < segments - 1; i++) {
        bytes[i] = (size_t)take_number(&c, 0, packet->left);
        if (!c.ok || !tsri_add(all, bytes[i], &all))
            return TSR_E_CORRUPT;
    }
    if (all > packet->left - c.at)
        return TSR_E_CORRUPT;
    bytes[segments - 1] = packet->left - c.at - all;
    *data = packet->lengths + c.at;
    return TSR_OK;
}
