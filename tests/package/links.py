#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Do the links between the project's documents lead somewhere? A link names a file that is there, and a heading that is in it.

  python3 tests/package/links.py
"""
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LINK = re.compile(r'\]\(([^)\s]+)\)')


def documents():
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [name for name in folders if name != '.git' and not name.startswith('build')]
        for name in files:
            if name.endswith('.md'):
                yield os.path.join(folder, name)


def without_code(text):
    return re.sub(r'^```.*?^```', '', text, flags=re.M | re.S)


def anchors(path):
    """The names under which a page's headings can be linked to, as the usual hosts make them."""
    with open(path, encoding='utf-8') as file:
        headings = re.findall(r'^#+ +(.*)$', without_code(file.read()), re.M)
    return {re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-') for heading in headings}


def faults(document):
    with open(document, encoding='utf-8') as file:
        text = without_code(file.read())
    for target in LINK.findall(text):
        path, _, anchor = target.partition('#')
        if '://' in path or path.startswith('mailto:'):
            continue
        there = os.path.normpath(os.path.join(os.path.dirname(document), path)) if path else document
        if not os.path.exists(there):
            yield f'{target}: there is no such file'
        elif anchor and anchor not in anchors(there):
            yield f'{target}: the page has no such heading'


def main():
    count = failed = 0
    for document in sorted(documents()):
        count += 1
        for fault in faults(document):
            failed += 1
            print(f'{os.path.relpath(document, ROOT)}: {fault}')
    print(f'{count} documents, {failed} links lead nowhere')
    return 1 if failed or count < 5 else 0


if __name__ == '__main__':
    sys.exit(main())
