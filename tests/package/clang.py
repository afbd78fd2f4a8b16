#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Does clang find a warning in what gcc compiled? Only clang's front end runs, which is where its warnings come from.

    clang.py BUILD [N+K]      (a build directory with a compile_commands.json)

N+K: of what is not in src one in N, from the Kth on.
"""
import json
import os
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

SRC = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), 'src', '')


def look(entry):
    words = shlex.split(entry['command'])
    while os.path.basename(words[0]) == 'ccache':
        words.pop(0)
    at = words.index('-o')
    compiler = 'clang++' if entry['file'].endswith('.cpp') else 'clang'
    # What only gcc knows is passed over. NDEBUG: what only an assert uses shows as unused.
    command = [compiler, '-fsyntax-only', '-Werror', '-DNDEBUG', '-Wno-unknown-warning-option'] + words[1:at] + words[at + 2:]
    done = subprocess.run(command, cwd=entry['directory'], text=True, capture_output=True, check=False)
    return done.returncode == 0, done.stdout + done.stderr


def main():
    if len(sys.argv) not in (2, 3) or sys.argv[1].startswith('-'):
        sys.exit(__doc__.strip())
    n, k = (int(number, 0) for number in (sys.argv[2] if len(sys.argv) > 2 else '1+0').split('+'))
    with open(os.path.join(sys.argv[1], 'compile_commands.json'), encoding='utf-8') as file:
        entries = json.load(file)
    ours = [entry for entry in entries if entry['file'].startswith(SRC)]
    others = [entry for entry in entries if not entry['file'].startswith(SRC)]
    entries = ours + others[k % n::n]
    failed = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for number, (good, said) in enumerate(pool.map(look, entries), 1):
            failed += not good
            sys.stdout.write(said)
            if number % 20 == 0:
                print(f'[{number}/{len(entries)}]', flush=True)
    print(f'{len(entries) - failed} files compile without a warning, {failed} do not')
    return failed > 0 or not ours


if __name__ == '__main__':
    sys.exit(main())
