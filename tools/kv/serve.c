/* SPDX-License-Identifier: BSD-2-Clause */
/* serve: a store for others, over HTTP (docs/kv-store.md). */
#include "tools/kv/serve.h"
#include <errno.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include "tools/kv/remote.h"
#include "tools/kv/verbs.h"
#include "tools/say.h"

enum {
    DEFAULT_CONNECTIONS = 512,
    MOST_PEM = 1 << 20,
    DEFAULT_GRACE = 30
};
#define DEFAULT_LISTEN "127.0.0.1:8920"
#define DEFAULT_UPLOADS (UINT64_C(1) << 30)

typedef struct job {
    const args *a;
    server server;
    server_settings settings;
    char *cert, *key;
    char shown[SHOWN_SIZE];
    char folder[4096];
    struct MHD_Daemon *daemon;
} job;

/* ---- what the options say ---- */

static int read_pem(char **text, const char *path)
{
    FILE *file = fopen(path, "r");
    size_t n;
    if (!file)
        return say_error(RC_USAGE, path, "%s", strerror(errno));
    *text = malloc(MOST_PEM);
    n = *text ? fread(*text, 1, MOST_PEM, file) : 0;
    const int bad = ferror(file) || n == MOST_PEM;
    fclose(file);
    if (!*text)
        return say_error(RC_MACHINE, path, "out of memory");
    (*text)[bad ? 0 : n] = 0;
    if (bad || !strstr(*text, "-----BEGIN "))
        return say_error(RC_INPUT, path, "is not PEM");
    return RC_OK;
}

static int open_tls(job *j)
{
    if (!j->a->cert && !j->a->key)
        return RC_OK;
    if (!j->a->cert || !j->a->key)
        return say_error(RC_USAGE, NULL, "-cert and -key go together");
    if (MHD_is_feature_supported(MHD_FEATURE_SSL) != MHD_YES)
        return say_error(RC_MACHINE, NULL, "this libmicrohttpd has no TLS");
    int rc = read_pem(&j->cert, j->a->cert);
    if (!rc)
        rc = read_pem(&j->key, j->a->key);
    j->settings.cert = j->cert;
    j->settings.key = j->key;
    return rc;
}

/* The default store: a folder of the user's own.  What is above it is made here,
 * itself by the store. */
static const char *own_folder(job *j)
{
    const char *base = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    const int given = base && *base == '/';
    int n;
    if (!given && (!home || *home != '/'))
        return "";
    n = snprintf(j->folder, sizeof j->folder, "%s%s", given ? base : home,
                 given ? "" : "/.cache");
    if (n < 0 || (size_t)n > sizeof j->folder - sizeof "/tessera/kv")
        return "";
    (void)mkdir(j->folder, 0700);
    memcpy(j->folder + n, "/tessera", sizeof "/tessera");
    (void)mkdir(j->folder, 0700);
    memcpy(j->folder + n, "/tessera/kv", sizeof "/tessera/kv");
    return j->folder;
}

static int open_store(job *j)
{
    tsr_store_settings settings;
    args a = *j->a;
    const char *url = a.store ? a.store : a.files ? a.file[0] : own_folder(j);

    if (a.files + (a.store != NULL) > 1)
        return say_error(RC_USAGE, NULL, "one store at a time");
    if (!*url)
        return say_error(RC_USAGE, NULL, "no store; -store URL names it");
    /* -token_file is what clients show us; what we show is $TESSERA_TOKEN. */
    a.token_file = NULL;
    const int rc = kv_remote_settings(&settings, &a);
    if (rc)
        return rc;
    const tsr_error error = pool_open(&j->server.pool, url, &settings);
    if (error)
        return kv_remote_failed(kv_remote_shown(url), error);
    j->server.max_object = settings.max_object;
    j->settings.timeout = settings.timeout;
    say_info("store %s", kv_remote_shown(url));
    return RC_OK;
}

static int set_limits(job *j)
{
    const args *a = j->a;
    server *s = &j->server;
    s->budget.most = a->upload_memory > 0 ? (uint64_t)a->upload_memory
        : s->max_object > DEFAULT_UPLOADS ? s->max_object : DEFAULT_UPLOADS;
    if (s->budget.most < s->max_object)
        return say_error(RC_USAGE, NULL, "-upload_memory is less than"
                         " -max_object");
    j->settings.connections = a->connections ? a->connections
                                             : DEFAULT_CONNECTIONS;
    j->settings.per_ip = a->per_ip;
    s->metrics = metrics_open();
    s->conns = conns_open((unsigned)j->settings.connections);
    if (!s->metrics || !s->conns)
        return say_error(RC_MACHINE, NULL, "out of memory");
    return RC_OK;
}

static int open_socket(job *j)
{
    const char *address = j->a->listen ? j->a->listen : DEFAULT_LISTEN;
    int local = 0;
    j->settings.socket = listen_open(address, j->shown, &local);
    if (j->settings.socket < 0)
        return RC_USAGE;
    if (local || j->a->open)
        return RC_OK;
    if (!tokens_any(j->server.tokens))
        return say_error(RC_USAGE, address, "everybody who can reach it could"
                         " read and write; -token_file FILE keeps others out,"
                         " -open lets them in");
    if (!j->cert)
        say_warning(address, "without -cert and -key whoever listens in has the"
                    " tokens");
    return RC_OK;
}

/* ---- while it runs ---- */

/* Signals come through a pipe: libraries' threads, which were there before any
 * could be told to block them, may be the ones that get them. */
static int signal_pipe[2] = { -1, -1 };
static const int heard[] = { SIGTERM, SIGINT, SIGHUP };
enum { HEARD = sizeof heard / sizeof *heard };
static struct sigaction before[HEARD];

static void hear(int number)
{
    const int kept = errno;
    const char c = (char)number;
    const ssize_t n = write(signal_pipe[1], &c, 1);
    (void)n;
    errno = kept;
}

static int listen_to_signals(void)
{
    struct sigaction action = { .sa_handler = hear, .sa_flags = SA_RESTART };
    if (pipe(signal_pipe))
        return say_error(RC_MACHINE, NULL, "%s", strerror(errno));
    for (int i = 0; i < 2; i++) {
        (void)fcntl(signal_pipe[i], F_SETFD, FD_CLOEXEC);
        (void)fcntl(signal_pipe[i], F_SETFL, O_NONBLOCK);
    }
    sigemptyset(&action.sa_mask);
    for (int i = 0; i < HEARD; i++)
        sigaction(heard[i], &action, &before[i]);
    return RC_OK;
}

static void stop_listening(void)
{
    for (int i = 0; i < HEARD; i++)
        sigaction(heard[i], &before[i], NULL);
    close(signal_pipe[0]);
    close(signal_pipe[1]);
}

/* The next signal, or 0 after so many seconds. */
static int next_signal(double seconds)
{
    struct pollfd p = { .fd = signal_pipe[0], .events = POLLIN };
    char c = 0;
    if (poll(&p, 1, (int)(1e3 * seconds)) > 0 && read(p.fd, &c, 1) == 1)
        return c;
    return 0;
}

static void reap(job *j)
{
    const int n = conns_reap(j->server.conns, j->settings.timeout);
    for (int i = 0; i < n; i++)
        metrics_stalled(j->server.metrics);
}

static void watch(job *j)
{
    const double quarter = j->settings.timeout / 4;
    const double tick = quarter < 1 ? quarter : 1;
    for (;;) {
        const int n = next_signal(tick);
        reap(j);
        if (n == SIGTERM || n == SIGINT)
            return;
        if (n == SIGHUP && j->server.tokens &&
            !tokens_reload(j->server.tokens))
            say_info("tokens read again");
    }
}

/* Takes no more connections, and lets what is under way end. */
static void wind_down(job *j)
{
    const double grace = j->a->grace >= 0 ? j->a->grace : DEFAULT_GRACE;
    const double end = serve_now() + grace;
    atomic_store(&j->server.stopping, 1);
    const int socket = MHD_quiesce_daemon(j->daemon);
    if (socket >= 0)
        close(socket);
    while (metrics_in_flight(j->server.metrics) && serve_now() < end) {
        const int n = next_signal(0.05);
        if (n == SIGTERM || n == SIGINT)
            _exit(RC_SIGNAL);
        reap(j);
    }
    const unsigned left = metrics_in_flight(j->server.metrics);
    if (left)
        say_warning(NULL, "%u requests were cut off", left);
}

/* Of a connection: its socket, a file or a store's socket, the ends of a pipe. */
static void raise_files(const job *j)
{
    const rlim_t wanted = 4 * (rlim_t)(j->settings.connections + 64) + 64;
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur >= wanted)
        return;
    limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
    if (!setrlimit(RLIMIT_NOFILE, &limit) && limit.rlim_cur < wanted)
        say_warning(NULL, "the system allows %llu open files, -connections %d"
                    " may want %llu", (unsigned long long)limit.rlim_cur,
                    j->settings.connections, (unsigned long long)wanted);
}

static int serve(job *j)
{
    const int rc = listen_to_signals();
    if (rc)
        return rc;
    raise_files(j);
    j->daemon = server_start(&j->server, &j->settings);
    if (!j->daemon) {
        stop_listening();
        close(j->settings.socket);
        return say_error(RC_MACHINE, j->shown, "libmicrohttpd does not start%s",
                         j->cert ? "; do certificate and key fit?" : "");
    }
    printf("%s://%s\n", j->cert ? "https" : "http", j->shown);
    fflush(stdout);
    watch(j);
    wind_down(j);
    pool_cancel(j->server.pool);
    MHD_stop_daemon(j->daemon);
    stop_listening();
    return RC_OK;
}

int kv_serve(args *a)
{
    job j = { .a = a };
    int rc = tokens_open(&j.server.tokens, a->token_file);
    if (!rc)
        rc = open_tls(&j);
    if (!rc)
        rc = open_store(&j);
    if (!rc)
        rc = set_limits(&j);
    if (!rc)
        rc = open_socket(&j);
    if (!rc)
        rc = serve(&j);
    pool_close(&j.server.pool);
    tokens_close(&j.server.tokens);
    metrics_close(&j.server.metrics);
    conns_close(&j.server.conns);
    free(j.cert);
    free(j.key);
    return rc;
}
