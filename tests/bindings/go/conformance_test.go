// SPDX-License-Identifier: MIT

// Package bindings tests the binding for Go against the list of tests/bindings/README.md.
package bindings

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"latchkey"
)

func damaged(token string) string {
	c := "A"
	if token[30] == 'A' {
		c = "B"
	}
	return token[:30] + c + token[31:]
}

func isNo(err error) bool { return errors.Is(err, latchkey.ErrNoSession) }

func TestCreate(t *testing.T) {
	point(t, 1, "create")
	lk := handle(t)
	draft := latchkey.Draft{UserID: math.MaxUint64 - 2, Role: "sixteen bytes ok", Device: math.MaxUint32 - 1, Flags: 0x8001}
	for i := range draft.PermissionsHash {
		draft.PermissionsHash[i] = byte(200 + i)
	}
	token := create(t, lk, draft)
	check(t, len(token) == 43, "the token has %d characters", len(token))
	e, err := lk.Validate(ctx, token)
	must(t, err)
	check(t, e.UserID == draft.UserID && e.Role() == draft.Role && e.Device == draft.Device && e.Flags() == draft.Flags &&
		e.PermissionsHash == draft.PermissionsHash && e.PQKeyHash == [32]byte{}, "the entry is %v", e)
	age := time.Since(e.CreatedAt())
	check(t, age < time.Minute && age > -time.Minute && e.AuthAt() == e.CreatedAt() && e.ExpiresAt().Sub(e.CreatedAt()) == 12*time.Hour,
		"its times are %v, %v", e.CreatedAt(), e.ExpiresAt())
	name := "c0ffee"
	named, err := lk.Validate(ctx, create(t, lk, latchkey.Draft{UserName: &name}))
	must(t, err)
	check(t, named.UserID == latchkey.UserID(name), "the user of a name is %d", named.UserID)
	early, err := lk.NewToken(7)
	must(t, err)
	check(t, create(t, lk, latchkey.Draft{UserID: 7, Token: early}) == early, "the token is another one")
	_, err = lk.Create(ctx, latchkey.Draft{UserID: 7, Token: early})
	check(t, errors.Is(err, latchkey.ErrRefused), "a second session of one token: %v", err)
}

func TestHit(t *testing.T) {
	point(t, 2, "hit")
	lk := handle(t)
	token := create(t, lk, latchkey.Draft{UserID: 2})
	before := stats(t, lk)
	for i := 0; i < 100; i++ {
		_, err := lk.Validate(ctx, token)
		must(t, err)
	}
	after := stats(t, lk)
	check(t, after.L1Hits == before.L1Hits+100 && after.L2Reads == before.L2Reads, "%+v, then %+v", before, after)
}

func TestMiss(t *testing.T) {
	point(t, 3, "miss")
	lk, there := handle(t), handle(t)
	token := create(t, lk, latchkey.Draft{UserID: 3, Role: "member"})
	_, known, err := there.TryValidate(token)
	check(t, !known && err == nil, "memory knows it: %v", err)
	a, err := there.Validate(ctx, token)
	must(t, err)
	b, _ := lk.Validate(ctx, token)
	check(t, a == b, "%v is not %v", a, b)
	hits := stats(t, there)
	_, known, err = there.TryValidate(token)
	check(t, known && err == nil && stats(t, there).L1Hits == hits.L1Hits+1, "the next is no hit: %v", err)
	_, err = there.ValidateFresh(ctx, token, 0)
	check(t, err == nil && stats(t, there).L2Reads == hits.L2Reads+1, "Redis was not asked: %v", err)
}

func TestNo(t *testing.T) {
	point(t, 4, "no")
	lk := handle(t)
	token := create(t, lk, latchkey.Draft{UserID: 4})
	for _, wrong := range []string{never, damaged(token), "", token[:42], token + "A", token[:20] + "\x00" + token[21:],
		strings.Repeat("ä", 43), "\xff\xfe" + token[2:], strings.Repeat("x", 100000)} {
		_, err := lk.Validate(ctx, wrong)
		check(t, isNo(err), "Validate: %v", err)
		_, err = lk.ValidateFresh(ctx, wrong, 0)
		check(t, isNo(err), "ValidateFresh: %v", err)
		_, known, err := lk.TryValidate(wrong)
		check(t, !known && err == nil || isNo(err), "TryValidate: %v", err)
		_, err = lk.Load(ctx, wrong)
		check(t, isNo(err), "Load: %v", err)
		check(t, isNo(lk.Touch(ctx, wrong)) && isNo(lk.Revoke(ctx, wrong)), "touch or revoke is not a no")
	}
	_, err := lk.Validate(ctx, token)
	must(t, err)
}

func TestRevokeHere(t *testing.T) {
	point(t, 5, "revoke here")
	lk := handle(t)
	token := create(t, lk, latchkey.Draft{UserID: 5})
	must(t, lk.Revoke(ctx, token))
	_, err := lk.Validate(ctx, token)
	check(t, isNo(err), "validate: %v", err)
	err = lk.Revoke(ctx, token)
	check(t, isNo(err), "the second revoke: %v", err)
}

func TestRevokeThere(t *testing.T) {
	point(t, 6, "revoke there")
	lk, there := handle(t), handle(t)
	token := create(t, lk, latchkey.Draft{UserID: 6})
	_, err := there.Validate(ctx, token)
	must(t, err)
	must(t, lk.Revoke(ctx, token))
	until(t, "the session ended there", func() bool { _, err := there.Validate(ctx, token); return isNo(err) })
}

func TestRefused(t *testing.T) {
	point(t, 7, "refused")
	lk := handle(t)
	redis(t, "config", "set", "maxmemory", "1")
	_, err := lk.Create(ctx, latchkey.Draft{UserID: 7})
	redis(t, "config", "set", "maxmemory", "0")
	check(t, errors.Is(err, latchkey.ErrUnavailable), "with no memory: %v", err)
	_, err = latchkey.Open("unix:///nothing/is/here.sock")
	check(t, errors.Is(err, latchkey.ErrUnavailable), "with nothing listening: %v", err)
	lazy := open(t, "unix:///nothing/is/here.sock?lazy=1")
	token, err := lazy.NewToken(7)
	must(t, err)
	_, err = lazy.Validate(ctx, token)
	check(t, errors.Is(err, latchkey.ErrUnavailable), "lazy, with nothing listening: %v", err)
}

func TestLate(t *testing.T) {
	point(t, 8, "late")
	lk, short := handle(t), open(t, url("deadline_ms=300"))
	var tokens []string
	for i := 0; i < 20; i++ {
		tokens = append(tokens, create(t, lk, latchkey.Draft{UserID: 800 + uint64(i)}))
	}
	stopped(t, func() {
		var all sync.WaitGroup
		for _, token := range tokens {
			token := token
			all.Add(1)
			go func() {
				defer all.Done()
				if _, err := short.Validate(ctx, token); !errors.Is(err, latchkey.ErrUnavailable) {
					t.Errorf("Redis stands still, and: %v", err)
				}
			}()
		}
		// A context may end before the deadline does.
		brief, cancel := context.WithTimeout(ctx, time.Millisecond)
		defer cancel()
		_, err := lk.ValidateFresh(brief, tokens[0], 0)
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, latchkey.ErrUnavailable) {
			t.Errorf("the context ended, and: %v", err)
		}
		all.Wait()
		if _, err := short.Load(ctx, tokens[0]); !errors.Is(err, latchkey.ErrUnavailable) {
			t.Errorf("Redis stands still, and load: %v", err)
		}
	})
	recovered(t, short)
	for i, token := range tokens {
		var e latchkey.Entry
		until(t, "it is answered", func() bool { var err error; e, err = short.Validate(ctx, token); return err == nil })
		check(t, e.UserID == 800+uint64(i), "%d is answered by %d", 800+i, e.UserID)
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	_, err := lk.ValidateFresh(cancelled, tokens[0], 0)
	check(t, errors.Is(err, context.Canceled), "a context that has ended: %v", err)
}

func TestPending(t *testing.T) {
	point(t, 9, "pending")
	lk, there := open(t, url("deadline_ms=300")), handle(t)
	token := create(t, lk, latchkey.Draft{UserID: 9})
	_, err := there.Validate(ctx, token)
	must(t, err)
	stopped(t, func() {
		if err := lk.Revoke(ctx, token); !errors.Is(err, latchkey.ErrPending) || errors.Is(err, latchkey.ErrUnavailable) {
			t.Errorf("revoke: %v", err)
		}
		if _, err := lk.Validate(ctx, token); !isNo(err) {
			t.Errorf("it is denied here, but: %v", err)
		}
	})
	until(t, "the session ended there", func() bool { _, err := there.Validate(ctx, token); return isNo(err) })
}

func TestClose(t *testing.T) {
	point(t, 11, "close")
	lk := handle(t)
	there, err := latchkey.Open(url(patient), latchkey.WithLog(nil))
	must(t, err)
	var all sync.WaitGroup
	var started sync.WaitGroup
	stopped(t, func() {
		for i := 0; i < 50; i++ {
			token, _ := lk.NewToken(1100 + uint64(i))
			all.Add(1)
			started.Add(1)
			go func() {
				defer all.Done()
				started.Done()
				if _, err := there.Validate(ctx, token); !errors.Is(err, latchkey.ErrClosed) {
					t.Errorf("closed while it waited, and: %v", err)
				}
			}()
		}
		started.Wait()
		time.Sleep(50 * time.Millisecond)
		there.Close()
		all.Wait() // while Redis still stands still
	})
	there.Close()
	_, err = there.Validate(ctx, never)
	check(t, errors.Is(err, latchkey.ErrClosed), "validate: %v", err)
	_, err = there.Create(ctx, latchkey.Draft{UserID: 1})
	check(t, errors.Is(err, latchkey.ErrClosed), "create: %v", err)
	_, err = there.Sessions(ctx, 1, "")
	check(t, errors.Is(err, latchkey.ErrClosed), "sessions: %v", err)
	_, err = there.Metrics()
	check(t, errors.Is(err, latchkey.ErrClosed), "metrics: %v", err)
	recovered(t, lk)
}

func TestRotation(t *testing.T) {
	point(t, 12, "rotation")
	lk := handle(t)
	first := create(t, lk, latchkey.Draft{UserID: 12})
	second, ok, err := lk.Rotate(ctx, first, 0)
	check(t, ok && err == nil, "rotate: %v", err)
	_, err = lk.Validate(ctx, first)
	check(t, isNo(err), "the old one: %v", err)
	third, ok, err := lk.Rotate(ctx, second, time.Minute)
	check(t, ok && err == nil, "rotate: %v", err)
	for _, token := range []string{second, third} {
		e, err := lk.Validate(ctx, token)
		check(t, err == nil && e.UserID == 12, "in the grace: %v", err)
	}
	_, ok, err = lk.Rotate(ctx, second, time.Minute)
	check(t, !ok && err == nil, "done already: %v, %v", ok, err)
	_, _, err = lk.Rotate(ctx, never, 0)
	check(t, isNo(err), "no session: %v", err)
}

func TestFields(t *testing.T) {
	point(t, 14, "fields")
	lk := handle(t)
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	large := bytes.Repeat([]byte{7}, 65536)
	token := create(t, lk, latchkey.Draft{UserID: 14, Fields: map[string][]byte{"app.bytes": all, "app.empty": {}}})
	must(t, lk.SetFields(ctx, token, map[string][]byte{"app.large": large, "app.more": []byte("x")}))
	some, err := lk.GetFields(ctx, token, "app.bytes", "app.large", "app.none")
	must(t, err)
	check(t, bytes.Equal(some.Get("app.bytes"), all) && bytes.Equal(some.Get("app.large"), large) && !some.Has("app.none") &&
		!some.Has("app.more"), "%v", some)
	must(t, lk.SetFields(ctx, token, map[string][]byte{"app.more": nil}))
	record, err := lk.Load(ctx, token)
	must(t, err)
	check(t, record.Entry.UserID == 14 && len(record.Names()) == 3 && record.Has("app.empty"), "%v", record)
	check(t, isNo(lk.SetFields(ctx, never, map[string][]byte{"app.more": nil})), "no session")
}

func TestCompareAndSet(t *testing.T) {
	point(t, 15, "compare-and-set")
	lk := handle(t)
	token := create(t, lk, latchkey.Draft{UserID: 15, Fields: map[string][]byte{"count": []byte("0")}})
	a, err := lk.GetFields(ctx, token, "count")
	must(t, err)
	ok, err := lk.ChangeFields(ctx, token, a, map[string][]byte{"count": []byte("1")})
	check(t, ok && err == nil, "the first: %v", err)
	ok, err = lk.ChangeFields(ctx, token, a, map[string][]byte{"count": []byte("9")})
	check(t, !ok && err == nil, "the second: %v, %v", ok, err)
	var all sync.WaitGroup
	for i := 0; i < 8; i++ {
		all.Add(1)
		go func() {
			defer all.Done()
			err := lk.UpdateField(ctx, token, "count", func(old []byte) ([]byte, error) {
				var n int
				fmt.Sscan(string(old), &n)
				return []byte(fmt.Sprint(n + 1)), nil
			})
			if err != nil {
				t.Error(err)
			}
		}()
	}
	all.Wait()
	record, err := lk.Load(ctx, token)
	must(t, err)
	check(t, string(record.Get("count")) == "9", "the count is %s", record.Get("count"))
}

func TestUsersSessions(t *testing.T) {
	point(t, 16, "a user's sessions")
	lk := handle(t)
	const user = 1<<63 + 16
	var tokens []string
	for i := 0; i < 4; i++ {
		tokens = append(tokens, create(t, lk, latchkey.Draft{UserID: user, Device: uint32(i)}))
	}
	list, err := lk.Sessions(ctx, user, tokens[2])
	must(t, err)
	check(t, len(list) == 4, "%d are listed", len(list))
	for _, each := range list {
		check(t, each.Current == (each.Device == 2) && each.Selector == tokens[each.Device][:20], "%+v", each)
	}
	must(t, lk.RevokeSelector(ctx, user, tokens[0][:20]))
	check(t, isNo(lk.RevokeSelector(ctx, user, tokens[0][:20])), "the second time")
	count, err := lk.RevokeUser(ctx, user, tokens[2])
	check(t, count == 2 && err == nil, "%d ended: %v", count, err)
	_, err = lk.Validate(ctx, tokens[2])
	must(t, err)
	count, err = lk.RevokeUser(ctx, user, "")
	check(t, count == 1 && err == nil, "%d ended: %v", count, err)
}

func TestTouchAndAccess(t *testing.T) {
	point(t, 17, "touch and access")
	lk, there := handle(t), handle(t)
	token := create(t, lk, latchkey.Draft{UserID: 17, Role: "member", Flags: 1})
	_, err := there.Validate(ctx, token)
	must(t, err)
	must(t, lk.Touch(ctx, token))
	check(t, isNo(lk.Touch(ctx, never)), "no session")
	admin, guest, hash := "admin", "guest", [32]byte{3}
	must(t, lk.SetAccess(ctx, token, latchkey.Access{Role: &admin, PermissionsHash: &hash, Flags: 2, FlagsMask: 3}))
	e, err := lk.Validate(ctx, token)
	check(t, err == nil && e.Role() == admin && e.PermissionsHash == hash && e.Flags() == 2, "%v, %v", e, err)
	until(t, "it shows there", func() bool { e, _ := there.Validate(ctx, token); return e.Role() == admin })
	count, err := lk.SetUserAccess(ctx, 17, latchkey.Access{Role: &guest})
	check(t, count == 1 && err == nil, "%d changed: %v", count, err)
}

func TestLimit(t *testing.T) {
	point(t, 18, "limit")
	lk := open(t, url(patient, "max_sessions=1", "limit=deny"))
	create(t, lk, latchkey.Draft{UserID: 18})
	_, err := lk.Create(ctx, latchkey.Draft{UserID: 18})
	check(t, errors.Is(err, latchkey.ErrLimit) && !errors.Is(err, latchkey.ErrUnavailable), "%v", err)
}

// lines gathers what a handle's log says.
type lines struct {
	mu  sync.Mutex
	all []string
}

func (l *lines) add(level latchkey.Level, text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, level.String()+" "+text)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.all, "\n")
}

func (l *lines) has(part string) bool { return strings.Contains(l.String(), part) }

func TestSecrets(t *testing.T) {
	point(t, 19, "secrets")
	redis(t, "acl", "setuser", "hidden", "on", ">pass-is-here", "~*", "&*", "+@all")
	defer redis(t, "acl", "deluser", "hidden")
	var said lines
	lk := open(t, "unix://hidden:pass-is-here@"+socket+"?events=1&"+patient, latchkey.WithLog(said.add))
	token := create(t, lk, latchkey.Draft{UserID: 19, Fields: map[string][]byte{"app.a": []byte("hidden value")}})
	e, err := lk.Validate(ctx, token)
	must(t, err)
	record, err := lk.Load(ctx, token)
	must(t, err)
	metrics, err := lk.Metrics()
	must(t, err)
	texts := []string{metrics}
	_, long := lk.Create(ctx, latchkey.Draft{UserID: 19, Token: token + token})
	_, names := lk.GetFields(ctx, token, token+token)
	_, wrong := latchkey.Open("unix://hidden:pass-is-wrong@" + socket)
	_, option := latchkey.Open("unix://hidden:pass-is-here@" + socket + "?nonsense=1")
	for _, err := range []error{long, names, wrong, option} {
		check(t, err != nil, "it did not fail")
	}
	for _, each := range []any{lk, e, record, long, names, wrong, option} {
		texts = append(texts, fmt.Sprint(each), fmt.Sprintf("%+v %#v", each, each))
	}
	must(t, lk.Revoke(ctx, token))
	until(t, "the log has its lines", func() bool { return said.has("event: revoked") })
	texts = append(texts, said.String())
	for _, text := range texts {
		check(t, !strings.Contains(text, token[20:]) && !strings.Contains(text, "pass-is") && !strings.Contains(text, "hidden value"),
			"a secret is in: %s", text)
	}
}

func TestLog(t *testing.T) {
	point(t, 20, "log")
	redis(t, "config", "set", "maxmemory-policy", "allkeys-lru", "maxmemory", "1gb")
	defer redis(t, "config", "set", "maxmemory-policy", "noeviction", "maxmemory", "0")
	var said lines
	lk := open(t, url(patient), latchkey.WithLog(said.add))
	until(t, "the line came", func() bool { return said.has(" setting maxmemory-policy: ") })
	stopped(t, func() { until(t, "the link says that Redis is away", func() bool { return said.has(" link: ") }) })
	recovered(t, lk)
}

func TestConfiguration(t *testing.T) {
	point(t, 21, "configuration")
	_, err := latchkey.Open(url("no_such_option=1"))
	check(t, errors.Is(err, latchkey.ErrConfig) && strings.Contains(err.Error(), "no_such_option"), "%v", err)
	check(t, errors.Is(latchkey.CheckConfig("redis://h?staleness_ms=1"), latchkey.ErrConfig), "check")
	must(t, latchkey.CheckConfig("redis://h"))
	for _, config := range []string{url("\x00no_such_option=1"), url() + "\x00"} {
		_, err := latchkey.Open(config)
		check(t, errors.Is(err, latchkey.ErrArgument), "%v", err)
		check(t, errors.Is(latchkey.CheckConfig(config), latchkey.ErrArgument), "check")
	}
	lk := handle(t)
	before := stats(t, lk)
	empty := ""
	for _, draft := range []latchkey.Draft{{UserName: &empty}, {UserID: 21, UserName: &empty}, {Role: "seventeen bytes !"}, {Role: "a\x00b"}, {Idle: -1}, {Token: "none"},
		{Fields: map[string][]byte{"x": nil}}, {Fields: map[string][]byte{"x\x00y": nil}}} {
		_, err := lk.Create(ctx, draft)
		check(t, errors.Is(err, latchkey.ErrArgument), "%v", err)
	}
	_, err = lk.ValidateFresh(ctx, never, -1)
	check(t, errors.Is(err, latchkey.ErrArgument), "%v", err)
	_, err = lk.RevokeUser(ctx, 21, "none") // nothing was ended, so it is not "there was none"
	check(t, errors.Is(err, latchkey.ErrArgument), "%v", err)
	_, err = lk.Sessions(ctx, 21, "none")
	check(t, errors.Is(err, latchkey.ErrArgument), "%v", err)
	check(t, stats(t, lk).L2Writes == before.L2Writes, "Redis was asked")
	// A short time is not none, which would be that of the configuration.
	token := create(t, lk, latchkey.Draft{UserID: 21, Idle: time.Microsecond})
	until(t, "it idles out", func() bool { _, err := lk.Validate(ctx, token); return isNo(err) })
}

func TestGivenUp(t *testing.T) {
	point(t, 26, "given up")
	lk := open(t, url(patient, "max_sessions=1", "limit=deny"))
	stopped(t, func() {
		short, end := context.WithTimeout(ctx, 200*time.Millisecond)
		defer end()
		_, err := lk.Create(short, latchkey.Draft{UserID: 26})
		check(t, errors.Is(err, context.DeadlineExceeded) && errors.Is(err, latchkey.ErrUnavailable), "%v", err)
	})
	token := ""
	login := func() (err error) { token, err = lk.Create(ctx, latchkey.Draft{UserID: 26}); return }
	until(t, "the user logs in", func() bool { return login() == nil })
	// The new token of an exchange without a grace is the only one.
	stopped(t, func() {
		short, end := context.WithTimeout(ctx, 200*time.Millisecond)
		defer end()
		_, _, err := lk.Rotate(short, token, 0)
		check(t, errors.Is(err, context.DeadlineExceeded), "%v", err)
	})
	until(t, "the user logs in again", func() bool { return login() == nil })

	// A program that ends: contexts end, and at once the handle is closed. Each session that is left was given to somebody.
	given, live := int64(0), 0
	for round := 0; round < 30; round++ {
		closing := open(t, url(patient))
		short, end := context.WithCancel(ctx)
		var all sync.WaitGroup
		for user := uint64(2600); user < 2700; user++ {
			user := user
			all.Add(1)
			go func() {
				defer all.Done()
				for {
					if _, err := closing.Create(short, latchkey.Draft{UserID: user}); err != nil {
						return
					}
					atomic.AddInt64(&given, 1)
				}
			}()
		}
		time.Sleep(time.Duration(round) * time.Millisecond / 2)
		end()
		closing.Close()
		all.Wait()
	}
	unlimited := handle(t)
	for user := uint64(2600); user < 2700; user++ {
		list, err := unlimited.Sessions(ctx, user, "")
		must(t, err)
		live += len(list)
	}
	check(t, int64(live) == given, "%d sessions were given out, and there are %d", given, live)
}

func TestThousandMisses(t *testing.T) {
	point(t, 22, "a thousand misses")
	lk, there := handle(t), handle(t)
	var tokens [1000]string
	for i := range tokens {
		tokens[i] = create(t, lk, latchkey.Draft{UserID: 2200000 + uint64(i)})
	}
	before := threads(t)
	var all sync.WaitGroup
	for i := range tokens {
		i := i
		all.Add(1)
		go func() {
			defer all.Done()
			e, err := there.Validate(ctx, tokens[i])
			if err != nil || e.UserID != 2200000+uint64(i) {
				t.Errorf("%d: %v, %v", i, e, err)
			}
		}()
	}
	all.Wait()
	// Go makes threads of its own where the machine takes a processor away in the middle of a call of C: not one for each miss.
	check(t, threads(t) < before+50, "there were %d threads, and now %d", before, threads(t))
	check(t, stats(t, there).L2Reads == 1000, "%d reads", stats(t, there).L2Reads)
}
