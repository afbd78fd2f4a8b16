# SPDX-License-Identifier: MIT
"""What the tests of the nginx module share: Debian's nginx with a configuration of its own, in a directory of its own."""
import collections
import http.client
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BUILD = os.path.abspath(os.environ['LATCHKEY_BUILD'])
MODULE = f'{BUILD}/src/nginx/ngx_http_latchkey_module.so'
CLOCK = f'{BUILD}/tests/liblatchkey_clock_shift.so'
os.environ.setdefault('LATCHKEY_COMMAND', f'{BUILD}/src/cli/latchkey')
os.environ.setdefault('LATCHKEY_APP', f'{BUILD}/tests/cli/latchkey_cli_app')
sys.path.insert(0, f'{ROOT}/tests/cli')
from kit import App, Redis, free_port, wait_for  # noqa: E402,F401

NGINX = os.environ.get('LATCHKEY_NGINX') or shutil.which('nginx', path='/usr/sbin:/usr/bin:/sbin:/bin')


def asan():
    """The runtime that a module built with AddressSanitizer needs in a program that was not; None: it needs none."""
    needed = subprocess.run(['ldd', MODULE], capture_output=True, text=True, check=True).stdout
    found = re.search(r'libasan\S* => (\S+)', needed)
    return found and found[1]


ASAN = asan()
Answer = collections.namedtuple('Answer', 'status headers text')


class Adopted:
    """A process that is not our child, as far as it is used here."""

    def __init__(self, pid):
        self.pid = pid

    def poll(self):
        try:
            with open(f'/proc/{self.pid}/stat', encoding='ascii', errors='replace') as file:
                return 0 if file.read().rpartition(')')[2].split()[0] == 'Z' else None
        except OSError:
            return 0

    def wait(self, _=None):
        wait_for('it ends', lambda: self.poll() is not None)
        return 0


class Nginx:
    """Debian's nginx with the module. `http` is what stands in its http block, {port} and {dir} filled in. Use with `with`."""

    def __init__(self, http_block, main='', workers=2, ports=('port', 'status'), daemon=False, clock=False):
        self.dir = tempfile.mkdtemp(prefix='latchkey-nginx-')
        os.chmod(self.dir, 0o755)
        self.log = f'{self.dir}/error.log'
        self.conf = f'{self.dir}/nginx.conf'
        self.main, self.workers, self.daemon, self.clock = main, workers, daemon, clock
        if clock:
            self.set_clock(0)
        self.ports = {name: free_port() for name in ports}
        self.port = self.ports['port']
        self.process = None
        self.forgiven = []
        self.configure(http_block)

    def configure(self, http_block):
        for name, port in self.ports.items():
            http_block = http_block.replace('{' + name + '}', str(port))
        temporary = '\n'.join(f'    {what}_temp_path {self.dir}/{what};' for what in
                              ('client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'))
        kept = '\n'.join(f'env {name};' for name in ('LD_PRELOAD', 'ASAN_OPTIONS'))
        with open(self.conf, 'w', encoding='utf-8') as file:
            file.write(f'''daemon {'on' if self.daemon else 'off'};
worker_processes {self.workers};
error_log {self.log} info;
pid {self.dir}/pid;
{kept}
{self.main}
load_module {MODULE};
events {{ worker_connections 2048; }}
http {{
    access_log off;
{temporary}
    server {{ listen 127.0.0.1:{self.ports['status']}; location / {{ latchkey_status json; }} }}
{http_block.replace('{dir}', self.dir)}
}}
''')

    def set_clock(self, seconds):
        """Its wall clock is so far ahead of the machine's, from now on."""
        with open(f'{self.dir}/clock', 'r+b' if os.path.exists(f'{self.dir}/clock') else 'wb') as file:
            file.write(struct.pack('=q', seconds))

    def environment(self):
        environment = dict(os.environ)
        environment['LD_PRELOAD'] = ' '.join([ASAN] * bool(ASAN) + [CLOCK] * self.clock)
        environment['LATCHKEY_CLOCK_SHIFT_FILE'] = f'{self.dir}/clock'
        if ASAN:
            environment['ASAN_OPTIONS'] = f'detect_leaks=1:log_path={self.dir}/asan:detect_odr_violation=0:fast_unwind_on_malloc=0'
        return environment

    def argv(self, *more):
        return [NGINX, '-p', self.dir, '-e', self.log, '-c', self.conf, *more]

    def check(self):
        """What `nginx -t` says, and whether it is content."""
        done = subprocess.run(self.argv('-t'), capture_output=True, text=True, env=self.environment(), check=False)
        reported = self.reported()
        # A leak that is nginx's own makes the status another one as well.
        good = not reported and (done.returncode == 0 or done.stderr.endswith('test is successful\n'))
        return good, done.stderr + reported

    def start(self):
        self.process = subprocess.Popen(self.argv(), env=self.environment(), stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        if self.daemon:
            assert self.process.wait(60) == 0, self.said()
            wait_for('it has written its pid', lambda: os.path.exists(f'{self.dir}/pid') and os.path.getsize(f'{self.dir}/pid'))
            self.process = Adopted(self.pid())
        wait_for('nginx listens', lambda: self.process.poll() is not None or self.listens())
        if self.process.poll() is not None:
            raise AssertionError('nginx does not start:\n' + self.said())

    def listens(self):
        try:
            socket.create_connection(('127.0.0.1', self.port), 5).close()
            return True
        except OSError:
            return False

    def said(self):
        with open(self.log, encoding='utf-8', errors='replace') as file:
            return file.read()

    def pid(self):
        with open(f'{self.dir}/pid', encoding='ascii') as file:
            return int(file.read())

    def pids(self, master=None):
        """The workers of the master."""
        master, found = master or self.pid(), set()
        for pid in (int(name) for name in os.listdir('/proc') if name.isdigit()):
            try:
                with open(f'/proc/{pid}/stat', encoding='ascii', errors='replace') as file:
                    if int(file.read().rpartition(')')[2].split()[1]) == master:
                        found.add(pid)
            except OSError:
                pass  # it has ended meanwhile
        return found

    def kill(self, number, pid=None):
        os.kill(pid or self.pid(), number)

    def get(self, path, cookie=None, method='GET', timeout=60, port=None, headers=(), body=None):
        connection = http.client.HTTPConnection('127.0.0.1', port or self.port, timeout=timeout)
        try:
            connection.putrequest(method, path, skip_accept_encoding=True)
            for name, value in ([('Cookie', cookie)] if cookie else []) + list(headers):
                connection.putheader(name, value)
            if body is not None:
                connection.putheader('Content-Length', str(len(body)))
            connection.endheaders(body)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read().decode())
        finally:
            connection.close()

    def end(self, number=signal.SIGQUIT):
        """It ends, and neither it nor a worker said that something was wrong."""
        self.kill(number)
        status = self.process.wait(60)
        self.look()
        assert status == 0, f'nginx ended with {status}'

    def adopt(self):
        """The process that was started has handed over to another master, and has ended."""
        self.process = Adopted(self.pid())

    def forgive(self, text):
        """The test made it say so."""
        self.forgiven.append(text)

    def reported(self):
        """What the sanitizer said that is not nginx's own."""
        for name in os.listdir(self.dir):
            if name.startswith('asan'):
                with open(f'{self.dir}/{name}', encoding='utf-8', errors='replace') as file:
                    text = file.read()
                # nginx itself leaves some arrays to the end of the process. What a leak of ours came through is the module, which is
                # unloaded by the time of the report.
                leaks = re.findall(r'^(?:Direct|Indirect) leak of .*?\n\n', text, re.M | re.S)
                if not leaks or any('latchkey' in leak or '<unknown module>' in leak for leak in leaks):
                    return text
        return ''

    def look(self):
        reported = self.reported()
        if reported:
            raise AssertionError(reported)
        bad = [line for line in self.said().splitlines() if re.search(
            r'\[(alert|emerg|crit)\]|exited on signal|AddressSanitizer|runtime error', line)
               and not any(text in line for text in self.forgiven)]
        if bad:
            raise AssertionError('\n'.join(bad))

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, kind, *_):
        try:
            if kind:
                sys.stderr.write(self.said()[-6000:])
            if self.process and self.process.poll() is None:
                if kind:
                    self.kill(signal.SIGTERM)
                    self.process.wait(60)
                else:
                    self.end()
        finally:
            if self.process and self.process.poll() is None:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
            shutil.rmtree(self.dir, ignore_errors=True)


class WithNginx(unittest.TestCase):
    """A Redis, an application that makes sessions, and nginx, for all tests of a class."""
    OPTIONS = 'deadline_ms=5000&staleness_ms=4000'
    HTTP = ''
    MAIN = 'user root;' if os.getuid() == 0 else ''
    WORKERS = 2
    PORTS = ('port', 'status')
    DAEMON = False

    @classmethod
    def setUpClass(cls):
        cls.enter = lambda thing: (cls.addClassCleanup(thing.__exit__, None, None, None), thing.__enter__())[1]
        cls.redis = cls.enter(Redis())
        cls.app = cls.enter(App(cls.redis.url()))
        cls.nginx = cls.enter(Nginx(cls.HTTP.replace('{store}', f'unix://{cls.redis.socket}?{cls.OPTIONS}'),
                                    cls.MAIN, cls.WORKERS, cls.PORTS, cls.DAEMON))
        cls.user = 1000
        cls.ready()

    @classmethod
    def ready(cls):
        """Every worker has its lease."""
        def told():
            answer = cls.nginx.get('/kit-status', port=cls.nginx.ports['status'])
            return json.loads(answer.text)['app']
        wait_for('every worker has its lease', lambda: len(told()['workers']) == cls.WORKERS and all(
            worker.get('lease_age_seconds', -1) >= 0 for worker in told()['workers']))

    @classmethod
    def total(cls):
        """What all workers have counted; exact where there is one."""
        return json.loads(cls.nginx.get('/', port=cls.nginx.ports['status']).text)['app']['total']

    def login(self, **draft):
        type(self).user += 1
        return self.user, self.app.create(self.user, **draft)
