/* SPDX-License-Identifier: BSD-2-Clause */
/* The Redis store against real servers: everything a store does, then what goes
 * wrong with them. */
#include "tests/redis_server.h"
#include "net/store_redis.h"

/* ---- addresses ---- */

static void urls(void **state)
{
    static const struct {
        const char *url, *host, *user, *password;
        int port, db;
    } good[] = {
        { "redis://h", "h", NULL, NULL, 6379, 0 },
        { "redis://h/", "h", NULL, NULL, 6379, 0 },
        { "redis://h:1/12", "h", NULL, NULL, 1, 12 },
        { "redis://pw@h", "h", NULL, "pw", 6379, 0 },
        { "redis://:pw@h:65535", "h", NULL, "pw", 65535, 0 },
        { "redis://me:p%40%2fw%25@h", "h", "me", "p@/w%", 6379, 0 },
        { "redis://m%3ae:p:@x@h", "h", "m:e", "p:@x", 6379, 0 },
        { "redis://[::1]", "::1", NULL, NULL, 6379, 0 },
        { "redis://a:b@[fe80::1]:7/3", "fe80::1", "a", "b", 7, 3 },
    };
    static const char *const bad[] = {
        "redis://", "redis:///1", "redis://h:0", "redis://h:65536", "redis://h:",
        "redis://h:1x", "redis://h/x", "redis://h/-1", "redis://h/1/2",
        "redis://h/9999999999", "redis://%4@h", "redis://%00@h", "redis://%zz@h",
        "redis://@h", "redis://u:@h", "redis://[::1", "redis://[::1]x",
        "redis://h?x=1", "redis://h h", "redis://[::1]:"
    };
    tsr_store_settings s = store_settings(NULL);
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        tsr_store *store = store_open(good[i].url, &s);
        const tsri_redis *r = store->state;
        assert_string_equal(r->node[0]->host, good[i].host);
        assert_int_equal(r->node[0]->port, good[i].port);
        assert_int_equal(r->login.db, good[i].db);
        assert_true(!r->login.user == !good[i].user);
        assert_true(!r->login.password == !good[i].password);
        if (good[i].user)
            assert_string_equal(r->login.user, good[i].user);
        if (good[i].password)
            assert_string_equal(r->login.password, good[i].password);
        tsr_store_close(&store);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        tsr_store *store;
        if (tsr_store_open(&store, bad[i], &s) != TSR_E_ARG)
            fail_msg("%s", bad[i]);
    }
}

/* ---- what a store does ---- */

static void objects(void **state)
{
    enum { P = TSRI_REDIS_PIECE };
    static const size_t sizes[] = { 0, 1, P - 1, P, P + 1, 8 * P + 7, 40 * P };
    static const size_t range[][2] = {
        { 0, 1 }, { 0, P }, { 1, P }, { 0, P + 1 }, { P - 1, 2 }, { 3 * P, 0 },
        { 5, 9 * P }, { 100 * P, 5 }, { 8 * P, 8 * P }, { 1, 0 }
    };
    redis_server server = { 0 };
    const tsr_store_settings s = store_settings(NULL);
    tsr_store_entry entry;
    (void)state;
    redis_start(&server);
    tsr_store *store = store_open(server.url, &s);
    for (uint32_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        assert_int_equal(store_put_object(store, "abc", i, sizes[i]), TSR_OK);
        assert_int_equal(tsr_store_stat(store, "abc", &entry), TSR_OK);
        assert_int_equal(entry.bytes, sizes[i]);
        assert_string_equal(entry.key, "abc");
        assert_int_equal(store_get_object(store, "abc", i, sizes[i]), TSR_OK);
        for (size_t r = 0; r < sizeof range / sizeof *range; r++)
            assert_int_equal(store_get_range(store, "abc", i, sizes[i],
                                             range[r][0], range[r][1]), TSR_OK);
    }
    assert_int_equal(store_get_range(store, "abc", 6, 40 * P, SIZE_MAX / 2, 9),
                     TSR_OK);
    assert_int_equal(tsr_store_stat(store, "none", &entry), TSR_E_MISSING);
    assert_int_equal(store_get_object(store, "none", 1, 1), TSR_E_MISSING);
    assert_int_equal(tsr_store_remove(store, "none"), TSR_E_MISSING);
    assert_int_equal(tsr_store_remove(store, "abc"), TSR_OK);
    assert_int_equal(tsr_store_stat(store, "abc", &entry), TSR_E_MISSING);
    int fd;
    assert_int_equal(tsr_store_open_file(store, "abc", &fd, &entry),
                     TSR_E_UNSUPPORTED);
    /* Where the sink ends it, the connection does not suffer. */
    store_bytes b = { .fail_at = P + 5 };
    const tsr_sink sink = { &b, store_take };
    assert_int_equal(store_put_object(store, "abc", 1, 9 * P), TSR_OK);
    assert_int_equal(tsr_store_get(store, "abc", 0, 0, &sink, NULL), TSR_E_EOF);
    assert_int_equal(b.size, P);
    free(b.data);
    assert_int_equal(store_get_object(store, "abc", 1, 9 * P), TSR_OK);
    tsr_store_close(&store);
    redis_stop(&server);
}

static void lists(void **state)
{
    enum { N = 1800 };
    redis_server server = { 0 };
    tsr_store_settings s = store_settings(NULL);
    char key[32];
    (void)state;
    redis_start(&server);
    tsr_store *other = store_open(server.url, &s);
    s.key_prefix = "a*[b-c]?\\^ \r\n:";
    tsr_store *store = store_open(server.url, &s);
    assert_int_equal(store_list(store, "").n, 0);
    for (int i = 0; i < N; i++) {
        snprintf(key, sizeof key, "%c%04d", i % 3 ? 'x' : 'y', i);
        assert_int_equal(store_put_object(store, key, 1, (size_t)(i % 2)),
                         TSR_OK);
    }
    assert_int_equal(store_put_object(other, "x1", 1, 1), TSR_OK);
    redis_tell(&server, "LPUSH %s%s v", s.key_prefix, "xlist");
    redis_tell(&server, "SET %s%s v", s.key_prefix, "x/../y");
    redis_tell(&server, "SET aab?x1 v");
    assert_int_equal(store_list(store, "").n, N);
    assert_int_equal(store_list(store, "").bytes, N / 2);
    assert_int_equal(store_list(store, "y").n, N / 3);
    assert_int_equal(store_list(store, "y0003").n, 1);
    assert_int_equal(store_list(store, "z").n, 0);
    assert_int_equal(store_list(other, "").n, 1);
    assert_int_equal(store_get_object(store, "xlist", 1, 1), TSR_E_DENIED);
    tsr_store_close(&store);
    tsr_store_close(&other);
    /* Another database has none of it. */
    char url[80];
    snprintf(url, sizeof url, "%s/3", server.url);
    store = store_open(url, &s);
    assert_int_equal(store_list(store, "").n, 0);
    tsr_store_close(&store);
    snprintf(url, sizeof url, "%s/99", server.url);
    store = store_open(url, &s);
    assert_int_equal(store_get_object(store, "x", 1, 1), TSR_E_ARG);
    tsr_store_close(&store);
    redis_stop(&server);
}

/* ---- refusals ---- */

static tsr_error try_login(const redis_server *server, const char *login,
                           const char *token)
{
    store_note note = { .lines = 0 };
    tsr_store_settings s = store_settings(&note);
    char url[128];
    s.token = token;
    snprintf(url, sizeof url, "redis://%s127.0.0.1:%d", login, server->port);
    tsr_store *store = store_open(url, &s);
    const tsr_error error = store_put_object(store, "a", 1, 100);
    if (error) {
        assert_int_equal(note.lines, 1);
        assert_null(strstr(note.line, "cret"));
    }
    tsr_store_close(&store);
    return error;
}

static void logins(void **state)
{
    redis_server server = { .more = { "--requirepass", "s3cret/@" } };
    redisContext *c;
    (void)state;
    redis_start(&server);
    assert_int_equal(try_login(&server, "", NULL), TSR_E_DENIED);
    assert_int_equal(try_login(&server, "wrongcret@", NULL), TSR_E_DENIED);
    assert_int_equal(try_login(&server, "s3cret%2f%40@", NULL), TSR_OK);
    assert_int_equal(try_login(&server, "default:s3cret%2f%40@", NULL), TSR_OK);
    assert_int_equal(try_login(&server, "", "s3cret/@"), TSR_OK);
    assert_int_equal(try_login(&server, "", "s3cret"), TSR_E_DENIED);
    assert_int_equal(try_login(&server, "nobody:s3cret@", NULL), TSR_E_DENIED);
    c = redisConnect("127.0.0.1", server.port);
    freeReplyObject(redisCommand(c, "AUTH s3cret/@"));
    freeReplyObject(redisCommand(c, "ACL SETUSER reader on >readcret ~* +@read "
                                 "+@connection +watch +multi +exec -cluster"));
    assert_int_equal(try_login(&server, "reader:readcret@", NULL), TSR_E_DENIED);
    /* A password that was good a moment ago. */
    char url[128];
    const tsr_store_settings s = store_settings(NULL);
    snprintf(url, sizeof url, "redis://reader:readcret@127.0.0.1:%d",
             server.port);
    tsr_store *store = store_open(url, &s);
    assert_int_equal(store_get_object(store, "a", 1, 100), TSR_OK);
    /* Whether this is all of a list, it may not ask. */
    assert_int_equal(tsr_store_list(store, "", store_count_one, NULL),
                     TSR_E_DENIED);
    freeReplyObject(redisCommand(c, "ACL SETUSER reader resetpass >other"));
    freeReplyObject(redisCommand(c, "CLIENT KILL USER reader"));
    assert_int_equal(store_get_object(store, "a", 1, 100), TSR_E_DENIED);
    tsr_store_close(&store);
    redisFree(c);
    redis_stop(&server);
}

static void full(void **state)
{
    redis_server server = { .more = { "--maxmemory", "6mb", "--maxmemory-policy",
                                      "noeviction" } };
    const tsr_store_settings s = store_settings(NULL);
    tsr_error error = TSR_OK;
    char key[16];
    int n = 0;
    (void)state;
    redis_start(&server);
    tsr_store *store = store_open(server.url, &s);
    for (; !error && n < 20; n++) {
        snprintf(key, sizeof key, "k%d", n);
        error = store_put_object(store, key, (uint32_t)n, 1 << 20);
    }
    assert_int_equal(error, TSR_E_LIMIT);
    assert_true(n >= 3);
    assert_int_equal(store_get_object(store, key, 1, 1), TSR_E_MISSING);
    assert_int_equal(store_get_object(store, "k0", 0, 1 << 20), TSR_OK);
    assert_int_equal(store_list(store, "").n, n - 1);
    tsr_store_close(&store);
    redis_stop(&server);
}

/* Larger than the server takes: it says so while it is sent, and hangs up. */
static void too_large(void **state)
{
    redis_server server = { .more = { "--proto-max-bulk-len", "1mb" } };
    tsr_store_settings s = store_settings(NULL);
    (void)state;
    s.retries = 3;
    redis_start(&server);
    tsr_store *store = store_open(server.url, &s);
    const tsr_error error = store_put_object(store, "a", 1, 30 << 20);
    assert_true(error == TSR_E_LIMIT || error == TSR_E_IO);
    assert_int_equal(store_get_object(store, "a", 1, 1), TSR_E_MISSING);
    assert_int_equal(store_put_object(store, "a", 1, 1 << 19), TSR_OK);
    tsr_store_close(&store);
    s.max_object = 1000;
    store = store_open(server.url, &s);
    tsr_store_entry entry;
    assert_int_equal(store_get_object(store, "a", 1, 1), TSR_E_LIMIT);
    assert_int_equal(tsr_store_stat(store, "a", &entry), TSR_E_LIMIT);
    assert_int_equal(store_put_object(store, "b", 1, 1001), TSR_E_LIMIT);
    tsr_store_close(&store);
    redis_stop(&server);
}

/* ---- others at the same key ---- */

enum { BIG = 20 * TSRI_REDIS_PIECE };

typedef struct meddler {
    redis_server *server;
    tsr_store *store;
    int done;
} meddler;

static void replace_it(void *cookie)
{
    meddler *m = cookie;
    if (!m->done++)
        assert_int_equal(store_put_object(m->store, "abc", 2, BIG), TSR_OK);
}

static void remove_it(void *cookie)
{
    meddler *m = cookie;
    if (!m->done++)
        assert_int_equal(tsr_store_remove(m->store, "abc"), TSR_OK);
}

/* The size stays the same, and nevertheless no mixture comes back as good. */
static void replaced(void **state)
{
    redis_server server = { 0 };
    tsr_store_settings s = store_settings(NULL);
    (void)state;
    redis_start(&server);
    s.retries = 5;
    tsr_store *store = store_open(server.url, &s);
    meddler m = { .store = store_open(server.url, &s) };
    store_bytes b = { .each = replace_it, .cookie = &m };
    const tsr_sink sink = { &b, store_take };
    assert_int_equal(store_put_object(store, "abc", 1, BIG), TSR_OK);
    assert_int_equal(tsr_store_get(store, "abc", 0, 0, &sink, NULL), TSR_E_IO);
    assert_int_equal(tsri_store_retried(store), 0);
    assert_int_equal(store_get_object(store, "abc", 2, BIG), TSR_OK);
    m.done = 0;
    b.each = remove_it;
    assert_int_equal(tsr_store_get(store, "abc", 0, 0, &sink, NULL), TSR_E_IO);
    assert_int_equal(tsr_store_get(store, "abc", 0, 0, &sink, NULL),
                     TSR_E_MISSING);
    free(b.data);
    tsr_store_close(&m.store);
    tsr_store_close(&store);
    redis_stop(&server);
}

typedef struct writer {
    const char *url;
    uint32_t which;
    tsr_error error;
} writer;

static const size_t sizes[] = { 0, 900000, 700001, 900000 };

static void *write_often(void *cookie)
{
    writer *w = cookie;
    const tsr_store_settings s = store_settings(NULL);
    tsr_store *store;
    w->error = tsr_store_open(&store, w->url, &s);
    for (int i = 0; i < 30 && !w->error; i++)
        w->error = store_put_object(store, "key", w->which, sizes[w->which]);
    tsr_store_close(&store);
    return NULL;
}

static void writers(void **state)
{
    redis_server server = { 0 };
    const tsr_store_settings s = store_settings(NULL);
    pthread_t thread[3];
    writer w[3];
    int whole = 0;
    (void)state;
    redis_start(&server);
    tsr_store *store = store_open(server.url, &s);
    assert_int_equal(store_put_object(store, "key", 1, sizes[1]), TSR_OK);
    for (int i = 0; i < 3; i++) {
        w[i] = (writer){ server.url, (uint32_t)i + 1, TSR_OK };
        assert_int_equal(pthread_create(&thread[i], NULL, write_often, &w[i]), 0);
    }
    for (int i = 0; i < 60; i++) {
        store_bytes b = { 0 };
        const tsr_sink sink = { &b, store_take };
        const tsr_error error = tsr_store_get(store, "key", 0, 0, &sink, NULL);
        assert_true(error == TSR_E_IO || store_which(&b, 3, sizes) > 0);
        whole += !error;
        free(b.data);
    }
    for (int i = 0; i < 3; i++) {
        pthread_join(thread[i], NULL);
        assert_int_equal(w[i].error, TSR_OK);
    }
    assert_true(whole > 0);
    tsr_store_close(&store);
    redis_stop(&server);
}

/* ---- servers that die ---- */

static void kill_and_restart(void *cookie)
{
    meddler *m = cookie;
    if (m->done++)
        return;
    redis_kill(m->server);
    assert_int_equal(redis_run(m->server), 1);
}

static void kill_only(void *cookie)
{
    meddler *m = cookie;
    if (!m->done++)
        redis_kill(m->server);
}

/* kill -9 in the middle: what comes after the restart goes on where it was. */
static void killed(void **state)
{
    redis_server server = { .more = { "--appendonly", "yes", "--appendfsync",
                                      "always" } };
    tsr_store_settings s = store_settings(NULL);
    meddler m = { .server = &server };
    store_bytes b = { .each = kill_and_restart, .cookie = &m };
    const tsr_sink sink = { &b, store_take };
    uint8_t *want = store_object(7, BIG);
    (void)state;
    redis_start(&server);
    s.retries = 10;
    tsr_store *store = store_open(server.url, &s);
    assert_int_equal(store_put_object(store, "abc", 7, BIG), TSR_OK);
    assert_int_equal(tsr_store_get(store, "abc", 0, 0, &sink, NULL), TSR_OK);
    assert_int_equal(b.size, BIG);
    assert_memory_equal(b.data, want, BIG);
    assert_true(tsri_store_retried(store) >= 1);
    tsr_store_close(&store);
    /* One that stays dead. */
    s.retries = 1;
    store = store_open(server.url, &s);
    m.done = 0;
    b.each = kill_only;
    assert_int_equal(tsr_store_get(store, "abc", 0, 0, &sink, NULL), TSR_E_IO);
    assert_int_equal(store_put_object(store, "abc", 8, 100), TSR_E_IO);
    assert_int_equal(tsr_store_list(store, "", store_count_one, NULL), TSR_E_IO);
    /* And comes back: the connection does too. */
    assert_int_equal(redis_run(&server), 1);
    assert_int_equal(store_get_object(store, "abc", 7, BIG), TSR_OK);
    redis_kill(&server);
    assert_int_equal(redis_run(&server), 1);
    s.retries = 0;
    assert_int_equal(store_get_object(store, "abc", 7, BIG), TSR_OK);
    tsr_store_close(&store);
    free(b.data);
    free(want);
    redis_stop(&server);
}

static void *kill_soon(void *cookie)
{
    redis_server *server = cookie;
    store_pause(0.02);
    redis_kill(server);
    return NULL;
}

/* In the middle of a put: the object is whole, or not there; and no SIGPIPE. */
static void killed_put(void **state)
{
    enum { HUGE = 64 << 20 };
    redis_server server = { .more = { "--appendonly", "yes" } };
    const tsr_store_settings s = store_settings(NULL);
    pthread_t thread;
    tsr_store_entry entry;
    (void)state;
    redis_start(&server);
    tsr_store *store = store_open(server.url, &s);
    uint8_t *data = store_object(1, HUGE);
    assert_int_equal(tsr_store_stat(store, "abc", &entry), TSR_E_MISSING);
    assert_int_equal(pthread_create(&thread, NULL, kill_soon, &server), 0);
    const tsr_error error = tsr_store_put(store, "abc", data, HUGE);
    pthread_join(thread, NULL);
    assert_int_equal(redis_run(&server), 1);
    const tsr_error after = tsr_store_stat(store, "abc", &entry);
    assert_true(error == TSR_OK || error == TSR_E_IO);
    assert_true(after == TSR_E_MISSING || (!after && entry.bytes == HUGE));
    free(data);
    tsr_store_close(&store);
    redis_stop(&server);
}

static void *cancel_soon(void *cookie)
{
    store_pause(0.1);
    tsr_store_cancel(cookie);
    return NULL;
}

/* A server that is there but does nothing. */
static void stopped(void **state)
{
    redis_server server = { 0 };
    tsr_store_settings s = store_settings(NULL);
    pthread_t thread;
    (void)state;
    redis_start(&server);
    s.timeout = 0.3;
    tsr_store *store = store_open(server.url, &s);
    assert_int_equal(store_put_object(store, "abc", 1, BIG), TSR_OK);
    kill(server.pid, SIGSTOP);
    assert_int_equal(store_get_object(store, "abc", 1, BIG), TSR_E_IO);
    assert_int_equal(store_put_object(store, "abc", 1, BIG), TSR_E_IO);
    tsr_store_close(&store);
    s.timeout = 3600;
    s.retries = 100;
    store = store_open(server.url, &s);
    assert_int_equal(pthread_create(&thread, NULL, cancel_soon, store), 0);
    assert_int_equal(store_get_object(store, "abc", 1, BIG), TSR_E_CANCELED);
    pthread_join(thread, NULL);
    tsr_store_close(&store);
    store = store_open(server.url, &s);
    kill(server.pid, SIGCONT);
    assert_int_equal(store_get_object(store, "abc", 1, BIG), TSR_OK);
    tsr_store_close(&store);
    redis_stop(&server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urls),
        cmocka_unit_test(objects),
        cmocka_unit_test(lists),
        cmocka_unit_test(logins),
        cmocka_unit_test(full),
        cmocka_unit_test(too_large),
        cmocka_unit_test(replaced),
        cmocka_unit_test(writers),
        cmocka_unit_test(killed),
        cmocka_unit_test(killed_put),
        cmocka_unit_test(stopped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
