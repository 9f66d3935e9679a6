/* SPDX-License-Identifier: BSD-2-Clause */
/* Writes a tiny random model of sound for the tests of the program:
 * tiny_sound FILE mono|other|stereo|segments. */
#include "config.h"
#include "tests/audio_model.h"

static const struct { const char *name; uint64_t seed; encodec_sizes sizes; }
kinds[] = {
    { "mono", 1, { .rate = 24000, .channels = 1, .filters = 2,
      .decoder_filters = 2, .ratio = { 8, 5, 4, 2 }, .ratios = 4,
      .residuals = 1, .lstms = 1, .dim = 8, .books = 4, .codewords = 64,
      .causal = true, .folded = true } },
    { "other", 2, { .rate = 16000, .channels = 1, .filters = 2,
      .decoder_filters = 2, .ratio = { 8, 5, 4, 2 }, .ratios = 4,
      .residuals = 1, .lstms = 1, .dim = 8, .books = 3, .codewords = 32,
      .causal = true, .folded = true } },
    { "stereo", 3, { .rate = 48000, .channels = 2, .filters = 2,
      .decoder_filters = 2, .ratio = { 8, 5, 4, 2 }, .ratios = 4,
      .residuals = 1, .lstms = 1, .dim = 8, .books = 2, .codewords = 64,
      .causal = true, .folded = true } },
    { "segments", 4, { .rate = 48000, .channels = 2, .filters = 2,
      .decoder_filters = 2, .ratio = { 8, 5, 4, 2 }, .ratios = 4,
      .residuals = 1, .lstms = 1, .dim = 8, .books = 2, .codewords = 64,
      .norm = true, .segment = 4800, .step = 4752 } },
};

int main(int argc, char **argv)
{
    char meta[96];
    check_tensors list;

    for (size_t i = 0; argc == 3 && i < sizeof kinds / sizeof *kinds; i++) {
        if (strcmp(argv[2], kinds[i].name))
            continue;
        snprintf(meta, sizeof meta, "\"tessera.codec\":\"encodec\","
                 "\"tessera.name\":\"%s\"", kinds[i].name);
        list = encodec_model(&kinds[i].sizes, kinds[i].seed);
        check_tensors_write(&list, SIZE_MAX, meta, argv[1]);
        check_tensors_free(&list);
        return 0;
    }
    fputs("usage: tiny_sound FILE mono|other|stereo|segments\n", stderr);
    return 1;
}
