# SPDX-License-Identifier: BSD-2-Clause
"""Tables and picture of bench/kv-quality."""
import csv
import math
import textwrap

import numpy as np

from kv_measure import BACK, PROMPT, RULERS, STRING
from machine import table

KL_AT = ((0, (0.001, 0.003, 0.01, 0.03)), (1, (0.002, 0.005, 0.02)))


class Line:
    """A codec over all windows: means, and standard errors over windows."""

    def __init__(self, codec, rows):
        self.family, self.name = codec.family, codec.name
        self.bpv = sum(r["bits"] for r in rows) / sum(r["values"] for r in rows)
        each = {name: np.array([r[name] for r in rows]) for name in ("kl", "nll", "base", "top1")}
        n = len(rows)
        self.kl, self.top1 = each["kl"].mean(0), 100 * each["top1"].mean(0)
        self.ppl = np.exp(each["nll"].mean(0))
        self.delta = 100 * (np.exp((each["nll"] - each["base"]).mean(0)) - 1)
        spread = lambda x: x.std(0, ddof=1) / math.sqrt(n) if n > 1 else 0 * x[0]
        self.kl_se, self.delta_se = spread(each["kl"]), 100 * spread(each["nll"] - each["base"])

    def cells(self):
        out = [self.name, f"{self.bpv:.3f}", f"{16 / self.bpv:.1f}"]
        for i in range(len(RULERS)):
            out += [f"{self.ppl[i]:.4f}", f"{self.delta[i]:+.3f} ({self.delta_se[i]:.3f})", f"{self.top1[i]:.2f}",
                    f"{self.kl[i]:.5f} ({self.kl_se[i]:.5f})"]
        return out


def lines_of(codecs, results, windows):
    return [Line(c, [results[w][c.name] for w in windows]) for c in codecs]


def points_table(lines):
    head = ["codec", "bits a value", "x fp16"]
    head += [f"{h}, {n}" for n in RULERS for h in ("ppl", "change % (se)", "top-1 %", "KL (se)")]
    return table(head, [line.cells() for line in lines])


def rate_at(points, kl):
    """Bits a value where the curve [(bits, KL)] has this KL; bits are linear in log KL between points.  Where a curve
    is not monotone the highest such rate counts.  Outside the curve: a text that says on which side."""
    points = sorted(points, reverse=True)
    if not points or points[0][1] > kl:
        return f"> {points[0][0]:.3f}" if points else "-"
    for (b1, k1), (b0, k0) in zip(points, points[1:]):
        if k0 > kl:
            t = math.log(kl / max(k1, 1e-9)) / math.log(k0 / max(k1, 1e-9))
            return f"{b1 + t * (b0 - b1):.3f}"
    return f"< {points[-1][0]:.3f}"


def families(lines):
    out = {}
    for line in lines:
        out.setdefault(line.family, []).append(line)
    return {name: some for name, some in out.items() if len(some) > 1}


def rates_table(lines):
    head = ["family"] + [f"KL {k:g}, {RULERS[i]} tokens" for i, at in KL_AT for k in at]
    return table(head, [[name] + [rate_at([(p.bpv, p.kl[i]) for p in some], k) for i, at in KL_AT for k in at]
                        for name, some in families(lines).items()])


def split_table(lines, few, rest):
    """The most repetitive windows beside the others"""
    rows = [[a.name] + [f for line in (b, c) for f in (f"{line.bpv:.3f}", f"{line.kl[0]:.5f}", f"{line.kl[1]:.5f}")]
            for a, b, c in zip(lines, few, rest)]
    return table(["codec"] + [f"{which}: {what}" for which in ("repetitive", "others")
                              for what in ("bits a value", "KL, 1024", "KL, 128")], rows)


def recall_table(codecs, results):
    """Hits by distance, and how many of the lossless model's hits the codec keeps"""
    def mean(name, key):
        return np.mean([w[name][key] for w in results.values()], 0)
    first = codecs[0].name
    hit = mean(first, "hit0")
    rows = [["lossless", "", *(f"{100 * x:.1f}" for x in hit), f"{100 * hit.mean():.1f}", "100.0",
             f"{mean(first, 'logp0').mean():.3f}"]]
    for c in codecs:
        some = [w[c.name] for w in results.values()]
        bpv = sum(r["bits"] for r in some) / sum(r["values"] for r in some)
        hit, kept = mean(c.name, "hit"), mean(c.name, "both").mean() / mean(c.name, "hit0").mean()
        rows.append([c.name, f"{bpv:.3f}", *(f"{100 * x:.1f}" for x in hit), f"{100 * hit.mean():.1f}",
                     f"{100 * kept:.1f}", f"{mean(c.name, 'logp').mean():.3f}"])
    return table(["codec", "bits a value", *(f"{b} back, %" for b in BACK), "all, %", "of lossless hits, %",
                  "log p"], rows)


def paragraph(*pieces):
    return textwrap.wrap(" ".join(pieces), 120)


def page(o, head, lines, split, repetitive, recall):
    text = ["<!-- SPDX-License-Identifier: BSD-2-Clause -->", "# Quality of compressed key/value caches", "", *head, "",
            *paragraph(
                f"The first {o.context} tokens of a window are cached and go through the codec; the {RULERS[0]} that",
                "follow are read with that one lossy cache in one pass and scored.  Bits a value count every byte of",
                "the packed file, or every bit that a peer would store; what is offline and one a model (profiles,",
                "bases, tables) is not counted.  KL: mean over tokens of KL(lossless || lossy) in nats; top-1: share of",
                "tokens whose most probable next token is the lossless one; change: of perplexity; se: standard error",
                f"over windows.  Columns of {RULERS[1]} tokens are of those next to the cached context, where a model needs",
                "the cache most: the harder ruler.  Peers are bench/kv_peers.py; ours are the program's `kv pack` and",
                "`kv unpack`.  The figures are of this model; another one's have to be measured."),
            "", "## Points", "", points_table(lines), "",
            "## Bits a value needed", "",
            "Between points bits are linear in log KL; `<` and `>`: outside the points measured.", "",
            rates_table(lines), "", "## Windows with the most repetition", "",
            f"Windows {', '.join(repetitive)}: those with most tokens that end a 4-gram seen before in the window.", "",
            split_table(lines, *split)]
    if recall:
        codecs, results = recall
        text += ["", "## Recall", "",
                 *paragraph(
                     f"{len(BACK)} strings of {STRING} random words each (one token a word) replace text of each",
                     "window's context, beginning the given number of tokens before its end.  Then, each by itself",
                     f"behind the cache, a string's first {PROMPT} tokens are given; counted is how often each of the",
                     f"other {STRING - PROMPT} is the model's first choice (given the right ones before it).  A model",
                     "that had not seen the string would get none."), "",
                 recall_table(codecs, results)]
    return "\n".join(text) + "\n"


def write_csv(path, codecs, results, recall):
    fields = ["test", "window", "family", "codec", "bits", "values"]
    fields += [f"{k}_{n}" for n in RULERS for k in ("kl", "nll", "base", "top1")] + ["hit", "hit0", "both", "logp"]
    with path.open("w", newline="") as f:
        out = csv.DictWriter(f, fields, lineterminator="\n")
        out.writeheader()
        for test, some in (("text", results), ("recall", recall)):
            for window, row in some.items():
                for c in codecs:
                    r = row[c.name]
                    line = {"test": test, "window": window, "family": c.family, "codec": c.name, "bits": r["bits"],
                            "values": r["values"]}
                    if test == "text":
                        line |= {f"{k}_{n}": f"{r[k][i]:.7g}" for i, n in enumerate(RULERS)
                                 for k in ("kl", "nll", "base", "top1")}
                    else:
                        line |= {k: f"{np.mean(r[k]):.5f}" for k in ("hit", "hit0", "both", "logp")}
                    out.writerow(line)


def plot(path, lines, ours):
    """Bits a value against KL, both logarithmic, for both rulers; False without matplotlib"""
    try:
        import matplotlib
    except ImportError:
        return False
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    figure, axes = plt.subplots(1, 2, figsize=(15, 8), sharex=True, constrained_layout=True)
    for i, ax in enumerate(axes):
        for n, (name, some) in enumerate(families(lines).items()):
            some = sorted((p for p in some if p.kl[i] > 0), key=lambda p: p.bpv)
            style = {"lw": 2.4, "marker": "o"} if name in ours else {"lw": 1, "marker": ".", "ls": "--"}
            ax.plot([p.bpv for p in some], [p.kl[i] for p in some], label=name, color=f"C{n % 10}", **style)
        ax.set_xscale("log", base=2)
        ax.set_yscale("log")
        ax.set_xticks([2.0 ** e for e in range(-5, 4)], [f"{2.0 ** e:g}" for e in range(-5, 4)])
        ax.set_xlabel("bits a value, every byte counted (fp16: 16)")
        ax.set_ylabel("KL(lossless || lossy), nats a token")
        ax.set_title(f"{RULERS[i]} tokens behind the cached context")
        ax.grid(True, which="both", alpha=0.25)
    if families(lines):
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=6, fontsize=9)
    figure.savefig(path, dpi=110)
    return True
