# SPDX-License-Identifier: BSD-2-Clause
"""Photographs inside Enlightenment .edj backgrounds, read through libeet with ctypes."""
import ctypes

from PIL import Image

EET = ctypes.CDLL("libeet.so.1")
LIBC = ctypes.CDLL(None)
UINT, INT, PTR = ctypes.c_uint, ctypes.c_int, ctypes.POINTER
IMAGE_ARGS = [ctypes.c_void_p, ctypes.c_char_p, PTR(UINT), PTR(UINT), PTR(INT), PTR(INT), PTR(INT), PTR(INT)]
EET.eet_init()
EET.eet_open.restype, EET.eet_open.argtypes = ctypes.c_void_p, [ctypes.c_char_p, INT]
EET.eet_close.argtypes = [ctypes.c_void_p]
EET.eet_data_image_read.restype, EET.eet_data_image_read.argtypes = ctypes.c_void_p, IMAGE_ARGS
EET.eet_data_image_header_read.argtypes = IMAGE_ARGS
LIBC.free.argtypes = [ctypes.c_void_p]


def load(path, widest=6000):
    """The widest image of the file that is not wider than `widest`, as RGB."""
    ef = EET.eet_open(path.encode(), 0)
    w, h, extra = UINT(), UINT(), [INT() for _ in range(4)]
    found = []
    for k in range(40):
        if EET.eet_data_image_header_read(ef, f"edje/images/{k}".encode(), w, h, *extra):
            found.append((w.value, h.value, k))
    _, _, k = max([f for f in found if f[0] <= widest] or found)
    p = EET.eet_data_image_read(ef, f"edje/images/{k}".encode(), w, h, *extra)
    data = ctypes.string_at(p, w.value * h.value * 4)
    LIBC.free(p)
    EET.eet_close(ef)
    return Image.frombuffer("RGB", (w.value, h.value), data, "raw", "BGRX", 0, 1)
