# SPDX-License-Identifier: BSD-2-Clause
"""From a run's weights.pt to the tensors that are shipped: weight norm folded, fp16; and back to a network."""
import math

import numpy as np
import torch

import model as M


def tensors(path):
    """{published name: fp16 array}"""
    run = torch.load(path, map_location="cpu", weights_only=True)
    ema, out = {k: v.float() for k, v in run["ema"].items()}, {}
    for name, value in ema.items():
        if name.endswith(".weight_v"):
            g = ema[name[:-1] + "g"].double()
            v = value.double()
            norm = v.flatten(1).norm(dim=1).view(g.shape)
            out[name[:-2]] = (g * v / norm).numpy()
        elif not name.endswith(".weight_g"):
            out[name] = value.numpy()
    # The scale of the latent is free and training lets it shrink, so codebooks would be subnormal in fp16.  A power of two
    # that makes them as large as the decoder's first weights changes nothing else.
    embed, first = run["books"]["embed"].double(), out["decoder.model.0.conv.conv.weight"]
    scale = 2.0 ** round(0.5 * math.log2(np.square(first).mean() ** 0.5 / float(embed[0].square().mean()) ** 0.5))
    for name in ("encoder.model.15.conv.conv.weight", "encoder.model.15.conv.conv.bias"):
        out[name] = out[name] * scale
    out["decoder.model.0.conv.conv.weight"] = first / scale
    for q in range(M.LEVELS):
        out[f"quantizer.vq.layers.{q}._codebook.embed"] = (embed[q] * scale).numpy()
    return {name: v.astype(np.float16) for name, v in out.items()}


@torch.no_grad()
def network(arrays):
    """A network that computes with these weights in float32."""
    net = M.Codec(arrays["encoder.model.0.conv.conv.weight"].shape[0], arrays["decoder.model.15.conv.conv.weight"].shape[1])
    for name, p in net.named_parameters():
        if name.endswith(".weight_v"):
            p.copy_(torch.from_numpy(arrays[name[:-2]].astype(np.float32)))
        elif name.endswith(".weight_g"):
            v = torch.from_numpy(arrays[name[:-2]].astype(np.float32))
            p.copy_(v.flatten(1).norm(dim=1).view(p.shape))
        else:
            p.copy_(torch.from_numpy(arrays[name].astype(np.float32)))
    for q in range(M.LEVELS):
        net.quantizer.embed[q].copy_(torch.from_numpy(arrays[f"quantizer.vq.layers.{q}._codebook.embed"].astype(np.float32)))
    return net.eval()
