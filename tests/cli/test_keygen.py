#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""latchkey keygen: keys, files of them, and going over to a new one while sessions live."""
import os
import re
import stat
import subprocess
import tempfile

import kit
from kit import DONE, NO, USAGE, FAILED, run

KEY = re.compile(r'[0-9a-f]{32}')


class Keygen(kit.Case):
    def setUp(self):
        self.work = tempfile.TemporaryDirectory()
        self.addCleanup(self.work.cleanup)
        self.file = os.path.join(self.work.name, 'keys')

    def lines(self):
        with open(self.file, encoding='ascii') as file:
            return file.read().splitlines()

    def test_a_key_is_printed_and_never_the_same(self):
        keys = {run('keygen', 'check').out for _ in range(8)}
        self.assertEqual(8, len(keys))
        for key in keys:
            self.assertRegex(key, r'^[0-9a-f]{32}\n$')
        self.assertRegex(run('keygen', 'check', '--json').value['key'], KEY)

    def test_a_file_is_its_owners_and_is_not_written_over(self):
        self.check(run('keygen', 'check', '--file', self.file), DONE, '1 key')
        self.assertEqual(0o600, stat.S_IMODE(os.stat(self.file).st_mode))
        before = self.lines()
        self.check(run('keygen', 'check', '--file', self.file), FAILED, '--add')
        self.assertEqual(before, self.lines())
        self.assertEqual(['keys'], os.listdir(self.work.name))

    def test_the_file_is_no_output(self):
        for words in (('--file',), ('--add',), ('--promote',)):
            for more in ((), ('--json',)):
                if words == ('--file',) and os.path.exists(self.file):
                    os.remove(self.file)
                said = self.check(run('keygen', 'check', *words, self.file, *more), DONE)
                for key in self.lines():
                    self.assertNotIn(key, said.text)

    def test_several_at_once_lose_no_key(self):
        for _ in range(60):
            run('keygen', 'check', '--file', self.file)
            several = [subprocess.Popen([kit.COMMAND, 'keygen', 'check', '--add', self.file], stdout=subprocess.DEVNULL,
                                        stderr=subprocess.PIPE, text=True) for _ in range(6)]
            said = [(one.communicate(timeout=kit.PATIENCE_S)[1], one.returncode) for one in several]
            self.assertEqual({DONE, FAILED} | {code for _, code in said}, {DONE, FAILED}, said)
            self.assertEqual(1 + [code for _, code in said].count(DONE), len(self.lines()), said)
            self.assertEqual(['keys'], os.listdir(self.work.name))
            os.remove(self.file)

    def test_add_and_promote_keep_what_is_there(self):
        run('keygen', 'check', '--file', self.file)
        os.chmod(self.file, 0o640)
        (first,) = self.lines()
        with open(self.file, 'w', encoding='ascii') as file:
            file.write(f'# ours\n{first}\n\n')
        self.assertEqual(2, self.check(run('keygen', 'check', '--add', self.file, '--json'), DONE).value['keys'])
        second = self.lines()[-1]
        self.assertEqual(['# ours', first, '', second], self.lines())
        self.check(run('keygen', 'check', '--promote', self.file), DONE, 'the newest key is the first')
        self.assertEqual(['# ours', second], self.lines()[:2])
        self.assertEqual({'# ours', first, '', second}, set(self.lines()))
        self.assertEqual(0o640, stat.S_IMODE(os.stat(self.file).st_mode))
        self.assertEqual(['keys'], os.listdir(self.work.name))

    def test_the_first_key_of_an_empty_file_is_used(self):
        for kind in 'check', 'seal':
            for text in '', '# ours\n':
                with open(self.file, 'w', encoding='ascii') as file:
                    file.write(text)
                said = self.check(run('keygen', kind, '--add', self.file), DONE, 'its first key, which is used; 1 key', 'every instance')
                self.assertNotIn('not used yet', said.text)
                self.check(run('keygen', kind, '--add', self.file), DONE, 'accepted and not used yet; 2 keys')

    def test_a_symbolic_link_stays_one(self):
        """A file of keys is often reached by a link, of a deployment or a secret's volume: what it leads to is replaced."""
        os.mkdir(os.path.join(self.work.name, 'real'))
        real, link = os.path.join(self.work.name, 'real', 'keys'), self.file
        os.symlink('real/keys', link)
        self.check(run('keygen', 'check', '--file', link), FAILED)  # nothing is made at the end of a link
        run('keygen', 'check', '--file', real)
        for how, count in (('--add', 2), ('--promote', 2), ('--add', 3)):
            self.check(run('keygen', 'check', how, link), DONE)
            self.assertEqual('real/keys', os.readlink(link))
            self.assertEqual(count, len(self.lines()))
        self.assertEqual(['keys'], os.listdir(os.path.dirname(real)))

    def test_sessions_live_through_a_change_of_keys(self):
        run('keygen', 'check', '--file', self.file)
        with kit.Redis() as redis:
            config = redis.url(options=f'check_key_file={self.file}')
            with kit.App(config) as app:
                old = app.create(1)
                run('keygen', 'check', '--add', self.file)
                with kit.App(config) as added:
                    self.assertEqual(0, added.validate(old))
                    run('keygen', 'check', '--promote', self.file)
                    with kit.App(config) as promoted:
                        new = promoted.create(1)
                        self.assertEqual([0, 0], [promoted.validate(old), added.validate(new)])
                        self.assertEqual(3, app.validate(new))  # MALFORMED: the key was really another one

    def test_what_is_refused(self):
        self.check(run('keygen'), USAGE, 'usage: latchkey keygen')
        self.check(run('keygen', 'chequer'), USAGE)
        self.check(run('keygen', 'check', '--add', self.file), FAILED, 'No such file')
        self.check(run('keygen', 'check', '--file', self.file, '--add', self.file), USAGE)
        self.check(run('keygen', 'check', '--file', os.path.join(self.work.name, 'no', 'keys')), FAILED)
        run('keygen', 'check', '--file', self.file)
        self.check(run('keygen', 'check', '--promote', self.file), NO, 'second')
        with open(self.file, 'a', encoding='ascii') as file:
            file.write('a password by mistake\n')
        before = self.lines()
        refused = self.check(run('keygen', 'check', '--add', self.file), FAILED, 'line 2')
        self.assertNotIn('password', refused.text)
        self.assertEqual(before, self.lines())

    def test_files_that_are_none_of_keys(self):
        """What is no text, or no file, is not replaced by one; and nothing in it is lost."""
        key = 'a' * 32
        for text in (f'{key}\n{key}\0\n{key}\n', f'{key}\r{key}\r\n', f'{key}\n\x1a', key.encode('utf-16').decode('latin-1')):
            with open(self.file, 'w', encoding='latin-1', newline='') as file:
                file.write(text)
            for how in ('--add', '--promote'):
                self.assertNotIn(key, self.check(run('keygen', 'check', how, self.file), FAILED).text)
                with open(self.file, encoding='latin-1', newline='') as file:
                    self.assertEqual(text, file.read())
        os.mkfifo(f'{self.work.name}/fifo')
        os.mkdir(f'{self.work.name}/directory')
        os.symlink('fifo', f'{self.work.name}/link')
        for path in ('fifo', 'directory', 'link'):
            before = os.lstat(f'{self.work.name}/{path}')
            self.check(run('keygen', 'check', '--add', f'{self.work.name}/{path}'), FAILED)
            self.assertEqual(before.st_ino, os.lstat(f'{self.work.name}/{path}').st_ino)
        self.assertEqual(['directory', 'fifo', 'keys', 'link'], sorted(os.listdir(self.work.name)))
        with open(self.file, 'wb') as file:
            file.write(b'\xef\xbb\xbf' + key.encode() + b'\r\n')
        self.check(run('keygen', 'check', '--add', self.file), DONE, '2 keys')
        self.assertEqual(key, self.lines()[0])

    def test_sixteen_are_the_most(self):
        run('keygen', 'check', '--file', self.file)
        for _ in range(15):
            self.check(run('keygen', 'check', '--add', self.file), DONE)
        self.check(run('keygen', 'check', '--add', self.file), NO, 'the most')
        self.assertEqual(16, len(self.lines()))


if __name__ == '__main__':
    kit.main()
