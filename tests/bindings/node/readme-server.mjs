// SPDX-License-Identifier: MIT
// Runs the README's server (readme2.mjs) on a port of its own, and logs in.
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { ask } from './support.mjs'

const text = readFileSync('readme2.mjs', 'utf8')
assert.ok(text.includes('app.listen(3000)'))
writeFileSync('readme2-here.mjs', text.replace('app.listen(3000)', 'export const server = app.listen(0)'))
const { server } = await import(`${process.cwd()}/readme2-here.mjs`)
if (!server.listening) await new Promise((resolve) => server.on('listening', resolve))
const { port } = server.address()
assert.equal((await ask(port, '/me')).status, 401)
const login = await ask(port, '/login', { method: 'POST' })
assert.equal(login.status, 200)
const cookie = login.cookies[0].split(';')[0]
const me = await ask(port, '/me', { cookie })
assert.deepEqual([me.status, me.body.userId], [200, '42'])
assert.equal((await ask(port, '/logout', { method: 'POST', cookie })).status, 200)
assert.equal((await ask(port, '/me', { cookie })).status, 401)
server.closeAllConnections()
server.close()
