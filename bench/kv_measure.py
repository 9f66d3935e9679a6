# SPDX-License-Identifier: BSD-2-Clause
"""What a lossy cache does to a language model: windows of text, and strings to recall."""
import hashlib
import json
import tempfile
from pathlib import Path

import numpy as np
import torch

import kv_lm

RULERS = (1024, 128)  # scored tokens from the end of the context on
STRING, PROMPT = 24, 8  # tokens of a string to recall, and of its beginning that is given
BACK = (1000, 700, 500, 350, 250, 200)  # where strings begin, in tokens before the end of the context


class Context:
    """Cached tokens with their lossless cache, as tensors and as the file that a program packs."""

    def __init__(self, lm, tokens, folder):
        self.tokens = tokens
        with torch.no_grad():
            _, self.cache = lm.run(tokens, logits_from=len(tokens) - 1)
        self.path = Path(folder) / "cache.safetensors"
        kv_lm.save_cache(self.path, lm, tokens, self.cache)
        k, v = self.cache[0]
        self.values = (k.numel() + v.numel()) * len(self.cache)


class Text:
    """A window: the context is cached, what follows is read with that cache in one pass and scored."""
    kind = "text"

    def __init__(self, window, tokens, context):
        self.name, self.tokens, self.context = str(window), tokens, context

    def prepare(self, lm, folder):
        self.made = Context(lm, self.tokens[:self.context], folder)
        self.target = torch.as_tensor(self.tokens[self.context + 1:], device=lm.device)
        logits = lm.run(self.tokens[self.context:-1], self.made.cache)[0]
        self.lossless = logits.log_softmax(-1)
        self.p, self.base = self.lossless.exp(), self.nll(self.lossless)

    def nll(self, log_p):
        return -log_p.gather(1, self.target[:, None])[:, 0].double()

    def measure(self, lm, cache):
        log_q = lm.run(self.tokens[self.context:-1], cache)[0].log_softmax(-1)
        each = {"kl": (self.p * (self.lossless - log_q)).sum(-1).double(), "nll": self.nll(log_q),
                "base": self.base, "top1": (log_q.argmax(-1) == self.lossless.argmax(-1)).double()}
        return {name: [float(x[:n].mean()) for n in RULERS] for name, x in each.items()}


class Recall:
    """The context of a window into which strings of random words are put.  Later each string's beginning is given, by
    itself, and the rest must follow: the model can know it from the cache only."""
    kind = "recall"

    def __init__(self, window, tokens, context, words):
        random = np.random.default_rng(window)
        self.name, self.tokens = str(window), tokens[:context].copy()
        self.strings = random.choice(words, (len(BACK), STRING), replace=False)
        for back, string in zip(BACK, self.strings):
            self.tokens[context - back:context - back + STRING] = string

    def prepare(self, lm, folder):
        self.made = Context(lm, self.tokens, folder)
        self.lossless = self.answers(lm, self.made.cache)

    def answers(self, lm, cache):
        """log-probability of each token to recall and whether it is the model's first choice: [strings, tokens]"""
        log_p, first = [], []
        for s in self.strings:
            target = torch.as_tensor(s[PROMPT:], device=lm.device)
            p = lm.run(s[:-1], cache, logits_from=PROMPT - 1)[0].log_softmax(-1)
            log_p.append(p.gather(1, target[:, None])[:, 0])
            first.append(p.argmax(-1) == target)
        return torch.stack(log_p).double(), torch.stack(first)

    def measure(self, lm, cache):
        """Per string: mean log-probability and hits, lossless and lossy, and hits of both"""
        (p0, hit0), (p1, hit1) = self.lossless, self.answers(lm, cache)
        each = {"logp0": p0, "logp": p1, "hit0": hit0.double(), "hit": hit1.double(), "both": (hit0 & hit1).double()}
        return {name: x.mean(1).tolist() for name, x in each.items()}


def word_tokens(folder):
    """Tokens of a byte-level vocabulary that are a blank and at least three letters"""
    vocab = json.loads((Path(folder) / "tokenizer.json").read_text())["model"]["vocab"]
    return sorted(i for t, i in vocab.items() if t[0] == "\u0120" and len(t) > 3 and t[1:].isalpha())


def repetition(tokens, n=4):
    """Share of the tokens that end an n-gram seen before"""
    seen, again = set(), 0
    for gram in zip(*(tokens[i:].tolist() for i in range(n))):
        again += gram in seen
        seen.add(gram)
    return again / max(len(tokens) - n + 1, 1)


def content(cache):
    """Equal for equal caches: codecs that differ in their coding alone are run through the model once."""
    h = hashlib.sha256()
    for pair in cache:
        for t in pair:
            h.update(t.contiguous().cpu().numpy().tobytes())
    return h.digest()


class Runner:
    """Measures codecs on windows; a result that is in the store already is not measured again."""

    def __init__(self, lm, store):
        self.lm, self.store, self.lm_id, self.failed = lm, store, lm.fingerprint(), {}

    def key(self, codec, item):
        text = "|".join((codec.identity, item.kind, hashlib.sha256(item.tokens.tobytes()).hexdigest(), self.lm_id))
        return hashlib.sha256(text.encode()).hexdigest()

    @torch.no_grad()
    def run(self, codecs, item, pool, say):
        """codec name -> result; a codec whose program fails goes into `failed`, with what it said"""
        codecs = [c for c in codecs if c.name not in self.failed]
        todo, same = [c for c in codecs if self.key(c, item) not in self.store], {}
        if todo:
            with tempfile.TemporaryDirectory() as folder:
                item.prepare(self.lm, folder)
                coded = [(c, pool.submit(c.code_file, item.made, folder) if c.external else None) for c in todo]
                for codec, future in coded:
                    try:
                        cache, bits = future.result() if future else codec.code(item.made.cache)
                    except SystemExit as error:
                        self.failed[codec.name] = str(error)
                        continue
                    cache = [tuple(t.to(self.lm.device) for t in pair) for pair in cache]
                    seen = content(cache)
                    if seen not in same:
                        same[seen] = item.measure(self.lm, cache)
                    row = {"bits": bits, "values": item.made.values, "device": self.lm.device_name(), **same[seen]}
                    self.store[self.key(codec, item)] = row
                    say(codec, item, row)
        return {c.name: self.store[self.key(c, item)] for c in codecs if c.name not in self.failed}
