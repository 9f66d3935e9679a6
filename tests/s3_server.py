# SPDX-License-Identifier: BSD-2-Clause
"""Enough of S3 to test its clients, with buckets in the path.  Signatures are
checked from the published rules of AWS Signature Version 4, by themselves: a
request whose signature is not right is refused as Amazon refuses it.  The bucket
says what goes wrong.  Prints its port; ends with its input.

    s3_server.py [CERTIFICATE KEY]
"""
import datetime
import hashlib
import hmac
import re
import sys
import urllib.parse
from xml.sax.saxutils import escape

import store_server as web

USER, SECRET, REGION = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "eu-x-1"
SESSION = "session/token+=="
TIME = "2009-10-12T17:50:30.000Z"
PAGE = 3


def error(p, status, code, message="", **headers):
    body = ('<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>%s</Code>'
            "<Message>%s</Message><RequestId>1</RequestId></Error>" %
            (code, escape(message))).encode()
    p.answer(status, body, **headers)
    raise web.Closed


def mac(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def quote(text):
    return urllib.parse.quote(text, safe="-_.~")


def canonical(p, signed, payload):
    path = "/".join(quote(urllib.parse.unquote(part))
                    for part in p.url.path.split("/"))
    pairs = urllib.parse.parse_qsl(p.url.query, keep_blank_values=True)
    query = "&".join("%s=%s" % pair for pair in
                     sorted((quote(k), quote(v)) for k, v in pairs))
    headers = "".join("%s:%s\n" % (name, " ".join(p.headers[name].split()))
                      for name in signed)
    return "\n".join((p.method, path, query, headers, ";".join(signed), payload))


def check(p, body):
    """Ends the request unless it is signed as it has to be."""
    auth = p.headers.get("authorization", "")
    m = re.fullmatch(r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/s3/"
                     r"aws4_request, ?SignedHeaders=([^,]+), ?"
                     r"Signature=([0-9a-f]{64})", auth)
    if not m:
        error(p, 403, "AccessDenied", "Access Denied")
    user, day, region, names, signature = m.groups()
    signed = names.split(";")
    payload = p.headers.get("x-amz-content-sha256", "")
    date = p.headers.get("x-amz-date", "")
    must = {"host"} | {h for h in p.headers if h.startswith("x-amz-")}
    if signed != sorted(signed) or not must <= set(signed):
        error(p, 403, "AccessDenied", "not all headers are signed")
    if payload == "UNSIGNED-PAYLOAD":
        web.notes[p.case] = "unsigned"
    elif payload != hashlib.sha256(body).hexdigest():
        error(p, 400, "XAmzContentSHA256Mismatch")
    else:
        web.notes[p.case] = "signed"
    if region != REGION:
        error(p, 400, "AuthorizationHeaderMalformed",
              "the region '%s' is wrong; expecting '%s'" % (region, REGION))
    if user != USER:
        error(p, 403, "InvalidAccessKeyId")
    then = datetime.datetime.strptime(date, "%Y%m%dT%H%M%SZ")
    now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
    if abs((now - then).total_seconds()) > 900 or not date.startswith(day):
        error(p, 403, "RequestTimeTooSkewed")
    scope = "%s/%s/s3/aws4_request" % (day, region)
    text = "\n".join(("AWS4-HMAC-SHA256", date, scope, hashlib.sha256(
        canonical(p, signed, payload).encode()).hexdigest()))
    key = ("AWS4" + SECRET).encode()
    for part in (day, region, "s3", "aws4_request"):
        key = mac(key, part)
    if not hmac.compare_digest(mac(key, text).hex(), signature):
        error(p, 403, "SignatureDoesNotMatch", "The request signature we"
              " calculated does not match the signature you provided.")
    if p.headers.get("x-amz-security-token", SESSION) != SESSION:
        error(p, 400, "ExpiredToken", "The provided token has expired: " +
              p.headers["x-amz-security-token"])


# ---- buckets ----

def listing(p, store, page=PAGE, more=""):
    query = dict(urllib.parse.parse_qsl(p.url.query, keep_blank_values=True))
    if query.pop("list-type", "") != "2":
        error(p, 400, "InvalidArgument")
    prefix, after = query.pop("prefix", ""), query.pop("continuation-token", "")
    if query:
        error(p, 400, "InvalidArgument", str(query))
    names = sorted(k for k in store if k.startswith(prefix))
    # A token with all that needs to be encoded.
    start = int(after[len("& /+=<"):]) if after else 0
    out = ['<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns='
           '"http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name>'
           "<Prefix>%s</Prefix><KeyCount>9</KeyCount>" % escape(prefix)]
    rest = names[start + page:]
    out.append("<IsTruncated>%s</IsTruncated>" % ("true" if rest else "false"))
    for name in names[start:start + page]:
        out.append("<Contents><Key>%s</Key><LastModified>%s</LastModified><ETag>"
                   "&quot;x&quot;</ETag><Size>%d</Size><Owner><ID>Key</ID></Owner>"
                   "</Contents>" % (escape(name), TIME, len(store[name])))
    if rest:
        out.append("<NextContinuationToken>%s</NextContinuationToken>" %
                   escape("& /+=<%d" % (start + page)))
    p.answer(200, ("".join(out) + more + "</ListBucketResult>").encode(),
             Content_Type="application/xml")


def plain(p, key, n, store, body):
    if not key and p.method == "GET":
        return listing(p, store)
    if p.method == "PUT":
        with web.lock:
            store[key] = body
        return p.answer(200, ETag='"%s"' % hashlib.md5(body).hexdigest())
    if p.method == "DELETE":
        with web.lock:
            store.pop(key, None)
        return p.answer(204, length="")
    if key not in store:
        error(p, 404, "NoSuchKey", "The specified key does not exist.")
    tag = '"%s"' % hashlib.md5(store[key]).hexdigest()
    web.ranged(p, store[key], tag)


def bare(p, key, n, store, body):
    """416 as some have it: without the length."""
    if p.headers.get("range") and p.range(9)[0] >= len(store.get(key, b"")):
        error(p, 416, "InvalidRange")
    plain(p, key, n, store, body)


def slow(p, key, n, store, body):
    if n < 3:
        error(p, 503, "SlowDown", "Please reduce your request rate.")
    plain(p, key, n, store, body)


def away(p, key, n, store, body):
    error(p, 301, "PermanentRedirect", "use another endpoint",
          Location="http://127.0.0.1:%d/" % web.second)


def gone(p, key, n, store, body):
    error(p, 404, "NoSuchBucket", "The specified bucket does not exist")


def large(p, key, n, store, body):
    error(p, 400, "EntityTooLarge", "Your proposed upload is too large")


def broken(p, key, n, store, body):
    if n < 3:
        web.half(p, web.OBJECT)
    web.ranged(p, web.OBJECT)


def odd(p, key, n, store, body):
    """A complaint that is no XML."""
    p.answer(400, b"<<<&&&" + bytes(range(128, 200)) + b"<Code>" + b"x" * 5000)


ONE = "<Contents><Key>d/a</Key><Size>3</Size></Contents>"
END = "</ListBucketResult>"
LISTS = {
    "a": "<ListBucketResult>" + ONE,                            # cut
    "b": "<ListBucketResult><Contents><Key>d/bb</Key></Contents>" + END,
    "c": "<ListBucketResult>" + ONE.replace("3", "-3") + END,
    "d": "<ListBucketResult><IsTruncated>true</IsTruncated>" + END,
    "e": "<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>"
         "x</NextContinuationToken>" + END,                     # for ever
    "f": "<!DOCTYPE a [<!ENTITY b 'bbbb'>]><ListBucketResult>" + END,
    "g": "<ListBucketResult><Contents><Key>d/g&nope;</Key></Contents>" + END,
    "h": "<ListBucketResult><Contents><Key>d/h&#x110000;</Key></Contents>" + END,
    "i": "<ListBucketResult>\0" + END,
    "j": "<html>no</html>",
    "k": "<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>"
         + "y" * 5000 + "</NextContinuationToken>" + END,
    "l": "<a>" * 100000,
    "m": "<ListBucketResult <Contents>" + END,
    "n": "<ListBucketResult>" + "x" * (9 << 20) + END,
    # What is not ours is passed over; what is, is found.
    "o": "<s3:ListBucketResult xmlns:s3='x'><Key>d/outside</Key><Contents>"
         "<Key>d/o&#49;</Key><Size>1</Size><LastModified>junk</LastModified>"
         "</Contents><Contents><Key>d/o/2</Key><Size>1</Size></Contents><Contents>"
         "<Key>elsewhere</Key><Size>1</Size></Contents><Contents><Key>d/o%s</Key>"
         "<Size>1</Size></Contents><Contents><Key>d/o&#x2e;&#46;/x</Key><Size>1"
         "</Size></Contents><IsTruncated/></s3:ListBucketResult>" % ("k" * 4000),
}


def lists(p, key, n, store, body):
    query = dict(urllib.parse.parse_qsl(p.url.query))
    p.answer(200, LISTS[query["prefix"][2:]].encode())


def endless(p, key, n, store, body):
    """Empty pages, each with a new token."""
    p.answer(200, ("<ListBucketResult><IsTruncated>true</IsTruncated>"
                   "<NextContinuationToken>%d</NextContinuationToken>" % n
                   + END).encode())


def serve(sock):
    p = web.Peer(sock)
    try:
        while True:
            p.request()
            m = re.fullmatch(r"/([a-z]+)/(.*)", p.url.path)
            p.case, key = m.groups()
            body = p.body()
            if p.case == "note":    # as tests/store_server.py has it
                web.note(p, key[len("v1/chunks/"):], 0, {})
                continue
            check(p, body)
            with web.lock:
                n = web.counts[p.case] = web.counts.get(p.case, 0) + 1
                store = web.stores.setdefault(p.case, {})
            globals()[p.case](p, urllib.parse.unquote(key), n, store, body)
    except (web.Closed, OSError):
        pass
    finally:
        sock.close()


if __name__ == "__main__":
    web.run(serve, sys.argv[1:])
