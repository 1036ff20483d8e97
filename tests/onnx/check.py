#!/usr/bin/env python3
"""Holds ONNX files of gan-export against gan-sample: the same latents, images that differ by one grey level at most.

    python3 tests/onnx/check.py                    # small networks of each kind, which gan-train makes for it; minutes
    python3 tests/onnx/check.py SNAPSHOT...        # these

Needs a build (build/, or FIRN_BUILD) and, of PyPI, numpy, onnx, onnxruntime and safetensors. Files pass onnx.checker
with shape inference; batches of 1 and 5 images, truncation by input and by default, both halves of a style-based network
and float images are tried. Exit 1 when something differs.
"""
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from safetensors.numpy import load_file, save_file

BIN = Path(os.environ.get('FIRN_BUILD', Path(__file__).resolve().parents[2] / 'build')) / 'bin'
TINY = ('--cfg small --cbase 256 --cmax 16 --z-dim 16 --w-dim 16 --map-depth 2 --batch 8 --kimg 0.064 --tick 0.064 '
        '--grid 2x2 --precision fp32 --metrics none').split()
SNGAN = ('--model sngan --ch 8 --z-dim 16 --batch 8 --kimg 0.064 --tick 0.064 --grid 2x2 --precision fp32 '
         '--metrics none').split()
STYLEGAN = ('--model stylegan --cbase 256 --cmax 16 --z-dim 16 --map-depth 2 --batch 8 --kimg 0.064 --tick 0.064 '
            '--grid 2x2 --precision fp32 --metrics none').split()
KINDS = {
    'skip': (TINY + ['--g-arch', 'skip'], (32, 32), 0),
    'resnet': (TINY + ['--g-arch', 'resnet'], (32, 32), 0),
    'orig': (TINY + ['--g-arch', 'orig', '--conv-clamp', '1'], (16, 16), 0),
    'conditional': (TINY + ['--cond'], (16, 16), 3),
    'rectangular': (TINY, (32, 16), 0),
    'stylegan': (STYLEGAN, (32, 32), 0),
    'stylegan-growing': (STYLEGAN + ['--growth-kimg', '0.024', '--fused-from', '16'], (32, 32), 0),
    'sngan': (SNGAN, (32, 32), 0),
    'sngan-conditional': (SNGAN + ['--cond'], (32, 32), 3),
}
N = 5
failures = []


def run(tool, *arguments):
    done = subprocess.run([BIN / tool, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f'{tool} {" ".join(map(str, arguments))}: {done.stdout}{done.stderr}')


def make(folder, name):
    """A snapshot of a network that has trained for a moment."""
    from PIL import Image
    arguments, (height, width), classes = KINDS[name]
    rng = np.random.default_rng(1)
    for i in range(24):
        path = folder / name / 'data' / (f'{i % classes}' if classes else '.') / f'{i}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(path)
    run('gan-train', '--outdir', folder / name / 'runs', '--data', folder / name / 'data', *arguments)
    return next((folder / name / 'runs').glob('*'))


def say(what, worst, allowed):
    print(f'  {what}: at most {worst:.3g} apart', flush=True)
    if not worst <= allowed:
        failures.append(what)


class Trial:
    def __init__(self, snapshot, folder):
        self.snapshot, self.folder = snapshot, folder

    def session(self, *options):
        path = self.folder / 'g.onnx'
        run('gan-export', self.snapshot, path, *options)
        onnx.checker.check_model(str(path), full_check=True)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # it warns of inputs that may be left out
        return onnxruntime.InferenceSession(path, options, providers=['CPUExecutionProvider'])

    def images(self, *options, **latents):
        """Of gan-sample, [N,C,H,W] about [-1,1]."""
        save_file({k: np.ascontiguousarray(v) for k, v in latents.items()}, self.folder / 'in.safetensors')
        run('gan-sample', '--snapshot', self.snapshot, '--latents', self.folder / 'in.safetensors',
            '--raw', self.folder / 'out.safetensors', '--device', 'cpu', *options)
        return load_file(self.folder / 'out.safetensors')['images']

    def check(self):
        whole = self.session()
        sizes = {i.name: i.shape for i in whole.get_inputs()}
        optional = [i.name for i in whole.get_overridable_initializers()]
        print(f'  inputs {sizes}, optional {optional}, output {whole.get_outputs()[0].shape}', flush=True)
        z = np.random.default_rng(0).standard_normal((N, sizes['z'][1])).astype(np.float32)
        for label in (0, 2) if 'labels' in sizes else (None,):
            feeds, options = {'z': z}, []
            if label is not None:
                feeds['labels'], options = np.full(N, label), ['--class', label]
            self.compare(whole, feeds, options, optional)

    def compare(self, whole, feeds, options, optional):
        z = feeds['z']

        def grey(x):
            return np.clip(np.rint((x + 1) * 127.5), 0, 255)

        expected = self.images(*options, z=z)
        got = whole.run(None, feeds)[0]
        say('bytes', np.abs(got.astype(float) - grey(expected)).max(), 1)
        one = whole.run(None, {k: v[:1] for k, v in feeds.items()})[0]
        say('bytes of one image', np.abs(one.astype(float) - grey(expected[:1])).max(), 1)
        floats = self.session('--float').run(None, feeds)[0]
        say('floats', np.abs(floats - expected).max(), 2e-4 * max(1, np.abs(expected).max()))
        if not optional:
            return
        truncated = self.images(*options, '--trunc', 0.5, z=z)
        psi = np.array(0.5, np.float32)
        say('truncated by input', np.abs(whole.run(None, {**feeds, 'psi': psi})[0] - grey(truncated)).max(), 1)
        say('truncated by default',
            np.abs(self.session('--trunc', 0.5).run(None, feeds)[0] - grey(truncated)).max(), 1)
        some = self.images(*options, '--trunc', 0.3, '--trunc-cutoff', 3, z=z)
        say('three styles truncated',
            np.abs(self.session('--trunc', 0.3, '--trunc-cutoff', 3).run(None, feeds)[0] - grey(some)).max(), 1)
        quiet = self.images(*options, '--noise-mode', 'none', z=z)
        say('without noise', np.abs(self.session('--noise', 'none').run(None, feeds)[0] - grey(quiet)).max(), 1)
        ws = self.session('--mapping').run(None, feeds)[0]
        halves = self.session('--synthesis').run(None, {'ws': ws})[0]
        say('halves', np.abs(halves.astype(float) - grey(expected)).max(), 1)
        say('styles', np.abs(self.images(ws=ws) - expected).max(), 2e-4 * max(1, np.abs(expected).max()))


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        given = [(Path(s).name, Path(s)) for s in sys.argv[1:]]
        for kind, snapshot in given or ((k, None) for k in KINDS):
            print(kind, flush=True)
            snapshot = snapshot or make(folder, kind)
            Trial(snapshot, folder).check()
    print('failed: ' + ', '.join(failures) if failures else 'all agree')
    return int(bool(failures))


if __name__ == '__main__':
    sys.exit(main())
