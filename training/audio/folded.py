# SPDX-License-Identifier: BSD-2-Clause
"""From a run's weights.pt to the tensors that are shipped: weight norm folded, fp16; and back to a network."""
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
            out[name[:-2]] = (g * v / norm).half().numpy()
        elif not name.endswith(".weight_g"):
            out[name] = value.half().numpy()
    for q in range(M.LEVELS):
        out[f"quantizer.vq.layers.{q}._codebook.embed"] = run["books"]["embed"][q].half().numpy()
    return out


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
