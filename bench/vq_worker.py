# SPDX-License-Identifier: BSD-2-Clause
"""One size of bench/vq: all searches on the same arrays in one process.  Arguments and result are JSON."""
import ctypes
import json
import sys
import time

import numpy as np

try:
    import faiss
except ImportError:
    faiss = None


class Settings(ctypes.Structure):
    """tsr_context_settings, as far as it is set here; the rest is room."""
    _fields_ = [("size", ctypes.c_size_t), ("threads", ctypes.c_int), ("rest", ctypes.c_char * 500)]


def pointer(array):
    return array.ctypes.data_as(ctypes.c_void_p)


class Tessera:
    """The codebook search of the shared library; plain: without vector instructions."""
    def __init__(self, path, threads, words, plain=False):
        self.lib = ctypes.CDLL(path)
        self.context, self.book, settings = ctypes.c_void_p(), ctypes.c_void_p(), Settings()
        self.lib.tsr_context_settings_init(ctypes.byref(settings))
        settings.threads = threads
        self.lib.tsr_cpu_set_mask(0 if plain else 0xffffffff)
        self.check(self.lib.tsr_context_open(ctypes.byref(self.context), ctypes.byref(settings)))
        start = time.perf_counter()
        self.check(self.lib.tsr_codebook_open(ctypes.byref(self.book), self.context, pointer(words), *words.shape))
        self.prepare = time.perf_counter() - start

    @staticmethod
    def check(error):
        if error:
            sys.exit(f"libtessera: error {error}")

    def search(self, x):
        codes = np.empty(len(x), np.int32)
        self.check(self.lib.tsr_codebook_search(self.book, pointer(x), ctypes.c_size_t(len(x)), pointer(codes), None))
        return codes

    def close(self):
        self.lib.tsr_codebook_close(ctypes.byref(self.book))
        self.lib.tsr_context_close(ctypes.byref(self.context))


class Sgemm:
    """Matrix product and argmin, in blocks; the norms are one more channel, so that the product is the score."""
    def __init__(self, words):
        norm = np.einsum("ij,ij->i", words, words)[:, None]
        self.words = np.ascontiguousarray(np.hstack([words, norm]).T)

    def search(self, x, rows=512, columns=4096):
        codes = np.empty(len(x), np.int32)
        x = np.hstack([-2 * x, np.ones((len(x), 1), np.float32)])
        for i in range(0, len(x), rows):
            part = x[i:i + rows]
            lines = np.arange(len(part))
            best, at = np.full(len(part), np.inf, np.float32), np.zeros(len(part), np.int32)
            for j in range(0, self.words.shape[1], columns):
                score = part @ self.words[:, j:j + columns]
                low = score.argmin(1)
                value = score[lines, low]
                less = value < best
                best[less], at[less] = value[less], low[less] + j
            codes[i:i + rows] = at
        return codes


class Faiss:
    def __init__(self, words, threads):
        faiss.omp_set_num_threads(threads)
        self.index = faiss.IndexFlatL2(words.shape[1])
        self.index.add(words)

    def search(self, x):
        return self.index.search(x, 1)[1][:, 0].astype(np.int32)


def distances(x, words, codes):
    return ((x.astype(np.float64) - words[codes]) ** 2).sum(1)


def main():
    job = json.loads(sys.argv[1])
    rng = np.random.default_rng(1)
    words = rng.standard_normal((job["k"], job["dim"]), dtype=np.float32)
    x = rng.standard_normal((job["n"], job["dim"]), dtype=np.float32)
    ours = Tessera(job["library"], job["threads"], words)
    searches = {"tessera": ours, "sgemm + argmin": Sgemm(words)}
    if faiss:
        searches["FAISS IndexFlatL2"] = Faiss(words, job["threads"])
    clock = time.thread_time if job["threads"] == 1 else time.perf_counter
    best, codes = {}, {}
    for _ in range(job["rounds"]):
        for name, search in searches.items():
            start = clock()
            codes[name] = search.search(x)
            seconds = clock() - start
            best[name] = min(seconds, best.get(name, seconds))
    some = x[:job["plain"]]
    plain = Tessera(job["library"], job["threads"], words, plain=True)
    wrong = int((plain.search(some) != codes["tessera"][:len(some)]).sum())
    own = distances(x, words, codes["tessera"])
    differ = {}
    for name, got in codes.items():
        other = codes["tessera"] != got
        gap = np.abs(distances(x[other], words, got[other]) - own[other]) / np.maximum(own[other], 1e-30)
        differ[name] = [int(other.sum()), float(gap.max(initial=0))]
    versions = {"numpy": np.__version__, "faiss": faiss.__version__ if faiss else "not found"}
    print(json.dumps({"seconds": best, "wrong": wrong, "differ": differ, "prepare": ours.prepare,
                      "versions": versions}))
    plain.close()
    ours.close()


if __name__ == "__main__":
    main()
