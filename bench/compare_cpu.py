#!/usr/bin/env python3
"""Firn beside the current PyTorch on this CPU: the same StyleGAN2 iteration, in turns, in one run.

PyTorch comes from PyPI into a virtual environment, and a trial finds its fastest setting for each network and type.
Machines drift by the minute, so every program then runs once a round and each phase keeps its best time.

  python3 bench/compare_cpu.py --out bench/results/cpu.json      # hours; --sizes 32/8192/8 --rounds 1: minutes
  python3 bench/compare_cpu.py --table bench/results/cpu.json    # README's table of it
"""
import argparse
import datetime
import json
import os
import pathlib
import platform
import shlex
import shutil
import subprocess
import sys
import time

FIRST_BLOCK = 4  # layers of D's first block in the resnet architecture: fromRGB, conv0, conv1, skip
PHASES = ("Gmain_ms", "Greg_ms", "Dmain_ms", "Dreg_ms")
SETTINGS = {"memory_format": "--format", "fir": "--fir", "modulation": "--modulation", "compiled": "--compile"}
HERE = pathlib.Path(__file__).parent
VENV = HERE.parent / "build" / "pytorch"
# What `gan-train --cfg small` trains, as both programs know it; at 32 pixels its batch is 32, its channel_base 2048.
PRESETS = {"": ("32/8192/8,32/8192/32,32/16384/8,32/16384/32,64/8192/8,64/8192/32,64/16384/8,64/16384/32", []),
           "small": ("32/2048/32", ["--channel-max", 128, "--z-dim", 128, "--w-dim", 128, "--mapping-layers", 2])}
# PyTorch's own kernels, both programs' oneDNN, PyTorch's MKL and its compiler, kernels of Firn's that are chosen at run time
MASKS = {"": {}, "avx2": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2",
                          "TORCHINDUCTOR_CPP_MARCH": "x86-64-v3", "FIRN_CPU_TARGET": "avx2"}}


def numbers(text):
    return [int(n) for n in text.split(",")]


def sizes(text):
    return [[*map(int, size.split("/")), 8][:3] for size in text.split(",")]


def run(command):
    print("$", " ".join(map(str, command)), file=sys.stderr, flush=True)
    try:
        done = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise SystemExit(f"cannot go on: {error}") from None
    return json.loads(done.stdout.splitlines()[-1])


def cpu_info(key):
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":")[1].strip() for line in lines if line.startswith(key)), "")


def cpu_model():
    return cpu_info("model name")


def machine():
    flags = cpu_info("flags").split()
    caches = {f"L{n}": subprocess.run(["getconf", f"LEVEL{n}_CACHE_SIZE"], capture_output=True, text=True).stdout.strip() for n in (2, 3)}
    return {"device": cpu_model(), "cores": os.cpu_count(), "features": [f for f in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if f in flags], **caches}


def python_with_torch(folder):
    """The interpreter of a virtual environment that has PyTorch; made where there is none"""
    python = folder / "bin" / "python"
    if python.exists():
        return python
    print(f"installing PyTorch from PyPI into {folder}", file=sys.stderr, flush=True)
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    small = [*pip, "--retries", 0, "--timeout", 20, "--index-url", "https://download.pytorch.org/whl/cpu", "torch", "numpy"]  # without CUDA's libraries
    steps = [[[sys.executable, "-m", "venv", folder]], [small, [*pip, "torch", "numpy"]]]
    for ways in steps:
        for command in ways:
            done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
            if done.returncode == 0:
                break
        else:
            shutil.rmtree(folder, ignore_errors=True)
            said = (done.stdout + done.stderr).strip().splitlines() or ["no reason given"]
            reason = next((line for line in said if "python3-venv" in line or line.startswith("ERROR")), said[-1])
            raise SystemExit(f"compare_cpu.py: cannot make {folder} (python3-venv and PyPI are needed, or --python): {reason}")
    return python


def best_of(rounds):
    """One result a program, from the best time of each phase; lazy phases run every 4th and every 16th iteration."""
    results = {}
    for name, first in rounds[0].items():
        all_of = [each[name] for each in rounds]
        r = {k: min(each[k] for each in all_of) for k in PHASES}
        r["iteration_ms"] = r["Gmain_ms"] + r["Greg_ms"] / 4 + r["Dmain_ms"] + r["Dreg_ms"] / 16
        r["images_per_s"] = 1000 * first["batch"] / r["iteration_ms"]
        r |= {k: max(each[k] for each in all_of) for k in ("peak_mb", "sol", "sol_direct", "limit_gflops", "limit_gbs", "others_cores") if k in first}
        results[name] = {k: round(v, 3 if k.startswith("sol") else 1) for k, v in r.items()} | {k: first[k] for k in SETTINGS if k in first}
    return results


def with_ratios(name, results):
    r = results[name]
    if "firn fp32 frozen" in results:
        whole = results[" ".join(name.split()[:2])]
        return r | {f"{k[:-3]}_vs_unfrozen": round(r[k] / whole[k], 2) for k in (*PHASES, "iteration_ms")}
    return r | {f"vs_{peer.replace(' ', '_')}": round(results[peer]["iteration_ms"] / r["iteration_ms"], 2)
                for peer in results if name.startswith("firn") and peer.startswith("torch")}


def programs(args, shape, settings):
    """{name: command}, of Firn alone where parts of it are frozen"""
    firn = [args.bench, *shape]
    torch = [args.python, HERE / "pytorch_baseline.py", *shape]
    if args.vision_size:
        torch += ["--vision-size", args.vision_size]
        firn += ["--vision-aided", "efficientnet-lite1", "--vision-size", args.vision_size]
    types = {"fp32": "f32"} if args.isa else {"fp32": "f32", "bf16": "bf16"}  # oneDNN has bf16 from AVX-512 on
    own = {f"firn {name}": [*firn, "--type", kind] for name, kind in types.items()}
    if args.frozen_layers:
        frozen = {f"{name} frozen": [*command, "--frozen-layers", args.frozen_layers] for name, command in own.items()}
        cached = {name.replace("frozen", "cached"): [*command, "--cache-features"] for name, command in frozen.items()}
        return own | frozen | (cached if args.frozen_layers >= FIRST_BLOCK else {})
    peers = {}
    for name in types:
        command = [*torch, "--dtype", name]
        if name not in settings:
            r = run([*command, "--modulation", "auto", "--compile", "auto", "--trial-seconds", args.trial_seconds, "--repeats", 1])
            settings[name] = {k: r[k] for k in (*SETTINGS, "trials_ms", "bf16_failed", "torch")}
        option = {"compiled": lambda v: "yes" if v else "no"}
        fixed = {k: option.get(k, str)(settings[name][k]) for k in SETTINGS}
        peers[f"torch {name}"] = [*command, *(w for k, v in fixed.items() for w in (SETTINGS[k], v))]
    published = settings["fp32"] | {"modulation": "default", "compiled": "no"}
    return own | peers | {"torch published": [*torch, *(w for k in SETTINGS for w in (SETTINGS[k], published[k]))]}


class Progress:
    """Runs cost about as much as resolution x channel_base x batch / threads."""

    def __init__(self, total):
        self.begin, self.done, self.total = time.monotonic(), 0, total

    def add(self, work, text):
        self.done += work
        passed = time.monotonic() - self.begin
        print(f"{text}; {passed / 60:.0f} min, about {passed * (self.total / self.done - 1) / 60:.0f} more", file=sys.stderr, flush=True)


def compare(args):
    shapes = args.sizes or sizes(PRESETS[args.preset][0])
    os.environ.update(MASKS[args.isa])
    os.environ.setdefault("GOMP_SPINCOUNT", "50000")  # as Firn's programs have it: threads of both wait politely on a shared machine
    if not args.frozen_layers:
        args.python = args.python or python_with_torch(args.venv)
    rows, settings = [], {}
    result = machine() | {"isa": args.isa or "all", "preset": args.preset, "date": datetime.date.today().isoformat(), "python": platform.python_version(),
                          "command": shlex.join(["python3", "bench/compare_cpu.py", *sys.argv[1:]]), "settings": settings, "rows": rows}
    work = {(n, *size): size[0] * size[1] * size[2] / n for n in args.threads for size in shapes}
    progress = Progress(args.rounds * sum(work.values()))
    for n in args.threads:
        for resolution, base, batch in shapes:
            shape = ["--resolution", resolution, "--channel-base", base, "--batch", batch, "--threads", n, "--repeats", args.repeats, "--json",
                     *PRESETS[args.preset][1]]
            commands = programs(args, shape, settings.setdefault(f"{resolution}/{base}, {n} threads", {}))
            rounds = []
            for i in range(args.rounds):
                rounds.append({name: run(command) for name, command in commands.items()})
                progress.add(work[n, resolution, base, batch], f"{resolution}/{base}/{batch}, {n} threads: round {i + 1} of {args.rounds}")
            results = best_of(rounds)
            for name in results:
                rows.append({"run": name, "resolution": resolution, "channel_base": base, "batch": batch, "threads": n} | with_ratios(name, results))
                print(json.dumps(rows[-1]), flush=True)
            if args.out:
                pathlib.Path(args.out).parent.mkdir(parents=True, exist_ok=True)
                pathlib.Path(args.out).write_text(json.dumps(result, indent=1) + "\n")
    return result


def table(result):
    by_size = {}
    for r in result["rows"]:
        by_size.setdefault((f"{r['resolution']} / {r['channel_base']} / {r['batch']}", r["threads"]), {})[r["run"]] = r
    text = "| resolution / channel_base / batch | threads | Firn fp32 / bf16, ms | PyTorch fp32 / bf16 / published, ms | fp32 / bf16 | against published " \
           "| sol fp32 / bf16 | peak MB: Firn fp32 / bf16 | PyTorch fp32 / bf16 |\n" + "|---" * 9 + "|\n"
    for (size, threads), runs in by_size.items():
        firn, torch = ([r for name, r in runs.items() if name in (f"{who} fp32", f"{who} bf16")] for who in ("firn", "torch"))

        def join(rows, key, form):
            return " / ".join(form.format(r[key.format(r["run"].split()[1])]) for r in rows)
        cells = [size, threads, join(firn, "iteration_ms", "{:.0f}"), join([*torch, runs["torch published"]], "iteration_ms", "{:.0f}"),
                 join(firn, "vs_torch_{}", "{}x"), join(firn, "vs_torch_published", "{}x"), join(firn, "sol", "{:.2f}"),
                 join(firn, "peak_mb", "{:.0f}"), join(torch, "peak_mb", "{:.0f}")]
        text += f"| {' | '.join(map(str, cells))} |\n"
    torch = {kind["torch"] for by_type in result["settings"].values() for kind in by_type.values()}
    return f"{text}\n{result['device']} ({', '.join(result['features'])}; used: {result['isa']}), PyTorch {', '.join(sorted(torch))}, {result['date']}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bench", default="build/bin/train_bench", help="Firn's train_bench; for --isa avx2 that of a build with -march=haswell")
    parser.add_argument("--sizes", type=sizes, metavar="SIZES", help="resolution/channel_base[/batch],... [32 and 64, 8192 and 16384, 8 and 32]")
    parser.add_argument("--preset", choices=PRESETS, default="", help="small: the networks of gan-train --cfg small")
    parser.add_argument("--isa", choices=MASKS, default="", help="avx2: both programs without AVX-512 and AMX")
    parser.add_argument("--threads", type=numbers, default="2", metavar="THREADS", help="1,2 for both")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--trial-seconds", type=int, default=600, help="of a trial, after which it begins with no further setting")
    parser.add_argument("--python", help="an interpreter that has PyTorch, in place of the virtual environment's")
    parser.add_argument("--venv", type=pathlib.Path, default=VENV, help="made where there is none [build/pytorch]")
    parser.add_argument("--frozen-layers", type=int, default=0, help="compare Firn with itself, these layers of D frozen, and the reals' features cached, instead")
    parser.add_argument("--vision-size", type=int, default=0, metavar="ROWS", help="EfficientNet-lite1 with a head judges as well, images of so many rows")
    parser.add_argument("--out", help="where to write the result as JSON")
    parser.add_argument("--table", metavar="FILE", help="print the table of this result and do nothing else")
    args = parser.parse_args()
    if args.table:
        try:
            return print(table(json.loads(pathlib.Path(args.table).read_text())))
        except (OSError, ValueError, KeyError) as error:
            raise SystemExit(f"{args.table} holds no comparison with PyTorch by this script: {error!r}") from None
    result = compare(args)
    if not args.frozen_layers:
        print(table(result))


if __name__ == "__main__":
    main()
