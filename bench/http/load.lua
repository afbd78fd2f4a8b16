-- SPDX-License-Identifier: MIT
-- For wrk: each request is that of one of many sessions, drawn at random. It has no response(), which costs wrk more than
-- the server has work.
--   wrk -s load.lua URL -- FILE      FILE holds a Cookie header's text on each line
local requests = {}

function init(args)
    for line in io.lines(args[1]) do
        table.insert(requests, wrk.format("GET", nil, { Cookie = line }))
    end
end

function request()
    return requests[math.random(#requests)]
end

function done(summary, latency)
    local e = summary.errors
    print(string.format("wrk: requests=%d duration_us=%d errors=%d refused=%d p50_us=%d p99_us=%d", summary.requests,
        summary.duration, e.connect + e.read + e.write + e.timeout, e.status, latency:percentile(50),
        latency:percentile(99)))
end
