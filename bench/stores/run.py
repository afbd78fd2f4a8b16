#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Starts a private memcached and a private PostgreSQL in a temporary directory, and runs latchkey-bench-stores with them.

usage: run.py PROGRAM [OPTIONS OF THE PROGRAM]
"""
import glob
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time


def owner():
    """PostgreSQL does not run as root: then as the user that its package made."""
    return pwd.getpwnam("postgres") if os.getuid() == 0 else None


def as_user(user):
    if user is None:
        return {}
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def postgres_programs():
    found = max(glob.glob("/usr/lib/postgresql/*/bin/postgres"), default=None) or shutil.which("postgres")
    if not found:
        sys.exit("run.py: there is no PostgreSQL: install postgresql")
    return os.path.dirname(found)


servers = []  # each, and the signal that ends it


def start(command, how, **options):
    server = subprocess.Popen(command, **options)
    servers.append((server, how))
    return server


def start_postgres(directory, user):
    programs, data = postgres_programs(), os.path.join(directory, "data")
    log = open(os.path.join(directory, "postgres.log"), "w+b")
    made = subprocess.run([os.path.join(programs, "initdb"), "-D", data, "-U", "bench", "-A", "trust", "--no-sync"],
                          stdout=log, stderr=log, cwd=directory, check=False, **as_user(user))
    if made.returncode:
        log.seek(0)
        sys.exit("run.py: initdb failed:\n" + log.read().decode(errors="replace"))
    server = start([os.path.join(programs, "postgres"), "-D", data, "-k", directory, "-c", "listen_addresses="],
                   signal.SIGINT, stdout=log, stderr=log, **as_user(user))
    ready = [os.path.join(programs, "pg_isready"), "-q", "-h", directory, "-U", "bench", "-d", "postgres"]
    await_server(server, lambda: subprocess.run(ready, check=False).returncode == 0)
    return server


def start_memcached(path):
    command = ["memcached", "-s", path, "-a", "0700", "-m", "2048", "-t", "2"]
    if os.getuid() == 0:
        command += ["-u", "root"]
    server = start(command, signal.SIGTERM)

    def takes():
        try:
            with socket.socket(socket.AF_UNIX) as one:
                one.connect(path)
            return True
        except OSError:
            return False
    await_server(server, takes)
    return server


def await_server(server, is_there):
    while not is_there():
        if server.poll() is not None:
            sys.exit(f"run.py: {server.args[0]} ended by itself")
        time.sleep(0.05)


def end_all():
    for server, how in servers:
        if server.poll() is None:
            server.send_signal(how)
            server.wait()


def main():
    if len(sys.argv) < 2 or sys.argv[1] == "--help":
        print(__doc__.strip())
        return 0 if len(sys.argv) > 1 else 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    user = owner()
    # A user other than root can reach a directory only if it may pass all that are above it: $TMPDIR may be root's alone.
    directory = tempfile.mkdtemp(prefix="lk-stores-", dir="/tmp" if user else None)
    try:
        if user:
            os.chown(directory, user.pw_uid, user.pw_gid)
        path = os.path.join(directory, "memcached")
        memcached = start_memcached(path)
        postgres = start_postgres(directory, user)
        return subprocess.run(sys.argv[1:] + [
            "--memcached", path, "--memcached-pid", str(memcached.pid),
            "--postgres", f"host={directory} user=bench dbname=postgres", "--postgres-pid", str(postgres.pid)],
            check=False).returncode
    finally:
        end_all()
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
