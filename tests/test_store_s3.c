/* SPDX-License-Identifier: BSD-2-Clause */
/* Stores in S3 against tests/s3_server.py, which checks signatures by itself; its
 * buckets go wrong in ways of their own. */
#include "tests/store_peer.h"
#include "net/xml.h"

#define SECRET "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"

static store_peer server;
static store_note note;

static void credentials(const char *user, const char *secret, const char *session)
{
    peer_environment();
    if (user)
        setenv("AWS_ACCESS_KEY_ID", user, 1);
    if (secret)
        setenv("AWS_SECRET_ACCESS_KEY", secret, 1);
    if (session)
        setenv("AWS_SESSION_TOKEN", session, 1);
}

static tsr_store_settings settings(int retries)
{
    tsr_store_settings s = store_settings(&note);
    s.timeout = 10;
    s.retries = retries;
    s.endpoint = server.place;
    s.region = "eu-x-1";
    note = (store_note){ 0 };
    return s;
}

static tsr_store *open_bucket(const char *bucket, int retries)
{
    char url[128];
    const tsr_store_settings s = settings(retries);
    credentials("AKIDEXAMPLE", SECRET, NULL);
    snprintf(url, sizeof url, "s3://%s", bucket);
    return store_open(url, &s);
}

static void notes_of(const char *bucket, char word[40])
{
    char url[128];
    tsr_store_settings s = settings(0);
    store_bytes b = { 0 };
    const tsr_sink sink = { &b, store_take };
    snprintf(url, sizeof url, "%s/note", server.place);
    /* /note answers whatever follows; what it is asked about is in the key. */
    tsr_store *store = store_open(url, &s);
    assert_int_equal(tsr_store_get(store, bucket, 0, 0, &sink, NULL), TSR_OK);
    assert_int_equal(store_take(&b, "", 1), TSR_OK);
    assert_int_equal(sscanf((char *)b.data, "%*d %*d %39s", word), 1);
    free(b.data);
    tsr_store_close(&store);
}

static void objects(tsr_store *s)
{
    static const size_t sizes[] = { 0, 1, 70000, 3000001 };
    tsr_store_entry entry;
    for (uint32_t i = 0; i < 4; i++) {
        const size_t n = sizes[i];
        assert_int_equal(store_put_object(s, "a-1._Z", i, n), TSR_OK);
        assert_int_equal(store_get_object(s, "a-1._Z", i, n), TSR_OK);
        assert_int_equal(store_get_range(s, "a-1._Z", i, n, n / 2, 9), TSR_OK);
        assert_int_equal(store_get_range(s, "a-1._Z", i, n, n, 1), TSR_OK);
        assert_int_equal(tsr_store_stat(s, "a-1._Z", &entry), TSR_OK);
        assert_int_equal(entry.bytes, n);
    }
    assert_int_equal(note.lines, 0);
    assert_int_equal(store_get_object(s, "none", 0, 0), TSR_E_MISSING);
    assert_int_equal(tsr_store_stat(s, "none", &entry), TSR_E_MISSING);
    assert_int_equal(tsr_store_remove(s, "a-1._Z"), TSR_OK);
    assert_int_equal(tsr_store_stat(s, "a-1._Z", &entry), TSR_E_MISSING);
}

static void plain(void **state)
{
    static const char *const names[] = { "plain", "plain/", "plain/a/b.c_d-e",
                                         "bare/x" };
    char word[40];
    (void)state;
    for (int i = 0; i < 4; i++) {
        tsr_store *s = open_bucket(names[i], 0);
        objects(s);
        tsr_store_close(&s);
    }
    notes_of("plain", word);
    assert_string_equal(word, "signed");
}

static tsr_error collect(void *cookie, const tsr_store_entry *e)
{
    char *all = cookie;
    if (e->bytes != 10 || e->modified != 1255369830)
        return TSR_E_CORRUPT;
    strcat(strcat(all, e->key), " ");
    return TSR_OK;
}

static tsr_error remove_it(void *cookie, const tsr_store_entry *e)
{
    return tsr_store_remove(cookie, e->key);
}

/* Pages of three, tokens that need to be encoded, other folders of the bucket. */
static void pages(void **state)
{
    char name[16], all[256] = "", two[64] = "";
    tsr_store *other = open_bucket("plain/deeper/still", 0);
    tsr_store *s = open_bucket("plain/deeper", 0);
    (void)state;
    for (int i = 0; i < 7; i++) {
        snprintf(name, sizeof name, "k%d", i);
        assert_int_equal(store_put_object(s, name, 1, 10), TSR_OK);
        assert_int_equal(store_put_object(other, name, 1, 9), TSR_OK);
    }
    assert_int_equal(store_put_object(s, "l", 1, 10), TSR_OK);
    assert_int_equal(tsr_store_list(s, "", collect, all), TSR_OK);
    assert_string_equal(all, "k0 k1 k2 k3 k4 k5 k6 l ");
    assert_int_equal(tsr_store_list(s, "l", collect, two), TSR_OK);
    assert_string_equal(two, "l ");
    assert_int_equal(store_list(s, "m").n, 0);
    assert_int_equal(tsr_store_list(s, "l", remove_it, s), TSR_OK);
    assert_int_equal(store_list(s, "").n, 7);
    assert_int_equal(store_list(other, "").n, 7);
    tsr_store_close(&s);
    tsr_store_close(&other);
}

static tsr_error put_as(const char *user, const char *secret, const char *session,
                        const char *region)
{
    tsr_store_settings set = settings(2);
    tsr_store *s;
    set.region = region;
    credentials(user, secret, session);
    tsr_error error = tsr_store_open(&s, "s3://plain", &set);
    if (error)
        return error;
    error = store_put_object(s, "k", 1, 3000000);
    if (!error)
        error = store_get_object(s, "k", 1, 3000000);
    tsr_store_entry entry;
    assert_int_equal(tsr_store_stat(s, "k", &entry), error);
    tsr_store_close(&s);
    return error;
}

static void keys(void **state)
{
    (void)state;
    assert_int_equal(put_as("AKIDEXAMPLE", SECRET, NULL, "eu-x-1"), TSR_OK);
    assert_int_equal(put_as("AKIDEXAMPLE", SECRET, "session/token+==", "eu-x-1"),
                     TSR_OK);
    assert_int_equal(put_as("AKIDEXAMPLE", "wrong", NULL, "eu-x-1"), TSR_E_DENIED);
    assert_int_equal(put_as("NOBODY", SECRET, NULL, "eu-x-1"), TSR_E_DENIED);
    assert_int_equal(put_as("AKIDEXAMPLE", SECRET, NULL, "eu-x-2"), TSR_E_DENIED);
    assert_int_equal(put_as(NULL, SECRET, NULL, "eu-x-1"), TSR_E_DENIED);
    assert_non_null(strstr(note.line, "AWS_ACCESS_KEY_ID"));
    assert_int_equal(put_as("AKIDEXAMPLE", "", NULL, "eu-x-1"), TSR_E_DENIED);
    assert_int_equal(put_as("AKIDEXAMPLE", SECRET, "a\r\nb", "eu-x-1"),
                     TSR_E_DENIED);
}

/* The server says the expired token back; nobody else does. */
static void expired(void **state)
{
    const tsr_store_settings set = settings(3);
    tsr_store *s;
    (void)state;
    credentials("AKIDEXAMPLE", SECRET, "old-token");
    s = store_open("s3://plain", &set);
    assert_int_equal(store_get_object(s, "k", 1, 1), TSR_E_DENIED);
    assert_non_null(strstr(note.line, "ExpiredToken"));
    assert_null(strstr(note.line, "old-token"));
    assert_int_equal(note.lines, 1);
    tsr_store_close(&s);
}

static void addresses(void **state)
{
    static const char *const bad[] = {
        "s3://", "s3://ab", "s3:///k", "s3://UPPER", "s3://a_b_c", "s3://.abc",
        "s3://abc//x", "s3://abc/../x", "s3://abc/x/./y", "s3://abc/a b",
        "s3://abc/a%2f", "s3://abc?x", "s3://user@abc", "s3://abc/\xc3\xa4"
    };
    tsr_store_settings set = settings(0);
    tsr_store *s;
    (void)state;
    credentials("AKIDEXAMPLE", SECRET, NULL);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(tsr_store_open(&s, bad[i], &set), TSR_E_ARG);
    set.region = "eu/../x";
    assert_int_equal(tsr_store_open(&s, "s3://abc", &set), TSR_E_ARG);
    set.region = "eu-x-1";
    set.endpoint = "ftp://h";
    assert_int_equal(tsr_store_open(&s, "s3://abc", &set), TSR_E_ARG);
    /* Amazon's own addresses, of which nothing is asked. */
    set.endpoint = NULL;
    s = store_open("s3://a.b.c/x/", &set);
    tsr_store_close(&s);
}

static void refusals(void **state)
{
    static const struct { const char *bucket; tsr_error error; const char *say; }
    cases[] = {
        { "away", TSR_E_ARG, "PermanentRedirect" },
        { "gone", TSR_E_ARG, "NoSuchBucket: The specified bucket" },
        { "large", TSR_E_LIMIT, "EntityTooLarge" }, { "odd", TSR_E_DENIED, "400" }
    };
    char word[40];
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tsr_store *s = open_bucket(cases[i].bucket, 3);
        assert_int_equal(store_put_object(s, "k", 1, 10), cases[i].error);
        assert_non_null(strstr(note.line, cases[i].say));
        assert_int_equal(note.lines, 1);
        tsr_store_close(&s);
    }
    notes_of("moved", word);
    assert_string_equal(word, "-");
}

static void again(void **state)
{
    store_bytes b = { 0 };
    const tsr_sink sink = { &b, store_take };
    tsr_store *s = open_bucket("slow", 3);
    (void)state;
    assert_int_equal(store_put_object(s, "k", 1, 10), TSR_OK);
    assert_non_null(strstr(note.line, "SlowDown: Please reduce"));
    tsr_store_close(&s);
    s = open_bucket("broken", 3);
    assert_int_equal(tsr_store_get(s, "k", 0, 0, &sink, NULL), TSR_OK);
    peer_check(&b, 0, PEER_BYTES);
    free(b.data);
    tsr_store_close(&s);
}

static void bad_lists(void **state)
{
    tsr_store *s = open_bucket("lists/d", 0);
    char prefix[2] = "a";
    (void)state;
    for (; *prefix <= 'n'; ++*prefix) {
        store_count c = { 0 };
        const tsr_error error = tsr_store_list(s, prefix, store_count_one, &c);
        if (error != (*prefix == 'n' ? TSR_E_LIMIT : TSR_E_IO) || c.n)
            fail_msg("list %s: %d, %d objects", prefix, error, c.n);
    }
    const store_count c = store_list(s, "o");
    assert_int_equal(c.n, 1);
    assert_string_equal(c.last, "o1");
    tsr_store_close(&s);
    s = open_bucket("endless", 0);
    store_count none = { 0 };
    assert_int_equal(tsr_store_list(s, "", store_count_one, &none), TSR_E_IO);
    assert_non_null(strstr(note.line, "without an end"));
    tsr_store_close(&s);
}

/* ---- XML ---- */

static void xml(void **state)
{
    const char *at = "<?xml v='>'?> <a:b c='d'>1&lt;2&#x20;&#228;&amp;</a:b><e/>f";
    tsri_xml tag;
    (void)state;
    assert_int_equal(tsri_xml_next(&at, &tag), 1);
    assert_string_equal(tag.name, "b");
    assert_string_equal(tag.text, "1<2 \xc3\xa4&");
    assert_int_equal(tag.end, 0);
    assert_int_equal(tsri_xml_next(&at, &tag), 1);
    assert_int_equal(tag.end, 1);
    assert_int_equal(tsri_xml_next(&at, &tag), 1);
    assert_string_equal(tag.name, "e");
    assert_string_equal(tag.text, "f");
    assert_int_equal(tsri_xml_next(&at, &tag), 0);
}

/* Whatever the bytes, it ends, within the text. */
static void xml_noise(void **state)
{
    static const char letters[] = "<>/&;#x1?!:= \"'aamplt\n";
    check_rng rng = { 7 };
    (void)state;
    for (int i = 0; i < 20000; i++) {
        const size_t size = check_below(&rng, 60);
        char *text = malloc(size + 1);
        assert_non_null(text);
        for (size_t k = 0; k < size; k++)
            text[k] = letters[check_below(&rng, sizeof letters - 1)];
        text[size] = 0;
        const char *at = text;
        tsri_xml tag;
        size_t tags = 0;
        while (tsri_xml_next(&at, &tag) == 1) {
            assert_true(at > text && at <= text + size);
            assert_true(++tags <= size);
        }
        free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(xml), cmocka_unit_test(xml_noise),
        cmocka_unit_test(plain), cmocka_unit_test(pages),
        cmocka_unit_test(keys), cmocka_unit_test(expired),
        cmocka_unit_test(addresses), cmocka_unit_test(refusals),
        cmocka_unit_test(again), cmocka_unit_test(bad_lists)
    };
    if (!peer_scheme("s3")) {
        puts("1..0 # SKIP a build without libcurl");
        return 0;
    }
    credentials("AKIDEXAMPLE", SECRET, NULL);
    tsr_store *probe;
    tsr_store_settings set;
    tsr_store_settings_init(&set);
    const tsr_error error = tsr_store_open(&probe, "s3://abc", &set);
    tsr_store_close(&probe);
    if (error == TSR_E_UNSUPPORTED ||
        !peer_start(&server, "tests/s3_server.py", NULL, NULL)) {
        puts("1..0 # SKIP no Python, or libcurl before 7.88");
        return 0;
    }
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    peer_stop(&server);
    return failed;
}
