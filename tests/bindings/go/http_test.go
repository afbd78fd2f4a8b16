// SPDX-License-Identifier: MIT

package bindings

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"latchkey"
)

// ask gives the status, the cookies that are set, and the user.
func ask(t *testing.T, server *httptest.Server, cookie string, headers ...string) (int, []*http.Cookie, string) {
	t.Helper()
	request, err := http.NewRequest("GET", server.URL, nil)
	must(t, err)
	if cookie != "" {
		request.Header.Set("Cookie", cookie)
	}
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		request.Header.Set(name, value)
	}
	response, err := server.Client().Do(request)
	must(t, err)
	defer response.Body.Close()
	return response.StatusCode, response.Cookies(), response.Header.Get("X-User")
}

func server(t *testing.T, lk *latchkey.Latchkey, opts ...latchkey.MiddlewareOption) *httptest.Server {
	t.Helper()
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Login") != "" {
			http.SetCookie(w, latchkey.Cookie("sid", "a-login"))
			http.Error(w, "something else that the login needs", http.StatusServiceUnavailable)
		}
		if e, ok := latchkey.FromContext(r.Context()); ok {
			w.Header().Set("X-User", fmt.Sprint(e.UserID))
			if token, ok := latchkey.TokenFromContext(r.Context()); !ok || strings.Contains(fmt.Sprint(r.Context()), token[20:]) {
				w.WriteHeader(http.StatusTeapot)
			}
		}
	})
	s := httptest.NewServer(lk.Middleware("sid", opts...)(handler))
	t.Cleanup(s.Close)
	return s
}

// Renewal is tested here, since it takes ten seconds until a token is old.
func TestHTTP(t *testing.T) {
	point(t, 13, "renewal")
	point(t, 24, "http")
	lk := open(t, url(patient, "renew_ms=10000"))
	old, failing := create(t, lk, latchkey.Draft{UserID: 13}), create(t, lk, latchkey.Draft{UserID: 14})
	over, panics := create(t, lk, latchkey.Draft{UserID: 15}), create(t, lk, latchkey.Draft{UserID: 16})
	streaming, wrapped := create(t, lk, latchkey.Draft{UserID: 17}), create(t, lk, latchkey.Draft{UserID: 18})
	e, err := lk.Validate(ctx, old)
	check(t, err == nil && !e.Renew(), "a new token: %v", err)

	short := open(t, url("deadline_ms=300"))
	token := create(t, lk, latchkey.Draft{UserID: 24})
	s, cold, optional := server(t, lk), server(t, short), server(t, lk, latchkey.Optional)
	for cookie, wanted := range map[string]int{
		"": 401, "sid=" + never: 401, "sid": 401, "sid=": 401, "other=" + token: 401, "sid=" + token: 200,
		"sid=" + never + "; sid=" + token: 200, "sid=" + token + "; sid=" + never: 200,
		strings.Repeat("sid="+token+"; ", 9): 400} {
		status, cookies, user := ask(t, s, cookie)
		check(t, status == wanted && len(cookies) == 0, "%q: %d, %v", cookie, status, cookies)
		check(t, status != 200 || user == "24", "the user is %s", user)
	}
	status, _, user := ask(t, optional, "sid="+never)
	check(t, status == 200 && user == "", "where no session is needed: %d", status)
	mine := create(t, short, latchkey.Draft{UserID: 25})
	stopped(t, func() {
		// One that is in memory does not take the place of one that is not known.
		status, _, _ := ask(t, cold, "sid="+token+"; sid="+mine)
		check(t, status == 503, "Redis stands still, and another user's is in memory: %d", status)
		status, cookies, _ := ask(t, cold, "sid="+never+"; sid="+token)
		if status != 503 || len(cookies) != 0 {
			t.Errorf("Redis stands still: %d, %v", status, cookies)
		}
	})
	recovered(t, lk)

	isOld := func(token string) func() bool {
		return func() bool {
			e, err := lk.Validate(ctx, token)
			return err == nil && e.Renew()
		}
	}
	until(t, "the token is old", isOld(old))
	status, cookies, _ := ask(t, s, "sid="+old, "Connection: Upgrade", "Upgrade: WebSocket")
	check(t, status == 200 && len(cookies) == 0, "a cookie of a WebSocket's handshake, which reaches nobody: %d, %v", status, cookies)
	var fresh *http.Cookie
	until(t, "the token is renewed", func() bool {
		status, cookies, _ := ask(t, s, "sid="+old)
		check(t, status == 200, "the old token: %d", status)
		if len(cookies) == 1 {
			fresh = cookies[0]
		}
		return fresh != nil
	})
	check(t, fresh.Name == "sid" && fresh.HttpOnly && fresh.Secure && fresh.Value != old, "%v", fresh)
	e, err = lk.Validate(ctx, fresh.Value)
	check(t, err == nil && e.UserID == 13 && !e.Renew(), "%v, %v", e, err)
	e, err = lk.Validate(ctx, old)
	check(t, err == nil, "in the grace: %v, %v", e, err)

	// The application answers 503, with a cookie of its own: the last one counts.
	until(t, "the token is old", isOld(failing))
	status, cookies, _ = ask(t, s, "sid="+failing, "X-Login: 1")
	check(t, status == 503 && len(cookies) == 2 && cookies[1].Value == "a-login", "%d, %v", status, cookies)
	_, err = lk.Validate(ctx, cookies[0].Value)
	check(t, err == nil, "renewed where it fails: %v", err)

	// A handler that sets its cookie over those that are there, as http.TimeoutHandler does, and lets caches keep its answer.
	inner := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Panic") != "" {
			panic("a fault of the application")
		}
		http.SetCookie(w, &http.Cookie{Name: "lang", Value: "en"})
		w.Header().Set("Cache-Control", "public, max-age=60")
	})
	behind := lk.Middleware("sid")(http.TimeoutHandler(inner, time.Minute, ""))
	answer := func(token string) *http.Response {
		recorder, request := httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil)
		request.Header.Set("Cookie", "sid="+token)
		behind.ServeHTTP(recorder, request)
		return recorder.Result()
	}
	until(t, "the token is old", isOld(over))
	response := answer(over)
	cookies = response.Cookies()
	check(t, len(cookies) == 2 && cookies[0].Name == "sid" && cookies[1].Name == "lang", "%v", response.Header)
	check(t, response.Header.Get("Cache-Control") == "no-store", "%v", response.Header)
	response = answer(cookies[0].Value)
	check(t, len(response.Cookies()) == 1 && response.Header.Get("Cache-Control") != "no-store", "none is due: %v", response.Header)

	// A handler that panics, and something around the middleware that answers.
	until(t, "the token is old", isOld(panics))
	recorder, request := httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil)
	request.Header.Set("Cookie", "sid="+panics)
	request.Header.Set("X-Panic", "1")
	func() {
		defer func() { check(t, recover() != nil, "it does not panic") }()
		behind.ServeHTTP(recorder, request)
	}()
	recorder.WriteHeader(http.StatusInternalServerError)
	cookies = recorder.Result().Cookies()
	check(t, len(cookies) == 1 && cookies[0].Name == "sid", "%v", cookies)

	// What a writer can do it can where a token is renewed, too.
	able := httptest.NewServer(lk.Middleware("sid")(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, flushes := w.(http.Flusher)
		_, hijacks := w.(http.Hijacker)
		w.Header().Set("X-User", fmt.Sprint(flushes, hijacks))
		w.(http.Flusher).Flush()
	})))
	t.Cleanup(able.Close)
	until(t, "the token is old", isOld(streaming))
	status, cookies, user = ask(t, able, "sid="+streaming)
	check(t, status == 200 && len(cookies) == 1 && user == "true true", "%d, %v, %s", status, cookies, user)

	// A writer of the application that only http.ResponseController flushes.
	session := lk.Middleware("sid")(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := flush(w); err != nil {
			w.WriteHeader(http.StatusTeapot)
		}
	}))
	flushed := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { session.ServeHTTP(wrapper{w}, r) }))
	t.Cleanup(flushed.Close)
	until(t, "the token is old", isOld(wrapped))
	status, cookies, _ = ask(t, flushed, "sid="+wrapped)
	check(t, status == 200 && len(cookies) == 1, "%d, %v", status, cookies)
}

type wrapper struct{ http.ResponseWriter }

func (w wrapper) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// flush does what http.ResponseController does, which Go 1.19 does not have.
func flush(w http.ResponseWriter) error {
	for {
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

// app logs in and out, as the README does, with cookies of its own. It calls made when one is made.
func app(lk *latchkey.Latchkey, made func()) http.Handler {
	cookie := latchkey.WithCookie(func(token string) *http.Cookie {
		made()
		return &http.Cookie{Name: "sid", Value: token, Path: "/app", Domain: "example.org", MaxAge: 60, HttpOnly: true}
	})
	answer := func(w http.ResponseWriter, r *http.Request, err error) {
		if e, ok := latchkey.FromContext(r.Context()); ok {
			w.Header().Set("X-User", fmt.Sprint(e.UserID))
		}
		if err != nil {
			w.Header().Set("X-Pending", fmt.Sprint(errors.Is(err, latchkey.ErrPending)))
		}
		if err != nil || r.Header.Get("X-Fail") != "" {
			http.Error(w, "something else that it needs", http.StatusServiceUnavailable)
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { answer(w, r, nil) })
	mux.HandleFunc("/logout", func(w http.ResponseWriter, r *http.Request) { answer(w, r, latchkey.Logout(w, r)) })
	mux.HandleFunc("/login", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "public, max-age=60")
		entry, err := latchkey.Login(w, r, latchkey.Draft{UserID: 99})
		if err == nil && entry.UserID != 99 {
			w.WriteHeader(http.StatusTeapot)
		}
		answer(w, r, err)
		if r.Header.Get("X-Out") != "" {
			answer(w, r, latchkey.Logout(w, r))
		}
	})
	return lk.Middleware("sid", latchkey.Optional, cookie)(mux)
}

// Of several sessions that a browser sends none goes on after a logout, nor after a login.
func TestHTTPLogin(t *testing.T) {
	point(t, 24, "http: login and logout")
	lk := open(t, "unix://"+socket+"?staleness_ms=60000&deadline_ms=1000")
	there := handle(t)
	made := func() {}
	handler := app(lk, func() { made() })
	visit := func(path, cookies string, headers ...string) *http.Response {
		request := httptest.NewRequest("GET", path, nil)
		request.Header.Set("Cookie", cookies)
		for _, header := range headers {
			request.Header.Set(header, "1")
		}
		recorder := httptest.NewRecorder()
		handler.ServeHTTP(recorder, request)
		return recorder.Result()
	}
	ended := func(tokens ...string) {
		t.Helper()
		for _, token := range tokens {
			_, err := lk.Validate(ctx, token)
			check(t, errors.Is(err, latchkey.ErrNoSession), "it goes on here: %v", err)
			until(t, "it ends there", func() bool { _, err := there.Validate(ctx, token); return errors.Is(err, latchkey.ErrNoSession) })
		}
	}
	const attributes = "Path=/app; Domain=example.org; Max-Age=60; HttpOnly"
	// sent gives the token of an answer's only cookie.
	sent := func(response *http.Response) string {
		t.Helper()
		cookies := response.Header["Set-Cookie"]
		check(t, len(cookies) == 1 && response.Header.Get("Cache-Control") == "no-store", "%v", response.Header)
		token, rest, _ := strings.Cut(strings.TrimPrefix(cookies[0], "sid="), "; ")
		check(t, len(token) == 43 && rest == attributes, "%v", cookies)
		return token
	}
	gone := []string{"sid=; " + strings.Replace(attributes, "60", "0", 1)}
	two := func() (string, string, string) {
		t.Helper()
		a, b := create(t, lk, latchkey.Draft{UserID: 1}), create(t, lk, latchkey.Draft{UserID: 2})
		return a, b, "sid=" + a + "; other=1; sid=" + b
	}

	a, b, both := two()
	response := visit("/", both)
	check(t, response.Header.Get("X-User") == "1", "the first counts: %v", response.Header)
	response = visit("/logout", both)
	check(t, response.StatusCode == 200 && response.Header.Get("X-User") == "", "%v", response)
	check(t, reflect.DeepEqual(response.Header["Set-Cookie"], gone), "%v", response.Header)
	check(t, response.Header.Get("Cache-Control") == "no-store", "%v", response.Header)
	ended(a, b)
	response = visit("/logout", both)
	check(t, response.StatusCode == 200 && reflect.DeepEqual(response.Header["Set-Cookie"], gone), "there is none: %v", response)

	a, b, both = two()
	response = visit("/login", both)
	check(t, response.StatusCode == 200 && response.Header.Get("X-User") == "99", "%v", response)
	token := sent(response)
	ended(a, b)
	e, err := there.Validate(ctx, token)
	check(t, err == nil && e.UserID == 99, "%v, %v", e, err)
	response = visit("/login", both, "X-Fail")
	check(t, response.StatusCode == 503, "%v", response)
	_, err = lk.Validate(ctx, sent(response))
	check(t, err == nil, "the application answers 503 after the login: %v", err)
	response = visit("/login", "", "X-Out")
	cookies := response.Cookies()
	check(t, len(cookies) == 2 && cookies[1].Value == "", "a login and a logout: %v", response.Header)
	ended(cookies[0].Value)

	// Redis stands still: a login does nothing, and a logout is denied here. Both leave the cookies.
	a, b, both = two()
	for _, path := range []string{"/login", "/logout"} {
		stopped(t, func() {
			response = visit(path, both)
			if response.StatusCode != 503 || len(response.Cookies()) != 0 || response.Header.Get("X-Pending") != fmt.Sprint(path == "/logout") {
				t.Errorf("%s while Redis stands still: %v", path, response)
			}
		})
		recovered(t, lk)
	}
	ended(a, b)

	// Redis stands still once the new session is there: the login succeeds all the same, and the others are denied here.
	a, b, both = two()
	func() {
		defer signal(t, syscall.SIGCONT)
		made = func() { signal(t, syscall.SIGSTOP) }
		response = visit("/login", both)
		made = func() {}
		token = sent(response)
		check(t, response.StatusCode == 200, "the ends are pending: %v", response)
		for _, each := range []string{a, b} {
			_, err = lk.Validate(ctx, each)
			check(t, errors.Is(err, latchkey.ErrNoSession), "it goes on: %v", err)
		}
	}()
	recovered(t, lk)
	e, err = lk.Validate(ctx, token)
	check(t, err == nil && e.UserID == 99, "%v, %v", e, err)
	ended(a, b)

	w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil)
	_, err = latchkey.Login(w, r, latchkey.Draft{UserID: 1})
	check(t, errors.Is(err, latchkey.ErrArgument), "without the middleware: %v", err)
	err = latchkey.Logout(w, r)
	check(t, errors.Is(err, latchkey.ErrArgument), "without the middleware: %v", err)
}
