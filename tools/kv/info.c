/* SPDX-License-Identifier: BSD-2-Clause */
/* info: where the bits of packed caches go. */
#include <stdio.h>
#include <stdlib.h>
#include "tools/engine.h"
#include "tools/json.h"
#include "tools/kv/verbs.h"
#include "tools/say.h"

enum { BAR = 30 };

/* Sums over the objects of a file. */
typedef struct totals {
    uint64_t tokens, bytes, head, side, level[3];
    double values;          /* of all */
} totals;

static double values_of(const tsr_kv_info *i, int plane)
{
    return (double)i->tokens * i->shape.heads[plane] * i->shape.dim[plane];
}

static totals add_up(const objects *o)
{
    totals t = { 0 };
    for (int k = 0; k < o->count; k++) {
        const tsr_kv_info *i = &o->info[k];
        t.tokens += i->tokens;
        t.bytes += i->bytes;
        t.head += i->head_bytes;
        t.side += i->side_bytes;
        for (int l = 0; l < 3; l++)
            t.level[l] += i->level_bytes[l];
        for (int p = 0; p < i->shape.planes; p++)
            t.values += i->shape.layers * values_of(i, p);
    }
    return t;
}

/* Bits a value of a plane (-1: all of the layer) of a layer in all objects;
 * negative where planes are coded together. */
static double layer_bits(tsr_context *ctx, const objects *o, int layer,
                         int plane)
{
    double bytes = 0, values = 0;
    for (int k = 0; k < o->count; k++) {
        const tsr_kv_info *i = &o->info[k];
        uint64_t n;
        if (tsr_kv_probe_layer(ctx, o->data + o->at[k], o->at[k + 1] - o->at[k],
                               layer, plane, &n))
            return -1;
        bytes += (double)n;
        for (int p = 0; p < i->shape.planes; p++)
            if (plane < 0 || p == plane)
                values += values_of(i, p);
    }
    return values > 0 ? 8 * bytes / values : 0;
}

static void row(const char *name, uint64_t bytes, const totals *t)
{
    const double part = t->bytes ? (double)bytes / (double)t->bytes : 0;
    const int bar = (int)(part * BAR + 0.5);
    printf("  %-14s %12llu  %5.1f %%  %8.4f%s%.*s\n", name,
           (unsigned long long)bytes, 100 * part,
           t->values > 0 ? 8 * (double)bytes / t->values : 0, bar ? "  " : "",
           bar, "##############################");
}

static void print_layers(tsr_context *ctx, const objects *o)
{
    const tsr_kv_shape *s = &o->info[0].shape;
    double most = 0;

    for (int pass = 0; pass < 2; pass++)
        for (int l = 0; l < s->layers; l++) {
            const double key = layer_bits(ctx, o, l, 0);
            const double value = s->planes == 2 ? layer_bits(ctx, o, l, 1) : -1;
            const double both = key < 0 ? layer_bits(ctx, o, l, -1) : key;
            const double top = value > both ? value : both;
            most = top > most ? top : most;
            if (!pass)
                continue;
            const int bar = most > 0 ? (int)(top / most * BAR + 0.5) : 0;
            if (key < 0 || s->planes == 1)
                printf("  layer %-3d  %8.4f            %.*s\n", l, both, bar,
                       "##############################");
            else
                printf("  layer %-3d  %8.4f  %8.4f  %.*s\n", l, key, value, bar,
                       "##############################");
        }
}

static void print_hash(const uint8_t hash[8])
{
    for (int i = 0; i < 8; i++)
        printf("%02x", hash[i]);
}

static int has_profile(const tsr_kv_info *i)
{
    int any = 0;
    for (int k = 0; k < 8; k++)
        any |= i->profile[k];
    return any;
}

static void print_head(const objects *o, const totals *t)
{
    const tsr_kv_info *i = &o->info[0];
    const double raw = t->values * (double)cache_element(i->dtype);

    printf("%s\n", o->name);
    printf("cache      %d layers, %s, %d x %d, %llu tokens from position %llu, "
           "%s\n", i->shape.layers, i->shape.planes == 2 ? "keys and values"
           : "latent", i->shape.heads[0], i->shape.dim[0],
           (unsigned long long)t->tokens, (unsigned long long)i->pos0,
           cache_dtype_name(i->dtype));
    printf("method     %s, %d level%s, tiles of %d tokens, %d object%s\n",
           i->method, i->levels, i->levels == 1 ? "" : "s", i->tile, o->count,
           o->count == 1 ? "" : "s");
    printf("step       %g", i->step[0]);
    if (i->step[1] != i->step[0] && i->shape.planes == 2)
        printf(" keys, %g values", i->step[1]);
    printf("\nprofile    ");
    if (has_profile(i))
        print_hash(i->profile);
    else
        printf("none");
    printf("\nsize       %llu bytes, %.2f to 1, %.4f bits a value\n\n",
           (unsigned long long)t->bytes, raw / (double)t->bytes,
           t->values > 0 ? 8 * (double)t->bytes / t->values : 0);
}

static void print_text(tsr_context *ctx, const objects *o)
{
    static const char *const names[] = { "level 1", "level 2", "level 3" };
    const totals t = add_up(o);

    print_head(o, &t);
    printf("                        bytes           bits a value\n");
    row("header, index", t.head, &t);
    row("side", t.side, &t);
    for (int l = 0; l < o->info[0].levels; l++)
        row(names[l], t.level[l], &t);
    printf("\n             %s, bits a value\n", o->info[0].shape.planes == 2
           ? "keys      values" : "latent");
    print_layers(ctx, o);
}

static void print_json(tsr_context *ctx, const objects *o)
{
    const tsr_kv_info *i = &o->info[0];
    const totals t = add_up(o);

    printf("{\"file\": ");
    json_string(o->name);
    printf(", \"layers\": %d, \"planes\": %d, \"heads\": %d, \"dim\": %d, "
           "\"tokens\": %llu, \"pos0\": %llu, \"dtype\": \"%s\", \"method\": ",
           i->shape.layers, i->shape.planes, i->shape.heads[0], i->shape.dim[0],
           (unsigned long long)t.tokens, (unsigned long long)i->pos0,
           cache_dtype_name(i->dtype));
    json_string(i->method);
    printf(", \"levels\": %d, \"tile\": %d, \"objects\": %d, \"step\": [%.9g, "
           "%.9g], \"profile\": \"", i->levels, i->tile, o->count, i->step[0],
           i->step[1]);
    if (has_profile(i))
        print_hash(i->profile);
    printf("\", \"bytes\": %llu, \"head_bytes\": %llu, \"side_bytes\": %llu, "
           "\"level_bytes\": [%llu, %llu, %llu], \"bits_per_value\": ",
           (unsigned long long)t.bytes, (unsigned long long)t.head,
           (unsigned long long)t.side, (unsigned long long)t.level[0],
           (unsigned long long)t.level[1], (unsigned long long)t.level[2]);
    json_number(8 * (double)t.bytes / t.values, 6);
    printf(", \"layer_bits\": [");
    for (int l = 0; l < i->shape.layers; l++) {
        const double key = layer_bits(ctx, o, l, 0);
        printf("%s", l ? ", " : "");
        if (key < 0 || i->shape.planes == 1) {
            json_number(layer_bits(ctx, o, l, -1), 4);
            continue;
        }
        printf("[");
        json_number(key, 4);
        printf(", ");
        json_number(layer_bits(ctx, o, l, 1), 4);
        printf("]");
    }
    printf("]}\n");
}

int kv_info(args *a)
{
    tsr_context *ctx;
    int rc = engine_open(&ctx, a);
    const char *only[1] = { a->in };
    const char **file = a->in ? only : a->file;
    const int files = a->in ? 1 : a->files;

    if (!rc && !files)
        rc = say_error(RC_USAGE, NULL, "info wants a .tkv file");
    for (int i = 0; !rc && i < files; i++) {
        objects o;
        rc = objects_open(&o, ctx, file[i]);
        if (!rc && a->json)
            print_json(ctx, &o);
        else if (!rc)
            print_text(ctx, &o);
        objects_close(&o);
    }
    tsr_context_close(&ctx);
    return rc;
}
