# SPDX-License-Identifier: BSD-2-Clause
"""A picture sheet: crops of the original and of each codec at about the bytes that the model mosaic needs."""
import tempfile
from pathlib import Path

from peers import nearest_bytes

CROPS = [("bee", 330, 230), ("lighthouse", 790, 60), ("dogs", 120, 130), ("castle", 40, 60)]  # photo, left, top
LEFT_OUT = "AVIF 4:4:4"     # at these rates 4:2:0 is the smaller one
SIDE, GAP, TEXT = 256, 4, 62
NEAR = 1.1      # files longer by more than this are called so


def label(page, x, y, lines):
    from PIL import ImageDraw, ImageFont
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(12)
    for i, (line, colour) in enumerate(lines):
        draw.text((x + 2, y + 14 * i + 2), line, fill=colour, font=font)


def paste(page, picture, box, x, y):
    from PIL import Image
    with Image.open(picture) as im:
        page.paste(im.convert("RGB").crop(box), (x, y))
        return im.size


def lines(name, setting, size, got, target):
    """What stands below a picture; in red where the codec cannot go so low."""
    what = f"{size} bytes, {8 * size / (got['width'] * got['height']):.3f} bpp"
    low = target and size > NEAR * target
    return [(f"{name.replace('Tessera ', '')} {setting}", "black"),
            (what + (f": not less; {size / target:.1f} x" if low else ""), "#b00000" if low else "black"),
            (f"PSNR {got['psnr']:.1f}, MS-SSIM {got['ms_ssim_db']:.1f} dB", "black"),
            (f"SSIMULACRA2 {got['ssimulacra2']:.0f}, features {got['features']:.2f}", "black")]


def one(page, meter, codec, photo, target, box, x, y):
    """A cell of the sheet; returns the bytes of the file."""
    with tempfile.TemporaryDirectory() as folder:
        setting, coded, picture = (nearest_bytes(codec, photo, target, Path(folder)) if target else
                                   (100, *codec.code(100, photo, Path(folder))))
        got, size = meter.compare(photo, picture), coded.stat().st_size
        paste(page, picture, box, x, y)
    label(page, x, y + SIDE, lines(codec.name, setting, size, got, target))
    print(photo.stem, codec.name, setting, size, {k: got[k] for k in ("psnr", "ms_ssim_db", "ssimulacra2", "features")})
    return size


def make(path, meter, codecs, pictures):
    """One row a photo; every codec is brought to the bytes of the second one (mosaic) at its best level."""
    from PIL import Image
    codecs = [c for c in codecs if c.name != LEFT_OUT]
    base = codecs[1]
    photos = {p.stem: p for p in pictures}
    page = Image.new("RGB", ((len(codecs) + 1) * (SIDE + GAP) - GAP, len(CROPS) * (SIDE + TEXT)), "white")
    for row, (name, left, top) in enumerate(CROPS):
        box, y, photo = (left, top, left + SIDE, top + SIDE), row * (SIDE + TEXT), photos[name]
        width, height = paste(page, photo, box, 0, y)
        label(page, 0, y + SIDE, [(f"{name}, original", "black"), (f"crop of {width}x{height}", "black"),
                                  ("features: distance, 0 is best", "black")])
        column = {c.name: (1 + i) * (SIDE + GAP) for i, c in enumerate(codecs)}
        target = one(page, meter, base, photo, None, box, column[base.name], y)
        for codec in codecs:
            if codec is not base:
                one(page, meter, codec, photo, target, box, column[codec.name], y)
    page.save(path, optimize=True)
