#!/usr/bin/env python3
"""What bench/gpu.sh makes of its parts: ceilings for op_bench, the three worst ops for ncu, one JSON, and tables.

Everything is read from the files of the parts in --work, so a part that is missing or half done leaves a gap, not an error.
"""
import argparse
import csv
import datetime
import json
import pathlib
import platform
import re
import subprocess

PHASES = ("Gmain_ms", "Greg_ms", "Dmain_ms", "Dreg_ms")
KEY = ("resolution", "channel_base", "batch")
PEAK = ".avg.pct_of_peak_sustained_"
PROFILE = tuple(m.replace("@", PEAK) for m in ("dram__throughput@elapsed", "lts__throughput@elapsed", "l1tex__throughput@active",
                                              "l1tex__data_pipe_lsu_wavefronts_mem_shared@elapsed", "sm__pipe_tensor_cycles_active@active",
                                              "sm__inst_issued@active", "sm__warps_active@active")) + ("launch__registers_per_thread",)
SCALE_US = {"nsecond": 1e-3, "ns": 1e-3, "usecond": 1, "us": 1, "msecond": 1e3, "ms": 1e3, "second": 1e6}


def lines_of_json(path):
    rows = []
    for line in path.read_text(errors="replace").splitlines() if path.exists() else []:
        try:
            rows.append(json.loads(line))
        except ValueError:
            pass
    return [r for r in rows if isinstance(r, dict)]


def parts_of(work):
    parts = {}                                      # the last try of each counts
    for line in (work / "parts.tsv").read_text().splitlines() if (work / "parts.tsv").exists() else []:
        name, status, seconds, budget, command = line.split("\t")
        part = dict(name=name, status=status, seconds=float(seconds), budget_s=int(budget), command=command)
        for kind in ("err", "out"):
            file = work / f"{name}.{kind}"
            if status not in ("passed", "not installed", "no time left") and file.exists():
                part[f"std{kind}_end"] = file.read_text(errors="replace")[-1500:]
        parts[name] = part
    return list(parts.values())


def ops_of(work):
    """Rows of op_bench, also from a file that was cut off: each row is an object without inner ones."""
    rows = []
    for file in sorted(work.glob("ops-*.json")):
        for text in re.findall(r"\{[^{}]*\"run_name\"[^{}]*\}", file.read_text(errors="replace")):
            row = json.loads(text)
            kept = {k: row[k] for k in ("name", "median_us", "FLOP/s", "bytes/s", "floor_%", "error_message") if k in row}
            kept.setdefault("median_us", row.get("real_time", 0) * {"ns": 1e-3, "us": 1, "ms": 1e3}[row.get("time_unit", "ns")])
            rows.append(kept)
    return rows


def lost_us(row):
    return row["median_us"] * (1 - row.get("floor_%", 0) / 100)


def worst(work, count=3):
    """The forward and backward rows in which most time is spent above the floor, named without the suffix of their clock"""
    rows = [r for r in ops_of(work) if "error_message" not in r and not r["name"].startswith("freeze/")]
    return [re.sub(r"/(manual|real)_time$", "", r["name"]) for r in sorted(rows, key=lost_us, reverse=True)[:count]]


def ceilings_of(work):
    """The higher of the engine's and PyTorch's: a ceiling is what the machine can do"""
    rows = lines_of_json(work / "ceilings.out") + lines_of_json(work / "torch-ceilings.out")
    return {k: max(r.get(k, 0) for r in rows) for k in ("matmul_tflops", "copy_gbs")} if rows else {}


def choices_of(work):
    """Which way each operation ran, and the microseconds of all"""
    try:
        return json.loads((work / "cache" / "firn" / "providers.json").read_text())["choices"]
    except (OSError, ValueError, KeyError):
        return {}


def warnings_of(work):
    lines = (line for file in sorted(work.glob("*.err")) for line in file.read_text(errors="replace").splitlines())
    return sorted({line for line in lines if line.startswith("warning:")})


def profile_of(path):
    """Nsight Compute's CSV, between lines of other text -> a row for each launch: kernel, and values by metric"""
    lines = path.read_text(errors="replace").splitlines()
    start = next((i for i, line in enumerate(lines) if line.startswith('"ID"')), len(lines))
    launches = {}
    for row in csv.DictReader(line for line in lines[start:] if line.startswith('"')):
        launch = launches.setdefault(row["ID"], dict(kernel=row["Kernel Name"]))
        if row.get("Metric Name"):
            value = row["Metric Value"].replace(",", "")
            launch[row["Metric Name"]] = float(value) if re.fullmatch(r"-?[0-9.]+(e[-+]?[0-9]+)?", value) else value
            launch.setdefault("units", {})[row["Metric Name"]] = row["Metric Unit"]
    return list(launches.values())


def description_of(work):
    """What cuDNN plans for this GPU by"""
    try:
        return json.loads((work / "device.json").read_text())
    except (OSError, ValueError):
        return None


def output_of(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""


def collect(work, device, command):
    named = lambda pattern: [r for file in sorted(work.glob(pattern)) for r in lines_of_json(file)]
    peers = {f.stem.removeprefix("torch-"): lines_of_json(f) for f in sorted(work.glob("torch-*.out"))}
    peers.pop("ceilings", None)
    own = lines_of_json(work / "ceilings.out")
    query = "name,driver_version,memory.total,clocks.max.sm,power.limit"
    return dict(
        device=own[0].get("device") if own else None, kind=device, date=datetime.datetime.now().isoformat(timespec="seconds"),
        command=command, commit=output_of("git", "rev-parse", "HEAD"),
        versions=dict(smi=output_of("nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader") if device == "cuda" else "",
                      text=[f.read_text(errors="replace") for f in (work / f"{n}.out" for n in ("version", "libraries")) if f.exists()],
                      nvcc=output_of("nvcc", "--version").splitlines()[-1:], python=platform.python_version(),
                      cuda={k: own[0].get(k) for k in ("architecture", "driver", "runtime")} if own else {}),
        description=description_of(work), parts=parts_of(work), ceilings=dict(used=ceilings_of(work), engine=own, torch=lines_of_json(work / "torch-ceilings.out")),
        checks=[{k: v for k, v in r.items() if k != "rows"} | {"rows": sorted(r["rows"], key=lambda x: -(x["difference"] or 1e9))[:20]}
                for r in named("check-*.out")],
        choices=choices_of(work), warnings=warnings_of(work), ops=ops_of(work),
        steps=sorted(named("step-*.out"), key=lambda s: [s[k] for k in KEY]), freeze=named("freeze-*.out"), torch=peers,
        sngan=dict(engine=named("sngan-own-*.out"), torch=named("sngan-torch-*.out")),
        ncu={f.stem: profile_of(f) or f.read_text(errors="replace")[-2000:] for f in sorted(work.glob("ncu-*.out"))})


def speed(row):
    """Images a second, from whole cycles where there are some"""
    return row.get("cycle_images_per_s", row.get("images_per_s"))


def table(title, header, rows):
    if not rows:
        return
    cells = [header] + [[f"{v:.4g}" if isinstance(v, float) else "-" if v is None else str(v) for v in row] for row in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    print(f"\n{title}")
    for row in cells:
        print("  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths))))


def ratio(a, b):
    return a / b if a and b else None


def print_tables(r):
    table("Parts", ["part", "status", "s", "of"], [[p["name"], p["status"], p["seconds"], p["budget_s"]] for p in r["parts"]])
    table("Held against the CPU", ["side", "worst difference", "in", "passed"],
          [[c["b"], c["worst"], c["worst_tensor"], c["passed"]] for c in r["checks"]])
    table("Warnings", [""], [[w] for w in r["warnings"]])
    ours = {k.split(" | ")[0]: c for k, c in sorted(r["choices"].items()) if k.startswith("styled_conv")}
    table("Layers: microseconds of each way", ["layer", "runs", "times"],
          [[layer, c["name"], ", ".join(f"{name} {us:.1f}" for name, us in c.get("measured", {}).items())] for layer, c in ours.items()])
    ops = sorted((o for o in r["ops"] if "error_message" not in o), key=lost_us, reverse=True)
    table("Ops, those with most time above their floor first", ["op", "us", "TFLOP/s", "GB/s", "% of floor"],
          [[o["name"], o["median_us"], o.get("FLOP/s", 0) / 1e12, o.get("bytes/s", 0) / 1e9, o.get("floor_%")]
           for o in ops if not o["name"].startswith("freeze/")][:25])
    table("Ops that failed", ["op", "why"], [[o["name"], o["error_message"][:100]] for o in r["ops"] if "error_message" in o][:25])
    pairs = {}
    for o in ops:
        if found := re.match(r"freeze/(.*)/(frozen|trained)", o["name"]):
            pairs.setdefault(found[1], {})[found[2]] = o["median_us"]
    table("Backward of a layer", ["layer", "trained, us", "frozen, us", "trained / frozen"],
          [[name, p.get("trained"), p.get("frozen"), ratio(p.get("trained"), p.get("frozen"))] for name, p in sorted(pairs.items())])
    step_header = ["resolution/base/batch", "type", "Gmain", "Greg", "Dmain", "Dreg", "ms", "cycle ms", "images/s", "peak MB"]
    step_row = lambda s: ["/".join(str(s[k]) for k in KEY), s["type"], *(s.get(p) for p in PHASES), s.get("iteration_ms"), s.get("cycle_ms"),
                          speed(s), s.get("peak_mb")]
    table("Steps", step_header, [step_row(s) for s in r["steps"]])
    for variant, rows in r["torch"].items():
        table(f"PyTorch, {variant}", step_header, [step_row(s) for s in rows if "error" not in s])
    sweeps = [[s for s in rows if "error" not in s] for variant, rows in r["torch"].items() if variant.startswith("freeze")]
    fastest = min((s for s in sweeps if s), key=lambda s: s[0]["iteration_ms"], default=[])
    for name, rows in (("this engine", r["freeze"]), ("PyTorch", fastest)):
        whole = next((s for s in rows if s["frozen_blocks"] == 0), {})
        table(f"Frozen blocks of D, {name}: times, and how many times faster than with none", ["blocks", "Dmain", "", "Dreg", "", "iteration", ""],
              [[f"{s['frozen_blocks']}{', cached' if s.get('cache_features') else ''}",
                *(v for k in ("Dmain_ms", "Dreg_ms", "iteration_ms") for v in (s[k], ratio(whole.get(k), s[k])))] for s in rows])
    table("PyTorch, what did not run", ["variant", "resolution/base/batch", "why"],
          [[variant, "/".join(str(s[k]) for k in KEY), s["error"][:100]] for variant, rows in r["torch"].items() for s in rows if "error" in s])
    table("Kernels under Nsight Compute, % of what the hardware can do",
          ["kernel", "us", "DRAM", "L2", "L1", "shared", "tensor", "issue", "warps", "registers"],
          [[re.sub(r".*?kernels::|\(.*", "", launch["kernel"])[:40], (launch.get("gpu__time_duration.sum") or 0) * SCALE_US.get(
              launch["units"].get("gpu__time_duration.sum"), 1), *(launch.get(m) for m in PROFILE)]
           for rows in r["ncu"].values() if isinstance(rows, list) for launch in rows if "gpu__time_duration.sum" in launch])
    comparisons = []
    for s in r["steps"]:
        peers = [(speed(t), variant) for variant, rows in r["torch"].items() for t in rows
                 if "error" not in t and t["frozen_blocks"] == 0 and all(t[k] == s[k] for k in KEY)]
        best, variant = max(peers, default=(None, "-"))
        comparisons.append(["/".join(str(s[k]) for k in KEY), speed(s), best, variant, ratio(speed(s), best)])
    sngan_key = lambda s: (s["resolution"], s["batch"], s["frozen_blocks"])
    peers = {}
    for s in r["sngan"]["torch"]:
        peers[sngan_key(s)] = min(peers.get(sngan_key(s), s), s, key=lambda t: t["iteration_ms"])
    how = lambda t: " ".join(k for k in ("compiled", "graphs") if t[k]) or "eager"
    table("SNGAN-projection beside PyTorch at its best", ["resolution/batch/frozen blocks", "Gmain", "Dmain", "ms", "PyTorch", "how", "ratio"],
          [["/".join(map(str, sngan_key(s))), s["Gmain_ms"], s["Dmain_ms"], s["iteration_ms"],
            *((t["iteration_ms"], how(t), ratio(t["iteration_ms"], s["iteration_ms"])) if (t := peers.get(sngan_key(s))) else (None, "-", None))]
           for s in r["sngan"]["engine"]])
    c = r["ceilings"]["used"]
    table(f"Images a second beside PyTorch at its best ({r['device']}; ceilings {c.get('matmul_tflops', 0):.0f} TFLOP/s, {c.get('copy_gbs', 0):.0f} GB/s)",
          ["resolution/base/batch", "this engine", "PyTorch", "how", "ratio"], comparisons)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("ceilings", "worst", "write"))
    parser.add_argument("--work", type=pathlib.Path, required=True, help="where the parts left their files")
    parser.add_argument("--out", type=pathlib.Path, default="gpu.json")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--command", default="")
    args = parser.parse_args()
    if args.what == "ceilings":
        c = ceilings_of(args.work)
        print(*(f"--ceiling-{name} {c[key]}" for name, key in (("tflops", "matmul_tflops"), ("gbs", "copy_gbs")) if c.get(key)))
    elif args.what == "worst":
        print(*worst(args.work), sep="\n")
    else:
        result = collect(args.work, args.device, args.command)
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(result, indent=1) + "\n")
        print_tables(result)
        print(f"\n{args.out}")


if __name__ == "__main__":
    main()
