# SPDX-License-Identifier: BSD-2-Clause
"""Codes of pictures for the tests of the program, without NumPy.

  form FILE                 prints type and dims of an array
  same A B                  exit status 1 if the codes differ
  save FILE TYPE DIMS N...  an array; one number is repeated
  cast FILE TYPE OUT        the same numbers in another type
  lost FILE N               exit status 1 unless N codes are lost, not all
  level MODEL FINE J FILE   exit status 1 unless FILE holds what docs/tokens.md
                            says is level J of the codes in FINE
"""
import ast
import bisect
import json
import struct
import sys

LETTERS = {"<u2": "H", "<i4": "i", "<i8": "q", "|u1": "B", "<u8": "Q",
           "<f4": "f"}


def load(name):
    with open(name, "rb") as file:
        data = file.read()
    size = struct.unpack_from("<H", data, 8)[0]
    assert data[:8] == b"\x93NUMPY\x01\0" and (10 + size) % 64 == 0
    head = ast.literal_eval(data[10:10 + size].decode())
    assert head["fortran_order"] is False
    shape, count = head["shape"], 1
    for n in shape:
        count *= n
    letter = LETTERS[head["descr"]]
    assert len(data) == 10 + size + count * struct.calcsize(letter)
    return head["descr"], shape, list(
        struct.unpack_from("<%d%s" % (count, letter), data, 10 + size))


def save(name, descr, shape, numbers):
    head = str({"descr": descr, "fortran_order": False, "shape": shape})
    head = head.ljust(117) + "\n"
    with open(name, "wb") as out:
        out.write(b"\x93NUMPY\x01\0" + struct.pack("<H", len(head)))
        out.write(head.encode())
        out.write(struct.pack("<%d%s" % (len(numbers), LETTERS[descr]),
                              *numbers))


def tensors(name):
    """Arrays of 32-bit whole numbers."""
    with open(name, "rb") as file:
        size = struct.unpack("<Q", file.read(8))[0]
        head, data = json.loads(file.read(size)), file.read()
    return {key: struct.unpack("<%di" % ((at[1] - at[0]) // 4),
                               data[at[0]:at[1]])
            for key, t in head.items() if t.get("dtype") == "I32"
            for at in [t["data_offsets"]]}


def of_level(model, ids, j):
    t = tensors(model)
    if j == 0:
        return ids
    order, start = t["tessera.order"], t["tessera.level.%d.start" % j]
    return [bisect.bisect_right(start, order[i]) - 1 for i in ids]


def main(what, name, *more):
    descr, shape, ids = load(name) if what in ("form", "same", "cast",
                                               "lost") else ("", (), [])
    if what == "form":
        print(descr, *shape)
    elif what == "same":
        other = load(more[0])
        return (shape, ids) != other[1:]
    elif what == "cast":
        save(more[1], more[0], shape, ids)
    elif what == "lost":
        return not ids.count(-1) == int(more[0]) < len(ids)
    elif what == "save":
        shape = tuple(int(n) for n in more[1].split("x"))
        count, numbers = 1, [int(n) for n in more[2:]]
        for n in shape:
            count *= n
        save(name, more[0], shape, numbers * (count if len(numbers) == 1 else 1))
    elif what == "level":
        fine, coarse = load(more[0]), load(more[2])
        return coarse[1:] != (fine[1], of_level(name, fine[2], int(more[1])))
    else:
        raise SystemExit(__doc__)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
