# SPDX-License-Identifier: BSD-2-Clause
"""Objects: a cache to bytes and back."""
import array
import ctypes
import threading
from ctypes import byref, c_size_t, c_void_p

from . import _library as lib
from .views import NAMES, Memory, View, flat


class Rope:
    """How a model rotates its keys by position: it is taken off before coding
    and put back.

    layout  "half": pairs (i, i + dims / 2), Hugging Face, NeoX; "pair":
            (2 i, 2 i + 1), GPT-J
    scaling None, "linear" (factor) or "llama3" (all of what follows)
    """

    LAYOUTS = {"half": 1, "pair": 2}
    SCALINGS = {None: 0, "linear": 1, "llama3": 2}

    def __init__(self, theta, dims, *, layout="half", offset=0, scaling=None,
                 factor=0.0, low_factor=0.0, high_factor=0.0, original=0):
        self.struct = lib.Rope(
            self.LAYOUTS[layout], offset, dims, theta, self.SCALINGS[scaling],
            factor, low_factor, high_factor, original)


class Profile:
    """A profile of a model, made by `tessera kv profile`: a path, or the name
    of an installed one.  May be used by any number of coders and threads."""

    def __init__(self, name):
        context = lib.Context()
        self.handle = c_void_p()
        context.check(lib.core.tsr_model_open(
            byref(self.handle), context.handle, str(name).encode()))

    @property
    def hash(self):
        """32 bytes; objects have the first 8."""
        return bytes(lib.core.tsr_model_hash(self.handle)[:32])

    @property
    def shape(self):
        """Layers, planes, (heads of each plane), (dim of each plane)."""
        tensor = lib.core.tsr_model_tensor(self.handle, b"kv.shape")
        if not tensor or tensor.contents.bytes != 24:
            raise lib.TesseraError(-30, "not a profile")
        n = array.array("i", ctypes.string_at(tensor.contents.data, 24))
        return n[0], n[1], (n[2], n[4])[:n[1]], (n[3], n[5])[:n[1]]

    def __del__(self):
        if getattr(self, "handle", None):
            lib.core.tsr_model_unref(byref(self.handle))


class Info:
    """What an object says of itself: attributes as in tsr_kv_info."""

    def __init__(self, struct):
        self.struct = struct
        s, shape = struct, struct.shape
        self.layers, self.planes = shape.layers, shape.planes
        self.heads = tuple(shape.heads[:shape.planes])
        self.dim = tuple(shape.dim[:shape.planes])
        self.method, self.dtype = s.method.decode(), NAMES[s.dtype]
        self.tokens, self.pos0, self.levels = s.tokens, s.pos0, s.levels
        self.tile, self.sinks = s.tile, s.sinks
        self.step = tuple(s.step[:shape.planes])
        self.profile = bytes(s.profile) if any(s.profile) else None
        self.token_ids = bool(s.token_ids)
        self.bytes, self.head_bytes = s.bytes, s.head_bytes
        self.side_bytes = s.side_bytes
        self.level_bytes = tuple(s.level_bytes[:s.levels])


_here = threading.local()


def context():
    """This thread's context for calls that need no coder."""
    if not hasattr(_here, "context"):
        _here.context = lib.Context()
    return _here.context


def probe(data):
    """Info of the object at the beginning of `data`; its front is enough."""
    m, info = flat(data, "the object"), lib.Info()
    c = context()
    c.check(lib.core.tsr_kv_probe(c.handle, m.address, m.bytes, byref(info)))
    return Info(info)


def part(layers=None, tokens=None, levels=0):
    """layers, tokens: (first, number); levels: how many, 0 all there are."""
    return lib.Part(*(layers or (0, 0)), *(tokens or (0, 0)), levels)


def ranges(front, layers=None, tokens=None, levels=0):
    """[(offset, bytes), ...] of an object that hold a part of it."""
    m, found = flat(front, "the front"), []

    visit = lib.Visitor(lib.VISIT_RANGE, lambda *range: found.append(range))
    c, wanted = context(), part(layers, tokens, levels)
    visit.check(c, lib.core.tsr_kv_ranges(
        c.handle, m.address, m.bytes, byref(wanted), visit.callback, None))
    return found


def reduce(data, levels):
    """The object with the first levels alone."""
    m, size = flat(data, "the object"), c_size_t()
    out, c = bytearray(m.bytes), context()
    c.check(lib.core.tsr_kv_reduce(c.handle, m.address, m.bytes, levels,
                                   flat(out).address, m.bytes, byref(size)))
    return bytes(memoryview(out)[:size.value])


def methods():
    """Names of the methods of this build."""
    names = []
    while True:
        name = lib.core.tsr_kv_method_at(len(names))
        if not name:
            return names
        names.append(name.decode())


def pair(value):
    """Of keys and values, where they can differ."""
    value = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    return (value + value)[:2]


def numbers(values, kind, n, what):
    """n integers for C: an array of that type code, which must be kept, and its
    address."""
    if values is None:
        return None, None
    if len(values) != n:
        raise ValueError("%d %s for %d tokens" % (len(values), what, n))
    kept = array.array(kind, [int(v) for v in values])
    return kept, kept.buffer_info()[0]


class Coder:
    """Encodes and decodes caches of one shape.

    One call at a time; others wait.  For threads that work at the same time
    make a coder each; `threads` are the workers of one call.  The parameters are
    those of tsr_kv_settings.
    """

    def __init__(self, layers, heads, dim, *, planes=2, rope=None, profile=None,
                 method="rows", step=0.0, value_ratio=0.0, levels=1, sinks=4,
                 recent=0, recent_boost=0, tile=0, store_tokens=True,
                 threads=1):
        s = lib.Settings()
        lib.core.tsr_kv_settings_init(byref(s))
        heads, dim = pair(heads), pair(dim)
        for p in range(planes):
            s.shape.heads[p], s.shape.dim[p] = heads[p], dim[p]
        s.shape.layers, s.shape.planes = layers, planes
        if rope:
            s.rope = rope.struct
        s.profile = profile.handle if profile else None
        s.method, s.step, s.value_ratio = method.encode(), step, value_ratio
        s.levels, s.sinks, s.tile = levels, sinks, tile
        s.recent, s.recent_boost = recent, recent_boost
        s.store_tokens = int(store_tokens)
        self.settings = s
        self.begin(s.shape, threads)
        self.context.check(lib.core.tsr_kv_open(
            byref(self.handle), self.context.handle, byref(s)))

    @classmethod
    def for_object(cls, data, *, profile=None, threads=1):
        """A coder that decodes objects like this one.  A profile that is not
        given is looked for among the installed ones."""
        info = data if isinstance(data, Info) else probe(data)
        coder = cls.__new__(cls)
        coder.begin(info.struct.shape, threads)
        coder.context.check(lib.core.tsr_kv_open_for(
            byref(coder.handle), coder.context.handle, byref(info.struct),
            profile.handle if profile else None))
        return coder

    def begin(self, shape, threads):
        self.shape, self.lock = shape, threading.Lock()
        self.context = lib.Context(threads)
        self.handle, self.scratch = c_void_p(), None

    def __del__(self):
        if getattr(self, "handle", None):
            lib.core.tsr_kv_close(byref(self.handle))

    def bound(self, tokens):
        """Most bytes of an object."""
        size = c_size_t()
        self.context.check(lib.core.tsr_kv_encode_bound(self.handle, tokens,
                                                        byref(size)))
        return size.value

    def call(self, tokens, pos0, token_ids, boost):
        """The C structure.  Scratch memory is kept for the next call."""
        size = c_size_t()
        self.context.check(lib.core.tsr_kv_scratch_size(self.handle, tokens,
                                                        byref(size)))
        if self.scratch is None or self.scratch.bytes < size.value + 63:
            self.scratch = Memory(bytearray(size.value + 63))
        at = self.scratch.address
        ids, ids_at = numbers(token_ids, "i", tokens, "token ids")
        boosts, boosts_at = numbers(boost, "B", tokens, "boosts")
        call = lib.Call(pos0, ids_at, boosts_at, at + -at % 64, size.value)
        call.keep = ids, boosts
        return call

    def encode(self, view, *, pos0=0, token_ids=None, boost=None, out=None):
        """Returns the object as bytes; with `out`, a buffer, its size there.

        Where `out` has less than bound() bytes, and the object does not fit, the
        error is LIMIT.
        """
        if out is None:
            own = bytearray(self.bound(view.tokens))
            size = self.encode(view, pos0=pos0, token_ids=token_ids,
                               boost=boost, out=own)
            return bytes(memoryview(own)[:size])
        room, size = flat(out, "out", True), c_size_t()
        with self.lock:
            what = view.fit(self.shape)
            call = self.call(view.tokens, pos0, token_ids, boost)
            self.context.check(lib.core.tsr_kv_encode(
                self.handle, byref(what), byref(call), room.address, room.bytes,
                byref(size)))
        return size.value

    def decode(self, data, view, *, layers=None, tokens=None, levels=0,
               token_ids=None):
        """Decodes an object, or a part of it, into the view, which has room for
        all of its tokens; bytes behind the object are ignored."""
        m = flat(data, "the object")
        with self.lock:
            what = view.fit(self.shape, writable=True)
            call = self.call(view.tokens, 0, token_ids, None)
            wanted = part(layers, tokens, levels)
            self.context.check(lib.core.tsr_kv_decode(
                self.handle, m.address, m.bytes, byref(wanted), byref(what),
                byref(call)))
