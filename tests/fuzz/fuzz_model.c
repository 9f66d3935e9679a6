/* SPDX-License-Identifier: BSD-2-Clause */
/* Files in the safetensors format: any bytes, heads of any text before as many
 * zeros as they ask for (up to a limit), and indices of shards.  What is read as a
 * model is there, byte for byte, and reads the same when it is written. */
#include "tests/fuzz/fuzz_bytes.h"
#include "tests/fuzz/fuzz_model.h"
#include "lib/checkpoint.h"
#include "lib/model_write.h"

enum { DATA = 1 << 12 };

static uint32_t touch(const void *data, size_t size)
{
    uint32_t sum = 0;

    for (size_t i = 0; i < size; i++)
        sum += ((const uint8_t *)data)[i];
    return sum;
}

static void read_model(const tsr_model *m)
{
    uint32_t sum = touch(tsr_model_hash(m), TSR_MODEL_HASH_BYTES);

    for (size_t i = 0; i < tsr_model_tensor_count(m); i++) {
        const tsr_tensor *t = tsr_model_tensor_at(m, i);
        uint64_t n = tsr_dtype_bytes(t->dtype);
        for (int k = 0; k < t->rank; k++)
            n *= t->dims[k];
        FUZZ_CHECK(n == t->bytes && tsr_model_tensor(m, t->name) == t);
        sum += touch(t->data, t->bytes);
    }
    FUZZ_CHECK(sum + 1 || !sum);    /* so that the sum is needed */
}

/* The same hash, since the same tensors. */
static void write_again(const tsr_model *m)
{
    const size_t n = tsr_model_tensor_count(m);
    tsr_tensor *all = calloc(n + 1, sizeof *all);
    fuzz_bytes out = { NULL, 0, 0 };
    const tsr_sink sink = { &out, fuzz_put };
    tsr_model *again;

    FUZZ_CHECK(all);
    for (size_t i = 0; i < n; i++)
        all[i] = *tsr_model_tensor_at(m, i);
    const tsr_error error = tsri_model_write(fuzz_context(true), m, all, n, &sink);
    free(all);
    FUZZ_CHECK(!error || error == TSR_E_ARG);   /* a name that is no UTF-8 */
    if (!error) {
        FUZZ_CHECK(!fuzz_open_bytes(&again, out.data, out.size));
        FUZZ_CHECK(!memcmp(tsr_model_hash(again), tsr_model_hash(m),
                           TSR_MODEL_HASH_BYTES));
        tsr_model_unref(&again);
    }
    free(out.data);
}

static void try_model(const uint8_t *data, size_t size)
{
    tsr_model *m;

    if (fuzz_open_bytes(&m, data, size))
        return;
    read_model(m);
    write_again(m);
    tsr_model_unref(&m);
}

static void try_index(const fuzz_input *in)
{
    const char *path = fuzz_file(".safetensors.index.json", in->data, in->size);
    tsri_checkpoint *cp;
    const void *data;

    const tsr_error error = tsri_checkpoint_open(&cp, fuzz_context(false), path);
    FUZZ_CHECK(!error == !!cp);
    for (size_t i = 0; !error && i < tsri_checkpoint_count(cp); i++)
        if (!tsri_checkpoint_data(cp, i, &data))
            FUZZ_CHECK(touch(data, tsri_checkpoint_at(cp, i)->bytes) + 1);
    tsri_checkpoint_close(&cp);
    remove(path);
}

void fuzz_target(const uint8_t *data, size_t size)
{
    fuzz_input in = { data, size };
    const uint32_t mode = fuzz_u8(&in) % 4;

    if (mode == 0) {
        try_model(in.data, in.size);
    } else if (mode == 1) {
        try_index(&in);
    } else {
        const size_t room = fuzz_u16(&in) % DATA;
        uint8_t *file = calloc(1, 8 + in.size + room);
        FUZZ_CHECK(file);
        tsri_put64(file, in.size);
        memcpy(file + 8, in.data, in.size);
        try_model(file, 8 + in.size + room);
        free(file);
    }
}
