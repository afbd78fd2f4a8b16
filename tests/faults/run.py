#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs the rows, judges their histories, prints the table. Started by run.sh, which builds what it needs."""
import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback

import check_history
import lab
from cluster_rows import CLUSTER
from rows import ROWS

HERE = os.path.dirname(os.path.abspath(__file__))


# -------------------------------------------------------------------------------------------------- one row --
def run_row(name, arguments):
    """In a process of its own. Writes NAME.history and NAME.json; what it prints stands in NAME.log."""
    result = {'row': name, 'about': ROWS[name].about, 'failure': None, 'conditions': conditions(arguments)}
    world = lab.Lab(arguments.build, ROWS[name], arguments.seconds, arguments.staleness, arguments.seed)
    try:
        result['seen'] = world.run()
    except (lab.Failed, lab.RedisError, OSError) as error:
        result['failure'] = f'{type(error).__name__}: {error}'
        traceback.print_exc()
    world.close()
    if result['failure']:
        print(world.logs())
    else:
        result.update(measured(world))
        result.update(judge(world, os.path.join(arguments.out, name + '.history')))
    world.remove()
    with open(os.path.join(arguments.out, name + '.json'), 'w', encoding='ascii') as file:
        json.dump(result, file, indent=1)
    return 1 if result['failure'] else 0


def measured(world):
    """How long a cluster's own fence took, in a row where a primary was cut off: [least, most]."""
    if not hasattr(world, 'overlap_ms'):
        return {}
    return {'stopped_ms': [world.stopped_ms] * 2, 'overlap_ms': [world.overlap_ms] * 2, 'node_timeout_ms': world.node_timeout_ms,
            'durability': int('durability=1' in world.row.options)}


def worst(results):
    """Of several runs of a row: a failure, or the one with the most staleness; with the range of what all measured."""
    result = max(results, key=lambda r: (bool(r['failure']), r.get('staleness_ms', 0)))
    for name in 'stopped_ms', 'overlap_ms':
        ranges = [r[name] for r in results if name in r]
        if ranges:
            result = {**result, name: [min(r[0] for r in ranges), max(r[1] for r in ranges)], 'runs': len(ranges)}
    return result


def judge(world, path):
    world.write_history(path)
    with open(path, encoding='ascii') as history:
        verdict = check_history.check(history)
    failure = None
    if verdict['violations']:
        failure = '; '.join(f'{count} {kind}' for kind, count in verdict['kinds'].items() if count)
    elif not verdict['validates_past_bound']:
        failure = 'no revoked session was validated past the bound: nothing was tested'
    elif verdict['recovery_ms'] is None:
        failure = 'no recovery'
    return {**verdict, 'failure': failure}


# ----------------------------------------------------------------------------------------------------- all --
def test_the_tests(arguments):
    """A checker that finds nothing, or a proxy that does nothing, would let every row pass."""
    for program in ('test_check_history.py',), ('test_proxy.py', arguments.build):
        argv = [sys.executable, os.path.join(HERE, program[0]), *program[1:]]
        done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode:
            raise SystemExit(f'{done.stdout}\n{program[0]} failed')
        print(f"{program[0]}: {next(line for line in done.stdout.splitlines() if line.startswith('Ran '))}", flush=True)


def start_row(name, arguments):
    argv = [sys.executable, os.path.abspath(__file__), '--one', name, '--build', arguments.build, '--out', arguments.out,
            '--seconds', str(arguments.seconds), '--staleness', str(arguments.staleness), '--seed', str(arguments.seed)]
    with open(os.path.join(arguments.out, name + '.log'), 'wb') as log:
        return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                preexec_fn=lab.die_with_parent)


def result_of(name, arguments, status):
    try:
        with open(os.path.join(arguments.out, name + '.json'), encoding='ascii') as file:
            return json.load(file)
    except OSError:
        return {'row': name, 'about': ROWS[name].about, 'conditions': conditions(arguments),
                'failure': f'the row ended with status {status}'}


def run_rows(names, arguments):
    waiting, running, results = list(names), {}, {}
    try:
        run_waiting(waiting, running, results, arguments)
    finally:
        for process in running.values():
            process.kill()  # and what it started dies with it
            process.wait()
    return [results[name] for name in names]


def run_waiting(waiting, running, results, arguments):
    of = len(waiting)
    while waiting or running:
        while waiting and len(running) < arguments.parallel:
            name = waiting.pop(0)
            stale = os.path.join(arguments.out, name + '.json')
            if os.path.exists(stale):
                os.unlink(stale)
            running[name] = start_row(name, arguments)
        for name, process in list(running.items()):
            if process.poll() is None:
                continue
            del running[name]
            results[name] = result_of(name, arguments, process.returncode)
            show(results[name], len(results), of)
        time.sleep(0.05)


def show(result, done, of):
    said = result['failure'] and 'FAILED: ' + result['failure'] or 'ok'
    if 'validates' in result:
        said += (f"; {stale_of(result)} stale of {result['validates_past_bound']}, at most {result['staleness_ms']} ms, "
                 f"unavailable {result['unavailable_during_percent']}%, recovered in {result['recovery_ms']} ms")
    print(f"[{done:2}/{of}] {result['row']:<16} {said}", flush=True)
    for example in result.get('examples', ()):
        print('        ' + example)


# --------------------------------------------------------------------------------------------------- report --
def stale_of(result):
    return result['kinds']['stale'] + result['kinds']['own']


def figures(r):
    if 'validates' not in r:
        return ['', '', '', '', '', 'FAILED: ' + r['failure']]
    lost = f" ({r['lost_by_server']:,} lost)" if r['lost_by_server'] else ''
    return [f"{stale_of(r)} of {r['validates_past_bound']:,}", f"{r['staleness_ms']:.0f}", f"{r['kinds']['refused']}{lost}",
            f"{r['unavailable_during_percent']:.1f} / {r['unavailable_after_percent']:.1f}", str(r['recovery_ms']),
            'FAILED: ' + r['failure'] if r['failure'] else r['seen']]


def table(results):
    lines = ['| row | what happens | admitted past the bound | staleness, ms | false refusals | unavailable, % '
             '| recovery, ms | seen |', '|---|---|---:|---:|---:|---:|---:|---|']
    for r in results:
        lines.append('| ' + ' | '.join([f"`{r['row']}`", r['about'], *figures(r)]) + ' |')
    return '\n'.join(lines)


def fences(results):
    """What the fence of a cluster took."""
    lines = ['| `cluster-node-timeout`, ms | `durability` | runs | the old primary stops, s after the cut | both serve for, s, at most '
             '| the longest gap in which none does, s | staleness, ms, at most |', '|---:|---:|---:|---:|---:|---:|---:|']
    for r in results:
        (least, most), (first, last) = r['stopped_ms'], r['overlap_ms']
        figures = (f"{r['node_timeout_ms']:,}", r['durability'], r['runs'], f'{least / 1000:.1f} to {most / 1000:.1f}',
                   f'{max(0, last) / 1000:.1f}', f'{max(0, -first) / 1000:.1f}', f"{r['staleness_ms']:.0f}")
        lines.append(f"| {' | '.join(map(str, figures))} |")
    return '\n'.join(lines)


def conditions(arguments):
    version = subprocess.run(['redis-server', '--version'], check=True, capture_output=True, text=True).stdout
    version = next(word[2:] for word in version.split() if word.startswith('v='))
    kind = 'Valkey' if 'alkey' in os.path.realpath(shutil.which('redis-server')) else 'Redis'
    return (f'{time.strftime("%Y-%m-%d", time.gmtime())}, {os.cpu_count()} processors, {kind} {version}; staleness_ms='
            f'{arguments.staleness}, a fault of {arguments.seconds:g} s, {arguments.parallel} rows at a time')


def write_between_markers(path, name, text):
    begin_mark, end_mark = f'<!-- {name}:begin -->', f'<!-- {name}:end -->'
    with open(path, encoding='utf-8') as file:
        before, begin, rest = file.read().partition(begin_mark)
    _, end, after = rest.partition(end_mark)
    if not begin or not end:
        raise SystemExit(f'{path}: the markers {begin_mark} and {end_mark} are missing')
    with open(path, 'w', encoding='utf-8') as file:
        file.write(f'{before}{begin_mark}\n{text}\n{end_mark}{after}')


def known(arguments, results):
    """What ran, now or earlier with the same --out: of each row the newest, in the order of the rows."""
    path = os.path.join(arguments.out, 'results.json')
    earlier = []
    if os.path.exists(path):
        with open(path, encoding='ascii') as file:
            earlier = json.load(file)
    newest = {r['row']: r for r in earlier + results}
    return [newest[name] for name in ROWS if name in newest]


def write_tables(results):
    """All of them, from what is known of every row: of one that has not run there is nothing to write."""
    missing = [name for name in ROWS if name not in (r['row'] for r in results)]
    if missing:
        raise SystemExit(f"not written: of these rows nothing is known yet: {', '.join(missing)}")
    readme = os.path.join(HERE, '..', 'README.md')
    for name, wanted in ('faults', False), ('cluster-faults', True):
        those = [r for r in results if (r['row'] in CLUSTER) == wanted]
        when = '; '.join(sorted({r['conditions'] for r in those}))
        write_between_markers(readme, name, f'{when}.\n\n{table(those)}')
    fenced = [r for r in results if 'overlap_ms' in r]
    if fenced:
        write_between_markers(os.path.join(HERE, '..', '..', 'include', 'guarantees.md'), 'fences', fences(fenced))


def parse_arguments():
    parser = argparse.ArgumentParser(prog='tests/faults/run.sh', description=__doc__)
    parser.add_argument('--row', action='append', metavar='NAME', help='this row alone; may be given several times')
    parser.add_argument('--some', default='1+0', metavar='N+K', help='of the rows one in N, from the Kth on (0xK, too)')
    parser.add_argument('--long', action='store_true', help='also the rows that are not run otherwise')
    parser.add_argument('--list', action='store_true', help='names the rows and ends')
    parser.add_argument('--seconds', type=float, default=2.0, metavar='N', help='how long a fault lasts (default 2)')
    parser.add_argument('--staleness', type=int, default=500, metavar='MS', help='the bound (default 500)')
    parser.add_argument('--parallel', type=int, default=4, metavar='N', help='rows at a time (default 4)')
    parser.add_argument('--seed', type=int, default=0, metavar='N', help='of the row random (default: the time)')
    parser.add_argument('--times', type=int, default=1, metavar='N', help='runs all of it so often, and shows the worst of each row')
    parser.add_argument('--write', action='store_true',
                        help='writes the tables into tests/README.md and include/guarantees.md, of all rows that ran with this --out')
    parser.add_argument('--out', default='.', help='where histories and results.json go')
    parser.add_argument('--build', default='.', help='where the programs are; nothing is built then')
    parser.add_argument('--one', help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    unknown = [name for name in arguments.row or () if name not in ROWS]
    if unknown:
        parser.error(f"there is no row {', '.join(unknown)}; see --list")
    if arguments.seconds < 3 * arguments.staleness / 1000 or arguments.parallel < 1:
        parser.error('a fault lasts at least three times the bound, and at least one row runs at a time')
    return arguments


def main():
    arguments = parse_arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if arguments.one:
        return run_row(arguments.one, arguments)
    if arguments.list:
        print('\n'.join(f'{row.name:<17} {row.about}' for row in ROWS.values()))
        return 0
    os.makedirs(arguments.out, exist_ok=True)
    began = time.monotonic()
    # One directory for all, so that it goes whatever happens to the rows, which put theirs into it.
    with tempfile.TemporaryDirectory(prefix='lkf-', ignore_cleanup_errors=True) as scratch:
        os.environ['TMPDIR'] = scratch
        test_the_tests(arguments)
        n, k = (int(number, 0) for number in arguments.some.split('+'))
        names = arguments.row or [name for name, row in ROWS.items() if arguments.long or not row.long][k % n::n]
        runs = [run_rows(names, arguments) for _ in range(arguments.times)]
    results = [worst(of_one) for of_one in zip(*runs)]
    everything = known(arguments, results)
    with open(os.path.join(arguments.out, 'results.json'), 'w', encoding='ascii') as file:
        json.dump(everything, file, indent=1)
    failed = sum(bool(r['failure']) for r in results)
    print('\n' + table(results) + '\n')
    if arguments.write:
        write_tables(everything)
    print(f'{len(results) - failed} rows passed, {failed} failed, in {time.monotonic() - began:.0f} s')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
