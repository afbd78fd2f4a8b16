# SPDX-License-Identifier: MIT
"""Redis stands still or is away, clients hang up, workers end: no worker waits, nothing crashes, nobody gets another's answer."""
import http.client
import os
import random
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
import unittest

from nginx_kit import App, Nginx, Redis, WithNginx, wait_for

HTTP = '''
    latchkey_store app "{store}";
    server { listen unix:{dir}/back; location / { return 200 "user=[$http_x_user]"; } }
    server {
        listen 127.0.0.1:{port};
        listen 127.0.0.1:{http2} http2;
        latchkey_token $cookie_sid;
        proxy_set_header X-User $latchkey_user;
        location / { latchkey app; proxy_pass http://unix:{dir}/back:; }
        location /always { latchkey app; latchkey_optional always; proxy_pass http://unix:{dir}/back:; }
        location /optional { latchkey app; latchkey_optional on; proxy_pass http://unix:{dir}/back:; }
        location /any { satisfy any; allow 127.0.0.1; deny all; latchkey app; proxy_pass http://unix:{dir}/back:; }
        location = /auth { latchkey app; latchkey_answer; }
        location = /logout { latchkey app; latchkey_logout; }
        location /open { return 200 "open"; }
    }
'''


class Hammer:
    """Asks without end, on connections of its own, and now and then hangs up at once. Whoever is answered is answered rightly."""

    def __init__(self, nginx, sessions, threads=6):
        self.nginx, self.sessions = nginx, sessions
        self.wrong, self.good, self.lost, self.statuses = [], 0, 0, {}
        self.ending = threading.Event()
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.run, args=(seed,)) for seed in range(threads)]

    def run(self, seed):
        chance = random.Random(seed)
        while not self.ending.is_set():
            user, token = chance.choice(self.sessions)
            try:
                if chance.random() < 0.3:
                    hang_up(self.nginx.port, token, chance.random() < 0.5)
                    continue
                answer = self.nginx.get('/', f'sid={token}')
            except (OSError, EOFError, ConnectionError, ValueError):
                with self.lock:
                    self.lost += 1
                continue
            except Exception as error:  # pylint: disable=broad-except
                answer = None
                with self.lock:
                    if 'Remote' in type(error).__name__ or 'Incomplete' in type(error).__name__:
                        self.lost += 1
                    else:
                        self.wrong.append(repr(error))
                continue
            with self.lock:
                self.statuses[answer.status] = self.statuses.get(answer.status, 0) + 1
                if answer.status == 200:
                    self.good += 1
                    if answer.text != f'user=[{user}]':
                        self.wrong.append(f'{answer.text} for user {user}')

    def rise(self, by=100):
        """That many more were answered since."""
        before = self.good
        wait_for('requests are answered', lambda: self.good >= before + by or self.wrong)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.ending.set()
        for thread in self.threads:
            thread.join()


def hang_up(port, token, hard):
    """Sends a request and closes, with a reset if `hard`."""
    connection = socket.create_connection(('127.0.0.1', port), 60)
    if hard:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    connection.sendall(f'GET / HTTP/1.1\r\nHost: a\r\nCookie: sid={token}\r\n\r\n'.encode())
    connection.close()


class Stopped(WithNginx):
    """One worker, and a Redis that is stopped."""
    WORKERS = 1
    OPTIONS = 'deadline_ms=2000&staleness_ms=3000'
    PORTS = ('port', 'status', 'http2')
    HTTP = HTTP

    def tearDown(self):
        self.redis.process.send_signal(signal.SIGCONT)
        self.ready()

    def stop(self):
        self.redis.process.send_signal(signal.SIGSTOP)

    def test_other_locations_do_not_wait(self):
        _, token = self.login()
        self.stop()
        answers = []

        def ask(path):
            began = time.monotonic()
            answer = self.nginx.get(path, f'sid={token}')
            answers.append((answer, time.monotonic() - began))
        waiting = [threading.Thread(target=ask, args=(path,)) for path in ('/', '/optional', '/auth')]
        for thread in waiting:
            thread.start()
        wait_for('they wait', lambda: self.total()['nginx_waiting'] == 3)
        for _ in range(100):
            self.assertEqual(self.nginx.get('/open').text, 'open')
        self.assertEqual(answers, [], 'the worker was held up: those that wait were answered first')
        for thread in waiting:
            thread.join()
        for answer, took in answers:
            self.assertEqual((answer.status, answer.headers['Retry-After'], answer.headers['Set-Cookie']), (503, '1', None))
            self.assertGreater(took, 1.9)

    def test_where_no_answer_is_needed_there_is_one(self):
        _, token = self.login()
        self.stop()
        for path in ('/always', '/any'):
            answer = self.nginx.get(path, f'sid={token}')
            self.assertEqual((answer.status, answer.text), (200, 'user=[]'), path)

    def test_a_logout_that_redis_does_not_hear(self):
        _, token = self.login()
        self.assertEqual(self.nginx.get('/', f'sid={token}').status, 200)
        self.stop()
        answer = self.nginx.get('/logout', f'sid={token}', method='POST')
        self.assertEqual(answer.status, 202) # denied here at once, and told to Redis when that is back
        self.assertRegex(answer.headers['Set-Cookie'], '^sid=; .*Max-Age=0')
        self.assertIn(self.nginx.get('/', f'sid={token}').status, (401, 503))
        self.redis.process.send_signal(signal.SIGCONT)
        wait_for('Redis has heard it', lambda: self.app.validate(token) == 1)

    def test_a_worker_that_is_to_end_answers_first(self):
        _, token = self.login()
        self.stop()
        answers = []
        waiting = threading.Thread(target=lambda: answers.append(self.nginx.get('/', f'sid={token}')))
        waiting.start()
        wait_for('it waits', lambda: self.total()['nginx_waiting'] == 1)
        old = self.nginx.pids()
        self.nginx.kill(signal.SIGHUP)
        waiting.join()
        self.assertEqual([answer.status for answer in answers], [503])
        wait_for('the worker has ended', lambda: not self.nginx.pids() & old)

    def test_a_worker_that_is_to_end_tells_redis_of_logouts_first(self):
        _, token = self.login()
        self.stop()
        self.assertEqual(self.nginx.get('/logout', f'sid={token}', method='POST').status, 202)
        old = self.nginx.pids()
        self.nginx.kill(signal.SIGHUP)
        wait_for('another worker is there', lambda: self.nginx.pids() - old)
        time.sleep(3) # one that does not wait for Redis is gone by then
        self.redis.process.send_signal(signal.SIGCONT)
        wait_for('the worker has ended', lambda: not self.nginx.pids() & old)
        self.assertEqual(self.app.validate(token), 1)

    def test_clients_that_hang_up_while_they_wait(self):
        sessions = [self.login() for _ in range(50)]
        self.stop()
        for i, (_, token) in enumerate(sessions):
            hang_up(self.nginx.port, token, i % 2)
        with tempfile.TemporaryDirectory() as directory: # streams of HTTP/2 that are given up
            subprocess.run(['curl', '-s', '--no-progress-meter', '--http2-prior-knowledge', '--parallel', '--max-time', '0.5', '-H',
                            f'Cookie: sid={sessions[0][1]}', '-o', f'{directory}/#1',
                            f'http://127.0.0.1:{self.nginx.ports["http2"]}/[1-30]'], check=False, stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL)
        wait_for('all are gone', lambda: self.total()['nginx_waiting'] == 0)
        self.redis.process.send_signal(signal.SIGCONT)
        self.ready()
        for user, token in sessions:
            wait_for('it is answered', lambda: self.nginx.get('/', f'sid={token}').text == f'user=[{user}]')

    def test_many_wait_at_once_and_each_gets_its_own(self):
        sessions = [self.login() for _ in range(60)]
        self.stop()
        answers = {}

        def ask(user, token):
            answers[user] = self.nginx.get('/', f'sid={token}')
        threads = [threading.Thread(target=ask, args=session) for session in sessions]
        for thread in threads:
            thread.start()
        wait_for('some wait', lambda: self.total()['nginx_waiting'] > 0)
        self.redis.process.send_signal(signal.SIGCONT)
        for thread in threads:
            thread.join()
        for user, answer in answers.items():
            self.assertIn((answer.status, answer.text if answer.status == 200 else ''), ((200, f'user=[{user}]'), (503, '')))


class Away(unittest.TestCase):
    def test_nginx_starts_without_redis_and_finds_it_later(self):
        redis = Redis()
        with redis:
            redis.kill()
            with Nginx(HTTP.replace('{store}', f'unix://{redis.socket}'), WithNginx.MAIN, 2, ('port', 'status', 'http2')) as nginx:
                answer = nginx.get('/', 'sid=' + 'A' * 43)
                self.assertIn(answer.status, (401, 503))
                self.assertEqual(nginx.get('/open').text, 'open')
                self.assertEqual(nginx.get('/').status, 401) # nobody had to be asked
                redis.boot()
                with App(redis.url()) as app:
                    token = app.create(5)
                    wait_for('it is found', lambda: nginx.get('/', f'sid={token}').text == 'user=[5]')
                redis.kill()
                wait_for('nginx\' log says so', lambda: 'latchkey_store "app": link: ' in nginx.said())

    def test_a_stop_says_which_logouts_it_gives_up(self):
        with Redis() as redis, App(redis.url()) as app:
            token = app.create(5)
            store = f'unix://{redis.socket}?deadline_ms=1000'
            with Nginx(HTTP.replace('{store}', store), WithNginx.MAIN, 1, ('port', 'status', 'http2')) as nginx:
                wait_for('the worker serves', lambda: nginx.get('/', f'sid={token}').status == 200)
                redis.process.send_signal(signal.SIGSTOP)
                self.assertEqual(nginx.get('/logout', f'sid={token}', method='POST').status, 202)
                nginx.end(signal.SIGTERM)
                redis.process.send_signal(signal.SIGCONT)
                self.assertIn('latchkey_store "app": close: 1 revocations that Redis has not confirmed are given up', nginx.said())

    def test_a_logout_that_is_carried_out_at_the_end_is_not_given_up(self):
        with Redis() as redis, App(redis.url()) as app:
            token = app.create(5)
            store = f'unix://{redis.socket}?deadline_ms=10000&staleness_ms=60000' # the link is not lost so soon
            with Nginx(HTTP.replace('{store}', store), WithNginx.MAIN, 1, ('port', 'status', 'http2')) as nginx:
                wait_for('the worker serves', lambda: nginx.get('/', f'sid={token}').status == 200)
                redis.process.send_signal(signal.SIGSTOP)
                self.assertEqual(nginx.get('/logout', f'sid={token}', method='POST').status, 202)
                nginx.kill(signal.SIGTERM)
                time.sleep(1) # one that counts before it waits has counted by then
                redis.process.send_signal(signal.SIGCONT)
                self.assertEqual(nginx.process.wait(60), 0)
                self.assertEqual(app.validate(token), 1)
                self.assertNotIn('given up', nginx.said())

    def test_a_renewal_that_got_no_answer_is_tried_again_though_the_clock_goes_back(self):
        with Redis() as redis, App(redis.url()) as app:
            http_block = HTTP.replace('location /open', 'location /renew { latchkey app; latchkey_renew on; latchkey_answer; }\n'
                                      '        location /open')
            store = f'unix://{redis.socket}?deadline_ms=1000&staleness_ms=20000&renew_ms=10000'
            with Nginx(http_block.replace('{store}', store), WithNginx.MAIN, 1, ('port', 'status', 'http2'), clock=True) as nginx:
                token = app.create(5)

                def ask(path):
                    return nginx.get(path, f'sid={token}').headers

                def refused():
                    wait_for('it is in memory', lambda: ask('/auth')['X-Latchkey-Source'] == 'l1')
                    redis.process.send_signal(signal.SIGSTOP)
                    ask('/renew')
                    redis.process.send_signal(signal.SIGCONT)
                    return 'the token was not renewed: UNAVAILABLE' in nginx.said()
                wait_for('it is time', lambda: ask('/auth')['X-Latchkey-Renew'] == '1')
                wait_for('it got no answer', refused)
                nginx.set_clock(-3600)
                wait_for('it is renewed', lambda: ask('/renew')['Set-Cookie'])

    def test_without_a_master_a_reload_frees_nothing_that_is_used(self):
        with Redis() as redis, App(redis.url()) as app:
            tokens = [app.create(5), app.create(6)]
            http_block = HTTP.replace('{store}', f'unix://{redis.socket}?deadline_ms=1000')
            with Nginx(http_block, WithNginx.MAIN + 'master_process off;', 1, ('port', 'status', 'http2')) as nginx:
                kept = http.client.HTTPConnection('127.0.0.1', nginx.port, timeout=60) # nginx itself accepts no other after a reload

                def ask(path, token, method='GET'):
                    kept.request(method, path, headers={'Cookie': f'sid={token}'})
                    answer = kept.getresponse()
                    answer.read()
                    return answer.status
                wait_for('it serves', lambda: ask('/auth', tokens[0]) == 204)
                nginx.configure(http_block.replace(' app', ' other'))
                nginx.kill(signal.SIGHUP)
                wait_for('it has another configuration', lambda: nginx.said().count('using the "epoll"') == 2)
                time.sleep(2) # what was counted is written each second
                self.assertEqual(ask('/auth', tokens[1]), 204)
                redis.process.send_signal(signal.SIGSTOP)
                self.assertEqual(ask('/logout', tokens[1], 'POST'), 202)
                kept.close()
                nginx.end(signal.SIGTERM)
                redis.process.send_signal(signal.SIGCONT)
                self.assertIn('latchkey_store "app": close: 1 revocations', nginx.said())

    def test_a_store_that_cannot_be_opened_is_503_and_is_tried_again(self):
        with Redis(admin='secret') as redis:
            with tempfile.TemporaryDirectory() as directory:
                path = f'{directory}/pw'

                def write():
                    with open(path, 'w', encoding='ascii') as file:
                        file.write('secret\n')
                write()
                os.chmod(directory, 0o755)
                store = f'unix://{redis.socket}?password_file={path}'
                with Nginx(HTTP.replace('{store}', store), WithNginx.MAIN, 1, ('port', 'status', 'http2'), clock=True) as nginx:
                    wait_for('a worker serves', lambda: nginx.get('/', 'sid=' + 'A' * 43).status == 401)
                    os.unlink(path)
                    before = nginx.pids()
                    nginx.kill(signal.SIGKILL, before.pop()) # the next worker reads no configuration
                    nginx.forgive('exited on signal 9')
                    nginx.forgive('its locations answer 503')
                    wait_for('it says why', lambda: f'"{path}"' in nginx.said() or 'password_file' in nginx.said())
                    wait_for('it is 503', lambda: nginx.get('/', 'sid=' + 'A' * 43).status == 503)
                    self.assertEqual(nginx.get('/open').text, 'open')
                    write()
                    nginx.set_clock(-3600)
                    wait_for('it was tried again', lambda: nginx.get('/', 'sid=' + 'A' * 43).status == 401)


class Workers(WithNginx):
    """Workers and masters come and go under load."""
    OPTIONS = 'deadline_ms=5000&staleness_ms=4000&l1_ttl_ms=50' # much is a miss
    PORTS = ('port', 'status', 'http2')
    DAEMON = True # else nginx takes no order to upgrade
    HTTP = HTTP

    def test_reload_kill_upgrade_quit(self):
        sessions = [self.login() for _ in range(100)]
        with Hammer(self.nginx, sessions) as hammer:
            hammer.rise()
            for _ in range(3):
                old = self.nginx.pids()
                self.nginx.kill(signal.SIGHUP)
                wait_for('other workers are there', lambda: not self.nginx.pids() & old and len(self.nginx.pids()) == 2)
                hammer.rise()
            self.assertEqual(set(hammer.statuses), {200}, 'a reload is not seen')
            self.assertEqual(hammer.lost, 0)
            os.kill(min(self.nginx.pids()), signal.SIGKILL)
            self.nginx.forgive('exited on signal 9')
            hammer.rise()
            first = self.nginx.pid()
            self.nginx.kill(signal.SIGUSR2)
            wait_for('a second master is there', lambda: os.path.exists(f'{self.nginx.dir}/pid.oldbin')
                     and os.path.exists(f'{self.nginx.dir}/pid') and os.path.getsize(f'{self.nginx.dir}/pid')
                     and self.nginx.pid() != first)
            wait_for('it has workers', lambda: len(self.nginx.pids()) == 2)
            hammer.rise()
            self.nginx.kill(signal.SIGQUIT, first)
            self.assertEqual(self.nginx.process.wait(60), 0)
            self.nginx.adopt()
            hammer.rise()
        self.assertEqual(hammer.wrong, [])
        self.assertLessEqual(set(hammer.statuses), {200, 503})


if __name__ == '__main__':
    unittest.main()
