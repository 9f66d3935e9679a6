/* SPDX-License-Identifier: BSD-2-Clause */
/* A small LADSPA host: the plugin in all block sizes, in place, again and
 * again, on two threads, and what it does when it cannot. */
#include "tests/plugin_case.h"
#include <pthread.h>

/* The interface as its users' programs have it compiled in. */
typedef struct Hint { int descriptor; float lower, upper; } Hint;
typedef struct Descriptor {
    unsigned long UniqueID;
    const char *Label;
    int Properties;
    const char *Name, *Maker, *Copyright;
    unsigned long PortCount;
    const int *PortDescriptors;
    const char *const *PortNames;
    const Hint *PortRangeHints;
    void *ImplementationData;
    void *(*instantiate)(const struct Descriptor *, unsigned long);
    void (*connect_port)(void *, unsigned long, float *);
    void (*activate)(void *);
    void (*run)(void *, unsigned long);
    void (*run_adding)(void *, unsigned long);
    void (*set_run_adding_gain)(void *, float);
    void (*deactivate)(void *);
    void (*cleanup)(void *);
} Descriptor;
typedef const Descriptor *(*Lister)(unsigned long);

static const char folder[] = "test_ladspa.models", side[] = "test_ladspa.side";
static void *module;
static Lister lister;

static const struct {
    const char *label, *model;
    unsigned long rate;
    int channels;
} labels[] = {
    { "tessera_sound_1", "sound", 24000, 1 },
    { "tessera_sound_2", "sound", 24000, 2 },
    { "tessera_both_2", "both", 48000, 2 },
    { "tessera_cut_up_2_2", "cut up.2", 48000, 2 },
    { "tessera_gone_1", "gone", 8000, 1 },
    { "tessera_gone_2", "gone", 8000, 2 },
    { "tessera_speech_1", "speech", 16000, 1 },
    { "tessera_speech_2", "speech", 16000, 2 },
};
enum { LABELS = sizeof labels / sizeof *labels };

static const Descriptor *find(const char *label)
{
    const Descriptor *d;
    for (unsigned long i = 0; (d = lister(i)); i++)
        if (!strcmp(d->Label, label))
            return d;
    return NULL;
}

/* All memory of the library is from here, the plugin's as well. */
static _Atomic long allocations;

__attribute__((visibility("default")))
void *aligned_alloc(size_t align, size_t size)
{
    void *memory;
    allocations++;
    return posix_memalign(&memory, align, size) ? NULL : memory;
}

/* ---- an instance in a host ---- */

enum { MOST = 5000, RANDOM = -1, ZEROS = -2 };

typedef struct host {
    const Descriptor *d;
    void *self;
    int channels;
    float in[2][MOST], out[2][MOST];
    float bitrate, latency;
    int in_place;
} host;

static void connect(host *h)
{
    const unsigned long c = (unsigned long)h->channels;

    for (unsigned long i = 0; i < c; i++) {
        h->d->connect_port(h->self, i, h->in[i]);
        h->d->connect_port(h->self, c + i, h->in_place ? h->in[i] : h->out[i]);
    }
    h->d->connect_port(h->self, 2 * c, &h->bitrate);
    h->d->connect_port(h->self, 2 * c + 1, &h->latency);
}

static host *open_host(const char *label, unsigned long rate)
{
    host *h = calloc(1, sizeof *h);

    assert_non_null(h);
    h->d = find(label);
    assert_non_null(h->d);
    h->channels = h->d->PortCount == 6 ? 2 : 1;
    h->latency = -1;
    h->self = h->d->instantiate(h->d, rate);
    assert_non_null(h->self);
    connect(h);
    h->d->activate(h->self);
    return h;
}

static void close_host(host **h)
{
    (*h)->d->deactivate((*h)->self);
    (*h)->d->cleanup((*h)->self);
    free(*h);
    *h = NULL;
}

/* n samples from interleaved x into interleaved y, in blocks of that size, or of
 * random sizes, or of random sizes with empty blocks in between. */
static void run(host *h, const float *x, float *y, size_t n, int block,
                uint64_t seed)
{
    static const uint32_t sizes[] = { 1, 9, 320, 777, 1024, 1025, 4096 };
    const size_t channels = (size_t)h->channels;
    check_rng rng = { seed };

    for (size_t at = 0, now; at < n; at += now) {
        now = block > 0 ? (size_t)block : check_below(&rng, 4)
            ? 1 + check_below(&rng, 1500) : sizes[check_below(&rng, 7)];
        now = now < n - at ? now : n - at;
        now *= block != ZEROS || check_below(&rng, 3);
        for (size_t i = 0; i < now * channels; i++)
            h->in[i % channels][i / channels] = x[at * channels + i];
        h->d->run(h->self, now);
        for (size_t i = 0; i < now * channels; i++)
            y[at * channels + i] =
                (h->in_place ? h->in : h->out)[i % channels][i / channels];
    }
}

/* y is `latency` zeros, then what the library makes of x. */
static void check_late(const host *h, const float *y, const float *want, size_t n)
{
    const size_t channels = (size_t)h->channels, late = (size_t)h->latency;

    assert_in_range(late, 1, n - 1);
    for (size_t i = 0; i < late * channels; i++)
        assert_true(y[i] == 0);
    assert_memory_equal(y + late * channels, want,
                        (n - late) * channels * sizeof *y);
}

/* ---- tests ---- */

static void test_list(void **state)
{
    unsigned long n = 0;
    const Descriptor *d;
    (void)state;

    for (; (d = lister(n)); n++) {
        assert_true(d->UniqueID && d->UniqueID < 0x1000000);
        assert_true(d->Properties == 0);
        assert_true(*d->Name && *d->Maker && *d->Copyright);
        assert_null(strpbrk(d->Label, " :.|"));
        assert_ptr_equal(find(d->Label), d);
        assert_ptr_equal(lister(n), d);
        for (unsigned long i = 0; i < n; i++)
            assert_true(lister(i)->UniqueID != d->UniqueID);
    }
    assert_true(n >= LABELS); /* models that are installed come after */
    assert_string_equal(lister(0)->Label, "tessera_sound_1");
    assert_string_equal(lister(0)->Name, "Tessera sound, mono, 24000 Hz");
    assert_null(find("tessera_picture_1")); /* files that are no sound */
    assert_null(find("tessera_text_1"));
    assert_null(find("tessera_empty_1"));
    assert_null(find("tessera_both_1"));
    assert_null(lister(n + 1));
    assert_null(lister((unsigned long)-1));
    assert_string_equal(find("tessera_both_2")->Name,
                        "Tessera both, stereo, 48000 Hz");
}

static void test_ports(void **state)
{
    static const int mono[] = { 9, 10, 5, 6 }, stereo[] = { 9, 9, 10, 10, 5, 6 };
    (void)state;

    for (int i = 0; i < LABELS; i++) {
        const Descriptor *d = find(labels[i].label);
        assert_non_null(d);
        const unsigned long n = labels[i].channels == 2 ? 6 : 4;
        assert_int_equal(d->PortCount, n);
        assert_memory_equal(d->PortDescriptors, n == 6 ? stereo : mono,
                            n * sizeof *mono);
        assert_string_equal(d->PortNames[n - 1], "latency");
        const Hint *h = &d->PortRangeHints[n - 2];
        assert_int_equal(h->descriptor, 0x203); /* bounded, 0 unless told */
        assert_true(h->lower == 0 && h->upper > 24);
        assert_true(d->instantiate && d->connect_port && d->activate && d->run &&
                    d->deactivate && d->cleanup);
        assert_true(!d->run_adding && !d->set_run_adding_gain);
    }
}

/* Every label, all block sizes, both ways of buffers: the library's samples. */
static void test_samples(void **state)
{
    static const int blocks[] = { 1, 9, 777, 1024, 4096, RANDOM, ZEROS };
    (void)state;

    for (int i = 0; i < LABELS; i++) {
        const int channels = labels[i].channels;
        const size_t n = 41003, all = n * (size_t)channels;
        float *x = sound_tones(n, channels, 5), *y = malloc(all * sizeof *y);
        float *want = plugin_reference(folder, labels[i].model, channels, 0, x, n);

        x[all / 2] = NAN;
        x[all / 3] = INFINITY;
        free(want);
        want = plugin_reference(folder, labels[i].model, channels, 0, x, n);
        for (size_t b = 0; b < sizeof blocks / sizeof *blocks; b++) {
            host *h = open_host(labels[i].label, labels[i].rate);
            h->in_place = b % 2;
            connect(h);
            h->d->run(h->self, 0);
            const float latency = h->latency;
            run(h, x, y, n, blocks[b], 11 + b);
            assert_true(h->latency == latency);
            check_late(h, y, want, n);
            close_host(&h);
        }
        free(x);
        free(y);
        free(want);
    }
}

/* The latency is the library's own figure, and the least that works: a block of
 * one sample always has the sample that is due. */
static void test_latency(void **state)
{
    (void)state;
    for (int i = 0; i < LABELS; i++) {
        host *h = open_host(labels[i].label, labels[i].rate);
        tsr_context *ctx = sound_quiet(1);
        tsr_audio_settings settings;
        tsr_audio_encoder *e;
        tsr_model *model;
        uint64_t running, start;

        tsr_audio_settings_init(&settings);
        settings.channels = labels[i].channels;
        settings.live = 1;
        assert_int_equal(tsr_model_open(&model, ctx, plugin_path(
                             folder, labels[i].model)), TSR_OK);
        assert_int_equal(tsr_audio_encoder_open(&e, ctx, model, &settings),
                         TSR_OK);
        tsr_audio_encoder_latency(e, &running, &start);
        assert_true(h->latency == -1);
        h->d->run(h->self, 0);
        assert_true(h->latency == (float)start && start >= running);
        tsr_audio_encoder_close(&e);
        tsr_model_unref(&model);
        tsr_context_close(&ctx);
        close_host(&h);
    }
}

static void test_impulse(void **state)
{
    enum { N = 4000, AT = 1000 };
    float *x = calloc(N, sizeof *x), *y = malloc(N * sizeof *y), *want;
    host *h = open_host("tessera_sound_1", 24000);
    (void)state;

    x[AT] = 1;
    want = plugin_reference(folder, "sound", 1, 0, x, N);
    run(h, x, y, N, 100, 1);
    check_late(h, y, want, N);
    close_host(&h);
    free(x);
    free(y);
    free(want);
}

/* Deactivating and activating begins anew; a bit rate that is changed counts
 * from there on, and not before. */
static void test_again(void **state)
{
    enum { N = 6000 };
    float *x = sound_tones(N, 1, 9), *y = malloc(N * sizeof *y);
    float *low = plugin_reference(folder, "sound", 1, 0.5, x, N);
    float *high = plugin_reference(folder, "sound", 1, 64, x, N);
    host *h = open_host("tessera_sound_1", 24000);
    (void)state;

    assert_memory_not_equal(low, high, N * sizeof *low);
    h->bitrate = 0.5f;
    for (int i = 0; i < 3; i++) {
        run(h, x, y, N / 2, RANDOM, 1);
        h->bitrate = i == 1 ? 64 : 0.5f;
        run(h, x + N / 2, y + N / 2, N - N / 2, RANDOM, 2);
        check_late(h, y, i == 2 ? high : low, N);
        h->d->deactivate(h->self);
        h->d->activate(h->self);
        h->d->activate(h->self);
    }
    h->bitrate = NAN; /* no number, no wish */
    run(h, x, y, N, RANDOM, 3);
    free(low);
    low = plugin_reference(folder, "sound", 1, 0, x, N);
    check_late(h, y, low, N);
    close_host(&h);
    free(x);
    free(y);
    free(low);
    free(high);
}

/* A host that makes instances and never runs them, or connects no control. */
static void test_unused(void **state)
{
    const Descriptor *d = find("tessera_sound_1");
    float x[100] = { 0 };
    void *self = d->instantiate(d, 24000);
    (void)state;

    assert_non_null(self);
    d->cleanup(self);
    self = d->instantiate(d, 24000);
    d->activate(self);
    d->deactivate(self);
    d->connect_port(self, 0, x);
    d->connect_port(self, 1, x);
    d->connect_port(self, 4, x);
    d->connect_port(self, (unsigned long)-1, x);
    d->run(self, 100);
    d->cleanup(self);
}

/* Once it has run for a while it takes no more memory; but HiFi-Codec, which sets
 * up its nets for every window anew, does. */
static void test_memory(void **state)
{
    enum { N = 96000 };
    (void)state;

    for (int i = 0; i < LABELS && strcmp(labels[i].model, "speech"); i++) {
        const int channels = labels[i].channels;
        float *x = sound_tones(N, channels, 4);
        float *y = malloc(N * (size_t)channels * sizeof *y);
        const long before = allocations;
        host *h = open_host(labels[i].label, labels[i].rate);

        assert_true(allocations > before);
        run(h, x, y, N, RANDOM, 1);
        const long opened = allocations;
        run(h, x, y, N, RANDOM, 2);
        assert_true(allocations == opened);
        close_host(&h);
        free(x);
        free(y);
    }
}

/* ---- threads ---- */

typedef struct job {
    int label;
    const float *x;
    float *y;
    size_t n;
} job;

static void *work(void *cookie)
{
    job *j = cookie;
    host *h = open_host(labels[j->label].label, labels[j->label].rate);
    run(h, j->x, j->y, j->n, RANDOM, 77 + (uint64_t)j->label);
    close_host(&h);
    return NULL;
}

static void test_threads(void **state)
{
    enum { JOBS = 4, N = 20000 };
    float *x = sound_tones(N, 2, 21);
    job jobs[JOBS];
    pthread_t thread[JOBS];
    (void)state;

    for (int i = 0; i < JOBS; i++)
        jobs[i] = (job){ i == 3 ? 0 : i, x, malloc(2 * N * sizeof *x), N };
    for (int i = 0; i < JOBS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, work, &jobs[i]), 0);
    for (int i = 0; i < JOBS; i++)
        assert_int_equal(pthread_join(thread[i], NULL), 0);
    for (int i = 0; i < JOBS; i++) {
        const int l = jobs[i].label;
        float *want = plugin_reference(folder, labels[l].model,
                                       labels[l].channels, 0, x, N);
        check_late(&(host){ .channels = labels[l].channels, .latency = 320 },
                   jobs[i].y, want, N);
        free(want);
        free(jobs[i].y);
    }
    free(x);
}

/* ---- what it says ---- */

typedef struct speech { int saved; FILE *file; } speech;

/* From here on stderr is kept. */
static speech listen(void)
{
    speech s = { dup(2), tmpfile() };
    assert_true(s.saved >= 0 && s.file);
    fflush(stderr);
    dup2(fileno(s.file), 2);
    return s;
}

/* What was said: exactly one line, with `words` in it; NULL: nothing. */
static void check_said(speech *s, const char *words)
{
    char text[1000];

    fflush(stderr);
    dup2(s->saved, 2);
    close(s->saved);
    rewind(s->file);
    const size_t n = fread(text, 1, sizeof text - 1, s->file);
    fclose(s->file);
    text[n] = 0;
    if (!words) {
        assert_string_equal(text, "");
        return;
    }
    if (!strstr(text, words) || strncmp(text, "tessera: ", 9) ||
        strchr(text, '\n') != text + n - 1)
        fail_msg("said '%s', not one line with '%s'", text, words);
}

/* ---- the side file ---- */

static const char *side_path(const char *name)
{
    static char path[100];
    snprintf(path, sizeof path, "%s/%s", side, name);
    return path;
}

/* Two streams of one instance and one of another: three files, whose sound is
 * what came out. */
static void test_side(void **state)
{
    static const char *const files[] = { "a.tess", "a.1.tess", "a.2.tess" };
    enum { N = 5000 };
    float *x = sound_tones(N, 2, 2), *y = malloc(2 * N * sizeof *y);
    (void)state;

    assert_int_equal(mkdir(side, 0755), 0);
    setenv("TESSERA_SIDE", side_path("a.tess"), 1);
    for (int i = 0; i < 3; i++) {
        host *h = open_host(i < 2 ? "tessera_sound_2" : "tessera_sound_1", 24000);
        run(h, x, y, N - 100 * (size_t)i, RANDOM, 1);
        close_host(&h);
        plugin_heard got = plugin_decode(side_path(files[i]));
        assert_int_equal(got.channels, i < 2 ? 2 : 1);
        assert_int_equal(got.n, N - 100 * i);
        check_late(&(host){ .channels = (int)got.channels, .latency = 320 }, y,
                   got.x, got.n);
        free(got.x);
    }
    setenv("TESSERA_SIDE", side_path("none/a.tess"), 1);
    host *h = open_host("tessera_sound_1", 24000);
    float *want = plugin_reference(folder, "sound", 1, 0, x, N);
    speech s = listen();
    run(h, x, y, N, RANDOM, 1);
    check_said(&s, "none/a.tess");
    check_late(h, y, want, N); /* no file, but sound */
    close_host(&h);
    unsetenv("TESSERA_SIDE");
    free(x);
    free(y);
    free(want);
}

/* ---- what cannot be ---- */

static void test_rate(void **state)
{
    const Descriptor *d = find("tessera_sound_2");
    speech s = listen();
    (void)state;

    assert_null(d->instantiate(d, 44100));
    assert_null(d->instantiate(d, 48000));
    assert_null(d->instantiate(d, 0));
    check_said(&s, "aresample=24000");
    d->deactivate(NULL); /* as ffmpeg 5.1 does after that */
    d->cleanup(NULL);
}

/* A file that goes between the list and its use. */
static void test_gone(void **state)
{
    const Descriptor *d = find("tessera_gone_1");
    (void)state;

    assert_int_equal(remove(plugin_path(folder, "gone")), 0);
    speech s = listen();
    assert_null(d->instantiate(d, 8000));
    check_said(&s, "gone");
}

/* One book is too little for HiFi-Codec: its sound goes through as it is, as
 * late; what starts anew with another rate is coded. */
static void test_failure(void **state)
{
    enum { N = 60000 };
    float *x = sound_tones(N, 2, 3), *y = malloc(2 * N * sizeof *y);
    host *h = open_host("tessera_speech_2", 16000);
    (void)state;

    h->bitrate = 0.001f;
    x[77] = NAN;
    speech s = listen();
    run(h, x, y, N, RANDOM, 5);
    check_late(h, y, x, N);
    h->d->deactivate(h->self);
    h->d->activate(h->self);
    run(h, x, y, N, 1000, 5);
    check_late(h, y, x, N);
    check_said(&s, "goes through as it is");
    h->bitrate = 0;
    h->d->deactivate(h->self);
    h->d->activate(h->self);
    s = listen();
    run(h, x, y, N, RANDOM, 6);
    check_said(&s, NULL);
    float *want = plugin_reference(folder, "speech", 2, 0, x, N);
    check_late(h, y, want, N);
    close_host(&h);
    free(x);
    free(y);
    free(want);
}

static int setup(void **state)
{
    char path[500];
    const char *build = getenv("TSR_BUILDDIR");
    (void)state;

    plugin_remove(folder);
    plugin_remove(side);
    plugin_models(folder);
    unsetenv("TESSERA_SIDE");
    snprintf(path, sizeof path, "%s/ladspa/tessera.so", build ? build : ".");
    module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!module)
        fail_msg("%s", dlerror());
    *(void **)&lister = dlsym(module, "ladspa_descriptor");
    assert_non_null(lister);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    plugin_remove(folder);
    plugin_remove(side);
    return dlclose(module);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_ports),
        cmocka_unit_test(test_samples),
        cmocka_unit_test(test_latency),
        cmocka_unit_test(test_impulse),
        cmocka_unit_test(test_again),
        cmocka_unit_test(test_unused),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_side),
        cmocka_unit_test(test_rate),
        cmocka_unit_test(test_failure),
        cmocka_unit_test(test_gone),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
