"""What the campaigns share: a tiny data set, a tiny training run, what a snapshot holds, and where figures are kept."""
import hashlib
import json
import os
import pathlib
import shutil
import struct
import subprocess
import tempfile
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get('FIRN_BUILD', ROOT / 'build'))
TRAIN = BUILD / 'bin' / 'gan-train'
SAVED = 'saved '

# One core a run, and threads that sleep: trials share the machine. Given GOMP_SPINCOUNT, gan-train does not start anew.
ENVIRONMENT = {**os.environ, 'OMP_WAIT_POLICY': 'passive', 'GOMP_SPINCOUNT': '0'}

TINY = ('--cfg small --cbase 64 --cmax 8 --z-dim 8 --w-dim 8 --map-depth 1 --batch 4 --tick 0.008 --snap 1 --keep 2 '
        '--metrics none --grid 2x2 --precision fp32 --threads 1 --workers 1').split()


class Failure(Exception):
    pass


def require(condition, message):
    if not condition:
        raise Failure(message)


def write_png(path, size, seed):
    def chunk(kind, data):
        return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))
    rows = b''.join(b'\0' + bytes((i * 37 + seed * 101 + i // 7 + y * 5) & 255 for i in range(size * 3))
                    for y in range(size))
    path.write_bytes(b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', size, size, 8, 2, 0, 0, 0)) +
                     chunk(b'IDAT', zlib.compress(rows)) + chunk(b'IEND', b''))


def write_images(folder, count, size=8, classes=1):
    for i in range(count):
        kind = folder / f'class{i % classes}'
        kind.mkdir(parents=True, exist_ok=True)
        write_png(kind / f'{i:04}.png', size, i)
    return folder


class Scratch:
    """A folder in memory where there is one: trials write thousands of small files and sync them."""

    def __init__(self, in_memory=True):
        shm = pathlib.Path('/dev/shm')
        where = shm if in_memory and shm.is_dir() else None
        self.path = pathlib.Path(tempfile.mkdtemp(prefix='firn-campaign-', dir=where))

    def __enter__(self):
        return self.path

    def __exit__(self, *_):
        shutil.rmtree(self.path, ignore_errors=True)


def safetensors(path):
    """Tensors by name as (dtype, shape, bytes), or Failure: every byte of the file is accounted for."""
    data = path.read_bytes()
    require(len(data) >= 8, f'{path}: {len(data)} bytes')
    length, = struct.unpack('<Q', data[:8])
    require(length <= len(data) - 8, f'{path}: truncated header')
    try:
        header = json.loads(data[8:8 + length])
    except ValueError as e:
        raise Failure(f'{path}: {e}')
    body = data[8 + length:]
    header.pop('__metadata__', None)
    require(sum(t['data_offsets'][1] - t['data_offsets'][0] for t in header.values()) == len(body),
            f'{path}: {len(body)} bytes of data do not fit its header')
    return {n: (t['dtype'], t['shape'], body[t['data_offsets'][0]:t['data_offsets'][1]]) for n, t in header.items()}


def weights_hash(path):
    """Of every tensor: weights, averages, Adam's moments, counters. Metadata (options, paths) does not count."""
    digest = hashlib.sha256()
    for name, (dtype, shape, data) in sorted(safetensors(path).items()):
        digest.update(f'{name} {dtype} {shape}\n'.encode() + data)
    return digest.hexdigest()


def images_seen(path):
    return struct.unpack('<q', safetensors(path)['state.counters'][2][:8])[0]


def run_folders(runs):
    return sorted(p for p in runs.iterdir() if p.is_dir()) if runs.is_dir() else []


def strays(folder):
    return [p.name for p in folder.rglob('*') if p.name.endswith('.tmp')]


def train(arguments, environment=None, timeout=60, **more):
    """The finished process; code and everything that it said."""
    return subprocess.run([TRAIN, *map(str, arguments)], env={**ENVIRONMENT, **(environment or {})}, timeout=timeout,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          errors='replace', **more)


class Tally:
    """Counts outcomes of trials, keeps the first failures in words, and shows progress now and then."""

    def __init__(self, name, total):
        self.name, self.total, self.counts, self.failures = name, total, {}, []
        self.began, self.shown, self.lock, self.commit = time.time(), time.time(), threading.Lock(), commit()

    def add(self, outcome, failure=None):
        with self.lock:
            self.counts[outcome] = self.counts.get(outcome, 0) + 1
            if failure:
                self.counts['failures'] = self.counts.get('failures', 0) + 1
                if len(self.failures) < 20:
                    self.failures.append(failure)
                    print(f'{self.name}: {failure}', flush=True)
            if time.time() - self.shown > 30:
                self.shown = time.time()
                print(f'{self.name}: {self.counts}', flush=True)

    def result(self, command, **more):
        return {'campaign': self.name, 'command': command, 'date': time.strftime('%Y-%m-%d'),
                'commit': self.commit, 'trials': self.total, 'seconds': round(time.time() - self.began),
                **more, 'outcomes': dict(sorted(self.counts.items())), 'failures': self.failures}


def commit():
    ran = subprocess.run(['git', 'rev-parse', '--short', 'HEAD'], cwd=ROOT, capture_output=True, text=True)
    return ran.stdout.strip()


def in_parallel(count, jobs, trial):
    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(trial, range(count)))
