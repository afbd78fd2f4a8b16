// SPDX-License-Identifier: MIT

package bindings

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"latchkey"
)

func residentKB(t *testing.T) int {
	t.Helper()
	file, err := os.Open("/proc/self/status")
	must(t, err)
	defer file.Close()
	var size int
	for scanner := bufio.NewScanner(file); scanner.Scan(); {
		if strings.HasPrefix(scanner.Text(), "VmRSS:") {
			fmt.Sscan(strings.TrimPrefix(scanner.Text(), "VmRSS:"), &size)
		}
	}
	return size
}

// 100 handles; entries, records and answers that are dropped; some handles are left to the collector. Run with -asan too.
func TestMemory(t *testing.T) {
	point(t, 23, "memory")
	kept := open(t, url(patient, "l1_capacity=1000"))
	token := create(t, kept, latchkey.Draft{UserID: 23, Fields: map[string][]byte{"app.x": make([]byte, 1000)}})
	round := func(i int) {
		lk, err := latchkey.Open(url(patient, "l1_capacity=1000"), latchkey.WithLog(nil))
		must(t, err)
		for j := 0; j < 200; j++ {
			_, err := lk.Validate(ctx, token)
			must(t, err)
		}
		_, err = lk.Load(ctx, token)
		must(t, err)
		ended, cancel := context.WithCancel(ctx)
		for j := 0; j < 20; j++ { // given up before they are answered
			go lk.ValidateFresh(ended, token, 0)
			go lk.Load(ended, token)
		}
		cancel()
		if i%2 == 0 {
			lk.Close()
		}
		if i%10 == 0 {
			runtime.GC() // so that few of the others are open at once
		}
	}
	settled := func(descriptors int) func() bool {
		return func() bool {
			runtime.GC()
			return entries(t, "/proc/self/fd") <= descriptors
		}
	}
	for i := 0; i < 50; i++ {
		round(i)
	}
	until(t, "handles that are not used are collected", settled(40))
	descriptors, memory := entries(t, "/proc/self/fd"), residentKB(t)
	for i := 0; i < 100; i++ {
		round(i)
	}
	until(t, "descriptors are as before", settled(descriptors))
	grown := (residentKB(t) - memory) / 1024
	// AddressSanitizer keeps what was freed for a while.
	check(t, grown < 20 || os.Getenv("LATCHKEY_SANITIZED") != "", "memory has grown by %d MiB", grown)
	until(t, "no goroutine is left", func() bool { return runtime.NumGoroutine() < 12 })
	t.Logf("%d MiB more, %d descriptors, %d threads", grown, entries(t, "/proc/self/fd"), threads(t))
}
