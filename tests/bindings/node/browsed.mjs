// SPDX-License-Identifier: MIT
// The applications that tests/http/browsers.py visits: `node browsed.mjs express|fastify|node|store`.
import http from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import express from 'express'
import expressSession from 'express-session'
import fastify from 'fastify'
import { session, open } from 'latchkey'
import { LatchkeyStore } from 'latchkey/express-session'

const statuses = { 200: 200, 204: 204, 304: 304, 302: 302, 404: 404, 503: 503 }
const methods = ['GET', 'HEAD', 'POST', 'OPTIONS']
const kind = process.argv[2], name = kind === 'store' ? 'connect.sid' : 'sid'
const port = Number(process.env.PORT)

let lk = null
for (let i = 0; lk === null; i++) lk = await open(process.env.LATCHKEY_URL).catch((error) => { if (i > 60) throw error; return delay(50, null) })

class Handled extends Error {}
const userOf = (req) => new URL(req.url, 'http://h').searchParams.get('user')
const words = (req) => (req.headers['x-do'] ?? '').split(',')

/** What the words of X-Do ask for, on a response of node:http. */
async function page(req, res, user) {
  const does = words(req), says = (word) => does.includes(word)
  if (says('slow')) await delay(50)
  if (says('raise')) throw new Error('a fault of the application')
  if (says('handled')) throw new Handled()
  const headers = { 'X-App': '1', 'X-User': user, 'Content-Type': 'text/plain' }, cookies = []
  if (says('302')) headers.Location = '/page'
  if (says('public')) headers['Cache-Control'] = 'public, max-age=60'
  if (says('cookie')) cookies.push('lang=en; Path=/')
  if (says('own')) {
    cookies.push(`${name}=${req.headers['x-value']}; Path=/; HttpOnly; SameSite=Lax`)
    headers['Cache-Control'] = 'no-store'
  }
  if (says('drop')) cookies.push(`${name}=; Path=/; Max-Age=0`)
  if (cookies.length) headers['Set-Cookie'] = cookies
  const status = statuses[does.find((word) => word in statuses)] ?? 200
  if (says('wrapped')) res.writeHead(status, headers)
  else {
    res.statusCode = status
    for (const each in headers) res.setHeader(each, headers[each])
  }
  if (status === 204 || status === 304 || req.method === 'HEAD') return res.end()
  if (!says('stream') && !says('cut')) return res.end(user)
  for (let i = 0; i < 3; i++) {
    res.write(user)
    await delay(10)
    if (says('cut')) return res.destroy()
  }
  res.end()
}

const known = (res, user) => { res.setHeader('X-App', '1'); if (user) res.setHeader('X-User', user) }

async function end(req) {
  const user = userOf(req)
  if (user) await lk.revokeUser(BigInt(user))
  else await lk.revokeEveryone()
}

/** What answers where something was thrown. */
function failed(error, req, res) {
  if (error instanceof Handled) known(res, String(req.auth?.userId ?? req.session?.user))
  res.statusCode = error instanceof Handled ? 418 : error.statusCode ?? 500
  if (res.statusCode === 503) res.setHeader('Cache-Control', 'no-store')
  if (res.headersSent) res.destroy()
  else res.end()
}

const wrap = (route) => (req, res, next) => Promise.resolve(route(req, res)).catch(next)
const auth = session(lk, { secure: false })

const kinds = {
  express() {
    const app = express()
    app.use(auth)
    app.all('/page', session.required, wrap((req, res) => page(req, res, String(req.auth.userId))))
    app.post('/login', wrap(async (req, res) => { await auth.login(req, res, { userId: BigInt(userOf(req)), role: 'member' }); known(res); res.end() }))
    app.post('/logout', wrap(async (req, res) => { await auth.logout(req, res); known(res); res.end() }))
    app.post('/end', wrap(async (req, res) => { await end(req); known(res); res.end() }))
    app.get('/ready', (req, res) => res.end())
    app.use((error, req, res, next) => failed(error, req, res))
    app.listen(port, '127.0.0.1')
  },
  async fastify() {
    const app = fastify()
    await app.register(auth)
    app.addContentTypeParser('*', (req, payload, done) => { payload.resume(); payload.on('end', () => done(null)) })
    app.route({ method: methods, url: '/page', preHandler: session.required, handler: async (req, reply) => {
      const does = words(req), user = String(req.auth.userId)
      if (does.includes('wrapped') || does.includes('cut') || does.includes('stream')) {
        await page(req.raw, reply.raw, user) // a route that writes by itself
        reply.hijack()
        return
      }
      const said = { headers: {}, statusCode: 200, setHeader(each, value) { this.headers[each] = value }, end() {} }
      await page(req.raw, said, user)
      return reply.code(said.statusCode).headers(said.headers).send(said.statusCode === 204 || said.statusCode === 304 ? undefined : user)
    } })
    app.post('/login', async (req, reply) => { await auth.login(req, reply, { userId: BigInt(userOf(req.raw)), role: 'member' }); return reply.header('X-App', '1').send() })
    app.post('/logout', async (req, reply) => { await auth.logout(req, reply); return reply.header('X-App', '1').send() })
    app.post('/end', async (req, reply) => { await end(req.raw); return reply.header('X-App', '1').send() })
    app.get('/ready', async () => '')
    app.setErrorHandler((error, req, reply) => {
      if (error instanceof Handled) reply.headers({ 'X-App': '1', 'X-User': String(req.auth?.userId) }).code(418)
      else reply.code(error.statusCode ?? 500)
      if (error.statusCode === 503) reply.header('Cache-Control', 'no-store')
      return reply.send()
    })
    await app.listen({ port, host: '127.0.0.1' })
  },
  node() {
    http.createServer((req, res) => {
      if (req.url === '/ready') return res.end()
      auth(req, res, (error) => {
        const route = async () => {
          if (error) throw error
          if (req.url.startsWith('/page')) return req.auth ? page(req, res, String(req.auth.userId)) : session.required(req, res)
          if (req.url.startsWith('/login')) await auth.login(req, res, { userId: BigInt(userOf(req)), role: 'member' })
          else if (req.url.startsWith('/logout')) await auth.logout(req, res)
          else await end(req)
          known(res)
          res.end()
        }
        route().catch((fault) => failed(fault, req, res))
      })
    }).listen(port, '127.0.0.1')
  },
  store() {
    const app = express()
    const store = new LatchkeyStore({ lk, user: (req) => req.user })
    app.get('/ready', (req, res) => res.end())
    app.use(expressSession({ store, genid: store.genid, secret: 'not so secret', resave: false, saveUninitialized: false, cookie: { sameSite: 'lax' } }))
    app.all('/page', (req, res, next) => {
      if (!req.session.user) return res.status(401).set('Cache-Control', 'no-store').end()
      if (words(req).includes('slow')) req.session.count = (req.session.count ?? 0) + 1
      page(req, res, req.session.user).catch(next)
    })
    app.post('/login', (req, res, next) => {
      req.user = BigInt(userOf(req))
      req.session.regenerate((error) => {
        if (error) return next(error)
        req.session.user = String(req.user)
        req.session.save((fault) => {
          if (fault) return next(fault)
          known(res)
          res.set('Cache-Control', 'no-store').end()
        })
      })
    })
    app.post('/logout', (req, res, next) => req.session.destroy((error) => {
      if (error) return next(error)
      known(res)
      res.clearCookie(name).end()
    }))
    app.post('/end', wrap(async (req, res) => { await end(req); known(res); res.end() }))
    app.use((error, req, res, next) => failed(error, req, res))
    app.listen(port, '127.0.0.1')
  }
}
await kinds[kind]()
