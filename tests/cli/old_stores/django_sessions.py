# SPDX-License-Identifier: MIT
"""Sessions as Django keeps them: django_sessions.py SOCKET ENGINE SERIALIZER COUNT. Prints their ids.

ENGINE is cache; or signed: the text that the table django_session has, put into Redis; or database: that table, and then the
program on standard input runs, as in `manage.py shell`. SERIALIZER is what django-redis writes with: pickle, json or msgpack; or
zlib, which is pickle, compressed."""
import datetime
import sys

import django
from django.conf import settings

SOCKET, ENGINE, SERIALIZER, COUNT = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
NAMES = {'json': 'json.JSONSerializer', 'msgpack': 'msgpack.MSGPackSerializer'}
settings.configure(
    SECRET_KEY='a secret', USE_TZ=True, SESSION_ENGINE='django.contrib.sessions.backends.cache', SESSION_COOKIE_AGE=86400,
    INSTALLED_APPS=['django.contrib.contenttypes', 'django.contrib.auth', 'django.contrib.sessions'],
    DATABASES={'default': {'ENGINE': 'django.db.backends.sqlite3', 'NAME': ':memory:'}},
    CACHES={'default': {'BACKEND': 'django_redis.cache.RedisCache', 'LOCATION': f'unix://{SOCKET}?db=0', 'OPTIONS': {
        'SERIALIZER': 'django_redis.serializers.' + NAMES.get(SERIALIZER, 'pickle.PickleSerializer'),
        **({'COMPRESSOR': 'django_redis.compressors.zlib.ZlibCompressor'} if SERIALIZER == 'zlib' else {})}}})
django.setup()

from django.contrib.sessions.backends.cache import SessionStore  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.contrib.sessions.backends.db import SessionStore as DatabaseStore  # noqa: E402
from django_redis import get_redis_connection  # noqa: E402

if ENGINE == 'database':
    call_command('migrate', verbosity=0)
for number in range(COUNT):
    session = SessionStore() if ENGINE == 'cache' else DatabaseStore()
    if number != 3:
        session['_auth_user_id'] = 'ada@example.org' if ENGINE == 'database' and number == 4 else str(1 + number)
    session['_auth_user_hash'] = 'f' * 64
    session['role'] = 'member' if number % 2 else 'admin'
    session['cart'] = {'eggs': 2, 'note': 'J\u00f6rg ' * 50}
    if ENGINE == 'cache' and SERIALIZER in ('pickle', 'zlib'):
        session['seen'] = [datetime.datetime(2026, 11, 23, tzinfo=datetime.timezone.utc), {1, 2}, (3, 4), b'\xff', 2**70, None]
    if ENGINE == 'cache':
        session.create()
        session.save()
        print(session.session_key)
    elif ENGINE == 'database':
        session.create()
    else:
        name = f'{number:032x}'
        get_redis_connection('default').set(f':1:django.contrib.sessions.cache{name}', session.encode(session._session), px=86400000)
        print(name)
if ENGINE == 'database':
    exec(sys.stdin.read(), {})
