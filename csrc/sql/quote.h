/* SPDX-License-Identifier: MIT
 *
 * quote.h: names and strings in SQL text.
 */
#ifndef FASTPG_QUOTE_H
#define FASTPG_QUOTE_H

#include "buffer.h"

/* Appends s as an identifier, always in quotes.  Raises invalid_argument when it holds a NUL or is
 * not UTF-8.  Any length: the server judges (it truncates at 63 bytes). */
void fpg_put_ident(lua_State *L, fpg_buf *b, const char *s, size_t len);

/* Appends s as a string literal, as the server's quote_literal writes it: E'' with doubled
 * backslashes when there is one, so that it reads the same whatever standard_conforming_strings
 * says.  Raises as above. */
void fpg_put_literal(lua_State *L, fpg_buf *b, const char *s, size_t len);

#endif
