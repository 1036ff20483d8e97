#!/usr/bin/env python3
"""Augmentation in PyTorch, double precision, by its description, every image that there is on the way materialised: writes
augment.safetensors beside this file. --verify checks the reference itself and writes nothing.

ADA (Karras et al. 2020, arXiv 2006.06676): pad by reflection, double by sym6, sample bilinearly, halve by sym6; a colour matrix; a filter of
four bands; noise; cutout. DiffAugment (Zhao et al. 2020, arXiv 2006.10738). Images NCHW; what is random is given, a row of numbers a sample:
  ADA   xflip rotate90 xint_x xint_y scale rotate_before aniso rotate_behind xfrac_x xfrac_y brightness contrast lumaflip hue saturation
        gain0..gain3 noise_size cut_y cut_x half_height half_width           (shifts, centres and half sizes in pixels)
  Diff  brightness saturation contrast shift_y shift_x cut_y cut_x half_height half_width
"""
import argparse
import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from generate import check, random_source, write_safetensors

SYM2 = [-0.12940952255092145, 0.22414386804185735, 0.836516303737469, 0.48296291314469025]
SYM6 = [0.015404109327027373, 0.0034907120842174702, -0.11799011114819057, -0.048311742585633, 0.4910559419267466, 0.787641141030194,
        0.3379294217276218, -0.07263752278646252, -0.021060292512300564, 0.04472490177066578, 0.0017677118642428036, -0.007800708325034148]
ADA = ("xflip rotate90 xint_x xint_y scale rotate_before aniso rotate_behind xfrac_x xfrac_y brightness contrast lumaflip hue saturation "
       "gain0 gain1 gain2 gain3 noise_size cut_y cut_x half_height half_width").split()
DIFF = "brightness saturation contrast shift_y shift_x cut_y cut_x half_height half_width".split()
CASES = {"rgb_13x10": (4, 3, 13, 10), "grey_16x16": (3, 1, 16, 16), "rgb_8x24": (2, 3, 8, 24)}  # N C H W


# ---- geometry ------------------------------------------------------------------------------------

def matrix(rows):
    """3x3 [N,3,3] of rows of numbers and [N] tensors"""
    n = next(len(v) for row in rows for v in row if torch.is_tensor(v))
    as_column = lambda v: v if torch.is_tensor(v) else torch.full((n,), float(v), dtype=torch.float64)
    return torch.stack([torch.stack([as_column(v) for v in row], -1) for row in rows], -2)


def translate(x, y):
    return matrix([[1, 0, x], [0, 1, y], [0, 0, 1]])


def scale(x, y):
    return matrix([[x, 0, 0], [0, y, 0], [0, 0, 1]])


def rotate(t):
    return matrix([[t.cos(), -t.sin(), 0], [t.sin(), t.cos(), 0], [0, 0, 1]])


def inverse_transform(v):
    """From pixels of the result to those of the image, both from the centre: the inverses, each multiplied from the right"""
    one = torch.ones_like(v["scale"])
    steps = [scale(1 - 2 * v["xflip"], one), rotate(-np.pi / 2 * v["rotate90"]), translate(v["xint_x"], v["xint_y"]),
             scale(v["scale"], v["scale"]), rotate(-v["rotate_before"]), scale(v["aniso"], 1 / v["aniso"]), rotate(-v["rotate_behind"]),
             translate(v["xfrac_x"], v["xfrac_y"])]
    g = torch.eye(3, dtype=torch.float64).expand(len(one), 3, 3)
    for step in steps:
        g = g @ torch.linalg.inv(step)
    return g


def upfirdn(x, f, up=1, down=1, pad=(0, 0), flip=False):
    """Zeros inserted, padded or cropped, convolved along both axes (correlated if flip), every down-th kept; pad of both axes"""
    n, c, h, w = x.shape
    if up > 1:
        z = x.new_zeros(n, c, h, up, w, up)
        z[:, :, :, 0, :, 0] = x
        x = z.reshape(n, c, h * up, w * up)
    x = F.pad(x, [max(p, 0) for p in (*pad, *pad)])
    crop = [max(-p, 0) for p in pad]
    x = x[:, :, crop[0]:x.shape[2] - crop[1], crop[0]:x.shape[3] - crop[1]]
    f = f if flip else f.flip(0)
    x = F.conv2d(x, f[None, None, :, None].repeat(c, 1, 1, 1), groups=c)
    x = F.conv2d(x, f[None, None, None, :].repeat(c, 1, 1, 1), groups=c)
    return x[:, :, ::down, ::down]


def bilinear(x, px, py):
    """x at (px, py) [N,h,w], in pixels from the first one's centre; zero outside. Differentiable as often as one likes."""
    n, c, h, w = x.shape
    x0, y0 = px.floor(), py.floor()
    flat, total = x.reshape(n, c, h * w), 0
    for dx in (0, 1):
        for dy in (0, 1):
            ix, iy = x0 + dx, y0 + dy
            weight = (1 - (px - ix).abs()) * (1 - (py - iy).abs()) * ((ix >= 0) & (ix < w) & (iy >= 0) & (iy < h))
            index = (iy.clamp(0, h - 1) * w + ix.clamp(0, w - 1)).long().reshape(n, 1, -1).expand(n, c, -1)
            total = total + flat.gather(2, index).reshape(n, c, *px.shape[1:]) * weight[:, None]
    return total


def reflect(x, margins):
    """x0, y0, x1, y1; as often as it takes"""
    x0, y0, x1, y1 = margins
    rows = np.pad(np.arange(x.shape[2]), (y0, y1), mode="reflect")
    columns = np.pad(np.arange(x.shape[3]), (x0, x1), mode="reflect")
    return x[:, :, rows][:, :, :, columns]


def published_margins(g, h, w):
    """What the corners of a batch ask for; at most what can be reflected once"""
    cx, cy, pad = (w - 1) / 2, (h - 1) / 2, len(SYM6) // 4
    corners = torch.tensor([[-cx, -cy, 1], [cx, -cy, 1], [cx, cy, 1], [-cx, cy, 1]], dtype=torch.float64)
    places = (g @ corners.T)[:, :2].transpose(0, 1).flatten(1)
    margin = torch.cat([-places, places]).max(1).values + torch.tensor([2 * pad - cx, 2 * pad - cy] * 2)
    return [int(np.ceil(min(max(float(m), 0), most))) for m, most in zip(margin, [w - 1, h - 1] * 2)]


def warp(x, g, margins):
    n, c, h, w = x.shape
    f = torch.tensor(SYM6, dtype=torch.float64)
    f = f / f.sum()
    pad, one = len(SYM6) // 4, torch.ones(n, dtype=torch.float64)
    x = reflect(x, margins)
    g = translate(one * (margins[0] - margins[2]) / 2, one * (margins[1] - margins[3]) / 2) @ g
    x = upfirdn(x, 2 * f, up=2, pad=(6, 5))
    g = scale(2 * one, 2 * one) @ g @ scale(one / 2, one / 2)
    g = translate(-one / 2, -one / 2) @ g @ translate(one / 2, one / 2)
    rows, columns = 2 * (h + 2 * pad), 2 * (w + 2 * pad)
    ys, xs = torch.meshgrid(torch.arange(rows) + 0.5 - rows / 2, torch.arange(columns) + 0.5 - columns / 2, indexing="ij")
    grid = torch.stack([xs, ys, torch.ones_like(xs)], -1).double().reshape(-1, 3)
    places = (grid @ g[:, :2].transpose(1, 2)).reshape(n, rows, columns, 2)
    x = bilinear(x, places[..., 0] + x.shape[3] / 2 - 0.5, places[..., 1] + x.shape[2] / 2 - 0.5)
    return upfirdn(x, f, down=2, pad=(5 - 2 * pad, 5 - 2 * pad), flip=True)


# ---- the other transforms ------------------------------------------------------------------------

def colour_matrix(v, channels):
    """4x4, each step multiplied from the left"""
    n, eye = len(v["hue"]), torch.eye(4, dtype=torch.float64)
    grey = torch.tensor([1, 1, 1, 0], dtype=torch.float64) / 3 ** 0.5
    along, number = torch.outer(grey, grey), lambda name: v[name][:, None, None]
    shift = torch.zeros(4, 4, dtype=torch.float64)
    shift[:3, 3] = 1
    c = eye + shift * number("brightness")
    c = (torch.diag(torch.tensor([1., 1, 1, 0], dtype=torch.float64)) * number("contrast") + torch.diag(eye[3])) @ c
    c = (eye - 2 * along * number("lumaflip")) @ c
    if channels > 1:
        cross = torch.zeros(4, 4, dtype=torch.float64)
        cross[:3, :3] = torch.tensor([[0, -1, 1], [1, 0, -1], [-1, 1, 0]], dtype=torch.float64) / 3 ** 0.5
        turn = eye * number("hue").cos() + cross * number("hue").sin() + along * (1 - number("hue").cos())
        turn[:, 3, 3] = 1
        c = turn @ c
        c = (along + (eye - along) * number("saturation")) @ c
    return c


def recolour(x, c):
    n, channels, h, w = x.shape
    if channels == 1:
        c = c[:, :3].mean(1, keepdim=True)
        return x * c[:, :, :3].sum(2)[..., None, None] + c[:, :, 3][..., None, None]
    return (c[:, :3, :3] @ x.reshape(n, 3, h * w) + c[:, :3, 3:]).reshape(x.shape)


def filter_bank():
    low = np.array(SYM2)
    high = low * (-1.0) ** np.arange(4)
    low2, high2 = np.convolve(low, low[::-1]) / 2, np.convolve(high, high[::-1]) / 2
    bank = np.eye(4, 1)
    for i in range(1, 4):
        bank = np.dstack([bank, np.zeros_like(bank)]).reshape(4, -1)[:, :-1]
        bank = np.stack([np.convolve(band, low2) for band in bank])
        bank[i, (bank.shape[1] - 7) // 2:(bank.shape[1] + 7) // 2] += high2
    return torch.from_numpy(bank)


def filtered(x, gains):
    """gains [N,4]: what was drawn for each band, before their power is taken out"""
    power, g = torch.tensor([10, 1, 1, 1], dtype=torch.float64) / 13, torch.ones_like(gains)
    for i in range(4):
        t = torch.ones_like(gains)
        t[:, i] = gains[:, i]
        g = g * t / (power * t.square()).sum(1, keepdim=True).sqrt()
    taps = g @ filter_bank()
    n, c, h, w = x.shape
    r = taps.shape[1] // 2
    x = reflect(x, [r] * 4).reshape(1, n * c, h + 2 * r, w + 2 * r)
    taps = taps.repeat_interleave(c, 0)
    x = F.conv2d(x, taps[:, None, None, :], groups=n * c)
    return F.conv2d(x, taps[:, None, :, None], groups=n * c).reshape(n, c, h, w)


def cut(x, v):
    h, w = x.shape[2:]
    rows = (torch.arange(h) + 0.5 - v["cut_y"][:, None]).abs() >= v["half_height"][:, None]
    columns = (torch.arange(w) + 0.5 - v["cut_x"][:, None]).abs() >= v["half_width"][:, None]
    return x * (rows[:, :, None] | columns[:, None, :])[:, None]


def ada(x, v, noise, margins=None):
    h, w = x.shape[2:]
    x = warp(x, inverse_transform(v), margins or [w - 1, h - 1] * 2)
    x = recolour(x, colour_matrix(v, x.shape[1]))
    x = filtered(x, torch.stack([v[f"gain{i}"] for i in range(4)], 1))
    return cut(x + noise * v["noise_size"][:, None, None, None], v)


def diff_augment(x, v, policy):
    number = lambda name: v[name][:, None, None, None]
    for part in policy.split(","):
        if part == "color":
            x = x + number("brightness")
            mean = x.mean(1, keepdim=True)
            x = (x - mean) * number("saturation") + mean
            mean = x.mean((1, 2, 3), keepdim=True)
            x = (x - mean) * number("contrast") + mean
        elif part == "translation":
            n, c, h, w = x.shape
            padded = F.pad(x, [1, 1, 1, 1])
            rows = (torch.arange(h) + v["shift_y"][:, None] + 1).clamp(0, h + 1).long()
            columns = (torch.arange(w) + v["shift_x"][:, None] + 1).clamp(0, w + 1).long()
            x = torch.stack([padded[i][:, rows[i]][:, :, columns[i]] for i in range(n)])
        else:
            x = cut(x, v)
    return x


# ---- fixtures ------------------------------------------------------------------------------------

def ada_numbers(n, h, w, state):
    """Wider than what is drawn; the first sample is barely touched"""
    u, z, pi = lambda a, b: state.uniform(a, b, n), lambda s: state.standard_normal(n) * s, np.pi
    v = dict(xflip=state.randint(0, 2, n), rotate90=state.randint(0, 4, n), xint_x=np.round(u(-.125, .125) * w),
             xint_y=np.round(u(-.125, .125) * h), scale=2 ** z(.3), rotate_before=u(-pi, pi), aniso=2 ** z(.3), rotate_behind=u(-pi, pi),
             xfrac_x=z(.15 * w), xfrac_y=z(.15 * h), brightness=z(.3), contrast=2 ** z(.5), lumaflip=state.randint(0, 2, n), hue=u(-pi, pi),
             saturation=2 ** z(1), gain0=2 ** z(1), gain1=2 ** z(1), gain2=2 ** z(1), gain3=2 ** z(1), noise_size=np.abs(z(.1)),
             cut_y=u(0, h), cut_x=u(0, w), half_height=np.full(n, h / 4), half_width=np.full(n, w / 4))
    for name in ("rotate90", "rotate_before", "rotate_behind", "half_height", "half_width", "noise_size"):
        v[name][0] = 0
    return {k: torch.from_numpy(np.asarray(v[k], np.float32)).double() for k in ADA}


def diff_numbers(n, h, w, state):
    u, cuts = lambda a, b: state.uniform(a, b, n), [int(size * .5 + .5) for size in (h, w)]
    v = dict(brightness=u(-.5, .5), saturation=u(0, 2), contrast=u(.5, 1.5))
    for axis, size, c, far, half in (("y", h, cuts[0], "cut_y", "half_height"), ("x", w, cuts[1], "cut_x", "half_width")):
        s = int(size * .125 + .5)
        v[f"shift_{axis}"] = state.randint(-s, s + 1, n)
        v[far] = state.randint(0, size + 1 - c % 2, n) - c // 2 + c / 2
        v[half] = np.full(n, c / 2)
    return {k: torch.from_numpy(np.asarray(v[k], np.float32)).double() for k in DIFF}


def looked_at(f, x, w):
    """f, its gradient for weights w, and R1 of sum(tanh(w f)) with its gradients by w and by x"""
    x, w = x.clone().requires_grad_(), w.clone().requires_grad_()
    y = f(x)
    grad, = torch.autograd.grad((y * w).sum(), x, retain_graph=True)
    slopes, = torch.autograd.grad((y * w).tanh().sum(), x, create_graph=True)
    r1 = slopes.square().sum()
    by_w, by_x = torch.autograd.grad(r1, (w, x))
    return {"out": y, "grad": grad, "r1": r1, "r1.grad.w": by_w, "r1.grad.x": by_x}


def fixture():
    out = {}
    for name, (n, c, h, w) in CASES.items():
        normal, state = random_source(f"augment {name}")
        x = normal(n, c, h, w).mul(0.5).clamp(-1, 1)
        weights, noise = normal(n, c, h, w), normal(n, c, h, w)
        v, d = ada_numbers(n, h, w, state), diff_numbers(n, h, w, state)
        g = inverse_transform(v)
        margins = published_margins(g, h, w)
        values = {"in.images": x, "in.weights": weights, "in.noise": noise, "in.ada": torch.stack(list(v.values()), 1),
                  "in.diff": torch.stack(list(d.values()), 1), "in.margins": torch.tensor(margins), "ada.matrix": g[:, :2],
                  "warp": warp(x, g, [w - 1, h - 1] * 2), "warp.published": warp(x, g, margins)}
        values |= {f"ada.{k}": t for k, t in looked_at(lambda x: ada(x, v, noise), x, weights).items()}
        for policy in ("color,translation,cutout", "cutout,color"):
            values |= {f"diff.{policy}.{k}": t for k, t in looked_at(lambda x: diff_augment(x, d, policy), x, weights).items()}
        out |= {f"{name}.{k}": t for k, t in values.items()}
    assert all(torch.isfinite(v).all() for v in out.values() if v.is_floating_point())
    return out


# ---- checks of the reference ---------------------------------------------------------------------

def verify():
    normal, state = random_source("augment verify")
    x = normal(2, 3, 9, 12)
    px, py = torch.from_numpy(state.uniform(-2, 13, (2, 7, 8))), torch.from_numpy(state.uniform(-2, 11, (2, 7, 8)))
    grid = torch.stack([(2 * px + 1) / 12 - 1, (2 * py + 1) / 9 - 1], -1)
    check("bilinear is grid_sample", torch.allclose(bilinear(x, px, py), F.grid_sample(x, grid, align_corners=False), atol=1e-12))
    bank = filter_bank()
    check(f"the bands sum to a delta: {bank.shape}", torch.allclose(bank.sum(0), torch.eye(43, dtype=torch.float64)[21], atol=1e-12))
    still = {k: torch.zeros(2, dtype=torch.float64) for k in ADA} | {k: torch.ones(2, dtype=torch.float64) for k in (
        "scale", "aniso", "contrast", "saturation", "gain0", "gain1", "gain2", "gain3")}
    check("nothing drawn changes nothing", torch.allclose(ada(x, still, 0 * x), x, atol=1e-12))
    turned = {**still, "rotate90": torch.ones(2, dtype=torch.float64)}
    square = normal(2, 3, 8, 8)
    smooth = upfirdn(square, torch.tensor([1., 4, 6, 4, 1], dtype=torch.float64) / 16, pad=(2, 2))
    near = lambda a, b: ((a - b).square().mean() / b.square().mean()).sqrt().item()  # sym6 is not quite symmetric
    off = near(ada(smooth, turned, 0 * square), smooth.rot90(1, (2, 3)))
    check(f"quarter turns: {off:.2g}", off < 0.05)
    moved = {**still, "xint_x": torch.full((2,), 2., dtype=torch.float64)}
    check("whole shifts", torch.allclose(ada(square, moved, 0 * square)[:, :, :, 2:], square[:, :, :, :-2], atol=1e-12))
    flipped = {**still, "xflip": torch.ones(2, dtype=torch.float64)}
    off = near(ada(smooth, flipped, 0 * square), smooth.flip(3))
    check(f"flips: {off:.2g}", off < 0.05)
    worst = 0
    for seed in range(20):
        normal, state = random_source(f"margins {seed}")
        x, v = normal(8, 3, 16, 16), ada_numbers(8, 16, 16, state)
        g = inverse_transform(v)
        off = (warp(x, g, published_margins(g, 16, 16)) - warp(x, g, [15] * 4)).abs()
        worst = max(worst, off.max().item())
    check(f"published margins take from the border: up to {worst:.2g}", worst < 3)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--verify", action="store_true")
    if parser.parse_args().verify:
        return verify()
    path = Path(__file__).parent / "augment.safetensors"
    write_safetensors(path, fixture(), {"options": json.dumps({"ada": ADA, "diff": DIFF})})
    print(f"{path.name}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
