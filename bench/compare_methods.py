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

METHODS = ("finetune", "freeze-d", "freeze-g", "partial", "filters", "scale-shift", "l2-sp", "distill", "feature-matching", "cdc", "ewc",
           "minegan", "glo", "vision-aided")
# Half of the filters of each of D's layers with 64 and more, as Fisher information might choose them.
FILTERS = [f"--freeze=D:{layer}:0-{filters // 2 - 1}"
           for layer, filters in (("b64.conv1", 64), ("b64.skip", 64), ("b32.conv0", 64), ("b32.conv1", 128), ("b32.skip", 128),
                                  ("b16.*", 128), ("b8.*", 128), ("b4.conv", 128))]
SHAPE = ["--resolution", 64, "--channel-base", 2048, "--channel-max", 128, "--z-dim", 128, "--w-dim", 128, "--map-depth", 2,
         "--batch", 16, "--threads", 1, "--repeats", 3, "--json"]
OPTIONS = {"filters": FILTERS, "vision-aided": ["--vision-aided", "efficientnet-lite1"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bench", default="build/bin/train_bench")
    parser.add_argument("--methods", default=",".join(METHODS), help="those of glo (VGG16 or SqueezeNet) and vision-aided are looked for in FIRN_WEIGHTS")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--out", help="where to write the rows as JSON")
    args = parser.parse_args()
    from compare_cpu import cpu_model, run

    best = {}
    for _ in range(args.rounds):
        for method in args.methods.split(","):
            row = run([args.bench, *SHAPE, *OPTIONS.get(method, ["--method", method])]) | {"method": method}
            if method not in best or row["iteration_ms"] < best[method]["iteration_ms"]:
                best[method] = {k: v for k, v in row.items() if k.endswith("_ms") or k in ("method", "peak_mb", "iteration_gflop")}
    plain = best["finetune"]
    rows = [row | {"ratio": row["iteration_ms"] / plain["iteration_ms"], "gflop_ratio": row["iteration_gflop"] / plain["iteration_gflop"]}
            for row in best.values()]
    for row in rows:
        print(f"{row['method']:16} {row['iteration_ms']:8.1f} ms  {row['ratio']:.3f}  FLOPs {row['gflop_ratio']:.3f}")
    report = {"date": datetime.date.today().isoformat(), "device": cpu_model(), "shape": shlex.join(map(str, SHAPE)),
              "command": shlex.join(["python3", "bench/compare_methods.py", *sys.argv[1:]]), "rows": rows}
    if args.out:
        pathlib.Path(args.out).write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
