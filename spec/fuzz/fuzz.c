/* SPDX-License-Identifier: MIT
 *
 * fuzz.c: a fuzzer for functions of Lua that call the core: changes inputs, keeps those that reach
 * code no input reached before, goes on from there.  Linked into the core of `make fuzz`, which is
 * compiled with -fsanitize-coverage=trace-pc: the compiler calls __sanitizer_cov_trace_pc in every
 * basic block.
 *
 *   fuzz.run(fn, seeds, { seconds =, keep =, seed =, current = path }) -> executions, kept, message
 *
 * fn(input) throws where it finds something: message is what.  `current` is a file that holds the
 * input being run (its length as 8 bytes, then the bytes): it outlives a crash.  The first `keep`
 * bytes of an input are never changed.  The same seed gives the same inputs.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "../../csrc/lua/compat.h"

enum { LONGEST = 2048, MAP = 1 << 16, HANGS_AFTER = 30 /* seconds for 64 inputs */ };

/* ---- what code was reached ---------------------------------------------------------------- */

static unsigned char reached[MAP];
static int watching, fresh;
static uintptr_t before;

void __sanitizer_cov_trace_pc(void);

/* Marks the step from one block to the next, independent of where the library lies in memory. */
void __sanitizer_cov_trace_pc(void) {
  if (!watching) return;
  uintptr_t here = (uintptr_t)__builtin_return_address(0) - (uintptr_t)&__sanitizer_cov_trace_pc;
  uintptr_t at = (here ^ (before * 31)) % MAP;
  before = here;
  if (reached[at]) return;
  reached[at] = 1;
  fresh = 1;
}

/* ---- changing an input -------------------------------------------------------------------- */

typedef struct fuzzer {
  uint64_t random;
  size_t keep, len;
  char *input; /* in the mapped file, behind its length */
  const char *file;
} fuzzer;

static uint32_t below(fuzzer *f, size_t n) {
  f->random ^= f->random << 13;
  f->random ^= f->random >> 7;
  f->random ^= f->random << 17;
  return n ? (uint32_t)((f->random >> 20) % n) : 0;
}

/* Puts n bytes in the place of `gone` at `at`. */
static void put_in(fuzzer *f, size_t at, size_t gone, const char *bytes, size_t n) {
  char copy[LONGEST];
  if (n > LONGEST) n = LONGEST;
  memcpy(copy, bytes, n);
  if (gone > f->len - at) gone = f->len - at;
  if (f->len - gone + n > LONGEST) return;
  memmove(f->input + at + n, f->input + at + gone, f->len - at - gone);
  memcpy(f->input + at, copy, n);
  f->len += n - gone;
}

/* clang-format off */
static const char *const words[] = {
    "{", "}", "[", "]", "(", ")", ",", ";", ":", "=", "\"", "'", "\\", "\"\"", "\\\"", "''", "\n",
    "--", "/*", "*/", "$1", "?", "\\?", "::", ":x", "$a$", "$$", "E'", "U&\"", "UESCAPE", "NULL",
    "null", "true", "[]", "{}", "()", "e5", "E-9", ".", "-", "+", "0", "9", "99999999999999999999",
    "infinity", "-infinity", "NaN", " BC", "24:00:00", "2024-02-29", "294276-12-31", "4713-01-01",
    ":60", "+15:59:59", " year ", " mons ", "P1Y", "T", "Z", "=>", "empty", "\\u0000", "\\ud83d",
    "\\udc18", "\xc3\xa9", "\xff", "\xf0\x9f\x90\x98", "a", " ", "<", ">", "&", "|", "!", "WITH",
    "UPDATE", "BEGIN ATOMIC", "END", "CASE", "SELECT",
};
/* clang-format on */

static const uint32_t numbers[] = {
    0,       1,          2,          3,          4,          6,         7,      8,
    16,      23,         25,         114,        127,        128,       255,    256,
    600,     1700,       2249,       0x4000,     0x7fff,     0x8000,    0xc000, 0xffff,
    0x10000, 0x7ffffffe, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff};

static void put_number(fuzzer *f, size_t at) {
  uint32_t n =
      below(f, 3) ? numbers[below(f, sizeof numbers / sizeof *numbers)] : below(f, f->len + 8);
  size_t size = below(f, 3) ? 4 : 2;
  char bytes[4];
  for (size_t i = 0; i < size; i++) bytes[i] = (char)(n >> 8 * (size - 1 - i));
  put_in(f, at, below(f, 4) ? size : 0, bytes, size);
}

static void change(fuzzer *f, const char *other, size_t other_len) {
  size_t room = f->len - f->keep;
  size_t at = f->keep + below(f, room + 1);
  size_t n = 1 + below(f, below(f, 4) ? 8 : room + 1);
  const char *word = words[below(f, sizeof words / sizeof *words)];
  char byte = (char)below(f, 256);
  switch (below(f, 10)) {
    case 0: /* a bit */
      if (at < f->len) f->input[at] ^= (char)(1 << below(f, 8));
      break;
    case 1: put_in(f, at, 1, &byte, 1); break;
    case 2: put_in(f, at, 0, &byte, 1); break;
    case 3: put_in(f, at, n, "", 0); break;
    case 4: put_in(f, at, 0, word, strlen(word)); break;
    case 5: put_in(f, at, strlen(word), word, strlen(word)); break;
    case 6:
    case 7: put_number(f, at); break;
    case 8: { /* a piece of itself once more, some place else */
      size_t from = f->keep + below(f, room + 1);
      if (n > f->len - from) n = f->len - from;
      put_in(f, at, below(f, 2) ? n : 0, f->input + from, n);
      break;
    }
    default: { /* a piece of another */
      if (other_len <= f->keep) return;
      size_t from = f->keep + below(f, other_len - f->keep);
      if (n > other_len - from) n = other_len - from;
      put_in(f, at, below(f, 2) ? n : 0, other + from, n);
    }
  }
}

/* ---- running ------------------------------------------------------------------------------ */

enum { FN = 1, CORPUS, OPTIONS }; /* on the stack; the corpus begins as the seeds */

static void take(fuzzer *f, const char *bytes, size_t len) {
  f->len = len > LONGEST ? LONGEST : len;
  memcpy(f->input, bytes, f->len);
}

/* Runs fn with the input; 0, or 1 with a message on the stack. An input that reached new code
 * goes to the corpus. */
static int run_one(lua_State *L, fuzzer *f) {
  uint64_t len = f->len;
  memcpy(f->input - sizeof len, &len, sizeof len);
  lua_pushvalue(L, FN);
  lua_pushlstring(L, f->input, f->len);
  lua_pushvalue(L, -1);
  lua_insert(L, -3); /* input, fn, input */
  fresh = 0;
  before = 0;
  watching = 1;
  int failed = lua_pcall(L, 1, 0, 0) != 0;
  watching = 0;
  if (failed) return 1;
  if (fresh)
    lua_rawseti(L, CORPUS, (int)lua_rawlen(L, CORPUS) + 1);
  else
    lua_pop(L, 1);
  return 0;
}

/* Pushes an input of the corpus, the later ones more often. */
static const char *choose(lua_State *L, fuzzer *f, size_t *len) {
  size_t n = lua_rawlen(L, CORPUS), i = below(f, n);
  if (below(f, 3) == 0) i = n - 1 - below(f, n < 50 ? n : 50);
  lua_rawgeti(L, CORPUS, (int)i + 1);
  return lua_tolstring(L, -1, len);
}

static void next_input(lua_State *L, fuzzer *f) {
  size_t len, other_len;
  const char *base = choose(L, f, &len), *other = choose(L, f, &other_len);
  take(f, base, len);
  for (uint32_t i = below(f, below(f, 3) ? 3 : 12) + 1; i; i--) change(f, other, other_len);
  lua_pop(L, 2);
}

static lua_Number field(lua_State *L, const char *name) {
  lua_getfield(L, OPTIONS, name);
  lua_Number v = lua_tonumber(L, -1);
  lua_pop(L, 1);
  return v;
}

static void map_file(lua_State *L, fuzzer *f) {
  lua_getfield(L, OPTIONS, "current");
  f->file = luaL_checkstring(L, -1);
  int fd = open(f->file, O_RDWR | O_CREAT | O_TRUNC, 0666);
  void *map = MAP_FAILED;
  if (fd >= 0 && ftruncate(fd, LONGEST + 8) == 0)
    map = mmap(NULL, LONGEST + 8, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (fd >= 0) close(fd);
  if (map == MAP_FAILED) luaL_error(L, "can't write %s", f->file);
  f->input = (char *)map + 8;
  lua_pop(L, 1);
}

static int fuzz_run(lua_State *L) {
  fuzzer f = {0};
  luaL_checktype(L, 1, LUA_TFUNCTION);
  luaL_checktype(L, 2, LUA_TTABLE);
  luaL_checktype(L, 3, LUA_TTABLE);
  lua_settop(L, 3);
  map_file(L, &f);
  f.keep = (size_t)field(L, "keep");
  f.random = (uint64_t)field(L, "seed") * 2654435761u + 88172645463325252u;
  lua_Number seconds = field(L, "seconds"); /* 0: the seeds only */
  time_t end = time(NULL) + (time_t)seconds;
  double executions = 0;
  int failed = 0;
  size_t n = lua_rawlen(L, CORPUS); /* all seeds first */
  for (size_t i = 1; i <= n && !failed; i++) {
    size_t len;
    lua_rawgeti(L, CORPUS, (int)i);
    const char *bytes = lua_tolstring(L, -1, &len);
    take(&f, bytes, len);
    lua_pop(L, 1);
    alarm(HANGS_AFTER);
    failed = run_one(L, &f);
    executions++;
  }
  while (!failed && seconds > 0) {
    if ((int64_t)executions % 64 == 0) {
      if (time(NULL) >= end) break;
      alarm(HANGS_AFTER);
    }
    do next_input(L, &f);
    while (f.len < f.keep);
    failed = run_one(L, &f);
    executions++;
  }
  alarm(0);
  munmap(f.input - 8, LONGEST + 8);
  lua_pushnumber(L, executions);
  lua_pushnumber(L, (lua_Number)(lua_rawlen(L, CORPUS) - n));
  if (failed)
    lua_pushvalue(L, -3);
  else
    lua_pushnil(L);
  return 3;
}

__attribute__((visibility("default"))) int luaopen_fuzz(lua_State *L);

int luaopen_fuzz(lua_State *L) {
  lua_newtable(L);
  lua_pushcfunction(L, fuzz_run);
  lua_setfield(L, -2, "run");
  return 1;
}
