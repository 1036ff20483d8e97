"""Firn beside PyTorch on this CPU: the same StyleGAN2 iteration, in turns, in one run.

Machines drift by the minute, so every program runs once a round and each phase keeps its best time.

  python3 bench/compare_cpu.py --bench build/bin/train_bench --out bench/results/cpu.json
"""
import argparse
import datetime
import json
import pathlib
import shlex
import subprocess
import sys

FIRST_BLOCK = 4  # layers of D's first block in the resnet architecture: fromRGB, conv0, conv1, skip
PHASES = ("Gmain_ms", "Greg_ms", "Dmain_ms", "Dreg_ms")
HERE = pathlib.Path(__file__).parent


def run(command):
    print("$", " ".join(map(str, command)), file=sys.stderr, flush=True)
    return json.loads(subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def best_of(rounds):
    """One result a program, from the best time of each phase; lazy phases run every 4th and every 16th iteration."""
    results = {}
    for name in rounds[0]:
        r = {k: min(each[name][k] for each in rounds) for k in PHASES}
        r["iteration_ms"] = r["Gmain_ms"] + r["Greg_ms"] / 4 + r["Dmain_ms"] + r["Dreg_ms"] / 16
        results[name] = r | {"images_per_s": 1000 * rounds[0][name]["batch"] / r["iteration_ms"],
                             "peak_mb": max(each[name]["peak_mb"] for each in rounds)}
    return results


def cpu_model():
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bench", default="build/bin/train_bench", help="Firn's train_bench")
    parser.add_argument("--sizes", default="32/16384,32/8192,64/16384,64/8192", help="resolution/channel_base, ...")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--frozen-layers", type=int, default=0, help="compare Firn with itself, these layers of D frozen, and the reals' features cached, instead")
    parser.add_argument("--vision-size", type=int, default=0, metavar="ROWS", help="EfficientNet-lite1 with a head judges as well, images of so many rows")
    parser.add_argument("--torch-options", default="", help="more options for pytorch_baseline.py, such as a fixed --format and --fir")
    parser.add_argument("--out", help="where to write the rows as JSON")
    args = parser.parse_args()
    common = ["--batch", args.batch, "--threads", args.threads, "--repeats", args.repeats, "--json"]
    rows = []
    for size in args.sizes.split(","):
        resolution, base = size.split("/")
        shape = ["--resolution", resolution, "--channel-base", base, *common]
        torch = [sys.executable, HERE / "pytorch_baseline.py", *shape, *args.torch_options.split()]
        firn = [args.bench, *shape]
        if args.vision_size:
            torch += ["--vision-size", args.vision_size]
            firn += ["--vision-aided", "efficientnet-lite1", "--vision-size", args.vision_size]
        frozen = ["--frozen-layers", args.frozen_layers]
        runs = {
            "firn fp32": [*firn, "--type", "f32"],
            "firn fp32 frozen": [*firn, "--type", "f32", *frozen],
            "firn bf16": [*firn, "--type", "bf16"],
            "firn bf16 frozen": [*firn, "--type", "bf16", *frozen],
        } | ({
            f"firn {name} cached": [*firn, "--type", kind, *frozen, "--cache-features"] for name, kind in (("fp32", "f32"), ("bf16", "bf16"))
        } if args.frozen_layers >= FIRST_BLOCK else {}) if args.frozen_layers else {
            "firn fp32": [*firn, "--type", "f32"],
            "firn bf16": [*firn, "--type", "bf16"],
            "torch default": [*torch, "--modulation", "default"],
            "torch improved": [*torch, "--modulation", "improved"],
        }
        results = best_of([{name: run(command) for name, command in runs.items()} for _ in range(args.rounds)])
        for name, r in results.items():
            row = {"run": name, "resolution": int(resolution), "channel_base": int(base), "batch": args.batch}
            row |= {k: round(r[k], 1) for k in (*PHASES, "iteration_ms", "images_per_s", "peak_mb")}
            if args.frozen_layers:
                whole = results[" ".join(name.split()[:2])]
                row |= {f"{k[:-3]}_vs_unfrozen": round(r[k] / whole[k], 2) for k in (*PHASES, "iteration_ms")}
            else:
                for peer in ("default", "improved"):
                    row[f"vs_torch_{peer}"] = round(results[f"torch {peer}"]["iteration_ms"] / r["iteration_ms"], 2)
            rows.append(row)
            print("| " + " | ".join(str(v) for v in row.values()) + " |", flush=True)
    if args.out:
        result = {"device": cpu_model(), "threads": args.threads, "date": datetime.date.today().isoformat(),
                  "command": shlex.join(["python3", "bench/compare_cpu.py", *sys.argv[1:]]), "rows": rows}
        pathlib.Path(args.out).parent.mkdir(parents=True, exist_ok=True)
        pathlib.Path(args.out).write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
