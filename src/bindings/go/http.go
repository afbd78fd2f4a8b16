// SPDX-License-Identifier: MIT

package latchkey

import (
	"context"
	"errors"
	"net/http"
	"strings"
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

// WithCookie makes the cookies that are sent when a token is renewed. Without it they are HttpOnly, Secure and SameSite=Lax, with
// Path=/.
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
	found, ok := ctx.Value(key{}).(*found)
	if !ok {
		return Entry{}, false
	}
	return found.entry, true
}

// TokenFromContext gives the token of the request's session, for Revoke and the like.
func TokenFromContext(ctx context.Context) (string, bool) {
	found, ok := ctx.Value(key{}).(*found)
	if !ok {
		return "", false
	}
	return found.token, true
}

type found struct {
	entry Entry
	token string
}

// String keeps the token out of texts: a context prints its values.
func (f *found) String() string { return f.entry.String() }

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
		r = r.WithContext(context.WithValue(r.Context(), key{}, session))
	case !errors.Is(err, ErrNoSession):
		refuse(w, http.StatusServiceUnavailable)
		return
	case !m.optional:
		refuse(w, http.StatusUnauthorized)
		return
	}
	next.ServeHTTP(w, r)
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

// Unwrap is for http.ResponseController.
func (c *carrier) Unwrap() http.ResponseWriter { return c.ResponseWriter }

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
