# SPDX-License-Identifier: BSD-2-Clause
"""Forward pass of a Llama-architecture language model in a Hugging Face folder (config.json, *.safetensors), in plain
PyTorch, with its key/value cache in the caller's hands.

Arithmetic is float32.  Keys (after RoPE, positions from 0) and values are rounded to fp16 as they are made, since that
is what a serving engine attends to: a cache [layer] of (key, value), each fp16 [kv_heads, tokens, head_dim].
RoPE is the rotate-half one: channel d turns with channel d + head_dim / 2; scaling 'linear' and 'llama3'.
"""
import hashlib
import json
import math
import struct
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "training"))
import tensorfile  # noqa: E402

TYPES = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32, "I32": torch.int32, "I64": torch.int64}


def read_safetensors(path):
    """name -> tensor, of one file"""
    with open(path, "rb") as f:
        size, = struct.unpack("<Q", f.read(8))
        head = json.loads(f.read(size))
        data = bytearray(f.read())
    head.pop("__metadata__", None)
    return {name: torch.frombuffer(data, dtype=TYPES[t["dtype"]], offset=t["data_offsets"][0],
                                   count=math.prod(t["shape"])).reshape(t["shape"]) for name, t in head.items()}


def inverse_frequencies(config, head_dim):
    rope = config.get("rope_parameters") or {}
    scaling = config.get("rope_scaling") or rope
    theta = rope.get("rope_theta", config.get("rope_theta", 10000.0))
    inv = 1.0 / theta ** (torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim)
    kind = scaling.get("rope_type", scaling.get("type", "default"))
    if kind == "linear":
        inv = inv / scaling["factor"]
    elif kind == "llama3":
        low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
        turns = scaling["original_max_position_embeddings"] * inv / (2 * math.pi)
        share = ((turns - low) / (high - low)).clamp(0, 1)
        inv = inv * (share + (1 - share) / scaling["factor"])
    elif kind != "default":
        sys.exit(f"RoPE scaling {kind} is not known here")
    return inv, theta


class LM:
    def __init__(self, folder, device="cpu"):
        folder = Path(folder)
        self.config = c = json.loads((folder / "config.json").read_text())
        self.layers, self.hidden, self.vocab = c["num_hidden_layers"], c["hidden_size"], c["vocab_size"]
        self.heads = c["num_attention_heads"]
        self.kv_heads = c.get("num_key_value_heads", self.heads)
        self.head_dim = c.get("head_dim") or self.hidden // self.heads
        self.eps, self.device = c["rms_norm_eps"], torch.device(device)
        inv, self.theta = inverse_frequencies(c, self.head_dim)
        self.inv = inv.to(self.device)
        self.weights = {}
        for path in sorted(folder.glob("*.safetensors")):
            self.weights |= {name.removeprefix("model."): t.to(self.device, torch.float32)
                             for name, t in read_safetensors(path).items() if name.startswith(("model.", "lm_head."))}
        self.embed = self.weights["embed_tokens.weight"]
        self.head = self.embed if c.get("tie_word_embeddings") else self.weights["lm_head.weight"]

    def device_name(self):
        return torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "the CPU"

    def fingerprint(self):
        """SHA-256 over name and float32 data of each tensor, in the order of the names"""
        h = hashlib.sha256()
        for name in sorted(self.weights):
            h.update(name.encode() + self.weights[name].cpu().numpy().tobytes())
        return h.hexdigest()

    def turn(self, positions, sign=1):
        """cos and sin [len(positions), head_dim / 2]; sign -1 undoes RoPE"""
        angle = positions.to(self.device, torch.float64)[:, None] * self.inv * sign
        return angle.cos().float(), angle.sin().float()

    def norm(self, x, name):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * self.weights[name]

    def normal_embedding(self):
        """[vocab, hidden]: embedding rows of root mean square 1"""
        return self.embed * torch.rsqrt(self.embed.pow(2).mean(-1, keepdim=True) + self.eps)

    def split(self, x, name, heads):
        y = F.linear(x, self.weights[name + ".weight"], self.weights.get(name + ".bias"))
        return y.view(len(x), heads, self.head_dim).transpose(0, 1)

    def run(self, tokens, cache=None, logits_from=0, queries=None):
        """Logits of tokens[logits_from:] that stand behind the cache's tokens, and the cache of `tokens` alone.

        queries  a list to which each layer's queries, after RoPE, are added: [heads, len(tokens), head_dim]
        """
        past = cache[0][0].shape[1] if cache else 0
        tokens = torch.as_tensor(np.asarray(tokens, np.int64), device=self.device)
        n, made = len(tokens), []
        turn = self.turn(torch.arange(past, past + n))
        mask = None
        if past:
            mask = torch.ones(n, past + n, dtype=torch.bool, device=self.device).tril(past)
        x = self.embed[tokens]
        for i in range(self.layers):
            p = f"layers.{i}."
            h = self.norm(x, p + "input_layernorm.weight")
            q = rotate(self.split(h, p + "self_attn.q_proj", self.heads), turn)
            k = rounded(rotate(self.split(h, p + "self_attn.k_proj", self.kv_heads), turn))
            v = rounded(self.split(h, p + "self_attn.v_proj", self.kv_heads))
            made.append((k.detach().half(), v.detach().half()))
            if queries is not None:
                queries.append(q.detach())
            if past:
                k, v = (torch.cat([a.to(self.device).float(), b], 1) for a, b in zip(cache[i], (k, v)))
            group = self.heads // self.kv_heads
            a = F.scaled_dot_product_attention(q[None], k[None].repeat_interleave(group, 1),
                                               v[None].repeat_interleave(group, 1), attn_mask=mask, is_causal=not past)
            x = x + F.linear(a[0].transpose(0, 1).reshape(n, -1), self.weights[p + "self_attn.o_proj.weight"])
            h = self.norm(x, p + "post_attention_layernorm.weight")
            gate = F.silu(F.linear(h, self.weights[p + "mlp.gate_proj.weight"]))
            x = x + F.linear(gate * F.linear(h, self.weights[p + "mlp.up_proj.weight"]),
                             self.weights[p + "mlp.down_proj.weight"])
        return F.linear(self.norm(x[logits_from:], "norm.weight"), self.head), made


def rounded(x):
    """x as fp16 holds it; gradients pass as if it were x, in full precision"""
    r = x.detach().half().float()
    return x + (r - x).detach() if x.requires_grad else r


def rotate(x, turn):
    """RoPE of [heads, tokens, head_dim] by (cos, sin) of LM.turn"""
    a, b = x.chunk(2, -1)
    cos, sin = turn
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


def save_cache(path, lm, tokens, cache):
    out = {"token_ids": np.asarray(tokens, np.int32)}
    for i, (k, v) in enumerate(cache):
        out[f"layers.{i}.key"] = k.half().cpu().numpy()
        out[f"layers.{i}.value"] = v.half().cpu().numpy()
    tensorfile.save(path, out, {"rope_theta": str(lm.theta), "pos0": "0"})


def load_cache(path, device="cpu"):
    """The cache of a file that save_cache or 'tessera kv unpack' wrote."""
    t = read_safetensors(path)
    layers = sum(name.endswith(".key") for name in t)
    return [(t[f"layers.{i}.key"].to(device), t[f"layers.{i}.value"].to(device)) for i in range(layers)]
