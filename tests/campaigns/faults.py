"""Every system call failing in turn, for a short run from its first image to its last snapshot: it must end with the
weights of an undisturbed run, or with exit 1 and one line; the snapshots that it leaves must be whole, and resume must
go on from them. First by a preloaded library (tests/faults), kind by kind; then, where strace may be used, syscall by
syscall. Where memory ends inside of oneDNN or OpenMP, which end the process or take another kernel, only the files are
held to it; that is counted apart."""
import re
import shutil
import subprocess

from common import (BUILD, ENVIRONMENT, TINY, TRAIN, Failure, Scratch, Tally, in_parallel, require, run_folders,
                    safetensors, strays, train, weights_hash, write_images)

LIBRARY = BUILD / 'bin' / 'libfirn_faults.so'
FAULTS = [('open', 'EMFILE'), ('open', 'EIO'), ('read', 'EIO'), ('read', 'EINTR'), ('read', 'short'), ('list', 'EIO'),
          ('write', 'ENOSPC'), ('write', 'EIO'), ('write', 'EINTR'), ('write', 'short'), ('sync', 'EIO'),
          ('sync', 'EINTR'), ('rename', 'EIO'), ('link', 'EPERM'), ('link', 'EIO'), ('unlink', 'EIO'),
          ('truncate', 'EIO'), ('mkdir', 'ENOSPC'), ('close', 'EIO'), ('stat', 'EIO'), ('thread', 'EAGAIN'),
          ('malloc', 'ENOMEM')]
ALLOCATIONS = 1000  # of the many of a whole run; one save is tried at every one, by firn_save_faults

# A process may not be expected to do without these, or the C library ends it by itself: locks, signals, its own end; brk
# fails by another result than what strace can make of it.
BEYOND = set('''futex exit exit_group execve rt_sigaction rt_sigprocmask rt_sigreturn rt_sigtimedwait tgkill kill getpid
    gettid rseq arch_prctl set_tid_address set_robust_list munmap madvise restart_syscall sched_yield wait4 access
    prlimit64 brk'''.split())
NO_MEMORY = {'mmap', 'mprotect'}


class Trials:
    def __init__(self, scratch):
        self.scratch, self.data = scratch, write_images(scratch / 'data', 5)
        self.arguments = ['--data', self.data, *TINY, '--kimg', '0.016']
        outdir = scratch / 'whole'
        whole = train(['--outdir', outdir, *self.arguments])
        require(whole.returncode == 0, whole.stderr)
        self.expected = weights_hash(self.latest(outdir))
        shutil.rmtree(outdir)

    @staticmethod
    def latest(outdir):
        runs = run_folders(outdir)
        return runs[-1] / 'snapshot-latest.safetensors' if runs else outdir / 'none'

    def environment(self, call, error, at, report):
        under = '' if call in ('malloc', 'thread') else str(self.scratch)
        return {'LD_PRELOAD': str(LIBRARY), 'FIRN_FAULT_CALL': call, 'FIRN_FAULT_ERROR': error,
                'FIRN_FAULT_AT': str(at), 'FIRN_FAULT_REPORT': str(report), 'FIRN_FAULT_UNDER': under}

    def count(self, call):
        outdir, report = self.scratch / 'counted', self.scratch / 'report'
        train(['--outdir', outdir, *self.arguments], self.environment(call, 'EIO', 0, report))
        shutil.rmtree(outdir, ignore_errors=True)
        calls = int(report.read_text().split()[-1])
        report.unlink()
        return calls

    def judge(self, what, outdir, ran, in_onednn):
        """The outcome in a word; Failure where a promise was broken. in_onednn() tells whose call failed."""
        code, said, latest = ran.returncode, ran.stderr, self.latest(outdir)
        if code == 0 and latest.exists() and weights_hash(latest) == self.expected:
            return 'the same weights'
        word = 'one line'
        if code != 1 and in_onednn():
            word = 'other rounding by oneDNN' if code == 0 else 'ended by oneDNN'
        elif said.startswith('\nlibgomp: Out of memory'):
            word = 'ended by OpenMP'
        else:
            require(code != 0, f'{what}: exit 0 with other weights: {said!r}')
            require(code == 1, f'{what}: exit {code}: {said[-300:]!r}')
            require(said.count('\n') == 1 and said.startswith('gan-train: '), f'{what}: not one line: {said[-500:]!r}')
        log = latest.parent / 'log.txt'
        announced = re.findall(r'^saved (.*?)[;\n]', log.read_text(errors='replace') if log.exists() else '', re.M)
        if announced:
            require((latest.parent / announced[-1].split('/')[-1]).exists(), f'{what}: {announced[-1]} is not there')
        if latest.exists():
            safetensors(latest)
            again = train(['--outdir', outdir, '--resume', 'latest', '--threads', '1'])
            require(again.returncode == 0, f'{what}: resume ends with {again.returncode}: {again.stderr!r}')
            if word != 'other rounding by oneDNN':
                require(weights_hash(latest) == self.expected, f'{what}: resume ends with other weights')
            require(not strays(outdir), f'{what}: {strays(outdir)} left after a resume')
        return word

    def library(self, tally, number, call, error, at):
        outdir, report = self.scratch / f'runs-{number}', self.scratch / f'report-{number}'
        what = f'{call} {error} {at}'
        try:
            ran = train(['--outdir', outdir, *self.arguments], self.environment(call, error, at, report))
            told = report.read_text() if report.exists() else ''
            if 'failed' not in told:
                require(ran.returncode == 0, f'{what}: exit {ran.returncode} without a fault')
                return tally.add('fewer calls this time')
            tally.add(f'{call}: ' + self.judge(what, outdir, ran, lambda: 'libdnnl' in told))
        except (Failure, subprocess.TimeoutExpired) as e:
            tally.add('failed', str(e))
        finally:
            shutil.rmtree(outdir, ignore_errors=True)
            report.unlink(missing_ok=True)

    def traced(self, outdir, trace, *options):
        return subprocess.run(['strace', '-f', '--seccomp-bpf', '-o', trace, *options, TRAIN, '--outdir', outdir,
                               *map(str, self.arguments)], env=ENVIRONMENT, stdin=subprocess.DEVNULL, timeout=120,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors='replace')

    def syscalls(self):
        """(name, number) of every call of main and what it starts; the loader's own come before."""
        outdir, trace = self.scratch / 'traced', self.scratch / 'trace'
        try:
            if self.traced(outdir, trace).returncode != 0:
                return []
        except FileNotFoundError:
            return []
        counts, found, begun = {}, [], False
        for line in trace.read_text(errors='replace').splitlines():
            begun |= 'SIGPIPE' in line
            match = re.match(r'\d+ +(\w+)\(', line)
            if not match or match[1] in BEYOND:
                continue
            counts[match[1]] = counts.get(match[1], 0) + 1
            if begun:
                found.append((match[1], counts[match[1]]))
        shutil.rmtree(outdir)
        return found

    def syscall(self, tally, number, name, at):
        outdir, trace = self.scratch / f'traced-{number}', self.scratch / f'trace-{number}'
        error = 'ENOMEM' if name in NO_MEMORY else 'EAGAIN' if name.startswith('clone') else 'EIO'
        what = f'{name}() {error} {at}'
        inject = ['-e', f'trace={name}', '-e', f'inject={name}:error={error}:when={at}']

        def in_onednn():  # once more, with stacks
            self.traced(outdir / 'again', trace, '-k', *inject)
            stack = re.search(r'INJECTED\)\n((?: > .*\n)*)', trace.read_text(errors='replace'))
            shutil.rmtree(outdir / 'again', ignore_errors=True)
            return name in NO_MEMORY and stack is not None and 'libdnnl' in stack[1]
        try:
            ran = self.traced(outdir, trace, *inject)
            if 'INJECTED' not in trace.read_text(errors='replace'):
                return tally.add('fewer calls this time')
            tally.add(f'{name}(): ' + self.judge(what, outdir, ran, in_onednn))
        except (Failure, subprocess.TimeoutExpired) as e:
            tally.add('failed', str(e))
        finally:
            shutil.rmtree(outdir, ignore_errors=True)
            trace.unlink(missing_ok=True)


def campaign(count, jobs, seed):
    with Scratch() as scratch:
        trials = Trials(scratch)
        plan = []
        for call, error in FAULTS:
            calls = trials.count(call)
            step = max(1, calls // ALLOCATIONS) if call == 'malloc' else 1
            plan += [(trials.library, call, error, at) for at in range(1 + seed % step, calls + 1, step)]
        syscalls = trials.syscalls()
        if not syscalls:
            print('faults: strace is missing or not allowed; by the library only')
        plan += [(trials.syscall, *call) for call in syscalls]
        if 0 < count < len(plan):
            plan = [plan[i * len(plan) // count] for i in range(count)]
        tally = Tally('faults', len(plan))

        def trial(number):
            run, *arguments = plan[number]
            run(tally, number, *arguments)
        in_parallel(len(plan), jobs, trial)
    return tally
