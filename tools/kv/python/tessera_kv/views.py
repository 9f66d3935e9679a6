# SPDX-License-Identifier: BSD-2-Clause
"""Caches in memory of others: numpy arrays, torch tensors, and whatever has
__array_interface__.  Nothing is copied and nothing of these packages is
imported: what matters is where elements are."""
import array
import ctypes
import functools

from . import _library as lib

DTYPES = {"f16": (1, 2), "bf16": (2, 2), "f32": (3, 4), "e4m3": (4, 1),
          "e5m2": (5, 1)}
NAMES = {number: name for name, (number, _) in DTYPES.items()}
# Names that numpy, ml_dtypes and torch give to types.
KNOWN = {"float16": "f16", "bfloat16": "bf16", "float32": "f32",
         "float8_e4m3fn": "e4m3", "float8_e5m2": "e5m2"}


# What is left of a layout without L, 2 and 1, sorted.
LAYOUTS = "DHT", "CT", "DT", "BDHS", "BCS", "BDS"


class Memory:
    """Address, shape, strides in bytes and type of an array; keeps it alive."""

    def __init__(self, owner):
        self.owner, self.device = owner, None   # None: host memory
        if hasattr(owner, "data_ptr"):
            self.of_tensor(owner)
        elif hasattr(owner, "__array_interface__"):
            self.of_interface(owner)
        else:
            self.of_buffer(memoryview(owner))

    def of_tensor(self, t):
        if t.device.type not in ("cpu", "cuda"):
            raise ValueError("a tensor on %s" % t.device)
        if t.device.type == "cuda":
            self.device = t.device.index
        self.item = t.element_size()
        self.address = t.data_ptr()
        self.shape = tuple(t.shape)
        self.strides = tuple(n * self.item for n in t.stride())
        self.type = str(t.dtype).split(".")[-1]
        self.writable = True

    def of_interface(self, owner):
        what = owner.__array_interface__
        self.item = int(what["typestr"][2:])
        self.shape = tuple(what["shape"])
        self.address, readonly = what["data"]
        self.strides = what.get("strides") or contiguous(self.shape, self.item)
        self.type = str(getattr(owner, "dtype", what["typestr"][1:]))
        self.type = {"f2": "float16", "f4": "float32"}.get(self.type, self.type)
        if what["typestr"][0] == ">":
            raise ValueError("an array of big-endian numbers")
        self.writable = not readonly

    def of_buffer(self, view):
        if not view.c_contiguous:
            raise ValueError("a buffer that is not contiguous")
        self.item, self.shape = view.itemsize, tuple(view.shape)
        self.strides = contiguous(self.shape, self.item)
        self.type = {"e": "float16", "f": "float32"}.get(view.format, "bytes")
        self.writable = not view.readonly
        self.owner, self.address = view, address_of(view)

    @property
    def bytes(self):
        n = self.item
        for size in self.shape:
            n *= size
        return n


class PyBuffer(ctypes.Structure):
    """Python's own, the only way to the address of what is read-only."""
    _fields_ = [("buf", ctypes.c_void_p), ("obj", ctypes.c_void_p),
                ("len", ctypes.c_ssize_t), ("itemsize", ctypes.c_ssize_t),
                ("readonly", ctypes.c_int), ("ndim", ctypes.c_int),
                ("format", ctypes.c_char_p), ("shape", ctypes.c_void_p),
                ("strides", ctypes.c_void_p), ("suboffsets", ctypes.c_void_p),
                ("internal", ctypes.c_void_p)]


def address_of(view):
    """Of a contiguous memoryview, which must live as long as it is used."""
    buffer, api = PyBuffer(), ctypes.pythonapi
    if api.PyObject_GetBuffer(ctypes.py_object(view), ctypes.byref(buffer), 0):
        raise BufferError("a buffer without an address")
    api.PyBuffer_Release(ctypes.byref(buffer))
    return buffer.buf or 0


def contiguous(shape, item):
    strides = []
    for size in reversed(shape):
        strides.insert(0, item)
        item *= size
    return tuple(strides)


def flat(owner, what="the buffer", writable=False):
    """Memory of bytes that follow each other."""
    memory = Memory(owner)
    if memory.device is not None:
        raise ValueError(what + " is not in host memory")
    dense = contiguous(memory.shape, memory.item)
    if memory.bytes and any(n > 1 and a != b for n, a, b in zip(
            memory.shape, memory.strides, dense)):
        raise ValueError(what + " is not contiguous")
    if writable and not memory.writable:
        raise ValueError(what + " is read-only")
    return memory


@functools.lru_cache(maxsize=64)
def bytes_type(n):
    # ctypes makes a class for every size, and keeps it.
    return ctypes.c_uint8 * n


def as_bytes(owner):
    """A memoryview of a contiguous array's bytes."""
    memory = flat(owner)
    data = bytes_type(memory.bytes).from_address(memory.address)
    data.owner = memory     # for as long as the memoryview lives
    return memoryview(data)


class View:
    """A cache where it lies.

    arrays  one array, or one for each layer, or one for each plane (keys and
            values of layer 0, of layer 1 ...), or one of all layers' keys and
            one of their values; lists and tuples in it are opened, so that
            Hugging Face's ((k, v), (k, v), ...) is one
    layout  what the dimensions are, outermost first: L layer, 2 keys and
            values, T token, H head, D dim, C head and dim in one, 1 of size 1;
            paged: B block, S token of a block
    dtype   "f16", "bf16", "f32", "e4m3", "e5m2"; where the array's own type
            does not say it (uint16, uint8)
    blocks  paged: numbers of the blocks in the order of their tokens
    tokens  paged: how many, at most those of the blocks; default all

        View(kv, "2LTC")                      LMCache's KV_2LTD
        View([(k, v) for ...], "1HTD")        Hugging Face
        View(kv_caches, "2BSHD", blocks=ids)  vLLM, NHD
    """

    def __init__(self, arrays, layout, *, dtype=None, blocks=None, tokens=None):
        self.memories = [Memory(a) for a in opened(arrays)]
        if not self.memories:
            raise ValueError("no arrays")
        self.first = first = self.memories[0]
        for m in self.memories:
            if (m.shape, m.strides, m.type, m.device) != (
                    first.shape, first.strides, first.type, first.device):
                raise ValueError("arrays of a cache differ in shape, strides, "
                                 "type or device")
        self.device = first.device
        self.set_layout(layout)
        self.set_type(dtype)
        self.set_tokens(blocks, tokens)

    def set_layout(self, layout):
        if len(layout) != len(self.first.shape):
            raise ValueError("an array of %d dimensions as %s" %
                             (len(self.first.shape), layout))
        self.layout = layout
        self.size = dict(zip(layout, self.first.shape))
        self.stride = dict(zip(layout, self.first.strides))
        named = layout.replace("1", "")
        inner = "".join(sorted(set(named) - set("L2")))
        if len(set(named)) != len(named) or inner not in LAYOUTS or any(
                n != 1 for c, n in zip(layout, self.first.shape) if c == "1"):
            raise ValueError("layout %s of %s" % (layout, self.first.shape))

    def set_type(self, dtype):
        self.dtype = dtype or KNOWN.get(self.first.type)
        if self.dtype not in DTYPES:
            raise ValueError("what numbers are %s? dtype is one of %s" %
                             (self.first.type, ", ".join(DTYPES)))
        self.number, self.item = DTYPES[self.dtype]
        if self.item != self.first.item:
            raise ValueError("%s does not have %d bytes" % (self.dtype,
                                                            self.first.item))

    def set_tokens(self, blocks, tokens):
        paged = "B" in self.size
        if (blocks is not None) != paged or (tokens is not None and not paged):
            raise ValueError("blocks and tokens are for layouts with B and S")
        if not paged:
            self.blocks, self.tokens = None, self.size["T"]
            return
        ids = [int(b) for b in blocks]
        if ids and not 0 <= min(ids) <= max(ids) < self.size["B"]:
            raise ValueError("a block that is not there")
        room = len(ids) * self.size["S"]
        self.tokens = room if tokens is None else tokens
        if not 0 <= self.tokens <= room:
            raise ValueError("%d tokens in %d blocks" % (self.tokens, len(ids)))
        self.blocks = array.array("i", ids)

    def fit(self, shape, writable=False, device=None):
        """The C structure, for a coder of that lib.Shape; device: where the
        cache must be, None host memory."""
        if self.device != device:
            raise ValueError("the cache is not where the coder works (GPUs: "
                             "CudaCoder)")
        if writable and not self.is_writable():
            raise ValueError("the cache is read-only, or overlaps itself")
        base = array.array("Q", self.bases(shape.layers, shape.planes))
        view = lib.View(self.number, base.buffer_info()[0])
        view.keep = base
        self.set_strides(view, shape)
        view.tokens = self.tokens
        return view

    def is_writable(self):
        return all(m.writable for m in self.memories) and all(
            self.stride[c] or n < 2 for c, n in self.size.items())

    def bases(self, layers, planes):
        """Addresses of planes.  What is no dimension is a list of arrays."""
        size, stride = self.size, self.stride
        arrays = (1 if "L" in size else layers) * (1 if "2" in size else planes)
        if size.get("L", layers) != layers or size.get("2", planes) != planes \
                or len(self.memories) != arrays:
            raise ValueError("%d arrays %s of %s are not %d layers of %d" % (
                len(self.memories), self.layout, self.first.shape, layers,
                planes))
        base = []
        for layer in range(layers):
            for p in range(planes):
                i = (0 if "L" in size else layer) * \
                    (1 if "2" in size else planes) + (0 if "2" in size else p)
                base.append(self.memories[i].address + layer *
                            stride.get("L", 0) + p * stride.get("2", 0))
        return base

    def set_strides(self, view, shape):
        sizes = {(shape.heads[p], shape.dim[p]) for p in range(shape.planes)}
        if len(sizes) > 1:
            raise ValueError("keys and values of different sizes are not in "
                             "one view")
        heads, dim = sizes.pop()
        inner = "C" if "C" in self.size else "D"
        width = dim if "H" in self.size else heads * dim
        if self.size[inner] != width or self.size.get("H", heads) != heads:
            raise ValueError("%s of %s are not %d heads of %d" % (
                self.layout, self.first.shape, heads, dim))
        if self.stride[inner] != self.item and width > 1:
            raise ValueError("elements of a head are not next to each other")
        view.head_stride = self.stride.get("H", dim * self.item)
        view.token_stride = self.stride["T" if self.blocks is None else "S"]
        if self.blocks is not None:
            view.blocks = self.blocks.buffer_info()[0]
            view.block_tokens = self.size["S"]
            view.block_stride = self.stride["B"]


def opened(arrays):
    if not isinstance(arrays, (list, tuple)):
        return [arrays]
    return [a for item in arrays for a in opened(item)]
