/* SPDX-License-Identifier: BSD-2-Clause */
/* A small LV2 host.  What is between the ports is the LADSPA plugin's, and
 * tested there. */
#include "tests/plugin_case.h"

typedef struct Descriptor {
    const char *URI;
    void *(*instantiate)(const struct Descriptor *, double, const char *,
                         const void *const *);
    void (*connect_port)(void *, uint32_t, void *);
    void (*activate)(void *);
    void (*run)(void *, uint32_t);
    void (*deactivate)(void *);
    void (*cleanup)(void *);
    const void *(*extension_data)(const char *);
} Descriptor;
typedef const Descriptor *(*Lister)(uint32_t);

static const char folder[] = "test_lv2.models";
static const void *const features[] = { NULL };
static void *module;
static Lister lister;

/* The ports that the bundle promises, in its order. */
static void test_ports(void **state)
{
    static const char *const stereo[] = { "in_left", "in_right", "out_left",
                                          "out_right", "bitrate", "latency" };
    static const char *const mono[] = { "in", "out", "bitrate", "latency" };
    const char *source = getenv("TSR_SRCDIR");
    char path[400], text[8000];
    const char *at = text;
    (void)state;

    snprintf(path, sizeof path, "%s/tools/ffmpeg/tessera.lv2/tessera.ttl",
             source ? source : ".");
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    const size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = 0;
    for (int p = 0; p < 2; p++) {
        assert_string_equal(lister((uint32_t)p)->URI,
                            p ? "urn:tessera:stereo" : "urn:tessera:mono");
        at = strstr(at, lister((uint32_t)p)->URI);
        assert_non_null(at);
        for (int i = 0; i < (p ? 6 : 4); i++) {
            char want[80];
            snprintf(want, sizeof want,
                     "lv2:index %d ;\n\t\tlv2:symbol \"%s\" ;", i,
                     p ? stereo[i] : mono[i]);
            at = strstr(at, want);
            assert_non_null(at);
        }
    }
    assert_null(lister(2));
}

static void test_samples(void **state)
{
    enum { N = 5000, BLOCK = 777, LATE = 320 };
    (void)state;

    for (int channels = 1; channels <= 2; channels++) {
        const uint32_t c = (uint32_t)channels;
        const Descriptor *d = lister(c - 1);
        float *x = sound_tones(N, channels, 8), port[2][BLOCK];
        float *want = plugin_reference(folder, "sound", channels, 1.5, x, N);
        float bitrate = 1.5f, latency = 0;
        void *self = d->instantiate(d, 24000, "", features);

        assert_non_null(self);
        for (uint32_t i = 0; i < c; i++) {
            d->connect_port(self, i, port[i]);
            d->connect_port(self, c + i, port[i]);
        }
        d->connect_port(self, 2 * c, &bitrate);
        d->connect_port(self, 2 * c + 1, &latency);
        d->activate(self);
        d->run(self, 0);
        assert_true(latency == LATE);
        for (size_t at = 0; at < N; at += BLOCK) {
            const size_t n = N - at < BLOCK ? N - at : BLOCK;
            for (size_t i = 0; i < n * c; i++)
                port[i % c][i / c] = x[at * c + i];
            d->run(self, (uint32_t)n);
            for (size_t i = 0; i < n * c; i++)
                assert_true(port[i % c][i / c] ==
                            (at + i / c < LATE ? 0 : want[(at - LATE) * c + i]));
        }
        d->deactivate(self);
        d->cleanup(self);
        free(x);
        free(want);
    }
}

static void test_rate(void **state)
{
    const Descriptor *d = lister(0);
    (void)state;

    assert_null(d->instantiate(d, 44100, "", features));
    assert_null(d->instantiate(d, NAN, "", features));
    d->cleanup(NULL);
}

static int setup(void **state)
{
    char path[500];
    const char *build = getenv("TSR_BUILDDIR");
    (void)state;

    plugin_remove(folder);
    plugin_models(folder);
    unsetenv("TESSERA_SIDE");
    snprintf(path, sizeof path, "%s/lv2/tessera.lv2/tessera.so",
             build ? build : ".");
    module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!module)
        fail_msg("%s", dlerror());
    *(void **)&lister = dlsym(module, "lv2_descriptor");
    assert_non_null(lister);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    plugin_remove(folder);
    return dlclose(module);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ports),
        cmocka_unit_test(test_samples),
        cmocka_unit_test(test_rate),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
