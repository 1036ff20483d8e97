#!/usr/bin/env python3
"""Speed of StyleGAN2 training iterations in PyTorch on the CPU, given its best: the peer to measure the engine against.

Settings that only PyTorch cares about (memory format, form of the FIR) are chosen by a trial at the start unless given.
Style mixing 0.9, random noise, G skip, D resnet; a phase's time includes its optimiser step.
"""
import argparse
import ctypes
import functools
import itertools
import json
import math
import os
import statistics
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

PHASES = ("Gmain", "Greg", "Dmain", "Dreg")
EVERY = dict(Gmain=1, Greg=4, Dmain=1, Dreg=16)
SQRT2 = math.sqrt(2)


def act(x):
    """Leaky ReLU; its gain is folded into the weights and biases before it. In place: nothing before it keeps x."""
    return F.leaky_relu_(x, 0.2)


# ---- the FIR [1,3,3,1] x [1,3,3,1] / 64 in four forms --------------------------------------------

@functools.lru_cache(None)
def fir_kernel(channels, gain, dtype):
    taps = torch.tensor([1., 3., 3., 1.])
    return (torch.outer(taps, taps) * (gain / 64)).to(dtype).expand(channels, 1, 4, 4).contiguous()


def fir_depthwise(x, pad, gain=1, stride=1):
    return F.conv2d(x, fir_kernel(x.shape[1], gain, x.dtype), padding=pad, stride=stride, groups=x.shape[1])


def fir_single(x, pad, gain=1, stride=1):
    n, c, h, w = x.shape
    y = F.conv2d(x.reshape(n * c, 1, h, w), fir_kernel(1, gain, x.dtype), padding=pad, stride=stride)
    return y.reshape(n, c, *y.shape[2:])


def fir_taps(x, pad, gain=1, stride=1):
    x = F.pad(x, (pad,) * 4)
    for dim in (2, 3):
        n = x.shape[dim] - 3
        parts = [x.narrow(dim, i, n) for i in range(4)]
        if stride > 1:
            parts = [p[:, :, ::stride] if dim == 2 else p[:, :, :, ::stride] for p in parts]
        x = (parts[0] + parts[3]).add_(parts[1] + parts[2], alpha=3)
    return x * (gain / 64)


def fir_boxes(x, pad, gain=1, stride=1):
    """[1,3,3,1] is three boxes of two."""
    x = F.avg_pool2d(x, 2, 1, padding=min(pad, 1), divisor_override=1)
    if pad > 1:
        x = F.pad(x, (pad - 1,) * 4)
    x = F.avg_pool2d(x, 2, 1, divisor_override=1)
    return F.avg_pool2d(x, 2, stride, divisor_override=1) * (gain / 64)


FIRS = dict(depthwise=fir_depthwise, single=fir_single, taps=fir_taps, boxes=fir_boxes)
fir = fir_depthwise


def upsample(image):
    """Zero-padded interpolation by 2: bilinear inside, with a zero border instead of a repeated one."""
    return F.interpolate(F.pad(image, (1, 1, 1, 1)), scale_factor=2, mode="bilinear", align_corners=False)[:, :, 2:-2, 2:-2]


# ---- networks -----------------------------------------------------------------------------------

class Linear(nn.Module):
    def __init__(self, i, o, bias=0.0, lr_mult=1.0, gain=1.0):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(o, i) / lr_mult)
        self.bias = nn.Parameter(torch.full((o,), bias))
        self.scale, self.bias_scale = gain * lr_mult / math.sqrt(i), gain * lr_mult

    def forward(self, x):
        return torch.addmm(self.bias, x, self.weight.t(), beta=self.bias_scale, alpha=self.scale)


class Mapping(nn.Module):
    def __init__(self, layers, num_ws):
        super().__init__()
        self.layers = nn.ModuleList(Linear(512, 512, lr_mult=0.01, gain=SQRT2) for _ in range(layers))
        self.num_ws = num_ws
        self.register_buffer("w_avg", torch.zeros(512))

    def forward(self, z, track):
        x = z * (z.square().mean(1, keepdim=True) + 1e-8).rsqrt()
        for layer in self.layers:
            x = act(layer(x))
        if track:
            self.w_avg.lerp_(x.detach().mean(0).float(), 0.005)
        return x[:, None].expand(-1, self.num_ws, -1)


def demodulate(w, s, improved):
    if improved:
        return (s.square() @ w.square().sum((2, 3)).t() + 1e-8).rsqrt()
    return ((w[None] * s[:, None, :, None, None]).square().sum((2, 3, 4)) + 1e-8).rsqrt()


class ModulatedConv(nn.Module):
    def __init__(self, i, o, up, improved):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(o, i, 3, 3))
        self.bias = nn.Parameter(torch.zeros(o))
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.affine = Linear(512, i, bias=1.0)
        self.up, self.improved = up, improved

    def forward(self, x, w):
        s = self.affine(w).float()
        d = demodulate(self.weight, s, self.improved) * SQRT2
        x = x * s[:, :, None, None].to(x.dtype)
        if self.up:
            x = fir(F.conv_transpose2d(x, self.weight.transpose(0, 1), stride=2), 1, gain=4)
        else:
            x = F.conv2d(x, self.weight, padding=1)
        noise = torch.randn(len(x), 1, *x.shape[2:]) * (self.noise_strength * SQRT2)
        shift = noise + (self.bias * SQRT2)[:, None, None]
        return act(torch.addcmul(shift.to(x.dtype), x, d[:, :, None, None].to(x.dtype)))


class ToRGB(nn.Module):
    def __init__(self, i):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, i, 1, 1))
        self.bias = nn.Parameter(torch.zeros(3))
        self.affine = Linear(512, i, bias=1.0, gain=1 / math.sqrt(i))

    def forward(self, x, w):
        s = self.affine(w)
        return F.conv2d(x * s[:, :, None, None].to(x.dtype), self.weight, self.bias).float()


class Generator(nn.Module):
    def __init__(self, args):
        super().__init__()
        levels = int(math.log2(args.resolution)) - 1
        channels = [args.width(4 << i) for i in range(levels)]
        self.mapping = Mapping(args.mapping_layers, 2 * levels)
        self.const = nn.Parameter(torch.randn(channels[0], 4, 4))
        improved = args.modulation == "improved"
        self.conv0 = nn.ModuleList(ModulatedConv(channels[i - 1], channels[i], True, improved) for i in range(1, levels))
        self.conv1 = nn.ModuleList(ModulatedConv(c, c, False, improved) for c in channels)
        self.torgb = nn.ModuleList(ToRGB(c) for c in channels)

    def mapped(self, n, mixing=0.9):
        ws = self.mapping(torch.randn(n, 512), track=True)
        if torch.rand(()).item() < mixing:
            cutoff = int(torch.randint(1, ws.shape[1], ()))
            ws = torch.cat([ws[:, :cutoff], self.mapping(torch.randn(n, 512), track=False)[:, cutoff:]], 1)
        return ws

    def forward(self, ws):
        x, image = self.const.expand(len(ws), -1, -1, -1), None
        for i, (conv1, torgb) in enumerate(zip(self.conv1, self.torgb)):
            if i:
                x = self.conv0[i - 1](x, ws[:, 2 * i - 1])
            x = conv1(x, ws[:, 2 * i])
            rgb = torgb(x, ws[:, 2 * i + 1])
            image = rgb if image is None else upsample(image) + rgb
        return image


class Conv(nn.Module):
    def __init__(self, i, o, k, bias=True, gain=SQRT2):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(o, i, k, k))
        self.bias = nn.Parameter(torch.zeros(o)) if bias else None
        self.scale, self.gain = gain / math.sqrt(i * k * k), gain

    def forward(self, x, **kwargs):
        bias = None if self.bias is None else self.bias * self.gain
        return F.conv2d(x, self.weight * self.scale, bias, **kwargs)


class Discriminator(nn.Module):
    def __init__(self, args):
        super().__init__()
        resolutions = [args.resolution >> i for i in range(int(math.log2(args.resolution)) - 2)]     # down to 8
        self.fromrgb = Conv(3, args.width(args.resolution), 1)
        self.blocks = nn.ModuleList()
        for r in resolutions:
            i, o = args.width(r), args.width(r // 2)
            self.blocks.append(nn.ModuleDict(dict(conv0=Conv(i, i, 3), conv1=Conv(i, o, 3, gain=1.0),   # sqrt(2) sqrt(1/2)
                                                  skip=Conv(i, o, 1, bias=False, gain=math.sqrt(0.5)))))
        top = args.width(4)
        self.conv = Conv(top + 1, top, 3)
        self.fc = Linear(top * 16, top, gain=SQRT2)
        self.out = Linear(top, 1)

    def freeze(self, blocks):
        self.requires_grad_(True)
        if blocks:
            self.fromrgb.requires_grad_(False)
        for block in self.blocks[:blocks]:
            block.requires_grad_(False)

    def forward(self, x):
        x = act(self.fromrgb(x))
        for block in self.blocks:
            skip = block["skip"](fir(x, 1, stride=2))
            x = act(block["conv0"](x, padding=1))
            x = act(block["conv1"](fir(x, 2), stride=2)) + skip
        n, c, h, w = x.shape
        group = min(4, n)
        y = x.float().reshape(group, n // group, c, h, w)
        std = (y.var(0, unbiased=False) + 1e-8).sqrt().mean((1, 2, 3)).repeat(group)
        x = torch.cat([x, std[:, None, None, None].expand(-1, 1, h, w).to(x.dtype)], 1)
        x = act(self.conv(x, padding=1)).flatten(1)
        return self.out(act(self.fc(x))).float()


# ---- training -----------------------------------------------------------------------------------

class Trainer:
    def __init__(self, args, channels_last):
        torch.manual_seed(0)
        self.args = args
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.G = Generator(args).to(memory_format=self.memory_format)
        self.D = Discriminator(args).to(memory_format=self.memory_format)
        self.ema = [p.detach().clone() for p in self.G.parameters()]
        self.D.freeze(args.freeze_d)
        self.opt = {}
        for net, module, lr, interval in (("G", self.G, 0.0025, 4), ("D", self.D, 0.0025, 16)):
            k = interval / (interval + 1)
            self.opt[net] = torch.optim.Adam([p for p in module.parameters() if p.requires_grad], lr=lr * k,
                                             betas=(0, 0.99 ** k), eps=1e-8, foreach=True)
        self.reals = torch.rand(args.batch, 3, args.resolution, args.resolution).mul_(2).sub_(1).to(
            memory_format=self.memory_format)
        self.pl_mean = torch.zeros(())

    def fakes(self, ws):
        return self.G(ws).contiguous(memory_format=self.memory_format)

    def loss_Gmain(self):
        return F.softplus(-self.D(self.fakes(self.G.mapped(self.args.batch)))).mean()

    def loss_Greg(self):
        ws = self.G.mapped(max(self.args.batch // 2, 1))
        images = self.G(ws)
        y = torch.randn_like(images) / self.args.resolution
        g, = torch.autograd.grad((images * y).sum(), ws, create_graph=True)
        length = g.float().square().sum(2).mean(1).sqrt()
        mean = self.pl_mean.lerp(length.mean(), 0.01)
        self.pl_mean = mean.detach()
        return (length - mean).square().mean() * (2 * 4)

    def loss_Dmain(self):
        with torch.no_grad():
            fakes = self.fakes(self.G.mapped(self.args.batch))
        return F.softplus(self.D(fakes)).mean() + F.softplus(-self.D(self.reals)).mean()

    def loss_Dreg(self):
        images = self.reals.detach().requires_grad_()
        g, = torch.autograd.grad(self.D(images).sum(), images, create_graph=True)
        return g.square().sum((1, 2, 3)).mean() * (0.5 * 16)

    def phase(self, name, bf16):
        """One phase with its optimiser step -> milliseconds"""
        start = time.perf_counter()
        self.G.requires_grad_(name[0] == "G")
        if name[0] == "D":
            self.D.freeze(self.args.freeze_d)
        else:
            self.D.requires_grad_(False)
        opt = self.opt[name[0]]
        opt.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            loss = getattr(self, f"loss_{name}")()
        loss.backward()
        opt.step()
        if not math.isfinite(loss.item()):
            raise RuntimeError(f"{name}: loss is not finite")
        return (time.perf_counter() - start) * 1e3

    @torch.no_grad()
    def average(self, beta=0.999):
        start = time.perf_counter()
        torch._foreach_mul_(self.ema, beta)
        torch._foreach_add_(self.ema, list(self.G.parameters()), alpha=1 - beta)
        return (time.perf_counter() - start) * 1e3


def iteration_ms(times):
    return sum(ms / EVERY[name] for name, ms in times.items())


def usable_phases(trainer):
    """Phases that run under autocast; the first error of each that does not."""
    errors = {}
    for name in PHASES:
        try:
            trainer.phase(name, True)
        except RuntimeError as error:
            errors[name] = str(error).splitlines()[0]
    return errors


def trial(args):
    """One warm-up and one timed run of each phase for every candidate; keeps the fastest iteration.
    A candidate whose first phases alone take longer than the best is given up."""
    global fir
    firs = FIRS if args.fir == "auto" else [args.fir]
    formats = ("contiguous", "channels_last") if args.format == "auto" else (args.format,)
    if len(firs) * len(formats) == 1:
        fir = FIRS[args.fir]
        return args.format, args.fir, {}
    results, best = {}, math.inf
    for layout, form in itertools.product(formats, firs):
        if (layout, form) == ("channels_last", "single"):       # would transpose back and forth
            continue
        fir = FIRS[form]
        trainer = Trainer(args, layout == "channels_last")
        errors = usable_phases(trainer) if args.dtype == "bf16" else {}
        times = {}
        for name in PHASES:
            bf16 = args.dtype == "bf16" and name not in errors
            trainer.phase(name, bf16)
            times[name] = trainer.phase(name, bf16)
            if iteration_ms(times) > best:
                break
        results[layout, form] = iteration_ms(times)
        best = min(best, results[layout, form])
        print(f"trial {layout:13s} {form:9s} {'over' if len(times) < len(PHASES) else '':4s} {results[layout, form]:8.0f} ms/iteration  "
              + "  ".join(f"{n} {t:.0f}" for n, t in times.items()), file=sys.stderr)
    layout, form = min(results, key=results.get)
    fir = FIRS[form]
    return layout, form, {f"{a} {b}": round(ms, 1) for (a, b), ms in results.items()}


def keep_freed_memory():
    """glibc returns large blocks to the system at once; keeping them saves PyTorch a page fault for every 4 KiB."""
    libc = ctypes.CDLL(None)
    m_trim_threshold, m_mmap_max = -1, -4
    libc.mallopt(m_trim_threshold, 2 ** 31 - 1)
    libc.mallopt(m_mmap_max, 0)


def reset_peak():
    ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/clear_refs", "w") as f:
        f.write("5")


def peak_mb():
    with open("/proc/self/status") as f:
        return next(int(line.split()[1]) / 1024 for line in f if line.startswith("VmHWM"))


def others_seconds():
    """CPU seconds that all other processes have used since the machine started"""
    with open("/proc/stat") as f:
        user, nice, system = (int(x) for x in f.readline().split()[1:4])
    return (user + nice + system) / os.sysconf("SC_CLK_TCK") - time.process_time()


def measure(args):
    torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)
    if args.malloc == "keep":
        keep_freed_memory()
    layout, form, trials = trial(args)
    reset_peak()
    trainer = Trainer(args, layout == "channels_last")
    errors = usable_phases(trainer) if args.dtype == "bf16" else {}
    for name in PHASES:
        trainer.phase(name, args.dtype == "bf16" and name not in errors)
    samples = {name: [] for name in PHASES}
    ema = []
    start, others = time.perf_counter(), others_seconds()
    for _ in range(args.repeats):
        for name in PHASES:
            samples[name].append(trainer.phase(name, args.dtype == "bf16" and name not in errors))
        ema.append(trainer.average())
    others = (others_seconds() - others) / (time.perf_counter() - start)
    times = {name: statistics.median(t) for name, t in samples.items()}
    total = iteration_ms(times)
    return dict(
        resolution=args.resolution, channel_base=args.channel_base, batch=args.batch, type=args.dtype, frozen=args.freeze_d,
        **{f"{n}_ms": round(t, 1) for n, t in times.items()}, iteration_ms=round(total, 1),
        images_per_s=round(args.batch / total * 1e3, 2), peak_mb=round(peak_mb()), ema_ms=round(statistics.median(ema), 1),
        modulation=args.modulation, mapping_layers=args.mapping_layers, threads=args.threads, repeats=args.repeats,
        memory_format=layout, fir=form, malloc=args.malloc, trials_ms=trials, samples_ms={n: [round(x, 1) for x in t] for n, t in samples.items()},
        bf16_failed=errors, others_cores=round(others, 2), torch=torch.__version__, mkldnn=torch.backends.mkldnn.is_available())


def report(r):
    columns = (("resolution", "resolution"), ("channel_base", "channel_base"), ("batch", "batch"), ("type", "type"), ("frozen", "frozen"),
               *((n, f"{n}_ms") for n in PHASES), ("ms/iteration", "iteration_ms"), ("images/s", "images_per_s"), ("peak MB", "peak_mb"))
    print("| " + " | ".join(title for title, _ in columns) + " |")
    print("|" + "---|" * len(columns))
    print("| " + " | ".join(str(r[key]) for _, key in columns) + " |")
    print(f"torch {r['torch']}, {r['threads']} threads, {r['memory_format']}, FIR {r['fir']}, modulation {r['modulation']}, "
          f"malloc {r['malloc']}; EMA {r['ema_ms']} ms, not in ms/iteration")
    if r["others_cores"] > 0.1:
        print(f"These times are not to be trusted: other processes kept {r['others_cores']} cores busy meanwhile")
    if r["type"] == "bf16":
        print("bf16 in " + (", ".join(n for n in PHASES if n not in r["bf16_failed"]) or "no phase"))
        for name, error in r["bf16_failed"].items():
            print(f"  {name} ran in fp32: {error}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--resolution", type=int, default=32)
    parser.add_argument("--channel-base", type=int, default=16384)
    parser.add_argument("--channel-max", type=int, default=512)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--dtype", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--modulation", choices=("default", "improved"), default="default",
                        help="default: per-sample weights, as published; improved: rsqrt(s^2 @ sum_k w^2)")
    parser.add_argument("--freeze-d", type=int, default=0, metavar="N", help="freeze D's N highest-resolution blocks and fromRGB")
    parser.add_argument("--mapping-layers", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--format", choices=("auto", "contiguous", "channels_last"), default="auto")
    parser.add_argument("--fir", choices=("auto", *FIRS), default="auto")
    parser.add_argument("--malloc", choices=("keep", "system"), default="keep", help="keep: do not return freed memory to the system")
    parser.add_argument("--json", action="store_true", help="print the result as JSON instead of a table")
    args = parser.parse_args()
    args.width = lambda r: min(args.channel_base // r, args.channel_max)
    result = measure(args)
    if args.json:
        print(json.dumps(result))
    else:
        report(result)


if __name__ == "__main__":
    main()
