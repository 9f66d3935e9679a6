# SPDX-License-Identifier: BSD-2-Clause
"""Reading and writing safetensors with NumPy, and the digest that a model file carries."""
import hashlib
import json
import struct

import numpy as np

TYPES = {"F16": "<f2", "F32": "<f4", "I16": "<i2", "I32": "<i4", "U16": "<u2", "U8": "u1", "I8": "i1"}
NAMES = {np.dtype(v): k for k, v in TYPES.items()}


def digest(tensors):
    """SHA-256 over name, 0, type, 0, dims joined by x, 0, data; in the order of the names."""
    h = hashlib.sha256()
    for name in sorted(tensors):
        a = np.ascontiguousarray(tensors[name])
        h.update(name.encode() + b"\0" + NAMES[a.dtype.newbyteorder("<")].encode() + b"\0")
        h.update("x".join(map(str, a.shape)).encode() + b"\0" + a.tobytes())
    return h.hexdigest()


def save(path, tensors, metadata):
    """Data begin at a multiple of 64; wide tensors come first so that each is aligned to its element."""
    head, at = {"__metadata__": metadata}, 0
    order = sorted(tensors, key=lambda n: (-tensors[n].dtype.itemsize, n))
    for name in order:
        a = tensors[name]
        head[name] = {"dtype": NAMES[a.dtype.newbyteorder("<")], "shape": list(a.shape),
                      "data_offsets": [at, at + a.nbytes]}
        at += a.nbytes
    text = json.dumps(head, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % 64)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for name in order:
            f.write(np.ascontiguousarray(tensors[name]).tobytes())


def load(path):
    """(tensors, metadata)"""
    with open(path, "rb") as f:
        size, = struct.unpack("<Q", f.read(8))
        head = json.loads(f.read(size))
        data = f.read()
    meta = head.pop("__metadata__", {})
    out = {}
    for name, t in head.items():
        a, b = t["data_offsets"]
        out[name] = np.frombuffer(data[a:b], TYPES[t["dtype"]]).reshape(t["shape"])
    return out, meta
