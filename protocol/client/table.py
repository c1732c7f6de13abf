"""The room's table as it comes down in pages (SPEC 8), and what of it the game has been shown.

The table itself is only ever changed by pages. What the game sees differs in two ways: entities that we publish come
back and are left out ("claimed"), and a state whose owner we have not been told of is withheld until we are.
"""

from collections.abc import Callable, Collection

from protocol.client.events import StateChanged
from protocol.constants import AGE_STEP_MS
from protocol.records import Page, RoomShape

Change = tuple[int, bytes, float]
"""(entity id, newest state, server time of the sample in seconds)."""


class Table:
    """Newest state of every entity, and per page the tick that it was last brought to."""

    def __init__(self, shape: RoomShape, tick_rate: int, is_known: Callable[[int], bool]) -> None:
        """Start empty. `is_known`: tells whether we have been told of the owner of an entity id."""
        self.states: dict[int, bytes] = {}
        """Entity id -> newest state, our own and withheld ones included."""
        self._shape = shape
        self._tick_rate = tick_rate
        self._is_known = is_known
        self._page_ticks: dict[int, int] = {}
        self._sampled_s: dict[int, float] = {}  # entity id -> server time of its state's sample
        self._claimed: set[int] = set()
        self._shown: set[int] = set()
        self._withheld: set[int] = set()  # in `states`, neither claimed nor shown

    @property
    def claimed(self) -> Collection[int]:
        """Entity ids that we publish. A live view."""
        return self._claimed

    def fits(self, tick: int, pages: list[Page]) -> bool:
        """Tell whether every section can be applied or ignored; one built on a tick that we lack can not."""
        return all(tick <= self._applied(page) or page.since <= self._applied(page) for page in pages)

    def apply(self, tick: int, pages: list[Page]) -> StateChanged | None:
        """Bring pages that passed `fits` to `tick`; a page that is there already is left alone.

        Returns: what the game must hear, None if nothing.
        """
        changed: list[Change] = []
        removed: list[int] = []
        for page in pages:
            if tick > self._applied(page):
                self._page_ticks[page.page] = tick
                self._remove(page, removed)
                self._set(tick, page, changed)
        return self._event(tick, changed, removed)

    def has_all(self, pages: Collection[int]) -> bool:
        """Tell whether of each of these pages a section was applied in this session."""
        return all(page in self._page_ticks for page in pages)

    def on_resumed(self) -> None:
        """Begin a new session: all pages come again from since 0 (SPEC 4)."""
        self._page_ticks = {}

    def claim(self, entity_id: int) -> None:
        """From now on we publish an entity, or have removed it: what comes back of it is not shown."""
        self._claimed.add(entity_id)
        self._shown.discard(entity_id)
        self._withheld.discard(entity_id)

    def give_up(self, entity_id: int) -> None:
        """An entity is not ours to publish any more: it is shown like others, with the next `show`."""
        self._claimed.discard(entity_id)
        if entity_id in self.states:
            self._withheld.add(entity_id)

    def show(self, tick: int) -> StateChanged | None:
        """Show what was withheld and has an owner whom we have been told of now."""
        ids = sorted(entity_id for entity_id in self._withheld if self._is_known(entity_id))
        self._withheld.difference_update(ids)
        self._shown.update(ids)
        return self._event(tick, [self._change(entity_id) for entity_id in ids], [])

    def _applied(self, page: Page) -> int:
        return self._page_ticks.get(page.page, 0)

    def _change(self, entity_id: int) -> Change:
        return entity_id, self.states[entity_id], self._sampled_s[entity_id]

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
            self._sampled_s.pop(entity_id, None)
            self._withheld.discard(entity_id)
            if entity_id in self._shown:
                self._shown.remove(entity_id)
                removed.append(entity_id)

    def _set(self, tick: int, page: Page, changed: list[Change]) -> None:
        tick_s = tick / self._tick_rate
        for entity_id, age, state in page.states:
            if self.states.get(entity_id) == state:
                continue  # sent again because our ack had not arrived
            self.states[entity_id] = state
            self._sampled_s[entity_id] = tick_s - age * (AGE_STEP_MS / 1000)
            if entity_id in self._claimed:
                continue
            if self._is_known(entity_id):
                self._withheld.discard(entity_id)
                self._shown.add(entity_id)
                changed.append(self._change(entity_id))
            else:
                self._withheld.add(entity_id)

    @staticmethod
    def _event(tick: int, changed: list[Change], removed: list[int]) -> StateChanged | None:
        if not changed and not removed:
            return None
        return StateChanged(tick, tuple(changed), tuple(removed))
