// SPDX-License-Identifier: MIT

package latchkey

// #include "call.h"
import "C"

import (
	"errors"
	"strings"
)

// What errors.Is compares with. No text of an error holds a token or a password.
var (
	// ErrNoSession is the answer "no": there is no such session. Send 401.
	ErrNoSession = errors.New("latchkey: there is no such session")
	// ErrUnavailable says that no answer could be had. Send 503, and leave the cookie alone: it is never a logout.
	ErrUnavailable = errors.New("latchkey: no answer could be had")
	// ErrPending is Revoke's: this process denies the session from now on. Redis has not confirmed it, and is asked again.
	ErrPending = errors.New("latchkey: denied here, and not confirmed by Redis yet")
	// ErrLimit is Create's: the user has as many sessions as are allowed.
	ErrLimit = errors.New("latchkey: the user has as many sessions as are allowed")
	// ErrRefused is Create's: the user's generation has moved, or the token or the name is taken.
	ErrRefused = errors.New("latchkey: the login is refused")
	// ErrConfig is Open's: the configuration, or the server that it names, cannot be used as it is.
	ErrConfig = errors.New("latchkey: the configuration cannot be used")
	// ErrArgument says that an argument cannot be used: a mistake in the program.
	ErrArgument = errors.New("latchkey: an argument cannot be used")
	// ErrClosed says that the handle is closed.
	ErrClosed = errors.New("latchkey: the handle is closed")
)

// Error is what a call failed with. Status is that of latchkey.h, Text says why.
type Error struct {
	Status int
	Text   string
	cause  error // a context's error
}

func (e *Error) Error() string { return "latchkey: " + e.Text }
func (e *Error) Unwrap() error { return e.cause }

// Is tells which of the errors above this one is.
func (e *Error) Is(target error) bool {
	switch e.Status {
	case C.LATCHKEY_PENDING:
		return target == ErrPending
	case C.LATCHKEY_LIMIT:
		return target == ErrLimit
	case C.LATCHKEY_REFUSED:
		return target == ErrRefused
	case C.LATCHKEY_CONFIG:
		return target == ErrConfig
	case C.LATCHKEY_BAD_ARGUMENT:
		return target == ErrArgument
	}
	return target == ErrUnavailable // UNAVAILABLE, CORRUPT, NO_MEMORY, FORKED
}

func statusText(status int) string {
	return C.GoString(C.latchkey_status_text(C.int(status)))
}

// isNo: the statuses that say that there is no such session.
func isNo(status int) bool {
	return status == C.LATCHKEY_NOT_FOUND || status == C.LATCHKEY_EXPIRED || status == C.LATCHKEY_MALFORMED
}

// failure makes the error of a status. reason may be "".
func failure(status int, reason string) error {
	if isNo(status) {
		return ErrNoSession
	}
	text := statusText(status)
	if reason != "" {
		text = text[:strings.IndexByte(text+":", ':')] + ": " + reason
	}
	return &Error{Status: status, Text: text}
}

func badArgument(text string) error {
	return &Error{Status: C.LATCHKEY_BAD_ARGUMENT, Text: "BAD_ARGUMENT: " + text}
}
