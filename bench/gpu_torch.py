# SPDX-License-Identifier: BSD-2-Clause
"""The nets of a model in PyTorch, for bench/gpu: gpu_torch.py, with a job as one line of JSON on the standard input.

A job is a dictionary: "what" is

ceilings  how fast a large product of fp16 matrices and a large copy are
check     whether the nets here compute what the library does, in float32, on the first file; and the work they are
time      how fast nets run in fp16: prepares and compiles, prints {"ready"}, waits for a line, measures

The other entries are described at the functions that use them.  The result is the last line, JSON.  Nothing is entropy
coded here; inputs are in the device's memory in fp16 already; encoding includes the search for the nearest codes.
"""
import json
import signal
import statistics
import sys
import time
from collections import Counter

import numpy as np
import torch
import torch.nn as nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

import speed_audio_torch
import speed_image_torch

ROWS = (512, 2048, 8192)    # vectors searched at a time: the fastest counts


class Chain(nn.Module):
    """A net and the search behind it, or a method of a net."""

    def __init__(self, net, then=None, method=None):
        super().__init__()
        self.net, self.then, self.method = net, then, method

    def forward(self, *x):
        y = getattr(self.net, self.method)(*x) if self.method else self.net(*x)
        return self.then(y) if self.then else y


def load(job):
    """Encoder and decoder of job["model"]; encoders of token models and of sound end with codes."""
    meta, tensors = speed_image_torch.read_tensors(job["model"])
    kinds = {"encodec": speed_audio_torch.Encodec, "hificodec": speed_audio_torch.Hificodec}
    if meta["tessera.codec"] in kinds:
        net = kinds[meta["tessera.codec"]](job["model"], job["books"]).eval()
        return Chain(net, method="encode"), Chain(net, method="decode")
    encoder, decoder, _, search = speed_image_torch.transforms(meta, tensors)
    return Chain(encoder, search).eval(), decoder.eval()


def read_files(job):
    """[n][channels]...: pictures -1..1, or sounds."""
    if job["audio"]:
        return torch.stack([torch.from_numpy(np.fromfile(p, np.float32))[None] for p in job["files"]])
    return torch.cat([speed_image_torch.read_picture(p, 1) for p in job["files"]])


def tuple_of(y):
    return tuple(y) if isinstance(y, (tuple, list)) else (y,)


def moved(xs, device, layout=torch.contiguous_format, kind=None):
    """Tensors on a device; floating-point ones of pictures in a number format and layout."""
    def one(x):
        x = x.to(device, kind if x.is_floating_point() else None)
        return x.contiguous(memory_format=layout) if x.dim() == 4 and x.is_floating_point() else x
    return tuple(one(x) for x in xs)


def synchronize(device):
    if device == "cuda":
        torch.cuda.synchronize()


def distance(got, want):
    """|got - want| / |want|, or of codes the part that differs."""
    if not want.is_floating_point():
        return float((got != want).float().mean())
    return float((got.float() - want.float()).norm() / want.float().norm())


# ---- ceilings ----

def events(call, rounds):
    """Seconds of each round, by events of the device."""
    out = []
    for _ in range(rounds):
        a, b = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        a.record()
        call()
        b.record()
        b.synchronize()
        out.append(a.elapsed_time(b) / 1e3)
    return out


def ceilings(job):
    """job["device"].  {"tflops", "gbs", "device", "torch", ...}"""
    if job["device"] != "cuda":
        return {"device": "CPU", "torch": torch.__version__, "tflops": 0.1, "gbs": 10.0, "rehearsal": True}
    side, many = 8192, 1 << 30
    a, b = (torch.randn(side, side, device="cuda", dtype=torch.float16) for _ in range(2))
    source, target = torch.randint(256, (many,), dtype=torch.uint8, device="cuda"), torch.empty(
        many, dtype=torch.uint8, device="cuda")
    calls = [(lambda: torch.matmul(a, b), 2e-12 * side ** 3), (lambda: target.copy_(source), 2e-9 * many)]
    got = []
    for call, work in calls:
        events(call, 5)
        got.append(work / statistics.median(events(call, 25)))
    about = torch.cuda.get_device_properties(0)
    return {"tflops": got[0], "gbs": got[1], "device": about.name, "sms": about.multi_processor_count,
            "torch": torch.__version__, "cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()}


# ---- check ----

class Work(TorchDispatchMode):
    """Collects (operations, numbers of inputs and results, numbers of weights) of everything that multiplies matrices.
    Scores of a search are not counted as results: they need not exist."""

    def __init__(self):
        super().__init__()
        self.rows, self.kinds = [], Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        packet = func._overloadpacket
        name = packet.__name__
        tensors = [a for a in args if isinstance(a, torch.Tensor)]
        if name in ("_cudnn_rnn", "lstm", "mkldnn_rnn_layer"):
            weights = sum(w.numel() for a in args if isinstance(a, (list, tuple)) for w in a
                          if isinstance(w, torch.Tensor) and w.dim() == 2)
            x = args[0]
            self.rows.append((2 * weights * x.numel() // x.shape[-1], 2 * x.numel(), weights))
        elif packet in flop_registry:
            work = flop_registry[packet](*args, **(kwargs or {}), out_val=out)
            if name in ("mm", "addmm", "bmm", "baddbmm"):
                left, right = tensors[-2:]
                self.rows.append((work, left.numel(), right.numel()))
            elif name == "convolution":
                self.rows.append((work, args[0].numel() + out.numel(), args[1].numel()))
            else:
                results = out[0] if isinstance(out, tuple) else out
                self.rows.append((work, sum(t.numel() for t in tensors) + results.numel(), 0))
        else:
            return out
        self.kinds[name] += 1
        return out


def samples_back(job, like):
    """What the library decoded, as a tensor like `like`."""
    if job["audio"]:
        return torch.from_numpy(np.fromfile(job["saved"] + ".out", np.float32))
    n, c, h, w = like.shape
    return torch.from_numpy(np.fromfile(job["saved"] + ".out", np.uint8)).reshape(h, w, c).permute(2, 0, 1)


def compare(job, got):
    """got: decoded here.  How far it is from what the library decoded."""
    want = samples_back(job, got)
    if job["audio"]:
        got = got[0, 0, :len(want)]
        return {"difference": distance(got, want), "largest": float((got - want).abs().max()),
                "spread": float(want.std())}
    got = ((got[0] + 1) * 127.5).round().clamp(0, 255)
    apart = (got - want.float()).abs()
    return {"difference": distance(got, want.float()), "largest": float(apart.max()), "spread": float(want.float().std()),
            "over1": float((apart > 1).float().mean())}


@torch.no_grad()        # in inference mode operations would be seen before they are taken apart
def check(job):
    """job["saved"]: what gpu_speed -save wrote for the first of job["files"]; job["device"].  Codes are the library's
    where it gives them, else those found here."""
    device = job["device"]
    encoder, decoder = (net.to(device) for net in load(job))
    x = moved((read_files({**job, "files": job["files"][:1]}),), device)
    out = {}
    with Work() as encoding:
        latent = tuple_of(encoder(*x))
    if job["codes"]:
        mine = latent[0]
        file = np.fromfile(job["saved"] + ".codes", np.uint16 if job["audio"] else np.int32).astype(np.int64)
        codes = torch.from_numpy(file).to(device).reshape(mine.shape)
        out["codes"], out["differ"] = codes.numel(), int((codes != mine).sum())
        if job["audio"]:
            out["first"] = int((codes != mine)[..., 0].sum())
        latent = (codes,)
    _, tensors = speed_image_torch.read_tensors(job["model"])
    if "gain_enc" in tensors:       # of the best quality, where quantising matters least; it is left out
        latent = (latent[0] * (tensors["gain_enc"][-1] * tensors["gain_dec"][-1]).to(device)[:, None, None],)
    with Work() as decoding:
        y = decoder(*latent)
    out["picture"] = compare(job, y.cpu())
    out["work"] = {"encode": encoding.rows, "decode": decoding.rows}
    out["kinds"] = dict(encoding.kinds + decoding.kinds)
    return out


# ---- time ----

def compiled(net, mode):
    kw = {} if mode == "default" else {"mode": mode}
    return torch.compile(net, dynamic=False, **kw)


def patiently(work):
    """Another time where memory ran out, as others may be compiling too."""
    for attempt in range(4):
        try:
            return work()
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            time.sleep(3 + 3 * attempt)
    return work()


class Side:
    """An encoder or a decoder in fp16, the batches it gets, and what the first one should become."""

    def __init__(self, net, batches, want):
        self.net, self.batches, self.want, self.fast, self.why = net, batches, want, None, None
        self.graph = self.still = None

    def build(self, mode, until):
        """Compiles, until time.time() is so late; what the compiler says goes into why."""
        def late(*_):
            raise TimeoutError("not compiled in time")

        def work():
            self.fast = compiled(self.net, mode)
            for _ in range(3):
                self.fast(*self.batches[0])
        signal.signal(signal.SIGALRM, late)
        signal.setitimer(signal.ITIMER_REAL, max(0.1, until - time.time()))
        try:
            patiently(work)
        except Exception as e:      # of any kind: the other forms go on
            self.fast, self.why = None, f"{type(e).__name__}: {' '.join(str(e).split())[:400]}"
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def capture(self):
        """The compiled net as a CUDA graph."""
        stream = torch.cuda.Stream()
        self.still = tuple(x.clone() for x in self.batches[0])
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                self.fast(*self.still)
        torch.cuda.current_stream().wait_stream(stream)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.result = self.fast(*self.still)

    def replay(self, *xs):
        for a, b in zip(self.still, xs):
            a.copy_(b)
        self.graph.replay()
        return self.result

    def far(self, call):
        """Distance of a form's first result from float32's; it must not be what memory held before."""
        got = tuple_of(call(*self.batches[0]))
        return max(distance(g[:1].cpu(), w) for g, w in zip(got, self.want))


def rounds_of(call, batches, device, least, seconds):
    """Median seconds of a pass over all batches."""
    def one():
        for xs in batches:
            call(*xs)
    for _ in range(2 if device == "cuda" else 1):
        one()
    synchronize(device)
    times = []
    while len(times) < least or (sum(times) < seconds and len(times) < 100):
        if device == "cuda":
            times += events(one, 1)
        else:
            start = time.perf_counter()
            one()
            times.append(time.perf_counter() - start)
    return {"median": statistics.median(times), "least": min(times), "rounds": len(times)}


def best_rows(encoder, xs, device):
    """Sets how many vectors a search takes at a time."""
    search = getattr(encoder, "then", None)
    if search is None or device != "cuda":
        return None
    z, took = encoder.net(*xs), {}
    for rows in ROWS:
        search.at_a_time = rows
        search(z)
        took[rows] = statistics.median(events(lambda: search(z), 5))
    search.at_a_time = min(took, key=took.get)
    return search.at_a_time


def prepare(job):
    """The sides of job["model"] with job["files"] in batches of job["batch"], pictures with channels last."""
    device, layout = job["device"], torch.channels_last
    kind = torch.float16 if device == "cuda" else torch.float32
    nets = [net.to(device) for net in load(job)]
    x = moved((read_files(job),), device)[0]
    first = tuple_of(nets[0](x[:1]))
    wanted = [tuple(w.cpu() for w in first), tuple(w.cpu() for w in tuple_of(nets[1](*first)))]
    # The modules of both sides may be one: it is turned into fp16 once.
    for net in nets:
        net.to(kind)
        if not job["audio"]:
            net.to(memory_format=layout)
    batches = [moved((part,), device, layout, kind) for part in x.split(job["batch"])]
    rows = best_rows(nets[0], batches[0], device)
    latents = [moved(tuple_of(nets[0](*xs)), device, layout, kind) for xs in batches]
    decoding = [moved(first, device, layout, kind)]
    sides = {"encode": Side(nets[0], batches, wanted[0]), "decode": Side(nets[1], latents, wanted[1])}
    out = {"rows": rows, "eager_far": {}}
    out["eager_far"]["encode"] = sides["encode"].far(nets[0])
    got = tuple_of(nets[1](*decoding[0]))
    out["eager_far"]["decode"] = max(distance(g.cpu(), w) for g, w in zip(got, wanted[1]))
    # fp16 finds other codes here and there, so a compiled decoder is compared with eager on the same codes.
    sides["decode"].want = tuple(g[:1].float().cpu() for g in tuple_of(nets[1](*latents[0])))
    return sides, out


def measure_side(side, job, out):
    device, least, seconds = job["device"], job["rounds"], job["seconds"]
    if job["eager"]:
        out["eager"] = {"channels last": rounds_of(side.net, side.batches, device, least, seconds)}
    if side.fast is None:
        out["why"] = side.why
        return
    out["compiled"] = rounds_of(side.fast, side.batches, device, least, seconds)
    out["compiled"]["far"] = side.far(side.fast)
    if device != "cuda":
        return
    try:
        side.capture()
        out["graph"] = rounds_of(side.replay, side.batches, device, least, seconds)
        out["graph"]["far"] = side.far(side.replay)
    except Exception as e:              # a net that cannot be captured is measured without
        out["why"] = f"no graph: {type(e).__name__}: {str(e).splitlines()[0][:200]}"
    side.graph = side.still = None


def measure_plain(side, job, out):
    """Eager with the usual layout, last: the weights are changed."""
    side.net.to(memory_format=torch.contiguous_format)
    batches = [moved(xs, job["device"]) for xs in side.batches]
    out["eager"]["contiguous"] = rounds_of(side.net, batches, job["device"], job["rounds"], job["seconds"])


@torch.inference_mode()
def timing(job):
    """job: see prepare(); "mode" of torch.compile, "until" when; "eager": measure that too; "rounds" and "seconds": at least.
    Seconds are of all files."""
    start = time.perf_counter()
    sides, out = patiently(lambda: prepare(job))
    out["prepared"] = time.perf_counter() - start
    for side in sides.values():
        side.build(job["mode"], job["until"])
    if job["device"] == "cuda":
        torch.cuda.empty_cache()
    out["compiled_in"] = time.perf_counter() - start - out["prepared"]
    print(json.dumps({"ready": out}), flush=True)
    sys.stdin.readline()
    # Only now, as it times: beside others that compile it would choose anything.
    torch.backends.cudnn.benchmark = True
    for name, side in sides.items():
        out[name] = {}
        measure_side(side, job, out[name])
    if job["eager"] and not job["audio"]:
        for name, side in sides.items():
            measure_plain(side, job, out[name])
    return out


def main():
    job = json.loads(sys.stdin.readline())
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False     # of float32
    if job["device"] == "cpu":
        torch.set_num_threads(job.get("threads", 1))
    done = {"ceilings": ceilings, "check": check, "time": timing}[job["what"]](job)
    print(json.dumps(done), flush=True)


if __name__ == "__main__":
    main()
