#!/usr/bin/env python3
"""Firn's measures beside the packages' on the same features of 2048 numbers, and feature networks, in turns, in one run.

FID: np.cov and SciPy's sqrtm, as pytorch-fid has them. PRDC: prdc. KID, MIND, SWD: straightforward NumPy. Each program keeps
the best of its rounds. Directions and subsets are drawn by chance: those values agree but for that. Networks, images a
second: random weights, batches of 16; PyTorch eager and compiled, of which the faster counts.

  python3 bench/compare_metrics.py --bench build/bin/metrics_numbers --out bench/results/cpu-metrics.json
"""
import argparse
import contextlib
import datetime
import io
import json
import os
import pathlib
import shlex
import sys
import tempfile
import time

COLUMNS = 2048
#        measure: reals, fakes
CASES = {"prdc": (5000, 5000), "fid few": (100, 5000), "fid": (5000, 5000), "kid": (5000, 5000), "mind": (5000, 5000),
         "swd": (5000, 5000)}
NETWORKS = ("inception f32", "inception bf16", "mobilenetv2 f32", "mobilenetv2 bf16")


def fid(a, b):
    import numpy as np
    import scipy.linalg

    ca, cb = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = scipy.linalg.sqrtm(ca @ cb)
    return [float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(ca) + np.trace(cb) - 2 * np.trace(root.real))]


def prdc(a, b):
    from prdc import compute_prdc

    with contextlib.redirect_stdout(io.StringIO()):
        p = compute_prdc(a, b, 5)
    return [float(p[k]) for k in ("precision", "recall", "density", "coverage")]


def kid(a, b):
    import numpy as np

    random, found = np.random.default_rng(0), []
    kernel = lambda x, y: (x @ y.T / x.shape[1] + 1) ** 3
    for _ in range(100):
        x, y = (m[random.choice(len(m), 1000, replace=False)] for m in (a, b))
        xx, yy = kernel(x, x), kernel(y, y)
        found.append((xx.sum() - np.trace(xx) + yy.sum() - np.trace(yy)) / (1000 * 999) - 2 * kernel(x, y).mean())
    return [float(np.mean(found))]


def sliced(a, b, directions):
    import numpy as np

    onto = np.random.default_rng(0).standard_normal((directions, a.shape[1]))
    onto /= np.linalg.norm(onto, axis=1, keepdims=True)
    return np.sort(onto @ a.T, axis=1) - np.sort(onto @ b.T, axis=1)


def mind(a, b):
    return [float(3 * a.shape[1] * (sliced(a, b, 10000) ** 2).mean())]


def swd(a, b):
    return [float(1000 * abs(sliced(a, b, 512)).mean())]


def features(path, reals, fakes):
    """Of falling size in directions by chance, all positive as after a ReLU; written for the bench."""
    import numpy as np

    sys.path.append(str(pathlib.Path(__file__).parent.parent / "tests/golden"))
    from metrics import write

    random = np.random.default_rng(1)
    mix = random.standard_normal((COLUMNS, COLUMNS)) / np.arange(1, COLUMNS + 1)[:, None] ** 0.5
    draw = lambda n, scale: np.maximum(random.standard_normal((n, COLUMNS)) @ mix * scale / 3 + 0.4, 0).astype(np.float32).astype(float)
    a, b = draw(reals, 1), draw(fakes, 1.02)
    write(path, {"a": a, "b": b})
    return a, b


def network(name, args, run):
    words = name.split()
    what = ["--network", words[0], "--type", words[1], "--batch", 16, "--threads", args.threads]
    peer = [sys.executable, pathlib.Path(__file__).parent / "pytorch_metrics.py", *what]
    rates = {"firn": 0, "eager": 0, "compiled": 0}
    for _ in range(args.rounds):
        for who, command in {"firn": [pathlib.Path(args.bench).parent / "metrics_bench", *what, "--json"], "eager": peer,
                             "compiled": [*peer, "--compile"]}.items():
            rates[who] = max(rates[who], run(command)["images_per_s"])
    row = {"network": words[0], "type": words[1], **rates, "ratio": rates["firn"] / max(rates["eager"], rates["compiled"])}
    print(json.dumps(row), flush=True)
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bench", default="build/bin/metrics_numbers", help="Firn's metrics_numbers")
    parser.add_argument("--measures", default=",".join(CASES))
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", help="where to write the rows as JSON")
    args = parser.parse_args()
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        os.environ[name] = str(args.threads)
    from compare_cpu import cpu_model, run

    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for case in args.measures.split(","):
            path, measure = pathlib.Path(folder) / "features.safetensors", case.split()[0]
            a, b = features(path, *CASES[case])
            firn, peer = [], []
            for _ in range(args.rounds):
                firn.append(run([args.bench, "--measure", measure, "--features", path, "--threads", args.threads, "--json"]))
                begin = time.perf_counter()
                values = globals()[measure](a, b)
                peer.append(time.perf_counter() - begin)
            best = min(r["seconds"] for r in firn)
            rows.append({"measure": case, "reals": len(a), "fakes": len(b), "columns": COLUMNS, "firn_s": best, "peer_s": min(peer),
                         "ratio": min(peer) / best, "firn": firn[0]["values"], "peer": values})
            print(json.dumps(rows[-1]), flush=True)
    networks = [network(name, args, run) for name in filter(None, args.networks.split(","))]
    report = {"date": datetime.date.today().isoformat(), "device": cpu_model(), "threads": args.threads,
              "command": shlex.join(["python3", "bench/compare_metrics.py", *sys.argv[1:]]), "rows": rows, "networks": networks}
    if args.out:
        pathlib.Path(args.out).write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
