// SPDX-License-Identifier: MIT

package latchkey

// #include "call.h"
import "C"

import (
	"context"
	"errors"
	"runtime"
	"time"
	"unsafe"
)

// Version is the library's.
func Version() string { return C.GoString(C.latchkey_version()) }

// UserID is the user id of a name (a UUID, an address): the same number in every language.
func UserID(name string) uint64 {
	return uint64(C.latchkey_user_id(unsafe.Pointer(chars(name)), C.size_t(len(name))))
}

// CheckConfig looks whether Open could use this configuration. It connects nowhere.
func CheckConfig(config string) error {
	if err := withoutNUL("the configuration", config); err != nil {
		return err
	}
	var a arena
	defer a.free()
	text := (*C.char)(a.take(512))
	if status := int(C.latchkey_check_config(a.text(config), text, 512)); status != C.LATCHKEY_OK {
		return failure(status, C.GoString(text))
	}
	return nil
}

// ------------------------------------------------------------------------------------------------- validating --

// TryValidate answers from memory alone. known is false where memory cannot tell: Validate can. It never waits for Redis.
func (lk *Latchkey) TryValidate(token string) (entry Entry, known bool, err error) {
	in := lk.in
	in.mu.RLock()
	if in.lk == nil {
		in.mu.RUnlock()
		return Entry{}, true, ErrClosed
	}
	answer := C.lkgo_try_validate(in.plain, chars(token), C.size_t(len(token)))
	in.mu.RUnlock()
	runtime.KeepAlive(lk)
	switch answer.status {
	case C.LATCHKEY_OK:
		return entryOf(&answer.entry), true, nil
	case C.LATCHKEY_AGAIN:
		return Entry{}, false, nil
	}
	return Entry{}, true, failure(int(answer.status), "")
}

// Validate answers whose session it is. The error is ErrNoSession where there is none, and ErrUnavailable where no answer can be
// had. Using a session keeps it alive. The context bounds the wait for Redis, beside deadline_ms.
func (lk *Latchkey) Validate(ctx context.Context, token string) (Entry, error) {
	entry, known, err := lk.TryValidate(token)
	if known {
		return entry, err
	}
	answer, err := lk.ask(ctx, C.LATCHKEY_VALIDATE, token, -1, nil)
	return answer.entry, err
}

// ValidateFresh is for sensitive requests: memory answers only if it was confirmed at most maxAge ago. 0 asks Redis.
func (lk *Latchkey) ValidateFresh(ctx context.Context, token string, maxAge time.Duration) (Entry, error) {
	if maxAge < 0 {
		return Entry{}, badArgument("maxAge is below 0")
	}
	answer, err := lk.ask(ctx, C.LATCHKEY_VALIDATE, token, maxAge.Milliseconds(), nil)
	return answer.entry, err
}

// ------------------------------------------------------------------------------------------ the life of a session --

// Create makes a session, and gives its token. ErrLimit and ErrRefused refuse the login.
func (lk *Latchkey) Create(ctx context.Context, draft Draft) (string, error) {
	var a arena
	defer a.free()
	if err := fieldNames(draft.Fields); err != nil {
		return "", err
	}
	d, err := a.draft(&draft)
	if err != nil {
		return "", err
	}
	detail := (*C.lkgo_detail)(a.take(int(unsafe.Sizeof(C.lkgo_detail{}))))
	detail.draft = d
	token, size := optional(draft.Token)
	answer, err := lk.askFor(ctx, C.LATCHKEY_CREATE, token, size, -1, detail)
	return answer.token, noToken("the draft's Token is not one of NewToken", err)
}

// noToken: a token that belongs to the call, and not to a client, is a mistake where it is none. Nothing was done.
func noToken(what string, err error) error {
	if errors.Is(err, ErrNoSession) {
		return badArgument(what)
	}
	return err
}

// NewToken makes a token for a session of this user that is yet to be made, for Draft.Token.
func (lk *Latchkey) NewToken(userID uint64) (string, error) {
	var a arena
	defer a.free()
	text := (*C.char)(a.take(C.LATCHKEY_TOKEN_SIZE))
	err := lk.call(context.Background(), func(lk *C.latchkey) C.int { return C.latchkey_token_new(lk, C.uint64_t(userID), text) })
	return C.GoString(text), err
}

// Revoke ends the session: ErrNoSession where there was nothing to end. ErrPending: this process denies it from now on, and
// Redis is asked again.
func (lk *Latchkey) Revoke(ctx context.Context, token string) error {
	_, err := lk.ask(ctx, C.LATCHKEY_REVOKE, token, -1, nil)
	return err
}

// Touch says that the session was used, where Validate does not see it.
func (lk *Latchkey) Touch(ctx context.Context, token string) error {
	_, err := lk.ask(ctx, C.LATCHKEY_TOUCH, token, -1, nil)
	return err
}

// Rotate exchanges the token for a new one. With a grace the old one goes on for so long. ok is false where another call has
// exchanged it already: go on with the old one.
func (lk *Latchkey) Rotate(ctx context.Context, token string, grace time.Duration) (fresh string, ok bool, err error) {
	if grace < 0 {
		return "", false, badArgument("grace is below 0")
	}
	var a arena
	defer a.free()
	detail := (*C.lkgo_detail)(a.take(int(unsafe.Sizeof(C.lkgo_detail{}))))
	detail.grace_ms = C.int64_t(grace.Milliseconds())
	answer, err := lk.ask(ctx, C.LATCHKEY_ROTATE, token, -1, detail)
	if errors.Is(err, ErrRefused) {
		return "", false, nil
	}
	return answer.token, err == nil, err
}

// SetAccess changes what the session may do, here at once.
func (lk *Latchkey) SetAccess(ctx context.Context, token string, change Access) error {
	var a arena
	defer a.free()
	access, err := a.access(&change)
	if err != nil {
		return err
	}
	detail := (*C.lkgo_detail)(a.take(int(unsafe.Sizeof(C.lkgo_detail{}))))
	detail.access = access
	_, err = lk.ask(ctx, C.LATCHKEY_SET_ACCESS, token, -1, detail)
	return err
}

// ---------------------------------------------------------------------------------------------------------- fields --

// Load reads the whole record from Redis.
func (lk *Latchkey) Load(ctx context.Context, token string) (*Record, error) {
	answer, err := lk.ask(ctx, C.LATCHKEY_LOAD, token, -1, nil)
	return answer.record, err
}

// GetFields reads some fields.
func (lk *Latchkey) GetFields(ctx context.Context, token string, names ...string) (*Record, error) {
	for _, name := range names {
		if err := fieldName(name); err != nil {
			return nil, err
		}
	}
	var a arena
	defer a.free()
	detail := (*C.lkgo_detail)(a.take(int(unsafe.Sizeof(C.lkgo_detail{}))))
	detail.names, detail.count = a.names(names), C.size_t(len(names))
	answer, err := lk.ask(ctx, C.LATCHKEY_GET_FIELDS, token, -1, detail)
	return answer.record, err
}

// SetFields sets fields, all of them or none; nil deletes one.
func (lk *Latchkey) SetFields(ctx context.Context, token string, fields map[string][]byte) error {
	if err := fieldNames(fields); err != nil {
		return err
	}
	var a arena
	defer a.free()
	detail := (*C.lkgo_detail)(a.take(int(unsafe.Sizeof(C.lkgo_detail{}))))
	detail.fields, detail.count = a.fields(fields)
	_, err := lk.ask(ctx, C.LATCHKEY_SET_FIELDS, token, -1, detail)
	return err
}

// ChangeFields sets fields, only if each is still as in the record that was read. ok is false where one has changed: read again.
func (lk *Latchkey) ChangeFields(ctx context.Context, token string, record *Record, fields map[string][]byte) (ok bool, err error) {
	if err := fieldNames(fields); err != nil {
		return false, err
	}
	var a arena
	defer a.free()
	detail := (*C.lkgo_detail)(a.take(int(unsafe.Sizeof(C.lkgo_detail{}))))
	detail.changes, detail.count = a.changes(fields, record.versions)
	_, err = lk.ask(ctx, C.LATCHKEY_CHANGE_FIELDS, token, -1, detail)
	if errors.Is(err, ErrRefused) {
		return false, nil
	}
	return err == nil, err
}

// UpdateField makes the new value of a field of the old one (nil: there is none), as often as it takes.
func (lk *Latchkey) UpdateField(ctx context.Context, token, name string, change func(old []byte) ([]byte, error)) error {
	for {
		record, err := lk.GetFields(ctx, token, name)
		if err != nil {
			return err
		}
		value, err := change(record.Get(name))
		if err != nil {
			return err
		}
		if ok, err := lk.ChangeFields(ctx, token, record, map[string][]byte{name: value}); ok || err != nil {
			return err
		}
	}
}
