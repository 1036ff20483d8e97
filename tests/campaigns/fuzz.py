"""Every fuzz target of tests/fuzz for COUNT seconds; needs clang. Inputs found stay in FIRN_BUILD-fuzz/corpus."""
import re
import subprocess
import zipfile

from common import BUILD, ROOT, TINY, Scratch, Tally, in_parallel, require, run_folders, train, write_images

FUZZ = BUILD.with_name(BUILD.name + '-fuzz')


def seeds(scratch, corpus):
    """A file of each kind to begin with."""
    data = write_images(scratch / 'data', 2)
    images = sorted(data.rglob('*.png'))
    with zipfile.ZipFile(scratch / 'set.zip', 'w') as archive:
        for image in images:
            archive.write(image, image.relative_to(data))
        archive.writestr('dataset.json', '{"labels": [["class0/0000.png", 0], ["class0/0001.png", 1]]}')
    train(['--outdir', scratch / 'runs', '--data', data, *TINY, '--kimg', '0.004'])
    found = {'image': images[0], 'zip': scratch / 'set.zip',
             'npz': ROOT / 'tests/golden/packed.npz',
             'safetensors': run_folders(scratch / 'runs')[0] / 'snapshot-latest.safetensors'}
    for target, file in found.items():
        (corpus / target).mkdir(parents=True, exist_ok=True)
        (corpus / target / 'seed').write_bytes(file.read_bytes())
    (corpus / 'weights').mkdir(parents=True, exist_ok=True)
    for folder in ('published', 'hostile'):
        for file in (ROOT / 'tests/golden' / folder).iterdir():
            (corpus / 'weights' / file.name).write_bytes(file.read_bytes())
    subprocess.run([FUZZ / 'bin' / 'seed_images', corpus / 'image'], check=True)


def campaign(count, jobs, seed):
    for command in (['cmake', '-S', ROOT / 'tests/fuzz', '-B', FUZZ, '-G', 'Ninja', '-DCMAKE_CXX_COMPILER=clang++',
                     '-DCMAKE_C_COMPILER=clang'], ['cmake', '--build', FUZZ]):
        built = subprocess.run(command, capture_output=True, text=True)
        require(built.returncode == 0, built.stdout[-3000:] + built.stderr[-3000:])
    targets = sorted(p.name.removeprefix('fuzz_') for p in (FUZZ / 'bin').glob('fuzz_*'))
    tally = Tally('fuzz', len(targets))
    with Scratch() as scratch:
        seeds(scratch, FUZZ / 'corpus')

        def fuzz(number):
            target = targets[number]
            corpus = FUZZ / 'corpus' / target
            corpus.mkdir(parents=True, exist_ok=True)
            ran = subprocess.run([FUZZ / 'bin' / f'fuzz_{target}', f'-max_total_time={count}', f'-seed={seed + 1}',
                                  '-timeout=60', '-rss_limit_mb=4096', '-print_final_stats=1',
                                  f'-artifact_prefix={FUZZ}/{target}-', corpus],
                                 capture_output=True, text=True, errors='replace')
            inputs = re.search(r'number_of_executed_units: (\d+)', ran.stderr)
            finding = re.search(r'SUMMARY: .*|ERROR: .*', ran.stderr)
            said = f'{target}: {finding[0] if finding else ran.stderr[-300:]}' if ran.returncode else None
            tally.add(f'{target} ({int(inputs[1]) if inputs else 0} inputs)', said)
        in_parallel(len(targets), jobs, fuzz)
    return tally
