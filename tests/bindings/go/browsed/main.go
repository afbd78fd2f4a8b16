// SPDX-License-Identifier: MIT

// The application that tests/http/browsers.py visits, behind the middleware for net/http.
package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"latchkey"
)

var statuses = map[string]int{"200": 200, "204": 204, "304": 304, "302": 302, "404": 404, "503": 503, "handled": 418}

func page(w http.ResponseWriter, r *http.Request) {
	entry, _ := latchkey.FromContext(r.Context())
	_, _ = io.Copy(io.Discard, r.Body)
	do := r.Header.Get("X-Do")
	if strings.Contains(do, "slow") {
		time.Sleep(50 * time.Millisecond)
	}
	if strings.Contains(do, "raise") {
		panic("a fault of the application")
	}
	status := http.StatusOK
	user := fmt.Sprint(entry.UserID)
	w.Header().Set("X-App", "1")
	w.Header().Set("X-User", user)
	for _, word := range strings.Split(do, ",") {
		switch word {
		case "302":
			w.Header().Set("Location", "/page")
		case "public":
			w.Header().Set("Cache-Control", "public, max-age=60")
		case "cookie":
			http.SetCookie(w, &http.Cookie{Name: "lang", Value: "en"})
		case "own":
			http.SetCookie(w, latchkey.Cookie("sid", r.Header.Get("X-Value")))
			w.Header().Set("Cache-Control", "no-store")
		case "drop":
			http.SetCookie(w, &http.Cookie{Name: "sid", Path: "/", MaxAge: -1})
		}
		if known, ok := statuses[word]; ok {
			status = known
		}
	}
	if status != 200 || strings.Contains(do, "slow") {
		w.WriteHeader(status)
	}
	pieces := 1
	if strings.Contains(do, "stream") || strings.Contains(do, "cut") {
		pieces = 3
	}
	if flusher, ok := w.(http.Flusher); ok && pieces > 1 {
		flusher.Flush()
	}
	for i := 0; i < pieces && status != 204 && status != 304; i++ {
		_, _ = io.WriteString(w, user)
		if flusher, ok := w.(http.Flusher); ok && pieces > 1 {
			flusher.Flush()
			time.Sleep(10 * time.Millisecond)
		}
		if strings.Contains(do, "cut") {
			panic(http.ErrAbortHandler)
		}
	}
}

// wrapped buffers what the word says, as http.TimeoutHandler does.
func wrapped(next http.Handler) http.Handler {
	buffering := http.TimeoutHandler(next, time.Minute, "")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.Header.Get("X-Do"), "wrapped") {
			buffering.ServeHTTP(w, r)
		} else {
			next.ServeHTTP(w, r)
		}
	})
}

// recovering answers 500 where what is in it panics.
func recovering(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if fault := recover(); fault == http.ErrAbortHandler {
				panic(fault)
			} else if fault != nil {
				w.WriteHeader(http.StatusInternalServerError)
			}
		}()
		next.ServeHTTP(w, r)
	})
}

func open() (*latchkey.Latchkey, error) {
	for i := 0; ; i++ {
		lk, err := latchkey.Open(os.Getenv("LATCHKEY_URL"))
		if err == nil || i == 60 {
			return lk, err
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func main() {
	lk, err := open()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	done := func(w http.ResponseWriter, err error) {
		if err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("X-App", "1")
	}
	ctx := context.Background()
	mux := http.NewServeMux()
	mux.Handle("/page", recovering(lk.Middleware("sid")(wrapped(http.HandlerFunc(page)))))
	session := lk.Middleware("sid", latchkey.Optional)
	mux.Handle("/login", session(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, _ := strconv.ParseUint(r.URL.Query().Get("user"), 10, 64)
		_, err := latchkey.Login(w, r, latchkey.Draft{UserID: user, Role: "member"})
		done(w, err)
	})))
	mux.Handle("/logout", session(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		done(w, latchkey.Logout(w, r))
	})))
	mux.HandleFunc("/end", func(w http.ResponseWriter, r *http.Request) {
		user, err := strconv.ParseUint(r.URL.Query().Get("user"), 10, 64)
		if err != nil {
			err = lk.RevokeEveryone(ctx)
		} else {
			_, err = lk.RevokeUser(ctx, user, "")
		}
		done(w, err)
	})
	mux.HandleFunc("/ready", func(http.ResponseWriter, *http.Request) {})
	fmt.Fprintln(os.Stderr, http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), mux))
}
