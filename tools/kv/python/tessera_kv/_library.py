# SPDX-License-Identifier: BSD-2-Clause
"""The C libraries: where they are, their structures and functions.

Nothing here is meant for users of the package.  Calls through ctypes.CDLL let
go of the interpreter's lock.
"""
import ctypes
import ctypes.util
import os
from ctypes import CFUNCTYPE, POINTER, Structure, byref, c_char, c_char_p, \
    c_double, c_int, c_int64, c_size_t, c_ssize_t, c_uint8, c_uint64, c_void_p

MAJOR = 0       # of the libraries' binary interface: libtessera.so.0

ERRORS = {
    -1: "ARG", -2: "NOMEM", -3: "EOF", -4: "LIMIT", -20: "CORRUPT",
    -21: "UNSUPPORTED", -22: "VERSION", -23: "CHECKSUM", -24: "TRUNCATED",
    -25: "FORMAT", -30: "MODEL", -31: "SHAPE", -40: "IO", -41: "MISSING",
    -42: "DENIED", -50: "BACKEND", -60: "CANCELED", -90: "INTERNAL"}
LIMIT, INTERNAL = -4, -90


class TesseraError(Exception):
    """What a call of the library said.  A cache treats every one as a miss.

    code: a number of tessera/error.h; name: its name there, as "CHECKSUM".
    """

    def __init__(self, code, message=""):
        self.code = code
        self.name = ERRORS.get(code, str(code))
        super().__init__("%s%s" % (self.name, ": " + message if message else ""))


# ---- structures, in the order of the headers ----

LOG = CFUNCTYPE(None, c_void_p, c_int, c_char_p)


def structure(name, *fields):
    """A class for the C structure of that name.  fields: (name, type) pairs."""
    return type(name, (Structure,), {"_fields_": list(fields)})


Logger = structure("tsr_logger", ("cookie", c_void_p), ("log", LOG))
Allocator = structure("tsr_allocator", ("cookie", c_void_p),
                      ("alloc", c_void_p), ("free", c_void_p))
ContextSettings = structure(
    "tsr_context_settings", ("size", c_size_t), ("threads", c_int),
    ("backend", c_char_p), ("logger", Logger), ("allocator", Allocator),
    ("max_pixels", c_uint64), ("max_memory", c_uint64),
    ("device", c_char_p), ("precision", c_int))
Tensor = structure(
    "tsr_tensor", ("name", c_char_p), ("dtype", c_int), ("rank", c_int),
    ("dims", c_uint64 * 8), ("data", c_void_p), ("bytes", c_size_t))
WRITE = CFUNCTYPE(c_int, c_void_p, c_void_p, c_size_t)
Sink = structure("tsr_sink", ("cookie", c_void_p), ("write", WRITE))
Shape = structure("tsr_kv_shape", ("layers", c_int), ("planes", c_int),
                  ("heads", c_int * 2), ("dim", c_int * 2))
Rope = structure(
    "tsr_kv_rope", ("layout", c_int), ("offset", c_int), ("dims", c_int),
    ("theta", c_double), ("scaling", c_int), ("factor", c_double),
    ("low_factor", c_double), ("high_factor", c_double), ("original", c_int))
View = structure(
    "tsr_kv_view", ("dtype", c_int), ("base", c_void_p),
    ("token_stride", c_ssize_t), ("head_stride", c_ssize_t),
    ("blocks", c_void_p), ("block_tokens", c_int),
    ("block_stride", c_ssize_t), ("tokens", c_size_t))
Settings = structure(
    "tsr_kv_settings", ("size", c_size_t), ("shape", Shape), ("rope", Rope),
    ("profile", c_void_p), ("method", c_char_p), ("step", c_double),
    ("value_ratio", c_double), ("levels", c_int), ("sinks", c_int),
    ("recent", c_int), ("recent_boost", c_int), ("tile", c_int),
    ("store_tokens", c_int))
Call = structure(
    "tsr_kv_call", ("pos0", c_uint64), ("token_ids", c_void_p),
    ("boost", c_void_p), ("scratch", c_void_p),
    ("scratch_size", c_size_t))
Part = structure(
    "tsr_kv_part", ("first_layer", c_int), ("layers", c_int),
    ("first_token", c_size_t), ("tokens", c_size_t), ("level", c_int))
Info = structure(
    "tsr_kv_info", ("shape", Shape), ("rope", Rope), ("method", c_char * 16),
    ("params", c_uint8 * 40), ("dtype", c_int), ("tokens", c_uint64),
    ("pos0", c_uint64), ("levels", c_int), ("tile", c_int), ("sinks", c_int),
    ("step", c_double * 2), ("profile", c_uint8 * 8), ("token_ids", c_int),
    ("bytes", c_uint64), ("head_bytes", c_uint64), ("side_bytes", c_uint64),
    ("level_bytes", c_uint64 * 3), ("span", c_int), ("live_shift", c_int))
CudaItem = structure(
    "tsr_kv_cuda_item", ("view", View), ("first_token", c_size_t),
    ("pos0", c_uint64), ("data", c_void_p), ("size", c_size_t),
    ("bytes", c_void_p), ("status", c_void_p), ("level", c_int),
    ("token_ids", c_void_p), ("boost", c_void_p),
    ("part_first", c_size_t), ("part_tokens", c_size_t))
Prefix = structure("tsr_kv_prefix", ("name", c_uint8 * 32),
                   ("tokens", c_uint64))
Chunk = structure(
    "tsr_kv_chunk", ("name", c_uint8 * 32), ("digest", c_uint8 * 32),
    ("tokens", c_uint64), ("pos0", c_uint64), ("layers", c_int),
    ("levels", c_int), ("object_bytes", c_uint64), ("bytes", c_uint64),
    ("front_bytes", c_uint64), ("level_end", c_uint64 * 3))
StoreSettings = structure(
    "tsr_store_settings", ("size", c_size_t), ("max_object", c_uint64),
    ("capacity", c_uint64), ("timeout", c_double), ("retries", c_int),
    ("token", c_char_p), ("ca_file", c_char_p), ("endpoint", c_char_p),
    ("region", c_char_p), ("key_prefix", c_char_p), ("logger", Logger))
StoreEntry = structure("tsr_store_entry", ("key", c_char * 201),
                       ("bytes", c_uint64), ("modified", c_int64))

LAYERS = CFUNCTYPE(None, c_void_p, c_int, c_int, c_int)
RECOMPUTE = CFUNCTYPE(None, c_void_p, c_int, c_size_t, c_size_t)
PROGRESS = CFUNCTYPE(None, c_void_p, c_uint64, c_uint64)
Events = structure("tsr_kv_events", ("cookie", c_void_p), ("layers", LAYERS),
                   ("recompute", RECOMPUTE), ("progress", PROGRESS))
Arrival = structure(
    "tsr_kv_arrival", ("chunk", c_int), ("first_token", c_size_t),
    ("tokens", c_size_t), ("object", c_void_p), ("size", c_size_t),
    ("levels", c_int))
ARRIVED = CFUNCTYPE(c_int, c_void_p, POINTER(Arrival))
StreamSettings = structure(
    "tsr_kv_stream_settings", ("size", c_size_t), ("url", c_char_p),
    ("store", StoreSettings), ("model", c_char_p), ("profile", c_void_p),
    ("chunk_tokens", c_int), ("connections", c_int), ("threads", c_int),
    ("events", Events), ("replace", c_int), ("policy", c_char_p),
    ("deadline", c_double), ("floor", c_int), ("ceiling", c_int),
    ("recompute", c_void_p), ("cache", c_char_p), ("arrival", ARRIVED),
    ("arrival_cookie", c_void_p))
JobResult = structure(
    "tsr_kv_job_result", ("error", c_int), ("message", c_char * 256),
    ("tokens", c_size_t), ("chunks", c_int), ("present", c_int),
    ("recomputed", c_int), ("missing", c_int), ("late", c_int),
    ("retried", c_int), ("bytes", c_uint64), ("raw_bytes", c_uint64),
    ("seconds", c_double), ("usable", c_double), ("coding", c_double),
    ("mean_levels", c_double))

STRUCTURES = [
    Logger, Allocator, ContextSettings, Tensor, Sink, Shape, Rope, View,
    Settings, Call, Part, Info, CudaItem, Prefix, Chunk, StoreSettings, StoreEntry,
    Events, Arrival, StreamSettings, JobResult]

VISIT_RANGE = CFUNCTYPE(c_int, c_void_p, c_uint64, c_uint64)
VISIT_ENTRY = CFUNCTYPE(c_int, c_void_p, POINTER(StoreEntry))

# ---- functions: result, arguments; `P` is a pointer to what Python owns ----

P = c_void_p
CORE = {
    "tsr_version": (c_char_p,),
    "tsr_error_string": (c_char_p, c_int),
    "tsr_context_settings_init": (None, POINTER(ContextSettings)),
    "tsr_context_open": (c_int, POINTER(P), POINTER(ContextSettings)),
    "tsr_context_close": (None, POINTER(P)),
    "tsr_model_open": (c_int, POINTER(P), P, c_char_p),
    "tsr_model_unref": (None, POINTER(P)),
    "tsr_model_hash": (POINTER(c_uint8), P),
    "tsr_model_codec": (c_char_p, P),
    "tsr_model_tensor": (POINTER(Tensor), P, c_char_p),
    "tsr_kv_settings_init": (None, POINTER(Settings)),
    "tsr_kv_open": (c_int, POINTER(P), P, POINTER(Settings)),
    "tsr_kv_open_for": (c_int, POINTER(P), P, POINTER(Info), P),
    "tsr_kv_close": (None, POINTER(P)),
    "tsr_kv_method_at": (c_char_p, c_int),
    "tsr_kv_encode_bound": (c_int, P, c_size_t, POINTER(c_size_t)),
    "tsr_kv_scratch_size": (c_int, P, c_size_t, POINTER(c_size_t)),
    "tsr_kv_encode": (c_int, P, POINTER(View), POINTER(Call), P, c_size_t,
                      POINTER(c_size_t)),
    "tsr_kv_decode": (c_int, P, P, c_size_t, POINTER(Part), POINTER(View),
                      POINTER(Call)),
    "tsr_kv_probe": (c_int, P, P, c_size_t, POINTER(Info)),
    "tsr_kv_reduce": (c_int, P, P, c_size_t, c_int, P, c_size_t,
                      POINTER(c_size_t)),
    "tsr_kv_ranges": (c_int, P, P, c_size_t, POINTER(Part), VISIT_RANGE, P),
    "tsr_kv_cuda_open": (c_int, POINTER(P), P, c_int),
    "tsr_kv_cuda_close": (None, POINTER(P)),
    "tsr_kv_cuda_scratch_size": (c_int, P, c_size_t, c_size_t,
                                 POINTER(c_size_t)),
    "tsr_kv_cuda_encode": (c_int, P, POINTER(CudaItem), c_size_t, c_size_t, P,
                           c_size_t, P),
    "tsr_kv_cuda_decode": (c_int, P, POINTER(CudaItem), c_size_t, c_size_t, P,
                           c_size_t, P),
    "tsr_kv_prefix_begin": (c_int, POINTER(Prefix), c_char_p,
                            POINTER(c_uint8)),
    "tsr_kv_prefix_add": (c_int, POINTER(Prefix), P, c_size_t),
    "tsr_kv_chunk_wrap": (c_int, P, P, P, c_size_t, P, c_size_t,
                          POINTER(c_size_t)),
    "tsr_kv_chunk_probe": (c_int, P, P, c_size_t, POINTER(Chunk)),
    "tsr_kv_chunk_check": (c_int, P, P, c_size_t, P, POINTER(Chunk)),
    "tsr_kv_chunk_range": (c_int, P, P, c_size_t, c_int, c_int, c_int,
                           POINTER(c_uint64), POINTER(c_uint64)),
    "tsr_kv_chunk_place": (c_int, P, P, c_size_t, c_uint64, c_uint64, P,
                           c_size_t),
}
NET = {
    "tsr_store_settings_init": (None, POINTER(StoreSettings)),
    "tsr_store_open": (c_int, POINTER(P), c_char_p, POINTER(StoreSettings)),
    "tsr_store_close": (None, POINTER(P)),
    "tsr_store_get": (c_int, P, c_char_p, c_uint64, c_uint64, POINTER(Sink),
                      POINTER(StoreEntry)),
    "tsr_store_put": (c_int, P, c_char_p, P, c_size_t),
    "tsr_store_stat": (c_int, P, c_char_p, POINTER(StoreEntry)),
    "tsr_store_remove": (c_int, P, c_char_p),
    "tsr_store_list": (c_int, P, c_char_p, VISIT_ENTRY, P),
    "tsr_store_cancel": (None, P),
    "tsr_store_scheme_at": (c_char_p, c_int),
    "tsr_kv_stream_settings_init": (None, POINTER(StreamSettings)),
    "tsr_kv_push_begin": (c_int, POINTER(P), POINTER(StreamSettings),
                          POINTER(Settings), POINTER(View), P, c_uint64),
    "tsr_kv_pull_begin": (c_int, POINTER(P), POINTER(StreamSettings),
                          POINTER(Shape), POINTER(View), P, c_size_t),
    "tsr_kv_job_recomputed": (None, P, c_int),
    "tsr_kv_job_cancel": (None, P),
    "tsr_kv_job_wait": (c_int, P, c_double, POINTER(JobResult)),
    "tsr_kv_job_close": (None, POINTER(P)),
    "tsr_kv_stored": (c_int, POINTER(StreamSettings), P, c_size_t,
                      POINTER(c_size_t)),
}

# ---- finding them ----


def candidates(name):
    """Where a library may be, best first: what TESSERA_LIB says (a folder, or
    libtessera itself, beside which the others are), or what the loader knows."""
    file = "lib%s.so.%d" % (name, MAJOR)
    place = os.environ.get("TESSERA_LIB")
    if place:
        if not os.path.isdir(place):
            if name == "tessera":
                return [place]
            place = os.path.dirname(place) or "."
        return [os.path.join(place, file)]
    found = ctypes.util.find_library(name)
    return [file] + ([found] if found else [])


def load(name, functions):
    faults = []
    for path in candidates(name):
        try:
            library = ctypes.CDLL(path)
        except OSError as error:
            faults.append(str(error))
            continue
        for function, (result, *arguments) in functions.items():
            try:
                f = getattr(library, function)
            except AttributeError:
                raise ImportError("%s is too old for this package: it has no "
                                  "%s()" % (path, function)) from None
            f.restype, f.argtypes = result, arguments
        return library
    raise ImportError("lib%s.so.%d is not found (%s); install Tessera, or set "
                      "TESSERA_LIB to the library or its folder" %
                      (name, MAJOR, "; ".join(faults)))


core = load("tessera", CORE)
_net = None


def net():
    """libtessera-net; loaded when first wanted, since codecs do without."""
    global _net
    if _net is None:
        _net = load("tessera-net", NET)
    return _net


class Log:
    """Catches what the library says, so that exceptions have reasons."""

    def __init__(self):
        self.text = ""
        self.callback = LOG(self.hear)

    def hear(self, cookie, level, message):
        if level == 0:
            self.text = message.decode(errors="replace")

    def check(self, code):
        text, self.text = self.text, ""
        if code:
            raise TesseraError(code, text or
                               core.tsr_error_string(code).decode())


class Visitor:
    """A C callback that calls `function` with all but its cookie.  What it raises
    ends the call it is for, and is raised again by check()."""

    def __init__(self, kind, function):
        self.function, self.raised = function, None
        self.callback = kind(self.call)

    def call(self, cookie, *words):
        try:
            self.function(*words)
            return 0
        except BaseException as fault:  # ctypes would drop it and go on
            self.raised = fault
            return INTERNAL

    def check(self, log, code):
        if self.raised:
            raise self.raised
        log.check(code)


class Handle:
    """What is closed by itself in the end, by close(), or by `with`.  A subclass
    has `handle`, `kind` (its name in messages) and free()."""

    def close(self):
        if getattr(self, "handle", None):
            self.free()

    __del__ = close

    def __enter__(self):
        return self

    def __exit__(self, *what):
        self.close()

    def opened(self):
        if not self.handle:
            raise ValueError("the %s is closed" % self.kind)
        return self.handle


class Context:
    """Memory, messages and worker threads of other objects; one thread at a
    time."""

    def __init__(self, threads=1):
        settings = ContextSettings()
        core.tsr_context_settings_init(byref(settings))
        self.log = Log()
        settings.threads = threads
        settings.logger.log = self.log.callback
        self.handle = c_void_p()
        self.log.check(core.tsr_context_open(byref(self.handle),
                                             byref(settings)))

    def check(self, code):
        self.log.check(code)

    def __del__(self):
        if getattr(self, "handle", None):
            core.tsr_context_close(byref(self.handle))
