-- SPDX-License-Identifier: MIT
-- For wrk: each request is that of one of many sessions, drawn at random; counts the answers by status, and says when the
-- first of a kind came.
--   wrk -s cookies.lua URL -- FILE      FILE holds a Cookie header's text on each line
local threads, requests = {}, {}

function setup(thread)
    thread:set("seed", #threads)
    table.insert(threads, thread)
end

function init(args)
    for line in io.lines(args[1]) do
        table.insert(requests, wrk.format("GET", nil, { Cookie = line }))
    end
    math.randomseed(seed)
    statuses = ""
    counts = {}
end

function request()
    return requests[math.random(#requests)]
end

-- Only plain values travel from a thread to done(): so the table is written out as text.
function response(status)
    if counts[status] then
        counts[status] = counts[status] + 1
    else
        counts[status] = 1
        io.write("wrk-first: " .. status .. "\n")
        io.flush()
    end
    local parts = {}
    for s, n in pairs(counts) do table.insert(parts, s .. "=" .. n) end
    statuses = table.concat(parts, " ")
end

function done(summary, latency, rest)
    local e = summary.errors
    print(string.format("wrk: requests=%d connect=%d read=%d write=%d timeout=%d", summary.requests, e.connect, e.read,
        e.write, e.timeout))
    for _, thread in ipairs(threads) do print("wrk-statuses: " .. thread:get("statuses")) end
end
