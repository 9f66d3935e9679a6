/* SPDX-License-Identifier: BSD-2-Clause */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tessera/audio.h>
#include "tools/ffmpeg/catalog.h"

enum { MOST_HEAD = 16 << 20 /* bytes of JSON */ };

typedef struct list {
    catalog_model *model;
    size_t room, n;
} list;

static uint64_t get_le(const uint8_t *p, int bytes)
{
    uint64_t v = 0;
    for (int i = 0; i < bytes; i++)
        v |= (uint64_t)p[i] << 8 * i;
    return v;
}

/* The JSON in front of the tensors, with a 0 behind it; NULL: not a model, or no
 * memory.  *data: where tensors begin. */
static char *read_head(FILE *f, uint64_t *data)
{
    uint8_t raw[8];
    char *head;

    if (fread(raw, 1, 8, f) != 8)
        return NULL;
    const uint64_t bytes = get_le(raw, 8);
    if (bytes > MOST_HEAD)
        return NULL;
    head = malloc((size_t)bytes + 1);
    if (!head)
        return NULL;
    if (fread(head, 1, (size_t)bytes, f) != bytes) {
        free(head);
        return NULL;
    }
    head[bytes] = 0;
    *data = 8 + bytes;
    return head;
}

static const char *skip(const char *at, const char *these)
{
    return at + strspn(at, these);
}

/* What stands behind "key": in the text, or NULL.  A quote inside a string has a
 * backslash in front. */
static const char *value_of(const char *text, const char *key)
{
    char quoted[40];
    const char *at = text, *to;

    snprintf(quoted, sizeof quoted, "\"%s\"", key);
    while ((at = strstr(at, quoted))) {
        to = skip(at + strlen(quoted), " \t\r\n");
        if ((at == text || at[-1] != '\\') && *to == ':')
            return skip(to + 1, " \t\r\n");
        at++;
    }
    return NULL;
}

static int is_sound(const char *head)
{
    const char *codec = value_of(head, "tessera.codec"), *id;

    for (int i = 0; codec && *codec == '"' && (id = tsr_audio_codec_at(i)); i++)
        if (!strncmp(codec + 1, id, strlen(id)) && codec[1 + strlen(id)] == '"')
            return 1;
    return 0;
}

/* The first two numbers of the tensor tessera.audio. */
static int read_form(FILE *f, const char *head, uint64_t data,
                     catalog_model *model)
{
    const char *tensor = value_of(head, "tessera.audio");
    const char *at = tensor ? value_of(tensor, "data_offsets") : NULL;
    uint8_t raw[8];

    if (!at || *at != '[')
        return 0;
    const uint64_t offset = data + strtoull(at + 1, NULL, 10);
    if (offset > INT32_MAX || fseek(f, (long)offset, SEEK_SET) ||
        fread(raw, 1, 8, f) != 8)
        return 0;
    const uint64_t rate = get_le(raw, 4), channels = get_le(raw + 4, 4);
    model->rate = (int)rate;
    model->channels = (int)channels;
    return rate >= 1 && rate <= TSR_AUDIO_MAX_RATE && channels >= 1 &&
           channels <= 2;
}

static int read_model(const char *path, catalog_model *model)
{
    FILE *f = fopen(path, "rb");
    uint64_t data = 0;
    char *head = f ? read_head(f, &data) : NULL;
    const int good = head && is_sound(head) && read_form(f, head, data, model);

    free(head);
    if (f)
        fclose(f);
    return good;
}

static catalog_model *find(const list *l, const char *name)
{
    for (size_t i = 0; i < l->n; i++)
        if (!strcmp(l->model[i].name, name))
            return l->model + i;
    return NULL;
}

static int visit(void *cookie, const char *path)
{
    list *l = cookie;
    const char *slash = strrchr(path, '/');
    catalog_model found, *same;
    int n = snprintf(found.name, sizeof found.name, "%s",
                     slash ? slash + 1 : path);

    /* What ends in .safetensors, as all of these, would be a path. */
    n -= (int)strlen(".safetensors");
    if (n < 1 || n >= CATALOG_NAME || !read_model(path, &found))
        return 0;
    found.name[n] = 0;
    same = find(l, found.name);
    if (same && !same->rate)
        *same = found;
    else if (!same && l->n < l->room)
        l->model[l->n++] = found;
    return 0;
}

size_t catalog_sound(catalog_model *model, size_t room)
{
    list l = { model, room, 1 };

    *model = (catalog_model){ .name = "sound", .channels = 1 };
    tsr_model_files(visit, &l);
    return l.n;
}
