# SPDX-License-Identifier: BSD-2-Clause
"""Stores: a folder, Redis or Valkey, S3, HTTP."""
import ctypes
from ctypes import byref, c_void_p

from . import _library as lib
from .views import flat


class Entry:
    """key, bytes, modified (seconds since 1970; 0: not known)."""

    def __init__(self, struct):
        self.key = struct.key.decode()
        self.bytes, self.modified = struct.bytes, struct.modified


def settings_of(log, options):
    """The C structure; options are its fields by name."""
    s = lib.StoreSettings()
    lib.net().tsr_store_settings_init(byref(s))
    for name, value in options.items():
        if name not in dict(s._fields_) or name in ("size", "logger"):
            raise TypeError("a store has no setting %s" % name)
        setattr(s, name, value.encode() if isinstance(value, str) else value)
    s.logger.log = log.callback
    return s


def schemes():
    """Kinds of stores in this build."""
    names = []
    while True:
        name = lib.net().tsr_store_scheme_at(len(names))
        if not name:
            return names
        names.append(name.decode())


class Store(lib.Handle):
    """A connection to a store; one thread at a time but for cancel().

    url      /path, redis://, s3://, http(s)://
    options  fields of tsr_store_settings: timeout, retries, token, capacity ...

    A chunk that is not there is a TesseraError with name "MISSING".
    """

    kind = "store"

    def __init__(self, url, **options):
        self.log, self.handle = lib.Log(), c_void_p()
        self.net = lib.net()
        settings = settings_of(self.log, options)
        self.log.check(self.net.tsr_store_open(byref(self.handle), url.encode(),
                                               byref(settings)))

    def free(self):
        self.net.tsr_store_close(byref(self.handle))

    def get(self, key, offset=0, size=0):
        """Bytes from offset on, `size` of them or to the end (0)."""
        out = bytearray()

        take = lib.Visitor(lib.WRITE, lambda data, n: out.extend(
            ctypes.string_at(data, n)))
        sink = lib.Sink(None, take.callback)
        take.check(self.log, self.net.tsr_store_get(
            self.opened(), key.encode(), offset, size, byref(sink), None))
        return bytes(out)

    def put(self, key, data):
        m = flat(data, "the data")
        self.log.check(self.net.tsr_store_put(self.opened(), key.encode(),
                                              m.address, m.bytes))

    def stat(self, key):
        entry = lib.StoreEntry()
        self.log.check(self.net.tsr_store_stat(self.opened(), key.encode(),
                                               byref(entry)))
        return Entry(entry)

    def remove(self, key):
        self.log.check(self.net.tsr_store_remove(self.opened(), key.encode()))

    def list(self, prefix=""):
        """Entries of all keys that begin so."""
        found = []

        visit = lib.Visitor(lib.VISIT_ENTRY, lambda entry: found.append(
            Entry(entry.contents)))
        visit.check(self.log, self.net.tsr_store_list(
            self.opened(), prefix.encode(), visit.callback, None))
        return found

    def cancel(self):
        """Ends the call under way; from any thread."""
        self.net.tsr_store_cancel(self.opened())
