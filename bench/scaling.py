#!/usr/bin/env python3
"""A model of training StyleGAN2 in several processes: makes the tables of docs/scaling.md.

  python3 bench/scaling.py                                  # all tables, as Markdown
  python3 bench/scaling.py --check docs/scaling.md          # does the page say what the model says?
  python3 bench/scaling.py --gpu a100 --network 100GbE --utilisation 0.5

Measured: iterations on one H200 and on a CPU (bench/results). All else is arithmetic on published figures.
"""
import argparse
import json
import pathlib
import sys
from dataclasses import dataclass
from typing import Iterable, NamedTuple

RESULTS = pathlib.Path(__file__).parent / "results"
SIZES = (64, 128, 256, 512, 1024)
GPUS = tuple(2**k for k in range(11))  # processes, each with one
NODE = 8                        # GPUs of a machine, joined by NVLink
SMALL = 16384                   # tensors of fewer numbers travel together (engine/tree_sum.cpp)
BASELINE = 32                   # the batch of one GPU that all is compared with: that of `--cfg stylegan2`
H200 = ((64, 32), (256, 16), (256, 64))  # pixels and batch of the iterations measured on one
PUBLISHED = {256: (24767458, 24001089), 1024: (30370060, 29012513)}  # numbers of G and D, paper256 and config F


class Gpu(NamedTuple):
    name: str
    tflops: float               # dense bf16 on tensor cores
    memory: float               # bytes/s
    nvlink: float               # bytes/s, each direction: half of the sum in data sheets


# NVIDIA's data sheets of the SXM modules.
GPU = {"h200": Gpu("H200", 989, 4.8e12, 450e9), "h100": Gpu("H100", 989, 3.35e12, 450e9), "a100": Gpu("A100", 312, 2.039e12, 300e9)}
# Bits/s of a process, each direction: one adapter a GPU, as in machines made for training.
NETWORK = {"NDR": 400e9, "HDR": 200e9, "100GbE": 100e9, "25GbE": 25e9, "10GbE": 10e9, "1GbE": 1e9}
# Seconds per thousand images on 1 and 8 V100 (README of stylegan2-ada-pytorch, middle of the ranges; its batches are auto's).
V100 = {128: (13.25, 4.4), 256: (22.9, 4.95), 512: (73.7, 9.6), 1024: (157.95, 20.4)}
# How often an image of the batch passes forward or backward through G and D; path length works on half a batch. A pass
# for each of: forward, gradient of inputs, gradient of weights; what is differentiated twice counts all of them twice.
PASSES = {"Gmain": (3, 2), "Greg": (6 / 2, 0), "Dmain": (1, 6), "Dreg": (0, 6)}
FROZEN_PASSES = {"Gmain": 2, "Greg": 0, "Dmain": 2, "Dreg": 3}      # through frozen blocks of D
PHASES = tuple(PASSES)
EVERY = {"Gmain": 1, "Greg": 4, "Dmain": 1, "Dreg": 16}             # iterations


class Layer(NamedTuple):
    tensors: tuple[int, ...]    # how many numbers each of them has
    flops: float                # forward, per image
    outputs: float              # numbers per image that it makes


@dataclass(frozen=True)
class Model:
    size: int
    base: int
    mapping: int = 8

    def channels(self, size: int) -> int:
        return min(self.base // size, 512)

    def sizes(self) -> list[int]:
        return [2**k for k in range(2, self.size.bit_length())]

    def generator(self) -> list[Layer]:
        layers = [Layer((512 * 512, 512), 2 * 512 * 512, 512)] * self.mapping + [Layer((self.channels(4) * 16,), 0, 0)]
        for size in self.sizes():
            c, below, pixels = self.channels(size), self.channels(max(4, size // 2)), size * size
            convolutions = [(below, 9, pixels // 4)] if size > 4 else []
            for inputs, taps, at in convolutions + [(c, 9, pixels)]:
                layers.append(Layer((taps * inputs * c, c, 1, 512 * inputs, inputs), 2 * (at * taps * inputs * c + 512 * inputs), c * pixels))
            layers.append(Layer((3 * c, 3, 512 * c, c), 2 * (pixels * 3 * c + 512 * c), 0))
        return layers

    def blocks(self) -> list[list[Layer]]:
        """D's, from the images on."""
        result = []
        for size in reversed(self.sizes()[1:]):
            c, below, pixels = self.channels(size), self.channels(size // 2), size * size
            block = [Layer((3 * c, c), 2 * pixels * 3 * c, c * pixels)] if size == self.size else []
            block.append(Layer((9 * c * c, c), 2 * pixels * 9 * c * c, c * pixels))
            block.append(Layer((9 * c * below, below), 2 * pixels / 4 * 9 * c * below, below * pixels / 4))
            block.append(Layer((c * below,), 2 * pixels / 4 * c * below, below * pixels / 4))
            result.append(block)
        c = self.channels(4)
        return result + [[Layer((9 * (c + 1) * c, c), 2 * 16 * 9 * (c + 1) * c, 16 * c), Layer((16 * c * c, c, c, 1), 2 * (16 * c * c + c), c)]]


def numbers(layers: Iterable[Layer]) -> int:
    return sum(sum(layer.tensors) for layer in layers)


def messages(layers: Iterable[Layer]) -> int:
    """To each other process: large tensors one by one, the small ones together."""
    return sum(count >= SMALL for layer in layers for count in layer.tensors) + 1


def work(model: Model, phase: str, what: str, frozen: int = 0) -> float:
    """FLOPs or numbers made, per image of the batch."""
    g, d = PASSES[phase]
    total = g * sum(getattr(layer, what) for layer in model.generator())
    for i, block in enumerate(model.blocks()):
        total += (FROZEN_PASSES[phase] if i < frozen else d) * sum(getattr(layer, what) for layer in block)
    return total


def iteration(per_phase) -> float:
    return sum(per_phase(phase) / every for phase, every in EVERY.items())


class Machine(NamedTuple):
    gpu: Gpu
    network: float              # bytes/s
    args: argparse.Namespace

    def compute(self, model: Model, local: float, frozen: int = 0) -> float:
        a = self.args
        flops, made = (iteration(lambda phase: work(model, phase, what, frozen)) for what in ("flops", "outputs"))
        image = flops / (a.utilisation * self.gpu.tflops * 1e12) + made * 2 * a.transfers / self.gpu.memory
        return local * image + a.fixed_ms * 1e-3 * len(model.sizes())

    def seconds(self, model: Model, processes: int, local: float, how: str = "", frozen: int = 0) -> float:
        compute = self.compute(model, local, frozen)
        exchanged = exchange(self.args, model, processes, min(processes, NODE), self.gpu.nvlink, self.network, frozen, "one" in how)
        return compute + max(0, exchanged - (compute / 2 if "hidden" in how else 0))


def exchange(args, model: Model, processes: int, node: int, inside: float, network: float, frozen: int = 0, one: bool = False) -> float:
    """Seconds of an iteration: two times in each phase, everyone sends everyone else a slice."""
    def phase(layers: list[Layer]) -> float:
        slice_bytes = 4 * numbers(layers) / processes
        carried = max((node - 1) * slice_bytes / inside, (processes - node) * slice_bytes / network) / args.link_efficiency
        return 2 * (carried + args.latency_us * 1e-6 + (processes - 1) * (1 if one else messages(layers)) * args.message_us * 1e-6)
    if processes == 1:
        return 0
    d = [layer for block in model.blocks()[frozen:] for layer in block]
    return phase(model.generator()) * (1 + 1 / EVERY["Greg"]) + phase(d) * (1 + 1 / EVERY["Dreg"])


def sent(model: Model, frozen: int = 0) -> float:
    """Bytes of an iteration that each of very many processes sends; of R processes (R - 1) / R of it."""
    d = numbers(layer for block in model.blocks()[frozen:] for layer in block)
    return 2 * 4 * (numbers(model.generator()) * (1 + 1 / EVERY["Greg"]) + d * (1 + 1 / EVERY["Dreg"]))


def model_of(size: int, args) -> Model:
    return Model(size, 32768 if size >= 512 else 16384, args.mapping_layers)


def table(name: str, head: list[str], rows: Iterable[list]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join([f"<!-- bench/scaling.py: {name} -->", *("| " + " | ".join(map(str, line)) + " |" for line in lines)])


def percent(x: float) -> str:
    return f"{100 * x:.0f} %" if x >= 0.01 else f"{100 * x:.1f} %"


def rows_of(file: str, key: str) -> list[dict]:
    return json.loads((RESULTS / file).read_text())[key]


def measured(file: str, **where) -> dict:
    rows = rows_of(file, "steps" if file.startswith("gpu") else "rows")
    return next(r for r in rows if all(r[k] == v for k, v in where.items()))


def tables(args) -> Iterable[str]:
    gpu = GPU[args.gpu]
    machine = Machine(gpu, NETWORK[args.network] / 8, args)
    models = {size: model_of(size, args) for size in SIZES}
    alone = {size: BASELINE / machine.compute(model, BASELINE) for size, model in models.items()}

    def efficiency(size: int, processes: int, local: float, how: str = "") -> float:
        return local / machine.seconds(models[size], processes, local, how) / alone[size]

    yield table("networks", ["pixels", "G", "D", "GFLOP of an image: G, D", "of an iteration", "MB sent, Gmain", "Dmain", "an iteration"],
                ([size, f"{numbers(m.generator()) / 1e6:.2f} M", f"{sum(map(numbers, m.blocks())) / 1e6:.2f} M",
                  f"{sum(x.flops for x in m.generator()) / 1e9:.1f}, {sum(x.flops for b in m.blocks() for x in b) / 1e9:.1f}",
                  f"{iteration(lambda p, m=m: work(m, p, 'flops')) / 1e9:.0f}", f"{8 * numbers(m.generator()) / 1e6:.0f}",
                  f"{8 * sum(map(numbers, m.blocks())) / 1e6:.0f}", f"{sent(m) / 1e6:.0f}"] for size, m in models.items()))

    def ratios(row: dict) -> list[str]:
        return [f"{row[p + '_ms'] / row['Gmain_ms']:.2f}" for p in PHASES[1:]]
    gmain = work(models[64], "Gmain", "flops")
    yield table("phases", ["time of a phase / that of Gmain", *PHASES[1:]], [
        ["FLOPs, 64 pixels", *(f"{work(models[64], p, 'flops') / gmain:.2f}" for p in PHASES[1:])],
        ["CPU, fp32, 64 pixels, batch 8", *ratios(measured("cpu.json", run="firn fp32", resolution=64, channel_base=16384))],
        ["CPU, fp32, 32 pixels, batch 32", *ratios(measured("cpu.json", run="firn fp32", resolution=32, channel_base=16384, batch=32))],
        *([f"H200, bf16, {size} pixels, batch {batch}", *ratios(measured("gpu-h200.json", resolution=size, batch=batch))]
          for size, batch in H200)])

    h200 = Machine(GPU["h200"], 0, args)
    yield table("h200", ["H200, bf16", "batch", "measured", "model"],
                ([f"{size} pixels", batch, f"{measured('gpu-h200.json', resolution=size, batch=batch)['iteration_ms']:.1f} ms",
                  f"{1e3 * h200.compute(Model(size, 16384), batch):.1f} ms"] for size, batch in H200))

    shared = GPUS[:5]   # on 32 GPUs path length had 16 samples for them
    yield table("fixed batch", ["pixels, batch 32", *(f"{r} x {BASELINE // r}" for r in shared)],
                ([size, *(f"{BASELINE / machine.seconds(m, r, BASELINE / r):.0f}/s, {percent(efficiency(size, r, BASELINE / r))}" for r in shared)]
                 for size, m in models.items()))

    hows = {"a message a tensor": "", "one message": "one", "and hidden": "one hidden"}
    yield table("growing batch", ["pixels", "8 images a GPU", *GPUS], (
        [size if not how else "", text, *(("" if how else f"{8 * r / machine.seconds(m, r, 8):.0f}/s, ") + percent(efficiency(size, r, 8, how))
                                         for r in GPUS)]
        for size, m in models.items() for text, how in hows.items()))
    yield table("under half", ["images a GPU", "exchange", *(f"{size} pixels" for size in SIZES)], (
        [local if not how else "", text, *(next((r for r in GPUS if efficiency(size, r, local, how) < 0.5), "never") for size in SIZES)]
        for local in (8, 4) for text, how in hows.items()))

    def as_published(size: int) -> float:           # auto's batches: of one GPU, and of each of eight
        single, local = min(4096 // size, 32), min(4096 // size, 8)
        return local / machine.seconds(models[size], 8, local) / (single / machine.compute(models[size], single))
    yield table("v100", ["8 GPUs of one machine against 1", *V100], [
        ["V100, published", *(percent(one / 8 / eight) for one, eight in V100.values())],
        [f"{gpu.name}, model", *map(percent, map(as_published, V100))]])

    columns = [(g, r) for g in ("h100", "a100") for r in (16, 64, 256)]

    def kept(g: str, n: str, r: int) -> str:
        linked = Machine(GPU[g], NETWORK[n] / 8, args)
        return percent(linked.compute(models[256], 8) / linked.seconds(models[256], r, 8))
    yield table("links", ["256 pixels, 8 images a GPU", *(f"{r} {GPU[g].name}" for g, r in columns), "sent by each of 64"], (
        [n, *(kept(g, n, r) for g, r in columns),
         f"{sent(models[256]) * 63 / 64 / exchange(args, models[256], 64, NODE, GPU['h100'].nvlink, NETWORK[n] / 8) / 1e9:.1f} GB/s"]
        for n in ("NDR", "HDR", "100GbE", "25GbE", "10GbE")))

    m, swept = models[256], [r for r in rows_of("gpu-h200.json", "freeze") if not r["cache_features"]]
    frozen = {r["frozen_blocks"]: f"{r['iteration_ms']:.1f} ms" for r in swept}
    yield table("frozen", ["blocks of D frozen, 256 pixels", "D trains", "MB sent", "exchange, 16 GPUs, 25GbE", "compute, batch 16",
                           "measured, H200"],
                ([n, f"{sum(map(numbers, m.blocks()[n:])) / 1e6:.2f} M", f"{sent(m, n) / 1e6:.0f}",
                  f"{1e3 * exchange(args, m, 16, NODE, gpu.nvlink, NETWORK['25GbE'] / 8, n):.1f} ms",
                  f"{1e3 * machine.compute(m, 16, n):.1f} ms", frozen.get(n, "-")]
                 for n in ([args.frozen] if args.frozen else range(len(m.blocks())))))

    few, many = (measured("cpu.json", run="firn fp32", resolution=32, channel_base=16384, batch=b)["iteration_ms"] / 1e3 for b in (8, 32))
    image = (many - few) / 24
    cpu = Model(32, 16384)
    yield table("cpu", ["32 pixels, batch 32, machines of 2 cores", *(f"{r} x {32 // r}" for r in (1, 2, 4, 8))],
                ([n, *(f"{32 / seconds:.1f}/s, {percent(many / r / seconds)}" for r in (1, 2, 4, 8)
                       for seconds in [few - 8 * image + 32 / r * image + exchange(args, cpu, r, 1, 1, NETWORK[n] / 8)])]
                 for n in ("1GbE", "10GbE", "100GbE")))

    yield table("adapting", ["pixels", "300 kimg, batch 32 on 1 GPU", "8 GPUs, batch 32", "8 GPUs, batch 64", "25,000 kimg on 1 GPU"],
                ([size, *(f"{300e3 / (b * r) * machine.seconds(m, r, b) / 60:.0f} min" for r, b in ((1, 32), (8, 4), (8, 8))),
                  f"{25e6 / alone[size] / 3600:.0f} h"] for size, m in models.items()))

    yield table("batch", ["batch", "GPUs with 8 each", "iterations in 300 kimg", "each of 1,000 images in a batch", "lr by the root",
                          "gamma, 256 pixels", "ema kimg"],
                ([f"{b:,}", b // 8, f"{300e3 / b:,.0f}", f"{b / 1000:.2f} times", f"{0.0025 * (b / 64)**0.5:.4f}", f"{0.0002 * 256**2 / b:.2g}",
                  f"{b * 10 / 32:.0f}"] for b in (32, 64, 256, 1024, 8192)))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--gpu", choices=GPU, default="h200")
    add("--network", choices=NETWORK, default="NDR", help="between machines [NDR: 400 Gb/s a GPU]")
    # These three make the three iterations measured on an H200 (table "h200"); for other GPUs they are assumptions.
    add("--utilisation", type=float, default=0.67, help="share of the bf16 peak in convolutions [0.67]")
    add("--transfers", type=float, default=9.1, help="how often what a layer makes crosses memory in a pass [9.1]")
    add("--fixed-ms", type=float, default=1.19, help="of an iteration, for each size from 4x4 on, at any batch [1.19]")
    # Assumptions: what large messages reach of a link, and what posting and matching a message takes in MPI or NCCL.
    add("--link-efficiency", type=float, default=0.8, help="share of a link's bandwidth that an exchange reaches [0.8]")
    add("--latency-us", type=float, default=20, help="of each half of an exchange [20]")
    add("--message-us", type=float, default=1, help="for each message sent and received [1]")
    add("--mapping-layers", type=int, default=8, help="8 as published, 2 as --cfg auto has [8]")
    add("--frozen", type=int, default=0, help="blocks of D that are frozen, in the table of that [all depths]")
    add("--check", metavar="FILE", help="say which tables FILE does not hold as they are here")
    args = parser.parse_args()
    for size, known in PUBLISHED.items():
        model = Model(size, 32768 if size >= 512 else 16384)
        assert (numbers(model.generator()), sum(map(numbers, model.blocks()))) == known
    made = list(tables(args))
    if not args.check:
        print("\n\n".join(made))
        return 0
    page = pathlib.Path(args.check).read_text()
    missing = [text.splitlines()[0] for text in made if text + "\n\n" not in page]
    print("\n".join(missing) or "all tables are as the model has them")
    return bool(missing)


if __name__ == "__main__":
    sys.exit(main())
