// SPDX-License-Identifier: MIT

package latchkey

// #include "call.h"
import "C"

import (
	"fmt"
	"strings"
	"time"
	"unsafe"
)

// Draft is what a login knows. A user that has a name and no number (a UUID, an address) has UserName; an empty name is ErrArgument, so
// that a name that is missing does not become user 0.
type Draft struct {
	UserID          uint64
	UserName        *string
	Role            string // at most 16 bytes
	PermissionsHash [32]byte
	Device          uint32
	Flags           uint16
	Idle, Lifetime  time.Duration // 0: those of the configuration
	Generation      uint64        // of UserGeneration; 0: not checked
	Fields          map[string][]byte
	Token           string // of NewToken, for this user; "": one is made
}

// Access is what a session may do, to be changed in place. What is nil stays.
type Access struct {
	Role             *string
	PermissionsHash  *[32]byte
	Flags, FlagsMask uint16
	Authenticated    bool // the user has just proved again who they are
}

// An arena is memory of C that is wiped and freed as one: C may keep no pointer to memory of Go, and tokens and key material are
// among what is copied.
type arena struct {
	blocks []block
}
type block struct {
	at   unsafe.Pointer
	size C.size_t
}

func (a *arena) take(size int) unsafe.Pointer {
	b := block{C.calloc(1, C.size_t(size)+1), C.size_t(size)}
	if b.at == nil {
		panic("latchkey: no memory")
	}
	a.blocks = append(a.blocks, b)
	return b.at
}

func (a *arena) free() {
	for _, b := range a.blocks {
		C.lkgo_wipe(b.at, b.size)
		C.free(b.at)
	}
}

func (a *arena) text(s string) *C.char {
	return (*C.char)(a.bytes([]byte(s)))
}

func (a *arena) bytes(data []byte) unsafe.Pointer {
	at := a.take(len(data))
	copy(unsafe.Slice((*byte)(at), len(data)), data)
	return at
}

// fields and changes: nil deletes.
func (a *arena) changes(fields map[string][]byte, versions map[string]uint64) (*C.latchkey_change, C.size_t) {
	at := a.take(len(fields) * int(unsafe.Sizeof(C.latchkey_change{})))
	list := unsafe.Slice((*C.latchkey_change)(at), len(fields)+1)[:0]
	for name, data := range fields {
		change := C.latchkey_change{name: a.text(name), size: C.size_t(len(data)), version: C.uint64_t(versions[name])}
		if data != nil {
			change.data = a.bytes(data)
		}
		list = append(list, change)
	}
	return (*C.latchkey_change)(at), C.size_t(len(list))
}

func (a *arena) fields(fields map[string][]byte) (*C.latchkey_field, C.size_t) {
	at := a.take(len(fields) * int(unsafe.Sizeof(C.latchkey_field{})))
	list := unsafe.Slice((*C.latchkey_field)(at), len(fields)+1)[:0]
	for name, data := range fields {
		field := C.latchkey_field{name: a.text(name), size: C.size_t(len(data))}
		if data != nil {
			field.data = a.bytes(data)
		}
		list = append(list, field)
	}
	return (*C.latchkey_field)(at), C.size_t(len(list))
}

func (a *arena) names(names []string) **C.char {
	at := a.take(len(names) * int(unsafe.Sizeof((*C.char)(nil))))
	list := unsafe.Slice((**C.char)(at), len(names)+1)
	for i, name := range names {
		list[i] = a.text(name)
	}
	return (**C.char)(at)
}

func role(s string) error {
	if len(s) > 16 {
		return badArgument("the role is longer than 16 bytes")
	}
	return withoutNUL("the role", s)
}

// withoutNUL: for C a text ends at its first NUL.
func withoutNUL(what, s string) error {
	if strings.IndexByte(s, 0) >= 0 {
		return badArgument(what + " holds a NUL")
	}
	return nil
}

// milliseconds of a duration that is not 0, which would mean another thing, for being short.
func milliseconds(what string, d time.Duration) (C.int64_t, error) {
	if d < 0 {
		return 0, badArgument(what + " is below 0")
	}
	return C.int64_t((d + time.Millisecond - 1) / time.Millisecond), nil
}

func (a *arena) draft(d *Draft) (*C.latchkey_draft, error) {
	if err := role(d.Role); err != nil {
		return nil, err
	}
	idle, err := milliseconds("Idle", d.Idle)
	if err != nil {
		return nil, err
	}
	lifetime, err := milliseconds("Lifetime", d.Lifetime)
	if err != nil {
		return nil, err
	}
	draft := (*C.latchkey_draft)(a.take(int(unsafe.Sizeof(C.latchkey_draft{}))))
	draft.size = C.size_t(unsafe.Sizeof(*draft))
	draft.user_id = C.uint64_t(d.UserID)
	draft.role = a.text(d.Role)
	*(*[32]byte)(unsafe.Pointer(&draft.permissions_hash)) = d.PermissionsHash
	draft.device = C.uint32_t(d.Device)
	draft.flags = C.uint32_t(d.Flags)
	draft.idle_ms, draft.lifetime_ms = idle, lifetime
	draft.generation = C.uint64_t(d.Generation)
	draft.fields, draft.field_count = a.fields(d.Fields)
	if d.UserName != nil {
		draft.user_name = unsafe.Pointer(a.text(*d.UserName))
		draft.user_name_size = C.size_t(len(*d.UserName))
	}
	return draft, nil
}

func (a *arena) access(c *Access) (*C.latchkey_access, error) {
	access := (*C.latchkey_access)(a.take(int(unsafe.Sizeof(C.latchkey_access{}))))
	access.size = C.size_t(unsafe.Sizeof(*access))
	if c.Role != nil {
		if err := role(*c.Role); err != nil {
			return nil, err
		}
		access.role = a.text(*c.Role)
	}
	if c.PermissionsHash != nil {
		access.permissions_hash = (*C.uint8_t)(a.bytes(c.PermissionsHash[:]))
	}
	access.flags, access.flags_mask = C.uint32_t(c.Flags), C.uint32_t(c.FlagsMask)
	if c.Authenticated {
		access.authenticated = 1
	}
	return access, nil
}

// fieldNames checks the names before anything is asked: a NUL would cut one short.
func fieldName(name string) error {
	if len(name) < 2 || len(name) > 64 {
		return badArgument(fmt.Sprintf("the name of a field has %d bytes: 2 to 64 are allowed", len(name)))
	}
	for _, c := range []byte(name) {
		switch {
		case 'A' <= c && c <= 'Z', 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '.', c == '_', c == ':', c == '-':
		default:
			return badArgument("the name of a field holds a byte that is not in [A-Za-z0-9._:-]")
		}
	}
	return nil
}

func fieldNames(fields map[string][]byte) error {
	for name := range fields {
		if err := fieldName(name); err != nil {
			return err
		}
	}
	return nil
}
