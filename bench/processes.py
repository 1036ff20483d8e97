#!/usr/bin/env python3
"""What several processes cost and give on one machine: train_bench by itself, under mpirun as one process, and as two of
one thread, in turn; with what they send. Needs a build with MPI.
    python3 bench/processes.py --out bench/results/cpu-processes.json"""
import argparse
import json
import pathlib
import platform
import statistics
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]


def run(launcher, bench, options):
    ran = subprocess.run([*launcher, str(bench), *options, '--json'], capture_output=True, text=True)
    if ran.returncode:
        raise SystemExit(f'processes: {" ".join([*launcher, str(bench), *options])}: {ran.stderr.strip()}')
    return json.loads(ran.stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--build', type=pathlib.Path, default=ROOT / 'build')
    parser.add_argument('--mpirun', default='mpirun --allow-run-as-root --bind-to none', help='[%(default)s]')
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--options', default='--resolution 32 --channel-base 16384 --batch 8 --repeats 5')
    parser.add_argument('--out', type=pathlib.Path)
    a = parser.parse_args()
    bench, options, mpirun = a.build / 'bin' / 'train_bench', a.options.split(), a.mpirun.split()
    cases = {
        'alone, 2 threads': ([], ['--threads', '2']),
        'mpirun -n 1, 2 threads': ([*mpirun, '-n', '1'], ['--threads', '2']),
        'alone, 2 threads, in two parts': ([], ['--threads', '2', '--batch-gpu', '4']),
        'mpirun -n 2, 1 thread each': ([*mpirun, '-n', '2'], ['--threads', '1']),
        'mpirun -n 2, 1 thread each, 4 layers of D frozen': ([*mpirun, '-n', '2'],
                                                             ['--threads', '1', '--frozen-layers', '4']),
        'mpirun -n 2, 1 thread each, gradients in bf16': ([*mpirun, '-n', '2'],
                                                          ['--threads', '1', '--bf16-gradients']),
    }
    rows = {name: [] for name in cases}
    for _ in range(a.rounds):
        for name, (launcher, more) in cases.items():
            rows[name].append(run(launcher, bench, [*options, *more]))
    kept = ('iteration_ms', 'Gmain_ms', 'Greg_ms', 'Dmain_ms', 'Dreg_ms', 'sent_mb', 'sent_mb_of_gradients', 'peak_mb',
            'Gmain_rounding', 'Greg_rounding', 'Dmain_rounding', 'Dreg_rounding')
    table = {name: {key: round(statistics.median(r[key] for r in found), 5 if 'rounding' in key else 2) for key in kept if key in found[0]}
             for name, found in rows.items()}
    first = table['alone, 2 threads']['iteration_ms']
    for name, row in table.items():
        row['to_alone'] = round(row['iteration_ms'] / first, 3)
        print(f"{name:50} {row['iteration_ms']:8.1f} ms  {row['to_alone']:.3f}  sent {row.get('sent_mb', 0):.1f} MB "
              f"(gradients {row.get('sent_mb_of_gradients', 0):.1f})")
    if a.out:
        processor = next((line.split(':')[1].strip() for line in open('/proc/cpuinfo') if line.startswith('model name')),
                         platform.machine())
        commit = subprocess.run(['git', 'rev-parse', '--short', 'HEAD'], cwd=ROOT, capture_output=True, text=True)
        a.out.write_text(json.dumps({'device': processor, 'date': time.strftime('%Y-%m-%d'),
                                     'commit': commit.stdout.strip(),
                                     'command': f'python3 bench/processes.py --rounds {a.rounds}; train_bench {a.options}',
                                     'median_of_rounds': table}, indent=1) + '\n')


if __name__ == '__main__':
    main()
