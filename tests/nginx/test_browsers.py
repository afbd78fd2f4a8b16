# SPDX-License-Identifier: MIT
"""Browsers, proxies and faults at random, in front of nginx (tests/http/browsers.py)."""
import os
import subprocess
import sys

from nginx_kit import BUILD, ROOT

sys.exit(subprocess.call([sys.executable, '-B', f'{ROOT}/tests/http/browsers.py', '--seconds', os.environ.get('LATCHKEY_BROWSERS_S', '5'),
                          'nginx'], env={**os.environ, 'LATCHKEY_BUILD': BUILD}))
