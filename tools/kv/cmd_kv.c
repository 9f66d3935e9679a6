/* SPDX-License-Identifier: BSD-2-Clause */
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include "tools/commands.h"
#include "tools/kv/remote.h"
#include "tools/kv/transfer.h"
#include "tools/kv/verbs.h"
#include "tools/say.h"

#define FIELD(name) offsetof(args, name)

static const opt kv_options[] = {
    { "-i --input", "FILE", "the input; also the first plain argument",
      OPT_TEXT, FIELD(in), 0, 0 },
    { "-profile", "FILE", "profile of the model; without one the codec knows"
      " only its positions", OPT_TEXT, FIELD(profile), 0, 0 },
    { "-method", "NAME", "rows (default), or a published one: cachegen, kivi, "
      "kvquant ...; profile: tables for vq or kvquant", OPT_TEXT, FIELD(method), 0, 0 },
    { "-step", "X", "finest step: with a profile a multiple of its own; else in"
      " units of the cache, 0 = automatic", OPT_NUMBER, FIELD(step), 0, 1e12 },
    { "-value_ratio", "X", "without a profile: step of values over that of keys",
      OPT_NUMBER, FIELD(value_ratio), 0, 1e12 },
    { "-levels", "N", "nested qualities, 1 to 3; default 1", OPT_INT,
      FIELD(levels), 1, 3 },
    { "-level", "N", "unpack, reduce: qualities to use", OPT_INT, FIELD(level),
      1, 3 },
    { "-sinks", "N", "first tokens kept at 8 bits; default 4", OPT_INT,
      FIELD(sinks), 0, 64 },
    { "-recent", "N", "last tokens with finer steps; default 0", OPT_INT,
      FIELD(recent), 0, 1 << 20 },
    { "-boost", "N", "steps of -recent are 2^N times finer; default 2", OPT_INT,
      FIELD(boost), 0, 7 },
    { "-tile", "N", "tokens that decode alone; default 256", OPT_INT,
      FIELD(tile), 32, 4096 },
    { "-chunk", "N", "an object for every N tokens; default one for all",
      OPT_INT, FIELD(chunk), 1, 1 << 20 },
    { "-no_ids", NULL, "leave the token ids out of the output", OPT_FLAG,
      FIELD(no_ids), 0, 0 },
    { "-layers", "A:B", "unpack: layers A to before B", OPT_TEXT,
      FIELD(layer_range), 0, 0 },
    { "-tokens", "A:B", "unpack: tokens A to before B", OPT_TEXT,
      FIELD(token_range), 0, 0 },
    { "-rope", "SPEC", "positions in the keys: none, theta, or KEY=NUMBER,...",
      OPT_TEXT, FIELD(rope), 0, 0 },
    { "-pos0", "N", "position of the first token", OPT_NUMBER, FIELD(pos0), 0,
      2147483648.0 },
    { "-layout", "LETTERS", "dimensions of an array: 2 K and V, L layer, T token,"
      " H head, D dim, C head and dim", OPT_TEXT, FIELD(layout), 0, 0 },
    { "-heads", "N", "heads in the C of -layout", OPT_INT, FIELD(heads), 1,
      1024 },
    { "-dims", "AxBxC", "of a bare dump", OPT_TEXT, FIELD(dims), 0, 0 },
    { "-dtype", "f16|bf16|f32|e4m3|e5m2", "of a bare dump", OPT_TEXT, FIELD(dtype),
      0, 0 },
    { "-tensor", "NAME", "the array of a .safetensors file", OPT_TEXT,
      FIELD(tensor), 0, 0 },
    { "-statistics", "FILE", "profile: what training/kv_stats.py gathered",
      OPT_TEXT, FIELD(stats_file), 0, 0 },
    { "-metric", "fisher|query|none", "profile: default the first that -statistics"
      " has", OPT_TEXT, FIELD(metric), 0, 0 },
    { "-predict", "N", "profile: predict from the last N token ids, 0 to 4",
      OPT_INT, FIELD(predict), 0, 4 },
    { "-match", NULL, "profile: predict from where the text stood earlier",
      OPT_FLAG, FIELD(match), 0, 0 },
    { "-anchor", "N", "profile: predict from the last token whose number is a"
      " multiple of N; 1: from the one before", OPT_INT, FIELD(anchor), 1,
      1 << 20 },
    { "-join", "N", "profile: transform N layers together; default 1", OPT_INT,
      FIELD(join), 1, 1024 },
    { "-plain", NULL, "profile: no transform, only means and classes of channels",
      OPT_FLAG, FIELD(plain), 0, 0 },
    { "-hadamard", NULL, "profile: with -plain, heads turned by Hadamard's matrix",
      OPT_FLAG, FIELD(hadamard), 0, 0 },
    { "-base_step", "X", "profile: the step that -step 1 means", OPT_NUMBER,
      FIELD(base_step), 0, 1e12 },
    { "--json", NULL, "info, compare, bench, ls, stat: JSON", OPT_FLAG,
      FIELD(json), 0, 0 },
    { "-threads", "N", "worker threads; 0, the default, is one per processor",
      OPT_INT, FIELD(threads), 0, 256 },
    { "-cpuflags", "0|avx2|avx512", "allow only these instructions; for tests",
      OPT_TEXT, FIELD(cpuflags), 0, 0 },
    { NULL, NULL, NULL, OPT_FLAG, 0, 0, 0 }
};

static const struct verb {
    const char *name;
    const char *from, *to;  /* ending of the input, of the output made from it;
                               NULL: files as they stand */
    int (*run)(args *a);
} verbs[] = {
    { "pack", NULL, ".tkv", kv_pack },
    { "unpack", ".tkv", ".safetensors", kv_unpack },
    { "reduce", ".tkv", ".reduced.tkv", kv_reduce },
    { "info", NULL, NULL, kv_info },
    { "compare", NULL, NULL, kv_compare },
    { "bench", NULL, NULL, kv_bench },
    { "profile", NULL, NULL, kv_profile },
    { "serve", NULL, NULL, kv_serve },
    { "ls", NULL, NULL, kv_ls },
    { "stat", NULL, NULL, kv_stat },
    { "rm", NULL, NULL, kv_rm },
    { "push", NULL, NULL, kv_push },
    { "pull", NULL, NULL, kv_pull },
};

static int run(args *a)
{
    char made[NAME_SIZE];
    for (size_t i = 0; a->files && i < sizeof verbs / sizeof *verbs; i++) {
        int rc = RC_OK;
        if (strcmp(a->file[0], verbs[i].name))
            continue;
        a->file++;
        a->files--;
        if (verbs[i].to)
            rc = command_paths(a, verbs[i].from, verbs[i].to, made);
        return rc ? rc : verbs[i].run(a);
    }
    return say_error(RC_USAGE, NULL, "kv%s%s: one of these is wanted: %s",
                     a->files ? " " : "", a->files ? a->file[0] : "",
                     command_kv.verbs);
}

const command command_kv = {
    .name = "kv",
    .summary = "key/value caches of language models: pack, unpack, compare",
    .synopsis = "pack|unpack|push|pull|serve|ls|stat|rm|... [options] FILE ...",
    .verbs = "pack unpack reduce info compare bench profile serve ls stat rm push pull",
    .takes = "safetensors npy tkv pkl",
    .usage =
        "  tessera kv pack cache.safetensors             writes cache.tkv\n"
        "  tessera kv pack -profile llama.safetensors -levels 3 cache.safetensors\n"
        "  tessera kv unpack cache.tkv back.safetensors\n"
        "  tessera kv unpack -layers 0:4 -tokens 0:256 cache.tkv part.safetensors\n"
        "  tessera kv unpack cache.pkl cache.safetensors  CacheGen's, of LMCache\n"
        "  tessera kv reduce -level 1 cache.tkv small.tkv\n"
        "  tessera kv info cache.tkv\n"
        "  tessera kv compare cache.safetensors back.safetensors\n"
        "  tessera kv bench cache.safetensors\n"
        "  tessera kv profile -statistics stats.safetensors \\\n"
        "      -o llama.safetensors a.safetensors ...\n"
        "  tessera kv pack -layout 2LTHD -dims 2x32x256x8x128 -dtype bf16 \\\n"
        "      -rope 500000 dump.bin\n"
        "  tessera kv serve -listen 0.0.0.0:8920 -token_file tokens /var/kv\n"
        "  tessera kv ls -long http://host:8920\n"
        "  tessera kv rm http://host:8920 KEY ...\n"
        "  tessera kv push -model llama-8b -levels 3 cache.safetensors \\\n"
        "      http://host:8920\n"
        "  tessera kv pull -model llama-8b -ids text.npy -deadline 0.5 \\\n"
        "      http://host:8920 cache.safetensors\n",
    .notes =
        "A cache is a .safetensors file with layers.N.key and layers.N.value of\n"
        "[heads, tokens, dim] (or layers.N.latent), perhaps token_ids; one array of\n"
        "all layers (.npy, or -tensor) with -layout; or bare numbers with -layout,\n"
        "-dims and -dtype. Keys are as engines cache them, after the rotation by\n"
        "position that -rope describes (a file's metadata rope_theta says it too).\n"
        "unpack also reads the streams of CacheGen that LMCache stores (pickles), and\n"
        "pack writes one where the output's name ends in .pkl; their bins are those of\n"
        "LMCache unless -method cachegen:level=N says otherwise.\n"
        "A store is a folder (/path, ./path, dir:path), redis://[[user:]password@]\n"
        "host[:port][/db], s3://bucket[/prefix] with the AWS_ variables of the\n"
        "environment, or http[s]://host[:port][/path] of kv serve; docs/kv-store.md\n"
        "says what each promises.\n",
    .tables = { kv_options, kv_transfer_options, kv_remote_options,
                kv_serve_options,
                args_output_options, args_common_options },
    .run = run
};
