// SPDX-License-Identifier: MIT

// What a hit costs in Go, and what a request costs in net/http: without sessions, and with latchkey. A request is put into the handler
// without a network.
package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"sort"
	"strconv"
	"time"

	"latchkey"
)

func number(name string) int {
	n, err := strconv.Atoi(os.Getenv(name))
	check(err)
	return n
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

// median is of rounds of so many calls, in nanoseconds a call.
func median(calls int, body func()) float64 {
	var rounds []float64
	for i := 0; i < 7; i++ {
		began := time.Now()
		for j := 0; j < calls; j++ {
			body()
		}
		rounds = append(rounds, float64(time.Since(began).Nanoseconds())/float64(calls))
	}
	sort.Float64s(rounds)
	return rounds[len(rounds)/2]
}

func main() {
	calls, requests := number("LATCHKEY_CALLS"), number("LATCHKEY_REQUESTS")
	ctx := context.Background()
	lk, err := latchkey.Open("unix://"+os.Getenv("LATCHKEY_REDIS_SOCKET")+"?deadline_ms=10000", latchkey.WithLog(nil))
	check(err)
	defer lk.Close()
	token, err := lk.Create(ctx, latchkey.Draft{UserID: 42, Role: "member"})
	check(err)

	var sum uint64
	hit := median(calls, func() {
		entry, err := lk.Validate(ctx, token)
		check(err)
		sum += entry.UserID
	})
	fmt.Printf("row\tlk.Validate(ctx, token)\t%.1f\t-\t-\t%s\n", hit, runtime.Version())
	hit = median(calls, func() {
		entry, err := lk.Validate(ctx, token)
		check(err)
		sum += uint64(len(entry.Role()))
	})
	fmt.Printf("row\tlk.Validate(ctx, token), and the role\t%.1f\t-\t-\t%s\n", hit, runtime.Version())

	handler := http.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		entry, ok := latchkey.FromContext(r.Context())
		if !ok {
			entry.UserID = 42
		}
		fmt.Fprint(w, entry.UserID)
	}))
	request := httptest.NewRequest("GET", "/", nil)
	request.AddCookie(latchkey.Cookie("sid", token))
	for _, each := range []struct {
		what    string
		handler http.Handler
	}{{"net/http, no session", handler}, {"net/http, latchkey", lk.Middleware("sid")(handler)}} {
		took := median(requests, func() {
			answer := httptest.NewRecorder()
			each.handler.ServeHTTP(answer, request)
			if answer.Body.String() != "42" {
				panic(answer.Body.String())
			}
		})
		fmt.Printf("row\t%s\t-\t%.2f\t0.0\t%s\n", each.what, took/1e3, runtime.Version())
	}
}
