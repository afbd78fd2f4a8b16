# SPDX-License-Identifier: MIT
"""What the readers of formats share. Each makes of bytes what JSON could hold: dict, list, str, int, float, bool, None, and
bytes where they are no text. An object is a dict of its members, with its class under '@class'. Nothing is ever executed,
imported or made that the bytes name."""
import base64
import json

MOST = 100000  # values in one session


class Skip(Exception):
    """Why a session is not exported."""


class Input:
    """Bytes, read from the front."""

    def __init__(self, data, what):
        self.data, self.at, self.what = data, 0, what

    def bad(self):
        return Skip(f'not {self.what}')

    def take(self, size):
        if not 0 <= size <= len(self.data) - self.at:
            raise self.bad()
        self.at += size
        return self.data[self.at - size:self.at]

    def byte(self):
        return self.take(1)[0]

    def number(self, size, order='big', signed=False):
        return int.from_bytes(self.take(size), order, signed=signed)

    def until(self, mark):
        end = self.data.find(mark, self.at)
        if end < 0:
            raise self.bad()
        text = self.data[self.at:end]
        self.at = end + len(mark)
        return text

    @property
    def ended(self):
        return self.at >= len(self.data)


def text_of(data):
    """str where it is UTF-8, else the bytes."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def uuid_text(number):
    text = f'{number:032x}'
    return '-'.join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def name_of(key):
    """A key of a dict, as JSON has it."""
    if isinstance(key, bytes):
        return key.decode(errors='replace')
    if isinstance(key, (str, int, float)):
        return str(key)
    return f'({type(key).__name__})'


def read_json(data):
    try:  # a byte that is no text harms that text alone
        return json.loads(data.decode(errors='surrogateescape'))
    except ValueError:
        raise Skip('not JSON') from None


def plain(value):
    """The same with what JSON has, and as a tree: values may be shared, and so many of them that no memory holds them. What
    holds itself is null there."""
    left, around = [MOST], set()

    def walk(value):
        left[0] -= 1
        if left[0] < 0 or len(around) > 100:
            raise Skip('too large or too deep')
        if isinstance(value, (bytes, bytearray)):
            return {'base64': base64.b64encode(value).decode()}
        if not isinstance(value, (dict, list)) or id(value) in around:
            return None if isinstance(value, (dict, list)) else value
        around.add(id(value))
        made = {name_of(name): walk(one) for name, one in value.items()} if isinstance(value, dict) else [walk(one) for one in value]
        around.discard(id(value))
        return made

    return walk(value)


def member(value, path, unfold=lambda value: value):
    """What the path leads to; None: nothing. A name may itself hold points: warden.user.user.key.0.0"""
    if path is None:
        return None
    if not path:
        return value
    value, parts = unfold(value), path.split('.')
    for size in range(len(parts), 0, -1):
        name, rest = '.'.join(parts[:size]), '.'.join(parts[size:])
        if isinstance(value, dict) and name in value:
            return member(value[name], rest, unfold)
        if isinstance(value, list) and name.isascii() and name.isdigit() and int(name) < len(value):
            return member(value[int(name)], rest, unfold)
    return None
