// SPDX-License-Identifier: MIT
// The list of tests/bindings/README.md. What needs processes of its own is in memory.mjs, http.mjs and package.sh.
import assert from 'node:assert/strict'
import { inspect } from 'node:util'
import { setTimeout as delay } from 'node:timers/promises'
import { open, checkConfig, userId, LatchkeyError, Record } from 'latchkey'
import { code, handle, impatient, point, recovered, redis, socket, stopped, threads, until, url } from './support.mjs'

const never = 'A'.repeat(43)
const bytes = (count, first = 0) => Uint8Array.from({ length: count }, (_, i) => (first + i) % 256)
const damaged = (token) => token.slice(0, 30) + (token[30] === 'A' ? 'B' : 'A') + token.slice(31)

const renewing = await open(url('renew_ms=10000'), { log: null })
const aging = await renewing.create({ userId: 13n }) // it grows old while the points before it are tested
assert.equal((await renewing.validate(aging)).renew, false)

point(1, 'create', async (t) => {
  const lk = await handle(t)
  const draft = {
    userId: (1n << 64n) - 3n, role: 'sixteen bytes ok', permissionsHash: bytes(32, 200), device: 0xfffffffe, flags: 0x8001
  }
  const before = Date.now()
  const token = await lk.create(draft)
  assert.match(token, /^[A-Za-z0-9_-]{43}$/)
  const entry = await lk.validate(token)
  for (const member of ['userId', 'role', 'device', 'flags']) assert.equal(entry[member], draft[member], member)
  assert.deepEqual(entry.permissionsHash, Buffer.from(draft.permissionsHash))
  assert.deepEqual(entry.pqKeyHash, Buffer.alloc(32))
  assert.ok(Math.abs(entry.createdAt - before) < 60000 && entry.authAt === entry.createdAt)
  assert.equal(entry.expiresAt - entry.createdAt, 43200000)
  const named = await lk.validate(await lk.create({ userName: 'c0ffee00-0000-4000-8000-000000000001' }))
  assert.equal(named.userId, userId('c0ffee00-0000-4000-8000-000000000001'))
  const early = lk.newToken(7n)
  assert.equal(await lk.validate(early), null)
  assert.equal(await lk.create({ userId: 7, token: early }), early)
  assert.equal((await lk.validate(early)).userId, 7n)
  await assert.rejects(lk.create({ userId: 7, token: early }), code('REFUSED'))
})

point(2, 'hit', async (t) => {
  const lk = await handle(t)
  const token = await lk.create({ userId: 2n })
  const before = lk.stats()
  for (let i = 0; i < 100; i++) assert.equal((i % 2 ? lk.tryValidate(token) : await lk.validate(token)).userId, 2n)
  const after = lk.stats()
  assert.equal(after.l1Hits - before.l1Hits, 100)
  assert.equal(after.l2Reads, before.l2Reads)
})

point(3, 'miss', async (t) => {
  const [lk, there] = [await handle(t), await handle(t)]
  const token = await lk.create({ userId: 3n, role: 'member' })
  assert.equal(there.tryValidate(token), undefined)
  assert.deepEqual((await there.validate(token)).toJSON(), (await lk.validate(token)).toJSON())
  const { l1Hits } = there.stats()
  assert.equal(there.tryValidate(token).role, 'member')
  assert.equal(there.stats().l1Hits, l1Hits + 1)
  // As fresh as is asked for: Redis answers although memory could.
  const { l2Reads } = there.stats()
  assert.equal((await there.validate(token, { maxAgeMs: 0 })).userId, 3n)
  assert.equal(there.stats().l2Reads, l2Reads + 1)
})

point(4, 'no', async (t) => {
  const lk = await handle(t)
  const token = await lk.create({ userId: 4n })
  const nothing = [
    never, damaged(token), '', token.slice(0, 42), token + 'A', token.slice(0, 20) + '\0' + token.slice(21), 'ä'.repeat(43),
    '\u{1f511}'.repeat(11), String.fromCharCode(token.charCodeAt(0) + 256) + token.slice(1), '\ud800'.repeat(43), 'x'.repeat(100000),
    null, undefined
  ]
  for (const wrong of nothing) {
    assert.equal(await lk.validate(wrong), null)
    assert.equal(await lk.validate(wrong, { maxAgeMs: 0 }), null)
    assert.equal(await until(() => lk.tryValidate(wrong) ?? true, 'memory knows it'), true)
    assert.equal(await lk.touch(wrong), false)
    assert.equal(await lk.load(wrong), null)
    assert.equal(await lk.revoke(wrong), false)
  }
  assert.equal((await lk.validate(token)).userId, 4n)
})

point(5, 'revoke here', async (t) => {
  const lk = await handle(t)
  const token = await lk.create({ userId: 5n })
  const ending = lk.revoke(token)
  assert.equal(lk.tryValidate(token) ?? null, null) // denied from here on
  assert.equal(await ending, true)
  assert.equal(lk.tryValidate(token), null)
  assert.equal(await lk.validate(token), null)
  assert.equal(await lk.revoke(token), false)
})

point(6, 'revoke there', async (t) => {
  const [lk, there] = [await handle(t), await handle(t)]
  const token = await lk.create({ userId: 6n })
  assert.equal((await there.validate(token)).userId, 6n)
  assert.ok(there.tryValidate(token))
  const asked = there.stats().l2Reads
  await lk.revoke(token)
  await until(() => there.tryValidate(token) === null || there.tryValidate(token) === undefined, 'the session ended there')
  assert.equal(await there.validate(token), null)
  assert.ok(there.stats().l2Reads >= asked)
})

point(7, 'refused', async (t) => {
  const lk = await handle(t)
  redis('config', 'set', 'maxmemory', '1')
  try {
    await assert.rejects(lk.create({ userId: 7n }), (error) => error instanceof LatchkeyError && error.code === 'UNAVAILABLE' &&
      error.statusCode === 503)
  } finally { redis('config', 'set', 'maxmemory', '0') }
  await assert.rejects(open('unix:///nothing/is/here.sock', { log: null }), code('UNAVAILABLE'))
  const lazy = await open('unix:///nothing/is/here.sock?lazy=1', { log: null })
  await assert.rejects(lazy.validate(lazy.newToken(7n)), code('UNAVAILABLE'))
  await lazy.close()
})

point(8, 'late', async (t) => {
  const lk = await handle(t)
  const tokens = await Promise.all(Array.from({ length: 20 }, (_, i) => lk.create({ userId: BigInt(800 + i) })))
  const short = await impatient(300)
  t.after(() => short.close())
  await stopped(async () => {
    const answers = await Promise.allSettled(tokens.map((token) => short.validate(token)))
    for (const answer of answers) assert.equal(answer.reason?.code, 'UNAVAILABLE')
    await assert.rejects(short.load(tokens[0]), code('UNAVAILABLE'))
  })
  await recovered(short)
  const entries = await until(async () => {
    const all = await Promise.allSettled(tokens.map((token) => short.validate(token)))
    return all.every((each) => each.status === 'fulfilled') && all
  }, 'all are answered')
  entries.forEach((entry, i) => assert.equal(entry.value.userId, BigInt(800 + i)))
})

point(9, 'pending', async (t) => {
  const [lk, there] = [
    await impatient(300), await handle(t)]
  t.after(() => lk.close())
  const token = await lk.create({ userId: 9n })
  assert.ok(await there.validate(token))
  await stopped(async () => {
    await assert.rejects(lk.revoke(token), (error) => error.code === 'PENDING' && error.statusCode === 503)
    assert.ok(!lk.tryValidate(token))
    assert.equal(await lk.validate(token), null)
  })
  await until(async () => await there.validate(token).catch(() => true) === null, 'the session ended there')
  assert.equal(await lk.validate(token), null)
})

point(11, 'close', async (t) => {
  const lk = await open(url(), { apart: true, log: null })
  const there = await open(url(), { apart: true, log: null })
  const tokens = await Promise.all(Array.from({ length: 50 }, (_, i) => lk.create({ userId: BigInt(1100 + i) })))
  const waiting = await stopped(async () => {
    const promises = [...tokens.map((token) => there.validate(token)), there.sessions(1n)]
    const settled = Promise.allSettled(promises)
    await delay(50)
    void there.close()
    return Promise.race([settled, delay(20000)]) // while Redis still stands still
  })
  assert.equal(waiting.length, 51)
  for (const each of waiting) assert.equal(each.reason?.code, 'CLOSED')
  await there.close()
  await there.close()
  await assert.rejects(there.validate(tokens[0]), code('CLOSED'))
  await assert.rejects(there.create({ userId: 1n }), code('CLOSED'))
  await assert.rejects(there.sessions(1n), code('CLOSED'))
  for (const call of [() => there.tryValidate(tokens[0]), () => there.stats(), () => there.metrics(), () => there.newToken(1n)])
    assert.throws(call, code('CLOSED'))
  assert.ok(await lk.validate(tokens[0]))
  await lk.close()
})

point(12, 'rotation', async (t) => {
  const lk = await handle(t)
  const first = await lk.create({ userId: 12n })
  const second = await lk.rotate(first)
  assert.equal(await lk.validate(first), null)
  const third = await lk.rotate(second, { graceMs: 60000 })
  for (const token of [second, third]) assert.equal((await lk.validate(token)).userId, 12n)
  assert.equal(await lk.rotate(second, { graceMs: 60000 }), false) // done already
  assert.equal(await lk.rotate(never), null)
})

point(14, 'fields', async (t) => {
  const lk = await handle(t)
  const all = bytes(256)
  const token = await lk.create({ userId: 14n, fields: { 'app.text': 'grüße', 'app.bytes': all } })
  const large = Buffer.alloc(65536, 7)
  assert.equal(await lk.setFields(token, { 'app.large': large, 'app.more': 'x' }), true)
  const some = await lk.getFields(token, ['app.text', 'app.large', 'app.none'])
  assert.equal(some.text('app.text'), 'grüße')
  assert.deepEqual(some.get('app.large'), large)
  assert.equal(some.get('app.none'), undefined)
  assert.equal(some.get('app.more'), undefined) // not asked for
  await lk.setFields(token, { 'app.more': null })
  const record = await lk.load(token)
  assert.ok(record instanceof Record && record.entry.userId === 14n)
  assert.deepEqual(record.names.sort(), ['app.bytes', 'app.large', 'app.text'])
  assert.deepEqual(record.get('app.bytes'), Buffer.from(all))
  assert.equal(await lk.setFields(never, { 'app.more': 'x' }), false)
  // Sections: large, and moved only when they are asked for.
  assert.equal(await lk.putSection(token, 'photo', Buffer.alloc(300000, 1)), true)
  assert.equal((await lk.getSection(token, 'photo')).length, 300000)
  assert.equal(await lk.getSection(token, 'other'), undefined)
  assert.equal(await lk.getSection(never, 'photo'), null)
})

point(15, 'compare-and-set', async (t) => {
  const lk = await handle(t)
  const token = await lk.create({ userId: 15n, fields: { count: '0' } })
  const [a, b] = [await lk.getFields(token, ['count']), await lk.getFields(token, ['count'])]
  assert.equal(await lk.changeFields(token, { count: '1' }, a), true)
  assert.equal(await lk.changeFields(token, { count: '9' }, b), false)
  assert.equal(await lk.changeFields(token, { count: '2' }, await lk.getFields(token, ['count'])), true)
  await Promise.all(Array.from({ length: 10 }, () => lk.updateField(token, 'count', (old) => String(Number(old) + 1))))
  assert.equal((await lk.load(token)).text('count'), '12')
  assert.equal(await lk.changeFields(never, { count: '1' }, a), null)
})

point(16, "a user's sessions", async (t) => {
  const lk = await handle(t)
  const user = (1n << 63n) + 16n
  const tokens = await Promise.all(Array.from({ length: 5 }, (_, device) => lk.create({ userId: user, device })))
  const list = await lk.sessions(user, { current: tokens[2] })
  assert.deepEqual(list.map((each) => each.selector).sort(), tokens.map((token) => token.slice(0, 20)).sort())
  assert.deepEqual(list.filter((each) => each.current).map((each) => each.device), [2])
  assert.equal(await lk.revokeSelector(user, tokens[0].slice(0, 20)), true)
  assert.equal(await lk.revokeSelector(user, tokens[0].slice(0, 20)), false)
  assert.equal(await lk.revokeUser(user, { keep: tokens[2] }), 3)
  assert.ok(await lk.validate(tokens[2]))
  assert.equal(await lk.validate(tokens[1]), null)
  assert.equal(await lk.revokeUser(user), 1)
  assert.deepEqual(await lk.sessions(user), [])
  const generation = await lk.userGeneration(user)
  await lk.revokeUser(user)
  await assert.rejects(lk.create({ userId: user, generation }), code('REFUSED'))
})

point(17, 'touch and access', async (t) => {
  const [lk, there] = [await handle(t), await handle(t)]
  const token = await lk.create({ userId: 17n, role: 'member', flags: 1 })
  assert.ok(await there.validate(token))
  assert.equal(await lk.touch(token), true)
  assert.equal(await lk.touch(never), false)
  const permissionsHash = bytes(32, 3)
  assert.equal(await lk.setAccess(token, { role: 'admin', permissionsHash, flags: 2, flagsMask: 3, authenticated: true }), true)
  const entry = await lk.validate(token)
  assert.deepEqual([entry.role, entry.flags, entry.permissionsHash], ['admin', 2, Buffer.from(permissionsHash)])
  await until(async () => (await there.validate(token)).role === 'admin', 'it shows there')
  assert.equal(await lk.setUserAccess(17n, { role: 'guest' }), 1)
  assert.equal((await lk.validate(token)).role, 'guest')
})

point(18, 'limit', async (t) => {
  const lk = await handle(t, 'max_sessions=1&limit=deny')
  await lk.create({ userId: 18n })
  await assert.rejects(lk.create({ userId: 18n }), (error) => error.code === 'LIMIT' && error.statusCode !== 503)
})

point(19, 'secrets', async (t) => {
  const lines = []
  redis('acl', 'setuser', 'hidden', 'on', '>pass-is-here', '~*', '&*', '+@all')
  t.after(() => redis('acl', 'deluser', 'hidden'))
  const lk = await open(`unix://hidden:pass-is-here@${socket}?deadline_ms=10000&events=1`, { apart: true, log: (...line) => lines.push(line) })
  t.after(() => lk.close())
  const token = await lk.create({ userId: 19n, fields: { 'app.a': 'value' } })
  const texts = [lk, await lk.validate(token), await lk.load(token), lk.metrics(), lk.stats()].map((each) => inspect(each, {
    depth: 9, showHidden: true }))
  texts.push(JSON.stringify(await lk.validate(token)), String(await lk.load(token)), String(lk))
  const errors = [
    () => lk.validate(token, { maxAgeMs: -1 }), () => lk.rotate(token, { graceMs: 1e12 }), () => lk.setFields(token, { 'x y': '1' }),
    () => lk.create({ userId: 1n, token: token + token }), () => open(`unix://hidden:pass-is-here@${socket}?nonsense=1`),
    () => open('unix://hidden:pass-is-wrong@' + socket, { log: null }), () => lk.validate([token]), () => lk.getFields(token, [token + token])]
  for (const call of errors) {
    const error = await Promise.resolve().then(call).then(() => assert.fail('it did not fail'), (reason) => reason)
    texts.push(inspect(error, { depth: 9, showHidden: true }), String(error.stack))
  }
  await lk.revoke(token)
  await until(() => lines.some(([, text]) => text.startsWith('event: revoked')), 'the log has its lines')
  texts.push(inspect(lines))
  for (const text of texts) {
    assert.ok(!text.includes(token) && !text.includes(token.slice(20)), `a token is in: ${text}`)
    assert.ok(!text.includes('pass-is'), `a password is in: ${text}`)
  }
})

point(20, 'log', async (t) => {
  redis('config', 'set', 'maxmemory-policy', 'allkeys-lru', 'maxmemory', '1gb')
  t.after(() => redis('config', 'set', 'maxmemory-policy', 'noeviction', 'maxmemory', '0'))
  const lines = []
  const lk = await handle(t, '', { log: (level, text) => lines.push(`${level} ${text}`) })
  await until(() => lines.some((line) => /^(error|warning) setting maxmemory-policy: /.test(line)), 'the line came')
  // One that comes while the event loop runs.
  await stopped(() => until(() => lines.some((line) => / link: /.test(line)), 'the link says that Redis is away'))
  await recovered(lk)
  // Without a listener it is a process warning.
  const warned = new Promise((resolve) => process.once('warning', resolve))
  const other = await open(url(), { apart: true })
  assert.match(String(await warned), /LatchkeyWarning: setting /)
  await other.close()
})

point(21, 'configuration', async (t) => {
  const lk = await handle(t)
  await assert.rejects(open(url('no_such_option=1')), (error) => error.code === 'CONFIG' && error.message.includes('no_such_option'))
  assert.throws(() => checkConfig('redis://h?staleness_ms=1'), (error) => error.code === 'CONFIG' && /staleness_ms/.test(error.message))
  checkConfig('redis://h')
  for (const config of [url('\0no_such_option=1'), `${url()}\0`, 5]) {
    await assert.rejects(open(config), { code: 'BAD_ARGUMENT' })
    assert.throws(() => checkConfig(config), { code: 'BAD_ARGUMENT' })
  }
  const mine = await lk.create({ userId: 1n })
  const { l2Writes } = lk.stats()
  const wrong = [
    { userId: 1n << 64n }, { userId: -1n }, { userId: -1 }, { userId: 2 ** 53 }, { userId: 1.5 }, { userId: '1' }, {}, null, { userName: '' },
    { userId: 1n, role: 'seventeen bytes !' }, { userId: 1n, role: 5 }, { userId: 1n, permissionsHash: bytes(31) },
    { userId: 1n, flags: 65536 }, { userId: 1n, device: 2 ** 32 }, { userId: 1n, idleMs: NaN }, { userId: 1n, fields: { x: '1' } },
    { userId: 1n, fields: { xx: 1 } }, { userId: 1n, rol: 'member' }, { userId: 1n, user: 'a' }]
  for (const draft of wrong)
    await assert.rejects(lk.create(draft), (error) => error.code === 'BAD_ARGUMENT' && (error instanceof TypeError || error instanceof RangeError))
  for (const access of [{ rol: 'admin' }, ['admin'], 'admin', null])
    await assert.rejects(lk.setAccess(mine, access), { code: 'BAD_ARGUMENT', name: 'TypeError' })
  for (const token of [42, {}, ['a']]) {
    await assert.rejects(lk.validate(token), { code: 'BAD_ARGUMENT', name: 'TypeError' })
    await assert.rejects(lk.revoke(token), { code: 'BAD_ARGUMENT' })
    assert.throws(() => lk.tryValidate(token), { code: 'BAD_ARGUMENT' })
  }
  assert.equal(lk.stats().l2Writes, l2Writes)
})

point(22, 'a thousand misses', async (t) => {
  const [lk, there] = [await handle(t), await handle(t)]
  const tokens = []
  for (let i = 0; i < 1000; i += 100)
    tokens.push(...await Promise.all(Array.from({ length: 100 }, (_, j) => lk.create({ userId: BigInt(2200000 + i + j) }))))
  const before = threads()
  const answers = tokens.map((token) => there.validate(token))
  assert.equal(threads(), before)
  const entries = await Promise.all(answers)
  entries.forEach((entry, i) => assert.equal(entry.userId, BigInt(2200000 + i)))
  assert.equal(threads(), before)
  assert.equal(there.stats().l2Reads, 1000)
})

point(13, 'renewal', async () => {
  await until(async () => (await renewing.validate(aging)).renew, 'the token is old')
  const fresh = await renewing.rotate(aging, { graceMs: 60000 })
  assert.equal((await renewing.validate(fresh)).renew, false)
  await renewing.close()
})
