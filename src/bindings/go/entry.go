// SPDX-License-Identifier: MIT

package latchkey

// #include "call.h"
import "C"

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"
	"unsafe"
)

// Entry says whose session it is. It is a copy of the 120 bytes of latchkey_entry, in the same layout; what has to be decoded is
// decoded when it is asked for.
type Entry struct {
	UserID          uint64
	role            [16]byte
	expiresAtMS     int64
	PermissionsHash [32]byte // yours
	PQKeyHash       [32]byte
	createdAtMS     int64
	authAtMS        int64
	Device          uint32 // yours
	flags           uint32
}

// The layouts are one.
var _ [unsafe.Sizeof(Entry{})]byte = [unsafe.Sizeof(C.latchkey_entry{})]byte{}

func entryOf(e *C.latchkey_entry) Entry { return *(*Entry)(unsafe.Pointer(e)) }

// Role is at most 16 bytes.
func (e *Entry) Role() string {
	if end := bytes.IndexByte(e.role[:], 0); end >= 0 {
		return string(e.role[:end])
	}
	return string(e.role[:])
}

// ExpiresAt is the absolute expiry. Only Redis knows the idle expiry.
func (e *Entry) ExpiresAt() time.Time { return time.UnixMilli(e.expiresAtMS) }

// CreatedAt is when the session was made.
func (e *Entry) CreatedAt() time.Time { return time.UnixMilli(e.createdAtMS) }

// AuthAt is when the user last proved who they are.
func (e *Entry) AuthAt() time.Time { return time.UnixMilli(e.authAtMS) }

// Flags are yours.
func (e *Entry) Flags() uint16 { return uint16(e.flags & C.LATCHKEY_FLAGS_YOURS) }

// Renew says that the token is old: exchange it (Rotate), and send the new one. Middleware does that by itself.
func (e *Entry) Renew() bool { return e.flags&C.LATCHKEY_FLAG_RENEW != 0 }

// Stale says that Redis is lost, and that grace_ms lets memory answer.
func (e *Entry) Stale() bool { return e.flags&C.LATCHKEY_FLAG_STALE != 0 }

func (e Entry) String() string {
	return fmt.Sprintf("Entry{UserID: %d, Role: %q, ExpiresAt: %s}", e.UserID, e.Role(), e.ExpiresAt().Format(time.RFC3339))
}

// MarshalJSON writes the user id as a string: many readers of JSON have no 64-bit integers.
func (e Entry) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]any{
		"userId": fmt.Sprint(e.UserID), "role": e.Role(), "expiresAt": e.expiresAtMS, "createdAt": e.createdAtMS,
		"authAt": e.authAtMS, "device": e.Device, "flags": e.Flags(),
	})
}

// Record is a session as Redis holds it: its entry, and the fields that were asked for.
type Record struct {
	Entry    Entry
	fields   map[string][]byte
	versions map[string]uint64
}

// Get gives the bytes of a field, or nil.
func (r *Record) Get(name string) []byte { return r.fields[name] }

// Has tells whether there is such a field.
func (r *Record) Has(name string) bool { _, ok := r.fields[name]; return ok }

// Names gives the names of the fields, in no order.
func (r *Record) Names() []string {
	names := make([]string, 0, len(r.fields))
	for name := range r.fields {
		names = append(names, name)
	}
	return names
}

// String shows the sizes of the fields, not their bytes: they are the application's secrets.
func (r *Record) String() string {
	text := "Record{" + r.Entry.String()
	for name, data := range r.fields {
		text += fmt.Sprintf(", %s: %d bytes", name, len(data))
	}
	return text + "}"
}

// GoString is String: %#v must not show the bytes either.
func (r *Record) GoString() string { return r.String() }

// takeRecord copies a record, and frees it.
func takeRecord(record *C.latchkey_record) *Record {
	defer C.latchkey_record_free(record)
	r := &Record{Entry: entryOf(C.latchkey_record_entry(record)), fields: map[string][]byte{}, versions: map[string]uint64{}}
	for i := C.size_t(0); ; i++ {
		name := C.latchkey_record_field_name(record, i)
		if name == nil {
			return r
		}
		var size C.size_t
		data := C.latchkey_record_field(record, name, &size)
		if data == nil {
			continue
		}
		key := C.GoString(name)
		r.fields[key] = C.GoBytes(data, C.int(size))
		r.versions[key] = uint64(C.latchkey_record_version(record, name))
	}
}
