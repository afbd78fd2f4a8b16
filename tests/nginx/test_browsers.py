# SPDX-License-Identifier: MIT
"""Browsers, proxies and faults at random, in front of nginx (tests/http/browsers.py)."""
import os
import subprocess
import sys

from nginx_kit import ASAN, BUILD, ROOT

KINDS = ['nginx'] if ASAN else ['nginx', 'lua']  # LuaJIT cannot load a library that was built with AddressSanitizer
sys.exit(subprocess.call([sys.executable, '-B', f'{ROOT}/tests/http/browsers.py', '--seconds', os.environ.get('LATCHKEY_BROWSERS_S', '8'),
                          *KINDS], env={**os.environ, 'LATCHKEY_BUILD': BUILD}))
