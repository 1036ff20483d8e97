#!/usr/bin/env python3
"""What each method of adapting costs beside fine-tuning: train_bench in turns, the best of its rounds, processor time of
one thread.

  python3 bench/compare_methods.py --out bench/results/cpu-methods.json
"""
import argparse
import datetime
import json
import pathlib
import shlex
import sys

METHODS = ("finetune", "freeze-d", "freeze-g", "partial", "scale-shift", "l2-sp", "distill", "feature-matching", "cdc", "ewc", "minegan",
           "glo")
SHAPE = ["--resolution", 64, "--channel-base", 2048, "--channel-max", 128, "--z-dim", 128, "--w-dim", 128, "--map-depth", 2,
         "--batch", 16, "--threads", 1, "--repeats", 3, "--json"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bench", default="build/bin/train_bench")
    parser.add_argument("--methods", default=",".join(METHODS), help="glo needs weights of VGG16 or SqueezeNet in FIRN_WEIGHTS")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--out", help="where to write the rows as JSON")
    args = parser.parse_args()
    from compare_cpu import cpu_model, run

    best = {}
    for _ in range(args.rounds):
        for method in args.methods.split(","):
            row = run([args.bench, *SHAPE, "--method", method])
            if method not in best or row["iteration_ms"] < best[method]["iteration_ms"]:
                best[method] = {k: v for k, v in row.items() if k.endswith("_ms") or k in ("method", "peak_mb")}
    rows = [row | {"ratio": row["iteration_ms"] / best["finetune"]["iteration_ms"]} for row in best.values()]
    for row in rows:
        print(f"{row['method']:16} {row['iteration_ms']:8.1f} ms  {row['ratio']:.3f}")
    report = {"date": datetime.date.today().isoformat(), "device": cpu_model(), "shape": shlex.join(map(str, SHAPE)),
              "command": shlex.join(["python3", "bench/compare_methods.py", *sys.argv[1:]]), "rows": rows}
    if args.out:
        pathlib.Path(args.out).write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
