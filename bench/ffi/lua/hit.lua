-- SPDX-License-Identifier: MIT
-- What a hit costs in LuaJIT: try_validate with its entry, and a look at the user.
local ffi = require "ffi"
local latchkey = require "resty.latchkey"
ffi.cdef "typedef struct { long s, ns; } bench_time; int clock_gettime(int clock, bench_time *at);"
local at = ffi.new("bench_time")
local function now_ns()
    ffi.C.clock_gettime(1, at)
    return tonumber(at.s) * 1e9 + tonumber(at.ns)
end
local lk = assert(latchkey.open("unix://" .. os.getenv("LATCHKEY_REDIS_SOCKET") .. "?deadline_ms=10000", { log = function() end }))
local token = assert(lk:create(42, { role = "member" }))
local calls = tonumber(os.getenv("LATCHKEY_CALLS"))
local function median(body)
    local rounds = {}
    for round = 1, 5 do
        local began = now_ns()
        body()
        rounds[round] = (now_ns() - began) / calls
    end
    table.sort(rounds)
    return rounds[3]
end
local function row(what, ns) print(("row\t%s\t%.1f\t-\t-\t%s"):format(what, ns, jit.version)) end
row("lk:try_validate, and user_id", median(function()
    for _ = 1, calls do assert(lk:try_validate(token).user_id == 42ULL) end
end))
row("lk:try_validate into an entry of before", median(function()
    local entry
    for _ = 1, calls do
        entry = lk:try_validate(token, entry)
        assert(entry.user_id == 42ULL)
    end
end))
row("lk:try_validate, and role", median(function()
    for _ = 1, calls do assert(lk:try_validate(token).role == "member") end
end))
