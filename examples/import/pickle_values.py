# SPDX-License-Identifier: MIT
"""Pickles, read and never unpickled: unpickling runs whatever a pickle names. Here a class or function is a name, what is made by
it is a dict of that name and what it is made of, and nothing is imported or called."""
import pickletools

from values import MOST, Skip, text_of, uuid_text

MARK = object()


class Reading:
    """The stack and the memo of a pickle."""

    def __init__(self):
        self.stack, self.memo = [], {}

    def bad(self):
        return Skip('not a pickle')

    def pop(self):
        if not self.stack or self.stack[-1] is MARK:
            raise self.bad()
        return self.stack.pop()

    def to_mark(self):
        for at in range(len(self.stack) - 1, -1, -1):
            if self.stack[at] is MARK:
                values = self.stack[at + 1:]
                del self.stack[at:]
                return values
        raise self.bad()

    def top(self, kind):
        if not self.stack or not isinstance(self.stack[-1], kind):
            raise self.bad()
        return self.stack[-1]

    def some(self, count):
        return [self.pop() for _ in range(count)][::-1]

    @staticmethod
    def put(into, flat):
        for name, value in zip(flat[::2], flat[1::2]):
            into[name if isinstance(name, (str, bytes, int, float, type(None))) else str(type(name))] = value

    @staticmethod
    def made(how, arguments):
        name = how.get('@class') if isinstance(how, dict) else None
        first = arguments[0] if isinstance(arguments, list) and arguments else None
        if name == '_codecs.encode' and isinstance(first, str):  # how the older protocols write bytes
            return first.encode('latin-1', 'replace')
        if name in LISTS and isinstance(first, list):
            return first
        return {'@class': name or 'something', **({'args': arguments} if arguments else {})}

    def replace(self, target, value):
        """The top of the stack, and what remembers it."""
        self.stack[-1] = value
        self.memo.update({number: value for number, one in self.memo.items() if one is target})

    def step(self, name, argument):
        handler = HANDLERS.get(name)
        if handler:
            handler(self, argument)
        elif name in VALUES:
            self.stack.append(text_of(argument) if name in BYTE_TEXTS else argument)
        elif name not in NOTHING:
            raise Skip(f'a pickle with {name}')


def append(many):
    def handler(r, _):
        values = r.to_mark() if many else [r.pop()]
        target = r.top((list, dict))
        if isinstance(target, list):
            target.extend(values)
        else:  # a subclass of list
            target.setdefault('items', []).extend(values)
    return handler


def set_items(many):
    def handler(r, _):
        flat = r.to_mark() if many else r.some(2)
        r.put(r.top(dict), flat)
    return handler


def build(r, _):
    state, target = r.pop(), r.top(object)
    if isinstance(target, dict) and '@class' in target:
        if isinstance(state, dict):
            target.update((name, value) for name, value in state.items() if name != '@class')
        else:
            target['state'] = state
        if target['@class'] == 'uuid.UUID' and isinstance(target.get('int'), int):
            r.replace(target, uuid_text(target['int']))


def make(r, _):
    arguments, how = r.pop(), r.pop()
    r.stack.append(r.made(how, arguments))


def make_ex(r, _):
    named, arguments, how = r.pop(), r.pop(), r.pop()
    r.stack.append({**r.made(how, arguments), **(named if isinstance(named, dict) else {})})


def stack_global(r, _):
    name, module = r.pop(), r.pop()
    r.stack.append({'@class': f'{module}.{name}'})


def instance(r, argument):
    r.stack.append(r.made({'@class': argument.replace(' ', '.')}, r.to_mark()))


def obj(r, _):
    values = r.to_mark()
    if not values:
        raise r.bad()
    r.stack.append(r.made(values[0], values[1:]))


def get(r, argument):
    if int(argument) not in r.memo:
        raise r.bad()
    r.stack.append(r.memo[int(argument)])


def add_items(r, _):
    values = r.to_mark()
    r.top(list).extend(values)


def put(r, argument):
    r.memo[int(argument)] = r.top(object)


def memoize(r, _):
    r.memo[len(r.memo)] = r.top(object)


def push(make_value):
    return lambda r, argument: r.stack.append(make_value(r, argument))


def dict_of(r, _):
    into = {}
    r.put(into, r.to_mark())
    return into


HANDLERS = {
    'MARK': push(lambda r, _: MARK), 'NONE': push(lambda r, _: None), 'NEWTRUE': push(lambda r, _: True),
    'NEWFALSE': push(lambda r, _: False), 'EMPTY_DICT': push(lambda r, _: {}), 'EMPTY_LIST': push(lambda r, _: []),
    'EMPTY_TUPLE': push(lambda r, _: []), 'EMPTY_SET': push(lambda r, _: []), 'DICT': push(dict_of),
    'LIST': push(lambda r, _: r.to_mark()), 'TUPLE': push(lambda r, _: r.to_mark()), 'FROZENSET': push(lambda r, _: r.to_mark()),
    'TUPLE1': push(lambda r, _: r.some(1)), 'TUPLE2': push(lambda r, _: r.some(2)), 'TUPLE3': push(lambda r, _: r.some(3)),
    'GLOBAL': push(lambda r, argument: {'@class': argument.replace(' ', '.')}),
    'DUP': push(lambda r, _: r.top(object)), 'POP': lambda r, _: r.stack.pop() if r.stack else None,
    'POP_MARK': lambda r, _: r.to_mark(), 'APPEND': append(False), 'APPENDS': append(True), 'SETITEM': set_items(False),
    'SETITEMS': set_items(True), 'ADDITEMS': add_items, 'REDUCE': make, 'NEWOBJ': make, 'NEWOBJ_EX': make_ex,
    'STACK_GLOBAL': stack_global, 'BUILD': build, 'INST': instance, 'OBJ': obj, 'MEMOIZE': memoize, 'PUT': put, 'BINPUT': put,
    'LONG_BINPUT': put, 'GET': get, 'BINGET': get, 'LONG_BINGET': get,
}
VALUES = {'INT', 'BININT', 'BININT1', 'BININT2', 'LONG', 'LONG1', 'LONG4', 'FLOAT', 'BINFLOAT', 'STRING', 'BINSTRING', 'SHORT_BINSTRING',
          'UNICODE', 'BINUNICODE', 'SHORT_BINUNICODE', 'BINUNICODE8', 'BINBYTES', 'SHORT_BINBYTES', 'BINBYTES8', 'BYTEARRAY8'}
BYTE_TEXTS = {'BINBYTES', 'SHORT_BINBYTES', 'BINBYTES8'}
LISTS = {f'{module}.{kind}' for module in ('builtins', '__builtin__') for kind in ('set', 'frozenset', 'list', 'tuple')}
NOTHING = {'PROTO', 'FRAME', 'STOP'}


def read(data):
    reading = Reading()
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(data)):
            if count > 10 * MOST:
                raise Skip('too large or too deep')
            reading.step(opcode.name, argument)
    except (ValueError, UnicodeDecodeError):
        raise reading.bad() from None
    return reading.pop()
