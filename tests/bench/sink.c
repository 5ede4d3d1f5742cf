/* A mail server that takes everything and keeps nothing, for what is measured of the way out.
 *
 *   bench_sink CHAIN.pem KEY.pem AUTHORITIES.pem ADDRESSES [EXTENSION...]
 *
 * Demands STARTTLS and a client certificate of the authorities, offers the extensions given, and listens
 * at one port of 127.0.0.1, 127.0.0.2 and so on, ADDRESSES in all: peers see as many hosts.  Prints the
 * port, and for each line on standard input one of JSON, and "anew" forgets `first`:
 *
 *   messages, recipients, octets   taken since it began; octets of content
 *   connections, open              secured, and those that are still there
 *   first, last                    when the first MAIL came and the last message was there, in seconds
 *   marked, marked_at              messages from senders that begin with "urgent", and when the last came
 *
 * A thread for each connection: it waits in the kernel, and its CPU is that of TLS.  Ends with its input.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_ADDRESSES 1000
#define END "\r\n.\r\n"

typedef struct {
  int fd;
  SSL *ssl;
  char in[65536 + 1];
  size_t begin, end;
  char out[8192]; /* replies that go with the next that must go */
  size_t said;
  long recipients;
  int marked;
} conn_t;

static SSL_CTX *context;
static char greeting[1024];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
  long messages, recipients, octets, connections, open, marked;
  double first, last, marked_at;
} tally;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

static int flush(conn_t *c) {
  size_t done = 0;
  while (done < c->said) {
    ssize_t n = c->ssl ? SSL_write(c->ssl, c->out + done, c->said - done)
                       : send(c->fd, c->out + done, c->said - done, MSG_NOSIGNAL);
    if (n <= 0) return -1;
    done += n;
  }
  c->said = 0;
  return 0;
}

static int say(conn_t *c, const char *text) {
  size_t n = strlen(text);
  if (c->said + n > sizeof c->out && flush(c)) return -1;
  memcpy(c->out + c->said, text, n);
  c->said += n;
  return 0;
}

/* Reads more behind what is there; whatever was to be said goes first. */
static int more(conn_t *c) {
  if (c->said && flush(c)) return -1;
  if (c->begin) {
    memmove(c->in, c->in + c->begin, c->end - c->begin);
    c->end -= c->begin;
    c->begin = 0;
  }
  if (c->end == sizeof c->in - 1) return -1;
  ssize_t n = c->ssl ? SSL_read(c->ssl, c->in + c->end, sizeof c->in - 1 - c->end)
                     : recv(c->fd, c->in + c->end, sizeof c->in - 1 - c->end, 0);
  if (n <= 0) return -1;
  c->end += n;
  return 0;
}

/* The next command, without its CRLF; NULL if the connection ended. */
static char *command(conn_t *c) {
  char *line, *end;
  while (!(end = memmem(c->in + c->begin, c->end - c->begin, "\r\n", 2)))
    if (more(c)) return NULL;
  line = c->in + c->begin;
  *end = 0;
  c->begin = end + 2 - c->in;
  return line;
}

/* Takes content to the lone dot; its octets, or -1. */
static long data(conn_t *c) {
  long octets = 0;
  if (more(c)) return -1; /* says 354 first; a message without content comes to its end as well */
  for (;;) {
    char *from = c->in + c->begin, *end = memmem(from, c->end - c->begin, END, 5);
    if (end) {
      octets += end + 2 - from;
      c->begin = end + 5 - c->in;
      return octets;
    }
    size_t whole = c->end - c->begin > 4 ? c->end - c->begin - 4 : 0;
    octets += whole;
    c->begin += whole;
    if (more(c)) return -1;
  }
}

static int skip(conn_t *c, long octets) {
  for (;;) {
    long here = c->end - c->begin < (size_t)octets ? (long)(c->end - c->begin) : octets;
    c->begin += here;
    octets -= here;
    if (!octets) return 0;
    if (more(c)) return -1;
  }
}

static void took(conn_t *c, long octets) {
  double at = now();
  pthread_mutex_lock(&lock);
  tally.messages++;
  tally.recipients += c->recipients;
  tally.octets += octets;
  tally.last = at;
  if (c->marked) tally.marked++, tally.marked_at = at;
  pthread_mutex_unlock(&lock);
  c->recipients = c->marked = 0;
}

static void began(void) {
  pthread_mutex_lock(&lock);
  if (!tally.first) tally.first = now();
  pthread_mutex_unlock(&lock);
}

static int is(const char *line, const char *verb) { return !strncasecmp(line, verb, strlen(verb)); }

static int secure(conn_t *c) {
  if (say(c, "220 2.0.0 go ahead\r\n") || flush(c)) return -1;
  c->ssl = SSL_new(context);
  SSL_set_fd(c->ssl, c->fd);
  c->begin = c->end = 0;
  if (SSL_accept(c->ssl) != 1) return -1;
  pthread_mutex_lock(&lock);
  tally.connections++;
  pthread_mutex_unlock(&lock);
  return 0;
}

static void converse(conn_t *c) {
  long content = 0, octets;
  int failed = say(c, "220 sink ESMTP\r\n");
  while (!failed) {
    char *line = command(c);
    if (!line) return;
    if (is(line, "EHLO"))
      failed = say(c, c->ssl ? greeting : "250-sink\r\n250 STARTTLS\r\n");
    else if (is(line, "QUIT")) {
      say(c, "221 2.0.0 bye\r\n");
      flush(c);
      return;
    } else if (is(line, "STARTTLS") && !c->ssl)
      failed = secure(c);
    else if (!c->ssl)
      failed = say(c, "530 5.7.0 STARTTLS first\r\n");
    else if (is(line, "MAIL FROM:")) {
      c->marked = is(line, "MAIL FROM:<urgent");
      c->recipients = content = 0;
      began();
      failed = say(c, "250 2.1.0 ok\r\n");
    } else if (is(line, "RCPT TO:")) {
      c->recipients++;
      failed = say(c, "250 2.1.5 ok\r\n");
    } else if (is(line, "DATA")) {
      failed = say(c, "354 go on\r\n") || (octets = data(c)) < 0;
      if (!failed) took(c, octets), failed = say(c, "250 2.0.0 taken\r\n");
    } else if (is(line, "BDAT ")) {
      octets = strtol(line + 5, NULL, 10);
      int last = strcasestr(line, "LAST") != NULL;
      content += octets;
      failed = octets < 0 || skip(c, octets);
      if (!failed && last) took(c, content), content = 0;
      failed = failed || say(c, "250 2.0.0 taken\r\n");
    } else if (is(line, "RSET") || is(line, "NOOP"))
      failed = say(c, "250 2.0.0 ok\r\n");
    else
      failed = say(c, "500 5.5.1 unknown\r\n");
  }
}

static void *serve(void *given) {
  conn_t *c = given;
  int one = 1;
  setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  converse(c);
  if (c->ssl) {
    SSL_shutdown(c->ssl);
    SSL_free(c->ssl);
  }
  close(c->fd);
  free(c);
  pthread_mutex_lock(&lock);
  tally.open--;
  pthread_mutex_unlock(&lock);
  return NULL;
}

static void accept_one(int listening, pthread_attr_t *small) {
  pthread_t thread;
  int fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
  conn_t *c = fd < 0 ? NULL : calloc(1, sizeof *c);
  if (!c) return;
  c->fd = fd;
  pthread_mutex_lock(&lock);
  tally.open++;
  pthread_mutex_unlock(&lock);
  if (pthread_create(&thread, small, serve, c)) perror("thread"), exit(1);
}

static int tell(void) {
  char asked[256];
  ssize_t n = read(0, asked, sizeof asked);
  if (n <= 0) return -1;
  pthread_mutex_lock(&lock);
  if (asked[0] == 'a') tally.first = 0;
  for (ssize_t i = 0; i < n; i++)
    if (asked[i] == '\n')
      printf("{\"messages\": %ld, \"recipients\": %ld, \"octets\": %ld, \"connections\": %ld, "
             "\"open\": %ld, \"first\": %.6f, \"last\": %.6f, \"marked\": %ld, \"marked_at\": %.6f}\n",
             tally.messages, tally.recipients, tally.octets, tally.connections, tally.open, tally.first,
             tally.last, tally.marked, tally.marked_at);
  pthread_mutex_unlock(&lock);
  fflush(stdout);
  return 0;
}

static void fail(const char *what) {
  perror(what);
  ERR_print_errors_fp(stderr);
  exit(1);
}

static void set_up(char **given, int extensions) {
  context = SSL_CTX_new(TLS_server_method());
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
  /* Every connection is a whole handshake, whichever side would remember. */
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
  SSL_CTX_set_num_tickets(context, 0);
  if (SSL_CTX_use_certificate_chain_file(context, given[1]) != 1 ||
      SSL_CTX_use_PrivateKey_file(context, given[2], SSL_FILETYPE_PEM) != 1 ||
      SSL_CTX_load_verify_locations(context, given[3], NULL) != 1)
    fail("certificates");
  size_t n = snprintf(greeting, sizeof greeting, "250-sink\r\n");
  for (int i = 0; i < extensions; i++)
    n += snprintf(greeting + n, sizeof greeting - n, "250-%s\r\n", given[5 + i]);
  snprintf(greeting + n, sizeof greeting - n, "250 ENHANCEDSTATUSCODES\r\n");
}

int main(int count, char **given) {
  static struct pollfd polled[MAX_ADDRESSES + 1];
  struct sockaddr_in at = {.sin_family = AF_INET};
  socklen_t size = sizeof at;
  pthread_attr_t small;
  int addresses = count < 5 ? 0 : atoi(given[4]);
  if (addresses < 1 || addresses > MAX_ADDRESSES) return 2;
  signal(SIGPIPE, SIG_IGN);
  set_up(given, count - 5);
  pthread_attr_init(&small);
  pthread_attr_setstacksize(&small, 128 * 1024);
  pthread_attr_setdetachstate(&small, PTHREAD_CREATE_DETACHED);
  polled[0] = (struct pollfd){.fd = 0, .events = POLLIN};
  for (int i = 1; i <= addresses; i++) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    at.sin_addr.s_addr = htonl(0x7f000000 + i);
    if (bind(fd, (struct sockaddr *)&at, sizeof at) || listen(fd, 512)) fail("listen");
    if (getsockname(fd, (struct sockaddr *)&at, &size)) fail("port");
    polled[i] = (struct pollfd){.fd = fd, .events = POLLIN};
  }
  printf("%d\n", ntohs(at.sin_port));
  fflush(stdout);
  for (;;) {
    if (poll(polled, addresses + 1, -1) < 0) continue;
    for (int i = 1; i <= addresses; i++)
      if (polled[i].revents) accept_one(polled[i].fd, &small);
    if (polled[0].revents && tell()) return 0;
  }
}
