// SPDX-License-Identifier: MIT

package bindings

import (
	"testing"

	"latchkey"
)

// BenchmarkHit is a hit with its entry; bench/ffi runs it.
func BenchmarkHit(b *testing.B) {
	lk, err := latchkey.Open(url(patient), latchkey.WithLog(nil))
	if err != nil {
		b.Fatal(err)
	}
	defer lk.Close()
	token, err := lk.Create(ctx, latchkey.Draft{UserID: 1})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; i < b.N; i++ {
		if _, err := lk.Validate(ctx, token); err != nil {
			b.Fatal(err)
		}
	}
}
