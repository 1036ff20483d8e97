#!/usr/bin/env python3
"""SNGAN-projection (Miyato et al. 2018; Miyato & Koyama 2018) in PyTorch, double precision: writes sngan_*.safetensors beside this file.

Channels in units of `ch`, for the published widths ch = 64: l1, then G's blocks (each doubles the size); D's blocks ("-": keeps it).
  32   G l1 4   block2..4  4 4 4         D block1..4  2 2 2- 2-           (the CIFAR networks: 256 and 128 channels)
  64   G l1 16  block2..5  8 4 2 1       D block1..5  1 2 4 8 16
  128  G l1 16  block2..6  16 8 4 2 1    D block1..6  1 2 4 8 16 16-
Behind the last block b comes number b + 1: G's b7 and l7, D's linear l7 at 128. Names are Chainer's with dots, `weight` for W, `bias`
for b; u is [out]. Convolutions are OIHW, images NCHW. Class tables: G's gamma and beta [classes,C], [C] without classes; D's l_y.weight.

The biases of G's blocks have no gradient: a batch norm follows. What they get is rounding (1e-17), and Adam with beta1 = 0 moves them by up
to lr for it, which only the running means notice: compare their values after training to within iterations x lr.
"""
import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from generate import check, random_source, write_safetensors

G_CHANNELS = {32: [4, 4, 4, 4], 64: [16, 8, 4, 2, 1], 128: [16, 16, 8, 4, 2, 1]}
D_CHANNELS = {32: [2, 2, 2, 2], 64: [1, 2, 4, 8, 16], 128: [1, 2, 4, 8, 16, 16]}
D_KEEPS = {32: (3, 4), 64: (), 128: (6,)}      # blocks that do not halve the size


@dataclass
class Options:
    resolution: int
    ch: int = 64
    z_dim: int = 128
    classes: int = 0                 # 0: unconditional
    img_channels: int = 3
    loss: str = "hinge"              # hinge | nonsaturating
    g_batch: int = 4
    d_batch: int = 3
    n_dis: int = 2
    iterations: int = 3
    lr: float = 2e-4
    beta1: float = 0.0
    beta2: float = 0.9
    adam_eps: float = 1e-8
    bn_eps: float = 2e-5
    bn_decay: float = 0.9
    sn_eps: float = 1e-12

    @property
    def g_channels(self):
        return [self.ch * c for c in G_CHANNELS[self.resolution]]

    @property
    def d_channels(self):
        return [self.ch * c for c in D_CHANNELS[self.resolution]]


CASES = {
    "sngan_32": Options(32, ch=2, z_dim=8, classes=3),
    "sngan_plain_32": Options(32, ch=2, z_dim=8, loss="nonsaturating"),
    "sngan_64": Options(64, ch=1, z_dim=8, classes=3, d_batch=2, n_dis=1),
    "sngan_128": Options(128, ch=1, z_dim=8, classes=5, g_batch=2, d_batch=2, n_dis=1, iterations=1),
}

# In these streams some reals and some fakes are within the hinge, and no gradient is zero that need not be.
STREAMS = {"sngan_32": "sngan_32#11", "sngan_64": "sngan_64#1", "sngan_128": "sngan_128#0"}


# ---- names and shapes ---------------------------------------------------------------------------

def generator_shapes(opt):
    """-> (parameters, buffers), both {name: shape}"""
    p, b, c = {}, {}, opt.g_channels

    def layer(name, *shape):
        p[f"{name}.weight"], p[f"{name}.bias"] = shape, shape[:1]

    def norm(name, channels, classes):
        p[f"{name}.gamma"] = p[f"{name}.beta"] = (classes, channels) if classes else (channels,)
        b[f"{name}.avg_mean"] = b[f"{name}.avg_var"] = (channels,)

    layer("l1", c[0] * 16, opt.z_dim)
    for number, (i, o) in enumerate(zip(c, c[1:]), 2):
        name = f"block{number}"
        norm(f"{name}.b1", i, opt.classes)
        layer(f"{name}.c1", o, i, 3, 3)
        norm(f"{name}.b2", o, opt.classes)
        layer(f"{name}.c2", o, o, 3, 3)
        layer(f"{name}.c_sc", o, i, 1, 1)
    norm(f"b{len(c) + 1}", c[-1], 0)
    layer(f"l{len(c) + 1}", opt.img_channels, c[-1], 3, 3)
    return p, b


def discriminator_shapes(opt):
    """-> (parameters, buffers), both {name: shape}"""
    p, b, c = {}, {}, opt.d_channels

    def layer(name, *shape, bias=True):
        p[f"{name}.weight"], b[f"{name}.u"] = shape, shape[:1]
        if bias:
            p[f"{name}.bias"] = shape[:1]

    for number, (i, o) in enumerate(zip([opt.img_channels, *c], c), 1):
        name, hidden = f"block{number}", o if number == 1 else i
        layer(f"{name}.c1", hidden, i, 3, 3)
        layer(f"{name}.c2", o, hidden, 3, 3)
        if number not in D_KEEPS[opt.resolution]:
            layer(f"{name}.c_sc", o, i, 1, 1)
    layer(f"l{len(c) + 1}", 1, c[-1])
    if opt.classes:
        layer("l_y", opt.classes, c[-1], bias=False)
    return p, b


# ---- networks: functions of {name: tensor} that return what they would leave behind --------------

def batch_norm(p, name, opt, x, labels, left, train):
    gamma, beta = p[f"{name}.gamma"], p[f"{name}.beta"]
    if gamma.dim() == 2:
        gamma, beta = gamma[labels][:, :, None, None], beta[labels][:, :, None, None]
    else:
        gamma, beta = gamma[:, None, None], beta[:, None, None]
    if train:
        mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
        rows, keep = x.numel() // x.shape[1], opt.bn_decay
        left[f"{name}.avg_mean"] = keep * p[f"{name}.avg_mean"] + (1 - keep) * mean.detach()
        left[f"{name}.avg_var"] = keep * p[f"{name}.avg_var"] + (1 - keep) * var.detach() * rows / (rows - 1)
    else:
        mean, var = p[f"{name}.avg_mean"], p[f"{name}.avg_var"]
    normal = (x - mean[:, None, None]) / (var[:, None, None] + opt.bn_eps).sqrt()
    return gamma * normal + beta


def generator(p, opt, z, labels=None, train=True):
    """z [N,z_dim], labels [N] -> images [N,C,H,W], new running averages"""
    left = {}

    def conv(name, x):
        w = p[f"{name}.weight"]
        return F.conv2d(x, w, p[f"{name}.bias"], padding=w.shape[2] // 2)

    def up(x):
        return x.repeat_interleave(2, 2).repeat_interleave(2, 3)

    c = opt.g_channels
    x = (z @ p["l1.weight"].T + p["l1.bias"]).reshape(-1, c[0], 4, 4)
    for number in range(2, len(c) + 1):
        name = f"block{number}"
        h = batch_norm(p, f"{name}.b1", opt, x, labels, left, train).relu()
        h = conv(f"{name}.c1", up(h))
        h = batch_norm(p, f"{name}.b2", opt, h, labels, left, train).relu()
        x = conv(f"{name}.c2", h) + conv(f"{name}.c_sc", up(x))
    h = batch_norm(p, f"b{len(c) + 1}", opt, x, labels, left, train).relu()
    return conv(f"l{len(c) + 1}", h).tanh(), left


def unit(x, eps):
    return x / (x.norm() + eps)


def discriminator(p, opt, x, labels=None, vectors=None):
    """images [N,C,H,W], labels [N] -> logits [N,1], new u, sigmas. `vectors` {name: (u, v)}: kept instead of iterated, noted where new"""
    left, sigmas = {}, {}

    def normalized(name):
        w = p[f"{name}.weight"]
        matrix = w.reshape(w.shape[0], -1)
        with torch.no_grad():
            v = unit(p[f"{name}.u"] @ matrix, opt.sn_eps)
            u = unit(matrix @ v, opt.sn_eps)
        if vectors is not None:
            u, v = vectors.setdefault(name, (u, v))
        left[f"{name}.u"], sigma = u, u @ matrix @ v
        sigmas[name] = sigma
        return w / sigma

    def conv(name, x):
        w = normalized(name)
        return F.conv2d(x, w, p[f"{name}.bias"], padding=w.shape[2] // 2)

    c = opt.d_channels
    for number in range(1, len(c) + 1):
        name, down = f"block{number}", number not in D_KEEPS[opt.resolution]
        h = conv(f"{name}.c2", conv(f"{name}.c1", x.relu() if number > 1 else x).relu())
        if down:
            h = F.avg_pool2d(h, 2)
            skip = conv(f"{name}.c_sc", F.avg_pool2d(x, 2)) if number == 1 else F.avg_pool2d(conv(f"{name}.c_sc", x), 2)
        x = h + skip if down else h + x
    h = x.relu().sum((2, 3))
    name = f"l{len(c) + 1}"
    logits = h @ normalized(name).T + p[f"{name}.bias"]
    if opt.classes:
        logits = logits + (normalized("l_y")[labels] * h).sum(1, keepdim=True)
    return logits, left, sigmas


# ---- training -----------------------------------------------------------------------------------

def softplus(x):
    """log(1 + e^x) to the last bit: torch's is x from 20 on, which is 2e-9 off"""
    return torch.logaddexp(x, torch.zeros_like(x))


def gmain(opt, G, D, step, vectors=None):
    """-> loss, what it leaves in G, what it leaves in D"""
    images, g_left = generator(G, opt, step["z"], step.get("labels"))
    logits, d_left, _ = discriminator(D, opt, images, step.get("labels"), vectors)
    loss = -logits.mean() if opt.loss == "hinge" else softplus(-logits).mean()
    return loss, g_left, d_left


def dmain(opt, G, D, step, vectors=None):
    """Reals first, then fakes: u moves in each, and the fakes see the second one."""
    first, second = (None, None) if vectors is None else (vectors.setdefault(k, {}) for k in ("reals", "fakes"))
    real, left, _ = discriminator(D, opt, step["reals"], step.get("real_labels"), first)
    with torch.no_grad():
        fakes, g_left = generator(G, opt, step["z"], step.get("labels"))
    fake, left, _ = discriminator({**D, **left}, opt, fakes, step.get("labels"), second)
    if opt.loss == "hinge":
        return (1 - real).relu().mean() + (1 + fake).relu().mean(), g_left, left
    return softplus(-real).mean() + softplus(fake).mean(), g_left, left


LOSSES = dict(Gmain=gmain, Dmain=dmain)


def run_phase(opt, G, D, phase, step):
    """-> loss, {name: gradient}, what it leaves in G, what it leaves in D"""
    networks = {"G": G, "D": D}
    names = (generator_shapes if phase[0] == "G" else discriminator_shapes)(opt)[0]
    leaves = {n: networks[phase[0]][n].detach().clone().requires_grad_() for n in names}
    networks[phase[0]] = {**networks[phase[0]], **leaves}
    loss, g_left, d_left = LOSSES[phase](opt, networks["G"], networks["D"], step)
    grads = torch.autograd.grad(loss, list(leaves.values()))
    return loss.detach(), dict(zip(leaves, grads)), g_left, d_left


class Adam:
    """The moments of one network. As everywhere but in Chainer, eps is added to the corrected root."""

    def __init__(self, opt):
        self.opt, self.t, self.moments = opt, 0, {}

    def step(self, p, grads):
        o, self.t = self.opt, self.t + 1
        for name, g in grads.items():
            m, v = self.moments.get(name, (0, 0))
            m, v = o.beta1 * m + (1 - o.beta1) * g, o.beta2 * v + (1 - o.beta2) * g * g
            self.moments[name] = m, v
            root = (v / (1 - o.beta2 ** self.t)).sqrt() + o.adam_eps
            p[name] = p[name] - o.lr * m / (1 - o.beta1 ** self.t) / root


def iteration(opt, G, D, adams, steps):
    """G's step, then n_dis of D; changes G and D -> losses"""
    losses = []
    for phase, step in zip(["Gmain"] + ["Dmain"] * opt.n_dis, steps):
        loss, grads, g_left, d_left = run_phase(opt, G, D, phase, step)
        adams[phase[0]].step(G if phase[0] == "G" else D, grads)
        G |= g_left
        D |= d_left
        losses.append(loss)
    return losses


# ---- fixtures -----------------------------------------------------------------------------------

def initial_values(shapes, normal):
    """Nothing keeps its usual initial value."""
    values = {}
    for name, shape in {**shapes[0], **shapes[1]}.items():
        x = normal(*shape)
        if name.endswith("weight"):
            x = x * (2 / np.prod(shape[1:])) ** 0.5
        elif name.endswith("gamma"):
            x = 1 + 0.3 * x
        elif name.endswith("avg_var"):
            x = 0.5 + x.abs()
        elif not name.endswith(".u"):
            x = 0.3 * x
        values[name] = x.float().double()
    return values


def random_steps(opt, normal, state):
    def step(batch, reals):
        s = {"z": normal(batch, opt.z_dim)}
        if reals:
            s["reals"] = normal(batch, opt.img_channels, opt.resolution, opt.resolution).mul(0.5).clamp(-1, 1).float().double()
        for key in ("labels", "real_labels") if reals else ("labels",):
            if opt.classes:
                s[key] = torch.from_numpy(state.randint(0, opt.classes, batch, dtype=np.int64))
        return s
    return [[step(opt.g_batch, False)] + [step(opt.d_batch, True) for _ in range(opt.n_dis)] for _ in range(opt.iterations)]


def make_case(name):
    opt = CASES[name]
    normal, state = random_source(STREAMS.get(name, name))
    G, D = initial_values(generator_shapes(opt), normal), initial_values(discriminator_shapes(opt), normal)
    return opt, G, D, random_steps(opt, normal, state)


def fixture(name):
    opt, G, D, steps = make_case(name)
    out = {f"G.{n}": v for n, v in G.items()} | {f"D.{n}": v for n, v in D.items()}
    for i, row in enumerate(steps):
        for k, step in enumerate(row):
            where = f"in.{i}.{'D' + str(k - 1) if k else 'G'}"
            out |= {f"{where}.{n}": v.float() if n == "reals" else v for n, v in step.items()}
    g, d = steps[0][:2]
    with torch.no_grad():
        images, left = generator(G, opt, g["z"], g.get("labels"))
        out["out.G.images"] = images.float()
        first = g["labels"][:1] if opt.classes else None
        out["out.G.image_by_averages"] = generator(G, opt, g["z"][:1], first, train=False)[0].float()
        out |= {f"out.G.{n}": v for n, v in left.items()}
        out["out.D.logits"], left, sigmas = discriminator(D, opt, d["reals"], d.get("real_labels"))
        out |= {f"out.D.{n}": v for n, v in left.items()} | {f"out.D.{n}.sigma": v for n, v in sigmas.items()}
    for phase, step in (("Gmain", g), ("Dmain", d)):
        loss, grads, _, _ = run_phase(opt, G, D, phase, step)
        out[f"{phase}.loss"] = loss
        out |= {f"{phase}.grad.{n}": v for n, v in grads.items()}
    adams = {"G": Adam(opt), "D": Adam(opt)}
    for i, row in enumerate(steps):
        losses = iteration(opt, G, D, adams, row)
        out[f"after.{i}.losses"] = torch.stack(losses)
    out |= {f"after.G.{n}": v for n, v in G.items()} | {f"after.D.{n}": v for n, v in D.items()}
    assert all(torch.isfinite(v).all() for v in out.values())
    path = Path(__file__).parent / f"{name}.safetensors"
    write_safetensors(path, out, {"options": json.dumps(asdict(opt))})
    return path, out


# ---- checks of the reference --------------------------------------------------------------------

def check_counts():
    """Parameters of the published networks at 128, and what FreezeD's layers hold."""
    def count(shapes):
        return sum(int(np.prod(s)) for s in shapes.values())
    for classes, expected in ((1000, (41996931, 30041857)), (102, (33146243, 29122305)), (256, (34664067, 29280001))):
        opt = Options(128, classes=classes)
        counts = count(generator_shapes(opt)[0]), count(discriminator_shapes(opt)[0])
        check(f"counts with {classes} classes: {counts}", counts == expected)
    d = discriminator_shapes(Options(128, classes=102))[0]
    frozen = [count({n: s for n, s in d.items() if n.startswith("block") and int(n[5]) <= layer}) for layer in range(6)]
    check(f"frozen by layer: {frozen}", frozen == [0, 38976, 158080, 633856, 2535680, 10140416])


def check_sigma():
    """After many forwards every sigma is the largest singular value."""
    opt, _, D, steps = make_case("sngan_32")
    d = steps[0][1]
    for _ in range(3000):
        _, left, sigmas = discriminator(D, opt, d["reals"][:1, :, :4, :4], d["real_labels"][:1])
        D |= left
    worst = max(abs(s / torch.linalg.svdvals(D[f"{n}.weight"].reshape(D[f"{n}.weight"].shape[0], -1))[0] - 1) for n, s in sigmas.items())
    check(f"sigma against SVD: {len(sigmas)} layers, worst {worst:.1e}", worst < 1e-10)


def check_layers():
    torch.manual_seed(0)
    x, opt = torch.randn(4, 3, 5, 7).double(), Options(32)
    theirs = torch.nn.BatchNorm2d(3, eps=opt.bn_eps, momentum=1 - opt.bn_decay).double()
    p = {"b.gamma": torch.ones(3), "b.beta": torch.zeros(3), "b.avg_mean": torch.zeros(3), "b.avg_var": torch.ones(3)}
    left = {}
    same = torch.allclose(batch_norm({n: v.double() for n, v in p.items()}, "b", opt, x, None, left, True), theirs(x))
    check("batch norm = torch.nn.BatchNorm2d, running averages too", same and torch.allclose(left["b.avg_mean"], theirs.running_mean)
          and torch.allclose(left["b.avg_var"], theirs.running_var))
    p, q = {"x": torch.randn(5).double()}, None
    q = p["x"].clone().requires_grad_()
    ours, adam = Adam(opt), torch.optim.Adam([q], lr=opt.lr, betas=(opt.beta1, opt.beta2), eps=opt.adam_eps)
    for _ in range(4):
        q.grad = torch.randn(5).double()
        ours.step(p, {"x": q.grad})
        adam.step()
    check("Adam = torch.optim.Adam", torch.allclose(p["x"], q, rtol=1e-12, atol=0))


def check_gradients(name):
    """Central differences of both losses for two random entries of every parameter; u and v stay those of the point itself."""
    opt, G, D, steps = make_case(name)
    random = np.random.RandomState(0)
    for phase, step in (("Gmain", steps[0][0]), ("Dmain", steps[0][1])):
        _, grads, _, _ = run_phase(opt, G, D, phase, step)
        vectors, worst, count = {}, 0.0, 0
        LOSSES[phase](opt, G, D, step, vectors)
        net = G if phase[0] == "G" else D
        for n, g in grads.items():
            for i in random.choice(g.numel(), min(2, g.numel()), replace=False):
                original, exact, errors = net[n], g.reshape(-1)[i].item(), []
                for h in (1e-5, 1e-6, 1e-7):        # a kink within the step spoils a difference; a smaller one passes it by
                    ends = []
                    for sign in (1, -1):
                        net[n] = original.clone()
                        net[n].view(-1)[i] += sign * h
                        ends.append(LOSSES[phase](opt, G, D, step, vectors)[0].item())
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
        check_layers()
        check_sigma()
        for name in ("sngan_32", "sngan_plain_32", "sngan_64"):
            check_gradients(name)
    else:
        for name in args.cases or CASES:
            path, tensors = fixture(name)
            print(f"{path.name}: {len(tensors)} tensors, {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
