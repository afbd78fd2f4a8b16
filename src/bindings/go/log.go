// SPDX-License-Identifier: MIT

package latchkey

// #include "call.h"
import "C"

import (
	"fmt"
	"log"
	"unsafe"
)

// Level is a line's level. The numbers are those of syslog: smaller is graver.
type Level int

const (
	LevelError   Level = C.LATCHKEY_LOG_ERROR   // a guarantee does not hold now, or nothing works until somebody acts
	LevelWarning Level = C.LATCHKEY_LOG_WARNING // one more fault would break a guarantee
	LevelNotice  Level = C.LATCHKEY_LOG_NOTICE
	LevelInfo    Level = C.LATCHKEY_LOG_INFO
)

func (l Level) String() string {
	switch l {
	case LevelError:
		return "error"
	case LevelWarning:
		return "warning"
	case LevelNotice:
		return "notice"
	case LevelInfo:
		return "info"
	}
	return fmt.Sprintf("level %d", int(l))
}

func standardLog(level Level, text string) {
	if level <= LevelWarning {
		log.Printf("latchkey: %s: %s", level, text)
	}
}

const lineSize = 640

// readLog hands on every line that waits. The lock is not held while the program's function runs.
func (in *inner) readLog(write func(Level, string)) {
	text := (*C.char)(C.calloc(1, lineSize))
	defer C.free(unsafe.Pointer(text))
	level := (*C.int)(C.calloc(1, C.size_t(unsafe.Sizeof(C.int(0)))))
	defer C.free(unsafe.Pointer(level))
	for {
		status := C.int(C.LATCHKEY_NOT_FOUND)
		in.mu.RLock()
		if in.lk != nil {
			status = C.latchkey_log_read(in.lk, level, text, lineSize)
		}
		in.mu.RUnlock()
		if status != C.LATCHKEY_OK {
			return
		}
		write(Level(*level), C.GoString(text))
	}
}
