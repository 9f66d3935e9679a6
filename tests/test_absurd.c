/* SPDX-License-Identifier: BSD-2-Clause */
/* Heads that promise more than any machine has, one of each format, with right
 * checksums: they are refused, or read as far as they go, and what that takes stays
 * small.  Each in a process of its own, whose memory is measured. */
#include "tests/check.h"
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>
#include <tessera/entropy.h>
#include <tessera/image.h>
#include <tessera/kv.h>
#include <tessera/kv_cachegen.h>
#include <tessera/kv_chunk.h>
#include <tessera/media.h>
#include <tessera/video.h>
#include "tests/audio_toy.h"
#include "tests/image_toy.h"
#include "tests/memory.h"
#include "codecs/audio/audio.h"
#include "codecs/audio/ecdc.h"
#include "lib/bytes.h"
#include "lib/checkpoint.h"
#include "lib/crc32c.h"
#include "tools/io/array.h"
#include "tools/media/in.h"
#include "tools/say.h"

/* A pickle machine may have 2^21 values of 40 bytes, and what belongs to them. */
enum { PIXELS = 1 << 22, ROOM = 48, PICKLE_ROOM = 256 /* MiB */, SECONDS = 20,
       CRASHED = 99 };

static tsr_context *ctx;
static tsr_model *toy;
static char name[64];

static tsr_source source_of(mem_file *m)
{
    m->at = 0;
    return (tsr_source){ m, mem_read };
}

static const char *write_file(const char *ending, const void *data, size_t size)
{
    snprintf(name, sizeof name, "./test_absurd_%ld%s", (long)getpid(), ending);
    FILE *f = fopen(name, "wb");
    assert_true(f && fwrite(data, 1, size, f) == size && !fclose(f));
    return name;
}

static tsr_error open_model(tsr_model **model, const char *head, uint64_t length)
{
    uint8_t data[512] = { 0 };
    const size_t n = strlen(head);

    tsri_put64(data, length ? length : n);
    memcpy(data + 8, head, n);
    const tsr_error error = tsr_model_open(model, ctx, write_file(".safetensors", data,
                                                                  8 + n + 1));
    remove(name);
    return error;
}

/* ---- the container and what is in it ---- */

/* A file of one chunk after another, which need no content. */
static tsr_stream_writer *begin(mem_file *m, int kind)
{
    const tsr_sink sink = { m, mem_write };
    tsr_stream_writer *w;

    assert_false(tsr_stream_writer_open(&w, ctx, &sink, kind));
    return w;
}

static void chunk(tsr_stream_writer *w, const char type[5], const void *data, size_t n)
{
    assert_false(tsr_stream_writer_chunk(w, TSR_FOURCC(type[0], type[1], type[2],
                                                       type[3]), 0, 0, data, n));
}

static tsr_error container(void)
{
    uint8_t head[48] = { 'T', 'S', 'R', 'K', 'D', 'A', 'T', 'A' };
    mem_file m = { .data = NULL };
    tsr_stream_writer *w = begin(&m, TSR_KIND_GENERIC);
    const tsr_source source = source_of(&m);
    tsr_stream_reader *r;
    tsr_chunk c;

    tsr_stream_writer_close(&w);
    memset(head + 8, 0xff, 4);          /* 2^62 bytes of payload */
    tsri_put64(head + 12, (uint64_t)1 << 62);
    tsri_put32(head + 28, tsri_crc32c(0, head, 28));
    assert_false(mem_write(&m, head, sizeof head));
    TSR_TRY(tsr_stream_reader_open(&r, ctx, &source));
    return tsr_stream_reader_next(r, &c);
}

static tsr_error read_picture(mem_file *m)
{
    const tsr_source source = source_of(m);
    tsr_image_info info;
    tsr_image im;

    (void)!tsr_image_probe(ctx, &source, &info);
    m->at = 0;
    return tsr_image_decode(ctx, toy, NULL, &source, &im);
}

static tsr_error picture(void)
{
    uint8_t head[18] = { IMAGE_TOY_NUMBER, 4, 16, 2 };
    static const uint8_t unit[] = { 0, 0 };
    mem_file m = { .data = NULL };
    tsr_stream_writer *w = begin(&m, TSR_KIND_IMAGE);

    for (int i = 4; i < 16; i += 4)
        tsri_put32(head + i, INT32_MAX);
    head[16] = 50;
    head[17] = IMAGE_TOY_MARK;
    chunk(w, "HEAD", head, sizeof head);
    chunk(w, "MODL", tsr_model_hash(toy), TSR_MODEL_HASH_BYTES);
    chunk(w, "DATA", unit, sizeof unit);
    assert_false(tsr_stream_writer_finish(w));
    tsr_stream_writer_close(&w);
    return read_picture(&m);
}

static tsr_error compact(void)
{
    static uint8_t data[] = { 0xc7, 0x54, IMAGE_TOY_NUMBER << 2, 0, 0, 0, 0,
                              0xfe, 0xff, 0xff, 0xff, 7, 0xfe, 0xff, 0xff, 0xff, 7,
                              50, IMAGE_TOY_MARK, 0xff, 0xff, 0xff, 0xff, 7 };
    mem_file m = { .data = data, .size = sizeof data };

    return read_picture(&m);
}

static tsr_error alpha(void)
{
    uint8_t head[18] = { IMAGE_TOY_NUMBER, 4, 16, 2 };
    uint8_t band[64] = { 0, 0x80, 0x10, 0x78, 0x9c };   /* rows 0 .. 2047 */
    static const uint8_t unit[] = { 0, 0 };
    mem_file m = { .data = NULL };
    tsr_stream_writer *w = begin(&m, TSR_KIND_IMAGE);

    tsri_put32(head + 4, 2048);
    tsri_put32(head + 8, 2048);
    tsri_put32(head + 12, 256 * 256);
    head[16] = 50;
    head[17] = IMAGE_TOY_MARK;
    chunk(w, "HEAD", head, sizeof head);
    chunk(w, "MODL", tsr_model_hash(toy), TSR_MODEL_HASH_BYTES);
    chunk(w, "DATA", unit, sizeof unit);
    for (int i = 0; i < 50; i++)
        chunk(w, "ALPH", band, sizeof band);
    assert_false(tsr_stream_writer_finish(w));
    tsr_stream_writer_close(&w);
    return read_picture(&m);
}

static tsr_error video(void)
{
    uint8_t data[92] = { IMAGE_TOY_NUMBER, 4, 16, 2 };
    tsr_video_decoder *d;

    tsri_put32(data + 4, INT32_MAX);
    tsri_put32(data + 8, INT32_MAX);
    return tsr_video_decoder_open(&d, ctx, NULL, data, sizeof data);
}

static tsr_error media(void)
{
    uint8_t stream[12] = { 1 }, head[28];
    mem_file m = { .data = NULL };
    tsr_stream_writer *w = begin(&m, TSR_KIND_MEDIA);
    const tsr_source source = { &m, mem_read };
    tsr_media_reader *r;

    memset(head, 0xff, sizeof head);
    tsri_put32(stream + 4, 1);
    tsri_put32(stream + 8, UINT32_MAX);
    for (int i = 0; i < 2000; i++) {
        assert_false(tsr_stream_writer_chunk(w, TSR_FOURCC('S', 'T', 'R', 'M'), i, 0,
                                             stream, sizeof stream));
        assert_false(tsr_stream_writer_chunk(w, TSR_FOURCC('H', 'E', 'A', 'D'), i, 0,
                                             head, sizeof head));
    }
    tsr_stream_writer_close(&w);
    return tsr_media_reader_open(&r, ctx, &source, NULL);
}

/* 64 channels of 64 books, and packets of 65536 frames that say they are full. */
static tsr_error sound(void)
{
    uint8_t head[28] = { 51, 64, 64, 1, 2, 1 }, packet[64];
    tsri_audio_head h;
    tsri_audio_packet p;
    size_t room;

    tsri_put16(head + 6, UINT16_MAX);
    tsri_put32(head + 8, 384000);
    tsri_put32(head + 12, 65536);
    tsri_put32(head + 16, 65536);
    TSR_TRY(tsri_audio_head_get(ctx, &h, head, sizeof head));
    memset(packet, 0xff, sizeof packet);
    packet[0] = 0;
    (void)!tsri_audio_packet_room(&h, &room);
    return tsri_audio_packet_get(&h, &p, packet, sizeof packet);
}

/* ---- caches and arrays ---- */

static tsr_error kv(void)
{
    uint8_t data[512] = { 0x89, 'T', 'K', 'V', 1, 0, 0, 1 };
    tsr_kv_info info;

    tsri_put16(data + 8, 1024);
    data[10] = 2;
    data[11] = 3;
    for (int i = 12; i < 16; i += 2) {
        tsri_put16(data + i, 1024);
        tsri_put16(data + i + 4, 16);
    }
    tsri_put32(data + 20, 1 << 20);
    tsri_put16(data + 28, 32);
    tsri_put16(data + 30, 32);
    tsri_put32(data + 32, 0x3f800000);
    tsri_put32(data + 36, 0x3f800000);
    tsri_put32(data + 44, 2048);
    tsri_put64(data + 56, (uint64_t)1 << 60);
    return tsr_kv_probe(ctx, data, sizeof data, &info);
}

static tsr_error kv_chunk(void)
{
    uint8_t data[TSR_KV_CHUNK_HEAD + 160];
    tsr_kv_chunk c;

    memset(data, 0xff, sizeof data);
    return tsr_kv_chunk_probe(ctx, data, sizeof data, &c);
}

/* A pickle whose bytes object has 2^62 bytes. */
static tsr_error cachegen(void)
{
    uint8_t data[64] = { 0x80, 4, 0x8e };
    tsr_cachegen_info info;

    tsri_put64(data + 3, (uint64_t)1 << 62);
    return tsr_cachegen_probe(ctx, data, sizeof data, &info);
}

static tsr_error symbols(void)
{
    uint8_t data[64];
    tsr_symbols_info info;

    memset(data, 0xff, sizeof data);
    for (int first = 0; first < 256; first++) {
        data[0] = (uint8_t)first;
        if (!tsr_symbols_probe(data, sizeof data, &info) && info.count < 1000)
            return TSR_OK;
    }
    return TSR_E_CORRUPT;
}

/* ---- models and checkpoints ---- */

static tsr_error long_head(void)
{
    tsr_model *model;
    return open_model(&model, "{", (uint64_t)1 << 62);
}

static tsr_error large_tensor(void)
{
    tsr_model *model;
    return open_model(&model, "{\"a\":{\"dtype\":\"F64\",\"shape\":[4294967296,"
                      "4294967296,2],\"data_offsets\":[0,18446744073709551615]}}", 0);
}

static tsr_error open_checkpoint(const void *data, size_t size)
{
    tsri_checkpoint *cp;
    return tsri_checkpoint_open_memory(&cp, ctx, data, size, "absurd");
}

static tsr_error gguf(void)
{
    uint8_t data[64] = { 'G', 'G', 'U', 'F', 3 };

    tsri_put64(data + 8, (uint64_t)1 << 62);
    tsri_put64(data + 16, (uint64_t)1 << 62);
    return open_checkpoint(data, sizeof data);
}

/* Names, arrays of arrays: each says that it is longer than the file. */
static tsr_error gguf_array(void)
{
    uint8_t data[128] = { 'G', 'G', 'U', 'F', 3 };

    tsri_put64(data + 16, 1);
    tsri_put64(data + 24, 1);
    data[32] = 'k';
    tsri_put32(data + 33, 9);
    tsri_put32(data + 37, 8);
    tsri_put64(data + 41, UINT64_MAX / 8);
    return open_checkpoint(data, sizeof data);
}

static tsr_error numpy(void)
{
    static const char text[] = "\x93NUMPY\1\0\x76\0{'descr': '<f8', 'fortran_order': "
        "False, 'shape': (4294967296, 4294967296), }\n";
    char data[138];

    memset(data, ' ', sizeof data);
    memcpy(data, text, sizeof text - 1);
    data[127] = '\n';
    return open_checkpoint(data, sizeof data);
}

static tsr_error pickle(void)
{
    uint8_t data[64] = { 0x80, 4, 0x8d };
    tsri_checkpoint *cp;

    tsri_put64(data + 3, (uint64_t)1 << 62);
    return tsri_checkpoint_open_pickle(&cp, ctx, data, sizeof data, "absurd");
}

/* Lists in lists, 2^24 deep. */
static tsr_error deep_pickle(void)
{
    enum { DEEP = 1 << 24 };
    uint8_t *data = malloc(DEEP + 3);
    tsri_checkpoint *cp;

    assert_non_null(data);
    memset(data, ']', DEEP);
    data[0] = 0x80;
    data[1] = 4;
    memset(data + DEEP, 'a', 2);
    data[DEEP + 2] = '.';
    const tsr_error error = tsri_checkpoint_open_pickle(&cp, ctx, data, DEEP + 3,
                                                        "absurd");
    free(data);
    return error;
}

static tsr_error ecdc(void)
{
    static const char text[] = "{\"m\":\"encodec_24khz\",\"al\":18446744073709551615,"
        "\"nc\":4294967295,\"lm\":true}";
    uint8_t data[256] = { 'E', 'C', 'D', 'C' };
    tsri_ecdc_head head;
    size_t used;

    memcpy(data + 9, text, sizeof text);
    for (uint64_t n = 64; n; n = n == 64 ? UINT32_MAX : 0) {
        for (int i = 0; i < 4; i++)     /* high byte first */
            data[5 + i] = (uint8_t)(n >> (24 - 8 * i));
        const tsr_error error = tsri_ecdc_get_head(ctx, &head, data, sizeof data,
                                                   &used);
        if (!error)
            return error;
    }
    return TSR_E_CORRUPT;
}

/* ---- what the program reads ---- */

/* Every item of a file; TSR_OK: the program would go on. */
static tsr_error read_input(const void *data, size_t size)
{
    args a = { .max_pixels = PIXELS };
    media_in_item item;
    media_in *m = NULL;
    input in;
    int end = 0, rc = input_open(&in, write_file("", data, size));

    remove(name);
    assert_int_equal(rc, RC_OK);
    rc = media_in_open(&m, ctx, &a, &in, NULL);
    while (!rc && !end)
        rc = media_in_next(m, &item, &end);
    if (!rc)
        rc = media_in_finish(m);
    return rc ? TSR_E_CORRUPT : TSR_OK;
}

static tsr_error pnm(void)
{
    static const char data[] = "P6\n2147483647 2147483647\n65535\n";
    return read_input(data, sizeof data - 1);
}

static tsr_error png(void)
{
    uint8_t data[49] = "\x89PNG\r\n\x1a\n\0\0\0\rIHDR\x7f\xff\xff\xff\x7f\xff\xff\xff"
                       "\x10\6\0\0\0";
    const uint32_t crc = (uint32_t)crc32(0, data + 12, 17);

    for (int i = 0; i < 4; i++)
        data[29 + i] = (uint8_t)(crc >> (24 - 8 * i));
    memcpy(data + 33, "\0\0\0\4IDAT", 8);
    return read_input(data, sizeof data);
}

static tsr_error y4m(void)
{
    static const char data[] = "YUV4MPEG2 W32000 H32000 F25:1 "
                               "C444p16\nFRAME\n";
    return read_input(data, sizeof data - 1);
}

/* 64 channels of 2^62 bytes; what is missing is said, and is no failure. */
static tsr_error wave(void)
{
    uint8_t data[100] = "RF64\xff\xff\xff\xffWAVEds64\x1c\0\0\0";

    tsri_put64(data + 20, (uint64_t)1 << 62);
    tsri_put64(data + 28, (uint64_t)1 << 62);
    memcpy(data + 48, "fmt \x10\0\0\0\1\0\x40\0", 12);
    tsri_put32(data + 60, 768000);
    tsri_put32(data + 64, 768000 * 128);
    tsri_put32(data + 68, 128 | 16 << 16);
    memcpy(data + 72, "data\xff\xff\xff\xff", 8);
    (void)!read_input(data, sizeof data);
    return TSR_E_TRUNCATED;
}

static tsr_error npy_array(void)
{
    static const char text[] = "\x93NUMPY\1\0\x76\0{'descr': '<f4', 'fortran_order': "
        "False, 'shape': (1073741824, 4294967296), }\n";
    char data[138];
    array a;

    memset(data, ' ', sizeof data);
    memcpy(data, text, sizeof text - 1);
    data[127] = '\n';
    const int rc = array_open(&a, ctx, write_file(".npy", data, sizeof data), NULL);
    remove(name);
    return rc ? TSR_E_CORRUPT : TSR_OK;
}

static const struct { const char *what; tsr_error (*read)(void); int room; } cases[] = {
    { "container: a chunk of 2^62 bytes", container, ROOM },
    { "picture of 2^31 x 2^31", picture, ROOM },
    { "picture, compact form, of 2^31 x 2^31", compact, ROOM },
    { "alpha: many bands", alpha, ROOM },
    { "video of 2^31 x 2^31", video, ROOM },
    { "media: 2000 streams", media, ROOM },
    { "sound: 64 channels, 64 books, 65536 frames", sound, ROOM },
    { "KV object: 2^60 bytes", kv, ROOM },
    { "KV chunk", kv_chunk, ROOM },
    { "CacheGen: 2^62 bytes", cachegen, ROOM },
    { "array of symbols", symbols, ROOM },
    { "safetensors: head of 2^62 bytes", long_head, ROOM },
    { "safetensors: tensor of 2^68 bytes", large_tensor, ROOM },
    { "GGUF: 2^62 tensors", gguf, ROOM },
    { "GGUF: array of 2^61 texts", gguf_array, ROOM },
    { "npy as a checkpoint: 2^67 bytes", numpy, ROOM },
    { "pickle: text of 2^62 bytes", pickle, ROOM },
    { "pickle: lists 2^24 deep", deep_pickle, PICKLE_ROOM },
    { "ecdc: 2^64 samples, head of 2^32 bytes", ecdc, ROOM },
    { "PNM of 2^31 x 2^31", pnm, ROOM },
    { "PNG of 2^31 x 2^31", png, ROOM },
    { "y4m of 2^30 pixels", y4m, ROOM },
    { "WAV of 2^62 bytes", wave, ROOM },
    { "npy of 2^64 bytes", npy_array, ROOM },
};
enum { CASES = sizeof cases / sizeof *cases };

/* What becomes of a child that may take `room` MiB: 0 it refused, 1 it took what it
 * was given, 2 it took too much memory, else it crashed or did not come to its end. */
static int measure(tsr_error (*read)(void), int room)
{
    struct rusage before, after;
    int status;

    fflush(stdout);
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (!pid) {
        alarm(SECONDS);
        getrusage(RUSAGE_SELF, &before);
        const tsr_error error = read();
        getrusage(RUSAGE_SELF, &after);
        _exit((after.ru_maxrss - before.ru_maxrss) >> 10 > room ? 2 : !error);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : CRASHED;
}

static void test_heads(void **state)
{
    static const char *const words[] = { "was taken", "took too much memory" };
    int wrong = 0;

    (void)state;
    for (int i = 0; i < CASES; i++) {
        const int said = measure(cases[i].read, cases[i].room);
        if (said)
            print_message("# %s: %s\n", cases[i].what,
                          said <= 2 ? words[said - 1] : "no end, or a bad one");
        wrong += said != 0;
    }
    assert_int_equal(wrong, 0);
}

/* That the measure measures. */
static tsr_error greedy(void)
{
    volatile char *memory = malloc((size_t)4 * ROOM << 20);

    assert_non_null(memory);
    for (size_t i = 0; i < (size_t)4 * ROOM << 20; i += 1 << 12)
        memory[i] = 1;
    return TSR_E_CORRUPT;
}

static void test_measure(void **state)
{
    (void)state;
    assert_int_equal(measure(greedy, ROOM), 2);
}

static int setup(void **state)
{
    tsr_context_settings s;

    (void)state;
    say_set_level("quiet");
    tsr_context_settings_init(&s);
    s.max_pixels = PIXELS;
    return tsr_context_open(&ctx, &s) ||
        open_model(&toy, "{\"__metadata__\":{\"tessera.codec\":\"toy\"},\"x\":{\"dtype\":"
                   "\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 0);
}

static int teardown(void **state)
{
    (void)state;
    tsr_model_unref(&toy);
    tsr_context_close(&ctx);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_measure),
        cmocka_unit_test(test_heads),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
