"""Kills of one of several processes, at random moments, each time another number of them: the others must end, and what
kills.py asks for must hold."""
import os
import pathlib
import signal
import subprocess
import time

import kills
from common import TINY, TRAIN, Failure

os.environ.update(OMPI_ALLOW_RUN_AS_ROOT='1', OMPI_ALLOW_RUN_AS_ROOT_CONFIRM='1', OMPI_MCA_rmaps_base_oversubscribe='1')
kills.ENVIRONMENT.update(os.environ | {k: v for k, v in kills.ENVIRONMENT.items() if k not in os.environ})
RANKS = ('OMPI_COMM_WORLD_RANK', 'PMI_RANK')


def process_of(outdir, rank):
    for entry in pathlib.Path('/proc').iterdir():
        try:
            if entry.name.isdigit() and str(outdir).encode() in (entry / 'cmdline').read_bytes().split(b'\0') and any(
                    f'{name}={rank}'.encode() in (entry / 'environ').read_bytes().split(b'\0') for name in RANKS):
                return int(entry.name)
        except OSError:
            pass  # it ended meanwhile
    return None


class Team(kills.Run):
    options = [*TINY, '--batch', '8', '--batch-gpu', '2', '--tick', '0.016']

    def command(self, rng):
        self.processes = rng.choice([2, 3, 4])
        return ['mpirun', '-n', str(self.processes), TRAIN]

    def kill(self, process, rng):
        rank = rng.randrange(self.processes)
        while process.poll() is None:
            victim = process_of(self.outdir, rank)
            if victim:
                os.kill(victim, signal.SIGKILL)
                break
            time.sleep(0.002)
        try:
            process.wait(timeout=70)
        except subprocess.TimeoutExpired:
            process.kill()
            raise Failure(f'the others still ran 70 s after process {rank} of {self.processes} was killed')
        return True  # a launcher ends with a code of its own


def campaign(count, jobs, seed):
    return kills.campaign(count, jobs, seed, Team, 'processes')
