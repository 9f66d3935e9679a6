/* SPDX-License-Identifier: BSD-2-Clause */
/* A file of moving pictures and sound, with packets of any bytes, for tests. */
#ifndef TSR_TESTS_MEDIA_CASE_H
#define TSR_TESTS_MEDIA_CASE_H
#include <stdbool.h>
#include "tests/memory.h"
#include <tessera/media.h>
#include <tessera/stream.h>
#include <tessera/video.h>
#include "lib/bytes.h"

/** Of all that follows. */
static tsr_context *media_ctx;

/* Extradata by hand: no model is needed to carry packets. */
static inline size_t video_extradata(uint8_t *out, int width)
{
    memset(out, 0x5a, TSR_VIDEO_EXTRADATA_MAX);
    memset(out, 0, 28);
    out[0] = 2;
    out[1] = 3;
    out[2] = 8;
    out[3] = 1;
    tsri_put32(out + 4, (uint32_t)width);
    tsri_put32(out + 8, 48);
    memcpy(out + 60, "a name", 6);
    return 66;
}

static inline size_t sound_extradata(uint8_t *out, int rate)
{
    memset(out, 0x33, TSR_VIDEO_EXTRADATA_MAX);
    memset(out, 0, 28);
    out[0] = 1;
    out[1] = out[2] = out[3] = out[5] = 1;
    tsri_put16(out + 6, 320);
    tsri_put32(out + 8, (uint32_t)rate);
    tsri_put32(out + 12, 10);
    tsri_put32(out + 16, 1024);
    return 60;
}

static uint8_t picture_data[TSR_VIDEO_EXTRADATA_MAX],
    sound_data[TSR_VIDEO_EXTRADATA_MAX];
static tsr_media_stream pictures = { .type = TSR_MEDIA_VIDEO, .time_num = 1,
                                     .time_den = 25, .extradata = picture_data };
static tsr_media_stream sound = { .type = TSR_MEDIA_AUDIO, .time_num = 1,
                                  .time_den = 16000, .extradata = sound_data };

static inline tsr_media_writer *writer_for(mem_file *m, int kind)
{
    const tsr_sink sink = { m, mem_write };
    tsr_media_writer *w;

    assert_int_equal(tsr_media_writer_open(&w, media_ctx, &sink, kind), TSR_OK);
    return w;
}

static inline void add(tsr_media_writer *w, const tsr_media_stream *s, int expected)
{
    int index = -1;

    assert_int_equal(tsr_media_writer_stream(w, s, &index), TSR_OK);
    assert_int_equal(index, expected);
}

static inline tsr_media_reader *reader_for(mem_file *m, bool seeks)
{
    const tsr_source source = { m, mem_read };
    const tsr_seeker seeker = { m, mem_seek, m->size };
    tsr_media_reader *r;

    m->at = 0;
    m->seeks = 1000000;
    assert_int_equal(tsr_media_reader_open(&r, media_ctx, &source,
                                           seeks ? &seeker : NULL), TSR_OK);
    return r;
}

/* Packet i of pictures is at i, of sound at 0.2 s * i. */
enum { FRAMES_OF_FILE = 50, SOUNDS_OF_FILE = 10, SOUND_SPAN = 3200 };

static inline void put(tsr_media_writer *w, int stream, int64_t pts, uint64_t duration,
                uint32_t content)
{
    uint8_t data[200];
    const tsr_media_packet p = { stream, pts, duration, data, content % 150 };
    check_rng rng = { content + 1 };

    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)check_u32(&rng);
    assert_int_equal(tsr_media_writer_packet(w, &p), TSR_OK);
}

static inline void is(const tsr_media_packet *p, int stream, int64_t pts,
               uint64_t duration, uint32_t content)
{
    check_rng rng = { content + 1 };

    assert_int_equal(p->stream, stream);
    assert_true(p->pts == pts);
    assert_true(p->duration == duration);
    assert_int_equal(p->bytes, content % 150);
    for (size_t i = 0; i < p->bytes; i++)
        assert_int_equal(p->data[i], (uint8_t)check_u32(&rng));
}

static inline mem_file film(void)
{
    mem_file m = { 0 };
    tsr_media_writer *w = writer_for(&m, TSR_KIND_MEDIA);

    add(w, &pictures, 0);
    add(w, &sound, 1);
    for (int i = 0; i < FRAMES_OF_FILE; i++) {
        if (i % 5 == 0)
            put(w, 1, i / 5 * SOUND_SPAN, SOUND_SPAN, 1000 + (uint32_t)i);
        put(w, 0, i, 1, (uint32_t)i);
    }
    assert_int_equal(tsr_media_writer_finish(w), TSR_OK);
    tsr_media_writer_close(&w);
    assert_null(w);
    return m;
}

static inline void media_case_open(tsr_context *ctx)
{
    media_ctx = ctx;
    pictures.extradata_bytes = video_extradata(picture_data, 64);
    sound.extradata_bytes = sound_extradata(sound_data, 16000);
}
#endif
