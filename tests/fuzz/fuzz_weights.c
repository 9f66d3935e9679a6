/* SPDX-License-Identifier: BSD-2-Clause */
/* Models of every codec, changed: tensors of other types and sizes, left out, or
 * full of numbers that nobody trained; and the checkpoints that models are imported
 * from.  What opens all the same codes a small picture or sound. */
#include "tests/fuzz/fuzz_bytes.h"
#include "tests/fuzz/fuzz_model.h"
#include <tessera/audio.h>
#include <tessera/image.h>
#include <tessera/import.h>
#include "lib/checkpoint.h"
#include "lib/model_write.h"

enum { SAMPLES = 2000, WIDTH = 19, HEIGHT = 14, PACKETS = 8 };

/* ---- where models come from ---- */

static const struct { const char *path; bool checkpoint; } sources[] = {
    { "checkpoint/tiny.mcquic", true },
    { "checkpoint/encodec_tiny.th", true },
    { "checkpoint/simvq_tiny.ckpt", true },
    { "checkpoint/vqgan-lc-tiny-last.pth", true },
    { "checkpoint/HiFi-Codec-tiny", true },
    { "semantic/model.safetensors", false },
};
enum { SOURCES = sizeof sources / sizeof *sources };

static tsr_error imported(fuzz_bytes *out, const char *path)
{
    const char *const files[] = { path };
    const tsr_sink sink = { out, fuzz_put };
    tsr_import_settings s;
    tsr_import *import;

    tsr_import_settings_init(&s);
    s.rate = 16000;
    TSR_TRY(tsr_import_open(&import, fuzz_context(false), files, 1, &s));
    const tsr_error error = tsr_import_write(import, NULL, &sink);
    tsr_import_close(&import);
    return error;
}

static const char *source_path(uint32_t which)
{
    static char path[4096];
    const char *root = getenv("TSR_SRCDIR");

    snprintf(path, sizeof path, "%s/tests/vectors/%s", root ? root : ".",
             sources[which].path);
    return path;
}

/* Says nothing of a codec, as checkpoints do; opened once. */
static tsr_model *nothing(void)
{
    static tsr_model *model;
    fuzz_maker *m;

    if (model)
        return model;
    m = calloc(1, sizeof *m);
    FUZZ_CHECK(m);
    fuzz_tensor(m, "x", "U8", 1, "1", 1);
    FUZZ_CHECK(!fuzz_open_model(&model, m));
    free(m);
    return model;
}

/* The model of a source, as it should be, opened once. */
static tsr_model *original(uint32_t which)
{
    static tsr_model *models[SOURCES];
    fuzz_bytes file = { NULL, 0, 0 };

    if (models[which])
        return models[which];
    if (sources[which].checkpoint) {
        FUZZ_CHECK(!imported(&file, source_path(which)));
        FUZZ_CHECK(!fuzz_open_bytes(&models[which], file.data, file.size));
        free(file.data);
    } else {
        FUZZ_CHECK(!tsr_model_open(&models[which], fuzz_context(false),
                                   source_path(which)));
    }
    return models[which];
}

/* The tensors of a source's checkpoint as they are, opened once. */
static tsri_checkpoint *checkpoint(uint32_t which)
{
    static tsri_checkpoint *all[SOURCES];

    if (!all[which])
        FUZZ_CHECK(!tsri_checkpoint_open(&all[which], fuzz_context(false),
                                         source_path(which)));
    return all[which];
}

/* ---- changes ---- */

typedef struct list {
    tsr_tensor *tensor;
    size_t n;
} list;

static list copy_model(const tsr_model *m)
{
    list l = { NULL, tsr_model_tensor_count(m) };

    l.tensor = calloc(l.n + 1, sizeof *l.tensor);
    FUZZ_CHECK(l.tensor);
    for (size_t i = 0; i < l.n; i++) {
        const tsr_tensor *t = tsr_model_tensor_at(m, i);
        uint8_t *data = malloc(t->bytes + 1);
        FUZZ_CHECK(data);
        memcpy(data, t->data, t->bytes);
        l.tensor[i] = *t;
        l.tensor[i].data = data;
    }
    return l;
}

static list copy_checkpoint(tsri_checkpoint *cp)
{
    list l = { NULL, tsri_checkpoint_count(cp) };

    l.tensor = calloc(l.n + 1, sizeof *l.tensor);
    FUZZ_CHECK(l.tensor);
    for (size_t i = 0; i < l.n; i++) {
        const tsr_tensor *t = tsri_checkpoint_at(cp, i);
        uint8_t *data = malloc(t->bytes + 1);
        const void *from;
        FUZZ_CHECK(data && !tsri_checkpoint_data(cp, i, &from));
        memcpy(data, from, t->bytes);
        l.tensor[i] = *t;
        l.tensor[i].data = data;
    }
    return l;
}

/* Sets elements: one, or from one on all, to fuzz_bytes that are numbers of note. */
static void change_numbers(tsr_tensor *t, fuzz_input *in)
{
    static const uint32_t notes[] = { 0, 0x7fc00000, 0x7f800000, 0xff800000,
                                      0x7f7fffff, 0x00000001, 0xffffffff,
                                      0x80000000, 0x7fffffff, 0x3f800000 };
    const size_t width = tsr_dtype_bytes(t->dtype);
    const uint32_t which = fuzz_u8(in) % 12;
    const bool all = fuzz_u8(in) % 4 == 1;
    uint8_t value[8] = { 0 }, *data = (uint8_t *)t->data;

    if (!t->bytes)
        return;
    tsri_put32(value, which < 10 ? notes[which] : fuzz_u32(in));
    if (width == 2)     /* the high half says what floats are */
        tsri_put16(value, (uint16_t)(tsri_get32(value) >> 16));
    for (size_t i = fuzz_u16(in) % (t->bytes / width); i < t->bytes / width; i++) {
        memcpy(data + i * width, value, width < 8 ? width : 8);
        if (!all)
            break;
    }
}

/* Another shape of no more elements. */
static void change_shape(tsr_tensor *t, fuzz_input *in)
{
    const int k = t->rank ? (int)fuzz_below(in, (uint32_t)t->rank) : 0;
    const size_t width = tsr_dtype_bytes(t->dtype);
    uint64_t n = 1;

    if (t->rank && t->dims[k])
        t->dims[k] = fuzz_u16(in) % (t->dims[k] + 1);
    if (fuzz_u8(in) % 4 == 1 && t->rank)
        t->rank--;
    for (int i = 0; i < t->rank; i++)
        n *= t->dims[i];
    if (n * width > t->bytes) {     /* what is left of it is one row */
        t->rank = 1;
        n = t->dims[0] = t->bytes / width;
    }
    t->bytes = (size_t)n * width;
}

static void change_type(tsr_tensor *t, fuzz_input *in)
{
    static const tsr_dtype types[] = { TSR_F32, TSR_F16, TSR_BF16, TSR_F64, TSR_U8,
                                       TSR_I8, TSR_I16, TSR_I32, TSR_I64 };
    const tsr_dtype type = types[fuzz_below(in, 9)];
    const size_t n = t->bytes / tsr_dtype_bytes(t->dtype);

    if (tsr_dtype_bytes(type) > tsr_dtype_bytes(t->dtype))
        return;     /* there are not so many fuzz_bytes */
    t->dtype = type;
    t->bytes = n * tsr_dtype_bytes(type);
}

static void change(list *l, fuzz_input *in)
{
    for (int i = 0; i < 6 && in->size && l->n; i++) {
        const uint32_t how = fuzz_u8(in) % 8;
        tsr_tensor *t = &l->tensor[fuzz_u16(in) % l->n];
        if (how == 0) {
            free((void *)t->data);
            *t = l->tensor[--l->n];
        } else if (how == 1) {
            change_shape(t, in);
        } else if (how == 2) {
            change_type(t, in);
        } else {
            change_numbers(t, in);
        }
    }
}

/* ---- what is done with models ---- */

static void code_picture(tsr_model *m)
{
    tsr_context *ctx = fuzz_context(false);
    tsr_image im = { .width = WIDTH, .height = HEIGHT, .channels = 3, .bits = 8 };
    fuzz_bytes file = { NULL, 0, 0 };
    const tsr_sink sink = { &file, fuzz_put };
    const tsr_source source = { &file, fuzz_get };
    tsr_image out = { .data = NULL };

    FUZZ_CHECK(!tsr_image_alloc(ctx, &im));
    for (size_t i = 0; i < (size_t)im.height * im.stride; i++)
        ((uint8_t *)im.data)[i] = (uint8_t)(i * 29 % 251);
    tsr_error error = tsr_image_encode(ctx, m, NULL, &im, &sink);
    if (!error) {
        error = tsr_image_decode(ctx, m, NULL, &source, &out);
        FUZZ_CHECK(!error && out.width == WIDTH && out.height == HEIGHT);
    }
    FUZZ_CHECK(error != TSR_E_INTERNAL);
    tsr_image_free(ctx, &out);
    tsr_image_free(ctx, &im);
    free(file.data);
}

static void decode_sound(tsr_model *m, tsr_audio_encoder *e, int channels)
{
    static float x[4096];
    const size_t most = sizeof x / sizeof *x / (size_t)channels;
    tsr_audio_decoder *d;
    tsr_audio_packet p;
    const uint8_t *data;
    size_t size, n = 1;

    tsr_audio_encoder_extradata(e, &data, &size);
    if (tsr_audio_decoder_open(&d, fuzz_context(false), m, data, size, 0))
        return;
    for (int i = 0; i < PACKETS && !tsr_audio_encoder_pull(e, &p) && p.data; i++)
        FUZZ_CHECK(!tsr_audio_decoder_push(d, p.data, p.bytes));
    (void)!tsr_audio_decoder_finish(d);
    for (int i = 0; i < PACKETS && n; i++)
        if (tsr_audio_decoder_pull(d, x, most, &n))
            break;
    tsr_audio_decoder_close(&d);
}

static void code_sound(tsr_model *m)
{
    static float x[SAMPLES * 64];
    tsr_audio_settings s;
    tsr_audio_encoder *e;

    tsr_audio_settings_init(&s);
    s.channels = 2;
    s.packet_frames = 4;
    tsr_error error = tsr_audio_encoder_open(&e, fuzz_context(false), m, &s);
    if (error)
        return;
    for (size_t i = 0; i < SAMPLES * 2; i++)
        x[i] = (float)(i * 37 % 101) / 101 - 0.5f;
    if (!tsr_audio_encoder_push(e, x, SAMPLES) && !tsr_audio_encoder_finish(e))
        decode_sound(m, e, 2);
    tsr_audio_encoder_close(&e);
}

static void use(const fuzz_bytes *file)
{
    tsr_model *m;

    if (fuzz_open_bytes(&m, file->data, file->size))
        return;
    code_picture(m);
    code_sound(m);
    tsr_model_unref(&m);
}

/* The tensors as a checkpoint, which becomes a model or not. */
static void import(const fuzz_bytes *file)
{
    const char *path = fuzz_file(".safetensors", file->data, file->size);
    fuzz_bytes model = { NULL, 0, 0 };

    const tsr_error error = imported(&model, path);
    remove(path);
    FUZZ_CHECK(error != TSR_E_INTERNAL && error != TSR_E_ARG);
    if (!error)
        use(&model);
    free(model.data);
}

void fuzz_target(const uint8_t *data, size_t size)
{
    fuzz_input in = { data, size };
    const uint32_t which = fuzz_below(&in, SOURCES);
    const bool whole = fuzz_u8(&in) % 3 || !sources[which].checkpoint;
    list l = whole ? copy_model(original(which)) : copy_checkpoint(checkpoint(which));
    fuzz_bytes file = { NULL, 0, 0 };
    const tsr_sink sink = { &file, fuzz_put };

    change(&l, &in);
    FUZZ_CHECK(!tsri_model_write(fuzz_context(false), whole ? original(which) : nothing(),
                                 l.tensor, l.n, &sink));
    for (size_t i = 0; i < l.n; i++)
        free((void *)l.tensor[i].data);
    free(l.tensor);
    if (whole)
        use(&file);
    else
        import(&file);
    free(file.data);
}
