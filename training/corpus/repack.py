#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Re-encode the image packs into one tar that is small enough to travel.

usage: repack.py OUT.tar PACK.tar:QUALITY:SUBSAMPLING:KEEP_EVERY ...

QUALITY is JPEG's, SUBSAMPLING 0 (4:4:4) or 2 (4:2:0), KEEP_EVERY n keeps each n-th file.
Names inside the tar become KIND/package/hash.jpg, KIND being the pack's name without "images-".
"""
import io
import os
import sys
import tarfile
from multiprocessing import Pool

from PIL import Image


def reencode(job):
    name, data, quality, sub = job
    if quality:
        out = io.BytesIO()
        Image.open(io.BytesIO(data)).convert("RGB").save(
            out, "JPEG", quality=quality, subsampling=sub, optimize=True)
        data = out.getvalue()
    return name, data


def jobs(specs):
    for spec in specs:
        path, quality, sub, every = spec.rsplit(":", 3)
        kind = os.path.basename(path).removesuffix(".tar").removeprefix("images-")
        with tarfile.open(path) as tar:
            for i, member in enumerate(tar):
                if i % int(every) == 0:
                    yield f"{kind}/{member.name}", tar.extractfile(member).read(), int(quality), int(sub)


def main():
    total = {}
    with tarfile.open(sys.argv[1], "w") as out, Pool(2) as pool:
        for name, data in pool.imap(reencode, jobs(sys.argv[2:]), 4):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            out.addfile(info, io.BytesIO(data))
            kind = name.split("/")[0]
            n, size = total.get(kind, (0, 0))
            total[kind] = n + 1, size + len(data)
    for kind, (n, size) in total.items():
        print(f"{kind}\t{n} files\t{size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
