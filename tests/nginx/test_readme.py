# SPDX-License-Identifier: MIT
"""The README's lines, as they stand there: from nothing to a protected location, and behind other proxies."""
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

from nginx_kit import BUILD, ROOT, Nginx, WithNginx, asan, free_port, wait_for

with open(f'{ROOT}/src/nginx/README.md', encoding='utf-8') as file:
    README = file.read()


def blocks(language):
    return re.findall(rf'^```{language}\n(.*?)^```$', README, re.M | re.S)


def with_ports(text, ports):
    return re.sub(r'\b(' + '|'.join(ports) + r')\b', lambda found: str(ports[found[0]]), text)


class FromNothing(unittest.TestCase):
    """Every command as it stands there, but for the ports and the folder of the build, which is there already."""

    def test_from_nothing_to_a_protected_location(self):
        ports = {name: free_port() for name in ('6379', '8080', '8081')}
        directory = tempfile.mkdtemp(prefix='latchkey-nginx-readme-')
        for name in os.listdir(ROOT):
            if not name.startswith('build') and name != 'demo':
                os.symlink(f'{ROOT}/{name}', f'{directory}/{name}')
        os.symlink(BUILD, f'{directory}/build')
        os.mkdir(f'{directory}/demo')
        os.chmod(directory, 0o755)
        install, use = blocks('sh')
        packages = set(re.findall(r'^apt-get install -y (.*)$', install, re.M)[0].split())
        for package in packages:
            subprocess.run(['dpkg-query', '-W', package], check=True, stdout=subprocess.DEVNULL)
        environment = dict(os.environ, PATH=f'{os.environ["PATH"]}:/usr/sbin')
        with open(f'{directory}/demo/nginx.conf', 'w', encoding='utf-8') as conf:
            conf.write(with_ports(blocks('nginx')[0], ports))
        commands = re.sub(r'^(apt-get|cmake -S) .*\n', '', with_ports(install, ports), flags=re.M)
        commands = commands.replace('&\n', '>/dev/null 2>&1 & echo $! >demo/app.pid\n')
        commands = commands.replace('--daemonize yes', '--daemonize yes --save "" --dir "$PWD/demo" --pidfile "$PWD/demo/redis.pid" >/dev/null')
        preload = f'LD_PRELOAD={asan()} ASAN_OPTIONS=detect_leaks=0 ' if asan() else ''
        commands += re.sub(r'^nginx ', preload + 'nginx ', with_ports(use, ports), flags=re.M)
        # A person types slower than this: Redis, the application and the workers' leases are there by then.
        commands = re.sub(r'^(curl)', r'sleep 1; \1', commands, count=1, flags=re.M)
        commands = commands.replace('build/examples', 'until redis-cli -p $REDIS PING >/dev/null 2>&1; do sleep 0.1; done; build/examples')
        environment['REDIS'] = str(ports['6379'])
        try:
            done = subprocess.run(['sh', '-euc', commands], cwd=directory, env=environment, capture_output=True, text=True, check=False,
                                  timeout=600)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            said = done.stdout.splitlines()[-4:]
            self.assertEqual((said[0], said[1], said[3]), ('401', '200', '200'), done.stdout + done.stderr)
            self.assertRegex(said[2], r'"user": ?"?7\b')
        finally:
            for name in ('nginx.pid', 'app.pid', 'redis.pid'):
                try:
                    with open(f'{directory}/demo/{name}', encoding='ascii') as pid:
                        os.kill(int(pid.read()), 15)
                except OSError:
                    pass
            time.sleep(0.2) # they still write there
            shutil.rmtree(directory, ignore_errors=True)

    def test_all_of_it_is_a_configuration(self):
        with tempfile.TemporaryDirectory() as directory:
            with open(f'{directory}/pw', 'w', encoding='ascii') as password:
                password.write('x\n')
            conf = blocks('nginx')[1].replace('/etc/latchkey/pw', f'{directory}/pw').replace('http://backend', 'http://127.0.0.1:1')
            conf = conf.replace('server {', 'server {\n listen 127.0.0.1:{port};', 1)
            nginx = Nginx(re.sub(r'^http \{(.*)\}\s*$', r'\1', conf, flags=re.S))
            try:
                self.assertEqual(nginx.check()[0], True, nginx.check()[1])
            finally:
                shutil.rmtree(nginx.dir)


class Proxies(WithNginx):
    OPTIONS = 'deadline_ms=1000&staleness_ms=4000'
    PORTS = ('port', 'status', 'back')
    HTTP = '''
    latchkey_store app "{store}";
    server { # what is behind the other proxy
        listen 127.0.0.1:{back};
        location / { return 200 "user=[$http_x_latchkey_user] role=[$http_x_latchkey_role]"; }
    }
    server {
        listen 127.0.0.1:{port};
        location = /auth { latchkey app; latchkey_answer; }
    }
    '''

    def judge(self, argv, directory):
        """Behind this proxy a session is known, and nobody can say whose it is."""
        with open(f'{directory}/log', 'w', encoding='utf-8') as log:
            proxy = subprocess.Popen(argv, cwd=directory, stdout=log, stderr=log, env=dict(os.environ, HOME=directory,
                                     XDG_DATA_HOME=directory, XDG_CONFIG_HOME=directory))
        try:
            def get(cookie=None, **more):
                return self.nginx.get('/', cookie, port=self.proxy, headers=[('X-Latchkey-User', '1')], **more)

            def listens():
                try:
                    return proxy.poll() is not None or get()
                except OSError:
                    return False
            wait_for('the proxy listens', listens)
            with open(f'{directory}/log', encoding='utf-8') as log:
                self.assertIsNone(proxy.poll(), log.read())
            self.assertEqual(get().status, 401)
            self.assertEqual(get('sid=nonsense').status, 401)
            user, token = self.login(role=b'member')
            answer = get(f'other=1; sid={token}')
            self.assertEqual((answer.status, answer.text), (200, f'user=[{user}] role=[member]'))
            _, other = self.login()
            self.assertRegex(get(f'sid={other}').text, r'role=\[\]$')
            _, third = self.login()
            self.redis.process.send_signal(signal.SIGSTOP)
            answer = get(f'sid={third}') # the worker does not know it, and Redis does not answer
            self.assertEqual(answer.status, 503)
        finally:
            self.redis.process.send_signal(signal.SIGCONT)
            proxy.terminate()
            proxy.wait()

    def setUp(self):
        self.proxy = free_port()
        self.ports = {'8080': self.nginx.port, '8082': self.proxy, '8083': self.nginx.ports['back']}

    def test_caddy(self):
        with tempfile.TemporaryDirectory() as directory:
            with open(f'{directory}/Caddyfile', 'w', encoding='utf-8') as conf:
                conf.write('{\n    admin off\n}\n' + with_ports(blocks('caddyfile')[0], self.ports))
            self.judge(['caddy', 'run', '--config', 'Caddyfile', '--adapter', 'caddyfile'], directory)

    def test_haproxy(self):
        with tempfile.TemporaryDirectory() as directory:
            with open(f'{directory}/haproxy.cfg', 'w', encoding='utf-8') as conf:
                conf.write(with_ports(blocks('haproxy')[0], self.ports))
            with open(f'{directory}/latchkey.lua', 'w', encoding='utf-8') as lua:
                lua.write(with_ports(blocks('lua')[0], self.ports))
            self.judge([shutil.which('haproxy', path='/usr/sbin:/usr/bin'), '-f', 'haproxy.cfg'], directory)


if __name__ == '__main__':
    unittest.main()
