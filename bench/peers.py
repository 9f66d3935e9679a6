# SPDX-License-Identifier: BSD-2-Clause
"""The picture codecs that are compared: command lines, settings, measuring with a cache."""
import hashlib
import json
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path

from machine import run


class Codec:
    """encode and decode are command lines with {s} setting, {in} and {out}; finer is the better end of the settings."""

    def __init__(self, name, settings, encode, decode, ext, out, package, version, bounds):
        self.name, self.settings, self.ext, self.out = name, settings, ext, out
        self.encode, self.decode = encode, decode
        self.package, self.version_command, self.bounds = package, version, bounds

    def command(self, which, setting, source, target):
        fill = {"s": setting, "in": source, "ppm": source.with_suffix(".ppm"), "out": target}
        return [word.format_map(fill) for word in getattr(self, which).split()]

    def code(self, setting, photo, folder):
        """Encode and decode; returns the coded file and the decoded picture."""
        coded, picture = folder / ("a." + self.ext), folder / ("a." + self.out)
        run(*self.command("encode", setting, photo, coded))
        run(*self.command("decode", setting, coded, picture))
        return coded, picture

    def missing(self):
        return [w.split()[0] for w in (self.encode, self.decode) if not shutil.which(w.split()[0])]

    def version(self):
        done = subprocess.run(self.version_command.split(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        return done.stdout.strip().splitlines()[0]


AVIF = ("avifenc -j 1 -s 4 -y {yuv} --min 0 --max 63 -a end-usage=q -a cq-level={s} -a tune=ssim {in} {out}")
AVIF_DECODE = "avifdec -j 1 --png-compress 1 {in} {out}"


def peers():
    """Each at settings that cover about 0.04 to 0.6 bits a pixel, as far as the codec goes so low."""
    def avif(yuv, settings):
        return Codec(f"AVIF 4:{yuv[1]}:{yuv[2]}", settings, AVIF.replace("{yuv}", yuv), AVIF_DECODE,
                     "avif", "png", "libavif-bin", "avifenc --version", (63, 10))
    return [avif("420", [62, 57, 51, 45, 38, 30]), avif("444", [62, 57, 51, 45, 38]),
            Codec("JPEG XL", [22, 12, 7, 4.5, 2.8], "cjxl --quiet --num_threads=0 -e 7 -d {s} {in} {out}",
                  "djxl --quiet --num_threads=0 {in} {out}", "jxl", "ppm", "libjxl-tools", "cjxl --version", (25, 0.8)),
            Codec("WebP", [0, 4, 12, 28, 50], "cwebp -quiet -m 6 -q {s} {in} -o {out}",
                  "dwebp -quiet -ppm {in} -o {out}", "webp", "ppm", "webp", "cwebp -version", (0, 95)),
            Codec("JPEG", [3, 6, 11, 22, 42],
                  "cjpeg -optimize -progressive -sample 2x2 -quality {s} -outfile {out} {ppm}",
                  "djpeg -ppm -outfile {out} {in}", "jpg", "ppm", "libjpeg-turbo-progs", "cjpeg -version", (1, 95))]


def ours(tessera, settings):
    return Codec("Tessera", settings, tessera + " encode -y -nostats -threads 1 -q {s} -i {in} -o {out}",
                 tessera + " decode -y -nostats -threads 1 -i {in} -o {out}", "tess", "ppm", "tessera",
                 tessera + " --version", (0, 100))


class Meter:
    """Measures one picture at one setting; what peers gave is kept in a file."""

    def __init__(self, tessera, cache):
        self.tessera, self.path, self.lock = tessera, cache, threading.Lock()
        self.known = {}
        if cache.exists():
            for line in cache.read_text().splitlines():
                row = json.loads(line)
                self.known[row["key"]] = row
        self.hashes, self.versions = {}, {}
        self.metric = self.fingerprint()

    def fingerprint(self):
        """What the meter says of two fixed pictures: cached figures count only if it still measures alike."""
        with tempfile.TemporaryDirectory() as folder:
            files = []
            for k in (3, 4):
                files.append(Path(folder) / f"{k}.ppm")
                samples = bytes(i * i // (97 * k) % 256 for i in range(3 * 192 * 192))
                files[-1].write_bytes(b"P6 192 192 255\n" + samples)
            got = self.compare(*files)
        return f"{got['psnr']} {got['ms_ssim']}"

    def key(self, codec, setting, photo):
        if photo not in self.hashes:
            self.hashes[photo] = hashlib.sha256(photo.read_bytes()).hexdigest()[:16]
        if codec.name not in self.versions:
            self.versions[codec.name] = codec.version()
        return " ".join([self.hashes[photo], self.versions[codec.name], codec.encode, codec.decode, str(setting),
                         self.metric])

    def compare(self, photo, picture):
        return json.loads(run(self.tessera, "compare", "--json", photo, picture))

    def measure(self, codec, setting, photo):
        """A row: photo, codec, setting, bytes, bpp, psnr, ms_ssim, ms_ssim_db."""
        keep = codec.package != "tessera"
        key = self.key(codec, setting, photo) if keep else None
        row = self.known.get(key)
        if row is None:
            with tempfile.TemporaryDirectory() as folder:
                coded, picture = codec.code(setting, photo, Path(folder))
                got = self.compare(photo, picture)
                size = coded.stat().st_size
            row = {"key": key, "bytes": size, "bpp": 8 * size / (got["width"] * got["height"]),
                   **{k: got[k] for k in ("psnr", "ms_ssim", "ms_ssim_db")}}
            if keep:
                with self.lock, self.path.open("a") as f:
                    f.write(json.dumps(row) + "\n")
        return {"photo": photo.stem, "codec": codec.name, "setting": setting, **row}


def nearest_bytes(codec, photo, target, folder):
    """Code at the setting whose size comes nearest to target, by bisection; returns setting, file, picture."""
    lo, hi = codec.bounds
    whole = isinstance(lo, int) and isinstance(hi, int)
    best = None
    for _ in range(8):
        s = (lo + hi) / 2
        s = round(s) if whole else round(s, 2)
        size = codec.code(s, photo, folder)[0].stat().st_size
        if best is None or abs(size - target) < abs(best[1] - target):
            best = (s, size)
        if s in (lo, hi):
            break
        lo, hi = (lo, s) if size > target else (s, hi)
    return (best[0],) + codec.code(best[0], photo, folder)
