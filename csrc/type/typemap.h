/* SPDX-License-Identifier: MIT
 *
 * typemap.h: the types of one database that are not built in: enums, domains, composite types,
 * ranges, extension types, and types whose codec the user set.
 *
 * A map is filled from Lua (fastpg.pg.type_lookup looks types up in the server's catalogs when a statement
 * first needs them).  Statements hold pointers into it and keep it alive; nothing in it is ever
 * changed once it is linked, so a type that is defined anew is a new entry.
 */
#ifndef FASTPG_TYPEMAP_H
#define FASTPG_TYPEMAP_H

#include "codec.h"

/* The map at idx; NULL where there is none (nil). */
const fpg_typemap *fpg_check_typemap(lua_State *L, int idx);

/* The type with that oid, of the map or built in; NULL when neither has it.  map may be NULL. */
const fpg_type *fpg_typemap_find(const fpg_typemap *map, uint32_t oid);

/* Both for the codecs: finding types, and the map as Lua knows it. */
extern const fpg_finder fpg_typemap_finder;

#endif
