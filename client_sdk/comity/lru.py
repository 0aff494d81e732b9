"""A bounded cache."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class LRU(Generic[K, V]):
    """Holds at most `most` values and drops the least recently used ones first. With `weigh`, `most` bounds the sum of
    their weights. A smaller `most` takes effect with the next value."""

    def __init__(self, most: int, weigh: Callable[[V], int] | None = None) -> None:
        self.most = most
        self._weigh = weigh
        self._weight = 0
        self._values: OrderedDict[K, V] = OrderedDict()

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, key: K) -> bool:
        return key in self._values

    def __getitem__(self, key: K) -> V:
        """The value; it counts as used now. Raises KeyError."""
        value = self._values[key]
        self._values.move_to_end(key)
        return value

    def get(self, key: K) -> V | None:
        """The value, None if it is not held; it counts as used now."""
        return self[key] if key in self._values else None

    def put(self, key: K, value: V) -> None:
        """Hold a value under a key, in the place of an earlier one."""
        self.forget(key)
        self._values[key] = value
        self._weight += 1 if self._weigh is None else self._weigh(value)
        while self._weight > self.most:
            self.forget(next(iter(self._values)))

    def update(self, values: Mapping[K, V]) -> None:
        """`put` each of them."""
        for key, value in values.items():
            self.put(key, value)

    def forget(self, key: K) -> None:
        """Drop the value of a key, if there is one."""
        if key in self._values:
            value = self._values.pop(key)
            self._weight -= 1 if self._weigh is None else self._weigh(value)

    def clear(self) -> None:
        """Drop all."""
        self._values.clear()
        self._weight = 0
