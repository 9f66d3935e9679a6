/* SPDX-License-Identifier: BSD-2-Clause */
/* The Redis store and servers that are none, or mean ill; and a cluster. */
#include "tests/redis_server.h"
#include "net/store_impl.h"

/* ---- servers that talk nonsense ---- */

static tsr_error get_from(const fake_redis *f, tsr_store_settings s,
                          store_note *note)
{
    tsr_store *store;
    store_bytes b = { 0 };
    const tsr_sink sink = { &b, store_take };
    s.logger = (tsr_logger){ .log = store_note_log, .cookie = note };
    assert_int_equal(tsr_store_open(&store, f->url, &s), TSR_OK);
    const tsr_error error = tsr_store_get(store, "abc", 0, 0, &sink, NULL);
    tsr_store_close(&store);
    free(b.data);
    return error;
}

static void nonsense(void **state)
{
    static const struct { const char *say; tsr_error error; } table[] = {
        { "HTTP/1.1 400 Bad Request\r\n\r\n", TSR_E_IO },
        { "\r\n", TSR_E_IO },
        { "+OK", TSR_E_IO },
        { ":5\r\n", TSR_E_IO },
        { "$-1\r\n", TSR_E_IO },
        { "*-1\r\n", TSR_E_IO },
        { "*2147483647\r\n", TSR_E_IO },
        { "*99999999999999999999\r\n", TSR_E_IO },
        { "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n+\r\n",
          TSR_E_IO },
        { "$99999999999999\r\nabc", TSR_E_IO },
        { "$-77\r\n", TSR_E_IO },
        { "$9223372036854775807\r\n", TSR_E_IO },
        { "$5\r\nabcdefgh", TSR_E_IO },
        { "-ERR something\r\n", TSR_E_IO },
        { "-\r\n", TSR_E_IO },
        { "-LOADING wait\r\n", TSR_E_IO },
        { "-CLUSTERDOWN it is\r\n", TSR_E_IO },
        { "-NOAUTH who are you\r\n", TSR_E_DENIED },
        { "-NOPERM not you\r\n", TSR_E_DENIED },
        { "-OOM command not allowed\r\n", TSR_E_LIMIT },
        { "-WRONGTYPE a list\r\n", TSR_E_DENIED },
        { "+OK\r\n:-5\r\n", TSR_E_IO },
        { "+OK\r\n+5\r\n", TSR_E_IO },
        { "+OK\r\n:9223372036854775807\r\n", TSR_E_LIMIT },
        { "+OK\r\n:99999999999999999999\r\n", TSR_E_IO },
        { "+OK\r\n:5\r\n:5\r\n", TSR_E_IO },
        { "+OK\r\n:5\r\n$-1\r\n", TSR_E_IO },
        { "+OK\r\n:5\r\n$4\r\nhell\r\n", TSR_E_IO },
        { "+OK\r\n:5\r\n$6\r\nhello!\r\n", TSR_E_IO },
        { "+OK\r\n:5\r\n*1\r\n$5\r\nhello\r\n", TSR_E_IO },
        { "+OK\r\n:5\r\n$5\r\nhello\r\n+OK\r\n*-1\r\n", TSR_E_IO },
        { "+OK\r\n:5\r\n$5\r\nhello\r\n+OK\r\n+what\r\n", TSR_E_IO },
        { "+OK\r\n:5\r\n$5\r\nhello\r\n-ERR no MULTI\r\n", TSR_E_IO },
        { "+OK\r\n:5\r\n$5\r\nhello\r\n", TSR_E_IO },
        { "+OK\r\n:5\r\n$5\r\nhel", TSR_E_IO },
        { "+OK\r\n:300000\r\n$262144\r\nhel", TSR_E_IO },
        { "+OK\r\n:5\r\n$5\r\nhello\r\n+OK\r\n*0\r\n", TSR_OK },
        { "+OK\r\n:0\r\n$0\r\n\r\n+OK\r\n*0\r\n:0\r\n", TSR_E_MISSING },
        { "+OK\r\n:0\r\n$0\r\n\r\n+OK\r\n*0\r\n:1\r\n", TSR_OK },
    };
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        store_note note = { .lines = 0 };
        fake_redis f = { .say = table[i].say, .hangs_up = 1 };
        fake_start(&f);
        const tsr_error error = get_from(&f, store_settings(NULL), &note);
        fake_stop(&f);
        if (error != table[i].error)
            fail_msg("%d after %s", error, table[i].say);
        assert_true(!error || error == TSR_E_MISSING || note.lines >= 1);
    }
}

/* A drip keeps no call alive, a flood fills no memory. */
static void drips_and_floods(void **state)
{
    static const char *const say[] = {
        "", "+", "$100\r\n", "+OK\r\n:5\r\n$5\r\n", "+OK\r\n:", "*9\r\n+"
    };
    tsr_store_settings s = store_settings(NULL);
    (void)state;
    s.timeout = 0.3;
    for (size_t i = 0; i < sizeof say / sizeof *say; i++)
        for (int pour = 0; pour < 2; pour++) {
            store_note note = { .lines = 0 };
            fake_redis f = { .say = say[i], .pour = pour, .drip = !pour };
            fake_start(&f);
            assert_int_equal(get_from(&f, s, &note), TSR_E_IO);
            assert_int_equal(note.lines, 1);
            fake_stop(&f);
        }
}

static void lists(void **state)
{
    static const char *const bad[] = {
        "*2\r\n$1\r\n0\r\n", "*1\r\n$2\r\n0x\r\n", "*1\r\n*1\r\n$1\r\na\r\n",
        "*2\r\n$30\r\n000000000000000000000000000000\r\n*0\r\n", "$1\r\n0\r\n",
        "*2\r\n$1\r\n0\r\n*2000000\r\n$14\r\ntessera:kv:abc\r\n",
        "*2\r\n$1\r\n0\r\n*1\r\n$14\r\ntessera:kv:abc\r\n:1\r\n+x\r\n",
    };
    const tsr_store_settings s = store_settings(NULL);
    store_count c = { 0 };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        fake_redis f = { .say = "-ERR no cluster\r\n", .then = bad[i],
                         .hangs_up = 1 };
        fake_start(&f);
        tsr_store *store = store_open(f.url, &s);
        const tsr_error error = tsr_store_list(store, "", store_count_one, &c);
        tsr_store_close(&store);
        fake_stop(&f);
        if (error != TSR_E_IO)
            fail_msg("%d after %s", error, bad[i]);
    }
    assert_int_equal(c.n, 0);
}

/* Tables of a cluster that name no server. */
static void tables(void **state)
{
    static const char *const bad[] = {
        "*1\r\n:5\r\n", "*1\r\n*2\r\n:0\r\n:99\r\n", "*1\r\n*1\r\n*1\r\n:1\r\n",
        "*1\r\n*3\r\n:0\r\n:99\r\n*1\r\n$1\r\nh\r\n",
        "*1\r\n*3\r\n:0\r\n:99\r\n*2\r\n$1\r\nh\r\n:0\r\n"
    };
    const tsr_store_settings s = store_settings(NULL);
    store_count c = { 0 };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        fake_redis f = { .say = bad[i], .hangs_up = 1 };
        fake_start(&f);
        tsr_store *store = store_open(f.url, &s);
        assert_int_equal(tsr_store_list(store, "", store_count_one, &c),
                         TSR_E_IO);
        tsr_store_close(&store);
        fake_stop(&f);
    }
    assert_int_equal(c.n, 0);
}

static void hears_password(void *cookie, tsr_log_level level, const char *text)
{
    int *lines = cookie;
    (void)level;
    ++*lines;
    if (strstr(text, "correct horse"))
        fail_msg("%s", text);
}

/* A server that does not know AUTH says what it was told. */
static void echo(void **state)
{
    static const char *const say[] = {
        "-ERR unknown command 'AUTH', with args: 'correct horse battery' \r\n",
        "-ERR unknown command `AUTH`, with args beginning with: `correct horse\r\n",
        "+OK\r\n-MOVED 1 correct horse battery\r\n-x\r\n-x\r\n"
    };
    (void)state;
    for (size_t i = 0; i < sizeof say / sizeof *say; i++) {
        int lines = 0;
        tsr_store_settings s = store_settings(NULL);
        store_bytes b = { 0 };
        const tsr_sink sink = { &b, store_take };
        fake_redis f = { .say = say[i], .hangs_up = 1 };
        tsr_store *store;
        fake_start(&f);
        s.token = "correct horse battery";
        s.logger = (tsr_logger){ .log = hears_password, .cookie = &lines };
        assert_int_equal(tsr_store_open(&store, f.url, &s), TSR_OK);
        assert_int_equal(tsr_store_get(store, "abc", 0, 0, &sink, NULL),
                         TSR_E_IO);
        assert_true(lines > 0);
        tsr_store_close(&store);
        fake_stop(&f);
    }
}

/* ---- sent elsewhere ---- */

static void redirections(void **state)
{
    static const char *const bad[] = {
        "MOVED", "MOVED 1", "MOVED 1 x", "MOVED 1 h:0", "MOVED 1 h:99999",
        "MOVED 1 ?:5", "ASK 1", "ASK 1 :x"
    };
    char say[512];
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        store_note note = { .lines = 0 };
        snprintf(say, sizeof say, "-%s\r\n-%s\r\n-%s\r\n", bad[i], bad[i],
                 bad[i]);
        fake_redis f = { .say = say };
        fake_start(&f);
        assert_int_equal(get_from(&f, store_settings(NULL), &note), TSR_E_IO);
        assert_int_equal(note.lines, 1);
        fake_stop(&f);
    }
    /* For ever to itself, with a table that says nothing. */
    for (int ask = 0; ask < 2; ask++) {
        store_note note = { .lines = 0 };
        fake_redis f = { .say = say };
        tsr_store_settings s = store_settings(NULL);
        s.timeout = 0.3;
        fake_start(&f);
        const int n = snprintf(say, sizeof say, "-%s 1 :%d\r\n",
                               ask ? "ASK" : "MOVED", f.port);
        for (int i = 1; i < 9; i++)
            memcpy(say + i * n, say, (size_t)n);
        say[9 * n] = '\0';
        assert_int_equal(get_from(&f, s, &note), TSR_E_IO);
        fake_stop(&f);
    }
}

/* ---- a cluster of two ---- */

enum { HALF = 8192, KEYS = 60 };

static int keys_of(const redis_server *s)
{
    redisReply *reply = redis_ask(s, "DBSIZE");
    assert_non_null(reply);
    const int n = (int)reply->integer;
    freeReplyObject(reply);
    return n;
}

static int slot_of(const redis_server *s, const char *key)
{
    redisReply *reply = redis_ask(s, "CLUSTER KEYSLOT tessera:kv:%s", key);
    assert_non_null(reply);
    const int slot = (int)reply->integer;
    freeReplyObject(reply);
    return slot;
}

static void cluster_id(const redis_server *s, char id[64])
{
    redisReply *reply = redis_ask(s, "CLUSTER MYID");
    assert_non_null(reply);
    snprintf(id, 64, "%s", reply->str);
    freeReplyObject(reply);
}

static int cluster_is_up(const redis_server *s)
{
    redisReply *reply = redis_ask(s, "CLUSTER INFO");
    const int up = reply && reply->str &&
        strstr(reply->str, "cluster_state:ok") &&
        strstr(reply->str, "cluster_known_nodes:2");
    freeReplyObject(reply);
    return up;
}

static void start_cluster(redis_server s[2], char bus[2][16])
{
    for (int i = 0; i < 2; i++) {
        snprintf(bus[i], 16, "%d", redis_free_port());
        s[i] = (redis_server){ .more = {
            "--cluster-enabled", "yes", "--cluster-port", bus[i] } };
        redis_start(&s[i]);
        redis_tell(&s[i], "CLUSTER ADDSLOTSRANGE %d %d", i * HALF,
                   i * HALF + HALF - 1);
    }
    redis_tell(&s[0], "CLUSTER SET-CONFIG-EPOCH 1");
    redis_tell(&s[1], "CLUSTER SET-CONFIG-EPOCH 2");
    redis_tell(&s[0], "CLUSTER MEET 127.0.0.1 %d %s", s[1].port, bus[1]);
    for (int i = 0; i < 2000 && !(cluster_is_up(&s[0]) &&
                                  cluster_is_up(&s[1])); i++)
        store_pause(0.01);
    assert_true(cluster_is_up(&s[0]) && cluster_is_up(&s[1]));
}

/* A slot on its way from one to the other: what is no more at the first is asked
 * for at the second. */
static void migrate(redis_server s[2], tsr_store *store, const char *key)
{
    char id[2][64];
    tsr_store_entry entry;
    const int slot = slot_of(&s[0], key);
    const int from = slot >= HALF, to = !from;
    cluster_id(&s[0], id[0]);
    cluster_id(&s[1], id[1]);
    redis_tell(&s[to], "CLUSTER SETSLOT %d IMPORTING %s", slot, id[from]);
    redis_tell(&s[from], "CLUSTER SETSLOT %d MIGRATING %s", slot, id[to]);
    assert_int_equal(store_get_object(store, key, 1, 100000), TSR_OK);
    redis_tell(&s[from], "MIGRATE 127.0.0.1 %d tessera:kv:%s 0 5000", s[to].port,
               key);
    assert_int_equal(store_get_object(store, key, 1, 100000), TSR_OK);
    assert_int_equal(tsr_store_stat(store, key, &entry), TSR_OK);
    assert_int_equal(store_put_object(store, key, 9, 700000), TSR_OK);
    assert_int_equal(store_get_object(store, key, 9, 700000), TSR_OK);
    redis_tell(&s[to], "CLUSTER SETSLOT %d NODE %s", slot, id[to]);
    redis_tell(&s[from], "CLUSTER SETSLOT %d NODE %s", slot, id[to]);
    assert_int_equal(store_get_object(store, key, 9, 700000), TSR_OK);
    assert_int_equal(tsr_store_remove(store, key), TSR_OK);
    assert_int_equal(tsr_store_stat(store, key, &entry), TSR_E_MISSING);
}

/* One dies, the other takes over what it had. */
static void take_over(redis_server s[2], tsr_store *store)
{
    char key[16];
    redis_kill(&s[1]);
    redis_tell(&s[0], "CLUSTER DELSLOTSRANGE 0 %d", 2 * HALF - 1);
    redis_tell(&s[0], "CLUSTER ADDSLOTSRANGE 0 %d", 2 * HALF - 1);
    for (int i = 0; i < 2000; i++) {
        redisReply *reply = redis_ask(&s[0], "CLUSTER INFO");
        const int up = strstr(reply->str, "cluster_state:ok") != NULL;
        freeReplyObject(reply);
        if (up)
            break;
        store_pause(0.01);
    }
    for (uint32_t i = 0; i < KEYS; i++) {
        snprintf(key, sizeof key, "k%u", i);
        assert_int_equal(store_put_object(store, key, i, 2000 + i), TSR_OK);
        assert_int_equal(store_get_object(store, key, i, 2000 + i), TSR_OK);
    }
    assert_int_equal(store_list(store, "").n, KEYS);
}

static void cluster(void **state)
{
    redis_server s[2];
    char bus[2][16], key[16];
    tsr_store_settings settings = store_settings(NULL);
    (void)state;
    start_cluster(s, bus);
    for (int turn = 0; turn < 2; turn++) {
        /* By way of the one, then of the other. */
        tsr_store *store = store_open(s[turn].url, &settings);
        for (uint32_t i = 0; i < KEYS; i++) {
            snprintf(key, sizeof key, "k%u", i);
            if (!turn)
                assert_int_equal(store_put_object(store, key, i, 1000 + i),
                                 TSR_OK);
            assert_int_equal(store_get_object(store, key, i, 1000 + i), TSR_OK);
        }
        assert_int_equal(store_list(store, "").n, KEYS);
        tsr_store_close(&store);
    }
    assert_true(keys_of(&s[0]) > 0 && keys_of(&s[1]) > 0);
    assert_int_equal(keys_of(&s[0]) + keys_of(&s[1]), KEYS);
    settings.retries = 3;
    tsr_store *store = store_open(s[1].url, &settings);
    for (int i = 0; i < 4; i++) {
        snprintf(key, sizeof key, "m%d", i);
        assert_int_equal(store_put_object(store, key, 1, 100000), TSR_OK);
        migrate(s, store, key);
    }
    assert_int_equal(store_list(store, "").n, KEYS);
    take_over(s, store);
    tsr_store_close(&store);
    redis_stop(&s[0]);
    redis_stop(&s[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nonsense),
        cmocka_unit_test(drips_and_floods),
        cmocka_unit_test(lists),
        cmocka_unit_test(tables),
        cmocka_unit_test(echo),
        cmocka_unit_test(redirections),
        cmocka_unit_test(cluster),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
