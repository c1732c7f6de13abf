"""Acknowledgements, both ways: the receive window moves, and what the peer reports settles what was sent (SPEC 5)."""

import numpy as np
import numpy.typing as npt

from protocol.constants import ACK_BITS, ACK_DELAY_MAX_MS, ACK_WITHIN_S, WINDOW, DataSection
from protocol.drops import DropReason
from protocol.sequence import extend_array
from relay.columns import Bools, Ints, expand, places, run_ends, run_starts, windows
from relay.entities import Entities
from relay.ingress import NOTHING_RECEIVED, Received
from relay.sessions import Sessions, SessionTable
from relay.stats import Stats

RTT_GAIN = 1 / 8
RTT_VAR_GAIN = 1 / 4
"""Smoothing of the round trip and its variation (RFC 6298)."""
LOSS_GAIN = 1 / 16
"""Smoothing of loss: an estimate over about half a second at 30 Hz (chosen)."""
_ONE = np.uint64(1)


def accept(received: Received, sessions: Sessions, stats: Stats, now: float) -> tuple[Received, Bools]:
    """Move the receive windows (step 10). Nothing before this changed anything but budgets.

    Returns: the datagrams that were accepted, ordered by session and seq, and a mask (d,) of those that are the newest
        of their session.
    """
    received = _sorted(received)
    session, seq = received.session, received.seq
    if bool((session[1:] > session[:-1]).all()):  # one datagram of each: nothing to compare it with
        return received, _move_windows(received, sessions.table, now)
    twin = np.zeros(len(session), np.bool_)
    twin[1:] = (session[1:] == session[:-1]) & (seq[1:] == seq[:-1])
    old = ~twin & (_last_of_run(session, seq) - seq >= WINDOW)
    stats.count_drop(DropReason.DUPLICATE, int(np.count_nonzero(twin)))
    stats.count_drop(DropReason.TOO_OLD, int(np.count_nonzero(old)))
    received = received.where(~(twin | old))
    return received, _move_windows(received, sessions.table, now)


def _sorted(received: Received) -> Received:
    """Put datagrams, which come ordered by session, in order of session and seq."""
    session, seq = received.session, received.seq
    if bool(((session[1:] > session[:-1]) | (seq[1:] >= seq[:-1])).all()):
        return received
    order = np.lexsort((seq, session))
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    sections = received.sections
    sections.datagram = place[sections.datagram]
    return received.ordered(order, sections)


def _last_of_run(keys: Ints, values: Ints) -> Ints:
    """Spread the last value of each run of equal keys over the run."""
    ends = run_ends(keys).nonzero()[0]
    return values[ends][np.searchsorted(ends, np.arange(len(keys)))]


def _move_windows(received: Received, table: SessionTable, now: float) -> Bools:
    """Record arrivals; `received` is ordered by session and seq. Returns which datagrams are the newest."""
    session, seq = received.session, received.seq
    if not len(session):
        return np.zeros(0, np.bool_)
    starts, ends = run_starts(session).nonzero()[0], run_ends(session).nonzero()[0]
    arrived_now = ends + 1 - starts
    rows = session[starts]
    before = table.recv_newest[rows]
    newest = np.maximum(before, seq[ends])
    advance = newest - before
    bit = _ONE << (np.repeat(newest, arrived_now) - seq).astype(np.uint64)
    arrived = np.bitwise_or.reduceat(bit, starts)
    table.recv_mask[rows] = table.recv_mask[rows] << advance.astype(np.uint64) | arrived
    table.recv_newest[rows] = newest
    table.recv_at[rows[advance > 0]] = now
    table.heard_at[rows] = now
    _estimate_loss_up(table, rows, advance, arrived_now)
    _owe_acks(received, table, rows, starts, now)
    is_newest = np.zeros(len(session), np.bool_)
    is_newest[ends] = advance > 0
    return is_newest


def _estimate_loss_up(table: SessionTable, rows: Ints, advance: Ints, arrived: Ints) -> None:
    """Follow the share of sequence numbers that did not arrive in order."""
    moved = advance > 0
    rows, advance, arrived = rows[moved], advance[moved], arrived[moved]
    missing = 1.0 - np.minimum(arrived / advance, 1.0)
    gain = np.minimum(1.0, advance * LOSS_GAIN / 2)
    table.loss_up[rows] += (missing - table.loss_up[rows]) * gain


def _owe_acks(received: Received, table: SessionTable, rows: Ints, starts: Ints, now: float) -> None:
    """Note which sessions must be answered within ACK_WITHIN_S: those that sent any section."""
    eliciting = np.zeros(len(received.session), np.int64)
    eliciting[received.sections.datagram] = 1
    owed = np.add.reduceat(eliciting, starts)
    table.ack_owed[rows] += owed
    owing = rows[owed > 0]
    table.ack_due_at[owing] = np.minimum(table.ack_due_at[owing], now + ACK_WITHIN_S)


def handle_acks(received: Received, newest: Bools, sessions: Sessions, entities: Entities, now: float) -> None:
    """Settle what the newest datagram of each session reports of what was sent to it."""
    header = received.header[newest]
    said = (header["flags"] & NOTHING_RECEIVED) == 0
    rows, header = received.session[newest][said], header[said]
    table = sessions.table
    ack = extend_array(header["ack"], table.acked_seq[rows])
    behind = np.minimum(table.send_seq[rows] - ack, WINDOW).astype(np.uint64)
    reported = (_ONE | header["ack_bits"].astype(np.uint64) << _ONE) << behind
    settled = table.flight_mask[rows] & reported
    table.flight_mask[rows] &= ~reported
    _measure(table, rows, header, ack, settled >> behind & _ONE != 0, now)
    _on_datagrams_acked(table, entities, rows, settled)


def _measure(
    table: SessionTable, rows: Ints, header: npt.NDArray[np.void], ack: Ints, fresh: Bools, now: float
) -> None:
    """Update progress, round trip and loss from acks; `fresh`: `ack` itself is newly acknowledged."""
    slot = ack % WINDOW
    further = fresh & (ack > table.acked_seq[rows])
    table.acked_bytes[rows[further]] = table.history_bytes[rows, slot][further]
    table.acked_seq[rows[further]] = ack[further]
    table.acked_at[rows[further]] = now
    delay = header["ack_delay"].astype(np.int64)
    sample = now - table.history_at[rows, slot] - delay / 1000
    timed = further & (delay < ACK_DELAY_MAX_MS)
    _update_rtt(table, rows[timed], np.maximum(sample[timed], 1e-6))
    full = further & (ack > ACK_BITS)
    missing = 1.0 - np.bitwise_count(header["ack_bits"][full]) / ACK_BITS
    table.loss_down[rows[full]] += (missing - table.loss_down[rows[full]]) * LOSS_GAIN


def _update_rtt(table: SessionTable, rows: Ints, sample: npt.NDArray[np.float64]) -> None:
    """Smooth round trips; the first sample sets them."""
    first = table.rtt_s[rows] == 0
    rtt = np.where(first, sample, table.rtt_s[rows])
    var = np.where(first, sample, table.rtt_var_s[rows])
    table.rtt_var_s[rows] = np.where(first, sample / 2, var + (np.abs(rtt - sample) - var) * RTT_VAR_GAIN)
    table.rtt_s[rows] = rtt + (sample - rtt) * RTT_GAIN
    table.rtt_min_s[rows] = np.where(first, sample, np.minimum(table.rtt_min_s[rows], sample))


def _on_datagrams_acked(table: SessionTable, entities: Entities, rows: Ints, settled: npt.NDArray[np.uint64]) -> None:
    """Move the acknowledged tick of every page that newly acknowledged datagrams carried."""
    which, age = set_bits(settled)
    row = rows[which]
    slot = (table.send_seq[row] - age) % WINDOW
    datagram, offset = set_bits(table.history_pages[row, slot])
    row, slot = row[datagram], slot[datagram]
    seat = table.pages_first[row] + table.history_page[row, slot] + offset
    np.maximum.at(entities.seats.acked_tick, seat, table.history_tick[row, slot])


def set_bits(masks: npt.NDArray[np.uint64]) -> tuple[Ints, Ints]:
    """List the set bits of masks (n,) as pairs (which mask, which bit), the lowest bit of all masks first.

    A round for each bit: masks of acks have one bit as a rule.
    """
    which, bit = [places(masks != 0)], []
    left = masks[which[0]]
    while len(left):
        rest = left & (left - _ONE)
        bit.append(np.bitwise_count((left ^ rest) - _ONE).astype(np.int64))
        more = places(rest != 0)
        left = rest[more]
        which.append(which[-1][more])
    return np.concatenate(which), np.concatenate([*bit, np.zeros(0, np.int64)])


def handle_log_acks(received: Received, newest: Bools, sessions: Sessions) -> None:
    """Take cursor and LOG_BITS from the newest datagram of each session (SPEC 9)."""
    table = sessions.table
    rows = received.session[newest]
    cursor = received.header["log_cursor"][newest].astype(np.int64)
    forward = cursor >= table.log_cursor[rows]
    table.log_cursor[rows[forward]] = cursor[forward]
    table.log_effective[rows] = np.maximum(table.log_effective[rows], table.log_cursor[rows])
    table.log_bits[rows[forward]] = 0
    sections = received.sections.of(DataSection.LOG_BITS)
    sections = sections.where(newest[sections.datagram])
    if not len(sections.at):
        return
    which, word = expand(sections.length // 4)
    row = received.session[sections.datagram[which]]
    value = windows(received.source, "<u4")[sections.at[which] + 4 * word].astype(np.uint64)
    current = cursor[np.searchsorted(rows, row)] == table.log_cursor[row]
    row, word, value = row[current], word[current], value[current]
    np.bitwise_or.at(table.log_bits, (row, word // 2), value << (32 * (word % 2)).astype(np.uint64))
