/* SPDX-License-Identifier: MIT
 *
 * zone.h: the time zones of a Lua state.
 */
#ifndef FASTPG_ZONE_H
#define FASTPG_ZONE_H

#include "compat.h"
#include "tz.h"

/* The zone of that name, NULL when it can't be loaded (now).  It lives as long as the Lua state. */
const fpg_tz *fpg_zone(lua_State *L, const char *name);

#endif
