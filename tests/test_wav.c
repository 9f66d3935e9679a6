/* SPDX-License-Identifier: BSD-2-Clause */
/* WAV files: all kinds of samples and heads, damage, pipes, what is written. */
#include "tests/check.h"
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>
#include "tools/io/wav.h"
#include "tools/say.h"

enum { FILE_MAX = 1 << 16 };

static char folder[] = "test_wav-XXXXXX";
static char path[64];

/* A file being put together. */
typedef struct bytes { uint8_t p[FILE_MAX]; size_t n; } bytes;

static void put(bytes *b, uint64_t value, int size)
{
    for (int i = 0; i < size; i++)
        b->p[b->n++] = (uint8_t)(value >> 8 * i);
}

static void text(bytes *b, const char *four)
{
    memcpy(b->p + b->n, four, 4);
    b->n += 4;
}

static void put_fmt(bytes *b, unsigned tag, unsigned channels, unsigned rate,
                    unsigned size, unsigned bits)
{
    text(b, "fmt ");
    put(b, 16, 4);
    put(b, tag, 2);
    put(b, channels, 2);
    put(b, rate, 4);
    put(b, (uint64_t)rate * channels * size, 4);
    put(b, channels * size, 2);
    put(b, bits, 2);
}

/* Head of a file with `data` bytes of samples to come. */
static bytes head(unsigned tag, unsigned channels, unsigned rate, unsigned size,
                  unsigned bits, uint32_t data)
{
    bytes b = { .n = 0 };
    text(&b, "RIFF");
    put(&b, data ? 36 + data : 36, 4);
    text(&b, "WAVE");
    put_fmt(&b, tag, channels, rate, size, bits);
    text(&b, "data");
    put(&b, data, 4);
    return b;
}

static void save(const bytes *b)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(b->p, 1, b->n, f), b->n);
    fclose(f);
}

/* Opens from a file, or through a pipe that is standard input. */
static int open_as(const bytes *b, int piped, input *in, wav_reader *w)
{
    int ends[2], rc;
    if (!piped) {
        save(b);
        rc = input_open(in, path);
    } else {
        assert_int_equal(pipe(ends), 0);
        assert_int_equal(write(ends[1], b->p, b->n), b->n);
        close(ends[1]);
        assert_int_equal(dup2(ends[0], 0), 0);
        close(ends[0]);
        rc = input_open(in, "-");
    }
    return rc ? rc : wav_open(w, in);
}

/* All samples of a file, in pieces of an odd size. */
static size_t read_all(const bytes *b, int piped, float *x, wav_reader *w)
{
    input in;
    size_t n = 0, got;
    assert_int_equal(open_as(b, piped, &in, w), RC_OK);
    while ((got = wav_read(w, x + n * (size_t)w->channels, 7)))
        n += got;
    input_close(&in);
    w->in = NULL;
    return n;
}

static void test_types(void **state)
{
    static const struct {
        unsigned tag, size, bits;
        uint64_t low, one, high;    /* -1, half, and the largest below 1 */
        double top;
    } types[] = {
        { 1, 1, 8, 0, 192, 255, 127.0 / 128 },
        { 1, 2, 16, 0x8000, 0x4000, 0x7fff, 32767.0 / 32768 },
        { 1, 2, 12, 0x8000, 0x4000, 0x7ff0, 2047.0 / 2048 },
        { 1, 3, 24, 0x800000, 0x400000, 0x7fffff, 8388607.0 / 8388608 },
        { 1, 4, 24, 0x80000000, 0x40000000, 0x7fffff00, 8388607.0 / 8388608 },
        { 1, 4, 32, 0x80000000, 0x40000000, 0x7fffff80, 1 - 1.0 / (1 << 24) },
        { 3, 4, 32, 0xbf800000, 0x3f000000, 0x3f7fffff, 1 - 1.0 / (1 << 24) },
        { 3, 8, 64, 0xbff0000000000000, 0x3fe0000000000000, 0x3fef000000000000,
          0.96875 },
    };
    float x[8];
    wav_reader w;

    (void)state;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        const int size = (int)types[i].size;
        bytes b = head(types[i].tag, 1, 8000, types[i].size, types[i].bits,
                       3 * types[i].size);
        put(&b, types[i].low, size);
        put(&b, types[i].one, size);
        put(&b, types[i].high, size);
        for (int piped = 0; piped < 2; piped++) {
            assert_int_equal(read_all(&b, piped, x, &w), 3);
            assert_true(x[0] == -1.0f && x[1] == 0.5f);
            assert_true((double)x[2] == types[i].top);
            assert_int_equal(w.rate, 8000);
            assert_int_equal(w.missing, 0);
        }
    }
}

static void test_extensible(void **state)
{
    bytes b = { .n = 0 };
    float x[64];
    wav_reader w;

    (void)state;
    text(&b, "RIFF");
    put(&b, 0xffffffff, 4);
    text(&b, "WAVE");
    text(&b, "LIST");       /* of odd length, and empty: both are skipped */
    put(&b, 3, 4);
    put(&b, 0x41414141, 4);
    text(&b, "junk");
    put(&b, 0, 4);
    put_fmt(&b, 0xfffe, 6, 192000, 3, 24);
    b.p[b.n - 20] = 40;
    put(&b, 22, 2);
    put(&b, 24, 2);
    put(&b, 0x3f, 4);
    put(&b, 1, 2);
    b.n += 14;
    text(&b, "data");
    put(&b, 36, 4);
    for (int i = 0; i < 12; i++)
        put(&b, (uint64_t)i << 16, 3);
    text(&b, "LIST");       /* behind the samples: no sound */
    put(&b, 4, 4);
    put(&b, 0, 4);
    for (int piped = 0; piped < 2; piped++) {
        assert_int_equal(read_all(&b, piped, x, &w), 2);
        assert_int_equal(w.channels, 6);
        assert_int_equal(w.rate, 192000);
        for (int i = 0; i < 12; i++)
            assert_true(x[i] == (float)i / 128);
    }
}

static void test_rf64(void **state)
{
    bytes b = { .n = 0 };
    float x[16];
    wav_reader w;

    (void)state;
    text(&b, "RF64");
    put(&b, 0xffffffff, 4);
    text(&b, "WAVE");
    text(&b, "ds64");
    put(&b, 28, 4);
    put(&b, 100, 8);
    put(&b, 8, 8);
    put(&b, 4, 8);
    put(&b, 0, 4);
    put_fmt(&b, 1, 1, 24000, 2, 16);
    text(&b, "data");
    put(&b, 0xffffffff, 4);
    for (int i = 0; i < 6; i++)
        put(&b, 0x1000, 2);
    assert_int_equal(read_all(&b, 0, x, &w), 4);
    memcpy(b.p, "BW64", 4);
    assert_int_equal(read_all(&b, 1, x, &w), 4);
}

/* Sizes that are not known, wrong, or nothing. */
static void test_sizes(void **state)
{
    static const struct { uint32_t riff, data; size_t file, pipe, missing; }
    cases[] = {
        { 56, 20, 10, 10, 0 },
        { 0xffffffff, 0xffffffff, 10, 10, 0 },
        { 0, 0, 10, 10, 0 },
        { 36, 0, 10, 10, 0 },       /* a writer that was stopped */
        { 64, 0, 0, 0, 0 },         /* really none: a chunk follows */
        { 36 + 40, 40, 10, 10, 10 },
        { 0x7ffff024, 0x7ffff000, 10, 10, 0x3ffff7f6 },
        { 36 + 19, 19, 9, 9, 0 },
    };
    float x[64];
    wav_reader w;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bytes b = head(1, 1, 24000, 2, 16, cases[i].data);
        bytes size = { .n = 0 };
        put(&size, cases[i].riff, 4);
        memcpy(b.p + 4, size.p, 4);
        for (int k = 0; k < 10; k++)
            put(&b, 77, 2);
        assert_int_equal(read_all(&b, 0, x, &w), cases[i].file);
        assert_int_equal(w.missing, cases[i].missing);
        assert_int_equal(read_all(&b, 1, x, &w), cases[i].pipe);
        /* A pipe that announces as much as fits meant "to the end". */
        assert_int_equal(w.missing, i == 6 ? 0 : cases[i].missing);
    }
}

static void test_half_sample(void **state)
{
    bytes b = head(1, 2, 24000, 2, 16, 0);
    float x[64];
    wav_reader w;

    (void)state;
    b.n += 4 * 3 + 3;
    assert_int_equal(read_all(&b, 0, x, &w), 3);
    assert_int_equal(read_all(&b, 1, x, &w), 3);
}

static void test_numbers(void **state)
{
    bytes b = head(3, 1, 24000, 4, 32, 16);
    float x[16];
    wav_reader w;

    (void)state;
    put(&b, 0x7fc00000, 4);
    put(&b, 0x7f800000, 4);
    put(&b, 0xff800000, 4);
    put(&b, 0x40000000, 4);
    assert_int_equal(read_all(&b, 0, x, &w), 4);
    assert_int_equal(w.bad, 3);
    assert_true(x[0] == 0 && x[1] == 0 && x[2] == 0 && x[3] == 2);
    b = head(3, 1, 24000, 8, 64, 8);
    put(&b, 0x7fe0000000000000, 8);     /* finite, but no float */
    assert_int_equal(read_all(&b, 0, x, &w), 1);
    assert_true(w.bad == 1 && x[0] == 0);
}

static void refuse(const bytes *b)
{
    input in;
    wav_reader w;
    for (int piped = 0; piped < 2; piped++) {
        assert_int_equal(open_as(b, piped, &in, &w), RC_INPUT);
        input_close(&in);
    }
}

static void test_heads(void **state)
{
    static const unsigned bad[][5] = { /* tag, channels, rate, bytes, bits */
        { 1, 1, 0, 2, 16 }, { 1, 0, 24000, 2, 16 }, { 1, 65, 24000, 2, 16 },
        { 1, 1, 768001, 2, 16 }, { 1, 1, 4294967295, 2, 16 },
        { 1, 1, 24000, 0, 16 }, { 1, 1, 24000, 2, 17 }, { 1, 1, 24000, 2, 0 },
        { 1, 1, 24000, 8, 64 }, { 1, 1, 24000, 5, 40 }, { 3, 1, 24000, 2, 16 },
        { 3, 1, 24000, 4, 16 }, { 2, 1, 24000, 1, 4 }, { 0x55, 2, 44100, 0, 0 },
        { 6, 1, 8000, 1, 8 }, { 0xfffe, 1, 24000, 2, 16 },
    };
    bytes b;

    (void)state;
    say_set_level("quiet");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        b = head(bad[i][0], bad[i][1], bad[i][2], bad[i][3], bad[i][4], 4);
        put(&b, 0, 4);
        refuse(&b);
    }
    b = head(1, 2, 24000, 2, 16, 4);
    b.p[32] = 3;                        /* bytes that two channels cannot have */
    refuse(&b);
    b = head(1, 1, 24000, 2, 16, 4);
    for (b.n = 0; b.n < 44; b.n++)      /* cut anywhere in the head */
        refuse(&b);
    b = head(1, 1, 24000, 2, 16, 4);
    memcpy(b.p + 12, "fnt ", 4);        /* no format in front of the samples */
    refuse(&b);
    b = head(1, 1, 24000, 2, 16, 4);
    memcpy(b.p + 36, "dada", 4);        /* no samples */
    put(&b, 0, 4);
    refuse(&b);
    b.p[16] = 15;
    refuse(&b);
    memcpy(b.p, "RIFX", 4);
    refuse(&b);
    say_set_level("warning");
}

/* Nothing that a head says makes the reader crash, hang or invent samples. */
static void test_noise(void **state)
{
    check_rng r = { 99 };
    float x[64 * 7];
    (void)state;
    say_set_level("quiet");
    for (int round = 0; round < 2000; round++) {
        bytes b = head(round % 2 ? 1 : 3, 1 + check_below(&r, 2), 24000, 4, 32,
                       64);
        input in;
        wav_reader w;
        size_t n = 0, got;
        b.n += 64;
        for (int i = 0; i < 3; i++)
            b.p[check_below(&r, 44)] ^= (uint8_t)check_u32(&r);
        b.n -= check_below(&r, 60);
        if (!open_as(&b, round % 3 == 0, &in, &w))
            while ((got = wav_read(&w, x, 7)))
                n += got;
        assert_true(n <= 2 * b.n);
        input_close(&in);
    }
    say_set_level("warning");
}

/* ---- writing ---- */

static const args force = { .yes = 1, .in = "-" };

static void start(output *out, wav_writer *w, wav_type type, int channels)
{
    assert_int_equal(output_open(out, &force, NULL, path), RC_OK);
    assert_int_equal(wav_begin(w, out, type, 24000, channels), 0);
}

static void end(output *out, wav_writer *w)
{
    assert_int_equal(wav_end(w), 0);
    assert_int_equal(output_close(out, 1), RC_OK);
}

static size_t load(float *x, wav_reader *w)
{
    input in;
    size_t n = 0, got;
    assert_int_equal(input_open(&in, path), RC_OK);
    assert_int_equal(wav_open(w, &in), RC_OK);
    while ((got = wav_read(w, x + n * (size_t)w->channels, 1000)))
        n += got;
    input_close(&in);
    return n;
}

static void test_every_number(void **state)
{
    float *x = malloc(sizeof *x * 65536), *y = malloc(sizeof *y * 65536);
    output out;
    wav_writer w;
    wav_reader r;
    struct stat st;

    (void)state;
    for (int i = 0; i < 65536; i++)
        x[i] = (float)(i - 32768) / 32768;
    for (wav_type type = WAV_S16; type <= WAV_FLT; type++) {
        for (int channels = 1; channels <= 4; channels *= 2) {
            start(&out, &w, type, channels);
            assert_int_equal(wav_write(&w, x, 1), 0);
            assert_int_equal(wav_write(&w, x + channels,
                                       65536 / (size_t)channels - 1), 0);
            end(&out, &w);
            assert_int_equal(load(y, &r), 65536 / channels);
            assert_int_equal(r.channels, channels);
            assert_int_equal(r.type, type);
            assert_int_equal(r.length, 65536 / channels);
            assert_memory_equal(x, y, sizeof *x * 65536);
            assert_int_equal(w.clipped, 0);
            assert_int_equal(stat(path, &st), 0);
            assert_int_equal(st.st_size % 2, 0);
        }
    }
    free(x);
    free(y);
}

static void test_rounding(void **state)
{
    const float x[] = { 1, 1.5f, -1, -1.5f, 0.4f / 32768, 0.6f / 32768,
                        -0.6f / 32768, NAN, INFINITY };
    const float want[] = { 32767, 32767, -32768, -32768, 0, 1, -1, 0, 32767 };
    float y[16];
    output out;
    wav_writer w;
    wav_reader r;

    (void)state;
    start(&out, &w, WAV_S16, 1);
    assert_int_equal(wav_write(&w, x, 9), 0);
    end(&out, &w);
    assert_int_equal(w.clipped, 3);
    assert_int_equal(load(y, &r), 9);
    for (int i = 0; i < 9; i++)
        assert_true(y[i] * 32768 == want[i]);
}

/* An odd number of bytes is filled up, and the pad is no sample. */
static void test_odd(void **state)
{
    const float x[] = { 0.5f, -0.5f, 0.25f };
    float y[16];
    output out;
    wav_writer w;
    wav_reader r;

    (void)state;
    start(&out, &w, WAV_S24, 1);
    assert_int_equal(wav_write(&w, x, 3), 0);
    end(&out, &w);
    assert_int_equal(load(y, &r), 3);
    assert_memory_equal(x, y, sizeof x);
    assert_int_equal(r.missing, 0);
}

/* Beyond 4 GiB, most of it a hole. */
static void test_long(void **state)
{
    const uint64_t hole = ((uint64_t)1 << 32) + 100;
    const float x[] = { 0.5f, -0.5f };
    output out;
    wav_writer w;
    wav_reader r;
    input in;

    (void)state;
    start(&out, &w, WAV_S16, 1);
    if (fseeko(out.file, (off_t)hole, SEEK_CUR)) {
        output_close(&out, 0);
        skip();
    }
    out.bytes += hole;
    w.samples += hole / 2;
    assert_int_equal(wav_write(&w, x, 2), 0);
    end(&out, &w);
    assert_int_equal(input_open(&in, path), RC_OK);
    assert_memory_equal(in.head, "RF64", 4);
    assert_int_equal(wav_open(&r, &in), RC_OK);
    assert_true(r.length == hole / 2 + 2);
    assert_int_equal(r.missing, 0);
    input_close(&in);
}

static void test_names(void **state)
{
    (void)state;
    assert_int_equal(wav_type_named("s16"), WAV_S16);
    assert_int_equal(wav_type_named("pcm_s24le"), WAV_S24);
    assert_int_equal(wav_type_named("flt"), WAV_FLT);
    assert_int_equal(wav_type_named("u8"), WAV_NONE);
    assert_true(wav_named("a.wav") && wav_named("A.WAV"));
    assert_false(wav_named("wav") || wav_named(".wav") || wav_named("a.wave"));
}

static int make_folder(void **state)
{
    (void)state;
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof path, "%s/x.wav", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_extensible),
        cmocka_unit_test(test_rf64),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_half_sample),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_heads),
        cmocka_unit_test(test_noise),
        cmocka_unit_test(test_every_number),
        cmocka_unit_test(test_rounding),
        cmocka_unit_test(test_odd),
        cmocka_unit_test(test_long),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
