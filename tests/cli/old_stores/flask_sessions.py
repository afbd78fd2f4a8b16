# SPDX-License-Identifier: MIT
"""Sessions as Flask-Session keeps them: flask_sessions.py SOCKET COUNT. Prints their ids."""
import sys
import uuid

import flask
import flask_session
import redis

SOCKET, COUNT = sys.argv[1], int(sys.argv[2])
app = flask.Flask('shop')
app.config.update(SECRET_KEY='a secret', SESSION_TYPE='redis', SESSION_REDIS=redis.Redis(unix_socket_path=SOCKET))
flask_session.Session(app)


@app.route('/<int:number>')
def login(number):
    if number != 3:
        flask.session['_user_id'] = str(1 + number)
    flask.session['role'] = 'member' if number % 2 else 'admin'
    flask.session['id'] = uuid.UUID(int=number)
    flask.session['cart'] = {'eggs': 2, 'prices': [1.5, None, (1, 2), {'x'}, b'\xff']}
    print(flask.session.sid)
    return ''


for count in range(COUNT):
    assert app.test_client().get(f'/{count}').status_code == 200
