/* SPDX-License-Identifier: BSD-2-Clause */
/* Stores over HTTP against tests/store_server.py, each path of which breaks its
 * word in one way. */
#include "tests/store_peer.h"
#include <pthread.h>

static store_peer server;
static store_note note;

static tsr_store *open_case(const char *name, double timeout, int retries,
                            const char *token)
{
    char url[128];
    tsr_store_settings s = store_settings(&note);
    s.timeout = timeout;
    s.retries = retries;
    s.token = token;
    note = (store_note){ 0 };
    snprintf(url, sizeof url, "%s/%s", server.place, name);
    return store_open(url, &s);
}

/* What the server noticed of a case. */
typedef struct seen { int requests, connections; char word[40]; } seen;

static seen look(const char *name)
{
    tsr_store *s = open_case("note", 10, 0, NULL);
    store_bytes b = { 0 };
    const tsr_sink sink = { &b, store_take };
    seen what = { 0 };
    assert_int_equal(tsr_store_get(s, name, 0, 0, &sink, NULL), TSR_OK);
    assert_int_equal(store_take(&b, "", 1), TSR_OK);
    assert_int_equal(sscanf((char *)b.data, "%d %d %39s", &what.requests,
                            &what.connections, what.word), 3);
    free(b.data);
    tsr_store_close(&s);
    return what;
}

/* One read.  What arrives has to be the object's, whatever happens. */
static tsr_error read_case(tsr_store *s, uint64_t offset, uint64_t bytes,
                           size_t *passed)
{
    store_bytes b = { 0 };
    const tsr_sink sink = { &b, store_take };
    tsr_store_entry entry;
    const tsr_error error = tsr_store_get(s, "k", offset, bytes, &sink, &entry);
    peer_check(&b, offset, b.size);
    if (!error) {
        assert_int_equal(entry.bytes, PEER_BYTES);
        assert_string_equal(entry.key, "k");
    }
    free(b.data);
    *passed = b.size;
    return error;
}

static tsr_error get_case(const char *name, uint64_t offset, uint64_t bytes,
                          int retries, size_t *passed)
{
    tsr_store *s = open_case(name, 5, retries, NULL);
    const tsr_error error = read_case(s, offset, bytes, passed);
    tsr_store_close(&s);
    return error;
}

/* ---- as it should be ---- */

static void plain(void **state)
{
    static const size_t sizes[] = { 0, 1, 1000, 70000, 3000001 };
    tsr_store *s = open_case("plain", 10, 0, NULL);
    tsr_store_entry entry;
    (void)state;
    for (uint32_t i = 0; i < 5; i++) {
        const size_t n = sizes[i];
        assert_int_equal(store_put_object(s, "a.b", i, n), TSR_OK);
        assert_int_equal(store_get_object(s, "a.b", i, n), TSR_OK);
        assert_int_equal(store_get_range(s, "a.b", i, n, 0, 5), TSR_OK);
        assert_int_equal(store_get_range(s, "a.b", i, n, n / 2, 9), TSR_OK);
        assert_int_equal(store_get_range(s, "a.b", i, n, n / 3, 0), TSR_OK);
        assert_int_equal(store_get_range(s, "a.b", i, n, n, 0), TSR_OK);
        assert_int_equal(store_get_range(s, "a.b", i, n, n + 7, 4), TSR_OK);
        assert_int_equal(tsr_store_stat(s, "a.b", &entry), TSR_OK);
        assert_int_equal(entry.bytes, n);
        assert_int_equal(entry.modified, 784111777);
        assert_string_equal(entry.key, "a.b");
    }
    assert_int_equal(store_put_object(s, "a.c", 1, 10), TSR_OK);
    assert_int_equal(store_put_object(s, "b", 1, 10), TSR_OK);
    assert_int_equal(store_list(s, "").n, 3);
    assert_int_equal(store_list(s, "a.").n, 2);
    assert_string_equal(store_list(s, "b").last, "b");
    assert_int_equal(store_list(s, "c").n, 0);
    assert_int_equal(tsr_store_remove(s, "b"), TSR_OK);
    assert_int_equal(note.lines, 0);
    assert_int_equal(tsr_store_remove(s, "b"), TSR_E_MISSING);
    assert_int_equal(tsr_store_stat(s, "b", &entry), TSR_E_MISSING);
    assert_int_equal(store_get_object(s, "b", 0, 0), TSR_E_MISSING);
    tsr_store_close(&s);
    /* All that over one connection. */
    assert_int_equal(look("plain").connections, 1);
}

static tsr_error remove_it(void *cookie, const tsr_store_entry *entry)
{
    return tsr_store_remove(cookie, entry->key);
}

static tsr_error stop(void *cookie, const tsr_store_entry *entry)
{
    (void)entry;
    ++*(int *)cookie;
    return TSR_E_EOF;
}

static void visitors(void **state)
{
    char url[64];
    int calls = 0;
    (void)state;
    tsr_store *s = open_case("plain", 10, 0, NULL);
    for (int i = 0; i < 20; i++) {
        snprintf(url, sizeof url, "visit-%d", i);
        assert_int_equal(store_put_object(s, url, 1, 10), TSR_OK);
    }
    assert_int_equal(tsr_store_list(s, "visit", stop, &calls), TSR_E_EOF);
    assert_int_equal(calls, 1);
    assert_int_equal(tsr_store_list(s, "visit", remove_it, s), TSR_OK);
    assert_int_equal(store_list(s, "visit").n, 0);
    tsr_store_close(&s);
}

static void sink_says_no(void **state)
{
    tsr_store *s = open_case("plain", 10, 3, NULL);
    store_bytes b = { .fail_at = 600000 };
    const tsr_sink sink = { &b, store_take };
    (void)state;
    assert_int_equal(store_put_object(s, "no", 4, 3000001), TSR_OK);
    assert_int_equal(tsr_store_get(s, "no", 0, 0, &sink, NULL), TSR_E_EOF);
    assert_true(b.size <= 600000);
    assert_int_equal(store_get_object(s, "no", 4, 3000001), TSR_OK);
    free(b.data);
    tsr_store_close(&s);
}

static void addresses(void **state)
{
    static const char *const bad[] = {
        "http://", "http:///x", "http://u:p@h/", "http://u@h", "https://:80/",
        "http://h/a?b", "http://h/#a", "http://h/a b", "http://h/\n", "http://h\\x"
    };
    tsr_store_settings set = store_settings(&note);
    tsr_store *s;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(tsr_store_open(&s, bad[i], &set), TSR_E_ARG);
        assert_null(s);
        assert_null(strstr(note.line, ":p@"));
    }
    set.token = "two words";
    assert_int_equal(tsr_store_open(&s, "http://h", &set), TSR_E_ARG);
    set.token = "line\r\nX: y";
    assert_int_equal(tsr_store_open(&s, "http://h", &set), TSR_E_ARG);
    assert_null(strstr(note.line, "line"));
}

/* ---- reads ---- */

static void good_reads(void **state)
{
    static const char *const names[] = { "norange", "chunked", "sleepy", "past" };
    size_t n;
    (void)state;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(get_case(names[i], 5, 50000, 0, &n), TSR_OK);
        assert_int_equal(n, 50000);
        assert_int_equal(get_case(names[i], 99990, 0, 0, &n), TSR_OK);
        assert_int_equal(n, 10);
        assert_int_equal(get_case(names[i], 99999, 9, 0, &n), TSR_OK);
        assert_int_equal(n, 1);
    }
    assert_int_equal(get_case("norange", 0, 0, 0, &n), TSR_OK);
    assert_int_equal(n, PEER_BYTES);
    assert_int_equal(get_case("norange", 200000, 0, 0, &n), TSR_OK);
    assert_int_equal(n, 0);
    assert_int_equal(get_case("past", 100000, 1, 0, &n), TSR_OK);
    assert_int_equal(get_case("past", 99999, 1, 0, &n), TSR_E_IO);
}

static void bad_reads(void **state)
{
    static const struct { const char *name, *reason; } cases[] = {
        { "chunked_more", "more than it said" }, { "wrong_range", "range" },
        { "short_range", "range" }, { "lying_range", "range" },
        { "bad_range", "Content-Range" }, { "no_total", "Content-Range" },
        { "short_length", "" }, { "two_lengths", "two lengths" },
        { "bad_length", "Content-Length" }, { "nolength", "Content-Length" },
        { "gzip", "encoded" }, { "nothing", "neither" },
        { "long_length", "remaining" }, { "dies", "remaining" },
        { "heads", "64 KiB" }, { "long_head", "" }, { "continues", "64 KiB" },
        { "garbage", "" }, { "folded", "" }
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t n;
        tsr_store *s = open_case(cases[i].name, 10, 0, NULL);
        /* The whole of it where only that shows the fault. */
        const int whole = strstr(cases[i].name, "length") != NULL || !i;
        tsr_error error = read_case(s, whole ? 0 : 5, whole ? 0 : 50000, &n);
        if (!*cases[i].reason && !error)
            error = read_case(s, 0, 0, &n);
        if ((error || strcmp(cases[i].name, "short_length") != 0) &&
            (error != TSR_E_IO || !strstr(note.line, cases[i].reason)))
            fail_msg("%s: %d, %s", cases[i].name, error, note.line);
        tsr_store_close(&s);
    }
}

/* Whatever becomes of the fields of a head, what is passed on is the object's. */
static void noise(void **state)
{
    int good = 0, bad = 0;
    tsr_store *s = open_case("noise", 5, 0, NULL);
    (void)state;
    for (int i = 0; i < 500; i++) {
        store_bytes b = { 0 };
        const tsr_sink sink = { &b, store_take };
        const tsr_error error = tsr_store_get(s, "k", 5, 500, &sink, NULL);
        peer_check(&b, 5, b.size);
        assert_true(b.size <= 500);
        if (!error)
            assert_int_equal(b.size, 500);
        good += !error;
        bad += error == TSR_E_IO;
        free(b.data);
    }
    assert_true(good > 50 && bad > 100);
    tsr_store_close(&s);
}

/* What lies behind an answer is not taken for the next one. */
static void smuggled(void **state)
{
    tsr_store *s = open_case("short_length", 10, 3, NULL);
    (void)state;
    for (int i = 0; i < 20; i++) {
        size_t n;
        assert_int_equal(read_case(s, 0, 0, &n), TSR_OK);
        assert_int_equal(n, PEER_BYTES);
        store_pause(0.02);      /* until it has come */
    }
    tsr_store_close(&s);
}

static void empty(void **state)
{
    tsr_store *s = open_case("empty", 10, 0, NULL);
    store_bytes b = { 0 };
    const tsr_sink sink = { &b, store_take };
    tsr_store_entry entry = { .bytes = 5 };
    (void)state;
    assert_int_equal(tsr_store_get(s, "k", 0, 0, &sink, &entry), TSR_OK);
    assert_int_equal(b.calls, 0);
    assert_int_equal(entry.bytes, 0);
    tsr_store_close(&s);
}

static void too_long(void **state)
{
    static const char *const names[] = { "huge", "huge_range" };
    (void)state;
    for (int i = 0; i < 2; i++) {
        tsr_store *s = open_case(names[i], 10, 3, NULL);
        store_bytes b = { 0 };
        const tsr_sink sink = { &b, store_take };
        assert_int_equal(tsr_store_get(s, "k", 0, 5 * (uint64_t)i, &sink, NULL),
                         TSR_E_LIMIT);
        assert_int_equal(b.calls, 0);
        tsr_store_close(&s);
    }
}

/* ---- going on ---- */

static void resumed(void **state)
{
    size_t n;
    (void)state;
    /* Half, half of the rest, the rest: nothing twice. */
    assert_int_equal(get_case("breaks", 0, 0, 3, &n), TSR_OK);
    assert_int_equal(n, PEER_BYTES);
    assert_int_equal(look("breaks").requests, 3);
    assert_int_equal(get_case("dies", 10, 90000, 2, &n), TSR_E_IO);
    assert_int_equal(n, 45000 + 22500 + 11250);
    assert_string_equal(look("dies").word, "-");
    assert_int_equal(get_case("broken", 0, 0, 3, &n), TSR_OK);
}

static void replaced(void **state)
{
    static const char *const names[] = { "replaced", "replaced_deaf" };
    size_t n;
    (void)state;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(get_case(names[i], 0, 0, 3, &n), TSR_E_IO);
        assert_int_equal(n, PEER_BYTES / 2);
        assert_int_equal(look(names[i]).requests, 2);
    }
}

static void patient(void **state)
{
    size_t n;
    (void)state;
    assert_int_equal(get_case("busy", 0, 0, 1, &n), TSR_OK);
    assert_string_equal(look("busy").word, "patient");
}

/* ---- slow servers ---- */

static void slow(void **state)
{
    static const char *const names[] = { "loris", "loris_head", "silent" };
    (void)state;
    for (int i = 0; i < 3; i++) {
        size_t n;
        tsr_store *s = open_case(names[i], 0.4, 0, NULL);
        assert_int_equal(read_case(s, 0, 0, &n), TSR_E_IO);
        assert_non_null(strstr(note.line, "no progress"));
        tsr_store_close(&s);
    }
}

static void *cancel_later(void *store)
{
    while (!look("silent").requests)
        store_pause(0.01);
    store_pause(0.05);
    tsr_store_cancel(store);
    return NULL;
}

static void canceled(void **state)
{
    pthread_t thread;
    size_t n;
    tsr_store *s = open_case("silent", 3600, 5, NULL);
    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, cancel_later, s), 0);
    assert_int_equal(read_case(s, 0, 0, &n), TSR_E_CANCELED);
    pthread_join(thread, NULL);
    assert_int_equal(read_case(s, 0, 0, &n), TSR_E_CANCELED);
    tsr_store_close(&s);
}

/* ---- refusals ---- */

static void refusals(void **state)
{
    static const struct { const char *name; tsr_error error; const char *say; }
    cases[] = {
        { "moved", TSR_E_ARG, "elsewhere" }, { "echo", TSR_E_DENIED, "401" },
        { "expired", TSR_E_DENIED, "the token has expired" },
        { "forbidden", TSR_E_DENIED, "403" }, { "readonly", TSR_E_DENIED, "405" },
        { "readonly", TSR_E_DENIED, "501" }, { "full", TSR_E_LIMIT, "507" },
        { "too_large", TSR_E_LIMIT, "the limit is 1 MiB" },
        { "unfit", TSR_E_ARG, "not a chunk of that name" }
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tsr_store *s = open_case(cases[i].name, 10, 3, "s3cr3t");
        assert_int_equal(store_put_object(s, "k", 1, 3000000), cases[i].error);
        if (!strstr(note.line, cases[i].say) || strstr(note.line, "s3cr3t"))
            fail_msg("%s: %s", cases[i].name, note.line);
        assert_int_equal(note.lines, 1);
        tsr_store_close(&s);
    }
    size_t n;
    assert_int_equal(get_case("moved", 0, 0, 3, &n), TSR_E_ARG);
    tsr_store *s = open_case("chatter", 10, 0, NULL);
    assert_int_equal(store_put_object(s, "k", 1, 10), TSR_E_IO);
    assert_non_null(strstr(note.line, "without an end"));
    assert_int_equal(tsr_store_remove(s, "k"), TSR_E_IO);
    tsr_store_close(&s);
    /* Nobody went there, so no token did. */
    assert_string_equal(look("moved").word, "-");
}

static void tokens(void **state)
{
    tsr_store *s = open_case("token", 10, 0, "s3cr3t");
    (void)state;
    assert_int_equal(store_put_object(s, "k", 1, 10), TSR_OK);
    tsr_store_close(&s);
    s = open_case("token", 10, 0, "other");
    assert_int_equal(store_get_object(s, "k", 1, 10), TSR_E_DENIED);
    assert_int_equal(tsr_store_list(s, "", remove_it, s), TSR_E_DENIED);
    tsr_store_close(&s);
}

static void no_server(void **state)
{
    tsr_store_settings set = store_settings(&note);
    tsr_store *s = store_open("http://127.0.0.1:1/x", &set);
    (void)state;
    assert_int_equal(store_get_object(s, "k", 1, 1), TSR_E_IO);
    assert_int_equal(store_put_object(s, "k", 1, 1), TSR_E_IO);
    tsr_store_close(&s);
}

/* ---- lists ---- */

static void bad_lists(void **state)
{
    tsr_store *s = open_case("lists", 10, 0, NULL);
    (void)state;
    assert_int_equal(store_list(s, "i").n, 0);
    assert_int_equal(note.lines, 0);
    for (char prefix[] = "a"; *prefix <= 'k'; ++*prefix) {
        store_count c = { 0 };
        if (*prefix != 'i')
            assert_int_equal(tsr_store_list(s, prefix, store_count_one, &c),
                             TSR_E_IO);
        assert_true(c.n <= 1);
    }
    tsr_store_close(&s);
}

/* ---- TLS ---- */

static int make_certificate(const char *host, const char *cert, const char *key)
{
    char line[512];
    snprintf(line, sizeof line, "openssl req -x509 -newkey rsa:2048 -nodes -days 2"
             " -subj /CN=%s -addext subjectAltName=%s -keyout %s -out %s"
             " > /dev/null 2>&1", "test", host, key, cert);
    return !system(line);
}

static tsr_error get_secure(const store_peer *p, const char *ca)
{
    char url[128];
    tsr_store_settings set = store_settings(&note);
    set.ca_file = ca;
    set.token = "s3cr3t";
    note = (store_note){ 0 };
    snprintf(url, sizeof url, "%s/token", p->place);
    tsr_store *s = store_open(url, &set);
    tsr_error error = store_put_object(s, "k", 1, 100000);
    if (!error)
        error = store_get_object(s, "k", 1, 100000);
    tsr_store_close(&s);
    return error;
}

static void certificates(void **state)
{
    static const char *const files[] = { "a.pem", "a.key", "b.pem", "b.key" };
    char folder[32], path[4][64];
    store_peer right, wrong;
    (void)state;
    store_mkdir(folder);
    for (int i = 0; i < 4; i++)
        snprintf(path[i], sizeof path[i], "%s/%s", folder, files[i]);
    if (!make_certificate("IP:127.0.0.1", path[0], path[1]) ||
        !make_certificate("DNS:example.org", path[2], path[3])) {
        store_rmdir(folder);
        skip();
    }
    const int started =
        peer_start(&right, "tests/store_server.py", path[0], path[1]) &
        peer_start(&wrong, "tests/store_server.py", path[2], path[3]);
    const tsr_error good = get_secure(&right, path[0]);
    const tsr_error unknown = get_secure(&right, NULL);
    const int said = strstr(note.line, "is not who it should be") != NULL;
    const tsr_error other = get_secure(&right, path[2]);
    const tsr_error host = get_secure(&wrong, path[2]);
    const tsr_error none = get_secure(&right, "no-such-file");
    peer_stop(&right);
    peer_stop(&wrong);
    store_rmdir(folder);
    assert_true(started && said);
    assert_int_equal(good, TSR_OK);
    assert_int_equal(unknown, TSR_E_DENIED);
    assert_int_equal(other, TSR_E_DENIED);
    assert_int_equal(host, TSR_E_DENIED);
    assert_int_equal(none, TSR_E_ARG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain), cmocka_unit_test(visitors),
        cmocka_unit_test(sink_says_no), cmocka_unit_test(addresses),
        cmocka_unit_test(good_reads), cmocka_unit_test(bad_reads),
        cmocka_unit_test(noise), cmocka_unit_test(smuggled), cmocka_unit_test(empty),
        cmocka_unit_test(too_long), cmocka_unit_test(resumed),
        cmocka_unit_test(replaced), cmocka_unit_test(patient),
        cmocka_unit_test(slow), cmocka_unit_test(canceled),
        cmocka_unit_test(refusals), cmocka_unit_test(tokens),
        cmocka_unit_test(no_server), cmocka_unit_test(bad_lists),
        cmocka_unit_test(certificates)
    };
    if (!peer_scheme("http")) {
        puts("1..0 # SKIP a build without libcurl");
        return 0;
    }
    peer_environment();
    if (!peer_start(&server, "tests/store_server.py", NULL, NULL)) {
        puts("1..0 # SKIP no Python");
        peer_stop(&server);
        return 0;
    }
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    peer_stop(&server);
    return failed;
}
