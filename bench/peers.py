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

MEASURES = ("psnr", "ms_ssim", "ms_ssim_db", "ssimulacra2", "features", "features_db")


class Codec:
    """encode and decode are command lines with {s} setting (which may be several words), {in} and {out}.  ranges: for
    nearest_bytes, (worst, best, setting with {} for the number), first the one that is to be preferred."""

    def __init__(self, name, settings, encode, decode, ext, out, package, version, *ranges):
        self.name, self.settings, self.ext, self.out = name, settings, ext, out
        self.encode, self.decode = encode, decode
        self.package, self.version_command, self.ranges = package, version, ranges

    def command(self, which, setting, source, target):
        fill = {"in": source, "ppm": source.with_suffix(".ppm"), "out": target}
        words = getattr(self, which).split()
        return [w.format_map(fill) for word in words for w in (str(setting).split() if word == "{s}" else [
            word.replace("{s}", str(setting))])]

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
    """Each at settings that cover about 0.03 to 0.6 bits a pixel, as far as the codec goes so low.  JPEG XL reduces the
    picture by 2 itself from -d 20 on; --resampling=4 is its way further down.  WebP's lowest has one segment."""
    def avif(yuv, settings):
        return Codec(f"AVIF 4:{yuv[1]}:{yuv[2]}", settings, AVIF.replace("{yuv}", yuv), AVIF_DECODE,
                     "avif", "png", "libavif-bin", "avifenc --version", (63, 10, "{}"))
    few = " --resampling=4"
    return [avif("420", [63, 60, 57, 51, 45, 38, 30]), avif("444", [63, 57, 51, 45, 38]),
            Codec("JPEG XL", ["10" + few, "5" + few, 25, 12, 7, 4.5, 2.8],
                  "cjxl --quiet --num_threads=0 -e 7 -d {s} {in} {out}", "djxl --quiet --num_threads=0 {in} {out}",
                  "jxl", "ppm", "libjxl-tools", "cjxl --version", (25.0, 0.8, "{}"), (25.0, 1.0, "{}" + few)),
            Codec("WebP", ["0 -segments 1 -sns 0", 4, 12, 28, 50], "cwebp -quiet -m 6 -q {s} {in} -o {out}",
                  "dwebp -quiet -ppm {in} -o {out}", "webp", "ppm", "webp", "cwebp -version",
                  (0, 95, "{}"), (0, 0, "{} -segments 1 -sns 0")),
            Codec("JPEG", [1, 3, 6, 11, 22, 42],
                  "cjpeg -optimize -progressive -sample 2x2 -quality {s} -outfile {out} {ppm}",
                  "djpeg -ppm -outfile {out} {in}", "jpg", "ppm", "libjpeg-turbo-progs", "cjpeg -version",
                  (1, 95, "{}"))]


def ours(tessera, name, model, settings):
    """name: that in tables; model: a name or a file."""
    how = f"-y -nostats -threads 1 -model {model}"
    return Codec(name, settings, f"{tessera} encode {how} -q {{s}} -i {{in}} -o {{out}}",
                 f"{tessera} decode {how} -i {{in}} -o {{out}}", "tess", "ppm", "tessera", tessera + " --version",
                 (0, 100, "{}"))


class Meter:
    """Measures one picture at one setting; what peers gave is kept in a file."""

    def __init__(self, tessera, cache, judge):
        self.tessera, self.path, self.judge, self.lock = tessera, cache, judge, threading.Lock()
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
        return " ".join(str(got[k]) for k in ("psnr", "ms_ssim", "ssimulacra2", "features"))

    def key(self, codec, setting, photo):
        if photo not in self.hashes:
            self.hashes[photo] = hashlib.sha256(photo.read_bytes()).hexdigest()[:16]
        if codec.name not in self.versions:
            self.versions[codec.name] = codec.version()
        return " ".join([self.hashes[photo], self.versions[codec.name], codec.encode, codec.decode, str(setting),
                         self.metric])

    def compare(self, photo, picture):
        """Width, height and all of MEASURES."""
        return {**json.loads(run(self.tessera, "compare", "--json", photo, picture)),
                **self.judge.measure(photo, picture)}

    def measure(self, codec, setting, photo):
        """A row: photo, codec, setting, bytes, bpp and MEASURES."""
        keep = codec.package != "tessera"
        key = self.key(codec, setting, photo) if keep else None
        row = self.known.get(key)
        if row is None:
            with tempfile.TemporaryDirectory() as folder:
                coded, picture = codec.code(setting, photo, Path(folder))
                got = self.compare(photo, picture)
                size = coded.stat().st_size
            row = {"key": key, "bytes": size, "bpp": 8 * size / (got["width"] * got["height"]),
                   **{k: got[k] for k in MEASURES}}
            if keep:
                with self.lock, self.path.open("a") as f:
                    f.write(json.dumps(row) + "\n")
        return {"photo": photo.stem, "codec": codec.name, "setting": setting, **row}


def bisect(codec, photo, target, folder, lo, hi, form):
    """(setting, bytes) of the size nearest to target."""
    whole, best = isinstance(lo, int), None
    for step in range(9):
        s = lo if step == 0 else (lo + hi) / 2      # the worst first: it tells whether the codec goes so low
        s = round(s) if whole else round(s, 2)
        setting = form.format(s)
        size = codec.code(setting, photo, folder)[0].stat().st_size
        if best is None or abs(size - target) < abs(best[1] - target):
            best = (setting, size)
        if step and s in (lo, hi) or step == 0 and size >= target or lo == hi:
            break
        lo, hi = (lo, s) if size > target else (s, hi)
    return best


def nearest_bytes(codec, photo, target, folder):
    """Code at the setting whose size comes nearest to target; returns setting, file, picture.  A further range of the
    codec's counts only if those before it end 5 % or more above the target."""
    best = None
    for lo, hi, form in codec.ranges:
        got = bisect(codec, photo, target, folder, lo, hi, form)
        if best is None or got[1] < best[1]:
            best = got
        if best[1] < 1.05 * target:
            break
    return (best[0],) + codec.code(best[0], photo, folder)
