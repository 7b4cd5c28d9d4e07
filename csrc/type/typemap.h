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

#include "types.h"

/* The map at idx; NULL where there is none (nil). */
const fpg_typemap *fpg_check_typemap(lua_State *L, int idx);

/* The type with that oid, of the map or built in; NULL when neither has it.  map may be NULL. */
const fpg_type *fpg_typemap_find(const fpg_typemap *map, uint32_t oid);

/* Pushes the map of a statement that is at work, nil for none. */
void fpg_typemap_push(lua_State *L, const fpg_typemap *map);

/* Codecs of what only a map has, in codec_composite.c, range.c and usercodec.c. */
fpg_decode_fn fpg_composite_decode_binary, fpg_composite_decode_text;
fpg_encode_fn fpg_composite_encode, fpg_composite_encode_text;
fpg_decode_fn fpg_user_decode_text;
fpg_encode_fn fpg_user_encode;

#endif
