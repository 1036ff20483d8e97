"""Power cuts: what runs write is recorded call by call, and every state that a cut may leave at every moment
is built without the data and the names that were not synced (tests/faults/power_cut.h). All of them are judged; from
some a real run is resumed, which must end with the weights of one that nobody disturbed."""
import shutil
import subprocess

from common import (BUILD, TINY, Failure, Scratch, Tally, in_parallel, require, strays, train,
                    weights_hash, write_images)
from kills import latest_in

RESUMED = 300  # of all states


def campaign(count, jobs, seed):
    tally = Tally('power', 0)
    with Scratch() as scratch:
        data, disk = write_images(scratch / 'data', 10), scratch / 'disk'
        record, states = scratch / 'record', scratch / 'states'
        disk.mkdir()
        environment = {'LD_PRELOAD': str(BUILD / 'bin' / 'libfirn_record.so'), 'FIRN_RECORD': str(record),
                       'FIRN_RECORD_UNDER': str(disk)}
        for arguments in (['--data', data, *TINY, '--kimg', '0.032'],
                          ['--resume', 'latest', '--threads', '1', '--kimg', '0.064'],
                          ['--resume', 'latest', '--threads', '1', '--kimg', '0.128']):
            ran = train(['--outdir', disk / 'runs', *arguments], environment)
            require(ran.returncode == 0, ran.stderr)
        expected = weights_hash(latest_in(disk / 'runs'))
        judge = [BUILD / 'bin' / 'firn_power_cuts', record, disk]
        figures, *first = subprocess.run(judge, stdout=subprocess.PIPE, text=True).stdout.splitlines()
        cuts, outcomes, wrong = map(int, figures.split())
        tally.total = outcomes
        tally.counts[f'states after {cuts} moments'] = outcomes
        if wrong:
            tally.add('wrong', f'{wrong} of {outcomes} states: {first}')
        share = max(1, outcomes // (count or RESUMED))
        subprocess.run([*judge, str(share), states], stdout=subprocess.DEVNULL)

        def resume(number):
            state = folders[number]
            try:
                latest = latest_in(state / 'runs')
                ran = train(['--outdir', state / 'runs', '--resume', 'latest', '--threads', '1', '--kimg', '0.128'])
                if not latest:
                    require(ran.returncode == 1 and ran.stderr.count('\n') == 1,
                            f'state {state.name}: {ran.returncode}: {ran.stderr}')
                    return tally.add('resumed: nothing was saved yet')
                require(ran.returncode == 0, f'state {state.name}: resume: {ran.returncode}: {ran.stderr!r}')
                require(weights_hash(latest) == expected, f'state {state.name}: other weights')
                require(not strays(state), f'state {state.name}: {strays(state)} left')
                tally.add('resumed to the same weights')
            except Failure as e:
                tally.add('failed', str(e))
            finally:
                shutil.rmtree(state, ignore_errors=True)
        folders = sorted(states.iterdir())
        in_parallel(len(folders), jobs, resume)
    return tally
