/* SPDX-License-Identifier: MIT
 *
 * types.h: the built-in types.
 */
#ifndef FASTPG_TYPES_H
#define FASTPG_TYPES_H

#include "codec.h"

/* The built-in type (or array type) with this oid, or NULL. */
const fpg_type *fpg_type_find(uint32_t oid);

#endif
