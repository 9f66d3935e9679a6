/* SPDX-License-Identifier: BSD-2-Clause */
/* audio_tool FOLDER: writes streams of toy sounds, and what is in them as text,
 * for tests/audio_reader.py; and a small model for examples/stream_audio. */
#include "tests/audio_model.h"
#include "tests/audio_toy_case.h"

static const char *folder;

static FILE *create(const char *name, const char *end)
{
    char path[4096];

    snprintf(path, sizeof path, "%s/%s%s", folder, name, end);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    return file;
}

static tsr_error write_bytes(void *cookie, const void *data, size_t size)
{
    return fwrite(data, 1, size, cookie) == size ? TSR_OK : TSR_E_IO;
}

typedef struct tape {
    const float *x;
    size_t left;
    int channels;
} tape;

static tsr_error read_tape(void *cookie, float *samples, size_t n, size_t *got)
{
    tape *t = cookie;

    *got = t->left < n ? t->left : n;
    memcpy(samples, t->x, *got * (size_t)t->channels * sizeof *samples);
    t->x += *got * (size_t)t->channels;
    t->left -= *got;
    return TSR_OK;
}

/* The codes of a toy's packets, group by group in each frame. */
static void write_codes(FILE *text, tsr_model *m, const sound_stream *s,
                        const form *f)
{
    static uint16_t codes[65536];
    const size_t side = (size_t)toy_shapes[f->toy].side;
    sound_samples out;
    tsr_audio_decoder *d = sound_decoder(quiet, m, s, 0, &out);
    const size_t numbers = (size_t)(f->books * f->channels /
                                    toy_shapes[f->toy].channels);

    for (size_t i = 0; i < s->packets; i++) {
        const sound_packet *p = &s->packet[i];
        size_t frames, at = 0;
        uint64_t v = 0, units = 0;
        assert_int_equal(tsr_audio_decoder_codes(d, p->data, p->is.bytes, codes,
                                                 65536, &frames), TSR_OK);
        fprintf(text, "packet %u ", p->is.samples);
        for (int k = 0; k < 2; k++)
            at += tsri_get_varint(p->data + at, 10, &v);
        at += 1 + tsri_get_varint(p->data + at + 1, 10, &units);
        for (uint64_t k = 0; side && k < units; k++)
            at += tsri_get_varint(p->data + at, 10, &v);
        for (size_t k = 0; k < side * units * (size_t)f->channels; k++)
            fprintf(text, "%02x", p->data[at + k]);
        fprintf(text, " :");
        for (size_t k = 0; k < frames * numbers; k++)
            fprintf(text, " %d", codes[k]);
        fprintf(text, "\n");
    }
    tsr_audio_decoder_close(&d);
}

static void write_stream(const char *name, tsr_model *m, const form *f, size_t n)
{
    const tsr_audio_settings settings = settings_of(f);
    float *x = sound_tones(n, f->channels, n);
    sound_stream s = sound_encode(quiet, m, &settings, x, n, f->channels, 0, 1);
    tape t = { x, n, f->channels };
    const tsr_audio_source source = { &t, read_tape, n };
    FILE *file = create(name, ".tess"), *text = create(name, ".txt");
    const tsr_sink sink = { file, write_bytes };

    assert_int_equal(tsr_audio_encode(quiet, m, &settings, &source, &sink), TSR_OK);
    fprintf(text, "head 8000 %d %d %d %d %d %u %s\n", f->channels, TOY_HOP, f->books,
            TOY_WORDS, f->entropy, (unsigned)tsri_get32(s.extradata + 12),
            tsr_model_name(m));
    write_codes(text, m, &s, f);
    fprintf(text, "samples %zu\n", n);
    assert_int_equal(fclose(file) | fclose(text), 0);
    sound_free_stream(&s);
    free(x);
}

/* A small EnCodec of the published form. */
static void write_model(void)
{
    const encodec_sizes sizes = { .rate = 24000, .channels = 1, .filters = 2,
                                  .decoder_filters = 2, .ratio = { 8, 5, 4, 2 },
                                  .ratios = 4, .residuals = 1, .lstms = 2, .dim = 8,
                                  .books = 8, .codewords = 1024, .causal = true };
    check_tensors list = encodec_model(&sizes, 1);
    char path[4096];

    snprintf(path, sizeof path, "%s/small.safetensors", folder);
    check_tensors_write(&list, SIZE_MAX, "\"tessera.codec\":\"encodec\"", path);
    check_tensors_free(&list);
}

int main(int argc, char **argv)
{
    const form fixed = { TOY_MONO, 1, 4, 100, 1, 0, 0 },
               layers = { TOY_TAIL, 4, 7, 30, 1, 1, 1 },
               segments = { TOY_SEGMENTS, 2, 4, 200, 1, 0, 0 },
               overlapped = { TOY_OVERLAPPED, 1, 4, 200, 1, 0, 0 },
               tabled = { TOY_MONO, 2, 3, 500, 2, 0, 0 },
               both = { TOY_MONO, 1, 4, 100, 2, 1, 0 };

    if (argc != 2)
        return 2;
    folder = argv[1];
    setup(NULL);
    FILE *file = create("tables", ".bin");
    const tsr_tensor *t = tsr_model_tensor(tables, "codes.static");
    assert_int_equal(fwrite(t->data, 1, t->bytes, file), t->bytes);
    assert_int_equal(fclose(file), 0);
    write_stream("fixed", model[TOY_MONO], &fixed, 1999);
    write_stream("layers", model[TOY_TAIL], &layers, 1501);
    write_stream("segments", model[TOY_SEGMENTS], &segments, 2000);
    write_stream("short", model[TOY_OVERLAPPED], &overlapped, 3 * 394 + 1);
    write_stream("short-apart", model[TOY_OVERLAPPED], &overlapped, 2 * 394 + 1);
    write_stream("static", tables, &tabled, 4003);
    write_stream("static-layers", tables, &both, 1201);
    write_model();
    teardown(NULL);
    return 0;
}
