/* SPDX-License-Identifier: BSD-2-Clause */
/* A LADSPA plugin: sound as a Tessera codec would leave it.  One label for each
 * model of sound and number of channels, tessera_MODEL_1 and tessera_MODEL_2;
 * docs/ffmpeg.md tells how hosts use it.
 *
 * The interface is LADSPA 1.1's, written down here as its binary form is. */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include "tools/ffmpeg/catalog.h"
#include "tools/ffmpeg/plug.h"
#include "tools/ffmpeg/roundtrip.h"

/* ---- the interface ---- */

enum { PORT_INPUT = 1, PORT_OUTPUT = 2, PORT_CONTROL = 4, PORT_AUDIO = 8 };
enum { HINT_BELOW = 1, HINT_ABOVE = 2, HINT_DEFAULT_0 = 0x200 };

typedef struct range_hint {
    int hints;
    float lower, upper;
} range_hint;

typedef struct descriptor {
    unsigned long id;
    const char *label;
    int properties;
    const char *name, *maker, *copyright;
    unsigned long ports;
    const int *port;
    const char *const *port_name;
    const range_hint *range;
    void *data;
    void *(*instantiate)(const struct descriptor *d, unsigned long rate);
    void (*connect_port)(void *self, unsigned long port, float *data);
    void (*activate)(void *self);
    void (*run)(void *self, unsigned long n);
    void (*run_adding)(void *self, unsigned long n);
    void (*set_run_adding_gain)(void *self, float gain);
    void (*deactivate)(void *self);
    void (*cleanup)(void *self);
} descriptor;

PLUG_EXPORT const descriptor *ladspa_descriptor(unsigned long index);

/* ---- ports ---- */

enum { MOST_MODELS = 64 };

#define IN (PORT_INPUT | PORT_AUDIO)
#define OUT (PORT_OUTPUT | PORT_AUDIO)
#define SETTING (PORT_INPUT | PORT_CONTROL)
#define RESULT (PORT_OUTPUT | PORT_CONTROL)
#define BITRATE { HINT_BELOW | HINT_ABOVE | HINT_DEFAULT_0, 0, 64 }

static const int mono_port[] = { IN, OUT, SETTING, RESULT };
static const char *const mono_name[] = {
    "in", "out", "bitrate (kbit/s a channel, 0: auto)", "latency" };
static const range_hint mono_range[] = { { 0 }, { 0 }, BITRATE, { 0 } };

static const int stereo_port[] = { IN, IN, OUT, OUT, SETTING, RESULT };
static const char *const stereo_name[] = {
    "in left", "in right", "out left", "out right",
    "bitrate (kbit/s a channel, 0: auto)", "latency" };
static const char *const joint_name[] = {
    "in left", "in right", "out left", "out right",
    "bitrate (kbit/s of both, 0: auto)", "latency" };
static const range_hint stereo_range[] = {
    { 0 }, { 0 }, { 0 }, { 0 }, BITRATE, { 0 } };

/* ---- a plugin ---- */

typedef struct plugin {
    descriptor d;
    const catalog_model *model;
    char label[CATALOG_NAME + 16], name[CATALOG_NAME + 40];
    int channels;
} plugin;

static void *instantiate(const descriptor *d, unsigned long rate)
{
    const plugin *p = d->data;
    return roundtrip_open(p->model, p->channels, (double)rate);
}

static void connect_port(void *self, unsigned long port, float *data)
{
    roundtrip_connect(self, port, data);
}

/* Ports may not be read yet: the first run() does.  Here and in cleanup() there
 * may be no instance: ffmpeg calls both for one that it did not get. */
static void restart(void *self)
{
    if (self)
        roundtrip_restart(self);
}

static void run(void *self, unsigned long n)
{
    roundtrip_run(self, n);
}

static void cleanup(void *self)
{
    roundtrip *r = self;
    roundtrip_close(&r);
}

/* ---- the list of plugins ---- */

/* For the life of the process, as hosts keep pointers into it. */
static plugin plugins[2 * MOST_MODELS];
static unsigned long count;

/* The same for a label on every machine; free in this list. */
static unsigned long make_id(const char *label)
{
    uint32_t hash = 2166136261U;
    unsigned long id;

    for (const char *c = label; *c; c++)
        hash = (hash ^ (uint8_t)*c) * 16777619U;
    id = 0x500000 | ((hash ^ hash >> 20) & 0xfffff);
    for (unsigned long i = 0; i < count; i++)
        if (plugins[i].d.id == id) {
            id++;
            i = (unsigned long)-1;
        }
    return id;
}

/* A label has no blanks, and nothing that ffmpeg's filters take for theirs. */
static void make_names(plugin *p)
{
    const char *model = p->model->name;
    const int n = snprintf(p->name, sizeof p->name, "Tessera %.63s, %s", model,
                           p->channels == 2 ? "stereo" : "mono");

    if (p->model->rate)
        snprintf(p->name + n, sizeof p->name - (size_t)n, ", %d Hz",
                 p->model->rate);
    snprintf(p->label, sizeof p->label, "tessera_%.63s_%d", model, p->channels);
    for (char *c = p->label; *c; c++)
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                    "0123456789_-", *c))
            *c = '_';
}

static void add(const catalog_model *model, int channels)
{
    plugin *p = plugins + count;
    const int stereo = channels == 2;

    p->model = model;
    p->channels = channels;
    make_names(p);
    p->d = (descriptor){
        .id = make_id(p->label), .label = p->label, .name = p->name,
        .maker = "The Tessera authors", .copyright = "BSD-2-Clause",
        .ports = 2 * (unsigned long)channels + 2,
        .port = stereo ? stereo_port : mono_port,
        .port_name = !stereo ? mono_name
                     : model->channels == 2 ? joint_name : stereo_name,
        .range = stereo ? stereo_range : mono_range, .data = p,
        .instantiate = instantiate, .connect_port = connect_port,
        .activate = restart, .run = run, .deactivate = restart,
        .cleanup = cleanup };
    count++;
}

static void make_list(void)
{
    static catalog_model model[MOST_MODELS];
    const size_t n = catalog_sound(model, MOST_MODELS);

    for (size_t i = 0; i < n; i++)
        for (int channels = model[i].channels; channels <= 2; channels++)
            add(model + i, channels);
}

const descriptor *ladspa_descriptor(unsigned long index)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, make_list);
    return index < count ? &plugins[index].d : NULL;
}
