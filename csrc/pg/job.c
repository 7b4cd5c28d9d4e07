/* SPDX-License-Identifier: MIT
 *
 * job.c: jobs, each done by a thread: asking a server to cancel (PQcancel connects, sends and
 * waits, all of it blocking), finding the addresses of a name (getaddrinfo), and giving back the memory of a big
 * result (a block of 2 kB after the other, and whole pages to the system).
 *
 *     Lua ── fastpg.job ──┐                         descriptor: readable from then on
 *                         ├── job (malloc) ── done ──────────────▶ whoever waits
 *   thread or queue ──────┘
 *
 * A job belongs to its *holders*, the userdata and the thread (or the queue): the last one frees it.
 * So a thread that hangs (a server that is silent) keeps no Lua state from closing, and a job that
 * nobody wants any more frees itself.  What a thread writes into a job it writes before `done`, and
 * nobody reads it earlier.
 *
 * At most MAX_THREADS run; what comes then waits in the queue, which threads empty before they end.
 * They are detached, have all signals blocked and never touch Lua.  The .so is linked so that it
 * stays loaded under them.
 *
 * After a fork the child has the memory and none of the threads: it counts anew (`epoch`), and takes
 * jobs of before as failed.  What a thread may have been writing to is not freed there.
 */
#include "job.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/eventfd.h>
#endif

#include "raise.h"

#define JOB_MT "fastpg.job"

enum {
  MAX_THREADS = 64,
  MAX_QUEUE = 4096,        /* cancels that nobody waits for are dropped from here on */
  STACK_BYTES = 256 * 1024, /* name resolution loads modules, which take their share */
  MAX_ADDRESSES = 64,
  ADDRESS_BYTES = 80,      /* an IPv6 address and its scope */
  BIG_RESULT = 2 << 20,    /* bytes: what is smaller costs less to clear than a thread to start */
  REPEAT_MILLISECONDS = 250,
  EXIT_MILLISECONDS = 2000 /* for the cancels under way when the process ends */
};

typedef struct job {
  struct job *next; /* in the queue */
  _Atomic int holders, done;
  unsigned epoch;
  int fd, signal_fd; /* two ends, of an eventfd the same; -1 where there is none */
  int nobody_waits;
  enum { CANCEL, RESOLVE, CLEAR } what;
  PGcancel *cancel;
  PGresult *garbage;
  fpg_taken *rows;
  int ok;
  char message[256]; /* why not */
  int naddresses;
  char (*addresses)[ADDRESS_BYTES];
  char name[];
} job;

/* ---- what all threads share --------------------------------------------------------------- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t parted = PTHREAD_COND_INITIALIZER; /* a cancel is done */
static job *first, **last = &first;
static int threads, queued, parting;
static unsigned epoch;

static void before_fork(void) { pthread_mutex_lock(&lock); }
static void after_fork(void) { pthread_mutex_unlock(&lock); }

static void in_child(void) {
  epoch++;
  first = NULL;
  last = &first;
  threads = queued = parting = 0;
  pthread_mutex_unlock(&lock);
}

/* A script that ends in the middle of a statement would else take the thread along that is about to
 * stop the server.  Trying the lock: exit may be called in a handler of a signal. */
static void at_exit(void) {
  struct timespec until;
  clock_gettime(CLOCK_REALTIME, &until);
  until.tv_nsec += EXIT_MILLISECONDS * 1000000L;
  until.tv_sec += until.tv_nsec / 1000000000L;
  until.tv_nsec %= 1000000000L;
  if (pthread_mutex_trylock(&lock)) return;
  while (parting && !pthread_cond_timedwait(&parted, &lock, &until)) continue;
  pthread_mutex_unlock(&lock);
}

static void watch_process(void) {
  pthread_atfork(before_fork, after_fork, in_child);
  atexit(at_exit);
}

/* ---- jobs --------------------------------------------------------------------------------- */

static void close_fds(job *j) {
  if (j->fd >= 0) close(j->fd);
  if (j->signal_fd >= 0 && j->signal_fd != j->fd) close(j->signal_fd);
  j->fd = j->signal_fd = -1;
}

static void drop(job *j) {
  if (--j->holders) return;
  close_fds(j);
  PQfreeCancel(j->cancel);
  PQclear(j->garbage);
  fpg_taken_drop(j->rows);
  free(j->addresses);
  free(j);
}

/* For one holder; NULL when there is no memory. */
static job *new_job(int what, const char *name, size_t len) {
  job *j = calloc(1, sizeof *j + len + 1);
  if (!j) return NULL;
  j->what = what;
  j->holders = 1;
  j->epoch = epoch;
  j->fd = j->signal_fd = -1;
  memcpy(j->name, name, len);
  return j;
}

static int open_fds(job *j) {
#ifdef __linux__
  j->fd = j->signal_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  return j->fd >= 0;
#else
  int fds[2];
  if (pipe(fds)) return 0;
  for (int i = 0; i < 2; i++) {
    fcntl(fds[i], F_SETFD, FD_CLOEXEC);
    fcntl(fds[i], F_SETFL, O_NONBLOCK);
  }
  j->fd = fds[0];
  j->signal_fd = fds[1];
  return 1;
#endif
}

static void tell(const job *j) {
  static const uint64_t one = 1; /* what an eventfd takes; a pipe takes it as well */
  if (j->signal_fd < 0) return;
  ssize_t n = write(j->signal_fd, &one, sizeof one);
  (void)n;
}

static void set_message(job *j, const char *text) {
  strncpy(j->message, text, sizeof j->message - 1);
}

/* ---- in the thread ------------------------------------------------------------------------ */

/* The server forgets a request that it gets between two messages of one statement (Bind, Execute): who
 * waits for the answer asks again, and for those whom nobody waits for it is done here. */
static void run_cancel(job *j) {
  static const struct timespec pause = {0, REPEAT_MILLISECONDS * 1000000L};
  j->ok = PQcancel(j->cancel, j->message, sizeof j->message);
  if (j->nobody_waits) {
    nanosleep(&pause, NULL);
    PQcancel(j->cancel, j->message, sizeof j->message);
  }
  PQfreeCancel(j->cancel);
  j->cancel = NULL;
}

/* The addresses of the list, as text, in its order. */
static void take_addresses(job *j, const struct addrinfo *list) {
  int n = 0;
  for (const struct addrinfo *a = list; a; a = a->ai_next) n++;
  if (n > MAX_ADDRESSES) n = MAX_ADDRESSES;
  j->addresses = calloc((size_t)n + 1, sizeof *j->addresses);
  if (!j->addresses) {
    set_message(j, "not enough memory");
    return;
  }
  for (const struct addrinfo *a = list; a && j->naddresses < n; a = a->ai_next) {
    if (a->ai_family != AF_INET && a->ai_family != AF_INET6) continue;
    char *text = j->addresses[j->naddresses];
    if (!getnameinfo(a->ai_addr, a->ai_addrlen, text, ADDRESS_BYTES, NULL, 0, NI_NUMERICHOST))
      j->naddresses++;
  }
  j->ok = j->naddresses > 0;
  if (!j->ok) set_message(j, "the name has no address");
}

/* flags: AI_NUMERICHOST does it without asking anybody.  Returns getaddrinfo's result. */
static int resolve(job *j, int flags) {
  struct addrinfo hints, *list = NULL;
  memset(&hints, 0, sizeof hints);
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags;
  int rc = getaddrinfo(j->name, NULL, &hints, &list);
  if (rc == 0)
    take_addresses(j, list);
  else
    set_message(j, gai_strerror(rc));
  if (list) freeaddrinfo(list);
  return rc;
}

static void run(job *j) {
  int cancel = j->what == CANCEL;
  if (cancel)
    run_cancel(j);
  else if (j->what == RESOLVE && j->holders > 1) /* else nobody wants to know any more */
    resolve(j, 0);
  j->done = 1;
  tell(j);
  drop(j);
  if (!cancel) return;
  pthread_mutex_lock(&lock);
  parting--;
  pthread_cond_signal(&parted);
  pthread_mutex_unlock(&lock);
}

/* The next of the queue; NULL ends the thread. */
static job *next_job(void) {
  pthread_mutex_lock(&lock);
  job *j = first;
  if (j) {
    queued--;
    first = j->next;
    if (!first) last = &first;
  } else {
    threads--;
  }
  pthread_mutex_unlock(&lock);
  return j;
}

static void *thread_main(void *arg) {
  for (job *j = arg; j; j = next_job()) run(j);
  return NULL;
}

/* ---- starting ----------------------------------------------------------------------------- */

static int start_thread(job *j) {
  pthread_t thread;
  pthread_attr_t attr;
  sigset_t all, before;
  size_t stack = STACK_BYTES;
  if (pthread_attr_init(&attr)) return 0;
#ifdef PTHREAD_STACK_MIN
  if (stack < (size_t)PTHREAD_STACK_MIN) stack = (size_t)PTHREAD_STACK_MIN;
#endif
  pthread_attr_setstacksize(&attr, stack);
  pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int rc = pthread_create(&thread, &attr, thread_main, j);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  pthread_attr_destroy(&attr);
  return rc == 0;
}

static void fail(job *j, const char *message) {
  set_message(j, message);
  j->done = 1;
}

/* Counts the job in: 0 when it was put into the queue, -1 when there is no room, 1: a thread is due. */
static int count_in(job *j) {
  int due = 1;
  pthread_mutex_lock(&lock);
  if (threads < MAX_THREADS) {
    threads++;
  } else if (j->nobody_waits && queued >= MAX_QUEUE) {
    due = -1;
  } else {
    due = 0;
    queued++;
    *last = j;
    last = &j->next;
  }
  if (j->what == CANCEL && due >= 0) parting++;
  pthread_mutex_unlock(&lock);
  return due;
}

static void count_out(const job *j) {
  pthread_mutex_lock(&lock);
  threads--;
  if (j->what == CANCEL) parting--;
  pthread_mutex_unlock(&lock);
}

/* Where no thread can be started the job is done at once, and has failed. */
static void start(job *j) {
  j->holders++;
  int due = count_in(j);
  if (due == 0 || (due > 0 && start_thread(j))) return;
  if (due > 0) count_out(j);
  PQfreeCancel(j->cancel);
  j->cancel = NULL;
  fail(j, "no thread can be started");
  drop(j);
}

static void start_with_fd(job *j) {
  if (open_fds(j))
    start(j);
  else
    fail(j, strerror(errno));
}

void fpg_cancel_later(PGcancel *cancel) {
  if (!cancel) return;
  job *j = new_job(CANCEL, "", 0);
  if (!j) {
    PQfreeCancel(cancel);
    return;
  }
  j->cancel = cancel;
  j->nobody_waits = 1;
  start(j);
  drop(j);
}

void fpg_clear_rows(PGresult *res, fpg_taken *taken, int at_once) {
  int shared = taken && taken->refs > 1;
  size_t bytes = PQresultMemorySize(res) + (taken && !shared ? taken->bytes : 0);
  job *j = !at_once && bytes >= BIG_RESULT ? new_job(CLEAR, "", 0) : NULL;
  if (shared || !j) {
    fpg_taken_drop(taken);
    taken = NULL;
  }
  if (!j) {
    PQclear(res);
    return;
  }
  j->garbage = res;
  j->rows = taken;
  j->nobody_waits = 1;
  start(j);
  drop(j); /* (the last holder clears it: here where there is no thread) */
}

/* ---- Lua ---------------------------------------------------------------------------------- */

static job **push_box(lua_State *L) {
  job **box = fpg_newuserdata(L, sizeof *box);
  *box = NULL;
  luaL_setmetatable(L, JOB_MT);
  return box;
}

static job *check_job(lua_State *L) {
  job **box = luaL_checkudata(L, 1, JOB_MT);
  if (!*box) luaL_argerror(L, 1, "the job is over");
  return *box;
}

/* Whether its thread is one of another process: it will never be done here. */
static int inherited(const job *j) { return j->epoch != epoch; }

static int job_gc(lua_State *L) {
  job **box = luaL_checkudata(L, 1, JOB_MT);
  job *j = *box;
  *box = NULL;
  if (!j) return 0;
  if (!inherited(j) || j->holders == 1)
    drop(j);
  else
    close_fds(j);
  return 0;
}

void fpg_push_cancel_job(lua_State *L, PGconn *pg) {
  job **box = push_box(L);
  job *j = *box = new_job(CANCEL, "", 0);
  if (!j) luaL_error(L, "not enough memory");
  j->cancel = PQgetCancel(pg);
  if (j->cancel)
    start_with_fd(j);
  else
    fail(j, "the connection is lost");
}

/* core.resolve_job(host) -> a job that finds the addresses of the name: its result is a list of
 * them, or nil and why not.  Of an address it is done at once. */
static int core_resolve_job(lua_State *L) {
  size_t len;
  const char *host = luaL_checklstring(L, 1, &len);
  if (strlen(host) != len) return luaL_argerror(L, 1, "a NUL byte in a name");
  job **box = push_box(L);
  job *j = *box = new_job(RESOLVE, host, len);
  if (!j) return luaL_error(L, "not enough memory");
  if (resolve(j, AI_NUMERICHOST) == 0)
    j->done = 1;
  else
    start_with_fd(j);
  return 1;
}

/* job:fd() -> a descriptor that is readable when the job is done */
static int job_fd(lua_State *L) {
  job *j = check_job(L);
  if (j->fd < 0) { /* done without a thread */
    if (!open_fds(j)) return fpg_raise(L, "connection", "no descriptor: %s", strerror(errno));
    tell(j);
  }
  lua_pushinteger(L, j->fd);
  return 1;
}

/* job:done() -> whether its result is there */
static int job_done(lua_State *L) {
  job *j = check_job(L);
  lua_pushboolean(L, j->done || inherited(j));
  return 1;
}

static int push_addresses(lua_State *L, const job *j) {
  lua_createtable(L, j->naddresses, 0);
  for (int i = 0; i < j->naddresses; i++) {
    lua_pushstring(L, j->addresses[i]);
    lua_rawseti(L, -2, i + 1);
  }
  return 1;
}

/* job:result() -> of a cancel true, or false and why not; of a name its addresses, or nil and why
 * not.  Nothing while it is not done. */
static int job_result(lua_State *L) {
  job *j = check_job(L);
  if (!j->done && !inherited(j)) return 0;
  if (j->done && j->ok) {
    if (j->what == RESOLVE) return push_addresses(L, j);
    lua_pushboolean(L, 1);
    return 1;
  }
  if (j->what == RESOLVE)
    lua_pushnil(L);
  else
    lua_pushboolean(L, 0);
  lua_pushstring(L, j->done ? j->message : "the thread belongs to another process");
  return 2;
}

static const luaL_Reg job_methods[] = {
    {"fd", job_fd},
    {"done", job_done},
    {"result", job_result},
    {NULL, NULL},
};

static const luaL_Reg core_functions[] = {
    {"resolve_job", core_resolve_job},
    {NULL, NULL},
};

void fpg_open_job(lua_State *L) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, watch_process);
  luaL_newmetatable(L, JOB_MT);
  lua_pushliteral(L, JOB_MT);
  lua_setfield(L, -2, "__name");
  lua_pushcfunction(L, job_gc);
  lua_setfield(L, -2, "__gc");
  lua_newtable(L);
  luaL_setfuncs(L, job_methods, 0);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
  luaL_setfuncs(L, core_functions, 0);
}
