// SPDX-License-Identifier: MIT
// The handle. A hit is answered in this thread, from memory. What needs Redis goes to a queue of this thread, and its promise is
// settled by `deliver` when the queue's descriptor is readable. A "no" is null or false; no answer is a LatchkeyError.
'use strict'
const { inspect } = require('node:util')
const native = require('./native')
const { Entry } = require('./entry')
const { Record } = require('./record')
const { LatchkeyError, badArgument } = require('./errors')
const check = require('./values')

const LEVELS = { 3: 'error', 4: 'warning', 5: 'notice', 6: 'info' }
const made = Symbol('made by open')

function failed(status, text) {
  if (status === native.BAD_ARGUMENT) return badArgument(text || 'an argument cannot be used: see latchkey.h')
  return new LatchkeyError(status, text)
}

// What an answer means. Each takes the status and the value, and gives what the promise gives, or throws.
function yesOrNo(status, value, text) {
  if (status === native.OK) return true
  if (status > 0) return false
  throw failed(status, text)
}
function valueOrNull(status, value, text) {
  if (status === native.OK) return value
  if (status > 0) return null
  throw failed(status, text)
}
function valueOrError(status, value, text) {
  if (status === native.OK) return value
  throw failed(status, text)
}
// Where REFUSED is an answer of its own, false: another caller was quicker.
const orFalse = (value) => (status, given, text) =>
  status === native.REFUSED ? false : valueOrNull(status, value === undefined ? given : value, text)

class Latchkey {
  #native
  #pending
  #words
  #tag = 0
  #entryOrNull
  #recordOrNull

  constructor(key, addon, pending) {
    if (key !== made) throw new TypeError('latchkey: call open(url)')
    this.#native = addon
    this.#pending = pending
    const words = this.#words = addon.words
    this.#entryOrNull = (status, value, text) => valueOrNull(status, status === native.OK ? new Entry(words) : null, text)
    this.#recordOrNull = (status, list, text) =>
      valueOrNull(status, status === native.OK ? new Record(new Entry(words), list) : null, text)
  }

  // The entry in the pending map keeps this handle from being collected while it has an answer to come.
  #promise(start, convert) {
    return new Promise((resolve, reject) => {
      const tag = ++this.#tag
      this.#pending.set(tag, { resolve, reject, convert, handle: this })
      const status = start(tag)
      if (status === native.OK) return
      this.#pending.delete(tag)
      try { resolve(convert(status, undefined, status < 0 ? this.#native.reason() : undefined)) } catch (error) { reject(error) }
    })
  }
  #submit(kind, token, detail, convert) {
    return this.#promise((tag) => this.#native.submit(tag, kind, token, detail), convert)
  }
  #run(verb, convert, ...args) {
    return this.#promise((tag) => this.#native.run(tag, verb, ...args), convert)
  }

  // ------------------------------------------------------------------------------------------ validating --

  tryValidate(token) {
    const status = this.#native.tryValidate(token)
    if (status === native.OK) return new Entry(this.#words)
    if (status === native.AGAIN) return undefined
    if (status > 0) return null
    if (status === native.BAD_ARGUMENT && check.token(token) === null) return null
    throw failed(status)
  }

  async validate(token, options) {
    if (options === undefined || options.maxAgeMs === undefined) {
      const entry = this.tryValidate(token)
      return entry !== undefined ? entry : this.#submit(native.VALIDATE, token, -1, this.#entryOrNull)
    }
    const maxAgeMs = check.milliseconds(options.maxAgeMs, 'maxAgeMs')
    if (check.token(token) === null) return null
    return this.#submit(native.VALIDATE, token, maxAgeMs, this.#entryOrNull)
  }

  // ---------------------------------------------------------------------------------- the life of a session --

  async create(draft) {
    const token = draft?.token === undefined ? undefined : check.token(draft.token)
    return this.#submit(native.CREATE, token, check.draft(draft), valueOrError)
  }
  newToken(userId) {
    const token = this.#native.tokenNew(check.number(userId, 'userId'))
    if (typeof token !== 'string') throw failed(token, this.#native.reason())
    return token
  }
  async revoke(token) { return this.#about(native.REVOKE, token, undefined, yesOrNo, false) }
  async touch(token) { return this.#about(native.TOUCH, token, undefined, yesOrNo, false) }
  async rotate(token, { graceMs = 0 } = {}) {
    return this.#about(native.ROTATE, token, check.milliseconds(graceMs, 'graceMs'), orFalse(), null)
  }
  async setAccess(token, access) { return this.#about(native.SET_ACCESS, token, check.access(access), yesOrNo, false) }

  // Without a token there is no session: the answer is `no`, and nothing is asked.
  #about(kind, token, detail, convert, no) {
    return check.token(token) === null ? no : this.#submit(kind, token, detail, convert)
  }

  // ------------------------------------------------------------------------------------------------ fields --

  async load(token) { return this.#about(native.LOAD, token, undefined, this.#recordOrNull, null) }
  async getFields(token, names) {
    if (!Array.isArray(names)) throw badArgument('the names are not an array')
    return this.#about(native.GET_FIELDS, token, names.map(check.name), this.#recordOrNull, null)
  }
  async setFields(token, fields) { return this.#about(native.SET_FIELDS, token, check.fields(fields), yesOrNo, false) }
  async changeFields(token, fields, record) {
    if (!(record instanceof Record)) throw badArgument('changeFields needs the record that the fields were read in')
    const changes = check.fields(fields, (name) => record.version(name))
    return this.#about(native.CHANGE_FIELDS, token, changes, orFalse(true), null)
  }
  /** Reads a field, lets `change` make the new value of the old one, and writes it, until nobody else was in between. */
  async updateField(token, name, change) {
    for (;;) {
      const record = await this.getFields(token, [name])
      if (record === null) return null
      const value = await change(record.get(name))
      if (value === undefined) throw badArgument('the change gave undefined: null deletes the field')
      const done = await this.changeFields(token, { [name]: value }, record)
      if (done !== false) return done && value
    }
  }
  async putSection(token, section, data) {
    const value = data === null ? null : check.bytes(data, 'the section')
    if (check.token(token) === null) return false
    return this.#run(native.PUT_SECTION, yesOrNo, token, check.name(section), value)
  }
  async getSection(token, section) {
    if (check.token(token) === null) return null
    return this.#run(native.GET_SECTION, valueOrNull, token, check.name(section))
  }

  // -------------------------------------------------------------------------------------- a user's sessions --

  async sessions(userId, { current } = {}) {
    return this.#run(native.SESSIONS, valueOrError, check.number(userId, 'userId'), check.token(current))
  }
  async revokeUser(userId, { keep } = {}) {
    return this.#submit(native.REVOKE_USER, check.token(keep) ?? undefined, check.number(userId, 'userId'), valueOrError)
  }
  async revokeSelector(userId, selector) {
    if (typeof selector !== 'string') throw badArgument('the selector is not a string')
    return this.#run(native.REVOKE_SELECTOR, yesOrNo, check.number(userId, 'userId'), selector)
  }
  async revokeEveryone() { await this.#run(native.REVOKE_EVERYONE, valueOrError) }
  async userGeneration(userId) { return this.#run(native.USER_GENERATION, valueOrError, check.number(userId, 'userId')) }
  async setUserAccess(userId, access) {
    return this.#run(native.SET_USER_ACCESS, valueOrError, check.number(userId, 'userId'), check.access(access))
  }
  async importSession(token, draft, { createdAt = 0, expiresAt = 0 } = {}) {
    const times = [check.milliseconds(createdAt, 'createdAt'), check.milliseconds(expiresAt, 'expiresAt')]
    if (typeof token !== 'string') throw badArgument('the token is not a string')
    return this.#run(native.IMPORT, yesOrNo, token, check.draft(draft), ...times)
  }

  // ------------------------------------------------------------------------------------------ the handle --

  async prewarm(count) { return this.#run(native.PREWARM, valueOrError, check.milliseconds(count, 'count')) }
  stats() {
    const stats = this.#native.stats()
    if (typeof stats !== 'object') throw failed(stats)
    return stats
  }
  metrics() {
    const text = this.#native.metrics()
    if (typeof text !== 'string') throw failed(text)
    return text
  }
  async close() {
    const pending = [...this.#pending.values()]
    this.#pending.clear()
    const closed = this.#native.close()
    for (const { reject } of pending) reject(failed(native.CLOSED))
    await closed
  }

  /** The log goes to one listener of the process: the first that asks. */
  static listen(addon, log) {
    if (log === null) return
    addon.log(log !== undefined ? (level, text) => log(LEVELS[level] ?? 'info', text) : (level, text) => {
      if (level <= 4) process.emitWarning(text, 'LatchkeyWarning')
    })
  }

  [inspect.custom]() { return 'Latchkey {}' }
}
if (Symbol.asyncDispose) Latchkey.prototype[Symbol.asyncDispose] = Latchkey.prototype.close

async function open(url, { apart = false, log } = {}) {
  check.config(url)
  if (log !== undefined && log !== null && typeof log !== 'function') throw badArgument('log is not a function')
  const pending = new Map()
  // It must not know the handle: the addon holds it, and a handle that is not used any more is to be collected.
  const deliver = (tag, status, value, text) => {
    const waiting = pending.get(tag)
    if (waiting === undefined) return
    pending.delete(tag)
    try { waiting.resolve(waiting.convert(status, value, text)) } catch (error) { waiting.reject(error) }
  }
  const addon = await native.open(url, Boolean(apart), deliver)
  if (Array.isArray(addon)) throw failed(...addon)
  Latchkey.listen(addon, log)
  return new Latchkey(made, addon, pending)
}

module.exports = { Latchkey, open }
