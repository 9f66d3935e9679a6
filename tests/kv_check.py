# SPDX-License-Identifier: BSD-2-Clause
"""kv_check.py TESSERA SAMPLE: objects that the program writes, read by
kv_reader.py; speaks TAP.  Works in the current folder."""
import json
import math
import random
import struct
import subprocess
import sys

import kv_reader
import rows_reader
from kv_reader import BF16, CODES, E4M3, E5M2, F16, F32, Corrupt, Object, \
    Profile, Tensors, crc32c, decode

TESSERA, SAMPLE = sys.argv[1:3]
NAMES = {F16: ("F16", "f16"), BF16: ("BF16", "bf16"), F32: ("F32", "f32"),
         E4M3: ("U8", "e4m3"), E5M2: ("U8", "e5m2")}
# What must have occurred at the end.
WANTED = {"escape of %d groups" % n for n in (1, 2, 3, 5)} | \
    {"%d low bits" % k for k in range(1, 12)} | \
    {"reach %d" % r for r in (1, 2, 3, 4, 5, 6, 8, 11, 13, 14)} | \
    {"refined %d" % m for m in range(3)} | \
    {"flag %d" % bit for bit in (1, 2, 4, 8)} | \
    {"short strip", "segments", "ids from outside", "verdict True",
     "verdict False"}
seen = set()
results = []


class Watch(rows_reader.RowSegment):
    """Tells what occurred."""

    def excess(self, strip, symbols):
        e = super().excess(strip, symbols)
        seen.update("escape of %d groups" % max(1, (v.bit_length() + 2) // 3)
                    for v in e.values())
        seen.update("%d low bits" % k for k in strip.k if k)
        seen.update("reach %d" % r for r in strip.reach)
        if len(strip.k) % 32:
            seen.add("short strip")
        return e

    def refine(self, strip, q):
        seen.update("refined %d" % min(abs(v), 2) for v in q)
        return super().refine(strip, q)


rows_reader.RowSegment = Watch


def verdict(name, why=None):
    results.append(not why)
    print("%s %d - %s" % ("not ok" if why else "ok", len(results), name))
    for line in (why or "").splitlines():
        print("#", line)


def run(*words):
    """What is wrong with a call of the program, if anything."""
    done = subprocess.run([TESSERA, "kv", "-y", *map(str, words)],
                          stdin=subprocess.DEVNULL, capture_output=True)
    return None if done.returncode == 0 else "%s: %d %s" % (
        " ".join(map(str, words)), done.returncode, done.stderr.decode())


def read(name):
    with open(name, "rb") as file:
        return file.read()


def write(name, data):
    with open(name, "wb") as file:
        file.write(data)


# ---- Files

def tensors(name, content, meta=None):
    """A model file.  content: name: (type, dims, numbers or bytes)."""
    head, data = {"__metadata__": meta or {}}, b""
    for key, (kind, dims, what) in content.items():
        if not isinstance(what, bytes):
            what = struct.pack("<%d%s" % (len(what), CODES[kind]), *what)
        head[key] = {"dtype": kind, "shape": dims,
                     "data_offsets": [len(data), len(data) + len(what)]}
        data += what + b"\0" * (-len(what) % 8)
        head[key]["data_offsets"][1] = head[key]["data_offsets"][0] + len(what)
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    write(name, struct.pack("<Q", len(text)) + text + data)


class Shape:
    def __init__(self, layers, planes, heads, dim, tokens, dtype):
        self.layers, self.planes, self.heads, self.dim = \
            layers, planes, heads, dim
        self.tokens, self.dtype = tokens, dtype

    @property
    def width(self):
        return self.heads * self.dim


def make_cache(name, shape, spread, rng, words=40):
    """Channels of spreads between powers of two, and now and then a value far
    out.  Text that repeats."""
    far = 40 if spread[1] < 12 else 1
    content = {}
    text = [rng.randrange(words) for _ in range(shape.tokens)]
    for at in range(20, shape.tokens - 20, 30):
        start = rng.randrange(at)
        text[at:at + 15] = text[start:start + 15]
    text = text[:shape.tokens]
    for layer in range(shape.layers):
        for what in ("key", "value") if shape.planes == 2 else ("latent",):
            scale = [2.0 ** rng.uniform(*spread) for _ in range(shape.width)]
            words = {}
            rows = []
            for t in range(shape.tokens):
                old = words.setdefault(text[t], [rng.gauss(0, 1)
                                                 for _ in scale])
                rows.append([s * (0.8 * w + 0.4 * rng.gauss(0, 1)) *
                             (far if rng.random() < 0.01 else 1)
                             for s, w in zip(scale, old)])
            cut = [x for h in range(shape.heads) for row in rows
                   for x in row[h * shape.dim:(h + 1) * shape.dim]]
            content["layers.%d.%s" % (layer, what)] = (
                NAMES[shape.dtype][0], [shape.heads, shape.tokens, shape.dim],
                kv_reader.store(cut, shape.dtype))
    content["token_ids"] = "I32", [shape.tokens], text
    tensors(name, content)
    return text


# ---- There and back

def rows_of(name, o, levels, profile):
    """What the program unpacks, as kv_reader.decode() has it."""
    if o.size == 0:
        return None
    why = run("unpack", "-nostats", "-level", levels, "-layout",
              "2LTC" if o.planes == 2 else "LTC", *profile, name, "out.bin")
    if why:
        raise Corrupt(why)
    data, out = read("out.bin"), []
    size = {F16: 2, BF16: 2, F32: 4}.get(o.dtype, 1) * o.width(0) * o.tokens
    planes = o.layers * o.planes
    if len(data) != planes * size:
        raise Corrupt("%d bytes unpacked" % len(data))
    for plane in range(planes):
        at = (plane % o.planes * o.layers + plane // o.planes) * size
        out.append(data[at:at + size])
    return out


def differ(o, got, want):
    for plane, (rows, right) in enumerate(zip(got, want)):
        rows = b"".join(rows)
        if rows != right:
            at = next(i for i, pair in enumerate(zip(rows, right))
                      if pair[0] != pair[1])
            one = len(right) // o.tokens
            return "plane %d, token %d, byte %d of %d; %d bytes differ" % (
                plane, at // one, at % one, one,
                sum(a != b for a, b in zip(rows, right)))
    return None


def compare(name, profile=None, path=None):
    """A file of one object, at each level, and reduced to it."""
    option = ["-profile", path] if path else []
    data = read(name)
    o = Object(data)
    for levels in range(1, o.levels + 1):
        _, got = decode(data, profile, levels)
        why = differ(o, got, rows_of(name, o, levels, option))
        if why:
            return "level %d: %s" % (levels, why)
        if levels < o.levels:
            why = run("reduce", "-level", levels, name, "less.tkv")
            if why or decode(read("less.tkv"), profile)[1] != got or differ(
                    o, got, rows_of("less.tkv", o, levels, option)):
                return why or "reduced to %d: differs" % levels
    seen.update("flag %d" % bit for bit in (1, 2, 4, 8) if o.flags & bit)
    if o.width(0) > o.span:
        seen.add("segments")
    return None


def try_case(what, work, *rest):
    try:
        why = work(*rest)
    except Corrupt as error:
        why = str(error)
    if why and "no LAPACK" in why:
        results.append(True)
        print("ok %d # SKIP %s: no LAPACK" % (len(results), what))
    else:
        verdict(what, why)


# ---- Without a profile

CASES = [
    # name, shape, spread, options
    ("f16, levels, boosts", Shape(2, 2, 2, 16, 101, F16), (-3, 4),
     "-levels 3 -tile 32 -recent 20 -boost 3 -rope 10000 -pos0 1000"),
    ("bf16 latent", Shape(2, 1, 1, 48, 77, BF16), (-3, 3), "-levels 2"),
    ("f32, pairs of neighbours, linear", Shape(1, 2, 1, 32, 70, F32), (-4, 4),
     "-rope layout=2,offset=8,dims=16,theta=500000,factor=4 -pos0 70000"
     " -sinks 40 -tile 32 -levels 3"),
    ("f32, Llama 3", Shape(1, 2, 3, 16, 64, F32), (-3, 3),
     "-rope theta=500000,factor=8,low=1,high=4,original=8192 -pos0 123456789"),
    ("e4m3", Shape(1, 2, 2, 8, 40, E4M3), (-3, 2), "-dtype e4m3 -rope 100"),
    ("e5m2", Shape(1, 2, 2, 8, 40, E5M2), (-3, 2), "-dtype e5m2 -rope 100"),
    ("far values", Shape(2, 2, 1, 40, 90, F32), (0, 11),
     "-step 32 -value_ratio 1 -levels 2 -recent 99 -boost 1"),
    ("wide spread", Shape(1, 2, 1, 72, 40, F32), (-3, 12.6),
     "-step 1 -value_ratio 1 -levels 1"),
    ("one token", Shape(3, 2, 1, 4, 1, F16), (0, 1), "-sinks 0"),
    ("sinks alone", Shape(2, 2, 1, 4, 4, F16), (0, 1), "-rope 10000"),
    ("nothing", Shape(2, 2, 1, 4, 0, F16), (0, 1), ""),
    ("wide", Shape(1, 1, 5, 1000, 9, F16), (-2, 2), "-levels 2"),
]


def plain_case(shape, spread, options, rng):
    make_cache("c.safetensors", shape, spread, rng)
    options = options.split()
    if "-step" not in options:
        options += ["-step", "0.25", "-value_ratio", "1.5"]
    return run("pack", "-nostats", *options, "c.safetensors", "c.tkv") or \
        compare("c.tkv")


def objects_case(rng):
    """Objects one behind another."""
    make_cache("c.safetensors", Shape(1, 2, 1, 16, 100, F16), (-2, 2), rng)
    why = run("pack", "-nostats", "-chunk", 37, "c.safetensors", "c.tkv")
    if why:
        return why
    data, right = read("c.tkv"), []
    planes = [b"", b""]
    while data:
        o, got = decode(data)
        planes = [a + b"".join(b) for a, b in zip(planes, got)]
        data = data[o.size:]
        right.append(o.tokens)
    why = run("unpack", "-nostats", "-layout", "2LTC", "c.tkv", "out.bin")
    return why or (None if right == [37, 37, 26] and b"".join(planes) ==
                   read("out.bin") else "objects differ: %s" % right)


# ---- With a profile

def orthogonal(n, rng):
    rows = []
    for _ in range(n):
        row = [rng.gauss(0, 1) for _ in range(n)]
        for other in rows:
            dot = sum(map(float.__mul__, row, other))
            row = [a - dot * b for a, b in zip(row, other)]
        length = math.sqrt(sum(a * a for a in row))
        rows.append([a / length for a in row])
    return rows


def make_profile(name, shape, rng, join=0, kind=0, anchor=0, matches=1, r=None,
                 floats="F32", predictors=0, hadamard=0, scale=False, bias=0,
                 dead=3, step=0.5, rope=(0,) * 9, rho=True, top=30):
    """join: layers of a group, 0: planes."""
    groups = shape.layers // join if join else shape.layers * shape.planes
    n = shape.width * (shape.planes * join or 1)
    content = {
        "kv.shape": ("I32", [6], ([shape.layers, shape.planes] + 2 * [
            shape.heads, shape.dim] + [0, 0])[:2 + 2 * shape.planes] +
                     [0, 0] * (2 - shape.planes)),
        "kv.rope": ("F64", [9], rope),
        "kv.groups": ("I32", [groups, 3], sum((
            [g * join, join, -1] if join else
            [g // shape.planes, 1, g % 2 if shape.planes == 2 else -1]
            for g in range(groups)), [])),
        "kv.step": ("F32", [1], [step]),
        "kv.bias": ("I32", [1], [bias]),
        "kv.dead": ("I32", [1], [dead]),
        "kv.hadamard": ("I32", [1], [hadamard]),
        "kv.reference": ("I32", [2], [kind, anchor]),
        "kv.predictors": ("I32", [1], [predictors]),
        "other": ("F32", [1], [math.nan]),
    }
    hidden, words = 6, 30
    if predictors:
        content["embedding"] = ("F16", [words, hidden], [
            rng.gauss(0, 1) for _ in range(words * hidden)])
    for g in range(groups):
        def put(what, kind, dims, numbers):
            content["g.%d.%s" % (g, what)] = kind, dims, numbers
        m = r or n
        put("mean", floats, [n], [rng.gauss(0, 1) for _ in range(n)])
        if scale:
            put("scale", floats, [n], [2 ** rng.uniform(-1, 1)
                                       for _ in range(n)])
        if r:
            rows = sum(orthogonal(n, rng)[:r], [])
            put("forward", floats, [r, n], rows)
            put("inverse", floats, [r, n], rows)
        put("class", "U8", [matches, m], [
            min(63, max(0, int(top * (1 - i / m) + rng.uniform(-4, 4))))
            for _ in range(matches) for i in range(m)])
        if rho:
            put("rho", "I8", [matches, m], [rng.randrange(-20, 64)
                                            for _ in range(matches * m)])
        if predictors:
            put("words", floats, [predictors * hidden + 1, n], [
                rng.gauss(0, 0.3) for _ in range((predictors * hidden + 1) * n)])
    tensors(name, content, {"tessera.codec": "kv-profile"})


TURN = (1, 0, 16, 10000.0, 0, 0, 0, 0, 0)
PROFILES = [
    # name, layers, planes, heads, dim, tokens, dtype; profile; options
    ("planes turned, previous token", Shape(2, 2, 2, 16, 75, F32),
     dict(kind=1, hadamard=1, scale=True, rope=TURN, matches=8),
     "-tile 32 -levels 3 -recent 9"),
    ("layers, matches, words", Shape(2, 2, 1, 16, 101, F32),
     dict(join=1, kind=3, matches=8, r=29, predictors=2, bias=8, rope=TURN),
     "-tile 32 -levels 3 -recent 30 -boost 1"),
    ("two layers joined, anchors", Shape(4, 2, 1, 8, 60, F16),
     dict(join=2, kind=2, anchor=10, floats="F16", r=32, scale=True),
     "-levels 2 -step 0.25 -sinks 12"),
    ("latent, matches in one class", Shape(2, 1, 1, 24, 90, BF16),
     dict(kind=3, matches=1, predictors=1), "-step 2 -levels 2"),
    ("nothing lives", Shape(1, 2, 1, 8, 40, F32),
     dict(dead=64, predictors=4, r=5, join=1), ""),
    ("classes that end at limits", Shape(1, 1, 2, 32, 40, F32),
     dict(top=80, bias=60, dead=0, matches=8, kind=1, rho=False), "-levels 3"),
    ("coarse", Shape(1, 1, 2, 32, 40, F32),
     dict(bias=0, kind=1, dead=0, top=20), "-step 40 -levels 3"),
    ("no references that profile wants ids for", Shape(1, 2, 2, 8, 50, F32),
     dict(kind=0, matches=8, predictors=0, rho=True), "-levels 2"),
]


def profile_case(shape, profile, options, rng):
    make_cache("c.safetensors", shape, (-2, 3), rng)
    make_profile("p.safetensors", shape, rng, **profile)
    path = ["-profile", "./p.safetensors"]
    p = Profile(read("p.safetensors"))
    why = run("pack", "-nostats", *path, *options.split(), "c.safetensors",
              "c.tkv") or compare("c.tkv", p, "./p.safetensors")
    if why or Object(read("c.tkv")).flags & 5 != 5:
        return why
    return run("pack", "-nostats", *path, "-no_ids", *options.split(),
               "c.safetensors", "n.tkv") or ids_from_outside(p)


def ids_from_outside(profile):
    whole = decode(read("c.tkv"), profile)
    ids = whole[0].ids
    again = decode(read("n.tkv"), profile, 0, ids)
    seen.add("ids from outside")
    if again[0].ids is not None or again[1] != whole[1]:
        return "without ids: differs"
    return None


def no_ids_case(rng):
    """A cache without ids, with a profile that would use them."""
    shape = Shape(1, 2, 1, 16, 50, F32)
    make_cache("c.safetensors", shape, (-2, 3), rng)
    make_profile("p.safetensors", shape, rng, join=1, kind=3, matches=8,
                 predictors=1)
    content = Tensors(read("c.safetensors")).tensor
    del content["token_ids"]
    tensors("c.safetensors", content)
    return run("pack", "-nostats", "-profile", "./p.safetensors",
               "c.safetensors", "c.tkv") or \
        compare("c.tkv", Profile(read("p.safetensors")), "./p.safetensors")


# ---- The sample, and a profile that the program makes

def cut_sample(name, layers, tokens, dim):
    """Some layers, tokens and dims of the sample."""
    whole, content = Tensors(read(SAMPLE)), {}
    for layer in range(layers):
        for what in "key", "value":
            key = "layers.%d.%s" % (layer, what)
            kind, (heads, n, d), data = whole.tensor[key]
            content[key] = kind, [heads, tokens, dim], b"".join(
                data[2 * d * (h * n + t):2 * (d * (h * n + t) + dim)]
                for h in range(heads) for t in range(tokens))
    ids = whole.tensor["token_ids"][2]
    content["token_ids"] = "I32", [tokens], ids[:4 * tokens]
    tensors(name, content, {"rope_theta": "10000"})


def sample_case():
    cut_sample("s.safetensors", 2, 120, 128)
    return run("pack", "-nostats", "s.safetensors", "s.tkv") or compare("s.tkv")


def made_profile_case():
    cut_sample("s.safetensors", 2, 100, 16)
    rng = random.Random(5)
    ids = struct.unpack("<100i", Tensors(
        read("s.safetensors")).tensor["token_ids"][2])
    words = max(ids)        # one too few: the last is not in the vocabulary
    tensors("e.safetensors", {"embedding": ("F16", [words, 4], [
        rng.gauss(0, 1) for _ in range(4 * words)])})
    why = run("profile", "-nostats", "-match", "-predict", 2, "-statistics",
              "./e.safetensors", "-o", "m.safetensors", "s.safetensors")
    if why:
        return why
    p = Profile(read("m.safetensors"))
    return run("pack", "-nostats", "-profile", "./m.safetensors", "-step", 0.5,
               "-levels", 2, "-tile", 64, "s.safetensors", "s.tkv") or \
        compare("s.tkv", p, "./m.safetensors")


# ---- Damage: both must say the same

def seal(data):
    """The CRC of the front made anew."""
    front, = struct.unpack_from("<I", data, 152)
    groups, = struct.unpack_from("<I", data, 44)
    tokens, _, tile = struct.unpack_from("<IIH", data, 20)
    tiles = (tokens + tile - 1) // tile if tile else 0
    end = 160 + front + 8 * (groups + groups * tiles * data[11])
    if end + 4 <= len(data):
        data[end:end + 4] = struct.pack("<I", crc32c(data[:end]))
    return data


def judge(data, profile=None):
    try:
        decode(bytes(data), profile)
        return True
    except Corrupt:
        return False


FIELDS = [  # at, type, values
    (4, "B", (0, 2)), (5, "B", (11, 255)), (6, "B", (0, 2, 4, 8, 16, 128)),
    (7, "B", (0, 3, 6)), (8, "H", (0, 1, 3, 1025)), (10, "B", (0, 1, 3)),
    (11, "B", (0, 1, 3, 4)), (12, "H", (0, 1, 1025)), (14, "H", (0, 1)),
    (16, "H", (0, 8, 2049)), (18, "H", (0, 8)), (20, "I", (0, 41, 1 << 20)),
    (24, "I", (0, 1 << 31, (1 << 31) + 1)), (28, "H", (0, 16, 64, 4128)),
    (30, "H", (0, 16, 64, 4096, 4128)),
    (32, "f", (0.0, -1.0, 1e-31, 1e31, math.inf, math.nan, 0.1, 2.0)),
    (36, "f", (-1.0, math.nan, 0.1, 2.0)),
    (40, "b", (1, -1)), (41, "B", (0, 5, 41, 65)), (42, "B", (0, 32, 5)),
    (43, "b", (1, -1)), (44, "I", (0, 1, 2, 3, 8)), (48, "B", (1,)),
    (56, "Q", (0, 160, 1 << 63)), (64, "B", (0, 2, 3)), (65, "B", (1, 2, 3)),
    (66, "H", (2, 40)), (68, "H", (0, 2, 15, 18)), (70, "H", (1,)),
    (72, "d", (0.0, 0.5, 1.0, 1e12, 1e13, math.inf, math.nan)),
    (80, "d", (1.0, -1.0, math.nan)), (88, "d", (1.0, math.nan)),
    (96, "d", (1.0,)), (104, "I", (1,)), (108, "I", (1,)), (112, "B", (1,)),
    (151, "B", (1,)), (152, "I", (0, 1, 1 << 31)), (156, "I", (1,)),
]


def damage_case(name, option, profile):
    """Fields of the header, one at a time: all, or those that say other things
    where there is a profile."""
    good, bad = read(name), []
    for at, kind, values in FIELDS:
        if profile and at not in (6, 30, 36, 40, 43, 44, 48, 64, 68):
            continue
        for value in values:
            data = bytearray(good)
            struct.pack_into("<" + kind, data, at, value)
            seal(data)
            write("bad.tkv", data)
            ours = judge(data, profile)
            why = run("unpack", "-nostats", *option, "bad.tkv", "out.bin")
            seen.add("verdict %s" % ours)
            if ours == bool(why):
                bad.append("at %d: %s: %s" % (at, value, why or "taken"))
    return "\n".join(bad)


def flip_case(name, rng):
    """Any bit, and the CRC as it was; and less than all."""
    good, taken = read(name), []
    for i in range(24):
        at = rng.randrange(len(good))
        data = bytearray(good[:at] if i < 4 else good)
        if i >= 4:
            data[at] ^= 1 << rng.randrange(8)
        write("bad.tkv", data)
        if judge(data) or not run("unpack", "-nostats", "bad.tkv", "out.bin"):
            taken.append("%s at %d is taken" % ("flip" if i >= 4 else "cut", at))
    return "\n".join(taken)


def damage(rng):
    shape = Shape(2, 2, 2, 16, 40, F16)
    make_cache("c.safetensors", shape, (-2, 2), rng)
    make_profile("p.safetensors", shape, rng, kind=3, matches=8, predictors=1,
                 rope=TURN, join=1)
    path = ["-profile", "./p.safetensors"]
    common = "pack -nostats -tile 32 -levels 2 -recent 3".split()
    why = run(*common, "-rope", 10000, "c.safetensors", "c.tkv") or \
        run(*common, *path, "c.safetensors", "p.tkv")
    if why:
        return verdict("to be damaged", why)
    try_case("flips and cuts", flip_case, "c.tkv", rng)
    try_case("fields of the header", damage_case, "c.tkv", [], None)
    try_case("fields of the header, profile", damage_case, "p.tkv", path,
             Profile(read("p.safetensors")))


def main():
    for i, (name, *rest) in enumerate(CASES):
        try_case(name, plain_case, *rest, random.Random(i))
    try_case("several objects", objects_case, random.Random(50))
    for i, (name, *rest) in enumerate(PROFILES):
        try_case("profile: " + name, profile_case, *rest, random.Random(100 + i))
    try_case("profile: no ids", no_ids_case, random.Random(60))
    try_case("the sample", sample_case)
    try_case("a profile of the sample", made_profile_case)
    damage(random.Random(70))
    missing = WANTED - seen
    verdict("all of it occurred", ", ".join(sorted(missing)))
    print("1..%d" % len(results))


main()
