/* SPDX-License-Identifier: MIT
 *
 * supervisor.c: a shell script (or the relay, relay_start.c) that outlives this process just long enough to tidy up after it.
 *
 *   Lua state ──fd── socketpair ──stdin+stdout── /bin/sh -c script    (own session, other user)
 *
 * The script reads its orders from the socket.  However this process ends (os.exit, a crash,
 * SIGKILL), the kernel closes our end, the script reads end-of-file, and does what it does then:
 * stop what it started, remove what it made.  Closing a supervisor sends the same end-of-file and
 * waits until the script has closed its own end.
 *
 * Our end is close-on-exec.  A plain fork (without exec) of this process keeps it open, so then
 * the end of the last of the two is the end; only the process that started a supervisor closes it.
 * Between fork and exec the child makes async-signal-safe calls only: all it needs is looked up
 * and laid out before.
 */
#include "supervisor.h"

#include "clock.h"
#include "number.h"
#include "raise.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#define SUPERVISOR_MT "fastpg.supervisor"
#define CLOSE_SECONDS 30 /* how long a close waits for the script to tidy up */
#define MAX_GROUPS 64

extern char **environ;

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0 /* macOS: SO_NOSIGPIPE instead */
#endif
#ifndef SOCK_CLOEXEC
#define SOCK_CLOEXEC 0 /* macOS: fcntl, a moment later */
#endif

typedef struct {
  int fd;      /* our end of the socket, -1 when closed */
  pid_t pid;   /* the script */
  pid_t owner; /* the process that started it */
  size_t len;  /* bytes in line */
  char line[1024];
} supervisor;

/* Whom the child becomes.  Groups are looked up before the fork: initgroups allocates. */
typedef struct {
  int change;
  uid_t uid;
  gid_t gid;
  int ngroups;
  gid_t groups[MAX_GROUPS];
} identity;

/* ---- the child ---------------------------------------------------------------------------- */

static void child_close_from(int first) {
#ifdef SYS_close_range
  if (syscall(SYS_close_range, (unsigned)first, UINT_MAX, 0) == 0) return;
#endif
  long most = sysconf(_SC_OPEN_MAX);
  if (most < 0 || most > 65536) most = 65536;
  for (int fd = first; fd < most; fd++) close(fd);
}

static void child_reset_signals(void) {
  struct sigaction dfl;
  memset(&dfl, 0, sizeof dfl);
  dfl.sa_handler = SIG_DFL;
  for (int sig = 1; sig < 32; sig++) sigaction(sig, &dfl, NULL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
}

_Noreturn static void child_fail(const char *what) {
  ssize_t ignored = write(1, what, strlen(what));
  (void)ignored;
  _exit(127);
}

/* Runs the file, or the program that is in descriptor 3. */
_Noreturn static void child_run(int in_memory, char *const *argv, char **envp) {
#ifdef SYS_execveat
  if (in_memory) syscall(SYS_execveat, 3, "", argv, envp, AT_EMPTY_PATH);
#endif
  if (in_memory) child_fail("cannot run a program from memory (memfd_create, execveat)\n-\n");
  execve(argv[0], argv, envp);
  child_fail("cannot run /bin/sh\n");
}

_Noreturn static void child_main(int fd, int program, const identity *who, char *const *argv, char **envp) {
  child_reset_signals();
  setsid();
  if (fd < 4) fd = fcntl(fd, F_DUPFD, 4);
  if (program >= 0 && program != 3 && dup2(program, 3) < 0) _exit(127);
  for (int i = 0; i < 3; i++)
    if (dup2(fd, i) < 0) _exit(127);
  if (program >= 0) fcntl(3, F_SETFD, FD_CLOEXEC);
  child_close_from(program >= 0 ? 4 : 3);
  if (chdir("/") < 0) child_fail("cannot change to /\n");
  if (who->change && (setgroups((size_t)who->ngroups, who->groups) < 0 || setgid(who->gid) < 0 ||
                      setuid(who->uid) < 0))
    child_fail("cannot drop root privileges\n");
  child_run(program >= 0, argv, envp);
}

/* ---- before the fork ---------------------------------------------------------------------- */

/* Root becomes the first of the users named in the table at idx that exists; others stay. */
static void find_identity(lua_State *L, int idx, identity *who) {
  memset(who, 0, sizeof *who);
  if (geteuid() != 0) return;
  for (int i = 1;; i++) {
    lua_rawgeti(L, idx, i);
    const char *name = lua_tostring(L, -1);
    if (!name) fpg_raise(L, "cluster", "no unprivileged user (postgres, nobody) to run as");
    const struct passwd *pw = getpwnam(name);
    if (pw && pw->pw_uid != 0) {
      who->change = 1;
      who->uid = pw->pw_uid;
      who->gid = pw->pw_gid;
      who->ngroups = MAX_GROUPS;
#ifdef __APPLE__
      who->groups[0] = who->gid;
      who->ngroups = 1;
#else
      if (getgrouplist(name, pw->pw_gid, who->groups, &who->ngroups) < 0) who->ngroups = MAX_GROUPS;
#endif
      lua_pop(L, 1);
      return;
    }
    lua_pop(L, 1);
  }
}

/* Pushes a userdata holding the environment less what would change the server or the shell, and
 * with `script`, an entry of its own (NULL: none). */
static char **push_environment(lua_State *L, const char *script) {
  size_t n = 0, kept = 0;
  while (environ && environ[n]) n++;
  char **envp = lua_newuserdata(L, sizeof *envp * (n + 2));
  for (size_t i = 0; i < n; i++) {
    if (strncmp(environ[i], "PG", 2) == 0 || strncmp(environ[i], "LD_PRELOAD=", 11) == 0 ||
        strncmp(environ[i], "ENV=", 4) == 0)
      continue;
    envp[kept++] = environ[i];
  }
  if (script) envp[kept++] = (char *)(uintptr_t)script;
  envp[kept] = NULL;
  return envp;
}

/* ---- the parent --------------------------------------------------------------------------- */

static supervisor *check_supervisor(lua_State *L) {
  supervisor *s = luaL_checkudata(L, 1, SUPERVISOR_MT);
  if (s->fd < 0) fpg_raise(L, "closed", "the cluster is closed");
  return s;
}

/* 1 when the socket can be read (or has ended), 0 when the deadline passed first. */
static int wait_readable(int fd, double deadline) {
  for (;;) {
    double left = deadline - fpg_clock();
    struct pollfd p = {.fd = fd, .events = POLLIN};
    int n = poll(&p, 1, fpg_milliseconds(left));
    if (n > 0) return 1;
    if (n == 0 || errno != EINTR) return 0;
  }
}

/* Starts a child with our end of a socket in a supervisor, which it pushes.  See supervisor.h. */
int fpg_supervise(lua_State *L, int users, const char *script, char *const *argv, int program) {
  supervisor *s = fpg_newuserdata(L, sizeof *s);
  memset(s, 0, sizeof *s);
  s->fd = -1;
  luaL_setmetatable(L, SUPERVISOR_MT);
  int object = lua_gettop(L);
  identity who;
  find_identity(L, users, &who);
  char **envp = push_environment(L, script);
  int fds[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
    return fpg_raise(L, "cluster", "socketpair: %s", strerror(errno));
  fcntl(fds[0], F_SETFD, FD_CLOEXEC);
  fcntl(fds[1], F_SETFD, FD_CLOEXEC);
#ifdef SO_NOSIGPIPE
  setsockopt(fds[0], SOL_SOCKET, SO_NOSIGPIPE, &(int){1}, sizeof(int));
#endif
  pid_t pid = fork();
  if (pid == 0) child_main(fds[1], program, &who, argv, envp);
  int error = errno;
  close(fds[1]);
  if (pid < 0) {
    close(fds[0]);
    return fpg_raise(L, "cluster", "fork: %s", strerror(error));
  }
  s->fd = fds[0];
  s->pid = pid;
  s->owner = getpid();
  lua_settop(L, object);
  return 1;
}

/* supervise(script, users) -> supervisor.  A root process runs it as the first of `users` that
 * exists.  The script goes by the environment so that `ps` shows one line. */
static int supervise(lua_State *L) {
  static char *const argv[] = {"/bin/sh", "-c", "eval \"$FASTPG_SCRIPT\"", "fastpg-supervisor", NULL};
  luaL_checkstring(L, 1);
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 2);
  const char *script = lua_pushfstring(L, "FASTPG_SCRIPT=%s", lua_tostring(L, 1));
  return fpg_supervise(L, 2, script, argv, -1);
}

/* s:send(line): an order to the script.  False when it is gone. */
static int supervisor_send(lua_State *L) {
  supervisor *s = check_supervisor(L);
  size_t len, sent = 0;
  const char *text = luaL_checklstring(L, 2, &len);
  while (sent < len) {
    ssize_t n = send(s->fd, text + sent, len - sent, MSG_NOSIGNAL);
    if (n < 0 && errno != EINTR) break;
    if (n > 0) sent += (size_t)n;
  }
  lua_pushboolean(L, sent == len);
  return 1;
}

/* Pushes the first n bytes of the line buffer and drops them and `skip` more. */
static int take_line(lua_State *L, supervisor *s, size_t n, size_t skip) {
  lua_pushlstring(L, s->line, n);
  s->len -= n + skip;
  memmove(s->line, s->line + n + skip, s->len);
  return 1;
}

/* s:receive(seconds) -> the next line of the script's output; nil when it ended; nil, "timeout". */
static int supervisor_receive(lua_State *L) {
  supervisor *s = check_supervisor(L);
  double deadline = fpg_clock() + fpg_check_seconds(L, 2);
  for (;;) {
    char *nl = memchr(s->line, '\n', s->len);
    if (nl) return take_line(L, s, (size_t)(nl - s->line), 1);
    if (s->len == sizeof s->line) return take_line(L, s, s->len, 0);
    if (!wait_readable(s->fd, deadline)) {
      lua_pushnil(L);
      lua_pushliteral(L, "timeout");
      return 2;
    }
    ssize_t n = recv(s->fd, s->line + s->len, sizeof s->line - s->len, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      if (s->len) return take_line(L, s, s->len, 0);
      lua_pushnil(L);
      return 1;
    }
    s->len += (size_t)n;
  }
}

/* Waits until the script has closed its end, which is the last thing it does. */
static int wait_for_end(int fd) {
  char drop[256];
  double deadline = fpg_clock() + CLOSE_SECONDS;
  while (wait_readable(fd, deadline)) {
    ssize_t n = recv(fd, drop, sizeof drop, 0);
    if (n == 0 || (n < 0 && errno != EINTR)) return 1;
  }
  return 0;
}

/* s:close(): ends the script and waits for it.  Harmless when closed.  True when it ended. */
static int supervisor_close(lua_State *L) {
  supervisor *s = luaL_checkudata(L, 1, SUPERVISOR_MT);
  int ended = 1;
  if (s->fd >= 0) {
    int fd = s->fd;
    s->fd = -1;
    if (s->owner == getpid()) {
      shutdown(fd, SHUT_WR);
      ended = wait_for_end(fd);
      while (ended && waitpid(s->pid, NULL, 0) < 0 && errno == EINTR) continue;
    }
    close(fd);
  }
  lua_pushboolean(L, ended);
  return 1;
}

/* s:finish(): the same without waiting: it has ended when `receive` gives nil without "timeout". */
static int supervisor_finish(lua_State *L) {
  supervisor *s = check_supervisor(L);
  if (s->owner == getpid()) shutdown(s->fd, SHUT_WR);
  return 0;
}

/* s:fd() -> the descriptor that can be read when there may be a line. */
static int supervisor_fd(lua_State *L) {
  lua_pushinteger(L, check_supervisor(L)->fd);
  return 1;
}

/* s:pid() -> the script's process id. */
static int supervisor_pid(lua_State *L) {
  supervisor *s = luaL_checkudata(L, 1, SUPERVISOR_MT);
  lua_pushinteger(L, (lua_Integer)s->pid);
  return 1;
}

/* s:closed() -> true after close. */
static int supervisor_closed(lua_State *L) {
  supervisor *s = luaL_checkudata(L, 1, SUPERVISOR_MT);
  lua_pushboolean(L, s->fd < 0);
  return 1;
}

static const luaL_Reg methods[] = {
    {"send", supervisor_send},
    {"receive", supervisor_receive},
    {"finish", supervisor_finish},
    {"close", supervisor_close},
    {"fd", supervisor_fd},
    {"pid", supervisor_pid},
    {"closed", supervisor_closed},
    {"__gc", supervisor_close},
    {NULL, NULL},
};

void fpg_open_supervisor(lua_State *L) {
  luaL_newmetatable(L, SUPERVISOR_MT);
  luaL_setfuncs(L, methods, 0);
  lua_pushvalue(L, -1);
  lua_setfield(L, -2, "__index");
  lua_pushliteral(L, SUPERVISOR_MT);
  lua_setfield(L, -2, "__name");
  lua_pop(L, 1);
  lua_pushcfunction(L, supervise);
  lua_setfield(L, -2, "supervise");
}
