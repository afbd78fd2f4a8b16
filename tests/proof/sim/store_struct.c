/* SPDX-License-Identifier: MIT
 *
 * See store_struct.h.
 */
#include "store_struct.h"

#include <lauxlib.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct option {
    char kind; /* 'c', or 'i' */
    bool is_signed, big;
    size_t size;
} option;

/* The next one of the format; false: it is at its end. */
static bool next_option(lua_State *L, const char **at, bool *big, option *o)
{
    for (; **at == '<' || **at == '>' || **at == ' '; ++*at)
        if (**at != ' ') *big = **at == '>';
    if (!**at) return false;
    const char kind = *(*at)++;
    static const char integers[] = "bBhHiIlL";
    static const size_t sizes[] = {1, 1, 2, 2, 4, 4, 8, 8};
    const char *integer = strchr(integers, kind);
    if (!integer && kind != 'c') luaL_error(L, "invalid format option '%c'", kind);
    char *end;
    size_t size = strtoull(*at, &end, 10);
    bool given = end != *at;
    *at = end;
    *o = (option){.kind = integer ? 'i' : 'c',
                  .big = *big,
                  .size = given     ? size
                          : integer ? sizes[integer - integers]
                                    : 1};
    o->is_signed = integer && *integer >= 'a';
    if (integer && (o->size < 1 || o->size > 8))
        luaL_error(L, "integral size %d is larger than limit of 8", (int)o->size);
    return true;
}

static void pack_integer(luaL_Buffer *b, const option *o, lua_Number value)
{
    uint64_t bits = value < 0 ? (uint64_t)(int64_t)value : (uint64_t)value;
    for (size_t i = 0; i < o->size; i++) luaL_addchar(b, (char)(bits >> 8 * (o->big ? o->size - 1 - i : i)));
}

static int pack(lua_State *L)
{
    const char *format = luaL_checkstring(L, 1);
    bool big = false;
    option o;
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    for (int argument = 2; next_option(L, &format, &big, &o); argument++) {
        if (o.kind == 'i') {
            pack_integer(&b, &o, luaL_checknumber(L, argument));
            continue;
        }
        size_t size;
        const char *text = luaL_checklstring(L, argument, &size);
        if (!o.size) o.size = size;
        luaL_argcheck(L, size >= o.size, argument, "string too short");
        luaL_addlstring(&b, text, o.size);
    }
    luaL_pushresult(&b);
    return 1;
}

static void unpack_integer(lua_State *L, const option *o, const char *from)
{
    uint64_t bits = 0;
    for (size_t i = 0; i < o->size; i++) bits = bits << 8 | (uint8_t)from[o->big ? i : o->size - 1 - i];
    if (!o->is_signed) lua_pushnumber(L, (lua_Number)bits);
    else lua_pushnumber(L, (lua_Number)((int64_t)(bits << 8 * (8 - o->size)) >> 8 * (8 - o->size)));
}

/* struct.unpack(format, text [, from]): the values, and where the next would begin. */
static int unpack(lua_State *L)
{
    const char *format = luaL_checkstring(L, 1);
    size_t size;
    const char *text = luaL_checklstring(L, 2, &size);
    lua_Integer from = luaL_optinteger(L, 3, 1);
    luaL_argcheck(L, from >= 1, 3, "offset must be 1 or greater");
    size_t at = (size_t)from - 1;
    bool big = false;
    option o;
    lua_settop(L, 2);
    while (next_option(L, &format, &big, &o)) {
        if (o.kind == 'c' && !o.size) {
            if (!lua_isnumber(L, -1)) luaL_error(L, "format 'c0' needs a previous size");
            o.size = (size_t)lua_tonumber(L, -1);
            lua_pop(L, 1);
        }
        luaL_argcheck(L, at + o.size <= size && o.size <= size, 2, "data string too short");
        luaL_checkstack(L, 2, "too many results");
        if (o.kind == 'i') unpack_integer(L, &o, text + at);
        else lua_pushlstring(L, text + at, o.size);
        at += o.size;
    }
    lua_pushinteger(L, (lua_Integer)at + 1);
    return lua_gettop(L) - 2;
}

void store_struct_open(lua_State *L)
{
    static const luaL_Reg functions[] = {{"pack", pack}, {"unpack", unpack}, {NULL, NULL}};
    luaL_register(L, "struct", functions);
    lua_pop(L, 1);
}
