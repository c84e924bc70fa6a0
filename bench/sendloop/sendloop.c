//go:build ignore

/*
 * sendloop is the bare limit of a Socket.IO server: the same connections and the
 * same bytes as one has, and for them nothing but what a loop of epoll needs. A
 * broadcast is one send(2) for each connection.
 *
 * Go leaves this file alone (the first line); main.go is the broadcast in Go.
 *
 * Build: gcc -O2 -Wall -Wextra -pthread -o sendloop sendloop.c
 * Run:   ./sendloop 3000 2      (port; threads that send a broadcast, one unless said; ms
 *                                between pings, 25000 unless said; loopback only; ends by
 *                                itself after ten minutes, or a minute without any connection)
 *
 * It speaks as much of HTTP, WebSocket (RFC 6455), Engine.IO 4 and Socket.IO 5
 * as sioload needs: the handshake, the open packet, the answer to CONNECT, pings
 * spread as the server spreads them, whose pongs it waits for, and the events
 *
 *   echo payload...          acknowledged with the payload
 *   join room, leave room    acknowledged with true
 *   publish room, payload... msg payload... to the room, to everybody if it is "";
 *                            acknowledged with true
 *
 * What it answers to the messages of one read goes out by one send. It is no server:
 * input is trusted, names of rooms have no escapes and know no namespaces, a full
 * socket is waited for, and there are no sessions to come back to.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_FD = 1 << 20, IN = 1 << 20, EVENTS = 512, LIFE = 600, LONELY = 60 };
enum { TICK = 512, SLOTS = 64 };   /* ms; both together are more than an interval */

struct room {
	struct room *next;         /* of the same hash */
	int *fds, n, cap;          /* its members */
	size_t len;
	char name[];
};

/* What few connections have, or for a moment. */
struct more {
	unsigned char *kept;       /* what is not whole yet */
	size_t nkept;
	struct room **rooms;
	int nrooms;
};

struct conn {
	struct more *more;
	int place;                 /* in conns */
	int before, after;         /* in its slot of the wheel; 0: nobody */
	unsigned char upgraded, slot;
	unsigned char pinged, waiting; /* when it is due its pong is; that has not come */
};

static struct conn all[MAX_FD];    /* by descriptor */
static int conns[MAX_FD], nconns;  /* descriptors */
static int slots[SLOTS];           /* first of those due in a tick; 0: nobody */
static int64_t now, ticked;        /* ms; ticks that are over */
static int interval = 25000;       /* of pings, ms; a pong has four fifths of it */
static struct room *rooms[1 << 16];
static int epfd;
static unsigned char in[IN], out[IN + 64]; /* what is read; what is to be sent to everybody */
static unsigned char answers[IN + 64];     /* to what was read, sent together */
static size_t nanswers;
static int threads = 1;            /* that send; the first one does all the rest */
static pthread_barrier_t begin_send, end_send;
static const unsigned char *to_all; /* what they send between the barriers */
static size_t to_all_len;

static void die(const char *what) { perror(what); exit(1); }

static void *grown(void *p, size_t n) {
	p = realloc(p, n);
	if (!p)
		die("realloc");
	return p;
}

/* SHA-1 (RFC 3174) of n <= 119 bytes: the handshake's answer needs it. */
static uint32_t rol(uint32_t v, int n) { return v << n | v >> (32 - n); }

static void sha1(const unsigned char *msg, size_t n, unsigned char digest[20]) {
	uint32_t h[5] = {0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0};
	unsigned char pad[128] = {0};
	size_t total = n + 9 <= 64 ? 64 : 128;
	memcpy(pad, msg, n);
	pad[n] = 0x80;
	pad[total - 2] = (unsigned char)(n * 8 >> 8);
	pad[total - 1] = (unsigned char)(n * 8);
	for (size_t off = 0; off < total; off += 64) {
		uint32_t w[80], a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
		for (int i = 0; i < 16; i++)
			w[i] = (uint32_t)pad[off + 4 * i] << 24 | pad[off + 4 * i + 1] << 16 | pad[off + 4 * i + 2] << 8 | pad[off + 4 * i + 3];
		for (int i = 16; i < 80; i++)
			w[i] = rol(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
		for (int i = 0; i < 80; i++) {
			uint32_t f, k;
			if (i < 20)      f = (b & c) | (~b & d),          k = 0x5A827999;
			else if (i < 40) f = b ^ c ^ d,                   k = 0x6ED9EBA1;
			else if (i < 60) f = (b & c) | (b & d) | (c & d), k = 0x8F1BBCDC;
			else             f = b ^ c ^ d,                   k = 0xCA62C1D6;
			uint32_t t = rol(a, 5) + f + e + k + w[i];
			e = d, d = c, c = rol(b, 30), b = a, a = t;
		}
		h[0] += a, h[1] += b, h[2] += c, h[3] += d, h[4] += e;
	}
	for (int i = 0; i < 20; i++)
		digest[i] = (unsigned char)(h[i / 4] >> (24 - 8 * (i % 4)));
}

static void base64(const unsigned char *b, char *dst) { /* of 20 bytes */
	static const char set[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	for (int i = 0; i < 20; i += 3) {
		uint32_t v = (uint32_t)b[i] << 16 | (i + 1 < 20 ? b[i + 1] << 8 : 0) | (i + 2 < 20 ? b[i + 2] : 0);
		*dst++ = set[v >> 18 & 63];
		*dst++ = set[v >> 12 & 63];
		*dst++ = i + 1 < 20 ? set[v >> 6 & 63] : '=';
		*dst++ = i + 2 < 20 ? set[v & 63] : '=';
	}
	*dst = 0;
}

/* Puts a connection into the wheel, ms from now. */
static void due(int fd, int64_t ms) {
	int slot = (int)((now + ms) / TICK % SLOTS);
	all[fd].slot = (unsigned char)slot;
	all[fd].before = 0, all[fd].after = slots[slot];
	if (slots[slot])
		all[slots[slot]].before = fd;
	slots[slot] = fd;
}

static void not_due(int fd) {
	struct conn *c = &all[fd];
	if (c->before)
		all[c->before].after = c->after;
	else
		slots[c->slot] = c->after;
	if (c->after)
		all[c->after].before = c->before;
}

static struct more *more_of(int fd) {
	if (!all[fd].more && !(all[fd].more = calloc(1, sizeof *all[fd].more)))
		die("calloc");
	return all[fd].more;
}

static struct room *room_of(const unsigned char *name, size_t len, int make) {
	uint32_t h = 2166136261; /* FNV-1a */
	for (size_t i = 0; i < len; i++)
		h = (h ^ name[i]) * 16777619;
	struct room **at = &rooms[(h ^ h >> 16) & 0xffff];
	for (struct room *r = *at; r; r = r->next)
		if (r->len == len && !memcmp(r->name, name, len))
			return r;
	if (!make)
		return NULL;
	struct room *r = grown(NULL, sizeof *r + len);
	*r = (struct room){.next = *at, .len = len};
	memcpy(r->name, name, len);
	return *at = r;
}

static void join(int fd, struct room *r) {
	struct more *m = more_of(fd);
	for (int i = 0; i < m->nrooms; i++)
		if (m->rooms[i] == r)
			return;
	m->rooms = grown(m->rooms, (size_t)(m->nrooms + 1) * sizeof *m->rooms);
	m->rooms[m->nrooms++] = r;
	if (r->n == r->cap)
		r->fds = grown(r->fds, (size_t)(r->cap = r->cap ? 2 * r->cap : 4) * sizeof *r->fds);
	r->fds[r->n++] = fd;
}

static void leave(int fd, struct room *r) {
	struct more *m = more_of(fd);
	for (int i = 0; i < m->nrooms; i++) {
		if (m->rooms[i] != r)
			continue;
		m->rooms[i] = m->rooms[--m->nrooms];
		for (int k = 0; k < r->n; k++)
			if (r->fds[k] == fd)
				r->fds[k] = r->fds[--r->n];
		return;
	}
}

static void drop(int fd) {
	struct conn *c = &all[fd];
	if (c->upgraded)
		not_due(fd);
	if (c->more) {
		while (c->more->nrooms > 0)
			leave(fd, c->more->rooms[0]);
		free(c->more->rooms);
		free(c->more->kept);
		free(c->more);
	}
	conns[c->place] = conns[--nconns];
	all[conns[c->place]].place = c->place;
	*c = (struct conn){.place = -1};
	close(fd);
}

/* Sends a message; waits if the socket does not take it at once. */
static void send_all(int fd, const unsigned char *b, size_t n) {
	while (n > 0) {
		ssize_t k = send(fd, b, n, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (k >= 0) {
			b += k, n -= (size_t)k;
		} else if (errno == EAGAIN) {
			struct pollfd p = {.fd = fd, .events = POLLOUT};
			poll(&p, 1, 1000);
		} else if (errno != EINTR) {
			return; /* its end of file is still to be read */
		}
	}
}

static size_t head(unsigned char *dst, size_t n) {
	dst[0] = 0x81;
	if (n < 126) {
		dst[1] = (unsigned char)n;
		return 2;
	}
	if (n < 65536) {
		dst[1] = 126, dst[2] = (unsigned char)(n >> 8), dst[3] = (unsigned char)n;
		return 4;
	}
	memcpy(dst + 1, "\177\0\0\0\0\0", 6);
	for (int i = 0; i < 3; i++)
		dst[7 + i] = (unsigned char)(n >> (16 - 8 * i));
	return 10;
}

static void flush(int fd) {
	send_all(fd, answers, nanswers);
	nanswers = 0;
}

/* Adds n bytes to what fd is answered, and returns where they are to be. */
static unsigned char *room_for(int fd, size_t n) {
	if (nanswers + n > sizeof answers)
		flush(fd);
	nanswers += n;
	return answers + nanswers - n;
}

/* Answers with a message of three parts. */
static void answer(int fd, const char *kind, const void *a, size_t na, const void *b, size_t nb) {
	unsigned char h[10];
	size_t nk = strlen(kind), nh = head(h, nk + na + nb);
	unsigned char *p = room_for(fd, nh + nk + na + nb);
	memcpy(p, h, nh);
	memcpy(p += nh, kind, nk);
	memcpy(p += nk, a, na);
	memcpy(p + na, b, nb);
}

/* What a broadcast is all about: one of the threads sends to its share. */
static void send_share(const unsigned char *b, size_t n, int thread) {
	for (int i = thread; i < nconns; i += threads)
		if (all[conns[i]].upgraded)
			send_all(conns[i], b, n);
}

static void *sender(void *thread) {
	for (;;) {
		pthread_barrier_wait(&begin_send);
		send_share(to_all, to_all_len, (int)(intptr_t)thread);
		pthread_barrier_wait(&end_send);
	}
	return NULL;
}

static void broadcast(const unsigned char *b, size_t n) {
	if (threads == 1) {
		send_share(b, n, 0);
		return;
	}
	to_all = b, to_all_len = n;
	pthread_barrier_wait(&begin_send);
	send_share(b, n, 0);
	pthread_barrier_wait(&end_send);
}

/* Sends msg with the arguments from "," on to a room, or to everybody. */
static void publish(const unsigned char *nsp, size_t nnsp, const unsigned char *args, size_t nargs, struct room *r, int everybody) {
	static const char name[] = "[\"msg\"";
	size_t n = 2 + nnsp + sizeof name - 1 + nargs, nh = head(out, n);
	unsigned char *p = out + nh;
	memcpy(p, "42", 2);
	memcpy(p + 2, nsp, nnsp);
	memcpy(p + 2 + nnsp, name, sizeof name - 1);
	memcpy(p + n - nargs, args, nargs);
	if (everybody)
		broadcast(out, nh + n);
	for (int i = 0; r && i < r->n; i++)
		send_all(r->fds[i], out, nh + n);
}

static int is(const unsigned char *p, size_t n, const char *name) {
	return n > strlen(name) && !memcmp(p, name, strlen(name));
}

/* An event: 42, a namespace and ",", an id, and an array. Two of the three may be missing. */
static void event(int fd, unsigned char *p, size_t n) {
	unsigned char *open = memchr(p, '[', n), *end = p + n, *id = open;
	if (!open)
		return;
	p += 2;
	while (id > p && id[-1] >= '0' && id[-1] <= '9')
		id--;
	size_t nhead = (size_t)(open - p), left = (size_t)(end - open), nname;
	int asks = id < open;
	if (is(open, left, "[\"echo\"")) {
		open += open[7] == ',' ? 7 : 6; /* before the first argument, or "]" */
		*open = '[';
		if (asks)
			answer(fd, "43", p, nhead, open, (size_t)(end - open));
		return;
	}
	nname = is(open, left, "[\"publish\",\"") ? 12 : is(open, left, "[\"join\",\"") ? 9 : is(open, left, "[\"leave\",\"") ? 10 : 0;
	unsigned char *name = open + nname, *quote = nname ? memchr(name, '"', left - nname) : NULL;
	if (!quote)
		return;
	size_t len = (size_t)(quote - name);
	struct room *r = len > 0 ? room_of(name, len, nname == 9) : NULL;
	if (nname == 12) {
		flush(fd); /* what it was answered before comes first */
		publish(p, (size_t)(id - p), quote + 1, (size_t)(end - quote - 1), r, len == 0);
	} else if (r && nname == 9) {
		join(fd, r);
	} else if (r) {
		leave(fd, r);
	}
	if (asks)
		answer(fd, "43", p, nhead, "[true]", 6);
}

/* One message of the client: a pong, CONNECT, an event, or something to ignore. */
static void message(int fd, unsigned char *p, size_t n) {
	if (n == 1 && *p == '3') {
		all[fd].waiting = 0;
	} else if (n >= 2 && p[0] == '4' && p[1] == '2') {
		event(fd, p, n);
	} else if (n >= 2 && p[0] == '4' && p[1] == '0') {
		char sid[64];
		unsigned char *end = n > 2 && p[2] == '/' ? memchr(p, ',', n) : NULL; /* the namespace goes into the answer */
		int k = snprintf(sid, sizeof sid, "{\"sid\":\"%020d\"}", fd);
		answer(fd, "40", p + 2, end ? (size_t)(end + 1 - p - 2) : 0, sid, (size_t)k);
	}
}

/* Answers the handshake at the start of in; returns its length, 0 if incomplete. */
static size_t upgrade(int fd, size_t n) {
	unsigned char *end = memmem(in, n, "\r\n\r\n", 4);
	if (!end)
		return 0;
	*end = 0;
	char *key = strcasestr((char *)in, "\r\nSec-WebSocket-Key:");
	if (!key) {
		drop(fd);
		return 0;
	}
	key += 20;
	key += strspn(key, " ");
	char text[128], accept[32];
	unsigned char digest[20];
	snprintf(text, sizeof text, "%.24s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
	sha1((unsigned char *)text, strlen(text), digest);
	base64(digest, accept);
	int k = snprintf(text, sizeof text, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
		"Sec-WebSocket-Accept: ");
	memcpy(room_for(fd, (size_t)k), text, (size_t)k);
	k = snprintf(text, sizeof text, "%s\r\n\r\n", accept);
	memcpy(room_for(fd, (size_t)k), text, (size_t)k);
	k = snprintf(text, sizeof text, "{\"sid\":\"%020d\",\"upgrades\":[],\"pingInterval\":%d,\"pingTimeout\":%d,\"maxPayload\":1000000}",
		fd, interval, interval / 5 * 4);
	answer(fd, "0", text, (size_t)k, NULL, 0);
	all[fd].upgraded = 1;
	due(fd, interval / 2 + rand() % (interval / 2)); /* the first ping, so that a rush of connects is none of pings */
	return (size_t)(end - in) + 4;
}

static void unmask(unsigned char *p, size_t n, const unsigned char key[4]) {
	uint64_t k, v;
	memcpy(&k, key, 4);
	memcpy((unsigned char *)&k + 4, key, 4);
	for (; n >= 8; p += 8, n -= 8) {
		memcpy(&v, p, 8);
		v ^= k;
		memcpy(p, &v, 8);
	}
	for (size_t i = 0; i < n; i++)
		p[i] ^= key[i & 3];
}

/* Handles the frames in in[from..n); returns how far they were whole. */
static size_t frames(int fd, size_t from, size_t n) {
	while (n - from >= 6) {
		unsigned char *b = in + from;
		uint64_t len = b[1] & 0x7f;
		size_t h = 2;
		if (len == 126) {
			len = (uint64_t)b[2] << 8 | b[3], h = 4;
		} else if (len == 127) {
			if (n - from < 14)
				break;
			len = 0, h = 10;
			for (int i = 0; i < 8; i++)
				len = len << 8 | b[2 + i];
		}
		if (len > IN - 16 - 128) { /* more than it has room for */
			drop(fd);
			return n;
		}
		if (n - from < h + 4 + len)
			break;
		unmask(b + h + 4, len, b + h);
		if ((b[0] & 0x0f) == 8) {
			drop(fd);
			return n;
		}
		message(fd, b + h + 4, len);
		from += h + 4 + len;
	}
	return from;
}

static void readable(int fd) {
	struct more *m = all[fd].more;
	size_t n = 0, used = 0;
	if (m && m->nkept > 0) {
		memcpy(in, m->kept, n = m->nkept);
		free(m->kept);
		m->kept = NULL, m->nkept = 0;
	}
	ssize_t got = recv(fd, in + n, IN - 1 - n, MSG_DONTWAIT);
	if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) {
		drop(fd);
		return;
	}
	n += got > 0 ? (size_t)got : 0;
	in[n] = 0;
	nanswers = 0;
	if (!all[fd].upgraded)
		used = upgrade(fd, n);
	if (all[fd].upgraded)
		used = frames(fd, used, n);
	if (all[fd].place < 0) /* dropped */
		return;
	if (nanswers > 0)
		flush(fd);
	if (used < n) {
		m = more_of(fd);
		m->kept = grown(NULL, n - used);
		memcpy(m->kept, in + used, n - used);
		m->nkept = n - used;
	}
}

static void accept_all(int listener) {
	for (;;) {
		int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0)
			return;
		if (fd >= MAX_FD) {
			close(fd);
			continue;
		}
		all[fd].place = nconns;
		conns[nconns++] = fd;
		struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
		epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &e);
	}
}

/* Sends the pings of the ticks that are over, and drops who has not answered in time. */
static void heartbeat(void) {
	static const unsigned char ping[] = {0x81, 1, '2'};
	for (; (ticked + 1) * TICK <= now; ticked++) {
		for (int fd = slots[ticked % SLOTS], after; fd; fd = after) {
			struct conn *c = &all[fd];
			after = c->after;
			if (c->waiting) {
				drop(fd);
				continue;
			}
			not_due(fd);
			c->waiting = c->pinged = !c->pinged;
			due(fd, c->pinged ? interval / 5 * 4 : interval / 5);
			if (c->pinged)
				send_all(fd, ping, sizeof ping);
		}
	}
}

static int64_t clock_ms(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void loop(int listener) {
	struct epoll_event events[EVENTS];
	int64_t begin = now = clock_ms(), busy = begin;
	ticked = now / TICK;
	while (now - begin < LIFE * 1000 && now - busy < LONELY * 1000) {
		int n = epoll_wait(epfd, events, EVENTS, nconns > 0 ? (int)((ticked + 1) * TICK - now) : 1000);
		now = clock_ms();
		for (int i = 0; i < n; i++) {
			if (events[i].data.fd == listener)
				accept_all(listener);
			else
				readable(events[i].data.fd);
		}
		heartbeat();
		if (nconns > 0)
			busy = now;
	}
}

int main(int argc, char **argv) {
	int port = argc > 1 ? atoi(argv[1]) : 3000, one = 1;
	if (argc > 2)
		threads = atoi(argv[2]);
	if (argc > 3)
		interval = atoi(argv[3]);
	if (threads < 1 || threads > 64 || interval < 10 || interval > 25000) {
		fprintf(stderr, "sendloop: 1 to 64 threads, 10 to 25000 ms\n");
		return 2;
	}
	pthread_barrier_init(&begin_send, NULL, (unsigned)threads);
	pthread_barrier_init(&end_send, NULL, (unsigned)threads);
	for (int i = 1; i < threads; i++) {
		pthread_t id;
		if (pthread_create(&id, NULL, sender, (void *)(intptr_t)i))
			die("pthread_create");
	}
	struct rlimit lim;
	getrlimit(RLIMIT_NOFILE, &lim);
	lim.rlim_cur = lim.rlim_max;
	setrlimit(RLIMIT_NOFILE, &lim);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); /* inherited by what it accepts */
	if (listener < 0 || bind(listener, (struct sockaddr *)&at, sizeof at) || listen(listener, 4096))
		die("listen");
	socklen_t len = sizeof at;
	getsockname(listener, (struct sockaddr *)&at, &len);
	epfd = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event e = {.events = EPOLLIN, .data.fd = listener};
	if (epfd < 0 || epoll_ctl(epfd, EPOLL_CTL_ADD, listener, &e))
		die("epoll");
	printf("listening on 127.0.0.1:%d\n", ntohs(at.sin_port));
	fflush(stdout);
	loop(listener);
	return 0;
}
