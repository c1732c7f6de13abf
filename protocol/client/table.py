"""The room's table as it comes down in pages (SPEC 8), and what of it the game has been shown.

The table itself is only ever changed by pages. What the game sees differs in two ways: its own entities come back and
are left out, and a state of a player whom the log has not announced yet is withheld and shown with PlayerJoined.
"""

from protocol.client.events import StateChanged
from protocol.constants import AGE_STEP_MS
from protocol.records import Page, RoomShape


class Table:
    """Newest state of every entity, and per page the tick that it was last brought to."""

    def __init__(self, shape: RoomShape, player_id: int, tick_rate: int) -> None:
        self.states: dict[int, bytes] = {}
        """Entity id -> newest state, our own and withheld ones included."""
        self._shape = shape
        self._player_id = player_id
        self._tick_rate = tick_rate
        self._page_ticks: dict[int, int] = {}
        self._announced: set[int] = set()
        self._shown: set[int] = set()
        self._withheld: dict[int, float] = {}  # entity id -> sample time, seconds

    def fits(self, tick: int, pages: list[Page]) -> bool:
        """Tell whether every section can be applied or ignored; one built on a tick that we lack can not."""
        return all(tick <= self._applied(page) or page.since <= self._applied(page) for page in pages)

    def apply(self, tick: int, pages: list[Page]) -> StateChanged | None:
        """Bring pages that passed `fits` to `tick`; a page that is there already is left alone.

        Returns: what the game must hear, None if nothing.
        """
        changed: list[tuple[int, bytes, float]] = []
        removed: list[int] = []
        for page in pages:
            if tick > self._applied(page):
                self._page_ticks[page.page] = tick
                self._remove(page, removed)
                self._set(tick, page, changed)
        return self._event(tick, changed, removed)

    def announce(self, player_id: int, tick: int) -> StateChanged | None:
        """The log told of a player: from now on their states are shown. Returns those withheld so far."""
        self._announced.add(player_id)
        ids = [entity_id for entity_id in self._withheld if self._creator(entity_id) == player_id]
        changed = [(entity_id, self.states[entity_id], self._withheld.pop(entity_id)) for entity_id in ids]
        self._shown.update(ids)
        return self._event(tick, changed, [])

    def retire(self, player_id: int) -> None:
        """The log told that a player left. Their entities stay until a page removes them."""
        self._announced.discard(player_id)

    def _applied(self, page: Page) -> int:
        return self._page_ticks.get(page.page, 0)

    def _creator(self, entity_id: int) -> int:
        return entity_id % self._shape.player_slots

    def _remove(self, page: Page, removed: list[int]) -> None:
        gone = set(page.removed)
        if page.since == 0:
            first_id = page.page * self._shape.page_ids
            gone.update(range(first_id, first_id + self._shape.page_ids))
            # An id that stands here and is not listed as removed lived all the time: no removal to tell of.
            gone.difference_update(entity_id for entity_id, _, _ in page.states if entity_id not in page.removed)
        for entity_id in sorted(gone):
            if self.states.pop(entity_id, None) is None:
                continue
            self._withheld.pop(entity_id, None)
            if entity_id in self._shown:
                self._shown.remove(entity_id)
                removed.append(entity_id)

    def _set(self, tick: int, page: Page, changed: list[tuple[int, bytes, float]]) -> None:
        tick_s = tick / self._tick_rate
        for entity_id, age, state in page.states:
            if self.states.get(entity_id) == state:
                continue  # sent again because our ack had not arrived
            self.states[entity_id] = state
            creator = self._creator(entity_id)
            if creator == self._player_id:
                continue
            sample_s = tick_s - age * (AGE_STEP_MS / 1000)
            if creator in self._announced:
                self._shown.add(entity_id)
                changed.append((entity_id, state, sample_s))
            else:
                self._withheld[entity_id] = sample_s

    @staticmethod
    def _event(tick: int, changed: list[tuple[int, bytes, float]], removed: list[int]) -> StateChanged | None:
        if not changed and not removed:
            return None
        return StateChanged(tick, tuple(changed), tuple(removed))
