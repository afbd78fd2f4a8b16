# SPDX-License-Identifier: MIT
"""MessagePack, by its specification. An extension, such as a time, is a dict of its type and bytes."""
import struct

from values import Input, Skip, text_of

DEPTH_MOST = 100


def read(data):
    source = Input(data, 'MessagePack')
    value = take(source, 0)
    if not source.ended:
        raise source.bad()
    return value


def many(source, count, depth):
    if depth > DEPTH_MOST:
        raise Skip('too large or too deep')
    return [take(source, depth + 1) for _ in range(count)]


def pairs(source, count, depth):
    flat = many(source, 2 * count, depth)
    return {name if isinstance(name, (str, bytes, int, float, bool, type(None))) else str(name): value
            for name, value in zip(flat[::2], flat[1::2])}


def extension(source, size):
    return {'@class': f'extension {source.number(1, signed=True)}', 'data': source.take(size)}


def take(source, depth):
    kind = source.byte()
    if kind < 0x80 or kind >= 0xe0:
        return kind if kind < 0x80 else kind - 256
    if kind < 0x90:
        return pairs(source, kind & 15, depth)
    if kind < 0xa0:
        return many(source, kind & 15, depth)
    if kind < 0xc0:
        return text_of(source.take(kind & 31))
    if kind in (0xc0, 0xc2, 0xc3):
        return {0xc0: None, 0xc2: False, 0xc3: True}[kind]
    if 0xc4 <= kind <= 0xc6:
        return source.take(source.number(1 << kind - 0xc4))
    if 0xc7 <= kind <= 0xc9:
        return extension(source, source.number(1 << kind - 0xc7))
    if kind in (0xca, 0xcb):
        return struct.unpack('>f' if kind == 0xca else '>d', source.take(4 if kind == 0xca else 8))[0]
    if 0xcc <= kind <= 0xd3:
        return source.number(1 << (kind & 3), signed=kind >= 0xd0)
    if 0xd4 <= kind <= 0xd8:
        return extension(source, 1 << kind - 0xd4)
    if 0xd9 <= kind <= 0xdb:
        return text_of(source.take(source.number(1 << kind - 0xd9)))
    if kind in (0xdc, 0xdd):
        return many(source, source.number(2 if kind == 0xdc else 4), depth)
    if kind in (0xde, 0xdf):
        return pairs(source, source.number(2 if kind == 0xde else 4), depth)
    raise source.bad()
