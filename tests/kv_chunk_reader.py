# SPDX-License-Identifier: BSD-2-Clause
"""A second implementation of docs/kv-store.md, sections 1 and 2, written from
that page, standard library only.  For tests: slow."""
import hashlib
import struct

from kv_reader import Object
from rows_reader import need
from tess_reader import crc32c

HEAD = struct.Struct("<4sBBHII32s32sQQQQQII")
MAGIC = b"\x89TKS"


def names(model, profile, chunks):
    """Names of chunks, each a list of token ids."""
    model, out = model.encode(), []
    name = hashlib.sha256(b"tessera kv 1\n" + struct.pack("<I", len(model)) +
                          model + (profile or bytes(8))).digest()
    for ids in chunks:
        name = hashlib.sha256(name + struct.pack("<I%di" % len(ids), len(ids),
                                                 *ids)).digest()
        out.append(name)
    return out


class Order:
    """Where the parts of an object are in the stored chunk."""

    def __init__(self, data):
        self.o = o = Object(data)
        sizes = [len(part) for part, _ in o.parts]
        self.front = o.size - sum(sizes[o.groups:])
        self.units, at = {}, self.front     # (level, group, tile): slice
        for i, size in enumerate(sizes[o.groups:]):
            unit, level = divmod(i, o.levels)
            key = (level,) + divmod(unit, o.tiles)
            self.units[key] = slice(at, at + size)
            at += size
        self.stored, self.ends, at = {}, [], self.front + HEAD.size
        for level in range(o.levels):
            for key in sorted(k for k in self.units if k[0] == level):
                size = self.units[key].stop - self.units[key].start
                self.stored[key] = slice(at, at + size)
                at += size
            self.ends.append(at)
        self.ends += [at] * (3 - o.levels)

    def range(self, level, first, layers):
        """Bytes of a level of some layers."""
        o = self.o
        groups = [g for g in range(o.groups)
                  if any(first <= p // o.planes < first + layers
                         for p in o.group_planes(g))]
        parts = [self.stored[level, g, t] for g in groups
                 for t in range(o.tiles)]
        return (min(p.start for p in parts), max(p.stop for p in parts))


def wrap(name, data):
    order = Order(data)
    o = order.o
    body = data[:order.front] + b"".join(
        data[order.units[key]] for key in sorted(order.units))
    head = HEAD.pack(MAGIC, 1, o.levels, o.layers, o.tokens, o.pos0, name,
                     hashlib.sha256(body).digest(), o.size,
                     order.front + HEAD.size, *order.ends, 0, 0)[:-4]
    return head + struct.pack("<I", crc32c(head)) + body


def unwrap(data, name=None):
    """The object of a stored chunk, all of which is checked."""
    need(len(data) >= HEAD.size, "head")
    (magic, version, levels, layers, tokens, pos0, own, digest, size, front,
     *ends, zero, crc) = HEAD.unpack_from(data)
    need(magic == MAGIC and version == 1, "magic or version")
    need(crc == crc32c(data[:HEAD.size - 4]) and not zero, "CRC")
    need(1 <= levels <= 3 and 164 <= size <= 1 << 48 and front >= 292, "limits")
    need(sorted([front] + ends) == [front] + ends, "order of ends")
    need(len(data) == size + HEAD.size, "size")
    body = data[HEAD.size:]
    need(hashlib.sha256(body).digest() == digest, "SHA-256")
    need(name in (None, own), "name")
    # The front has sizes only, so that any order serves to read it.
    order = Order(body)
    o = order.o
    need((levels, layers, tokens, pos0, size, front, ends) ==
         (o.levels, o.layers, o.tokens, o.pos0, o.size,
          order.front + HEAD.size, order.ends), "not the head of its object")
    out = bytearray(body)
    for key, where in order.units.items():
        out[where] = data[order.stored[key]]
    return bytes(out)
