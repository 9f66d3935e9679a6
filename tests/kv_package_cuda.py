# SPDX-License-Identifier: BSD-2-Clause
"""The Python package tessera_kv with tensors on a GPU: the objects and the caches
of the host, to the bit.  Speaks TAP; needs torch and a CUDA device."""
import sys

try:
    import torch
except ImportError:
    torch = None
if not torch or not torch.cuda.is_available():
    print("1..0 # SKIP no torch, or no CUDA device for it")
    sys.exit(0)

import tessera_kv as tk     # noqa: E402: once it is known to be needed

LAYERS, HEADS, DIM, TOKENS, CHUNK = 3, 2, 64, 150, 64
BLOCKS, BLOCK = 12, 16
count = 0


def verdict(good, what):
    global count
    count += 1
    print("%s %d - %s" % ("ok" if good else "not ok", count, what))


def coder(**more):
    return tk.Coder(LAYERS, HEADS, DIM, rope=tk.Rope(5e5, DIM), **more)


def parts(work, n=TOKENS):
    return [work(at, min(CHUNK, n - at)) for at in range(0, n, CHUNK)]


def check(name, dtype, ids=None, **settings):
    """A cache [2, L, T, H, D] there and here."""
    cache = torch.randn(2, LAYERS, TOKENS, HEADS, DIM).to(dtype)
    there = cache.cuda()
    here, twin = coder(**settings), tk.CudaCoder(coder(**settings))
    objects = twin.encode(tk.View(there, "2LTHD"), chunk=CHUNK, pos0=1000,
                          token_ids=ids)
    host = parts(lambda at, n: here.encode(
        tk.View(cache[:, :, at:at + n], "2LTHD"), pos0=1000 + at,
        token_ids=ids and ids[at:at + n]))
    verdict([bytes(o.tolist()) for o in objects] == host, name + ": objects")
    back, twice = torch.zeros_like(there), torch.zeros_like(there)
    plain = torch.zeros_like(cache)
    twin.decode(objects, tk.View(back, "2LTHD"), chunk=CHUNK)
    twin.decode(host, tk.View(twice, "2LTHD"), chunk=CHUNK)
    for at, o in zip(range(0, TOKENS, CHUNK), host):
        here.decode(o, tk.View(plain[:, :, at:at + CHUNK], "2LTHD"))
    verdict(torch.equal(back.cpu(), plain) and torch.equal(twice, back),
            name + ": caches")
    return objects


objects = check("bf16", torch.bfloat16, step=.5, value_ratio=1.0, levels=2,
                ids=[i * 7 % 100 for i in range(TOKENS)])
check("fp16", torch.float16, step=.25, value_ratio=1.25)
check("fp8", torch.float16, method="fp8:plain=1")

pages = [torch.zeros(2, BLOCKS, BLOCK, HEADS, DIM, dtype=torch.bfloat16).cuda()
         for _ in range(LAYERS)]
order = [7, 2, 11, 0, 5, 3, 9, 1, 4, 10]
twin = tk.CudaCoder(coder(step=.5, value_ratio=1.0, levels=2))
twin.decode(objects, tk.View(pages, "2BSHD", blocks=order, tokens=TOKENS),
            chunk=CHUNK)
flat = torch.zeros(2, LAYERS, TOKENS, HEADS, DIM, dtype=torch.bfloat16).cuda()
twin.decode(objects, tk.View(flat, "2LTHD"), chunk=CHUNK)
verdict(all(torch.equal(pages[layer][:, b, :min(BLOCK, TOKENS - BLOCK * i)],
                        flat[:, layer, BLOCK * i:BLOCK * (i + 1)])
            for layer in range(LAYERS) for i, b in enumerate(order)), "pages")
paged = twin.encode(tk.View(pages, "2BSHD", blocks=order, tokens=TOKENS),
                    chunk=CHUNK)
verdict(all(torch.equal(a, b) for a, b in zip(
    paged, twin.encode(tk.View(flat, "2LTHD"), chunk=CHUNK))), "from pages")
some = torch.zeros_like(flat)
twin.decode(objects, tk.View(some, "2LTHD"), chunk=CHUNK, tokens=(CHUNK - 9, 20))
whole = torch.zeros_like(flat)
whole[:, :, CHUNK - 9:CHUNK + 11] = flat[:, :, CHUNK - 9:CHUNK + 11]
verdict(torch.equal(some, whole), "some tokens")
twin.decode(objects, tk.View(flat, "2LTHD"), chunk=CHUNK, levels=1)


def refused(kind, work):
    try:
        work()
    except kind as error:
        return kind is ValueError or error.name
    return None


bad = objects[1].clone()
bad[-1] ^= 1
verdict(refused(tk.TesseraError, lambda: twin.decode(
    [objects[0], bad, objects[2]], tk.View(flat, "2LTHD"), chunk=CHUNK)) ==
    "CHECKSUM", "damage")
verdict(refused(ValueError, lambda: twin.encode(tk.View(flat.cpu(), "2LTHD"))) and
        refused(ValueError, lambda: coder().encode(tk.View(flat, "2LTHD"))) and
        refused(ValueError, lambda: twin.decode(objects[1:], tk.View(
            flat, "2LTHD"), chunk=CHUNK)), "what is elsewhere, or missing")
print("1..%d" % count)
