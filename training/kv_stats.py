#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Statistics of a language model's key/value cache, for 'tessera kv profile': what an error in the cache costs.

kv_stats.py --lm DIR --tokens FILE.npy --windows 0,8,10 --out STATS.safetensors [--caches DIR]

The tokens are cut into windows of --context + --score; of each window named, the first --context are cached and the
rest read that cache.  Written, per layer i, with C = kv_heads * head_dim, all float32:
  fisher.i   [2C,2C]  mean of g g^T over the cached tokens from position 4 on; g is the gradient, with respect to one
                      token's [keys without RoPE, head by head | values], of the negative log-likelihood summed over
                      the window's scored positions, where each next token is drawn from the model's own prediction
                      (so that the mean is the Fisher information, not that of one text)
  query.i    [C,C]    by KV head: mean of q q^T / head_dim, queries turned back by a random cached position each, as
                      they meet keys without RoPE
  output.i   [C,C]    by KV head: Wo^T Wo, summed over the query heads that share it
  embedding  [vocab, hidden] float16: rows of the embedding, scaled to root mean square 1
--caches also writes each window's cache, WINDOW.safetensors: layers.i.key|value and token_ids.
Cost: about three forward passes a window; one window in memory at a time.
"""
import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "bench"))
import kv_lm  # noqa: E402
import tensorfile  # noqa: E402

SINKS = 4


def options():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("--lm", type=Path, required=True, help="folder with config.json and *.safetensors")
    ap.add_argument("--tokens", type=Path, required=True, help=".npy, one row of token ids")
    ap.add_argument("--windows", required=True, help="comma-separated numbers of windows")
    ap.add_argument("--context", type=int, default=2048, help="tokens cached; %(default)s")
    ap.add_argument("--score", type=int, default=1024, help="tokens behind them; %(default)s")
    ap.add_argument("--seed", type=int, default=1, help="%(default)s")
    ap.add_argument("--out", type=Path, required=True, help="the statistics")
    ap.add_argument("--caches", type=Path, help="a folder for the windows' caches")
    ap.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="%(default)s")
    ap.add_argument("--threads", type=int, default=0, help="of PyTorch on the CPU; 0: its own choice")
    return ap.parse_args()


def gradients(lm, tokens, cache, generator):
    """Gradients of the sampled NLL with respect to the cache [layer] (key, value), and each layer's queries."""
    leaves = [tuple(t.float().requires_grad_() for t in pair) for pair in cache]
    queries = []
    logits, _ = lm.run(tokens, leaves, queries=queries)
    with torch.no_grad():
        drawn = torch.multinomial(logits.softmax(-1), 1, generator=generator)[:, 0]
    torch.nn.functional.cross_entropy(logits, drawn, reduction="sum").backward()
    return [tuple(t.grad for t in pair) for pair in leaves], queries


def flat(x):
    """[heads, tokens, dim] -> [tokens, heads * dim]"""
    return x.transpose(0, 1).reshape(x.shape[1], -1)


def add_window(lm, tokens, context, generator, sums, caches):
    with torch.no_grad():
        _, cache = lm.run(tokens[:context], logits_from=context - 1)
    if caches:
        kv_lm.save_cache(caches, lm, tokens[:context], cache)
    grads, queries = gradients(lm, tokens[context:], cache, generator)
    back = lm.turn(torch.arange(context), -1)
    for i, ((gk, gv), q) in enumerate(zip(grads, queries)):
        g = torch.cat([flat(kv_lm.rotate(gk, back)), flat(gv)], 1)[SINKS:].double()
        sums["fisher"][i] += g.T @ g / len(g)
        at = torch.randint(SINKS, context, (q.shape[1],), generator=generator, device=lm.device)
        q = kv_lm.rotate(q, lm.turn(at, -1)).double().view(lm.kv_heads, -1, lm.head_dim)
        sums["query"][i] += torch.block_diag(*(q.mT @ q / (q.shape[1] * lm.head_dim)))


def output_metric(lm, layer):
    w = lm.weights[f"layers.{layer}.self_attn.o_proj.weight"].double()
    w = w.view(len(w), lm.kv_heads, -1, lm.head_dim).permute(1, 2, 0, 3)
    return torch.block_diag(*(w.mT @ w).sum(1))


def main():
    o = options()
    if o.threads:
        torch.set_num_threads(o.threads)
    lm = kv_lm.LM(o.lm, o.device)
    tokens = np.load(o.tokens).astype(np.int64)
    windows, size = [int(w) for w in o.windows.split(",")], o.context + o.score
    if min(windows) < 0 or (max(windows) + 1) * size > len(tokens):
        sys.exit(f"{o.tokens} has {len(tokens) // size} windows of {size} tokens")
    generator = torch.Generator(lm.device).manual_seed(o.seed)
    width = lm.kv_heads * lm.head_dim
    sums = {name: torch.zeros(lm.layers, n, n, dtype=torch.float64, device=lm.device)
            for name, n in (("fisher", 2 * width), ("query", width))}
    if o.caches:
        o.caches.mkdir(parents=True, exist_ok=True)
    start = time.time()
    for n, w in enumerate(windows):
        add_window(lm, tokens[w * size:(w + 1) * size], o.context, generator, sums,
                   o.caches and o.caches / f"{w:03d}.safetensors")
        print(f"window {w}: {n + 1} of {len(windows)}, {time.time() - start:.0f} s", file=sys.stderr, flush=True)
    out = {f"{name}.{i}": (s[i] / len(windows)).float().cpu().numpy() for name, s in sums.items()
           for i in range(lm.layers)}
    out |= {f"output.{i}": output_metric(lm, i).float().cpu().numpy() for i in range(lm.layers)}
    out["embedding"] = lm.normal_embedding().half().cpu().numpy()
    tensorfile.save(o.out, out, {
        "model": o.lm.resolve().name, "model_sha256": lm.fingerprint(), "seed": str(o.seed), "windows": o.windows,
        "context": str(o.context), "score": str(o.score), "tokens_used": str(len(windows) * size),
        "rope_theta": str(lm.theta), "heads": str(lm.kv_heads), "head_dim": str(lm.head_dim)})


if __name__ == "__main__":
    main()
