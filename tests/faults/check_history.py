#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Judges a recorded history of concurrent clients. Knows what a session may do, and nothing of the library's code.

  check_history.py HISTORY      prints the verdict as JSON; status 0: no violation, 1: violations, 2: not a history

A history is lines in any order; times are nanoseconds of one clock that all processes share:

  START END PROCESS OPERATION SESSION STATUS LIFETIME_MS

  create SESSION      LIFETIME_MS: how long it may live, 0: longer than this history
  validate, touch, revoke SESSION
  everyone -                         a revocation of every session
  @bound MS, @tick MS                the bound of guarantee C, and how coarse clocks are
  @fault-begin -, @fault-end -       (START) when the fault was there
  @lost FROM_NS                      at some moment from START to END the server may have lost what it was told since FROM_NS
  @apart -                           from START to END a server that is about to be replaced had PROCESS alone, and no replica: what it
                                     confirmed binds others from the next @drained on, as if it were pending
  @drained -                         at START no revocation of PROCESS was pending any more

A session is absent, then live (from a create that answered OK), then revoked. A call takes effect at some moment between
its start and its end, so whatever overlaps is in doubt, and doubt is no violation. What is one:

  stale     an OK that started more than the bound (and a tick) after a revocation was confirmed, by whomever
  own       an OK that started after the same process had revoked the session, confirmed or pending
  ghost     an OK for a session that was not made, or not yet
  expired   an OK that started after the session's life was over
  refused   a "no" for a session that was live all the while
  odd       a status that the operation has no business to answer
"""
import collections
import json
import sys

OK, NOT_FOUND, EXPIRED, MALFORMED, UNAVAILABLE, PENDING = 0, 1, 2, 3, -3, -5
MS, SECOND = 10**6, 10**9
CLEAN_NS = SECOND  # recovered: this long without an UNAVAILABLE
KINDS = ('stale', 'own', 'ghost', 'expired', 'refused', 'odd')
EXPECTED = {
    'create': {OK, UNAVAILABLE},
    'validate': {OK, NOT_FOUND, EXPIRED, UNAVAILABLE},
    'touch': {OK, NOT_FOUND, EXPIRED, UNAVAILABLE},
    'revoke': {OK, NOT_FOUND, PENDING, UNAVAILABLE},
    'everyone': {OK, UNAVAILABLE},
}
Call = collections.namedtuple('Call', 'start end process operation session status lifetime')


class NoHistory(Exception):
    pass


def parse_line(line):
    words = line.split()
    try:
        start, end, process, operation, session, status, lifetime = words
        call = Call(int(start), int(end), process, operation, session, int(status), int(lifetime) * MS)
    except ValueError:
        raise NoHistory(f'not a line of a history: {line.strip()!r}') from None
    if call.end < call.start:
        raise NoHistory(f'ends before it starts: {line.strip()!r}')
    if operation not in EXPECTED and not operation.startswith('@'):
        raise NoHistory(f'unknown operation: {line.strip()!r}')
    return call


class Session:
    def __init__(self):
        self.made = None  # the create that answered OK
        self.revokes = []

    def ended_with_all(self, c):
        """What that call is to this session: its revocation; one without an answer, where it is in doubt; or None. One that
        was not confirmed may still run for a while."""
        if not self.made:
            return None
        if c.status == OK and self.made.end < c.start:
            return c
        until = c.end if c.status == OK else c.end + SECOND
        return c._replace(status=UNAVAILABLE) if self.made.start < until else None

    def confirmed(self, drained, apart):
        """When a revocation was confirmed first, or None."""
        moments = []
        for r in self.revokes:
            alone = any(a.process == r.process and a.start <= r.end and r.start <= a.end for a in apart)
            if r.status == OK and not alone:
                moments.append(r.end)
            elif r.status in (OK, PENDING):
                moments += [moment for moment in drained.get(r.process, ()) if moment > r.end][:1]
        return min(moments, default=None)


class History:
    def __init__(self, lines):
        calls = [parse_line(line) for line in lines if line.strip()]
        self.events = [c for c in calls if c.operation.startswith('@')]
        self.calls = sorted(c for c in calls if not c.operation.startswith('@'))
        self.validates = [c for c in self.calls if c.operation == 'validate']
        self.sessions = collections.defaultdict(Session)
        for c in self.calls:
            if c.operation != 'everyone':
                self.learn(c)
        presses = [c for c in self.calls if c.operation == 'everyone']
        for session in self.sessions.values():
            session.revokes += [end for end in map(session.ended_with_all, presses) if end]
        self.bound, self.tick = self.setting('@bound'), self.setting('@tick')
        self.lost = [(e.start, e.end, int(e.session)) for e in self.events if e.operation == '@lost']
        self.drained = collections.defaultdict(list)
        for e in sorted(self.events):
            if e.operation == '@drained':
                self.drained[e.process].append(e.start)
        apart = [e for e in self.events if e.operation == '@apart']
        self.confirmed = {name: s.confirmed(self.drained, apart) for name, s in self.sessions.items()}

    def learn(self, c):
        session = self.sessions[c.session]
        if c.operation == 'create' and c.status == OK:
            if session.made:
                raise NoHistory(f'session {c.session} was made twice')
            session.made = c
        elif c.operation == 'revoke':
            session.revokes.append(c)

    def setting(self, name):
        values = [int(e.session) for e in self.events if e.operation == name]
        if len(values) != 1:
            raise NoHistory(f'{name} must be there once')
        return values[0] * MS

    def moment(self, name):
        moments = [e.start for e in self.events if e.operation == name]
        if len(moments) > 1:
            raise NoHistory(f'{name} must not be there twice')
        return moments[0] if moments else None


# ------------------------------------------------------------------------------------------------- what is wrong --
def wrong_admission(h, c, session):
    """Why this OK of a validate must not be."""
    made = session.made
    if not made or c.end < made.start:
        return 'ghost'
    if any(r.process == c.process and r.status in (OK, PENDING) and c.start > r.end for r in session.revokes):
        return 'own'
    confirmed = h.confirmed[c.session]
    if confirmed is not None and c.start > confirmed + h.bound + h.tick:
        return 'stale'
    if made.lifetime and c.start > made.end + made.lifetime + h.tick:
        return 'expired'
    return None


def may_be_lost(h, c, made):
    return any(c.end > start and made.end > since and made.start < end for start, end, since in h.lost)


def excused(h, c, session):
    """Is there a reason for this "no"? The second answer: is the reason that the server lost the session?"""
    made = session.made
    if not made or made.end >= c.start:
        return True, False
    if any(r is not c and r.start < c.end for r in session.revokes):
        return True, False
    if made.lifetime and c.end > made.start + made.lifetime - h.tick:
        return True, False
    lost = may_be_lost(h, c, made)
    return lost, lost


def judge(h, c):
    """What is wrong with this call, or None; and whether it met a session that the server lost."""
    session = h.sessions[c.session]
    expected = EXPECTED[c.operation] if session.made else EXPECTED[c.operation] | {MALFORMED}
    if c.status not in expected:
        return 'odd', False
    if c.status == OK and c.operation == 'validate':
        return wrong_admission(h, c, session), False
    if c.status in (NOT_FOUND, EXPIRED):
        reason, lost = excused(h, c, session)
        return (None if reason else 'refused'), lost
    return None, False


# ---------------------------------------------------------------------------------------------------- how it went --
def staleness(h):
    """The longest that a revoked session was admitted after its revocation had been confirmed, in ns."""
    return max((c.start - h.confirmed[c.session] for c in h.validates
                if c.status == OK and h.confirmed.get(c.session) is not None), default=0)


def past_bound(h):
    """Validates of sessions that were revoked longer than the bound ago: those that could have been stale."""
    return sum(1 for c in h.validates if h.confirmed.get(c.session) is not None
               and c.start > h.confirmed[c.session] + h.bound + h.tick)


def percent(calls):
    return 100.0 * sum(c.status == UNAVAILABLE for c in calls) / len(calls) if calls else 0.0


def recovery(calls, since):
    """From `since` to the first moment that begins a second without UNAVAILABLE, in ns; None: there is none."""
    at = since
    for end in sorted(c.end for c in calls if c.status == UNAVAILABLE and c.end >= since):
        if end - at > CLEAN_NS:
            break
        at = end
    answered = any(c.status != UNAVAILABLE and at <= c.start <= at + CLEAN_NS for c in calls)
    seen = any(c.start >= at + CLEAN_NS for c in calls)
    return at - since if answered and seen else None


def availability(h):
    """The worst of the processes, as a user of that one would see it."""
    begin, end = h.moment('@fault-begin'), h.moment('@fault-end')
    if begin is None or end is None:
        return {}
    during, after, longest = 0.0, 0.0, 0
    for process in {c.process for c in h.validates}:
        mine = [c for c in h.validates if c.process == process]
        took = recovery(mine, end)
        longest = None if took is None or longest is None else max(longest, took)
        until = end + (SECOND if took is None else took)
        during = max(during, percent([c for c in mine if begin <= c.start < end]))
        after = max(after, percent([c for c in mine if end <= c.start <= until]))
    return {'unavailable_during_percent': round(during, 2), 'unavailable_after_percent': round(after, 2),
            'recovery_ms': None if longest is None else round(longest / MS)}


def check(lines):
    h = History(lines)
    counts, examples, lost = dict.fromkeys(KINDS, 0), [], 0
    for c in h.calls:
        kind, met_lost = judge(h, c)
        lost += met_lost
        if kind:
            counts[kind] += 1
            if counts[kind] <= 5:
                examples.append(explain(h, kind, c))
    longest = staleness(h)
    return {'violations': sum(counts.values()), 'kinds': counts, 'examples': examples, 'calls': len(h.calls),
            'validates': len(h.validates), 'validates_past_bound': past_bound(h),
            'staleness_ms': round(max(0, longest) / MS, 1), 'lost_by_server': lost, **availability(h)}


def explain(h, kind, c):
    session, base = h.sessions[c.session], h.calls[0].start
    at = lambda moment: f'{(moment - base) / MS:.1f}'
    text = f'{kind}: {c.process} {c.operation} {c.session} = {c.status} [{at(c.start)}..{at(c.end)} ms]'
    if session.made:
        text += f'; made by {session.made.process} [{at(session.made.start)}..{at(session.made.end)}]'
        if session.made.lifetime:
            text += f' for {session.made.lifetime // MS} ms'
    for r in session.revokes:
        text += f'; revoke by {r.process} = {r.status} [{at(r.start)}..{at(r.end)}]'
    begin, end = h.moment('@fault-begin'), h.moment('@fault-end')
    return text + (f'; fault [{at(begin)}..{at(end)}]' if begin and end else '')


def main():
    if len(sys.argv) != 2 or sys.argv[1].startswith('-'):
        print(__doc__)
        return 0 if sys.argv[1:] in (['-h'], ['--help']) else 2
    try:
        with open(sys.argv[1], encoding='ascii') as file:
            verdict = check(file)
    except (NoHistory, OSError, UnicodeDecodeError) as error:
        print(f'{sys.argv[1]}: {error}', file=sys.stderr)
        return 2
    print(json.dumps(verdict, indent=1))
    return 1 if verdict['violations'] else 0


if __name__ == '__main__':
    sys.exit(main())
