# SPDX-License-Identifier: BSD-2-Clause
"""kv_package.py STRUCTS: the Python package tessera_kv, and its serializer for
LMCache against a stand-in of LMCache's interface; STRUCTS prints what structures
are in C.  Speaks TAP.  Works in the current folder; needs no numpy, but looks at
its arrays and torch's tensors where they are."""
import array
import os
import random
import struct
import subprocess
import sys
import threading
import types

import kv_chunk_reader
import tessera_kv as tk
from tessera_kv import _library, views

STRUCTS = sys.argv[1]
count = 0


def case(name):
    """Runs a function at once, as a test."""
    def run(work):
        global count
        count += 1
        try:
            why = work()
        except Exception as error:
            why = "%s: %s" % (type(error).__name__, error)
        if isinstance(why, str) and why.startswith("SKIP"):
            print("ok %d # %s" % (count, why))
            return
        print("%s %d - %s" % ("not ok" if why else "ok", count, name))
        for line in (str(why) if why else "").splitlines():
            print("#", line)
    return run


def need(condition, what="it does not hold"):
    if not condition:
        raise AssertionError(what)


def refused(error, work, *words, **named):
    """Is it refused so?  error: an exception, or the name of a TesseraError."""
    try:
        work(*words, **named)
    except tk.TesseraError as e:
        need(e.name == error, "%s, not %s" % (e, error))
    except Exception as e:
        need(not isinstance(error, str) and isinstance(e, error), repr(e))
    else:
        raise AssertionError("not refused: %s" % (words,))


class Array:
    """What numpy arrays are to the package."""

    def __init__(self, shape, typestr="<f2", data=None, strides=None,
                 readonly=False):
        self.shape, self.item = tuple(shape), int(typestr[2:])
        size = self.item
        for n in shape:
            size *= n
        self.data = data if data is not None else bytearray(size)
        self.strides = strides or views.contiguous(self.shape, self.item)
        self.__array_interface__ = {
            "shape": self.shape, "typestr": typestr, "version": 3,
            "data": (views.Memory(self.data).address, readonly),
            "strides": self.strides}


class Tensor(Array):
    """What torch tensors are to it."""

    def __init__(self, shape, dtype, data=None, device="cpu"):
        self.dtype = "torch." + dtype
        self.device = types.SimpleNamespace(type=device, index=0)
        super().__init__(shape, "<V%d" % {"float32": 4, "bfloat16": 2,
                                          "float16": 2}.get(dtype, 1), data)
        del self.__array_interface__

    def data_ptr(self):
        return views.Memory(self.data).address

    def element_size(self):
        return self.item

    def stride(self):
        return tuple(s // self.item for s in self.strides)


LAYERS, HEADS, DIM, TOKENS = 3, 2, 16, 70


def gauss(n, seed):
    rng = random.Random(seed)
    return [rng.gauss(0, 1) for _ in range(n)]


def values(data, code="e"):
    return struct.unpack("<%d%s" % (len(data) // struct.calcsize(code), code),
                         bytes(data))


VALUES = gauss(2 * LAYERS * TOKENS * HEADS * DIM, 1)
CACHE = bytearray(struct.pack("<%de" % len(VALUES), *VALUES))


def cache(data=None):
    """[2, L, T, H, D]"""
    return Array((2, LAYERS, TOKENS, HEADS, DIM), "<f2",
                 CACHE if data is None else data)


def coder(**options):
    return tk.Coder(LAYERS, HEADS, DIM, **{"step": 0.05, "value_ratio": 1,
                                           "tile": 32, **options})


def planes(data, order):
    """One array for each plane, dimensions as in `order`, of THD."""
    size = TOKENS * HEADS * DIM * 2
    out = []
    for layer in range(LAYERS):
        for p in range(2):
            at = (p * LAYERS + layer) * size
            plane = data[at:at + size]
            if order == "HTD":
                row = DIM * 2
                plane = b"".join(plane[(t * HEADS + h) * row:][:row]
                                 for h in range(HEADS) for t in range(TOKENS))
            out.append(bytearray(plane))
    return out


def paged(data, block=16):
    """[2, B, S, H, D] of each layer, and the blocks' numbers: not in order."""
    blocks = -(-TOKENS // block)
    order = [(5 * i + 2) % (blocks + 2) for i in range(blocks)]
    row, out = HEADS * DIM * 2, []
    for layer in range(LAYERS):
        memory = bytearray(2 * (blocks + 2) * block * row)
        for p in range(2):
            for t in range(TOKENS):
                to = ((p * (blocks + 2) + order[t // block]) * block +
                      t % block) * row
                at = ((p * LAYERS + layer) * TOKENS + t) * row
                memory[to:to + row] = data[at:at + row]
        out.append(Array((2, blocks + 2, block, HEADS, DIM), "<f2", memory))
    return out, order


@case("structures are those of C")
def _():
    want = subprocess.run([STRUCTS], capture_output=True, check=True)
    got = []
    for s in _library.STRUCTURES:
        got.append("%s - 0 %d" % (s.__name__, _library.ctypes.sizeof(s)))
        for name, _ in s._fields_:
            field = getattr(s, name)
            got.append("%s %s %d %d" % (s.__name__, name, field.offset,
                                        field.size))
    return "\n".join(sorted(set(got) ^ set(want.stdout.decode().split("\n")[:-1])))


@case("a cache and back, in every layout")
def _():
    want = coder().encode(tk.View(cache(), "2LTHD"), pos0=3)
    kv = [Array((TOKENS, HEADS, DIM), "<f2", p) for p in planes(CACHE, "THD")]
    htd = [Array((1, HEADS, TOKENS, DIM), "<f2", p)
           for p in planes(CACHE, "HTD")]
    half = len(CACHE) // 2
    whole = [Array((LAYERS, TOKENS, HEADS * DIM), "<f2", CACHE[:half]),
             Array((LAYERS, TOKENS, HEADS * DIM), "<f2", CACHE[half:])]
    pages, order = paged(CACHE)
    tensors = [Tensor((TOKENS, HEADS, DIM), "float16", p)
               for p in planes(CACHE, "THD")]
    # Layers outermost, as strides alone.
    plane = TOKENS * HEADS * DIM * 2
    turned = Array((LAYERS, 2, TOKENS, HEADS * DIM), "<f2", CACHE, (
        plane, LAYERS * plane, HEADS * DIM * 2, 2))
    for view in (
            tk.View(kv, "THD"), tk.View(whole, "LTC"), tk.View(turned, "L2TC"),
            tk.View(list(zip(htd[::2], htd[1::2])), "1HTD"),
            tk.View(pages, "2BSHD", blocks=order, tokens=TOKENS),
            tk.View(tensors, "THD"),
            tk.View(memoryview(CACHE).cast("B").cast(
                "H", (2, LAYERS, TOKENS, HEADS * DIM)), "2LTC", dtype="f16")):
        need(coder().encode(view, pos0=3) == want, view.layout)
    near = bytearray(len(CACHE))
    coder().decode(want, tk.View(cache(near), "2LTHD"))
    need(max(abs(a - b) for a, b in zip(values(near), VALUES)) < 0.03, "far off")
    pages, order = paged(bytes(len(CACHE)))
    coder().decode(want, tk.View(pages, "2BSHD", blocks=order, tokens=TOKENS))
    for got, right in zip(pages, paged(near)[0]):
        need(got.data == right.data, "pages")
    back = [Array((1, HEADS, TOKENS, DIM)) for _ in kv]
    coder().decode(want, tk.View(back, "1HTD"))
    for got, right in zip(back, planes(near, "HTD")):
        need(got.data == right, "HTD")


@case("number formats")
def _():
    n = 40 * HEADS * DIM
    f32 = struct.pack("<%df" % n, *VALUES[:n])
    cut = b"".join(f32[i + 2:i + 4] for i in range(0, len(f32), 4))
    for dtype, item, data in ("f32", 4, f32), ("bf16", 2, cut), \
            ("e4m3", 1, bytes(range(0x20, 0x50)) * 40), \
            ("e5m2", 1, bytes(range(0x20, 0x50)) * 40):
        data = bytearray(data[:n * item])
        own = Tensor((1, 40, HEADS * DIM), {
            "f32": "float32", "bf16": "bfloat16", "e4m3": "float8_e4m3fn",
            "e5m2": "float8_e5m2"}[dtype], data)
        raw = Array((1, 40, HEADS * DIM), "<u%d" % item, data)
        c = tk.Coder(1, HEADS, DIM, planes=1, method="lossless")
        a = c.encode(tk.View(own, "LTC"))
        need(tk.probe(a).dtype == dtype and a == c.encode(
            tk.View(raw, "LTC", dtype=dtype)), dtype)
        out = bytearray(n * item)
        c.decode(a, tk.View(Array(raw.shape, "<u%d" % item, out), "LTC",
                            dtype=dtype))
        need(out == data, dtype + " comes back")


@case("levels, parts, ids, boosts")
def _():
    c, rng = coder(levels=3, rope=tk.Rope(1e4, DIM)), random.Random(4)
    ids = [rng.randrange(999) for _ in range(TOKENS)]
    data = c.encode(tk.View(cache(), "2LTHD"), pos0=9, token_ids=ids,
                    boost=[t % 2 for t in range(TOKENS)])
    info = tk.probe(data)
    need((info.tokens, info.pos0, info.levels, info.token_ids, info.tile,
          info.heads, info.method, info.bytes) ==
         (TOKENS, 9, 3, True, 32, (HEADS, HEADS), "rows", len(data)), "info")
    need(sum(info.level_bytes) + info.head_bytes + info.side_bytes ==
         len(data), "sizes")
    small = tk.reduce(data, 1)
    need(tk.probe(small).levels == 1, "reduced")
    whole, part = bytearray(len(CACHE)), bytearray(len(CACHE))
    other = tk.Coder.for_object(data)
    other.decode(small, tk.View(cache(whole), "2LTHD"))
    # From nothing but its ranges.
    some = bytearray(len(data))
    for at, n in tk.ranges(data, layers=(1, 1), tokens=(32, 20), levels=1):
        some[at:at + n] = data[at:at + n]
    other.decode(some, tk.View(cache(part), "2LTHD"), layers=(1, 1),
                 tokens=(32, 20), levels=1)
    row = HEADS * DIM * 2
    for p in range(2):
        for layer in range(LAYERS):
            for t in range(TOKENS):
                at = ((p * LAYERS + layer) * TOKENS + t) * row
                inside = layer == 1 and 32 <= t < 52
                need(part[at:at + row] == (whole[at:at + row] if inside
                                           else bytes(row)), "part")


@case("what does not fit is refused")
def _():
    c, view = coder(), tk.View(cache(), "2LTHD")
    data = c.encode(view)
    out = bytearray(c.bound(TOKENS))
    need(c.encode(view, out=out) == len(data) and out[:len(data)] == data, "out")
    refused("LIMIT", c.encode, view, out=bytearray(len(data) - 1))
    refused(ValueError, c.encode, view, out=bytes(len(out)))
    refused(ValueError, c.encode, view, token_ids=[1, 2])
    refused(ValueError, c.decode, data, tk.View(
        Array(view.first.shape, "<f2", CACHE, readonly=True), "2LTHD"))
    refused(ValueError, c.decode, data, tk.View(Array(
        view.first.shape, "<f2", bytearray(len(CACHE)),
        (0,) + view.first.strides[1:]), "2LTHD"))
    for layout in "2LTHC", "2LTH", "2LTTD", "LTHD2", "2L1HD", "XLTHD":
        refused(ValueError, lambda: c.encode(tk.View(cache(), layout)))
    refused(ValueError, tk.Coder(LAYERS, 4, DIM).encode, view)
    refused(ValueError, tk.Coder(2, HEADS, DIM).encode, view)
    pages, order = paged(CACHE)
    for bad in [-1] + order[1:], [99] + order[1:], order[:1]:
        refused(ValueError, tk.View, pages, "2BSHD", blocks=bad, tokens=TOKENS)
    refused(ValueError, tk.View, pages, "2BSHD")
    refused(ValueError, tk.View, Tensor((1,), "float16", device="mps"), "T")
    away = tk.View(Tensor((2, LAYERS, TOKENS, HEADS, DIM), "float16", CACHE,
                          "cuda"), "2LTHD")
    refused(ValueError, c.encode, away)
    refused(ValueError, c.decode, data, away)
    refused(ValueError, tk.probe, Tensor((200,), "uint8", device="cuda"))
    refused(ValueError, tk.View, Array((1, 1), ">f2"), "TD")
    refused(ValueError, tk.View, Array((1, 1), "<i4"), "TD")
    refused("FORMAT", tk.probe, b"nothing like it")
    refused("TRUNCATED", tk.probe, data[:170])
    broken = bytearray(data)
    broken[-1] ^= 1
    refused("CHECKSUM", c.decode, broken, tk.View(cache(bytearray(len(CACHE))),
                                                  "2LTHD"))
    refused("MODEL", tk.Profile, "./nothing.safetensors")
    refused("ARG", tk.Coder, 0, 1, 1)


@case("threads with coders of their own")
def _():
    want, results = coder().encode(tk.View(cache(), "2LTHD")), []
    shared = coder()

    def work(i):
        c = shared if i % 2 else coder()
        for _ in range(5):
            results.append(c.encode(tk.View(cache(), "2LTHD")) == want)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    need(results == [True] * 20, "%s" % results)


@case("chunks and their names")
def _():
    rng = random.Random(8)
    ids = [rng.randrange(-9, 1 << 30) for _ in range(600)]
    chunks = [ids[i:i + 256] for i in range(0, 600, 256)]
    for profile in None, b"8 bytes!":
        need(tk.keys("model@1", ids, 256, profile) ==
             [n.hex() for n in kv_chunk_reader.names("model@1", profile,
                                                     chunks)], "names")
    name = bytes(range(32))
    data = coder(levels=2).encode(tk.View(cache(), "2LTHD"))
    stored = tk.wrap(name, data)
    need(stored == kv_chunk_reader.wrap(name, data), "another chunk")
    need(tk.unwrap(stored, name) == data, "another object")
    chunk = tk.look(stored[:tk.HEAD_BYTES])
    need((chunk.name, chunk.bytes, chunk.levels, chunk.layers, chunk.tokens) ==
         (name, len(stored), 2, LAYERS, TOKENS), "head")
    order = kv_chunk_reader.Order(data)
    front = stored[:chunk.front_bytes]
    need(tk.range_of(front, 1, 1, 2) == order.range(1, 1, 2), "range")
    some, out = bytearray(len(stored)), bytearray(len(data))
    for begin, end in (0, chunk.front_bytes), (chunk.front_bytes,
                                               chunk.level_end[0]):
        some[begin:end] = stored[begin:end]
        tk.place(some, begin, end, out)
    need(tk.reduce(out, 1) == tk.reduce(data, 1), "the base level")
    refused("MODEL", tk.check, stored, bytes(32))
    refused("TRUNCATED", tk.check, stored[:-1], name)
    refused("CHECKSUM", tk.check, stored[:-1] + b"!", name)
    refused("ARG", tk.Prefix, "")
    refused("ARG", tk.Prefix("m").add, [])


@case("a store")
def _():
    if "dir" not in tk.schemes():
        return "SKIP this build has no folders as stores"
    keys = tk.keys("m", list(range(300)))
    with tk.Store(os.getcwd() + "/store") as store:
        refused("MISSING", store.get, keys[0])
        for key in keys:
            store.put(key, key.encode() * 3)
        need(store.get(keys[1]) == keys[1].encode() * 3, "get")
        need(store.get(keys[0], 5, 7) == (keys[0].encode() * 3)[5:12], "range")
        need(store.stat(keys[0]).bytes == 192, "stat")
        need({e.key for e in store.list()} == set(keys), "list")
        need([e.key for e in store.list(keys[0][:9])] == keys[:1], "prefix")
        store.remove(keys[0])
        refused("MISSING", store.stat, keys[0])
        refused("ARG", store.put, "../x", b"")
        entry, tk.stores.Entry = tk.stores.Entry, lambda struct: [][0]
        refused(IndexError, store.list) # and is not swallowed on its way
        tk.stores.Entry = entry
        store.cancel()
        refused("CANCELED", store.get, keys[1])
    refused(ValueError, store.get, keys[1])
    refused(TypeError, tk.Store, "dir:x", patience=3)


@case("jobs: push, stored, pull")
def _():
    if "dir" not in tk.schemes():
        return "SKIP this build has no folders as stores"
    url, ids = os.getcwd() + "/jobs", [7 * t % 50 for t in range(TOKENS)]
    seen, view = [], tk.View(cache(), "2LTHD")
    with tk.push(url, "m", coder(levels=2), view, ids, chunk_tokens=32,
                 on_progress=lambda *n: seen.append(n)) as job:
        result = job.wait()
    need((result.error, result.tokens, result.chunks) == ("OK", TOKENS, 3),
         "pushed: " + str(vars(result)))
    need(seen and seen[-1][0] == result.bytes, "progress %s" % seen)
    with tk.Store(url) as store:
        keys = tk.keys("m", ids, 32)
        need({e.key for e in store.list()} == set(keys), "keys")
        store.remove(keys[2])
        good = store.get(keys[1])
        need(tk.stored(url, "m", ids, chunk_tokens=32) == 64, "stored")
        got, layers, chunks = bytearray(len(CACHE)), [], []
        job = tk.pull(url, "m", LAYERS, HEADS, DIM, tk.View(cache(got), "2LTHD"),
                      ids, chunk_tokens=32, recompute=[9, 9, 1e-3],
                      on_layers=lambda *n: layers.append(n),
                      on_recompute=lambda own, *n: (chunks.append(n),
                                                    own.recomputed(n[0])))
        result = job.wait(20)
        need((result.error, result.tokens, result.recomputed) ==
             ("OK", TOKENS, 1) and chunks == [(2, 64, 6)],
             "pulled: %s %s" % (vars(result), chunks))
        job.close()
        refused(ValueError, job.wait)
        need(sum(n for _, n, levels in layers if levels == 1) in (0, LAYERS) and
             layers[-1][2] == 2, "layers %s" % layers)
        own = bytearray(good)
        own[-1] ^= 1
        store.put(keys[1], own)     # is found out and not used
        arrivals = []
        with tk.pull(url, "m", LAYERS, HEADS, DIM, None, ids, chunk_tokens=32,
                     on_arrival=lambda *a: arrivals.append(a)) as job:
            result = job.wait(20)
        need(result.error != "OK" or result.mean_levels < 2, "damage is good")
        need([a[:3] for a in arrivals if a[0] == 0] == [(0, 0, 32)], "arrivals")
        data = [a[3] for a in arrivals if a[0] == 0][0]
    row = HEADS * DIM * 2
    plain = bytearray(2 * LAYERS * 32 * row)
    tk.Coder.for_object(data).decode(data, tk.View(Array(
        (2, LAYERS, 32, HEADS, DIM), "<f2", plain), "2LTHD"))
    for i in range(2 * LAYERS):
        need(plain[32 * row * i:32 * row * (i + 1)] ==
             got[TOKENS * row * i:TOKENS * row * i + 32 * row], "local decode")


# ---- LMCache ----

class Dtype:
    def __init__(self, itemsize):
        self.itemsize = itemsize


class MemoryObj:
    """Of one group or of several; what the package needs of LMCache's."""

    def __init__(self, *tensors):
        self.tensors = tensors
        self.metadata = types.SimpleNamespace(
            shapes=[t.shape for t in tensors], cached_positions=None)

    @property
    def tensor(self):
        return self.tensors[0]

    def get_tensor(self, i):
        return self.tensors[i]


class Bytes(MemoryObj):
    def __init__(self, n):
        super().__init__(Array((n,), "<u1"))

    @property
    def byte_array(self):
        return memoryview(self.tensors[0].data)


class Processor:
    """LMCache's runs these on threads of its own."""

    def __init__(self, serializer, deserializer, max_workers=1):
        self.ser, self.de, self.max_workers = serializer, deserializer, \
            max_workers


def stand_in():
    """Puts LMCache's names where the package looks for them."""
    registry, serde = {}, types.ModuleType("lmcache.v1.distributed.serde")
    base = types.ModuleType("lmcache.v1.distributed.serde.base")
    base.Serializer = type("Serializer", (), {})
    base.Deserializer = type("Deserializer", (), {})
    serde.base, serde.AsyncSerdeProcessor = base, Processor
    serde.register_serde_factory = registry.__setitem__
    for name in "lmcache", "lmcache.v1", "lmcache.v1.distributed":
        sys.modules[name] = types.ModuleType(name)
    sys.modules[serde.__name__], sys.modules[base.__name__] = serde, base
    return registry, base


def memory(*shapes, seed=1):
    tensors = []
    for i, shape in enumerate(shapes):
        n = 1
        for size in shape:
            n *= size
        tensors.append(Array(shape, "<f2", bytearray(
            struct.pack("<%de" % n, *gauss(n, seed + i)))))
    return MemoryObj(*tensors)


def blank(obj):
    return MemoryObj(*[Array(t.shape) for t in obj.tensors])


def layout(obj):
    return types.SimpleNamespace(shapes=[t.shape for t in obj.tensors],
                                 dtypes=[Dtype(t.item) for t in obj.tensors])


registry, base = stand_in()
import tessera_kv.lmcache as plug     # noqa: E402: now that it finds LMCache

plug.register()
SHAPES = [(2, 3, 96, 64)], [(3, 96, 48)], [(2, 2, 64, 32), (64, 64, 6)], \
    [(1, 2, 40, 129)], [(2, 2, 1, 64)]


@case("LMCache: there and back")
def _():
    need(issubclass(plug.TesseraSerializer, base.Serializer) and
         issubclass(plug.TesseraDeserializer, base.Deserializer), "classes")
    for shapes in SHAPES:
        for words in {}, {"levels": 2, "step": 0.02, "value_ratio": 1}:
            p = registry["tessera"]({**words, "max_workers": 2})
            need(p.max_workers == 2, "workers")
            src = memory(*shapes)
            room = p.ser.estimate_serialized_size(layout(src))
            dst = Bytes(room)
            n = p.ser.serialize(src, dst, None)
            need(0 < n <= room, "%d of %d bytes" % (n, room))
            for t in dst.tensors:       # padding is not looked at
                t.data[n:] = b"\xa5" * (room - n)
            out = blank(src)
            p.de.deserialize(dst, out, None)
            step = max(words.get("step", 0),
                       max(tk.probe(dst.byte_array).step))
            for a, b in zip(src.tensors, out.tensors):
                far = max(abs(x - y) for x, y in zip(values(a.data),
                                                     values(b.data)))
                need(0 < far < 2 * step + 0.01, "%s: %s" % (shapes, far))


@case("LMCache: the estimate is kept")
def _():
    src = memory((2, 3, 96, 64))
    p = registry["tessera"]({"step": 1e-3, "value_ratio": 1, "budget": 0.3})
    room = p.ser.estimate_serialized_size(layout(src))
    plain = len(src.tensor.data)
    need(room < 0.3 * plain + 9000, "not tight: %d of %d" % (room, plain))
    dst = Bytes(plain)
    refused("LIMIT", p.ser.serialize, src, dst, None)
    need(not any(dst.tensors[0].data[room:]), "written beyond")
    fine = registry["tessera"]({"method": "lossless", "budget": 1.1})
    room = fine.ser.estimate_serialized_size(layout(src))
    n = fine.ser.serialize(src, Bytes(room), None)
    need(n <= room, "lossless")


@case("LMCache: what is wrong is raised")
def _():
    p = registry["tessera"]({})
    src = memory((2, 3, 96, 64))
    dst = Bytes(p.ser.estimate_serialized_size(layout(src)))
    n = p.ser.serialize(src, dst, None)
    good = bytes(dst.tensors[0].data[:n])
    for other in (2, 3, 95, 64), (2, 2, 96, 64), (2, 3, 96, 32), (3, 96, 64), \
            (96, 64), (3, 3, 96, 64):
        refused(ValueError, p.de.deserialize, dst, MemoryObj(Array(other)), None)
    for at in 3, 20, n // 2, n - 1:
        bad = Bytes(n)
        bad.tensors[0].data[:] = good
        bad.tensors[0].data[at] ^= 1
        try:
            p.de.deserialize(bad, blank(src), None)
        except tk.TesseraError:
            continue
        return "byte %d" % at
    short = Bytes(n - 1)
    short.tensors[0].data[:] = good[:-1]
    refused("TRUNCATED", p.de.deserialize, short, blank(src), None)
    src.tensor.data[0:2] = b"\0\x7e"        # not a number
    refused("ARG", p.ser.serialize, src, dst, None)
    refused(ValueError, registry["tessera"], {"rope": {"theta": 1, "dims": 2}})


@case("LMCache: positions, threads")
def _():
    p = registry["tessera"]({"head_dim": 16, "rope": {"theta": 1e4, "dims": 16}})
    src = memory((2, 3, 96, 64))
    room = p.ser.estimate_serialized_size(layout(src))
    first = Bytes(room)
    n = p.ser.serialize(src, first, None)
    src.metadata.cached_positions = array.array("i", range(500, 596))
    later = Bytes(room)
    p.ser.serialize(src, later, None)
    need((tk.probe(first.byte_array).pos0, tk.probe(later.byte_array).pos0) ==
         (0, 500), "pos0")
    src.metadata.cached_positions, results = None, []

    def work():
        own, out = Bytes(room), blank(src)
        same = p.ser.serialize(src, own, None) == n and \
            own.tensors[0].data[:n] == first.tensors[0].data[:n]
        p.de.deserialize(own, out, None)
        results.append(same)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    need(results == [True] * 4, "the same on every thread: %s" % results)


@case("LMCache: a module of it, with the serializer registered")
def _():
    for folder in "lmcache", "lmcache/v1", "lmcache/v1/distributed", \
            "lmcache/v1/distributed/serde":
        os.mkdir(folder)
        open(folder + "/__init__.py", "w").close()
    serde = "lmcache/v1/distributed/serde/"
    with open(serde + "base.py", "w") as file:
        file.write("class Serializer: pass\nclass Deserializer: pass\n")
    with open(serde + "__init__.py", "w") as file:
        file.write("known = {}\nregister_serde_factory = known.__setitem__\n")
    with open("lmcache/server.py", "w") as file:
        file.write("import sys\nfrom lmcache.v1.distributed.serde import known\n"
                   "print(__name__, *known, *sys.argv[1:])\n")
    done = subprocess.run([sys.executable, "-m", "tessera_kv.lmcache",
                           "lmcache.server", "--port", "9"], capture_output=True)
    need(done.stdout.decode().split() == ["__main__", "tessera", "--port", "9"],
         done.stdout.decode() + done.stderr.decode())


# ---- what is installed ----

@case("numpy")
def _():
    try:
        import numpy
    except ImportError:
        return "SKIP no numpy"
    kv = numpy.frombuffer(CACHE, numpy.float16).reshape(
        2, LAYERS, TOKENS, HEADS, DIM)
    want = coder().encode(tk.View(cache(), "2LTHD"))
    for view in (tk.View(kv, "2LTHD"),
                 tk.View(kv.transpose(1, 2, 0, 3, 4), "LT2HD"),
                 tk.View(kv.view(numpy.uint16), "2LTHD", dtype="f16"),
                 tk.View(list(kv.reshape(2, LAYERS, TOKENS, -1)), "LTC")):
        need(coder().encode(view) == want, view.layout)
    out = numpy.zeros_like(kv)
    coder().decode(numpy.frombuffer(want, numpy.uint8),
                   tk.View(out.transpose(2, 0, 1, 3, 4), "T2LHD"))
    need(numpy.abs(out - kv).max() < 0.03, "far off")
    refused(ValueError, tk.View, kv[..., ::2].astype(">f2"), "2LTHD")
    refused(ValueError, coder().encode, tk.View(kv[..., ::-1], "2LTHD"))
    return None


@case("torch")
def _():
    try:
        import torch
    except ImportError:
        return "SKIP no torch"
    kv = torch.tensor(VALUES).reshape(2, LAYERS, TOKENS, HEADS, DIM)
    for dtype in torch.float32, torch.bfloat16, torch.float16, \
            torch.float8_e4m3fn:
        source = kv.to(dtype)
        data = coder().encode(tk.View(source, "2LTHD"))
        out = torch.zeros(LAYERS, HEADS, TOKENS, DIM * 2).to(dtype)
        coder().decode(data, tk.View([(k, v) for k, v in zip(
            out[..., :DIM], out[..., DIM:])], "HTD"))
        k = out[..., :DIM].permute(0, 2, 1, 3).float()
        need((k - source[0].float()).abs().max() < (
            0.3 if dtype == torch.float8_e4m3fn else 0.06), str(dtype))
    return None


@case("a library that is not there")
def _():
    done = subprocess.run([sys.executable, "-c", "import tessera_kv"],
                          env={**os.environ, "TESSERA_LIB": os.getcwd()},
                          capture_output=True)
    last = done.stderr.decode().strip().split("\n")[-1]
    need(done.returncode == 1 and last.startswith("ImportError: libtessera.so") and
         "TESSERA_LIB" in last, last)


print("1..%d" % count)
