/* SPDX-License-Identifier: MIT
 *
 * compiled.c: the Lua files of the library as the compiler leaves them, which `make` puts into the .so (tools/compile.lua):
 * compiling their text takes thirty times as long as loading that, and most of the time of `require "fastpg"`.
 *
 * A compiled form is a memory of its text and never takes its place: the text lies beside it, and only where the file
 * holds just that, byte for byte, is the compiled form what is run.  What belongs to another Lua's compiler is not used
 * at all (lua/fastpg/load_core.lua compares).
 *
 * What the tool writes:
 *
 *     version of the Lua \n
 *     file's name \n  length of text, of head, of tail \n  text, head, tail      for each file
 *
 * Head and tail are of string.dump's result: between them stands the name of the chunk, which is the path under which the
 * file was found.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "compat.h"

#ifdef __APPLE__
#define SECTION ".const_data\n"
#define SYMBOL(name) "_" name
#else
#define SECTION ".section .rodata\n"
#define SYMBOL(name) name
#endif

/* FPG_COMPILED is the file's name, by the Makefile. */
__asm__(SECTION SYMBOL("fpg_compiled") ":\n.incbin \"" FPG_COMPILED
                                       "\"\n" SYMBOL("fpg_compiled_end") ":\n.byte 0\n.text\n");
extern const char fpg_compiled[] __attribute__((visibility("hidden")));
extern const char fpg_compiled_end[] __attribute__((visibility("hidden")));

typedef struct {
  const char *name, *text, *head, *tail;
  size_t name_len, text_len, head_len, tail_len;
} compiled_file;

static const char *end_of_line(const char *at) {
  const char *end = memchr(at, '\n', (size_t)(fpg_compiled_end - at));
  return end ? end : fpg_compiled_end;
}

/* The file at `at`; the next one's place, or NULL where there is none.  What is read was written by the tool. */
static const char *read_entry(const char *at, compiled_file *f) {
  if (at >= fpg_compiled_end) return NULL;
  const char *end = end_of_line(at);
  f->name = at;
  f->name_len = (size_t)(end - at);
  char *after;
  f->text_len = strtoul(end + 1, &after, 10);
  f->head_len = strtoul(after, &after, 10);
  f->tail_len = strtoul(after, &after, 10);
  f->text = after + 1;
  f->head = f->text + f->text_len;
  f->tail = f->head + f->head_len;
  return f->tail + f->tail_len;
}

/* core.compiled_files() -> the version of the Lua that compiled, { [name] = place }; nil where nothing was compiled */
static int core_compiled_files(lua_State *L) {
  if (end_of_line(fpg_compiled) == fpg_compiled_end) return 0;
  const char *at = end_of_line(fpg_compiled);
  lua_pushlstring(L, fpg_compiled, (size_t)(at - fpg_compiled));
  lua_createtable(L, 0, 128);
  compiled_file f;
  for (at++;;) {
    lua_Number place = (lua_Number)(at - fpg_compiled);
    if ((at = read_entry(at, &f)) == NULL) return 2;
    lua_pushlstring(L, f.name, f.name_len);
    lua_pushnumber(L, place);
    lua_rawset(L, -3);
  }
}

static void entry_at(lua_State *L, int idx, compiled_file *f) {
  lua_Number place = luaL_checknumber(L, idx);
  luaL_argcheck(L, place >= 0 && place < (lua_Number)(fpg_compiled_end - fpg_compiled), idx,
                "no place");
  read_entry(fpg_compiled + (size_t)place, f);
}

/* core.compiled_text(place) -> the text that was compiled, what is before the chunk's name, and what is behind it */
static int core_compiled_text(lua_State *L) {
  compiled_file f;
  entry_at(L, 1, &f);
  lua_pushlstring(L, f.text, f.text_len);
  lua_pushlstring(L, f.head, f.head_len);
  lua_pushlstring(L, f.tail, f.tail_len);
  return 3;
}

/* Does the file hold this text? */
static int holds(const char *path, const char *text, size_t len) {
  char piece[16384];
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  ssize_t got;
  while ((got = read(fd, piece, sizeof piece)) > 0 || (got < 0 && errno == EINTR)) {
    if (got < 0) continue;
    if ((size_t)got > len || memcmp(piece, text, (size_t)got) != 0) break;
    text += got;
    len -= (size_t)got;
  }
  close(fd);
  return got == 0 && len == 0;
}

/* What lua_load is given, piece by piece. */
typedef struct {
  const char *piece[4];
  size_t len[4];
  int next;
} pieces;

static const char *next_piece(lua_State *L, void *data, size_t *len) {
  pieces *p = data;
  (void)L;
  while (p->next < 4 && p->len[p->next] == 0) p->next++;
  if (p->next == 4) return NULL;
  *len = p->len[p->next];
  return p->piece[p->next++];
}

/* core.holds_compiled(place, path) -> does the file hold what was compiled? */
static int core_holds_compiled(lua_State *L) {
  compiled_file f;
  entry_at(L, 1, &f);
  lua_pushboolean(L, holds(luaL_checkstring(L, 2), f.text, f.text_len));
  return 1;
}

/* core.load_compiled(place, path, [known]) -> the function of the file, or nil where the file there holds something else,
 * can't be read, or the compiled form is not this Lua's.  `known`: it held that before, and is not looked at again. */
static int core_load_compiled(lua_State *L) {
  compiled_file f;
  entry_at(L, 1, &f);
  const char *path = luaL_checkstring(L, 2);
  if (!lua_toboolean(L, 3) && !holds(path, f.text, f.text_len)) return 0;
  lua_pushfstring(L, "@%s", path);
  size_t len;
  const char *name = lua_tolstring(L, -1, &len);
  char before[FPG_DUMPED_LENGTH];
  pieces p = {{f.head, before, name, f.tail},
              {f.head_len, fpg_dumped_length(before, len), len, f.tail_len},
              0};
  if (fpg_load_binary(L, next_piece, &p, name) == 0) return 1;
  lua_pushnil(L);
  return 1;
}

void fpg_open_compiled(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"compiled_files", core_compiled_files},
      {"compiled_text", core_compiled_text},
      {"holds_compiled", core_holds_compiled},
      {"load_compiled", core_load_compiled},
      {NULL, NULL},
  };
  luaL_setfuncs(L, functions, 0);
}
