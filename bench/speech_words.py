# SPDX-License-Identifier: BSD-2-Clause
"""Speech with known words, what a recogniser understands of it, and how well codes tell words from one another."""
import re
import subprocess
import wave

import numpy as np

from photos import unpack

VOICES = ("awb", "rms", "slt")
READERS = ("rms", "slt")
# The first of the Harvard lists (IEEE Recommended Practice for Speech Quality Measurements, 1969).
SENTENCES = (
    "The birch canoe slid on the smooth planks.", "Glue the sheet to the dark blue background.",
    "It is easy to tell the depth of a well.", "These days a chicken leg is a rare dish.",
    "Rice is often served in round bowls.", "The juice of lemons makes fine punch.",
    "The box was thrown beside the parked truck.", "The hogs were fed chopped corn and garbage.",
    "Four hours of steady work faced us.", "A large size in stockings is hard to sell.")
WORDS = ("background", "chicken", "garbage", "stocking", "salmon", "river", "follow", "woman", "evening", "cushion",
         "fifty", "lemon", "canoe", "depth", "bowl", "punch", "truck", "steady", "spring", "breeze", "flame", "booth",
         "power", "seven")


def spoken(folder, voice, text):
    """A 16 kHz WAV file of the text by a voice of the synthesiser Flite."""
    path = folder / "spoken" / voice / (re.sub("[^a-z]+", "-", text.lower()).strip("-") + ".wav")
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["flite", "-voice", voice, "-t", text, "-o", str(path)], check=True, stdout=subprocess.DEVNULL)
    return path


def read_sentences(folder):
    """[(path, text)]: a reader of LibriVox."""
    data = unpack("pocketsphinx-testdata", folder) / "usr/share/pocketsphinx/test/data/librivox"
    pairs = re.findall(r"<s> (.*?) </s> \((.*?)\)", (data / "transcription").read_text())
    return [(data / (name + ".wav"), text.strip()) for text, name in pairs]


def plain(text):
    """Lower-case words; a few spellings that sound alike are made one."""
    words = re.sub(r"[^a-z' ]+", " ", text.lower()).replace("'", "").split()
    return [{"mr": "mister", "4": "four", "50": "fifty"}.get(w, w) for w in words]


def wrong(want, got):
    """Words replaced, left out and put in; no more than there are: a recogniser that is lost makes up any number."""
    row = list(range(len(got) + 1))
    for i, w in enumerate(want, 1):
        last, row[0] = row[0], i
        for j, g in enumerate(got, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (w != g))
    return min(row[-1], len(want))


class Recogniser:
    """Whisper tiny.en: neither the semantic codec's teacher nor trained for."""

    def __init__(self, folder):
        from faster_whisper import WhisperModel
        self.model = WhisperModel(str(folder), device="cpu", compute_type="int8", cpu_threads=2)

    def words(self, path):
        parts, _ = self.model.transcribe(str(path), language="en", beam_size=5, condition_on_previous_text=False,
                                         temperature=0)
        return plain(" ".join(p.text for p in parts).replace("4", "four").replace("50", "fifty"))


def read_wav(path, rate):
    done = subprocess.run(["ffmpeg", "-v", "error", "-i", str(path), "-ac", "1", "-ar", str(rate), "-f", "s16le", "-"],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True)
    return np.frombuffer(done.stdout, "<i2")


def write_wav(path, x, rate):
    with wave.open(str(path), "wb") as f:
        f.setnchannels(1)
        f.setsampwidth(2)
        f.setframerate(rate)
        f.writeframes(np.asarray(x, "<i2").tobytes())


def warped(a, b):
    """Mean distance of the rows of a and b along the best path of dynamic time warping."""
    d = np.sqrt(np.maximum(0, (a * a).sum(1)[:, None] + (b * b).sum(1) - 2 * a @ b.T))
    cost = np.full((len(a) + 1, len(b) + 1), np.inf)
    cost[0, 0] = 0
    for i in range(len(a)):
        for j in range(len(b)):
            cost[i + 1, j + 1] = d[i, j] + min(cost[i, j] + d[i, j], cost[i, j + 1], cost[i + 1, j])
    return cost[-1, -1] / (len(a) + len(b))


def separation(spoken_vectors):
    """Share of all (word, other word, two voices) where the word by the other voice is nearer than the other word by the
    same voice; 0.5 is chance.  spoken_vectors: {voice: {word: [frames, dims]}}."""
    voices, words = sorted(spoken_vectors), sorted(next(iter(spoken_vectors.values())))
    right = total = 0
    for u in voices:
        other = {}
        for i, w in enumerate(words):
            for x in words[i + 1:]:
                other[w, x] = other[x, w] = warped(spoken_vectors[u][w], spoken_vectors[u][x])
        for v in voices:
            if v == u:
                continue
            for w in words:
                same = warped(spoken_vectors[u][w], spoken_vectors[v][w])
                beaten = [same < other[w, x] for x in words if x != w]
                right, total = right + sum(beaten), total + len(beaten)
    return right / total
