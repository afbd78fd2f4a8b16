#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The application that tests/http/browsers.py visits behind the module for nginx:  browsed_nginx.py PORT STORE DIRECTORY [lua]

nginx checks the sessions, renews their tokens, and logs out. What is behind it makes sessions, and does what X-Do says; with `lua` a
block of Lua in nginx does that.
"""
import http.server
import os
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, f'{HERE}/../bindings/python/apps']
from browsed import Fault, Handled, plan  # noqa: E402
from nginx_kit import ASAN, BUILD, MODULE, NGINX, ROOT, App, free_port  # noqa: E402

PORT, STORE, DIRECTORY, *LUA = sys.argv[1:]
DIRECTORY = f'{DIRECTORY}/nginx{PORT}'
BEHIND = free_port()
PROXY = f'''
            proxy_set_header X-User $latchkey_user;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $http_connection;
            proxy_pass http://127.0.0.1:{BEHIND};'''
IN_LUA = '''
            content_by_lua_block {
                local does, statuses = ngx.var.http_x_do or "", { "200", "204", "304", "302", "404", "503" }
                local function says(word) return (("," .. does .. ","):find("," .. word .. ",", 1, true)) end
                local session = require("resty.latchkey").of_request()
                ngx.req.read_body()
                if says("slow") then ngx.sleep(0.05) end
                if says("raise") then error("a fault of the application") end
                ngx.header["X-App"], ngx.header["X-User"] = "1", session.user_id
                for _, each in ipairs(statuses) do if says(each) then ngx.status = tonumber(each) end end
                if says("handled") then ngx.status = 418 end
                if says("302") then ngx.header["Location"] = "/page" end
                if says("public") then ngx.header["Cache-Control"] = "public, max-age=60" end
                local cookies = {}
                if says("cookie") then cookies[#cookies + 1] = "lang=en; Path=/" end
                if says("own") then
                    cookies[#cookies + 1] = "sid=" .. ngx.var.http_x_value .. "; Path=/; Secure; HttpOnly; SameSite=Lax"
                    ngx.header["Cache-Control"] = "no-store"
                end
                if says("drop") then cookies[#cookies + 1] = "sid=; Path=/; Max-Age=0" end
                if #cookies > 0 then ngx.header["Set-Cookie"] = cookies end
                if ngx.status == 204 or ngx.status == 304 then return ngx.exit(ngx.status) end
                for _ = 1, (says("stream") or says("cut")) and 3 or 1 do
                    ngx.print(session.user_id)
                    if says("stream") then ngx.flush(true) ngx.sleep(0.01) end
                    if says("cut") then ngx.flush(true) return ngx.exit(ngx.ERROR) end
                end
            }'''
CONFIGURATION = f'''
daemon off;
worker_processes 1;
error_log stderr warn;
pid {DIRECTORY}/pid;
{"user root;" if os.getuid() == 0 else ""}
load_module {MODULE};
{"load_module /usr/lib/nginx/modules/ndk_http_module.so; load_module /usr/lib/nginx/modules/ngx_http_lua_module.so;" if LUA else ""}
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {DIRECTORY}/body; proxy_temp_path {DIRECTORY}/proxy; fastcgi_temp_path {DIRECTORY}/fastcgi;
    uwsgi_temp_path {DIRECTORY}/uwsgi; scgi_temp_path {DIRECTORY}/scgi;
    latchkey_store app "{STORE}";
    {f'lua_package_path "{ROOT}/src/bindings/lua/lib/?.lua;;";' if LUA else ""}
    server {{
        listen 127.0.0.1:{PORT};
        proxy_http_version 1.1;
        location / {{ proxy_pass http://127.0.0.1:{BEHIND}; }}
        location = /page {{
            latchkey app;
            latchkey_renew on;
            {IN_LUA if LUA else PROXY}
        }}
        location = /logout {{ latchkey app; latchkey_optional on; latchkey_logout; }}
    }}
}}
'''


class Behind(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def log_message(self, *_):
        pass

    def answer(self, status, headers=(), pieces=(), stream=False, cut=False):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        bodiless = self.command == 'HEAD' or status in (204, 304)
        if not bodiless:
            self.send_header('Transfer-Encoding', 'chunked')
        self.end_headers()
        if bodiless:
            return
        for piece in pieces:
            self.wfile.write(b'%x\r\n%s\r\n' % (len(piece), piece))
            if cut:
                self.close_connection = True
                return
            if stream:
                self.wfile.flush()
                time.sleep(0.01)
        self.wfile.write(b'0\r\n\r\n')

    def do_GET(self):
        self.rfile.read(int(self.headers.get('Content-Length', 0)))
        path, _, query = self.path.partition('?')
        user = query.partition('user=')[2]
        if path == '/page':
            return self.page()
        if path == '/login':
            with LOCK:
                status, token = MAKER.order('create', user, 0, 0, 0, '6d656d626572')
            if status:
                return self.answer(503, [('Cache-Control', 'no-store')])
            return self.answer(200, [('X-App', '1'), ('Cache-Control', 'no-store'),
                                     ('Set-Cookie', f'sid={token}; Path=/; Secure; HttpOnly; SameSite=Lax')])
        if path == '/end':
            with LOCK:
                status, _ = MAKER.order('end', user)
            return self.answer(503 if status else 200)
        return self.answer(200)

    do_POST = do_HEAD = do_OPTIONS = do_GET

    def page(self):
        do, user = self.headers.get('X-Do', ''), self.headers['X-User']
        if 'slow' in do:
            time.sleep(0.05)
        try:
            status, headers, pieces = plan(do, self.headers.get('X-Value'), user)
        except Handled:
            return self.answer(418, [('X-App', '1'), ('X-User', user)])
        except Fault:
            return self.answer(500)
        self.answer(status, headers, pieces, 'stream' in do, 'cut' in do)


os.environ['ASAN_OPTIONS'] = 'verify_asan_link_order=0:detect_leaks=0'  # the clock is loaded before it
os.environ['LD_LIBRARY_PATH'] = f'{BUILD}/src'  # where LuaJIT finds liblatchkey.so
LOCK = threading.Lock()
MAKER = App(STORE)
os.makedirs(DIRECTORY, exist_ok=True)
with open(f'{DIRECTORY}/conf', 'w', encoding='utf-8') as file:
    file.write(CONFIGURATION)
server = http.server.ThreadingHTTPServer(('127.0.0.1', BEHIND), Behind)
server.daemon_threads = True
threading.Thread(target=server.serve_forever, daemon=True).start()
environment = dict(os.environ, LD_PRELOAD=' '.join([*([ASAN] if ASAN else []), os.environ['LD_PRELOAD']]))
sys.exit(subprocess.call([NGINX, '-p', DIRECTORY, '-e', 'stderr', '-c', f'{DIRECTORY}/conf'], env=environment))
