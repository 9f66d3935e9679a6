/* SPDX-License-Identifier: BSD-2-Clause */
/* Readers of checkpoints: published-like files whose tensors must come out bit
 * for bit, and broken and hostile ones that must be refused with the reason.
 * tests/vectors/checkpoint has files that torch.save() wrote. */
#include <unistd.h>
#include <zlib.h>
#include "tests/check.h"
#include "lib/bytes.h"
#include "lib/checkpoint.h"
#include "lib/weights.h"
#include "tests/zip_gen.h"

#define FOLDER "tests/vectors/checkpoint/"

/* ---- a context that keeps messages and counts memory ---- */

static char message[1024];
static size_t held, peak;

static void keep(void *cookie, tsr_log_level level, const char *text)
{
    (void)cookie;
    (void)level;
    snprintf(message, sizeof message, "%s", text);
}

static void *count_alloc(void *cookie, size_t size, size_t align)
{
    size_t *memory = aligned_alloc(64, (size + 64 + 63) / 64 * 64);
    (void)cookie;
    assert_true(align <= 64);
    if (!memory)
        return NULL;
    *memory = size;
    held += size;
    peak = held > peak ? held : peak;
    return (char *)memory + 64;
}

static void count_free(void *cookie, void *memory)
{
    (void)cookie;
    if (!memory)
        return;
    size_t *block = (size_t *)(void *)((char *)memory - 64);
    held -= *block;
    free(block);
}

static tsr_context *ctx;

static int setup(void **state)
{
    tsr_context_settings s;
    (void)state;
    tsr_context_settings_init(&s);
    s.logger.log = keep;
    s.allocator.alloc = count_alloc;
    s.allocator.free = count_free;
    return tsr_context_open(&ctx, &s);
}

static int teardown(void **state)
{
    (void)state;
    tsr_context_close(&ctx);
    return held != 0;
}

/* ---- what must come out ---- */

static void hash_of(tsri_checkpoint *cp, char hex[65])
{
    uint8_t digest[32];
    tsri_sha256 s;

    tsri_sha256_start(&s);
    for (size_t i = 0; i < tsri_checkpoint_count(cp); i++) {
        tsr_tensor t = *tsri_checkpoint_at(cp, i);
        assert_int_equal(tsri_checkpoint_data(cp, i, &t.data), TSR_OK);
        tsri_tensor_hash(&s, &t);
    }
    tsri_sha256_end(&s, digest);
    for (int i = 0; i < 32; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
}

static tsri_checkpoint *open_file(const char *name)
{
    char path[256];
    tsri_checkpoint *cp;

    snprintf(path, sizeof path, FOLDER "%s", name);
    *message = 0;
    if (tsri_checkpoint_open(&cp, ctx, check_path(path)))
        fail_msg("%s: %s", name, message);
    return cp;
}

/* Each tensor of a file, and no others, as in a safetensors file. */
static void compare(const char *name, const char *expected)
{
    char path[256];
    tsr_model *model;
    tsri_checkpoint *cp = open_file(name);

    snprintf(path, sizeof path, FOLDER "%s.expected.safetensors", expected);
    assert_int_equal(tsr_model_open(&model, ctx, check_path(path)), TSR_OK);
    assert_int_equal(tsri_checkpoint_count(cp), tsr_model_tensor_count(model));
    for (size_t i = 0; i < tsri_checkpoint_count(cp); i++) {
        const tsr_tensor *t = tsri_checkpoint_at(cp, i);
        const tsr_tensor *e = tsr_model_tensor(model, t->name);
        const void *data;
        assert_non_null(e);
        assert_int_equal(t->dtype, e->dtype);
        assert_int_equal(t->rank, e->rank);
        assert_memory_equal(t->dims, e->dims, sizeof t->dims);
        assert_int_equal(t->bytes, e->bytes);
        assert_int_equal(tsri_checkpoint_data(cp, i, &data), TSR_OK);
        if (t->bytes)
            assert_memory_equal(data, e->data, t->bytes);
    }
    tsr_model_unref(&model);
    tsri_checkpoint_close(&cp);
}

static void test_good(void **state)
{
    static const char *const files[][2] = {
        { "vqgan-lc-tiny-statedict.pth", 0 }, { "codebook-tiny.pth", 0 },
        { "encodec_tiny.th", 0 }, { "encodec_tiny_module.pth", 0 },
        { "encodec_tiny_legacy.th", "encodec_tiny.th" }, { "dtypes.pt", 0 },
        { "dtypes_legacy.pt", "dtypes.pt" }, { "views.pt", 0 },
        { "views_legacy.pt", "views.pt" }, { "protocol4.pt", 0 },
        { "parameters.pt", 0 }, { "nested.pt", 0 }, { "cuda_location.pt", 0 },
        { "newer_writer.pt", 0 }, { "zip_comment.pt", 0 },
        { "legacy_plain.pt", 0 },
    };
    (void)state;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        compare(files[i][0], files[i][1] ? files[i][1] : files[i][0]);
}

/* Larger ones, by the hash of what is expected. */
static void test_layouts(void **state)
{
    static const struct { const char *name; size_t count; const char *hash; }
    files[] = {
        { "tiny.mcquic", 718,
          "031798d749e2fff93fc8f7bc9b9310137130e2c9df1311204d84f75be851d68e" },
        { "vqgan-lc-tiny-last.pth", 136,
          "f7bcbde7bd0914675c0ba39a77f60d98e7c655236e866a000d4877a8ecc73466" },
        { "simvq_tiny.ckpt", 135,
          "a9ce681ee6285e9c3705cd87614d278cc0c6ba35a95b09e20bbbb634b7cbac17" },
        { "HiFi-Codec-tiny", 95,
          "141ce1aceeae6eacce1b551e5565eb8df1c97a33ef6a51c56ec96e1548f988c0" },
    };
    char hex[65];
    (void)state;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        tsri_checkpoint *cp = open_file(files[i].name);
        assert_int_equal(tsri_checkpoint_count(cp), files[i].count);
        hash_of(cp, hex);
        assert_string_equal(hex, files[i].hash);
        tsri_checkpoint_close(&cp);
    }
}

static void value_is(const tsri_checkpoint *cp, const char *path,
                     const char *value)
{
    char text[2048];
    assert_true(tsri_checkpoint_text(cp, path, text, sizeof text));
    assert_string_equal(text, value);
}

static void test_values(void **state)
{
    char text[2048];
    tsri_checkpoint *cp = open_file("nested.pt");
    (void)state;

    assert_string_equal(tsri_checkpoint_kind(cp), "PyTorch (zip)");
    value_is(cp, "a/0", "1");
    value_is(cp, "a/1", "-5");
    value_is(cp, "a/2", "2147483648");
    value_is(cp, "a/3", "-1099511627776");
    value_is(cp, "a/5", "1.5");
    value_is(cp, "a/6", "true");
    value_is(cp, "a/7", "none");
    value_is(cp, "a/8", "x\xc3\xa9\xe4\xb8\xad");
    value_is(cp, "a/9", "bytes");
    value_is(cp, "t5/4", "5");
    assert_true(tsri_checkpoint_text(cp, "long", text, sizeof text));
    assert_true(strlen(text) > 100 && strspn(text, "y") == strlen(text));
    assert_false(tsri_checkpoint_text(cp, "long", text, 10));
    assert_false(tsri_checkpoint_text(cp, "none", text, sizeof text));
    const size_t a = tsri_checkpoint_find(cp, "same/0");
    assert_true(a != SIZE_MAX && tsri_checkpoint_find(cp, "x") == SIZE_MAX);
    assert_true(tsri_checkpoint_same(cp, a, tsri_checkpoint_find(cp, "same/1")));
    assert_false(tsri_checkpoint_same(cp, a, 0));
    tsri_checkpoint_close(&cp);

    cp = open_file("vqgan-lc-tiny-last.pth");
    value_is(cp, "epoch", "19");
    value_is(cp, "args", "object of argparse.Namespace");
    for (size_t i = 1; i < tsri_checkpoint_values(cp); i++)
        assert_true(strcmp(tsri_checkpoint_value_at(cp, i - 1),
                           tsri_checkpoint_value_at(cp, i)) <= 0);
    tsri_checkpoint_close(&cp);
}

/* ---- what must be refused ---- */

static tsr_error open_and_read(const char *path)
{
    tsri_checkpoint *cp;
    tsr_error error = tsri_checkpoint_open(&cp, ctx, path);

    assert_true(!cp == !!error);
    for (size_t i = 0; !error && i < tsri_checkpoint_count(cp); i++) {
        const void *data;
        error = tsri_checkpoint_data(cp, i, &data);
    }
    tsri_checkpoint_close(&cp);
    return error;
}

/* The error, words of the message, and memory that stays small. */
static void refused(const char *path, tsr_error error, const char *words)
{
    *message = 0;
    peak = held;
    assert_int_equal(open_and_read(path), error);
    if (!strstr(message, words))
        fail_msg("%s: '%s' does not say '%s'", path, message, words);
    assert_true(peak < (size_t)256 << 20);
}

static void test_bad(void **state)
{
    static const struct { const char *name; tsr_error error; const char *words; }
    files[] = {
        { "evil_os_system.pt", TSR_E_CORRUPT, "os.system" },
        { "evil_eval_legacy.pt", TSR_E_CORRUPT, "__builtin__.eval" },
        { "truncated_end.pt", TSR_E_TRUNCATED, "cut" },
        { "truncated_half.pt", TSR_E_TRUNCATED, "cut" },
        { "shape_overflow.pt", TSR_E_CORRUPT, "overflows" },
        { "shape_too_large.pt", TSR_E_CORRUPT, "beyond its storage" },
        { "shape_negative.pt", TSR_E_CORRUPT, "no number >= 0" },
        { "offset_out_of_range.pt", TSR_E_CORRUPT, "beyond its storage" },
        { "stride_out_of_range.pt", TSR_E_CORRUPT, "beyond its storage" },
        { "stride_negative.pt", TSR_E_CORRUPT, "no number >= 0" },
        { "storage_count_lie.pt", TSR_E_CORRUPT, "fewer bytes than it says" },
        { "missing_record.pt", TSR_E_CORRUPT, "is missing" },
        { "crc_error.pt", TSR_E_CHECKSUM, "CRC" },
        { "pickle_no_stop.pt", TSR_E_TRUNCATED, "ends too early" },
        { "pickle_underflow.pt", TSR_E_CORRUPT, "empty stack" },
        { "pickle_bad_memo.pt", TSR_E_CORRUPT, "never written" },
        { "pickle_huge_string.pt", TSR_E_TRUNCATED, "too long" },
        { "pickle_unknown_opcode.pt", TSR_E_UNSUPPORTED, "unknown opcode" },
        { "not_a_checkpoint.pt", TSR_E_FORMAT, "neither" },
        { "legacy_truncated.pt", TSR_E_TRUNCATED, "cut" },
        { "legacy_bad_magic.pt", TSR_E_FORMAT, "not of a PyTorch" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[256];
        snprintf(path, sizeof path, FOLDER "%s", files[i].name);
        refused(check_path(path), files[i].error, files[i].words);
    }
    assert_int_equal(access("codec_pickle_was_executed", F_OK), -1);
    refused("there/is/none", TSR_E_IO, "No such file");
    refused("/", TSR_E_FORMAT, "not a file");
}

/* ---- files of our own ---- */

static const char own[] = "test_checkpoint.file";

static void put_file(const void *data, size_t size)
{
    FILE *f = fopen(own, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}

static void put_zip(zip_gen *zip, int flags)
{
    zip_gen_end(zip, flags);
    put_file(zip->data, zip->size);
    zip_gen_free(zip);
}

/* An archive with this pickle and a storage "0" of floats 0, 1, 2 ... */
static void put_pickle(const char *pickle, size_t size, uint32_t floats,
                       int flags)
{
    zip_gen zip = { 0 };
    float *data = calloc(floats + 1, sizeof *data);

    assert_non_null(data);
    for (uint32_t i = 0; i < floats && i < 1000; i++)
        data[i] = (float)i;
    zip_gen_add(&zip, "a/data.pkl", pickle, size, flags);
    zip_gen_add(&zip, "a/data/0", data, floats * sizeof *data, flags);
    if (flags & ZIP_OVERLAP)
        zip_gen_swallow(&zip);
    put_zip(&zip, flags);
    free(data);
}
#define LITERAL(text) text, sizeof text - 1

/* Opcodes of a tensor of storage "0" with n elements, dims and strides given
 * as opcodes of a tuple. */
#define TENSOR(n, dims, strides) \
    "ctorch._utils\n_rebuild_tensor_v2\n((X\7\0\0\0storagectorch\nFloatStorage" \
    "\nX\1\0\0\0" "0X\3\0\0\0cpuJ" n "tQK\0(" dims "t(" strides \
    "t\x89N" "tR"
#define KEY(letter) "X\1\0\0\0" letter
#define FOUR "\4\0\0\0"

static void expect_floats(const char *name, const float *values, size_t n)
{
    tsri_checkpoint *cp;
    const void *data;

    *message = 0;
    if (tsri_checkpoint_open(&cp, ctx, own))
        fail_msg("%s", message);
    const size_t i = tsri_checkpoint_find(cp, name);
    assert_true(i != SIZE_MAX);
    assert_int_equal(tsri_checkpoint_at(cp, i)->bytes, n * sizeof *values);
    assert_int_equal(tsri_checkpoint_data(cp, i, &data), TSR_OK);
    assert_memory_equal(data, values, n * sizeof *values);
    tsri_checkpoint_close(&cp);
}

static void test_zips(void **state)
{
    static const char pickle[] =
        "\x80\2}(" KEY("w") TENSOR(FOUR, "K\2K\2", "K\1K\2") "u.";
    static const float turned[] = { 0, 2, 1, 3 };
    static const int all[] = { 0, ZIP_DEFLATE, ZIP_64, ZIP_64 | ZIP_DEFLATE };
    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        put_pickle(LITERAL(pickle), 4, all[i]);
        expect_floats("w", turned, 4);
    }
    put_pickle(LITERAL(pickle), 4, ZIP_OVERLAP);
    refused(own, TSR_E_CORRUPT, "overlap");
    put_pickle(LITERAL(pickle), 4, ZIP_OTHER_NAME);
    refused(own, TSR_E_CORRUPT, "not where the directory says");
    put_pickle(LITERAL(pickle), 4, ZIP_BAD_COUNT);
    refused(own, TSR_E_CORRUPT, "more members");
    put_pickle(LITERAL(pickle), 4, ZIP_ENCRYPTED);
    refused(own, TSR_E_UNSUPPORTED, "encrypted");
    put_pickle(LITERAL(pickle), 4, ZIP_METHOD);
    refused(own, TSR_E_UNSUPPORTED, "method 12");
    put_pickle(LITERAL(pickle), 20 << 20, ZIP_DEFLATE);
    refused(own, TSR_E_CORRUPT, "zip bomb");
    put_pickle(LITERAL(pickle), 4, ZIP_DEFLATE | ZIP_LIE);
    refused(own, TSR_E_CORRUPT, "does not end");
}

static void test_twice(void **state)
{
    static const char twice[] =
        "\x80\2}(" KEY("w") TENSOR(FOUR, "K\4", "K\1")
        KEY("w") TENSOR(FOUR, "K\2", "K\1") "u.";
    static const char pickle[] = "\x80\2}" KEY("w") TENSOR(FOUR, "K\4", "K\1")
        "s.";
    zip_gen zip = { 0 };
    (void)state;
    put_pickle(LITERAL(twice), 4, 0);
    refused(own, TSR_E_CORRUPT, "two tensors 'w'");
    zip_gen_add(&zip, "a/data.pkl", LITERAL(pickle), 0);
    zip_gen_add(&zip, "a/data.pkl", LITERAL(pickle), 0);
    put_zip(&zip, 0);
    refused(own, TSR_E_CORRUPT, "two members 'a/data.pkl'");
    zip = (zip_gen){ 0 };
    zip_gen_add(&zip, "a/data.pkl", LITERAL(pickle), 0);
    zip_gen_add(&zip, "a/data/0", "0123456789abcdef", 16, 0);
    zip_gen_add(&zip, "a/byteorder", "big", 3, 0);
    put_zip(&zip, 0);
    refused(own, TSR_E_UNSUPPORTED, "big-endian");
}

/* Pickles that are well formed and want too much. */
static void test_greedy(void **state)
{
    /* A list that holds itself. */
    static const char loop[] = "\x80\2]q\0h\0a.";
    /* 2^40 elements of a storage of four. */
    static const char large[] = "\x80\2}" KEY("w")
        TENSOR(FOUR, "\x8a\6\0\0\0\0\0\1", "K\0") "s.";
    static const char memo[] = "\x80\2]r\xff\xff\xff\x7f.";
    static const char module[] =
        "\x80\2cmodels.net\nNet\n)\x81}b.";
    static const char calls[] = "\x80\2cmy.code\nrun\nX\1\0\0\0a\x85R.";
    static const char none[] = "\x80\2}.";
    (void)state;
    put_pickle(LITERAL(loop), 4, 0);
    refused(own, TSR_E_LIMIT, "without an end");
    put_pickle(LITERAL(large), 4, 0);
    refused(own, TSR_E_LIMIT, "repeats its storage");
    put_pickle(LITERAL(memo), 4, 0);
    refused(own, TSR_E_LIMIT, "memo entry");
    put_pickle(LITERAL(module), 4, 0);
    refused(own, TSR_E_UNSUPPORTED, "whole object of models.net.Net");
    put_pickle(LITERAL(calls), 4, 0);
    refused(own, TSR_E_UNSUPPORTED, "whole object of my.code.run");
    put_pickle(LITERAL(none), 4, 0);
    refused(own, TSR_E_FORMAT, "no tensors");
}

/* ---- GGUF ---- */

#define U64(low) low "\0\0\0\0\0\0\0"
#define GGUF(tensors, facts) "GGUF\3\0\0\0" U64(tensors) U64(facts)
/* A tensor "w" of 3 by 2. */
#define GGUF_W(type, offset) U64("\1") "w\2\0\0\0" U64("\3") U64("\2") \
    type "\0\0\0" U64(offset)
#define GGUF_ALIGN(n) U64("\21") "general.alignment\4\0\0\0" n "\0\0\0"

static void gguf_refused(const char *data, size_t size, tsr_error error,
                         const char *words)
{
    put_file(data, size);
    refused(own, error, words);
}

static void test_gguf(void **state)
{
    /* An array of two texts, an alignment of 16. */
    static const char head[] = GGUF("\1", "\2") U64("\1") "t\11\0\0\0"
        "\10\0\0\0" U64("\2") U64("\1") "a" U64("\3") "bcd"
        GGUF_ALIGN("\20") GGUF_W("\1", "\4");
    static const char halves[] = "\0\0\0\0" "ABCDEFGHIJKL";
    static const char cut[] = GGUF("\1", "\0") GGUF_W("\0", "\0");
    static const char quantised[] = GGUF("\1", "\0") GGUF_W("\2", "\0");
    static const char many[] = "GGUF\3\0\0\0" "\0\0\0\0\0\0\1\0" U64("\0");
    static const char large[] = GGUF("\1", "\0") U64("\1") "w\1\0\0\0"
        "\0\0\0\0\0\0\0\x40" "\0\0\0\0" U64("\0") U64("\0");
    static const char list[] = GGUF("\0", "\1") U64("\1") "t\11\0\0\0"
        "\12\0\0\0" "\0\0\0\0\0\0\0\x20";
    static const char deep[] = GGUF("\0", "\1") U64("\1") "t\11\0\0\0"
        "\11\0\0\0" U64("\1");
    char file[256] = { 0 };
    tsri_checkpoint *cp;
    const void *data;
    (void)state;

    const size_t base = (sizeof head - 1 + 15) / 16 * 16;
    memcpy(file, head, sizeof head - 1);
    memcpy(file + base, halves, sizeof halves - 1);
    put_file(file, base + sizeof halves - 1);
    assert_int_equal(tsri_checkpoint_open(&cp, ctx, own), TSR_OK);
    assert_string_equal(tsri_checkpoint_kind(cp), "GGUF");
    assert_int_equal(tsri_checkpoint_count(cp), 1);
    const tsr_tensor *t = tsri_checkpoint_at(cp, 0);
    assert_string_equal(t->name, "w");
    assert_int_equal(t->dtype, TSR_F16);
    assert_true(t->rank == 2 && t->dims[0] == 2 && t->dims[1] == 3);
    assert_int_equal(tsri_checkpoint_data(cp, 0, &data), TSR_OK);
    assert_memory_equal(data, "ABCDEFGHIJKL", 12);
    tsri_checkpoint_close(&cp);
    gguf_refused(file, base + sizeof halves - 2, TSR_E_CORRUPT,
                 "beyond its storage");
    for (size_t i = 4; i < base; i += 3)
        gguf_refused(file, i, TSR_E_TRUNCATED, "cut");
    gguf_refused(LITERAL(cut), TSR_E_TRUNCATED, "cut before 'w'");
    gguf_refused(LITERAL(quantised), TSR_E_UNSUPPORTED, "'w' is quantised");
    gguf_refused(LITERAL(many), TSR_E_TRUNCATED, "cut");
    gguf_refused(LITERAL(large), TSR_E_CORRUPT, "overflows");
    gguf_refused(LITERAL(list), TSR_E_TRUNCATED, "cut");
    gguf_refused(LITERAL(deep), TSR_E_UNSUPPORTED, "type 9");
    file[7] = 3;
    gguf_refused(file, base, TSR_E_UNSUPPORTED, "big-endian");
}

/* ---- plain pickles ---- */

/* torch.save()'s older form of a storage "0": head, its id, its key, its size
 * and elements. */
#define FILE_HEAD "\x80\2\x8a\nl\xfc\x9c" "F\xf9 j\xa8P\x19.\x80\2M\xe9\3." \
    "\x80\2}X\15\0\0\0little_endian\x88s."
#define FILE_ID(type) "\x80\2(X\7\0\0\0storagectorch\n" type "\nX\1\0\0\0000" \
    "X\6\0\0\0cuda:0K\4NtQ."
#define FILE_END "\x80\2]X\1\0\0\0000a.\4\0\0\0\0\0\0\0ABCDEFGH"

static tsri_checkpoint *open_pickle(const char *data, size_t size,
                                    tsr_error error, const char *words)
{
    tsri_checkpoint *cp;

    *message = 0;
    assert_int_equal(tsri_checkpoint_open_pickle(&cp, ctx, (const uint8_t *)data,
                                                 size, "mine"), error);
    if (!strstr(message, words))
        fail_msg("'%s' does not say '%s'", message, words);
    return cp;
}

/* An object whose attribute "a" is a tensor of n elements of such a file. */
static tsri_checkpoint *open_object(const char *file, size_t size, char n,
                                    tsr_error error, const char *words)
{
    static char pickle[512];    /* a checkpoint borrows it */
    static const char head[] = "\x80\4\x8c\1m\x8c\1C\x93)\x81}(X\1\0\0\0a"
        "ctorch._utils\n_rebuild_tensor_v2\n(ctorch.storage\n_load_from_bytes\nC";
    char tail[] = "\x85RK\0K\0\x85K\1\x85\x89NtRub.";
    size_t at = sizeof head - 1;

    assert_true(size < 256 && at + 1 + size + sizeof tail < sizeof pickle);
    tail[5] = n;
    memcpy(pickle, head, at);
    pickle[at++] = (char)size;
    memcpy(pickle + at, file, size);
    memcpy(pickle + at + size, tail, sizeof tail - 1);
    return open_pickle(pickle, at + size + sizeof tail - 1, error, words);
}

/* A storage that a pickle holds as a file. */
static void test_plain_pickles(void **state)
{
    static const char good[] = FILE_HEAD FILE_ID("ShortStorage") FILE_END;
    static const char typeless[] = FILE_HEAD FILE_ID("ComplexFloatStorage")
        FILE_END;
    static const char lie[] = FILE_HEAD FILE_ID("IntStorage") FILE_END;
    /* A storage of an archive that is not there. */
    static const char outside[] = "\x80\2}" KEY("w")
        TENSOR(FOUR, "K\4", "K\1") "s.";
    const void *data;
    (void)state;

    tsri_checkpoint *cp = open_object(LITERAL(good), 4, TSR_OK, "");
    assert_string_equal(tsri_checkpoint_kind(cp), "pickle");
    assert_int_equal(tsri_checkpoint_count(cp), 1);
    assert_string_equal(tsri_checkpoint_at(cp, 0)->name, "a");
    assert_int_equal(tsri_checkpoint_at(cp, 0)->dtype, TSR_I16);
    assert_int_equal(tsri_checkpoint_data(cp, 0, &data), TSR_OK);
    assert_memory_equal(data, "ABCDEFGH", 8);
    tsri_checkpoint_close(&cp);
    open_object(LITERAL(good), 5, TSR_E_CORRUPT, "beyond its storage");
    open_object(LITERAL(typeless), 4, TSR_E_UNSUPPORTED, "known type");
    open_object(LITERAL(lie), 4, TSR_E_CORRUPT, "cut, or not of the size");
    open_object(good, sizeof good - 10, 4, TSR_E_TRUNCATED, "is cut");
    open_object(good, sizeof good - 2, 4, TSR_E_CORRUPT, "is cut");
    open_object(LITERAL("\x80\2N."), 4, TSR_E_FORMAT, "not of a PyTorch");
    open_pickle(LITERAL(outside), TSR_E_CORRUPT, "not in the file");
    /* The same file again and again. */
    char many[1024];
    size_t at = 0;
    memcpy(many, "\x80\2](C", 5);
    many[5] = (char)(sizeof good - 1);
    memcpy(many + 6, good, sizeof good - 1);
    at = 6 + sizeof good - 1;
    memcpy(many + at, "q\0ctorch.storage\n_load_from_bytes\nq\1", 36);
    for (at += 36; at < 300; at += 6)
        memcpy(many + at, "h\1h\0\x85R", 6);
    open_pickle(many, at, TSR_E_LIMIT, "larger than it");
}

/* The same byte again and again, after a few others. */
static void put_repeated(const char *head, size_t size, char byte, size_t n,
                         const char *tail)
{
    char *pickle = malloc(size + n + strlen(tail));

    assert_non_null(pickle);
    memcpy(pickle, head, size);
    memset(pickle + size, byte, n);
    memcpy(pickle + size + n, tail, strlen(tail));
    put_pickle(pickle, size + n + strlen(tail), 4, 0);
    free(pickle);
}

static void test_floods(void **state)
{
    char laughs[1000] = "\x80\2](K\1K\1eq", *to = laughs + 10;
    (void)state;
    put_repeated(LITERAL("\x80\2"), ']', 100000, ".");
    refused(own, TSR_E_CORRUPT, "left on the stack");
    put_repeated(LITERAL("\x80\2"), ']', 3000000, ".");
    refused(own, TSR_E_LIMIT, "deep");
    put_repeated(LITERAL("\x80\2"), '(', 3000000, ".");
    refused(own, TSR_E_LIMIT, "marks");
    put_repeated(LITERAL("\x80\2]("), ')', 1 << 20, "e.");
    refused(own, TSR_E_LIMIT, "deep");
    /* A list of a list twice, which is a list of a list twice ...: 2^60. */
    *to++ = 0;
    for (char i = 0; i < 60; i++, to += 10) {
        memcpy(to, "0](h.h.eq.", 10);
        to[4] = to[6] = i;
        to[9] = (char)(i + 1);
    }
    *to++ = '.';
    put_pickle(laughs, (size_t)(to - laughs), 4, 0);
    refused(own, TSR_E_LIMIT, "without an end");
}

/* Lists nested far deeper than any stack. */
static void test_deep(void **state)
{
    enum { DEEP = 100000 };
    char *pickle = malloc(2 * DEEP + 3);
    (void)state;
    assert_non_null(pickle);
    memcpy(pickle, "\x80\2", 2);
    memset(pickle + 2, ']', DEEP);
    memset(pickle + 2 + DEEP, 'a', DEEP - 1);
    pickle[1 + 2 * DEEP] = '.';
    put_pickle(pickle, 2 + 2 * DEEP, 4, 0);
    free(pickle);
    refused(own, TSR_E_LIMIT, "deep");
}

/* Objects that the machine does not know stay closed, whatever is in them. */
static void test_opaque(void **state)
{
    static const char pickle[] = "\x80\2}(" KEY("w")
        TENSOR(FOUR, "K\4", "K\1")
        KEY("p") "cpathlib\nPosixPath\nX\1\0\0\0a\x85R"
        KEY("n") "cargparse\nNamespace\n)\x81}" KEY("t")
        TENSOR(FOUR, "K\4", "K\1") "sb"
        KEY("z") "ctorch\nSize\n(K\7K\x8tq\0\x85R" KEY("y") "h\0" "u.";
    static const float four[] = { 0, 1, 2, 3 };
    tsri_checkpoint *cp;
    (void)state;
    put_pickle(LITERAL(pickle), 4, 0);
    expect_floats("w", four, 4);
    assert_int_equal(tsri_checkpoint_open(&cp, ctx, own), TSR_OK);
    assert_int_equal(tsri_checkpoint_count(cp), 1);
    value_is(cp, "p", "object of pathlib.PosixPath");
    value_is(cp, "n", "object of argparse.Namespace");
    value_is(cp, "z/1", "8");
    value_is(cp, "y/0", "7");
    tsri_checkpoint_close(&cp);
}

/* numpy's objects, as torch.save() writes them with protocol 2. */
static void test_numpy_objects(void **state)
{
#define DTYPE(name, end) "cnumpy\ndtype\nX\2\0\0\0" name "K\0K\1\x87R(K\3X\1" \
    "\0\0\0" end "NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb"
#define ENCODED(n, text) "c_codecs\nencode\nX" n text "X\6\0\0\0latin1\x86R"
    static const char pickle[] = "\x80\2}(" KEY("s")
        "cnumpy.core.multiarray\nscalar\n" DTYPE("f8", "<")
        ENCODED("\x9\0\0\0", "\0\0\0\0\0\0\xc3\xb8\x3f") "\x86R"
        KEY("i") "cnumpy._core.multiarray\nscalar\n" DTYPE("i4", "<")
        "C\4\xfe\xff\xff\xff\x86R"
        KEY("a") "cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0"
        "\x85" "C\1b\x87R(K\1K\2K\1\x86" DTYPE("f4", "<") "\x88"
        "C\x8\0\0\x80\x3f\0\0\0\x40tb"
        KEY("b") "cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0"
        "\x85" "C\1b\x87R(K\1K\2\x85" DTYPE("f4", ">") "\x89"
        "C\x8\0\0\x80\x3f\0\0\0\x40tb" "u.";
    static const float values[] = { 1, 2 };
    tsri_checkpoint *cp;
    (void)state;
    put_pickle(LITERAL(pickle), 4, 0);
    expect_floats("a", values, 2);
    assert_int_equal(tsri_checkpoint_open(&cp, ctx, own), TSR_OK);
    assert_int_equal(tsri_checkpoint_count(cp), 1);
    value_is(cp, "s", "1.5");
    value_is(cp, "i", "-2");
    value_is(cp, "b", "object of numpy.ndarray");
    tsri_checkpoint_close(&cp);
}

/* ---- arrays and safetensors ---- */

static void test_arrays(void **state)
{
    static const float both[] = { 0, 1 };
    static const struct { const char *head; tsr_error error; const char *words; }
    bad[] = {
        { "{'descr': '>f4', 'fortran_order': False, 'shape': (2, 1), }",
          TSR_E_UNSUPPORTED, "type '>f4'" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (4, 1), }",
          TSR_E_CORRUPT, "beyond its storage" },
        { "{'descr': '<f4', 'shape': (2, 1), }                        ",
          TSR_E_CORRUPT, "not understood" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (2,-1), }",
          TSR_E_CORRUPT, "not understood" },
    };
    char file[200];
    const size_t head = 10, data = 80;
    zip_gen zip = { 0 };
    (void)state;
    memset(file, ' ', sizeof file);
    memcpy(file, "\x93NUMPY\1\0\x46\0", head);
    memcpy(file + head, "{'descr': '<f4', 'fortran_order': False, 'shape':"
                        " (2, 1), }", 59);
    memcpy(file + data, "\0\0\0\0\0\0\x80\x3f", 8);
    put_file(file, data + 8);
    expect_floats("(root)", both, 2);
    zip_gen_add(&zip, "x.npy", file, data + 8, ZIP_DEFLATE);
    zip_gen_add(&zip, "y/z.npy", file, data + 8, 0);
    put_zip(&zip, 0);
    expect_floats("x", both, 2);
    expect_floats("y/z", both, 2);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        memset(file + head, ' ', data - head);
        memcpy(file + head, bad[i].head, strlen(bad[i].head));
        put_file(file, data + 8);
        refused(own, bad[i].error, bad[i].words);
    }
}

static void test_safetensors(void **state)
{
    static const char index[] = "{\"metadata\":{\"total_size\":1},"
        "\"weight_map\":{\"w\":\"test_checkpoint.shard\"}}";
    static const char other[] = "{\"weight_map\":{\"v\":\"test_checkpoint.shard\"}}";
    static const char outside[] = "{\"weight_map\":{\"w\":\"../x\"}}";
    static const char head[] = "{\"w\":{\"dtype\":\"F32\",\"shape\":[2],"
        "\"data_offsets\":[0,8]}}";
    static const float both[] = { 0, 1 };
    uint8_t length[8];
    (void)state;
    tsri_put64(length, sizeof head - 1);
    FILE *f = fopen("test_checkpoint.shard", "wb");
    assert_non_null(f);
    fwrite(length, 1, 8, f);
    fwrite(head, 1, sizeof head - 1, f);
    fwrite(both, 1, sizeof both, f);
    assert_int_equal(fclose(f), 0);
    put_file(LITERAL(index));
    expect_floats("w", both, 2);
    put_file(LITERAL(other));
    refused(own, TSR_E_CORRUPT, "'v' is not in");
    put_file(LITERAL(outside));
    refused(own, TSR_E_CORRUPT, "bad file name");
    put_file(LITERAL("{\"weight_map\":{"));
    refused(own, TSR_E_CORRUPT, "not an index");
    assert_int_equal(rename("test_checkpoint.shard", own), 0);
    expect_floats("w", both, 2);
}

/* Every prefix of a file, and every byte of it changed: never more than an
 * error. */
static void test_damage(void **state)
{
    static const char *const names[] = { "parameters.pt", "legacy_plain.pt",
                                         "protocol4.pt" };
    static uint8_t data[4096];
    (void)state;
    for (size_t n = 0; n < sizeof names / sizeof *names; n++) {
        char path[256];
        tsri_checkpoint *cp;
        const void *values;
        snprintf(path, sizeof path, FOLDER "%s", names[n]);
        FILE *f = fopen(check_path(path), "rb");
        assert_non_null(f);
        const size_t size = fread(data, 1, sizeof data, f);
        fclose(f);
        for (size_t cut = 0; cut < size; cut++)
            assert_int_not_equal(
                tsri_checkpoint_open_memory(&cp, ctx, data, cut, "cut"), 0);
        for (size_t at = 0; at < 8 * size; at++) {
            data[at / 8] ^= (uint8_t)(1 << at % 8);
            if (!tsri_checkpoint_open_memory(&cp, ctx, data, size, "bit"))
                for (size_t i = 0; i < tsri_checkpoint_count(cp); i++)
                    tsri_checkpoint_data(cp, i, &values);
            tsri_checkpoint_close(&cp);
            data[at / 8] ^= (uint8_t)(1 << at % 8);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good), cmocka_unit_test(test_layouts),
        cmocka_unit_test(test_values), cmocka_unit_test(test_bad),
        cmocka_unit_test(test_zips), cmocka_unit_test(test_twice),
        cmocka_unit_test(test_greedy), cmocka_unit_test(test_plain_pickles), cmocka_unit_test(test_gguf), cmocka_unit_test(test_floods),
        cmocka_unit_test(test_deep), cmocka_unit_test(test_opaque),
        cmocka_unit_test(test_numpy_objects), cmocka_unit_test(test_arrays),
        cmocka_unit_test(test_safetensors), cmocka_unit_test(test_damage),
    };
    const int failed = cmocka_run_group_tests(tests, setup, teardown);
    remove(own);
    return failed;
}
