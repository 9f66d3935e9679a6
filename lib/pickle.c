/* SPDX-License-Identifier: BSD-2-Clause */
/* The opcodes.  Their meaning is that of Python's pickletools module. */
#include "lib/bytes.h"
#include "lib/pickle_impl.h"

/* ---- bytes ---- */

/* The next n bytes, or NULL. */
static const uint8_t *take(tsri_pickle *p, uint64_t n)
{
    const uint8_t *at = p->at;

    if (p->error)
        return NULL;
    if (n > (uint64_t)(p->end - p->at)) {
        tsri_pickle_fail(p, TSR_E_TRUNCATED, "it ends too early, or a text is "
                         "too long");
        return NULL;
    }
    p->at += n;
    return at;
}

/* A number of n bytes, low first; 0 after a fault. */
static uint64_t number(tsri_pickle *p, int n)
{
    const uint8_t *at = take(p, (uint64_t)n);
    uint64_t value = 0;

    for (int i = n - 1; at && i >= 0; i--)
        value = value << 8 | at[i];
    return value;
}

/* A line, without its end. */
static const char *line(tsri_pickle *p, size_t *size)
{
    const uint8_t *at = p->at;
    const uint8_t *end = memchr(at, '\n', (size_t)(p->end - at));

    *size = end ? (size_t)(end - at) : 0;
    if (!take(p, end ? *size + 1 : UINT64_MAX))
        return NULL;
    return (const char *)at;
}

/* ---- stack and memo ---- */

static void push(tsri_pickle *p, tsri_pickle_ref ref)
{
    if (p->error || !ref)
        return;
    if (p->depth >= TSRI_PICKLE_STACK_MAX) {
        tsri_pickle_fail(p, TSR_E_LIMIT, "the stack is over %d deep",
                         TSRI_PICKLE_STACK_MAX);
        return;
    }
    p->error = tsri_grow(p->ctx, &p->stack, &p->stack_room, p->depth, 1,
                         sizeof *p->stack);
    if (!p->error)
        p->stack[p->depth++] = ref;
}

/* Whether the part above the last mark has n values. */
static bool has(tsri_pickle *p, size_t n)
{
    const size_t floor = p->marks ? p->mark[p->marks - 1] : 0;
    if (p->error)
        return false;
    if (p->depth - floor < n)
        tsri_pickle_fail(p, TSR_E_CORRUPT, "it takes from an empty stack");
    return !p->error;
}

static tsri_pickle_ref pop(tsri_pickle *p)
{
    return has(p, 1) ? p->stack[--p->depth] : 0;
}

static void set_mark(tsri_pickle *p)
{
    if (p->marks >= TSRI_PICKLE_STACK_MAX) {
        tsri_pickle_fail(p, TSR_E_LIMIT, "more than %d marks",
                         TSRI_PICKLE_STACK_MAX);
        return;
    }
    p->error = tsri_grow(p->ctx, &p->mark, &p->mark_room, p->marks, 1,
                         sizeof *p->mark);
    if (!p->error)
        p->mark[p->marks++] = (uint32_t)p->depth;
}

/* Takes the last mark away; the values above it begin at *from. */
static bool to_mark(tsri_pickle *p, size_t *from)
{
    if (!p->error && !p->marks)
        tsri_pickle_fail(p, TSR_E_CORRUPT, "there is no mark");
    *from = p->error ? p->depth : p->mark[--p->marks];
    return !p->error;
}

static void memo_put(tsri_pickle *p, uint64_t i)
{
    if (!has(p, 1))
        return;
    /* Entries are counted up; a number over the bytes that there are would
     * only make room. */
    if (i >= TSRI_PICKLE_MEMO_MAX || i >= (uint64_t)(p->end - p->start)) {
        tsri_pickle_fail(p, TSR_E_LIMIT, "memo entry %llu",
                         (unsigned long long)i);
        return;
    }
    if (i >= p->memo_count) {
        p->error = tsri_grow(p->ctx, &p->memo, &p->memo_room, p->memo_count,
                             (size_t)i + 1 - p->memo_count, sizeof *p->memo);
        if (p->error)
            return;
        memset(p->memo + p->memo_count, 0,
               ((size_t)i + 1 - p->memo_count) * sizeof *p->memo);
        p->memo_count = (size_t)i + 1;
    }
    p->memo[i] = p->stack[p->depth - 1];
}

static void memo_get(tsri_pickle *p, uint64_t i)
{
    if (p->error)
        return;
    if (i >= p->memo_count || !p->memo[i])
        tsri_pickle_fail(p, TSR_E_CORRUPT, "memo entry %llu was never written",
                         (unsigned long long)i);
    else
        push(p, p->memo[i]);
}

static bool memo_op(tsri_pickle *p, int op)
{
    switch (op) {
    case 'q': memo_put(p, number(p, 1)); return true;
    case 'r': memo_put(p, number(p, 4)); return true;
    case 0x94: memo_put(p, p->memo_count); return true;
    case 'h': memo_get(p, number(p, 1)); return true;
    case 'j': memo_get(p, number(p, 4)); return true;
    default: return false;
    }
}

/* ---- numbers and text ---- */

static void push_kind(tsri_pickle *p, tsri_pickle_kind kind, int64_t value)
{
    const tsri_pickle_ref ref = tsri_pickle_new(p, kind);
    if (ref)
        p->value[ref].whole = value;
    push(p, ref);
}

static void push_long(tsri_pickle *p, uint64_t n)
{
    const uint8_t *at = take(p, n);
    uint64_t value = 0;

    if (!at)
        return;
    if (n > 8) {
        push(p, tsri_pickle_text(p, TSRI_PICKLE_LONG, at, n));
        return;
    }
    for (uint64_t i = 0; i < 8; i++)
        value |= (uint64_t)(i < n ? at[i]
                            : n && at[n - 1] & 0x80 ? 0xff : 0) << (8 * i);
    push_kind(p, TSRI_PICKLE_INT, (int64_t)value);
}

static void push_float(tsri_pickle *p)
{
    const uint8_t *at = take(p, 8);
    uint64_t bits = 0;

    for (int i = 0; at && i < 8; i++)
        bits = bits << 8 | at[i];
    const tsri_pickle_ref ref = tsri_pickle_new(p, TSRI_PICKLE_FLOAT);
    if (ref)
        memcpy(&p->value[ref].real, &bits, sizeof bits);
    push(p, ref);
}

static bool number_op(tsri_pickle *p, int op)
{
    switch (op) {
    case 'N': push(p, tsri_pickle_new(p, TSRI_PICKLE_NONE)); return true;
    case 0x88: push_kind(p, TSRI_PICKLE_BOOL, 1); return true;
    case 0x89: push_kind(p, TSRI_PICKLE_BOOL, 0); return true;
    case 'J':
        push_kind(p, TSRI_PICKLE_INT, (int32_t)(uint32_t)number(p, 4));
        return true;
    case 'K': push_kind(p, TSRI_PICKLE_INT, (int64_t)number(p, 1)); return true;
    case 'M': push_kind(p, TSRI_PICKLE_INT, (int64_t)number(p, 2)); return true;
    case 0x8a: push_long(p, number(p, 1)); return true;
    case 0x8b: push_long(p, number(p, 4)); return true;
    case 'G': push_float(p); return true;
    default: return false;
    }
}

/* A length of n bytes, and so many bytes. */
static void push_text(tsri_pickle *p, tsri_pickle_kind kind, int n)
{
    const uint64_t size = number(p, n);
    const uint8_t *at = take(p, size);
    if (at)
        push(p, tsri_pickle_text(p, kind, at, size));
}

static bool text_op(tsri_pickle *p, int op)
{
    switch (op) {
    case 0x8c: push_text(p, TSRI_PICKLE_TEXT, 1); return true;
    case 'X': push_text(p, TSRI_PICKLE_TEXT, 4); return true;
    case 0x8d: push_text(p, TSRI_PICKLE_TEXT, 8); return true;
    case 'U': push_text(p, TSRI_PICKLE_TEXT, 1); return true; /* Python 2's */
    case 'T': push_text(p, TSRI_PICKLE_TEXT, 4); return true;
    case 'C': push_text(p, TSRI_PICKLE_BYTES, 1); return true;
    case 'B': push_text(p, TSRI_PICKLE_BYTES, 4); return true;
    case 0x8e: case 0x96: push_text(p, TSRI_PICKLE_BYTES, 8); return true;
    default: return false;
    }
}

/* ---- containers ---- */

/* Moves stack[from..] into a container, of which opaque objects are none. */
static void move_items(tsri_pickle *p, tsri_pickle_ref container, size_t from,
                       tsri_pickle_kind kind)
{
    if (!container)
        return;
    const int found = p->value[container].kind;
    if (found != (int)kind && found != TSRI_PICKLE_OPAQUE)
        tsri_pickle_fail(p, TSR_E_CORRUPT, "items for what is no container");
    if (kind == TSRI_PICKLE_DICT && (p->depth - from) % 2)
        tsri_pickle_fail(p, TSR_E_CORRUPT, "a key without a value");
    for (size_t i = from; i < p->depth && found == (int)kind && !p->error; i++)
        tsri_pickle_add(p, container, p->stack[i]);
    p->depth = from;
}

/* A tuple of the values from stack[from] on, which it takes. */
static void make_tuple(tsri_pickle *p, size_t from)
{
    const tsri_pickle_ref ref = tsri_pickle_new(p, TSRI_PICKLE_TUPLE);
    move_items(p, ref, from, TSRI_PICKLE_TUPLE);
    push(p, ref);
}

/* The n uppermost values into the container beneath them. */
static void extend(tsri_pickle *p, size_t n, tsri_pickle_kind kind)
{
    if (has(p, n + 1))
        move_items(p, p->stack[p->depth - n - 1], p->depth - n, kind);
}

static void extend_to_mark(tsri_pickle *p, tsri_pickle_kind kind)
{
    size_t from;
    if (to_mark(p, &from))
        extend(p, p->depth - from, kind);
}

static bool container_op(tsri_pickle *p, int op)
{
    size_t from;

    switch (op) {
    case '}': push(p, tsri_pickle_new(p, TSRI_PICKLE_DICT)); return true;
    case ']': case 0x8f:
        push(p, tsri_pickle_new(p, TSRI_PICKLE_LIST));
        return true;
    case ')': make_tuple(p, p->depth); return true;
    case 't': case 0x91:
        if (to_mark(p, &from))
            make_tuple(p, from);
        return true;
    case 0x85: case 0x86: case 0x87:
        if (has(p, (size_t)(op - 0x84)))
            make_tuple(p, p->depth - (size_t)(op - 0x84));
        return true;
    case 'a': extend(p, 1, TSRI_PICKLE_LIST); return true;
    case 'e': case 0x90: extend_to_mark(p, TSRI_PICKLE_LIST); return true;
    case 's': extend(p, 2, TSRI_PICKLE_DICT); return true;
    case 'u': extend_to_mark(p, TSRI_PICKLE_DICT); return true;
    default: return false;
    }
}

/* ---- objects ---- */

static void push_global(tsri_pickle *p)
{
    size_t module_size, name_size;
    const char *module = line(p, &module_size);
    const char *name = p->error ? NULL : line(p, &name_size);

    if (name)
        push(p, tsri_pickle_name(p, module, module_size, name, name_size));
}

static void stack_global(tsri_pickle *p)
{
    const tsri_pickle_ref name = pop(p), module = pop(p);

    if (p->error)
        return;
    const tsri_pickle_value *n = &p->value[name], *m = &p->value[module];
    if (n->kind != TSRI_PICKLE_TEXT || m->kind != TSRI_PICKLE_TEXT)
        tsri_pickle_fail(p, TSR_E_CORRUPT, "a name that is no text");
    else
        push(p, tsri_pickle_name(p, m->text, m->size, n->text, n->size));
}

/* callable and arguments are on the stack, and keywords, which only opaque
 * objects have, if ex. */
static void reduce(tsri_pickle *p, bool ex)
{
    if (ex)
        pop(p);
    const tsri_pickle_ref arguments = pop(p), callable = pop(p);
    if (!p->error)
        push(p, tsri_pickle_reduce(p, callable, arguments));
}

static void build(tsri_pickle *p)
{
    const tsri_pickle_ref state = pop(p);
    if (has(p, 1))
        tsri_pickle_build(p, p->stack[p->depth - 1], state);
}

static bool object_op(tsri_pickle *p, int op)
{
    switch (op) {
    case 'c': push_global(p); return true;
    case 0x93: stack_global(p); return true;
    case 'R': case 0x81: reduce(p, false); return true;
    case 0x92: reduce(p, true); return true;
    case 'b': build(p); return true;
    case 'Q':
        push(p, tsri_pickle_persistent(p, pop(p)));
        return true;
    default: return false;
    }
}

/* ---- the rest ---- */

static void pop_or_mark(tsri_pickle *p)
{
    if (p->marks && p->mark[p->marks - 1] == p->depth)
        p->marks--;
    else
        pop(p);
}

static void protocol(tsri_pickle *p)
{
    const uint64_t version = number(p, 1);
    if (version < 2 || version > 5)
        tsri_pickle_fail(p, TSR_E_UNSUPPORTED, "protocol %d, not 2 to 5",
                         (int)version);
}

/* Frames only help buffering; what they say must be possible. */
static void frame(tsri_pickle *p)
{
    if (number(p, 8) > (uint64_t)(p->end - p->at))
        tsri_pickle_fail(p, TSR_E_TRUNCATED, "a frame reaches beyond the end");
}

static bool other_op(tsri_pickle *p, int op)
{
    size_t from;

    switch (op) {
    case '(': set_mark(p); return true;
    case '0': pop_or_mark(p); return true;
    case '1':
        if (to_mark(p, &from))
            p->depth = from;
        return true;
    case '2':
        if (has(p, 1))
            push(p, p->stack[p->depth - 1]);
        return true;
    case 0x80: protocol(p); return true;
    case 0x95: frame(p); return true;
    default: return false;
    }
}

static void step(tsri_pickle *p, int op)
{
    if (!number_op(p, op) && !text_op(p, op) && !memo_op(p, op) &&
        !container_op(p, op) && !object_op(p, op) && !other_op(p, op))
        tsri_pickle_fail(p, TSR_E_UNSUPPORTED, "unknown opcode 0x%02x",
                         (unsigned)op);
}

tsr_error tsri_pickle_run(tsri_pickle *p, const uint8_t *data, size_t size,
                          tsri_pickle_ref *root, size_t *used)
{
    *root = 0;
    p->start = p->at = data;
    p->end = data + size;
    p->depth = p->marks = p->memo_count = p->loaded = 0;
    while (!p->error) {
        const int op = (int)number(p, 1);
        if (op == '.')
            break;
        if (!p->error)
            step(p, op);
    }
    const tsri_pickle_ref ref = pop(p);
    if (!p->error && (p->depth || p->marks))
        tsri_pickle_fail(p, TSR_E_CORRUPT, "values are left on the stack");
    if (used)
        *used = (size_t)(p->at - p->start);
    *root = p->error ? 0 : ref;
    return p->error;
}
