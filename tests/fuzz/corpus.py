#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""A fuzz corpus as one file: corpus.py unpack FILE FOLDER, corpus.py pack FOLDER FILE.  Inputs are sorted; each is its
length, 2 bytes, low first, and its bytes."""
import sys
from pathlib import Path

action, source, target = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
if action == "unpack":
    target.mkdir(parents=True, exist_ok=True)
    data, at, number = source.read_bytes() if source.exists() else b"", 0, 0
    while at < len(data):
        size = int.from_bytes(data[at:at + 2], "little")
        (target / f"{number:04d}").write_bytes(data[at + 2:at + 2 + size])
        at, number = at + 2 + size, number + 1
elif action == "pack":
    inputs = sorted(set(f.read_bytes() for f in source.iterdir()), key=lambda b: (len(b), b))
    target.write_bytes(b"".join(len(b).to_bytes(2, "little") + b for b in inputs if len(b) < 65536))
else:
    sys.exit(__doc__)
