/* SPDX-License-Identifier: MIT
 *
 * random_text.c: names that nobody else has.
 */
#include <sys/random.h> /* getentropy, on macOS */
#include <unistd.h>

#include "compat.h"

/* core.random_text() -> 13 letters and digits, 65 bits by chance: nobody else has them, in whatever process, nor had them
 * before a fork */
static int core_random_text(lua_State *L) {
  static const char digits[] = "abcdefghijklmnopqrstuvwxyz234567";
  unsigned char bytes[13];
  if (getentropy(bytes, sizeof bytes)) return luaL_error(L, "the system gives no random bytes");
  for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (unsigned char)digits[bytes[i] & 31];
  lua_pushlstring(L, (const char *)bytes, sizeof bytes);
  return 1;
}

void fpg_open_random_text(lua_State *L) {
  lua_pushcfunction(L, core_random_text);
  lua_setfield(L, -2, "random_text");
}
