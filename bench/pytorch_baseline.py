#!/usr/bin/env python3
"""Speed of StyleGAN2 training iterations in PyTorch, given its best: the peer to measure the engine against.

What only PyTorch cares about (memory format, form of the FIR, and with `auto` that of demodulation and whether to compile) is
chosen by a trial at the start unless given. Adam is fused. On a GPU: channels_last, TF32, cuDNN's own search, times from CUDA
events. A phase's time includes its optimiser step.
"""
import argparse
import contextlib
import ctypes
import itertools
import json
import math
import os
import statistics
import sys
import time

import torch
import torch.nn.functional as F

import pytorch_networks as networks
from pytorch_networks import FIRS, Discriminator, Generator, VisionJudge

PHASES = ("Gmain", "Greg", "Dmain", "Dreg")
EVERY = dict(Gmain=1, Greg=4, Dmain=1, Dreg=16)
CYCLE = 16                                      # iterations until the lazy phases fall together again


class Timer:
    """Milliseconds of what the device does; on the CPU, as train_bench has it, the clock on the wall, or of one thread processor time"""

    def __init__(self, cuda):
        self.seconds = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
        self.events = [torch.cuda.Event(enable_timing=True) for _ in range(2)] if cuda else None

    def start(self):
        if self.events:
            self.events[0].record()
        else:
            self.begin = self.seconds()

    def stop(self):
        if not self.events:
            return (self.seconds() - self.begin) * 1e3
        self.events[1].record()
        self.events[1].synchronize()
        return self.events[0].elapsed_time(self.events[1])


def captured(works, optimisers, rounds=3):
    """Each work as one CUDA graph, with its gradients in memory of its own -> {name: (graph, what the work returns)}"""
    pool, stream = torch.cuda.graph_pool_handle(), torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):                     # until all that is allocated or chosen once is there
        for _ in range(rounds):
            for work in works.values():
                work()
    torch.cuda.current_stream().wait_stream(stream)
    graphs = {}
    for name, work in works.items():
        for opt in optimisers:
            opt.zero_grad(set_to_none=True)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=pool):
            result = work()
        graphs[name] = graph, result
    return graphs


def replayed(graphs, name):
    graph, result = graphs[name]
    graph.replay()
    return result


class Trainer:
    def __init__(self, args, channels_last):
        torch.manual_seed(0)
        self.args = args
        self.device = torch.device(getattr(args, "device", "cpu"))
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.G = Generator(args).to(self.device, memory_format=self.memory_format)
        self.D = Discriminator(args).to(self.device, memory_format=self.memory_format)
        self.ema = [p.detach().clone() for p in self.G.parameters()]
        self.D.freeze(args.freeze_d)
        rows = getattr(args, "vision_size", 0)
        self.judge = VisionJudge(rows).to(self.device, memory_format=self.memory_format) if rows else None
        self.opt = {}
        for net, module, lr, interval in (("G", self.G, 0.0025, 4), ("D", self.D, 0.0025, 16)):
            k = interval / (interval + 1)
            self.opt[net] = torch.optim.Adam([p for p in module.parameters() if p.requires_grad], lr=lr * k, betas=(0.0, 0.99 ** k),
                                             eps=1e-8, fused=True, capturable=getattr(args, "graphs", False))
            if self.judge and net == "D":
                heads = [p for name, p in self.judge.named_parameters() if not name.startswith("network.")]
                self.opt[net].add_param_group(dict(params=heads))
        self.reals = torch.rand(args.batch, 3, args.resolution, args.resolution, device=self.device).mul_(2).sub_(1).to(
            memory_format=self.memory_format)
        self.pl_mean = torch.zeros((), device=self.device)
        self.timer = Timer(self.device.type == "cuda")
        # torch.compile has no second derivatives, so the lazy phases keep the plain modules.
        compiled = (lambda module: torch.compile(module, dynamic=False)) if getattr(args, "compile", False) else lambda module: module
        self.fast_G, self.fast_D = compiled(self.G), compiled(self.D)
        self.fast_judge = compiled(self.judge) if self.judge else None
        self.graphs = {}

    def record(self, bf16):
        """From now on each phase and the average is one CUDA graph, with its gradients in memory of its own."""
        self.G.recorded = True
        works = {name: lambda name=name: self.step(name, bf16[name]) for name in PHASES} | dict(average=self.average)
        self.graphs = captured(works, self.opt.values())

    def fakes(self, ws):
        return self.fast_G(ws).contiguous(memory_format=self.memory_format)

    def loss_Gmain(self):
        fakes = self.fakes(self.G.mapped(self.args.batch))
        loss = F.softplus(-self.fast_D(fakes)).mean()
        return loss + F.softplus(-self.fast_judge(fakes)).mean() if self.judge else loss

    def loss_Greg(self):
        ws = self.G.mapped(max(self.args.batch // 2, 1))
        images = self.G(ws)
        y = torch.randn_like(images) / self.args.resolution
        g, = torch.autograd.grad((images * y).sum(), ws, create_graph=True)
        length = g.float().square().sum(2).mean(1).sqrt()
        mean = self.pl_mean.lerp(length.mean(), 0.01)
        self.pl_mean.copy_(mean.detach())
        return (length - mean).square().mean() * (2 * 4)

    def loss_Dmain(self):
        with torch.no_grad():
            fakes = self.fakes(self.G.mapped(self.args.batch))
        loss = F.softplus(self.fast_D(fakes)).mean() + F.softplus(-self.fast_D(self.reals)).mean()
        if not self.judge:
            return loss
        logits = self.fast_judge(torch.cat([fakes, self.reals]))
        return loss + F.softplus(logits[:len(fakes)]).mean() + F.softplus(-logits[len(fakes):]).mean()

    def loss_Dreg(self):
        images = self.reals.detach().requires_grad_()
        g, = torch.autograd.grad(self.D(images).sum(), images, create_graph=True)
        return g.square().sum((1, 2, 3)).mean() * (0.5 * 16)

    def step(self, name, bf16):
        """One phase with its optimiser step -> its loss, on the device"""
        if name in self.graphs:
            return replayed(self.graphs, name)
        self.G.requires_grad_(name[0] == "G")
        if self.judge:
            for layer in (self.judge.conv, self.judge.fc, self.judge.out):
                layer.requires_grad_(name[0] == "D")
        if name[0] == "D":
            self.D.freeze(self.args.freeze_d)
        else:
            self.D.requires_grad_(False)
        opt = self.opt[name[0]]
        opt.zero_grad(set_to_none=True)
        with torch.autocast(self.device.type, dtype=torch.bfloat16) if bf16 else contextlib.nullcontext():
            loss = getattr(self, f"loss_{name}")()
        loss.backward()
        opt.step()
        return loss.detach()

    def phase(self, name, bf16):
        """The same -> milliseconds"""
        self.timer.start()
        loss = self.step(name, bf16)
        ms = self.timer.stop()
        if not math.isfinite(loss.item()):
            raise RuntimeError(f"{name}: loss is not finite")
        return ms

    @torch.no_grad()
    def average(self, beta=0.999):
        if "average" in self.graphs:
            return replayed(self.graphs, "average")
        torch._foreach_mul_(self.ema, beta)
        torch._foreach_add_(self.ema, list(self.G.parameters()), alpha=1 - beta)

    def average_ms(self):
        self.timer.start()
        self.average()
        return self.timer.stop()

    def cycle_ms(self, bf16):
        """16 iterations, within which the host never waits for the device -> milliseconds an iteration"""
        self.timer.start()
        for i in range(CYCLE):
            for name in PHASES:
                if i % EVERY[name] == 0:
                    self.step(name, bf16[name])
            self.average()
        return self.timer.stop() / CYCLE


def iteration_ms(times):
    return sum(ms / EVERY[name] for name, ms in times.items())


def usable_phases(trainer):
    """Phases that run under autocast; the first error of each that does not."""
    errors = {}
    for name in PHASES:
        try:
            trainer.phase(name, True)
        except torch.cuda.OutOfMemoryError:
            raise
        except RuntimeError as error:
            errors[name] = str(error).splitlines()[0]
    return errors


def attempt(args, best):
    """Milliseconds of each phase, after a run to warm up (compiled: two); fewer where the first took a fifth longer than in `best`."""
    networks.fir = FIRS[args.fir]
    if args.compile:
        torch._dynamo.reset()                                   # it gives up on code that it has compiled for many sizes
    trainer = Trainer(args, args.format == "channels_last")
    errors = usable_phases(trainer) if args.dtype == "bf16" else {}
    times = {}
    for name in PHASES:
        bf16 = args.dtype == "bf16" and name not in errors
        for _ in range(2 if args.compile else 1):
            trainer.phase(name, bf16)
        times[name] = trainer.phase(name, bf16)
        if best and iteration_ms(times) > 1.2 * iteration_ms({n: best[n] for n in times}):
            break
    return times


def trial(args):
    """Settles in `args` what they leave open, by the fastest iteration -> {setting: milliseconds}.
    Compiled are what was fastest eagerly, and the FIR of additions, which a compiler can fuse."""
    auto = lambda value, choices: choices if value == "auto" else (value,)
    formats = auto(args.format, ("channels_last",) if args.device == "cuda" else ("channels_last", "contiguous"))
    firs, modulations = auto(args.fir, tuple(FIRS)), auto(args.modulation, ("improved", "default"))
    begin, results, best = time.perf_counter(), {}, {}

    def consider(layout, form, modulation, compiled):
        if best and args.trial_seconds and time.perf_counter() - begin > args.trial_seconds:
            return
        candidate = argparse.Namespace(**vars(args) | dict(format=layout, fir=form, modulation=modulation, compile=compiled))
        times = attempt(candidate, best)
        label, whole = f"{layout} {form} {modulation}{' compiled' if compiled else ''}", len(times) == len(PHASES)
        print(f"trial {label:42s} " + "  ".join(f"{n} {t:.0f}" for n, t in times.items())
              + (f"  {iteration_ms(times):.0f} ms/iteration" if whole else "  given up"), file=sys.stderr, flush=True)
        if whole:
            results[label] = round(iteration_ms(times), 1)
        if whole and (not best or iteration_ms(times) < iteration_ms(best)):
            best.update(times)
            chosen.update(format=layout, fir=form, modulation=modulation, compile=compiled)
    chosen = {}
    for layout, form, modulation in itertools.product(formats, firs, modulations):
        if (layout, form) != ("channels_last", "single"):       # would transpose back and forth
            consider(layout, form, modulation, args.compile is True)
    if args.compile == "auto":
        for form in {chosen["fir"]: 0, **dict.fromkeys(f for f in firs if f == "taps")}:
            consider(chosen["format"], form, chosen["modulation"], True)
    vars(args).update(chosen)
    return results


def settled(args, earlier):
    """`args` with the choices of an earlier row, or of a trial -> trials"""
    if earlier:
        vars(args).update({k: vars(earlier)[k] for k in ("format", "fir", "modulation", "compile")})
        return {}
    return trial(args) if "auto" in (args.format, args.fir, args.modulation, args.compile) else {}


def keep_freed_memory():
    """glibc returns large blocks to the system at once; keeping them saves PyTorch a page fault for every 4 KiB."""
    libc = ctypes.CDLL(None)
    m_trim_threshold, m_mmap_max = -1, -4
    libc.mallopt(m_trim_threshold, 2 ** 31 - 1)
    libc.mallopt(m_mmap_max, 0)


def reset_peak(cuda):
    if cuda:
        torch.cuda.empty_cache()
        return torch.cuda.reset_peak_memory_stats()
    ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/clear_refs", "w") as f:
        f.write("5")


def peak_mb(cuda):
    if cuda:
        return torch.cuda.max_memory_allocated() / 1e6
    with open("/proc/self/status") as f:
        return next(int(line.split()[1]) / 1024 for line in f if line.startswith("VmHWM"))


def others_seconds():
    """CPU seconds that all other processes have used since the machine started"""
    with open("/proc/stat") as f:
        user, nice, system = (int(x) for x in f.readline().split()[1:4])
    return (user + nice + system) / os.sysconf("SC_CLK_TCK") - time.process_time()


def device_name(cuda):
    if cuda:
        return torch.cuda.get_device_name()
    with open("/proc/cpuinfo") as f:
        return next((line.split(":")[1].strip() for line in f if line.startswith("model name")), "CPU")


def prepare(args):
    torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    if args.malloc == "keep":
        keep_freed_memory()


def ceilings(cuda):
    """What PyTorch reaches: an 8192^3 product in bf16 and a copy of 2 GB on a GPU, small ones on the CPU"""
    device, size = ("cuda", 8192) if cuda else ("cpu", 256)
    a, b = (torch.randn(size, size, device=device).bfloat16() for _ in range(2))
    source = torch.zeros(8 * size ** 2, device=device)
    target, timer = torch.empty_like(source), Timer(cuda)

    def best(work):
        times = []
        for _ in range(12):
            timer.start()
            work()
            times.append(timer.stop())
        return min(times[2:])
    return dict(device=device_name(cuda), torch=torch.__version__, matmul_tflops=2 * size ** 3 / best(lambda: a @ b) / 1e9,
                copy_gbs=2 * source.numel() * 4 / best(lambda: target.copy_(source)) / 1e6)


def measure(args, trials):
    cuda, started = args.device == "cuda", time.perf_counter()
    networks.fir = FIRS[args.fir]
    reset_peak(cuda)
    if args.compile:
        torch._dynamo.reset()
    trainer = Trainer(args, args.format == "channels_last")
    errors = usable_phases(trainer) if args.dtype == "bf16" else {}
    bf16 = {name: args.dtype == "bf16" and name not in errors for name in PHASES}
    if args.graphs:
        trainer.record(bf16)

    def rounds(most, share):
        """Counts to `most`, at least once, while this share of the time allowed is not used up"""
        for i in range(most):
            if i and args.seconds and time.perf_counter() - started > share * args.seconds:
                return
            yield i
    for _ in rounds(max(args.warm_up, 1), 0.4):
        for name in PHASES:
            trainer.phase(name, bf16[name])
    samples = {name: [] for name in PHASES}
    ema, cycles = [], []
    start, others = time.perf_counter(), others_seconds()
    for _ in rounds(args.repeats, 0.7 if args.cycles else 1):
        for name in PHASES:
            samples[name].append(trainer.phase(name, bf16[name]))
        ema.append(trainer.average_ms())
    others = (others_seconds() - others) / (time.perf_counter() - start)
    for _ in rounds(args.cycles, 1):
        cycles.append(trainer.cycle_ms(bf16))
    times = {name: statistics.median(t) for name, t in samples.items()}
    total = iteration_ms(times) + statistics.median(ema)
    row = dict(resolution=args.resolution, channel_base=args.channel_base, batch=args.batch, type=args.dtype.replace("fp32", "f32"),
               frozen_blocks=args.freeze_d, **{f"{n}_ms": round(t, 2) for n, t in times.items()}, EMA_ms=round(statistics.median(ema), 2),
               iteration_ms=round(total, 2), images_per_s=round(args.batch / total * 1e3, 2))
    if cycles:
        row |= dict(cycle_ms=round(statistics.median(cycles), 2), cycle_images_per_s=round(args.batch / statistics.median(cycles) * 1e3, 2))
    row |= dict(peak_mb=round(peak_mb(cuda)), modulation=args.modulation, compiled=args.compile, graphs=args.graphs, mapping_layers=args.mapping_layers,
                repeats=len(ema), memory_format=args.format, fir=args.fir, trials_ms=trials,
                samples_ms={n: [round(x, 2) for x in t] for n, t in samples.items()}, bf16_failed=errors, torch=torch.__version__,
                device=device_name(cuda))
    if cuda:
        return row | dict(runtime=torch.version.cuda, cudnn=torch.backends.cudnn.version())
    return row | dict(threads=args.threads, malloc=args.malloc, others_cores=round(others, 2), mkldnn=torch.backends.mkldnn.is_available())


def report(r):
    columns = (("resolution", "resolution"), ("channel_base", "channel_base"), ("batch", "batch"), ("type", "type"), ("frozen", "frozen_blocks"),
               *((n, f"{n}_ms") for n in (*PHASES, "EMA")), ("ms/iteration", "iteration_ms"), ("images/s", "images_per_s"), ("peak MB", "peak_mb"))
    print("| " + " | ".join(title for title, _ in columns) + " |")
    print("|" + "---|" * len(columns))
    print("| " + " | ".join(str(r[key]) for _, key in columns) + " |")
    print(f"torch {r['torch']} on {r['device']}, {r['memory_format']}, FIR {r['fir']}, modulation {r['modulation']}"
          f"{', compiled' if r['compiled'] else ''}{', CUDA graphs' if r['graphs'] else ''}")
    if r.get("others_cores", 0) > 0.1:
        print(f"These times are not to be trusted: other processes kept {r['others_cores']} cores busy meanwhile")
    if r["type"] == "bf16":
        print("bf16 in " + (", ".join(n for n in PHASES if n not in r["bf16_failed"]) or "no phase"))
        for name, error in r["bf16_failed"].items():
            print(f"  {name} ran in fp32: {error}")


def rows_of(args):
    """Each of the sizes, or each number of frozen blocks: one set of arguments a row"""
    sizes = [[int(n) for n in s.split("/")] for s in args.sizes.split(",")] if args.sizes else [[args.resolution, args.channel_base, args.batch]]
    for resolution, base, batch in sizes:
        for frozen in range(args.freeze_sweep + 1) if args.freeze_sweep is not None else [args.freeze_d]:
            row = argparse.Namespace(**vars(args))
            row.resolution, row.channel_base, row.batch, row.freeze_d = resolution, base, batch, frozen
            row.width = lambda r, base=base: min(base // r, args.channel_max)
            row.half_from = max(resolution // 8, 8)     # fp16: the four highest resolutions, never 4x4
            yield row


def unsupported(args):
    """What of the arguments this device has not; None if all is there"""
    if args.device == "cpu" and (args.graphs or args.dtype == "fp16"):
        return f"{'--graphs' if args.graphs else '--dtype fp16'} needs --device cuda"
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--resolution", type=int, default=32)
    parser.add_argument("--channel-base", type=int, default=16384)
    parser.add_argument("--channel-max", type=int, default=512)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--sizes", help="resolution/channel_base/batch,...: a row each, instead of the three options above")
    parser.add_argument("--dtype", choices=("fp32", "bf16", "fp16"), default="fp32",
                        help="bf16: autocast; fp16: the four highest resolutions, as published (CUDA only)")
    parser.add_argument("--modulation", choices=("auto", "default", "improved"), default="default",
                        help="default: per-sample weights, as published; improved: rsqrt(s^2 @ sum_k w^2)")
    parser.add_argument("--compile", nargs="?", const="yes", choices=("auto", "yes", "no"), default="no", help="torch.compile for Gmain and Dmain; needs PyTorch 2")
    parser.add_argument("--trial-seconds", type=float, default=0, help="of a trial, after which it begins with no further setting [no limit]")
    parser.add_argument("--graphs", action="store_true", help="each phase as one CUDA graph")
    parser.add_argument("--freeze-d", type=int, default=0, metavar="N", help="freeze D's N highest-resolution blocks and fromRGB")
    parser.add_argument("--freeze-sweep", type=int, metavar="K", help="a row for each of 0 to K frozen blocks")
    parser.add_argument("--vision-size", type=int, default=0, metavar="ROWS",
                        help="EfficientNet-lite1 with a head judges as well, images of so many rows")
    parser.add_argument("--mapping-layers", type=int, default=8)
    parser.add_argument("--z-dim", type=int, default=512)
    parser.add_argument("--w-dim", type=int, default=512)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--warm-up", type=int, default=1, help="rounds before the first that counts")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--cycles", type=int, default=0, help="runs of 16 iterations to time as a whole")
    parser.add_argument("--seconds", type=float, default=0, help="begin no further round of a row after these")
    parser.add_argument("--format", choices=("auto", "contiguous", "channels_last"), default="auto")
    parser.add_argument("--fir", choices=("auto", *FIRS), default="auto")
    parser.add_argument("--malloc", choices=("keep", "system"), default="keep", help="keep: do not return freed memory to the system")
    parser.add_argument("--ceilings", action="store_true", help="only the speed of a product and of a copy")
    parser.add_argument("--json", action="store_true", help="print a line of JSON for each row instead of a table")
    args = parser.parse_args()
    args.compile = {"yes": True, "no": False}.get(args.compile, args.compile)
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("this PyTorch sees no GPU")
    prepare(args)
    if args.ceilings:
        return print(json.dumps(ceilings(args.device == "cuda")))
    missing, first = unsupported(args), None
    for row in rows_of(args):
        try:
            if missing:
                raise RuntimeError(f"unsupported: {missing}")
            trials = settled(row, first)                # the first row's choice serves the others
            first = first or row
            result = measure(row, trials)
        except RuntimeError as error:                   # out of memory, above all: the other rows may fit
            result = dict(resolution=row.resolution, channel_base=row.channel_base, batch=row.batch, type=row.dtype,
                          frozen_blocks=row.freeze_d, compiled=row.compile, graphs=row.graphs, error=str(error).splitlines()[0])
        if args.json:
            print(json.dumps(result), flush=True)
        elif "error" in result:
            raise SystemExit(result["error"])
        else:
            report(result)


if __name__ == "__main__":
    main()
