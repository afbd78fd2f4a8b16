# SPDX-License-Identifier: MIT
"""What PHP's serialize() writes, and the three ways in which sessions are made of that. An array is a dict, since PHP's are."""
from values import Input, Skip, name_of, text_of

DEPTH_MOST = 100
IGBINARY = (b'\0\0\0\1', b'\0\0\0\2')


class Php(Input):
    def __init__(self, data):
        super().__init__(data, 'serialized by PHP')
        self.seen = []  # what R: and r: count

    def integer(self, mark):
        text = self.until(mark)
        if not text.lstrip(b'+-').isdigit():
            raise self.bad()
        return int(text)

    def expect(self, mark):
        if self.take(len(mark)) != mark:
            raise self.bad()

    def text(self):
        size = self.integer(b':')
        self.expect(b'"')
        data = self.take(size)
        self.expect(b'"')
        return data

    def members(self, count, into, depth):
        if not 0 <= count <= len(self.data):
            raise self.bad()
        for _ in range(count):
            name = self.value(depth + 1, counted=False)
            into[name_of(name).rpartition('\0')[2]] = self.value(depth + 1)  # "\0Class\0name": a private member
        self.expect(b'}')
        return into

    def value(self, depth=0, counted=True):
        if depth > DEPTH_MOST:
            raise Skip('too large or too deep')
        kind = self.take(2)
        if kind == b'N;':
            return self.count(None, counted)
        if kind in (b'r:', b'R:'):
            number = self.integer(b';')
            if not 1 <= number <= len(self.seen):
                raise self.bad()
            value = self.seen[number - 1]
            return self.count(value, kind == b'r:')
        if kind == b'i:':
            return self.count(self.integer(b';'), counted)
        if kind == b'b:':
            return self.count(self.integer(b';') != 0, counted)
        if kind == b'd:':
            try:
                return self.count(float(self.until(b';')), counted)  # INF and NAN, too
            except ValueError:
                raise self.bad() from None
        if kind == b's:':
            data = self.text()
            self.expect(b';')
            return self.count(text_of(data), counted)
        if kind == b'E:':  # an enum's case: "Suit:Hearts"
            data = self.text()
            self.expect(b';')
            return self.count(text_of(data).rpartition(':')[2], counted)
        if kind == b'a:':
            count = self.integer(b':')
            self.expect(b'{')
            return self.members(count, self.count({}, counted), depth)
        if kind == b'O:':
            made = self.count({'@class': text_of(self.text())}, counted)
            self.expect(b':')
            count = self.integer(b':')
            self.expect(b'{')
            return self.members(count, made, depth)
        if kind == b'C:':  # it wrote itself, in its own way
            name = self.text()
            self.expect(b':')
            size = self.integer(b':')
            self.expect(b'{')
            data = self.take(size)
            self.expect(b'}')
            return self.count({'@class': text_of(name), 'data': text_of(data)}, counted)
        raise self.bad()

    def count(self, value, counted):
        if counted:
            self.seen.append(value)
        return value


def read(data):
    """One value."""
    if data.startswith(IGBINARY):
        raise Skip('written by igbinary: let PHP itself write the lines')
    source = Php(data)
    value = source.value()
    if not source.ended:
        raise source.bad()
    return value


def named(data, take_name):
    source, members = Php(data), {}
    while not source.ended:
        name = name_of(take_name(source))
        members[name] = source.value()
    return members


def name_php(source):
    return source.until(b'|')


def name_php_binary(source):
    return source.take(source.byte() & 127)


def read_session(data):
    """By whichever of session.serialize_handler fits: php_serialize, php, php_binary."""
    if data.startswith(IGBINARY):
        read(data)
    if not data:
        return {}
    for attempt in (lambda: read(data), lambda: named(data, name_php), lambda: named(data, name_php_binary)):
        try:
            value = attempt()
        except Skip:
            continue
        if isinstance(value, dict):
            return value
    raise Skip('not a session of PHP')


def unfold(value):
    """A text that is serialized again, as Symfony keeps its user."""
    if isinstance(value, str) and value[:2] in ('a:', 'O:', 's:', 'C:'):
        try:
            return read(value.encode())
        except Skip:
            return value
    return value
