/* SPDX-License-Identifier: BSD-2-Clause */
/* Writes a small random model of token pictures for the tests of the program:
 * tiny_tokens FILE levels|plain. */
#include "config.h"
#include "tests/token_model.h"

/* levels: 5 of them, with a context.  plain: the other codec, one level. */
int main(int argc, char **argv)
{
    const int plain = argc == 3 && !strcmp(argv[2], "plain");
    token_sizes sizes = TOKEN_SIZES;
    check_tensors list;

    if (argc != 3 || (!plain && strcmp(argv[2], "levels"))) {
        fputs("usage: tiny_tokens FILE levels|plain\n", stderr);
        return 1;
    }
    if (plain)
        sizes.levels = sizes.context = 0;
    list = token_model(&sizes, plain, plain ? 2 : 1);
    check_tensors_write(&list, SIZE_MAX, plain ? TOKEN_META_SIMVQ : TOKEN_META,
                        argv[1]);
    check_tensors_free(&list);
    return 0;
}
