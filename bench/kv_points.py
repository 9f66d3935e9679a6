# SPDX-License-Identifier: BSD-2-Clause
"""Points of the curve: command lines of 'tessera kv', and the store of results."""
import hashlib
import json
import os
import shlex
import sys
from pathlib import Path

import kv_lm
from machine import run


class Point:
    """'tessera kv pack' and 'unpack' with options.  Every byte of what is unpacked counts: where unpack has -level N,
    'reduce' takes the levels above out of the file first."""
    external = True

    def __init__(self, tessera, program_id, family, name, *options):
        self.tessera, self.family, self.name = tessera, family, name
        self.pack, self.unpack = (shlex.split(os.path.expandvars(o)) for o in options)
        at = self.unpack.index("-level") if "-level" in self.unpack else len(self.unpack)
        self.unpack, self.reduce = self.unpack[:at] + self.unpack[at + 2:], self.unpack[at:at + 2]
        h = hashlib.sha256(program_id.encode())
        for word in self.pack + ["unpack"] + self.unpack + self.reduce:
            h.update(Path(word).read_bytes() if os.path.isfile(word) else word.encode() + b"\0")
        self.identity = h.hexdigest()

    def kv(self, verb, *rest):
        run(self.tessera, "kv", verb, *rest, "-threads", "1")

    def code_file(self, context, folder):
        ends = ".tkv", ".less.tkv", ".safetensors"
        packed, less, back = (Path(folder) / (self.identity[:16] + end) for end in ends)
        self.kv("pack", context.path, packed, *self.pack)
        if self.reduce:
            self.kv("reduce", packed, less, *self.reduce)
            less.replace(packed)
        self.kv("unpack", packed, back, *self.unpack)
        bits, cache = 8 * packed.stat().st_size, kv_lm.load_cache(back)
        packed.unlink()
        back.unlink()
        return cache, bits


def program_id(tessera):
    """SHA-256 of the program and, in a build tree, of the library that it runs with"""
    h, folder = hashlib.sha256(), Path(tessera).resolve().parent
    found = [Path(tessera), *sorted((folder / ".libs").glob("*tessera*"))]
    for path in found:
        if path.is_file():
            h.update(path.read_bytes())
    return h.hexdigest()


def read_points(path, tessera):
    """Lines of: family | name | options of pack | options of unpack; $NAME is the environment's; # begins a remark."""
    out, program = [], program_id(tessera)
    for number, line in enumerate(Path(path).read_text().splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        parts = [p.strip() for p in line.split("|")]
        if len(parts) != 4:
            sys.exit(f"{path}:{number}: not 'family | name | options of pack | options of unpack'")
        out.append(Point(tessera, program, *parts))
    return out


class Store(dict):
    """key -> result, kept in a file line by line, so that a run that was stopped goes on."""

    def __init__(self, path):
        super().__init__()
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.exists():
            for line in self.path.read_text().splitlines():
                try:
                    row = json.loads(line)
                except ValueError:
                    continue  # the last line of a run that was killed
                super().__setitem__(row.pop("key"), row)

    def __setitem__(self, key, row):
        super().__setitem__(key, row)
        with self.path.open("a") as f:
            f.write(json.dumps({"key": key, **row}) + "\n")
