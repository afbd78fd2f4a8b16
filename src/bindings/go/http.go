// SPDX-License-Identifier: MIT

package latchkey

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// MiddlewareOption is an option of Middleware.
type MiddlewareOption func(*middleware)

type middleware struct {
	lk       *Latchkey
	cookie   string
	optional bool
	grace    time.Duration
	make     func(token string) *http.Cookie
}

// Optional lets requests without a session through; FromContext then says false.
func Optional(m *middleware) { m.optional = true }

// WithCookie makes the cookies that are sent: at a login, when a token is renewed, and, without a value, at a logout. Without it they
// are HttpOnly, Secure and SameSite=Lax, with Path=/.
func WithCookie(make func(token string) *http.Cookie) MiddlewareOption {
	return func(m *middleware) { m.make = make }
}

// WithGrace sets how long an old token goes on after a renewal: five minutes, if it is not set.
func WithGrace(grace time.Duration) MiddlewareOption {
	return func(m *middleware) { m.grace = grace }
}

// Cookie is the cookie of a token, as Middleware sends it.
func Cookie(name, token string) *http.Cookie {
	return &http.Cookie{Name: name, Value: token, Path: "/", HttpOnly: true, Secure: true, SameSite: http.SameSiteLaxMode}
}

type key struct{}

// FromContext gives the entry of the request's session.
func FromContext(ctx context.Context) (Entry, bool) {
	if v := visitOf(ctx); v != nil {
		if now := v.now.Load(); now != nil {
			return now.entry, true
		}
	}
	return Entry{}, false
}

// TokenFromContext gives the token of the request's session, for the handle's other functions.
func TokenFromContext(ctx context.Context) (string, bool) {
	if v := visitOf(ctx); v != nil {
		if now := v.now.Load(); now != nil {
			return now.token, true
		}
	}
	return "", false
}

type found struct {
	entry Entry
	token string
}

// visit is a request behind the middleware.
type visit struct {
	m     *middleware
	given []string              // the tokens that it came with
	now   atomic.Pointer[found] // nil: it has no session
}

// String keeps the tokens out of texts: a context prints its values.
func (v *visit) String() string { return "a request behind latchkey's middleware" }

func visitOf(ctx context.Context) *visit {
	v, _ := ctx.Value(key{}).(*visit)
	return v
}

// Login makes a session, sends its cookie, and ends the sessions of all cookies of the name that the request came with: otherwise
// another of them would be in use from then on. If Redis does not confirm that end, the login succeeds all the same: this process denies
// those sessions already. The errors are those of Create and Validate.
//
// The request must have come through Middleware (with Optional, so that one without a session does). Call it before the answer is
// begun. It sets Cache-Control: no-store, which must stay: a cache would give the token to others.
func Login(w http.ResponseWriter, r *http.Request, draft Draft) (Entry, error) {
	v := visitOf(r.Context())
	if v == nil {
		return Entry{}, badArgument("Login needs Middleware around it")
	}
	token, err := v.m.lk.Create(r.Context(), draft)
	if err != nil {
		return Entry{}, err
	}
	send(w, v.m.make(token))
	entry, err := v.m.lk.Validate(r.Context(), token)
	_ = v.end()
	if err != nil {
		v.now.Store(nil)
		return Entry{}, err
	}
	v.now.Store(&found{entry, token})
	return entry, nil
}

// Logout ends the sessions of all cookies of the name that the request came with, and takes the cookie back. If one of them is not
// confirmed to have ended (ErrPending: this process denies it, and Redis is asked again), it leaves the cookie, so that the user can
// try again: answer 503. If there was no session it is no error.
//
// The request must have come through Middleware (with Optional, so that one without a session does). Call it before the answer is
// begun.
func Logout(w http.ResponseWriter, r *http.Request) error {
	v := visitOf(r.Context())
	if v == nil {
		return badArgument("Logout needs Middleware around it")
	}
	if err := v.end(); err != nil {
		return err
	}
	v.now.Store(nil)
	if cookie := v.m.make(""); cookie != nil {
		gone := *cookie
		gone.Value, gone.Expires, gone.MaxAge = "", time.Time{}, -1
		send(w, &gone)
	}
	return nil
}

func send(w http.ResponseWriter, cookie *http.Cookie) {
	http.SetCookie(w, cookie)
	w.Header().Set("Cache-Control", "no-store")
}

// end ends all sessions of the request, also if the client does not wait for the answer. The error is one of those that failed.
func (v *visit) end() error {
	tokens := map[string]bool{}
	for _, token := range v.given {
		tokens[token] = true
	}
	if now := v.now.Load(); now != nil {
		tokens[now.token] = true // of a renewal, or an earlier login
	}
	var all sync.WaitGroup
	failed := make(chan error, len(tokens))
	for token := range tokens {
		all.Add(1)
		go func(token string) {
			defer all.Done()
			if err := v.m.lk.Revoke(context.Background(), token); err != nil && !errors.Is(err, ErrNoSession) {
				failed <- err
			}
		}(token)
	}
	all.Wait()
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}

const cookiesMax = 8 // of one name, in one request

// Middleware reads the cookie and puts the entry into the request's context (FromContext). Where there is no session it answers 401.
// Where no answer can be had it answers 503 and leaves the cookie alone. A token that wants to be renewed is exchanged, and the
// new one is sent.
func (lk *Latchkey) Middleware(cookie string, opts ...MiddlewareOption) func(http.Handler) http.Handler {
	m := &middleware{lk: lk, cookie: cookie, grace: 5 * time.Minute}
	m.make = func(token string) *http.Cookie { return Cookie(cookie, token) }
	for _, opt := range opts {
		opt(m)
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { m.serve(next, w, r) })
	}
}

func (m *middleware) serve(next http.Handler, w http.ResponseWriter, r *http.Request) {
	var tokens []string
	for _, each := range r.Cookies() {
		if each.Name == m.cookie {
			tokens = append(tokens, each.Value)
		}
	}
	if len(tokens) > cookiesMax {
		refuse(w, http.StatusBadRequest)
		return
	}
	session, err := m.find(r.Context(), tokens)
	v := &visit{m: m, given: tokens}
	switch {
	case err == nil:
		// The answer to a WebSocket's handshake is written to the connection itself: a cookie would reach nobody.
		if session.entry.Renew() && !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
			if fresh := m.renew(r, session); fresh != "" {
				c := &carrier{w, m.make(fresh).String(), false}
				w = c.like(w)
				defer c.carry() // also where the handler writes nothing, or panics and what is around this answers
			}
		}
		v.now.Store(session)
	case !errors.Is(err, ErrNoSession):
		refuse(w, http.StatusServiceUnavailable)
		return
	case !m.optional:
		refuse(w, http.StatusUnauthorized)
		return
	}
	next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), key{}, v)))
}

// find tries each cookie: a browser sends every one that fits, and their order says nothing about which one is alive. Where one gets
// no answer the others are not tried: they may be another user's.
func (m *middleware) find(ctx context.Context, tokens []string) (*found, error) {
	for _, token := range tokens {
		entry, err := m.lk.Validate(ctx, token)
		if err == nil {
			return &found{entry, token}, nil
		}
		if !errors.Is(err, ErrNoSession) {
			return nil, err
		}
	}
	return nil, ErrNoSession
}

// renew gives the new token; "" where there is none.
func (m *middleware) renew(r *http.Request, session *found) string {
	fresh, ok, err := m.lk.Rotate(r.Context(), session.token, m.grace)
	if err != nil || !ok { // another request has it; or Redis is away, and the old token goes on
		return ""
	}
	session.token = fresh
	return fresh
}

// carrier sets the cookie of a renewed token when the header is written, not before: a handler may set a cookie over those that are
// there (http.TimeoutHandler does), or clear the header. No cache may keep such an answer: it would give the token to others.
type carrier struct {
	http.ResponseWriter
	cookie string
	done   bool
}

func (c *carrier) carry() {
	if c.done || c.cookie == "" { // "": the application's function made a cookie that is none
		return
	}
	c.done = true
	header := c.Header()
	// Of two cookies of one name the last counts: that of a login or a logout of the application.
	header["Set-Cookie"] = append([]string{c.cookie}, header["Set-Cookie"]...)
	header.Set("Cache-Control", "no-store")
}

func (c *carrier) WriteHeader(status int) {
	if status >= 200 { // below, another header follows
		c.carry()
	}
	c.ResponseWriter.WriteHeader(status)
}

func (c *carrier) Write(body []byte) (int, error) {
	c.carry()
	return c.ResponseWriter.Write(body)
}

// Unwrap is for http.ResponseController (Go 1.20).
func (c *carrier) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// FlushError is for http.ResponseController, too. It would ask what this writer wraps, past this one, and the header would be gone.
func (c *carrier) FlushError() error {
	c.carry()
	for w := c.ResponseWriter; ; {
		switch under := w.(type) {
		case interface{ FlushError() error }:
			return under.FlushError()
		case http.Flusher:
			under.Flush()
			return nil
		case interface{ Unwrap() http.ResponseWriter }:
			w = under.Unwrap()
		default:
			return http.ErrNotSupported
		}
	}
}

type flusher struct {
	*carrier
	under http.Flusher
}

func (f flusher) Flush() {
	f.carry()
	f.under.Flush()
}

// like gives a writer that can do what w can.
func (c *carrier) like(w http.ResponseWriter) http.ResponseWriter {
	under, ok := w.(http.Flusher)
	if !ok {
		return c
	}
	f := flusher{c, under}
	switch w := w.(type) {
	case http.Hijacker:
		return struct {
			flusher
			http.Hijacker
		}{f, w}
	case http.Pusher:
		return struct {
			flusher
			http.Pusher
		}{f, w}
	}
	return f
}

func refuse(w http.ResponseWriter, status int) {
	w.Header().Set("Cache-Control", "no-store")
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	http.Error(w, http.StatusText(status), status)
}
