# SPDX-License-Identifier: BSD-2-Clause
"""What tests/test_media_in.sh needs beside the shell: comparisons of raw numbers,
and files with faults.  Each command ends with status 0 if all is well, else
says what is wrong."""
import array
import random
import struct
import sys


def numbers(name, code):
    values = array.array(code)
    with open(name, "rb") as f:
        values.frombytes(f.read())
    return values


def near(a, b, code, most):
    """near A B CODE MOST: as long, and no number further apart."""
    a, b = numbers(a, code), numbers(b, code)
    if len(a) != len(b):
        sys.exit(f" {len(a)} numbers, not {len(b)};")
    apart = max((abs(x - y) for x, y in zip(a, b)), default=0)
    if apart > float(most):
        sys.exit(f" {apart} apart;")


def part(whole, some, first, count, code, most):
    """part WHOLE SOME FIRST COUNT CODE MOST: SOME is that part of WHOLE."""
    whole, some = numbers(whole, code), numbers(some, code)
    want = whole[int(first):int(first) + int(count)]
    if len(some) != len(want):
        sys.exit(f" {len(some)} numbers, not {len(want)};")
    apart = max((abs(x - y) for x, y in zip(want, some)), default=0)
    if apart > float(most):
        sys.exit(f" {apart} apart;")


def orient(name, orientation, out):
    """orient JPEG N OUT: the same picture, said to be of EXIF's orientation N."""
    with open(name, "rb") as f:
        data = f.read()
    exif = (b"Exif\0\0II*\0\x08\0\0\0\x01\0" +
            struct.pack("<HHII", 0x112, 3, 1, int(orientation)) + b"\0\0\0\0")
    with open(out, "wb") as f:
        f.write(data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) +
                exif + data[2:])


def profile(name, text, out):
    """profile JPEG TEXT OUT: the same picture with an ICC profile that holds the
    text."""
    with open(name, "rb") as f:
        data = f.read()
    icc = struct.pack(">I", 200) + b"\0" * 60 + text.encode() + b"\0" * 200
    icc = b"ICC_PROFILE\0\x01\x01" + icc[:200]
    with open(out, "wb") as f:
        f.write(data[:2] + b"\xff\xe2" + struct.pack(">H", len(icc) + 2) + icc +
                data[2:])


def harm(name, out):
    """harm FILE OUT: a dozen runs of 20 random bytes in its middle."""
    with open(name, "rb") as f:
        data = bytearray(f.read())
    rng = random.Random(4)
    for _ in range(12):
        at = rng.randrange(len(data) // 4, len(data) * 3 // 4)
        data[at:at + 20] = bytes(rng.randrange(256) for _ in range(20))
    with open(out, "wb") as f:
        f.write(data)


def times(dump, want):
    """times DUMP WANT: a frame for each packet, at its time: lines of WANT are
    pts,duration."""
    with open(dump) as f:
        have = [tuple(map(int, line.split()[1:3])) for line in f
                if line.startswith("v ")]
    with open(want) as f:
        want = sorted(tuple(map(int, line.strip(",\n").split(",")[:2]))
                      for line in f if line.strip())
    if have != want:
        sys.exit(f" {have[:5]} ..., not {want[:5]} ...;")


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
