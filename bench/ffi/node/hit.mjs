// SPDX-License-Identifier: MIT
// What a hit costs in Node, and what a request costs in Express: without sessions, with latchkey, with express-session on Redis.
// A request is put into the application without a network.
import { readFileSync } from 'node:fs'
import RedisStore from 'connect-redis'
import express from 'express'
import expressSession from 'express-session'
import inject from 'light-my-request'
import { createClient } from 'redis'
import { open, session } from 'latchkey'
import { LatchkeyStore } from 'latchkey/express-session'

const socket = process.env.LATCHKEY_REDIS_SOCKET
const calls = Number(process.env.LATCHKEY_CALLS)
const requests = Number(process.env.LATCHKEY_REQUESTS)
const node = `Node ${process.versions.node}`
const version = (name) => JSON.parse(readFileSync(`node_modules/${name}/package.json`)).version
const cell = (value) => (value === undefined ? '-' : value.toFixed(1))
const row = (what, { hit, request, commands, versions = node }) =>
  console.log(['row', what, cell(hit), cell(request), cell(commands), versions].join('\t'))
const median = (values) => values.sort((a, b) => a - b)[values.length >> 1]

const lk = await open(`unix://${socket}?deadline_ms=10000`, { log: null })
const token = await lk.create({ userId: 42n, role: 'member' })
const client = await createClient({ socket: { path: socket } }).connect()

async function nanoseconds(body, count = calls) {
  const rounds = []
  await body(count) // V8 compiles it
  for (let i = 0; i < 5; i++) {
    const began = process.hrtime.bigint()
    await body(count)
    rounds.push(Number(process.hrtime.bigint() - began) / count)
  }
  return median(rounds)
}

let device = 0
row('lk.tryValidate(token)', { hit: await nanoseconds((n) => { for (let i = 0; i < n; i++) device += lk.tryValidate(token).device }) })
row('lk.tryValidate(token), and four members', {
  hit: await nanoseconds((n) => {
    for (let i = 0; i < n; i++) {
      const entry = lk.tryValidate(token)
      device += Number(entry.userId) + entry.role.length + entry.device + entry.expiresAt
    }
  })
})
row('await lk.validate(token)', { hit: await nanoseconds(async (n) => { for (let i = 0; i < n; i++) device += (await lk.validate(token)).device }) })
await client.set('a session', 'x'.repeat(120))
row('node-redis: GET of 120 bytes', {
  hit: await nanoseconds(async (n) => { for (let i = 0; i < n; i++) await client.get('a session') }, Math.max(calls / 500, 100)),
  commands: 1, versions: `${node}, redis ${version('redis')}`
})

const options = { secret: 'not so secret', resave: false, saveUninitialized: false }
const store = new LatchkeyStore({ lk })
const kinds = {
  none: { what: 'Express, no session' },
  latchkey: { what: 'Express, latchkey', use: session(lk, { cookie: 'sid', secure: false }) },
  store: {
    what: 'Express, express-session on latchkey', use: expressSession({ store, genid: store.genid, ...options }),
    more: `, express-session ${version('express-session')}`
  },
  redis: {
    what: 'Express, express-session on connect-redis', use: expressSession({ store: new RedisStore({ client }), ...options }),
    more: `, express-session ${version('express-session')}, connect-redis ${version('connect-redis')}`
  }
}
for (const [name, kind] of Object.entries(kinds)) {
  const app = express()
  if (kind.use) app.use(kind.use)
  app.get('/login', async (req, res) => {
    if (name === 'latchkey') await kind.use.login(req, res, { userId: 42n, role: 'member' })
    else if (req.session) req.session.user = '42'
    res.send('welcome')
  })
  app.get('/', (req, res) => res.send(name === 'latchkey' ? String(req.auth.userId) : req.session ? req.session.user : '42'))
  const login = await inject(app, { url: '/login' })
  const cookie = [].concat(login.headers['set-cookie'] ?? []).map((value) => value.split(';')[0]).join('; ')
  kind.once = async () => {
    const answer = await inject(app, { url: '/', headers: { cookie } })
    if (answer.body !== '42') throw new Error(`${name}: ${answer.statusCode} ${answer.body}`)
  }
  Object.assign(kind, { times: [], commands: 0 })
}
const commands = async () => Number(/total_commands_processed:(\d+)/.exec(await client.info('stats'))[1])
for (const { once } of Object.values(kinds)) for (let i = 0; i < requests; i++) await once()
// Round by round, one beside the other, so that the machine's moods fall on all of them.
for (let round = 0; round < 7; round++)
  for (const kind of Object.values(kinds)) {
    const before = await commands()
    const began = process.hrtime.bigint()
    for (let i = 0; i < requests; i++) await kind.once()
    kind.times.push(Number(process.hrtime.bigint() - began) / requests / 1000)
    kind.commands += await commands() - before - 1
  }
for (const { what, times, commands, more = '' } of Object.values(kinds))
  row(what, { request: median(times), commands: commands / 7 / requests, versions: `${node}, Express ${version('express')}${more}` })
await client.quit()
await lk.close()
