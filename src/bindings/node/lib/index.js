// SPDX-License-Identifier: MIT
'use strict'
const native = require('./native')
const { Entry } = require('./entry')
const { LatchkeyError } = require('./errors')
const { Record } = require('./record')
const { Latchkey, open } = require('./latchkey')
const { session } = require('./session')
const { config } = require('./values')

/** The user id of a name (a UUID, an address): the same number in every language. */
function userId(name) {
  if (typeof name !== 'string') throw new TypeError('latchkey: the name is not a string')
  return native.userId(Buffer.from(name))
}

/** Looks whether open could use this configuration, without connecting. Throws what open would reject with. */
function checkConfig(url) {
  config(url)
  const [status, text] = native.checkConfig(url)
  if (status !== native.OK) throw new LatchkeyError(status, text)
}

module.exports = { open, session, checkConfig, userId, version: native.version, Latchkey, Entry, Record, LatchkeyError }
