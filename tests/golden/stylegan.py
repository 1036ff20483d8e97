#!/usr/bin/env python3
"""StyleGAN (Karras et al. 2019) as FreezeD adapts it, in PyTorch, double precision: writes stylegan_*.safetensors beside this file.

Everything is computed as the published port computes it: images are repeated and then convolved, convolutions that resample in one
piece have their window widened to 4x4, noise is added to a finished convolution. Names and shapes are that port's: G's blocks count
from 4x4 up, D's down to 4x4, number 8. Blurs, which are constant, are left out.
"""
import argparse
import json
from dataclasses import asdict, dataclass
from math import log2
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from generate import check, random_source, write_safetensors
from sngan import softplus


@dataclass
class Options:
    resolution: int
    channel_base: int = 16384
    channel_max: int = 512
    z_dim: int = 512
    mapping_layers: int = 8
    fused_from: int = 128
    img_channels: int = 3
    gamma: float = 10
    batch: int = 4
    mixing: int = 0                  # from this block on styles are those of a second latent; 0: none
    iterations: int = 2
    lr: float = 0.002
    mapping_lr: float = 0.01         # share of lr
    beta1: float = 0.0
    beta2: float = 0.99
    adam_eps: float = 1e-8
    ema_beta: float = 0.999
    growth_kimg: float = 0           # of progressive growing; 0: none
    images: int = 0                  # that were shown before this iteration

    def channels(self, size):
        return min(self.channel_base // size, self.channel_max)

    @property
    def sizes(self):
        return [4 << i for i in range(int(log2(self.resolution)) - 1)]

    @property
    def grown(self):
        """-> the size that images have, and how much it counts beside the one before"""
        if not self.growth_kimg:
            return self.resolution, 1
        period = 1000 * self.growth_kimg
        stage, last = int(self.images // (2 * period)), len(self.sizes) - 1
        if stage >= last:
            return self.resolution, 1
        shown = self.images - stage * 2 * period
        return 8 << stage, min(1, (shown + 1) / period) if stage else 1


SMALL = dict(channel_base=48, channel_max=5, z_dim=6, mapping_layers=2)
CASES = {
    "stylegan_16": Options(16, **SMALL),
    "stylegan_fused_16": Options(16, **{**SMALL, "channel_base": 64}, fused_from=8, mixing=1, img_channels=1, gamma=3, batch=3),
    "stylegan_32": Options(32, **{**SMALL, "channel_base": 96}, fused_from=32, batch=2, iterations=1),
    # The third size of four has been shown 239 - 200 images, and counts by 40 / 100.
    "stylegan_growing_32": Options(32, **{**SMALL, "channel_base": 96}, batch=2, iterations=1, growth_kimg=0.1, images=239),
}


# ---- names and shapes ---------------------------------------------------------------------------

def generator_shapes(opt):
    p, z = {}, opt.z_dim

    def layer(name, *shape):
        p[f"{name}.weight_orig"], p[f"{name}.bias"] = shape, shape[:1]

    for i in range(opt.mapping_layers):
        layer(f"style.{2 * i + 1}.linear", z, z)
    for i, size in enumerate(opt.sizes):
        name, c, below = f"generator.progression.{i}", opt.channels(size), opt.channels(max(size // 2, 4))
        if i == 0:
            p[f"{name}.conv1.input"] = (1, c, 4, 4)
        elif size >= opt.fused_from:
            p[f"{name}.conv1.0.weight"], p[f"{name}.conv1.0.bias"] = (below, c, 3, 3), (c,)
        else:
            layer(f"{name}.conv1.1.conv", c, below, 3, 3)
        layer(f"{name}.conv2.conv", c, c, 3, 3)
        for k in (1, 2):
            p[f"{name}.noise{k}.weight_orig"] = (1, c, 1, 1)
            layer(f"{name}.adain{k}.style.linear", 2 * c, z)
        if size == opt.resolution or (opt.growth_kimg and size > 4):
            layer(f"generator.to_rgb.{i}.conv", opt.img_channels, opt.channels(size), 1, 1)
    return p


def generator_buffers(opt):
    return {"w_avg": (opt.z_dim,)} | ({"growth": ()} if opt.growth_kimg else {}) | {f"generator.progression.{i}.noise_const": (s, s) for i, s in enumerate(opt.sizes)}


def discriminator_shapes(opt):
    p = {}

    def layer(name, *shape, fused=False):
        p[f"{name}.weight" if fused else f"{name}.weight_orig"], p[f"{name}.bias"] = shape, shape[:1]

    for size in reversed(opt.sizes):
        number, i, o = 10 - int(log2(size)), opt.channels(size), opt.channels(max(size // 2, 4))
        name = f"progression.{number}"
        if size == opt.resolution or (opt.growth_kimg and size > 4):
            layer(f"from_rgb.{number}.0.conv", i, opt.img_channels, 1, 1)
        layer(f"{name}.conv1.0.conv", o, i + (size == 4), 3, 3)
        if size == 4:
            layer(f"{name}.conv2.0.conv", o, o, 4, 4)
        elif size >= opt.fused_from:
            layer(f"{name}.conv2.1", o, o, 3, 3, fused=True)
        else:
            layer(f"{name}.conv2.1.conv", o, o, 3, 3)
    layer("linear.linear", 1, opt.channels(4))
    return p


# ---- networks: functions of {name: tensor} ------------------------------------------------------

def lrelu(x):
    return F.leaky_relu(x, 0.2)


def scaled(w):
    """an equalised weight, [out,in,...]"""
    return w * (2 / np.prod(w.shape[1:])) ** 0.5


def linear(p, name, x):
    return F.linear(x, scaled(p[f"{name}.weight_orig"]), p[f"{name}.bias"])


def conv(p, name, x, padding):
    return F.conv2d(x, scaled(p[f"{name}.weight_orig"]), p[f"{name}.bias"], padding=padding)


def blur(x):
    taps = torch.tensor([1, 2, 1], dtype=x.dtype)
    window = (taps[:, None] * taps / 16).expand(x.shape[1], 1, 3, 3)
    return F.conv2d(x, window, padding=1, groups=x.shape[1])


def widened(w, inputs):
    """[a,b,3,3] -> [a,b,4,4]: the mean of its four places in a window of zeros"""
    w = F.pad(w * (2 / (9 * inputs)) ** 0.5, (1, 1, 1, 1))
    return (w[:, :, 1:, 1:] + w[:, :, :-1, 1:] + w[:, :, 1:, :-1] + w[:, :, :-1, :-1]) / 4


def mapping(p, opt, z):
    x = z / (z.square().mean(1, keepdim=True) + 1e-8).sqrt()
    for i in range(opt.mapping_layers):
        x = lrelu(linear(p, f"style.{2 * i + 1}.linear", x))
    return x


def adain(p, name, x, w):
    scale, shift = linear(p, f"{name}.style.linear", w)[:, :, None, None].chunk(2, 1)
    return scale * F.instance_norm(x, eps=1e-5) + shift


def synthesis(p, opt, ws):
    """ws: one [N,z_dim] a block; constant noise, which both layers of a block share -> images [N,C,H,W] of the size that is reached"""
    reached, share = opt.grown
    for i, (size, w) in enumerate(zip(opt.sizes, ws)):
        name = f"generator.progression.{i}"
        noise = p[f"{name}.noise_const"][None, None]

        def finish(x, k):
            weight = p[f"{name}.noise{k}.weight_orig"]
            return adain(p, f"{name}.adain{k}", lrelu(x + weight * (2 / weight.shape[1]) ** 0.5 * noise), w)

        if i == 0:
            x = p[f"{name}.conv1.input"].expand(len(w), -1, -1, -1)
        elif size >= opt.fused_from:
            weight = p[f"{name}.conv1.0.weight"]
            x = blur(F.conv_transpose2d(x, widened(weight, weight.shape[0]), p[f"{name}.conv1.0.bias"], stride=2, padding=1))
        else:
            x = blur(conv(p, f"{name}.conv1.1.conv", F.interpolate(x, scale_factor=2, mode="nearest"), 1))
        x = finish(x, 1)
        x = finish(conv(p, f"{name}.conv2.conv", x, 1), 2)
        if size == reached:
            image = conv(p, f"generator.to_rgb.{i}.conv", x, 0)
            return image if share == 1 else share * image + (1 - share) * F.interpolate(before, scale_factor=2, mode="nearest")
        if share < 1 and 2 * size == reached:
            before = conv(p, f"generator.to_rgb.{i}.conv", x, 0)


def styles(p, opt, z, z_mix=None):
    """-> one [N,z_dim] a block, and the batch's mean that w_avg moves towards"""
    w = mapping(p, opt, z)
    second = mapping(p, opt, z_mix) if opt.mixing else w
    return [w if i < opt.mixing or not opt.mixing else second for i in range(len(opt.sizes))], w.detach().mean(0)


def discriminator(p, opt, x):
    """images [N,C,H,W] of the size that is reached -> logits [N,1], what is behind each block"""
    (reached, share), image, taps = opt.grown, x, {}

    def from_rgb(size, image):
        return lrelu(conv(p, f"from_rgb.{10 - int(log2(size))}.0.conv", image, 0))

    x = from_rgb(reached, image)
    for size in reversed(opt.sizes[:opt.sizes.index(reached) + 1]):
        name = f"progression.{10 - int(log2(size))}"
        if share < 1 and 2 * size == reached:
            x = share * x + (1 - share) * from_rgb(size, F.avg_pool2d(image, 2))
        if size == 4:
            deviation = (x.var(0, unbiased=False) + 1e-8).sqrt().mean()
            x = torch.cat([x, deviation.expand(len(x), 1, 4, 4)], 1)
        x = lrelu(conv(p, f"{name}.conv1.0.conv", x, 1))
        if size == 4:
            x = conv(p, f"{name}.conv2.0.conv", x, 0)
        elif size >= opt.fused_from:
            weight = p[f"{name}.conv2.1.weight"]
            x = F.conv2d(blur(x), widened(weight, weight.shape[1]), p[f"{name}.conv2.1.bias"], stride=2, padding=1)
        else:
            x = F.avg_pool2d(conv(p, f"{name}.conv2.1.conv", blur(x), 1), 2)
        x = lrelu(x)
        taps[name] = x
    return linear(p, "linear.linear", x.flatten(1)), taps


# ---- training -----------------------------------------------------------------------------------

def moved(p, mean):
    return mean + 0.995 * (p["w_avg"] - mean)


def dmain(opt, G, D, step):
    """-> loss, the new w_avg"""
    x = F.avg_pool2d(step["reals"], opt.resolution // opt.grown[0]).requires_grad_()
    real = discriminator(D, opt, x)[0]
    slopes = torch.autograd.grad(real.sum(), x, create_graph=True)[0]
    with torch.no_grad():
        ws, mean = styles(G, opt, step["z"], step.get("z_mix"))
        fakes = synthesis(G, opt, ws)
    fake = discriminator(D, opt, fakes)[0]
    penalty = slopes.square().sum((1, 2, 3)).mean()
    return softplus(-real).mean() + softplus(fake).mean() + opt.gamma / 2 * penalty, moved(G, mean)


def gmain(opt, G, D, step):
    ws, mean = styles(G, opt, step["z"], step.get("z_mix"))
    return softplus(-discriminator(D, opt, synthesis(G, opt, ws))[0]).mean(), moved(G, mean)


LOSSES = dict(Dmain=dmain, Gmain=gmain)


def run_phase(opt, G, D, phase, step):
    """-> loss, {name: gradient}, the new w_avg"""
    networks = {"G": G, "D": D}
    names = (generator_shapes if phase[0] == "G" else discriminator_shapes)(opt)
    leaves = {n: networks[phase[0]][n].detach().clone().requires_grad_() for n in names}
    networks[phase[0]] = {**networks[phase[0]], **leaves}
    loss, w_avg = LOSSES[phase](opt, networks["G"], networks["D"], step)
    grads = torch.autograd.grad(loss, list(leaves.values()), allow_unused=bool(opt.growth_kimg))
    return loss.detach(), {n: torch.zeros_like(x) if g is None else g for (n, x), g in zip(leaves.items(), grads)}, w_avg


class Adam:
    def __init__(self, opt):
        self.opt, self.t, self.moments = opt, 0, {}

    def step(self, p, grads):
        o, self.t = self.opt, self.t + 1
        for name, g in grads.items():
            m, v = self.moments.get(name, (0, 0))
            m, v = o.beta1 * m + (1 - o.beta1) * g, o.beta2 * v + (1 - o.beta2) * g * g
            self.moments[name] = m, v
            lr = o.lr * (o.mapping_lr if name.startswith("style.") else 1)
            p[name] = p[name] - lr * m / (1 - o.beta1 ** self.t) / ((v / (1 - o.beta2 ** self.t)).sqrt() + o.adam_eps)


def iteration(opt, G, D, average, adams, steps):
    """D's step, G's, the average; changes the networks -> losses"""
    losses = []
    for phase in ("Dmain", "Gmain"):
        loss, grads, G["w_avg"] = run_phase(opt, G, D, phase, steps[phase])
        adams[phase[0]].step(G if phase[0] == "G" else D, grads)
        losses.append(loss)
    for name in generator_shapes(opt):
        average[name] = G[name] + opt.ema_beta * (average[name] - G[name])
    average["w_avg"] = G["w_avg"]
    return losses


# ---- fixtures -----------------------------------------------------------------------------------

def initial_values(shapes, normal):
    """Nothing keeps its usual initial value."""
    values = {}
    for name, shape in shapes.items():
        x = normal(*shape)
        if name.endswith("style.linear.bias"):
            x = 0.4 * x + (torch.arange(shape[0]) < shape[0] // 2)
        elif name.endswith("bias"):
            x = 0.3 * x
        elif ".noise" in name and name.endswith("weight_orig"):
            x = 0.5 * x
        values[name] = x.float().double()
    return values


def whole(opt, images):
    """images of the size that is reached as the network gives them"""
    return F.interpolate(images, scale_factor=opt.resolution // opt.grown[0], mode="nearest")


def make_case(name):
    opt = CASES[name]
    normal, _ = random_source(name)
    G = initial_values(generator_shapes(opt) | generator_buffers(opt), normal)
    D = initial_values(discriminator_shapes(opt), normal)
    if opt.growth_kimg:
        G["growth"] = D["growth"] = torch.tensor(log2(opt.grown[0]) - 3 + opt.grown[1]).double()

    def step(reals):
        s = {"z": normal(opt.batch, opt.z_dim)}
        if opt.mixing:
            s["z_mix"] = normal(opt.batch, opt.z_dim)
        if reals:
            s["reals"] = normal(opt.batch, opt.img_channels, opt.resolution, opt.resolution).mul(0.5).clamp(-1, 1).float().double()
        return s
    return opt, G, D, [{"Dmain": step(True), "Gmain": step(False)} for _ in range(opt.iterations)]


def fixture(name):
    opt, G, D, steps = make_case(name)
    out = {f"G.{n}": v for n, v in G.items()} | {f"D.{n}": v for n, v in D.items()}
    for i, phases in enumerate(steps):
        for phase, step in phases.items():
            out |= {f"in.{i}.{phase}.{n}": v.float() if n == "reals" else v for n, v in step.items()}
    with torch.no_grad():
        ws, _ = styles(G, opt, steps[0]["Gmain"]["z"], steps[0]["Gmain"].get("z_mix"))
        out["out.G.images"] = whole(opt, synthesis(G, opt, ws)).float()
        w = G["w_avg"] + 0.7 * (mapping(G, opt, steps[0]["Gmain"]["z"]) - G["w_avg"])
        out["out.G.truncated"] = whole(opt, synthesis(G, opt, [w] * len(opt.sizes))).float()
        out["out.D.logits"], taps = discriminator(D, opt, F.avg_pool2d(steps[0]["Dmain"]["reals"], opt.resolution // opt.grown[0]))
        out |= {f"out.D.{n}": v for n, v in taps.items()}
    for phase in LOSSES:
        out[f"{phase}.loss"], grads, _ = run_phase(opt, G, D, phase, steps[0][phase])
        out |= {f"{phase}.grad.{n}": v for n, v in grads.items()}
    adams, average = {"G": Adam(opt), "D": Adam(opt)}, dict(G)
    for i, row in enumerate(steps):
        out[f"after.{i}.losses"] = torch.stack(iteration(opt, G, D, average, adams, row))
    for role, p in (("G", G), ("D", D), ("G_ema", average)):
        out |= {f"after.{role}.{n}": v for n, v in p.items() if not n.endswith(("noise_const", "growth"))}
    assert all(torch.isfinite(v).all() for v in out.values())
    path = Path(__file__).parent / f"{name}.safetensors"
    write_safetensors(path, out, {"options": json.dumps(asdict(opt))})
    return path, out


# ---- checks of the reference --------------------------------------------------------------------

def check_counts():
    """Parameters of the published networks, and what FreezeD's layers hold."""
    def count(shapes):
        return sum(int(np.prod(s)) for s in shapes.values())
    opt = Options(256)
    counts = count(generator_shapes(opt)), count(discriminator_shapes(opt))
    check(f"counts at 256: {counts}", counts == (26078403, 25365505))
    d = discriminator_shapes(opt)
    frozen = [count({n: s for n, s in d.items() if n.startswith("from_rgb") or (n.startswith("p") and int(n[12]) < 2 + layer)})
              for layer in range(1, 7)]
    check(f"frozen by layer: {frozen}", frozen == [221696, 1106944, 4646912, 9366528, 14086144, 18805760])
    styles = count({n: s for n, s in generator_shapes(opt).items() if ".adain" in n})
    check(f"styles: {styles}", styles == 5121792)


def check_gradients(name):
    """Central differences of both losses for two random entries of every parameter."""
    opt, G, D, steps = make_case(name)
    random = np.random.RandomState(0)
    for phase in LOSSES:
        _, grads, _ = run_phase(opt, G, D, phase, steps[0][phase])
        worst, count, net = 0.0, 0, G if phase[0] == "G" else D
        for n, g in grads.items():
            for i in random.choice(g.numel(), min(2, g.numel()), replace=False):
                original, exact, errors = net[n], g.reshape(-1)[i].item(), []
                for h in (1e-5, 1e-6, 1e-7):        # a kink within the step spoils a difference; a smaller one passes it by
                    ends = []
                    for sign in (1, -1):
                        net[n] = original.clone()
                        net[n].view(-1)[i] += sign * h
                        ends.append(LOSSES[phase](opt, G, D, steps[0][phase])[0].item())
                    net[n] = original
                    errors.append(abs((ends[0] - ends[1]) / (2 * h) - exact) / (abs(exact) + 1e-3 * g.abs().max().item() + 1e-6))
                worst, count = max(worst, min(errors)), count + 1
        check(f"{name} {phase}: {count} differences, worst relative error {worst:.1e}", worst < 1e-3)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", help=f"default: all of {', '.join(CASES)}")
    parser.add_argument("--verify", action="store_true", help="check the reference; write nothing")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.verify:
        check_counts()
        for name in CASES:
            check_gradients(name)
    else:
        for name in args.cases or CASES:
            path, tensors = fixture(name)
            print(f"{path.name}: {len(tensors)} tensors, {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
