// SPDX-License-Identifier: MIT
// session(lk, options): middleware for Express (and Connect, and node:http), and a plugin for Fastify. It reads the cookie, and sets
// req.auth to the entry or null. Where no answer can be had it answers 503 itself and leaves the cookie alone: a browser that
// is told to forget a cookie because Redis was away has been logged out.
'use strict'
const { LatchkeyError, badArgument } = require('./errors')

const COOKIES_MAX = 8 // of one name, in one request
const TEXT = { 400: 'Bad Request', 401: 'Unauthorized', 503: 'Service Unavailable' }

// Every value of the cookie. A browser sends each cookie that fits: one of another path, one that an earlier version of the site set.
// Their order says nothing about which one is alive, so each is tried, one after the other: where several are alive the first counts,
// whatever is in memory. Where one gets no answer the others are not tried: they may be another user's.
function cookiesOf(header, name) {
  const values = []
  if (header === undefined) return values
  for (const part of header.split(';')) {
    const equal = part.indexOf('=')
    if (equal < 0 || part.slice(0, equal).trim() !== name) continue
    const value = part.slice(equal + 1).trim()
    values.push(value.length > 1 && value[0] === '"' && value.endsWith('"') ? value.slice(1, -1) : value)
  }
  return values
}

function cookieWriter({ cookie, path = '/', domain, secure = true, sameSite = 'Lax', maxAge }) {
  if (/^__Host-/i.test(cookie) && (!secure || path !== '/' || domain)) {
    throw badArgument(`the cookie is named "${cookie}": browsers take it only with secure, with path "/" and without a domain`)
  }
  if (/^__Secure-/i.test(cookie) && !secure) throw badArgument(`the cookie is named "${cookie}": browsers take it only with secure`)
  const rest = `; Path=${path}${domain ? `; Domain=${domain}` : ''}; HttpOnly${secure ? '; Secure' : ''}; SameSite=${sameSite}`
  return {
    value: (token) => `${cookie}=${token}${rest}${maxAge === undefined ? '' : `; Max-Age=${maxAge}`}`,
    gone: `${cookie}=${rest}; Max-Age=0`
  }
}

// The answer to a WebSocket's handshake is not made of the response: a cookie would reach nobody.
const isWebSocket = (request) => request.headers.upgrade?.toLowerCase() === 'websocket'

// A response of Fastify, or one of node:http (which Express' are).
const isReply = (response) => response.raw !== undefined && typeof response.send === 'function' && response.request !== undefined

const isSetCookie = (name) => typeof name === 'string' && name.toLowerCase() === 'set-cookie'
const isCacheControl = (name) => typeof name === 'string' && name.toLowerCase() === 'cache-control'
const guarded = new WeakMap() // of each response: our cookies

// An application that sets a cookie of its own by setHeader or writeHead takes out those that are there already. So they are looked for
// when the headers are written; what is missing then stands before those of the application, for the last of one name counts. No cache
// may keep such an answer, whatever the application says of it: it would give the token to others.
function guard(response, ours) {
  const { writeHead } = response
  const whole = (theirs) => [...ours.filter((each) => !theirs.includes(each)), ...theirs]
  response.writeHead = function (...args) {
    this.setHeader('set-cookie', whole([].concat(this.getHeader('set-cookie') ?? [])))
    this.setHeader('cache-control', 'no-store')
    const at = args.findIndex((arg) => typeof arg === 'object' && arg !== null)
    const headers = args[at]
    if (Array.isArray(headers)) { // name, value, name, value
      const named = (is) => (value, i) => is(headers[i - i % 2])
      const theirs = headers.filter((value, i) => named(isSetCookie)(value, i) && i % 2 === 1).flat()
      const rest = headers.filter((value, i) => !named(isSetCookie)(value, i) && !named(isCacheControl)(value, i))
      args[at] = [...rest, 'cache-control', 'no-store', ...(theirs.length ? ['set-cookie', whole(theirs)] : [])]
    } else if (headers) {
      const rest = Object.entries(headers).filter(([name]) => !isCacheControl(name))
      args[at] = Object.fromEntries(rest.map(([name, value]) => [name, isSetCookie(name) ? whole([].concat(value)) : value]))
    }
    return writeHead.apply(this, args)
  }
}

function addCookie(response, value) {
  if (isReply(response)) response = response.raw // what is set on a reply is not sent by a route that writes to reply.raw
  const ours = guarded.get(response) ?? []
  ours.push(value)
  if (!guarded.has(response)) {
    guarded.set(response, ours)
    guard(response, ours)
  }
  const before = response.getHeader('set-cookie')
  response.setHeader('set-cookie', before === undefined ? value : [].concat(before, value))
}

function refuse(response, status) {
  const headers = { 'cache-control': 'no-store', ...(status === 503 && { 'retry-after': '1' }) }
  const body = JSON.stringify({ error: TEXT[status] })
  if (isReply(response)) return void response.code(status).headers(headers).type('application/json').send(body)
  response.writeHead(status, { ...headers, 'content-type': 'application/json' }).end(body)
}

function session(lk, options = {}) {
  const { cookie = 'sid', required = false, graceMs = 300000 } = options
  if (typeof lk?.tryValidate !== 'function') throw badArgument('session needs a handle: session(await open(url), { cookie: "sid" })')
  if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(cookie)) throw badArgument('the name of the cookie cannot be used')
  const write = cookieWriter({ ...options, cookie })
  const tokens = new WeakMap() // of each request: beside it, so that no text of it holds the token

  // {entry, token}; null: a "no". A promise where memory cannot tell. Undefined: too many cookies.
  function find(values) {
    if (values.length > COOKIES_MAX) return undefined
    for (let i = 0; i < values.length; i++) {
      const entry = lk.tryValidate(values[i])
      if (entry) return { entry, token: values[i] }
      if (entry === undefined) return ask(values.slice(i))
    }
    return null
  }
  async function ask(values) {
    for (const token of values) {
      const entry = await lk.validate(token)
      if (entry) return { entry, token }
    }
    return null
  }

  async function renew(request, response, token) {
    try {
      const fresh = await lk.rotate(token, { graceMs })
      if (!fresh) return // another request has it
      tokens.set(request, fresh)
      addCookie(response, write.value(fresh))
    } catch (error) {
      if (!(error instanceof LatchkeyError)) throw error // the old token goes on, and the next request tries again
    }
  }

  function admit(request, response, found, next) {
    request.auth = found ? found.entry : null
    if (!found) return required ? refuse(response, 401) : next()
    tokens.set(request, found.token)
    if (!found.entry.renew || isWebSocket(request)) return next()
    renew(request, response, found.token).then(() => next(), next)
  }
  function fail(response, error, next) {
    if (error instanceof LatchkeyError) refuse(response, 503)
    else next(error)
  }
  function handle(request, response, next) {
    let found
    try {
      found = find(cookiesOf(request.headers.cookie, cookie))
    } catch (error) {
      return fail(response, error, next)
    }
    if (found === undefined) return refuse(response, 400)
    if (!(found instanceof Promise)) return admit(request, response, found, next)
    found.then((answer) => admit(request, response, answer, next), (error) => fail(response, error, next)).catch(next)
  }

  // Express calls it with a request; Fastify's register with an instance.
  function middleware(first, second, next) {
    if (typeof first.addHook !== 'function') return handle(first, second, next)
    first.decorateRequest('auth', null)
    first.addHook('onRequest', handle)
    next()
  }
  middleware[Symbol.for('skip-override')] = true // Fastify: the hook holds for the instance that registers it
  middleware[Symbol.for('fastify.display-name')] = 'latchkey'

  // Of all the sessions that a browser sent none goes on: another one would be in use from then on.
  function endAll(request) {
    const given = new Set([tokens.get(request), ...cookiesOf(request.headers.cookie, cookie)])
    given.delete(undefined)
    return Promise.allSettled([...given].map((token) => lk.revoke(token)))
  }
  /** Makes a session, sends its cookie, and ends the sessions that the request came with. Gives the entry. */
  middleware.login = async (request, response, draft) => {
    const token = await lk.create(draft)
    addCookie(response, write.value(token)) // it is sent with whatever answers the request
    const ended = endAll(request) // PENDING: they are denied here already
    tokens.set(request, token)
    const [entry] = await Promise.all([lk.validate(token), ended])
    return (request.auth = entry)
  }
  /** Ends the sessions of the request, and takes the cookie back. Where Redis does not confirm it rejects, and the cookie stays. */
  middleware.logout = async (request, response) => {
    const answers = await endAll(request)
    const failed = answers.find((answer) => answer.status === 'rejected')
    if (failed) throw failed.reason
    const ended = answers.some((answer) => answer.value)
    tokens.delete(request)
    request.auth = null
    addCookie(response, write.gone)
    return ended
  }
  /** The token of the request, for the handle's other functions. */
  middleware.token = (request) => tokens.get(request)
  return middleware
}

/** For single routes: 401 unless the request has a session. */
session.required = (request, response, next) => (request.auth ? next() : refuse(response, 401))

module.exports = { session }
