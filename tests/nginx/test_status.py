# SPDX-License-Identifier: MIT
"""latchkey_status: the figures of all workers."""
import json
import os
import re
import signal
import subprocess
import unittest

from nginx_kit import WithNginx, wait_for


class Status(WithNginx):
    WORKERS = 3
    HTTP = '''
    latchkey_store app "{store}";
    latchkey_store "an \\"odd\\" <name>" "unix:///nowhere.sock";
    server {
        listen 127.0.0.1:{port};
        latchkey_token $cookie_sid;
        location /page { latchkey app; proxy_pass http://127.0.0.1:{port}/plain; }
        location /plain { return 200 "plain"; }
        location /latchkey { latchkey_status; allow 127.0.0.1; deny all; }
        location /metrics { latchkey_status prometheus; }
        location /closed { latchkey_status; deny all; }
        location /guarded { latchkey app; latchkey_status json; }
    }
    '''

    def told(self):
        return json.loads(self.nginx.get('/latchkey?format=json').text)['app']

    def workers(self):
        return {worker['pid'] for worker in self.told()['workers']}

    def test_all_workers_are_added_up(self):
        before = self.total()
        _, token = self.login()
        for _ in range(60):
            self.assertEqual(self.nginx.get('/page', f'sid={token}').status, 200)
        self.assertEqual(self.nginx.get('/page').status, 401)

        def rise(name):
            return self.total()[name] - before[name]
        wait_for('all have said so', lambda: rise('nginx_admitted_total') >= 60)
        self.assertEqual((rise('nginx_admitted_total'), rise('nginx_unauthorized_total')), (60, 1))
        self.assertEqual(rise('validates_total'), 60)
        self.assertEqual(self.total()['l1_capacity'], 3 * 100000)
        self.assertEqual({worker['worker'] for worker in self.told()['workers']}, {0, 1, 2})

    def test_nothing_is_forgotten_when_workers_end(self):
        for _ in range(30):
            self.nginx.get('/page')
        wait_for('all have said so', lambda: self.total()['nginx_unauthorized_total'] >= 30)
        old = self.workers()
        self.nginx.kill(signal.SIGHUP)
        wait_for('others are there', lambda: len(self.workers()) == 3 and not self.workers() & old)
        self.assertGreaterEqual(self.total()['nginx_unauthorized_total'], 30)
        killed = self.workers()
        os.kill(min(killed), signal.SIGKILL)
        wait_for('another is there', lambda: len(self.workers()) == 3 and self.workers() != killed)
        self.assertGreaterEqual(self.total()['nginx_unauthorized_total'], 30)
        self.nginx.forgive('exited on signal 9')

    def test_prometheus(self):
        answer = self.nginx.get('/metrics')
        self.assertEqual(answer.headers['Content-Type'], 'text/plain; version=0.0.4; charset=utf-8')
        self.assertRegex(answer.text, r'(?m)^latchkey_l2_read_seconds_bucket\{store="app",le="\+Inf"\} \d+$')
        workers = re.compile(r'(?m)^latchkey_nginx_workers\{store="an \\"odd\\" <name>"\} 3$')
        wait_for('all are there', lambda: workers.search(self.nginx.get('/metrics').text))
        names = re.findall(r'(?m)^# TYPE (\S+)', answer.text)
        self.assertEqual(len(names), len(set(names)))
        done = subprocess.run(['promtool', 'check', 'metrics'], input=answer.text, capture_output=True, text=True, check=False)
        self.assertEqual((done.returncode, done.stdout), (0, ''), done.stderr)

    def test_html(self):
        answer = self.nginx.get('/latchkey')
        self.assertEqual(answer.headers['Content-Type'], 'text/html; charset=utf-8')
        self.assertIn('<h2>an "odd" &lt;name&gt;</h2>'.replace('"', '&quot;'), answer.text)
        self.assertRegex(answer.text, r'<th>validates_total</th><td>\d+</td><td>\d+</td><td>\d+</td><td>\d+</td>')

    def test_who_may_look(self):
        self.assertEqual(self.nginx.get('/closed').status, 403)
        self.assertEqual(self.nginx.get('/guarded').status, 401)
        self.assertEqual(self.nginx.get('/guarded', f'sid={self.login()[1]}').status, 200)
        self.assertEqual(self.nginx.get('/latchkey?format=xml').status, 400)


if __name__ == '__main__':
    unittest.main()
