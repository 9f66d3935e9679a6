#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Build images-photos.tar, images-textures.tar and images-mixed.tar from unpacked packages.

usage: build_images.py UNPACKED_DIR packages.txt OUT_DIR

Lossy sources are scaled down by 1.5 to 4, so that their own artefacts are not what the codec learns.
"""
import glob
import hashlib
import io
import os
import random
import sys
import tarfile

from PIL import Image, ImageStat

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
Image.MAX_IMAGE_PIXELS = None
ROOT, LIST, OUT = sys.argv[1:4]
PACK_BYTES = 58e6
RNG = random.Random(1)
PACK = {"edj-photo": "photos", "photo": "photos", "photosmall": "photos", "small": "mixed", "every60": "mixed",
        "tex": "textures", "stamp": "mixed", "every6": "mixed", "screen": "mixed"}
MOST_FILES = {
    "gcompris-qt-data": 200, "ufoai-textures": 120, "torcs-data": 60, "flightgear-data-models": 60,
    "openarena-081-textures": 90, "tuxpaint-stamps-default": 110, "scratch": 45, "kstars-data": 30,
    "gimp-help-en": 45, "lebiniou-data": 20, "krita-data": 20, "stellarium-data": 55, "opencv-doc": 60}
NOT_PICTURES = ("normal", "_n.png", "nrm", "spec", "shadow", "icon", "logo", "lightmap", "screenshot.")
GROUNDS = ((255, 255, 255), (128, 128, 128), (40, 60, 90), (220, 205, 180), (0, 0, 0))

tars, sizes, stats, seen = {}, {}, {}, set()


def flat(im, white=False):
    """RGB; transparency over one of a few plain grounds."""
    if im.mode == "P" and "transparency" in im.info or im.mode in ("RGBA", "LA"):
        im = im.convert("RGBA")
        ground = Image.new("RGBA", im.size, ((255, 255, 255) if white else RNG.choice(GROUNDS)) + (255,))
        ground.alpha_composite(im)
        im = ground
    return im.convert("RGB")


def emit(im, package, pack):
    out = io.BytesIO()
    im.save(out, "JPEG", quality=95, subsampling=0, optimize=True)
    data = out.getvalue()
    name = hashlib.md5(data).hexdigest()
    if name in seen:
        return
    seen.add(name)
    if sizes.get(pack, 0) + len(data) > PACK_BYTES:
        return
    if pack not in tars:
        tars[pack] = tarfile.open(f"{OUT}/images-{pack}.tar", "w")
    info = tarfile.TarInfo(f"{package}/{name[:10]}.jpg")
    info.size = len(data)
    tars[pack].addfile(info, io.BytesIO(data))
    sizes[pack] = sizes.get(pack, 0) + len(data)
    s = stats.setdefault((pack, package), [0, 0.0, 0])
    s[0] += 1
    s[1] += im.width * im.height / 1e6
    s[2] += len(data)


def spread(total, tile, n):
    return [i * (total - tile) // max(1, n - 1) if n > 1 else 0 for i in range(n)]


def tiles(im, package, pack, most, side=1024, least_deviation=5):
    """Up to `most` tiles of about side x side that are not empty."""
    w, h = im.size
    nx, ny = max(1, round(w / side + .2)), max(1, round(h / side + .2))
    tw, th = min(side, w // nx), min(side, h // ny)
    corners = [(x, y) for x in spread(w, tw, nx) for y in spread(h, th, ny)]
    RNG.shuffle(corners)
    n = 0
    for x, y in corners:
        if n >= most:
            break
        c = im.crop((x, y, x + tw, y + th))
        if max(ImageStat.Stat(c.resize((64, 64))).stddev) >= least_deviation:
            emit(c, package, pack)
            n += 1


def shrink(im, factor):
    return im.resize((int(im.width / factor), int(im.height / factor)), Image.LANCZOS)


def take(path, package, kind, most):
    """Emit what one file gives; False if it is too small or empty."""
    pack = PACK[kind]
    if kind == "edj-photo":
        import edj
        if os.path.getsize(path) < 1e6:
            return False
        im = edj.load(path)
        tiles(shrink(im, 2 if im.width < 5000 else 4), package, pack, most)
        emit(im.resize((960, 960 * im.height // im.width), Image.LANCZOS), package, pack)
        return True
    im = Image.open(path)
    w, h = im.size
    short = min(w, h)
    if w * h > 60e6:
        im.draft("RGB", (w // 2, h // 2))
    least = {"photo": 900, "photosmall": 300, "small": 400, "stamp": 160, "screen": 300}.get(kind, 256)
    if short < least or kind == "small" and w * h > 4e6:
        return False
    if kind == "photo":
        tiles(shrink(flat(im), 2 if short < 2400 else 3), package, pack, most)
    elif kind == "photosmall":
        emit(shrink(flat(im), 1.5 if short < 700 else 2), package, pack)
    elif kind == "small":
        im = shrink(flat(im, True), 1.5)
        if max(ImageStat.Stat(im).stddev) < 20:
            return False
        emit(im, package, pack)
    elif kind == "stamp":
        im = flat(im)
        emit(shrink(im, 2) if max(im.size) > 1000 else im, package, pack)
    elif kind == "screen":
        tiles(flat(im, True), package, pack, most)
    else:
        lossy = path.lower().endswith(("jpg", "jpeg"))
        im = flat(im, True)
        if lossy and short >= 512:
            im = shrink(im, 2)
        if max(ImageStat.Stat(im.resize((64, 64))).stddev) < 6:
            return False
        tiles(im, package, pack, most)
    return True


def main():
    with open(f"{HERE}/reserved.txt") as f:
        reserved = {line.strip() for line in f if line[0] != "#"}
    for line in open(LIST):
        if line[0] == "#" or not line.strip():
            continue
        package, pattern, kind, most, _ = line.rstrip("\n").split("|")
        if package in reserved:
            sys.exit(f"{package} is reserved for evaluation")
        files = sorted(f for f in glob.glob(f"{ROOT}/{package}/{pattern}", recursive=True)
                       if os.path.isfile(f) and not os.path.islink(f))
        whole = kind in ("edj-photo", "photo")
        if kind.startswith("every"):
            files = files[::int(kind[5:])]
        elif not whole:
            RNG.shuffle(files)
        done = 0
        for path in files:
            if not whole and done >= MOST_FILES.get(package, 40):
                break
            if kind in ("tex", "photo") and any(t in os.path.basename(path).lower() for t in NOT_PICTURES):
                continue
            try:
                done += take(path, package, kind, int(most))
            except Exception as e:              # a broken picture in a package is no reason to stop
                print("skip", path, e)
        print(package, kind, len(files), "files, used", done, flush=True)
    for t in tars.values():
        t.close()
    with open(f"{OUT}/images-stats.tsv", "w") as out:
        for (pack, package), v in sorted(stats.items()):
            out.write(f"{pack}\t{package}\t{v[0]}\t{v[1]:.1f} MP\t{v[2] / 1e6:.1f} MB\n")


main()
