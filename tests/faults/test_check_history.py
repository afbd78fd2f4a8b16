#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Does the checker find each violation in made-up histories, and none where there is none?"""
import unittest

import check_history
from check_history import MALFORMED, NOT_FOUND, EXPIRED, OK, PENDING, UNAVAILABLE

SETTINGS = ['0 0 * @bound 500 0 0', '0 0 * @tick 10 0 0']


def line(start_ms, end_ms, process, operation, session, status, lifetime_ms=0):
    return f'{round(start_ms * 10**6)} {round(end_ms * 10**6)} {process} {operation} {session} {status} {lifetime_ms}'


def check(*lines):
    return check_history.check(SETTINGS + list(lines))


MADE = line(0, 1, 'A', 'create', 7, OK)
REVOKED = line(100, 101, 'A', 'revoke', 7, OK)


class Violations(unittest.TestCase):
    def found(self, kind, *lines, count=1):
        verdict = check(*lines)
        wanted = dict.fromkeys(check_history.KINDS, 0)
        wanted[kind] = count
        self.assertEqual(wanted, verdict['kinds'], verdict['examples'])
        self.assertEqual(count, verdict['violations'])
        self.assertTrue(all(text.startswith(kind) for text in verdict['examples']))

    def fine(self, *lines):
        verdict = check(*lines)
        self.assertEqual(0, verdict['violations'], verdict['examples'])
        return verdict

    # C
    def test_admitted_past_the_bound(self):
        self.found('stale', MADE, REVOKED, line(611.5, 612, 'B', 'validate', 7, OK))
        self.found('stale', MADE, REVOKED, *[line(700 + i, 701 + i, 'B', 'validate', 7, OK) for i in range(9)], count=9)

    def test_admitted_within_the_bound(self):
        verdict = self.fine(MADE, REVOKED, line(610.5, 900, 'B', 'validate', 7, OK))
        self.assertEqual(509.5, verdict['staleness_ms'])

    def test_admitted_long_after_by_a_call_that_started_before(self):
        self.fine(MADE, REVOKED, line(99, 5000, 'B', 'validate', 7, OK))

    def test_the_first_confirmation_counts(self):
        self.found('stale', MADE, REVOKED, line(2000, 2001, 'C', 'revoke', 7, OK),
                   line(700, 701, 'B', 'validate', 7, OK))

    def test_a_revocation_that_is_pending_binds_nobody_else(self):
        pending = line(100, 101, 'A', 'revoke', 7, PENDING)
        self.fine(MADE, pending, line(5000, 5001, 'B', 'validate', 7, OK))
        self.fine(MADE, pending, line(900, 900, 'B', '@drained', '-', 0), line(5000, 5001, 'B', 'validate', 7, OK))

    def test_what_was_confirmed_apart_binds_others_when_it_got_through(self):
        apart, through = '95000000 150000000 A @apart - 0 0', line(900, 900, 'A', '@drained', '-', 0)
        self.fine(MADE, REVOKED, apart, through, line(1400, 1401, 'B', 'validate', 7, OK))
        self.found('stale', MADE, REVOKED, apart, through, line(1411, 1412, 'B', 'validate', 7, OK))
        self.found('own', MADE, REVOKED, apart, through, line(102, 103, 'A', 'validate', 7, OK))
        self.found('stale', MADE, REVOKED, apart.replace('A @', 'B @'), through, line(1400, 1401, 'B', 'validate', 7, OK))
        self.found('stale', MADE, REVOKED, apart.replace('150', '98'), through, line(1400, 1401, 'B', 'validate', 7, OK))

    def test_a_pending_revocation_that_got_through_binds_everybody(self):
        pending, through = line(100, 101, 'A', 'revoke', 7, PENDING), line(900, 900, 'A', '@drained', '-', 0)
        self.found('stale', MADE, pending, through, line(1411, 1412, 'B', 'validate', 7, OK))
        self.fine(MADE, pending, through, line(1409, 1412, 'B', 'validate', 7, OK))

    def test_a_drain_before_the_revocation_says_nothing(self):
        self.fine(MADE, line(100, 101, 'A', 'revoke', 7, PENDING), line(50, 50, 'A', '@drained', '-', 0),
                  line(5000, 5001, 'B', 'validate', 7, OK))

    def test_a_revocation_without_answer_binds_nobody(self):
        unknown = line(100, 101, 'A', 'revoke', 7, UNAVAILABLE)
        self.fine(MADE, unknown, line(5000, 5001, 'B', 'validate', 7, OK), line(6000, 6001, 'B', 'validate', 7, NOT_FOUND))

    # B
    def test_admitted_by_the_process_that_revoked(self):
        self.found('own', MADE, REVOKED, line(101.1, 102, 'A', 'validate', 7, OK))
        self.found('own', MADE, line(100, 101, 'A', 'revoke', 7, PENDING), line(101.1, 102, 'A', 'validate', 7, OK))

    def test_admitted_while_the_revocation_was_under_way(self):
        self.fine(MADE, REVOKED, line(100.5, 102, 'A', 'validate', 7, OK))

    # never made
    def test_admitted_without_having_been_made(self):
        self.found('ghost', MADE, line(5, 6, 'A', 'validate', 8, OK))
        self.found('ghost', MADE, line(5, 6, 'A', 'validate', '7f', OK))

    def test_admitted_before_it_was_made(self):
        self.found('ghost', line(10, 11, 'A', 'create', 7, OK), line(5, 6, 'B', 'validate', 7, OK))
        self.fine(line(10, 11, 'A', 'create', 7, OK), line(5, 10.5, 'B', 'validate', 7, OK))

    def test_a_creation_that_failed_makes_nothing(self):
        self.found('ghost', line(0, 1, 'A', 'create', 7, UNAVAILABLE), line(5, 6, 'A', 'validate', 7, OK))

    # expiry
    def test_admitted_past_its_life(self):
        short = line(0, 1, 'A', 'create', 7, OK, 1500)
        self.found('expired', short, line(1511.5, 1512, 'B', 'validate', 7, OK))
        self.fine(short, line(1510.5, 1512, 'B', 'validate', 7, OK))

    # false refusals
    def test_live_session_refused(self):
        for status in NOT_FOUND, EXPIRED:
            self.found('refused', MADE, line(5, 6, 'B', 'validate', 7, status))
            self.found('refused', MADE, line(5, 6, 'B', 'touch', 7, status))
        self.found('refused', MADE, line(5, 6, 'B', 'revoke', 7, NOT_FOUND))

    def test_refused_before_its_revocation_started(self):
        self.found('refused', MADE, line(5, 99.5, 'B', 'validate', 7, NOT_FOUND), REVOKED)
        self.fine(MADE, line(5, 100.5, 'B', 'validate', 7, NOT_FOUND), REVOKED)

    def test_refused_while_being_made(self):
        self.fine(MADE, line(0.5, 6, 'B', 'validate', 7, NOT_FOUND))

    def test_refused_at_the_end_of_its_life(self):
        short = line(0, 1, 'A', 'create', 7, OK, 1500)
        self.found('refused', short, line(5, 1489, 'B', 'validate', 7, NOT_FOUND))
        self.fine(short, line(5, 1491, 'B', 'validate', 7, EXPIRED))

    def test_unavailable_is_no_refusal(self):
        self.fine(MADE, line(5, 6, 'B', 'validate', 7, UNAVAILABLE))

    def test_what_the_server_lost_is_no_false_refusal(self):
        lost = '50000000 50000000 * @lost 500000 0 0'  # at 50 ms, what came after 0.5 ms
        verdict = self.fine(MADE, lost, line(40, 51, 'B', 'validate', 7, NOT_FOUND))
        self.assertEqual(1, verdict['lost_by_server'])
        self.found('refused', MADE, lost, line(40, 49, 'B', 'validate', 7, NOT_FOUND))
        early = '50000000 50000000 * @lost 1500000 0 0'
        self.found('refused', MADE, early, line(40, 51, 'B', 'validate', 7, NOT_FOUND))
        self.found('refused', line(60, 61, 'A', 'create', 7, OK), lost, line(70, 71, 'B', 'validate', 7, NOT_FOUND))
        while_it_lasts = '30000000 65000000 * @lost 500000 0 0'  # at some moment from 30 to 65 ms
        self.fine(line(60, 61, 'A', 'create', 7, OK), while_it_lasts, line(62, 63, 'B', 'validate', 7, NOT_FOUND))
        self.found('refused', line(66, 67, 'A', 'create', 7, OK), while_it_lasts, line(70, 71, 'B', 'validate', 7, NOT_FOUND))
        self.found('refused', MADE, while_it_lasts, line(20, 29, 'B', 'validate', 7, NOT_FOUND))

    def test_everybody_is_ended(self):
        press = line(100, 110, 'a', 'everyone', '-', 0)
        made = line(0, 5, 'a', 'create', 's', 0)
        self.found('own', made, press, line(111, 112, 'a', 'validate', 's', 0))
        self.found('stale', made, press, line(5000, 5001, 'b', 'validate', 's', 0))
        self.fine(made, press, line(112, 113, 'b', 'validate', 's', 0))
        self.fine(made, press, line(105, 113, 'a', 'validate', 's', 1))
        self.found('refused', made, press, line(50, 60, 'b', 'validate', 's', 1))
        later = line(120, 121, 'a', 'create', 's', 0)
        self.fine(later, press, line(5000, 5001, 'b', 'validate', 's', 0))
        self.found('refused', later, press, line(5000, 5001, 'b', 'validate', 's', 1))

    def test_everybody_is_ended_perhaps(self):
        made = line(0, 5, 'a', 'create', 's', 0)
        for press in (line(100, 110, 'a', 'everyone', '-', -3), line(3, 110, 'a', 'everyone', '-', 0)):
            for status in (0, 1):
                self.fine(made, press, line(5000, 5001, 'b', 'validate', 's', status))

    def test_losing_excuses_no_admission(self):
        self.found('stale', MADE, REVOKED, '500000000 500000000 * @lost 0 0 0', line(700, 701, 'B', 'validate', 7, OK))

    # odd
    def test_statuses_that_have_no_business_there(self):
        self.found('odd', MADE, line(5, 6, 'B', 'validate', 7, -4))
        self.found('odd', MADE, line(5, 6, 'B', 'validate', 7, MALFORMED))
        self.found('odd', MADE, line(5, 6, 'B', 'validate', 7, PENDING))
        self.found('odd', line(5, 6, 'B', 'create', -1, NOT_FOUND))
        self.fine(MADE, line(5, 6, 'B', 'validate', '7f', MALFORMED))


class Figures(unittest.TestCase):
    FAULT = [line(1000, 1000, '*', '@fault-begin', '-', 0), line(2000, 2000, '*', '@fault-end', '-', 0)]

    def test_validates_past_the_bound_are_counted_whatever_they_answered(self):
        verdict = check(MADE, REVOKED, line(600, 601, 'B', 'validate', 7, NOT_FOUND),
                        line(700, 701, 'B', 'validate', 7, NOT_FOUND), line(800, 801, 'A', 'validate', 7, UNAVAILABLE))
        self.assertEqual((2, 3), (verdict['validates_past_bound'], verdict['validates']))

    def history(self, unavailable, until=6000):
        calls = [line(t, t + 1, 'A', 'validate', 7, UNAVAILABLE if unavailable(t) else OK) for t in range(10, until, 10)]
        return check(MADE, *self.FAULT, *calls, *[c.replace('A', 'B').replace('-3 0', '0 0') for c in calls])

    def test_recovery(self):
        verdict = self.history(lambda t: 1500 <= t < 2300)
        self.assertEqual(291, verdict['recovery_ms'])  # the last one started at 2290 and ended 1 later
        self.assertEqual(50.0, verdict['unavailable_during_percent'])
        self.assertEqual(100.0, verdict['unavailable_after_percent'])

    def test_recovery_needs_a_whole_second(self):
        self.assertEqual(1801, self.history(lambda t: t in (2900, 3800))['recovery_ms'])
        self.assertEqual(0, self.history(lambda t: t == 3200)['recovery_ms'])

    def test_no_recovery(self):
        self.assertIsNone(self.history(lambda t: t >= 1500)['recovery_ms'])
        self.assertIsNone(self.history(lambda t: 1500 <= t < 2300, until=2900)['recovery_ms'])

    def test_no_fault_no_trouble(self):
        verdict = self.history(lambda t: False)
        self.assertEqual((0, 0.0, 0.0), (verdict['recovery_ms'], verdict['unavailable_during_percent'],
                                         verdict['unavailable_after_percent']))


class NotHistories(unittest.TestCase):
    def test_they_are_refused(self):
        for bad in ('1 2 A validate 7', 'x 2 A validate 7 0 0', '5 4 A validate 7 0 0', '1 2 A guess 7 0 0'):
            self.assertRaises(check_history.NoHistory, check, bad)
        self.assertRaises(check_history.NoHistory, check, MADE, MADE)
        self.assertRaises(check_history.NoHistory, check_history.check, [MADE])


if __name__ == '__main__':
    unittest.main()
