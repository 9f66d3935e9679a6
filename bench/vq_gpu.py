#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Nearest search on a GPU beside PyTorch's matrix product and argmin.

    bench/vq_gpu.py PROGRAM [N K DIM]...     PROGRAM: tests/cuda_vq

PROGRAM searches and writes its vectors, codewords and codes; PyTorch searches
the same ones.  The norms are made beforehand, scores are
addmm(|c|^2, x, c^T, alpha=-2) of some rows at a time, argmin follows; the best
of several numbers of rows counts.  Milliseconds, median.  "differ": codes that
are not those of the float definition.
"""
import os
import statistics
import subprocess
import sys
import tempfile

import numpy
import torch

SHAPES = [(65536, 100000, 8), (65536, 8192, 64), (65536, 262144, 128)]


def milliseconds(run, least=5, most=25):
    for _ in range(2):
        run()
    times = []
    while len(times) < least or (len(times) < most and sum(times) < 500):
        a, b = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        a.record()
        run()
        b.record()
        b.synchronize()
        times.append(a.elapsed_time(b))
    return statistics.median(times)


def step(norm, x, words):
    return torch.addmm(norm, x, words.t(), alpha=-2).argmin(1)


def search(one, norm, x, words, rows):
    return torch.cat([one(norm, part, words) for part in x.split(rows)])


def peer(name, one, norm, x, words, want, sizes):
    best, differ = None, None
    for rows in sizes:
        try:
            ms = milliseconds(lambda: search(one, norm, x, words, rows))
        except torch.OutOfMemoryError:
            continue
        if best is None or ms < best[0]:
            best = ms, rows
            codes = search(one, norm, x, words, rows)
            differ = int((codes != want).sum())
    print(f"  {name:24} {best[0]:9.3f} ms  ({best[1]} rows at a time) "
          f"differ {differ}", flush=True)


def compare(program, n, k, dim):
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        prefix = os.path.join(folder, "vq")
        print(subprocess.run([program, "time", str(n), str(k), str(dim), prefix],
                             check=True, capture_output=True, text=True)
              .stdout.strip(), flush=True)
        x, words = (torch.from_numpy(numpy.fromfile(prefix + end, "<f4"))
                    .view(-1, dim).cuda() for end in (".x", ".c"))
        want = torch.from_numpy(numpy.fromfile(prefix + ".codes", "<i4")).cuda()
    norm = (words * words).sum(1)
    sizes = [r for r in (1024, 4096, 16384, n) if r <= n and r * k <= 1 << 32]
    few = sizes[:2]
    peer("PyTorch float32", step, norm, x, words, want, sizes)
    compiled = torch.compile(step, dynamic=False)
    peer("PyTorch float32 compiled", compiled, norm, x, words, want, sizes[1:2])
    torch.backends.cuda.matmul.allow_tf32 = True
    peer("PyTorch tf32", step, norm, x, words, want, few)
    torch.backends.cuda.matmul.allow_tf32 = False
    peer("PyTorch bf16", step, norm.bfloat16(), x.bfloat16(), words.bfloat16(),
         want, few)


def main():
    numbers = [int(a) for a in sys.argv[2:]]
    shapes = list(zip(*[iter(numbers)] * 3)) or SHAPES
    print(torch.cuda.get_device_name(), "PyTorch", torch.__version__)
    for shape in shapes:
        compare(sys.argv[1], *shape)


main()
