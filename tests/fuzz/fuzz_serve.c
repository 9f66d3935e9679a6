/* SPDX-License-Identifier: BSD-2-Clause */
/* Texts that come over a network, or name what is there: fields of requests to
 * `tessera kv serve`, tokens, answers of S3, addresses of Redis. */
#include "tests/fuzz/fuzz.h"
#include "net/xml.h"
#include "tools/kv/remote.h"
#include "tools/kv/serve.h"
#include "tools/say.h"

static void try_range(const char *text, fuzz_input *in)
{
    const uint64_t size = fuzz_u8(in) % 2 ? fuzz_u8(in) : (uint64_t)1 << 40;
    uint64_t first = 1, bytes = 1;

    if (range_parse(text, size, &first, &bytes) == RANGE_PART)
        FUZZ_CHECK(bytes && first < size && bytes <= size - first);
}

static void try_tags(const char *text)
{
    if (etag_matches(text, NULL, 1))
        FUZZ_CHECK(0);
    if (etag_matches(text, "a-1", 0))
        FUZZ_CHECK(etag_matches(text, "a-1", 1));
}

static void try_xml(const char *text)
{
    const char *at = text, *end = text + strlen(text);
    tsri_xml tag;

    while (tsri_xml_next(&at, &tag) > 0) {
        FUZZ_CHECK(at <= end && strlen(tag.name) < sizeof tag.name &&
                   strlen(tag.text) < sizeof tag.text);
        FUZZ_CHECK(tag.end == 0 || tag.end == 1);
    }
}

/* The first line is an Authorization, the rest a file of tokens. */
static void try_tokens(const char *text)
{
    const size_t n = strcspn(text, "\n");
    char *first = calloc(1, n + 1);
    const char *path = fuzz_file(".tokens", text + n, strlen(text + n));
    tokens *t;

    FUZZ_CHECK(first);
    memcpy(first, text, n);
    if (!tokens_open(&t, path)) {
        const int right = tokens_right(t, first);
        FUZZ_CHECK(right == TOKEN_NONE || right == TOKEN_READ || right == TOKEN_WRITE);
        FUZZ_CHECK(tokens_right(t, "Bearer ") == TOKEN_NONE);
        FUZZ_CHECK(!tokens_reload(t) && tokens_right(t, first) == right);
        tokens_close(&t);
    }
    remove(path);
    free(first);
}

/* A URL: what cannot be opened is refused, without asking anybody. */
static void try_url(const char *text)
{
    static const char *const schemes[] = { "redis://", "http://", "s3://", "" };
    tsr_store_settings s;
    char url[512];
    tsr_store *store;

    tsr_store_settings_init(&s);
    s.endpoint = "http://127.0.0.1:9";
    snprintf(url, sizeof url, "%s%s", schemes[strlen(text) % 4], text);
    if (strstr(url, "dir:") || !strchr(url, ':') || strchr("./", *url))
        return;     /* folders would be made */
    kv_remote_shown(url);
    const tsr_error error = tsr_store_open(&store, url, &s);
    FUZZ_CHECK(!error == !!store);
    tsr_store_close(&store);
}

void fuzz_target(const uint8_t *data, size_t size)
{
    fuzz_input in = { data, size };
    const uint32_t mode = fuzz_u8(&in) % 5;
    fuzz_input head = { in.data, in.size < 2 ? in.size : 2 };
    const size_t skip = mode ? 0 : head.size;
    char *text = calloc(1, in.size - skip + 1);

    FUZZ_CHECK(text);
    say_set_level("quiet");
    if (in.size - skip)
        memcpy(text, in.data + skip, in.size - skip);
    if (mode == 0)
        try_range(text, &head);
    else if (mode == 1)
        try_tags(text);
    else if (mode == 2)
        try_xml(text);
    else if (mode == 3)
        try_tokens(text);
    else
        try_url(text);
    free(text);
}
