# SPDX-License-Identifier: MIT
"""What the module says by itself: answers to other proxies, logouts, renewed cookies."""
import unittest
from concurrent.futures import ThreadPoolExecutor

from nginx_kit import WithNginx, wait_for

ATTRIBUTES = 'Path=/; Secure; HttpOnly; SameSite=Lax'
CLEARED = '; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT'


class Content(WithNginx):
    OPTIONS = 'deadline_ms=5000&staleness_ms=4000&renew_ms=10000'
    HTTP = '''
    latchkey_store app "{store}";
    latchkey_store other "{store}&prefix=other";
    latchkey_token $cookie_sid;
    server {
        listen unix:{dir}/back;
        location /login { add_header Set-Cookie "sid=fromback"; add_header Set-Cookie "other=1"; return 200 "in"; }
        location /clean { add_header Set-Cookie "sid=; Path=/old; Max-Age=0"; return 200 "in"; }
        location /out { add_header X-Accel-Redirect /logout-then; return 200; }
        location / { add_header Cache-Control "public, max-age=60"; return 200 "user=[$http_x_latchkey_user]"; }
    }
    server {
        listen 127.0.0.1:{port};
        latchkey app;
        location / { return 200 "never asked"; }
        location /page { proxy_pass http://unix:{dir}/back:; }
        location = /auth { latchkey_answer; latchkey_require $latchkey_role user admin; error_page 401 = /page; }
        location = /auth-200 { latchkey_answer 200; }
        location = /maybe { latchkey_optional on; latchkey_answer; }
        location = /sub { latchkey off; auth_request /auth; proxy_pass http://unix:{dir}/back:; }
        location = /two-stores { auth_request /auth-other; proxy_pass http://unix:{dir}/back:; }
        location = /auth-other { latchkey other; latchkey_answer; }
        location = /two-tokens { auth_request /auth-second; proxy_pass http://unix:{dir}/back:; }
        location = /auth-second { latchkey_token $cookie_second; latchkey_answer; }
        location = /logout { latchkey_logout; }
        location = /logout-get { latchkey_logout any redirect=/bye?from=$arg_from; }
        location = /out { proxy_pass http://unix:{dir}/back:; }
        location = /logout-then { latchkey_logout any redirect=/bye; error_page 303 /page; }
        location = /logout-closed { latchkey_logout; deny all; }
        location /renew { latchkey_renew on; proxy_pass http://unix:{dir}/back:/; }
        location = /renew-kept { latchkey_renew on; add_header Cache-Control "public, max-age=60"; proxy_pass http://unix:{dir}/back:/; }
        location = /renew-file { latchkey_renew on; expires max; alias {dir}/nginx.conf; }
        location /renewing { latchkey_renew on; proxy_pass http://unix:{dir}/back:/;
                             location = /renewing/auth { latchkey_answer; } }
        location = /renew-host { latchkey_renew on grace=10s; latchkey_cookie __Host-id; latchkey_token $cookie_sid;
                                 error_page 404 = @other; try_files /none =404; }
        location @other { latchkey off; return 200 "other"; }
    }
    '''

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.old = [cls.app.create(77) for _ in range(11)] # by the time they are needed they are old enough to be renewed

    def told(self, answer):
        return {name[11:]: value for name, value in answer.headers.items() if name.startswith('X-Latchkey-')}

    def test_answer_of_a_session(self):
        user, token = self.login(role=b'admin', device=3)
        answer = self.nginx.get('/auth', f'sid={token}', method='POST', body=b'much')
        self.assertEqual((answer.status, answer.text, answer.headers['Cache-Control']), (204, '', 'no-store'))
        told = self.told(answer)
        self.assertEqual({name: told[name] for name in ('Status', 'User', 'Role', 'Device', 'Selector')},
                         {'Status': 'OK', 'User': str(user), 'Role': 'admin', 'Device': '3', 'Selector': token[:20]})
        self.assertEqual(len(told), 13)

    def test_a_subrequest_that_asks_something_else(self):
        _, token = self.login()
        self.assertEqual(self.nginx.get('/two-stores', f'sid={token}').status, 401)
        for cookie, status in ((f'sid={token}', 401), (f'sid={token}; second={token[:-1]}', 401), (f'sid={token}; second={token}', 200)):
            self.assertEqual(self.nginx.get('/two-tokens', cookie).status, status)

    def test_answer_without_one(self):
        for path, cookie, status in (('/auth', None, 401), ('/auth', 'sid=nonsense', 401), ('/maybe', None, 204),
                                     ('/auth', f'sid={self.login(role=b"guest")[1]}', 403)):
            answer = self.nginx.get(path, cookie, headers=[('X-Latchkey-User', '1')])
            self.assertEqual((answer.status, answer.text), (status, ''), (path, cookie))
            self.assertEqual(len(self.told(answer)), 13)
            if status != 403:
                self.assertEqual(self.told(answer)['User'], '')

    def test_what_a_client_asks_of_a_page_is_not_asked_of_the_answer(self):
        """Some proxies pass all headers of the client on."""
        _, token = self.login()
        for header in (('If-Match', '"x"'), ('If-Unmodified-Since', 'Mon, 01 Jan 2001 00:00:00 GMT'), ('If-None-Match', '*')):
            answer = self.nginx.get('/auth-200', f'sid={token}', headers=[header], timeout=20)
            self.assertEqual((answer.status, answer.text), (200, ''), header)

    def test_answer_to_nginx_itself(self):
        _, token = self.login(role=b'user')
        self.assertEqual(self.nginx.get('/sub', f'sid={token}').status, 200)
        self.assertEqual(self.nginx.get('/sub').status, 401)

    def test_what_a_client_says_of_itself_is_emptied(self):
        _, token = self.login()
        for name in ('X-Latchkey-User', 'x-latchkey-user'):
            self.assertEqual(self.nginx.get('/page', f'sid={token}', headers=[(name, '1')]).text, 'user=[]')

    def test_logout(self):
        _, token = self.login()
        self.assertEqual(self.nginx.get('/page', f'sid={token}').status, 200)
        answer = self.nginx.get('/logout', f'sid={token}')
        self.assertEqual((answer.status, answer.headers['Allow']), (405, 'POST'))
        self.assertEqual(self.nginx.get('/logout-closed', f'sid={token}', method='POST').status, 403)
        self.assertEqual(self.nginx.get('/page', f'sid={token}').status, 200)
        answer = self.nginx.get('/logout', f'sid={token}', method='POST', body=b'x' * 100)
        self.assertEqual((answer.status, answer.text, answer.headers['Set-Cookie'], answer.headers['Cache-Control']),
                         (204, '', f'sid=; {ATTRIBUTES}{CLEARED}', 'no-store'))
        wait_for('it is refused', lambda: self.nginx.get('/page', f'sid={token}').status == 401)
        wait_for('it is ended everywhere', lambda: self.app.validate(token) != 0)
        self.assertEqual(self.nginx.get('/logout', f'sid={token}', method='POST').status, 204)
        self.assertEqual(self.nginx.get('/logout', method='POST').status, 204)

    def test_logout_with_a_redirect(self):
        _, token = self.login()
        answer = self.nginx.get('/logout-get?from=here', f'sid={token}')
        self.assertEqual((answer.status, answer.headers['Location'], answer.headers['Set-Cookie']),
                         (303, f'http://127.0.0.1:{self.nginx.port}/bye?from=here', f'sid=; {ATTRIBUTES}{CLEARED}'))
        wait_for('it is ended everywhere', lambda: self.app.validate(token) != 0)

    def test_after_a_logout_another_location_asks_again(self):
        for path in ('/logout-then', '/out'): # the second has asked before
            answer = self.nginx.get(path, f'sid={self.login()[1]}')
            self.assertNotIn('user', answer.text, path)
            self.assertEqual((answer.status, answer.headers['Set-Cookie']), (401, f'sid=; {ATTRIBUTES}{CLEARED}'), path)

    def renewed(self, token, path):
        answers = []

        def is_renewed():
            answers.append(self.nginx.get(path, f'sid={token}'))
            return answers[-1].headers['Set-Cookie']
        wait_for('it is renewed', is_renewed)
        return answers[-1]

    def test_renewal(self):
        answer = self.renewed(self.old[0], '/renew')
        name, _, rest = answer.headers['Set-Cookie'].partition('=')
        new, _, attributes = rest.partition('; ')
        self.assertEqual((name, attributes, len(new)), ('sid', ATTRIBUTES, 43))
        self.assertEqual(answer.headers.get_all('Cache-Control'), ['no-store'])
        self.assertEqual([self.app.validate(new), self.app.validate(self.old[0])], [0, 0]) # the old one has its grace
        self.assertIsNone(self.nginx.get('/renew', f'sid={new}').headers['Set-Cookie'])
        self.assertIsNone(self.nginx.get('/renew', f'sid={self.old[0]}').headers['Set-Cookie'])

    def test_renewal_by_a_response_of_another_location(self):
        answer = self.renewed(self.old[1], '/renew-host')
        self.assertEqual((answer.status, answer.text), (200, 'other'))
        self.assertRegex(answer.headers['Set-Cookie'], f'^__Host-id=[A-Za-z0-9_-]{{43}}; {ATTRIBUTES}$')

    def test_what_the_application_sets_comes_last(self):
        self.renewed(self.old[2], '/renew') # so it is time
        ours = f'^sid=[A-Za-z0-9_-]{{43}}; {ATTRIBUTES}$'
        for token, path, theirs in ((self.old[3], '/renew/login', ['other=1', 'sid=fromback']),
                                    (self.old[10], '/renew/clean', ['sid=; Path=/old; Max-Age=0'])):
            first, *others = self.renewed(token, path).headers.get_all('Set-Cookie')
            self.assertRegex(first, ours, path)
            self.assertEqual(others, theirs)

    def test_an_answer_to_another_proxy_does_not_inherit_renewals(self):
        """That proxy passes no cookie on: nobody would have the new token."""
        self.renewed(self.old[7], '/renew') # so it is time
        answer = self.nginx.get('/renewing/auth', f'sid={self.old[6]}')
        self.assertEqual((answer.status, self.told(answer)['Renew'], answer.headers['Set-Cookie']), (204, '1', None))
        self.renewed(self.old[6], '/renewing')

    def test_what_nginx_itself_says_of_caches_gives_way(self):
        for token, path in ((self.old[8], '/renew-kept'), (self.old[9], '/renew-file')):
            self.assertEqual(self.renewed(token, path).headers.get_all('Cache-Control'), ['no-store'], path)

    def test_of_many_that_renew_at_once_one_does(self):
        self.renewed(self.old[4], '/renew')
        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(lambda _: self.nginx.get('/renew', f'sid={self.old[5]}'), range(64)))
        self.assertEqual({answer.status for answer in answers}, {200})
        self.assertEqual(sum(answer.headers['Set-Cookie'] is not None for answer in answers), 1)


if __name__ == '__main__':
    unittest.main()
