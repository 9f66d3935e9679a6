# SPDX-License-Identifier: BSD-2-Clause
"""A server under test, a client that can misbehave, and chunks, for
kv_serve_check.py."""
import hashlib
import http.client
import os
import signal
import socket
import struct
import subprocess
import time

PATIENCE = 60       # seconds after which something hangs


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def key(n):
    return hashlib.sha256(b"%d" % n).hexdigest()


def named(chunk, name):
    """The chunk under another name."""
    head = chunk[:16] + bytes.fromhex(name) + chunk[48:124]
    return head + struct.pack("<I", crc32c(head)) + chunk[128:]


def digest(chunk):
    return '"%s"' % chunk[48:80].hex()


def make_chunk(tessera, tool, sample):
    subprocess.run([tessera, "kv", "pack", "-nostats", "-step", "1",
                    "-value_ratio", "1", "-levels", "2", sample, "sample.tkv"],
                   check=True)
    with open("sample.tkv", "rb") as f:
        return subprocess.run([tool, "wrap", key(0)], stdin=f, check=True,
                              stdout=subprocess.PIPE).stdout


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()


class Server:
    """tessera kv serve on a free port; killed at the end whatever happens."""
    tessera = None

    def __init__(self, store, *options):
        self.log = open("log", "w+")
        command = [self.tessera, "kv", "serve", "-listen", "127.0.0.1:0",
                   "-v", "info", "-store", store] + list(options)
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE,
                                        stderr=self.log)
        self.url = self.process.stdout.readline().decode().strip()
        if not self.url:
            self.process.wait(PATIENCE)
            raise RuntimeError("no server: " + open("log").read())
        self.port = int(self.url.rsplit(":", 1)[1])
        self.store = store

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE)
        self.process.stdout.close()
        self.log.close()

    def request(self, method, path, body=None, headers=(), connection=None):
        c = connection or http.client.HTTPConnection("127.0.0.1", self.port,
                                                     timeout=PATIENCE)
        try:
            c.request(method, path, body=body, headers=dict(headers))
            return Answer(c.getresponse())
        finally:
            if not connection:
                c.close()

    def get(self, path, **headers):
        return self.request("GET", path, headers={
            name.replace("_", "-"): text for name, text in headers.items()})

    def put(self, name, chunk, **headers):
        return self.request("PUT", "/v1/chunks/" + name, chunk, {
            n.replace("_", "-"): text for n, text in headers.items()})

    def raw(self, data=b""):
        s = socket.create_connection(("127.0.0.1", self.port), PATIENCE)
        s.sendall(data)
        return s

    def stored(self, name):
        return os.path.join(self.store, name[:2], name)

    def send(self, number):
        self.process.send_signal(number)

    def stop(self, number=signal.SIGTERM):
        """The exit status."""
        self.send(number)
        return self.process.wait(PATIENCE)

    def metrics(self, **headers):
        found = {}
        for line in self.get("/metrics", **headers).body.decode().splitlines():
            if not line.startswith("#"):
                name, value = line.rsplit(" ", 1)
                found[name] = float(value)
        return found

    def memory(self):
        """Resident kilobytes, or None where the system does not tell."""
        try:
            with open("/proc/%d/status" % self.process.pid) as f:
                return int([l for l in f if l.startswith("VmRSS")][0].split()[1])
        except OSError:
            return None


def wait_for(true, seconds=PATIENCE):
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def read_to_end(s):
    pieces = []
    while True:
        try:
            pieces.append(s.recv(1 << 16))
        except ConnectionError:
            return b"".join(pieces)
        if not pieces[-1]:
            return b"".join(pieces)
