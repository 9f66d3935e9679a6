/* SPDX-License-Identifier: BSD-2-Clause */
/* An LV2 plugin: sound as the model `sound` would leave it, mono and stereo.
 * tessera.lv2/ describes it to hosts: the ports there are roundtrip.h's.
 *
 * The interface is LV2's core, written down here as its binary form is. */
#include <stdint.h>
#include <string.h>
#include "tools/ffmpeg/catalog.h"
#include "tools/ffmpeg/plug.h"
#include "tools/ffmpeg/roundtrip.h"

typedef struct descriptor {
    const char *uri;
    void *(*instantiate)(const struct descriptor *d, double rate,
                         const char *bundle, const void *const *features);
    void (*connect_port)(void *self, uint32_t port, void *data);
    void (*activate)(void *self);
    void (*run)(void *self, uint32_t n);
    void (*deactivate)(void *self);
    void (*cleanup)(void *self);
    const void *(*extension_data)(const char *uri);
} descriptor;

PLUG_EXPORT const descriptor *lv2_descriptor(uint32_t index);

static const char mono[] = "urn:tessera:mono", stereo[] = "urn:tessera:stereo";

static void *instantiate(const descriptor *d, double rate, const char *bundle,
                         const void *const *features)
{
    catalog_model model;

    (void)bundle;
    (void)features;
    catalog_sound(&model, 1);
    return roundtrip_open(&model, strcmp(d->uri, stereo) ? 1 : 2, rate);
}

static void connect_port(void *self, uint32_t port, void *data)
{
    roundtrip_connect(self, port, data);
}

static void restart(void *self)
{
    if (self)
        roundtrip_restart(self);
}

static void run(void *self, uint32_t n)
{
    roundtrip_run(self, n);
}

static void cleanup(void *self)
{
    roundtrip *r = self;
    roundtrip_close(&r);
}

static const descriptor plugins[] = {
    { mono, instantiate, connect_port, restart, run, restart, cleanup, NULL },
    { stereo, instantiate, connect_port, restart, run, restart, cleanup, NULL },
};

const descriptor *lv2_descriptor(uint32_t index)
{
    return index < sizeof plugins / sizeof *plugins ? plugins + index : NULL;
}
