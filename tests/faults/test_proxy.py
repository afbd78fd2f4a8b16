#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Does the proxy do to each message what it is told, and to no other? Between a client of our own and a real Redis.

  test_proxy.py DIRECTORY-OF-THE-PROGRAMS
"""
import socket
import sys
import time
import unittest

import lab
from lab import Failed

BUILD = '.'


class Client:
    """Sends bytes and reads whole lines; a silence is an answer, too."""

    def __init__(self, port, host='127.0.0.1'):
        self.socket = socket.create_connection((host, port))
        self.unread = b''

    def send(self, text):
        self.socket.sendall(text.encode())

    def more(self, within_s):
        self.socket.settimeout(within_s)
        try:
            piece = self.socket.recv(65536)
        except socket.timeout:
            return False
        except ConnectionResetError:
            raise EOFError from None
        if not piece:
            raise EOFError
        self.unread += piece
        return True

    def read(self, lines=1):
        while self.unread.count(b'\r\n') < lines:
            if not self.more(lab.PATIENCE_S):
                raise Failed(f'there came only {self.unread!r}')
        words = self.unread.split(b'\r\n', lines)
        self.unread = words.pop()
        return b' '.join(words).decode()

    def silent(self, for_s=0.2):
        return not self.unread and not self.more(for_s)

    def ask(self, text, lines=1):
        self.send(text + '\r\n')
        return self.read(lines)

    def subscribe(self, channel):
        return self.ask(f'*2\r\n$9\r\nSUBSCRIBE\r\n${len(channel)}\r\n{channel}', 6)


def message(channel, text):
    return f'*3 $7 message ${len(channel)} {channel} ${len(text)} {text}'


class ProxyTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.lab = lab.Lab(BUILD)
        cls.redis = cls.lab.redis('redis')

    @classmethod
    def tearDownClass(cls):
        cls.lab.close()
        cls.lab.remove()

    def setUp(self):
        self.proxy = self.lab.wire('proxy', self.redis)
        self.addCleanup(self.proxy.kill)
        self.client = self.connect()

    def connect(self, proxy=None, **where):
        client = Client((proxy or self.proxy).port, **where)
        self.addCleanup(client.socket.close)
        return client

    def publish(self, *pairs):
        for channel, text in pairs:
            self.assertEqual(1, self.redis.command('PUBLISH', channel, text))

    def subscriber(self):
        subscriber = self.connect()
        subscriber.subscribe('a:rev')
        subscriber.subscribe('b')
        return subscriber

    def test_pass(self):
        self.assertEqual('+PONG', self.client.ask('PING'))
        self.client.send('*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nv\r\nxy\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n')
        self.assertEqual('+OK $5 v xy', self.client.read(4))
        self.assertEqual('$-1', self.client.ask('GET nothing'))
        self.assertEqual('*2 $1 v *0', self.client.ask("EVAL \"return {'v', {}}\" 0", 4))
        big = 'x' * 3000000
        self.client.send(f'*2\r\n$4\r\nECHO\r\n${len(big)}\r\n{big}\r\n')
        self.assertEqual(big, self.client.read(2).split()[1])
        self.assertEqual(1, self.proxy.counts()['connections'])

    def test_hold_and_deliver_in_order(self):
        self.proxy.rule('commands down any - hold')
        self.client.send('ECHO a\r\nECHO b\r\n')
        self.assertTrue(self.client.silent())
        self.proxy.clear()
        self.assertEqual('$1 a $1 b', self.client.read(4))
        self.assertEqual(2, self.proxy.counts()['held'])

    def test_hold_one_keeps_what_comes_behind_it(self):
        self.proxy.rule('commands down any aa hold')
        self.client.send('ECHO x\r\nECHO aa\r\nECHO b\r\n')
        self.assertEqual('$1 x', self.client.read(2))
        self.assertTrue(self.client.silent())
        self.proxy.clear()
        self.assertEqual('$2 aa $1 b', self.client.read(4))

    def test_hold_requests(self):
        self.proxy.rule('commands up any INCR hold')
        self.client.send('INCR held\r\n')
        self.assertTrue(self.client.silent())
        self.assertEqual(0, self.redis.command('EXISTS', 'held'))
        self.proxy.clear()
        self.assertEqual(':1', self.client.read())

    def test_delay(self):
        self.proxy.rule('commands down any - delay 300')
        began = time.monotonic()
        self.assertEqual('+PONG', self.client.ask('PING'))
        self.assertGreaterEqual(time.monotonic() - began, 0.3 * 0.9)

    def test_drip(self):
        self.proxy.rule('commands down any - drip 20')
        began = time.monotonic()
        self.assertEqual('$8 12345678', self.client.ask('ECHO 12345678', 2))
        self.assertGreaterEqual(time.monotonic() - began, 13 * 0.02 * 0.9)  # clocks of whole milliseconds

    def test_drop_the_third_only(self):
        subscriber = self.subscriber()
        self.proxy.rule('subscription down message :rev drop 0 2 1')
        self.publish(('a:rev', '1'), ('b', '1'), ('a:rev', '2'), ('a:rev', '3'), ('b', '2'), ('a:rev', '4'))
        self.assertEqual(' '.join([message('a:rev', '1'), message('b', '1'), message('a:rev', '2'), message('b', '2'),
                                   message('a:rev', '4')]), subscriber.read(35))
        self.assertEqual(1, self.proxy.counts()['dropped'])

    def test_confirmations_are_no_messages(self):
        self.proxy.rule('subscription down message - drop')
        self.assertTrue(self.subscriber().silent())

    def test_twice(self):
        subscriber = self.subscriber()
        self.proxy.rule('subscription down message - twice')
        self.publish(('b', 'x'), ('b', 'y'))
        self.assertEqual(' '.join([message('b', 'x')] * 2 + [message('b', 'y')] * 2), subscriber.read(28))

    def test_cut_at_a_message(self):
        subscriber = self.subscriber()
        self.proxy.rule('subscription down message 2 cut')
        self.publish(('b', '1'), ('b', '2'))
        self.assertEqual(message('b', '1'), subscriber.read(7))
        self.assertRaises(EOFError, subscriber.silent, lab.PATIENCE_S)
        self.assertEqual('+PONG', self.client.ask('PING'))  # the others stay
        lab.wait_for('Redis notices', lambda: self.redis.command('PUBLISH', 'b', '3') == 0)

    def test_freeze_reads_and_closes_nothing(self):
        subscriber = self.subscriber()
        self.proxy.rule('subscription both any - freeze')
        self.publish(('b', '1'))
        self.assertTrue(subscriber.silent())
        self.assertEqual('+PONG', self.client.ask('PING'))
        late = self.connect()
        late.send('SUBSCRIBE c\r\n')  # inline, so it is a command like any other
        self.assertEqual('*3 $9 subscribe $1 c :1', late.read(6))
        late = self.connect()
        late.send('*2\r\n$9\r\nsubscribe\r\n$1\r\nd\r\n')
        self.assertTrue(late.silent())
        self.proxy.clear()
        self.assertEqual(message('b', '1'), subscriber.read(7))
        self.assertEqual('*3 $9 subscribe $1 d :1', late.read(6))

    def test_black_hole(self):
        subscriber = self.subscriber()
        self.proxy.rule('all both any - drop')
        self.client.send('INCR vanished\r\n')
        self.publish(('b', '1'))
        self.assertTrue(self.client.silent() and subscriber.silent())
        self.assertEqual(0, self.redis.command('EXISTS', 'vanished'))
        self.redis.command('CLIENT', 'KILL', 'TYPE', 'pubsub')
        self.assertTrue(subscriber.silent())  # even its end vanishes
        self.proxy.clear()
        self.assertEqual('+PONG', self.client.ask('PING'))

    def test_the_end_comes_behind_what_was_said_before(self):
        self.proxy.rule('commands down any - delay 200')
        self.client.send('ECHO bye\r\nQUIT\r\n')
        self.assertEqual('$3 bye +OK', self.client.read(3))
        self.assertRaises(EOFError, self.client.silent, lab.PATIENCE_S)

    def test_close_and_another_upstream(self):
        other = self.lab.redis('other')
        other.command('SET', 'who', 'other')
        self.proxy.lead_to(other)
        self.assertRaises(EOFError, self.client.silent, lab.PATIENCE_S)
        self.assertEqual('$5 other', self.connect().ask('GET who', 2))
        other.kill()
        self.proxy.close()
        self.assertRaises((EOFError, BrokenPipeError), self.connect().ask, 'PING')

    def test_raw(self):
        raw = self.lab.wire('raw', self.redis, raw=True)
        self.assertEqual('+PONG', self.connect(raw).ask('PING'))
        raw.rule('all both any - freeze')
        frozen = self.connect(raw)
        frozen.send('PING\r\n')
        self.assertTrue(frozen.silent())
        raw.clear()
        self.assertEqual('+PONG', frozen.read())

    def test_another_host_with_the_same_port(self):
        wire = self.lab.host_wire(self.redis, '127.0.0.2')
        self.assertEqual(self.redis.port, wire.port)
        self.assertEqual('+PONG', self.connect(wire, host='127.0.0.2').ask('PING'))
        self.assertEqual(1, wire.counts()['connections'])

    def test_bad_orders_are_refused(self):
        for bad in ('what', 'rule', 'rule all down any -', 'rule some down any - drop', 'rule all left any - drop',
                    'rule all down all - drop', 'rule all down any - lose'):
            self.assertRaises(Failed, self.proxy.order, bad)


if __name__ == '__main__':
    BUILD = sys.argv.pop(1)
    unittest.main()
