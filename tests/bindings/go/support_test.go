// SPDX-License-Identifier: MIT

package bindings

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"latchkey"
)

var (
	ctx    = context.Background()
	socket = os.Getenv("LATCHKEY_REDIS_SOCKET")
	never  = strings.Repeat("A", 43)
)

// url is a configuration for this Redis. The bound of C is short, so that tests of it are.
func url(options ...string) string {
	return "unix://" + socket + "?" + strings.Join(append([]string{"staleness_ms=500"}, options...), "&")
}

const patient = "deadline_ms=10000"

func open(t *testing.T, config string, opts ...latchkey.Option) *latchkey.Latchkey {
	t.Helper()
	lk, err := latchkey.Open(config, append([]latchkey.Option{latchkey.WithLog(nil)}, opts...)...)
	must(t, err)
	t.Cleanup(lk.Close)
	return lk
}

func handle(t *testing.T) *latchkey.Latchkey { t.Helper(); return open(t, url(patient)) }

// point is one of tests/bindings/README.md.
func point(t *testing.T, number int, what string) {
	t.Cleanup(func() {
		if t.Failed() || t.Skipped() {
			return
		}
		file, err := os.OpenFile(os.Getenv("LATCHKEY_POINTS"), os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o644)
		if err == nil {
			fmt.Fprintf(file, "ok %d %s\n", number, what)
			file.Close()
		}
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func check(t *testing.T, holds bool, format string, args ...any) {
	t.Helper()
	if !holds {
		t.Fatalf(format, args...)
	}
}

func create(t *testing.T, lk *latchkey.Latchkey, draft latchkey.Draft) string {
	t.Helper()
	token, err := lk.Create(ctx, draft)
	must(t, err)
	return token
}

// stopped runs body while Redis stands still.
func stopped(t *testing.T, body func()) {
	t.Helper()
	signal(t, syscall.SIGSTOP)
	defer signal(t, syscall.SIGCONT)
	body()
}

// signal sends Redis one.
func signal(t *testing.T, which syscall.Signal) {
	t.Helper()
	pid, err := strconv.Atoi(os.Getenv("LATCHKEY_REDIS_PID"))
	must(t, err)
	must(t, syscall.Kill(pid, which))
}

// until waits for as long as the slowest machine may take.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if holds() {
			return
		}
	}
	t.Fatalf("it never came to that: %s", what)
}

func recovered(t *testing.T, lk *latchkey.Latchkey) {
	t.Helper()
	until(t, "Redis answers again", func() bool { _, err := lk.Sessions(ctx, 1, ""); return err == nil })
}

func redis(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("redis-cli", append([]string{"-s", socket}, args...)...).CombinedOutput()
	must(t, err)
	return strings.TrimSpace(string(out))
}

func threads(t *testing.T) int { t.Helper(); return entries(t, "/proc/self/task") }

func entries(t *testing.T, directory string) int {
	t.Helper()
	list, err := os.ReadDir(directory)
	must(t, err)
	return len(list)
}

func stats(t *testing.T, lk *latchkey.Latchkey) latchkey.Stats {
	t.Helper()
	s, err := lk.Stats()
	must(t, err)
	return s
}
