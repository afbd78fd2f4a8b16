# SPDX-License-Identifier: MIT
"""How other stores keep sessions in Redis: for each its keys, what is asked of one, and what the answers say.

A key's time to live is what the store itself goes by, so it counts, and not a time that stands in the value: that is written
once, and the key's time is set anew at each use. Where each use does that, it is an idle time, and the session has no other
end: `lifetime_ms` of the new deployment counts, from the move on. What a key has left is less than the idle time, by as long as
the session was not used. The longest that any key has left is the idle time, or near it."""
import base64
import collections
import hashlib
import json
import re
import time
import zlib

import java_values
import msgpack_values
import php_values
import pickle_values
import ruby_values
from values import Skip, member, plain, read_json

YEAR_MS = 365 * 86400_000
FIELD_MOST = 65536
UNPACKED_MOST = 16 << 20

# value: all that the session holds, for --keep.
Session = collections.namedtuple('Session', 'value user role created_at_ms expires_at_ms idle_ms',
                                 defaults=(None, None, None, None))


def now_ms():
    return int(time.time() * 1000)


def base64_text(data):
    return base64.b64encode(data).decode()


def kept(value):
    """As JSON; None: it does not fit in a field."""
    try:
        text = json.dumps(plain(value))
    except (Skip, TypeError, ValueError, RecursionError):
        return None
    return text if len(text) <= FIELD_MOST else None


class Store:
    """Keys whose value is one string, and whose time to live is an idle time."""
    prefix = user = None
    idles = True

    def token(self, rest):
        """What the store looked up, of a key without its prefix. None: this is no session."""
        return rest

    def commands(self, key):
        return ('GET', key), ('PTTL', key)

    def value(self, data):
        raise NotImplementedError

    def unfold(self, value):
        return value

    def times(self, value, ttl_ms, options):
        """Members of Session. The time to live is -1 where the key has none: then the store keeps it for ever."""
        return {'idle_ms': max(ttl_ms, options.longest_ms) if ttl_ms >= 0 else 10 * YEAR_MS}

    def read(self, answers, options):
        """The session; None: it is gone."""
        data, ttl_ms = answers
        if data is None or ttl_ms == -2:
            return None
        value = self.value(data)
        return Session(value, member(value, options.user, self.unfold), member(value, options.role, self.unfold),
                       **self.times(value, ttl_ms, options))


class ConnectRedis(Store):
    """{"cookie": {"originalMaxAge": 86400000, "expires": "2026-11-23T10:00:00.000Z", ...}, "userId": 17}"""
    prefix, user = 'sess:', 'userId'
    idles = False

    def value(self, data):
        value = read_json(data)
        if not isinstance(value, dict):
            raise Skip('not an object')
        return value

    def times(self, value, ttl_ms, options):
        cookie = value.get('cookie')  # --keep keeps it: express-session takes no session without it
        idle_ms = cookie.get('originalMaxAge') if isinstance(cookie, dict) else None
        if ttl_ms < 0:
            return {'idle_ms': idle_ms}
        if options.rolling:
            return super().times(value, ttl_ms, options) if idle_ms is None else {'idle_ms': idle_ms}
        options.ageless |= idle_ms is None
        return {'idle_ms': ttl_ms if idle_ms is None else idle_ms, 'expires_at_ms': now_ms() + ttl_ms}


def untyped(value):
    """What Jackson writes of an attribute that is a Long or a UUID: ["java.lang.Long", 7]."""
    typed = isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and value[0].startswith('java.')
    return value[1] if typed and isinstance(value[1], (int, float, str)) else value


class Spring(Store):
    """A hash: creationTime, lastAccessedTime, maxInactiveInterval, sessionAttr:NAME ... Each written by the serializer."""
    prefix, user = 'spring:session:sessions:', 'userId'
    idles = False

    def token(self, rest):
        # Beside them are "expires:<id>", and in later versions the sorted set "expirations".
        return None if b':' in rest or rest == b'expirations' else rest

    def commands(self, key):
        return (('HGETALL', key),)

    @staticmethod
    def value_of(data):
        if data.startswith(java_values.MAGIC):
            return java_values.read(data)
        try:
            return read_json(data)
        except Skip:
            raise Skip("written neither as JSON nor by Java's serialization") from None

    def number(self, fields, name):
        if name not in fields:
            return None
        value = untyped(self.value_of(fields[name]))
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise Skip(f'{name.decode()} is no number')
        return int(value)

    def attribute(self, fields, path):
        """The first part of the path, up to one of its points, is the attribute's name."""
        parts = path.split('.') if path else []
        for size in range(len(parts), 0, -1):
            data = fields.get(b'sessionAttr:' + '.'.join(parts[:size]).encode())
            if data:
                return untyped(member(self.value_of(data), '.'.join(parts[size:])))
        return None

    def attributes(self, fields):
        value = {}
        for name, data in fields.items():
            if name.startswith(b'sessionAttr:') and data:
                try:
                    value[name[12:].decode(errors='replace')] = self.value_of(data)
                except Skip:
                    continue
        return value

    def read(self, answers, options):
        flat = answers[0]
        if not flat:
            return None
        fields = dict(zip(flat[::2], flat[1::2]))
        created_ms = self.number(fields, b'creationTime')
        if created_ms is None:
            raise Skip('half written: it has no creationTime, and Spring does not take it either')
        used_ms, interval_s = self.number(fields, b'lastAccessedTime'), self.number(fields, b'maxInactiveInterval')
        used_ms = created_ms if used_ms is None else used_ms
        if interval_s == 0:  # it was ended: Spring keeps its hash for five minutes more
            return None
        expires_ms, idle_ms = None, None
        if interval_s is not None and interval_s < 0:
            idle_ms = 10 * YEAR_MS  # never
        elif interval_s is not None:
            idle_ms = min(interval_s * 1000, 10 * YEAR_MS)
            if used_ms + idle_ms < now_ms():
                expires_ms = max(used_ms + idle_ms, 1)
        # It has no end but that of idleness: the handle's lifetime_ms counts, from now.
        return Session(self.attributes(fields) if options.keep else None, self.attribute(fields, options.user),
                       self.attribute(fields, options.role), max(created_ms, 0), expires_ms, idle_ms)


class Php(Store):
    """What session.serialize_handler says: php, php_serialize or php_binary."""
    prefix, user = 'PHPREDIS_SESSION:', 'user_id'

    def token(self, rest):
        return None if rest.endswith(b'_LOCK') else rest  # redis.session.locking_enabled

    def value(self, data):
        return php_values.read_session(data)

    def unfold(self, value):
        return php_values.unfold(value)


class Laravel(Store):
    """A string, serialized, of the attributes, serialized or JSON."""
    prefix, user = 'laravel_database_laravel_cache', 'login_web_' + hashlib.sha1(rb'Illuminate\Auth\SessionGuard').hexdigest()

    def token(self, rest):
        found = re.fullmatch(rb'[_:-]*([A-Za-z0-9]{40})', rest)  # the cache is full of other things
        return found and found[1]

    def value(self, data):
        text = php_values.read(data)
        text = text.encode() if isinstance(text, str) else text
        if not isinstance(text, bytes):
            raise Skip('not a session of Laravel')
        if re.match(rb'eyJpdiI6', text):  # {"iv":
            raise Skip("encrypted by the application's key (session.encrypt)")
        value = read_json(text) if text.startswith(b'{') else php_values.read(text)
        if not isinstance(value, dict):
            raise Skip('not a session of Laravel')
        return value

    def unfold(self, value):
        return php_values.unfold(value)


class Rails(Store):
    """Marshal or JSON."""
    prefix, user = 'session:', 'user_id'

    def value(self, data):
        value = ruby_values.read(data) if data.startswith(ruby_values.MAGIC) else read_json(data)
        if not isinstance(value, dict):
            raise Skip('not a session of Rails')
        return value


def unpacked(data):
    decompressor = zlib.decompressobj()
    try:
        data = decompressor.decompress(data, UNPACKED_MOST)
    except zlib.error:
        raise Skip('compressed by something else than zlib') from None
    if decompressor.unconsumed_tail:
        raise Skip('too large')
    return data


class Django(Store):
    """A dict by the cache's serializer, perhaps compressed; or text, signed, as in the table django_session. The signature is
    for those who get the text from a browser; what a server wrote to its own Redis needs none. The time to live is counted from
    the login, unless SESSION_SAVE_EVERY_REQUEST is set: so it is the session's end, too."""
    prefix, user = ':1:django.contrib.sessions.cache', '_auth_user_id'
    idles = False

    def token(self, rest):
        found = re.fullmatch(rb'(?:d_db)?([a-z0-9]{32})', rest)  # ...cached_db<id>; the cache is full of other things
        return found and found[1]

    def value(self, data):
        value = self.dict_of(data)
        if not isinstance(value, dict):
            raise Skip('not a session of Django')
        return value

    def dict_of(self, data):
        if data.startswith((b'\x78\x01', b'\x78\x5e', b'\x78\x9c', b'\x78\xda')):
            data = unpacked(data)
        if data.startswith(b'\x80'):
            return pickle_values.read(data)
        if data.startswith(b'{'):
            return read_json(data)
        if re.fullmatch(rb'\.?[\w-]+:[\w-]+:[\w-]+', data):  # signing.dumps
            text = data.split(b':')[0]
            body = base64.urlsafe_b64decode(text.lstrip(b'.') + b'===')
            return self.dict_of(unpacked(body) if text.startswith(b'.') else body)
        if re.fullmatch(rb'[A-Za-z0-9+/=]+', data):  # before Django 3.1: base64 of "signature:JSON"
            return self.dict_of(base64.b64decode(data).partition(b':')[2])
        return msgpack_values.read(data)

    def times(self, value, ttl_ms, options):
        if ttl_ms < 0 or options.rolling:
            return super().times(value, ttl_ms, options)
        return {'idle_ms': ttl_ms, 'expires_at_ms': now_ms() + ttl_ms}


class Flask(Store):
    """pickle, MessagePack or JSON."""
    prefix, user = 'session:', '_user_id'

    def value(self, data):
        if data.startswith(b'\x80') and data.endswith(b'.'):  # an empty MessagePack map is \x80 alone
            value = pickle_values.read(data)
        else:
            value = read_json(data) if data.startswith(b'{') else msgpack_values.read(data)
        if not isinstance(value, dict):
            raise Skip('not a session of Flask')
        return value


STORES = {'connect-redis': ConnectRedis(), 'spring': Spring(), 'php': Php(), 'laravel': Laravel(), 'rails': Rails(),
          'django': Django(), 'flask': Flask()}
