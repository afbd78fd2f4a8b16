// SPDX-License-Identifier: MIT
// The middleware behind Express and Fastify, and the store of express-session.
import assert from 'node:assert/strict'
import http from 'node:http'
import { test } from 'node:test'
import express from 'express'
import expressSession from 'express-session'
import fastify from 'fastify'
import { session, open } from 'latchkey'
import { LatchkeyStore } from 'latchkey/express-session'
import { ask, go, handle, impatient, point, recovered, stop, stopped, until, url } from './support.mjs'

const never = 'A'.repeat(43)

// Of something else that a login needs.
const failure = () => Object.assign(new Error('away'), { statusCode: 503 })

const only = (cookies) => { assert.equal(cookies.length, 1); return cookies[0].split(';')[0] }

function expressApp(lk) {
  const app = express()
  const auth = session(lk, { cookie: 'sid', secure: false })
  app.use(auth)
  app.get('/', (req, res) => res.json({ user: req.auth ? String(req.auth.userId) : null }))
  app.get('/me', session.required, (req, res) => res.json(req.auth))
  app.post('/login', async (req, res, next) => {
    try {
      const entry = await auth.login(req, res, { userId: 42n, role: 'member' })
      if (req.headers['x-fail']) throw failure()
      res.json(entry)
    } catch (error) { next(error) }
  })
  app.post('/logout', async (req, res, next) => {
    try { res.json(await auth.logout(req, res)) } catch (error) { next(error) }
  })
  app.use((error, req, res, next) => res.status(error.statusCode ?? 500).json({ error: error.code ?? String(error) }))
  return new Promise((resolve) => { const server = app.listen(0, '127.0.0.1', () => resolve(server)) })
}

async function fastifyApp(lk) {
  const app = fastify()
  const auth = session(lk, { cookie: 'sid', secure: false })
  await app.register(auth)
  app.get('/', async (req) => ({ user: req.auth ? String(req.auth.userId) : null }))
  app.get('/me', { preHandler: session.required }, async (req) => req.auth)
  app.post('/login', async (req, reply) => {
    const entry = await auth.login(req, reply, { userId: 42n, role: 'member' })
    if (req.headers['x-fail']) throw failure()
    return entry
  })
  app.post('/logout', async (req, reply) => auth.logout(req, reply))
  await app.listen({ port: 0, host: '127.0.0.1' })
  return app.server
}

// Plain node:http, where everything needs a session.
async function plainApp(lk) {
  const auth = session(lk, { required: true, secure: false })
  const server = http.createServer((req, res) => auth(req, res, (error) => {
    if (error) return res.writeHead(500).end()
    res.setHeader('content-type', 'application/json')
    res.end(JSON.stringify(req.auth))
  }))
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  return server
}

const lists = { express: expressApp, fastify: fastifyApp }
const end = (server) => { server.closeAllConnections(); server.close() }

point(24, 'http: Express, Fastify, node:http', async (t) => {
  // Its token grows old while the rest is tested.
  const renewing = await open(url('renew_ms=10000'), { log: null })
  t.after(() => renewing.close())
  const aging = {}
  for (const name of Object.keys(lists)) aging[name] = `sid=${await renewing.create({ userId: 42n })}`
  for (const [name, start] of Object.entries(lists)) {
    await t.test(name, async (t) => {
      const lk = await impatient(500, 'renew_ms=10000')
      t.after(() => lk.close())
      const cold = await impatient(500)
      t.after(() => cold.close())
      const server = await start(lk), other = await start(cold)
      t.after(() => { end(server); end(other) })
      const { port } = server.address()

      assert.deepEqual(await ask(port, '/'), { status: 200, cookies: [], body: { user: null } })
      assert.equal((await ask(port, '/me')).status, 401)
      assert.equal((await ask(port, '/me', { cookie: `sid=${never}` })).status, 401)
      const login = await ask(port, '/login', { method: 'POST' })
      assert.equal(login.body.userId, '42')
      assert.match(login.cookies[0], /^sid=[A-Za-z0-9_-]{43}; Path=\/; HttpOnly; SameSite=Lax$/)
      const cookie = only(login.cookies)
      const me = await ask(port, '/me', { cookie })
      assert.deepEqual([me.status, me.body.userId, me.body.role, me.cookies], [200, '42', 'member', []])
      // Two cookies of one name, of which one is dead; a quoted one; one on an instance that has to ask Redis.
      assert.equal((await ask(port, '/me', { cookie: `sid=${never}; ${cookie}` })).status, 200)
      assert.equal((await ask(port, '/me', { cookie: `${cookie}; sid=${never}; a=b` })).status, 200)
      assert.equal((await ask(port, '/me', { cookie: cookie.replace('=', '="') + '"' })).status, 200)
      assert.equal((await ask(port, '/me', { cookie: `xsid=1; sid; ${Array(9).fill(cookie).join('; ')}` })).status, 400)
      // Of two that are alive the first counts, although only the second is in the memory of this instance.
      const mine = `sid=${await cold.create({ userId: 43n })}`
      const unseen = `sid=${await lk.create({ userId: 45n })}`
      const elsewhere = `sid=${await lk.create({ userId: 44n })}`
      assert.equal((await ask(other.address().port, '/me', { cookie: `${elsewhere}; ${mine}` })).body.userId, '44')
      // Redis stands still: no answer is 503, and the cookie is left alone. Another user's does not take its place.
      await stopped(async () => {
        assert.equal((await ask(other.address().port, '/me', { cookie: `${unseen}; ${mine}` })).status, 503)
        const away = await ask(other.address().port, '/me', { cookie: `sid=${never}; ${cookie}` })
        assert.deepEqual([away.status, away.cookies], [503, []])
        assert.equal((await ask(other.address().port, '/', { cookie })).status, 503) // also where no session is needed
        const out = await ask(port, '/logout', { cookie, method: 'POST' })
        assert.ok(out.status === 503 && out.cookies.length === 0, `logout: ${JSON.stringify(out)}`)
      })
      await recovered(lk)
      await recovered(cold)

      // A token that is renewed.
      const again = aging[name]
      await until(async () => (await lk.validate(again.slice(4))).renew, 'the token is old')
      const handshake = await ask(port, '/me', { cookie: again, headers: { connection: 'Upgrade', upgrade: 'WebSocket' } })
      assert.deepEqual([handshake.status, handshake.cookies], [200, []]) // a cookie of a WebSocket's handshake reaches nobody
      assert.equal((await ask(other.address().port, '/me', { cookie: `sid=${never}; ${again}` })).status, 200)
      const renewed = await until(async () => {
        const answer = await ask(port, '/me', { cookie: again })
        assert.equal(answer.status, 200)
        return answer.cookies[0]
      }, 'the token is renewed')
      assert.match(renewed, /^sid=[A-Za-z0-9_-]{43}; .*HttpOnly/)
      const fresh = renewed.split(';')[0]
      assert.notEqual(fresh, again)
      for (const each of [again, fresh]) assert.equal((await ask(port, '/me', { cookie: each })).status, 200)
      const out = await ask(port, '/logout', { cookie: fresh, method: 'POST' })
      assert.deepEqual([out.status, out.body], [200, true])
      assert.match(out.cookies[0], /^sid=; .*Max-Age=0$/)
      for (const each of [again, fresh]) assert.equal((await ask(port, '/me', { cookie: each })).status, 401)

      // Of several sessions that the browser sent none goes on after a logout, nor after a login.
      for (const path of ['/logout', '/login']) {
        const both = [`sid=${await lk.create({ userId: 42n })}`, `sid=${await lk.create({ userId: 43n })}`]
        assert.equal((await ask(port, path, { cookie: both.join('; '), method: 'POST' })).status, 200)
        for (const each of both) assert.equal((await ask(port, '/me', { cookie: each })).status, 401)
      }
      // The cookie of a login is sent also where the application answers 503 after it, and where the end of the one before is pending.
      const failed = await ask(port, '/login', { method: 'POST', headers: { 'x-fail': '1' } })
      assert.equal(failed.status, 503)
      const before = only(failed.cookies)
      assert.equal((await ask(port, '/me', { cookie: before })).status, 200)
      const revoke = lk.revoke.bind(lk)
      lk.revoke = (token) => { stop(); return revoke(token) }
      const pending = await ask(port, '/login', { cookie: before, method: 'POST' }).finally(go)
      delete lk.revoke
      assert.equal(pending.status, 200)
      await recovered(lk)
      assert.equal((await ask(port, '/me', { cookie: only(pending.cookies) })).status, 200)
      await until(() => cold.validate(before.slice(4)).then((entry) => !entry, () => false), 'the one before ends')
    })
  }
  await t.test('node:http', async (t) => {
    const lk = await handle(t)
    const server = await plainApp(lk)
    t.after(() => end(server))
    const { port } = server.address()
    assert.equal((await ask(port, '/')).status, 401)
    assert.equal((await ask(port, '/', { cookie: `sid=${await lk.create({ userId: 1n })}` })).body.userId, '1')
  })
  await t.test('a cookie that no browser takes', async (t) => {
    const lk = await handle(t)
    const refused = [
      { cookie: '__Host-sid', domain: 'example.org' }, { cookie: '__Host-sid', secure: false }, { cookie: '__host-sid', path: '/app' },
      { cookie: '__Secure-sid', secure: false }]
    for (const options of refused) assert.throws(() => session(lk, options), { code: 'BAD_ARGUMENT', message: /browsers take it only with secure/ })
    for (const options of [{ cookie: '__Host-sid', path: '/' }, { cookie: '__Secure-sid', path: '/app', domain: 'example.org' }]) session(lk, options)
  })
  await t.test('an application that sets another cookie by itself', async (t) => {
    const lk = await handle(t)
    const auth = session(lk)
    const own = {
      setHeader: (res) => res.setHeader('Set-Cookie', 'own=1'),
      object: (res) => res.writeHead(200, { 'Set-Cookie': ['own=1'] }),
      list: (res) => res.writeHead(200, 'OK', ['X-A', 'set-cookie', 'Set-Cookie', 'own=1']),
      nothing: (res) => res.removeHeader('set-cookie'),
      cached: (res) => { res.setHeader('Cache-Control', 'public, max-age=60'); res.setHeader('Set-Cookie', 'own=1') },
      cachedObject: (res) => res.writeHead(200, { 'Cache-Control': 'public, max-age=60', 'Set-Cookie': 'own=1' }),
      cachedList: (res) => res.writeHead(200, ['Cache-Control', 'public, max-age=60', 'Set-Cookie', 'own=1'])
    }
    const server = http.createServer(async (req, res) => {
      await auth.login(req, res, { userId: 1n })
      own[req.url.slice(1)](res)
      res.end('{}')
    })
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
    t.after(() => end(server))
    for (const how of Object.keys(own)) {
      const { status, headers } = await fetch(`http://127.0.0.1:${server.address().port}/${how}`)
      const cookies = headers.getSetCookie()
      assert.equal(headers.get('cache-control'), 'no-store', how) // a cache would give the token to others
      assert.deepEqual([status, cookies.slice(1)], [200, how === 'nothing' ? [] : ['own=1']], how)
      assert.match(cookies[0], /^sid=[A-Za-z0-9_-]{43};/, how)
    }
  })
  await t.test('Fastify: an application that lets caches keep its answer, or writes to reply.raw', async (t) => {
    const lk = await handle(t)
    const auth = session(lk)
    const app = fastify()
    app.addHook('onRequest', (req, reply) => auth.login(req, reply, { userId: 1n }))
    app.get('/cached', async (req, reply) => reply.headers({ 'Cache-Control': 'public, max-age=60', 'Set-Cookie': 'own=1' }).send({}))
    app.get('/raw', (req, reply) => { reply.raw.writeHead(200, { 'Set-Cookie': 'own=1' }).end('{}') })
    await app.listen({ port: 0, host: '127.0.0.1' })
    t.after(() => end(app.server))
    for (const how of ['cached', 'raw']) {
      const { status, headers } = await fetch(`http://127.0.0.1:${app.server.address().port}/${how}`)
      const cookies = headers.getSetCookie()
      assert.deepEqual([status, headers.get('cache-control'), cookies.slice(1)], [200, 'no-store', ['own=1']], how)
      assert.match(cookies[0], /^sid=[A-Za-z0-9_-]{43};/, how)
    }
  })
})

test('the store of express-session', async (t) => {
  const lk = await handle(t)
  const store = new LatchkeyStore({ lk, user: (req) => req.user })
  const brief = await impatient(300)
  t.after(() => brief.close())
  const app = express()
  let hold = null
  app.use(expressSession({ store, genid: store.genid, secret: 'not so secret', resave: false, saveUninitialized: false, cookie: { maxAge: 600000 } }))
  app.get('/', (req, res) => res.json({ ...req.session, cookie: undefined }))
  app.get('/set/:name/:value', async (req, res) => {
    req.session[req.params.name] = req.params.value
    if (req.params.name === 'slow') await new Promise((resolve) => { hold = resolve })
    res.json({})
  })
  app.get('/login', (req, res) => {
    req.user = 77n
    req.session.regenerate(() => { req.session.user = '77'; res.json({}) })
  })
  app.get('/hasty', (req, res) => {
    req.session.a = '1'
    req.session.save() // and does not wait
    req.session.b = '2'
    res.json({})
  })
  app.get('/logout', (req, res) => req.session.destroy(() => res.json({})))
  app.use((error, req, res, next) => res.status(error.statusCode ?? 500).json({ error: error.code ?? String(error) }))
  const server = await new Promise((resolve) => { const made = app.listen(0, '127.0.0.1', () => resolve(made)) })
  t.after(() => end(server))
  const { port } = server.address()

  assert.deepEqual(await ask(port, '/'), { status: 200, cookies: [], body: {} }) // nothing is saved
  const cookie = only((await ask(port, '/set/a/1')).cookies)
  assert.deepEqual((await ask(port, '/', { cookie })).body, { a: '1' })
  // A request that changes nothing reads the session once, and writes nothing.
  // (After a pause of the machine the link connects anew, and also writes.)
  await until(async () => {
    const { l2Reads, l2Writes } = lk.stats()
    for (let i = 0; i < 10; i++) await ask(port, '/', { cookie })
    return lk.stats().l2Reads - l2Reads === 10 && lk.stats().l2Writes === l2Writes
  }, 'ten requests are ten reads and no write')
  // Two requests that change different members.
  const slow = ask(port, '/set/slow/2', { cookie })
  await until(() => hold, 'the slow one is under way')
  await ask(port, '/set/b/3', { cookie })
  hold()
  await slow
  assert.deepEqual((await ask(port, '/', { cookie })).body, { a: '1', slow: '2', b: '3' })
  // A request that is under way does not bring a session back.
  hold = null
  const late = ask(port, '/set/slow/4', { cookie })
  await until(() => hold, 'the slow one is under way')
  await ask(port, '/logout', { cookie })
  hold()
  assert.equal((await late).status, 200)
  assert.deepEqual((await ask(port, '/', { cookie })).body, {})
  // A cookie that lasts for longer than a session may.
  const far = { req: {}, cookie: { originalMaxAge: 20 * 365 * 86400000 } }
  assert.equal(await new Promise((resolve) => store.set(store.genid(far.req), far, resolve)), null)
  // A new session that is saved while it is being saved.
  const hasty = await ask(port, '/hasty')
  assert.deepEqual([hasty.status, (await ask(port, '/', { cookie: only(hasty.cookies) })).body], [200, { a: '1', b: '2' }])
  // A login, which regenerates the id: the user's sessions are known.
  const login = only((await ask(port, '/login')).cookies)
  assert.deepEqual((await ask(port, '/', { cookie: login })).body, { user: '77' })
  assert.equal(await lk.revokeUser(77n), 1)
  assert.deepEqual((await ask(port, '/', { cookie: login })).body, {})
  const away = only((await ask(port, '/set/a/1')).cookies)
  const short = new LatchkeyStore({ lk: brief })
  await stopped(async () => {
    const error = await new Promise((resolve) => short.get(/s:([^.]{43})\./.exec(decodeURIComponent(away))[1], resolve))
    assert.equal(error.statusCode, 503)
  })
})
