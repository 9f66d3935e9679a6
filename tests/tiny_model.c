/* SPDX-License-Identifier: BSD-2-Clause */
/* Writes the tiny random model of the tests of the program:
 * tiny_model FILE [SEED]. */
#include "config.h"
#include "tests/hyper_gen.h"

int main(int argc, char **argv)
{
    if (argc < 2 || argc > 3) {
        fputs("usage: tiny_model FILE [SEED]\n", stderr);
        return 1;
    }
    hyper_gen(argv[1], argc > 2 ? strtoull(argv[2], NULL, 10) : 1);
    return 0;
}
