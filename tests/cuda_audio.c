/* SPDX-License-Identifier: BSD-2-Clause */
/* Sound on a GPU: what it encodes the processor decodes, and the other way
 * round; skipped where there is none.
 *   cuda_audio              all checks
 *   cuda_audio few [NAME]   of short sounds, for tools that slow them down; one
 *                           test
 *   cuda_audio golden DIR   writes streams made on the GPU, for test_audio_gpu
 *   cuda_audio bench [MODEL]  how long nets take, and each of their steps; of the
 *                           shipped model or a file's */
#include "codecs/audio/audio.h"
#include "codecs/audio/flow.h"
#include "tests/cuda_audio_bench.h"
#include "tests/cuda_audio_case.h"

/* ---- tokens ---- */

typedef struct tokens {
    uint16_t *code;
    size_t n;
} tokens;

static tokens tokens_of(tsr_context *ctx, tsr_model *m, const sound_stream *s)
{
    enum { ROOM = 1 << 20 };
    sound_samples ignored;
    tsr_audio_decoder *d = sound_decoder(ctx, m, s, 0, &ignored);
    tokens all = { malloc(ROOM * sizeof *all.code), 0 };
    size_t frames;

    for (size_t i = 0; i < s->packets; i++) {
        assert_int_equal(tsr_audio_decoder_codes(
            d, s->packet[i].data, s->packet[i].is.bytes, all.code + all.n,
            ROOM - all.n, &frames), TSR_OK);
        all.n += frames * (size_t)d->head.books;
    }
    tsr_audio_decoder_close(&d);
    return all;
}

/* How much farther than the processor's choice the device's is, in parts of what
 * was left to be coded, where they first differ: z of the processor. */
static double tie(const tsri_flow *flow, const float *z, const uint16_t *ours,
                  const uint16_t *theirs, int all)
{
    const tsri_quantiser *q = &flow->quantiser;
    const int groups = q->shape.groups, dim = q->shape.dim;
    float left[4096];

    memcpy(left, z, (size_t)(groups * dim) * sizeof *left);
    for (int b = 0; b < all; b++) {
        float *x = left + b % groups * dim;
        const float *a = tsri_rvq_word(q->rvq, b / groups, b % groups, ours[b]);
        const float *c = tsri_rvq_word(q->rvq, b / groups, b % groups, theirs[b]);
        double near = 0, far = 0, whole = 0;
        for (int i = 0; i < dim; i++) {
            near += pow((double)x[i] - a[i], 2);
            far += pow((double)x[i] - c[i], 2);
            whole += pow(x[i], 2);
        }
        if (ours[b] != theirs[b])
            return (far - near) / whole;
        for (int i = 0; i < dim; i++)
            x[i] -= a[i];
    }
    return 0;
}

/* The encoder's output for the whole sound, on the host. */
static float *latents(const tsri_flow *flow, const float *x, size_t n,
                      size_t *frames)
{
    tsri_seq_stream *s;
    float *z;

    assert_int_equal(tsri_seq_open(&s, flow->enc, host, false), TSR_OK);
    assert_int_equal(tsri_seq_push(s, x, n, true, true), TSR_OK);
    *frames = tsri_seq_ready(s);
    z = malloc((*frames + 1) * (size_t)tsri_seq_out_channels(flow->enc) *
               sizeof *z);
    tsri_seq_take(s, z, *frames);
    tsri_seq_close(&s);
    return z;
}

/* Differences are near ties: the book chosen is hardly farther.  Of segments only
 * their number is looked at, for they are scaled before. */
static void check_tokens(int i, const float *x, const tokens *ours,
                         const tokens *theirs)
{
    const int all = books[i];
    const tsri_audio_codec *codec =
        tsri_audio_codec_by_id(nets[i].codec ? nets[i].codec : "encodec");
    size_t differ = 0, frames, changed = 0;
    double worst = 0;
    void *self;

    assert_int_equal(ours->n, theirs->n);
    assert_int_equal(codec->open(&self, host, model[i]), TSR_OK);
    const tsri_flow *flow = self;
    const size_t width = (size_t)tsri_seq_out_channels(flow->enc);
    float *z = latents(flow, x, length_of(i), &frames);
    for (size_t k = 0; k < ours->n; k += (size_t)all) {
        const uint16_t *a = ours->code + k, *b = theirs->code + k;
        size_t here = 0;
        for (int c = 0; c < all; c++)
            here += a[c] != b[c];
        differ += here;
        changed += here > 0;
        if (here && !flow->shape.segmented && k / (size_t)all < frames)
            worst = fmax(worst, tie(flow, z + k / (size_t)all * width, a, b,
                                    all));
    }
    printf("# %s: %zu of %zu tokens differ, in %zu of %zu frames, by at most "
           "%.2g of what was left\n", nets[i].name, differ, ours->n, changed,
           ours->n / (size_t)all, worst);
    assert_true(worst <= 1e-3);
    assert_true(changed * 50 <= ours->n / (size_t)all + 50);
    free(z);
    codec->close(&self);
}

/* ---- samples ---- */

/* Signal to noise in dB, b being the signal. */
static double ratio(const sound_samples *a, const sound_samples *b)
{
    double signal = 1e-20, noise = 1e-20;

    assert_int_equal(a->n, b->n);
    for (size_t i = 0; i < a->n * (size_t)a->channels; i++) {
        signal += pow(b->x[i], 2);
        noise += pow((double)a->x[i] - b->x[i], 2);
    }
    return 10 * log10(signal / noise);
}

static const struct {
    int precision;
    const char *name;
    double least;       /* dB of the sound of equal tokens */
} formats[] = {
    { TSR_PRECISION_F32, "f32", 90 },
    { TSR_PRECISION_AUTO, "auto", 35 },
    { TSR_PRECISION_BF16, "bf16", 18 },
};

static void check_net(int i)
{
    const tsr_audio_settings s = settings_of(i);
    const int channels = nets[i].form[1];
    float *x = sound_tones(length_of(i), channels, 5);
    sound_stream mine = sound_encode(host, model[i], &s, x, length_of(i), channels, 0,
                                     1);
    tokens want = tokens_of(host, model[i], &mine);
    sound_samples sound = sound_decode(host, model[i], &mine, 0, 0, NULL);

    for (size_t k = 0; k < sizeof formats / sizeof *formats; k++) {
        tsr_context *gpu = on_device(formats[k].precision, 1);
        assert_non_null(gpu);
        sound_stream theirs = sound_encode(gpu, model[i], &s, x, length_of(i),
                                           channels, k ? 5000 : 0, 3);
        tokens got = tokens_of(gpu, model[i], &theirs);
        tokens again = tokens_of(host, model[i], &theirs);
        assert_int_equal(got.n, again.n);
        assert_memory_equal(got.code, again.code, got.n * sizeof *got.code);
        if (formats[k].precision != TSR_PRECISION_BF16)
            check_tokens(i, x, &want, &got);
        for (int of = 0; of < 2; of++) {
            const sound_stream *from = of ? &theirs : &mine;
            sound_samples a = sound_decode(gpu, model[i], from, 0,
                                           of ? 999 : 0, NULL);
            sound_samples b = sound_decode(host, model[i], from, 0, 0, NULL);
            printf("# %s %s: %.1f dB\n", nets[i].name, formats[k].name,
                   ratio(&a, &b));
            assert_true(ratio(&a, &b) >= formats[k].least);
            free(a.x);
            free(b.x);
        }
        free(got.code);
        free(again.code);
        sound_free_stream(&theirs);
        tsr_context_close(&gpu);
    }
    free(sound.x);
    free(want.code);
    sound_free_stream(&mine);
    free(x);
}

static void test_nets(void **state)
{
    (void)state;
    for (int i = 0; i < NETS; i++)
        check_net(i);
}

/* Live: pushes of odd sizes, packets of a frame, losses: as without. */
static void test_live(void **state)
{
    tsr_context *gpu = on_device(TSR_PRECISION_F32, 1);
    tsr_audio_settings s = settings_of(0);
    const size_t n = 16000;
    float *x = sound_tones(n, 2, 9);
    char lost[50] = { 0 };

    (void)state;
    s.live = 1;
    s.channels = 2;
    s.packet_frames = 1;
    lost[7] = lost[8] = lost[30] = 1;
    sound_stream a = sound_encode(host, model[0], &s, x, n, 2, 0, 1);
    sound_stream b = sound_encode(gpu, model[0], &s, x, n, 2, 700, 1);
    assert_int_equal(a.packets, 50);
    assert_int_equal(b.packets, 50);
    sound_samples want = sound_decode(host, model[0], &a, 0, 0, lost);
    sound_samples got = sound_decode(gpu, model[0], &a, 1, 77, lost);
    assert_true(ratio(&got, &want) >= 90);
    free(want.x);
    free(got.x);
    sound_free_stream(&a);
    sound_free_stream(&b);
    tsr_context_close(&gpu);
    free(x);
}

/* ---- streams for machines without ---- */

static void put_file(const char *folder, const char *name, const char *end,
                     const void *data, size_t bytes)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s.%s", folder, name, end);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, bytes, f), bytes);
    assert_int_equal(fclose(f), 0);
}

/* NAME.tess, and NAME.s16: the GPU's samples of it, as 16-bit numbers. */
static void golden(const char *folder)
{
    tsr_context *gpu = on_device(TSR_PRECISION_AUTO, 1);

    for (int i = 0; i < NETS; i++) {
        const size_t n = (size_t)nets[i].form[0] * 2 / 5;
        float *x = sound_tones(n, nets[i].form[1], 77);
        mem_file file = { 0 };
        taken sound = { 0 };
        encode_file(gpu, i, x, n, &file);
        decode_file(gpu, i, &file, &sound);
        int16_t *s16 = malloc(sound.n * sizeof *s16);
        for (size_t k = 0; k < sound.n; k++)
            s16[k] = (int16_t)lrintf(fminf(fmaxf(sound.x[k], -1), 1) * 32767);
        put_file(folder, nets[i].name, "tess", file.data, file.size);
        put_file(folder, nets[i].name, "s16", s16, sound.n * sizeof *s16);
        free(s16);
        free(sound.x);
        free(file.data);
        free(x);
    }
    tsr_context_close(&gpu);
}

/* ---- batches ---- */

enum { TOGETHER = 5 };

/* Sounds of a batch are coded as one after the other: the kernels' sums do not
 * depend on who runs beside them. */
static void batch_of(int k, int precision)
{
    tsr_context *one = on_device(precision, 1), *many = on_device(precision, 3);
    const tsr_audio_settings s = settings_of(k);
    mem_file want[TOGETHER] = { 0 }, file[TOGETHER] = { 0 };
    taken heard[TOGETHER] = { 0 }, alone = { 0 };
    given sound[TOGETHER];
    tsr_audio_source sounds[TOGETHER];
    tsr_audio_sink ears[TOGETHER];
    tsr_source sources[TOGETHER];
    tsr_sink sinks[TOGETHER];
    float *x = sound_tones(length_of(k), nets[k].form[1], 21);

    for (int i = 0; i < TOGETHER; i++) {
        const size_t n = length_of(k) / (size_t)(i + 1);
        encode_file(one, k, x, n, &want[i]);
        sound[i] = (given){ x, n, 0, nets[k].form[1] };
        sounds[i] = (tsr_audio_source){ &sound[i], give, n };
        sinks[i] = (tsr_sink){ &file[i], mem_write };
        sources[i] = (tsr_source){ &want[i], mem_read };
        ears[i] = (tsr_audio_sink){ &heard[i], take_begin, take_write };
    }
    assert_int_equal(tsr_audio_encode_batch(many, model[k], &s, TOGETHER, sounds,
                                            sinks, NULL), TSR_OK);
    assert_int_equal(tsr_audio_decode_batch(many, model[k], NULL, TOGETHER,
                                            sources, ears, NULL), TSR_OK);
    for (int i = 0; i < TOGETHER; i++) {
        assert_int_equal(file[i].size, want[i].size);
        assert_memory_equal(file[i].data, want[i].data, want[i].size);
        decode_file(one, k, &want[i], &alone);
        assert_int_equal(heard[i].n, alone.n);
        assert_memory_equal(heard[i].x, alone.x, alone.n * sizeof *alone.x);
        free(want[i].data);
        free(file[i].data);
        free(heard[i].x);
    }
    free(alone.x);
    free(x);
    tsr_context_close(&one);
    tsr_context_close(&many);
}

static void test_batch(void **state)
{
    (void)state;
    for (int i = 0; i < NETS; i++) {
        batch_of(i, TSR_PRECISION_F32);
        batch_of(i, TSR_PRECISION_AUTO);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nets),
        cmocka_unit_test(test_live),
        cmocka_unit_test(test_batch),
    };
    tsr_context *gpu = on_device(TSR_PRECISION_AUTO, 1);
    int failed = 0;

    if (!gpu) {
        printf("1..0 # SKIP no CUDA device\n");
        return 0;
    }
    tsr_context_close(&gpu);
    open_all();
    few = argc > 1 && !strcmp(argv[1], "few");
    if (few && argc > 2)
        cmocka_set_test_filter(argv[2]);
    if (argc > 2 && !strcmp(argv[1], "golden"))
        golden(argv[2]);
    else if (argc > 1 && !strcmp(argv[1], "bench"))
        bench_nets(argc > 2 ? argv[2] : NULL);
    else
        failed = cmocka_run_group_tests(tests, NULL, NULL);
    close_all();
    return failed != 0;
}
