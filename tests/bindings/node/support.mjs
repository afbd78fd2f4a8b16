// SPDX-License-Identifier: MIT
// For the tests of the binding for Node: the private Redis that run.sh was given, and points of the list.
import { appendFileSync, readdirSync, readFileSync } from 'node:fs'
import { execFileSync } from 'node:child_process'
import http from 'node:http'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { open } from 'latchkey'

export const socket = process.env.LATCHKEY_REDIS_SOCKET
export const pid = Number(process.env.LATCHKEY_REDIS_PID)

/** A configuration for this Redis. The bound of C is short, so that tests of it are. */
export const url = (options = '') => `unix://${socket}?deadline_ms=10000&staleness_ms=500&${options}`

/** A handle of its own, closed when the test ends. The log is silent. */
export async function handle(t, options = '', more = {}) {
  const lk = await open(url(options), { apart: true, log: null, ...more })
  t.after(() => lk.close())
  return lk
}

/** One point of tests/bindings/README.md. */
export function point(number, what, body) {
  test(`${number} ${what}`, { timeout: 60000 }, async (t) => {
    await body(t)
    appendFileSync(process.env.LATCHKEY_POINTS, `ok ${number} ${what}\n`)
  })
}

export const redis = (...command) => execFileSync('redis-cli', ['-s', socket, ...command], { encoding: 'utf8' }).trim()
export const stop = () => process.kill(pid, 'SIGSTOP')
export const go = () => process.kill(pid, 'SIGCONT')

/** Redis stands still while `body` runs. */
export async function stopped(body) {
  stop()
  try { return await body() } finally { go() }
}

/** Waits until `holds` gives something true, for as long as the slowest machine may take. */
export async function until(holds, what) {
  for (let i = 0; i < 1500; i++) {
    const value = await holds()
    if (value) return value
    await delay(20)
  }
  throw new Error(`it never came to that: ${what}`)
}

/** A handle that gives up early, for a Redis that is to stand still. Opening it may take more than one try. */
export const impatient = (ms, options = '') =>
  until(() => open(url(options).replace('deadline_ms=10000', `deadline_ms=${ms}`), { apart: true, log: null }).catch(() => null), 'it opens')

/** Until Redis answers this handle again after it stood still. */
export const recovered = (lk) => until(() => lk.sessions(1n).then(() => true, () => false), 'Redis answers again')

export const descriptors = () => readdirSync('/proc/self/fd').length
export const threads = () => Number(/^Threads:\s+(\d+)/m.exec(readFileSync('/proc/self/status', 'utf8'))[1])
export const code = (name) => (error) => error.code === name

/** A request to this machine; {status, cookies, body}. (fetch of Node 18 cannot tell several cookies apart.) */
export function ask(port, path, { cookie, method = 'GET', headers = {} } = {}) {
  return new Promise((resolve, reject) => {
    const request = http.request({ host: '127.0.0.1', port, path, method, headers: { ...headers, ...(cookie && { cookie }) } }, async (answer) => {
      let text = ''
      for await (const part of answer) text += part
      resolve({ status: answer.statusCode, cookies: answer.headers['set-cookie'] ?? [], body: text && JSON.parse(text) })
    })
    request.on('error', reject).end()
  })
}
