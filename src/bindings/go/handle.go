// SPDX-License-Identifier: MIT

// Package latchkey answers whether a session is valid, and whose it is, from this process's own memory, coherent with Redis.
//
//	lk, err := latchkey.Open("redis://127.0.0.1:6379")
//	token, err := lk.Create(ctx, latchkey.Draft{UserID: 42, Role: "member"})
//	entry, err := lk.Validate(ctx, token) // errors.Is(err, latchkey.ErrNoSession), ErrUnavailable
//	err = lk.Revoke(ctx, token)
//
// A hit is answered in the calling goroutine, by one call of C. Whatever needs Redis goes to the handle's queue; one goroutine waits
// for the queue's descriptor, in Go's own poller, and hands out the answers. No thread waits for a miss.
//
// One handle for a process is enough. All its methods may be called from any goroutine.
package latchkey

/*
#cgo pkg-config: latchkey
#include "call.h"
*/
import "C"

import (
	"context"
	"os"
	"runtime"
	"sync"
	"syscall"
	"unsafe"
)

// Latchkey is an open handle.
type Latchkey struct {
	in *inner
}

// inner is what the reading goroutines know. They do not know the Latchkey, so that one that is not used any more is closed.
type inner struct {
	// Read-locked during each call of C. Close takes it for writing, so it waits for calls that are under way.
	mu    sync.RWMutex
	lk    *C.latchkey       // nil: closed
	plain C.uintptr_t       // the same, as a number: cgo allocates where it checks a pointer to a type that it does not know
	queue *C.latchkey_queue // guarded by mu, as lk is

	// Held around each submit. A goroutine that waits for it waits in Go; without it many would wait for the queue's lock in C, each
	// with a thread of its own.
	submitMu sync.Mutex

	waitMu  sync.Mutex
	waiting map[uint64]chan result
	tag     uint64
	ended   bool // guarded by waitMu: no answer comes any more

	files []*os.File // guarded by waitMu: the descriptors of the reading goroutines. Closing them ends these
}

type result struct {
	status int
	reason string
	entry  Entry
	token  string
	count  uint64
	record *Record
}

const closedStatus = -100 // no status of latchkey

// makes is set in the tag of a request whose answer holds the one token of its session: a new session's, or that of an exchange that
// ends the old token at once. If nobody gets the answer the session is ended, or it would count as one of the user's.
const makes = uint64(1) << 63

// Option is an option of Open.
type Option func(*options)

type options struct {
	log func(level Level, text string)
}

// WithLog sets what gets the lines of the library's log; nil is silence. It is called by one goroutine of the handle. Without this
// option errors and warnings go to the standard logger.
func WithLog(log func(level Level, text string)) Option {
	return func(o *options) { o.log = log }
}

// Open opens a handle. The configuration is described at latchkey_open in latchkey.h.
func Open(config string, opts ...Option) (*Latchkey, error) {
	o := options{log: standardLog}
	for _, opt := range opts {
		opt(&o)
	}
	if err := withoutNUL("the configuration", config); err != nil {
		return nil, err
	}
	var a arena
	defer a.free()
	text := (*C.char)(a.take(512))
	in := &inner{waiting: map[uint64]chan result{}}
	if status := int(C.latchkey_open(a.text(config), &in.lk, text, 512)); status != C.LATCHKEY_OK {
		return nil, failure(status, C.GoString(text))
	}
	in.plain = C.uintptr_t(uintptr(unsafe.Pointer(in.lk)))
	in.queue = C.latchkey_queue_open(in.lk)
	if in.queue == nil {
		err := failure(C.LATCHKEY_UNAVAILABLE, in.reason())
		C.latchkey_close(in.lk)
		return nil, err
	}
	err := in.read(C.latchkey_queue_fd(in.queue), in.reap)
	if err == nil && o.log != nil {
		err = in.read(C.latchkey_queue_fd(C.latchkey_queue_own(in.lk)), func() { in.readLog(o.log) })
	}
	if err != nil {
		in.close()
		return nil, err
	}
	lk := &Latchkey{in}
	runtime.SetFinalizer(lk, func(lk *Latchkey) { go lk.in.close() })
	return lk, nil
}

// Close ends the handle. Calls that wait for answers end with ErrClosed. A second Close does nothing. The log's function must not
// call it.
func (lk *Latchkey) Close() {
	runtime.SetFinalizer(lk, nil)
	lk.in.close()
}

func (lk *Latchkey) String() string { return "Latchkey{}" }

// GoString is String.
func (lk *Latchkey) GoString() string { return lk.String() }

// read starts the goroutine that calls take whenever the descriptor is readable. The descriptor stays the library's: a copy of it
// is given to Go's poller. (An epoll's descriptor can be waited for like a socket's.)
func (in *inner) read(fd C.int, take func()) error {
	if fd < 0 {
		return failure(int(fd), "")
	}
	syscall.ForkLock.RLock() // no program starts before the copy is marked: it would inherit it
	copied, err := syscall.Dup(int(fd))
	if err == nil {
		syscall.CloseOnExec(copied)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return &Error{Status: C.LATCHKEY_UNAVAILABLE, Text: "UNAVAILABLE: " + err.Error(), cause: err}
	}
	if err = syscall.SetNonblock(copied, true); err == nil {
		file := os.NewFile(uintptr(copied), "latchkey")
		var conn syscall.RawConn
		if conn, err = file.SyscallConn(); err == nil {
			in.files = append(in.files, file)
			go func() {
				// The function says that it has not read yet, and so waits for the next time; the end is that the file is closed.
				_ = conn.Read(func(uintptr) bool { take(); return false })
			}()
			return nil
		}
		file.Close()
	}
	return &Error{Status: C.LATCHKEY_UNAVAILABLE, Text: "UNAVAILABLE: " + err.Error(), cause: err}
}

const reapMax = 32

// reap takes what is there, and gives it to those who wait.
func (in *inner) reap() {
	var a arena
	defer a.free()
	at := a.take(reapMax * int(unsafe.Sizeof(C.latchkey_result{})))
	results := unsafe.Slice((*C.latchkey_result)(at), reapMax)
	for {
		count := 0
		in.mu.RLock()
		if in.lk != nil {
			count = int(C.latchkey_queue_reap(in.queue, &results[0], C.size_t(unsafe.Sizeof(results[0])), reapMax))
		}
		in.mu.RUnlock()
		for i := range results[:count] {
			in.deliver(&results[i])
		}
		if count < reapMax {
			return
		}
	}
}

func (in *inner) deliver(r *C.latchkey_result) {
	answer := result{status: int(r.status), entry: entryOf(&r.entry), token: C.GoString(&r.token[0]), count: uint64(r.count)}
	if r.record != nil {
		answer.record = takeRecord(r.record)
	}
	in.waitMu.Lock()
	waiting := in.waiting[uint64(r.tag)]
	delete(in.waiting, uint64(r.tag))
	in.waitMu.Unlock()
	if waiting != nil { // else it was given up
		waiting <- answer
	} else if uint64(r.tag)&makes != 0 && answer.status == C.LATCHKEY_OK {
		in.disown(answer.token)
	}
}

// disown ends a session whose token reaches nobody. If that cannot be asked for now, the session idles out.
func (in *inner) disown(token string) {
	in.mu.RLock()
	defer in.mu.RUnlock()
	if in.lk != nil {
		in.submitMu.Lock()
		defer in.submitMu.Unlock()
		C.lkgo_submit(in.queue, C.LATCHKEY_REVOKE, 0, chars(token), C.size_t(len(token)), -1, nil) // nobody waits for tag 0
	}
}

// wait registers who waits for the answer. mark is 0 or makes.
func (in *inner) wait(mark uint64) (uint64, chan result, bool) {
	waiting := make(chan result, 1)
	in.waitMu.Lock()
	defer in.waitMu.Unlock()
	if in.ended {
		return 0, nil, false
	}
	in.tag++
	in.waiting[in.tag|mark] = waiting
	return in.tag | mark, waiting, true
}

// forget gives up an answer. It is false where the answer is there already, or about to be.
func (in *inner) forget(tag uint64) bool {
	in.waitMu.Lock()
	defer in.waitMu.Unlock()
	_, ok := in.waiting[tag]
	delete(in.waiting, tag)
	return ok
}

// ask submits a request and waits for its answer, or for the context's end.
func (lk *Latchkey) ask(ctx context.Context, kind int, token string, maxAgeMS int64, detail *C.lkgo_detail) (result, error) {
	return lk.askFor(ctx, kind, chars(token), len(token), maxAgeMS, detail)
}

func (lk *Latchkey) askFor(ctx context.Context, kind int, token *C.char, tokenLen int, maxAgeMS int64, detail *C.lkgo_detail) (result, error) {
	defer runtime.KeepAlive(lk)
	in := lk.in
	if err := ctx.Err(); err != nil {
		return result{}, given(err)
	}
	mark := uint64(0)
	if kind == C.LATCHKEY_CREATE && tokenLen == 0 || kind == C.LATCHKEY_ROTATE && detail.grace_ms == 0 {
		mark = makes
	}
	tag, waiting, ok := in.wait(mark)
	if !ok {
		return result{}, ErrClosed
	}
	status, reason := closedStatus, ""
	in.mu.RLock()
	if in.lk != nil {
		in.submitMu.Lock()
		runtime.LockOSThread() // the reason of a failure is its thread's
		status = int(C.lkgo_submit(in.queue, C.int(kind), C.uint64_t(tag), token, C.size_t(tokenLen),
			C.int64_t(maxAgeMS), detail))
		if status < 0 {
			reason = in.reason()
		}
		runtime.UnlockOSThread()
		in.submitMu.Unlock()
	}
	in.mu.RUnlock()
	if status != C.LATCHKEY_OK {
		in.forget(tag)
		if status == closedStatus {
			return result{}, ErrClosed
		}
		return result{}, failure(status, reason)
	}
	var answer result
	select {
	case answer = <-waiting:
	case <-ctx.Done():
		if in.forget(tag) {
			return result{}, given(ctx.Err())
		}
		answer = <-waiting
	}
	switch answer.status {
	case C.LATCHKEY_OK:
		return answer, nil
	case closedStatus:
		return answer, ErrClosed
	}
	return answer, failure(answer.status, "")
}

// given is the error of a call that was given up: no answer, and the context's own error.
func given(err error) error {
	return &Error{Status: C.LATCHKEY_UNAVAILABLE, Text: "UNAVAILABLE: " + err.Error(), cause: err}
}

// call runs one of the rare verbs that have no form for queues, in the calling goroutine. It blocks for at most deadline_ms.
func (lk *Latchkey) call(ctx context.Context, verb func(lk *C.latchkey) C.int) error {
	defer runtime.KeepAlive(lk)
	if err := ctx.Err(); err != nil {
		return given(err)
	}
	in := lk.in
	in.mu.RLock()
	defer in.mu.RUnlock()
	if in.lk == nil {
		return ErrClosed
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	status := int(verb(in.lk))
	if status == C.LATCHKEY_OK {
		return nil
	}
	return failure(status, in.reason())
}

// reason is why the last call of this thread failed.
func (in *inner) reason() string {
	text := (*C.char)(C.calloc(1, 512))
	defer C.free(unsafe.Pointer(text))
	C.latchkey_error_text(in.lk, text, 512)
	return C.GoString(text)
}

func (in *inner) close() {
	// Who waits is told first, so that nobody waits for a lock that a waiting call would hold.
	in.waitMu.Lock()
	in.ended = true
	waiting := in.waiting
	in.waiting = map[uint64]chan result{}
	files := in.files
	in.files = nil
	in.waitMu.Unlock()
	for _, each := range waiting {
		each <- result{status: closedStatus}
	}
	for _, file := range files { // waits for the goroutine that reads it, which takes mu
		file.Close()
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.lk == nil {
		return
	}
	C.latchkey_queue_close(in.queue)
	C.latchkey_close(in.lk)
	in.lk, in.queue = nil, nil
}

// chars is the text's own memory. C reads it during the call alone. It is never NULL, which would mean "no token".
func chars(s string) *C.char {
	if s == "" {
		return (*C.char)(unsafe.Pointer(&empty))
	}
	return *(**C.char)(unsafe.Pointer(&s))
}

var empty byte
