-- SPDX-License-Identifier: MIT
-- The list of tests/bindings/README.md.
local ffi = require "ffi"
local latchkey = require "resty.latchkey"

ffi.cdef [[
int fork(void); int waitpid(int pid, int *status, int options); void _exit(int status); int kill(int pid, int signal);
int usleep(unsigned int microseconds);
]]

local socket, redis_pid = os.getenv("LATCHKEY_REDIS_SOCKET"), tonumber(os.getenv("LATCHKEY_REDIS_PID"))
local url = "unix://" .. socket .. "?deadline_ms=10000"
local lines = {}
local function keep(level, text) lines[#lines + 1] = { level = level, text = text } end
local function open(options) return assert(latchkey.open(url .. (options or ""), { log = keep })) end
local function redis(words) assert(os.execute("redis-cli -s " .. socket .. " " .. words .. " >/dev/null") == 0) end
local function ok(number, text) print("ok " .. number .. " " .. text) io.stdout:flush() end
local function wait_until(what, condition)
    for _ = 1, 6000 do
        if condition() then return end
        ffi.C.usleep(5000)
    end
    error("it never came: " .. what)
end
local function stopped(body)
    ffi.C.kill(redis_pid, 19)
    local good, err = pcall(body)
    ffi.C.kill(redis_pid, 18)
    assert(good, err)
end
-- No answer: nil, a text, and a status below 0.
local function unanswered(want, value, err, status)
    assert(value == nil and type(err) == "string" and status == want, tostring(err) .. " " .. tostring(status))
    return err
end
local function no(value, err) assert(value == nil and err == nil, err) end
local function counter(lk, name) return tonumber(lk:metrics():match("\nlatchkey_" .. name .. " (%d+)")) end
local function count(what)
    local pipe = io.popen("ls /proc/" .. io.open("/proc/self/stat"):read("*n") .. "/" .. what .. " | wc -l")
    local found = pipe:read("*n")
    pipe:close()
    return found
end

local aging = open("&renew_ms=10000")
local old_token, began = assert(aging:create(13)), os.time()
local here, there = open("&staleness_ms=500"), open("&staleness_ms=500")

local permissions = {}
for i = 0, 31 do permissions[#permissions + 1] = string.char(i) end
permissions = table.concat(permissions)
local token = assert(here:create(2 ^ 63 + 0ULL + 9ULL, { role = "sixteen bytes ok", permissions_hash = permissions, device = 0xffffffff, flags = 0xa5a5 }))
local entry = assert(here:validate(token))
assert(#token == 43 and entry.user_id == 0x8000000000000009ULL and entry.role == "sixteen bytes ok" and entry.device == 0xffffffff)
assert(entry.permissions_hash == permissions and entry.flags == 0xa5a5 and not entry.renew and not entry.stale)
assert(entry.created_at_ms == entry.auth_at_ms and entry.expires_at_ms > entry.created_at_ms + 1000000)
assert(here:validate(assert(here:create("alice@example.org"))).user_id == latchkey.user_id("alice@example.org"))
ok(1, "create")

local hits, reads = counter(here, "l1_hits_total"), counter(here, "l2_reads_total")
for _ = 1, 1000 do assert(here:validate(token).user_id == entry.user_id) end
assert(counter(here, "l1_hits_total") == hits + 1000 and counter(here, "l2_reads_total") == reads)
ok(2, "hit")

local again, err = there:try_validate(token)
assert(again == nil and err == "again")
assert(there:validate(token).user_id == entry.user_id and there:try_validate(token).role == entry.role)
ok(3, "miss")

local wrong = token:sub(1, 30) .. (token:sub(31, 31) == "A" and "B" or "A") .. token:sub(32)
for _, bad in ipairs { "", token:sub(2), token .. "A", wrong, ("\0"):rep(43), ("\255"):rep(43), ("x"):rep(100000), false, 42 } do
    no(here:validate(bad)) no(there:validate(bad)) no(there:load(bad)) no(there:validate_fresh(bad))
    assert(here:revoke(bad) == false)
end
no(here:validate(nil))
ok(4, "no")

assert(here:revoke(token) == true)
no(here:validate(token))
assert(here:revoke(token) == false)
ok(5, "revoke here")
wait_until("it ends there", function() return there:validate(token) == nil end)
ok(6, "revoke there")

redis("CONFIG SET maxmemory 1")
unanswered(-3, here:create(7))
redis("CONFIG SET maxmemory 0")
wait_until("logins work", function() return here:create(7) end)
token = assert(here:create(8))
unanswered(-3, latchkey.open("unix:///nothing/here.sock?deadline_ms=100"))
local lazy = assert(latchkey.open("unix:///nothing/here.sock?deadline_ms=100&lazy=1", { log = keep }))
unanswered(-3, lazy:validate(token))
ok(7, "refused")

local brief = assert(latchkey.open("unix://" .. socket .. "?deadline_ms=1000", { log = keep }))
stopped(function() unanswered(-3, brief:validate(token)) end)
wait_until("it answers again", function() return brief:validate(token) end)
assert(brief:validate_fresh(token).user_id == 8)
ok(8, "late")

local second = assert(here:create(9))
assert(there:validate(second))
stopped(function()
    unanswered(-5, brief:revoke(second))
    no(brief:validate(second))
end)
wait_until("it ends there", function() local found, trouble = there:validate(second) return not found and not trouble end)
ok(9, "pending")

for _, asks in ipairs { true, false } do
    local pid = ffi.C.fork()
    if pid == 0 then
        local good = not asks or pcall(function()
            assert(here:validate(token).user_id == 8 and here:try_validate(token))
            assert(here:validate(assert(here:create(10))).user_id == 10)
        end)
        ffi.C._exit(good and 0 or 1)
    end
    local status = ffi.new("int[1]")
    assert(ffi.C.waitpid(pid, status, 0) == pid and status[0] == 0, status[0])
end
assert(here:validate(token).user_id == 8 and here:create(10))
ok(10, "fork")

brief:close()
brief:close()
for _, call in ipairs { "validate", "try_validate", "create", "revoke", "load" } do
    local value, closed = brief[call](brief, call == "create" and 1 or token)
    assert(value == nil and closed:find("closed"))
end
ok(11, "close: nothing can be outstanding here")

local old = assert(here:create(12, { role = "member" }))
local new = assert(here:rotate(old))
no(here:validate(old))
local newer = assert(here:rotate(new, 60000))
assert(here:validate(new).user_id == 12 and here:validate(newer).user_id == 12 and here:rotate(new, 60000) == false)
no(here:rotate(old))
assert(not pcall(here.rotate, here, newer, -1))
ok(12, "rotation")

local every = {}
for i = 0, 255 do every[#every + 1] = string.char(i) end
every = table.concat(every)
token = assert(here:create(14, { fields = { every = every, gone = "1", empty = "" } }))
assert(here:set_fields(token, { large = ("\255"):rep(65536), gone = false }))
local record = assert(there:load(token))
assert(#record:names() == 3 and record:get("every") == every and record:get("empty") == "" and record:get("gone") == nil)
assert(record:get("large") == ("\255"):rep(65536) and record:entry().user_id == 14)
-- The collector runs in the middle of each call: what the library reads is still there.
debug.sethook(function() collectgarbage() end, "", 1)
for i = 1, 3 do
    local name, value = "n" .. i, ("value " .. i):rep(9)
    local made = here:create("a name " .. i, { role = "role " .. i, fields = { [name] = value } })
    assert(here:set_access(made, { role = "other " .. i }) and here:set_fields(made, { ["set" .. i] = "to " .. i }))
    local read = here:fields(made, name, "set" .. i)
    assert(read:get(name) == value and read:get("set" .. i) == "to " .. i and read:entry().role == "other " .. i)
    assert(here:change_fields(made, read, { [name] = "v" .. i }) and here:load(made):get(name) == "v" .. i and here:revoke(made))
end
debug.sethook()
for _, names in ipairs { { n = 2, nil, "every" }, { n = 3, "every", nil, "none" }, { n = 1 }, { n = 2, "every", {} } } do
    assert(not pcall(here.fields, here, token, unpack(names, 1, names.n)))
end
assert(there:fields(token, "every", "none"):get("every") == every and here:set_fields(old, { a1 = "1" }) == false)
no(there:fields(old, "every"))
ok(14, "fields")

here:set_fields(token, { count = "0" })
local mine, theirs = here:fields(token, "count"), there:fields(token, "count")
assert(here:change_fields(token, mine, { count = "1" }) == true and there:change_fields(token, theirs, { count = "9" }) == false)
theirs = there:fields(token, "count")
assert(theirs:get("count") == "1" and there:change_fields(token, theirs, { count = "2" }) == true)
no(here:change_fields(old, mine, { count = "1" }))
ok(15, "compare-and-set")

local tokens = {}
for i = 1, 4 do tokens[i] = assert(here:create(1600)) end
local listed, current = there:sessions(1600, tokens[2]), 0
for _, each in ipairs(listed) do
    if each.current then current = current + 1 assert(each.selector == tokens[2]:sub(1, 20)) end
end
assert(#listed == 4 and current == 1 and there:revoke_user(1600, tokens[2]) == 3 and there:validate(tokens[2]))
assert(there:revoke_user(1600) == 1 and #here:sessions(1600) == 0)
ok(16, "a user's sessions")

assert(there:validate(token) and here:touch(token) == true and here:touch(old) == false)
assert(here:set_access(token, { role = "editor", flags = 3 }) and here:validate(token).role == "editor")
wait_until("it shows there", function() return there:validate(token).role == "editor" end)
ok(17, "touch and access")

local strict = open("&max_sessions=1&limit=deny")
assert(strict:create(1800))
local none, words, status = strict:create(1800)
assert(none == nil and words:find("LIMIT") and status == 4)
ok(18, "limit")

redis("CONFIG SET maxmemory 1gb maxmemory-policy allkeys-lru")
lines = {}
open():close()
local said = 0
local raising = assert(latchkey.open(url, { log = function() said = said + 1 error("a log function that raises") end }))
assert(said > 0 and raising:validate(assert(raising:create(20))))
raising:close()
redis("CONFIG SET maxmemory 0 maxmemory-policy noeviction")
local found = false
for _, each in ipairs(lines) do found = found or each.text:find("maxmemory%-policy") and each.level <= 4 end
assert(found, "the log says nothing of maxmemory-policy")
ok(20, "log")

local password = "hunter2-is-the-password"
local texts = { tostring(here), tostring(here:validate(token)), tostring(here:load(token)) }
texts[#texts + 1] = select(2, latchkey.open("unix://someone:" .. password .. "@" .. socket))
texts[#texts + 1] = select(2, pcall(here.rotate, here, token, -1))
texts[#texts + 1] = select(2, pcall(here.create, here, 1, { role = ("x"):rep(17) }))
for _, each in ipairs(lines) do texts[#texts + 1] = each.text end
assert(#texts > 6)
for _, each in ipairs(texts) do assert(not each:find(token:sub(21), 1, true) and not each:find(password, 1, true), each) end
ok(19, "secrets")

local handle, config_error, config_status = latchkey.open(url .. "&bogus=1")
assert(handle == nil and config_error:find("bogus") and config_status == -6)
local writes = counter(here, "l2_writes_total")
for _, bad in ipairs { url .. "&\0bogus=1", url .. "\0" } do assert(not pcall(latchkey.open, bad)) end
for _, bad in ipairs { 2 ^ 64, -1, 1.5, -1LL, 0 / 0, "", true } do
    assert(not pcall(here.create, here, bad) and not pcall(here.revoke_user, here, bad) and not pcall(here.sessions, here, bad))
end
for _, bad in ipairs { { device = 2 ^ 32 }, { device = -1 }, { device = -1LL }, { flags = 2 ^ 32 + 1 }, { idle_ms = 0.5 }, { lifetime_ms = 1e300 },
                       { generation = -1 }, { generation = 2 ^ 60 }, { idle_ms = true } } do
    assert(not pcall(here.create, here, 1, bad))
end
assert(not pcall(here.set_access, here, token, { flags = 2 ^ 32 + 1 }) and not pcall(here.sessions, here, 1, "no token"))
assert(not pcall(here.revoke_user, here, 1, "no token"))
for _, bad in ipairs { "member", 7, false, { rol = "member" }, { "member" }, { user_id = 2 } } do
    assert(not pcall(here.create, here, 1, bad), tostring(bad))
    if bad then assert(not pcall(here.set_access, here, token, bad), tostring(bad)) end
end
assert(tostring(select(2, pcall(here.create, here, 1, { rol = "member" }))):find("draft has no member rol", 1, true))
assert(not pcall(here.create, here, 1, { role = ("x"):rep(17) }) and not pcall(here.create, here, 1, { role = "a\0b" }))
assert(not pcall(here.create, here, 1, { permissions_hash = "short" }) and not pcall(here.create, here, 1, { flags = 65536 }))
assert(not pcall(here.set_access, here, token, { role = "admin\0" }) and not pcall(here.fields, here, token, "na\0me"))
for _, bad in ipairs { { ["na\0me"] = "x" }, { ["na\0me"] = false }, { [5] = "x" } } do
    assert(not pcall(here.create, here, 1, { fields = bad }) and not pcall(here.set_fields, here, token, bad))
end
assert(counter(here, "l2_writes_total") == writes)
local noted = assert(here:load(assert(here:create(1, { fields = { na = "x" } }))))
assert(noted:get("na") == "x" and noted:get("na\0") == nil and noted:get("na\0me") == nil)
ok(21, "configuration")

local function round()
    for _ = 1, 25 do
        local each = open("&l1_capacity=100")
        each:validate(token)
    end
    for _ = 1, 5000 do here:validate(token) end
    for _ = 1, 50 do here:load(token) end
    collectgarbage() collectgarbage()
end
round()
local descriptors, threads, memory = count("fd"), count("task"), collectgarbage("count")
for _ = 1, 4 do round() end
-- A handle that a trace or a stack slot still names is collected in one of the next rounds of the collector.
wait_until("all is as before", function()
    collectgarbage() collectgarbage()
    return count("fd") <= descriptors and count("task") <= threads and collectgarbage("count") < memory + 1024
end)
ok(23, "memory")

while os.time() - began < 11 do ffi.C.usleep(50000) end -- time itself is what is asked for
wait_until("the token wants to be renewed", function() return aging:validate(old_token).renew end)
new = assert(aging:rotate(old_token, 60000))
assert(not aging:validate(new).renew and not aging:validate(old_token).renew)
ok(13, "renewal")
