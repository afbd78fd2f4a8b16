// SPDX-License-Identifier: MIT
import { Store } from 'express-session'
import type { Latchkey, Draft, UserId } from './index'

export interface LatchkeyStoreOptions {
  lk: Latchkey
  /** The field that holds the session's data: 'express.session'. */
  field?: string
  /** Whose session it will be, asked when its id is made; a random user where it gives nothing. */
  user?: (request: any) => UserId | null | undefined
  /** What each session is created with, besides its user. */
  draft?: Partial<Omit<Draft, 'userId' | 'userName' | 'token'>>
}

/** session({ store, genid: store.genid, ... }) */
export class LatchkeyStore extends Store {
  constructor(options: LatchkeyStoreOptions)
  genid: (request: any) => string
  get(sid: string, callback: (error: any, session?: any) => void): void
  set(sid: string, session: any, callback?: (error?: any) => void): void
  destroy(sid: string, callback?: (error?: any) => void): void
}
export default LatchkeyStore
