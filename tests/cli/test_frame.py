#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The frame of the command: help, version, wrong command lines, exit codes, output."""
import glob
import os
import re
import subprocess

import kit
from kit import DONE, USAGE, FAILED, run


def command_names():
    return re.findall(r'^  ([a-z-]+) ', run('--help').out.split('Commands:')[1], re.M)


class Frame(kit.Case):
    def test_version_is_the_librarys(self):
        with open(f'{kit.ROOT}/include/latchkey.h', encoding='ascii') as header:
            wanted = '.'.join(re.findall(r'#define LATCHKEY_VERSION_[A-Z]+ (\d+)', header.read()))
        self.assertEqual(f'latchkey {wanted}\n', self.check(run('--version'), DONE).out)

    def test_help_of_the_whole_and_of_each(self):
        self.check(run('--help'), DONE, 'LATCHKEY_CONFIG', 'keygen')
        self.assertIn('keygen', command_names())
        for name in command_names():
            said = self.check(run(name, '--help'), DONE, f'usage: latchkey {name}', '--json').out
            self.assertEqual(said, run('--help', name).out)
            self.assertEqual(said, run(name, '-h').out)
            self.assertLessEqual(max(len(line) for line in said.splitlines()), 120)

    def test_every_command_and_its_options_stand_in_the_manual_page(self):
        with open(f'{kit.ROOT}/src/cli/latchkey.1', encoding='ascii') as page:
            manual = page.read()
        with open(f'{kit.ROOT}/src/cli/README.md', encoding='utf-8') as file:
            readme = file.read()
        self.assertEqual(set(command_names()), set(re.findall(r'^\.It Cm ([a-z-]+)', manual, re.M)))
        common, known = set(re.findall(r'Fl -([a-z-]+)', manual.split('.Sh COMMANDS')[0])), set()
        for name in command_names():
            with self.subTest(name):
                described = re.findall(rf'^\.It Cm {name}(?: .*?)?\n.*?(?=^\.It Cm [a-z]+|^\.Sh)', manual, re.M | re.S)
                self.assertTrue(described, f'{name} is not in the manual page')
                said = run(name, '--help').out
                options = set(re.findall(r'^  --([a-z-]+)', said, re.M))
                known |= options
                own, page = options - common, ''.join(described)
                # The page describes no other options, and both usages name all but the common ones.
                self.assertEqual(own, set(re.findall(r'Fl -([a-z-]+)', page)) - common)
                self.assertEqual(own, set(re.findall(r'--([a-z-]+)', said.split('\n\n')[0])))
                self.assertEqual(own, set(re.findall(r'Fl -([a-z-]+)', ''.join(re.findall(r'^\.It Cm .*', page, re.M)))))
                self.assertRegex(readme, rf'\n\| [^|]*`(?:latchkey )?{name}`[^|]* \|')
                exits = [set(re.findall(r'[Ee]xit(?: status)? ([1-5])', text)) for text in (said, page)]
                self.assertEqual(*exits)
        self.assertEqual(set(), set(re.findall(r'`--([a-z-]+)', readme)) - known)

    def test_the_manual_page_is_in_order(self):
        done = subprocess.run(['groff', '-mandoc', '-ww', '-z', '-Tutf8', f'{kit.ROOT}/src/cli/latchkey.1'],
                              capture_output=True, text=True, check=False)
        self.assertEqual((0, ''), (done.returncode, done.stderr))

    def test_wrong_command_lines(self):
        for words in ((), ('no-such-command',), ('--no-such-option',), ('keygen', '--no-such-option', 'check'),
                      ('keygen', 'check', '--file'), ('keygen', 'check', '--json=yes'), ('keygen', 'check', 'check'),
                      ('keygen', 'check', '-x'), ('keygen', '--', '--json'), ('\x1b]0;title\x07',), ('--config',),
                      ('revoke', '--user', '--yes'), ('revoke', '--user', 'a', '--user', 'b', '--yes'),
                      ('revoke', '--user=a', '--user=a'), ('keygen', 'check', '--file', '--yes')):
            said = self.check(run(*words), USAGE)
            self.assertEqual(words.count('--user') == 2 or '--user=a' in words, 'is given twice' in said.err)
            self.assertEqual('', said.out)
            self.assertTrue(said.err.startswith(('latchkey: ', 'usage: latchkey ')), said.err)
            self.check_printable(said)

    def test_a_secret_in_the_wrong_place_is_not_repeated(self):
        url, token = 'redis://app:hunter2-hunter2@127.0.0.1:1/0', 'EC8OXLmQ4waFFkbgU8_IhunterZhunterZhunterZxy'
        key = 'hunter2'.encode().hex() * 4
        shown = {url: 'hunter2', token: 'hunterZ', key: key[:14]}
        for secret, part in shown.items():
            for name in command_names():
                options = re.findall(r'^  --([a-z-]+) [A-Z]', run(name, '--help').out.split('Options of every')[0], re.M)
                lines = [(secret,), (f'--{secret}',), (f'--{secret}=x',), (f'-{secret}',), (name, secret), (name, secret, secret),
                         (name, f'--{secret}'), (name, '7', secret), (name, 'check', secret), (name, f'--json={secret}'),
                         (name, f'-{secret}'), ('--', secret), (name, '7', '--config', secret), *((name, f'--{option}', secret) for option in options),
                         *((name, 'check', f'--{option}', secret) for option in options)]
                for words in lines:
                    for more in ((), ('--json',)):
                        said = run(*words, *more)
                        if words[:3] == ('keygen', 'check', '--file') and said.code == DONE:
                            os.remove(secret)  # a key or a token is a name as good as any
                            continue
                        self.assertNotEqual(DONE, said.code, words)
                        self.assertNotIn(part, said.text, words)

    def test_all_that_is_said_goes_through_one_function(self):
        """cli_say and json.c write printable ASCII alone; a printf somewhere else would not."""
        wild = []
        for path in glob.glob(f'{kit.ROOT}/src/cli/**/*.c', recursive=True):
            if os.path.basename(path) in ('text.c', 'json.c'):
                continue
            with open(path, encoding='ascii') as file:
                for number, line in enumerate(file, 1):
                    if re.search(r'(?<![a-z_])(v?f?printf|f?puts|f?putc|putchar|fwrite)\(', line) and 'puts("\\033' not in line \
                       and 'puts("\\r\\033[K"' not in line and 'fprintf(file,' not in line:
                        wild.append(f'{path}:{number}: {line.strip()}')
        self.assertEqual([], wild)

    def test_who_refuses_a_connection_is_named(self):
        port = kit.refusing_port()
        for url, who in ((f'redis://127.0.0.1:{port}', f'127.0.0.1:{port}'), (f'redis://localhost:{port}', f'localhost:{port}'),
                         (f'redis://[::1]:{port}', f'[::1]:{port}'), ('unix:///nowhere/redis.sock', '/nowhere/redis.sock')):
            for words in (('list', '7'), ('status',), ('doctor',), ('top', '--once')):
                self.check(run(*words, config=url), kit.AWAY, f'cannot connect to Redis at {who}: ')

    def test_numbers_do_not_depend_on_the_locale(self):
        """Without setlocale a program writes and reads as in C, wherever it runs: 0.5 is never 0,5."""
        for path in glob.glob(f'{kit.ROOT}/src/**/*.c', recursive=True):
            with open(path, encoding='utf-8') as file:
                self.assertNotRegex(file.read(), r'\bsetlocale\b', path)

    def test_errors_are_json_where_that_was_asked_for(self):
        for words in (('--json', 'no-such-command'), ('no-such-command', '--json'), ('keygen', 'x', '--json')):
            self.assertEqual(USAGE, self.check(run(*words), USAGE).value['exit'])

    def test_output_that_cannot_be_written_is_no_success(self):
        with open('/dev/full', 'w', encoding='ascii') as full:
            for words in (('--help',), ('--version',), ('keygen', 'check')):
                done = subprocess.run([kit.COMMAND, *words], stdout=full, stderr=subprocess.PIPE, check=False)
                self.assertEqual(FAILED, done.returncode)
                self.assertIn(b'could not be written', done.stderr)


if __name__ == '__main__':
    kit.main()
