# SPDX-License-Identifier: BSD-2-Clause
"""What the tests of video on the command line need beside the shell."""
import os
import resource
import signal
import struct
import subprocess
import sys
import time
import zlib


def frame(width, height, n):
    """Frame n of a picture that moves, yuv420p."""
    rows, half = [], []
    for y in range(height):
        rows.append(bytes((16 + (3 * x + 5 * y + 7 * n) % 220)
                          for x in range(width)))
    for plane in range(2):
        for y in range((height + 1) // 2):
            half.append(bytes(96 + (x + 2 * y + n * (1 + plane)) % 64
                              for x in range((width + 1) // 2)))
    return b"FRAME\n" + b"".join(rows + half)


def head(width, height):
    return b"YUV4MPEG2 W%d H%d F25:1 Ip A1:1 C420jpeg\n" % (width, height)


def y4m(path, width, height, count):
    with open(path, "wb") as f:
        f.write(head(int(width), int(height)))
        for n in range(int(count)):
            f.write(frame(int(width), int(height), n))


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def chunks(data):
    at = 16
    while at + 24 <= len(data) and data[at:at + 4] == b"TSRK":
        size, stream = struct.unpack_from("<IH", data, at + 8)
        yield data[at + 4:at + 8], stream, data[at + 24:at + 24 + size], at
        at += 28 + size
        at += -at % 8


def packets(path, stream=None):
    """Prints stream, pts, duration and crc of each packet of a media file."""
    with open(path, "rb") as f:
        data = f.read()
    for kind, number, body, _ in chunks(data):
        if kind != b"DATA" or (stream is not None and number != int(stream)):
            continue
        pts, at = varint(body, 0)
        duration, at = varint(body, at)
        print(number, pts // 2 if pts % 2 == 0 else -(pts + 1) // 2, duration,
              "%08x" % zlib.crc32(body[at:]))


def bodies(path, stream):
    """Prints the crc of each packet of a stream: its bytes, whenever it is."""
    with open(path, "rb") as f:
        data = f.read()
    for kind, number, body, _ in chunks(data):
        if kind == b"DATA" and number == int(stream):
            _, at = varint(body, 0)
            _, at = varint(body, at)
            print("%08x" % zlib.crc32(body[at:]))


def flip(path, copy, number):
    """Copies a file with a bit of its DATA chunk `number` changed."""
    with open(path, "rb") as f:
        data = bytearray(f.read())
    at = [a for kind, _, _, a in chunks(bytes(data)) if kind == b"DATA"]
    data[at[int(number)] + 40] ^= 4
    with open(copy, "wb") as f:
        f.write(data)


def shape(path):
    """Prints the head of a y4m file and the number of its frames."""
    with open(path, "rb") as f:
        line = f.readline().decode()
        rest = f.read()
    words = dict((w[0], w[1:]) for w in line.split()[1:] if w[0] in "WHFC")
    w, h = int(words["W"]), int(words["H"])
    size = {"420": w * h + 2 * ((w + 1) // 2) * ((h + 1) // 2),
            "444": 3 * w * h, "mon": w * h}[words["C"][:3]]
    if "p10" in words["C"]:
        size *= 2
    count = len(rest) // (size + 6)
    if count * (size + 6) != len(rest):
        count = "broken"
    print(words["W"], words["H"], words["F"], words["C"], count)


def same_colours(yuv, rgb, width, height, matrix, full):
    """Whether raw yuv444p is what H.273 says of raw rgb24, within rounding."""
    kr, kb = {"601": (0.299, 0.114), "709": (0.2126, 0.0722)}[matrix]
    scale, black, chroma = (255, 0, 255) if full == "1" else (219, 16, 224)
    with open(yuv, "rb") as f, open(rgb, "rb") as g:
        a, b = f.read(), g.read()
    n = int(width) * int(height)
    worst = 0
    for i in range(n):
        r, g, bl = (b[3 * i + c] / 255 for c in range(3))
        y = kr * r + (1 - kr - kb) * g + kb * bl
        for plane, want in enumerate((black + scale * y,
                                      128 + chroma * (bl - y) / (2 - 2 * kb),
                                      128 + chroma * (r - y) / (2 - 2 * kr))):
            want = min(max(want, 0), 255)
            worst = max(worst, abs(a[plane * n + i] - want))
    sys.exit(worst > 0.501)


def rss(*command):
    """Prints the most memory, in kB, that a command took."""
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)


def frames_of(path):
    try:
        with open(path) as f:
            lines = [x for x in f if x.startswith("frame=")]
    except OSError:
        return 0
    return int(lines[-1][6:]) if lines else 0


def stop(name, progress, *command):
    """Runs a command that reads video from standard input until it tells of 5
    frames, sends it a signal while it waits for more, prints its exit status."""
    child = subprocess.Popen(command, stdin=subprocess.PIPE)
    child.stdin.write(head(32, 32))
    for n in range(3000):
        child.stdin.write(frame(32, 32, n))
        child.stdin.flush()
        if frames_of(progress) >= 5 or child.poll() is not None:
            break
        time.sleep(0.02)
    child.send_signal(getattr(signal, name))
    try:
        print(child.wait(60))
    except subprocess.TimeoutExpired:
        child.kill()
        print("does not end")


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
