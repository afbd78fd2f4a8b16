// SPDX-License-Identifier: MIT
// What users pass, checked, in the form that the addon reads. What cannot be used is thrown here, before anything is asked.
'use strict'
const native = require('./native')
const { badArgument } = require('./errors')

function config(url) {
  if (typeof url !== 'string') throw badArgument('the configuration is not a string: open("redis://127.0.0.1:6379")')
  if (url.includes('\0')) throw badArgument('the configuration holds a NUL')
}

function number(value, what) {
  if (typeof value === 'number' && Number.isSafeInteger(value)) value = BigInt(value)
  if (typeof value !== 'bigint') throw badArgument(`${what} is not an integer that a number holds exactly: pass a bigint`)
  if (value < 0n || value >= 1n << 64n) throw badArgument(`${what} is not between 0 and 2^64 - 1`, RangeError)
  return value
}

function integer(value, what, min, max) {
  if (typeof value !== 'number' || !Number.isInteger(value)) throw badArgument(`${what} is not an integer`)
  if (value < min || value > max) throw badArgument(`${what} is not between ${min} and ${max}`, RangeError)
  return value
}

const milliseconds = (value = 0, what) => integer(value, what, 0, Number.MAX_SAFE_INTEGER)
const word = (value = 0, what) => integer(value, what, 0, 0xffffffff)
const yours = (value = 0, what) => integer(value, what, 0, native.FLAGS_YOURS)

function role(value) {
  if (value === undefined || value === null) return undefined
  if (typeof value !== 'string') throw badArgument('role is not a string')
  if (Buffer.byteLength(value) > 16) throw badArgument('role is longer than 16 bytes', RangeError)
  if (value.includes('\0')) throw badArgument('role holds a NUL')
  return value
}

function hash(value, what) {
  if (value === undefined || value === null) return undefined
  if (!(value instanceof Uint8Array) || value.length !== 32) throw badArgument(`${what} is not a Uint8Array of 32 bytes`)
  return value
}

function bytes(value, what) {
  if (typeof value === 'string') return Buffer.from(value)
  if (value instanceof Uint8Array) return value
  throw badArgument(`${what} is neither a string nor a Uint8Array`)
}

function name(value) {
  if (typeof value !== 'string' || !/^[A-Za-z0-9._:-]{2,64}$/.test(value))
    throw badArgument('the name of a field is 2 to 64 characters of [A-Za-z0-9._:-]')
  return value
}

/** {name: value, ...}; null deletes. With `versions`, a function of the name. */
function fields(object, version = () => 0n) {
  if (object === undefined || object === null) return []
  if (typeof object !== 'object') throw badArgument('fields are not an object')
  return Object.entries(object).flatMap(([key, value]) =>
    [name(key), value === null ? null : bytes(value, `the field ${key}`), version(key)])
}

const OF_ACCESS = new Set(['role', 'permissionsHash', 'flags', 'flagsMask', 'authenticated'])
const OF_DRAFT = new Set(['userId', 'userName', 'role', 'permissionsHash', 'device', 'flags', 'idleMs', 'lifetimeMs', 'generation', 'fields', 'token'])

/** A member that is misspelt must not be passed over: the session would be one without a role. */
function members(what, object, known) {
  for (const member in object) if (!known.has(member)) throw badArgument(`the ${what} has no member ${JSON.stringify(member)}`)
}

function draft(d) {
  if (typeof d !== 'object' || d === null) throw badArgument('the draft is not an object: { userId: 42n, role: "member" }')
  members('draft', d, OF_DRAFT)
  const userName = d.userName === undefined ? undefined : bytes(d.userName, 'userName')
  if (d.userId === undefined && userName === undefined) throw badArgument('the draft has neither userId nor userName')
  return [
    d.userId === undefined ? 0n : number(d.userId, 'userId'), role(d.role), hash(d.permissionsHash, 'permissionsHash'),
    word(d.device, 'device'), yours(d.flags, 'flags'), milliseconds(d.idleMs, 'idleMs'), milliseconds(d.lifetimeMs, 'lifetimeMs'),
    number(d.generation ?? 0n, 'generation'), fields(d.fields), userName]
}

function access(a) {
  if (typeof a !== 'object' || a === null) throw badArgument('the change is not an object: { role: "admin" }')
  members('change', a, OF_ACCESS)
  return [
    role(a.role), hash(a.permissionsHash, 'permissionsHash'), yours(a.flags, 'flags'),
    yours(a.flagsMask ?? a.flags, 'flagsMask'), a.authenticated ? 1 : 0]
}

/** A token that a client sent, or none: null is what no session has. */
function token(value) {
  if (typeof value === 'string') return value
  if (value === undefined || value === null) return null
  throw badArgument('the token is not a string')
}

module.exports = { access, bytes, config, draft, fields, integer, milliseconds, name, number, token }
