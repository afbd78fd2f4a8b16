// SPDX-License-Identifier: MIT
// A store for express-session, for those who move. The session's data is one field, in JSON.
//
//   - A session that has ended is never made again by a request that was under way: a session that was read is only changed,
//     and only a session that was generated in this request is created.
//   - Two requests that change different members both keep their change: a save that finds the data changed merges.
//   - Reading is one round trip to Redis; there is no second one to move the expiry.
'use strict'
const { randomBytes } = require('node:crypto')
const { Store } = require('express-session')
const { LatchkeyError, badArgument } = require('./errors')

const TEN_YEARS_MS = 315360000000 // the longest that a session may have

const randomUser = () => randomBytes(8).readBigUInt64LE()
const parse = (record, field) => {
  const text = record?.text(field)
  return text === undefined ? undefined : JSON.parse(text)
}

// What `mine` changed since `base`, done to `theirs`: member by member.
function merge(base, mine, theirs) {
  const merged = { ...theirs }
  for (const key of new Set([...Object.keys(base), ...Object.keys(mine)])) {
    if (JSON.stringify(base[key]) === JSON.stringify(mine[key])) continue
    if (key in mine) merged[key] = mine[key]
    else delete merged[key]
  }
  return merged
}

class LatchkeyStore extends Store {
  #lk
  #field
  #draft
  #users = new WeakMap() // of each request for which an id was generated
  #read = new WeakMap()  // of each session: the data as it was read or written last
  #last = new Map()      // of each id: what was asked last and is under way

  constructor({ lk, field = 'express.session', user = randomUser, draft = {} } = {}) {
    super()
    if (typeof lk?.getFields !== 'function') throw badArgument('the store needs a handle: new LatchkeyStore({ lk: await open(url) })')
    this.#lk = lk
    this.#field = field
    this.#draft = draft
    /** For express-session's option genid: its ids are latchkey's tokens. */
    this.genid = (request) => {
      const userId = user(request) ?? randomUser()
      this.#users.set(request, userId)
      return lk.newToken(userId)
    }
  }

  get(sid, callback) {
    this.#lk.getFields(sid, [this.#field]).then((record) => parse(record, this.#field)).then(
      (data) => {
        if (data !== undefined) this.#read.set(data, structuredClone(data))
        callback(null, data)
      }, callback)
  }

  /** express-session makes the request's session of the data that get gave. */
  createSession(request, data) {
    const base = this.#read.get(data)
    const session = super.createSession(request, data)
    if (base !== undefined) this.#read.set(session, base)
    return session
  }

  set(sid, session, callback = () => {}) {
    this.#save(sid, session).then(() => callback(null), callback)
  }

  // One after the other: an application may save a session and not wait, and express-session saves it again at the end.
  #inTurn(sid, what) {
    const before = this.#last.get(sid)
    const asked = before === undefined ? what() : before.then(what, what)
    const done = () => { if (this.#last.get(sid) === asked) this.#last.delete(sid) }
    this.#last.set(sid, asked)
    asked.then(done, done)
    return asked
  }

  async #save(sid, session) {
    const data = JSON.parse(JSON.stringify(session)) // as it is now
    await this.#inTurn(sid, async () => {
      const base = this.#read.get(session)
      if (base === undefined) await this.#create(sid, session, data)
      else if (!await this.#change(sid, base, data)) return // it has ended: it stays so
      this.#read.set(session, data)
    })
  }

  async #create(sid, session, data) {
    const userId = this.#users.get(session.req)
    if (userId === undefined) throw new LatchkeyError(3, 'express-session made this id: set its option genid to store.genid')
    const idleMs = session.cookie?.originalMaxAge
    await this.#lk.create({
      ...(idleMs > 0 && { idleMs: Math.min(idleMs, TEN_YEARS_MS) }), ...this.#draft, userId, token: sid,
      fields: { ...this.#draft.fields, [this.#field]: JSON.stringify(data) } })
  }

  async #change(sid, base, data) {
    for (;;) {
      const record = await this.#lk.getFields(sid, [this.#field])
      if (record === null) return false
      const merged = merge(base, data, parse(record, this.#field) ?? {})
      const done = await this.#lk.changeFields(sid, { [this.#field]: JSON.stringify(merged) }, record)
      if (done !== false) return done
    }
  }

  destroy(sid, callback = () => {}) {
    this.#inTurn(sid, () => this.#lk.revoke(sid)).then(() => callback(null), callback)
  }

  /** Reading a session is a use of it: there is nothing to move. */
  touch(sid, session, callback = () => {}) { callback(null) }
}

module.exports = { LatchkeyStore, default: LatchkeyStore }
