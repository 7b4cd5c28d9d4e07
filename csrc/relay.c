/* SPDX-License-Identifier: MIT
 *
 * relay.c: the network of a cluster with standbys: a program of its own, which csrc/host/relay_start.c carries inside the
 * .so and starts.  Whoever wants a server of the cluster comes by it, standbys to their primary, too, so that it can
 * be cut off (pg:partition).
 *
 *     clients ── dir/1/.s.PGSQL.5432 ──────────┐
 *                                            relay ── dir/1/server/.s.PGSQL.5432 ── server 1
 *     server 2 ── dir/2/upstream/.s.PGSQL.5432 ┘     (2 follows 1; another one after a promotion)
 *
 * A server that is cut off is one whose packets are all lost: nothing is read, nothing is sent, and no end of a connection
 * is told, in both directions.  A connection that is new then is taken and gets no answer.  When the network is there
 * again, what had been sent arrives, as TCP's own repeating has it; connections that were given up meanwhile end.
 *
 * Orders are lines on standard input; each is answered by "+", or by what is wrong and "-".  It ends with its input.
 *
 *     server 1 5432 /tmp/x/1    there is such a server; its two sockets are made; nobody listens to clients yet
 *     up 1, down 1              clients find somebody who listens, or are refused
 *     follow 2 1, follow 1 -1   where connections of the server's own go from now on; the others of its end
 *     partition 1, heal 1
 *
 * Each direction of a link has one buffer: what is read is written on, and nothing is read before it is.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define SERVERS 16
#define BUFFER 16384
#define ROUNDS 8   /* buffers of one direction before others have a turn */
#define RETRY_MS 5 /* after which a server whose queue was full is asked again */
#define BACKLOG 512

enum { TO_SERVER, FROM_SERVER };    /* the two directions of a link, by the end that is read: 0 is who came */
enum { LISTENER, LINK_END, ORDERS }; /* what a descriptor is to epoll */

typedef struct {
  int kind;
} watched;

struct link;

typedef struct {
  watched w; /* LINK_END */
  struct link *of;
  int fd;          /* -1: not connected yet */
  uint32_t events; /* what epoll knows of it; 0: nothing */
  int ended;       /* nothing more comes from it */
  int deaf;        /* what is sent to it is lost */
  size_t start, len;
  char buffer[BUFFER]; /* came from it, and goes to the other end */
} end;

typedef struct link {
  end ends[2];
  int owner;   /* whose listener it came by */
  int target;  /* the server that it leads to */
  int follows; /* the owner's own connection to its primary */
  int dead;
  struct link *next;
} link_t;

typedef struct {
  watched w; /* LISTENER */
  int fd, owner, follows;
  struct sockaddr_un at;
} listener;

typedef struct {
  int known, up, partitioned, follows;
  listener clients, upstream;
  struct sockaddr_un own;
} server;

static server servers[SERVERS];
static link_t *links;
static int epoll;
static int waiting; /* links without a server: its queue was full */
static watched orders = {ORDERS};

/* ---- links -------------------------------------------------------------------------------- */

static void watch(end *e, uint32_t events) {
  if (e->events == events || e->fd < 0) return;
  struct epoll_event event = {.events = events, .data = {.ptr = e}};
  epoll_ctl(epoll, !events ? EPOLL_CTL_DEL : e->events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, e->fd, &event);
  e->events = events;
}

static int is_frozen(const link_t *l) {
  return servers[l->owner].partitioned || servers[l->target].partitioned;
}

/* Freed after the events that are at hand. */
static void kill_link(link_t *l) {
  for (int i = 0; i < 2; i++) {
    watch(&l->ends[i], 0);
    if (l->ends[i].fd >= 0) close(l->ends[i].fd);
    l->ends[i].fd = -1;
  }
  l->dead = 1;
}

static void free_dead_links(void) {
  for (link_t **at = &links; *at;) {
    link_t *l = *at;
    if (l->dead) {
      *at = l->next;
      free(l);
    } else {
      at = &l->next;
    }
  }
}

/* One piece from `from` on to `to`; 1 when there may be more. */
static int move(end *from, end *to) {
  if (from->len == 0 && !from->ended) {
    ssize_t n = recv(from->fd, from->buffer, BUFFER, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return errno == EINTR;
    if (n <= 0)
      from->ended = 1;
    else
      from->len = (size_t)n, from->start = 0;
  }
  if (to->deaf) from->len = 0;
  if (from->len == 0) return !from->ended;
  ssize_t n = send(to->fd, from->buffer + from->start, from->len, MSG_NOSIGNAL);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return errno == EINTR;
  if (n < 0) {
    to->deaf = 1; /* it has closed: what it said before is still to be read */
    from->len = 0;
    return 1;
  }
  from->start += (size_t)n;
  from->len -= (size_t)n;
  return 1;
}

/* Passes on what there is, and waits for more.  The link ends when one end has, and the other has got all of it. */
static void pump(link_t *l) {
  if (l->dead || l->ends[1].fd < 0 || is_frozen(l)) return;
  for (int way = TO_SERVER; way <= FROM_SERVER; way++) {
    end *from = &l->ends[way], *to = &l->ends[1 - way];
    for (int i = 0; i < ROUNDS && move(from, to); i++) continue;
    if (from->ended && from->len == 0) {
      kill_link(l);
      return;
    }
  }
  for (int i = 0; i < 2; i++) {
    end *e = &l->ends[i];
    watch(e, (e->len == 0 && !e->ended ? EPOLLIN : 0) | (l->ends[1 - i].len > 0 ? EPOLLOUT : 0));
  }
}

static int new_socket(void) {
  return socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

/* Connects to the server, or ends the link. */
static void connect_link(link_t *l) {
  int fd = new_socket();
  const struct sockaddr_un *to = &servers[l->target].own;
  if (fd >= 0 && connect(fd, (const struct sockaddr *)to, sizeof *to) == 0) {
    l->ends[1].fd = fd;
    pump(l);
    return;
  }
  int full = fd >= 0 && (errno == EAGAIN || errno == EINTR);
  if (fd >= 0) close(fd);
  if (full)
    waiting = 1;
  else
    kill_link(l);
}

/* A server that goes elsewhere has closed its connection to the one that it followed: which hears of it if it can. */
static int is_left(const link_t *l) {
  return l->follows && servers[l->owner].follows != l->target && !servers[l->owner].partitioned;
}

static void leave(link_t *l) {
  if (l->ends[0].fd >= 0) close(l->ends[0].fd);
  l->ends[0].fd = -1;
}

/* The network may have gone or come: what each link does from here on. */
static void look_again(void) {
  waiting = 0;
  for (link_t *l = links; l; l = l->next) {
    if (l->dead) continue;
    if (is_frozen(l)) {
      for (int i = 0; i < 2; i++) watch(&l->ends[i], 0);
      if (is_left(l)) leave(l);
    } else if (is_left(l) || l->ends[0].fd < 0) {
      kill_link(l);
    } else if (l->ends[1].fd < 0) {
      connect_link(l);
    } else {
      pump(l);
    }
  }
}

static void accept_link(listener *from) {
  int fd = accept4(from->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (fd < 0) {
    if (errno == EMFILE || errno == ENFILE || errno == ENOMEM) usleep(RETRY_MS * 1000);
    return;
  }
  int target = from->follows ? servers[from->owner].follows : from->owner;
  link_t *l = target >= 0 ? calloc(1, sizeof *l) : NULL;
  if (!l) {
    close(fd);
    return;
  }
  l->owner = from->owner;
  l->target = target;
  l->follows = from->follows;
  for (int i = 0; i < 2; i++) {
    l->ends[i].w.kind = LINK_END;
    l->ends[i].of = l;
    l->ends[i].fd = i == 0 ? fd : -1;
  }
  l->next = links;
  links = l;
  if (!is_frozen(l)) connect_link(l);
}

/* ---- listening ---------------------------------------------------------------------------- */

static int listen_at(listener *l) {
  if (l->fd >= 0) return 0;
  int fd = new_socket();
  struct epoll_event event = {.events = EPOLLIN, .data = {.ptr = l}};
  unlink(l->at.sun_path);
  if (fd < 0 || bind(fd, (const struct sockaddr *)&l->at, sizeof l->at) < 0 || listen(fd, BACKLOG) < 0 ||
      epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0) {
    int error = errno;
    if (fd >= 0) close(fd);
    errno = error;
    return -1;
  }
  l->fd = fd;
  return 0;
}

/* The file stays: who comes is refused, as by a server that crashed. */
static void stop_listening(listener *l) {
  if (l->fd >= 0) close(l->fd);
  l->fd = -1;
}

/* A server that is cut off seems to be there, whether it runs or not. */
static int set_listening(server *s) {
  if (s->up || s->partitioned) return listen_at(&s->clients);
  stop_listening(&s->clients);
  return 0;
}

static int put_path(struct sockaddr_un *at, const char *dir, const char *below, int port) {
  memset(at, 0, sizeof *at);
  at->sun_family = AF_UNIX;
  int n = snprintf(at->sun_path, sizeof at->sun_path, "%s%s/.s.PGSQL.%d", dir, below, port);
  if (n > 0 && (size_t)n < sizeof at->sun_path) return 0;
  errno = ENAMETOOLONG;
  return -1;
}

static void make_listener(listener *l, int owner, int follows) {
  l->w.kind = LISTENER;
  l->fd = -1;
  l->owner = owner;
  l->follows = follows;
}

static int add_server(int number, int port, const char *dir) {
  server *s = &servers[number];
  if (s->known || put_path(&s->clients.at, dir, "", port) || put_path(&s->upstream.at, dir, "/upstream", port) ||
      put_path(&s->own, dir, "/server", port))
    return -1;
  make_listener(&s->clients, number, 0);
  make_listener(&s->upstream, number, 1);
  s->follows = -1;
  s->known = 1;
  return listen_at(&s->upstream);
}

/* ---- orders ------------------------------------------------------------------------------- */

/* 0, or -1 and errno. */
static int obey(char *line) {
  char name[16];
  int number, other, at = 0;
  errno = EINVAL;
  if (sscanf(line, "%15s %d%n", name, &number, &at) < 2 || number < 0 || number >= SERVERS) return -1;
  server *s = &servers[number];
  char *rest = line + at;
  if (strcmp(name, "server") == 0) {
    if (sscanf(rest, "%d%n", &other, &at) < 1 || rest[at] != ' ') return -1;
    return add_server(number, other, rest + at + 1);
  }
  if (!s->known) return -1;
  if (strcmp(name, "follow") == 0) {
    if (sscanf(rest, "%d", &other) < 1 || other >= SERVERS) return -1;
    s->follows = other;
  } else if (strcmp(name, "up") == 0) {
    s->up = 1;
  } else if (strcmp(name, "down") == 0) {
    s->up = 0;
  } else if (strcmp(name, "partition") == 0) {
    s->partitioned = 1;
  } else if (strcmp(name, "heal") == 0) {
    s->partitioned = 0;
  } else {
    return -1;
  }
  look_again();
  return set_listening(s);
}

static void say(const char *text) {
  while (*text) {
    ssize_t n = write(1, text, strlen(text));
    if (n < 0 && errno != EINTR) exit(1);
    if (n > 0) text += n;
  }
}

static void read_orders(void) {
  static char text[512];
  static size_t len;
  ssize_t n = read(0, text + len, sizeof text - 1 - len);
  if (n < 0 && errno == EINTR) return;
  if (n <= 0) exit(0);
  len += (size_t)n;
  text[len] = '\0';
  for (char *nl; (nl = strchr(text, '\n')) != NULL;) {
    *nl = '\0';
    if (obey(text) == 0) {
      say("+\n");
    } else {
      say(strerror(errno));
      say("\n-\n");
    }
    len -= (size_t)(nl + 1 - text);
    memmove(text, nl + 1, len + 1);
  }
  if (len == sizeof text - 1) exit(1);
}

static void handle(watched *w) {
  if (w->kind == ORDERS) {
    read_orders();
  } else if (w->kind == LISTENER) {
    accept_link((listener *)w);
  } else {
    pump(((end *)w)->of);
  }
}

int main(void) {
  struct rlimit files;
  if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }
  signal(SIGPIPE, SIG_IGN);
  epoll = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event event = {.events = EPOLLIN, .data = {.ptr = &orders}};
  if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, 0, &event) < 0) return 1;
  for (;;) {
    struct epoll_event events[64];
    int n = epoll_wait(epoll, events, 64, waiting ? RETRY_MS : -1);
    for (int i = 0; i < n; i++) handle(events[i].data.ptr);
    if (waiting) look_again();
    free_dead_links();
  }
}
