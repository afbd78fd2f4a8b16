// SPDX-License-Identifier: MIT

package bindings

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
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
	streaming := create(t, lk, latchkey.Draft{UserID: 17})
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
}
