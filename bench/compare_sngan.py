#!/usr/bin/env python3
"""Firn beside PyTorch on this CPU: SNGAN-projection's iteration (a step of G, n_dis of D), in turns, in one run.

Every program runs once a round and each phase keeps its best time. PyTorch is eager, compiled, and in bf16.

  python3 bench/compare_sngan.py --bench build/bin/train_bench --out bench/results/cpu-sngan.json
"""
import argparse
import datetime
import json
import pathlib
import shlex
import sys

from compare_cpu import HERE, VENV, cpu_model, python_with_torch, run

N_DIS = 5


def best_of(rounds):
    results = {}
    for name in rounds[0]:
        r = {k: min(each[name][k] for each in rounds) for k in ("Gmain_ms", "Dmain_ms")}
        kept = {k: v for k, v in rounds[0][name].items() if k in ("torch", "spectral", "memory_format", "g_batch", "others_cores")}
        results[name] = kept | r | {"iteration_ms": r["Gmain_ms"] + N_DIS * r["Dmain_ms"], "peak_mb": max(each[name]["peak_mb"] for each in rounds)}
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bench", default="build/bin/train_bench", help="Firn's train_bench")
    parser.add_argument("--resolutions", default="32,64")
    parser.add_argument("--ch", type=int, default=64)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--frozen-blocks", type=int, default=4)
    parser.add_argument("--python", help="an interpreter that has PyTorch, in place of compare_cpu.py's")
    parser.add_argument("--torch-options", default="", help="more options for pytorch_sngan.py, such as a fixed --spectral and --format")
    parser.add_argument("--out", help="where to write the rows as JSON")
    args = parser.parse_args()
    rows = []
    for resolution in args.resolutions.split(","):
        common = ["--resolution", resolution, "--ch", args.ch, "--batch", args.batch, "--classes", args.classes, "--threads", args.threads,
                  "--repeats", args.repeats, "--json"]
        firn = [args.bench, "--model", "sngan", *common]
        torch = [args.python or python_with_torch(VENV), HERE / "pytorch_sngan.py", "--n-dis", N_DIS, *common, *args.torch_options.split()]
        programs = {"firn f32": firn, "firn bf16": [*firn, "--type", "bf16"],
                    "firn f32 frozen": [*firn, "--frozen-blocks", args.frozen_blocks],
                    "torch f32": torch, "torch f32 compiled": [*torch, "--compile"], "torch bf16": [*torch, "--dtype", "bf16"]}
        rounds, settled = [], {}
        for _ in range(args.rounds):
            results = {}
            for name, command in programs.items():
                results[name] = run([*command, *settled.get(name, [])])
                if name.startswith("torch"):  # its trials need not be repeated
                    settled[name] = ["--spectral", results[name]["spectral"], "--format", results[name]["memory_format"]]
            rounds.append(results)
        for name, r in best_of(rounds).items():
            row = {"run": name, "resolution": int(resolution), "ch": args.ch, "batch": args.batch, "classes": args.classes} | r
            rows.append(row)
            print(json.dumps(row), flush=True)
        best = {r["run"]: r for r in rows if r["resolution"] == int(resolution)}
        eager = min(best[n]["iteration_ms"] for n in ("torch f32", "torch f32 compiled"))
        bf16 = min(eager, best["torch bf16"]["iteration_ms"])
        rows.append({"resolution": int(resolution), "f32_ratio": eager / best["firn f32"]["iteration_ms"], "bf16_ratio": bf16 / best["firn bf16"]["iteration_ms"],
                     "frozen_D_step": best["firn f32 frozen"]["Dmain_ms"] / best["firn f32"]["Dmain_ms"]})
        print(json.dumps(rows[-1]), flush=True)
    report = {"date": datetime.date.today().isoformat(), "device": cpu_model(), "threads": args.threads,
              "command": shlex.join(["python3", "bench/compare_sngan.py", *sys.argv[1:]]), "rows": rows}
    if args.out:
        pathlib.Path(args.out).write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
