# SPDX-License-Identifier: MIT
"""What a row is made of: real Redis servers, proxies and instances, each a process of its own, in a directory of its own.

  instance A --- proxy A ---\\
                             Redis --- (wire --- replica --- second replica)
  instance B --- proxy B ---/

or, where sentinels name the primary: no proxies; a primary, two replicas and three sentinels. A cluster: cluster.py.

Everything started here dies with the process that started it, whatever happens to that.
"""
import contextlib
import ctypes
import os
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from island import Island

PATIENCE_S = 60  # until a condition must hold: generous, since the machine may be slow and busy
TICK_MS, PARTITIONS = 10, 8


class Failed(Exception):
    """The row could not be carried out, or its fault was not seen to happen."""


def wait_for(what, condition, patience_s=PATIENCE_S):
    until = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > until:
            raise Failed(f'waited {patience_s} s in vain until {what}')
        time.sleep(0.01)


LIBC = ctypes.CDLL(None)  # loaded here: between fork and exec it may be too late


def die_with_parent():
    LIBC.prctl(1, signal.SIGKILL)


class Process:
    """Ended by its process group, so that what it forked (a BGSAVE's child) ends with it."""

    def __init__(self, name, argv, net=None, **options):
        def prepare():
            die_with_parent()
            if net:
                net.enter()
        self.name = name
        self.popen = subprocess.Popen(argv, preexec_fn=prepare, start_new_session=True, **options)

    def state(self):
        with open(f'/proc/{self.popen.pid}/stat', encoding='ascii', errors='replace') as file:
            return file.read().rpartition(')')[2].split()[0]

    def freeze(self):
        os.kill(self.popen.pid, signal.SIGSTOP)
        wait_for(f'{self.name} has stopped', lambda: self.state() == 'T')

    def thaw(self):
        os.kill(self.popen.pid, signal.SIGCONT)

    def kill(self):
        try:
            os.killpg(self.popen.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.popen.wait()
        for pipe in self.popen.stdin, self.popen.stdout:
            if pipe:
                pipe.close()


class Told(Process):
    """A process that answers each line on its standard input with one line."""

    def __init__(self, name, argv, log, **options):
        with open(log, 'ab') as errors:
            super().__init__(name, argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, **options)
        self.unread = b''

    def answer(self):
        until = time.monotonic() + PATIENCE_S
        while b'\n' not in self.unread:
            if not select.select([self.popen.stdout], [], [], max(0, until - time.monotonic()))[0]:
                raise Failed(f'{self.name} does not answer')
            piece = os.read(self.popen.stdout.fileno(), 65536)
            if not piece:
                raise Failed(f'{self.name} has ended, status {self.popen.wait()}')
            self.unread += piece
        line, _, self.unread = self.unread.partition(b'\n')
        return line.decode()

    def tell(self, line):
        try:
            os.write(self.popen.stdin.fileno(), line.encode() + b'\n')
        except BrokenPipeError:
            raise Failed(f'{self.name} has ended, status {self.popen.wait()}') from None
        return self.answer()


# --------------------------------------------------------------------------------------------------------- Redis --
class RedisError(Exception):
    pass


class Connection:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(PATIENCE_S)
        try:
            self.socket.connect(path)
        except OSError:
            self.socket.close()
            raise
        self.file = self.socket.makefile('rb')

    def close(self):
        self.file.close()
        self.socket.close()

    def read(self):
        line = self.file.readline()
        if not line.endswith(b'\r\n'):
            raise ConnectionError('Redis closed the connection')
        kind, rest = line[:1], line[1:-2]
        if kind == b'+':
            return rest.decode()
        if kind == b'-':
            return RedisError(rest.decode())
        if kind == b':':
            return int(rest)
        if int(rest) < 0:
            return None
        if kind == b'$':
            return self.file.read(int(rest) + 2)[:-2].decode('latin-1')
        return [self.read() for _ in range(int(rest))]

    @staticmethod
    def encoded(words):
        words = [str(word).encode('latin-1') for word in words]
        return b'*%d\r\n' % len(words) + b''.join(b'$%d\r\n%s\r\n' % (len(w), w) for w in words)

    def command(self, *words):
        return self.pipeline([words])[0]

    def pipeline(self, commands):
        self.socket.sendall(b''.join(map(self.encoded, commands)))
        answers = [self.read() for _ in commands]
        for answer in answers:
            if isinstance(answer, RedisError):
                raise answer
        return answers


class Redis:
    def __init__(self, directory, *arguments, net=None):
        self.directory, self.arguments, self.net = directory, arguments, net
        self.host = net.host if net else '127.0.0.1'
        os.mkdir(directory)
        self.path = os.path.join(directory, 's')
        self.connection, self.password = None, None
        for _ in range(20):  # another process may take the port between asking and listening
            with socket.socket() as free:
                free.bind(('127.0.0.1', 0))
                self.port = free.getsockname()[1]
            try:
                self.boot()
                return
            except Failed:
                self.kill()
        raise Failed('redis-server does not start; see ' + os.path.join(directory, 'log'))

    def boot(self):
        log = os.path.join(self.directory, 'log')
        fixed = ['--port', str(self.port), '--bind', self.host, '--protected-mode', 'no', '--unixsocket', self.path, '--dir', self.directory,
                 '--save', '', '--appendonly', 'no', '--repl-diskless-sync-delay', '0', '--logfile', log]
        self.process = Process('redis-server', ['redis-server', *fixed, *self.arguments], self.net,
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for('redis-server answers', self.answers)

    def answers(self):
        if self.process.popen.poll() is not None:
            raise Failed('redis-server ended')
        try:
            return self.command('PING') == 'PONG'
        except (OSError, RedisError):  # not yet listening, or loading
            return False

    def command(self, *words):
        try:
            if not self.connection:
                self.connection = Connection(self.path)
                if self.password:
                    self.connection.command('AUTH', self.password)
            return self.connection.command(*words)
        except ConnectionError:
            self.hang_up()
            raise

    def pipeline(self, commands):
        """Many commands; a few hundred at a time in one piece, and the server does nothing else between those."""
        commands, answers = list(commands), []
        for start in range(0, len(commands), 200):
            self.command('PING')
            answers += self.connection.pipeline(commands[start:start + 200])
        return answers

    def hang_up(self):
        if self.connection:
            self.connection.close()
        self.connection = None

    def info(self, section, name):
        for line in self.command('INFO', section).splitlines():
            if line.startswith(name + ':'):
                return line.partition(':')[2]
        return ''

    def errors(self, *names):
        """How often it answered so."""
        told = dict(line.partition('_')[2].split(':count=') for line in self.command('INFO', 'errorstats').splitlines() if '=' in line)
        return sum(int(told.get(name, 0)) for name in names)

    def end_children(self):
        """Its BGSAVE, in the way that it would end it itself."""
        pid = self.process.popen.pid
        with open(f'/proc/{pid}/task/{pid}/children', encoding='ascii') as children:
            for child in children.read().split():
                os.kill(int(child), signal.SIGUSR1)

    def kill(self):
        self.hang_up()
        self.process.kill()
        if os.path.exists(self.path):
            os.unlink(self.path)


class Sentinel(Redis):
    """Watches `primary` under the name mymaster; two of three must agree."""

    def __init__(self, directory, primary, net=None):
        self.primary = primary
        super().__init__(directory, net=net)

    def boot(self):
        conf = os.path.join(self.directory, 'conf')
        if not os.path.exists(conf):
            with open(conf, 'w', encoding='ascii') as file:
                file.write(f'sentinel monitor mymaster {self.primary.host} {self.primary.port} 2\n'
                           'sentinel down-after-milliseconds mymaster 60000\nsentinel failover-timeout mymaster 5000\n'
                           'sentinel auth-user mymaster watcher\nsentinel auth-pass mymaster watcher\n')
        fixed = ['--port', str(self.port), '--bind', self.host, '--unixsocket', self.path, '--dir', self.directory,
                 '--logfile', os.path.join(self.directory, 'log')]
        self.process = Process('redis-sentinel', ['redis-server', conf, '--sentinel', *fixed], self.net,
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for('redis-sentinel answers', self.answers)

    def names(self):
        """The port of the primary that it names."""
        return int(self.command('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', 'mymaster')[1])

    def knows_all(self):
        return all(len(self.command('SENTINEL', what, 'mymaster')) == 2 for what in ('REPLICAS', 'SENTINELS'))


# ---------------------------------------------------------------------------------------------------------- proxy --
class Proxy(Told):
    COUNTS = ('passed', 'held', 'delayed', 'dripped', 'dropped', 'doubled', 'cut', 'connections', 'subscriptions')

    def __init__(self, lab, name, upstream_port, raw=False, host=None):
        argv = [os.path.join(lab.build, 'latchkey_fault_proxy'), str(upstream_port)] + ['raw'] * raw + [host] * bool(host)
        super().__init__(name, argv, lab.path('log'))
        self.port = int(self.answer().split()[1])

    def order(self, line):
        answer = self.tell(line)
        if answer != 'ok':
            raise Failed(f'{self.name}: {line}: {answer}')

    def rule(self, text):
        self.order('rule ' + text)

    def clear(self):
        self.order('clear')

    def close(self):
        self.order('close')

    def lead_new_to(self, redis):
        self.order(f'upstream {redis.port}')

    def lead_to(self, redis):
        self.lead_new_to(redis)
        self.close()

    def counts(self):
        return dict(zip(self.COUNTS, map(int, self.tell('counts').split())))


# ------------------------------------------------------------------------------------------------------- instance --
class Instance(Told):
    def __init__(self, lab, name, proxy, environment):
        self.proxy = proxy
        config = (f'{lab.place(name, proxy)}?staleness_ms={lab.staleness_ms}&partitions={PARTITIONS}'
                  f'&l1_capacity=20000&connections=16{lab.row.options}')
        argv = [os.path.join(lab.build, 'latchkey_fault_instance'), config, name, lab.path('board'), lab.path(''), str(lab.row.threads)]
        super().__init__('instance ' + name, argv, lab.path('log'), net=lab.net_of(name), env={**os.environ, **environment})
        self.letter = name

    def opened(self):
        answer = self.answer()
        if not answer.startswith('open 0'):
            raise Failed(f'{self.name}: {answer}')

    def stat(self, order='stat'):
        numbers, _, trouble = self.tell(order).partition(' trouble=')
        values = {name: int(value) for name, value in (pair.split('=') for pair in numbers.split())}
        return {**values, 'trouble': trouble}

    def end(self):
        """Its histories are whole then; and closing a handle ends, without complaint of a sanitizer."""
        self.stat('halt')
        self.popen.stdin.close()
        try:
            status = self.popen.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            raise Failed(f'{self.name} does not end') from None
        if status:
            raise Failed(f'{self.name} ended with status {status}')

    def end_everyone(self):
        self.stat('everyone')

    def quiet_s(self):
        return int(self.tell('quiet')) / 1000


# ------------------------------------------------------------------------------------------------------------ lab --
class Lab:
    """One row's world. `seconds` is how long its fault lasts."""

    def __init__(self, build, row=None, seconds=2, staleness_ms=500, seed=0):
        self.build, self.row, self.seconds, self.seed = build, row, seconds, seed
        self.staleness_ms, self.fence_ms = staleness_ms, 0
        self.directory = tempfile.mkdtemp(prefix='')
        self.things, self.marks, self.sentinels, self.cluster, self.island, self.ended = [], [], [], None, None, None
        with open(self.path('board'), 'wb'):
            pass

    def path(self, name):
        return os.path.join(self.directory, name)

    def apart(self):
        """From here on what is started is on an island or off it: B and the primary are on it, A is not."""
        self.island = Island()
        self.things.append(self.island)

    def net_of(self, letter):
        return self.island and {'A': self.island.large, 'B': self.island.small}[letter]

    def redis(self, name, *arguments, net=None):
        server = Redis(self.path(name), *arguments, net=net)
        self.things.append(server)
        return server

    def wire(self, name, upstream, raw=False):
        proxy = Proxy(self, name, upstream.port, raw)
        self.things.append(proxy)
        return proxy

    def host_wire(self, node, host):
        """The same port on another host."""
        proxy = Proxy(self, 'a wire to a node', node.port, raw=True, host=host)
        self.things.append(proxy)
        return proxy

    def open(self):
        if self.row.island:
            self.apart()
        self.server = self.redis('primary', *self.row.server, net=self.net_of('B'))
        if self.row.setup:
            self.row.setup(self)
        self.a, self.b = (self.instance(letter) for letter in 'AB')
        for one in self.a, self.b:
            one.opened()

    def place(self, letter, proxy):
        """Where an instance finds Redis. B's way to the first two sentinels can be cut, by proxies if there is no island."""
        if self.cluster:
            return self.cluster.place(letter)
        if not self.sentinels:
            return f'redis://127.0.0.1:{proxy.port}'
        places = [f'{sentinel.host}:{sentinel.port}' for sentinel in self.sentinels]
        if letter == 'B' and not self.island:
            self.sentinel_wires = [self.wire('a wire to a sentinel', one, raw=True) for one in self.sentinels[:2]]
            places[:2] = [f'127.0.0.1:{wire.port}' for wire in self.sentinel_wires]
        return f'redis+sentinel://:{self.server.password}@' + ','.join(places) + '/mymaster'

    def instance(self, letter):
        environment = self.row.environment(self) if self.row.environment and letter == 'B' else {}
        one = Instance(self, letter, None if self.sentinels or self.cluster else self.wire('proxy ' + letter, self.server), environment)
        self.things.append(one)
        return one

    def mark(self, event, value='-', process='*'):
        now = time.monotonic_ns()
        self.marks.append(f'{now} {now} {process} @{event} {value} 0 0')
        return now

    def over(self):
        """The fault was a moment, or what it does ends by itself: from here on it is asked how long until all is back in service."""
        self.ended = self.mark('fault-end')

    @contextlib.contextmanager
    def losing(self, since):
        """At some moment meanwhile the server may lose what it was told since then."""
        start = time.monotonic_ns()
        yield
        self.marks.append(f'{start} {time.monotonic_ns()} * @lost {since} 0 0')

    def cut_off(self):
        """The island. Returns when that was."""
        start = time.monotonic_ns()
        self.island.cut()
        return start

    def apart_since(self, start, until=None):
        """B was alone with a primary that confirmed what no other server has; in the moment before, too."""
        self.marks.append(f'{start - 10**8} {until or time.monotonic_ns()} B @apart - 0 0')

    def last(self, seconds=None, every_s=None, action=None, seen=lambda: True):
        """The fault lasts, on a slow machine for longer: until it was `seen`. Meanwhile `action`, if given, is done over and over."""
        until = time.monotonic() + (self.seconds if seconds is None else seconds)
        while True:
            if action:
                action()
            left = until - time.monotonic()
            if left <= 0 and seen():
                return
            if left < -PATIENCE_S:
                raise Failed('the fault was not seen to happen')
            pause = (left if left > 0 else 0.01) if every_s is None else every_s
            time.sleep(min(pause, left) if left > 0 else pause)

    def last_until(self, count, what, at_least=1, **how):
        """The fault lasts until so many were counted. Returns the evidence, which nothing later can change."""
        self.last(seen=lambda: count() >= at_least, **how)
        return f'{count()} {what}'

    def each_instance(self, condition):
        return all(condition(one) for one in (self.a, self.b))

    @staticmethod
    def at_work(one):
        now = one.stat()
        return now['l1_hits'] >= 200 and now['purges'] >= 30

    def run(self):
        """The whole row. Returns what was seen of the fault; a fault that was not seen ends it with Failed."""
        self.open()
        wait_for('each L1 answers, and revocations are heard', lambda: self.each_instance(self.at_work))
        self.mark('fault-begin')
        text = self.row.fault(self)
        end = self.ended or self.mark('fault-end')
        wait_for('there was no UNAVAILABLE for a second', lambda: time.monotonic_ns() - end > 1.2e9 and
                 self.each_instance(lambda one: one.quiet_s() > 1.1))
        for one in self.a, self.b:
            wait_for('nothing is pending', lambda one=one: one.stat()['pending'] == 0)
            self.mark('drained', process=one.letter)
        time.sleep(self.staleness_ms / 1000 + 0.2)  # what was pending counts from here on, too
        for one in self.a, self.b:
            one.end()
        return text

    def write_history(self, path):
        self.mark('bound', self.staleness_ms + self.fence_ms)
        self.mark('tick', TICK_MS)
        with open(path, 'w', encoding='ascii') as history:
            for name in sorted(os.listdir(self.directory)):
                if name.endswith('.history'):
                    with open(self.path(name), encoding='ascii') as part:
                        shutil.copyfileobj(part, history)
            history.write('\n'.join(self.marks) + '\n')

    def close(self):
        for thing in reversed(self.things):
            thing.kill()

    def logs(self):
        """What the processes had to say, as one text."""
        text = ''
        for directory, _, files in os.walk(self.directory):
            if 'log' in files:
                path = os.path.join(directory, 'log')
                with open(path, encoding='utf-8', errors='replace') as file:
                    text += f'--- {os.path.relpath(path, self.directory)}\n{file.read()}'
        return text

    def remove(self):
        shutil.rmtree(self.directory)
