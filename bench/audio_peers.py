# SPDX-License-Identifier: BSD-2-Clause
"""The sound codecs that rd-audio compares: each turns a 24 kHz mono WAV file into bytes and another WAV file."""
import re
import shutil
import subprocess
from dataclasses import dataclass, field

from machine import run

RATE = 24000


@dataclass
class Codec:
    name: str
    tools: dict          # program -> Debian package
    version: str         # command whose first line says it
    steps: list          # commands; {i} input, {c} coded, {o} decoded, {w} scratch name, {s} setting
    settings: list       # (label, value)
    speech_only: bool = False
    note: str = ""
    extra: dict = field(default_factory=dict)

    def missing(self):
        return sorted({package for tool, package in self.tools.items() if not shutil.which(tool)})

    def says(self):
        done = subprocess.run(self.version, shell=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        return (done.stdout.strip().splitlines() or ["?"])[0].strip()

    def commands(self):
        return [" && ".join(s) for s in [[" ".join(step) for step in self.steps]]]

    def code(self, source, folder, setting):
        """Returns (payload bits, file bytes, path of the decoded WAV)."""
        names = {"i": source, "c": folder / "coded", "o": folder / "out.wav", "w": folder / "scratch", "s": setting}
        for step in self.steps:
            run(*(str(word).format(**names) for word in step))
        size = names["c"].stat().st_size
        return self.payload(names["c"], size), size, names["o"]

    def payload(self, coded, size):
        return 8 * size


class Opus(Codec):
    def payload(self, coded, size):
        """Without Ogg's pages, as opusinfo counts: its share is large at these rates."""
        text = run("opusinfo", coded)
        overhead = float(re.search(r"overhead:\s*([\d.]+)%", text).group(1)) if "overhead" in text else None
        packets = re.search(r"Total data length:\s*(\d+)", text)
        if overhead is None or not packets:
            raise SystemExit("rd-audio: opusinfo says no overhead")
        return 8 * int(packets.group(1)) * (1 - overhead / 100)


class Ours(Codec):
    def payload(self, coded, size):
        import json
        return 8 * json.loads(run(self.extra["tessera"], "info", "--json", coded))["token_bytes"]


def resample(rate, a="{i}", b="{w}.wav"):
    return ["ffmpeg", "-v", "error", "-y", "-i", a, "-ar", str(rate), "-c:a", "pcm_s16le", "-bitexact", b]


def raw(rate, a, b):
    return ["ffmpeg", "-v", "error", "-y", "-i", a, "-ar", str(rate), "-f", "s16le", b]


def unraw(rate, a, b):
    return ["ffmpeg", "-v", "error", "-y", "-f", "s16le", "-ar", str(rate), "-ac", "1", "-i", a, "-ar", str(RATE),
            "-c:a", "pcm_s16le", "-bitexact", b]


def ours(tessera, name, model, settings, **more):
    """A model of ours; settings are numbers of books, their labels rates with fixed-length codes."""
    return Ours(name, {}, f"{tessera} --version",
                [[tessera, "encode", "-y", "-nostats", "-model", model, "-books", "{s}", "-i", "{i}", "-o", "{c}"],
                 [tessera, "decode", "-y", "-nostats", "-model", model, "-i", "{c}", "-o", "{o}"]],
                settings, extra={"tessera": tessera}, **more)


def codecs(tessera, model, semantic):
    note = "labels are rates with fixed-length codes"
    return [
        ours(tessera, "tessera", model,
             [("1.5k", 2), ("2.25k", 3), ("3k", 4), ("3.75k", 5), ("4.5k", 6), ("6k", 8)], note=note),
        ours(tessera, "semantic", semantic, [("0.25k", 1), ("0.5k", 2), ("0.75k", 3), ("1k", 4), ("1.5k", 6)],
             speech_only=True, note="16 kHz; " + note),
        Opus("Opus", {"opusenc": "opus-tools", "ffmpeg": "ffmpeg"}, "opusenc --version",
             [["opusenc", "--quiet", "--bitrate", "{s}", "--vbr", "--comp", "10", "--framesize", "60", "{i}", "{c}"],
              ["opusdec", "--quiet", "--rate", str(RATE), "{c}", "{o}"]],
             [("6k", 6), ("9k", 9), ("12k", 12), ("16k", 16)]),
        Codec("Codec2", {"c2enc": "codec2", "ffmpeg": "ffmpeg"}, "dpkg-query -W -f '${Package} ${Version}' codec2",
              [raw(8000, "{i}", "{w}"), ["c2enc", "{s}", "{w}", "{c}"], ["c2dec", "{s}", "{c}", "{w}2"],
               unraw(8000, "{w}2", "{o}")],
              [("1.2k", 1200), ("2.4k", 2400), ("3.2k", 3200)], speech_only=True, note="8 kHz"),
        Codec("LC3", {"elc3": "liblc3-tools", "ffmpeg": "ffmpeg"},
              "dpkg-query -W -f '${Package} ${Version}' liblc3-tools",
              [["elc3", "-b", "{s}", "{i}", "{c}"], ["dlc3", "{c}", "{o}"]],
              [("16k", 16000), ("24k", 24000)], note="its lowest rate is 16 kbit/s"),
    ]
