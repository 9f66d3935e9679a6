# SPDX-License-Identifier: BSD-2-Clause
"""Helper of test_kv_net_cli.sh: ids of a cache as .npy, a free port, a Redis server that has no name of its own."""
import json
import os
import socket
import struct
import sys


def ids(cache, out):
    with open(cache, "rb") as f:
        size, = struct.unpack("<Q", f.read(8))
        tensor = json.loads(f.read(size))["token_ids"]
        begin, end = tensor["data_offsets"]
        f.seek(8 + size + begin)
        data = f.read(end - begin)
    head = f"{{'descr': '<i4', 'fortran_order': False, 'shape': ({tensor['shape'][0]},), }}".ljust(117) + "\n"
    with open(out, "wb") as f:
        f.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() + data)


def port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        print(s.getsockname()[1])


def redis(binary, number, folder):
    os.execv(binary, ["redis-server", "--port", number, "--bind", "127.0.0.1", "--save", "", "--dir", folder])


if __name__ == "__main__":
    {"ids": ids, "port": port, "redis": redis}[sys.argv[1]](*sys.argv[2:])
