#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""src/cli/README.md: what is typed there is typed here, and what comes of it looks as it does there, but for names, times
and numbers."""
import re

import kit
from test_doctor import ACL, ADMIN, Server

USER = 7


def transcript():
    """(command, what it wrote), in order."""
    with open(f'{kit.ROOT}/src/cli/README.md', encoding='utf-8') as file:
        section = file.read()
    (block,) = re.findall(r'^```console\n(.*?)^```', section, re.M | re.S)
    return [(part.split('\n', 1)[0], part.split('\n', 1)[1]) for part in re.split(r'^\$ ', block, flags=re.M)[1:]]


def shape(text):
    for pattern, name in ((r'(?<![\w-])[E-H][\w-]{19}(?![\w-])', 'SELECTOR'), (r'\b[0-9a-f]{64}\b', 'HASH'), (r'\d{4}-\d\d-\d\d \S+Z', 'TIME'),
                          (r'\bnow\b|\d+ (s|min|h) ago|in \d+ (s|min|h)', 'WHEN'), (r'\d+\.\d+\.\d+', 'VERSION'),
                          (r'[+-]?\d+\.\d+(?= m?s)', 'NUMBER'), (r'\d+(?= keys)', 'NUMBER'), (r'[ \t]+', ' ')):
        text = re.sub(pattern, name, text)
    return text.strip().splitlines()


class Readme(kit.Case):
    def test_the_transcript(self):
        parts = transcript()
        self.assertEqual(['list', 'show', 'revoke', 'doctor'], [line.split()[1] for line, _ in parts[1:]])
        self.assertIn('LATCHKEY_CONFIG=', parts[0][0])
        with Server('--appendonly', 'no') as server, kit.App(server.config()) as app:
            app.create(USER)
            token = app.create(USER, b'member', 1, fields={'pq.mlkem768': b'k' * 1184})
            for line, wanted in parts[1:]:
                words = line.split()[1:]
                if words[0] == 'show':
                    words[1] = token[:20]
                if '--admin' in words:
                    words[words.index('--admin') + 1] = server.url(f':{ADMIN}@')
                said = kit.run_on_terminal(*words, config=server.config(), answer='y')
                rows = [line for line in shape(said.out)], shape(wanted)
                if words[0] == 'list':  # the two may come in any order
                    rows = sorted(rows[0]), sorted(rows[1])
                self.assertEqual(rows[1], rows[0], said.out)


if __name__ == '__main__':
    kit.main()
