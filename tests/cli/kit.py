# SPDX-License-Identifier: MIT
"""What the tests of the command share: a private Redis, an application with sessions, the command itself, a terminal."""
import concurrent.futures
import contextlib
import itertools
import json
import os
import pty
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

COMMAND = os.environ['LATCHKEY_COMMAND']
APP = os.environ['LATCHKEY_APP']
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PATIENCE_S = 60
OPTIONS = 'deadline_ms=20000&staleness_ms=4000'  # a slow machine is no failure
DONE, NO, USAGE, AWAY, CONFIG, FAILED = range(6)
with open(f'{ROOT}/src/redis/acl.txt', encoding='ascii') as file: # what each user is granted, but for its password
    ACL = {line.split()[1]: line.split()[4:] for line in file}


def wait_for(what, condition):
    until = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > until:
            raise AssertionError(f'waited in vain until {what}')
        time.sleep(0.01)


HELD = []


def free_port():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


def refusing_port():
    """No process listens there, nor will while this one lives."""
    held = socket.socket()
    held.bind(('127.0.0.1', 0))
    HELD.append(held)
    return held.getsockname()[1]


class Redis:
    """A server of its own, on a unix socket and on loopback. Use with `with`."""
    GOOD = ['--appendonly', 'yes', '--appendfsync', 'always', '--maxmemory', '100mb', '--maxmemory-policy', 'noeviction',
            '--save', '', '--lazyfree-lazy-expire', 'yes', '--rdbcompression', 'no']  # compressed twice, a value has two dumps

    def __init__(self, *arguments, good=True, before=(), admin=None, preexec=None):
        self.admin, self.preexec = admin, preexec
        arguments = [*arguments, *(['--requirepass', admin] if admin else [])]
        self.dir = tempfile.mkdtemp(prefix='latchkey-cli-')
        self.socket = os.path.join(self.dir, 's')
        self.port = None
        self.argv = [*before, 'redis-server', '--unixsocket', self.socket, '--port', '', '--dir', self.dir,
                     *(self.GOOD if good else []), *arguments]
        for left in range(4, -1, -1): # another may be quicker to take the port
            self.port = free_port()
            self.argv[self.argv.index('--port') + 1] = str(self.port)
            try:
                self.boot()
                break
            except BaseException:
                if left:
                    continue
                self.__exit__()
                raise

    def launch(self):
        with open(os.path.join(self.dir, 'log'), 'ab') as log:
            self.process = subprocess.Popen(self.argv, stdout=log, stderr=log, start_new_session=True,
                                            preexec_fn=self.preexec)

    def boot(self):
        self.launch()
        wait_for('redis-server listens', lambda: self.process.poll() is not None or self.cli('PING', check=False) == 'PONG')
        if self.process.poll() is not None:
            with open(os.path.join(self.dir, 'log'), encoding='utf-8', errors='replace') as log:
                raise AssertionError('redis-server does not start:\n' + log.read())

    def cli(self, *words, check=True):
        argv = ['redis-cli', '-s', self.socket, *(['--no-auth-warning', '-a', self.admin] if self.admin else []), *words]
        done = subprocess.run(argv, capture_output=True, encoding='latin-1', timeout=PATIENCE_S, check=False)
        if check and done.returncode:
            raise AssertionError(f'redis-cli {words}: {done.stdout}{done.stderr}')
        return done.stdout.strip() if done.returncode == 0 else ''

    def cli_many(self, lines):
        """Commands in one process of redis-cli; an answer a line."""
        argv = ['redis-cli', '-s', self.socket, *(['--no-auth-warning', '-a', self.admin] if self.admin else [])]
        done = subprocess.run(argv, input='\n'.join(lines), capture_output=True, encoding='latin-1', timeout=PATIENCE_S, check=True)
        return done.stdout.strip().split('\n')

    def url(self, credentials='', options='', tcp=False):
        where = f'127.0.0.1:{self.port}' if tcp else self.socket
        return f'{"redis" if tcp else "unix"}://{credentials}{where}?{OPTIONS}{"&" + options if options else ""}'

    def kill(self):
        self.process.kill()
        self.process.wait()

    @contextlib.contextmanager
    def frozen(self):
        """It stands still, with its connections open."""
        self.process.send_signal(signal.SIGSTOP)
        wait_for('it stands still', lambda: os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WNOHANG | os.WNOWAIT))
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.kill()
        shutil.rmtree(self.dir, ignore_errors=True)


class Cluster:
    """A Redis Cluster of primaries, and of replicas behind them, each a server of its own. Use with `with`."""

    def __init__(self, *arguments, primaries=3, replicas=0, admin=None, node_timeout_ms=1000, shares=None):
        self.stack, self.nodes = contextlib.ExitStack(), []
        count = primaries * (1 + replicas)
        for _ in range(count):
            for left in range(4, -1, -1): # the port of the bus may be another's
                bus = free_port()
                try:
                    node = Redis(*arguments, '--cluster-enabled', 'yes', '--cluster-port', str(bus), '--cluster-node-timeout',
                                 str(node_timeout_ms), '--cluster-config-file', 'nodes', good=False, admin=admin)
                    break
                except AssertionError:
                    if not left:
                        self.stack.close()
                        raise
            node.bus = bus
            self.nodes.append(self.stack.enter_context(node))
        try:
            self.join(primaries, shares)
        except BaseException:
            self.stack.close()
            raise

    def join(self, primaries, shares):
        share = 16384 // primaries + 1
        shares = shares or [(i * share, min((i + 1) * share, 16384) - 1) for i in range(primaries)]
        for i, node in enumerate(self.nodes):
            if i < primaries:
                node.cli('CLUSTER', 'ADDSLOTSRANGE', *map(str, shares[i]))
            node.cli('CLUSTER', 'SET-CONFIG-EPOCH', str(i + 1))
            if i:
                node.cli('CLUSTER', 'MEET', '127.0.0.1', str(self.nodes[0].port), str(self.nodes[0].bus))
        for node in self.nodes:
            wait_for('all nodes know each other', lambda: node.cli('CLUSTER', 'NODES').count('connected') >= len(self.nodes) and
                     'handshake' not in node.cli('CLUSTER', 'NODES'))
        for i, node in enumerate(self.nodes[primaries:]):
            of = self.nodes[i % primaries].cli('CLUSTER', 'MYID')
            wait_for('it replicates', lambda: node.cli('CLUSTER', 'REPLICATE', of, check=False) == 'OK')
        for node in self.nodes:
            wait_for('the cluster agrees', lambda: 'cluster_state:ok' in node.cli('CLUSTER', 'INFO') and
                     (len(self.nodes) == 1 or node.cli('CLUSTER', 'SLOTS').count('127.0.0.1') == len(self.nodes)))

    def url(self, credentials='', options=''):
        nodes = ','.join(f'127.0.0.1:{node.port}' for node in self.nodes)
        return f'redis+cluster://{credentials}{nodes}?{OPTIONS}{"&" + options if options else ""}'

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stack.close()


class App:
    """An instance with sessions of its own. Use with `with`."""

    def __init__(self, config):
        self.process = subprocess.Popen([APP, config], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def order(self, *words):
        self.process.stdin.write(' '.join(str(word) for word in words) + '\n')
        self.process.stdin.flush()
        status, _, token = self.process.stdout.readline().rstrip('\n').partition(' ')
        return int(status), token

    def create(self, user, role=b'', device=0, idle_ms=0, lifetime_ms=0, fields=None):
        words = [word for name, value in (fields or {}).items() for word in (name, value.hex() or '-')]
        status, token = self.order('create', user, idle_ms, lifetime_ms, device, role.hex() or '-', *words)
        assert status == 0, f'create: {status}'
        return token

    def rotate(self, token, grace_ms=0):
        status, new = self.order('rotate', token, grace_ms)
        assert status == 0, f'rotate: {status}'
        return new

    def validate(self, token):
        return self.order('validate', token)[0]

    def __enter__(self):
        self.validate('x') # it has opened its handle
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.stdout.close()
        assert self.process.wait(PATIENCE_S) == 0


class Talker:
    """A server that says the same whatever it is asked. Use with `with`."""

    def __init__(self, words):
        self.words = words
        self.listening = socket.create_server(('127.0.0.1', 0))
        self.port = self.listening.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        kept = []
        while True:
            try:
                kept.append(self.listening.accept()[0])
                kept[-1].sendall(self.words)
            except OSError:
                break
        for connection in kept:
            connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listening.close()


class Proxy:
    """A wire to a server: each answer comes late, and may be changed on the way. `lose`: what is asked so is carried out once, and the
    connection is cut in place of the answer. Use with `with`."""

    def __init__(self, path, delay_s=0, change=lambda answer: answer, lose=None):
        self.path, self.delay_s, self.change, self.lose = path, delay_s, change, lose
        self.listening = socket.create_server(('127.0.0.1', 0))
        self.port = self.listening.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                client = self.listening.accept()[0]
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            server.connect(self.path)
            asked, answered = self.both()
            threading.Thread(target=self.pump, args=(client, server, 0, asked), daemon=True).start()
            threading.Thread(target=self.pump, args=(server, client, self.delay_s, answered), daemon=True).start()

    def both(self):
        cut = []

        def asked(words):
            if self.lose and self.lose in words:
                self.lose = None
                cut.append(True)
            return words

        def answered(words):
            if cut:
                raise OSError
            return self.change(words)
        return asked, answered

    @staticmethod
    def pump(source, target, delay_s, change):
        try:
            while words := source.recv(1 << 20):
                time.sleep(delay_s)
                target.sendall(change(words))
        except OSError:
            pass
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listening.close()


class Turns:
    """A balancer: each connection leads to the next of these servers. `silent_on`: what is asked so, and all after it, is lost.
    Use with `with`."""

    def __init__(self, servers, silent_on=None):
        self.ports, self.silent_on = [server.port for server in servers], silent_on
        self.listening = socket.create_server(('127.0.0.1', 0))
        self.port = self.listening.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        for turn in itertools.count():
            try:
                client = self.listening.accept()[0]
            except OSError:
                return
            server = socket.create_connection(('127.0.0.1', self.ports[turn % len(self.ports)]))
            threading.Thread(target=Proxy.pump, args=(client, server, 0, self.filter()), daemon=True).start()
            threading.Thread(target=Proxy.pump, args=(server, client, 0, lambda words: words), daemon=True).start()

    def filter(self):
        lost = [False]

        def change(words):
            lost[0] |= self.silent_on is not None and self.silent_on in words
            return b'' if lost[0] else words
        return change

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listening.close()


class Outcome:
    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    @property
    def text(self):
        return self.out + self.err

    @property
    def value(self):
        """The one JSON value on standard output."""
        return json.loads(self.out)

    @property
    def values(self):
        return [json.loads(line) for line in self.out.splitlines()]


def environment(config):
    env = {name: value for name, value in os.environ.items() if not name.startswith('LATCHKEY_')}
    if config:
        env['LATCHKEY_CONFIG'] = config
    return env


def run(*words, config=None, stdin=subprocess.DEVNULL):
    """The command, without a terminal."""
    done = subprocess.run([COMMAND, *words], env=environment(config), stdin=stdin, capture_output=True,
                          timeout=PATIENCE_S, check=False)
    return Outcome(done.returncode, done.stdout.decode(), done.stderr.decode())


def at_once(config, *commands):
    """Several commands side by side: where they wait, they wait together."""
    with concurrent.futures.ThreadPoolExecutor(len(commands)) as pool:
        return list(pool.map(lambda words: run(*words, config=config), commands))


def run_on_terminal(*words, config=None, answer=None, progress=False):
    """The command on a terminal, where a question is answered. Returns the exit code and all that was shown; with `progress` also
    what replaced itself."""
    child, terminal = pty.fork()
    if child == 0:
        os.execve(COMMAND, [COMMAND, *words], environment(config))
    shown, until = b'', time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        if not select.select([terminal], [], [], 1)[0]:
            continue
        try:
            shown += os.read(terminal, 65536)
        except OSError:  # the child is gone
            break
        if answer is not None and b'[y/N] ' in shown:
            os.write(terminal, answer.encode() + b'\n')
            answer = None
    os.close(terminal)
    shown = shown.decode().replace('\r\n', '\n')
    if not progress:
        shown = re.sub(r'[^\n]*\r\x1b\[K', '', shown)  # progress, and how it is taken back
    return Outcome(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), shown, '')


class Case(unittest.TestCase):
    maxDiff = None

    def check(self, outcome, code, *contained):
        self.assertEqual(code, outcome.code, outcome.text)
        for text in contained:
            self.assertIn(text, outcome.text)
        return outcome

    def until(self, holds, *words, config):
        """What the command says, once that holds: beats may come late, and a command does not wait for them for ever."""
        said = []

        def look():
            said[:] = [run(*words, config=config)]
            return holds(said[0])
        try:
            wait_for('it says so', look)
        except AssertionError:
            self.fail(f'latchkey {" ".join(words)} goes on saying: {said[0].text}')
        return said[0]

    def check_printable(self, outcome):
        """Nothing that a terminal obeys."""
        bad = [c for c in outcome.text if c != '\n' and not ' ' <= c <= '~']
        self.assertEqual([], bad, repr(outcome.text[:2000]))


def main():
    """Runs the tests of the file, and counts them as the others of the build are counted."""
    result = unittest.main(exit=False, verbosity=2, warnings='ignore').result
    failed = len(result.failures) + len(result.errors) + len(result.skipped) + len(result.unexpectedSuccesses)
    print(f'[  PASSED  ] {result.testsRun - failed} test(s).')
    if failed or not result.testsRun:
        print(f'[  FAILED  ] {max(failed, 1)} test(s), listed below:')
        sys.exit(1)
