/* SPDX-License-Identifier: BSD-2-Clause */
#include "tools/chunks.h"
#include "tools/say.h"

int chunks_check(tsr_context *ctx, input *in, chunks *c)
{
    tsr_stream_reader *reader;
    const tsr_source source = input_source(in);
    tsr_chunk chunk;
    tsr_error error = tsr_stream_reader_open(&reader, ctx, &source);

    *c = (chunks){ .sound = 0 };
    if (error)
        return say_failure(in->name, error);
    while (!(error = tsr_stream_reader_next(reader, &chunk)))
        c->sound++;
    c->damage = tsr_stream_reader_damage(reader);
    c->lost = c->damage.lost_chunks;
    c->bad = c->lost || c->damage.skipped_bytes || c->damage.truncated;
    tsr_stream_reader_close(&reader);
    return error == TSR_E_EOF ? RC_OK : say_failure(in->name, error);
}
