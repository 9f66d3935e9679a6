# SPDX-License-Identifier: BSD-2-Clause
"""Names of chunks, and chunks as stores keep them: docs/kv-store.md."""
from ctypes import byref, c_size_t, c_uint8, c_uint64

from . import _library as lib
from .codec import context, numbers
from .views import flat

HEAD_BYTES = 128


class Prefix:
    """The name of a text that grows chunk by chunk.

    model    all that must be equal for caches to be interchangeable
    profile  a Profile, or the first 8 bytes of its hash; None: none
    """

    def __init__(self, model, profile=None):
        self.struct = lib.Prefix()
        start = getattr(profile, "hash", profile)
        code = lib.core.tsr_kv_prefix_begin(
            byref(self.struct), model.encode(),
            (c_uint8 * 8)(*start[:8]) if start else None)
        if code:
            raise lib.TesseraError(code, "a model's name has 1 to 1023 bytes")

    def add(self, token_ids):
        """One more chunk; returns its name, 32 bytes."""
        ids, at = numbers(token_ids, "i", len(token_ids), "token ids")
        code = lib.core.tsr_kv_prefix_add(byref(self.struct), at, len(ids))
        if code:
            raise lib.TesseraError(code, "a chunk has 1 to 2^20 tokens")
        return self.name

    @property
    def name(self):
        return bytes(self.struct.name)

    @property
    def key(self):
        """The name as stores have it."""
        return self.name.hex()

    @property
    def tokens(self):
        return self.struct.tokens


def keys(model, token_ids, chunk_tokens=256, profile=None):
    """Keys of the chunks of a text, the last one shorter."""
    prefix, found = Prefix(model, profile), []
    for at in range(0, len(token_ids), chunk_tokens):
        found.append(prefix.add(token_ids[at:at + chunk_tokens]).hex())
    return found


class Chunk:
    """What the head of a stored chunk says: attributes as in tsr_kv_chunk."""

    def __init__(self, struct):
        self.name, self.digest = bytes(struct.name), bytes(struct.digest)
        self.tokens, self.pos0 = struct.tokens, struct.pos0
        self.layers, self.levels = struct.layers, struct.levels
        self.object_bytes, self.bytes = struct.object_bytes, struct.bytes
        self.front_bytes = struct.front_bytes
        self.level_end = tuple(struct.level_end)


def wrap(name, data):
    """The stored chunk of an object."""
    m, size = flat(data, "the object"), c_size_t()
    out, c = bytearray(m.bytes + HEAD_BYTES), context()
    c.check(lib.core.tsr_kv_chunk_wrap(
        c.handle, named(name), m.address, m.bytes, flat(out).address, len(out),
        byref(size)))
    return bytes(memoryview(out)[:size.value])


def named(name):
    if name is not None and len(name) != 32:
        raise ValueError("a name has 32 bytes")
    return name and bytes(name)


def look(data):
    """Chunk of the first HEAD_BYTES bytes at least of a stored chunk."""
    m, chunk, c = flat(data, "the chunk"), lib.Chunk(), context()
    c.check(lib.core.tsr_kv_chunk_probe(c.handle, m.address, m.bytes,
                                        byref(chunk)))
    return Chunk(chunk)


def check(data, name=None):
    """Checks a whole stored chunk; returns its Chunk."""
    m, chunk, c = flat(data, "the chunk"), lib.Chunk(), context()
    c.check(lib.core.tsr_kv_chunk_check(c.handle, m.address, m.bytes,
                                        named(name), byref(chunk)))
    return Chunk(chunk)


def range_of(data, level, first_layer=0, layers=0):
    """(begin, end) of a level of some layers; data: the front at least."""
    m, begin, end = flat(data, "the chunk"), c_uint64(), c_uint64()
    c = context()
    c.check(lib.core.tsr_kv_chunk_range(c.handle, m.address, m.bytes, level,
                                        first_layer, layers, byref(begin),
                                        byref(end)))
    return begin.value, end.value


def place(data, begin, end, out):
    """Puts bytes begin..end of a stored chunk where they belong in its object,
    a buffer of object_bytes."""
    m, room, c = flat(data, "the chunk"), flat(out, "out", True), context()
    c.check(lib.core.tsr_kv_chunk_place(c.handle, m.address, m.bytes, begin,
                                        end, room.address, room.bytes))


def unwrap(data, name=None):
    """The object of a whole stored chunk, which is checked."""
    chunk = check(data, name)
    out = bytearray(chunk.object_bytes)
    place(data, 0, chunk.bytes, out)
    return out
