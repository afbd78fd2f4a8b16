/* SPDX-License-Identifier: MIT
 *
 * The Lua library `struct` as Redis gives it to scripts: pack and unpack, for the formats that are used here: < and >, the
 * integers b B h H i I l L with their sizes, and c with a size, or c0, whose size is the number before it.
 */
#ifndef LATCHKEY_SIM_STORE_STRUCT_H
#define LATCHKEY_SIM_STORE_STRUCT_H

#include <lua.h>

void store_struct_open(lua_State *L);

#endif
