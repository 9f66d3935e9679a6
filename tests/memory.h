/* SPDX-License-Identifier: BSD-2-Clause */
/* Files in memory: sinks, sources and seekers for tests. */
#ifndef TSR_TESTS_MEMORY_H
#define TSR_TESTS_MEMORY_H
#include "tests/check.h"
#include <tessera/media.h>

typedef struct mem_file {
    uint8_t *data;
    size_t size, room, at;
    size_t step;            /* most that a read gives; 0: what is asked for */
    size_t fail_at;         /* reads and writes beyond it fail; 0: none */
    int seeks;              /* that still succeed */
} mem_file;

static inline tsr_error mem_write(void *cookie, const void *data, size_t size)
{
    mem_file *m = cookie;

    if (m->fail_at && m->size + size > m->fail_at)
        return TSR_E_IO;
    if (m->size + size > m->room)
        m->data = realloc(m->data, m->room = 2 * (m->size + size));
    assert_non_null(m->data);
    memcpy(m->data + m->size, data, size);
    m->size += size;
    return TSR_OK;
}

static inline tsr_error mem_read(void *cookie, void *data, size_t size, size_t *got)
{
    mem_file *m = cookie;

    if (m->fail_at && m->at >= m->fail_at)
        return TSR_E_IO;
    *got = m->size - m->at < size ? m->size - m->at : size;
    if (m->step && *got > m->step)
        *got = m->step;
    if (m->fail_at && *got > m->fail_at - m->at)
        *got = m->fail_at - m->at;
    if (*got)
        memcpy(data, m->data + m->at, *got);
    m->at += *got;
    return TSR_OK;
}

static inline tsr_error mem_seek(void *cookie, uint64_t offset)
{
    mem_file *m = cookie;

    if (m->seeks-- < 1)
        return TSR_E_IO;
    assert_true(offset <= m->size);
    m->at = (size_t)offset;
    return TSR_OK;
}
#endif
