# SPDX-License-Identifier: BSD-2-Clause
"""Tessera as a serializer of LMCache's distributed mode.

    python3 -m tessera_kv.lmcache MODULE OPTION...

runs a module of LMCache with the serializer registered; or, in a program,

    import tessera_kv.lmcache
    tessera_kv.lmcache.register()

before LMCache reads its configuration, in which an adapter then may have

    "serde": {"type": "tessera", "head_dim": 128, "profile": "llama.safetensors"}

Caches are [2, L, T, H * D], or [L, T, C] where keys and values are not apart
(MLA), in any number of groups; one object of docs/kv-format.md for each.
"""
import runpy
import sys
import threading

from .codec import Coder, Profile, Rope, probe
from .views import View, as_bytes

try:
    from lmcache.v1.distributed.serde.base import Deserializer, Serializer
except ImportError:
    Deserializer = Serializer = object

LAYOUTS = {3: "LTC", 4: "2LTC"}


def heads_of(channels, head_dim):
    """(heads, dim).  Where nobody says how long a head is it does not matter,
    as long as both are within the format's limits."""
    if head_dim:
        if channels % head_dim:
            raise ValueError("%d channels are not heads of %d" % (channels,
                                                                  head_dim))
        return channels // head_dim, head_dim
    dim = next(d for d in range(min(channels, 128), 0, -1) if channels % d == 0)
    return channels // dim, dim


class Shape:
    """Of a cache in LMCache's layout: layers, planes, tokens, channels."""

    def __init__(self, dims):
        dims = [int(n) for n in dims]
        if len(dims) not in LAYOUTS or (len(dims) == 4 and
                                        dims[0] not in (1, 2)):
            raise ValueError("%s is no cache of keys and values" % (dims,))
        self.planes = dims[0] if len(dims) == 4 else 1
        self.layers, self.tokens, self.channels = dims[-3:]

    @property
    def key(self):
        return self.layers, self.planes, self.channels


class Codec:
    """What serializer and deserializer share.

    head_dim  dims of a head; required for rope without a profile
    profile   path or name; all processes that share a cache need the same one
    rope      what Rope takes, as {"theta": 500000, "dims": 128}; not with a
              profile, which has its own
    step, value_ratio, levels, method   of Coder; a step of 0 is chosen from
              the first cache that comes, and kept
    budget    bytes that serialized caches may have, as a part of the plain
              ones: the estimate given to LMCache, which is kept.  What does not
              fit is refused, and so not cached
    dtype     of caches in bytes: "e4m3" or "e5m2"
    threads   workers of one call
    """

    def __init__(self, *, head_dim=0, profile=None, rope=None, step=0.0,
                 value_ratio=0.0, levels=1, method="rows", budget=0.5,
                 dtype=None, threads=1):
        self.profile = Profile(profile) if profile else None
        self.rope = Rope(**rope) if rope else None
        if rope and not head_dim and not profile:
            raise ValueError("rope needs head_dim")
        self.head_dim, self.budget, self.dtype = head_dim, budget, dtype
        self.options = {"levels": levels, "method": method, "threads": threads,
                        "sinks": 0}
        self.steps = {"step": step, "value_ratio": value_ratio}
        self.chosen = {}                # steps, by shape
        self.lock = threading.Lock()
        self.own = threading.local()    # coders of each thread

    def coders(self):
        if not hasattr(self.own, "coders"):
            self.own.coders = {}
        return self.own.coders

    def sizes(self, shape):
        if self.profile:
            _, planes, heads, dim = self.profile.shape
            if planes == shape.planes:
                return heads, dim
        return heads_of(shape.channels, self.head_dim)

    def coder(self, shape, steps):
        """This thread's, for caches of that shape."""
        key = shape.key + tuple(steps.values())
        coders = self.coders()
        if key not in coders:
            heads, dim = self.sizes(shape)
            coders[key] = Coder(shape.layers, heads, dim, planes=shape.planes,
                                rope=self.rope, profile=self.profile,
                                **self.options, **steps)
        return coders[key]

    def decoder(self, info):
        """This thread's, for objects like this one: what scratch memory and
        tables depend on is the same."""
        s = info.struct
        key = b"".join(bytes(f) for f in (s.shape, s.rope, s.params, s.profile)) \
            + info.method.encode() + bytes((s.levels, s.sinks)) + \
            repr((s.tile, s.span, s.live_shift)).encode()
        coders = self.coders()
        if key not in coders:
            coders[key] = Coder.for_object(info, profile=self.profile,
                                           threads=self.options["threads"])
        return coders[key]

    def most(self, shape, item):
        """Bytes that a serialized cache has at most.  What every object has,
        however few its tokens are, comes on top of the budget."""
        coder = self.coder(shape, self.steps)
        plain = shape.layers * shape.planes * shape.tokens * shape.channels * \
            item
        return min(coder.bound(shape.tokens),
                   coder.bound(1) + int(self.budget * plain))

    def encode(self, tensor, out, pos0):
        shape = Shape(tensor.shape)
        view = View(tensor, LAYOUTS[len(tensor.shape)], dtype=self.dtype)
        room = min(self.most(shape, view.item), len(out))
        steps = self.chosen.get(shape.key)
        if steps is None:
            with self.lock:     # one thread chooses for all
                steps = self.chosen.get(shape.key)
                if steps is None:
                    return self.choose(shape, view, out[:room], pos0)
        return self.coder(shape, steps).encode(view, pos0=pos0, out=out[:room])

    def choose(self, shape, view, out, pos0):
        coder = self.coder(shape, self.steps)
        size = coder.encode(view, pos0=pos0, out=out)
        steps = dict(self.steps)
        if not any(steps.values()) and self.options["method"] == "rows" \
                and not self.profile:
            step = probe(out[:size]).step
            steps = {"step": step[0], "value_ratio": step[-1] / step[0]}
        self.chosen[shape.key] = steps
        return size

    def decode(self, data, tensor):
        """Returns the bytes that the object took."""
        info, shape = probe(data), Shape(tensor.shape)
        if (info.layers, info.planes, info.tokens) != (
                shape.layers, shape.planes, shape.tokens) or any(
                h * d != shape.channels for h, d in zip(info.heads, info.dim)):
            raise ValueError("the object is of another cache")
        view = View(tensor, LAYOUTS[len(tensor.shape)], dtype=self.dtype)
        self.decoder(info).decode(data, view)
        return info.bytes


def tensors_of(obj):
    """The caches in a MemoryObj: one, or one for each group."""
    shapes = getattr(getattr(obj, "metadata", None), "shapes", None)
    if shapes and len(shapes) > 1:
        tensors = [obj.get_tensor(i) for i in range(len(shapes))]
    else:
        tensors = [obj.tensor]
    if any(t is None for t in tensors):
        raise ValueError("a memory object without a tensor")
    return tensors


def bytes_of(obj):
    """The bytes of a MemoryObj, as a memoryview."""
    data = getattr(obj, "byte_array", None)
    return as_bytes(obj.tensor) if data is None else memoryview(data)


def position_of(obj, tokens):
    """Where a cache begins in its context, if the MemoryObj says so.  The object
    keeps what it was coded with: a wrong one costs bytes, not quality."""
    positions = getattr(getattr(obj, "metadata", None), "cached_positions", None)
    if positions is None or len(positions) != tokens:
        return 0
    return max(0, int(positions[0]))


class TesseraSerializer(Serializer):
    def __init__(self, codec):
        self.codec = codec

    def serialize(self, src, dst, key):
        """Returns the bytes written to dst; raises what makes the cache one that
        is not stored."""
        out, at = bytes_of(dst), 0
        for tensor in tensors_of(src):
            at += self.codec.encode(tensor, out[at:],
                                    position_of(src, tensor.shape[-2]))
        return at

    def estimate_serialized_size(self, layout_desc):
        return sum(self.codec.most(Shape(shape), dtype.itemsize)
                   for shape, dtype in zip(layout_desc.shapes,
                                           layout_desc.dtypes))


class TesseraDeserializer(Deserializer):
    def __init__(self, codec):
        self.codec = codec

    def deserialize(self, src, dst, key):
        """src may have bytes behind what was serialized.  Whatever is wrong with
        it is raised, a cache miss."""
        data = bytes_of(src)
        for tensor in tensors_of(dst):
            data = data[self.codec.decode(data, tensor):]


def factory(kwargs):
    """What LMCache calls with the configuration's words but "type"."""
    from lmcache.v1.distributed.serde import AsyncSerdeProcessor
    kwargs = dict(kwargs)
    workers = int(kwargs.pop("max_workers", 1))
    codec = Codec(**kwargs)
    return AsyncSerdeProcessor(TesseraSerializer(codec),
                               TesseraDeserializer(codec), max_workers=workers)


def register(name="tessera"):
    from lmcache.v1.distributed.serde import register_serde_factory
    register_serde_factory(name, factory)


if __name__ == "__main__":
    register()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
