# SPDX-License-Identifier: MIT
"""`nginx -t` says what is wrong with a configuration."""
import shutil
import unittest

from nginx_kit import Nginx

STORE = 'latchkey_store app "unix:///nowhere.sock";'


class Config(unittest.TestCase):
    def check(self, http):
        nginx = Nginx(http)
        try:
            return nginx.check()
        finally:
            shutil.rmtree(nginx.dir)

    def test_what_is_wrong(self):
        for http, said in (
                ('latchkey_store app "unix:///s?no_such_option=1";', 'no_such_option'),
                ('latchkey_store app "unix:///s?password_file=/no/such/file";', '/no/such/file'),
                ('latchkey_store app "unix:///s?lazy=0";', 'leave it out'),
                ('latchkey_store off "unix:///s";', 'cannot be named "off"'),
                (STORE + STORE, 'is duplicate'),
                ('server { latchkey other; }', 'no latchkey_store "other" in '),
                (STORE + 'latchkey app; latchkey app;', 'is duplicate'),
                ('latchkey_token fixed;', 'would admit everybody'),
                ('latchkey_require admin root;', 'needs a variable'),
                ('latchkey_require $latchkey_role "";', 'empty value'),
                ('latchkey_optional maybe;', 'invalid value "maybe"'),
                ('latchkey_renew perhaps;', 'must be "on" or "off"'),
                ('latchkey_renew on grace=2h;', 'up to 1h'),
                ('latchkey_cookie "a b";', 'no cookie can have'),
                ('latchkey_cookie a "Path=/\r\nX: y";', 'no header can hold'),
                ('latchkey_cookie __Host-a "Path=/app; Secure";', 'browsers take it only'),
                ('latchkey_cookie __Host-a "Path=/; Secure; Domain=example.org";', 'browsers take it only'),
                ('latchkey_cookie __Secure-a "Path=/";', 'browsers take it only'),
                (STORE + 'latchkey app; latchkey_token $http_x; latchkey_renew on;', 'which cookie to set'),
                (STORE + 'server { latchkey app; latchkey_token $http_x; location / { latchkey_logout; } }', 'which cookie to clear'),
                ('server { location / { latchkey_answer; } }', 'need "latchkey NAME"'),
                (STORE + 'server { latchkey app; location / { latchkey_answer; latchkey_logout; } }', 'stands beside'),
                (STORE + 'server { latchkey app; location / { latchkey_answer 201; } }', 'must be 204 or 200'),
                ('server { location / { latchkey_status xml; } }', 'must be "html"')):
            good, text = self.check(http)
            self.assertEqual((good, said in text), (False, True), http + '\n' + text)

    def test_what_is_right(self):
        for http in (STORE, 'server { latchkey app; }' + STORE, # defined later
                     'latchkey_store app "unix:///s?name=mine";',
                     STORE + 'latchkey app; latchkey_token $http_x; latchkey_renew on; latchkey_cookie a;',
                     STORE + 'latchkey app; latchkey_token $cookie_a; latchkey_renew on grace=1m;',
                     STORE + 'latchkey_cookie __Host-a "Secure; path=/";'):
            good, text = self.check(http)
            self.assertTrue(good, http + '\n' + text)


if __name__ == '__main__':
    unittest.main()
