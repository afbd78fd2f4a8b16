-- SPDX-License-Identifier: MIT
--
-- latchkey for LuaJIT and OpenResty: is this session valid, and whose is it? latchkey.h is the manual.
--
--     local latchkey = require "resty.latchkey"
--     local lk = assert(latchkey.open("redis://127.0.0.1:6379"))
--     local entry, err = lk:try_validate(token)
--
-- What every call gives: a value; nil for a "no"; nil and a text where there was no answer (then also the library's status): answer
-- 503, and leave the cookie alone. Mistakes in a call are raised.
--
-- try_validate never waits. All other calls wait for Redis, for at most deadline_ms, and hold up the thread that makes them. In nginx
-- that is the whole worker: there, what memory does not know comes from the nginx module (latchkey.of_request), which does not wait.

local ffi = require "ffi"

ffi.cdef [[
typedef struct latchkey latchkey;
typedef struct latchkey_record latchkey_record;
typedef struct {
    uint64_t user_id;
    char role_[16];
    int64_t expires_at_ms;
    uint8_t permissions_hash_[32];
    uint8_t pq_key_hash_[32];
    int64_t created_at_ms;
    int64_t auth_at_ms;
    uint32_t device;
    uint32_t flags_;
} latchkey_entry;
typedef struct { const char *name; const void *data; size_t size; } latchkey_field;
typedef struct { const char *name; const void *data; size_t size; uint64_t version; } latchkey_change;
typedef struct {
    size_t size;
    uint64_t user_id;
    const char *role;
    uint8_t permissions_hash[32];
    uint32_t device;
    uint32_t flags;
    int64_t idle_ms;
    int64_t lifetime_ms;
    uint64_t generation;
    const latchkey_field *fields;
    size_t field_count;
    const void *user_name;
    size_t user_name_size;
} latchkey_draft;
typedef struct {
    size_t size;
    const char *role;
    const uint8_t *permissions_hash;
    uint32_t flags, flags_mask;
    int authenticated;
} latchkey_access;
typedef struct {
    char selector[24];
    int64_t created_at_ms, auth_at_ms, active_at_ms, idle_expires_at_ms, expires_at_ms;
    uint32_t device, flags, current, reserved;
} latchkey_session_info;

size_t strnlen(const char *text, size_t size);
const char *latchkey_version(void);
const char *latchkey_status_text(int status);
size_t latchkey_token_size(void);
size_t latchkey_entry_size(void);
size_t latchkey_draft_size(void);
size_t latchkey_access_size(void);
size_t latchkey_session_info_size(void);
size_t latchkey_sessions_max(void);
uint64_t latchkey_user_id(const void *name, size_t size);
int latchkey_open(const char *config, latchkey **out, char *error, size_t error_size);
void latchkey_close(latchkey *lk);
int latchkey_error_text(latchkey *lk, char *buffer, size_t size);
int latchkey_log_read(latchkey *lk, int *level, char *text, size_t size);
int latchkey_try_validate(latchkey *lk, const char *token, size_t token_len, latchkey_entry *entry);
int latchkey_validate(latchkey *lk, const char *token, size_t token_len, latchkey_entry *entry);
int latchkey_validate_fresh(latchkey *lk, const char *token, size_t token_len, int64_t max_age_ms, latchkey_entry *entry);
int latchkey_create(latchkey *lk, const latchkey_draft *draft, char *token);
int latchkey_revoke(latchkey *lk, const char *token, size_t token_len);
int latchkey_touch(latchkey *lk, const char *token, size_t token_len);
int latchkey_rotate(latchkey *lk, const char *token, size_t token_len, int64_t grace_ms, char *new_token);
int latchkey_revoke_user(latchkey *lk, uint64_t user_id, const char *keep, size_t keep_len, size_t *revoked);
int latchkey_sessions(latchkey *lk, uint64_t user_id, const char *current, size_t current_len, latchkey_session_info *sessions,
                      size_t max, size_t *total);
int latchkey_load(latchkey *lk, const char *token, size_t token_len, latchkey_record **out);
int latchkey_get_fields(latchkey *lk, const char *token, size_t token_len, const char *const *names, size_t count,
                        latchkey_record **out);
int latchkey_set_fields(latchkey *lk, const char *token, size_t token_len, const latchkey_field *fields, size_t count);
int latchkey_change_fields(latchkey *lk, const char *token, size_t token_len, const latchkey_change *changes, size_t count);
int latchkey_set_access(latchkey *lk, const char *token, size_t token_len, const latchkey_access *access);
const latchkey_entry *latchkey_record_entry(const latchkey_record *record);
const void *latchkey_record_field(const latchkey_record *record, const char *name, size_t *size);
const char *latchkey_record_field_name(const latchkey_record *record, size_t index);
uint64_t latchkey_record_version(const latchkey_record *record, const char *name);
void latchkey_record_free(latchkey_record *record);
int latchkey_metrics(latchkey *lk, char *text, size_t size, size_t *needed);
]]

local C = ffi.load("latchkey")
local bit = require "bit"
local OK, MALFORMED, REFUSED = 0, 3, 5
local BAD_ARGUMENT, NO_MEMORY, FORKED, AGAIN = -1, -2, -7, -8
local FLAG_STALE, FLAG_RENEW = 0x80000000, 0x40000000

-- The layouts above are those of latchkey.h; a library that is older has others.
assert(C.latchkey_entry_size() == ffi.sizeof("latchkey_entry") and C.latchkey_token_size() == 44 and
       C.latchkey_draft_size() >= ffi.sizeof("latchkey_draft") and C.latchkey_access_size() >= ffi.sizeof("latchkey_access") and
       C.latchkey_session_info_size() == ffi.sizeof("latchkey_session_info"),
       "the installed liblatchkey is not the one that resty.latchkey was made for")

local latchkey = { _VERSION = "0.1.0" }

-- ------------------------------------------------------------------------------------------------- entries --

local function text_of(chars, size)
    return ffi.string(chars, ffi.C.strnlen(chars, size))
end

-- Decoded when a member is read. user_id and the times are 64-bit numbers of LuaJIT; compare with 42ULL, or tonumber() of them.
local looked = {
    role = function(entry) return text_of(entry.role_, 16) end,
    permissions_hash = function(entry) return ffi.string(entry.permissions_hash_, 32) end,
    pq_key_hash = function(entry) return ffi.string(entry.pq_key_hash_, 32) end,
    flags = function(entry) return bit.band(entry.flags_, 0xffff) end,
    stale = function(entry) return bit.band(entry.flags_, FLAG_STALE) ~= 0 end,
    renew = function(entry) return bit.band(entry.flags_, FLAG_RENEW) ~= 0 end,
}
local entry_t = ffi.metatype("latchkey_entry", {
    __index = function(entry, name)
        local look = looked[name]
        if not look then error("an entry has no " .. tostring(name), 2) end
        return look(entry)
    end,
    __tostring = function(entry)
        return "latchkey entry of user " .. tostring(entry.user_id):gsub("ULL$", "") .. ", role " .. entry.role
    end,
})

-- ------------------------------------------------------------------------------------------------- records --

local Record = {}
Record.__index = Record
Record.__tostring = function() return "latchkey record" end

-- To C a string ends at its first NUL, so "admin\0..." would be "admin".
local function without_nul(what, string)
    assert(type(string) == "string" and not string:find("%z"), what .. " is a string without a NUL")
    return string
end

-- The bytes of a field, or nil.
function Record:get(name)
    if name:find("%z") then return nil end
    local size = ffi.new("size_t[1]")
    local data = C.latchkey_record_field(self.raw, name, size)
    return data ~= nil and ffi.string(data, size[0]) or nil
end

function Record:entry() return (entry_t(C.latchkey_record_entry(self.raw)[0])) end -- no tail call: what is copied is the record's

function Record:names()
    local names = {}
    while true do
        local name = C.latchkey_record_field_name(self.raw, #names)
        if name == nil then return names end
        names[#names + 1] = ffi.string(name)
    end
end

local function record_of(out) return setmetatable({ raw = ffi.gc(out[0], C.latchkey_record_free) }, Record) end

-- ------------------------------------------------------------------------------------------------- handles --

local Handle = {}
Handle.__index = Handle
Handle.__tostring = function(self) return "latchkey handle, " .. (self.raw and "open" or "closed") end

local why = ffi.new("char[640]")
local level, line = ffi.new("int[1]"), ffi.new("char[640]")

local function say(lvl, text)
    if ngx then ngx.log(({ [3] = ngx.ERR, [4] = ngx.WARN, [5] = ngx.NOTICE })[lvl] or ngx.INFO, "latchkey: ", text)
    else io.stderr:write("latchkey: ", text, "\n") end
end

local function status_text(status, words)
    local text = ffi.string(C.latchkey_status_text(status))
    return words ~= "" and text:match("^[A-Z_]+") .. ": " .. words or text
end

local function open(config)
    local out = ffi.new("latchkey *[1]")
    local status = C.latchkey_open(config, out, why, 640)
    if status ~= OK then return nil, status_text(status, ffi.string(why)), status end
    return out[0]
end

--- A handle: one for each process. In nginx, open it in init_worker_by_lua. `options.log` is a function of a level and a text.
-- nil, a text and a status where it cannot be opened.
function latchkey.open(config, options)
    local raw, err, status = open(without_nul("the configuration", config))
    if not raw then return nil, err, status end
    local self = setmetatable({ raw = ffi.gc(raw, C.latchkey_close), config = config, log = options and options.log or say }, Handle)
    self:read_log()
    return self
end

--- The last call. A second close does nothing.
function Handle:close()
    local raw = self.raw
    self.raw = nil
    if raw then C.latchkey_close(ffi.gc(raw, nil)) end
end

--- Hands what the library has to say to the log function, in this thread. What that function raises is not an error of the call that
-- happens to be under way: the line is written as it would be without such a function.
function Handle:read_log()
    while self.raw and C.latchkey_log_read(self.raw, level, line, 640) == OK do
        local lvl, text = level[0], ffi.string(line)
        if not pcall(self.log, lvl, text) then say(lvl, text) end
    end
end

-- In a process that was forked from the one that opened it, a handle of its own.
local function reopen(self)
    local raw, err = open(self.config)
    if not raw then return nil, err end
    C.latchkey_close(ffi.gc(self.raw, nil)) -- its copies of the descriptors, and nothing else
    self.raw = ffi.gc(raw, C.latchkey_close)
    return true
end

-- A status below 0: nil, the words, the status. A mistake in the call is raised.
local function unanswered(self, status)
    C.latchkey_error_text(self.raw, why, 640)
    local text = status_text(status, ffi.string(why))
    if status == BAD_ARGUMENT then error(text, 4) end
    return nil, text, status
end

-- Runs a call that waits. `give` makes the value of OK; `no` is the value of another answer. Who calls this returns its values, which is
-- a tail call: of what the caller has, the collector spares only what `call` names. So `call` also returns what C reads through pointers.
local function run(self, call, give, no)
    if not self.raw then return nil, "the handle is closed", nil end
    local status = call(self.raw)
    if status == FORKED then
        local good, err = reopen(self)
        if not good then return nil, err, FORKED end
        status = call(self.raw)
    end
    local value, err, code
    if status < 0 then value, err, code = unanswered(self, status)
    elseif status == OK then value = give(status)
    elseif no then value, err, code = no(status) end
    self:read_log()
    return value, err, code
end

local function yes() return true end
local function is_false() return false end
local function text(token) return type(token) == "string" and token or "" end

-- What is not from memory, with the status of what memory said.
local function beyond(self, status)
    if status == AGAIN then return nil, "again", AGAIN end
    if status == FORKED then
        local good, err = reopen(self)
        return nil, good and "again" or err, AGAIN
    end
    if status > 0 then return nil end
    return unanswered(self, status)
end

--- From memory alone: an entry; nil: no; nil and "again": only Redis can tell. Never waits. `into`, an entry of before, is filled instead
-- of a new one.
function Handle:try_validate(token, into)
    local raw = self.raw
    if raw == nil then return nil, "the handle is closed" end
    if type(token) ~= "string" then return nil end
    local entry = into or entry_t()
    local status = C.latchkey_try_validate(raw, token, #token, entry)
    if status == OK then return entry end
    return beyond(self, status)
end

--- Whose session this is: an entry, or nil. Waits for Redis where memory cannot tell.
function Handle:validate(token)
    local entry, err, status = self:try_validate(token)
    if status ~= AGAIN then return entry, err, status end
    entry = entry_t()
    return run(self, function(raw) return C.latchkey_validate(raw, token, #token, entry) end, function() return entry end)
end

--- For a sensitive request: Redis is asked if memory is older than max_age_ms (0 where it is not given).
function Handle:validate_fresh(token, max_age_ms)
    local entry = entry_t()
    token = text(token)
    return run(self, function(raw) return C.latchkey_validate_fresh(raw, token, #token, max_age_ms or 0, entry) end,
               function() return entry end)
end

-- An array of fields or changes; a value of false deletes. The strings are held by the table that it is made of, and by nothing else.
local function array(kind, values, record)
    local names = {}
    for name in pairs(values) do names[#names + 1] = name end
    local items = ffi.new(kind .. "[?]", math.max(#names, 1))
    for i, name in ipairs(names) do
        local value = values[name]
        assert(value == false or type(value) == "string", "a field is a string, or false to delete it")
        items[i - 1].name = without_nul("the name of a field", name)
        if value then
            items[i - 1].data = ffi.cast("const char *", value)
            items[i - 1].size = #value
        end
        if record then items[i - 1].version = C.latchkey_record_version(record.raw, name) end
    end
    return items, #names
end

local function token_of(buffer) return function() return ffi.string(buffer, 43) end end

--- The number that stands for a user's name.
function latchkey.user_id(name) return C.latchkey_user_id(name, #name) end

-- A whole number from 0 to `most`: one of Lua that is exact, or one of 64 bits. Without this LuaJIT would cut others until they fit.
local function whole(what, value, most)
    local exact = type(value) == "number" and value >= 0 and value < 2 ^ 53 and value % 1 == 0
    local wide = ffi.istype("uint64_t", value) or (ffi.istype("int64_t", value) and value >= 0)
    assert((exact or wide) and ffi.cast("uint64_t", value) <= most, what)
    return ffi.cast("uint64_t", value)
end

local ALL = 0xffffffffffffffffULL

local function user_of(user)
    assert(user ~= "", "a user's name is empty")
    if type(user) == "string" then return latchkey.user_id(user) end
    return whole("a user is a whole number from 0 to 2^53, a uint64_t, or a name", user, ALL)
end

-- A member that is misspelt must not be passed over: the session would be one without a role.
local function check_members(name, given, known)
    assert(type(given) == "table", name .. " is a table")
    for member in pairs(given) do
        if not known[member] then error(name .. " has no member " .. tostring(member), 4) end
    end
end

local OF_DRAFT = { role = true, permissions_hash = true, device = true, flags = true, idle_ms = true, lifetime_ms = true,
                   generation = true, fields = true }
local OF_ACCESS = { role = true, permissions_hash = true, flags = true, flags_mask = true, authenticated = true }

--- Makes a session, and gives its token. user: a number, a uint64_t (42ULL) or a name. draft: role, permissions_hash, device, flags,
-- idle_ms, lifetime_ms, generation, fields. nil, a text and the status LIMIT (4) or REFUSED (5) where the login is refused.
function Handle:create(user, draft)
    draft = draft == nil and {} or draft
    check_members("draft", draft, OF_DRAFT)
    local made = ffi.new("latchkey_draft")
    local role = without_nul("role", draft.role or "")
    made.size, made.user_id, made.role = ffi.sizeof(made), user_of(user), role
    if type(user) == "string" then made.user_name, made.user_name_size = ffi.cast("const char *", user), #user end
    if draft.permissions_hash then
        assert(#draft.permissions_hash == 32, "permissions_hash has 32 bytes")
        ffi.copy(made.permissions_hash, draft.permissions_hash, 32)
    end
    made.device = whole("device is a whole number of 32 bits", draft.device or 0, 0xffffffffULL)
    made.flags = whole("flags is a whole number of 16 bits", draft.flags or 0, 0xffffULL)
    made.idle_ms = whole("idle_ms is a whole number of milliseconds", draft.idle_ms or 0, ALL / 2)
    made.lifetime_ms = whole("lifetime_ms is a whole number of milliseconds", draft.lifetime_ms or 0, ALL / 2)
    made.generation = whole("generation is a whole number", draft.generation or 0, ALL)
    local fields, count = array("latchkey_field", draft.fields or {})
    made.fields, made.field_count = fields, count
    local token = ffi.new("char[44]")
    local held = { user, role, draft.fields, fields }
    return run(self, function(raw) return C.latchkey_create(raw, made, token), held end, token_of(token),
               function(status) return nil, status_text(status, ""), status end)
end

--- Ends the session. false: there was nothing to end. nil with the status PENDING (-5): denied here, and Redis did not confirm it yet.
function Handle:revoke(token)
    token = text(token)
    return run(self, function(raw) return C.latchkey_revoke(raw, token, #token) end, yes, is_false)
end

--- The session was used now. false: there is none.
function Handle:touch(token)
    token = text(token)
    return run(self, function(raw) return C.latchkey_touch(raw, token, #token) end, yes, is_false)
end

--- Exchanges the token: the new one; nil: no session; false: exchanged already, go on with the old one for its grace.
function Handle:rotate(token, grace_ms)
    token = text(token)
    local new = ffi.new("char[44]")
    return run(self, function(raw) return C.latchkey_rotate(raw, token, #token, grace_ms or 0, new) end, token_of(new),
               function(status) if status == REFUSED then return false end end)
end

--- Ends all sessions of a user but that of the token `keep`. Gives how many.
function Handle:revoke_user(user, keep)
    local ended = ffi.new("size_t[1]")
    return run(self, function(raw) return C.latchkey_revoke_user(raw, user_of(user), keep, keep and #keep or 0, ended) end,
               function() return tonumber(ended[0]) end,
               function(status) error("revoke_user: " .. status_text(status, ""), 4) end)
end

--- The live sessions of a user, as a list of tables.
function Handle:sessions(user, current)
    local max = tonumber(C.latchkey_sessions_max())
    local infos, total = ffi.new("latchkey_session_info[?]", max), ffi.new("size_t[1]")
    return run(self, function(raw)
        return C.latchkey_sessions(raw, user_of(user), current, current and #current or 0, infos, max, total)
    end, function()
        local list = {}
        for i = 0, math.min(tonumber(total[0]), max) - 1 do
            local info = infos[i]
            list[#list + 1] = { selector = text_of(info.selector, 24), created_at_ms = tonumber(info.created_at_ms),
                                auth_at_ms = tonumber(info.auth_at_ms), active_at_ms = tonumber(info.active_at_ms),
                                idle_expires_at_ms = tonumber(info.idle_expires_at_ms), expires_at_ms = tonumber(info.expires_at_ms),
                                device = info.device, flags = info.flags, current = info.current ~= 0 }
        end
        return list
    end, function(status) error("sessions: " .. status_text(status, ""), 4) end)
end

--- The whole record, or nil.
function Handle:load(token)
    token = text(token)
    local out = ffi.new("latchkey_record *[1]")
    return run(self, function(raw) return C.latchkey_load(raw, token, #token, out) end, function() return record_of(out) end)
end

--- Some fields: a record with these, or nil.
function Handle:fields(token, ...)
    token = text(token)
    local names, count, out = { ... }, select("#", ...), ffi.new("latchkey_record *[1]")
    for i = 1, count do without_nul("the name of a field", names[i]) end -- after a nil the array would be left as it was
    local list = ffi.new("const char *[?]", count, names)
    return run(self, function(raw) return C.latchkey_get_fields(raw, token, #token, list, count, out), names end,
               function() return record_of(out) end)
end

--- Sets fields; false as a value deletes. false: there is no session.
function Handle:set_fields(token, values)
    token = text(token)
    local fields, count = array("latchkey_field", values)
    return run(self, function(raw) return C.latchkey_set_fields(raw, token, #token, fields, count), values end, yes, is_false)
end

--- Sets fields if each is as `record` has it. true; false: another was first; nil: no session.
function Handle:change_fields(token, record, values)
    token = text(token)
    local changes, count = array("latchkey_change", values, record)
    return run(self, function(raw) return C.latchkey_change_fields(raw, token, #token, changes, count), values end, yes,
               function(status) if status == REFUSED then return false end end)
end

--- Changes role, permissions_hash, flags (with flags_mask), or says that the user was `authenticated` again. false: no session.
function Handle:set_access(token, access)
    token = text(token)
    check_members("access", access, OF_ACCESS)
    local change = ffi.new("latchkey_access")
    local permissions, role = access.permissions_hash, access.role and without_nul("role", access.role)
    assert(not permissions or #permissions == 32, "permissions_hash has 32 bytes")
    change.size, change.role = ffi.sizeof(change), role
    change.permissions_hash = permissions and ffi.cast("const uint8_t *", permissions) or nil
    change.flags = whole("flags is a whole number of 16 bits", access.flags or 0, 0xffffULL)
    change.flags_mask = whole("flags_mask is a whole number of 16 bits", access.flags_mask or (access.flags and 0xffff or 0), 0xffffULL)
    change.authenticated = access.authenticated and 1 or 0
    local held = { permissions, role }
    return run(self, function(raw) return C.latchkey_set_access(raw, token, #token, change), held end, yes, is_false)
end

--- The statistics as Prometheus text.
function Handle:metrics()
    local size, needed, metrics = 16384, ffi.new("size_t[1]"), nil
    while true do
        local status
        metrics = ffi.new("char[?]", size)
        local value, err, code = run(self, function(raw)
            status = C.latchkey_metrics(raw, metrics, size, needed)
            return status == NO_MEMORY and OK or status
        end, yes)
        if not value then return nil, err, code end
        if status == OK then return ffi.string(metrics) end
        size = tonumber(needed[0]) + 64
    end
end

-- --------------------------------------------------------------------------------------------------- nginx --

--- What latchkey's nginx module has found out about this request (`latchkey` and `latchkey_token` in its location), from the access phase on:
-- a table with user_id (a text of digits), user (the same as a uint64_t, for a handle's functions: to them a text is a name), role, device,
-- flags, renew, stale, selector; nil: no session; nil and a text: no answer.
function latchkey.of_request()
    local var = ngx.var
    local status = var.latchkey_status
    if status == "OK" then
        local user = 0ULL
        for digit in var.latchkey_user:gmatch("%d") do user = user * 10 + tonumber(digit) end
        return { user_id = var.latchkey_user, user = user, role = var.latchkey_role, device = tonumber(var.latchkey_device),
                 flags = tonumber(var.latchkey_flags), selector = var.latchkey_selector, renew = var.latchkey_renew == "1",
                 stale = var.latchkey_stale == "1" }
    end
    if status == "NO_TOKEN" or status == "NOT_FOUND" or status == "EXPIRED" or status == "MALFORMED" then return nil end
    if status == nil or status == "" then return nil, "latchkey is off here, or its phase has not come yet" end
    return nil, status
end

return latchkey
