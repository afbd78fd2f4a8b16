# SPDX-License-Identifier: MIT
"""rediss:// with a private certificate authority: the whole life of a session, and servers that are not believed."""
import asyncio
import contextlib
import os
import socket
import subprocess
import time

import latchkey
from support import WORK, point, raises, run, wait_until

DIRECTORY = os.path.join(WORK, "tls")


def path(name):
    return os.path.join(DIRECTORY, name)


def openssl(*words):
    subprocess.run(["openssl", *words], check=True, capture_output=True)


def make_authority(name):
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", f"/CN={name}",
            "-keyout", path(name + ".key"), "-out", path(name + ".crt"))


def make_certificate(name, authority, for_names):
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}", "-keyout",
            path(name + ".key"), "-out", path(name + ".csr"))
    with open(path(name + ".ext"), "w", encoding="ascii") as file:
        file.write(f"subjectAltName={for_names}\n")
    openssl("x509", "-req", "-in", path(name + ".csr"), "-CA", path(authority + ".crt"), "-CAkey", path(authority + ".key"),
            "-CAcreateserial", "-days", "2", "-extfile", path(name + ".ext"), "-out", path(name + ".crt"))


@contextlib.contextmanager
def redis_with(certificate):
    """A Redis that shows this certificate, and wants one of the authority "ours" from its clients: its port."""
    for _ in range(5):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        server = subprocess.Popen(
            ["redis-server", "--port", "0", "--tls-port", str(port), "--bind", "127.0.0.1", "--dir", DIRECTORY, "--save", "",
             "--tls-cert-file", path(certificate + ".crt"), "--tls-key-file", path(certificate + ".key"), "--tls-ca-cert-file",
             path("ours.crt")], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        try:
            for _ in range(3000):
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    if server.poll() is None:
                        yield port
                        return
                if server.poll() is not None:
                    break  # another process has taken the port
                time.sleep(0.01)
        finally:
            server.terminate()
            server.wait()
    raise AssertionError("redis-server does not start")


def url(port, **options):
    chosen = {"ca_file": path("ours.crt"), "cert_file": path("client.crt"), "key_file": path("client.key"), "deadline_ms": 10000,
              **options}
    return f"rediss://127.0.0.1:{port}?" + "&".join(f"{name}={value}" for name, value in chosen.items() if value)


os.makedirs(DIRECTORY)
for each in ("ours", "theirs"):
    make_authority(each)
make_certificate("server", "ours", "IP:127.0.0.1")
make_certificate("elsewhere", "ours", "DNS:redis.example.org")
make_certificate("client", "ours", "DNS:application")


@point("tls", "the life of a session, with a private authority and a client's certificate")
def life():
    with redis_with("server") as port, latchkey.open(url(port)) as here, latchkey.open(url(port), staleness_ms=500) as there:
        token = here.create(42, role="member", fields={"pq.mlkem768": b"k" * 1184})
        assert there.validate(token).role == "member" and there.load(token)["pq.mlkem768"] == b"k" * 1184

        async def awaited():
            assert (await there.aio.validate_fresh(token)).user_id == 42
            new = await there.aio.rotate(token, grace_ms=60000)
            assert (await here.aio.validate(new)).user_id == 42
            return new
        new = asyncio.run(awaited())
        assert here.revoke(new) is True
        wait_until("the other handle hears of it", lambda: there.validate(new) is None)


@point("tls", "a server that cannot prove who it is gets no request, and the error says why")
def not_believed():
    refused = (({"ca_file": path("theirs.crt")}, "not trusted here"), ({"ca_file": None}, "not trusted here"),
               ({"cert_file": None, "key_file": None}, "demands a client certificate"), ({"ca_file": path("none")}, "ca_file"))
    with redis_with("server") as port:
        for options, why in refused:
            error = raises(latchkey.ConfigError, latchkey.open, url(port, **options))
            assert why in str(error), error
    with redis_with("elsewhere") as port:
        error = raises(latchkey.ConfigError, latchkey.open, url(port))
        assert "not for '127.0.0.1'" in str(error), error
        with latchkey.open(url(port, server_name="redis.example.org")) as lk:
            assert lk.validate(lk.create(1)).user_id == 1


if __name__ == "__main__":
    run()
