// SPDX-License-Identifier: MIT
// A session's record: its entry, and its fields with their versions.
'use strict'
const { inspect } = require('node:util')

class Record {
  #fields = new Map()
  constructor(entry, list) {
    this.entry = entry
    for (let i = 0; i < list.length; i += 3) this.#fields.set(list[i], { data: list[i + 1], version: list[i + 2] })
  }

  /** The bytes of a field, or undefined. */
  get(name) { return this.#fields.get(name)?.data }
  /** The same as text, in UTF-8. */
  text(name) { return this.get(name)?.toString() }
  /** For changeFields. 0n: there is no such field. */
  version(name) { return this.#fields.get(name)?.version ?? 0n }
  get names() { return [...this.#fields.keys()] }

  /** Fields are key material and the application's secrets: their sizes are shown, not their bytes. */
  toJSON() {
    return { entry: this.entry, fields: Object.fromEntries([...this.#fields].map(([name, { data }]) => [name, data.length])) }
  }
  [inspect.custom](depth, options) { return `Record ${inspect(this.toJSON(), options)}` }
}

module.exports = { Record }
