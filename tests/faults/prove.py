#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Can the rows fail? Breaks one thing after the other in a copy of the source, and runs the rows on it.

  prove.py [--mutant NAME]... [--row NAME]... [--parallel N] [--write] [--list]

Each mutant must be caught by at least one row; what caught it is printed as a table. With --list: do they still apply? The repository is left alone, but for
README.md's table with --write; what earlier runs found of other mutants (build-faults/prove.json) stays in it."""
import argparse
import collections
import json
import os
import shutil
import subprocess
import sys
import tempfile

from run import write_between_markers

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
SHOWN = 7  # rows named in a line of the table
Mutant = collections.namedtuple('Mutant', 'name what file old new')
MUTANTS = [
    Mutant('lease-ignored', 'L1 answers whatever became of the lease', 'src/session/hit.h',
           'now < lease_until', '1'),
    Mutant('answers-unvouched', 'an answer of Redis is given whosever lease there is', 'src/l2/lease.c',
           'int status = lk_lease_covers_since_now(book, partition, incarnation, since_ms), late = 0;', 'int status = LATCHKEY_OK, late = 0;'),
    Mutant('not-reasserted', 'a server that forgot revocations is not told of them', 'src/l2/link_tell.c',
           'if (link->fresh) list_assertions(link, lk_link_those(link, is_fresh), now_ms);', ''),
    Mutant('message-ignored', 'a revocation that was heard, or read in the log, purges nothing', 'src/l2/link_replay.c',
           'link->l1.purge(link->l1.context, word);', ''),
    Mutant('ended-not-denied', 'what is remembered as ended is not denied until the server was told', 'src/revocation/pending.c',
           'return ended(p, token->text) || lk_pending_holds', 'return lk_pending_holds'),
    Mutant('gap-ignored', 'a gap in the numbers keeps no lease back', 'src/l2/link_beat.c',
           'if (!lk_link_complete(link, now_ms)) return; /*', '/*'),
    Mutant('log-ignored', 'what is read in the log is counted, not applied', 'src/l2/link_replay.c',
           'if (number == before) return LOG_GOES_ON;', 'if (number >= before) return LOG_GOES_ON;'),
    Mutant('nothing-emptied', 'L1 is never emptied', 'src/l2/link_replay.c',
           'link->l1.empty(link->l1.context, of);', ''),
    Mutant('nothing-denied', 'what this process revoked is not denied while Redis does not confirm',
           'src/session/vouched_read.c', 'bool denied = lk_pending_has(lk->pending, token);', 'bool denied = false;'),
    Mutant('ticket-ignored', 'a read that began before a revocation fills L1 after it', 'src/session/read.c',
           'lk_l1_put(lk->l1, vouch->ticket, token', 'lk_l1_put(lk->l1, lk_l1_ticket(lk->l1, token->text), token'),
    Mutant('no-answer-is-no', 'losing Redis answers NOT_FOUND', 'src/l2/l2.c',
           'status = status == LATCHKEY_NO_MEMORY ? status : LATCHKEY_UNAVAILABLE;', 'status = LATCHKEY_NOT_FOUND;'),
    Mutant('wall-clock', 'durations are measured on the wall clock', 'src/base/clock.h',
           'lk_clock_read(CLOCK_MONOTONIC, 1', 'lk_clock_read(CLOCK_REALTIME, 1'),
    Mutant('naming-ignored', 'a lease needs no sentinel, and no replica', 'src/l2/node_side.c',
           'if (node->config->durability || lk_naming_vouched', 'if (true || lk_naming_vouched'),
    Mutant('replicas-ignored', 'what too few replicas hold is confirmed', 'src/l2/l2_scripts.c',
           'if (held->type == LK_REPLY_INTEGER && held->integer >= most) return LATCHKEY_OK;', 'if (held && most) return LATCHKEY_OK;'),
    Mutant('one-sentinel-decides', 'what one sentinel names is believed', 'src/l2/naming.c',
           'return 2 * count > n->listed;', 'return count > 0;'),
    Mutant('not-probed', 'a script does not ask first whether the slot moves', 'src/redis/lua/common.lua',
           "if sharded and try('EXISTS'", "if false and try('EXISTS'"),
    Mutant('life-ignored', 'L1 does not look at the expiry of what it holds', 'src/session/hit.h',
           'now < found->due_ms', '1'),
]


def run(argv, **options):
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **options)
    return done.returncode, done.stdout


def must(argv):
    status, said = run(argv)
    if status:
        raise SystemExit(f'{said}\n{" ".join(argv)}: status {status}')


def broken(mutant, source):
    with open(os.path.join(source, mutant.file), encoding='utf-8') as file:
        text = file.read()
    if mutant.old not in text:
        raise SystemExit(f'{mutant.name}: {mutant.file} does not hold any more: {mutant.old}')
    return text.replace(mutant.old, mutant.new)


def break_it(mutant, source):
    text = broken(mutant, source)
    with open(os.path.join(source, mutant.file), 'w', encoding='utf-8') as file:
        file.write(text)


def build(source):
    must(['cmake', '-S', source, '-B', source + '/build', '-DLATCHKEY_TESTS=ON', '-DCMAKE_C_FLAGS=-w'])
    must(['cmake', '--build', source + '/build', '--parallel', str(os.cpu_count()),
          '--target', 'latchkey_fault_proxy', '--target', 'latchkey_fault_instance'])


def caught_by(source, rows, parallel):
    out = os.path.join(source, 'results')
    argv = [sys.executable, os.path.join(HERE, 'run.py'), '--build', source + '/build/tests/faults', '--out', out,
            '--parallel', str(parallel)]
    _, said = run(argv + [word for row in rows for word in ('--row', row)])
    if not os.path.exists(os.path.join(out, 'results.json')):
        raise SystemExit(said)
    with open(os.path.join(out, 'results.json'), encoding='ascii') as file:
        results = json.load(file)
    return [f"`{r['row']}` ({r['failure'][:40]})" for r in results if r['failure']]


def parse_arguments():
    names = [mutant.name for mutant in MUTANTS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--mutant', action='append', choices=names, metavar='NAME', help='this one alone')
    parser.add_argument('--row', action='append', default=[], metavar='NAME', help='on these rows alone')
    parser.add_argument('--parallel', type=int, default=3)
    parser.add_argument('--write', action='store_true', help='writes the table into README.md')
    parser.add_argument('--list', action='store_true')
    return parser.parse_args()


def try_mutant(mutant, arguments):
    with tempfile.TemporaryDirectory(prefix='lkp-') as scratch:
        source = os.path.join(scratch, 's')
        shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns('.git', 'build*'))
        break_it(mutant, source)
        build(source)
        return caught_by(source, arguments.row, arguments.parallel)


def table_line(mutant, caught):
    more = f', and {len(caught) - SHOWN} more' if len(caught) > SHOWN else ''
    return f"| `{mutant.name}`: {mutant.what} | {', '.join(caught[:SHOWN]) or 'NOTHING'}{more} |"


def remember(found):
    """With what earlier runs found."""
    path = os.path.join(ROOT, 'build-faults', 'prove.json')
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if os.path.exists(path):
        with open(path, encoding='ascii') as file:
            found = {**json.load(file), **found}
    with open(path, 'w', encoding='ascii') as file:
        json.dump(found, file, indent=1)
    return found


def main():
    arguments, found = parse_arguments(), {}
    for mutant in MUTANTS:
        broken(mutant, ROOT)
    if arguments.list:
        print('\n'.join(f'{mutant.name:<17} {mutant.what}' for mutant in MUTANTS))
        return 0
    for mutant in MUTANTS:
        if arguments.mutant and mutant.name not in arguments.mutant:
            continue
        found[mutant.name] = try_mutant(mutant, arguments)
        print(table_line(mutant, found[mutant.name]), flush=True)
    known = remember(found)
    lines = [table_line(mutant, known[mutant.name]) for mutant in MUTANTS if mutant.name in known]
    if arguments.write:
        table = ['| broken on purpose | caught by |', '|---|---|', *lines]
        write_between_markers(os.path.join(HERE, 'README.md'), 'prove', '\n'.join(table))
    return 0 if all(found.values()) else 1


if __name__ == '__main__':
    sys.exit(main())
