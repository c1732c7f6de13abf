/* The floor: what a relay on this machine costs at the least.
 *
 * It speaks the same datagrams as the relay (protocol/SPEC.md: DATA up, UPDATE with PAGE sections down), of the same
 * sizes and at the same rates, and does nothing else: no handshake, no session lookup, no duplicate rejection, no
 * reading of acks, no resends, no budgets, no log. It checks only what would make it write outside its arrays. What is
 * left is nearly all kernel time, so "ratio to the floor" is what the relay itself adds.
 *
 * As cheap as the system allows:
 *   - recvmmsg and sendmmsg, 1,024 datagrams per call;
 *   - it sleeps until the tick, drains the socket once, builds and sends. A wake-up per datagram on a machine with idle
 *     cores costs many times the datagram. Only where a tick's datagrams would fill a quarter of the socket's buffer
 *     it drains more often, as the relay does (relay/transport/moderation.py);
 *   - one body per room, shared by all its players: a datagram is two pieces of memory, an own header and the body.
 *
 * There is no handshake. Player n (from 0) says session n + 1, sits in room n / PER_ROOM, and has the player id, which
 * is its entity's id too, n % PER_ROOM. Its first DATA makes it known; nobody ever leaves. It acknowledges whatever was
 * sent up to the newest number, for it does not note what is missing: measure it where nothing is lost.
 *
 * Messages and signals it does not know, but what a relay sends of them has a size and a number: with FILL_BYTES and
 * FILL_PER_1000 every player is sent so many datagrams in a thousand ticks, each with one section of so many bytes, of a
 * type that nobody knows and everybody skips (SPEC 3). What arrives is read as before.
 *
 * floor PORT PLAYERS PER_ROOM STATE_BYTES TICK_RATE [SECONDS [FILL_BYTES FILL_PER_1000]]: 127.0.0.1 only; port 0 for
 * any. Prints "ready PORT". Ends on SIGTERM, or after SECONDS.
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the wire is little-endian, and the structs below are copied onto it as they are"
#endif

enum {
    MAX_PLAYERS = 16384,        /* twice the largest row of tools/bench/rows.py */
    MAX_STATE_BYTES = 255,      /* a state's length is a u8 (SPEC 7) */
    MAX_PAGE_IDS = 255,         /* protocol/dtypes.py: page_ids */
    MAX_CALL = 1024,            /* datagrams per call: UIO_MAXIOV of the kernel */
    RECEIVE_BYTES = 1216,       /* as relay/batch.py: 1,200 and a little */
    BUFFER_BYTES = 4 << 20,     /* as relay/transport/sockets.py asks for */
    DATAGRAM_MEMORY = 768,      /* what a small datagram takes of a socket's buffer, bookkeeping included */
    MAX_BODY_BYTES = 1160,      /* largest datagram that is built (SPEC 2) */
    FULL_EVERY_TICKS = 32,      /* a page is sent whole this often: about once a second, as repair after a loss */
    AGE_STEP_MS = 2,
    AGE_MAX = 255,
    ACK_DELAY_MAX_MS = 255,
    MESSAGE_CREDIT = 32,
    KIND_DATA = 16,
    KIND_UPDATE = 17,
    SECTION_STATE = 1,
    SECTION_PAGE = 1,
    SECTION_FILLER = 0xEE,      /* no revision has it */
    MAX_FILL_PER_1000 = 64000,
    FLAG_NOTHING_RECEIVED = 1,
};

#define NS_PER_S INT64_C(1000000000)
#define NS_PER_MS INT64_C(1000000)

/* --- The wire, SPEC 5, 7 and 8 */

struct data_header {
    uint8_t kind, shard;
    uint16_t seq;
    uint64_t session;
    uint16_t ack;
    uint32_t ack_bits;
    uint8_t ack_delay, flags;
    uint32_t log_cursor;
    uint16_t reserved;
} __attribute__((packed));

struct state_section {
    uint8_t type;
    uint16_t length;
    uint16_t sample_ms;
    uint8_t count, stride;
    uint16_t entity_id;
} __attribute__((packed)); /* then the state's bytes */

struct update_header {
    uint8_t kind, shard;
    uint16_t seq;
    uint64_t session;
    uint16_t ack;
    uint32_t ack_bits;
    uint8_t ack_delay, flags;
    uint32_t tick;
    uint16_t message_ack;
    uint32_t message_bits;
    uint16_t message_credit;
} __attribute__((packed));

struct page_section {
    uint8_t type;
    uint16_t length;
    uint16_t page;
    uint8_t layer;
    uint32_t since, log_index;
    uint8_t removed_count, group_count;
    uint8_t encoding, count, stride;
} __attribute__((packed)); /* then all ids, all ages, all states */

enum {
    SECTION_HEADER_BYTES = 1 + 2,
    ID_OVERHEAD_BYTES = 2 + 2 + 1 + 3,  /* removal, id, age, a group's header: what cuts the pages (SPEC 8) */
    PER_ID_BYTES = 2 + 1,               /* id and age, beside the state */
    PAGE_SPACE_BYTES = MAX_BODY_BYTES - 32 - 3 - 13,
};

_Static_assert(sizeof(struct data_header) == 26, "SPEC 5");
_Static_assert(sizeof(struct state_section) == 3 + 4 + 2, "SPEC 7");
_Static_assert(sizeof(struct update_header) == 32, "SPEC 5");
_Static_assert(sizeof(struct page_section) == 3 + 13 + 3, "SPEC 8");

/* --- Everything it knows. One static array per column; a row is a player, a room or a page. */

static int num_players, per_room, state_bytes, page_ids, pages_per_room;
static int64_t start_ns;
static uint32_t tick_rate;
static struct iovec filler;                     /* a section in place of messages and signals */
static int fill_per_1000, fill_left;

static struct sockaddr_in player_address[MAX_PLAYERS];
static uint8_t player_shard[MAX_PLAYERS];
static bool player_known[MAX_PLAYERS];
static uint32_t player_received[MAX_PLAYERS];   /* newest seq, whole; 0 = nothing yet */
static int64_t player_received_ns[MAX_PLAYERS];
static uint16_t player_sent[MAX_PLAYERS];       /* newest seq sent, wraps */

static uint8_t state[MAX_PLAYERS][MAX_STATE_BYTES + 1];
static bool state_there[MAX_PLAYERS];
static bool state_changed[MAX_PLAYERS];
static uint16_t state_sample_ms[MAX_PLAYERS];

static uint32_t page_sent_tick[MAX_PLAYERS];    /* of page p of room r: [r * pages_per_room + p] */
static uint32_t page_full_tick[MAX_PLAYERS];
static bool page_full_due[MAX_PLAYERS];         /* a player is new: it has nothing that a change could stand on */

/* The sections of a tick, room by room, and how they are cut into datagrams. Parts of room r: [first_part[r],
 * first_part[r + 1]). The bodies stay as they are until the next tick: what arrives meanwhile goes into `state`. */
static uint8_t bodies[MAX_PLAYERS * (sizeof(struct page_section) + PER_ID_BYTES + MAX_STATE_BYTES)];
static struct iovec part[MAX_PLAYERS];
static int first_part[MAX_PLAYERS + 1];

static uint8_t receive_data[MAX_CALL][RECEIVE_BYTES];
static struct sockaddr_in receive_address[MAX_CALL];
static struct iovec receive_piece[MAX_CALL];
static struct mmsghdr receive_message[MAX_CALL];

static struct update_header send_header[MAX_CALL];
static struct iovec send_piece[MAX_CALL][2];
static struct mmsghdr send_message[MAX_CALL];
static int num_to_send;

static volatile sig_atomic_t asked_to_stop;

static void on_sigterm(int number) {
    (void)number;
    asked_to_stop = 1;
}

static int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * NS_PER_S + now.tv_nsec;
}

static void sleep_until(int64_t at_ns) {
    struct timespec at = {.tv_sec = at_ns / NS_PER_S, .tv_nsec = at_ns % NS_PER_S};
    /* a signal ends the sleep early; then the loop ends too */
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
}

/* --- Receiving */

/* Make a player known: from now on it is sent to, first of all its whole room. */
static void add_player(int player) {
    int first_page = player / per_room * pages_per_room;
    player_known[player] = true;
    memset(&page_full_due[first_page], true, pages_per_room);
}

static void take_states(int player, const uint8_t *data, size_t length) {
    struct state_section section;
    if (length < sizeof section + state_bytes)
        return; /* a bare DATA */
    memcpy(&section, data, sizeof section);
    if (section.type != SECTION_STATE || section.stride != state_bytes)
        return;
    memcpy(state[player], data + sizeof section, state_bytes);
    state_sample_ms[player] = section.sample_ms;
    state_there[player] = state_changed[player] = true;
}

static void handle_data(const uint8_t *data, size_t length, const struct sockaddr_in *from, int64_t now) {
    struct data_header header;
    if (length < sizeof header)
        return;
    memcpy(&header, data, sizeof header);
    if (header.kind != KIND_DATA || header.session - 1 >= (uint64_t)num_players)
        return; /* session 0 becomes the largest number */
    int player = (int)(header.session - 1);
    if (!player_known[player])
        add_player(player);
    player_address[player] = *from;
    player_shard[player] = header.shard;
    /* The low 16 bits of the newest number go on from those known, forwards or (late) backwards. */
    int16_t step = (int16_t)(header.seq - (uint16_t)player_received[player]);
    if (step > 0) {
        player_received[player] += step;
        player_received_ns[player] = now;
        take_states(player, data + sizeof header, length - sizeof header);
    }
}

/* Read the socket until it is empty. */
static void drain(int fd) {
    int got;
    do {
        got = recvmmsg(fd, receive_message, MAX_CALL, MSG_DONTWAIT, NULL);
        int64_t now = now_ns();
        for (int i = 0; i < got; i++)
            handle_data(receive_data[i], receive_message[i].msg_len, &receive_address[i], now);
    } while (got == MAX_CALL);
}

/* --- Building */

static uint8_t age_of(int player, uint16_t tick_ms) {
    int16_t age_ms = (int16_t)(tick_ms - state_sample_ms[player]); /* wraps, like the sample's time */
    if (age_ms < 0)
        return 0;
    return age_ms >= AGE_MAX * AGE_STEP_MS ? AGE_MAX : age_ms / AGE_STEP_MS;
}

/* Write the section of a page if anything in it changed. Returns its bytes, 0 if there is none. */
static size_t build_page(int room, int page, uint32_t tick, uint8_t *out) {
    int row = room * pages_per_room + page;
    int first_id = page * page_ids, end_id = first_id + page_ids < per_room ? first_id + page_ids : per_room;
    int first = room * per_room, listed[MAX_PAGE_IDS], count = 0;
    bool any_changed = false;
    bool full = page_full_due[row] || tick - page_full_tick[row] >= FULL_EVERY_TICKS;
    for (int id = first_id; id < end_id && first + id < num_players; id++) {
        any_changed |= state_changed[first + id];
        if (full ? state_there[first + id] : state_changed[first + id])
            listed[count++] = id;
    }
    if (!any_changed)
        return 0;
    struct page_section head = {
        .type = SECTION_PAGE,
        .length = sizeof head - SECTION_HEADER_BYTES + count * (PER_ID_BYTES + state_bytes),
        .page = page,
        .since = full ? 0 : page_sent_tick[row],
        .group_count = 1,
        .count = count,
        .stride = state_bytes,
    };
    memcpy(out, &head, sizeof head);
    uint8_t *ids = out + sizeof head, *ages = ids + 2 * count, *states = ages + count;
    uint16_t tick_ms = (uint16_t)((uint64_t)tick * 1000 / tick_rate);
    for (int i = 0; i < count; i++) {
        int player = first + listed[i];
        uint16_t id = listed[i];
        memcpy(ids + 2 * i, &id, 2);
        ages[i] = age_of(player, tick_ms);
        memcpy(states + i * state_bytes, state[player], state_bytes);
        state_changed[player] = false;
    }
    page_sent_tick[row] = tick;
    if (full)
        page_full_tick[row] = tick;
    page_full_due[row] = false;
    return SECTION_HEADER_BYTES + head.length;
}

/* Build the sections of all rooms, and cut each room's into datagrams: several pages share one where they fit. */
static void build_bodies(uint32_t tick) {
    int num_rooms = (num_players + per_room - 1) / per_room, num_parts = 0;
    uint8_t *out = bodies;
    for (int room = 0; room < num_rooms; room++) {
        first_part[room] = num_parts;
        for (int page = 0; page < pages_per_room; page++) {
            size_t length = build_page(room, page, tick, out);
            if (length == 0)
                continue;
            bool fits = num_parts > first_part[room] &&
                        sizeof(struct update_header) + part[num_parts - 1].iov_len + length <= MAX_BODY_BYTES;
            if (fits)
                part[num_parts - 1].iov_len += length; /* sections of a room lie side by side */
            else
                part[num_parts++] = (struct iovec){.iov_base = out, .iov_len = length};
            out += length;
        }
    }
    first_part[num_rooms] = num_parts;
}

/* --- Sending */

/* Send what is gathered. What the kernel refuses is left out. */
static void send_gathered(int fd) {
    for (int done = 0; done < num_to_send;) {
        int sent = sendmmsg(fd, send_message + done, num_to_send - done, MSG_DONTWAIT);
        done += sent > 0 ? sent : 1;
    }
    num_to_send = 0;
}

static void gather(int player, const struct iovec *body, uint32_t tick, int64_t now) {
    uint32_t received = player_received[player], below = received ? received - 1 : 0;
    int64_t delay_ms = (now - player_received_ns[player]) / NS_PER_MS;
    int row = num_to_send++;
    send_header[row] = (struct update_header){
        .kind = KIND_UPDATE,
        .shard = player_shard[player],
        .seq = ++player_sent[player],
        .session = player + 1,
        .ack = (uint16_t)received,
        .ack_bits = below >= 32 ? UINT32_MAX : (UINT32_C(1) << below) - 1, /* numbers begin with 1 */
        .ack_delay = received == 0 || delay_ms < 0 ? 0 : delay_ms < ACK_DELAY_MAX_MS ? delay_ms : ACK_DELAY_MAX_MS,
        .flags = received ? 0 : FLAG_NOTHING_RECEIVED,
        .tick = tick,
        .message_credit = MESSAGE_CREDIT,
    };
    send_piece[row][1] = *body;
    send_message[row].msg_hdr.msg_name = &player_address[player];
}

/* Send a player a datagram, now or with the next ones. Between two calls the socket is drained, or its buffer would
 * overflow while thousands are sent; what came counts for the next tick. */
static void send_one(int fd, int player, const struct iovec *body, uint32_t tick, int64_t now) {
    gather(player, body, tick, now);
    if (num_to_send == MAX_CALL) {
        send_gathered(fd);
        drain(fd);
    }
}

/* Send every player its room's datagrams, and the fillers that are due. */
static void send_all(int fd, uint32_t tick) {
    int64_t now = now_ns();
    fill_left += fill_per_1000;
    int num_fillers = fill_left / 1000;
    fill_left %= 1000;
    for (int player = 0; player < num_players; player++) {
        int room = player / per_room;
        if (!player_known[player])
            continue;
        for (int i = first_part[room]; i < first_part[room + 1]; i++)
            send_one(fd, player, &part[i], tick, now);
        for (int i = 0; i < num_fillers; i++)
            send_one(fd, player, &filler, tick, now);
    }
    send_gathered(fd);
}

/* --- Its life */

/* Point every message at its memory, once and for all; only lengths and destinations change. */
static void prepare_messages(void) {
    for (int i = 0; i < MAX_CALL; i++) {
        receive_piece[i] = (struct iovec){.iov_base = receive_data[i], .iov_len = RECEIVE_BYTES};
        receive_message[i].msg_hdr = (struct msghdr){
            .msg_name = &receive_address[i],
            .msg_namelen = sizeof receive_address[i],
            .msg_iov = &receive_piece[i],
            .msg_iovlen = 1,
        };
        send_piece[i][0] = (struct iovec){.iov_base = &send_header[i], .iov_len = sizeof send_header[i]};
        send_message[i].msg_hdr = (struct msghdr){
            .msg_namelen = sizeof(struct sockaddr_in),
            .msg_iov = send_piece[i],
            .msg_iovlen = 2,
        };
    }
}

/* Returns a bound socket. `granted` is the size of its receive buffer. */
static int open_socket(int port, int *granted) {
    int fd = socket(AF_INET, SOCK_DGRAM, 0), asked = BUFFER_BYTES;
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons(port),
        .sin_addr = {htonl(INADDR_LOOPBACK)},
    };
    socklen_t address_bytes = sizeof address, granted_bytes = sizeof *granted;
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0) {
        perror("floor: cannot bind");
        exit(1);
    }
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &asked, sizeof asked);
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &asked, sizeof asked);
    getsockopt(fd, SOL_SOCKET, SO_RCVBUF, granted, &granted_bytes);
    getsockname(fd, (struct sockaddr *)&address, &address_bytes);
    printf("ready %d\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

/* Tick until it is asked to stop, draining `windows` times a tick. */
static void run(int fd, int windows, int64_t end_ns) {
    uint32_t tick = 0;
    start_ns = now_ns();
    while (!asked_to_stop && now_ns() < end_ns) {
        /* Server time is tick / rate: after an overrun ticks are left out. */
        uint32_t reached = (uint32_t)((now_ns() - start_ns) * tick_rate / NS_PER_S);
        tick = (reached > tick ? reached : tick) + 1;
        for (int window = 1; window <= windows; window++) {
            int64_t part_of_s = (int64_t)(tick - 1) * windows + window;
            sleep_until(start_ns + part_of_s * NS_PER_S / ((int64_t)tick_rate * windows));
            drain(fd);
        }
        build_bodies(tick);
        send_all(fd, tick);
    }
}

/* Make the section that fills datagrams. */
static void prepare_filler(int num_bytes) {
    static uint8_t section[MAX_BODY_BYTES];
    uint16_t length = num_bytes - SECTION_HEADER_BYTES;
    section[0] = SECTION_FILLER;
    memcpy(section + 1, &length, sizeof length);
    filler = (struct iovec){.iov_base = section, .iov_len = num_bytes};
}

static int argument(char **argv, int number, int low, int high) {
    char *end;
    long value = strtol(argv[number], &end, 10);
    if (*end != '\0' || value < low || value > high) {
        fprintf(stderr, "floor: argument %d is %s; permitted: %d to %d\n", number, argv[number], low, high);
        exit(2);
    }
    return (int)value;
}

int main(int argc, char **argv) {
    if (argc != 6 && argc != 7 && argc != 9) {
        fprintf(stderr, "usage: floor PORT PLAYERS PER_ROOM STATE_BYTES TICK_RATE"
                        " [SECONDS [FILL_BYTES FILL_PER_1000]]\n");
        return 2;
    }
    int port = argument(argv, 1, 0, 65535);
    num_players = argument(argv, 2, 1, MAX_PLAYERS);
    per_room = argument(argv, 3, 1, 256);
    state_bytes = argument(argv, 4, 1, MAX_STATE_BYTES);
    tick_rate = argument(argv, 5, 1, 240);
    int seconds = argc >= 7 ? argument(argv, 6, 1, 86400) : 86400;
    if (argc == 9) {
        prepare_filler(argument(argv, 7, SECTION_HEADER_BYTES, MAX_BODY_BYTES - (int)sizeof(struct update_header)));
        fill_per_1000 = argument(argv, 8, 0, MAX_FILL_PER_1000);
    }
    page_ids = PAGE_SPACE_BYTES / (state_bytes + ID_OVERHEAD_BYTES);
    page_ids = page_ids < MAX_PAGE_IDS ? page_ids : MAX_PAGE_IDS;
    pages_per_room = (per_room + page_ids - 1) / page_ids;

    struct sigaction action = {.sa_handler = on_sigterm};
    sigaction(SIGTERM, &action, NULL);
    prepare_messages();
    int granted;
    int fd = open_socket(port, &granted);
    int windows = 1 + num_players * DATAGRAM_MEMORY / (granted / 4);
    run(fd, windows, now_ns() + seconds * NS_PER_S);
    return 0;
}
