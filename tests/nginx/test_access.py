# SPDX-License-Identifier: MIT
"""Who passes, who does not, and what is known of them."""
import unittest

from nginx_kit import WithNginx, wait_for

SHOWN = ('status', 'user', 'role', 'device', 'flags', 'permissions', 'selector', 'created', 'auth_age', 'expires', 'renew',
         'stale', 'source')


class Access(WithNginx):
    WORKERS = 1
    PORTS = ('port', 'status', 'cookies')
    HTTP = '''
    limit_req_zone $latchkey_user zone=users:1m rate=1r/m;
    limit_req_status 429;
    latchkey_store app "{store}";
    server { # what is behind: says what it is told
        listen unix:{dir}/back;
        location / { return 200 "user=[$http_x_user] uri=[$request_uri]"; }
    }
    server {
        listen unix:{dir}/ssi;
        location / { default_type text/plain; return 200 '<!--#include virtual="/part1" --> <!--#include virtual="/part2" -->'; }
    }
    server { listen unix:{dir}/accel; location / { add_header X-Accel-Redirect /part; return 200; } }
    server {
        listen 127.0.0.1:{cookies};
        latchkey app;
        latchkey_cookie __Host-id;
        proxy_set_header X-User $latchkey_user;
        location / { proxy_pass http://unix:{dir}/back:; }
    }
    server {
        listen 127.0.0.1:{port};
        location /part { latchkey app; proxy_set_header X-User $latchkey_user; proxy_pass http://unix:{dir}/back:; }
        latchkey_token $cookie_sid $http_x_token;
        location / {
            latchkey app;
            proxy_set_header X-User $latchkey_user;
            proxy_pass http://unix:{dir}/back:;
        }
        location /open { return 200 "open"; }
        location /off/ { latchkey app; location /off/in { latchkey off; proxy_pass http://unix:{dir}/back:; } }
        location /hello {
            latchkey app;
            latchkey_optional on;
            proxy_set_header X-User $latchkey_user;
            proxy_pass http://unix:{dir}/back:;
        }
        location /admin {
            latchkey app;
            latchkey_require $latchkey_role admin root;
            proxy_pass http://unix:{dir}/back:;
        }
        location /limited { latchkey app; limit_req zone=users; proxy_pass http://unix:{dir}/back:; }
        location /page {
            latchkey app;
            ssi on;
            ssi_types text/plain;
            proxy_set_header X-User $latchkey_user;
            proxy_pass http://unix:{dir}/ssi:;
        }
        location /accel { latchkey app; proxy_pass http://unix:{dir}/accel:; }
        location /any-closed { satisfy any; deny all; latchkey app; proxy_pass http://unix:{dir}/back:; }
        location /both { allow 127.0.0.1; deny all; latchkey app; proxy_pass http://unix:{dir}/back:; }
        location /none { deny all; latchkey app; proxy_pass http://unix:{dir}/back:; }
        location /welcome { latchkey app; error_page 401 = @login; proxy_pass http://unix:{dir}/back:; }
        location @login { return 302 /login; }
        location /shown {
            latchkey app;
            latchkey_optional on;
            ''' + '\n'.join(f'add_header L-{name.replace("_", "-")} "[$latchkey_{name}]" always;' for name in SHOWN) + '''
            try_files /none @shown;
        }
        location @shown { proxy_pass http://unix:{dir}/back:;
            ''' + '\n'.join(f'add_header L-{name.replace("_", "-")} "[$latchkey_{name}]" always;' for name in SHOWN) + '''
        }
    }
    '''

    def test_a_session_passes_and_its_user_is_told(self):
        user, token = self.login()
        for where in ({'cookie': f'sid={token}'}, {'headers': [('X-Token', token)]},
                      {'cookie': 'sid=', 'headers': [('X-Token', token)]}):
            answer = self.nginx.get('/', **where)
            self.assertEqual((answer.status, answer.text), (200, f'user=[{user}] uri=[/]'), where)

    def test_no_session_is_401(self):
        _, token = self.login()
        other = 'A' if token[30] != 'A' else 'B'
        for cookie in (None, 'sid=', 'other=1', 'sid=nonsense', f'sid={token[:30]}{other}{token[31:]}', f'sid={token}x'):
            self.assertEqual(self.nginx.get('/', cookie).status, 401, cookie)

    def test_a_session_that_was_ended_passes_no_more(self):
        user, token = self.login()
        self.assertEqual(self.nginx.get('/', f'sid={token}').status, 200)
        self.app.order('end', user)
        wait_for('it is refused', lambda: self.nginx.get('/', f'sid={token}').status == 401)

    def test_a_client_cannot_say_whose_it_is(self):
        user, token = self.login()
        forged = [('X-User', '1'), ('x-user', '2')]
        self.assertEqual(self.nginx.get('/', f'sid={token}', headers=forged).text, f'user=[{user}] uri=[/]')
        self.assertEqual(self.nginx.get('/hello', headers=forged).text, 'user=[] uri=[/hello]')

    def test_where_it_is_off_nothing_is_asked(self):
        self.assertEqual(self.nginx.get('/open').text, 'open')
        self.assertEqual(self.nginx.get('/off/in').status, 200)
        self.assertEqual(self.nginx.get('/off/').status, 401)

    def test_optional(self):
        user, token = self.login()
        self.assertEqual(self.nginx.get('/hello', f'sid={token}').text, f'user=[{user}] uri=[/hello]')
        self.assertEqual(self.nginx.get('/hello', 'sid=nonsense').text, 'user=[] uri=[/hello]')

    def test_require(self):
        for role, status in ((b'admin', 200), (b'root', 200), (b'user', 403), (b'', 403), (b'admins', 403),
                             (b'ad\nmin', 403)):
            _, token = self.login(role=role)
            self.assertEqual(self.nginx.get('/admin', f'sid={token}').status, status, role)
        self.assertEqual(self.nginx.get('/admin').status, 401)

    def test_satisfy(self):
        _, token = self.login()
        for path, with_one, without in (('/any-closed', 200, 401), ('/both', 200, 401), ('/none', 403, 403)):
            self.assertEqual((self.nginx.get(path, f'sid={token}').status, self.nginx.get(path).status), (with_one, without), path)

    def test_an_error_page(self):
        answer = self.nginx.get('/welcome', 'sid=nonsense')
        self.assertEqual((answer.status, answer.headers['Location']), (302, f'http://127.0.0.1:{self.nginx.port}/login'))

    def test_limit_req_counts_users(self):
        for _ in range(2):
            _, token = self.login()
            self.assertEqual(self.nginx.get('/limited', f'sid={token}').status, 200)
            self.assertEqual(self.nginx.get('/limited', f'sid={token}').status, 429)
        self.assertEqual([self.nginx.get('/limited').status for _ in range(3)], [401] * 3)

    def test_a_request_asks_once(self):
        user, token = self.login()
        for path, text in (('/page', f'user=[{user}] uri=[/part1] user=[{user}] uri=[/part2]'),
                           ('/accel', f'user=[{user}] uri=[/part]')):
            before = self.total()['validates_total']
            self.assertEqual(self.nginx.get(path, f'sid={token}').text, text)
            self.assertEqual(self.total()['validates_total'] - before, 1, path)

    def test_several_cookies_of_one_name(self):
        user, token = self.login()
        _, dead = self.login()
        self.app.order('end', self.user)
        for cookies, status in ((f'__Host-id={token}', 200), (f'__Host-id={dead}; __Host-id=planted;__Host-id={token}', 200),
                                (f'a=1; __Host-id={token}; b=2', 200), (f'x__Host-id={token}', 401), (f'__Host-id={dead}', 401),
                                (f'__host-id={token}', 401), ('__Host-id=; __Host-id', 401)):
            answer = self.nginx.get('/', cookies, port=self.nginx.ports['cookies'])
            self.assertEqual((answer.status, answer.text if status == 200 else ''),
                             (status, f'user=[{user}] uri=[/]' if status == 200 else ''), cookies)
        answer = self.nginx.get('/', port=self.nginx.ports['cookies'],
                                headers=[('Cookie', f'__Host-id={dead}'), ('Cookie', f'__Host-id={token}')])
        self.assertEqual(answer.status, 200)

    def test_variables(self):
        user, token = self.login(role=b'sixteen bytes ok', device=7)
        answer = self.nginx.get('/shown', f'sid={token}')
        told = {name: answer.headers[f'L-{name.replace("_", "-")}'][1:-1] for name in SHOWN}
        status, entry = self.app.order('entry', token)
        self.assertEqual(status, 0)
        words = entry.split(' ')
        self.assertEqual(told, {
            'status': 'OK', 'user': str(user), 'role': 'sixteen bytes ok', 'device': '7', 'flags': '0', 'permissions': '0' * 64,
            'selector': token[:20], 'created': str(int(words[-4]) // 1000), 'auth_age': told['auth_age'],
            'expires': str(int(words[-3]) // 1000), 'renew': '', 'stale': '', 'source': 'redis'})
        self.assertLess(int(told['auth_age']), 60)

    def test_variables_without_a_session(self):
        for cookie, status, source in ((None, 'NO_TOKEN', ''), ('sid=nonsense', 'MALFORMED', 'l1')):
            answer = self.nginx.get('/shown', cookie)
            told = {name: answer.headers[f'L-{name.replace("_", "-")}'][1:-1] for name in SHOWN}
            self.assertEqual(told, dict.fromkeys(SHOWN, '') | {'status': status, 'source': source})


if __name__ == '__main__':
    unittest.main()
