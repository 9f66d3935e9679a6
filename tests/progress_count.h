/* SPDX-License-Identifier: BSD-2-Clause */
/* Progress that must not fall, counted; stops the work at call `stop_at`. */
#ifndef TSR_TESTS_PROGRESS_COUNT_H
#define TSR_TESTS_PROGRESS_COUNT_H
#include "tests/check.h"

typedef struct progress_count {
    int calls, stop_at;     /* stop_at 0: never */
    double last;
} progress_count;

static inline int progress_up(void *cookie, double done)
{
    progress_count *c = cookie;

    assert_true(done >= c->last && done <= 1.0000001);
    c->last = done;
    return ++c->calls == c->stop_at;
}
#endif
