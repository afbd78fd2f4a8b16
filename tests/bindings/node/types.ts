// SPDX-License-Identifier: MIT
// Compiled, not run: the types say what the functions take and give. What must not compile is marked, and tsc checks the marks.
import express from 'express'
import expressSession from 'express-session'
import fastify from 'fastify'
import { open, session, checkConfig, userId, version, Entry, Latchkey, LatchkeyError, Record, type SessionInfo } from 'latchkey'
import { LatchkeyStore } from 'latchkey/express-session'

export async function uses(): Promise<void> {
  const lk: Latchkey = await open('redis://127.0.0.1:6379', { apart: true, log: (level, text) => console.log(level, text) })
  const token: string = await lk.create({ userId: 42n, role: 'member', fields: { 'app.a': 'x', 'app.b': new Uint8Array(3) } })
  await lk.create({ userName: 'c0ffee' })
  const now: Entry | null | undefined = lk.tryValidate(token)
  const entry = await lk.validate(token, { maxAgeMs: 0 })
  if (entry) console.log(entry.userId + 1n, entry.role.length, entry.permissionsHash.toString('hex'), now?.renew)
  const rotated: string | false | null = await lk.rotate(token, { graceMs: 300000 })
  const record: Record | null = await lk.getFields(token, ['app.a'])
  if (record) await lk.changeFields(token, { 'app.a': null }, record)
  const count: Buffer | null = await lk.updateField(token, 'app.n', (old) => Buffer.concat([old ?? Buffer.alloc(0)]))
  const list: SessionInfo[] = await lk.sessions(42n, { current: token })
  const ended: number = await lk.revokeUser(42, { keep: undefined })
  try { checkConfig('redis://h') } catch (error) { if (error instanceof LatchkeyError && error.code === 'CONFIG') throw error }
  console.log(rotated, count, list, ended, userId('x') as bigint, version.length, lk.stats().l1Hits, lk.metrics().length)
  // @ts-expect-error a draft needs a user
  await lk.create({ role: 'member' })
  // @ts-expect-error a token is text
  await lk.validate(42)
  // @ts-expect-error it may be null
  console.log((await lk.validate(token)).userId)
  // @ts-expect-error handles are made by open
  console.log(new Latchkey())

  const app = express()
  const auth = session(lk, { cookie: 'sid', sameSite: 'Strict' })
  app.use(auth)
  app.get('/me', session.required, (req, res) => { res.json({ user: String(req.auth?.userId) }) })
  app.post('/login', async (req, res) => { res.json(await auth.login(req, res, { userId: 42n })) })
  const store = new LatchkeyStore({ lk, user: (req) => req.user })
  app.use(expressSession({ store, genid: store.genid, secret: 'secret', resave: false, saveUninitialized: false }))
  await fastify().register(auth)
  await lk.close()
}
