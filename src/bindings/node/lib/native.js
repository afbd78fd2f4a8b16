// SPDX-License-Identifier: MIT
// The addon of this machine. There is no install script: it lies in the package, or it was built there by build.sh.
'use strict'
const machine = `${process.platform}-${process.arch}`

function load() {
  try {
    return require(`../prebuilds/${machine}/latchkey.node`)
  } catch (cause) {
    const why = cause.code === 'MODULE_NOT_FOUND' ? 'the package has none for it' : cause.message
    throw new Error(
      `latchkey: the addon for ${machine} cannot be used: ${why}. Build one from the source: sh src/bindings/node/build.sh DIR`,
      { cause })
  }
}

module.exports = load()
