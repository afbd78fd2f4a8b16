# SPDX-License-Identifier: MIT
"""Ruby's Marshal 4.8. A symbol is its name. An object is a dict of its variables, without their "@"."""
from values import Input, Skip, name_of, text_of

MAGIC = b'\4\b'
DEPTH_MOST = 100


class Ruby(Input):
    def __init__(self, data):
        super().__init__(data, "written by Ruby's Marshal")
        self.take(2)
        self.symbols, self.objects = [], []

    def integer(self):
        c = self.number(1, signed=True)
        if c == 0:
            return 0
        if 4 < c or c < -4:
            return c - 5 if c > 0 else c + 5
        value = self.number(abs(c), 'little')
        return value if c > 0 else value - (1 << 8 * -c)

    def chunk(self):
        return self.take(self.integer())

    def of(self, many, index):
        if not 0 <= index < len(many):
            raise self.bad()
        return many[index]

    def symbol(self):
        kind = self.take(1)
        if kind == b'I':  # with its encoding
            name = self.symbol()
            self.variables(1)
            return name
        if kind == b';':
            return self.of(self.symbols, self.integer())
        if kind != b':':
            raise self.bad()
        self.symbols.append(name_of(self.chunk()))
        return self.symbols[-1]

    def count(self):
        count = self.integer()
        if not 0 <= count <= len(self.data):
            raise self.bad()
        return count

    def variables(self, depth, into=None):
        into = {} if into is None else into
        for _ in range(self.count()):
            name = self.symbol()
            into[name.lstrip('@')] = self.value(depth + 1)
        return into

    def keep(self, value):
        self.objects.append(value)
        return value

    def pairs(self, into, depth):
        for _ in range(self.count()):
            name = name_of(self.value(depth + 1))
            into[name] = self.value(depth + 1)
        return into

    def list(self, into, depth):
        for _ in range(self.count()):
            into.append(self.value(depth + 1))
        return into

    def value(self, depth=0):
        if depth > DEPTH_MOST:
            raise Skip('too large or too deep')
        kind = self.take(1)
        read = getattr(self, 'take_' + KINDS.get(kind, 'nothing'), None)
        if not read:
            raise self.bad()
        return read(depth)

    def take_nil(self, _):
        return None

    def take_true(self, _):
        return True

    def take_false(self, _):
        return False

    def take_fixnum(self, _):
        return self.integer()

    def take_symbol(self, _):
        self.at -= 1
        return self.symbol()

    def take_link(self, _):
        return self.of(self.objects, self.integer())

    def take_ivar(self, depth):
        if self.data[self.at:self.at + 1] == b'u':  # it is counted after its variables
            self.at += 1
            made = {'@class': self.symbol(), 'data': self.chunk()}
            self.variables(depth)
            return self.keep(made)
        value = self.value(depth + 1)
        self.variables(depth)  # its encoding; what else a text or a list carries is nothing for us
        return value

    def take_string(self, _):
        return self.keep(text_of(self.chunk()))

    def take_float(self, _):
        text = self.chunk().partition(b'\0')[0]
        try:
            return self.keep(float(text))
        except ValueError:
            raise self.bad() from None

    def take_bignum(self, _):
        sign, size = self.take(1), self.integer()
        value = int.from_bytes(self.take(2 * size), 'little')
        return self.keep(-value if sign == b'-' else value)

    def take_array(self, depth):
        return self.list(self.keep([]), depth)

    def take_hash(self, depth):
        return self.pairs(self.keep({}), depth)

    def take_hash_default(self, depth):
        into = self.pairs(self.keep({}), depth)
        self.value(depth + 1)
        return into

    def take_user_class(self, depth):  # a subclass of a text, list or hash, such as HashWithIndifferentAccess
        self.symbol()
        return self.value(depth + 1)

    def take_extended(self, depth):
        self.symbol()
        return self.value(depth + 1)

    def take_object(self, depth):
        made = self.keep({})
        made['@class'] = self.symbol()
        return self.variables(depth, made)

    def take_struct(self, depth):
        return self.take_object(depth)

    def take_user_defined(self, _):  # _dump: bytes of its own, such as a Time
        name = self.symbol()
        return self.keep({'@class': name, 'data': self.chunk()})

    def take_user_marshal(self, depth):  # marshal_dump
        made = self.keep({})
        made['@class'] = self.symbol()
        made['data'] = self.value(depth + 1)
        return made

    def take_data(self, depth):
        return self.take_user_marshal(depth)

    def take_regexp(self, _):
        made = self.keep({'@class': 'Regexp', 'data': self.chunk()})
        self.byte()
        return made

    def take_module(self, _):
        return self.keep({'@class': 'Module', 'data': self.chunk()})


KINDS = {b'0': 'nil', b'T': 'true', b'F': 'false', b'i': 'fixnum', b':': 'symbol', b';': 'symbol', b'@': 'link', b'I': 'ivar',
         b'"': 'string', b'f': 'float', b'l': 'bignum', b'[': 'array', b'{': 'hash', b'}': 'hash_default', b'C': 'user_class',
         b'e': 'extended', b'o': 'object', b'S': 'struct', b'u': 'user_defined', b'U': 'user_marshal', b'd': 'data', b'/': 'regexp',
         b'c': 'module', b'm': 'module', b'M': 'module'}


def read(data):
    if not data.startswith(MAGIC):
        raise Skip("not written by Ruby's Marshal")
    source = Ruby(data)
    return source.value()
