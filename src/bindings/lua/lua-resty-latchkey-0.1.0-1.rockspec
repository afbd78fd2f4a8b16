package = "lua-resty-latchkey"
version = "0.1.0-1"
source = { url = "." }
description = {
    summary = "Is this session valid, and whose is it? Answered from the process's own memory, coherent with Redis",
    license = "MIT",
}
dependencies = { "lua == 5.1" } -- LuaJIT, for its FFI
build = { type = "builtin", modules = { ["resty.latchkey"] = "lib/resty/latchkey.lua" } }
