# SPDX-License-Identifier: BSD-2-Clause
"""Arrays for the tests of tessera codebook, without NumPy."""
import json
import random
import struct
import sys

MIDDLES = [(0, 0, 0), (9, 0, 0), (0, 9, 0), (0, 0, 9)]
CODES = [2] * 4 + [0] * 2 + [3, 1]


def save(name, descr, shape, data, order=False, promise=None):
    text = "{'descr': '%s', 'fortran_order': %s, 'shape': %s, }" % (
        descr, order, promise or shape)
    text = text.ljust(117) + '\n'
    with open(name, 'wb') as out:
        out.write(b'\x93NUMPY\x01\0' + struct.pack('<H', len(text)))
        out.write(text.encode() + data)


def load(name):
    with open(name, 'rb') as file:
        data = file.read()
    assert data[:8] == b'\x93NUMPY\x01\0', data[:8]
    size = struct.unpack('<H', data[8:10])[0]
    assert (size + 10) % 64 == 0 and data[9 + size:10 + size] == b'\n'
    head = eval(data[10:10 + size])
    assert head['descr'] == '<f4' and head['fortran_order'] is False
    rows, cols = head['shape']
    values = struct.unpack('<%df' % (rows * cols), data[10 + size:])
    return [values[i * cols:(i + 1) * cols] for i in range(rows)]


def floats(values):
    return struct.pack('<%df' % len(values), *values)


def clouds(npy, tensors):
    rng = random.Random(1)
    data = floats([m + rng.uniform(-1, 1) for i in range(400)
                   for m in MIDDLES[i % 4]])
    save(npy, '<f4', (400, 3), data)
    head = json.dumps({'v': {'dtype': 'F32', 'shape': [400, 3],
                             'data_offsets': [0, len(data)]}}).encode()
    head = head.ljust((len(head) + 7) // 8 * 8)
    with open(tensors, 'wb') as out:
        out.write(struct.pack('<Q', len(head)) + head + data)


def near(name):
    words = load(name)
    assert len(words) == 4
    for middle in MIDDLES:
        assert min(max(abs(a - b) for a, b in zip(w, middle))
                   for w in words) < 0.4, words


def is_sorted(book, codes, name):
    rank = sorted(range(4), key=lambda c: (-CODES.count(c), c))
    words = load(book)
    assert load(name) == [words[c] for c in rank]


def main(what, *names):
    if what == 'clouds':
        clouds(*names)
    elif what == 'codes':
        save(names[0], '<i8', (2, 4), struct.pack('<8q', *CODES))
    elif what == 'near':
        near(names[0])
    elif what == 'shape':
        words = load(names[0])
        assert [len(words), len(words[0])] == [int(n) for n in names[1:]]
    elif what == 'sorted':
        is_sorted(*names)
    elif what == 'stats':
        with open(names[0]) as file:
            got = json.load(file)
        assert got == {'codes': 8, 'k': 8, 'used': 4, 'utilisation': 0.5,
                       'entropy': 1.75, 'perplexity': 3.3636}, got
    elif what == 'huge':
        save(names[0], '<f4', (), floats([0] * 9), promise='(99999999, 4000)')
    elif what == 'over':
        save(names[0], '<f4', (), b'', promise='(1099511627776, 1099511627776)')
    elif what == 'nan':
        save(names[0], '<f4', (3, 1), floats([0, float('nan'), 1]))
    elif what == 'order':
        save(names[0], '<f4', (3, 1), floats([0, 2, 1]), order=True)
    else:
        sys.exit(2)


main(*sys.argv[1:])
