"""Everything that is checked while a load runs, as one witness for the crowd."""

from collections.abc import Sequence

import numpy as np

from relay.columns import Bools, Ints
from tools.load.claims import keys_of
from tools.load.crowd import Crowd
from tools.load.downlink import Caught, Seen, Times
from tools.load.freshness import Freshness
from tools.load.ledger import Ledger
from tools.load.log import Heard
from tools.load.plan import Plan


class Checks:
    """Passes what players receive on to those who judge it. `attach` comes before the first datagram."""

    freshness: Freshness
    ledger: Ledger

    def attach(self, crowd: Crowd, plan: Plan, tick_rate: int) -> None:
        """Learn to know the crowd."""
        settle_ticks = int(plan.longest_delay_s * tick_rate) + 1
        self.freshness = Freshness(crowd.people, crowd.shape, plan.rooms, tick_rate, settle_ticks)
        self.ledger = Ledger(crowd.people, crowd.shape, crowd.habits)

    def on_states(self, seen: Seen) -> None:
        """Pages were applied."""
        self.freshness.on_states(seen)

    def on_gap(self, row: Ints, tick_before: Ints, tick: Ints) -> None:
        """Datagrams are missing."""
        self.freshness.on_gap(row, tick_before, tick)

    def on_entries(self, heard: Heard, arrived: Times) -> None:
        """Log entries were handed over."""
        self.ledger.on_entries(heard, arrived)

    def on_signals(self, caught: Caught) -> None:
        """Signals were handed over."""
        self.ledger.on_signals(caught)

    def set_timing(self, on: bool) -> None:
        """Note ages and latencies, or not."""
        self.freshness.is_timing = self.ledger.is_timing = on


def unconverged(crowd: Crowd, num_rooms: int, unsettled_seats: Sequence[tuple[int, int]]) -> Ints:
    """List the living whose table is not what everybody in their room has published last.

    Args:
        unsettled_seats: (room, player id) of players who fell silent and whom the relay may not have missed yet: what
            is known of them is not compared.
    """
    people = crowd.people
    living = people.living
    truth = np.zeros((num_rooms, crowd.shape.player_slots), np.uint64)
    compared = np.ones(truth.shape, np.bool_)
    publishing = living[people.published[living] > 0]
    keys = keys_of(publishing, people.published[publishing])
    truth[people.room[publishing], people.player_id[publishing]] = keys
    for room, player_id in unsettled_seats:
        compared[room, player_id] = False
    room_of = people.room[living]
    same: Bools = (people.known[living] == truth[room_of]) | ~compared[room_of]
    return living[~same.all(axis=1)]
