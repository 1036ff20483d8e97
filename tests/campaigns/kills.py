"""Kills at random moments, many while a file is written. After each the folder must hold what was announced, and
the next process must go on; at its end the run must have the weights of one that nobody disturbed, bit for bit."""
import json
import random
import signal
import subprocess
import time

from common import (ENVIRONMENT, TINY, TRAIN, Failure, Scratch, Tally, images_seen, in_parallel, require, run_folders,
                    strays, train, weights_hash, write_images)

KIMG = '0.4'  # 100 iterations, 50 snapshots: some 30 lives


def latest_in(outdir):
    runs = run_folders(outdir)
    latest = runs[-1] / 'snapshot-latest.safetensors' if runs else None
    return latest if latest and latest.exists() else None


def ticks(run):
    return [json.loads(line)['Progress/tick']['mean'] for line in (run / 'stats.jsonl').read_text().splitlines()]


class Run:
    """One run and its many lives."""
    options = TINY

    def command(self, rng):
        return [TRAIN]

    def kill(self, process, rng):
        process.send_signal(signal.SIGKILL)
        process.wait()
        return process.returncode in (0, -signal.SIGKILL)

    def __init__(self, scratch, data, number, expected):
        self.outdir, self.data, self.expected = scratch / f'runs-{number}', data, expected
        self.fresh = 0  # lives that ended before the first snapshot: the run starts anew

    def live(self, rng):
        """Returns 'killed' with a word on when, or 'finished'."""
        before = latest_in(self.outdir)
        images = images_seen(before) if before else -1
        where = ['--resume', 'latest', '--threads', '1'] if before else ['--data', self.data, *self.options, '--kimg', KIMG]
        left_before, said = set(strays(self.outdir)), self.outdir.with_suffix('.said')
        with said.open('w') as file:
            process = subprocess.Popen([*self.command(rng), '--outdir', self.outdir, *where], env=ENVIRONMENT,
                                       stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT)
        saves, writing = rng.choice([-1, 0, 0, 1, 1, 2, 4]), rng.random() < 0.5
        while process.poll() is None and saves >= 0:  # -1: somewhere in its start
            text = said.read_text()
            if 'run folder' in text and text.count('\nsaved ') >= saves:
                break
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.04))
        while writing and process.poll() is None and not set(strays(self.outdir)) - left_before:
            pass  # a new temporary file tells that a save is under way
        as_expected = self.kill(process, rng)
        said = said.read_text(errors='replace')
        if not as_expected:
            raise Failure(f'a resumed run ended with {process.returncode}: {said[-300:]!r}')
        after = latest_in(self.outdir)
        left = set(strays(self.outdir)) - left_before
        saved = said.count('\nsaved ')
        require(after or not (before or saved), f'no snapshot after {saved} were announced')
        if after:
            seen = images_seen(after)
            require(seen >= images, f'{seen} images after {images}')
            require(seen > images or not saved, f'announced {saved} snapshots, but still at {seen} images')
        if process.returncode == 0:
            self.finish(after)
            return 'finished'
        if not after:
            self.fresh += 1
        return 'killed while saving' if left else 'killed before a snapshot' if not after else 'killed'

    def finish(self, latest):
        require(not strays(latest.parent), f'{strays(latest.parent)} left at the end')
        require(weights_hash(latest) == self.expected[0], 'other weights than a run that was not killed')
        require(ticks(latest.parent) == self.expected[1], 'other ticks in stats.jsonl than a run that was not killed')
        log = (latest.parent / 'log.txt').read_text(errors='replace')
        require('\0' not in log and log.endswith('\n'), 'a damaged log.txt')


def campaign(count, jobs, seed, kind=Run, name='kills'):
    tally = Tally(name, count)
    with Scratch() as scratch:
        data = write_images(scratch / 'data', 10)
        whole = train(['--outdir', scratch / 'whole', '--data', data, *kind.options, '--kimg', KIMG])
        require(whole.returncode == 0, whole.stderr)
        latest = latest_in(scratch / 'whole')
        expected = weights_hash(latest), ticks(latest.parent)

        def lives(job):
            rng = random.Random(f'{seed}-{job}')
            number, run, kills = 0, None, job
            while kills < count:
                if run is None:
                    run, number = kind(scratch, data, f'{job}-{number}', expected), number + 1
                try:
                    outcome = run.live(rng)
                    tally.add(outcome)
                    kills += 0 if outcome == 'finished' else jobs
                    run = None if outcome == 'finished' else run
                except Failure as e:
                    tally.add('failed', str(e))
                    kills, run = kills + jobs, None
        in_parallel(jobs, jobs, lives)
    return tally
