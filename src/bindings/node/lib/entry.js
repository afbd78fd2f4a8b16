// SPDX-License-Identifier: MIT
// What a validation answers. The addon puts the 120 bytes of latchkey_entry into 30 words; an entry copies the words, and decodes
// a member when it is asked for. (Small integers in an array are the cheapest copy that V8 has.)
'use strict'
const { inspect } = require('node:util')
const native = require('./native')

// Where the members of latchkey_entry begin, in words. The layout is frozen.
const ROLE = 2, EXPIRES = 6, PERMISSIONS = 8, PQ_KEY = 16, CREATED = 24, AUTH = 26, DEVICE = 28, FLAGS = 29

// There are few roles, and to decode one takes longer than all the rest: the last ones are kept, by their first word.
const roles = new Map()
const ROLES_MAX = 256
function roleOf(w) {
  const known = roles.get(w[ROLE])
  if (known && known[1] === w[ROLE + 1] && known[2] === w[ROLE + 2] && known[3] === w[ROLE + 3]) return known.text
  const words = w.slice(ROLE, ROLE + 4)
  const bytes = Buffer.from(Int32Array.from(words).buffer)
  const end = bytes.indexOf(0)
  words.text = bytes.toString('utf8', 0, end < 0 ? 16 : end)
  if (roles.size >= ROLES_MAX) roles.clear()
  roles.set(words[0], words)
  return words.text
}

class Entry {
  #w
  constructor(w) {
    this.#w = [
      w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7], w[8], w[9], w[10], w[11], w[12], w[13], w[14],
      w[15], w[16], w[17], w[18], w[19], w[20], w[21], w[22], w[23], w[24], w[25], w[26], w[27], w[28], w[29]]
  }

  #time(at) { return this.#w[at + 1] * 4294967296 + (this.#w[at] >>> 0) }
  #bytes(at, count) { return Buffer.from(Int32Array.from(this.#w.slice(at, at + count)).buffer) }

  get userId() { return (BigInt(this.#w[1] >>> 0) << 32n) | BigInt(this.#w[0] >>> 0) }
  get role() { return roleOf(this.#w) }
  get expiresAt() { return this.#time(EXPIRES) }
  get permissionsHash() { return this.#bytes(PERMISSIONS, 8) }
  get pqKeyHash() { return this.#bytes(PQ_KEY, 8) }
  get createdAt() { return this.#time(CREATED) }
  get authAt() { return this.#time(AUTH) }
  get device() { return this.#w[DEVICE] >>> 0 }
  get flags() { return this.#w[FLAGS] & native.FLAGS_YOURS }
  get renew() { return (this.#w[FLAGS] & native.FLAG_RENEW) !== 0 }
  get stale() { return (this.#w[FLAGS] & native.FLAG_STALE) !== 0 }

  /** JSON has no 64-bit integers: the user id is a string there. */
  toJSON() {
    return {
      userId: String(this.userId), role: this.role, expiresAt: this.expiresAt, permissionsHash: this.permissionsHash.toString('hex'),
      pqKeyHash: this.pqKeyHash.toString('hex'), createdAt: this.createdAt, authAt: this.authAt, device: this.device,
      flags: this.flags, renew: this.renew, stale: this.stale
    }
  }

  [inspect.custom](depth, options) {
    return `Entry ${inspect({ ...this.toJSON(), userId: this.userId }, options)}`
  }
}

module.exports = { Entry }
