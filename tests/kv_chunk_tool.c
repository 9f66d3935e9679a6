/* SPDX-License-Identifier: BSD-2-Clause */
/* Chunks and their names, for kv_chunk_check.py:
 *     kv_chunk_tool names MODEL PROFILE TOKENS ID...   chunks of TOKENS ids;
 *                                              PROFILE 16 digits
 *     kv_chunk_tool wrap KEY < OBJECT > CHUNK
 *     kv_chunk_tool check KEY < CHUNK          the verdict, a number; of good
 *                                              ones all ranges
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tessera/kv_chunk.h>

enum { ROOM = 1 << 22 };

static int names(char **words, int n)
{
    int32_t ids[1024];
    uint8_t profile[8];
    char text[TSR_KV_NAME_TEXT];
    tsr_kv_prefix prefix;
    const int tokens = atoi(words[2]);
    unsigned byte;

    for (int i = 0; i < 8; i++) {
        if (sscanf(words[1] + 2 * i, "%2x", &byte) != 1)
            return 1;
        profile[i] = (uint8_t)byte;
    }
    if (tsr_kv_prefix_begin(&prefix, words[0], profile))
        return 1;
    for (int at = 3, k; at < n; at += k) {
        for (k = 0; k < tokens && at + k < n; k++)
            ids[k] = atoi(words[at + k]);
        if (tsr_kv_prefix_add(&prefix, ids, (size_t)k))
            return 1;
        tsr_kv_name_text(prefix.name, text);
        puts(text);
    }
    return 0;
}

static int wrap(tsr_context *ctx, const uint8_t *name, const uint8_t *object,
                size_t size)
{
    static uint8_t out[ROOM + TSR_KV_CHUNK_HEAD];
    size_t bytes;

    if (tsr_kv_chunk_wrap(ctx, name, object, size, out, sizeof out, &bytes))
        return 1;
    return fwrite(out, 1, bytes, stdout) != bytes;
}

static int check(tsr_context *ctx, const uint8_t *name, const uint8_t *in,
                 size_t size)
{
    uint64_t begin, end;
    tsr_kv_chunk chunk;
    const tsr_error error = tsr_kv_chunk_check(ctx, in, size, name, &chunk);

    printf("%d\n", error);
    for (int level = 0; !error && level < chunk.levels; level++)
        for (int first = 0; first < chunk.layers; first++)
            for (int n = 1; n <= chunk.layers - first; n++) {
                if (tsr_kv_chunk_range(ctx, in, size, level, first, n, &begin,
                                       &end))
                    return 1;
                printf("%d %d %d %llu %llu\n", level, first, n,
                       (unsigned long long)begin, (unsigned long long)end);
            }
    return 0;
}

int main(int argc, char **argv)
{
    static uint8_t in[ROOM];
    uint8_t name[TSR_KV_NAME_BYTES];
    tsr_context *ctx;
    int rc = 1;

    if (argc > 4 && !strcmp(argv[1], "names"))
        return names(argv + 2, argc - 2);
    if (argc != 3 || tsr_kv_name_parse(argv[2], name) ||
        tsr_context_open(&ctx, NULL))
        return 1;
    const size_t size = fread(in, 1, sizeof in, stdin);
    if (!strcmp(argv[1], "wrap"))
        rc = wrap(ctx, name, in, size);
    else if (!strcmp(argv[1], "check"))
        rc = check(ctx, name, in, size);
    tsr_context_close(&ctx);
    return rc;
}
