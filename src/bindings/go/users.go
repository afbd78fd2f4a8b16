// SPDX-License-Identifier: MIT

package latchkey

// #include "call.h"
import "C"

import (
	"context"
	"time"
	"unsafe"
)

// SessionInfo is one of a user's sessions.
type SessionInfo struct {
	Selector                                              string // the first 20 characters of the token: no secret
	CreatedAt, AuthAt, ActiveAt, IdleExpiresAt, ExpiresAt time.Time
	Device                                                uint32
	Flags                                                 uint16
	Current                                               bool
}

// Sessions lists a user's sessions, the last used first, at most 1,000. current ("" for none) marks the session that asks.
func (lk *Latchkey) Sessions(ctx context.Context, userID uint64, current string) ([]SessionInfo, error) {
	var a arena
	defer a.free()
	at := a.take(C.LATCHKEY_SESSIONS_MAX * int(unsafe.Sizeof(C.latchkey_session_info{})))
	total := (*C.size_t)(a.take(int(unsafe.Sizeof(C.size_t(0)))))
	err := lk.call(ctx, func(lk *C.latchkey) C.int {
		token, size := optional(current)
		return C.latchkey_sessions(lk, C.uint64_t(userID), token, C.size_t(size), (*C.latchkey_session_info)(at), C.LATCHKEY_SESSIONS_MAX, total)
	})
	if err != nil {
		return nil, noToken("the current token is not one", err)
	}
	list := unsafe.Slice((*C.latchkey_session_info)(at), C.LATCHKEY_SESSIONS_MAX)
	infos := []SessionInfo{}
	for i := 0; i < len(list) && list[i].selector[0] != 0; i++ {
		s := &list[i]
		infos = append(infos, SessionInfo{
			Selector: C.GoString(&s.selector[0]), CreatedAt: ms(s.created_at_ms), AuthAt: ms(s.auth_at_ms), ActiveAt: ms(s.active_at_ms),
			IdleExpiresAt: ms(s.idle_expires_at_ms), ExpiresAt: ms(s.expires_at_ms), Device: uint32(s.device), Flags: uint16(s.flags),
			Current: s.current != 0,
		})
	}
	return infos, nil
}

func ms(t C.int64_t) time.Time { return time.UnixMilli(int64(t)) }

// optional: "" is no token.
func optional(token string) (*C.char, int) {
	if token == "" {
		return nil, 0
	}
	return chars(token), len(token)
}

// RevokeUser ends all sessions of a user, but the one to keep ("": none), and says how many.
func (lk *Latchkey) RevokeUser(ctx context.Context, userID uint64, keep string) (int, error) {
	var a arena
	defer a.free()
	detail := (*C.lkgo_detail)(a.take(int(unsafe.Sizeof(C.lkgo_detail{}))))
	detail.user_id = C.uint64_t(userID)
	token, size := optional(keep)
	answer, err := lk.askFor(ctx, C.LATCHKEY_REVOKE_USER, token, size, -1, detail)
	return int(answer.count), noToken("the token to keep is not one", err)
}

// RevokeSelector ends one session of a user by its selector.
func (lk *Latchkey) RevokeSelector(ctx context.Context, userID uint64, selector string) error {
	if len(selector) != C.LATCHKEY_SELECTOR_LENGTH {
		return ErrNoSession
	}
	return lk.call(ctx, func(lk *C.latchkey) C.int { return C.latchkey_revoke_selector(lk, C.uint64_t(userID), chars(selector)) })
}

// RevokeEveryone ends all sessions of all users, on every instance.
func (lk *Latchkey) RevokeEveryone(ctx context.Context) error {
	return lk.call(ctx, func(lk *C.latchkey) C.int { return C.latchkey_revoke_everyone(lk) })
}

// UserGeneration is read before a login of several steps, for Draft.Generation.
func (lk *Latchkey) UserGeneration(ctx context.Context, userID uint64) (uint64, error) {
	var a arena
	defer a.free()
	generation := (*C.uint64_t)(a.take(8))
	err := lk.call(ctx, func(lk *C.latchkey) C.int { return C.latchkey_user_generation(lk, C.uint64_t(userID), generation) })
	return uint64(*generation), err
}

// SetUserAccess changes all sessions of a user, and says how many.
func (lk *Latchkey) SetUserAccess(ctx context.Context, userID uint64, change Access) (int, error) {
	var a arena
	defer a.free()
	access, err := a.access(&change)
	if err != nil {
		return 0, err
	}
	changed := (*C.size_t)(a.take(int(unsafe.Sizeof(C.size_t(0)))))
	err = lk.call(ctx, func(lk *C.latchkey) C.int { return C.latchkey_set_user_access(lk, C.uint64_t(userID), access, changed) })
	return int(*changed), err
}

// Prewarm fills memory with the most recently active sessions, and says how many.
func (lk *Latchkey) Prewarm(ctx context.Context, count int) (int, error) {
	if count < 0 {
		return 0, badArgument("count is below 0")
	}
	var a arena
	defer a.free()
	loaded := (*C.size_t)(a.take(int(unsafe.Sizeof(C.size_t(0)))))
	err := lk.call(ctx, func(lk *C.latchkey) C.int { return C.latchkey_prewarm(lk, C.size_t(count), loaded) })
	return int(*loaded), err
}

// Stats are counters since Open; Metrics has all of them.
type Stats struct {
	Validates, L1Hits, L1Misses, L2Reads, L2Writes, L2Errors, Joined, Missed, Lapses, Shed, Pending uint64
	HitRate                                                                                         float64
	Connected                                                                                       bool
}

// Stats does not wait for anything.
func (lk *Latchkey) Stats() (Stats, error) {
	var a arena
	defer a.free()
	s := (*C.latchkey_stats)(a.take(int(unsafe.Sizeof(C.latchkey_stats{}))))
	err := lk.call(context.Background(), func(lk *C.latchkey) C.int { return C.latchkey_stats_read(lk, s, C.size_t(unsafe.Sizeof(*s))) })
	return Stats{
		Validates: uint64(s.validates), L1Hits: uint64(s.l1_hits), L1Misses: uint64(s.l1_misses), L2Reads: uint64(s.l2_reads),
		L2Writes: uint64(s.l2_writes), L2Errors: uint64(s.l2_errors), Joined: uint64(s.joined), Missed: uint64(s.missed),
		Lapses: uint64(s.lapses), Shed: uint64(s.shed), Pending: uint64(s.pending), HitRate: float64(s.hit_rate),
		Connected: s.connected != 0,
	}, err
}

// Metrics is Prometheus text.
func (lk *Latchkey) Metrics() (string, error) {
	for size := 65536; ; size *= 2 {
		var a arena
		text := (*C.char)(a.take(size))
		needed := (*C.size_t)(a.take(int(unsafe.Sizeof(C.size_t(0)))))
		err := lk.call(context.Background(), func(lk *C.latchkey) C.int { return C.latchkey_metrics(lk, text, C.size_t(size), needed) })
		said, short := C.GoString(text), int(*needed) > size
		a.free()
		if !short {
			return said, err
		}
	}
}
