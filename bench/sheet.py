# SPDX-License-Identifier: BSD-2-Clause
"""A picture sheet: crops of the original and of each codec at about equal bytes.  Needs Pillow."""
import tempfile
from pathlib import Path

from peers import nearest_bytes

CROPS = [("lighthouse", 790, 60), ("bee", 330, 230), ("dogs", 120, 130)]  # photo, left, top
LEFT_OUT = "AVIF 4:2:0"     # 4:4:4 is the better of the two
SIDE = 256
BPP = 0.12
TEXT = 34


def label(draw, x, y, lines):
    for i, line in enumerate(lines):
        draw.text((x + 2, y + 14 * i + 2), line, fill="black")


def make(path, meter, codecs, pictures):
    """One row a photo; every codec is brought to the bytes that ours needs for about BPP bits a pixel."""
    from PIL import Image, ImageDraw
    codecs = [c for c in codecs if c.name != LEFT_OUT]
    photos = {p.stem: p for p in pictures}
    page = Image.new("RGB", ((len(codecs) + 1) * (SIDE + 4), len(CROPS) * (SIDE + TEXT)), "white")
    draw = ImageDraw.Draw(page)
    for row, (name, left, top) in enumerate(CROPS):
        box, y = (left, top, left + SIDE, top + SIDE), row * (SIDE + TEXT)
        with Image.open(photos[name]) as im:
            target = im.width * im.height * BPP / 8
            page.paste(im.crop(box), (0, y))
            label(draw, 0, y + SIDE, [f"{name}, original", f"crop of {im.width}x{im.height}"])
        for column, codec in enumerate(codecs, 1):
            with tempfile.TemporaryDirectory() as folder:
                setting, coded, picture = nearest_bytes(codec, photos[name], target, Path(folder))
                got, size = meter.compare(photos[name], picture), coded.stat().st_size
                with Image.open(picture) as im:
                    page.paste(im.convert("RGB").crop(box), (column * (SIDE + 4), y))
            if column == 1:
                target = size
            label(draw, column * (SIDE + 4), y + SIDE, [
                f"{codec.name} {setting}: {size} bytes",
                f"MS-SSIM {got['ms_ssim_db']:.2f} dB, PSNR {got['psnr']:.2f} dB"])
            print(name, codec.name, setting, size, got["ms_ssim_db"], got["psnr"])
    page.save(path, quality=92, subsampling=0)
