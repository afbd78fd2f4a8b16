# SPDX-License-Identifier: MIT
"""What Java's own serialization writes, by its specification. An object is a dict of its fields, with its class under '@class'; a
boxed number or truth is that; maps and lists of java.util are dicts and lists. No class is looked for."""
import struct

from values import Input, Skip, name_of, uuid_text

MAGIC = b'\xac\xed\0\5'
DEPTH_MOST = 200
NULL, REFERENCE, CLASS_DESC, OBJECT, STRING, ARRAY, CLASS, BLOCK, END_BLOCK, RESET, LONG_BLOCK, EXCEPTION, LONG_STRING, PROXY, ENUM = range(
    0x70, 0x7f)
WRITE_METHOD, SERIALIZABLE, EXTERNALIZABLE, BLOCK_DATA = 1, 2, 4, 8
PRIMITIVES = {'B': '>b', 'D': '>d', 'F': '>f', 'I': '>i', 'J': '>q', 'S': '>h', 'Z': '>?', 'C': '>H'}
BOXES = {f'java.lang.{name}' for name in ('Long', 'Integer', 'Short', 'Byte', 'Double', 'Float', 'Boolean', 'Character')}


class Class:
    def __init__(self, name):
        self.name, self.flags, self.fields, self.parent = name, 0, [], None


class Java(Input):
    def __init__(self, data):
        super().__init__(data, "written by Java's serialization")
        self.take(4)
        self.handles = []

    def utf(self, size):
        """Java's UTF-8: NUL is two bytes, and beyond 16 bits stand surrogates."""
        data = self.take(size).replace(b'\xc0\x80', b'\0')
        try:
            return data.decode('utf-8', 'surrogatepass').encode('utf-16', 'surrogatepass').decode('utf-16', 'replace')
        except UnicodeDecodeError:
            raise self.bad() from None

    def short_utf(self):
        return self.utf(self.number(2))

    def keep(self, value):
        self.handles.append(value)
        return value

    def reference(self):
        at = self.number(4) - 0x7e0000
        if not 0 <= at < len(self.handles):
            raise self.bad()
        return self.handles[at]

    def class_desc(self, depth):
        kind = self.byte()
        if kind == NULL:
            return None
        if kind == REFERENCE:
            found = self.reference()
            if not isinstance(found, Class):
                raise self.bad()
            return found
        if kind == PROXY:
            made = self.keep(Class('proxy'))
            made.flags = SERIALIZABLE
            for _ in range(self.number(4)):
                self.short_utf()
        elif kind == CLASS_DESC:
            made = Class(self.short_utf())
            self.take(8)
            self.keep(made)
            made.flags = self.byte()
            for _ in range(self.number(2)):
                code, name = chr(self.byte()), self.short_utf()
                if code in '[L':
                    self.value(depth + 1)  # the field's type
                elif code not in PRIMITIVES:
                    raise self.bad()
                made.fields.append((code, name))
        else:
            raise self.bad()
        self.annotation(depth)
        made.parent = self.class_desc(depth + 1)
        return made

    def annotation(self, depth):
        """What a class wrote by itself, up to the end of that: values, and blocks of bytes."""
        values = []
        while True:
            kind = self.byte()
            if kind == END_BLOCK:
                return values
            if kind == BLOCK:
                values.append(self.take(self.byte()))
            elif kind == LONG_BLOCK:
                values.append(self.take(self.number(4)))
            else:
                self.at -= 1
                values.append(self.value(depth + 1))

    def primitive(self, code):
        value, = struct.unpack(PRIMITIVES[code], self.take(struct.calcsize(PRIMITIVES[code])))
        return chr(value) if code == 'C' else value

    def object(self, depth):
        described = self.class_desc(depth)
        if described is None:
            raise self.bad()
        made = self.keep({'@class': described.name})
        at, lineage = len(self.handles) - 1, []
        while described:
            lineage.append(described)
            described = described.parent
        written = []
        for one in lineage[::-1]:
            if one.flags & SERIALIZABLE:
                for code, name in one.fields:
                    made[name] = self.primitive(code) if code in PRIMITIVES else self.value(depth + 1)
                if one.flags & WRITE_METHOD:
                    written += self.annotation(depth)
            elif one.flags & EXTERNALIZABLE:
                if not one.flags & BLOCK_DATA:
                    raise Skip('written in an old form of Java')
                written += self.annotation(depth)
        value = simple(made, written)
        self.handles[at] = value
        return value

    def array(self, depth):
        described = self.class_desc(depth)
        made, size = self.keep([]), self.number(4, signed=True)
        if described is None or not 0 <= size <= len(self.data):
            raise self.bad()
        code = described.name[1:2]
        if code == 'B':
            at = len(self.handles) - 1
            self.handles[at] = data = self.take(size)
            return data
        for _ in range(size):
            made.append(self.primitive(code) if code in PRIMITIVES else self.value(depth + 1))
        return made

    def value(self, depth=0):
        if depth > DEPTH_MOST:
            raise Skip('too large or too deep')
        kind = self.byte()
        if kind == NULL:
            return None
        if kind == REFERENCE:
            return self.reference()
        if kind == STRING:
            return self.keep(self.short_utf())
        if kind == LONG_STRING:
            return self.keep(self.utf(self.number(8)))
        if kind == OBJECT:
            return self.object(depth)
        if kind == ARRAY:
            return self.array(depth)
        if kind == ENUM:
            self.class_desc(depth)
            at = len(self.handles)
            self.keep(None)
            self.handles[at] = name = self.value(depth + 1)
            return name
        if kind == CLASS:
            return self.keep({'@class': 'java.lang.Class', 'name': getattr(self.class_desc(depth), 'name', None)})
        if kind in (CLASS_DESC, PROXY):
            self.at -= 1
            return {'@class': 'java.io.ObjectStreamClass', 'name': getattr(self.class_desc(depth), 'name', None)}
        raise self.bad()


def simple(made, written):
    """What a class of Java's own stands for."""
    name, values = made['@class'], [value for value in written if not isinstance(value, bytes)]
    if name in BOXES:
        return made.get('value')
    if not name.startswith('java.'):
        if values:
            made['@written'] = values
        return made
    if name.endswith('Map') or name.endswith('Hashtable'):
        for wrapped in ('m', 'sm'):  # of Collections.unmodifiableMap and the like
            if isinstance(made.get(wrapped), dict):
                return made[wrapped]
        return {name_of(key): value for key, value in zip(values[::2], values[1::2])}
    if name.endswith(('List', 'Set', 'Deque', 'Vector')) or name.endswith('Collection'):
        for wrapped in ('c', 'list', 'a', 'elementData'):
            if isinstance(made.get(wrapped), list):
                return made[wrapped]
        return values
    if name == 'java.util.CollSer':  # List.of, Set.of, Map.of
        return values
    if name == 'java.util.Date':  # milliseconds
        return int.from_bytes(written[0], 'big', signed=True) if written and isinstance(written[0], bytes) else None
    if name == 'java.util.UUID':
        bits = (made.get('mostSigBits', 0) & (1 << 64) - 1) << 64 | made.get('leastSigBits', 0) & (1 << 64) - 1
        return uuid_text(bits)
    if values:
        made['@written'] = values
    return made


def read(data):
    if not data.startswith(MAGIC):
        raise Skip("not written by Java's serialization")
    return Java(data).value()
