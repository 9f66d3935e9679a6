# SPDX-License-Identifier: BSD-2-Clause
"""An HTTP server that does what its first path element says: /plain as
docs/kv-store.md describes it, the others one thing wrong each.  Prints its port,
and that of a second server that counts connections; ends with its input.

    store_server.py [CERTIFICATE KEY]
"""
import os
import random
import re
import socket
import ssl
import sys
import threading
import time
import urllib.parse

DATE = "Sun, 06 Nov 1994 08:49:37 GMT"
OBJECT = bytes((i * 7 + i // 251) & 255 for i in range(100000))
OTHER = bytes(255 - b for b in OBJECT)

lock = threading.Lock()
stores = {}         # case -> key -> bytes
counts = {}         # case -> requests
notes = {}          # case -> what a test asks for with GET /note/v1/chunks/CASE
connections = {}    # case -> connections that brought it requests
second = 0          # port of the server that nobody should ask


class Closed(Exception):
    pass


class Peer:
    """A connection: reads requests, sends whatever it is told to."""

    def __init__(self, sock):
        self.sock, self.buffer, self.cases = sock, b"", set()

    def fill(self):
        piece = self.sock.recv(65536)
        if not piece:
            raise Closed
        self.buffer += piece

    def request(self):
        while b"\r\n\r\n" not in self.buffer:
            self.fill()
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        lines = head.decode("latin-1").split("\r\n")
        self.method, self.target, _ = lines[0].split(" ")
        self.headers = {}
        for line in lines[1:]:
            name, value = line.split(":", 1)
            self.headers[name.lower()] = value.strip()
        self.url = urllib.parse.urlsplit(self.target)

    def body(self):
        if self.headers.get("expect") == "100-continue":
            self.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        size = int(self.headers.get("content-length", 0))
        while len(self.buffer) < size:
            self.fill()
        data, self.buffer = self.buffer[:size], self.buffer[size:]
        return data

    def send(self, data):
        self.sock.sendall(data)

    def answer(self, status, body=b"", length=None, **headers):
        lines = ["HTTP/1.1 %d X" % status]
        for name, value in headers.items():
            lines.append("%s: %s" % (name.replace("_", "-"), value))
        if length != "":
            lines.append("Content-Length: %d" %
                         (len(body) if length is None else length))
        head = ("\r\n".join(lines) + "\r\n\r\n").encode()
        self.send(head if self.method == "HEAD" else head + body)

    def range(self, size):
        """(first, last) asked for, or None."""
        m = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("range", ""))
        if not m:
            return None
        return int(m[1]), min(int(m[2] or size), size - 1)


def ranged(p, data, tag='"one"', **more):
    """The object as it should be sent."""
    if p.headers.get("if-match", tag) != tag:
        return p.answer(412)
    r = p.range(len(data))
    if not r:
        return p.answer(200, data, ETag=tag, Last_Modified=DATE, **more)
    if r[0] >= len(data):
        return p.answer(416, Content_Range="bytes */%d" % len(data))
    p.answer(206, data[r[0]:r[1] + 1], ETag=tag, Last_Modified=DATE,
             Content_Range="bytes %d-%d/%d" % (*r, len(data)), **more)


def plain(p, key, n, store):
    if not key and p.method == "GET":
        prefix = urllib.parse.unquote(p.url.query[len("prefix="):])
        names = sorted(k for k in store if k.startswith(prefix))
        lines = ("%s %d %d\n" % (k, len(store[k]), 784111777) for k in names)
        return p.answer(200, "".join(lines).encode())
    if p.method == "PUT":
        with lock:
            store[key] = p.body()
        return p.answer(201)
    if key not in store:
        return p.answer(404, b"no such chunk\n")
    if p.method == "DELETE":
        with lock:
            del store[key]
        return p.answer(204, length="")
    ranged(p, store[key])


def half(p, data, tag='"one"'):
    """The beginning of an answer, then nothing more."""
    r = p.range(len(data)) or (0, len(data) - 1)
    part = data[r[0]:r[1] + 1]
    p.send(("HTTP/1.1 206 X\r\nETag: %s\r\nContent-Length: %d\r\n"
            "Content-Range: bytes %d-%d/%d\r\nLast-Modified: %s\r\n\r\n" %
            (tag, len(part), *r, len(data), DATE)).encode() +
           part[:len(part) // 2])
    raise Closed


def note(p, key, n, store):
    p.answer(200, ("%d %d %s" % (counts.get(key, 0), connections.get(key, 0),
                                 notes.get(key, "-"))).encode())


def norange(p, key, n, store):
    p.answer(200, OBJECT)


def nolength(p, key, n, store):
    p.answer(200, OBJECT, length="", Connection="close")
    raise Closed


def chunked(p, key, n, store, more=b""):
    a, b = p.range(len(OBJECT)) or (0, len(OBJECT) - 1)
    data = OBJECT[a:b + 1] + more
    p.answer(206, b"%x\r\n%s\r\n0\r\n\r\n" % (len(data), data), length="",
             Transfer_Encoding="chunked",
             Content_Range="bytes %d-%d/%d" % (a, b, len(OBJECT)))


def chunked_more(p, key, n, store):
    chunked(p, key, n, store, b"more")


def breaks(p, key, n, store):
    half(p, OBJECT) if n < 3 else ranged(p, OBJECT)


def dies(p, key, n, store):
    if p.range(len(OBJECT))[0] > 10 and p.headers.get("if-match") != '"one"':
        notes["dies"] = "no If-Match"
    half(p, OBJECT)


def replaced(p, key, n, store):
    half(p, OBJECT) if n == 1 else ranged(p, OTHER, '"two"')


def replaced_deaf(p, key, n, store):
    p.headers.pop("if-match", None)
    replaced(p, key, n, store)


def wrong_range(p, key, n, store):
    a, b = p.range(len(OBJECT)) or (0, len(OBJECT) - 2)
    p.answer(206, OBJECT[a + 1:b + 2],
             Content_Range="bytes %d-%d/%d" % (a + 1, b + 1, len(OBJECT)))


def short_range(p, key, n, store):
    a, b = p.range(len(OBJECT))
    p.answer(206, OBJECT[a:b],
             Content_Range="bytes %d-%d/%d" % (a, b - 1, len(OBJECT)))


def lying_range(p, key, n, store):
    """Says the right range and sends less."""
    a, b = p.range(len(OBJECT))
    p.answer(206, OBJECT[a:b],
             Content_Range="bytes %d-%d/%d" % (a, b, len(OBJECT)))


def bad_range(p, key, n, store):
    p.answer(206, OBJECT, Content_Range="bytes 5-2/18446744073709551999")


def no_total(p, key, n, store):
    p.answer(206, OBJECT, Content_Range="bytes 0-%d/*" % (len(OBJECT) - 1))


def long_length(p, key, n, store):
    p.answer(200, OBJECT, length=len(OBJECT) + 100)
    raise Closed


def short_length(p, key, n, store):
    """What comes behind looks like the next answer."""
    p.answer(200, OBJECT + b"HTTP/1.1 200 X\r\nContent-Length: 3\r\n\r\nbad",
             length=len(OBJECT))


def two_lengths(p, key, n, store):
    p.answer(200, OBJECT, Content_length=5)


def bad_length(p, key, n, store):
    p.answer(200, OBJECT, length="", Content_length="12x")


def loris(p, key, n, store):
    p.answer(200, b"", length=len(OBJECT))
    for i in range(600):
        p.send(OBJECT[i:i + 1])
        time.sleep(0.05)


def loris_head(p, key, n, store):
    p.send(b"HTTP/1.1 200 X\r\nX-Y: ")
    for i in range(600):
        p.send(b"z")
        time.sleep(0.05)


def silent(p, key, n, store):
    time.sleep(60)


def heads(p, key, n, store):
    p.send(b"HTTP/1.1 200 X\r\n")
    for i in range(200000):
        p.send(b"X-%d: %s\r\n" % (i, b"y" * 1000))


def long_head(p, key, n, store):
    p.send(b"HTTP/1.1 200 X\r\nX: ")
    for i in range(200000):
        p.send(b"y" * 1000)


def continues(p, key, n, store):
    for i in range(1000000):
        p.send(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)


def garbage(p, key, n, store):
    p.send(bytes(range(256)) * 40)
    raise Closed


def moved(p, key, n, store):
    p.answer(301, Location="http://127.0.0.1:%d/v1/chunks/%s" % (second, key))


def echo(p, key, n, store):
    p.answer(401, ("you said %s\n" % p.headers["authorization"]).encode())


def expired(p, key, n, store):
    p.answer(401, b"the token has expired\n", WWW_Authenticate="Bearer")


def token(p, key, n, store):
    good = p.headers.get("authorization") == "Bearer s3cr3t"
    plain(p, key, n, store) if good else p.answer(401)


def forbidden(p, key, n, store):
    p.answer(403)


def readonly(p, key, n, store):
    p.body()
    p.answer(405 if n % 2 else 501)


def too_large(p, key, n, store):
    """Refuses without having read the body."""
    p.answer(413, b"the limit is 1 MiB\n", Connection="close")
    raise Closed


def full(p, key, n, store):
    p.body()
    p.answer(507)


def unfit(p, key, n, store):
    p.body()
    p.answer(422, b"not a chunk of that name\n")


def busy(p, key, n, store):
    if n == 1:
        notes["busy"] = time.monotonic()
        return p.answer(503, Retry_After=1)
    early = time.monotonic() - notes["busy"] < 1
    notes["busy"] = "early" if early else "patient"
    ranged(p, OBJECT)


def broken(p, key, n, store):
    p.answer(500) if n < 3 else ranged(p, OBJECT)


def gzip(p, key, n, store):
    p.answer(200, OBJECT, Content_Encoding="gzip")


def huge(p, key, n, store):
    p.answer(200, OBJECT, length=1 << 40)
    raise Closed


def huge_range(p, key, n, store):
    p.answer(206, OBJECT[:5], Content_Range="bytes 0-4/%d" % (1 << 60))


def empty(p, key, n, store):
    p.answer(200, b"")


def nothing(p, key, n, store):
    p.answer(204, length="")


def past(p, key, n, store):
    """416 that does not say how long the object is."""
    if p.method == "HEAD":
        return p.answer(200, OBJECT)
    p.answer(416)


def sleepy(p, key, n, store):
    """Drops idle connections."""
    ranged(p, OBJECT)
    raise Closed


def chatter(p, key, n, store):
    p.body()
    p.send(b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n")
    for i in range(100000):
        p.send(b"2710\r\n" + bytes(10000) + b"\r\n")


def folded(p, key, n, store):
    p.send(b"HTTP/1.1 200 X\r\n folded: %s\r\nContent-Length: 5\r\n\r\nhello" %
           (b"x" * 200))


def noise(p, key, n, store):
    """A good answer, of whose fields up to three bytes are others; they end where
    they did."""
    rng = random.Random(n)
    a, b = p.range(len(OBJECT))
    head = bytearray(("HTTP/1.1 206 X\r\nETag: \"one\"\r\nContent-Length: %d\r\n"
                      "Content-Range: bytes %d-%d/%d\r\n\r\n" %
                      (b - a + 1, a, b, len(OBJECT))).encode())
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(16, len(head) - 4)
        head[at] = rng.choice(b"0123456789 -/:Te\0*\"")
    p.send(bytes(head) + OBJECT[a:b + 1])
    raise Closed


LISTS = {
    "a": b"abc 5 6\nabd 7 8",
    "b": b"bcd 5\n",
    "c": b"other 5 6\n",
    "d": b"d/../../etc 5 6\n",
    "e": b"e" * 300 + b" 5 6\n",
    "f": b"fx 99999999999999999999 6\n",
    "g": b"gx 5 6 7\n",
    "h": b"hx 5 6\0\n",
    "i": b"",
    "j": b"jx 5 6\n\n",
    "k": b"kx -5 6\n",
}


def lists(p, key, n, store):
    p.answer(200, LISTS[p.url.query[len("prefix="):]])


def serve(sock):
    p = Peer(sock)
    try:
        while True:
            p.request()
            case, path = re.match(r"/([a-z_]+)(/.*)", p.url.path).groups()
            m = re.fullmatch(r"/v1/chunks(?:/([A-Za-z0-9._-]+))?", path)
            with lock:
                n = counts[case] = counts.get(case, 0) + 1
                if case not in p.cases:
                    p.cases.add(case)
                    connections[case] = connections.get(case, 0) + 1
                store = stores.setdefault(case, {})
            globals()[case](p, m[1] or "", n, store)
    except (Closed, OSError):
        pass
    finally:
        sock.close()


def accept(listener, handler, context):
    while True:
        sock, _ = listener.accept()
        threading.Thread(target=wrapped, args=(sock, handler, context),
                         daemon=True).start()


def wrapped(sock, handler, context):
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context:
            sock = context.wrap_socket(sock, server_side=True)
    except OSError:
        return
    handler(sock)


def count(sock):
    notes["moved"] = "followed"
    sock.close()


def listen(handler, context=None):
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    threading.Thread(target=accept, args=(listener, handler, context),
                     daemon=True).start()
    return listener.getsockname()[1]


def run(handler, certificate):
    global second
    tls = None
    if certificate:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(*certificate)
    second = listen(count)
    print(listen(handler, tls), flush=True)
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    run(serve, sys.argv[1:])
