# SPDX-License-Identifier: BSD-2-Clause
"""The page, the table of figures and the curves that rd-image makes of its rows."""
import csv
import math

import perceptual
from curves import Curve, at_rate, bd_rate, mean
from machine import table
from peers import MEASURES

LOW, RATES = [0.03, 0.04, 0.05, 0.06], [0.10, 0.15, 0.20, 0.25]
METRICS = [("ms_ssim_db", "MS-SSIM dB", 2), ("psnr", "PSNR dB", 2), ("ssimulacra2", "SSIMULACRA 2", 1),
           ("features_db", "features dB", 2)]    # in all of them more is better


def curves_of(rows, codec, metric):
    """photo -> [(bpp, value)]"""
    out = {}
    for r in rows:
        if r["codec"] == codec:
            out.setdefault(r["photo"], []).append((r["bpp"], r[metric]))
    return out


def settings_table(rows, codecs):
    out = []
    for c in codecs:
        for s in c.settings:
            some = [r for r in rows if r["codec"] == c.name and r["setting"] == s]
            out.append([c.name, s] + [f"{mean(r[k] for r in some):.{n}f}" for k, n in (
                ("bpp", 4), ("psnr", 2), ("ms_ssim", 5), ("ms_ssim_db", 2), ("ssimulacra2", 1), ("features", 4),
                ("features_db", 2))])
    return table(["codec", "setting", "bpp", "PSNR dB", "MS-SSIM", "MS-SSIM dB", "SSIMULACRA 2", "features",
                  "features dB"], out)


def signed(values, digits):
    values = list(values)
    return f"{mean(values):+.{digits}f} ({len(values)})" if values else "-"


def fixed_rate_table(rows, names, base, metric, digits, rates):
    """Per photo: the mean where the photo's curve covers the rate, and base's less theirs where both do."""
    curves, out = {n: curves_of(rows, n, metric) for n in names}, []
    for name in names:
        cells = [name]
        for rate in rates:
            here = {p: at_rate(c, rate) for p, c in curves[name].items()}
            here = {p: v for p, v in here.items() if v is not None}
            cells.append(f"{mean(here.values()):.{digits}f} ({len(here)})" if here else "-")
            both = [(at_rate(curves[base][p], rate), v) for p, v in here.items()]
            cells.append("" if name == base else signed((b - v for b, v in both if b is not None), digits))
        out.append(cells)
    return table(["codec"] + [h for r in rates for h in (f"{r:.2f} bpp", "ours -")], out)


def equal_bytes_table(rows, names, base, setting):
    """At the bytes of one setting of base, photo by photo."""
    mine, out = {r["photo"]: r for r in rows if (r["codec"], r["setting"]) == (base, setting)}, []
    for name in names:
        if name == base:
            continue
        reach, differences, wins = 0, {m: [] for m, *_ in METRICS}, 0
        for metric, *_ in METRICS:
            curves = curves_of(rows, name, metric)
            for photo, r in mine.items():
                there = at_rate(curves[photo], r["bpp"])
                if there is not None:
                    differences[metric].append(r[metric] - there)
        reach, wins = len(differences["psnr"]), sum(d > 0 for d in differences["features_db"])
        smallest = mean(min(b for b, _ in curves_of(rows, name, "psnr")[p]) / r["bpp"] for p, r in mine.items())
        need = [n for n in (needed(curves_of(rows, name, "features_db")[p], r) for p, r in mine.items()) if n]
        out.append([name, reach, f"{smallest:.2f}"] + [signed(differences[m], d) for m, _, d in METRICS]
                   + [f"{wins} of {reach}" if reach else "-",
                      f"{math.exp(mean(map(math.log, need))):.2f} ({len(need)})" if need else "-"])
    return table(["codec", "photos", "smallest file / ours"] + [f"{label}: ours -" for _, label, _ in METRICS]
                 + ["ours better by features", "theirs / ours, bytes at equal features"], out)


def needed(curve, r):
    """By how much longer the file is with which a codec reaches the features of row r; None if it is not measured."""
    rate = Curve([(q, math.log(b)) for b, q in curve])(r["features_db"])
    return None if rate is None else math.exp(rate) / r["bpp"]


def mean_points(rows, codec, metric):
    """One point a setting: means over all photos."""
    return [(mean(r["bpp"] for r in some), mean(r[metric] for r in some)) for s in codec.settings
            for some in [[r for r in rows if r["codec"] == codec.name and r["setting"] == s]]]


def mean_curve_table(rows, codecs, metric, digits, rates):
    out = []
    for c in codecs:
        values = [at_rate(mean_points(rows, c, metric), rate) for rate in rates]
        out.append([c.name] + ["-" if v is None else f"{v:.{digits}f}" for v in values])
    return table(["codec"] + [f"{r:.2f} bpp" for r in rates], out)


def percent(x):
    return f"{100 * (math.exp(x) - 1):+.1f} %"


def bd_table(rows, names, base, metrics):
    out = []
    for name in names:
        if name == base:
            continue
        cells = [name]
        for metric in metrics:
            a, b = curves_of(rows, base, metric), curves_of(rows, name, metric)
            each = [x for x in (bd_rate(a[p], b[p]) for p in a if p in b) if x is not None]
            cells += [f"{percent(mean(each))} ({len(each)})" if each else "-",
                      f"{percent(min(each))} .. {percent(max(each))}" if each else "-",
                      sum(x < 0 for x in each)]
        out.append(cells)
    labels = {m: label for m, label, _ in METRICS}
    return table(["against"] + [h for m in metrics for h in (labels[m], "best .. worst photo", "smaller on")], out)


def measures_text():
    """What the head says of the measures."""
    parts = perceptual.__doc__.strip().split("\n\n")
    return ["Sizes are whole files. MS-SSIM is that of `tessera compare`: the mean of R, G and B, in dB",
            "-10 log10(1 - x); means are means of dB. In brackets: the number of photos that a figure is the mean of.", "", parts[1], "",
            parts[2]]


def page(rows, codecs, mosaic, head, remark, versions):
    names, photo = [c.name for c in codecs], codecs[0].name
    lines = ["<!-- SPDX-License-Identifier: BSD-2-Clause -->", "# Rate and distortion on photographs", "", *head,
             f"- Input: {len({r['photo'] for r in rows})} photographs (bench/photos.txt), of Debian packages that were "
             "not used in training; bench/photos.py prepares them.",
             *(f"- {c.name}: {c.version().split(' (')[0]}" for c in codecs if c.package != "tessera"),
             f"- Perceptual measures: {versions}", "", "```",
             *("tessera " + c.encode.split(" ", 1)[1] if c.package == "tessera" else c.encode for c in codecs), "```",
             "", *measures_text()]
    if remark:
        lines += ["", "## Seen", "", remark.read_text().strip()]
    if mosaic:
        for s in sorted({mosaic.settings[0], mosaic.settings[len(mosaic.settings) // 2], mosaic.settings[-1]}):
            bpp = mean(r["bpp"] for r in rows if (r["codec"], r["setting"]) == (mosaic.name, s))
            lines += ["", f"## At the bytes of {mosaic.name} -q {s} ({bpp:.4f} bpp)", "",
                      "photos: on how many the codec makes files so small; the differences are means over those.",
                      "More is better in all four. The last column looks the other way: how many bytes the codec needs",
                      "for the same distance of features.", "", equal_bytes_table(rows, names, mosaic.name, s)]
        for metric, label, digits in METRICS:
            lines += ["", f"## {label} at very low rates, photo by photo (ours: {mosaic.name})", "",
                      fixed_rate_table(rows, names, mosaic.name, metric, digits, LOW)]
    for metric, label, digits in METRICS:
        lines += ["", f"## {label} at fixed rates, photo by photo (ours: {photo})", "",
                  "Interpolated over log rate for each photo whose curve reaches the rate. \"ours -\": ours less",
                  "theirs, on the photos where both curves do. Compare the differences, not means of different photos.",
                  "", fixed_rate_table(rows, names, photo, metric, digits, RATES)]
    lines += ["", f"## Rate of {photo} at equal quality (Bjontegaard)", "",
              "Mean over the common range of each photo, then over the photos, of the log rate.",
              "Below zero: ours is smaller.",
              "", bd_table(rows, names, photo, ["ms_ssim_db", "psnr"]),
              "", bd_table(rows, names, photo, ["ssimulacra2", "features_db"])]
    for metric, label, digits in METRICS:
        lines += ["", f"## {label} at fixed rates, curve of the means", "",
                  "One curve a codec through the means below.", "",
                  mean_curve_table(rows, codecs, metric, digits, LOW + RATES)]
    lines += ["", "## Means at each setting", "", settings_table(rows, codecs), ""]
    return "\n".join(lines)


def write_csv(rows, path):
    fields = ["photo", "codec", "setting", "bytes", "bpp", *MEASURES]
    with path.open("w", newline="") as f:
        out = csv.DictWriter(f, fields, extrasaction="ignore", lineterminator="\n")
        out.writeheader()
        out.writerows({**r, "bpp": f"{r['bpp']:.5f}"} for r in rows)


def plot(rows, codecs, path):
    """Curves of the means, one panel a measure."""
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    figure, axes = plt.subplots(2, 2, figsize=(12, 9))
    for ax, (metric, label, _) in zip(axes.flat, METRICS):
        for n, c in enumerate(codecs):
            ax.plot(*zip(*sorted(mean_points(rows, c, metric))), "o-", ms=4, lw=2.5 if c.package == "tessera" else 1.2,
                    label=c.name, color=f"C{n}")
        ax.set_xscale("log")
        ticks = [0.02, 0.03, 0.05, 0.1, 0.2, 0.3, 0.5]
        ax.set_xticks(ticks, [str(t) for t in ticks])
        ax.minorticks_off()
        ax.set_xlabel("bits a pixel")
        ax.set_title(label + " (more is better)")
        ax.grid(alpha=0.3)
    axes.flat[0].legend()
    figure.tight_layout()
    figure.savefig(path, dpi=90)
    plt.close(figure)
