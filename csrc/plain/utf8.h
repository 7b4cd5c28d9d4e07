/* SPDX-License-Identifier: MIT
 *
 * utf8.h: is it text?
 */
#ifndef FASTPG_UTF8_H
#define FASTPG_UTF8_H

#include <stddef.h>

/* True when the bytes are UTF-8 as PostgreSQL takes it: no surrogates, no overlong forms, no NUL. */
int fpg_valid_utf8(const char *s, size_t len);

#endif
