"""Orderly stops: a signal at a random moment of a run whose layers go through oneDNN's sgemm. Each run must save, say
how to go on and exit with 128 + the signal; an abort or a segmentation fault is what this looks for."""
import random
import re
import shutil
import signal
import subprocess
import time

from common import (ENVIRONMENT, TRAIN, Failure, Scratch, Tally, images_seen, in_parallel, require, run_folders, strays,
                    write_images)

SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]

# Small images and wide layers in f32: most of the time is spent in products of matrices.
NET = ('--cfg small --cbase 2048 --cmax 128 --z-dim 256 --w-dim 256 --map-depth 8 --batch 8 --kimg 1000 --tick 0.016 '
       '--snap 4 --keep 1 --metrics none --grid 2x2 --precision fp32 --threads 2 --workers 1').split()


def stop_once(scratch, data, number, rng, kinds):
    which = kinds[number % len(kinds)]
    outdir = scratch / f'runs-{number}'
    process = subprocess.Popen([TRAIN, '--outdir', outdir, '--data', data, *NET], env=ENVIRONMENT, text=True,
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        said = ''
        while not said.endswith('\n') or 'run folder' not in said.splitlines()[-1]:
            line = process.stdout.readline()
            require(line, f'ended before it began: {said[-300:]}')
            said += line
        time.sleep(rng.uniform(0, 0.3))
        process.send_signal(which)
        try:
            said += process.communicate(timeout=60)[0]
        except subprocess.TimeoutExpired:
            raise Failure(f'{which.name}: still running after 60 s')
        code = process.returncode
        if code < 0 or code > 128 + 64:
            raise Failure(f'{which.name}: died by {signal.Signals(-code).name}: {said[-200:]!r}')
        require(code == 128 + which, f'{which.name}: exit {code}: {said[-300:]!r}')
        run, = run_folders(outdir)
        latest = run / 'snapshot-latest.safetensors'
        images_seen(latest)
        require(re.search(r'^saved ', said, re.M) and '--resume latest' in said, f'{which.name}: said {said[-300:]!r}')
        require(not strays(run), f'{which.name}: left {strays(run)}')
        return which.name
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        shutil.rmtree(outdir, ignore_errors=True)


def campaign(count, jobs, seed, kinds=None):
    kinds = [signal.Signals[k] for k in kinds] if kinds else SIGNALS
    for kind in kinds:  # a job in the background of a script ignores SIGINT, and so would what it starts
        signal.signal(kind, signal.SIG_DFL)
    tally = Tally('signals', count)
    with Scratch() as scratch:
        data = write_images(scratch / 'data', 16)

        def trial(number):
            try:
                tally.add(stop_once(scratch, data, number, random.Random(f'{seed}-{number}'), kinds))
            except Failure as e:
                tally.add('failed', str(e))
        in_parallel(count, jobs, trial)
    return tally
