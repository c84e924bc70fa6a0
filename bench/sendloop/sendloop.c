//go:build ignore

/*
 * sendloop is the bare limit of a broadcast: the same connections and the same
 * bytes as a Socket.IO server has, and for each message nothing but one send(2)
 * per connection, in the order they were accepted.
 *
 * Go leaves this file alone (the first line); main.go is the same in Go.
 *
 * Build: gcc -O2 -Wall -Wextra -pthread -o sendloop sendloop.c
 * Run:   ./sendloop 3000 2      (port; threads that send, one unless said; loopback
 *                                only; ends by itself after ten minutes, or a
 *                                minute without any connection)
 *
 * It speaks as much of HTTP, WebSocket (RFC 6455), Engine.IO 4 and Socket.IO 5
 * as the broadcast and idle scenarios of sioload need: the handshake, the open
 * packet, the answer to CONNECT, and publish (room, payload...), which it takes
 * for a message to everybody. The ping interval it announces is longer than it
 * lives. It is no server: input is trusted, a full socket is waited for.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
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

static int conns[MAX_FD];          /* descriptors in accept order; -1 once closed */
static int nconns, nlive;
static int place[MAX_FD];          /* by descriptor: its index in conns */
static unsigned char upgraded[MAX_FD];
static struct { unsigned char *b; size_t n; } kept[MAX_FD]; /* what is not whole yet */
static int epfd;
static unsigned char in[IN], out[IN + 16];
static int threads = 1;            /* that send; the first one does all the rest */
static pthread_barrier_t begin_send, end_send;
static const unsigned char *to_all; /* what they send between the barriers */
static size_t to_all_len;

static void die(const char *what) { perror(what); exit(1); }

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

static void drop(int fd) {
	conns[place[fd]] = -1;
	nlive--;
	upgraded[fd] = 0;
	free(kept[fd].b);
	kept[fd].b = NULL, kept[fd].n = 0;
	close(fd);
	while (nconns > 0 && conns[nconns - 1] < 0)
		nconns--;
}

/* The rest of a message the socket did not take at once. */
static void send_rest(int fd, const unsigned char *b, size_t n) {
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

static size_t frame(unsigned char *dst, const void *payload, size_t n) {
	size_t h = 2;
	dst[0] = 0x81;
	if (n < 126) {
		dst[1] = (unsigned char)n;
	} else if (n < 65536) {
		dst[1] = 126, dst[2] = (unsigned char)(n >> 8), dst[3] = (unsigned char)n, h = 4;
	} else {
		dst[1] = 127, h = 10;
		for (int i = 0; i < 8; i++)
			dst[2 + i] = (unsigned char)((uint64_t)n >> (56 - 8 * i));
	}
	memcpy(dst + h, payload, n);
	return h + n;
}

static void reply(int fd, const char *text) {
	unsigned char b[256];
	send_rest(fd, b, frame(b, text, strlen(text)));
}

/* What it is all about: one of the threads sends to its share. */
static void send_share(const unsigned char *b, size_t n, int thread) {
	for (int i = thread; i < nconns; i += threads) {
		int fd = conns[i];
		if (fd < 0 || !upgraded[fd])
			continue;
		ssize_t k = send(fd, b, n, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (k != (ssize_t)n)
			send_rest(fd, b + (k > 0 ? k : 0), n - (size_t)(k > 0 ? k : 0));
	}
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

/* One message of the client: CONNECT, publish, or something to ignore. */
static void message(int fd, unsigned char *p, size_t n) {
	static unsigned char msg[IN];
	if (n >= 2 && !memcmp(p, "40", 2)) {
		char text[128];
		snprintf(text, sizeof text, "40{\"sid\":\"%020d\"}", fd);
		if (n > 2 && p[2] == '/') { /* the namespace goes into the answer */
			int k = 0;
			while (2 + (size_t)k < n && p[2 + k] != ',')
				k++;
			snprintf(text, sizeof text, "40%.*s,{\"sid\":\"%020d\"}", k > 60 ? 60 : k, (char *)p + 2, fd);
		}
		reply(fd, text);
		return;
	}
	if (n < 2 || memcmp(p, "42", 2))
		return;
	unsigned char *open = memchr(p, '[', n);
	static const char name[] = "[\"publish\",\"";
	if (!open || n - (size_t)(open - p) < sizeof name || memcmp(open, name, sizeof name - 1))
		return;
	unsigned char *room = open + sizeof name - 1;
	unsigned char *end = memchr(room, '"', n - (size_t)(room - p));
	if (!end)
		return;
	end++; /* at ",payload...]" */
	size_t len = (size_t)(open - p);
	memcpy(msg, p, len);
	memcpy(msg + len, "[\"msg\"", 6);
	len += 6;
	memcpy(msg + len, end, n - (size_t)(end - p));
	len += n - (size_t)(end - p);
	broadcast(out, frame(out, msg, len));
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
	char text[128], accept[32], head[256];
	unsigned char digest[20];
	snprintf(text, sizeof text, "%.24s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
	sha1((unsigned char *)text, strlen(text), digest);
	base64(digest, accept);
	int k = snprintf(head, sizeof head, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
		"Sec-WebSocket-Accept: %s\r\n\r\n", accept);
	send_rest(fd, (unsigned char *)head, (size_t)k);
	snprintf(head, sizeof head, "0{\"sid\":\"%020d\",\"upgrades\":[],\"pingInterval\":3600000,\"pingTimeout\":3600000,\"maxPayload\":1000000}", fd);
	reply(fd, head);
	upgraded[fd] = 1;
	return (size_t)(end - in) + 4;
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
		unsigned char *key = b + h, *p = key + 4;
		for (size_t i = 0; i < len; i++)
			p[i] ^= key[i & 3];
		if ((b[0] & 0x0f) == 8) {
			drop(fd);
			return n;
		}
		message(fd, p, len);
		from += h + 4 + len;
	}
	return from;
}

static void readable(int fd) {
	size_t n = kept[fd].n, used = 0;
	if (n > 0) {
		memcpy(in, kept[fd].b, n);
		free(kept[fd].b);
		kept[fd].b = NULL, kept[fd].n = 0;
	}
	ssize_t got = recv(fd, in + n, IN - 1 - n, MSG_DONTWAIT);
	if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) {
		drop(fd);
		return;
	}
	n += got > 0 ? (size_t)got : 0;
	in[n] = 0;
	if (!upgraded[fd])
		used = upgrade(fd, n);
	if (upgraded[fd])
		used = frames(fd, used, n);
	if (used < n && conns[place[fd]] == fd) {
		kept[fd].b = malloc(n - used);
		if (!kept[fd].b)
			die("malloc");
		memcpy(kept[fd].b, in + used, n - used);
		kept[fd].n = n - used;
	}
}

static void accept_all(int listener) {
	for (;;) {
		int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0)
			return;
		if (fd >= MAX_FD || nconns >= MAX_FD) {
			close(fd);
			continue;
		}
		place[fd] = nconns;
		conns[nconns++] = fd;
		nlive++;
		struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
		epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &e);
	}
}

int main(int argc, char **argv) {
	int port = argc > 1 ? atoi(argv[1]) : 3000, one = 1;
	if (argc > 2)
		threads = atoi(argv[2]);
	if (threads < 1 || threads > 64)
		die("threads");
	pthread_barrier_init(&begin_send, NULL, (unsigned)threads);
	pthread_barrier_init(&end_send, NULL, (unsigned)threads);
	for (int i = 1; i < threads; i++) {
		pthread_t id;
		if (pthread_create(&id, NULL, sender, (void *)(intptr_t)i))
			die("pthread_create");
	}
	struct rlimit lim;
	if (getrlimit(RLIMIT_NOFILE, &lim) == 0) {
		lim.rlim_cur = lim.rlim_max;
		setrlimit(RLIMIT_NOFILE, &lim);
	}
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); /* inherited by what it accepts */
	if (listener < 0 || bind(listener, (struct sockaddr *)&at, sizeof at) || listen(listener, 4096))
		die("listen");
	socklen_t len = sizeof at;
	getsockname(listener, (struct sockaddr *)&at, &len);
	epfd = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event e = {.events = EPOLLIN, .data.fd = listener}, events[EVENTS];
	if (epfd < 0 || epoll_ctl(epfd, EPOLL_CTL_ADD, listener, &e))
		die("epoll");
	printf("listening on 127.0.0.1:%d\n", ntohs(at.sin_port));
	fflush(stdout);
	time_t begin = time(NULL), busy = begin;
	for (;;) {
		int n = epoll_wait(epfd, events, EVENTS, 1000);
		for (int i = 0; i < n; i++) {
			if (events[i].data.fd == listener)
				accept_all(listener);
			else
				readable(events[i].data.fd);
		}
		time_t now = time(NULL);
		if (nlive > 0)
			busy = now;
		if (now - begin > LIFE || now - busy > LONELY)
			return 0;
	}
}
