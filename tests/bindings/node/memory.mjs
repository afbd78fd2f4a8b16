// SPDX-License-Identifier: MIT
// Handles, entries and answers that are made and dropped. Run with --expose-gc; also with the addon under AddressSanitizer, where
// ROUNDS is small. Prints what it found, and the point of the list where that is what should be found.
import assert from 'node:assert/strict'
import { appendFileSync } from 'node:fs'
import { Worker, isMainThread, workerData } from 'node:worker_threads'
import { setImmediate as turn, setTimeout as delay } from 'node:timers/promises'
import { open } from 'latchkey'
import { descriptors, threads, until, url } from './support.mjs'

const rounds = Number(process.env.ROUNDS ?? 100)
const configuration = url('l1_capacity=1000')

if (!isMainThread) {
  // A worker: it has its own queue at the handle of the process, and may end in the middle of anything.
  const lk = await open(configuration, { log: null })
  assert.equal((await lk.validate(workerData.token)).userId, 23n)
  if (workerData.way === 'hang') {
    for (let i = 0; i < 100; i++) void lk.validate(workerData.token, { maxAgeMs: 0 })
    void lk.sessions(23n)
    process.exit(0)
  }
  if (workerData.way === 'close') await lk.close()
} else {
  const collect = async () => { for (let i = 0; i < 3; i++) { globalThis.gc(); await turn() } }
  const kept = await open(configuration, { log: null })
  const token = await kept.create({ userId: 23n, fields: { 'app.x': 'y'.repeat(1000) } })

  async function round(i) {
    const lk = await open(configuration, { apart: true, log: null })
    for (let j = 0; j < 200; j++) await lk.validate(token)
    await lk.load(token)
    await lk.getFields(token, ['app.x'])
    for (let j = 0; j < 20; j++) void lk.validate(token, { maxAgeMs: 0 }).catch(() => {}) // dropped before they are read
    void lk.sessions(23n).catch(() => {})
    void lk.load(token).catch(() => {})
    if (i % 3 === 0) await lk.close()
    else if (i % 3 === 1) void lk.close() // not waited for
    // else the collector finds it
    const same = await open(configuration, { log: null }) // the handle that is kept
    assert.ok(same.tryValidate(token))
  }
  async function settle() {
    await delay(20)
    await collect()
  }

  for (let i = 0; i < Math.min(rounds, 12); i++) await round(i)
  await until(async () => { await settle(); return threads() <= 20 }, 'handles that are not used any more are collected')
  const before = { descriptors: descriptors(), threads: threads(), memory: process.memoryUsage.rss() }
  for (let i = 0; i < rounds; i++) {
    await round(i)
    if (i % 10 === 9) await settle()
  }
  await until(async () => {
    await settle()
    return descriptors() <= before.descriptors && threads() <= before.threads
  }, `descriptors and threads are as before (${before.descriptors}, ${before.threads})`)
  const grown = (process.memoryUsage.rss() - before.memory) / 1048576
  if (rounds >= 100) assert.ok(grown < 20, `memory has grown by ${grown.toFixed(1)} MiB in ${rounds} rounds`)

  for (const way of ['close', 'leave', 'hang', 'close', 'hang']) {
    const worker = new Worker(new URL(import.meta.url), { workerData: { token, way } })
    await new Promise((resolve, reject) => worker.on('exit', resolve).on('error', reject))
  }
  const terminated = new Worker(new URL(import.meta.url), { workerData: { token, way: 'close' } })
  await terminated.terminate()
  assert.ok(kept.tryValidate(token))
  assert.equal(kept.tryValidate(await kept.create({ userId: 24n })).userId, 24n)
  console.log(`memory: ${rounds} handles, ${grown.toFixed(1)} MiB more, ${descriptors()} descriptors, ${threads()} threads`)
  if (process.env.LATCHKEY_POINT) appendFileSync(process.env.LATCHKEY_POINTS, `ok ${process.env.LATCHKEY_POINT}\n`)
  // kept is not closed: the process ends all the same.
}
