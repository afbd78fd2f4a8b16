# SPDX-License-Identifier: MIT
"""lua-resty-latchkey beside the module: what the module has found out, and try_validate in a worker, which never waits."""
import os
import unittest

from nginx_kit import BUILD, ROOT, WithNginx

os.environ['LD_LIBRARY_PATH'] = f'{BUILD}/src'  # where LuaJIT finds liblatchkey.so


class Lua(WithNginx):
    WORKERS = 1
    MAIN = WithNginx.MAIN + '''
load_module modules/ndk_http_module.so;
load_module modules/ngx_http_lua_module.so;
'''.replace('modules/', '/usr/lib/nginx/modules/')
    HTTP = '''
    latchkey_store app "{store}";
    lua_package_path "''' + ROOT + '''/src/bindings/lua/lib/?.lua;;";
    init_worker_by_lua_block { handle = assert(require("resty.latchkey").open("{store}")) }
    exit_worker_by_lua_block { handle:close() }
    server {
        listen 127.0.0.1:{port};
        latchkey_token $cookie_sid;
        location /me {
            latchkey app;
            latchkey_optional on;
            content_by_lua_block {
                local session, err = require("resty.latchkey").of_request()
                ngx.print(err or session and session.user_id .. " " .. tostring(session.user) .. " " .. session.role .. " " .. session.device or "nobody")
            }
        }
        location /editors {
            latchkey app;
            access_by_lua_block {
                if require("resty.latchkey").of_request().role ~= "editor" then ngx.exit(403) end
            }
            content_by_lua_block { ngx.print("welcome") }
        }
        location /off { content_by_lua_block { ngx.print(select(2, require("resty.latchkey").of_request())) } }
        location /try {
            content_by_lua_block {
                local entry, err = handle:try_validate(ngx.var.arg_token)
                ngx.print(err or entry and tostring(tonumber(entry.user_id)) or "nobody")
            }
        }
        location /ask { content_by_lua_block { ngx.print(tostring(tonumber(handle:validate(ngx.var.arg_token).user_id))) } }
    }
    '''

    def test_what_the_module_found(self):
        user, token = self.login(role=b'editor', device=3)
        self.assertEqual(self.nginx.get('/me', f'sid={token}').text, f'{user} {user}ULL editor 3')
        large = self.app.create(2 ** 64 - 1, role=b'member')
        self.assertEqual(self.nginx.get('/me', f'sid={large}').text, f'{2 ** 64 - 1} {2 ** 64 - 1}ULL member 0')
        self.assertEqual(self.nginx.get('/me').text, 'nobody')
        self.assertEqual(self.nginx.get('/me', f'sid={token[:-1]}').text, 'nobody')
        self.assertIn('latchkey is off here', self.nginx.get('/off').text)

    def test_a_role_decides_in_the_access_phase(self):
        _, editor = self.login(role=b'editor')
        _, member = self.login(role=b'member')
        self.assertEqual([self.nginx.get('/editors', cookie).status for cookie in (f'sid={editor}', f'sid={member}', None)],
                         [200, 403, 401])

    def test_try_validate_knows_what_memory_knows(self):
        user, token = self.login()
        self.assertEqual(self.nginx.get(f'/try?token={token}').text, 'again')
        self.assertEqual(self.nginx.get(f'/ask?token={token}').text, str(user))
        self.assertEqual(self.nginx.get(f'/try?token={token}').text, str(user))
        self.assertEqual(self.nginx.get('/try?token=forged').text, 'nobody')


if __name__ == '__main__':
    unittest.main()
