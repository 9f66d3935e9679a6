/* SPDX-License-Identifier: BSD-2-Clause */
/* Heads, packets, states and files of sound, with a toy codec. */
#include "tests/fuzz/fuzz_model.h"
#include "tests/audio_toy.h"
#include "codecs/audio/audio.h"
#include "lib/crc32c.h"

enum { ROOM = 4096 };

/* One model for each toy, opened once. */
static tsr_model *toy_file(int which)
{
    static tsr_model *all[TOYS];

    if (!all[which])
        all[which] = fuzz_toy_model(toys[which].id);
    return all[which];
}

/* ---- heads and packets alone: what is read can be written again ---- */

static void try_packet(const tsri_audio_head *head, const uint8_t *data, size_t size)
{
    static size_t lengths[TSR_AUDIO_MAX_CHANNELS * TSR_AUDIO_MAX_BOOKS];
    tsri_audio_packet p;
    const uint8_t *body;
    size_t room;

    if (tsri_audio_packet_get(head, &p, data, size))
        return;
    const uint32_t crc = p.crc;
    FUZZ_CHECK(tsri_audio_packet_room(head, &room));
    uint8_t *out = malloc(room);
    FUZZ_CHECK(out);
    FUZZ_CHECK(tsri_audio_packet_put(head, &p, out) == size - p.left);
    FUZZ_CHECK(!memcmp(out, data, size - p.left) && p.crc == crc);
    FUZZ_CHECK(p.samples >= 1 && p.frames >= 1 && p.frames <= TSR_AUDIO_MAX_FRAMES);
    free(out);
    const int n = tsri_audio_segments(head, p.books);
    if (tsri_audio_lengths_get(&p, lengths, n, &body))
        return;
    for (int i = 0; i < n; body += lengths[i++])
        FUZZ_CHECK(lengths[i] <= (size_t)(data + size - body));
    FUZZ_CHECK(body == data + size);
}

static void try_head(fuzz_input *in)
{
    uint8_t *data = fuzz_copy(in), again[TSRI_AUDIO_HEAD_BYTES];
    const size_t n = in->size < TSRI_AUDIO_HEAD_BYTES ? in->size
                                                      : TSRI_AUDIO_HEAD_BYTES;
    tsri_audio_head head;

    if (!tsri_audio_head_get(fuzz_context(true), &head, data, n)) {
        tsri_audio_head_put(&head, again);
        FUZZ_CHECK(!memcmp(again, data, n));
        try_packet(&head, data + n, in->size - n);
    }
    free(data);
}

/* ---- coders ---- */

static tsr_audio_encoder *encoder(int which, fuzz_input *in)
{
    tsr_audio_settings s;
    tsr_audio_encoder *e;

    tsr_audio_settings_init(&s);
    s.channels = toy_shapes[which].channels * (1 + (int)fuzz_below(in, 3));
    s.books = 1 + (int)fuzz_below(in, 4);
    s.packet_frames = 1 + (int)fuzz_below(in, 250);
    s.droppable = (int)fuzz_below(in, 2);
    s.live = (int)fuzz_below(in, 2);
    s.entropy = fuzz_below(in, 2) ? TSR_AUDIO_ENTROPY_ADAPTIVE
                                  : TSR_AUDIO_ENTROPY_FIXED;
    FUZZ_CHECK(!tsr_audio_encoder_open(&e, fuzz_context(true), toy_file(which), &s));
    return e;
}

static tsr_audio_decoder *decoder(int which, tsr_audio_encoder *e)
{
    tsr_audio_decoder *d;
    const uint8_t *data;
    size_t bytes;

    tsr_audio_encoder_extradata(e, &data, &bytes);
    FUZZ_CHECK(!tsr_audio_decoder_open(&d, fuzz_context(true), toy_file(which), data,
                                       bytes, 0));
    return d;
}

/* Everything that can be pulled, up to a minute or so. */
static void pull(tsr_audio_decoder *d, bool sound)
{
    static float x[ROOM * 6];
    size_t n = 1;

    for (int i = 0; i < 150 && n; i++) {
        const tsr_error error = tsr_audio_decoder_pull(d, x, ROOM, &n);
        FUZZ_CHECK(!error || error == TSR_E_EOF || !sound);
        FUZZ_CHECK(n <= ROOM && (!error || !n));
    }
}

/* Packets of which the first byte is the length. */
static void try_packets(int which, fuzz_input *in)
{
    tsr_audio_encoder *e = encoder(which, in);
    tsr_audio_decoder *d = decoder(which, e);

    for (int i = 0; in->size && i < 20; i++) {
        const size_t want = fuzz_u8(in);
        fuzz_input part = { in->data, want < in->size ? want : in->size };
        uint8_t *copy = fuzz_copy(&part);
        const tsr_error error = tsr_audio_decoder_push(d, copy, part.size);
        FUZZ_CHECK(!error || error == TSR_E_CORRUPT);
        in->data += part.size;
        in->size -= part.size;
        free(copy);
        if (i % 4 == 3)
            pull(d, true);
    }
    FUZZ_CHECK(!tsr_audio_decoder_finish(d));
    pull(d, true);
    tsr_audio_decoder_close(&d);
    tsr_audio_encoder_close(&e);
}

/* A state that was changed here and there, its check value made right. */
static void try_state(int which, fuzz_input *in)
{
    tsr_audio_encoder *e = encoder(which, in);
    tsr_audio_decoder *d = decoder(which, e);
    static float x[ROOM * 6];
    tsr_audio_packet p;

    FUZZ_CHECK(!tsr_audio_encoder_push(e, x, 100 + fuzz_u8(in) * 8));
    while (!tsr_audio_encoder_pull(e, &p) && p.data)
        if (p.number != 1)
            FUZZ_CHECK(!tsr_audio_decoder_push(d, p.data, p.bytes));
    for (int end = 0; end < 2; end++) {
        const size_t bytes = end ? tsr_audio_decoder_state_bytes(d)
                                 : tsr_audio_encoder_state_bytes(e);
        uint8_t *state = malloc(bytes);
        FUZZ_CHECK(state);
        if (end)
            tsr_audio_decoder_state_save(d, state);
        else
            tsr_audio_encoder_state_save(e, state);
        for (int i = 0; in->size && i < 6; i++)
            state[fuzz_u16(in) % bytes] = (uint8_t)fuzz_u8(in);
        tsri_put32(state + bytes - 4, tsri_crc32c(0, state, bytes - 4));
        const tsr_error error = end
            ? tsr_audio_decoder_state_load(d, state, bytes)
            : tsr_audio_encoder_state_load(e, state, bytes);
        FUZZ_CHECK(!error || error == TSR_E_CORRUPT);
        free(state);
    }
    pull(d, false);
    (void)!tsr_audio_encoder_finish(e);
    for (int i = 0; i < 99 && !tsr_audio_encoder_pull(e, &p) && p.data; i++)
        FUZZ_CHECK(p.bytes > 0);
    tsr_audio_decoder_close(&d);
    tsr_audio_encoder_close(&e);
}

/* ---- files ---- */

static tsr_error give(void *cookie, void *data, size_t size, size_t *got)
{
    fuzz_input *in = cookie;

    *got = in->size < size ? in->size : size;
    memcpy(data, in->data, *got);
    in->data += *got;
    in->size -= *got;
    return TSR_OK;
}

static tsr_error begin(void *cookie, int rate, int channels)
{
    (void)cookie;
    FUZZ_CHECK(rate > 0 && channels > 0);
    return TSR_OK;
}

static tsr_error count(void *cookie, const float *samples, size_t n)
{
    uint64_t *left = cookie;
    (void)samples;
    *left -= n < *left ? n : *left;
    return *left ? TSR_OK : TSR_E_IO;
}

static void try_file(int which, fuzz_input *in)
{
    uint64_t left = 1 << 20;
    fuzz_input once = *in, twice = *in;
    const tsr_source first = { &once, give }, second = { &twice, give };
    const tsr_audio_sink sink = { &left, begin, count };
    tsr_audio_info info;

    const tsr_error seen = tsr_audio_probe(fuzz_context(true), &first, &info);
    const tsr_error error = tsr_audio_decode(fuzz_context(true), toy_file(which), NULL,
                                             &second, 0, UINT64_MAX, &sink);
    FUZZ_CHECK(!seen || error);
    if (!seen && info.damaged)
        FUZZ_CHECK(error);
}

void fuzz_target(const uint8_t *data, size_t size)
{
    fuzz_input in = { data, size };
    const uint32_t mode = fuzz_u8(&in);
    const int which = (int)(mode / 4 % TOYS);

    if (mode % 4 == 0)
        try_head(&in);
    else if (mode % 4 == 1)
        try_packets(which, &in);
    else if (mode % 4 == 2)
        try_state(which, &in);
    else
        try_file(which, &in);
}
