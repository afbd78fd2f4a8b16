// SPDX-License-Identifier: MIT
// One class of error. `code` is the name of the status, for example 'UNAVAILABLE'. Express and Fastify read `statusCode`: where no
// answer could be had it is 503. No text of an error holds a token or a password.
'use strict'
const native = require('./native')

const CLOSED = 'CLOSED: the handle is closed: open a new one'

// What a web framework sends if nobody handles the error. A login that is refused is an answer, so it is not 503.
const statusCodes = { LIMIT: 403, REFUSED: 409, MALFORMED: 400, EXPIRED: 400, NOT_FOUND: 404, BAD_ARGUMENT: 500, CONFIG: 500 }

class LatchkeyError extends Error {
  constructor(status, text) {
    const meaning = status === native.CLOSED ? CLOSED : native.statusText(status)
    const code = meaning.slice(0, meaning.indexOf(':'))
    super(text ? `${code}: ${text}` : meaning)
    this.code = code
    this.statusCode = statusCodes[code] ?? 503
  }
}
Object.defineProperty(LatchkeyError.prototype, 'name', { value: 'LatchkeyError', configurable: true, writable: true })

/** An argument that cannot be used. It is thrown before Redis is asked. The value is not in the text: it may be a token. */
function badArgument(text, Kind = TypeError) {
  return Object.assign(new Kind(`latchkey: ${text}`), { code: 'BAD_ARGUMENT' })
}

module.exports = { LatchkeyError, badArgument }
