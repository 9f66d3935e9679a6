# SPDX-License-Identifier: BSD-2-Clause
"""Key/value caches of language models, coded by Tessera: see README.md.

Needs libtessera.so (and for stores and jobs libtessera-net.so), no compiler and
no other package; works on numpy arrays and torch tensors in place.
"""
from ._library import TesseraError
from .chunks import HEAD_BYTES, Chunk, Prefix, check, keys, look, place, \
    range_of, unwrap, wrap
from .codec import Coder, Info, Profile, Rope, methods, probe, ranges, reduce
from .cuda import CudaCoder
from .jobs import Job, Result, pull, push, stored
from .stores import Entry, Store, schemes
from .views import View

__version__ = "0.1.0"
__all__ = [
    "Chunk", "Coder", "CudaCoder", "Entry", "HEAD_BYTES", "Info", "Job", "Prefix", "Profile",
    "Result", "Rope", "Store", "TesseraError", "View", "check", "keys", "look",
    "methods", "place", "probe", "pull", "push", "range_of", "ranges", "reduce",
    "schemes", "stored", "unwrap", "wrap"]
