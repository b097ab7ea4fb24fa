/*
 * Load generator: many connections, one thread, epoll. Plain C11 and Linux, no dependency.
 *
 *     cc -O2 -std=c11 -o load load.c
 *     ./load --port 8888 --connections 50 --depth 1 --seconds 3 --warmup 1 --mode navigation
 *
 * It prints "ready" once it is warm and then keeps the load up, uncounted, until a line comes on
 * its standard input: whoever samples the server's CPU does so just before. From there on every
 * reply is counted. When the seconds are over nothing new begins, what is outstanding is answered
 * and counted (a journey goes on to its end, so that it leaves no slot taken), and one line of JSON
 * tells the result. As the load does not pause between warm-up and window, the connections' journeys
 * stay out of step, as those of drivers are.
 *
 * With `--requests N` it is N requests that are counted, after a warm-up of as many replies.
 * Between the two it pauses: it says "ready" when nothing is outstanding, and goes on when the line
 * comes, each connection where it was.
 *
 * It is C because it must not be what is measured: on two cores, a generator that costs as much as
 * the server decides the figures.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define STATIONS 36          /* of the shipped network; their ids are 1 to 36 */
#define CHOICE 10            /* stations that one SELECTION_STATION names */
#define LONGEST_REQUEST 1024 /* that we write; the longest is SELECTION_STATION, some 600 bytes */
#define TAIL 256             /* a reply's status stands this near to its end */
#define SILENCE_NS 10000000000ull
#define ENVELOPE_END \
    ",\"status\":{\"code\":0,\"message\":\"\"},\"timestamp\":\"2025-04-07T13:45:12.678Z\"}\n"

enum mode { ECHO, STARTING, NAVIGATION, LOGIN, JOURNEY };
static const char *const mode_names[] = {"echo", "start", "navigation", "login", "journey"};

/* What a connection has asked for last, in a journey's order; START is no part of it. */
enum step { START, LOG_IN, NAVIGATE, SELECT, PAY, END };

struct connection {
    int fd;
    enum step step;
    unsigned number, journeys;
    char user_id[64], station[16];
    uint64_t *sent; /* when each outstanding request went out: a ring of `depth` */
    unsigned first, outstanding, held; /* held: what would be asked now, but for the pause */
    char *in; /* bytes read; no line end before `scanned` */
    size_t in_size, in_length, scanned;
    char *out; /* bytes to write: requests of which none is answered, so `depth` at the most */
    size_t out_length;
    bool waits_to_write;
};

static enum mode mode = ECHO;
static unsigned port = 8888, connections = 50, depth = 1;
static double seconds = 3, warmup = 1;
static uint64_t requests; /* how many to count; 0: those of `seconds` */

static struct connection *all;
static int poller;
static uint64_t now;
static bool counting, holding, draining;
static unsigned users; /* connections that have their user */
static unsigned busy;  /* connections that wait for a reply */

/* Results. */
static uint64_t asked, replies, warm_replies, slowest, last_reply, no_slot;
static uint64_t wrong_code[1000], wrong_content, closed, unanswered;

static void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("load: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

static uint64_t clock_ns(clockid_t which) {
    struct timespec at;
    clock_gettime(which, &at);
    return (uint64_t)at.tv_sec * 1000000000u + (uint64_t)at.tv_nsec;
}

/* Latencies: buckets of equal width within a power of two, 64 to each, so within 1.6 %. */

static uint64_t histogram[58 * 64 + 64];

static void record(uint64_t ns) {
    unsigned exponent = ns < 128 ? 0 : 63 - 6 - (unsigned)__builtin_clzll(ns);
    histogram[exponent * 64 + (ns >> exponent)]++;
    if (ns > slowest)
        slowest = ns;
}

static double percentile_ms(double share) {
    uint64_t rank = (uint64_t)(share * (double)replies), seen = 0;
    for (unsigned i = 0; i < sizeof histogram / sizeof *histogram; i++) {
        seen += histogram[i];
        if (seen > rank) {
            unsigned exponent = i < 128 ? 0 : i / 64 - 1;
            uint64_t lowest = (uint64_t)(i - exponent * 64) << exponent;
            return (double)(lowest + ((1ull << exponent) >> 1)) / 1e6;
        }
    }
    return (double)slowest / 1e6;
}

/* Requests. */

static int write_selection(const struct connection *c, char *to, size_t room) {
    int length = snprintf(to, room,
                          "{\"type\":\"SELECTION_STATION\",\"data\":{\"user_id\":\"%s\","
                          "\"list_stations\":{",
                          c->user_id);
    /* Each journey begins at another station, else all of them would fill the same one. */
    unsigned nearest = c->number * 5 + c->journeys * 7;
    for (unsigned i = 0; i < CHOICE; i++)
        length += snprintf(to + length, room - (size_t)length,
                           "%s\"%u\":{\"distance_origin_position\":%u.25}", i ? "," : "",
                           (nearest + i) % STATIONS + 1, i + 1);
    return length + snprintf(to + length, room - (size_t)length, "}}" ENVELOPE_END);
}

/* Write the request of the connection's step. */
static int write_request(const struct connection *c, char *to, size_t room) {
    switch (c->step) {
    case START:
        return snprintf(to, room, "{\"type\":\"START\",\"data\":{}" ENVELOPE_END);
    case LOG_IN:
        return snprintf(to, room,
                        "{\"type\":\"LOGIN\",\"data\":{\"user_name\":\"Bench %u\","
                        "\"selected_car\":\"Tesla Model 3\",\"battery_car\":55}" ENVELOPE_END,
                        c->number);
    case NAVIGATE:
        return snprintf(to, room,
                        "{\"type\":\"NAVIGATION\",\"data\":{\"user_id\":\"%s\","
                        "\"route_distance\":120.5}" ENVELOPE_END,
                        c->user_id);
    case SELECT:
        return write_selection(c, to, room);
    case PAY:
    case END:
        break;
    }
    return snprintf(to, room,
                    "{\"type\":\"PAYMENT\",\"data\":{\"user_id\":\"%s\",\"id_station\":\"%s\","
                    "\"confirmation\":%s}" ENVELOPE_END,
                    c->user_id, c->station, c->step == PAY ? "true" : "false");
}

/* Put one more request of the connection's step with those to go out. */
static void ask(struct connection *c) {
    c->out_length += (size_t)write_request(c, c->out + c->out_length, LONGEST_REQUEST);
    c->sent[(c->first + c->outstanding) % depth] = now;
    if (c->outstanding++ == 0)
        busy++;
    if (counting && ++asked == requests)
        draining = true;
}

static void watch(struct connection *c, int operation) {
    struct epoll_event event = {.events = EPOLLIN | (c->waits_to_write ? EPOLLOUT : 0),
                                .data.ptr = c};
    if (epoll_ctl(poller, operation, c->fd, &event) < 0)
        fail("epoll_ctl: %s", strerror(errno));
}

/* Write what there is to write, as far as it goes at once; false where the connection is gone. */
static bool flush(struct connection *c) {
    if (c->out_length > 0) {
        ssize_t count = send(c->fd, c->out, c->out_length, MSG_NOSIGNAL);
        if (count < 0 && errno != EAGAIN)
            return false;
        if (count > 0) {
            c->out_length -= (size_t)count;
            memmove(c->out, c->out + count, c->out_length);
        }
    }
    if (c->waits_to_write != (c->out_length > 0)) {
        c->waits_to_write = c->out_length > 0;
        watch(c, EPOLL_CTL_MOD);
    }
    return true;
}

/* Replies: looked at just enough to know a right one from a wrong one. */

/* What follows `"name":` and blanks in the text, or NULL. */
static const char *value_of(const char *text, size_t length, const char *name) {
    const char *found = memmem(text, length, name, strlen(name));
    if (found == NULL)
        return NULL;
    found += strlen(name);
    while (found < text + length && *found == ' ')
        found++;
    return found < text + length ? found : NULL;
}

/* Copy the string that is the value of `name`; false where there is none that fits. */
static bool copy_text(const char *line, size_t length, const char *name, char *to, size_t room) {
    const char *value = value_of(line, length, name);
    if (value == NULL || *value++ != '"')
        return false;
    const char *end = memchr(value, '"', length - (size_t)(value - line));
    if (end == NULL || end == value || (size_t)(end - value) >= room)
        return false;
    memcpy(to, value, (size_t)(end - value));
    to[end - value] = '\0';
    return true;
}

static unsigned status_code(const char *line, size_t length) {
    /* The status stands at the end, and START's reply is long. */
    size_t skipped = length > TAIL ? length - TAIL : 0;
    const char *value = value_of(line + skipped, length - skipped, "\"code\":");
    if (value == NULL)
        value = value_of(line, length, "\"code\":");
    unsigned code = 0;
    while (value != NULL && value < line + length && *value >= '0' && *value <= '9' && code < 100)
        code = code * 10 + (unsigned)(*value++ - '0');
    return code;
}

static void tell_wrong(const struct connection *c, const char *line, size_t length) {
    static bool told;
    if (!told)
        fprintf(stderr, "load: wrong reply to step %d of connection %u: %.*s\n", (int)c->step,
                c->number, (int)(length < 400 ? length : 400), line);
    told = true;
}

/* Take what later requests need out of a reply; false where it does not say what it must. */
static bool understand(struct connection *c, const char *line, size_t length) {
    if (mode == ECHO)
        return true;
    switch (c->step) {
    case LOG_IN:
        return copy_text(line, length, "\"user_id\":", c->user_id, sizeof c->user_id);
    case SELECT:
        return copy_text(line, length, "\"id_station\":", c->station, sizeof c->station);
    case PAY: {
        const char *taken = value_of(line, length, "\"confirmation\":");
        if (taken != NULL && *taken == 't')
            return true;
        /* Another driver was quicker: an answer like any other. */
        const char *reason = value_of(line, length, "\"reason\":");
        if (reason == NULL || strncmp(reason, "\"no_slot\"", 9) != 0)
            return false;
        no_slot += counting;
        return true;
    }
    case NAVIGATE:
        return value_of(line, length, "\"can_complete\":") != NULL;
    case START:
    case END:
        break;
    }
    return true;
}

/* Choose the connection's next step and ask, unless there is to be no more. */
static void go_on(struct connection *c) {
    if (holding) {
        c->held++;
        return;
    }
    if (mode == JOURNEY) {
        if (c->step == END)
            c->journeys++;
        if (c->step == END && draining)
            return;
        c->step = c->step == END ? LOG_IN : c->step + 1;
        ask(c);
        return;
    }
    if (draining)
        return;
    if (mode == NAVIGATION && c->step == LOG_IN) {
        /* It has its user: from now on it keeps `depth` requests outstanding. */
        c->step = NAVIGATE;
        users++;
        while (c->outstanding < depth && !draining)
            ask(c);
        return;
    }
    ask(c);
}

static void take_reply(struct connection *c, const char *line, size_t length) {
    uint64_t sent = c->sent[c->first];
    c->first = (c->first + 1) % depth;
    if (--c->outstanding == 0)
        busy--;
    last_reply = now;
    if (counting) {
        replies++;
        record(now - sent);
    } else
        warm_replies++;
    unsigned code = status_code(line, length);
    if (code != 200) {
        /* Counted in the warm-up too: a wrong reply is never in order. */
        wrong_code[code]++;
        tell_wrong(c, line, length);
    } else if (!understand(c, line, length)) {
        wrong_content++;
        tell_wrong(c, line, length);
    }
    go_on(c);
}

/* Read once and take every whole line; false where the connection is gone. */
static bool receive(struct connection *c) {
    if (c->in_length == c->in_size) {
        c->in_size *= 2;
        c->in = realloc(c->in, c->in_size);
        if (c->in == NULL)
            fail("no memory for a reply of %zu bytes", c->in_size);
    }
    ssize_t count = read(c->fd, c->in + c->in_length, c->in_size - c->in_length);
    if (count <= 0)
        return count < 0 && errno == EAGAIN;
    now = clock_ns(CLOCK_MONOTONIC);
    c->in_length += (size_t)count;
    size_t start = 0;
    char *end;
    while ((end = memchr(c->in + c->scanned, '\n', c->in_length - c->scanned)) != NULL) {
        if (c->outstanding == 0)
            fail("connection %u got a reply to no request", c->number);
        take_reply(c, c->in + start, (size_t)(end - c->in) - start);
        start = c->scanned = (size_t)(end - c->in) + 1;
    }
    memmove(c->in, c->in + start, c->in_length - start);
    c->in_length -= start;
    c->scanned = c->in_length;
    return flush(c);
}

static void open_connection(struct connection *c, unsigned number) {
    struct sockaddr_in server = {.sin_family = AF_INET,
                                 .sin_port = htons((uint16_t)port),
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1;
    c->number = number;
    c->in_size = 32768;
    c->in = malloc(c->in_size);
    c->out = malloc((size_t)LONGEST_REQUEST * (depth + 1));
    c->sent = calloc(depth, sizeof *c->sent);
    if (c->in == NULL || c->out == NULL || c->sent == NULL)
        fail("no memory for %u connections", connections);
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&server, sizeof server) < 0)
        fail("cannot connect to port %u: %s", port, strerror(errno));
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    watch(c, EPOLL_CTL_ADD);
}

/* The first requests: a driver's first step, or as many as are to be outstanding. */
static void begin(struct connection *c) {
    static const enum step first[] = {
        [ECHO] = NAVIGATE,    [STARTING] = START, [NAVIGATION] = LOG_IN,
        [LOGIN] = LOG_IN, [JOURNEY] = LOG_IN};
    c->step = first[mode];
    strcpy(c->user_id, "00000000-0000-4000-8000-000000000000"); /* what echo's requests show */
    now = clock_ns(CLOCK_MONOTONIC);
    unsigned count = mode == NAVIGATION || mode == JOURNEY ? 1 : depth;
    users += mode != NAVIGATION;
    while (count-- > 0)
        ask(c);
    if (!flush(c))
        closed++;
}

static void start_counting(void) {
    char line[16];
    if (read(STDIN_FILENO, line, sizeof line) <= 0)
        fail("the standard input ended: nobody waits for a result");
    counting = true;
    now = last_reply = clock_ns(CLOCK_MONOTONIC);
}

/* Say that the load is warm, and go on. */
static void announce(void) {
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    puts("ready");
    fflush(stdout);
    if (requests > 0) {
        start_counting();
        holding = false;
        for (struct connection *c = all; c < all + connections; c++) {
            for (; c->held > 0; c->held--)
                go_on(c);
            closed += !flush(c);
        }
        return;
    }
    /* A file cannot be polled; there is no need to wait for one either. */
    if (epoll_ctl(poller, EPOLL_CTL_ADD, STDIN_FILENO, &event) < 0)
        counting = true;
}

static void print_result(uint64_t wall_ns, uint64_t cpu_ns) {
    printf("{\"mode\":\"%s\",\"connections\":%u,\"depth\":%u,\"requests\":%llu,"
           "\"seconds\":%.6f,\"cpu_us_per_request\":%.3f,\"p50_ms\":%.4f,\"p99_ms\":%.4f,"
           "\"max_ms\":%.4f,\"no_slot\":%llu,\"errors\":{",
           mode_names[mode], connections, depth,
           (unsigned long long)(requests > 0 ? asked : replies), (double)wall_ns / 1e9, replies ? (double)cpu_ns / 1e3 / (double)replies : 0,
           percentile_ms(0.50), percentile_ms(0.99), (double)slowest / 1e6,
           (unsigned long long)no_slot);
    const char *comma = "";
    for (unsigned code = 0; code < 1000; code++)
        if (wrong_code[code] > 0) {
            printf("%s\"code_%u\":%llu", comma, code, (unsigned long long)wrong_code[code]);
            comma = ",";
        }
    const struct {
        const char *name;
        uint64_t count;
    } others[] = {{"content", wrong_content}, {"closed", closed}, {"unanswered", unanswered}};
    for (unsigned i = 0; i < sizeof others / sizeof *others; i++)
        if (others[i].count > 0) {
            printf("%s\"%s\":%llu", comma, others[i].name, (unsigned long long)others[i].count);
            comma = ",";
        }
    puts("}}");
}

static void run(void) {
    struct epoll_event events[256];
    uint64_t cpu_start = 0, started = 0, warm = now + (uint64_t)(warmup * 1e9);
    bool announced = false;
    last_reply = now;
    while ((busy > 0 || holding) && closed == 0) {
        int count = epoll_wait(poller, events, 256, 10);
        for (int i = 0; i < count; i++) {
            struct connection *c = events[i].data.ptr;
            if (c == NULL) {
                start_counting();
                epoll_ctl(poller, EPOLL_CTL_DEL, STDIN_FILENO, NULL);
            }
            else if (((events[i].events & EPOLLOUT) && !flush(c)) ||
                     ((events[i].events & ~(uint32_t)EPOLLOUT) && !receive(c)))
                closed++;
        }
        now = clock_ns(CLOCK_MONOTONIC);
        if (now - last_reply > SILENCE_NS) {
            unanswered = busy;
            break;
        }
        bool is_warm = requests > 0 ? warm_replies >= requests : now >= warm;
        holding |= !announced && requests > 0 && is_warm && users == connections;
        if (!announced && is_warm && users == connections && (!holding || busy == 0)) {
            announced = true;
            announce();
        }
        if (counting && started == 0) {
            started = now;
            cpu_start = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
        }
        if (requests == 0 && counting && now - started >= (uint64_t)(seconds * 1e9))
            draining = true;
    }
    if (!announced)
        puts("ready"); /* whoever waits for it must get to see the errors */
    print_result(started ? last_reply - started : 0,
                 started ? clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu_start : 0);
}

static void read_arguments(int argc, char **argv) {
    static const struct option options[] = {
        {"port", required_argument, NULL, 'p'},    {"connections", required_argument, NULL, 'c'},
        {"depth", required_argument, NULL, 'd'},   {"seconds", required_argument, NULL, 's'},
        {"warmup", required_argument, NULL, 'w'},  {"mode", required_argument, NULL, 'm'},
        {"requests", required_argument, NULL, 'r'},
        {NULL, 0, NULL, 0},
    };
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        unsigned known = 0;
        switch (option) {
        case 'p': port = (unsigned)atoi(optarg); break;
        case 'c': connections = (unsigned)atoi(optarg); break;
        case 'd': depth = (unsigned)atoi(optarg); break;
        case 's': seconds = atof(optarg); break;
        case 'w': warmup = atof(optarg); break;
        case 'r': requests = strtoull(optarg, NULL, 10); break;
        case 'm':
            while (known <= JOURNEY && strcmp(optarg, mode_names[known]) != 0)
                known++;
            if (known > JOURNEY)
                fail("--mode is echo, start, navigation, login or journey, not %s", optarg);
            mode = (enum mode)known;
            break;
        default: exit(2);
        }
    }
    if (connections < 1 || connections > 100000 || depth < 1 || depth > 100000 || seconds <= 0)
        fail("--connections and --depth are 1 to 100000, --seconds more than 0");
    if (mode == JOURNEY)
        depth = 1; /* each step needs the answer to the one before */
}

int main(int argc, char **argv) {
    read_arguments(argc, argv);
    poller = epoll_create1(0);
    all = calloc(connections, sizeof *all);
    if (poller < 0 || all == NULL)
        fail("cannot begin: %s", strerror(errno));
    for (unsigned i = 0; i < connections; i++)
        open_connection(&all[i], i);
    for (unsigned i = 0; i < connections; i++)
        begin(&all[i]);
    run();
    return 0;
}
