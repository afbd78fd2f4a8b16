/* SPDX-License-Identifier: MIT
 *
 * The store's EVAL and EVALSHA: the real scripts, run by the same Lua 5.1 as in Redis, with what Redis gives to them.
 *
 * One state of Lua serves all servers: a script cannot set a global, so it leaves nothing behind. What was compiled stays,
 * under a number; which of them a server knows is the server's to say (server.c). Nothing here depends on an address: the
 * order of `pairs` would, and no script of ours uses it.
 */
#include "keyspace.h"
#include "store_struct.h"

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

enum { SHA_LENGTH = 40, CALL_WORDS_MAX = 8192 };
enum { GC_PAUSE = 300 }; /* collect when three times as much is there as is used, which stays the same */

static struct {
    char sha[SHA_LENGTH + 1];
    int function; /* in Lua's registry */
} scripts[SCRIPTS_MAX];
static int script_count;
static lua_State *lua;
static run *running; /* the EVAL under way */
static const char *running_sha;

static void sha1_hex(const char *text, size_t size, char out[SHA_LENGTH + 1])
{
    static const char digits[] = "0123456789abcdef";
    unsigned char hash[EVP_MAX_MD_SIZE];
    if (EVP_Digest(text, size, hash, NULL, EVP_sha1(), NULL) != 1) abort();
    for (int i = 0; i < SHA_LENGTH / 2; i++) {
        out[2 * i] = digits[hash[i] >> 4];
        out[2 * i + 1] = digits[hash[i] & 15];
    }
    out[SHA_LENGTH] = 0;
}

/* Most of what a script makes is small, and goes soon: lists of free pieces are faster than malloc. */
enum { PIECE = 16, KINDS = 16, SLAB = 1 << 16 };
typedef struct piece {
    struct piece *next;
} piece;
static piece *free_pieces[KINDS + 1]; /* by size, in units of PIECE */

static size_t kind_of(size_t size) { return (size + PIECE - 1) / PIECE; }

static void *take_piece(size_t kind)
{
    size_t size = kind * PIECE;
    if (!free_pieces[kind]) {
        char *slab = malloc(SLAB);
        if (!slab) abort();
        for (size_t at = 0; at + size <= SLAB; at += size) {
            piece *p = (piece *)(void *)(slab + at);
            p->next = free_pieces[kind];
            free_pieces[kind] = p;
        }
    }
    piece *p = free_pieces[kind];
    free_pieces[kind] = p->next;
    return p;
}

static void give_back(void *old, size_t old_size)
{
    size_t kind = kind_of(old_size);
    if (kind > KINDS) free(old);
    else if (old) {
        ((piece *)old)->next = free_pieces[kind];
        free_pieces[kind] = old;
    }
}

static void *allocate(void *context, void *old, size_t old_size, size_t size)
{
    (void)context;
    size_t kind = kind_of(size);
    if (old && kind == kind_of(old_size) && kind <= KINDS) return old;
    if (old && kind > KINDS && kind_of(old_size) > KINDS) return realloc(old, size);
    void *new = !size ? NULL : kind > KINDS ? malloc(size) : take_piece(kind);
    if (old && new) memcpy(new, old, old_size < size ? old_size : size);
    give_back(old, old ? old_size : 0);
    return new;
}

/* -------------------------------------------------------------------------------- what a script can call -- */

static void push_error(const char *text, size_t size)
{
    lua_createtable(lua, 0, 1);
    lua_pushlstring(lua, text, size);
    lua_setfield(lua, -2, "err");
}

/* Pushes a reply as Lua sees it: nil is false, a status is a table with `ok`. Returns what stands behind it. */
static const char *push_reply(const char *at)
{
    const char *end = strstr(at, "\r\n"), *next = end + 2;
    long long value = strtoll(at + 1, NULL, 10);
    luaL_checkstack(lua, 4, "a reply is nested too deeply");
    switch (*at) {
    case ':': lua_pushnumber(lua, (lua_Number)value); return next;
    case '-': push_error(at + 1, (size_t)(end - at - 1)); return next;
    case '+':
        lua_createtable(lua, 0, 1);
        lua_pushlstring(lua, at + 1, (size_t)(end - at - 1));
        lua_setfield(lua, -2, "ok");
        return next;
    case '$':
        if (value < 0) lua_pushboolean(lua, 0);
        else lua_pushlstring(lua, next, (size_t)value);
        return value < 0 ? next : next + value + 2;
    default:
        if (value < 0) {
            lua_pushboolean(lua, 0);
            return next;
        }
        lua_createtable(lua, (int)value, 0);
        for (int i = 1; i <= value; i++) {
            next = push_reply(next);
            lua_rawseti(lua, -2, i);
        }
        return next;
    }
}

/* The words of redis.call: texts, and numbers as Redis writes them. The results lie on Lua's stack as long as they are used. */
static size_t take_words(word *words)
{
    int count = lua_gettop(lua);
    if (count > CALL_WORDS_MAX) abort();
    for (int i = 1; i <= count; i++) {
        char text[NUMBER_ROOM];
        int type = lua_type(lua, i);
        if (type != LUA_TNUMBER && type != LUA_TSTRING) return 0;
        if (type == LUA_TNUMBER) {
            lua_pushlstring(lua, text, score_print(text, lua_tonumber(lua, i)));
            lua_replace(lua, i);
        }
        words[i - 1].text = lua_tolstring(lua, i, &words[i - 1].size);
    }
    return (size_t)count;
}

static int call(bool raises)
{
    static word words[CALL_WORDS_MAX];
    static buffer reply;
    run r = *running;
    reply.size = 0;
    r.words = words;
    r.count = take_words(words);
    r.reply = &reply;
    r.wrote = false;
    if (!r.count) reply_error(&r, "ERR Lua redis lib command arguments must be strings or integers");
    else if (word_is(words[0], "EVAL") || word_is(words[0], "EVALSHA"))
        reply_error(&r, "ERR This Redis command is not allowed from script");
    else if (r.events && r.events->refuses && r.events->refuses(r.events->context, words, r.count))
        reply_error(&r, "ERR Script attempted to access a non local key in a cluster node");
    else run_command(&r);
    running->wrote |= r.wrote;
    buffer_add(&reply, "", 1);
    push_reply(reply.bytes);
    return *reply.bytes == '-' && raises ? lua_error(lua) : 1;
}
static int redis_call(lua_State *L) { return (void)L, call(true); }
static int redis_pcall(lua_State *L) { return (void)L, call(false); }

static int single_field(lua_State *L, const char *field)
{
    if (lua_gettop(L) != 1 || lua_type(L, 1) != LUA_TSTRING) return luaL_error(L, "wrong number or type of arguments");
    lua_createtable(L, 0, 1);
    lua_pushvalue(L, 1);
    lua_setfield(L, -2, field);
    return 1;
}
static int redis_status_reply(lua_State *L) { return single_field(L, "ok"); }

/* An error begins with its code: one that is no more than a word is given ERR. */
static int redis_error_reply(lua_State *L)
{
    const char *text = luaL_checkstring(L, 1);
    if (*text == '-') lua_pushstring(L, text + 1);
    else if (strchr(text, ' ')) lua_pushstring(L, text);
    else lua_pushfstring(L, "ERR %s", text);
    lua_replace(L, 1);
    return single_field(L, "err");
}

static int redis_sha1hex(lua_State *L)
{
    char hex[SHA_LENGTH + 1];
    size_t size;
    const char *text = luaL_checklstring(L, 1, &size);
    sha1_hex(text, size, hex);
    lua_pushstring(L, hex);
    return 1;
}

/* string.format('%.0f', number), which is most of what scripts format, without printf. Upvalue: the real one. */
static int string_format(lua_State *L)
{
    char text[NUMBER_ROOM];
    int count = lua_gettop(L);
    lua_Number value = count == 2 && lua_type(L, 2) == LUA_TNUMBER ? lua_tonumber(L, 2) : 0;
    if (count == 2 && lua_type(L, 2) == LUA_TNUMBER && value == (lua_Number)(int64_t)value && value < 1e15 &&
        value > -1e15 && !strcmp(luaL_checkstring(L, 1), "%.0f")) {
        lua_pushlstring(L, text, number_print(text, (int64_t)value));
        return 1;
    }
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, count, 1);
    return 1;
}

static int no_global(lua_State *L)
{
    return luaL_error(L, "Script attempted to access nonexistent global variable '%s'", luaL_checkstring(L, 2));
}

/* The libraries that Redis has too, `redis` and `struct`; a name that is not there is an error, and none can be set. */
static void open_lua(void)
{
    static const luaL_Reg functions[] = {{"call", redis_call},
                                         {"pcall", redis_pcall},
                                         {"error_reply", redis_error_reply},
                                         {"status_reply", redis_status_reply},
                                         {"sha1hex", redis_sha1hex},
                                         {NULL, NULL}};
    static const char *const hidden[] = {"dofile", "loadfile", "print", "newproxy", "require", "module", "package"};
    lua = lua_newstate(allocate, NULL);
    if (!lua) abort();
    luaL_openlibs(lua);
    lua_gc(lua, LUA_GCSETPAUSE, GC_PAUSE);
    for (size_t i = 0; i < sizeof hidden / sizeof *hidden; i++) {
        lua_pushnil(lua);
        lua_setglobal(lua, hidden[i]);
    }
    lua_pushnil(lua);
    lua_setglobal(lua, "os");
    lua_pushnil(lua);
    lua_setglobal(lua, "io");
    lua_getglobal(lua, "string");
    lua_getfield(lua, -1, "format");
    lua_pushcclosure(lua, string_format, 1);
    lua_setfield(lua, -2, "format");
    lua_pop(lua, 1);
    store_struct_open(lua);
    luaL_register(lua, "redis", functions);
    lua_pop(lua, 1);
    lua_newtable(lua);
    lua_pushcfunction(lua, no_global);
    lua_setfield(lua, -2, "__index");
    lua_pushcfunction(lua, no_global);
    lua_setfield(lua, -2, "__newindex");
    lua_setmetatable(lua, LUA_GLOBALSINDEX);
}

/* ------------------------------------------------------------------------------------------ its own reply -- */

static void reply_with(run *r);

/* Up to the first nil. */
static void reply_with_list(run *r)
{
    int count = 0;
    for (;; count++) {
        lua_rawgeti(lua, -1, count + 1);
        bool end = lua_isnil(lua, -1);
        lua_pop(lua, 1);
        if (end) break;
    }
    reply_array(r, (size_t)count);
    for (int i = 1; i <= count; i++) {
        lua_rawgeti(lua, -1, i);
        reply_with(r);
    }
}

static void reply_with_table(run *r)
{
    for (int is_error = 1; is_error >= 0; is_error--) {
        lua_pushstring(lua, is_error ? "err" : "ok");
        lua_rawget(lua, -2);
        bool found = lua_type(lua, -1) == LUA_TSTRING;
        if (found && is_error) reply_error(r, lua_tostring(lua, -1));
        else if (found) reply_status(r, lua_tostring(lua, -1));
        lua_pop(lua, 1);
        if (found) return;
    }
    reply_with_list(r);
}

/* What lies on top of Lua's stack, which it takes. */
static void reply_with(run *r)
{
    size_t size;
    luaL_checkstack(lua, 4, "a reply is nested too deeply");
    switch (lua_type(lua, -1)) {
    case LUA_TSTRING: {
        const char *text = lua_tolstring(lua, -1, &size);
        reply_bulk(r, text, size);
        break;
    }
    case LUA_TNUMBER: reply_integer(r, (int64_t)lua_tonumber(lua, -1)); break;
    case LUA_TBOOLEAN:
        if (lua_toboolean(lua, -1)) reply_integer(r, 1);
        else reply_nil(r);
        break;
    case LUA_TTABLE: reply_with_table(r); break;
    default: reply_nil(r);
    }
    lua_pop(lua, 1);
}

/* Makes of whatever was raised a text that begins with a code and says where it was. */
static int describe_error(lua_State *L)
{
    lua_Debug where;
    const char *text = NULL;
    if (lua_istable(L, 1)) {
        lua_getfield(L, 1, "err");
        text = lua_tostring(L, -1);
    } else if (lua_isstring(L, 1)) text = lua_pushfstring(L, "ERR %s", lua_tostring(L, 1));
    int line = 0;
    for (int level = 1; !line && lua_getstack(L, level, &where); level++)
        if (lua_getinfo(L, "Sl", &where) && where.currentline > 0) line = where.currentline;
    lua_pushfstring(L, "%s script: %s, on @user_script:%d.", text ? text : "ERR unknown", running_sha, line);
    return 1;
}

/* --------------------------------------------------------------------------------------------------- EVAL -- */

int store_script(word sha)
{
    for (int i = 0; i < script_count; i++)
        if (word_is(sha, scripts[i].sha)) return i;
    return -1;
}

const char *store_script_sha(int script) { return scripts[script].sha; }

int store_compile(word text)
{
    char sha[SHA_LENGTH + 1];
    if (!lua) open_lua();
    sha1_hex(text.text, text.size, sha);
    int script = store_script((word){sha, SHA_LENGTH});
    if (script >= 0) return script;
    if (luaL_loadbuffer(lua, text.text, text.size, "@user_script")) {
        lua_pop(lua, 1);
        return -1;
    }
    if (script_count == SCRIPTS_MAX) abort();
    memcpy(scripts[script_count].sha, sha, sizeof sha);
    scripts[script_count].function = luaL_ref(lua, LUA_REGISTRYINDEX);
    return script_count++;
}

static void set_list(const char *name, const word *words, size_t count)
{
    lua_createtable(lua, (int)count, 0);
    for (size_t i = 0; i < count; i++) {
        lua_pushlstring(lua, words[i].text, words[i].size);
        lua_rawseti(lua, -2, (int)i + 1);
    }
    lua_pushstring(lua, name);
    lua_insert(lua, -2);
    lua_rawset(lua, LUA_GLOBALSINDEX);
}

static void run_script(run *r, int script)
{
    int64_t keys;
    if (!take_integer(r, r->words[2], &keys)) return;
    if (keys < 0 || (size_t)keys > r->count - 3) {
        reply_error(r, keys < 0 ? "ERR Number of keys can't be negative"
                                : "ERR Number of keys can't be greater than number of args");
        return;
    }
    running = r;
    running_sha = scripts[script].sha;
    lua_pushcfunction(lua, describe_error);
    lua_rawgeti(lua, LUA_REGISTRYINDEX, scripts[script].function);
    set_list("KEYS", r->words + 3, (size_t)keys);
    set_list("ARGV", r->words + 3 + keys, r->count - 3 - (size_t)keys);
    if (lua_pcall(lua, 0, 1, 1)) {
        reply_error(r, lua_tostring(lua, -1));
        lua_pop(lua, 1);
    } else reply_with(r);
    lua_settop(lua, 0);
    running = NULL;
}

static void run_eval(run *r)
{
    int script = store_compile(r->words[1]);
    if (script >= 0) run_script(r, script);
    else reply_error(r, "ERR Error compiling script");
}

static void run_evalsha(run *r)
{
    int script = store_script(r->words[1]);
    if (script >= 0) run_script(r, script);
    else reply_error(r, "NOSCRIPT No matching script. Please use EVAL.");
}

const command script_commands[] = {{"EVAL", run_eval, 3, 0, false}, {"EVALSHA", run_evalsha, 3, 0, false}, {0}};
