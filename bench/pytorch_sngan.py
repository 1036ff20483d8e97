#!/usr/bin/env python3
"""Speed of SNGAN-projection training iterations (1 step of G, n_dis of D) in PyTorch, given its best: the peer of train_bench.

The form of spectral normalisation and the memory format are chosen by a trial unless given. 1x1 shortcuts run at the smaller of their two
sizes, which changes nothing but rounding. A step's time includes its optimiser's. --check compares losses and gradients with tests/golden.
"""
import argparse
import contextlib
import itertools
import json
import math
import statistics
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from pytorch_baseline import Timer, captured, device_name, others_seconds, peak_mb, prepare, replayed, reset_peak

G_CHANNELS = {32: [4, 4, 4, 4], 64: [16, 8, 4, 2, 1], 128: [16, 16, 8, 4, 2, 1]}       # in units of --ch
D_CHANNELS = {32: [2, 2, 2, 2], 64: [1, 2, 4, 8, 16], 128: [1, 2, 4, 8, 16, 16]}
D_KEEPS = {32: (3, 4), 64: (), 128: (6,)}                                               # blocks that do not halve the size
FORMS = ("weight", "output", "torch")


class Sigma(torch.autograd.Function):
    """u W v, already known, as a function of W"""
    @staticmethod
    def forward(ctx, w, u, v, sigma):
        ctx.save_for_backward(u, v)
        ctx.shape = w.shape
        return sigma.clone()

    @staticmethod
    def backward(ctx, g):
        u, v = ctx.saved_tensors
        return torch.outer(u * g, v).view(ctx.shape), None, None, None


class Normalized(nn.Module):
    """weight / sigma: of a copy ("weight"), or of what the layer gives ("output"). Of a frozen weight a copy is made once."""

    def __init__(self, *shape, form, bias=True):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(shape) / math.sqrt(math.prod(shape[1:])))
        self.bias = nn.Parameter(torch.zeros(shape[0])) if bias else None
        self.register_buffer("u", torch.randn(shape[0]))
        self.form, self.constant = form, None

    def iterate(self):
        """One power iteration -> u, v, sigma; None for a frozen weight"""
        if self.constant is not None:
            return None
        matrix = self.weight.flatten(1)
        v = F.normalize(matrix.t() @ self.u, dim=0, eps=1e-12)
        s = matrix @ v
        sigma = s.norm()
        u = s / (sigma + 1e-12)
        self.u.copy_(u)
        return u, v, sigma

    def scaled(self, vectors):
        """weight, and a factor for what it gives, or None"""
        if vectors is None:
            return self.constant, None
        sigma = Sigma.apply(self.weight, *vectors) if torch.is_grad_enabled() and self.weight.requires_grad else vectors[2]
        return (self.weight, 1 / sigma) if self.form == "output" else (self.weight / sigma, None)

    def freeze(self, on):
        self.requires_grad_(not on)
        self.constant = None
        if on:
            with torch.no_grad():
                self.constant = self.weight / self.iterate()[2]


class Conv(Normalized):
    def forward(self, x, vectors):
        w, factor = self.scaled(vectors)
        padding = w.shape[2] // 2
        if factor is None:
            return F.conv2d(x, w, self.bias, padding=padding)
        return torch.addcmul(self.bias.view(-1, 1, 1), F.conv2d(x, w, padding=padding), factor)


class Linear(Normalized):
    def forward(self, x, vectors):
        w, factor = self.scaled(vectors)
        return F.linear(x, w, self.bias) if factor is None else F.linear(x, w) * factor + self.bias


class Embedding(Normalized):
    def forward(self, labels, vectors):
        w, factor = self.scaled(vectors)
        return F.embedding(labels, w) if factor is None else F.embedding(labels, w) * factor


class ByTorch(nn.Module):
    """torch's parametrization, which iterates by itself"""

    def __init__(self, module):
        super().__init__()
        self.module = torch.nn.utils.parametrizations.spectral_norm(module, n_power_iterations=1, eps=1e-12)

    def iterate(self):
        return None

    def forward(self, x, vectors):
        return self.module(x)

    def freeze(self, on):
        self.requires_grad_(not on)


def layer(kind, *shape, form, bias=True):
    if form != "torch":
        return kind(*shape, form=form, bias=bias)
    module = (nn.Conv2d(shape[1], shape[0], shape[2], padding=shape[2] // 2) if kind is Conv else
              nn.Linear(shape[1], shape[0]) if kind is Linear else nn.Embedding(*shape))
    return ByTorch(module)


class Norm(nn.Module):
    def __init__(self, channels, classes):
        super().__init__()
        shape = (classes, channels) if classes else (channels,)
        self.gamma, self.beta = nn.Parameter(torch.ones(shape)), nn.Parameter(torch.zeros(shape))
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("var", torch.ones(channels))

    def forward(self, x, labels):
        """relu of the normalised"""
        if self.gamma.dim() == 1:
            return F.relu_(F.batch_norm(x, self.mean, self.var, self.gamma, self.beta, True, 0.1, 2e-5))
        gamma, beta = (F.embedding(labels, t)[:, :, None, None].to(x.dtype) for t in (self.gamma, self.beta))
        return F.relu_(torch.addcmul(beta, gamma, F.batch_norm(x, self.mean, self.var, None, None, True, 0.1, 2e-5)))


def up(x):
    return F.interpolate(x, scale_factor=2, mode="nearest")


class GBlock(nn.Module):
    def __init__(self, i, o, classes):
        super().__init__()
        self.b1, self.b2 = Norm(i, classes), Norm(o, classes)
        self.c1, self.c2, self.c_sc = nn.Conv2d(i, o, 3, padding=1), nn.Conv2d(o, o, 3, padding=1), nn.Conv2d(i, o, 1)

    def forward(self, x, labels):
        h = self.c1(up(self.b1(x, labels)))
        return self.c2(self.b2(h, labels)) + up(self.c_sc(x))


class Generator(nn.Module):
    def __init__(self, args):
        super().__init__()
        c = [args.ch * k for k in G_CHANNELS[args.resolution]]
        self.z_dim, self.classes = args.z_dim, args.classes
        self.l1 = nn.Linear(args.z_dim, c[0] * 16)
        self.blocks = nn.ModuleList(GBlock(i, o, args.classes) for i, o in zip(c, c[1:]))
        self.norm, self.last = Norm(c[-1], 0), nn.Conv2d(c[-1], 3, 3, padding=1)

    def forward(self, z, labels):
        x = self.l1(z).view(len(z), -1, 4, 4)
        if self.last.weight.is_contiguous(memory_format=torch.channels_last):
            x = x.contiguous(memory_format=torch.channels_last)
        for block in self.blocks:
            x = block(x, labels)
        return torch.tanh(self.last(self.norm(x, labels)))


class DBlock(nn.Module):
    def __init__(self, i, o, first, down, form):
        super().__init__()
        hidden = o if first else i
        self.first, self.down = first, down
        self.c1, self.c2 = layer(Conv, hidden, i, 3, 3, form=form), layer(Conv, o, hidden, 3, 3, form=form)
        self.c_sc = layer(Conv, o, i, 1, 1, form=form) if down else None

    def layers(self):
        return [self.c1, self.c2, self.c_sc] if self.down else [self.c1, self.c2]

    def forward(self, x, vectors):
        h = self.c1(x if self.first else F.relu(x), next(vectors))
        h = self.c2(F.relu_(h), next(vectors))
        return F.avg_pool2d(h, 2) + self.c_sc(F.avg_pool2d(x, 2), next(vectors)) if self.down else h + x


class Discriminator(nn.Module):
    def __init__(self, args, form):
        super().__init__()
        c = [args.ch * k for k in D_CHANNELS[args.resolution]]
        self.blocks = nn.ModuleList(DBlock(i, o, n == 1, n not in D_KEEPS[args.resolution], form)
                                    for n, (i, o) in enumerate(zip([3, *c], c), 1))
        self.linear = layer(Linear, 1, c[-1], form=form)
        self.l_y = layer(Embedding, args.classes, c[-1], form=form, bias=False) if args.classes else None

    def layers(self):
        return [l for block in self.blocks for l in block.layers()] + [l for l in (self.linear, self.l_y) if l is not None]

    def freeze(self, count):
        """Of the first `count` blocks nothing trains."""
        for n, block in enumerate(self.blocks):
            for module in block.layers():
                module.freeze(n < count)

    @torch.no_grad()
    def iterate(self):
        return [module.iterate() for module in self.layers()]

    def forward(self, x, labels, vectors, frozen=0):
        """`vectors` is what iterate() gave: in here, two passes before a backward would overwrite what the first has saved"""
        vectors = iter(vectors)
        with torch.no_grad() if frozen else contextlib.nullcontext():
            for block in self.blocks[:frozen]:
                x = block(x, vectors)
        for block in self.blocks[frozen:]:
            x = block(x, vectors)
        h = F.relu(x).sum((2, 3), dtype=torch.float32)
        y = self.linear(h, next(vectors))
        return y if self.l_y is None else y + (self.l_y(labels, next(vectors)) * h).sum(1, keepdim=True)


class Trainer:
    def __init__(self, args, form, channels_last):
        torch.manual_seed(0)
        self.args, self.device = args, torch.device(args.device)
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.G = Generator(args).to(self.device, memory_format=self.memory_format)
        self.D = Discriminator(args, form).to(self.device, memory_format=self.memory_format)
        self.D.freeze(args.freeze_d)
        self.opt = {net: torch.optim.Adam([p for p in module.parameters() if p.requires_grad], lr=2e-4, betas=(0.0, 0.9), eps=1e-8,
                                          fused=True, capturable=args.graphs)
                    for net, module in (("G", self.G), ("D", self.D))}
        self.reals = torch.rand(args.batch, 3, args.resolution, args.resolution, device=self.device).mul_(2).sub_(1).to(
            memory_format=self.memory_format)
        self.timer = Timer(self.device.type == "cuda")
        compiled = (lambda module: torch.compile(module, dynamic=False)) if args.compile else lambda module: module
        self.fast_G, self.fast_D, self.iterate = compiled(self.G), compiled(self.D), compiled(self.D.iterate)
        self.graphs = captured({name: lambda name=name: self.step(name) for name in ("Gmain", "Dmain")}, self.opt.values()) if args.graphs else {}

    def scores(self, images, labels, frozen=0):
        with torch.autocast(self.device.type, enabled=False):
            vectors = self.iterate()
        return self.fast_D(images, labels, vectors, frozen)

    def labels(self, n):
        return torch.randint(self.args.classes, (n,), device=self.device) if self.args.classes else None

    def fakes(self, n):
        labels = self.labels(n)
        return self.fast_G(torch.randn(n, self.args.z_dim, device=self.device), labels), labels

    def loss_Gmain(self):
        return -self.scores(*self.fakes(self.args.g_batch or 2 * self.args.batch)).mean()

    def loss_Dmain(self):
        frozen = self.args.freeze_d
        with torch.no_grad():
            fakes, labels = self.fakes(self.args.batch)
        if self.args.joint:
            both = torch.cat([self.reals, fakes.to(self.reals.dtype)])
            real, fake = self.scores(both, labels if labels is None else torch.cat([self.labels(len(fakes)), labels]), frozen).chunk(2)
        else:
            real, fake = self.scores(self.reals, self.labels(len(fakes)), frozen), self.scores(fakes, labels, frozen)
        return F.relu(1 - real).mean() + F.relu(1 + fake).mean()

    def step(self, name):
        """One step of G or of D with its optimiser's -> its loss, on the device"""
        self.G.requires_grad_(name == "Gmain")
        if name == "Gmain":
            wanted = [p for p in self.D.parameters() if p.requires_grad]
            for p in wanted:
                p.requires_grad_(False)
        opt = self.opt[name[0]]
        opt.zero_grad(set_to_none=True)
        bf16 = self.args.dtype == "bf16"
        with torch.autocast(self.device.type, dtype=torch.bfloat16) if bf16 else contextlib.nullcontext():
            loss = getattr(self, f"loss_{name}")()
        loss.backward()
        opt.step()
        if name == "Gmain":
            for p in wanted:
                p.requires_grad_(True)
        return loss.detach()

    def phase(self, name):
        """The same -> milliseconds"""
        self.timer.start()
        loss = replayed(self.graphs, name) if self.graphs else self.step(name)
        ms = self.timer.stop()
        if not math.isfinite(loss.item()):
            raise RuntimeError(f"{name}: loss is not finite")
        return ms


def iteration_ms(args, times):
    return times["Gmain"] + args.n_dis * times["Dmain"]


def trial(args):
    """A warm-up and the best of two runs of each step for every candidate -> the fastest, all"""
    forms = FORMS if args.spectral == "auto" else (args.spectral,)
    formats = (args.format,) if args.format != "auto" else ("channels_last",) if args.device == "cuda" else ("channels_last", "contiguous")
    results = {}
    for form, layout in itertools.product(forms, formats):
        if len(forms) * len(formats) == 1:
            return (form, layout), {}
        trainer = Trainer(args, form, layout == "channels_last")
        times = {name: min([trainer.phase(name) for _ in range(3)][1:]) for name in ("Gmain", "Dmain")}
        results[form, layout] = iteration_ms(args, times)
        print(f"trial {form:7s} {layout:13s} {results[form, layout]:8.0f} ms/iteration", file=sys.stderr)
    return min(results, key=results.get), {" ".join(k): round(ms, 1) for k, ms in results.items()}


def measure(args, form, layout, trials):
    cuda = args.device == "cuda"
    reset_peak(cuda)
    trainer = Trainer(args, form, layout == "channels_last")
    samples, begin, others = {"Gmain": [], "Dmain": []}, time.perf_counter(), others_seconds()
    for round_ in range(args.warm_up + args.repeats):
        for name, times in samples.items():
            for _ in range(args.n_dis if name == "Dmain" else 1):
                ms = trainer.phase(name)
                if round_ >= args.warm_up:
                    times.append(ms)
    others = (others_seconds() - others) / (time.perf_counter() - begin)
    times = {name: statistics.median(t) for name, t in samples.items()}
    total = iteration_ms(args, times)
    row = dict(model="sngan", resolution=args.resolution, ch=args.ch, batch=args.batch, g_batch=args.g_batch or 2 * args.batch, n_dis=args.n_dis,
               classes=args.classes, type=args.dtype.replace("fp32", "f32"), frozen_blocks=args.freeze_d, joint=args.joint,
               **{f"{n}_ms": round(t, 2) for n, t in times.items()}, best_ms={n: round(min(t), 2) for n, t in samples.items()},
               iteration_ms=round(total, 2), images_per_s=round(args.n_dis * args.batch / total * 1e3, 2), peak_mb=round(peak_mb(cuda)),
               spectral=form, memory_format=layout, compiled=args.compile, graphs=args.graphs, trials_ms=trials, torch=torch.__version__, device=device_name(cuda))
    return row if cuda else row | dict(threads=args.threads, others_cores=round(others, 2))


def check():
    """Losses and gradients of both steps against tests/golden, in every form"""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "golden"))
    import sngan
    for case in ("sngan_32", "sngan_64"):
        opt, G, D, steps = sngan.make_case(case)
        g, d = steps[0][:2]
        args = argparse.Namespace(resolution=opt.resolution, ch=opt.ch, z_dim=opt.z_dim, classes=opt.classes, batch=opt.d_batch,
                                  g_batch=opt.g_batch, freeze_d=0, joint=False, dtype="fp32", device="cpu", compile=False, graphs=False)
        want = {phase: sngan.run_phase(opt, G, D, phase, step)[:2] for phase, step in (("Gmain", g), ("Dmain", d))}
        for form, channels_last in itertools.product(FORMS[:2], (False, True)):
            trainer, last, worst = Trainer(args, form, channels_last), len(D_CHANNELS[opt.resolution]) + 1, 0.0
            trainer.reals = d["reals"].float().contiguous(memory_format=trainer.memory_format)
            rename = {"blocks": "block", "linear": f"l{last}", "norm": f"b{len(opt.g_channels) + 1}", "last": f"l{len(opt.g_channels) + 1}",
                      "mean": "avg_mean", "var": "avg_var"}

            def golden(name, first):
                parts = name.split(".")
                if parts[0] == "blocks":
                    parts[:2] = [f"block{int(parts[1]) + first}"]
                return ".".join(rename.get(p, p) for p in parts)
            for phase, step in (("Gmain", g), ("Dmain", d)):
                for module, values, first in ((trainer.G, G, 2), (trainer.D, D, 1)):
                    for n, t in [*module.named_parameters(), *module.named_buffers()]:
                        t.data.copy_(values[golden(n, first)])
                        t.grad = None
                trainer.fakes = lambda n, s=step: (trainer.G(s["z"].float(), s["labels"]), s["labels"])
                trainer.labels = lambda n, s=step: s["real_labels"]
                loss, grads = want[phase]
                got = getattr(trainer, f"loss_{phase}")()
                got.backward()
                module, first = (trainer.G, 2) if phase == "Gmain" else (trainer.D, 1)
                scale = max(v.abs().max().item() for v in grads.values())
                worst = max([worst, abs(got.item() - loss.item()) / max(abs(loss.item()), 1)] + [
                    (p.grad - grads[golden(n, first)]).abs().max().item() / scale for n, p in module.named_parameters()])
            print(f"{case:9s} {form:7s} channels_last={channels_last!s:5} worst relative error {worst:.1e}")
            if worst > 1e-4:
                raise SystemExit("the baseline is wrong")


def report(r):
    columns = (("resolution", "resolution"), ("ch", "ch"), ("batch", "batch"), ("type", "type"), ("frozen", "frozen_blocks"), ("Gmain", "Gmain_ms"),
               ("Dmain", "Dmain_ms"), ("ms/iteration", "iteration_ms"), ("images/s", "images_per_s"), ("peak MB", "peak_mb"))
    print("| " + " | ".join(title for title, _ in columns) + " |")
    print("|" + "---|" * len(columns))
    print("| " + " | ".join(str(r[key]) for _, key in columns) + " |")
    print(f"torch {r['torch']} on {r['device']}, {r['memory_format']}, spectral norm {r['spectral']}, {r['n_dis']} steps of D"
          f"{', reals and fakes in one pass' if r['joint'] else ''}{', compiled' if r['compiled'] else ''}{', CUDA graphs' if r['graphs'] else ''}")
    if r.get("others_cores", 0) > 0.1:
        print(f"These times are not to be trusted: other processes kept {r['others_cores']} cores busy meanwhile")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--resolution", type=int, choices=sorted(G_CHANNELS), default=32)
    parser.add_argument("--ch", type=int, default=64, help="base width")
    parser.add_argument("--z-dim", type=int, default=128)
    parser.add_argument("--classes", type=int, default=10, help="0: unconditional")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--g-batch", type=int, default=0, help="batch of G's step; 0: twice D's, as published")
    parser.add_argument("--n-dis", type=int, default=5)
    parser.add_argument("--joint", action="store_true", help="D sees reals and fakes in one pass: one power iteration a step instead of two")
    parser.add_argument("--dtype", choices=("fp32", "bf16"), default="fp32", help="bf16: autocast")
    parser.add_argument("--compile", action="store_true", help="torch.compile for both networks")
    parser.add_argument("--graphs", action="store_true", help="each step as one CUDA graph")
    parser.add_argument("--freeze-d", type=int, default=0, metavar="N", help="freeze D's first N blocks")
    parser.add_argument("--freeze-sweep", type=int, metavar="K", help="a row for each of 0 to K frozen blocks")
    parser.add_argument("--spectral", choices=("auto", *FORMS), default="auto",
                        help="divide weights by sigma, or outputs, or torch's parametrization")
    parser.add_argument("--format", choices=("auto", "contiguous", "channels_last"), default="auto")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--malloc", choices=("keep", "system"), default="keep", help="keep: do not return freed memory to the system")
    parser.add_argument("--warm-up", type=int, default=1, help="iterations before the first that counts")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--check", action="store_true", help="compare with tests/golden, time nothing")
    parser.add_argument("--json", action="store_true", help="print a line of JSON for each row instead of a table")
    args = parser.parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("this PyTorch sees no GPU")
    if args.graphs and args.device == "cpu":
        parser.error("--graphs needs --device cuda")
    prepare(args)
    if args.check:
        return check()
    (form, layout), trials = trial(argparse.Namespace(**{**vars(args), "compile": False, "graphs": False}))
    for frozen in range(args.freeze_sweep + 1) if args.freeze_sweep is not None else [args.freeze_d]:
        row = argparse.Namespace(**{**vars(args), "freeze_d": frozen})
        result = measure(row, form, layout, trials)
        print(json.dumps(result), flush=True) if args.json else report(result)


if __name__ == "__main__":
    main()
