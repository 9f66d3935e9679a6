/* SPDX-License-Identifier: BSD-2-Clause */
/* Amazon S3 and what speaks like it; libcurl signs.
 *
 * Bodies are not signed (S3 calls that UNSIGNED-PAYLOAD): within TLS that would
 * check twice what is checked, chunks have a SHA-256 of their own, and libcurl
 * has no call for it.  S3 demands that the header which says so is signed, and
 * libcurl signs given headers well from 7.88 on.  It takes paths and queries as
 * they are: here they are encoded, and in order. */
#include "net/curl.h"
#include "net/xml.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define DIGITS "0123456789"
#define PLAIN "ABCDEFGHIJKLMNOPQRSTUVWXYZ" LOWER DIGITS "._-"

/* SHA-256 of no bytes. */
#define NOTHING_HASHED "x-amz-content-sha256: " \
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

enum { EMPTY_PAGES = 100 };

/* ---- complaints ---- */

static tsr_error meaning(const char *code, long status)
{
    static const struct { const char *code; tsr_error error; } known[] = {
        { "ExpiredToken", TSR_E_DENIED }, { "InvalidToken", TSR_E_DENIED },
        { "TokenRefreshRequired", TSR_E_DENIED },
        { "AuthorizationHeaderMalformed", TSR_E_DENIED },
        { "EntityTooLarge", TSR_E_LIMIT }, { "NoSuchBucket", TSR_E_ARG },
        { "RequestTimeout", TSR_E_IO }, { "BadDigest", TSR_E_IO },
        { "IncompleteBody", TSR_E_IO }, { "SlowDown", TSR_E_IO },
        { "XAmzContentSHA256Mismatch", TSR_E_IO }
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(code, known[i].code))
            return known[i].error;
    return tsri_web_meaning(status);
}

/* One line of it: what is not ASCII becomes '?'. */
static void say(char reason[160], const char *code, const char *message)
{
    snprintf(reason, 160, "%s%s%.90s", code, *code && *message ? ": " : "", message);
    for (char *c = reason; *c; c++)
        if (*c < ' ' || *c > '~')
            *c = '?';
}

static tsr_error judge_s3(const tsri_web *w, const tsri_answer *a,
                          const char *text, char reason[160])
{
    char code[64] = "", message[160] = "";
    tsri_xml last = { .end = 1 }, tag;
    /* A text counts when its element has ended, and if it keeps the secret. */
    for (; tsri_xml_next(&text, &tag) == 1; last = tag) {
        if (!tag.end || last.end || strcmp(tag.name, last.name) != 0 ||
            (w->hush && strstr(last.text, w->hush)))
            continue;
        if (!strcmp(last.name, "Code"))
            snprintf(code, sizeof code, "%.63s", last.text);
        else if (!strcmp(last.name, "Message"))
            snprintf(message, sizeof message, "%.159s", last.text);
    }
    say(reason, code, message);
    /* HEAD has no body to say that credentials have expired. */
    return a->status == 400 && !*code ? TSR_E_DENIED : meaning(code, a->status);
}

/* ---- opening ---- */

static int all_of(const char *text, size_t n, const char *good)
{
    return strspn(text, good) >= n;
}

/* Parts of PLAIN between single slashes, none of them "." or "..". */
static int prefix_good(const char *prefix)
{
    while (*prefix) {
        const size_t n = strcspn(prefix, "/");
        if (!n || !all_of(prefix, n, PLAIN) ||
            (n <= 2 && all_of(prefix, n, ".")))
            return 0;
        prefix += n + (prefix[n] == '/');
    }
    return 1;
}

/* The URL of objects up to their key; *root: of it, what is before the prefix. */
static char *make_base(const tsr_store_settings *s, const char *bucket, size_t n,
                       const char *prefix, size_t *root)
{
    const size_t more = s->endpoint ? strlen(s->endpoint) : 0;
    const size_t room = more + n + strlen(prefix) + strlen(s->region) + 64;
    const char *land = strncmp(s->region, "cn-", 3) ? "" : ".cn";
    char *base = malloc(room);
    if (!base)
        return NULL;
    const int size = (int)n;
    if (s->endpoint)
        snprintf(base, room, "%s%s%.*s/", s->endpoint,
                 s->endpoint[more - 1] == '/' ? "" : "/", size, bucket);
    else if (memchr(bucket, '.', n))    /* no certificate fits such a host */
        snprintf(base, room, "https://s3.%s.amazonaws.com%s/%.*s/", s->region,
                 land, size, bucket);
    else
        snprintf(base, room, "https://%.*s.s3.%s.amazonaws.com%s/", size, bucket,
                 s->region, land);
    *root = strlen(base);
    const size_t end = strlen(prefix);
    snprintf(base + *root, room - *root, "%s%s", prefix,
             end && prefix[end - 1] != '/' ? "/" : "");
    return base;
}

static tsr_error session_header(tsri_web *w)
{
    const char *token = getenv("AWS_SESSION_TOKEN");
    if (!token || !*token)
        return TSR_OK;
    if (strpbrk(token, "\r\n"))
        return tsri_store_fail(w->store, TSR_E_DENIED, "S3: AWS_SESSION_TOKEN is"
                               " more than a line");
    const size_t room = strlen(token) + 32;
    char *line = malloc(room);
    if (!line)
        return TSR_E_NOMEM;
    snprintf(line, room, "x-amz-security-token: %s", token);
    const tsr_error error = tsri_web_header(w, TSRI_PUT | TSRI_OTHERS, line);
    free(line);
    w->hush = strdup(token);
    return error || w->hush ? error : TSR_E_NOMEM;
}

static tsr_error set_signing(tsr_store *s)
{
    tsri_web *w = s->state;
    const char *user = getenv("AWS_ACCESS_KEY_ID");
    const char *secret = getenv("AWS_SECRET_ACCESS_KEY");
    char sign[96];
    if (!user || !*user || !secret || !*secret)
        return tsri_store_fail(s, TSR_E_DENIED, "S3: the environment has no"
                               " AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY");
    snprintf(sign, sizeof sign, "aws:amz:%s:s3", s->settings.region);
    w->sign = strdup(sign);
    w->user = strdup(user);
    w->secret = strdup(secret);
    if (!w->sign || !w->user || !w->secret)
        return TSR_E_NOMEM;
    tsr_error error = session_header(w);
    if (!error)
        error = tsri_web_header(w, TSRI_PUT, "Content-Type:"
                                " application/octet-stream");
    if (!error)
        error = tsri_web_header(w, TSRI_PUT, "x-amz-content-sha256:"
                                " UNSIGNED-PAYLOAD");
    return error ? error : tsri_web_header(w, TSRI_OTHERS, NOTHING_HASHED);
}

static tsr_error open_s3(tsr_store *s, const char *url)
{
    const tsr_store_settings *set = &s->settings;
    const char *bucket = url + strlen("s3://");
    const size_t n = strcspn(bucket, "/"), region = strlen(set->region);
    const char *prefix = bucket[n] ? bucket + n + 1 : bucket + n;
    size_t root = 0;
    if (n < 3 || n > 63 || !all_of(bucket, n, LOWER DIGITS ".-") ||
        *bucket == '.' || *bucket == '-' || strlen(prefix) > 512 ||
        !prefix_good(prefix))
        return tsri_store_fail(s, TSR_E_ARG, "not s3://bucket[/prefix]: buckets"
                               " are of a-z 0-9 . -, prefixes of A-Z a-z 0-9"
                               " . _ - /");
    if (!region || region > 32 || !all_of(set->region, region, LOWER DIGITS "-"))
        return tsri_store_fail(s, TSR_E_ARG, "S3: not a region");
    if (set->endpoint && !tsri_web_url_good(set->endpoint))
        return tsri_store_fail(s, TSR_E_ARG, "S3: the endpoint is not"
                               " http[s]://host[:port]");
    if (curl_version_info(CURLVERSION_NOW)->version_num < 0x075800)
        return tsri_store_fail(s, TSR_E_UNSUPPORTED, "S3: libcurl signs well from"
                               " 7.88 on, this is %s", curl_version());
    char *base = make_base(set, bucket, n, prefix, &root);
    tsr_error error = tsri_web_open(s, base, base ? tsri_web_place(base) : NULL,
                                    judge_s3);
    if (error)
        return error;
    ((tsri_web *)s->state)->root = root;
    return set_signing(s);
}

static tsr_error put_s3(tsr_store *s, const char *key, const void *data,
                        size_t size)
{
    if (size > UINT64_C(5) << 30)
        return tsri_store_fail(s, TSR_E_LIMIT, "%s: S3 takes 5 GiB at once", key);
    return tsri_web_put(s, key, data, size);
}

/* ---- the list ---- */

typedef tsr_error (*visitor)(void *cookie, const tsr_store_entry *entry);

typedef struct page {
    int entries, more, closed;
    char next[2048];        /* token of the page after, "" none */
} page;

/* Appends text, percent-encoded as signatures want it. */
static void encode(char **out, const char *text)
{
    for (; *text; text++)
        if (strchr(PLAIN "~", *text))
            *(*out)++ = *text;
        else
            *out += sprintf(*out, "%%%02X", (unsigned)(unsigned char)*text);
    **out = 0;
}

/* In the order of names, as it is signed. */
static char *page_url(const tsri_web *w, const char *prefix, const char *token)
{
    const char *folder = w->base + w->root;
    char *url = malloc(w->root + 128 +
                       3 * (strlen(folder) + strlen(prefix) + strlen(token)));
    if (!url)
        return NULL;
    char *out = url + sprintf(url, "%.*s?", (int)w->root, w->base);
    if (*token) {
        out += sprintf(out, "continuation-token=");
        encode(&out, token);
        *out++ = '&';
    }
    out += sprintf(out, "list-type=2&prefix=");
    encode(&out, folder);
    encode(&out, prefix);
    return url;
}

static int64_t read_time(const char *text)
{
    char plain[40];
    if (strlen(text) < 19 || text[4] != '-' || text[7] != '-' || text[10] != 'T')
        return 0;
    snprintf(plain, sizeof plain, "%.4s%.2s%.2s %.8s GMT", text, text + 5,
             text + 8, text + 11);
    const time_t t = curl_getdate(plain, NULL);
    return t > 0 ? t : 0;
}

typedef struct object {
    int inside, known;      /* known: bit 0 key, bit 1 size */
    tsr_store_entry entry;
} object;

/* What a tag says of the object it is in.  Keys that are not below the prefix, or
 * could not be ours, are others' objects in the same bucket. */
static int read_object(object *o, const tsri_web *w, const tsri_xml *tag,
                       const char *prefix)
{
    const char *folder = w->base + w->root;
    const size_t n = strlen(folder);
    if (!strcmp(tag->name, "Key") && !strncmp(tag->text, folder, n) &&
        !tag->cut && tsri_store_key_good(tag->text + n) &&
        !strncmp(tag->text + n, prefix, strlen(prefix))) {
        memcpy(o->entry.key, tag->text + n, strlen(tag->text + n) + 1);
        o->known |= 1;
    } else if (!strcmp(tag->name, "Size")) {
        const size_t digits = strspn(tag->text, DIGITS);
        if (!digits || digits > 18 || tag->text[digits])
            return 0;
        o->entry.bytes = strtoull(tag->text, NULL, 10);
        o->known |= 2;
    } else if (!strcmp(tag->name, "LastModified"))
        o->entry.modified = read_time(tag->text);
    return 1;
}

/* Reads a page, showing its objects unless visit is NULL.  TSR_E_CORRUPT: it is
 * none. */
static tsr_error read_page(const tsri_web *w, const char *text,
                           const char *prefix, page *p, visitor visit,
                           void *cookie)
{
    object o = { 0 };
    tsri_xml tag;
    tsr_error error = TSR_OK;
    int found;
    *p = (page){ 0 };
    while (!error && (found = tsri_xml_next(&text, &tag)) != 0) {
        if (found < 0)
            return TSR_E_CORRUPT;
        if (!strcmp(tag.name, "Contents")) {
            if (tag.end && !(o.known & 2))
                return TSR_E_CORRUPT;
            if (tag.end && visit && (o.known & 1))
                error = visit(cookie, &o.entry);
            p->entries += tag.end;
            o = (object){ .inside = !tag.end };
        } else if (o.inside && !tag.end) {
            if (!read_object(&o, w, &tag, prefix))
                return TSR_E_CORRUPT;
        } else if (!tag.end && !strcmp(tag.name, "IsTruncated"))
            p->more = !strcmp(tag.text, "true");
        else if (!tag.end && !strcmp(tag.name, "NextContinuationToken")) {
            if (tag.cut)
                return TSR_E_CORRUPT;
            memcpy(p->next, tag.text, sizeof p->next);
        } else if (tag.end && !strcmp(tag.name, "ListBucketResult"))
            p->closed = 1;
    }
    if (!error && (!p->closed || (p->more && !*p->next)))
        return TSR_E_CORRUPT;
    return error;
}

/* One page: whole, then shown. */
static tsr_error list_page(tsr_store *s, const char *prefix, page *p,
                           visitor visit, void *cookie)
{
    tsri_web *w = s->state;
    char *url = page_url(w, prefix, p->next), *text;
    size_t size;
    if (!url)
        return TSR_E_NOMEM;
    tsr_error error = tsri_web_document(w, url, "the list", (size_t)8 << 20,
                                        &text, &size);
    free(url);
    if (error)
        return error;
    char last[sizeof p->next];
    memcpy(last, p->next, sizeof last);
    error = strlen(text) == size ? read_page(w, text, prefix, p, NULL, NULL)
                                 : TSR_E_CORRUPT;
    if (!error && p->more && !strcmp(last, p->next))
        error = TSR_E_CORRUPT;      /* the same page for ever */
    if (error)
        error = tsri_store_fail(s, TSR_E_IO, "the list of %s breaks off or is"
                                " none", w->place);
    else
        error = read_page(w, text, prefix, p, visit, cookie);
    free(text);
    return error;
}

static tsr_error list_s3(tsr_store *s, const char *prefix, visitor visit,
                         void *cookie)
{
    page *p = calloc(1, sizeof *p);
    if (!p)
        return TSR_E_NOMEM;
    tsr_error error;
    int empty = 0;
    do {
        error = list_page(s, prefix, p, visit, cookie);
        empty = p->entries ? 0 : empty + 1;
    } while (!error && p->more && empty < EMPTY_PAGES &&
             !atomic_load(&s->canceled));
    if (!error && p->more)
        error = atomic_load(&s->canceled) ? TSR_E_CANCELED
            : tsri_store_fail(s, TSR_E_IO, "the list: pages without an end");
    free(p);
    return error;
}

const tsri_store_driver *tsri_store_s3(void)
{
    static const tsri_store_driver driver = {
        "s3", open_s3, tsri_web_close, tsri_web_get, put_s3, tsri_web_stat,
        tsri_web_remove, list_s3, NULL
    };
    return &driver;
}
