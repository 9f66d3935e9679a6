/* SPDX-License-Identifier: BSD-2-Clause */
/* golden_tool DESCRIPTION OUT: writes the segment or container of a
 * description; for tests/test_python.sh. */
#include "tests/golden.h"

int main(int argc, char **argv)
{
    tsr_context *ctx = NULL;
    golden g;
    FILE *file;

    golden_need(argc == 3 && !tsr_context_open(&ctx, NULL), "two arguments");
    golden_open(&g, ctx, argv[1]);
    if (!g.out_bytes)
        golden_encode(&g);
    file = fopen(argv[2], "wb");
    golden_need(file && fwrite(g.out, 1, g.out_bytes, file) == g.out_bytes &&
                !fclose(file), argv[2]);
    golden_close(&g);
    tsr_context_close(&ctx);
    return 0;
}
