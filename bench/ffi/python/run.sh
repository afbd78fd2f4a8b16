#!/bin/sh
# SPDX-License-Identifier: MIT
# The Python extension, beside redis-py; Flask with it, without sessions, and with Flask-Session.
set -eu
PYTHONPATH="$1" exec "$PYTHON" -B "$(dirname "$0")/hit.py"
