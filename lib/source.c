/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/source.h"

tsr_error tsri_read_all(tsr_context *ctx, const tsr_source *source, size_t most,
                        uint8_t **data, size_t *size)
{
    enum { STEP = 1 << 16 };
    size_t room = 0, got;

    *data = NULL;
    *size = 0;
    do {
        if (*size + STEP > most)
            return tsri_fail(ctx, TSR_E_LIMIT, "a file over %zu bytes", most);
        if (tsri_grow(ctx, data, &room, *size, STEP, 1))
            return tsri_nomem(ctx);
        TSR_TRY(source->read(source->cookie, *data + *size, STEP, &got));
        *size += got;
    } while (got);
    return TSR_OK;
}
