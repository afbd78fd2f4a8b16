// SPDX-License-Identifier: MIT
// Types of latchkey. Times are Unix times in milliseconds, by the clock of Redis. All methods may reject with a LatchkeyError.
import type { IncomingMessage, ServerResponse } from 'node:http'

/** The name of a status of latchkey.h, or CLOSED: the handle is closed. */
export type Code =
  | 'NOT_FOUND' | 'EXPIRED' | 'MALFORMED' | 'LIMIT' | 'REFUSED' | 'NO_MEMORY' | 'UNAVAILABLE' | 'CORRUPT' | 'PENDING' | 'CONFIG'
  | 'FORKED' | 'CLOSED'

/** No answer could be had (UNAVAILABLE and the like), or a login was refused (LIMIT, REFUSED). Its text holds no token. */
export class LatchkeyError extends Error {
  readonly code: Code
  /** What Express and Fastify send: 503 where there was no answer. */
  readonly statusCode: number
}

/** Whose session it is. An entry is a copy: it does not change. */
export class Entry {
  private constructor()
  readonly userId: bigint
  readonly role: string
  /** The absolute expiry. Only Redis knows the idle expiry. */
  readonly expiresAt: number
  readonly createdAt: number
  /** When the user last proved who they are. */
  readonly authAt: number
  /** 32 bytes, yours. */
  readonly permissionsHash: Buffer
  readonly pqKeyHash: Buffer
  readonly device: number
  /** 16 bits, yours. */
  readonly flags: number
  /** The token is old: exchange it (rotate), and send the new one. The middleware does it by itself. */
  readonly renew: boolean
  /** Redis is lost, and grace_ms lets memory answer. */
  readonly stale: boolean
  toJSON(): object
}

/** A session's record as Redis holds it: the entry, and the fields that were asked for. */
export class Record {
  private constructor()
  readonly entry: Entry
  readonly names: string[]
  get(name: string): Buffer | undefined
  text(name: string): string | undefined
  version(name: string): bigint
  toJSON(): object
}

/** A user's number. A number must be an integer that it holds exactly. */
export type UserId = bigint | number
/** What a client sent. Without one there is no session. */
export type Token = string | null | undefined
export type Bytes = string | Uint8Array

export interface Access {
  /** At most 16 bytes. */
  role?: string
  /** 32 bytes. */
  permissionsHash?: Uint8Array
  /** 16 bits. */
  flags?: number
}

export interface DraftBase extends Access {
  device?: number
  idleMs?: number
  lifetimeMs?: number
  /** Of userGeneration. */
  generation?: bigint
  fields?: { [name: string]: Bytes }
  /** Of newToken, for this user. */
  token?: string
}
/** What a login knows. A user that has a name and no number (a UUID, an address) gives userName. */
export type Draft = DraftBase & ({ userId: UserId; userName?: Bytes } | { userId?: UserId; userName: Bytes })

export interface AccessChange extends Access {
  /** Which of the flags change; those of `flags` if it is not given. */
  flagsMask?: number
  /** The user has just proved again who they are. */
  authenticated?: boolean
}

export interface SessionInfo {
  /** The first 20 characters of the token: it names the session, and is no secret. */
  selector: string
  createdAt: number
  authAt: number
  activeAt: number
  idleExpiresAt: number
  expiresAt: number
  device: number
  flags: number
  current: boolean
}

export interface Stats {
  validates: number; l1Hits: number; l1Misses: number; malformed: number; l2Reads: number; l2Writes: number; l2Errors: number
  joined: number; fills: number; purges: number; evictions: number; missed: number; replayed: number; empties: number
  reconnects: number; lapses: number; shed: number; stale: number; pending: number; reuses: number; l1Entries: number
  l1Bytes: number; connected: number; hitRate: number; leaseAgeMs: number; lastError: string
}

export class Latchkey {
  private constructor()

  /** Entry: yes. null: no. undefined: memory cannot tell, validate can. Never waits for Redis. */
  tryValidate(token: Token): Entry | null | undefined
  /** Entry: yes. null: no. With maxAgeMs, as fresh as that: 0 asks Redis. */
  validate(token: Token, options?: { maxAgeMs?: number }): Promise<Entry | null>

  /** Makes a session. Gives its token. */
  create(draft: Draft): Promise<string>
  /** A token for a session that is yet to be made: draft.token. */
  newToken(userId: UserId): string
  /** true: ended. false: there was nothing to end. Rejects with PENDING: denied here, not confirmed by Redis yet. */
  revoke(token: Token): Promise<boolean>
  /** A new token. false: it was exchanged already, go on with this one. null: there is no such session. */
  rotate(token: Token, options?: { graceMs?: number }): Promise<string | false | null>
  touch(token: Token): Promise<boolean>
  setAccess(token: Token, change: AccessChange): Promise<boolean>

  load(token: Token): Promise<Record | null>
  getFields(token: Token, names: string[]): Promise<Record | null>
  /** All of them or none; null deletes. false: there is no such session. */
  setFields(token: Token, fields: { [name: string]: Bytes | null }): Promise<boolean>
  /** Only if they are as in the record. false: one has changed since, read again. null: there is no such session. */
  changeFields(token: Token, fields: { [name: string]: Bytes | null }, record: Record): Promise<true | false | null>
  /** Makes the new value of the old one, as often as it takes. Gives the new value; null: there is no such session. */
  updateField<T extends Bytes | null>(
    token: Token, name: string, change: (old: Buffer | undefined) => T | Promise<T>): Promise<T | null>
  putSection(token: Token, section: string, data: Bytes | null): Promise<boolean>
  getSection(token: Token, section: string): Promise<Buffer | null | undefined>

  sessions(userId: UserId, options?: { current?: Token }): Promise<SessionInfo[]>
  /** Ends all sessions of a user, but the one to keep. Gives how many. */
  revokeUser(userId: UserId, options?: { keep?: Token }): Promise<number>
  revokeSelector(userId: UserId, selector: string): Promise<boolean>
  revokeEveryone(): Promise<void>
  userGeneration(userId: UserId): Promise<bigint>
  setUserAccess(userId: UserId, change: AccessChange): Promise<number>
  /** Moves a session of another store in: see latchkey_import. false: it moved in already, or is over. */
  importSession(token: string, draft: Draft, options?: { createdAt?: number; expiresAt?: number }): Promise<boolean>

  prewarm(count: number): Promise<number>
  stats(): Stats
  /** Prometheus text. */
  metrics(): string
  /** Answers that are outstanding are rejected with CLOSED. */
  close(): Promise<void>
}

export interface OpenOptions {
  /** true: a handle of its own. Else all threads of the process that open one configuration share one. */
  apart?: boolean
  /** The log. Without it errors and warnings are process warnings; null is silence. */
  log?: ((level: 'error' | 'warning' | 'notice' | 'info', text: string) => void) | null
}
export function open(url: string, options?: OpenOptions): Promise<Latchkey>

export interface SessionOptions {
  /** The cookie's name: 'sid'. */
  cookie?: string
  /** true: answers 401 itself where there is no session. */
  required?: boolean
  /** How long the old token goes on after a renewal: 300000. */
  graceMs?: number
  path?: string
  domain?: string
  /** false: for plain http. */
  secure?: boolean
  sameSite?: 'Lax' | 'Strict' | 'None'
  /** Seconds; without it the cookie ends with the browser. */
  maxAge?: number
}

type Request = { headers: IncomingMessage['headers'] }
type Response = ServerResponse | { header(name: string, value: any): any }

export interface SessionMiddleware {
  /** Express, Connect and node:http call it with a request; Fastify's register calls it with the instance. */
  (request: any, response: any, next: (error?: any) => void): void
  login(request: Request, response: Response, draft: Draft): Promise<Entry | null>
  logout(request: Request, response: Response): Promise<boolean>
  token(request: Request): string | undefined
}

/** Middleware that sets req.auth to the entry or null, and answers 503 itself where there is no answer. */
export function session(lk: Latchkey, options?: SessionOptions): SessionMiddleware
export namespace session {
  /** For single routes: 401 unless the request has a session. */
  function required(request: any, response: any, next: (error?: any) => void): void
}

/** The user id of a name. */
export function userId(name: string): bigint
/** Throws what open would reject with because of the configuration alone. Connects nowhere. */
export function checkConfig(url: string): void
export const version: string

declare global {
  namespace Express {
    interface Request { auth: Entry | null }
  }
}
