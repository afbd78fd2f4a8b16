#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Measures what a session check costs nginx: one worker that answers an empty picture, without a check, and checked in four ways,
driven by wrk. The ways take turns, so that what the machine does meanwhile hits all alike.

    run.py BUILD --json FILE [--short]      BUILD: one with -DLATCHKEY_NGINX=ON -DLATCHKEY_BENCH=ON

  none          no check
  latchkey      the module, from L1
  miss          the module without an L1: Redis is asked for each request
  auth_request  nginx asks another nginx, with the module and latchkey_answer, over a unix socket that is kept open: no body, no
                connection for each request. So it is the best that auth_request can do
  lua           access_by_lua with a GET in Redis for each request, over connections that are kept (libnginx-mod-http-lua)
"""
import argparse
import importlib.util
import json
import os
import re
import shutil
import statistics
import subprocess
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
MODES = ("none", "latchkey", "miss", "auth_request", "lua")
NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin:/sbin:/bin")
LUA = "/usr/lib/nginx/modules/ngx_http_lua_module.so"

spec = importlib.util.spec_from_file_location("http_run", os.path.join(os.path.dirname(HERE), "http", "run.py"))
http = importlib.util.module_from_spec(spec)
spec.loader.exec_module(http)

HEAD = """daemon off;
worker_processes 1;
error_log {dir}/{name}.log;
pid {dir}/{name}.pid;
{load}
events {{ worker_connections 1024; }}
http {{
    access_log off;
    keepalive_requests 100000000;
    client_body_temp_path {dir}/{name}-1; proxy_temp_path {dir}/{name}-2; fastcgi_temp_path {dir}/{name}-3;
    uwsgi_temp_path {dir}/{name}-4; scgi_temp_path {dir}/{name}-5;
    latchkey_token $cookie_sid;
    latchkey_store app "unix://{redis}?deadline_ms=10000";
"""

FRONT = """
    latchkey_store cold "unix://{redis}?deadline_ms=10000&l1_capacity=0";
    upstream other {{ server unix:{dir}/other.sock; keepalive 128; keepalive_requests 100000000; }}
    server {{
        listen 127.0.0.1:{port};
        location = /none {{ empty_gif; }}
        location = /latchkey {{ latchkey app; empty_gif; }}
        location = /miss {{ latchkey cold; empty_gif; }}
        location = /auth_request {{ auth_request /check; empty_gif; }}
        location = /check {{
            internal;
            proxy_pass http://other/auth;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_pass_request_body off;
            proxy_set_header Content-Length "";
        }}
        location = /lua {{ {lua} empty_gif; }}
    }}
}}
"""

OTHER = """
    server {{ listen unix:{dir}/other.sock; location = /auth {{ latchkey app; latchkey_answer; }} }}
}}
"""

GET = """access_by_lua_block {{
            local sid = ngx.var.cookie_sid
            if not sid then return ngx.exit(401) end
            local redis = ngx.socket.tcp()
            if not redis:connect("unix:{redis}", {{ pool_size = 128 }}) then return ngx.exit(503) end
            redis:send("*2\\r\\n$3\\r\\nGET\\r\\n$" .. #sid + 6 .. "\\r\\nplain:" .. sid .. "\\r\\n")
            local size = tonumber((redis:receive("*l") or ""):match("^%$(-?%d+)$"))
            if not size then return ngx.exit(503) end
            if size < 0 then redis:setkeepalive() return ngx.exit(401) end
            local record = redis:receive(size)
            redis:receive(2)
            redis:setkeepalive()
            ngx.ctx.user = record:byte(1)
        }}"""


class Nginx:
    """A master and one worker, which has a processor of its own."""

    def __init__(self, name, text, directory):
        conf = os.path.join(directory, f"{name}.conf")
        with open(conf, "w", encoding="utf-8") as file:
            file.write(("" if os.getuid() else "user root;\n") + text)
        self.process = http.start(http.pinned(0, [NGINX, "-p", directory, "-e", f"{directory}/{name}.log", "-c", conf]))
        for _ in range(300):
            self.workers = self.children()
            if self.workers:
                return
            time.sleep(0.1)
        with open(f"{directory}/{name}.log", encoding="utf-8") as log:
            http.fail("nginx does not start: " + log.read())

    def children(self):
        found = []
        for pid in (name for name in os.listdir("/proc") if name.isdigit()):
            try:
                with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
                    if int(file.read().rpartition(")")[2].split()[1]) == self.process.pid:
                        found.append(int(pid))
            except OSError:
                pass
        return found

    def end(self):
        self.process.terminate()
        self.process.wait(60)


def cpu_s(pids):
    used = 0
    for pid in pids:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            words = file.read().rpartition(")")[2].split()
        used += (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")
    return used


def check(port, mode, cookies):
    """It does what its name says."""
    def ask(*more):
        argv = ["curl", "-s", "-o", os.devnull, "-w", "%{http_code}", *more, f"http://127.0.0.1:{port}/{mode}"]
        return int(subprocess.run(argv, capture_output=True, text=True, check=True).stdout)
    for _ in range(100): # its handle may not have its lease yet
        if ask("-H", f"Cookie: {cookies[0]}") == 200:
            break
        time.sleep(0.1)
    for cookie in cookies[:50]:
        if ask("-H", f"Cookie: {cookie}") != 200:
            http.fail(f"{mode}: it does not let a session pass")
    wanted = 200 if mode == "none" else 401
    if ask() != wanted or ask("-H", "Cookie: sid=" + "A" * 43) != wanted:
        http.fail(f"{mode}: wrong without a session")


def measure(port, mode, cookies, seconds, connections, processes):
    before = {name: cpu_s(pids) for name, pids in processes.items()}
    argv = http.pinned(1, ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "60", "-s",
                           os.path.join(os.path.dirname(HERE), "http", "load.lua"), f"http://127.0.0.1:{port}/{mode}", "--", cookies])
    text = subprocess.run(argv, capture_output=True, text=True, check=False)
    used = {name: cpu_s(pids) - before[name] for name, pids in processes.items()}
    found = re.search(r"^wrk: (.*)$", text.stdout, re.M)
    if text.returncode or not found:
        http.fail(f"wrk: {text.stdout}{text.stderr}")
    values = {name: int(value) for name, value in (pair.split("=") for pair in found[1].split())}
    if values["errors"] or values["refused"] or not values["requests"]:
        http.fail(f"{mode}: wrk had errors or refusals: {found[1]}")
    return {"requests_per_s": values["requests"] / (values["duration_us"] / 1e6), "p50_us": values["p50_us"],
            "p99_us": values["p99_us"]} | {f"{name}_us": used[name] * 1e6 / values["requests"] for name in used}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build")
    parser.add_argument("--json", required=True, metavar="FILE")
    parser.add_argument("--short", action="store_true", help="a second of each: does it still run?")
    parser.add_argument("--sessions", type=int, default=10000)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--repeat", type=int, default=9)
    parser.add_argument("--connections", type=int, default=32)
    args = parser.parse_args()
    if args.short:
        args.sessions, args.seconds, args.repeat = min(args.sessions, 500), 1, 1
    for tool in ("wrk", "redis-server", "redis-cli", "taskset", "curl"):
        shutil.which(tool) or http.fail(f"{tool} is missing")
    modes = [mode for mode in MODES if mode != "lua" or os.path.exists(LUA)]
    directory = tempfile.mkdtemp(prefix="latchkey-bench-nginx-")
    os.chmod(directory, 0o755)
    try:
        redis = http.start_redis(directory)
        redis_pid = int(re.search(r"process_id:(\d+)", subprocess.run(
            ["redis-cli", "-s", redis, "INFO", "server"], capture_output=True, text=True, check=True).stdout)[1])
        cookies = os.path.join(directory, "cookies")
        subprocess.run([f"{args.build}/bench/http/latchkey-bench-http", "--socket", redis, "--prepare", str(args.sessions),
                        "--cookies", cookies], check=True)
        with open(cookies, encoding="ascii") as lines:
            some = lines.read().split("\n")[:50]
        load = f"load_module {os.path.abspath(args.build)}/src/nginx/ngx_http_latchkey_module.so;"
        with_lua = f"load_module {os.path.dirname(LUA)}/ndk_http_module.so;\nload_module {LUA};\n"
        port = int(subprocess.run(["python3", "-c", "import socket; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1])"],
                                  capture_output=True, text=True, check=True).stdout)
        names = {"dir": directory, "redis": redis, "port": port, "lua": GET.format(redis=redis) if "lua" in modes else ""}
        other = Nginx("other", (HEAD + OTHER).format(name="other", load=load, **names), directory)
        front = Nginx("front", (HEAD + FRONT).format(name="front", load=(with_lua if "lua" in modes else "") + load, **names), directory)
        processes = {"nginx": front.workers, "other": other.workers, "redis": [redis_pid]}
        for mode in modes:
            check(port, mode, some)
            measure(port, mode, cookies, 1 if args.short else 3, args.connections, processes) # warm; not counted
        rounds = []
        for i in range(args.repeat):
            turn = modes[i % len(modes):] + modes[:i % len(modes)]
            rounds.append({mode: measure(port, mode, cookies, args.seconds, args.connections, processes) for mode in turn})
            print(f"nginx: round {i + 1} of {args.repeat}: " + ", ".join(
                f"{mode} {rounds[-1][mode]['requests_per_s']:,.0f}/s" for mode in modes), flush=True)
        front.end()
        other.end()
        ratio = {mode: statistics.median(r[mode]["requests_per_s"] / r["none"]["requests_per_s"] for r in rounds) for mode in modes}
        version = subprocess.run([NGINX, "-v"], capture_output=True, text=True, check=True).stderr.strip().rpartition("/")[2]
        result = {"benchmark": "nginx", "machine": http.machine(f"nginx {version}"), "sessions": args.sessions,
                  "connections": args.connections, "seconds": args.seconds, "rounds": rounds, "ratio_to_none": ratio,
                  "goal": {"text": "a hit at least 0.95 of what no check at all reaches", "value": ratio["latchkey"],
                           "met": ratio["latchkey"] >= 0.95}}
        with open(args.json, "w", encoding="utf-8") as out:
            json.dump(result, out, indent=2)
            out.write("\n")
    finally:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
