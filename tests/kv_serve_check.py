# SPDX-License-Identifier: BSD-2-Clause
"""The HTTP interface of docs/kv-store.md, of `tessera kv serve`.  TAP.

    kv_serve_check.py TESSERA KV_CHUNK_TOOL SAMPLE

$TSR_CASES, a regular expression, chooses among the cases.
"""
import http.client
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import traceback
from kv_serve_case import (PATIENCE, Server, digest, key, make_chunk, named,
                           read_to_end, wait_for)

CHUNK = b""     # of key(0)
KEY = key(0)
tessera = None
cases = []


def case(name):
    def add(function):
        cases.append((name, function))
        return function
    return add


def equal(got, wanted, what=""):
    assert got == wanted, "%s %r, wanted %r" % (what, got, wanted)


def folder():
    folder.n += 1
    return os.path.join(os.getcwd(), "store%d" % folder.n)


folder.n = 0


def path(name=KEY):
    return "/v1/chunks/" + name


def big_object(server, name, size):
    """An object whose head is good, straight into the folder: GET looks no
    further."""
    import struct
    from kv_serve_case import crc32c
    head = bytearray(CHUNK[:124])
    head[16:48] = bytes.fromhex(name)
    struct.pack_into("<Q", head, 80, size - 128)
    for level in range(3):
        struct.pack_into("<Q", head, 96 + 8 * level, size)
    body = bytes(head) + struct.pack("<I", crc32c(bytes(head)))
    body += b"\x5a" * (size - 128)
    os.makedirs(os.path.dirname(server.stored(name)), exist_ok=True)
    with open(server.stored(name), "wb") as f:
        f.write(body)
    return body


@case("put, get, head, delete, list")
def _():
    with Server(folder()) as s:
        equal(s.get("/healthz").body, b"ok\n")
        equal(s.get(path()).status, 404)
        equal(s.get("/v1/chunks").body, b"")
        a = s.put(KEY, CHUNK)
        equal((a.status, a.headers["ETag"]), (201, digest(CHUNK)))
        equal(s.put(KEY, CHUNK).status, 204)
        a = s.get(path())
        equal((a.status, a.body == CHUNK), (200, True))
        equal((a.headers["ETag"], a.headers["Accept-Ranges"]),
              (digest(CHUNK), "bytes"))
        assert a.headers["Last-Modified"].endswith(" GMT")
        a = s.request("HEAD", path())
        equal((a.status, a.headers["Content-Length"], a.headers["ETag"], a.body),
              (200, str(len(CHUNK)), digest(CHUNK), b""))
        other = key(1)
        equal(s.put(other, named(CHUNK, other)).status, 201)
        lines = s.get("/v1/chunks").body.decode().splitlines()
        equal(sorted(l.split()[0] for l in lines), sorted([KEY, other]))
        for line in lines:
            assert re.fullmatch("[0-9a-f]{64} %d [0-9]{10}" % len(CHUNK), line)
        some = s.get("/v1/chunks?prefix=" + other[:5]).body.decode().split()
        equal(some[0::3], [other])
        equal(s.get("/v1/chunks?prefix=G").status, 400)
        equal(s.request("DELETE", path()).status, 204)
        equal(s.request("DELETE", path()).status, 404)
        equal(s.get(path()).status, 404)


@case("paths, keys and methods that are none")
def _():
    with Server(folder()) as s:
        s.put(KEY, CHUNK)
        bad = [KEY.upper(), KEY[:-1], KEY + "0", KEY + "/", KEY + "/..", "..",
               "../" + KEY, "..%2f" + KEY, "%2e%2e/" + KEY, KEY[:-1] + "%00",
               "%" + "%02x" % ord(KEY[0]) + KEY[1:], "", ".", "/" + KEY,
               "../../../../etc/passwd", KEY[:63] + "\\"]
        for name in bad:
            for method in "GET", "PUT", "DELETE":
                a = s.request(method, path(name), b"" if method == "PUT" else
                              None)
                equal(a.status, 400, method + " " + name)
        for where in "/", "/v1", "/v1/chunk/" + KEY, "/v2/chunks/" + KEY, \
                "/../v1/chunks/" + KEY, "//v1/chunks/" + KEY:
            equal(s.get(where).status, 404, where)
        for method, where in (("POST", path()), ("PATCH", path()),
                              ("OPTIONS", path()), ("PUT", "/v1/chunks"),
                              ("DELETE", "/healthz"), ("DELETE", "/metrics")):
            a = s.request(method, where, b"x" if method != "DELETE" else None)
            equal(a.status, 405, method + " " + where)
            assert "GET" in a.headers["Allow"]
        equal(s.get(path()).body == CHUNK, True)
        equal(s.process.poll(), None)


@case("ranges")
def _():
    n = len(CHUNK)
    with Server(folder()) as s:
        s.put(KEY, CHUNK)
        for text, first, end in (
                ("bytes=0-0", 0, 1), ("bytes=0-127", 0, 128),
                ("bytes=-1", n - 1, n), ("bytes=-%d" % (2 * n), 0, n),
                ("bytes=%d-" % (n - 5), n - 5, n), ("Bytes=5-9", 5, 10),
                ("bytes=7-%d" % (n + 50), 7, n),
                ("bytes=7-99999999999999999999999", 7, n),
                ("bytes=%d-%d" % (n - 1, n - 1), n - 1, n)):
            a = s.get(path(), Range=text)
            equal((a.status, a.headers["Content-Range"]),
                  (206, "bytes %d-%d/%d" % (first, end - 1, n)), text)
            equal(a.body == CHUNK[first:end], True, text)
        for text in "bytes=%d-" % n, "bytes=%d-%d" % (n, n + 1), "bytes=-0", \
                "bytes=99999999999999999999999-":
            a = s.get(path(), Range=text)
            equal((a.status, a.headers["Content-Range"]),
                  (416, "bytes */%d" % n), text)
        for text in ("bytes=0-1,5-9", "bytes=9-5", "bytes=a-b", "bytes=",
                     "bytes=-", "lines=0-1", "bytes=1-2x", "0-1",
                     "bytes=--1"):
            a = s.get(path(), Range=text)
            equal((a.status, a.body == CHUNK), (200, True), text)
        equal(s.get(path(), Range="bytes=0-9", If_Range=digest(CHUNK)).status,
              206)
        equal(s.get(path(), Range="bytes=0-9", If_Range='"x"').status, 200)
        a = s.request("HEAD", path(), headers={"Range": "bytes=0-9"})
        equal((a.status, a.headers["Content-Length"]), (200, str(n)))


@case("conditions")
def _():
    with Server(folder()) as s:
        tag = digest(CHUNK)
        equal(s.put(KEY, CHUNK, If_Match="*").status, 412)
        equal(s.get(path()).status, 404)
        equal(s.put(KEY, CHUNK, If_None_Match="*").status, 201)
        equal(s.put(KEY, CHUNK, If_None_Match="*").status, 412)
        equal(s.put(KEY, CHUNK, If_Match=tag).status, 204)
        for text, status in ((tag, 304), ("*", 304), ("W/" + tag, 304),
                             ('"a", ' + tag, 304), ('"a"', 200), ("x", 200)):
            equal(s.get(path(), If_None_Match=text).status, status, text)
        a = s.get(path(), If_None_Match=tag)
        equal((a.headers["ETag"], a.body), (tag, b""))
        for text, status in ((tag, 200), ("*", 200), ("W/" + tag, 412),
                             ('"a"', 412), ('"a" , ' + tag, 200)):
            equal(s.get(path(), If_Match=text).status, status, text)
        delete = lambda text: s.request("DELETE", path(),
                                        headers={"If-Match": text}).status
        equal((delete('"a"'), delete(tag), delete(tag)), (412, 204, 412))


@case("what is no good chunk of that name is not stored")
def _():
    flipped = bytearray(CHUNK)
    flipped[-1] ^= 1
    head = bytearray(CHUNK)
    head[8] ^= 1
    with Server(folder(), "-max_object", str(len(CHUNK) + 10)) as s:
        for what, body in (("wrong name", named(CHUNK, key(1))),
                           ("flipped", bytes(flipped)), ("head", bytes(head)),
                           ("cut", CHUNK[:-1]), ("head alone", CHUNK[:128]),
                           ("longer", CHUNK + b"x"), ("empty", b""),
                           ("text", b"hello")):
            a = s.put(KEY, body)
            equal(a.status, 422, what)
            assert a.body.startswith(b"not a good chunk"), what
        a = s.put(KEY, CHUNK + b"x" * 11)
        equal(a.status, 413)
        equal(s.put(KEY, CHUNK, Content_Range="bytes 0-1/2").status, 400)
        equal(s.get("/v1/chunks").body, b"")
        # Of unsaid length.
        pieces = lambda data: (data[i:i + 5000] for i in range(0, len(data), 5000))
        equal(s.put(KEY, pieces(CHUNK + b"x" * 6000)).status, 413)
        equal(s.put(KEY, pieces(CHUNK)).status, 201)
        with s.raw(b"PUT %s HTTP/1.1\r\nHost: a\r\n\r\n" % path().encode()) as c:
            assert c.recv(100).startswith(b"HTTP/1.1 411 ")
        with s.raw(b"PUT %s HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n"
                   b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" %
                   path().encode()) as c:
            assert c.recv(100).startswith(b"HTTP/1.1 400 ")
        for length in b"-1", b"x", b"99999999999999999999999999":
            with s.raw(b"PUT %s HTTP/1.1\r\nHost: a\r\nContent-Length: %s\r\n\r\n"
                       % (path().encode(), length)) as c:
                assert c.recv(100)[9:12] in (b"400", b"413"), length
        # What a proxy could read otherwise ends the connection.
        for fields in (b"Content-Length: 3\r\nContent-Length: 4",
                       b"Content-Length : 3", b"Content-Length\t: 3"):
            with s.raw(b"PUT %s HTTP/1.1\r\nHost: a\r\n%s\r\n\r\n"
                       b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n" %
                       (path().encode(), fields)) as c:
                data = read_to_end(c)
                assert data.startswith(b"HTTP/1.1 400 "), fields
                equal(data.count(b"HTTP/1.1 "), 1, fields)
        # Who asks first hears it before sending anything.
        with s.raw(b"PUT %s HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n"
                   b"Expect: 100-continue\r\n\r\n" % path().encode()) as c:
            assert c.recv(100).startswith(b"HTTP/1.1 413 ")
        equal(s.get(path()).body == CHUNK, True)
        equal(s.metrics()["tessera_kv_upload_memory_bytes"], 0)


@case("tokens, and others after SIGHUP")
def _():
    def write(text):
        with open("tokens", "w") as f:
            f.write(text)
    write("# who\nalpha\n ro beta\nrw gamma\n")
    with Server(folder(), "-token_file", "tokens") as s:
        auth = lambda t, scheme="Bearer": {"Authorization": scheme + " " + t}
        def status(method, token, body=None):
            return s.request(method, path(), body, auth(token)).status
        equal(s.get("/healthz").status, 200)
        for where in path(), "/v1/chunks", "/metrics", "/nowhere":
            a = s.get(where)
            equal((a.status, a.headers["WWW-Authenticate"][:6]),
                  (401, "Bearer"), where)
        for token in "alph", "alphaa", "Alpha", "delta", "", "x" * 5000:
            equal(status("GET", token), 401, token[:20])
            equal(status("PUT", token, CHUNK), 401)
        equal(s.request("GET", path(), headers=auth("alpha", "Basic")).status,
              401)
        equal(status("PUT", "beta", CHUNK), 403)
        equal(status("PUT", "alpha", CHUNK), 201)
        equal(status("PUT", "gamma", CHUNK), 204)
        equal(status("DELETE", "beta"), 403)
        equal(status("GET", "beta"), 200)
        write("ro delta\n")
        s.send(signal.SIGHUP)
        assert wait_for(lambda: status("GET", "delta") == 200)
        equal((status("GET", "alpha"), status("PUT", "delta", CHUNK)),
              (401, 403))
        # A file that is no good changes nothing, least of all to "everybody".
        for text in "", "a b\n":
            write(text)
            s.send(signal.SIGHUP)
            s.log.flush()
            time.sleep(0.5)
            equal((status("GET", "delta"), status("GET", "alpha")), (200, 401))


@case("connections that stall are ended, slow ones are not")
def _():
    with Server(folder(), "-timeout", "1") as s:
        def dribble(first, each):
            with s.raw(first) as c:
                c.settimeout(0.1)
                end = time.monotonic() + PATIENCE
                while time.monotonic() < end:
                    try:
                        c.sendall(each)
                        if not c.recv(1000):
                            return True
                    except socket.timeout:
                        continue
                    except OSError:
                        return True
                return False
        put = b"PUT %s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (
            path().encode(), len(CHUNK))
        assert dribble(b"GET /healthz HTTP/1.1\r\nX: ", b"x"), "a head"
        assert dribble(put, b"x"), "a body"
        assert dribble(b"", b""), "nothing"
        assert dribble(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", b""), "idle"
        equal(s.metrics()["tessera_kv_stalled_connections_total"], 2)
        equal(s.metrics()["tessera_kv_upload_memory_bytes"], 0)
        with s.raw(put) as c:
            step = len(CHUNK) // 8 + 1
            for i in range(0, len(CHUNK), step):
                c.sendall(CHUNK[i:i + step])
                time.sleep(0.3)
            assert c.recv(100).startswith(b"HTTP/1.1 201 ")


@case("a dropped upload leaves nothing")
def _():
    with Server(folder()) as s:
        c = s.raw(b"PUT %s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (
            path().encode(), len(CHUNK)) + CHUNK[:-1000])
        used = lambda: s.metrics()["tessera_kv_upload_memory_bytes"]
        assert wait_for(lambda: used() == len(CHUNK))
        c.close()
        assert wait_for(lambda: used() == 0)
        equal((s.get(path()).status, s.get("/v1/chunks").body), (404, b""))
        assert wait_for(lambda: s.metrics().get(
            'tessera_kv_requests_total{method="PUT",status="499"}') == 1)


@case("uploads take so much memory together and no more")
def _():
    n = len(CHUNK)
    with Server(folder(), "-max_object", str(n), "-upload_memory",
                str(n + 100)) as s:
        first = s.raw(b"PUT %s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"
                      % (path().encode(), n) + CHUNK[:1000])
        used = lambda: s.metrics()["tessera_kv_upload_memory_bytes"]
        assert wait_for(lambda: used() == n)
        other = key(1)
        a = s.put(other, named(CHUNK, other))
        equal((a.status, a.headers["Retry-After"]), (503, "1"))
        first.sendall(CHUNK[1000:])
        assert first.recv(100).startswith(b"HTTP/1.1 201 ")
        first.close()
        assert wait_for(lambda: used() == 0)
        equal(s.put(other, named(CHUNK, other)).status, 201)


@case("a size alone takes no memory from others")
def _():
    with Server(folder(), "-max_object", "8M", "-upload_memory", "8M") as s:
        first = s.raw(b"PUT %s HTTP/1.1\r\nHost: a\r\nContent-Length: 8000000"
                      b"\r\n\r\n" % path().encode() + CHUNK[:1000])
        used = lambda: s.metrics()["tessera_kv_upload_memory_bytes"]
        assert wait_for(used)
        equal(s.put(KEY, CHUNK).status, 201)
        first.close()
        assert wait_for(lambda: used() == 0)


@case("two writers and readers: every answer is one of the two, whole")
def _():
    subprocess.run([tessera, "kv", "reduce", "-nostats", "-level", "1", "-y",
                    "sample.tkv", "small.tkv"], check=True)
    with open("small.tkv", "rb") as f:
        small = subprocess.run([tool, "wrap", KEY], stdin=f, check=True,
                               stdout=subprocess.PIPE).stdout
    assert small != CHUNK
    with Server(folder()) as s:
        faults = []
        s.put(KEY, CHUNK)
        def write(chunk):
            for _ in range(30):
                if s.put(KEY, chunk).status != 204:
                    faults.append("put")
        def read():
            for _ in range(60):
                a = s.get(path())
                if a.body not in (small, CHUNK) or \
                        a.headers["ETag"] != digest(a.body):
                    faults.append("get %d" % len(a.body))
        threads = [threading.Thread(target=write, args=(c,))
                   for c in (small, CHUNK)]
        threads += [threading.Thread(target=read) for _ in range(2)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        equal(faults, [])


@case("killed in the middle of an upload, then started again")
def _():
    where = folder()
    with Server(where) as s:
        s.put(KEY, CHUNK)
        c = s.raw(b"PUT %s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (
            path(key(1)).encode(), len(CHUNK)) + CHUNK[:-1])
        assert wait_for(lambda: s.metrics()["tessera_kv_upload_memory_bytes"])
        s.send(signal.SIGKILL)
        s.process.wait(PATIENCE)
        c.close()
    with Server(where) as s:
        equal(s.get("/v1/chunks").body.decode().split()[0::3], [KEY])
        equal(s.get(path()).body == CHUNK, True)
        equal(s.get(path(key(1))).status, 404)


@case("stopping lets transfers end")
def _():
    big = key(7)
    with Server(folder()) as s:
        body = big_object(s, big, 48 << 20)
        up = s.raw(b"PUT %s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (
            path().encode(), len(CHUNK)) + CHUNK[:1000])
        down = s.raw(b"GET %s HTTP/1.1\r\nHost: a\r\n\r\n" % path(big).encode())
        got = down.recv(1000)
        assert wait_for(
            lambda: s.metrics()["tessera_kv_requests_in_flight"] == 3)
        s.send(signal.SIGTERM)
        def refused():
            try:
                s.raw().close()
                return False
            except ConnectionRefusedError:
                return True
            except ConnectionResetError:    # came while the door was closing
                return False
        assert wait_for(refused)
        equal(s.process.poll(), None)
        up.sendall(CHUNK[1000:])
        answer = up.recv(1000)
        assert answer.startswith(b"HTTP/1.1 201 "), answer
        assert b"Connection: close" in answer
        got += read_to_end(down)
        equal(got.partition(b"\r\n\r\n")[2] == body, True)
        equal(s.process.wait(PATIENCE), 0)
        assert os.path.exists(s.stored(KEY))
        up.close()
        down.close()


@case("stopping waits for so long; a second signal ends at once")
def _():
    half = b"PUT %s HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx" % \
        path().encode()
    busy = lambda s: wait_for(
        lambda: s.metrics()["tessera_kv_requests_in_flight"] == 2)
    with Server(folder(), "-grace", "0.2") as s:
        with s.raw(half):
            assert busy(s)
            equal(s.stop(), 0)
        s.log.seek(0)
        assert "cut off" in s.log.read()
    with Server(folder()) as s:
        with s.raw(half):
            assert busy(s)
            s.send(signal.SIGINT)
            time.sleep(0.3)
            equal(s.process.poll(), None)
            equal(s.stop(signal.SIGINT), 255)
    with Server(folder()) as s:
        with s.raw():
            equal(s.stop(signal.SIGINT), 0)


@case("metrics in Prometheus's format")
def _():
    with Server(folder()) as s:
        s.put(KEY, CHUNK)
        for _ in range(3):
            s.get(path())
        s.get(path(), Range="bytes=0-99")
        s.get(path(key(1)))
        text = s.get("/metrics")
        equal(text.headers["Content-Type"],
              "text/plain; version=0.0.4; charset=utf-8")
        types = {}
        for line in text.body.decode().splitlines():
            if line.startswith("# "):
                assert re.fullmatch("# (HELP|TYPE) [a-z_]+ .+", line), line
                if line[2:6] == "TYPE":
                    types[line.split()[2]] = line.split()[3]
                continue
            m = re.fullmatch(r'([a-z_]+)(\{[a-z]+="[^"]*"(,[a-z]+="[^"]*")*\})?'
                             r' [0-9.]+', line)
            assert m, line
            assert m[1] in types or \
                re.sub("_(bucket|sum|count)$", "", m[1]) in types, line
        m = s.metrics()
        count = lambda method, status: m[
            'tessera_kv_requests_total{method="%s",status="%d"}' % (
                method, status)]
        equal((count("PUT", 201), count("GET", 206), count("GET", 404)),
              (1, 1, 1))
        equal(count("GET", 200), 4)     # the first /metrics, too
        buckets = [v for k, v in m.items() if "_bucket{" in k]
        equal(buckets, sorted(buckets))
        equal((buckets[-1], m["tessera_kv_request_seconds_count"]), (7, 7))
        equal(m["tessera_kv_received_bytes_total"], len(CHUNK))
        assert m["tessera_kv_sent_bytes_total"] > 3 * len(CHUNK) + 100
        equal((m["tessera_kv_requests_in_flight"],
               m["tessera_kv_store_errors_total"]), (1, 0))


@case("10 000 objects")
def _():
    with Server(folder()) as s:
        s.put(KEY, CHUNK)
        names = {key(i) for i in range(10000)}
        for name in names:
            os.makedirs(os.path.dirname(s.stored(name)), exist_ok=True)
            if name != KEY:
                with open(s.stored(name), "wb") as f:
                    f.write(b"x")
        listed = lambda where: {l.split()[0] for l in
                                s.get(where).body.decode().splitlines()}
        equal(listed("/v1/chunks") == names, True)
        some = listed("/v1/chunks?prefix=ab")
        equal(some, {n for n in names if n.startswith("ab")})
        before = s.memory()
        for _ in range(5):
            # Nobody reads to the end.
            with s.raw(b"GET /v1/chunks HTTP/1.1\r\nHost: a\r\n\r\n") as c:
                c.recv(100)
            equal(len(listed("/v1/chunks")), 10000)
        after = s.memory()
        assert before is None or after < before + 4096, (before, after)


@case("memory stays where it is")
def _():
    with Server(folder()) as s:
        def work(n):
            c = http.client.HTTPConnection("127.0.0.1", s.port,
                                           timeout=PATIENCE)
            for i in range(n):
                equal(s.request("GET", path(), connection=c).status, 200)
                s.request("GET", path(), headers={"Range": "bytes=5-9"},
                          connection=c)
                equal(s.request("GET", path(key(1)), connection=c).status, 404)
                if i % 8 == 0:
                    equal(s.request("PUT", path(), CHUNK, connection=c).status,
                          204)
                    equal(s.request("PUT", path(), b"bad",
                                    connection=c).status, 422)
                    s.get("/healthz")
            c.close()
        s.put(KEY, CHUNK)
        def rounds(n):
            threads = [threading.Thread(target=work, args=(n,))
                       for _ in range(4)]
            for t in threads:
                t.start()
            for t in threads:
                t.join()
        rounds(40)
        before = s.memory()
        rounds(200)
        after = s.memory()
        m = s.metrics()
        assert m["tessera_kv_request_seconds_count"] >= 2880
        equal(m["tessera_kv_upload_memory_bytes"], 0)
        assert wait_for(lambda: s.metrics()["tessera_kv_connections"] == 1)
        assert before is None or after < before + 4096, (before, after)


@case("more connections than allowed hear 503")
def _():
    with Server(folder(), "-connections", "2") as s:
        s.put(KEY, CHUNK)
        hold = [s.raw(), s.raw()]
        wait_for(lambda: s.get(path()).status == 503)
        a = s.get(path())
        equal((a.status, a.headers["Retry-After"], a.headers["Connection"]),
              (503, "1", "close"))
        equal(s.get("/healthz").status, 200)
        equal(s.put(KEY, CHUNK).status, 503)
        hold[0].close()
        assert wait_for(lambda: s.get(path()).status == 200)
        hold[1].close()


@case("connections are kept for the next request, also after an error")
def _():
    with open("tokens", "w") as f:
        f.write("alpha\n")
    with Server(folder(), "-token_file", "tokens") as s:
        c = http.client.HTTPConnection("127.0.0.1", s.port, timeout=PATIENCE)
        c.connect()
        sock = c.sock
        good = {"Authorization": "Bearer alpha"}
        for headers, method, body, status in (
                ({}, "PUT", CHUNK, 401), (good, "PUT", CHUNK, 201),
                (good, "PUT", b"x", 422), (good, "GET", None, 200),
                ({}, "GET", None, 401), (good, "POST", b"x", 405),
                (good, "DELETE", None, 204), (good, "GET", None, 404)):
            equal(s.request(method, path(), body, headers, c).status, status)
            assert c.sock is sock
        c.close()
        two = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n" * 2
        with s.raw(two) as c:
            assert wait_for(lambda: c.recv(
                9999, socket.MSG_PEEK).count(b"200 OK") == 2)
        with s.raw(b"GET /healthz HTTP/1.0\r\n\r\n") as c:
            assert read_to_end(c).endswith(b"ok\n")


@case("what is damaged in the store is missing, and healed by the next PUT")
def _():
    with Server(folder()) as s:
        s.put(KEY, CHUNK)
        for data in CHUNK[:-1], CHUNK[:100], b"", CHUNK[:9] + b"\xff" + \
                CHUNK[10:], named(CHUNK, key(1)):
            with open(s.stored(KEY), "wb") as f:
                f.write(data)
            a = s.get(path())
            equal(a.status, 404)
            assert b"damaged" in a.body
            assert s.put(KEY, CHUNK).status == 201
            equal(s.get(path()).body == CHUNK, True)


@case("a store with no room")
def _():
    with Server(folder(), "-capacity", "1000") as s:
        equal(s.put(KEY, CHUNK).status, 507)
        equal(s.get("/v1/chunks").body, b"")


def run(*words, **options):
    return subprocess.run([tessera, "kv"] + list(words), stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=PATIENCE, **options)


@case("ls, stat and rm of a folder")
def _():
    with Server(folder()) as s:
        other = key(1)
        s.put(KEY, CHUNK)
        s.put(other, named(CHUNK, other))
        where = s.store
    with open("notes", "w") as f:
        f.write("x")
    lines = run("ls", where).stdout.decode().splitlines()
    equal(sorted(l.split()[2] for l in lines), sorted([KEY, other]))
    found = json.loads(run("ls", "-long", "--json", where).stdout)
    equal({(e["key"], e["bytes"], e["levels"], e["layers"]) for e in found},
          {(KEY, len(CHUNK), 2, 8), (other, len(CHUNK), 2, 8)})
    equal(len(json.loads(run("ls", "--json", where, KEY[:8]).stdout)), 1)
    equal(json.loads(run("ls", "--json", where, "zz").stdout), [])
    total = json.loads(run("stat", "--json", "-long", where).stdout)
    equal((total["chunks"], total["bytes"], total["damaged"]),
          (2, 2 * len(CHUNK), 0))
    one = json.loads(run("stat", "--json", where, KEY).stdout)
    equal('"%s"' % one["digest"], digest(CHUNK))
    equal(one["level_ends"][-1], len(CHUNK))
    equal(run("stat", where, key(5)).returncode, 1)
    equal(run("ls", where + "x").returncode, 1)
    equal(os.path.exists(where + "x"), False)
    equal(run("rm", where).returncode, 1)
    equal(run("rm", "-all", where).returncode, 1)
    equal(run("rm", "-all", "-y", where, KEY).returncode, 1)
    equal(len(run("ls", where).stdout.splitlines()), 2)
    equal(run("rm", where, key(5), KEY).returncode, 1)
    equal(run("ls", where).stdout.decode().split()[2::3], [other])
    equal(run("rm", "-all", "-y", where).returncode, 0)
    equal(run("ls", where).stdout, b"")


@case("a server before another, which then dies")
def _():
    with open("tokens", "w") as f:
        f.write("alpha\n")
    with Server(folder(), "-token_file", "tokens") as back:
        environment = os.environ.copy()
        os.environ["TESSERA_TOKEN"] = "alpha"
        try:
            front = Server(back.url, "-retries", "0", "-timeout", "2")
        except RuntimeError as e:
            if "no such stores" in str(e):
                return "built without libcurl"
            raise
        finally:
            os.environ.clear()
            os.environ.update(environment)
        with front as s:
            big = key(7)
            body = big_object(back, big, 24 << 20)
            equal(s.get(path()).status, 404)
            equal(s.put(KEY, CHUNK).status, 201)
            a = s.get(path())
            equal((a.status, a.body == CHUNK, a.headers["ETag"]),
                  (200, True, digest(CHUNK)))
            a = s.get(path(), Range="bytes=1000-1999")
            equal((a.status, a.body == CHUNK[1000:2000]), (206, True))
            equal(s.get("/v1/chunks?prefix=" + KEY[:9]).body.split()[0],
                  KEY.encode())
            equal(s.get(path(big)).body == body, True)
            # Readers that go in the middle leave nothing behind.
            for _ in range(5):
                with s.raw(b"GET %s HTTP/1.1\r\nHost: a\r\n\r\n" %
                           path(big).encode()) as c:
                    c.recv(1000)
            assert wait_for(lambda: s.metrics()
                            ["tessera_kv_requests_in_flight"] == 1)
            equal(s.get(path()).body == CHUNK, True)
            # It dies while it is read: a cut answer, never a whole one.
            c = s.raw(b"GET %s HTTP/1.1\r\nHost: a\r\n\r\n" %
                      path(big).encode())
            got = c.recv(1000)
            back.send(signal.SIGKILL)
            got += read_to_end(c)
            c.close()
            assert len(got) < len(body), len(got)
            equal(s.get(path()).status, 502)
            equal(s.put(KEY, CHUNK).status, 502)
            equal(s.get("/v1/chunks").status, 502)
            equal(s.get("/healthz").status, 200)
            assert s.metrics()["tessera_kv_store_errors_total"] >= 3
            equal(s.stop(), 0)


@case("a server over Redis, which then dies")
def _():
    program = shutil.which("redis-check-rdb")   # the same file as redis-server
    if not program:
        return "no Redis"
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    redis = subprocess.Popen(["redis-server", "--port", str(port), "--bind",
                              "127.0.0.1", "--save", "", "--dir", os.getcwd()],
                             executable=program, stdout=subprocess.DEVNULL)
    def answers():
        try:
            with socket.create_connection(("127.0.0.1", port), PATIENCE) as c:
                c.sendall(b"PING\r\n")
                return c.recv(9) == b"+PONG\r\n"
        except ConnectionError:
            return False
    try:
        assert wait_for(answers)
        try:
            server = Server("redis://127.0.0.1:%d" % port, "-retries", "0")
        except RuntimeError as e:
            if "no such stores" in str(e):
                return "built without hiredis"
            raise
        with server as s:
            equal(s.get(path()).status, 404)
            equal(s.put(KEY, CHUNK).status, 201)
            a = s.get(path())
            equal((a.status, a.body == CHUNK, a.headers["ETag"]),
                  (200, True, digest(CHUNK)))
            a = s.get(path(), Range="bytes=1000-1999")
            equal((a.status, a.body == CHUNK[1000:2000]), (206, True))
            equal(s.put(KEY, CHUNK[:-1]).status, 422)
            equal(s.get("/v1/chunks").body.split()[0], KEY.encode())
            threads = [threading.Thread(target=lambda: [
                s.get(path()) for _ in range(20)]) for _ in range(4)]
            for t in threads:
                t.start()
            time.sleep(0.1)
            redis.kill()
            redis.wait(PATIENCE)
            for t in threads:
                t.join(PATIENCE)
            for a in (s.get(path()), s.put(KEY, CHUNK), s.get("/v1/chunks"),
                      s.request("DELETE", path())):
                equal(a.status, 502)
            equal(s.get("/healthz").status, 200)
            equal(s.stop(), 0)
    finally:
        redis.kill()
        redis.wait(PATIENCE)


@case("TLS")
def _():
    if not shutil.which("openssl"):
        return "no openssl"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes",
                    "-keyout", "key.pem", "-out", "cert.pem", "-days", "2",
                    "-subj", "/CN=localhost", "-addext",
                    "subjectAltName=IP:127.0.0.1,DNS:localhost"], check=True,
                   stderr=subprocess.DEVNULL)
    with Server(folder(), "-cert", "cert.pem", "-key", "key.pem", "-timeout",
                "2") as s:
        assert s.url.startswith("https://127.0.0.1:"), s.url
        trust = ssl.create_default_context(cafile="cert.pem")
        c = http.client.HTTPSConnection("127.0.0.1", s.port, context=trust,
                                        timeout=PATIENCE)
        equal(s.request("PUT", path(), CHUNK, connection=c).status, 201)
        equal(s.request("GET", path(), connection=c).body == CHUNK, True)
        a = s.request("GET", path(), headers={"Range": "bytes=-9"}, connection=c)
        equal((a.status, a.body), (206, CHUNK[-9:]))
        c.close()
        with s.raw(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n") as plain:
            assert b"200" not in read_to_end(plain)
        with s.raw() as silent:     # never a handshake
            assert b"HTTP" not in read_to_end(silent)
        old = subprocess.run(["openssl", "s_client", "-tls1_1", "-cipher",
                              "ALL:@SECLEVEL=0", "-connect", s.url[8:]],
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, timeout=PATIENCE)
        equal(old.returncode != 0, True, "TLS 1.1")
        a = run("ls", "-ca_file", "cert.pem", s.url)
        if b"no such stores" not in a.stderr:
            equal(a.stdout.decode().split()[2], KEY)
            equal(run("ls", "-retries", "0", s.url).returncode, 1)


@case("what it refuses to start with")
def _():
    where = folder()
    def refused(words, *options):
        a = run("serve", "-store", where, *options)
        equal(a.returncode != 0, True, options)
        assert words in a.stderr.decode(), a.stderr
        equal((len(a.stderr.splitlines()), a.stdout), (1, b""), options)
    for name, text in (("empty", ""), ("blank", "a b\n"), ("long", "x" * 1024),
                       ("comment", "#" * 1038 + " \ncc\n"),
                       ("pem", "-----BEGIN CERTIFICATE-----\nx\n")):
        with open(name, "w") as f:
            f.write(text)
    refused("-open", "-listen", "0.0.0.0:0")
    refused("HOST:PORT", "-listen", "127.0.0.1")
    refused("HOST:PORT", "-listen", "127.0.0.1:65536")
    refused("HOST:PORT", "-listen", "::1:80")
    refused("empty", "-token_file", "empty")
    refused("line 1", "-token_file", "blank")
    refused("line 1", "-token_file", "long")
    refused("too long", "-token_file", "comment")
    refused("gone", "-token_file", "gone")
    refused("go together", "-cert", "pem")
    refused("PEM", "-cert", "empty", "-key", "pem")
    refused("fit", "-cert", "pem", "-key", "pem", "-listen", "127.0.0.1:0")
    refused("-upload_memory", "-upload_memory", "1k")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        refused("in use", "-listen", "127.0.0.1:%d" % taken.getsockname()[1])
    with Server(where, "-open", "-listen", "0.0.0.0:0") as s:
        equal(s.get("/healthz").status, 200)


def main():
    for n, (name, function) in enumerate(cases, 1):
        if not re.search(os.environ.get("TSR_CASES", ""), name):
            continue
        try:
            why = function()
            print("ok %d - %s" % (n, name) if not why else
                  "ok %d # SKIP %s: %s" % (n, name, why), flush=True)
        except Exception:
            print("not ok %d - %s" % (n, name))
            for line in traceback.format_exc().splitlines()[-12:]:
                print("# " + line)
            if os.path.exists("log"):
                with open("log") as f:
                    for line in f.read().splitlines()[-8:]:
                        print("# log: " + line)
            sys.stdout.flush()
    print("1..%d" % len(cases))


if __name__ == "__main__":
    Server.tessera, tool, sample = sys.argv[1:]
    tessera = Server.tessera
    CHUNK = make_chunk(tessera, tool, sample)
    main()
