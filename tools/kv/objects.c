/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdlib.h>
#include <string.h>
#include <tessera/kv_cachegen.h>
#include "tools/input.h"
#include "tools/kv/verbs.h"
#include "tools/say.h"

enum { STEP = 1 << 20 };

static int read_file(objects *o, input *in)
{
    size_t room = 0, n;
    do {
        if (o->size == room) {
            room = room ? 2 * room : STEP;
            uint8_t *more = realloc(o->data, room);
            if (!more)
                return say_error(RC_MACHINE, o->name, "out of memory");
            o->data = more;
        }
        n = input_read(in, o->data + o->size, room - o->size);
        o->size += n;
    } while (n);
    return in->fault ? input_failed(in) : RC_OK;
}

static int same_cache(const tsr_kv_info *a, const tsr_kv_info *b)
{
    return !memcmp(&a->shape, &b->shape, sizeof a->shape) &&
        kv_same_rope(&a->rope, &b->rope) &&
        !memcmp(a->profile, b->profile, sizeof a->profile) &&
        !strcmp(a->method, b->method) && a->levels == b->levels &&
        a->tile == b->tile && a->dtype == b->dtype;
}

static int add(objects *o, tsr_context *ctx, size_t at)
{
    const int i = o->count;
    tsr_kv_info *info = realloc(o->info, (size_t)(i + 1) * sizeof *info);
    if (info)
        o->info = info;
    size_t *offsets = realloc(o->at, (size_t)(i + 2) * sizeof *offsets);
    if (offsets)
        o->at = offsets;
    if (!info || !offsets)
        return say_error(RC_MACHINE, o->name, "out of memory");
    const tsr_error error = tsr_kv_probe(ctx, o->data + at, o->size - at,
                                         &info[i]);
    if (error)
        return say_failure_as(RC_INPUT, o->name, error);
    if (info[i].bytes > o->size - at)
        return say_error(RC_INPUT, o->name, "is cut short");
    if (i && (!same_cache(&info[0], &info[i]) ||
              info[i].pos0 != info[i - 1].pos0 + info[i - 1].tokens))
        return say_error(RC_INPUT, o->name, "object %d does not go on where the"
                         " one before ended", i);
    offsets[i] = at;
    offsets[i + 1] = at + (size_t)info[i].bytes;
    o->count++;
    return RC_OK;
}

int objects_read(objects *o, const char *path)
{
    input in;
    int rc;

    memset(o, 0, sizeof *o);
    o->name = path;
    rc = input_open(&in, path);
    if (!rc)
        rc = read_file(o, &in);
    input_close(&in);
    return rc;
}

int objects_index(objects *o, tsr_context *ctx)
{
    int rc = RC_OK;

    if (tsr_cachegen_is(o->data, o->size))
        return say_error(RC_INPUT, o->name, "is no .tkv but a pickle; of "
                         "CacheGen's, kv unpack makes a cache");
    do
        rc = add(o, ctx, o->count ? o->at[o->count] : 0);
    while (!rc && o->at[o->count] < o->size);
    return rc;
}

int objects_open(objects *o, tsr_context *ctx, const char *path)
{
    const int rc = objects_read(o, path);
    return rc ? rc : objects_index(o, ctx);
}

void objects_close(objects *o)
{
    free(o->data);
    free(o->at);
    free(o->info);
    memset(o, 0, sizeof *o);
}
