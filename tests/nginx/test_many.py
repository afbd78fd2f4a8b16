# SPDX-License-Identifier: MIT
"""More workers than most machines have: all of them are counted."""
import json
import unittest

from nginx_kit import Nginx, Redis, WithNginx, wait_for

WORKERS = 270
HTTP = '''
    latchkey_store app "{store}";
    server { listen 127.0.0.1:{port}; location / { latchkey app; latchkey_answer; } }
'''


class Many(unittest.TestCase):
    def test_each_worker_is_shown(self):
        with Redis() as redis:
            store = f'unix://{redis.socket}?deadline_ms=5000&staleness_ms=60000&l1_capacity=100'
            with Nginx(HTTP.replace('{store}', store), WithNginx.MAIN, WORKERS) as nginx:
                wait_for('each worker is shown', lambda: len(json.loads(
                    nginx.get('/', port=nginx.ports['status']).text)['app']['workers']) == WORKERS)


if __name__ == '__main__':
    unittest.main()
