# SPDX-License-Identifier: MIT
"""What a world of browsers is made of besides them: a clock that can be moved, a Redis, the processes of an application."""
import contextlib
import ctypes
import os
import random
import signal
import socket
import struct
import subprocess
import time

from browser import PATIENCE_S, Wire

HERE = os.path.dirname(os.path.abspath(__file__))
LIBC = ctypes.CDLL(None)
ROTATED = 2  # the third byte of a record whose token was exchanged (src/base/record.h)


def wait_for(what, condition):
    until = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > until:
            raise AssertionError(f"waited {PATIENCE_S} s in vain until {what}")
        time.sleep(0.01)


def free_port():
    """Below those that connections get by themselves: it has to be free again when a process is restarted."""
    while True:
        port = random.SystemRandom().randrange(20000, 32000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class Clock:
    """The wall clock of all processes, ahead of the machine's (tests/support/clock_shift.c)."""

    def __init__(self, directory):
        self.library, self.file, self.ahead = f"{directory}/clock.so", f"{directory}/clock", 0
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-D_GNU_SOURCE", "-o", self.library,
                        f"{HERE}/../support/clock_shift.c"], check=True)
        with open(self.file, "wb") as file:
            file.write(struct.pack("=q", 0))

    def now(self):
        return time.time() + self.ahead

    def advance(self, seconds):
        self.ahead += seconds
        with open(self.file, "r+b") as file:
            file.write(struct.pack("=q", self.ahead))

    def environment(self):
        before = os.environ.get("LD_PRELOAD", "")
        return {**os.environ, "LD_PRELOAD": f"{before} {self.library}".strip(), "LATCHKEY_CLOCK_SHIFT_FILE": self.file}


class Machine:
    """A process that ends with this one, and what it writes."""

    def __init__(self, argv, log, environment, cwd=None):
        self.argv, self.log, self.environment, self.cwd = argv, log, environment, cwd
        self.process, self.lives = None, 0

    def launch(self):
        self.lives += 1
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment,
                                            cwd=self.cwd, start_new_session=True, preexec_fn=lambda: LIBC.prctl(1, signal.SIGKILL))

    def send(self, number):
        os.killpg(self.process.pid, number)

    def end(self, number=signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            self.send(number)
        self.process.wait(PATIENCE_S)
        with contextlib.suppress(ProcessLookupError):
            self.send(signal.SIGKILL)  # what it has left

    def alive(self):
        return self.process.poll() is None

    def said(self):
        with open(self.log, encoding="utf-8", errors="replace") as file:
            return file.read()


class Redis(Machine):
    """It keeps what it acknowledged, also where it is killed: the kernel has it."""

    def __init__(self, directory, clock):
        self.directory, self.socket = f"{directory}/redis", f"{directory}/redis.sock"
        os.mkdir(self.directory)
        super().__init__(["redis-server", "--port", "0", "--unixsocket", self.socket, "--dir", self.directory, "--save", "",
                          "--appendonly", "yes", "--appendfsync", "no"], f"{directory}/redis.log", clock.environment())

    def start(self):
        self.launch()
        wait_for("redis-server answers", lambda: not self.alive() or self.answers())
        assert self.alive(), self.said()

    def answers(self):
        try:
            return self.ask(b"PING") == b"PONG"
        except (OSError, ValueError):
            return False

    def lose_all(self):
        for path, _, files in os.walk(self.directory):
            for name in files:
                os.unlink(os.path.join(path, name))

    def ask(self, *words):
        with socket.socket(socket.AF_UNIX) as wire:
            wire.settimeout(PATIENCE_S)
            wire.connect(self.socket)
            wire.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words))
            with wire.makefile("rb") as file:
                return self.reply(file)

    def reply(self, file):
        line = file.readline()
        kind, rest = line[:1], line[1:-2]
        if kind == b"$":
            return None if rest == b"-1" else file.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return [self.reply(file) for _ in range(int(rest))]
        if kind in (b"+", b":"):
            return rest
        raise ValueError(line)

    def sessions(self):
        """{selector: user} of every session, under the name of its newest token."""
        found = {}
        for key in self.ask(b"KEYS", b"lk:{*}:s:????????????????????"):
            record = self.ask(b"HGET", key, b"v")
            if record and record[2] != ROTATED:
                found[key[-20:].decode()] = int.from_bytes(record[16:24], "little")
        return found


class Application(Machine):
    """One process of an application, behind the middleware that is tested."""

    def __init__(self, number, kind, directory, url, clock):
        self.port = free_port()
        argv = [word.format(port=self.port, url=url, dir=directory) for word in kind.argv]
        environment = {**clock.environment(), **kind.environment, "LATCHKEY_URL": url, "PORT": str(self.port)}
        super().__init__(argv, f"{directory}/{kind.name}{number}.log", environment, kind.cwd)
        self.number = number

    def start(self):
        self.launch()
        wait_for("the application answers", lambda: not self.alive() or self.answers())
        assert self.alive(), self.said()[-4000:]

    def answers(self):
        try:
            wire = Wire(self.port)
        except OSError:
            return False
        wire.send("GET", "/ready", [("Connection", "close")])
        answer = wire.receive("GET")
        wire.close()
        return answer.status is not None and answer.status < 500
