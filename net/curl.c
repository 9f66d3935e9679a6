/* SPDX-License-Identifier: BSD-2-Clause */
#include "net/curl.h"
#include <ctype.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>

/* No more than this of heads in one answer, or of a body that nobody wants; less than this moved within the
 * time-out is no progress, or a byte a second would hold a caller for days. */
enum { HEAD_LIMIT = 65536, PROGRESS = 1024, POLL_MS = 50 };

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- addresses ---- */

int tsri_web_url_good(const char *url)
{
    const int secure = !strncmp(url, "https://", 8);
    if (!secure && strncmp(url, "http://", 7) != 0)
        return 0;
    const char *host = url + (secure ? 8 : 7);
    const size_t n = strcspn(host, "/");
    if (!n || *host == ':' || memchr(host, '@', n))
        return 0;
    for (const char *c = host; *c; c++)
        if (*c <= ' ' || *c > '~' || strchr("?#\\\"<>^`{|}", *c))
            return 0;
    return 1;
}

char *tsri_web_place(const char *url)
{
    const char *host = strstr(url, "://") + 3;
    return strndup(url, (size_t)(host - url) + strcspn(host, "/"));
}

/* ---- the head of an answer ---- */

/* Digits up to *text's end of them; 0 if there are none or too many. */
static int number(const char **text, uint64_t *value)
{
    const char *c = *text;
    for (*value = 0; *c >= '0' && *c <= '9' && c - *text < 19; c++)
        *value = *value * 10 + (uint64_t)(*c - '0');
    const int good = c > *text && !(*c >= '0' && *c <= '9');
    *text = c;
    return good;
}

static void read_length(tsri_web *w, const char *text)
{
    uint64_t length;
    if (!number(&text, &length) || *text)
        w->nonsense = "a Content-Length that is no number";
    else if (w->answer.sized && length != w->answer.length)
        w->nonsense = "two lengths";
    w->answer.sized = 1;
    w->answer.length = length;
}

static void read_range(tsri_web *w, const char *c)
{
    tsri_answer *a = &w->answer;
    int good = !strncasecmp(c, "bytes ", 6) && !a->ranged;
    c += good ? 6 : 0;
    a->first = 1, a->last = 0;
    if (good && *c == '*')
        c++;
    else
        good = good && number(&c, &a->first) && *c++ == '-' &&
            number(&c, &a->last) && a->first <= a->last;
    a->ranged = good && *c++ == '/' && number(&c, &a->total) && !*c &&
        (a->last < a->first || a->last < a->total);
    if (!a->ranged)
        w->nonsense = "a Content-Range that is none";
}

static void read_line(tsri_web *w, const char *name, const char *value)
{
    tsri_answer *a = &w->answer;
    if (!strcasecmp(name, "Content-Length"))
        read_length(w, value);
    else if (!strcasecmp(name, "Content-Range"))
        read_range(w, value);
    else if (!strcasecmp(name, "Content-Encoding"))
        a->encoded = strcasecmp(value, "identity") != 0;
    else if (!strcasecmp(name, "ETag") && *value == '"' &&
             strlen(value) < sizeof a->version)
        memcpy(a->version, value, strlen(value) + 1);
    else if (!strcasecmp(name, "Last-Modified")) {
        const time_t t = curl_getdate(value, NULL);
        a->modified = t > 0 ? t : 0;
    }
}

static size_t on_header(char *data, size_t one, size_t size, void *cookie)
{
    tsri_web *w = cookie;
    char line[512];
    (void)one;
    w->head_bytes += size;
    if (w->head_bytes > HEAD_LIMIT) {
        w->nonsense = "more than 64 KiB of headers";
        return 0;
    }
    if (size && (*data == ' ' || *data == '\t')) {
        w->nonsense = "a folded header";
        return 0;
    }
    if (size >= 5 && !memcmp(data, "HTTP/", 5))
        w->answer = (tsri_answer){ 0 };     /* after 100 there is another */
    size_t n = size < sizeof line ? size : sizeof line - 1;
    memcpy(line, data, n);
    while (n && isspace((unsigned char)line[n - 1]))
        n--;
    line[n] = 0;
    char *value = strchr(line, ':');
    if (value) {
        *value++ = 0;
        read_line(w, line, value + strspn(value, " \t"));
    }
    return w->nonsense ? 0 : size;
}

static size_t on_body(char *data, size_t one, size_t size, void *cookie)
{
    tsri_web *w = cookie;
    (void)one;
    curl_easy_getinfo(w->easy, CURLINFO_RESPONSE_CODE, &w->answer.status);
    if (atomic_load(&w->store->canceled)) {
        w->error = TSR_E_CANCELED;
        return 0;
    }
    if (w->answer.status / 100 != 2) {
        size_t n = sizeof w->text - 1 - w->text_bytes;
        n = n < size ? n : size;
        memcpy(w->text + w->text_bytes, data, n);
        w->text_bytes += n;
        w->text[w->text_bytes] = 0;
        /* Nobody reads a longer complaint. */
        return n || !size ? size : 0;
    }
    if (!w->take) {
        w->text_bytes += size;
        w->nonsense = w->text_bytes > HEAD_LIMIT ? "a body without an end" : NULL;
        return w->nonsense ? 0 : size;
    }
    const int64_t start = now_ms();
    w->error = w->take(w->cookie, &w->answer, data, size);
    w->since += now_ms() - start;   /* a slow taker is no fault of the network */
    return w->error ? 0 : size;
}

/* ---- opening ---- */

static int knows(const char *scheme)
{
    const char *const *p = curl_version_info(CURLVERSION_NOW)->protocols;
    while (*p && strcmp(*p, scheme) != 0)
        p++;
    return *p != NULL;
}

static void start_curl(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

tsr_error tsri_web_open(tsr_store *store, char *base, char *place,
                        tsri_judge judge)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, start_curl);
    tsri_web *w = calloc(1, sizeof *w);
    if (!w) {
        free(base);
        free(place);
        return TSR_E_NOMEM;
    }
    store->state = w;
    w->store = store;
    w->base = base;
    w->place = place;
    w->judge = judge;
    w->multi = curl_multi_init();
    w->socket = CURL_SOCKET_BAD;
    if (!base || !place || !w->multi)
        return TSR_E_NOMEM;
    if (!strncmp(base, "https:", 6) && !knows("https"))
        return tsri_store_fail(store, TSR_E_UNSUPPORTED, "%s: this libcurl has"
                               " no TLS", place);
    return TSR_OK;
}

void tsri_web_close(tsr_store *store)
{
    tsri_web *w = store->state;
    if (!w)
        return;
    curl_easy_cleanup(w->easy);
    curl_multi_cleanup(w->multi);
    curl_slist_free_all(w->headers);
    curl_slist_free_all(w->put_headers);
    free(w->base);
    free(w->place);
    free(w->hush);
    free(w->sign);
    free(w->user);
    free(w->secret);
    free(w);
    store->state = NULL;
}

static tsr_error append(struct curl_slist **list, const char *line)
{
    struct curl_slist *more = curl_slist_append(*list, line);
    if (!more)
        return TSR_E_NOMEM;
    *list = more;
    return TSR_OK;
}

tsr_error tsri_web_header(tsri_web *w, int where, const char *line)
{
    tsr_error error = TSR_OK;
    if (where & TSRI_PUT)
        error = append(&w->put_headers, line);
    if (!error && (where & TSRI_OTHERS))
        error = append(&w->headers, line);
    return error;
}

/* ---- a request ---- */

tsr_error tsri_web_begin(tsri_web *w, const char *url, tsri_take take,
                         void *cookie)
{
    const tsr_store_settings *s = &w->store->settings;
    /* A new handle: of an old one libcurl 7.88 remembers the last header, which it
     * has freed, and adds a folded first line of the next answer to it.
     * Connections are with the other handle. */
    curl_easy_cleanup(w->easy);
    CURL *e = w->easy = curl_easy_init();
    if (!e)
        return TSR_E_NOMEM;
    w->take = take;
    w->cookie = cookie;
    w->nonsense = NULL;
    w->head_bytes = w->text_bytes = 0;
    *w->text = *w->problem = 0;
    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(e, CURLOPT_BUFFERSIZE, 256L * 1024);
    curl_easy_setopt(e, CURLOPT_UPLOAD_BUFFERSIZE, 256L * 1024);
    curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, (long)(s->timeout * 1000) + 1);
    curl_easy_setopt(e, CURLOPT_ERRORBUFFER, w->problem);
    curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(e, CURLOPT_HEADERDATA, w);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(e, CURLOPT_WRITEDATA, w);
#if LIBCURL_VERSION_NUM >= 0x075700
    /* Cancelling does not wait for a name server. */
    curl_easy_setopt(e, CURLOPT_QUICK_EXIT, 1L);
#endif
    CURLcode code = CURLE_OK;
    if (s->ca_file)
        code = curl_easy_setopt(e, CURLOPT_CAINFO, s->ca_file);
    if (!code && w->sign)
        code = curl_easy_setopt(e, CURLOPT_AWS_SIGV4, w->sign);
    if (!code && w->sign)
        code = curl_easy_setopt(e, CURLOPT_USERNAME, w->user);
    if (!code && w->sign)
        code = curl_easy_setopt(e, CURLOPT_PASSWORD, w->secret);
    if (!code)
        code = curl_easy_setopt(e, CURLOPT_URL, url);
    return code ? TSR_E_NOMEM : TSR_OK;
}

/* Waits until the server may be asked again. */
static tsr_error wait_turn(tsri_web *w)
{
    while (now_ms() < w->not_before) {
        if (atomic_load(&w->store->canceled))
            return TSR_E_CANCELED;
        nanosleep(&(struct timespec){ .tv_nsec = POLL_MS * 1000000 }, NULL);
    }
    return TSR_OK;
}

static int stalled(tsri_web *w)
{
    curl_off_t up = 0, down = 0;
    curl_easy_getinfo(w->easy, CURLINFO_SIZE_UPLOAD_T, &up);
    curl_easy_getinfo(w->easy, CURLINFO_SIZE_DOWNLOAD_T, &down);
    const int64_t moved = up + down + (int64_t)w->head_bytes, now = now_ms();
    if (moved >= w->moved + PROGRESS) {
        w->moved = moved;
        w->since = now;
    }
    return (double)(now - w->since) >= w->store->settings.timeout * 1000;
}

/* Whether the server has said more than it was asked for: libcurl would take it
 * for the beginning of the next answer, and can be told to forget a connection
 * only with the handle that keeps it. */
static int soiled(const tsri_web *w)
{
    char byte;
    return w->socket != CURL_SOCKET_BAD &&
        recv(w->socket, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

/* Drives the transfer.  Returns what libcurl says of it, or TSR_E_CANCELED and
 * TSR_E_IO in *error: given up here. */
static CURLcode drive(tsri_web *w, tsr_error *error)
{
    CURLcode code = CURLE_FAILED_INIT;
    int running = 1, messages;
    w->moved = 0;
    w->since = now_ms();
    if (soiled(w)) {
        curl_multi_cleanup(w->multi);
        w->multi = curl_multi_init();
    }
    w->socket = CURL_SOCKET_BAD;
    if (!w->multi || curl_multi_add_handle(w->multi, w->easy))
        return code;
    while (!curl_multi_perform(w->multi, &running) && running) {
        if (atomic_load(&w->store->canceled))
            *error = TSR_E_CANCELED;
        else if (stalled(w))
            *error = TSR_E_IO;
        if (*error)
            break;
        curl_multi_poll(w->multi, NULL, 0, POLL_MS, NULL);
    }
    const CURLMsg *message = curl_multi_info_read(w->multi, &messages);
    if (message && message->msg == CURLMSG_DONE)
        code = message->data.result;
    if (curl_easy_getinfo(w->easy, CURLINFO_ACTIVESOCKET, &w->socket))
        w->socket = CURL_SOCKET_BAD;
    curl_multi_remove_handle(w->multi, w->easy);
    return code;
}

/* TLS libraries write to sockets as to files: SIGPIPE would end the process. */
static CURLcode drive_quietly(tsri_web *w, tsr_error *error)
{
    sigset_t pipe, old, pending;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    sigpending(&pending);
    const int was = sigismember(&pending, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe, &old);
    const CURLcode code = drive(w, error);
    if (!was)
        while (sigtimedwait(&pipe, NULL, &(struct timespec){ 0 }) == SIGPIPE)
            ;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return code;
}

static tsr_error transport(tsri_web *w, CURLcode code, const char *what)
{
    const char *text = *w->problem ? w->problem : curl_easy_strerror(code);
    long sent = 0;
    curl_easy_getinfo(w->easy, CURLINFO_REQUEST_SIZE, &sent);
    switch (code) {
    case CURLE_OUT_OF_MEMORY:   /* also what it says of one endless header */
        if (!sent)
            return TSR_E_NOMEM;
        return tsri_store_fail(w->store, TSR_E_IO, "%s: %s answers with a header"
                               " without an end", what, w->place);
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_CERTPROBLEM:
        return tsri_store_fail(w->store, TSR_E_DENIED, "%s: %s is not who it"
                               " should be: %s", what, w->place, text);
    case CURLE_SSL_CACERT_BADFILE:
        return tsri_store_fail(w->store, TSR_E_ARG, "%s: the file of"
                               " certificates cannot be used: %s", what, text);
    case CURLE_URL_MALFORMAT:
        return tsri_store_fail(w->store, TSR_E_ARG, "%s: %s", w->place, text);
    default:
        return tsri_store_fail(w->store, TSR_E_IO, "%s: %s: %s", what, w->place,
                               text);
    }
}

tsr_error tsri_web_meaning(long status)
{
    switch (status) {
    case 404: case 410:
        return TSR_E_MISSING;
    case 401: case 403: case 405: case 407: case 501:
        return TSR_E_DENIED;
    case 413: case 507:
        return TSR_E_LIMIT;
    case 408: case 409: case 412: case 425: case 429:
        return TSR_E_IO;
    default:
        return status >= 300 && status < 500 ? TSR_E_ARG : TSR_E_IO;
    }
}

static tsr_error refused(tsri_web *w, const char *what)
{
    char reason[160] = "";
    const long status = w->answer.status;
    curl_off_t after = 0;
    curl_easy_getinfo(w->easy, CURLINFO_RETRY_AFTER, &after);
    if (after > 0 && (status == 429 || status == 503)) {
        const double most = w->store->settings.timeout;
        const double wait = (double)after < most ? (double)after : most;
        w->not_before = now_ms() + (int64_t)(wait * 1000);
    }
    const tsr_error error = w->judge(w, &w->answer, w->text, reason);
    if (error == TSR_E_MISSING)
        return error;       /* nothing to be told of */
    if (status / 100 == 3)
        return tsri_store_fail(w->store, error, "%s: %s answers %ld: the store is"
                               " elsewhere, and redirections are not followed%s%s",
                               what, w->place, status, *reason ? ": " : "",
                               reason);
    return tsri_store_fail(w->store, error, "%s: %s answers %ld%s%s", what,
                           w->place, status, *reason ? ": " : "", reason);
}

tsr_error tsri_web_send(tsri_web *w, const char *what,
                        const struct curl_slist *headers)
{
    curl_easy_setopt(w->easy, CURLOPT_HTTPHEADER, headers);
    w->answer = (tsri_answer){ 0 };
    tsr_error error = wait_turn(w);
    if (error)
        return error;
    w->error = TSR_OK;
    const CURLcode code = drive_quietly(w, &error);
    if (w->error || error == TSR_E_CANCELED)
        return w->error ? w->error : error;
    if (w->nonsense)
        return tsri_store_fail(w->store, TSR_E_IO, "%s: %s answers with %s",
                               what, w->place, w->nonsense);
    curl_easy_getinfo(w->easy, CURLINFO_RESPONSE_CODE, &w->answer.status);
    /* What was refused may break off where the refusal is known. */
    if (w->answer.status >= 300 && w->answer.status != 416)
        return refused(w, what);
    if (error)
        return tsri_store_fail(w->store, error, "%s: %s: no progress for %g"
                               " seconds", what, w->place,
                               w->store->settings.timeout);
    return code && w->answer.status != 416 ? transport(w, code, what) : TSR_OK;
}
