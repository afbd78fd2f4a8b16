// SPDX-License-Identifier: MIT
// The same functions for `import`: one instance, whichever way a program asks for it.
import latchkey from './lib/index.js'

export const { open, session, checkConfig, userId, version, Latchkey, Entry, Record, LatchkeyError } = latchkey
export default latchkey
