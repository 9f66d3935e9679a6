# SPDX-License-Identifier: BSD-2-Clause
"""Objects made and read on a CUDA device: caches that are torch tensors there.
Needs torch, for memory; the bytes are those of codec.Coder."""
from ctypes import byref, c_size_t, c_void_p

from . import _library as lib

ALIGN = 16      # of objects


def rounded(n):
    return -(-n // ALIGN) * ALIGN


class CudaCoder:
    """A coder's twin on a device.

    coder   the Coder whose settings it has; used for nothing else while a call
            of this one runs
    device  its number

    Views are of tensors on that device.  Work is queued on torch's current
    stream there, and waited for.  One call at a time.
    """

    def __init__(self, coder, device=0):
        import torch
        self.torch, self.coder = torch, coder
        self.device = torch.device("cuda", device)
        self.handle, self.scratch = c_void_p(), None
        self.check(lib.core.tsr_kv_cuda_open(byref(self.handle), coder.handle,
                                             device))

    def __del__(self):
        if getattr(self, "handle", None):
            lib.core.tsr_kv_cuda_close(byref(self.handle))

    def check(self, code):
        self.coder.context.check(code)

    def empty(self, n, dtype=None):
        return self.torch.empty(n, dtype=dtype or self.torch.uint8,
                                device=self.device)

    def numbers(self, values, dtype, n, what):
        """n integers there, or None; a tensor, or whatever makes one."""
        if values is None:
            return None
        t = self.torch.as_tensor(values, dtype=dtype, device=self.device)
        if t.dim() != 1 or len(t) != n:
            raise ValueError("%s of %s for %d tokens" % (
                what, tuple(t.shape), n))
        return t.contiguous()

    def fit(self, view, writable):
        """The C structure, its block table on the device."""
        what = view.fit(self.coder.shape, writable, self.device.index)
        if view.blocks is not None:
            what.table = self.torch.tensor(list(view.blocks) or [0],
                                           dtype=self.torch.int32,
                                           device=self.device)
            what.blocks = what.table.data_ptr()
        return what

    def run(self, function, what, rows, first, tokens):
        """Calls with items of `tokens` tokens each from token `first` on, rows
        saying the rest of each; the items' statuses are all good on return."""
        n, size = len(rows), c_size_t()
        status = self.torch.zeros(n, dtype=self.torch.int32,
                                  device=self.device)
        items = (lib.CudaItem * n)()
        for i, row in enumerate(rows):
            items[i].view, items[i].first_token = what, first + i * tokens
            items[i].status = status.data_ptr() + 4 * i
            for name, value in row.items():
                setattr(items[i], name, value)
        self.check(lib.core.tsr_kv_cuda_scratch_size(self.handle, tokens, n,
                                                     byref(size)))
        if self.scratch is None or len(self.scratch) < size.value:
            self.scratch = self.empty(size.value)
        stream = self.torch.cuda.current_stream(self.device)
        self.check(function(self.handle, items, n, tokens,
                            self.scratch.data_ptr(), len(self.scratch),
                            stream.cuda_stream))
        for code in status.tolist():    # waits
            self.check(code)

    def encode(self, view, *, chunk=256, pos0=0, token_ids=None, boost=None):
        """Objects of `chunk` tokens each, the last of what is left: a list of
        tensors of bytes on the device.  A step must be set."""
        with self.torch.cuda.device(self.device):
            what, n = self.fit(view, False), view.tokens
            ids = self.numbers(token_ids, self.torch.int32, n, "token ids")
            boosts = self.numbers(boost, self.torch.uint8, n, "boosts")
            found = []
            for first, count, tokens in runs(n, chunk):
                found += self.encode_some(what, first, count, tokens, pos0,
                                          ids, boosts)
            return found

    def encode_some(self, what, first, count, tokens, pos0, ids, boosts):
        room = rounded(self.coder.bound(tokens))
        data = self.empty(count * room)
        sizes = self.torch.zeros(count, dtype=self.torch.int64,
                                 device=self.device)
        rows = []
        for i in range(count):
            at = first + i * tokens
            rows.append({
                "pos0": pos0 + at, "data": data.data_ptr() + i * room,
                "size": room, "bytes": sizes.data_ptr() + 8 * i,
                "token_ids": ids is not None and
                ids.data_ptr() + 4 * at or None,
                "boost": boosts is not None and
                boosts.data_ptr() + at or None})
        self.run(lib.core.tsr_kv_cuda_encode, what, rows, first, tokens)
        return [data[i * room:i * room + size].clone()
                for i, size in enumerate(sizes.tolist())]

    def decode(self, objects, view, *, chunk=256, tokens=None, levels=0,
               token_ids=None):
        """Decodes objects into the view: object i has the tokens from i * chunk
        on, `chunk` of them, or what is left.  objects: tensors of bytes, on the
        device or not, or bytes; tokens: (first, number) of those that are wanted,
        of the view, 0: all from there on.  Objects without any are not looked at."""
        with self.torch.cuda.device(self.device):
            what, n = self.fit(view, True), view.tokens
            ids = self.numbers(token_ids, self.torch.int32, n, "token ids")
            if len(objects) != -(-n // chunk):
                raise ValueError("%d objects of %d tokens for %d" % (
                    len(objects), chunk, n))
            begin, some = tokens or (0, 0)
            end = begin + some if some else n
            if not 0 <= begin <= end <= n:
                raise ValueError("tokens %d to %d of %d" % (begin, end, n))
            i = 0
            for first, count, each in runs(n, chunk):
                lowest = max(0, (begin - first) // each)
                highest = min(count, -((first - end) // each))
                if lowest < highest and begin < end:
                    self.decode_some(objects[i + lowest:i + highest], what,
                                     first + lowest * each, each, (begin, end),
                                     levels, ids)
                i += count

    def decode_some(self, objects, what, first, tokens, wanted, levels, ids):
        torch, parts = self.torch, []
        for o in objects:
            if not torch.is_tensor(o):
                o = torch.frombuffer(bytearray(o), dtype=torch.uint8)
            parts.append(o)
        place, places = 0, []
        for o in parts:
            places.append(place)
            place += rounded(len(o))
        data = self.empty(place)
        rows = []
        for i, (o, at) in enumerate(zip(parts, places)):
            data[at:at + len(o)].copy_(o)
            here = first + i * tokens
            begin = max(wanted[0] - here, 0)
            rows.append({
                "data": data.data_ptr() + at, "size": len(o), "level": levels,
                "part_first": begin,
                "part_tokens": min(wanted[1] - here, tokens) - begin,
                "token_ids": ids is not None and
                ids.data_ptr() + 4 * (first + i * tokens) or None})
        self.run(lib.core.tsr_kv_cuda_decode, what, rows, first, tokens)


def runs(n, chunk):
    """(first, how many, tokens of each) of the calls for n tokens."""
    if chunk < 1:
        raise ValueError("chunks of %d tokens" % chunk)
    whole, rest = divmod(n, chunk)
    found = [(0, whole, chunk)] if whole else []
    return found + ([(whole * chunk, 1, rest)] if rest else [])
