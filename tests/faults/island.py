# SPDX-License-Identifier: MIT
"""Two networks of their own (Linux' network namespaces; needs root), joined by a wire that can be cut: packets vanish then, in
both directions, and nobody is told. Within each all goes on. What is closed by a proxy is seen at once; this is not."""
import ctypes
import os
import subprocess

CLONE_NEWNET = 0x40000000
NOBODY = '02:00:00:00:00:01'  # no card has this address: what is sent there is not taken
LIBC = ctypes.CDLL(None, use_errno=True)


def ip(*words):
    done = subprocess.run(['ip', *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise OSError(f"ip {' '.join(words)}: {done.stdout.strip()} (network namespaces need root)")


class Net:
    def __init__(self, name, address):
        self.name, self.host = name, address
        ip('netns', 'add', name)
        self.ip('link', 'set', 'lo', 'up')

    def ip(self, *words):
        ip('-n', self.name, *words)

    def enter(self):
        """In the child, between fork and exec."""
        fd = os.open(f'/run/netns/{self.name}', os.O_RDONLY)
        if LIBC.setns(fd, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), 'setns')
        os.close(fd)


class Island:
    def __init__(self):
        name = f'lkf{os.getpid()}'
        self.nets = []
        try:
            for i in 1, 2:
                self.nets.append(Net(f'{name}-{i}', f'10.77.0.{i}'))
            self.small, self.large = self.nets
            self.small.ip('link', 'add', 'wire', 'type', 'veth', 'peer', 'name', 'wire', 'netns', self.large.name)
            for net in self.nets:
                net.ip('address', 'add', net.host + '/24', 'dev', 'wire')
                net.ip('link', 'set', 'wire', 'up')
        except OSError:
            self.kill()
            raise

    def cut(self):
        for net, other in (self.small, self.large), (self.large, self.small):
            net.ip('neighbor', 'replace', other.host, 'lladdr', NOBODY, 'dev', 'wire', 'nud', 'permanent')

    def heal(self):
        for net, other in (self.small, self.large), (self.large, self.small):
            net.ip('neighbor', 'delete', other.host, 'dev', 'wire')

    def kill(self):
        for net in self.nets:
            ip('netns', 'delete', net.name)
