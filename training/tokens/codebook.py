# SPDX-License-Identifier: BSD-2-Clause
"""The codebook: search, Lloyd's rounds, and the tree of nested coarser ones."""
import torch

import model as M


def nearest(z, words, chunk=1 << 30):
    """Index of the nearest row of words [K,d] for every row of z [n,d]; int64."""
    half = words.square().sum(1) * 0.5
    rows = max(1, chunk // len(words))
    out = torch.empty(len(z), dtype=torch.int64, device=z.device)
    for i in range(0, len(z), rows):
        out[i:i + rows] = torch.addmm(half, z[i:i + rows], words.t(), alpha=-1).argmin(1)
    return out


def lloyd(z, words, rounds, weight=None, seed=1):
    """k-means from given words.  A word without points moves to a random point."""
    g = torch.Generator(device=z.device).manual_seed(seed)
    weight = torch.ones(len(z), device=z.device) if weight is None else weight
    k = len(words)
    words = words.clone()
    for r in range(rounds + 1):
        at = nearest(z, words)
        n = torch.zeros(k, device=z.device).index_add_(0, at, weight)
        if r == rounds:
            return words, at, n
        s = torch.zeros_like(words).index_add_(0, at, z * weight[:, None])
        words = torch.where(n[:, None] > 0, s / n.clamp(min=1e-9)[:, None], words)
        empty = (n == 0).nonzero()[:, 0]
        if len(empty) and r < rounds - 1:
            words[empty] = z[torch.randint(len(z), (len(empty),), generator=g, device=z.device)]
    return words, at, n


def cluster(points, weight, k, rounds=30, seed=1):
    """Weighted k-means of the points into k clusters, none empty: (words, cluster of each point)."""
    g = torch.Generator(device=points.device).manual_seed(seed)
    first = torch.multinomial(weight.float() ** 0.8, k, replacement=False, generator=g)
    words = points[first].clone()
    for r in range(rounds):
        at = nearest(points, words)
        n = torch.zeros(k, device=points.device, dtype=torch.float64).index_add_(0, at, weight.double())
        s = torch.zeros(k, points.shape[1], device=points.device, dtype=torch.float64).index_add_(
            0, at, points.double() * weight.double()[:, None])
        words = torch.where(n[:, None] > 0, s / n.clamp(min=1e-12)[:, None], words.double()).float()
        empty = (torch.bincount(at, minlength=k) == 0).nonzero()[:, 0]
        for e in empty.tolist():
            members = torch.bincount(at, minlength=k)
            big = (at == members.argmax()).nonzero()[:, 0]
            p = big[torch.randint(len(big), (1,), generator=g, device=points.device)]
            at[p] = e
            words[e] = points[p[0]]
    n = torch.bincount(at, minlength=k)
    assert int(n.min()) > 0, "empty cluster"
    return words, at


def tree(words, count, sizes=M.LEVELS):
    """Nested clusters, bottom up.  words [K,d] with their counts -> dict: order (codes in tree order), and a level's
    start and codewords."""
    weight = count.double() + 0.1
    points, mass, of = words, weight, []
    means = []
    for k in sizes[1:]:
        _, at = cluster(points, mass, k)
        of.append(at)
        m = torch.zeros(k, dtype=torch.float64, device=words.device).index_add_(0, at, mass)
        points = (torch.zeros(k, words.shape[1], dtype=torch.float64, device=words.device)
                  .index_add_(0, at, points.double() * mass[:, None]) / m[:, None]).float()
        mass = m
        means.append(points)
    # every code's ancestors; coarsest first they are the key of tree order.  Coarse clusters by their first principal axis.
    up = []
    a = torch.arange(len(words), device=words.device)
    for at in of:
        a = at[a]
        up.append(a)
    centre = words - words.mean(0)
    axis = torch.linalg.svd(centre.double().cpu(), full_matrices=False)[2][0].float().to(words.device)
    order = torch.argsort(words @ axis, stable=True)
    for j, at in enumerate(up):
        rank = torch.argsort(torch.argsort(means[j] @ axis))
        order = order[torch.argsort(rank[at[order]], stable=True)]
    out = dict(order=order, start=[], words=[])
    for j, at in enumerate(up):
        a = at[order]
        first = torch.cat([torch.ones(1, dtype=torch.bool, device=a.device), a[1:] != a[:-1]]).nonzero()[:, 0]
        assert len(first) == sizes[j + 1]
        out["start"].append(first.int())
        out["words"].append(means[j][a[first]])
    return out
