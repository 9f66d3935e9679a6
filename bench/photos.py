#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Fetch the photographs of photos.txt from Debian and prepare them for measurements.

Each is reduced with a Lanczos filter, which removes the traces of the JPEG it came from: by 3 where the short side
has 2400 pixels or more, by 2 from 1400, else by 1.5.  Then the middle, at most 1152x768 (768x1152 if upright), is
saved as 8-bit sRGB PNG, and as PPM for programs that read no PNG.  Needs apt, dpkg-deb and Pillow (python3-pil).
"""
import argparse
import io
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def default_folder():
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tessera-bench"


def photo_list():
    for line in (HERE / "photos.txt").read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            name, package, file, licence = (part.strip() for part in line.split("|"))
            yield name, package, file, licence


def unpack(package, folder):
    """Download a package into folder/debian and unpack it; return where."""
    tree = folder / "debian" / package
    if tree.is_dir():
        return tree
    (folder / "debian").mkdir(parents=True, exist_ok=True)
    subprocess.run(["apt-get", "-qq", "download", package], cwd=folder / "debian", check=True, stdout=sys.stderr)
    deb = sorted((folder / "debian").glob(package + "_*.deb"))[-1]
    part = tree.with_suffix(".part")
    subprocess.run(["dpkg-deb", "-x", str(deb), str(part)], check=True)
    part.rename(tree)
    return tree


def to_srgb(im, cms):
    profile = im.info.get("icc_profile")
    if profile and im.mode == "RGB":
        im = cms.profileToProfile(im, cms.ImageCmsProfile(io.BytesIO(profile)), cms.createProfile("sRGB"))
    return im.convert("RGB")


def middle_of(im, size):
    w, h = min(im.width, size[0]), min(im.height, size[1])
    x, y = (im.width - w) // 2, (im.height - h) // 2
    return im.crop((x, y, x + w, y + h))


def prepare(source, target):
    from PIL import Image, ImageCms, ImageOps
    Image.MAX_IMAGE_PIXELS = None
    im = to_srgb(ImageOps.exif_transpose(Image.open(source)), ImageCms)
    short = min(im.size)
    factor = 3 if short >= 2400 else 2 if short >= 1400 else 1.5
    im = im.resize((round(im.width / factor), round(im.height / factor)), Image.LANCZOS)
    limit = (1152, 768) if im.width >= im.height else (768, 1152)
    im = middle_of(im, limit)
    im.info = {}
    im.save(target.with_suffix(".ppm"))
    im.save(target.with_suffix(".part"), "PNG")
    target.with_suffix(".part").rename(target)


def photos(folder):
    """Paths of all photographs in the order of photos.txt; fetches and makes what is missing."""
    out = []
    (folder / "photos").mkdir(parents=True, exist_ok=True)
    for name, package, file, _ in photo_list():
        target = folder / "photos" / (name + ".png")
        if not target.exists():
            prepare(unpack(package, folder) / file, target)
        out.append(target)
    return out


def large(folder, size):
    """The middle of an unreduced photograph as PPM, for speed alone."""
    from PIL import Image
    target = folder / "photos" / f"large-{size[0]}x{size[1]}.ppm"
    if not target.exists():
        file = {name: unpack(package, folder) / file for name, package, file, _ in photo_list()}["leaves"]
        middle_of(Image.open(file).convert("RGB"), size).save(target)
    return target


def middle(photo, folder, size):
    """The middle of a prepared photograph as PPM."""
    from PIL import Image
    target = folder / "photos" / f"{photo.stem}-{size[0]}x{size[1]}.ppm"
    if not target.exists():
        middle_of(Image.open(photo), size).save(target)
    return target


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("folder", nargs="?", type=Path, default=default_folder(), help="default: %(default)s")
    try:
        for path in photos(ap.parse_args().folder):
            print(path)
    except ImportError:
        sys.exit("photos.py: Pillow is missing: apt-get install python3-pil, and run with /usr/bin/python3")
    except (OSError, subprocess.CalledProcessError) as e:
        sys.exit(f"photos.py: {e}")


if __name__ == "__main__":
    main()
