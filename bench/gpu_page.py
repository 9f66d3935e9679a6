# SPDX-License-Identifier: BSD-2-Clause
"""The page of bench/gpu's figures."""
from pathlib import Path

from machine import table

# McQuic, published: megapixels a second with an RTX 3090 (pictures of 768x512, 10 at a time, entropy coding included),
# and that card's data sheet: TFLOP/s of float32, of fp16 products with float32 sums, GB/s.
PUBLISHED = {"encode": 25.45, "decode": 22.03}
CARD = {"float32": 35.6, "fp16": 71.0, "GB/s": 936.0}
PRECISIONS = ("auto", "fp16", "fp32")
ABOUT = """\
A round codes all {many} files; figures are medians of at least 10 rounds after warming up. **Ours** is the library by its
public API: samples in the host's memory to a stream in the host's memory (encode) and back (decode), copies to and from the device
and entropy coding included; each stream and picture of each round is compared with the first one's, which was made in memory filled
with a pattern. {how} max_memory is 8 GiB, so that no picture is tiled. `auto`: encoders in float32, decoders in fp16 (the default); `fp16` and `fp32`: both.

**PyTorch** runs the same networks with the same weights in fp16, from tensors that are on the device already to tensors on the
device: no copies, no entropy coding, no files; token models and sound include the search for the nearest codes, in fp16 too (which
finds others here and there, see the last table; ours is exact). Calls are queued without waiting for one another; device events.
`eager` is the faster of channels-last and contiguous, `compile` the fastest of what `torch.compile` made of channels-last{modes},
each also as a CUDA graph (which is what mode reduce-overhead adds; the compiler chooses layouts itself). cuDNN's benchmark mode
is on. Batch: the files of a call; 1 is one after another.

"Floor": each product of matrices or convolution at the measured rate of a large fp16 product, or reading its inputs
and weights and writing its result once in fp16 at the rate of a large copy, whichever takes longer, one after another; everything else
free. The share is the floor's time over ours with `fp16`."""


def rate_text(x):
    return "" if x is None else f"{x:.0f}" if x >= 100 else f"{x:.1f}" if x >= 10 else f"{x:.2f}"


class Page:
    def __init__(self, out):
        self.out, self.many = out, out["many"]
        self.batches = sorted({min(16, self.many), 1}, reverse=True)    # as they were measured
        self.missed, self.met = [], []

    def amount(self, net):
        """(of a file, unit): megapixels or seconds of sound."""
        size = self.out["facts"]["sizes"][net]
        return (size[0], "s/s") if len(size) == 1 else (size[0] * size[1] / 1e6, "MP/s")

    def ours(self, net, precision, batch, side):
        """Seconds of all files, or None."""
        got = self.out["ours"].get(net, {}).get(f"{precision}/{batch}", {}).get(side)
        return got and got["median"]

    def peer(self, net, batch, side, forms):
        """(seconds, name) of the fastest of PyTorch's forms."""
        found = []
        for p in self.out["peers"]:
            if p["net"] != net or p["batch"] != batch:
                continue
            if "eager" in forms:
                audio = len(self.out["facts"]["sizes"][net]) == 1
                found += [(e["median"], "" if audio else how) for how, e in p.get(side, {}).get("eager", {}).items()]
            for form in set(forms) & {"compiled", "graph"} & p.get(side, {}).keys():
                mode = {"default": "default", "max-autotune-no-cudagraphs": "max-autotune"}[p["mode"]]
                found.append((p[side][form]["median"], mode + (", graph" if form == "graph" else "")))
        return min(found) if found else (None, "")

    def floor(self, net, batch, side):
        """Seconds of all files."""
        rows, top = self.out["check"].get(net, {}).get("work"), self.out.get("ceilings", {})
        if not rows or "tflops" not in top:
            return None
        return self.many * sum(max(work / (top["tflops"] * 1e12), 2 * (moved + weights / batch) / (top["gbs"] * 1e9))
                               for work, moved, weights in rows[side])

    def verdict(self, net, batch, side, mine, theirs, least, form):
        if None in (mine, theirs):
            return None
        ratio = theirs / mine
        text = f"{net}, {side}, batch {batch}: {ratio:.2f} times {form}, wanted {least:g}"
        (self.met if ratio >= least else self.missed).append(text)
        return ratio

    def speeds(self, nets):
        head = ["codec", "what", "batch", *(f"ours {p}" for p in PRECISIONS), "eager", "form", "compile", "form",
                "fp16 / eager", "fp16 / compile", "auto / eager", "auto / compile", "share of the floor"]
        rows = []
        for net in nets:
            amount, unit = self.amount(net)
            for batch in self.batches:
                for side in ("encode", "decode"):
                    mine = {p: self.ours(net, p, batch, side) for p in PRECISIONS}
                    eager, how = self.peer(net, batch, side, ["eager"])
                    fast, which = self.peer(net, batch, side, ["compiled", "graph"])
                    if not any(mine.values()) and eager is None:
                        continue
                    ratios = [t / mine[p] if mine[p] and t else None for p in ("fp16", "auto") for t in (eager, fast)]
                    if batch == 1:
                        self.verdict(net, batch, side, mine["fp16"], eager, 2, "eager")
                    else:
                        self.verdict(net, batch, side, mine["fp16"], fast, 1, "torch.compile")
                    floor = self.floor(net, batch, side)
                    share = f"{100 * floor / mine['fp16']:.1f} %" if floor and mine["fp16"] else ""
                    rows.append([net, side, batch, *(rate_text(s and self.many * amount / s) for s in mine.values()),
                                 rate_text(eager and self.many * amount / eager), how,
                                 rate_text(fast and self.many * amount / fast), which,
                                 *("" if r is None else f"{r:.2f}" for r in ratios), share])
        return table(head, rows) if rows else "Not measured."

    def latency(self, nets):
        """Milliseconds of one file, processor time, bytes."""
        rows = []
        for net in nets:
            for what, got in sorted(self.out["ours"].get(net, {}).items()):
                if "encode" in got:
                    cells = [f"{1e3 * got[s][k] / self.many:.2f}" for s in ("encode", "decode")
                             for k in ("median", "least", "p90", "cpu")]
                    rows.append([net, *what.split("/"), *cells, f"{got['bytes'] / self.many:.0f}", f"{got['db']:.2f}",
                                 *(f"{got[s]['differ']} in {got[s]['rounds']}" for s in ("encode", "decode"))])
        head = ["codec", "precision", "batch", *(f"{s} {k}" for s in ("encode", "decode")
                                                 for k in ("ms", "least", "p90", "CPU ms")),
                "bytes", "dB", "streams that differ, rounds", "samples that differ, rounds"]
        return table(head, rows) if rows else "Not measured."

    def published(self):
        top = self.out.get("ceilings", {})
        if "tflops" not in top or "mcquic" not in self.out["ours"]:
            return "Not measured."
        amount, _ = self.amount("mcquic")
        ratios = {"tensor cores": top["tflops"] / CARD["fp16"], "memory": top["gbs"] / CARD["GB/s"]}
        rows = []
        for side, there in PUBLISHED.items():
            for precision in PRECISIONS:
                took = self.ours("mcquic", precision, self.batches[0], side)
                if took:
                    rate = self.many * amount / took
                    rows.append([f"{side}, {precision}", there, f"{rate:.1f}", f"{rate / there:.1f}",
                                 *(f"{rate / there / r:.2f}" for r in ratios.values())])
        text = (f"Published: {PUBLISHED['encode']} and {PUBLISHED['decode']} MP/s with an RTX 3090, batches of 10, entropy coding "
                f"included (weights are random here: the work is the same). That card's data sheet: {CARD['fp16']:g} TFLOP/s of "
                f"fp16 products with float32 sums, {CARD['float32']} of float32, {CARD['GB/s']:g} GB/s. This one, measured: "
                f"{top['tflops']:.0f} TFLOP/s and {top['gbs']:.0f} GB/s: {ratios['tensor cores']:.1f} and "
                f"{ratios['memory']:.1f} times that. The last columns are our gain over the published rate, divided by "
                "these: above 1 is more than the hardware's ratio.\n\n")
        return text + table(["what, precision", "published", "ours, MP/s", "times", "times / tensor cores' ratio",
                             "times / memory's ratio"], rows)

    def checks(self):
        rows = []
        for net, got in self.out["check"].items():
            if "picture" not in got:
                rows.append([net, got.get("why", "")] + [""] * 7)
                continue
            far = {s: [f"{x:.1e}" for x in self.distances(net, s)] for s in ("encode", "decode")}
            work = {s: sum(r[0] for r in got["work"][s]) / 1e9 for s in ("encode", "decode")}
            p = got["picture"]
            rows.append([net, f"{p['difference']:.1e}", f"{p['largest']:.2g}", f"{p['spread']:.3g}",
                         f"{got['differ']} of {got['codes']}" if "codes" in got else "",
                         *(" to ".join([min(f, key=float), max(f, key=float)]) if f else "" for f in far.values()),
                         *(f"{w:.1f}" for w in work.values())])
        return table(["net", "decoded: relative difference", "largest", "spread", "codes that differ", "fp16 encoding",
                      "fp16 decoding", "GFLOP encode", "GFLOP decode"], rows) if rows else "Not measured."

    def distances(self, net, side):
        out = []
        for p in self.out["peers"]:
            if p["net"] == net:
                out += [p["eager_far"][side]] + [f["far"] for f in p.get(side, {}).values()
                                                 if isinstance(f, dict) and "far" in f]
        return out


def head(out):
    f, top = out["facts"], out.get("ceilings", {})
    lines = [f"- GPU: {f['gpu'] or top.get('device', 'none')} (name, driver, clocks, power limit); host: {f['cpu']}, {f['system']}",
             f"- Date: {f['date']}; commit {f['commit']}; the whole run took {out.get('took', 0):.0f} s",
             f"- Command: `{f['command']}`",
             f"- PyTorch {top.get('torch')}, CUDA {top.get('cuda')}, cuDNN {top.get('cudnn')}"]
    if "tflops" in top:
        lines.append(f"- Ceilings measured in the run: fp16 product of 8192 x 8192 matrices {top['tflops']:.0f} TFLOP/s; copy within the "
                     f"device {top['gbs']:.0f} GB/s (read and written)")
    if top.get("rehearsal"):
        lines.append("- **A rehearsal without a GPU: the figures mean nothing**")
    return lines


def verdicts(page):
    lines = ["## Against the targets", "",
             "With `fp16`, at least as fast as `torch.compile` at the larger batch, and twice as fast as eager at batch 1.", ""]
    for name, texts in (("Met", page.met), ("Missed", page.missed)):
        lines += [f"{name} ({len(texts)}):", "", *("- " + t for t in texts), *([""] if texts else [])]
    return lines


def page_of(out):
    page = Page(out)
    sizes = out["facts"]["sizes"]
    pictures, sounds = ([n for n in out["titles"] if n in sizes and (len(sizes[n]) == 2) == p] for p in (True, False))
    modes = {p["mode"] for p in out["peers"]}
    batched = f"Batch {page.batches[0]}: " + (f"{page.batches[0]} threads, each with a context of its own." if out["lanes"]
                                              else "one call for all of them.")
    about = ABOUT.format(many=out["many"], how=batched,
                         modes=" (modes default and max-autotune-no-cudagraphs)" if len(modes) > 1 else " (mode default)")
    names = "; ".join(f"`{n}`: {out['titles'][n]}" for n in pictures + sounds)
    size = f"{sizes[pictures[0]][0]}x{sizes[pictures[0]][1]} pixels" if pictures else ""
    long = f"{sizes[sounds[0]][0]:g} s" if sounds else ""
    tables = [page.speeds(pictures), page.speeds(sounds)]
    lines = ["<!-- SPDX-License-Identifier: BSD-2-Clause -->", f"# Codecs on a GPU, {out['facts']['day']}", "", *head(out), "",
             f"Photographs of {size} and sounds of {long}, none of which was used in training. {names}. Models of a "
             "published size have random weights.", "", about, "", *verdicts(page),
             "## Pictures, megapixels a second", "", tables[0], "",
             "## Sounds, seconds of sound a second", "", tables[1], "",
             "## McQuic beside its publication", "", page.published(), "",
             "## Ours by the file", "",
             "Milliseconds of a round divided by its files; processor time of all threads; mean bytes; dB: PSNR of pictures, "
             "signal to noise of sounds (random weights make noise of either). What differs: files whose stream or samples were not those "
             "of the first time, and rounds of all files; a context that searches for kernels may take others than the one beside it.", "", page.latency(pictures + sounds), "",
             "## Whether PyTorch computes the same", "",
             "Float32 on both sides, the first file: what the library decoded beside what PyTorch makes of the same codes (photo and "
             "mcquic, whose codes the API does not give: of what PyTorch encodes; photo at quality 100, in PyTorch not quantised), as "
             "|difference| / |samples|, the largest difference and the samples' standard deviation (pictures of 0..255, sounds); codes "
             "that differ; how far PyTorch's fp16 forms are from its float32 (codes: the part that differs; compiled "
             "decoders: from eager fp16); work of a file.", "", page.checks(), ""]
    if out["notes"]:
        lines += ["## Not measured", "", *("- " + n for n in out["notes"]), ""]
    return "\n".join(lines)


def write(out, folder):
    """Writes gpu-DAY.md and prints it."""
    folder.mkdir(parents=True, exist_ok=True)
    text = page_of(out)
    (Path(folder) / f"gpu-{out['facts']['day']}.md").write_text(text)
    print(text)
